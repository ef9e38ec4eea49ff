//! Attacks and direct search in one loop: maximizes network surrogates under constraints.
//!
//! ```text
//! maximize  F(x) = f(x) - |max(s c(x), 0)|^2      in place of f subject to c <= 0, s = 1000
//! ```
//!
//! Each iteration, with two radii r_a (attack) and r_s (search), takes the first of these that ends it:
//!
//! 1. attack ([`attack`]): x + d, d = r_a sign(grad F). A relative gain of at least 1e-3 is accepted, r_a grows by 1.3 and the iteration ends; a smaller one
//!    is accepted, r_a grows by 1.1, and the iteration goes on; otherwise r_a shrinks by 1.3;
//! 2. covering: one random point around x at a distance that does not shrink with the iterations;
//! 3. search: one random direction of length min(r_0 sqrt(k + 1), 0.1), k such trials done, not while r_s is at its floor;
//! 4. poll: n + 1 directions that span positively, of length r_s, the first gain taken: r_s doubles, otherwise halves.
//!
//! It stops when both radii are at their floor. Bouchet et al., "Optimization by directional attacks", arXiv 2510.01461. Lengths are in the units of x: scale
//! your variables to about [0, 1].

use std::ops::ControlFlow;

use rand::RngExt;

use super::attack::{AttackKind, attack};
use super::direct_search::{covering, poll_direction, scale, unit};
use super::surrogated::Surrogated;
use crate::error::Error;
use crate::random::{Purpose, generator};

/// Largest and smallest radius of the search, and smallest of the attack.
const LARGEST: f64 = 0.1;
const FLOOR: f64 = 1e-6;

/// What may be chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct HybridOptions {
    /// Attacks, if the problem has gradients; `None`: never.
    pub attack: Option<AttackKind>,
    /// Covering, search and poll.
    pub search: bool,
    /// r_0 of the covering step (a length to the power n) and of the search; default 1e-3. Larger ones leave a local maximum more often.
    pub covering: f64,
    /// Steepness s of the penalty; default 1000: violations of about |grad f| / (2 s^2) remain.
    pub steepness: f64,
    /// First radii of attack and search; default 0.1 both.
    pub radii: (f64, f64),
    /// Evaluations of f and c, the start counted.
    pub max_evaluations: u64,
    /// Box that is never left: lower and upper bounds of x. Points are clipped to it.
    pub bounds: Option<(Vec<f64>, Vec<f64>)>,
    /// Of everything random.
    pub seed: u64,
}

impl Default for HybridOptions {
    fn default() -> Self {
        Self {
            attack: Some(AttackKind::Sign),
            search: true,
            covering: 1e-3,
            steepness: 1000.0,
            radii: (LARGEST, LARGEST),
            max_evaluations: 10_000,
            bounds: None,
            seed: 0,
        }
    }
}

/// Which step found a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// The start.
    Start,
    /// An attack.
    Attack,
    /// A covering trial.
    Covering,
    /// A random direction.
    Search,
    /// A direction of the poll.
    Poll,
}

/// A point that was accepted.
#[derive(Debug, Clone, Copy)]
pub struct Accepted<'a> {
    /// How.
    pub kind: StepKind,
    /// Evaluations so far.
    pub evaluations: u64,
    /// F, the penalized value.
    pub penalized: f64,
    /// f.
    pub objective: f64,
    /// The point.
    pub x: &'a [f64],
}

/// Why it stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HybridStop {
    /// All radii in use are at their floor.
    SmallRadii,
    /// The evaluations are spent.
    MaxEvaluations,
    /// The observer asked for it.
    Interrupted,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct HybridReport {
    /// The best point.
    pub x: Vec<f64>,
    /// f there.
    pub objective: f64,
    /// F there.
    pub penalized: f64,
    /// The largest entry of max(c, 0) there.
    pub violation: f64,
    /// Evaluations of f and c.
    pub evaluations: u64,
    /// Gradients.
    pub gradients: u64,
    /// Iterations.
    pub iterations: u64,
    /// Why it stopped.
    pub stop: HybridStop,
}

struct State<'a, S: ?Sized, O> {
    problem: &'a mut S,
    options: &'a HybridOptions,
    observer: O,
    x: Vec<f64>,
    penalized: f64,
    objective: f64,
    trial: Vec<f64>,
    c: Vec<f64>,
    d: Vec<f64>,
    g: Vec<f64>,
    /// `g` belongs to `x`.
    fresh: bool,
    evaluations: u64,
    gradients: u64,
    stop: Option<HybridStop>,
}

/// Weights of c in the gradient of F: -2 s^2 max(c, 0).
fn weights(s: f64, c: &mut [f64]) {
    c.iter_mut().for_each(|c| *c = -2.0 * s * s * c.max(0.0));
}

impl<S: Surrogated + ?Sized, O: FnMut(&Accepted<'_>) -> ControlFlow<()>> State<'_, S, O> {
    /// (F, f) at `trial`. Values that are not finite count as minus infinity.
    fn evaluate(&mut self) -> (f64, f64) {
        self.evaluations += 1;
        let f = self.problem.value(&self.trial, &mut self.c);
        let s = self.options.steepness;
        let penalty: f64 = self.c.iter().map(|c| if *c <= 0.0 { 0.0 } else { (s * c) * (s * c) }).sum();
        let penalized = f - penalty;
        (if penalized.is_nan() { f64::NEG_INFINITY } else { penalized }, f)
    }

    /// Tries x + d. The relative gain if it is better, and then it is the new x.
    fn step(&mut self, kind: StepKind) -> Option<f64> {
        for ((t, x), d) in self.trial.iter_mut().zip(&self.x).zip(&self.d) {
            *t = x + d;
        }
        if let Some((lower, upper)) = &self.options.bounds {
            for ((t, l), u) in self.trial.iter_mut().zip(lower).zip(upper) {
                *t = t.clamp(*l, *u);
            }
        }
        // A point that is the present one is not evaluated again.
        if self.stop.is_some() || self.trial == self.x {
            return None;
        }
        if self.evaluations >= self.options.max_evaluations {
            self.stop = Some(HybridStop::MaxEvaluations);
            return None;
        }
        let (penalized, objective) = self.evaluate();
        if penalized <= self.penalized {
            return None;
        }
        let gain = (penalized - self.penalized) / (self.penalized.abs() + 1e-10);
        std::mem::swap(&mut self.x, &mut self.trial);
        (self.penalized, self.objective, self.fresh) = (penalized, objective, false);
        self.tell(kind);
        Some(gain)
    }

    fn tell(&mut self, kind: StepKind) {
        let row = Accepted {
            kind,
            evaluations: self.evaluations,
            penalized: self.penalized,
            objective: self.objective,
            x: &self.x,
        };
        if (self.observer)(&row).is_break() {
            self.stop = Some(HybridStop::Interrupted);
        }
    }

    /// d <- the attack of radius r at x; false if there is none.
    fn aim(&mut self, kind: AttackKind, r: f64) -> bool {
        let s = self.options.steepness;
        let Self { problem, c, gradients, .. } = self;
        let mut gradient = |x: &[f64], g: &mut [f64]| {
            problem.value(x, c);
            weights(s, c);
            *gradients += 1;
            problem.gradient(x, c, g);
        };
        if !self.fresh {
            gradient(&self.x, &mut self.g);
            self.fresh = true;
        }
        attack(kind, (&self.x, &self.g), r, gradient, &mut self.trial, &mut self.d)
    }
}

/// Maximizes from `x0`; `observer` hears of every point that is accepted and may stop.
///
/// # Errors
/// [`Error::Option`] for a start of the wrong length or where f has no value, and for options out of range.
pub fn maximize(
    problem: &mut dyn Surrogated,
    x0: &[f64],
    options: &HybridOptions,
    observer: impl FnMut(&Accepted<'_>) -> ControlFlow<()>,
) -> Result<HybridReport, Error> {
    validate(problem, x0, options)?;
    let n = x0.len();
    let mut state = State {
        options,
        observer,
        x: x0.to_vec(),
        penalized: f64::NEG_INFINITY,
        objective: f64::NAN,
        trial: x0.to_vec(),
        c: vec![0.0; problem.constraints()],
        d: vec![0.0; n],
        g: vec![0.0; n],
        fresh: false,
        evaluations: 0,
        gradients: 0,
        stop: None,
        problem,
    };
    (state.penalized, state.objective) = state.evaluate();
    if !state.penalized.is_finite() {
        return Err(wrong("x0", format!("f or c is not finite there (f = {})", state.objective)));
    }
    state.tell(StepKind::Start);
    let kind = options.attack.filter(|_| state.problem.has_gradient());
    let iterations = iterate(&mut state, kind);
    state.trial.copy_from_slice(&state.x);
    // The violation at the end: a value that was seen before, not counted again.
    state.problem.value(&state.x, &mut state.c);
    let violation = state.c.iter().fold(0.0_f64, |v, c| v.max(*c));
    Ok(HybridReport {
        objective: state.objective,
        penalized: state.penalized,
        violation,
        evaluations: state.evaluations,
        gradients: state.gradients,
        iterations,
        stop: state.stop.unwrap_or(HybridStop::SmallRadii),
        x: state.x,
    })
}

/// The loop; returns its iterations.
fn iterate<S: Surrogated + ?Sized, O: FnMut(&Accepted<'_>) -> ControlFlow<()>>(
    state: &mut State<'_, S, O>,
    kind: Option<AttackKind>,
) -> u64 {
    let options = state.options;
    let (mut r_attack, mut r_search) = options.radii;
    let mut u = vec![0.0; state.x.len()];
    let (mut iterations, mut searches) = (0u64, 0u64);
    while state.stop.is_none() {
        let attack_done = kind.is_none() || r_attack <= FLOOR;
        if attack_done && (!options.search || r_search <= FLOOR) {
            break;
        }
        let mut rng = generator(options.seed, Purpose::Search as u64, iterations);
        iterations += 1;
        if let Some(kind) = kind {
            let gain = if state.aim(kind, r_attack) { state.step(StepKind::Attack) } else { None };
            match gain {
                Some(gain) if gain >= 1e-3 => {
                    r_attack = (1.3 * r_attack).min(1.0);
                    r_search = r_search.max(2.0 * FLOOR);
                    continue;
                }
                Some(_) => r_attack = (1.1 * r_attack).min(1.0),
                None => r_attack = (r_attack / 1.3).max(FLOOR),
            }
        }
        if !options.search {
            continue;
        }
        covering(&mut rng, options.covering, &mut state.d);
        if state.step(StepKind::Covering).is_some() {
            continue;
        }
        if r_search > FLOOR {
            unit(&mut rng, &mut state.d);
            scale(&mut state.d, (options.covering * ((searches + 1) as f64).sqrt()).min(LARGEST));
            searches += 1;
            if state.step(StepKind::Search).is_some() {
                r_search = (2.0 * r_search).min(LARGEST);
                continue;
            }
        }
        unit(&mut rng, &mut u);
        // Where the directions begin is drawn too: none of them is favored.
        let (count, first) = (u.len() + 1, rng.random_range(0..=u.len()));
        let found = (0..count).any(|k| {
            poll_direction(&u, (first + k) % count, r_search, &mut state.d);
            state.step(StepKind::Poll).is_some()
        });
        r_search = if found { (2.0 * r_search).min(LARGEST) } else { (0.5 * r_search).max(FLOOR) };
    }
    iterations
}

fn wrong(option: &str, what: String) -> Error {
    Error::Option { option: option.into(), what }
}

fn validate(problem: &dyn Surrogated, x0: &[f64], options: &HybridOptions) -> Result<(), Error> {
    let n = problem.dim();
    if x0.len() != n || n == 0 {
        return Err(wrong("x0", format!("found {} numbers, the problem has {n} variables", x0.len())));
    }
    if let Some(j) = x0.iter().position(|x| !x.is_finite()) {
        return Err(wrong("x0", format!("entry {j} is {}, expected a finite number", x0[j])));
    }
    if !options.search && (options.attack.is_none() || !problem.has_gradient()) {
        let what = "is off and attacks are not possible: nothing is left that could move".to_string();
        return Err(wrong("search", what));
    }
    let positive = [
        ("covering", options.covering),
        ("steepness", options.steepness),
        ("radii", options.radii.0),
        ("radii", options.radii.1),
    ];
    for (name, value) in positive {
        if !(value > 0.0 && value.is_finite()) {
            return Err(wrong(name, format!("found {value}, expected a positive finite number")));
        }
    }
    if let Some((lower, upper)) = &options.bounds {
        let fits = lower.len() == n && upper.len() == n;
        let inside = fits && (0..n).all(|j| lower[j] <= x0[j] && x0[j] <= upper[j]);
        if !inside {
            let what = format!("must be {n} lower and {n} upper bounds with the start between them");
            return Err(wrong("bounds", what));
        }
    }
    Ok(())
}
