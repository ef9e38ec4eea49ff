//! Every stochastic method against Roessler's order conditions, and its measured strong and weak orders.

use costate::diff::{FnMap, Map};
use costate::ode::{OdeError, Options, solve};
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
fn strong_errors<F: Map<f64>, G: Map<f64>>(
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
    let width = sde.noise().width(n);
    let mut path = BrownianPath::new(&brownian, (0.0, 1.0), width, batch)?;
    let w = path.advance(1.0)?.0;
    let want: Vec<f64> = w.chunks(width).flat_map(|w| exact(w, y0)).collect();
    halvings
        .map(|k| {
            let o = Options::noisy().with_fixed_step(0.5f64.powi(k as i32));
            let s = solve(sde.follow(brownian), method, &o, (0.0, 1.0), &start, p, &[])?;
            assert!(s.report.ok());
            Ok((s.y1.iter().zip(&want).map(|(a, b)| (a - b) * (a - b)).sum::<f64>() / want.len() as f64)
                .sqrt())
        })
        .collect()
}

fn check(name: &str, errors: &[f64], order: f64) {
    let p = slope(errors);
    println!(
        "{name}: errors {:?}, order {p:.3} (expected {order})",
        errors.iter().map(|e| format!("{e:.2e}")).collect::<Vec<_>>()
    );
    assert!((p - order).abs() < 0.1, "{name}: {p}");
}

/// dy = mu y dt + sigma y dW.
fn gbm() -> Sde<impl Map<f64>, impl Map<f64>> {
    Sde::new(
        FnMap::new(1, 1, |_, y: &[f64], p: &[f64], dy: &mut [f64]| dy[0] = p[0] * y[0]),
        FnMap::new(1, 1, |_, y: &[f64], p: &[f64], g: &mut [f64]| g[0] = p[0] * y[0]),
        Noise::Diagonal,
    )
    .unwrap()
}

fn gbm_exact(w: &[f64], y0: &[f64]) -> Vec<f64> {
    vec![y0[0] * (1.0 - 0.5 * 0.25f64 + 0.5 * w[0]).exp()]
}

#[test]
fn strong_orders_on_geometric_brownian_motion() {
    for (m, order, k) in [
        (&EULER_MARUYAMA, 0.5, 8..=12),
        (&MILSTEIN, 1.0, 5..=9),
        (&SRIW1, 1.5, 4..=8),
        (&SOSRI, 1.5, 5..=9),
        (&SOSRI2, 1.5, 4..=8),
    ] {
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
        FnMap::new(1, 2, |_, y: &[f64], p: &[f64], dy: &mut [f64]| {
            dy[0] = -(p[0] + p[1] * p[1] * y[0]) * (1.0 - y[0] * y[0])
        }),
        FnMap::new(1, 1, |_, y: &[f64], p: &[f64], g: &mut [f64]| g[0] = p[0] * (1.0 - y[0] * y[0])),
        Noise::Diagonal,
    )
    .unwrap();
    for (m, order, k) in [
        (&EULER_MARUYAMA, 0.5, 5..=9),
        (&MILSTEIN, 1.0, 6..=10),
        (&SRIW1, 1.5, 6..=10),
        (&SOSRI, 1.5, 6..=10),
        (&SOSRI2, 1.5, 6..=10),
    ] {
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
        FnMap::new(2, 2, move |_, y: &[f64], p: &[f64], dy: &mut [f64]| turn(p, y, dy)),
        FnMap::new(2, 2, move |_, y: &[f64], p: &[f64], g: &mut [f64]| turn(p, y, g)),
        Noise::Scalar,
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

/// dy_i = m_i y_i dt + y_i sum_k c_ik dW_k: commutes.
fn commuting(c: [[f64; 2]; 2]) -> Sde<impl Map<f64>, impl Map<f64>> {
    let drift = FnMap::new(2, 2, |_, y: &[f64], p: &[f64], dy: &mut [f64]| {
        dy[0] = p[0] * y[0];
        dy[1] = p[1] * y[1];
    });
    let g = FnMap::with_outputs(2, 4, 0, move |_, y: &[f64], _: &[f64], g: &mut [f64]| {
        for (j, g) in g.iter_mut().enumerate() {
            *g = c[j % 2][j / 2] * y[j % 2];
        }
    });
    Sde::new(drift, g, Noise::Matrix(2)).unwrap().commutative()
}

#[test]
fn strong_orders_with_commutative_matrix_noise() {
    let (m, c) = ([0.4, -0.3], [[0.3, 0.5], [-0.4, 0.2]]);
    let exact = |w: &[f64], y0: &[f64]| {
        (0..2)
            .map(|i| {
                let [a, b]: [f64; 2] = c[i];
                y0[i] * (m[i] - 0.5 * (a * a + b * b) + a * w[0] + b * w[1]).exp()
            })
            .collect()
    };
    for (method, order, k) in [(&EULER_MARUYAMA, 0.5, 7..=11), (&MILSTEIN, 1.0, 5..=9)] {
        let e = strong_errors(&mut commuting(c), method, &[1.0, 0.8], &m, k, exact).unwrap();
        check(method.name, &e, order);
    }
}

#[test]
fn strong_orders_with_additive_noise() {
    // dy = (b/sqrt(1 + t) - y/(2 (1 + t))) dt + a b/sqrt(1 + t) dW: y = (y0 + b (t + a W))/sqrt(1 + t). Every shape of noise.
    let (a, b) = (0.8, 1.3);
    for noise in [Noise::Diagonal, Noise::Scalar, Noise::Matrix(2)] {
        let drift = FnMap::new(2, 0, move |t: f64, y: &[f64], _: &[f64], dy: &mut [f64]| {
            for i in 0..2 {
                dy[i] = b / (1.0 + t).sqrt() - y[i] / (2.0 * (1.0 + t));
            }
        });
        // Motions w0 for y0 and, in turn, w1, w0 and (w0 + 2 w1) for y1.
        let g =
            FnMap::with_outputs(2, noise.len(2), 0, move |t: f64, _: &[f64], _: &[f64], g: &mut [f64]| {
                let s = a * b / (1.0 + t).sqrt();
                match noise {
                    Noise::Matrix(_) => g.copy_from_slice(&[s, s, 0.0, 2.0 * s]),
                    _ => g.fill(s),
                }
            });
        let exact = |w: &[f64], y0: &[f64]| {
            let second = match noise {
                Noise::Diagonal => w[1],
                Noise::Scalar => w[0],
                Noise::Matrix(_) => w[0] + 2.0 * w[1],
            };
            let y = |y0: f64, w: f64| (y0 + b * (1.0 + a * w)) / 2.0f64.sqrt();
            vec![y(y0[0], w[0]), y(y0[1], second)]
        };
        let mut sde = Sde::new(drift, g, noise).unwrap().additive();
        // The drift is linear in y, which makes the SRA methods better than their order.
        for (m, order) in [(&EULER_MARUYAMA, 1.0), (&SRA1, 2.0), (&SOSRA, 2.0), (&SOSRA2, 2.0)] {
            let e = strong_errors(&mut sde, m, &[0.5, -1.0], &[], 4..=8, exact).unwrap();
            check(&format!("{} {noise:?}", m.name), &e, order);
        }
    }
}

/// Errors against the same method with step 2^-14, on the same paths.
fn self_errors<F: Map<f64>, G: Map<f64>>(
    sde: &mut Sde<F, G>,
    method: &'static SdeMethod,
    y0: &[f64],
    halvings: std::ops::RangeInclusive<u32>,
) -> Vec<f64> {
    let start = y0.repeat(250);
    let mut at = |k: u32| {
        let o = Options::noisy().with_fixed_step(0.5f64.powi(k as i32));
        let path = Brownian::new(77).with_cells(1);
        solve(sde.follow(path), method, &o, (0.0, 1.0), &start, &[], &[]).unwrap().y1
    };
    let want = at(14);
    let rms = |y: Vec<f64>| {
        (y.iter().zip(&want).map(|(a, b)| (a - b) * (a - b)).sum::<f64>() / want.len() as f64).sqrt()
    };
    halvings.map(|k| rms(at(k))).collect()
}

#[test]
fn strong_orders_of_coupled_nonlinear_systems() {
    // Additive: dy0 = (1 - exp(y0) + sin y1) dt + 1.2 dW0, dy1 = (cos(2 y0) - y1) dt + 1.1 (1 + t^2) dW1.
    let drift = || {
        FnMap::new(2, 0, |_, y: &[f64], _: &[f64], dy: &mut [f64]| {
            dy[0] = 1.0 - y[0].exp() + y[1].sin();
            dy[1] = (2.0 * y[0]).cos() - y[1];
        })
    };
    let additive = FnMap::new(2, 0, |t: f64, _: &[f64], _: &[f64], g: &mut [f64]| {
        g.copy_from_slice(&[1.2, 1.1 * (1.0 + t * t)])
    });
    let mut sde = Sde::new(drift(), additive, Noise::Diagonal).unwrap().additive();
    for m in [&SRA1, &SOSRA, &SOSRA2] {
        check(m.name, &self_errors(&mut sde, m, &[0.1, 0.3], 7..=11), 1.5);
    }
    // Diagonal: g_i depends on t and y_i.
    let diagonal = FnMap::new(2, 0, |t: f64, y: &[f64], _: &[f64], g: &mut [f64]| {
        g.copy_from_slice(&[0.6 * y[0].cos(), 0.5 * (1.0 + t) * (1.0 + y[1] * y[1]).sqrt()])
    });
    let mut sde = Sde::new(drift(), diagonal, Noise::Diagonal).unwrap();
    for (m, order) in [(&MILSTEIN, 1.0), (&SRIW1, 1.5), (&SOSRI, 1.5), (&SOSRI2, 1.5)] {
        check(m.name, &self_errors(&mut sde, m, &[0.1, 0.3], 7..=11), order);
    }
}

/// E (y1 / y0)^power of one step on dy = mu y dt + sigma y dW, by Gauss-Hermite quadrature in (I1, I10): exact, no samples.
fn moment_of_a_step(m: &SdeMethod, (mu, sigma): (f64, f64), h: f64, power: i32) -> f64 {
    let (x, w) = gauss_hermite();
    let mut moment = 0.0;
    for (a, wa) in x.iter().zip(&w) {
        for (b, wb) in x.iter().zip(&w) {
            let (i1, area) = (a * h.sqrt(), b * (h / 12.0).sqrt());
            moment += wa * wb * gbm_factor(m, mu, sigma, h, i1, h * (i1 / 2.0 + area)).powi(power);
        }
    }
    moment
}

#[test]
fn weak_orders_on_geometric_brownian_motion() {
    // E y(1) = exp(mu) and E y(1)^2 = exp(2 mu + sigma^2). One step multiplies y by an independent factor, so E y(1)^k = (E factor^k)^n.
    // Why SOSRI and SOSRI2 have 1.5 at the least and not 2: see the next test.
    let (mu, sigma) = (1.0f64, 0.8f64);
    for (m, order) in [(&EULER_MARUYAMA, 1.0), (&MILSTEIN, 1.0), (&SRIW1, 2.0), (&SOSRI, 1.5), (&SOSRI2, 1.5)]
    {
        for power in 1..=2 {
            let exact = (power as f64 * mu + (power - 1) as f64 * sigma * sigma).exp();
            let error = |k| {
                let n = 1i32 << k;
                (moment_of_a_step(m, (mu, sigma), 1.0 / n as f64, power).powi(n) - exact).abs() / exact
            };
            let e: Vec<f64> = (3..=7).map(error).collect();
            let p = slope(&e[1..]);
            println!("{} weak, moment {power}: {e:?} {p:.3}", m.name);
            assert!(p > order - 0.1, "{} moment {power}: {p}", m.name);
        }
    }
}

#[test]
fn sosri_has_half_orders_in_the_mean() {
    // The error of E (y1 / y0)^2 of one step is c h^(5/2) + O(h^3). The 25 conditions of strong order 1.5 do not make c zero; it is for SRIW1, where
    // A1 B0 = 0. So the weak order of SOSRI and SOSRI2 is 1.5 in the limit, and between 1.5 and 2 at steps where h^3 still counts. The values of c
    // are those of the power series in sqrt(h) with the published coefficients (mu = 1, sigma = 0.8).
    let (mu, sigma) = (1.0, 0.8);
    for (m, want) in [(&SRIW1, 0.0), (&SOSRI, -0.1965), (&SOSRI2, -0.05853)] {
        let c = |k: i32| {
            let h = 0.25f64.powi(k);
            (moment_of_a_step(m, (mu, sigma), h, 2) - (2.0 * mu * h + sigma * sigma * h).exp()) / h.powf(2.5)
        };
        // In the limit: powers of sqrt(h) and h removed.
        let [a, b, e] = [4, 5, 6].map(c);
        let limit = (4.0 * (2.0 * e - b) - (2.0 * b - a)) / 3.0;
        println!("{}: {limit:.5}", m.name);
        assert!((limit - want).abs() < 5e-4, "{}: {limit}", m.name);
    }
}

/// y1 and the increments of one step of h by the solver itself.
fn one_step<F: Map<f64>, G: Map<f64>>(
    sde: &mut Sde<F, G>,
    m: &'static SdeMethod,
    (y0, p): (f64, &[f64]),
    h: f64,
) -> (f64, f64, f64) {
    let path = Brownian::new(3).with_cells(1);
    let s =
        solve(sde.follow(path), m, &Options::noisy().with_fixed_step(h), (0.0, h), &[y0], p, &[]).unwrap();
    assert_eq!(s.report.counts.accepted, 1);
    let mut increments = BrownianPath::new(&path, (0.0, h), 1, 1).unwrap();
    let (w, area) = increments.advance(h).unwrap();
    (s.y1[0], w[0], h * (w[0] / 2.0 + area[0]))
}

#[test]
fn the_steps_of_these_tests_are_the_solvers() {
    let (mu, sigma, h, y0) = (1.0, 0.5, 0.25, 1.3);
    for m in [&EULER_MARUYAMA, &MILSTEIN, &SRIW1, &SOSRI, &SOSRI2] {
        let (y1, i1, i10) = one_step(&mut gbm(), m, (y0, &[mu, sigma]), h);
        let want = y0 * gbm_factor(m, mu, sigma, h, i1, i10);
        assert!((y1 - want).abs() < 1e-13, "{}: {y1} {want}", m.name);
    }
    for m in [&SRA1, &SOSRA, &SOSRA2] {
        let (y1, i1, i10) = one_step(&mut ornstein_uhlenbeck(), m, (y0, &[0.8, 0.6]), h);
        let [r, a, b] = ou_step(m, 0.8, 0.6, h);
        let want = r * y0 + a * i1 + b * i10;
        assert!((y1 - want).abs() < 1e-13, "{}: {y1} {want}", m.name);
    }
}

/// dy = -theta y dt + sigma dW.
fn ornstein_uhlenbeck() -> Sde<impl Map<f64>, impl Map<f64>> {
    Sde::new(
        FnMap::new(1, 1, |_, y: &[f64], p: &[f64], dy: &mut [f64]| dy[0] = -p[0] * y[0]),
        FnMap::new(1, 1, |_, _: &[f64], p: &[f64], g: &mut [f64]| g[0] = p[0]),
        Noise::Diagonal,
    )
    .unwrap()
    .additive()
}

/// [R, A, B] of y1 = R y0 + A I1 + B I10 on the same, from the tableau.
fn ou_step(m: &SdeMethod, theta: f64, sigma: f64, h: f64) -> [f64; 3] {
    let at = |r: &[f64], i: usize| r.get(i).copied().unwrap_or(0.0);
    // Every quantity as its coefficients of (y0, I1, I10).
    let mut k: Vec<[f64; 3]> = vec![];
    for i in 0..m.stages() {
        let mut stage = [1.0, 0.0, 0.0];
        for (j, k) in k.iter().enumerate() {
            (0..3).for_each(|c| stage[c] += h * at(m.a0[i], j) * k[c]);
        }
        stage[2] += (0..i).map(|j| at(m.b0[i], j)).sum::<f64>() * sigma / h;
        k.push(stage.map(|v| -theta * v));
    }
    let mut y = [1.0, 0.0, 0.0];
    for (i, k) in k.iter().enumerate() {
        (0..3).for_each(|c| y[c] += h * at(m.alpha, i) * k[c]);
        y[1] += at(m.beta[0], i) * sigma;
        y[2] += at(m.beta[2], i) * sigma / h;
    }
    y
}

#[test]
fn weak_orders_of_additive_noise() {
    // E y(1) = y0 exp(-theta), Var y(1) = sigma^2 (1 - exp(-2 theta)) / (2 theta); a step adds Var = A^2 h + A B h^2 + B^2 h^3 / 3.
    let (theta, sigma) = (0.8f64, 0.6f64);
    for m in [&SRA1, &SOSRA, &SOSRA2] {
        let errors = |k: i32| {
            let n = 1 << k;
            let h = 1.0 / n as f64;
            let [r, a, b] = ou_step(m, theta, sigma, h);
            let added = a * a * h + a * b * h * h + b * b * h.powi(3) / 3.0;
            let variance = (0..n).fold(0.0, |v, _| r * r * v + added);
            let exact = sigma * sigma * (1.0 - (-2.0 * theta).exp()) / (2.0 * theta);
            [(r.powi(n) - (-theta).exp()).abs(), (variance - exact).abs()]
        };
        let e: Vec<[f64; 2]> = (3..=7).map(errors).collect();
        for moment in 0..2 {
            let p = slope(&e.iter().map(|e| e[moment]).collect::<Vec<_>>());
            println!("{} weak, moment {}: {p:.3}", m.name, moment + 1);
            assert!(p > 1.9, "{} moment {}: {p}", m.name, moment + 1);
        }
    }
}

#[test]
fn euler_maruyama_has_order_one_half_for_noise_that_does_not_commute() {
    // dy0 = dW0, dy1 = y1 dW0 / 2 + y0 dW1.
    let mut sde = Sde::new(
        FnMap::new(2, 0, |_, _: &[f64], _: &[f64], dy: &mut [f64]| dy.fill(0.0)),
        FnMap::with_outputs(2, 4, 0, |_, y: &[f64], _: &[f64], g: &mut [f64]| {
            g.copy_from_slice(&[1.0, 0.5 * y[1], 0.0, y[0]])
        }),
        Noise::Matrix(2),
    )
    .unwrap();
    check("em", &self_errors(&mut sde, &EULER_MARUYAMA, &[0.5, 1.0], 4..=9), 0.5);
}

/// y1 / y0 of one step on dy = mu y dt + sigma y dW, written again from the tableau.
fn gbm_factor(m: &SdeMethod, mu: f64, sigma: f64, h: f64, i1: f64, i10: f64) -> f64 {
    let at = |r: &[f64], i: usize| r.get(i).copied().unwrap_or(0.0);
    let (mut k, mut g) = (vec![], vec![]);
    for i in 0..m.stages() {
        let sum = |a: &[f64], v: &[f64]| v.iter().enumerate().map(|(j, v)| at(a, j) * v).sum::<f64>();
        let h0 = 1.0 + h * sum(m.a0[i], &k) + i10 / h * sum(m.b0[i], &g);
        let h1 = 1.0 + h * sum(m.a1[i], &k) + h.sqrt() * sum(m.b1[i], &g);
        k.push(mu * h0);
        g.push(sigma * h1);
    }
    let x = [i1, (i1 * i1 - h) / 2.0 / h.sqrt(), i10 / h, (i1.powi(3) - 3.0 * h * i1) / 6.0 / h];
    (0..m.stages()).fold(1.0, |y, i| {
        y + h * at(m.alpha, i) * k[i] + (0..4).map(|q| at(m.beta[q], i) * x[q] * g[i]).sum::<f64>()
    })
}

/// Nodes and weights of the standard normal law, exact for polynomials of degree 31 (probabilists' Hermite, Newton's method from a scan).
fn gauss_hermite() -> (Vec<f64>, Vec<f64>) {
    const N: usize = 16;
    // (He_N, He_(N-1)).
    let he = |x: f64| (1..N).fold((x, 1.0), |(p, q), k| (x * p - k as f64 * q, p));
    let mut nodes = vec![];
    let step = 1e-3;
    for j in -10_000..10_000 {
        let x = (j as f64 + 0.5) * step;
        if he(x).0 * he(x + step).0 < 0.0 {
            let mut r = x + step / 2.0;
            for _ in 0..50 {
                let (p, q) = he(r);
                r -= p / (N as f64 * q);
            }
            nodes.push(r);
        }
    }
    assert_eq!(nodes.len(), N);
    let factorial: f64 = (1..N).map(|k| k as f64).product();
    let weights = nodes.iter().map(|&x| factorial / (N as f64 * he(x).1.powi(2))).collect();
    (nodes, weights)
}
