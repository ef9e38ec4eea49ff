//! The Adam family: a first moment, a scale made of something like a second one, and decoupled decay.

use std::marker::PhantomData;

use super::{Optimizer, check, count_of};
use crate::linalg::Scalar;
use crate::nn::Entry;
use crate::simd::any_length;

/// Constants of one step for one number.
pub(super) struct Now<T> {
    /// beta2.
    pub b2: T,
    /// 1 - beta2.
    pub c2: T,
    /// 1 / (1 - beta2^t).
    pub correct: T,
    /// Joins the scale.
    pub epsilon: T,
}

/// What the scale is made of.
pub(super) trait Second {
    /// Updates v by g and the first moment m, which g is part of already; the scale, without epsilon.
    fn scale<T: Scalar>(v: &mut T, g: T, m: T, now: &Now<T>) -> T;
}

/// Constants of the family.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Constants {
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    pub decay: f64,
}

impl Constants {
    /// What is wrong, if anything.
    pub fn problem(&self) -> Option<String> {
        check::below_one("beta1", self.beta1)
            .or_else(|| check::below_one("beta2", self.beta2))
            .or_else(|| check::positive("epsilon", self.epsilon))
            .or_else(|| check::at_least_zero("decay", self.decay))
    }

    /// Step t, counted from 1: m <- beta1 m + (1 - beta1) g, p <- p - a decay p - a m / ((1 - beta1^t) (scale + epsilon)).
    pub fn step<T: Scalar, S: Second>(
        &self,
        (rate, t): (f64, u64),
        p: &mut [T],
        g: &[T],
        m: &mut [T],
        v: &mut [T],
    ) {
        let t = t as f64;
        // The correction of the first moment joins the rate.
        let a = T::of(rate / (1.0 - self.beta1.powf(t)));
        let shrink = T::of(rate * self.decay);
        let now = Now {
            b2: T::of(self.beta2),
            c2: T::of(1.0 - self.beta2),
            correct: T::of(1.0 / (1.0 - self.beta2.powf(t))),
            epsilon: T::of(self.epsilon),
        };
        let (b1, c1) = (T::of(self.beta1), T::of(1.0 - self.beta1));
        any_length(|| {
            for (((p, g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
                *m = b1 * *m + c1 * *g;
                let scale = S::scale(v, *g, *m, &now);
                *p += -(shrink * *p) - a * *m / (scale + now.epsilon);
            }
        });
    }
}

/// v <- beta2 v + (1 - beta2) g^2, scale sqrt(v / (1 - beta2^t)).
pub(super) struct Square;

impl Second for Square {
    #[inline(always)]
    fn scale<T: Scalar>(v: &mut T, g: T, _: T, now: &Now<T>) -> T {
        *v = now.b2 * *v + now.c2 * g * g;
        (*v * now.correct).sqrt()
    }
}

/// An optimizer of the family.
pub(super) struct Moments<T, S> {
    constants: Constants,
    m: Vec<T>,
    v: Vec<T>,
    count: u64,
    second: PhantomData<S>,
}

impl<T: Scalar, S: Second> Moments<T, S> {
    pub fn new(constants: Constants, entries: &[Entry]) -> Self {
        let zeros = || vec![T::ZERO; count_of(entries)];
        Self { constants, m: zeros(), v: zeros(), count: 0, second: PhantomData }
    }
}

impl<T: Scalar, S: Second + Send> Optimizer<T> for Moments<T, S> {
    fn step(&mut self, rate: f64, p: &mut [T], g: &[T]) {
        self.count += 1;
        self.constants.step::<T, S>((rate, self.count), p, g, &mut self.m, &mut self.v);
    }
    fn state(&mut self) -> Vec<(&'static str, &mut Vec<T>)> {
        vec![("first_moment", &mut self.m), ("second_moment", &mut self.v)]
    }
    fn count(&mut self) -> &mut u64 {
        &mut self.count
    }
}
