//! Maps from closures, and derivatives that the user gives.

use super::forward::forward_map;
use super::map::{At, BarsMut, Dots, Kept, Map, Offers, Size, Structure};
use super::spec::Spec;
use crate::linalg::Scalar;

/// A map from a closure `|t, x, p, y|` on ONE column; a batch is treated column by column.
///
/// ```
/// use costate::diff::{At, BarsMut, FnMap, Kept, Map};
/// // y' = -p y, with its pullback.
/// let mut field = FnMap::new(1, 1, |_t, y: &[f64], p: &[f64], dy: &mut [f64]| dy[0] = -p[0] * y[0]).with_vjp(
///     |_t, y: &[f64], p: &[f64], w: &[f64], y_bar: &mut [f64], p_bar: &mut [f64]| {
///         y_bar[0] -= p[0] * w[0];
///         p_bar[0] -= y[0] * w[0];
///     },
/// );
/// let (mut y_bar, mut p_bar) = ([0.0], [0.0]);
/// field.vjp(At::new(0.0, &[3.0], &[2.0]), Kept::NONE, &[1.0], BarsMut::new(&mut y_bar, &mut p_bar));
/// assert_eq!((y_bar[0], p_bar[0]), (-2.0, -3.0));
/// ```
#[derive(Debug, Clone)]
pub struct FnMap<F> {
    size: Size,
    f: F,
}

impl<F> FnMap<F> {
    /// As many outputs as inputs: a field. From n, the number of parameters and the closure.
    pub fn new<T: Scalar>(n: usize, n_params: usize, f: F) -> Self
    where
        F: FnMut(T, &[T], &[T], &mut [T]),
    {
        Self::with_outputs(n, n, n_params, f)
    }
    /// From the three lengths and the closure.
    pub fn with_outputs<T: Scalar>(inputs: usize, outputs: usize, n_params: usize, f: F) -> Self
    where
        F: FnMut(T, &[T], &[T], &mut [T]),
    {
        Self { size: Size { inputs, outputs, params: n_params }, f }
    }
}

impl<T: Scalar, F: FnMut(T, &[T], &[T], &mut [T])> Map<T> for FnMap<F> {
    #[inline(always)]
    fn size(&self) -> Size {
        self.size
    }
    #[inline(always)]
    fn value_one(&mut self, at: At<'_, T>, y: &mut [T]) {
        (self.f)(at.t, at.x, at.p, y);
    }
    /// Column by column, without the two divisions that chunks of two lengths cost: a short field takes no longer than they do.
    #[inline]
    fn value(&mut self, at: At<'_, T>, y: &mut [T]) {
        let Size { inputs, outputs, .. } = self.size;
        let (mut x, mut y) = (at.x, y);
        while inputs > 0 && x.len() >= inputs {
            let (x_first, x_rest) = x.split_at(inputs);
            let (y_first, y_rest) = y.split_at_mut(outputs);
            (self.f)(at.t, x_first, at.p, y_first);
            (x, y) = (x_rest, y_rest);
        }
    }
}

/// See [`Map::with_vjp`].
#[derive(Debug, Clone)]
pub struct WithVjp<M, G> {
    pub(super) map: M,
    pub(super) vjp: G,
}

impl<T, M, G> Map<T> for WithVjp<M, G>
where
    T: Scalar,
    M: Map<T>,
    G: FnMut(T, &[T], &[T], &[T], &mut [T], &mut [T]),
{
    forward_map!(map: size value spec forward jvp jacobian time_derivative);
    #[inline(always)]
    fn offers(&self) -> Offers {
        let inner = self.map.offers();
        // A jvp of the map's own may need what it keeps.
        let alone = Offers::ALONE.when(!inner.has(Offers::JVP) || inner.has(Offers::ALONE));
        inner.without(Offers::TANGENT) | Offers::VJP | alone
    }
    #[inline]
    fn vjp(&mut self, at: At<'_, T>, _: Kept<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        let Size { inputs, outputs, .. } = self.map.size();
        let columns = at.x.chunks_exact(inputs).zip(w.chunks_exact(outputs));
        for ((x, w), x_bar) in columns.zip(bars.x.chunks_exact_mut(inputs)) {
            (self.vjp)(at.t, x, at.p, w, x_bar, bars.p);
        }
    }
}

/// See [`Map::with_jvp`].
#[derive(Debug, Clone)]
pub struct WithJvp<M, G, T> {
    map: M,
    jvp: G,
    /// For directions that are not given: as many as inputs or parameters.
    zeros: Vec<T>,
}

impl<T: Scalar, M: Map<T>, G> WithJvp<M, G, T> {
    pub(super) fn new(map: M, jvp: G) -> Self {
        let Size { inputs, params, .. } = map.size();
        Self { map, jvp, zeros: vec![T::ZERO; inputs.max(params)] }
    }
}

impl<T, M, G> Map<T> for WithJvp<M, G, T>
where
    T: Scalar,
    M: Map<T>,
    G: FnMut(At<'_, T>, (T, &[T], &[T]), &mut [T]),
{
    forward_map!(map: size value spec forward vjp jacobian time_derivative);
    fn offers(&self) -> Offers {
        let inner = self.map.offers();
        let alone = Offers::ALONE.when(!inner.has(Offers::VJP));
        // The tangent would need what the inner jvp keeps.
        inner.without(Offers::TANGENT) | Offers::JVP | alone
    }
    fn jvp(&mut self, at: At<'_, T>, _: Kept<'_, T>, dots: Dots<'_, T>, y_dot: &mut [T], _: &mut [T]) {
        let Size { inputs, outputs, params } = self.map.size();
        let batch = at.x.len() / inputs;
        for (i, y_dot) in y_dot.chunks_exact_mut(outputs * batch).enumerate() {
            let t_dot = dots.t.get(i).copied().unwrap_or(T::ZERO);
            let p_dot =
                if dots.p.is_empty() { &self.zeros[..params] } else { &dots.p[i * params..][..params] };
            for (c, y_dot) in y_dot.chunks_exact_mut(outputs).enumerate() {
                let from = (i * batch + c) * inputs;
                let x_dot = if dots.x.is_empty() { &self.zeros[..inputs] } else { &dots.x[from..][..inputs] };
                let one = At::new(at.t, &at.x[c * inputs..][..inputs], at.p);
                (self.jvp)(one, (t_dot, x_dot, p_dot), y_dot);
            }
        }
    }
}

/// See [`Map::with_jacobian`].
#[derive(Debug, Clone)]
pub struct WithJacobian<M, G> {
    pub(super) map: M,
    pub(super) jacobian: G,
    pub(super) structure: Structure,
}

impl<T, M, G> Map<T> for WithJacobian<M, G>
where
    T: Scalar,
    M: Map<T>,
    G: FnMut(T, &[T], &[T], &mut [T]),
{
    forward_map!(map: size value spec forward vjp jvp tangent time_derivative);
    #[inline(always)]
    fn offers(&self) -> Offers {
        self.map.offers() | Offers::JACOBIAN
    }
    #[inline(always)]
    fn structure(&self) -> &Structure {
        &self.structure
    }
    #[inline(always)]
    fn jacobian(&mut self, at: At<'_, T>, jac: &mut [T]) {
        let Size { inputs, outputs, .. } = self.map.size();
        let len = self.structure.len(outputs, inputs);
        for (x, block) in at.x.chunks_exact(inputs).zip(jac.chunks_exact_mut(len)) {
            (self.jacobian)(at.t, x, at.p, block);
        }
    }
}

/// See [`Map::with_time_derivative`].
#[derive(Debug, Clone)]
pub struct WithTimeDerivative<M, G> {
    pub(super) map: M,
    pub(super) dt: G,
}

impl<T, M, G> Map<T> for WithTimeDerivative<M, G>
where
    T: Scalar,
    M: Map<T>,
    G: FnMut(T, &[T], &[T], &mut [T]),
{
    forward_map!(map: size value spec forward vjp jvp tangent jacobian);
    #[inline(always)]
    fn offers(&self) -> Offers {
        self.map.offers() | Offers::DT
    }
    #[inline(always)]
    fn time_derivative(&mut self, at: At<'_, T>, dt: &mut [T]) {
        let Size { inputs, outputs, .. } = self.map.size();
        for (x, dt) in at.x.chunks_exact(inputs).zip(dt.chunks_exact_mut(outputs)) {
            (self.dt)(at.t, x, at.p, dt);
        }
    }
}

/// See [`Map::autonomous`].
#[derive(Debug, Clone)]
pub struct Autonomous<M> {
    pub(super) map: M,
}

impl<T: Scalar, M: Map<T>> Map<T> for Autonomous<M> {
    forward_map!(map: size value spec forward vjp jvp tangent jacobian);
    #[inline(always)]
    fn offers(&self) -> Offers {
        self.map.offers() | Offers::AUTONOMOUS | Offers::DT
    }
    #[inline(always)]
    fn time_derivative(&mut self, _: At<'_, T>, dt: &mut [T]) {
        dt.fill(T::ZERO);
    }
}

/// See [`Map::with_structure`].
#[derive(Debug, Clone)]
pub struct WithStructure<M> {
    pub(super) map: M,
    pub(super) structure: Structure,
}

impl<T: Scalar, M: Map<T>> Map<T> for WithStructure<M> {
    forward_map!(map: size value spec forward vjp jvp tangent time_derivative);
    #[inline(always)]
    fn offers(&self) -> Offers {
        self.map.offers().without(Offers::JACOBIAN)
    }
    fn structure(&self) -> &Structure {
        &self.structure
    }
}
