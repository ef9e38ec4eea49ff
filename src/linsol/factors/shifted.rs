//! The matrix of an implicit step, W = M / (h gamma) - J.

use super::choose::{Choice, ChooseOptions, Structure, choose};
use super::{BandLu, DenseLu, FactorError, FactorFacts, Factors, Krylov, SparseLu, refill, right_hand_sides};
use crate::linalg::order::inverse;
use crate::linalg::{BandRef, MatrixRef, Pattern, Scalar, SparseRef};

const NAME: &str = "step matrix";

/// How the values of J come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// n x n numbers, column by column.
    Dense {
        /// Rows and columns.
        n: usize,
    },
    /// As [`crate::linalg::BandRef`].
    Band {
        /// Rows and columns.
        n: usize,
        /// Diagonals below the main one.
        lower: usize,
        /// Diagonals above it.
        upper: usize,
    },
    /// One number an entry of a square pattern, in its order.
    Sparse(Pattern),
}

impl Layout {
    /// Unknowns.
    pub fn n(&self) -> usize {
        match self {
            Self::Dense { n } | Self::Band { n, .. } => *n,
            Self::Sparse(pattern) => pattern.nrows(),
        }
    }
    /// Numbers that hold J.
    pub fn len(&self) -> usize {
        match self {
            Self::Dense { n } => n * n,
            Self::Band { n, lower, upper } => n * (lower + upper + 1),
            Self::Sparse(pattern) => pattern.len(),
        }
    }
    /// Nothing to hold.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The entries.
    pub fn pattern(&self) -> Pattern {
        match self {
            Self::Dense { n } => Pattern::dense(*n, *n),
            Self::Band { n, lower, upper } => Pattern::banded(*n, *lower, *upper),
            Self::Sparse(pattern) => pattern.clone(),
        }
    }
    /// Position of entry (i, j), which is the k-th of the pattern, among the numbers.
    fn position(&self, k: usize, i: usize, j: usize) -> usize {
        match self {
            Self::Dense { n } => j * n + i,
            Self::Band { lower, upper, .. } => j * (lower + upper + 1) + upper + i - j,
            Self::Sparse(_) => k,
        }
    }
}

/// M of M y' = f(t, y).
#[derive(Debug, Clone, Copy)]
pub enum Mass<'a, T> {
    /// I.
    Identity,
    /// A diagonal matrix; zeros make algebraic equations.
    Diagonal(&'a [T]),
    /// Any matrix.
    Sparse(SparseRef<'a, T>),
}

/// W = M / (h gamma) - J in the structure chosen for its pattern, factored anew for each h gamma and J; solves with W and W'.
///
/// The caller writes J into [`StepMatrix::jacobian_mut`]; where each of its entries goes, and where those of M are added, is known from the start, the
/// reordering included: right-hand sides and solutions are in the caller's order. Nothing is allocated after the first factorization and
/// solve, unless [`SparseLu`] has much fill.
///
/// ```
/// use costate::linsol::factors::{Layout, Mass, StepMatrix};
///
/// // y' = -y_1 + y_2, y_1 - 2 y_2.
/// let layout = Layout::Dense { n: 2 };
/// let mut w = StepMatrix::<f64>::new(layout, Mass::Identity, &Default::default())?;
/// assert_eq!(w.choice().to_string(), "dense, 2 colours");
/// w.jacobian_mut().copy_from_slice(&[-1.0, 1.0, 1.0, -2.0]);
/// w.refactor(0.5)?;
/// let mut b = [2.0, 3.0];
/// w.solve(&mut b)?; // [3 -1; -1 4] x = b
/// assert!((b[0] - 1.0).abs() < 1e-15 && (b[1] - 1.0).abs() < 1e-15);
/// # Ok::<(), costate::linsol::factors::FactorError>(())
/// ```
pub struct StepMatrix<T> {
    layout: Layout,
    choice: Choice,
    jacobian: Vec<T>,
    /// W as it is factored.
    held: Held<T>,
    /// Position in `held` of each number of J, `NONE` for unused ones; empty where they are the same.
    to: Vec<usize>,
    /// Positions and values of M.
    mass: Vec<(usize, T)>,
    factors: Box<dyn Factors<T> + Send>,
    work: Vec<T>,
    h_gamma: Option<T>,
}

const NONE: usize = usize::MAX;

/// Values of W in a layout.
struct Held<T> {
    layout: Layout,
    values: Vec<T>,
}

impl<T: Scalar> Held<T> {
    fn as_ref(&self) -> MatrixRef<'_, T> {
        let values = &self.values[..];
        match &self.layout {
            Layout::Dense { n } => MatrixRef::Dense { n: *n, values },
            Layout::Band { n, lower, upper } => {
                MatrixRef::Band(BandRef { n: *n, lower: *lower, upper: *upper, values })
            }
            Layout::Sparse(pattern) => MatrixRef::Sparse(pattern.with_values(values)),
        }
    }
}

impl<T: Scalar> StepMatrix<T> {
    /// For Jacobians of this layout, in the structure that [`choose`] finds for the entries of J and M together.
    pub fn new(layout: Layout, mass: Mass<'_, T>, options: &ChooseOptions) -> Result<Self, FactorError> {
        let pattern = whole(&layout, &mass)?;
        let choice = match layout {
            Layout::Dense { n } => Choice::dense(n),
            _ => choose(&pattern, options),
        };
        Self::build(layout, mass, pattern, choice)
    }

    /// In a structure of the caller's. A band that does not hold all entries is an error.
    pub fn with_choice(layout: Layout, mass: Mass<'_, T>, choice: Choice) -> Result<Self, FactorError> {
        let pattern = match layout {
            Layout::Dense { n } if choice.structure != Structure::Dense => Pattern::dense(n, n),
            _ => whole(&layout, &mass)?,
        };
        Self::build(layout, mass, pattern, choice)
    }

    /// With factors of the caller's in the place of those of the structure: [`Krylov`] with another preconditioner, say.
    pub fn with_factors(mut self, factors: Box<dyn Factors<T> + Send>) -> Self {
        self.factors = factors;
        self.h_gamma = None;
        self
    }

    fn build(
        layout: Layout,
        mass: Mass<'_, T>,
        pattern: Pattern,
        choice: Choice,
    ) -> Result<Self, FactorError> {
        let n = layout.n();
        if choice.order.as_ref().is_some_and(|order| !is_permutation(order, n)) {
            return Err(FactorError::Malformed { solver: NAME });
        }
        let place = choice.order.as_ref().map(|order| inverse(order));
        let place = |i: usize| place.as_ref().map_or(i, |place| place[i]);
        let (held, factors): (Layout, Box<dyn Factors<T> + Send>) = match choice.structure {
            Structure::Dense => (Layout::Dense { n }, Box::new(DenseLu::new())),
            Structure::Band { lower, upper, .. } => {
                (Layout::Band { n, lower, upper }, Box::new(BandLu::new()))
            }
            Structure::Sparse => (Layout::Sparse(pattern), Box::new(SparseLu::new())),
            Structure::Krylov => (Layout::Sparse(pattern), Box::new(Krylov::default())),
            Structure::Products(_) => return Err(FactorError::Malformed { solver: NAME }),
        };
        let position = |i: usize, j: usize| {
            let (i, j) = (place(i), place(j));
            match &held {
                Layout::Sparse(pattern) => pattern.position(i, j),
                Layout::Band { lower, upper, .. } if i > j + lower || j > i + upper => None,
                other => Some(other.position(0, i, j)),
            }
            .ok_or(FactorError::Malformed { solver: NAME })
        };
        let mut to = Vec::new();
        if choice.order.is_some() || held != layout {
            to.resize(layout.len(), NONE);
            for (k, (i, j)) in layout.pattern().entries().enumerate() {
                to[layout.position(k, i, j)] = position(i, j)?;
            }
        }
        let mut masses = Vec::with_capacity(n);
        match mass {
            Mass::Identity => (0..n).try_for_each(|i| position(i, i).map(|p| masses.push((p, T::ONE))))?,
            Mass::Diagonal(m) => (0..n).try_for_each(|i| position(i, i).map(|p| masses.push((p, m[i]))))?,
            Mass::Sparse(m) => {
                let mut done = Ok(());
                MatrixRef::Sparse(m).for_each(|i, j, v| match position(i, j) {
                    Ok(p) => masses.push((p, v)),
                    Err(e) => done = Err(e),
                });
                done?;
            }
        }
        let mut values = Vec::new();
        refill(NAME, &mut values, held.len(), T::ZERO)?;
        Ok(Self {
            jacobian: Vec::new(),
            layout,
            choice,
            held: Held { layout: held, values },
            to,
            mass: masses,
            factors,
            work: Vec::new(),
            h_gamma: None,
        })
    }

    /// Unknowns.
    pub fn n(&self) -> usize {
        self.layout.n()
    }
    /// How J's values come.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }
    /// The structure; printed it is one line for a report.
    pub fn choice(&self) -> &Choice {
        &self.choice
    }
    /// Work and storage of the last factorization.
    pub fn facts(&self) -> FactorFacts {
        self.factors.facts()
    }
    /// The h gamma of the factors; none before the first factorization and after one that failed.
    pub fn h_gamma(&self) -> Option<T> {
        self.h_gamma
    }
    /// How exact the solves to come are, where they are iterations: |b - W x| <= relative |b|.
    pub fn set_tolerance(&mut self, relative: f64) {
        self.factors.set_tolerance(relative);
    }
    /// The values of J; empty before they are first written.
    pub fn jacobian(&self) -> &[T] {
        &self.jacobian
    }
    /// The values of J, to be written; the factors stay those of the values before until [`StepMatrix::refactor`].
    pub fn jacobian_mut(&mut self) -> &mut [T] {
        self.jacobian.resize(self.layout.len(), T::ZERO);
        &mut self.jacobian
    }

    /// Factors M / (h gamma) - J.
    pub fn refactor(&mut self, h_gamma: T) -> Result<(), FactorError> {
        self.jacobian_mut();
        let jacobian = std::mem::take(&mut self.jacobian);
        let factored = self.refactor_with(&jacobian, h_gamma);
        self.jacobian = jacobian;
        factored
    }

    /// The same with the values of J that the caller holds, in the layout.
    pub fn refactor_with(&mut self, jacobian: &[T], h_gamma: T) -> Result<(), FactorError> {
        self.h_gamma = None;
        if jacobian.len() != self.layout.len() {
            return Err(FactorError::Malformed { solver: NAME });
        }
        let Self { held, to, mass, .. } = self;
        if to.is_empty() {
            held.values.iter_mut().zip(jacobian).for_each(|(w, v)| *w = -*v);
        } else {
            held.values.fill(T::ZERO);
            for (&p, v) in to.iter().zip(jacobian) {
                if p != NONE {
                    held.values[p] = -*v;
                }
            }
        }
        let scale = T::ONE / h_gamma;
        mass.iter().for_each(|&(p, m)| held.values[p] += m * scale);
        self.factors.factor(held.as_ref()).map_err(|e| self.in_callers_order(e))?;
        self.h_gamma = Some(h_gamma);
        Ok(())
    }

    /// Unknowns of a reordered matrix under the names that the caller knows.
    fn in_callers_order(&self, e: FactorError) -> FactorError {
        let Some(order) = &self.choice.order else { return e };
        match e {
            FactorError::Singular { solver, column } => {
                FactorError::Singular { solver, column: order[column] }
            }
            FactorError::NotFinite { solver, row, column } => {
                FactorError::NotFinite { solver, row: order[row], column: order[column] }
            }
            other => other,
        }
    }

    /// b <- W^-1 b for one or more right-hand sides, one after the other.
    pub fn solve(&mut self, b: &mut [T]) -> Result<(), FactorError> {
        self.run(b, false)
    }

    /// b <- W^-T b, likewise.
    pub fn solve_t(&mut self, b: &mut [T]) -> Result<(), FactorError> {
        self.run(b, true)
    }

    fn run(&mut self, b: &mut [T], transposed: bool) -> Result<(), FactorError> {
        let Some(order) = &self.choice.order else {
            return if transposed { self.factors.solve_t(b) } else { self.factors.solve(b) };
        };
        let n = self.layout.n();
        if right_hand_sides(NAME, n, b.len())? == 0 {
            return Ok(());
        }
        // P W P' is factored; the same holds for its transpose.
        self.work.resize(b.len(), T::ZERO);
        for (w, b) in self.work.chunks_exact_mut(n).zip(b.chunks_exact(n)) {
            w.iter_mut().zip(order).for_each(|(w, &i)| *w = b[i]);
        }
        if transposed {
            self.factors.solve_t(&mut self.work)?
        } else {
            self.factors.solve(&mut self.work)?
        }
        for (w, b) in self.work.chunks_exact(n).zip(b.chunks_exact_mut(n)) {
            w.iter().zip(order).for_each(|(w, &i)| b[i] = *w);
        }
        Ok(())
    }
}

fn is_permutation(order: &[usize], n: usize) -> bool {
    let mut seen = vec![false; n];
    order.len() == n && order.iter().all(|&i| i < n && !std::mem::replace(&mut seen[i], true))
}

/// Entries of J and M together.
fn whole<T: Scalar>(layout: &Layout, mass: &Mass<'_, T>) -> Result<Pattern, FactorError> {
    let n = layout.n();
    // Of a full matrix the pattern is not needed.
    let full = matches!(layout, Layout::Dense { .. });
    let pattern = if full { Pattern::banded(n, 0, 0) } else { layout.pattern() };
    let fits = match mass {
        Mass::Identity => true,
        Mass::Diagonal(m) => m.len() == n,
        Mass::Sparse(m) => m.nrows == n && MatrixRef::Sparse(*m).is_well_formed(),
    };
    if !fits || pattern.ncols() != n {
        return Err(FactorError::Malformed { solver: NAME });
    }
    if full {
        return Ok(pattern);
    }
    Ok(match mass {
        Mass::Sparse(m) => pattern.union(&Pattern::of(*m)),
        _ => pattern.union(&Pattern::banded(n, 0, 0)),
    })
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{Demands, check};
    use super::*;
    use crate::linsol::testing::Random;

    /// A step matrix in the place of a factorization: M = 0 and J = -A give W = A to the bit.
    struct Through {
        pick: fn(&Pattern) -> Option<Choice>,
        step: Option<(Pattern, StepMatrix<f64>)>,
    }

    impl Factors<f64> for Through {
        fn name(&self) -> &'static str {
            NAME
        }
        fn factor(&mut self, a: MatrixRef<'_, f64>) -> Result<(), FactorError> {
            if !a.is_well_formed() {
                self.step = None;
                return Err(FactorError::Malformed { solver: NAME });
            }
            let n = a.n();
            let mut entries = Vec::new();
            a.for_each(|i, j, v| entries.push((i, j, v)));
            let pattern = Pattern::of_columns(n, {
                let mut rows_of = vec![Vec::new(); n];
                entries.iter().for_each(|&(i, j, _)| rows_of[j].push(i));
                rows_of
            });
            if self.step.as_ref().is_none_or(|(known, _)| *known != pattern) {
                let (layout, mass) = (Layout::Sparse(pattern.clone()), vec![0.0; n]);
                let whole = pattern.union(&Pattern::banded(n, 0, 0));
                let step = match (self.pick)(&whole) {
                    Some(choice) => StepMatrix::with_choice(layout, Mass::Diagonal(&mass), choice),
                    None => StepMatrix::new(layout, Mass::Diagonal(&mass), &ChooseOptions::default()),
                };
                self.step = Some((pattern.clone(), step?));
            }
            let Some((_, step)) = &mut self.step else { return Ok(()) };
            for (k, (i, j)) in pattern.entries().enumerate() {
                let sum: f64 = entries.iter().filter(|e| (e.0, e.1) == (i, j)).map(|e| e.2).sum();
                step.jacobian_mut()[k] = -sum;
            }
            step.refactor(0.5)
        }
        fn solve(&mut self, b: &mut [f64]) -> Result<(), FactorError> {
            let e = FactorError::Length { solver: NAME, found: b.len(), n: 0 };
            self.step.as_mut().map_or(Err(e), |(_, step)| step.solve(b))
        }
        fn solve_t(&mut self, b: &mut [f64]) -> Result<(), FactorError> {
            let e = FactorError::Length { solver: NAME, found: b.len(), n: 0 };
            self.step.as_mut().map_or(Err(e), |(_, step)| step.solve_t(b))
        }
        fn facts(&self) -> FactorFacts {
            self.step.as_ref().map(|(_, step)| step.facts()).unwrap_or_default()
        }
    }

    fn conforms(pick: fn(&Pattern) -> Option<Choice>) {
        // Looking up entries one by one takes long for large ones.
        let demands = Demands { up_to: 150, ..Demands::default() };
        let make = move || -> Box<dyn Factors<f64>> { Box::new(Through { pick, step: None }) };
        assert_eq!(check::<f64>(&make, &demands), Ok(()));
    }

    fn plain(structure: Structure, order: Option<Vec<usize>>) -> Option<Choice> {
        Some(Choice { structure, order, colours: 0, flops: 0.0, fill: 0.0 })
    }

    #[test]
    fn step_matrices_conform_in_every_structure() {
        conforms(|_| None);
        conforms(|_| plain(Structure::Dense, None));
        conforms(|_| plain(Structure::Sparse, None));
        conforms(|a| {
            let order = crate::linalg::order::reverse_cuthill_mckee(a);
            let place = inverse(&order);
            let (lower, upper) = crate::linalg::bandwidth(a.entries().map(|(i, j)| (place[i], place[j])));
            plain(Structure::Band { lower, upper, reordered: true }, Some(order))
        });
    }

    #[test]
    fn iterations_take_tolerances_and_other_preconditioners() {
        let n = 300;
        let pattern = Pattern::banded(n, 1, 1).union(&Pattern::new(n, n, [(0, n - 1), (n - 1, 0)]).unwrap());
        let choice = plain(Structure::Krylov, None).unwrap();
        let make = || {
            StepMatrix::<f64>::with_choice(Layout::Sparse(pattern.clone()), Mass::Identity, choice.clone())
        };
        let options = super::super::KrylovOptions::default();
        let direct = Krylov::with_preconditioner(options, Some(Box::new(SparseLu::new())));
        for mut step in [make().unwrap(), make().unwrap().with_factors(Box::new(direct))] {
            for (v, (i, j)) in step.jacobian_mut().iter_mut().zip(pattern.entries()) {
                *v = if i == j { -200.0 } else { 100.0 };
            }
            step.refactor(0.1).unwrap();
            let mut products = Vec::new();
            for tolerance in [1e-2, 1e-10] {
                step.set_tolerance(tolerance);
                let mut x: Vec<f64> = (0..n).map(|i| (i as f64).sin()).collect();
                step.solve(&mut x).unwrap();
                let wrong = (0..n)
                    .map(|i| 210.0 * x[i] - 100.0 * (x[(i + 1) % n] + x[(i + n - 1) % n]) - (i as f64).sin());
                let wrong = wrong.map(|v| v * v).sum::<f64>().sqrt();
                assert!(wrong <= 1.01 * tolerance * (n as f64 / 2.0).sqrt(), "{wrong:e} for {tolerance:e}");
                products.push(step.facts().iterations);
            }
            assert!(products[0] <= products[1] && products[1] < 60, "{products:?}");
        }
    }

    /// W computed entry by entry for every layout and mass, and W x = b tested with it.
    #[test]
    fn w_is_mass_by_h_gamma_minus_jacobian() {
        let n = 12;
        let mut random = Random::new(1);
        let scattered = (0..3 * n).flat_map(|k| [(k % n, (k * k + 5) % n), (k % n, k % n)]);
        let scattered = Pattern::new(n, n, scattered).unwrap();
        let diagonal: Vec<f64> = (0..n).map(|i| if i % 4 == 3 { 0.0 } else { 1.0 + i as f64 }).collect();
        let mass_pattern = Pattern::banded(n, 1, 0);
        let mass_values = random.vector(mass_pattern.len());
        let masses =
            [Mass::Identity, Mass::Diagonal(&diagonal), Mass::Sparse(mass_pattern.with_values(&mass_values))];
        for layout in [Layout::Dense { n }, Layout::Band { n, lower: 2, upper: 1 }, Layout::Sparse(scattered)]
        {
            for mass in masses {
                let mut step = StepMatrix::new(layout.clone(), mass, &ChooseOptions::default()).unwrap();
                let j = random.vector(layout.len());
                step.jacobian_mut().copy_from_slice(&j);
                for h_gamma in [0.1, -0.02] {
                    let mut w = vec![0.0; n * n];
                    for (k, (i, c)) in layout.pattern().entries().enumerate() {
                        w[c * n + i] -= j[layout.position(k, i, c)];
                    }
                    match mass {
                        Mass::Identity => (0..n).for_each(|i| w[i * n + i] += 1.0 / h_gamma),
                        Mass::Diagonal(m) => (0..n).for_each(|i| w[i * n + i] += m[i] / h_gamma),
                        Mass::Sparse(m) => {
                            MatrixRef::Sparse(m).for_each(|i, c, v| w[c * n + i] += v / h_gamma);
                        }
                    }
                    step.refactor(h_gamma).unwrap();
                    assert_eq!(step.h_gamma(), Some(h_gamma));
                    let want = random.vector(3 * n);
                    for transposed in [false, true] {
                        let mut b = vec![0.0; 3 * n];
                        for ((r, i), k) in (0..3)
                            .flat_map(|r| (0..n).map(move |i| (r, i)))
                            .flat_map(|p| (0..n).map(move |k| (p, k)))
                        {
                            b[r * n + i] +=
                                if transposed { w[i * n + k] } else { w[k * n + i] } * want[r * n + k];
                        }
                        if transposed {
                            step.solve_t(&mut b).unwrap()
                        } else {
                            step.solve(&mut b).unwrap()
                        }
                        let off = b.iter().zip(&want).fold(0.0f64, |m, (x, y)| m.max((x - y).abs()));
                        assert!(off < 1e-9, "{} with {mass:?}: {off:e}", step.choice());
                    }
                }
                // h gamma = 0 and a Jacobian that is not finite are errors, and then all is well again.
                assert!(step.refactor(0.0).is_err());
                assert_eq!(step.h_gamma(), None);
                step.jacobian_mut().fill(f64::NAN);
                assert!(matches!(step.refactor(0.1), Err(FactorError::NotFinite { .. })));
                step.jacobian_mut().copy_from_slice(&j);
                step.refactor(0.1).unwrap();
            }
        }
        let short =
            StepMatrix::new(Layout::Dense { n: 3 }, Mass::Diagonal(&diagonal), &ChooseOptions::default());
        assert!(matches!(short, Err(FactorError::Malformed { .. })));
        let narrow = plain(Structure::Band { lower: 1, upper: 1, reordered: false }, None).unwrap();
        let wide = Layout::Band { n, lower: 2, upper: 1 };
        assert!(StepMatrix::<f64>::with_choice(wide, Mass::Identity, narrow).is_err());
    }
}
