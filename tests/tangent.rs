//! Derivatives along directions of a pass and of its reverse sweep, against differences of gradients, against each other, and by symmetry.

#[path = "common/adjoint.rs"]
mod adjoint;
#[path = "common/alloc.rs"]
mod alloc;

use adjoint::{central, dot, noise};
use alloc::allocations;
use costate::adjoint::{Adjoint, Backward, Bars, Memory, Products, Reverse, Tangents, Transpose};
use costate::diff::{At, Map, Variational};
use costate::expr::{RecordedMap, record};
use costate::nn::{Activation, Layer, Mlp};
use costate::ode::*;

/// A coupled, time-dependent field of two components and three parameters.
fn smooth() -> RecordedMap {
    record(2, 3, |t, y, p, dy| {
        dy[0] = p[0] * y[1] + p[2] * t.sin() * y[0] * y[1];
        dy[1] = -p[1] * y[0].sin() + p[2] * t.cos() * y[1] * y[1];
    })
    .unwrap()
    .into_map()
}

/// A stiff, time-dependent one: Van der Pol's with forcing.
fn stiff() -> RecordedMap {
    record(2, 3, |t, y, p, dy| {
        dy[0] = y[1];
        dy[1] = p[0] * (1.0 - y[0] * y[0]) * y[1] - p[1] * y[0] + p[2] * (3.0 * t).sin();
    })
    .unwrap()
    .into_map()
}

/// Two charges in a well, as a second-order equation.
fn second_order() -> impl Map<f64> + Clone {
    let a = record(2, 2, |t, q, p, a| {
        let d = q[0] - q[1] + 3.0;
        a[0] = -p[0] * q[0] + p[1] / (d * d) + 0.1 * t.sin();
        a[1] = -p[0] * q[1] * q[1] * q[1] - p[1] / (d * d);
    });
    SecondOrder::new(a.unwrap().into_map())
}

const TIMES: [f64; 5] = [0.0, 0.3, 0.31, 1.0, 1.3];
const SPAN: (f64, f64) = (0.0, 1.5);

/// L = sum_i w_i r_i + v_i r_i^2 / 2 of all results r: final states, then saved ones.
struct Loss {
    w: Vec<f64>,
    v: Vec<f64>,
}

impl Loss {
    fn new(n: usize) -> Self {
        let len = n * (TIMES.len() + 1);
        Self { w: noise(len, 1), v: noise(len, 2) }
    }
    fn value(&self, r: &[f64]) -> f64 {
        r.iter().zip(&self.w).zip(&self.v).map(|((r, w), v)| w * r + 0.5 * v * r * r).sum()
    }
    /// Bars, and their derivative along r_dot.
    fn bars(&self, r: &[f64], r_dot: &[f64]) -> [Vec<f64>; 2] {
        let bars = r.iter().zip(&self.w).zip(&self.v).map(|((r, w), v)| w + v * r).collect();
        [bars, r_dot.iter().zip(&self.v).map(|(r, v)| v * r).collect()]
    }
}

fn bars(all: &[f64], n: usize) -> Bars<'_, f64> {
    Bars { y1: &all[..n], times: &TIMES, saved: &all[n..], ..Bars::default() }
}

fn joined(a: &[f64], b: &[f64]) -> Vec<f64> {
    [a, b].concat()
}

/// One problem with one method.
struct Case<I: Transpose<f64>, F> {
    name: String,
    solver: Adjoint<f64, I>,
    field: F,
    y0: Vec<f64>,
    p: Vec<f64>,
    loss: Loss,
}

impl<I, F> Case<I, F>
where
    I: Transpose<f64> + costate::ode::Integrate<f64, F>,
    F: Map<f64> + Clone,
    I::Back: Reverse<f64, F> + Reverse<f64, Variational<F, f64>> + Backward<f64>,
{
    fn new<D: Method<f64, Integrator = I>>(
        name: &str,
        method: D,
        field: F,
        (y0, p): (&[f64], &[f64]),
        options: &Options,
        memory: Memory,
    ) -> Self {
        let (dim, batch) = (field.inputs(), y0.len() / field.inputs());
        let solver = Adjoint::new(method, dim, batch, options, memory).unwrap();
        let (name, loss) = (name.to_string(), Loss::new(y0.len()));
        Self { name, solver, field, y0: y0.to_vec(), p: p.to_vec(), loss }
    }
    fn pass(&mut self, x: &[f64]) -> Vec<f64> {
        let (y0, p) = x.split_at(self.y0.len());
        let mut saved = SaveAt::new(&TIMES);
        let report = self.solver.forward(&mut self.field, SPAN, y0, p, &mut saved).unwrap();
        assert!(report.ok(), "{} {report:?}", self.name);
        joined(self.solver.y(), saved.states())
    }
    fn x(&self) -> Vec<f64> {
        joined(&self.y0, &self.p)
    }
    /// The gradient by another pass.
    fn gradient(&mut self, x: &[f64]) -> Vec<f64> {
        let r = self.pass(x);
        let (n, p) = (self.y0.len(), x[self.y0.len()..].to_vec());
        let [all, _] = self.loss.bars(&r, &r);
        let (mut yb, mut pb) = (vec![0.0; n], vec![0.0; p.len()]);
        self.solver.reverse(&mut self.field, &p, &bars(&all, n), &mut yb, &mut pb).unwrap();
        joined(&yb, &pb)
    }
    /// Tangents and products along a direction.
    fn along(&mut self, direction: &[f64]) -> (Tangents<f64>, Products<f64>) {
        let (n, x) = (self.y0.len(), self.x());
        let r = self.pass(&x);
        let mut tangent = self.solver.tangent(self.field.clone(), 1).unwrap();
        let (y0_dot, p_dot) = direction.split_at(n);
        let t = tangent.forward(&self.solver, &self.p, y0_dot, p_dot, &TIMES).unwrap();
        let [all, all_dot] = self.loss.bars(&r, &joined(&t.y1_dot, &t.saved_dot));
        let products = tangent.reverse(&bars(&all, n), &bars(&all_dot, n)).unwrap();
        (t, products)
    }

    /// Products against differences of gradients with the same steps; gradient, tangents and states by both ways. Returns the largest relative error.
    fn check(&mut self, d: f64, tolerance: f64, state: f64) -> f64 {
        let (n, x) = (self.y0.len(), self.x());
        let gradient = self.gradient(&x);
        let r = self.pass(&x);
        let mut worst = 0.0f64;
        for seed in 10..13 {
            let direction = noise(x.len(), seed);
            let (t, h) = self.along(&direction);
            for (a, b) in joined(&t.y1, &t.saved).iter().zip(&r) {
                assert!((a - b).abs() <= state * b.abs(), "{}: state {a} {b}", self.name);
            }
            let size = |v: &[f64]| v.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            let again = joined(&h.y0_bar, &h.p_bar);
            for (a, b) in again.iter().zip(&gradient) {
                assert!((a - b).abs() <= 1e-11 * size(&gradient), "{}: gradient {a} {b}", self.name);
            }
            // The transpose of the tangents is the gradient.
            let [all, _] = self.loss.bars(&r, &r);
            let (left, right) = (dot(&all, &joined(&t.y1_dot, &t.saved_dot)), dot(&gradient, &direction));
            assert!((left - right).abs() <= 1e-11 * size(&gradient), "{}: {left} {right}", self.name);
            let products = joined(&h.y0_bar_dot, &h.p_bar_dot);
            for i in 0..x.len() {
                let fd = central(d, |e| {
                    let at: Vec<f64> = x.iter().zip(&direction).map(|(x, v)| x + e * v).collect();
                    self.gradient(&at)[i]
                });
                let error = (fd - products[i]).abs() / size(&products);
                worst = worst.max(error);
                assert!(error <= tolerance, "{} {i}: {fd} {}", self.name, products[i]);
            }
        }
        let _ = n;
        worst
    }

    /// u' H v = v' H u, relative.
    fn asymmetry(&mut self) -> f64 {
        let len = self.x().len();
        let mut worst = 0.0f64;
        for seed in 20..24 {
            let (u, v) = (noise(len, seed), noise(len, seed + 100));
            let product = |h: Products<f64>| joined(&h.y0_bar_dot, &h.p_bar_dot);
            let (hu, hv) = (product(self.along(&u).1), product(self.along(&v).1));
            let (a, b) = (dot(&u, &hv), dot(&v, &hu));
            let size = dot(&hu, &hu).sqrt() * dot(&v, &v).sqrt();
            worst = worst.max((a - b).abs() / size);
        }
        worst
    }
}

const Y0: [f64; 6] = [0.9, 0.1, -0.4, 0.6, 0.2, -0.8];
const P: [f64; 3] = [1.1, 1.7, 0.3];

fn fixed(h: f64) -> Options {
    Options { fixed_step: Some(h), ..Options::tolerances(1e-6, 1e-6) }
}

#[test]
fn products_of_explicit_methods_agree_with_differences_of_gradients() {
    for tab in Tableau::all().into_iter().filter(|t| t.velocity.is_none()) {
        let mut case = Case::new(tab.name, tab, smooth(), (&Y0, &P), &fixed(0.25), Memory::States);
        case.check(2e-3, 1e-8, 0.0);
        let mut adaptive = Case::new(
            tab.name,
            tab,
            smooth(),
            (&Y0, &P),
            &Options::tolerances(1e-5, 1e-5),
            Memory::Checkpoints(3),
        );
        let asymmetry = adaptive.asymmetry();
        assert!(asymmetry < 1e-12, "{} {asymmetry:.1e}", tab.name);
    }
}

#[test]
fn products_of_nystrom_methods_agree_with_differences_of_gradients() {
    let (y0, p) = ([0.3, -0.2, 0.1, 0.4, 0.5, 0.1, -0.2, 0.3], [1.3, 0.7]);
    let mut case = Case::new("nystrom", &DPRKN64, second_order(), (&y0, &p), &fixed(0.25), Memory::Every(2));
    case.check(2e-3, 1e-8, 0.0);
    assert!(case.asymmetry() < 1e-13);
    let mut general = Case::new("tsit54", &TSIT54, second_order(), (&y0, &p), &fixed(0.25), Memory::Stages);
    general.check(2e-3, 1e-8, 0.0);
}

#[test]
fn products_of_rosenbrock_methods_agree_with_differences_of_gradients() {
    let (y0, p) = ([2.0, 0.0, 1.5, 0.3], [40.0, 1.2, 0.5]);
    for tab in RosenbrockTableau::all() {
        let mut case = Case::new(tab.name, tab, stiff(), (&y0, &p), &fixed(0.125), Memory::States);
        let worst = case.check(1e-3, 1e-7, 1e-14);
        let asymmetry = case.asymmetry();
        println!("{}: products {worst:.1e}, asymmetry {asymmetry:.1e}", tab.name);
        assert!(asymmetry < 1e-9, "{} {asymmetry:.1e}", tab.name);
    }
}

#[test]
fn products_of_the_automatic_choice_are_symmetric() {
    let (y0, p) = ([2.0, 0.0], [200.0, 1.2, 0.5]);
    let options = Options::tolerances(1e-6, 1e-6);
    let mut case = Case::new("auto", (&TSIT54, &RODAS5P), stiff(), (&y0, &p), &options, Memory::States);
    let asymmetry = case.asymmetry();
    let tape = case.solver.tape();
    let methods: Vec<u8> = (0..tape.len()).map(|j| tape.method(j)).collect();
    assert!(methods.contains(&0) && methods.contains(&1));
    assert!(asymmetry < 1e-9, "{asymmetry:.1e}");
}

/// The stiff neural equation y_i' = 10^i (b_i + sum_j V_ji tanh(a_j + sum_k W_kj y_k) - y_i + 0.1 sin((1 + i) t)) with two neurons.
fn stiff_neural() -> RecordedMap {
    record(3, 17, |t, y, p, dy| {
        for i in 0..3 {
            let mut sum = p[14 + i] - y[i] + 0.1 * ((1.0 + i as f64) * t).sin();
            for j in 0..2 {
                let mut a = p[6 + j];
                for k in 0..3 {
                    a += p[2 * k + j] * y[k];
                }
                sum += p[8 + 3 * j + i] * a.tanh();
            }
            dy[i] = 10f64.powi(i as i32) * sum;
        }
    })
    .unwrap()
    .into_map()
}

#[test]
fn the_hessian_of_a_stiff_neural_equation() {
    let p: Vec<f64> = (0..17).map(|m| 0.4 * (1.3 * m as f64 + 0.5).sin()).collect();
    let y0 = [1.0, -0.5, 0.3];
    let mut case =
        Case::new("stiff neural", &RODAS5P, stiff_neural(), (&y0, &p), &fixed(0.1), Memory::States);
    let worst = case.check(1e-3, 1e-8, 1e-14);
    let asymmetry = case.asymmetry();
    println!("stiff neural: products {worst:.1e}, asymmetry {asymmetry:.1e}");
    assert!(asymmetry < 1e-10, "{asymmetry:.1e}");
}

/// A stiff equation with a network, whose products need what was kept.
#[test]
fn products_of_rosenbrock_methods_with_a_network() {
    let layer = |inputs, outputs, activation, time| Layer { inputs, outputs, activation, time };
    let layers = [layer(2, 5, Activation::Tanh, true), layer(5, 2, Activation::Identity, false)];
    let net = Mlp::new(&layers).unwrap();
    let p: Vec<f64> = noise(net.n_params(), 7);
    let field = costate::diff::Scale::fixed(&[-1.0, -200.0]).plus(net).unwrap();
    let mut case = Case::new("network", &RODAS5P, field, (&Y0, &p), &fixed(0.1), Memory::States);
    let worst = case.check(1e-3, 1e-8, 1e-13);
    let asymmetry = case.asymmetry();
    println!("stiff network: products {worst:.1e}, asymmetry {asymmetry:.1e}");
    assert!(asymmetry < 1e-10, "{asymmetry:.1e}");
}

#[test]
fn the_whole_hessian_of_a_neural_equation_is_symmetric_and_right() {
    let layer = |inputs, outputs, activation, time| Layer { inputs, outputs, activation, time };
    let layers = [layer(2, 6, Activation::Tanh, true), layer(6, 2, Activation::Identity, false)];
    let net = Mlp::new(&layers).unwrap();
    let p: Vec<f64> = noise(net.n_params(), 7).iter().map(|v| 0.7 * v).collect();
    let mut case = Case::new("mlp", &TSIT54, net, (&Y0, &p), &fixed(0.3), Memory::Stages);
    case.check(2e-3, 1e-8, 0.0);
    let len = case.x().len();
    let rows: Vec<Vec<f64>> = (0..len)
        .map(|i| {
            let e: Vec<f64> = (0..len).map(|k| (k == i) as u8 as f64).collect();
            let h = case.along(&e).1;
            joined(&h.y0_bar_dot, &h.p_bar_dot)
        })
        .collect();
    let largest = rows.iter().flatten().fold(0.0f64, |m, v| m.max(v.abs()));
    for (i, row) in rows.iter().enumerate() {
        for (k, v) in row.iter().enumerate() {
            assert!((v - rows[k][i]).abs() < 1e-13 * largest, "{i} {k}: {v} {}", rows[k][i]);
        }
    }
}

#[test]
fn the_second_difference_of_the_loss_with_adaptive_steps() {
    let options = Options::tolerances(1e-6, 1e-6);
    let mut case = Case::new("adaptive", &VERN76, smooth(), (&Y0, &P), &options, Memory::States);
    let (x, v) = (case.x(), noise(9, 5));
    let (_, h) = case.along(&v);
    let want = dot(&v, &joined(&h.y0_bar_dot, &h.p_bar_dot));
    case.pass(&x);
    let at = |case: &mut Case<_, _>, e: f64| {
        let x: Vec<f64> = x.iter().zip(&v).map(|(x, v)| x + e * v).collect();
        let r = case.solver.replay(&mut case.field, &x[6..], &x[..6], &TIMES).unwrap();
        case.loss.value(&joined(&r.y1, &r.saved))
    };
    let d = 1e-2;
    let second = [(2.0, -1.0), (1.0, 16.0), (0.0, -30.0), (-1.0, 16.0), (-2.0, -1.0)]
        .map(|(e, w)| w * at(&mut case, e * d))
        .iter()
        .sum::<f64>()
        / (12.0 * d * d);
    assert!((second - want).abs() < 1e-7 * want.abs(), "{second} {want}");
}

#[test]
fn every_policy_gives_the_same_bits() {
    let options = Options::tolerances(1e-8, 1e-8);
    let v = noise(9, 3);
    let all: [Vec<f64>; 4] =
        [Memory::Stages, Memory::States, Memory::Every(3), Memory::Checkpoints(2)].map(|memory| {
            let mut case = Case::new("tsit54", &TSIT54, smooth(), (&Y0, &P), &options, memory);
            let (t, h) = case.along(&v);
            [t.y1, t.y1_dot, t.saved_dot, h.y0_bar, h.p_bar, h.y0_bar_dot, h.p_bar_dot].concat()
        });
    assert!(all.iter().all(|a| a.iter().zip(&all[0]).all(|(a, b)| a.to_bits() == b.to_bits())));
}

/// Several directions at once are those one by one, for stiff methods with one factorization a step.
#[test]
fn directions_at_once_are_those_one_by_one() {
    let p: Vec<f64> = (0..17).map(|m| 0.4 * (1.3 * m as f64 + 0.5).sin()).collect();
    let y0 = [1.0, -0.5, 0.3];
    let mut solver = Adjoint::new(&RODAS5P, 3, 1, &Options::tolerances(1e-6, 1e-6), Memory::States).unwrap();
    solver.forward(&mut stiff_neural(), SPAN, &y0, &p, &mut ()).unwrap();
    let (y0_dot, p_dot) = (noise(6, 1), noise(34, 2));
    let mut two = solver.tangent(stiff_neural(), 2).unwrap();
    let all = two.forward(&solver, &p, &y0_dot, &p_dot, &TIMES).unwrap();
    let mut one = solver.tangent(stiff_neural(), 1).unwrap();
    for i in 0..2 {
        let t = one.forward(&solver, &p, &y0_dot[3 * i..][..3], &p_dot[17 * i..][..17], &TIMES).unwrap();
        assert_eq!(t.y1_dot, all.y1_dot[3 * i..][..3]);
        for s in 0..TIMES.len() {
            assert_eq!(t.saved_dot[3 * s..][..3], all.saved_dot[6 * s + 3 * i..][..3]);
        }
    }
}

/// Many directions take the derivatives of J entry by entry, a few row by row.
#[test]
fn many_directions_are_those_one_by_one() {
    let p: Vec<f64> = (0..17).map(|m| 0.4 * (1.3 * m as f64 + 0.5).sin()).collect();
    let mut solver = Adjoint::new(&RODAS5P, 3, 1, &fixed(0.1), Memory::States).unwrap();
    solver.forward(&mut stiff_neural(), SPAN, &[1.0, -0.5, 0.3], &p, &mut ()).unwrap();
    let (y0_dot, p_dot) = (noise(36, 1), noise(17 * 12, 2));
    let mut many = solver.tangent(stiff_neural(), 12).unwrap();
    let all = many.forward(&solver, &p, &y0_dot, &p_dot, &TIMES).unwrap();
    let mut one = solver.tangent(stiff_neural(), 1).unwrap();
    for i in 0..12 {
        let t = one.forward(&solver, &p, &y0_dot[3 * i..][..3], &p_dot[17 * i..][..17], &TIMES).unwrap();
        for (a, b) in t.y1_dot.iter().zip(&all.y1_dot[3 * i..]) {
            assert!((a - b).abs() < 1e-11 * b.abs().max(1e-2), "{i}: {a} {b}");
        }
    }
}

/// The Jacobian of more than 30 unknowns in its structure: a reaction and diffusion on a line.
#[test]
fn products_with_a_banded_jacobian() {
    let n = 40;
    let field = record(n, 2, |_, y, p, dy| {
        for i in 0..n {
            let (a, b) =
                (if i > 0 { y[i - 1] } else { 0.0.into() }, if i + 1 < n { y[i + 1] } else { 1.0.into() });
            dy[i] = 400.0 * p[0] * (a - 2.0 * y[i] + b) + p[1] * y[i] * y[i] * (1.0 - y[i]);
        }
    });
    let field = field.unwrap().into_map();
    let y0: Vec<f64> = (0..n).map(|i| (i as f64 / n as f64).powi(2)).collect();
    let mut case =
        Case::new("band", &RODAS4, field, (&y0, &[1.1, 3.0]), &fixed(0.25), Memory::Checkpoints(2));
    case.check(1e-3, 1e-8, 1e-13);
    let asymmetry = case.asymmetry();
    assert!(asymmetry < 1e-10, "{asymmetry:.1e}");
}

#[test]
fn what_is_missing_is_said_before_the_first_step() {
    let (y0, p) = ([2.0, 0.0], [40.0, 1.2, 0.5]);
    let mut solver = Adjoint::new(&TSIT54, 2, 1, &Options::default(), Memory::States).unwrap();
    let plain = costate::diff::FnMap::new(2, 3, |_, _: &[f64], _: &[f64], _: &mut [f64]| {});
    let error = solver.tangent(plain, 1).err().unwrap().to_string();
    assert!(error.contains("with_jvp"), "{error}");
    assert!(solver.tangent(stiff(), 0).is_err());
    let mut tangent = solver.tangent(stiff(), 1).unwrap();
    let error = tangent.forward(&solver, &p, &[], &[], &[]).unwrap_err().to_string();
    assert!(error.contains("no step"), "{error}");
    let error = tangent.reverse(&Bars::default(), &Bars::default()).unwrap_err().to_string();
    assert!(error.contains("no step"), "{error}");
    solver.forward(&mut stiff(), (0.0, 0.1), &y0, &p, &mut ()).unwrap();
    let error = tangent.forward(&solver, &[1.0, 2.0, 3.0], &[], &[], &[]).unwrap_err().to_string();
    assert!(error.contains("parameters"), "{error}");
    let error = tangent.forward(&solver, &p, &[1.0], &[], &[]).unwrap_err().to_string();
    assert!(error.contains("directions of the start"), "{error}");
    assert!(tangent.forward(&solver, &p, &[], &[], &[0.05, 3.0]).is_err());
    tangent.forward(&solver, &p, &[1.0, 0.0], &[], &[]).unwrap();
    let ones = vec![1.0; solver.tape().len()];
    let error = tangent.reverse(&Bars { stiffness: &ones, ..Bars::default() }, &Bars::default());
    assert!(error.unwrap_err().to_string().contains("estimates"));
    assert!(tangent.reverse(&Bars { y1: &[1.0], ..Bars::default() }, &Bars::default()).is_err());
    let mut two = solver.tangent(stiff(), 2).unwrap();
    two.forward(&solver, &p, &[], &[], &[]).unwrap();
    assert!(
        two.reverse(&Bars::default(), &Bars::default()).unwrap_err().to_string().contains("one direction")
    );
}

#[test]
fn steps_do_not_allocate() {
    let (y0, p) = ([2.0, 0.0], [40.0, 1.2, 0.5]);
    fn count<D>(method: D, p: &[f64], y0: &[f64], h: f64) -> u64
    where
        D: Method<f64>,
        D::Integrator: Transpose<f64> + costate::ode::Integrate<f64, RecordedMap>,
        <D::Integrator as Transpose<f64>>::Back: Reverse<f64, Variational<RecordedMap, f64>>,
    {
        let mut solver = Adjoint::new(method, 2, 1, &fixed(h), Memory::States).unwrap();
        solver.forward(&mut stiff(), SPAN, y0, p, &mut ()).unwrap();
        let mut tangent = solver.tangent(stiff(), 1).unwrap();
        let mut once = || {
            tangent.forward(&solver, p, &[1.0, 0.0], &[0.0, 1.0, 0.0], &[]).unwrap();
            tangent.reverse(&Bars { y1: &[1.0, 2.0], ..Bars::default() }, &Bars::default()).unwrap();
        };
        once();
        let before = allocations();
        once();
        allocations() - before
    }
    assert_eq!(count(&TSIT54, &p, &y0, 0.01), count(&TSIT54, &p, &y0, 0.001));
    assert_eq!(count(&RODAS4, &p, &y0, 0.1), count(&RODAS4, &p, &y0, 0.01));
}

/// The equations as a field of its own, with the error of the directions under control: the closed form of a linear field.
#[test]
fn variational_equations_are_fields_for_every_integrator() {
    let linear = || {
        record(2, 1, |_, y, p, dy| {
            dy[0] = -p[0] * y[0];
            dy[1] = p[0] * y[0] - 500.0 * y[1];
        })
    };
    let (y0, p) = ([1.0, 0.0, 1.0, 0.0, 0.0, 0.0], [0.7, 0.0, 1.0]);
    let exact = |p: f64| [(-p).exp(), p / (500.0 - p) * ((-p).exp() - (-500.0f64).exp())];
    let by_p = [central(1e-3, |d| exact(0.7 + d)[0]), central(1e-3, |d| exact(0.7 + d)[1])];
    let want = joined(&joined(&exact(0.7), &exact(0.7)), &by_p);
    let mut field = Variational::new(linear().unwrap().into_map(), 2).unwrap();
    let mut run = Integrator::new(&TSIT54, 2, 3, &Options::tolerances(1e-9, 1e-9)).unwrap();
    run.run(&mut field, (0.0, 1.0), &y0, &p, &mut ()).unwrap();
    let mut stiff = StiffIntegrator::new(&RODAS5P, 2, 3, &Options::tolerances(1e-9, 1e-9)).unwrap();
    stiff.run(&mut field, (0.0, 1.0), &y0, &p, &mut ()).unwrap();
    for (name, y) in [("tsit54", run.y()), ("rodas5p", stiff.y())] {
        for (a, b) in y.iter().zip(&want) {
            assert!((a - b).abs() < 1e-8, "{name}: {y:?} {want:?}");
        }
    }
    let mut odd = Integrator::new(&TSIT54, 2, 2, &Options::default()).unwrap();
    let error = odd.run(&mut field, (0.0, 1.0), &y0[..4], &p, &mut ()).unwrap_err().to_string();
    assert!(error.contains("3 parts"), "{error}");
    let mut dy = [0.0; 6];
    field.value(At::new(0.0, &y0, &p), &mut dy);
    assert_eq!(dy, [-0.7, 0.7, -0.7, 0.7, -1.0, 1.0]);
}

/// With bars on the error estimates, as a price on the expected number of steps puts them there: products with the Hessian of c N + w . y(t1) against differences of gradients of
/// the frozen steps, and symmetric.
#[test]
fn error_estimates_have_second_derivatives() {
    use costate::adjoint::{Heuristics, Term};
    let (y0, p) = ([0.7, -0.4], [1.1, 0.8, 0.5]);
    let rms = Options::tolerances(1e-5, 1e-5);
    let each = Options::tolerances(1e-5, vec![1e-6, 1e-5]);
    for (method, options, term) in [
        (&TSIT54, &rms, Term::expected_steps()),
        (&DP54, &each, Term::error_squared()),
        (&BS32, &rms, Term::expected_steps()),
    ] {
        let name = method.name;
        let mut solver = Adjoint::new(method, 2, 1, options, Memory::States).unwrap();
        let mut taken = Heuristics::new(method.stability, method.error_order as f64 + 1.0, false);
        solver.forward(&mut smooth(), SPAN, &y0, &p, &mut taken).unwrap();
        let w = [0.3, -1.2];
        // The gradient of the frozen program at another point: its steps recorded again.
        let fixed: Vec<f64> = taken.steps().to_vec();
        let all = [&y0[..], &p].concat();
        let gradient = |x: &[f64]| {
            let mut own = Adjoint::new(method, 2, 1, options, Memory::States).unwrap();
            let (mut y_bar, mut p_bar) = (vec![0.0; 2], vec![0.0; 3]);
            let mut h = taken.clone();
            own.forward(&mut smooth(), SPAN, &y0, &p, &mut h).unwrap();
            assert_eq!(h.steps(), &fixed[..]);
            // dL/dx by transposing the replayed steps is not at hand: differences of values of the replay, fourth order.
            let mut value = |x: &[f64]| {
                let r = own.replay(&mut smooth(), &x[2..], &x[..2], &[]).unwrap();
                let mut h = taken.clone();
                h.set(&r.error, &[]).unwrap();
                h.add(&term, 0.7).unwrap() * 0.7 + dot(&w, &r.y1)
            };
            for k in 0..5 {
                let e = 1e-3;
                let mut at = |s: f64| {
                    let mut x = x.to_vec();
                    x[k] += s * e;
                    value(&x)
                };
                let slope = (8.0 * (at(1.0) - at(-1.0)) - (at(2.0) - at(-2.0))) / (12.0 * e);
                if k < 2 { y_bar[k] = slope } else { p_bar[k - 2] = slope }
            }
            [y_bar, p_bar].concat()
        };
        let mut tangent = solver.tangent(smooth(), 1).unwrap();
        let mut bars_now = taken.clone();
        bars_now.add(&term, 0.7).unwrap();
        let error = bars_now.error_bar().to_vec();
        // The first derivatives come out of the sweep.
        let (mut y_bar, mut p_bar) = ([0.0; 2], [0.0; 3]);
        let bars = Bars { y1: &w, error: &error, ..Bars::default() };
        solver.reverse(&mut smooth(), &p, &bars, &mut y_bar, &mut p_bar).unwrap();
        let first = joined(&y_bar, &p_bar);
        let want = gradient(&all);
        let size = want.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        assert!(
            first.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-7 * size),
            "{name} {first:?} {want:?}"
        );
        let mut products = vec![];
        for k in 0..5 {
            let d = noise(5, k + 3);
            let along = tangent.forward(&solver, &p, &d[..2], &d[2..], &[]).unwrap();
            assert_eq!(along.error_dot.len(), taken.len());
            let mut error_dot = vec![0.0; error.len()];
            taken.add_along(&term, 0.7, &along.error_dot, &mut error_dot).unwrap();
            // dN along d, of the estimates and of the sweep.
            let n_dot: f64 = dot(&error, &along.error_dot) + dot(&w, &along.y1_dot);
            assert!((n_dot - dot(&first, &d)).abs() < 1e-10 * (1.0 + size), "{name} {n_dot}");
            let bars_dot = Bars { error: &error_dot, ..Bars::default() };
            let Products { y0_bar, p_bar, y0_bar_dot, p_bar_dot, .. } =
                tangent.reverse(&bars, &bars_dot).unwrap();
            // Estimates are differences that cancel: their derivatives have fewer digits than those of states.
            let again = joined(&y0_bar, &p_bar);
            assert!(
                again.iter().zip(&first).all(|(a, b)| (a - b).abs() < 1e-9 * size),
                "{name} {again:?} {first:?}"
            );
            products.push((d, joined(&y0_bar_dot, &p_bar_dot)));
        }
        let e = 2e-3;
        for (d, product) in &products {
            let at = |s: f64| gradient(&all.iter().zip(d).map(|(x, d)| x + s * e * d).collect::<Vec<_>>());
            let [a, b, c, f] = [at(1.0), at(-1.0), at(2.0), at(-2.0)];
            let size = product.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            for i in 0..5 {
                let want = (8.0 * (a[i] - b[i]) - (c[i] - f[i])) / (12.0 * e);
                assert!((product[i] - want).abs() < 2e-5 * size, "{name} {i} {} {want}", product[i]);
            }
            for (other, of) in &products {
                let (u, v) = (dot(other, product), dot(d, of));
                assert!((u - v).abs() < 1e-10 * (1.0 + size), "{name} {u} {v}");
            }
        }
    }
    // Where there are two estimates, or none with a derivative, one sentence says so.
    let mut solver = Adjoint::new(&DOP853, 2, 1, &rms, Memory::States).unwrap();
    solver.forward(&mut smooth(), SPAN, &y0, &p, &mut ()).unwrap();
    let steps = solver.tape().len();
    let mut tangent = solver.tangent(smooth(), 1).unwrap();
    let along = tangent.forward(&solver, &p, &[1.0, 0.0], &[], &[]).unwrap();
    assert!(along.error_dot.is_empty());
    let error = vec![1.0; steps];
    let bars = Bars { error: &error, ..Bars::default() };
    let e = tangent.reverse(&bars, &Bars::default()).unwrap_err().to_string();
    assert!(e.contains("one estimate"), "{e}");
}

/// At other parameters than those of the recorded pass: gradients along its steps against differences of values along them.
fn smooth_along<D, I>(method: D, mut field: RecordedMap, options: &Options, (p0, p1): ([f64; 3], [f64; 3]))
where
    D: Method<f64, Integrator = I>,
    I: Transpose<f64> + Integrate<f64, RecordedMap>,
    I::Back: Reverse<f64, RecordedMap>,
{
    let (y0, loss) = ([0.4, 0.7], Loss::new(2));
    let mut solver = Adjoint::new(method, 2, 1, options, Memory::States).unwrap();
    solver.forward(&mut field, SPAN, &y0, &p0, &mut SaveAt::new(&TIMES)).unwrap();
    let (steps, end) = (solver.tape().clone(), solver.y().to_vec());
    let mut along = |p: &[f64]| {
        let out = solver.forward_along(&steps, &mut field, p, &y0, &TIMES).unwrap();
        let r = joined(&out.y1, &out.saved);
        let [all, _] = loss.bars(&r, &[]);
        let (mut y0_bar, mut p_bar) = (vec![0.0; 2], vec![0.0; 3]);
        solver.reverse(&mut field, p, &bars(&all, 2), &mut y0_bar, &mut p_bar).unwrap();
        (loss.value(&r), p_bar, out)
    };
    let again = along(&p0).2;
    assert!(again.y1.iter().zip(&end).all(|(a, b)| (a - b).abs() <= 1e-12 * b.abs().max(1.0)));
    assert_eq!(again.error.len(), steps.len());
    let found = along(&p1).1;
    for k in 0..3 {
        let want = central(1e-3, |e| {
            let mut p = p1;
            p[k] += e;
            along(&p).0
        });
        assert!((found[k] - want).abs() < 1e-8 * want.abs().max(1.0), "{k}: {} {want}", found[k]);
    }
}

#[test]
fn along_recorded_steps_results_are_smooth() {
    let p = ([1.1, 0.9, 0.3], [1.2, 0.8, 0.4]);
    smooth_along(&TSIT54, smooth(), &Options::tolerances(1e-6, 1e-6), p);
    smooth_along(&RODAS5P, stiff(), &Options::tolerances(1e-5, 1e-5), p);
}
