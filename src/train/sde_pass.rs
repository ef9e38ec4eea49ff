//! One training pass of a neural SDE: as [`OdePass`](super::OdePass), along Brownian paths that the pass's random numbers choose.
//!
//! Gradients are those of the frozen-step program on the same path ([`crate::adjoint::SdeAdjoint`]). A local penalty takes one more step with a new
//! increment, from a sampled state that is held constant; sampled without bias, the step begins at a uniformly distributed time, at which the
//! solver is made to stop. Penalties along the path (TayNODE, RNODE) need a smooth solution and are refused.

use std::time::Instant;

use rand::RngExt;
use rand::rngs::StdRng;

use super::error::TrainError;
use super::pass::{Loss, LossBars, PassStats, Penalty, Problem, Scope};
use super::schedule::Progress;
use crate::adjoint::{Bars, Heuristic, Heuristics, LocalSample, Memory, SampleRule, SdeAdjoint};
use crate::diff::Map;
use crate::linalg::Scalar;
use crate::ode::{Options, SaveAt};
use crate::sde::{Brownian, Sde, SdeMethod};

/// Storage for passes of one batch size.
#[derive(Debug, Clone)]
pub struct SdePass<T: Scalar> {
    adjoint: SdeAdjoint<T>,
    local: SdeAdjoint<T>,
    local_heuristics: Heuristics<T>,
    sample: LocalSample<T>,
    heuristics: Heuristics<T>,
    penalties: Vec<Penalty>,
    y1_bar: Vec<T>,
    saved_bar: Vec<T>,
    scratch: Vec<T>,
}

impl<T: Scalar> SdePass<T> {
    /// For states of dim x batch.
    pub fn new(
        method: &'static SdeMethod,
        (dim, batch): (usize, usize),
        options: &Options,
        memory: Memory,
        penalties: &[Penalty],
    ) -> Result<Self, TrainError> {
        if penalties.iter().any(|p| p.path().is_some()) {
            let what =
                "penalties taylor, kinetic and jacobian need a smooth solution: not for stochastic tasks";
            return Err(TrainError::config(what));
        }
        let stiff = |p: &Penalty| p.term().is_some_and(|t| t.0.heuristic == Heuristic::Stiffness);
        if penalties.iter().any(stiff) && method.stiffness.is_none() {
            let what = format!("method {} has no stiffness estimate, sosri2 has one", method.name);
            return Err(TrainError::config(what));
        }
        // One step, to the end of whatever span.
        let one = options.clone().with_fixed_step(1e30);
        let recorder = || Heuristics::new(method.stability, method.control_order, method.stiffness.is_some());
        let n = dim * batch;
        Ok(Self {
            adjoint: SdeAdjoint::new(method, dim, batch, options, memory)?,
            local: SdeAdjoint::new(method, dim, batch, &one, Memory::Stages)?,
            local_heuristics: recorder(),
            sample: LocalSample::new(SampleRule::Biased(0)),
            heuristics: recorder(),
            penalties: penalties.to_vec(),
            y1_bar: vec![T::ZERO; n],
            saved_bar: vec![],
            scratch: vec![T::ZERO; n],
        })
    }

    /// As [`OdePass::run`](super::OdePass::run); p is the drift's parameters, then the diffusion's. NFE counts calls of the drift.
    #[allow(clippy::too_many_arguments)]
    pub fn run<F: Map<T>, G: Map<T>>(
        &mut self,
        sde: &mut Sde<F, G>,
        problem: &Problem<'_, T>,
        now: &Progress,
        rng: &mut StdRng,
        loss: &mut Loss<'_, T>,
        y0_bar: &mut [T],
        p_bar: &mut [T],
    ) -> Result<PassStats, TrainError> {
        let begun = Instant::now();
        let (t0, t1) = problem.span;
        // Drawn whether needed or not: a penalty more or less does not change what the others draw.
        let (path, other, seed) = (rng.random::<u64>(), rng.random::<u64>(), rng.random::<u64>());
        let at = t0 + T::of(rng.random::<f64>()) * (t1 - t0);
        let scope = self.penalties.iter().filter_map(|p| p.term()).map(|t| t.1).find(|s| *s != Scope::Global);
        let unbiased = scope == Some(Scope::LocalUnbiased);
        self.sample.set_rule(if unbiased { SampleRule::Unbiased(at) } else { SampleRule::Biased(seed) });
        let mut save = SaveAt::new(problem.times);
        let sample = scope.map(|_| &mut self.sample);
        let mut sinks = (&mut save, &mut self.heuristics, sample);
        sde.follow(Brownian::new(path));
        let report = self.adjoint.forward(sde, problem.span, problem.y0, problem.p, &mut sinks)?;
        if !report.ok() {
            return Err(TrainError::Solver { what: report.message() });
        }
        let mut stats = PassStats {
            nfe: report.counts.evals,
            accepted: report.counts.accepted,
            rejected: report.counts.rejected,
            forward_seconds: begun.elapsed().as_secs_f64(),
            ..PassStats::of(&self.heuristics)
        };
        let begun = Instant::now();
        self.y1_bar.fill(T::ZERO);
        self.saved_bar.clear();
        self.saved_bar.resize(save.states().len(), T::ZERO);
        let bars = LossBars { y1: &mut self.y1_bar, saved: &mut self.saved_bar };
        stats.data_loss = loss(self.adjoint.y(), save.states(), bars);
        stats.loss = stats.data_loss;
        let penalties = std::mem::take(&mut self.penalties);
        for penalty in &penalties {
            let weight = penalty.weight().at(now);
            let value = self.penalty(sde, problem, penalty, weight, other, p_bar)?;
            stats.loss += weight * value;
            stats.penalties.push(value);
        }
        self.penalties = penalties;
        let bars = Bars {
            y1: &self.y1_bar,
            times: problem.times,
            saved: &self.saved_bar,
            error: self.heuristics.error_bar(),
            stiffness: self.heuristics.stiffness_bar(),
        };
        self.adjoint.reverse(sde, problem.p, &bars, y0_bar, p_bar)?;
        stats.tape_bytes = self.adjoint.tape().bytes();
        stats.reverse_seconds = begun.elapsed().as_secs_f64();
        Ok(stats)
    }

    fn penalty<F: Map<T>, G: Map<T>>(
        &mut self,
        sde: &mut Sde<F, G>,
        problem: &Problem<'_, T>,
        penalty: &Penalty,
        weight: f64,
        seed: u64,
        p_bar: &mut [T],
    ) -> Result<f64, TrainError> {
        let Some((term, scope)) = penalty.term() else { return Ok(0.0) };
        if scope == Scope::Global {
            return Ok(self.heuristics.add(&term, weight)?);
        }
        let (t, h) = (self.sample.t, self.sample.h);
        if !self.sample.found() || t + h == t {
            return Ok(0.0);
        }
        let heuristics = &mut self.local_heuristics;
        let path = sde.path().clone();
        sde.follow(Brownian::new(seed).over(t.f64(), (t + h).f64()).with_cells(1));
        let report = self.local.forward(sde, (t, t + h), &self.sample.y, problem.p, heuristics);
        sde.follow(path);
        let report = report?;
        if !report.ok() {
            return Err(TrainError::Solver { what: report.message() });
        }
        let share = match term.heuristic {
            Heuristic::ExpectedSteps => self.sample.weight(self.heuristics.len(), problem.span.0),
            _ => 1.0,
        };
        let value = share * self.local_heuristics.add(&term, share * weight)?;
        let bars = Bars {
            error: self.local_heuristics.error_bar(),
            stiffness: self.local_heuristics.stiffness_bar(),
            ..Bars::default()
        };
        self.local.reverse(sde, problem.p, &bars, &mut self.scratch, p_bar)?;
        Ok(value)
    }
}

#[cfg(test)]
#[path = "sde_pass_tests.rs"]
mod tests;
