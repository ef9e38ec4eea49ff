//! Expressions as trees with shared parts.

use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub, SubAssign};
use std::sync::Arc;

use crate::expr::graph::{Binary, Unary};
use crate::report::Report;

/// A variable of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Var {
    pub(super) index: u32,
    pub(super) model: u32,
}

impl Var {
    /// Its place among the variables of the model.
    pub fn index(self) -> usize {
        self.index as usize
    }
    /// Its value in a report of the model.
    pub fn value(self, report: &Report) -> f64 {
        report.x[self.index()]
    }
}

/// A number of a model that may change between solves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Parameter {
    pub(super) index: u32,
    pub(super) model: u32,
}

/// A function of the variables and parameters of one model. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Expr(pub(super) Arc<Tree>);

#[derive(Debug)]
pub(super) enum Tree {
    Constant(f64),
    Variable(Var),
    Parameter(Parameter),
    Unary(Unary, Expr),
    Binary(Binary, Expr, Expr),
    /// If the first is not 0 then the second else the third.
    Select(Expr, Expr, Expr),
    /// Factor times term, for each.
    Sum(Vec<(f64, Expr)>),
}

impl Tree {
    /// How many parts it is made of.
    pub fn parts(&self) -> usize {
        match self {
            Self::Constant(_) | Self::Variable(_) | Self::Parameter(_) => 0,
            Self::Unary(..) => 1,
            Self::Binary(..) => 2,
            Self::Select(..) => 3,
            Self::Sum(terms) => terms.len(),
        }
    }
    /// Takes the parts out.
    fn take(&mut self, parts: &mut Vec<Expr>) {
        match std::mem::replace(self, Self::Constant(0.0)) {
            Self::Constant(_) | Self::Variable(_) | Self::Parameter(_) => {}
            Self::Unary(_, a) => parts.push(a),
            Self::Binary(_, a, b) => parts.extend([a, b]),
            Self::Select(a, b, c) => parts.extend([a, b, c]),
            Self::Sum(terms) => parts.extend(terms.into_iter().map(|t| t.1)),
        }
    }
}

impl Drop for Expr {
    /// Not by recursion: sums that were built in a loop may be 1e5 levels deep.
    fn drop(&mut self) {
        let mut open = Vec::new();
        let take = |e: &mut Self, open: &mut Vec<Self>| {
            // Nobody else has it.
            if let Some(tree) = Arc::get_mut(&mut e.0) {
                tree.take(open);
            }
        };
        take(self, &mut open);
        while let Some(mut part) = open.pop() {
            take(&mut part, &mut open);
        }
    }
}

impl Expr {
    pub(super) fn new(tree: Tree) -> Self {
        Self(Arc::new(tree))
    }
    fn constant(&self) -> Option<f64> {
        match *self.0 {
            Tree::Constant(value) => Some(value),
            _ => None,
        }
    }
    fn binary(op: Binary, a: Self, b: Self) -> Self {
        Self::new(Tree::Binary(op, a, b))
    }
    /// self + factor other; a sum that nobody else has grows in place.
    fn plus(mut self, factor: f64, other: Self) -> Self {
        if other.constant() == Some(0.0) {
            return self;
        }
        if let Some(Tree::Sum(terms)) = Arc::get_mut(&mut self.0) {
            terms.push((factor, other));
            return self;
        }
        Self::new(Tree::Sum(vec![(1.0, self), (factor, other)]))
    }
}

impl From<f64> for Expr {
    fn from(value: f64) -> Self {
        Self::new(Tree::Constant(value))
    }
}
impl From<i32> for Expr {
    fn from(value: i32) -> Self {
        Self::from(f64::from(value))
    }
}
impl From<Var> for Expr {
    fn from(v: Var) -> Self {
        Self::new(Tree::Variable(v))
    }
}
impl From<&Var> for Expr {
    fn from(v: &Var) -> Self {
        Self::from(*v)
    }
}
impl From<Parameter> for Expr {
    fn from(p: Parameter) -> Self {
        Self::new(Tree::Parameter(p))
    }
}
impl From<&Expr> for Expr {
    fn from(e: &Expr) -> Self {
        e.clone()
    }
}

/// The operators for one type on the left.
macro_rules! operators {
    ($left:ty: $($right:ty),*) => {
        $(
            impl Add<$right> for $left {
                type Output = Expr;
                fn add(self, other: $right) -> Expr {
                    Expr::from(self).plus(1.0, Expr::from(other))
                }
            }
            impl Sub<$right> for $left {
                type Output = Expr;
                fn sub(self, other: $right) -> Expr {
                    Expr::from(self).plus(-1.0, Expr::from(other))
                }
            }
            impl Mul<$right> for $left {
                type Output = Expr;
                fn mul(self, other: $right) -> Expr {
                    Expr::binary(Binary::Mul, Expr::from(self), Expr::from(other))
                }
            }
            impl Div<$right> for $left {
                type Output = Expr;
                fn div(self, other: $right) -> Expr {
                    Expr::binary(Binary::Div, Expr::from(self), Expr::from(other))
                }
            }
        )*
    };
}

operators!(Expr: Expr, &Expr, Var, &Var, Parameter, f64);
operators!(&Expr: Expr, &Expr, Var, &Var, Parameter, f64);
operators!(Var: Expr, &Expr, Var, &Var, Parameter, f64);
operators!(&Var: Expr, &Expr, Var, &Var, Parameter, f64);
operators!(Parameter: Expr, &Expr, Var, &Var, Parameter, f64);
operators!(f64: Expr, &Expr, Var, &Var, Parameter);

macro_rules! negative {
    ($($type:ty),*) => {
        $(impl Neg for $type {
            type Output = Expr;
            fn neg(self) -> Expr {
                Expr::new(Tree::Unary(Unary::Neg, Expr::from(self)))
            }
        })*
    };
}
negative!(Expr, &Expr, Var, &Var, Parameter);

impl<E: Into<Expr>> AddAssign<E> for Expr {
    fn add_assign(&mut self, other: E) {
        let own = std::mem::replace(self, Self::from(0.0));
        *self = own.plus(1.0, other.into());
    }
}

impl<E: Into<Expr>> SubAssign<E> for Expr {
    fn sub_assign(&mut self, other: E) {
        let own = std::mem::replace(self, Self::from(0.0));
        *self = own.plus(-1.0, other.into());
    }
}

impl<E: Into<Expr>> Sum<E> for Expr {
    fn sum<I: Iterator<Item = E>>(terms: I) -> Self {
        Self::new(Tree::Sum(terms.map(|t| (1.0, t.into())).collect()))
    }
}

/// A condition: lower <= body <= upper.
#[derive(Debug, Clone)]
pub struct Constraint {
    pub(super) body: Expr,
    pub(super) lower: f64,
    pub(super) upper: f64,
    pub(super) name: Option<String>,
}

impl Constraint {
    /// With a name.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }
    fn between(body: Expr, lower: f64, upper: f64) -> Self {
        Self { body, lower, upper, name: None }
    }
    /// lower <= left - right <= upper; a constant on the right is a side.
    fn of(left: Expr, right: Expr, (lower, upper): (f64, f64)) -> Self {
        match right.constant() {
            Some(side) => Self::between(left, lower + side, upper + side),
            None => Self::between(left.plus(-1.0, right), lower, upper),
        }
    }
}

/// Methods with one argument: name, operation, documentation.
macro_rules! functions {
    ($($name:ident $op:ident $doc:literal;)*) => {
        $(#[doc = $doc]
        fn $name(self) -> Expr {
            Expr::new(Tree::Unary(Unary::$op, self.into()))
        })*
    };
}

/// Functions of expressions, and constraints. For variables, parameters and expressions.
pub trait Expression: Into<Expr> {
    functions! {
        abs Abs "|x|; its derivative at 0 is 1.";
        sqrt Sqrt "Square root.";
        exp Exp "e to this power.";
        ln Log "Natural logarithm.";
        log10 Log10 "Logarithm to base 10.";
        sin Sin "Sine.";
        cos Cos "Cosine.";
        tan Tan "Tangent.";
        asin Asin "Inverse sine.";
        acos Acos "Inverse cosine.";
        atan Atan "Inverse tangent.";
        sinh Sinh "Hyperbolic sine.";
        cosh Cosh "Hyperbolic cosine.";
        tanh Tanh "Hyperbolic tangent.";
        asinh Asinh "Inverse hyperbolic sine.";
        acosh Acosh "Inverse hyperbolic cosine.";
        atanh Atanh "Inverse hyperbolic tangent.";
        logistic Logistic "1 / (1 + e^-x).";
    }
    /// x to a whole power.
    fn powi(self, n: i32) -> Expr {
        self.pow(f64::from(n))
    }
    /// x to a real power.
    fn powf(self, p: f64) -> Expr {
        self.pow(p)
    }
    /// x to the power of another expression.
    fn pow(self, exponent: impl Into<Expr>) -> Expr {
        Expr::binary(Binary::Pow, self.into(), exponent.into())
    }
    /// The angle of the point (x, self), as `f64::atan2`.
    fn atan2(self, x: impl Into<Expr>) -> Expr {
        Expr::binary(Binary::Atan2, self.into(), x.into())
    }
    /// The smaller one; where they are equal the derivative is that of self.
    fn min(self, other: impl Into<Expr>) -> Expr {
        Expr::binary(Binary::Min, self.into(), other.into())
    }
    /// The larger one; where they are equal the derivative is that of self.
    fn max(self, other: impl Into<Expr>) -> Expr {
        Expr::binary(Binary::Max, self.into(), other.into())
    }
    /// self = other.
    fn eq(self, other: impl Into<Expr>) -> Constraint {
        Constraint::of(self.into(), other.into(), (0.0, 0.0))
    }
    /// self <= other.
    fn le(self, other: impl Into<Expr>) -> Constraint {
        Constraint::of(self.into(), other.into(), (f64::NEG_INFINITY, 0.0))
    }
    /// self >= other.
    fn ge(self, other: impl Into<Expr>) -> Constraint {
        Constraint::of(self.into(), other.into(), (0.0, f64::INFINITY))
    }
    /// lower <= self <= upper.
    fn between(self, lower: impl Into<f64>, upper: impl Into<f64>) -> Constraint {
        Constraint::between(self.into(), lower.into(), upper.into())
    }
}

impl Expression for Expr {}
impl Expression for &Expr {}
impl Expression for Var {}
impl Expression for &Var {}
impl Expression for Parameter {}

/// If the condition is not 0 then a else b; the other branch may be undefined.
pub fn select(condition: impl Into<Expr>, a: impl Into<Expr>, b: impl Into<Expr>) -> Expr {
    Expr::new(Tree::Select(condition.into(), a.into(), b.into()))
}

/// 1 where a < b, else 0: a condition of [`select`].
pub fn less_than(a: impl Into<Expr>, b: impl Into<Expr>) -> Expr {
    Expr::binary(Binary::Lt, a.into(), b.into())
}
