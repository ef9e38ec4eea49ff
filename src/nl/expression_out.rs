//! Expressions of a graph in Polish prefix form.

use super::output::{NlFormat, Output};
use crate::expr::batch::Body;
use crate::expr::graph::{Binary, Id, Node, Unary};

/// What stands at a place: a number, or true and false.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Number,
    Truth,
}

/// Work that is left, the last first.
enum Task {
    Node(Id, Wanted),
    Operation(i64),
    Count(i64),
    Constant(f64),
}

/// The expression of an element or group at its variables, with the defined variables that it needs.
pub(super) struct Expressions<'a> {
    body: &'a Body,
    vars: &'a [u32],
    params: &'a [f64],
    format: NlFormat,
    first: usize,
    /// Number of the defined variable of a node; `u32::MAX`: none.
    number: Vec<u32>,
    /// Definitions, in order.
    pub defined: Vec<u8>,
    /// How many.
    pub count: usize,
}

const NONE: u32 = u32::MAX;

impl<'a> Expressions<'a> {
    /// `first`: number of the first defined variable.
    pub fn new(body: &'a Body, vars: &'a [u32], params: &'a [f64], format: NlFormat, first: usize) -> Self {
        let number = vec![NONE; body.graph.nodes.len()];
        Self { body, vars, params, format, first, number, defined: Vec::new(), count: 0 }
    }

    /// weight times the body's value.
    pub fn weighted(&mut self, weight: f64) -> Result<Vec<u8>, String> {
        self.define_shared()?;
        let mut out = Output::new(self.format);
        if weight != 1.0 {
            out.operation(2);
            out.number(weight);
        }
        self.expression(self.body.value, Wanted::Number, &mut out)?;
        Ok(out.finish())
    }

    /// Nodes that are used twice, and are more than a variable or number, get a name.
    fn define_shared(&mut self) -> Result<(), String> {
        let graph = &self.body.graph;
        let end = self.body.value as usize + 1;
        let mut uses = vec![0u32; end];
        uses[end - 1] = 1;
        for id in (0..end).rev().filter(|&id| self.number[id] == NONE) {
            if uses[id] > 0 {
                graph.for_operands(graph.nodes[id], |o| uses[o as usize] += 1);
            }
        }
        for (id, used) in uses.into_iter().enumerate() {
            let leaf = match graph.nodes[id] {
                Node::Const(_) | Node::Param(_) => true,
                Node::Var(u) => self.body.range.get(u as usize).is_none_or(|row| row.len() < 2),
                node => is_truth(node),
            };
            if used < 2 || leaf {
                continue;
            }
            let number = self.first + self.count;
            let mut out = Output::new(self.format);
            out.segment('V', &[number as i64, 0, 0]);
            self.expression(id as Id, Wanted::Number, &mut out)?;
            self.defined.extend(out.finish());
            self.number[id] = number as u32;
            self.count += 1;
        }
        Ok(())
    }

    fn expression(&self, root: Id, wanted: Wanted, out: &mut Output) -> Result<(), String> {
        let mut open = vec![Task::Node(root, wanted)];
        while let Some(task) = open.pop() {
            match task {
                Task::Operation(code) => out.operation(code),
                Task::Count(count) => out.int(count),
                Task::Constant(value) => out.number(value),
                Task::Node(id, wanted) => self.node(id, wanted, &mut open, out)?,
            }
        }
        Ok(())
    }

    fn node(&self, id: Id, wanted: Wanted, open: &mut Vec<Task>, out: &mut Output) -> Result<(), String> {
        use Wanted::{Number, Truth};
        let node = self.body.graph.nodes[id as usize];
        let mut then = |tasks: &mut dyn DoubleEndedIterator<Item = Task>| open.extend(tasks.rev());
        // Numbers and truths are different things in the format.
        if is_truth(node) && wanted == Number {
            then(
                &mut [Task::Operation(35), Task::Node(id, Truth), Task::Constant(1.0), Task::Constant(0.0)]
                    .into_iter(),
            );
            return Ok(());
        }
        if !is_truth(node) && wanted == Truth {
            then(&mut [Task::Operation(30), Task::Node(id, Number), Task::Constant(0.0)].into_iter());
            return Ok(());
        }
        if self.number[id as usize] != NONE {
            out.variable(self.number[id as usize]);
            return Ok(());
        }
        match node {
            Node::Const(bits) => out.number(f64::from_bits(bits)),
            Node::Param(k) => out.number(self.params[k as usize]),
            Node::Var(u) => self.variable(u, out),
            // Its own code is younger than most readers.
            Node::Unary(Unary::Logistic, a) => {
                let operations = [3, 0, 44, 16].map(Task::Operation);
                let [quotient, sum, exp, minus] = operations;
                let one = || Task::Constant(1.0);
                then(&mut [quotient, one(), sum, one(), exp, minus, Task::Node(a, Number)].into_iter());
            }
            Node::Unary(op, a) => {
                let (code, behind) = unary(op)?;
                let operand = Task::Node(a, if op == Unary::Not { Truth } else { Number });
                then(&mut [Task::Operation(code), operand].into_iter().chain(behind.map(Task::Constant)));
            }
            Node::Binary(Binary::Sign, a, b) => {
                let size = || [Task::Operation(15), Task::Node(a, Number)];
                let condition =
                    [Task::Operation(35), Task::Operation(28), Task::Node(b, Number), Task::Constant(0.0)];
                then(&mut condition.into_iter().chain(size()).chain([Task::Operation(16)]).chain(size()));
            }
            Node::Binary(op, a, b) => {
                let truths = matches!(op, Binary::And | Binary::Or);
                let operand = |id| Task::Node(id, if truths { Truth } else { Number });
                let count = matches!(op, Binary::Max | Binary::Min).then_some(Task::Count(2));
                then(
                    &mut [Task::Operation(binary(op)?)]
                        .into_iter()
                        .chain(count)
                        .chain([operand(a), operand(b)]),
                );
            }
            Node::Select(c, a, b) => then(
                &mut [
                    Task::Operation(35),
                    Task::Node(c, Truth),
                    Task::Node(a, Number),
                    Task::Node(b, Number),
                ]
                .into_iter(),
            ),
            Node::External { .. } => {
                return Err("it calls an external function, which the format cannot hold".into());
            }
        }
        Ok(())
    }

    /// An internal variable: a sum of elemental ones.
    fn variable(&self, u: u32, out: &mut Output) {
        let Some(row) = self.body.range.get(u as usize) else {
            out.variable(self.vars[u as usize]);
            return;
        };
        let terms: Vec<&(usize, f64)> = row.iter().filter(|t| t.1 != 0.0).collect();
        match terms.len() {
            0 => out.number(0.0),
            1 => {}
            2 => out.operation(0),
            count => {
                out.operation(54);
                out.int(count as i64);
            }
        }
        for &&(v, a) in &terms {
            if a != 1.0 {
                out.operation(2);
                out.number(a);
            }
            out.variable(self.vars[v]);
        }
    }
}

fn is_truth(node: Node) -> bool {
    match node {
        Node::Unary(op, _) => op == Unary::Not,
        Node::Binary(op, ..) => {
            matches!(op, Binary::Lt | Binary::Le | Binary::Eq | Binary::Ne | Binary::And | Binary::Or)
        }
        _ => false,
    }
}

/// Code, and a constant second argument.
fn unary(op: Unary) -> Result<(i64, Option<f64>), String> {
    Ok(match op {
        Unary::Neg => (16, None),
        Unary::Abs => (15, None),
        Unary::Sqrt => (39, None),
        Unary::Exp => (44, None),
        Unary::Log => (43, None),
        Unary::Log10 => (42, None),
        Unary::Sin => (41, None),
        Unary::Cos => (46, None),
        Unary::Tan => (38, None),
        Unary::Asin => (51, None),
        Unary::Acos => (53, None),
        Unary::Atan => (49, None),
        Unary::Sinh => (40, None),
        Unary::Cosh => (45, None),
        Unary::Tanh => (37, None),
        Unary::Asinh => (50, None),
        Unary::Acosh => (52, None),
        Unary::Atanh => (47, None),
        Unary::Floor => (13, None),
        Unary::Ceil => (14, None),
        // trunc(x / 1), and x rounded to 0 decimals.
        Unary::Trunc => (55, Some(1.0)),
        Unary::Round => (57, Some(0.0)),
        Unary::Not => (34, None),
        Unary::Logistic => return Err("it is written by other operations".into()),
        Unary::Single => return Err("it rounds to single precision, which the format cannot hold".into()),
    })
}

fn binary(op: Binary) -> Result<i64, String> {
    Ok(match op {
        Binary::Add => 0,
        Binary::Sub => 1,
        Binary::Mul => 2,
        Binary::Div => 3,
        Binary::Pow | Binary::Powi => 5,
        Binary::Atan2 => 48,
        Binary::Mod => 4,
        Binary::Max => 12,
        Binary::Min => 11,
        Binary::Lt => 22,
        Binary::Le => 23,
        Binary::Eq => 24,
        Binary::Ne => 30,
        Binary::And => 21,
        Binary::Or => 20,
        Binary::Digits => 56,
        Binary::Sign => return Err("it copies a sign".into()),
    })
}
