//! The function part (section 7 of the format): statements, and their lowering to a graph per type.

use std::collections::HashMap;

use super::card::{Card, latin1};
use super::expr::{self, Scope, Type, Variable};
use super::number;
use super::program::{Graph, Node, Op, Unary};
use super::{Literals, SifError};

/// A statement, continuation cards joined, blanks removed, upper case.
#[derive(Debug, Clone)]
struct Statement {
    line: usize,
    code: u8,
    /// Field 2 and field 3.
    name: String,
    second: String,
    text: String,
}

/// A row entry of the range transformation, u = W v.
#[derive(Debug, Clone)]
struct RangeEntry {
    line: usize,
    internal: String,
    elemental: String,
    weight: f64,
}

/// The cards of one type.
#[derive(Debug, Clone, Default)]
struct Body {
    line: usize,
    statements: Vec<Statement>,
    range: Vec<RangeEntry>,
}

/// ELEMENTS or GROUPS, split into statements.
#[derive(Debug, Default)]
pub(crate) struct FunctionPart {
    temporaries: Vec<(String, Type)>,
    globals: Vec<Statement>,
    bodies: HashMap<String, Body>,
    order: Vec<String>,
}

/// What the caller knows of a type.
pub(crate) struct Signature<'a> {
    pub name: &'a str,
    /// Variables that the function depends on: internal variables, or elemental ones, or the group's argument.
    pub variables: &'a [String],
    /// Elemental variables, where the type has internal ones.
    pub elemental: &'a [String],
    pub params: &'a [String],
    pub line: usize,
    pub is_group: bool,
}

/// A type's function, lowered. Input k is variable k, then come the parameters.
#[derive(Debug)]
pub(crate) struct Lowered {
    pub graph: Graph,
    pub value: Node,
    /// Per variable; `None`: structurally zero.
    pub gradient: Vec<Option<Node>>,
    /// (i, j, node) with i >= j.
    pub hessian: Vec<(usize, usize, Node)>,
    /// Rows of W: (elemental variable, weight).
    pub range: Option<Vec<Vec<(usize, f64)>>>,
}

fn upper(text: &[u8]) -> String {
    latin1(text).chars().filter(|c| *c != ' ').collect::<String>().to_uppercase()
}

fn name_of(text: &[u8]) -> String {
    latin1(text).trim().to_uppercase()
}

impl FunctionPart {
    /// Splits the cards of ELEMENTS or GROUPS.
    pub fn new(file: &str, cards: &[Card], literals: Literals) -> Result<Self, SifError> {
        let error = |line: usize, what: String| SifError { file: file.to_string(), line, what };
        #[derive(Clone, Copy, PartialEq)]
        enum Section {
            None,
            Temporaries,
            Globals,
            Individuals,
        }
        let mut part = Self::default();
        let mut section = Section::None;
        let mut current: Option<String> = None;
        for card in cards {
            if card.is_indicator() {
                section = match card.keyword() {
                    b"TEMPORARIES" => Section::Temporaries,
                    b"GLOBALS" => Section::Globals,
                    b"INDIVIDUALS" => Section::Individuals,
                    other => {
                        let found = latin1(other);
                        return Err(error(
                            card.line,
                            format!("found section '{found}', expected TEMPORARIES, GLOBALS or INDIVIDUALS"),
                        ));
                    }
                };
                current = None;
                continue;
            }
            let [code, plus] = card.code();
            match section {
                // Cards between the header and the first subsection are ignored.
                Section::None => {}
                Section::Temporaries => part.temporary(card).map_err(|w| error(card.line, w))?,
                Section::Globals => {
                    push_statement(&mut part.globals, card, b"AIE").map_err(|w| error(card.line, w))?;
                }
                Section::Individuals if code == b'T' && plus == b' ' => {
                    let name = latin1(card.field2());
                    let body = Body { line: card.line, ..Body::default() };
                    if part.bodies.insert(name.clone(), body).is_some() {
                        return Err(error(card.line, format!("type '{name}' is defined twice")));
                    }
                    part.order.push(name.clone());
                    current = Some(name);
                }
                Section::Individuals => {
                    let body = current.as_ref().and_then(|name| part.bodies.get_mut(name));
                    let Some(body) = body else {
                        return Err(error(card.line, "found a statement before the first T card".into()));
                    };
                    let result = if code == b'R' {
                        range_card(body, card, literals)
                    } else {
                        push_statement(&mut body.statements, card, b"AIEFGH")
                    };
                    result.map_err(|w| error(card.line, w))?;
                }
            }
        }
        Ok(part)
    }

    fn temporary(&mut self, card: &Card) -> Result<(), String> {
        let name = name_of(card.field2());
        let ty = match card.code()[0] {
            b'R' => Type::Double,
            b'I' => Type::Integer,
            b'L' => Type::Logical,
            // Intrinsic and external functions: the name is looked up when it is called.
            b'M' | b'F' => return Ok(()),
            other => {
                return Err(format!(
                    "found code '{}' in TEMPORARIES, expected R, I, L, M or F",
                    other as char
                ));
            }
        };
        self.temporaries.push((name, ty));
        Ok(())
    }

    /// Every defined type must be declared.
    pub fn check_declared(
        &self,
        file: &str,
        declared: impl Fn(&str) -> bool,
        what: &str,
    ) -> Result<(), SifError> {
        match self.order.iter().find(|name| !declared(name)) {
            None => Ok(()),
            Some(name) => Err(SifError {
                file: file.to_string(),
                line: self.bodies[name].line,
                what: format!("{what} type '{name}' is defined here but not declared in the data part"),
            }),
        }
    }

    /// Lowers the function of a declared type.
    pub fn lower(
        &self,
        file: &str,
        signature: &Signature<'_>,
        literals: Literals,
    ) -> Result<Lowered, SifError> {
        let error = |line: usize, what: String| SifError { file: file.to_string(), line, what };
        let kind = if signature.is_group { "group" } else { "element" };
        let body = self.bodies.get(signature.name).ok_or_else(|| {
            error(
                signature.line,
                format!("{kind} type '{}' is declared but not defined in the function part", signature.name),
            )
        })?;
        let range = if signature.elemental.is_empty() {
            if let Some(entry) = body.range.first() {
                let what = format!("R card in type '{}', which has no internal variables", signature.name);
                return Err(error(entry.line, what));
            }
            None
        } else {
            Some(range_rows(body, signature).map_err(|(line, what)| error(line, what))?)
        };
        let mut lowering = Lowering::new(self, signature, literals);
        for statement in self.globals.iter().chain(&body.statements) {
            lowering.statement(statement).map_err(|what| error(statement.line, what))?;
        }
        let Lowering { graph, value, gradient, hessian, .. } = lowering;
        let value =
            value.ok_or_else(|| error(body.line, format!("type '{}' has no F card", signature.name)))?;
        if signature.is_group && (gradient[0].is_none() || hessian.is_empty()) {
            return Err(error(body.line, format!("group type '{}' needs F, G and H cards", signature.name)));
        }
        Ok(Lowered { graph, value, gradient, hessian, range })
    }
}

fn push_statement(list: &mut Vec<Statement>, card: &Card, allowed: &[u8]) -> Result<(), String> {
    let [code, plus] = card.code();
    let text = upper(card.field7());
    if plus == b'+' {
        let last = list.last_mut().filter(|s| s.code == code);
        let last = last.ok_or_else(|| {
            format!("continuation card '{}+' without a statement to continue", code as char)
        })?;
        last.text.push_str(&text);
        return Ok(());
    }
    if !allowed.contains(&code) || plus != b' ' {
        let found = latin1(&card.code());
        return Err(format!("found code '{}', expected one of {}", found.trim(), latin1(allowed)));
    }
    let name = name_of(card.field2());
    let second = name_of(card.columns(15, 22));
    if !second.is_empty() && !matches!(code, b'I' | b'E' | b'H') {
        return Err(format!(
            "found '{second}' in columns 15-22, expected blanks on a card with code '{}'",
            code as char
        ));
    }
    list.push(Statement { line: card.line, code, name, second, text });
    Ok(())
}

fn range_card(body: &mut Body, card: &Card, literals: Literals) -> Result<(), String> {
    let internal = name_of(card.field2());
    for (name, field) in [(card.field3(), card.field4()), (card.field5(), card.field6())] {
        let elemental = name_of(name);
        if elemental.is_empty() {
            continue;
        }
        let mut weight = number::real(field)?;
        if literals == Literals::Cutest && weight.abs() != 1.0 {
            // The decoder prints five decimals of a 32-bit literal.
            weight = f64::from(((weight * 1e5).round() / 1e5) as f32);
        }
        body.range.push(RangeEntry { line: card.line, internal: internal.clone(), elemental, weight });
    }
    Ok(())
}

fn range_rows(body: &Body, signature: &Signature<'_>) -> Result<Vec<Vec<(usize, f64)>>, (usize, String)> {
    let find = |names: &[String], name: &str| names.iter().position(|n| n.trim().to_uppercase() == name);
    let mut rows = vec![Vec::new(); signature.variables.len()];
    for entry in &body.range {
        let unknown = |kind: &str, name: &str| {
            (entry.line, format!("'{name}' is not {kind} variable of type '{}'", signature.name))
        };
        let u = find(signature.variables, &entry.internal)
            .ok_or_else(|| unknown("an internal", &entry.internal))?;
        let v = find(signature.elemental, &entry.elemental)
            .ok_or_else(|| unknown("an elemental", &entry.elemental))?;
        rows[u].retain(|(k, _)| *k != v);
        rows[u].push((v, entry.weight));
    }
    Ok(rows)
}

struct Lowering<'a> {
    graph: Graph,
    scope: Scope,
    signature: &'a Signature<'a>,
    literals: Literals,
    value: Option<Node>,
    gradient: Vec<Option<Node>>,
    hessian: Vec<(usize, usize, Node)>,
}

impl<'a> Lowering<'a> {
    fn new(part: &FunctionPart, signature: &'a Signature<'a>, literals: Literals) -> Self {
        let mut graph = Graph::default();
        let mut scope: Scope = part
            .temporaries
            .iter()
            .map(|(name, ty)| (name.clone(), Variable { ty: *ty, node: None }))
            .collect();
        for (k, name) in signature.variables.iter().chain(signature.params).enumerate() {
            let node = graph.add(Op::Input(k as u32));
            scope.insert(name.trim().to_uppercase(), Variable { ty: Type::Double, node: Some(node) });
        }
        let gradient = vec![None; signature.variables.len()];
        Self { graph, scope, signature, literals, value: None, gradient, hessian: Vec::new() }
    }

    fn statement(&mut self, s: &Statement) -> Result<(), String> {
        let value = expr::parse(&s.text, &mut self.graph, &self.scope, self.literals)
            .map_err(|(at, what)| format!("{what} (character {} of '{}')", at + 1, s.text))?;
        if matches!(s.code, b'F' | b'G' | b'H') && value.ty == Type::Logical {
            return Err("found a logical value, expected a number".into());
        }
        match s.code {
            b'A' => self.assign(&s.name, value, None),
            b'I' | b'E' => {
                let condition = self.scope.get(&s.name).copied();
                let condition = condition
                    .filter(|v| v.ty == Type::Logical)
                    .ok_or_else(|| format!("'{}' is not a logical temporary", s.name))?;
                let node = condition.node.ok_or_else(|| format!("'{}' is used before it is set", s.name))?;
                self.assign(&s.second, value, Some((node, s.code == b'I')))
            }
            b'F' if self.value.is_some() => Err("the function value is given twice".into()),
            b'F' => {
                self.value = Some(value.node);
                Ok(())
            }
            _ if self.value.is_none() => Err("found a derivative before the F card".into()),
            b'G' => {
                let u = self.variable(&s.name)?;
                if self.gradient[u].replace(value.node).is_some() {
                    return Err(format!("the derivative with respect to '{}' is given twice", s.name));
                }
                Ok(())
            }
            _ => {
                let (u, v) = (self.variable(&s.name)?, self.variable(&s.second)?);
                let (i, j) = (u.max(v), u.min(v));
                if self.hessian.iter().any(|h| (h.0, h.1) == (i, j)) {
                    return Err(format!(
                        "the second derivative for '{}', '{}' is given twice",
                        s.name, s.second
                    ));
                }
                self.hessian.push((i, j, value.node));
                Ok(())
            }
        }
    }

    /// Index of a variable named on a G or H card; a group's argument is not named.
    fn variable(&self, name: &str) -> Result<usize, String> {
        if self.signature.is_group && name.is_empty() {
            return Ok(0);
        }
        let names = self.signature.variables;
        names.iter().position(|n| n.trim().to_uppercase() == name).ok_or_else(|| {
            format!(
                "'{name}' is not a variable of type '{}', expected one of {}",
                self.signature.name,
                names.join(", ")
            )
        })
    }

    fn assign(&mut self, name: &str, value: expr::Value, when: Option<(Node, bool)>) -> Result<(), String> {
        let target = self
            .scope
            .get(name)
            .copied()
            .ok_or_else(|| format!("'{name}' is assigned but is not in TEMPORARIES"))?;
        let node = match (target.ty, value.ty) {
            (Type::Logical, Type::Logical) => value.node,
            (Type::Logical, _) | (_, Type::Logical) => {
                return Err(format!("'{name}' and its value are not both logical"));
            }
            (Type::Integer, Type::Single | Type::Double) => self.graph.unary(Unary::Trunc, value.node),
            _ => value.node,
        };
        let node = match when {
            None => node,
            Some((condition, positive)) => {
                let old = target.node.unwrap_or_else(|| self.graph.constant(0.0));
                let (yes, no) = if positive { (node, old) } else { (old, node) };
                self.graph.add(Op::Select(condition, yes, no))
            }
        };
        self.scope.insert(name.to_string(), Variable { ty: target.ty, node: Some(node) });
        Ok(())
    }
}
