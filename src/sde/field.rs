//! What a user implements: drift, diffusion and their pullbacks.

use crate::error::check_len;
use crate::linalg::Scalar;
use crate::linalg::kernels::add_scaled;
use crate::nn::Map;
use crate::ode::{OdeError, VectorField};

/// Shape of the diffusion: how g meets the Brownian motions of a trajectory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noise {
    /// n motions; component i is driven by its own: dy_i = .. + g_i dW_i. One g: n numbers.
    Diagonal,
    /// One motion for all components: dy_i = .. + g_i dW. One g: n numbers.
    Scalar,
    /// m motions: dy_i = .. + sum_k g_ik dW_k. One g: n x m, column-major.
    Matrix(usize),
}

impl Noise {
    /// Brownian motions of one trajectory with n components.
    pub fn width(self, n: usize) -> usize {
        match self {
            Noise::Diagonal => n,
            Noise::Scalar => 1,
            Noise::Matrix(m) => m,
        }
    }
    /// Length of one g.
    pub fn len(self, n: usize) -> usize {
        match self {
            Noise::Diagonal | Noise::Scalar => n,
            Noise::Matrix(m) => n * m,
        }
    }

    /// out <- out + g x for every column of the batch; x is width x batch.
    pub(crate) fn apply<T: Scalar>(self, n: usize, g: &[T], x: &[T], out: &mut [T]) {
        match self {
            Noise::Diagonal => multiply_add(out, g, x),
            Noise::Scalar => {
                for ((o, g), &x) in out.chunks_exact_mut(n).zip(g.chunks_exact(n)).zip(x) {
                    add_scaled(o, x, g);
                }
            }
            Noise::Matrix(m) => {
                let columns = out.chunks_exact_mut(n).zip(g.chunks_exact(n * m)).zip(x.chunks_exact(m));
                for ((o, g), x) in columns {
                    g.chunks_exact(n).zip(x).for_each(|(g, &x)| add_scaled(o, x, g));
                }
            }
        }
    }

    /// The transpose with respect to g: g_bar <- g_bar + a w x'.
    pub(crate) fn apply_t<T: Scalar>(self, n: usize, g_bar: &mut [T], a: T, w: &[T], x: &[T]) {
        match self {
            Noise::Diagonal => {
                let (w, x) = (&w[..g_bar.len()], &x[..g_bar.len()]);
                g_bar.iter_mut().zip(w).zip(x).for_each(|((g, &w), &x)| *g += a * w * x);
            }
            Noise::Scalar => {
                for ((g, w), &x) in g_bar.chunks_exact_mut(n).zip(w.chunks_exact(n)).zip(x) {
                    add_scaled(g, a * x, w);
                }
            }
            Noise::Matrix(m) => {
                let columns = g_bar.chunks_exact_mut(n * m).zip(w.chunks_exact(n)).zip(x.chunks_exact(m));
                for ((g, w), x) in columns {
                    g.chunks_exact_mut(n).zip(x).for_each(|(g, &x)| add_scaled(g, a * x, w));
                }
            }
        }
    }
}

fn multiply_add<T: Scalar>(out: &mut [T], a: &[T], b: &[T]) {
    let n = out.len();
    let (a, b) = (&a[..n], &b[..n]);
    crate::simd::vectorized(
        n,
        #[inline(always)]
        || {
            for i in 0..n {
                out[i] += a[i] * b[i];
            }
        },
    );
}

/// The diffusion g(t, y, p), batched like a [`VectorField`]: `y` is n x batch, `g` is `noise().len(n)` x batch, column-major.
pub trait Diffusion<T: Scalar> {
    /// n, the length of one state.
    fn dim(&self) -> usize;
    /// Length of `p`.
    fn n_params(&self) -> usize;
    /// Shape of g.
    fn noise(&self) -> Noise;
    /// Whether g does not depend on y.
    fn is_additive(&self) -> bool {
        false
    }
    /// For matrix noise: whether sum_i g_ij dg_kl/dy_i = sum_i g_il dg_kj/dy_i for all j, k, l, so that no Levy areas are needed.
    fn is_commutative(&self) -> bool {
        self.is_additive()
    }
    /// g <- g(t, y, p), every entry. A value that is not finite makes the integrator reject the step and shrink it.
    fn eval(&mut self, t: T, y: &[T], p: &[T], g: &mut [T]);
    /// How many numbers [`eval_keep`](Self::eval_keep) stores for one evaluation of `batch` columns.
    fn keep_len(&self, batch: usize) -> usize {
        let _ = batch;
        0
    }
    /// As [`eval`](Self::eval), storing intermediate results for the pullback.
    fn eval_keep(&mut self, t: T, y: &[T], p: &[T], g: &mut [T], keep: &mut [T]) {
        let _ = keep;
        self.eval(t, y, p, g);
    }
}

/// The transpose of a diffusion's derivative.
pub trait DiffusionPullback<T: Scalar>: Diffusion<T> {
    /// ADDS w' dg/dy to `y_bar` and w' dg/dp, summed over the batch, to `p_bar`; `w` has the shape of g.
    fn pullback(&mut self, t: T, y: &[T], p: &[T], w: &[T], y_bar: &mut [T], p_bar: &mut [T]);
    /// As [`pullback`](Self::pullback), with g = g(t, y, p) and what `eval_keep` stored for the same arguments.
    #[allow(clippy::too_many_arguments)]
    fn pullback_kept(
        &mut self,
        t: T,
        y: &[T],
        p: &[T],
        g: &[T],
        keep: &[T],
        w: &[T],
        y_bar: &mut [T],
        p_bar: &mut [T],
    ) {
        let _ = (g, keep);
        self.pullback(t, y, p, w, y_bar, p_bar);
    }
}

/// A diffusion from a closure `|t, y, p, g|` on ONE state.
#[derive(Debug, Clone)]
pub struct FnDiffusion<F> {
    n: usize,
    n_params: usize,
    noise: Noise,
    additive: bool,
    commutative: bool,
    f: F,
}

impl<F> FnDiffusion<F> {
    /// From the sizes, the shape and the closure.
    pub fn new<T: Scalar>(n: usize, n_params: usize, noise: Noise, f: F) -> Self
    where
        F: FnMut(T, &[T], &[T], &mut [T]),
    {
        Self { n, n_params, noise, additive: false, commutative: false, f }
    }
    /// States that g does not depend on y.
    pub fn additive(self) -> Self {
        Self { additive: true, commutative: true, ..self }
    }
    /// States that matrix noise commutes.
    pub fn commutative(self) -> Self {
        Self { commutative: true, ..self }
    }
}

impl<T: Scalar, F: FnMut(T, &[T], &[T], &mut [T])> Diffusion<T> for FnDiffusion<F> {
    fn dim(&self) -> usize {
        self.n
    }
    fn n_params(&self) -> usize {
        self.n_params
    }
    fn noise(&self) -> Noise {
        self.noise
    }
    fn is_additive(&self) -> bool {
        self.additive
    }
    fn is_commutative(&self) -> bool {
        self.commutative
    }
    fn eval(&mut self, t: T, y: &[T], p: &[T], g: &mut [T]) {
        for (y, g) in y.chunks_exact(self.n).zip(g.chunks_exact_mut(self.noise.len(self.n))) {
            (self.f)(t, y, p, g);
        }
    }
}

/// A diffusion and its pullback from two closures on ONE state: `|t, y, p, g|` and `|t, y, p, w, y_bar, p_bar|` (which ADDS).
#[derive(Debug, Clone)]
pub struct FnDiffusionPullback<F, B> {
    diffusion: FnDiffusion<F>,
    b: B,
}

impl<F, B> FnDiffusionPullback<F, B> {
    /// From the diffusion and the closure of its pullback.
    pub fn new<T: Scalar>(diffusion: FnDiffusion<F>, b: B) -> Self
    where
        B: FnMut(T, &[T], &[T], &[T], &mut [T], &mut [T]),
    {
        Self { diffusion, b }
    }
}

impl<T, F, B> Diffusion<T> for FnDiffusionPullback<F, B>
where
    T: Scalar,
    F: FnMut(T, &[T], &[T], &mut [T]),
{
    fn dim(&self) -> usize {
        self.diffusion.n
    }
    fn n_params(&self) -> usize {
        self.diffusion.n_params
    }
    fn noise(&self) -> Noise {
        self.diffusion.noise
    }
    fn is_additive(&self) -> bool {
        self.diffusion.additive
    }
    fn is_commutative(&self) -> bool {
        self.diffusion.commutative
    }
    fn eval(&mut self, t: T, y: &[T], p: &[T], g: &mut [T]) {
        self.diffusion.eval(t, y, p, g);
    }
}

impl<T, F, B> DiffusionPullback<T> for FnDiffusionPullback<F, B>
where
    T: Scalar,
    F: FnMut(T, &[T], &[T], &mut [T]),
    B: FnMut(T, &[T], &[T], &[T], &mut [T], &mut [T]),
{
    fn pullback(&mut self, t: T, y: &[T], p: &[T], w: &[T], y_bar: &mut [T], p_bar: &mut [T]) {
        let (n, len) = (self.diffusion.n, self.diffusion.noise.len(self.diffusion.n));
        for ((y, w), y_bar) in y.chunks_exact(n).zip(w.chunks_exact(len)).zip(y_bar.chunks_exact_mut(n)) {
            (self.b)(t, y, p, w, y_bar, p_bar);
        }
    }
}

/// g = map(t, y, p), with outputs in the shape of the noise: for neural SDEs.
#[derive(Debug, Clone)]
pub struct MapDiffusion<M, T> {
    map: M,
    noise: Noise,
    keep: Vec<T>,
    g: Vec<T>,
}

impl<T: Scalar, M: Map<T>> MapDiffusion<M, T> {
    /// From a map with `noise.len(inputs)` outputs.
    pub fn new(map: M, noise: Noise) -> Result<Self, OdeError> {
        check_len("the output of the diffusion's map", map.outputs(), noise.len(map.inputs()))?;
        Ok(Self { map, noise, keep: vec![], g: vec![] })
    }
    /// The map.
    pub fn map(&self) -> &M {
        &self.map
    }
    fn grow(&mut self, len: usize) -> Vec<T> {
        let mut keep = std::mem::take(&mut self.keep);
        keep.resize(self.map.keep_len(len / self.map.inputs()), T::ZERO);
        keep
    }
}

impl<T: Scalar, M: Map<T>> Diffusion<T> for MapDiffusion<M, T> {
    fn dim(&self) -> usize {
        self.map.inputs()
    }
    fn n_params(&self) -> usize {
        self.map.n_params()
    }
    fn noise(&self) -> Noise {
        self.noise
    }
    fn eval(&mut self, t: T, y: &[T], p: &[T], g: &mut [T]) {
        let mut keep = self.grow(y.len());
        self.map.forward(t, y, p, g, &mut keep);
        self.keep = keep;
    }
    fn keep_len(&self, batch: usize) -> usize {
        self.map.keep_len(batch)
    }
    fn eval_keep(&mut self, t: T, y: &[T], p: &[T], g: &mut [T], keep: &mut [T]) {
        self.map.forward(t, y, p, g, keep);
    }
}

impl<T: Scalar, M: Map<T>> DiffusionPullback<T> for MapDiffusion<M, T> {
    fn pullback(&mut self, t: T, y: &[T], p: &[T], w: &[T], y_bar: &mut [T], p_bar: &mut [T]) {
        let mut keep = self.grow(y.len());
        let mut g = std::mem::take(&mut self.g);
        g.resize(w.len(), T::ZERO);
        self.map.forward(t, y, p, &mut g, &mut keep);
        self.map.backward(t, y, p, &g, &keep, w, y_bar, p_bar);
        (self.keep, self.g) = (keep, g);
    }
    fn pullback_kept(
        &mut self,
        t: T,
        y: &[T],
        p: &[T],
        g: &[T],
        keep: &[T],
        w: &[T],
        y_bar: &mut [T],
        p_bar: &mut [T],
    ) {
        self.map.backward(t, y, p, g, keep, w, y_bar, p_bar);
    }
}

/// dy = f(t, y, p) dt + g(t, y, p) dW, in the sense of Ito.
#[derive(Debug, Clone)]
pub struct Sde<F, G> {
    /// f.
    pub drift: F,
    /// g.
    pub diffusion: G,
    shared: bool,
}

impl<F, G> Sde<F, G> {
    /// p is the drift's parameters, then the diffusion's.
    pub fn new<T: Scalar>(drift: F, diffusion: G) -> Result<Self, OdeError>
    where
        F: VectorField<T>,
        G: Diffusion<T>,
    {
        check_len("the diffusion's state", diffusion.dim(), drift.dim())?;
        if diffusion.noise() == Noise::Matrix(0) {
            return Err(OdeError::Mismatch { what: "the diffusion has no columns".to_string() });
        }
        Ok(Self { drift, diffusion, shared: false })
    }
    /// Drift and diffusion see the same parameters.
    pub fn shared<T: Scalar>(drift: F, diffusion: G) -> Result<Self, OdeError>
    where
        F: VectorField<T>,
        G: Diffusion<T>,
    {
        check_len("the diffusion's parameter vector", diffusion.n_params(), drift.n_params())?;
        Ok(Self { shared: true, ..Self::new(drift, diffusion)? })
    }
    /// n.
    pub fn dim<T: Scalar>(&self) -> usize
    where
        F: VectorField<T>,
    {
        self.drift.dim()
    }
    /// Length of p.
    pub fn n_params<T: Scalar>(&self) -> usize
    where
        F: VectorField<T>,
        G: Diffusion<T>,
    {
        self.drift.n_params() + if self.shared { 0 } else { self.diffusion.n_params() }
    }
    /// The drift's parameters, and where the diffusion's begin and end.
    pub(crate) fn ranges<T: Scalar>(&self) -> (std::ops::Range<usize>, std::ops::Range<usize>)
    where
        F: VectorField<T>,
        G: Diffusion<T>,
    {
        let nf = self.drift.n_params();
        if self.shared { (0..nf, 0..nf) } else { (0..nf, nf..nf + self.diffusion.n_params()) }
    }
}
