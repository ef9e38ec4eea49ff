//! The discrete adjoint of the automatic choice: against differences of the frozen-step program and of the solution, and under every policy of memory. And that no sweep
//! takes parameters other than those of its forward pass.

#[path = "common/adjoint.rs"]
mod adjoint;

use adjoint::{Weights, central, dot, noise};
use costate::adjoint::{Adjoint, Bars, Memory, SdeAdjoint};
use costate::diff::{FnMap, Formula, Map, Number, Size};
use costate::expr::{Formulated, formula};
use costate::ode::*;
use costate::sde::{Brownian, Noise, SOSRI, Sde};

/// A rate that comes and goes, k = 400 p0 (1 - cos(t / 2))^2: y0' = -k (y0 - y1 cos t) + p1 y1, y1' = -p2 y1 + (sin t + sin y0) / 2.
struct Waves;

impl Formula<f64> for Waves {
    fn size(&self) -> Size {
        Size::field(2, 3)
    }
    fn eval<D: Number<f64>>(&self, t: D, y: &[D], p: &[D], dy: &mut [D]) {
        let u = -(t * 0.5).cos() + 1.0;
        let k = p[0] * u * u * 400.0;
        dy[0] = -k * (y[0] - y[1] * t.cos()) + p[1] * y[1];
        dy[1] = -p[2] * y[1] + (t.sin() + y[0].sin()) * 0.5;
    }
}

fn waves() -> Formulated<Waves, f64> {
    formula(Waves).unwrap()
}

const P: [f64; 3] = [0.9, 1.1, 0.3];
const Y0: [f64; 4] = [0.9, 1.1, 0.7, 1.4];
const SPAN: (f64, f64) = (0.0, 20.0);
const TIMES: [f64; 5] = [0.0, 0.73, 5.0, 12.3, 19.3];
const POLICIES: [Memory; 6] = [
    Memory::States,
    Memory::Stages,
    Memory::Every(1),
    Memory::Every(7),
    Memory::Checkpoints(3),
    Memory::Checkpoints(20),
];

type Pair = (&'static Tableau, &'static RosenbrockTableau);

fn solver(pair: Pair, memory: Memory) -> Adjoint<f64, Auto<f64>> {
    let controller = Controller::pi(0.2, 0.65);
    let o = Options { controller, ..Options::tolerances(1e-4, 1e-4) };
    let mut s = Adjoint::new(pair, 2, 2, &o, memory).unwrap();
    let report = s.forward(&mut waves(), SPAN, &Y0, &P, &mut ()).unwrap();
    assert!(report.ok());
    s
}

fn gradient(s: &mut Adjoint<f64, Auto<f64>>, bars: &Bars<'_, f64>) -> (Vec<f64>, Vec<f64>, OdeCounts) {
    let (mut yb, mut pb) = (vec![0.0; 4], vec![0.0; 3]);
    let counts = s.reverse(&mut waves(), &P, bars, &mut yb, &mut pb).unwrap();
    (yb, pb, counts)
}

const PAIRS: [Pair; 2] = [(&TSIT54, &RODAS5P), (&BS32, &RODAS3P)];

#[test]
fn it_is_the_derivative_of_the_frozen_steps() {
    for pair in PAIRS {
        let mut s = solver(pair, Memory::States);
        let steps = s.tape().len();
        let changes = (1..steps).filter(|&j| s.tape().method(j) != s.tape().method(j - 1)).count();
        println!("{} and {}: {steps} steps, {changes} changes", pair.0.name, pair.1.name);
        assert!(changes >= 2, "{changes}");
        let w = Weights::new(4, &TIMES, steps);
        let (yb, pb, _) = gradient(&mut s, &w.bars());
        for seed in 10..14 {
            let (vy, vp) = (noise(4, seed), noise(3, seed + 100));
            let got = dot(&vy, &yb) + dot(&vp, &pb);
            // S of quiet steps has much rounding, E has kinks: the best of three widths.
            let errors = [1e-3, 1e-4, 1e-5].map(|d| {
                let want = central(d, |d| {
                    let y0: Vec<f64> = Y0.iter().zip(&vy).map(|(a, b)| a + d * b).collect();
                    let p: Vec<f64> = P.iter().zip(&vp).map(|(a, b)| a + d * b).collect();
                    w.loss(&s.replay(&mut waves(), &p, &y0, &TIMES).unwrap())
                });
                (got - want).abs() / want.abs()
            });
            println!("  {got:.10e} {errors:?}");
            assert!(errors.iter().any(|e| *e < 1e-7), "{got:e} {errors:?}");
        }
    }
}

#[test]
fn the_same_bits_under_every_policy() {
    for pair in PAIRS {
        let mut first: Option<(Vec<f64>, Vec<f64>)> = None;
        for memory in POLICIES {
            let mut s = solver(pair, memory);
            let w = Weights::new(4, &TIMES, s.tape().len());
            let (yb, pb, counts) = gradient(&mut s, &w.bars());
            assert_eq!(counts.recomputed == 0, memory == Memory::Stages);
            match &first {
                Some(f) => assert_eq!((&f.0, &f.1), (&yb, &pb), "{memory:?}"),
                None => first = Some((yb, pb)),
            }
            // A second sweep where the tape allows it.
            if matches!(memory, Memory::States | Memory::Stages) {
                let again = gradient(&mut s, &w.bars());
                assert_eq!(first.as_ref().unwrap(), &(again.0, again.1));
            }
        }
    }
}

#[test]
fn replay_repeats_the_pass() {
    let mut s = solver((&TSIT54, &RODAS5P), Memory::States);
    let r = s.replay(&mut waves(), &P, &Y0, &[]).unwrap();
    for (a, b) in r.y1.iter().zip(s.y()) {
        assert!((a - b).abs() < 1e-9 * b.abs().max(1.0), "{a} {b}");
    }
}

#[test]
fn gradients_of_the_solution_agree_with_those_of_the_stiff_method_alone() {
    let o = Options::tolerances(1e-7, 1e-7);
    let (y0, bars) = (&Y0[..2], Bars { y1: &[1.0, 0.3], ..Bars::default() });
    let field = || waves();
    let (mut ya, mut pa, mut yb, mut pb) = ([0.0; 2], [0.0; 3], [0.0; 2], [0.0; 3]);
    let mut auto = Adjoint::new((&TSIT54, &RODAS5P), 2, 1, &o, Memory::States).unwrap();
    auto.forward(&mut field(), (0.0, 14.0), y0, &P, &mut ()).unwrap();
    assert!((0..auto.tape().len()).any(|j| auto.tape().method(j) == 1));
    auto.reverse(&mut field(), &P, &bars, &mut ya, &mut pa).unwrap();
    let mut stiff = Adjoint::new(&RODAS5P, 2, 1, &o, Memory::States).unwrap();
    stiff.forward(&mut field(), (0.0, 14.0), y0, &P, &mut ()).unwrap();
    stiff.reverse(&mut field(), &P, &bars, &mut yb, &mut pb).unwrap();
    for (a, b) in ya.iter().chain(&pa).zip(yb.iter().chain(&pb)) {
        println!("{a:.10e} {b:.10e}");
        assert!((a - b).abs() < 1e-4 * b.abs() + 1e-8, "{a:e} {b:e}");
    }
}

#[test]
fn other_parameters_are_an_error_in_all_families() {
    let sentence = "the parameters are not those of the forward pass";
    let bars = Bars { y1: &[1.0, 0.3], ..Bars::default() };
    let other = [0.9, 1.1, 0.3 + f64::EPSILON];
    macro_rules! check {
        ($method:expr, $field:expr) => {{
            let mut s =
                Adjoint::new($method, 2, 1, &Options::tolerances(1e-3, 1e-3), Memory::States).unwrap();
            s.forward(&mut $field, (0.0, 0.1), &Y0[..2], &P, &mut ()).unwrap();
            let (mut yb, mut pb) = ([7.0; 2], [0.0; 3]);
            let e = s.reverse(&mut $field, &other, &bars, &mut yb, &mut pb).unwrap_err();
            assert!(e.to_string().contains(sentence), "{e}");
            assert_eq!((yb, pb), ([7.0; 2], [0.0; 3]));
            s.reverse(&mut $field, &P, &bars, &mut yb, &mut pb).unwrap();
            assert_ne!(yb, [7.0; 2]);
        }};
    }
    let field = || waves();
    check!(&TSIT54, field());
    check!(&RODAS5P, field());
    check!((&TSIT54, &RODAS5P), field());
    let acceleration = FnMap::new(1, 3, |t: f64, q: &[f64], p: &[f64], a: &mut [f64]| {
        a[0] = -p[0] * q[0] + p[1] * t;
    })
    .with_vjp(|t: f64, q: &[f64], p: &[f64], w: &[f64], qb: &mut [f64], pb: &mut [f64]| {
        qb[0] -= p[0] * w[0];
        pb[0] -= q[0] * w[0];
        pb[1] += t * w[0];
    });
    let mut oscillator = SecondOrder::new(acceleration);
    check!(&DPRKN64, oscillator);

    let line = || {
        FnMap::new(1, 1, |_, y: &[f64], p: &[f64], d: &mut [f64]| d[0] = p[0] * y[0]).with_vjp(
            |_, y: &[f64], p: &[f64], w: &[f64], yb: &mut [f64], pb: &mut [f64]| {
                yb[0] += p[0] * w[0];
                pb[0] += y[0] * w[0];
            },
        )
    };
    let mut sde = Sde::new(line(), line(), Noise::Diagonal).unwrap();
    let o = Options::noisy().with_tolerances(1e-2, 1e-2);
    let mut s = SdeAdjoint::new(&SOSRI, 1, 1, &o, Memory::States).unwrap();
    s.forward(sde.follow(Brownian::new(1)), (0.0, 1.0), &[1.0], &[0.5, 0.2], &mut ()).unwrap();
    let (mut yb, mut pb) = ([7.0], [0.0; 2]);
    let e = s.reverse(&mut sde, &[0.5, 0.3], &Bars { y1: &[1.0], ..Bars::default() }, &mut yb, &mut pb);
    assert!(e.unwrap_err().to_string().contains(sentence) && yb == [7.0]);
}
