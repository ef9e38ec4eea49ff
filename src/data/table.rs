//! Rows and named columns.

use std::borrow::Cow;
use std::collections::HashMap;

use super::DataError;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Numbers.
    Number,
    /// Names of categories.
    Text,
}

/// A table in memory, rows counted from 0.
#[derive(Debug, Clone)]
pub struct Table {
    path: String,
    names: Vec<String>,
    places: HashMap<String, usize>,
    rows: usize,
    cells: Cells,
    /// Line of each row in its file; without a file none.
    lines: Vec<u64>,
}

/// Row after row.
#[derive(Debug, Clone)]
pub(super) enum Cells {
    /// All texts one after another, and where each ends.
    Text {
        text: String,
        ends: Vec<usize>,
    },
    Numbers(Vec<f64>),
    Bytes(Vec<u8>),
}

/// A cell that holds no value.
fn is_missing(text: &str) -> bool {
    matches!(text, "" | "NA" | "N/A" | "n/a" | "NaN" | "nan" | "NAN" | "null" | "NULL" | "?")
}

impl Table {
    pub(super) fn new(
        path: String,
        names: Vec<String>,
        cells: Cells,
        lines: Vec<u64>,
    ) -> Result<Self, DataError> {
        let wrong = |column: &str, what: &str| DataError::Wrong {
            path: path.clone(),
            line: lines.first().map(|_| 1),
            column: Some(column.into()),
            what: what.into(),
        };
        let mut places = HashMap::new();
        for (i, name) in names.iter().enumerate() {
            if name.is_empty() {
                return Err(wrong("", &format!("column {} of the header has no name", i + 1)));
            }
            if places.insert(name.clone(), i).is_some() {
                return Err(wrong(name, "the name is twice in the header"));
            }
        }
        let len = match &cells {
            Cells::Text { ends, .. } => ends.len(),
            Cells::Numbers(v) => v.len(),
            Cells::Bytes(v) => v.len(),
        };
        let rows = len.checked_div(names.len()).unwrap_or(0);
        if rows == 0 || rows * names.len() != len {
            let what = if len == 0 {
                "there are no rows of data".to_string()
            } else {
                format!("{len} values are no whole number of rows of {} columns", names.len())
            };
            return Err(DataError::Wrong { path, line: None, column: None, what });
        }
        Ok(Self { path, names, places, rows, cells, lines })
    }
    /// From numbers, row after row; NaN is a missing value. `name` stands for the file in sentences.
    ///
    /// # Errors
    /// A name twice, no rows, or an incomplete one.
    pub fn from_numbers(name: &str, columns: &[&str], values: Vec<f64>) -> Result<Self, DataError> {
        let columns = columns.iter().map(|c| c.to_string()).collect();
        Self::new(name.into(), columns, Cells::Numbers(values), vec![])
    }
    /// From bytes, grey values for example, row after row.
    ///
    /// # Errors
    /// As for [`Table::from_numbers`].
    pub fn from_bytes(name: &str, columns: Vec<String>, values: Vec<u8>) -> Result<Self, DataError> {
        Self::new(name.into(), columns, Cells::Bytes(values), vec![])
    }
    /// Its file, or what stands for it.
    pub fn path(&self) -> &str {
        &self.path
    }
    /// Names of the columns.
    pub fn names(&self) -> &[String] {
        &self.names
    }
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }
    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }
    /// The column of this name, or a sentence that says which there are.
    ///
    /// # Errors
    /// There is none.
    pub fn need(&self, name: &str, what: &str) -> Result<usize, DataError> {
        self.column(name).ok_or_else(|| {
            let some: Vec<_> = self.names.iter().take(10).map(String::as_str).collect();
            let more = if self.names.len() > 10 { ", ..." } else { "" };
            let what = format!("there is no column {name:?}, {what}; there are {}{more}", some.join(", "));
            DataError::Wrong { path: self.path.clone(), line: None, column: None, what }
        })
    }
    /// A sentence about a cell.
    pub fn wrong(&self, row: usize, column: usize, what: impl Into<String>) -> DataError {
        // A table without lines is in memory: its rows are counted.
        let line = self.lines.get(row).copied();
        let mut what = what.into();
        if line.is_none() {
            what = format!("row {row}: {what}");
        }
        DataError::Wrong { path: self.path.clone(), line, column: self.names.get(column).cloned(), what }
    }
    /// What a column seems to hold: numbers, if more than half of its values are.
    pub fn kind(&self, column: usize) -> Kind {
        if !matches!(self.cells, Cells::Text { .. }) {
            return Kind::Number;
        }
        let (mut numbers, mut texts) = (0, 0);
        for row in 0..self.rows {
            match self.text(row, column) {
                Some(t) if t.parse::<f64>().is_ok() => numbers += 1,
                Some(_) => texts += 1,
                None => {}
            }
        }
        if texts > 0 && numbers <= texts { Kind::Text } else { Kind::Number }
    }
    /// Whether a cell holds no value.
    pub fn is_missing(&self, row: usize, column: usize) -> bool {
        match &self.cells {
            Cells::Text { .. } => self.text(row, column).is_none(),
            Cells::Numbers(v) => v[row * self.names.len() + column].is_nan(),
            Cells::Bytes(_) => false,
        }
    }
    /// A cell as written; none if it is missing.
    pub fn text(&self, row: usize, column: usize) -> Option<Cow<'_, str>> {
        let i = row * self.names.len() + column;
        match &self.cells {
            Cells::Text { text, ends } => {
                let start = if i > 0 { ends[i - 1] } else { 0 };
                let cell = &text[start..ends[i]];
                (!is_missing(cell)).then_some(Cow::Borrowed(cell))
            }
            Cells::Numbers(v) => (!v[i].is_nan()).then(|| Cow::Owned(v[i].to_string())),
            Cells::Bytes(v) => Some(Cow::Owned(v[i].to_string())),
        }
    }
    /// A cell as a number; none if it is missing.
    ///
    /// # Errors
    /// It holds text, or is infinite.
    pub fn number(&self, row: usize, column: usize) -> Result<Option<f64>, DataError> {
        let i = row * self.names.len() + column;
        let value = match &self.cells {
            Cells::Text { .. } => match self.text(row, column) {
                None => return Ok(None),
                Some(t) => {
                    t.parse().map_err(|_| self.wrong(row, column, format!("{t:?} is not a number")))?
                }
            },
            Cells::Numbers(v) => v[i],
            Cells::Bytes(v) => v[i] as f64,
        };
        if value.is_infinite() {
            return Err(self.wrong(row, column, format!("{value} is not finite")));
        }
        Ok((!value.is_nan()).then_some(value))
    }
}
