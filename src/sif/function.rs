//! Statements of the function part: TEMPORARIES, GLOBALS, INDIVIDUALS (section 7 of the format).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::card::{latin1, trim_end};
use super::fortran::{self, Argument, Kind, Scope, Value};
use super::hs67::{self, Hs67};
use super::{Card, Decoded, Literals, SifError};
use crate::expr::External;
use crate::expr::batch::Body;
use crate::expr::graph::{Graph, Id, Node};

/// Declaration of an element or group type as the statements see it.
struct Declared<'a> {
    name: &'a str,
    elemental: &'a [String],
    /// Equal to `elemental` where there are none of their own.
    internal: &'a [String],
    params: &'a [String],
    is_group: bool,
    /// Parameters that have the same value in all uses.
    uniform: &'a [Option<f64>],
    line: usize,
}

/// Which part is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subsection {
    None,
    Temporaries,
    Globals,
    Individuals,
}

/// What a statement may assign to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Targets {
    Temporaries,
    /// The internal variables of the type, too: what follows sees the new value, and derivatives are still those by the old one.
    OwnVariables,
}

/// A statement with its continuation cards: blanks removed, upper case, and the card and column of every character.
#[derive(Debug, Clone)]
struct Statement {
    code: u8,
    field2: String,
    field3: String,
    text: String,
    places: Vec<(usize, usize)>,
    line: usize,
}

/// Element bodies, in the order of the declarations.
pub(crate) fn elements(
    file: &str,
    cards: &[Card],
    decoded: &Decoded,
    uniform: &[Vec<Option<f64>>],
    literals: Literals,
) -> Result<Vec<Body>, SifError> {
    let declared: Vec<Declared<'_>> = decoded
        .element_types
        .iter()
        .zip(uniform)
        .map(|(t, uniform)| Declared {
            name: &t.name,
            elemental: &t.elemental,
            internal: if t.internal.is_empty() { &t.elemental } else { &t.internal },
            params: &t.params,
            is_group: false,
            uniform,
            line: t.line,
        })
        .collect();
    part(file, cards, &declared, literals)
}

/// Group bodies, in the order of the declarations: one variable, the argument.
pub(crate) fn groups(
    file: &str,
    cards: &[Card],
    decoded: &Decoded,
    uniform: &[Vec<Option<f64>>],
    literals: Literals,
) -> Result<Vec<Body>, SifError> {
    let declared: Vec<Declared<'_>> = decoded
        .group_types
        .iter()
        .zip(uniform)
        .map(|(t, uniform)| Declared {
            name: &t.name,
            elemental: std::slice::from_ref(&t.argument),
            internal: std::slice::from_ref(&t.argument),
            params: &t.params,
            is_group: true,
            uniform,
            line: t.line,
        })
        .collect();
    part(file, cards, &declared, literals)
}

fn part(
    file: &str,
    cards: &[Card],
    declared: &[Declared<'_>],
    literals: Literals,
) -> Result<Vec<Body>, SifError> {
    let error = |line: usize, what: String| SifError { file: file.to_string(), line, what };
    let fail = |(line, what): (usize, String)| error(line, what);
    let mut subsection = Subsection::None;
    let mut temporaries = Temporaries::default();
    let mut globals: Vec<Statement> = Vec::new();
    let mut bodies: Vec<Option<Body>> = declared.iter().map(|_| None).collect();
    let mut index = 0;
    while index < cards.len() {
        let card = &cards[index];
        if card.is_indicator() {
            subsection = match card.keyword() {
                b"TEMPORARIES" => Subsection::Temporaries,
                b"GLOBALS" => Subsection::Globals,
                b"INDIVIDUALS" => Subsection::Individuals,
                other => return Err(error(card.line, format!("unknown indicator `{}`", latin1(other)))),
            };
            index += 1;
            continue;
        }
        match subsection {
            Subsection::None => index += 1,
            Subsection::Temporaries => {
                temporaries.declare(card).map_err(fail)?;
                index += 1;
            }
            Subsection::Globals => {
                let (statement, next) = statement(cards, index).map_err(fail)?;
                if !matches!(statement.code, b'A' | b'I' | b'E') {
                    return Err(error(
                        card.line,
                        format!("unknown code `{}` in GLOBALS, expected A, I or E", code_text(card)),
                    ));
                }
                globals.push(statement);
                index = next;
            }
            Subsection::Individuals => {
                if card.code() != *b" T" && card.code() != *b"T " {
                    let what =
                        format!("found code `{}`, expected a T card that names a type", code_text(card));
                    return Err(error(card.line, what));
                }
                let name = latin1(card.field2());
                let Some(place) = declared.iter().position(|d| d.name == name) else {
                    return Err(error(card.line, format!("type `{name}` is not declared in the data part")));
                };
                if bodies[place].is_some() {
                    return Err(error(card.line, format!("type `{name}` is defined twice")));
                }
                let mut reader = TypeReader::new(&declared[place], &temporaries, literals, card.line);
                for global in &globals {
                    reader.assign(global, Targets::Temporaries).map_err(fail)?;
                }
                index = reader.read(cards, index + 1).map_err(fail)?;
                bodies[place] = Some(reader.body);
            }
        }
    }
    declared
        .iter()
        .zip(bodies)
        .map(|(d, body)| {
            body.ok_or_else(|| error(d.line, format!("type `{}` is declared and never defined", d.name)))
        })
        .collect()
}

/// A line and what is wrong there.
type Fault = (usize, String);

fn code_text(card: &Card) -> String {
    latin1(&card.code()).trim().to_string()
}

/// The name without blanks, upper case, as expressions see it.
fn symbol(name: &str) -> String {
    name.chars().filter(|c| *c != ' ').map(|c| c.to_ascii_uppercase()).collect()
}

/// The statement that starts at a card, and the card behind it and its continuations.
fn statement(cards: &[Card], first: usize) -> Result<(Statement, usize), Fault> {
    let card = &cards[first];
    let code = card.code();
    let letter = if code[0] == b' ' { code[1] } else { code[0] };
    if code[1] == b'+' {
        return Err((card.line, format!("continuation `{}` without a statement before it", code_text(card))));
    }
    if code[0] != b' ' && code[1] != b' ' {
        return Err((card.line, format!("unknown code `{}`", code_text(card))));
    }
    let mut result = Statement {
        code: letter,
        field2: latin1(card.field2()),
        field3: latin1(trim_end(card.columns(15, 24))),
        text: String::new(),
        places: Vec::new(),
        line: card.line,
    };
    result.append(card);
    let mut next = first + 1;
    while let Some(more) = cards.get(next).filter(|c| !c.is_indicator() && c.code()[1] == b'+') {
        if more.code()[0] != letter {
            let what =
                format!("continuation `{}` of a statement with code `{}`", code_text(more), letter as char);
            return Err((more.line, what));
        }
        result.append(more);
        next += 1;
    }
    Ok((result, next))
}

impl Statement {
    fn append(&mut self, card: &Card) {
        for (k, &byte) in card.field7().iter().enumerate().filter(|(_, b)| **b != b' ') {
            // One character a byte, so that positions agree; non-ASCII is refused by the lexer.
            self.text.push(if byte.is_ascii() { byte.to_ascii_uppercase() as char } else { '?' });
            self.places.push((card.line, 25 + k));
        }
    }
    fn fault(&self, fault: fortran::Fault) -> Fault {
        let (line, column) = match self.places.get(fault.at) {
            Some(&place) => place,
            None => self.places.last().map_or((self.line, 25), |&(line, column)| (line, column + 1)),
        };
        (line, format!("column {column}: {}", fault.what))
    }
}

/// Names of the TEMPORARIES subsection.
#[derive(Debug, Default)]
struct Temporaries {
    kinds: HashMap<String, Kind>,
    externals: HashSet<String>,
}

impl Temporaries {
    fn declare(&mut self, card: &Card) -> Result<(), Fault> {
        let name = symbol(&latin1(card.field2()));
        let name = name.split('(').next().unwrap_or_default().to_string();
        let kind = match code_text(card).as_str() {
            "R" => Kind::Double,
            "I" => Kind::Integer,
            "L" => Kind::Logical,
            "M" => return Ok(()),
            "F" => {
                self.externals.insert(name);
                return Ok(());
            }
            other => {
                return Err((
                    card.line,
                    format!("unknown code `{other}` in TEMPORARIES, expected R, I, L, M or F"),
                ));
            }
        };
        match self.kinds.insert(name.clone(), kind) {
            Some(old) if old != kind => Err((card.line, format!("`{name}` is declared with two types"))),
            _ => Ok(()),
        }
    }
}

/// Reads the statements of one type.
struct TypeReader<'a> {
    declared: &'a Declared<'a>,
    names: TypeScope<'a>,
    literals: Literals,
    body: Body,
    has_value: bool,
    /// Numbers of the internal variables.
    components: HashMap<String, usize>,
    /// Derivatives given so far: (u, v), or (u, a number that no variable has).
    given: HashSet<(usize, usize)>,
    line: usize,
}

/// What the names of a type's expressions stand for.
struct TypeScope<'a> {
    temporaries: &'a Temporaries,
    /// Variables, parameters, and temporaries that have a value.
    values: HashMap<String, Value>,
    /// Arrays filled by HS67's function: first output and arguments.
    arrays: HashMap<String, (Block, [Id; 3])>,
    hs67: Arc<dyn External>,
}

/// Which of HS67's arrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    Values,
    Gradients,
    Hessians,
}

/// The one external function that is known.
const HS67: &str = "HS67";

impl Scope for TypeScope<'_> {
    fn value(&mut self, name: &str, _: &mut Graph) -> Result<Value, String> {
        if let Some(value) = self.values.get(name) {
            return Ok(*value);
        }
        Err(if self.temporaries.kinds.contains_key(name) {
            format!("`{name}` is used before it has a value")
        } else {
            format!("`{name}` is not declared: neither a variable, a parameter nor a temporary of this type")
        })
    }
    fn calls(&self, name: &str) -> bool {
        self.temporaries.externals.contains(name)
            || (self.temporaries.externals.contains(HS67) && self.temporaries.kinds.contains_key(name))
    }
    fn call(&mut self, name: &str, args: &[Argument], graph: &mut Graph) -> Result<Value, String> {
        if name == HS67 {
            return self.call_hs67(args, graph);
        }
        if self.temporaries.externals.contains(name) {
            return Err(format!("external Fortran function `{name}` is not supported"));
        }
        let Some(&(block, x)) = self.arrays.get(name) else {
            return Err(format!("`{name}` is used as an array before {HS67} has filled it"));
        };
        let mut place = [1usize; 2];
        for (k, arg) in args.iter().enumerate() {
            let index = match arg {
                Argument::Value(v) => graph.value(v.id).filter(|_| v.kind == Kind::Integer),
                Argument::Array(_) => None,
            };
            match (index, place.get_mut(k)) {
                (Some(i), Some(slot)) if i >= 1.0 => *slot = i as usize,
                _ => return Err(format!("an index of `{name}` is not a literal number in its range")),
            }
        }
        let (count, columns, first) = match block {
            Block::Values => (1, 1, 0),
            Block::Gradients => (2, 3, 8),
            Block::Hessians => (2, 6, 32),
        };
        if args.len() != count || place[0] > 8 || place[1] > columns {
            return Err(format!("`{name}` has other indices than {HS67} fills"));
        }
        let output = first + (place[0] - 1) * columns + place[1] - 1;
        Ok(Value { id: graph.external(&self.hs67, &x, output), kind: Kind::Double })
    }
}

impl TypeScope<'_> {
    /// HS67(x1, x2, x3, Y, G, H): fills the three arrays.
    fn call_hs67(&mut self, args: &[Argument], graph: &mut Graph) -> Result<Value, String> {
        use Argument::{Array, Value as Number};
        let [Number(a), Number(b), Number(c), Array(y), Array(g), Array(h)] = args else {
            return Err(format!("{HS67} needs three numbers and three arrays"));
        };
        let mut x = [0; 3];
        for (slot, &v) in x.iter_mut().zip([a, b, c]) {
            *slot = fortran::convert(graph, v.to_owned(), Kind::Double)?;
        }
        for (array, block) in [(y, Block::Values), (g, Block::Gradients), (h, Block::Hessians)] {
            self.arrays.insert(array.clone(), (block, x));
        }
        Ok(Value { id: graph.external(&self.hs67, &x, 0), kind: Kind::Double })
    }
}

impl<'a> TypeReader<'a> {
    fn new(
        declared: &'a Declared<'a>,
        temporaries: &'a Temporaries,
        literals: Literals,
        line: usize,
    ) -> Self {
        let mut body = Body::default();
        let mut values = HashMap::new();
        let mut bind = |name: &str, id: Id| {
            values.insert(symbol(name), Value { id, kind: Kind::Double });
        };
        for (k, name) in declared.params.iter().enumerate() {
            let id = match declared.uniform.get(k).copied().flatten() {
                Some(value) => body.graph.constant(value),
                None => body.graph.add(Node::Param(k as u32)),
            };
            bind(name, id);
        }
        // With a range transformation, variable k is the internal one here; `Batch` puts W in front.
        for (k, name) in declared.internal.iter().enumerate() {
            let id = body.graph.add(Node::Var(k as u32));
            bind(name, id);
        }
        if declared.internal.len() != declared.elemental.len() || declared.internal != declared.elemental {
            body.range = vec![Vec::new(); declared.internal.len()];
        }
        let names = TypeScope { temporaries, values, arrays: HashMap::new(), hs67: Arc::new(Hs67(literals)) };
        let components = declared.internal.iter().enumerate().map(|(k, u)| (symbol(u), k)).collect();
        Self { declared, names, literals, body, has_value: false, components, given: HashSet::new(), line }
    }

    /// Reads cards up to the next type or subsection; returns the card that ends it.
    fn read(&mut self, cards: &[Card], mut index: usize) -> Result<usize, Fault> {
        while let Some(card) = cards.get(index) {
            let code = code_text(card);
            if card.is_indicator() || code == "T" {
                break;
            }
            if code == "R" {
                self.range_row(card)?;
                index += 1;
                continue;
            }
            let (statement, next) = statement(cards, index)?;
            match statement.code {
                b'A' | b'I' | b'E' => self.assign(&statement, Targets::OwnVariables)?,
                b'F' => self.value(&statement)?,
                b'G' => self.gradient(&statement)?,
                b'H' => self.hessian(&statement)?,
                _ => return Err((card.line, format!("unknown code `{code}` in INDIVIDUALS"))),
            }
            index = next;
        }
        if !self.has_value {
            return Err((self.line, format!("type `{}` has no F statement", self.declared.name)));
        }
        Ok(index)
    }

    fn parse(&mut self, statement: &Statement) -> Result<Value, Fault> {
        fortran::parse(&statement.text, &mut self.body.graph, &mut self.names, self.literals)
            .map_err(|f| statement.fault(f))
    }
    fn parse_double(&mut self, statement: &Statement) -> Result<Id, Fault> {
        let value = self.parse(statement)?;
        fortran::convert(&mut self.body.graph, value, Kind::Double)
            .map_err(|what| statement.fault(fortran::Fault { at: 0, what }))
    }

    /// A, I and E cards.
    fn assign(&mut self, s: &Statement, targets: Targets) -> Result<(), Fault> {
        let target = if s.code == b'A' { &s.field2 } else { &s.field3 };
        if s.code == b'A' && !s.field3.is_empty() {
            return Err((s.line, format!("field 3 holds `{}`, expected it blank on an A card", s.field3)));
        }
        let target = symbol(target);
        let declared = self.names.temporaries.kinds.get(&target).copied();
        let own = targets == Targets::OwnVariables && self.components.contains_key(&target);
        let Some(kind) = declared.or(own.then_some(Kind::Double)) else {
            return Err((s.line, format!("`{target}` is assigned to and not declared in TEMPORARIES")));
        };
        let value = self.parse(s)?;
        let graph = &mut self.body.graph;
        let mut id =
            fortran::convert(graph, value, kind).map_err(|what| s.fault(fortran::Fault { at: 0, what }))?;
        if s.code != b'A' {
            let condition = symbol(&s.field2);
            if self.names.temporaries.kinds.get(&condition) != Some(&Kind::Logical) {
                return Err((s.line, format!("`{condition}` is not declared logical in TEMPORARIES")));
            }
            let Some(test) = self.names.values.get(&condition) else {
                return Err((s.line, format!("`{condition}` is used before it has a value")));
            };
            // Without an earlier value the other branch is undefined.
            let old = match self.names.values.get(&target) {
                Some(old) => old.id,
                None => graph.constant(f64::NAN),
            };
            id = if s.code == b'I' { graph.select(test.id, id, old) } else { graph.select(test.id, old, id) };
        }
        self.names.values.insert(target, Value { id, kind });
        Ok(())
    }

    fn value(&mut self, s: &Statement) -> Result<(), Fault> {
        // Field 2 is never read: some files write the type's name there.
        if !s.field3.is_empty() {
            return Err((s.line, format!("field 3 holds `{}`, expected it blank on an F card", s.field3)));
        }
        if self.has_value {
            return Err((s.line, format!("type `{}` has two F statements", self.declared.name)));
        }
        if !self.body.gradient.is_empty() || !self.body.hessian.is_empty() {
            return Err((s.line, "the F statement comes after a derivative".into()));
        }
        self.body.value = self.parse_double(s)?;
        self.has_value = true;
        Ok(())
    }

    fn gradient(&mut self, s: &Statement) -> Result<(), Fault> {
        self.after_value(s)?;
        if !s.field3.is_empty() {
            return Err((s.line, format!("field 3 holds `{}`, expected it blank on a G card", s.field3)));
        }
        let u = self.component(s, &s.field2)?;
        if !self.given.insert((u, u32::MAX as usize)) {
            return Err((s.line, format!("the derivative by `{}` is given twice", s.field2)));
        }
        let id = self.parse_double(s)?;
        self.body.gradient.push((u, id));
        Ok(())
    }

    fn hessian(&mut self, s: &Statement) -> Result<(), Fault> {
        self.after_value(s)?;
        let (u, v) = (self.component(s, &s.field2)?, self.component(s, &s.field3)?);
        let (u, v) = (u.max(v), u.min(v));
        if !self.given.insert((u, v)) {
            return Err((
                s.line,
                format!("the derivative by `{}` and `{}` is given twice", s.field2, s.field3),
            ));
        }
        let id = self.parse_double(s)?;
        self.body.hessian.push((u, v, id));
        Ok(())
    }

    fn after_value(&self, s: &Statement) -> Result<(), Fault> {
        match self.has_value {
            true => Ok(()),
            false => Err((
                s.line,
                format!("a derivative comes before the F statement of type `{}`", self.declared.name),
            )),
        }
    }

    /// The internal variable that a derivative card names; groups have one and name none.
    fn component(&self, s: &Statement, name: &str) -> Result<usize, Fault> {
        if self.declared.is_group {
            return match name.is_empty() {
                true => Ok(0),
                false => Err((
                    s.line,
                    format!("found `{name}`, expected blank fields 2 and 3 in a group's derivative"),
                )),
            };
        }
        self.components.get(&symbol(name)).copied().ok_or_else(|| {
            (s.line, format!("`{name}` is no internal variable of type `{}`", self.declared.name))
        })
    }

    /// R card: a piece of a row of W.
    fn range_row(&mut self, card: &Card) -> Result<(), Fault> {
        let name = latin1(card.field2());
        if self.declared.is_group {
            return Err((card.line, "R cards belong to element types".into()));
        }
        let row = self.declared.internal.iter().position(|u| *u == name);
        let (Some(row), false) = (row, self.body.range.is_empty()) else {
            return Err((
                card.line,
                format!("`{name}` is no internal variable of type `{}`", self.declared.name),
            ));
        };
        for (variable, number) in [(card.field3(), card.field4()), (card.field5(), card.field6())] {
            if variable.is_empty() {
                continue;
            }
            let variable = latin1(variable);
            let Some(column) = self.declared.elemental.iter().position(|v| *v == variable) else {
                let what = format!("`{variable}` is no elemental variable of type `{}`", self.declared.name);
                return Err((card.line, what));
            };
            let value = super::number::real(number).map_err(|what| (card.line, what))?;
            let value = self.coefficient(value);
            // A later card sets the coefficient anew.
            let row = &mut self.body.range[row];
            row.retain(|(v, _)| *v != column);
            row.push((column, value));
        }
        Ok(())
    }

    /// The decoder prints coefficients other than 1 and -1 with five decimals, as 32-bit literals.
    fn coefficient(&self, value: f64) -> f64 {
        match self.literals {
            Literals::Double => value,
            Literals::Cutest if value.abs() == 1.0 => value,
            Literals::Cutest => format!("{value:.5}").parse::<f32>().map_or(value, f64::from),
        }
    }
}

const _: () = assert!(hs67::OUTPUTS == 8 + 24 + 48);

#[cfg(test)]
#[path = "function_tests.rs"]
mod tests;
