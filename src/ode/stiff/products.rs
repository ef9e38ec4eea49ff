//! W = I / (h gamma) - J of a step where only products with J are there: GMRES in the units of the step's tolerances.
//!
//! With D = diag(sc), sc_i = atol + rtol |y0_i|, W x = b becomes (I - h gamma D^-1 J D) z = h gamma D^-1 b, x = D z. The residual on the right is an error of the stage in
//! the norm of the error estimate, but for the inverse of the matrix, which damps: the iteration ends where it is [`SHARE`] there. The transposed system is
//! (I - h gamma D J' D^-1) z = h gamma D b, x = D^-1 z, to a relative [`TRANSPOSED`]: nothing is known of what its solution is for.

use super::super::report::OdeCounts;
use super::super::stepper::Measure;
use super::matrices::{layout, malformed};
use crate::diff::{At, BarsMut, Dots, Map, Preconditioner, Structure, VjpRoom};
use crate::error::OdeError;
use crate::linalg::kernels::Scale;
use crate::linalg::{Norm, Scalar};
use crate::linsol::factors::{
    Choice, ChooseOptions, FactorError, Ilu0, Krylov, KrylovMethod, KrylovOptions, Mass, Operator,
    Preconditioning, StepMatrix, Structure as Held,
};

/// Of a step's tolerance, what a linear solve may be off by.
const SHARE: f64 = 1e-3;
/// |b - W' x| / |b| in the adjoint.
const TRANSPOSED: f64 = 1e-10;
/// Iterations after which GMRES starts again, and products after which it gives up: a shorter step needs fewer.
const RESTART: usize = 30;
const MAX_PRODUCTS: usize = 300;
/// Products of the power method at the first step, and at each later one.
const POWERS: (usize, usize) = (12, 1);

/// Matrix-free solves with W and W'.
pub(crate) struct Products<T> {
    krylov: Krylov<T>,
    norm: Norm,
    scale: Scale<T>,
    system: System<T>,
    b: Vec<T>,
    /// Largest eigenvalue by the power method, and its vector.
    radius: T,
    dominant: Vec<T>,
    choice: Choice,
}

/// What makes the products with W and its preconditioner, but for the field.
struct System<T> {
    h_gamma: T,
    /// sc_i and 1 / sc_i.
    sc: [Vec<T>; 2],
    near: Near<T>,
    /// The field has a preconditioner of its own.
    own: bool,
    /// The factorization of the preconditioner failed.
    failed: bool,
    at: VjpRoom<T>,
    x: Vec<T>,
    p_bar: Vec<T>,
    keep_dot: Vec<T>,
    /// Since it was last told.
    work: OdeCounts,
}

/// Factors of I / (h gamma) - B, one for each column of the batch; none without a B.
struct Near<T> {
    of: Option<Structure>,
    each: Vec<StepMatrix<T>>,
    values: Vec<T>,
    /// Numbers of one B.
    len: usize,
}

impl<T: Scalar> Products<T> {
    /// For a field by products and states of dim x batch.
    pub fn new<F: Map<T> + ?Sized>(
        field: &F,
        (dim, batch): (usize, usize),
        by: Measure<'_, T>,
    ) -> Result<Self, OdeError> {
        let (near, preconditioning) = Near::new(field.preconditioner(), dim, batch)?;
        let options = KrylovOptions {
            method: KrylovMethod::Gmres { restart: RESTART },
            max_products: MAX_PRODUCTS,
            verify: false,
            ..KrylovOptions::default()
        };
        let zeros = || vec![T::ZERO; dim * batch];
        let system = System {
            h_gamma: T::ZERO,
            sc: [zeros(), zeros()],
            near,
            own: preconditioning == Preconditioning::Own,
            failed: false,
            at: VjpRoom::default(),
            x: zeros(),
            p_bar: vec![],
            keep_dot: vec![],
            work: OdeCounts::default(),
        };
        Ok(Self {
            krylov: Krylov::with_preconditioner(options, None),
            norm: by.norm,
            scale: by.scale.clone(),
            system,
            b: zeros(),
            radius: T::ZERO,
            dominant: vec![],
            choice: Choice::by_products(preconditioning),
        })
    }

    /// Whether it was made for such a field.
    pub fn fits<F: Map<T> + ?Sized>(&self, field: &F, len: usize) -> bool {
        let (own, of) = match field.preconditioner() {
            Preconditioner::None => (false, None),
            Preconditioner::Own => (true, None),
            Preconditioner::Matrix(structure) => (false, Some(structure)),
        };
        self.b.len() == len && self.system.own == own && self.system.near.of.as_ref() == of
    }

    pub fn choice(&self) -> &Choice {
        &self.choice
    }
    pub fn radius(&self) -> T {
        self.radius
    }
    /// Before a run: the dominant eigenvector of the last one is of no use.
    pub fn restart(&mut self) {
        self.dominant.clear();
        self.system.failed = false;
    }
    /// Adds the work since it was last told.
    pub fn tell(&mut self, counts: &mut OdeCounts) {
        *counts += std::mem::take(&mut self.system.work);
    }
    /// Makes the solves to come NaN.
    pub fn spoil(&mut self) {
        self.system.failed = true;
    }

    /// Units, what products at `at` need, and the matrix of the preconditioner.
    pub fn linearize<F: Map<T> + ?Sized>(&mut self, f: &mut F, at: At<'_, T>) {
        self.units(at.x);
        let system = &mut self.system;
        system.at.evaluate(f, at);
        if system.near.of.is_some() {
            let work = f.near_jacobian(at, &mut system.near.values);
            system.work.evals += work.values;
            system.work.pullbacks += work.vjps;
            system.work.jvps += work.jvps;
        }
        self.power(f, at);
    }

    /// sc_i <- atol + rtol |y_i|; where that is next to nothing, a share of the largest, where it is infinite (integrals, whose error does not count), far above it.
    fn units(&mut self, y: &[T]) {
        let [sc, inverse] = &mut self.system.sc;
        for (i, (sc, y)) in sc.iter_mut().zip(y).enumerate() {
            let (atol, rtol) = match &self.scale {
                Scale::One { atol, rtol } => (*atol, *rtol),
                Scale::Each { atol, rtol } => (atol[i], rtol[i]),
            };
            *sc = atol + rtol * y.abs();
        }
        let most = sc.iter().fold(T::ZERO, |m, s| if *s > m && s.is_finite() { *s } else { m });
        let least = if most > T::ZERO { most * T::EPSILON } else { T::ONE };
        for (sc, inverse) in sc.iter_mut().zip(inverse) {
            *sc = if *sc < least { least } else { *sc };
            if !sc.is_finite() {
                *sc = least / (T::EPSILON * T::EPSILON.sqrt());
            }
            *inverse = T::ONE / *sc;
        }
    }

    /// Steps of the power method for D^-1 J D; the vector goes along from step to step.
    fn power<F: Map<T> + ?Sized>(&mut self, f: &mut F, at: At<'_, T>) {
        let Self { system, b: image, dominant: vector, radius, .. } = self;
        let first = vector.is_empty();
        if first {
            // Signs without a pattern, always the same.
            let sign = |i: usize| (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 63 == 0;
            vector.extend((0..image.len()).map(|i| if sign(i) { T::ONE } else { -T::ONE }));
        }
        for _ in 0..if first { POWERS.0 } else { POWERS.1 } {
            let size = norm2(vector);
            system.product(f, at, vector, image, false);
            let grown = norm2(image);
            if !(grown > T::ZERO && grown.is_finite()) {
                break;
            }
            *radius = grown / size;
            vector.iter_mut().zip(image.iter()).for_each(|(v, w)| *v = *w / grown);
        }
    }

    /// Factors the preconditioner for this h gamma; false where it is singular or not finite.
    pub fn factor(&mut self, h_gamma: T) -> bool {
        let system = &mut self.system;
        system.h_gamma = h_gamma;
        let Near { each, values, len, .. } = &mut system.near;
        let mut blocks = each.iter_mut().zip(values.chunks_exact((*len).max(1)));
        system.failed = !blocks.all(|(w, values)| w.refactor_with(values, h_gamma).is_ok());
        !system.failed
    }

    /// x <- W^-1 b or W^-T b; NaN where the iteration does not get there.
    pub fn solve<F: Map<T> + ?Sized>(
        &mut self,
        f: &mut F,
        at: At<'_, T>,
        b: &[T],
        x: &mut [T],
        transposed: bool,
    ) {
        let Self { krylov, system, b: z, .. } = self;
        if system.failed {
            return x.fill(T::of(f64::NAN));
        }
        let h_gamma = system.h_gamma;
        let (into, _) = system.units(!transposed);
        z.iter_mut().zip(b).zip(into).for_each(|((z, b), d)| *z = h_gamma * *b * *d);
        let target = match (transposed, self.norm) {
            (true, _) => T::of(TRANSPOSED) * norm2(z),
            (_, Norm::Rms) => T::of(SHARE * (z.len() as f64).sqrt()),
            (_, Norm::Max) => T::of(SHARE),
        };
        let solved = krylov.solve_to(&mut Scaled { f, at, system }, z, target, transposed);
        system.work.iterations += krylov.iterations() as u64;
        let (_, back) = system.units(!transposed);
        match solved {
            Ok(()) => x.iter_mut().zip(z).zip(back).for_each(|((x, z), d)| *x = *z * *d),
            Err(_) => x.fill(T::of(f64::NAN)),
        }
    }
}

impl<T: Scalar> Near<T> {
    fn new(by: Preconditioner<'_>, dim: usize, batch: usize) -> Result<(Self, Preconditioning), OdeError> {
        let nothing = Self { of: None, each: vec![], values: vec![], len: 0 };
        let structure = match by {
            Preconditioner::None => return Ok((nothing, Preconditioning::None)),
            Preconditioner::Own => return Ok((nothing, Preconditioning::Own)),
            Preconditioner::Matrix(structure) => structure,
        };
        let layout = layout(structure, dim)?;
        let options = ChooseOptions { iterate_above: f64::INFINITY, ..ChooseOptions::default() };
        let (mut kind, mut each) = (Preconditioning::Lu, vec![]);
        for _ in 0..batch {
            let w = StepMatrix::new(layout.clone(), Mass::Identity, &options).map_err(malformed)?;
            if matches!(w.choice().structure, Held::Band { .. } | Held::Dense) {
                each.push(w);
                continue;
            }
            kind = Preconditioning::Ilu0;
            let sparse = Choice { structure: Held::Sparse, order: None, ..w.choice().clone() };
            let w = StepMatrix::with_choice(layout.clone(), Mass::Identity, sparse).map_err(malformed)?;
            each.push(w.with_factors(Box::new(Ilu0::new())));
        }
        let len = layout.len();
        Ok((Self { of: Some(structure.clone()), each, values: vec![T::ZERO; batch * len], len }, kind))
    }
}

impl<T: Scalar> System<T> {
    /// What goes into the units (D^-1) and back (D); for the transposed system the other way round.
    fn units(&self, into: bool) -> (&[T], &[T]) {
        let [sc, inverse] = &self.sc;
        if into { (inverse, sc) } else { (sc, inverse) }
    }

    /// y <- D^-1 J D x, or D J' D^-1 x.
    fn product<F: Map<T> + ?Sized>(
        &mut self,
        f: &mut F,
        at: At<'_, T>,
        x: &[T],
        y: &mut [T],
        transposed: bool,
    ) {
        let Self { sc: [sc, inverse], at: kept, x: v, p_bar, keep_dot, work, .. } = self;
        let (into, back) = if transposed { (sc, inverse) } else { (inverse, sc) };
        v.iter_mut().zip(x).zip(back).for_each(|((v, x), d)| *v = *x * *d);
        if transposed {
            p_bar.resize(f.n_params(), T::ZERO);
            y.fill(T::ZERO);
            f.vjp(at, kept.last(), v, BarsMut::new(y, p_bar));
            // Only the part of x is wanted; what gathers here must stay finite.
            p_bar.fill(T::ZERO);
            work.pullbacks += 1;
        } else {
            keep_dot.resize(f.keep_len(at.x.len() / f.inputs()), T::ZERO);
            f.jvp(at, kept.last(), Dots { count: 1, t: &[], x: v, p: &[] }, y, keep_dot);
            work.jvps += 1;
        }
        y.iter_mut().zip(into).for_each(|(y, d)| *y *= *d);
    }
}

/// I - h gamma D^-1 J D, or its transpose, at a point.
struct Scaled<'a, 'p, T, F: ?Sized> {
    f: &'a mut F,
    at: At<'p, T>,
    system: &'a mut System<T>,
}

impl<T: Scalar, F: Map<T> + ?Sized> Operator<T> for Scaled<'_, '_, T, F> {
    fn n(&self) -> usize {
        self.at.x.len()
    }
    fn apply(&mut self, x: &[T], y: &mut [T], transposed: bool) {
        self.system.product(self.f, self.at, x, y, transposed);
        let h_gamma = self.system.h_gamma;
        y.iter_mut().zip(x).for_each(|(y, x)| *y = *x - h_gamma * *y);
    }
    /// For an M that resembles W: D^-1 M^-1 D / (h gamma), or D M^-T D^-1 / (h gamma).
    fn precondition(&mut self, z: &mut [T], transposed: bool) -> Result<(), FactorError> {
        let System { own, near, h_gamma, sc: [sc, inverse], .. } = &mut *self.system;
        if !*own && near.of.is_none() {
            return Ok(());
        }
        let (into, back) = if transposed { (sc, inverse) } else { (inverse, sc) };
        z.iter_mut().zip(back).for_each(|(z, d)| *z *= *d);
        if *own {
            self.f.precondition(self.at, *h_gamma, z, transposed);
        } else {
            let dim = self.f.inputs();
            for (w, z) in near.each.iter_mut().zip(z.chunks_exact_mut(dim)) {
                if transposed { w.solve_t(z)? } else { w.solve(z)? }
            }
        }
        let unit = T::ONE / *h_gamma;
        z.iter_mut().zip(into).for_each(|(z, d)| *z *= *d * unit);
        Ok(())
    }
}

fn norm2<T: Scalar>(x: &[T]) -> T {
    x.iter().fold(T::ZERO, |s, v| s + *v * *v).sqrt()
}
