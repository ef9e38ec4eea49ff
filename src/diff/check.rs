//! Compares what a map offers with differences of its values, and names the entries that are wrong.

use std::fmt;

use super::map::{At, BarsMut, Dots, Kept, Map, Offers, Size};
use super::spec::Spec;

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CheckOptions {
    /// Relative error of a derivative that is still right; differences are good to about 1e-10. Default 1e-6.
    pub tolerance: f64,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self { tolerance: 1e-6 }
    }
}

/// A derivative that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct Wrong {
    /// The product or table it is from.
    pub from: &'static str,
    /// Of what with respect to what: `dy[1]/dx[0]`, `dy[0]/d0.weight[3]`.
    pub entry: String,
    /// What the map says.
    pub found: f64,
    /// What differences say.
    pub expected: f64,
}

/// What [`check_map`] found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MapReport {
    /// What the map offers and was compared.
    pub checked: Vec<&'static str>,
    /// Every entry that differs.
    pub wrong: Vec<Wrong>,
}

impl MapReport {
    /// Whether nothing differs.
    pub fn ok(&self) -> bool {
        self.wrong.is_empty()
    }
}

/// At most this many wrong entries are printed.
const SHOWN: usize = 20;

impl fmt::Display for MapReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "compared: {}; {} wrong", self.checked.join(", "), self.wrong.len())?;
        for w in self.wrong.iter().take(SHOWN) {
            write!(f, "\n  {} {}: {:.6e}, differences say {:.6e}", w.from, w.entry, w.found, w.expected)?;
        }
        if self.wrong.len() > SHOWN {
            write!(f, "\n  and {} more", self.wrong.len() - SHOWN)?;
        }
        Ok(())
    }
}

/// A derivative by differences, and how far it may be off.
#[derive(Clone, Copy)]
struct Slope {
    value: f64,
    noise: f64,
}

/// Compares all that the map offers with central differences of fourth order, at one point and for every column of its batch: the values that `forward`
/// gives, vjp, jvp, Jacobian (and that nothing lies outside its structure), time derivative, tangent of the vjp. Near a kink differences are wrong, not the map.
///
/// Takes 4 (inputs + params + 1) evaluations and outputs x batch vjps.
///
/// ```
/// use costate::diff::{At, CheckOptions, FnMap, Map, check_map};
/// let mut field = FnMap::new(2, 0, |_t, y: &[f64], _p: &[f64], dy: &mut [f64]| (dy[0], dy[1]) = (y[1], -y[0] * y[0]))
///     .with_jacobian(|_t, y: &[f64], _p: &[f64], jac: &mut [f64]| jac.copy_from_slice(&[0.0, 2.0 * y[0], 1.0, 0.0]));
/// let report = check_map(&mut field, At::new(0.0, &[0.5, 1.0], &[]), &CheckOptions::default());
/// assert_eq!(report.wrong[0].entry, "dy[1]/dx[0]");
/// ```
pub fn check_map<M: Map<f64> + ?Sized>(map: &mut M, at: At<'_, f64>, options: &CheckOptions) -> MapReport {
    let (size, spec, offers) = (map.size(), map.spec(), map.offers());
    let mut check = Check {
        batch: at.x.len().checked_div(size.inputs).unwrap_or(1),
        size,
        spec,
        at,
        options,
        report: MapReport::default(),
    };
    let (y, keep) = check.forward(map);
    let (x_slopes, p_slopes, t_slopes) = check.slopes(map);
    let kept = Kept { y: &y, keep: &keep };
    if offers.has(Offers::VJP) {
        check.vjp(map, kept, &x_slopes, &p_slopes);
    }
    if offers.has(Offers::JVP) {
        check.jvp(map, kept, &x_slopes, &p_slopes, &t_slopes);
    }
    if offers.has(Offers::JACOBIAN) {
        check.jacobian(map, &x_slopes);
    }
    if offers.has(Offers::DT) || offers.has(Offers::AUTONOMOUS) {
        check.time_derivative(map, &t_slopes);
    }
    if offers.has(Offers::TANGENT | Offers::VJP) {
        check.tangent(map, kept);
    }
    check.report
}

struct Check<'a> {
    size: Size,
    batch: usize,
    spec: Spec,
    at: At<'a, f64>,
    options: &'a CheckOptions,
    report: MapReport,
}

/// Moves t, x and p by a multiple of a direction.
type Shift<'a> = dyn Fn(f64, &mut f64, &mut [f64], &mut [f64]) + 'a;
/// Slopes of every entry of y, a list for each variable.
type Table = Vec<Vec<Slope>>;

/// By the values at +-d and +-2d, f32 accuracy being too little: order four, and what rounding and the next term may be.
fn slope([a, b, c, e]: [f64; 4], d: f64) -> Slope {
    let (second, fourth) = ((b - c) / (2.0 * d), (8.0 * (b - c) - (a - e)) / (12.0 * d));
    let most = [a, b, c, e].iter().fold(0.0f64, |m, v| m.max(v.abs()));
    Slope { value: fourth, noise: 64.0 * f64::EPSILON * most / d + 1e-3 * (fourth - second).abs() }
}

impl Check<'_> {
    fn compare(&mut self, from: &'static str, entry: impl FnOnce() -> String, found: f64, slope: Slope) {
        let size = found.abs().max(slope.value.abs());
        if (found - slope.value).abs() <= self.options.tolerance * size + slope.noise {
            return;
        }
        self.report.wrong.push(Wrong { from, entry: entry(), found, expected: slope.value });
    }
    fn column(&self, c: usize) -> String {
        if self.batch > 1 { format!(" in column {c}") } else { String::new() }
    }
    fn of_x(&self, i: usize, j: usize, c: usize) -> String {
        format!("dy[{i}]/dx[{j}]{}", self.column(c))
    }
    fn of_p(&self, i: usize, k: usize, c: usize) -> String {
        format!("dy[{i}]/d{}{}", self.spec.describe(k), self.column(c))
    }

    /// Values with and without keeping must be the same; returns what `forward` left.
    fn forward<M: Map<f64> + ?Sized>(&mut self, map: &mut M) -> (Vec<f64>, Vec<f64>) {
        let n = self.size.outputs * self.batch;
        let (mut y, mut kept, mut keep) = (vec![0.0; n], vec![0.0; n], vec![0.0; map.keep_len(self.batch)]);
        map.value(self.at, &mut y);
        map.forward(self.at, &mut kept, &mut keep);
        self.report.checked.push("values");
        for (k, (a, b)) in y.iter().zip(&kept).enumerate() {
            let entry = || format!("y[{}]{}", k % self.size.outputs, self.column(k / self.size.outputs));
            if a != b {
                let entry = entry();
                self.report.wrong.push(Wrong { from: "forward", entry, found: *b, expected: *a });
            }
        }
        (kept, keep)
    }

    /// dy/dx_j, dy/dp_k and dy/dt of every entry of y, one block of outputs x batch for each variable.
    fn slopes<M: Map<f64> + ?Sized>(&self, map: &mut M) -> (Table, Table, Vec<Slope>) {
        let n = self.size.outputs * self.batch;
        let d = f64::EPSILON.powf(0.2);
        let mut along = |shift: &Shift<'_>, d: f64| {
            let values = [2.0, 1.0, -1.0, -2.0].map(|s| {
                let (mut t, mut x, mut p) = (self.at.t, self.at.x.to_vec(), self.at.p.to_vec());
                shift(s * d, &mut t, &mut x, &mut p);
                let mut y = vec![0.0; n];
                map.value(At::new(t, &x, &p), &mut y);
                y
            });
            (0..n).map(|k| slope([0, 1, 2, 3].map(|m| values[m][k]), d)).collect::<Vec<_>>()
        };
        let length = |v: f64| d * v.abs().max(1.0);
        let inputs = self.size.inputs;
        let of_x = (0..inputs).map(|j| {
            // Columns do not see each other: the same component of all moves at once.
            let most = self.at.x.iter().skip(j).step_by(inputs).fold(0.0f64, |m, v| m.max(v.abs()));
            along(&|e, _, x, _| x.iter_mut().skip(j).step_by(inputs).for_each(|x| *x += e), length(most))
        });
        let of_x = of_x.collect();
        let of_p =
            (0..self.size.params).map(|k| along(&|e, _, _, p| p[k] += e, length(self.at.p[k]))).collect();
        let of_t = along(&|e, t, _, _| *t += e, length(self.at.t));
        (of_x, of_p, of_t)
    }

    fn vjp<M: Map<f64> + ?Sized>(
        &mut self,
        map: &mut M,
        of: Kept<'_, f64>,
        xs: &[Vec<Slope>],
        ps: &[Vec<Slope>],
    ) {
        self.report.checked.push("vjp");
        let Size { inputs, outputs, params } = self.size;
        for c in 0..self.batch {
            for i in 0..outputs {
                let mut w = vec![0.0; outputs * self.batch];
                w[c * outputs + i] = 1.0;
                // It must add.
                let (mut xb, mut pb) = (vec![1.0; inputs * self.batch], vec![-1.0; params]);
                map.vjp(self.at, of, &w, BarsMut::new(&mut xb, &mut pb));
                for (l, b) in xb.iter().enumerate() {
                    let (column, j) = (l / inputs, l % inputs);
                    let none = Slope { value: 0.0, noise: 0.0 };
                    let expected = if column == c { xs[j][c * outputs + i] } else { none };
                    let rounding = Slope { noise: expected.noise + 4.0 * f64::EPSILON, ..expected };
                    self.compare_x("vjp", (i, j, column), b - 1.0, rounding);
                }
                for (k, b) in pb.iter().enumerate() {
                    let expected = ps[k][c * outputs + i];
                    let rounding = Slope { noise: expected.noise + 4.0 * f64::EPSILON, ..expected };
                    let entry = self.of_p(i, k, c);
                    self.compare("vjp", || entry, b + 1.0, rounding);
                }
            }
        }
    }
    fn compare_x(&mut self, from: &'static str, (i, j, c): (usize, usize, usize), found: f64, slope: Slope) {
        let entry = self.of_x(i, j, c);
        self.compare(from, || entry, found, slope);
    }

    /// One direction for each input, parameter, and time, all in one call.
    fn jvp<M: Map<f64> + ?Sized>(
        &mut self,
        map: &mut M,
        of: Kept<'_, f64>,
        xs: &[Vec<Slope>],
        ps: &[Vec<Slope>],
        ts: &[Slope],
    ) {
        self.report.checked.push("jvp");
        let Size { inputs, outputs, params } = self.size;
        let (n, m, count) = (inputs * self.batch, outputs * self.batch, inputs + params + 1);
        let (mut t, mut x, mut p) = (vec![0.0; count], vec![0.0; count * n], vec![0.0; count * params]);
        for j in 0..inputs {
            x[j * n..(j + 1) * n].iter_mut().skip(j).step_by(inputs).for_each(|v| *v = 1.0);
        }
        (0..params).for_each(|k| p[(inputs + k) * params + k] = 1.0);
        t[count - 1] = 1.0;
        let (mut y_dot, mut keep_dot) = (vec![f64::NAN; count * m], vec![0.0; count * of.keep.len()]);
        map.jvp(self.at, of, Dots { count, t: &t, x: &x, p: &p }, &mut y_dot, &mut keep_dot);
        for (direction, y_dot) in y_dot.chunks_exact(m).enumerate() {
            for (l, &found) in y_dot.iter().enumerate() {
                let (c, i) = (l / outputs, l % outputs);
                if direction < inputs {
                    self.compare_x("jvp", (i, direction, c), found, xs[direction][l]);
                } else if direction < inputs + params {
                    let (k, entry) = (direction - inputs, self.of_p(i, direction - inputs, c));
                    self.compare("jvp", || entry, found, ps[k][l]);
                } else {
                    let entry = format!("dy[{i}]/dt{}", self.column(c));
                    self.compare("jvp", || entry, found, ts[l]);
                }
            }
        }
    }

    fn jacobian<M: Map<f64> + ?Sized>(&mut self, map: &mut M, xs: &[Vec<Slope>]) {
        self.report.checked.push("Jacobian");
        let Size { inputs, outputs, .. } = self.size;
        let structure = map.structure().clone();
        let len = structure.len(outputs, inputs);
        let mut jac = vec![0.0; len * self.batch];
        map.jacobian(self.at, &mut jac);
        for c in 0..self.batch {
            // Entries outside the structure are zeros.
            let mut full = vec![0.0; outputs * inputs];
            let block = &jac[c * len..][..len];
            structure.entries(outputs, inputs, |i, j, k| full[j * outputs + i] = block[k]);
            for (l, found) in full.into_iter().enumerate() {
                let (j, i) = (l / outputs, l % outputs);
                self.compare_x("Jacobian", (i, j, c), found, xs[j][c * outputs + i]);
            }
        }
    }

    fn time_derivative<M: Map<f64> + ?Sized>(&mut self, map: &mut M, ts: &[Slope]) {
        self.report.checked.push("time derivative");
        let mut dt = vec![0.0; ts.len()];
        // An autonomous map need not have the method.
        if map.offers().has(Offers::DT) {
            map.time_derivative(self.at, &mut dt);
        }
        for (l, found) in dt.into_iter().enumerate() {
            let entry = format!("dy[{}]/dt{}", l % self.size.outputs, self.column(l / self.size.outputs));
            self.compare("time derivative", || entry, found, ts[l]);
        }
    }

    /// Of two directions and weights: against differences of the vjp along them.
    fn tangent<M: Map<f64> + ?Sized>(&mut self, map: &mut M, of: Kept<'_, f64>) {
        self.report.checked.push("tangent of the vjp");
        let Size { inputs, outputs, params } = self.size;
        let (n, m) = (inputs * self.batch, outputs * self.batch);
        let wave =
            |len: usize, rate: f64| (0..len).map(|i| (1.0 + rate * i as f64).sin()).collect::<Vec<_>>();
        let (t, x, p) = (wave(2, 0.9), wave(2 * n, 0.7), wave(2 * params, 1.3));
        let (w, w_dot) = (wave(2 * m, 2.1), wave(2 * m, 1.7));
        let dots = Dots { count: 2, t: &t, x: &x, p: &p };
        let (mut y_dot, mut keep_dot) = (vec![0.0; 2 * m], vec![0.0; 2 * of.keep.len()]);
        if map.offers().has(Offers::JVP) {
            map.jvp(self.at, of, dots, &mut y_dot, &mut keep_dot);
        }
        let (mut xb, mut pb) = (vec![0.0; n], vec![0.0; params]);
        let dot = Kept { y: &y_dot, keep: &keep_dot };
        map.vjp_tangent(self.at, of, dots, dot, &w, &w_dot, BarsMut::new(&mut xb, &mut pb));
        let d = f64::EPSILON.powf(0.2);
        let values = [2.0, 1.0, -1.0, -2.0].map(|s| self.moved_vjp(map, s * d, dots, (&w, &w_dot)));
        for (l, found) in xb.into_iter().chain(pb).enumerate() {
            let expected = slope([0, 1, 2, 3].map(|k| values[k][l]), d);
            let entry = if l < n {
                format!("x_bar[{}]{}", l % inputs, self.column(l / inputs))
            } else {
                format!("bar of {}", self.spec.describe(l - n))
            };
            self.compare("tangent of the vjp", || entry, found, expected);
        }
    }

    /// Sum over the directions of the vjp at e along each, with weights that move, too: bars of x, then of p.
    fn moved_vjp<M: Map<f64> + ?Sized>(
        &self,
        map: &mut M,
        e: f64,
        dots: Dots<'_, f64>,
        (w, w_dot): (&[f64], &[f64]),
    ) -> Vec<f64> {
        let (n, m, params) = (self.at.x.len(), self.size.outputs * self.batch, self.size.params);
        let moved = |a: &[f64], v: &[f64]| a.iter().zip(v).map(|(a, v)| a + e * v).collect::<Vec<_>>();
        let mut bars = vec![0.0; n + params];
        for i in 0..dots.count {
            let one = dots.one(i, n, params);
            let (x, p) = (moved(self.at.x, one.x), moved(self.at.p, one.p));
            let w = moved(&w[i * m..][..m], &w_dot[i * m..][..m]);
            let at = At::new(self.at.t + e * one.t[0], &x, &p);
            let (mut y, mut keep) = (vec![0.0; m], vec![0.0; map.keep_len(self.batch)]);
            map.forward(at, &mut y, &mut keep);
            let (xb, pb) = bars.split_at_mut(n);
            map.vjp(at, Kept { y: &y, keep: &keep }, &w, BarsMut::new(xb, pb));
        }
        bars
    }
}
