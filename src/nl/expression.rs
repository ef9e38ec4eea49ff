//! Expressions in Polish prefix form, into the graph.
//!
//! Derivatives at kinks are those of AMPL's library: +1 for |x| at 0, the first argument's where the arguments of a minimum or maximum are
//! equal, the slope of the piece nearer 0 at a breakpoint.

use super::NlError;
use super::source::Source;
use crate::expr::graph::{Binary, Graph, Id, Unary};

/// What an expression may refer to.
pub(super) struct Names<'a> {
    /// Variables, then defined variables; `None`: not defined yet.
    pub values: &'a [Option<Id>],
    /// Names of imported functions.
    pub functions: &'a [String],
}

/// An operation whose arguments are being read.
struct Open {
    code: u32,
    /// Place of its first argument.
    first: usize,
    arguments: usize,
}

/// Storage of the reader of expressions.
#[derive(Default)]
pub(super) struct Stack {
    open: Vec<Open>,
    values: Vec<Id>,
}

/// Kinds of what is not smooth, for the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Kinks {
    pub found: bool,
}

impl Stack {
    /// Reads one expression.
    pub fn read(
        &mut self,
        source: &mut Source<'_>,
        graph: &mut Graph,
        names: &Names<'_>,
        kinks: &mut Kinks,
    ) -> Result<Id, NlError> {
        self.open.clear();
        self.values.clear();
        loop {
            match source.letter() {
                Some(b'n') => self.values.push(graph.constant(source.real("a number")?)),
                Some(b's') => self.values.push(graph.constant(source.short()?)),
                Some(b'l') => self.values.push(graph.constant(source.int("a whole number")? as f64)),
                Some(b'v') => self.values.push(variable(source, names)?),
                Some(b'o') => self.operation(source, graph, names, kinks)?,
                Some(b'f') => {
                    let k = source.index(names.functions.len(), "the number of a function")?;
                    return source.fault(format!(
                        "the imported function `{}` is called: costate has no access to the program that defines it",
                        names.functions[k]
                    ));
                }
                Some(b'h') => {
                    source.string()?;
                    return source.fault("a text stands where a number is expected");
                }
                Some(other) => {
                    return source.fault(format!(
                        "found `{}`, expected an expression (n, v, o, f)",
                        super::source::shown(&[other])
                    ));
                }
                None => return source.fault("the file ends within an expression"),
            }
            // Operations whose arguments are complete.
            while let Some(open) = self.open.last().filter(|o| self.values.len() - o.first == o.arguments) {
                let (code, first) = (open.code, open.first);
                self.open.pop();
                let value =
                    apply(graph, code, &self.values[first..], kinks).or_else(|what| source.fault(what))?;
                self.values.truncate(first);
                self.values.push(value);
            }
            if self.open.is_empty() {
                return Ok(self.values[0]);
            }
        }
    }

    fn operation(
        &mut self,
        source: &mut Source<'_>,
        graph: &mut Graph,
        names: &Names<'_>,
        kinks: &mut Kinks,
    ) -> Result<(), NlError> {
        let code = source.int("the code of an operation")?;
        let arguments = match code {
            64 => {
                kinks.found = true;
                let value = piecewise(source, graph, names)?;
                self.values.push(value);
                return Ok(());
            }
            0..=6 | 20..=24 | 28..=30 | 48 | 55..=58 | 62 | 63 | 66..=69 | 73 | 76 | 78 | 80 => 2,
            13..=16 | 34 | 37..=47 | 49..=53 | 77 | 79 => 1,
            35 | 72 => 3,
            11 | 12 | 54 | 59 | 60 | 70 | 71 | 74 | 75 => {
                let count = source.count("the number of arguments", 1)?;
                if count == 0 {
                    return source.fault(format!("operation o{code} has no arguments"));
                }
                count
            }
            61 | 65 => {
                return source
                    .fault(format!("operation o{code} works on texts, which costate does not treat"));
            }
            _ => return source.fault(format!("o{code} is no operation of the format")),
        };
        self.open.push(Open { code: code as u32, first: self.values.len(), arguments });
        Ok(())
    }
}

fn variable(source: &mut Source<'_>, names: &Names<'_>) -> Result<Id, NlError> {
    let k = source.index(names.values.len(), "the number of a variable")?;
    match names.values[k] {
        Some(id) => Ok(id),
        None => source.fault(format!("the defined variable v{k} is used before it is defined")),
    }
}

/// The continuous function with these slopes between these breakpoints that is 0 at 0.
fn piecewise(source: &mut Source<'_>, graph: &mut Graph, names: &Names<'_>) -> Result<Id, NlError> {
    let pieces = source.count("the number of pieces", 2)?;
    if pieces < 2 {
        return source.fault(format!("a piecewise-linear term has {pieces} pieces, expected 2 or more"));
    }
    let (mut slopes, mut breaks) = (Vec::new(), Vec::new());
    for k in 0..2 * pieces - 1 {
        let value = match source.letter() {
            Some(b'n') => source.real("a number")?,
            Some(b's') => source.short()?,
            Some(b'l') => source.int("a whole number")? as f64,
            _ => return source.fault("expected a constant: slopes and breakpoints in turn"),
        };
        if k % 2 == 0 { slopes.push(value) } else { breaks.push(value) }
    }
    if breaks.windows(2).any(|b| b[0] > b[1]) {
        return source.fault("breakpoints of a piecewise-linear term do not increase");
    }
    if source.letter() != Some(b'v') {
        return source.fault("expected the variable of a piecewise-linear term");
    }
    let x = variable(source, names)?;
    // Offsets from the piece that holds 0, whose line goes through the origin, outwards.
    let home = breaks.iter().position(|b| *b >= 0.0).unwrap_or(breaks.len());
    let mut offsets = vec![0.0; pieces];
    for k in home + 1..pieces {
        offsets[k] = offsets[k - 1] + (slopes[k - 1] - slopes[k]) * breaks[k - 1];
    }
    for k in (0..home).rev() {
        offsets[k] = offsets[k + 1] + (slopes[k + 1] - slopes[k]) * breaks[k];
    }
    let piece = |graph: &mut Graph, k: usize| {
        let (slope, offset) = (graph.constant(slopes[k]), graph.constant(offsets[k]));
        let product = graph.binary(Binary::Mul, slope, x);
        graph.binary(Binary::Add, product, offset)
    };
    let mut value = piece(graph, pieces - 1);
    for k in (0..pieces - 1).rev() {
        let (left, at) = (piece(graph, k), graph.constant(breaks[k]));
        // At a breakpoint the piece nearer 0.
        let op = if breaks[k] >= 0.0 { Binary::Le } else { Binary::Lt };
        let below = graph.binary(op, x, at);
        value = graph.select(below, left, value);
    }
    Ok(value)
}

fn apply(g: &mut Graph, code: u32, args: &[Id], kinks: &mut Kinks) -> Result<Id, String> {
    kinks.found |= matches!(code, 4 | 6 | 11..=15 | 35 | 55..=75);
    let (a, b) = (args[0], args.get(1).copied().unwrap_or(args[0]));
    Ok(match code {
        0 => g.binary(Binary::Add, a, b),
        1 => g.binary(Binary::Sub, a, b),
        2 => g.product(a, b),
        3 => g.quotient(a, b),
        4 => g.binary(Binary::Mod, a, b),
        5 | 76 | 78 => g.binary(Binary::Pow, a, b),
        6 => {
            let (difference, zero, below) =
                (g.binary(Binary::Sub, a, b), g.constant(0.0), g.binary(Binary::Lt, a, b));
            g.select(below, zero, difference)
        }
        11 | 12 => {
            let op = if code == 11 { Binary::Min } else { Binary::Max };
            args[1..].iter().fold(a, |value, &b| g.binary(op, value, b))
        }
        13 => g.unary(Unary::Floor, a),
        14 => g.unary(Unary::Ceil, a),
        15 => g.unary(Unary::Abs, a),
        16 => g.neg(a),
        20..=24 | 28..=30 | 34 | 59..=63 | 66..=75 => return logical(g, code, args),
        35 => g.select(a, b, args[2]),
        37..=47 | 49..=53 | 79 => g.unary(function(code), a),
        48 => g.binary(Binary::Atan2, a, b),
        54 => args[1..].iter().fold(a, |sum, &b| g.binary(Binary::Add, sum, b)),
        55 => {
            let quotient = g.binary(Binary::Div, a, b);
            g.unary(Unary::Trunc, quotient)
        }
        56 => g.binary(Binary::Digits, a, b),
        57 | 58 => {
            let ten = g.constant(10.0);
            let scale = g.binary(Binary::Pow, ten, b);
            let scaled = g.binary(Binary::Mul, a, scale);
            let whole = g.unary(if code == 57 { Unary::Round } else { Unary::Trunc }, scaled);
            g.binary(Binary::Div, whole, scale)
        }
        77 => g.product(a, a),
        80 => {
            let size = g.unary(Unary::Abs, a);
            let power = g.binary(Binary::Pow, size, b);
            g.binary(Binary::Sign, power, a)
        }
        _ => return Err(format!("o{code} is no operation of the format")),
    })
}

fn function(code: u32) -> Unary {
    match code {
        37 => Unary::Tanh,
        38 => Unary::Tan,
        39 => Unary::Sqrt,
        40 => Unary::Sinh,
        41 => Unary::Sin,
        42 => Unary::Log10,
        43 => Unary::Log,
        44 => Unary::Exp,
        45 => Unary::Cosh,
        46 => Unary::Cos,
        47 => Unary::Atanh,
        49 => Unary::Atan,
        50 => Unary::Asinh,
        51 => Unary::Asin,
        52 => Unary::Acosh,
        79 => Unary::Logistic,
        _ => Unary::Acos,
    }
}

/// Arguments of `all different`, whose pairs are compared.
const MOST_DIFFERENT: usize = 2000;

fn logical(g: &mut Graph, code: u32, args: &[Id]) -> Result<Id, String> {
    let (a, b) = (args[0], args.get(1).copied().unwrap_or(args[0]));
    let zero = g.constant(0.0);
    let sum = |g: &mut Graph, terms: &[Id]| terms.iter().fold(zero, |sum, &t| g.binary(Binary::Add, sum, t));
    Ok(match code {
        20 => g.binary(Binary::Or, a, b),
        21 => g.binary(Binary::And, a, b),
        22 => g.binary(Binary::Lt, a, b),
        23 => g.binary(Binary::Le, a, b),
        24 => g.binary(Binary::Eq, a, b),
        28 => g.binary(Binary::Le, b, a),
        29 => g.binary(Binary::Lt, b, a),
        30 => g.binary(Binary::Ne, a, b),
        34 => g.unary(Unary::Not, a),
        59 => {
            let truths: Vec<Id> = args.iter().map(|&a| g.binary(Binary::Ne, a, zero)).collect();
            sum(g, &truths)
        }
        60 => {
            let equal: Vec<Id> = args[1..].iter().map(|&b| g.binary(Binary::Eq, a, b)).collect();
            sum(g, &equal)
        }
        62 => g.binary(Binary::Le, a, b),
        63 => g.binary(Binary::Le, b, a),
        66 => g.binary(Binary::Eq, a, b),
        67..=69 => {
            let positive = logical(g, [62, 63, 66][code as usize - 67], args)?;
            g.unary(Unary::Not, positive)
        }
        70 | 71 => {
            let op = if code == 70 { Binary::And } else { Binary::Or };
            args[1..].iter().fold(a, |value, &b| g.binary(op, value, b))
        }
        72 => g.select(a, b, args[2]),
        73 => {
            let (a, b) = (g.binary(Binary::Ne, a, zero), g.binary(Binary::Ne, b, zero));
            g.binary(Binary::Eq, a, b)
        }
        _ => {
            if args.len() > MOST_DIFFERENT {
                return Err(format!(
                    "o{code} compares {} arguments, at most {MOST_DIFFERENT} are treated",
                    args.len()
                ));
            }
            let mut some_equal = zero;
            for (k, &a) in args.iter().enumerate() {
                for &b in &args[..k] {
                    let equal = g.binary(Binary::Eq, a, b);
                    some_equal = g.binary(Binary::Or, some_equal, equal);
                }
            }
            if code == 74 { g.unary(Unary::Not, some_equal) } else { g.binary(Binary::Ne, some_equal, zero) }
        }
    })
}
