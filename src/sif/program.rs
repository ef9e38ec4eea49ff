//! Block programs: straight-line code that runs one instruction over a block of elements before the next.
//!
//! The function part of a type is lowered to a graph of operations (common subexpressions shared, constants folded);
//! for each level of derivatives only what its outputs need is kept and put into registers of `BLOCK` numbers.

use std::collections::HashMap;

/// Elements per block.
pub(crate) const BLOCK: usize = 128;

/// A node of the graph.
pub(crate) type Node = u32;

/// Unary operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Unary {
    Neg,
    Not,
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
    /// Toward zero.
    Trunc,
    /// To the nearest integer, halves away from zero.
    Nint,
    /// Rounded to 32 bits.
    Single,
}

/// Binary operations; logical values are 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    /// Quotient of integers, toward zero.
    IntDiv,
    Pow,
    Atan2,
    Sign,
    Mod,
    Max,
    Min,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    And,
    Or,
}

/// An operation; constants by their bits so that equal operations can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    Const(u64),
    /// Variable or parameter number k of the type.
    Input(u32),
    Unary(Unary, Node),
    Binary(Binary, Node, Node),
    /// Repeated multiplication, exponent of either sign.
    Power(Node, i32),
    /// If the first is not zero the second, otherwise the third.
    Select(Node, Node, Node),
}

/// The graph of a type.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    ops: Vec<Op>,
    known: HashMap<Op, Node>,
}

fn truth(b: bool) -> f64 {
    f64::from(u8::from(b))
}

impl Unary {
    #[inline]
    fn apply(self, a: f64) -> f64 {
        match self {
            Self::Neg => -a,
            Self::Not => truth(a == 0.0),
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
            Self::Tanh => a.tanh(),
            Self::Trunc => a.trunc(),
            Self::Nint => a.round(),
            Self::Single => f64::from(a as f32),
        }
    }
}

impl Binary {
    #[inline]
    fn apply(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            Self::IntDiv => (a / b).trunc(),
            Self::Pow => a.powf(b),
            Self::Atan2 => a.atan2(b),
            Self::Sign => a.abs().copysign(b),
            Self::Mod => a % b,
            Self::Max => a.max(b),
            Self::Min => a.min(b),
            Self::Eq => truth(a == b),
            Self::Ne => truth(a != b),
            Self::Lt => truth(a < b),
            Self::Le => truth(a <= b),
            Self::Gt => truth(a > b),
            Self::Ge => truth(a >= b),
            Self::And => truth(a != 0.0 && b != 0.0),
            Self::Or => truth(a != 0.0 || b != 0.0),
        }
    }
}

/// x^k by repeated multiplication.
#[inline]
fn power(x: f64, k: i32) -> f64 {
    x.powi(k)
}

impl Graph {
    /// The node of an operation: an equal one if there is, a constant if it can be folded.
    pub fn add(&mut self, op: Op) -> Node {
        let op = self.fold(op);
        if let Some(&node) = self.known.get(&op) {
            return node;
        }
        let node = self.ops.len() as Node;
        self.ops.push(op);
        self.known.insert(op, node);
        node
    }

    pub fn constant(&mut self, value: f64) -> Node {
        self.add(Op::Const(value.to_bits()))
    }

    pub fn unary(&mut self, f: Unary, a: Node) -> Node {
        self.add(Op::Unary(f, a))
    }

    pub fn binary(&mut self, f: Binary, a: Node, b: Node) -> Node {
        self.add(Op::Binary(f, a, b))
    }

    /// The value of a constant node.
    pub fn value(&self, node: Node) -> Option<f64> {
        match self.ops[node as usize] {
            Op::Const(bits) => Some(f64::from_bits(bits)),
            _ => None,
        }
    }

    fn fold(&self, op: Op) -> Op {
        let constant = |v: f64| Op::Const(v.to_bits());
        match op {
            Op::Unary(f, a) => self.value(a).map_or(op, |a| constant(f.apply(a))),
            Op::Binary(f, a, b) => match (self.value(a), self.value(b)) {
                (Some(x), Some(y)) => constant(f.apply(x, y)),
                // Commutative operations are stored one way round.
                _ if matches!(f, Binary::Add | Binary::Mul) && a > b => Op::Binary(f, b, a),
                _ => op,
            },
            Op::Power(a, k) => self.value(a).map_or(op, |a| constant(power(a, k))),
            Op::Select(c, a, b) => match self.value(c) {
                Some(c) => self.ops[if c != 0.0 { a } else { b } as usize],
                None => op,
            },
            Op::Const(_) | Op::Input(_) => op,
        }
    }
}

/// An instruction: registers are numbered, the first `inputs` hold the inputs.
#[derive(Debug, Clone, Copy)]
enum Instruction {
    Unary(Unary, u32, u32),
    Binary(Binary, u32, u32, u32),
    Power(i32, u32, u32),
    Select(u32, u32, u32, u32),
}

/// Straight-line code for some outputs.
#[derive(Debug, Default)]
pub(crate) struct Program {
    code: Vec<Instruction>,
    constants: Vec<(u32, f64)>,
    /// Register of each output.
    pub outputs: Vec<u32>,
    registers: usize,
}

/// Registers of a running program: input k is register k.
#[derive(Debug, Default)]
pub(crate) struct Registers {
    data: Vec<Box<[f64; BLOCK]>>,
    spare: Option<Box<[f64; BLOCK]>>,
    /// Program whose constants are loaded.
    loaded: usize,
}

impl Registers {
    pub fn get(&self, register: u32) -> &[f64; BLOCK] {
        &self.data[register as usize]
    }
    pub fn input(&mut self, k: usize) -> &mut [f64; BLOCK] {
        &mut self.data[k]
    }
}

impl Program {
    /// Code for `outputs`, with as few registers as liveness allows.
    pub fn new(graph: &Graph, inputs: usize, outputs: &[Node]) -> Self {
        let ops = &graph.ops;
        let mut needed = vec![false; ops.len()];
        let mut stack: Vec<Node> = outputs.to_vec();
        while let Some(k) = stack.pop() {
            if !std::mem::replace(&mut needed[k as usize], true) {
                operands(ops[k as usize], |a| stack.push(a));
            }
        }
        let mut last_use = vec![0usize; ops.len()];
        for (k, op) in ops.iter().enumerate().filter(|(k, _)| needed[*k]) {
            operands(*op, |a| last_use[a as usize] = k);
        }
        for &k in outputs {
            last_use[k as usize] = usize::MAX;
        }
        let mut program = Self { registers: inputs, ..Self::default() };
        let mut register = vec![u32::MAX; ops.len()];
        let mut free: Vec<u32> = Vec::new();
        // Constants keep their registers over all blocks.
        for (k, op) in ops.iter().enumerate().filter(|(k, _)| needed[*k]) {
            match *op {
                Op::Const(bits) => {
                    register[k] = program.registers as u32;
                    program.registers += 1;
                    program.constants.push((register[k], f64::from_bits(bits)));
                }
                Op::Input(i) => register[k] = i,
                _ => {}
            }
        }
        for (k, op) in ops.iter().enumerate().filter(|(k, _)| needed[*k]) {
            if matches!(op, Op::Const(_) | Op::Input(_)) {
                continue;
            }
            // The target is taken before the operands are freed: no instruction writes over its operand.
            let target = free.pop().unwrap_or_else(|| {
                program.registers += 1;
                program.registers as u32 - 1
            });
            register[k] = target;
            let at = |a: Node| register[a as usize];
            program.code.push(match *op {
                Op::Unary(f, a) => Instruction::Unary(f, at(a), target),
                Op::Binary(f, a, b) => Instruction::Binary(f, at(a), at(b), target),
                Op::Power(a, p) => Instruction::Power(p, at(a), target),
                Op::Select(c, a, b) => Instruction::Select(at(c), at(a), at(b), target),
                Op::Const(_) | Op::Input(_) => continue,
            });
            let mut freed = [u32::MAX; 3];
            let mut count = 0;
            operands(*op, |a| {
                let r = register[a as usize];
                let recyclable = !matches!(ops[a as usize], Op::Const(_) | Op::Input(_));
                if recyclable && last_use[a as usize] == k && !freed[..count].contains(&r) {
                    freed[count] = r;
                    count += 1;
                }
            });
            free.extend_from_slice(&freed[..count]);
        }
        program.outputs = outputs.iter().map(|&k| register[k as usize]).collect();
        program
    }

    /// Makes room and loads the constants.
    pub fn load(&self, registers: &mut Registers, identity: usize) {
        if registers.loaded == identity {
            return;
        }
        registers.loaded = identity;
        while registers.data.len() < self.registers {
            registers.data.push(Box::new([0.0; BLOCK]));
        }
        registers.spare.get_or_insert_with(|| Box::new([0.0; BLOCK]));
        for &(r, value) in &self.constants {
            registers.data[r as usize].fill(value);
        }
    }

    /// Runs over the first `len` places of the block; `load` must have been called.
    pub fn run(&self, registers: &mut Registers, len: usize) {
        let Some(mut out) = registers.spare.take() else { return };
        for instruction in &self.code {
            let data = &registers.data;
            let at = |r: u32| &data[r as usize][..len];
            let target = match *instruction {
                Instruction::Unary(f, a, t) => {
                    run_unary(f, at(a), &mut out[..len]);
                    t
                }
                Instruction::Binary(f, a, b, t) => {
                    run_binary(f, at(a), at(b), &mut out[..len]);
                    t
                }
                Instruction::Power(k, a, t) => {
                    run_power(k, at(a), &mut out[..len]);
                    t
                }
                Instruction::Select(c, a, b, t) => {
                    for (((o, c), a), b) in out[..len].iter_mut().zip(at(c)).zip(at(a)).zip(at(b)) {
                        *o = if *c != 0.0 { *a } else { *b };
                    }
                    t
                }
            };
            std::mem::swap(&mut registers.data[target as usize], &mut out);
        }
        registers.spare = Some(out);
    }
}

fn operands(op: Op, mut f: impl FnMut(Node)) {
    match op {
        Op::Const(_) | Op::Input(_) => {}
        Op::Unary(_, a) | Op::Power(a, _) => f(a),
        Op::Binary(_, a, b) => {
            f(a);
            f(b);
        }
        Op::Select(c, a, b) => {
            f(c);
            f(a);
            f(b);
        }
    }
}

macro_rules! each_unary {
    ($f:expr, $a:expr, $out:expr, $($name:ident),*) => {
        match $f { $(Unary::$name => for (o, a) in $out.iter_mut().zip($a) { *o = Unary::$name.apply(*a); },)* }
    };
}

macro_rules! each_binary {
    ($f:expr, $a:expr, $b:expr, $out:expr, $($name:ident),*) => {
        match $f { $(Binary::$name => for ((o, a), b) in $out.iter_mut().zip($a).zip($b) { *o = Binary::$name.apply(*a, *b); },)* }
    };
}

fn run_unary(f: Unary, a: &[f64], out: &mut [f64]) {
    each_unary!(
        f, a, out, Neg, Not, Abs, Sqrt, Exp, Log, Log10, Sin, Cos, Tan, Asin, Acos, Atan, Sinh, Cosh, Tanh,
        Trunc, Nint, Single
    );
}

fn run_binary(f: Binary, a: &[f64], b: &[f64], out: &mut [f64]) {
    each_binary!(
        f, a, b, out, Add, Sub, Mul, Div, IntDiv, Pow, Atan2, Sign, Mod, Max, Min, Eq, Ne, Lt, Le, Gt, Ge,
        And, Or
    );
}

fn run_power(k: i32, a: &[f64], out: &mut [f64]) {
    let pairs = out.iter_mut().zip(a);
    match k {
        2 => pairs.for_each(|(o, a)| *o = a * a),
        3 => pairs.for_each(|(o, a)| *o = a * a * a),
        4 => pairs.for_each(|(o, a)| *o = (a * a) * (a * a)),
        _ => pairs.for_each(|(o, a)| *o = power(*a, k)),
    }
}
