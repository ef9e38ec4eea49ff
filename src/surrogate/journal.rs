//! The log of a search: one JSON object a line, each written whole and handed to the operating system before anything else happens. A process that is killed
//! loses nothing but a line it was writing.
//!
//! ```text
//! {"event":"start", variables, options}
//! {"event":"proposal","id":0,"x":[0.5,3]}                                    before the evaluation begins
//! {"event":"result","id":0,"seconds":1.5,"objective":2.25,"constraints":[-1]}
//! {"event":"result","id":1,"seconds":0.1,"failure":"exit code 1"}
//! ```
//!
//! Numbers are written so that reading them gives the same bits.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::SurrogateError;
use super::bayes_opt::Outcome;

/// A line that was read.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A point that was going to be evaluated.
    Proposal {
        /// Its number.
        id: usize,
        /// The point.
        x: Vec<f64>,
    },
    /// What it gave.
    Result {
        /// Its number.
        id: usize,
        /// f and c, or that there are none.
        outcome: Outcome,
    },
}

/// An open log.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

/// A text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A number as JSON; what is not finite is null.
pub(super) fn number(x: f64) -> String {
    if x.is_finite() { format!("{x}") } else { "null".into() }
}

/// Numbers as a JSON array.
pub(super) fn numbers(x: &[f64]) -> String {
    format!("[{}]", x.iter().map(|x| number(*x)).collect::<Vec<_>>().join(","))
}

/// The text behind `"key":` up to the end of the value: numbers and arrays of numbers only.
fn field<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let start = line.find(&format!("\"{key}\":"))? + key.len() + 3;
    let rest = &line[start..];
    let end = if rest.starts_with('[') { rest.find(']')? + 1 } else { rest.find([',', '}'])? };
    Some(&rest[..end])
}

fn array(text: &str) -> Option<Vec<f64>> {
    let inside = text.strip_prefix('[')?.strip_suffix(']')?;
    if inside.trim().is_empty() {
        return Some(vec![]);
    }
    inside.split(',').map(|v| v.trim().parse().ok()).collect()
}

fn entry(line: &str) -> Option<Entry> {
    let id = field(line, "id")?.parse().ok()?;
    if line.starts_with("{\"event\":\"proposal\"") {
        return Some(Entry::Proposal { id, x: array(field(line, "x")?)? });
    }
    if !line.starts_with("{\"event\":\"result\"") {
        return None;
    }
    // A failure's text comes last and is not looked into.
    let head = line.split("\"failure\":").next()?;
    let outcome = if head.len() < line.len() {
        Outcome::Failed
    } else {
        Outcome::Value {
            objective: field(line, "objective")?.parse().ok()?,
            constraints: array(field(line, "constraints")?)?,
        }
    };
    Some(Entry::Result { id, outcome })
}

impl Journal {
    /// Opens or begins the log at `path`; `header` is its first line, without the end of line. What was written before is returned; half a line at the end is cut off.
    ///
    /// # Errors
    /// One sentence: a file that cannot be read or written, that belongs to another search, or is damaged.
    pub fn open(path: &Path, header: &str) -> Result<(Self, Vec<Entry>), SurrogateError> {
        let shown = path.display();
        let wrong = |e: std::io::Error| SurrogateError::new(format!("{shown}: {e}"));
        if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(wrong)?;
        }
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(wrong)?;
        let mut bytes = vec![];
        file.read_to_end(&mut bytes).map_err(wrong)?;
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |k| k + 1);
        if whole < bytes.len() {
            file.set_len(whole as u64).map_err(wrong)?;
        }
        let text = String::from_utf8_lossy(&bytes[..whole]);
        let mut journal = Self { path: path.to_path_buf(), file };
        let mut lines = text.lines();
        let Some(first) = lines.next() else {
            journal.line(header)?;
            return Ok((journal, vec![]));
        };
        if first != header {
            let what = format!(
                "{shown}: is the log of a search with other variables, options or seed: name another file, or remove it"
            );
            return Err(SurrogateError::new(what));
        }
        let mut entries = vec![];
        for (k, line) in lines.enumerate() {
            let Some(entry) = entry(line) else {
                let what = format!("{shown}: line {} is neither a proposal nor a result", k + 2);
                return Err(SurrogateError::new(what));
            };
            entries.push(entry);
        }
        Ok((journal, entries))
    }
    fn line(&mut self, text: &str) -> Result<(), SurrogateError> {
        let wrong = |e: std::io::Error| SurrogateError::new(format!("{}: {e}", self.path.display()));
        self.file.write_all(format!("{text}\n").as_bytes()).map_err(wrong)?;
        self.file.sync_data().map_err(wrong)
    }
    /// A point that is going to be evaluated.
    ///
    /// # Errors
    /// One sentence, if the file cannot be written.
    pub fn proposal(&mut self, id: usize, x: &[f64]) -> Result<(), SurrogateError> {
        self.line(&format!("{{\"event\":\"proposal\",\"id\":{id},\"x\":{}}}", numbers(x)))
    }
    /// What it gave, or why it failed.
    ///
    /// # Errors
    /// One sentence, if the file cannot be written.
    pub fn result(
        &mut self,
        id: usize,
        seconds: f64,
        result: &Result<(f64, Vec<f64>), String>,
    ) -> Result<(), SurrogateError> {
        let rest = match result {
            Ok((f, c)) => format!("\"objective\":{},\"constraints\":{}", number(*f), numbers(c)),
            Err(why) => format!("\"failure\":{}", quoted(why)),
        };
        self.line(&format!("{{\"event\":\"result\",\"id\":{id},\"seconds\":{seconds:.3},{rest}}}"))
    }
}
