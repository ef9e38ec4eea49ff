//! A problem made of closures: the point of the parabola x1 = x0^2 / 2 nearest to (2, 0.5).
//! `cargo run --release --example closure`

use costate::nlp::Problem;
use costate::observe::Silent;
use costate::opt::{Options, solve};

fn main() -> Result<(), costate::Error> {
    let mut problem = Problem::new("parabola", 2)
        .start(&[1.0, 1.0])
        .objective(|x| 0.5 * ((x[0] - 2.0).powi(2) + (x[1] - 0.5).powi(2)))
        .gradient(|x, g| g.copy_from_slice(&[x[0] - 2.0, x[1] - 0.5]))
        .equality(1, |x, c| c[0] = 0.5 * x[0] * x[0] - x[1])
        .jacobian(|x, j| j.copy_from_slice(&[x[0], -1.0]))
        // Hessian of sigma f + y'c, lower triangle
        .hessian(|_, sigma, y, h| {
            h[0] = sigma + y[0];
            h[3] = sigma;
        })
        .build()?;
    let report = solve(&mut problem, &Options::default(), &mut Silent)?;
    println!("{}, {}: {}", report.stop.as_str(), report.point.as_str(), report.message);
    println!("x = {:?}, y = {:?}, f = {}", report.x, report.y, report.objective);
    println!("{} iterations, residuals {:.1e} {:.1e}", report.iterations, report.primal, report.dual);
    Ok(())
}
