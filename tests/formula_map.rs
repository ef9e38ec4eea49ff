//! Recorded formulas as fields: checked derivatives, structures, batches, and gradients of stiff runs with known values.

use costate::adjoint::{Bars, Memory, StiffAdjoint};
use costate::diff::{
    At, BarsMut, CheckOptions, Dots, Formula, Kept, Left, Map, Number, Offers, Size, Structure, check_map,
};
use costate::expr::{RecordError, RecordedMap, Sizes, Var, formula, record, record_map};
use costate::ode::{Options, RODAS5P};

/// y_i' = 10^i (b_i + sum_j V_ji tanh(a_j + sum_k W_kj y_k) - y_i + 0.1 sin((1 + i) t)), p = (W, a, V, b), matrices by rows.
fn network() -> RecordedMap {
    let field = record(4, 76, |t, y, p, dy| {
        let hidden: Vec<Var> =
            (0..8).map(|j| (0..4).fold(p[32 + j], |sum, k| sum + p[k * 8 + j] * y[k]).tanh()).collect();
        for (i, dy) in dy.iter_mut().enumerate() {
            let sum = (0..8).fold(p[72 + i], |sum, j| sum + p[40 + j * 4 + i] * hidden[j]);
            *dy = 10f64.powi(i as i32) * (sum - y[i] + 0.1 * ((1.0 + i as f64) * t).sin());
        }
    });
    field.unwrap().into_map()
}

fn params() -> Vec<f64> {
    (0..76).map(|m| 0.4 * (1.3 * m as f64 + 0.5).sin()).collect()
}

/// Three cells of a chain, each beside its neighbours only; autonomous.
fn chain() -> RecordedMap {
    let f = |_: Var, y: &[Var], p: &[Var], dy: &mut [Var]| {
        for i in 0..5 {
            let left = if i > 0 { y[i - 1] } else { p[0] };
            let right = if i < 4 { y[i + 1] } else { p[1] };
            dy[i] = (left - 2.0 * y[i] + right) * 3.0 - p[2] * y[i] * y[i] * y[i];
        }
    };
    record(5, 3, f).unwrap().into_map()
}

#[test]
fn every_derivative_agrees_with_differences() {
    let p = params();
    let x = [1.0, -0.5, 0.3, 0.8, 0.2, 0.4, -0.9, 0.1];
    let report = check_map(&mut network(), At::new(0.4, &x, &p), &CheckOptions::default());
    assert!(report.ok() && report.checked.len() >= 4, "{report}");
    let x = [0.3, -0.2, 0.8, 0.5, -0.7];
    let report = check_map(&mut chain(), At::new(0.0, &x, &[0.3, -0.4, 1.2]), &CheckOptions::default());
    assert!(report.ok(), "{report}");
    // Three inputs, two outputs.
    let sizes = Sizes { inputs: 3, outputs: 2, params: 1 };
    let f = record_map(sizes, |t, x, p, y| (y[0], y[1]) = (x[0] * x[2] * p[0] + t, (x[1] * t).exp()));
    let mut map = f.unwrap().into_map();
    let x = [0.3, -0.2, 0.8, 0.5, -0.7, 0.6];
    let report = check_map(&mut map, At::new(0.6, &x, &[1.7]), &CheckOptions::default());
    assert!(report.ok(), "{report}");
}

#[test]
fn structure_and_time_are_recognized() {
    let (net, chain) = (network(), chain());
    assert_eq!(*net.structure(), Structure::Dense);
    assert!(!net.offers().has(Offers::AUTONOMOUS) && chain.offers().has(Offers::AUTONOMOUS));
    let Structure::Sparse { col_ptr, row_idx } = chain.structure() else { panic!("not sparse") };
    assert_eq!(col_ptr, &[0, 2, 5, 8, 11, 13]);
    assert_eq!(row_idx, &[0, 1, 0, 1, 2, 1, 2, 3, 2, 3, 4, 3, 4]);
}

#[test]
fn a_batch_is_its_columns_bit_by_bit() {
    let (mut field, p) = (network(), params());
    let x = [1.0, -0.5, 0.3, 0.8, 0.2, 0.4, -0.9, 0.1];
    let mut y = [0.0; 8];
    field.value(At::new(0.2, &x, &p), &mut y);
    for c in 0..2 {
        let mut one = [0.0; 4];
        field.value_one(At::new(0.2, &x[4 * c..][..4], &p), &mut one);
        assert_eq!(one, y[4 * c..][..4]);
    }
}

#[test]
fn a_formula_without_inputs_has_one_column() {
    let sizes = Sizes { inputs: 0, outputs: 2, params: 1 };
    let f = record_map(sizes, |t, _, p, y| (y[0], y[1]) = (p[0] * t, t + 1.0));
    let (mut map, mut y) = (f.unwrap().into_map(), [0.0; 2]);
    map.value(At::new(3.0, &[], &[2.0]), &mut y);
    assert_eq!(y, [6.0, 4.0]);
    let report = check_map(&mut map, At::new(3.0, &[], &[2.0]), &CheckOptions::default());
    assert!(report.ok(), "{report}");
}

#[test]
fn gradient_of_a_stiff_neural_ode() {
    let (mut field, p) = (network(), params());
    let y0 = [1.0, -0.5, 0.3, 0.8];
    let options = Options::tolerances(1e-9, 1e-9);
    let mut solver = StiffAdjoint::new(&RODAS5P, 4, 1, &options, Memory::States).unwrap();
    let times: Vec<f64> = (1..=10).map(|k| 0.3 * f64::from(k)).collect();
    assert!(solver.forward(&mut field, (0.0, 3.0), &y0, &p, &mut ()).unwrap().ok());
    let saved = solver.replay(&mut field, &p, &y0, &times).unwrap().saved;
    let weight = |m: usize| (0.9 * m as f64).cos();
    let loss: f64 = saved.iter().enumerate().map(|(m, y)| weight(m) * y * y).sum();
    let saved_bars: Vec<f64> = saved.iter().enumerate().map(|(m, y)| 2.0 * weight(m) * y).collect();
    let bars = Bars { times: &times, saved: &saved_bars, ..Bars::default() };
    let (mut y_bar, mut p_bar) = (vec![0.0; 4], vec![0.0; 76]);
    solver.reverse(&mut field, &p, &bars, &mut y_bar, &mut p_bar).unwrap();
    let norm = p_bar.iter().map(|g| g * g).sum::<f64>().sqrt();
    assert!((loss + 0.183685550).abs() <= 1e-7, "{loss}");
    assert!((norm - 2.32789144).abs() <= 1e-6, "{norm}");
    for (g, right) in y_bar.iter().zip([0.779004489, 0.0340331503, -0.00263962752, 0.000415439]) {
        assert!((g - right).abs() <= 1e-6, "{g} {right}");
    }
}

/// 1 + i.
const RATES: [f64; 4] = [1.0, 2.0, 3.0, 4.0];

/// The network as a formula for any kind of number.
struct Network;

impl Formula<f64> for Network {
    fn size(&self) -> Size {
        Size::field(4, 76)
    }
    #[inline(always)]
    fn eval<N: Number<f64>>(&self, t: N, y: &[N], p: &[N], dy: &mut [N])
    where
        f64: Left<N>,
    {
        let mut hidden = [t; 8];
        for (j, h) in hidden.iter_mut().enumerate() {
            *h = (0..4).fold(p[32 + j], |sum, k| sum + p[k * 8 + j] * y[k]).tanh();
        }
        for (i, dy) in dy.iter_mut().enumerate() {
            let sum = (0..8).fold(p[72 + i], |sum, j| sum + p[40 + j * 4 + i] * hidden[j]);
            *dy = 10f64.powi(i as i32) * (sum - y[i] + 0.1 * (RATES[i] * t).sin());
        }
    }
}

/// All functions of numbers, some with kinks; two inputs, three outputs.
struct Functions;

impl<T: costate::linalg::Scalar> Formula<T> for Functions {
    fn size(&self) -> Size {
        Size { inputs: 2, outputs: 3, params: 1 }
    }
    fn eval<N: Number<T>>(&self, t: N, x: &[N], p: &[N], y: &mut [N]) {
        let (a, b) = (x[0], x[1]);
        y[0] = a.sin() * b.cos() + (a * N::of(0.3)).tan() - a.asin() + b.acos() * (a * b).atan();
        y[0] += a.atan2(b) + a.sinh() / b.cosh() - (t * a).tanh();
        y[1] = a.max(b) * p[0] + a.min(b).powi(3) + (a - b).abs().sqrt();
        y[1] *= (b - a).select(a * a, b.exp());
        y[2] = (a.exp() + N::of(1.0)).ln() * b.powf(p[0]);
        y[2] -= x.iter().copied().sum::<N>() / N::of(3.0);
    }
}

#[test]
fn a_formula_has_every_derivative() {
    let p = params();
    let x = [1.0, -0.5, 0.3, 0.8, 0.2, 0.4, -0.9, 0.1];
    let mut field = formula(Network).unwrap();
    let report = check_map(&mut field, At::new(0.4, &x, &p), &CheckOptions::default());
    assert!(report.ok() && report.checked.len() >= 4, "{report}");
    let (mut y, mut z) = ([0.0; 8], [0.0; 8]);
    field.value(At::new(0.4, &x, &p), &mut y);
    network().value(At::new(0.4, &x, &p), &mut z);
    y.iter().zip(&z).for_each(|(a, b)| assert!((a - b).abs() <= 1e-13 * b.abs(), "{a} {b}"));
    for x in [[0.3, 0.7, 0.6, 0.2], [0.8, 0.1, 0.05, 0.4]] {
        let mut map = formula::<f64, _>(Functions).unwrap();
        let report = check_map(&mut map, At::new(0.6, &x, &[1.7]), &CheckOptions::default());
        assert!(report.ok(), "{report}");
    }
}

#[test]
fn single_precision_is_double_precision_rounded() {
    let (mut single, mut double) =
        (formula::<f32, _>(Functions).unwrap(), formula::<f64, _>(Functions).unwrap());
    let (x, p, w) = ([0.25f32, 0.75, 0.5, 0.125], [1.75f32], [0.5f32, -0.25, 1.0, 0.125, 2.0, -1.0]);
    let wide = |v: &[f32]| v.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    let (x64, p64, w64) = (wide(&x), wide(&p), wide(&w));
    let (at, at64) = (At::new(0.5f32, &x, &p), At::new(0.5, &x64, &p64));
    let near = |a: &[f32], b: &[f64]| {
        a.iter()
            .zip(b)
            .for_each(|(&a, &b)| assert!((f64::from(a) - b).abs() <= 1e-6 * (1.0 + b.abs()), "{a} {b}"));
    };
    let (mut y, mut y64) = ([0.0f32; 6], [0.0; 6]);
    single.value(at, &mut y);
    double.value(at64, &mut y64);
    near(&y, &y64);
    let (mut xb, mut pb, mut xb64, mut pb64) = ([1.0f32; 4], [2.0f32], [1.0; 4], [2.0]);
    single.vjp(at, Kept::NONE, &w, BarsMut::new(&mut xb, &mut pb));
    double.vjp(at64, Kept::NONE, &w64, BarsMut::new(&mut xb64, &mut pb64));
    near(&xb, &xb64);
    near(&pb, &pb64);
    let (dots, dots64) =
        (Dots { count: 1, t: &[0.5f32], x: &x, p: &p }, Dots { count: 1, t: &[0.5], x: &x64, p: &p64 });
    single.jvp(at, Kept::NONE, dots, &mut y, &mut []);
    double.jvp(at64, Kept::NONE, dots64, &mut y64, &mut []);
    near(&y, &y64);
    single.vjp_tangent(at, Kept::NONE, dots, Kept::NONE, &w, &w, BarsMut::new(&mut xb, &mut pb));
    double.vjp_tangent(at64, Kept::NONE, dots64, Kept::NONE, &w64, &w64, BarsMut::new(&mut xb64, &mut pb64));
    near(&xb, &xb64);
    near(&pb, &pb64);
    let (mut jac, mut jac64) = ([0.0f32; 12], [0.0; 12]);
    single.jacobian(at, &mut jac);
    double.jacobian(at64, &mut jac64);
    near(&jac, &jac64);
}

#[test]
fn a_formula_that_leaves_an_output_out_is_refused() {
    #[derive(Debug)]
    struct Half;
    impl Formula<f64> for Half {
        fn size(&self) -> Size {
            Size::field(2, 0)
        }
        fn eval<N: Number<f64>>(&self, _: N, y: &[N], _: &[N], dy: &mut [N]) {
            dy[0] = y[1];
        }
    }
    assert_eq!(formula(Half).unwrap_err(), RecordError::Unset { output: 1 });
}

#[test]
fn lanes_take_fields_only() {
    use costate::ode::{Params, TSIT54, solve_lanes};
    let o = Options::default();
    let e = solve_lanes(&TSIT54, &o, &Functions, (0.0, 1.0), &[0.1; 2], Params::Shared(&[1.0]), &[]);
    assert_eq!(e.unwrap_err().to_string(), "a formula with 2 inputs and 3 outputs is no field");
}
