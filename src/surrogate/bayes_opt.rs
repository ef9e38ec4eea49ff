//! Bayesian optimization: minimizes a function that is expensive to evaluate, on a box, subject to c(x) <= 0.
//!
//! ```text
//! first:  a Latin hypercube
//! then:   models of f and of every c_i;  x = argmax  ln E max(best - f(x), 0) + sum_i ln P(c_i(x) <= 0) + ln P(x has a value)
//! ```
//!
//! While no feasible point is known the improvement is left out. Evaluations that are asked for and not yet told are believed to be at the model's mean
//! (Ginsbourger, Le Riche, Carraro, "Kriging is well-suited to parallelize optimization", 2010), so that any number may run side by side. Failures and values
//! that are not finite are data: a model of where they occur keeps away from there.
//!
//! The acquisition function is maximized on random candidates, some around the best point, then by gradients from the best of these.
//! A proposal depends on the seed and on what was asked and told before, in that order: whoever tells the same story again gets the same proposals.

use rand::RngExt;
use rand::rngs::StdRng;

use super::SurrogateError;
use super::acquisition::{log_expected_improvement, log_feasibility};
use super::climb::climb;
use super::model::{GpSurrogate, Surrogate};
use super::space::{Scale, Space};
use crate::random::{Purpose, generator, normal};

/// What may be chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Constraints c(x) <= 0.
    pub constraints: usize,
    /// Evaluations before the first model; default 2 (n + 1), at most 20.
    pub initial: Option<usize>,
    /// Candidates of the acquisition function.
    pub candidates: usize,
    /// How many of the best candidates are improved by gradients.
    pub climbs: usize,
    /// Of everything random.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { constraints: 0, initial: None, candidates: 768, climbs: 3, seed: 0 }
    }
}

/// What an evaluation said.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// f and c. Where one of them is not finite it counts as [`Failed`](Self::Failed).
    Value {
        /// f.
        objective: f64,
        /// c, as many as announced.
        constraints: Vec<f64>,
    },
    /// No value: an error, a time-out, a panic.
    Failed,
}

impl Outcome {
    /// f without constraints.
    pub fn of(objective: f64) -> Self {
        Self::Value { objective, constraints: vec![] }
    }
    /// f and c, if all are finite.
    pub fn values(&self) -> Option<(f64, &[f64])> {
        match self {
            Self::Value { objective, constraints }
                if objective.is_finite() && constraints.iter().all(|c| c.is_finite()) =>
            {
                Some((*objective, constraints))
            }
            _ => None,
        }
    }
}

/// One evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// The point.
    pub x: Vec<f64>,
    /// Its coordinates in [0, 1].
    unit: Vec<f64>,
    /// What was told; `None` while it is under way.
    pub outcome: Option<Outcome>,
}

/// A point to evaluate, and the number to tell its outcome by.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// Its number, counted from 0.
    pub id: usize,
    /// The point.
    pub x: Vec<f64>,
}

/// The state of a search: everything that was asked and told.
pub struct BayesOpt {
    space: Space,
    options: Options,
    model: Box<dyn Surrogate>,
    trials: Vec<Trial>,
    /// Numbers of the trials in the order they were told.
    told: Vec<usize>,
    design: Vec<Vec<f64>>,
}

/// One model with its target: value = shift + scale m.
struct Modelled {
    model: Box<dyn Surrogate>,
    /// In the model's units: what must be improved on, or the limit.
    limit: f64,
}

impl Modelled {
    /// Fits values at points; `limit` in the values' units.
    fn new(kind: &dyn Surrogate, x: &[f64], values: &[f64], limit: f64) -> Result<Self, SurrogateError> {
        let n = values.len() as f64;
        // Large numbers are divided before they are squared.
        let size = values.iter().fold(0.0_f64, |s, v| s.max(v.abs())).max(f64::MIN_POSITIVE);
        let shift = values.iter().map(|v| v / size).sum::<f64>() / n * size;
        let spread = (values.iter().map(|v| ((v - shift) / size).powi(2)).sum::<f64>() / n).sqrt() * size;
        let scale = if spread > 1e-12 * size { spread } else { size };
        let y: Vec<f64> = values.iter().map(|v| (v - shift) / scale).collect();
        let mut model = kind.fresh();
        model.fit(x, &y)?;
        Ok(Self { model, limit: (limit - shift) / scale })
    }
}

/// The acquisition function.
struct Acquisition {
    /// f, once a feasible point is known.
    objective: Option<Modelled>,
    /// c_i <= 0, and whether there is a value.
    limits: Vec<Modelled>,
}

impl Acquisition {
    /// Its values at some points.
    fn values(&self, points: &[f64], count: usize) -> Vec<f64> {
        let mut sum = vec![0.0; count];
        let (mut mean, mut variance) = (vec![0.0; count], vec![0.0; count]);
        let first = self.objective.iter().map(|m| (m, true));
        for (m, improve) in first.chain(self.limits.iter().map(|m| (m, false))) {
            m.model.predict(points, &mut mean, &mut variance);
            for ((s, mean), variance) in sum.iter_mut().zip(&mean).zip(&variance) {
                let worth = if improve { log_expected_improvement } else { log_feasibility };
                *s += worth(*mean, *variance, m.limit).log;
            }
        }
        sum
    }
    /// Value and gradient at one point.
    fn gradient(&self, x: &[f64], g: &mut [f64], room: &mut [Vec<f64>; 2]) -> f64 {
        g.fill(0.0);
        let [d_mean, d_variance] = room;
        let mut sum = 0.0;
        let first = self.objective.iter().map(|m| (m, true));
        for (m, improve) in first.chain(self.limits.iter().map(|m| (m, false))) {
            let (mean, variance) = m.model.predict_gradient(x, d_mean, d_variance);
            let worth = if improve { log_expected_improvement } else { log_feasibility };
            let w = worth(mean, variance, m.limit);
            sum += w.log;
            for ((g, m), v) in g.iter_mut().zip(&*d_mean).zip(&*d_variance) {
                *g += w.by_mean * m + w.by_variance * v;
            }
        }
        sum
    }
    /// Believes in the means at x. Where they are feasible, only what is better than that of f is an improvement.
    fn believe(&mut self, x: &[f64]) {
        let (mut mean, mut variance) = ([0.0], [0.0]);
        let mut feasible = true;
        for m in &mut self.limits {
            m.model.predict(x, &mut mean, &mut variance);
            feasible &= mean[0] <= m.limit;
            m.model.believe(x);
        }
        if let Some(m) = &mut self.objective {
            m.model.predict(x, &mut mean, &mut variance);
            if feasible {
                m.limit = m.limit.min(mean[0]);
            }
            m.model.believe(x);
        }
    }
}

/// n points of a Latin hypercube: each of n equal parts of each variable holds one.
fn latin_hypercube(n: usize, d: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut rng = generator(seed, Purpose::Design as u64, 0);
    let mut points = vec![vec![0.0; d]; n];
    for j in 0..d {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, rng.random_range(0..=i));
        }
        for (point, part) in points.iter_mut().zip(order) {
            point[j] = (part as f64 + rng.random::<f64>()) / n as f64;
        }
    }
    points
}

impl BayesOpt {
    /// With the default model, a Gaussian process.
    ///
    /// # Errors
    /// One sentence on an option out of range.
    pub fn new(space: Space, options: Options) -> Result<Self, SurrogateError> {
        let model = Box::new(GpSurrogate::matern(space.dim()));
        Self::with_model(space, options, model)
    }
    /// With a model of your own, which is asked for a [`fresh`](Surrogate::fresh) one for each function.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_model(
        space: Space,
        options: Options,
        model: Box<dyn Surrogate>,
    ) -> Result<Self, SurrogateError> {
        if options.candidates == 0 || options.initial == Some(0) {
            return Err(SurrogateError::new(
                "a search needs at least one candidate and one initial evaluation",
            ));
        }
        let initial = options.initial.unwrap_or((2 * (space.dim() + 1)).min(20));
        let design = latin_hypercube(initial, space.dim(), options.seed);
        Ok(Self { space, options, model, trials: vec![], told: vec![], design })
    }
    /// The variables.
    pub fn space(&self) -> &Space {
        &self.space
    }
    /// Everything that was asked, by number.
    pub fn trials(&self) -> &[Trial] {
        &self.trials
    }
    /// Numbers of the trials under way.
    pub fn pending(&self) -> Vec<usize> {
        (0..self.trials.len()).filter(|i| self.trials[*i].outcome.is_none()).collect()
    }
    /// The number of the best trial: feasible with the smallest f; without one that of the least violation max_i c_i.
    pub fn best(&self) -> Option<usize> {
        let key = |i: &usize| {
            let (f, c) = self.trials[*i].outcome.as_ref()?.values()?;
            let violation = c.iter().fold(0.0_f64, |v, c| v.max(*c));
            Some((violation, if violation > 0.0 { 0.0 } else { f }))
        };
        let keyed = self.told.iter().filter_map(|i| Some((key(i)?, *i)));
        let least = keyed.min_by(|a, b| a.0.0.total_cmp(&b.0.0).then(a.0.1.total_cmp(&b.0.1)));
        least.map(|(_, i)| i)
    }
    /// Whether a trial is known to satisfy all constraints.
    pub fn is_feasible(&self, id: usize) -> bool {
        let values = self.trials.get(id).and_then(|t| t.outcome.as_ref()).and_then(Outcome::values);
        values.is_some_and(|(_, c)| c.iter().all(|c| *c <= 0.0))
    }

    /// The next point to evaluate; any number may be asked for before the first is told. `None`: every point of a space of integers was asked for.
    ///
    /// # Errors
    /// One sentence, if no model can be made of the data.
    pub fn ask(&mut self) -> Result<Option<Proposal>, SurrogateError> {
        let id = self.trials.len();
        let Some(unit) = self.choose(id)? else { return Ok(None) };
        let x = self.space.values(&unit);
        self.push(&x);
        Ok(Some(Proposal { id, x }))
    }
    /// A point that is under way without having been asked for: of a log, or of the user's own choice. Its number.
    ///
    /// # Errors
    /// One sentence, if it is outside the space.
    pub fn adopt(&mut self, x: &[f64]) -> Result<usize, SurrogateError> {
        self.space.check(x)?;
        self.push(x);
        Ok(self.trials.len() - 1)
    }
    /// Coordinates are made of the values in every case: a point that was asked for and one read from a log are the same to the last bit.
    fn push(&mut self, x: &[f64]) {
        let unit = self.space.units(x);
        self.trials.push(Trial { x: x.to_vec(), unit, outcome: None });
    }
    /// What trial `id` gave.
    ///
    /// # Errors
    /// One sentence: a number that was never asked, an outcome told twice, another number of constraints.
    pub fn tell(&mut self, id: usize, outcome: Outcome) -> Result<(), SurrogateError> {
        let asked = self.trials.len();
        let Some(trial) = self.trials.get_mut(id) else {
            return Err(SurrogateError::new(format!("trial {id} was not asked for: there are {asked}")));
        };
        if trial.outcome.is_some() {
            return Err(SurrogateError::new(format!("the outcome of trial {id} is told twice")));
        }
        if let Outcome::Value { constraints, .. } = &outcome
            && constraints.len() != self.options.constraints
        {
            let (found, expected) = (constraints.len(), self.options.constraints);
            let what = format!("trial {id} has {found} constraint values, expected {expected}");
            return Err(SurrogateError::new(what));
        }
        trial.outcome = Some(outcome);
        self.told.push(id);
        Ok(())
    }

    /// Coordinates of the next point.
    fn choose(&self, id: usize) -> Result<Option<Vec<f64>>, SurrogateError> {
        let mut rng = generator(self.options.seed, Purpose::Candidates as u64, id as u64);
        if let Some(point) = self.design.get(id)
            && self.is_new(point)
        {
            return Ok(Some(point.clone()));
        }
        let usable = self.told.iter().filter(|i| self.values(**i).is_some()).count();
        let candidates = self.candidates(&mut rng);
        if usable < 2 || candidates.is_empty() {
            // Too little to learn from; or the points that are left are few.
            return Ok(candidates.into_iter().next().or_else(|| self.remaining()));
        }
        let acquisition = self.acquisition()?;
        Ok(Some(self.maximize(&acquisition, candidates)))
    }
    fn values(&self, id: usize) -> Option<(f64, &[f64])> {
        self.trials[id].outcome.as_ref().and_then(Outcome::values)
    }
    /// Whether no trial is at this point.
    fn is_new(&self, unit: &[f64]) -> bool {
        let mut unit = unit.to_vec();
        self.space.snap(&mut unit);
        let same = |t: &Trial| t.unit.iter().zip(&unit).all(|(a, b)| (a - b).abs() < 1e-9);
        !self.trials.iter().any(same)
    }
    /// The first point of a space of integers that was not asked for, if there are at most 10 000.
    fn remaining(&self) -> Option<Vec<f64>> {
        let variables = self.space.variables();
        let mut total = 1usize;
        for v in variables {
            if v.scale != Scale::Integer {
                return None;
            }
            total = total.checked_mul((v.upper - v.lower) as usize + 1).filter(|t| *t <= 10_000)?;
        }
        (0..total).find_map(|mut k| {
            let mut x = vec![0.0; variables.len()];
            for (x, v) in x.iter_mut().zip(variables) {
                let count = (v.upper - v.lower) as usize + 1;
                *x = v.lower + (k % count) as f64;
                k /= count;
            }
            let unit = self.space.units(&x);
            self.is_new(&unit).then_some(unit)
        })
    }
    /// Points in the whole box and around the best one, none of them tried before; integers are whole.
    fn candidates(&self, rng: &mut StdRng) -> Vec<Vec<f64>> {
        let d = self.space.dim();
        let center = self.best().map(|i| &self.trials[i].unit);
        let near = (20.0 / d as f64).min(1.0);
        let mut all = Vec::with_capacity(self.options.candidates);
        for k in 0..self.options.candidates {
            let mut u: Vec<f64> = (0..d).map(|_| rng.random()).collect();
            if let Some(center) = center.filter(|_| k % 3 == 2) {
                let width = [0.2, 0.05, 0.01][k / 3 % 3];
                let always = rng.random_range(0..d);
                for (j, (u, c)) in u.iter_mut().zip(center).enumerate() {
                    let (moves, step) = (*u < near || j == always, width * normal(rng));
                    *u = if moves { (c + step).clamp(0.0, 1.0) } else { *c };
                }
            }
            self.space.snap(&mut u);
            if self.is_new(&u) {
                all.push(u);
            }
        }
        all
    }
    /// Models of all functions, with those under way believed.
    fn acquisition(&self) -> Result<Acquisition, SurrogateError> {
        let usable: Vec<usize> = self.told.iter().copied().filter(|i| self.values(*i).is_some()).collect();
        let points = |ids: &[usize]| -> Vec<f64> {
            ids.iter().flat_map(|i| self.trials[*i].unit.iter().copied()).collect()
        };
        let x = points(&usable);
        let known: Vec<(f64, &[f64])> = usable.iter().filter_map(|i| self.values(*i)).collect();
        let mut limits = vec![];
        for k in 0..self.options.constraints {
            let c: Vec<f64> = known.iter().map(|v| v.1[k]).collect();
            limits.push(Modelled::new(&*self.model, &x, &c, 0.0)?);
        }
        if usable.len() < self.told.len() {
            // Failures are 1, values -1.
            let labels: Vec<f64> =
                self.told.iter().map(|i| if self.values(*i).is_some() { -1.0 } else { 1.0 }).collect();
            limits.push(Modelled::new(&*self.model, &points(&self.told), &labels, 0.0)?);
        }
        let best = self.best().filter(|i| self.is_feasible(*i)).and_then(|i| self.values(i));
        let objective = match best {
            Some((best, _)) => {
                let f: Vec<f64> = known.iter().map(|v| v.0).collect();
                Some(Modelled::new(&*self.model, &x, &f, best)?)
            }
            None => None,
        };
        let mut acquisition = Acquisition { objective, limits };
        self.pending().into_iter().for_each(|i| acquisition.believe(&self.trials[i].unit));
        Ok(acquisition)
    }
    /// The best of the candidates and of what gradients make of some of them.
    fn maximize(&self, acquisition: &Acquisition, candidates: Vec<Vec<f64>>) -> Vec<f64> {
        let d = self.space.dim();
        let values = acquisition.values(&candidates.concat(), candidates.len());
        let mut order: Vec<usize> = (0..candidates.len()).filter(|i| !values[*i].is_nan()).collect();
        order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
        let Some(first) = order.first() else { return candidates[0].clone() };
        let mut best = (values[*first], candidates[*first].clone());
        let mut room = [vec![0.0; d], vec![0.0; d]];
        // Integers stay where they are.
        let integer = |j: usize| self.space.variables()[j].scale == Scale::Integer;
        for start in order.iter().take(self.options.climbs).map(|i| &candidates[*i]) {
            let lower: Vec<f64> = (0..d).map(|j| if integer(j) { start[j] } else { 0.0 }).collect();
            let upper: Vec<f64> = (0..d).map(|j| if integer(j) { start[j] } else { 1.0 }).collect();
            let objective = |u: &[f64], g: &mut [f64]| acquisition.gradient(u, g, &mut room);
            let (u, value) = climb(objective, start, (&lower, &upper), 40);
            if value > best.0 && self.is_new(&u) {
                best = (value, u);
            }
        }
        best.1
    }
}

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct BoReport {
    /// The best point; empty if no evaluation gave a value.
    pub x: Vec<f64>,
    /// f there; NaN if there is none.
    pub objective: f64,
    /// Whether it satisfies the constraints.
    pub feasible: bool,
    /// All evaluations in order.
    pub trials: Vec<Trial>,
}

/// Minimizes f on the box by `evaluations` evaluations, one after another.
///
/// # Errors
/// As [`BayesOpt::new`], [`BayesOpt::ask`] and [`BayesOpt::tell`].
pub fn minimize(
    mut f: impl FnMut(&[f64]) -> Outcome,
    space: Space,
    evaluations: usize,
    options: Options,
) -> Result<BoReport, SurrogateError> {
    let mut search = BayesOpt::new(space, options)?;
    for _ in 0..evaluations {
        let Some(Proposal { id, x }) = search.ask()? else { break };
        search.tell(id, f(&x))?;
    }
    Ok(search.report())
}

impl BayesOpt {
    /// The best so far.
    pub fn report(&self) -> BoReport {
        let best = self.best();
        let found = best.and_then(|i| self.values(i)).map(|v| v.0);
        BoReport {
            x: best.map(|i| self.trials[i].x.clone()).unwrap_or_default(),
            objective: found.unwrap_or(f64::NAN),
            feasible: best.is_some_and(|i| self.is_feasible(i)),
            trials: self.trials.clone(),
        }
    }
}
