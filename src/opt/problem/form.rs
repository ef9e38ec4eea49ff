//! What of the user's problem goes where in the standard one: no fixed variables, equality constraints only.
//!
//! ```text
//!     v = (x_free, s),   c_i(x) - b_i = 0  for an equality,   c_i(x) - w_i s_i = 0,  cl_i / w_i <= s_i <= cu_i / w_i  else
//! ```
//!
//! w_i = max(1, |row i of J| / 100) at the start, so that the scaled row reads c~_i - s_i = 0. The multipliers y are those
//! of the user's constraints; a slack's bound multiplier z equals w_i y_i. Values go from the user's order straight to their
//! places in the Jacobian of a point and in the KKT matrix.

use super::bounds::Bounds;
use super::scale::Scale;
use crate::linalg::{SparseMatrix, SparseRef, Storage};
use crate::nlp::{INFINITE_BOUND, NlpMeta, Pattern};

/// Slack bounds are relaxed by this times max(1, |bound|), so that feasible sets without interior can be approached.
/// The bounds of the variables are relaxed only where the user allows it (`Options::relax_bounds`).
const RELAXATION: f64 = 1e-8;
/// But not by more than this, so that the user's rows hold within 100 times a tolerance of 1e-8, except for rounding.
const MOST_RELAXATION: f64 = 5e-7;
const ROUNDING: f64 = 10.0 * f64::EPSILON;
/// Place of an entry that belongs to a fixed variable.
pub(in crate::opt) const DROPPED: u32 = u32::MAX;

/// Row and column of each of the user's entries in the standard problem; `DROPPED`: of a fixed variable.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::opt) struct Coordinates {
    pub rows: Vec<u32>,
    pub cols: Vec<u32>,
}

/// Pattern of J, compressed by columns.
#[derive(Debug)]
pub(in crate::opt) struct JacobianPattern {
    m: usize,
    n: usize,
    pub col_ptr: Vec<usize>,
    pub row_idx: Vec<usize>,
}

impl JacobianPattern {
    /// J with these values.
    pub fn with<'v>(&'v self, values: &'v [f64]) -> SparseRef<'v> {
        SparseRef {
            nrows: self.m,
            ncols: self.n,
            col_ptr: &self.col_ptr,
            row_idx: &self.row_idx,
            values,
            storage: Storage::General,
        }
    }
}

/// The standard form of a problem. It owns no functions.
#[derive(Debug)]
pub(in crate::opt) struct Form {
    /// Free variables and slacks.
    pub n: usize,
    /// Constraints.
    pub m: usize,
    /// Of v, relaxed as the options say.
    pub bounds: Bounds,
    /// s_f and s_i.
    pub scale: Scale,
    /// All rows are linear, the objective is linear or quadratic.
    pub quadratic: bool,
    /// Pattern of J, slacks included, where the user gives entries.
    pub jacobian: Option<JacobianPattern>,
    /// Where the user's entries of the Hessian go, if he gives them.
    pub hessian: Option<Coordinates>,
    /// The user gives J by products, H by products, a preconditioner.
    pub hessian_products: bool,
    pub preconditioner: bool,
    /// User's index of each free variable.
    pub free: Vec<usize>,
    /// Constraint of each slack.
    pub slacked: Vec<usize>,
    /// w of each slack.
    pub weight: Vec<f64>,
    /// b_i of an equality, 0 for a row with a slack.
    pub side: Vec<f64>,
    /// v at the start, and its size.
    pub start: Vec<f64>,
    pub start_size: f64,
    /// Place in J of each of the user's entries, then of the slacks'.
    pub(super) jacobian_at: Vec<u32>,
    /// Standard index of each of the user's variables; `DROPPED`: fixed.
    position: Vec<u32>,
}

impl Form {
    /// Of these meta data; the slacks weigh 1, the scales are 1, bounds of variables are relaxed by `relaxation` max(1, |bound|).
    pub fn new(meta: &NlpMeta, relaxation: f64) -> Self {
        let (user_n, m) = (meta.n(), meta.m());
        let free: Vec<usize> = (0..user_n).filter(|&j| meta.x_lower[j] < meta.x_upper[j]).collect();
        let slacked: Vec<usize> = (0..m).filter(|&i| !meta.is_equality(i)).collect();
        let mut position = vec![DROPPED; user_n];
        for (k, &j) in free.iter().enumerate() {
            position[j] = k as u32;
        }
        let n = free.len() + slacked.len();
        let mut form = Self {
            n,
            m,
            bounds: Bounds::default(),
            scale: Scale::new(m),
            quadratic: Self::is_quadratic(meta),
            jacobian: None,
            hessian: meta.hessian.as_ref().map(|p| coordinates(p, &position)),
            hessian_products: meta.hessian_products,
            preconditioner: meta.preconditioner,
            weight: vec![1.0; slacked.len()],
            side: (0..m).map(|i| if meta.is_equality(i) { meta.c_lower[i] } else { 0.0 }).collect(),
            free,
            slacked,
            jacobian_at: Vec::new(),
            start: Vec::new(),
            start_size: 0.0,
            position,
        };
        form.set_bounds(meta, relaxation);
        if let Some(p) = &meta.jacobian {
            form.place_jacobian(p);
        }
        form
    }

    /// All rows are linear, the objective is linear or quadratic.
    pub fn is_quadratic(meta: &NlpMeta) -> bool {
        meta.quadratic_objective && meta.linear.len() == meta.m() && meta.linear.iter().all(|l| *l)
    }

    /// These meta data have the same structure: the same entries, fixed variables, equalities and finite bounds. Their values may differ.
    pub fn fits(&self, meta: &NlpMeta) -> bool {
        let products = (self.hessian_products, self.preconditioner);
        self.position.len() == meta.n()
            && self.quadratic == Self::is_quadratic(meta)
            && self.m == meta.m()
            && products == (meta.hessian_products, meta.preconditioner)
            && self.has_same_bounds(meta)
            && self.has_same_entries(meta)
    }

    fn has_same_bounds(&self, meta: &NlpMeta) -> bool {
        let nf = self.free.len();
        let (mut lower, mut upper) = (self.bounds.with_lower.iter(), self.bounds.with_upper.iter());
        // Both lists ascend: each finite bound must be the next of its list.
        let mut same = |k: usize, l: f64, u: f64| {
            (l <= -INFINITE_BOUND || lower.next() == Some(&k))
                && (u >= INFINITE_BOUND || upper.next() == Some(&k))
        };
        let variables = self.position.iter().enumerate().all(|(j, &k)| {
            let (l, u) = (meta.x_lower[j], meta.x_upper[j]);
            (l < u) == (k != DROPPED) && (k == DROPPED || same(k as usize, l, u))
        });
        let mut slacks = self.slacked.iter().enumerate();
        let rows = (0..self.m).all(|i| {
            meta.is_equality(i)
                || slacks.next().is_some_and(|(k, &slacked)| {
                    slacked == i && same(nf + k, meta.c_lower[i], meta.c_upper[i])
                })
        });
        variables && rows && slacks.next().is_none() && lower.next().is_none() && upper.next().is_none()
    }

    fn has_same_entries(&self, meta: &NlpMeta) -> bool {
        let hessian = match (&self.hessian, &meta.hessian) {
            (Some(places), Some(p)) => {
                places.rows.len() == p.len()
                    && (0..p.len()).all(|k| place(p, &self.position, k) == (places.rows[k], places.cols[k]))
            }
            (None, None) => true,
            _ => false,
        };
        hessian
            && match (&self.jacobian, &meta.jacobian) {
                (Some(j), Some(p)) => {
                    self.jacobian_at.len() == p.len() + self.slacked.len()
                        && p.entries().zip(&self.jacobian_at).all(|((row, col), &at)| {
                            let (col, at) = (self.position[col], at as usize);
                            if at == DROPPED as usize || col == DROPPED {
                                return at == DROPPED as usize && col == DROPPED;
                            }
                            let column = j.col_ptr[col as usize]..j.col_ptr[col as usize + 1];
                            column.contains(&at) && j.row_idx[at] == row
                        })
                }
                (None, None) => true,
                _ => false,
            }
    }

    /// Takes over the values of the bounds and sides of a problem that `fits`; `anew`: scales and weights become 1.
    pub fn renew(&mut self, meta: &NlpMeta, relaxation: f64, anew: bool) {
        for (i, side) in self.side.iter_mut().enumerate() {
            *side = if meta.is_equality(i) { meta.c_lower[i] } else { 0.0 };
        }
        if anew {
            self.weight.fill(1.0);
            self.scale.objective = 1.0;
            self.scale.constraints.fill(1.0);
        }
        self.set_bounds(meta, relaxation);
    }

    /// Number of free variables; slacks follow.
    pub fn free_count(&self) -> usize {
        self.free.len()
    }

    /// The KKT matrix can be formed if the Hessian's entries are known.
    pub fn has_jacobian_entries(&self) -> bool {
        self.m == 0 || self.jacobian.is_some()
    }

    /// Entries of J.
    pub fn jacobian_len(&self) -> usize {
        self.jacobian.as_ref().map_or(0, |j| j.row_idx.len())
    }

    /// The bounds of v from those of x and c.
    pub(super) fn set_bounds(&mut self, meta: &NlpMeta, relaxation: f64) {
        let relaxed = |b: f64, by: f64| {
            if b.abs() < INFINITE_BOUND { b + by * b.abs().max(1.0) } else { b }
        };
        let Self { bounds, free, slacked, weight, .. } = self;
        let set = |x: &[f64], c: &[f64], sign: f64, out: &mut Vec<f64>| {
            out.clear();
            out.extend(free.iter().map(|&j| relaxed(x[j], sign * relaxation)));
            out.extend(slacked.iter().zip(&*weight).map(|(&i, w)| match c[i].abs() < INFINITE_BOUND {
                true => {
                    let most = MOST_RELAXATION.max(ROUNDING * c[i].abs());
                    (c[i] + sign * (RELAXATION * c[i].abs().max(1.0)).min(most)) / w
                }
                false => c[i],
            }));
        };
        set(&meta.x_lower, &meta.c_lower, -1.0, &mut bounds.lower);
        set(&meta.x_upper, &meta.c_upper, 1.0, &mut bounds.upper);
        bounds.find_finite();
    }

    fn place_jacobian(&mut self, p: &Pattern) {
        let (nf, position) = (self.free.len(), &self.position);
        let kept: Vec<usize> = (0..p.len()).filter(|&k| position[p.cols[k]] != DROPPED).collect();
        let rows: Vec<usize> = kept.iter().map(|&k| p.rows[k]).chain(self.slacked.iter().copied()).collect();
        let cols: Vec<usize> = kept.iter().map(|&k| position[p.cols[k]] as usize).chain(nf..self.n).collect();
        let (matrix, places) = SparseMatrix::from_coordinates(self.m, self.n, &rows, &cols, Storage::General);
        self.jacobian_at = vec![DROPPED; p.len() + self.slacked.len()];
        let entries = kept.iter().copied().chain(p.len()..p.len() + self.slacked.len());
        for (k, place) in entries.zip(places) {
            self.jacobian_at[k] = place as u32;
        }
        let SparseMatrix { col_ptr, row_idx, .. } = matrix;
        self.jacobian = Some(JacobianPattern { m: self.m, n: self.n, col_ptr, row_idx });
    }

    /// `values` <- J~ from the user's entries.
    pub(super) fn scatter_jacobian(&self, raw: &[f64], values: &mut [f64]) {
        let Some(pattern) = &self.jacobian else { return };
        values.fill(0.0);
        for (&p, v) in self.jacobian_at.iter().zip(raw) {
            if p != DROPPED {
                values[p as usize] += v;
            }
        }
        for (&p, w) in self.jacobian_at[raw.len()..].iter().zip(&self.weight) {
            values[p as usize] -= w;
        }
        for (v, &i) in values.iter_mut().zip(&pattern.row_idx) {
            *v *= self.scale.constraints[i];
        }
    }

    /// sum_j |J_ij v_j| + |b_i|, unscaled: the size of the terms of each row; without entries of J its side only.
    pub fn row_terms(&self, v: &[f64], jacobian: &[f64]) -> Vec<f64> {
        let mut terms: Vec<f64> = self.side.iter().map(|b| b.abs()).collect();
        if let Some(p) = &self.jacobian {
            for (j, x) in v.iter().enumerate() {
                let column = p.col_ptr[j]..p.col_ptr[j + 1];
                for (&i, value) in p.row_idx[column.clone()].iter().zip(&jacobian[column]) {
                    terms[i] += (value * x).abs() / self.scale.constraints[i];
                }
            }
        }
        terms
    }

    /// sum_i |J_ij y_i|, scaled: the size of the terms of each entry of J'y.
    pub fn column_terms(&self, jacobian: &[f64], y: &[f64]) -> Vec<f64> {
        let Some(p) = &self.jacobian else { return vec![0.0; self.n] };
        let term = |k: usize| (jacobian[k] * y[p.row_idx[k]]).abs();
        (0..self.n).map(|j| (p.col_ptr[j]..p.col_ptr[j + 1]).map(term).sum()).collect()
    }

    /// The free entries of a user's vector; entries of slacks are 0.
    pub(super) fn gather(&self, user: &[f64], out: &mut [f64]) {
        let (own, slacks) = out.split_at_mut(self.free.len());
        for (o, &j) in own.iter_mut().zip(&self.free) {
            *o = user[j];
        }
        slacks.fill(0.0);
    }

    /// A user's vector with the free entries of `v`, 0 at fixed variables.
    pub(super) fn scatter(&self, v: &[f64], user: &mut [f64]) {
        user.fill(0.0);
        for (&j, v) in self.free.iter().zip(v) {
            user[j] = *v;
        }
    }

    /// c <- c - w s.
    pub(super) fn subtract_slacks(&self, v: &[f64], c: &mut [f64]) {
        for ((&i, w), s) in self.slacked.iter().zip(&self.weight).zip(&v[self.free.len()..]) {
            c[i] -= w * s;
        }
    }
}

/// Row and column of an entry of the Hessian.
fn place(p: &Pattern, position: &[u32], k: usize) -> (u32, u32) {
    match (position[p.rows[k]], position[p.cols[k]]) {
        (DROPPED, _) | (_, DROPPED) => (DROPPED, DROPPED),
        kept => kept,
    }
}

fn coordinates(p: &Pattern, position: &[u32]) -> Coordinates {
    let (rows, cols) = (0..p.len()).map(|k| place(p, position, k)).unzip();
    Coordinates { rows, cols }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three variables, the second fixed; an equality and a range; a duplicate entry.
    fn meta() -> NlpMeta {
        let mut meta = NlpMeta::equality("test", 3, 2);
        (meta.x_lower[1], meta.x_upper[1]) = (5.0, 5.0);
        (meta.c_lower[0], meta.c_upper[0]) = (7.0, 7.0);
        (meta.c_lower[1], meta.c_upper[1]) = (-1.0, 2.0);
        meta.jacobian = Some(Pattern { rows: vec![0, 1, 0, 0, 1], cols: vec![2, 0, 1, 2, 2] });
        meta.hessian = Some(Pattern { rows: vec![0, 1, 2], cols: vec![0, 1, 0] });
        meta
    }

    #[test]
    fn entries_of_fixed_variables_are_dropped_and_duplicates_add() {
        let form = Form::new(&meta(), 0.0);
        assert_eq!((form.n, form.m, form.free_count()), (3, 2, 2));
        let mut values = vec![0.0; form.jacobian_len()];
        form.scatter_jacobian(&[1.0, 2.0, 99.0, 10.0, 3.0], &mut values);
        let jacobian = form.jacobian.as_ref().unwrap().with(&values);
        let mut out = [0.0; 2];
        jacobian.apply(1.0, &[1.0, 100.0, 10000.0], 0.0, &mut out);
        assert_eq!(out, [1100.0, 302.0 - 10000.0]);
        let h = form.hessian.unwrap();
        assert_eq!((h.rows, h.cols), (vec![0, DROPPED, 1], vec![0, DROPPED, 0]));
        assert_eq!(form.side, [7.0, 0.0]);
    }

    #[test]
    fn values_may_change_the_structure_may_not() {
        let mut user = meta();
        user.x_upper[0] = 4.0;
        let mut form = Form::new(&user, 0.0);
        assert!(form.fits(&user));
        user.x_upper[0] = 5.0;
        (user.c_lower[0], user.c_upper[0]) = (8.0, 8.0);
        assert!(form.fits(&user));
        form.renew(&user, 0.0, true);
        assert_eq!((form.bounds.upper[0], form.side[0]), (5.0, 8.0));
        let changes: [fn(&mut NlpMeta); 8] = [
            |m| m.x_upper[0] = f64::INFINITY,
            |m| m.x_lower[0] = 0.0,
            |m| m.x_upper[1] = 6.0,
            |m| m.x_lower[0] = m.x_upper[0],
            |m| m.c_upper[0] = 9.0,
            |m| m.c_upper[1] = f64::INFINITY,
            |m| m.jacobian.as_mut().unwrap().rows[0] = 1,
            |m| m.hessian.as_mut().unwrap().cols[2] = 2,
        ];
        for (k, change) in changes.iter().enumerate() {
            let mut other = user.clone();
            change(&mut other);
            assert!(!form.fits(&other), "change {k}");
        }
    }

    #[test]
    fn bounds_of_slacks_are_relaxed_those_of_variables_only_if_allowed() {
        let mut user = meta();
        user.x_lower[0] = 10.0;
        let form = Form::new(&user, 0.0);
        assert_eq!(form.bounds.lower[0], 10.0);
        assert_eq!((form.bounds.lower[2], form.bounds.upper[2]), (-1.0 - 1e-8, 2.0 + 2e-8));
        assert_eq!(Form::new(&user, 1e-8).bounds.lower[0], 10.0 - 1e-7);
    }
}
