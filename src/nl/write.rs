//! Writing models: every problem that is made of expressions becomes one that other solvers read.
//!
//! Rows and variables are put into the order that the format prescribes (nonlinear first), so names go into STUB.row and STUB.col. Elements are written
//! where they are used; what is used twice within one, and the argument of a group, is a defined variable.

use std::collections::HashMap;
use std::path::Path;

use super::expression_out::Expressions;
use super::output::{NlFormat, Output};
use crate::error::Error;
use crate::expr::batch::Body;
use crate::expr::parts::Parts;
use crate::nlp::{Expressible, INFINITE_BOUND, NlpMeta};

/// A model as bytes, with the names of its rows and columns, one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NlFile {
    /// The .nl file.
    pub model: Vec<u8>,
    /// The .row file: constraints in the order of the model, then the objective.
    pub rows: String,
    /// The .col file.
    pub columns: String,
}

impl NlFile {
    /// Writes the model, and STUB.row and STUB.col beside it.
    ///
    /// # Errors
    /// [`Error::Io`] if one cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let files = [(path.to_path_buf(), self.model.as_slice())];
        let names = [("row", &self.rows), ("col", &self.columns)];
        let names = names.map(|(ending, text)| (path.with_extension(ending), text.as_bytes()));
        for (path, bytes) in files.into_iter().chain(names) {
            std::fs::write(&path, bytes)
                .map_err(|source| Error::Io { path: path.display().to_string(), source })?;
        }
        Ok(())
    }
}

/// A row or the objective, ready to be written.
#[derive(Debug, Default)]
struct Function {
    /// Bytes of its nonlinear part with its constant; empty where there is neither.
    body: Vec<u8>,
    nonlinear: bool,
    /// Variables that occur nonlinearly, ascending.
    vars: Vec<u32>,
    linear: Vec<(u32, f64)>,
}

struct Writer<'a> {
    parts: Parts<'a>,
    format: NlFormat,
    /// New number of each variable.
    new: Vec<u32>,
    /// Defined variables so far.
    defined: Vec<u8>,
    count: usize,
}

/// A problem as a model.
///
/// # Errors
/// [`Error::Unsupported`]: a function that the format does not have.
pub fn write(problem: &dyn Expressible, format: NlFormat) -> Result<NlFile, Error> {
    let meta = problem.meta();
    written(meta, problem.parts(), format)
        .map_err(|what| Error::Unsupported { name: meta.name.clone(), what })
}

fn written(meta: &NlpMeta, parts: Parts<'_>, format: NlFormat) -> Result<NlFile, String> {
    let n = meta.n();
    let groups: Vec<usize> = (0..parts.groups()).collect();
    let (constraints, objective): (Vec<usize>, Vec<usize>) =
        groups.into_iter().partition(|&g| parts.constraint[g]);
    let in_rows = occurrences(&parts, &constraints, &[]);
    let in_objective = occurrences(&parts, &objective, parts.quadratic);
    // Both, constraints only, objective only, linear.
    let class = |j: usize| match (in_rows[j], in_objective[j]) {
        (true, true) => 0,
        (true, false) => 1,
        (false, true) => 2,
        (false, false) => 3,
    };
    let mut columns: Vec<usize> = (0..n).collect();
    columns.sort_by_key(|&j| class(j));
    let mut new = vec![0u32; n];
    columns.iter().enumerate().for_each(|(k, &j)| new[j] = k as u32);
    let mut w = Writer { parts, format, new, defined: Vec::new(), count: 0 };
    let is_linear = |&(_, g): &(usize, usize)| parts.group_type[g].is_none() && parts.uses.get(g).is_empty();
    let mut rows: Vec<(usize, usize)> = constraints.iter().copied().enumerate().collect();
    rows.sort_by_key(is_linear);
    let all: Vec<Function> = rows.iter().map(|&(_, g)| w.function(&[g])).collect::<Result<_, String>>()?;
    let goal = w.function(&objective)?;
    let sizes = Sizes {
        nlc: all.iter().filter(|f| f.nonlinear).count(),
        nlvb: (0..n).filter(|&j| class(j) == 0).count(),
        nlvc: (0..n).filter(|&j| class(j) <= 1).count(),
        nlv: (0..n).filter(|&j| class(j) <= 2).count(),
    };
    let mut out = Output::new(format);
    w.header(meta, &sizes, &all, &goal, &mut out);
    let defined = std::mem::take(&mut w.defined);
    out.bytes(&defined);
    for (i, f) in all.iter().enumerate() {
        out.segment('C', &[i as i64]);
        if f.body.is_empty() { out.number(0.0) } else { out.bytes(&f.body) }
    }
    out.segment('O', &[0, i64::from(meta.maximize)]);
    if goal.body.is_empty() {
        out.number(0.0)
    } else {
        out.bytes(&goal.body)
    }
    w.data(meta, &rows, &columns, &mut out);
    w.linear(&all, &goal, &mut out);
    let names = |list: &mut dyn Iterator<Item = String>| list.map(|name| name + "\n").collect::<String>();
    let rows =
        names(&mut rows.iter().map(|&(i, _)| meta.constraint_name(i)).chain(["objective".to_string()]));
    let columns = names(&mut columns.iter().map(|&j| meta.variable_name(j)));
    Ok(NlFile { model: out.finish(), rows, columns })
}

struct Sizes {
    nlc: usize,
    nlvb: usize,
    nlvc: usize,
    nlv: usize,
}

/// Variables that occur nonlinearly in these groups: of elements, of the linear part of groups with a type, of quadratic entries.
fn occurrences(parts: &Parts<'_>, groups: &[usize], quadratic: &[(u32, u32, f64)]) -> Vec<bool> {
    let mut found = vec![false; parts.n];
    for &g in groups {
        for &(e, _) in parts.uses.get(g) {
            parts.element_vars.get(e as usize).iter().for_each(|&v| found[v as usize] = true);
        }
        if parts.group_type[g].is_some() {
            parts.linear.get(g).iter().for_each(|l| found[l.0 as usize] = true);
        }
    }
    quadratic.iter().for_each(|q| (found[q.0 as usize], found[q.1 as usize]) = (true, true));
    found
}

impl Writer<'_> {
    /// The sum of some groups.
    fn function(&mut self, groups: &[usize]) -> Result<Function, String> {
        let parts = self.parts;
        let is_objective = groups.iter().any(|&g| !parts.constraint[g]) || groups.is_empty();
        let quadratic = if is_objective { parts.quadratic } else { &[] };
        let mut f = Function::default();
        let (mut terms, mut constant): (Vec<Vec<u8>>, f64) = (Vec::new(), 0.0);
        for &g in groups {
            let scale = parts.scale[g];
            match parts.group_type[g] {
                None => {
                    f.linear
                        .extend(parts.linear.get(g).iter().map(|&(v, a)| (self.new[v as usize], a / scale)));
                    constant -= parts.constant[g] / scale;
                    for &(e, w) in parts.uses.get(g) {
                        terms.push(self.element(e as usize, w / scale)?);
                    }
                }
                Some(t) => {
                    let argument = self.argument(g)?;
                    let params = parts.group_params.get(g);
                    let body = &parts.group_bodies[t as usize];
                    terms.push(self.body(body, &[argument], params, 1.0 / scale)?);
                }
            }
        }
        for &(i, j, h) in quadratic {
            let mut out = Output::new(self.format);
            let factor = if i == j { 0.5 * h } else { h };
            out.operation(2);
            out.number(factor);
            out.operation(2);
            out.variable(self.new[i as usize]);
            out.variable(self.new[j as usize]);
            terms.push(out.finish());
        }
        f.nonlinear = !terms.is_empty();
        if constant != 0.0 {
            let mut out = Output::new(self.format);
            out.number(constant);
            terms.push(out.finish());
        }
        f.body = sum(terms, self.format);
        merge(&mut f.linear);
        let found = occurrences(&parts, groups, quadratic);
        f.vars = (0..parts.n).filter(|&j| found[j]).map(|j| self.new[j]).collect();
        f.vars.sort_unstable();
        Ok(f)
    }

    fn element(&mut self, e: usize, weight: f64) -> Result<Vec<u8>, String> {
        let parts = self.parts;
        let t = parts.element_type[e] as usize;
        let vars: Vec<u32> = parts.element_vars.get(e).iter().map(|&v| self.new[v as usize]).collect();
        self.body(&parts.element_bodies[t], &vars, parts.element_params.get(e), weight)
    }

    fn body(&mut self, body: &Body, vars: &[u32], params: &[f64], weight: f64) -> Result<Vec<u8>, String> {
        let first = self.parts.n + self.count;
        let mut e = Expressions::new(body, vars, params, self.format, first);
        let expression = e.weighted(weight)?;
        self.count += e.count;
        self.defined.extend(e.defined);
        Ok(expression)
    }

    /// alpha of a group as a defined variable; its number.
    fn argument(&mut self, g: usize) -> Result<u32, String> {
        let parts = self.parts;
        let mut terms = Vec::new();
        for &(e, w) in parts.uses.get(g) {
            terms.push(self.element(e as usize, w)?);
        }
        if parts.constant[g] != 0.0 || terms.is_empty() {
            let mut out = Output::new(self.format);
            out.number(-parts.constant[g]);
            terms.push(out.finish());
        }
        let number = self.parts.n + self.count;
        let mut linear: Vec<(u32, f64)> =
            parts.linear.get(g).iter().map(|&(v, a)| (self.new[v as usize], a)).collect();
        merge(&mut linear);
        let mut out = Output::new(self.format);
        out.segment('V', &[number as i64, linear.len() as i64, 0]);
        linear.iter().for_each(|&(v, a)| out.entry(v, a));
        out.bytes(&sum(terms, self.format));
        self.defined.extend(out.finish());
        self.count += 1;
        Ok(number as u32)
    }

    fn header(&self, meta: &NlpMeta, s: &Sizes, rows: &[Function], goal: &Function, out: &mut Output) {
        let (n, m) = (meta.n(), meta.m());
        let equal = (0..m).filter(|&i| meta.is_equality(i)).count();
        let finite = |v: f64| v.abs() < INFINITE_BOUND;
        let ranges = (0..m)
            .filter(|&i| finite(meta.c_lower[i]) && finite(meta.c_upper[i]) && !meta.is_equality(i))
            .count();
        let entries: usize = rows.iter().map(|f| union(f).len()).sum();
        let longest = |names: &[String]| names.iter().map(String::len).max().unwrap_or(0);
        let (rows, columns) = (longest(&meta.constraint_names), longest(&meta.variable_names));
        let (letter, kind) = match self.format {
            NlFormat::Text => ('g', 0),
            NlFormat::Binary => ('b', if cfg!(target_endian = "little") { 1 } else { 2 }),
        };
        // nlvo counts all nonlinear variables where one is nonlinear in the objective alone.
        let nlvo = if s.nlv > s.nlvc { s.nlv } else { s.nlvb };
        out.line(&format!(
            "{letter}3 1 1 0\t# problem {}",
            meta.name.split_whitespace().collect::<Vec<_>>().join(" ")
        ));
        out.line(&format!(
            " {n} {m} 1 {ranges} {equal}\t# variables, constraints, objectives, ranges, equations"
        ));
        out.line(&format!(" {} {}\t# nonlinear constraints, objectives", s.nlc, usize::from(goal.nonlinear)));
        out.line(" 0 0\t# network constraints: nonlinear, linear");
        out.line(&format!(
            " {} {nlvo} {}\t# nonlinear variables in constraints, objectives, both",
            s.nlvc, s.nlvb
        ));
        out.line(&format!(" 0 0 {kind} 1\t# linear network variables; functions; arithmetic, flags"));
        out.line(
            " 0 0 0 0 0\t# discrete variables: binary, integer, nonlinear (both, constraints, objectives)",
        );
        out.line(&format!(" {entries} {}\t# entries of the Jacobian, of the gradient", union(goal).len()));
        out.line(&format!(
            " {} {columns}\t# longest names: constraints, variables",
            rows.max("objective".len())
        ));
        out.line(&format!(
            " {} 0 0 0 0\t# defined variables: both, constraints, objectives, one constraint, one objective",
            self.count
        ));
    }

    fn data(&self, meta: &NlpMeta, rows: &[(usize, usize)], columns: &[usize], out: &mut Output) {
        let sign = if meta.maximize { 1.0 } else { -1.0 };
        let y: Vec<(u32, f64)> =
            (0u32..).zip(rows).map(|(k, &(i, _))| (k, sign * meta.y0[i])).filter(|e| e.1 != 0.0).collect();
        if !y.is_empty() {
            out.segment('d', &[y.len() as i64]);
            y.iter().for_each(|&(k, v)| out.entry(k, v));
        }
        out.segment('x', &[columns.len() as i64]);
        (0u32..).zip(columns).for_each(|(k, &j)| out.entry(k, meta.x0[j]));
        if !rows.is_empty() {
            out.segment('r', &[]);
            rows.iter().for_each(|&(i, _)| out.bounds(meta.c_lower[i], meta.c_upper[i]));
        }
        out.segment('b', &[]);
        columns.iter().for_each(|&j| out.bounds(meta.x_lower[j], meta.x_upper[j]));
    }

    fn linear(&self, rows: &[Function], goal: &Function, out: &mut Output) {
        let unions: Vec<Vec<(u32, f64)>> = rows.iter().map(union).collect();
        let n = self.parts.n;
        if !rows.is_empty() {
            let mut counts = vec![0i64; n];
            unions.iter().flatten().for_each(|e| counts[e.0 as usize] += 1);
            out.segment('k', &[n.saturating_sub(1) as i64]);
            let mut sum = 0;
            counts[..n.saturating_sub(1)].iter().for_each(|c| {
                sum += c;
                out.int(sum);
            });
        }
        for (i, entries) in unions.iter().enumerate().filter(|(_, e)| !e.is_empty()) {
            out.segment('J', &[i as i64, entries.len() as i64]);
            entries.iter().for_each(|&(v, a)| out.entry(v, a));
        }
        let entries = union(goal);
        if !entries.is_empty() {
            out.segment('G', &[0, entries.len() as i64]);
            entries.iter().for_each(|&(v, a)| out.entry(v, a));
        }
    }
}

/// Linear coefficients, and 0 for the other variables.
fn union(f: &Function) -> Vec<(u32, f64)> {
    let mut all: Vec<(u32, f64)> = f.linear.iter().copied().chain(f.vars.iter().map(|&v| (v, 0.0))).collect();
    merge(&mut all);
    all
}

/// Coefficients of one variable are added, in the order of the variables.
fn merge(entries: &mut Vec<(u32, f64)>) {
    let mut place: HashMap<u32, usize> = HashMap::new();
    let mut merged: Vec<(u32, f64)> = Vec::with_capacity(entries.len());
    for &(v, a) in &*entries {
        let at = *place.entry(v).or_insert(merged.len());
        if at == merged.len() { merged.push((v, a)) } else { merged[at].1 += a }
    }
    merged.sort_unstable_by_key(|e| e.0);
    *entries = merged;
}

fn sum(terms: Vec<Vec<u8>>, format: NlFormat) -> Vec<u8> {
    let mut out = Output::new(format);
    match terms.len() {
        0 | 1 => {}
        2 => out.operation(0),
        count => {
            out.operation(54);
            out.int(count as i64);
        }
    }
    terms.iter().for_each(|t| out.bytes(t));
    out.finish()
}
