//! Elimination tree and column counts of L for one order, without its structure.
//!
//! The tree is Liu's (1990), with path compression. Counts are those of Gilbert, Ng and Peyton (1994): entry (i, j) of L is in the subtree of row i, whose
//! leaves are found in postorder; a leaf adds one to the count of its column, and takes one from the least common ancestor with
//! the leaf before it. Both take about as long as reading the matrix, whatever the fill.

/// No parent.
pub(super) const ROOT: u32 = u32::MAX;

/// Elimination tree and column counts of one order, postordered.
pub(super) struct Analysis {
    pub order: Vec<u32>,
    pub parent: Vec<u32>,
    /// Entries of each column of L, that of the diagonal included.
    pub counts: Vec<u32>,
    /// Multiplications of a factorization, about.
    pub work: f64,
}

/// Off-diagonal entries of a lower triangle by the earlier, or by the later, of their two positions.
struct Half {
    ptr: Vec<usize>,
    idx: Vec<u32>,
}

impl Half {
    /// `by` gives (list, entry) of a pair of positions (earlier, later).
    fn new(
        n: usize,
        (col_ptr, row_idx): (&[usize], &[usize]),
        position: &[u32],
        by: impl Fn(u32, u32) -> (u32, u32),
    ) -> Self {
        let pairs = || {
            (0..n).flat_map(|j| {
                row_idx[col_ptr[j]..col_ptr[j + 1]].iter().filter(move |&&i| i != j).map({
                    let by = &by;
                    move |&i| {
                        let (a, b) = (position[i], position[j]);
                        by(a.min(b), a.max(b))
                    }
                })
            })
        };
        let mut ptr = vec![0usize; n + 1];
        pairs().for_each(|(list, _)| ptr[list as usize + 1] += 1);
        for k in 0..n {
            ptr[k + 1] += ptr[k];
        }
        let (mut next, mut idx) = (ptr.clone(), vec![0; ptr[n]]);
        pairs().for_each(|(list, entry)| {
            let at = &mut next[list as usize];
            idx[*at] = entry;
            *at += 1;
        });
        Self { ptr, idx }
    }

    fn list(&self, k: usize) -> &[u32] {
        &self.idx[self.ptr[k]..self.ptr[k + 1]]
    }
}

/// Tree and counts of a lower triangle in this order.
pub(super) fn analyse(n: usize, col_ptr: &[usize], row_idx: &[usize], order: Vec<u32>) -> Analysis {
    let position = inverse(&order);
    let parent = elimination_tree(&Half::new(n, (col_ptr, row_idx), &position, |a, b| (b, a)));
    let post = postorder(&parent);
    let counts = column_counts(&Half::new(n, (col_ptr, row_idx), &position, |a, b| (a, b)), &parent, &post);
    let new = inverse(&post);
    let renamed = |p: u32| if p == ROOT { ROOT } else { new[p as usize] };
    Analysis {
        order: post.iter().map(|&k| order[k as usize]).collect(),
        parent: post.iter().map(|&k| renamed(parent[k as usize])).collect(),
        counts: post.iter().map(|&k| counts[k as usize]).collect(),
        work: counts.iter().map(|&c| 0.5 * (c as f64).powi(2)).sum(),
    }
}

/// Parents, from the earlier neighbours of each position.
fn elimination_tree(earlier: &Half) -> Vec<u32> {
    let n = earlier.ptr.len() - 1;
    let (mut parent, mut ancestor) = (vec![ROOT; n], vec![ROOT; n]);
    for k in 0..n {
        for &i in earlier.list(k) {
            // From i to the root of its tree so far, which becomes a child of k.
            let mut i = i as usize;
            while i != k {
                let next = std::mem::replace(&mut ancestor[i], k as u32);
                if next == ROOT {
                    parent[i] = k as u32;
                    break;
                }
                i = next as usize;
            }
        }
    }
    parent
}

/// Entries of each column of L, from the later neighbours of each position.
fn column_counts(later: &Half, parent: &[u32], post: &[u32]) -> Vec<u32> {
    let n = parent.len();
    // Place in postorder of the first descendant.
    let mut first = vec![ROOT; n];
    let mut counts = vec![0i64; n];
    for (k, &j) in post.iter().enumerate() {
        counts[j as usize] = (first[j as usize] == ROOT) as i64;
        let mut j = j;
        while j != ROOT && first[j as usize] == ROOT {
            first[j as usize] = k as u32;
            j = parent[j as usize];
        }
    }
    // Of each row: one more than the latest first descendant of its leaves so far, and the last leaf.
    let (mut seen, mut leaf) = (vec![0u32; n], vec![ROOT; n]);
    let mut ancestor: Vec<u32> = (0..n as u32).collect();
    for &j in post {
        let j = j as usize;
        if parent[j] != ROOT {
            counts[parent[j] as usize] -= 1;
        }
        for &i in later.list(j) {
            let i = i as usize;
            if first[j] < seen[i] {
                continue;
            }
            seen[i] = first[j] + 1;
            counts[j] += 1;
            let before = std::mem::replace(&mut leaf[i], j as u32);
            if before != ROOT {
                counts[common_ancestor(&mut ancestor, before) as usize] -= 1;
            }
        }
        if parent[j] != ROOT {
            ancestor[j] = parent[j];
        }
    }
    for &j in post {
        let (j, p) = (j as usize, parent[j as usize]);
        if p != ROOT {
            counts[p as usize] += counts[j];
        }
    }
    counts.into_iter().map(|c| c as u32).collect()
}

/// Root of the set of `k`, with path compression.
fn common_ancestor(ancestor: &mut [u32], k: u32) -> u32 {
    let mut root = k;
    while root != ancestor[root as usize] {
        root = ancestor[root as usize];
    }
    let mut k = k;
    while k != root {
        k = std::mem::replace(&mut ancestor[k as usize], root);
    }
    root
}

pub(super) fn inverse(order: &[u32]) -> Vec<u32> {
    let mut position = vec![0; order.len()];
    for (k, &j) in order.iter().enumerate() {
        position[j as usize] = k as u32;
    }
    position
}

/// Children in ascending order, each subtree contiguous.
pub(super) fn postorder(parent: &[u32]) -> Vec<u32> {
    let n = parent.len();
    let (mut head, mut sibling) = (vec![ROOT; n], vec![ROOT; n]);
    let mut roots = ROOT;
    for k in (0..n).rev() {
        let list = if parent[k] == ROOT { &mut roots } else { &mut head[parent[k] as usize] };
        sibling[k] = *list;
        *list = k as u32;
    }
    let mut order = Vec::with_capacity(n);
    let mut stack = Vec::new();
    while roots != ROOT {
        stack.push(roots);
        roots = sibling[roots as usize];
        while let Some(&k) = stack.last() {
            let child = head[k as usize];
            if child == ROOT {
                order.push(k);
                stack.pop();
            } else {
                head[k as usize] = sibling[child as usize];
                stack.push(child);
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    /// Tree and counts against elimination of the pattern, on random matrices in random orders.
    #[test]
    fn tree_and_counts_are_those_of_the_eliminated_pattern() {
        let mut rng = StdRng::seed_from_u64(5);
        for trial in 0..200 {
            let n = 1 + trial % 40;
            let (mut ptr, mut idx) = (vec![0], Vec::new());
            for j in 0..n {
                idx.extend((j..n).filter(|&i| i == j || rng.random::<f64>() < 2.0 / n as f64));
                ptr.push(idx.len());
            }
            let mut order: Vec<u32> = (0..n as u32).collect();
            for k in (1..n).rev() {
                order.swap(k, rng.random_range(0..=k));
            }
            let a = analyse(n, &ptr, &idx, order);
            let position = inverse(&a.order);
            let mut filled = vec![false; n * n];
            for j in 0..n {
                for &i in &idx[ptr[j]..ptr[j + 1]] {
                    let (p, q) = (position[i] as usize, position[j] as usize);
                    filled[p.min(q) * n + p.max(q)] = true;
                }
            }
            for k in 0..n {
                let below: Vec<usize> = (k + 1..n).filter(|&i| filled[k * n + i]).collect();
                assert_eq!(a.counts[k] as usize, below.len() + 1);
                assert_eq!(a.parent[k], below.first().map_or(ROOT, |&p| p as u32));
                for (at, &p) in below.iter().enumerate() {
                    below[at..].iter().for_each(|&q| filled[p * n + q] = true);
                }
            }
        }
    }
}
