//! Straight-line programs: each instruction runs over a block of elements.
//!
//! Tried without gain on the larger CUTEst instances: the same code compiled for AVX2 (gathers, scatters and the library's
//! transcendental functions dominate).

use std::sync::Arc;

use super::external::External;
use super::graph::{Binary, Graph, Id, Node, Unary};
use super::kernels::{map1, map2, with_binary, with_unary};

/// Elements that an instruction treats at once: 1 kB a register, so that the registers of a program stay in the cache.
pub(crate) const BLOCK: usize = 128;

/// Where an operand is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Source {
    Register(u32),
    /// A parameter, read in place.
    Param(u32),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Instruction {
    Unary(Unary, u32, Source),
    Binary(Binary, u32, Source, Source),
    /// The left operand is a constant.
    ConstLeft(Binary, u32, f64, Source),
    /// The right operand is a constant.
    ConstRight(Binary, u32, Source, f64),
    Select(u32, Source, Source, Source),
    Fill(u32, f64),
    /// Destination, function, output, place of the first argument: the last three of the program's lists.
    External(u32, u32, u32, u32),
    /// To a row of the results of a level.
    Store(Source, usize, usize),
}

/// A result to compute: node, level (0: values, 1: first, 2: second derivatives) and row within the level.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub node: Id,
    pub level: usize,
    pub row: usize,
}

/// A compiled program.
#[derive(Debug, Clone, Default)]
pub(crate) struct Program {
    /// (variable, register).
    loads: Vec<(u32, u32)>,
    code: Vec<Instruction>,
    registers: usize,
    functions: Vec<Arc<dyn External>>,
    /// Arguments of all calls.
    args: Vec<Source>,
    /// Arguments and outputs of the largest call.
    call: usize,
}

impl Program {
    /// Compiles the nodes that the results need, and no others. `wanted` is sorted by node.
    pub fn compile(graph: &Graph, wanted: &[Wanted]) -> Self {
        if wanted.is_empty() {
            return Self::default();
        }
        let last = last_uses(graph, wanted);
        let mut c = Compiler {
            graph,
            last,
            place: vec![u32::MAX; graph.nodes.len()],
            free: Vec::new(),
            program: Self::default(),
        };
        let mut rest = wanted;
        for id in 0..graph.nodes.len() as Id {
            if c.last[id as usize] == 0 {
                continue;
            }
            c.node(id);
            while let Some((w, more)) = rest.split_first().filter(|(w, _)| w.node == id) {
                let source = c.source(id, &mut Vec::new());
                c.program.code.push(Instruction::Store(source, w.level, w.row));
                rest = more;
            }
            c.release(id, id);
        }
        c.program
    }

    /// Registers needed for this many elements, in doubles.
    pub fn scratch(&self, count: usize) -> usize {
        self.registers * BLOCK.min(count) + self.call
    }

    /// Runs over `count` elements. `load(k, first, out)` fetches variable k of elements `first..`; parameters and rows of results
    /// are stored one after the other, each of length `count`.
    pub fn run(
        &self,
        count: usize,
        load: &dyn Fn(usize, usize, &mut [f64]),
        params: &[f64],
        registers: &mut [f64],
        results: &mut [&mut [f64]; 3],
    ) {
        if self.code.is_empty() {
            return;
        }
        let stride = BLOCK.min(count);
        let (registers, call) = registers.split_at_mut(self.registers * stride);
        let mut first = 0;
        while first < count {
            let len = BLOCK.min(count - first);
            for &(k, r) in &self.loads {
                load(k as usize, first, &mut registers[r as usize * stride..][..len]);
            }
            let (registers, call) = (&mut *registers, &mut *call);
            let mut block = Running { program: self, registers, call, params, count, stride, first, len };
            for instruction in &self.code {
                block.execute(instruction, results);
            }
            first += len;
        }
    }
}

/// For each node 1 + the number of the last node that uses it; 0: not needed.
fn last_uses(graph: &Graph, wanted: &[Wanted]) -> Vec<u32> {
    let mut last = vec![0u32; graph.nodes.len()];
    for w in wanted {
        last[w.node as usize] = last[w.node as usize].max(w.node + 1);
    }
    for id in (0..graph.nodes.len()).rev() {
        if last[id] != 0 {
            let user = id as u32 + 1;
            graph.for_operands(graph.nodes[id], |o| last[o as usize] = last[o as usize].max(user));
        }
    }
    last
}

struct Compiler<'a> {
    graph: &'a Graph,
    last: Vec<u32>,
    /// Register of each node.
    place: Vec<u32>,
    free: Vec<u32>,
    program: Program,
}

impl Compiler<'_> {
    fn register(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.program.registers += 1;
            self.program.registers as u32 - 1
        })
    }
    /// Operand of an instruction; a constant is put into a register that the caller frees.
    fn source(&mut self, id: Id, filled: &mut Vec<u32>) -> Source {
        match self.graph.nodes[id as usize] {
            Node::Param(k) => Source::Param(k),
            Node::Const(bits) => {
                let r = self.register();
                self.program.code.push(Instruction::Fill(r, f64::from_bits(bits)));
                filled.push(r);
                Source::Register(r)
            }
            _ => Source::Register(self.place[id as usize]),
        }
    }
    fn node(&mut self, id: Id) {
        let node = self.graph.nodes[id as usize];
        let mut filled = Vec::new();
        // The destination is never one of the operands.
        let instruction = match node {
            Node::Const(_) | Node::Param(_) => return,
            Node::Var(k) => {
                let r = self.register_for_load();
                self.place[id as usize] = r;
                self.program.loads.push((k, r));
                return;
            }
            Node::Unary(op, a) => {
                let a = self.source(a, &mut filled);
                Instruction::Unary(op, self.register(), a)
            }
            Node::Binary(op, a, b) => match (self.graph.value(a), self.graph.value(b)) {
                (Some(c), _) => {
                    let b = self.source(b, &mut filled);
                    Instruction::ConstLeft(op, self.register(), c, b)
                }
                (_, Some(c)) => {
                    let a = self.source(a, &mut filled);
                    Instruction::ConstRight(op, self.register(), a, c)
                }
                _ => {
                    let (a, b) = (self.source(a, &mut filled), self.source(b, &mut filled));
                    Instruction::Binary(op, self.register(), a, b)
                }
            },
            Node::Select(c, a, b) => {
                let c = self.source(c, &mut filled);
                let (a, b) = (self.source(a, &mut filled), self.source(b, &mut filled));
                Instruction::Select(self.register(), c, a, b)
            }
            Node::External { call, output } => self.external(call, output, &mut filled),
        };
        self.program.code.push(instruction);
        self.place[id as usize] = match instruction {
            Instruction::Unary(_, d, _)
            | Instruction::Binary(_, d, ..)
            | Instruction::ConstLeft(_, d, ..)
            | Instruction::ConstRight(_, d, ..)
            | Instruction::Select(d, ..)
            | Instruction::External(d, ..) => d,
            Instruction::Fill(..) | Instruction::Store(..) => return,
        };
        self.free.append(&mut filled);
        self.graph.for_operands(node, |o| self.release(o, id));
    }
    fn external(&mut self, call: u32, output: u32, filled: &mut Vec<u32>) -> Instruction {
        let call = &self.graph.calls[call as usize];
        let sources: Vec<Source> = call.args.iter().map(|&a| self.source(a, filled)).collect();
        let dst = self.register();
        let p = &mut self.program;
        let known = p.functions.iter().position(|f| Arc::ptr_eq(f, &call.function));
        let function = known.unwrap_or_else(|| {
            p.functions.push(Arc::clone(&call.function));
            p.functions.len() - 1
        });
        p.call = p.call.max(call.function.arity() + call.function.outputs());
        let first = p.args.len() as u32;
        p.args.extend(sources);
        Instruction::External(dst, function as u32, output, first)
    }
    /// Loads run before everything else: their register must not have been used by an earlier instruction.
    fn register_for_load(&mut self) -> u32 {
        self.program.registers += 1;
        self.program.registers as u32 - 1
    }
    /// Frees the register of a node whose last user is `user`.
    fn release(&mut self, id: Id, user: Id) {
        let place = &mut self.place[id as usize];
        if *place != u32::MAX && self.last[id as usize] == user + 1 {
            self.free.push(*place);
            *place = u32::MAX;
        }
    }
}

/// A block being computed.
struct Running<'a> {
    program: &'a Program,
    registers: &'a mut [f64],
    /// Arguments and outputs of a call.
    call: &'a mut [f64],
    params: &'a [f64],
    count: usize,
    /// Length of a register.
    stride: usize,
    first: usize,
    len: usize,
}

/// Everything but the destination register.
struct Others<'a> {
    left: &'a [f64],
    right: &'a [f64],
    params: &'a [f64],
    right_from: usize,
    count: usize,
    stride: usize,
    first: usize,
    len: usize,
}

impl Others<'_> {
    fn get(&self, source: Source) -> &[f64] {
        match source {
            Source::Param(k) => &self.params[k as usize * self.count + self.first..][..self.len],
            Source::Register(r) => {
                let at = r as usize * self.stride;
                let block =
                    if at < self.right_from { &self.left[at..] } else { &self.right[at - self.right_from..] };
                &block[..self.len]
            }
        }
    }
}

impl Running<'_> {
    /// The destination register and everything else.
    fn split(&mut self, dst: u32) -> (&mut [f64], Others<'_>) {
        let at = dst as usize * self.stride;
        let (left, rest) = self.registers.split_at_mut(at);
        let (d, right) = rest.split_at_mut(self.stride);
        let others = Others {
            left,
            right,
            params: self.params,
            right_from: at + self.stride,
            count: self.count,
            stride: self.stride,
            first: self.first,
            len: self.len,
        };
        (&mut d[..self.len], others)
    }

    fn execute(&mut self, instruction: &Instruction, results: &mut [&mut [f64]; 3]) {
        match *instruction {
            Instruction::Unary(op, dst, a) => {
                let (d, o) = self.split(dst);
                let a = o.get(a);
                macro_rules! run {
                    ($op:expr) => {
                        map1(d, a, |a| $op.apply(a))
                    };
                }
                with_unary!(op, run)
            }
            Instruction::Binary(op, dst, a, b) => {
                let (d, o) = self.split(dst);
                let (a, b) = (o.get(a), o.get(b));
                macro_rules! run {
                    ($op:expr) => {
                        map2(d, a, b, |a, b| $op.apply(a, b))
                    };
                }
                with_binary!(op, run)
            }
            Instruction::ConstLeft(op, dst, c, b) => {
                let (d, o) = self.split(dst);
                let b = o.get(b);
                macro_rules! run {
                    ($op:expr) => {
                        map1(d, b, |b| $op.apply(c, b))
                    };
                }
                with_binary!(op, run)
            }
            Instruction::ConstRight(op, dst, a, c) => {
                let (d, o) = self.split(dst);
                let a = o.get(a);
                macro_rules! run {
                    ($op:expr) => {
                        map1(d, a, |a| $op.apply(a, c))
                    };
                }
                with_binary!(op, run)
            }
            Instruction::Select(dst, c, a, b) => {
                let (d, o) = self.split(dst);
                let (c, a, b) = (o.get(c), o.get(a), o.get(b));
                for (((d, c), a), b) in d.iter_mut().zip(c).zip(a).zip(b) {
                    *d = if *c != 0.0 { *a } else { *b };
                }
            }
            Instruction::Fill(dst, c) => self.split(dst).0.fill(c),
            Instruction::External(dst, function, output, first) => {
                let function = &*self.program.functions[function as usize];
                let args = &self.program.args[first as usize..][..function.arity()];
                let mut call = std::mem::take(&mut self.call);
                let (d, o) = self.split(dst);
                let (x, out) = call.split_at_mut(args.len());
                for (i, d) in d.iter_mut().enumerate() {
                    x.iter_mut().zip(args).for_each(|(x, &s)| *x = o.get(s)[i]);
                    function.eval(x, &mut out[..function.outputs()]);
                    *d = out[output as usize];
                }
                std::mem::swap(&mut self.call, &mut call);
            }
            Instruction::Store(source, level, row) => {
                let at = row * self.count + self.first;
                let from = match source {
                    Source::Param(k) => &self.params[k as usize * self.count + self.first..][..self.len],
                    Source::Register(r) => &self.registers[r as usize * self.stride..][..self.len],
                };
                results[level][at..at + self.len].copy_from_slice(from);
            }
        }
    }
}
