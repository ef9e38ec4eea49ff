//! Pattern of the Hessian of the Lagrangian: lower triangle, each entry once.

use std::ops::Range;

use super::structure::{ElementBatch, GroupBatch, Rows, Structure};

/// Coordinates and the places of the QUADRATIC entries.
#[derive(Debug, Default)]
pub(crate) struct Places {
    pub rows: Vec<usize>,
    pub cols: Vec<usize>,
    pub quadratic: Vec<u32>,
}

/// Contributions in a fixed order: elements by batch and entry, groups, QUADRATIC entries. `f(row, column)`, row >= column.
fn for_contributions(s: &Structure, quadratic: &[(u32, u32, f64)], mut f: impl FnMut(u32, u32)) {
    let mut add = |i: u32, j: u32| f(i.max(j), i.min(j));
    for b in &s.elements {
        let count = b.batch.count;
        for e in &b.batch.kernel.hessian {
            let rows = &b.vars[e.a as usize * count..][..count];
            let cols = &b.vars[e.b as usize * count..][..count];
            rows.iter().zip(cols).for_each(|(&i, &j)| add(i, j));
        }
    }
    for g in &s.groups {
        for_outer(g, &s.rows, &mut add);
    }
    quadratic.iter().for_each(|&(i, j, _)| add(i, j));
}

/// The pairs of the q q' of every run.
fn for_outer(g: &GroupBatch, rows: &Rows, f: &mut impl FnMut(u32, u32)) {
    for run in &g.runs {
        let vars = rows.variables(g.groups[run.start].row);
        for (a, &i) in vars.iter().enumerate() {
            vars[..=a].iter().for_each(|&j| f(i, j));
        }
    }
}

/// Neighbouring groups with the same variables, as in data fits; none where g'' = 0.
fn runs(g: &GroupBatch, rows: &Rows) -> Vec<Range<usize>> {
    if g.batch.kernel.hessian.is_empty() {
        return Vec::new();
    }
    let vars = |k: usize| rows.variables(g.groups[k].row);
    let mut runs: Vec<Range<usize>> = Vec::new();
    for k in 0..g.groups.len() {
        match runs.last_mut() {
            Some(run) if vars(run.start) == vars(k) => run.end = k + 1,
            _ => runs.push(k..k + 1),
        }
    }
    runs
}

fn contributions(s: &Structure, quadratic: usize) -> usize {
    let elements: usize = s.elements.iter().map(|b| b.batch.count * b.batch.kernel.hessian.len()).sum();
    let pairs = |g: &GroupBatch| -> usize {
        let support = |run: &Range<usize>| s.rows.variables(g.groups[run.start].row).len();
        g.runs
            .iter()
            .map(|run| support(run).saturating_mul(support(run) + 1) / 2)
            .fold(0, usize::saturating_add)
    };
    s.groups.iter().map(pairs).fold(elements.saturating_add(quadratic), usize::saturating_add)
}

/// Builds the pattern and writes the place of every contribution; `None` if there are more than `most`, or some are not written down.
pub(crate) fn build(s: &mut Structure, quadratic: &[(u32, u32, f64)], most: u64) -> Option<Places> {
    for g in &mut s.groups {
        g.runs = runs(g, &s.rows);
    }
    let total = contributions(s, quadratic.len());
    if s.elements.iter().any(|b| !b.batch.kernel.products.is_empty()) {
        return None;
    }
    if total as u64 > most.min(u64::from(u32::MAX) - 1) {
        return None;
    }
    // Contributions sorted by column.
    let mut start = vec![0u32; s.n + 1];
    for_contributions(s, quadratic, |_, j| start[j as usize + 1] += 1);
    for j in 0..s.n {
        start[j + 1] += start[j];
    }
    let mut next = start.clone();
    let mut sorted = vec![(0u32, 0u32); total];
    let mut number = 0;
    for_contributions(s, quadratic, |i, j| {
        let slot = &mut next[j as usize];
        sorted[*slot as usize] = (i, number);
        *slot += 1;
        number += 1;
    });
    // Within a column a row that was seen has a place behind the column's first.
    let mut places = Places::default();
    let mut place_of = vec![0u32; total];
    let mut seen = vec![u32::MAX; s.n];
    for j in 0..s.n {
        let first = places.rows.len();
        for &(i, number) in &sorted[start[j] as usize..start[j + 1] as usize] {
            let known = &mut seen[i as usize];
            if *known == u32::MAX || (*known as usize) < first {
                *known = places.rows.len() as u32;
                places.rows.push(i as usize);
                places.cols.push(j);
            }
            place_of[number as usize] = *known;
        }
    }
    drop(sorted);
    hand_out(s, place_of, &mut places);
    Some(places)
}

/// Gives every batch its part of the places.
fn hand_out(s: &mut Structure, place_of: Vec<u32>, places: &mut Places) {
    let mut rest = place_of.as_slice();
    let mut take = |count: usize| {
        let (head, tail) = rest.split_at(count);
        rest = tail;
        head.to_vec()
    };
    for b in &mut s.elements {
        b.hessian_places = take(b.batch.count * b.batch.kernel.hessian.len());
        b.doubled = doubled(b);
    }
    for g in &mut s.groups {
        let mut pairs = 0;
        for_outer(g, &s.rows, &mut |_, _| pairs += 1);
        g.places = take(pairs);
    }
    places.quadratic = rest.to_vec();
}

/// Elements that have the same variable twice: both halves of an off-diagonal entry fall on the diagonal.
fn doubled(b: &ElementBatch) -> Vec<(u32, u32)> {
    let count = b.batch.count;
    let mut found = Vec::new();
    for (k, e) in b.batch.kernel.hessian.iter().enumerate().filter(|(_, e)| e.a != e.b) {
        let rows = &b.vars[e.a as usize * count..][..count];
        let cols = &b.vars[e.b as usize * count..][..count];
        found.extend((0..count).filter(|&i| rows[i] == cols[i]).map(|i| (k as u32, i as u32)));
    }
    found
}
