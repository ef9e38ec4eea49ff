//! A .nl file as a nonlinear program.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::complement::Added;
use super::read::{Body, Model, read};
use super::{Suffix, SuffixTarget};
use crate::error::Error;
use crate::expr::parts::Parts;
use crate::expr::separate::{Function, Separated, separate};
use crate::nlp::expressed::{Expressed, Expressible, delegate_nlp};
use crate::nlp::{Nlp, NlpMeta, ProblemStats};

/// How to read a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NlOptions {
    /// Which objective, counted from 1; 0: none.
    pub objective: usize,
    /// Treat integer variables as continuous ones instead of refusing them.
    pub relax_integers: bool,
    /// Memory that evaluation may take, in units of eight numbers.
    pub objects: u64,
    /// Contributions to the Hessian, about 30 bytes each; where there are more it has no pattern, only products.
    pub hessian: u64,
}

impl Default for NlOptions {
    fn default() -> Self {
        Self { objective: 1, relax_integers: false, objects: 60_000_000, hessian: 1 << 26 }
    }
}

/// A problem read from a .nl file. Functions are exact, with first and second derivatives; the objective is in the user's sense.
#[derive(Debug, Clone)]
pub struct NlProblem {
    functions: Expressed,
    parts: Separated,
    suffixes: Vec<Suffix>,
    warnings: Vec<String>,
    pub(super) options: Vec<i64>,
    pub(super) vbtol: Option<f64>,
    objective: usize,
    has_objective: bool,
    y0: Vec<f64>,
    added: Added,
}

delegate_nlp!(NlProblem, functions, expressible);

impl Expressible for NlProblem {
    fn parts(&self) -> Parts<'_> {
        self.parts.parts()
    }
}

/// The bytes of a file, uncompressed.
fn bytes(path: &Path) -> Result<Vec<u8>, Error> {
    let fail = |source| Error::Io { path: path.display().to_string(), source };
    let raw = std::fs::read(path).map_err(fail)?;
    if !raw.starts_with(&[0x1f, 0x8b]) {
        return Ok(raw);
    }
    let mut text = Vec::new();
    flate2::read::MultiGzDecoder::new(raw.as_slice()).read_to_end(&mut text).map_err(fail)?;
    Ok(text)
}

/// STUB.nl or STUB.nl.gz with another ending.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let stub = if path.extension().is_some_and(|e| e == "gz") {
        path.with_extension("")
    } else {
        path.to_path_buf()
    };
    stub.with_extension(ending)
}

/// Lines of a file of names, if it is there.
fn names(path: &Path) -> Vec<String> {
    let text = std::fs::read(path).unwrap_or_default();
    let lines = String::from_utf8_lossy(&text);
    lines.lines().map(|line| line.trim_end_matches('\r').to_string()).collect()
}

impl NlProblem {
    /// Reads a model, with the names in STUB.row and STUB.col beside it if they are there.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::Nl`] if it cannot be understood, [`Error::Unsupported`] if it has what is not treated.
    pub fn from_file(path: &Path, options: &NlOptions) -> Result<Self, Error> {
        let stub = beside(path, "");
        let stub = stub.file_name().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
        let [rows, columns] = ["row", "col"].map(|ending| names(&beside(path, ending)));
        Self::new(&path.display().to_string(), &stub, &bytes(path)?, options, (rows, columns))
    }

    /// Reads the bytes of a model; `file` is its name in messages.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    pub fn from_bytes(file: &str, bytes: &[u8], options: &NlOptions) -> Result<Self, Error> {
        Self::new(file, file.trim_end_matches(".nl"), bytes, options, Default::default())
    }

    fn new(
        file: &str,
        stub: &str,
        bytes: &[u8],
        options: &NlOptions,
        (rows, columns): (Vec<String>, Vec<String>),
    ) -> Result<Self, Error> {
        let mut model = read(file, bytes)?;
        let added = Added::to(&mut model);
        let mut meta = meta(&model, stub, options, (rows, columns));
        refuse(&model, &meta, options)?;
        let added = added.map_err(|at| unlike_bounds(&meta, at))?;
        added.describe(&mut meta);
        let chosen = options.objective.checked_sub(1);
        if chosen.is_some_and(|k| k >= model.objectives.len().max(1)) {
            let what =
                format!("the model has {} objectives, not {}", model.objectives.len(), options.objective);
            return Err(Error::Option { option: "objective".into(), what });
        }
        let function = |body: &Body| Function {
            constant: 0.0,
            linear: &model.linear[body.linear.clone()],
            node: body.node,
        };
        let objective = chosen.and_then(|k| model.objectives.get(k));
        let constraints: Vec<Function<'_>> = model.rows.iter().map(function).collect();
        let n = meta.n();
        let separated =
            separate(&model.graph, n, &objective.map(function).unwrap_or_default(), &constraints, &[]);
        let name = meta.name.clone();
        let functions = Expressed::new(meta, &separated.parts(), (options.objects, options.hessian))
            .map_err(|what| Error::Unsupported { name, what })?;
        let mut warnings = vec![];
        if model.kinks {
            warnings.push("the model has functions with kinks or jumps (conditions, abs, min, max, rounding): at those derivatives are one-sided".to_string());
        }
        if !added.is_empty() {
            warnings.push(added.sentence());
        }
        Ok(Self {
            functions,
            parts: separated,
            added,
            suffixes: model.suffixes,
            warnings,
            options: model.header.options,
            vbtol: model.header.vbtol,
            objective: options.objective,
            has_objective: objective.is_some(),
            y0: model.y0,
        })
    }

    /// Gives names to the variables and constraints, as files beside the model would; missing ones are numbered.
    pub fn rename<'a>(
        &mut self,
        variables: impl Iterator<Item = &'a str>,
        constraints: impl Iterator<Item = &'a str>,
    ) {
        let meta = self.functions.meta_mut();
        let (n, m) = self.added.before(meta);
        meta.variable_names = named(variables.map(str::to_string).collect(), n, 'x');
        meta.constraint_names = named(constraints.map(str::to_string).collect(), m, 'c');
        self.added.describe(meta);
    }
    /// Suffixes of the file.
    pub fn suffixes(&self) -> &[Suffix] {
        &self.suffixes
    }
    /// Numbers of a suffix of variables, constraints, ..., one for each; nothing where the file has no such suffix.
    pub fn suffix(&self, name: &str, target: SuffixTarget) -> Option<Vec<f64>> {
        let found = self.suffixes.iter().find(|s| s.name == name && s.target == target)?;
        let len = match target {
            SuffixTarget::Variable => self.meta().n(),
            SuffixTarget::Constraint => self.meta().m(),
            SuffixTarget::Objective | SuffixTarget::Problem => {
                found.values.entries.iter().map(|e| e.0 as usize + 1).max().unwrap_or(1)
            }
        };
        let mut all = vec![0.0; len];
        for &(k, value) in &found.values.entries {
            if let Some(slot) = all.get_mut(k as usize) {
                *slot = value;
            }
        }
        Some(all)
    }
    /// Variables and constraints of the file: where it has complementarity conditions, the problem has slack variables and products after them.
    pub fn file_sizes(&self) -> (usize, usize) {
        self.added.before(self.meta())
    }
    /// What was odd in the file.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
    /// Which objective is used, counted from 1; 0: none.
    pub fn objective(&self) -> usize {
        self.objective
    }
    /// The model has the objective that was asked for; otherwise f = 0.
    pub fn has_objective(&self) -> bool {
        self.has_objective
    }
    /// Sizes, sums and norms; the sum of the starting multipliers is that of the file's own numbers.
    pub fn stats(&mut self) -> ProblemStats {
        let pairs = self.meta().hessian.as_ref().map_or(0, |p| p.len());
        let sum_y0 = self.y0.iter().sum();
        ProblemStats { sum_y0, ..ProblemStats::new(&mut self.functions, String::new(), pairs) }
    }
    /// Forgets the functions kept for the last point (for measurements).
    pub fn forget(&mut self) {
        self.functions.forget();
    }
}

fn unlike_bounds(meta: &NlpMeta, (row, variable): (usize, usize)) -> Error {
    let (row, x) = (meta.constraint_name(row), meta.variable_name(variable));
    let what = format!("constraint {row} complements a bound of {x}, which has no such bound");
    Error::Unsupported { name: meta.name.clone(), what }
}

fn meta(
    model: &Model,
    stub: &str,
    options: &NlOptions,
    (rows, columns): (Vec<String>, Vec<String>),
) -> NlpMeta {
    let (n, m) = (model.header.variables, model.header.rows);
    let maximize =
        options.objective.checked_sub(1).and_then(|k| model.maximize.get(k)).copied().unwrap_or(false);
    let sign = if maximize { 1.0 } else { -1.0 };
    NlpMeta {
        name: model.header.name.clone().unwrap_or_else(|| stub.to_string()),
        x_lower: model.bounds.iter().map(|b| b.0).collect(),
        x_upper: model.bounds.iter().map(|b| b.1).collect(),
        c_lower: model.sides.iter().map(|b| b.0).collect(),
        c_upper: model.sides.iter().map(|b| b.1).collect(),
        x0: model.x0.clone(),
        y0: model.y0.iter().map(|y| sign * y + 0.0).collect(),
        variable_names: named(columns, n, 'x'),
        constraint_names: named(rows, m, 'c'),
        maximize,
        ..NlpMeta::default()
    }
}

/// Lines that are missing are numbered, as all would be without names.
fn named(names: Vec<String>, len: usize, letter: char) -> Vec<String> {
    if names.is_empty() {
        return vec![];
    }
    let given = names.len();
    names.into_iter().chain((given..len).map(|k| format!("{letter}[{k}]"))).take(len).collect()
}

/// The integer variables, by the order of the variables that the format prescribes.
fn integers(model: &Model) -> Vec<usize> {
    let h = &model.header;
    let n = h.variables;
    let [both, constraints, objectives] = h.nonlinear;
    let [binary, integer, in_both, in_constraints, in_objectives] = h.integers;
    let last = |end: usize, count: usize| end.min(n).saturating_sub(count)..end.min(n);
    let mut all: Vec<usize> = last(both, in_both).chain(last(constraints, in_constraints)).collect();
    all.extend(last(objectives.max(constraints), in_objectives));
    all.extend(last(n, binary + integer));
    all.sort_unstable();
    all.dedup();
    all
}

/// What costate does not treat, by name.
fn refuse(model: &Model, meta: &NlpMeta, options: &NlOptions) -> Result<(), Error> {
    let unsupported = |what: String| Err(Error::Unsupported { name: meta.name.clone(), what });
    let continuous = "costate solves continuous models only";
    let integers = integers(model);
    if let Some(&first) = integers.first().filter(|_| !options.relax_integers) {
        let (count, name) = (integers.len(), meta.variable_name(first));
        let s = if count == 1 { "" } else { "s" };
        return unsupported(format!("it has {count} integer variable{s} (first: {name}); {continuous}"));
    }
    let of_variables = |s: &&Suffix| s.target == SuffixTarget::Variable && !s.values.entries.is_empty();
    let mut sets =
        model.suffixes.iter().filter(of_variables).filter(|s| matches!(s.name.as_str(), "sosno" | "sos"));
    if let Some(&(j, _)) = sets.next().and_then(|s| s.values.entries.first()) {
        let name = meta.variable_name(j as usize);
        return unsupported(format!("it has special ordered sets (SOS; first member: {name}); {continuous}"));
    }
    if model.header.logical > 0 {
        return unsupported(format!("it has {} logical constraints; {continuous}", model.header.logical));
    }
    if model.header.stages > 1 {
        return unsupported("it has stages of a stochastic program, which costate does not treat".into());
    }
    Ok(())
}
