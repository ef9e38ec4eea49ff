//! Problem files: the only place of the command that knows how they are read.

use std::path::Path;
use std::time::Instant;

use costate::nl::{NlOptions, NlProblem, looks_like_nl};
use costate::nlp::{Expressible, NlpMeta, ProblemStats};
use costate::sif::{Card, SifOptions, SifProblem};
use costate::{Error, Nlp};

/// How to read a file of either format.
#[derive(Debug, Clone, Default)]
pub struct Read {
    /// CUTEst's.
    pub sif: SifOptions,
    /// AMPL's.
    pub nl: NlOptions,
}

/// What was read.
enum Front {
    Sif(Box<SifProblem>),
    Nl(Box<NlProblem>),
}

/// A problem that was read.
pub struct Loaded {
    front: Front,
    /// Seconds it took.
    pub seconds: f64,
}

impl Loaded {
    /// The problem.
    pub fn nlp(&mut self) -> &mut dyn Nlp {
        match &mut self.front {
            Front::Sif(problem) => &mut **problem,
            Front::Nl(problem) => &mut **problem,
        }
    }
    /// Sizes, bounds, names.
    pub fn meta(&self) -> &NlpMeta {
        match &self.front {
            Front::Sif(problem) => problem.meta(),
            Front::Nl(problem) => problem.meta(),
        }
    }
    /// The problem as expressions.
    pub fn expressible(&self) -> &dyn Expressible {
        match &self.front {
            Front::Sif(problem) => &**problem,
            Front::Nl(problem) => &**problem,
        }
    }
    /// Classification of the file, if it has one.
    pub fn class(&self) -> Option<&str> {
        match &self.front {
            Front::Sif(problem) => problem.class(),
            Front::Nl(_) => None,
        }
    }
    /// Remarks of the reader.
    pub fn warnings(&self) -> Vec<String> {
        match &self.front {
            Front::Sif(problem) => {
                let warnings = problem.warnings().iter();
                warnings
                    .map(|w| if w.line > 0 { format!("line {}: {}", w.line, w.what) } else { w.what.clone() })
                    .collect()
            }
            Front::Nl(problem) => problem.warnings().to_vec(),
        }
    }
    /// Sizes, sums and norms.
    pub fn stats(&mut self) -> ProblemStats {
        match &mut self.front {
            Front::Sif(problem) => problem.stats(),
            Front::Nl(problem) => problem.stats(),
        }
    }
}

/// Reads a problem file: a .nl model by its ending or its content, SIF otherwise.
pub fn load(path: &Path, options: &Read) -> Result<Loaded, Error> {
    let begin = Instant::now();
    let front = if is_nl(path)? {
        Front::Nl(Box::new(NlProblem::from_file(path, &options.nl)?))
    } else {
        Front::Sif(Box::new(SifProblem::from_file(path, &options.sif)?))
    };
    Ok(Loaded { front, seconds: begin.elapsed().as_secs_f64() })
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().to_ascii_lowercase());
    endings.iter().any(|ending| name.ends_with(ending))
}

/// A file of a folder that is a problem.
pub fn is_problem_file(path: &Path) -> bool {
    has_ending(path, &[".sif", ".nl", ".nl.gz"])
}

fn is_nl(path: &Path) -> Result<bool, Error> {
    use std::io::Read as _;
    if has_ending(path, &[".nl", ".nl.gz"]) {
        return Ok(true);
    }
    let fail = |source| Error::Io { path: path.display().to_string(), source };
    let mut head = Vec::new();
    std::fs::File::open(path).map_err(fail)?.take(1000).read_to_end(&mut head).map_err(fail)?;
    Ok(looks_like_nl(&head) || head.starts_with(&[0x1f, 0x8b]))
}

/// A parameter that `--param` may override.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Name.
    pub name: String,
    /// integer or real.
    pub kind: &'static str,
    /// Value in the file.
    pub value: String,
    /// Other values that the file lists as comments.
    pub listed: Vec<String>,
}

/// The `$-PARAMETER` cards of a file.
pub fn parameters(path: &Path) -> Result<Vec<Parameter>, Error> {
    let text =
        std::fs::read(path).map_err(|source| Error::Io { path: path.display().to_string(), source })?;
    Ok(parameters_of(&text))
}

fn parameters_of(text: &[u8]) -> Vec<Parameter> {
    let latin1 = |field: &[u8]| field.iter().map(|&b| b as char).collect::<String>().trim().to_string();
    let mut found: Vec<Parameter> = Vec::new();
    let mut listed: Vec<(String, String)> = Vec::new();
    for (k, line) in text.split(|b| *b == b'\n').enumerate() {
        let card = Card::new(k + 1, line);
        if card.keyword() == b"ENDATA" {
            break;
        }
        let remark = latin1(card.columns(37, 65));
        let kind = match &card.code() {
            b"IE" => "integer",
            b"RE" => "real",
            _ => continue,
        };
        if !remark.starts_with("$-PARAMETER") {
            continue;
        }
        let (name, value) = (latin1(card.field2()), latin1(card.field4()));
        if card.is_comment() {
            listed.push((name, value));
        } else if !card.is_indicator() {
            found.push(Parameter { name, kind, value, listed: Vec::new() });
        }
    }
    for p in &mut found {
        let own = listed.iter().filter(|(name, value)| *name == p.name && *value != p.value);
        p.listed = own.map(|(_, value)| value.clone()).collect();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_with_their_listed_values() {
        let text = b"NAME          P\n\
            *IE N                   10             $-PARAMETER\n \
             IE N                   100            $-PARAMETER n\n \
             IE M                   7\n \
             RE ALPHA               0.5            $-PARAMETER\n\
            ENDATA\n \
             IE X                   1              $-PARAMETER\n";
        // a backslash at the end of a line drops the indentation of the next: columns are as they look from column 1
        let found = parameters_of(text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!((found[0].name.as_str(), found[0].kind, found[0].value.as_str()), ("N", "integer", "100"));
        assert_eq!(found[0].listed, ["10"]);
        assert_eq!(
            (found[1].name.as_str(), found[1].kind, found[1].value.as_str()),
            ("ALPHA", "real", "0.5")
        );
    }
}
