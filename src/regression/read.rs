//! Design matrices from files: LIBSVM and CSV.

use std::path::Path;
use std::sync::Arc;

use super::families::Family;
use crate::data::{DataError, Table};
use crate::error::Error;
use crate::randomized::TallMatrix;

/// How the columns of a file become a design matrix.
#[derive(Debug, Clone)]
pub struct DesignOptions {
    /// The column of responses; `label` in LIBSVM files.
    pub target: String,
    /// Columns that are left out.
    pub ignore: Vec<String>,
    /// A last column of ones.
    pub intercept: bool,
    /// Columns are divided by their root mean square.
    pub scale: bool,
    /// At least this many columns of a LIBSVM file.
    pub width: usize,
}

impl Default for DesignOptions {
    fn default() -> Self {
        Self { target: "label".into(), ignore: vec![], intercept: false, scale: false, width: 0 }
    }
}

/// Rows of a file, ready for a regression.
#[derive(Debug, Clone)]
pub struct Design {
    /// The design matrix; sparse where less than a third of the entries is not zero.
    pub matrix: Arc<TallMatrix>,
    /// Responses; -1 and 1 for the lesser and the greater of two labels in logistic regression.
    pub responses: Vec<f64>,
    /// Names of the columns.
    pub names: Vec<String>,
    /// Index of the column of ones.
    pub intercept: Option<usize>,
}

fn wrong(error: DataError) -> Error {
    Error::Problem { name: "data".into(), what: error.to_string() }
}

/// Reads a LIBSVM or CSV file, packed or not.
///
/// # Errors
/// The file cannot be read, a value is missing or no number, or the responses are none of the family.
pub fn read(path: &Path, family: Family, options: &DesignOptions) -> Result<Design, Error> {
    let table = Table::open(path, options.width).map_err(wrong)?;
    let target = table.need(&options.target, "the responses").map_err(wrong)?;
    for name in &options.ignore {
        table.need(name, "which is to be ignored").map_err(wrong)?;
    }
    let kept: Vec<usize> = (0..table.names().len())
        .filter(|c| *c != target && !options.ignore.contains(&table.names()[*c]))
        .collect();
    let n = kept.len() + usize::from(options.intercept);
    let number = |row: usize, column: usize| -> Result<f64, Error> {
        let value = table.number(row, column).map_err(wrong)?;
        value.ok_or_else(|| wrong(table.wrong(row, column, "a value is missing")))
    };
    let mut scales = vec![1.0; n];
    if options.scale {
        for (scale, c) in scales.iter_mut().zip(&kept) {
            let mut squares = 0.0;
            for row in 0..table.rows() {
                squares += number(row, *c)?.powi(2);
            }
            let root = (squares / table.rows() as f64).sqrt();
            *scale = if root > 0.0 { root } else { 1.0 };
        }
    }
    let (mut start, mut column, mut value) = (vec![0], vec![], vec![]);
    let mut responses = Vec::with_capacity(table.rows());
    for row in 0..table.rows() {
        responses.push(number(row, target)?);
        for (j, c) in kept.iter().enumerate() {
            let v = number(row, *c)?;
            if v != 0.0 {
                column.push(j as u32);
                value.push(v / scales[j]);
            }
        }
        if options.intercept {
            column.push((n - 1) as u32);
            value.push(1.0);
        }
        start.push(column.len());
    }
    if family == Family::Logistic {
        two_classes(&mut responses, &format!("{}: column {:?}", path.display(), options.target))?;
    }
    let mut names: Vec<String> = kept.iter().map(|c| table.names()[*c].clone()).collect();
    if options.intercept {
        names.push("intercept".into());
    }
    let matrix = if 3 * value.len() < table.rows() * n {
        TallMatrix::sparse(n, start, column, value)?
    } else {
        let mut dense = vec![0.0; table.rows() * n];
        for row in 0..table.rows() {
            for k in start[row]..start[row + 1] {
                dense[row * n + column[k] as usize] = value[k];
            }
        }
        TallMatrix::dense(table.rows(), n, dense)?
    };
    Ok(Design { matrix: Arc::new(matrix), responses, names, intercept: options.intercept.then(|| n - 1) })
}

/// The lesser label becomes -1, the greater 1.
fn two_classes(responses: &mut [f64], place: &str) -> Result<(), Error> {
    let low = responses.iter().copied().fold(f64::INFINITY, f64::min);
    let high = responses.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let other = responses.iter().find(|y| **y != low && **y != high);
    if other.is_some() || low == high {
        let what = match other {
            Some(y) => {
                format!("{place} has {low}, {high} and {y}: logistic regression has two classes")
            }
            None => format!("{place} has one class only, {low}"),
        };
        return Err(Error::Problem { name: "data".into(), what });
    }
    responses.iter_mut().for_each(|y| *y = if *y == low { -1.0 } else { 1.0 });
    Ok(())
}
