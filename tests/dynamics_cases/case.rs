//! A case, and the ways to judge an answer.

use costate::expr::{RecordedMap, Var, record};
use costate::ode::{OdeReport, Options, RosenbrockTableau, TSIT54, solve};

/// What was seen, or what is wrong in one sentence.
pub type Right = Result<String, String>;

/// One row of the table.
pub struct Case {
    pub name: String,
    pub run: Box<dyn Fn() -> Right>,
}

impl Case {
    pub fn new(name: impl Into<String>, run: impl Fn() -> Right + 'static) -> Self {
        Self { name: name.into(), run: Box::new(run) }
    }
}

/// y' = f(t, y) from (0, y0) to t1, with the right end.
#[derive(Clone)]
pub struct Ivp {
    pub name: &'static str,
    pub f: fn(Var, &[Var], &mut [Var]),
    pub y0: Vec<f64>,
    pub t1: f64,
    /// NaN: not judged.
    pub right: Vec<f64>,
}

/// Which integrator.
#[derive(Clone, Copy)]
pub enum By {
    Stiff(&'static RosenbrockTableau),
    Auto(&'static RosenbrockTableau),
}

impl By {
    pub fn name(self) -> String {
        match self {
            By::Stiff(tab) => tab.name.to_string(),
            By::Auto(tab) => format!("auto {}", tab.name),
        }
    }
}

impl Ivp {
    pub fn field(&self) -> RecordedMap {
        let n = self.y0.len();
        record(n, 0, |t, y, _, dy| (self.f)(t, y, dy)).expect("every entry is set").into_map()
    }

    pub fn solve(&self, by: By, options: &Options) -> (OdeReport, Vec<f64>) {
        let (mut field, span) = (self.field(), (0.0, self.t1));
        let s = match by {
            By::Stiff(tab) => solve(&mut field, tab, options, span, &self.y0, &[], &[]),
            By::Auto(tab) => solve(&mut field, (&TSIT54, tab), options, span, &self.y0, &[], &[]),
        };
        let s = s.expect("valid");
        (s.report, s.y1)
    }

    /// The largest relative error of a component.
    pub fn error(&self, y: &[f64]) -> f64 {
        let judged = y.iter().zip(&self.right).filter(|(_, r)| !r.is_nan());
        judged.map(|(y, r)| (y - r).abs() / r.abs()).fold(0.0, |a, b| if b <= a { a } else { b })
    }

    /// Integrated to t1 with an error of at most `most`.
    pub fn judge(&self, by: By, options: &Options, most: f64) -> Right {
        let (report, y) = self.solve(by, options);
        if !report.ok() {
            return Err(report.message());
        }
        let seen = format!("error {:.1e} in {} steps", self.error(&y), report.counts.accepted);
        if self.error(&y) <= most { Ok(seen) } else { Err(format!("{seen}, at most {most:.0e}: {y:?}")) }
    }
}
