//! CSV: a header of names, rows of as many values, quotes as in RFC 4180.

use ::csv::{ByteRecord, Position, ReaderBuilder, Trim};

use super::DataError;
use super::table::{Cells, Table};

/// The separator that the header has most of; a comma if it has none.
fn separator(text: &[u8]) -> u8 {
    let header = text.split(|b| *b == b'\n').next().unwrap_or(&[]);
    let count = |s: u8| header.iter().filter(|b| **b == s).count();
    [b'\t', b';', b','].into_iter().max_by_key(|s| count(*s)).unwrap_or(b',')
}

/// The line in which a record begins: its position is where the search for it began, before blank lines and the end of the line above.
fn line_of(bytes: &[u8], from: &Position) -> u64 {
    let rest = bytes.iter().skip(from.byte() as usize).take_while(|b| matches!(b, b'\n' | b'\r'));
    from.line() + rest.filter(|b| **b == b'\n').count() as u64
}

/// Reads a table.
pub(super) fn parse(name: &str, bytes: &[u8]) -> Result<Table, DataError> {
    let wrong =
        |line: Option<u64>, what: String| DataError::Wrong { path: name.into(), line, column: None, what };
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .delimiter(separator(bytes))
        .from_reader(bytes);
    let (mut record, mut names) = (ByteRecord::new(), None::<Vec<String>>);
    let (mut text, mut ends, mut lines) = (String::new(), vec![], vec![]);
    loop {
        let more = reader.read_byte_record(&mut record);
        if !more.map_err(|e| wrong(None, format!("is not CSV: {e}")))? {
            break;
        }
        let line = record.position().map(|p| line_of(bytes, p));
        let utf8 = |b| std::str::from_utf8(b).map_err(|_| wrong(line, "is not UTF-8 text".into()));
        let Some(header) = &names else {
            names = Some(record.iter().map(|b| utf8(b).map(String::from)).collect::<Result<_, _>>()?);
            continue;
        };
        if record.len() != header.len() {
            let (found, want) = (record.len(), header.len());
            let (a, b) =
                (if found == 1 { "value" } else { "values" }, if want == 1 { "name" } else { "names" });
            return Err(wrong(line, format!("has {found} {a}, the header has {want} {b}")));
        }
        for cell in &record {
            text.push_str(utf8(cell)?);
            ends.push(text.len());
        }
        lines.push(line.unwrap_or(0));
    }
    let Some(names) = names else {
        return Err(wrong(None, "is empty: a header of names was expected".into()));
    };
    if lines.is_empty() {
        return Err(wrong(None, "has a header but no rows of data".into()));
    }
    Table::new(name.into(), names, Cells::Text { text, ends }, lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Kind;

    fn fails(text: &str) -> String {
        parse("a.csv", text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn values_quotes_separators() {
        let t =
            parse("a.csv", b"\xef\xbb\xbfx, name ,y\n1,\"a, b\",NA\n\n2.5,\"say \"\"hi\"\"\",3\n").unwrap();
        assert_eq!((t.rows(), t.names()), (2, &["x", "name", "y"].map(String::from)[..]));
        assert_eq!([t.text(0, 1), t.text(1, 1)].map(|c| c.unwrap().into_owned()), ["a, b", "say \"hi\""]);
        assert_eq!((t.number(0, 0).unwrap(), t.number(0, 2).unwrap()), (Some(1.0), None));
        assert_eq!([0, 1, 2].map(|c| t.kind(c)), [Kind::Number, Kind::Text, Kind::Number]);
        // The row after the blank line stands in line 4.
        assert_eq!(t.wrong(1, 1, "?").to_string(), "a.csv: line 4, column \"name\": ?");
        assert_eq!(
            t.number(1, 1).unwrap_err().to_string(),
            "a.csv: line 4, column \"name\": \"say \\\"hi\\\"\" is not a number"
        );
        let t = parse("a.csv", b"x;y\n1,5;2\n").unwrap();
        assert_eq!(t.text(0, 0).unwrap(), "1,5");
        assert_eq!(parse("a.csv", b"x\ty\n1\t2\n").unwrap().number(0, 1).unwrap(), Some(2.0));
    }

    #[test]
    fn what_is_wrong_is_one_sentence() {
        for (text, want) in [
            ("", "a.csv: is empty"),
            ("x,y\n", "a.csv: has a header but no rows"),
            ("x,y\n1,2\n3\n", "a.csv: line 3: has 1 value, the header has 2 names"),
            ("x,y\r\n1,2\r\n\r\n3\r\n", "a.csv: line 4: has 1 value"),
            ("x,y\n1,\"a\nb\"\n3\n", "a.csv: line 4: has 1 value"),
            ("x,x\n1,2\n", "a.csv: line 1, column \"x\": the name is twice in the header"),
            ("x,\n1,2\n", "column 2 of the header has no name"),
        ] {
            let error = fails(text);
            assert!(error.contains(want) && !error.contains('\n'), "{error}");
        }
        let t = parse("a.csv", b"x\ninf\n").unwrap();
        assert_eq!(t.number(0, 0).unwrap_err().to_string(), "a.csv: line 2, column \"x\": inf is not finite");
        assert!(parse("a.csv", b"x\n\xff\n").unwrap_err().to_string().contains("line 2: is not UTF-8"));
        assert!(
            t.need("y", "the target")
                .unwrap_err()
                .to_string()
                .contains("there is no column \"y\", the target; there are x")
        );
    }
}
