//! Hyper-parameters of any training that tune themselves: parameters that respond to them, row by row.
//!
//! The parameters w of an [`Inner`] training become functions of its theta = h (as in [`Responsive`](super::Responsive), whose layers are the case of a perceptron): with rows those of the
//! matrices, * by components,
//!
//! ```text
//! w(h) = w_0 + s * v,   s = C h, one number a row
//! dL/dv = s * w',   dL/dC = s' h^T,   dL/dh = C^T s',   s' = sums of v * w' over rows,   w' = dL/dw
//! ```
//!
//! In place of h stands h minus the h of the start, so that responses begin at zero whatever the size of h. One pass has one h + eps: a differential equation is solved with one set of parameters.

use rand::rngs::StdRng;
use rand_distr::{Distribution, StandardNormal};

use super::tune::{Responding, TuneOptions, TuneReport, run};
use super::unroll::Inner;
use crate::diff::Init;
use crate::error::{OdeError, check_len};
use crate::nn::{Entry, Params};
use crate::train::data::{Stream, generator};

/// Where the rows of the parameters are, and the lengths of w, v and C.
#[derive(Debug, Clone)]
struct Rows {
    /// Row of each parameter.
    of: Vec<usize>,
    count: usize,
    hyper: usize,
}

impl Rows {
    /// Matrices are column-major, their last length is that of a column.
    fn new(entries: &[Entry], hyper: usize) -> Self {
        let (mut of, mut count) = (vec![], 0);
        for entry in entries {
            let rows = entry.shape.last().copied().unwrap_or(1).max(1);
            of.extend(entry.range.clone().map(|i| count + (i - entry.range.start) % rows));
            count += rows;
        }
        Self { of, count, hyper }
    }
    /// w(h) from (w_0, v, C) in p.
    fn at(&self, p: &[f64], h: &[f64], w: &mut Vec<f64>) {
        let n = self.of.len();
        let (w0, rest) = p.split_at(n);
        let (v, c) = rest.split_at(n);
        let s: Vec<f64> =
            c.chunks_exact(self.hyper).map(|c| c.iter().zip(h).map(|(c, h)| c * h).sum()).collect();
        w.clear();
        w.extend(w0.iter().zip(v).zip(&self.of).map(|((w, v), row)| w + s[*row] * v));
    }
    /// ADDS the bars of p and h from that of w.
    fn pull(&self, p: &[f64], h: &[f64], w_bar: &[f64], p_bar: &mut [f64], h_bar: &mut [f64]) {
        let (n, k) = (self.of.len(), self.hyper);
        let (v, c) = (&p[n..2 * n], &p[2 * n..]);
        let mut s_bar = vec![0.0; self.count];
        let (w0_bar, rest) = p_bar.split_at_mut(n);
        let (v_bar, c_bar) = rest.split_at_mut(n);
        for i in 0..n {
            let row = self.of[i];
            let s: f64 = c[row * k..][..k].iter().zip(h).map(|(c, h)| c * h).sum();
            w0_bar[i] += w_bar[i];
            v_bar[i] += s * w_bar[i];
            s_bar[row] += v[i] * w_bar[i];
        }
        for (row, s_bar) in s_bar.into_iter().enumerate() {
            for i in 0..k {
                c_bar[row * k + i] += s_bar * h[i];
                h_bar[i] += s_bar * c[row * k + i];
            }
        }
    }
}

/// What [`tune_inner`] found.
#[derive(Debug, Clone)]
pub struct TunedInner {
    /// Hyper-parameters, widths and path; its parameters are w_0, v and C.
    pub report: TuneReport,
    /// w at the hyper-parameters found.
    pub weights: Vec<f64>,
}

/// Trains the parameters of `train` while its theta, the hyper-parameters, is tuned from `start` to make the loss of `validation` small, whose own theta stays as it is given. Steps on either are
/// numbered from 0. `model` has the initial parameters with their shapes; responses start at random and small.
///
/// ```
/// use costate::bilevel::{Inner, TuneOptions, tune_inner};
/// use costate::diff::Init;
/// use costate::nn::Params;
/// use rand::SeedableRng;
/// /// Loss (p - target)^2 / 2 + e^theta p^2 / 2.
/// struct Shrunk(f64);
/// impl Inner for Shrunk {
///     fn sizes(&self) -> (usize, usize) {
///         (1, 1)
///     }
///     fn gradient(&mut self, _: usize, p: &[f64], theta: &[f64], g: &mut [f64]) -> f64 {
///         g[0] = p[0] - self.0 + theta[0].exp() * p[0];
///         0.5 * (p[0] - self.0).powi(2) + 0.5 * theta[0].exp() * p[0] * p[0]
///     }
///     fn gradient_transposed(&mut self, _: usize, at: (&[f64], &[f64]), w: &[f64], bars: (&mut [f64], &mut [f64])) {
///         let lambda = at.1[0].exp();
///         bars.0[0] += (1.0 + lambda) * w[0];
///         bars.1[0] += lambda * at.0[0] * w[0];
///     }
/// }
/// let mut model = Params::new();
/// model.add("p", &[1], Init::Normal { deviation: 0.5 }, &mut rand::rngs::StdRng::seed_from_u64(0));
/// // Trained on 3, validated on 2 with next to no penalty: the best is 3 / (1 + e^h) = 2, e^h = 1/2.
/// let options = TuneOptions { tune_width: false, rate: 0.02, hyper_rate: 0.01, width: 0.2, ..TuneOptions::default() };
/// let found = tune_inner(&mut Shrunk(3.0), (&mut Shrunk(2.0), &[-30.0]), &model, &[0.5], &options)?;
/// assert!((found.report.h[0].exp() - 0.5).abs() < 0.05 && (found.weights[0] - 2.0).abs() < 0.05);
/// # Ok::<(), costate::ode::OdeError>(())
/// ```
///
/// # Errors
/// Lengths that do not fit, an option out of range, or a loss that is not finite (with the step).
pub fn tune_inner<A: Inner + ?Sized, B: Inner + ?Sized>(
    train: &mut A,
    (validation, fixed): (&mut B, &[f64]),
    model: &Params<f64>,
    start: &[f64],
    options: &TuneOptions,
) -> Result<TunedInner, OdeError> {
    let (n, k) = train.sizes();
    check_len("initial parameters", model.values().len(), n)?;
    check_len("hyper-parameters at the start", start.len(), k)?;
    check_len("parameters of the validation loss", validation.sizes().0, n)?;
    check_len("theta of the validation loss", fixed.len(), validation.sizes().1)?;
    if n * k == 0 {
        let what = "tuning needs parameters and hyper-parameters";
        return Err(OdeError::Mismatch { what: what.to_string() });
    }
    let rows = Rows::new(model.entries(), k);
    let params = responses(model, &rows, options.seed);
    let steps = [0; 2];
    let mut task =
        Task { train, validation, fixed, start, rows: &rows, steps, w: vec![], w_bar: vec![0.0; n] };
    let report = run(&mut task, params, start, options)?;
    let mut weights = vec![];
    let moved: Vec<f64> = report.h.iter().zip(start).map(|(h, s)| h - s).collect();
    rows.at(report.params.values(), &moved, &mut weights);
    Ok(TunedInner { report, weights })
}

/// w_0 as given, v at random and as large, C small.
fn responses(model: &Params<f64>, rows: &Rows, seed: u64) -> Params<f64> {
    let mut rng = generator(seed, Stream::Init, 2);
    let (w, n) = (model.values(), model.values().len());
    let mut params = Params::new();
    params.add("weight", &[n], Init::Zeros, &mut rng);
    params.add("response", &[n], Init::Zeros, &mut rng);
    for entry in model.entries() {
        let w = &w[entry.range.clone()];
        let size = (w.iter().map(|w| w * w).sum::<f64>() / w.len().max(1) as f64).sqrt();
        for i in entry.range.clone() {
            let z: f64 = StandardNormal.sample(&mut rng);
            params.values_mut()[n + i] = size * z;
        }
    }
    params.values_mut()[..n].copy_from_slice(w);
    params.add("rows", &[rows.count, rows.hyper], Init::Normal { deviation: 0.01 }, &mut rng);
    params
}

struct Task<'a, A: ?Sized, B: ?Sized> {
    train: &'a mut A,
    validation: &'a mut B,
    fixed: &'a [f64],
    start: &'a [f64],
    rows: &'a Rows,
    /// Passes so far, on either.
    steps: [usize; 2],
    w: Vec<f64>,
    w_bar: Vec<f64>,
}

impl<A: Inner + ?Sized, B: Inner + ?Sized> Responding for Task<'_, A, B> {
    fn load(&mut self, _: bool, _: &mut StdRng) -> usize {
        1
    }
    fn pass(
        &mut self,
        validation: bool,
        _: &mut StdRng,
        (p, h): (&[f64], &[f64]),
        p_bar: &mut [f64],
        h_bar: &mut [f64],
    ) -> f64 {
        let moved: Vec<f64> = h.iter().zip(self.start).map(|(h, s)| h - s).collect();
        self.rows.at(p, &moved, &mut self.w);
        let step = &mut self.steps[validation as usize];
        let loss = if validation {
            self.validation.gradient(*step, &self.w, self.fixed, &mut self.w_bar)
        } else {
            self.train.gradient(*step, &self.w, h, &mut self.w_bar)
        };
        *step += 1;
        self.rows.pull(p, &moved, &self.w_bar, p_bar, h_bar);
        loss
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bars are those of differences.
    #[test]
    fn responses_are_pulled_back() {
        let mut model = Params::<f64>::new();
        let mut rng = generator(1, Stream::Init, 0);
        model.add("a", &[3, 2], Init::Normal { deviation: 1.0 }, &mut rng);
        model.add("b", &[2], Init::Normal { deviation: 1.0 }, &mut rng);
        let rows = Rows::new(model.entries(), 2);
        assert_eq!((rows.count, &rows.of[..]), (4, &[0, 1, 0, 1, 0, 1, 2, 3][..]));
        let mut params = responses(&model, &rows, 3);
        params.values_mut().iter_mut().for_each(|p| *p *= 3.0);
        let (p, h) = (params.values().to_vec(), vec![0.4, -0.7]);
        let loss = |p: &[f64], h: &[f64]| {
            let mut w = vec![];
            rows.at(p, h, &mut w);
            w.iter().enumerate().map(|(i, w)| (i as f64 - 3.5) * w).sum::<f64>()
        };
        let w_bar: Vec<f64> = (0..8).map(|i| i as f64 - 3.5).collect();
        let (mut p_bar, mut h_bar) = (vec![0.0; p.len()], vec![0.0; 2]);
        rows.pull(&p, &h, &w_bar, &mut p_bar, &mut h_bar);
        let e = 1e-5;
        for (k, bar) in p_bar.iter().chain(&h_bar).enumerate() {
            let at = |e: f64| {
                let (mut p, mut h) = (p.clone(), h.clone());
                *p.iter_mut().chain(&mut h).nth(k).unwrap() += e;
                loss(&p, &h)
            };
            let slope = (at(e) - at(-e)) / (2.0 * e);
            assert!((slope - bar).abs() < 1e-9 * (1.0 + bar.abs()), "{k} {slope} {bar}");
        }
    }
}
