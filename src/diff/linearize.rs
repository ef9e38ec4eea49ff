//! Jacobians and time derivatives from what a map offers.

use super::differences::{Work, time_difference};
use std::fmt;

use super::coloured::Groups;
use super::map::{At, BarsMut, Dots, Map, Offers, Size, Structure, VjpRoom};
use crate::error::OdeError;
use crate::linalg::Scalar;

/// What Jacobians are made of; printed, `4 Jacobian-vector products`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The map's own.
    Own,
    /// So many Jacobian-vector products.
    Jvps(usize),
    /// So many vector-Jacobian products.
    Vjps(usize),
    /// So many forward differences.
    Differences(usize),
    /// There is none: iterations with Jacobian-vector products.
    Products,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => write!(f, "the field's own Jacobian"),
            Self::Jvps(k) => write!(f, "{k} Jacobian-vector products"),
            Self::Vjps(k) => write!(f, "{k} vector-Jacobian products"),
            Self::Differences(k) => write!(f, "{k} differences"),
            Self::Products => write!(f, "no Jacobian, only products"),
        }
    }
}

/// Makes Jacobians, dense or in the map's structure, with storage of its own, from the first of these that the map offers: its Jacobian (of any structure), its jvps in one call,
/// vjps, forward differences ([`Offers::DIFFERENCES`]): one for each column or row, or for each colour of them where the map has a structure. dy/dt is the map's, or zero, or a jvp, or one forward difference.
#[derive(Debug, Clone, Default)]
pub struct Linearizer<T> {
    w: Vec<T>,
    row: Vec<T>,
    p_bar: Vec<T>,
    x: Vec<T>,
    y: Vec<T>,
    delta: Vec<T>,
    entries: Vec<T>,
    keep_dot: Vec<T>,
    pull: VjpRoom<T>,
    groups: Groups,
}

impl<T: Scalar> Linearizer<T> {
    /// Whether a Jacobian can be made, or a sentence that says what to add.
    pub fn check<M: Map<T> + ?Sized>(map: &M, who: &str) -> Result<(), OdeError> {
        let offers = map.offers();
        if *map.structure() == Structure::Products && !offers.has(Offers::JVP) {
            let what = format!("{who} needs Jacobian-vector products of a map by products: add `with_jvp`");
            return Err(OdeError::Mismatch { what });
        }
        let some = [Offers::JACOBIAN, Offers::JVP, Offers::VJP, Offers::DIFFERENCES];
        if some.into_iter().any(|o| offers.has(o)) {
            return Ok(());
        }
        let what = format!(
            "{who} needs a Jacobian: add `with_jacobian`, `with_jvp` or `with_vjp`, or take differences with `Differences::of`"
        );
        Err(OdeError::Mismatch { what })
    }

    /// Colours the structure of a map without a Jacobian of its own; the first Jacobian does that where it was not done before.
    pub fn prepare<M: Map<T> + ?Sized>(&mut self, map: &M) {
        let offers = map.offers();
        if !offers.has(Offers::JACOBIAN) && is_known(map.structure()) {
            self.groups.prepare(
                map.structure(),
                map.size(),
                !offers.has(Offers::JVP) && offers.has(Offers::VJP),
            );
        }
    }

    /// What Jacobians of this map are made of, after [`prepare`](Self::prepare).
    pub fn source<M: Map<T> + ?Sized>(&self, map: &M) -> Source {
        let (offers, Size { inputs, outputs, .. }) = (map.offers(), map.size());
        if offers.has(Offers::JACOBIAN) {
            return Source::Own;
        }
        let count = |all: usize| if is_known(map.structure()) { self.groups.len() } else { all };
        match (offers.has(Offers::JVP), offers.has(Offers::VJP)) {
            (true, _) => Source::Jvps(count(inputs)),
            (_, true) => Source::Vjps(count(outputs)),
            _ => Source::Differences(count(inputs)),
        }
    }

    /// jac <- dy/dx, a column-major block for each column of the batch, dt <- dy/dt; `y` is the value at `at`. `h` is the scale of differences: the step
    /// planned from here, negative backwards.
    #[inline(always)]
    pub fn linearize<M: Map<T> + ?Sized>(
        &mut self,
        map: &mut M,
        at: At<'_, T>,
        h: T,
        y: &[T],
        jac: &mut [T],
        dt: &mut [T],
    ) -> Work {
        let mut work = Work::default();
        if !map.offers().has(Offers::JACOBIAN) {
            work = self.without_jacobian(map, at, h, y, jac);
        } else if !is_known(map.structure()) {
            map.jacobian(at, jac);
        } else {
            let mut entries = self.room_for_entries(map, at);
            map.jacobian(at, &mut entries);
            expand(map, &entries, jac);
            self.entries = entries;
        }
        self.rate(map, at, h, y, dt, &mut work);
        work
    }

    /// As [`linearize`](Self::linearize), with a block of [`Map::structure`] for each column of the batch in `jac`.
    pub fn linearize_structured<M: Map<T> + ?Sized>(
        &mut self,
        map: &mut M,
        at: At<'_, T>,
        h: T,
        y: &[T],
        jac: &mut [T],
        dt: &mut [T],
    ) -> Work {
        let mut work = self.entries(map, at, h, y, jac);
        self.rate(map, at, h, y, dt, &mut work);
        work
    }

    /// The Jacobian alone, in a block of [`Map::structure`] for each column of the batch.
    pub fn entries<M: Map<T> + ?Sized>(
        &mut self,
        map: &mut M,
        at: At<'_, T>,
        h: T,
        y: &[T],
        jac: &mut [T],
    ) -> Work {
        if map.offers().has(Offers::JACOBIAN) {
            map.jacobian(at, jac);
            Work::default()
        } else if is_known(map.structure()) {
            self.by_groups(map, at, h, y, jac)
        } else {
            self.by_products(map, at, h, y, jac)
        }
    }

    /// jac <- dy/dx alone, as [`linearize_structured`](Self::linearize_structured), of a map that has it or a product: no differences.
    pub(super) fn jacobian<M: Map<T> + ?Sized>(&mut self, map: &mut M, at: At<'_, T>, jac: &mut [T]) {
        self.entries(map, at, T::ONE, &[], jac);
    }

    /// dt <- dy/dt alone, of a map that has it or a Jacobian-vector product: no difference.
    pub(super) fn rate_at<M: Map<T> + ?Sized>(&mut self, map: &mut M, at: At<'_, T>, dt: &mut [T]) {
        self.rate(map, at, T::ONE, &[], dt, &mut Work::default());
    }

    /// dt <- dy/dt alone; adds what it takes to `work`.
    #[inline(always)]
    pub fn rate<M: Map<T> + ?Sized>(
        &mut self,
        map: &mut M,
        at: At<'_, T>,
        h: T,
        y: &[T],
        dt: &mut [T],
        work: &mut Work,
    ) {
        let offers = map.offers();
        if offers.has(Offers::AUTONOMOUS) {
            dt.fill(T::ZERO);
        } else if offers.has(Offers::DT) {
            map.time_derivative(at, dt);
        } else {
            self.time_derivative(map, at, h, y, dt, work);
        }
    }

    fn room_for_entries<M: Map<T> + ?Sized>(&mut self, map: &M, at: At<'_, T>) -> Vec<T> {
        let Size { inputs, outputs, .. } = map.size();
        let mut entries = std::mem::take(&mut self.entries);
        entries.resize(map.structure().len(outputs, inputs) * (at.x.len() / inputs), T::ZERO);
        entries
    }

    fn without_jacobian<M: Map<T> + ?Sized>(
        &mut self,
        map: &mut M,
        at: At<'_, T>,
        h: T,
        y: &[T],
        jac: &mut [T],
    ) -> Work {
        if !is_known(map.structure()) {
            return self.by_products(map, at, h, y, jac);
        }
        let mut entries = self.room_for_entries(map, at);
        let work = self.by_groups(map, at, h, y, &mut entries);
        expand(map, &entries, jac);
        self.entries = entries;
        work
    }

    /// Entries of the map's structure from one product or difference for each colour.
    fn by_groups<M: Map<T> + ?Sized>(
        &mut self,
        map: &mut M,
        at: At<'_, T>,
        h: T,
        y: &[T],
        jac: &mut [T],
    ) -> Work {
        self.prepare(map);
        let Size { inputs, outputs, params } = map.size();
        let (offers, batch, colours) = (map.offers(), at.x.len() / inputs, self.groups.len());
        let len = map.structure().len(outputs, inputs);
        jac.fill(T::ZERO);
        if offers.has(Offers::JVP) {
            self.w.clear();
            self.w.resize(colours * at.x.len(), T::ZERO);
            for (g, direction) in self.w.chunks_exact_mut(at.x.len()).enumerate() {
                direction.chunks_exact_mut(inputs).for_each(|x| self.groups.mark(g, x));
            }
            self.directions(map, at, colours);
            for (g, columns) in self.row.chunks_exact(outputs * batch).enumerate() {
                self.groups.gather(g, columns.chunks_exact(outputs).zip(jac.chunks_exact_mut(len)));
            }
            return Work { jvps: colours as u64, ..Work::default() };
        }
        if offers.has(Offers::VJP) {
            self.w.resize(outputs * batch, T::ZERO);
            self.row.resize(at.x.len(), T::ZERO);
            self.p_bar.resize(params, T::ZERO);
            let of = self.pull.evaluate(map, at);
            for g in 0..colours {
                self.w.fill(T::ZERO);
                self.row.fill(T::ZERO);
                self.w.chunks_exact_mut(outputs).for_each(|w| self.groups.mark(g, w));
                map.vjp(at, of, &self.w, BarsMut::new(&mut self.row, &mut self.p_bar));
                self.groups.gather(g, self.row.chunks_exact(inputs).zip(jac.chunks_exact_mut(len)));
            }
            self.p_bar.fill(T::ZERO);
            return Work { vjps: colours as u64, ..Work::default() };
        }
        self.increments(map.size(), at, h, y);
        for g in 0..colours {
            self.groups.shift(g, inputs, (at.x, &mut self.x), &mut self.delta);
            map.value(At::new(at.t, &self.x, at.p), &mut self.y);
            self.groups.quotients(g, map.size(), (y, &self.y), &self.delta, jac.chunks_exact_mut(len));
            self.groups.restore(g, inputs, at.x, &mut self.x);
        }
        Work { values: colours as u64, ..Work::default() }
    }

    fn by_products<M: Map<T> + ?Sized>(
        &mut self,
        map: &mut M,
        at: At<'_, T>,
        h: T,
        y: &[T],
        jac: &mut [T],
    ) -> Work {
        let offers = map.offers();
        if offers.has(Offers::JVP) {
            self.columns(map, at, jac)
        } else if offers.has(Offers::VJP) {
            self.rows(map, at, jac)
        } else {
            self.differences(map, at, h, y, jac)
        }
    }

    fn columns<M: Map<T> + ?Sized>(&mut self, map: &mut M, at: At<'_, T>, jac: &mut [T]) -> Work {
        let Size { inputs, outputs, .. } = map.size();
        let batch = at.x.len() / inputs;
        self.w.clear();
        self.w.resize(inputs * at.x.len(), T::ZERO);
        for (j, direction) in self.w.chunks_exact_mut(at.x.len()).enumerate() {
            direction.iter_mut().skip(j).step_by(inputs).for_each(|v| *v = T::ONE);
        }
        self.directions(map, at, inputs);
        for (j, columns) in self.row.chunks_exact(outputs * batch).enumerate() {
            for (column, block) in columns.chunks_exact(outputs).zip(jac.chunks_exact_mut(inputs * outputs)) {
                block[j * outputs..][..outputs].copy_from_slice(column);
            }
        }
        Work { jvps: inputs as u64, ..Work::default() }
    }

    /// row <- the products with the directions in w.
    fn directions<M: Map<T> + ?Sized>(&mut self, map: &mut M, at: At<'_, T>, count: usize) {
        let batch = at.x.len() / map.inputs();
        self.row.resize(count * map.outputs() * batch, T::ZERO);
        self.keep_dot.resize(count * map.keep_len(batch), T::ZERO);
        let of = self.pull.evaluate(map, at);
        let dots = Dots { count, t: &[], x: &self.w, p: &[] };
        map.jvp(at, of, dots, &mut self.row, &mut self.keep_dot);
    }

    fn rows<M: Map<T> + ?Sized>(&mut self, map: &mut M, at: At<'_, T>, jac: &mut [T]) -> Work {
        let Size { inputs, outputs, params } = map.size();
        let batch = at.x.len() / inputs;
        self.w.resize(outputs * batch, T::ZERO);
        self.row.resize(at.x.len(), T::ZERO);
        self.p_bar.resize(params, T::ZERO);
        let of = self.pull.evaluate(map, at);
        for i in 0..outputs {
            self.w.fill(T::ZERO);
            self.row.fill(T::ZERO);
            self.w.iter_mut().skip(i).step_by(outputs).for_each(|w| *w = T::ONE);
            map.vjp(at, of, &self.w, BarsMut::new(&mut self.row, &mut self.p_bar));
            for (row, block) in self.row.chunks_exact(inputs).zip(jac.chunks_exact_mut(inputs * outputs)) {
                row.iter().zip(block.chunks_exact_mut(outputs)).for_each(|(r, column)| column[i] = *r);
            }
        }
        // Only the part of x is wanted; what gathers here must stay finite.
        self.p_bar.fill(T::ZERO);
        Work { vjps: outputs as u64, ..Work::default() }
    }

    /// delta_j <- sqrt(eps) max(|x_j|, |h y_j|, 1e-5 max |x|), x <- the point.
    fn increments(&mut self, size: Size, at: At<'_, T>, h: T, y: &[T]) {
        let Size { inputs: n, outputs: m, .. } = size;
        let len = at.x.len();
        self.x.resize(len, T::ZERO);
        self.y.resize(y.len(), T::ZERO);
        self.delta.resize(len, T::ZERO);
        self.x.copy_from_slice(at.x);
        let root = T::EPSILON.sqrt();
        let larger = |a: T, b: T| if b > a { b } else { a };
        for (c, (x, delta)) in at.x.chunks_exact(n).zip(self.delta.chunks_exact_mut(n)).enumerate() {
            let most = x.iter().fold(T::ZERO, |m, v| larger(m, v.abs()));
            for j in 0..n {
                // Only a field moves x_j by h y_j.
                let moved = if n == m { (h * y[c * n + j]).abs() } else { T::ZERO };
                let size = larger(larger(x[j].abs(), moved), T::of(1e-5) * most);
                delta[j] = root * if size > T::ZERO { size } else { T::ONE };
            }
        }
    }

    fn differences<M: Map<T> + ?Sized>(
        &mut self,
        map: &mut M,
        at: At<'_, T>,
        h: T,
        y: &[T],
        jac: &mut [T],
    ) -> Work {
        let Size { inputs: n, outputs: m, .. } = map.size();
        let len = at.x.len();
        self.increments(map.size(), at, h, y);
        for j in 0..n {
            for k in (j..len).step_by(n) {
                self.x[k] = at.x[k] + self.delta[k];
                // What was really added.
                self.delta[k] = self.x[k] - at.x[k];
            }
            map.value(At::new(at.t, &self.x, at.p), &mut self.y);
            for (b, block) in jac.chunks_exact_mut(n * m).enumerate() {
                let inverse = T::ONE / self.delta[b * n + j];
                for i in 0..m {
                    block[j * m + i] = (self.y[b * m + i] - y[b * m + i]) * inverse;
                }
            }
            for k in (j..len).step_by(n) {
                self.x[k] = at.x[k];
            }
        }
        Work { values: n as u64, ..Work::default() }
    }

    #[inline(always)]
    fn time_derivative<M: Map<T> + ?Sized>(
        &mut self,
        map: &mut M,
        at: At<'_, T>,
        h: T,
        y: &[T],
        dt: &mut [T],
        work: &mut Work,
    ) {
        if map.offers().has(Offers::JVP) {
            self.keep_dot.resize(map.keep_len(at.x.len() / map.inputs()), T::ZERO);
            let of = self.pull.evaluate(map, at);
            map.jvp(at, of, Dots { count: 1, t: &[T::ONE], x: &[], p: &[] }, dt, &mut self.keep_dot);
            work.jvps += 1;
            return;
        }
        let delta = time_difference(at.t, h);
        map.value(At::new(at.t + delta, at.x, at.p), dt);
        work.values += 1;
        for (d, &y) in dt.iter_mut().zip(y) {
            *d = (*d - y) / delta;
        }
    }
}

/// Banded or sparse.
#[inline(always)]
fn is_known(structure: &Structure) -> bool {
    matches!(structure, Structure::Banded { .. } | Structure::Sparse { .. })
}

/// jac <- the entries of the map's structure, in full.
fn expand<T: Scalar, M: Map<T> + ?Sized>(map: &M, entries: &[T], jac: &mut [T]) {
    let Size { inputs, outputs, .. } = map.size();
    let len = map.structure().len(outputs, inputs);
    jac.fill(T::ZERO);
    let blocks = jac.chunks_exact_mut(outputs * inputs).zip(entries.chunks_exact(len.max(1)));
    for (block, entries) in blocks {
        map.structure().entries(outputs, inputs, |i, j, k| block[j * outputs + i] = entries[k]);
    }
}
