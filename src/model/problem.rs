//! The model: what it holds, and how it becomes a nonlinear program.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::expression::{Constraint, Expr, Parameter, Tree, Var};
use crate::error::Error;
use crate::expr::graph::{Binary, Graph, Id, Node, Unary};
use crate::expr::parts::Parts;
use crate::expr::separate::{Function, Separated, separate};
use crate::nlp::expressed::{Expressed, Expressible, delegate_nlp};
use crate::nlp::{EvalError, Nlp, NlpMeta};
use crate::report::Report;

/// What a variable is like; all are free and start at 0 unless said otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct VariableDefinition {
    lower: f64,
    upper: f64,
    start: f64,
    name: Option<String>,
}

/// A free variable that starts at 0.
pub fn variable() -> VariableDefinition {
    VariableDefinition { lower: f64::NEG_INFINITY, upper: f64::INFINITY, start: 0.0, name: None }
}

impl VariableDefinition {
    /// Lower bound.
    #[must_use]
    pub fn min(self, lower: impl Into<f64>) -> Self {
        Self { lower: lower.into(), ..self }
    }
    /// Upper bound.
    #[must_use]
    pub fn max(self, upper: impl Into<f64>) -> Self {
        Self { upper: upper.into(), ..self }
    }
    /// Where the solver begins.
    #[must_use]
    pub fn start(self, start: impl Into<f64>) -> Self {
        Self { start: start.into(), ..self }
    }
    /// Name.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }
}

/// A constraint of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Row {
    index: u32,
}

impl Row {
    /// Its place among the constraints of the model.
    pub fn index(self) -> usize {
        self.index as usize
    }
    /// Its multiplier in a report of the model: L = f + y'c of the minimized f (docs/notation.md).
    pub fn multiplier(self, report: &Report) -> f64 {
        report.y[self.index()]
    }
}

/// A nonlinear program in the making. It is compiled when it is first used as a problem ([`Nlp`]), and again after variables, constraints or the objective
/// have changed; bounds, sides, starts and parameters change without that.
#[derive(Debug)]
pub struct Model {
    id: u32,
    meta: NlpMeta,
    params: Vec<f64>,
    param_names: Vec<String>,
    objective: Expr,
    rows: Vec<Expr>,
    compiled: OnceCell<Result<Compiled, String>>,
}

#[derive(Debug)]
struct Compiled {
    separated: Separated,
    functions: Expressed,
}

static MODELS: AtomicU32 = AtomicU32::new(0);

impl Model {
    /// Without variables.
    pub fn new(name: &str) -> Self {
        Self {
            id: MODELS.fetch_add(1, Ordering::Relaxed),
            // Where it cannot be compiled, evaluations say so.
            meta: NlpMeta {
                name: name.to_string(),
                jacobian_products: true,
                hessian_products: true,
                ..NlpMeta::default()
            },
            params: vec![],
            param_names: vec![],
            objective: Expr::from(0.0),
            rows: vec![],
            compiled: OnceCell::new(),
        }
    }

    /// A new variable.
    pub fn add(&mut self, definition: VariableDefinition) -> Var {
        self.compiled.take();
        let index = self.meta.x0.len() as u32;
        self.meta.x_lower.push(definition.lower);
        self.meta.x_upper.push(definition.upper);
        self.meta.x0.push(definition.start);
        self.meta.variable_names.push(definition.name.unwrap_or_else(|| format!("x[{index}]")));
        Var { index, model: self.id }
    }
    /// `count` variables of one kind; a name gets their index, `name[k]`.
    pub fn add_vector(&mut self, definition: &VariableDefinition, count: usize) -> Vec<Var> {
        let numbered = |k: usize| definition.name.as_ref().map(|name| format!("{name}[{k}]"));
        (0..count).map(|k| self.add(VariableDefinition { name: numbered(k), ..definition.clone() })).collect()
    }
    /// Rows of variables of one kind; a name gets both indices, `name[i,j]`.
    pub fn add_matrix(
        &mut self,
        definition: &VariableDefinition,
        rows: usize,
        columns: usize,
    ) -> Vec<Vec<Var>> {
        let numbered = |i: usize, j: usize| definition.name.as_ref().map(|name| format!("{name}[{i},{j}]"));
        let mut row = |i| {
            let one = |j| VariableDefinition { name: numbered(i, j), ..definition.clone() };
            (0..columns).map(|j| self.add(one(j))).collect()
        };
        (0..rows).map(&mut row).collect()
    }
    /// A number that may change between solves.
    pub fn parameter(&mut self, name: &str, value: f64) -> Parameter {
        self.compiled.take();
        self.params.push(value);
        self.param_names.push(name.to_string());
        Parameter { index: self.params.len() as u32 - 1, model: self.id }
    }
    /// Minimizes an expression.
    pub fn minimize(&mut self, objective: impl Into<Expr>) {
        self.compiled.take();
        (self.objective, self.meta.maximize) = (objective.into(), false);
    }
    /// Maximizes an expression.
    pub fn maximize(&mut self, objective: impl Into<Expr>) {
        self.compiled.take();
        (self.objective, self.meta.maximize) = (objective.into(), true);
    }
    /// A new constraint.
    pub fn subject_to(&mut self, constraint: Constraint) -> Row {
        self.compiled.take();
        let index = self.rows.len() as u32;
        self.meta.c_lower.push(constraint.lower);
        self.meta.c_upper.push(constraint.upper);
        self.meta.y0.push(0.0);
        self.meta.constraint_names.push(constraint.name.unwrap_or_else(|| format!("c[{index}]")));
        self.rows.push(constraint.body);
        Row { index }
    }

    /// Changes a parameter; nothing is compiled again.
    pub fn set(&mut self, parameter: Parameter, value: f64) {
        debug_assert_eq!(parameter.model, self.id);
        self.params[parameter.index as usize] = value;
        if let Some(Ok(compiled)) = self.compiled.get_mut() {
            compiled.separated.set_params(&self.params);
            compiled.functions.set_params(&compiled.separated.parts());
            compiled.set_sides(&self.meta, &self.params);
        }
    }
    /// Value of a parameter.
    pub fn get(&self, parameter: Parameter) -> f64 {
        self.params[parameter.index as usize]
    }
    /// Changes the bounds of a variable.
    pub fn set_bounds(&mut self, variable: Var, lower: f64, upper: f64) {
        let j = variable.index();
        (self.meta.x_lower[j], self.meta.x_upper[j]) = (lower, upper);
        if let Some(Ok(compiled)) = self.compiled.get_mut() {
            let meta = compiled.functions.meta_mut();
            (meta.x_lower[j], meta.x_upper[j]) = (lower, upper);
        }
    }
    /// Changes where the solver begins.
    pub fn set_start(&mut self, variable: Var, start: f64) {
        let j = variable.index();
        self.meta.x0[j] = start;
        if let Some(Ok(compiled)) = self.compiled.get_mut() {
            compiled.functions.meta_mut().x0[j] = start;
        }
    }
    /// Changes the sides of a constraint.
    pub fn set_sides(&mut self, row: Row, lower: f64, upper: f64) {
        let i = row.index();
        (self.meta.c_lower[i], self.meta.c_upper[i]) = (lower, upper);
        if let Some(Ok(compiled)) = self.compiled.get_mut() {
            compiled.set_sides(&self.meta, &self.params);
        }
    }

    /// The value of the variable of this name in a report.
    pub fn value(&self, name: &str, report: &Report) -> Option<f64> {
        let j = self.meta.variable_names.iter().position(|n| n == name)?;
        report.x.get(j).copied()
    }
    /// The multiplier of the constraint of this name in a report.
    pub fn multiplier(&self, name: &str, report: &Report) -> Option<f64> {
        let i = self.meta.constraint_names.iter().position(|n| n == name)?;
        report.y.get(i).copied()
    }
    /// Compiles the model now, to see whether it can be.
    ///
    /// # Errors
    /// [`Error::Problem`]: a variable of another model, or a term with too many second derivatives.
    pub fn check(&self) -> Result<(), Error> {
        match self.compiled() {
            Ok(_) => Ok(()),
            Err(what) => Err(Error::Problem { name: self.meta.name.clone(), what: what.clone() }),
        }
    }
    /// An expression with the names of this model.
    pub fn show(&self, expression: impl Into<Expr>) -> String {
        let mut text = String::new();
        show(self, &expression.into(), 0, &mut text);
        text
    }

    fn compiled(&self) -> &Result<Compiled, String> {
        self.compiled.get_or_init(|| self.compile())
    }

    fn compile(&self) -> Result<Compiled, String> {
        let mut graph = Graph::default();
        // The variables first: they are then the first operands of what commutes.
        (0..self.meta.n()).for_each(|j| {
            graph.add(Node::Var(j as u32));
        });
        let mut known = HashMap::new();
        let mut function = |graph: &mut Graph, e: &Expr| -> Result<Function<'static>, String> {
            Ok(Function { node: Some(self.node(graph, &mut known, e)?), ..Function::default() })
        };
        let objective = function(&mut graph, &self.objective)?;
        let rows: Vec<Function<'_>> =
            self.rows.iter().map(|e| function(&mut graph, e)).collect::<Result<_, String>>()?;
        let separated = separate(&graph, self.meta.n(), &objective, &rows, &self.params);
        let functions = Expressed::new(self.meta.clone(), &separated.parts(), (60_000_000, 1 << 26))?;
        let mut compiled = Compiled { separated, functions };
        compiled.set_sides(&self.meta, &self.params);
        Ok(compiled)
    }

    /// The node of an expression. Parts that others hold too are known after the first visit; what one alone holds is met once anyway.
    fn node(
        &self,
        graph: &mut Graph,
        known: &mut HashMap<*const Tree, Id>,
        root: &Expr,
    ) -> Result<Id, String> {
        let shared = |e: &Expr| Arc::strong_count(&e.0) > 1;
        let mut open: Vec<(&Expr, bool)> = vec![(root, false)];
        // Nodes of the parts that are done, those of one expression in a row.
        let mut done: Vec<Id> = vec![];
        while let Some((e, ready)) = open.pop() {
            if !ready {
                if let Some(id) = shared(e).then(|| known.get(&Arc::as_ptr(&e.0))).flatten() {
                    done.push(*id);
                    continue;
                }
                open.push((e, true));
                match &*e.0 {
                    Tree::Constant(_) | Tree::Variable(_) | Tree::Parameter(_) => {}
                    Tree::Unary(_, a) => open.push((a, false)),
                    Tree::Binary(_, a, b) => open.extend([(b, false), (a, false)]),
                    Tree::Select(c, a, b) => open.extend([(b, false), (a, false), (c, false)]),
                    Tree::Sum(terms) => open.extend(terms.iter().rev().map(|t| (&t.1, false))),
                }
                continue;
            }
            let first = done.len() - e.0.parts();
            let of = &done[first..];
            let id = match &*e.0 {
                Tree::Constant(value) => graph.constant(*value),
                Tree::Variable(v) if v.model != self.id => {
                    return Err("a variable is one of another model".into());
                }
                Tree::Parameter(p) if p.model != self.id => {
                    return Err("a parameter is one of another model".into());
                }
                Tree::Variable(v) => graph.add(Node::Var(v.index)),
                Tree::Parameter(p) => graph.add(Node::Param(p.index)),
                Tree::Unary(op, _) => graph.unary(*op, of[0]),
                Tree::Binary(Binary::Mul, ..) => graph.product(of[0], of[1]),
                Tree::Binary(Binary::Div, ..) => graph.quotient(of[0], of[1]),
                Tree::Binary(op, ..) => graph.binary(*op, of[0], of[1]),
                Tree::Select(..) => graph.select(of[0], of[1], of[2]),
                Tree::Sum(terms) => {
                    let mut sum = graph.constant(0.0);
                    for ((factor, _), term) in terms.iter().zip(of) {
                        let op = if *factor < 0.0 { Binary::Sub } else { Binary::Add };
                        sum = graph.binary(op, sum, *term);
                    }
                    sum
                }
            };
            done.truncate(first);
            done.push(id);
            if shared(e) {
                known.insert(Arc::as_ptr(&e.0), id);
            }
        }
        Ok(done[0])
    }

    fn ready(&mut self) -> Result<&mut Expressed, EvalError> {
        self.compiled();
        match self.compiled.get_mut() {
            Some(Ok(compiled)) => Ok(&mut compiled.functions),
            Some(Err(what)) => Err(EvalError::Failed { function: "the model", reason: what.clone() }),
            None => Err(EvalError::NotProvided { function: "the model" }),
        }
    }
}

impl Compiled {
    /// Sides without the parameters that stand alone in a row.
    fn set_sides(&mut self, given: &NlpMeta, params: &[f64]) {
        let meta = self.functions.meta_mut();
        meta.c_lower.clone_from(&given.c_lower);
        meta.c_upper.clone_from(&given.c_upper);
        for &(row, k, weight) in self.separated.in_sides() {
            let shift = weight * params[k as usize];
            meta.c_lower[row as usize] -= shift;
            meta.c_upper[row as usize] -= shift;
        }
    }
}

/// Levels that are shown.
const SHOWN: u32 = 100;

fn show(model: &Model, e: &Expr, depth: u32, text: &mut String) {
    let inner = |e: &Expr, text: &mut String| show(model, e, depth + 1, text);
    if depth > SHOWN {
        text.push_str("...");
        return;
    }
    match &*e.0 {
        Tree::Constant(value) => {
            let _ = write!(text, "{value}");
        }
        Tree::Variable(v) => text.push_str(&model.meta.variable_name(v.index())),
        Tree::Parameter(p) => text.push_str(&model.param_names[p.index as usize]),
        Tree::Unary(Unary::Neg, a) => {
            text.push_str("-(");
            inner(a, text);
            text.push(')');
        }
        Tree::Unary(op, a) => {
            let _ = write!(text, "{}(", format!("{op:?}").to_lowercase());
            inner(a, text);
            text.push(')');
        }
        Tree::Binary(op, a, b) => {
            let sign = match op {
                Binary::Mul => " * ".to_string(),
                Binary::Div => " / ".to_string(),
                Binary::Pow => "^".to_string(),
                Binary::Lt => " < ".to_string(),
                other => format!(" {} ", format!("{other:?}").to_lowercase()),
            };
            for (k, side) in [a, b].into_iter().enumerate() {
                let simple = !matches!(*side.0, Tree::Binary(..) | Tree::Sum(_));
                text.push_str(if k == 1 { &sign } else { "" });
                text.push_str(if simple { "" } else { "(" });
                inner(side, text);
                text.push_str(if simple { "" } else { ")" });
            }
        }
        Tree::Select(c, a, b) => {
            for (word, part) in [("if ", c), (" then ", a), (" else ", b)] {
                text.push_str(word);
                inner(part, text);
            }
        }
        Tree::Sum(terms) => {
            for (k, (factor, term)) in terms.iter().enumerate() {
                text.push_str(match (k, *factor < 0.0) {
                    (0, false) => "",
                    (0, true) => "-",
                    (_, false) => " + ",
                    (_, true) => " - ",
                });
                let simple = !(matches!(*term.0, Tree::Sum(_)) && (*factor < 0.0));
                text.push_str(if simple { "" } else { "(" });
                inner(term, text);
                text.push_str(if simple { "" } else { ")" });
            }
        }
    }
}

impl Expressible for Model {
    fn parts(&self) -> Parts<'_> {
        match self.compiled() {
            Ok(compiled) => compiled.separated.parts(),
            Err(_) => Parts::empty(),
        }
    }
}

impl Nlp for Model {
    fn meta(&self) -> &NlpMeta {
        match self.compiled() {
            Ok(compiled) => compiled.functions.meta(),
            Err(_) => &self.meta,
        }
    }
    delegate_nlp!(@ expressible);
    delegate_nlp!(@ ready()?);
}
