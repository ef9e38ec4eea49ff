//! Error estimates where the solution is not smooth: a jump of the field anywhere in a step is seen.

use costate::diff::{FnMap, Map};
use costate::ode::{Join, Options, RosenbrockTableau, Tableau, solve};

/// y' = -y + height \[t > tau\], y(0) = 1, to 1: the worst error over many tau, in units of rtol = atol.
fn worst(tab: &'static Tableau, tol: f64, height: f64, taus: impl Iterator<Item = f64>) -> f64 {
    let options = Options::tolerances(tol, tol);
    let mut worst = 0.0f64;
    for tau in taus {
        let mut field = FnMap::new(1, 0, |t: f64, y: &[f64], _: &[f64], dy: &mut [f64]| {
            dy[0] = -y[0] + if t > tau { height } else { 0.0 };
        });
        let s = solve(&mut field, tab, &options, (0.0, 1.0), &[1.0], &[], &[]).unwrap();
        assert!(s.report.ok(), "{} {tau}: {}", tab.name, s.report.message());
        let exact = (-1.0f64).exp() + height * (1.0 - (tau - 1.0).exp());
        worst = worst.max((s.y1[0] - exact).abs() / tol);
    }
    worst
}

/// The smallest share of the error of a step with a jump, over all its places, that the estimate sees.
fn share(tab: &Tableau) -> f64 {
    let after = |w: &dyn Fn(usize) -> f64, tau: f64| -> f64 {
        (0..tab.stages).filter(|&j| tab.c[j] > tau).map(w).sum()
    };
    let of = |tau: f64| {
        let error = (1.0 - tau - after(&|j| tab.b(j), tau)).abs();
        let seen = |e: &[f64]| after(&|j| e.get(j).copied().unwrap_or(0.0), tau).abs();
        match (tab.e, tab.join) {
            ([e5, e3], Join::Quotient) => seen(e5).powi(2) / seen(e5).hypot(0.1 * seen(e3)) / error,
            (rows, _) => rows.iter().map(|e| seen(e)).fold(0.0, f64::max) / error,
        }
    };
    (0..1000).map(|i| of((i as f64 + 0.5) / 1000.0)).fold(f64::INFINITY, f64::min)
}

/// With the first estimate alone Bogacki-Shampine 5(4) was 3e4 to 3e7 tolerances off. Of the methods of order 8 only the tolerance at which a step is a small
/// part of the span is asked for: where one is half of it the estimate crosses zero at some tau by accident (4e4 tolerances off at worst).
#[test]
fn a_jump_anywhere_costs_no_more_than_the_estimates_share() {
    for tab in Tableau::all() {
        for tol in if tab.order == 8 { &[1e-9, 1e-10][..] } else { &[1e-5, 1e-6, 1e-9] } {
            for height in [20.0, -3.0] {
                let (w, most) =
                    (worst(tab, *tol, height, (0..200).map(|i| 0.3001 + 0.002 * i as f64)), 2.0 / share(tab));
                println!("{} {tol:e} {height}: {w:.1} of {most:.1}", tab.name);
                assert!(w < most, "{} {tol:e} {height}: {w} tolerances off, {most} expected", tab.name);
            }
        }
    }
}

/// phi(t) = 1.2 + cos t and its derivative.
fn phi(t: f64) -> (f64, f64) {
    (1.2 + t.cos(), -t.sin())
}

/// A function and its derivative.
type Pair = (fn(f64) -> f64, fn(f64) -> f64);

/// y' = -lambda (g(y) - g(phi)) + phi', y(0) = y0, to 3, where y = phi to rounding or to what is left of y0: the error in tolerances.
fn slow_solution(
    tab: &'static RosenbrockTableau,
    lambda: f64,
    (g, dg): Pair,
    y0: f64,
    options: &Options,
    tol: f64,
) -> f64 {
    let f = FnMap::new(1, 0, move |t: f64, y: &[f64], _: &[f64], dy: &mut [f64]| {
        dy[0] = -lambda * (g(y[0]) - g(phi(t).0)) + phi(t).1;
    });
    let mut f = f
        .with_jacobian(move |_, y: &[f64], _: &[f64], j: &mut [f64]| j[0] = -lambda * dg(y[0]))
        .with_time_derivative(move |t: f64, _: &[f64], _: &[f64], dt: &mut [f64]| {
            dt[0] = lambda * dg(phi(t).0) * phi(t).1 - t.cos();
        });
    let s = solve(&mut f, tab, options, (0.0, 3.0), &[y0], &[], &[]).unwrap();
    assert!(s.report.ok(), "{} {lambda:e}: {}", tab.name, s.report.message());
    (s.y1[0] - phi(3.0).0).abs() / tol
}

/// Stiff limits of linear and nonlinear fields, from the slow solution and from elsewhere, with first steps of every size. The embedded estimate of rodas3p falls with 1 / (h lambda)
/// where the error of the nonlinear field does not.
#[test]
fn rosenbrock_estimates_do_not_vanish_in_the_stiff_limit() {
    let fields: [(&str, Pair); 3] = [
        ("linear", (|y| y, |_| 1.0)),
        ("cubic", (|y| y * y * y, |y| 3.0 * y * y)),
        ("exponential", (|y| y.exp(), |y| y.exp())),
    ];
    for tab in RosenbrockTableau::all() {
        for (name, pair) in fields {
            for lambda in [1.0, 1e2, 1e4, 1e6, 1e9] {
                for tol in [1e-4, 1e-6] {
                    for first_step in [None, Some(1e-3), Some(0.1), Some(3.0)] {
                        for y0 in [phi(0.0).0, 3.0] {
                            // Of slow decay the start is still seen at the end.
                            if lambda == 1.0 && y0 != phi(0.0).0 {
                                continue;
                            }
                            let options = Options { first_step, ..Options::tolerances(tol, tol) };
                            let off = slow_solution(tab, lambda, pair, y0, &options, tol);
                            assert!(
                                off < 20.0,
                                "{} {name} {lambda:e} {tol:e} {first_step:?} from {y0}: {off} tolerances off",
                                tab.name
                            );
                        }
                    }
                }
            }
        }
    }
}
