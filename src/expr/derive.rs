//! Derivatives as nodes of the same graph.
//!
//! Reverse: the bar of a node is the sum of its users' bars times their partial derivatives (Griewank and Walther, "Evaluating
//! Derivatives", 2008, chapter 3); forward: the dot of a node is the sum of its operands' dots times the partial derivatives. Sums of
//! many terms are trees of short chains, so that they are shallow. Structural zeros have no node.
//!
//! Where a function has a kink, the derivative is that of one branch: 1 at 0 for |a|, the first argument's where the two of a maximum
//! or minimum are equal. Integer and logical functions have derivative 0. An output of an external function whose derivative is not
//! known has derivative NaN.

use super::graph::{Binary, Graph, Id, Node, Unary};

/// A partial derivative.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Factor {
    One,
    Minus,
    By(Id),
}

impl Factor {
    fn times(self, graph: &mut Graph, value: Id) -> Id {
        match self {
            Self::One => value,
            Self::Minus => graph.neg(value),
            Self::By(d) => graph.scaled(d, value),
        }
    }
}

/// Partial derivatives of a node that is no `Select`, by operand; `active` says which operands matter.
fn partials(graph: &mut Graph, id: Id, active: &dyn Fn(Id) -> bool, out: &mut Vec<(Id, Factor)>) {
    out.clear();
    match graph.nodes[id as usize] {
        Node::Unary(op, a) if active(a) => out.extend(unary(graph, op, a, id).map(|d| (a, d))),
        Node::Binary(Binary::Mul, a, b) if a == b => {
            if active(a) {
                let twice = graph.binary(Binary::Add, a, a);
                out.push((a, Factor::By(twice)));
            }
        }
        Node::Binary(op, a, b) => {
            if active(a) {
                out.extend(by_left(graph, op, a, b).map(|d| (a, d)));
            }
            if active(b) {
                out.extend(by_right(graph, op, a, b, id).map(|d| (b, d)));
            }
        }
        Node::External { call, output } => external(graph, call as usize, output as usize, active, out),
        Node::Const(_) | Node::Var(_) | Node::Param(_) | Node::Unary(..) | Node::Select(..) => {}
    }
}

fn external(
    graph: &mut Graph,
    call: usize,
    output: usize,
    active: &dyn Fn(Id) -> bool,
    out: &mut Vec<(Id, Factor)>,
) {
    let call = graph.calls[call].clone();
    for (k, &a) in call.args.iter().enumerate().filter(|(_, a)| active(**a)) {
        let derivative = match call.function.derivative(output, k) {
            Some(d) => graph.external(&call.function, &call.args, d),
            None => graph.constant(f64::NAN),
        };
        out.push((a, Factor::By(derivative)));
    }
}

/// d op(a) / da; r is the node itself.
fn unary(g: &mut Graph, op: Unary, a: Id, r: Id) -> Option<Factor> {
    let one = g.constant(1.0);
    Some(Factor::By(match op {
        Unary::Neg => return Some(Factor::Minus),
        Unary::Single => return Some(Factor::One),
        Unary::Trunc | Unary::Round | Unary::Floor | Unary::Ceil | Unary::Not => return None,
        Unary::Abs => sign(g, a),
        Unary::Sqrt => {
            let half = g.constant(0.5);
            g.binary(Binary::Div, half, r)
        }
        Unary::Exp => r,
        Unary::Log => g.binary(Binary::Div, one, a),
        Unary::Log10 => {
            let c = g.constant(std::f64::consts::LOG10_E);
            g.binary(Binary::Div, c, a)
        }
        Unary::Sin => g.unary(Unary::Cos, a),
        Unary::Cos => {
            let sin = g.unary(Unary::Sin, a);
            g.neg(sin)
        }
        Unary::Tan => {
            let square = g.binary(Binary::Mul, r, r);
            g.binary(Binary::Add, one, square)
        }
        Unary::Tanh => {
            let square = g.binary(Binary::Mul, r, r);
            g.binary(Binary::Sub, one, square)
        }
        Unary::Logistic => {
            // s (1 - s) = s(a) s(-a): both factors keep their precision.
            let minus = g.neg(a);
            let other = g.unary(Unary::Logistic, minus);
            g.binary(Binary::Mul, r, other)
        }
        Unary::Sinh => g.unary(Unary::Cosh, a),
        Unary::Cosh => g.unary(Unary::Sinh, a),
        Unary::Asin | Unary::Acos | Unary::Atanh => {
            let square = g.binary(Binary::Mul, a, a);
            let rest = g.binary(Binary::Sub, one, square);
            let slope = if op == Unary::Atanh { rest } else { g.unary(Unary::Sqrt, rest) };
            let inverse = g.binary(Binary::Div, one, slope);
            if op == Unary::Acos { g.neg(inverse) } else { inverse }
        }
        Unary::Atan | Unary::Asinh | Unary::Acosh => {
            let square = g.binary(Binary::Mul, a, a);
            let sum = g.binary(if op == Unary::Acosh { Binary::Sub } else { Binary::Add }, square, one);
            let slope = if op == Unary::Atan { sum } else { g.unary(Unary::Sqrt, sum) };
            g.binary(Binary::Div, one, slope)
        }
    }))
}

/// -1 where a < 0, else 1.
fn sign(g: &mut Graph, a: Id) -> Id {
    let (zero, one, minus) = (g.constant(0.0), g.constant(1.0), g.constant(-1.0));
    let negative = g.binary(Binary::Lt, a, zero);
    g.select(negative, minus, one)
}

/// 0 where a < b, else 1.
fn not_below(g: &mut Graph, a: Id, b: Id) -> Id {
    let (zero, one) = (g.constant(0.0), g.constant(1.0));
    let below = g.binary(Binary::Lt, a, b);
    g.select(below, zero, one)
}

/// d op(a, b) / da.
fn by_left(g: &mut Graph, op: Binary, a: Id, b: Id) -> Option<Factor> {
    Some(Factor::By(match op {
        Binary::Add | Binary::Sub | Binary::Mod => return Some(Factor::One),
        Binary::Mul => b,
        Binary::Div => inverse(g, b),
        Binary::Pow | Binary::Powi => {
            let one = g.constant(1.0);
            let less = g.binary(Binary::Sub, b, one);
            let power = g.binary(op, a, less);
            g.binary(Binary::Mul, b, power)
        }
        Binary::Atan2 => {
            let square = sum_of_squares(g, a, b);
            g.binary(Binary::Div, b, square)
        }
        Binary::Sign => {
            let one = g.constant(1.0);
            let (own, other) = (sign(g, a), g.binary(Binary::Sign, one, b));
            g.binary(Binary::Mul, own, other)
        }
        Binary::Max => not_below(g, a, b),
        Binary::Min => not_below(g, b, a),
        Binary::Lt | Binary::Le | Binary::Eq | Binary::Ne | Binary::And | Binary::Or | Binary::Digits => {
            return None;
        }
    }))
}

/// d op(a, b) / db; r is the node itself.
fn by_right(g: &mut Graph, op: Binary, a: Id, b: Id, r: Id) -> Option<Factor> {
    Some(Factor::By(match op {
        Binary::Add => return Some(Factor::One),
        Binary::Sub => return Some(Factor::Minus),
        Binary::Mul => a,
        Binary::Div => {
            let inverse = inverse(g, b);
            let product = g.binary(Binary::Mul, r, inverse);
            g.neg(product)
        }
        Binary::Pow => {
            // a^b ln a, and 0 at a = 0.
            let (log, zero) = (g.unary(Unary::Log, a), g.constant(0.0));
            let product = g.binary(Binary::Mul, r, log);
            let at_zero = g.binary(Binary::Eq, a, zero);
            g.select(at_zero, zero, product)
        }
        Binary::Atan2 => {
            let square = sum_of_squares(g, a, b);
            let quotient = g.binary(Binary::Div, a, square);
            g.neg(quotient)
        }
        Binary::Mod => {
            let quotient = g.binary(Binary::Div, a, b);
            let whole = g.unary(Unary::Trunc, quotient);
            g.neg(whole)
        }
        // Where the left one counts this one does not.
        Binary::Max => {
            let (one, left) = (g.constant(1.0), not_below(g, a, b));
            g.binary(Binary::Sub, one, left)
        }
        Binary::Min => {
            let (one, left) = (g.constant(1.0), not_below(g, b, a));
            g.binary(Binary::Sub, one, left)
        }
        Binary::Powi | Binary::Sign => return None,
        Binary::Lt | Binary::Le | Binary::Eq | Binary::Ne | Binary::And | Binary::Or | Binary::Digits => {
            return None;
        }
    }))
}

fn inverse(g: &mut Graph, a: Id) -> Id {
    let one = g.constant(1.0);
    g.binary(Binary::Div, one, a)
}

fn sum_of_squares(g: &mut Graph, a: Id, b: Id) -> Id {
    let (aa, bb) = (g.binary(Binary::Mul, a, a), g.binary(Binary::Mul, b, b));
    g.binary(Binary::Add, aa, bb)
}

/// A bar that counts only where its guard is true: in the branch of a `Select` that is not taken the partial derivatives may be
/// infinite or NaN, and 0 times them is not 0.
#[derive(Debug, Clone, Copy)]
struct Bar {
    value: Id,
    guard: Option<Id>,
    /// The weight 1 of a root, not a factor that happens to be 1: products with it are left out.
    unit: bool,
}

impl Bar {
    /// The value, 0 where the guard is false.
    fn plain(self, graph: &mut Graph) -> Id {
        match self.guard {
            None => self.value,
            Some(c) => {
                let zero = graph.constant(0.0);
                graph.select(c, self.value, zero)
            }
        }
    }
    /// Guarded by c, too.
    fn within(self, graph: &mut Graph, c: Id) -> Self {
        let guard = match self.guard {
            None => c,
            Some(g) => graph.binary(Binary::And, g, c),
        };
        Self { guard: Some(guard), ..self }
    }
    fn plus(self, other: Self, graph: &mut Graph) -> Self {
        if self.guard == other.guard {
            let value = graph.binary(Binary::Add, self.value, other.value);
            return Self { value, guard: self.guard, unit: false };
        }
        let guard = match (self.guard, other.guard) {
            (Some(a), Some(b)) => Some(graph.binary(Binary::Or, a, b)),
            _ => None,
        };
        let (a, b) = (self.plain(graph), other.plain(graph));
        Self { value: graph.binary(Binary::Add, a, b), guard, unit: false }
    }
}

/// Terms that are added one after the other, which is what a program does best.
const CHAIN: usize = 8;

/// Chains of a few terms are added, then chains of their sums, until one is left: sums of many terms are shallow.
fn sum(graph: &mut Graph, terms: &mut Vec<Bar>) -> Option<Bar> {
    while terms.len() > 1 {
        let chains = terms.len().div_ceil(CHAIN);
        for k in 0..chains {
            let chain = &terms[k * CHAIN..terms.len().min((k + 1) * CHAIN)];
            terms[k] = chain[1..].iter().fold(chain[0], |sum, &term| sum.plus(term, graph));
        }
        terms.truncate(chains);
    }
    terms.pop()
}

const NONE: u32 = u32::MAX;

/// Reverse sweeps over one graph by the same nodes: what a sweep costs depends on the nodes below its roots alone.
#[derive(Debug, Clone)]
pub(crate) struct Reverse {
    /// Nodes that depend on one of `wrt`.
    active: Vec<bool>,
    /// Place of a node in `wrt`.
    place: Vec<u32>,
    /// First term of each node's bar.
    head: Vec<u32>,
    /// Terms: bar, next one.
    pool: Vec<(Bar, u32)>,
    /// Nodes of this sweep.
    found: Vec<Id>,
    terms: Vec<Bar>,
    partials: Vec<(Id, Factor)>,
}

impl Reverse {
    /// Sweeps by `wrt` over the nodes that the graph has now.
    pub fn new(graph: &Graph, wrt: &[Id]) -> Self {
        let nodes = graph.nodes.len();
        let mut place = vec![NONE; nodes];
        wrt.iter().enumerate().for_each(|(k, &id)| place[id as usize] = k as u32);
        let mut active = vec![false; nodes];
        for id in 0..nodes {
            let mut depends = place[id] != NONE;
            graph.for_operands(graph.nodes[id], |o| depends |= active[o as usize]);
            active[id] = depends;
        }
        let (head, pool) = (vec![NONE; nodes], Vec::new());
        Self { active, place, head, pool, found: Vec::new(), terms: Vec::new(), partials: Vec::new() }
    }

    fn add(&mut self, id: Id, bar: Bar) {
        let head = &mut self.head[id as usize];
        self.pool.push((bar, *head));
        *head = self.pool.len() as u32 - 1;
    }

    /// (place in `wrt`, bar) of sum_k weight_k root_k, in the order of the places; those not there are zero. Roots are nodes that were
    /// there when the sweeps were made.
    pub fn sweep(&mut self, graph: &mut Graph, roots: &[(Id, Id)]) -> Vec<(u32, Id)> {
        self.pool.clear();
        self.find(graph, roots);
        for &(root, weight) in roots.iter().rev() {
            if self.active[root as usize] && graph.value(weight) != Some(0.0) {
                self.add(root, Bar { value: weight, guard: None, unit: graph.value(weight) == Some(1.0) });
            }
        }
        let mut out = Vec::new();
        for k in 0..self.found.len() {
            let id = self.found[k];
            let Some(bar) = self.take(graph, id) else { continue };
            if self.place[id as usize] != NONE {
                out.push((self.place[id as usize], bar.plain(graph)));
            }
            self.hand_down(graph, id, bar);
        }
        out.sort_unstable_by_key(|o| o.0);
        out
    }

    /// Places in `wrt` of what the root depends on, ascending, and the number of nodes between.
    pub fn below(&mut self, graph: &Graph, root: Id) -> (Vec<u32>, usize) {
        self.find(graph, &[(root, root)]);
        let mut places: Vec<u32> =
            self.found.iter().map(|&id| self.place[id as usize]).filter(|&p| p != NONE).collect();
        places.sort_unstable();
        (places, self.found.len())
    }

    /// The active nodes below the roots, users before operands.
    fn find(&mut self, graph: &Graph, roots: &[(Id, Id)]) {
        self.found.clear();
        let mut open: Vec<Id> = roots.iter().map(|r| r.0).filter(|&r| self.active[r as usize]).collect();
        // A mark in `head` that is taken away again below.
        const SEEN: u32 = NONE - 1;
        while let Some(id) = open.pop() {
            if std::mem::replace(&mut self.head[id as usize], SEEN) == SEEN {
                continue;
            }
            self.found.push(id);
            graph.for_operands(graph.nodes[id as usize], |o| {
                if self.active[o as usize] && self.head[o as usize] != SEEN {
                    open.push(o);
                }
            });
        }
        self.found.sort_unstable_by(|a, b| b.cmp(a));
        self.found.iter().for_each(|&id| self.head[id as usize] = NONE);
    }

    /// The sum of all terms of a node's bar.
    fn take(&mut self, graph: &mut Graph, id: Id) -> Option<Bar> {
        let mut at = std::mem::replace(&mut self.head[id as usize], NONE);
        self.terms.clear();
        while at != NONE {
            let (bar, next) = self.pool[at as usize];
            self.terms.push(bar);
            at = next;
        }
        sum(graph, &mut self.terms)
    }

    fn hand_down(&mut self, graph: &mut Graph, id: Id, bar: Bar) {
        if let Node::Select(c, a, b) = graph.nodes[id as usize] {
            if self.active[a as usize] {
                let bar = bar.within(graph, c);
                self.add(a, bar);
            }
            if self.active[b as usize] {
                let not = graph.unary(Unary::Not, c);
                let bar = bar.within(graph, not);
                self.add(b, bar);
            }
            return;
        }
        let mut list = std::mem::take(&mut self.partials);
        let active = &self.active;
        partials(graph, id, &|o| active[o as usize], &mut list);
        for &(operand, factor) in &list {
            let value = match factor {
                Factor::By(d) if bar.unit => d,
                _ => factor.times(graph, bar.value),
            };
            if graph.value(value) != Some(0.0) {
                let unit = bar.unit && factor == Factor::One;
                self.add(operand, Bar { value, guard: bar.guard, unit });
            }
        }
        self.partials = list;
    }
}

/// d (sum_k weights_k roots_k) / d wrt_j for each j; `None`: structurally zero.
pub(crate) fn reverse(graph: &mut Graph, roots: &[Id], weights: &[Id], wrt: &[Id]) -> Vec<Option<Id>> {
    let pairs: Vec<(Id, Id)> = roots.iter().copied().zip(weights.iter().copied()).collect();
    let mut out = vec![None; wrt.len()];
    for (place, bar) in Reverse::new(graph, wrt).sweep(graph, &pairs) {
        out[place as usize] = Some(bar);
    }
    out
}

/// The derivative of each root along the direction that moves each node of `dots` with its dot; `None`: structurally zero.
pub(crate) fn along(graph: &mut Graph, roots: &[Id], dots: &[(Id, Id)]) -> Vec<Option<Id>> {
    let Some(&last) = roots.iter().max() else { return Vec::new() };
    let mut needed = vec![false; last as usize + 1];
    roots.iter().for_each(|&r| needed[r as usize] = true);
    for id in (0..needed.len()).rev() {
        if needed[id] {
            graph.for_operands(graph.nodes[id], |o| needed[o as usize] = true);
        }
    }
    let mut dot: Vec<Option<Id>> = vec![None; needed.len()];
    for &(node, d) in dots {
        if let Some(slot) = dot.get_mut(node as usize) {
            *slot = Some(d).filter(|&d| graph.value(d) != Some(0.0));
        }
    }
    let mut list = Vec::new();
    for id in (0..needed.len()).filter(|&id| needed[id]) {
        if dot[id].is_none() {
            dot[id] = node_dot(graph, id as Id, &dot, &mut list);
        }
    }
    roots.iter().map(|&r| dot[r as usize]).collect()
}

fn node_dot(graph: &mut Graph, id: Id, dot: &[Option<Id>], list: &mut Vec<(Id, Factor)>) -> Option<Id> {
    if let Node::Select(c, a, b) = graph.nodes[id as usize] {
        let (a, b) = (dot[a as usize], dot[b as usize]);
        if a.is_none() && b.is_none() {
            return None;
        }
        let zero = graph.constant(0.0);
        return Some(graph.select(c, a.unwrap_or(zero), b.unwrap_or(zero)));
    }
    partials(graph, id, &|o| dot[o as usize].is_some(), list);
    let mut sum = None;
    for &(operand, factor) in list.iter() {
        let Some(d) = dot[operand as usize] else { continue };
        let term = factor.times(graph, d);
        if graph.value(term) == Some(0.0) {
            continue;
        }
        sum = Some(match sum {
            None => term,
            Some(s) => graph.binary(Binary::Add, s, term),
        });
    }
    sum
}

#[cfg(test)]
#[path = "derive_tests.rs"]
pub(crate) mod tests;
