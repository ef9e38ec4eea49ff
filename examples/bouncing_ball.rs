//! A ball that loses a tenth of its speed at every bounce, until it has bounced ten times: events that change the state and end the integration.
//!
//!     cargo run --example bouncing_ball --release

use std::ops::ControlFlow;

use costate::diff::FnMap;
use costate::ode::{AtEvent, Crossing, Events, Integrator, Options, TSIT54};

fn main() -> Result<(), costate::ode::OdeError> {
    // Height and speed.
    let mut field = FnMap::new(2, 1, |_t, y: &[f64], p: &[f64], dy: &mut [f64]| {
        dy[0] = y[1];
        dy[1] = -p[0];
    });
    let mut bounces = 0;
    let mut events =
        Events::new().when(Crossing::Falling, AtEvent::Handle, |_t, y: &[f64]| y[0]).on_event(|bounce, y| {
            bounces += 1;
            println!("bounce {bounces:2} at t = {:.12}, speed {:.6}", bounce.t, bounce.y[1]);
            y[0] = 0.0;
            y[1] *= -0.9;
            if bounces == 10 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    let options = Options::tolerances(1e-9, 1e-9);
    let mut integrator = Integrator::new(&TSIT54, 2, 1, &options)?;
    let report = integrator.run(&mut field, (0.0, 100.0), &[1.0, 0.0], &[9.81], &mut events)?;
    println!("{}", report.message());

    // The first fall takes T = sqrt(2 / g), the flight after bounce k 2 T 0.9^k.
    let fall = (2.0f64 / 9.81).sqrt();
    let exact = fall * (1.0 + 2.0 * (1..10).map(|k| 0.9f64.powi(k)).sum::<f64>());
    println!("error of the last bounce's time: {:.1e}", (report.t - exact).abs());
    Ok(())
}
