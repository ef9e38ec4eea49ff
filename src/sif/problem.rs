//! A SIF problem as a nonlinear program, group partially separable (section 9 of the format):
//!
//! alpha_i(x) = sum_j w_ij e_j(x) + a_i'x - b_i,   F_i(x) = g_i(alpha_i) / s_i,   q_i = grad alpha_i,
//! grad F_i = (g_i'/s_i) q_i,   hess F_i = (g_i' sum_j w_ij hess e_j + g_i'' q_i q_i') / s_i.

use std::path::Path;

use super::elements::{Batch, Level};
use super::function::{FunctionPart, Lowered, Signature};
use super::pattern::unique;
use super::program::{BLOCK, Program, Registers};
use super::{Decoded, FunctionCards, GroupKind, SifError, SifOptions, decode};
use crate::error::Error;
use crate::nlp::{EvalError, INFINITE_BOUND, Nlp, NlpMeta, Pattern};

/// Groups of one nontrivial type.
struct GroupBatch {
    groups: Vec<u32>,
    params: Vec<f64>,
    /// F alone; F, G, H.
    programs: [Program; 2],
    identity: usize,
}

/// An element used by a group.
#[derive(Clone, Copy)]
struct Use {
    /// Element within its batch.
    element: u32,
    group: u32,
    weight: f64,
}

/// Uses of one batch, ordered by element, and where they go.
struct Uses {
    list: Vec<Use>,
    /// Weight, divided by the scale for groups of trivial type.
    factor: Vec<f64>,
    /// Target of gradient slot k of use u: `target[k * uses + u]`, into `Buffers::first`.
    target: Vec<u32>,
    /// Coefficient of each element's Hessian, scratch.
    coefficient: Vec<f64>,
    /// Entry of Hessian slot k of element e: `entry[k * count + e]`.
    entry: Vec<u32>,
    /// Slots whose two elemental variables are one problem variable: (slot, element), to be added a second time.
    twice: Vec<(u32, u32)>,
}

/// A problem read from a SIF file.
pub struct SifProblem {
    meta: NlpMeta,
    decoded: Decoded,
    batches: Vec<Batch>,
    uses: Vec<Uses>,
    group_batches: Vec<GroupBatch>,
    registers: Registers,
    /// Row of each group, `u32::MAX` for the objective.
    row: Vec<u32>,
    nontrivial: Vec<bool>,
    /// (batch, element, weight) of each use, by group.
    group_uses: super::Ragged<(u32, u32, f64)>,
    alpha: Vec<f64>,
    value: Vec<f64>,
    /// g' and g'' at alpha, 1 and 0 for trivial groups.
    slope: Vec<f64>,
    bend: Vec<f64>,
    /// Nontrivial groups: variables of q, and where q begins in `first`.
    q_groups: Vec<QGroup>,
    /// Gradient (n), Jacobian (nnz), q of the nontrivial groups.
    first: Vec<f64>,
    /// The parts of `first` that do not depend on x.
    constant_first: Vec<f64>,
    jacobian_len: usize,
    q_vars: Vec<u32>,
    /// Jacobian entry of each entry of q (`u32::MAX` for objective groups).
    q_target: Vec<u32>,
    q_hessian: Vec<u32>,
    hessian_len: usize,
    quadratic: Vec<(u32, u32, f64, u32)>,
    x: Vec<f64>,
    level: Option<Level>,
    has_first: bool,
}

#[derive(Clone, Copy)]
struct QGroup {
    group: u32,
    begin: u32,
    len: u32,
    hessian_begin: usize,
}

impl SifProblem {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::Sif`] if it cannot be understood.
    pub fn from_file(path: &Path, options: &SifOptions) -> Result<Self, Error> {
        let file = path.display().to_string();
        let text = std::fs::read(path).map_err(|source| Error::Io { path: file.clone(), source })?;
        Ok(Self::from_text(&file, &text, options)?)
    }

    /// Reads the text of a file; `file` is its name in messages.
    ///
    /// # Errors
    /// [`SifError`]: line, what was found, what was expected.
    pub fn from_text(file: &str, text: &[u8], options: &SifOptions) -> Result<Self, SifError> {
        let (decoded, cards) = decode(file, text, options)?;
        Self::new(file, decoded, &cards, options)
    }

    /// The data part.
    pub fn decoded(&self) -> &Decoded {
        &self.decoded
    }

    fn new(
        file: &str,
        decoded: Decoded,
        cards: &FunctionCards,
        options: &SifOptions,
    ) -> Result<Self, SifError> {
        if let Some(name) = cards.trailing_functions.first() {
            let what = format!("found the external Fortran function {name}, which is not supported");
            return Err(SifError { file: file.into(), line: cards.trailing_line, what });
        }
        let (element_functions, group_functions) = lower_types(file, &decoded, cards, options)?;
        let n = decoded.variables.len();
        let n_groups = decoded.groups.len();
        let mut row = vec![u32::MAX; n_groups];
        let mut m = 0u32;
        for (r, kind) in row.iter_mut().zip(&decoded.kind) {
            if *kind != GroupKind::Objective {
                *r = m;
                m += 1;
            }
        }
        let nontrivial: Vec<bool> = decoded.group_type.iter().map(Option::is_some).collect();
        let meta = basic_meta(&decoded, m as usize);
        let mut problem = Self {
            meta,
            batches: Vec::new(),
            uses: Vec::new(),
            group_batches: Vec::new(),
            registers: Registers::default(),
            row,
            nontrivial,
            group_uses: super::Ragged::default(),
            alpha: vec![0.0; n_groups],
            value: vec![0.0; n_groups],
            slope: vec![1.0; n_groups],
            bend: vec![0.0; n_groups],
            q_groups: Vec::new(),
            first: Vec::new(),
            constant_first: Vec::new(),
            jacobian_len: 0,
            q_vars: Vec::new(),
            q_target: Vec::new(),
            q_hessian: Vec::new(),
            hessian_len: 0,
            quadratic: Vec::new(),
            x: vec![f64::NAN; n],
            level: None,
            has_first: false,
            decoded,
        };
        problem.build_batches(&element_functions);
        problem.build_group_batches(&group_functions);
        problem.build_first_order();
        problem.build_hessian();
        Ok(problem)
    }

    fn build_batches(&mut self, functions: &[Option<Lowered>]) {
        let d = &self.decoded;
        let mut used = vec![false; d.elements.len()];
        for (e, _) in &d.uses.items {
            used[*e as usize] = true;
        }
        let mut members: Vec<Vec<u32>> = vec![Vec::new(); functions.len()];
        let mut place = vec![(0u32, 0u32); d.elements.len()];
        for (e, &ty) in d.element_type.iter().enumerate().filter(|(e, _)| used[*e]) {
            place[e] = (ty, members[ty as usize].len() as u32);
            members[ty as usize].push(e as u32);
        }
        let mut batch_of_type = vec![u32::MAX; functions.len()];
        for (ty, (members, function)) in members.iter().zip(functions).enumerate() {
            let Some(function) = function.as_ref().filter(|_| !members.is_empty()) else { continue };
            batch_of_type[ty] = self.batches.len() as u32;
            let transpose_u32 = |width: usize| -> Vec<u32> {
                (0..width)
                    .flat_map(|a| members.iter().map(move |&e| d.element_vars.get(e as usize)[a]))
                    .collect()
            };
            let width = d.element_types[ty].elemental.len();
            let n_params = d.element_types[ty].params.len();
            let params = (0..n_params)
                .flat_map(|k| members.iter().map(move |&e| d.element_params.get(e as usize)[k]))
                .collect();
            let vars = transpose_u32(width);
            self.batches.push(Batch::new(self.batches.len(), function, members.len(), vars, params));
        }
        self.group_uses.start.clear();
        self.group_uses.start.push(0);
        let mut lists: Vec<Vec<Use>> = vec![Vec::new(); self.batches.len()];
        for g in 0..d.groups.len() {
            for &(e, weight) in d.uses.get(g) {
                let (ty, element) = place[e as usize];
                let batch = batch_of_type[ty as usize];
                self.group_uses.items.push((batch, element, weight));
                lists[batch as usize].push(Use { element, group: g as u32, weight });
            }
            self.group_uses.start.push(self.group_uses.items.len());
        }
        for mut list in lists {
            list.sort_by_key(|u| u.element);
            let factor = list
                .iter()
                .map(|u| {
                    let g = u.group as usize;
                    if self.nontrivial[g] { u.weight } else { u.weight / d.scale[g] }
                })
                .collect();
            self.uses.push(Uses {
                list,
                factor,
                target: Vec::new(),
                coefficient: Vec::new(),
                entry: Vec::new(),
                twice: Vec::new(),
            });
        }
    }

    fn build_group_batches(&mut self, functions: &[Option<Lowered>]) {
        let d = &self.decoded;
        let mut members: Vec<Vec<u32>> = vec![Vec::new(); functions.len()];
        for (g, ty) in d.group_type.iter().enumerate() {
            if let Some(ty) = ty {
                members[*ty as usize].push(g as u32);
            }
        }
        for (ty, (groups, function)) in members.into_iter().zip(functions).enumerate() {
            let Some(function) = function.as_ref().filter(|_| !groups.is_empty()) else { continue };
            let n_params = d.group_types[ty].params.len();
            let params = (0..n_params)
                .flat_map(|k| groups.iter().map(move |&g| d.group_params.get(g as usize)[k]))
                .collect();
            let slope = function.gradient[0].unwrap_or(function.value);
            let bend = function.hessian.first().map_or(function.value, |h| h.2);
            let value = Program::new(&function.graph, 1 + n_params, &[function.value]);
            let all = Program::new(&function.graph, 1 + n_params, &[function.value, slope, bend]);
            let identity = self.batches.len() + self.group_batches.len();
            self.group_batches.push(GroupBatch { groups, params, programs: [value, all], identity });
        }
    }

    /// Patterns of the Jacobian and of q for the nontrivial groups, and all targets.
    fn build_first_order(&mut self) {
        let d = &self.decoded;
        let n = d.variables.len();
        // Mentions (group, variable): linear terms first, then every gradient slot of every use.
        let (mut major, mut minor) = (Vec::new(), Vec::new());
        for g in 0..d.groups.len() {
            for &(j, _) in d.linear.get(g) {
                major.push(g as u32);
                minor.push(j);
            }
        }
        let linear_count = major.len();
        for (batch, uses) in self.batches.iter().zip(&self.uses) {
            for &a in &batch.gradient_slots {
                for u in &uses.list {
                    major.push(u.group);
                    minor.push(batch.vars[a * batch.count + u.element as usize]);
                }
            }
        }
        let pairs = unique(d.groups.len(), n, &major, &minor);
        let (mut rows, mut cols) = (Vec::new(), Vec::new());
        // Target of each pair in `first`; pairs of nontrivial groups go to q and from there on.
        let mut jacobian_at = vec![u32::MAX; pairs.minor.len()];
        for (g, &row) in self.row.iter().enumerate() {
            if row == u32::MAX {
                continue;
            }
            for p in pairs.start[g]..pairs.start[g + 1] {
                jacobian_at[p as usize] = rows.len() as u32;
                rows.push(row as usize);
                cols.push(pairs.minor[p as usize] as usize);
            }
        }
        self.jacobian_len = rows.len();
        let q_first = (n + rows.len()) as u32;
        let mut target = vec![0u32; pairs.minor.len()];
        for g in 0..d.groups.len() {
            let range = pairs.start[g] as usize..pairs.start[g + 1] as usize;
            if self.nontrivial[g] {
                let begin = self.q_vars.len() as u32;
                let len = range.len() as u32;
                self.q_groups.push(QGroup { group: g as u32, begin, len, hessian_begin: 0 });
            }
            for p in range {
                let j = pairs.minor[p];
                target[p] = if self.nontrivial[g] {
                    self.q_vars.push(j);
                    self.q_target.push(jacobian_at[p]);
                    q_first + self.q_vars.len() as u32 - 1
                } else if self.row[g] == u32::MAX {
                    j
                } else {
                    n as u32 + jacobian_at[p]
                };
            }
        }
        self.first = vec![0.0; n + rows.len() + self.q_vars.len()];
        let mut constant = self.first.clone();
        let mut mention = 0;
        for g in 0..d.groups.len() {
            let scale = if self.nontrivial[g] { 1.0 } else { d.scale[g] };
            for &(_, a) in d.linear.get(g) {
                constant[target[pairs.position[mention] as usize] as usize] += a / scale;
                mention += 1;
            }
        }
        debug_assert_eq!(mention, linear_count);
        for (batch, uses) in self.batches.iter().zip(&mut self.uses) {
            let count = uses.list.len() * batch.gradient_slots.len();
            uses.target =
                pairs.position[mention..mention + count].iter().map(|&p| target[p as usize]).collect();
            mention += count;
        }
        self.constant_first = constant;
        self.meta.jacobian = Some(Pattern { rows, cols });
    }

    fn build_hessian(&mut self) {
        let n = self.decoded.variables.len();
        let (mut major, mut minor) = (Vec::new(), Vec::new());
        let mut mention = |i: u32, j: u32| {
            major.push(i.min(j));
            minor.push(i.max(j));
        };
        for batch in &self.batches {
            for &(a, b) in &batch.hessian_slots {
                for e in 0..batch.count {
                    mention(batch.vars[a * batch.count + e], batch.vars[b * batch.count + e]);
                }
            }
        }
        for q in &self.q_groups {
            let vars = &self.q_vars[q.begin as usize..(q.begin + q.len) as usize];
            for (k, &i) in vars.iter().enumerate() {
                for &j in &vars[..=k] {
                    mention(i, j);
                }
            }
        }
        for &(i, j, _) in &self.decoded.quadratic {
            mention(i, j);
        }
        let pairs = unique(n, n, &major, &minor);
        let mut at = 0;
        for (batch, uses) in self.batches.iter().zip(&mut self.uses) {
            let count = batch.count * batch.hessian_slots.len();
            uses.entry = pairs.position[at..at + count].to_vec();
            uses.coefficient = vec![0.0; batch.count];
            for (k, &(a, b)) in batch.hessian_slots.iter().enumerate() {
                for e in 0..batch.count {
                    if a != b && batch.vars[a * batch.count + e] == batch.vars[b * batch.count + e] {
                        uses.twice.push((k as u32, e as u32));
                    }
                }
            }
            at += count;
        }
        let mut hessian_begin = 0;
        for q in &mut self.q_groups {
            q.hessian_begin = hessian_begin;
            hessian_begin += q.len as usize * (q.len as usize + 1) / 2;
        }
        self.q_hessian = pairs.position[at..at + hessian_begin].to_vec();
        at += hessian_begin;
        self.quadratic = self
            .decoded
            .quadratic
            .iter()
            .zip(&pairs.position[at..])
            .map(|(&(i, j, h), &p)| (i, j, h, p))
            .collect();
        let cols =
            (0..n).flat_map(|j| std::iter::repeat_n(j, (pairs.start[j + 1] - pairs.start[j]) as usize));
        self.hessian_len = pairs.minor.len();
        self.meta.hessian =
            Some(Pattern { cols: cols.collect(), rows: pairs.minor.iter().map(|&i| i as usize).collect() });
    }

    /// Brings elements and groups at x to the level.
    fn evaluate(&mut self, x: &[f64], level: Level) {
        let same = self.x == x;
        if same && self.level.is_some_and(|l| l >= level) {
            return;
        }
        if !same {
            self.x.copy_from_slice(x);
        }
        self.has_first = false;
        self.level = Some(level);
        for batch in &mut self.batches {
            batch.evaluate(x, level, &mut self.registers);
        }
        let d = &self.decoded;
        for g in 0..self.alpha.len() {
            let mut alpha = -d.constant[g];
            for &(j, a) in d.linear.get(g) {
                alpha += a * x[j as usize];
            }
            for &(batch, element, weight) in self.group_uses.get(g) {
                alpha += weight * self.batches[batch as usize].values[element as usize];
            }
            self.alpha[g] = alpha;
            self.value[g] = alpha / d.scale[g];
        }
        for batch in &self.group_batches {
            let program = &batch.programs[usize::from(level > Level::Value)];
            program.load(&mut self.registers, 3 * batch.identity + usize::from(level > Level::Value) + 1);
            let count = batch.groups.len();
            for (block, groups) in batch.groups.chunks(BLOCK).enumerate() {
                let len = groups.len();
                for (r, &g) in self.registers.input(0).iter_mut().zip(groups) {
                    *r = self.alpha[g as usize];
                }
                for k in 0..batch.params.len() / count {
                    let from = &batch.params[k * count + block * BLOCK..][..len];
                    self.registers.input(1 + k)[..len].copy_from_slice(from);
                }
                program.run(&mut self.registers, len);
                for (k, &g) in groups.iter().enumerate() {
                    let g = g as usize;
                    let output = |o: usize| self.registers.get(program.outputs[o])[k];
                    self.value[g] = output(0) / d.scale[g];
                    if level > Level::Value {
                        self.slope[g] = output(1);
                        self.bend[g] = output(2);
                    }
                }
            }
        }
    }

    /// Gradient, Jacobian and q at x.
    fn first_order(&mut self, x: &[f64]) {
        self.evaluate(x, Level::Gradient);
        if self.has_first {
            return;
        }
        self.has_first = true;
        let n = self.meta.n();
        self.first.copy_from_slice(&self.constant_first);
        for (batch, uses) in self.batches.iter().zip(&self.uses) {
            let width = uses.list.len();
            for k in 0..batch.gradient_slots.len() {
                let gradient = &batch.gradients[k * batch.count..][..batch.count];
                let target = &uses.target[k * width..][..width];
                for ((u, f), &t) in uses.list.iter().zip(&uses.factor).zip(target) {
                    self.first[t as usize] += f * gradient[u.element as usize];
                }
            }
        }
        let q_first = n + self.jacobian_len;
        for q in &self.q_groups {
            let g = q.group as usize;
            let factor = self.slope[g] / self.decoded.scale[g];
            for k in q.begin as usize..(q.begin + q.len) as usize {
                let value = factor * self.first[q_first + k];
                match self.q_target[k] {
                    u32::MAX => self.first[self.q_vars[k] as usize] += value,
                    t => self.first[n + t as usize] = value,
                }
            }
        }
        for &(i, j, h, _) in &self.quadratic {
            self.first[i as usize] += h * x[j as usize];
            if i != j {
                self.first[j as usize] += h * x[i as usize];
            }
        }
    }

    fn objective(&self, x: &[f64]) -> f64 {
        let groups: f64 =
            self.row.iter().zip(&self.value).filter(|(r, _)| **r == u32::MAX).map(|(_, v)| v).sum();
        let quadratic: f64 = self
            .quadratic
            .iter()
            .map(|&(i, j, h, _)| {
                let h = if i == j { 0.5 * h } else { h };
                h * x[i as usize] * x[j as usize]
            })
            .sum();
        groups + quadratic
    }

    fn constraints(&self, c: &mut [f64]) {
        for (&r, v) in self.row.iter().zip(&self.value) {
            if r != u32::MAX {
                c[r as usize] = *v;
            }
        }
    }

    /// Multiplier of each group: sigma for the objective, y for constraints, divided by the scale.
    fn multiplier(&self, g: usize, sigma: f64, y: &[f64]) -> f64 {
        let r = self.row[g];
        (if r == u32::MAX { sigma } else { y[r as usize] }) / self.decoded.scale[g]
    }

    /// Coefficient of every element's Hessian.
    fn element_coefficients(&mut self, sigma: f64, y: &[f64]) {
        let mut all = std::mem::take(&mut self.uses);
        for uses in &mut all {
            uses.coefficient.fill(0.0);
            for u in &uses.list {
                let g = u.group as usize;
                uses.coefficient[u.element as usize] +=
                    u.weight * self.slope[g] * self.multiplier(g, sigma, y);
            }
        }
        self.uses = all;
    }
}

impl Nlp for SifProblem {
    fn meta(&self) -> &NlpMeta {
        &self.meta
    }

    fn obj(&mut self, x: &[f64]) -> Result<f64, EvalError> {
        self.evaluate(x, Level::Value);
        Ok(self.objective(x))
    }

    fn grad(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
        self.first_order(x);
        g.copy_from_slice(&self.first[..g.len()]);
        Ok(())
    }

    fn cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<(), EvalError> {
        self.evaluate(x, Level::Value);
        self.constraints(c);
        Ok(())
    }

    fn jac_prod(&mut self, x: &[f64], v: &[f64], jv: &mut [f64]) -> Result<(), EvalError> {
        self.first_order(x);
        jv.fill(0.0);
        let Some(pattern) = &self.meta.jacobian else { return Ok(()) };
        let values = &self.first[self.meta.n()..];
        for ((&i, &j), a) in pattern.rows.iter().zip(&pattern.cols).zip(values) {
            jv[i] += a * v[j];
        }
        Ok(())
    }

    fn jac_t_prod(&mut self, x: &[f64], w: &[f64], jtw: &mut [f64]) -> Result<(), EvalError> {
        self.first_order(x);
        jtw.fill(0.0);
        let Some(pattern) = &self.meta.jacobian else { return Ok(()) };
        let values = &self.first[self.meta.n()..];
        for ((&i, &j), a) in pattern.rows.iter().zip(&pattern.cols).zip(values) {
            jtw[j] += a * w[i];
        }
        Ok(())
    }

    fn hess_prod(
        &mut self,
        x: &[f64],
        sigma: f64,
        y: &[f64],
        v: &[f64],
        hv: &mut [f64],
    ) -> Result<(), EvalError> {
        self.evaluate(x, Level::Hessian);
        self.first_order(x);
        self.element_coefficients(sigma, y);
        hv.fill(0.0);
        for (batch, uses) in self.batches.iter().zip(&self.uses) {
            for (k, &(a, b)) in batch.hessian_slots.iter().enumerate() {
                let slot = |s: usize| &batch.vars[s * batch.count..][..batch.count];
                let hessian = &batch.hessians[k * batch.count..][..batch.count];
                for (((h, c), &i), &j) in hessian.iter().zip(&uses.coefficient).zip(slot(a)).zip(slot(b)) {
                    let (i, j, h) = (i as usize, j as usize, h * c);
                    hv[i] += h * v[j];
                    if a != b {
                        hv[j] += h * v[i];
                    }
                }
            }
        }
        let q_first = self.meta.n() + self.jacobian_len;
        for q in &self.q_groups {
            let g = q.group as usize;
            let range = q.begin as usize..(q.begin + q.len) as usize;
            let vars = &self.q_vars[range.clone()];
            let values = &self.first[q_first + range.start..q_first + range.end];
            let product: f64 = vars.iter().zip(values).map(|(&j, q)| q * v[j as usize]).sum();
            let factor = self.bend[g] * self.multiplier(g, sigma, y) * product;
            for (&j, q) in vars.iter().zip(values) {
                hv[j as usize] += factor * q;
            }
        }
        for &(i, j, h, _) in &self.quadratic {
            hv[i as usize] += sigma * h * v[j as usize];
            if i != j {
                hv[j as usize] += sigma * h * v[i as usize];
            }
        }
        Ok(())
    }

    fn jac_values(&mut self, x: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        self.first_order(x);
        let n = self.meta.n();
        values.copy_from_slice(&self.first[n..n + self.jacobian_len]);
        Ok(())
    }

    fn hess_values(&mut self, x: &[f64], sigma: f64, y: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        self.evaluate(x, Level::Hessian);
        if !self.q_groups.is_empty() {
            self.first_order(x);
        }
        self.element_coefficients(sigma, y);
        values.fill(0.0);
        for (batch, uses) in self.batches.iter().zip(&self.uses) {
            for k in 0..batch.hessian_slots.len() {
                let hessian = &batch.hessians[k * batch.count..][..batch.count];
                let entry = &uses.entry[k * batch.count..][..batch.count];
                for ((h, c), &p) in hessian.iter().zip(&uses.coefficient).zip(entry) {
                    values[p as usize] += h * c;
                }
            }
            for &(k, e) in &uses.twice {
                let at = k as usize * batch.count + e as usize;
                values[uses.entry[at] as usize] += batch.hessians[at] * uses.coefficient[e as usize];
            }
        }
        let q_first = self.meta.n() + self.jacobian_len;
        for q in &self.q_groups {
            let g = q.group as usize;
            let factor = self.bend[g] * self.multiplier(g, sigma, y);
            if factor == 0.0 {
                continue;
            }
            let values_of_q = &self.first[q_first + q.begin as usize..][..q.len as usize];
            let mut at = q.hessian_begin;
            for (k, qi) in values_of_q.iter().enumerate() {
                for qj in &values_of_q[..=k] {
                    values[self.q_hessian[at] as usize] += factor * qi * qj;
                    at += 1;
                }
            }
        }
        for &(_, _, h, p) in &self.quadratic {
            values[p as usize] += sigma * h;
        }
        Ok(())
    }

    fn obj_cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<f64, EvalError> {
        self.evaluate(x, Level::Value);
        self.constraints(c);
        Ok(self.objective(x))
    }

    fn grad_jac_values(&mut self, x: &[f64], g: &mut [f64], values: &mut [f64]) -> Result<(), EvalError> {
        self.first_order(x);
        let n = g.len();
        g.copy_from_slice(&self.first[..n]);
        values.copy_from_slice(&self.first[n..n + self.jacobian_len]);
        Ok(())
    }
}

/// Lowers every declared type that is used.
#[allow(clippy::type_complexity)]
fn lower_types(
    file: &str,
    d: &Decoded,
    cards: &FunctionCards,
    options: &SifOptions,
) -> Result<(Vec<Option<Lowered>>, Vec<Option<Lowered>>), SifError> {
    let literals = options.literals;
    let elements = FunctionPart::new(file, &cards.elements, literals)?;
    elements.check_declared(file, |name| d.element_types.iter().any(|t| t.name == name), "element")?;
    let groups = FunctionPart::new(file, &cards.groups, literals)?;
    groups.check_declared(file, |name| d.group_types.iter().any(|t| t.name == name), "group")?;
    let element_functions = d
        .element_types
        .iter()
        .map(|t| {
            let (variables, elemental) =
                if t.internal.is_empty() { (&t.elemental, &t.internal) } else { (&t.internal, &t.elemental) };
            let signature = Signature {
                name: &t.name,
                variables,
                elemental,
                params: &t.params,
                line: t.line,
                is_group: false,
            };
            elements.lower(file, &signature, literals).map(Some)
        })
        .collect::<Result<_, _>>()?;
    let group_functions = d
        .group_types
        .iter()
        .map(|t| {
            let variables = std::slice::from_ref(&t.argument);
            let signature = Signature {
                name: &t.name,
                variables,
                elemental: &[],
                params: &t.params,
                line: t.line,
                is_group: true,
            };
            groups.lower(file, &signature, literals).map(Some)
        })
        .collect::<Result<_, _>>()?;
    Ok((element_functions, group_functions))
}

/// Names, bounds, start, linear flags.
fn basic_meta(d: &Decoded, m: usize) -> NlpMeta {
    let infinite = |v: f64| {
        if v.abs() >= INFINITE_BOUND { v.signum() * f64::INFINITY } else { v }
    };
    let mut meta = NlpMeta {
        name: d.name.clone(),
        x_lower: d.x_lower.iter().copied().map(infinite).collect(),
        x_upper: d.x_upper.iter().copied().map(infinite).collect(),
        x0: d.x0.clone(),
        variable_names: d.variables.iter().map(str::to_string).collect(),
        constant_objective: d.quadratic.is_empty() && !d.kind.contains(&GroupKind::Objective),
        jacobian_products: true,
        hessian_products: true,
        ..NlpMeta::default()
    };
    meta.c_lower.reserve(m);
    for (g, kind) in d.kind.iter().enumerate() {
        let r = infinite(d.range[g].abs());
        let (lower, upper) = match kind {
            GroupKind::Objective => continue,
            GroupKind::Equality => (0.0, 0.0),
            GroupKind::Less => (-r, 0.0),
            GroupKind::Greater => (0.0, r),
        };
        meta.c_lower.push(lower);
        meta.c_upper.push(upper);
        meta.y0.push(d.y0[g]);
        meta.linear.push(d.group_type[g].is_none() && d.uses.get(g).is_empty());
        meta.constraint_names.push(d.groups.get(g).to_string());
    }
    meta
}
