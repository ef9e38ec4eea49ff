//! Expressions as a graph without duplicates: of one element or group type, or of a whole formula.
//!
//! All values are doubles: integers are whole numbers, logicals are 0 and 1.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::external::External;

/// Functions of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Unary {
    Neg,
    Abs,
    Sqrt,
    Exp,
    Log,
    Log10,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Asinh,
    Acosh,
    Atanh,
    /// 1 / (1 + e^-x), to full relative precision on both sides.
    Logistic,
    Floor,
    Ceil,
    /// Toward zero: INT.
    Trunc,
    /// Half away from zero: NINT.
    Round,
    /// To 32 bits and back.
    Single,
    Not,
}

impl Unary {
    /// The value.
    #[inline(always)]
    pub fn apply(self, a: f64) -> f64 {
        match self {
            Self::Neg => -a,
            Self::Abs => a.abs(),
            Self::Sqrt => a.sqrt(),
            Self::Exp => a.exp(),
            Self::Log => a.ln(),
            Self::Log10 => a.log10(),
            Self::Sin => a.sin(),
            Self::Cos => a.cos(),
            Self::Tan => a.tan(),
            Self::Asin => a.asin(),
            Self::Acos => a.acos(),
            Self::Atan => a.atan(),
            Self::Sinh => a.sinh(),
            Self::Cosh => a.cosh(),
            // The one of networks, which runs over lanes.
            Self::Tanh => crate::linalg::tanh::tanh(a),
            Self::Asinh => a.asinh(),
            Self::Acosh => a.acosh(),
            Self::Atanh => a.atanh(),
            Self::Logistic if a < 0.0 => a.exp() / (1.0 + a.exp()),
            Self::Logistic => 1.0 / (1.0 + (-a).exp()),
            Self::Floor => a.floor(),
            Self::Ceil => a.ceil(),
            Self::Trunc => a.trunc(),
            Self::Round => a.round(),
            Self::Single => a as f32 as f64,
            Self::Not => truth(a == 0.0),
        }
    }
}

/// Functions of two arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    /// Real power.
    Pow,
    /// Whole power by repeated multiplication.
    Powi,
    Atan2,
    Mod,
    /// |a| with the sign of b.
    Sign,
    Max,
    Min,
    Lt,
    Le,
    Eq,
    Ne,
    And,
    Or,
    /// a to b significant decimal digits.
    Digits,
}

impl Binary {
    /// The value.
    #[inline(always)]
    pub fn apply(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            Self::Pow => a.powf(b),
            Self::Powi => a.powi(b as i32),
            Self::Atan2 => a.atan2(b),
            Self::Mod => a % b,
            Self::Sign => a.abs().copysign(b),
            Self::Max => a.max(b),
            Self::Min => a.min(b),
            Self::Lt => truth(a < b),
            Self::Le => truth(a <= b),
            Self::Eq => truth(a == b),
            Self::Ne => truth(a != b),
            Self::And => truth(a != 0.0 && b != 0.0),
            Self::Or => truth(a != 0.0 || b != 0.0),
            Self::Digits => significant(a, b),
        }
    }
    /// f(a, b) = f(b, a), bit by bit.
    pub fn commutes(self) -> bool {
        matches!(self, Self::Add | Self::Mul | Self::Eq | Self::Ne | Self::And | Self::Or)
    }
}

#[inline(always)]
fn truth(b: bool) -> f64 {
    f64::from(u8::from(b))
}

/// Rounded as it would be printed, half to even.
fn significant(a: f64, digits: f64) -> f64 {
    if !(1.0..17.0).contains(&digits) || !a.is_finite() {
        return a;
    }
    format!("{a:.*e}", digits as usize - 1).parse().unwrap_or(a)
}

/// Number of a node; operands have smaller numbers than their users.
pub(crate) type Id = u32;

/// One value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    /// A constant, by its bits.
    Const(u64),
    /// Variable k (elemental variable, or the argument of a group).
    Var(u32),
    /// Parameter k.
    Param(u32),
    Unary(Unary, Id),
    Binary(Binary, Id, Id),
    /// If the first is true then the second else the third.
    Select(Id, Id, Id),
    /// An output of a call of an external function.
    External {
        call: u32,
        output: u32,
    },
}

/// An external function at arguments.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub function: Arc<dyn External>,
    pub args: Box<[Id]>,
}

/// The graph: nodes in topological order.
#[derive(Debug, Default, Clone)]
pub(crate) struct Graph {
    pub nodes: Vec<Node>,
    pub calls: Vec<Call>,
    known: Index,
    /// Calls by the function's address and the arguments.
    known_calls: HashMap<(usize, Box<[Id]>), u32>,
}

/// Numbers of nodes by hash: an open table of (hash, number), which is what large graphs spend their time and memory on.
#[derive(Debug, Default, Clone)]
struct Index {
    slots: Vec<(u32, Id)>,
    len: usize,
}

impl Index {
    const EMPTY: (u32, Id) = (0, Id::MAX);

    /// The number that `is` accepts, or `next`, which is then entered.
    fn find(&mut self, hash: u32, is: impl Fn(Id) -> bool, next: Id) -> Id {
        if 2 * self.len >= self.slots.len() {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            match self.slots[at] {
                Self::EMPTY => {
                    self.slots[at] = (hash, next);
                    self.len += 1;
                    return next;
                }
                (h, id) if h == hash && is(id) => return id,
                _ => at = (at + 1) & mask,
            }
        }
    }

    fn grow(&mut self) {
        let size = (2 * self.slots.len()).max(64);
        let old = std::mem::replace(&mut self.slots, vec![Self::EMPTY; size]);
        for entry in old.into_iter().filter(|&e| e != Self::EMPTY) {
            let mut at = entry.0 as usize & (size - 1);
            while self.slots[at] != Self::EMPTY {
                at = (at + 1) & (size - 1);
            }
            self.slots[at] = entry;
        }
    }
}

/// Multiplies and folds word by word: keys are a few integers and nobody chooses them against us.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct WordHasher(u64);

impl Hasher for WordHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&b| self.write_u64(u64::from(b)));
    }
    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }
    fn write_isize(&mut self, word: isize) {
        self.write_u64(word as u64);
    }
    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}

impl Graph {
    /// The node, which may be there already.
    pub fn add(&mut self, node: Node) -> Id {
        let next = self.nodes.len() as Id;
        let mut hasher = WordHasher::default();
        node.hash(&mut hasher);
        let nodes = &self.nodes;
        let id = self.known.find(hasher.finish() as u32, |id| nodes[id as usize] == node, next);
        if id == next {
            self.nodes.push(node);
        }
        id
    }
    /// A constant.
    pub fn constant(&mut self, value: f64) -> Id {
        self.add(Node::Const(value.to_bits()))
    }
    /// Value of a constant node.
    pub fn value(&self, id: Id) -> Option<f64> {
        match self.nodes[id as usize] {
            Node::Const(bits) => Some(f64::from_bits(bits)),
            _ => None,
        }
    }
    /// x where the node is -x.
    fn negated(&self, id: Id) -> Option<Id> {
        match self.nodes[id as usize] {
            Node::Unary(Unary::Neg, a) => Some(a),
            _ => None,
        }
    }

    /// A function of one argument.
    pub fn unary(&mut self, op: Unary, a: Id) -> Id {
        if let Some(v) = self.value(a) {
            return self.constant(op.apply(v));
        }
        match (op, self.negated(a)) {
            (Unary::Neg, Some(x)) => x,
            (Unary::Abs | Unary::Cos | Unary::Cosh, Some(x)) => self.unary(op, x),
            _ => self.add(Node::Unary(op, a)),
        }
    }
    /// -a.
    pub fn neg(&mut self, a: Id) -> Id {
        self.unary(Unary::Neg, a)
    }

    /// A function of two arguments. Only rewrites that keep every bit of the value (up to the sign of zero) are made.
    pub fn binary(&mut self, op: Binary, a: Id, b: Id) -> Id {
        let (va, vb) = (self.value(a), self.value(b));
        if let (Some(x), Some(y)) = (va, vb) {
            return self.constant(op.apply(x, y));
        }
        let (na, nb) = (self.negated(a), self.negated(b));
        match op {
            Binary::Add => match (va, vb, na, nb) {
                (Some(0.0), ..) => return b,
                (_, Some(0.0), ..) => return a,
                (.., Some(y)) => return self.binary(Binary::Sub, a, y),
                (.., Some(x), _) => return self.binary(Binary::Sub, b, x),
                _ => {}
            },
            Binary::Sub => match (va, vb, nb) {
                (Some(0.0), ..) => return self.neg(b),
                (_, Some(0.0), _) => return a,
                (.., Some(y)) => return self.binary(Binary::Add, a, y),
                _ => {}
            },
            Binary::Mul => match (va, vb, na, nb) {
                (Some(1.0), ..) => return b,
                (_, Some(1.0), ..) => return a,
                (Some(-1.0), ..) => return self.neg(b),
                (_, Some(-1.0), ..) => return self.neg(a),
                (.., Some(x), _) => return self.negative(op, x, b),
                (.., Some(y)) => return self.negative(op, a, y),
                _ => {}
            },
            Binary::Div => match (vb, na, nb) {
                (Some(1.0), ..) => return a,
                (Some(-1.0), ..) => return self.neg(a),
                (Some(c), ..) if is_power_of_two(c) => {
                    let inverse = self.constant(1.0 / c);
                    return self.binary(Binary::Mul, a, inverse);
                }
                (_, Some(x), _) => return self.negative(op, x, b),
                (.., Some(y)) => return self.negative(op, a, y),
                _ => {}
            },
            Binary::Pow => return self.real_power(a, b),
            _ => {}
        }
        let (a, b) = if op.commutes() && a > b { (b, a) } else { (a, b) };
        self.add(Node::Binary(op, a, b))
    }

    /// a b, kept as a product where one of the two is the constant 1 or -1: the terms of a formula with a table of factors have equal
    /// shapes then, and run together.
    pub fn scaled(&mut self, a: Id, b: Id) -> Id {
        match (self.value(a), self.value(b)) {
            (Some(1.0 | -1.0), None) | (None, Some(1.0 | -1.0)) => {
                self.add(Node::Binary(Binary::Mul, a.min(b), a.max(b)))
            }
            _ => self.binary(Binary::Mul, a, b),
        }
    }

    /// a b with constant factors in front, so that products that differ by them have equal shapes.
    pub fn product(&mut self, a: Id, b: Id) -> Id {
        self.in_front(Binary::Mul, a, b, |fa, fb| fa * fb)
    }
    /// a / b with constant factors in front.
    pub fn quotient(&mut self, a: Id, b: Id) -> Id {
        self.in_front(Binary::Div, a, b, |fa, fb| fa / fb)
    }
    fn in_front(&mut self, op: Binary, a: Id, b: Id, both: impl Fn(f64, f64) -> f64) -> Id {
        let ((fa, inner_a), (fb, inner_b)) = (self.factored(a), self.factored(b));
        let factor = both(fa, fb);
        match (inner_a, inner_b) {
            (Some(x), Some(y)) if factor != 1.0 && factor.is_normal() => {
                let (value, factor) = (self.binary(op, x, y), self.constant(factor));
                self.binary(Binary::Mul, factor, value)
            }
            _ => self.binary(op, a, b),
        }
    }

    fn negative(&mut self, op: Binary, a: Id, b: Id) -> Id {
        let value = self.binary(op, a, b);
        self.neg(value)
    }

    /// a ** b with real b: whole exponents by multiplication, halves by roots.
    fn real_power(&mut self, a: Id, b: Id) -> Id {
        match self.value(b) {
            Some(p) if p == p.trunc() && p.abs() <= 16.0 => self.whole_power(a, p as i32),
            Some(0.5) => self.unary(Unary::Sqrt, a),
            _ => self.add(Node::Binary(Binary::Pow, a, b)),
        }
    }

    /// a ** n by repeated multiplication.
    pub fn whole_power(&mut self, a: Id, n: i32) -> Id {
        if n.unsigned_abs() > 64 {
            let n = self.constant(f64::from(n));
            return self.binary(Binary::Powi, a, n);
        }
        if n < 0 {
            let (one, power) = (self.constant(1.0), self.whole_power(a, -n));
            return self.binary(Binary::Div, one, power);
        }
        match n {
            0 => self.constant(1.0),
            1 => a,
            _ => {
                let half = self.whole_power(a, n / 2);
                let square = self.binary(Binary::Mul, half, half);
                if n % 2 == 1 { self.binary(Binary::Mul, square, a) } else { square }
            }
        }
    }

    /// If c then a else b.
    pub fn select(&mut self, c: Id, a: Id, b: Id) -> Id {
        match self.value(c) {
            _ if a == b => a,
            Some(0.0) => b,
            Some(_) => a,
            None => self.add(Node::Select(c, a, b)),
        }
    }

    /// An output of an external function. The same function is the same `Arc`.
    pub fn external(&mut self, function: &Arc<dyn External>, args: &[Id], output: usize) -> Id {
        debug_assert!(output < function.outputs() && args.len() == function.arity());
        let key = (Arc::as_ptr(function).addr(), args.into());
        let next = self.calls.len() as u32;
        let call = *self.known_calls.entry(key).or_insert(next);
        if call == next {
            self.calls.push(Call { function: Arc::clone(function), args: args.into() });
        }
        self.add(Node::External { call, output: output as u32 })
    }

    /// Calls `f` with every operand of the node.
    pub fn for_operands(&self, node: Node, mut f: impl FnMut(Id)) {
        match node {
            Node::Const(_) | Node::Var(_) | Node::Param(_) => {}
            Node::Unary(_, a) => f(a),
            Node::Binary(_, a, b) => {
                f(a);
                f(b);
            }
            Node::Select(a, b, c) => {
                f(a);
                f(b);
                f(c);
            }
            Node::External { call, .. } => self.calls[call as usize].args.iter().for_each(|&a| f(a)),
        }
    }

    /// Degree of the node as a polynomial in the variables; `None`: it is none, or not seen to be one.
    pub fn degree(&self, id: Id) -> Option<u32> {
        let mut degrees: Vec<Option<u32>> = Vec::with_capacity(id as usize + 1);
        // Operands have smaller numbers.
        for node in &self.nodes[..=id as usize] {
            let of = |id: Id| degrees[id as usize];
            let constant = |all: &[Id]| all.iter().all(|&a| of(a) == Some(0)).then_some(0);
            let degree = match *node {
                Node::Const(_) | Node::Param(_) => Some(0),
                Node::Var(_) => Some(1),
                Node::Unary(Unary::Neg, a) => of(a),
                Node::Unary(_, a) => constant(&[a]),
                Node::Binary(Binary::Add | Binary::Sub, a, b) => of(a).zip(of(b)).map(|(a, b)| a.max(b)),
                Node::Binary(Binary::Mul, a, b) => of(a).zip(of(b)).and_then(|(a, b)| a.checked_add(b)),
                Node::Binary(Binary::Div, a, b) if of(b) == Some(0) => of(a),
                Node::Binary(_, a, b) => constant(&[a, b]),
                Node::Select(c, a, b) if of(c) == Some(0) => of(a).zip(of(b)).map(|(a, b)| a.max(b)),
                Node::Select(c, a, b) => constant(&[c, a, b]),
                Node::External { call, .. } => constant(&self.calls[call as usize].args),
            };
            degrees.push(degree);
        }
        degrees[id as usize]
    }

    /// Writes the node as factor * node' (a constant is factor * nothing).
    pub fn factored(&self, mut id: Id) -> (f64, Option<Id>) {
        let mut factor = 1.0;
        loop {
            match self.nodes[id as usize] {
                Node::Const(bits) => return (factor * f64::from_bits(bits), None),
                Node::Unary(Unary::Neg, a) => {
                    factor = -factor;
                    id = a;
                }
                Node::Binary(Binary::Mul, a, b) => match (self.value(a), self.value(b)) {
                    (Some(c), _) if c.is_normal() => {
                        factor *= c;
                        id = b;
                    }
                    (_, Some(c)) if c.is_normal() => {
                        factor *= c;
                        id = a;
                    }
                    _ => return (factor, Some(id)),
                },
                _ => return (factor, Some(id)),
            }
        }
    }
}

fn is_power_of_two(c: f64) -> bool {
    c.is_normal() && (1.0 / c).is_normal() && c.to_bits().trailing_zeros() >= 52
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degrees_of_polynomials() {
        let mut g = Graph::default();
        let (x, y, p) = (g.add(Node::Var(0)), g.add(Node::Var(1)), g.add(Node::Param(0)));
        let product = g.binary(Binary::Mul, x, y);
        let square = g.whole_power(x, 2);
        let scaled = g.binary(Binary::Div, square, p);
        let sum = g.binary(Binary::Add, product, scaled);
        let (size, root) = (g.unary(Unary::Abs, x), g.unary(Unary::Sqrt, p));
        let (cubic, inverse) = (g.binary(Binary::Mul, square, y), g.binary(Binary::Div, p, x));
        let choice = g.select(p, x, square);
        let kink = g.select(x, x, y);
        assert_eq!([sum, choice, root].map(|id| g.degree(id)), [Some(2), Some(2), Some(0)]);
        assert_eq!([size, kink, inverse].map(|id| g.degree(id)), [None; 3]);
        assert_eq!((g.degree(cubic), g.degree(x)), (Some(3), Some(1)));
    }

    #[test]
    fn duplicates_are_one_node() {
        let mut g = Graph::default();
        let (x, y) = (g.add(Node::Var(0)), g.add(Node::Var(1)));
        let a = g.binary(Binary::Mul, x, y);
        let b = g.binary(Binary::Mul, y, x);
        assert_eq!(a, b);
        let minus = g.neg(x);
        let c = g.binary(Binary::Mul, minus, y);
        assert_eq!(g.factored(c), (-1.0, Some(a)));
        let three = g.constant(3.0);
        let c = g.binary(Binary::Mul, three, c);
        assert_eq!(g.factored(c), (-3.0, Some(a)));
        let four = g.constant(4.0);
        assert_eq!(g.binary(Binary::Div, three, four), g.constant(0.75));
    }

    #[test]
    fn powers() {
        let mut g = Graph::default();
        let x = g.add(Node::Var(0));
        let square = g.binary(Binary::Mul, x, x);
        assert_eq!(g.whole_power(x, 2), square);
        let fourth = g.binary(Binary::Mul, square, square);
        assert_eq!(g.whole_power(x, 4), fourth);
        let two = g.constant(2.0);
        assert_eq!(g.binary(Binary::Pow, x, two), square);
        let one = g.constant(1.0);
        assert_eq!(g.whole_power(x, 0), one);
        assert_eq!(g.whole_power(two, -3), g.constant(0.125));
        assert!(
            matches!(g.whole_power(x, 100), id if matches!(g.nodes[id as usize], Node::Binary(Binary::Powi, ..)))
        );
        assert_eq!(g.whole_power(two, i32::MIN), g.constant(0.0));
    }
}
