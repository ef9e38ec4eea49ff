//! The user's second derivatives: entries in the user's order, or products.

use super::{Model, Of, multiply};
use crate::opt::iterate::Point;
use crate::opt::problem::{BadEvaluation, Coordinates, Evaluator};

/// Entries are kept raw: they go from here to their places in K.
pub(in crate::opt) struct Exact {
    places: Option<Coordinates>,
    raw: Vec<f64>,
}

impl Exact {
    /// `None`: by products.
    pub fn new(places: Option<Coordinates>) -> Self {
        let entries = places.as_ref().map_or(0, |p| p.rows.len());
        Self { places, raw: vec![0.0; entries] }
    }
}

impl Model for Exact {
    fn coordinates(&self) -> Option<&Coordinates> {
        self.places.as_ref()
    }

    fn observe(&mut self, p: &mut Evaluator<'_>, at: &Point, of: Of) -> Result<(), BadEvaluation> {
        if self.places.is_none() {
            return Ok(());
        }
        let (sigma, y) = of.arguments(at);
        p.hessian(&at.x, sigma, y, &mut self.raw)
    }

    fn values(&self) -> &[f64] {
        &self.raw
    }

    fn apply(
        &mut self,
        p: &mut Evaluator<'_>,
        at: &Point,
        of: Of,
        v: &[f64],
        out: &mut [f64],
    ) -> Result<(), BadEvaluation> {
        if let Some(places) = &self.places {
            multiply(places, &self.raw, v, out);
            return Ok(());
        }
        let (sigma, y) = of.arguments(at);
        p.hess_mul(&at.x, sigma, y, v, out)
    }

    fn is_given(&self) -> bool {
        self.places.is_some()
    }

    fn label(&self) -> &'static str {
        ""
    }
}
