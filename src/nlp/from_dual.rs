//! Problems whose functions are written once, for [`Active`] numbers.
//!
//! Gradients are one sweep back over the tape. The Jacobian is made of tangents, columns that share no row together; rows with very many entries get a sweep back
//! of their own. The Hessian of the Lagrangian is made of its products with directions, columns that share no row together. Four directions go in one sweep.

use super::closure_problem::Functions;
use super::{EvalError, Nlp, NlpMeta, Pattern};
use crate::diff::Active;
use crate::diff::colour::Columns;
use crate::diff::tape::{LANES, Lane, Tape};
use crate::error::Error;

/// c <- c(x), returns f(x).
pub(super) type DualFunction<'a> = Box<dyn FnMut(&[Active], &mut [Active]) -> Active + Send + 'a>;

/// Variables up to which patterns are full unless given.
const DENSE: usize = 32;
/// Entries of a pattern that are looked for at most.
const ENTRIES: usize = 100_000_000;
/// Structures of the tape that are remembered.
const STRUCTURES: usize = 64;

/// Entries by row or column, ascending.
type Lines = Vec<Vec<usize>>;

/// A Jacobian: some rows by sweeps back, the others by columns in groups.
#[derive(Debug, Default)]
struct Jacobian {
    columns: Columns,
    /// (row, its entries as (column, place)).
    single: Vec<(usize, Vec<(usize, usize)>)>,
    places: Places,
}

/// The places of the entries (row, column), sorted by column; of those with the same place the first.
#[derive(Debug, Default)]
struct Places {
    start: Vec<usize>,
    of: Vec<(usize, usize)>,
}

impl Places {
    fn new(n: usize, pattern: &Pattern) -> Self {
        let mut columns = vec![Vec::new(); n];
        pattern.entries().enumerate().for_each(|(k, (i, j))| columns[j].push((i, k)));
        let mut start = vec![0];
        let mut of = Vec::new();
        for mut column in columns {
            column.sort_unstable();
            column.dedup_by_key(|e| e.0);
            of.extend(column);
            start.push(of.len());
        }
        Self { start, of }
    }
    /// (row, place) of a column.
    fn column(&self, j: usize) -> &[(usize, usize)] {
        &self.of[self.start[j]..self.start[j + 1]]
    }
    fn has(&self, i: usize, j: usize) -> bool {
        self.column(j).binary_search_by_key(&i, |e| e.0).is_ok()
    }
}

pub(super) struct DualProblem<'a> {
    meta: NlpMeta,
    function: DualFunction<'a>,
    tape: Tape,
    taped_at: Vec<f64>,
    variables: Vec<Active>,
    constraints: Vec<Active>,
    bars: Vec<f64>,
    gradient: Vec<f64>,
    dots: Vec<Lane>,
    bar_dots: Vec<Lane>,
    jacobian: Jacobian,
    hessian_columns: Columns,
    hessian_places: Places,
    /// Structures of tapes whose entries are all in the patterns; `None`: the patterns are full.
    known: Option<Vec<u64>>,
    second: bool,
}

/// Rows that are left to sweeps of their own: as many of the longest as make rows left out and the longest of the rest the fewest.
fn single_rows(lengths: &[usize]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(lengths[i]), i));
    let cost = |k: usize| k + order.get(k).map_or(0, |&i| lengths[i]);
    let best = (0..=order.len()).min_by_key(|&k| (cost(k), k)).unwrap_or(0);
    order.truncate(best);
    order.sort_unstable();
    order
}

impl Jacobian {
    fn new(n: usize, m: usize, pattern: &Pattern) -> Self {
        let places = Places::new(n, pattern);
        let mut rows = vec![Vec::new(); m];
        for j in 0..n {
            places.column(j).iter().for_each(|&(i, k)| rows[i].push((j, k)));
        }
        let lengths: Vec<usize> = rows.iter().map(Vec::len).collect();
        let alone = single_rows(&lengths);
        let mut is_alone = vec![false; m];
        alone.iter().for_each(|&i| is_alone[i] = true);
        let columns = Columns::new(n, pattern.entries().filter(|(i, _)| !is_alone[*i]));
        let single = alone.into_iter().map(|i| (i, std::mem::take(&mut rows[i]))).collect();
        Self { columns, single, places }
    }
}

impl<'a> DualProblem<'a> {
    /// Finds the patterns that `meta` lacks, at its start points, and which rows are linear. `second`: with second derivatives.
    ///
    /// # Errors
    /// The function misuses its numbers, or a pattern has too many entries.
    pub fn new(meta: NlpMeta, function: DualFunction<'a>, second: bool) -> Result<Self, Error> {
        let (n, m) = (meta.n(), meta.m());
        let mut problem = Self {
            function,
            tape: Tape::default(),
            taped_at: Vec::new(),
            variables: vec![Active::from(0.0); n],
            constraints: vec![Active::from(0.0); m],
            bars: Vec::new(),
            gradient: vec![0.0; n],
            dots: Vec::new(),
            bar_dots: Vec::new(),
            jacobian: Jacobian::default(),
            hessian_columns: Columns::default(),
            hessian_places: Places::default(),
            known: None,
            second,
            meta,
        };
        problem.find_patterns().map_err(|what| Error::Problem { name: problem.meta.name.clone(), what })?;
        Ok(problem)
    }

    fn find_patterns(&mut self) -> Result<(), String> {
        let (n, m) = (self.meta.n(), self.meta.m());
        let given = self.meta.jacobian.is_some() || self.meta.hessian.is_some();
        let dense = n <= DENSE && !given;
        let mut found = (vec![Vec::new(); m], vec![Vec::new(); n]);
        let starts: Vec<Vec<f64>> =
            std::iter::once(&self.meta.x0).chain(&self.meta.other_starts).cloned().collect();
        for (k, x) in starts.iter().enumerate() {
            self.record(x);
            if let Some(what) = self.tape.broken() {
                return Err(what.into());
            }
            if k == 0 {
                self.note_degrees();
            }
            if !dense {
                let (jacobian, hessian) = self.entries().map_err(|e| e.to_string())?;
                merge(&mut found.0, jacobian);
                merge(&mut found.1, hessian);
            }
        }
        if self.meta.jacobian.is_none() {
            let by_rows = || {
                let (rows, cols) =
                    found.0.iter().enumerate().flat_map(|(i, r)| r.iter().map(move |j| (i, *j))).unzip();
                Pattern { rows, cols }
            };
            self.meta.jacobian = (m > 0).then(|| if dense { Pattern::dense(m, n) } else { by_rows() });
        }
        if self.second && self.meta.hessian.is_none() {
            let by_columns = || {
                let (cols, rows) =
                    found.1.iter().enumerate().flat_map(|(j, c)| c.iter().map(move |i| (j, *i))).unzip();
                Pattern { rows, cols }
            };
            self.meta.hessian = Some(if dense { Pattern::dense_lower(n) } else { by_columns() });
        }
        self.meta.validate().map_err(|e| match e {
            Error::Problem { what, .. } => what,
            other => other.to_string(),
        })?;
        if let Some(pattern) = &self.meta.jacobian {
            self.jacobian = Jacobian::new(n, m, pattern);
        }
        if let Some(pattern) = &self.meta.hessian {
            self.hessian_columns = Columns::symmetric(n, pattern.entries());
            self.hessian_places = Places::new(n, pattern);
        }
        if !dense {
            self.known = Some(Vec::new());
            self.record(&starts[0]);
            self.check_structure().map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// Which rows are linear, where the way through the function depends on no value.
    fn note_degrees(&mut self) {
        if self.tape.is_inspected() {
            return;
        }
        if self.meta.linear.is_empty() {
            self.meta.linear = (0..self.meta.m()).map(|i| self.tape.output_degree(i + 1) <= 1).collect();
        }
        self.meta.quadratic_objective |= self.tape.output_degree(0) <= 2;
    }

    /// The tape at x.
    fn record(&mut self, x: &[f64]) {
        self.taped_at.clear();
        let (function, constraints) = (&mut self.function, &mut self.constraints);
        constraints.fill(Active::from(0.0));
        self.tape.record(x, &mut self.variables, move |v| {
            let f = function(v, constraints);
            (f, constraints)
        });
        self.taped_at.extend_from_slice(x);
    }

    /// The tape at x, checked; written again if it is that of another point or if `anew`.
    fn tape_at(&mut self, x: &[f64], anew: bool) -> Result<(), EvalError> {
        if anew || self.taped_at != x {
            self.record(x);
            if let Some(what) = self.tape.broken() {
                self.taped_at.clear();
                return Err(EvalError::Failed { function: "the functions", reason: what.into() });
            }
            self.check_structure().inspect_err(|_| self.taped_at.clear())?;
        }
        Ok(())
    }

    /// Entries of the Jacobian by rows, of the Hessian by columns.
    fn entries(&self) -> Result<(Lines, Lines), EvalError> {
        let many = |function| {
            let reason = format!("more than {ENTRIES} entries: do without second derivatives");
            EvalError::Failed { function, reason }
        };
        let jacobian =
            self.tape.jacobian_pattern(1, ENTRIES).ok_or_else(|| many("the pattern of the Jacobian"))?;
        if !self.second {
            return Ok((jacobian, vec![]));
        }
        let hessian = self.tape.hessian_pattern(ENTRIES).ok_or_else(|| many("the pattern of the Hessian"))?;
        Ok((jacobian, hessian))
    }

    /// Whether all entries are in the patterns.
    fn check_structure(&mut self) -> Result<(), EvalError> {
        let Some(known) = &self.known else { return Ok(()) };
        let structure = self.tape.structure();
        if known.contains(&structure) {
            return Ok(());
        }
        let (jacobian, hessian) = self.entries()?;
        let missing = |function, i: String, j: usize| {
            let variable = self.meta.variable_name(j);
            let reason = format!(
                "lacks ({i}, {variable}), which is used at this point: give the pattern, or a further start point with the same branches"
            );
            Err(EvalError::Failed { function, reason })
        };
        for (i, row) in jacobian.iter().enumerate() {
            if let Some(&j) = row.iter().find(|j| !self.jacobian.places.has(i, **j)) {
                return missing("the pattern of the Jacobian", self.meta.constraint_name(i), j);
            }
        }
        for (j, column) in hessian.iter().enumerate() {
            if let Some(&i) = column.iter().find(|i| !self.hessian_places.has(**i, j)) {
                return missing("the pattern of the Hessian", self.meta.variable_name(i), j);
            }
        }
        if let Some(known) = &mut self.known {
            if known.len() == STRUCTURES {
                known.remove(0);
            }
            known.push(structure);
        }
        Ok(())
    }

    /// f and c without derivatives.
    fn values(&mut self, x: &[f64]) -> f64 {
        self.variables.iter_mut().zip(x).for_each(|(v, x)| *v = Active::from(*x));
        self.constraints.fill(Active::from(0.0));
        (self.function)(&self.variables, &mut self.constraints).value()
    }

    fn jacobian(&mut self, values: &mut [f64]) {
        values.fill(0.0);
        for (row, entries) in &self.jacobian.single {
            self.tape.gradient(std::iter::once((row + 1, 1.0)), &mut self.bars, &mut self.gradient);
            entries.iter().for_each(|&(j, k)| values[k] = self.gradient[j]);
        }
        let Jacobian { columns, places, .. } = &self.jacobian;
        for groups in columns.groups.chunks(LANES) {
            seed(groups, self.meta.n(), &mut self.dots);
            self.tape.tangent(&mut self.dots);
            for (lane, group) in groups.iter().enumerate() {
                for &j in group {
                    let rows = &columns.rows[j];
                    for (i, k) in places.column(j).iter().filter(|e| rows.binary_search(&e.0).is_ok()) {
                        values[*k] = self.tape.output_dot(&self.dots, i + 1)[lane];
                    }
                }
            }
        }
    }
}

/// Directions of groups of variables.
fn seed(groups: &[Vec<usize>], n: usize, dots: &mut Vec<Lane>) {
    dots.clear();
    dots.resize(n, [0.0; LANES]);
    for (lane, group) in groups.iter().enumerate() {
        group.iter().for_each(|&j| dots[j][lane] = 1.0);
    }
}

fn merge(into: &mut Lines, more: Lines) {
    for (into, more) in into.iter_mut().zip(more) {
        into.extend(more);
        into.sort_unstable();
        into.dedup();
    }
}

impl Functions for DualProblem<'_> {
    fn meta_mut(&mut self) -> &mut NlpMeta {
        &mut self.meta
    }
}

impl Nlp for DualProblem<'_> {
    fn meta(&self) -> &NlpMeta {
        &self.meta
    }
    fn obj(&mut self, x: &[f64]) -> Result<f64, EvalError> {
        Ok(self.values(x))
    }
    fn cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<(), EvalError> {
        self.obj_cons(x, c).map(drop)
    }
    fn obj_cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<f64, EvalError> {
        let f = self.values(x);
        c.iter_mut().zip(&self.constraints).for_each(|(c, v)| *c = v.value());
        Ok(f)
    }
    /// Writes the tape anew: the function may have changed since the last solve.
    fn grad(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
        self.tape_at(x, true)?;
        self.tape.gradient(std::iter::once((0, 1.0)), &mut self.bars, g);
        Ok(())
    }
    fn jac_values(&mut self, x: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        self.tape_at(x, false)?;
        self.jacobian(values);
        Ok(())
    }
    fn hess_values(&mut self, x: &[f64], sigma: f64, y: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        self.tape_at(x, false)?;
        values.fill(0.0);
        let weights = std::iter::once(&sigma).chain(y).copied().enumerate().filter(|(_, w)| *w != 0.0);
        self.tape.gradient(weights, &mut self.bars, &mut self.gradient);
        let columns = &self.hessian_columns;
        for groups in columns.groups.chunks(LANES) {
            seed(groups, self.meta.n(), &mut self.dots);
            self.tape.tangent(&mut self.dots);
            self.tape.second_order(&self.bars, &self.dots, &mut self.bar_dots);
            for (lane, group) in groups.iter().enumerate() {
                for &j in group {
                    for &(i, k) in self.hessian_places.column(j) {
                        values[k] = self.bar_dots[i][lane];
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "from_dual_tests.rs"]
mod tests;
