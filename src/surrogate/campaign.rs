//! A search whose evaluations run side by side and are logged: stop it at any time, by `kill -9` too, and go on.
//!
//! ```
//! use costate::surrogate::bayes_opt::Options;
//! use costate::surrogate::campaign::{Campaign, Settings};
//! use costate::surrogate::space::Space;
//!
//! let folder = std::env::temp_dir().join(format!("costate-campaign-{}", std::process::id()));
//! let space = Space::reals(&[(-5.0, 10.0), (0.0, 15.0)])?;
//! let settings = Settings { evaluations: 12, workers: 2, ..Settings::default() };
//! let mut campaign = Campaign::open(&folder.join("log.jsonl"), space, Options::default(), settings)?;
//! campaign.run(&|x, _| Ok((x[0] * x[0] + x[1], vec![])), &|| false, &mut |_| ())?;
//! let best = campaign.search().report();
//! # assert!(best.objective < 20.0);
//! # std::fs::remove_dir_all(folder).ok();
//! # Ok::<(), costate::surrogate::SurrogateError>(())
//! ```

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Instant;

use super::SurrogateError;
use super::bayes_opt::{BayesOpt, Options, Outcome};
use super::journal::{Entry, Journal, number, quoted};
use super::space::{Scale, Space};

/// How the evaluations are run.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Evaluations in all, those of the log counted.
    pub evaluations: usize,
    /// How many run side by side.
    pub workers: usize,
    /// The objective is to be large.
    pub maximize: bool,
    /// What else the log belongs to (a command, a version of the simulation): a log with another text is refused.
    pub label: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { evaluations: 50, workers: 1, maximize: false, label: String::new() }
    }
}

/// f and c, or why there are none.
pub type Evaluated = Result<(f64, Vec<f64>), String>;

/// An evaluation that ended.
#[derive(Debug, Clone)]
pub struct Ended<'a> {
    /// Its number.
    pub id: usize,
    /// The point.
    pub x: &'a [f64],
    /// What it gave.
    pub result: &'a Evaluated,
    /// Seconds it took.
    pub seconds: f64,
    /// Best feasible objective so far.
    pub best: Option<f64>,
}

/// A search with its log.
pub struct Campaign {
    search: BayesOpt,
    settings: Settings,
    constraints: usize,
    journal: Journal,
    /// Results found in the log.
    replayed: usize,
}

/// The first line of the log: what makes proposals what they are.
fn header(space: &Space, options: &Options, settings: &Settings) -> String {
    let variable = |v: &super::space::Variable| {
        let scale = match v.scale {
            Scale::Linear => "linear",
            Scale::Log => "log",
            Scale::Integer => "integer",
        };
        let (name, lower, upper) = (quoted(&v.name), number(v.lower), number(v.upper));
        format!("{{\"name\":{name},\"lower\":{lower},\"upper\":{upper},\"scale\":\"{scale}\"}}")
    };
    let variables: Vec<String> = space.variables().iter().map(variable).collect();
    let initial = options.initial.map_or("null".into(), |n| n.to_string());
    format!(
        "{{\"event\":\"start\",\"log\":1,\"label\":{},\"variables\":[{}],\"constraints\":{},\"maximize\":{},\"initial\":{initial},\"candidates\":{},\"climbs\":{},\"seed\":{}}}",
        quoted(&settings.label),
        variables.join(","),
        options.constraints,
        settings.maximize,
        options.candidates,
        options.climbs,
        options.seed
    )
}

impl Campaign {
    /// Opens the log at `path`, or begins it, and goes to where it ends.
    ///
    /// # Errors
    /// One sentence: options out of range, a log that cannot be read, is damaged or belongs to another search.
    pub fn open(
        path: &Path,
        space: Space,
        options: Options,
        settings: Settings,
    ) -> Result<Self, SurrogateError> {
        if settings.workers == 0 || settings.evaluations == 0 {
            return Err(SurrogateError::new("a search needs at least one worker and one evaluation"));
        }
        let first = header(&space, &options, &settings);
        let constraints = options.constraints;
        let mut search = BayesOpt::new(space, options)?;
        let (journal, entries) = Journal::open(path, &first)?;
        let mut replayed = 0;
        for (k, entry) in entries.into_iter().enumerate() {
            let wrong =
                |e: SurrogateError| SurrogateError::new(format!("{}: line {}: {e}", path.display(), k + 2));
            match entry {
                Entry::Proposal { id, x } => {
                    let found = search.adopt(&x).map_err(wrong)?;
                    if found != id {
                        return Err(wrong(SurrogateError::new(format!("proposal {id}, expected {found}"))));
                    }
                }
                Entry::Result { id, outcome } => {
                    let outcome = signed(outcome, settings.maximize);
                    search.tell(id, outcome).map_err(wrong)?;
                    replayed += 1;
                }
            }
        }
        Ok(Self { search, settings, constraints, journal, replayed })
    }
    /// Everything asked and told. With `maximize` its objectives have the other sign.
    pub fn search(&self) -> &BayesOpt {
        &self.search
    }
    /// How many results were in the log when it was opened.
    pub fn replayed(&self) -> usize {
        self.replayed
    }
    /// The best trial: its number, the user's objective and whether it is feasible.
    pub fn best(&self) -> Option<(usize, f64, bool)> {
        let id = self.search.best()?;
        let (f, _) = self.search.trials()[id].outcome.as_ref()?.values()?;
        Some((id, if self.settings.maximize { -f } else { f }, self.search.is_feasible(id)))
    }

    /// Evaluates until all evaluations are spent or `stop` says so; asked but unfinished points of the log come first. `evaluate` is called on several threads
    /// at once and told when to give up by its second argument; what it gives then is not logged, so that it is evaluated again. A panic is a failure.
    ///
    /// # Errors
    /// One sentence: the log cannot be written, or no model can be made of the data.
    pub fn run(
        &mut self,
        evaluate: &(dyn Fn(&[f64], &AtomicBool) -> Evaluated + Sync),
        stop: &dyn Fn() -> bool,
        observer: &mut dyn FnMut(&Ended<'_>),
    ) -> Result<(), SurrogateError> {
        let give_up = AtomicBool::new(false);
        let (jobs, work) = mpsc::channel::<(usize, Vec<f64>)>();
        let (done, results) = mpsc::channel();
        let work = Mutex::new(work);
        std::thread::scope(|scope| {
            for _ in 0..self.settings.workers {
                let (work, give_up, done) = (&work, &give_up, done.clone());
                scope.spawn(move || {
                    loop {
                        let job = work.lock().map(|work| work.recv());
                        let Ok(Ok((id, x))) = job else { return };
                        let began = Instant::now();
                        let result = catch_unwind(AssertUnwindSafe(|| evaluate(&x, give_up)));
                        let result = result.unwrap_or_else(|_| Err("the objective panicked".into()));
                        if done.send((id, x, result, began.elapsed().as_secs_f64())).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(done);
            let outcome = self.lead(jobs, &results, (stop, &give_up), observer);
            give_up.store(true, Ordering::Relaxed);
            outcome
        })
    }

    /// The leading thread: asks, logs, hands out, receives, logs, tells.
    fn lead(
        &mut self,
        jobs: mpsc::Sender<(usize, Vec<f64>)>,
        results: &mpsc::Receiver<(usize, Vec<f64>, Evaluated, f64)>,
        (stop, give_up): (&dyn Fn() -> bool, &AtomicBool),
        observer: &mut dyn FnMut(&Ended<'_>),
    ) -> Result<(), SurrogateError> {
        let mut unfinished = self.search.pending().into_iter();
        let mut running = 0;
        loop {
            while running < self.settings.workers && !stop() {
                let next = match unfinished.next() {
                    Some(id) => Some((id, self.search.trials()[id].x.clone())),
                    None if self.search.trials().len() >= self.settings.evaluations => None,
                    None => match self.search.ask()? {
                        Some(p) => {
                            self.journal.proposal(p.id, &p.x)?;
                            Some((p.id, p.x))
                        }
                        None => None,
                    },
                };
                let Some(job) = next else { break };
                if jobs.send(job).is_err() {
                    return Err(SurrogateError::new("the threads that evaluate have ended"));
                }
                running += 1;
            }
            if running == 0 {
                return Ok(());
            }
            let received = results.recv_timeout(std::time::Duration::from_millis(50));
            if stop() {
                give_up.store(true, Ordering::Relaxed);
            }
            let (id, x, result, seconds) = match received {
                Ok(received) => received,
                Err(mpsc::RecvTimeoutError::Timeout) => continue,
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(SurrogateError::new("the threads that evaluate have ended"));
                }
            };
            running -= 1;
            // What gave up is under way still, as far as the log knows.
            if give_up.load(Ordering::Relaxed) && result.is_err() {
                continue;
            }
            let result = self.checked(result);
            self.journal.result(id, seconds, &result)?;
            let outcome = match &result {
                Ok((f, c)) => Outcome::Value { objective: *f, constraints: c.clone() },
                Err(_) => Outcome::Failed,
            };
            self.search.tell(id, signed(outcome, self.settings.maximize))?;
            let best = self.best().filter(|b| b.2).map(|b| b.1);
            observer(&Ended { id, x: &x, result: &result, seconds, best });
        }
    }

    /// Values that are not finite, and constraints of another number, are failures.
    fn checked(&self, result: Evaluated) -> Evaluated {
        let (f, c) = result?;
        if !f.is_finite() {
            return Err(format!("the objective is {f}"));
        }
        if c.len() != self.constraints {
            return Err(format!("found {} constraint values, expected {}", c.len(), self.constraints));
        }
        match c.iter().find(|c| !c.is_finite()) {
            Some(c) => Err(format!("a constraint is {c}")),
            None => Ok((f, c)),
        }
    }
}

fn signed(outcome: Outcome, maximize: bool) -> Outcome {
    match outcome {
        Outcome::Value { objective, constraints } if maximize => {
            Outcome::Value { objective: -objective, constraints }
        }
        other => other,
    }
}
