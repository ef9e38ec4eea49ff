//! The linear rows while reductions are looked for.

use crate::nlp::{INFINITE_BOUND, Nlp};

/// A coefficient that cancels to this share of its terms is 0.
const CANCELLED: f64 = 1e-13;

/// Where a user's variable is: x_j = shift + factor x_of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Image {
    pub of: usize,
    pub shift: f64,
    pub factor: f64,
}

/// lower <= sum_j a_j x_j <= upper for the rows that are linear; the others are empty and not alive for presolve.
pub(super) struct LinearRows {
    /// Variable and coefficient.
    pub entries: Vec<Vec<(usize, f64)>>,
    pub bounds: Vec<(f64, f64)>,
    /// User's sides less those in `bounds`.
    pub offset: Vec<f64>,
    /// Size of the terms that were moved into the bounds.
    pub size: Vec<f64>,
    /// Lower and upper bound were set by another row.
    pub moved: Vec<(bool, bool)>,
    /// Still a row of the problem (rows that are not linear, too).
    pub alive: Vec<bool>,
    /// Linear rows of each variable, and of those it has replaced.
    pub of_col: Vec<Vec<usize>>,
    /// Place of a variable in the row that is put together; `usize::MAX` elsewhere.
    place: Vec<usize>,
}

impl LinearRows {
    /// Coefficients and constants from c and J at the start; `None` where these cannot be evaluated.
    pub fn of(nlp: &mut dyn Nlp) -> Option<Self> {
        let (n, m) = (nlp.meta().n(), nlp.meta().m());
        let entries = nlp.meta().jacobian.as_ref()?.len();
        let meta = nlp.meta();
        let x: Vec<f64> = (0..n).map(|j| meta.x0[j].clamp(meta.x_lower[j], meta.x_upper[j])).collect();
        let (mut c, mut values) = (vec![0.0; m], vec![0.0; entries]);
        // A failure, or a panic, is found again and told of when the solve begins.
        let evaluated = crate::opt::problem::evaluator::catching(|| {
            nlp.cons(&x, &mut c).is_ok() && nlp.jac_values(&x, &mut values).is_ok()
        });
        if evaluated != Ok(true) {
            return None;
        }
        let meta = nlp.meta();
        let mut rows = Self {
            entries: vec![Vec::new(); m],
            bounds: vec![(0.0, 0.0); m],
            offset: c,
            size: vec![0.0; m],
            moved: vec![(false, false); m],
            alive: vec![true; m],
            of_col: vec![Vec::new(); n],
            place: vec![usize::MAX; n],
        };
        for ((i, j), &a) in meta.jacobian.as_ref()?.entries().zip(&values) {
            if meta.linear[i] {
                rows.entries[i].push((j, a));
                rows.offset[i] -= a * x[j];
                rows.size[i] += (a * x[j]).abs();
                rows.of_col[j].push(i);
            }
        }
        for i in (0..m).filter(|&i| meta.linear[i]) {
            let offset = rows.offset[i];
            if !offset.is_finite() || rows.entries[i].iter().any(|e| !e.1.is_finite()) {
                return None;
            }
            let side = |b: f64| if b.abs() < INFINITE_BOUND { b - offset } else { b };
            rows.bounds[i] = (side(meta.c_lower[i]), side(meta.c_upper[i]));
            rows.size[i] += offset.abs();
        }
        Some(rows)
    }

    /// Replaces variables by their images, moves fixed ones into the bounds, adds entries of the same variable.
    pub fn update(
        &mut self,
        row: usize,
        image: impl Fn(usize) -> Image,
        fixed: impl Fn(usize) -> Option<f64>,
    ) {
        let old = std::mem::take(&mut self.entries[row]);
        let mut new: Vec<(usize, f64)> = Vec::with_capacity(old.len());
        let mut size: Vec<f64> = Vec::with_capacity(old.len());
        let mut constant = 0.0;
        for (j, a) in old {
            let Image { of, shift, factor } = image(j);
            constant += a * shift;
            self.size[row] += (a * shift).abs();
            let a = a * factor;
            if let Some(value) = fixed(of) {
                constant += a * value;
                self.size[row] += (a * value).abs();
            } else if self.place[of] == usize::MAX {
                self.place[of] = new.len();
                new.push((of, a));
                size.push(a.abs());
            } else {
                new[self.place[of]].1 += a;
                size[self.place[of]] += a.abs();
            }
        }
        new.iter().for_each(|e| self.place[e.0] = usize::MAX);
        let mut sizes = size.iter();
        new.retain(|e| sizes.next().is_some_and(|s| e.1.abs() > CANCELLED * s));
        self.offset[row] += constant;
        let (lower, upper) = &mut self.bounds[row];
        for side in [lower, upper] {
            if side.abs() < INFINITE_BOUND {
                *side -= constant;
            }
        }
        self.entries[row] = new;
    }

    /// Variables and coefficients relative to the first one, in the order of the variables.
    pub fn normalized(&mut self, row: usize) -> Vec<(usize, u64)> {
        let entries = &mut self.entries[row];
        entries.sort_unstable_by_key(|e| e.0);
        let first = entries.first().map_or(1.0, |e| e.1);
        entries.iter().map(|&(j, a)| (j, (a / first).to_bits())).collect()
    }
}
