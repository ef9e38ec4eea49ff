//! Ending runs that will not be the best: final scores are predicted from the beginning of the learning curve (Baker, Gupta, Raskar, Naik, "Accelerating neural
//! architecture search using performance prediction", arXiv 1705.10823).
//!
//! ```text
//! features after tau of T epochs:  y_1 .. y_tau, their first and second differences | size of the model | hyper-parameters
//! yhat = regression of y_T on the features, one for each tau, learned from the first finished runs
//! stop if  P(y_T > reference) < 1 - Delta,   y_T ~ N(yhat, sigma^2)
//! reference = (n-th best finished score) - slack
//! ```
//!
//! Scores are to be large. sigma is the root mean square of the leave-one-out residuals (kernel ridge, in closed form), or of those of three-fold
//! cross-validation (nu-SVR). With Delta = 1 nothing is ever stopped. A score that is not finite counts as the least finite one of the runs learned from.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rand::RngExt;

use super::SearchError;
use super::kernel_ridge::KernelRidge;
use super::nu_svr::{NuSvr, NuSvrOptions};
use crate::linalg::dot;
use crate::normal::cumulative;
use crate::random::{Purpose, generator};

/// A run: its scores so far, one an epoch, and what is known of it beforehand.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Curve {
    /// Large is good.
    pub scores: Vec<f64>,
    /// Hyper-parameters, on logarithmic scales where ratios matter; as many for every run.
    pub hyper: Vec<f64>,
    /// Size of the model, as the logarithm of the number of its weights and the number of its layers; as many for every run.
    pub size: Vec<f64>,
}

/// What a prediction is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// Scores and their differences (TS).
    pub series: bool,
    /// Hyper-parameters (HP).
    pub hyper: bool,
    /// Size of the model (AP).
    pub size: bool,
}

impl Default for Features {
    fn default() -> Self {
        Self { series: true, hyper: true, size: true }
    }
}

/// The regression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Regression {
    /// Kernel ridge, its two hyper-parameters by leave-one-out residuals.
    #[default]
    KernelRidge,
    /// nu-SVR, the best of some random C, nu, gamma by three-fold cross-validation: slower.
    NuSvr {
        /// How many are tried.
        tries: usize,
        /// Of the random search.
        seed: u64,
    },
}

/// Predicts final scores from the first tau.
#[derive(Debug, Clone)]
pub struct CurveModel {
    tau: usize,
    features: Features,
    /// Stands for a score that is not finite.
    floor: f64,
    scaler: Scaler,
    /// Mean and deviation of the targets.
    target: (f64, f64),
    fit: Fit,
    deviation: f64,
}

#[derive(Debug, Clone)]
enum Fit {
    Ridge(KernelRidge),
    Svr(NuSvr),
}

/// Columns to mean 0 and deviation 1; constant ones to 0.
#[derive(Debug, Clone)]
struct Scaler {
    mean: Vec<f64>,
    /// 1 / deviation, or 0.
    scale: Vec<f64>,
}

impl Scaler {
    fn new(rows: &[Vec<f64>]) -> Self {
        let n = rows.len() as f64;
        let dim = rows.first().map_or(0, Vec::len);
        let mean: Vec<f64> = (0..dim).map(|j| rows.iter().map(|r| r[j]).sum::<f64>() / n).collect();
        let scale = mean.iter().enumerate().map(|(j, m)| {
            let deviation = (rows.iter().map(|r| (r[j] - m).powi(2)).sum::<f64>() / n).sqrt();
            if deviation > 1e-12 * m.abs().max(1e-300) { 1.0 / deviation } else { 0.0 }
        });
        let scale = scale.collect();
        Self { mean, scale }
    }
    fn apply(&self, row: &[f64]) -> Vec<f64> {
        row.iter().zip(&self.mean).zip(&self.scale).map(|((v, m), s)| (v - m) * s).collect()
    }
}

/// The last of `epochs` scores; one that is missing or not finite is the floor.
fn last(curve: &Curve, epochs: usize, floor: f64) -> f64 {
    curve.scores.get(epochs - 1).copied().filter(|v| v.is_finite()).unwrap_or(floor)
}

fn row(curve: &Curve, tau: usize, features: Features, floor: f64) -> Vec<f64> {
    let mut row = vec![];
    if features.series {
        let y: Vec<f64> = (1..=tau).map(|t| last(curve, t, floor)).collect();
        let first: Vec<f64> = y.windows(2).map(|w| w[1] - w[0]).collect();
        row.extend_from_slice(&y);
        row.extend(first.windows(2).map(|w| w[1] - w[0]));
        row.extend(first);
    }
    if features.size {
        row.extend_from_slice(&curve.size);
    }
    if features.hyper {
        row.extend_from_slice(&curve.hyper);
    }
    row
}

impl CurveModel {
    /// Learns from runs of at least `epochs` epochs; those that ended earlier have failed. Only the first `tau` scores and the last one are looked at.
    ///
    /// # Errors
    /// One sentence: fewer than four runs, none with a finite end, runs with other numbers of hyper-parameters, tau out of range.
    pub fn fit(
        runs: &[Curve],
        (tau, epochs): (usize, usize),
        features: Features,
        regression: Regression,
    ) -> Result<Self, SearchError> {
        if tau == 0 || tau >= epochs {
            return Err(SearchError::new(format!(
                "tau is {tau}, expected a number from 1 to {}",
                epochs - 1
            )));
        }
        if runs.len() < 4 {
            return Err(SearchError::new(format!("{} runs to learn from, expected at least 4", runs.len())));
        }
        let known = runs.iter().flat_map(|r| r.scores.iter().take(tau).chain(r.scores.get(epochs - 1)));
        let floor = known.copied().filter(|v| v.is_finite()).fold(f64::INFINITY, f64::min);
        if !floor.is_finite() {
            return Err(SearchError::new("no run has a finite score"));
        }
        let rows: Vec<Vec<f64>> = runs.iter().map(|r| row(r, tau, features, floor)).collect();
        if rows[0].is_empty() || rows.iter().any(|r| r.len() != rows[0].len()) {
            return Err(SearchError::new("runs differ in the numbers of their features, or have none"));
        }
        let ends: Vec<f64> = runs.iter().map(|r| last(r, epochs, floor)).collect();
        let target = Scaler::new(&ends.iter().map(|e| vec![*e]).collect::<Vec<_>>());
        let target = (target.mean[0], if target.scale[0] > 0.0 { 1.0 / target.scale[0] } else { 1.0 });
        let y: Vec<f64> = ends.iter().map(|e| (e - target.0) / target.1).collect();
        let scaler = Scaler::new(&rows);
        let x: Vec<f64> = rows.iter().flat_map(|r| scaler.apply(r)).collect();
        let (fit, residuals) = match regression {
            Regression::KernelRidge => {
                let fit = KernelRidge::best(&x, rows[0].len(), &y)?;
                let residuals = fit.leave_one_out().to_vec();
                (Fit::Ridge(fit), residuals)
            }
            Regression::NuSvr { tries, seed } => svr(&x, rows[0].len(), &y, tries, seed)?,
        };
        let deviation = target.1 * (dot(&residuals, &residuals) / residuals.len() as f64).sqrt();
        Ok(Self { tau, features, floor, scaler, target, fit, deviation })
    }
    /// The final score of a run of which at least the first tau scores are known; later ones are not looked at.
    pub fn predict(&self, run: &Curve) -> f64 {
        let x = self.scaler.apply(&row(run, self.tau, self.features, self.floor));
        let y = match &self.fit {
            Fit::Ridge(fit) => fit.predict(&x),
            Fit::Svr(fit) => fit.predict(&x),
        };
        self.target.0 + self.target.1 * y
    }
    /// sigma of the prediction.
    pub fn deviation(&self) -> f64 {
        self.deviation
    }
    /// P(y_T > reference).
    pub fn probability_above(&self, run: &Curve, reference: f64) -> f64 {
        cumulative((self.predict(run) - reference) / self.deviation.max(f64::MIN_POSITIVE))
    }
}

/// The folds of cross-validation.
const FOLDS: usize = 3;

/// The best of some C, nu, gamma, fitted to all samples, and its residuals of cross-validation.
fn svr(x: &[f64], dim: usize, y: &[f64], tries: usize, seed: u64) -> Result<(Fit, Vec<f64>), SearchError> {
    let n = y.len();
    let mut best: Option<(f64, NuSvrOptions, Vec<f64>)> = None;
    for k in 0..tries.max(1) {
        let mut rng = generator(seed, Purpose::Hyper as u64, k as u64);
        let mut log = |from: f64, to: f64| (from.ln() + rng.random::<f64>() * (to / from).ln()).exp();
        let options =
            NuSvrOptions { cost: log(0.1, 100.0), gamma: log(0.003, 1.0) / dim as f64, nu: log(0.1, 0.9) };
        let mut residuals = vec![0.0; n];
        let mut failed = false;
        for fold in 0..FOLDS {
            let kept: Vec<usize> = (0..n).filter(|i| i % FOLDS != fold).collect();
            let xs: Vec<f64> = kept.iter().flat_map(|i| x[i * dim..][..dim].iter().copied()).collect();
            let ys: Vec<f64> = kept.iter().map(|i| y[*i]).collect();
            let Ok(fit) = NuSvr::fit(&xs, dim, &ys, options) else {
                failed = true;
                break;
            };
            for i in (fold..n).step_by(FOLDS) {
                residuals[i] = y[i] - fit.predict(&x[i * dim..][..dim]);
            }
        }
        let score = dot(&residuals, &residuals);
        if !failed && score.is_finite() && best.as_ref().is_none_or(|b| score < b.0) {
            best = Some((score, options, residuals));
        }
    }
    let Some((_, options, residuals)) = best else {
        return Err(SearchError::new("no support vector regression could be fitted"));
    };
    Ok((Fit::Svr(NuSvr::fit(x, dim, y, options)?), residuals))
}

/// When a run is ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StopRule {
    /// Delta in [0, 1]: how sure one must be; published 0.95 and 0.99.
    pub confidence: f64,
    /// Runs that may end up this far below the reference go on; at least 0.
    pub slack: f64,
    /// The reference is the n-th best finished score; at least 1.
    pub rank: usize,
}

impl Default for StopRule {
    fn default() -> Self {
        Self { confidence: 0.95, slack: 0.0, rank: 1 }
    }
}

/// What becomes of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decision {
    /// It goes on.
    Continue,
    /// It ends.
    Stop {
        /// Its predicted final score.
        predicted: f64,
        /// That of being above the reference.
        probability: f64,
    },
}

/// How runs are ended early.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EarlyStopOptions {
    /// Epochs of a whole run, T.
    pub epochs: usize,
    /// Nothing is predicted from fewer epochs; at least 1.
    pub first: usize,
    /// Runs that are learned from: the first so many that reach their end, or fail. Published: 100.
    pub burn_in: usize,
    /// When a run is ended.
    pub rule: StopRule,
    /// Of what predictions are made.
    pub features: Features,
    /// How.
    pub regression: Regression,
}

impl EarlyStopOptions {
    /// For runs of T epochs: from a tenth of them on, 100 runs to learn from, Delta 0.95.
    pub fn new(epochs: usize) -> Self {
        Self {
            epochs,
            first: (epochs / 10).max(2),
            burn_in: 100,
            rule: StopRule::default(),
            features: Features::default(),
            regression: Regression::default(),
        }
    }
}

/// Decides on runs by those that have finished. Decisions depend on the finished runs and their order only.
///
/// ```
/// use costate::search::early_stop::{Curve, Decision, EarlyStop, EarlyStopOptions};
///
/// let options = EarlyStopOptions { burn_in: 10, ..EarlyStopOptions::new(20) };
/// let mut early = EarlyStop::new(options)?;
/// let run = |end: f64, epochs: usize| Curve {
///     scores: (1..=epochs).map(|t| end * (1.0 - (-0.3 * t as f64).exp())).collect(),
///     hyper: vec![end.sin()],
///     size: vec![],
/// };
/// (0..10).for_each(|k| early.finish(run(1.0 + 0.1 * k as f64, 20)));
/// assert!(matches!(early.decide(&run(1.2, 5)), Decision::Stop { .. }));
/// assert_eq!(early.decide(&run(1.95, 5)), Decision::Continue);
/// # Ok::<(), costate::search::SearchError>(())
/// ```
#[derive(Debug)]
pub struct EarlyStop {
    options: EarlyStopOptions,
    finished: Vec<Curve>,
    /// Models by tau; none where none could be made.
    models: Mutex<BTreeMap<usize, Option<Arc<CurveModel>>>>,
}

impl EarlyStop {
    /// Without runs yet.
    ///
    /// # Errors
    /// One sentence on an option out of range.
    pub fn new(options: EarlyStopOptions) -> Result<Self, SearchError> {
        let EarlyStopOptions { epochs, first, burn_in, rule, .. } = options;
        let wrong = |what: String| Err(SearchError::new(what));
        if !(0.0..=1.0).contains(&rule.confidence) {
            return wrong(format!("the confidence is {}, expected a number from 0 to 1", rule.confidence));
        }
        if !(rule.slack >= 0.0 && rule.slack.is_finite()) || rule.rank == 0 {
            return wrong(format!(
                "slack is {} and rank {}, expected at least 0 and 1",
                rule.slack, rule.rank
            ));
        }
        if epochs < 2 || first == 0 || burn_in < 4 {
            return wrong(format!(
                "early stopping of {epochs} epochs from epoch {first} on with {burn_in} runs to learn from: expected at least 2, 1 and 4"
            ));
        }
        Ok(Self { options, finished: vec![], models: Mutex::new(BTreeMap::new()) })
    }
    /// A run that reached its end or failed. Runs that were stopped are not told.
    pub fn finish(&mut self, run: Curve) {
        if self.finished.len() < self.options.burn_in
            && let Ok(models) = self.models.get_mut()
        {
            models.clear();
        }
        self.finished.push(run);
    }
    /// Runs that were told.
    pub fn finished(&self) -> usize {
        self.finished.len()
    }
    /// The n-th best finished score minus the slack; nothing if fewer runs have one.
    pub fn reference(&self) -> Option<f64> {
        let ends = self.finished.iter().filter_map(|r| r.scores.get(self.options.epochs - 1));
        let mut ends: Vec<f64> = ends.copied().filter(|v| v.is_finite()).collect();
        ends.sort_by(|a, b| b.total_cmp(a));
        ends.get(self.options.rule.rank - 1).map(|e| e - self.options.rule.slack)
    }
    /// The model after tau epochs, if there is one.
    pub fn model(&self, tau: usize) -> Option<Arc<CurveModel>> {
        let o = &self.options;
        let learned = self.finished.get(..o.burn_in)?;
        let mut models = self.models.lock().ok()?;
        let make = || CurveModel::fit(learned, (tau, o.epochs), o.features, o.regression).ok().map(Arc::new);
        models.entry(tau).or_insert_with(make).clone()
    }
    /// What becomes of a run after the epochs it has.
    pub fn decide(&self, run: &Curve) -> Decision {
        let (tau, o) = (run.scores.len(), &self.options);
        if tau < o.first || tau >= o.epochs {
            return Decision::Continue;
        }
        let (Some(model), Some(reference)) = (self.model(tau), self.reference()) else {
            return Decision::Continue;
        };
        let probability = model.probability_above(run, reference);
        if probability < 1.0 - o.rule.confidence {
            Decision::Stop { predicted: model.predict(run), probability }
        } else {
            Decision::Continue
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Curves a (1 - exp(-b t)), known by two hyper-parameters.
    fn run(k: usize, epochs: usize) -> Curve {
        // Independent runs: with nearly equal pairs among them leave-one-out residuals would say too little.
        let mut rng = generator(7, Purpose::Hyper as u64, k as u64);
        let (u, v) = (2.0 * rng.random::<f64>() - 1.0, 2.0 * rng.random::<f64>() - 1.0);
        let (a, b) = (2.0 + u, 0.2 + 0.1 * v);
        let noise = |t: usize| 0.01 * ((k * 31 + t * 17) as f64).sin();
        let scores = (1..=epochs).map(|t| a * (1.0 - (-b * t as f64).exp()) + noise(t)).collect();
        Curve { scores, hyper: vec![u * u, v], size: vec![(k % 5) as f64] }
    }
    fn runs(n: usize) -> Vec<Curve> {
        (0..n).map(|k| run(k, 30)).collect()
    }
    fn error(model: &CurveModel, tau: usize) -> f64 {
        let squares = (200..260).map(|k| {
            let end = run(k, 30).scores[29];
            (model.predict(&run(k, tau)) - end).powi(2)
        });
        (squares.sum::<f64>() / 60.0).sqrt()
    }

    #[test]
    fn both_regressions_predict_better_than_the_last_value() {
        let last = ((200..260).map(|k| (run(k, 5).scores[4] - run(k, 30).scores[29]).powi(2)).sum::<f64>()
            / 60.0)
            .sqrt();
        for regression in [Regression::KernelRidge, Regression::NuSvr { tries: 6, seed: 1 }] {
            let model = CurveModel::fit(&runs(60), (5, 30), Features::default(), regression).unwrap();
            let found = error(&model, 5);
            assert!(found < 0.2 * last, "{regression:?}: {found} {last}");
            // The stated deviation is about that of new runs.
            assert!(model.deviation() > 0.3 * found && model.deviation() < 3.0 * found);
        }
    }

    #[test]
    fn sets_of_features_are_what_they_say() {
        let c = run(3, 6);
        let of = |series, hyper, size| row(&c, 4, Features { series, hyper, size }, 0.0);
        let y = &c.scores;
        let d: Vec<f64> = (0..3).map(|t| y[t + 1] - y[t]).collect();
        let want = [y[0], y[1], y[2], y[3], d[1] - d[0], d[2] - d[1], d[0], d[1], d[2]];
        assert_eq!(of(true, false, false), want);
        assert_eq!(of(false, true, false), c.hyper);
        assert_eq!(of(false, false, true), c.size);
        assert_eq!(of(true, true, true).len(), 9 + 2 + 1);
        assert!(
            CurveModel::fit(
                &runs(9),
                (4, 30),
                Features { series: false, hyper: false, size: false },
                Regression::KernelRidge
            )
            .is_err()
        );
    }

    #[test]
    fn later_scores_change_no_prediction() {
        let model =
            CurveModel::fit(&runs(30), (6, 30), Features::default(), Regression::KernelRidge).unwrap();
        let (short, mut long) = (run(77, 6), run(77, 30));
        long.scores[6..].fill(f64::NAN);
        assert_eq!(model.predict(&short).to_bits(), model.predict(&long).to_bits());
        // Nor do the scores between tau and the last one of the runs learned from.
        let mut other = runs(30);
        other.iter_mut().for_each(|r| r.scores[6..29].fill(1e6));
        let same = CurveModel::fit(&other, (6, 30), Features::default(), Regression::KernelRidge).unwrap();
        assert_eq!(same.predict(&short).to_bits(), model.predict(&short).to_bits());
    }

    fn early(rule: StopRule) -> EarlyStop {
        let options = EarlyStopOptions { burn_in: 30, rule, ..EarlyStopOptions::new(30) };
        let mut early = EarlyStop::new(options).unwrap();
        runs(40).into_iter().for_each(|r| early.finish(r));
        early
    }
    fn stopped(early: &EarlyStop) -> usize {
        (50..90).filter(|k| early.decide(&run(*k, 8)) != Decision::Continue).count()
    }

    #[test]
    fn delta_one_never_stops_and_zero_always_does() {
        let with = |confidence| stopped(&early(StopRule { confidence, ..StopRule::default() }));
        assert_eq!(with(1.0), 0);
        assert!(
            with(0.99) <= with(0.95) && with(0.95) <= with(0.5),
            "{} {} {}",
            with(0.99),
            with(0.95),
            with(0.5)
        );
        assert!(with(0.95) > 20);
        // Slack and rank stop fewer.
        let base = stopped(&early(StopRule::default()));
        assert!(stopped(&early(StopRule { slack: 1.0, ..StopRule::default() })) < base);
        assert!(stopped(&early(StopRule { rank: 20, ..StopRule::default() })) < base);
    }

    #[test]
    fn nothing_is_decided_before_there_is_enough() {
        let options = EarlyStopOptions { burn_in: 10, ..EarlyStopOptions::new(30) };
        let mut early = EarlyStop::new(options).unwrap();
        (0..9).for_each(|k| early.finish(run(k, 30)));
        let bad = Curve { scores: vec![-5.0; 8], ..run(1, 8) };
        assert_eq!(early.decide(&bad), Decision::Continue);
        early.finish(run(9, 30));
        assert_ne!(early.decide(&bad), Decision::Continue);
        assert_eq!(early.decide(&Curve { scores: vec![-5.0; 2], ..run(1, 2) }), Decision::Continue);
        assert_eq!(early.decide(&run(3, 30)), Decision::Continue);
    }

    #[test]
    fn failed_runs_are_data() {
        let mut all = runs(30);
        for k in [3, 11, 20] {
            all[k].scores.truncate(4);
            all[k].scores.push(f64::NAN);
        }
        let model = CurveModel::fit(&all, (8, 30), Features::default(), Regression::KernelRidge).unwrap();
        assert!(model.predict(&all[3]).is_finite() && model.deviation().is_finite());
        let healthy = run(4, 8);
        assert!(model.predict(&all[3]) < model.predict(&healthy));
        all.iter_mut().for_each(|r| r.scores.fill(f64::NAN));
        assert!(CurveModel::fit(&all, (8, 30), Features::default(), Regression::KernelRidge).is_err());
    }

    #[test]
    fn options_out_of_range_are_one_sentence() {
        let good = EarlyStopOptions::new(30);
        let rule =
            |confidence, slack, rank| EarlyStopOptions { rule: StopRule { confidence, slack, rank }, ..good };
        for bad in [
            rule(1.5, 0.0, 1),
            rule(f64::NAN, 0.0, 1),
            rule(0.9, -1.0, 1),
            rule(0.9, 0.0, 0),
            EarlyStopOptions { burn_in: 3, ..good },
            EarlyStopOptions { epochs: 1, ..good },
            EarlyStopOptions { first: 0, ..good },
        ] {
            let text = EarlyStop::new(bad).unwrap_err().to_string();
            assert!(!text.contains('\n') && text.contains("expected"), "{text}");
        }
        assert!(CurveModel::fit(&runs(9), (30, 30), Features::default(), Regression::KernelRidge).is_err());
        assert!(CurveModel::fit(&runs(3), (3, 30), Features::default(), Regression::KernelRidge).is_err());
    }
}
