//! Rosenbrock methods, their adjoint and the automatic choice on fields that offer only products with their Jacobian.

#[path = "common/alloc.rs"]
mod alloc;
#[path = "common/diffusion.rs"]
mod diffusion;

use alloc::allocations;
use costate::adjoint::{Adjoint, Bars, Memory, StiffAdjoint};
use costate::diff::{At, Differences, FnMap, Map, Offers, Source, Structure};
use costate::linsol::factors::{Preconditioning, Structure as Held};
use costate::ode::*;
use diffusion::{AllenCahn, Brusselator, P};

fn far(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn largest(x: &[f64]) -> f64 {
    x.iter().fold(0.0, |m, v| m.max(v.abs()))
}

fn run<F: Map<f64>>(
    field: &mut F,
    method: &'static RosenbrockTableau,
    tol: f64,
    t1: f64,
    y0: &[f64],
    p: &[f64],
) -> (Vec<f64>, OdeReport, Option<String>) {
    let mut it = StiffIntegrator::new(method, y0.len(), 1, &Options::tolerances(tol, tol)).unwrap();
    let r = it.run(field, (0.0, t1), y0, p, &mut ()).unwrap();
    assert!(r.ok(), "{}: {}", method.name, r.message());
    (it.y().to_vec(), r, it.structure().map(ToString::to_string))
}

/// Diffusion alone: what makes the Brusselator stiff. The same parameters.
fn diffusion_of(pr: &Brusselator) -> impl Map<f64> + use<> {
    let (n, a) = (pr.n, P[2] * (pr.n as f64 / 2.0 + 1.0).powi(2));
    let f = move |_: f64, y: &[f64], _: &[f64], dy: &mut [f64]| {
        for i in 0..n {
            let at = |k: usize| y.get(k).copied().unwrap_or(0.0);
            dy[i] = a * (at(i.wrapping_sub(2)) - 2.0 * y[i] + at(i + 2));
        }
    };
    Differences::of(FnMap::new(n, 3, f).autonomous()).with_structure(Structure::Banded { lower: 2, upper: 2 })
}

#[test]
fn brusselators_by_products_are_those_by_matrices() {
    let pr = Brusselator::new(100);
    for method in RosenbrockTableau::all() {
        for tol in [1e-4, 1e-6] {
            let (right, by_band, _) = run(&mut pr.field(), method, tol, 10.0, &pr.start(), &P);
            let (y, r, how) = run(&mut pr.field().by_products(), method, tol, 10.0, &pr.start(), &P);
            let c = r.counts;
            println!(
                "{} {tol:e}: {:.1e} apart, {} and {} steps, {} + {} rejected, {} iterations",
                method.name,
                far(&y, &right),
                by_band.counts.accepted,
                c.accepted,
                by_band.counts.rejected,
                c.rejected,
                c.iterations
            );
            assert_eq!(how.as_deref(), Some("GMRES with products, no preconditioner"));
            assert!(far(&y, &right) < 10.0 * tol, "{} {tol:e}: {:e}", method.name, far(&y, &right));
            assert!(c.accepted <= by_band.counts.accepted + by_band.counts.accepted / 10 + 3);
            assert!(c.jacobians == 0 && c.factorizations == 0 && c.iterations > 0 && c.jvps >= c.iterations);
        }
    }
}

#[test]
fn preconditioners_save_iterations() {
    let pr = Brusselator::new(1000);
    let y0 = pr.start();
    let (right, by_band, _) = run(&mut pr.field(), &RODAS5P, 1e-4, 2.0, &y0, &P);
    // The diffusion, a band; the field itself by its sparse Jacobian; the user's: the diffusion's diagonal.
    let mut by_diffusion = pr.field().by_products().precondition_by(diffusion_of(&pr)).unwrap();
    let (y, r, how) = run(&mut by_diffusion, &RODAS5P, 1e-4, 2.0, &y0, &P);
    assert_eq!(how.as_deref(), Some("GMRES with products, LU of a matrix given"));
    assert!(far(&y, &right) < 1e-3, "{:e}", far(&y, &right));
    let attempts = r.counts.accepted + r.counts.rejected;
    println!(
        "{} iterations in {attempts} attempts, {} by band",
        r.counts.iterations, by_band.counts.accepted
    );
    assert!(r.counts.iterations < 8 * 6 * attempts, "{} in {attempts}", r.counts.iterations);
    assert!(attempts < 2 * (by_band.counts.accepted + by_band.counts.rejected));
    // The automatic choice goes over to it.
    let mut auto = Auto::new(&TSIT54, &RODAS5P, 1000, 1, &Options::tolerances(1e-4, 1e-4)).unwrap();
    let r = auto.run(&mut by_diffusion, (0.0, 2.0), &y0, &P, &mut ()).unwrap();
    println!("auto: {:?}, {:?}", r.counts, auto.switches());
    assert!(r.ok() && auto.switches().first().is_some_and(|s| s.to_stiff && s.t < 0.5));
    assert!(far(auto.y(), &right) < 1e-3, "{:e}", far(auto.y(), &right));
    let diagonal = 2.0 * P[2] * 501f64.powi(2);
    let mut by_hand =
        pr.field().by_products().precondition(move |_: At<'_, f64>, h_gamma: f64, _, v: &mut [f64]| {
            v.iter_mut().for_each(|v| *v /= 1.0 / h_gamma + diagonal);
        });
    let (y, _, how) = run(&mut by_hand, &RODAS4, 1e-4, 0.05, &y0, &P);
    assert_eq!(how.as_deref(), Some("GMRES with products, the map's preconditioner"));
    let (right, _, _) = run(&mut pr.field(), &RODAS4, 1e-4, 0.05, &y0, &P);
    assert!(far(&y, &right) < 1e-3, "{:e}", far(&y, &right));
}

#[test]
fn a_sparse_matrix_given_is_factored_incompletely() {
    let ac = AllenCahn { m: 32 };
    let y0 = ac.start();
    let (right, direct, _) = run(&mut ac.field(), &RODAS4, 1e-5, 0.5, &y0, &[]);
    let (plain, without, _) = run(&mut ac.field().by_products(), &RODAS4, 1e-5, 0.5, &y0, &[]);
    let mut field = ac.field().by_products().precondition_by(ac.field()).unwrap();
    let (y, with, how) = run(&mut field, &RODAS4, 1e-5, 0.5, &y0, &[]);
    assert_eq!(how.as_deref(), Some("GMRES with products, ILU(0) of a matrix given"));
    assert!(far(&y, &right) < 1e-4 && far(&plain, &right) < 1e-4);
    println!("{} iterations, {} with ILU(0)", without.counts.iterations, with.counts.iterations);
    assert!(with.counts.iterations < without.counts.iterations);
    let steps = [direct, without, with].map(|r| r.counts.accepted);
    assert!(steps[1].abs_diff(steps[0]) <= 2 && steps[2].abs_diff(steps[0]) <= 2, "{steps:?}");
}

/// Every method, and the automatic choice, on 4096 unknowns.
#[test]
fn allen_and_cahn_on_64_by_64_cells() {
    let ac = AllenCahn { m: 64 };
    let right = |y: &[f64], who: &str| {
        let mean = y.iter().sum::<f64>() / y.len() as f64;
        assert!((mean - 0.9999967971).abs() < 1e-5, "{who}: mean {mean}");
        assert!(y.iter().all(|u| (0.99998..1.00001).contains(u)), "{who}");
    };
    for method in RosenbrockTableau::all() {
        let (y, r, _) = run(&mut ac.field().by_products(), method, 1e-4, 2.0, &ac.start(), &[]);
        println!("{}: {:?}", method.name, r.counts);
        right(&y, method.name);
    }
    let mut auto = Auto::new(&TSIT54, &RODAS5P, 64 * 64, 1, &Options::tolerances(1e-4, 1e-4)).unwrap();
    let r = auto.run(&mut ac.field().by_products(), (0.0, 2.0), &ac.start(), &[], &mut ()).unwrap();
    println!("auto: {:?}, {:?}", r.counts, auto.switches());
    // At its stability limit the explicit method is right to the tolerance and no more.
    let mean = auto.y().iter().sum::<f64>() / 4096.0;
    assert!(r.ok() && (mean - 0.9999967971).abs() < 1e-5, "auto: mean {mean}");
    assert!(auto.y().iter().all(|u| (u - 1.0).abs() < 2e-4));
}

/// A loss of the final and a saved state.
fn gradient<F: Map<f64>>(
    field: &mut F,
    y0: &[f64],
    tol: f64,
    memory: Memory,
) -> (Vec<f64>, Vec<f64>, OdeCounts) {
    let n = y0.len();
    let w: Vec<f64> = (0..n).map(|m| (0.9 * m as f64 + 0.3).cos()).collect();
    let mut s = StiffAdjoint::new(&RODAS4, n, 1, &Options::tolerances(tol, tol), memory).unwrap();
    s.forward(field, (0.0, 0.5), y0, &P, &mut ()).unwrap();
    let (mut yb, mut pb) = (vec![0.0; n], vec![0.0; 3]);
    let bars = Bars { y1: &w, times: &[0.2], saved: &w, ..Bars::default() };
    let counts = s.reverse(field, &P, &bars, &mut yb, &mut pb).unwrap();
    (yb, pb, counts)
}

#[test]
fn gradients_by_products() {
    let pr = Brusselator::new(60);
    let y0 = pr.start();
    let (yb, pb, counts) = gradient(&mut pr.field().by_products(), &y0, 1e-8, Memory::States);
    assert!(counts.jacobians == 0 && counts.factorizations == 0 && counts.iterations > 0, "{counts:?}");
    let again = gradient(&mut pr.field().by_products(), &y0, 1e-8, Memory::Checkpoints(3));
    assert!(again.0 == yb && again.1 == pb);
    // Those by matrices.
    let (yr, pr_, _) = gradient(&mut pr.field(), &y0, 1e-8, Memory::States);
    assert!(far(&yb, &yr) < 1e-7 * largest(&yr), "{:e}", far(&yb, &yr) / largest(&yr));
    assert!(far(&pb, &pr_) < 1e-7 * largest(&pr_), "{:e}", far(&pb, &pr_) / largest(&pr_));
    // With a preconditioner, transposed too.
    let mut field = pr.field().by_products().precondition_by(diffusion_of(&pr)).unwrap();
    let (yq, pq, fewer) = gradient(&mut field, &y0, 1e-8, Memory::States);
    assert!(far(&yq, &yr) < 1e-7 * largest(&yr) && far(&pq, &pr_) < 1e-7 * largest(&pr_));
    assert!(fewer.iterations < counts.iterations, "{} {}", fewer.iterations, counts.iterations);
    // Differences of the frozen steps.
    let w: Vec<f64> = (0..60).map(|m| (0.9 * m as f64 + 0.3).cos()).collect();
    let mut field = pr.field().by_products();
    let mut s = StiffAdjoint::new(&RODAS4, 60, 1, &Options::tolerances(1e-8, 1e-8), Memory::States).unwrap();
    s.forward(&mut field, (0.0, 0.5), &y0, &P, &mut ()).unwrap();
    let mut loss = |y: &[f64], p: &[f64]| {
        let r = s.replay(&mut field, p, y, &[0.2]).unwrap();
        let dot = |y: &[f64]| y.iter().zip(&w).map(|(a, b)| a * b).sum::<f64>();
        dot(&r.y1) + dot(&r.saved)
    };
    let v: Vec<f64> = (0..60).map(|m| (0.05 * m as f64).sin()).collect();
    let d = 1e-3;
    let mut at = |d: f64| loss(&y0.iter().zip(&v).map(|(y, v)| y + d * v).collect::<Vec<_>>(), &P);
    let along = (8.0 * (at(d) - at(-d)) - (at(2.0 * d) - at(-2.0 * d))) / (12.0 * d);
    let ours: f64 = yb.iter().zip(&v).map(|(a, b)| a * b).sum();
    assert!((along - ours).abs() < 1e-6 * (1.0 + ours.abs()), "{along} {ours}");
    for k in 0..3 {
        let scale = P[k].min(1.0);
        let mut at = |d: f64| {
            let mut p = P;
            p[k] += d * scale;
            loss(&y0, &p)
        };
        let moved = (8.0 * (at(d) - at(-d)) - (at(2.0 * d) - at(-2.0 * d))) / (12.0 * d);
        assert!(
            (moved - pb[k] * scale).abs() < 1e-6 * (1.0 + moved.abs()),
            "p{k}: {moved} {}",
            pb[k] * scale
        );
    }
    // The automatic choice has its gradient, too.
    let o = Options::tolerances(1e-8, 1e-8);
    let mut a = Adjoint::new((&TSIT54, &RODAS4), 60, 1, &o, Memory::States).unwrap();
    a.forward(&mut field, (0.0, 0.5), &y0, &P, &mut ()).unwrap();
    let (mut ya, mut pa) = (vec![0.0; 60], vec![0.0; 3]);
    a.reverse(
        &mut field,
        &P,
        &Bars { y1: &w, times: &[0.2], saved: &w, ..Bars::default() },
        &mut ya,
        &mut pa,
    )
    .unwrap();
    assert!(far(&ya, &yr) < 1e-5 * largest(&yr), "{:e}", far(&ya, &yr) / largest(&yr));
}

/// Iterations that do not converge refuse the step, which shrinks until they do.
#[test]
fn iterations_that_fail_shrink_the_step() {
    // Rotations of a hundred speeds: GMRES has nothing to hold on to where h gamma times them is large.
    let n = 2000;
    let f = move |_: f64, y: &[f64], _: &[f64], dy: &mut [f64]| {
        for k in 0..n / 2 {
            let speed = 50.0 * k as f64;
            (dy[2 * k], dy[2 * k + 1]) = (-speed * y[2 * k + 1], speed * y[2 * k]);
        }
    };
    let jvp = move |_: At<'_, f64>, (_, v, _): (f64, &[f64], &[f64]), dy: &mut [f64]| f(0.0, v, &[], dy);
    let mut field = FnMap::new(n, 0, f).with_jvp(jvp).autonomous().by_products();
    let y0 = vec![1e-3; n];
    let o = Options { first_step: Some(1.0), max_steps: 40, ..Options::tolerances(1e-1, 1e-1) };
    let mut it = StiffIntegrator::new(&RODAS3P, n, 1, &o).unwrap();
    let r = it.run(&mut field, (0.0, 1.0), &y0, &[], &mut ()).unwrap();
    assert!(r.counts.not_finite > 0 && r.counts.rejected >= r.counts.not_finite, "{:?}", r.counts);
    assert!(r.h < 1.0 && it.y().iter().all(|y| y.is_finite()));
    // A product that is not finite is refused, too, and so is a preconditioner that is singular.
    let bad = move |_: At<'_, f64>, _: (f64, &[f64], &[f64]), dy: &mut [f64]| dy.fill(f64::NAN);
    let mut field = FnMap::new(n, 0, f).with_jvp(bad).autonomous().by_products();
    let r = it.run(&mut field, (0.0, 1.0), &y0, &[], &mut ()).unwrap();
    assert!(!r.ok() && r.counts.accepted == 0 && r.counts.not_finite > 0);
    let nan = |_: At<'_, f64>, _: f64, _: bool, v: &mut [f64]| v.fill(f64::NAN);
    let mut field = FnMap::new(n, 0, f).with_jvp(jvp).autonomous().by_products().precondition(nan);
    let r = it.run(&mut field, (0.0, 1.0), &y0, &[], &mut ()).unwrap();
    assert!(!r.ok() && r.counts.accepted == 0);
}

#[test]
fn what_is_missing_is_said() {
    let f = |_: f64, y: &[f64], _: &[f64], dy: &mut [f64]| dy.copy_from_slice(y);
    let e = |r: Result<Solution<f64>, OdeError>| r.unwrap_err().to_string();
    for n in [3, 50] {
        let mut bare = FnMap::new(n, 0, f).by_products();
        let said = e(solve(&mut bare, &RODAS4, &Options::default(), (0.0, 1.0), &vec![1.0; n], &[], &[]));
        assert!(said.contains("needs Jacobian-vector products") && said.contains("with_jvp"), "{said}");
    }
    let other = Differences::of(FnMap::new(4, 0, f));
    let said = FnMap::new(50, 0, f).by_products().precondition_by(other).err().unwrap().to_string();
    assert!(said.contains("preconditioner") && said.contains("50"), "{said}");
    let said =
        FnMap::new(50, 0, f).by_products().precondition_by(FnMap::new(50, 0, f)).err().unwrap().to_string();
    assert!(said.contains("the preconditioner needs a Jacobian"), "{said}");
    // The adjoint needs the transposed ones.
    let jvp = |_: At<'_, f64>, (_, v, _): (f64, &[f64], &[f64]), dy: &mut [f64]| dy.copy_from_slice(v);
    let mut field = FnMap::new(50, 0, f).with_jvp(jvp).autonomous().by_products();
    let mut s = StiffAdjoint::new(&RODAS4, 50, 1, &Options::default(), Memory::States).unwrap();
    s.forward(&mut field, (0.0, 0.1), &[1.0; 50], &[], &mut ()).unwrap();
    let e = s.reverse(&mut field, &[], &Bars { y1: &[1.0; 50], ..Bars::default() }, &mut [0.0; 50], &mut []);
    assert!(e.unwrap_err().to_string().contains("with_vjp"));
}

#[test]
fn few_unknowns_have_a_jacobian_all_the_same_and_batches_are_one_system() {
    let pr = Brusselator::new(20);
    let (y, r, how) = run(&mut pr.field().by_products(), &RODAS4, 1e-6, 1.0, &pr.start(), &P);
    let (right, _, _) = run(&mut pr.field(), &RODAS4, 1e-6, 1.0, &pr.start(), &P);
    assert!(how.is_none() && r.counts.jvps == 20 * r.counts.jacobians && far(&y, &right) < 1e-12);
    let pr = Brusselator::new(40);
    let both = [pr.start(), pr.start().iter().map(|y| 0.8 * y + 0.1).collect()].concat();
    let o = Options::fixed(0.02);
    let o = Options { rtol: Tolerance::One(1e-9), atol: Tolerance::One(1e-9), ..o };
    let mut it = StiffIntegrator::new(&RODAS4, 40, 2, &o).unwrap();
    it.run(&mut pr.field().by_products(), (0.0, 1.0), &both, &P, &mut ()).unwrap();
    assert_eq!(it.jacobian(), Some(Source::Products));
    let Held::Products(Preconditioning::None) = it.structure().unwrap().structure else { panic!() };
    let y = it.y().to_vec();
    it.run(&mut pr.field(), (0.0, 1.0), &both, &P, &mut ()).unwrap();
    assert!(far(it.y(), &y) < 1e-8, "{:e}", far(it.y(), &y));
    // And back: the same bits.
    it.run(&mut pr.field().by_products(), (0.0, 1.0), &both, &P, &mut ()).unwrap();
    assert_eq!(it.y(), y);
    assert!(!pr.field().by_products().offers().has(Offers::JACOBIAN));
}

/// Orders by fixed steps, with solves that are exact to rounding beside the error.
#[test]
fn orders_are_those_by_matrices() {
    let pr = Brusselator::new(40);
    let o =
        |h: f64| Options { rtol: Tolerance::One(1e-12), atol: Tolerance::One(1e-12), ..Options::fixed(h) };
    for (method, q) in [(&RODAS3P, 3.0), (&RODAS4, 4.0)] {
        let end = |h: f64| {
            let mut field = pr.field().by_products();
            solve(&mut field, method, &o(h), (0.0, 0.4), &pr.start(), &P, &[]).unwrap().y1
        };
        let ends: Vec<Vec<f64>> = [8.0, 16.0, 32.0].iter().map(|k| end(0.4 / 8.0 / k)).collect();
        let order = (far(&ends[0], &ends[1]) / far(&ends[1], &ends[2])).log2();
        assert!((order - q).abs() < 0.25, "{}: {order}", method.name);
    }
}

#[test]
fn steps_by_products_do_not_allocate() {
    let pr = Brusselator::new(100);
    let y0 = pr.start();
    let mut plain = pr.field().by_products();
    let mut banded = pr.field().by_products().precondition_by(diffusion_of(&pr)).unwrap();
    let mut sparse = pr.field().by_products().precondition_by(pr.field()).unwrap();
    let fields: [&mut dyn Map<f64>; 3] = [&mut plain, &mut banded, &mut sparse];
    for mut field in fields {
        let mut it = StiffIntegrator::new(&RODAS5P, 100, 1, &Options::tolerances(1e-5, 1e-5)).unwrap();
        let mut run = || {
            it.run(&mut field, (0.0, 1.0), &y0, &P, &mut ()).unwrap();
        };
        run();
        let before = allocations();
        run();
        assert_eq!(allocations(), before);
    }
    let (w, mut yb, mut pb) = (vec![1.0; 100], vec![0.0; 100], vec![0.0; 3]);
    let mut s =
        StiffAdjoint::new(&RODAS5P, 100, 1, &Options::tolerances(1e-5, 1e-5), Memory::States).unwrap();
    let mut pass = || {
        s.forward(&mut plain, (0.0, 1.0), &y0, &P, &mut ()).unwrap();
        s.reverse(&mut plain, &P, &Bars { y1: &w, ..Bars::default() }, &mut yb, &mut pb).unwrap();
    };
    pass();
    let before = allocations();
    pass();
    assert_eq!(allocations(), before);
}
