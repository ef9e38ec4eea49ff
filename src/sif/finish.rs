//! From what the cards said to [`Decoded`].

use super::key::Table;
use super::operand::NONE;
use super::store::{GroupSum, Store};
use super::warn::Remark;
use super::{Decoded, Names, Ragged};

/// Line and what is wrong.
type Fault = (usize, String);

impl Store {
    /// Checks what only the end shows and assembles the lists.
    pub(crate) fn finish(mut self, name: String, class: Option<String>) -> Result<Decoded, Fault> {
        self.types.check()?;
        self.check_elements()?;
        self.remark_bounds();
        self.remark_unused();
        let m = self.groups.len();
        let group_type = self.final_group_types();
        let group_params = self.group_parameters(&group_type)?;
        let linear = self.linear_parts()?;
        let other_starts = self.other_starts();
        let uses = by_group(m, &std::mem::take(&mut self.uses));
        Ok(Decoded {
            name,
            class,
            variables: names(&self.variables),
            x_lower: self.lower,
            x_upper: self.upper,
            other_starts,
            x0: self.x0,
            groups: names(&self.groups),
            kind: self.kind,
            scale: self.scale,
            constant: self.constant,
            range: self.range,
            y0: self.y0,
            group_type,
            group_params,
            linear,
            uses,
            elements: names(&self.elements),
            element_type: self.element_type,
            element_vars: Ragged { start: self.var_start, items: self.vars },
            element_params: Ragged { start: self.par_start, items: self.pars },
            element_types: self.types.elements.into_iter().map(|d| d.public).collect(),
            group_types: self.types.groups.into_iter().map(|d| d.public).collect(),
            quadratic: self.quadratic,
            objective_bounds: self.objective_bounds,
            warnings: self.remarks.finish(),
        })
    }

    /// Every elemental variable and parameter has its value.
    fn check_elements(&self) -> Result<(), Fault> {
        let unset_var = self.vars.iter().position(|&v| v == NONE);
        let unset_par = self.pars.iter().position(|p| p.is_nan());
        let (place, start, what) = match (unset_var, unset_par) {
            (Some(place), _) => (place, &self.var_start, "elemental variable"),
            (_, Some(place)) => (place, &self.par_start, "parameter"),
            _ => return Ok(()),
        };
        let e = start.partition_point(|&s| s <= place) - 1;
        let declaration = &self.types.elements[self.element_type[e] as usize].public;
        let list = if unset_var.is_some() { &declaration.elemental } else { &declaration.params };
        let element = self.elements.key(e as u32).text();
        let what = format!("{what} `{}` of element `{element}` is never set", list[place - start[e]]);
        Err((self.element_line[e] as usize, what))
    }

    fn remark_bounds(&mut self) {
        for v in 0..self.lower.len() {
            let (l, u) = (self.lower[v], self.upper[v]);
            if l > u {
                let name = self.variables.key(v as u32);
                self.remarks.add(Remark::BoundsCross, 0, || {
                    format!("variable `{}` has lower bound {l} above upper bound {u}", name.text())
                });
            }
        }
    }

    fn remark_unused(&mut self) {
        let mut used = vec![false; self.elements.len()];
        for &(_, e, _) in &self.uses {
            used[e as usize] = true;
        }
        for e in used.iter().enumerate().filter(|(_, u)| !**u).map(|(e, _)| e) {
            let (name, line) = (self.elements.key(e as u32), self.element_line[e] as usize);
            self.remarks.add(Remark::UnusedElement, line, || {
                format!("element `{}` is used by no group", name.text())
            });
        }
    }

    fn final_group_types(&self) -> Vec<Option<u32>> {
        let final_type = |&t: &u32| if t == NONE { self.default_group } else { Some(t) };
        self.group_type.iter().map(final_type).collect()
    }

    fn group_parameters(&mut self, types: &[Option<u32>]) -> Result<Ragged<f64>, Fault> {
        let widths: Vec<u64> = self.types.groups.iter().map(|d| d.params.len() as u64).collect();
        let total = types.iter().flatten().map(|&t| widths[t as usize]).sum();
        self.room(total).map_err(|what| (0, what))?;
        let declaration = |g: usize| types[g].map(|t| &self.types.groups[t as usize]);
        let mut lists = Ragged::<f64>::default();
        for g in 0..types.len() {
            let count = declaration(g).map_or(0, |d| d.params.len());
            lists.items.resize(lists.items.len() + count, f64::NAN);
            lists.start.push(lists.items.len());
        }
        let text = |g: usize, place: usize| {
            let param = declaration(g).and_then(|d| d.public.params.get(place).cloned()).unwrap_or_default();
            format!("parameter `{param}` of group `{}`", self.groups.key(g as u32).text())
        };
        for &(g, place, value, line) in &self.group_params {
            let (g, place) = (g as usize, place as usize);
            let at = lists.start[g] + place;
            if at >= lists.start[g + 1] || !lists.items[at].is_nan() {
                return Err((line as usize, format!("{} is set twice", text(g, place))));
            }
            lists.items[at] = value;
        }
        if let Some(at) = lists.items.iter().position(|p| p.is_nan()) {
            let g = lists.start.partition_point(|&s| s <= at) - 1;
            return Err((
                self.group_line[g] as usize,
                format!("{} is never set", text(g, at - lists.start[g])),
            ));
        }
        Ok(lists)
    }

    /// Linear part of each group: duplicates added, zeros dropped, D-groups formed from their donors.
    fn linear_parts(&mut self) -> Result<Ragged<(u32, f64)>, Fault> {
        let m = self.groups.len();
        let mut lists = by_group(m, &std::mem::take(&mut self.linear));
        let mut place = vec![NONE; self.variables.len()];
        merge(&mut lists, &mut place);
        if !self.sums.is_empty() {
            lists = self.add_sums(lists, &mut place)?;
        }
        Ok(lists)
    }

    fn add_sums(&self, lists: Ragged<(u32, f64)>, place: &mut [u32]) -> Result<Ragged<(u32, f64)>, Fault> {
        let mut lists: Vec<Vec<(u32, f64)>> = (0..lists.len()).map(|g| lists.get(g).to_vec()).collect();
        let mut room = self.limits.objects;
        for &GroupSum { group: g, donors, line } in &self.sums {
            let line = line as usize;
            let name = || self.groups.key(g).text();
            if !lists[g as usize].is_empty() {
                return Err((
                    line,
                    format!("D-group `{}` has linear data of its own or is defined twice", name()),
                ));
            }
            let mut sum = Ragged::<(u32, f64)>::default();
            for (donor, factor) in donors.into_iter().filter(|(donor, _)| *donor != NONE) {
                let Some(left) = room.checked_sub(lists[donor as usize].len() as u64) else {
                    return Err((line, "the file creates too many objects".to_string()));
                };
                room = left;
                sum.items.extend(lists[donor as usize].iter().map(|&(v, a)| (v, a * factor)));
            }
            sum.start.push(sum.items.len());
            merge(&mut sum, place);
            lists[g as usize] = sum.items;
        }
        let mut all = Ragged::default();
        for list in lists {
            all.items.extend(list);
            all.start.push(all.items.len());
        }
        Ok(all)
    }
}

/// Sorts (group, number, value) by group, keeping the order within a group.
fn by_group(m: usize, entries: &[(u32, u32, f64)]) -> Ragged<(u32, f64)> {
    let mut start = vec![0usize; m + 1];
    for &(g, _, _) in entries {
        start[g as usize + 1] += 1;
    }
    for g in 0..m {
        start[g + 1] += start[g];
    }
    let mut next = start.clone();
    let mut items = vec![(0, 0.0); entries.len()];
    for &(g, k, value) in entries {
        items[next[g as usize]] = (k, value);
        next[g as usize] += 1;
    }
    Ragged { start, items }
}

/// Adds entries of the same variable within each list and drops zeros; `place` is all `NONE` before and after.
fn merge(lists: &mut Ragged<(u32, f64)>, place: &mut [u32]) {
    let mut kept = 0;
    for g in 0..lists.len() {
        let (first, end) = (lists.start[g], lists.start[g + 1]);
        lists.start[g] = kept;
        let base = kept;
        for at in first..end {
            let (v, a) = lists.items[at];
            match place[v as usize] {
                NONE => {
                    place[v as usize] = (kept - base) as u32;
                    lists.items[kept] = (v, a);
                    kept += 1;
                }
                known => lists.items[base + known as usize].1 += a,
            }
        }
        let end = kept;
        kept = base;
        for at in base..end {
            let (v, a) = lists.items[at];
            place[v as usize] = NONE;
            if a != 0.0 {
                lists.items[kept] = (v, a);
                kept += 1;
            }
        }
    }
    if let Some(last) = lists.start.last_mut() {
        *last = kept;
    }
    lists.items.truncate(kept);
}

fn names(table: &Table) -> Names {
    let mut names = Names::default();
    for key in table.keys() {
        let (bytes, len) = key.bytes();
        match std::str::from_utf8(&bytes[..len]) {
            Ok(name) if name.is_ascii() => names.push(name),
            _ => names.push(&key.text()),
        }
    }
    names
}
