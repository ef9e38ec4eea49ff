//! Complementarity conditions: products of two factors that are not negative and of which one is to be zero.
//!
//! Such a condition is the constraint w(x) <= 0, and no constraint qualification holds where w = 0. So w <= tau is solved, tau = 1, 1e-2, ...
//! down to the tolerance, each from the solution of the last (Scholtes, "Convergence properties of a regularization scheme for mathematical
//! programs with complementarity constraints", SIAM J. Optim. 11, 2001): limits of KKT points are C-stationary, and strongly stationary where the
//! second-order conditions hold. The multipliers of the report are those of the last relaxed problem; they may be large.

use std::fmt::Write;
use std::ops::ControlFlow;

use super::options::{Options, WarmStart};
use super::presolved::Plain;
use crate::error::Error;
use crate::nlp::expressed::delegate_nlp;
use crate::nlp::{Nlp, NlpMeta};
use crate::observe::{Event, Observer};
use crate::report::{Counts, Report};

/// tau at first, and what it is multiplied with.
const FIRST: f64 = 1.0;
const FACTOR: f64 = 1e-2;

/// The problem with w <= tau for its complementarity conditions.
struct Relaxed<'a> {
    nlp: &'a mut dyn Nlp,
    meta: NlpMeta,
    conditions: Vec<usize>,
}

impl Relaxed<'_> {
    fn relax(&mut self, tau: f64) {
        self.conditions.iter().for_each(|&i| self.meta.c_upper[i] = tau);
    }
    /// The largest product.
    fn largest(&mut self, x: &[f64]) -> f64 {
        let mut c = vec![f64::NAN; self.meta.m()];
        if self.nlp.cons(x, &mut c).is_err() {
            return f64::NAN;
        }
        self.conditions.iter().fold(0.0, |w: f64, &i| w.max(c[i]))
    }
}

impl Nlp for Relaxed<'_> {
    fn meta(&self) -> &NlpMeta {
        &self.meta
    }
    delegate_nlp!(@ nlp);
}

/// Hands on one beginning, and says after each how far the conditions are relaxed.
struct Once<'o> {
    observer: &'o mut dyn Observer,
    note: String,
    begun: bool,
}

impl Observer for Once<'_> {
    fn event(&mut self, event: &Event<'_>) -> ControlFlow<()> {
        match event {
            Event::Start(_) => {
                if !std::mem::replace(&mut self.begun, true) {
                    self.observer.event(event)?;
                }
                self.observer.event(&Event::Note { text: &self.note })
            }
            Event::Iteration(_) | Event::Note { .. } | Event::Stop(_) => self.observer.event(event),
        }
    }
}

/// Solves by `plain`: once, or for a row of tau where there are complementarity conditions.
pub(super) fn solve(
    nlp: &mut dyn Nlp,
    (options, warm): (&Options, Option<&WarmStart>),
    observer: &mut dyn Observer,
    report: &mut Report,
    plain: &mut Plain<'_>,
) -> Result<(), Error> {
    let meta = nlp.meta();
    if meta.complementarity.is_empty() {
        return plain(nlp, (options, warm), observer, report);
    }
    let conditions = meta.complementarity.clone();
    let meta = NlpMeta { complementarity: vec![], ..meta.clone() };
    let mut relaxed = Relaxed { nlp, meta, conditions };
    let mut once = Once { observer, note: String::new(), begun: false };
    let (mut iterations, mut counts, mut solves) = (0, Counts::default(), 0);
    let (mut tau, mut from) = (FIRST, warm.cloned());
    loop {
        // No step of less than a factor of ten at the end.
        let last = tau < 10.0 * options.tolerance;
        if last {
            tau = options.tolerance;
        }
        relaxed.relax(tau);
        once.note = format!("complementarity: products up to {tau:.0e} are allowed");
        let left = options.after(iterations, &counts);
        plain(&mut relaxed, (&left, from.as_ref()), &mut once, report)?;
        report.iterations += iterations;
        report.counts += counts;
        solves += 1;
        if last || !report.is_answer() {
            break;
        }
        (iterations, counts) = (report.iterations, report.counts);
        from = Some(WarmStart::from(&*report)).filter(|w| w.validate(w.x.len(), w.y.len()).is_ok());
        tau *= FACTOR;
    }
    let largest = relaxed.largest(&report.x);
    report.primal = report.primal.max(largest);
    let _ = write!(report.method, ", complementarity in {solves} steps");
    let _ = write!(report.message, "; largest product of a complementarity condition {largest:.2e}");
    Ok(())
}
