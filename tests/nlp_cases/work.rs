//! How much work it takes: curved constraints, rocket cars, model predictive control, steps refused by rounding.

use costate::nlp::{ClosureProblem, Nlp, Pattern, Problem};
use costate::observe::Silent;
use costate::opt::{HessianModel, Options, solve};

use crate::case::{Model, Table};
use crate::jet::Jet;

pub fn table() -> Table {
    let mut t = Table::default();
    curved(&mut t);
    rocket_cars(&mut t);
    control(&mut t);
    rounding(&mut t);
    t
}

/// Full steps near a curved constraint are not refused.
fn curved(t: &mut Table) {
    for angle in [0.05f64, 0.3, 0.8] {
        let model =
            Model::new(&[angle.cos(), angle.sin()], |x| 2.0 * (x[0].powi(2) + x[1].powi(2) - 1.0) - x[0])
                .equal(&[1.0], |x| vec![x[0].powi(2) + x[1].powi(2)]);
        t.both(&format!("circle from angle {angle}"), model, |r| {
            r.optimum(-1.0)?;
            r.iterations_at_most(15)
        });
    }
    let model = Model::new(&[0.6, 0.0, 0.8], |x| {
        5.0 * (x[0].powi(2) + x[1].powi(2) + x[2].powi(2) - 1.0) - x[0] - 2.0 * x[1]
    })
    .equal(&[1.0], |x| vec![x[0].powi(2) + x[1].powi(2) + x[2].powi(2)]);
    t.both("sphere", model, |r| {
        r.optimum(-5f64.sqrt())?;
        r.iterations_at_most(20)
    });
}

/// L1: the fastest way from rest at 0 to rest at 1, n intervals.
/// Variables: x_0..x_n, v_0..v_n, u_0..u_n, T.
fn rocket_car(n: usize, start: f64, speed: f64) -> ClosureProblem<'static> {
    let nodes = n + 1;
    let (v, u, last) = (nodes, 2 * nodes, 3 * nodes);
    let size = last + 1;
    let (mut lower, mut upper) = (vec![-1e30; size], vec![1e30; size]);
    upper[v..u].fill(speed);
    lower[u..last].fill(-1.0);
    upper[u..last].fill(1.0);
    lower[last] = 0.1;
    for (j, value) in [(0, 0.0), (n, 1.0), (v, 0.0), (v + n, 0.0)] {
        (lower[j], upper[j]) = (value, value);
    }
    let mut x0 = vec![0.0; size];
    (0..nodes).for_each(|i| x0[i] = i as f64 / n as f64);
    x0[last] = start;
    // Rows 2 i: x_{i+1} - x_i - T/n (v_i + v_{i+1})/2; rows 2 i + 1: the same for v and u.
    let mut jacobian = Pattern::default();
    let mut hessian = Pattern::default();
    for i in 0..n {
        for (row, value, slope) in [(2 * i, 0, v), (2 * i + 1, v, u)] {
            for col in [value + i, value + i + 1, slope + i, slope + i + 1, last] {
                jacobian.rows.push(row);
                jacobian.cols.push(col);
            }
            for col in [slope + i, slope + i + 1] {
                hessian.rows.push(last);
                hessian.cols.push(col);
            }
        }
    }
    let h = 0.5 / n as f64;
    Problem::new("rocket car", size)
        .start(&x0)
        .bounds(&lower, &upper)
        .objective(move |x| x[last])
        .gradient(move |_, g| g[last] = 1.0)
        .equality(2 * n, move |x, c| {
            for i in 0..n {
                c[2 * i] = x[i + 1] - x[i] - h * x[last] * (x[v + i] + x[v + i + 1]);
                c[2 * i + 1] = x[v + i + 1] - x[v + i] - h * x[last] * (x[u + i] + x[u + i + 1]);
            }
        })
        .sparse_jacobian(jacobian, move |x, values| {
            for (k, out) in values.chunks_exact_mut(5).enumerate() {
                let slope = if k % 2 == 0 { v } else { u } + k / 2;
                let side = -h * x[last];
                out.copy_from_slice(&[-1.0, 1.0, side, side, -h * (x[slope] + x[slope + 1])]);
            }
        })
        .sparse_hessian(hessian, move |_, _, y, values| {
            values.iter_mut().enumerate().for_each(|(k, out)| *out = -h * y[k / 2]);
        })
        .build()
        .expect("a valid problem")
}

fn rocket_cars(t: &mut Table) {
    let limited = Options { time_limit: Some(10.0), ..Options::default() };
    let free = 1e30;
    let right = [
        (500, 0.6, 2.2666795442),
        (500, free, 2.0000080001),
        (4000, 0.6, 2.2666669176),
        (4000, free, 2.0000001250),
        (5000, 0.6, 2.2666667621),
        (5000, free, 2.0000000800),
    ];
    for (n, speed, time) in right {
        for start in [3.0, 5.0] {
            let what = if speed == free { ", any speed" } else { "" };
            let name = format!("L1 rocket car, n = {n}, T = {start}{what}");
            let build = move || rocket_car(n, start, speed);
            t.by_hand(&name, build, limited.clone(), move |r| r.optimum(time));
        }
    }
    // The factorizations from T = 5 have the pattern of those from T = 3, and may not take much longer.
    t.by_hand(
        "L1 rocket car, seconds",
        || rocket_car(4000, 5.0, 0.6),
        limited.clone(),
        |r| {
            let other = solve(&mut rocket_car(4000, 3.0, 0.6), &r.options, &mut Silent);
            let other = other.map_err(|e| e.to_string())?.time.solve;
            let most = 0.5 + 8.0 * other;
            let found = r.report.time.solve;
            if found <= most {
                Ok(())
            } else {
                Err(format!("over {:.0} times as long from T = 5 as from T = 3", found / other))
            }
        },
    );
    let options = Options { hessian: HessianModel::LimitedMemory, ..limited.clone() };
    let build = || rocket_car(500, 3.0, 0.6);
    t.by_hand("L1 rocket car, n = 500, T = 3 (lm)", build, options, |r| r.optimum(2.2666795442));
    // Other numbers: n = 1000 by the same formula, in the limit 1/0.6 + 0.6.
    t.by_hand(
        "L1 rocket car, n = 1000, T = 20",
        || rocket_car(1000, 20.0, 0.6),
        limited,
        |r| r.optimum_to(&[1.0 / 0.6 + 0.6], 1e-5),
    );
}

const STEPS: usize = 20;

/// L2: p+ = p + 0.2 v + 0.02 u, v+ = v + 0.2 u; variables u_k, p_{k+1}, v_{k+1} for k = 0..19.
fn predictive_control(state: [f64; 2], start: Option<&[f64]>) -> ClosureProblem<'static> {
    let n = 3 * STEPS;
    let (mut lower, mut upper) = (vec![-1e30; n], vec![1e30; n]);
    let mut jacobian = Pattern::default();
    let mut values = Vec::new();
    let mut sides = vec![0.0; 2 * STEPS];
    let mut entry = |row: usize, col: usize, value: f64| {
        jacobian.rows.push(row);
        jacobian.cols.push(col);
        values.push(value);
    };
    for k in 0..STEPS {
        let (u, p, v) = (3 * k, 3 * k + 1, 3 * k + 2);
        (lower[u], upper[u], lower[v], upper[v]) = (-1.0, 1.0, -0.5, 0.5);
        entry(2 * k, p, 1.0);
        entry(2 * k, u, -0.02);
        entry(2 * k + 1, v, 1.0);
        entry(2 * k + 1, u, -0.2);
        if k == 0 {
            (sides[0], sides[1]) = (state[0] + 0.2 * state[1], state[1]);
        } else {
            entry(2 * k, p - 3, -1.0);
            entry(2 * k, v - 3, -0.2);
            entry(2 * k + 1, v - 3, -1.0);
        }
    }
    let rows = jacobian.clone();
    let coefficients = values.clone();
    let weights = |j: usize| [0.05, 1.0, 0.1][j % 3];
    Problem::new("mpc", n)
        .start(start.unwrap_or(&vec![0.0; n]))
        .bounds(&lower, &upper)
        .objective(move |x| 0.5 * x.iter().enumerate().map(|(j, x)| weights(j) * x * x).sum::<f64>())
        .gradient(move |x, g| (0..n).for_each(|j| g[j] = weights(j) * x[j]))
        .constraints(&sides, &sides, move |x, c| {
            for (k, value) in coefficients.iter().enumerate() {
                c[rows.rows[k]] += value * x[rows.cols[k]];
            }
        })
        .sparse_jacobian(jacobian, move |_, out| out.copy_from_slice(&values))
        .sparse_hessian(Pattern { rows: (0..n).collect(), cols: (0..n).collect() }, move |_, sigma, _, h| {
            (0..n).for_each(|j| h[j] = sigma * weights(j));
        })
        .build()
        .expect("a valid problem")
}

fn control(t: &mut Table) {
    for (suffix, hessian) in [("", HessianModel::Exact), (" (lm)", HessianModel::LimitedMemory)] {
        let options = Options { hessian, ..Options::default() };
        let build = || predictive_control([1.0, 0.0], None);
        t.by_hand(&format!("L2 from (1, 0){suffix}"), build, options.clone(), |r| {
            r.optimum_to(&[2.2313322450], 1e-7)?;
            r.iterations_at_most(if r.options.hessian == HessianModel::Exact { 15 } else { 200 })
        });
        let build = || predictive_control([1.5, 0.0], None);
        t.by_hand(&format!("L2 from (1.5, 0){suffix}"), build, options, |r| {
            r.optimum_to(&[6.7332217170], 1e-7)
        });
    }
}

/// L2: the sum of f over a run of 2000 solves, each from the state that the one before leads to.
#[test]
fn two_thousand_steps_of_control() {
    let (mut state, mut d, mut sum, mut iterations) = ([1.0, 0.0], 12345u64, 0.0, 0);
    for k in 1..=2000 {
        let mut problem = predictive_control(state, None);
        let report = solve(&mut problem, &Options::default(), &mut Silent).expect("a valid problem");
        assert!(report.solved(), "{k}: {}", report.message);
        sum += problem.obj(&report.x).expect("a finite objective");
        iterations += report.iterations;
        d = d.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let e = ((d >> 33) as f64 / (1u64 << 31) as f64 - 0.5) * 0.02;
        state = [report.x[1] + e, report.x[2].clamp(-0.5, 0.5)];
        if k % 50 == 0 {
            state = [1.5 * e.signum(), 0.0];
        }
    }
    println!("sum of f {sum:.6}, {:.2} iterations a solve", iterations as f64 / 2000.0);
    assert!((sum - 1223.16577).abs() < 1e-4, "{sum:.6}");
    assert!(iterations < 2000 * 9, "{iterations}");
}

/// L3: f is exactly 0 where the gradient is not.
fn rounding(t: &mut Table) {
    for (start, c) in
        [([-1.2, 1.0], 1e2), ([-1.2, 1.0], 1e4), ([-1.2, 1.0], 1e6), ([1.2, 1.05], 1e6), ([1.2, 1.05], 1e8)]
    {
        let model = Model::new(&start, move |x| {
            (1.0 + c * (x[0] - x[1].powi(3)).powi(2) + (1.0 - x[1]).powi(2)).ln()
        });
        t.both(&format!("L3 logarithm, {c:e} from {start:?}"), model, |r| {
            r.optimum_to(&[0.0], 1e-10)?;
            r.within(&[1.0, 1.0], 1e-5)
        });
    }
    let rosenbrock = |x: &[Jet]| 100.0 * (x[1] - x[0].powi(2)).powi(2) + (1.0 - x[0]).powi(2);
    let model = Model::new(&[-1.2, 1.0], move |x| (1.0 + rosenbrock(x)).ln());
    t.both("L3 logarithm of Rosenbrock", model, |r| {
        r.optimum_to(&[0.0], 1e-10)?;
        r.within(&[1.0, 1.0], 1e-5)
    });
    let model = Model::new(&[-1.2, 1.0], move |x| (1.0 + rosenbrock(x)).sqrt() - 1.0);
    t.both("L3 root of Rosenbrock", model, |r| {
        r.optimum_to(&[0.0], 1e-10)?;
        r.within(&[1.0, 1.0], 1e-5)
    });
    let model = Model::new(&[2.0, -1.0, 0.5], |x| {
        (1.0 + x[0].powi(2) + 10.0 * (x[1] - x[0]).powi(2) + 100.0 * (x[2] - x[1].powi(2)).powi(2)).ln()
    });
    t.both("L3 logarithm in three variables", model, |r| {
        r.optimum_to(&[0.0], 1e-10)?;
        r.within(&[0.0; 3], 1e-5)
    });
}
