//! What kind of point it is: stationary starts, degenerate points, inflections, kinks.

use costate::opt::Options;

use crate::case::{Model, Table};
use crate::jet::Jet;

use super::INF;

pub fn table() -> Table {
    let mut t = Table::default();
    stationary_starts(&mut t);
    degenerate(&mut t);
    no_minimum(&mut t);
    kinks(&mut t);
    not_attained(&mut t);
    t
}

/// The second derivatives are to be examined.
fn examined() -> Options {
    Options { second_order: true, ..Options::default() }
}

/// U4: the start is stationary and no minimum.
fn stationary_starts(t: &mut Table) {
    let model = Model::new(&[0.0], |x| -x[0].powi(2)).bounds(&[-1.0], &[1.0]);
    t.both("U4 max v^2", model, |r| {
        if r.says(&["not a minimum", "maximum", "saddle"]) {
            return Ok(());
        }
        r.optimum(-1.0)?;
        if r.report.x[0].abs() == 1.0 { Ok(()) } else { Err(format!("v = {:?}", r.report.x[0])) }
    });
    let model = Model::new(&[0.0, 0.0], |x| 0.25 * x[0].powi(4) - 0.5 * x[0].powi(2) + x[1].powi(2));
    t.both("U4 double well", model, |r| r.optimum(-0.25));
    let model = Model::new(&[0.0, 0.0], |x| -x[0].powi(2))
        .rows(&[-INF], &[1.0], |x| vec![x[0].powi(2) + x[1].powi(2)]);
    t.both("U4 max x1^2 in a disc", model, |r| r.optimum(-1.0));
    let model = Model::new(&[0.0, 0.0], |x| x[0].cos() + x[1].powi(2));
    t.both("U4 top of a cosine", model, |r| r.optimum(-1.0));
    let model = Model::new(&[0.0, 0.0], |x| -(x[0] * x[1])).bounds(&[-1.0; 2], &[2.0; 2]);
    t.both("U4 product in a box", model, |r| r.one_of(&[-4.0, -1.0]));
    let model = Model::new(&[1.0, 0.0, 0.0], |x| -(x[0].powi(2) + 2.0 * x[1].powi(2) + 3.0 * x[2].powi(2)))
        .equal(&[1.0], |x| vec![x[0].powi(2) + x[1].powi(2) + x[2].powi(2)]);
    t.both("U4 eigenvector on a sphere", model, |r| r.optimum(-3.0));
}

/// U5: no multiplier exists at the solution.
fn degenerate(t: &mut Table) {
    let model = Model::new(&[-1.2, 1.0], |x| 100.0 * (x[1] - x[0].powi(2)).powi(2) + (1.0 - x[0]).powi(2))
        .equal(&[0.0], |x| vec![1e10 * (x[0].powi(2) + x[1].powi(2))]);
    t.both_with("U5 Rosenbrock at one point", model, examined(), |r| r.degenerate(1.0, &[0.0, 0.0], 1e-4));
    let model = Model::new(&[1.0], |x| x[0]).equal(&[0.0], |x| vec![x[0].powi(2)]);
    t.both_with("U5 x^2 = 0", model, examined(), |r| r.degenerate(0.0, &[0.0], 1.0001e-4));
    let model = Model::new(&[2.0, -1.0], |x| x[0] + 2.0 * x[1])
        .equal(&[0.0], |x| vec![(x[0] - 1.0).powi(2) + x[1].powi(2)]);
    t.both_with("U5 a circle of radius 0", model, examined(), |r| r.degenerate(1.0, &[1.0, 0.0], 1e-2));
    for start in [[-2.0, -2.0], [10.0, 10.0], [0.0, 0.0], [1e3, 1e3]] {
        let model = Model::new(&start, |x| (x[0] - 2.0).powi(2) + x[1].powi(2))
            .bounds(&[0.0; 2], &[INF; 2])
            .rows(&[0.0], &[INF], |x| vec![(1.0 - x[0]).powi(3) - x[1]]);
        t.both_with(&format!("U5 HS13 from {start:?}"), model, examined(), |r| {
            r.degenerate(1.0, &[1.0, 0.0], 2e-2)
        });
    }
    let model =
        Model::new(&[0.2, 0.3], |x| -x[0])
            .bounds(&[-INF, 0.0], &[INF; 2])
            .rows(&[-INF], &[0.0], |x| vec![x[1] - (1.0 - x[0]).powi(3)]);
    t.both_with("U5 a cusp", model, examined(), |r| r.degenerate(-1.0, &[1.0, 0.0], 2e-2));
}

/// U6: no minimum there.
fn no_minimum(t: &mut Table) {
    let model = Model::new(&[2.0, 1.0], |x| x[0].powi(3) + x[1].powi(2));
    t.both_with("U6 x^3 + y^2", model, examined(), |r| {
        if r.report.stop.as_str() == "unbounded" { r.unbounded() } else { r.not_called_minimum() }
    });
    let model = Model::new(&[3.0], |x| x[0].powi(4) - 6.0 * x[0].powi(2) + 8.0 * x[0]);
    t.both_with("U6 inflection of a quartic", model, examined(), |r| {
        if r.optimum(-24.0).is_ok() { Ok(()) } else { r.not_called_minimum() }
    });
    let model = Model::new(&[1.5, 0.5], |x| x[0].powi(5) + x[0].powi(2) * x[1].powi(2) + x[1].powi(2));
    t.both_with("U6 x^5 and a valley", model, examined(), |r| {
        if r.report.stop.as_str() == "unbounded" { r.unbounded() } else { r.not_called_minimum() }
    });
}

/// U7: one-sided slopes differ.
fn kinks(t: &mut Table) {
    let ackley = |x: &[Jet]| {
        let tau = 2.0 * std::f64::consts::PI;
        let r = ((x[0].powi(2) + x[1].powi(2)) / 2.0).sqrt();
        20.0 * (-0.2 * r).exp() - (((tau * x[0]).cos() + (tau * x[1]).cos()) / 2.0).exp()
            + 20.0
            + std::f64::consts::E
    };
    let model = Model::new(&[0.0, 0.0], ackley).by_differences();
    t.both("U7 tip of a cone", model, move |r| {
        if r.says(&["kink", "maximum", "saddle"]) {
            return Ok(());
        }
        let x = r.report.x.clone();
        let f = ackley(&Jet::variables(&x)).v;
        if f < 39.0 { r.optimum(f) } else { Err(format!("{} at the tip, {f}", r.report.stop.as_str())) }
    });
    for start in [[0.3, 0.7], [1.0, 0.7], [1.0, -2.0], [10.0, 10.0]] {
        let model = Model::new(&start, |x| (x[0] - 1.0).abs() + 2.0 * (x[1] + 2.0).abs());
        t.both(&format!("U7 |x - 1| + 2 |y + 2| from {start:?}"), model, |r| {
            r.within(&[1.0, -2.0], 1e-6)?;
            r.must_say(&["kink"])
        });
    }
    let model = Model::new(&[4.0, -3.0], |x| x[0].abs() + x[1].abs() + (x[0] - x[1]).abs());
    t.both("U7 three moduli", model, |r| {
        r.within(&[0.0, 0.0], 1e-6)?;
        r.must_say(&["kink"])
    });
    let model = Model::new(&[3.0, 2.0], |x| (x[0] - 1.0).max(-2.0 * (x[0] - 1.0)) + (x[1] + 1.0).powi(2));
    t.both("U7 larger of two slopes", model, |r| {
        r.within(&[1.0, -1.0], 1e-4)?;
        r.must_say(&["kink"])
    });
}

/// The infimum is not taken: a variable runs away.
fn not_attained(t: &mut Table) {
    let model = Model::new(&[0.0], |x| (-x[0]).exp());
    t.both("not attained: exp(-x)", model, |r| r.must_say(&["not attained"]));
    let model = Model::new(&[1.0, 1.0], |x| x[0].powi(2) + (x[0] * x[1] - 1.0).powi(2));
    t.both("not attained: x^2 + (x y - 1)^2", model, |r| r.must_say(&["not attained"]));
}
