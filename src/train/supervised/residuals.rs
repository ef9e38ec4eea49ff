//! Residuals of rows: those of the loss ([`Objective::residuals`]) by the outputs, and those by the parameters of a model that is a map.

use std::time::Instant;

use rand::rngs::StdRng;

use super::{Model, Objective, Source, Supervised};
use crate::diff::{At, BarsMut, Kept, Map, jacobian_rows};
use crate::linalg::Scalar;
use crate::train::error::TrainError;
use crate::train::pass::PassStats;
use crate::train::residual::ResidualTask;
use crate::train::schedule::Progress;
use crate::train::task::Split;

/// What the map left of a batch, and the derivatives of its residuals by the outputs.
#[derive(Debug, Clone, Default)]
pub(super) struct Linearized<T> {
    p: Vec<T>,
    keep: Vec<T>,
    w: Vec<T>,
    z_bar: Vec<T>,
    x_bar: Vec<T>,
}

impl<T: Scalar> Linearized<T> {
    /// Evaluates the map at x and p, outputs to z.
    pub fn forward<'a>(
        &'a mut self,
        map: &mut dyn Map<T>,
        x: &'a [T],
        p: &[T],
        z: &'a mut Vec<T>,
    ) -> (At<'a, T>, Kept<'a, T>) {
        let batch = x.len() / map.inputs().max(1);
        self.p.clear();
        self.p.extend_from_slice(p);
        z.resize(map.outputs() * batch, T::ZERO);
        self.keep.resize(map.keep_len(batch), T::ZERO);
        let at = At::new(T::ZERO, x, &self.p[..]);
        map.forward(at, z, &mut self.keep);
        (at, Kept { y: z, keep: &self.keep })
    }
}

/// Row i of M is the pullback of the derivative of residual i by the outputs; M M' by the map's own formula, if it has one.
impl<T: Scalar, M: Model<T>, S: Source<T>, O: Objective<T>> ResidualTask<T> for Supervised<T, M, S, O> {
    fn linearize(
        &mut self,
        p: &[T],
        samples: &[usize],
        _: &Progress,
        _: &mut StdRng,
        r: &mut Vec<f64>,
    ) -> Result<(PassStats, Option<f64>), TrainError> {
        let begun = Instant::now();
        self.load(Split::Train, samples)?;
        let refused = || TrainError::config("residuals need a model that is a map, and a loss that has any");
        let map = self.model.map().ok_or_else(refused)?;
        self.linearized.forward(map, &self.rows.x, p, &mut self.z);
        r.clear();
        self.linearized.w.clear();
        if !self.objective.residuals(&self.z, &self.rows, r, &mut self.linearized.w) {
            return Err(refused());
        }
        let share = 1.0 / samples.len() as f64;
        let loss = self.objective.loss(&self.z, &self.rows, share, None);
        let right = self.objective.right(&self.z, &self.rows);
        let forward_seconds = begun.elapsed().as_secs_f64();
        let stats = PassStats { loss, data_loss: loss, forward_seconds, ..PassStats::default() };
        Ok((stats, right.map(|r| r as f64 * share)))
    }
    fn gram(&mut self, g: &mut [f64]) {
        let Linearized { p, keep, w, .. } = &self.linearized;
        if let Some(map) = self.model.map() {
            map.gram(At::new(T::ZERO, &self.rows.x, p), Kept { y: &self.z, keep }, w, g);
        }
    }
    fn rows(&mut self, rows: &mut [f64]) {
        let Linearized { p, keep, w, .. } = &self.linearized;
        let mut all = vec![T::ZERO; rows.len()];
        if let Some(map) = self.model.map() {
            let of = Kept { y: &self.z, keep };
            jacobian_rows(map, At::new(T::ZERO, &self.rows.x, p), of, w, &mut all);
        }
        rows.iter_mut().zip(&all).for_each(|(to, from)| *to = from.f64());
    }
    /// One pullback, of the residuals' derivatives by the outputs weighted by `w`.
    fn pull(&mut self, w: &[f64], out: &mut [T]) {
        let Linearized { p, keep, w: by, z_bar, x_bar } = &mut self.linearized;
        let Some(map) = self.model.map() else { return };
        z_bar.clear();
        z_bar.resize(self.z.len(), T::ZERO);
        x_bar.clear();
        x_bar.resize(self.rows.x.len(), T::ZERO);
        let (outputs, rows) = (map.outputs(), self.rows.weight.len().max(1));
        let per = (w.len() / rows).max(1);
        for (i, (w, by)) in w.iter().zip(by.chunks_exact(outputs)).enumerate() {
            let bar = &mut z_bar[i / per * outputs..][..outputs];
            bar.iter_mut().zip(by).for_each(|(bar, by)| *bar += T::of(*w) * *by);
        }
        let of = Kept { y: &self.z, keep };
        map.vjp(At::new(T::ZERO, &self.rows.x, p), of, z_bar, BarsMut::new(x_bar, out));
    }
}
