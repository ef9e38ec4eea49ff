//! The transpose of one step of an explicit method.

use std::mem::{swap, take};

use super::norm::{norm_along, norm_bars, norm_bars_along};
use super::transpose::{Backward, Redo, Reverse, StepBars, Stored, Transpose};
use crate::diff::{At, BarsMut, Kept, Map, Offers, VjpRoom, need};
use crate::error::check_len;
use crate::linalg::Scalar;
use crate::linalg::kernels::{Rows, add_scaled, combine, combine_zero, scaled_norm};
use crate::ode::erk::{Erk, Stages};
use crate::ode::stepper::Measure;
use crate::ode::{Integrator, Join, OdeCounts, OdeError};

/// A tableau by columns, and the bars of one step.
#[derive(Debug, Clone)]
pub struct Transposed<T> {
    pub(super) erk: Erk<T>,
    st: Stages<T>,
    batch: usize,
    /// Column i: (l, a_li) over the stages l of the step; then the same with the error rows as further "stages".
    pub(super) columns: Rows<T>,
    pub(super) columns_e: Rows<T>,
    /// Ones over stages 1..s-1.
    ones: Rows<T>,
    /// G_l at l n; the bars of the error rows u behind them.
    pub(super) g_bars: Vec<T>,
    /// Contributions to K_i besides the columns, where `direct[i]`.
    pub(super) k_direct: Vec<T>,
    direct: Vec<bool>,
    pub(super) k_bar: Vec<T>,
    /// Bar of y1 on entry, of y0 on return.
    pub(super) lambda: Vec<T>,
    /// Bar of k_(s-1) handed back by the step after; of k_0 on return.
    handed: Vec<T>,
    has_handed: bool,
    y0_direct: Vec<T>,
    /// For pullbacks of the interpolant's own stages, of which nothing is kept.
    room: VjpRoom<T>,
    counts: OdeCounts,
}

impl<T: Scalar> Transposed<T> {
    fn new(erk: Erk<T>, dim: usize, batch: usize) -> Self {
        let n = dim * batch;
        let (s, all, errs) = (erk.tab.stages, erk.c.len(), erk.tab.e.len());
        let column = |i: usize, with_error: bool| {
            let mut dense = vec![0.0; all + errs];
            for (l, d) in dense.iter_mut().enumerate().take(s).skip(i + 1) {
                *d = erk.tab.a(l, i);
            }
            if with_error {
                for (d, row) in dense[all..].iter_mut().zip(erk.tab.e) {
                    *d = row.get(i).copied().unwrap_or(0.0);
                }
            }
            dense
        };
        let columns = |with_error| Rows::new(&(0..s).map(|i| column(i, with_error)).collect::<Vec<_>>());
        let ones: Vec<f64> = (0..s).map(|l| (l > 0) as u8 as f64).collect();
        Self {
            columns: columns(false),
            columns_e: columns(true),
            ones: Rows::new(&[ones]),
            g_bars: vec![T::ZERO; (all + errs) * n],
            k_direct: vec![T::ZERO; all * n],
            direct: vec![false; all],
            k_bar: vec![T::ZERO; n],
            lambda: vec![T::ZERO; n],
            handed: vec![T::ZERO; n],
            has_handed: false,
            y0_direct: vec![T::ZERO; n],
            room: VjpRoom::default(),
            counts: OdeCounts::default(),
            batch,
            st: erk.stages(n, 0),
            erk,
        }
    }

    /// All stages of a step from st.y0; unless `first`, the last stage of the step before is k_0.
    fn run<F: Map<T>>(&mut self, f: &mut F, (t, h): (T, T), p: &[T], first: bool) {
        let (erk, st) = (&self.erk, &mut self.st);
        let (n, s) = (st.y0.len(), erk.tab.stages);
        if first {
            erk.eval_stage(f, 0, t, T::ZERO, p, st);
        } else {
            st.k.copy_within((s - 1) * n..s * n, 0);
        }
        erk.step(f, t, h, p, st);
        erk.finish(f, t, h, p, st);
        self.counts.evals += (s - 1 + first as usize) as u64;
    }

    /// k_bar <- K_i.
    fn gather(&mut self, i: usize, h: T, with_error: bool) {
        let n = self.lambda.len();
        if self.erk.nystrom.is_some() {
            self.nystrom_gather(i, h, with_error);
        } else {
            let column = if with_error { self.columns_e.row(i) } else { self.columns.row(i) };
            combine_zero(&mut self.k_bar, h, column, &self.g_bars);
        }
        if self.direct[i] {
            add_scaled(&mut self.k_bar, T::ONE, &self.k_direct[i * n..][..n]);
        }
    }

    /// G_i += (df/dy)' K_i and p_bar += (df/dp)' K_i at the argument of stage i.
    fn pull<F: Map<T>>(&mut self, f: &mut F, i: usize, t: T, h: T, p: &[T], p_bar: &mut [T]) {
        let (n, s) = (self.lambda.len(), self.erk.tab.stages);
        if i + 1 == s && !self.direct[i] && self.k_bar.iter().all(|v| *v == T::ZERO) {
            return;
        }
        let at = if i + 1 == s { &self.st.y1 } else { &self.st.g };
        let ti = t + self.erk.c[i] * h;
        let (at, bars) = (At::new(ti, at, p), BarsMut::new(&mut self.g_bars[i * n..][..n], p_bar));
        if i < s || self.st.keep.is_empty() {
            let len = self.st.keep.len() / s;
            let keep = if len == 0 { &[][..] } else { &self.st.keep[i * len..][..len] };
            f.vjp(at, Kept { y: &self.st.k[i * n..][..n], keep }, &self.k_bar, bars);
        } else {
            self.room.add(f, at, &self.k_bar, bars);
        }
        self.counts.pullbacks += 1;
    }

    /// Bars of u (one for each error row), of y1 and of y0 from E_bar.
    fn reverse_error(&mut self, by: Measure<'_, T>, h: T, e_bar: T) {
        let (n, all) = (self.lambda.len(), self.erk.c.len());
        let mut values = [T::ZERO; 2];
        for (r, value) in values.iter_mut().enumerate().take(self.erk.tab.e.len()) {
            let u = &mut self.g_bars[(all + r) * n..][..n];
            if let Some(ny) = &self.erk.nystrom {
                self.erk.nystrom_error(ny, h, &mut self.st);
                u.copy_from_slice(&self.st.g);
            } else {
                combine_zero(u, h, self.erk.error_row(r), &self.st.k);
            }
            *value = scaled_norm(by.norm, by.scale, &self.st.y0, &self.st.y1, u);
        }
        let bars = self.join_bars(values, e_bar);
        for (r, &bar) in bars.iter().enumerate().take(self.erk.tab.e.len()) {
            self.reverse_norm(by, r, values[r], bar);
        }
    }

    /// u of the first error row, behind the bars of the stages.
    fn first_error(&mut self, h: T) -> &mut [T] {
        let (n, all) = (self.lambda.len(), self.erk.c.len());
        let u = &mut self.g_bars[all * n..][..n];
        combine_zero(u, h, self.erk.error_row(0), &self.st.k);
        u
    }

    /// In steps along a direction: as [`reverse_error`](Self::reverse_error) from the bars of E and of its derivative.
    fn reverse_error_along(&mut self, by: Measure<'_, T>, h: T, bars: (T, T)) {
        let (n, all) = (self.lambda.len(), self.erk.c.len());
        self.first_error(h);
        let ends = (&self.st.y0[..], &self.st.y1[..]);
        let u = &mut self.g_bars[all * n..][..n];
        norm_bars_along(by, ends, u, bars, &mut self.y0_direct, &mut self.lambda);
    }

    /// Bars of the estimates of both rows from that of E.
    fn join_bars(&self, [a, b]: [T; 2], e_bar: T) -> [T; 2] {
        if self.erk.tab.e.len() == 1 {
            return [e_bar, T::ZERO];
        }
        if self.erk.tab.join == Join::Larger {
            return if b > a { [T::ZERO, e_bar] } else { [e_bar, T::ZERO] };
        }
        // E = a^2 / sqrt(d), d = a^2 + b^2 / 100.
        let c = T::of(0.01);
        let d = a * a + c * b * b;
        if d == T::ZERO {
            return [T::ZERO; 2];
        }
        let (root, two) = (d.sqrt(), T::ONE + T::ONE);
        [e_bar * (two * a / root - a * a * a / (d * root)), -e_bar * a * a * c * b / (d * root)]
    }

    /// Through v = |u / sc|: overwrites u (error row r) by its bar, adds to the bars of y1 and y0.
    fn reverse_norm(&mut self, by: Measure<'_, T>, r: usize, value: T, bar: T) {
        let (n, all) = (self.lambda.len(), self.erk.c.len());
        let u = &mut self.g_bars[(all + r) * n..][..n];
        let ends = (&self.st.y0[..], &self.st.y1[..]);
        norm_bars(by, ends, u, (value, bar), &mut self.y0_direct, &mut self.lambda);
    }

    /// Bars of k_(s-1), k_(s-2), y1 and g_(s-2) from S_bar. False where S was guarded to zero.
    fn reverse_stiffness(&mut self, h: T, s_bar: T) -> bool {
        let (n, s) = (self.lambda.len(), self.erk.tab.stages);
        let value = self.erk.stiffness(h, &mut self.st);
        if value == T::ZERO {
            return false;
        }
        // `stiffness` leaves g_(s-2) in st.g.
        let (ka, kb) = (&self.st.k[(s - 1) * n..][..n], &self.st.k[(s - 2) * n..][..n]);
        let sum = |f: &dyn Fn(usize) -> T| (0..n).map(|i| f(i) * f(i)).sum::<T>();
        // Of a Nystrom step: accelerations and positions, and the root of their quotient.
        let half = self.erk.nystrom.as_ref().map(|ny| ny.m);
        let counts = |i: usize, part: usize| half.is_none_or(|m| i % (2 * m) / m == part);
        let dk = |i: usize| if counts(i, 1) { ka[i] - kb[i] } else { T::ZERO };
        let dy = |i: usize| if counts(i, 0) { self.st.y1[i] - self.st.g[i] } else { T::ZERO };
        let (num, den) = (sum(&dk), sum(&dy));
        let s_bar = if half.is_some() { T::of(0.5) * s_bar } else { s_bar };
        let (wk, wy) = (s_bar * value / num, -s_bar * value / den);
        for row in [s - 1, s - 2] {
            if !self.direct[row] {
                self.k_direct[row * n..][..n].fill(T::ZERO);
                self.direct[row] = true;
            }
        }
        for i in 0..n {
            self.k_direct[(s - 1) * n + i] += wk * dk(i);
            self.k_direct[(s - 2) * n + i] -= wk * dk(i);
            self.lambda[i] += wy * dy(i);
            self.g_bars[(s - 2) * n + i] = -wy * dy(i);
        }
        true
    }

    /// Bars from states saved inside the step, through the interpolant and its own stages.
    fn reverse_saves<F: Map<T>>(
        &mut self,
        f: &mut F,
        (t, h): (T, T),
        p: &[T],
        bars: &StepBars<'_, T>,
        p_bar: &mut [T],
    ) {
        let (n, s, all) = (self.lambda.len(), self.erk.tab.stages, self.erk.c.len());
        let inside = bars.states(n).any(|(theta, _)| theta != T::ONE);
        if inside && !self.st.dense {
            self.counts.evals += (all - s) as u64;
            self.erk.prepare_dense(f, t, h, p, &mut self.st);
        }
        if inside {
            for i in 0..all {
                if !self.direct[i] {
                    self.k_direct[i * n..][..n].fill(T::ZERO);
                    self.direct[i] = true;
                }
            }
        }
        // A Nystrom step has weights of its own.
        let weighted = if self.erk.nystrom.is_some() { 0 } else { all };
        for (theta, v) in bars.states(n) {
            add_scaled(&mut self.lambda, theta, v);
            if theta == T::ONE {
                continue;
            }
            add_scaled(&mut self.y0_direct, T::ONE - theta, v);
            for i in 0..weighted {
                let w = self.erk.dense_weight(i, theta);
                if w != T::ZERO {
                    add_scaled(&mut self.k_direct[i * n..][..n], h * w, v);
                }
            }
        }
        if !inside {
            return;
        }
        self.nystrom_saves(h, bars);
        for i in (s..all).rev() {
            self.erk.argument(i, h, &mut self.st);
            self.k_bar.copy_from_slice(&self.k_direct[i * n..][..n]);
            self.g_bars[i * n..][..n].fill(T::ZERO);
            self.pull(f, i, t, h, p, p_bar);
            let g_bar = &self.g_bars[i * n..][..n];
            add_scaled(&mut self.y0_direct, T::ONE, g_bar);
            for (j, a) in self.erk.row(i).iter() {
                add_scaled(&mut self.k_direct[j * n..][..n], h * a, g_bar);
            }
        }
    }
}

impl<T: Scalar> Transpose<T> for Integrator<T> {
    type Back = Transposed<T>;
    fn back(&self, dim: usize, batch: usize) -> Transposed<T> {
        Transposed::new(Erk::new(self.method(), dim), dim, batch)
    }
}

impl<T: Scalar> Backward<T> for Transposed<T> {
    const TAKES_END: bool = true;
    fn start(&mut self) -> &mut Vec<T> {
        &mut self.st.y0
    }
    fn end(&self) -> &[T] {
        &self.st.y1
    }
    fn go_on(&mut self) {
        swap(&mut self.st.y0, &mut self.st.y1);
    }
    fn lambda(&mut self) -> &mut Vec<T> {
        &mut self.lambda
    }
    fn counts(&mut self) -> &mut OdeCounts {
        &mut self.counts
    }
    fn exchange(&mut self, stored: &mut Stored<T>, end: &mut Vec<T>, _: bool) {
        swap(&mut self.st.k, &mut stored.k);
        swap(&mut self.st.keep, &mut stored.keep);
        swap(&mut self.st.y1, end);
        self.st.dense = false;
    }
    fn estimates(&mut self, by: Measure<'_, T>, h: T) -> (T, T) {
        (self.erk.error(by.norm, by.scale, h, &mut self.st), self.erk.stiffness(h, &mut self.st))
    }
    fn error_has_tangent(&self) -> bool {
        self.erk.tab.e.len() == 1 && self.erk.nystrom.is_none()
    }
    fn error_along(&mut self, by: Measure<'_, T>, h: T) -> T {
        self.first_error(h);
        let (n, all) = (self.lambda.len(), self.erk.c.len());
        norm_along(by, (&self.st.y0, &self.st.y1), &self.g_bars[all * n..][..n])[1]
    }
}

impl<T: Scalar, F: Map<T>> Reverse<T, F> for Transposed<T> {
    fn check(&self, f: &F) -> Result<usize, OdeError> {
        need(f, Offers::VJP, "the reverse sweep")?;
        Reverse::<T, F>::check_again(self, f)
    }
    fn check_again(&self, f: &F) -> Result<usize, OdeError> {
        check_len("the field's state", f.inputs(), self.lambda.len() / self.batch)?;
        Ok(f.n_params())
    }
    fn prepare(&mut self, f: &F) -> Result<(), OdeError> {
        self.st.keep.resize(f.keep_len(self.batch) * self.erk.tab.stages, T::ZERO);
        self.has_handed = false;
        Ok(())
    }
    fn redo(&mut self, f: &mut F, step: (T, T), p: &[T], what: Redo) {
        match what {
            Redo::Transpose => self.run(f, step, p, true),
            Redo::Advance { fresh } => {
                let keep = take(&mut self.st.keep);
                self.run(f, step, p, fresh);
                self.st.keep = keep;
            }
        }
    }
    /// All is stored.
    fn restore(&mut self, _: &mut F, _: (T, T), _: &[T], _: bool) {}
    fn interpolate(&mut self, f: &mut F, (t, h): (T, T), p: &[T], theta: T, out: &mut [T]) {
        self.erk.prepare_dense(f, t, h, p, &mut self.st);
        self.erk.interpolate(theta, h, &self.st, out);
    }
    fn rate(&mut self, f: &mut F, (t, h): (T, T), p: &[T], theta: T, out: &mut [T]) {
        self.erk.prepare_dense(f, t, h, p, &mut self.st);
        self.erk.rate(theta, h, &self.st, out);
    }
    fn slope(&mut self, f: &mut F, t: T, y: &[T], p: &[T], out: &mut [T]) {
        f.value(At::new(t, y, p), out);
        self.counts.evals += 1;
    }
    fn reverse(
        &mut self,
        f: &mut F,
        (t, h): (T, T),
        p: &[T],
        by: Measure<'_, T>,
        bars: &StepBars<'_, T>,
        p_bar: &mut [T],
    ) {
        let (n, s) = (self.lambda.len(), self.erk.tab.stages);
        self.direct.fill(false);
        self.y0_direct.fill(T::ZERO);
        if self.has_handed {
            self.k_direct[(s - 1) * n..][..n].copy_from_slice(&self.handed);
            self.direct[s - 1] = true;
        }
        let with_error = bars.error != T::ZERO || bars.error_dot.is_some_and(|b| b != T::ZERO);
        match bars.error_dot {
            Some(dot) if with_error => self.reverse_error_along(by, h, (bars.error, dot)),
            None if with_error => self.reverse_error(by, h, bars.error),
            _ => {}
        }
        let stiff = bars.stiffness != T::ZERO && self.reverse_stiffness(h, bars.stiffness);
        if bars.states(n).next().is_some() {
            self.reverse_saves(f, (t, h), p, bars, p_bar);
        }
        for i in (1..s).rev() {
            self.gather(i, h, with_error);
            // The bar of this stage's argument; for the last stage, of y1.
            if i + 1 == s {
                self.g_bars[i * n..][..n].copy_from_slice(&self.lambda);
            } else {
                if !(stiff && i + 2 == s) {
                    self.g_bars[i * n..][..n].fill(T::ZERO);
                }
                self.erk.argument(i, h, &mut self.st);
            }
            self.pull(f, i, t, h, p, p_bar);
        }
        self.gather(0, h, with_error);
        self.handed.copy_from_slice(&self.k_bar);
        self.has_handed = true;
        combine(&mut self.lambda, &self.y0_direct, T::ONE, self.ones.row(0), &self.g_bars);
        self.nystrom_start(h);
    }
    /// k_0 = f(t, y0) has no step before it. The stages are no longer needed: k_0 and what it keeps go there.
    fn close(&mut self, f: &mut F, t: T, p: &[T], p_bar: &mut [T]) {
        let at = At::new(t, &self.st.y0, p);
        let k0 = &mut self.st.k[..self.lambda.len()];
        let len = self.st.keep.len() / self.erk.tab.stages;
        let keep = &mut self.st.keep[..len];
        let of = if f.offers().has(Offers::ALONE) {
            Kept::NONE
        } else {
            f.forward(at, k0, keep);
            Kept { y: k0, keep }
        };
        f.vjp(at, of, &self.handed, BarsMut::new(&mut self.lambda, p_bar));
        self.counts.pullbacks += 1;
        self.has_handed = false;
    }
}
