//! The problem: phases with their dynamics, costs and conditions, as closures over model expressions.

use std::fmt;
use std::sync::Arc;

use crate::Error;
use crate::model::{Constraint, Expr, Model};

/// Arguments of dynamics, running costs and path constraints at one moment, in the user's units.
#[derive(Debug, Clone)]
pub struct Point {
    /// Time.
    pub t: Expr,
    /// States of the phase, in the order in which they were added.
    pub x: Vec<Expr>,
    /// Controls of the phase.
    pub u: Vec<Expr>,
    /// Static parameters of the problem.
    pub p: Vec<Expr>,
}

/// The first N entries; what is missing is NaN, which the solver reports as not finite at the start.
pub(super) fn array<const N: usize>(values: &[Expr]) -> [Expr; N] {
    std::array::from_fn(|k| values.get(k).cloned().unwrap_or_else(|| Expr::from(f64::NAN)))
}

impl Point {
    /// States and controls by name: `let ([x, v], [u]) = s.split();`.
    pub fn split<const N: usize, const M: usize>(&self) -> ([Expr; N], [Expr; M]) {
        (array(&self.x), array(&self.u))
    }
}

/// One end of a phase.
#[derive(Debug, Clone)]
pub struct End {
    /// Time.
    pub t: Expr,
    /// States.
    pub x: Vec<Expr>,
}

/// Both ends of each phase: arguments of end costs and boundary conditions.
#[derive(Debug, Clone)]
pub struct Ends {
    /// Starts of the phases.
    pub start: Vec<End>,
    /// Ends of the phases.
    pub end: Vec<End>,
    /// Static parameters.
    pub p: Vec<Expr>,
}

/// States at the nodes of the mesh of each phase, `nodes[phase][node]`: arguments of costs at single moments, as measurements are.
pub type Nodes<'a> = &'a [Vec<End>];

/// A state, control or parameter: range, values at the ends, guess, scale.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantity {
    pub(super) name: String,
    pub(super) range: (f64, f64),
    pub(super) start: Option<(f64, f64)>,
    pub(super) end: Option<(f64, f64)>,
    pub(super) guess: Option<(f64, f64)>,
    pub(super) scale: Option<f64>,
}

/// A quantity without bounds.
pub fn quantity(name: &str) -> Quantity {
    Quantity {
        name: name.into(),
        range: (f64::NEG_INFINITY, f64::INFINITY),
        start: None,
        end: None,
        guess: None,
        scale: None,
    }
}

impl Quantity {
    /// Lower and upper bound at all times.
    #[must_use]
    pub fn range(self, lower: f64, upper: f64) -> Self {
        Self { range: (lower, upper), ..self }
    }
    /// Value of a state at the start of the phase.
    #[must_use]
    pub fn start(self, value: f64) -> Self {
        self.start_range(value, value)
    }
    /// Value of a state at the end of the phase.
    #[must_use]
    pub fn end(self, value: f64) -> Self {
        self.end_range(value, value)
    }
    /// Bounds of a state at the start of the phase.
    #[must_use]
    pub fn start_range(self, lower: f64, upper: f64) -> Self {
        Self { start: Some((lower, upper)), ..self }
    }
    /// Bounds of a state at the end of the phase.
    #[must_use]
    pub fn end_range(self, lower: f64, upper: f64) -> Self {
        Self { end: Some((lower, upper)), ..self }
    }
    /// Guess at the start and at the end of the phase, linear between; else from the values at the ends.
    #[must_use]
    pub fn guess(self, start: f64, end: f64) -> Self {
        Self { guess: Some((start, end)), ..self }
    }
    /// The size of its values, in place of the automatic one: variables of the transcribed problem are value / scale.
    #[must_use]
    pub fn scale(self, scale: f64) -> Self {
        Self { scale: Some(scale), ..self }
    }

    /// The guess at both ends.
    pub(super) fn guesses(&self) -> (f64, f64) {
        let middle = |(l, u): (f64, f64)| match (l.is_finite(), u.is_finite()) {
            (true, true) => 0.5 * (l + u),
            (true, false) => l,
            (false, true) => u,
            (false, false) => 0.0,
        };
        let at = |side: Option<(f64, f64)>, other: Option<(f64, f64)>| {
            let own = side.or(other);
            own.map_or(0.0f64.clamp(self.range.0.min(0.0), self.range.1.max(0.0)), middle)
                .clamp(self.range.0, self.range.1)
        };
        self.guess.unwrap_or_else(|| (at(self.start, self.end), at(self.end, self.start)))
    }

    /// The given scale, or a power of two near the largest of guess and end values (else of the bounds); 1 for values from 0.1 to 10.
    pub(super) fn automatic_scale(&self) -> f64 {
        if let Some(scale) = self.scale {
            return scale;
        }
        let size = |values: &[f64]| {
            values.iter().map(|v| v.abs()).filter(|v| v.is_finite() && *v < 1e19).fold(0.0, f64::max)
        };
        let (a, b) = self.guesses();
        let sides = [self.start, self.end].map(|s| s.unwrap_or((0.0, 0.0)));
        let first = size(&[a, b, sides[0].0, sides[0].1, sides[1].0, sides[1].1]);
        let size = if first > 0.0 { first } else { size(&[self.range.0, self.range.1]) };
        if size == 0.0 || (0.1..=10.0).contains(&size) { 1.0 } else { size.log2().round().exp2() }
    }

    fn validate(&self) -> Result<(), String> {
        let pairs = [Some(self.range), self.start, self.end];
        for (l, u) in pairs.into_iter().flatten() {
            if l.is_nan() || u.is_nan() || l > u {
                return Err(format!("{} has the bounds {l} and {u}", self.name));
            }
        }
        if self.guess.is_some_and(|(a, b)| !(a.is_finite() && b.is_finite())) {
            return Err(format!("the guess of {} is not finite", self.name));
        }
        if self.scale.is_some_and(|s| !(s > 0.0 && s.is_finite())) {
            return Err(format!("the scale of {} is not a positive finite number", self.name));
        }
        Ok(())
    }
}

/// When a phase starts or ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Moment {
    /// At this time.
    At(f64),
    /// Between two times, to be found.
    Free {
        /// Earliest.
        min: f64,
        /// Latest.
        max: f64,
        /// Where the solver begins.
        guess: f64,
    },
}

impl Moment {
    pub(super) fn guess(self) -> f64 {
        match self {
            Self::At(t) => t,
            Self::Free { guess, .. } => guess,
        }
    }
}

pub(super) type Functions = Arc<dyn Fn(&Point) -> Vec<Expr> + Send + Sync>;
pub(super) type Function = Arc<dyn Fn(&Point) -> Expr + Send + Sync>;
pub(super) type EndCost = Arc<dyn Fn(&Ends) -> Expr + Send + Sync>;
pub(super) type Boundary = Arc<dyn Fn(&Ends) -> Vec<Constraint> + Send + Sync>;
pub(super) type NodeCost = Arc<dyn Fn(&mut Model, Nodes<'_>) -> Expr + Send + Sync>;
/// States and controls at a fraction of the phase.
pub(super) type Curve = Arc<dyn Fn(f64) -> (Vec<f64>, Vec<f64>) + Send + Sync>;

/// A condition along a phase.
#[derive(Clone)]
pub(super) struct Path {
    pub name: String,
    pub bounds: (f64, f64),
    pub body: Function,
}

/// Where the solver begins along a phase.
#[derive(Clone, Default)]
pub(super) enum PhaseGuess {
    /// Straight lines between the guesses of the quantities.
    #[default]
    Lines,
    Curve(Curve),
    /// States by integration of the dynamics from their guesses at the start, with the guessed controls.
    Integrate,
}

/// One phase: x' = f(t, x, u, p) between two moments.
#[derive(Clone)]
pub struct Phase {
    pub(super) name: String,
    pub(super) states: Vec<Quantity>,
    pub(super) controls: Vec<Quantity>,
    pub(super) start: Moment,
    pub(super) end: Moment,
    pub(super) dynamics: Option<Functions>,
    pub(super) cost: Option<Function>,
    pub(super) paths: Vec<Path>,
    pub(super) guess: PhaseGuess,
}

impl fmt::Debug for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Phase")
            .field("name", &self.name)
            .field("states", &self.states)
            .field("controls", &self.controls)
            .field("start", &self.start)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl Phase {
    /// From time 0 to 1, without states.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            states: Vec::new(),
            controls: Vec::new(),
            start: Moment::At(0.0),
            end: Moment::At(1.0),
            dynamics: None,
            cost: None,
            paths: Vec::new(),
            guess: PhaseGuess::Lines,
        }
    }
    /// Adds a state.
    #[must_use]
    pub fn state(mut self, state: Quantity) -> Self {
        self.states.push(state);
        self
    }
    /// Adds a control.
    #[must_use]
    pub fn control(mut self, control: Quantity) -> Self {
        self.controls.push(control);
        self
    }
    /// Start and end.
    #[must_use]
    pub fn time(self, start: Moment, end: Moment) -> Self {
        Self { start, end, ..self }
    }
    /// From 0 to a final time to be found.
    #[must_use]
    pub fn free_end(self, min: f64, max: f64, guess: f64) -> Self {
        self.time(Moment::At(0.0), Moment::Free { min, max, guess })
    }
    /// x' = f: as many values as states.
    #[must_use]
    pub fn dynamics(self, f: impl Fn(&Point) -> Vec<Expr> + Send + Sync + 'static) -> Self {
        Self { dynamics: Some(Arc::new(f)), ..self }
    }
    /// The running cost L, whose integral over the phase is minimized.
    #[must_use]
    pub fn cost(self, cost: impl Fn(&Point) -> Expr + Send + Sync + 'static) -> Self {
        Self { cost: Some(Arc::new(cost)), ..self }
    }
    /// lower <= g(t, x, u, p) <= upper at the points where controls are.
    #[must_use]
    pub fn path(
        mut self,
        name: &str,
        (lower, upper): (f64, f64),
        body: impl Fn(&Point) -> Expr + Send + Sync + 'static,
    ) -> Self {
        self.paths.push(Path { name: name.into(), bounds: (lower, upper), body: Arc::new(body) });
        self
    }
    /// The guess of states and controls as functions of the fraction of the phase, from 0 to 1.
    #[must_use]
    pub fn guess(self, curve: impl Fn(f64) -> (Vec<f64>, Vec<f64>) + Send + Sync + 'static) -> Self {
        Self { guess: PhaseGuess::Curve(Arc::new(curve)), ..self }
    }
    /// The guess of the states by integration ([`crate::ode`]) from their guesses at the start, with the guessed controls.
    #[must_use]
    pub fn guess_by_integration(self) -> Self {
        Self { guess: PhaseGuess::Integrate, ..self }
    }

    fn validate(&self) -> Result<(), String> {
        if self.states.is_empty() {
            return Err(format!("the phase {} has no states", self.name));
        }
        if self.dynamics.is_none() {
            return Err(format!("the phase {} has no dynamics", self.name));
        }
        self.states.iter().chain(&self.controls).try_for_each(Quantity::validate)?;
        for path in &self.paths {
            if path.bounds.0.is_nan() || path.bounds.1.is_nan() || path.bounds.0 > path.bounds.1 {
                let (l, u) = path.bounds;
                return Err(format!("the path constraint {} has the bounds {l} and {u}", path.name));
            }
        }
        for moment in [self.start, self.end] {
            match moment {
                Moment::At(t) if !t.is_finite() => {
                    return Err(format!("the phase {} starts or ends at the time {t}", self.name));
                }
                Moment::Free { min, max, guess } if !(min <= guess && guess <= max && guess.is_finite()) => {
                    return Err(format!(
                        "a time of the phase {} is guessed as {guess}, outside {min} to {max}",
                        self.name
                    ));
                }
                _ => {}
            }
        }
        let (start, end) = (self.start.guess(), self.end.guess());
        if start >= end {
            return Err(format!("the phase {} lasts from {start} to {end}", self.name));
        }
        Ok(())
    }
}

/// An optimal control problem: minimize or maximize the end cost plus the integrals of the running costs of its phases.
#[derive(Clone)]
pub struct Problem {
    pub(super) name: String,
    pub(super) phases: Vec<Phase>,
    pub(super) parameters: Vec<Quantity>,
    pub(super) end_cost: Option<EndCost>,
    pub(super) maximize: bool,
    pub(super) boundary: Vec<Boundary>,
    pub(super) links: Vec<(usize, usize)>,
    pub(super) node_cost: Option<NodeCost>,
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Problem")
            .field("name", &self.name)
            .field("phases", &self.phases)
            .field("parameters", &self.parameters)
            .field("maximize", &self.maximize)
            .field("links", &self.links)
            .finish_non_exhaustive()
    }
}

impl Problem {
    /// Without phases.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            phases: Vec::new(),
            parameters: Vec::new(),
            end_cost: None,
            maximize: false,
            boundary: Vec::new(),
            links: Vec::new(),
            node_cost: None,
        }
    }
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Names of the states of a phase.
    pub fn state_names(&self, phase: usize) -> Vec<&str> {
        self.phases.get(phase).map_or(Vec::new(), |p| p.states.iter().map(|q| q.name.as_str()).collect())
    }
    /// Names of the controls of a phase.
    pub fn control_names(&self, phase: usize) -> Vec<&str> {
        self.phases.get(phase).map_or(Vec::new(), |p| p.controls.iter().map(|q| q.name.as_str()).collect())
    }
    /// Number of phases.
    pub fn phases(&self) -> usize {
        self.phases.len()
    }
    /// Adds a phase.
    #[must_use]
    pub fn phase(mut self, phase: Phase) -> Self {
        self.phases.push(phase);
        self
    }
    /// Adds a static parameter: a number to be found.
    #[must_use]
    pub fn parameter(mut self, parameter: Quantity) -> Self {
        self.parameters.push(parameter);
        self
    }
    /// Minimizes this function of the ends, plus the integrals of running costs.
    #[must_use]
    pub fn minimize(self, cost: impl Fn(&Ends) -> Expr + Send + Sync + 'static) -> Self {
        Self { end_cost: Some(Arc::new(cost)), maximize: false, ..self }
    }
    /// Maximizes this function of the ends, plus the integrals of running costs.
    #[must_use]
    pub fn maximize(self, gain: impl Fn(&Ends) -> Expr + Send + Sync + 'static) -> Self {
        Self { end_cost: Some(Arc::new(gain)), maximize: true, ..self }
    }
    /// Conditions on the ends.
    #[must_use]
    pub fn boundary(mut self, conditions: impl Fn(&Ends) -> Vec<Constraint> + Send + Sync + 'static) -> Self {
        self.boundary.push(Arc::new(conditions));
        self
    }
    /// The end of one phase, time and states, is the start of another one with as many states.
    #[must_use]
    pub fn link(mut self, from: usize, to: usize) -> Self {
        self.links.push((from, to));
        self
    }
    /// A further cost in the states at the nodes of the mesh, for instance of measurements there. It may make parameters of the model
    /// ([`Model::parameter`]), numbers that change between solves.
    #[must_use]
    pub fn node_cost(self, cost: impl Fn(&mut Model, Nodes<'_>) -> Expr + Send + Sync + 'static) -> Self {
        Self { node_cost: Some(Arc::new(cost)), ..self }
    }

    pub(super) fn error(&self, what: String) -> Error {
        Error::Problem { name: self.name.clone(), what }
    }

    pub(super) fn validate(&self) -> Result<(), Error> {
        let check = || {
            if self.phases.is_empty() {
                return Err("it has no phases".to_string());
            }
            self.parameters.iter().try_for_each(Quantity::validate)?;
            self.phases.iter().try_for_each(Phase::validate)?;
            for &(from, to) in &self.links {
                let states = |k: usize| self.phases.get(k).map(|p| p.states.len());
                if states(from).is_none() || states(from) != states(to) {
                    return Err(format!("the phases {from} and {to} cannot be linked"));
                }
            }
            Ok(())
        };
        check().map_err(|what| self.error(what))
    }
}
