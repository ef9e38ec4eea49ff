//! Jacobians from one product or difference a colour: entries against those of the map, counts, runs and gradients with them.

#[path = "common/alloc.rs"]
mod alloc;
#[path = "common/diffusion.rs"]
mod diffusion;

use alloc::allocations;
use costate::adjoint::{Bars, Memory, StiffAdjoint};
use costate::diff::{At, BarsMut, Differences, Dots, FnMap, Kept, Linearizer, Map, Offers, Size, Source};
use costate::diff::{Structure, Work};
use costate::expr::RecordedMap;
use costate::ode::*;
use diffusion::{Brusselator, P};

/// Offers only these of what the map has; `Offers::NONE` leaves values.
struct Only(RecordedMap, Offers);

impl Map<f64> for Only {
    fn size(&self) -> Size {
        self.0.size()
    }
    fn offers(&self) -> Offers {
        self.1 | self.0.offers().and(Offers::ALONE | Offers::AUTONOMOUS | Offers::DT)
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
    fn jvp(&mut self, at: At<'_, f64>, of: Kept<'_, f64>, d: Dots<'_, f64>, y: &mut [f64], k: &mut [f64]) {
        self.0.jvp(at, of, d, y, k);
    }
    fn time_derivative(&mut self, at: At<'_, f64>, dt: &mut [f64]) {
        self.0.time_derivative(at, dt);
    }
}

fn far(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// The Jacobian of two columns and what it took.
fn jacobian<M: Map<f64>>(mut map: M, x: &[f64], full: bool) -> (Vec<f64>, Work, Source) {
    let n = map.inputs();
    let at = At::new(0.0, x, &P);
    let len = if full { n * n } else { map.structure().len(n, n) };
    let (mut jac, mut y, mut dt) = (vec![f64::NAN; 2 * len], vec![0.0; 2 * n], vec![0.0; 2 * n]);
    map.value(at, &mut y);
    let mut lin = Linearizer::default();
    lin.prepare(&map);
    let work = if full {
        lin.linearize(&mut map, at, 1e-3, &y, &mut jac, &mut dt)
    } else {
        lin.linearize_structured(&mut map, at, 1e-3, &y, &mut jac, &mut dt)
    };
    (jac, work, lin.source(&map))
}

#[test]
fn entries_are_those_of_the_map_and_products_are_counted() {
    for (n, interleaved) in [(40, true), (40, false), (60, false)] {
        let pr = Brusselator { n, interleaved };
        let x = [pr.start(), pr.start().iter().map(|y| 0.8 * y + 0.1).collect()].concat();
        let structure = pr.field().structure().clone();
        for full in [false, true] {
            let (right, none, own) = jacobian(pr.field(), &x, full);
            assert_eq!((none, own), (Work::default(), Source::Own));
            let size = right.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            let jvps = jacobian(Only(pr.field(), Offers::JVP).with_structure(structure.clone()), &x, full);
            let vjps = jacobian(Only(pr.field(), Offers::VJP).with_structure(structure.clone()), &x, full);
            let differences = Differences::of(Only(pr.field(), Offers::NONE));
            let differences = jacobian(differences.with_structure(structure.clone()), &x, full);
            assert!(far(&jvps.0, &right) <= 1e-14 * size && far(&vjps.0, &right) <= 1e-14 * size);
            assert!(far(&differences.0, &right) <= 1e-6 * size, "{:e}", far(&differences.0, &right));
            assert_eq!((jvps.1, jvps.2), (Work { jvps: 4, ..Work::default() }, Source::Jvps(4)));
            assert_eq!((vjps.1, vjps.2), (Work { vjps: 4, ..Work::default() }, Source::Vjps(4)));
            let four = Work { values: 4, ..Work::default() };
            assert_eq!((differences.1, differences.2), (four, Source::Differences(4)));
        }
    }
}

#[test]
fn a_band_from_products() {
    // Three diagonals below, one above.
    let n = 45;
    let f = move |_: f64, y: &[f64], _: &[f64], dy: &mut [f64]| {
        for i in 0..n {
            let at = |k: isize| y.get((i as isize + k) as usize).copied().unwrap_or(0.0);
            dy[i] = at(1) * y[i] - at(-3) + 0.5 * at(-1);
        }
    };
    let band = Structure::Banded { lower: 3, upper: 1 };
    let map = || Differences::of(FnMap::new(n, 0, f).autonomous());
    let x: Vec<f64> = (0..n).map(|i| 1.0 + (i as f64).sin()).collect();
    let found = map().with_detected_structure(At::new(0.0, &x, &[])).unwrap();
    let make = |mut map: Box<dyn Map<f64>>| {
        let (mut jac, mut y, mut dt) = (vec![0.0; n * n], vec![0.0; n], vec![0.0; n]);
        map.value(At::new(0.0, &x, &[]), &mut y);
        let work =
            Linearizer::default().linearize(&mut map, At::new(0.0, &x, &[]), 1e-3, &y, &mut jac, &mut dt);
        (jac, work.values)
    };
    let (plain, all) = make(Box::new(map()));
    let (given, five) = make(Box::new(map().with_structure(band)));
    let (detected, colours) = make(Box::new(found));
    assert_eq!((all, five), (45, 5));
    assert!(colours <= 5);
    assert!(far(&plain, &given) < 1e-12 && far(&plain, &detected) < 1e-12);
}

#[test]
fn runs_and_gradients_with_coloured_products_are_those_with_the_jacobian() {
    let pr = Brusselator::new(200);
    let (y0, options) = (pr.start(), Options::tolerances(1e-5, 1e-5));
    let structure = pr.field().structure().clone();
    let w: Vec<f64> = (0..200).map(|m| (0.9 * m as f64 + 0.3).cos()).collect();
    for method in RosenbrockTableau::all() {
        let run = |field: &mut dyn Map<f64>| {
            let mut it = StiffIntegrator::new(method, 200, 1, &options).unwrap();
            let r = it.run(&mut &mut *field, (0.0, 5.0), &y0, &P, &mut ()).unwrap();
            assert!(r.ok());
            (it.y().to_vec(), r.counts, it.jacobian().unwrap(), it.structure().unwrap().to_string())
        };
        let own = run(&mut pr.field());
        let jvps = run(&mut Only(pr.field(), Offers::JVP).with_structure(structure.clone()));
        let bare = Differences::of(Only(pr.field(), Offers::NONE));
        let differences = run(&mut bare.with_detected_structure(At::new(0.0, &y0, &P)).unwrap());
        assert_eq!((own.2, jvps.2, differences.2), (Source::Own, Source::Jvps(4), Source::Differences(4)));
        assert!(own.3 == jvps.3 && own.3 == differences.3, "{} {} {}", own.3, jvps.3, differences.3);
        assert!(far(&own.0, &jvps.0) < 1e-9 && far(&own.0, &differences.0) < 1e-4);
        let attempts = jvps.1.accepted + jvps.1.rejected;
        // The first step takes a second look.
        assert_eq!(jvps.1.jacobians, attempts + 1);
        assert_eq!((jvps.1.jvps, own.1.jvps), (4 * jvps.1.jacobians, 0));
        assert_eq!(jvps.1.evals, own.1.evals);
        // The gradient, with the vjps beside.
        let gradient = |field: &mut dyn Map<f64>| {
            let mut s = StiffAdjoint::new(method, 200, 1, &options, Memory::States).unwrap();
            s.forward(&mut &mut *field, (0.0, 1.0), &y0, &P, &mut ()).unwrap();
            let (mut yb, mut pb) = (vec![0.0; 200], vec![0.0; 3]);
            let bars = Bars { y1: &w, ..Bars::default() };
            s.reverse(&mut &mut *field, &P, &bars, &mut yb, &mut pb).unwrap();
            [yb, pb].concat()
        };
        let right = gradient(&mut pr.field());
        let both = Offers::JVP | Offers::VJP;
        let ours = gradient(&mut Only(pr.field(), both).with_structure(structure.clone()));
        let size = right.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        assert!(far(&right, &ours) < 1e-8 * size, "{} {:e}", method.name, far(&right, &ours) / size);
    }
}

#[test]
fn steps_with_coloured_products_do_not_allocate() {
    let pr = Brusselator::new(100);
    let structure = pr.field().structure().clone();
    let (y0, options) = (pr.start(), Options::tolerances(1e-5, 1e-5));
    for offers in [Offers::JVP, Offers::VJP, Offers::DIFFERENCES] {
        let mut field = Only(pr.field(), offers).with_structure(structure.clone());
        let mut it = StiffIntegrator::new(&RODAS5P, 100, 1, &options).unwrap();
        it.run(&mut field, (0.0, 5.0), &y0, &P, &mut ()).unwrap();
        let before = allocations();
        it.run(&mut field, (0.0, 5.0), &y0, &P, &mut ()).unwrap();
        assert_eq!(allocations(), before);
    }
}

#[test]
fn structures_that_do_not_fit_are_refused() {
    for n in [10, 50] {
        let f = FnMap::new(n, 0, |_: f64, y: &[f64], _: &[f64], dy: &mut [f64]| dy.copy_from_slice(y));
        let structure = Structure::Sparse { col_ptr: vec![0; 3], row_idx: vec![n; 2] };
        let mut f = Differences::of(f).with_structure(structure);
        let e = solve(&mut f, &RODAS4, &Options::default(), (0.0, 1.0), &vec![1.0; n], &[], &[]);
        assert!(e.unwrap_err().to_string().contains("ascending order"));
    }
    let f = Differences::of(FnMap::new(2, 1, |_: f64, y: &[f64], _: &[f64], dy: &mut [f64]| {
        dy[0] = y[0].max(0.0);
        dy[1] = 1.0 / y[0];
    }));
    let e = |x: &[f64], p: &[f64]| {
        f.clone().with_detected_structure(At::new(0.0, x, p)).err().map(|e| e.to_string()).unwrap()
    };
    assert!(e(&[1.0], &[1.0]).contains("needs 2 inputs"));
    assert!(e(&[0.0, 1.0], &[1.0]).contains("not finite"));
    assert!(e(&[1.0, 1.0], &[1.0]).contains("NaN does not show it"));
}
