//! A planet on an eccentric orbit for a thousand years: the energy of a symplectic method stays, that of a Runge-Kutta method with the same number of forces drifts.
//!
//!     cargo run --example planet --release

use costate::diff::FnMap;
use costate::ode::{
    BLANES_MOAN4, Integrator, Options, SecondOrder, Step, StepSink, SymplecticIntegrator, TSIT54, VERLET,
};
use std::f64::consts::TAU;
use std::ops::ControlFlow;

/// |v|^2 / 2 - 1 / |q|.
fn energy(y: &[f64]) -> f64 {
    0.5 * (y[2] * y[2] + y[3] * y[3]) - 1.0 / y[0].hypot(y[1])
}

/// The largest error of the energy so far.
struct Watch {
    start: f64,
    worst: f64,
}

impl StepSink<f64> for Watch {
    fn accepted(&mut self, step: &mut Step<'_, f64>) -> ControlFlow<()> {
        self.worst = self.worst.max((energy(step.y1()) - self.start).abs());
        ControlFlow::Continue(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut field = SecondOrder::new(FnMap::new(2, 0, |_t, q: &[f64], _p: &[f64], a: &mut [f64]| {
        let r = q[0].hypot(q[1]);
        (a[0], a[1]) = (-q[0] / r.powi(3), -q[1] / r.powi(3));
    }));
    // Eccentricity 0.4, a year is 2 pi.
    let y0 = [0.6, 0.0, 0.0, (1.4f64 / 0.6).sqrt()];
    let (years, forces) = (1000.0, 600.0);
    let options = |stages: f64| Options { max_steps: 2_000_000, ..Options::fixed(TAU * stages / forces) };
    let watch = || Watch { start: energy(&y0), worst: 0.0 };
    println!("{forces} forces a year, {years} years: largest error of the energy, and error at the end");
    for method in [&VERLET, &BLANES_MOAN4] {
        let mut it = SymplecticIntegrator::new(method, 4, 1, &options(method.stages() as f64))?;
        let mut seen = watch();
        let report = it.run(&mut field, (0.0, TAU * years), &y0, &[], &mut seen)?;
        let off = (it.y()[0] - y0[0]).hypot(it.y()[1] - y0[1]);
        println!("{:>14} {:.1e} {off:.1e}, {} steps", method.name, seen.worst, report.counts.accepted);
    }
    let mut it = Integrator::new(&TSIT54, 4, 1, &options(6.0))?;
    let mut seen = watch();
    let report = it.run(&mut field, (0.0, TAU * years), &y0, &[], &mut seen)?;
    let off = (it.y()[0] - y0[0]).hypot(it.y()[1] - y0[1]);
    println!("{:>14} {:.1e} {off:.1e}, {} steps", TSIT54.name, seen.worst, report.counts.accepted);
    Ok(())
}
