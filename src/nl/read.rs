//! Segments, in any order.

use super::expression::{Kinks, Names, Stack};
use super::header::{self, Header};
use super::source::{Source, shown};
use super::{NlError, Suffix, SuffixValues};
use crate::expr::graph::{Graph, Id, Node};

/// A row or an objective: its nonlinear part and the places of its linear part.
#[derive(Debug, Clone, Default)]
pub(super) struct Body {
    pub node: Option<Id>,
    pub linear: std::ops::Range<usize>,
    pub seen: bool,
}

/// A row whose body complements a variable: the `r` line of kind 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Complement {
    pub row: usize,
    /// 1: the variable has a lower bound, 2: an upper one.
    pub kind: u8,
    pub variable: usize,
}

/// Everything that the file says.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub header: Header,
    pub graph: Graph,
    pub rows: Vec<Body>,
    pub objectives: Vec<Body>,
    /// Of each objective: is it maximized.
    pub maximize: Vec<bool>,
    /// Linear parts, one after another.
    pub linear: Vec<(u32, f64)>,
    pub bounds: Vec<(f64, f64)>,
    pub sides: Vec<(f64, f64)>,
    pub complements: Vec<Complement>,
    pub x0: Vec<f64>,
    pub y0: Vec<f64>,
    pub suffixes: Vec<Suffix>,
    /// Operations that are not smooth occur.
    pub kinks: bool,
}

struct Reader<'a> {
    source: Source<'a>,
    model: Model,
    stack: Stack,
    kinks: Kinks,
    values: Vec<Option<Id>>,
    functions: Vec<String>,
    had: [bool; 128],
}

const INFINITE: f64 = crate::nlp::INFINITE_BOUND;

/// Reads a file.
pub(super) fn read(file: &str, bytes: &[u8]) -> Result<Model, NlError> {
    let (header, form, place) = header::read(file, bytes)?;
    let (n, m) = (header.variables, header.rows);
    let mut graph = Graph::default();
    // The variables first: they are then the first operands of what commutes.
    let mut values: Vec<Option<Id>> = (0..n).map(|k| Some(graph.add(Node::Var(k as u32)))).collect();
    values.resize(n + header.defined, None);
    let free = (f64::NEG_INFINITY, f64::INFINITY);
    let model = Model {
        rows: vec![Body::default(); m],
        objectives: vec![Body::default(); header.objectives],
        maximize: vec![false; header.objectives],
        bounds: vec![free; n],
        sides: vec![free; m],
        x0: vec![0.0; n],
        y0: vec![0.0; m],
        graph,
        header,
        ..Model::default()
    };
    let mut reader = Reader {
        source: Source::new(file, bytes, place, form),
        functions: vec![String::new(); model.header.functions],
        model,
        stack: Stack::default(),
        kinks: Kinks::default(),
        values,
        had: [false; 128],
    };
    while let Some(letter) = reader.source.letter() {
        reader.segment(letter)?;
    }
    if m > 0 && !reader.had[b'r' as usize] {
        return reader
            .source
            .fault(format!("the file ends without the segment r: the bounds of {m} constraints"));
    }
    reader.model.kinks = reader.kinks.found;
    Ok(reader.model)
}

impl Reader<'_> {
    fn segment(&mut self, letter: u8) -> Result<(), NlError> {
        let (n, m) = (self.model.header.variables, self.model.header.rows);
        // Segments that occur once.
        if matches!(letter, b'r' | b'b' | b'x' | b'd' | b'k' | b'K')
            && std::mem::replace(&mut self.had[letter as usize], true)
        {
            return self.source.fault(format!("the segment {} is there twice", letter as char));
        }
        match letter {
            b'F' => self.function(),
            b'S' => self.suffix(),
            b'V' => self.defined(),
            b'C' => {
                let i = self.source.index(m, "the number of a constraint")?;
                let node = self.expression()?;
                let row = &mut self.model.rows[i];
                if row.node.replace(node).is_some() {
                    return self.source.fault(format!("constraint {i} has two nonlinear parts"));
                }
                Ok(())
            }
            b'L' => {
                self.source.index(self.model.header.logical, "the number of a logical constraint")?;
                self.expression().map(|_| ())
            }
            b'O' => {
                let k = self.source.index(self.model.header.objectives, "the number of an objective")?;
                self.model.maximize[k] = self.source.int("the sense of an objective, 0 or 1")? != 0;
                let node = self.expression()?;
                if self.model.objectives[k].node.replace(node).is_some() {
                    return self.source.fault(format!("objective {k} has two nonlinear parts"));
                }
                Ok(())
            }
            b'd' => {
                let count = self.source.count("the number of starting multipliers", 2)?;
                (0..count).try_for_each(|_| {
                    let i = self.source.index(m + self.model.header.logical, "the number of a constraint")?;
                    let value = self.finite("a multiplier")?;
                    if let Some(y) = self.model.y0.get_mut(i) {
                        *y = value;
                    }
                    Ok(())
                })
            }
            b'x' => {
                let count = self.source.count("the number of starting values", 2)?;
                (0..count).try_for_each(|_| {
                    let j = self.source.index(n, "the number of a variable")?;
                    self.model.x0[j] = self.finite("a starting value")?;
                    Ok(())
                })
            }
            b'r' => (0..m).try_for_each(|i| self.side(i)),
            b'b' => (0..n).try_for_each(|j| {
                self.model.bounds[j] = match self.source.kind()? {
                    b'5' => return self.source.fault("a variable has a bound of kind 5, expected 0 to 4"),
                    kind => self.bound(kind)?,
                };
                Ok(())
            }),
            b'k' | b'K' => {
                let count = self.source.count("the number of columns counted", 1)?;
                (0..count).try_for_each(|_| self.source.int("a number of entries").map(|_| ()))
            }
            b'J' => {
                let i = self.source.index(m, "the number of a constraint")?;
                let linear = self.linear()?;
                let row = &mut self.model.rows[i];
                row.linear = linear;
                if std::mem::replace(&mut row.seen, true) {
                    return self.source.fault(format!("constraint {i} has two linear parts"));
                }
                Ok(())
            }
            b'G' => {
                let k = self.source.index(self.model.header.objectives, "the number of an objective")?;
                let linear = self.linear()?;
                let objective = &mut self.model.objectives[k];
                objective.linear = linear;
                if std::mem::replace(&mut objective.seen, true) {
                    return self.source.fault(format!("objective {k} has two linear parts"));
                }
                Ok(())
            }
            b'R' => self.source.fault("the model has random variables, which costate does not treat"),
            other => self.source.fault(format!(
                "found `{}`, expected a segment (one of F S V C L O d x r b k K J G)",
                shown(&[other])
            )),
        }
    }

    fn expression(&mut self) -> Result<Id, NlError> {
        let names = Names { values: &self.values, functions: &self.functions };
        self.stack.read(&mut self.source, &mut self.model.graph, &names, &mut self.kinks)
    }

    fn finite(&mut self, what: &str) -> Result<f64, NlError> {
        let value = self.source.real(what)?;
        if value.is_finite() {
            Ok(value)
        } else {
            self.source.fault(format!("found {value:e}, expected {what}"))
        }
    }

    fn function(&mut self) -> Result<(), NlError> {
        let i = self.source.index(self.functions.len(), "the number of an imported function")?;
        self.source.int("the type of a function, 0 or 1")?;
        self.source.int("the number of arguments")?;
        self.functions[i] = self.source.name()?;
        Ok(())
    }

    fn suffix(&mut self) -> Result<(), NlError> {
        let kind = self.source.int("the kind of a suffix")?;
        if !(0..8).contains(&kind) {
            return self.source.fault(format!("the kind of a suffix is {kind}, expected 0 to 7"));
        }
        let count = self.source.count("the number of entries of a suffix", 2)?;
        let name = self.source.name()?;
        let header = &self.model.header;
        let end = [header.variables, header.rows + header.logical, header.objectives, 1][kind as usize & 3];
        let real = kind & 4 != 0;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let k = self.source.index(end, "the index of a suffix")?;
            let value = if real { self.source.real("a value")? } else { self.source.int("a value")? as f64 };
            entries.push((k as u32, value));
        }
        let target = super::target(kind as usize & 3);
        self.model.suffixes.push(Suffix { name, target, values: SuffixValues { real, entries } });
        Ok(())
    }

    fn defined(&mut self) -> Result<(), NlError> {
        let (n, end) = (self.model.header.variables, self.values.len());
        let i = self.source.index(end, "the number of a defined variable")?;
        if i < n {
            return self.source.fault(format!("the defined variable v{i} is one of the {n} variables"));
        }
        if self.values[i].is_some() {
            return self.source.fault(format!("the defined variable v{i} is there twice"));
        }
        let count = self.source.count("the number of linear terms", 2)?;
        self.source.int("where the variable is used")?;
        let mut terms = Vec::with_capacity(count);
        for _ in 0..count {
            let j = self.source.index(end, "the number of a variable")?;
            let Some(x) = self.values[j] else {
                return self.source.fault(format!("the defined variable v{j} is used before it is defined"));
            };
            terms.push((x, self.finite("a coefficient")?));
        }
        let value = self.expression()?;
        let graph = &mut self.model.graph;
        let sum = terms.iter().fold(value, |sum, &(x, a)| {
            let a = graph.constant(a);
            let term = graph.product(a, x);
            graph.binary(crate::expr::graph::Binary::Add, sum, term)
        });
        self.values[i] = Some(sum);
        Ok(())
    }

    fn linear(&mut self) -> Result<std::ops::Range<usize>, NlError> {
        let count = self.source.count("the number of linear terms", 2)?;
        let first = self.model.linear.len();
        for _ in 0..count {
            let j = self.source.index(self.model.header.variables, "the number of a variable")?;
            let a = self.finite("a coefficient")?;
            self.model.linear.push((j as u32, a));
        }
        Ok(first..self.model.linear.len())
    }

    fn bound(&mut self, kind: u8) -> Result<(f64, f64), NlError> {
        let free = (f64::NEG_INFINITY, f64::INFINITY);
        let mut value = || self.source.real("a bound");
        Ok(match kind {
            b'0' => (lower(value()?), upper(value()?)),
            b'1' => (free.0, upper(value()?)),
            b'2' => (lower(value()?), free.1),
            b'3' => free,
            b'4' => {
                let v = value()?;
                if v.abs() >= INFINITE {
                    return self.source.fault(format!("an equation has the side {v:e}"));
                }
                (v, v)
            }
            _ => {
                return self
                    .source
                    .fault(format!("found `{}`, expected the kind of a bound, 0 to 5", shown(&[kind])));
            }
        })
    }

    fn side(&mut self, i: usize) -> Result<(), NlError> {
        let kind = self.source.kind()?;
        if kind != b'5' {
            self.model.sides[i] = self.bound(kind)?;
            return Ok(());
        }
        let k = self.source.int("the kind of a complementarity, 0 to 3")?;
        // Counted from 1, here alone.
        let j = self.source.int("the number of a variable")?;
        if !(0..=3).contains(&k) || j < 1 || j as usize > self.model.header.variables {
            return self
                .source
                .fault(format!("row {i} complements variable {j} (kind {k}), expected 1 to n and 0 to 3"));
        }
        self.model.complements.push(Complement { row: i, kind: k as u8, variable: j as usize - 1 });
        self.model.sides[i] = (0.0, 0.0);
        Ok(())
    }
}

fn lower(v: f64) -> f64 {
    if v <= -INFINITE { f64::NEG_INFINITY } else { v }
}

fn upper(v: f64) -> f64 {
    if v >= INFINITE { f64::INFINITY } else { v }
}
