//! Fields without Taylor coefficients where a type asks for them.

use super::jets::{Jet, JetBars, JetPass, Jets};
use crate::diff::forward::forward_map;
use crate::diff::{At, BarsMut, Dots, Kept, Map, Offers, Size, Spec, Structure};
use crate::linalg::Scalar;

/// Any map, as a field to be trained. It has no Taylor coefficients ([`Jets::has_jets`]): they are NaN, and penalties that need them are refused.
#[derive(Debug, Clone)]
pub struct WithoutTaylor<M> {
    map: M,
}

impl<M> WithoutTaylor<M> {
    /// Of this map.
    pub fn new(map: M) -> Self {
        Self { map }
    }
}

impl<T: Scalar, M: Map<T>> Map<T> for WithoutTaylor<M> {
    forward_map!(map: size value spec forward vjp jvp tangent jacobian time_derivative offers);
}

impl<T: Scalar, M: Map<T>> Jets<T> for WithoutTaylor<M> {
    fn has_jets(&self) -> bool {
        false
    }
    fn jet_len(&self, _: usize, _: usize) -> usize {
        0
    }
    fn jet_forward(&mut self, _: Jet<T>, _: &[T], _: &[T], y: &mut [T], _: &mut [T]) {
        y.fill(T::of(f64::NAN));
    }
    fn jet_backward(&mut self, _: Jet<T>, _: JetPass<'_, T>, bars: JetBars<'_, T>) {
        bars.p.fill(T::of(f64::NAN));
    }
}
