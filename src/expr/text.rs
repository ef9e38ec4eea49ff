//! Formulas written as text: `-sin(x0) - 0.1*x1`.
//!
//! ```text
//! sum     = product { ("+" | "-") product }         product = signed { ("*" | "/") signed }
//! signed  = { "+" | "-" } power                     power   = primary [ ("^" | "**") signed ]
//! primary = number | name | function "(" sum { "," sum } ")" | "(" sum ")"
//! ```
//!
//! so that -x^2 is -(x^2), and 2^-x^2 is 2^(-(x^2)). Functions are those of [`Var`] with one or two arguments; `log` is the natural logarithm, `pi` a number.

use super::record::Var;

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} (character {at})")]
pub struct TextError {
    /// One clause.
    pub what: String,
    /// Where, from 1.
    pub at: usize,
}

/// A formula that was read, in names 0, 1, ...
#[derive(Debug, Clone, PartialEq)]
pub struct TextFormula {
    root: Node,
    used: Vec<bool>,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Number(f64),
    Name(usize),
    Negative(Box<Node>),
    Two(char, Box<Node>, Box<Node>),
    Call(usize, Vec<Node>),
}

/// A function and how many arguments it takes.
enum Function {
    One(fn(Var) -> Var),
    Two(fn(Var, Var) -> Var),
}

const FUNCTIONS: &[(&str, Function)] = &[
    ("abs", Function::One(Var::abs)),
    ("sqrt", Function::One(Var::sqrt)),
    ("exp", Function::One(Var::exp)),
    ("log", Function::One(Var::ln)),
    ("ln", Function::One(Var::ln)),
    ("log10", Function::One(Var::log10)),
    ("sin", Function::One(Var::sin)),
    ("cos", Function::One(Var::cos)),
    ("tan", Function::One(Var::tan)),
    ("asin", Function::One(Var::asin)),
    ("acos", Function::One(Var::acos)),
    ("atan", Function::One(Var::atan)),
    ("sinh", Function::One(Var::sinh)),
    ("cosh", Function::One(Var::cosh)),
    ("tanh", Function::One(Var::tanh)),
    ("asinh", Function::One(Var::asinh)),
    ("acosh", Function::One(Var::acosh)),
    ("atanh", Function::One(Var::atanh)),
    ("logistic", Function::One(Var::logistic)),
    ("floor", Function::One(Var::floor)),
    ("ceil", Function::One(Var::ceil)),
    ("trunc", Function::One(Var::trunc)),
    ("round", Function::One(Var::round)),
    ("atan2", Function::Two(|a, b| a.atan2(b))),
    ("min", Function::Two(|a, b| a.min(b))),
    ("max", Function::Two(|a, b| a.max(b))),
    ("pow", Function::Two(|a, b| a.powf(b))),
];

/// Parentheses, signs and powers inside of each other.
const DEEPEST: usize = 100;

impl TextFormula {
    /// Reads a formula in these names.
    ///
    /// ```
    /// use costate::expr::{Point, TextFormula, record};
    /// let f = TextFormula::read("-sin(angle) - 0.1*speed", &["angle", "speed"])?;
    /// let mut field = record(2, 0, |_, y, _, dy| {
    ///     dy[0] = y[1];
    ///     dy[1] = f.record(y);
    /// })?;
    /// let mut dy = [0.0; 2];
    /// field.value(Point { t: 0.0, x: &[0.5, 1.0], p: &[] }, &mut dy);
    /// assert_eq!(dy, [1.0, -(0.5f64.sin()) - 0.1]);
    /// let error = TextFormula::read("2*angel", &["angle", "speed"]).unwrap_err();
    /// assert_eq!(error.to_string(), "there is no \"angel\"; the names are angle, speed (character 3)");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// It is no formula, or has a name that is not there.
    pub fn read<S: AsRef<str>>(text: &str, names: &[S]) -> Result<Self, TextError> {
        let mut parser = Parser {
            text: text.chars().collect(),
            at: 0,
            depth: 0,
            names: names.iter().map(|n| n.as_ref()).collect(),
            used: vec![false; names.len()],
        };
        let root = parser.sum()?;
        match parser.next() {
            None => Ok(Self { root, used: parser.used }),
            Some(c) => Err(parser.wrong(format!("{c:?} does not belong here"))),
        }
    }
    /// Whether name i occurs.
    pub fn uses(&self, i: usize) -> bool {
        self.used.get(i).copied().unwrap_or(false)
    }
    /// Writes it down in the recording under way, with these numbers for the names.
    pub fn record(&self, names: &[Var]) -> Var {
        record(&self.root, names)
    }
}

fn record(node: &Node, names: &[Var]) -> Var {
    match node {
        Node::Number(v) => Var::from(*v),
        Node::Name(i) => names[*i],
        Node::Negative(a) => -record(a, names),
        Node::Two(op, a, b) => {
            let (a, b) = (record(a, names), record(b, names));
            match op {
                '+' => a + b,
                '-' => a - b,
                '*' => a * b,
                '/' => a / b,
                _ => a.powf(b),
            }
        }
        Node::Call(function, arguments) => {
            let of: Vec<Var> = arguments.iter().map(|a| record(a, names)).collect();
            match FUNCTIONS[*function].1 {
                Function::One(f) => f(of[0]),
                Function::Two(f) => f(of[0], of[1]),
            }
        }
    }
}

struct Parser<'a> {
    text: Vec<char>,
    at: usize,
    depth: usize,
    names: Vec<&'a str>,
    used: Vec<bool>,
}

impl Parser<'_> {
    fn wrong(&self, what: String) -> TextError {
        TextError { what, at: self.at + 1 }
    }
    /// The next character that is no blank.
    fn next(&mut self) -> Option<char> {
        while self.text.get(self.at).is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }
    fn take(&mut self, wanted: &str) -> Option<char> {
        let found = self.next().filter(|c| wanted.contains(*c))?;
        self.at += 1;
        Some(found)
    }
    fn deeper(&mut self) -> Result<(), TextError> {
        self.depth += 1;
        if self.depth > DEEPEST { Err(self.wrong(format!("more than {DEEPEST} levels"))) } else { Ok(()) }
    }
    /// From the left, with these operators between; each level of the result is one of the tree.
    fn chain(
        &mut self,
        operators: &str,
        part: fn(&mut Self) -> Result<Node, TextError>,
    ) -> Result<Node, TextError> {
        let mut all = part(self)?;
        let mut count = 0;
        loop {
            // x ** y is a power.
            let power = self.next() == Some('*') && self.text.get(self.at + 1) == Some(&'*');
            let Some(op) = (if power { None } else { self.take(operators) }) else { return Ok(all) };
            count += 1;
            if count > 10 * DEEPEST {
                return Err(self.wrong(format!("more than {} terms in a row", 10 * DEEPEST)));
            }
            all = Node::Two(op, Box::new(all), Box::new(part(self)?));
        }
    }
    fn sum(&mut self) -> Result<Node, TextError> {
        self.deeper()?;
        let all = self.chain("+-", Self::product)?;
        self.depth -= 1;
        Ok(all)
    }
    fn product(&mut self) -> Result<Node, TextError> {
        self.chain("*/", Self::signed)
    }
    fn signed(&mut self) -> Result<Node, TextError> {
        self.deeper()?;
        let all = match self.take("+-") {
            Some('-') => Node::Negative(Box::new(self.signed()?)),
            Some(_) => self.signed()?,
            None => self.power()?,
        };
        self.depth -= 1;
        Ok(all)
    }
    fn power(&mut self) -> Result<Node, TextError> {
        let base = self.primary()?;
        let stars = self.next() == Some('*') && self.text.get(self.at + 1) == Some(&'*');
        if stars {
            self.at += 2;
        } else if self.take("^").is_none() {
            return Ok(base);
        }
        Ok(Node::Two('^', Box::new(base), Box::new(self.signed()?)))
    }
    fn primary(&mut self) -> Result<Node, TextError> {
        match self.next() {
            None => Err(self.wrong("the formula ends too early".into())),
            Some('(') => {
                self.at += 1;
                let inner = self.sum()?;
                self.close()?;
                Ok(inner)
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some(c) if c.is_alphabetic() || c == '_' => self.name(),
            Some(c) => Err(self.wrong(format!("{c:?} does not belong here"))),
        }
    }
    fn close(&mut self) -> Result<(), TextError> {
        match self.take(")") {
            Some(_) => Ok(()),
            None => Err(self.wrong("a closing parenthesis is missing".into())),
        }
    }
    fn number(&mut self) -> Result<Node, TextError> {
        let from = self.at;
        let here = |s: &Self, k: usize| s.text.get(k).copied().unwrap_or(' ');
        while here(self, self.at).is_ascii_digit() || here(self, self.at) == '.' {
            self.at += 1;
        }
        if matches!(here(self, self.at), 'e' | 'E') {
            let sign = usize::from(matches!(here(self, self.at + 1), '+' | '-'));
            if here(self, self.at + 1 + sign).is_ascii_digit() {
                self.at += 1 + sign;
                while here(self, self.at).is_ascii_digit() {
                    self.at += 1;
                }
            }
        }
        let text: String = self.text[from..self.at].iter().collect();
        match text.parse::<f64>() {
            Ok(v) if v.is_finite() => Ok(Node::Number(v)),
            _ => {
                self.at = from;
                Err(self.wrong(format!("{text:?} is not a number")))
            }
        }
    }
    fn name(&mut self) -> Result<Node, TextError> {
        let from = self.at;
        while self.text.get(self.at).is_some_and(|c| c.is_alphanumeric() || *c == '_') {
            self.at += 1;
        }
        let name: String = self.text[from..self.at].iter().collect();
        let call = self.next() == Some('(');
        if let Some(i) = self.names.iter().position(|n| *n == name).filter(|_| !call) {
            self.used[i] = true;
            return Ok(Node::Name(i));
        }
        if !call {
            if name == "pi" {
                return Ok(Node::Number(std::f64::consts::PI));
            }
            self.at = from;
            return Err(self.wrong(format!("there is no {name:?}; the names are {}", self.names.join(", "))));
        }
        let Some(function) = FUNCTIONS.iter().position(|f| f.0 == name) else {
            let all: Vec<&str> = FUNCTIONS.iter().map(|f| f.0).collect();
            self.at = from;
            return Err(self.wrong(format!("there is no function {name:?}; there are {}", all.join(", "))));
        };
        self.at += 1;
        let mut arguments = vec![self.sum()?];
        while self.take(",").is_some() {
            arguments.push(self.sum()?);
        }
        self.close()?;
        let wanted = match FUNCTIONS[function].1 {
            Function::One(_) => 1,
            Function::Two(_) => 2,
        };
        if arguments.len() != wanted {
            let what = format!("{name} takes {wanted} arguments, here are {}", arguments.len());
            return Err(self.wrong(what));
        }
        Ok(Node::Call(function, arguments))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Point, record as record_field};
    use super::*;

    fn value(text: &str, x: f64, y: f64) -> f64 {
        let f = TextFormula::read(text, &["x", "y"]).unwrap();
        let mut field = record_field(2, 0, |_, u, _, du| {
            du[0] = f.record(u);
            du[1] = u[0];
        })
        .unwrap();
        let mut out = [0.0; 2];
        field.value(Point { t: 0.0, x: &[x, y], p: &[] }, &mut out);
        out[0]
    }

    #[test]
    fn values() {
        let (x, y) = (0.7f64, -1.3f64);
        for (text, want) in [
            ("-x^2", -(x * x)),
            ("2^-x", 2f64.powf(-x)),
            ("2 ** 3 ** 2", 512.0),
            ("x - y - 1", x - y - 1.0),
            ("x/y/2*4", x / y / 2.0 * 4.0),
            ("-(x+y)*-3", (x + y) * 3.0),
            ("1e-3*x + .5e1", 1e-3 * x + 5.0),
            ("exp(x)*log(x)+ln(x)", x.exp() * x.ln() + x.ln()),
            ("atan2(x, y) + max(x,y)*min(x, y)", x.atan2(y) + x * y),
            ("sin(pi*x)+tanh(sqrt(abs(y)))", (std::f64::consts::PI * x).sin() + y.abs().sqrt().tanh()),
            ("- - x", x),
            ("pow(x, 2)", x * x),
        ] {
            let found = value(text, x, y);
            assert!((found - want).abs() < 1e-14 * (1.0 + want.abs()), "{text} {found} {want}");
        }
        assert!(TextFormula::read("x", &["x", "y"]).unwrap().uses(0));
        assert!(!TextFormula::read("x", &["x", "y"]).unwrap().uses(1));
    }

    #[test]
    fn what_is_wrong_is_one_clause() {
        for (text, want) in [
            ("", "ends too early"),
            ("x +", "ends too early"),
            ("x y", "'y' does not belong here (character 3)"),
            ("(x", "closing parenthesis"),
            ("sin x", "there is no \"sin\""),
            ("sine(x)", "no function \"sine\""),
            ("sin(x, y)", "sin takes 1 arguments, here are 2"),
            ("1.2.3", "\"1.2.3\" is not a number"),
            ("1e999", "is not a number"),
            ("x $ y", "'$' does not belong here"),
            ("z", "the names are x, y"),
        ] {
            let error = TextFormula::read(text, &["x", "y"]).unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        }
        assert!(TextFormula::read(&"(".repeat(5000), &["x"]).unwrap_err().what.contains("levels"));
        assert!(TextFormula::read(&"-".repeat(5000), &["x"]).unwrap_err().what.contains("levels"));
        assert!(TextFormula::read(&format!("x{}", "^x".repeat(5000)), &["x"]).is_err());
    }
}
