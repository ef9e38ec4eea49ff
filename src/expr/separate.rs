//! From expressions in the problem's variables to [`Parts`]: sums are taken apart, equal terms are one element, terms that differ
//! by variables and constants alone are elements of one type.
//!
//! A function is constant + linear + sum_k w_k e_k(x), the e_k without common outer factors. A term g(alpha) whose argument is itself a
//! long sum is a group of its own where it is all there is in a row, or in the objective: its second derivatives are then
//! g' (those of the short terms) + g'' q q' (Conn, Gould and Toint, "LANCELOT", 1992), not those of one large element.
//!
//! Nothing here is recursive: sums of 1e5 terms and nestings of 1e5 levels are ordinary.

use std::collections::BinaryHeap;

use super::batch::Body;
use super::graph::{Binary, Graph, Id, Node, Unary};
use super::parts::{Parts, Ragged};
use super::types::{Slot, Types, Word, results};

/// A function of the variables: constant + linear part + value of a node of the graph, whose variables are those of the problem.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Function<'a> {
    pub constant: f64,
    /// (variable, coefficient); a variable may be mentioned twice.
    pub linear: &'a [(u32, f64)],
    pub node: Option<Id>,
}

/// Variables from which on the argument of a function is a group's, not an element's.
const LONG: usize = 6;

/// Terms of a sum that, one by one, have so many times the nodes that they have together are one element: each would be differentiated from the beginning.
const SHARED: usize = 8;

const NONE: u32 = u32::MAX;

/// The parts, owned.
#[derive(Debug, Clone, Default)]
pub(crate) struct Separated {
    n: usize,
    element_bodies: Vec<Body>,
    element_dims: Vec<usize>,
    element_type: Vec<u32>,
    element_vars: Ragged<u32>,
    element_params: Ragged<f64>,
    group_bodies: Vec<Body>,
    group_type: Vec<Option<u32>>,
    group_params: Ragged<f64>,
    constraint: Vec<bool>,
    scale: Vec<f64>,
    constant: Vec<f64>,
    linear: Ragged<(u32, f64)>,
    uses: Ragged<(u32, f64)>,
    /// Where the parameters of the model went: (place among the parameters of elements or groups, parameter).
    element_slots: Vec<(u32, u32)>,
    group_slots: Vec<(u32, u32)>,
    /// Parameters that stand alone in a constraint, which left them out: (constraint, parameter, weight).
    in_sides: Vec<(u32, u32, f64)>,
}

impl Separated {
    /// New values of the model's parameters.
    pub fn set_params(&mut self, params: &[f64]) {
        for (slots, values) in [
            (&self.element_slots, &mut self.element_params.items),
            (&self.group_slots, &mut self.group_params.items),
        ] {
            slots.iter().for_each(|&(slot, k)| values[slot as usize] = params[k as usize]);
        }
    }
    /// Parameters that stand alone in a constraint: (constraint, parameter, weight). They are not in its function: they belong to its sides.
    pub fn in_sides(&self) -> &[(u32, u32, f64)] {
        &self.in_sides
    }
    /// As the evaluator takes them.
    pub fn parts(&self) -> Parts<'_> {
        Parts {
            n: self.n,
            element_bodies: &self.element_bodies,
            element_dims: &self.element_dims,
            element_type: &self.element_type,
            element_vars: &self.element_vars,
            element_params: &self.element_params,
            group_bodies: &self.group_bodies,
            group_type: &self.group_type,
            group_params: &self.group_params,
            constraint: &self.constraint,
            scale: &self.scale,
            constant: &self.constant,
            linear: &self.linear,
            uses: &self.uses,
            quadratic: &[],
        }
    }
}

/// Takes the functions apart. Constraints keep their order. `params`: values of the graph's parameters.
pub(crate) fn separate(
    graph: &Graph,
    n: usize,
    objective: &Function<'_>,
    constraints: &[Function<'_>],
    params: &[f64],
) -> Separated {
    let mut s = Separator::new(graph, n, params);
    s.objective(objective);
    constraints.iter().for_each(|c| s.constraint(c));
    s.finish()
}

/// A sum taken apart.
#[derive(Debug, Clone, Default)]
struct Sum {
    constant: f64,
    linear: Vec<(u32, f64)>,
    /// Other terms: (node, weight).
    terms: Vec<(Id, f64)>,
    /// (parameter, weight).
    params: Vec<(u32, f64)>,
}

struct Separator<'g> {
    graph: &'g Graph,
    params: &'g [f64],
    out: Separated,
    elements: Types,
    groups: Types,
    /// The element that a node is.
    element_of: Vec<u32>,
    /// All parameters of elements and groups.
    element_params: Ragged<Slot>,
    group_params: Ragged<Slot>,
    /// Hashes of the nodes that do not depend on which variables and constants are meant: the order of operands that commute.
    hash: Vec<u64>,
    /// Numbers of nodes at and below each, one that is reached several times counted as often.
    tree: Vec<f64>,
    weight: Vec<f64>,
    queued: Vec<bool>,
    queue: BinaryHeap<Id>,
    place: Vec<u32>,
    var_place: Vec<u32>,
    /// Storage of walks: nodes to come, and whether their operands are done; nodes seen.
    open: Vec<(Id, bool)>,
    seen: Vec<Id>,
    term: Term,
    /// Constraints so far.
    constraints: u32,
}

/// A term in words, as last read.
#[derive(Debug, Default)]
struct Term {
    words: Vec<Word>,
    params: Vec<Slot>,
    vars: Vec<u32>,
}

impl<'g> Separator<'g> {
    fn new(graph: &'g Graph, n: usize, params: &'g [f64]) -> Self {
        let nodes = graph.nodes.len();
        Self {
            graph,
            params,
            out: Separated { n, ..Separated::default() },
            elements: Types::default(),
            groups: Types::default(),
            element_of: vec![NONE; nodes],
            element_params: Ragged::default(),
            group_params: Ragged::default(),
            hash: hashes(graph),
            tree: trees(graph),
            weight: vec![0.0; nodes],
            queued: vec![false; nodes],
            queue: BinaryHeap::new(),
            place: vec![NONE; nodes],
            var_place: vec![NONE; n],
            open: Vec::new(),
            seen: Vec::new(),
            term: Term::default(),
            constraints: 0,
        }
    }

    /// Sums, differences, signs and constant factors are taken apart; a node that is reached several times is one term.
    fn sum(&mut self, root: Option<Id>) -> Sum {
        let mut sum = Sum::default();
        if let Some(root) = root {
            self.queue_term(root, 1.0);
        }
        // Users have larger numbers than their operands: all ways to a node have been gone when it comes.
        while let Some(id) = self.queue.pop() {
            let w = std::mem::take(&mut self.weight[id as usize]);
            self.queued[id as usize] = false;
            match self.graph.nodes[id as usize] {
                Node::Const(bits) => sum.constant += w * f64::from_bits(bits),
                Node::Var(v) => sum.linear.push((v, w)),
                Node::Param(k) => sum.params.push((k, w)),
                Node::Unary(Unary::Neg, a) => self.queue_term(a, -w),
                Node::Binary(Binary::Add, a, b) => {
                    self.queue_term(a, w);
                    self.queue_term(b, w);
                }
                Node::Binary(Binary::Sub, a, b) => {
                    self.queue_term(a, w);
                    self.queue_term(b, -w);
                }
                Node::Binary(Binary::Mul, a, b) => match (self.graph.value(a), self.graph.value(b)) {
                    (Some(c), _) if c.is_finite() => self.queue_term(b, w * c),
                    (_, Some(c)) if c.is_finite() => self.queue_term(a, w * c),
                    _ => sum.terms.push((id, w)),
                },
                Node::Binary(Binary::Div, a, b) => match self.graph.value(b) {
                    Some(c) if c.is_finite() && c != 0.0 => self.queue_term(a, w / c),
                    _ => sum.terms.push((id, w)),
                },
                _ => sum.terms.push((id, w)),
            }
        }
        sum.terms.retain(|t| t.1 != 0.0);
        sum.params.retain(|p| p.1 != 0.0);
        sum.terms.reverse();
        sum.linear.reverse();
        if let Some(root) = root.filter(|_| self.shares(&sum.terms)) {
            return Sum { terms: vec![(root, 1.0)], ..Sum::default() };
        }
        sum
    }

    /// The terms have much below them in common, as those of a recursion.
    fn shares(&mut self, terms: &[(Id, f64)]) -> bool {
        // As trees they are no smaller, and that is known beforehand.
        let trees: f64 = terms.iter().map(|t| self.tree[t.0 as usize]).sum();
        if terms.len() < 2 || trees <= (SHARED * self.graph.nodes.len()) as f64 {
            return false;
        }
        let all: Vec<Id> = terms.iter().map(|t| t.0).collect();
        let mut left = SHARED * self.below(&all, usize::MAX);
        for &term in &all {
            match left.checked_sub(self.below(&[term], left + 1)) {
                Some(rest) => left = rest,
                None => return true,
            }
        }
        false
    }

    /// Number of nodes at and below the roots, or `most`.
    fn below(&mut self, roots: &[Id], most: usize) -> usize {
        let (mut open, mut seen) = (std::mem::take(&mut self.open), std::mem::take(&mut self.seen));
        open.extend(roots.iter().map(|&r| (r, false)));
        while let Some((id, _)) = open.pop().filter(|_| seen.len() < most) {
            if std::mem::replace(&mut self.place[id as usize], 0) == NONE {
                seen.push(id);
                self.graph.for_operands(self.graph.nodes[id as usize], |o| open.push((o, false)));
            }
        }
        let count = seen.len();
        seen.drain(..).for_each(|id| self.place[id as usize] = NONE);
        open.clear();
        (self.open, self.seen) = (open, seen);
        count
    }

    fn queue_term(&mut self, id: Id, w: f64) {
        self.weight[id as usize] += w;
        if !std::mem::replace(&mut self.queued[id as usize], true) {
            self.queue.push(id);
        }
    }

    /// The argument of a function of one argument, if it is a long sum.
    fn long_argument(&mut self, term: Id) -> Option<Id> {
        let mut at = term;
        loop {
            at = match self.graph.nodes[at as usize] {
                Node::Unary(_, a) => a,
                // What is below a short sum is shorter.
                Node::Binary(Binary::Add | Binary::Sub, ..) if at != term => {
                    return self.is_long(at).then_some(at);
                }
                Node::Binary(Binary::Mul, a, b) if self.base(a, 0) == self.base(b, 0) => self.base(a, 0),
                Node::Binary(_, a, b) if a == b => a,
                Node::Binary(_, a, b) if self.graph.value(b).is_some() => a,
                Node::Binary(_, a, b) if self.graph.value(a).is_some() => b,
                _ => return None,
            };
        }
    }

    /// a where the node is a product of a's, as whole powers are.
    fn base(&self, id: Id, depth: u32) -> Id {
        const POWERS: u32 = 8;
        match self.graph.nodes[id as usize] {
            Node::Binary(Binary::Mul, a, b) if depth < POWERS => {
                let (a, b) = (self.base(a, depth + 1), self.base(b, depth + 1));
                if a == b { a } else { id }
            }
            _ => id,
        }
    }

    /// It depends on many variables.
    fn is_long(&mut self, id: Id) -> bool {
        let (mut open, mut seen) = (std::mem::take(&mut self.open), std::mem::take(&mut self.seen));
        let mut found = 0;
        open.push((id, false));
        while let Some((id, _)) = open.pop().filter(|_| found < LONG) {
            if std::mem::replace(&mut self.place[id as usize], 0) == NONE {
                seen.push(id);
                match self.graph.nodes[id as usize] {
                    Node::Var(_) => found += 1,
                    node => self.graph.for_operands(node, |o| open.push((o, false))),
                }
            }
        }
        seen.drain(..).for_each(|id| self.place[id as usize] = NONE);
        open.clear();
        (self.open, self.seen) = (open, seen);
        found >= LONG
    }

    fn objective(&mut self, f: &Function<'_>) {
        let mut sum = self.sum(f.node);
        sum.constant += f.constant;
        sum.linear.extend(f.linear);
        let terms = std::mem::take(&mut sum.terms);
        let mut wrapped = Vec::new();
        for term in terms {
            match self.long_argument(term.0) {
                Some(alpha) => wrapped.push((term, alpha)),
                None => sum.terms.push(term),
            }
        }
        self.row(&sum, None, 1.0, false);
        for ((term, weight), alpha) in wrapped {
            self.wrapped(term, alpha, (weight, 0.0), false);
        }
    }

    fn constraint(&mut self, f: &Function<'_>) {
        let row = self.constraints;
        self.constraints += 1;
        let mut sum = self.sum(f.node);
        sum.constant += f.constant;
        sum.linear.extend(f.linear);
        self.out.in_sides.extend(sum.params.drain(..).map(|(k, w)| (row, k, w)));
        if let ([(term, weight)], []) = (sum.terms.as_slice(), sum.linear.as_slice())
            && let Some(alpha) = self.long_argument(*term)
        {
            let (term, weight) = (*term, *weight);
            self.wrapped(term, alpha, (weight, sum.constant), true);
            return;
        }
        self.row(&sum, None, 1.0, true);
    }

    /// weight term + constant, with term = g(alpha).
    fn wrapped(&mut self, term: Id, alpha: Id, (weight, constant): (f64, f64), constraint: bool) {
        let Term { mut words, mut params, .. } = self.words(term, Some(alpha));
        let last = results(&words) - 1;
        if constant != 0.0 {
            // g = term + constant / weight: the weight is the scale.
            words.extend([Word::Binary(Binary::Add), Word::Result(last), Word::Parameter]);
            params.push(Slot { value: constant / weight, of: None });
        }
        let number = self.groups.enter(&words, 1, &params);
        let sum = self.sum(Some(alpha));
        self.row(&sum, Some((number, &params)), 1.0 / weight, constraint);
    }

    /// A group: its argument, its type, its scale.
    fn row(&mut self, sum: &Sum, group: Option<(u32, &[Slot])>, scale: f64, constraint: bool) {
        for &(term, weight) in &sum.terms {
            let element = self.element(term);
            self.out.uses.items.push((element, weight));
        }
        for &(k, weight) in &sum.params {
            let element = self.constant_element(k);
            self.out.uses.items.push((element, weight));
        }
        let out = &mut self.out;
        out.uses.start.push(out.uses.items.len());
        // Coefficients of the same variable are added; places are numbered within the row.
        let first = out.linear.items.len();
        for &(v, a) in &sum.linear {
            let place = &mut self.var_place[v as usize];
            if *place == NONE {
                *place = out.linear.items.len() as u32;
                out.linear.items.push((v, a));
            } else {
                out.linear.items[*place as usize].1 += a;
            }
        }
        sum.linear.iter().for_each(|l| self.var_place[l.0 as usize] = NONE);
        let mut kept = first;
        for at in first..out.linear.items.len() {
            if out.linear.items[at].1 != 0.0 {
                out.linear.items[kept] = out.linear.items[at];
                kept += 1;
            }
        }
        out.linear.items.truncate(kept);
        out.linear.start.push(kept);
        out.constraint.push(constraint);
        out.constant.push(-sum.constant);
        out.scale.push(scale);
        out.group_type.push(group.map(|g| g.0));
        self.group_params.items.extend(group.map_or(&[][..], |g| g.1));
        self.group_params.start.push(self.group_params.items.len());
    }

    fn element(&mut self, term: Id) -> u32 {
        let known = self.element_of[term as usize];
        if known != NONE {
            return known;
        }
        let read = self.words(term, None);
        let element = self.new_element(&read);
        self.term = read;
        self.element_of[term as usize] = element;
        element
    }

    /// The element that is a parameter of the model.
    fn constant_element(&mut self, k: u32) -> u32 {
        let slot = Slot { value: self.params[k as usize], of: Some(k) };
        self.new_element(&Term { words: vec![Word::Same, Word::Parameter], params: vec![slot], vars: vec![] })
    }

    fn new_element(&mut self, Term { words, params, vars }: &Term) -> u32 {
        let number = self.elements.enter(words, vars.len(), params);
        let element = self.out.element_type.len() as u32;
        self.out.element_type.push(number);
        self.out.element_vars.items.extend_from_slice(vars);
        self.out.element_vars.start.push(self.out.element_vars.items.len());
        self.element_params.items.extend_from_slice(params);
        self.element_params.start.push(self.element_params.items.len());
        element
    }

    /// The instructions below `root`, operands first, and its variables in the order in which they come; `argument` is variable 0 where
    /// it is given.
    fn words(&mut self, root: Id, argument: Option<Id>) -> Term {
        const VARIABLE: u32 = 1 << 31;
        let graph = self.graph;
        let (mut open, mut seen) = (std::mem::take(&mut self.open), std::mem::take(&mut self.seen));
        let mut out = std::mem::take(&mut self.term);
        out.words.clear();
        out.params.clear();
        out.vars.clear();
        let mut results = 0;
        if let Some(a) = argument {
            self.place[a as usize] = VARIABLE;
            seen.push(a);
        }
        open.push((root, false));
        while let Some((id, ready)) = open.pop() {
            let node = graph.nodes[id as usize];
            if self.place[id as usize] != NONE || matches!(node, Node::Const(_) | Node::Param(_)) {
                continue;
            }
            if let Node::Var(v) = node {
                self.place[id as usize] = VARIABLE | out.vars.len() as u32;
                out.vars.push(v);
                seen.push(id);
                continue;
            }
            let operands = self.operands(node);
            if !ready {
                open.push((id, true));
                open.extend(operands.iter().flatten().rev().map(|&o| (o, false)));
                continue;
            }
            out.words.push(match node {
                Node::Unary(op, _) => Word::Unary(op),
                Node::Binary(op, ..) => Word::Binary(op),
                _ => Word::Select,
            });
            for (k, &o) in operands.iter().flatten().enumerate() {
                out.words.push(match (graph.nodes[o as usize], self.place[o as usize]) {
                    (Node::Const(bits), _) if k == 1 && is_power(node) => Word::Constant(bits),
                    (Node::Const(bits), _) => {
                        out.params.push(Slot { value: f64::from_bits(bits), of: None });
                        Word::Parameter
                    }
                    (Node::Param(k), _) => {
                        out.params.push(Slot { value: self.params[k as usize], of: Some(k) });
                        Word::Parameter
                    }
                    (_, place) if place & VARIABLE != 0 => Word::Variable(place & !VARIABLE),
                    (_, place) => Word::Result(place),
                });
            }
            self.place[id as usize] = results;
            results += 1;
            seen.push(id);
        }
        seen.drain(..).for_each(|id| self.place[id as usize] = NONE);
        (self.open, self.seen) = (open, seen);
        out
    }

    /// Operands in an order that does not depend on which came into the graph first.
    fn operands(&self, node: Node) -> [Option<Id>; 3] {
        match node {
            Node::Unary(_, a) => [Some(a), None, None],
            Node::Binary(op, a, b) if op.commutes() && self.hash[b as usize] < self.hash[a as usize] => {
                [Some(b), Some(a), None]
            }
            Node::Binary(_, a, b) => [Some(a), Some(b), None],
            Node::Select(c, a, b) => [Some(c), Some(a), Some(b)],
            Node::Const(_) | Node::Var(_) | Node::Param(_) | Node::External { .. } => [None; 3],
        }
    }

    fn finish(mut self) -> Separated {
        let out = &mut self.out;
        let types = out.element_type.iter().map(|t| Some(*t));
        (out.element_params, out.element_slots) = self.elements.own_params(types, &self.element_params);
        (out.group_params, out.group_slots) =
            self.groups.own_params(out.group_type.iter().copied(), &self.group_params);
        out.element_dims = self.elements.dims();
        out.element_bodies = self.elements.bodies();
        out.group_bodies = self.groups.bodies();
        self.out
    }
}

/// Exponents stay constants: what is a square must not become a general power.
fn is_power(node: Node) -> bool {
    matches!(node, Node::Binary(Binary::Pow | Binary::Powi, ..))
}

/// Structural hashes, blind for variables and constants.
fn hashes(graph: &Graph) -> Vec<u64> {
    let mut all: Vec<u64> = Vec::with_capacity(graph.nodes.len());
    for &node in &graph.nodes {
        let mix = |tag: u64, parts: &[Id]| {
            let mut h = tag.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            for &p in parts {
                h = (h ^ all[p as usize]).wrapping_mul(0xd6e8_feb8_6659_fd93).rotate_left(29);
            }
            h | 2
        };
        let hash = match node {
            Node::Const(_) | Node::Param(_) => 0,
            Node::Var(_) => 1,
            Node::Unary(op, a) => mix(2 + op as u64, &[a]),
            Node::Binary(op, a, b) if op.commutes() => {
                let (a, b) = if all[b as usize] < all[a as usize] { (b, a) } else { (a, b) };
                mix(64 + op as u64, &[a, b])
            }
            Node::Binary(op, a, b) => mix(64 + op as u64, &[a, b]),
            Node::Select(c, a, b) => mix(128, &[c, a, b]),
            Node::External { call, output } => mix(256 + u64::from(call) * 16 + u64::from(output), &[]),
        };
        all.push(hash);
    }
    all
}

/// Sizes of the nodes as trees.
fn trees(graph: &Graph) -> Vec<f64> {
    let mut all: Vec<f64> = Vec::with_capacity(graph.nodes.len());
    for &node in &graph.nodes {
        let mut size = 1.0;
        graph.for_operands(node, |o| size += all[o as usize]);
        all.push(size);
    }
    all
}

#[cfg(test)]
#[path = "separate_tests.rs"]
mod tests;
