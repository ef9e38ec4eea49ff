//! Columns to numbers: standardization, categories, missing values. What it learned of the rows trained on is all that later rows need.
//!
//! ```text
//! a number column       (v - mean) / scale, scale the standard deviation (divided by n); one that has missing values: 0 in their place, and a second input, 1 there and 0 elsewhere
//! a category column     one input a category, 1 for the row's own and 0 for the others; a missing one, where that is allowed, is a category of its own
//! ```

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::DataError;
use super::table::{Kind, Table};

/// What a missing value of an input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// An error that names line and column.
    #[default]
    Refuse,
    /// The column's mean, and a 1 in an input that says so.
    Mean,
}

/// A number v becomes (v - mean) / scale.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    /// Of the column.
    pub name: String,
    /// Mean.
    pub mean: f64,
    /// Standard deviation; 1 for a constant column.
    pub scale: f64,
}

/// One column of inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// Numbers.
    Number {
        /// Mean and standard deviation.
        #[serde(flatten)]
        of: Scale,
        /// Whether a second input says that a value is missing.
        missing: bool,
    },
    /// Names.
    Category {
        /// Of the column.
        name: String,
        /// Its categories, in order.
        categories: Vec<String>,
        /// Whether a missing value is one more category.
        missing: bool,
    },
}

impl Input {
    /// Numbers that it becomes.
    pub fn width(&self) -> usize {
        match self {
            Self::Number { missing, .. } => 1 + *missing as usize,
            Self::Category { categories, missing, .. } => categories.len() + *missing as usize,
        }
    }
    /// Its column.
    pub fn name(&self) -> &str {
        match self {
            Self::Number { of, .. } => &of.name,
            Self::Category { name, .. } => name,
        }
    }
}

/// What is predicted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Targets {
    /// Numbers, one a column.
    Numbers(Vec<Scale>),
    /// One of several classes, by its place in the list.
    Classes {
        /// Of the column.
        name: String,
        /// In order.
        names: Vec<String>,
    },
}

impl Targets {
    /// Numbers of one row's target.
    pub fn width(&self) -> usize {
        match self {
            Self::Numbers(all) => all.len(),
            Self::Classes { .. } => 1,
        }
    }
}

/// Which columns are what.
#[derive(Debug, Clone, Default)]
pub struct EncoderOptions {
    /// Columns to predict, at least one.
    pub targets: Vec<String>,
    /// Whether the target is a class; by default if it is text.
    pub classes: Option<bool>,
    /// Columns of inputs; empty: all that are nothing else.
    pub inputs: Vec<String>,
    /// Columns that are no inputs.
    pub ignore: Vec<String>,
    /// Columns of categories, even if they look like numbers.
    pub categorical: Vec<String>,
    /// Column of the rows' weights.
    pub weight: Option<String>,
    /// What a missing input is.
    pub missing: Missing,
    /// Inputs as they are: mean 0 and scale 1.
    pub raw_inputs: bool,
    /// Targets as they are.
    pub raw_targets: bool,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Encoder {
    inputs: Vec<Input>,
    targets: Targets,
    weight: Option<String>,
}

/// Categories a column may have without being told so, in a table of many rows.
const MANY: usize = 100;

impl Encoder {
    /// Learns means and deviations from these rows; categories, classes, and which columns have missing values, from all.
    ///
    /// # Errors
    /// A column that is not there, text in a column of numbers, a missing target, a target with one class.
    pub fn fit(table: &Table, rows: &[usize], options: &EncoderOptions) -> Result<Self, DataError> {
        let mut taken = BTreeSet::new();
        for (names, what) in [
            (&options.targets, "the target"),
            (&options.ignore, "to be ignored"),
            (&options.inputs, "an input"),
            (&options.categorical, "of categories"),
            (&options.weight.iter().cloned().collect(), "of weights"),
        ] {
            for name in names {
                let column = table.need(name, what)?;
                if !matches!(what, "an input" | "of categories") {
                    taken.insert(column);
                } else if taken.contains(&column) && what == "an input" {
                    return Err(table_wrong(table, name, "is an input and something else at once"));
                }
            }
        }
        let targets = fit_targets(table, rows, options)?;
        let columns: Vec<usize> = if options.inputs.is_empty() {
            (0..table.names().len()).filter(|c| !taken.contains(c)).collect()
        } else {
            options.inputs.iter().filter_map(|n| table.column(n)).collect()
        };
        if columns.is_empty() {
            let first = options.targets.first().map_or("", String::as_str);
            return Err(table_wrong(table, first, "besides it there is no column left for an input"));
        }
        let inputs = columns.iter().map(|c| fit_input(table, rows, *c, options)).collect::<Result<_, _>>()?;
        Ok(Self { inputs, targets, weight: options.weight.clone() })
    }
    /// The class of every row if the target is one, by its place in their list: what splits are balanced by.
    ///
    /// # Errors
    /// As for [`Encoder::fit`].
    pub fn classes(table: &Table, options: &EncoderOptions) -> Result<Option<Vec<usize>>, DataError> {
        for name in &options.targets {
            table.need(name, "the target")?;
        }
        let rows: Vec<usize> = (0..table.rows()).collect();
        let targets = fit_targets(table, &rows, options)?;
        if matches!(targets, Targets::Numbers(_)) {
            return Ok(None);
        }
        let only = Self { inputs: vec![], targets, weight: None };
        Ok(Some(only.targets(table, &rows)?.into_iter().map(|v| v as usize).collect()))
    }
    /// Numbers of one row's input.
    pub fn width(&self) -> usize {
        self.inputs.iter().map(Input::width).sum()
    }
    /// The columns of inputs.
    pub fn columns(&self) -> &[Input] {
        &self.inputs
    }
    /// What is predicted.
    pub fn target(&self) -> &Targets {
        &self.targets
    }

    /// The inputs of these rows, one after another.
    ///
    /// # Errors
    /// A column that is not there, a category that was not in the data trained on, a missing or infinite value.
    pub fn inputs(&self, table: &Table, rows: &[usize]) -> Result<Vec<f64>, DataError> {
        let places: Vec<usize> =
            self.inputs.iter().map(|i| table.need(i.name(), "an input")).collect::<Result<_, _>>()?;
        let mut out = Vec::with_capacity(rows.len() * self.width());
        for &row in rows {
            for (input, &c) in self.inputs.iter().zip(&places) {
                input.encode(table, row, c, &mut out)?;
            }
        }
        Ok(out)
    }
    /// The targets of these rows; of a class its place.
    ///
    /// # Errors
    /// As for [`Encoder::inputs`].
    pub fn targets(&self, table: &Table, rows: &[usize]) -> Result<Vec<f64>, DataError> {
        let mut out = Vec::with_capacity(rows.len() * self.targets.width());
        match &self.targets {
            Targets::Numbers(all) => {
                let places: Vec<usize> =
                    all.iter().map(|s| table.need(&s.name, "the target")).collect::<Result<_, _>>()?;
                for &row in rows {
                    for (s, &c) in all.iter().zip(&places) {
                        let v = table.number(row, c)?;
                        let v = v.ok_or_else(|| table.wrong(row, c, "the target is missing"))?;
                        out.push((v - s.mean) / s.scale);
                    }
                }
            }
            Targets::Classes { name, names } => {
                let c = table.need(name, "the target")?;
                let number = names.iter().all(|n| n.parse::<f64>().is_ok());
                for &row in rows {
                    let found = class_of(table, row, c, number)?;
                    let place = names.iter().position(|n| *n == found);
                    out.push(place.ok_or_else(|| {
                        table.wrong(row, c, format!("the class {found:?} was not in the data trained on"))
                    })? as f64);
                }
            }
        }
        Ok(out)
    }
    /// Weights of these rows, 1 where there is no column of them.
    ///
    /// # Errors
    /// A weight that is missing, negative or infinite.
    pub fn weights(&self, table: &Table, rows: &[usize]) -> Result<Vec<f64>, DataError> {
        let Some(name) = &self.weight else { return Ok(vec![1.0; rows.len()]) };
        let c = table.need(name, "of weights")?;
        let weight = |row: &usize| match table.number(*row, c)? {
            Some(w) if w >= 0.0 => Ok(w),
            _ => Err(table.wrong(*row, c, "a weight must be a number that is at least zero")),
        };
        rows.iter().map(weight).collect()
    }
}

fn table_wrong(table: &Table, column: &str, what: &str) -> DataError {
    DataError::Wrong { path: table.path().into(), line: None, column: Some(column.into()), what: what.into() }
}

/// The name of a row's class: a number in its shortest form, so that 1 and 1.0 are the same.
fn class_of(table: &Table, row: usize, column: usize, number: bool) -> Result<String, DataError> {
    let missing = || table.wrong(row, column, "the target is missing");
    if !number {
        return Ok(table.text(row, column).ok_or_else(missing)?.into_owned());
    }
    let v = table.number(row, column)?.ok_or_else(missing)?;
    if v.fract() != 0.0 {
        return Err(table.wrong(row, column, format!("{v} is no class: classes are texts or integers")));
    }
    Ok(v.to_string())
}

fn fit_targets(table: &Table, rows: &[usize], options: &EncoderOptions) -> Result<Targets, DataError> {
    let columns: Vec<usize> = options.targets.iter().filter_map(|t| table.column(t)).collect();
    let Some(&first) = columns.first() else {
        return Err(table_wrong(table, "", "no column to predict is named"));
    };
    let text = table.kind(first) == Kind::Text;
    if !options.classes.unwrap_or(text) {
        let fit = |c: &usize| {
            let mut values = Vec::with_capacity(rows.len());
            for &r in rows {
                let v = table.number(r, *c)?;
                values.push(v.ok_or_else(|| table.wrong(r, *c, "the target is missing"))?);
            }
            Ok(scale(&table.names()[*c], &values, options.raw_targets))
        };
        return Ok(Targets::Numbers(columns.iter().map(fit).collect::<Result<_, _>>()?));
    }
    let name = table.names()[first].clone();
    if columns.len() > 1 {
        return Err(table_wrong(table, &name, "classes are one target column, not several"));
    }
    let mut names = BTreeSet::new();
    for row in 0..table.rows() {
        names.insert(class_of(table, row, first, !text)?);
    }
    let mut names: Vec<String> = names.into_iter().collect();
    if !text {
        let value = |n: &String| n.parse::<f64>().unwrap_or(0.0);
        names.sort_by(|a, b| value(a).total_cmp(&value(b)));
    }
    if names.len() < 2 {
        let what = format!("all rows are of one class, {:?}", names.first().map_or("", String::as_str));
        return Err(table_wrong(table, &name, &what));
    }
    if names.len() > MANY && 2 * names.len() > table.rows() {
        let what = format!(
            "{} classes in {} rows: with numbers as targets leave `classes` out",
            names.len(),
            table.rows()
        );
        return Err(table_wrong(table, &name, &what));
    }
    Ok(Targets::Classes { name, names })
}

/// Mean and standard deviation.
fn scale(name: &str, values: &[f64], raw: bool) -> Scale {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let scale = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
    if raw || values.is_empty() || !mean.is_finite() {
        return Scale { name: name.into(), mean: 0.0, scale: 1.0 };
    }
    // Of equal values only rounding is left.
    let constant = !scale.is_finite() || scale <= 1e-13 * mean.abs();
    Scale { name: name.into(), mean, scale: if constant { 1.0 } else { scale } }
}

fn fit_input(table: &Table, rows: &[usize], c: usize, options: &EncoderOptions) -> Result<Input, DataError> {
    let name = table.names()[c].clone();
    let told = options.categorical.contains(&name);
    let gap = (0..table.rows()).find(|r| table.is_missing(*r, c));
    if let Some(row) = gap.filter(|_| options.missing == Missing::Refuse) {
        return Err(table.wrong(row, c, "a value is missing (`missing = \"mean\"` allows it)"));
    }
    if told || table.kind(c) == Kind::Text {
        let all = (0..table.rows()).filter_map(|r| Some(table.text(r, c)?.into_owned()));
        let categories: Vec<String> = all.collect::<BTreeSet<_>>().into_iter().collect();
        if !told && categories.len() > MANY && 2 * categories.len() > table.rows() {
            let what = format!(
                "{} different texts in {} rows are no categories: leave the column out (`ignore`), or list it in `categorical`",
                categories.len(),
                table.rows()
            );
            return Err(table_wrong(table, &name, &what));
        }
        return Ok(Input::Category { name, categories, missing: gap.is_some() });
    }
    let mut values = Vec::with_capacity(rows.len());
    for &r in rows {
        values.extend(table.number(r, c)?);
    }
    // Text and infinities of rows that are kept aside are found here, not at the end of training.
    for r in 0..table.rows() {
        table.number(r, c)?;
    }
    Ok(Input::Number { of: scale(&name, &values, options.raw_inputs), missing: gap.is_some() })
}

impl Input {
    fn encode(&self, table: &Table, row: usize, c: usize, out: &mut Vec<f64>) -> Result<(), DataError> {
        let gap = || table.wrong(row, c, "a value is missing, and none was in the data trained on");
        match self {
            Self::Number { of, missing } => {
                let v = table.number(row, c)?;
                if v.is_none() && !missing {
                    return Err(gap());
                }
                out.push(v.map_or(0.0, |v| (v - of.mean) / of.scale));
                if *missing {
                    out.push(v.is_none() as u8 as f64);
                }
            }
            Self::Category { categories, missing, .. } => {
                let place = match table.text(row, c) {
                    None if *missing => categories.len(),
                    None => return Err(gap()),
                    Some(v) => categories.iter().position(|k| *k == v).ok_or_else(|| {
                        table.wrong(row, c, format!("the category {v:?} was not in the data trained on"))
                    })?,
                };
                let width = self.width();
                out.extend((0..width).map(|k| (k == place) as u8 as f64));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "age,town,y\n20,Bern,1\n40,Genf,2\n,Bern,3\n60,,6\n";

    fn options(target: &str) -> EncoderOptions {
        EncoderOptions { targets: vec![target.into()], missing: Missing::Mean, ..EncoderOptions::default() }
    }

    #[test]
    fn numbers_categories_and_gaps() {
        let table = Table::from_csv("a.csv", TEXT.as_bytes()).unwrap();
        let e = Encoder::fit(&table, &[0, 1, 2], &options("y")).unwrap();
        // age with its indicator; Bern, Genf, missing.
        assert_eq!(e.width(), 5);
        let x = e.inputs(&table, &[0, 2, 3]).unwrap();
        // Mean 30 and deviation 10 of the rows trained on.
        assert_eq!(x, [-1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 1.0]);
        let y = e.targets(&table, &[0, 1, 2, 3]).unwrap();
        let s = (2.0f64 / 3.0).sqrt();
        assert_eq!(y, [-1.0 / s, 0.0, 1.0 / s, 4.0 / s]);
        assert_eq!(e.weights(&table, &[0, 1]).unwrap(), [1.0, 1.0]);
        let text = serde_json::to_string(&e).unwrap();
        assert_eq!(serde_json::from_str::<Encoder>(&text).unwrap(), e);
        let other = Table::from_csv("b.csv", b"town,age\nBasel,3\n").unwrap();
        let error = e.inputs(&other, &[0]).unwrap_err().to_string();
        assert_eq!(
            error,
            "b.csv: line 2, column \"town\": the category \"Basel\" was not in the data trained on"
        );
    }

    #[test]
    fn classes_in_their_order() {
        let table = Table::from_csv("a.csv", b"x,k,w\n1,10,2\n2,9,0\n3,10.0,1\n").unwrap();
        let o = EncoderOptions { classes: Some(true), weight: Some("w".into()), ..options("k") };
        let e = Encoder::fit(&table, &[0, 1, 2], &o).unwrap();
        assert_eq!(e.target(), &Targets::Classes { name: "k".into(), names: vec!["9".into(), "10".into()] });
        assert_eq!(e.targets(&table, &[0, 1, 2]).unwrap(), [1.0, 0.0, 1.0]);
        assert_eq!((e.weights(&table, &[0, 1, 2]).unwrap(), e.width()), (vec![2.0, 0.0, 1.0], 1));
    }

    #[test]
    fn what_is_wrong_is_one_sentence() {
        let fit = |text: &str, o: &EncoderOptions| {
            let table = Table::from_csv("a.csv", text.as_bytes()).unwrap();
            let rows: Vec<usize> = (0..table.rows()).collect();
            Encoder::fit(&table, &rows, o).map(|_| ()).unwrap_err().to_string()
        };
        let refuse = EncoderOptions { missing: Missing::Refuse, ..options("y") };
        let classes = EncoderOptions { classes: Some(true), ..options("y") };
        for (text, o, want) in [
            ("x,y\n1,2\n", &options("z"), "a.csv: there is no column \"z\", the target; there are x, y"),
            ("x,y\n1,2\n,3\n", &refuse, "line 3, column \"x\": a value is missing"),
            ("x,y\n1,2\n2,\n", &options("y"), "line 3, column \"y\": the target is missing"),
            ("x,y\n1,2\n2,3\nabc,4\n", &options("y"), "line 4, column \"x\": \"abc\" is not a number"),
            ("x,y\n1,a\n2,a\n", &options("y"), "all rows are of one class, \"a\""),
            ("x,y\n1,0.5\n2,1\n", &classes, "0.5 is no class"),
            ("y\n1\n", &options("y"), "no column left for an input"),
        ] {
            let error = fit(text, o);
            assert!(error.contains(want) && !error.contains('\n'), "{error}");
        }
    }
}
