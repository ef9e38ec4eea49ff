//! Maps and their combinations: every product against differences and transposition, wrong derivatives named, Jacobians of every structure.

#[path = "common/adjoint.rs"]
mod adjoint;
#[path = "common/alloc.rs"]
mod alloc;

use adjoint::{dot, noise};
use alloc::allocations;
use costate::adjoint::{Adjoint, Bars, Memory, StiffAdjoint};
use costate::diff::*;
use costate::nn::{Activation, Elementwise, Gru, Mlp, Parallel, Polynomial, Power};
use costate::ode::{Integrator, Options, RODAS5P, SecondOrder, TSIT54, solve};

type Boxed = Box<dyn Map<f64>>;

/// y_i = p_i x_i x_(i+1) + sin t, with everything by hand but the tangent.
fn products(n: usize) -> impl Map<f64> {
    FnMap::new(n, n, move |t: f64, x: &[f64], p: &[f64], y: &mut [f64]| {
        (0..n).for_each(|i| y[i] = p[i] * x[i] * x[(i + 1) % n] + t.sin());
    })
    .with_vjp(move |_t: f64, x: &[f64], p: &[f64], w: &[f64], xb: &mut [f64], pb: &mut [f64]| {
        for i in 0..n {
            let j = (i + 1) % n;
            xb[i] += w[i] * p[i] * x[j];
            xb[j] += w[i] * p[i] * x[i];
            pb[i] += w[i] * x[i] * x[j];
        }
    })
    .with_jvp(move |at: At<'_, f64>, (t, x, p): (f64, &[f64], &[f64]), y: &mut [f64]| {
        for i in 0..n {
            let j = (i + 1) % n;
            let of_x = at.p[i] * (x[i] * at.x[j] + at.x[i] * x[j]);
            y[i] = of_x + p[i] * at.x[i] * at.x[j] + t * at.t.cos();
        }
    })
    .with_time_derivative(|t: f64, _: &[f64], _: &[f64], dt: &mut [f64]| dt.fill(t.cos()))
}

/// Components one by one, with tangents and without time.
fn curved(n: usize) -> impl Map<f64> {
    Polynomial { dim: n, degree: 3 }.then(Elementwise { dim: n, activation: Activation::Sigmoid }).unwrap()
}

fn power(n: usize) -> Power {
    Power { dim: n, exponent: 3 }
}

fn network(n: usize) -> Mlp<f64> {
    Mlp::dense(&[n, 5, n], Activation::Tanh, Activation::Identity, true).unwrap()
}

/// Every combination, of maps with tangents, of closures without, and of networks with pullbacks only.
fn all() -> Vec<(&'static str, Boxed)> {
    let tanh = Elementwise { dim: 3, activation: Activation::Tanh };
    let gelu = Activation::Gelu;
    vec![
        ("power", Box::new(power(3))),
        ("constant", Box::new(Power { dim: 3, exponent: 0 })),
        ("polynomial", Box::new(Polynomial { dim: 3, degree: 4 })),
        ("elementwise", Box::new(tanh)),
        ("elementwise gelu", Box::new(Elementwise { dim: 3, activation: gelu })),
        ("network with gelu", Box::new(Mlp::dense(&[3, 5, 4, 3], gelu, gelu, true).unwrap())),
        ("fixed scale", Box::new(Scale::fixed(&[-0.5, 2.0, 1.5]))),
        ("learned scale", Box::new(Scale::learned(3))),
        ("closure", Box::new(products(3))),
        ("network", Box::new(network(3))),
        ("gru", Box::new(Gru::new(2, 3).unwrap())),
        ("sum", Box::new(curved(3).plus(Scale::learned(3)).unwrap())),
        ("sum of closures", Box::new(products(3).plus(products(3)).unwrap())),
        ("shared sum", Box::new(Scale::learned(3).plus_shared(Scale::learned(3)).unwrap())),
        ("shared sum with curvature", Box::new(curved(3).plus_shared(curved(3).scaled(0.3)).unwrap())),
        ("sum with a network", Box::new(Scale::fixed(&[-1.0, -2.0, -3.0]).plus(network(3)).unwrap())),
        ("product", Box::new(curved(3).times(power(3)).unwrap())),
        ("product of closures", Box::new(products(3).times(products(3)).unwrap())),
        ("chain", Box::new(curved(3).then(power(3)).unwrap())),
        ("longer chain", Box::new(curved(3).then(curved(3)).unwrap().then(Scale::learned(3)).unwrap())),
        ("chain with a network", Box::new(power(3).then(network(3)).unwrap())),
        ("stack", Box::new(curved(3).stack(power(3)).unwrap())),
        ("stack with a closure", Box::new(products(3).stack(network(3)).unwrap())),
        ("scaled", Box::new(curved(3).scaled(-1.7))),
        ("scaled closure", Box::new(products(3).scaled(0.4))),
        ("on", Box::new(curved(3).on(&[3, 0, 2], &[1, 3, 0], 5).unwrap())),
        ("on, read twice", Box::new(products(3).on(&[1, 1, 2], &[2, 0, 3], 4).unwrap())),
        ("one equation by a network", Box::new(known().plus(learned()).unwrap())),
        ("pieces", Box::new(Parallel::new(network(3), 1))),
        ("second order", Box::new(SecondOrder::new(products(3)))),
        ("all of it", Box::new(deep())),
    ]
}

/// Sums, products, chains, selections and multiples in one, with tangents.
fn deep() -> impl Map<f64> {
    let inner = curved(2).times(Scale::learned(2)).unwrap().on(&[2, 0], &[0, 1], 3).unwrap();
    inner.plus(curved(3).scaled(0.5)).unwrap().then(curved(3).plus(power(3)).unwrap()).unwrap()
}

fn known() -> impl Map<f64> {
    FnMap::new(3, 1, |_t: f64, x: &[f64], p: &[f64], y: &mut [f64]| {
        (y[0], y[1], y[2]) = (x[1], -p[0] * x[0], x[0] * x[2]);
    })
    .with_vjp(|_t: f64, x: &[f64], p: &[f64], w: &[f64], xb: &mut [f64], pb: &mut [f64]| {
        xb[1] += w[0];
        xb[0] -= p[0] * w[1];
        pb[0] -= x[0] * w[1];
        xb[0] += w[2] * x[2];
        xb[2] += w[2] * x[0];
    })
}

/// A network that reads two components and drives one.
fn learned() -> impl Map<f64> {
    Mlp::dense(&[2, 4, 1], Activation::Tanh, Activation::Identity, false)
        .unwrap()
        .on(&[0, 2], &[1], 3)
        .unwrap()
}

#[test]
fn every_product_is_that_of_differences() {
    for (name, mut map) in all() {
        for batch in [1, 3] {
            let (x, p) = (noise(map.inputs() * batch, 1), noise(map.n_params(), 2));
            let report = check_map(&mut map, At::new(0.37, &x, &p), &CheckOptions::default());
            assert!(report.ok(), "{name} x {batch}: {report}");
            let offers = map.offers();
            assert!(report.checked.contains(&"vjp"), "{name}");
            for (flag, what) in [
                (Offers::JVP, "jvp"),
                (Offers::JACOBIAN, "Jacobian"),
                (Offers::TANGENT, "tangent of the vjp"),
            ] {
                assert_eq!(offers.has(flag), report.checked.contains(&what), "{name} {what}");
            }
        }
    }
    // What is combined of maps with all products has them.
    for (name, map) in all() {
        let whole =
            ["sum", "product", "chain", "longer chain", "stack", "scaled", "on", "all of it", "shared sum"];
        if whole.contains(&name) {
            assert!(map.offers().has(Offers::VJP | Offers::JVP | Offers::TANGENT), "{name}");
        }
    }
}

#[test]
fn products_are_transposes_of_each_other() {
    for (name, mut map) in all().into_iter().filter(|(_, m)| m.offers().has(Offers::JVP)) {
        let batch = 4;
        let Size { inputs, outputs, params } = map.size();
        let (x, p) = (noise(inputs * batch, 1), noise(params, 2));
        let at = At::new(0.37, &x, &p);
        let (mut y, mut keep) = (vec![0.0; outputs * batch], vec![0.0; map.keep_len(batch)]);
        map.forward(at, &mut y, &mut keep);
        let of = Kept { y: &y, keep: &keep };
        let (vx, vp, w) = (noise(x.len(), 3), noise(params, 4), noise(y.len(), 5));
        let (mut y_dot, mut keep_dot) = (vec![0.0; y.len()], vec![0.0; keep.len()]);
        map.jvp(at, of, Dots { count: 1, t: &[], x: &vx, p: &vp }, &mut y_dot, &mut keep_dot);
        let (mut xb, mut pb) = (vec![0.0; x.len()], vec![0.0; params]);
        map.vjp(at, of, &w, BarsMut::new(&mut xb, &mut pb));
        let (a, b) = (dot(&y_dot, &w), dot(&xb, &vx) + dot(&pb, &vp));
        let size = y_dot.iter().zip(&w).map(|(y, w)| (y * w).abs()).sum::<f64>();
        assert!((a - b).abs() < 1e-13 * size.max(1.0), "{name}: {a} {b}");
        // Second derivatives are symmetric: the tangent along u in the direction v is that along v in the direction u.
        if !map.offers().has(Offers::TANGENT) {
            continue;
        }
        let (ux, up) = (noise(x.len(), 6), noise(params, 7));
        let mut along = |ax: &[f64], ap: &[f64], bx: &[f64], bp: &[f64]| {
            let dots = Dots { count: 1, t: &[], x: ax, p: ap };
            map.jvp(at, of, dots, &mut y_dot, &mut keep_dot);
            let (mut xb, mut pb) = (vec![0.0; x.len()], vec![0.0; params]);
            let dot_of = Kept { y: &y_dot, keep: &keep_dot };
            map.vjp_tangent(at, of, dots, dot_of, &w, &[], BarsMut::new(&mut xb, &mut pb));
            dot(&xb, bx) + dot(&pb, bp)
        };
        let (a, b) = (along(&ux, &up, &vx, &vp), along(&vx, &vp, &ux, &up));
        assert!((a - b).abs() < 1e-12 * a.abs().max(1.0), "{name}: {a} {b}");
    }
}

#[test]
fn gradients_per_sample_sum_to_the_gradient() {
    for (name, mut map) in all() {
        let batch = 3;
        let Size { inputs, outputs, params } = map.size();
        let (x, p, w) = (noise(inputs * batch, 1), noise(params, 2), noise(outputs * batch, 3));
        let (mut y, mut keep) = (vec![0.0; w.len()], vec![0.0; map.keep_len(batch)]);
        let at = At::new(0.2, &x, &p);
        map.forward(at, &mut y, &mut keep);
        let of = Kept { y: &y, keep: &keep };
        let (mut xb, mut pb) = (vec![0.0; x.len()], vec![0.0; params]);
        map.vjp(at, of, &w, BarsMut::new(&mut xb, &mut pb));
        let (mut xs, mut ps) = (vec![0.0; x.len()], vec![0.0; params * batch]);
        map.vjp_each(at, of, &w, BarsMut::new(&mut xs, &mut ps));
        assert!(xb.iter().zip(&xs).all(|(a, b)| (a - b).abs() < 1e-13), "{name}");
        for (k, p) in pb.iter().enumerate() {
            let sum: f64 = ps.iter().skip(k).step_by(params).sum();
            assert!((sum - p).abs() < 1e-12, "{name} {k}: {sum} {p}");
        }
    }
}

#[test]
fn wrong_derivatives_are_named() {
    let f = || {
        FnMap::new(2, 1, |_t: f64, x: &[f64], p: &[f64], y: &mut [f64]| {
            (y[0], y[1]) = (p[0] * x[1], x[0] * x[0])
        })
    };
    let (x, p) = ([0.5, 1.5, -0.3, 0.2], [2.0]);
    let entries = |map: &mut dyn Map<f64>, x: &[f64]| {
        let report = check_map(map, At::new(0.0, x, &p), &CheckOptions::default());
        report.wrong.iter().map(|w| format!("{} {}", w.from, w.entry)).collect::<Vec<_>>()
    };
    // A forgotten factor, and a parameter's part that is missing.
    let mut map = f().with_vjp(|_t: f64, x: &[f64], p: &[f64], w: &[f64], xb: &mut [f64], _: &mut [f64]| {
        xb[1] += p[0] * w[0];
        xb[0] += x[0] * w[1];
    });
    assert_eq!(entries(&mut map, &x[..2]), ["vjp dy[0]/dp", "vjp dy[1]/dx[0]"]);
    assert_eq!(entries(&mut map, &x).len(), 4);
    assert!(entries(&mut map, &x).contains(&"vjp dy[1]/dx[0] in column 1".to_string()));
    // A vjp that overwrites instead of adding.
    let mut map = f().with_vjp(|_t: f64, x: &[f64], p: &[f64], w: &[f64], xb: &mut [f64], pb: &mut [f64]| {
        (xb[0], xb[1]) = (2.0 * x[0] * w[1], p[0] * w[0]);
        pb[0] += x[1] * w[0];
    });
    assert!(!entries(&mut map, &x[..2]).is_empty());
    // A pattern without an entry, a claim that time does not count, a time derivative.
    let diagonal = Structure::Banded { lower: 1, upper: 0 };
    let mut map = f().with_structured_jacobian(diagonal, |_t, x: &[f64], _p: &[f64], j: &mut [f64]| {
        j.copy_from_slice(&[0.0, 2.0 * x[0], 0.0, 0.0]);
    });
    assert_eq!(entries(&mut map, &x[..2]), ["Jacobian dy[0]/dx[1]"]);
    let mut map = FnMap::new(1, 1, |t: f64, _: &[f64], _: &[f64], y: &mut [f64]| y[0] = t * t).autonomous();
    let report = check_map(&mut map, At::new(0.7, &[1.0], &p), &CheckOptions::default());
    assert_eq!(report.wrong[0].entry, "dy[0]/dt");
    assert!(report.to_string().contains("differences say 1.4"), "{report}");
    // Parameters by the names of their specification.
    struct Off(Mlp<f64>);
    impl Map<f64> for Off {
        fn size(&self) -> Size {
            self.0.size()
        }
        fn offers(&self) -> Offers {
            Offers::VJP
        }
        fn spec(&self) -> Spec {
            self.0.spec()
        }
        fn value(&mut self, at: At<'_, f64>, y: &mut [f64]) {
            self.0.value(at, y);
        }
        fn keep_len(&self, batch: usize) -> usize {
            self.0.keep_len(batch)
        }
        fn forward(&mut self, at: At<'_, f64>, y: &mut [f64], keep: &mut [f64]) {
            self.0.forward(at, y, keep);
        }
        fn vjp(&mut self, at: At<'_, f64>, of: Kept<'_, f64>, w: &[f64], bars: BarsMut<'_, f64>) {
            bars.p[7] += 0.1 * w[0];
            self.0.vjp(at, of, w, bars);
        }
    }
    let net = Mlp::dense(&[2, 2, 2], Activation::Tanh, Activation::Identity, false).unwrap();
    let q = noise(net.n_params(), 3);
    let report = check_map(&mut Off(net), At::new(0.0, &x[..2], &q), &CheckOptions::default());
    assert_eq!(report.wrong.len(), 1);
    assert_eq!(report.wrong[0].entry, "dy[0]/d1.weight[1]");
}

#[test]
fn specifications_name_every_parameter() {
    for (name, map) in all() {
        let spec = map.spec();
        assert_eq!(spec.len(), map.n_params(), "{name}");
        let mut at = 0;
        for e in spec.entries() {
            assert_eq!((e.range.start, e.range.len()), (at, e.shape.iter().product()), "{name}");
            at = e.range.end;
        }
        let names: std::collections::BTreeSet<_> = spec.entries().iter().map(|e| &e.name).collect();
        assert_eq!(names.len(), spec.entries().len(), "{name}");
    }
    let spec = Spec::one("rate", &[2]).then(network(3).spec().under("field"));
    assert_eq!((spec.describe(1), spec.describe(2)), ("rate[1]".into(), "field.0.weight[0]".into()));
}

#[test]
fn jacobians_of_every_structure_are_the_dense_one() {
    // A chain: y_i = x_(i-1) - 2 x_i + x_(i+1)^2.
    let n = 6;
    let f = move || {
        FnMap::new(n, 0, move |t: f64, x: &[f64], _: &[f64], y: &mut [f64]| {
            for i in 0..n {
                let (a, b) = (if i > 0 { x[i - 1] } else { 0.0 }, if i + 1 < n { x[i + 1] } else { 0.0 });
                y[i] = a - 2.0 * x[i] + b * b + t * x[i];
            }
        })
    };
    let entry = move |t: f64, x: &[f64], i: usize, j: usize| match j as isize - i as isize {
        -1 => 1.0,
        0 => t - 2.0,
        1 => 2.0 * x[j],
        _ => 0.0,
    };
    let fill = move |structure: Structure| {
        let pattern = structure.clone();
        let jac = move |t: f64, x: &[f64], _: &[f64], jac: &mut [f64]| {
            pattern.entries(n, n, |i, j, k| jac[k] = entry(t, x, i, j));
        };
        f().with_structured_jacobian(structure, jac)
    };
    let (mut col_ptr, mut row_idx) = (vec![0], vec![]);
    for j in 0..n {
        row_idx.extend(j.saturating_sub(1)..n.min(j + 2));
        col_ptr.push(row_idx.len());
    }
    let batch = 2;
    let (x, t) = (noise(n * batch, 1), 0.3);
    let at = At::new(t, &x, &[]);
    let mut y = vec![0.0; n * batch];
    f().value(at, &mut y);
    let mut lin = Linearizer::default();
    let mut dense = |map: &mut dyn Map<f64>, tol: f64| {
        let (mut jac, mut dt) = (vec![f64::NAN; n * n * batch], vec![f64::NAN; n * batch]);
        let work = lin.linearize(map, at, 1e-3, &y, &mut jac, &mut dt);
        for (l, found) in jac.iter().enumerate() {
            let (c, j, i) = (l / (n * n), l / n % n, l % n);
            let want = entry(t, &x[c * n..], i, j);
            assert!((found - want).abs() <= tol, "{i} {j}: {found} {want}");
        }
        // df/dt = x, by one difference.
        assert!(dt.iter().zip(&x).all(|(d, x)| (d - x).abs() < 1e-4));
        work
    };
    let banded = Structure::Banded { lower: 1, upper: 1 };
    let sparse = Structure::Sparse { col_ptr, row_idx };
    for structure in [Structure::Dense, banded, sparse] {
        let mut map = fill(structure);
        let report = check_map(&mut map, at, &CheckOptions::default());
        assert!(report.ok(), "{report}");
        assert_eq!(dense(&mut map, 0.0), Work { values: 1, ..Work::default() });
    }
    assert_eq!(dense(&mut Differences::of(f()), 1e-6).values, n as u64 + 1);
    let pull = move |t: f64, x: &[f64], _: &[f64], w: &[f64], xb: &mut [f64], _: &mut [f64]| {
        (0..n * n).for_each(|k| xb[k / n] += w[k % n] * entry(t, x, k % n, k / n));
    };
    assert_eq!(dense(&mut f().with_vjp(pull), 0.0), Work { vjps: n as u64, values: 1, jvps: 0 });
    let push = move |at: At<'_, f64>, (t, x, _): (f64, &[f64], &[f64]), y: &mut [f64]| {
        for (i, y) in y.iter_mut().enumerate() {
            *y = t * at.x[i] + (0..n).map(|j| entry(at.t, at.x, i, j) * x[j]).sum::<f64>();
        }
    };
    assert_eq!(dense(&mut f().with_jvp(push), 0.0), Work { jvps: n as u64 + 1, ..Work::default() });
}

#[test]
fn what_is_missing_is_said_before_the_first_step() {
    let o = Options::default();
    let mut plain = FnMap::new(1, 0, |_t: f64, y: &[f64], _: &[f64], dy: &mut [f64]| dy[0] = -y[0]);
    let e = solve(&mut plain, &RODAS5P, &o, (0.0, 1.0), &[1.0], &[], &[]).unwrap_err().to_string();
    assert!(e.contains("rodas5p needs a Jacobian") && e.contains("Differences::of"), "{e}");
    let mut a = Adjoint::new(&TSIT54, 1, 1, &o, Memory::States).unwrap();
    a.forward(&mut plain, (0.0, 1.0), &[1.0], &[], &mut ()).unwrap();
    let e = a.reverse(&mut plain, &[], &Bars::default(), &mut [0.0], &mut []).unwrap_err().to_string();
    assert!(e.contains("with_vjp"), "{e}");
    let mut differences = Differences::of(plain);
    let mut a = StiffAdjoint::new(&RODAS5P, 1, 1, &o, Memory::States).unwrap();
    a.forward(&mut differences, (0.0, 1.0), &[1.0], &[], &mut ()).unwrap();
    let e = a.reverse(&mut differences, &[], &Bars::default(), &mut [0.0], &mut []).unwrap_err().to_string();
    assert!(e.contains("with_vjp"), "{e}");
    let sizes = [
        Map::<f64>::plus(power(2), power(3)).map(|_| ()).unwrap_err().to_string(),
        power(2).then(Scale::<f64>::learned(3)).map(|_| ()).unwrap_err().to_string(),
        Map::<f64>::on(power(2), &[0, 1], &[0, 4], 3).map(|_| ()).unwrap_err().to_string(),
        Map::<f64>::on(power(2), &[0, 1], &[1, 1], 3).map(|_| ()).unwrap_err().to_string(),
        Scale::<f64>::learned(2).plus_shared(power(2)).map(|_| ()).unwrap_err().to_string(),
    ];
    let said = [
        "has length 3, expected 2",
        "cannot feed",
        "component 4 is none of 3",
        "written twice",
        "has length 0, expected 2",
    ];
    for (e, s) in sizes.iter().zip(said) {
        assert!(e.contains(s), "{e}");
    }
}

#[test]
fn a_known_part_beside_a_learned_one_is_integrated_and_differentiated() {
    // The gradient of the end's sum, against differences of the whole solve with frozen steps.
    let mut field = Scale::fixed(&[-1.0, -0.5, -2.0]).plus(network(3)).unwrap();
    let (y0, p) = (noise(6, 1), noise(field.n_params(), 2));
    let mut a = Adjoint::new(&TSIT54, 3, 2, &Options::tolerances(1e-8, 1e-8), Memory::Stages).unwrap();
    a.forward(&mut field, (0.0, 1.0), &y0, &p, &mut ()).unwrap();
    let (mut yb, mut pb, ones) = (vec![0.0; 6], vec![0.0; p.len()], [1.0; 6]);
    a.reverse(&mut field, &p, &Bars { y1: &ones, ..Bars::default() }, &mut yb, &mut pb).unwrap();
    let v = noise(p.len(), 3);
    let mut along = |d: f64| {
        let q: Vec<f64> = p.iter().zip(&v).map(|(p, v)| p + d * v).collect();
        a.replay(&mut field, &q, &y0, &[]).unwrap().y1.iter().sum::<f64>()
    };
    let d = 1e-3;
    let fd = (8.0 * (along(d) - along(-d)) - (along(2.0 * d) - along(-2.0 * d))) / (12.0 * d);
    assert!((fd - dot(&pb, &v)).abs() < 1e-8, "{fd} {}", dot(&pb, &v));
    // Without its learned part it is the known one.
    let mut field = known().plus(learned()).unwrap();
    let mut q = vec![0.0; field.n_params()];
    q[0] = 1.3;
    let o = Options::tolerances(1e-9, 1e-9);
    let with = solve(&mut field, &TSIT54, &o, (0.0, 1.0), &[1.0, 0.0, 0.5], &q, &[]).unwrap();
    let without = solve(&mut known(), &TSIT54, &o, (0.0, 1.0), &[1.0, 0.0, 0.5], &q[..1], &[]).unwrap();
    assert_eq!(with.y1, without.y1);
}

#[test]
fn a_stiff_gradient_by_tangents_is_that_by_differences() {
    // The same map with its tangent, and without: fourth-order differences of the pullback.
    let map = || curved(3).plus(Scale::fixed(&[-30.0, -1.0, -300.0])).unwrap();
    struct Plain<M>(M);
    impl<M: Map<f64>> Map<f64> for Plain<M> {
        fn size(&self) -> Size {
            self.0.size()
        }
        fn offers(&self) -> Offers {
            Offers::VJP | Offers::AUTONOMOUS
        }
        fn value(&mut self, at: At<'_, f64>, y: &mut [f64]) {
            self.0.value(at, y);
        }
        fn keep_len(&self, batch: usize) -> usize {
            self.0.keep_len(batch)
        }
        fn forward(&mut self, at: At<'_, f64>, y: &mut [f64], keep: &mut [f64]) {
            self.0.forward(at, y, keep);
        }
        fn vjp(&mut self, at: At<'_, f64>, of: Kept<'_, f64>, w: &[f64], bars: BarsMut<'_, f64>) {
            self.0.vjp(at, of, w, bars);
        }
    }
    fn gradient(mut map: impl Map<f64>) -> Vec<f64> {
        let (y0, p) = (noise(6, 1), noise(map.n_params(), 2));
        let mut a = StiffAdjoint::new(&RODAS5P, 3, 2, &Options::fixed(0.05), Memory::States).unwrap();
        a.forward(&mut map, (0.0, 1.0), &y0, &p, &mut ()).unwrap();
        let (mut yb, mut pb) = (vec![0.0; 6], vec![0.0; p.len()]);
        a.reverse(&mut map, &p, &Bars { y1: &[1.0; 6], ..Bars::default() }, &mut yb, &mut pb).unwrap();
        [yb, pb].concat()
    }
    let (exact, differences) = (gradient(map()), gradient(Plain(map())));
    for (a, b) in exact.iter().zip(&differences) {
        assert!((a - b).abs() < 1e-9 * a.abs().max(1.0), "{a} {b}");
    }
}

#[test]
fn combinations_do_not_allocate_in_later_calls() {
    for (name, mut map) in all().into_iter().filter(|(n, _)| *n != "pieces") {
        let batch = 2;
        let Size { inputs, outputs, params } = map.size();
        let (x, p, w) = (noise(inputs * batch, 1), noise(params, 2), noise(2 * outputs * batch, 3));
        let dx = noise(2 * x.len(), 4);
        let (mut y, mut keep) = (vec![0.0; outputs * batch], vec![0.0; map.keep_len(batch)]);
        let (mut y_dot, mut keep_dot) = (vec![0.0; 2 * y.len()], vec![0.0; 2 * keep.len()]);
        let (mut xb, mut pb) = (vec![0.0; x.len()], vec![0.0; params]);
        let at = At::new(0.1, &x, &p);
        let mut pass = || {
            map.value(at, &mut y);
            map.forward(at, &mut y, &mut keep);
            let (of, offers) = (Kept { y: &y, keep: &keep }, map.offers());
            map.vjp(at, of, &w[..y.len()], BarsMut::new(&mut xb, &mut pb));
            let dots = Dots { count: 2, t: &[], x: &dx, p: &[] };
            if offers.has(Offers::JVP) {
                map.jvp(at, of, dots, &mut y_dot, &mut keep_dot);
            }
            if offers.has(Offers::TANGENT) {
                let dot = Kept { y: &y_dot, keep: &keep_dot };
                map.vjp_tangent(at, of, dots, dot, &w, &w, BarsMut::new(&mut xb, &mut pb));
            }
        };
        pass();
        let before = allocations();
        pass();
        assert_eq!(allocations() - before, 0, "{name}");
    }
    // Nor does an integration of one.
    let mut field = Scale::fixed(&[-1.0, -0.5, -2.0]).plus(products(3)).unwrap();
    let mut it = Integrator::new(&TSIT54, 3, 1, &Options::default()).unwrap();
    let mut go = || {
        it.run(&mut field, (0.0, 1.0), &[1.0, 0.5, 0.2], &[0.1, 0.2, 0.3], &mut ()).unwrap();
    };
    go();
    let before = allocations();
    go();
    assert_eq!(allocations() - before, 0);
}
