//! A point with its multipliers by name, as a text file that can be read again.
//!
//! One line per entry, fields separated by one tab, numbers in the shortest form that reads back exactly:
//!
//! ```text
//! # costate solution 1
//! problem     NAME
//! variable    x_j    z_j    NAME
//! constraint  y_i    NAME
//! ```
//!
//! Lines that are empty or begin with `#` are skipped. The name is the rest of the line, as SIF names may hold blanks and
//! commas; in it `\` is written `\\`, a tab `\t`, a line feed `\n`, a carriage return `\r`.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

use crate::error::Error;
use crate::nlp::NlpMeta;

/// A point and its multipliers, with names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Solution {
    /// Problem name.
    pub problem: String,
    /// Names of the variables.
    pub variable_names: Vec<String>,
    /// Values of the variables.
    pub x: Vec<f64>,
    /// Multipliers of the bounds.
    pub z: Vec<f64>,
    /// Names of the constraints.
    pub constraint_names: Vec<String>,
    /// Multipliers of the constraints.
    pub y: Vec<f64>,
}

impl Solution {
    /// Attaches the names of a problem to x (length n), y (length m) and z (length n).
    pub fn new(meta: &NlpMeta, x: &[f64], y: &[f64], z: &[f64]) -> Self {
        Self {
            problem: meta.name.clone(),
            variable_names: (0..meta.n()).map(|j| meta.variable_name(j)).collect(),
            x: x.to_vec(),
            z: z.to_vec(),
            constraint_names: (0..meta.m()).map(|i| meta.constraint_name(i)).collect(),
            y: y.to_vec(),
        }
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let error = |source| Error::Io { path: path.display().to_string(), source };
        let mut file = io::BufWriter::new(std::fs::File::create(path).map_err(error)?);
        self.write_to(&mut file).and_then(|()| file.flush()).map_err(error)
    }

    /// Writes the text.
    ///
    /// # Errors
    /// Whatever the writer says.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "# costate solution 1")?;
        writeln!(out, "problem\t{}", escape(&self.problem))?;
        for ((name, x), z) in self.variable_names.iter().zip(&self.x).zip(&self.z) {
            writeln!(out, "variable\t{x:e}\t{z:e}\t{}", escape(name))?;
        }
        for (name, y) in self.constraint_names.iter().zip(&self.y) {
            writeln!(out, "constraint\t{y:e}\t{}", escape(name))?;
        }
        Ok(())
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read or is not such a file; the message names the line.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let error = |source| Error::Io { path: path.display().to_string(), source };
        Self::parse(&std::fs::read_to_string(path).map_err(error)?)
            .map_err(|what| error(io::Error::new(io::ErrorKind::InvalidData, what)))
    }

    /// Parses the text of a file.
    ///
    /// # Errors
    /// One sentence with the line number.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut solution = Self::default();
        for (k, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            solution.parse_line(line).map_err(|what| format!("line {}: {what}", k + 1))?;
        }
        Ok(solution)
    }

    fn parse_line(&mut self, line: &str) -> Result<(), String> {
        let (word, rest) = line.split_once('\t').unwrap_or((line, ""));
        match word {
            "problem" => self.problem = unescape(rest)?,
            "variable" => {
                let (x, rest) = number(rest)?;
                let (z, rest) = number(rest)?;
                self.x.push(x);
                self.z.push(z);
                self.variable_names.push(unescape(rest)?);
            }
            "constraint" => {
                let (y, rest) = number(rest)?;
                self.y.push(y);
                self.constraint_names.push(unescape(rest)?);
            }
            _ => return Err(format!("found '{word}', expected problem, variable or constraint")),
        }
        Ok(())
    }

    /// The same in the order of a problem, matched by name (a name that occurs twice: in order).
    ///
    /// # Errors
    /// [`Error::Problem`] names the first variable or constraint of the problem that is not here.
    pub fn arrange(&self, meta: &NlpMeta) -> Result<Self, Error> {
        let missing =
            |what| Error::Problem { name: meta.name.clone(), what: format!("the solution has no {what}") };
        let mut arranged = Self::new(meta, &[], &[], &[]);
        let mut places = places(&self.variable_names);
        for name in &arranged.variable_names {
            let k = next(&mut places, name).ok_or_else(|| missing(format!("variable {name}")))?;
            arranged.x.push(self.x[k]);
            arranged.z.push(self.z[k]);
        }
        let mut places = self::places(&self.constraint_names);
        for name in &arranged.constraint_names {
            let k = next(&mut places, name).ok_or_else(|| missing(format!("constraint {name}")))?;
            arranged.y.push(self.y[k]);
        }
        Ok(arranged)
    }
}

fn places(names: &[String]) -> HashMap<&str, Vec<usize>> {
    let mut map: HashMap<&str, Vec<usize>> = HashMap::with_capacity(names.len());
    for (k, name) in names.iter().enumerate().rev() {
        map.entry(name).or_default().push(k);
    }
    map
}

fn next(places: &mut HashMap<&str, Vec<usize>>, name: &str) -> Option<usize> {
    places.get_mut(name)?.pop()
}

fn number(text: &str) -> Result<(f64, &str), String> {
    let (field, rest) = text.split_once('\t').unwrap_or((text, ""));
    let value = field.parse().map_err(|_| format!("found '{field}', expected a number"))?;
    Ok((value, rest))
}

fn escape(name: &str) -> String {
    name.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

fn unescape(text: &str) -> Result<String, String> {
    let mut name = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        name.push(match c {
            '\\' => match chars.next() {
                Some('\\') => '\\',
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                _ => return Err(format!("found a lone backslash in the name '{text}'")),
            },
            c => c,
        });
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn errors_name_the_line() {
        assert_eq!(
            Solution::parse("problem\tP\nvariable\t1\tx\tA").unwrap_err(),
            "line 2: found 'x', expected a number"
        );
        assert!(Solution::parse("# c\n\nvalue\t1").unwrap_err().starts_with("line 3: found 'value'"));
    }

    #[test]
    fn arrange_matches_by_name() {
        let text = "problem\tP\nvariable\t1\t0\tB\nvariable\t2\t3\tA\nconstraint\t5\tE\n";
        let solution = Solution::parse(text).unwrap();
        let mut meta = NlpMeta::equality("P", 2, 1);
        meta.variable_names = vec!["A".into(), "B".into()];
        meta.constraint_names = vec!["E".into()];
        let arranged = solution.arrange(&meta).unwrap();
        assert_eq!((arranged.x, arranged.y, arranged.z), (vec![2.0, 1.0], vec![5.0], vec![3.0, 0.0]));
        meta.constraint_names = vec!["F".into()];
        assert_eq!(
            solution.arrange(&meta).unwrap_err().to_string(),
            "problem P: the solution has no constraint F"
        );
    }

    proptest! {
        #[test]
        fn roundtrip_is_exact(
            entries in prop::collection::vec((".{0,12}", any::<f64>(), any::<f64>()), 0..20),
            problem in "\\PC{0,10}",
        ) {
            let mut s = Solution { problem, ..Solution::default() };
            for (name, a, b) in entries {
                s.variable_names.push(name.clone());
                s.x.push(a);
                s.z.push(b);
                s.constraint_names.push(name);
                s.y.push(b);
            }
            let mut text = Vec::new();
            s.write_to(&mut text).unwrap();
            let back = Solution::parse(std::str::from_utf8(&text).unwrap()).unwrap();
            let bits = |v: &[f64]| v.iter().map(|a| a.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&back.x), bits(&s.x));
            prop_assert_eq!(bits(&back.y), bits(&s.y));
            prop_assert_eq!(&back.variable_names, &s.variable_names);
            prop_assert_eq!(&back.constraint_names, &s.constraint_names);
            prop_assert_eq!(&back.problem, &s.problem);
        }
    }
}
