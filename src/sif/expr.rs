//! Fortran expressions of the function part (section 8 of the format), lowered to a [`Graph`] as they are parsed.

use std::collections::HashMap;

use super::Literals;
use super::program::{Binary, Graph, Node, Op, Unary};

/// Type of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Type {
    Logical,
    Integer,
    Single,
    Double,
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Self::Logical => "logical",
            Self::Integer => "integer",
            Self::Single | Self::Double => "real",
        }
    }
}

/// A typed node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value {
    pub node: Node,
    pub ty: Type,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variable {
    pub ty: Type,
    /// `None` before the first assignment.
    pub node: Option<Node>,
}

/// Names in upper case.
pub(crate) type Scope = HashMap<String, Variable>;

/// Position (from 0, in the text without blanks) and what is wrong.
pub(crate) type Fault = (usize, String);

const MAX_DEPTH: usize = 100;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Integer(i64),
    Real { value: f64, double: bool },
    Name(String),
    Symbol(&'static str),
    End,
}

/// `text` is upper case without blanks.
fn tokenize(text: &str) -> Result<Vec<(usize, Token)>, Fault> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut k = 0;
    while k < bytes.len() {
        let start = k;
        let token = match bytes[k] {
            b'0'..=b'9' => number(text, &mut k)?,
            b'.' if bytes.get(k + 1).is_some_and(u8::is_ascii_digit) => number(text, &mut k)?,
            b'A'..=b'Z' => {
                while k < bytes.len() && (bytes[k].is_ascii_alphanumeric() || bytes[k] == b'_') {
                    k += 1;
                }
                Token::Name(text[start..k].to_string())
            }
            _ => {
                const SYMBOLS: [&str; 29] = [
                    ".TRUE.", ".FALSE.", ".AND.", ".NOT.", ".OR.", ".EQ.", ".NE.", ".LT.", ".LE.", ".GT.",
                    ".GE.", "**", "==", "/=", "<=", ">=", "<", ">", "+", "-", "*", "/", "(", ")", ",", "=",
                    ":", "'", "%",
                ];
                let rest = &text[k..];
                let symbol = SYMBOLS[..25].iter().find(|s| rest.starts_with(**s)).ok_or_else(|| {
                    let found = rest.chars().next().unwrap_or(' ');
                    (
                        start,
                        format!("found '{found}', expected a number, a name, an operator or a parenthesis"),
                    )
                })?;
                k += symbol.len();
                Token::Symbol(symbol)
            }
        };
        tokens.push((start, token));
    }
    tokens.push((text.len(), Token::End));
    Ok(tokens)
}

/// A literal; `1.GE.X` is the integer 1 followed by an operator.
fn number(text: &str, k: &mut usize) -> Result<Token, Fault> {
    let bytes = text.as_bytes();
    let start = *k;
    let digits = |k: &mut usize| {
        while bytes.get(*k).is_some_and(u8::is_ascii_digit) {
            *k += 1;
        }
    };
    digits(k);
    let mut real = false;
    let operator_follows = || {
        let rest = &text[*k..];
        [".AND.", ".OR.", ".EQ.", ".NE.", ".LT.", ".LE.", ".GT.", ".GE."].iter().any(|s| rest.starts_with(s))
    };
    if bytes.get(*k) == Some(&b'.') && !operator_follows() {
        real = true;
        *k += 1;
        digits(k);
    }
    let mut double = false;
    if let Some(b'E' | b'D') = bytes.get(*k) {
        let mut after = *k + 1;
        if let Some(b'+' | b'-') = bytes.get(after) {
            after += 1;
        }
        if bytes.get(after).is_some_and(u8::is_ascii_digit) {
            double = bytes[*k] == b'D';
            real = true;
            *k = after;
            digits(k);
        }
    }
    let literal = &text[start..*k];
    if real {
        let value: f64 =
            literal.replace('D', "E").parse().map_err(|_| (start, format!("'{literal}' is not a number")))?;
        return Ok(Token::Real { value, double });
    }
    let value = literal.parse().map_err(|_| (start, format!("integer '{literal}' is too large")))?;
    Ok(Token::Integer(value))
}

/// Lowers one expression.
pub(crate) fn parse(
    text: &str,
    graph: &mut Graph,
    scope: &Scope,
    literals: Literals,
) -> Result<Value, Fault> {
    if text.is_empty() {
        return Err((0, "the expression is missing".into()));
    }
    let tokens = tokenize(text)?;
    let mut parser = Parser { tokens, at: 0, graph, scope, literals, depth: 0 };
    let value = parser.or()?;
    match parser.peek() {
        Token::End => Ok(value),
        other => {
            let found = describe(other);
            Err(parser.fault(format!("found {found} after the end of the expression")))
        }
    }
}

fn describe(token: &Token) -> String {
    match token {
        Token::Integer(v) => format!("'{v}'"),
        Token::Real { value, .. } => format!("'{value}'"),
        Token::Name(n) => format!("'{n}'"),
        Token::Symbol(s) => format!("'{s}'"),
        Token::End => "the end of the expression".into(),
    }
}

struct Parser<'a> {
    tokens: Vec<(usize, Token)>,
    at: usize,
    graph: &'a mut Graph,
    scope: &'a Scope,
    literals: Literals,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].1
    }
    fn fault(&self, what: String) -> Fault {
        (self.tokens[self.at].0, what)
    }
    fn eat(&mut self, symbols: &[&'static str]) -> Option<&'static str> {
        let Token::Symbol(s) = self.peek() else { return None };
        let found = symbols.iter().find(|x| *x == s).copied();
        self.at += usize::from(found.is_some());
        found
    }
    fn expect(&mut self, symbol: &'static str) -> Result<(), Fault> {
        match self.eat(&[symbol]) {
            Some(_) => Ok(()),
            None => Err(self.fault(format!("found {}, expected '{symbol}'", describe(self.peek())))),
        }
    }

    fn logical(&self, v: Value, operator: &str) -> Result<Node, Fault> {
        if v.ty == Type::Logical {
            return Ok(v.node);
        }
        Err(self.fault(format!("{operator} needs logical operands, found {}", v.ty.name())))
    }
    fn numeric(&self, v: Value, operator: &str) -> Result<Value, Fault> {
        if v.ty != Type::Logical {
            return Ok(v);
        }
        Err(self.fault(format!("{operator} needs numbers, found a logical value")))
    }

    fn or(&mut self) -> Result<Value, Fault> {
        let mut left = self.and()?;
        while self.eat(&[".OR."]).is_some() {
            let right = self.and()?;
            let (a, b) = (self.logical(left, ".OR.")?, self.logical(right, ".OR.")?);
            left = Value { node: self.graph.binary(Binary::Or, a, b), ty: Type::Logical };
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Value, Fault> {
        let mut left = self.not()?;
        while self.eat(&[".AND."]).is_some() {
            let right = self.not()?;
            let (a, b) = (self.logical(left, ".AND.")?, self.logical(right, ".AND.")?);
            left = Value { node: self.graph.binary(Binary::And, a, b), ty: Type::Logical };
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Value, Fault> {
        let mut negate = false;
        while self.eat(&[".NOT."]).is_some() {
            negate = !negate;
        }
        let value = self.relation()?;
        if !negate {
            return Ok(value);
        }
        let a = self.logical(value, ".NOT.")?;
        Ok(Value { node: self.graph.unary(Unary::Not, a), ty: Type::Logical })
    }

    fn relation(&mut self) -> Result<Value, Fault> {
        let left = self.sum()?;
        let relations = [".EQ.", ".NE.", ".LT.", ".LE.", ".GT.", ".GE.", "==", "/=", "<=", ">=", "<", ">"];
        let Some(symbol) = self.eat(&relations) else { return Ok(left) };
        let right = self.sum()?;
        let f = match symbol {
            ".EQ." | "==" => Binary::Eq,
            ".NE." | "/=" => Binary::Ne,
            ".LT." | "<" => Binary::Lt,
            ".LE." | "<=" => Binary::Le,
            ".GT." | ">" => Binary::Gt,
            _ => Binary::Ge,
        };
        let (a, b) = (self.numeric(left, symbol)?, self.numeric(right, symbol)?);
        Ok(Value { node: self.graph.binary(f, a.node, b.node), ty: Type::Logical })
    }

    fn sum(&mut self) -> Result<Value, Fault> {
        let sign = self.eat(&["+", "-"]);
        let mut left = self.product()?;
        if let Some(s) = sign {
            left = self.numeric(left, s)?;
            if s == "-" {
                left.node = self.graph.unary(Unary::Neg, left.node);
            }
        }
        while let Some(s) = self.eat(&["+", "-"]) {
            let right = self.product()?;
            let f = if s == "+" { Binary::Add } else { Binary::Sub };
            left = self.arithmetic(f, s, left, right)?;
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Value, Fault> {
        let mut left = self.power()?;
        while let Some(s) = self.eat(&["*", "/"]) {
            let right = self.power()?;
            let f = if s == "*" { Binary::Mul } else { Binary::Div };
            left = self.arithmetic(f, s, left, right)?;
        }
        Ok(left)
    }

    /// Applies an operation with Fortran's promotion; integers stay integers, singles are rounded to 32 bits.
    fn arithmetic(&mut self, f: Binary, symbol: &str, a: Value, b: Value) -> Result<Value, Fault> {
        let (a, b) = (self.numeric(a, symbol)?, self.numeric(b, symbol)?);
        let ty = a.ty.max(b.ty);
        let f = if f == Binary::Div && ty == Type::Integer { Binary::IntDiv } else { f };
        let node = self.graph.binary(f, a.node, b.node);
        Ok(self.rounded(node, ty))
    }

    fn rounded(&mut self, node: Node, ty: Type) -> Value {
        let node = if ty == Type::Single { self.graph.unary(Unary::Single, node) } else { node };
        Value { node, ty }
    }

    fn power(&mut self) -> Result<Value, Fault> {
        let base = self.primary()?;
        if self.eat(&["**"]).is_none() {
            return Ok(base);
        }
        self.descend()?;
        // No operator is followed by a sign in the language; one after ** is understood all the same.
        let sign = self.eat(&["+", "-"]);
        let mut exponent = self.power()?;
        self.depth -= 1;
        let (base, _) = (self.numeric(base, "**")?, self.numeric(exponent, "**")?);
        if sign == Some("-") {
            exponent.node = self.graph.unary(Unary::Neg, exponent.node);
        }
        let ty = base.ty.max(exponent.ty);
        let constant = self.graph.value(exponent.node).filter(|v| v.fract() == 0.0 && v.abs() <= 1024.0);
        let node = match (exponent.ty, constant) {
            (Type::Integer, Some(0.0)) => self.graph.constant(1.0),
            (Type::Integer, Some(1.0)) => base.node,
            (Type::Integer, Some(k)) if base.ty != Type::Integer || k > 0.0 => {
                self.graph.add(Op::Power(base.node, k as i32))
            }
            (Type::Integer, _) if base.ty == Type::Integer => {
                let p = self.graph.binary(Binary::Pow, base.node, exponent.node);
                self.graph.unary(Unary::Trunc, p)
            }
            // powf of an integral exponent is exact in sign for negative bases.
            _ => self.graph.binary(Binary::Pow, base.node, exponent.node),
        };
        Ok(self.rounded(node, ty))
    }

    fn descend(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.fault(format!("the expression is nested deeper than {MAX_DEPTH}")));
        }
        Ok(())
    }

    fn primary(&mut self) -> Result<Value, Fault> {
        let token = self.peek().clone();
        match token {
            Token::Integer(v) => {
                self.at += 1;
                Ok(Value { node: self.graph.constant(v as f64), ty: Type::Integer })
            }
            Token::Real { value, double } => {
                self.at += 1;
                let single = !double && self.literals == Literals::Cutest;
                let value = if single { f64::from(value as f32) } else { value };
                let ty = if single { Type::Single } else { Type::Double };
                Ok(Value { node: self.graph.constant(value), ty })
            }
            Token::Symbol(s @ (".TRUE." | ".FALSE.")) => {
                self.at += 1;
                let value = if s == ".TRUE." { 1.0 } else { 0.0 };
                Ok(Value { node: self.graph.constant(value), ty: Type::Logical })
            }
            Token::Symbol("(") => {
                self.at += 1;
                self.descend()?;
                let value = self.or()?;
                self.depth -= 1;
                self.expect(")")?;
                Ok(value)
            }
            Token::Name(name) => {
                self.at += 1;
                if matches!(self.peek(), Token::Symbol("(")) { self.call(&name) } else { self.name(&name) }
            }
            other => Err(self.fault(format!("found {}, expected a number, a name or '('", describe(&other)))),
        }
    }

    fn name(&mut self, name: &str) -> Result<Value, Fault> {
        let at = self.tokens[self.at - 1].0;
        let variable = self
            .scope
            .get(name)
            .ok_or_else(|| (at, format!("'{name}' is neither a variable, a parameter nor a temporary")))?;
        let node = match variable.node {
            Some(node) => node,
            // Fortran leaves it undefined; zero is what the compiled programs start from.
            None => self.graph.constant(0.0),
        };
        Ok(Value { node, ty: variable.ty })
    }

    fn call(&mut self, name: &str) -> Result<Value, Fault> {
        let at = self.tokens[self.at - 1].0;
        self.expect("(")?;
        self.descend()?;
        let mut args = vec![self.or()?];
        while self.eat(&[","]).is_some() {
            args.push(self.or()?);
        }
        self.expect(")")?;
        self.depth -= 1;
        for a in &args {
            self.numeric(*a, name)?;
        }
        self.intrinsic(name, &args).map_err(|what| (at, what))
    }

    fn intrinsic(&mut self, name: &str, args: &[Value]) -> Result<Value, String> {
        let arity = |want: usize| {
            if args.len() == want {
                Ok(())
            } else {
                Err(format!("{name} takes {want} argument(s), found {}", args.len()))
            }
        };
        if let Some((f, keeps_integer)) = unary_intrinsic(name) {
            arity(1)?;
            let ty = if keeps_integer { args[0].ty } else { args[0].ty.max(Type::Single) };
            let node = self.graph.unary(f, args[0].node);
            return Ok(self.rounded(node, ty));
        }
        match name {
            "INT" | "IFIX" | "IDINT" | "NINT" | "IDNINT" => {
                arity(1)?;
                let f = if name.contains("NINT") { Unary::Nint } else { Unary::Trunc };
                Ok(Value { node: self.graph.unary(f, args[0].node), ty: Type::Integer })
            }
            "AINT" | "DINT" | "ANINT" | "DNINT" => {
                arity(1)?;
                let f = if name.contains("NINT") { Unary::Nint } else { Unary::Trunc };
                Ok(Value { node: self.graph.unary(f, args[0].node), ty: args[0].ty.max(Type::Single) })
            }
            "DBLE" | "DFLOAT" => {
                arity(1)?;
                Ok(Value { node: args[0].node, ty: Type::Double })
            }
            "REAL" | "FLOAT" | "SNGL" => {
                arity(1)?;
                if self.literals == Literals::Cutest {
                    return Ok(self.rounded(args[0].node, Type::Single));
                }
                Ok(Value { node: args[0].node, ty: Type::Double })
            }
            "ATAN2" | "DATAN2" | "SIGN" | "DSIGN" | "MOD" | "DMOD" | "AMOD" => {
                arity(2)?;
                let f = match name {
                    "ATAN2" | "DATAN2" => Binary::Atan2,
                    "SIGN" | "DSIGN" => Binary::Sign,
                    _ => Binary::Mod,
                };
                let ty = args[0].ty.max(args[1].ty);
                let node = self.graph.binary(f, args[0].node, args[1].node);
                Ok(self.rounded(node, ty))
            }
            "MAX" | "DMAX1" | "AMAX1" | "MAX0" | "MIN" | "DMIN1" | "AMIN1" | "MIN0" => {
                if args.len() < 2 {
                    return Err(format!("{name} takes at least 2 arguments, found {}", args.len()));
                }
                let f = if name.contains("MAX") { Binary::Max } else { Binary::Min };
                let mut value = args[0];
                for a in &args[1..] {
                    value = Value { node: self.graph.binary(f, value.node, a.node), ty: value.ty.max(a.ty) };
                }
                Ok(value)
            }
            _ => Err(format!("'{name}' is not an intrinsic function; external functions are not supported")),
        }
    }
}

/// The function and whether it keeps integers.
fn unary_intrinsic(name: &str) -> Option<(Unary, bool)> {
    Some(match name {
        "ABS" | "DABS" | "IABS" => (Unary::Abs, true),
        "SQRT" | "DSQRT" => (Unary::Sqrt, false),
        "EXP" | "DEXP" => (Unary::Exp, false),
        "LOG" | "DLOG" | "ALOG" => (Unary::Log, false),
        "LOG10" | "DLOG10" | "ALOG10" => (Unary::Log10, false),
        "SIN" | "DSIN" => (Unary::Sin, false),
        "COS" | "DCOS" => (Unary::Cos, false),
        "TAN" | "DTAN" => (Unary::Tan, false),
        "ASIN" | "DASIN" => (Unary::Asin, false),
        "ACOS" | "DACOS" => (Unary::Acos, false),
        "ATAN" | "DATAN" => (Unary::Atan, false),
        "SINH" | "DSINH" => (Unary::Sinh, false),
        "COSH" | "DCOSH" => (Unary::Cosh, false),
        "TANH" | "DTANH" => (Unary::Tanh, false),
        _ => return None,
    })
}
