//! Sparse patterns from many overlapping small blocks, in linear time.

/// Distinct (major, minor) pairs in order of major, then of first mention, and where each mention lies among them.
pub(crate) struct Unique {
    /// Length: number of majors + 1.
    pub start: Vec<u32>,
    pub minor: Vec<u32>,
    /// For each mention its pair.
    pub position: Vec<u32>,
}

/// Finds the distinct pairs among the mentions.
pub(crate) fn unique(n_major: usize, n_minor: usize, major: &[u32], minor: &[u32]) -> Unique {
    let mut begin = vec![0u32; n_major + 1];
    for &i in major {
        begin[i as usize + 1] += 1;
    }
    for i in 0..n_major {
        begin[i + 1] += begin[i];
    }
    let mut order = vec![0u32; major.len()];
    let mut next = begin.clone();
    for (k, &i) in major.iter().enumerate() {
        let slot = &mut next[i as usize];
        order[*slot as usize] = k as u32;
        *slot += 1;
    }
    let mut seen = vec![u32::MAX; n_minor];
    let mut at = vec![0u32; n_minor];
    let mut result =
        Unique { start: Vec::with_capacity(n_major + 1), minor: Vec::new(), position: vec![0; major.len()] };
    result.start.push(0);
    for i in 0..n_major {
        for &k in &order[begin[i] as usize..begin[i + 1] as usize] {
            let j = minor[k as usize] as usize;
            if seen[j] != i as u32 {
                seen[j] = i as u32;
                at[j] = result.minor.len() as u32;
                result.minor.push(j as u32);
            }
            result.position[k as usize] = at[j];
        }
        result.start.push(result.minor.len() as u32);
    }
    result
}
