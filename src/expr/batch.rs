//! All elements (or groups) of one type: compiled functions, arguments, parameters, results.

use std::collections::{BTreeMap, HashMap};

use super::graph::{Binary, Graph, Id, Node};
use super::program::{Program, Wanted};

/// How much is computed.
pub(crate) const VALUE: usize = 0;
pub(crate) const FIRST: usize = 1;
pub(crate) const SECOND: usize = 2;

/// A value or derivative: factor times a row of results, or just the factor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Term {
    pub factor: f64,
    pub row: Option<u32>,
}

/// A derivative that is not structurally zero, by one or two local variables.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub a: u32,
    /// Second derivatives: b <= a.
    pub b: u32,
    pub term: Term,
}

/// Sums by two local variables, in the order of their numbers.
type Sums = BTreeMap<(usize, usize), Option<Id>>;

/// Value and derivatives of one type in terms of its internal variables.
#[derive(Debug, Default, Clone)]
pub(crate) struct Body {
    pub graph: Graph,
    /// F.
    pub value: Id,
    /// (u, dF/du), each u at most once.
    pub gradient: Vec<(usize, Id)>,
    /// (u, v, d2F/du dv) with u >= v, each pair at most once.
    pub hessian: Vec<(usize, usize, Id)>,
    /// Where the second derivatives are too many to be written down: (u, (H v)_u), v in the parameters after the type's own. `hessian` is then empty.
    pub products: Vec<(usize, Id)>,
    /// Rows of W by internal variable: (elemental variable, coefficient), each at most once; empty if u = v.
    pub range: Vec<Vec<(usize, f64)>>,
}

/// The functions of one type in terms of its elemental variables.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    pub value: Term,
    pub gradient: Vec<Entry>,
    pub hessian: Vec<Entry>,
    /// Distinct results of each level.
    pub rows: [usize; 3],
    /// Program that computes the levels of a mask.
    programs: [Program; 8],
    /// Products with second derivatives that are not written down, and the program that computes them.
    pub products: Vec<Entry>,
    product_rows: usize,
    product_program: Program,
    dim: usize,
}

impl Kernel {
    /// Puts W in front of the body and compiles it. `dim`: number of elemental variables.
    pub fn new(body: &Body, dim: usize) -> Self {
        let mut graph = Graph::default();
        let to_elemental = with_range(body, &mut graph);
        let mut gradient: Vec<Option<Id>> = vec![None; dim];
        for &(u, id) in &body.gradient {
            let id = to_elemental[id as usize];
            for_row(body, u, |a, w| add_term(&mut graph, &mut gradient[a], w, id));
        }
        let mut hessian = Sums::new();
        if body.range.is_empty() {
            hessian.extend(body.hessian.iter().map(|&(u, v, id)| ((u, v), Some(to_elemental[id as usize]))));
        } else {
            curvature(body, &to_elemental, &mut graph, &mut hessian);
        }
        let mut kernel = Self {
            value: Term { factor: 0.0, row: None },
            gradient: Vec::new(),
            hessian: Vec::new(),
            rows: [0; 3],
            programs: Default::default(),
            products: Vec::new(),
            product_rows: 0,
            product_program: Program::default(),
            dim,
        };
        let mut known = HashMap::new();
        kernel.value = kernel.term(&graph, &mut known, VALUE, to_elemental[body.value as usize]);
        for (a, id) in gradient.into_iter().enumerate() {
            if let Some(id) = id {
                let term = kernel.term(&graph, &mut known, FIRST, id);
                kernel.gradient.push(Entry { a: a as u32, b: 0, term });
            }
        }
        for ((a, b), id) in hessian {
            if let Some(id) = id {
                let term = kernel.term(&graph, &mut known, SECOND, id);
                kernel.hessian.push(Entry { a: a as u32, b: b as u32, term });
            }
        }
        // A derivative that is the constant 0 is no entry.
        let zero = |e: &Entry| e.term.row.is_some() || e.term.factor != 0.0;
        kernel.gradient.retain(zero);
        kernel.hessian.retain(zero);
        let sorted = |known: HashMap<(usize, Id), usize>| {
            let mut wanted: Vec<Wanted> =
                known.into_iter().map(|((level, node), row)| Wanted { node, level, row }).collect();
            wanted.sort_by_key(|w| (w.node, w.level));
            wanted
        };
        let wanted = sorted(known);
        for mask in 1..8usize {
            let some: Vec<Wanted> = wanted.iter().copied().filter(|w| mask & (1 << w.level) != 0).collect();
            kernel.programs[mask] = Program::compile(&graph, &some);
        }
        let (mut known, rows) = (HashMap::new(), kernel.rows[VALUE]);
        kernel.rows[VALUE] = 0;
        for &(u, id) in &body.products {
            let term = kernel.term(&graph, &mut known, VALUE, to_elemental[id as usize]);
            kernel.products.push(Entry { a: u as u32, b: 0, term });
        }
        (kernel.product_rows, kernel.rows[VALUE]) = (kernel.rows[VALUE], rows);
        kernel.product_program = Program::compile(&graph, &sorted(known));
        kernel
    }

    /// Equal results of a level, up to a factor, share a row.
    fn term(&mut self, graph: &Graph, known: &mut HashMap<(usize, Id), usize>, level: usize, id: Id) -> Term {
        let (factor, node) = graph.factored(id);
        let Some(node) = node else { return Term { factor, row: None } };
        let next = self.rows[level];
        let row = *known.entry((level, node)).or_insert(next);
        self.rows[level] = next.max(row + 1);
        Term { factor, row: Some(row as u32) }
    }

    /// Results of one element.
    pub fn numbers(&self) -> usize {
        self.rows.iter().sum::<usize>() + self.product_rows + self.direction()
    }
    /// Parameters that are a direction.
    fn direction(&self) -> usize {
        if self.products.is_empty() { 0 } else { self.dim }
    }
    /// Largest register file of all programs for this many elements, in doubles.
    pub fn scratch(&self, count: usize) -> usize {
        let programs = self.programs.iter().chain([&self.product_program]);
        programs.map(|p| p.scratch(count)).max().unwrap_or(0)
    }
}

/// Copies the body's graph, internal variables written as u = W v; returns the new number of each node.
fn with_range(body: &Body, graph: &mut Graph) -> Vec<Id> {
    let mut new: Vec<Id> = Vec::with_capacity(body.graph.nodes.len());
    for &node in &body.graph.nodes {
        let at = |id: Id| new[id as usize];
        let id = match node {
            Node::Var(u) if !body.range.is_empty() => {
                let mut sum = None;
                for &(v, w) in &body.range[u as usize] {
                    let v = graph.add(Node::Var(v as u32));
                    add_term(graph, &mut sum, w, v);
                }
                sum.unwrap_or_else(|| graph.constant(0.0))
            }
            Node::Unary(op, a) => graph.unary(op, at(a)),
            Node::Binary(op, a, b) => graph.binary(op, at(a), at(b)),
            Node::Select(c, a, b) => graph.select(at(c), at(a), at(b)),
            Node::External { call, output } => {
                let call = &body.graph.calls[call as usize];
                let args: Vec<Id> = call.args.iter().map(|&a| at(a)).collect();
                graph.external(&call.function, &args, output as usize)
            }
            Node::Const(_) | Node::Var(_) | Node::Param(_) => graph.add(node),
        };
        new.push(id);
    }
    new
}

/// The elemental variables behind internal variable u.
fn for_row(body: &Body, u: usize, mut f: impl FnMut(usize, f64)) {
    match body.range.get(u) {
        None => f(u, 1.0),
        Some(row) => row.iter().for_each(|&(v, w)| f(v, w)),
    }
}

/// sum <- sum + w * id; structural zeros vanish.
fn add_term(graph: &mut Graph, sum: &mut Option<Id>, w: f64, id: Id) {
    if w == 0.0 || graph.value(id) == Some(0.0) {
        return;
    }
    let w = graph.constant(w);
    let term = graph.binary(Binary::Mul, w, id);
    *sum = Some(match *sum {
        None => term,
        Some(s) => graph.binary(Binary::Add, s, term),
    });
}

/// W' H W, lower triangle: first T = H W, then W' T.
fn curvature(body: &Body, new: &[Id], graph: &mut Graph, out: &mut Sums) {
    let mut t = Sums::new();
    for &(u, v, id) in &body.hessian {
        let id = new[id as usize];
        for_row(body, v, |b, w| add_term(graph, t.entry((u, b)).or_default(), w, id));
        if u != v {
            for_row(body, u, |b, w| add_term(graph, t.entry((v, b)).or_default(), w, id));
        }
    }
    for (&(u, b), &id) in &t {
        for_row(body, u, |a, w| {
            if let (Some(id), true) = (id, b <= a) {
                add_term(graph, out.entry((a, b)).or_default(), w, id);
            }
        });
    }
}

/// The elements or groups of one type.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub kernel: Kernel,
    pub count: usize,
    /// Parameter k of all elements, then parameter k + 1; at the end the direction of products.
    pub params: Vec<f64>,
    /// Rows of first and second derivatives, each of length `count`.
    results: [Vec<f64>; 2],
    /// Rows of products with second derivatives, likewise.
    products: Vec<f64>,
    /// Levels whose results belong to the current point, as a mask.
    pub valid: usize,
}

impl Batch {
    /// Room for the results of all elements.
    pub fn new(kernel: Kernel, count: usize, mut params: Vec<f64>) -> Self {
        let results = [FIRST, SECOND].map(|level| vec![0.0; kernel.rows[level] * count]);
        params.resize(params.len() + kernel.direction() * count, 0.0);
        let products = vec![0.0; kernel.product_rows * count];
        Self { kernel, count, params, results, products, valid: 0 }
    }

    /// Room that the values need: one row, or none where they are constant.
    pub fn room(&self) -> usize {
        self.kernel.rows[VALUE] * self.count
    }

    /// Computes the levels of `mask` that are not there yet; values go to `values`.
    pub fn compute(
        &mut self,
        mask: usize,
        registers: &mut [f64],
        values: &mut [f64],
        load: &dyn Fn(usize, usize, &mut [f64]),
    ) {
        let missing = mask & !self.valid;
        if missing != 0 {
            let program = &self.kernel.programs[missing];
            let [first, second] = &mut self.results;
            program.run(self.count, load, &self.params, registers, &mut [values, first, second]);
            self.valid |= missing;
        }
    }

    /// The derivatives of a term, or nothing where it is a constant.
    pub fn row(&self, level: usize, term: Term) -> Option<&[f64]> {
        term.row.map(|r| &self.results[level - FIRST][r as usize * self.count..][..self.count])
    }

    /// Products of second derivatives that are not written down with the direction whose elemental variables `direction` fetches, as `load` does the point's.
    pub fn multiply(
        &mut self,
        registers: &mut [f64],
        load: &dyn Fn(usize, usize, &mut [f64]),
        direction: &dyn Fn(usize, usize, &mut [f64]),
    ) {
        let own = self.params.len() - self.kernel.direction() * self.count;
        self.params[own..].chunks_exact_mut(self.count).enumerate().for_each(|(k, v)| direction(k, 0, v));
        let results = &mut [&mut self.products[..], &mut [], &mut []];
        self.kernel.product_program.run(self.count, load, &self.params, registers, results);
    }

    /// The products of a term, or nothing where it is a constant.
    pub fn product(&self, term: Term) -> Option<&[f64]> {
        term.row.map(|r| &self.products[r as usize * self.count..][..self.count])
    }
}
