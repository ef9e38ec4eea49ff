//! A case: a problem written as formulas, and what is right about the answer.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use costate::nlp::{ClosureProblem, Problem};
use costate::opt::{HessianModel, Options};

use crate::jet::Jet;
use crate::judge::{Right, Run};

type Function = Arc<dyn Fn(&[Jet]) -> Jet + Send + Sync>;
type Functions = Arc<dyn Fn(&[Jet]) -> Vec<Jet> + Send + Sync>;

/// Where the derivatives of a model come from.
#[derive(Clone, Copy, PartialEq)]
enum Derivatives {
    Exact,
    /// Exact first ones.
    HessianByDifferences,
    ByDifferences,
}

/// A small problem written with jets.
#[derive(Clone)]
pub struct Model {
    start: Vec<f64>,
    bounds: Option<(Vec<f64>, Vec<f64>)>,
    objective: Option<Function>,
    rows: Option<(Vec<f64>, Vec<f64>, Functions)>,
    derivatives: Derivatives,
}

impl Model {
    /// min f from this start.
    pub fn new(start: &[f64], f: impl Fn(&[Jet]) -> Jet + Send + Sync + 'static) -> Self {
        Self { objective: Some(Arc::new(f)), ..Self::system(start) }
    }
    /// Rows without an objective.
    pub fn system(start: &[f64]) -> Self {
        Self {
            start: start.to_vec(),
            bounds: None,
            objective: None,
            rows: None,
            derivatives: Derivatives::Exact,
        }
    }
    pub fn bounds(mut self, lower: &[f64], upper: &[f64]) -> Self {
        self.bounds = Some((lower.to_vec(), upper.to_vec()));
        self
    }
    pub fn rows(
        mut self,
        lower: &[f64],
        upper: &[f64],
        c: impl Fn(&[Jet]) -> Vec<Jet> + Send + Sync + 'static,
    ) -> Self {
        self.rows = Some((lower.to_vec(), upper.to_vec(), Arc::new(c)));
        self
    }
    /// c(x) = b.
    pub fn equal(self, b: &[f64], c: impl Fn(&[Jet]) -> Vec<Jet> + Send + Sync + 'static) -> Self {
        self.rows(b, b, c)
    }
    pub fn by_differences(mut self) -> Self {
        self.derivatives = Derivatives::ByDifferences;
        self
    }
    pub fn hessian_by_differences(mut self) -> Self {
        self.derivatives = Derivatives::HessianByDifferences;
        self
    }

    /// The problem, and whether a function was called outside the bounds.
    fn build(&self) -> (ClosureProblem<'static>, Arc<AtomicBool>) {
        let n = self.start.len();
        let outside = Arc::new(AtomicBool::new(false));
        let see = {
            let (outside, bounds) = (outside.clone(), self.bounds.clone());
            move |x: &[f64]| {
                if let Some((lower, upper)) = &bounds
                    && (0..x.len()).any(|j| !(lower[j] <= x[j] && x[j] <= upper[j]))
                {
                    outside.store(true, Relaxed);
                }
                Jet::variables(x)
            }
        };
        let mut problem = Problem::new("case", n).start(&self.start);
        if let Some((lower, upper)) = &self.bounds {
            problem = problem.bounds(lower, upper);
        }
        let exact = self.derivatives != Derivatives::ByDifferences;
        if let Some(f) = &self.objective {
            let (f, see) = (f.clone(), see.clone());
            problem = problem.objective(move |x| f(&see(x)).v);
        }
        if let Some(f) = &self.objective {
            let (f, see) = (f.clone(), see.clone());
            problem = match exact {
                true => problem.gradient(move |x, g| g.copy_from_slice(&f(&see(x)).g[..n])),
                false => problem.gradient_by_differences(),
            };
        }
        if let Some((lower, upper, c)) = &self.rows {
            let (c1, c2, see1, see2) = (c.clone(), c.clone(), see.clone(), see.clone());
            problem = problem.constraints(lower, upper, move |x, out| {
                out.iter_mut().zip(c1(&see1(x))).for_each(|(o, c)| *o = c.v);
            });
            problem = match exact {
                true => problem.jacobian(move |x, j| {
                    for (row, c) in j.chunks_exact_mut(n).zip(c2(&see2(x))) {
                        row.copy_from_slice(&c.g[..n]);
                    }
                }),
                false => problem.jacobian_by_differences(),
            };
        }
        problem = if self.derivatives == Derivatives::Exact {
            let (f, c) = (self.objective.clone(), self.rows.clone().map(|r| r.2));
            problem.hessian(move |x, sigma, y, h| {
                let x = see(x);
                let mut add = |factor: f64, jet: Jet| {
                    for i in 0..n {
                        for j in 0..=i {
                            h[i * n + j] += factor * jet.h[i * (i + 1) / 2 + j];
                        }
                    }
                };
                f.iter().for_each(|f| add(sigma, f(&x)));
                let rows = c.iter().flat_map(|c| c(&x));
                rows.zip(y).for_each(|(row, y)| add(*y, row));
            })
        } else {
            problem.hessian_by_differences()
        };
        (problem.build().expect("a case is a valid problem"), outside)
    }
}

type Build = Rc<dyn Fn() -> (ClosureProblem<'static>, Arc<AtomicBool>)>;

/// One row of the table.
#[derive(Clone)]
pub struct Case {
    pub name: String,
    pub build: Build,
    pub options: Options,
    pub right: Rc<dyn Fn(&mut Run) -> Right>,
}

/// The rows of a section.
#[derive(Default)]
pub struct Table {
    pub cases: Vec<Case>,
}

impl Table {
    /// With exact second derivatives and with the limited-memory model.
    pub fn both(&mut self, name: &str, model: Model, right: impl Fn(&mut Run) -> Right + 'static) {
        self.both_with(name, model, Options::default(), right);
    }

    pub fn both_with(
        &mut self,
        name: &str,
        model: Model,
        options: Options,
        right: impl Fn(&mut Run) -> Right + 'static,
    ) {
        let right: Rc<dyn Fn(&mut Run) -> Right> = Rc::new(right);
        for (suffix, hessian) in [("", HessianModel::Exact), (" (lm)", HessianModel::LimitedMemory)] {
            let model = model.clone();
            self.cases.push(Case {
                name: format!("{name}{suffix}"),
                build: Rc::new(move || model.build()),
                options: Options { hessian, ..options.clone() },
                right: right.clone(),
            });
        }
    }

    /// A problem written by hand.
    pub fn by_hand(
        &mut self,
        name: &str,
        build: impl Fn() -> ClosureProblem<'static> + 'static,
        options: Options,
        right: impl Fn(&mut Run) -> Right + 'static,
    ) {
        self.cases.push(Case {
            name: name.to_string(),
            build: Rc::new(move || (build(), Arc::default())),
            options,
            right: Rc::new(right),
        });
    }
}
