//! The spiral neural SDE: means and variances over many paths of
//!
//! ```text
//! du1 = -0.1 u1^3 - 2 u2^3 dt + 0.2 u1 dW1,   du2 = 2 u1^3 - 0.1 u2^3 dt + 0.2 u2 dW2,   u(0) = (2, 0)
//! ```
//!
//! learned by du = (W2 tanh(W1 u^3 + b1) + b2) dt + diag(W3 u + b3) dW. (The 2021 paper prints the other sign of the coupling; its data have this one.)
//!
//! STEER. With save times t_i + d_i, d_i uniform in +- steer half intervals, the loss compares mean and variance over the trajectories at t_i + d_i
//! with the data's moments at t_i. All trajectories of a pass share the d_i: were each to have its own, the spread of the times would
//! add to the variance. Over the passes the loss is, for the mean m and the same for the variance,
//!
//! ```text
//! E (m(t + d) - m_data)^2 = (E m(t + d) - m_data)^2 + var m(t + d),    var m(t + d) ~ m'(t)^2 var d
//! ```
//!
//! so what is fitted is the moments' average over an interval, and the last term is a price on how fast they change. Evaluations take the true times.

use std::path::Path;
use std::time::Instant;

use rand::RngExt;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use super::config::Config;
use super::data::{Stream, generator};
use super::error::TrainError;
use super::pass::{LossBars, Pass, PassStats, Problem};
use super::recipe::{Need, Recipe, at_least, positive};
use super::schedule::Progress;
use super::size::layer;
use super::task::{Curve, Evaluation, Plot, Split, Task, jittered};
use crate::diff::{FnMap, Map};
use crate::linalg::Scalar;
use crate::nn::{Activation, Chain, Mlp, Parallel, Params, Power};
use crate::ode::{Options, SaveAt};
use crate::sde::{Brownian, Noise, SOSRI, Sde, SdeIntegrator};

const START: [f64; 2] = [2.0, 0.0];
/// Batches of trajectories of one evaluation.
const EVALUATIONS: u64 = 5;

type Drift<T> = Parallel<Chain<Power, Mlp<T>, T>, T>;
type Equation<T> = Sde<Drift<T>, Parallel<Mlp<T>, T>>;

/// Mean over times and components of (mean - target mean)^2 plus that of the (unbiased) variances. States: 2 x trajectories for every time;
/// target: mean1, mean2, var1, var2 for every time. With bars, the derivative is ADDED.
pub fn moment_loss<T: Scalar>(
    states: &[T],
    trajectories: usize,
    target: &[f64],
    bars: Option<&mut [T]>,
) -> f64 {
    let (times, n) = (target.len() / 4, trajectories as f64);
    let share = 1.0 / (2 * times) as f64;
    let (mut loss, mut bars) = (0.0, bars);
    for (k, target) in target.chunks_exact(4).enumerate() {
        let from = 2 * trajectories * k;
        let block = &states[from..from + 2 * trajectories];
        for c in 0..2 {
            let of = || block.iter().skip(c).step_by(2).map(|v| v.f64());
            let mean = of().sum::<f64>() / n;
            let variance = of().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
            let (dm, dv) = (mean - target[c], variance - target[2 + c]);
            loss += share * (dm * dm + dv * dv);
            let Some(bars) = bars.as_deref_mut() else { continue };
            for (b, v) in bars[from + c..from + 2 * trajectories].iter_mut().step_by(2).zip(of()) {
                *b += T::of(share * (2.0 * dm / n + 4.0 * dv * (v - mean) / (n - 1.0)));
            }
        }
    }
    loss
}

/// Moments at these times over simulated paths. Strong order 1.5: Euler's method would need far shorter steps, its drift off the orbit turns into an error of phase.
fn simulate(times: &[f64], paths: usize, seed: u64) -> Result<Vec<f64>, TrainError> {
    let drift = FnMap::new(2, 0, |_t, u: &[f64], _: &[f64], du: &mut [f64]| {
        let c = [u[0] * u[0] * u[0], u[1] * u[1] * u[1]];
        du[0] = -0.1 * c[0] - 2.0 * c[1];
        du[1] = 2.0 * c[0] - 0.1 * c[1];
    });
    let noise = FnMap::new(2, 0, |_t, u: &[f64], _: &[f64], g: &mut [f64]| {
        (g[0], g[1]) = (0.2 * u[0], 0.2 * u[1]);
    });
    let mut sde = Sde::new(drift, noise, Noise::Diagonal)?.along(Brownian::new(seed));
    let mut integrator = SdeIntegrator::new(&SOSRI, 2, paths, &Options::noisy().with_fixed_step(2e-3))?;
    let mut save = SaveAt::new(times);
    let (y0, end) = (START.repeat(paths), times[times.len() - 1]);
    let report = integrator.run(&mut sde, (0.0, end), &y0, &[], &mut save)?;
    if !report.ok() {
        return Err(TrainError::Solver { what: report.message() });
    }
    Ok((0..times.len()).flat_map(|k| moments(save.state(k))).collect())
}

/// Means and (unbiased) variances of the two components over trajectories.
fn moments<T: Scalar>(states: &[T]) -> [f64; 4] {
    let n = (states.len() / 2) as f64;
    let of = |c: usize| states.iter().skip(c).step_by(2).map(|v| v.f64());
    let mean = [0, 1].map(|c| of(c).sum::<f64>() / n);
    let var = [0, 1].map(|c| of(c).map(|v| (v - mean[c]).powi(2)).sum::<f64>() / (n - 1.0));
    [mean[0], mean[1], var[0], var[1]]
}

/// Times and moments from a file.
fn read(path: &Path) -> Result<(Vec<f64>, Vec<f64>), TrainError> {
    let shown = path.display().to_string();
    let text =
        std::fs::read_to_string(path).map_err(|source| TrainError::Io { path: shown.clone(), source })?;
    let (mut times, mut target) = (vec![], vec![]);
    for (i, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let numbers: Vec<f64> = line
            .split([' ', ',', '\t'])
            .filter(|w| !w.is_empty())
            .map(|w| w.parse().unwrap_or(f64::NAN))
            .collect();
        let after = times.last().copied();
        let wrong = if numbers.len() != 5 || numbers.iter().any(|v| !v.is_finite()) {
            Some("expected five numbers: t mean1 mean2 var1 var2")
        } else if after.is_some_and(|t| numbers[0] <= t) {
            Some("the times must ascend")
        } else if numbers[3] < 0.0 || numbers[4] < 0.0 {
            Some("a variance (column 4 or 5) is negative")
        } else {
            None
        };
        if let Some(wrong) = wrong {
            let what = format!("line {}: {wrong}, found {line:?}", i + 1);
            return Err(TrainError::Data { path: shown, what });
        }
        times.push(numbers[0]);
        target.extend(&numbers[1..]);
    }
    if times.len() < 2 || times[0] < 0.0 {
        let what = "expected at least two times, none negative".to_string();
        return Err(TrainError::Data { path: shown, what });
    }
    Ok((times, target))
}

/// `kind = "spiral_sde"`: the spiral with noise, du = W2 tanh(W1 u^3 + b1) + b2 dt + diag(W3 u + b3) dW, fitted to means and variances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpiralSdeConfig {
    /// Save points on \[0, end\], the start included; default 30. With `moments`, those of the file.
    pub points: usize,
    /// Last time; default 1.
    pub end: f64,
    /// Width of the drift's hidden layer; default 50.
    pub hidden: usize,
    /// Trajectories a step; default 100.
    pub trajectories: usize,
    /// File of lines `t mean1 mean2 var1 var2`, relative to the configuration file; without it, moments of `paths` simulated paths.
    pub moments: Option<String>,
    /// Paths to simulate; default 10000.
    pub paths: usize,
    /// As for `mnist_ode`, in drift and diffusion, of the trajectories; default: never cut.
    pub piece: Option<usize>,
    /// Epochs over which the span that is trained on grows to its whole length; default 0.
    pub grow: u64,
}

impl Default for SpiralSdeConfig {
    fn default() -> Self {
        Self {
            points: 30,
            end: 1.0,
            hidden: 50,
            trajectories: 100,
            moments: None,
            paths: 10_000,
            piece: None,
            grow: 0,
        }
    }
}

impl Recipe for SpiralSdeConfig {
    fn check(&self, _: &Config) -> Result<(), TrainError> {
        at_least(&[
            ("points", self.points, 2),
            ("hidden", self.hidden, 1),
            ("trajectories", self.trajectories, 2),
            ("paths", self.paths, 2),
            ("piece", self.piece.unwrap_or(1), 1),
        ])?;
        positive("end", self.end)
    }
    fn need(&self, _: &Config) -> Need {
        let (points, hidden) = (self.points as f64, self.hidden as f64);
        let simulated = if self.moments.is_none() { 16.0 * points * self.paths as f64 } else { 0.0 };
        Need {
            parameters: layer(2.0, hidden) + layer(hidden, 2.0) + layer(2.0, 2.0),
            states: 2.0 * points * self.trajectories as f64,
            bytes: 40.0 * points + simulated,
        }
    }
    fn build<T: Scalar>(&self, run: &Config, base: &Path) -> Result<Box<dyn Task<T>>, TrainError> {
        Ok(Box::new(SpiralSde::new(run, self, base)?))
    }
    fn is_stochastic(&self) -> bool {
        true
    }
    fn step(&self, _: &Config) -> String {
        format!("{} trajectories a step", self.trajectories)
    }
}

/// See the module.
#[derive(Debug)]
pub struct SpiralSde<T: Scalar> {
    drift: Mlp<T>,
    diffusion: Mlp<T>,
    sde: Equation<T>,
    pass: Pass<T, SdeIntegrator<T>>,
    integrator: SdeIntegrator<T>,
    times: Vec<T>,
    target: Vec<f64>,
    trajectories: usize,
    grow: u64,
    steer: f64,
    y0: Vec<T>,
    bar: Vec<T>,
}

impl<T: Scalar> SpiralSde<T> {
    /// Reads or simulates the moments; a relative file starts at `base`.
    pub fn new(config: &Config, of: &SpiralSdeConfig, base: &Path) -> Result<Self, TrainError> {
        let SpiralSdeConfig { points, end, hidden, trajectories, moments, paths, piece, grow } = of;
        let (times, target) = match moments {
            Some(file) => read(&base.join(file))?,
            None => {
                let times: Vec<f64> = (0..*points).map(|i| end * (i as f64 / (points - 1) as f64)).collect();
                let target = simulate(&times, *paths, 0)?;
                (times, target)
            }
        };
        let drift = Mlp::dense(&[2, *hidden, 2], Activation::Tanh, Activation::Identity, false)?;
        let diffusion = Mlp::linear(2, 2)?;
        let width = piece.unwrap_or(usize::MAX);
        let chain = Chain::new(Power { dim: 2, exponent: 3 }, drift.clone())?;
        let noise = Parallel::new(diffusion.clone(), width);
        let sde = Sde::new(Parallel::new(chain, width), noise, Noise::Diagonal)?;
        let (method, options) = (config.solver.sde_method()?, config.solver.sde_options());
        let (size, memory) = ((2, *trajectories), config.solver.memory());
        Ok(Self {
            drift,
            diffusion,
            sde,
            pass: Pass::new(method, size, &options, memory, &config.penalties, true)?,
            integrator: SdeIntegrator::new(method, 2, *trajectories, &options)?,
            times: times.iter().map(|t| T::of(*t)).collect(),
            target,
            trajectories: *trajectories,
            grow: *grow,
            steer: config.solver.steer,
            y0: START.repeat(*trajectories).iter().map(|v| T::of(*v)).collect(),
            bar: vec![T::ZERO; 2 * trajectories],
        })
    }
    fn span(&self) -> (T, T) {
        (T::ZERO, self.times[self.times.len() - 1])
    }
}

impl<T: Scalar> Task<T> for SpiralSde<T> {
    fn params(&self, rng: &mut StdRng) -> Params<T> {
        let mut params = Params::new();
        params.add_spec("drift", self.drift.spec(), rng);
        params.add_spec("diffusion", self.diffusion.spec(), rng);
        params
    }
    fn samples(&self) -> usize {
        1
    }
    fn split_len(&self, split: Split) -> usize {
        (split != Split::Validation) as usize
    }
    fn gradient(
        &mut self,
        p: &[T],
        _: &[usize],
        now: &Progress,
        rng: &mut StdRng,
        gradient: &mut [T],
    ) -> Result<(PassStats, Option<f64>), TrainError> {
        let mut times = jittered(&self.times, self.steer, rng);
        times.truncate(now.points(times.len(), self.grow));
        let span = (T::ZERO, times[times.len() - 1]);
        let problem = Problem { span, y0: &self.y0, p, times: &times };
        let (target, count) = (&self.target[..4 * times.len()], self.trajectories);
        let mut loss =
            |_: &[T], saved: &[T], bars: LossBars<'_, T>| moment_loss(saved, count, target, Some(bars.saved));
        let bar = &mut self.bar;
        let stats = self.pass.run(&mut self.sde, &problem, now, rng, &mut loss, bar, gradient)?;
        Ok((stats, None))
    }
    /// Both splits: the same moments, other paths.
    fn evaluate(&mut self, p: &[T], split: Split) -> Result<Evaluation, TrainError> {
        let mut rng = generator(split as u64, Stream::Data, 0);
        let mut e = Evaluation { predict_seconds: f64::INFINITY, ..Evaluation::default() };
        for _ in 0..EVALUATIONS {
            let begun = Instant::now();
            self.sde.follow(Brownian::new(rng.random()));
            let mut save = SaveAt::new(&self.times);
            let span = self.span();
            let report = self.integrator.run(&mut self.sde, span, &self.y0, p, &mut save)?;
            if !report.ok() {
                return Err(TrainError::Solver { what: report.message() });
            }
            e.predict_seconds = e.predict_seconds.min(begun.elapsed().as_secs_f64());
            let share = 1.0 / EVALUATIONS as f64;
            e.loss += share * moment_loss(save.states(), self.trajectories, &self.target, None);
            e.nfe += share * report.counts.evals as f64;
            e.accepted += share * report.counts.accepted as f64;
            e.rejected += share * report.counts.rejected as f64;
        }
        Ok(e)
    }
    /// Means in the plane, variances over time.
    fn fit(&mut self, p: &[T]) -> Result<Vec<Plot>, TrainError> {
        let mut save = SaveAt::new(&self.times);
        let span = self.span();
        self.sde.follow(Brownian::new(0));
        let report = self.integrator.run(&mut self.sde, span, &self.y0, p, &mut save)?;
        if !report.ok() {
            return Err(TrainError::Solver { what: report.message() });
        }
        let learned: Vec<[f64; 4]> = (0..self.times.len()).map(|k| moments(save.state(k))).collect();
        let data = self.target.as_chunks().0;
        let of = |rows: &[[f64; 4]], what: &str, joined| {
            let curve = |name: String, points| Curve { name, points, joined };
            let over_time = |c: usize| {
                let points = self.times.iter().zip(rows).map(|(t, m)| (t.f64(), m[1 + c])).collect();
                curve(format!("u{c}, {what}"), points)
            };
            let plane = curve(format!("mean, {what}"), rows.iter().map(|m| (m[0], m[1])).collect());
            (plane, [over_time(1), over_time(2)])
        };
        let ((mean, [a, b]), (data_mean, [c, d])) = (of(&learned, "learned", true), of(data, "data", false));
        let plot = |name: &str, x: &str, y: &str, curves| Plot {
            name: name.into(),
            axes: (x.into(), y.into()),
            curves,
        };
        Ok(vec![
            plot("fit", "u1", "u2", vec![mean, data_mean]),
            plot("fit_variance", "t", "variance", vec![a, b, c, d]),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_distr::{Distribution, StandardNormal};

    #[test]
    fn derivative_of_the_moment_loss() {
        let x: Vec<f64> = (0..2 * 5 * 3).map(|i| (1.3 * i as f64).sin()).collect();
        let target: Vec<f64> = (0..12).map(|i| 0.3 * (0.7 * i as f64).cos()).collect();
        let mut bar = vec![0.0; x.len()];
        moment_loss(&x, 5, &target, Some(&mut bar));
        for i in 0..x.len() {
            let at = |d: f64| {
                let mut x = x.clone();
                x[i] += d;
                moment_loss(&x, 5, &target, None)
            };
            let d = 1e-3;
            let fd = (8.0 * (at(d) - at(-d)) - (at(2.0 * d) - at(-2.0 * d))) / (12.0 * d);
            assert!((fd - bar[i]).abs() < 1e-10, "{i}: {fd} {}", bar[i]);
        }
    }

    /// Means and variances of groups of paths by a method written apart: Heun's for the drift, Milstein's for the noise, 100 steps an interval.
    fn heun(paths: usize, seed: u64) -> Vec<f64> {
        let f = |u: [f64; 2]| {
            let c = [u[0].powi(3), u[1].powi(3)];
            [-0.1 * c[0] - 2.0 * c[1], 2.0 * c[0] - 0.1 * c[1]]
        };
        let (mut rng, h) = (generator(seed, Stream::Data, 7), 1.0 / 2900.0f64);
        let mut states = vec![START; paths];
        let mut out = vec![];
        for k in 0..30 {
            let n = paths as f64;
            let mean = [0, 1].map(|c| states.iter().map(|u| u[c]).sum::<f64>() / n);
            let var =
                [0, 1].map(|c| states.iter().map(|u| (u[c] - mean[c]).powi(2)).sum::<f64>() / (n - 1.0));
            out.extend(mean.into_iter().chain(var));
            for u in states.iter_mut().filter(|_| k < 29) {
                for _ in 0..100 {
                    let a = f(*u);
                    let b = f([u[0] + h * a[0], u[1] + h * a[1]]);
                    for c in 0..2 {
                        let z: f64 = StandardNormal.sample(&mut rng);
                        let noise = 0.2 * z * h.sqrt() + 0.02 * h * (z * z - 1.0);
                        u[c] += 0.5 * h * (a[c] + b[c]) + u[c] * noise;
                    }
                }
            }
        }
        out
    }

    /// Ten groups of paths a side give means and standard errors; seeds are fixed, so there are no false alarms later.
    #[test]
    fn simulated_moments() {
        let times: Vec<f64> = (0..30).map(|i| i as f64 / 29.0).collect();
        let ours: Vec<Vec<f64>> = (0..10).map(|seed| simulate(&times, 400, seed).unwrap()).collect();
        let theirs: Vec<Vec<f64>> = (0..10).map(|seed| heun(400, seed)).collect();
        let moments = |runs: &[Vec<f64>], i: usize| {
            let mean = runs.iter().map(|r| r[i]).sum::<f64>() / 10.0;
            (mean, runs.iter().map(|r| (r[i] - mean).powi(2)).sum::<f64>() / 90.0)
        };
        for i in 0..120 {
            let ((a, va), (b, vb)) = (moments(&ours, i), moments(&theirs, i));
            assert!((a - b).abs() <= 5.0 * (va + vb).sqrt() + 1e-9, "{i}: {a} {b} {}", (va + vb).sqrt());
        }
    }

    #[test]
    fn files_of_moments() {
        let path = std::env::temp_dir().join(format!("costate-moments-{}", std::process::id()));
        std::fs::write(&path, "# t mean1 mean2 var1 var2\n0 2 0 0 0\n0.5 1,1 0.1 0.2\n").unwrap();
        let (times, target) = read(&path).unwrap();
        assert_eq!((times, target), (vec![0.0, 0.5], vec![2.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.1, 0.2]));
        for (text, want) in [
            ("0 2 0 0\n", "line 1"),
            ("0 2 0 0 0\n0 2 0 0 0\n", "line 2"),
            ("0 2 0 0 x\n", "line 1"),
            ("0 2 0 0 0\n", "at least two times"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(read(&path).is_err());
    }
}
