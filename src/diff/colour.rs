//! Columns that can be differentiated together: no two of a group have an entry in one row (Curtis, Powell, Reid 1974).

use crate::linalg::Pattern;
use crate::linalg::order::reverse_cuthill_mckee;

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
    greedy(nrows, |j| &rows_of[j], 0..rows_of.len(), most)
}

/// Each column, in this order, goes to the first group with which it shares no row; `None` beyond `most` groups.
fn greedy<'a>(
    nrows: usize,
    rows_of: impl Fn(usize) -> &'a [usize],
    order: impl Iterator<Item = usize>,
    most: usize,
) -> Option<Vec<Vec<usize>>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    // Groups that touch a row, and the column for which a group was last refused.
    let mut groups_of_row = vec![Vec::new(); nrows];
    let mut refused: Vec<usize> = Vec::new();
    for j in order {
        let rows = rows_of(j);
        if rows.is_empty() {
            continue;
        }
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

/// Groups of columns that share no row (a distance-2 colouring): as many products or differences give the whole Jacobian.
///
/// The fewest of: greedy by decreasing number of columns that a column shares rows with (Coleman and More 1983), ties in the order of the
/// columns; greedy in the order of reverse Cuthill-McKee, which finds the least possible number for a band that is only out of order; and
/// for a square band of l + u diagonals beside the main one, columns by their remainder modulo l + u + 1. A column without entries is in no group.
pub fn colour(a: &Pattern) -> Vec<Vec<usize>> {
    let (lower, upper) = a.bandwidth();
    let width = lower + upper + 1;
    let (rows, _) = a.transpose();
    let longest = (0..a.nrows()).map(|i| rows.column(i).len()).max().unwrap_or(0);
    if longest == width {
        return residues(a, width);
    }
    if longest == a.ncols() {
        return (0..a.ncols()).map(|j| vec![j]).collect();
    }
    let shared = neighbours(a, &rows);
    let mut order: Vec<usize> = (0..a.ncols()).collect();
    order.sort_by_key(|&j| std::cmp::Reverse(shared[j]));
    let mut found = greedy(a.nrows(), |j| a.column(j), order.into_iter(), usize::MAX).unwrap_or_default();
    if a.nrows() == a.ncols() && found.len() > longest {
        let (order, most) = (reverse_cuthill_mckee(a), found.len() - 1);
        if let Some(better) = greedy(a.nrows(), |j| a.column(j), order.into_iter(), most) {
            found = better;
        }
    }
    if width < found.len() { residues(a, width) } else { found }
}

fn residues(a: &Pattern, width: usize) -> Vec<Vec<usize>> {
    let mut groups = vec![Vec::new(); width.min(a.ncols())];
    (0..a.ncols()).filter(|&j| !a.column(j).is_empty()).for_each(|j| groups[j % width].push(j));
    groups.retain(|g| !g.is_empty());
    groups
}

/// Columns that each column shares a row with, itself included.
fn neighbours(a: &Pattern, rows: &Pattern) -> Vec<usize> {
    let mut last = vec![usize::MAX; a.ncols()];
    let mut count = |j: usize| {
        let mut count = 0;
        for &i in a.column(j) {
            for &k in rows.column(i) {
                if last[k] != j {
                    last[k] = j;
                    count += 1;
                }
            }
        }
        count
    };
    (0..a.ncols()).map(&mut count).collect()
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

    fn assert_proper(a: &Pattern, groups: &[Vec<usize>]) {
        let mut all: Vec<usize> = groups.concat();
        for group in groups {
            let mut rows: Vec<usize> = group.iter().flat_map(|&j| a.column(j).to_vec()).collect();
            let count = rows.len();
            rows.sort_unstable();
            rows.dedup();
            assert_eq!(rows.len(), count, "columns of {group:?} share a row");
        }
        all.sort_unstable();
        let filled: Vec<usize> = (0..a.ncols()).filter(|&j| !a.column(j).is_empty()).collect();
        assert_eq!(all, filled);
    }

    #[test]
    fn jacobians_take_few_groups() {
        for (n, lower, upper) in [(1, 0, 0), (20, 1, 1), (33, 2, 2), (40, 0, 3), (7, 9, 9)] {
            let a = Pattern::banded(n, lower, upper);
            let groups = colour(&a);
            assert_proper(&a, &groups);
            assert_eq!(groups.len(), (lower + upper + 1).min(n));
        }
        // An arrow's full row takes a group a column; without it two do.
        let arrow = Pattern::new(9, 9, (0..9).flat_map(|j| [(j, j), (j, 0)])).unwrap();
        assert_proper(&arrow, &colour(&arrow));
        assert_eq!(colour(&arrow).len(), 2);
        // Five points on a torus of side 10: five groups would suffice, greedy takes up to twice as many.
        let m = 10;
        let torus = (0..m * m).flat_map(|k| {
            let (x, y) = (k % m, k / m);
            [k, y * m + (x + 1) % m, y * m + (x + m - 1) % m, (k + m) % (m * m), (k + m * m - m) % (m * m)]
                .map(|i| (i, k))
        });
        let torus = Pattern::new(m * m, m * m, torus).unwrap();
        let groups = colour(&torus);
        assert_proper(&torus, &groups);
        assert!(groups.len() <= 10, "{}", groups.len());
        // A band out of order takes no more groups than in order.
        let place = |i: usize| (i * 37 + 5) % 100;
        let scattered = Pattern::banded(100, 2, 2);
        let scattered =
            Pattern::new(100, 100, scattered.entries().map(|(i, j)| (place(i), place(j)))).unwrap();
        assert_proper(&scattered, &colour(&scattered));
        assert_eq!(colour(&scattered).len(), 5);
        let tall = Pattern::new(5, 3, [(0, 0), (4, 0), (4, 2)]).unwrap();
        assert_proper(&tall, &colour(&tall));
        assert!(colour(&Pattern::default()).is_empty());
    }
}
