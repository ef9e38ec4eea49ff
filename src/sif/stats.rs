//! What CUTEst counts.

use super::{Decoded, Ragged};

/// Entries of the Hessian as CUTEst counts them: every pair of an element's variables and every pair of variables of a group with
/// a type of its own, whether a derivative is structurally zero or not.
pub(super) fn all_pairs(d: &Decoded) -> usize {
    let n = d.variables.len();
    let mut used = vec![false; d.elements.len()];
    d.uses.items.iter().for_each(|&(e, _)| used[e as usize] = true);
    let elements = (0..d.elements.len()).filter(|&e| used[e]).map(|e| d.element_vars.get(e));
    // Sets of variables all whose pairs count: those of elements, then those of groups, duplicates dropped.
    let mut sets: Ragged<u32> = Ragged::default();
    let mut push = |set: &mut dyn Iterator<Item = u32>| {
        sets.items.extend(set);
        sets.start.push(sets.items.len());
    };
    elements.for_each(|vars| push(&mut vars.iter().copied()));
    let groups_from = used.iter().filter(|u| **u).count();
    let mut seen = vec![usize::MAX; n];
    for g in (0..d.groups.len()).filter(|&g| d.group_type[g].is_some()) {
        let linear = d.linear.get(g).iter().map(|l| l.0);
        let nonlinear =
            d.uses.get(g).iter().flat_map(|&(e, _)| d.element_vars.get(e as usize).iter().copied());
        push(&mut linear.chain(nonlinear).filter(|&v| std::mem::replace(&mut seen[v as usize], g) != g));
    }
    d.quadratic.iter().for_each(|&(i, j, _)| push(&mut [i, j].into_iter().take(if i == j { 1 } else { 2 })));
    // Sets of groups are without duplicates: one with all variables makes the matrix full.
    if (0..sets.len()).any(|k| k >= groups_from && sets.get(k).len() == n) {
        return n * (n + 1) / 2;
    }
    // For each variable the sets it is in, then the distinct partners not above it.
    let mut start = vec![0usize; n + 1];
    sets.items.iter().for_each(|&v| start[v as usize + 1] += 1);
    for v in 0..n {
        start[v + 1] += start[v];
    }
    let mut next = start.clone();
    let mut sets_of = vec![0u32; sets.items.len()];
    for k in 0..sets.len() {
        for &v in sets.get(k) {
            sets_of[next[v as usize]] = k as u32;
            next[v as usize] += 1;
        }
    }
    let mut seen = vec![usize::MAX; n];
    let mut pairs = 0;
    for v in 0..n {
        for &k in &sets_of[start[v]..start[v + 1]] {
            for &w in sets.get(k as usize).iter().filter(|w| **w as usize <= v) {
                pairs += usize::from(std::mem::replace(&mut seen[w as usize], v) != v);
            }
        }
    }
    pairs
}
