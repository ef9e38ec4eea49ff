//! Series of states learned by a differential equation, part of which may be known.
//!
//! With y the states in their own units, u = (y - m) / s the standardized ones, t the time and L its scale:
//!
//! ```text
//! du/dtau = L f(t, y) / s + N(u, [tau], p), f = A y + b or formulas,   tau = t / L,   u at the first row of a section = the data
//! loss    = mean over the observed entries of l(u(tau_i) - data_i)
//! ```
//!
//! m, s are means and deviations over the rows trained on; L = sum of the intervals / sum of |change of u| / sqrt(number of states), so that a network of values around one
//! moves the states as the data move. Components beyond the states (`augment`) start at zero. A gap in the data is no term of the loss. Sections with the same times since their
//! start share their steps; of an equation that knows the time, those with the same times.

mod config;
mod data;
mod forecast;

use std::path::Path;
use std::time::Instant;

use rand::rngs::StdRng;

pub use config::{Aside, Known, SeriesConfig};
pub use data::{Columns, Section, Trajectory, read, sections};
pub use forecast::Forecaster;
pub(super) use forecast::NOTE;

use super::any_method::{AnyIntegrator, AnyMethod, AnyPass};
use super::config::Config;
use super::error::TrainError;
use super::pass::{LossBars, PassStats, Problem};
use super::schedule::Progress;
use super::supervised::{Objective, Rows, StandardLoss, of_numbers};
use super::task::{Curve, Evaluation, Plot, Split, Task, jittered, of_size};
use crate::data::Table;
use crate::diff::Map;
use crate::linalg::Scalar;
use crate::nn::{Params, WithoutTaylor};

/// Any right-hand side.
type Field<T> = WithoutTaylor<Box<dyn Map<T>>>;

/// Scales of states and of time.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
struct Scales {
    states: Vec<String>,
    mean: Vec<f64>,
    scale: Vec<f64>,
    time: f64,
}

/// A section in scaled numbers.
#[derive(Debug, Clone)]
struct Part<T> {
    /// Number of its times in [`Trajectories::grids`].
    grid: usize,
    start: Vec<T>,
    /// (time, state, value) of what was observed.
    seen: Vec<(usize, usize, T)>,
}

/// See the module.
pub struct Trajectories<T: Scalar> {
    config: Config,
    method: AnyMethod,
    field: Field<T>,
    /// Of the states, with the further components.
    dim: usize,
    scales: Scales,
    /// Start, then the times after it.
    grids: Vec<Vec<T>>,
    parts: [Vec<Part<T>>; 3],
    loss: StandardLoss,
    passes: Vec<(usize, AnyPass<T>)>,
    integrators: Vec<(usize, AnyIntegrator<T>)>,
    /// Whether times are counted from the start of a section.
    autonomous: bool,
    first: Trajectory,
    note: String,
    /// For predictions.
    about: String,
    bar: Vec<T>,
    sum: Vec<T>,
}

/// Evaluations, accepted and rejected steps.
type Cost = (u64, u64, u64);

impl<T: Scalar> std::fmt::Debug for Trajectories<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trajectories").field("scales", &self.scales).finish_non_exhaustive()
    }
}

impl<T: Scalar> Trajectories<T> {
    /// The task of a run; relative paths start at `base`.
    ///
    /// # Errors
    /// The file cannot be read or used, or sizes do not fit.
    pub fn new(run: &Config, of: &SeriesConfig, base: &Path) -> Result<Self, TrainError> {
        let (all, names) = {
            let table = Table::open(&of.path(base), 0)?;
            read(&table, &of.columns())?
        };
        let splits = of.split(&all, names.len())?;
        let scales = scales(&all, &splits[0], names, of.standardize);
        let field = WithoutTaylor::new(of.field::<T>(&scales)?);
        let (d, dim) = (scales.states.len(), field.inputs());
        let mut grids: Vec<Vec<T>> = vec![];
        let parts = splits.map(|sections| {
            let part = |s: &Section| part(&all[s.series], s, (of.autonomous, d), &scales, &mut grids);
            sections.iter().map(part).collect::<Vec<_>>()
        });
        if parts[0].iter().all(|p| p.seen.is_empty()) {
            return Err(TrainError::config(
                "task: behind the starts of the series nothing is left to train on",
            ));
        }
        let note = serde_json::to_string(&(&scales, of.model()))
            .map_err(|e| TrainError::config(format!("the scales of the series cannot be recorded: {e}")))?;
        let about = forecast::note(run, of, &scales)?;
        Ok(Self {
            about,
            config: run.clone(),
            method: run.solver.any_method()?,
            field,
            dim,
            scales,
            grids,
            parts,
            loss: of.loss()?,
            passes: vec![],
            integrators: vec![],
            autonomous: of.autonomous,
            first: all.into_iter().next().unwrap_or(Trajectory { times: vec![], values: vec![] }),
            note,
            bar: vec![],
            sum: vec![],
        })
    }

    /// Sections by their times, in the order of the first of each.
    fn groups(&self, split: Split, which: &[usize]) -> Vec<(usize, Vec<usize>)> {
        let mut groups: Vec<(usize, Vec<usize>)> = vec![];
        for &i in which {
            let grid = self.parts[split.index()][i].grid;
            match groups.iter_mut().find(|g| g.0 == grid) {
                Some(g) => g.1.push(i),
                None => groups.push((grid, vec![i])),
            }
        }
        groups
    }
    /// Starts of sections, one column each.
    fn starts(&self, split: Split, which: &[usize]) -> Vec<T> {
        let mut y0 = Vec::with_capacity(self.dim * which.len());
        for i in which {
            let start = &self.parts[split.index()][*i].start;
            y0.extend_from_slice(start);
            y0.extend(std::iter::repeat_n(T::ZERO, self.dim - start.len()));
        }
        y0
    }
    /// Solutions of a group at its times.
    fn solve(&mut self, p: &[T], grid: &[T], y0: &[T]) -> Result<(Vec<T>, Cost), TrainError> {
        let (method, options, dim) = (self.method, self.config.solver.options(), self.dim);
        let batch = y0.len() / dim;
        let integrator =
            of_size(&mut self.integrators, batch, || AnyIntegrator::new(method, (dim, batch), &options))?;
        let problem = Problem { span: (grid[0], grid[grid.len() - 1]), y0, p, times: &grid[1..] };
        let (states, report) = integrator.run(&mut self.field, &problem)?;
        Ok((states, (report.counts.evals, report.counts.accepted, report.counts.rejected)))
    }
}

/// Loss of what was observed of these sections, times `share`; `saved` holds dim x sections for every time. ADDS to the bar.
fn compare<T: Scalar>(
    loss: &mut StandardLoss,
    parts: &[&Part<T>],
    dim: usize,
    saved: &[T],
    share: f64,
    bar: Option<&mut [T]>,
) -> f64 {
    let at = |c: usize, (k, i): (usize, usize)| (k * parts.len() + c) * dim + i;
    let (mut z, mut rows) = (vec![], Rows { x: vec![], y: vec![], weight: vec![] });
    for (c, part) in parts.iter().enumerate() {
        for (k, i, v) in &part.seen {
            z.push(saved[at(c, (*k, *i))]);
            rows.y.push(*v);
        }
    }
    rows.weight.resize(z.len(), 1.0);
    let Some(bar) = bar else { return loss.loss(&z, &rows, share, None) };
    let mut z_bar = vec![T::ZERO; z.len()];
    let value = loss.loss(&z, &rows, share, Some(&mut z_bar));
    let mut next = z_bar.iter();
    for (c, part) in parts.iter().enumerate() {
        for ((k, i, _), b) in part.seen.iter().zip(&mut next) {
            bar[at(c, (*k, *i))] += *b;
        }
    }
    value
}

/// A section in scaled numbers; its times join the list if they are not there.
fn part<T: Scalar>(
    of: &Trajectory,
    section: &Section,
    (autonomous, d): (bool, usize),
    scales: &Scales,
    grids: &mut Vec<Vec<T>>,
) -> Part<T> {
    let from = if autonomous { of.times[section.first] } else { 0.0 };
    let grid: Vec<T> =
        of.times[section.first..section.end].iter().map(|t| T::of((t - from) / scales.time)).collect();
    let place = grids.iter().position(|g| *g == grid).unwrap_or(grids.len());
    if place == grids.len() {
        grids.push(grid);
    }
    let scaled = |k: usize, i: usize| (of.row(k, d)[i] - scales.mean[i]) / scales.scale[i];
    let mut seen = vec![];
    for k in section.first + 1..section.end {
        for i in 0..d {
            let v = scaled(k, i);
            if !v.is_nan() {
                seen.push((k - section.first - 1, i, T::of(v)));
            }
        }
    }
    Part { grid: place, start: (0..d).map(|i| T::of(scaled(section.first, i))).collect(), seen }
}

/// Means and deviations over the rows of these sections, and the time's scale.
fn scales(all: &[Trajectory], sections: &[Section], states: Vec<String>, standardize: bool) -> Scales {
    let d = states.len();
    let (mut mean, mut scale) = (vec![0.0; d], vec![1.0; d]);
    let rows = || sections.iter().flat_map(|s| (s.first..s.end).map(|k| all[s.series].row(k, d)));
    for i in (0..d).filter(|_| standardize) {
        let values: Vec<f64> = rows().map(|r| r[i]).filter(|v| !v.is_nan()).collect();
        let n = values.len().max(1) as f64;
        mean[i] = values.iter().sum::<f64>() / n;
        let s = (values.iter().map(|v| (v - mean[i]).powi(2)).sum::<f64>() / n).sqrt();
        scale[i] = if s > 1e-13 * mean[i].abs() { s } else { 1.0 };
    }
    let (mut length, mut change) = (0.0, 0.0);
    for s in sections {
        let of = &all[s.series];
        for (i, scale) in scale.iter().enumerate() {
            let known: Vec<usize> = (s.first..s.end).filter(|k| !of.row(*k, d)[i].is_nan()).collect();
            for k in known.windows(2) {
                length += of.times[k[1]] - of.times[k[0]];
                change += (of.row(k[1], d)[i] - of.row(k[0], d)[i]).abs() / scale;
            }
        }
    }
    let time = if standardize && change > 0.0 && length > 0.0 { length / change } else { 1.0 };
    Scales { states, mean, scale, time }
}

impl<T: Scalar> Task<T> for Trajectories<T> {
    fn params(&self, rng: &mut StdRng) -> Params<T> {
        let mut params = Params::new();
        params.add_spec("field", self.field.spec(), rng);
        params.note("series", self.note.clone());
        params.note(forecast::NOTE, self.about.clone());
        params
    }
    fn samples(&self) -> usize {
        self.parts[0].len()
    }
    fn split_len(&self, split: Split) -> usize {
        self.parts[split.index()].len()
    }
    fn gradient(
        &mut self,
        p: &[T],
        samples: &[usize],
        now: &Progress,
        rng: &mut StdRng,
        gradient: &mut [T],
    ) -> Result<(PassStats, Option<f64>), TrainError> {
        let seen: usize = samples.iter().map(|i| self.parts[0][*i].seen.len()).sum();
        let groups = self.groups(Split::Train, samples);
        let many = groups.len() as f64;
        // Penalties are means over the groups: the data's share is multiplied first.
        let share = many / seen.max(1) as f64;
        let mut all = PassStats::default();
        self.sum.clear();
        self.sum.resize(gradient.len(), T::ZERO);
        for (grid, which) in groups {
            let y0 = self.starts(Split::Train, &which);
            let (solver, penalties) = (&self.config.solver, &self.config.penalties);
            let (method, options, memory) = (self.method, solver.options(), solver.memory());
            let (dim, batch) = (self.dim, which.len());
            let pass = of_size(&mut self.passes, batch, || {
                AnyPass::new(method, (dim, batch), &options, memory, penalties, solver.record_stiffness)
            })?;
            let (start, times) = (self.grids[grid][0], &self.grids[grid][1..]);
            let since: Vec<T> = times.iter().map(|t| *t - start).collect();
            let times: Vec<T> = match solver.steer > 0.0 {
                true => jittered(&since, solver.steer, rng).into_iter().map(|t| start + t).collect(),
                false => times.to_vec(),
            };
            let problem = Problem { span: (start, times[times.len() - 1]), y0: &y0, p, times: &times };
            let parts: Vec<&Part<T>> = which.iter().map(|i| &self.parts[0][*i]).collect();
            let objective = &mut self.loss;
            let mut loss = |_: &[T], saved: &[T], bars: LossBars<'_, T>| {
                compare(objective, &parts, dim, saved, share, Some(bars.saved))
            };
            self.bar.resize(y0.len(), T::ZERO);
            let (field, bar) = (&mut self.field, &mut self.bar);
            let one = pass.run(field, &problem, now, rng, &mut loss, bar, &mut self.sum)?;
            join(&mut all, &one, many);
        }
        let scale = T::of(1.0 / many);
        gradient.iter_mut().zip(&self.sum).for_each(|(g, s)| *g += scale * *s);
        Ok((all, None))
    }
    fn evaluate(&mut self, p: &[T], split: Split) -> Result<Evaluation, TrainError> {
        let mut e = Evaluation::begin();
        let which: Vec<usize> = (0..self.split_len(split)).collect();
        let groups = self.groups(split, &which);
        let share = 1.0 / groups.len().max(1) as f64;
        let (mut sum, mut seen) = (0.0, 0);
        let d = self.scales.states.len();
        let (mut found, mut truth) = (vec![vec![]; d], vec![vec![]; d]);
        for (grid, which) in groups {
            let (y0, times) = (self.starts(split, &which), self.grids[grid].clone());
            let begun = Instant::now();
            let (states, counts) = self.solve(p, &times, &y0)?;
            e.time(begun, true);
            e.add(share, counts);
            let parts: Vec<&Part<T>> = which.iter().map(|i| &self.parts[split.index()][*i]).collect();
            sum += compare(&mut self.loss, &parts, self.dim, &states, 1.0, None);
            for (c, part) in parts.iter().enumerate() {
                seen += part.seen.len();
                for (k, i, v) in &part.seen {
                    let s = &self.scales;
                    let unit = |u: T| s.mean[*i] + s.scale[*i] * u.f64();
                    found[*i].push(unit(states[(k * parts.len() + c) * self.dim + i]));
                    truth[*i].push(unit(*v));
                }
            }
        }
        e.loss = sum / seen.max(1) as f64;
        for ((name, found), truth) in self.scales.states.iter().zip(&found).zip(&truth) {
            if truth.is_empty() {
                continue;
            }
            let (r2, rmse, _) = of_numbers(found, truth);
            e.metrics.insert(format!("rmse {name}"), rmse);
            r2.map(|r2| e.metrics.insert(format!("r2 {name}"), r2));
        }
        Ok(e)
    }
    /// The first series, all of it, from its first row.
    fn fit(&mut self, p: &[T]) -> Result<Vec<Plot>, TrainError> {
        const POINTS: usize = 200;
        const STATES: usize = 6;
        let d = self.scales.states.len();
        let of = self.first.clone();
        let (from, to) = (of.times[0], of.times[of.times.len() - 1]);
        let times: Vec<f64> = (0..=POINTS).map(|k| from + (to - from) * k as f64 / POINTS as f64).collect();
        let shift = if self.autonomous { from } else { 0.0 };
        let grid: Vec<T> = times.iter().map(|t| T::of((t - shift) / self.scales.time)).collect();
        let mut y0 = vec![T::ZERO; self.dim];
        for (i, y) in y0.iter_mut().enumerate().take(d) {
            *y = T::of((of.row(0, d)[i] - self.scales.mean[i]) / self.scales.scale[i]);
        }
        // Beyond what was trained a solution may leave every bound: then there is no picture.
        let Ok((states, _)) = self.solve(p, &grid, &y0) else { return Ok(vec![]) };
        let picture = |i: usize| {
            let unit = |u: T| self.scales.mean[i] + self.scales.scale[i] * u.f64();
            let learned = times[1..].iter().zip(states.chunks_exact(self.dim)).map(|(t, u)| (*t, unit(u[i])));
            let data =
                of.times.iter().enumerate().map(|(k, t)| (*t, of.row(k, d)[i])).filter(|p| !p.1.is_nan());
            let curve = |name: &str, points, joined| Curve { name: name.into(), points, joined };
            let curves =
                vec![curve("learned", learned.collect(), true), curve("data", data.collect(), false)];
            Plot { name: format!("fit-{}", i + 1), axes: ("t".into(), self.scales.states[i].clone()), curves }
        };
        Ok((0..d.min(STATES)).map(picture).collect())
    }
}

/// Adds the numbers of one of `many` passes.
fn join(all: &mut PassStats, one: &PassStats, many: f64) {
    let share = 1.0 / many;
    all.loss += share * one.loss;
    all.data_loss += share * one.data_loss;
    all.penalties.resize(one.penalties.len(), 0.0);
    all.penalties.iter_mut().zip(&one.penalties).for_each(|(a, b)| *a += share * b);
    all.nfe += one.nfe;
    all.accepted += one.accepted;
    all.rejected += one.rejected;
    all.mean_step += share * one.mean_step;
    all.mean_error += share * one.mean_error;
    all.max_stiffness = match (all.max_stiffness, one.max_stiffness) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    };
    all.tape_bytes = all.tape_bytes.max(one.tape_bytes);
    all.forward_seconds += one.forward_seconds;
    all.reverse_seconds += one.reverse_seconds;
}
