//! Every stochastic method against Roessler's order conditions, and its measured strong and weak orders.

use costate::ode::{FnField, OdeError, VectorField};
use costate::sde::*;

fn dense(rows: &[&[f64]]) -> Vec<Vec<f64>> {
    rows.iter().map(|r| (0..rows.len()).map(|j| r.get(j).copied().unwrap_or(0.0)).collect()).collect()
}

fn times(a: &[Vec<f64>], v: &[f64]) -> Vec<f64> {
    a.iter().map(|r| r.iter().zip(v).map(|(a, b)| a * b).sum()).collect()
}

fn squares(v: &[f64]) -> Vec<f64> {
    v.iter().map(|x| x * x).collect()
}

/// |w'v - value| relative to the terms of the sum where they exceed one.
fn residual(w: &[f64], v: &[f64], value: f64) -> f64 {
    let sum: f64 = w.iter().zip(v).map(|(a, b)| a * b).sum();
    let size: f64 = w.iter().zip(v).map(|(a, b)| (a * b).abs()).sum();
    (sum - value).abs() / size.max(1.0)
}

struct Tables {
    e: Vec<f64>,
    a0e: Vec<f64>,
    a1: Vec<Vec<f64>>,
    a1e: Vec<f64>,
    b0e: Vec<f64>,
    b1: Vec<Vec<f64>>,
    b1e: Vec<f64>,
}

impl Tables {
    fn of(m: &SdeMethod) -> Self {
        let e = vec![1.0; m.stages()];
        let (a1, b1) = (dense(m.a1), dense(m.b1));
        Self {
            a0e: times(&dense(m.a0), &e),
            a1e: times(&a1, &e),
            b0e: times(&dense(m.b0), &e),
            b1e: times(&b1, &e),
            a1,
            b1,
            e,
        }
    }
}

/// The precision of the published coefficients: rounding, but 1.2e-13 for SOSRI2, whose nodes at t + h are 0.999999999999996.
fn precision(m: &SdeMethod) -> f64 {
    if m.name == "sosri2" { 1.5e-13 } else { 1e-15 }
}

#[test]
fn rows_sum_to_nodes_and_are_explicit() {
    for m in SdeMethod::all() {
        let t = Tables::of(m);
        for i in 0..m.stages() {
            assert!((t.a0e[i] - m.c0[i]).abs() <= 1e-15, "{} c0[{i}]: {}", m.name, t.a0e[i] - m.c0[i]);
            if m.suits != Suits::Additive {
                assert!((t.a1e[i] - m.c1[i]).abs() <= 1e-15, "{} c1[{i}]: {}", m.name, t.a1e[i] - m.c1[i]);
            }
            for table in [m.a0, m.a1, m.b0, m.b1] {
                assert_eq!(table.len(), m.stages());
                assert!(table[i].len() <= i, "{} is explicit", m.name);
            }
        }
    }
}

#[test]
fn order_conditions_of_the_sri_methods() {
    for m in SdeMethod::all().into_iter().filter(|m| m.suits == Suits::DiagonalOrScalar) {
        let t = Tables::of(m);
        let mut all = vec![
            ("alpha e", residual(m.alpha, &t.e, 1.0)),
            ("alpha A0 e", residual(m.alpha, &t.a0e, 0.5)),
            ("alpha B0 e", residual(m.alpha, &t.b0e, 1.0)),
            ("alpha (B0 e)^2", residual(m.alpha, &squares(&t.b0e), 1.5)),
        ];
        let inner = times(&t.b1, &t.b1e);
        // One row for each of beta1 .. beta4: right-hand sides of beta e, beta B1 e, beta A1 e, beta (B1 e)^2, beta B1 B1 e.
        let right = [
            [1.0, 0.0, 1.0, 1.0, 0.0],
            [0.0, 1.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, -1.0, -1.0, 0.0],
            [0.0, 0.0, 0.0, 2.0, 1.0],
        ];
        for (beta, r) in m.beta.iter().zip(right) {
            all.extend([
                ("beta e", residual(beta, &t.e, r[0])),
                ("beta B1 e", residual(beta, &t.b1e, r[1])),
                ("beta A1 e", residual(beta, &t.a1e, r[2])),
                ("beta (B1 e)^2", residual(beta, &squares(&t.b1e), r[3])),
                ("beta B1 B1 e", residual(beta, &inner, r[4])),
            ]);
        }
        let w = |i: usize| {
            let at = |r: &[f64]| r.get(i).copied().unwrap_or(0.0);
            at(m.beta[0]) / 2.0 + at(m.beta[2]) / 3.0
        };
        let w: Vec<f64> = (0..m.stages()).map(w).collect();
        all.push(("beta1 A1 B0 e / 2 + beta3 A1 B0 e / 3", residual(&w, &times(&t.a1, &t.b0e), 0.0)));
        assert_eq!(all.len(), 25);
        let worst = all.iter().fold(("", 0.0), |a, &b| if b.1 > a.1 { b } else { a });
        println!("{}: worst residual {:.1e} of {}", m.name, worst.1, worst.0);
        assert!(worst.1 <= precision(m), "{}: {worst:?}", m.name);
    }
}

#[test]
fn order_conditions_of_the_sra_methods() {
    for m in SdeMethod::all().into_iter().filter(|m| m.suits == Suits::Additive) {
        let t = Tables::of(m);
        let all = [
            residual(m.alpha, &t.e, 1.0),
            residual(m.alpha, &t.a0e, 0.5),
            residual(m.alpha, &t.b0e, 1.0),
            residual(m.alpha, &squares(&t.b0e), 1.5),
            residual(m.beta[0], &t.e, 1.0),
            residual(m.beta[2], &t.e, 0.0),
            residual(m.beta[0], m.c1, 1.0),
            residual(m.beta[2], m.c1, -1.0),
        ];
        let worst = all.iter().copied().fold(0.0, f64::max);
        println!("{}: worst residual {worst:.1e}", m.name);
        assert!(worst <= precision(m), "{}: {all:?}", m.name);
        assert!(m.a1.iter().chain(m.b1).all(|r| r.is_empty()), "{}", m.name);
    }
}

#[test]
fn order_conditions_of_the_baselines() {
    let t = Tables::of(&MILSTEIN);
    for m in [&EULER_MARUYAMA, &MILSTEIN] {
        assert_eq!(m.alpha.iter().sum::<f64>(), 1.0);
        assert_eq!(m.beta[0].iter().sum::<f64>(), 1.0);
    }
    assert_eq!(residual(MILSTEIN.beta[1], &t.e, 0.0), 0.0);
    assert_eq!(residual(MILSTEIN.beta[1], &t.b1e, 1.0), 0.0);
}

#[test]
fn stages_of_the_stiffness_estimate_share_their_node() {
    for m in SdeMethod::all() {
        if let Some((i, j)) = m.stiffness {
            assert!((m.c0[i] - m.c0[j]).abs() < 1e-15, "{}", m.name);
        }
    }
    assert!(SOSRI2.stiffness.is_some() && SOSRA2.stiffness.is_some());
    assert_eq!(SdeMethod::by_name("sosri"), Some(&SOSRI));
    assert_eq!(SdeMethod::by_name("none"), None);
}

/// Least-squares slope of log2 of the error over the halvings.
fn slope(errors: &[f64]) -> f64 {
    let n = errors.len() as f64;
    let mean = (n - 1.0) / 2.0;
    let log: Vec<f64> = errors.iter().map(|e| e.log2()).collect();
    let top: f64 = log.iter().enumerate().map(|(i, l)| (i as f64 - mean) * l).sum();
    let bottom: f64 = (0..errors.len()).map(|i| (i as f64 - mean).powi(2)).sum();
    -top / bottom
}

/// Root mean square errors at t = 1 of steps 2^-k, all on the same paths, against `exact(w, j)`: w are the motions of a trajectory at t = 1.
fn strong_errors<F: VectorField<f64>, G: Diffusion<f64>>(
    sde: &mut Sde<F, G>,
    method: &'static SdeMethod,
    y0: &[f64],
    p: &[f64],
    halvings: std::ops::RangeInclusive<u32>,
    exact: impl Fn(&[f64], &[f64]) -> Vec<f64>,
) -> Result<Vec<f64>, OdeError> {
    let (n, batch) = (y0.len(), 1000);
    let start = y0.repeat(batch);
    let brownian = Brownian::new(2024).with_cells(1);
    let width = sde.diffusion.noise().width(n);
    let mut path = BrownianPath::new(&brownian, (0.0, 1.0), width, batch)?;
    let w = path.advance(1.0).0;
    let want: Vec<f64> = w.chunks(width).flat_map(|w| exact(w, y0)).collect();
    halvings
        .map(|k| {
            let o = SdeOptions::fixed(0.5f64.powi(k as i32));
            let s = solve_sde(sde, method, &o, (0.0, 1.0), &start, p, &brownian, &[])?;
            assert!(s.report.ok());
            Ok((s.y1.iter().zip(&want).map(|(a, b)| (a - b) * (a - b)).sum::<f64>() / want.len() as f64).sqrt())
        })
        .collect()
}

fn check(name: &str, errors: &[f64], order: f64) {
    let p = slope(errors);
    println!("{name}: errors {:?}, order {p:.3} (expected {order})", errors.iter().map(|e| format!("{e:.2e}")).collect::<Vec<_>>());
    assert!((p - order).abs() < 0.1, "{name}: {p}");
}

/// dy = mu y dt + sigma y dW.
fn gbm() -> Sde<impl VectorField<f64>, impl Diffusion<f64>> {
    Sde::new(
        FnField::new(1, 1, |_, y: &[f64], p: &[f64], dy: &mut [f64]| dy[0] = p[0] * y[0]),
        FnDiffusion::new(1, 1, Noise::Diagonal, |_, y: &[f64], p: &[f64], g: &mut [f64]| g[0] = p[0] * y[0]),
    )
    .unwrap()
}

fn gbm_exact(w: &[f64], y0: &[f64]) -> Vec<f64> {
    vec![y0[0] * (1.0 - 0.5 * 0.25f64 + 0.5 * w[0]).exp()]
}

#[test]
fn strong_orders_on_geometric_brownian_motion() {
    for (m, order, k) in
        [(&EULER_MARUYAMA, 0.5, 8..=12), (&MILSTEIN, 1.0, 5..=9), (&SRIW1, 1.5, 4..=8), (&SOSRI, 1.5, 5..=9), (&SOSRI2, 1.5, 4..=8)]
    {
        let e = strong_errors(&mut gbm(), m, &[0.7], &[1.0, 0.5], k, gbm_exact).unwrap();
        check(m.name, &e, order);
    }
}

#[test]
fn strong_orders_on_a_nonlinear_equation() {
    // dy = -(a + b^2 y)(1 - y^2) dt + b (1 - y^2) dW (Kloeden and Platen 1992, 4.4): y = ((1 + y0) E + y0 - 1) / ((1 + y0) E + 1 - y0), E = exp(-2 a t + 2 b W).
    let (a, b) = (0.4, 0.7);
    let exact = |w: &[f64], y0: &[f64]| {
        let e = (1.0 + y0[0]) * (-2.0 * a + 2.0 * b * w[0]).exp();
        vec![(e + y0[0] - 1.0) / (e + 1.0 - y0[0])]
    };
    let mut sde = Sde::new(
        FnField::new(1, 2, |_, y: &[f64], p: &[f64], dy: &mut [f64]| {
            dy[0] = -(p[0] + p[1] * p[1] * y[0]) * (1.0 - y[0] * y[0])
        }),
        FnDiffusion::new(1, 1, Noise::Scalar, |_, y: &[f64], p: &[f64], g: &mut [f64]| g[0] = p[0] * (1.0 - y[0] * y[0])),
    )
    .unwrap();
    for (m, order, k) in
        [(&EULER_MARUYAMA, 0.5, 5..=9), (&MILSTEIN, 1.0, 6..=10), (&SRIW1, 1.5, 6..=10), (&SOSRI, 1.5, 6..=10), (&SOSRI2, 1.5, 6..=10)]
    {
        let e = strong_errors(&mut sde, m, &[0.2], &[a, b, b], k, exact).unwrap();
        check(m.name, &e, order);
    }
}

#[test]
fn strong_orders_with_scalar_noise_on_two_components() {
    // dy = (a I + b J) y dt + (c I + d J) y dW with a rotation J: all commute, so y = exp((a - (c^2 - d^2)/2 + c W) I + (b - c d + d W) J) y0.
    let (a, b, c, d) = (0.3, 1.2, 0.4, 0.5);
    let exact = |w: &[f64], y0: &[f64]| {
        let r = (a - (c * c - d * d) / 2.0 + c * w[0]).exp();
        let (s, k) = (b - c * d + d * w[0]).sin_cos();
        vec![r * (k * y0[0] - s * y0[1]), r * (s * y0[0] + k * y0[1])]
    };
    let turn = |p: &[f64], y: &[f64], out: &mut [f64]| {
        out[0] = p[0] * y[0] - p[1] * y[1];
        out[1] = p[1] * y[0] + p[0] * y[1];
    };
    let mut sde = Sde::new(
        FnField::new(2, 2, move |_, y: &[f64], p: &[f64], dy: &mut [f64]| turn(p, y, dy)),
        FnDiffusion::new(2, 2, Noise::Scalar, move |_, y: &[f64], p: &[f64], g: &mut [f64]| turn(p, y, g)),
    )
    .unwrap();
    for (m, order, k) in [
        (&EULER_MARUYAMA, 0.5, 8..=12),
        (&MILSTEIN, 1.0, 5..=9),
        (&SRIW1, 1.5, 5..=9),
        (&SOSRI, 1.5, 5..=9),
        (&SOSRI2, 1.5, 5..=9),
    ] {
        let e = strong_errors(&mut sde, m, &[1.0, -0.5], &[a, b, c, d], k, exact).unwrap();
        check(m.name, &e, order);
    }
}
