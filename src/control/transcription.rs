//! From the problem and a mesh to a nonlinear program.
//!
//! On interval k of a phase of duration T, with h = T dsigma_k, stages X_i and f_i = f(t_i, X_i, U_i, p), the defects are linear but for one term per row,
//!
//! ```text
//! Gauss, Radau:      sum_j (A^-1)_ij (X_j - x_k) - h f_i = 0       and for Gauss   x_k+1 - x_k - sum_j (b' A^-1)_j (X_j - x_k) = 0
//! Lobatto:           X_i - x_k - h sum_j a_ij f_j = 0,   i >= 2
//! ```
//!
//! Variables are value / scale, defects of a state are divided by its scale too.

use super::functions::dynamics;
use super::guess::{self, Start};
use super::mesh::Mesh;
use super::problem::{End, Ends, Moment, Phase, Point, Problem, Quantity};
use super::tableau::{Scheme, Tableau};
use crate::Error;
use crate::model::{Constraint, Expr, Expression, Model, Row, Var, VariableDefinition, variable};
use crate::nl::{NlFile, NlFormat};
use crate::report::Report;

/// A time of a phase: a constant or a variable with its scale.
#[derive(Debug, Clone, Copy)]
pub(super) enum TimeVariable {
    Constant(f64),
    Variable(Var, f64),
}

impl TimeVariable {
    fn expr(self) -> Expr {
        match self {
            Self::Constant(t) => Expr::from(t),
            Self::Variable(v, scale) => scaled(v, scale),
        }
    }
    pub fn value(self, report: &Report) -> f64 {
        match self {
            Self::Constant(t) => t,
            Self::Variable(v, scale) => scale * v.value(report),
        }
    }
}

/// Where the parts of a phase are in the nonlinear program.
#[derive(Debug, Clone)]
pub(super) struct PhaseLayout {
    pub start: TimeVariable,
    pub end: TimeVariable,
    pub mesh: Mesh,
    /// Variables of the states at the nodes.
    pub nodes: Vec<Vec<Var>>,
    /// Variables of the states at the stages of each interval, `[interval][stage][state]`; a stage at a node has the node's.
    pub stages: Vec<Vec<Vec<Var>>>,
    /// Variables of the controls, likewise.
    pub controls: Vec<Vec<Vec<Var>>>,
    /// Rows of the defects, `[interval][row][state]`.
    pub defects: Vec<Vec<Vec<Row>>>,
    pub state_scales: Vec<f64>,
    pub control_scales: Vec<f64>,
}

/// A transcribed problem.
#[derive(Debug)]
pub struct Transcription {
    /// The nonlinear program, to be solved by [`crate::opt`].
    pub model: Model,
    pub(super) problem: Problem,
    pub(super) scheme: Scheme,
    pub(super) tableau: Tableau,
    pub(super) phases: Vec<PhaseLayout>,
    pub(super) parameters: Vec<(Var, f64)>,
}

fn scaled(v: Var, scale: f64) -> Expr {
    if scale == 1.0 { Expr::from(v) } else { scale * v }
}

/// A variable of this quantity at a place with these bounds besides the quantity's.
fn define(q: &Quantity, scale: f64, at: Option<(f64, f64)>, start: f64) -> VariableDefinition {
    let (mut l, mut u) = q.range;
    if let Some((lower, upper)) = at {
        (l, u) = (l.max(lower), u.min(upper));
    }
    let start = if l <= u { start.clamp(l, u) } else { start };
    variable().min(l / scale).max(u / scale).start(start / scale)
}

impl Transcription {
    /// The problem on these meshes, one per phase, from its own guess.
    ///
    /// # Errors
    /// [`Error::Problem`]: parts of the problem contradict each other, or its guess cannot be made; [`Error::Option`]: an unknown scheme.
    pub fn new(problem: &Problem, meshes: &[Mesh], scheme: Scheme) -> Result<Self, Error> {
        problem.validate()?;
        let starts: Vec<Start<'_>> =
            problem.phases.iter().map(|phase| guess::given(problem, phase)).collect::<Result<_, _>>()?;
        let times: Vec<(f64, f64)> =
            problem.phases.iter().map(|p| (p.start.guess(), p.end.guess())).collect();
        let parameters: Vec<f64> = problem.parameters.iter().map(|q| q.guesses().0).collect();
        Self::build(problem, meshes, scheme, (&starts, &times, &parameters))
    }

    pub(super) fn build(
        problem: &Problem,
        meshes: &[Mesh],
        scheme: Scheme,
        (starts, times, parameters): (&[Start<'_>], &[(f64, f64)], &[f64]),
    ) -> Result<Self, Error> {
        let tableau = scheme.tableau()?;
        if meshes.len() != problem.phases.len() {
            let what = format!("found {} meshes for {} phases", meshes.len(), problem.phases.len());
            return Err(problem.error(what));
        }
        let mut model = Model::new(&problem.name);
        let mut parameter_vars = Vec::new();
        for (q, value) in problem.parameters.iter().zip(parameters) {
            let scale = q.automatic_scale();
            let v = model.add(define(q, scale, None, *value).name(q.name.clone()));
            parameter_vars.push((v, scale));
        }
        let p: Vec<Expr> = parameter_vars.iter().map(|&(v, scale)| scaled(v, scale)).collect();
        let mut ends = Ends { start: Vec::new(), end: Vec::new(), p: p.clone() };
        let (mut phases, mut nodes, mut cost) = (Vec::new(), Vec::new(), Vec::new());
        for (k, phase) in problem.phases.iter().enumerate() {
            let prefix = if problem.phases.len() > 1 { format!("{}.", phase.name) } else { String::new() };
            let parts = PhaseBuilder {
                problem,
                phase,
                tableau: &tableau,
                model: &mut model,
                mesh: &meshes[k],
                start: &starts[k],
                times: times[k],
                p: &p,
                prefix,
            };
            let built = parts.build()?;
            ends.start.push(built.nodes[0].clone());
            ends.end.push(built.nodes[built.nodes.len() - 1].clone());
            cost.push(built.cost);
            nodes.push(built.nodes);
            phases.push(built.layout);
        }
        cost.extend(problem.end_cost.iter().map(|f| f(&ends)));
        cost.extend(problem.node_cost.iter().map(|f| f(&mut model, &nodes)));
        let objective: Expr = cost.into_iter().sum();
        if problem.maximize {
            model.maximize(objective)
        } else {
            model.minimize(objective)
        }
        for condition in problem.boundary.iter().flat_map(|f| f(&ends)) {
            model.subject_to(condition);
        }
        for &(from, to) in &problem.links {
            link(&mut model, problem, (from, &phases[from]), (to, &phases[to]));
        }
        Ok(Self { model, problem: problem.clone(), scheme, tableau, phases, parameters: parameter_vars })
    }

    /// Its scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }
    /// The meshes of the phases.
    pub fn meshes(&self) -> Vec<Mesh> {
        self.phases.iter().map(|p| p.mesh.clone()).collect()
    }
    /// Variables of the states at the nodes of a phase, `[node][state]`, and their scales: value = scale x variable.
    pub fn node_variables(&self, phase: usize) -> Option<(&[Vec<Var>], &[f64])> {
        self.phases.get(phase).map(|p| (p.nodes.as_slice(), p.state_scales.as_slice()))
    }
    /// Variables of the controls of a phase, `[interval][stage][control]`, and their scales.
    #[allow(clippy::type_complexity)]
    pub fn control_variables(&self, phase: usize) -> Option<(&[Vec<Vec<Var>>], &[f64])> {
        self.phases.get(phase).map(|p| (p.controls.as_slice(), p.control_scales.as_slice()))
    }
    /// The nonlinear program as an .nl file for other solvers.
    ///
    /// # Errors
    /// Those of [`crate::nl::write`].
    pub fn nl(&self) -> Result<NlFile, Error> {
        self.model.check()?;
        crate::nl::write(&self.model, NlFormat::Text)
    }
}

/// The end of one phase is the start of another one.
fn link(
    model: &mut Model,
    problem: &Problem,
    (i, from): (usize, &PhaseLayout),
    (j, to): (usize, &PhaseLayout),
) {
    let name = |what: &str| format!("link[{},{}].{what}", problem.phases[i].name, problem.phases[j].name);
    let last = &from.nodes[from.nodes.len() - 1];
    for (k, (a, b)) in last.iter().zip(&to.nodes[0]).enumerate() {
        let scale = from.state_scales[k];
        let other = to.state_scales[k] / scale;
        let row = Expr::from(a) - scaled(*b, other);
        model.subject_to(row.eq(0).named(name(&problem.phases[i].states[k].name)));
    }
    if !matches!((from.end, to.start), (TimeVariable::Constant(_), TimeVariable::Constant(_))) {
        model.subject_to((from.end.expr() - to.start.expr()).eq(0).named(name("time")));
    }
}

/// What a phase makes.
struct Built {
    layout: PhaseLayout,
    nodes: Vec<End>,
    cost: Expr,
}

/// The functions at one point.
#[derive(Clone)]
struct Evaluated {
    /// T f, one per state.
    rates: Vec<Expr>,
    /// L; none without running cost.
    cost: Option<Expr>,
    controls: Vec<Var>,
}

struct PhaseBuilder<'a> {
    problem: &'a Problem,
    phase: &'a Phase,
    tableau: &'a Tableau,
    model: &'a mut Model,
    mesh: &'a Mesh,
    start: &'a Start<'a>,
    times: (f64, f64),
    p: &'a [Expr],
    prefix: String,
}

impl PhaseBuilder<'_> {
    fn time(&mut self, moment: Moment, guess: f64, name: &str) -> TimeVariable {
        match moment {
            Moment::At(t) => TimeVariable::Constant(t),
            Moment::Free { min, max, guess: first } => {
                let q = super::problem::quantity(name).range(min, max).guess(first, first);
                let scale = q.automatic_scale();
                let definition = define(&q, scale, None, guess).name(format!("{}{name}", self.prefix));
                TimeVariable::Variable(self.model.add(definition), scale)
            }
        }
    }

    fn states(&mut self, scales: &[f64], place: &str, fraction: f64) -> Vec<Var> {
        let (x, _) = (self.start)(fraction);
        let mut vars = Vec::with_capacity(x.len());
        for ((q, scale), x) in self.phase.states.iter().zip(scales).zip(x) {
            let at = match fraction {
                0.0 => q.start,
                1.0 => q.end,
                _ => None,
            };
            let name = format!("{}{}[{place}]", self.prefix, q.name);
            vars.push(self.model.add(define(q, *scale, at, x).name(name)));
        }
        vars
    }

    /// Controls, rates, cost and path constraints at one point.
    fn evaluate(
        &mut self,
        t: &(Expr, Expr),
        x: &[Expr],
        (scales, place, fraction): (&[f64], &str, f64),
    ) -> Result<Evaluated, Error> {
        let (_, guess) = (self.start)(fraction);
        let mut controls = Vec::with_capacity(guess.len());
        for ((q, scale), u) in self.phase.controls.iter().zip(scales).zip(guess) {
            let at = match fraction {
                0.0 => q.start,
                1.0 => q.end,
                _ => None,
            };
            let name = format!("{}{}[{place}]", self.prefix, q.name);
            controls.push(self.model.add(define(q, *scale, at, u).name(name)));
        }
        let (start, duration) = t;
        let time = match (self.phase.start, self.phase.end) {
            (Moment::At(a), Moment::At(b)) => Expr::from(a + fraction * (b - a)),
            _ => start + fraction * duration,
        };
        let point = Point {
            t: time,
            x: x.to_vec(),
            u: controls.iter().zip(scales).map(|(v, s)| scaled(*v, *s)).collect(),
            p: self.p.to_vec(),
        };
        let f = dynamics(self.problem, self.phase, &point)?;
        let constant = self.constant_duration();
        let rates = f
            .into_iter()
            .zip(&self.phase.states)
            .map(|(f, _)| if constant.is_some() { f } else { duration * f })
            .collect();
        let cost = self.phase.cost.as_ref().map(|cost| cost(&point));
        let cost = cost.map(|l| if constant.is_some() { l } else { duration * l });
        for path in &self.phase.paths {
            let body = (path.body)(&point);
            let name = format!("{}{}[{place}]", self.prefix, path.name);
            self.model.subject_to(body.between(path.bounds.0, path.bounds.1).named(name));
        }
        Ok(Evaluated { rates, cost, controls })
    }

    fn constant_duration(&self) -> Option<f64> {
        match (self.phase.start, self.phase.end) {
            (Moment::At(a), Moment::At(b)) => Some(b - a),
            _ => None,
        }
    }

    fn build(mut self) -> Result<Built, Error> {
        let state_scales: Vec<f64> = self.phase.states.iter().map(Quantity::automatic_scale).collect();
        let control_scales: Vec<f64> = self.phase.controls.iter().map(Quantity::automatic_scale).collect();
        let start = self.time(self.phase.start, self.times.0, "t0");
        let end = self.time(self.phase.end, self.times.1, "tf");
        let begin = match start {
            TimeVariable::Constant(t) if t != 0.0 => Expr::from(t),
            TimeVariable::Constant(_) => Expr::from(0.0),
            TimeVariable::Variable(..) => start.expr(),
        };
        let duration = match start {
            TimeVariable::Constant(0.0) => end.expr(),
            _ => end.expr() - start.expr(),
        };
        if matches!(start, TimeVariable::Variable(..)) {
            // A phase does not run backwards.
            self.model.subject_to((&duration).ge(0).named(format!("{}duration", self.prefix)));
        }
        let mut layout = PhaseLayout {
            start,
            end,
            mesh: self.mesh.clone(),
            nodes: Vec::new(),
            stages: Vec::new(),
            controls: Vec::new(),
            defects: Vec::new(),
            state_scales,
            control_scales,
        };
        let cost = self.intervals(&mut layout, &(begin, duration))?;
        let time = |fraction: f64| match (self.phase.start, self.phase.end) {
            (Moment::At(a), Moment::At(b)) => Expr::from(a + fraction * (b - a)),
            _ if fraction == 0.0 => start.expr(),
            _ if fraction == 1.0 => end.expr(),
            _ => start.expr() + fraction * (end.expr() - start.expr()),
        };
        let nodes = layout
            .nodes
            .iter()
            .zip(self.mesh.points())
            .map(|(vars, fraction)| End {
                t: time(*fraction),
                x: vars.iter().zip(&layout.state_scales).map(|(v, s)| scaled(*v, *s)).collect(),
            })
            .collect();
        Ok(Built { layout, nodes, cost })
    }

    /// Variables and defects of all intervals, in the order of time; the integral of the running cost.
    fn intervals(&mut self, layout: &mut PhaseLayout, t: &(Expr, Expr)) -> Result<Expr, Error> {
        let (tableau, mesh) = (self.tableau, self.mesh);
        let (s, n) = (tableau.stages(), mesh.intervals());
        let state_scales = layout.state_scales.clone();
        let control_scales = layout.control_scales.clone();
        let exprs = |vars: &[Var]| -> Vec<Expr> {
            vars.iter().zip(&state_scales).map(|(v, s)| scaled(*v, *s)).collect()
        };
        let duration = self.constant_duration().unwrap_or(1.0);
        let mut costs: Vec<Expr> = Vec::new();
        layout.nodes.push(self.states(&state_scales, "0", 0.0));
        let mut last: Option<Evaluated> = None;
        if tableau.starts_at_node() {
            let x = exprs(&layout.nodes[0]);
            last = Some(self.evaluate(t, &x, (&control_scales, "0", 0.0))?);
        }
        for k in 0..n {
            let (a, b) = (mesh.points()[k], mesh.points()[k + 1]);
            let h = (b - a) * duration;
            let (mut stages, mut points) = (Vec::new(), Vec::new());
            for (j, c) in tableau.c.iter().enumerate() {
                if *c == 0.0 {
                    stages.push(layout.nodes[k].clone());
                    points.extend(last.take());
                    continue;
                }
                let at_node = *c == 1.0;
                let fraction = if at_node { b } else { a + c * (b - a) };
                let place = if at_node { format!("{}", k + 1) } else { format!("{k}.{}", j + 1) };
                let vars = self.states(&state_scales, &place, fraction);
                if at_node {
                    layout.nodes.push(vars.clone());
                }
                points.push(self.evaluate(t, &exprs(&vars), (&control_scales, &place, fraction))?);
                stages.push(vars);
            }
            if !tableau.ends_at_node() {
                let vars = self.states(&state_scales, &format!("{}", k + 1), b);
                layout.nodes.push(vars);
            }
            let place = Interval { k, h, stages: &stages, points: &points };
            let rows = self.defects(layout, &place);
            layout.defects.push(rows);
            for (point, b) in points.iter().take(s).zip(&tableau.b) {
                costs.extend(point.cost.as_ref().map(|l| (h * b) * l));
            }
            if tableau.starts_at_node() {
                last = points.last().cloned();
            }
            layout.controls.push(points.into_iter().map(|p| p.controls).collect());
            layout.stages.push(stages);
        }
        Ok(costs.into_iter().sum())
    }

    fn defects(&mut self, layout: &PhaseLayout, at: &Interval<'_>) -> Vec<Vec<Row>> {
        let tableau = self.tableau;
        let s = tableau.stages();
        let (first, next) = (&layout.nodes[at.k], &layout.nodes[at.k + 1]);
        let mut rows = Vec::new();
        let mut row =
            |model: &mut Model, phase: &Phase, prefix: &str, i: usize, body: &dyn Fn(usize) -> Constraint| {
                let names = phase.states.iter().map(|q| &q.name).enumerate();
                rows.push(
                    names
                        .map(|(state, name)| {
                            model
                                .subject_to(body(state).named(format!("{prefix}defect.{name}[{},{i}]", at.k)))
                        })
                        .collect(),
                );
            };
        let sum = |terms: Vec<Expr>| terms.into_iter().sum::<Expr>().eq(0);
        for i in 0..s {
            let body: Box<dyn Fn(usize) -> Constraint> = match &tableau.a_inverse {
                Some(inverse) => Box::new(move |state| {
                    let d = &inverse[i * s..(i + 1) * s];
                    let mut terms: Vec<Expr> = (0..s).map(|j| d[j] * at.stages[j][state]).collect();
                    terms.push(-d.iter().sum::<f64>() * first[state]);
                    terms.push((-at.h / layout.state_scales[state]) * &at.points[i].rates[state]);
                    sum(terms)
                }),
                None if i == 0 => continue,
                None => Box::new(move |state| {
                    let mut terms = vec![Expr::from(at.stages[i][state]), -Expr::from(first[state])];
                    for j in 0..s {
                        let weight = -at.h * tableau.a[i * s + j] / layout.state_scales[state];
                        terms.push(weight * &at.points[j].rates[state]);
                    }
                    sum(terms)
                }),
            };
            row(self.model, self.phase, &self.prefix, i, &*body);
        }
        if let (false, Some(last)) = (tableau.ends_at_node(), tableau.last_row()) {
            row(self.model, self.phase, &self.prefix, s, &|state| {
                let mut terms: Vec<Expr> = (0..s).map(|j| -last[j] * at.stages[j][state]).collect();
                terms.push((last.iter().sum::<f64>() - 1.0) * first[state]);
                terms.push(Expr::from(next[state]));
                sum(terms)
            });
        }
        rows
    }
}

/// One interval under way.
struct Interval<'a> {
    k: usize,
    /// Its length, over T where T is a variable.
    h: f64,
    stages: &'a [Vec<Var>],
    points: &'a [Evaluated],
}
