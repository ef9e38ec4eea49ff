//! Structured grids.

use crate::error::Error;

/// The condition on one side of an axis. Its data, where not zero, belong to the right-hand side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Boundary {
    /// u = 0: the side's nodes are no unknowns.
    Dirichlet,
    /// a du/dn = 0.
    Neumann,
    /// a du/dn + beta u = 0, beta >= 0.
    Robin(f64),
    /// The two sides of the axis are one.
    Periodic,
}

/// One axis: `cells` cells of equal width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Axis {
    /// Length, in the user's unit.
    pub length: f64,
    /// Cells, at least 1.
    pub cells: usize,
    /// Condition where the coordinate is 0.
    pub low: Boundary,
    /// Condition where the coordinate is `length`.
    pub high: Boundary,
}

impl Axis {
    /// Of length 1 with the same condition on both sides.
    pub fn unit(cells: usize, boundary: Boundary) -> Self {
        Self { length: 1.0, cells, low: boundary, high: boundary }
    }
    /// Width of a cell.
    pub fn spacing(&self) -> f64 {
        self.length / self.cells as f64
    }
    /// The two sides are one.
    pub fn is_periodic(&self) -> bool {
        self.low == Boundary::Periodic
    }
    /// The node of the first unknown.
    pub(super) fn first(&self) -> usize {
        usize::from(self.low == Boundary::Dirichlet)
    }
    /// Nodes that are unknowns.
    pub fn unknowns(&self) -> usize {
        if self.is_periodic() {
            return self.cells;
        }
        (self.cells + 1).saturating_sub(self.first() + usize::from(self.high == Boundary::Dirichlet))
    }
    /// What is wrong with the axis.
    fn fault(&self) -> Option<String> {
        let side = |b: Boundary| matches!(b, Boundary::Robin(beta) if !(beta >= 0.0 && beta.is_finite()));
        if !(self.length > 0.0 && self.length.is_finite()) {
            Some(format!("length {}, expected a positive finite number", self.length))
        } else if self.cells == 0 {
            Some("0 cells, expected at least 1".into())
        } else if (self.low == Boundary::Periodic) != (self.high == Boundary::Periodic) {
            Some("one periodic side, expected both or none".into())
        } else if self.is_periodic() && self.cells < 3 {
            Some(format!("{} cells, expected at least 3 where periodic", self.cells))
        } else if side(self.low) || side(self.high) {
            Some("a Robin coefficient that is negative or not finite".into())
        } else if self.unknowns() == 0 {
            Some(format!("no unknown with {} cells between two Dirichlet sides", self.cells))
        } else {
            None
        }
    }
}

/// A box of 1, 2 or 3 axes. Unknowns are nodes; the first axis runs fastest.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    axes: Vec<Axis>,
}

impl Grid {
    /// From its axes.
    ///
    /// # Errors
    /// [`Error::Problem`] for another number of axes, or an axis without unknowns, of no length, or with contradicting sides.
    pub fn new(axes: Vec<Axis>) -> Result<Self, Error> {
        let fail = |what: String| Err(Error::Problem { name: "grid".into(), what });
        if !(1..=3).contains(&axes.len()) {
            return fail(format!("{} axes, expected 1, 2 or 3", axes.len()));
        }
        for (k, axis) in axes.iter().enumerate() {
            if let Some(what) = axis.fault() {
                return fail(format!("axis {} has {what}", k + 1));
            }
        }
        let nodes = axes.iter().try_fold(1usize, |all, a| all.checked_mul(a.cells.checked_add(1)?));
        if nodes.is_none_or(|n| n > u32::MAX as usize) {
            return fail("more nodes than 32 bits can count".into());
        }
        Ok(Self { axes })
    }

    /// The unit interval, square or cube with the same number of cells and the same condition everywhere.
    ///
    /// # Errors
    /// As [`Grid::new`].
    pub fn unit(dimensions: usize, cells: usize, boundary: Boundary) -> Result<Self, Error> {
        Self::new(vec![Axis::unit(cells, boundary); dimensions])
    }

    /// The axes.
    pub fn axes(&self) -> &[Axis] {
        &self.axes
    }
    /// Number of unknowns.
    pub fn unknowns(&self) -> usize {
        self.shape().iter().product()
    }
    /// Number of cells.
    pub fn cells(&self) -> usize {
        self.axes.iter().map(|a| a.cells).product()
    }
    /// Unknowns along each axis, 1 for an axis that there is not.
    pub fn shape(&self) -> [usize; 3] {
        std::array::from_fn(|a| self.axes.get(a).map_or(1, Axis::unknowns))
    }
    /// Volume of a cell.
    pub fn cell_volume(&self) -> f64 {
        self.axes.iter().map(Axis::spacing).product()
    }
    /// Coordinates of unknown p, 0 for an axis that there is not.
    pub fn position(&self, p: usize) -> [f64; 3] {
        let [nx, ny, _] = self.shape();
        let at = [p % nx, p / nx % ny, p / (nx * ny)];
        std::array::from_fn(|a| self.axes.get(a).map_or(0.0, |x| (at[a] + x.first()) as f64 * x.spacing()))
    }
    /// Coordinates of the middle of cell c.
    pub fn cell_position(&self, c: usize) -> [f64; 3] {
        let mut rest = c;
        std::array::from_fn(|a| {
            self.axes.get(a).map_or(0.0, |x| {
                let at = rest % x.cells;
                rest /= x.cells;
                (at as f64 + 0.5) * x.spacing()
            })
        })
    }
    /// The values of a function at the unknowns.
    pub fn evaluate(&self, f: impl Fn([f64; 3]) -> f64) -> Vec<f64> {
        (0..self.unknowns()).map(|p| f(self.position(p))).collect()
    }
    /// The values of a function in the middle of the cells.
    pub fn evaluate_cells(&self, f: impl Fn([f64; 3]) -> f64) -> Vec<f64> {
        (0..self.cells()).map(|c| f(self.cell_position(c))).collect()
    }
    /// Lumped masses of the unknowns, divided by the volume of a cell: the weights of integrals.
    pub fn mass(&self) -> Vec<f64> {
        let of = |a: usize| match self.axes.get(a) {
            None => vec![1.0],
            Some(x) => {
                let last = x.unknowns() - 1;
                let half = |end: bool, side: Boundary| {
                    end && !matches!(side, Boundary::Dirichlet | Boundary::Periodic)
                };
                (0..=last)
                    .map(|i| {
                        let ends = half(i == 0, x.low) as u8 + half(i == last, x.high) as u8;
                        1.0 - 0.5 * f64::from(ends)
                    })
                    .collect::<Vec<f64>>()
            }
        };
        let [mx, my, mz] = [of(0), of(1), of(2)];
        let mut out = Vec::with_capacity(self.unknowns());
        for z in &mz {
            for y in &my {
                out.extend(mx.iter().map(|x| x * y * z));
            }
        }
        out
    }
    /// The unknowns on one side of an axis (`high`: where the coordinate is `length`) and their surface weights divided by the volume of a
    /// cell; empty where the side has no unknowns.
    pub fn side(&self, axis: usize, high: bool) -> (Vec<usize>, Vec<f64>) {
        let Some(x) = self.axes.get(axis) else { return (Vec::new(), Vec::new()) };
        let side = if high { x.high } else { x.low };
        if matches!(side, Boundary::Dirichlet | Boundary::Periodic) {
            return (Vec::new(), Vec::new());
        }
        let shape = self.shape();
        let stride: usize = shape[..axis].iter().product();
        let at = if high { shape[axis] - 1 } else { 0 };
        let mass = self.mass();
        (0..self.unknowns())
            .filter(|p| p / stride % shape[axis] == at)
            .map(|p| (p, 2.0 * mass[p] / x.spacing()))
            .unzip()
    }
}

/// How the equation becomes a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scheme {
    /// Finite differences (finite volumes around the nodes): 2 d + 1 points, lumped masses.
    #[default]
    FiniteDifferences,
    /// Multilinear elements: 3^d points. c u is c M u with the consistent mass matrix M; fields on the diagonal are lumped.
    Q1,
}
