use super::conformance::{Demands, check};
use super::*;
use crate::linalg::{LinOp, Pattern};

/// Both precisions of one kind.
fn conform(
    demands: &Demands,
    of_f64: &(dyn Fn() -> Box<dyn Factors<f64>> + Sync),
    of_f32: &(dyn Fn() -> Box<dyn Factors<f32>> + Sync),
) {
    assert_eq!(check::<f64>(of_f64, demands), Ok(()));
    assert_eq!(check::<f32>(of_f32, demands), Ok(()));
}

#[test]
fn dense_lu_conforms() {
    let demands = Demands::default();
    conform(&demands, &|| Box::new(DenseLu::new()), &|| Box::new(DenseLu::new()));
    // faer's kernels on every size, own kernels on every size.
    conform(&demands, &|| Box::new(DenseLu::blocked_above(0)), &|| Box::new(DenseLu::blocked_above(0)));
    conform(&demands, &|| Box::new(DenseLu::blocked_above(usize::MAX)), &|| {
        Box::new(DenseLu::blocked_above(usize::MAX))
    });
}

#[test]
fn band_lu_conforms() {
    conform(&Demands::default(), &|| Box::new(BandLu::new()), &|| Box::new(BandLu::new()));
}

#[test]
fn sparse_lu_conforms() {
    conform(&Demands::default(), &|| Box::new(SparseLu::new()), &|| Box::new(SparseLu::new()));
}

/// GMRES in full, BiCGStab, with ILU(0) and with another factorization as preconditioner.
#[test]
fn krylov_methods_conform() {
    let gmres = KrylovOptions { method: KrylovMethod::Gmres { restart: 100 }, ..KrylovOptions::default() };
    let bicgstab = KrylovOptions { method: KrylovMethod::BiCgStab, ..gmres };
    for options in [gmres, bicgstab] {
        // Tolerances of 1e-10 and 1e-5 in units of the rounding.
        let demands = |residual| Demands { any_matrix: false, residual, ..Demands::default() };
        let made = move || -> Box<dyn Factors<f64>> { Box::new(Krylov::new(options)) };
        assert_eq!(check::<f64>(&made, &demands(1e5)), Ok(()), "{options:?}");
        let made = move || -> Box<dyn Factors<f32>> { Box::new(Krylov::new(options)) };
        assert_eq!(check::<f32>(&made, &demands(20.0)), Ok(()), "{options:?}");
        let made = move || -> Box<dyn Factors<f64>> {
            Box::new(Krylov::with_preconditioner(options, Some(Box::new(SparseLu::new()))))
        };
        assert_eq!(check::<f64>(&made, &demands(1e5)), Ok(()), "{options:?} with LU");
        let made = move || -> Box<dyn Factors<f64>> { Box::new(Krylov::with_preconditioner(options, None)) };
        assert_eq!(check::<f64>(&made, &Demands { up_to: 60, ..demands(1e5) }), Ok(()), "{options:?} alone");
    }
}

/// The second difference on a line with Dirichlet ends, as an operator.
struct Line(usize);

impl LinOp<f64> for Line {
    fn nrows(&self) -> usize {
        self.0
    }
    fn ncols(&self) -> usize {
        self.0
    }
    fn apply(&mut self, alpha: f64, x: &[f64], beta: f64, y: &mut [f64]) {
        for i in 0..self.0 {
            let left = if i > 0 { x[i - 1] } else { 0.0 };
            let right = if i + 1 < self.0 { x[i + 1] } else { 0.0 };
            let old = if beta == 0.0 { 0.0 } else { beta * y[i] };
            // Not symmetric: the left neighbour counts half.
            y[i] = old + alpha * (3.0 * x[i] - 0.5 * left - right);
        }
    }
    fn apply_t(&mut self, alpha: f64, x: &[f64], beta: f64, y: &mut [f64]) {
        for i in 0..self.0 {
            let left = if i > 0 { x[i - 1] } else { 0.0 };
            let right = if i + 1 < self.0 { x[i + 1] } else { 0.0 };
            let old = if beta == 0.0 { 0.0 } else { beta * y[i] };
            y[i] = old + alpha * (3.0 * x[i] - left - 0.5 * right);
        }
    }
}

#[test]
fn operators_without_entries_are_solved_and_hopeless_ones_reported() {
    let n = 200;
    for method in [KrylovMethod::Gmres { restart: 20 }, KrylovMethod::BiCgStab] {
        let options = KrylovOptions { method, ..KrylovOptions::default() };
        let mut krylov = Krylov::with_preconditioner(options, None);
        let b: Vec<f64> = (0..n).map(|i| (i as f64).cos()).collect();
        for transposed in [false, true] {
            let mut x = b.clone();
            krylov.solve_operator(&mut Line(n), &mut x, transposed).unwrap();
            let mut r = b.clone();
            let line = &mut Line(n);
            if transposed {
                line.apply_t(-1.0, &x, 1.0, &mut r)
            } else {
                line.apply(-1.0, &x, 1.0, &mut r)
            }
            assert!(r.iter().all(|v| v.abs() < 1e-9), "{method:?}: {r:?}");
        }
        // Too few products: an error with the residual, and b as it was.
        let mut krylov = Krylov::with_preconditioner(KrylovOptions { max_products: 2, ..options }, None);
        let mut x = b.clone();
        let e = krylov.solve_operator(&mut Line(n), &mut x, false).unwrap_err();
        let told =
            matches!(e, FactorError::NotConverged { residual, .. } if residual > 1e-10 && residual < 1.0);
        assert!(told && x == b, "{e}");
        // A right-hand side that is not finite.
        let mut x = vec![f64::NAN; n];
        assert!(krylov.solve_operator(&mut Line(n), &mut x, false).is_err());
    }
}

/// On a tridiagonal matrix ILU(0) is LU.
#[test]
fn incomplete_lu_of_a_tridiagonal_matrix_is_complete() {
    let pattern = Pattern::banded(30, 1, 1);
    let values: Vec<f64> =
        pattern.entries().map(|(i, j)| if i == j { 3.0 } else { -1.0 - 0.1 * j as f64 / 30.0 }).collect();
    let a = MatrixRef::Sparse(pattern.with_values(&values));
    let mut ilu = Ilu0::new();
    ilu.factor(a).unwrap();
    for transposed in [false, true] {
        let b: Vec<f64> = (0..30).map(|i| (i as f64).sin()).collect();
        let mut x = b.clone();
        if transposed {
            ilu.solve_t(&mut x).unwrap()
        } else {
            ilu.solve(&mut x).unwrap()
        }
        let mut r = b;
        if transposed {
            a.apply_t(-1.0, &x, 1.0, &mut r)
        } else {
            a.apply(-1.0, &x, 1.0, &mut r)
        }
        assert!(r.iter().all(|v| v.abs() < 1e-14), "{r:?}");
    }
}
