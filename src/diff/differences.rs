//! Derivatives by differences: only where a map says so, or of a vjp.

use super::forward::forward_map;
use super::map::{At, BarsMut, Dots, Kept, Map, Offers, Size, Structure, VjpRoom};
use super::spec::Spec;
use crate::linalg::Scalar;

/// What derivatives took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Evaluations of the map, those that a vjp needs before not counted.
    pub values: u64,
    /// Vector-Jacobian products.
    pub vjps: u64,
    /// Jacobian-vector products, each direction one.
    pub jvps: u64,
}

/// A map whose Jacobian may be made of forward differences: as many evaluations as inputs, about half the digits right, which costs a stiff integration
/// steps (the methods' orders assume the exact one) but not accuracy. Everything that the map itself offers stays as it is.
#[derive(Debug, Clone)]
pub struct Differences<M> {
    map: M,
}

impl<M> Differences<M> {
    /// Of this map.
    pub fn of<T: Scalar>(map: M) -> Self
    where
        M: Map<T>,
    {
        Self { map }
    }
}

impl<T: Scalar, M: Map<T>> Map<T> for Differences<M> {
    forward_map!(map: size value spec forward vjp jvp tangent jacobian time_derivative);
    #[inline(always)]
    fn offers(&self) -> Offers {
        self.map.offers() | Offers::DIFFERENCES
    }
}

/// Steps and weights, times 12, of the fourth-order difference.
pub(super) const CENTRAL: [(f64, f64); 4] = [(1.0, 8.0), (-1.0, -8.0), (2.0, -1.0), (-2.0, 1.0)];

/// sqrt(eps) h, but at least eight units in the last place of t, as it is really added: f varies on the scale of the step, so that the error of the
/// difference, about 1e-8 |f| / h, is small in what df/dt adds to a step, h^2 df/dt against h f.
pub(crate) fn time_difference<T: Scalar>(t: T, h: T) -> T {
    let (delta, least) = (T::EPSILON.sqrt() * h.abs(), T::of(8.0) * T::EPSILON * t.abs());
    let delta = if delta < least { least } else { delta };
    (t + if h < T::ZERO { -delta } else { delta }) - t
}

/// The largest |x_j|.
pub(super) fn largest<T: Scalar>(x: &[T]) -> T {
    x.iter().fold(T::ZERO, |m, v| if v.abs() > m { v.abs() } else { m })
}

/// What an increment of a step, of this size, is divided by where differences are taken along it: one, but where a step is longer than a stiff transient, increments may be
/// larger than the state.
pub(super) fn growth<T: Scalar>(increment: T, state: T) -> T {
    let ratio = increment / state;
    if ratio > T::ONE && ratio.is_finite() { ratio } else { T::ONE }
}

/// In place of [`Map::vjp_tangent`] with directions of x, each with its w, and at last one of time with the weight `tau`; `work` has room for two states.
///
/// The derivative of the vjp of w along v, with P(e) the vjp at x + e v, is (8 P(d) - 8 P(-d) - P(2d) + P(-2d)) / (12 d) up to d^4, with
/// d = eps^(1/5): v is an increment of a step, along which f varies slowly, so that about twelve digits are right. A v larger than x is taken as long as x. Along time it is one difference, the
/// transpose of the difference that df/dt is made of, with `h` its scale, and fourth-order differences by h where df/dt is exact.
#[allow(clippy::too_many_arguments)]
pub(crate) fn tangent_differences<T: Scalar, M: Map<T> + ?Sized>(
    map: &mut M,
    at: At<'_, T>,
    h: T,
    (v, w): (&[T], &[T]),
    tau: &[T],
    mut bars: BarsMut<'_, T>,
    (work, pull): (&mut [T], &mut VjpRoom<T>),
) -> Work {
    let (n, m) = (at.x.len(), tau.len());
    let (shifted, rest) = work.split_at_mut(n);
    let weight = &mut rest[..m];
    let mut vjps = 0;
    let fifth = T::of(T::EPSILON.f64().powf(0.2));
    let size = largest(at.x);
    for (v, w) in v.chunks_exact(n).zip(w.chunks_exact(m)) {
        if w.iter().all(|x| *x == T::ZERO) || v.iter().all(|x| *x == T::ZERO) {
            continue;
        }
        let d = fifth / growth(largest(v), size);
        for (steps, factor) in CENTRAL {
            let (e, factor) = (T::of(steps) * d, T::of(factor / 12.0) / d);
            for i in 0..n {
                shifted[i] = at.x[i] + e * v[i];
            }
            weight.iter_mut().zip(w).for_each(|(to, w)| *to = factor * *w);
            pull.add(map, At::new(at.t, shifted, at.p), weight, bars.again());
            vjps += 1;
        }
    }
    if map.offers().has(Offers::AUTONOMOUS) || tau.iter().all(|x| *x == T::ZERO) {
        return Work { vjps, ..Work::default() };
    }
    let (delta, d) = (time_difference(at.t, h), fifth * h);
    let one = [(delta, delta), (T::ZERO, -delta)];
    let fourth = CENTRAL.map(|(steps, factor)| (T::of(steps) * d, T::of(12.0 / factor) * d));
    let exact = map.offers().has(Offers::DT) || map.offers().has(Offers::JVP);
    for &(step, divisor) in if exact { &fourth[..] } else { &one[..] } {
        weight.iter_mut().zip(tau).for_each(|(to, x)| *to = *x / divisor);
        pull.add(map, At::new(at.t + step, at.x, at.p), weight, bars.again());
        vjps += 1;
    }
    Work { vjps, ..Work::default() }
}
