//! The ten lines at the beginning, always text.

use super::source::{Form, decimal, shown};
use super::{NlError, Place};

/// What the header says. Only what bounds the indices is believed.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Header {
    /// Option words, for the answer.
    pub options: Vec<i64>,
    /// A tolerance that is echoed, too, where the third... word says that there is one.
    pub vbtol: Option<f64>,
    /// Name in the comment of the first line.
    pub name: Option<String>,
    pub variables: usize,
    pub rows: usize,
    pub objectives: usize,
    pub logical: usize,
    pub functions: usize,
    /// Nonlinear variables: in both, in constraints, in objectives (as the format counts them).
    pub nonlinear: [usize; 3],
    /// Linear binaries, linear integers, integers among the nonlinear: in both, in constraints, in objectives.
    pub integers: [usize; 5],
    pub defined: usize,
    pub stages: usize,
}

/// The header, the form of the rest, and where it begins: byte, line.
pub(super) fn read(file: &str, bytes: &[u8]) -> Result<(Header, Form, (usize, usize)), NlError> {
    let fault =
        |line: usize, what: String| NlError { file: file.to_string(), place: Place::Line(line), what };
    let binary = match bytes.first() {
        None => return Err(fault(1, "the file is empty".into())),
        Some(b'g') => false,
        Some(b'b') => true,
        Some(other) => {
            let what = format!(
                "found `{}`, expected a model that begins with g (text) or b (binary)",
                shown(&[*other])
            );
            return Err(fault(1, what));
        }
    };
    let (mut at, mut lines) = (1, Vec::with_capacity(10));
    for k in 1..=10 {
        let rest = &bytes[at..];
        let Some(len) = rest.iter().position(|b| *b == b'\n') else {
            return Err(fault(k, "the file ends within the header of ten lines".into()));
        };
        lines.push(&rest[..len]);
        at += len + 1;
    }
    let mut h = Header::default();
    let numbers = |k: usize| leading_numbers(lines[k - 1]);
    let size = |k: usize, place: usize, what: &str| -> Result<usize, NlError> {
        let value = numbers(k).get(place).copied().unwrap_or(0.0);
        if value < 0.0 || value.trunc() != value {
            return Err(fault(k, format!("the number of {what} is {value}, expected a whole number")));
        }
        // A variable, a row and a defined variable take a byte at least.
        if value > bytes.len() as f64 {
            return Err(fault(k, format!("{value} {what} cannot be in a file of {} bytes", bytes.len())));
        }
        Ok(value as usize)
    };
    if numbers(2).len() < 3 {
        return Err(fault(2, "expected the numbers of variables, constraints and objectives".into()));
    }
    first_line(lines[0], &mut h).map_err(|what| fault(1, what))?;
    h.variables = size(2, 0, "variables")?;
    h.rows = size(2, 1, "constraints")?;
    h.objectives = size(2, 2, "objectives")?;
    h.logical = size(2, 5, "logical constraints")?;
    h.stages = size(4, 2, "stages")?;
    h.functions = size(6, 1, "imported functions")?;
    for k in 0..3 {
        h.nonlinear[k] = size(5, k, "nonlinear variables")?;
    }
    for k in 0..5 {
        h.integers[k] = size(7, k, "integer variables")?;
    }
    for k in 0..5 {
        h.defined += size(10, k, "defined variables")?;
    }
    if h.variables == 0 {
        return Err(fault(2, "the model has no variables".into()));
    }
    let form = match (binary, numbers(6).get(2).copied().unwrap_or(0.0)) {
        (false, _) => Form::Text,
        (true, 0.0) => Form::Binary { swapped: false },
        (true, 1.0) => Form::Binary { swapped: cfg!(target_endian = "big") },
        (true, 2.0) => Form::Binary { swapped: cfg!(target_endian = "little") },
        (true, kind) => {
            return Err(fault(
                6,
                format!("arithmetic of kind {kind}, expected IEEE: 1 (little endian) or 2 (big endian)"),
            ));
        }
    };
    Ok((h, form, (at, 11)))
}

/// `g3 1 1 0 # problem NAME`, behind the first letter.
fn first_line(line: &[u8], h: &mut Header) -> Result<(), String> {
    let words = leading_numbers(line);
    let count = words.first().copied().unwrap_or(0.0);
    if !(0.0..=9.0).contains(&count) || count.trunc() != count {
        return Err(format!("the number of option words is {count}, expected 0 to 9"));
    }
    let count = count as usize;
    h.options = (1..=count).map(|k| words.get(k).map_or(0, |v| *v as i64)).collect();
    h.vbtol = words.get(count + 1).copied().filter(|_| h.options.get(1) == Some(&3));
    let text = String::from_utf8_lossy(line);
    h.name = text
        .split_once("# problem ")
        .or_else(|| text.split_once("#problem "))
        .map(|(_, name)| name.trim().to_string());
    h.name = h.name.take().filter(|name| !name.is_empty() && name != "unknown");
    Ok(())
}

/// The numbers at the beginning of a line: the rest is a comment.
fn leading_numbers(line: &[u8]) -> Vec<f64> {
    let words = line.split(|b| b.is_ascii_whitespace()).filter(|w| !w.is_empty());
    words.map_while(decimal).collect()
}
