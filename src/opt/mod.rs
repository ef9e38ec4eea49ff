//! Optimization: inexact Newton with randomized sketching on the exact augmented Lagrangian.

mod options;

pub use options::{AccuracyRule, Options};

use crate::error::Error;
use crate::nlp::Nlp;
use crate::observe::Observer;
use crate::report::Report;

/// Solves a nonlinear program with equality constraints, or without constraints.
///
/// # Errors
/// [`Error::Problem`] if the meta data contradict each other, [`Error::Unsupported`] for bounds and inequalities,
/// [`Error::Option`] for an option outside its range. Everything else is a [`Report`].
pub fn solve(nlp: &mut dyn Nlp, options: &Options, observer: &mut dyn Observer) -> Result<Report, Error> {
    nlp.meta().validate()?;
    options.validate()?;
    let _ = observer;
    Err(Error::Unsupported { name: nlp.meta().name.clone(), what: "not here yet".into() })
}
