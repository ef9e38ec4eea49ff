//! Linear and quadratic programs that are known as such: presolve, the predictor-corrector, and their certificates.

#[path = "common/quadratic.rs"]
mod quadratic;

use costate::nlp::{Nlp, Problem};
use costate::observe::{Event, Silent};
use costate::opt::{
    HessianModel, Method, Options, ProblemChange, SolutionChange, Solver, Start, WarmStart, solve,
};
use costate::report::Remark;
use costate::sif::{SifOptions, SifProblem};
use costate::{Report, StopReason};
use proptest::prelude::*;
use quadratic::{INF, Quadratic, check, dot, quadratic};

/// Rows and bounds that presolve removes, feasible at the point inside: (kind, variable, another, coefficients, room).
type Extra = (u8, usize, usize, (f64, f64), (f64, f64));

fn with_extras(qp: &Quadratic, extras: &[Extra]) -> Quadratic {
    let (n, mut qp) = (qp.n(), Quadratic { known: true, ..qp.clone() });
    for &(kind, j, k, (a, b), (down, up)) in extras {
        let (j, k, x) = (j % n, k % n, qp.inside.clone());
        let mut row = vec![0.0; n];
        let away = |v: f64| v + 0.5f64.copysign(v);
        let sides = match kind {
            0 => (-down, up),
            1 => {
                row[j] = away(a);
                (row[j] * x[j] - down, if up < 1.0 { INF } else { row[j] * x[j] + up })
            }
            2 => {
                row[j] = away(a);
                (row[j] * x[j], row[j] * x[j])
            }
            3 if j != k => {
                (row[j], row[k]) = (away(a), away(b));
                (dot(&row, &x), dot(&row, &x))
            }
            4 if !qp.rows.is_empty() => {
                let (of, t) = (j % qp.rows.len(), away(a));
                row = qp.rows[of].iter().map(|v| t * v).collect();
                (dot(&row, &x) - down, dot(&row, &x) + up)
            }
            5 => {
                qp.bounds[j] = (x[j], x[j]);
                continue;
            }
            _ => {
                row[j] = a;
                row[k] += b;
                let size = 1e3 * (1.0 + down + x[j].abs() + x[k].abs());
                (-size, size)
            }
        };
        let at = (7 * j + k) % (qp.rows.len() + 1);
        qp.rows.insert(at, row);
        qp.row_bounds.insert(at, sides);
    }
    qp
}

fn extras() -> impl Strategy<Value = Vec<Extra>> {
    let pair = || (-2.0..2.0f64, -2.0..2.0f64);
    prop::collection::vec((0u8..7, 0usize..8, 0usize..8, pair(), (0.0..2.0f64, 0.0..2.0f64)), 1..5)
}

fn solve_with(qp: &Quadratic, method: Method, presolve: bool) -> Report {
    qp.solve_with(&Options { method, presolve, ..Options::default() })
}

/// More equations than free variables are a matter of rounding.
fn has_room(qp: &Quadratic) -> bool {
    let equations = qp.row_bounds.iter().filter(|b| b.0 == b.1).count();
    equations <= qp.bounds.iter().filter(|b| b.0 < b.1).count()
}

#[test]
fn presolved_points_are_kkt_points_of_the_whole_problem() {
    let removed = std::cell::Cell::new(0);
    for (method, least) in [(Method::Auto, 0.1), (Method::InteriorPoint, 0.1), (Method::Auto, 0.0)] {
        check(300, (quadratic(least), extras()), |(qp, extras)| {
            let qp = with_extras(&qp, &extras);
            if !has_room(&qp) {
                return Ok(());
            }
            let report = solve_with(&qp, method, true);
            prop_assert_eq!(qp.wrong(&report), None);
            removed.set(removed.get() + usize::from(report.method.contains("removing")));
            let plain = solve_with(&qp, method, false);
            prop_assert!(!plain.method.contains("removing"));
            if plain.solved() {
                let size = 1.0 + plain.objective.abs();
                prop_assert!((report.objective - plain.objective).abs() < 1e-5 * size);
            }
            Ok(())
        });
    }
    assert!(removed.get() > 400, "{}", removed.get());
}

#[test]
fn linear_programs_end_at_kkt_points() {
    for (method, presolve) in
        [(Method::PredictorCorrector, false), (Method::PredictorCorrector, true), (Method::Auto, true)]
    {
        check(300, quadratic(0.0), |mut qp| {
            qp.hessian.iter_mut().for_each(|row| row.fill(0.0));
            qp.known = true;
            prop_assert_eq!(qp.wrong(&solve_with(&qp, method, presolve)), None);
            Ok(())
        });
    }
}

#[test]
fn quadratic_programs_end_at_kkt_points() {
    let own = std::cell::Cell::new(0);
    check(400, quadratic(0.1), |mut qp| {
        qp.known = true;
        let report = solve_with(&qp, Method::PredictorCorrector, false);
        prop_assert_eq!(qp.wrong(&report), None);
        own.set(own.get() + usize::from(report.method.starts_with("predictor-corrector")));
        Ok(())
    });
    assert!(own.get() > 380, "{}", own.get());
}

/// From the solution of another objective.
#[test]
fn warm_starts_end_at_kkt_points() {
    for presolve in [false, true] {
        check(200, (quadratic(0.1), extras(), -1.0..1.0f64), |(qp, extras, t)| {
            let mut qp = with_extras(&qp, &extras);
            let first = solve_with(&qp, Method::Auto, presolve);
            if !has_room(&qp) || !first.solved() {
                return Ok(());
            }
            qp.linear.iter_mut().enumerate().for_each(|(j, q)| *q += t * (j as f64).cos());
            for method in [Method::Auto, Method::PredictorCorrector] {
                let options = Options {
                    method,
                    presolve,
                    warm_start: Some(WarmStart::from(&first)),
                    ..Options::default()
                };
                prop_assert_eq!(qp.wrong(&qp.solve_with(&options)), None);
            }
            Ok(())
        });
    }
}

#[test]
fn contradictions_are_found_out() {
    // A combination of the rows has a gap of 1 to its sides.
    check(200, (quadratic(0.0), -1.0..1.0f64), |(mut qp, t)| {
        qp.hessian.iter_mut().for_each(|row| row.fill(0.0));
        qp.known = true;
        let n = qp.n();
        let a: Vec<f64> = (0..n).map(|j| 1.0 + (j as f64 + t).sin()).collect();
        let b: Vec<f64> = (0..n).map(|j| (3.0 * j as f64 + t).cos()).collect();
        let (v, w) = (dot(&a, &qp.inside), dot(&b, &qp.inside));
        let sum: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a + 2.0 * b).collect();
        qp.rows.extend([a, b, sum]);
        qp.row_bounds.extend([(v, INF), (w, INF), (-INF, v + 2.0 * w - 1.0)]);
        for (method, presolve) in [(Method::PredictorCorrector, false), (Method::Auto, true)] {
            let report = solve_with(&qp, method, presolve);
            let found = matches!(report.stop, StopReason::Infeasible { .. } | StopReason::LocallyInfeasible);
            prop_assert!(found && report.primal > 1e-3, "{}", report.message);
            let shown = report.remarks.contains(&Remark::Contradiction) || method == Method::Auto;
            prop_assert!(shown, "{}", report.message);
        }
        Ok(())
    });
}

fn small(
    hessian: [[f64; 2]; 2],
    linear: [f64; 2],
    rows: &[([f64; 2], (f64, f64))],
    bounds: [(f64, f64); 2],
) -> Quadratic {
    Quadratic {
        hessian: hessian.map(|r| r.to_vec()).to_vec(),
        linear: linear.to_vec(),
        rows: rows.iter().map(|r| r.0.to_vec()).collect(),
        row_bounds: rows.iter().map(|r| r.1).collect(),
        bounds: bounds.to_vec(),
        start: vec![0.0; 2],
        inside: vec![0.0; 2],
        known: true,
    }
}

const NONE: [[f64; 2]; 2] = [[0.0; 2]; 2];

#[test]
fn a_farkas_certificate_ends_the_predictor_corrector() {
    // x0 + x1 >= 3 with x0 - x1 <= 0, x1 <= 1.
    let rows = [([1.0, 1.0], (3.0, INF)), ([1.0, -1.0], (-INF, 0.0))];
    let qp = small(NONE, [1.0, 2.0], &rows, [(-INF, INF), (-INF, 1.0)]);
    let report = solve_with(&qp, Method::PredictorCorrector, false);
    assert_eq!(report.stop, StopReason::LocallyInfeasible, "{}", report.message);
    assert_eq!(report.remarks, [Remark::Contradiction], "{}", report.message);
    // The least violation: (3 - 2 t)^2 is least at x1 = 1, x0 = 1 + s with (1 - s)^2 + s^2.
    assert!((report.x[0] - 1.5).abs() < 1e-4 && (report.x[1] - 1.0).abs() < 1e-4, "{:?}", report.x);
    assert!(report.iterations < 40, "{}", report.iterations);
}

#[test]
fn feasible_points_far_away_are_no_contradiction() {
    for far in [1e3, 1e5, 1e7, 1e9] {
        let rows = [([1.0, -1.0], (far, INF)), ([1.0, 1.0], (-INF, 3.0 * far))];
        let qp = small([[0.0, 0.0], [0.0, 1.0]], [1.0 / far, 0.0], &rows, [(-INF, INF), (-INF, INF)]);
        let report = solve_with(&qp, Method::PredictorCorrector, false);
        assert!(report.solved(), "{far:e}: {}", report.message);
        assert!((report.x[0] - report.x[1] - far).abs() < 1e-6 * far, "{:?}", report.x);
    }
}

#[test]
fn contradictory_rows_are_named() {
    let rows = [([1.0, 0.0], (2.0, INF)), ([0.0, 0.0], (-1.0, 1.0)), ([1.0, 1.0], (-INF, 1.0))];
    let qp = small(NONE, [1.0, 2.0], &rows, [(-INF, INF), (0.0, INF)]);
    let mut problem = qp.problem();
    let mut stops = 0;
    let mut watch = |event: &Event<'_>| {
        stops += usize::from(matches!(event, Event::Stop(_)));
        std::ops::ControlFlow::Continue(())
    };
    let report = solve(&mut problem, &Options::default(), &mut watch).unwrap();
    assert_eq!((report.stop.as_str(), stops), ("locally_infeasible", 1), "{}", report.message);
    assert_eq!(report.remarks, [Remark::Contradiction]);
    assert!(report.message.contains("c[2]"), "{}", report.message);
    assert_eq!((report.y.len(), report.z.len(), report.worst_constraints.len()), (3, 2, 2));
}

#[test]
fn unbounded_programs_are_unbounded() {
    let rows = [([1.0, -1.0], (-1.0, 1.0))];
    let qp = small(NONE, [-1.0, 0.0], &rows, [(0.0, INF), (0.0, INF)]);
    for method in [Method::PredictorCorrector, Method::Auto] {
        let report = solve_with(&qp, method, true);
        assert_eq!(report.stop, StopReason::Unbounded, "{}", report.message);
    }
    // Convex, but flat along (1, 1).
    let flat = [[1.0, -1.0], [-1.0, 1.0]];
    let qp = small(flat, [-1.0, 0.0], &rows, [(0.0, INF), (0.0, INF)]);
    assert_eq!(solve_with(&qp, Method::Auto, true).stop, StopReason::Unbounded);
}

#[test]
fn programs_that_are_not_convex_go_to_the_interior_point() {
    let saddle = [[1.0, 0.0], [0.0, -1.0]];
    let qp = small(saddle, [0.3, 0.2], &[([1.0, 1.0], (-1.0, 1.0))], [(-1.0, 1.0), (-1.0, 1.0)]);
    let report = solve_with(&qp, Method::PredictorCorrector, false);
    assert!(report.solved() && report.method.contains("interior point"), "{}", report.method);
}

#[test]
fn other_problems_are_refused() {
    let qp = Quadratic { known: false, ..small(NONE, [1.0; 2], &[], [(0.0, 1.0), (0.0, 1.0)]) };
    let options = Options { method: Method::PredictorCorrector, ..Options::default() };
    let error = solve(&mut qp.problem(), &options, &mut Silent).unwrap_err();
    assert!(error.to_string().contains("predictor-corrector"), "{error}");
    let known = Quadratic { known: true, ..qp };
    assert!(solve(&mut known.problem(), &options, &mut Silent).unwrap().solved());
    let learned = Options { hessian: HessianModel::LimitedMemory, ..options };
    assert!(solve(&mut known.problem(), &learned, &mut Silent).is_err());
}

/// min (x0 - p)^2 + x1^2 + x2^4 with x1 = 2 x0 - 1 and x2 = x1: linear rows of a problem that is not quadratic.
fn quartic(p: f64) -> impl Nlp {
    Problem::new("quartic", 3)
        .start(&[0.3, 0.1, 0.7])
        .objective(move |x| (x[0] - p).powi(2) + x[1] * x[1] + x[2].powi(4))
        .gradient(move |x, g| g.copy_from_slice(&[2.0 * (x[0] - p), 2.0 * x[1], 4.0 * x[2].powi(3)]))
        .equality(2, |x, c| c.copy_from_slice(&[x[1] - 2.0 * x[0] + 1.0, x[2] - x[1]]))
        .jacobian(|_, j| j.copy_from_slice(&[-2.0, 1.0, 0.0, 0.0, -1.0, 1.0]))
        .linear_constraints(&[true, true])
        .hessian(|x, s, _, h| (h[0], h[4], h[8]) = (2.0 * s, 2.0 * s, 12.0 * s * x[2] * x[2]))
        .build()
        .unwrap()
}

#[test]
fn warm_starts_and_multipliers_are_those_of_the_whole_problem() {
    let whole = Options { presolve: false, ..Options::default() };
    let report = solve(&mut quartic(1.0), &Options::default(), &mut Silent).unwrap();
    let plain = solve(&mut quartic(1.0), &whole, &mut Silent).unwrap();
    assert!(report.solved() && report.method.contains("removing 2 of 2 rows"), "{}", report.method);
    let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(near(&report.x, &plain.x) && near(&report.y, &plain.y), "{report:?} {plain:?}");
    assert_eq!(report.counts.hessian, report.iterations);
    let warm = Options { warm_start: Some(WarmStart::from(&plain)), ..Options::default() };
    let again = solve(&mut quartic(1.001), &warm, &mut Silent).unwrap();
    assert!(again.solved() && again.iterations <= 3, "{}", again.iterations);
}

/// Without bounds and inequalities: derivatives by p against those by differences.
#[test]
fn sensitivities_need_no_bounds() {
    let mut solver = Solver::new(Options::default()).unwrap();
    let mut at = |p: f64| {
        let report = solver.solve(&mut quartic(p), Start::Problem, &mut Silent).unwrap();
        assert!(report.solved() && !report.method.contains("removing"));
        (report.x.clone(), report.y.clone())
    };
    let (h, mut moved) = (1e-4, SolutionChange::default());
    let (up, down, _) = (at(1.0 + h), at(1.0 - h), at(1.0));
    // d grad f / dp = (-2, 0, 0).
    let change = ProblemChange { gradient: vec![-2.0, 0.0, 0.0], ..ProblemChange::default() };
    solver.sensitivity(&mut quartic(1.0)).unwrap().forward(&change, &mut moved).unwrap();
    for (moved, (up, down)) in [(&moved.x, (&up.0, &down.0)), (&moved.y, (&up.1, &down.1))] {
        for ((m, up), down) in moved.iter().zip(up).zip(down) {
            assert!((m - (up - down) / (2.0 * h)).abs() < 1e-5, "{m} {}", (up - down) / (2.0 * h));
        }
    }
}

/// The reference problems, if they are there.
fn shared() -> Option<std::path::PathBuf> {
    let folder = match std::env::var_os("COSTATE_SHARED") {
        Some(folder) => folder.into(),
        None => std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
    };
    let folder = folder.join("cutest");
    if folder.join("reference.csv").is_file() {
        return Some(folder);
    }
    assert!(
        std::env::var_os("COSTATE_REQUIRE_SHARED").is_none(),
        "no reference data in {}",
        folder.display()
    );
    println!("skipped: no reference data in {}", folder.display());
    None
}

/// Classified as quadratic, and of degree 3 or 4.
const NOT_QUADRATIC: &[&str] = &["BT2", "BT4", "EIGENB2"];

/// What a SIF problem says of its shape holds at two points, and agrees with its classification.
#[test]
fn shapes_of_sif_problems_are_right() {
    let Some(folder) = shared() else { return };
    let csv = std::fs::read_to_string(folder.join("reference.csv")).unwrap();
    let (mut quadratic, mut linear, mut missed) = (0, 0, Vec::new());
    for row in csv.lines().skip(1) {
        let fields: Vec<&str> = row.split(',').collect();
        let (name, class, n) = (fields[0], fields[1], fields[2].parse::<usize>().unwrap());
        if n > 2000 || name.starts_with("DIAMON") || name.starts_with("DMN") {
            continue;
        }
        let path = folder.join(format!("sif/{name}.SIF"));
        let mut problem = SifProblem::from_file(&path, &SifOptions::default()).unwrap();
        let meta = problem.meta().clone();
        let other: Vec<f64> = meta.x0.iter().enumerate().map(|(j, x)| x + 0.3 + (j as f64).sin()).collect();
        if !meta.quadratic_objective && (class.starts_with('L') || class.starts_with('Q')) {
            missed.push(name.to_string());
        }
        if meta.quadratic_objective
            && let Some(pattern) = &meta.hessian
        {
            quadratic += 1;
            let y = vec![0.0; meta.m()];
            let (mut a, mut b) = (vec![0.0; pattern.len()], vec![0.0; pattern.len()]);
            problem.hess_values(&meta.x0, 1.0, &y, &mut a).unwrap();
            problem.hess_values(&other, 1.0, &y, &mut b).unwrap();
            let size = a.iter().fold(0.0, |s: f64, a| s.max(a.abs()));
            assert!(
                a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= 1e-12 * size),
                "{name}: the objective is not quadratic"
            );
        }
        let (Some(pattern), true) = (&meta.jacobian, meta.linear.iter().any(|l| *l)) else { continue };
        let (mut a, mut b) = (vec![0.0; pattern.len()], vec![0.0; pattern.len()]);
        problem.jac_values(&meta.x0, &mut a).unwrap();
        problem.jac_values(&other, &mut b).unwrap();
        for ((i, a), b) in pattern.rows.iter().zip(&a).zip(&b).filter(|((i, _), _)| meta.linear[**i]) {
            linear += 1;
            assert!(a == b, "{name}: row {i} is not linear");
        }
    }
    assert_eq!(missed, NOT_QUADRATIC);
    assert!(quadratic > 150 && linear > 5000, "{quadratic} {linear}");
}
