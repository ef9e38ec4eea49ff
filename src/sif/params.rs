//! Parameter cards: integer (I*), real (R*) and array (A*) assignments.

use super::card::{Card, latin1};
use super::key::{Key, Table};
use super::number;
use super::operand::{Integers, NONE, Operands, Space};

/// Real parameters, scalars and arrays in one space. Values are finite; NaN marks those without a value.
#[derive(Debug, Default)]
pub(crate) struct Reals {
    table: Table,
    values: Vec<f64>,
}

impl Reals {
    /// Number of names.
    pub fn len(&self) -> usize {
        self.values.len()
    }
    /// Place of a parameter named by an operand.
    fn slot(&mut self, operands: &mut Operands, k: u32, integers: &Integers) -> Result<usize, String> {
        let (slot, new) = operands.at(k).intern(integers, &mut self.table)?;
        if new {
            self.values.push(f64::NAN);
        }
        Ok(slot as usize)
    }
    /// Value of the parameter named by an operand.
    #[inline]
    pub fn get(&self, operands: &mut Operands, k: u32, integers: &Integers) -> Result<f64, String> {
        let value = operands.at(k).find(integers, &self.table)?.map(|slot| self.values[slot as usize]);
        match value {
            Some(value) if !value.is_nan() => Ok(value),
            _ => Err(undefined(operands.at(k).key(integers)?)),
        }
    }
}

#[cold]
fn undefined(name: Key) -> String {
    format!("undefined real parameter `{}`", name.text())
}

/// What an assignment computes from v (field 4), a (field 3) and b (field 5).
#[derive(Debug, Clone, Copy, PartialEq)]
enum Op {
    /// v
    Number,
    /// a, from the other kind of parameter
    Convert,
    /// v + a
    AddNumber,
    /// v - a
    SubNumber,
    /// v a
    MulNumber,
    /// v / a
    DivNumber,
    /// a
    Copy,
    /// a + b
    Add,
    /// a - b
    Sub,
    /// a b
    Mul,
    /// a / b
    Div,
    /// function(v)
    OfNumber(Function),
    /// function(b)
    OfParameter(Function),
}

/// Functions of real parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Function {
    Abs,
    Sqrt,
    Exp,
    Log,
    Log10,
    Sin,
    Cos,
    Tan,
    Arcsin,
    Arccos,
    Arctan,
    Hypsin,
    Hypcos,
    Hyptan,
}

impl Function {
    const NAMES: [(&'static str, Function); 14] = [
        ("ABS", Function::Abs),
        ("SQRT", Function::Sqrt),
        ("EXP", Function::Exp),
        ("LOG", Function::Log),
        ("LOG10", Function::Log10),
        ("SIN", Function::Sin),
        ("COS", Function::Cos),
        ("TAN", Function::Tan),
        ("ARCSIN", Function::Arcsin),
        ("ARCCOS", Function::Arccos),
        ("ARCTAN", Function::Arctan),
        ("HYPSIN", Function::Hypsin),
        ("HYPCOS", Function::Hypcos),
        ("HYPTAN", Function::Hyptan),
    ];

    fn named(name: &[u8]) -> Result<Self, String> {
        match Self::NAMES.iter().find(|(known, _)| known.as_bytes() == name) {
            Some((_, function)) => Ok(*function),
            None => {
                let known = Self::NAMES.map(|(name, _)| name).join(", ");
                Err(format!("unknown function `{}`, expected one of {known}", latin1(name)))
            }
        }
    }

    fn apply(self, x: f64) -> Result<f64, String> {
        let outside = match self {
            Self::Sqrt => x < 0.0,
            Self::Log | Self::Log10 => x <= 0.0,
            Self::Arcsin | Self::Arccos => x.abs() > 1.0,
            _ => false,
        };
        if outside {
            let name = Self::NAMES.iter().find(|(_, f)| *f == self).map_or("", |(name, _)| name);
            return Err(format!("argument {x} is outside the domain of {name}"));
        }
        Ok(match self {
            Self::Abs => x.abs(),
            Self::Sqrt => x.sqrt(),
            Self::Exp => x.exp(),
            Self::Log => x.ln(),
            Self::Log10 => x.log10(),
            Self::Sin => x.sin(),
            Self::Cos => x.cos(),
            Self::Tan => x.tan(),
            Self::Arcsin => x.asin(),
            Self::Arccos => x.acos(),
            Self::Arctan => x.atan(),
            Self::Hypsin => x.sinh(),
            Self::Hypcos => x.cosh(),
            Self::Hyptan => x.tanh(),
        })
    }
}

/// A compiled parameter card.
#[derive(Debug, Clone)]
pub(crate) enum Assign {
    /// Integer parameters by place.
    Integer(IntegerAssign),
    /// Real parameters by operand.
    Real(RealAssign),
}

#[derive(Debug, Clone)]
pub(crate) struct IntegerAssign {
    op: Op,
    target: u32,
    /// Place of an integer parameter, or operand of a real one for `Convert`.
    a: u32,
    b: u32,
    v: i32,
}

#[derive(Debug, Clone)]
pub(crate) struct RealAssign {
    op: Op,
    target: u32,
    /// Operand, or place of an integer parameter for `Convert`.
    a: u32,
    b: u32,
    v: f64,
}

/// Which parameter card a code is, if it is one: its kind (I, R, A) and operation.
fn operation(code: [u8; 2]) -> Option<(u8, Op)> {
    let kind = code[0];
    // The function is filled in from field 3.
    let function = Function::Abs;
    let op = match code[1] {
        b'E' => Op::Number,
        b'R' if kind == b'I' => Op::Convert,
        b'I' if kind != b'I' => Op::Convert,
        b'A' => Op::AddNumber,
        b'S' => Op::SubNumber,
        b'M' => Op::MulNumber,
        b'D' => Op::DivNumber,
        b'=' => Op::Copy,
        b'+' => Op::Add,
        b'-' => Op::Sub,
        b'*' => Op::Mul,
        b'/' => Op::Div,
        b'F' if kind != b'I' => Op::OfNumber(function),
        b'(' if kind != b'I' => Op::OfParameter(function),
        _ => return None,
    };
    matches!(kind, b'I' | b'R' | b'A').then_some((kind, op))
}

/// Is this the code of a parameter card?
pub(crate) fn is_parameter(code: [u8; 2]) -> bool {
    operation(code).is_some()
}

/// Compiles a parameter card; `field4` stands for the card's field 4. The flag: text after `)` was dropped.
pub(crate) fn compile(
    card: &Card,
    field4: &[u8],
    share: bool,
    integers: &mut Integers,
    operands: &mut Operands,
) -> Result<(Assign, bool), String> {
    let Some((kind, op)) = operation(card.code()) else {
        return Err(format!("unknown parameter card `{}`", latin1(&card.code())));
    };
    let needs_number = matches!(
        op,
        Op::Number | Op::AddNumber | Op::SubNumber | Op::MulNumber | Op::DivNumber | Op::OfNumber(_)
    );
    let needs_a = !matches!(op, Op::Number | Op::OfNumber(_) | Op::OfParameter(_));
    let needs_b = matches!(op, Op::Add | Op::Sub | Op::Mul | Op::Div | Op::OfParameter(_));
    if kind == b'I' {
        let target = integers.slot(Key::new(card.field2()));
        let a = match op {
            Op::Convert => operands.add(card.field3(), Space::Real, false, share, integers)?.0,
            _ if needs_a => integers.slot(Key::new(card.field3())),
            _ => NONE,
        };
        let b = if needs_b { integers.slot(Key::new(card.field5())) } else { NONE };
        let v = if needs_number { number::integer(field4)? } else { 0 };
        return Ok((Assign::Integer(IntegerAssign { op, target, a, b, v }), false));
    }
    let array = kind == b'A';
    let mut dropped = false;
    let mut name = |field: &[u8], integers: &mut Integers| {
        let (k, d) = operands.add(field, Space::Real, array, share, integers)?;
        dropped |= d;
        Ok::<u32, String>(k)
    };
    let target = name(card.field2(), integers)?;
    let a = match op {
        Op::Convert => integers.slot(Key::new(card.field3())),
        _ if needs_a => name(card.field3(), integers)?,
        _ => NONE,
    };
    let b = if needs_b { name(card.field5(), integers)? } else { NONE };
    let v = if needs_number { number::real(field4)? } else { 0.0 };
    let op = match op {
        Op::OfNumber(_) => Op::OfNumber(Function::named(card.field3())?),
        Op::OfParameter(_) => Op::OfParameter(Function::named(card.field3())?),
        op => op,
    };
    Ok((Assign::Real(RealAssign { op, target, a, b, v }), dropped))
}

impl IntegerAssign {
    /// Runs the card.
    pub fn run(&self, integers: &mut Integers, operands: &mut Operands, reals: &Reals) -> Result<(), String> {
        let a = || integers.get(self.a);
        let b = || integers.get(self.b);
        let v = self.v;
        let quotient = |p: i32, q: i32| match q {
            0 => Err("division by zero".to_string()),
            _ => Ok(p.checked_div(q)),
        };
        let value = match self.op {
            Op::Number => Some(v),
            Op::Convert => {
                let real = reals.get(operands, self.a, integers)?.trunc();
                (real.abs() <= i32::MAX as f64).then_some(real as i32)
            }
            Op::AddNumber => v.checked_add(a()?),
            Op::SubNumber => v.checked_sub(a()?),
            Op::MulNumber => v.checked_mul(a()?),
            Op::DivNumber => quotient(v, a()?)?,
            Op::Copy => Some(a()?),
            Op::Add => a()?.checked_add(b()?),
            Op::Sub => a()?.checked_sub(b()?),
            Op::Mul => a()?.checked_mul(b()?),
            Op::Div => quotient(a()?, b()?)?,
            Op::OfNumber(_) | Op::OfParameter(_) => None,
        };
        let name = || integers.name(self.target);
        let value = value
            .ok_or_else(|| format!("the value of integer parameter `{}` needs more than 32 bits", name()))?;
        integers.set(self.target, value);
        Ok(())
    }
}

impl RealAssign {
    /// Runs the card.
    pub fn run(&self, integers: &Integers, operands: &mut Operands, reals: &mut Reals) -> Result<(), String> {
        let v = self.v;
        let mut get = |k: u32| reals.get(operands, k, integers);
        let value = match self.op {
            Op::Number => v,
            Op::Convert => integers.get(self.a)? as f32 as f64, // the decoder converts through single precision
            Op::AddNumber => v + get(self.a)?,
            Op::SubNumber => v - get(self.a)?,
            Op::MulNumber => v * get(self.a)?,
            Op::DivNumber => v / nonzero(get(self.a)?)?,
            Op::Copy => get(self.a)?,
            Op::Add => get(self.a)? + get(self.b)?,
            Op::Sub => get(self.a)? - get(self.b)?,
            Op::Mul => get(self.a)? * get(self.b)?,
            Op::Div => get(self.a)? / nonzero(get(self.b)?)?,
            Op::OfNumber(function) => function.apply(v)?,
            Op::OfParameter(function) => function.apply(get(self.b)?)?,
        };
        if !value.is_finite() {
            let name = operands.at(self.target).key(integers)?.text();
            return Err(format!("the value of real parameter `{name}` is too large for double precision"));
        }
        let slot = reals.slot(operands, self.target, integers)?;
        reals.values[slot] = value;
        Ok(())
    }
}

fn nonzero(x: f64) -> Result<f64, String> {
    if x == 0.0 { Err("division by zero".to_string()) } else { Ok(x) }
}
