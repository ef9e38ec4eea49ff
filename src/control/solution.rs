//! Solutions: dense trajectories with their costates.
//!
//! The state is the collocation polynomial x(t) = x_k + h sum_j f_j int_0^tau l_j, the control the polynomial through its values at the stages.
//!
//! The costate lambda(t) is the derivative of the optimal value by the state at t, of the minimized objective. With L = f + y'c it follows from the
//! multipliers y of the defects (docs/optimal-control.md): a change of f_j by delta on an interval changes the objective by
//! h b_j lambda_j' delta, so
//!
//! ```text
//! Gauss, Radau:   lambda_j = -y_j / b_j                lambda_k+1 = -y_s+1 (Gauss), lambda_k = -sum_i (A^-1 1)_i y_i (Radau)
//! Lobatto:        lambda_j = sum_i a_ij (-y_i) / b_j inside of an interval, the derivative of its rows and cost by x_k at its ends
//! ```
//!
//! W. Hager, Runge-Kutta methods in optimal control and the transformed adjoint system, Numer. Math. 87 (2000); D. Garg et al., A unified framework for
//! the numerical solution of optimal control problems using pseudospectral methods, Automatica 46 (2010).

use super::functions::PhaseFunctions;
use super::guess::Start;
use super::mesh::Mesh;
use super::problem::{Phase, Problem};
use super::tableau::{Scheme, Tableau};
use super::transcription::{PhaseLayout, Transcription};
use crate::Error;
use crate::report::Report;

/// Values along one phase.
#[derive(Debug, Clone)]
pub struct PhaseSolution {
    start: f64,
    end: f64,
    mesh: Mesh,
    tableau: Tableau,
    /// States at the nodes, `[node][state]`.
    nodes: Vec<Vec<f64>>,
    /// States, controls, f and costates at the stages, `[interval][stage]`.
    stages: Vec<Vec<Vec<f64>>>,
    controls: Vec<Vec<Vec<f64>>>,
    rates: Vec<Vec<Vec<f64>>>,
    stage_costates: Vec<Vec<Vec<f64>>>,
    node_costates: Vec<Vec<f64>>,
    /// Estimated relative error of each interval.
    errors: Vec<f64>,
}

/// A solution of an optimal control problem.
#[derive(Debug, Clone)]
pub struct Solution {
    scheme: Scheme,
    objective: f64,
    parameters: Vec<f64>,
    phases: Vec<PhaseSolution>,
}

impl Solution {
    /// Its scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }
    /// Value of the objective, in the sense of the problem.
    pub fn objective(&self) -> f64 {
        self.objective
    }
    /// Static parameters.
    pub fn parameters(&self) -> &[f64] {
        &self.parameters
    }
    /// The phases.
    pub fn phases(&self) -> &[PhaseSolution] {
        &self.phases
    }
    /// The largest estimated error of an interval.
    pub fn error(&self) -> f64 {
        // A NaN is not small.
        let errors = self.phases.iter().flat_map(|p| &p.errors);
        errors.fold(0.0, |a: f64, e| if e.is_nan() { f64::INFINITY } else { a.max(*e) })
    }
}

impl Transcription {
    /// The problem on these meshes, from the trajectory of a solution.
    ///
    /// # Errors
    /// As [`Transcription::new`].
    pub fn from_solution(
        problem: &Problem,
        meshes: &[Mesh],
        scheme: Scheme,
        solution: &Solution,
    ) -> Result<Self, Error> {
        problem.validate()?;
        if solution.phases().len() != problem.phases.len() {
            return Err(problem.error("the solution is one of another problem".into()));
        }
        let start = |phase: &PhaseSolution| (phase.start(), phase.end());
        let times: Vec<(f64, f64)> = solution.phases().iter().map(start).collect();
        let along = |phase| -> Start<'_> {
            Box::new(move |fraction| {
                let phase: &PhaseSolution = phase;
                let t = phase.start() + fraction * (phase.end() - phase.start());
                (phase.state(t), phase.control(t))
            })
        };
        let starts: Vec<Start<'_>> = solution.phases().iter().map(along).collect();
        Self::build(problem, meshes, scheme, (&starts, &times, solution.parameters()))
    }

    /// The trajectories at the point of a report of [`Transcription::model`].
    ///
    /// # Errors
    /// [`Error::Problem`]: the report is one of another problem.
    pub fn solution(&self, report: &Report) -> Result<Solution, Error> {
        use crate::nlp::Nlp;
        let meta = self.model.meta();
        if (report.x.len(), report.y.len()) != (meta.n(), meta.m()) {
            return Err(self.problem.error("the report is one of another problem".into()));
        }
        let parameters: Vec<f64> = self.parameters.iter().map(|(v, s)| s * v.value(report)).collect();
        let mut phases = Vec::with_capacity(self.phases.len());
        for (layout, phase) in self.phases.iter().zip(&self.problem.phases) {
            let reader = Reader { transcription: self, layout, phase, report, parameters: &parameters };
            phases.push(reader.read(&self.problem)?);
        }
        Ok(Solution { scheme: self.scheme, objective: report.objective, parameters, phases })
    }
}

struct Reader<'a> {
    transcription: &'a Transcription,
    layout: &'a PhaseLayout,
    phase: &'a Phase,
    report: &'a Report,
    parameters: &'a [f64],
}

impl Reader<'_> {
    fn values(vars: &[crate::model::Var], scales: &[f64], report: &Report) -> Vec<f64> {
        vars.iter().zip(scales).map(|(v, s)| s * v.value(report)).collect()
    }

    fn read(&self, problem: &Problem) -> Result<PhaseSolution, Error> {
        let (layout, report) = (self.layout, self.report);
        let states = |vars: &Vec<_>| Self::values(vars, &layout.state_scales, report);
        let controls = |vars: &Vec<_>| Self::values(vars, &layout.control_scales, report);
        let mut s = PhaseSolution {
            start: layout.start.value(report),
            end: layout.end.value(report),
            mesh: layout.mesh.clone(),
            tableau: self.transcription.tableau.clone(),
            nodes: layout.nodes.iter().map(states).collect(),
            stages: layout.stages.iter().map(|k| k.iter().map(states).collect()).collect(),
            controls: layout.controls.iter().map(|k| k.iter().map(controls).collect()).collect(),
            rates: Vec::new(),
            stage_costates: Vec::new(),
            node_costates: Vec::new(),
            errors: Vec::new(),
        };
        let mut functions = PhaseFunctions::new(problem, self.phase)?;
        let n = self.phase.states.len();
        for k in 0..s.mesh.intervals() {
            let mut rates = Vec::with_capacity(s.tableau.stages());
            for (j, c) in s.tableau.c.iter().enumerate() {
                let (x, u) = (&s.stages[k][j], &s.controls[k][j]);
                rates.push(functions.values(s.stage_time(k, *c), x, u, self.parameters)[..n].to_vec());
            }
            s.rates.push(rates);
        }
        self.costates(&mut s, &mut functions);
        s.estimate(&mut functions, self.parameters);
        Ok(s)
    }

    /// The multipliers of the defects of interval k, by rows, in the user's units.
    fn multipliers(&self, k: usize) -> Vec<Vec<f64>> {
        let units = |(row, scale): (&crate::model::Row, &f64)| row.multiplier(self.report) / scale;
        let rows = self.layout.defects[k].iter();
        rows.map(|row| row.iter().zip(&self.layout.state_scales).map(units).collect()).collect()
    }

    fn costates(&self, s: &mut PhaseSolution, functions: &mut PhaseFunctions) {
        let n = self.phase.states.len();
        let (stages, intervals) = (s.tableau.stages(), s.mesh.intervals());
        s.node_costates = vec![vec![0.0; n]; intervals + 1];
        let Some(inverse) = s.tableau.a_inverse.clone() else {
            self.lobatto_costates(s, functions);
            return;
        };
        for k in 0..intervals {
            let y = self.multipliers(k);
            let at = |j: usize| (0..n).map(|i| -y[j][i] / s.tableau.b[j]).collect();
            s.stage_costates.push((0..stages).map(at).collect());
            // lambda_k = -dL/dx_k of the rows of the interval, which for Gauss includes the last one.
            let sums: Vec<f64> = inverse.chunks(stages).map(|row| row.iter().sum()).collect();
            let last = s.tableau.last_row().filter(|_| !s.tableau.ends_at_node());
            let direct = last.map_or(0.0, |row| 1.0 - row.iter().sum::<f64>());
            for i in 0..n {
                let through: f64 = (0..stages).map(|j| -sums[j] * y[j][i]).sum();
                s.node_costates[k][i] = through - if y.len() > stages { direct * y[stages][i] } else { 0.0 };
            }
            if k + 1 == intervals {
                s.node_costates[intervals] = match y.get(stages) {
                    Some(last) => last.iter().map(|y| -y).collect(),
                    None => self.end_costate(s, functions, &y),
                };
            }
        }
    }

    /// lambda at the end of a Radau phase: -dL/dX_s = -(A^-T y)_s + h f_x' y_s - h b_s L_x.
    fn end_costate(&self, s: &PhaseSolution, functions: &mut PhaseFunctions, y: &[Vec<f64>]) -> Vec<f64> {
        let (n, stages) = (self.phase.states.len(), s.tableau.stages());
        let k = s.mesh.intervals() - 1;
        let h = s.length(k);
        let Some(inverse) = &s.tableau.a_inverse else { return vec![f64::NAN; n] };
        let mut w: Vec<f64> = y[stages - 1].iter().map(|y| h * y).collect();
        w.push(-h * s.tableau.b[stages - 1] * self.sense());
        let mut pulled = vec![0.0; n];
        let at = (
            s.end,
            s.stages[k][stages - 1].as_slice(),
            s.controls[k][stages - 1].as_slice(),
            self.parameters,
        );
        functions.pull_states(at, &w, &mut pulled);
        for (i, out) in pulled.iter_mut().enumerate() {
            *out -= (0..stages).map(|j| inverse[j * stages + stages - 1] * y[j][i]).sum::<f64>();
        }
        pulled
    }

    /// The sign of the running cost in the minimized objective.
    fn sense(&self) -> f64 {
        if self.transcription.problem.maximize { -1.0 } else { 1.0 }
    }

    /// At the nodes: what the rows and the cost of an interval say of the state at its ends, the mean of both sides; at the middle as in the module's text.
    fn lobatto_costates(&self, s: &mut PhaseSolution, functions: &mut PhaseFunctions) {
        let n = self.phase.states.len();
        let (stages, intervals) = (s.tableau.stages(), s.mesh.intervals());
        let (a, b) = (s.tableau.a.clone(), s.tableau.b.clone());
        let mut pulled = vec![0.0; n];
        for k in 0..intervals {
            // Row i of the defects belongs to stage i + 1.
            let (y, h) = (self.multipliers(k), s.length(k));
            let through =
                |j: usize, i: usize| -(1..stages).map(|r| a[r * stages + j] * y[r - 1][i]).sum::<f64>();
            s.stage_costates
                .push((0..stages).map(|j| (0..n).map(|i| through(j, i) / b[j]).collect()).collect());
            for (node, j) in [(k, 0), (k + 1, stages - 1)] {
                // d/dX_j of y'c + h b_j L with c_i = X_i - x_k - h sum a_ij f_j; lambda is that at the start and its negative at the end.
                let mut w: Vec<f64> = (0..n).map(|i| h * through(j, i)).collect();
                w.push(h * b[j] * self.sense());
                let t = s.stage_time(k, s.tableau.c[j]);
                functions.pull_states(
                    (t, &s.stages[k][j], &s.controls[k][j], self.parameters),
                    &w,
                    &mut pulled,
                );
                let sides = if node == 0 || node == intervals { 1.0 } else { 2.0 };
                for i in 0..n {
                    let lambda = if j == 0 {
                        pulled[i] - (0..stages - 1).map(|r| y[r][i]).sum::<f64>()
                    } else {
                        -pulled[i] - y[stages - 2][i]
                    };
                    s.node_costates[node][i] += lambda / sides;
                }
            }
        }
        for k in 0..intervals {
            s.stage_costates[k][0] = s.node_costates[k].clone();
            s.stage_costates[k][stages - 1] = s.node_costates[k + 1].clone();
        }
        if stages == 3 {
            self.middle_costates(s, functions);
        }
    }
}

impl Reader<'_> {
    /// Costates in the middle of the intervals of Hermite and Simpson, whose multipliers there are of order 2 only: by Hermite's interpolation with
    /// lambda' = -f_x' lambda - L_x at the nodes, which leaves out path constraints and bounds.
    fn middle_costates(&self, s: &mut PhaseSolution, functions: &mut PhaseFunctions) {
        let n = self.phase.states.len();
        let mut slopes = vec![vec![0.0; n]; 2];
        for k in 0..s.mesh.intervals() {
            for (slope, j) in slopes.iter_mut().zip([0, 2]) {
                let mut w = s.node_costates[k + j / 2].clone();
                w.push(self.sense());
                let t = s.stage_time(k, s.tableau.c[j]);
                functions.pull_states((t, &s.stages[k][j], &s.controls[k][j], self.parameters), &w, slope);
            }
            let h = s.length(k);
            for (i, (first, last)) in slopes[0].iter().zip(&slopes[1]).enumerate() {
                let mean = 0.5 * (s.node_costates[k][i] + s.node_costates[k + 1][i]);
                s.stage_costates[k][1][i] = mean - h / 8.0 * (first - last);
            }
        }
    }
}

/// Nodes and weights of the four-point rule of Gauss on [0, 1].
const QUADRATURE: [(f64, f64); 4] = [
    (0.06943184420297371, 0.17392742256872692),
    (0.33000947820757187, 0.32607257743127307),
    (0.6699905217924281, 0.32607257743127307),
    (0.9305681557970262, 0.17392742256872692),
];

impl PhaseSolution {
    /// Start time.
    pub fn start(&self) -> f64 {
        self.start
    }
    /// End time.
    pub fn end(&self) -> f64 {
        self.end
    }
    /// Its mesh.
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }
    /// Times of the nodes.
    pub fn times(&self) -> Vec<f64> {
        self.mesh.points().iter().map(|p| self.start + p * (self.end - self.start)).collect()
    }
    /// States at the nodes, `[node][state]`.
    pub fn node_states(&self) -> &[Vec<f64>] {
        &self.nodes
    }
    /// Costates at the nodes, `[node][state]`: derivatives of the minimized objective by the states there.
    pub fn node_costates(&self) -> &[Vec<f64>] {
        &self.node_costates
    }
    /// Estimated relative error of each interval: the integral of |x' - f| over 1 + the largest size of the state.
    pub fn errors(&self) -> &[f64] {
        &self.errors
    }
    /// Controls at the stages, `[interval][stage][control]`.
    pub fn stage_controls(&self) -> &[Vec<Vec<f64>>] {
        &self.controls
    }

    fn length(&self, k: usize) -> f64 {
        (self.mesh.points()[k + 1] - self.mesh.points()[k]) * (self.end - self.start)
    }
    fn stage_time(&self, k: usize, c: f64) -> f64 {
        let (a, b) = (self.mesh.points()[k], self.mesh.points()[k + 1]);
        self.start + (a + c * (b - a)) * (self.end - self.start)
    }
    fn locate(&self, t: f64) -> (usize, f64) {
        let fraction = (t - self.start) / (self.end - self.start);
        self.mesh.locate(if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) })
    }

    /// States at a time; outside of the phase those of its nearer end.
    pub fn state(&self, t: f64) -> Vec<f64> {
        let (k, tau) = self.locate(t);
        self.state_in(k, tau)
    }
    fn state_in(&self, k: usize, tau: f64) -> Vec<f64> {
        let h = self.length(k);
        let mut x = self.nodes[k].clone();
        for (j, f) in self.rates[k].iter().enumerate() {
            let weight = h * self.tableau.integral(j, tau);
            x.iter_mut().zip(f).for_each(|(x, f)| *x += weight * f);
        }
        x
    }
    /// Controls at a time.
    pub fn control(&self, t: f64) -> Vec<f64> {
        let (k, tau) = self.locate(t);
        self.interpolate(&self.controls[k], tau)
    }
    /// Costates at a time, by the polynomial through those at the stages.
    pub fn costate(&self, t: f64) -> Vec<f64> {
        let (k, tau) = self.locate(t);
        self.interpolate(&self.stage_costates[k], tau)
    }
    fn interpolate(&self, values: &[Vec<f64>], tau: f64) -> Vec<f64> {
        let mut sum = vec![0.0; values[0].len()];
        for (j, v) in values.iter().enumerate() {
            let weight = self.tableau.lagrange(j, tau);
            sum.iter_mut().zip(v).for_each(|(s, v)| *s += weight * v);
        }
        sum
    }

    /// eta_k = max_i int |x_i' - f_i| dt / (1 + max |x_i|), by eight points in each interval (Betts, section 4.7).
    fn estimate(&mut self, functions: &mut PhaseFunctions, parameters: &[f64]) {
        let n = self.nodes[0].len();
        let size = |i: usize| self.nodes.iter().fold(1.0, |w, x| f64::max(w, 1.0 + x[i].abs()));
        let sizes: Vec<f64> = (0..n).map(size).collect();
        let mut errors = Vec::with_capacity(self.mesh.intervals());
        for k in 0..self.mesh.intervals() {
            let h = self.length(k);
            let mut integral = vec![0.0; n];
            for (tau, weight) in
                QUADRATURE.iter().flat_map(|(c, w)| [(c / 2.0, w / 2.0), (0.5 + c / 2.0, w / 2.0)])
            {
                let (x, u) = (self.state_in(k, tau), self.interpolate(&self.controls[k], tau));
                let slope = self.interpolate(&self.rates[k], tau);
                let f = functions.values(self.stage_time(k, tau), &x, &u, parameters);
                for i in 0..n {
                    integral[i] += h * weight * (slope[i] - f[i]).abs();
                }
            }
            let relative = integral.iter().zip(&sizes).map(|(e, w)| e / w);
            errors.push(relative.fold(0.0, |a, e| if e.is_nan() { f64::INFINITY } else { f64::max(a, e) }));
        }
        self.errors = errors;
    }
}
