//! A smaller problem with the same solutions, and the way back with multipliers.
//!
//! Linear rows ([`NlpMeta::linear`]) without variables that are not fixed, or that the bounds imply, go; rows with one variable become bounds;
//! x_k of an equation a_k x_k + a_l x_l = b is replaced everywhere by (b - a_l x_l) / a_k, and its bounds become those of x_l; of parallel rows of
//! a linear or quadratic program one is left, with the bounds of both (elsewhere that lost a solve, `docs/experiments.md`; Andersen and Andersen, "Presolving in linear programming", Math. Prog. 71, 1995; Gould and Toint,
//! "Preprocessing for quadratic programming", Math. Prog. 100, 2004). Bounds that rows imply are looked at to find rows that hold anyhow or cannot
//! hold, but not put in place of those of the variables: their multipliers would belong to the row and to every other bound that implies them.
//!
//! Each reduction is on a stack (`Reduction`); multipliers come back in reverse order (`back`), exactly: the conditions hold for the user's problem
//! as they hold for the smaller one. Fixed variables stay; the standard form leaves them out.

mod back;
mod reduced;
mod rows;

pub(in crate::opt) use back::Restored;
pub(in crate::opt) use reduced::Reduced;

use std::collections::{HashMap, VecDeque};

use super::form::Form;
use crate::nlp::{INFINITE_BOUND, Nlp, NlpMeta, Pattern};
use rows::{Image, LinearRows};

/// No variable is replaced by more than this times another, and bounds of a variable are not nearer than NEAR max(1, |bound|), unless they are equal.
const LARGEST_FACTOR: f64 = 1e3;
const NEAR: f64 = 1e-9;
/// Of so many rows more than one must go: each evaluation of the smaller problem costs copies.
const LEAST_SHARE: usize = 100;
/// A row holds if it is violated by no more than rounding of its terms.
const ROUNDING: f64 = 1e-13;

/// One step; `lower`, `upper`: it has set that bound of what is left. `share`: of the multiplier at the lower and the upper bound, what belongs to x_gone:
/// nothing, all, or its part where bounds of several variables have become the same bound. (The multipliers are not unique then; equal parts are the
/// limit of a barrier on all of these bounds.)
#[derive(Debug, Clone, Copy, PartialEq)]
enum Reduction {
    /// Row a x_col = b or within bounds.
    Bound { row: usize, col: usize, a: f64, lower: bool, upper: bool },
    /// Row a x_gone + .. x_kept = .., x_gone = shift + factor x_kept.
    Doubleton { row: usize, a: f64, gone: usize, kept: usize, factor: f64, share: [f64; 2] },
    /// Row = ratio times row `of`.
    Parallel { row: usize, of: usize, ratio: f64, lower: bool, upper: bool },
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::opt) struct Removed {
    /// Rows that always hold.
    pub redundant: usize,
    /// Rows that became bounds.
    pub bounds: usize,
    /// Variables that others replace, each with its equation.
    pub replaced: usize,
    /// Rows parallel to others.
    pub parallel: usize,
}

impl Removed {
    fn rows(&self) -> usize {
        self.redundant + self.bounds + self.replaced + self.parallel
    }
}

/// A row that no point within the bounds fulfils.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::opt) struct Contradiction {
    pub row: usize,
    /// What its terms can be, and what they should be.
    pub reach: (f64, f64),
    pub wanted: (f64, f64),
}

/// What presolve finds.
pub(in crate::opt) enum Found {
    /// Nothing to remove.
    Nothing,
    Reduced(Box<Presolve>),
    Contradiction(Contradiction),
}

/// The smaller problem and the way back.
#[derive(Debug)]
pub(in crate::opt) struct Presolve {
    pub meta: NlpMeta,
    pub removed: Removed,
    /// User's index of each row and variable that is left.
    rows: Vec<usize>,
    cols: Vec<usize>,
    /// Of each user's variable, in terms of those that are left: `of` counts the latter.
    image: Vec<Image>,
    /// The variable that has replaced each user's variable in one step, and its factor.
    parent: Vec<Option<(usize, f64)>>,
    /// Replaced variables with finite bounds.
    within: Vec<(usize, f64, f64)>,
    stack: Vec<Reduction>,
    /// User's entry and factor of each entry of J and of H.
    jacobian: Vec<(usize, f64)>,
    hessian: Vec<(usize, f64)>,
}

/// The state of the search for reductions.
struct Search<'m> {
    meta: &'m NlpMeta,
    rows: LinearRows,
    lower: Vec<f64>,
    upper: Vec<f64>,
    /// Variables whose bounds are the lower and the upper bound of each.
    holders: Vec<[f64; 2]>,
    parent: Vec<Option<Image>>,
    /// Entries of J and H in the column of each variable, with what it has replaced.
    weight: Vec<usize>,
    stack: Vec<Reduction>,
    removed: Removed,
    queue: VecDeque<usize>,
    queued: Vec<bool>,
    /// Largest violation of a row that holds.
    tolerance: f64,
}

impl Presolve {
    /// Looks for reductions; rows count as violated beyond `tolerance`. Evaluates c and J once, at the start, where there are linear rows. A problem
    /// with more equations than unknowns is left as it is: its least squares are those of all rows.
    pub fn find(nlp: &mut dyn Nlp, tolerance: f64) -> Found {
        let meta = nlp.meta();
        let free = (0..meta.n()).filter(|&j| meta.x_lower[j] < meta.x_upper[j]).count();
        let is_system = (0..meta.m()).all(|i| meta.is_equality(i)) && meta.m() > free;
        let known = meta.linear.iter().any(|l| *l) && meta.jacobian.is_some();
        if !known || is_system || meta.preconditioner {
            return Found::Nothing;
        }
        let Some(rows) = LinearRows::of(nlp) else { return Found::Nothing };
        let mut search = Search::new(nlp.meta(), rows, tolerance);
        match search.run() {
            Err(contradiction) => Found::Contradiction(contradiction),
            Ok(()) if search.removed.rows() * LEAST_SHARE <= search.meta.m() => Found::Nothing,
            Ok(()) => Found::Reduced(Box::new(search.finish())),
        }
    }

    /// For people.
    pub fn describe(&self) -> String {
        let r = &self.removed;
        let parts = [
            (r.redundant, "always hold"),
            (r.bounds, "are bounds"),
            (r.replaced, "replace a variable"),
            (r.parallel, "are parallel to others"),
        ];
        let parts: Vec<String> =
            parts.iter().filter(|p| p.0 > 0).map(|(count, what)| format!("{count} {what}")).collect();
        let (rows, all) = (r.rows(), self.rows.len() + r.rows());
        format!("removing {rows} of {all} rows ({})", parts.join(", "))
    }

    /// User's row and variable.
    pub fn row(&self, i: usize) -> usize {
        self.rows[i]
    }
    pub fn col(&self, j: usize) -> usize {
        self.cols[j]
    }
}

fn is_finite(bound: f64) -> bool {
    bound.abs() < INFINITE_BOUND
}

/// The bounds of factor x + shift for x within l, u.
fn transformed((l, u): (f64, f64), factor: f64, shift: f64) -> (f64, f64) {
    let at = |b: f64| if is_finite(b) { factor * b + shift } else { b * factor.signum() };
    if factor > 0.0 { (at(l), at(u)) } else { (at(u), at(l)) }
}

/// What to do with new bounds beside old ones.
enum Meeting {
    /// The bounds of both, and which of them are new.
    Both { lower: f64, upper: f64, new: (bool, bool) },
    /// They cross by rounding, or leave nearly no room.
    Narrow,
    /// They cross.
    Apart,
}

fn meet((l, u): (f64, f64), (new_l, new_u): (f64, f64), tolerance: f64) -> Meeting {
    let new = (new_l > l, new_u < u);
    let (lower, upper) = (l.max(new_l), u.min(new_u));
    let room = upper - lower;
    if room < -tolerance {
        Meeting::Apart
    } else if room != 0.0 && room < NEAR * lower.abs().max(1.0) && (new.0 || new.1) {
        Meeting::Narrow
    } else {
        Meeting::Both { lower, upper, new }
    }
}

impl<'m> Search<'m> {
    fn new(meta: &'m NlpMeta, rows: LinearRows, tolerance: f64) -> Self {
        let mut weight = vec![0; meta.n()];
        let mut count = |p: &Option<Pattern>, both: bool| {
            for (i, j) in p.iter().flat_map(Pattern::entries) {
                weight[j] += 1;
                if both && i != j {
                    weight[i] += 1;
                }
            }
        };
        count(&meta.jacobian, false);
        count(&meta.hessian, true);
        let queue: VecDeque<usize> = (0..meta.m()).filter(|&i| meta.linear[i]).collect();
        Self {
            lower: meta.x_lower.clone(),
            upper: meta.x_upper.clone(),
            holders: vec![[1.0; 2]; meta.n()],
            parent: vec![None; meta.n()],
            weight,
            stack: Vec::new(),
            removed: Removed::default(),
            queued: meta.linear.clone(),
            queue,
            meta,
            rows,
            tolerance,
        }
    }

    fn run(&mut self) -> Result<(), Contradiction> {
        loop {
            while let Some(row) = self.queue.pop_front() {
                self.queued[row] = false;
                if self.rows.alive[row] {
                    self.visit(row)?;
                }
            }
            if !Form::is_quadratic(self.meta) || !self.find_parallel()? {
                return Ok(());
            }
        }
    }

    /// A row as it is now: in variables that are neither fixed nor replaced.
    fn visit(&mut self, row: usize) -> Result<(), Contradiction> {
        let Self { rows, parent, lower, upper, .. } = self;
        rows.update(row, |j| root(parent, j), |j| (lower[j] == upper[j]).then_some(lower[j]));
        let reach = self.reach(row);
        let (l, u) = self.rows.bounds[row];
        let rounding = ROUNDING * self.rows.size[row];
        let tolerance = self.tolerance.max(NEAR * self.rows.size[row]);
        if reach.0 > u + tolerance || reach.1 < l - tolerance {
            return Err(Contradiction { row, reach, wanted: (l, u) });
        }
        let holds = |by: f64| (l <= reach.0 + by || !is_finite(l)) && (u >= reach.1 - by || !is_finite(u));
        let entries = &self.rows.entries[row];
        if holds(if entries.is_empty() { rounding } else { 0.0 }) {
            self.rows.alive[row] = false;
            self.removed.redundant += 1;
            return Ok(());
        }
        match *entries.as_slice() {
            [(col, a)] => self.bound(row, col, a),
            [(k, a), (l, b)] if self.is_equation(row) => self.doubleton(row, (k, a), (l, b)),
            _ => Ok(()),
        }
    }

    fn is_equation(&self, row: usize) -> bool {
        self.rows.bounds[row].0 == self.rows.bounds[row].1
    }

    /// What the terms of a row can add up to.
    fn reach(&self, row: usize) -> (f64, f64) {
        let (mut least, mut most) = (0.0, 0.0);
        for &(j, a) in &self.rows.entries[row] {
            let (l, u) =
                if a > 0.0 { (self.lower[j], self.upper[j]) } else { (self.upper[j], self.lower[j]) };
            least += if is_finite(l) { a * l } else { f64::NEG_INFINITY };
            most += if is_finite(u) { a * u } else { f64::INFINITY };
        }
        (least, most)
    }

    fn contradiction(&self, row: usize) -> Contradiction {
        Contradiction { row, reach: self.reach(row), wanted: self.rows.bounds[row] }
    }

    /// Rows of a variable are to be visited again.
    fn enqueue(&mut self, col: usize) {
        for &row in &self.rows.of_col[col] {
            if self.rows.alive[row] && !std::mem::replace(&mut self.queued[row], true) {
                self.queue.push_back(row);
            }
        }
    }

    /// a x_col within the bounds of the row.
    fn bound(&mut self, row: usize, col: usize, a: f64) -> Result<(), Contradiction> {
        let new = transformed(self.rows.bounds[row], 1.0 / a, 0.0);
        let old = (self.lower[col], self.upper[col]);
        match meet(old, new, self.tolerance / a.abs()) {
            Meeting::Apart => return Err(self.contradiction(row)),
            Meeting::Narrow => return Ok(()),
            Meeting::Both { lower, upper, new } => {
                (self.lower[col], self.upper[col]) = (lower, upper);
                self.stack.push(Reduction::Bound { row, col, a, lower: new.0, upper: new.1 });
                self.rows.alive[row] = false;
                self.removed.bounds += 1;
                if new.0 || new.1 {
                    self.enqueue(col);
                }
            }
        }
        Ok(())
    }

    /// What belongs to x_gone of the multipliers of the bounds of x_kept; each is (tighter, equal) of the lower and the upper bound.
    fn share(&mut self, (gone, kept): (usize, usize), factor: f64, sides: [(bool, bool); 2]) -> [f64; 2] {
        let of_gone = self.holders[gone];
        let mut share = [0.0; 2];
        for (side, (tighter, equal)) in sides.into_iter().enumerate() {
            let theirs = of_gone[if factor > 0.0 { side } else { 1 - side }];
            let own = &mut self.holders[kept][side];
            match (tighter, equal) {
                (true, _) => (*own, share[side]) = (theirs, 1.0),
                (_, true) => (*own, share[side]) = (*own + theirs, theirs / (*own + theirs)),
                _ => {}
            }
        }
        share
    }

    /// a x_j + b x_k = side: the variable with fewer entries goes, so that chains of replacements are short.
    fn doubleton(&mut self, row: usize, j: (usize, f64), k: (usize, f64)) -> Result<(), Contradiction> {
        let (gone, kept) = if self.weight[j.0] <= self.weight[k.0] { (j, k) } else { (k, j) };
        let (factor, shift) = (-kept.1 / gone.1, self.rows.bounds[row].0 / gone.1);
        if !(1.0 / LARGEST_FACTOR..=LARGEST_FACTOR).contains(&factor.abs()) {
            return Ok(());
        }
        let ((gone, a), kept) = (gone, kept.0);
        let new = transformed((self.lower[gone], self.upper[gone]), 1.0 / factor, -shift / factor);
        let old = (self.lower[kept], self.upper[kept]);
        match meet(old, new, self.tolerance / factor.abs()) {
            Meeting::Apart => return Err(self.contradiction(row)),
            Meeting::Narrow => return Ok(()),
            Meeting::Both { lower, upper, new: tighter } => {
                (self.lower[kept], self.upper[kept]) = (lower, upper);
                let equal = (new.0 == old.0 && is_finite(new.0), new.1 == old.1 && is_finite(new.1));
                let share = self.share((gone, kept), factor, [(tighter.0, equal.0), (tighter.1, equal.1)]);
                self.stack.push(Reduction::Doubleton { row, a, gone, kept, factor, share });
            }
        }
        self.rows.alive[row] = false;
        self.removed.replaced += 1;
        self.parent[gone] = Some(Image { of: kept, shift, factor });
        self.weight[kept] += self.weight[gone];
        let moved = std::mem::take(&mut self.rows.of_col[gone]);
        self.rows.of_col[kept].extend(moved);
        // Those of the kept variable may have new bounds.
        self.enqueue(kept);
        Ok(())
    }

    /// Rows that are multiples of others; true if a row has become an equation, which may be a reduction itself.
    fn find_parallel(&mut self) -> Result<bool, Contradiction> {
        let mut first: HashMap<Vec<(usize, u64)>, usize> = HashMap::new();
        let mut again = false;
        for row in 0..self.meta.m() {
            if !self.rows.alive[row] || self.rows.entries[row].len() < 2 {
                continue;
            }
            let key = self.rows.normalized(row);
            let of = *first.entry(key).or_insert(row);
            if of == row {
                continue;
            }
            let ratio = self.rows.entries[row][0].1 / self.rows.entries[of][0].1;
            let new = transformed(self.rows.bounds[row], 1.0 / ratio, 0.0);
            match meet(self.rows.bounds[of], new, self.tolerance) {
                Meeting::Apart => return Err(self.contradiction(row)),
                Meeting::Narrow => continue,
                Meeting::Both { lower, upper, new } => {
                    again |= lower == upper && !self.is_equation(of);
                    self.rows.bounds[of] = (lower, upper);
                    let (lower, upper) = new;
                    self.rows.moved[of].0 |= lower;
                    self.rows.moved[of].1 |= upper;
                    self.stack.push(Reduction::Parallel { row, of, ratio, lower, upper });
                }
            }
            self.rows.alive[row] = false;
            self.removed.parallel += 1;
            if again && !std::mem::replace(&mut self.queued[of], true) {
                self.queue.push_back(of);
            }
        }
        Ok(again)
    }

    fn finish(self) -> Presolve {
        let meta = self.meta;
        let (n, m) = (meta.n(), meta.m());
        let cols: Vec<usize> = (0..n).filter(|&j| self.parent[j].is_none()).collect();
        let rows: Vec<usize> = (0..m).filter(|&i| self.rows.alive[i]).collect();
        let (mut col_at, mut row_at) = (vec![usize::MAX; n], vec![usize::MAX; m]);
        cols.iter().enumerate().for_each(|(k, &j)| col_at[j] = k);
        rows.iter().enumerate().for_each(|(k, &i)| row_at[i] = k);
        let image: Vec<Image> = (0..n)
            .map(|j| {
                let root = root(&self.parent, j);
                Image { of: col_at[root.of], ..root }
            })
            .collect();
        let (jacobian_pattern, jacobian) = reduced_jacobian(meta, &image, &row_at);
        let (hessian_pattern, hessian) = reduced_hessian(meta, &image);
        let pick = |v: &[f64], at: &[usize]| at.iter().map(|&k| v[k]).collect::<Vec<f64>>();
        let LinearRows { bounds, moved, offset, .. } = &self.rows;
        let lower = |&i: &usize| if moved[i].0 { bounds[i].0 + offset[i] } else { meta.c_lower[i] };
        let upper = |&i: &usize| match bounds[i].0 == bounds[i].1 {
            true if meta.linear[i] => lower(&i),
            _ if moved[i].1 => bounds[i].1 + offset[i],
            _ => meta.c_upper[i],
        };
        let reduced = NlpMeta {
            name: meta.name.clone(),
            x_lower: pick(&self.lower, &cols),
            x_upper: pick(&self.upper, &cols),
            c_lower: rows.iter().map(lower).collect(),
            c_upper: rows.iter().map(upper).collect(),
            x0: pick(&meta.x0, &cols),
            other_starts: meta.other_starts.iter().map(|x| pick(x, &cols)).collect(),
            y0: pick(&meta.y0, &rows),
            linear: rows.iter().map(|&i| meta.linear[i]).collect(),
            complementarity: vec![],
            maximize: false,
            quadratic_objective: meta.quadratic_objective,
            variable_names: cols.iter().map(|&j| meta.variable_name(j)).collect(),
            constraint_names: rows.iter().map(|&i| meta.constraint_name(i)).collect(),
            jacobian: jacobian_pattern,
            hessian: hessian_pattern,
            jacobian_products: meta.jacobian_products,
            hessian_products: meta.hessian_products,
            preconditioner: false,
        };
        let bounded = |j: &usize| self.parent[*j].is_some() && meta.is_bounded(*j);
        Presolve {
            within: (0..n).filter(bounded).map(|j| (j, meta.x_lower[j], meta.x_upper[j])).collect(),
            meta: reduced,
            removed: self.removed,
            rows,
            cols,
            image,
            parent: self.parent.iter().map(|p| p.map(|p| (p.of, p.factor))).collect(),
            stack: self.stack,
            jacobian,
            hessian,
        }
    }
}

/// A variable in terms of one that is left.
fn root(parent: &[Option<Image>], j: usize) -> Image {
    let mut at = Image { of: j, shift: 0.0, factor: 1.0 };
    while let Some(next) = parent[at.of] {
        at = Image { of: next.of, shift: at.shift + at.factor * next.shift, factor: at.factor * next.factor };
    }
    at
}

fn reduced_jacobian(
    meta: &NlpMeta,
    image: &[Image],
    row_at: &[usize],
) -> (Option<Pattern>, Vec<(usize, f64)>) {
    let Some(p) = &meta.jacobian else { return (None, Vec::new()) };
    let (mut pattern, mut entries) = (Pattern::default(), Vec::new());
    for (k, (i, j)) in p.entries().enumerate().filter(|(_, (i, _))| row_at[*i] != usize::MAX) {
        pattern.rows.push(row_at[i]);
        pattern.cols.push(image[j].of);
        entries.push((k, image[j].factor));
    }
    (Some(pattern), entries)
}

fn reduced_hessian(meta: &NlpMeta, image: &[Image]) -> (Option<Pattern>, Vec<(usize, f64)>) {
    let Some(p) = &meta.hessian else { return (None, Vec::new()) };
    let (mut pattern, mut entries) = (Pattern::default(), Vec::new());
    for (k, (i, j)) in p.entries().enumerate() {
        let (a, b) = (&image[i], &image[j]);
        pattern.rows.push(a.of.max(b.of));
        pattern.cols.push(a.of.min(b.of));
        // Both halves of an entry off the diagonal fall on it.
        let halves = if i != j && a.of == b.of { 2.0 } else { 1.0 };
        entries.push((k, halves * a.factor * b.factor));
    }
    (Some(pattern), entries)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
