//! Are the user's second derivatives those of the gradients? Asked where an attempt fails: two grouped differences single out
//! suspects, a sequence of steps with an error estimate convicts, a second point confirms.

use super::differences::{Differences, compressed, groups};
use crate::linalg::SparseMatrix;
use crate::nlp::EvalError;
use crate::nlp::differences::{Differences as Steps, Direction};
use crate::opt::problem::{Bounds, Evaluator};
use crate::report::WrongEntry;

/// Groups up to which the Hessian is compared with differences: two comparisons cost four gradients a group.
const MOST_GROUPS: usize = 200;
/// Relative difference from which an entry counts as wrong.
const WRONG: f64 = 1e-3;
/// The same at a point nearby, which confirms it.
const WRONG_NEARBY: f64 = 1e-6;
/// Suspicious entries looked at closely, and the factor by which the estimated error of their differences is distrusted.
const MOST_SUSPECTS: usize = 8;
const DISTRUST: f64 = 100.0;

/// The user's entries beside their differences.
struct Comparison<'c, 'p> {
    p: &'c mut Evaluator<'p>,
    differences: Differences,
    /// The user's entries on the compressed pattern.
    given: SparseMatrix,
    raw: Vec<f64>,
    places: Vec<usize>,
}

/// An entry of the user's Hessian of the Lagrangian at (x, y), scaled, that is wrong; in standard variables. Allocates.
pub(in crate::opt) fn wrong_entry(p: &mut Evaluator<'_>, x: &[f64], y: &[f64]) -> Option<WrongEntry> {
    let coordinates = p.form.hessian.as_ref()?;
    if p.stop.check().is_some() {
        return None;
    }
    let raw = vec![0.0; coordinates.rows.len()];
    let (given, kept) = compressed(x.len(), coordinates);
    let groups = groups(&given, MOST_GROUPS)?;
    let mut kept = kept.into_iter();
    let place = |&r: &u32| if r == u32::MAX { None } else { kept.next() };
    let places = coordinates.rows.iter().map(place).map(|k| k.unwrap_or(usize::MAX)).collect();
    let differences = Differences::for_groups(given.clone(), groups);
    Comparison { p, differences, given, raw, places }.wrong(x, y)
}

impl Comparison<'_, '_> {
    fn wrong(&mut self, x: &[f64], y: &[f64]) -> Option<WrongEntry> {
        self.differences.compute(self.p, (x, 1.0, y), 1.0).ok()?;
        let coarse = self.differences.pattern().values.clone();
        self.differences.compute(self.p, (x, 1.0, y), 0.25).ok()?;
        self.evaluate(x, y)?;
        let suspects = self.suspects(&coarse);
        let found = suspects.into_iter().find_map(|entry| self.wrong_entry((x, y), entry, WRONG));
        // A kink is wrong at one point, a formula almost everywhere.
        found.filter(|w| {
            let near = point_near(&self.p.form.bounds, x);
            self.wrong_entry((&near, y), (w.row, w.col), WRONG_NEARBY).is_some()
        })
    }

    /// The user's entries at (x, y).
    fn evaluate(&mut self, x: &[f64], y: &[f64]) -> Option<()> {
        self.p.hessian(x, 1.0, y, &mut self.raw).ok()?;
        self.given.values.fill(0.0);
        for (&place, v) in self.places.iter().zip(&self.raw) {
            if place != usize::MAX {
                self.given.values[place] += v;
            }
        }
        Some(())
    }

    /// The entry at x, if it is wrong by more than `tolerance`.
    fn wrong_entry(
        &mut self,
        (x, y): (&[f64], &[f64]),
        (row, col): (usize, usize),
        tolerance: f64,
    ) -> Option<WrongEntry> {
        self.evaluate(x, y)?;
        let h = &self.given;
        let rows = &h.row_idx[h.col_ptr[col]..h.col_ptr[col + 1]];
        let given = h.values[h.col_ptr[col] + rows.binary_search(&row).ok()?];
        let (expected, error) = self.careful_entry((x, y), row, col)?;
        // Differences that miss fast changes agree with each other, roughly: they must be accurate to accuse.
        let accurate = DISTRUST * error <= (0.1 * expected.abs()).max(1e-6 * given.abs());
        let wrong =
            (given - expected).abs() > (tolerance * given.abs().max(expected.abs())).max(DISTRUST * error);
        (accurate && wrong).then_some(WrongEntry { row, col, given, expected })
    }

    /// Entries that differ from two differences much more than these do from each other; the worst first.
    fn suspects(&self, coarse: &[f64]) -> Vec<(usize, usize)> {
        let (h, fine) = (&self.given, &self.differences.pattern().values);
        let mut found = Vec::new();
        for j in 0..h.ncols {
            for p in h.col_ptr[j]..h.col_ptr[j + 1] {
                let (given, expected) = (h.values[p], coarse[p]);
                let gap = (given - expected).abs();
                let ratio = gap / (coarse[p] - fine[p]).abs().max(f64::MIN_POSITIVE);
                if gap > WRONG * given.abs().max(expected.abs()) && ratio > 10.0 {
                    found.push((ratio, h.row_idx[p], j));
                }
            }
        }
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        found.into_iter().take(MOST_SUSPECTS).map(|(_, i, j)| (i, j)).collect()
    }

    /// Entry (row, col) of hess L and its estimated error.
    fn careful_entry(&mut self, (x, y): (&[f64], &[f64]), row: usize, col: usize) -> Option<(f64, f64)> {
        let failed = |reason: String| EvalError::Failed { function: "gradient", reason };
        let mut steps = Steps::new(x.len());
        let Self { p, differences, .. } = self;
        steps.along(x, Direction::Column(col), |x, out| {
            let bounds = &p.form.bounds;
            if x[col] < bounds.lower[col] || x[col] > bounds.upper[col] {
                return Err(failed("outside the bounds".into()));
            }
            differences.gradient(p, (x, 1.0, y), out).map_err(|e| failed(e.function.into_owned()))
        });
        let (value, error) = (steps.value[row], steps.error[row]);
        (value.is_finite() && error.is_finite()).then_some((value, error))
    }
}

/// Inside the bounds, a hundredth of 1 + |x_j| away in each variable where there is room.
fn point_near(bounds: &Bounds, x: &[f64]) -> Vec<f64> {
    let moved = |j: usize| {
        let d = (0.5 + ((j * 7919 + 13) % 101) as f64 / 101.0) * 1e-2 * (1.0 + x[j].abs());
        let (down, up) = (x[j] - bounds.lower[j], bounds.upper[j] - x[j]);
        if up > down { x[j] + d.min(0.5 * up) } else { x[j] - d.min(0.5 * down) }
    };
    (0..x.len()).map(moved).collect()
}
