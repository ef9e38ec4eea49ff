//! Derivatives along directions: of a pass, and of its reverse sweep.

use super::gradient::Adjoint;
use super::jumps::{Crossed, Jumps};
use super::sweep::check_replay;
use super::tape::Tape;
use super::transpose::{Backward, Bars, Reverse, Transpose};
use crate::diff::{Map, Offers, Variational, need};
use crate::error::{OdeError, check_len};
use crate::linalg::Scalar;
use crate::ode::OdeCounts;
use crate::ode::stepper::Measure;

/// The steps of a pass along directions of its start and parameters, and back: tangents of all results, and products with second derivatives (forward over the discrete adjoint).
///
/// What is differentiated is the program of [`crate::adjoint`], the accepted steps with their sizes frozen: they are made again for the field's [`Variational`] equations, in which
/// y is, to the bit for explicit methods, what it was, and y_i are its exact derivatives. Transposing these steps along one direction (x_dot of x = (y0; p)) for the scalar
/// s = dL/d(results) . (tangents of the results), whose derivative by x is H x_dot, gives the product with the Hessian H of the loss. It is as exact as a gradient for explicit and Nystrom
/// methods. For Rosenbrock methods the third derivatives of the field that it has in it are fourth-order differences of second ones, right to about ten digits.
///
/// The field must have a Jacobian-vector product, and for the way back the tangent of its vector-Jacobian product: a recorded formula ([`record`](fn@crate::expr::record),
/// [`formula`](crate::expr::formula)), a network, and combinations of them have. Passes through events have no [`reverse`](Self::reverse) here.
///
/// ```
/// use costate::adjoint::{Adjoint, Bars, Memory};
/// use costate::expr::record;
/// use costate::ode::{Options, TSIT54};
/// // y' = -p y, L = y(1) = y0 exp(-p): the second derivatives by p and by y0 and p are y0 exp(-p) and -exp(-p).
/// let mut field = record(1, 1, |_, y, p, dy| dy[0] = -p[0] * y[0])?.into_map();
/// let (y0, p) = ([2.0], [0.5]);
/// let mut solver = Adjoint::new(&TSIT54, 1, 1, &Options::tolerances(1e-10, 1e-10), Memory::States)?;
/// solver.forward(&mut field, (0.0, 1.0), &y0, &p, &mut ())?;
/// let mut tangent = solver.tangent(field, 1)?;
/// let along = tangent.forward(&solver, &p, &[], &[1.0], &[])?;
/// assert!((along.y1_dot[0] + 2.0 * (-0.5f64).exp()).abs() < 1e-8);
/// let bars = Bars { y1: &[1.0], ..Bars::default() };
/// let product = tangent.reverse(&bars, &Bars::default())?;
/// assert!((product.p_bar_dot[0] - 2.0 * (-0.5f64).exp()).abs() < 1e-8);
/// assert!((product.y0_bar_dot[0] + (-0.5f64).exp()).abs() < 1e-8);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tangent<T: Scalar, I: Transpose<T>, F> {
    pass: Adjoint<T, I>,
    field: Variational<F, T>,
    directions: usize,
    /// Numbers of one state, dim x batch.
    n: usize,
    /// The start, the parameters, and their directions.
    start: Vec<T>,
    p: Vec<T>,
    bars: [Vec<T>; 2],
}

/// States of a pass and their derivatives along k directions.
#[derive(Debug, Clone, Default)]
pub struct Tangents<T> {
    /// Final state, dim x batch.
    pub y1: Vec<T>,
    /// Its derivatives, one direction after another.
    pub y1_dot: Vec<T>,
    /// States at the save points.
    pub saved: Vec<T>,
    /// Their derivatives: k at the first save point, k at the next one, ..
    pub saved_dot: Vec<T>,
    /// Derivatives of the error estimates E_j along the one direction; empty for several directions, and for methods whose estimate has no derivative here.
    pub error_dot: Vec<T>,
    /// Derivatives of the time at which one of the [`Jumps`] ended the pass, and with it of y1; else zeros.
    pub t1_dot: Vec<T>,
}

/// Gradients, and their derivatives along the direction: products with the second derivatives of the loss.
#[derive(Debug, Clone, Default)]
pub struct Products<T> {
    /// dL/dy0.
    pub y0_bar: Vec<T>,
    /// dL/dp.
    pub p_bar: Vec<T>,
    /// Its derivative along the direction of y0 and p.
    pub y0_bar_dot: Vec<T>,
    /// Likewise.
    pub p_bar_dot: Vec<T>,
    /// Work of the sweep; evaluations of the variational equations, directions not counted.
    pub counts: OdeCounts,
}

impl<T: Scalar, I: Transpose<T>> Adjoint<T, I> {
    /// Storage for derivatives along so many directions at once, of passes of this solver or others made with the same arguments. Its memory is the solver's
    /// [`Memory`](super::Memory), times directions + 1; in place of stages it holds states. Rosenbrock steps factor one matrix, whatever the number of directions.
    pub fn tangent<F: Map<T>>(&self, field: F, directions: usize) -> Result<Tangent<T, I, F>, OdeError> {
        let field = Variational::new(field, directions)?;
        let pass = self.wider(directions + 1)?;
        let (start, p, bars) = (vec![], vec![], [vec![], vec![]]);
        Ok(Tangent { pass, field, directions, n: self.n(), start, p, bars })
    }
}

impl<T: Scalar, I: Transpose<T>, F: Map<T>> Tangent<T, I, F>
where
    I::Back: Reverse<T, Variational<F, T>>,
{
    /// How many directions it takes at once.
    pub fn directions(&self) -> usize {
        self.directions
    }
    /// The derivatives of the last pass of `of`, whose parameters `p` must be, along directions of its start and of the parameters, one after another; an empty slice stands for zeros.
    /// To be called before a reverse sweep of `of` that uses up its tape.
    pub fn forward(
        &mut self,
        of: &Adjoint<T, I>,
        p: &[T],
        y0_dot: &[T],
        p_dot: &[T],
        times: &[T],
    ) -> Result<Tangents<T>, OdeError> {
        of.tape().check(self.n, false)?;
        self.run(of, p, y0_dot, p_dot, times, None)
    }

    /// As [`forward`](Self::forward) after [`Adjoint::forward_jumps`] with the same jumps, where the derivatives go through the events by their saltation
    /// ([`crate::adjoint`]): exactly the transpose of [`Adjoint::reverse_jumps`].
    pub fn forward_jumps(
        &mut self,
        of: &Adjoint<T, I>,
        p: &[T],
        y0_dot: &[T],
        p_dot: &[T],
        times: &[T],
        jumps: &Jumps<'_, T>,
    ) -> Result<Tangents<T>, OdeError> {
        of.tape().check_size(self.n)?;
        jumps.check(self.n, p.len())?;
        let mut crossed = Crossed::new(jumps, T::ZERO, (self.n, p.len()));
        crossed.check(&of.tape().happened, of.tape().len())?;
        if of.tape().changes_params() {
            let what = "an event of the pass changed the parameters: there are no derivatives forwards through that, `reverse_jumps` has them";
            return Err(OdeError::Mismatch { what: what.to_string() });
        }
        let out = self.run(of, p, y0_dot, p_dot, times, Some(&mut crossed))?;
        crossed.finish().map(|()| out)
    }

    fn run(
        &mut self,
        of: &Adjoint<T, I>,
        p: &[T],
        y0_dot: &[T],
        p_dot: &[T],
        times: &[T],
        mut crossed: Option<&mut Crossed<'_, '_, T>>,
    ) -> Result<Tangents<T>, OdeError> {
        let tape = of.tape();
        self.begin(tape, p, y0_dot, p_dot)?;
        let (n, parts, last) = (self.n, self.directions + 1, tape.len() - 1);
        let sizes = (n * parts, self.pass.back_mut().check_again(&self.field)?);
        check_replay(tape, sizes, &self.p, &self.start, times)?;
        let Self { pass, field, start, p, .. } = self;
        let (p_dot, mut aside) = (&p[p.len() / parts..], vec![T::ZERO; n * parts]);
        let mut t1_dot = vec![T::ZERO; parts - 1];
        let estimated = parts == 2 && pass.back_mut().error_has_tangent();
        let mut error_dot = Vec::with_capacity(if estimated { tape.len() } else { 0 });
        let look = |back: &mut I::Back, by: Measure<'_, T>, h: T| {
            if estimated {
                error_dot.push(back.error_along(by, h));
            }
        };
        let all = pass.follow(tape, field, p, start, times, look, |back, field, at, step, after| {
            let Some(crossed) = crossed.as_deref_mut() else { return };
            if at.theta == T::ONE {
                after.copy_from_slice(back.end());
            } else {
                back.interpolate(field, step, p, at.theta, after);
            }
            back.rate(field, step, p, at.theta, &mut aside);
            crossed.rate().copy_from_slice(&aside[..n]);
            after[..n].copy_from_slice(&at.after);
            if crossed.goes_on(at) {
                back.slope(field, at.t, after, p, &mut aside);
                crossed.slope.copy_from_slice(&aside[..n]);
            }
            let mut t_dot = vec![T::ZERO; parts - 1];
            crossed.push(at, &p[..p.len() / parts], p_dot, &mut after[n..], &mut t_dot);
            if at.step == last && !crossed.goes_on(at) {
                t1_dot = t_dot;
            }
        })?;
        let mut out = Tangents { t1_dot, error_dot, ..Tangents::default() };
        out.y1.extend_from_slice(&all.y1[..n]);
        out.y1_dot.extend_from_slice(&all.y1[n..]);
        for state in all.saved.chunks_exact(n * parts) {
            out.saved.extend_from_slice(&state[..n]);
            out.saved_dot.extend_from_slice(&state[n..]);
        }
        Ok(out)
    }

    /// The start and the parameters with their directions.
    fn begin(&mut self, tape: &Tape<T>, p: &[T], y0_dot: &[T], p_dot: &[T]) -> Result<(), OdeError> {
        let (n, k, params) = (self.n, self.directions, self.field.inner().n_params());
        check_len("the parameter vector", p.len(), params)?;
        tape.check_params(p)?;
        for (what, v, len) in [
            ("the directions of the start", y0_dot, n * k),
            ("the directions of the parameters", p_dot, params * k),
        ] {
            if !v.is_empty() {
                check_len(what, v.len(), len)?;
            }
        }
        let join = |to: &mut Vec<T>, x: &[T], dot: &[T]| {
            to.clear();
            to.extend_from_slice(x);
            to.extend_from_slice(dot);
            to.resize(x.len() * (k + 1), T::ZERO);
        };
        join(&mut self.start, tape.start(), y0_dot);
        join(&mut self.p, p, p_dot);
        Ok(())
    }

    /// The sweep back over the pass of [`forward`](Self::forward), along its one direction: `bars` are the derivatives of the loss with respect to the results, `bars_dot` their own
    /// derivatives along the direction, which the caller makes of those of the results (L_yy y_dot); of it `times` is not read, and an empty slice stands for zeros.
    /// Bars of error estimates are those of E_j, and their derivative L_EE E_dot ([`Tangents::error_dot`]): of explicit methods with one estimate; bars of stiffness estimates have no second
    /// derivatives here.
    /// Doubt: checked by differences for the root mean square; under the maximum norm they are those of the component that was largest, and differences see it change.
    pub fn reverse(&mut self, bars: &Bars<'_, T>, bars_dot: &Bars<'_, T>) -> Result<Products<T>, OdeError> {
        if self.directions != 1 {
            let what = "products with second derivatives are taken along one direction at a time";
            return Err(OdeError::Mismatch { what: what.to_string() });
        }
        need(self.field.inner(), Offers::VJP | Offers::TANGENT, "the tangent of the reverse sweep")?;
        let n = self.n;
        self.estimates(bars, bars_dot)?;
        // Of s = bars . (tangents): bars by the tangents, bars_dot by the states.
        for (to, bar, dot, count) in [
            (0, bars.y1, bars_dot.y1, (!bars.y1.is_empty() || !bars_dot.y1.is_empty()) as usize),
            (1, bars.saved, bars_dot.saved, bars.times.len()),
        ] {
            for (what, v) in [("the bar of states", bar), ("the tangent of the bar of states", dot)] {
                if !v.is_empty() {
                    check_len(what, v.len(), n * count)?;
                }
            }
            let to = &mut self.bars[to];
            to.clear();
            to.resize(2 * n * count, T::ZERO);
            for (from, first) in [(dot, 0), (bar, n)] {
                for (to, from) in to.chunks_exact_mut(2 * n).zip(from.chunks_exact(n)) {
                    to[first..][..n].copy_from_slice(from);
                }
            }
        }
        let (y1, saved, error) = (&self.bars[0][..], &self.bars[1][..], bars_dot.error);
        let joint = Bars { y1, times: bars.times, saved, error, ..Bars::default() };
        let (mut y, mut p) = (vec![T::ZERO; 2 * n], vec![T::ZERO; self.p.len()]);
        let counts = self.pass.reverse(&mut self.field, &self.p, &joint, &mut y, &mut p)?;
        let (y0_bar, p_bar) = (y.split_off(n), p.split_off(p.len() / 2));
        Ok(Products { y0_bar, p_bar, y0_bar_dot: y, p_bar_dot: p, counts })
    }
    /// Bars of the estimates: those of E_dot are kept for the sweep, those of E come with the others.
    fn estimates(&mut self, bars: &Bars<'_, T>, bars_dot: &Bars<'_, T>) -> Result<(), OdeError> {
        let some = |b: &[T]| b.iter().any(|v| *v != T::ZERO);
        let refused = |what: &str| Err(OdeError::Mismatch { what: what.to_string() });
        if some(bars.stiffness) || some(bars_dot.stiffness) {
            return refused("bars of stiffness estimates have no second derivatives");
        }
        let used = some(bars.error) || some(bars_dot.error);
        if used && !self.pass.back_mut().error_has_tangent() {
            return refused(
                "bars of error estimates have second derivatives for explicit methods with one estimate only",
            );
        }
        let steps = self.pass.tape().len();
        if !bars.error.is_empty() {
            check_len("the bar of the error estimates", bars.error.len(), steps)?;
        }
        *self.pass.error_dot_mut() = used.then(|| bars.error.to_vec());
        Ok(())
    }
}
