//! Where the state may be: bounds on components, and components that stay non-negative.

use super::options::{Options, Tolerance};
use crate::error::OdeError;
use crate::linalg::Scalar;

/// lower <= y_component <= upper in every column of a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// Which component of a state.
    pub component: usize,
    /// May be minus infinity.
    pub lower: f64,
    /// May be infinity.
    pub upper: f64,
}

/// What the end of a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Inside,
    /// A component that must not be negative was, by less than its tolerance: it is zero now.
    Clipped,
    Outside,
}

/// The bounds of a run.
#[derive(Debug, Clone)]
pub(crate) struct Domain<T> {
    dim: usize,
    bounds: Vec<(usize, T, T)>,
    /// Components that must not be negative, with their tolerances.
    floors: Vec<(usize, T)>,
}

impl<T: Scalar> Domain<T> {
    /// For states of `dim` components; an error names what cannot be.
    pub fn new(options: &Options, dim: usize) -> Result<Self, OdeError> {
        let known = |component: usize| {
            let what = format!("a bound is on component {component}, the state has {dim}");
            if component < dim { Ok(component) } else { Err(OdeError::Mismatch { what }) }
        };
        let mut bounds = vec![];
        for b in &options.domain {
            let component = known(b.component)?;
            if b.lower.is_nan() || b.upper.is_nan() || b.lower > b.upper {
                let what =
                    format!("the bounds {} and {} of component {component} leave no room", b.lower, b.upper);
                return Err(OdeError::Mismatch { what });
            }
            bounds.push((component, T::of(b.lower), T::of(b.upper)));
        }
        let atol = |i: usize| match &options.atol {
            Tolerance::One(a) => *a,
            Tolerance::Each(a) => a.get(i).copied().unwrap_or(0.0),
        };
        let mut floors = vec![];
        for &component in &options.non_negative {
            floors.push((known(component)?, T::of(atol(component))));
        }
        Ok(Self { dim, bounds, floors })
    }
    /// Whether there is nothing to look at.
    #[inline(always)]
    pub fn is_everything(&self) -> bool {
        self.bounds.is_empty() && self.floors.is_empty()
    }
    /// Where y is; negative components within their tolerance become zero.
    pub fn place(&self, y: &mut [T]) -> Place {
        let mut place = Place::Inside;
        for y in y.chunks_exact_mut(self.dim) {
            let out = |&(i, lower, upper): &(usize, T, T)| !(y[i] >= lower && y[i] <= upper);
            if self.bounds.iter().any(out) || self.floors.iter().any(|&(i, tol)| y[i] < -tol) {
                return Place::Outside;
            }
            for &(i, _) in &self.floors {
                if y[i] < T::ZERO {
                    (y[i], place) = (T::ZERO, Place::Clipped);
                }
            }
        }
        place
    }
}
