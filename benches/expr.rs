//! Recorded formulas against derivatives written by hand, in nanoseconds a call.
//!
//! `cargo bench --bench expr`: the stiff network (4 states, 8 neurons, 76 parameters) and the 1-D Brusselator of growing size, with the time
//! that recording and compiling take.

use std::hint::black_box;
use std::time::Instant;

use costate::expr::{Directions, Point, Recorded, Var, record};

/// Nanoseconds of the fastest of many runs of `count` calls; runs are short, so that one of them is not interrupted.
fn fastest(count: usize, mut f: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < 0.3 {
        let start = Instant::now();
        (0..count).for_each(|_| f());
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / count as f64);
    }
    best
}

const SCALE: [f64; 4] = [1.0, 10.0, 100.0, 1000.0];
/// W by rows 4 x 8, a, V by rows 8 x 4, b.
const PARAMS: usize = 76;

/// y_i' = 10^i (b_i + sum_j V_ji tanh(a_j + sum_k W_kj y_k) - y_i + 0.1 sin((1 + i) t)).
fn network(t: Var, y: &[Var], p: &[Var], dy: &mut [Var]) {
    let hidden: Vec<Var> =
        (0..8).map(|j| (0..4).fold(p[32 + j], |sum, k| sum + p[8 * k + j] * y[k]).tanh()).collect();
    for i in 0..4 {
        let sum = (0..8).fold(p[72 + i], |sum, j| sum + p[40 + 4 * j + i] * hidden[j]);
        dy[i] = SCALE[i] * (sum - y[i] + 0.1 * ((1.0 + i as f64) * t).sin());
    }
}

/// The same by hand.
struct ByHand;

impl ByHand {
    #[inline(always)]
    fn hidden(y: &[f64], p: &[f64]) -> [f64; 8] {
        let mut h = [0.0; 8];
        h.copy_from_slice(&p[32..40]);
        for k in 0..4 {
            for j in 0..8 {
                h[j] += p[8 * k + j] * y[k];
            }
        }
        h.map(f64::tanh)
    }
    #[inline(never)]
    fn value(t: f64, y: &[f64], p: &[f64], dy: &mut [f64]) {
        let h = Self::hidden(y, p);
        let mut sum = [0.0; 4];
        sum.copy_from_slice(&p[72..76]);
        for j in 0..8 {
            for i in 0..4 {
                sum[i] += p[40 + 4 * j + i] * h[j];
            }
        }
        for i in 0..4 {
            dy[i] = SCALE[i] * (sum[i] - y[i] + 0.1 * ((1.0 + i as f64) * t).sin());
        }
    }
    #[inline(never)]
    fn vjp(y: &[f64], p: &[f64], w: &[f64], y_bar: &mut [f64], p_bar: &mut [f64]) {
        let h = Self::hidden(y, p);
        let g: [f64; 4] = std::array::from_fn(|i| SCALE[i] * w[i]);
        for i in 0..4 {
            p_bar[72 + i] += g[i];
            y_bar[i] -= g[i];
        }
        let mut z = [0.0; 8];
        for j in 0..8 {
            let mut sum = 0.0;
            for i in 0..4 {
                sum += p[40 + 4 * j + i] * g[i];
                p_bar[40 + 4 * j + i] += h[j] * g[i];
            }
            z[j] = sum * (1.0 - h[j] * h[j]);
            p_bar[32 + j] += z[j];
        }
        for k in 0..4 {
            let mut sum = 0.0;
            for j in 0..8 {
                sum += p[8 * k + j] * z[j];
                p_bar[8 * k + j] += y[k] * z[j];
            }
            y_bar[k] += sum;
        }
    }
    /// By rows, and df/dt.
    #[inline(never)]
    fn jacobian(t: f64, y: &[f64], p: &[f64], jac: &mut [f64], dt: &mut [f64]) {
        let h = Self::hidden(y, p);
        let s = h.map(|h| 1.0 - h * h);
        for i in 0..4 {
            let mut row = [0.0; 4];
            for j in 0..8 {
                let vs = p[40 + 4 * j + i] * s[j];
                for k in 0..4 {
                    row[k] += vs * p[8 * k + j];
                }
            }
            row[i] -= 1.0;
            for k in 0..4 {
                jac[4 * i + k] = SCALE[i] * row[k];
            }
            let c = 1.0 + i as f64;
            dt[i] = SCALE[i] * 0.1 * c * (c * t).cos();
        }
    }
    /// Directions of y (and t, which has no influence).
    #[inline(never)]
    fn tangent(y: &[f64], p: &[f64], w: &[f64], v: &[f64], y_bar: &mut [f64], p_bar: &mut [f64]) {
        let h = Self::hidden(y, p);
        let g: [f64; 4] = std::array::from_fn(|i| SCALE[i] * w[i]);
        let (mut s, mut back) = ([0.0; 8], [0.0; 8]);
        for j in 0..8 {
            s[j] = 1.0 - h[j] * h[j];
            back[j] = (0..4).map(|i| p[40 + 4 * j + i] * g[i]).sum();
        }
        for v in v.chunks(4) {
            let (mut z, mut z_dot) = ([0.0; 8], [0.0; 8]);
            for k in 0..4 {
                for j in 0..8 {
                    z_dot[j] += p[8 * k + j] * v[k];
                }
            }
            for j in 0..8 {
                let h_dot = s[j] * z_dot[j];
                z[j] = back[j] * s[j];
                z_dot[j] = back[j] * (-2.0 * h[j] * h_dot);
                for i in 0..4 {
                    p_bar[40 + 4 * j + i] += h_dot * g[i];
                }
                p_bar[32 + j] += z_dot[j];
            }
            for k in 0..4 {
                let mut sum = 0.0;
                for j in 0..8 {
                    sum += p[8 * k + j] * z_dot[j];
                    p_bar[8 * k + j] += y[k] * z_dot[j] + v[k] * z[j];
                }
                y_bar[k] += sum;
            }
        }
    }
}

fn agree(what: &str, a: &[f64], b: &[f64]) {
    let scale = b.iter().fold(1e-300, |m: f64, v| m.max(v.abs()));
    let error = a.iter().zip(b).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs())) / scale;
    assert!(error < 1e-13, "{what}: relative error {error:e}");
}

fn stiff_network() {
    let mut f = record(4, PARAMS, network).expect("every output is set");
    let p: Vec<f64> = (0..PARAMS).map(|m| 0.4 * (1.3 * m as f64 + 0.5).sin()).collect();
    let (t, y, w) = (0.7, [1.0, -0.5, 0.3, 0.8], [0.3, -0.2, 0.05, 0.01]);
    let at = Point { t, x: &y, p: &p };
    let tau: Vec<f64> = (0..8).map(|i| 0.1 * f64::from(i)).collect();
    let v: Vec<f64> = (0..32).map(|i| (0.9 * f64::from(i)).cos()).collect();
    let (mut a, mut b) = ([0.0; 4], [0.0; 4]);
    let (mut jac, mut jac_b, mut dt, mut dt_b) = ([0.0; 16], [0.0; 16], [0.0; 4], [0.0; 4]);
    let (mut p_bar, mut p_bar_b) = (vec![0.0; PARAMS], vec![0.0; PARAMS]);
    println!("stiff network: ns a call, recorded, by hand, ratio");
    let row =
        |name: &str, ours: f64, hand: f64| println!("{name:24} {ours:9.1} {hand:9.1} {:7.2}", ours / hand);

    f.value(at, &mut a);
    ByHand::value(t, &y, &p, &mut b);
    agree("value", &a, &b);
    let ours = fastest(500, || f.value(black_box(at), black_box(&mut a)));
    let hand = fastest(500, || ByHand::value(black_box(t), black_box(&y), black_box(&p), black_box(&mut b)));
    row("value", ours, hand);

    (a, b) = ([0.0; 4], [0.0; 4]);
    f.vjp(at, &w, &mut a, &mut p_bar);
    ByHand::vjp(&y, &p, &w, &mut b, &mut p_bar_b);
    agree("vjp by y", &a, &b);
    agree("vjp by p", &p_bar, &p_bar_b);
    let ours = fastest(500, || f.vjp(black_box(at), black_box(&w), &mut a, &mut p_bar));
    let hand =
        fastest(500, || ByHand::vjp(black_box(&y), black_box(&p), black_box(&w), &mut b, &mut p_bar_b));
    row("vjp", ours, hand);

    f.jacobian(at, &mut jac, &mut dt);
    ByHand::jacobian(t, &y, &p, &mut jac_b, &mut dt_b);
    agree("Jacobian", &jac, &jac_b);
    agree("df/dt", &dt, &dt_b);
    let ours = fastest(500, || f.jacobian(black_box(at), &mut jac, &mut dt));
    let hand =
        fastest(500, || ByHand::jacobian(black_box(t), black_box(&y), black_box(&p), &mut jac_b, &mut dt_b));
    row("Jacobian and df/dt", ours, hand);

    for count in [1, 8] {
        let d = Directions { count, t: &tau[..count], x: &v[..4 * count], ..Directions::default() };
        (a, b) = ([0.0; 4], [0.0; 4]);
        p_bar.fill(0.0);
        p_bar_b.fill(0.0);
        f.vjp_tangent(at, &w, &d, &mut a, &mut p_bar);
        ByHand::tangent(&y, &p, &w, d.x, &mut b, &mut p_bar_b);
        agree("tangent by y", &a, &b);
        agree("tangent by p", &p_bar, &p_bar_b);
        let ours = fastest(200, || f.vjp_tangent(black_box(at), black_box(&w), &d, &mut a, &mut p_bar));
        let hand = fastest(200, || {
            ByHand::tangent(
                black_box(&y),
                black_box(&p),
                black_box(&w),
                black_box(d.x),
                &mut b,
                &mut p_bar_b,
            );
        });
        row(&format!("tangent of vjp, {count} along"), ours, hand);
    }
}

/// u' = 1 + u^2 v - 4 u + c (u_left - 2 u + u_right), v' = 3 u - u^2 v + c (..), c = alpha (cells + 1)^2, u = 1 and v = 3 at the ends;
/// unknowns u_1, v_1, u_2, ...
fn brusselator(n: usize) -> Recorded {
    let cells = n / 2;
    record(n, 1, |_, y, p, dy| {
        let c = p[0] * ((cells + 1) * (cells + 1)) as f64;
        let (one, three) = (Var::from(1.0), Var::from(3.0));
        for i in 0..cells {
            let (u, v) = (y[2 * i], y[2 * i + 1]);
            let (ul, vl) = if i == 0 { (one, three) } else { (y[2 * i - 2], y[2 * i - 1]) };
            let (ur, vr) = if i + 1 == cells { (one, three) } else { (y[2 * i + 2], y[2 * i + 3]) };
            let product = u * u * v;
            dy[2 * i] = 1.0 + product - 4.0 * u + c * (ul - 2.0 * u + ur);
            dy[2 * i + 1] = 3.0 * u - product + c * (vl - 2.0 * v + vr);
        }
    })
    .expect("every output is set")
}

#[inline(never)]
fn brusselator_by_hand(alpha: f64, y: &[f64], dy: &mut [f64]) {
    let cells = y.len() / 2;
    let c = alpha * ((cells + 1) * (cells + 1)) as f64;
    for i in 0..cells {
        let (u, v) = (y[2 * i], y[2 * i + 1]);
        let (ul, vl) = if i == 0 { (1.0, 3.0) } else { (y[2 * i - 2], y[2 * i - 1]) };
        let (ur, vr) = if i + 1 == cells { (1.0, 3.0) } else { (y[2 * i + 2], y[2 * i + 3]) };
        let product = u * u * v;
        dy[2 * i] = 1.0 + product - 4.0 * u + c * (ul - 2.0 * u + ur);
        dy[2 * i + 1] = 3.0 * u - product + c * (vl - 2.0 * v + vr);
    }
}

fn growing_brusselator() {
    println!("1-D Brusselator: ns an unknown, once to record and compile, then each call");
    println!(
        "       n   record    value compile      vjp compile Jacobian compile    value by hand      vjp Jacobian"
    );
    for n in [1_000, 10_000, 100_000] {
        let each = |start: Instant| start.elapsed().as_secs_f64() * 1e9 / n as f64;
        let start = Instant::now();
        let mut f = brusselator(n);
        let recorded = each(start);
        let x: Vec<f64> = (0..n).map(|k| 2.0 + (0.37 * k as f64).sin()).collect();
        let w: Vec<f64> = (0..n).map(|k| (0.11 * k as f64).cos()).collect();
        let at = Point { t: 0.0, x: &x, p: &[0.02] };
        let (mut y, mut hand, mut x_bar, mut p_bar) = (vec![0.0; n], vec![0.0; n], vec![0.0; n], [0.0]);
        let start = Instant::now();
        f.value(at, &mut y);
        let first_value = each(start);
        let start = Instant::now();
        f.vjp(at, &w, &mut x_bar, &mut p_bar);
        let first_vjp = each(start);
        let start = Instant::now();
        let mut values = vec![0.0; f.jacobian_pattern().items.len()];
        let first_jacobian = each(start);
        let mut dt = vec![0.0; n];
        brusselator_by_hand(0.02, &x, &mut hand);
        assert_eq!(y, hand, "value");
        let count = 20_000 / n + 1;
        let times = [
            fastest(count, || f.value(black_box(at), &mut y)),
            fastest(count, || brusselator_by_hand(0.02, black_box(&x), black_box(&mut hand))),
            fastest(count, || f.vjp(black_box(at), &w, &mut x_bar, &mut p_bar)),
            fastest(count, || f.jacobian(black_box(at), &mut values, &mut dt)),
        ]
        .map(|t| t / n as f64);
        let [value, hand, vjp, jacobian] = times;
        println!(
            "{n:8} {recorded:8.0} {first_value:13.0} {first_vjp:16.0} {first_jacobian:16.0} {value:8.2} {hand:7.2} {vjp:8.2} {jacobian:8.2}"
        );
    }
}

fn main() {
    stiff_network();
    growing_brusselator();
}
