//! Recording a formula: it is run once on numbers that write down what is done with them.

use std::cell::RefCell;
use std::iter::{Product, Sum};
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Rem, RemAssign, Sub, SubAssign};

use super::formula::{Recorded, Sizes};
use super::graph::{Binary, Graph, Id, Node, Unary};

/// A number of a formula that is being recorded: see [`record`]. It cannot be compared, because a branch on a value would not be
/// recorded: [`Var::select`], [`Var::max`], [`Var::min`] and [`Var::abs`] are. Outside the closure that it was made for it is of no
/// use: operations with it panic.
#[derive(Debug, Clone, Copy)]
pub struct Var {
    id: Id,
    recording: u32,
}

/// The graph that is being written.
#[derive(Debug, Default)]
struct Recorder {
    graph: Graph,
    /// Number of the recording.
    number: u32,
}

thread_local! {
    /// Recordings under way, the innermost last, and how many there were.
    static RECORDERS: RefCell<(Vec<Recorder>, u32)> = const { RefCell::new((Vec::new(), 0)) };
}

/// Ends its recording when it goes, by a panic of the formula too.
struct Open;

impl Open {
    fn begin() -> Self {
        RECORDERS.with_borrow_mut(|(open, count)| {
            *count += 1;
            open.push(Recorder { graph: Graph::default(), number: *count });
        });
        Self
    }
    fn graph(&self) -> Graph {
        RECORDERS.with_borrow_mut(|(open, _)| {
            open.last_mut().map(|r| std::mem::take(&mut r.graph)).unwrap_or_default()
        })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        RECORDERS.with_borrow_mut(|(open, _)| drop(open.pop()));
    }
}

/// A new node of the recording that is under way.
fn write(operands: &[Var], f: impl FnOnce(&mut Graph) -> Id) -> Var {
    RECORDERS.with_borrow_mut(|(open, _)| {
        let Some(recorder) = open.last_mut() else {
            panic!("a number of a recorded formula was used outside of its recording");
        };
        if operands.iter().any(|v| v.recording != recorder.number) {
            panic!("a number of one recorded formula was used in the recording of another one");
        }
        Var { id: f(&mut recorder.graph), recording: recorder.number }
    })
}

/// What is wrong with a recorded formula.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// An output has no value.
    #[error("output {output} of the recorded formula is never set")]
    Unset {
        /// The output, from 0.
        output: usize,
    },
    /// An output comes from elsewhere.
    #[error("output {output} of the recorded formula was set to a number of another recording")]
    Foreign {
        /// The output, from 0.
        output: usize,
    },
}

/// Records y' = f(t, y, p): runs the closure once with (t, y, p, dy), y and dy of length n, p of length `n_params`.
///
/// ```
/// use costate::expr::{Point, record};
/// let mut pendulum = record(2, 1, |_, y, p, dy| {
///     dy[0] = y[1];
///     dy[1] = -9.81 / p[0] * y[0].sin();
/// })?;
/// let mut dy = [0.0; 2];
/// pendulum.value(Point { t: 0.0, x: &[0.5, 1.0], p: &[2.0] }, &mut dy);
/// assert_eq!(dy, [1.0, -(9.81 / 2.0 * 0.5f64.sin())]);
/// # Ok::<(), costate::expr::RecordError>(())
/// ```
///
/// # Errors
/// An entry of dy is never set.
pub fn record(
    n: usize,
    n_params: usize,
    f: impl FnOnce(Var, &[Var], &[Var], &mut [Var]),
) -> Result<Recorded, RecordError> {
    record_map(Sizes { inputs: n, outputs: n, params: n_params }, f)
}

/// As [`record`], with as many outputs as asked for.
///
/// # Errors
/// An output is never set.
pub fn record_map(
    sizes: Sizes,
    f: impl FnOnce(Var, &[Var], &[Var], &mut [Var]),
) -> Result<Recorded, RecordError> {
    let open = Open::begin();
    let var = |node: Node| write(&[], |g| g.add(node));
    let x: Vec<Var> = (0..sizes.inputs).map(|k| var(Node::Var(k as u32))).collect();
    let t = var(Node::Var(sizes.inputs as u32));
    let p: Vec<Var> = (0..sizes.params).map(|k| var(Node::Param(k as u32))).collect();
    let mut y = vec![Var { id: 0, recording: 0 }; sizes.outputs];
    f(t, &x, &p, &mut y);
    for (output, v) in y.iter().enumerate() {
        match v.recording {
            0 => return Err(RecordError::Unset { output }),
            r if r != t.recording => return Err(RecordError::Foreign { output }),
            _ => {}
        }
    }
    Ok(Recorded::new(open.graph(), sizes, y.iter().map(|v| v.id).collect()))
}

impl From<f64> for Var {
    fn from(value: f64) -> Self {
        write(&[], |g| g.constant(value))
    }
}

macro_rules! unary {
    ($($name:ident $op:ident $doc:literal)*) => {$(
        #[doc = $doc]
        #[must_use]
        pub fn $name(self) -> Self {
            write(&[self], |g| g.unary(Unary::$op, self.id))
        }
    )*};
}

impl Var {
    unary! {
        abs Abs "|x|; its derivative at 0 is 1."
        sqrt Sqrt "The root."
        exp Exp "e^x."
        ln Log "The natural logarithm."
        log10 Log10 "The logarithm by 10."
        sin Sin "Sine."
        cos Cos "Cosine."
        tan Tan "Tangent."
        asin Asin "Arc sine."
        acos Acos "Arc cosine."
        atan Atan "Arc tangent."
        sinh Sinh "Hyperbolic sine."
        cosh Cosh "Hyperbolic cosine."
        tanh Tanh "Hyperbolic tangent."
        asinh Asinh "Inverse of the hyperbolic sine."
        acosh Acosh "Inverse of the hyperbolic cosine."
        atanh Atanh "Inverse of the hyperbolic tangent."
        logistic Logistic "1 / (1 + e^-x)."
        floor Floor "The next whole number below; its derivative is 0."
        ceil Ceil "The next whole number above; its derivative is 0."
        trunc Trunc "The whole part; its derivative is 0."
        round Round "The nearest whole number; its derivative is 0."
    }

    fn with(self, op: Binary, other: Self) -> Self {
        write(&[self, other], |g| match op {
            Binary::Mul => g.scaled(self.id, other.id),
            _ => g.binary(op, self.id, other.id),
        })
    }
    /// 1 / x.
    #[must_use]
    pub fn recip(self) -> Self {
        1.0 / self
    }
    /// x^n by repeated multiplication.
    #[must_use]
    pub fn powi(self, n: i32) -> Self {
        write(&[self], |g| g.whole_power(self.id, n))
    }
    /// x^y; up to 16 whole exponents are multiplications.
    #[must_use]
    pub fn powf(self, exponent: impl Into<Self>) -> Self {
        self.with(Binary::Pow, exponent.into())
    }
    /// The angle of the point (other, self).
    #[must_use]
    pub fn atan2(self, other: impl Into<Self>) -> Self {
        self.with(Binary::Atan2, other.into())
    }
    /// The larger one; where they are equal the derivative is self's.
    #[must_use]
    pub fn max(self, other: impl Into<Self>) -> Self {
        self.with(Binary::Max, other.into())
    }
    /// The smaller one; where they are equal the derivative is self's.
    #[must_use]
    pub fn min(self, other: impl Into<Self>) -> Self {
        self.with(Binary::Min, other.into())
    }
    /// `if_positive` where self > 0, else `otherwise`. Both are computed; what the other one is, NaN too, has no influence on the
    /// value or derivatives.
    #[must_use]
    pub fn select(self, if_positive: impl Into<Self>, otherwise: impl Into<Self>) -> Self {
        let (a, b) = (if_positive.into(), otherwise.into());
        write(&[self, a, b], |g| {
            let zero = g.constant(0.0);
            let positive = g.binary(Binary::Lt, zero, self.id);
            g.select(positive, a.id, b.id)
        })
    }
}

impl Neg for Var {
    type Output = Self;
    fn neg(self) -> Self {
        write(&[self], |g| g.neg(self.id))
    }
}

macro_rules! binary {
    ($($tr:ident $f:ident $tr_assign:ident $f_assign:ident $op:ident)*) => {$(
        impl $tr for Var {
            type Output = Var;
            fn $f(self, other: Var) -> Var {
                self.with(Binary::$op, other)
            }
        }
        impl $tr<f64> for Var {
            type Output = Var;
            fn $f(self, other: f64) -> Var {
                self.with(Binary::$op, other.into())
            }
        }
        impl $tr<Var> for f64 {
            type Output = Var;
            fn $f(self, other: Var) -> Var {
                Var::from(self).with(Binary::$op, other)
            }
        }
        impl $tr<&Var> for Var {
            type Output = Var;
            fn $f(self, other: &Var) -> Var {
                self.with(Binary::$op, *other)
            }
        }
        impl $tr_assign for Var {
            fn $f_assign(&mut self, other: Var) {
                *self = self.with(Binary::$op, other);
            }
        }
        impl $tr_assign<f64> for Var {
            fn $f_assign(&mut self, other: f64) {
                *self = self.with(Binary::$op, other.into());
            }
        }
    )*};
}

binary! {
    Add add AddAssign add_assign Add
    Sub sub SubAssign sub_assign Sub
    Mul mul MulAssign mul_assign Mul
    Div div DivAssign div_assign Div
    Rem rem RemAssign rem_assign Mod
}

impl Sum for Var {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.reduce(|a, b| a + b).unwrap_or_else(|| Self::from(0.0))
    }
}
impl<'a> Sum<&'a Self> for Var {
    fn sum<I: Iterator<Item = &'a Self>>(iter: I) -> Self {
        iter.copied().sum()
    }
}
impl Product for Var {
    fn product<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.reduce(|a, b| a * b).unwrap_or_else(|| Self::from(1.0))
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
