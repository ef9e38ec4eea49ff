//! Where elements and groups go: index lists and sparsity patterns, built once in linear time.

use std::ops::Range;

use super::batch::{Batch, Kernel};
use super::parts::Parts;

/// Elements of one type with their places in the problem.
#[derive(Debug, Clone)]
pub(crate) struct ElementBatch {
    pub batch: Batch,
    /// Place of the first element's value behind the variables and the values of other batches.
    pub first_value: usize,
    /// Problem variable of elemental variable a of all elements, then of a + 1.
    pub vars: Vec<u32>,
    /// Elements in the trivial objective groups, and their weights divided by the scale.
    pub objective: Vec<(u32, f64)>,
    /// Uses in rows: element, row, weight (divided by the scale where the group is trivial).
    pub uses: Vec<Use>,
    /// Place in the storage of the rows' gradients of each use, for each entry of the gradient.
    pub gradient_places: Vec<u32>,
    /// Place in the Hessian of each element, for each entry of the Hessian.
    pub hessian_places: Vec<u32>,
    /// Entries off the local diagonal on the diagonal of the Hessian (the same variable twice): (entry, element).
    pub doubled: Vec<(u32, u32)>,
    /// Used by a group with a type of its own.
    pub wrapped: bool,
    /// Factor of each element in the Lagrangian, set anew for each Hessian.
    pub lambda: Vec<f64>,
}

/// An element in a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Use {
    pub element: u32,
    pub row: u32,
    pub weight: f64,
}

/// A group with a type of its own: g(alpha) / s.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wrapped {
    /// Its argument's row.
    pub row: u32,
    /// 1 / s.
    pub inverse_scale: f64,
}

/// Groups of one type.
#[derive(Debug, Clone)]
pub(crate) struct GroupBatch {
    pub batch: Batch,
    pub groups: Vec<Wrapped>,
    /// Arguments alpha, in the order of the groups.
    pub alpha: Vec<f64>,
    /// Values g(alpha), up to a factor.
    pub values: Vec<f64>,
    /// Neighbouring groups with the same variables: they share their places.
    pub runs: Vec<Range<usize>>,
    /// Places in the Hessian of the q q' of each run, as a lower triangle by rows; empty where g'' = 0.
    pub places: Vec<u32>,
}

/// Rows: the constraints, then the objective groups with a type of their own. alpha = constant + linear part + uses.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    /// -b, divided by the scale where the group is trivial.
    pub constant: Vec<f64>,
    /// Linear part, likewise, while the structure is built: start of each row, variables, coefficients.
    linear_start: Vec<u32>,
    linear: Vec<(u32, f64)>,
    /// alpha - constant: start of each row, place among the variables and values of all elements, weight.
    pub term_start: Vec<u32>,
    pub terms: Vec<u32>,
    pub weights: Vec<f64>,
    /// Gradients: start of each row, variables.
    pub start: Vec<usize>,
    pub vars: Vec<u32>,
    /// Gradients of the linear parts alone.
    pub base: Vec<f64>,
}

/// Numbers that an evaluation may take for each object of the data part.
const NUMBERS: u64 = 8;

/// Numbers that may still be allocated.
struct Room(u64);

impl Room {
    fn take(&mut self, count: usize, each: usize) -> Result<(), String> {
        match (count as u64).checked_mul(each as u64).and_then(|total| self.0.checked_sub(total)) {
            Some(left) => self.0 = left,
            None => return Err("the file's elements and groups have too many derivatives".to_string()),
        }
        Ok(())
    }
}

/// Everything that does not depend on x.
#[derive(Debug, Clone, Default)]
pub(crate) struct Structure {
    pub n: usize,
    pub m: usize,
    /// Values of elements that are not constant.
    pub values: usize,
    pub rows: Rows,
    pub elements: Vec<ElementBatch>,
    pub groups: Vec<GroupBatch>,
    /// Trivial objective groups: constant and linear part, divided by the scales.
    pub objective_constant: f64,
    pub objective_linear: Vec<(u32, f64)>,
}

impl Structure {
    /// Builds all lists but those of the Hessian. `objects`: what they may cost, in units of eight numbers.
    ///
    /// # Errors
    /// The lists and results would be too large.
    pub fn new(d: &Parts<'_>, objects: u64) -> Result<Self, String> {
        let (n, groups) = (d.n, d.groups());
        let m = (0..groups).filter(|&g| d.constraint[g]).count();
        let mut s = Self { n, m, ..Self::default() };
        let row_of_group = s.number_rows(d);
        let mut room = Room(objects.saturating_mul(NUMBERS));
        s.wrap_groups(d, &row_of_group, &mut room)?;
        let local = s.sort_elements(d, &mut room)?;
        s.charge_uses(d, &local, &mut room)?;
        s.linear_parts(d, &row_of_group);
        s.sort_uses(d, &row_of_group, &local);
        s.row_patterns(d, &row_of_group, &local);
        (s.rows.linear_start, s.rows.linear) = (Vec::new(), Vec::new());
        Ok(s)
    }

    /// Row of each group, `u32::MAX` for trivial objective groups.
    fn number_rows(&self, d: &Parts<'_>) -> Vec<u32> {
        let (mut constraints, mut others) = (0, self.m as u32);
        let next = |counter: &mut u32| {
            *counter += 1;
            *counter - 1
        };
        (0..d.groups())
            .map(|g| match (d.constraint[g], d.group_type[g]) {
                (false, None) => u32::MAX,
                (false, Some(_)) => next(&mut others),
                (true, _) => next(&mut constraints),
            })
            .collect()
    }

    fn wrap_groups(&mut self, d: &Parts<'_>, row_of_group: &[u32], room: &mut Room) -> Result<(), String> {
        let bodies = d.group_bodies;
        let mut lists: Vec<Vec<u32>> = vec![Vec::new(); bodies.len()];
        for (g, t) in d.group_type.iter().enumerate() {
            if let Some(list) = t.and_then(|t| lists.get_mut(t as usize)) {
                list.push(g as u32);
            }
        }
        for (list, body) in lists.iter().zip(bodies).filter(|(l, _)| !l.is_empty()) {
            let kernel = Kernel::new(body, 1);
            room.take(list.len(), kernel.numbers())?;
            let params = transpose(list, |&g| d.group_params.get(g as usize));
            let wrapped = |&g: &u32| Wrapped {
                row: row_of_group[g as usize],
                inverse_scale: 1.0 / d.scale[g as usize],
            };
            let batch = Batch::new(kernel, list.len(), params);
            self.groups.push(GroupBatch {
                values: vec![0.0; batch.room()],
                batch,
                groups: list.iter().map(wrapped).collect(),
                alpha: vec![0.0; list.len()],
                runs: Vec::new(),
                places: Vec::new(),
            });
        }
        Ok(())
    }

    /// Batches of the elements that are used; returns batch and place of each element.
    fn sort_elements(&mut self, d: &Parts<'_>, room: &mut Room) -> Result<Vec<(u32, u32)>, String> {
        let bodies = d.element_bodies;
        let mut local = vec![(u32::MAX, 0u32); d.element_type.len()];
        for &(e, _) in &d.uses.items {
            local[e as usize].0 = 0;
        }
        let mut lists: Vec<Vec<u32>> = vec![Vec::new(); bodies.len()];
        for (e, place) in local.iter_mut().enumerate().filter(|(_, place)| place.0 == 0) {
            let list = &mut lists[d.element_type[e] as usize];
            *place = (d.element_type[e], list.len() as u32);
            list.push(e as u32);
        }
        let mut batch_of_type = vec![u32::MAX; bodies.len()];
        for (t, (list, body)) in lists.iter().zip(bodies).enumerate().filter(|(_, (l, _))| !l.is_empty()) {
            batch_of_type[t] = self.elements.len() as u32;
            let kernel = Kernel::new(body, d.element_dims[t]);
            room.take(list.len(), kernel.numbers())?;
            let params = transpose(list, |&e| d.element_params.get(e as usize));
            let vars = transpose(list, |&e| d.element_vars.get(e as usize));
            let batch = Batch::new(kernel, list.len(), params);
            let first_value = self.n + self.values;
            self.values += batch.room();
            self.elements.push(ElementBatch {
                batch,
                first_value,
                vars,
                objective: Vec::new(),
                uses: Vec::new(),
                gradient_places: Vec::new(),
                hessian_places: Vec::new(),
                doubled: Vec::new(),
                wrapped: false,
                lambda: vec![0.0; list.len()],
            });
        }
        for place in local.iter_mut().filter(|place| place.0 != u32::MAX) {
            place.0 = batch_of_type[place.0 as usize];
        }
        Ok(local)
    }

    /// Room for a place of every entry of every gradient in a row.
    fn charge_uses(&self, d: &Parts<'_>, local: &[(u32, u32)], room: &mut Room) -> Result<(), String> {
        let mut uses = vec![0usize; self.elements.len()];
        d.uses.items.iter().for_each(|&(e, _)| uses[local[e as usize].0 as usize] += 1);
        uses.iter().zip(&self.elements).try_for_each(|(&u, b)| room.take(u, b.batch.kernel.gradient.len()))
    }

    /// Groups in the order of their rows; trivial objective groups are left out.
    fn groups_by_row(&self, row_of_group: &[u32]) -> Vec<u32> {
        let count = row_of_group.iter().filter(|r| **r != u32::MAX).count();
        let mut order = vec![0; count];
        for (g, &r) in row_of_group.iter().enumerate().filter(|(_, r)| **r != u32::MAX) {
            order[r as usize] = g as u32;
        }
        order
    }

    fn linear_parts(&mut self, d: &Parts<'_>, row_of_group: &[u32]) {
        let factor = |g: usize| if d.group_type[g].is_none() { 1.0 / d.scale[g] } else { 1.0 };
        let mut dense = vec![0.0; self.n];
        let mut mentioned = vec![false; self.n];
        for g in (0..d.groups()).filter(|&g| row_of_group[g] == u32::MAX) {
            self.objective_constant -= d.constant[g] / d.scale[g];
            for &(v, a) in d.linear.get(g) {
                dense[v as usize] += a / d.scale[g];
                mentioned[v as usize] = true;
            }
        }
        self.objective_linear = (0..self.n).filter(|&v| mentioned[v]).map(|v| (v as u32, dense[v])).collect();
        let rows = &mut self.rows;
        rows.linear_start.push(0);
        let order = self.groups_by_row(row_of_group);
        let rows = &mut self.rows;
        for g in order {
            let g = g as usize;
            rows.constant.push(-d.constant[g] * factor(g));
            rows.linear.extend(d.linear.get(g).iter().map(|&(v, a)| (v, a * factor(g))));
            rows.linear_start.push(rows.linear.len() as u32);
        }
    }

    fn sort_uses(&mut self, d: &Parts<'_>, row_of_group: &[u32], local: &[(u32, u32)]) {
        let trivial = (0..d.groups()).filter(|&g| row_of_group[g] == u32::MAX);
        for g in trivial {
            for &(e, w) in d.uses.get(g) {
                let (b, k) = local[e as usize];
                self.elements[b as usize].objective.push((k, w / d.scale[g]));
            }
        }
        self.rows.term_start.push(0);
        for g in self.groups_by_row(row_of_group) {
            let (row, g) = (row_of_group[g as usize], g as usize);
            let Rows { linear_start, linear, terms, weights, .. } = &mut self.rows;
            let linear =
                &linear[linear_start[row as usize] as usize..linear_start[row as usize + 1] as usize];
            terms.extend(linear.iter().map(|l| l.0));
            weights.extend(linear.iter().map(|l| l.1));
            let wrapped = d.group_type[g].is_some();
            for &(e, w) in d.uses.get(g) {
                let (b, k) = local[e as usize];
                let batch = &mut self.elements[b as usize];
                batch.wrapped |= wrapped;
                let weight = if wrapped { w } else { w / d.scale[g] };
                batch.uses.push(Use { element: k, row, weight });
                let term = batch.batch.kernel.value;
                match term.row {
                    Some(_) => {
                        self.rows.terms.push((batch.first_value + k as usize) as u32);
                        self.rows.weights.push(weight * term.factor);
                    }
                    None => self.rows.constant[row as usize] += weight * term.factor,
                }
            }
            self.rows.term_start.push(self.rows.terms.len() as u32);
        }
        for batch in &mut self.elements {
            batch.gradient_places = vec![0; batch.uses.len() * batch.batch.kernel.gradient.len()];
        }
    }

    /// Support of each row and the place of every contribution in it.
    fn row_patterns(&mut self, d: &Parts<'_>, row_of_group: &[u32], local: &[(u32, u32)]) {
        let order = self.groups_by_row(row_of_group);
        let mut seen = vec![u32::MAX; self.n];
        let mut next_use = vec![0usize; self.elements.len()];
        self.rows.start.push(0);
        for g in order {
            let first = self.rows.vars.len();
            let Rows { vars, base, linear, linear_start, .. } = &mut self.rows;
            let r = row_of_group[g as usize] as usize;
            let mut place = |v: u32, vars: &mut Vec<u32>, base: &mut Vec<f64>| {
                // A place of an earlier row is below `first`.
                let known = seen[v as usize];
                if known != u32::MAX && known as usize >= first {
                    return known;
                }
                seen[v as usize] = vars.len() as u32;
                vars.push(v);
                base.push(0.0);
                seen[v as usize]
            };
            for &(v, a) in &linear[linear_start[r] as usize..linear_start[r + 1] as usize] {
                let at = place(v, vars, base);
                base[at as usize] += a;
            }
            for &(e, _) in d.uses.get(g as usize) {
                let (b, k) = local[e as usize];
                let batch = &mut self.elements[b as usize];
                let (count, uses, u) = (batch.batch.count, batch.uses.len(), next_use[b as usize]);
                next_use[b as usize] += 1;
                for (i, entry) in batch.batch.kernel.gradient.iter().enumerate() {
                    let v = batch.vars[entry.a as usize * count + k as usize];
                    batch.gradient_places[i * uses + u] = place(v, vars, base);
                }
            }
            self.rows.start.push(self.rows.vars.len());
        }
    }

    /// The parameters of all elements and groups anew, in the order in which the batches were filled.
    pub fn set_params(&mut self, d: &Parts<'_>) {
        fn fill<'a>(
            batches: Vec<&mut Batch>,
            of_type: &[u32],
            list: impl Iterator<Item = (Option<u32>, &'a [f64])>,
        ) {
            let (mut batches, mut next) = (batches, vec![0usize; of_type.len()]);
            for (t, params) in list.filter_map(|(t, params)| Some((t? as usize, params))) {
                let Some(batch) = batches.get_mut(of_type[t] as usize) else { continue };
                let count = batch.count;
                params.iter().enumerate().for_each(|(k, &p)| batch.params[k * count + next[t]] = p);
                next[t] += 1;
            }
        }
        let mut used = vec![false; d.element_type.len()];
        d.uses.items.iter().for_each(|u| used[u.0 as usize] = true);
        // Batches stand in the order of the types that are used.
        let places = |types: &mut dyn Iterator<Item = u32>, all: usize| -> Vec<u32> {
            let mut there = vec![false; all];
            types.for_each(|t| there[t as usize] = true);
            let mut next = 0;
            let mut place = |t: &bool| {
                next += u32::from(*t);
                if *t { next - 1 } else { u32::MAX }
            };
            there.iter().map(&mut place).collect()
        };
        let elements = || (0..used.len()).filter(|&e| used[e]);
        let of_type = places(&mut elements().map(|e| d.element_type[e]), d.element_bodies.len());
        let list = elements().map(|e| (Some(d.element_type[e]), d.element_params.get(e)));
        fill(self.elements.iter_mut().map(|b| &mut b.batch).collect(), &of_type, list);
        let of_type = places(&mut d.group_type.iter().flatten().copied(), d.group_bodies.len());
        let list = (0..d.groups()).map(|g| (d.group_type[g], d.group_params.get(g)));
        fill(self.groups.iter_mut().map(|b| &mut b.batch).collect(), &of_type, list);
    }

    /// Registers that the largest program needs, in doubles.
    pub fn scratch(&self) -> usize {
        let elements = self.elements.iter().map(|b| b.batch.kernel.scratch(b.batch.count));
        elements.chain(self.groups.iter().map(|b| b.batch.kernel.scratch(b.batch.count))).max().unwrap_or(0)
    }

    /// Entries of the largest q q' that several groups share.
    pub fn largest_outer(&self) -> usize {
        let shared = |g: &GroupBatch| {
            let size = |run: &Range<usize>| self.rows.variables(g.groups[run.start].row).len();
            g.runs.iter().filter(|run| run.len() > 1).map(size).max().unwrap_or(0)
        };
        let n = self.groups.iter().map(shared).max().unwrap_or(0);
        n * (n + 1) / 2
    }
}

impl Rows {
    /// Variables of a row.
    pub fn variables(&self, row: u32) -> &[u32] {
        &self.vars[self.start[row as usize]..self.start[row as usize + 1]]
    }
}

/// Lists of equal length, stored item by item: item k of all lists, then item k + 1.
fn transpose<'a, K, T: Copy + Default + 'a>(keys: &[K], list: impl Fn(&K) -> &'a [T]) -> Vec<T> {
    let width = keys.first().map_or(0, |k| list(k).len());
    let mut out = vec![T::default(); width * keys.len()];
    for (e, key) in keys.iter().enumerate() {
        for (k, &item) in list(key).iter().enumerate() {
            out[k * keys.len() + e] = item;
        }
    }
    out
}
