//! Columns that can be differentiated together: no two of a group have an entry in one row (Curtis, Powell, Reid 1974).

/// Columns of a Jacobian or a symmetric matrix: in which rows each has entries, and which are perturbed together.
#[derive(Debug, Default, Clone)]
pub(crate) struct Columns {
    /// Rows of each column, ascending.
    pub rows: Vec<Vec<usize>>,
    /// Columns by group; a column without entries is in none.
    pub groups: Vec<Vec<usize>>,
}

impl Columns {
    /// Greedy groups for entries (row, column), in the order of the columns.
    pub fn new(ncols: usize, entries: impl Iterator<Item = (usize, usize)>) -> Self {
        let rows = rows_of(ncols, entries);
        let groups = groups(&rows, usize::MAX).unwrap_or_default();
        Self { rows, groups }
    }

    /// For the lower triangle of a symmetric matrix; `None` if that takes more than `most` groups.
    pub fn symmetric_within(
        n: usize,
        lower: impl Iterator<Item = (usize, usize)>,
        most: usize,
    ) -> Option<Self> {
        let rows = rows_of(n, lower.flat_map(|(i, j)| [(i, j), (j, i)]));
        let groups = groups(&rows, most)?;
        Some(Self { rows, groups })
    }

    /// For the lower triangle of a symmetric matrix.
    pub fn symmetric(n: usize, lower: impl Iterator<Item = (usize, usize)>) -> Self {
        Self::new(n, lower.flat_map(|(i, j)| [(i, j), (j, i)]))
    }
}

/// Rows of each column, ascending, each once.
fn rows_of(ncols: usize, entries: impl Iterator<Item = (usize, usize)>) -> Vec<Vec<usize>> {
    let mut rows = vec![Vec::new(); ncols];
    entries.for_each(|(i, j)| rows[j].push(i));
    for rows in &mut rows {
        rows.sort_unstable();
        rows.dedup();
    }
    rows
}

fn groups(rows_of: &[Vec<usize>], most: usize) -> Option<Vec<Vec<usize>>> {
    let nrows = rows_of.iter().flatten().max().map_or(0, |last| last + 1);
    let mut groups: Vec<Vec<usize>> = Vec::new();
    // Groups that touch a row, and the column for which a group was last refused.
    let mut groups_of_row = vec![Vec::new(); nrows];
    let mut refused: Vec<usize> = Vec::new();
    for (j, rows) in rows_of.iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
        for &i in rows {
            for &g in &groups_of_row[i] {
                refused[g] = j;
            }
        }
        let g = refused.iter().position(|&last| last != j).unwrap_or(groups.len());
        if g == groups.len() {
            if g == most {
                return None;
            }
            groups.push(Vec::new());
            refused.push(usize::MAX);
        }
        groups[g].push(j);
        for &i in rows {
            groups_of_row[i].push(g);
        }
    }
    Some(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_a_group_share_no_row() {
        let n = 9;
        let tridiagonal = (0..n).flat_map(|j| [(j, j), (j + 1, j)]).filter(|(i, _)| *i < n);
        let columns = Columns::symmetric(n, tridiagonal);
        assert_eq!(columns.groups.len(), 3);
        assert_eq!(columns.rows[4], [3, 4, 5]);
        for group in &columns.groups {
            let mut seen: Vec<usize> = group.iter().flat_map(|&j| columns.rows[j].clone()).collect();
            let count = seen.len();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), count, "{group:?}");
        }
        // An arrow needs one group a column as a symmetric matrix, two as a Jacobian of its last row and the diagonal.
        let arrow = || (0..4).flat_map(|j| [(j, j), (3, j)]);
        assert_eq!(Columns::symmetric(4, arrow()).groups.len(), 4);
        assert!(Columns::symmetric_within(4, arrow(), 4).is_some_and(|c| c.groups.len() == 4));
        assert!(Columns::symmetric_within(4, arrow(), 3).is_none());
        assert_eq!(Columns::new(4, (0..4).map(|j| (j, j))).groups, [vec![0, 1, 2, 3]]);
        // A repeated entry counts once, an empty column belongs to no group.
        let columns = Columns::new(3, [(0, 0), (0, 0), (1, 2)].into_iter());
        assert_eq!((columns.groups, &columns.rows[0]), (vec![vec![0, 2]], &vec![0]));
    }
}
