//! The reverse of unrolled optimizer steps (Maclaurin, Duvenaud, Adams, ICML 2015; Such et al., ICML 2020).
//!
//! Inner training, t = 1 .. T, from p_0 and v_0 = 0, with g_t the gradient of the t-th loss by p:
//!
//! ```text
//! v_t = mu_t v_{t-1} + g_t(p_{t-1}, theta),   p_t = p_{t-1} - a_t v_t
//! ```
//!
//! For a loss F(p_T) the costates p' = dF/dp_t and v' = dF/dv_t go back from p' = grad F, v' = 0:
//!
//! ```text
//! v' <- v' - a_t p',   da_t = -p'.v_t (p' before),   dmu_t = v'.v_{t-1}
//! p' <- p' + (dg_t/dp)' v',   dtheta <- dtheta + (dg_t/dtheta)' v',   v' <- mu_t v'
//! ```
//!
//! The reverse is exact for the program of the forward pass; with fewer states kept the others are computed again, with the same bits.

use crate::adjoint::Memory;
use crate::error::{OdeError, check_len};

/// What is trained: losses of steps, whose gradients depend on the parameters p and on theta, all that is learned about training (samples, weights of penalties).
pub trait Inner {
    /// Numbers of p and of theta.
    fn sizes(&self) -> (usize, usize);
    /// Loss of step t, from 0; g <- its gradient by p.
    fn gradient(&mut self, t: usize, p: &[f64], theta: &[f64], g: &mut [f64]) -> f64;
    /// ADDS (dg/dp)' w and (dg/dtheta)' w, for g of step t at (p, theta): products with the Hessian and the mixed second derivatives.
    fn gradient_transposed(
        &mut self,
        t: usize,
        at: (&[f64], &[f64]),
        w: &[f64],
        bars: (&mut [f64], &mut [f64]),
    );
}

/// Learning rate and momentum of every step.
#[derive(Debug, Clone, Copy)]
pub struct InnerSteps<'a> {
    /// a_t.
    pub rates: &'a [f64],
    /// mu_t.
    pub momenta: &'a [f64],
}

/// Derivatives of the outer loss.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Learned {
    /// By the initial parameters.
    pub start: Vec<f64>,
    /// By theta.
    pub theta: Vec<f64>,
    /// By the rates.
    pub rates: Vec<f64>,
    /// By the momenta.
    pub momenta: Vec<f64>,
}

/// Unrolled training with its tape, made once and used often.
///
/// ```
/// use costate::adjoint::Memory;
/// use costate::bilevel::{Inner, InnerSteps, Unrolled};
/// /// Loss (p - theta)^2 / 2.
/// struct Pull;
/// impl Inner for Pull {
///     fn sizes(&self) -> (usize, usize) {
///         (1, 1)
///     }
///     fn gradient(&mut self, _: usize, p: &[f64], theta: &[f64], g: &mut [f64]) -> f64 {
///         g[0] = p[0] - theta[0];
///         0.5 * g[0] * g[0]
///     }
///     fn gradient_transposed(&mut self, _: usize, _: (&[f64], &[f64]), w: &[f64], bars: (&mut [f64], &mut [f64])) {
///         bars.0[0] += w[0];
///         bars.1[0] -= w[0];
///     }
/// }
/// let mut it = Unrolled::new(Memory::States);
/// let steps = InnerSteps { rates: &[0.5, 0.5], momenta: &[0.0, 0.0] };
/// // p_2 = theta + (p_0 - theta) / 4; F = p_2.
/// assert_eq!(it.forward(&mut Pull, &[1.0], &[3.0], steps)?, &[2.5]);
/// let d = it.reverse(&mut Pull, &[1.0])?;
/// assert_eq!((d.start[0], d.theta[0]), (0.25, 0.75));
/// # Ok::<(), costate::ode::OdeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Unrolled {
    memory: Memory,
    /// Steps from one state that is kept to the next.
    stride: usize,
    /// (p, v) after every `stride` steps, the start first.
    kept: Vec<f64>,
    /// (p, v) of the steps between two of these.
    between: Vec<f64>,
    theta: Vec<f64>,
    rates: Vec<f64>,
    momenta: Vec<f64>,
    /// Losses of the steps.
    losses: Vec<f64>,
    g: Vec<f64>,
    /// (p, v) after the last step.
    end: Vec<f64>,
}

impl Unrolled {
    /// `memory` says how many of the states (p, v) are kept: all (`Stages`, `States`), every k-th, or so few that, with those between two of them, there are at most n where that is
    /// possible (2 sqrt(T) is).
    pub fn new(memory: Memory) -> Self {
        Self {
            memory,
            stride: 1,
            kept: vec![],
            between: vec![],
            theta: vec![],
            rates: vec![],
            momenta: vec![],
            losses: vec![],
            g: vec![],
            end: vec![],
        }
    }
    /// Losses of the steps of the last forward pass.
    pub fn losses(&self) -> &[f64] {
        &self.losses
    }

    /// Trains from p0; the parameters after the last step.
    ///
    /// # Errors
    /// Lengths that do not fit.
    pub fn forward<I: Inner + ?Sized>(
        &mut self,
        inner: &mut I,
        p0: &[f64],
        theta: &[f64],
        steps: InnerSteps<'_>,
    ) -> Result<&[f64], OdeError> {
        let (n, m) = inner.sizes();
        check_len("initial parameters", p0.len(), n)?;
        check_len("theta", theta.len(), m)?;
        check_len("momenta", steps.momenta.len(), steps.rates.len())?;
        let count = steps.rates.len();
        self.stride = stride(self.memory, count);
        replace(&mut self.theta, theta);
        replace(&mut self.rates, steps.rates);
        replace(&mut self.momenta, steps.momenta);
        self.g.resize(n, 0.0);
        replace(&mut self.end, p0);
        self.end.resize(2 * n, 0.0);
        self.kept.clear();
        self.losses.clear();
        for t in 0..count {
            if t % self.stride == 0 {
                self.kept.extend_from_slice(&self.end);
            }
            let loss =
                step(inner, t, (&self.theta, self.rates[t], self.momenta[t]), &mut self.g, &mut self.end);
            self.losses.push(loss);
        }
        Ok(&self.end[..n])
    }

    /// Derivatives of a loss of the trained parameters, whose own derivative is `p_bar`.
    ///
    /// # Errors
    /// A length that does not fit, or no forward pass before it.
    pub fn reverse<I: Inner + ?Sized>(&mut self, inner: &mut I, p_bar: &[f64]) -> Result<Learned, OdeError> {
        let (n, m) = inner.sizes();
        check_len("derivative by the trained parameters", p_bar.len(), n)?;
        check_len("parameters of the forward pass, with velocities", self.end.len(), 2 * n)?;
        check_len("theta of the forward pass", self.theta.len(), m)?;
        let count = self.rates.len();
        let mut d = Learned {
            start: p_bar.to_vec(),
            theta: vec![0.0; m],
            rates: vec![0.0; count],
            momenta: vec![0.0; count],
        };
        let mut v_bar = vec![0.0; n];
        for segment in (0..count.div_ceil(self.stride)).rev() {
            let (first, last) = (segment * self.stride, ((segment + 1) * self.stride).min(count));
            self.replay(inner, segment, first, last);
            for t in (first..last).rev() {
                let (before, after) = self.between[(t - first) * 2 * n..].split_at(2 * n);
                let ((p, v_before), v) = (before.split_at(n), &after[n..2 * n]);
                d.rates[t] = -dot(&d.start, v);
                v_bar.iter_mut().zip(&d.start).for_each(|(v, p)| *v -= self.rates[t] * p);
                d.momenta[t] = dot(&v_bar, v_before);
                inner.gradient_transposed(t, (p, &self.theta), &v_bar, (&mut d.start, &mut d.theta));
                v_bar.iter_mut().for_each(|v| *v *= self.momenta[t]);
            }
        }
        Ok(d)
    }

    /// The states before steps `first`, .., and after the step before `last`.
    fn replay<I: Inner + ?Sized>(&mut self, inner: &mut I, segment: usize, first: usize, last: usize) {
        let len = 2 * self.g.len();
        let mut at = self.kept[segment * len..][..len].to_vec();
        replace(&mut self.between, &at);
        for t in first..last {
            // The end of the last step is known, and so is the next state that was kept.
            if t + 1 == self.rates.len() {
                at.copy_from_slice(&self.end);
            } else if t + 1 == last {
                at.copy_from_slice(&self.kept[(segment + 1) * len..][..len]);
            } else {
                step(inner, t, (&self.theta, self.rates[t], self.momenta[t]), &mut self.g, &mut at);
            }
            self.between.extend_from_slice(&at);
        }
    }
}

/// One step of (p, v); the loss before it.
fn step<I: Inner + ?Sized>(
    inner: &mut I,
    t: usize,
    (theta, rate, momentum): (&[f64], f64, f64),
    g: &mut [f64],
    pv: &mut [f64],
) -> f64 {
    let (p, v) = pv.split_at_mut(g.len());
    let loss = inner.gradient(t, p, theta, g);
    for ((p, v), g) in p.iter_mut().zip(v).zip(g) {
        *v = momentum * *v + *g;
        *p -= rate * *v;
    }
    loss
}

fn stride(memory: Memory, steps: usize) -> usize {
    let stride = match memory {
        Memory::Stages | Memory::States => 1,
        Memory::Every(k) => k,
        // Of the smallest sums steps / k + k that is not above n, the one with the least to compute again.
        Memory::Checkpoints(n) => {
            let states = |k: usize| steps.div_ceil(k) + if k > 1 { k } else { 0 };
            let least = (1..=steps.max(1)).min_by_key(|&k| states(k)).unwrap_or(1);
            (1..=least).find(|&k| states(k) <= n).unwrap_or(least)
        }
    };
    stride.max(1)
}

fn replace(to: &mut Vec<f64>, from: &[f64]) {
    to.clear();
    to.extend_from_slice(from);
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_keep_the_budget() {
        assert_eq!(stride(Memory::States, 100), 1);
        assert_eq!(stride(Memory::Every(7), 100), 7);
        for n in [20, 25, 40, 60, 100] {
            let k = stride(Memory::Checkpoints(n), 100);
            assert!(100usize.div_ceil(k) + if k > 1 { k } else { 0 } <= n, "{n} {k}");
        }
        // Fewer than are possible: as few as are.
        assert_eq!(stride(Memory::Checkpoints(3), 100), 10);
    }
}
