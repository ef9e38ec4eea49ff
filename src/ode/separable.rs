//! Separable Hamiltonian systems, H = T(p) + V(q): the two halves of their field.

use super::second_order::SecondOrder;
use crate::diff::forward::forward_map;
use crate::diff::{At, BarsMut, Dots, Kept, Map, Offers, On, Size, Spec, Sum, VjpRoom};
use crate::error::{OdeError, check_len};
use crate::linalg::Scalar;

/// A field whose state (q; v), m numbers each, moves by dq/dt = V(t, v, p), dv/dt = F(t, q, p): what symplectic methods ([`Symplectic`](super::Symplectic)) need. Here a half is a
/// function of m x batch numbers.
pub trait SeparableMap<T: Scalar>: Map<T> {
    /// dq <- V(t, v, p).
    fn velocity(&mut self, at: At<'_, T>, dq: &mut [T]);
    /// dv <- F(t, q, p).
    fn force(&mut self, at: At<'_, T>, dv: &mut [T]);
    /// ADDS w' times the derivatives of V.
    fn velocity_vjp(&mut self, at: At<'_, T>, w: &[T], bars: BarsMut<'_, T>);
    /// ADDS w' times the derivatives of F.
    fn force_vjp(&mut self, at: At<'_, T>, w: &[T], bars: BarsMut<'_, T>);
}

/// The field of H = T(p) + V(q): dq/dt = dT/dp by one map of m numbers, dp/dt = -dV/dq by another. Parameters: those of the first, then those of the second. A state is m positions,
/// then m momenta. Every method takes it, and symplectic ones evaluate its halves alone.
///
/// ```
/// use costate::diff::FnMap;
/// use costate::ode::{BLANES_MOAN4, Options, Separable, SymplecticIntegrator};
/// // A pendulum, H = p^2 / 2 - cos q, for a thousand swings: the energy stays.
/// let velocity = FnMap::new(1, 0, |_t, p: &[f64], _: &[f64], dq: &mut [f64]| dq[0] = p[0]);
/// let force = FnMap::new(1, 0, |_t, q: &[f64], _: &[f64], dp: &mut [f64]| dp[0] = -q[0].sin());
/// let mut pendulum = Separable::new(velocity, force)?;
/// let mut it = SymplecticIntegrator::new(&BLANES_MOAN4, 2, 1, &Options::fixed(0.2))?;
/// it.run(&mut pendulum, (0.0, 6000.0), &[1.0, 0.0], &[], &mut ())?;
/// let energy = |y: &[f64]| 0.5 * y[1] * y[1] - y[0].cos();
/// assert!((energy(it.y()) - energy(&[1.0, 0.0])).abs() < 1e-6);
/// # Ok::<(), costate::ode::OdeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Separable<A, B, T = f64> {
    field: Sum<On<A, T>, On<B, T>, T>,
    room: VjpRoom<T>,
}

impl<T: Scalar, A: Map<T>, B: Map<T>> Separable<A, B, T> {
    /// From dq/dt as a function of p, and dp/dt as a function of q.
    ///
    /// # Errors
    /// The two maps do not take m numbers to m each.
    pub fn new(velocity: A, force: B) -> Result<Self, OdeError> {
        let m = velocity.inputs();
        check_len("the output of the velocity", velocity.outputs(), m)?;
        check_len("the input of the force", force.inputs(), m)?;
        check_len("the output of the force", force.outputs(), m)?;
        let (q, p): (Vec<usize>, Vec<usize>) = ((0..m).collect(), (m..2 * m).collect());
        let field = velocity.on(&p, &q, 2 * m)?.plus(force.on(&q, &p, 2 * m)?)?;
        Ok(Self { field, room: VjpRoom::default() })
    }
}

impl<T: Scalar, A: Map<T>, B: Map<T>> Map<T> for Separable<A, B, T> {
    forward_map!(field: size value spec forward vjp jvp tangent);
    fn offers(&self) -> Offers {
        self.field.offers()
    }
}

impl<T: Scalar, A: Map<T>, B: Map<T>> SeparableMap<T> for Separable<A, B, T> {
    fn velocity(&mut self, at: At<'_, T>, dq: &mut [T]) {
        let map = self.field.parts_mut().0.inner_mut();
        let k = map.n_params();
        map.value(At { p: &at.p[..k], ..at }, dq);
    }
    fn force(&mut self, at: At<'_, T>, dv: &mut [T]) {
        let (velocity, force) = self.field.parts_mut();
        let k = velocity.inner_mut().n_params();
        force.inner_mut().value(At { p: &at.p[k..], ..at }, dv);
    }
    fn velocity_vjp(&mut self, at: At<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        let map = self.field.parts_mut().0.inner_mut();
        let k = map.n_params();
        self.room.add(map, At { p: &at.p[..k], ..at }, w, BarsMut::new(bars.x, &mut bars.p[..k]));
    }
    fn force_vjp(&mut self, at: At<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        let (velocity, force) = self.field.parts_mut();
        let k = velocity.inner_mut().n_params();
        self.room.add(
            force.inner_mut(),
            At { p: &at.p[k..], ..at },
            w,
            BarsMut::new(bars.x, &mut bars.p[k..]),
        );
    }
}

/// q'' = a(t, q): the velocities are the momenta.
impl<T: Scalar, F: Map<T>> SeparableMap<T> for SecondOrder<F, T> {
    fn velocity(&mut self, at: At<'_, T>, dq: &mut [T]) {
        dq.copy_from_slice(at.x);
    }
    fn force(&mut self, at: At<'_, T>, dv: &mut [T]) {
        self.accelerate(at, dv);
    }
    fn velocity_vjp(&mut self, _: At<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        bars.x.iter_mut().zip(w).for_each(|(x, w)| *x += *w);
    }
    fn force_vjp(&mut self, at: At<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        self.pull_acceleration(at, w, bars);
    }
}
