//! A stochastic equation: drift, diffusion and the shape of its noise.

use super::brownian::Brownian;
use super::path::Path;
use crate::diff::Map;
use crate::error::{OdeError, check_len};
use crate::linalg::Scalar;
use crate::linalg::kernels::add_scaled;

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

/// dy = f(t, y, p) dt + g(t, y, p) dW, in the sense of Ito. Drift and diffusion are [`Map`]s: f has n outputs, g those of its shape ([`Noise::len`]).
#[derive(Debug, Clone)]
pub struct Sde<F, G> {
    /// f.
    pub drift: F,
    /// g.
    pub diffusion: G,
    noise: Noise,
    additive: bool,
    commutative: bool,
    shared: bool,
    path: Path,
}

impl<F, G> Sde<F, G> {
    /// p is the drift's parameters, then the diffusion's.
    pub fn new<T: Scalar>(drift: F, diffusion: G, noise: Noise) -> Result<Self, OdeError>
    where
        F: Map<T>,
        G: Map<T>,
    {
        let n = drift.inputs();
        check_len("the drift's value", drift.outputs(), n)?;
        check_len("the diffusion's state", diffusion.inputs(), n)?;
        check_len("the diffusion's value", diffusion.outputs(), noise.len(n))?;
        if noise == Noise::Matrix(0) {
            return Err(OdeError::Mismatch { what: "the diffusion has no columns".to_string() });
        }
        let path = Path::Seeded(Brownian::new(0));
        Ok(Self { drift, diffusion, noise, additive: false, commutative: false, shared: false, path })
    }
    /// Drift and diffusion see the same parameters.
    pub fn shared<T: Scalar>(drift: F, diffusion: G, noise: Noise) -> Result<Self, OdeError>
    where
        F: Map<T>,
        G: Map<T>,
    {
        check_len("the diffusion's parameter vector", diffusion.n_params(), drift.n_params())?;
        Ok(Self { shared: true, ..Self::new(drift, diffusion, noise)? })
    }
    /// States that g does not depend on y.
    pub fn additive(self) -> Self {
        Self { additive: true, commutative: true, ..self }
    }
    /// States that matrix noise commutes: sum_i g_ij dg_kl/dy_i = sum_i g_il dg_kj/dy_i for all j, k, l, so that no Levy areas are needed.
    pub fn commutative(self) -> Self {
        Self { commutative: true, ..self }
    }
    /// Along this [`Brownian`] path or these [`Increments`](super::Increments); along the path of seed 0 where none is given.
    pub fn along(self, path: impl Into<Path>) -> Self {
        Self { path: path.into(), ..self }
    }
    /// From now on along another path.
    pub fn follow(&mut self, path: impl Into<Path>) -> &mut Self {
        self.path = path.into();
        self
    }
    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// Shape of g.
    pub fn noise(&self) -> Noise {
        self.noise
    }
    /// Whether g is said not to depend on y.
    pub fn is_additive(&self) -> bool {
        self.additive
    }
    /// Whether g is said to commute.
    pub fn is_commutative(&self) -> bool {
        self.commutative
    }
    /// n.
    pub fn dim<T: Scalar>(&self) -> usize
    where
        F: Map<T>,
    {
        self.drift.inputs()
    }
    /// Length of p.
    pub fn n_params<T: Scalar>(&self) -> usize
    where
        F: Map<T>,
        G: Map<T>,
    {
        self.drift.n_params() + if self.shared { 0 } else { self.diffusion.n_params() }
    }
    /// The drift's parameters, and where the diffusion's begin and end.
    pub(crate) fn ranges<T: Scalar>(&self) -> (std::ops::Range<usize>, std::ops::Range<usize>)
    where
        F: Map<T>,
        G: Map<T>,
    {
        let nf = self.drift.n_params();
        if self.shared { (0..nf, 0..nf) } else { (0..nf, nf..nf + self.diffusion.n_params()) }
    }
}
