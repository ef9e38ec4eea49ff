//! Mechanisms whose constraints are differentiated until an ordinary differential equation is left: a pendulum, a slider crank with a flexible rod.

use costate::diff::FnMap;
use costate::ode::{DOP853, Options, TSIT54, Tableau, VERN76, VERN87, solve};

use crate::case::{Case, Right};

/// x' = u, y' = v, u' = -l x, v' = -l y - g with l = (u^2 + v^2 - g y) / (x^2 + y^2).
fn pendulum(_: f64, y: &[f64], _: &[f64], dy: &mut [f64]) {
    let g = 9.8;
    let l = tension(y);
    dy.copy_from_slice(&[y[2], y[3], -l * y[0], -l * y[1] - g]);
}

fn tension(y: &[f64]) -> f64 {
    (y[2] * y[2] + y[3] * y[3] - 9.8 * y[1]) / (y[0] * y[0] + y[1] * y[1])
}

fn swing(tab: &'static Tableau) -> Right {
    let mut field = FnMap::new(4, 0, pendulum);
    let o = Options::tolerances(1e-10, 1e-10);
    let s = solve(&mut field, tab, &o, (0.0, 10.0), &[1.0, 0.0, 0.0, 0.0], &[], &[2.0]).expect("valid");
    let (a, b) = (s.state(0), &s.y1[..]);
    let two = [0.7914150992564, -0.6112791021040, 2.1158621, 2.7393791, 17.9716056];
    let ten = [0.2962717169866, -0.9551036957911, 28.0800487];
    let far = |x: &[f64], right: &[f64]| x.iter().zip(right).map(|(x, r)| (x - r).abs()).fold(0.0, f64::max);
    let at_two = far(&a[..2], &two[..2]).max(0.01 * far(&[a[2], a[3], tension(a)], &two[2..]));
    let at_ten = far(&b[..2], &ten[..2]).max(0.01 * far(&[tension(b)], &ten[2..]));
    let seen = format!("errors {at_two:.1e}, {at_ten:.1e} in {} steps", s.report.counts.accepted);
    if s.report.ok() && at_two < 1e-8 && at_ten < 1e-7 { Ok(seen) } else { Err(seen) }
}

/// Solves A x = b by elimination with row pivoting; b becomes x.
fn eliminate<const N: usize>(a: &mut [[f64; N]; N], b: &mut [f64; N]) {
    for k in 0..N {
        let top = (k..N).max_by(|&i, &j| a[i][k].abs().total_cmp(&a[j][k].abs())).unwrap_or(k);
        a.swap(k, top);
        b.swap(k, top);
        for i in k + 1..N {
            let (m, row) = (a[i][k] / a[k][k], a[k]);
            a[i].iter_mut().zip(&row).skip(k).for_each(|(a, r)| *a -= m * r);
            b[i] -= m * b[k];
        }
    }
    for k in (0..N).rev() {
        let sum: f64 = (k + 1..N).map(|j| a[k][j] * b[j]).sum();
        b[k] = (b[k] - sum) / a[k][k];
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Slider crank: positions (p1, p2, x, q1..q4) and their velocities; accelerations and multipliers from A P'' + G' l = F, G P'' = -(dG/dt) P'.
fn crank(_: f64, y: &[f64], _: &[f64], dy: &mut [f64]) {
    #[allow(clippy::approx_constant)] // The test set's.
    let pi = 3.1415927f64;
    let (m2, m3, l1, l2, j1, j2) = (0.151104, 0.075552, 0.15, 0.30, 0.002727, 0.0045339259);
    let (e, h, rho) = (2e11, 0.008, 7870.0);
    let (fm, fk, fb) = (rho * h * h * l2, e * h * h / l2, h * h * l2);
    let mut mq = [[0.0; 4]; 4];
    (mq[0][0], mq[1][1], mq[2][2], mq[2][3], mq[3][2], mq[3][3]) =
        (0.5 * fm, 0.5 * fm, 8.0 * fm, fm, fm, 2.0 * fm);
    let mut kq = [[0.0; 4]; 4];
    let bend = (h / l2) * (h / l2);
    kq[0][0] = fk * pi.powi(4) / 24.0 * bend;
    kq[1][1] = fk * 2.0 * pi.powi(4) / 3.0 * bend;
    (kq[2][2], kq[2][3], kq[3][2], kq[3][3]) =
        (fk * 16.0 / 3.0, -fk * 8.0 / 3.0, -fk * 8.0 / 3.0, fk * 7.0 / 3.0);
    let mut bq = [[0.0; 4]; 4];
    for (i, j, b) in [(0, 2, -16.0 / pi.powi(3)), (0, 3, 8.0 / pi.powi(3) - 1.0 / pi), (1, 3, 0.5 / pi)] {
        (bq[i][j], bq[j][i]) = (fb * b, -fb * b);
    }
    let c1 = [0.0, 0.0, fb * 2.0 / 3.0, fb / 6.0];
    let c2 = [fb * 2.0 / pi, 0.0, 0.0, 0.0];
    let c12 = [0.0, 0.0, l2 * fb / 3.0, l2 * fb / 6.0];
    let c21 = [l2 * fb / pi, -l2 * fb / (2.0 * pi), 0.0, 0.0];
    let (place, speed) = y.split_at(7);
    let (q, w) = (&place[3..], &speed[3..]);
    let (v1, v2) = (speed[0], speed[1]);
    let (s, c) = (place[0] - place[1]).sin_cos();
    let times = |m: &[[f64; 4]; 4], x: &[f64]| [0, 1, 2, 3].map(|i| dot(&m[i], x));
    let (mqq, bqw, kqq) = (times(&mq, q), times(&bq, w), times(&kq, q));
    let (c1q, c2q, c1w, c2w) = (dot(&c1, q), dot(&c2, q), dot(&c1, w), dot(&c2, w));
    // Mass and force.
    let mut a = [[0.0; 10]; 10];
    a[0][0] = j1 + m2 * l1 * l1;
    a[0][1] = 0.5 * l1 * l2 * m2 * c + rho * l1 * (s * c2q + c * c1q);
    a[1][0] = a[0][1];
    a[1][1] = j2 + dot(q, &mqq) + 2.0 * rho * dot(&c12, q);
    a[2][2] = m3;
    let mut f = [0.0; 10];
    f[0] = -0.5 * l1 * l2 * m2 * v2 * v2 * s + rho * l1 * v2 * v2 * (c * c2q - s * c1q)
        - 2.0 * rho * l1 * v2 * (c * c1w + s * c2w);
    f[1] = 0.5 * l1 * l2 * m2 * v1 * v1 * s + rho * l1 * v1 * v1 * (s * c1q - c * c2q)
        - 2.0 * rho * v2 * dot(&c12, w)
        - 2.0 * v2 * dot(w, &mqq)
        - rho * dot(w, &bqw);
    for i in 0..4 {
        let bt: f64 = (0..4).map(|j| bq[j][i] * q[j]).sum();
        a[0][3 + i] = rho * l1 * (c * c2[i] - s * c1[i]);
        a[1][3 + i] = rho * (c21[i] + bt);
        (a[3 + i][0], a[3 + i][1]) = (a[0][3 + i], a[1][3 + i]);
        for j in 0..4 {
            a[3 + i][3 + j] = mq[i][j];
        }
        let stretch = v2 * v2 * c12[i] + l1 * v1 * v1 * (c * c1[i] + s * c2[i]) + 2.0 * v2 * bqw[i];
        f[3 + i] = v2 * v2 * mqq[i] + rho * stretch - kqq[i];
    }
    // Constraints l1 sin p1 + (l2 + q4) sin p2, x - l1 cos p1 - (l2 + q4) cos p2, p1 - W t, twice differentiated.
    let (s1, c1p) = place[0].sin_cos();
    let (s2, c2p) = place[1].sin_cos();
    let (long, v4) = (l2 + q[3], w[3]);
    let g = [
        [l1 * c1p, long * c2p, 0.0, 0.0, 0.0, 0.0, s2],
        [l1 * s1, long * s2, 1.0, 0.0, 0.0, 0.0, -c2p],
        [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    ];
    for (k, row) in g.iter().enumerate() {
        for (j, g) in row.iter().enumerate() {
            (a[7 + k][j], a[j][7 + k]) = (*g, *g);
        }
    }
    f[7] = l1 * s1 * v1 * v1 + long * s2 * v2 * v2 - 2.0 * c2p * v2 * v4;
    f[8] = -l1 * c1p * v1 * v1 - long * c2p * v2 * v2 - 2.0 * s2 * v2 * v4;
    eliminate(&mut a, &mut f);
    dy[..7].copy_from_slice(speed);
    dy[7..].copy_from_slice(&f[..7]);
}

fn slide(tab: &'static Tableau) -> Right {
    let y0 = [
        0.0,
        0.0,
        0.450016933,
        0.0,
        0.0,
        1.03339863e-5,
        1.69327969e-5,
        150.0,
        -74.9957670,
        -2.68938672e-6,
        0.444896105,
        4.63434311e-3,
        -1.78591076e-6,
        -2.68938672e-6,
    ];
    let mut field = FnMap::new(14, 0, crank);
    let o = Options { max_steps: 1_000_000, ..Options::tolerances(1e-9, 1e-12) };
    let s = solve(&mut field, tab, &o, (0.0, 0.1), &y0, &[], &[]).expect("valid");
    let right = [
        15.0,
        -0.3311734946276,
        0.1697373332526,
        1.893192938e-4,
        2.375751323e-5,
        -5.323896758e-6,
        -8.363313255e-6,
    ];
    let error =
        s.y1.iter().zip(&right).map(|(y, r): (&f64, &f64)| (y - r).abs() / r.abs()).fold(0.0, f64::max);
    let seen = format!("error {error:.1e} in {} steps", s.report.counts.accepted);
    if s.report.ok() && error < 2e-6 { Ok(seen) } else { Err(format!("{seen}: {:?}", &s.y1[..7])) }
}

pub fn cases() -> Vec<Case> {
    let mut cases = vec![];
    for tab in [&TSIT54, &VERN76, &VERN87, &DOP853] {
        cases.push(Case::new(format!("pendulum {}", tab.name), move || swing(tab)));
    }
    for tab in [&TSIT54, &DOP853] {
        cases.push(Case::new(format!("slider crank {}", tab.name), move || slide(tab)));
    }
    cases
}
