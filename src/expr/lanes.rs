//! Programs whose instructions run over lanes: nodes of equal shape of one graph (`shapes` finds them).
//!
//! Every node has a place of its own: inputs first, then results in the order of the instructions, so operands always lie before results.
//! An instruction writes consecutive places; it reads consecutive ones, or one for all lanes, or by a list.
//!
//! Tried and given up: rows of an outer product as one instruction, which gained 1 to 5 % on the stiff network of the bench.
//!
//! What depends on late inputs (directions) has places of its own with room for W directions each, which are computed at once.

use std::sync::Arc;

use super::external::External;
use super::graph::{Binary, Unary};
use super::kernels::{map1, map2, with_binary, with_unary};
use crate::linalg::tanh::tanh_slice;

/// Lanes that are gathered at once.
const CHUNK: usize = 256;

/// Directions that are computed at once where there are many.
pub(crate) const WIDE: usize = 8;

/// Where the operands of all lanes are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Operand {
    /// Consecutive places from here on.
    Places(u32),
    /// One place for all.
    Place(u32),
    /// Places by a list that starts here.
    List(u32),
    /// The same of late places.
    LatePlaces(u32),
    LatePlace(u32),
    LateList(u32),
    /// Constants that start here.
    Constants(u32),
    /// One constant for all.
    Constant(f64),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Operation {
    Unary(Unary, Operand),
    Binary(Binary, Operand, Operand),
    /// c and terms of the program's list: first and number. Each is a product that is added or subtracted, with two roundings.
    Sum(Operand, u32, u32),
    Select([Operand; 3]),
    /// Function, output, first argument.
    External(u32, u32, u32),
}

/// + a b or - a b.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Term {
    pub minus: bool,
    pub a: Operand,
    pub b: Operand,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Instruction {
    pub operation: Operation,
    pub first: u32,
    pub lanes: u32,
}

/// Consecutive results from consecutive places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub result: u32,
    pub place: u32,
    pub len: u32,
}

/// Where the results are that are not structurally zero.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Results {
    pub runs: Vec<Run>,
    /// (result, place) of the others.
    pub single: Vec<(u32, u32)>,
    /// (result, value).
    pub constant: Vec<(u32, f64)>,
}

/// A compiled program.
#[derive(Debug, Clone, Default)]
pub(crate) struct LaneProgram {
    pub early: Vec<Instruction>,
    /// What depends on late inputs.
    pub late: Vec<Instruction>,
    /// Places of inputs and results, early and late.
    pub places: [usize; 2],
    pub constants: Vec<f64>,
    pub lists: Vec<u32>,
    /// Terms of all sums.
    pub terms: Vec<Term>,
    pub functions: Vec<Arc<dyn External>>,
    /// Arguments of all calls.
    pub args: Vec<Operand>,
    /// Those up to a certain one, numbered from 0, and the others, likewise. All early, or all late where there are late inputs.
    pub results: [Results; 2],
}

/// Storage of programs, which may share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Room {
    /// Inputs, to be filled before a run, and results.
    pub places: Vec<f64>,
    /// Late ones: `WIDE` numbers each, or one each in a run along one direction.
    pub late: Vec<f64>,
    buffers: [Vec<f64>; 3],
    call: Vec<f64>,
}

impl Room {
    /// Makes room for a program.
    pub fn reserve(&mut self, program: &LaneProgram) {
        let grow = |v: &mut Vec<f64>, len: usize| v.resize(v.len().max(len), 0.0);
        grow(&mut self.places, program.places[0]);
        grow(&mut self.late, program.places[1] * WIDE);
        self.buffers.iter_mut().for_each(|b| grow(b, CHUNK * WIDE));
        let calls = program.functions.iter().map(|f| f.arity() + f.outputs());
        grow(&mut self.call, calls.max().unwrap_or(0));
    }
}

/// The operands of some lanes, W numbers each.
#[derive(Clone, Copy)]
enum Fetched<'a> {
    /// All numbers.
    Each(&'a [f64]),
    /// One number a lane.
    Lane(&'a [f64]),
    /// The same W numbers for all lanes.
    Tile(&'a [f64]),
    /// One number.
    All(f64),
}

/// What an instruction reads.
#[derive(Clone, Copy)]
struct Sources<'a> {
    program: &'a LaneProgram,
    early: &'a [f64],
    late: &'a [f64],
}

impl LaneProgram {
    /// Runs the instructions that depend on early inputs only.
    pub fn run_early(&self, room: &mut Room) {
        let Room { places, buffers, call, .. } = room;
        for i in &self.early {
            let (early, own) = places.split_at_mut(i.first as usize);
            Sources { program: self, early, late: &[] }.run::<1>(i, buffers, call, own);
        }
    }

    /// Runs the others, for W directions at once.
    pub fn run_late<const W: usize>(&self, room: &mut Room) {
        let Room { places, late, buffers, call } = room;
        for i in &self.late {
            let (late, own) = late.split_at_mut(i.first as usize * W);
            Sources { program: self, early: places, late }.run::<W>(i, buffers, call, own);
        }
    }
}

impl<'a> Sources<'a> {
    #[inline(always)]
    fn run<const W: usize>(
        self,
        i: &Instruction,
        buffers: &mut [Vec<f64>; 3],
        call: &mut [f64],
        own: &mut [f64],
    ) {
        let lanes = i.lanes as usize;
        if lanes <= CHUNK {
            return self.execute::<W>(&i.operation, 0, buffers, call, &mut own[..lanes * W]);
        }
        for (k, d) in own[..lanes * W].chunks_mut(CHUNK * W).enumerate() {
            self.execute::<W>(&i.operation, k * CHUNK, buffers, call, d);
        }
    }

    /// Operands of `len` lanes from `first` on.
    #[inline(always)]
    fn fetch<'b, const W: usize>(
        self,
        operand: Operand,
        first: usize,
        len: usize,
        buffer: &'b mut [f64],
    ) -> Fetched<'b>
    where
        'a: 'b,
    {
        let by_lane = |v: &'b [f64]| if W == 1 { Fetched::Each(v) } else { Fetched::Lane(v) };
        match operand {
            Operand::Places(at) => by_lane(&self.early[at as usize + first..][..len]),
            Operand::Place(at) => Fetched::All(self.early[at as usize]),
            Operand::LatePlaces(at) => Fetched::Each(&self.late[(at as usize + first) * W..][..len * W]),
            Operand::LatePlace(at) if W == 1 => Fetched::All(self.late[at as usize]),
            Operand::LatePlace(at) => Fetched::Tile(&self.late[at as usize * W..][..W]),
            Operand::Constants(at) => by_lane(&self.program.constants[at as usize + first..][..len]),
            Operand::Constant(v) => Fetched::All(v),
            Operand::List(at) => {
                let (list, buffer) = (&self.program.lists[at as usize + first..][..len], &mut buffer[..len]);
                buffer.iter_mut().zip(list).for_each(|(b, &k)| *b = self.early[k as usize]);
                by_lane(buffer)
            }
            Operand::LateList(at) => {
                let (list, buffer) =
                    (&self.program.lists[at as usize + first..][..len], &mut buffer[..len * W]);
                let (blocks, _) = buffer.as_chunks_mut::<W>();
                let (late, _) = self.late.as_chunks::<W>();
                blocks.iter_mut().zip(list).for_each(|(b, &k)| *b = late[k as usize]);
                Fetched::Each(buffer)
            }
        }
    }

    /// Adds all terms to each four lanes in turn, so that the sums stay in registers; says how many lanes are done.
    #[inline(always)]
    fn sum_by_four(self, terms: &[Term], first: usize, d: &mut [f64]) -> usize {
        let fours = d.as_chunks_mut::<4>().0;
        for (k, d) in fours.iter_mut().enumerate() {
            let first = first + 4 * k;
            let mut sum = *d;
            for term in terms {
                let (a, b) = (self.four(term.a, first), self.four(term.b, first));
                sum = match term.minus {
                    true => std::array::from_fn(|k| sum[k] - a[k] * b[k]),
                    false => std::array::from_fn(|k| sum[k] + a[k] * b[k]),
                };
            }
            *d = sum;
        }
        4 * fours.len()
    }

    /// Operands of four lanes of a program or run with one number a lane.
    #[inline(always)]
    fn four(self, operand: Operand, first: usize) -> [f64; 4] {
        let four = |v: &[f64], at: usize| v[at..].first_chunk().copied().unwrap_or_default();
        let listed = |v: &[f64], at: u32| {
            let list: [u32; 4] =
                self.program.lists[at as usize + first..].first_chunk().copied().unwrap_or_default();
            list.map(|k| v[k as usize])
        };
        match operand {
            Operand::Places(at) => four(self.early, at as usize + first),
            Operand::Place(at) => [self.early[at as usize]; 4],
            Operand::LatePlaces(at) => four(self.late, at as usize + first),
            Operand::LatePlace(at) => [self.late[at as usize]; 4],
            Operand::Constants(at) => four(&self.program.constants, at as usize + first),
            Operand::Constant(v) => [v; 4],
            Operand::List(at) => listed(self.early, at),
            Operand::LateList(at) => listed(self.late, at),
        }
    }

    /// d <- lanes from `first` on.
    #[inline(always)]
    fn execute<const W: usize>(
        self,
        operation: &Operation,
        first: usize,
        buffers: &mut [Vec<f64>; 3],
        call: &mut [f64],
        d: &mut [f64],
    ) {
        let [ba, bb, bc] = buffers;
        let len = d.len() / W;
        match *operation {
            Operation::Unary(op, a) => {
                let a = self.fetch::<W>(a, first, len, ba);
                let a = spread::<W>(a, len, bb);
                if op == Unary::Tanh {
                    // Networks are made of it.
                    d.copy_from_slice(a);
                    return tanh_slice(d);
                }
                macro_rules! run {
                    ($op:expr) => {
                        map1(d, a, |a| $op.apply(a))
                    };
                }
                with_unary!(op, run)
            }
            Operation::Binary(op, a, b) => {
                let a = self.fetch::<W>(a, first, len, ba);
                let b = self.fetch::<W>(b, first, len, bb);
                match op {
                    Binary::Add => combine::<W>(a, b, d, |_, a, b| a + b),
                    Binary::Sub => combine::<W>(a, b, d, |_, a, b| a - b),
                    Binary::Mul => combine::<W>(a, b, d, |_, a, b| a * b),
                    _ => rare::<W>(op, a, b, bc, d),
                }
            }
            Operation::Sum(c, at, count) => {
                let terms = &self.program.terms[at as usize..][..count as usize];
                copy::<W>(self.fetch::<W>(c, first, len, bc), d);
                let done = if W == 1 { self.sum_by_four(terms, first, d) } else { 0 };
                if done == len {
                    return;
                }
                let (first, d) = (first + done, &mut d[done * W..]);
                for term in terms {
                    let a = self.fetch::<W>(term.a, first, len - done, ba);
                    let b = self.fetch::<W>(term.b, first, len - done, bb);
                    if term.minus {
                        combine::<W>(a, b, d, |d, a, b| d - a * b);
                    } else {
                        combine::<W>(a, b, d, |d, a, b| d + a * b);
                    }
                }
            }
            Operation::Select([c, a, b]) => {
                let c = self.fetch::<W>(c, first, len, ba);
                let a = self.fetch::<W>(a, first, len, bb);
                let b = self.fetch::<W>(b, first, len, bc);
                for (k, d) in d.iter_mut().enumerate() {
                    *d = if at::<W>(c, k) != 0.0 { at::<W>(a, k) } else { at::<W>(b, k) };
                }
            }
            Operation::External(function, output, args) => {
                let function = &*self.program.functions[function as usize];
                let args = &self.program.args[args as usize..][..function.arity()];
                let (x, out) = call.split_at_mut(args.len());
                for (k, d) in d.iter_mut().enumerate() {
                    for (x, &arg) in x.iter_mut().zip(args) {
                        *x = at::<W>(self.fetch::<W>(arg, first + k / W, 1, ba), k % W);
                    }
                    function.eval(x, &mut out[..function.outputs()]);
                    *d = out[output as usize];
                }
            }
        }
    }
}

/// Number k.
#[inline(always)]
fn at<const W: usize>(a: Fetched<'_>, k: usize) -> f64 {
    match a {
        Fetched::Each(a) => a[k],
        Fetched::Lane(a) => a[k / W],
        Fetched::Tile(a) => a[k % W],
        Fetched::All(a) => a,
    }
}

#[inline(always)]
fn copy<const W: usize>(a: Fetched<'_>, d: &mut [f64]) {
    match a {
        Fetched::Each(a) => d.copy_from_slice(a),
        Fetched::Lane(a) => d.as_chunks_mut::<W>().0.iter_mut().zip(a).for_each(|(d, a)| *d = [*a; W]),
        Fetched::Tile(a) => d.chunks_exact_mut(W).for_each(|d| d.copy_from_slice(a)),
        Fetched::All(a) => d.fill(a),
    }
}

/// All numbers of the operands.
#[inline(always)]
fn spread<'a, const W: usize>(a: Fetched<'a>, len: usize, buffer: &'a mut [f64]) -> &'a [f64] {
    if let Fetched::Each(a) = a {
        return a;
    }
    let buffer = &mut buffer[..len * W];
    copy::<W>(a, buffer);
    buffer
}

/// d <- f(d, a, b), entry by entry, by fours: lanes are often few.
#[inline(always)]
fn by_four(d: &mut [f64], a: &[f64], b: &[f64], f: impl Fn(f64, f64, f64) -> f64) {
    let (d4, d) = d.as_chunks_mut::<4>();
    let (a4, a) = a.as_chunks::<4>();
    let (b4, b) = b.as_chunks::<4>();
    for ((d, a), b) in d4.iter_mut().zip(a4).zip(b4) {
        *d = std::array::from_fn(|k| f(d[k], a[k], b[k]));
    }
    for ((d, a), b) in d.iter_mut().zip(a).zip(b) {
        *d = f(*d, *a, *b);
    }
}

/// d <- f(d, a, b) for the operations that occur everywhere: a loop of its own for every kind of operand.
#[inline(always)]
fn combine<const W: usize>(a: Fetched<'_>, b: Fetched<'_>, d: &mut [f64], f: impl Fn(f64, f64, f64) -> f64) {
    use Fetched::{All, Each, Lane, Tile};
    match (a, b) {
        (Each(a), Each(b)) => by_four(d, a, b, f),
        (Each(a), All(b)) => by_four(d, a, a, |d, a, _| f(d, a, b)),
        (All(a), Each(b)) => by_four(d, b, b, |d, b, _| f(d, a, b)),
        (Each(a), Lane(b)) => blocks::<W>(d, a, b, |d, a, b| std::array::from_fn(|k| f(d[k], a[k], *b))),
        (Lane(a), Each(b)) => blocks::<W>(d, b, a, |d, b, a| std::array::from_fn(|k| f(d[k], *a, b[k]))),
        (Lane(a), Tile(b)) => tiles::<W>(d, a, b, |d, a, b| std::array::from_fn(|k| f(d[k], *a, b[k]))),
        (Tile(a), Lane(b)) => tiles::<W>(d, b, a, |d, b, a| std::array::from_fn(|k| f(d[k], a[k], *b))),
        _ => d.iter_mut().enumerate().for_each(|(k, d)| *d = f(*d, at::<W>(a, k), at::<W>(b, k))),
    }
}

/// Block by block with one number a block.
#[inline(always)]
fn blocks<const W: usize>(
    d: &mut [f64],
    each: &[f64],
    lane: &[f64],
    f: impl Fn(&[f64; W], &[f64; W], &f64) -> [f64; W],
) {
    let ((d, _), (each, _)) = (d.as_chunks_mut::<W>(), each.as_chunks::<W>());
    for ((d, each), lane) in d.iter_mut().zip(each).zip(lane) {
        *d = f(d, each, lane);
    }
}

/// Block by block with one number a block and one block for all.
#[inline(always)]
fn tiles<const W: usize>(
    d: &mut [f64],
    lane: &[f64],
    tile: &[f64],
    f: impl Fn(&[f64; W], &f64, &[f64; W]) -> [f64; W],
) {
    let Some(tile) = tile.first_chunk::<W>() else { return };
    for (d, lane) in d.as_chunks_mut::<W>().0.iter_mut().zip(lane) {
        *d = f(d, lane, tile);
    }
}

/// The other operations of two arguments.
#[inline(always)]
fn rare<const W: usize>(op: Binary, a: Fetched<'_>, b: Fetched<'_>, buffer: &mut [f64], d: &mut [f64]) {
    match (a, b) {
        (Fetched::All(a), b) => {
            let b = spread::<W>(b, d.len() / W, buffer);
            macro_rules! run {
                ($op:expr) => {
                    map1(d, b, |b| $op.apply(a, b))
                };
            }
            with_binary!(op, run)
        }
        (a, Fetched::All(b)) => {
            let a = spread::<W>(a, d.len() / W, buffer);
            macro_rules! run {
                ($op:expr) => {
                    map1(d, a, |a| $op.apply(a, b))
                };
            }
            with_binary!(op, run)
        }
        (Fetched::Each(a), Fetched::Each(b)) => {
            macro_rules! run {
                ($op:expr) => {
                    map2(d, a, b, |a, b| $op.apply(a, b))
                };
            }
            with_binary!(op, run)
        }
        (a, b) => d.iter_mut().enumerate().for_each(|(k, d)| *d = op.apply(at::<W>(a, k), at::<W>(b, k))),
    }
}

impl Results {
    /// out <- the results; structural zeros are 0. Place k is `places[k * W + direction]`.
    pub fn write<const W: usize>(&self, places: &[f64], direction: usize, out: &mut [f64]) {
        out.fill(0.0);
        self.update::<W>(places, direction, out, |o, v| *o = v);
    }

    /// out += the results of the first `directions`, in their order; nothing if `out` is empty.
    pub fn add<const W: usize>(&self, places: &[f64], directions: usize, out: &mut [f64]) {
        if !out.is_empty() {
            (0..directions).for_each(|i| self.update::<W>(places, i, out, |o, v| *o += v));
        }
    }

    #[inline(always)]
    fn update<const W: usize>(
        &self,
        places: &[f64],
        direction: usize,
        out: &mut [f64],
        f: impl Fn(&mut f64, f64),
    ) {
        for run in &self.runs {
            let len = run.len as usize;
            let (from, _) = places[run.place as usize * W..][..len * W].as_chunks::<W>();
            out[run.result as usize..][..len].iter_mut().zip(from).for_each(|(o, v)| f(o, v[direction]));
        }
        for &(result, place) in &self.single {
            f(&mut out[result as usize], places[place as usize * W + direction]);
        }
        self.constant.iter().for_each(|&(result, v)| f(&mut out[result as usize], v));
    }
}
