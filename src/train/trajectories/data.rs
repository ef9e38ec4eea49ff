//! Series of states from a table: rows of time and states, of one series or several, at irregular times, with gaps.

use std::collections::HashMap;

use crate::data::{DataError, Table};

/// Which columns are what.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    /// Times, ascending within a series.
    pub time: String,
    /// States; empty: all other columns.
    pub states: Vec<String>,
    /// Names of series; without it there is one.
    pub series: Option<String>,
}

/// One series.
#[derive(Debug, Clone, PartialEq)]
pub struct Trajectory {
    /// Ascending.
    pub times: Vec<f64>,
    /// states x times; NaN where nothing was observed.
    pub values: Vec<f64>,
}

impl Trajectory {
    /// State at a time.
    pub fn row(&self, k: usize, states: usize) -> &[f64] {
        &self.values[k * states..][..states]
    }
    /// The last row of `from..to` at which all states are known.
    pub fn last_complete(&self, from: usize, to: usize, states: usize) -> Option<usize> {
        (from..to).rev().find(|k| self.row(*k, states).iter().all(|v| !v.is_nan()))
    }
}

/// All series in the order of their first rows, and the names of the states.
///
/// # Errors
/// A column that is not there, text, times that do not ascend, a series of one row or with gaps in its first.
pub fn read(table: &Table, columns: &Columns) -> Result<(Vec<Trajectory>, Vec<String>), DataError> {
    let time = table.need(&columns.time, "the time")?;
    let id = columns.series.as_ref().map(|s| table.need(s, "the name of a series")).transpose()?;
    let states: Vec<usize> = if columns.states.is_empty() {
        (0..table.names().len()).filter(|c| *c != time && Some(*c) != id).collect()
    } else {
        columns.states.iter().map(|s| table.need(s, "a state")).collect::<Result<_, _>>()?
    };
    if states.is_empty() || states.contains(&time) {
        return Err(table.wrong(0, time, "besides the time there must be a column of a state"));
    }
    let (mut all, mut places): (Vec<(Trajectory, usize)>, _) = (vec![], HashMap::new());
    for row in 0..table.rows() {
        let name = match id {
            Some(c) => {
                table.text(row, c).ok_or_else(|| table.wrong(row, c, "the series is not named"))?.into_owned()
            }
            None => String::new(),
        };
        let place = *places.entry(name).or_insert(all.len());
        if place == all.len() {
            all.push((Trajectory { times: vec![], values: vec![] }, row));
        }
        let series = &mut all[place].0;
        let t = table.number(row, time)?.ok_or_else(|| table.wrong(row, time, "the time is missing"))?;
        if let Some(last) = series.times.last().filter(|last| **last >= t) {
            let what = format!("time {t} follows {last}: times ascend within a series");
            return Err(table.wrong(row, time, what));
        }
        for &c in &states {
            let v = table.number(row, c)?;
            if v.is_none() && series.times.is_empty() {
                return Err(table.wrong(
                    row,
                    c,
                    "the first row of a series must be complete: it is where the solution starts",
                ));
            }
            series.values.push(v.unwrap_or(f64::NAN));
        }
        series.times.push(t);
    }
    if let Some((_, row)) = all.iter().find(|(s, _)| s.times.len() < 2) {
        return Err(table.wrong(*row, time, "a series needs two rows at least, this one has one"));
    }
    let names = states.iter().map(|c| table.names()[*c].clone()).collect();
    Ok((all.into_iter().map(|(s, _)| s).collect(), names))
}

/// Rows first..end of a series: the first is where a solution starts, the others are what it is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// Which series.
    pub series: usize,
    /// Its first row, which is complete.
    pub first: usize,
    /// Behind its last.
    pub end: usize,
}

/// The rows first..end of a series in sections of at most `window` rows behind each start; a section starts at the last complete row of the one before.
pub fn sections(of: &Trajectory, whole: Section, states: usize, window: Option<usize>) -> Vec<Section> {
    let Some(window) = window else { return vec![whole] };
    let (mut all, mut first) = (vec![], whole.first);
    while first + 1 < whole.end {
        let end = (first + 1 + window).min(whole.end);
        all.push(Section { first, end, ..whole });
        let complete = of.last_complete(first + 1, end, states);
        // Without one the next complete row is the next start.
        let next =
            complete.or_else(|| (end..whole.end).find(|k| of.row(*k, states).iter().all(|v| !v.is_nan())));
        let Some(next) = next.filter(|_| end < whole.end) else { break };
        first = next;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        Table::from_csv("s.csv", text.as_bytes()).unwrap()
    }

    #[test]
    fn series_by_name_with_gaps() {
        let t = table("id,t,x,y\na,0,1,2\nb,5,7,8\na,1,,3\nb,6,9,\na,1.5,4,5\n");
        let columns = Columns { time: "t".into(), series: Some("id".into()), ..Columns::default() };
        let (all, names) = read(&t, &columns).unwrap();
        assert_eq!((names.join(" "), all.len()), ("x y".into(), 2));
        assert_eq!((&all[0].times[..], all[0].row(2, 2)), (&[0.0, 1.0, 1.5][..], &[4.0, 5.0][..]));
        assert!(all[0].row(1, 2)[0].is_nan() && all[1].row(1, 2)[1].is_nan());
        assert_eq!((all[0].last_complete(0, 2, 2), all[0].last_complete(1, 2, 2)), (Some(0), None));
    }

    #[test]
    fn what_is_wrong_is_one_sentence() {
        let columns = Columns { time: "t".into(), series: Some("id".into()), ..Columns::default() };
        for (text, want) in [
            ("id,t,x\na,0,1\na,0,2\n", "s.csv: line 3, column \"t\": time 0 follows 0"),
            (
                "id,t,x\na,0,\na,1,2\n",
                "s.csv: line 2, column \"x\": the first row of a series must be complete",
            ),
            ("id,t,x\na,0,1\nb,1,2\n", "line 2, column \"t\": a series needs two rows"),
            ("id,t,x\na,0,1\na,,2\n", "line 3, column \"t\": the time is missing"),
            ("id,t,x\na,0,1\na,1,z\na,2,3\n", "line 3, column \"x\": \"z\" is not a number"),
            ("id,t\na,0\na,1\n", "there must be a column of a state"),
            ("id,x\na,0\n", "there is no column \"t\", the time"),
        ] {
            let error = read(&table(text), &columns).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
    }

    #[test]
    fn windows_start_where_all_is_known() {
        let nan = f64::NAN;
        let of = Trajectory {
            times: (0..7).map(f64::from).collect(),
            values: vec![0.0, 1.0, nan, 3.0, nan, nan, 6.0],
        };
        let whole = Section { series: 0, first: 0, end: 7 };
        let cut =
            |window| sections(&of, whole, 1, window).iter().map(|s| (s.first, s.end)).collect::<Vec<_>>();
        assert_eq!(cut(None), [(0, 7)]);
        // Row 2 is a gap: the second section starts at row 1.
        assert_eq!(cut(Some(2)), [(0, 3), (1, 4), (3, 6)]);
        assert_eq!(cut(Some(10)), [(0, 7)]);
    }
}
