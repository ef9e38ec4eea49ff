//! The four parameters of Lotka-Volterra from noisy observations: exact gradients of the discretized problem by the adjoint, descent with
//! a line search. The closure is written once and recorded; nobody derives it by hand.
//!
//!     cargo run --example fit_parameters --release

use costate::adjoint::{Adjoint, Bars, Memory};
use costate::expr::record;
use costate::ode::{OdeError, Options, SaveAt, TSIT54, solve};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut field = record(2, 4, |_t, y, p, dy| {
        dy[0] = p[0] * y[0] - p[1] * y[0] * y[1];
        dy[1] = p[3] * y[0] * y[1] - p[2] * y[1];
    })?
    .into_map();
    let truth = [1.5, 1.0, 3.0, 1.0];
    let options = Options::tolerances(1e-7, 1e-7);
    let (span, y0) = ((0.0, 6.0), [1.0, 1.0]);
    let times: Vec<f64> = (1..=60).map(|i| 0.1 * i as f64).collect();

    // Observations with an error of about one percent, from a fixed sequence.
    let clean = solve(&mut field, &TSIT54, &options, span, &y0, &truth, &times)?;
    let data: Vec<f64> = clean
        .states()
        .iter()
        .enumerate()
        .map(|(i, y)| y * (1.0 + 0.01 * (12.9898 * i as f64).sin()))
        .collect();

    let mut solver = Adjoint::new(&TSIT54, 2, 1, &options, Memory::States)?;
    let mut save = SaveAt::new(&times);
    // Loss and gradient, or None where the integration fails.
    let mut evaluate = |p: &[f64]| -> Result<Option<(f64, Vec<f64>)>, OdeError> {
        if !solver.forward(&mut field, span, &y0, p, &mut save)?.ok() {
            return Ok(None);
        }
        let residual: Vec<f64> = save.states().iter().zip(&data).map(|(y, d)| y - d).collect();
        let loss = 0.5 * residual.iter().map(|r| r * r).sum::<f64>();
        let (mut y0_bar, mut p_bar) = (vec![0.0; 2], vec![0.0; 4]);
        let bars = Bars { times: &times, saved: &residual, ..Bars::default() };
        solver.reverse(&mut field, p, &bars, &mut y0_bar, &mut p_bar)?;
        Ok(Some((loss, p_bar)))
    };

    // BFGS with backtracking on four unknowns.
    let mut p = vec![1.3, 0.8, 2.6, 0.9];
    let mut h = vec![[0.0; 4]; 4];
    h.iter_mut().enumerate().for_each(|(i, row)| row[i] = 1e-3);
    let (mut loss, mut g) = evaluate(&p)?.expect("the first guess integrates");
    for iteration in 0..60 {
        println!("{iteration:3}  loss {loss:.6e}  |gradient| {:.2e}  p {p:.5?}", norm(&g));
        if norm(&g) < 1e-5 * (1.0 + loss) {
            break;
        }
        let d: Vec<f64> = (0..4).map(|i| -(0..4).map(|j| h[i][j] * g[j]).sum::<f64>()).collect();
        let slope = dot(&d, &g);
        let mut step = 1.0;
        let (next, new_loss, new_g) = loop {
            let trial: Vec<f64> = p.iter().zip(&d).map(|(a, b)| a + step * b).collect();
            if let Some((l, g)) = evaluate(&trial)?
                && l <= loss + 1e-4 * step * slope
            {
                break (trial, l, g);
            }
            step *= 0.5;
            if step < 1e-12 {
                println!("no further progress");
                return Ok(());
            }
        };
        let s: Vec<f64> = next.iter().zip(&p).map(|(a, b)| a - b).collect();
        let y: Vec<f64> = new_g.iter().zip(&g).map(|(a, b)| a - b).collect();
        update(&mut h, &s, &y);
        (p, loss, g) = (next, new_loss, new_g);
    }
    println!("truth {truth:?}, fitted {p:.4?}");
    Ok(())
}

/// H <- (I - s y'/s'y) H (I - y s'/s'y) + s s'/s'y.
fn update(h: &mut [[f64; 4]], s: &[f64], y: &[f64]) {
    let sy = dot(s, y);
    if sy <= 1e-14 {
        return;
    }
    let hy: Vec<f64> = h.iter().map(|row| dot(row, y)).collect();
    let factor = (1.0 + dot(&hy, y) / sy) / sy;
    for i in 0..4 {
        for j in 0..4 {
            h[i][j] += factor * s[i] * s[j] - (hy[i] * s[j] + s[i] * hy[j]) / sy;
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}
