//! Hock and Schittkowski's problem 71 as a model, and as a function written once. `cargo run --release --example hs71`

use costate::model::{Expr, Expression, Model, variable};
use costate::nlp::Problem;
use costate::observe::Silent;
use costate::opt::{Options, solve};

fn main() -> Result<(), costate::Error> {
    let start = [1.0, 5.0, 5.0, 1.0];
    let mut m = Model::new("hs71");
    let x: Vec<_> = start.iter().map(|s| m.add(variable().min(1).max(5).start(*s))).collect();
    m.minimize(x[0] * x[3] * (x[0] + x[1] + x[2]) + x[2]);
    let product = m.subject_to((x[0] * x[1] * x[2] * x[3]).ge(25).named("product"));
    m.subject_to(x.iter().map(|x| x.powi(2)).sum::<Expr>().eq(40));
    let report = solve(&mut m, &Options::default(), &mut Silent)?;
    println!("f = {:.7}, x = {:.6?}, product {:.6}", report.objective, report.x, product.multiplier(&report));

    let mut p = Problem::from_dual(4, 2, |x, c| {
        c[0] = x[0] * x[1] * x[2] * x[3];
        c[1] = x.iter().map(|x| x.powi(2)).sum();
        x[0] * x[3] * (x[0] + x[1] + x[2]) + x[2]
    })
    .start(&start)
    .bounds(&[1.0; 4], &[5.0; 4])
    .constraint_bounds(&[25.0, 40.0], &[f64::INFINITY, 40.0])
    .build()?;
    let report = solve(&mut p, &Options::default(), &mut Silent)?;
    println!("f = {:.7}, x = {:.6?}", report.objective, report.x);
    Ok(())
}
