//! Points between the user's problem and the smaller one.
//!
//! With G = grad f + J'y over the rows that are back, summed over what a variable has replaced (T_k = G_k + sum f_j T_j), stack in reverse:
//!
//! ```text
//!     row a x_j within bounds:      z_j presses against a bound that the row has set: y = z_j / a, z_j = 0
//!     x_k = s + f x_l by a row:     z_l presses against a bound of x_k: z_k = z_l / f, z_l = 0 (its share where the bound is of both); y = -(T_k + z_k) / a_k
//!     row = t times row p:          y_p presses against a bound of the row: y = y_p / t, y_p = 0
//! ```
//!
//! The z of a variable that is fixed at that stage of the stack is what its column lacks, -T_j.

use super::{Presolve, Reduction};
use crate::nlp::Pattern;

/// A user's point: multipliers, and what they are made of.
pub(in crate::opt) struct Restored<'r> {
    pub y: &'r mut [f64],
    pub z: &'r mut [f64],
    /// grad f at the user's point; grad f + J'y on return.
    pub gradient: &'r mut [f64],
}

impl Presolve {
    /// The user's x; rounding does not carry replaced variables out of their bounds.
    pub fn user_x(&self, x: &[f64], user: &mut [f64]) {
        for (out, image) in user.iter_mut().zip(&self.image) {
            *out = image.shift + image.factor * x[image.of];
        }
        for &(j, lower, upper) in &self.within {
            user[j] = user[j].clamp(lower, upper);
        }
    }

    /// out <- the derivatives by the variables that are left.
    pub fn gather(&self, user: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        for (image, g) in self.image.iter().zip(user) {
            out[image.of] += image.factor * g;
        }
    }

    /// A user's point with multipliers as one of the smaller problem.
    pub fn forward(&self, (x, y, z): (&[f64], &[f64], &[f64])) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let (mut y, mut z) = (y.to_vec(), z.to_vec());
        for step in &self.stack {
            match *step {
                Reduction::Bound { row, col, a, .. } => z[col] += a * y[row],
                Reduction::Doubleton { gone, kept, factor, .. } => z[kept] += factor * z[gone],
                Reduction::Parallel { row, of, ratio, .. } => y[of] += ratio * y[row],
            }
        }
        let pick = |v: &[f64], at: &[usize]| at.iter().map(|&k| v[k]).collect();
        (pick(x, &self.cols), pick(&y, &self.rows), pick(&z, &self.cols))
    }

    /// The user's multipliers from those of the smaller problem; `jacobian`: the user's entries at the point.
    pub fn restore(&self, (y, z): (&[f64], &[f64]), pattern: &Pattern, jacobian: &[f64], to: Restored<'_>) {
        let Restored { y: all_y, z: all_z, gradient } = to;
        all_y.fill(0.0);
        all_z.fill(0.0);
        self.rows.iter().zip(y).for_each(|(&i, y)| all_y[i] = *y);
        self.cols.iter().zip(z).for_each(|(&j, z)| all_z[j] = *z);
        let rows = RowsOf::new(pattern, jacobian, all_y.len());
        let mut fixed = vec![false; gradient.len()];
        let (lower, upper) = (&self.meta.x_lower, &self.meta.x_upper);
        for (k, &j) in self.cols.iter().enumerate() {
            fixed[j] = lower[k] == upper[k];
        }
        let mut sums =
            Sums { parent: self.parent.clone(), total: vec![0.0; gradient.len()], fixed, gradient };
        for j in 0..all_z.len() {
            let g = sums.gradient[j];
            sums.climb(j, g);
        }
        for (i, y) in all_y.iter().enumerate() {
            sums.add_row(&rows, i, *y);
        }
        for step in self.stack.iter().rev() {
            match *step {
                Reduction::Bound { row, col, a, lower, upper } => {
                    let z = all_z[col];
                    sums.fixed[col] = false;
                    if (z > 0.0 && upper) || (z < 0.0 && lower) {
                        all_z[col] = 0.0;
                        all_y[row] = z / a;
                        sums.restore_row(&rows, row, z / a, all_z);
                    }
                }
                Reduction::Doubleton { row, a, gone, kept, factor, share } => {
                    let z = all_z[kept];
                    let share = share[usize::from(z > 0.0)];
                    if z != 0.0 && share > 0.0 {
                        (all_z[gone], all_z[kept]) = (share * z / factor, (1.0 - share) * z);
                    }
                    let y = -(sums.total[gone] + all_z[gone]) / a;
                    sums.part(gone, kept, factor);
                    all_y[row] = y;
                    sums.restore_row(&rows, row, y, all_z);
                }
                Reduction::Parallel { row, of, ratio, lower, upper } => {
                    let y = all_y[of];
                    if (y > 0.0 && upper) || (y < 0.0 && lower) {
                        all_y[of] = 0.0;
                        sums.restore_row(&rows, of, -y, all_z);
                        all_y[row] = y / ratio;
                        sums.restore_row(&rows, row, y / ratio, all_z);
                    }
                }
            }
        }
    }
}

/// The user's Jacobian by rows.
struct RowsOf {
    start: Vec<usize>,
    entries: Vec<(usize, f64)>,
}

impl RowsOf {
    fn new(pattern: &Pattern, values: &[f64], m: usize) -> Self {
        let mut start = vec![0; m + 1];
        pattern.rows.iter().for_each(|&i| start[i + 1] += 1);
        for i in 0..m {
            start[i + 1] += start[i];
        }
        let mut next = start.clone();
        let mut entries = vec![(0, 0.0); values.len()];
        for ((i, j), v) in pattern.entries().zip(values) {
            entries[next[i]] = (j, *v);
            next[i] += 1;
        }
        Self { start, entries }
    }
}

/// G and T, as the reductions are undone.
struct Sums<'s> {
    parent: Vec<Option<(usize, f64)>>,
    total: Vec<f64>,
    /// Variables that are fixed now: their z takes up what their column lacks.
    fixed: Vec<bool>,
    gradient: &'s mut [f64],
}

impl Sums<'_> {
    /// T of a variable and of those that have replaced it; the last of them.
    fn climb(&mut self, mut j: usize, mut by: f64) -> (usize, f64) {
        loop {
            self.total[j] += by;
            let Some((next, factor)) = self.parent[j] else { return (j, by) };
            (j, by) = (next, factor * by);
        }
    }

    /// A variable stands for itself again.
    fn part(&mut self, gone: usize, kept: usize, factor: f64) {
        self.parent[gone] = None;
        self.total[kept] -= factor * self.total[gone];
        self.fixed[kept] = false;
    }

    fn add_row(&mut self, rows: &RowsOf, i: usize, y: f64) {
        self.restore_row(rows, i, y, &mut []);
    }

    /// Row i has y more; `z`: where that of fixed variables is.
    fn restore_row(&mut self, rows: &RowsOf, i: usize, y: f64, z: &mut [f64]) {
        if y == 0.0 {
            return;
        }
        for &(j, a) in &rows.entries[rows.start[i]..rows.start[i + 1]] {
            self.gradient[j] += a * y;
            let (last, by) = self.climb(j, a * y);
            if self.fixed[last] && !z.is_empty() {
                z[last] -= by;
            }
        }
    }
}
