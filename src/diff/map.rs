//! The one trait.

use std::ops::BitOr;

use super::closure::{Autonomous, WithJacobian, WithJvp, WithStructure, WithTimeDerivative, WithVjp};
use super::combine::{Product, Stack, Sum};
use super::detect::{EVALUATIONS, detect};
use super::integral::WithIntegral;
use super::scale::Scaled;
use super::{ByProducts, Chain, On, Spec, Work};
use crate::error::OdeError;
use crate::linalg::Scalar;

/// Lengths of one input, one output and the parameter vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Of x.
    pub inputs: usize,
    /// Of y.
    pub outputs: usize,
    /// Of p.
    pub params: usize,
}

impl Size {
    /// Of a field of n components: as many outputs as inputs.
    pub const fn field(n: usize, params: usize) -> Self {
        Self { inputs: n, outputs: n, params }
    }
}

/// Where a map is evaluated.
#[derive(Debug, Clone, Copy)]
pub struct At<'a, T> {
    /// Time.
    pub t: T,
    /// Input, inputs x batch, column-major.
    pub x: &'a [T],
    /// Parameters.
    pub p: &'a [T],
}

impl<'a, T> At<'a, T> {
    /// From its parts.
    #[inline(always)]
    pub fn new(t: T, x: &'a [T], p: &'a [T]) -> Self {
        Self { t, x, p }
    }
}

/// What [`Map::forward`] left at the same point: the output, and what it kept. Both empty for maps with [`Offers::ALONE`].
#[derive(Debug, Clone, Copy)]
pub struct Kept<'a, T> {
    /// y, outputs x batch.
    pub y: &'a [T],
    /// Of length [`Map::keep_len`].
    pub keep: &'a [T],
}

impl<T> Kept<'_, T> {
    /// Nothing.
    pub const NONE: Self = Self { y: &[], keep: &[] };
}

/// Directions, one block after another; an empty slice stands for zeros.
#[derive(Debug, Clone, Copy)]
pub struct Dots<'a, T> {
    /// How many.
    pub count: usize,
    /// Of time, one number each.
    pub t: &'a [T],
    /// Of x, inputs x batch each.
    pub x: &'a [T],
    /// Of p, params each.
    pub p: &'a [T],
}

impl<'a, T> Dots<'a, T> {
    /// Direction i alone, of x and p with these lengths.
    pub fn one(&self, i: usize, x_len: usize, params: usize) -> Self {
        let block = |v: &'a [T], len: usize| if v.is_empty() { v } else { &v[i * len..][..len] };
        Self { count: 1, t: block(self.t, 1), x: block(self.x, x_len), p: block(self.p, params) }
    }
    /// With another direction of x.
    pub fn with_x(self, x: &'a [T]) -> Self {
        Self { x, ..self }
    }
    /// Of one direction: the first `params` parameters, and those behind them.
    pub fn split_p(self, params: usize) -> (Self, Self) {
        let (a, b) = self.p.split_at(params.min(self.p.len()));
        (Self { p: a, ..self }, Self { p: b, ..self })
    }
}

/// Derivatives of a number with respect to x and p; always ADDED to.
#[derive(Debug)]
pub struct BarsMut<'a, T> {
    /// inputs x batch.
    pub x: &'a mut [T],
    /// Summed over the batch.
    pub p: &'a mut [T],
}

impl<'a, T> BarsMut<'a, T> {
    /// From its parts.
    #[inline(always)]
    pub fn new(x: &'a mut [T], p: &'a mut [T]) -> Self {
        Self { x, p }
    }
    /// The same, for one more call.
    #[inline(always)]
    pub fn again(&mut self) -> BarsMut<'_, T> {
        BarsMut { x: self.x, p: self.p }
    }
}

/// Derivatives that a map has, and what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offers(u16);

impl Offers {
    /// Values only.
    pub const NONE: Self = Self(0);
    /// [`Map::vjp`].
    pub const VJP: Self = Self(1);
    /// [`Map::jvp`].
    pub const JVP: Self = Self(2);
    /// [`Map::vjp_tangent`]; without [`ALONE`](Self::ALONE) it takes what the jvp left, which must be there.
    pub const TANGENT: Self = Self(4);
    /// [`Map::jacobian`].
    pub const JACOBIAN: Self = Self(8);
    /// [`Map::time_derivative`].
    pub const DT: Self = Self(16);
    /// The products need neither y nor what `forward` keeps: [`Kept::NONE`] will do, and nothing need be computed before.
    pub const ALONE: Self = Self(32);
    /// y does not depend on t.
    pub const AUTONOMOUS: Self = Self(64);
    /// x = (q; v) and y = (v; a(t, q, p)) in every column: what Nystrom methods need ([`SecondOrder`](crate::ode::SecondOrder)).
    pub const SECOND_ORDER: Self = Self(128);
    /// What is not offered may be made of differences of values ([`Differences`](super::Differences)).
    pub const DIFFERENCES: Self = Self(256);
    /// [`Map::vjp_tangent`] needs nothing before, neither of `forward` nor of `jvp`: [`Kept::NONE`] will do for both.
    pub const TANGENT_ALONE: Self = Self(512);

    /// Whether all of `other` is in it.
    #[inline(always)]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
    /// What both have.
    #[inline(always)]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
    /// Without those of `other`.
    #[inline(always)]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
    /// These if `yes`, else nothing.
    #[inline(always)]
    pub const fn when(self, yes: bool) -> Self {
        if yes { self } else { Self::NONE }
    }
}

impl BitOr for Offers {
    type Output = Self;
    #[inline(always)]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Where a Jacobian has entries, and how [`Map::jacobian`] stores one column of the batch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Structure {
    /// Everywhere: outputs x inputs, column-major.
    #[default]
    Dense,
    /// dy_i/dx_j with j - upper <= i <= j + lower at `[j (lower + upper + 1) + upper + i - j]`: columns of the band, its corners unused.
    Banded {
        /// Diagonals below the main one.
        lower: usize,
        /// Diagonals above it.
        upper: usize,
    },
    /// Compressed columns; values in this order.
    Sparse {
        /// Length inputs + 1.
        col_ptr: Vec<usize>,
        /// Rows, ascending in each column.
        row_idx: Vec<usize>,
    },
    /// Not to be looked at: products with it are all there is ([`Map::by_products`]).
    Products,
}

/// What stands in for the inverse of I / (h gamma) - dy/dx where only products with it are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preconditioner<'a> {
    /// Nothing.
    None,
    /// [`Map::precondition`].
    Own,
    /// The factors of I / (h gamma) - B for a B of this structure, which [`Map::near_jacobian`] makes; where it is sparse incomplete ones, ILU(0).
    Matrix(&'a Structure),
}

impl Structure {
    /// Numbers of one Jacobian of this many rows and columns.
    pub fn len(&self, outputs: usize, inputs: usize) -> usize {
        match self {
            Self::Dense => outputs * inputs,
            Self::Banded { lower, upper } => inputs * (lower + upper + 1),
            Self::Sparse { row_idx, .. } => row_idx.len(),
            Self::Products => 0,
        }
    }
    /// Calls `f(i, j, place)` for every entry.
    pub fn entries(&self, outputs: usize, inputs: usize, mut f: impl FnMut(usize, usize, usize)) {
        for j in 0..inputs {
            match self {
                Self::Dense => (0..outputs).for_each(|i| f(i, j, j * outputs + i)),
                Self::Banded { lower, upper } => {
                    let rows = j.saturating_sub(*upper)..outputs.min(j + lower + 1);
                    rows.for_each(|i| f(i, j, j * (lower + upper + 1) + upper + i - j));
                }
                Self::Sparse { col_ptr, row_idx } => {
                    (col_ptr[j]..col_ptr[j + 1]).for_each(|k| f(row_idx[k], j, k));
                }
                Self::Products => {}
            }
        }
    }
}

pub(super) static DENSE: Structure = Structure::Dense;

/// y = A(t, x, p), batched. A map must be a function: integrators call with times and states of attempts that they reject later.
pub trait Map<T: Scalar> {
    /// The three lengths; constant for the life of the map.
    fn size(&self) -> Size;
    /// y <- A(t, x, p), every entry. A value that is not finite says "not here": an integrator rejects the step and shrinks it.
    fn value(&mut self, at: At<'_, T>, y: &mut [T]);
    /// As [`value`](Self::value) for a batch of one: what short states are integrated with. Worth its own code only where `value` has a loop over the batch.
    #[inline(always)]
    fn value_one(&mut self, at: At<'_, T>, y: &mut [T]) {
        self.value(at, y);
    }
    /// Derivatives that are there.
    #[inline(always)]
    fn offers(&self) -> Offers {
        Offers::NONE
    }
    /// Names, shapes and starts of the parameters; asked once.
    fn spec(&self) -> Spec {
        Spec::one("p", &[self.size().params])
    }
    /// How many numbers [`forward`](Self::forward) keeps for one evaluation of `batch` columns.
    fn keep_len(&self, batch: usize) -> usize {
        let _ = batch;
        0
    }
    /// As [`value`](Self::value), filling `keep`, of length `keep_len`, with what derivatives at this point need.
    #[inline(always)]
    fn forward(&mut self, at: At<'_, T>, y: &mut [T], keep: &mut [T]) {
        let _ = keep;
        self.value(at, y);
    }
    /// ADDS w' dy/dx and w' dy/dp to the bars; `of` as `forward` left it.
    fn vjp(&mut self, at: At<'_, T>, of: Kept<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        let _ = (at, of, w, bars);
        missing("vjp")
    }
    /// y_dot <- derivative of y along each direction, a block each; `keep_dot`, blocks of `keep_len`, <- that of `keep`.
    fn jvp(
        &mut self,
        at: At<'_, T>,
        of: Kept<'_, T>,
        dots: Dots<'_, T>,
        y_dot: &mut [T],
        keep_dot: &mut [T],
    ) {
        let _ = (at, of, dots, y_dot, keep_dot);
        missing("jvp")
    }
    /// ADDS sum_i [the derivative of vjp(w_i) along direction i + vjp(w_dot_i)] to the bars. The point is one, directions are blocks; `dot` as `jvp` left it.
    /// An empty `w_dot` stands for zeros.
    #[allow(clippy::too_many_arguments)]
    fn vjp_tangent(
        &mut self,
        at: At<'_, T>,
        of: Kept<'_, T>,
        dots: Dots<'_, T>,
        dot: Kept<'_, T>,
        w: &[T],
        w_dot: &[T],
        bars: BarsMut<'_, T>,
    ) {
        let _ = (at, of, dots, dot, w, w_dot, bars);
        missing("tangent of the vjp")
    }
    /// As [`vjp`](Self::vjp), with one column of `params` numbers in `bars.p` for each column of the batch: gradients per sample.
    fn vjp_each(&mut self, at: At<'_, T>, of: Kept<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        each_column(self, at, of, w, bars);
    }
    /// gram <- M M', (q batch)^2, in f64: row s q + k of M is w_sk' dy_s/dp, the gradient of one of q numbers of column s by the parameters; `w` holds outputs x (q batch) numbers
    /// ([`unit_rows`](super::unit_rows): the Jacobian's). From a pullback of each, unless the map knows a formula.
    fn gram(&mut self, at: At<'_, T>, of: Kept<'_, T>, w: &[T], gram: &mut [f64]) {
        super::gram_by_rows(self, at, of, w, gram);
    }
    /// Adds what each affine layer saw, for a map that is made of such layers alone, with activations between them; `start` is where the map's parameters start among all. False, the default: it
    /// is none, and nothing is added.
    fn layer_inputs(
        &mut self,
        at: At<'_, T>,
        of: Kept<'_, T>,
        start: usize,
        layers: &mut Vec<super::LayerInputs<T>>,
    ) -> bool {
        let _ = (at, of, start, layers);
        false
    }
    /// Where the Jacobian has entries; for a map without a Jacobian of its own, where those made of products or differences have.
    fn structure(&self) -> &Structure {
        &DENSE
    }
    /// jac <- dy/dx, every entry, a block as [`structure`](Self::structure) says for each column of the batch.
    fn jacobian(&mut self, at: At<'_, T>, jac: &mut [T]) {
        let _ = (at, jac);
        missing("Jacobian")
    }
    /// What stands in for the inverse of I / (h gamma) - dy/dx, for a map by products.
    fn preconditioner(&self) -> Preconditioner<'_> {
        Preconditioner::None
    }
    /// v <- M^-1 v, or M^-T v with `transposed`, for each column of the batch, where M resembles I / (h gamma) - dy/dx at `at`.
    fn precondition(&mut self, at: At<'_, T>, h_gamma: T, v: &mut [T], transposed: bool) {
        let _ = (at, h_gamma, v, transposed);
        missing("preconditioner")
    }
    /// jac <- a matrix that resembles dy/dx, a block of the preconditioner's structure for each column of the batch.
    fn near_jacobian(&mut self, at: At<'_, T>, jac: &mut [T]) -> Work {
        let _ = (at, jac);
        missing("matrix that resembles the Jacobian")
    }
    /// Of [`Variational`](super::Variational) equations, how many directions: the batch is then a part of states and as many parts of their derivatives, and so
    /// are the blocks of [`jacobian`](Self::jacobian), dy/dx and its derivative along each direction. Zero for all other maps.
    #[inline(always)]
    fn directions(&self) -> usize {
        0
    }
    /// How many of the last components of x no output depends on, integrals along the solution ([`with_integral`](Self::with_integral)): implicit steps leave them out of their matrices.
    #[inline(always)]
    fn integrals(&self) -> usize {
        0
    }
    /// dt <- dy/dt, outputs x batch.
    fn time_derivative(&mut self, at: At<'_, T>, dt: &mut [T]) {
        let _ = (at, dt);
        missing("time derivative")
    }

    /// Length of x.
    #[inline(always)]
    fn inputs(&self) -> usize {
        self.size().inputs
    }
    /// Length of y.
    #[inline(always)]
    fn outputs(&self) -> usize {
        self.size().outputs
    }
    /// Length of p.
    #[inline(always)]
    fn n_params(&self) -> usize {
        self.size().params
    }

    /// With the vjp by a closure `|t, x, p, w, x_bar, p_bar|` on ONE column, which ADDS.
    fn with_vjp<G>(self, vjp: G) -> WithVjp<Self, G>
    where
        Self: Sized,
        G: FnMut(T, &[T], &[T], &[T], &mut [T], &mut [T]),
    {
        WithVjp { map: self, vjp }
    }
    /// With the jvp by a closure `|at, (t_dot, x_dot, p_dot), y_dot|` on ONE column and one direction; it writes every entry of y_dot.
    fn with_jvp<G>(self, jvp: G) -> WithJvp<Self, G, T>
    where
        Self: Sized,
        G: FnMut(At<'_, T>, (T, &[T], &[T]), &mut [T]),
    {
        WithJvp::new(self, jvp)
    }
    /// With the Jacobian by a closure `|t, x, p, jac|` on ONE column that writes dy_i/dx_j to `jac[j outputs + i]`, every entry.
    fn with_jacobian<G>(self, jacobian: G) -> WithJacobian<Self, G>
    where
        Self: Sized,
        G: FnMut(T, &[T], &[T], &mut [T]),
    {
        WithJacobian { map: self, jacobian, structure: Structure::Dense }
    }
    /// With a Jacobian of this structure.
    fn with_structured_jacobian<G>(self, structure: Structure, jacobian: G) -> WithJacobian<Self, G>
    where
        Self: Sized,
        G: FnMut(T, &[T], &[T], &mut [T]),
    {
        WithJacobian { map: self, jacobian, structure }
    }
    /// With entries of the Jacobian nowhere but here: it is made of as many products or differences as this structure has colours
    /// ([`colour`](super::colour)), in place of one an input. A Jacobian of the map's own is no longer offered.
    fn with_structure(self, structure: Structure) -> WithStructure<Self>
    where
        Self: Sized,
    {
        WithStructure { map: self, structure }
    }
    /// With the structure that [`detect`](super::detect::detect) finds by giving NaN to the map at the first column of `at`, or a sentence that says why it
    /// finds none. Some 2 log2(n) evaluations a colour.
    fn with_detected_structure(mut self, at: At<'_, T>) -> Result<WithStructure<Self>, OdeError>
    where
        Self: Sized,
    {
        let structure = detected(&mut self, at)?;
        Ok(self.with_structure(structure))
    }
    /// With no Jacobian at all: implicit steps solve by GMRES with Jacobian-vector products, adjoints with vector-Jacobian products. See [`ByProducts`].
    fn by_products(self) -> ByProducts<Self>
    where
        Self: Sized,
    {
        ByProducts::of(self)
    }
    /// With dy/dt by a closure `|t, x, p, dt|` on ONE column that writes every entry.
    fn with_time_derivative<G>(self, dt: G) -> WithTimeDerivative<Self, G>
    where
        Self: Sized,
        G: FnMut(T, &[T], &[T], &mut [T]),
    {
        WithTimeDerivative { map: self, dt }
    }
    /// Says that y does not depend on t: dy/dt = 0.
    fn autonomous(self) -> Autonomous<Self>
    where
        Self: Sized,
    {
        Autonomous { map: self }
    }
    /// A + B; parameters: those of A, then those of B.
    fn plus<B: Map<T>>(self, other: B) -> Result<Sum<Self, B, T>, OdeError>
    where
        Self: Sized,
    {
        Sum::new(self, other, false)
    }
    /// A + B, both with the same parameters.
    fn plus_shared<B: Map<T>>(self, other: B) -> Result<Sum<Self, B, T>, OdeError>
    where
        Self: Sized,
    {
        Sum::new(self, other, true)
    }
    /// The componentwise product; parameters: those of A, then those of B.
    fn times<B: Map<T>>(self, other: B) -> Result<Product<Self, B, T>, OdeError>
    where
        Self: Sized,
    {
        Product::new(self, other)
    }
    /// B(A(x)); parameters: those of A, then those of B.
    fn then<B: Map<T>>(self, next: B) -> Result<Chain<Self, B, T>, OdeError>
    where
        Self: Sized,
    {
        Chain::new(self, next)
    }
    /// (A(x); B(x)); parameters: those of A, then those of B.
    fn stack<B: Map<T>>(self, below: B) -> Result<Stack<Self, B, T>, OdeError>
    where
        Self: Sized,
    {
        Stack::new(self, below)
    }
    /// c A.
    fn scaled(self, c: T) -> Scaled<Self, T>
    where
        Self: Sized,
    {
        Scaled::new(self, c)
    }
    /// A field f with m integrals of Q, a map of its states to m numbers, along its solutions: y' = f(t, y, p), q' = Q(t, y, p) with the same parameters.
    /// [`Options::with_integrals`](crate::ode::Options::with_integrals) leaves them out of the error norm, so that the steps are those of y alone.
    fn with_integral<Q: Map<T>>(self, integrand: Q) -> Result<WithIntegral<Self, Q, T>, OdeError>
    where
        Self: Sized,
    {
        WithIntegral::new(self, integrand, true)
    }
    /// As [`with_integral`](Self::with_integral), with parameters of the integrand's own behind those of the field.
    fn with_own_integral<Q: Map<T>>(self, integrand: Q) -> Result<WithIntegral<Self, Q, T>, OdeError>
    where
        Self: Sized,
    {
        WithIntegral::new(self, integrand, false)
    }
    /// A map of n components: A takes those in `reads`, and its outputs are those in `writes`; the others are zero.
    fn on(self, reads: &[usize], writes: &[usize], n: usize) -> Result<On<Self, T>, OdeError>
    where
        Self: Sized,
    {
        On::new(self, reads, writes, n)
    }
}

fn detected<T: Scalar, M: Map<T>>(map: &mut M, at: At<'_, T>) -> Result<Structure, OdeError> {
    let Size { inputs, outputs, params } = map.size();
    if at.x.len() < inputs || at.p.len() != params {
        let what = format!(
            "looking for a structure needs {inputs} inputs and {params} parameters, not {} and {}",
            at.x.len(),
            at.p.len()
        );
        return Err(OdeError::Mismatch { what });
    }
    let mut f = |x: &[T], y: &mut [T]| map.value(At { x, ..at }, y);
    let found = detect(&mut f, &at.x[..inputs], outputs, EVALUATIONS);
    let found = found.map_err(|e| OdeError::Mismatch { what: e.to_string() })?;
    let (col_ptr, row_idx) = (found.pattern.col_ptr().to_vec(), found.pattern.row_idx().to_vec());
    Ok(Structure::Sparse { col_ptr, row_idx })
}

/// Reached only by calls that did not ask.
#[cold]
fn missing(what: &str) -> ! {
    panic!("this map offers no {what}: ask `offers` before")
}

/// What must be there, or a sentence that says what to add.
pub fn need<T: Scalar, M: Map<T> + ?Sized>(map: &M, what: Offers, who: &str) -> Result<(), OdeError> {
    let (offers, mut lacks) = (map.offers(), vec![]);
    for (one, name) in [
        (Offers::VJP, "a vector-Jacobian product (`with_vjp`)"),
        (Offers::JVP, "a Jacobian-vector product (`with_jvp`)"),
        (Offers::TANGENT, "the tangent of its vector-Jacobian product"),
        (Offers::JACOBIAN, "a Jacobian (`with_jacobian`)"),
        (Offers::DT, "a time derivative (`with_time_derivative`)"),
        (Offers::SECOND_ORDER, "the form of a second-order equation (`SecondOrder`)"),
    ] {
        if what.has(one) && !offers.has(one) {
            lacks.push(name);
        }
    }
    if lacks.is_empty() {
        return Ok(());
    }
    Err(OdeError::Mismatch { what: format!("{who} needs {}: the map has none", lacks.join(" and ")) })
}

fn each_column<T: Scalar, M: Map<T> + ?Sized>(
    map: &mut M,
    at: At<'_, T>,
    of: Kept<'_, T>,
    w: &[T],
    bars: BarsMut<'_, T>,
) {
    let Size { inputs, outputs, params } = map.size();
    let mut room = VjpRoom::default();
    // What was kept is of the batch: a column is evaluated again.
    let _ = of;
    let columns = at.x.chunks_exact(inputs).zip(w.chunks_exact(outputs)).zip(bars.x.chunks_exact_mut(inputs));
    for (c, ((x, w), x_bar)) in columns.enumerate() {
        let p_bar = &mut bars.p[c * params..][..params];
        room.add(map, At::new(at.t, x, at.p), w, BarsMut::new(x_bar, p_bar));
    }
}

/// Room for a vjp at a point where nothing was kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct VjpRoom<T> {
    y: Vec<T>,
    keep: Vec<T>,
}

impl<T: Scalar> VjpRoom<T> {
    /// Evaluates where the vjp needs it.
    pub fn evaluate<M: Map<T> + ?Sized>(&mut self, map: &mut M, at: At<'_, T>) -> Kept<'_, T> {
        if map.offers().has(Offers::ALONE) {
            self.y.clear();
            self.keep.clear();
            return Kept::NONE;
        }
        let batch = at.x.len() / map.inputs();
        self.y.resize(map.outputs() * batch, T::ZERO);
        self.keep.resize(map.keep_len(batch), T::ZERO);
        map.forward(at, &mut self.y, &mut self.keep);
        self.last()
    }
    /// What the last evaluation left.
    pub fn last(&self) -> Kept<'_, T> {
        Kept { y: &self.y, keep: &self.keep }
    }
    /// ADDS w' times the derivatives at `at`.
    pub fn add<M: Map<T> + ?Sized>(&mut self, map: &mut M, at: At<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        let of = self.evaluate(map, at);
        map.vjp(at, of, w, bars);
    }
}
