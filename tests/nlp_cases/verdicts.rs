//! Verdicts: infeasible, unbounded, least squares, and the problems that look like one of these and are not.

use costate::nlp::{ClosureProblem, Problem};
use costate::opt::{HessianModel, Options};

use crate::case::{Model, Table};
use crate::jet::Jet;

#[path = "points.rs"]
pub mod points;

const INF: f64 = 1e30;

pub fn table() -> Table {
    let mut t = Table::default();
    nearly_feasible(&mut t);
    infeasible_by_a_row(&mut t);
    unbounded(&mut t);
    not_unbounded(&mut t);
    systems(&mut t);
    fits(&mut t);
    several_optima(&mut t);
    bad_starts(&mut t);
    t
}

/// U8: a violation that cannot be less than d.
fn nearly_feasible(t: &mut Table) {
    for d in [1e-2, 1e-3, 1e-4, 1e-6, 1e-9, 1e-10] {
        let model =
            Model::new(&[1.0], |x| (x[0] - 5.0).powi(2)).equal(&[0.0], move |x| vec![x[0].powi(2) + d]);
        t.both(&format!("U8 x^2 + d = 0, d = {d:e}"), model, move |r| {
            r.iterations_at_most(100)?;
            if d < r.options.tolerance && r.says_solved() {
                // The tolerance allows |x| = sqrt(tol - d), where f = 25 - 10 |x|.
                let (x, violation) = (r.report.x[0], r.violation()?);
                if violation > 1.001 * r.options.tolerance {
                    return Err(format!("violation {violation:.2e}"));
                }
                return r.one_of(&[25.0 - 10.0 * x.abs(), 25.0]);
            }
            r.infeasible(&[0.0], 0.1 * d.sqrt().max(1e-5))
        });
        let model = Model::new(&[2.0, 1.0], |x| (x[0] - 3.0).powi(2) + (x[1] - 4.0).powi(2))
            .equal(&[0.0], move |x| vec![x[0].powi(2) + 4.0 * x[1].powi(2) + d]);
        t.both(&format!("U8 x^2 + 4 y^2 + d = 0, d = {d:e}"), model, move |r| {
            r.iterations_at_most(100)?;
            if d < r.options.tolerance && r.says_solved() {
                return r.within(&[0.0, 0.0], 1e-3);
            }
            r.infeasible(&[0.0, 0.0], 0.1 * d.sqrt().max(1e-5))
        });
    }
    // cosh x <= 1 - d.
    for d in [1e-3, 1e-5] {
        let model = Model::new(&[1.5], |x| x[0])
            .rows(&[-INF], &[2.0 - 2.0 * d], |x| vec![x[0].exp() + (-x[0]).exp()]);
        t.both(&format!("U8 cosh x <= 1 - d, d = {d:e}"), model, move |r| {
            r.iterations_at_most(100)?;
            r.infeasible(&[0.0], 0.1 * d.sqrt())
        });
    }
}

fn infeasible_by_a_row(t: &mut Table) {
    for tolerance in [1e-6, 1e-8, 1e-10, 1e-12] {
        let options = Options { tolerance, ..Options::default() };
        let model = Model::new(&[0.5], |x| x[0].powi(3) + x[0].powi(2)).bounds(&[0.0], &[0.6]).rows(
            &[0.7],
            &[INF],
            |x| vec![x[0]],
        );
        let name = format!("row beyond a bound, tolerance {tolerance:e}");
        t.both_with(&name, model, options.clone(), |r| r.infeasible(&[0.6], 1e-4));
        let model = Model::new(&[0.5, 0.5], |x| x[0].exp() + x[1].powi(2))
            .bounds(&[0.0, -1.0], &[1.0, 1.0])
            .rows(&[-INF, 2.5], &[0.0, INF], |x| vec![x[0] - x[1] - 5.0, x[0] + x[1]]);
        let name = format!("row beyond two bounds, tolerance {tolerance:e}");
        t.both_with(&name, model, options, |r| r.infeasible(&[1.0, 1.0], 1e-4));
    }
}

fn unbounded(t: &mut Table) {
    let model = Model::new(&[1.0], |x| -x[0].exp()).rows(&[0.0], &[INF], |x| vec![x[0]]);
    t.both("unbounded -exp(x)", model, |r| r.unbounded());
    let model = Model::new(&[1.0, 1.0], |x| -(x[0].powi(3) + x[1].powi(3)))
        .rows(&[1.0], &[INF], |x| vec![x[0] + x[1]]);
    t.both("unbounded cubic", model, |r| r.unbounded());
    let model = Model::new(&[0.0, 0.0], |x| -x[0]).rows(&[-3.0], &[3.0], |x| vec![x[0] - x[1]]);
    t.both("unbounded along a strip", model, |r| r.unbounded());
    let model = Model::new(&[0.0, 0.0], |x| -x[0]).equal(&[0.0], |x| vec![x[0] - x[1]]);
    t.both("unbounded along a line", model, |r| r.unbounded());
    let model = Model::new(&[0.0, 0.0, 1.0], |x| x[2] - 2.0 * x[0] - x[1])
        .bounds(&[-INF, -INF, 0.0], &[INF; 3])
        .equal(&[1.0], |x| vec![x[0] - 2.0 * x[1] + x[2]]);
    t.both("unbounded along a plane", model, |r| r.unbounded());
    let model = Model::new(&[1.0, 1.0], |x| -(x[0] * x[1])).rows(&[0.0, 0.0], &[INF; 2], |x| x.to_vec());
    t.both("unbounded product", model, |r| r.unbounded());
}

/// U9: optima of 1e12 and more are optima.
fn not_unbounded(t: &mut Table) {
    let model = Model::new(&[1e4, -3e4], |x| -1e12 * (x[0] + x[1]))
        .equal(&[2.0], |x| vec![x[0].powi(2) + x[1].powi(2)]);
    t.both("U9 -2e12 on a circle", model, |r| r.optimum(-2e12));
    let model = Model::new(&[3e3, -1e3, 2e3], |x| -1e13 * (x[0] + 2.0 * x[1] + 2.0 * x[2]))
        .equal(&[1.0], |x| vec![x[0].powi(2) + x[1].powi(2) + x[2].powi(2)]);
    t.both("U9 -3e13 on a sphere", model, |r| r.optimum(-3e13));
    let model = Model::new(&[0.0], |x| 1e-6 * x[0].powi(2) - 4e3 * x[0]);
    t.both("U9 -4e12 in a valley", model, |r| r.optimum(-4e12));
    let model = Model::new(&[1.0, 1.0], |x| -(x[0] * x[1])).bounds(&[0.0; 2], &[2e6, 3e6]);
    t.both("U9 -6e12 in a box", model, |r| r.optimum(-6e12));
}

/// Equations without a solution, and some that have one.
fn systems(t: &mut Table) {
    let model =
        Model::system(&[0.0, 0.0]).equal(&[0.0, 0.0], |x| vec![x[1] - x[0].exp(), x[0] - x[1].powi(2)]);
    t.both("y = exp(x), x = y^2", model, |r| {
        r.least_squares(0.284715700123)?;
        r.within(&[-0.0735622, 0.5381677], 1e-4)
    });
    let model =
        Model::system(&[0.0, 0.0]).equal(&[0.0, 1.0], |x| vec![x[1] - x[0].exp(), x[0] - x[1].powi(2)]);
    t.both("y = exp(x), x = y^2 + 1", model, |r| {
        r.least_squares(1.595433478122)?;
        r.within(&[0.1943669, 0.4116779], 1e-4)
    });
    let model =
        Model::system(&[0.5, 0.0]).equal(&[1.0, 0.0], |x| vec![x[1] - x[0].powi(2), x[1] + x[0].powi(2)]);
    t.both("two parabolas that miss each other", model, |r| r.least_squares(0.5));

    let constant = |rows: Vec<f64>| {
        let sides = rows.iter().map(|r| r * 100.0).collect::<Vec<_>>();
        Model::new(&[0.3], |_| Jet::constant(1.0))
            .bounds(&[0.0], &[1.0])
            .equal(&sides, move |x| vec![100.0 * x[0]; rows.len()])
    };
    t.both("100 x = 59.88 and 44", constant(vec![0.5988, 0.44]), |r| {
        r.least_squares(2.0 * 7.94f64.powi(2))?;
        r.within(&[0.5194], 1e-6)
    });
    t.both("100 x = 59.88 twice", constant(vec![0.5988, 0.5988]), |r| {
        r.optimum(1.0)?;
        r.within(&[0.5988], 1e-7)
    });
    t.both("100 x = 20, 30 and 70", constant(vec![0.2, 0.3, 0.7]), |r| {
        r.least_squares(1400.0)?;
        r.within(&[0.4], 1e-6)
    });
}

/// Fits: rows that are all equations, more of them than unknowns, and no objective.
fn fits(t: &mut Table) {
    let fit = |times: Vec<f64>, data: Vec<f64>| {
        Model::system(&[1.0, 1.0, 0.0])
            .equal(&data, move |p| times.iter().map(|t| p[0] * (-(p[1] * *t)).exp() + p[2]).collect())
    };
    let data = |n: usize, step: f64, outliers: bool| -> (Vec<f64>, Vec<f64>) {
        let times: Vec<f64> = (0..n).map(|i| step * i as f64).collect();
        let y = |(i, t): (usize, &f64)| {
            let more = if outliers && i % 10 == 7 { 3.0 } else { 0.0 };
            2.5 * (-1.3 * t).exp() + 0.5 + 0.02 * (37.0 * i as f64).sin() + more
        };
        let y = times.iter().enumerate().map(y).collect();
        (times, y)
    };
    let (times, y) = data(20, 0.25, false);
    t.both("fit of 20 points", fit(times, y), |r| {
        r.within(&[2.48785436, 1.30615008, 0.50328267], 1e-5)?;
        r.fit(0.00344572460867)
    });
    let (times, y) = data(50, 0.1, true);
    t.both("fit of 50 points with outliers", fit(times, y), |r| {
        r.within(&[2.1758981, 1.1424593, 0.8066526], 1e-5)?;
        r.fit(40.2546936507)
    });
    let times: Vec<f64> = (0..15).map(|i| 0.4 * f64::from(i)).collect();
    let y = |(i, t): (usize, &f64)| 1.8 * (-0.7 * t).exp() + 0.3 + 0.03 * (29.0 * i as f64).cos();
    let y = times.iter().enumerate().map(y).collect();
    t.both("fit of 15 points", fit(times, y), |r| {
        r.within(&[1.8122113, 0.7095286, 0.3024914], 1e-5)?;
        r.fit(0.006952059145131)
    });
}

/// Local minima are right; so is to name the entry that cannot be evaluated.
fn several_optima(t: &mut Table) {
    let model = Model::new(&[0.0, 0.0], |x| (x[0] - 5.0).powi(2) + (x[1] - 8.0).powi(2))
        .equal(&[5.0], |x| vec![x[0] * x[1]]);
    t.both("x y = 5 from 0", model, |r| r.one_of(&[19.0132377319, 156.218146497]));
    let model = Model::new(&[0.0, 0.0], |x| (x[0] - 3.0).powi(2) + (x[1] - 6.0).powi(2))
        .equal(&[7.0], |x| vec![x[0] * x[1]]);
    t.both("x y = 7 from 0", model, |r| r.one_of(&[3.222403458167, 105.404308013192]));
    for (suffix, hessian) in [("", HessianModel::Exact), (" (lm)", HessianModel::LimitedMemory)] {
        let options = Options { hessian, ..Options::default() };
        let name = format!("modulus of an impedance{suffix}");
        t.by_hand(&name, impedance, options, |r| {
            let named = r.says(&["modulus"]) && r.says(&["xr", "xl"]);
            if named { Ok(()) } else { r.one_of(&[1.0, 4.0]) }
        });
    }
}

/// A start that cannot be evaluated: no objective is made up, and the function and its row or variable are named.
fn bad_starts(t: &mut Table) {
    let parts = |bad_row: bool, bad_slope: bool| {
        Problem::new("bad start", 2)
            .start(&[1.0, 0.0])
            .variable_names(["flow", "head"])
            .constraint_names(["balance", "pump"])
            .objective(|x| x[0] * x[0] + x[1] * x[1])
            .gradient(move |x, g| {
                g.copy_from_slice(&[2.0 * x[0], if bad_slope { f64::NAN } else { 2.0 * x[1] }]);
            })
            .equality(2, move |x, c| {
                c.copy_from_slice(&[x[0] - 1.0, if bad_row { x[1].ln() } else { x[1] - 2.0 }]);
            })
            .jacobian(|_, j| j.copy_from_slice(&[1.0, 0.0, 0.0, 1.0]))
            .hessian(|_, sigma, _, h| (h[0], h[3]) = (2.0 * sigma, 2.0 * sigma))
    };
    let build = move || parts(true, false).build().expect("a valid problem");
    t.by_hand("start where a row is -inf", build, Options::default(), |r| {
        if r.report.stop.as_str() != "start_not_finite" {
            return Err(r.report.stop.as_str().to_string());
        }
        r.must_say(&["pump"])
    });
    let build = move || parts(false, true).build().expect("a valid problem");
    t.by_hand("start where a slope is NaN", build, Options::default(), |r| {
        if r.report.stop.as_str() != "start_not_finite" {
            return Err(r.report.stop.as_str().to_string());
        }
        r.must_say(&["head"])
    });
    let build = || {
        let problem =
            Problem::new("bad start", 1).objective(|x| x[0].ln()).gradient(|x, g| g[0] = 1.0 / x[0]);
        problem.hessian(|x, sigma, _, h| h[0] = -sigma / (x[0] * x[0])).build().expect("a valid problem")
    };
    t.by_hand("start where the objective is -inf", build, Options::default(), |r| {
        let f = r.report.objective;
        if f.is_nan() { Ok(()) } else { Err(format!("objective {f} in the report")) }
    });
}

/// sqrt(xr^2 + xl^2) = xr + xl from 0, where the gradient of the root is 0/0.
fn impedance() -> ClosureProblem<'static> {
    Problem::new("impedance", 2)
        .bounds(&[0.0; 2], &[INF; 2])
        .variable_names(["xr", "xl"])
        .constraint_names(["modulus"])
        .objective(|x| (x[0] - 1.0).powi(2) + (x[1] - 2.0).powi(2))
        .gradient(|x, g| g.copy_from_slice(&[2.0 * (x[0] - 1.0), 2.0 * (x[1] - 2.0)]))
        .equality(1, |x, c| c[0] = (x[0] * x[0] + x[1] * x[1]).sqrt() - x[0] - x[1])
        .jacobian(|x, j| {
            let r = (x[0] * x[0] + x[1] * x[1]).sqrt();
            j.copy_from_slice(&[x[0] / r - 1.0, x[1] / r - 1.0]);
        })
        .hessian(|x, sigma, y, h| {
            let r3 = (x[0] * x[0] + x[1] * x[1]).powf(1.5);
            h[0] = 2.0 * sigma + y[0] * x[1] * x[1] / r3;
            h[2] = -y[0] * x[0] * x[1] / r3;
            h[3] = 2.0 * sigma + y[0] * x[0] * x[0] / r3;
        })
        .build()
        .expect("a valid problem")
}

/// One sentence that names the variable and both bounds.
#[test]
fn crossed_bounds_name_the_variable() {
    let error = Problem::new("crossed", 3)
        .variable_names(["x1", "x2", "x3"])
        .bounds(&[1.0, 2.0, 3.0], &[1.1, 1.9, 3.5])
        .objective(|x| x.iter().sum())
        .gradient(|_, g| g.fill(1.0))
        .constraints(&[1.0, 2.0], &[INF; 2], |x, c| c.copy_from_slice(&[x[0] + x[1], x[1] + x[2] * x[2]]))
        .jacobian(|x, j| j.copy_from_slice(&[1.0, 1.0, 0.0, 0.0, 1.0, 2.0 * x[2]]))
        .hessian(|_, _, y, h| h[8] = 2.0 * y[1])
        .build()
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(["x2", "2", "1.9"].iter().all(|word| error.contains(word)), "{error}");
    assert!(!error.contains('\n') && !error.contains("x1") && !error.contains("x3"), "{error}");
}
