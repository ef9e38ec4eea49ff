//! Tables of a study: named columns, one row a measurement.

use serde::Serialize;

/// An entry.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Cell {
    /// A name.
    Text(String),
    /// A whole number.
    Count(u64),
    /// A number; NaN and infinity are null in JSON.
    Number(f64),
    /// Not measured; null in JSON.
    Missing,
}

impl From<&str> for Cell {
    fn from(v: &str) -> Self {
        Self::Text(v.into())
    }
}
impl From<u64> for Cell {
    fn from(v: u64) -> Self {
        Self::Count(v)
    }
}
impl From<usize> for Cell {
    fn from(v: usize) -> Self {
        Self::Count(v as u64)
    }
}
impl From<f64> for Cell {
    fn from(v: f64) -> Self {
        Self::Number(v)
    }
}
impl From<Option<f64>> for Cell {
    fn from(v: Option<f64>) -> Self {
        v.map_or(Self::Missing, Self::Number)
    }
}

impl Cell {
    /// As a number, if it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(v) => Some(*v),
            Self::Count(v) => Some(*v as f64),
            Self::Text(_) | Self::Missing => None,
        }
    }
    /// For people: four digits.
    pub fn short(&self) -> String {
        match self {
            Self::Text(v) => v.clone(),
            Self::Count(v) => v.to_string(),
            Self::Number(v) => short(*v),
            Self::Missing => "-".into(),
        }
    }
    /// With all digits; empty if not measured.
    pub fn exact(&self) -> String {
        match self {
            Self::Text(v) => v.clone(),
            Self::Count(v) => v.to_string(),
            Self::Number(v) => format!("{v:?}"),
            Self::Missing => String::new(),
        }
    }
}

/// Four significant digits, without zeros that say nothing.
pub(super) fn short(v: f64) -> String {
    if v == 0.0 || !v.is_finite() {
        return format!("{v}");
    }
    let text = format!("{v:.3e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        let text = format!("{v:.*}", (3 - exponent).max(0) as usize);
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
    } else if mantissa.contains('.') {
        format!("{}e{exponent}", mantissa.trim_end_matches('0').trim_end_matches('.'))
    } else {
        text
    }
}

/// Named columns and rows of as many cells.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Without rows.
    pub fn new(columns: &[&str]) -> Self {
        Self { columns: columns.iter().map(|c| c.to_string()).collect(), rows: vec![] }
    }
    /// Adds a row; cells that are not given are missing, those beyond the columns are dropped.
    pub fn push(&mut self, mut row: Vec<Cell>) {
        debug_assert_eq!(row.len(), self.columns.len());
        row.resize(self.columns.len(), Cell::Missing);
        self.rows.push(row);
    }
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }
    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
    /// Names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }
    /// The rows.
    pub fn rows(&self) -> &[Vec<Cell>] {
        &self.rows
    }
    fn at(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|c| c == column)
    }
    /// The rows with this cell in this column.
    #[must_use]
    pub fn only(&self, column: &str, cell: impl Into<Cell>) -> Self {
        let (at, cell) = (self.at(column), cell.into());
        let rows = self.rows.iter().filter(|r| at.is_some_and(|at| r[at] == cell)).cloned().collect();
        Self { columns: self.columns.clone(), rows }
    }
    /// The numbers of a column, top to bottom; cells that are none are left out.
    pub fn numbers(&self, column: &str) -> Vec<f64> {
        let Some(at) = self.at(column) else { return vec![] };
        self.rows.iter().filter_map(|r| r[at].number()).collect()
    }
    /// The different cells of a column, in the order of their first rows.
    pub fn values(&self, column: &str) -> Vec<Cell> {
        let mut found: Vec<Cell> = vec![];
        for row in &self.rows {
            if let Some(cell) = self.at(column).map(|at| &row[at]).filter(|c| !found.contains(c)) {
                found.push(cell.clone());
            }
        }
        found
    }
    /// Aligned lines for people.
    pub fn lines(&self) -> Vec<String> {
        let shown: Vec<Vec<String>> = self.rows.iter().map(|r| r.iter().map(Cell::short).collect()).collect();
        let width = |j: usize| {
            let cells = shown.iter().map(|r| r[j].chars().count());
            cells.chain([self.columns[j].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |cells: &[String]| {
            let padded = cells.iter().zip(&widths).map(|(c, w)| format!("{c:>w$}"));
            padded.collect::<Vec<_>>().join("  ")
        };
        std::iter::once(&self.columns).chain(&shown).map(|r| line(r)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases = [0.0, 1.0, 0.5, 0.99931, 1.23456e-7, 123456.0, 1e9, -2.5, f64::NAN, 250.0, 12345678.0];
        let shown = cases.map(short);
        let want = ["0", "1", "0.5", "0.9993", "1.235e-7", "123456", "1e9", "-2.5", "NaN", "250", "1.235e7"];
        assert_eq!(shown, want);
    }

    #[test]
    fn rows_are_selected() {
        let mut t = Table::new(&["kind", "seed", "loss"]);
        t.push(vec!["a".into(), 0u64.into(), 1.5.into()]);
        t.push(vec!["b".into(), 0u64.into(), Cell::Missing]);
        t.push(vec!["a".into(), 1u64.into(), 2.5.into()]);
        assert_eq!(t.only("kind", "a").numbers("loss"), [1.5, 2.5]);
        assert_eq!((t.only("kind", "b").numbers("loss").len(), t.only("no", "a").len()), (0, 0));
        assert_eq!(t.values("kind"), [Cell::from("a"), Cell::from("b")]);
        assert_eq!(
            t.lines(),
            ["kind  seed  loss", "   a     0   1.5", "   b     0     -", "   a     1   2.5"]
        );
    }
}
