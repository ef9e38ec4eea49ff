//! `$-PARAMETER` cards and what the caller puts in their place.

use super::card::{Card, latin1, trim_end};
use super::number;
use super::warn::{Remark, Remarks};

/// Replacements of field 4 by line.
#[derive(Debug, Default)]
pub(crate) struct Overrides {
    fields: Vec<(usize, Vec<u8>)>,
}

/// One `$-PARAMETER` line.
struct Listed {
    line: usize,
    active: bool,
    integer: bool,
    name: String,
    value: f64,
}

impl Overrides {
    /// Text that stands for field 4 of a line.
    pub fn field4(&self, line: usize) -> Option<&[u8]> {
        self.fields.iter().find(|(l, _)| *l == line).map(|(_, text)| text.as_slice())
    }
    /// Nothing is replaced.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Finds the lines that the caller's names and values replace.
    pub fn new(text: &[u8], params: &[(String, String)], remarks: &mut Remarks) -> Result<Self, String> {
        let mut overrides = Self::default();
        if params.is_empty() {
            return Ok(overrides);
        }
        let listed: Vec<Listed> =
            text.split(|&b| b == b'\n').enumerate().filter_map(|(k, line)| listed(k + 1, line)).collect();
        for (name, value) in params {
            let Some(active) = listed.iter().find(|l| l.active && l.name == *name) else {
                return Err(unknown(name, &listed));
            };
            let fault = |what: String| format!("parameter {name}: {what}");
            let text = value.trim().as_bytes();
            if text.is_empty() {
                return Err(fault("no value, expected a number".to_string()));
            }
            let parsed =
                if active.integer { number::integer(text).map(f64::from) } else { number::real(text) };
            let parsed = parsed.map_err(fault)?;
            if !listed.iter().any(|l| l.name == *name && l.value == parsed) {
                let values: Vec<String> =
                    listed.iter().filter(|l| l.name == *name).map(|l| l.value.to_string()).collect();
                remarks.add(Remark::ParameterValue, active.line, || {
                    format!("{name} = {value} is not among the values the file lists: {}", values.join(", "))
                });
            }
            overrides.fields.retain(|(l, _)| *l != active.line);
            overrides.fields.push((active.line, text.to_vec()));
        }
        Ok(overrides)
    }
}

/// Reads a line if it is a `$-PARAMETER` card, commented or not.
fn listed(number: usize, line: &[u8]) -> Option<Listed> {
    // The mark stands in columns 38 to 41.
    (37..=40).find(|&k| line.get(k..).is_some_and(|rest| rest.starts_with(b"$-PARAMETER")))?;
    let card = Card::new(number, line);
    let code = card.code();
    if !matches!(&code, b"IE" | b"RE") || !matches!(line[0], b' ' | b'*') {
        return None;
    }
    let integer = code[0] == b'I';
    let field = trim_end(card.field4());
    let value = if integer { number::integer(field).map(f64::from) } else { number::real(field) };
    Some(Listed {
        line: number,
        active: line[0] == b' ',
        integer,
        name: latin1(card.field2()),
        value: value.unwrap_or(f64::NAN),
    })
}

fn unknown(name: &str, listed: &[Listed]) -> String {
    let mut names: Vec<&str> = listed.iter().filter(|l| l.active).map(|l| l.name.as_str()).collect();
    names.dedup();
    match names.is_empty() {
        true => format!("unknown parameter {name}, the file has no $-PARAMETER lines"),
        false => format!("unknown parameter {name}, expected one of {}", names.join(", ")),
    }
}
