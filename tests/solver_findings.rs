//! One test for every defect that reviews of the differential equations found: each failed before it was mended.

use costate::adjoint::*;
use costate::diff::{At, BarsMut, Differences, FnMap, Kept, Map, Offers, Size};
use costate::ode::*;
use costate::sde::*;

type Call = fn(f64, &[f64], &[f64], &mut [f64]);

/// y' = -1e6 (y - cos t): far too stiff for an explicit step of 1e-4.
fn stiff() -> impl Map<f64> {
    let f: Call = |t, y, _, dy| dy[0] = -1e6 * (y[0] - t.cos());
    let jac: Call = |_, _, _, j| j[0] = -1e6;
    FnMap::new(1, 0, f).with_jacobian(jac)
}

#[test]
fn auto_hands_an_explicit_step_that_shrinks_away_to_the_implicit_method() {
    // The implicit method began with the explicit one's last step, too short for it too.
    let o = Options { min_step: 1e-4, ..Options::tolerances(1e-6, 1e-6) };
    let mut auto = Auto::new(&TSIT54, &RODAS5P, 1, 1, &o).unwrap();
    let r = auto.run(&mut stiff(), (0.0, 1.0), &[1.0], &[], &mut ()).unwrap();
    assert_eq!(r.stop, OdeStop::Finished, "{}", r.message());
    assert!(auto.switches()[0].to_stiff && (auto.y()[0] - 1f64.cos()).abs() < 1e-5);
    // The same far from t = 0, where the step falls below the spacing of t.
    let (f, jac): (Call, Call) = (|_, y, _, dy| dy[0] = -1e9 * (y[0] - 2.0), |_, _, _, j| j[0] = -1e9);
    let mut f = FnMap::new(1, 0, f).with_jacobian(jac).autonomous();
    let mut auto = Auto::new(&TSIT54, &RODAS5P, 1, 1, &Options::tolerances(1e-6, 1e-6)).unwrap();
    let r = auto.run(&mut f, (1e8, 1e8 + 1.0), &[2.001], &[], &mut ()).unwrap();
    assert!(r.ok() && (auto.y()[0] - 2.0).abs() < 1e-4, "{} {:?}", r.message(), auto.y());
}

#[test]
fn a_least_factor_above_the_safety_factor_is_refused() {
    let go = |o: Options| Integrator::<f64>::new(&TSIT54, 1, 1, &o).map(|_| ()).unwrap_err().to_string();
    // Said "the vector field panicked: min > max" in the first rejected step.
    let controller = Controller { safety: 0.15, ..Controller::default() };
    assert_eq!(
        go(Options { controller, ..Options::default() }),
        "option min_factor is 0.2: it must be at most safety"
    );
}

#[test]
fn a_purely_absolute_tolerance_is_not_near_rounding() {
    // rtol = 0 brought in the controller for tolerances near rounding: other steps than with an rtol that does not matter.
    let lv: Call = |_, y, _, dy| {
        dy[0] = 1.5 * y[0] - y[0] * y[1];
        dy[1] = y[0] * y[1] - 3.0 * y[1];
    };
    for tol in [1e-3, 1e-6, 1e-9] {
        let counts = |rtol: f64| {
            let o = Options::tolerances(rtol, tol);
            solve(&mut FnMap::new(2, 0, lv), &DOP853, &o, (0.0, 20.0), &[1.0, 1.0], &[], &[])
                .unwrap()
                .report
                .counts
        };
        assert_eq!(counts(0.0), counts(1e-13), "{tol}");
    }
}

#[test]
fn an_event_function_that_panics_at_the_start_is_an_error() {
    // Unwound into the caller.
    let f = || {
        let decay: Call = |_, y, _, dy| dy[0] = -y[0];
        FnMap::new(1, 0, decay)
    };
    let events = || Events::new().when(Crossing::Any, AtEvent::Stop, |_, _: &[f64]| panic!("no event"));
    let want = OdeError::FieldPanicked { message: "no event".to_string() };
    let o = Options::default();
    let mut it = Integrator::new(&TSIT54, 1, 1, &o).unwrap();
    assert_eq!(it.run(&mut f(), (0.0, 1.0), &[1.0], &[], &mut events()).unwrap_err(), want);
    let mut it = StiffIntegrator::new(&RODAS4, 1, 1, &o).unwrap();
    assert_eq!(it.run(&mut Differences::of(f()), (0.0, 1.0), &[1.0], &[], &mut events()).unwrap_err(), want);
}

#[test]
fn a_huge_start_derivative_does_not_make_the_first_step_zero() {
    // |f| / tolerance overflows when squared: the first step was zero, and the answer StepUnderflow.
    let f: Call = |_, _, _, dy| dy[0] = 1e200;
    let s =
        solve(&mut FnMap::new(1, 0, f), &TSIT54, &Options::default(), (0.0, 1.0), &[0.0], &[], &[]).unwrap();
    assert!(s.report.ok() && (s.y1[0] / 1e200 - 1.0).abs() < 1e-12, "{}", s.report.message());
}

/// y' = p y and its pullback.
fn growth() -> impl Map<f64> {
    FnMap::new(1, 1, |_, y: &[f64], p: &[f64], dy: &mut [f64]| dy[0] = p[0] * y[0]).with_vjp(
        |_, y: &[f64], p: &[f64], w: &[f64], yb: &mut [f64], pb: &mut [f64]| {
            yb[0] += p[0] * w[0];
            pb[0] += y[0] * w[0];
        },
    )
}

#[test]
fn a_replayed_step_whose_matrix_is_singular_is_not_a_number() {
    // W = 1/(h gamma) - p: was a debug assertion, and otherwise the factors of another matrix.
    let h = 0.25;
    let mut f = growth().autonomous();
    let mut a = StiffAdjoint::new(&RODAS4, 1, 1, &Options::fixed(h), Memory::States).unwrap();
    a.forward(&mut f, (0.0, 1.0), &[1.0], &[-1.0], &mut ()).unwrap();
    let r = a.replay(&mut f, &[1.0 / (h * RODAS4.gamma)], &[1.0], &[]).unwrap();
    assert!(r.y1[0].is_nan(), "{r:?}");
}

#[test]
fn a_stiff_report_does_not_have_the_jacobian_of_an_earlier_run() {
    let o = Options { first_step: Some(1e-9), ..Options::tolerances(1e-6, 1e-6) };
    let mut it = StiffIntegrator::new(&RODAS5P, 1, 1, &o).unwrap();
    assert!(it.run(&mut stiff(), (0.0, 1.0), &[1.0], &[], &mut ()).unwrap().ok());
    // The first step is below the spacing of t: no Jacobian was made.
    let r = it.run(&mut stiff(), (1e10, 2e10), &[1.0], &[], &mut ()).unwrap();
    assert_eq!((r.stop, r.counts.jacobians, r.stiffness), (OdeStop::StepUnderflow, 0, None));
}

#[test]
fn wrapped_fields_hand_on_what_was_kept() {
    // WithJacobian stored what the field keeps for its pullback, and did not use it.
    struct Keeps(u32);
    impl Map<f64> for Keeps {
        fn size(&self) -> Size {
            Size { inputs: 1, outputs: 1, params: 0 }
        }
        fn offers(&self) -> Offers {
            Offers::VJP
        }
        fn value(&mut self, at: At<'_, f64>, dy: &mut [f64]) {
            dy[0] = -at.x[0];
        }
        fn keep_len(&self, batch: usize) -> usize {
            batch
        }
        fn forward(&mut self, at: At<'_, f64>, dy: &mut [f64], keep: &mut [f64]) {
            (dy[0], keep[0]) = (-at.x[0], 7.0);
        }
        fn vjp(&mut self, _: At<'_, f64>, of: Kept<'_, f64>, w: &[f64], bars: BarsMut<'_, f64>) {
            assert_eq!(of.keep, [7.0]);
            self.0 += 1;
            bars.x[0] -= w[0];
        }
    }
    fn kept<F: Map<f64>>(mut f: F) -> F {
        let mut a = Adjoint::new(&TSIT54, 1, 1, &Options::fixed(0.1), Memory::Stages).unwrap();
        a.forward(&mut f, (0.0, 1.0), &[1.0], &[], &mut ()).unwrap();
        let bars = Bars { y1: &[1.0], ..Bars::default() };
        a.reverse(&mut f, &[], &bars, &mut [0.0], &mut []).unwrap();
        f
    }
    let mut plain = Keeps(0);
    kept(&mut plain);
    assert_eq!(plain.0, 60, "all but the last stage, whose bar is zero, of ten steps; and the start");
    let jac: Call = |_, _, _, j| j[0] = -1.0;
    let (mut a, mut b) = (Keeps(0), Keeps(0));
    kept((&mut a).with_jacobian(jac));
    kept(Differences::of(&mut b));
    assert_eq!((a.0, b.0), (60, 60));
}

#[test]
fn a_stiffness_term_without_stiffness_estimates_is_an_error() {
    // Was a failed assertion.
    let mut h = Heuristics::<f64>::new(3.5, 5.0, false);
    let mut it = Integrator::new(&TSIT54, 1, 1, &Options::default()).unwrap();
    it.run(&mut growth(), (0.0, 1.0), &[1.0], &[-1.0], &mut h).unwrap();
    let e = h.add(&Term::stiffness(Aggregate::Max), 1.0).unwrap_err().to_string();
    assert_eq!(e, "a stiffness term needs the stiffness estimates: make the heuristics with them");
    assert!(h.set(&[1.0], &[]).unwrap_err().to_string().contains("has length 1"));
}

#[test]
fn long_segments_between_checkpoints_do_not_exhaust_the_stack() {
    // The reverse sweep recursed once for every step of a segment.
    let run = || {
        let mut a = Adjoint::new(
            &BS32,
            1,
            1,
            &Options { max_steps: 1 << 20, ..Options::fixed(2e-5) },
            Memory::Every(50_000),
        )
        .unwrap();
        a.forward(&mut growth(), (0.0, 1.0), &[1.0], &[-1.0], &mut ()).unwrap();
        let (mut yb, mut pb) = ([0.0], [0.0]);
        a.reverse(&mut growth(), &[-1.0], &Bars { y1: &[1.0], ..Bars::default() }, &mut yb, &mut pb).unwrap();
        (yb[0], pb[0])
    };
    let (y, p) = std::thread::Builder::new().stack_size(1 << 19).spawn(run).unwrap().join().unwrap();
    let e = (-1f64).exp();
    assert!((y - e).abs() < 1e-9 && (p - e).abs() < 1e-9, "{y} {p}");
}

fn noise() -> impl Map<f64> {
    FnMap::new(1, 0, |_, y: &[f64], _: &[f64], g: &mut [f64]| g[0] = 0.1 * y[0])
}

#[test]
fn a_fixed_stochastic_step_that_is_not_finite_says_so() {
    // Said that the step was too short.
    let f = FnMap::new(1, 0, |t: f64, _: &[f64], _: &[f64], dy: &mut [f64]| dy[0] = (1.05 - t).sqrt());
    let mut sde = Sde::new(f, noise(), Noise::Diagonal).unwrap();
    let o = Options::noisy().with_fixed_step(0.1);
    let r = solve(sde.follow(Brownian::new(1)), &SOSRI, &o, (0.0, 2.0), &[1.0], &[], &[]).unwrap().report;
    assert!(r.stop == OdeStop::NotFinite && !r.ok(), "{r:?}");
    assert!(
        r.message().contains("fixed step 1.000e-1 met values that are not finite at t ="),
        "{}",
        r.message()
    );
}

#[test]
fn a_path_is_not_read_backwards() {
    // Returned zeros and lost its place.
    let mut path = BrownianPath::new(&Brownian::new(3), (0.0, 1.0), 1, 2).unwrap();
    path.advance(0.5).unwrap();
    for t in [0.25, f64::NAN, 1.5] {
        let e = path.advance(t).unwrap_err().to_string();
        assert!(e.contains("it must be") && e.contains(&format!("is {t}")), "{e}");
    }
    let mut other = BrownianPath::new(&Brownian::new(3), (0.0, 1.0), 1, 2).unwrap();
    other.advance(0.5).unwrap();
    assert_eq!(path.advance(0.7).unwrap(), other.advance(0.7).unwrap());
}

#[test]
fn a_replay_with_another_equation_is_an_error() {
    // Was an index out of range.
    let drift = |n| FnMap::new(n, 0, |_: f64, y: &[f64], _: &[f64], dy: &mut [f64]| dy[0] = y[y.len() - 1]);
    let g = |n| FnMap::new(n, 0, |_, _: &[f64], _: &[f64], g: &mut [f64]| g.fill(0.1));
    let mut one = Sde::new(drift(1), g(1), Noise::Diagonal).unwrap();
    let mut two = Sde::new(drift(3), g(3), Noise::Diagonal).unwrap();
    let o = Options::noisy().with_fixed_step(0.25);
    let mut a = SdeAdjoint::new(&SOSRI, 1, 2, &o, Memory::States).unwrap();
    a.forward(one.follow(Brownian::new(1)), (0.0, 1.0), &[1.0, 2.0], &[], &mut ()).unwrap();
    let e = a.replay(&mut two, &[], &[1.0, 2.0], &[]).unwrap_err().to_string();
    assert_eq!(e, "the drift's state has length 3, expected 1");
}
