//! What is right: every test of an answer is here, so that a change of the statuses changes one file.
//!
//! Violations and objectives are computed from the problem's own functions, never read from the report.

use std::sync::atomic::Ordering::Relaxed;

use costate::nlp::{ClosureProblem, Nlp};
use costate::observe::Silent;
use costate::opt::{Options, solve};
use costate::report::SecondOrder;
use costate::{PointKind, Report};

use crate::case::Case;

/// Nothing, or what is wrong in one sentence.
pub type Right = Result<(), String>;

/// Of an objective, relative to 1 + |f|.
const ACCURACY: f64 = 1e-6;
/// Of constraints, where their size does not forbid it: a hundred times the tolerance of the solver.
const FEASIBLE: f64 = 1e-6;
/// Rounding of a row, in units of the size of its terms.
const ROUNDING: f64 = 10.0 * f64::EPSILON;

/// A solved case.
pub struct Run {
    pub problem: ClosureProblem<'static>,
    pub report: Report,
    pub options: Options,
    /// A function was called outside the bounds.
    pub outside: bool,
}

fn fail<T>(what: impl Into<String>) -> Result<T, String> {
    Err(what.into())
}

fn require(ok: bool, what: impl FnOnce() -> String) -> Right {
    if ok { Ok(()) } else { fail(what()) }
}

impl Run {
    pub fn of(case: &Case) -> Result<Self, String> {
        let (mut problem, outside) = (case.build)();
        let report = solve(&mut problem, &case.options, &mut Silent).map_err(|e| e.to_string())?;
        Ok(Self { problem, report, options: case.options.clone(), outside: outside.load(Relaxed) })
    }

    /// f and c at the answer.
    fn values(&mut self) -> Result<(f64, Vec<f64>), String> {
        let mut c = vec![0.0; self.problem.meta().m()];
        let x = self.report.x.clone();
        self.problem.cons(&x, &mut c).map_err(|e| e.to_string())?;
        Ok((self.problem.obj(&x).map_err(|e| e.to_string())?, c))
    }

    /// Largest violation of a bound.
    pub fn bound_violation(&self) -> f64 {
        let (meta, x) = (self.problem.meta(), &self.report.x);
        (0..x.len()).map(|j| outside(x[j], meta.x_lower[j], meta.x_upper[j])).fold(0.0, f64::max)
    }

    /// Violations of the rows.
    fn row_violations(&mut self) -> Result<Vec<f64>, String> {
        let (_, c) = self.values()?;
        let meta = self.problem.meta();
        Ok(c.iter().enumerate().map(|(i, c)| outside(*c, meta.c_lower[i], meta.c_upper[i])).collect())
    }

    /// Largest violation of a row or bound.
    pub fn violation(&mut self) -> Result<f64, String> {
        let bounds = self.bound_violation();
        Ok(self.row_violations()?.into_iter().fold(bounds, f64::max))
    }

    /// Size of the terms of each row: |J| |x| and its side.
    fn row_sizes(&mut self) -> Result<Vec<f64>, String> {
        let x = self.report.x.clone();
        let meta = self.problem.meta().clone();
        let Some(pattern) = &meta.jacobian else { return Ok(vec![0.0; meta.m()]) };
        let mut values = vec![0.0; pattern.len()];
        self.problem.jac_values(&x, &mut values).map_err(|e| e.to_string())?;
        let finite = |side: f64| if side.abs() < 1e20 { side.abs() } else { 0.0 };
        let mut sizes: Vec<f64> =
            (0..meta.m()).map(|i| finite(meta.c_lower[i]).max(finite(meta.c_upper[i]))).collect();
        for ((&i, &j), v) in pattern.rows.iter().zip(&pattern.cols).zip(values) {
            sizes[i] += (v * x[j]).abs();
        }
        Ok(sizes)
    }

    /// Bounds hold, and rows as well as their size allows.
    pub fn feasible(&mut self) -> Right {
        let sizes = self.row_sizes()?;
        for (i, v) in self.row_violations()?.into_iter().enumerate() {
            require(v <= FEASIBLE.max(ROUNDING * sizes[i]), || format!("row {i} is violated by {v:.2e}"))?;
        }
        let bound = self.bound_violation();
        require(bound == 0.0, || format!("a bound is violated by {bound:.2e}"))
    }

    /// The solver says that the point is right: within tolerance, or as well as rounding allows.
    pub fn says_solved(&self) -> bool {
        matches!(self.report.stop.as_str(), "converged" | "converged_to_rounding")
    }

    /// Solved and feasible, with this objective to a relative accuracy.
    pub fn optimum_to(&mut self, known: &[f64], accuracy: f64) -> Right {
        let (f, _) = self.values()?;
        let near = known.iter().any(|k| (f - k).abs() <= accuracy * (1.0 + k.abs()));
        require(self.says_solved() && near, || {
            format!("{}: f = {f:.12}, right is {known:?}", self.report.stop.as_str())
        })?;
        self.feasible()
    }

    /// Solved and feasible, with this objective.
    pub fn optimum(&mut self, f: f64) -> Right {
        self.optimum_to(&[f], ACCURACY)
    }

    /// One of several local minima.
    pub fn one_of(&mut self, known: &[f64]) -> Right {
        self.optimum_to(known, ACCURACY)
    }

    /// The point, each entry relative to its size.
    pub fn near(&self, x: &[f64], accuracy: f64) -> Right {
        let near = |(a, b): (&f64, &f64)| (a - b).abs() <= accuracy * b.abs();
        require(self.report.x.iter().zip(x).all(near), || {
            format!("x = {:?}, right is {x:?}", first_few(&self.report.x))
        })
    }

    /// The point, each entry to an absolute accuracy.
    pub fn within(&self, x: &[f64], accuracy: f64) -> Right {
        let near = |(a, b): (&f64, &f64)| (a - b).abs() <= accuracy;
        require(self.report.x.iter().zip(x).all(near), || {
            format!("x = {:?}, right is {x:?}", first_few(&self.report.x))
        })
    }

    /// The least violation is not zero, and this is where it is.
    pub fn infeasible(&mut self, x: &[f64], accuracy: f64) -> Right {
        require(self.report.stop.as_str() == "locally_infeasible", || {
            format!("{} instead of infeasible", self.report.stop.as_str())
        })?;
        let violation = self.violation()?;
        require(violation > 0.5 * self.options.tolerance, || format!("violation {violation:.2e}"))?;
        self.within(x, accuracy)
    }

    /// A least-squares solution of the rows with this sum of squares.
    pub fn least_squares(&mut self, squares: f64) -> Right {
        let stop = self.report.stop.as_str();
        require(matches!(stop, "locally_infeasible" | "least_squares"), || {
            format!("{stop} instead of least squares")
        })?;
        let found: f64 = self.row_violations()?.iter().map(|v| v * v).sum();
        require((found - squares).abs() <= 1e-7 * (1e-3 + squares), || {
            format!("sum of squares {found:.12}, right is {squares:.12}")
        })
    }

    /// A fit: least squares, and no word of infeasibility.
    pub fn fit(&mut self, squares: f64) -> Right {
        self.least_squares(squares)?;
        let words = self.words();
        require(words.contains("least_squares"), || "not called least squares".into())?;
        require(!words.contains("feasib"), || format!("speaks of infeasibility: {}", self.report.message))
    }

    /// Unbounded below, and the point is feasible.
    pub fn unbounded(&mut self) -> Right {
        let stop = self.report.stop.as_str();
        require(stop == "unbounded", || format!("{stop} instead of unbounded"))?;
        require(self.report.point == PointKind::Feasible, || {
            format!("unbounded, and the point is {}", self.report.point.as_str())
        })?;
        self.feasible()
    }

    /// All text of the report in lower case: statuses, the message, remarks.
    fn words(&self) -> String {
        fn strings(value: &serde_json::Value, out: &mut String) {
            match value {
                serde_json::Value::String(s) => {
                    out.push_str(&s.to_lowercase());
                    out.push('\n');
                }
                serde_json::Value::Array(a) => a.iter().for_each(|v| strings(v, out)),
                serde_json::Value::Object(o) => o.values().for_each(|v| strings(v, out)),
                _ => {}
            }
        }
        let mut out = String::new();
        strings(&serde_json::to_value(&self.report).expect("a report is JSON"), &mut out);
        out
    }

    /// The report has one of these words.
    pub fn says(&self, words: &[&str]) -> bool {
        let text = self.words();
        words.iter().any(|w| text.contains(w))
    }

    pub fn must_say(&self, words: &[&str]) -> Right {
        require(self.says(words), || format!("{} does not say {}", self.report.message, words.join(" or ")))
    }

    /// No multiplier exists here, and the report says so; it does not call the point a minimum.
    pub fn degenerate(&mut self, f: f64, x: &[f64], accuracy: f64) -> Right {
        let stop = self.report.stop.as_str();
        require(!matches!(stop, "unbounded" | "locally_infeasible" | "max_iterations"), || stop.to_string())?;
        let (found, _) = self.values()?;
        require((found - f).abs() <= accuracy, || format!("f = {found}, right is {f}"))?;
        self.within(x, accuracy)?;
        self.feasible()?;
        self.must_say(&["degenerate", "no constraint qualification"])?;
        self.not_called_minimum()
    }

    pub fn not_called_minimum(&self) -> Right {
        require(self.report.second_order != Some(SecondOrder::Minimum), || {
            format!("called a minimum at {:?}", first_few(&self.report.x))
        })
    }

    pub fn iterations_at_most(&self, most: u64) -> Right {
        require(self.report.iterations <= most, || format!("{} iterations", self.report.iterations))
    }

    /// What must hold for every report: the reason to stop, the kind of point and the numbers do not contradict each other.
    pub fn consistent(&mut self) -> Right {
        let (stop, point) = (self.report.stop.as_str(), self.report.point);
        let contradiction = |what: String| fail(format!("{stop} with point {}: {what}", point.as_str()));
        if stop == "start_not_finite" {
            return Ok(());
        }
        let sizes = self.row_sizes()?;
        let over = |v: &[f64]| v.iter().zip(&sizes).any(|(v, s)| *v > FEASIBLE.max(ROUNDING * s));
        let violations = self.row_violations()?;
        let violated = over(&violations) || self.bound_violation() > 0.0;
        match point {
            PointKind::Kkt | PointKind::Feasible if violated => contradiction("it is violated".into()),
            PointKind::Infeasible if violations.iter().all(|v| *v <= self.options.tolerance) => {
                contradiction("it is feasible".into())
            }
            _ if self.says_solved() && self.report.complementarity > 1e-3 => {
                contradiction(format!("complementarity {:.1e}", self.report.complementarity))
            }
            _ if stop == "unbounded" && point != PointKind::Feasible => {
                contradiction("unbounded needs a feasible point".into())
            }
            _ => Ok(()),
        }
    }
}

fn outside(v: f64, lower: f64, upper: f64) -> f64 {
    if v.is_nan() { f64::INFINITY } else { (lower - v).max(v - upper).max(0.0) }
}

fn first_few(x: &[f64]) -> &[f64] {
    &x[..x.len().min(6)]
}
