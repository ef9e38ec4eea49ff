use super::*;
use crate::linalg::SparseMatrix;
use crate::linsol::testing::{Kkt, Random, inertia, kkt, symmetric};

const KINDS: [Kkt; 5] = [Kkt::Convex, Kkt::Indefinite, Kkt::Barrier, Kkt::Deficient, Kkt::DenseRow];

fn solver(dense: bool) -> Ldl {
    Ldl::new(LdlOptions { dense_up_to: if dense { usize::MAX } else { 0 }, ..LdlOptions::default() })
}

fn backward_error(ldl: &mut Ldl, a: &mut SparseMatrix, random: &mut Random) -> f64 {
    let want = random.vector(a.nrows);
    let (mut b, mut x) = (vec![0.0; a.nrows], vec![0.0; a.nrows]);
    a.apply(1.0, &want, 0.0, &mut b);
    let accuracy = Accuracy { relative: 1e-14, max_iterations: 20 };
    let solved = ldl.solve(a, &b, &mut x, accuracy, &StopToken::default()).unwrap();
    solved.relative_residual
}

#[test]
fn inertia_agrees_with_the_eigenvalues() {
    for dense in [true, false] {
        let (mut compared, mut solver) = (0, solver(dense));
        for kind in KINDS {
            for case in 0..60u64 {
                let mut random = Random::new(case);
                let n = 1 + random.below(40);
                let m = if kind == Kkt::Deficient { 2.min(n) + random.below(n) } else { random.below(n + 1) };
                let mut a = kkt(kind, n, m, &mut random);
                let found = solver.prepare(&mut a, &StopToken::default()).unwrap();
                // Eigenvalues lose digits to the scaling, factors do not.
                if let Some(want) = inertia(&a, if kind == Kkt::Barrier { 1e-22 } else { 1e-13 })
                    && kind != Kkt::Barrier
                {
                    assert_eq!(found.inertia, Some(want), "{kind:?} {case} n={n} m={m} dense={dense}");
                    compared += 1;
                }
                let e = backward_error(&mut solver, &mut a, &mut random);
                assert!(e < 1e-10, "{kind:?} {case} n={n} m={m} dense={dense}: residual {e:e}");
            }
        }
        assert!(compared > 200, "{compared}");
    }
}

#[test]
fn tiny_and_empty_matrices() {
    for dense in [true, false] {
        let mut s = solver(dense);
        for (t, want) in [
            (vec![(0, 0, -3.0)], (0, 1, 0)),
            (vec![(0, 0, 0.0)], (0, 0, 1)),
            (vec![(1, 0, 2.0)], (1, 1, 0)),
            (vec![(0, 0, 1.0), (1, 0, 1.0), (1, 1, 1.0)], (1, 0, 1)),
            (vec![(0, 0, 1e-200), (1, 1, -1e200)], (1, 1, 0)),
        ] {
            let n = 1 + t.iter().map(|e| e.0).max().unwrap_or(0);
            let mut a = symmetric(n, &t);
            let i = s.prepare(&mut a, &StopToken::default()).unwrap().inertia.unwrap();
            assert_eq!((i.positive, i.negative, i.zero), want, "{t:?} dense={dense}");
        }
        let mut a = symmetric(0, &[]);
        assert!(s.prepare(&mut a, &StopToken::default()).is_ok());
    }
}
