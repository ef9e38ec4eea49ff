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
    conform(&demands, &|| Box::new(DenseLu::always_blocked()), &|| Box::new(DenseLu::always_blocked()));
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

/// A factorization with one fault.
struct Faulty {
    inner: DenseLu<f64>,
    fault: &'static str,
    solves: usize,
}

impl Factors<f64> for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }
    fn factor(&mut self, a: MatrixRef<'_, f64>) -> Result<(), FactorError> {
        match (self.fault, self.inner.factor(a)) {
            ("singular matrices pass", Err(FactorError::Singular { .. })) => {
                self.inner.factor(MatrixRef::Dense { n: 1, values: &[1.0] })
            }
            ("NaN is called singular", Err(FactorError::NotFinite { solver, column, .. })) => {
                Err(FactorError::Singular { solver, column })
            }
            (_, done) => done,
        }
    }
    fn solve(&mut self, b: &mut [f64]) -> Result<(), FactorError> {
        self.solves += 1;
        let first = b.len().min(self.inner.facts().n);
        match self.fault {
            "one right-hand side" => self.inner.solve(&mut b[..first])?,
            _ => self.inner.solve(b)?,
        }
        match self.fault {
            "inexact" => b.iter_mut().for_each(|v| *v *= 1.0 + 1e-9),
            "history" if self.solves > 1 => b.iter_mut().for_each(|v| *v *= 1.0 + 2e-16),
            _ => {}
        }
        Ok(())
    }
    fn solve_t(&mut self, b: &mut [f64]) -> Result<(), FactorError> {
        if self.fault == "not transposed" { self.inner.solve(b) } else { self.inner.solve_t(b) }
    }
    fn facts(&self) -> FactorFacts {
        self.inner.facts()
    }
}

/// The suite sees each fault.
#[test]
fn faults_are_found() {
    let failures = |fault: &'static str| {
        let make =
            move || -> Box<dyn Factors<f64>> { Box::new(Faulty { inner: DenseLu::new(), fault, solves: 0 }) };
        check::<f64>(&make, &Demands { up_to: 40, ..Demands::default() }).err().unwrap_or_default()
    };
    assert_eq!(failures("none"), []);
    for (fault, demand) in [
        ("inexact", "solves bands"),
        ("not transposed", "the transposed solve"),
        ("one right-hand side", "several right-hand sides"),
        ("singular matrices pass", "singular matrices"),
        ("NaN is called singular", "entries that are not finite"),
        ("history", "the same bits"),
    ] {
        let found = failures(fault);
        assert!(found.iter().any(|f| f.demand.starts_with(demand)), "{fault}: {found:?}");
    }
}
