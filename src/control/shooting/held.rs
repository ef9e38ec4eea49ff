//! Controls on a grid of times as parameters of a field.

use crate::diff::{At, BarsMut, Dots, Kept, Map, Offers, Size, Spec};
use crate::error::OdeError;

/// How a control goes from one grid time to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hold {
    /// u(t) = u_k on [t_k, t_{k+1}): as many values as intervals.
    #[default]
    Constant,
    /// u(t) is linear between u_k at t_k and u_{k+1} at t_{k+1}: as many values as grid times.
    Linear,
}

/// y' = f(t, y, (p; u(t))): a field whose last parameters are controls, which become functions of time. The parameters of this map are (p; u_0; u_1; ...).
///
/// Where the control jumps or has a kink a step must end: give [`stops`](Self::stops) to [`Options::stops`](crate::ode::Options::stops).
#[derive(Debug, Clone)]
pub struct Held<F> {
    field: F,
    controls: usize,
    grid: Vec<f64>,
    hold: Hold,
    room: Room,
}

#[derive(Debug, Clone, Default)]
struct Room {
    p: Vec<f64>,
    p_bar: Vec<f64>,
    p_dot: Vec<f64>,
    x_bar: Vec<f64>,
}

/// Where a time lies: the values with their weights; those of weight zero are not there.
type Weights = [(usize, f64); 2];

impl<F: Map<f64>> Held<F> {
    /// The last `controls` parameters of the field are controls on an ascending grid of at least two times; before and behind it they are as at its ends.
    ///
    /// # Errors
    /// A grid that does not ascend, or more controls than parameters.
    pub fn new(field: F, controls: usize, grid: &[f64], hold: Hold) -> Result<Self, OdeError> {
        let ascends = grid.windows(2).all(|w| w[0] < w[1]) && grid.iter().all(|t| t.is_finite());
        if grid.len() < 2 || !ascends {
            let what = "the grid of a control must have at least two times that ascend";
            return Err(OdeError::Mismatch { what: what.into() });
        }
        if controls == 0 || controls > field.n_params() {
            let what = format!("{controls} controls of a field with {} parameters", field.n_params());
            return Err(OdeError::Mismatch { what });
        }
        if field.outputs() != field.inputs() {
            let (what, found, expected) = ("the output of the field", field.outputs(), field.inputs());
            return Err(OdeError::Length { what, found, expected });
        }
        Ok(Self { field, controls, grid: grid.to_vec(), hold, room: Room::default() })
    }
    /// Times inside the grid, at which the control is not smooth.
    pub fn stops(&self) -> &[f64] {
        &self.grid[1..self.grid.len() - 1]
    }
    /// Values that the control has, each of as many numbers as there are controls.
    pub fn values(&self) -> usize {
        match self.hold {
            Hold::Constant => self.grid.len() - 1,
            Hold::Linear => self.grid.len(),
        }
    }
    /// Parameters of the field that are no controls.
    pub fn fixed(&self) -> usize {
        self.field.n_params() - self.controls
    }
    /// The controls at a time, from the parameters of this map.
    pub fn at(&self, t: f64, p: &[f64]) -> Vec<f64> {
        let mut u = vec![0.0; self.controls];
        gather(&p[self.fixed()..], &self.weights(t), &mut u);
        u
    }
    fn weights(&self, t: f64) -> Weights {
        let last = self.grid.len() - 2;
        let k = self.grid.partition_point(|g| *g <= t).saturating_sub(1).min(last);
        match self.hold {
            Hold::Constant => [(k, 1.0), (k, 0.0)],
            Hold::Linear => {
                let s = ((t - self.grid[k]) / (self.grid[k + 1] - self.grid[k])).clamp(0.0, 1.0);
                [(k, 1.0 - s), (k + 1, s)]
            }
        }
    }
    /// du/dt as weights of the values.
    fn slopes(&self, t: f64) -> Weights {
        let [(k, _), (next, _)] = self.weights(t);
        let inside = t >= self.grid[0] && t <= self.grid[self.grid.len() - 1];
        let slope = match self.hold {
            Hold::Linear if inside => 1.0 / (self.grid[k + 1] - self.grid[k]),
            _ => 0.0,
        };
        [(k, -slope), (next, slope)]
    }
    /// The parameters of the field at a time.
    fn fill(&mut self, t: f64, p: &[f64]) {
        let (fixed, weights) = (self.fixed(), self.weights(t));
        self.room.p.resize(self.field.n_params(), 0.0);
        let (own, u) = self.room.p.split_at_mut(fixed);
        own.copy_from_slice(&p[..fixed]);
        gather(&p[fixed..], &weights, u);
    }
    /// Directions of the parameters of the field: along those of this map and of time.
    fn fill_dots(&mut self, t: f64, p: &[f64], dots: &Dots<'_, f64>) {
        let (fixed, weights, slopes) = (self.fixed(), self.weights(t), self.slopes(t));
        let (all, n) = (self.size().params, self.field.n_params());
        self.room.p_dot.clear();
        self.room.p_dot.resize(n * dots.count, 0.0);
        for (i, to) in self.room.p_dot.chunks_exact_mut(n).enumerate() {
            let (own, u) = to.split_at_mut(fixed);
            if let Some(dot) = dots.p.get(i * all..(i + 1) * all) {
                own.copy_from_slice(&dot[..fixed]);
                gather(&dot[fixed..], &weights, u);
            }
            if let Some(t_dot) = dots.t.get(i) {
                add(&p[fixed..], &slopes.map(|(k, s)| (k, s * t_dot)), u);
            }
        }
    }
}

/// u <- sum of weights times values.
fn gather(values: &[f64], weights: &Weights, u: &mut [f64]) {
    u.fill(0.0);
    add(values, weights, u);
}

fn add(values: &[f64], weights: &Weights, u: &mut [f64]) {
    for (k, weight) in weights.iter().filter(|w| w.1 != 0.0) {
        let value = &values[k * u.len()..][..u.len()];
        u.iter_mut().zip(value).for_each(|(u, v)| *u += weight * v);
    }
}

/// The transpose of [`gather`], ADDED.
fn scatter(u: &[f64], weights: &Weights, values: &mut [f64]) {
    for (k, weight) in weights.iter().filter(|w| w.1 != 0.0) {
        let value = &mut values[k * u.len()..][..u.len()];
        value.iter_mut().zip(u).for_each(|(v, u)| *v += weight * u);
    }
}

impl<F: Map<f64>> Map<f64> for Held<F> {
    fn size(&self) -> Size {
        let inner = self.field.size();
        Size { params: self.fixed() + self.controls * self.values(), ..inner }
    }
    fn spec(&self) -> Spec {
        Spec::one("p", &[self.size().params])
    }
    fn offers(&self) -> Offers {
        let inner = self.field.offers();
        let kept = Offers::VJP | Offers::JVP | Offers::TANGENT | Offers::TANGENT_ALONE;
        let kept = kept | Offers::ALONE | Offers::JACOBIAN;
        let dt = match self.hold {
            Hold::Constant => inner.has(Offers::DT),
            Hold::Linear => inner.has(Offers::JVP | Offers::ALONE),
        };
        inner.and(kept) | Offers::DT.when(dt)
    }
    fn keep_len(&self, batch: usize) -> usize {
        self.field.keep_len(batch)
    }
    fn structure(&self) -> &crate::diff::Structure {
        self.field.structure()
    }
    fn value(&mut self, at: At<'_, f64>, y: &mut [f64]) {
        self.fill(at.t, at.p);
        self.field.value(At::new(at.t, at.x, &self.room.p), y);
    }
    fn forward(&mut self, at: At<'_, f64>, y: &mut [f64], keep: &mut [f64]) {
        self.fill(at.t, at.p);
        self.field.forward(At::new(at.t, at.x, &self.room.p), y, keep);
    }
    fn vjp(&mut self, at: At<'_, f64>, of: Kept<'_, f64>, w: &[f64], bars: BarsMut<'_, f64>) {
        self.fill(at.t, at.p);
        let (fixed, weights) = (self.fixed(), self.weights(at.t));
        let Self { field, room, .. } = self;
        room.p_bar.clear();
        room.p_bar.resize(room.p.len(), 0.0);
        field.vjp(At::new(at.t, at.x, &room.p), of, w, BarsMut::new(bars.x, &mut room.p_bar));
        add_bars(&room.p_bar, fixed, &weights, bars.p);
    }
    fn jvp(
        &mut self,
        at: At<'_, f64>,
        of: Kept<'_, f64>,
        dots: Dots<'_, f64>,
        y_dot: &mut [f64],
        keep_dot: &mut [f64],
    ) {
        self.fill(at.t, at.p);
        self.fill_dots(at.t, at.p, &dots);
        let inner = Dots { p: &self.room.p_dot, ..dots };
        self.field.jvp(At::new(at.t, at.x, &self.room.p), of, inner, y_dot, keep_dot);
    }
    fn vjp_tangent(
        &mut self,
        at: At<'_, f64>,
        of: Kept<'_, f64>,
        dots: Dots<'_, f64>,
        dot: Kept<'_, f64>,
        w: &[f64],
        w_dot: &[f64],
        bars: BarsMut<'_, f64>,
    ) {
        self.fill(at.t, at.p);
        self.fill_dots(at.t, at.p, &dots);
        let (fixed, weights, slopes) = (self.fixed(), self.weights(at.t), self.slopes(at.t));
        let Self { field, room, hold, .. } = self;
        room.p_bar.clear();
        room.p_bar.resize(room.p.len(), 0.0);
        let inner = Dots { p: &room.p_dot, ..dots };
        let at = At::new(at.t, at.x, &room.p);
        field.vjp_tangent(at, of, inner, dot, w, w_dot, BarsMut::new(bars.x, &mut room.p_bar));
        add_bars(&room.p_bar, fixed, &weights, bars.p);
        // Along time the weights of the values move too.
        if *hold == Hold::Constant || dots.t.iter().all(|t| *t == 0.0) {
            return;
        }
        room.x_bar.resize(bars.x.len(), 0.0);
        for (t_dot, w) in dots.t.iter().zip(w.chunks_exact(w.len() / dots.count)) {
            room.p_bar.fill(0.0);
            field.vjp(at, of, w, BarsMut::new(&mut room.x_bar, &mut room.p_bar));
            let slopes = slopes.map(|(k, s)| (k, s * t_dot));
            scatter(&room.p_bar[fixed..], &slopes, &mut bars.p[fixed..]);
        }
    }
    fn jacobian(&mut self, at: At<'_, f64>, jac: &mut [f64]) {
        self.fill(at.t, at.p);
        self.field.jacobian(At::new(at.t, at.x, &self.room.p), jac);
    }
    fn time_derivative(&mut self, at: At<'_, f64>, dt: &mut [f64]) {
        self.fill(at.t, at.p);
        if self.hold == Hold::Constant {
            return self.field.time_derivative(At::new(at.t, at.x, &self.room.p), dt);
        }
        let along = Dots { count: 1, t: &[1.0], x: &[], p: &[] };
        self.jvp(at, Kept::NONE, along, dt, &mut []);
    }
}

/// ADDS bars of the field's parameters to those of the map's.
fn add_bars(from: &[f64], fixed: usize, weights: &Weights, to: &mut [f64]) {
    let (own, u) = from.split_at(fixed);
    let (to_own, to_values) = to.split_at_mut(fixed);
    to_own.iter_mut().zip(own).for_each(|(t, v)| *t += v);
    scatter(u, weights, to_values);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::{CheckOptions, check_map};
    use crate::expr::record;
    use crate::ode::{Options, TSIT54, solve};

    #[test]
    fn derivatives_are_those_of_differences() {
        let field = || {
            let f = record(2, 3, |t, y, p, dy| {
                dy[0] = p[0] * y[1] * p[1] + (t * p[2]).sin();
                dy[1] = p[2] * p[2] * y[0] - p[1] * y[1];
            });
            f.unwrap().into_map()
        };
        for hold in [Hold::Constant, Hold::Linear] {
            let mut held = Held::new(field(), 2, &[0.0, 0.4, 1.0, 1.5], hold).unwrap();
            let p: Vec<f64> = (0..held.n_params()).map(|k| 0.3 + 0.1 * (k * k) as f64).collect();
            for t in [0.2, 0.7, 1.4] {
                let report = check_map(&mut held, At::new(t, &[0.3, -0.8], &p), &CheckOptions::default());
                assert!(report.ok(), "{hold:?} {t}: {report:?}");
            }
        }
    }

    /// y' = u(t): the integral of the control.
    #[test]
    fn integrals_of_controls() {
        let field = || record(1, 1, |_, _, p, dy| dy[0] = p[0]).unwrap().into_map();
        let grid = [0.0, 0.3, 1.0];
        for (hold, p, end) in
            [(Hold::Constant, vec![2.0, -1.0], 0.6 - 0.7), (Hold::Linear, vec![2.0, -1.0, 3.0], 0.15 + 0.7)]
        {
            let mut held = Held::new(field(), 1, &grid, hold).unwrap();
            let options = Options { stops: held.stops().to_vec(), ..Options::tolerances(1e-9, 1e-9) };
            let s = solve(&mut held, &TSIT54, &options, (0.0, 1.0), &[0.0], &p, &[]).unwrap();
            assert!((s.y1[0] - end).abs() < 1e-12, "{hold:?}: {}", s.y1[0]);
            let want = if hold == Hold::Constant { 2.0 } else { 1.0 };
            assert!((held.at(0.1, &p)[0] - want).abs() < 1e-15);
        }
    }

    #[test]
    fn grids_must_ascend() {
        let field = || record(1, 1, |_, _, p, dy| dy[0] = p[0]).unwrap().into_map();
        for grid in [&[0.0][..], &[0.0, 0.0], &[1.0, 0.0], &[0.0, f64::NAN]] {
            assert!(Held::new(field(), 1, grid, Hold::Constant).is_err());
        }
        assert!(Held::new(field(), 2, &[0.0, 1.0], Hold::Constant).is_err());
    }
}
