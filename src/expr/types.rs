//! Types of elements and groups: terms that differ by variables and constants alone, differentiated and compiled once.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use super::batch::Body;
use super::derive::Reverse;
use super::graph::{Binary, Graph, Id, Node, Unary, WordHasher};
use super::parts::Ragged;

/// Second derivatives of one element that are written down, at most; where there are more only their products are computed.
const MOST_PAIRS: usize = 4_000_000;

/// What an instruction of a shape works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Unary(Unary),
    Binary(Binary),
    Select,
    /// Its operand.
    Same,
    /// An earlier result.
    Result(u32),
    Variable(u32),
    /// The next parameter.
    Parameter,
    /// A constant that the derivatives depend on: an exponent.
    Constant(u64),
}

impl Hash for Word {
    /// One number, or two: millions of terms are looked up.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (tag, value) = match *self {
            Self::Unary(op) => (0, op as u64),
            Self::Binary(op) => (1, op as u64),
            Self::Select => (2, 0),
            Self::Same => (3, 0),
            Self::Result(r) => (4, u64::from(r)),
            Self::Variable(v) => (5, u64::from(v)),
            Self::Parameter => (6, 0),
            Self::Constant(bits) => {
                state.write_u64(bits);
                (7, 0)
            }
        };
        state.write_u64(tag | value << 3);
    }
}

/// A type: what its instances have in common, and who they are.
#[derive(Debug)]
struct Type {
    words: Box<[Word]>,
    dim: usize,
    params: usize,
    /// A parameter's value while it is the same in all instances.
    uniform: Vec<Option<f64>>,
}

/// Types by their words.
#[derive(Debug, Default)]
pub(super) struct Types {
    known: HashMap<Box<[Word]>, u32, BuildHasherDefault<WordHasher>>,
    all: Vec<Type>,
}

impl Types {
    /// The type of a term; its constants, which are then no longer uniform where they differ.
    pub fn enter(&mut self, words: &[Word], dim: usize, params: &[Slot]) -> u32 {
        let next = self.all.len() as u32;
        let number = match self.known.get(words) {
            Some(&number) => number,
            None => {
                self.known.insert(words.into(), next);
                let uniform = params.iter().map(|p| Some(p.value).filter(|_| p.of.is_none())).collect();
                self.all.push(Type { words: words.into(), dim, params: params.len(), uniform });
                next
            }
        };
        for (known, p) in self.all[number as usize].uniform.iter_mut().zip(params) {
            if known.is_some_and(|k| p.of.is_some() || k.to_bits() != p.value.to_bits()) {
                *known = None;
            }
        }
        number
    }

    /// Numbers of variables of all types.
    pub fn dims(&self) -> Vec<usize> {
        self.all.iter().map(|t| t.dim).collect()
    }
    /// The functions of all types.
    pub fn bodies(&self) -> Vec<Body> {
        self.all.iter().map(body).collect()
    }

    /// The parameters that are not uniform, of every instance, and where those of the model are among them.
    pub fn own_params(
        &self,
        types: impl Iterator<Item = Option<u32>>,
        all: &Ragged<Slot>,
    ) -> (Ragged<f64>, Vec<(u32, u32)>) {
        let (mut own, mut slots) = (Ragged::default(), vec![]);
        for (k, number) in types.enumerate() {
            if let Some(number) = number {
                let uniform = &self.all[number as usize].uniform;
                for (slot, _) in all.get(k).iter().zip(uniform).filter(|(_, u)| u.is_none()) {
                    slots.extend(slot.of.map(|k| (own.items.len() as u32, k)));
                    own.items.push(slot.value);
                }
            }
            own.start.push(own.items.len());
        }
        (own, slots)
    }
}

/// A parameter of an element or group: a constant of the expression, or a parameter of the model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub value: f64,
    pub of: Option<u32>,
}

/// Number of instructions.
pub(super) fn results(words: &[Word]) -> u32 {
    let is = |w: &&Word| matches!(w, Word::Unary(_) | Word::Binary(_) | Word::Select | Word::Same);
    words.iter().filter(is).count() as u32
}

/// The functions of a type: its value, and derivatives by reverse sweeps.
fn body(of: &Type) -> Body {
    let mut graph = Graph::default();
    let vars: Vec<Id> = (0..of.dim).map(|k| graph.add(Node::Var(k as u32))).collect();
    let mut results: Vec<Id> = Vec::new();
    let (mut words, mut param, mut own) = (of.words.iter(), 0, 0);
    let mut operand =
        |graph: &mut Graph, results: &[Id], words: &mut std::slice::Iter<'_, Word>| match words.next() {
            Some(Word::Result(r)) => results[*r as usize],
            Some(Word::Variable(v)) => vars[*v as usize],
            Some(Word::Constant(bits)) => graph.add(Node::Const(*bits)),
            _ => {
                debug_assert!(param < of.params);
                param += 1;
                match of.uniform[param - 1] {
                    Some(value) => graph.constant(value),
                    None => {
                        own += 1;
                        graph.add(Node::Param(own - 1))
                    }
                }
            }
        };
    while let Some(word) = words.next() {
        let id = match word {
            Word::Unary(op) => {
                let a = operand(&mut graph, &results, &mut words);
                graph.unary(*op, a)
            }
            Word::Binary(op) => {
                let a = operand(&mut graph, &results, &mut words);
                let b = operand(&mut graph, &results, &mut words);
                graph.binary(*op, a, b)
            }
            Word::Same => operand(&mut graph, &results, &mut words),
            _ => {
                let c = operand(&mut graph, &results, &mut words);
                let a = operand(&mut graph, &results, &mut words);
                let b = operand(&mut graph, &results, &mut words);
                graph.select(c, a, b)
            }
        };
        results.push(id);
    }
    let value = results.last().copied().unwrap_or_else(|| vars.first().copied().unwrap_or(0));
    let own = of.uniform.iter().filter(|u| u.is_none()).count();
    derived(graph, value, &vars, (own, MOST_PAIRS))
}

/// First and second derivatives as nodes. `own`: parameters of the type; `most`: second derivatives that are written down.
pub(super) fn derived(mut graph: Graph, value: Id, vars: &[Id], (own, most): (usize, usize)) -> Body {
    let one = graph.constant(1.0);
    let slopes = Reverse::new(&graph, vars).sweep(&mut graph, &[(value, one)]);
    let gradient = slopes.iter().map(|&(u, id)| (u as usize, id)).collect();
    // Where the pairs of all variables would be few enough the graph needs no copy.
    let mut plain = (vars.len() * (vars.len() + 1) / 2 > most).then(|| graph.clone());
    let mut sweeps = Reverse::new(&graph, vars);
    let mut hessian = Vec::new();
    for &(u, slope) in &slopes {
        // By the variables up to u: the lower triangle.
        let entries = sweeps.sweep(&mut graph, &[(slope, one)]);
        hessian.extend(entries.into_iter().filter(|e| e.0 <= u).map(|(v, id)| (u as usize, v as usize, id)));
        if let Some(mut graph) = plain.take_if(|_| hessian.len() > most) {
            let products = products(&mut graph, &slopes, vars, own);
            return Body { graph, value, gradient, products, ..Body::default() };
        }
    }
    Body { graph, value, gradient, hessian, ..Body::default() }
}

/// H v as the derivative of sum_u v_u df/du, v in the parameters after the type's own.
fn products(graph: &mut Graph, slopes: &[(u32, Id)], vars: &[Id], own: usize) -> Vec<(usize, Id)> {
    let roots: Vec<(Id, Id)> =
        slopes.iter().map(|&(u, slope)| (slope, graph.add(Node::Param(own as u32 + u)))).collect();
    let sums = Reverse::new(graph, vars).sweep(graph, &roots);
    sums.into_iter().map(|(u, id)| (u as usize, id)).collect()
}
