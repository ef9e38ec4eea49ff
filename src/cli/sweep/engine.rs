//! The order of a sweep. Trials are worked off in blocks: those of a block are proposed together, run side by side, and know of the blocks before only, so
//! that nothing depends on the number of jobs, on times, or on interruptions.
//!
//! ```text
//! block:  propose -> train to the end of every rung (decide after each epoch) -> tell the results, in the order of the trials
//! ```

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use costate::search::design;
use costate::search::early_stop::{Curve, Decision, EarlyStop};
use costate::search::halving::Halving;
use costate::surrogate::bayes_opt::{BayesOpt, Options, Outcome};
use costate::train::TrainError;
use costate::train::config::Keep;

use super::config::{Method, Sweep};
use super::journal::{End, Event, Journal};
use super::trial::{Epoch, Order, Way, advance};
use crate::cli::Failure;

/// What is known of a trial.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trial {
    /// Numbers of the variables.
    pub point: Vec<f64>,
    /// The metric after every epoch.
    pub values: Vec<f64>,
    pub parameters: usize,
    pub seconds: f64,
    pub end: Option<End>,
}

/// A sweep under way.
pub struct Engine<'a> {
    sweep: &'a Sweep,
    base: &'a Path,
    root: &'a Path,
    jobs: usize,
    flag: &'a AtomicBool,
    pub trials: Vec<Trial>,
    journal: Mutex<Journal>,
    early: Option<EarlyStop>,
    halving: Option<Halving>,
    /// Locked only so that threads may share the rest.
    bayes: Option<Mutex<BayesOpt>>,
    /// Trials found in the log that were over.
    pub replayed: usize,
}

/// What is told while it runs: a trial that is over.
pub type Observer<'o> = dyn Fn(usize, &Trial) + Sync + 'o;

/// Where a sweep runs.
pub struct Place<'a> {
    /// Where relative paths of the configuration start.
    pub base: &'a Path,
    /// The folder of the sweep.
    pub root: &'a Path,
    pub jobs: usize,
    pub flag: &'a AtomicBool,
}

/// Trials by number, from the lines of a log.
fn replay(events: Vec<Event>) -> Result<Vec<Trial>, String> {
    let mut trials: Vec<Trial> = vec![];
    for (k, event) in events.into_iter().enumerate() {
        let wrong = |what: &str| format!("line {}: {what}", k + 2);
        match event {
            Event::Trial { trial, point, .. } if trial == trials.len() => {
                trials.push(Trial { point, ..Trial::default() });
            }
            Event::Epoch { trial, epoch, value, parameters, seconds } => {
                let t = trials.get_mut(trial).filter(|t| t.values.len() as u64 + 1 == epoch);
                let t = t.ok_or_else(|| wrong("an epoch out of order"))?;
                t.values.push(value.unwrap_or(f64::NAN));
                t.parameters = parameters;
                t.seconds += seconds;
            }
            Event::End { trial, end } => {
                trials.get_mut(trial).ok_or_else(|| wrong("a trial that was not begun"))?.end = Some(end);
            }
            Event::Trial { .. } | Event::Sweep { .. } => return Err(wrong("a trial out of order")),
        }
    }
    Ok(trials)
}

/// The search, if there is one.
fn search(bayes: &mut Option<Mutex<BayesOpt>>) -> Option<&mut BayesOpt> {
    bayes.as_mut().and_then(|b| b.get_mut().ok())
}

impl<'a> Engine<'a> {
    /// Opens the log in the sweep's folder, or begins it.
    pub fn open(sweep: &'a Sweep, place: Place<'a>) -> Result<Self, Failure> {
        let Place { base, root, jobs, flag } = place;
        std::fs::create_dir_all(root).map_err(|e| Failure(format!("{}: {e}", root.display())))?;
        let path = root.join("sweep.jsonl");
        let identity = costate::train::checkpoint::fingerprint(&sweep.identity());
        let (journal, events) = Journal::open(&path, identity)?;
        let trials = replay(events).map_err(|what| Failure(format!("{}: {what}", path.display())))?;
        let early = sweep.early_stop().map(EarlyStop::new).transpose()?;
        let bayes = match sweep.config.method {
            Method::Bayes => {
                let options = Options { seed: sweep.config.seed, ..Options::default() };
                Some(Mutex::new(BayesOpt::new(sweep.space.clone(), options)?))
            }
            _ => None,
        };
        let replayed = trials.iter().filter(|t| t.end.is_some()).count();
        let (halving, journal) = (sweep.halving()?, Mutex::new(journal));
        Ok(Self { sweep, base, root, jobs, flag, trials, journal, early, halving, bayes, replayed })
    }
    /// The folder of a trial.
    pub fn folder(&self, trial: usize) -> PathBuf {
        self.root.join("trials").join(format!("{trial:04}"))
    }
    fn interrupted(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }
    /// Whether its weights are those of the best validation.
    pub fn keeps_best(&self, trial: &Trial) -> bool {
        trial.end == Some(End::Patience) || self.sweep.keep == Keep::Best
    }
    /// What a trial is judged by: the last value, or the best if the run keeps the best weights.
    pub fn value(&self, trial: &Trial) -> f64 {
        let score = |v: f64| self.sweep.score(v);
        let best = || trial.values.iter().copied().reduce(|a, b| if score(b) > score(a) { b } else { a });
        if self.keeps_best(trial) { best() } else { trial.values.last().copied() }.unwrap_or(f64::NAN)
    }
    /// The trial with the best value of those that reached their end.
    pub fn best(&self) -> Option<usize> {
        let whole = |t: &Trial| matches!(t.end, Some(End::Finished | End::Patience));
        let scored = self.trials.iter().enumerate().filter(|(_, t)| whole(t));
        let scored = scored.map(|(k, t)| (self.sweep.score(self.value(t)), k)).filter(|(s, _)| !s.is_nan());
        scored.reduce(|a, b| if b.0 > a.0 { b } else { a }).map(|(_, k)| k)
    }

    /// Works off all blocks, or ends where it is interrupted.
    pub fn run(&mut self, observer: &Observer<'_>) -> Result<(), Failure> {
        let (all, mut first) = (self.sweep.trials(), 0);
        let size = self.halving.map_or(self.sweep.config.together, |h| h.bracket());
        while first < all && !self.interrupted() {
            let last = first.saturating_add(size).min(all);
            self.propose(first, last)?;
            let last = last.min(self.trials.len());
            if last == first || !self.block(first, last, observer)? {
                return Ok(());
            }
            self.tell(first, last)?;
            self.tidy()?;
            first = last;
        }
        Ok(())
    }

    /// Points of the trials first .. last; those in the log stay. There may be fewer: a search has asked for all points there are.
    fn propose(&mut self, first: usize, last: usize) -> Result<(), Failure> {
        for k in first..last {
            if let Some(known) = self.trials.get(k) {
                if let Some(bayes) = search(&mut self.bayes) {
                    bayes.adopt(&known.point)?;
                }
                continue;
            }
            let dim = self.sweep.space.dim();
            let point = match (search(&mut self.bayes), self.sweep.config.method) {
                (Some(bayes), _) => match bayes.ask()? {
                    Some(p) => p.x,
                    None => return Ok(()),
                },
                (None, Method::Grid) => {
                    let levels = self.sweep.levels();
                    let counts: Vec<usize> = levels.iter().map(Vec::len).collect();
                    let Some(at) = design::grid(&counts, k) else { return Ok(()) };
                    levels.iter().zip(at).map(|(axis, i)| axis[i]).collect()
                }
                (None, Method::Random) => {
                    self.sweep.space.values(&design::random(self.sweep.config.seed, k as u64, dim))
                }
                (None, _) => self.sweep.space.values(&design::sobol(self.sweep.config.seed, k, dim)?),
            };
            let named = self
                .sweep
                .variables
                .iter()
                .zip(&point)
                .map(|(v, x)| Ok((v.name.clone(), serde_json::to_value(v.value(*x))?)));
            let values = named.collect::<Result<_, serde_json::Error>>()?;
            self.write(&Event::Trial { trial: k, point: point.clone(), values })?;
            self.trials.push(Trial { point, ..Trial::default() });
        }
        Ok(())
    }
    fn write(&self, event: &Event) -> Result<(), Failure> {
        let mut journal = self.journal.lock().map_err(|_| Failure("the log is not to be used".into()))?;
        journal.write(event)
    }

    /// Trains the trials first .. last; false if interrupted.
    fn block(&mut self, first: usize, last: usize, observer: &Observer<'_>) -> Result<bool, Failure> {
        let rungs = self.halving.map_or(vec![self.sweep.epochs], |h| h.rungs());
        let mut alive: Vec<usize> = (first..last).collect();
        let mut before = 0;
        for rung in rungs {
            let began = |k: &usize| match before {
                0 => f64::NAN,
                e => self.trials[*k].values.get(e - 1).map_or(f64::NAN, |v| self.sweep.score(*v)),
            };
            let scores: Vec<f64> = alive.iter().map(began).collect();
            let protected = self.halving.map_or(vec![], |h| h.protected(&scores));
            let protected: Vec<usize> = protected.into_iter().map(|i| alive[i]).collect();
            before = rung as usize;
            self.train(&alive, &protected, rung, observer)?;
            if self.interrupted() {
                return Ok(false);
            }
            let (Some(halving), true) = (self.halving, rung < self.sweep.epochs) else { continue };
            // Of those that reached the rung; a trial that was halved in a run before has reached it too.
            let over = |t: &Trial| {
                t.end.as_ref().is_some_and(|e| *e != End::Halved) && (t.values.len() as u64) <= rung
            };
            alive.retain(|k| !over(&self.trials[*k]) && self.trials[*k].values.len() as u64 >= rung);
            let scores: Vec<f64> =
                alive.iter().map(|k| self.sweep.score(self.trials[*k].values[rung as usize - 1])).collect();
            let kept: Vec<usize> = halving.survivors(&scores).into_iter().map(|i| alive[i]).collect();
            for k in alive.iter().filter(|k| !kept.contains(k)) {
                if self.trials[*k].end.is_none() {
                    self.write(&Event::End { trial: *k, end: End::Halved })?;
                    self.trials[*k].end = Some(End::Halved);
                    observer(*k, &self.trials[*k]);
                }
            }
            alive = kept;
        }
        Ok(true)
    }

    /// Trains some trials to `target` epochs, several at once; those that are `protected` are not ended by predictions.
    fn train(
        &mut self,
        which: &[usize],
        protected: &[usize],
        target: u64,
        observer: &Observer<'_>,
    ) -> Result<(), Failure> {
        let open: Vec<usize> = which.iter().copied().filter(|k| self.trials[*k].end.is_none()).collect();
        let next = AtomicUsize::new(0);
        let done: Mutex<BTreeMap<usize, Result<Trial, Failure>>> = Mutex::new(BTreeMap::new());
        let this = &*self;
        std::thread::scope(|scope| {
            for _ in 0..this.jobs.min(open.len()) {
                scope.spawn(|| {
                    while !this.interrupted() {
                        let Some(k) = open.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                        let mut trial = this.trials[*k].clone();
                        let free = !protected.contains(k);
                        let result = this.train_one(*k, (target, free), &mut trial).map(|()| trial);
                        if let Ok(trial) = &result
                            && trial.end.is_some()
                        {
                            observer(*k, trial);
                        }
                        if let Ok(mut done) = done.lock() {
                            done.insert(*k, result);
                        }
                    }
                });
            }
        });
        let done = done.into_inner().map_err(|_| Failure("a thread of the sweep has ended".into()))?;
        for (k, result) in done {
            self.trials[k] = result?;
        }
        Ok(())
    }

    /// Whether a trial that is free to ends after the epochs it has.
    fn decide(&self, trial: &Trial, free: bool) -> Option<End> {
        if !free {
            return None;
        }
        let decision = self.early.as_ref()?.decide(&self.curve(trial));
        match decision {
            Decision::Stop { predicted, probability } => Some(End::Stopped { predicted, probability }),
            Decision::Continue => None,
        }
    }
    fn curve(&self, trial: &Trial) -> Curve {
        Curve {
            scores: trial.values.iter().map(|v| self.sweep.score(*v)).collect(),
            hyper: self.sweep.features(&trial.point),
            size: vec![(trial.parameters.max(1) as f64).ln()],
        }
    }

    fn train_one(&self, k: usize, (target, free): (u64, bool), trial: &mut Trial) -> Result<(), Failure> {
        let end = match self.decide(trial, free) {
            Some(end) => Some(end),
            None if trial.values.len() as u64 >= target && target < self.sweep.epochs => None,
            None => match self.advance(k, (target, free), trial)? {
                Way::Failed(what) => Some(End::Failed { what }),
                Way::Patience => Some(End::Patience),
                Way::Broken => self.decide(trial, free),
                Way::Done => (target == self.sweep.epochs).then_some(End::Finished),
                Way::Interrupted => None,
            },
        };
        if let Some(end) = end {
            self.write(&Event::End { trial: k, end: end.clone() })?;
            trial.end = Some(end);
        }
        Ok(())
    }
    fn advance(&self, k: usize, (target, free): (u64, bool), trial: &mut Trial) -> Result<Way, Failure> {
        let mut config = match self.sweep.at(&trial.point) {
            Ok(config) => config,
            Err(what) => return Ok(Way::Failed(what)),
        };
        if config.train.threads == 0 && self.jobs > 1 {
            let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
            config.train.threads = (cores / self.jobs).max(1);
        }
        let folder = self.folder(k);
        let order = Order {
            sweep: self.sweep,
            config: &config,
            base: self.base,
            folder: &folder,
            target,
            flag: self.flag,
        };
        let mut unwritten = None;
        let mut on_epoch = |e: &Epoch| {
            // The log may be one epoch ahead of the checkpoint.
            if e.epoch as usize > trial.values.len() {
                trial.values.push(e.value);
                trial.parameters = e.parameters;
                trial.seconds += e.seconds;
                let value = e.value.is_finite().then_some(e.value);
                let (epoch, parameters, seconds) = (e.epoch, e.parameters, e.seconds);
                let event = Event::Epoch { trial: k, epoch, value, parameters, seconds };
                if let Err(Failure(what)) = self.write(&event) {
                    unwritten = Some(what.clone());
                    return Err(TrainError::config(what));
                }
            }
            let stop = self.decide(trial, free).is_some();
            Ok(if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        };
        let way = catch_unwind(AssertUnwindSafe(|| advance(&order, &mut on_epoch)));
        if let Some(what) = unwritten {
            return Err(Failure(what));
        }
        match way {
            Ok(way) => Ok(way?),
            Err(_) => Ok(Way::Failed("an internal error: a panic".into())),
        }
    }

    /// Results of the trials first .. last, for those after them.
    fn tell(&mut self, first: usize, last: usize) -> Result<(), Failure> {
        for k in first..last {
            let trial = self.trials[k].clone();
            let value = self.value(&trial);
            let mut curve = self.curve(&trial);
            let whole = matches!(trial.end, Some(End::Finished | End::Patience | End::Failed { .. }));
            if let Some(early) = self.early.as_mut().filter(|_| whole) {
                // A run that ended by its own patience stays where it was best.
                if trial.end == Some(End::Patience) {
                    curve.scores.resize(self.sweep.epochs as usize, self.sweep.score(value));
                }
                early.finish(curve);
            }
            let score = match &trial.end {
                Some(End::Finished | End::Patience) => self.sweep.score(value),
                Some(End::Stopped { predicted, .. }) => *predicted,
                _ => f64::NAN,
            };
            if let Some(bayes) = search(&mut self.bayes) {
                bayes.tell(k, if score.is_finite() { Outcome::of(-score) } else { Outcome::Failed })?;
            }
        }
        Ok(())
    }

    /// Removes the folders of trials that are over, but for the best.
    fn tidy(&self) -> Result<(), Failure> {
        let best = self.best();
        for (k, _) in self.trials.iter().enumerate().filter(|(k, t)| t.end.is_some() && Some(*k) != best) {
            let folder = self.folder(k);
            if folder.exists() {
                std::fs::remove_dir_all(&folder)
                    .map_err(|e| Failure(format!("{}: {e}", folder.display())))?;
            }
        }
        Ok(())
    }
}
