//! Units of the variables and scaling.

use costate::opt::Options;

use crate::case::{Model, Table};
use crate::jet::Jet;
use crate::judge::{Right, Run};

pub fn table() -> Table {
    let mut t = Table::default();
    differing_units(&mut t);
    products_in_units(&mut t);
    steep_rows(&mut t);
    far_optima(&mut t);
    known_programs(&mut t);
    differences(&mut t);
    t
}

/// U1: x1 = s a, x2 = b / s.
fn differing_units(t: &mut Table) {
    for s in [1e3, 1e4, 1e5, 1e6, 1e7, 1e8] {
        let model = Model::new(&[s, 1.0 / s], move |x| (x[0] / s - 3.0).powi(2) + (s * x[1] - 2.0).powi(2))
            .equal(&[1.0], |x| vec![x[0] * x[1]]);
        t.both(&format!("U1 quadratic, s = {s:e}"), model, move |r| {
            r.optimum(2.7388743347)?;
            r.near(&[2.7889731623 * s, 0.3585549024 / s], 1e-4)
        });
        let rosenbrock = move |x: &[Jet]| {
            let (a, b) = (x[0] / s, s * x[1]);
            100.0 * (b - a * a).powi(2) + (1.0 - a).powi(2)
        };
        let start = [-1.2 * s, 1.0 / s];
        let model = Model::new(&start, rosenbrock).equal(&[1.0], |x| vec![x[0] * x[1]]);
        t.both(&format!("U1 Rosenbrock with a b = 1, s = {s:e}"), model, |r| {
            r.one_of(&[0.0, 360.3797671743])
        });
        t.both(&format!("U1 Rosenbrock, s = {s:e}"), Model::new(&start, rosenbrock), |r| r.optimum(0.0));
    }
    let unscaled = Options { scaling: false, ..Options::default() };
    for s in [1e5, 1e6] {
        let model = Model::new(&[s, 1.0 / s], move |x| (x[0] / s - 3.0).powi(2) + (s * x[1] - 2.0).powi(2))
            .equal(&[1.0], |x| vec![x[0] * x[1]]);
        let name = format!("U1 quadratic without scaling, s = {s:e}");
        t.both_with(&name, model, unscaled.clone(), |r| r.optimum(2.7388743347));
    }
}

/// Others of the kind of U1 and U1b.
fn products_in_units(t: &mut Table) {
    for s in [1e4, 1e6] {
        let model = Model::new(&[s, 2.0 / s], move |x| (x[0] / s - 4.0).powi(2) + (s * x[1] - 1.0).powi(2))
            .equal(&[2.0], |x| vec![x[0] * x[1]]);
        t.both(&format!("units: a b = 2, s = {s:e}"), model, move |r| {
            r.optimum(0.24603176241757)?;
            r.near(&[3.93650846507834 * s, 0.50806444790922 / s], 1e-4)
        });
        let model = Model::new(&[1.0, s, 1.0 / s], move |x| {
            (x[0] - 1.0).powi(2) + (x[1] / s - 2.0).powi(2) + (s * x[2] - 3.0).powi(2)
        })
        .equal(&[1.0], |x| vec![x[0] * x[1] * x[2]]);
        t.both(&format!("units: a b c = 1, s = {s:e}"), model, |r| r.optimum(0.686943474667452));
        let model = Model::new(&[10.0 * s, 4.0 / s], move |x| {
            let (a, b) = (x[0] / s - 3.0, s * x[1] + 1.0);
            a.powi(4) + (a * b).powi(2) + b.powi(2)
        });
        t.both(&format!("units: quartic, s = {s:e}"), model, |r| r.optimum(0.0));
    }
    let model = Model::new(&[1.0, 1.0], |x| x[0] + 2.5e5 * x[1].powi(4)).bounds(&[0.0, -1e30], &[1e30, 1e30]);
    t.both("U1b quartic 2.5e5", model, |r| r.optimum(0.0));
    let model = Model::new(&[1.0, 1.0, 1.0], |x| x[0] + 3e6 * x[1].powi(4) + (x[2] - 2.0).powi(2))
        .bounds(&[0.0, -1e30, -1e30], &[1e30; 3]);
    t.both("U1b quartic 3e6", model, |r| r.optimum(0.0));
    let model = Model::new(&[1.0, 1.0], |x| x[0] + 1e4 * x[1].powi(6)).bounds(&[0.0, -1e30], &[1e30; 2]);
    t.both("U1b sextic 1e4", model, |r| r.optimum(0.0));
}

/// U2: rows whose gradients are as large as 1e30.
fn steep_rows(t: &mut Table) {
    let objective = |x: &[Jet]| (x[0] - 5e5).powi(2) + (x[1] - 5e5).powi(2);
    let corridor = move |start: [f64; 2], k: f64| {
        Model::new(&start, objective)
            .bounds(&[0.0; 2], &[1e6; 2])
            .rows(&[-1e-6], &[1e30], move |x| vec![k * (x[1] - x[0])])
    };
    for k in [1e4, 1e6, 1e8, 1e12, 1e20, 1e30] {
        t.both(&format!("U2 k = {k:e}"), corridor([5e5, 5e5], k), |r| r.optimum(0.0));
    }
    for k in [1e6, 1e12, 1e20] {
        t.both(&format!("U2 k = {k:e} from afar"), corridor([4e5, 5e5], k), |r| r.optimum(0.0));
    }
    let model = Model::new(&[5e5, 5e5], objective).bounds(&[0.0; 2], &[1e6; 2]).rows(
        &[-1e-6, -1.01],
        &[1e30; 2],
        |x| vec![1e30 * (x[1] - x[0]), -1e-8 * (x[0] + x[1])],
    );
    t.both("U2 k = 1e30 with a second row", model, |r| r.optimum(0.0));
    for k in [1e7, 1e15] {
        let model = Model::new(&[10.0, 30.0, 20.0], |x| {
            (x[0] - 20.0).powi(2) + (x[1] - 20.0).powi(2) + (x[2] - 20.0).powi(2)
        })
        .bounds(&[0.0; 3], &[100.0; 3])
        .rows(&[-1e-5, 0.0], &[1e30; 2], move |x| vec![k * (x[1] - x[0]), x[2] - x[1]]);
        t.both(&format!("U2 three variables, k = {k:e}"), model, |r| r.optimum(0.0));
    }
}

/// Optima far from the start, relative to the units there.
fn far_optima(t: &mut Table) {
    let model = Model::new(&[1e-12], |x| 1.0 / x[0]).bounds(&[1e-12], &[10.0]);
    t.both("U3 1/x", model, |r| r.optimum_to(&[0.1], 1e-7));
    let model = Model::new(&[1e-9], |x| 1.0 / x[0].powi(2)).bounds(&[1e-9], &[100.0]);
    t.both("U3 1/x^2", model, |r| r.optimum_to(&[1e-4], 1e-8));
    let model = Model::new(&[1e-8, 1e-10], |x| 1.0 / x[0] + 1.0 / x[1]).bounds(&[1e-8, 1e-10], &[4.0, 5.0]);
    t.both("U3 1/x + 1/y", model, |r| r.optimum_to(&[0.45], 1e-7));

    let model = Model::new(&[0.0, 0.0], |x| 0.5 * (1e-10 * x[0].powi(2) + 1e10 * x[1].powi(2)) - x[0] - x[1]);
    t.both("curvatures 1e-10 and 1e10", model, |r| {
        r.optimum(-5e9)?;
        r.near(&[1e10, 1e-10], 1e-3)
    });
    for c in [1e11, 1e13, 1e15] {
        let model = Model::new(&[0.0], move |x| 0.5 * c * x[0].powi(2) - x[0]);
        t.both(&format!("curvature {c:e}"), model, move |r| {
            r.optimum(-0.5 / c)?;
            r.near(&[1.0 / c], 1e-6)
        });
    }
    let model = Model::new(&[0.0, 3.0], |x| 0.5e12 * x[0].powi(2) - 3.0 * x[0] + (x[1] - 1.0).powi(2));
    t.both("curvatures 1e12 and 2", model, |r| {
        r.optimum(0.0)?;
        r.near(&[3e-12, 1.0], 1e-3)
    });
}

/// Programs of practice with their answers.
fn known_programs(t: &mut Table) {
    let profit = |x: &[Jet]| -0.7 * (x[1] + x[2] + x[3] - 175000.0) * (x[0].powi(2) + 3.0 * x[0] + 3.0);
    let model = Model::new(&[0.0; 4], profit)
        .bounds(&[0.5, 45000.0, 10000.0, 5000.0], &[1.5, 250000.0, 125000.0, 75000.0]);
    t.both("profit at a corner", model, |r| r.optimum_to(&[-1876875.0], 1e-8));
    let model =
        Model::new(&[-3.0, 0.0, 0.0], |x| -0.5 * (x[1] + x[2] - 100.0) * (x[0].powi(2) + 2.0 * x[0] + 5.0))
            .bounds(&[0.0, 20.0, 30.0], &[2.0, 300.0, 400.0]);
    t.both("profit at another corner", model, |r| r.optimum_to(&[-3900.0], 1e-8));

    const C: [f64; 10] = [
        0.0034580308011081798,
        25.005338828298388,
        38.00318553314289,
        3.0056111951265856,
        31.005338828298388,
        21.005611195126587,
        25.00533869746837,
        12.00533869746837,
        28.002880666667263,
        0.002880535837244679,
    ];
    let (mut lower, mut upper) = ([0.0; 11], [1e30; 11]);
    upper[0] = 1.0;
    let model = Model::new(&[0.0; 11], |x| {
        let logs = x[1..].iter().fold(Jet::constant(0.0), |sum, s| sum + s.ln());
        -(35.95051084102152 * x[0] + 0.1 * logs)
    })
    .bounds(&lower, &upper)
    .equal(&C, |x| x[1..].iter().map(|s| x[0] + *s).collect());
    t.both("logarithms of slacks", model, |r| r.optimum_to(&[-1.195610253900], 1e-7));
    lower[0] = 0.0;
    let model = Model::new(&[0.0; 2], |x| -(2.0 * x[0] + 0.5 * x[1].ln()))
        .bounds(&lower[..2], &upper[..2])
        .equal(&[0.75], |x| vec![x[0] + x[1]]);
    // x = 0.75 - 0.5/2.
    t.both("logarithm of one slack", model, |r| r.optimum_to(&[-1.0 - 0.5 * 0.25f64.ln()], 1e-7));

    let model = Model::new(&[2500.0; 2], |x| -(0.05 * x[0].powf(0.64) + 0.4 * x[1].powf(0.36)))
        .bounds(&[0.0; 2], &[1e30; 2])
        .equal(&[5000.0], |x| vec![x[0] + x[1]]);
    t.both("returns that diminish", model, |r| {
        r.optimum_to(&[-14.9138394927], 1e-8)?;
        r.near(&[3901.69154410, 5000.0 - 3901.69154410], 1e-4)
    });
    let model = Model::new(&[650.0; 2], |x| -(0.2 * x[0].sqrt() + 0.3 * x[1].sqrt()))
        .bounds(&[0.0; 2], &[1e30; 2])
        .equal(&[1300.0], |x| vec![x[0] + x[1]]);
    t.both("returns that diminish like roots", model, |r| {
        r.optimum_to(&[-13.0], 1e-8)?;
        r.near(&[400.0, 900.0], 1e-4)
    });
}

/// Derivatives by differences, in units and beside bounds.
fn differences(t: &mut Table) {
    for s in [1e3, 1e5, 1e6, 1e9] {
        let model = Model::new(&[0.0], move |x| (s * x[0]).exp() - 2.0 * s * x[0]).by_differences();
        let x = std::f64::consts::LN_2 / s;
        t.both(&format!("exp(s x) by differences, s = {s:e}"), model, move |r| {
            r.optimum(0.6137056389)?;
            r.near(&[x], 1e-3)
        });
    }
    for s in [1e4, 1e7] {
        let model =
            Model::new(&[0.0, 0.0], move |x| (-s * x[0]).exp() + 3.0 * s * x[0] + (x[1] - 1.0).powi(2))
                .by_differences();
        let f = 3.0 - 3.0 * 3f64.ln();
        t.both(&format!("exp(-s x) by differences, s = {s:e}"), model, move |r| r.optimum(f));
    }
    let entropy = |x: &[Jet]| x.iter().fold(Jet::constant(0.0), |sum, x| sum + *x * x.ln());
    let inside = |r: &mut Run, f: f64| -> Right {
        if r.outside {
            return Err("evaluated outside the bounds".into());
        }
        r.optimum_to(&[f], 1e-8)
    };
    let model = Model::new(&[0.3, 0.7], move |x| entropy(x) + 100.0 * x[0])
        .bounds(&[0.0; 2], &[1.0; 2])
        .equal(&[1.0], |x| vec![x[0] + x[1]])
        .hessian_by_differences();
    t.both("entropy + 100 x, Hessian by differences", model, move |r| inside(r, 0.0));
    let three = |a: f64, b: f64| {
        Model::new(&[0.2, 0.3, 0.5], move |x| entropy(x) + a * x[0] + b * x[1])
            .bounds(&[0.0; 3], &[1.0; 3])
            .equal(&[1.0], |x| vec![x[0] + x[1] + x[2]])
    };
    let steep = three(50.0, 60.0).hessian_by_differences();
    t.both("entropy of three, Hessian by differences", steep, move |r| inside(r, 0.0));
    let mild = three(2.0, 9.0).by_differences();
    let f = -(1.0 + (-2f64).exp() + (-9f64).exp()).ln();
    t.both("entropy of three by differences", mild, move |r| inside(r, f));
}
