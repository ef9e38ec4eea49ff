//! Stiff problems: reference values, orders, statuses.

mod common;
#[path = "common/stiff.rs"]
mod problems;

use common::reference;
use costate::ode::*;
use problems::{Stiff, relative_error};

fn field(pr: &Stiff) -> impl Linearize<f64> + use<> {
    WithJacobian::new(FnField::new(pr.n, pr.p.len(), pr.f), pr.jac).autonomous()
}

#[test]
fn reference_values() {
    let Some(values) = reference("reference_values.json") else { return };
    for pr in &problems::ALL {
        let exact: Vec<f64> = serde_json::from_value(values["stiff"][pr.key].clone()).unwrap();
        for method in RosenbrockTableau::all() {
            for tol in [1e-4, 1e-6, 1e-8, 1e-10] {
                let mut it = StiffIntegrator::new(method, pr.n, 1, &Options::tolerances(tol, tol * 1e-4)).unwrap();
                let t=std::time::Instant::now();
                let r = it.run(&mut field(pr), (0.0, pr.t1), pr.y0, pr.p, &mut ()).unwrap();
                println!("{} {} {tol:.0e}: error {:.2e} {:?} {:?} {:.1}us", pr.name, method.name, relative_error(it.y(), &exact), r.stop, r.counts, t.elapsed().as_secs_f64()*1e6);
            }
        }
    }
}
