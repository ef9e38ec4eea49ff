//! A model from arrays: economic dispatch. Three power plants with quadratic costs meet a demand; the price is the multiplier of the balance.

use costate::model::{Expr, Expression, Model, variable};
use costate::observe::Silent;
use costate::opt::{Options, Solver, Start};

fn main() -> Result<(), costate::Error> {
    let (linear, quadratic, capacity) = ([8.0, 6.4, 7.9], [0.0016, 0.0022, 0.0048], [600.0, 400.0, 200.0]);
    let mut m = Model::new("dispatch");
    let p: Vec<_> =
        (0..3).map(|k| m.add(variable().min(50).max(capacity[k]).name(format!("plant {k}")))).collect();
    let demand = m.parameter("demand", 850.0);
    m.minimize((0..3).map(|k| linear[k] * p[k] + quadratic[k] * p[k].powi(2)).sum::<Expr>());
    let balance = m.subject_to(p.iter().sum::<Expr>().eq(demand).named("balance"));
    let mut solver = Solver::new(Options::default())?;
    for megawatts in [850.0, 900.0, 1100.0] {
        m.set(demand, megawatts);
        let report = solver.solve(&mut m, Start::Problem, &mut Silent)?;
        let plants: Vec<String> = p.iter().map(|p| format!("{:.1}", p.value(report))).collect();
        println!(
            "{megawatts} MW: {} MW, cost {:.2}, price {:.3}",
            plants.join(" + "),
            report.objective,
            -balance.multiplier(report)
        );
    }
    Ok(())
}
