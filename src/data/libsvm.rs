//! LIBSVM text: a line is a label, then index:value with ascending indices from 1; what is absent is 0, # begins a comment.

use super::DataError;
use super::table::{Cells, Table};

/// Most numbers of a dense table.
const MOST: usize = 1 << 32;

/// Whether the first line that is not empty is a label followed by index:value.
pub(super) fn recognizes(bytes: &[u8]) -> bool {
    let lines =
        bytes.split(|b| *b == b'\n').map(|l| String::from_utf8_lossy(&l[..l.len().min(200)]).into_owned());
    let first = lines.map(|l| l.trim().to_string()).find(|l| !l.is_empty() && !l.starts_with('#'));
    let Some(first) = first else { return false };
    let mut words = first.split_whitespace();
    let label = words.next().is_some_and(|w| w.parse::<f64>().is_ok());
    let pair = |w: &str| w.split_once(':').is_some_and(|(i, _)| i == "qid" || i.parse::<u64>().is_ok());
    label && words.next().is_some_and(pair)
}

/// Reads a dense table with at least `width` columns besides the label.
pub(super) fn parse(name: &str, bytes: &[u8], width: usize) -> Result<Table, DataError> {
    let text = String::from_utf8_lossy(bytes);
    let wrong = |line: usize, what: String| DataError::Wrong {
        path: name.into(),
        line: Some(line as u64 + 1),
        column: None,
        what,
    };
    let (mut labels, mut entries, mut lines, mut width) = (vec![], vec![], vec![], width);
    for (l, line) in text.lines().enumerate() {
        let mut words = line.split('#').next().unwrap_or("").split_whitespace();
        let Some(label) = words.next() else { continue };
        let value = |w: &str| w.parse::<f64>().ok().filter(|v| v.is_finite());
        labels.push(value(label).ok_or_else(|| wrong(l, format!("the label {label:?} is not a number")))?);
        let mut last = 0;
        for word in words {
            let pair = word.split_once(':').and_then(|(i, v)| Some((i.parse::<usize>().ok()?, value(v)?)));
            let Some((index, v)) = pair else {
                return Err(wrong(l, format!("{word:?} is not index:value with a finite number")));
            };
            if index <= last {
                return Err(wrong(l, format!("index {index} follows {last}: indices ascend from 1")));
            }
            (last, width) = (index, width.max(index));
            entries.push((labels.len() - 1, index, v));
        }
        lines.push(l as u64 + 1);
    }
    let numbers = width.checked_add(1).and_then(|w| w.checked_mul(labels.len())).filter(|n| *n <= MOST);
    let Some(numbers) = numbers else {
        let what = format!("{} rows and {width} columns are too many for a table without gaps", labels.len());
        return Err(DataError::Wrong { path: name.into(), line: None, column: None, what });
    };
    let mut values = vec![0.0; numbers];
    labels.iter().enumerate().for_each(|(r, label)| values[r * (width + 1)] = *label);
    entries.iter().for_each(|(r, i, v)| values[r * (width + 1) + i] = *v);
    let names = std::iter::once("label".into()).chain((1..=width).map(|i| i.to_string())).collect();
    Table::new(name.into(), names, Cells::Numbers(values), lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparse_lines_become_dense_rows() {
        let bytes = b"# two rows\n+1 2:0.5 4:-1\n-1 1:3 # last\n";
        assert!(recognizes(bytes) && !recognizes(b"x,y\n1,2\n") && !recognizes(b"1,2\n") && !recognizes(b""));
        let t = parse("a", bytes, 5).unwrap();
        let row = |r| (0..6).map(|c| t.number(r, c).unwrap().unwrap()).collect::<Vec<_>>();
        assert_eq!(
            (row(0), row(1)),
            (vec![1.0, 0.0, 0.5, 0.0, -1.0, 0.0], vec![-1.0, 3.0, 0.0, 0.0, 0.0, 0.0])
        );
        assert_eq!(parse("a", bytes, 0).unwrap().names().len(), 5);
        for (bad, want) in [
            ("1 1:2\nx 1:2\n", "a: line 2: the label \"x\" is not a number"),
            ("1 2:2 1:3\n", "a: line 1: index 1 follows 2"),
            ("1 0:3\n", "index 0 follows 0"),
            ("1 1:x\n", "\"1:x\" is not index:value"),
            ("1 1:inf\n", "is not index:value"),
            ("1 99999999999:1\n", "too many for a table"),
        ] {
            let error = parse("a", bad.as_bytes(), 0).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
    }
}
