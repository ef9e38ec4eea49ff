//! Least squares with an outlier: a logistic curve by squares and by Cauchy's loss, with intervals of the parameters. `cargo run --release --example fit`

use costate::fit::{LeastSquares, Loss};
use costate::observe::Silent;
use costate::opt::{Options, solve};

fn main() -> Result<(), costate::Error> {
    // Growth of pasture (Ratkowsky 1983), with one number misread: 22.33 became 52.33.
    let t = [9.0, 14.0, 21.0, 28.0, 42.0, 57.0, 63.0, 70.0, 79.0];
    let y = [8.93, 10.8, 18.59, 52.33, 39.35, 56.11, 61.73, 64.62, 67.08];
    for loss in [Loss::Squares, Loss::Cauchy(1.0)] {
        let mut fit =
            LeastSquares::curve(&t, &y, &[75.0, 2.5, 0.07], |t, b| b[0] / (1.0 + (b[1] - b[2] * t).exp()))?
                .loss(loss)?;
        let report = solve(&mut fit, &Options::default(), &mut Silent)?;
        let s = fit.statistics(&report)?;
        println!("{loss:?}: {}, R^2 {:.4}", report.message, s.r_squared.unwrap_or(f64::NAN));
        for (j, b) in s.x.iter().enumerate() {
            let (low, high) = s.interval(j, 0.95)?;
            println!("  b[{j}] = {b:.4} +- {:.4}, 95 %: {low:.4} to {high:.4}", s.standard_errors[j]);
        }
    }
    Ok(())
}
