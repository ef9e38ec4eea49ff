//! A formula y = A(t, x, p) compiled to values, products with its derivatives, and its sparse Jacobian.

use super::derive::{Reverse, along, reverse};
use super::graph::{Graph, Id, Node};
use super::lanes::{LaneProgram, Room, WIDE};
use super::parts::Ragged;
use super::shapes::{self, Inputs};
use crate::diff::colour::Columns;

/// Lengths of x, y and p.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Length of x.
    pub inputs: usize,
    /// Length of y.
    pub outputs: usize,
    /// Length of p.
    pub params: usize,
}

/// Where a formula is evaluated.
#[derive(Debug, Clone, Copy)]
pub struct Point<'a> {
    /// Time.
    pub t: f64,
    /// State, one column.
    pub x: &'a [f64],
    /// Parameters.
    pub p: &'a [f64],
}

/// Directions of t, x, p and of the weights of a vector-Jacobian product, one behind the other; an empty slice is zeros, and saves the
/// work of that part.
#[derive(Debug, Clone, Copy, Default)]
pub struct Directions<'a> {
    /// Number of directions.
    pub count: usize,
    /// `count` numbers, or empty.
    pub t: &'a [f64],
    /// `count` times the length of x, or empty.
    pub x: &'a [f64],
    /// `count` times the length of p, or empty.
    pub p: &'a [f64],
    /// `count` times the length of y, or empty; not for Jacobian-vector products.
    pub w: &'a [f64],
}

/// Variables of the graph: x, t, w, then the directions of x, t, w, p. Parameters are parameters.
#[derive(Debug, Clone, Copy)]
struct Layout {
    n: usize,
    m: usize,
    n_params: usize,
}

impl Layout {
    fn t(self) -> usize {
        self.n
    }
    fn w(self) -> usize {
        self.n + 1
    }
    fn x_dot(self) -> usize {
        self.w() + self.m
    }
    fn t_dot(self) -> usize {
        self.x_dot() + self.n
    }
    fn w_dot(self) -> usize {
        self.t_dot() + 1
    }
    fn p_dot(self) -> usize {
        self.w_dot() + self.m
    }
    fn end(self) -> usize {
        self.p_dot() + self.n_params
    }
    fn inputs(self) -> Inputs {
        let groups = [self.t(), self.w(), self.x_dot(), self.t_dot(), self.w_dot(), self.p_dot(), self.end()];
        Inputs {
            groups: groups.map(|g| g as u32).to_vec(),
            params: self.n_params as u32,
            late: self.x_dot() as u32,
        }
    }
}

/// The Jacobian by rows, entries in the order of the columns, and dy/dt.
#[derive(Debug, Clone, Default)]
struct Jacobian {
    columns: Ragged<u32>,
    entries: Entries,
}

/// How the entries are computed.
#[derive(Debug, Clone)]
enum Entries {
    /// All of them, then dy/dt, by a program of their own.
    Program(Box<LaneProgram>),
    /// By Jacobian-vector products, columns that share no row along one direction.
    Products(Box<Products>),
}

#[derive(Debug, Clone)]
struct Products {
    groups: Vec<Vec<usize>>,
    /// (row, place of the entry) of each column.
    rows: Ragged<(u32, u32)>,
    directions: Vec<f64>,
    y_dot: Vec<f64>,
}

/// A program for all entries is made where a row depends on few of the graph's nodes, or all rows on few altogether: its size is their
/// sum. Rows that share most of their nodes, as outputs of a large network do, are better off with products.
const NODES: usize = 20_000;
const TIMES: usize = 4;

/// A recorded formula (see [`record`](fn@super::record)). Each derivative is compiled when it is first asked for; calls after that do not
/// allocate. The same point gives the same bits. Where a value is not finite it is returned as it is.
///
/// The graph of a derivative has a few times the nodes of the formula's: a vector-Jacobian product about three times, whatever the
/// numbers of inputs and parameters. Nodes of equal shape, such as the neurons of a layer or the cells of a grid, are lanes of one
/// instruction.
#[derive(Debug, Clone)]
pub struct Recorded {
    sizes: Sizes,
    layout: Layout,
    graph: Graph,
    outputs: Vec<Id>,
    /// Nodes of the vector-Jacobian product: x, then p.
    bars: Option<Vec<Option<Id>>>,
    value: Option<LaneProgram>,
    vjp: Option<LaneProgram>,
    /// By the directions that are there: t 1, x 2, p 4.
    jvp: [Option<LaneProgram>; 8],
    /// Likewise, w 8.
    vjp_tangent: [Option<LaneProgram>; 16],
    jacobian: Option<Jacobian>,
    room: Room,
}

/// Which directions are there.
fn mask(d: &Directions<'_>) -> usize {
    [d.t, d.x, d.p, d.w].iter().enumerate().map(|(k, part)| usize::from(!part.is_empty()) << k).sum()
}

/// The roots that are not structurally zero.
fn present(roots: &[Option<Id>]) -> Vec<(u32, Id)> {
    roots.iter().enumerate().filter_map(|(k, id)| id.map(|id| (k as u32, id))).collect()
}

impl Default for Entries {
    fn default() -> Self {
        Self::Program(Box::default())
    }
}

impl Recorded {
    /// From a graph whose variables are x, then t, whose parameters are p, and its nodes for y.
    pub(crate) fn new(graph: Graph, sizes: Sizes, outputs: Vec<Id>) -> Self {
        let layout = Layout { n: sizes.inputs, m: sizes.outputs, n_params: sizes.params };
        Self {
            sizes,
            layout,
            graph,
            outputs,
            bars: None,
            value: None,
            vjp: None,
            jvp: Default::default(),
            vjp_tangent: Default::default(),
            jacobian: None,
            room: Room::default(),
        }
    }

    /// Lengths of x, y and p.
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// Whether something is done with t, as far as was recorded.
    pub(super) fn uses_time(&self) -> bool {
        let is_time = |id: Id| self.graph.nodes[id as usize] == Node::Var(self.layout.t() as u32);
        let mut uses = self.outputs.iter().any(|&y| is_time(y));
        self.graph.nodes.iter().for_each(|&node| self.graph.for_operands(node, |id| uses |= is_time(id)));
        uses
    }

    /// y <- A(t, x, p).
    ///
    /// # Panics
    /// A slice has another length than [`Recorded::sizes`] says; so in all of these functions.
    pub fn value(&mut self, at: Point<'_>, y: &mut [f64]) {
        let roots = || self.outputs.iter().enumerate().map(|(k, &id)| (k as u32, id)).collect::<Vec<_>>();
        let program = self.value.get_or_insert_with(|| {
            compile(&self.graph, self.layout, &roots(), self.sizes.outputs, &mut self.room)
        });
        load(self.layout, &mut self.room, at);
        program.run_early(&mut self.room);
        program.results[0].write::<1>(&self.room.places, 0, y);
    }

    /// x_bar += (dy/dx)' w, p_bar += (dy/dp)' w; an empty slice is left out of the sums, not of the work.
    pub fn vjp(&mut self, at: Point<'_>, w: &[f64], x_bar: &mut [f64], p_bar: &mut [f64]) {
        if self.vjp.is_none() {
            let roots = present(self.bars());
            self.vjp = Some(compile(&self.graph, self.layout, &roots, self.sizes.inputs, &mut self.room));
        }
        let Some(program) = &self.vjp else { return };
        load(self.layout, &mut self.room, at);
        put(&mut self.room, self.layout.w(), w, self.sizes.outputs);
        program.run_early(&mut self.room);
        program.results[0].add::<1>(&self.room.places, 1, x_bar);
        program.results[1].add::<1>(&self.room.places, 1, p_bar);
    }

    /// y_dot_i <- dy/dt t_i + dy/dx x_i + dy/dp p_i for each direction.
    pub fn jvp(&mut self, at: Point<'_>, along: &Directions<'_>, y_dot: &mut [f64]) {
        let mask = mask(along);
        assert!(mask < 8, "a Jacobian-vector product has no directions of weights");
        assert_eq!(y_dot.len(), along.count * self.sizes.outputs, "length of the result");
        if self.jvp[mask].is_none() {
            let dots = self.dots(mask);
            let roots = present(&super::derive::along(&mut self.graph, &self.outputs, &dots));
            self.jvp[mask] =
                Some(compile(&self.graph, self.layout, &roots, self.sizes.outputs, &mut self.room));
        }
        let Some(program) = &self.jvp[mask] else { return };
        load(self.layout, &mut self.room, at);
        program.run_early(&mut self.room);
        let m = self.sizes.outputs;
        for_directions(along.count, |first, count| {
            let y_dot = &mut y_dot[first * m..(first + count) * m];
            if count == 1 {
                run_along::<1>(program, self.layout, &mut self.room, along, first, count);
                return program.results[0].write::<1>(&self.room.late, 0, y_dot);
            }
            run_along::<WIDE>(program, self.layout, &mut self.room, along, first, count);
            for (k, y_dot) in y_dot.chunks_mut(m.max(1)).enumerate() {
                program.results[0].write::<WIDE>(&self.room.late, k, y_dot);
            }
        });
    }

    /// The derivative of the vector-Jacobian product along each direction, summed:
    /// x_bar, p_bar += sum_i d/de vjp(t + e t_i, x + e x_i, p + e p_i; w + e w_i).
    pub fn vjp_tangent(
        &mut self,
        at: Point<'_>,
        w: &[f64],
        along: &Directions<'_>,
        x_bar: &mut [f64],
        p_bar: &mut [f64],
    ) {
        let mask = mask(along);
        if self.vjp_tangent[mask].is_none() {
            let (dots, bars) = (self.dots(mask), self.bars().to_vec());
            let nodes: Vec<Id> = bars.iter().flatten().copied().collect();
            let mut tangents = super::derive::along(&mut self.graph, &nodes, &dots).into_iter();
            let roots: Vec<Option<Id>> =
                bars.iter().map(|bar| bar.and_then(|_| tangents.next().flatten())).collect();
            self.vjp_tangent[mask] =
                Some(compile(&self.graph, self.layout, &present(&roots), self.sizes.inputs, &mut self.room));
        }
        let Some(program) = &self.vjp_tangent[mask] else { return };
        load(self.layout, &mut self.room, at);
        put(&mut self.room, self.layout.w(), w, self.sizes.outputs);
        program.run_early(&mut self.room);
        for_directions(along.count, |first, count| {
            let room = &mut self.room;
            if count == 1 {
                run_along::<1>(program, self.layout, room, along, first, count);
                program.results[0].add::<1>(&room.late, count, x_bar);
                program.results[1].add::<1>(&room.late, count, p_bar);
            } else {
                run_along::<WIDE>(program, self.layout, room, along, first, count);
                program.results[0].add::<WIDE>(&room.late, count, x_bar);
                program.results[1].add::<WIDE>(&room.late, count, p_bar);
            }
        });
    }

    /// Columns of each row of dy/dx that are not structurally zero, ascending.
    pub fn jacobian_pattern(&mut self) -> &Ragged<u32> {
        if self.jacobian.is_none() {
            self.jacobian = Some(self.new_jacobian());
        }
        &self.jacobian.get_or_insert_default().columns
    }

    /// values <- dy/dx in the order of the pattern, dt <- dy/dt.
    pub fn jacobian(&mut self, at: Point<'_>, values: &mut [f64], dt: &mut [f64]) {
        let (layout, entries) = (self.layout, self.jacobian_pattern().items.len());
        assert_eq!((values.len(), dt.len()), (entries, layout.m), "lengths of the Jacobian and dy/dt");
        if let Some(Jacobian { entries: Entries::Program(program), .. }) = &self.jacobian {
            load(layout, &mut self.room, at);
            program.run_early(&mut self.room);
            let [first, second] = &program.results;
            first.write::<1>(&self.room.places, 0, values);
            second.write::<1>(&self.room.places, 0, dt);
            return;
        }
        // Taken out while products are computed.
        let mut jacobian = self.jacobian.take().unwrap_or_default();
        if let Entries::Products(products) = &mut jacobian.entries {
            self.columns(at, products, values);
            self.jvp(at, &Directions { count: 1, t: &[1.0], ..Directions::default() }, dt);
        }
        self.jacobian = Some(jacobian);
    }

    /// All columns, several groups at once.
    fn columns(&mut self, at: Point<'_>, products: &mut Products, values: &mut [f64]) {
        let Layout { n, m, .. } = self.layout;
        let Products { groups, rows, directions, y_dot } = products;
        for groups in groups.chunks(WIDE) {
            let count = groups.len();
            directions.fill(0.0);
            for (i, group) in groups.iter().enumerate() {
                group.iter().for_each(|&column| directions[i * n + column] = 1.0);
            }
            let d = Directions { count, x: &directions[..count * n], ..Directions::default() };
            self.jvp(at, &d, &mut y_dot[..count * m]);
            for (i, &column) in groups.iter().enumerate().flat_map(|(i, g)| g.iter().map(move |c| (i, c))) {
                for &(row, place) in rows.get(column) {
                    values[place as usize] = y_dot[i * m + row as usize];
                }
            }
        }
    }

    fn new_jacobian(&mut self) -> Jacobian {
        let (graph, outputs, layout) = (&mut self.graph, &self.outputs, self.layout);
        let wrt: Vec<Id> = (0..layout.n).map(|k| graph.add(Node::Var(k as u32))).collect();
        let mut sweeps = Reverse::new(graph, &wrt);
        let (mut columns, mut nodes) = (Ragged::default(), 0);
        for &y in outputs {
            let (row, below) = sweeps.below(graph, y);
            columns.items.extend(row);
            columns.start.push(columns.items.len());
            nodes += below;
        }
        if nodes > NODES.max(TIMES * graph.nodes.len()) {
            let entries = products(&columns, layout);
            return Jacobian { columns, entries };
        }
        let mut columns = Ragged::default();
        let (one, mut roots) = (graph.constant(1.0), Vec::new());
        for &y in outputs {
            for (column, id) in sweeps.sweep(graph, &[(y, one)]) {
                roots.push(Some(id));
                columns.items.push(column);
            }
            columns.start.push(columns.items.len());
        }
        let t = graph.add(Node::Var(layout.t() as u32));
        roots.extend(along(graph, outputs, &[(t, one)]));
        let program = compile(graph, layout, &present(&roots), columns.items.len(), &mut self.room);
        Jacobian { columns, entries: Entries::Program(Box::new(program)) }
    }

    /// Nodes of the vector-Jacobian product.
    fn bars(&mut self) -> &[Option<Id>] {
        let (graph, outputs, layout) = (&mut self.graph, &self.outputs, self.layout);
        self.bars.get_or_insert_with(|| {
            let weights: Vec<Id> =
                (0..layout.m).map(|k| graph.add(Node::Var((layout.w() + k) as u32))).collect();
            let x = (0..layout.n).map(|k| Node::Var(k as u32));
            let p = (0..layout.n_params).map(|k| Node::Param(k as u32));
            let wrt: Vec<Id> = x.chain(p).map(|node| graph.add(node)).collect();
            reverse(graph, outputs, &weights, &wrt)
        })
    }

    /// Inputs and their directions.
    fn dots(&mut self, mask: usize) -> Vec<(Id, Id)> {
        let l = self.layout;
        let var = |k: usize| Node::Var(k as u32);
        let mut dots = Vec::new();
        let mut add = |part: usize, len: usize, input: &dyn Fn(usize) -> Node, first: usize| {
            if mask & (1 << part) != 0 {
                dots.extend((0..len).map(|k| (self.graph.add(input(k)), self.graph.add(var(first + k)))));
            }
        };
        add(0, 1, &|_| var(l.t()), l.t_dot());
        add(1, l.n, &var, l.x_dot());
        add(2, l.n_params, &|k| Node::Param(k as u32), l.p_dot());
        add(3, l.m, &|k| var(l.w() + k), l.w_dot());
        dots
    }
}

/// Entries by products: the pattern by columns.
fn products(columns: &Ragged<u32>, l: Layout) -> Entries {
    let mut lists: Vec<Vec<(u32, u32)>> = vec![Vec::new(); l.n];
    for row in 0..columns.len() {
        for (k, &column) in columns.get(row).iter().enumerate() {
            lists[column as usize].push((row as u32, (columns.start[row] + k) as u32));
        }
    }
    let mut rows = Ragged::default();
    for list in lists {
        rows.items.extend(list);
        rows.start.push(rows.items.len());
    }
    let entries = (0..columns.len()).flat_map(|row| columns.get(row).iter().map(move |&c| (row, c as usize)));
    let groups = Columns::new(l.n, entries).groups;
    let count = WIDE.min(groups.len());
    let (directions, y_dot) = (vec![0.0; count * l.n], vec![0.0; count * l.m]);
    Entries::Products(Box::new(Products { groups, rows, directions, y_dot }))
}

/// The first `split` results and the others are apart.
fn compile(graph: &Graph, layout: Layout, roots: &[(u32, Id)], split: usize, room: &mut Room) -> LaneProgram {
    let program = shapes::compile(graph, &layout.inputs(), roots, split as u32);
    room.reserve(&program);
    program
}

fn put(room: &mut Room, first: usize, values: &[f64], len: usize) {
    room.places[first..first + len].copy_from_slice(values);
}

fn load(l: Layout, room: &mut Room, at: Point<'_>) {
    put(room, 0, at.x, l.n);
    room.places[l.t()] = at.t;
    put(room, l.end(), at.p, l.n_params);
}

/// `f(first, count)` for pieces of all directions: several at once where there are more than two.
fn for_directions(all: usize, mut f: impl FnMut(usize, usize)) {
    let mut first = 0;
    while first < all {
        let count = if all - first > 2 { WIDE.min(all - first) } else { 1 };
        f(first, count);
        first += count;
    }
}

/// Runs the late part along `count` directions.
fn run_along<const W: usize>(
    program: &LaneProgram,
    layout: Layout,
    room: &mut Room,
    along: &Directions<'_>,
    first: usize,
    count: usize,
) {
    load_directions::<W>(layout, room, along, first, count);
    program.run_late::<W>(room);
}

/// `count` directions; the others of a wide run are zero. Parts that are not there are no inputs of the program.
fn load_directions<const W: usize>(
    l: Layout,
    room: &mut Room,
    d: &Directions<'_>,
    first: usize,
    count: usize,
) {
    for (values, at, len) in
        [(d.t, l.t_dot(), 1), (d.x, l.x_dot(), l.n), (d.w, l.w_dot(), l.m), (d.p, l.p_dot(), l.n_params)]
    {
        if values.is_empty() {
            continue;
        }
        assert_eq!(values.len(), d.count * len, "length of the directions");
        let (blocks, _) = room.late[(at - l.x_dot()) * W..][..len * W].as_chunks_mut::<W>();
        for (k, block) in blocks.iter_mut().enumerate() {
            *block = std::array::from_fn(|i| if i < count { values[(first + i) * len + k] } else { 0.0 });
        }
    }
}

#[cfg(test)]
#[path = "formula_tests.rs"]
mod tests;
