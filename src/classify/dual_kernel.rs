//! Kernels of infinitely wide networks as classifiers (Radhakrishnan, Belkin, Uhler: Wide and deep neural networks achieve consistency for classification;
//! arXiv 2204.14126).
//!
//! An activation a with coefficients a_i in normalized Hermite polynomials has the dual f(xi) = sum a_i^2 xi^i, f(1) = 1. For inputs x, z on the unit sphere,
//! xi = x'z, S_0 = K_0 = xi, a network of L hidden layers has
//!
//! ```text
//! S <- f(S)                    the kernel of its outputs at random weights (NNGP)
//! K <- f(S) + K f'(S)          the tangent kernel (NTK), with the old S in both terms
//! ```
//!
//! What becomes of a vote with these weights as the depth grows:
//!
//! | f | limit |
//! |---|---|
//! | f(0) != 0 (ReLU) | the majority |
//! | f(0) = 0, f'(0) = 0 | the nearest neighbor |
//! | f(0) = 0, f'(0) != 0 | weights R(r) r^-alpha, r = |x - z|, R bounded, alpha = 2 ln(1/f'(0)) / ln f'(1) |
//!
//! The last is consistent iff alpha is the dimension d of the sphere: the Hilbert estimate. S has the exponent -alpha at any depth. K / S = L + C(r) with
//! C ~ r^-2, so K has -(alpha + 2) where L is much below r^-2 and -alpha only far above: S is the default.
//!
//! Depths of hundreds are no trouble: with m the least power of f, f = S^m g(S),
//!
//! ```text
//! ln S <- m ln S + ln g(S),    K / S <- 1 + (K / S) S f'(S) / f(S)
//! ```
//!
//! so only logarithms are kept. That holds for xi >= 0; data belong in the positive orthant, because an odd f makes antipodes opposite.

use super::ClassifyError;
use super::vote::{Samples, finite};

/// The dual f of an activation.
#[derive(Debug, Clone, PartialEq)]
pub enum DualActivation {
    /// f(xi) = sum c_i xi^i with c_i >= 0 and sum c_i = 1, by ascending power.
    Polynomial(Vec<f64>),
    /// sinh(a xi) / sinh a.
    Sinh(f64),
    /// (sqrt(1 - xi^2) + xi (pi - arccos xi)) / pi: the rectifier's.
    Relu,
}

impl DualActivation {
    /// The one whose limit is consistent on the sphere of dimension d: polynomials for d = 1, 2, 4, 8, else sinh(a xi) / sinh a with alpha = d.
    ///
    /// # Errors
    /// d is 0 or above 100.
    pub fn consistent(d: usize) -> Result<Self, ClassifyError> {
        let odd = |power: usize, high: f64, low: f64| {
            let mut c = vec![0.0; power + 1];
            (c[1], c[power]) = (low, high);
            Self::Polynomial(c)
        };
        match d {
            1 => Ok(odd(7, 0.5, 0.5)),
            2 => Ok(odd(3, 0.5, 0.5)),
            4 => Ok(Self::Polynomial(vec![0.0, 0.25, 0.5, 0.25])),
            8 => Ok(Self::Polynomial(vec![0.0, 1.0 / 16.0, 7.0 / 8.0, 1.0 / 16.0])),
            3..=100 => Ok(Self::sinh_of(d as f64)),
            _ => Err(ClassifyError::Option {
                option: "activation",
                what: format!("the dimension is {d}, it must be from 1 to 100"),
            }),
        }
    }
    /// sinh with this exponent, by bisection: alpha grows with a (from 2 ln(1 + a^2 / 6) / ln(1 + a^2 / 3), about 1 at 0).
    fn sinh_of(alpha: f64) -> Self {
        let (mut low, mut high) = (1e-3, 400.0);
        for _ in 0..200 {
            let middle = 0.5 * (low + high);
            if Self::Sinh(middle).exponent().is_some_and(|e| e < alpha) {
                low = middle
            } else {
                high = middle
            }
        }
        Self::Sinh(0.5 * (low + high))
    }
    /// By name: `relu`, `nearest` (xi^2), or `sphereD` for the one of [`consistent`](Self::consistent) at dimension D.
    ///
    /// # Errors
    /// Another name.
    pub fn named(name: &str) -> Result<Self, ClassifyError> {
        match (name, name.strip_prefix("sphere").and_then(|d| d.parse().ok())) {
            ("relu", _) => Ok(Self::Relu),
            ("nearest", _) => Ok(Self::Polynomial(vec![0.0, 0.0, 1.0])),
            (_, Some(d)) => Self::consistent(d),
            _ => Err(ClassifyError::Option {
                option: "activation",
                what: format!(
                    "there is no activation {name}; there are relu, nearest, and sphereD with a dimension D, as sphere4"
                ),
            }),
        }
    }
    /// f(xi).
    pub fn value(&self, xi: f64) -> f64 {
        match self {
            Self::Polynomial(c) => c.iter().rev().fold(0.0, |s, c| s * xi + c),
            Self::Sinh(a) => (a * xi).sinh() / a.sinh(),
            Self::Relu => {
                let xi = xi.clamp(-1.0, 1.0);
                ((1.0 - xi * xi).sqrt() + xi * (PI - xi.acos())) / PI
            }
        }
    }
    /// f'(xi).
    pub fn slope(&self, xi: f64) -> f64 {
        match self {
            Self::Polynomial(c) => {
                c.iter().enumerate().skip(1).rev().fold(0.0, |s, (i, c)| s * xi + i as f64 * c)
            }
            Self::Sinh(a) => a * (a * xi).cosh() / a.sinh(),
            Self::Relu => (PI - xi.clamp(-1.0, 1.0).acos()) / PI,
        }
    }
    /// alpha, if the limit is a singular kernel: f(0) = 0 and f'(0) != 0.
    pub fn exponent(&self) -> Option<f64> {
        let slope = self.slope(0.0);
        (self.value(0.0) == 0.0 && slope > 0.0).then(|| -2.0 * slope.ln() / self.slope(1.0).ln())
    }
    /// S and K at depth L for any xi in [-1, 1], by the recursion as it stands.
    pub fn kernels(&self, xi: f64, depth: usize) -> (f64, f64) {
        let (mut s, mut k) = (xi, xi);
        for _ in 0..depth {
            let f = self.value(s);
            k = f + k * self.slope(s);
            s = f;
        }
        (s, k)
    }
    /// The least power m of f.
    fn order(&self) -> usize {
        match self {
            Self::Polynomial(c) => c.iter().position(|c| *c != 0.0).unwrap_or(0),
            Self::Sinh(_) => 1,
            Self::Relu => 0,
        }
    }
    /// g(s) = f(s) / s^m.
    fn factor(&self, s: f64, m: usize) -> f64 {
        match self {
            Self::Polynomial(c) => c[m..].iter().rev().fold(0.0, |g, c| g * s + c),
            Self::Sinh(a) if a * s < 1e-9 => a / a.sinh(),
            // As in `value`: at s = 1 exactly 1, a fixed point that repels.
            Self::Sinh(a) => (a * s).sinh() / a.sinh() / s,
            Self::Relu => self.value(s),
        }
    }
    /// s f'(s) / f(s), which is m at 0.
    fn elasticity(&self, s: f64, m: usize) -> f64 {
        match self {
            Self::Polynomial(c) => {
                let slope = c.iter().enumerate().skip(m).rev().fold(0.0, |d, (i, c)| d * s + i as f64 * c);
                slope / self.factor(s, m)
            }
            Self::Sinh(a) if a * s < 1e-9 => 1.0,
            Self::Sinh(a) => a * s / (a * s).tanh(),
            Self::Relu => s * self.slope(s) / self.value(s),
        }
    }
    /// ln S, and K / S if it is asked for (else 1), at depth L for xi in [0, 1]; see the module.
    fn logarithms(&self, xi: f64, depth: usize, tangent: bool) -> (f64, f64) {
        let m = self.order();
        let (mut s, mut log, mut ratio) = (xi, xi.ln(), 1.0);
        // Factors of one logarithm: at most 16, each at least f'(0).
        let mut product = 1.0;
        for layer in 0..depth {
            if m == 1 && s < NEGLIGIBLE {
                // g = f'(0) from here on.
                let left = (depth - layer) as f64;
                return (log + f64::ln(product) + left * self.slope(0.0).ln(), ratio + left);
            }
            let g = self.factor(s, m);
            if tangent {
                ratio = 1.0 + ratio * self.elasticity(s, m);
            }
            s = match m {
                0 => g,
                1 => s * g,
                _ => s.powi(m as i32) * g,
            };
            match m {
                0 => {}
                1 => {
                    product *= g;
                    if layer % 16 == 15 || product < 1e-100 {
                        log += f64::ln(product);
                        product = 1.0;
                    }
                }
                _ => log = m as f64 * log + g.ln(),
            }
        }
        if m == 0 { (s.ln(), ratio) } else { (log + f64::ln(product), ratio) }
    }
    fn check(&self) -> Result<(), ClassifyError> {
        let wrong = |what: String| Err(ClassifyError::Option { option: "activation", what });
        match self {
            Self::Polynomial(c) => {
                let sum: f64 = c.iter().sum();
                let fine = c.iter().all(|c| *c >= 0.0) && (sum - 1.0).abs() < 1e-9;
                if !fine {
                    return wrong(format!(
                        "the coefficients of a dual activation are not negative and have sum 1; they are {c:?}"
                    ));
                }
                if c.iter().skip(1).all(|c| *c == 0.0) {
                    return wrong(
                        "the dual activation is constant: the kernel says nothing of the input".into(),
                    );
                }
                Ok(())
            }
            Self::Sinh(a) if !(*a > 0.0 && *a <= 400.0) => {
                wrong(format!("sinh's factor is {a}, it must be positive and at most 400"))
            }
            _ => Ok(()),
        }
    }
}

/// Below it terms of f beyond the first are rounding, for the duals of [`DualActivation::consistent`] and all coefficients down to 1e-4.
const NEGLIGIBLE: f64 = 1e-24;
const PI: f64 = std::f64::consts::PI;

/// Which kernel of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WideKernel {
    /// S: of the outputs at random weights (NNGP).
    #[default]
    Outputs,
    /// K: of the gradients, what training follows (NTK).
    Tangent,
}

/// Activation, kernel and depth.
#[derive(Debug, Clone, PartialEq)]
pub struct DualKernelOptions {
    /// The dual activation; `None` takes [`DualActivation::consistent`] for the dimension of the data.
    pub activation: Option<DualActivation>,
    /// Which kernel; default the outputs'.
    pub kernel: WideKernel,
    /// Hidden layers, at most 1000; default 100.
    pub depth: usize,
}

impl Default for DualKernelOptions {
    fn default() -> Self {
        Self { activation: None, kernel: WideKernel::Outputs, depth: 100 }
    }
}

/// A classifier: labeled samples that vote with the weights of a kernel.
///
/// [`fit`](Self::fit) takes any table: column j is scaled to u_j = (x_j - min_j) / (max_j - min_j) of the samples (queries are clamped to [0, 1]; a constant
/// column is 0), and the point is (u_1, .., u_d, 1) divided by its length, on the positive orthant of the sphere of dimension d. Columns should be
/// comparable after that; [`fit_sphere`](Self::fit_sphere) takes unit vectors of d + 1 entries as they are.
#[derive(Debug, Clone)]
pub struct DualKernel {
    activation: DualActivation,
    kernel: WideKernel,
    depth: usize,
    inputs: usize,
    /// Least value and range of every column of a table; none for vectors of the sphere.
    columns: Option<Vec<(f64, f64)>>,
    points: Vec<f64>,
    labels: Vec<usize>,
}

impl DualKernel {
    /// From a table: `x` holds the samples one after another, `inputs` numbers each; one label a sample.
    ///
    /// # Errors
    /// Lengths that do not fit, numbers that are not finite, no samples, options outside their range.
    pub fn fit(
        x: &[f64],
        inputs: usize,
        labels: &[usize],
        options: &DualKernelOptions,
    ) -> Result<Self, ClassifyError> {
        Samples { x, inputs, labels }.check()?;
        let range = |j: usize| {
            let column = x.iter().skip(j).step_by(inputs);
            let (low, high) =
                column.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
            (low, high - low)
        };
        let columns: Vec<(f64, f64)> = (0..inputs).map(range).collect();
        let points = on_sphere(x, inputs, &columns);
        Self::new(points, inputs, Some(columns), labels, options)
    }
    /// From unit vectors with entries that are not negative, `entries` numbers each.
    ///
    /// # Errors
    /// As [`fit`](Self::fit), or a sample off the positive orthant of the sphere.
    pub fn fit_sphere(
        x: &[f64],
        entries: usize,
        labels: &[usize],
        options: &DualKernelOptions,
    ) -> Result<Self, ClassifyError> {
        Samples { x, inputs: entries, labels }.check()?;
        check_sphere(x, entries, "sample")?;
        Self::new(x.to_vec(), entries, None, labels, options)
    }
    fn new(
        points: Vec<f64>,
        inputs: usize,
        columns: Option<Vec<(f64, f64)>>,
        labels: &[usize],
        options: &DualKernelOptions,
    ) -> Result<Self, ClassifyError> {
        let DualKernelOptions { activation, kernel, depth } = options.clone();
        let dimension = if columns.is_some() { inputs } else { inputs - 1 };
        let activation = match activation {
            Some(given) => given,
            None => DualActivation::consistent(dimension)?,
        };
        activation.check()?;
        if depth == 0 || depth > 1000 {
            let what = format!("the network has {depth} hidden layers, it must have 1 to 1000");
            return Err(ClassifyError::Option { option: "depth", what });
        }
        if kernel == WideKernel::Tangent && !activation.logarithms(1.0, depth, true).1.is_finite() {
            let what = format!(
                "the tangent kernel overflows at depth {depth}: take a smaller one, or the kernel of the outputs"
            );
            return Err(ClassifyError::Option { option: "depth", what });
        }
        Ok(Self { activation, kernel, depth, inputs, columns, points, labels: labels.to_vec() })
    }
    /// The activation in use.
    pub fn activation(&self) -> &DualActivation {
        &self.activation
    }
    /// Labels of the queries, given as the samples were.
    ///
    /// # Errors
    /// A length that does not fit, numbers that are not finite, or a query off the orthant.
    pub fn predict(&self, queries: &[f64]) -> Result<Vec<usize>, ClassifyError> {
        let mapped;
        let (queries, entries) = match &self.columns {
            None => {
                if queries.len().is_multiple_of(self.inputs) {
                    check_sphere(queries, self.inputs, "query")?;
                }
                (queries, self.inputs)
            }
            Some(columns) => {
                if !queries.len().is_multiple_of(self.inputs) {
                    let (found, inputs) = (queries.len(), self.inputs);
                    let what = format!(
                        "the queries have {found} numbers, not a multiple of {inputs}, the numbers of a sample"
                    );
                    return Err(ClassifyError::data(what));
                }
                finite(queries, self.inputs, "query")?;
                mapped = on_sphere(queries, self.inputs, columns);
                (&mapped[..], self.inputs + 1)
            }
        };
        let samples = Samples { x: &self.points, inputs: entries, labels: &self.labels };
        samples.vote(queries, |x, z| self.log_weight(x.iter().zip(z).map(|(a, b)| a * b).sum()))
    }
    /// The logarithm of the kernel at x'z in [0, 1], of which rounding may go a little beyond.
    pub fn log_weight(&self, xi: f64) -> f64 {
        let (log, ratio) =
            self.activation.logarithms(xi.clamp(0.0, 1.0), self.depth, self.kernel == WideKernel::Tangent);
        match self.kernel {
            WideKernel::Outputs => log,
            WideKernel::Tangent => log + ratio.ln(),
        }
    }
}

/// (u, 1) / |(u, 1)| of every row of a table.
fn on_sphere(x: &[f64], inputs: usize, columns: &[(f64, f64)]) -> Vec<f64> {
    let mut points = Vec::with_capacity(x.len() / inputs * (inputs + 1));
    for row in x.chunks_exact(inputs) {
        let u = |(v, (low, range)): (&f64, &(f64, f64))| {
            if *range > 0.0 { ((v - low) / range).clamp(0.0, 1.0) } else { 0.0 }
        };
        let from = points.len();
        points.extend(row.iter().zip(columns).map(u));
        points.push(1.0);
        let length = points[from..].iter().map(|v| v * v).sum::<f64>().sqrt();
        points[from..].iter_mut().for_each(|v| *v /= length);
    }
    points
}

fn check_sphere(x: &[f64], entries: usize, what: &str) -> Result<(), ClassifyError> {
    finite(x, entries, what)?;
    for (i, row) in x.chunks_exact(entries).enumerate() {
        let length = row.iter().map(|v| v * v).sum::<f64>().sqrt();
        if (length - 1.0).abs() > 1e-9 || row.iter().any(|v| *v < 0.0) {
            let what = format!(
                "{what} {i} is not on the positive orthant of the unit sphere (its length is {length}): use `fit` for data of any kind"
            );
            return Err(ClassifyError::data(what));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "dual_kernel_tests.rs"]
mod tests;
