//! Identification of a process that drifts: a linear map by the delta rule, and regimes that come back by a network with three paces.

use costate::memory::{Continuum, ContinuumOptions, DeltaMemory};

fn main() -> Result<(), costate::Error> {
    // Temperature and flow to power, with coefficients that change; inputs of very different sizes need no scaling.
    let mut sensor = DeltaMemory::<f64>::new(3, 1, 0.5)?;
    for k in 0..3000 {
        let t = k as f64;
        let x = [1.0, 40.0 + 10.0 * (0.37 * t).sin(), 0.2 * (0.11 * t).cos()];
        let (gain, offset) = (2.0 + 0.5 * (1e-3 * t).sin(), 5.0 - 1e-3 * t);
        let error = sensor.observe(&x, &[offset + gain * x[1] - 30.0 * x[2]])?;
        if k % 1000 == 999 {
            println!("{k}: error {:.4}, gain {:.3} (true {gain:.3})", error.sqrt(), sensor.weights()[1]);
        }
    }
    // The next value of a wave from its last four; its frequency switches every 1000 steps.
    let options = ContinuumOptions { rate: 3e-3, ..ContinuumOptions::new(&[4, 24, 24, 1], &[1, 8, 64]) };
    let mut memory = Continuum::<f64>::new(&options)?;
    let (mut phase, mut last) = (0.0f64, [0.0; 4]);
    for regime in 0..6 {
        let mut sum = 0.0;
        for k in 0..1000 {
            phase += [0.3, 1.1][regime % 2];
            let error = memory.observe(&last, &[phase.sin()])?;
            sum += if k < 100 { error } else { 0.0 };
            last.rotate_left(1);
            last[3] = phase.sin();
        }
        println!("regime {regime}: mean squared error of the first 100 steps {:.1e}", sum / 100.0);
    }
    Ok(())
}
