//! Jacobians from one product or difference for each colour of their columns or rows.

use super::colour::colour;
use super::map::{Size, Structure};
use crate::linalg::{Pattern, Scalar};

/// A structure coloured: which columns (for vjps rows) go together, and where their entries are found.
#[derive(Debug, Clone, Default)]
pub(super) struct Groups {
    /// What was coloured, and whether by rows.
    of: Option<(Structure, Size, bool)>,
    /// Columns or rows of each group.
    members: Vec<Vec<usize>>,
    /// The entries of each group.
    entries: Vec<Vec<Entry>>,
}

/// An entry: its index across the products, its column or row in the group, and its place in the Jacobian.
#[derive(Debug, Clone, Copy)]
struct Entry {
    at: usize,
    of: usize,
    place: usize,
}

impl Groups {
    /// Nothing is done where that is what was coloured last.
    pub fn prepare(&mut self, structure: &Structure, size: Size, by_rows: bool) {
        if self.of.as_ref().is_some_and(|(s, z, r)| s == structure && *z == size && *r == by_rows) {
            return;
        }
        let Size { inputs, outputs, .. } = size;
        let (across, along) = if by_rows { (inputs, outputs) } else { (outputs, inputs) };
        let mut lines = vec![Vec::new(); along];
        structure.entries(outputs, inputs, |i, j, place| {
            let (at, of) = if by_rows { (j, i) } else { (i, j) };
            lines[of].push(Entry { at, of, place });
        });
        let rows_of = lines.iter().map(|line| line.iter().map(|e| e.at).collect()).collect();
        self.members = colour(&Pattern::of_columns(across, rows_of));
        let gather = |group: &Vec<usize>| group.iter().flat_map(|&k| lines[k].iter().copied()).collect();
        self.entries = self.members.iter().map(gather).collect();
        self.of = Some((structure.clone(), size, by_rows));
    }

    /// Colours.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Ones in the places of group g.
    pub fn mark<T: Scalar>(&self, g: usize, x: &mut [T]) {
        self.members[g].iter().for_each(|&k| x[k] = T::ONE);
    }

    /// Entries of group g from its product, for each (product, block).
    pub fn gather<'a, T: Scalar>(&self, g: usize, columns: impl Iterator<Item = (&'a [T], &'a mut [T])>) {
        for (product, block) in columns {
            self.entries[g].iter().for_each(|e| block[e.place] = product[e.at]);
        }
    }

    /// Adds the increments of group g to `shifted`, which is x; `delta` becomes what was really added.
    pub fn shift<T: Scalar>(&self, g: usize, inputs: usize, (x, shifted): (&[T], &mut [T]), delta: &mut [T]) {
        for from in (0..x.len()).step_by(inputs) {
            for k in self.members[g].iter().map(|j| from + j) {
                shifted[k] = x[k] + delta[k];
                delta[k] = shifted[k] - x[k];
            }
        }
    }

    /// Takes them away.
    pub fn restore<T: Scalar>(&self, g: usize, inputs: usize, x: &[T], shifted: &mut [T]) {
        for from in (0..x.len()).step_by(inputs) {
            self.members[g].iter().for_each(|j| shifted[from + j] = x[from + j]);
        }
    }

    /// Entries of group g from values before and after.
    pub fn quotients<'a, T: Scalar>(
        &self,
        g: usize,
        Size { inputs, outputs, .. }: Size,
        (before, after): (&[T], &[T]),
        delta: &[T],
        blocks: impl Iterator<Item = &'a mut [T]>,
    ) {
        for (b, block) in blocks.enumerate() {
            let (before, after) = (&before[b * outputs..][..outputs], &after[b * outputs..][..outputs]);
            let delta = &delta[b * inputs..][..inputs];
            for e in &self.entries[g] {
                block[e.place] = (after[e.at] - before[e.at]) / delta[e.of];
            }
        }
    }
}
