//! Fortran expressions of the function part (section 8 of the format): lexer and typed parser.
//!
//! The parser writes straight into a [`Graph`].

use super::Literals;
use crate::expr::graph::{Binary, Graph, Id, Unary};

/// Parentheses, powers and signs inside each other that are accepted.
const MAX_DEPTH: usize = 200;

/// Fortran's types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Logical,
    Integer,
    /// Default real, 32 bits.
    Single,
    Double,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Logical => "logical",
            Self::Integer => "integer",
            Self::Single => "real",
            Self::Double => "double precision",
        }
    }
}

/// A value in the graph with its Fortran type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value {
    pub id: Id,
    pub kind: Kind,
}

/// What is wrong, and at which character of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub at: usize,
    pub what: String,
}

/// Values of names, and functions that are not intrinsic.
pub(crate) trait Scope {
    /// The value of a name (upper case).
    fn value(&mut self, name: &str, graph: &mut Graph) -> Result<Value, String>;
    /// Whether `name(...)` is handled by [`Scope::call`] instead of the intrinsics.
    fn calls(&self, name: &str) -> bool;
    /// An external function or an array element: arguments are values or, for names without a value, the names.
    fn call(&mut self, name: &str, args: &[Argument], graph: &mut Graph) -> Result<Value, String>;
}

/// An argument of an external function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Argument {
    Value(Value),
    /// The name of an array.
    Array(String),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Integer(f64),
    Single(f64),
    Double(f64),
    Truth(bool),
    Name(String),
    /// Operators and punctuation; `.EQ.` and `==` are both `==`.
    Mark(&'static str),
    End,
}

/// Dotted operators.
const DOTTED: [(&str, &str); 11] = [
    (".OR.", ".OR."),
    (".AND.", ".AND."),
    (".NOT.", ".NOT."),
    (".EQ.", "=="),
    (".NE.", "/="),
    (".LT.", "<"),
    (".LE.", "<="),
    (".GT.", ">"),
    (".GE.", ">="),
    (".TRUE.", ".TRUE."),
    (".FALSE.", ".FALSE."),
];
/// Longest first.
const MARKS: [&str; 14] = ["**", "==", "/=", "<=", ">=", "<", ">", "+", "-", "*", "/", "(", ")", ","];

/// Parses one expression. `text`: upper case, no blanks.
pub(crate) fn parse(
    text: &str,
    graph: &mut Graph,
    scope: &mut dyn Scope,
    literals: Literals,
) -> Result<Value, Fault> {
    let mut parser = Parser {
        text,
        at: 0,
        start: 0,
        token: Token::End,
        depth: 0,
        graph,
        scope,
        single: literals == Literals::Cutest,
    };
    parser.advance()?;
    let value = parser.or()?;
    if parser.token != Token::End {
        return Err(parser.unexpected("an operator or the end of the expression"));
    }
    Ok(value)
}

/// Converts on assignment: real to integer truncates.
pub(crate) fn convert(graph: &mut Graph, value: Value, to: Kind) -> Result<Id, String> {
    match (value.kind, to) {
        (from, to) if from == to => Ok(value.id),
        (Kind::Logical, _) | (_, Kind::Logical) => {
            Err(format!("found a {} value, expected a {} one", value.kind.name(), to.name()))
        }
        (_, Kind::Integer) => Ok(graph.unary(Unary::Trunc, value.id)),
        (_, Kind::Single) => Ok(graph.unary(Unary::Single, value.id)),
        _ => Ok(value.id),
    }
}

struct Parser<'a> {
    text: &'a str,
    /// Behind the current token.
    at: usize,
    /// First character of the current token.
    start: usize,
    token: Token,
    depth: usize,
    graph: &'a mut Graph,
    scope: &'a mut dyn Scope,
    /// Literals without D are 32-bit.
    single: bool,
}

impl Parser<'_> {
    fn fault(&self, what: impl Into<String>) -> Fault {
        Fault { at: self.start, what: what.into() }
    }
    fn unexpected(&self, expected: &str) -> Fault {
        match self.token {
            Token::End => self.fault(format!("the expression ends, expected {expected}")),
            _ => self.fault(format!("found `{}`, expected {expected}", &self.text[self.start..self.at])),
        }
    }
    fn is(&self, mark: &str) -> bool {
        matches!(self.token, Token::Mark(m) if m == mark)
    }
    fn expect(&mut self, mark: &str) -> Result<(), Fault> {
        if !self.is(mark) {
            return Err(self.unexpected(&format!("`{mark}`")));
        }
        self.advance()
    }
    fn enter(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.fault(format!("the expression is nested more than {MAX_DEPTH} deep")));
        }
        Ok(())
    }

    // Lexer.

    fn advance(&mut self) -> Result<(), Fault> {
        self.start = self.at;
        let rest = &self.text[self.at..];
        let Some(first) = rest.bytes().next() else {
            self.token = Token::End;
            return Ok(());
        };
        if first.is_ascii_digit() || (first == b'.' && rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit))
        {
            return self.number();
        }
        if first.is_ascii_alphabetic() {
            let len = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
            self.token = Token::Name(rest[..len].to_string());
            self.at += len;
            return Ok(());
        }
        if let Some((text, mark)) = DOTTED.iter().find(|(text, _)| rest.starts_with(text)) {
            self.at += text.len();
            self.token = match *mark {
                ".TRUE." => Token::Truth(true),
                ".FALSE." => Token::Truth(false),
                mark => Token::Mark(mark),
            };
            return Ok(());
        }
        if let Some(mark) = MARKS.iter().find(|m| rest.starts_with(**m)) {
            self.at += mark.len();
            self.token = Token::Mark(mark);
            return Ok(());
        }
        let found = rest.chars().next().unwrap_or(' ');
        Err(self.fault(format!("found `{found}`, which no Fortran expression has here")))
    }

    /// Digits, point, digits, exponent; `1.GE.X` is the integer 1 and an operator.
    fn number(&mut self) -> Result<(), Fault> {
        let bytes = self.text.as_bytes();
        let digits = |mut p: usize| {
            while bytes.get(p).is_some_and(u8::is_ascii_digit) {
                p += 1;
            }
            p
        };
        let mut end = digits(self.at);
        let mut real = false;
        let operator = DOTTED.iter().any(|(text, _)| self.text[end..].starts_with(text));
        if bytes.get(end) == Some(&b'.') && !operator {
            real = true;
            end = digits(end + 1);
        }
        let mut text = self.text[self.start..end].to_string();
        let mut double = false;
        if let Some(&letter @ (b'E' | b'D')) = bytes.get(end) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let stop = digits(end + 1 + sign);
            if stop > end + 1 + sign {
                text.push('e');
                text.push_str(&self.text[end + 1..stop]);
                real = true;
                double = letter == b'D';
                end = stop;
            }
        }
        self.at = end;
        // 32-bit literals are rounded once, from the decimal digits.
        let value = match real && !double && self.single {
            true => text.parse::<f32>().map(f64::from).ok(),
            false => text.parse::<f64>().ok(),
        };
        let Some(value) = value.filter(|v| v.is_finite()) else {
            return Err(self.fault(format!("number `{text}` is too large")));
        };
        self.token = match (real, double || !self.single) {
            (false, _) if value > f64::from(i32::MAX) => {
                return Err(self.fault(format!("integer `{text}` needs more than 32 bits")));
            }
            (false, _) => Token::Integer(value),
            (true, true) => Token::Double(value),
            (true, false) => Token::Single(value),
        };
        Ok(())
    }

    // Grammar, loosest first.

    fn or(&mut self) -> Result<Value, Fault> {
        self.logical_chain(".OR.", Binary::Or, Self::and)
    }
    fn and(&mut self) -> Result<Value, Fault> {
        self.logical_chain(".AND.", Binary::And, Self::not)
    }
    fn logical_chain(
        &mut self,
        mark: &str,
        op: Binary,
        operand: fn(&mut Self) -> Result<Value, Fault>,
    ) -> Result<Value, Fault> {
        let mut left = operand(self)?;
        while self.is(mark) {
            let at = self.start;
            self.advance()?;
            let right = operand(self)?;
            if left.kind != Kind::Logical || right.kind != Kind::Logical {
                return Err(Fault { at, what: format!("`{mark}` needs logical operands") });
            }
            left.id = self.graph.binary(op, left.id, right.id);
        }
        Ok(left)
    }
    fn not(&mut self) -> Result<Value, Fault> {
        if !self.is(".NOT.") {
            return self.relation();
        }
        self.enter()?;
        self.advance()?;
        let at = self.start;
        let value = self.not()?;
        self.depth -= 1;
        if value.kind != Kind::Logical {
            return Err(Fault { at, what: "`.NOT.` needs a logical operand".into() });
        }
        Ok(Value { id: self.graph.unary(Unary::Not, value.id), kind: Kind::Logical })
    }
    fn relation(&mut self) -> Result<Value, Fault> {
        let left = self.sum()?;
        let (op, swap) = match self.token {
            Token::Mark("==") => (Binary::Eq, false),
            Token::Mark("/=") => (Binary::Ne, false),
            Token::Mark("<") => (Binary::Lt, false),
            Token::Mark("<=") => (Binary::Le, false),
            Token::Mark(">") => (Binary::Lt, true),
            Token::Mark(">=") => (Binary::Le, true),
            _ => return Ok(left),
        };
        let at = self.start;
        self.advance()?;
        let right = self.sum()?;
        if left.kind == Kind::Logical || right.kind == Kind::Logical {
            return Err(Fault {
                at,
                what: "a relation needs numbers on both sides, found a logical value".into(),
            });
        }
        let (a, b) = if swap { (right.id, left.id) } else { (left.id, right.id) };
        Ok(Value { id: self.graph.binary(op, a, b), kind: Kind::Logical })
    }
    fn sum(&mut self) -> Result<Value, Fault> {
        let sign = self.is("-");
        let at = self.start;
        if sign || self.is("+") {
            self.advance()?;
        }
        let mut left = self.product()?;
        if sign {
            left = self.numeric(at, left)?;
            left.id = self.graph.neg(left.id);
        }
        loop {
            let op = match self.token {
                Token::Mark("+") => Binary::Add,
                Token::Mark("-") => Binary::Sub,
                _ => return Ok(left),
            };
            let at = self.start;
            self.advance()?;
            let right = self.product()?;
            left = self.arithmetic(at, op, left, right)?;
        }
    }
    fn product(&mut self) -> Result<Value, Fault> {
        let mut left = self.power()?;
        loop {
            let op = match self.token {
                Token::Mark("*") => Binary::Mul,
                Token::Mark("/") => Binary::Div,
                _ => return Ok(left),
            };
            let at = self.start;
            self.advance()?;
            let right = self.power()?;
            left = self.arithmetic(at, op, left, right)?;
        }
    }
    fn power(&mut self) -> Result<Value, Fault> {
        let base = self.primary()?;
        if !self.is("**") {
            return Ok(base);
        }
        let at = self.start;
        self.advance()?;
        self.enter()?;
        let exponent = self.power()?;
        self.depth -= 1;
        let base = self.numeric(at, base)?;
        let exponent = self.numeric(at, exponent)?;
        self.raise(base, exponent)
    }
    fn primary(&mut self) -> Result<Value, Fault> {
        let (value, kind) = match std::mem::replace(&mut self.token, Token::End) {
            Token::Integer(v) => (v, Kind::Integer),
            Token::Single(v) => (v, Kind::Single),
            Token::Double(v) => (v, Kind::Double),
            Token::Truth(v) => (f64::from(u8::from(v)), Kind::Logical),
            Token::Name(name) => return self.name(name),
            Token::Mark("(") => {
                self.enter()?;
                self.advance()?;
                let value = self.or()?;
                self.depth -= 1;
                self.expect(")")?;
                return Ok(value);
            }
            token => {
                self.token = token;
                return Err(self.unexpected("a number, a name or `(`"));
            }
        };
        self.advance()?;
        Ok(Value { id: self.graph.constant(value), kind })
    }
    fn name(&mut self, name: String) -> Result<Value, Fault> {
        let at = self.start;
        self.advance()?;
        if !self.is("(") {
            return self.scope.value(&name, self.graph).map_err(|what| Fault { at, what });
        }
        self.enter()?;
        let value = if self.scope.calls(&name) {
            let args = self.external_arguments()?;
            self.scope.call(&name, &args, self.graph).map_err(|what| Fault { at, what })?
        } else {
            let args = self.arguments()?;
            self.intrinsic(at, &name, &args)?
        };
        self.depth -= 1;
        Ok(value)
    }
    /// `(` expression `,` ... `)`.
    fn arguments(&mut self) -> Result<Vec<Value>, Fault> {
        let mut args = Vec::new();
        loop {
            self.advance()?;
            args.push(self.or()?);
            if !self.is(",") {
                self.expect(")")?;
                return Ok(args);
            }
        }
    }
    fn external_arguments(&mut self) -> Result<Vec<Argument>, Fault> {
        let mut args = Vec::new();
        loop {
            self.advance()?;
            let next = self.text.as_bytes().get(self.at);
            match &self.token {
                Token::Name(name) if matches!(next, Some(b',' | b')')) && self.scope.calls(name) => {
                    args.push(Argument::Array(name.clone()));
                    self.advance()?;
                }
                _ => args.push(Argument::Value(self.or()?)),
            }
            if !self.is(",") {
                self.expect(")")?;
                return Ok(args);
            }
        }
    }

    // Types.

    fn numeric(&self, at: usize, value: Value) -> Result<Value, Fault> {
        match value.kind {
            Kind::Logical => Err(Fault { at, what: "found a logical value, expected a number".into() }),
            _ => Ok(value),
        }
    }
    /// Rounds to the kind's precision after an operation.
    fn rounded(&mut self, id: Id, kind: Kind) -> Value {
        let id = if kind == Kind::Single { self.graph.unary(Unary::Single, id) } else { id };
        Value { id, kind }
    }
    fn arithmetic(&mut self, at: usize, op: Binary, a: Value, b: Value) -> Result<Value, Fault> {
        let (a, b) = (self.numeric(at, a)?, self.numeric(at, b)?);
        let kind = a.kind.max(b.kind);
        let mut id = self.graph.binary(op, a.id, b.id);
        if kind == Kind::Integer && op == Binary::Div {
            id = self.graph.unary(Unary::Trunc, id);
        }
        Ok(self.rounded(id, kind))
    }
    fn raise(&mut self, base: Value, exponent: Value) -> Result<Value, Fault> {
        let kind = base.kind.max(exponent.kind);
        if exponent.kind != Kind::Integer {
            let id = self.graph.binary(Binary::Pow, base.id, exponent.id);
            return Ok(self.rounded(id, kind));
        }
        let mut id = match self.graph.value(exponent.id) {
            Some(n) => self.graph.whole_power(base.id, n as i32),
            None => self.graph.binary(Binary::Powi, base.id, exponent.id),
        };
        if kind == Kind::Integer {
            id = self.graph.unary(Unary::Trunc, id); // 2 ** (-1) = 0
        }
        Ok(self.rounded(id, kind))
    }

    fn intrinsic(&mut self, at: usize, name: &str, args: &[Value]) -> Result<Value, Fault> {
        let Some((call, least, most)) = intrinsic(name) else {
            return Err(Fault { at, what: format!("unknown function `{name}`") });
        };
        if args.len() < least || args.len() > most {
            let most = if most == usize::MAX { "or more".into() } else { format!("to {most}") };
            let expected =
                if most == format!("to {least}") { least.to_string() } else { format!("{least} {most}") };
            let what = format!("function `{name}` has {} arguments, expected {expected}", args.len());
            return Err(Fault { at, what });
        }
        if args.iter().any(|a| a.kind == Kind::Logical) {
            return Err(Fault {
                at,
                what: format!("function `{name}` has a logical argument, expected a number"),
            });
        }
        let kind = args.iter().map(|a| a.kind).fold(Kind::Integer, Kind::max);
        let real = if self.single { Kind::Single } else { Kind::Double };
        Ok(match call {
            Call::Generic(op) => {
                let id = self.graph.unary(op, args[0].id);
                self.rounded(id, kind)
            }
            Call::Real(op) => {
                let id = self.graph.unary(op, args[0].id);
                self.rounded(id, kind.max(real))
            }
            Call::Pair(op) => {
                let id = args[1..].iter().fold(args[0].id, |a, b| self.graph.binary(op, a, b.id));
                let kind = if op == Binary::Atan2 { kind.max(real) } else { kind };
                self.rounded(id, kind)
            }
            Call::Whole(op) => Value { id: self.graph.unary(op, args[0].id), kind: Kind::Integer },
            Call::ToDouble => Value { id: args[0].id, kind: Kind::Double },
            Call::ToReal if kind > Kind::Single && self.single => {
                Value { id: self.graph.unary(Unary::Single, args[0].id), kind: real }
            }
            Call::ToReal => self.rounded(args[0].id, real),
        })
    }
}

#[derive(Debug, Clone, Copy)]
enum Call {
    /// Result of the argument's kind.
    Generic(Unary),
    /// A real result even of an integer.
    Real(Unary),
    /// Two arguments, or more folded from the left.
    Pair(Binary),
    /// An integer result.
    Whole(Unary),
    ToDouble,
    ToReal,
}

/// Operation, least and most arguments.
fn intrinsic(name: &str) -> Option<(Call, usize, usize)> {
    Some(match name {
        "ABS" | "DABS" | "IABS" => (Call::Generic(Unary::Abs), 1, 1),
        "AINT" | "DINT" => (Call::Generic(Unary::Trunc), 1, 1),
        "ANINT" | "DNINT" => (Call::Generic(Unary::Round), 1, 1),
        "SQRT" | "DSQRT" => (Call::Real(Unary::Sqrt), 1, 1),
        "EXP" | "DEXP" => (Call::Real(Unary::Exp), 1, 1),
        "LOG" | "DLOG" | "ALOG" => (Call::Real(Unary::Log), 1, 1),
        "LOG10" | "DLOG10" | "ALOG10" => (Call::Real(Unary::Log10), 1, 1),
        "SIN" | "DSIN" => (Call::Real(Unary::Sin), 1, 1),
        "COS" | "DCOS" => (Call::Real(Unary::Cos), 1, 1),
        "TAN" | "DTAN" => (Call::Real(Unary::Tan), 1, 1),
        "ASIN" | "DASIN" => (Call::Real(Unary::Asin), 1, 1),
        "ACOS" | "DACOS" => (Call::Real(Unary::Acos), 1, 1),
        "ATAN" | "DATAN" => (Call::Real(Unary::Atan), 1, 1),
        "SINH" | "DSINH" => (Call::Real(Unary::Sinh), 1, 1),
        "COSH" | "DCOSH" => (Call::Real(Unary::Cosh), 1, 1),
        "TANH" | "DTANH" => (Call::Real(Unary::Tanh), 1, 1),
        "ATAN2" | "DATAN2" => (Call::Pair(Binary::Atan2), 2, 2),
        "SIGN" | "DSIGN" | "ISIGN" => (Call::Pair(Binary::Sign), 2, 2),
        "MOD" | "DMOD" | "AMOD" => (Call::Pair(Binary::Mod), 2, 2),
        "MAX" | "DMAX1" | "AMAX1" | "MAX0" => (Call::Pair(Binary::Max), 2, usize::MAX),
        "MIN" | "DMIN1" | "AMIN1" | "MIN0" => (Call::Pair(Binary::Min), 2, usize::MAX),
        "INT" | "IDINT" | "IFIX" => (Call::Whole(Unary::Trunc), 1, 1),
        "NINT" | "IDNINT" => (Call::Whole(Unary::Round), 1, 1),
        "DBLE" | "DFLOAT" => (Call::ToDouble, 1, 1),
        "REAL" | "FLOAT" | "SNGL" => (Call::ToReal, 1, 1),
        _ => return None,
    })
}

#[cfg(test)]
#[path = "fortran_tests.rs"]
mod tests;
