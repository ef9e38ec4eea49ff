//! Where the solver begins: lines, a curve, or an integration.

use super::functions::PhaseFunctions;
use super::problem::{Phase, PhaseGuess, Problem};
use crate::Error;
use crate::diff::FnMap;
use crate::ode::{DenseSolution, Integrator, Options, TSIT54};

/// Tolerance of guesses by integration.
const GUESS_TOLERANCE: f64 = 1e-6;

/// States and controls at a fraction of the phase.
pub(super) type Start<'a> = Box<dyn Fn(f64) -> (Vec<f64>, Vec<f64>) + 'a>;

fn lines(phase: &Phase) -> impl Fn(f64) -> (Vec<f64>, Vec<f64>) {
    let states: Vec<(f64, f64)> = phase.states.iter().map(|q| q.guesses()).collect();
    let controls: Vec<(f64, f64)> = phase.controls.iter().map(|q| q.guesses()).collect();
    move |fraction| {
        let at = |ends: &[(f64, f64)]| ends.iter().map(|(a, b)| a + fraction * (b - a)).collect();
        (at(&states), at(&controls))
    }
}

/// The guess that the problem has for a phase.
///
/// # Errors
/// [`Error::Problem`]: a curve of wrong lengths, or an integration that does not reach the end of the phase.
pub(super) fn given<'a>(problem: &'a Problem, phase: &'a Phase) -> Result<Start<'a>, Error> {
    match &phase.guess {
        PhaseGuess::Lines => Ok(Box::new(lines(phase))),
        PhaseGuess::Curve(curve) => {
            let (x, u) = curve(0.0);
            if (x.len(), u.len()) != (phase.states.len(), phase.controls.len()) {
                let what = format!(
                    "the guess of the phase {} has {} states and {} controls, expected {} and {}",
                    phase.name,
                    x.len(),
                    u.len(),
                    phase.states.len(),
                    phase.controls.len()
                );
                return Err(problem.error(what));
            }
            Ok(Box::new(move |fraction| curve(fraction)))
        }
        PhaseGuess::Integrate => integrated(problem, phase),
    }
}

fn integrated<'a>(problem: &'a Problem, phase: &'a Phase) -> Result<Start<'a>, Error> {
    let fail = |what: String| problem.error(format!("the guess of the phase {}: {what}", phase.name));
    let line = lines(phase);
    let (t0, t1) = (phase.start.guess(), phase.end.guess());
    let fraction = move |t: f64| ((t - t0) / (t1 - t0)).clamp(0.0, 1.0);
    let p: Vec<f64> = problem.parameters.iter().map(|q| q.guesses().0).collect();
    let mut functions = PhaseFunctions::new(problem, phase)?;
    let n = phase.states.len();
    let controls = lines(phase);
    let mut field = FnMap::new(n, 0, move |t: f64, x: &[f64], _: &[f64], dx: &mut [f64]| {
        dx.copy_from_slice(&functions.values(t, x, &controls(fraction(t)).1, &p)[..n]);
    });
    let mut dense = DenseSolution::new();
    let options = Options::tolerances(GUESS_TOLERANCE, GUESS_TOLERANCE);
    let mut integrator = Integrator::new(&TSIT54, n, 1, &options).map_err(|e| fail(e.to_string()))?;
    let report = integrator
        .run(&mut field, (t0, t1), &line(0.0).0, &[], &mut dense)
        .map_err(|e| fail(e.to_string()))?;
    if !report.ok() {
        return Err(fail(report.message()));
    }
    Ok(Box::new(move |f| {
        let (linear, u) = line(f);
        let x = dense.at(t0 + f * (t1 - t0)).map_or(linear, |x| x.to_vec());
        (x, u)
    }))
}
