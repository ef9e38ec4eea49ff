//! Maps whose Jacobian is never made: implicit steps solve by iterations with products.

use super::Work;
use super::forward::forward_map;
use super::linearize::Linearizer;
use super::map::{At, BarsMut, Dots, Kept, Map, Offers, Preconditioner, Size, Structure};
use super::spec::Spec;
use crate::error::{OdeError, check_len};
use crate::linalg::Scalar;

static PRODUCTS: Structure = Structure::Products;

/// A map without a Jacobian: a Rosenbrock step solves its systems with W = I / (h gamma) - dy/dx by GMRES with Jacobian-vector products ([`Offers::JVP`]), the
/// adjoint those with W' with vector-Jacobian products. See [`Map::by_products`].
///
/// Memory grows with n alone, and work with the number of iterations, about the root of h gamma times the spread of the eigenvalues. Where that is large a
/// preconditioner pays: one of the user's ([`precondition`](Self::precondition)), or the factors of a matrix that resembles dy/dx
/// ([`precondition_by`](Self::precondition_by)). Up to 30 unknowns the Jacobian is made of n products all the same.
///
/// ```
/// use costate::diff::Map;
/// use costate::expr::record;
/// use costate::ode::{Options, RODAS4, StiffIntegrator};
/// // Heat on a ring of 100 cells, with a reaction.
/// let n = 100;
/// let f = record(n, 0, |_, y, _, dy| {
///     for i in 0..n {
///         dy[i] = 50.0 * (y[(i + 1) % n] - 2.0 * y[i] + y[(i + n - 1) % n]) + y[i] - y[i] * y[i] * y[i];
///     }
/// });
/// let mut field = f?.into_map().by_products();
/// let y0: Vec<f64> = (0..n).map(|i| (0.1 * i as f64).sin()).collect();
/// let mut it = StiffIntegrator::new(&RODAS4, n, 1, &Options::tolerances(1e-5, 1e-5))?;
/// let report = it.run(&mut field, (0.0, 1.0), &y0, &[], &mut ())?;
/// assert!(report.ok() && report.counts.jvps > 0);
/// assert_eq!(it.structure().unwrap().to_string(), "GMRES with products, no preconditioner");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ByProducts<M> {
    map: M,
}

impl<M> ByProducts<M> {
    pub(super) fn of(map: M) -> Self {
        Self { map }
    }

    /// With a preconditioner `|at, h_gamma, transposed, v|` on ONE column: v <- M^-1 v, or M^-T v, where M resembles I / (h gamma) - dy/dx at `at`. It must be linear in
    /// v, and the same for the same arguments.
    pub fn precondition<T: Scalar, G>(self, by: G) -> Preconditioned<M, G>
    where
        M: Map<T>,
        G: FnMut(At<'_, T>, T, bool, &mut [T]),
    {
        Preconditioned { map: self.map, by }
    }

    /// With the factors of I / (h gamma) - B as preconditioner, B the Jacobian of another field with the same parameters: a simpler one, or a part of this
    /// one. B has a structure ([`Map::with_structure`], recorded formulas have theirs): of a band the factors are full ones, of a sparse matrix incomplete ones, ILU(0). A
    /// pattern with less entries than its Jacobian has makes B of products or differences that see more.
    pub fn precondition_by<T: Scalar, B>(self, near: B) -> Result<PreconditionedBy<M, B, T>, OdeError>
    where
        M: Map<T>,
        B: Map<T>,
    {
        let (own, other) = (self.map.size(), near.size());
        check_len("the state of the preconditioner's field", other.inputs, own.inputs)?;
        check_len("the outputs of the preconditioner's field", other.outputs, own.outputs)?;
        check_len("the parameters of the preconditioner's field", other.params, own.params)?;
        Linearizer::check(&near, "the preconditioner")?;
        if *near.structure() == Structure::Products {
            let what = "the preconditioner's field has only products, too: give it a structure".to_string();
            return Err(OdeError::Mismatch { what });
        }
        Ok(PreconditionedBy { map: self.map, near, lin: Linearizer::default(), y: vec![] })
    }
}

fn offers<T: Scalar, M: Map<T>>(map: &M) -> Offers {
    map.offers().without(Offers::JACOBIAN)
}

impl<T: Scalar, M: Map<T>> Map<T> for ByProducts<M> {
    forward_map!(map: size value spec forward vjp jvp tangent time_derivative);
    fn offers(&self) -> Offers {
        offers(&self.map)
    }
    fn structure(&self) -> &Structure {
        &PRODUCTS
    }
}

/// See [`ByProducts::precondition`].
#[derive(Debug, Clone)]
pub struct Preconditioned<M, G> {
    map: M,
    by: G,
}

impl<T, M, G> Map<T> for Preconditioned<M, G>
where
    T: Scalar,
    M: Map<T>,
    G: FnMut(At<'_, T>, T, bool, &mut [T]),
{
    forward_map!(map: size value spec forward vjp jvp tangent time_derivative);
    fn offers(&self) -> Offers {
        offers(&self.map)
    }
    fn structure(&self) -> &Structure {
        &PRODUCTS
    }
    fn preconditioner(&self) -> Preconditioner<'_> {
        Preconditioner::Own
    }
    fn precondition(&mut self, at: At<'_, T>, h_gamma: T, v: &mut [T], transposed: bool) {
        let n = self.map.inputs();
        for (x, v) in at.x.chunks_exact(n).zip(v.chunks_exact_mut(n)) {
            (self.by)(At { x, ..at }, h_gamma, transposed, v);
        }
    }
}

/// See [`ByProducts::precondition_by`].
#[derive(Debug, Clone)]
pub struct PreconditionedBy<M, B, T> {
    map: M,
    near: B,
    lin: Linearizer<T>,
    y: Vec<T>,
}

impl<T: Scalar, M: Map<T>, B: Map<T>> Map<T> for PreconditionedBy<M, B, T> {
    forward_map!(map: size value spec forward vjp jvp tangent time_derivative);
    fn offers(&self) -> Offers {
        offers(&self.map)
    }
    fn structure(&self) -> &Structure {
        &PRODUCTS
    }
    fn preconditioner(&self) -> Preconditioner<'_> {
        Preconditioner::Matrix(self.near.structure())
    }
    fn near_jacobian(&mut self, at: At<'_, T>, jac: &mut [T]) -> Work {
        self.y.resize(at.x.len(), T::ZERO);
        self.near.value(at, &mut self.y);
        let mut work = self.lin.entries(&mut self.near, at, T::ZERO, &self.y, jac);
        work.values += 1;
        work
    }
}
