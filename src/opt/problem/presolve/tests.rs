use super::*;
use crate::opt::testing::Dense;

/// min (x0 - 1)^2 + ... with the rows of `rows` (coefficients, bounds), bounds of x and start 0.
fn linear(rows: &[(&[f64], (f64, f64))], bounds: &[(f64, f64)]) -> LinearProblem {
    let n = bounds.len();
    let mut dense = Dense::new(n, rows.len(), &vec![0.0; n]);
    dense.meta.linear = vec![true; rows.len()];
    dense.meta.quadratic_objective = true;
    (dense.meta.x_lower, dense.meta.x_upper) = bounds.iter().copied().unzip();
    (dense.meta.c_lower, dense.meta.c_upper) = rows.iter().map(|r| r.1).unzip();
    LinearProblem { dense, rows: rows.iter().map(|r| r.0.to_vec()).collect() }
}

struct LinearProblem {
    dense: Dense,
    rows: Vec<Vec<f64>>,
}

impl Nlp for LinearProblem {
    fn meta(&self) -> &NlpMeta {
        &self.dense.meta
    }
    fn obj(&mut self, _: &[f64]) -> Result<f64, crate::nlp::EvalError> {
        Ok(0.0)
    }
    fn grad(&mut self, _: &[f64], g: &mut [f64]) -> Result<(), crate::nlp::EvalError> {
        g.fill(1.0);
        Ok(())
    }
    fn cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<(), crate::nlp::EvalError> {
        for (c, row) in c.iter_mut().zip(&self.rows) {
            *c = crate::linalg::dot(row, x);
        }
        Ok(())
    }
    fn jac_values(&mut self, _: &[f64], values: &mut [f64]) -> Result<(), crate::nlp::EvalError> {
        values.copy_from_slice(&self.rows.concat());
        Ok(())
    }
}

fn reduced(mut problem: LinearProblem) -> (Box<Presolve>, LinearProblem) {
    match Presolve::find(&mut problem, 1e-6) {
        Found::Reduced(p) => (p, problem),
        Found::Nothing => panic!("nothing found"),
        Found::Contradiction(c) => panic!("{c:?}"),
    }
}

const FREE: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);
const INF: f64 = f64::INFINITY;

#[test]
fn rows_with_one_variable_become_bounds() {
    let (p, _) =
        reduced(linear(&[(&[0.0, -2.0], (-4.0, INF)), (&[1.0, 1.0], (0.0, 1.0))], &[FREE, (0.0, 5.0)]));
    assert_eq!((p.meta.x_upper[1], p.meta.m(), p.meta.n()), (2.0, 1, 2));
    assert_eq!(p.stack, [Reduction::Bound { row: 0, col: 1, a: -2.0, lower: false, upper: true }]);
    assert_eq!((p.row(0), p.removed.bounds), (1, 1));
}

#[test]
fn equations_with_two_variables_replace_one() {
    // x1 = 3 - 2 x0, 0 <= x1 <= 1: 1 <= x0 <= 1.5; x0 + x1 + x2 = 3 - x0 + x2.
    let rows: &[(&[f64], (f64, f64))] = &[(&[2.0, 1.0, 0.0], (3.0, 3.0)), (&[1.0, 1.0, 1.0], (0.0, 1.0))];
    let (p, _) = reduced(linear(rows, &[FREE, (0.0, 1.0), (-1.0, INF)]));
    assert_eq!((p.meta.n(), p.meta.m(), p.removed.replaced), (2, 1, 1));
    let Reduction::Doubleton { gone, kept, .. } = p.stack[0] else { panic!("{:?}", p.stack) };
    let mut x = [0.0; 3];
    p.user_x(&[1.25, 7.0], &mut x);
    assert_eq!(2.0 * x[0] + x[1], 3.0);
    assert_eq!((gone.min(kept), gone.max(kept)), (0, 1));
}

#[test]
fn chains_end_at_one_variable() {
    let rows: &[(&[f64], (f64, f64))] = &[
        (&[1.0, -1.0, 0.0, 0.0], (0.0, 0.0)),
        (&[0.0, 1.0, -2.0, 0.0], (1.0, 1.0)),
        (&[0.0, 0.0, 1.0, 1.0], (0.0, 0.0)),
    ];
    let (p, _) = reduced(linear(rows, &[FREE, (-10.0, INF), FREE, (-3.0, 3.0)]));
    assert_eq!((p.meta.n(), p.meta.m()), (1, 0));
    let mut x = [0.0; 4];
    p.user_x(&[2.0], &mut x);
    assert_eq!((x[0] - x[1], x[1] - 2.0 * x[2], x[2] + x[3]), (0.0, 1.0, 0.0));
}

#[test]
fn rows_that_always_hold_or_are_parallel_go() {
    let rows: &[(&[f64], (f64, f64))] = &[
        (&[1.0, 1.0], (-INF, 3.0)),
        (&[1.0, -1.0], (0.0, 0.5)),
        (&[-2.0, 2.0], (-0.5, INF)),
        (&[0.0, 0.0], (0.0, 0.0)),
    ];
    let (p, _) = reduced(linear(rows, &[(0.0, 1.0), (0.0, 2.0)]));
    assert_eq!((p.removed.redundant, p.removed.parallel, p.meta.m()), (2, 1, 1));
    assert_eq!((p.meta.c_lower[0], p.meta.c_upper[0]), (0.0, 0.25));
}

#[test]
fn rows_that_cannot_hold_are_named() {
    let mut empty = linear(&[(&[0.0], (1.0, 2.0))], &[FREE]);
    let mut crossing = linear(&[(&[1.0], (1.0, INF)), (&[2.0], (-INF, 1.0))], &[FREE]);
    let mut activity = linear(&[(&[1.0, 1.0], (3.0, INF))], &[(0.0, 1.0), (0.0, 1.0)]);
    for (problem, row) in [(&mut empty, 0), (&mut crossing, 1), (&mut activity, 0)] {
        let Found::Contradiction(c) = Presolve::find(problem, 1e-6) else { panic!("row {row}") };
        assert_eq!(c.row, row);
    }
}

/// Multipliers of the smaller problem, forward and back, hold together with the gradient.
#[test]
fn multipliers_come_back() {
    let rows: &[(&[f64], (f64, f64))] =
        &[(&[2.0, 1.0, 0.0], (3.0, 3.0)), (&[1.0, 1.0, 1.0], (0.0, 1.0)), (&[0.0, 0.0, 4.0], (-INF, -2.0))];
    let (p, mut problem) = reduced(linear(rows, &[FREE, (0.0, 1.0), FREE]));
    let (y, mut z) = ([0.3], [0.0, 0.0]);
    // Any z' that makes the reduced gradient vanish.
    let (mut g, mut values) = (vec![1.0; 3], vec![0.0; 9]);
    problem.jac_values(&[0.0; 3], &mut values).unwrap();
    for j in 0..3 {
        g[j] += y[0] * values[3 + j];
    }
    p.gather(&g, &mut z);
    z.iter_mut().for_each(|z| *z = -*z);
    let (mut all_y, mut all_z, mut gradient) = ([0.0; 3], [0.0; 3], [1.0; 3]);
    let pattern = problem.meta().jacobian.clone().unwrap();
    let to = Restored { y: &mut all_y, z: &mut all_z, gradient: &mut gradient };
    p.restore((&y, &z), &pattern, &values, to);
    for j in 0..3 {
        assert!((gradient[j] + all_z[j]).abs() < 1e-15, "{gradient:?} {all_z:?}");
    }
    let (_, back_y, back_z) = p.forward((&[0.0; 3], &all_y, &all_z));
    assert_eq!(back_y, y);
    assert!(back_z.iter().zip(&z).all(|(a, b)| (a - b).abs() < 1e-15), "{back_z:?} {z:?}");
}

/// What is left has nothing more to remove.
#[test]
fn presolve_is_idempotent() {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    let mut rng = StdRng::seed_from_u64(5);
    let mut removed = 0;
    for _ in 0..500 {
        let (n, m) = (rng.random_range(1..8usize), rng.random_range(1..10usize));
        let mut whole = |low: i32, high: i32| f64::from(rng.random_range(low..high));
        let rows: Vec<Vec<f64>> = (0..m)
            .map(|_| (0..n).map(|_| if whole(0, 3) == 0.0 { whole(-2, 3) } else { 0.0 }).collect())
            .collect();
        let bounds = |span: (f64, f64), kind: f64| match kind as i32 {
            0 => (span.0, INF),
            1 => (-INF, span.0 + span.1),
            2 => (span.0, span.0),
            _ => (span.0, span.0 + span.1),
        };
        let mut sides: Vec<(f64, f64)> =
            (0..m + n).map(|_| bounds((whole(-3, 2), whole(0, 5)), whole(0, 4))).collect();
        let variables = sides.split_off(m);
        let given: Vec<(&[f64], (f64, f64))> = rows.iter().map(|r| &r[..]).zip(sides).collect();
        let mut problem = linear(&given, &variables);
        if let Found::Reduced(p) = Presolve::find(&mut problem, 1e-6) {
            removed += p.removed.rows();
            let mut left = Reduced::new(&mut problem, &p);
            left.meta().validate().unwrap();
            match Presolve::find(&mut left, 1e-6) {
                Found::Nothing => {}
                Found::Reduced(more) => {
                    panic!("{:?} after {:?} of {given:?} {variables:?}", more.removed, p.removed)
                }
                Found::Contradiction(c) => panic!("{c:?}"),
            }
        }
    }
    assert!(removed > 200, "{removed}");
}
