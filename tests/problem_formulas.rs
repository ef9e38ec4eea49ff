//! Files of `problems/` without published reference values, against the formulas of their own comments written in Rust.

use costate::nlp::Nlp;
use costate::sif::{SifOptions, SifProblem};
use std::f64::consts::TAU;
use std::path::Path;

/// f and c at a point, from the formula.
type Formula = fn(&[f64]) -> (f64, Vec<f64>);

fn load(file: &str) -> SifProblem {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("problems").join(file);
    SifProblem::open(&path, &SifOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

fn sq(t: f64) -> f64 {
    t * t
}

fn sinvalne(x: &[f64]) -> (f64, Vec<f64>) {
    (0.0, vec![100.0 * (x[1] - x[0].sin()), x[0] / 2.0])
}

fn trigon1ne(x: &[f64]) -> (f64, Vec<f64>) {
    let n = x.len() as f64;
    let cosines: f64 = x.iter().map(|v| v.cos()).sum();
    let row = |(k, v): (usize, &f64)| n - cosines + (k + 1) as f64 * (1.0 - v.cos()) - v.sin();
    (0.0, x.iter().enumerate().map(row).collect())
}

fn himmelbe(x: &[f64]) -> (f64, Vec<f64>) {
    (0.0, vec![x[2] - sq((x[0] + x[1]) / 2.0), 1.0 - x[0], 1.0 - x[1]])
}

fn denschncne(x: &[f64]) -> (f64, Vec<f64>) {
    (0.0, vec![x[0] * x[0] + x[1] * x[1] - 2.0, (x[0] - 1.0).exp() + x[1].powi(3) - 2.0])
}

/// -u'' by central differences times h^2, zero boundary values.
fn second_difference(x: &[f64], k: usize) -> f64 {
    let left = if k > 0 { x[k - 1] } else { 0.0 };
    let right = x.get(k + 1).copied().unwrap_or(0.0);
    2.0 * x[k] - left - right
}

fn morebvne(x: &[f64]) -> (f64, Vec<f64>) {
    let h = 1.0 / (x.len() + 1) as f64;
    let row = |k: usize| second_difference(x, k) + h * h * (x[k] + (k + 1) as f64 * h + 1.0).powi(3) / 2.0;
    (0.0, (0..x.len()).map(row).collect())
}

fn bratueq(x: &[f64]) -> (f64, Vec<f64>) {
    let h = 1.0 / (x.len() + 1) as f64;
    (0.0, (0..x.len()).map(|k| second_difference(x, k) - h * h * x[k].exp()).collect())
}

/// Observed picture coordinates of the two bundle adjustment files.
const OBSERVED: [[f64; 2]; 6] =
    [[14.46, -28.98], [0.99, -25.62], [-4.55, -21.81], [27.69, -16.36], [11.5, -2.13], [5.24, -5.01]];

/// The point in camera coordinates by Rodrigues' formula with the unit axis.
fn camera_point(camera: &[f64], point: &[f64]) -> [f64; 3] {
    let r = &camera[..3];
    let angle = r.iter().map(|v| v * v).sum::<f64>().sqrt();
    let axis: Vec<f64> = r.iter().map(|v| v / angle).collect();
    let dot: f64 = axis.iter().zip(point).map(|(a, b)| a * b).sum();
    std::array::from_fn(|a| {
        let (b, c) = ((a + 1) % 3, (a + 2) % 3);
        let cross = axis[b] * point[c] - axis[c] * point[b];
        angle.cos() * point[a] + angle.sin() * cross + (1.0 - angle.cos()) * dot * axis[a] + camera[3 + a]
    })
}

fn bundle(x: &[f64], residual: fn(f64, f64, f64, f64) -> f64) -> (f64, Vec<f64>) {
    let mut c = Vec::new();
    for (camera, observed) in x[3..].chunks(9).zip(OBSERVED) {
        let p = camera_point(camera, &x[..3]);
        let rho = (p[0] * p[0] + p[1] * p[1]) / (p[2] * p[2]);
        let zoom = camera[6] * (1.0 + camera[7] * rho + camera[8] * rho * rho);
        c.extend((0..2).map(|a| residual(zoom, p[a], p[2], observed[a])));
    }
    (0.0, c)
}

fn ba_l1(x: &[f64]) -> (f64, Vec<f64>) {
    bundle(x, |zoom, p, depth, observed| -zoom * p / depth - observed)
}

fn ba_l1sp(x: &[f64]) -> (f64, Vec<f64>) {
    bundle(x, |zoom, p, depth, observed| zoom * p + depth * observed)
}

fn rosenbr(x: &[f64]) -> (f64, Vec<f64>) {
    (100.0 * sq(x[1] - x[0] * x[0]) + sq(1.0 - x[0]), vec![])
}

fn wood(x: &[f64]) -> (f64, Vec<f64>) {
    let valleys = 100.0 * sq(x[1] - x[0] * x[0]) + sq(1.0 - x[0]) + 90.0 * sq(x[3] - x[2] * x[2]);
    (valleys + sq(1.0 - x[2]) + 10.0 * sq(x[1] + x[3] - 2.0) + sq(x[1] - x[3]) / 10.0, vec![])
}

fn theta(x: &[f64]) -> f64 {
    (x[1] / x[0]).atan() / TAU + if x[0] < 0.0 { 0.5 } else { 0.0 }
}

fn helix(x: &[f64]) -> (f64, Vec<f64>) {
    let (turns, cylinder) = (x[2] - 10.0 * theta(x), x[0].hypot(x[1]) - 1.0);
    (100.0 * turns * turns + 100.0 * cylinder * cylinder + x[2] * x[2], vec![])
}

fn helixne(x: &[f64]) -> (f64, Vec<f64>) {
    (0.0, vec![10.0 * (x[2] - 10.0 * theta(x)), 10.0 * (x[0].hypot(x[1]) - 1.0), x[2]])
}

fn hs27(x: &[f64]) -> (f64, Vec<f64>) {
    (0.01 * sq(x[0] - 1.0) + sq(x[1] - x[0] * x[0]), vec![x[0] + x[2] * x[2] + 1.0])
}

fn hs49(x: &[f64]) -> (f64, Vec<f64>) {
    let f = sq(x[0] - x[1]) + sq(x[2] - 1.0) + (x[3] - 1.0).powi(4) + (x[4] - 1.0).powi(6);
    (f, vec![x[0] + x[1] + x[2] + 4.0 * x[3] - 7.0, x[2] + 5.0 * x[4] - 6.0])
}

fn hs56(x: &[f64]) -> (f64, Vec<f64>) {
    let edge = |k: usize| x[k] - 4.2 * sq(x[k + 3].sin());
    let girth = x[0] + 2.0 * (x[1] + x[2]) - 7.2 * sq(x[6].sin());
    (-x[0] * x[1] * x[2], vec![edge(0), edge(1), edge(2), girth])
}

fn mancinone(x: &[f64]) -> (f64, Vec<f64>) {
    let n = x.len();
    let row = |i: usize| {
        let mut c = 14.0 * n as f64 * x[i - 1] + (i as f64 - n as f64 / 2.0).powi(3);
        for j in (1..=n).filter(|&j| j != i) {
            let v = (sq(x[j - 1]) + i as f64 / j as f64).sqrt();
            c += v * (v.ln().sin().powi(5) + v.ln().cos().powi(5));
        }
        c
    };
    (0.0, (1..=n).map(row).collect())
}

fn poisctl(x: &[f64]) -> (f64, Vec<f64>) {
    let (w, z) = x.split_at(x.len() / 2);
    let n = (w.len() as f64).sqrt().round() as usize;
    let (h, q, middle) = (2.0 / (n + 1) as f64, 0.1 / 15f64.sqrt(), (n + 1) as f64 / 2.0);
    let at = |i: isize, j: isize| {
        let inside = (0..n as isize).contains(&i) && (0..n as isize).contains(&j);
        if inside { w[i as usize * n + j as usize] } else { 0.0 }
    };
    let (mut f, mut c) = (0.0, vec![]);
    for i in 0..n as isize {
        for j in 0..n as isize {
            let target =
                (4.0 + q * ((i + 1) as f64 - middle)).sin() + (3.0 + q * ((j + 1) as f64 - middle)).cos();
            let control = z[i as usize * n + j as usize];
            f += sq(at(i, j) - target) / 2.0 + 0.05 * control * control;
            let around = at(i - 1, j) + at(i + 1, j) + at(i, j - 1) + at(i, j + 1);
            c.push((around - 4.0 * at(i, j)) / (h * h) + control);
        }
    }
    (f, c)
}

fn nomeet(x: &[f64]) -> (f64, Vec<f64>) {
    let circle = |centre: f64| sq(x[0] - centre) + sq(x[1]) - 1.0;
    (sq(x[0] - 2.0) + sq(x[1]), vec![circle(0.0), circle(4.0)])
}

fn runaway(x: &[f64]) -> (f64, Vec<f64>) {
    let f = x[0].powi(3) / 10.0 + x[0] - x[2] * x[2] / 4.0 + x[1];
    (f, vec![x[1] - x[0] * x[0] / 100.0, x[2] - x[0]])
}

fn huberfit(x: &[f64]) -> (f64, Vec<f64>) {
    let y = [1.1, 2.9, 5.2, 7.1, 8.8, 11.0, 13.1, 30.0, 17.0, 19.1];
    let loss = |r: f64| if r.abs() <= 1.0 { r * r / 2.0 } else { r.abs() - 0.5 };
    (y.iter().enumerate().map(|(t, y)| loss(x[0] + x[1] * t as f64 - y)).sum(), vec![])
}

fn slackrop(x: &[f64]) -> (f64, Vec<f64>) {
    let rope = |i: usize| {
        let pull = (x[i] - x[i - 1] - 1.0).max(0.0);
        i as f64 * (pull * pull / 2.0 + pull.powi(3)) + x[i] * x[i] / 20.0
    };
    ((1..6).map(rope).sum(), vec![x[0], x[5] - 8.0])
}

fn acardfit(x: &[f64]) -> (f64, Vec<f64>) {
    let cubic = |t: f64| x[0] + t * (x[1] + t * (x[2] + t * x[3]));
    let term = |k: usize| {
        let t = (2.0 * k as f64 - 10.0) / 8.0;
        sq(cubic(t) - t.exp() * (3.0 * t).sin())
    };
    ((1..=9).map(term).sum(), vec![cubic(0.0) + cubic(1.0) - 1.0])
}

fn longcard(x: &[f64]) -> (f64, Vec<f64>) {
    let (sum, squares) = (x[0] + x[1] + x[2], sq(x[0]) + sq(x[1]));
    let f = 2.0 * x[0].sin() * (2.0 * x[1]).cos() + squares + sq(x[2]);
    (f + sum * sum * (1.0 + squares) / 100.0, vec![x[0] + x[1] - x[2] - 0.25])
}

fn starts(x: &[f64]) -> (f64, Vec<f64>) {
    (x[0].powi(4) - 2.0 * sq(x[0]) + sq(x[1]) + x[0] / 10.0, vec![x[0] + x[1] + x[2] - 1.0])
}

fn intloop(x: &[f64]) -> (f64, Vec<f64>) {
    let f = (2..=x.len()).step_by(2).map(|i| sq(x[i - 1] - i as f64 / 2.0)).sum();
    let m = ((x.len() + 4) / 3) as f64;
    (f, (1..x.len()).step_by(2).map(|i| i as f64 * x[i - 1] - x[i] - m).collect())
}

fn quadsec(x: &[f64]) -> (f64, Vec<f64>) {
    let quadratic = sq(x[0]) + x[0] * x[1] + 2.0 * sq(x[1]) + x[1] * x[2] + sq(x[2]) / 2.0;
    (quadratic - x[0] - x[1], vec![x[0] + x[1] + x[2] - 1.0])
}

fn dgroups(x: &[f64]) -> (f64, Vec<f64>) {
    let f = sq(x[0] + 2.0 * x[1]) + sq(3.0 * x[0] - x[1] + x[2]) + sq(x[2]);
    (f, vec![x[0] + x[1] + x[2] - 2.0, x[0] - x[1] - 1.0, -x[0] + 5.0 * x[1] + 2.0 * x[2] - 1.0])
}

fn ranged(x: &[f64]) -> (f64, Vec<f64>) {
    let c = vec![x[0] + x[1] + x[2] - 1.0, x[0] - x[1] - 2.0, sq(x[0]) + sq(x[2]) - 1.0];
    (sq(x[0] - 3.0) + sq(x[1] + 1.0) + sq(x[2]), c)
}

fn bndkinds(x: &[f64]) -> (f64, Vec<f64>) {
    (x.iter().enumerate().map(|(j, v)| sq(v - if j % 2 == 0 { 3.0 } else { -3.0 })).sum(), vec![])
}

const FORMULAS: [(&str, Formula); 29] = [
    ("sinvalne.SIF", sinvalne),
    ("trigon1ne.SIF", trigon1ne),
    ("himmelbe.SIF", himmelbe),
    ("denschncne.SIF", denschncne),
    ("morebvne.SIF", morebvne),
    ("bratueq.SIF", bratueq),
    ("ba-l1.SIF", ba_l1),
    ("ba-l1sp.SIF", ba_l1sp),
    ("rosenbr.SIF", rosenbr),
    ("wood.SIF", wood),
    ("helix.SIF", helix),
    ("helixne.SIF", helixne),
    ("hs27.SIF", hs27),
    ("hs49.SIF", hs49),
    ("hs56.SIF", hs56),
    ("mancinone.SIF", mancinone),
    ("poisctl.SIF", poisctl),
    ("nomeet.SIF", nomeet),
    ("runaway.SIF", runaway),
    ("huberfit.SIF", huberfit),
    ("slackrop.SIF", slackrop),
    ("acardfit.SIF", acardfit),
    ("longcard.SIF", longcard),
    ("starts.SIF", starts),
    ("intloop.SIF", intloop),
    ("quadsec.SIF", quadsec),
    ("dgroups.SIF", dgroups),
    ("ranged.SIF", ranged),
    ("bndkinds.SIF", bndkinds),
];

#[test]
fn files_agree_with_the_formulas_in_their_comments() {
    let mut wrong = Vec::new();
    for (file, formula) in FORMULAS {
        let mut problem = load(file);
        let x0 = problem.meta().x0.clone();
        let mut c = vec![0.0; problem.meta().m()];
        // the start, and a point without its symmetries
        let moved: Vec<f64> = x0
            .iter()
            .enumerate()
            .map(|(j, v)| v + 0.05 * (1.0 + v.abs()) * (1.0 + 2.0 * j as f64).sin())
            .collect();
        for x in [&x0, &moved] {
            let f = problem.obj_cons(x, &mut c).unwrap_or_else(|e| panic!("{file}: {e}"));
            let (want_f, want_c) = formula(x);
            let close = |a: f64, b: f64| (a - b).abs() <= 1e-11 * (1.0 + b.abs());
            if !close(f, want_f) {
                wrong.push(format!("{file}: f = {f}, formula {want_f}"));
            }
            assert_eq!(c.len(), want_c.len(), "{file}");
            for (i, (&a, &b)) in c.iter().zip(&want_c).enumerate() {
                if !close(a, b) {
                    wrong.push(format!("{file}: c[{i}] = {a}, formula {b}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
