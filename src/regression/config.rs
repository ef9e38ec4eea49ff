//! `costate fit CONFIG.toml`: what is fitted, and a table of what came out.
//!
//! ```toml
//! data = ["a9a.gz", "w8a.gz"]         # LIBSVM or CSV, relative to the configuration; one row of the table each
//! family = "logistic"                 # logistic, poisson, least-squares, huber
//! start = 1.0
//! [columns]                           # target, ignore, intercept, scale, width
//! [penalty]                           # l2, l1; path = { values, ratio }; folds
//! [constraints]                       # linear, norm_equal, norm_at_most, l1_at_most, random_rows, seed, lower, upper
//! random_rows = 10
//! norm_equal = 1.0
//! [solver]                            # hessian, step, sketch_rows, tolerance, seed, time_limit
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Deserialize;

use super::constraints::{Constraints, LinearRow, Norm};
use super::data_term::DataTerm;
use super::families::Family;
use super::lasso::LassoOptions;
use super::path::{CrossValidation, PathOptions, PathPoint, cross_validate, path};
use super::read::{Design, DesignOptions, read};
use super::solve::{Fitted, Regression, RegressionOptions};
use crate::error::Error;
use crate::linalg::dot;
use crate::observe::StopToken;
use crate::randomized::normal_numbers;

/// A configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Files of data.
    pub data: Vec<PathBuf>,
    /// Which loss.
    pub family: String,
    /// Where Huber's loss becomes linear.
    pub threshold: Option<f64>,
    /// Start of every coefficient.
    #[serde(default)]
    pub start: f64,
    /// Start of every multiplier.
    #[serde(default)]
    pub multiplier: f64,
    /// How columns become coefficients.
    #[serde(default)]
    pub columns: Columns,
    /// Penalties.
    #[serde(default)]
    pub penalty: Penalty,
    /// Constraints.
    #[serde(default)]
    pub constraints: ConstraintsConfig,
    /// How it is solved.
    #[serde(default)]
    pub solver: SolverConfig,
}

/// See [`DesignOptions`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Columns {
    /// Column of the responses; none: `label`.
    pub target: Option<String>,
    /// Columns left out.
    pub ignore: Vec<String>,
    /// A column of ones, which is not penalized.
    pub intercept: bool,
    /// Columns are divided by their root mean square.
    pub scale: bool,
    /// At least this many columns of a LIBSVM file.
    pub width: usize,
}

/// Penalties of all coefficients but the intercept.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Penalty {
    /// L2.
    pub l2: f64,
    /// L1.
    pub l1: f64,
    /// A path over the L1 penalty in its place.
    pub path: Option<PathConfig>,
    /// Folds that choose on the path; 0: none.
    pub folds: usize,
}

/// See [`PathOptions`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PathConfig {
    /// Number of penalties.
    pub values: usize,
    /// Last divided by first.
    pub ratio: f64,
}

impl Default for PathConfig {
    fn default() -> Self {
        Self { values: 50, ratio: 1e-3 }
    }
}

/// Constraints.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConstraintsConfig {
    /// Linear ones, by names of columns.
    pub linear: Vec<LinearConfig>,
    /// |w|_2.
    pub norm_equal: Option<f64>,
    /// Largest |w|_2.
    pub norm_at_most: Option<f64>,
    /// Largest |w|_1.
    pub l1_at_most: Option<f64>,
    /// Equalities A w = b with Gaussian A; b is Gaussian, shortened where no w of the given norm would fulfil them.
    pub random_rows: usize,
    /// Seed of A and b.
    pub seed: u64,
    /// Lower bound of every coefficient.
    pub lower: Option<f64>,
    /// Upper bound of every coefficient.
    pub upper: Option<f64>,
}

/// lower <= sum of coefficient times w <= upper.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinearConfig {
    /// By name of the column.
    pub coefficients: BTreeMap<String, f64>,
    /// Lower side.
    pub lower: Option<f64>,
    /// Upper side.
    pub upper: Option<f64>,
}

/// How it is solved.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SolverConfig {
    /// The Hessians that are compared, each a row of the table: auto, exact, count, sparse-sign, hadamard, uniform-rows, leverage-rows.
    pub hessian: Vec<String>,
    /// auto, quasi-newton, averaged, conjugate-gradients or direct: how a sketched Hessian is used without constraints.
    pub step: String,
    /// Rows of a sketch.
    pub sketch_rows: Option<usize>,
    /// KKT residual.
    pub tolerance: f64,
    /// Seed of sketches and folds.
    pub seed: u64,
    /// Seconds for each row of the table.
    pub time_limit: Option<f64>,
}

impl Default for SolverConfig {
    fn default() -> Self {
        Self {
            hessian: vec!["auto".into()],
            step: "auto".into(),
            sketch_rows: None,
            tolerance: 1e-8,
            seed: 0,
            time_limit: None,
        }
    }
}

/// What came out for a file and a Hessian.
#[derive(Debug, Clone)]
pub struct Row {
    /// The file's name.
    pub data: String,
    /// Rows and columns.
    pub size: (usize, usize),
    /// Constraints besides bounds.
    pub constraints: usize,
    /// The Hessian.
    pub hessian: String,
    /// The fit; none where a path was asked for.
    pub fit: Option<Fitted>,
    /// Seconds of the solve, reading excluded.
    pub seconds: f64,
    /// Names of the coefficients.
    pub names: Vec<String>,
    /// The path.
    pub path: Vec<PathPoint>,
    /// What folds say of the path.
    pub folds: Option<CrossValidation>,
}

impl Row {
    /// Above [`Row::line`].
    pub const HEADING: &str = "data              rows  columns  constraints  hessian         iterations  passes   residual  objective           seconds  end";

    /// One line of the table.
    pub fn line(&self) -> String {
        let (m, n) = self.size;
        let head = format!("{:14} {m:7} {n:8} {:12}  {:14}", self.data, self.constraints, self.hessian);
        if let Some(f) = &self.fit {
            return format!(
                "{head} {:11} {:7} {:10.2e}  {:<18.12e} {:8.2}  {}",
                f.iterations,
                f.passes,
                f.residual,
                f.objective,
                self.seconds,
                f.stop.as_str()
            );
        }
        let total: (u64, u64) =
            self.path.iter().fold((0, 0), |t, p| (t.0 + p.report.iterations, t.1 + p.report.passes));
        let worst = self.path.iter().map(|p| p.report.residual).fold(0.0, f64::max);
        let end = match &self.folds {
            Some(c) => format!(
                "least loss {:.6e} at {:.3e}, one error above at {:.3e}",
                c.loss[c.best], c.points[c.best].penalty, c.points[c.sparsest].penalty
            ),
            None => format!("{} penalties", self.path.len()),
        };
        format!("{head} {:11} {:7} {worst:10.2e}  {:18} {:8.2}  {end}", total.0, total.1, "", self.seconds)
    }
    /// The coefficients by name, or the path: penalty, coefficients that are not zero, loss of rows kept aside.
    pub fn coefficients(&self) -> Vec<String> {
        if let Some(f) = &self.fit {
            return self.names.iter().zip(&f.w).map(|(name, w)| format!("{name} = {w}")).collect();
        }
        let of = |(k, p): (usize, &PathPoint)| {
            let loss = self
                .folds
                .as_ref()
                .map_or(String::new(), |c| format!(", loss {:.6e} +- {:.1e}", c.loss[k], c.error[k]));
            format!("{:.6e}: {} coefficients{loss}", p.penalty, p.report.active)
        };
        self.path.iter().enumerate().map(of).collect()
    }
    /// Everything, for programs.
    pub fn json(&self) -> serde_json::Value {
        let path: Vec<_> = self
            .path
            .iter()
            .map(|p| serde_json::json!({"penalty": p.penalty, "w": p.report.w, "objective": p.report.objective, "residual": p.report.residual}))
            .collect();
        let fit = self.fit.as_ref().map(|f| {
            serde_json::json!({
                "w": f.w, "objective": f.objective, "residual": f.residual, "stop": f.stop.as_str(), "solved": f.solved,
                "iterations": f.iterations, "passes": f.passes, "hessian": f.model.to_string(),
            })
        });
        let folds = self.folds.as_ref().map(
            |c| serde_json::json!({"loss": c.loss, "error": c.error, "best": c.best, "sparsest": c.sparsest}),
        );
        serde_json::json!({
            "data": self.data, "rows": self.size.0, "columns": self.size.1, "constraints": self.constraints,
            "seconds": self.seconds, "names": self.names, "fit": fit, "path": path, "folds": folds,
        })
    }
    /// Everything asked for was solved.
    pub fn solved(&self) -> bool {
        let path = self.path.iter().all(|p| p.report.stop == crate::report::StopReason::Converged);
        self.fit.as_ref().is_none_or(|f| f.solved) && path
    }
}

fn bad(option: &str, what: String) -> Error {
    Error::Option { option: option.into(), what }
}

impl Config {
    /// The loss.
    ///
    /// # Errors
    /// An unknown family, or a threshold of another than Huber's.
    pub fn family(&self) -> Result<Family, Error> {
        let family: Family = self.family.parse().map_err(|e| bad("family", e))?;
        match (family, self.threshold) {
            (Family::Huber { .. }, Some(threshold)) => Ok(Family::Huber { threshold }),
            (_, Some(_)) => Err(bad("threshold", format!("{family} has none"))),
            (_, None) => Ok(family),
        }
    }
    fn options(&self, hessian: &str, stop: &StopToken) -> Result<RegressionOptions, Error> {
        let mut options = RegressionOptions {
            hessian: hessian.parse().map_err(|e| bad("hessian", e))?,
            sketch_rows: self.solver.sketch_rows,
            step: self.solver.step.parse().map_err(|e| bad("step", e))?,
            ..RegressionOptions::default()
        };
        options.optimizer.tolerance = self.solver.tolerance;
        options.optimizer.seed = self.solver.seed;
        options.optimizer.time_limit = self.solver.time_limit;
        options.optimizer.stop = stop.clone();
        options.optimizer.validate()?;
        Ok(options)
    }
    fn constraints(&self, design: &Design) -> Result<Constraints, Error> {
        let (c, n) = (&self.constraints, design.matrix.columns());
        let norm = match (c.norm_equal, c.norm_at_most) {
            (Some(_), Some(_)) => {
                return Err(bad("norm_equal", "norm_at_most is given too: one of them at most".into()));
            }
            (Some(r), None) => Norm::Equal(r),
            (None, Some(r)) => Norm::AtMost(r),
            (None, None) => Norm::Free,
        };
        let mut linear = vec![];
        for row in &c.linear {
            let mut entries = vec![];
            for (name, value) in &row.coefficients {
                let j = design.names.iter().position(|n| n == name);
                let j = j.ok_or_else(|| bad("linear", format!("there is no column {name:?}")))?;
                entries.push((j, *value));
            }
            let (lower, upper) = (row.lower.unwrap_or(f64::NEG_INFINITY), row.upper.unwrap_or(f64::INFINITY));
            linear.push(LinearRow { entries, lower, upper });
        }
        linear.extend(random_equalities(n, c.random_rows, c.seed, &norm)?);
        let bound = |b: Option<f64>| b.map_or(vec![], |v| vec![v; n]);
        Ok(Constraints { linear, norm, l1_norm: c.l1_at_most, lower: bound(c.lower), upper: bound(c.upper) })
    }
    /// Fits everything that was asked for, file after file; `say` hears each row as soon as it is there. Paths of data are relative to `base`.
    ///
    /// # Errors
    /// Options out of range, files that cannot be read, or constraints that contradict each other.
    pub fn run(&self, base: &Path, stop: &StopToken, say: &mut dyn FnMut(&Row)) -> Result<Vec<Row>, Error> {
        let family = self.family()?;
        if self.data.is_empty() || self.solver.hessian.is_empty() {
            return Err(bad("data", "no file of data, or no Hessian, is named".into()));
        }
        for (name, penalty) in [("penalty.l2", self.penalty.l2), ("penalty.l1", self.penalty.l1)] {
            if penalty < 0.0 || !penalty.is_finite() {
                return Err(bad(name, format!("{penalty}, expected a number of at least 0")));
            }
        }
        for hessian in &self.solver.hessian {
            self.options(hessian, stop)?;
        }
        let mut rows = vec![];
        for file in &self.data {
            let design = read(&base.join(file), family, &self.design())?;
            let constraints = self.constraints(&design)?;
            let free: Vec<usize> = design.intercept.into_iter().collect();
            let n = design.matrix.columns();
            let fit = Regression::new(family, design.matrix.clone(), design.responses.clone())?
                .penalties(self.penalty.l2, self.penalty.l1, &free)
                .constraints(constraints)
                .start(vec![self.start; n], self.multiplier);
            for hessian in &self.solver.hessian {
                let row = self.row(file, hessian, (&fit, &design), stop)?;
                say(&row);
                rows.push(row);
                if stop.check().is_some() {
                    return Ok(rows);
                }
            }
        }
        Ok(rows)
    }
    fn design(&self) -> DesignOptions {
        let c = &self.columns;
        DesignOptions {
            target: c.target.clone().unwrap_or_else(|| "label".into()),
            ignore: c.ignore.clone(),
            intercept: c.intercept,
            scale: c.scale,
            width: c.width,
        }
    }
    fn row(
        &self,
        file: &Path,
        hessian: &str,
        (fit, design): (&Regression, &Design),
        stop: &StopToken,
    ) -> Result<Row, Error> {
        let options = self.options(hessian, stop)?;
        let begun = Instant::now();
        let n = design.matrix.columns();
        let mut row = Row {
            data: file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            size: (design.matrix.rows(), n),
            constraints: fit.constraints.linear.len() + usize::from(fit.constraints.norm != Norm::Free),
            hessian: hessian.into(),
            fit: None,
            seconds: 0.0,
            names: design.names.clone(),
            path: vec![],
            folds: None,
        };
        if let Some(path_config) = &self.penalty.path {
            if !fit.constraints.is_empty() {
                return Err(bad("path", "a path is for fits without constraints".into()));
            }
            let lasso = LassoOptions {
                hessian: options.hessian,
                sketch_rows: options.sketch_rows,
                tolerance: options.optimizer.tolerance,
                seed: options.optimizer.seed,
                stop: stop.clone(),
                ..LassoOptions::default()
            };
            let options = PathOptions { values: path_config.values, ratio: path_config.ratio, lasso };
            let mut penalized = vec![true; n];
            design.intercept.into_iter().for_each(|j| penalized[j] = false);
            if self.penalty.folds > 0 {
                let chosen = cross_validate(
                    (fit.family, &fit.rows),
                    &fit.l2,
                    &penalized,
                    self.penalty.folds,
                    &options,
                )?;
                row.path.clone_from(&chosen.points);
                row.folds = Some(chosen);
            } else {
                let mut term = DataTerm::new(fit.family, fit.rows.clone());
                row.path = path(&mut term, &fit.l2, &penalized, &options)?;
            }
        } else {
            row.fit = Some(fit.solve(&options)?);
        }
        row.seconds = begun.elapsed().as_secs_f64();
        Ok(row)
    }
}

/// A w = b with Gaussian A. With |w| = r or <= r asked for, b is scaled so that the shortest solution has half that length: there are points to choose from.
fn random_equalities(n: usize, rows: usize, seed: u64, norm: &Norm) -> Result<Vec<LinearRow>, Error> {
    if rows == 0 {
        return Ok(vec![]);
    }
    if rows >= n {
        return Err(bad("random_rows", format!("found {rows}, expected fewer than the {n} coefficients")));
    }
    let (a, mut b) = (normal_numbers(rows * n, seed), normal_numbers(rows, seed ^ 0xb));
    if let Norm::Equal(r) | Norm::AtMost(r) = norm {
        // |A^+ b|^2 = b' (A A')^-1 b.
        let mut gram = vec![0.0; rows * rows];
        for i in 0..rows {
            for j in 0..rows {
                gram[j * rows + i] = dot(&a[i * n..(i + 1) * n], &a[j * n..(j + 1) * n]);
            }
        }
        let factor = crate::randomized::Factor::of_gram(rows, &gram)?;
        let mut z = b.clone();
        factor.solve_transposed(&mut z);
        let shortest = crate::linalg::norm2(&z);
        if shortest > 0.5 * r {
            b.iter_mut().for_each(|v| *v *= 0.5 * r / shortest);
        }
    }
    let row = |k: usize| {
        let entries = (0..n).map(|j| (j, a[k * n + j])).collect();
        LinearRow { entries, lower: b[k], upper: b[k] }
    };
    Ok((0..rows).map(row).collect())
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
