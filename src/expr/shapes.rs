//! From a graph to a program over lanes: nodes of equal shape become one instruction.
//!
//! Two nodes have equal shape if they are at the same height above the inputs, have the same operation and operands of equal shape;
//! inputs are equal by their groups, constants always. So the neurons of a layer, the cells of a grid, the terms of a sum of derivatives
//! are lanes of a few instructions. Heights make sure that lanes do not depend on each other.
//!
//! A product that is only added or subtracted is part of that instruction (with both roundings), and a sum of such terms that is only
//! the beginning of a longer one is part of the longer one: c + a1 b1 - a2 b2 ... is one instruction. One whose operands would have to
//! be gathered is cut into pieces without lists where that is cheaper: rows of an outer product, for example.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::ops::Range;
use std::sync::Arc;

use super::graph::{Binary, Graph, Id, Node, Unary, WordHasher};
use super::lanes::{Instruction, LaneProgram, Operand, Operation, Results, Run, Term};

/// Inputs of a program: their places come first, variables before parameters.
#[derive(Debug, Clone)]
pub(crate) struct Inputs {
    /// First variable of each group but the first, and the end.
    pub groups: Vec<u32>,
    pub params: u32,
    /// Variables from this one on may change between late runs.
    pub late: u32,
}

impl Inputs {
    fn vars(&self) -> u32 {
        self.groups.last().copied().unwrap_or(0)
    }
    /// Early places that inputs take: late variables leave theirs unused.
    fn early(&self) -> usize {
        (self.vars() + self.params) as usize
    }
}

/// Number of a class of equal nodes; 0: constants, 1: parameters, then the groups of variables.
type Class = u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Shape {
    Unary(Unary, Class),
    Binary(Binary, Class, Class),
    /// Sum or difference of the first and a product; is it only the beginning of a longer one.
    Sum(Binary, bool, [Class; 3]),
    Select([Class; 3]),
    /// Node: external functions are not put together.
    External(Id),
}

/// Late, height, what it is.
type Key = (bool, u32, Shape);

/// Lanes of the instructions of one class.
type Pieces = Vec<Range<usize>>;

struct Members {
    key: Key,
    nodes: Vec<Id>,
}

struct Compiler<'a> {
    graph: &'a Graph,
    inputs: &'a Inputs,
    class: Vec<Class>,
    /// Products that are part of the instruction that uses them.
    fused: Vec<bool>,
    /// Sums that are the beginning of one that uses them.
    absorbed: Vec<bool>,
    /// Height above the inputs.
    height: Vec<u32>,
    late: Vec<bool>,
    place: Vec<u32>,
    /// Place among the roots.
    root: Vec<u32>,
    classes: Vec<Members>,
    program: LaneProgram,
}

const NONE: u32 = u32::MAX;

/// Nanoseconds of an instruction over a few lanes, of each of its operands, and of reading one number by a list.
const INSTRUCTION: f64 = 5.0;
const OPERAND: f64 = 1.0;
const LISTED: f64 = 0.5;
/// What a result costs more that does not lie behind the one before.
const SCATTERED: f64 = 0.5;
/// Results of a run of their own.
const LONG: u32 = 8;

/// Compiles what the roots need. Roots are (result, node), in the order of the results; those from `split` on are results of their own.
pub(crate) fn compile(graph: &Graph, inputs: &Inputs, roots: &[(u32, Id)], split: u32) -> LaneProgram {
    let nodes = roots.iter().map(|r| r.1 as usize + 1).max().unwrap_or(0);
    let mut c = Compiler {
        graph,
        inputs,
        class: vec![NONE; nodes],
        fused: vec![false; nodes],
        absorbed: vec![false; nodes],
        height: vec![0; nodes],
        late: vec![false; nodes],
        place: vec![NONE; nodes],
        root: vec![NONE; nodes],
        classes: Vec::new(),
        program: LaneProgram::default(),
    };
    for &(result, id) in roots.iter().rev() {
        c.root[id as usize] = result;
    }
    let uses = uses(graph, roots, nodes);
    c.dependence(&uses);
    c.fuse(&uses);
    c.classify(&uses);
    c.emit();
    let (first, second) = roots.split_at(roots.partition_point(|r| r.0 < split));
    c.program.results = [c.results(first, 0), c.results(second, split)];
    c.program
}

/// How often each node is used; 0: not needed.
fn uses(graph: &Graph, roots: &[(u32, Id)], nodes: usize) -> Vec<u32> {
    let mut uses = vec![0u32; nodes];
    roots.iter().for_each(|&(_, id)| uses[id as usize] += 2);
    for id in (0..nodes).rev() {
        if uses[id] > 0 {
            graph.for_operands(graph.nodes[id], |o| uses[o as usize] += 1);
        }
    }
    uses
}

impl Compiler<'_> {
    /// What depends on late inputs.
    fn dependence(&mut self, uses: &[u32]) {
        for id in (0..uses.len()).filter(|&id| uses[id] > 0) {
            let node = self.graph.nodes[id];
            let mut late = matches!(node, Node::Var(k) if k >= self.inputs.late);
            self.graph.for_operands(node, |o| late |= self.late[o as usize]);
            self.late[id] = late;
        }
    }

    /// Finds products that one sum or difference uses and nobody else.
    fn fuse(&mut self, uses: &[u32]) {
        for id in (0..uses.len()).filter(|&id| uses[id] > 0) {
            let Node::Binary(op @ (Binary::Add | Binary::Sub), a, b) = self.graph.nodes[id] else { continue };
            let product = |o: Id| {
                let node = self.graph.nodes[o as usize];
                let same = self.late[o as usize] == self.late[id] && uses[o as usize] == 1;
                same && matches!(node, Node::Binary(Binary::Mul, ..))
            };
            // Of two products the later one: it is the next term of a sum.
            if product(b) && (op == Binary::Sub || !product(a) || b > a) {
                self.fused[b as usize] = true;
            } else if op == Binary::Add && product(a) {
                self.fused[a as usize] = true;
            }
            if let Some((_, c, _)) = self.term(id as Id) {
                let same = self.late[c as usize] == self.late[id] && uses[c as usize] == 1;
                self.absorbed[c as usize] = same && self.term(c).is_some();
            }
        }
    }

    /// Sum or difference, c and the product of c + a b or c - a b.
    fn term(&self, id: Id) -> Option<(Binary, Id, Id)> {
        match self.graph.nodes[id as usize] {
            Node::Binary(op @ (Binary::Add | Binary::Sub), a, b) => {
                let fused = |o: Id| self.fused[o as usize];
                if fused(b) { Some((op, a, b)) } else { fused(a).then_some((op, b, a)) }
            }
            _ => None,
        }
    }

    /// Operands in the order of the classes.
    fn ordered(&self, op: Binary, a: Id, b: Id) -> [Id; 2] {
        let swap = op.commutes() && self.class[a as usize] > self.class[b as usize];
        if swap { [b, a] } else { [a, b] }
    }

    fn factors(&self, product: Id) -> [Id; 2] {
        match self.graph.nodes[product as usize] {
            Node::Binary(op, a, b) => self.ordered(op, a, b),
            _ => [product; 2],
        }
    }

    /// All operands of a node: of a long sum c, then the pairs of factors from the first term to the last.
    fn operands(&self, id: Id, out: &mut Vec<Id>) {
        let first = out.len();
        match self.graph.nodes[id as usize] {
            Node::Unary(_, a) => out.push(a),
            Node::Select(c, a, b) => out.extend([c, a, b]),
            Node::Binary(op, a, b) if self.term(id).is_none() => out.extend(self.ordered(op, a, b)),
            Node::Binary(..) => {
                let mut at = id;
                while let Some((_, c, product)) = self.term(at) {
                    let [a, b] = self.factors(product);
                    out.extend([b, a]);
                    at = c;
                    if !self.absorbed[c as usize] {
                        break;
                    }
                }
                out.push(at);
                out[first..].reverse();
            }
            _ => {}
        }
    }

    fn shape(&self, id: Id) -> Shape {
        let class = |o: Id| self.class[o as usize];
        match self.graph.nodes[id as usize] {
            Node::Unary(op, a) => Shape::Unary(op, class(a)),
            Node::Select(c, a, b) => Shape::Select([c, a, b].map(class)),
            Node::Binary(op, a, b) => match self.term(id) {
                Some((op, c, product)) => {
                    let [a, b] = self.factors(product);
                    Shape::Sum(op, self.absorbed[id as usize], [c, a, b].map(class))
                }
                None => {
                    let [a, b] = self.ordered(op, a, b);
                    Shape::Binary(op, class(a), class(b))
                }
            },
            _ => Shape::External(id),
        }
    }

    /// Gives every node its class.
    fn classify(&mut self, uses: &[u32]) {
        let mut known: HashMap<Key, Class, BuildHasherDefault<WordHasher>> = HashMap::default();
        let first_class = 2 + self.inputs.groups.len() as Class;
        for id in (0..uses.len()).filter(|&id| uses[id] > 0) {
            let node = self.graph.nodes[id];
            let (class, place) = match node {
                Node::Const(_) => (0, NONE),
                Node::Param(k) => (1, self.inputs.vars() + k),
                Node::Var(k) => {
                    let group = self.inputs.groups.partition_point(|&g| g <= k);
                    (2 + group as Class, if self.late[id] { k - self.inputs.late } else { k })
                }
                _ => {
                    let mut height = 0;
                    self.graph.for_operands(node, |o| height = height.max(self.height[o as usize]));
                    // A product that is part of its user adds no height.
                    self.height[id] = height + u32::from(!self.fused[id]);
                    if self.fused[id] {
                        continue;
                    }
                    let key = (self.late[id], self.height[id], self.shape(id as Id));
                    let next = self.classes.len() as Class;
                    let number = *known.entry(key).or_insert(next);
                    if number == next {
                        self.classes.push(Members { key, nodes: Vec::new() });
                    }
                    self.classes[number as usize].nodes.push(id as Id);
                    (first_class + number, NONE)
                }
            };
            (self.class[id], self.place[id]) = (class, place);
        }
    }

    /// Instructions by height and first node.
    fn emit(&mut self) {
        let mut classes = std::mem::take(&mut self.classes);
        classes.retain(|c| !matches!(c.key.2, Shape::Sum(_, true, _)));
        classes.sort_by_key(|c| c.key.1);
        let mut places = [self.inputs.early() as u32, self.inputs.vars() - self.inputs.late];
        for Members { key, nodes } in classes {
            let place = &mut places[usize::from(key.0)];
            let (table, pieces) = self.arrange(&nodes);
            for (k, &id) in table.nodes.iter().enumerate() {
                self.place[id as usize] = *place + k as u32;
            }
            for piece in pieces {
                let (first, lanes) = (*place + piece.start as u32, piece.len() as u32);
                let operation = self.operation(&table, piece);
                let code = if key.0 { &mut self.program.late } else { &mut self.program.early };
                code.push(Instruction { operation, first, lanes });
            }
            *place += table.nodes.len() as u32;
        }
        self.program.places = places.map(|p| p as usize);
    }

    /// The order of a class and its pieces: the cheapest of the orders by result and by some of the operands, in one piece with lists or
    /// in pieces without.
    fn arrange(&self, nodes: &[Id]) -> (Table, Pieces) {
        let table = Table::new(self, nodes);
        if nodes.len() == 1 {
            return (table, whole(1));
        }
        let w = table.width;
        let mut leading: Vec<Option<usize>> = vec![None];
        leading.extend((0..w.min(3)).map(Some));
        leading.extend((w.saturating_sub(2).max(3)..w).map(Some));
        let mut best: Option<(f64, Table, Pieces)> = None;
        for column in leading {
            let table = table.sorted(column);
            let (cost, pieces) = table.pieces();
            if best.as_ref().is_none_or(|b| cost < b.0) {
                best = Some((cost, table, pieces));
            }
        }
        best.map_or((table, Vec::new()), |(_, table, pieces)| (table, pieces))
    }

    fn operation(&mut self, table: &Table, piece: Range<usize>) -> Operation {
        let graph = self.graph;
        let node = table.nodes[piece.start];
        let mut operand = |k: usize| {
            let list: Vec<Id> = piece.clone().map(|lane| table.ids[lane * table.width + k]).collect();
            self.operand(&list)
        };
        match graph.nodes[node as usize] {
            Node::Unary(op, _) => Operation::Unary(op, operand(0)),
            Node::Select(..) => Operation::Select([0, 1, 2].map(operand)),
            Node::External { call, output } => {
                let call = &graph.calls[call as usize];
                let args: Vec<Operand> = call.args.iter().map(|&a| self.operand(&[a])).collect();
                let p = &mut self.program;
                let known = p.functions.iter().position(|f| Arc::ptr_eq(f, &call.function));
                let function = known.unwrap_or(p.functions.len());
                if known.is_none() {
                    p.functions.push(Arc::clone(&call.function));
                }
                let first = p.args.len() as u32;
                p.args.extend(args);
                Operation::External(function as u32, output, first)
            }
            Node::Binary(op, ..) if table.width == 2 => Operation::Binary(op, operand(0), operand(1)),
            _ => {
                let c = operand(0);
                let pairs: Vec<[Operand; 2]> =
                    (0..table.width / 2).map(|k| [operand(1 + 2 * k), operand(2 + 2 * k)]).collect();
                let first = self.program.terms.len() as u32;
                // From the last term to the first.
                let mut at = node;
                for &[a, b] in pairs.iter().rev() {
                    let Some((op, next, _)) = self.term(at) else { break };
                    self.program.terms.push(Term { minus: op == Binary::Sub, a, b });
                    at = next;
                }
                self.program.terms[first as usize..].reverse();
                Operation::Sum(c, first, pairs.len() as u32)
            }
        }
    }

    /// Where the operands are.
    fn operand(&mut self, list: &[Id]) -> Operand {
        if self.class[list[0] as usize] == 0 {
            return self.constants(list);
        }
        let places = || list.iter().map(|&id| self.place[id as usize]);
        let (first, late) = (self.place[list[0] as usize], self.late[list[0] as usize]);
        if places().zip(first..).all(|(p, k)| p == k) {
            return if late { Operand::LatePlaces(first) } else { Operand::Places(first) };
        }
        if places().all(|p| p == first) {
            return if late { Operand::LatePlace(first) } else { Operand::Place(first) };
        }
        let at = self.program.lists.len() as u32;
        let places: Vec<u32> = places().collect();
        self.program.lists.extend(places);
        if late { Operand::LateList(at) } else { Operand::List(at) }
    }

    fn constants(&mut self, list: &[Id]) -> Operand {
        let value = |id: Id| self.graph.value(id).unwrap_or(f64::NAN);
        let first = value(list[0]);
        if list.iter().all(|&id| value(id).to_bits() == first.to_bits()) {
            return Operand::Constant(first);
        }
        let at = self.program.constants.len() as u32;
        self.program.constants.extend(list.iter().map(|&id| value(id)));
        Operand::Constants(at)
    }

    /// Neighbouring results whose places are neighbours are one run.
    fn results(&self, roots: &[(u32, Id)], from: u32) -> Results {
        let mut runs: Vec<Run> = Vec::new();
        let mut constant = Vec::new();
        for (result, id) in roots.iter().map(|&(result, id)| (result - from, id)) {
            if let Some(value) = self.graph.value(id) {
                constant.push((result, value));
                continue;
            }
            let place = self.place[id as usize];
            match runs.last_mut() {
                Some(r) if r.result + r.len == result && r.place + r.len == place => r.len += 1,
                _ => runs.push(Run { result, place, len: 1 }),
            }
        }
        let (long, short): (Vec<Run>, Vec<Run>) = runs.into_iter().partition(|r| r.len >= LONG);
        let single = short.iter().flat_map(|r| (0..r.len).map(|k| (r.result + k, r.place + k))).collect();
        Results { runs: long, single, constant }
    }
}

/// All lanes in one piece.
fn whole(lanes: usize) -> Pieces {
    std::iter::once(0..lanes).collect()
}

/// The nodes of a class with their operands.
#[derive(Clone)]
struct Table {
    nodes: Vec<Id>,
    /// Operands of a node.
    width: usize,
    /// Operands, node by node, and their places; constants have none.
    ids: Vec<Id>,
    places: Vec<u32>,
    /// Places among the roots.
    roots: Vec<u32>,
}

impl Table {
    fn new(c: &Compiler<'_>, nodes: &[Id]) -> Self {
        let mut ids = Vec::new();
        nodes.iter().for_each(|&id| c.operands(id, &mut ids));
        let places = ids.iter().map(|&id| c.place[id as usize]).collect();
        let roots = nodes.iter().map(|&id| c.root[id as usize]).collect();
        Self { nodes: nodes.to_vec(), width: ids.len() / nodes.len(), ids, places, roots }
    }

    fn row(&self, lane: usize) -> &[u32] {
        &self.places[lane * self.width..][..self.width]
    }

    /// By the places of one column, or by result.
    fn sorted(&self, column: Option<usize>) -> Self {
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        let leading = |lane: usize| column.map_or(self.roots[lane], |k| self.row(lane)[k]);
        order.sort_by(|&a, &b| leading(a).cmp(&leading(b)).then_with(|| self.row(a).cmp(self.row(b))));
        let rows = order.iter().flat_map(|&lane| lane * self.width..(lane + 1) * self.width);
        Self {
            nodes: order.iter().map(|&lane| self.nodes[lane]).collect(),
            width: self.width,
            ids: rows.clone().map(|k| self.ids[k]).collect(),
            places: rows.map(|k| self.places[k]).collect(),
            roots: order.iter().map(|&lane| self.roots[lane]).collect(),
        }
    }

    /// How the places of a column go on from one lane to the next, if that can be read without a list.
    fn step(&self, lane: usize, k: usize) -> Option<u32> {
        let step = self.row(lane + 1)[k].wrapping_sub(self.row(lane)[k]);
        (step <= 1).then_some(step)
    }

    /// Cost in nanoseconds, roughly, and pieces.
    fn pieces(&self) -> (f64, Pieces) {
        let lanes = self.nodes.len();
        let each = INSTRUCTION + OPERAND * self.width as f64;
        let even = |k: usize| {
            let first = self.step(0, k);
            first.is_some() && (1..lanes - 1).all(|lane| self.step(lane, k) == first)
        };
        let lists = (0..self.width).filter(|&k| !even(k)).count();
        let scattered = match self.roots[0] {
            NONE => 0,
            _ => self.roots.windows(2).filter(|w| w[0].wrapping_add(1) != w[1]).count(),
        };
        let apart = SCATTERED * scattered as f64;
        let in_one = each + LISTED * (lanes * lists) as f64;
        if lists == 0 {
            return (in_one + apart, whole(lanes));
        }
        let (mut pieces, mut start) = (Vec::new(), 0);
        while start < lanes && (pieces.len() as f64) * each < in_one {
            let mut end = start + 1;
            let goes_on = |end: usize, k: usize| {
                let step = self.step(end - 1, k);
                step.is_some() && step == self.step(start, k)
            };
            while end < lanes && (0..self.width).all(|k| goes_on(end, k)) {
                end += 1;
            }
            pieces.push(start..end);
            start = end;
        }
        let cut = pieces.len() as f64 * each;
        if start == lanes && cut < in_one { (cut + apart, pieces) } else { (in_one + apart, whole(lanes)) }
    }
}

#[cfg(test)]
#[path = "shapes_tests.rs"]
mod tests;
