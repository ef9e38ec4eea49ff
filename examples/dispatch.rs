//! A model from arrays: economic dispatch over a day. Plants with quadratic costs meet the demand of each hour and change their output by so much an hour; prices
//! are the multipliers of the balances. `cargo run --release --example dispatch`

use costate::model::{Expr, Expression, Model, Var, variable};
use costate::observe::Silent;
use costate::opt::{Options, solve};

fn main() -> Result<(), costate::Error> {
    let (linear, quadratic) = ([8.0, 6.4, 7.9], [0.0016, 0.0022, 0.0048]);
    let (least, most, ramp) = ([150.0, 100.0, 50.0], [600.0, 400.0, 200.0], [60.0, 40.0, 50.0]);
    let demand = [620.0, 580.0, 640.0, 790.0, 930.0, 1010.0, 980.0, 840.0];
    let mut m = Model::new("dispatch");
    let p = m.add_matrix(&variable().name("p"), demand.len(), linear.len());
    for k in 0..linear.len() {
        p.iter().for_each(|hour| m.set_bounds(hour[k], least[k], most[k]));
        for h in p.windows(2) {
            m.subject_to((h[1][k] - h[0][k]).between(-ramp[k], ramp[k]));
        }
    }
    let balances: Vec<_> =
        p.iter().zip(demand).map(|(hour, d)| m.subject_to(hour.iter().sum::<Expr>().eq(d))).collect();
    let cost =
        |hour: &Vec<Var>| (0..3).map(|k| linear[k] * hour[k] + quadratic[k] * hour[k].powi(2)).sum::<Expr>();
    m.minimize(p.iter().map(cost).sum::<Expr>());
    let report = solve(&mut m, &Options::default(), &mut Silent)?;
    println!("cost {:.2} ({})", report.objective, report.message);
    for ((hour, balance), d) in p.iter().zip(balances).zip(demand) {
        let plants: Vec<String> = hour.iter().map(|p| format!("{:.1}", p.value(&report))).collect();
        println!("{d} MW = {}, price {:.3}", plants.join(" + "), -balance.multiplier(&report));
    }
    Ok(())
}
