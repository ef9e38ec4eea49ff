//! What drives a stochastic equation: a Brownian path made from a seed, or increments that are given.

use std::sync::Arc;

use super::brownian::{Brownian, BrownianPath};
use crate::error::{OdeError, check_len};

/// The path of an equation.
#[derive(Debug, Clone)]
pub enum Path {
    /// Made from a seed.
    Seeded(Brownian),
    /// Given.
    Given(Arc<Increments>),
}

impl From<Brownian> for Path {
    fn from(b: Brownian) -> Self {
        Self::Seeded(b)
    }
}
impl From<Increments> for Path {
    fn from(i: Increments) -> Self {
        Self::Given(Arc::new(i))
    }
}
impl From<Arc<Increments>> for Path {
    fn from(i: Arc<Increments>) -> Self {
        Self::Given(i)
    }
}

/// Brownian increments given by the user: from other software, of antithetic or common paths, or data.
///
/// Steps are made of whole intervals: with error control a step takes as many as its error allows, and the integration ends with
/// [`StepUnderflow`](crate::ode::OdeStop::StepUnderflow) where the error of one is too large; with a fixed step h the grid t0 + j h must be among the times. The span and declared stops begin and
/// end at times; at save points between them the solution is drawn straight.
#[derive(Debug, Clone, PartialEq)]
pub struct Increments {
    times: Vec<f64>,
    w: Vec<f64>,
    area: Vec<f64>,
    width: usize,
    columns: usize,
}

impl Increments {
    /// Over the intervals between ascending times; w is width x columns x (times - 1), column-major: the increments of all motions of a trajectory, of all trajectories, of all
    /// intervals. Column j of a batch (trajectory j of an ensemble) takes column j.
    pub fn new(times: &[f64], w: &[f64], width: usize) -> Result<Self, OdeError> {
        let intervals = times.len().saturating_sub(1);
        if intervals == 0 || width == 0 {
            let what = "given increments need two times and one motion at least".to_string();
            return Err(OdeError::Mismatch { what });
        }
        if let Some(i) =
            (0..intervals).find(|&i| !(times[i] < times[i + 1] && (times[i + 1] - times[i]).is_finite()))
        {
            let what = format!(
                "the times of increments must ascend: time {} is {}, the one before {}",
                i + 1,
                times[i + 1],
                times[i]
            );
            return Err(OdeError::Mismatch { what });
        }
        let columns = w.len() / (width * intervals);
        check_len("the increments", w.len(), width * columns.max(1) * intervals)?;
        if let Some(index) = w.iter().position(|v| !v.is_finite()) {
            return Err(OdeError::NotFinite { what: "the increments", index, value: w[index] });
        }
        Ok(Self { times: times.to_vec(), w: w.to_vec(), area: vec![], width, columns })
    }
    /// With the space-time Levy areas H of the intervals (see [`Brownian`]), of the same shape: methods of order 1.5 need them.
    pub fn with_areas(self, area: &[f64]) -> Result<Self, OdeError> {
        check_len("the areas of the increments", area.len(), self.w.len())?;
        if let Some(index) = area.iter().position(|v| !v.is_finite()) {
            return Err(OdeError::NotFinite {
                what: "the areas of the increments",
                index,
                value: area[index],
            });
        }
        Ok(Self { area: area.to_vec(), ..self })
    }
    /// The times.
    pub fn times(&self) -> &[f64] {
        &self.times
    }
    /// The time nearest to t, and whether it is t up to rounding.
    fn nearest(&self, t: f64) -> (usize, bool) {
        let after = self.times.partition_point(|&x| x < t).min(self.times.len() - 1);
        let before = after.saturating_sub(1);
        let i = if t - self.times[before] < self.times[after] - t { before } else { after };
        let cell = if i > 0 { self.times[i] - self.times[i - 1] } else { self.times[1] - self.times[0] };
        (i, (self.times[i] - t).abs() <= 1e-6 * cell)
    }
}

/// Increments read from left to right.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    given: Arc<Increments>,
    /// The first column of the batch.
    first: usize,
    position: u64,
    target: u64,
    w: Vec<f64>,
    area: Vec<f64>,
}

impl Reader {
    fn look(&mut self, target: u64) -> (&[f64], &[f64]) {
        self.target = target;
        self.w.fill(0.0);
        self.area.fill(0.0);
        let Increments { times, w, area, width, columns } = &*self.given;
        let (n, stride) = (self.w.len(), width * columns);
        let mut h1 = 0.0;
        for k in self.position as usize..target as usize {
            let (h2, at) = (times[k + 1] - times[k], k * stride + self.first * width);
            let h = h1 + h2;
            // Join: as in the tree of a seeded path.
            for i in 0..n {
                let (w2, a2) = (w[at + i], area.get(at + i).copied().unwrap_or(0.0));
                let joined = (h1 * self.area[i] + h2 * a2 + 0.5 * (h2 * self.w[i] - h1 * w2)) / h;
                self.area[i] = if h1 == 0.0 { a2 } else { joined };
                self.w[i] += w2;
            }
            h1 = h;
        }
        (&self.w, &self.area)
    }
}

/// A path at a position, with its storage. Ticks of given increments are numbers of their times.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // One for each stepper.
pub(crate) enum Track {
    Seeded(BrownianPath),
    Given(Reader),
}

impl Track {
    pub fn new(width: usize, batch: usize) -> Result<Self, OdeError> {
        Ok(Self::Seeded(BrownianPath::new(&Brownian::new(0), (0.0, 1.0), width, batch)?))
    }

    /// Another path; a seeded one has its interval and cells. `trajectory` is the number of the first column of `batch` columns.
    pub fn set(
        &mut self,
        path: &Path,
        span: (f64, f64),
        (width, batch): (usize, usize),
        trajectory: u32,
    ) -> Result<(), OdeError> {
        match (path, &mut *self) {
            (Path::Seeded(b), Track::Seeded(tree)) if tree.fits(width, batch) => tree.set(b, span),
            (Path::Seeded(b), _) => {
                *self = Track::Seeded(BrownianPath::new(b, span, width, batch)?);
                Ok(())
            }
            (Path::Given(given), _) => {
                check_given(given, span, (width, batch), trajectory)?;
                let (n, given, first) = (width * batch, given.clone(), trajectory as usize);
                match self {
                    Track::Given(reader) if reader.w.len() == n => {
                        (reader.given, reader.first, reader.position) = (given, first, 0);
                    }
                    _ => {
                        let (w, area) = (vec![0.0; n], vec![0.0; n]);
                        *self = Track::Given(Reader { given, first, position: 0, target: 0, w, area });
                    }
                }
                Ok(())
            }
        }
    }
    /// The tick nearest to t.
    pub fn tick_of(&self, t: f64) -> u64 {
        match self {
            Track::Seeded(tree) => tree.tick_of(t),
            Track::Given(reader) => reader.given.nearest(t).0 as u64,
        }
    }
    /// Whether a step can end at t.
    pub fn has(&self, t: f64) -> bool {
        match self {
            Track::Seeded(_) => true,
            Track::Given(reader) => reader.given.nearest(t).1,
        }
    }
    /// The first tick behind t.
    pub fn after(&self, t: f64) -> u64 {
        match self {
            Track::Seeded(tree) => tree.tick_of(t) + 1,
            Track::Given(reader) => reader.given.times.partition_point(|&x| x <= t) as u64,
        }
    }
    /// Time of a tick.
    pub fn time_of(&self, tick: u64) -> f64 {
        match self {
            Track::Seeded(tree) => tree.time_of(tick),
            Track::Given(reader) => reader.given.times[tick as usize],
        }
    }
    /// The shortest step.
    pub fn shortest(&self) -> f64 {
        match self {
            Track::Seeded(tree) => 64.0 * tree.tick(),
            Track::Given(_) => 0.0,
        }
    }
    /// The last tick at which a step of length h from this tick should end; this one if there is none.
    ///
    /// Of a seeded path a tick divisible by a power of two of at least 1/64 of the step, so that only the upper part of the path's tree is needed.
    pub fn reach(&self, tick: u64, h: f64) -> u64 {
        match self {
            Track::Seeded(tree) => {
                let ticks = h / tree.tick();
                let unit = 1u64 << ((ticks / 32.0).max(1.0).log2() as u32);
                (tick + ticks as u64) / unit * unit
            }
            Track::Given(reader) => {
                let times = &reader.given.times;
                let end = times[tick as usize] + h * (1.0 + 1e-9);
                times.partition_point(|&t| t <= end).saturating_sub(1).max(tick as usize) as u64
            }
        }
    }
    /// Increments w and areas H from the position to a later tick; the position stays.
    pub fn look(&mut self, target: u64) -> (&[f64], &[f64]) {
        match self {
            Track::Seeded(tree) => tree.look(target),
            Track::Given(reader) => reader.look(target),
        }
    }
    /// Moves to what was looked at last.
    pub fn accept(&mut self) {
        match self {
            Track::Seeded(tree) => tree.accept(),
            Track::Given(reader) => reader.position = reader.target,
        }
    }
    /// Moves anywhere.
    pub fn seek(&mut self, tick: u64) {
        match self {
            Track::Seeded(tree) => tree.seek(tick),
            Track::Given(reader) => reader.position = tick,
        }
    }
    /// Whether steps are a few ticks long.
    pub fn is_coarse(&self) -> bool {
        matches!(self, Track::Given(_))
    }
    /// Whether there are areas.
    pub fn has_areas(&self) -> bool {
        match self {
            Track::Seeded(_) => true,
            Track::Given(reader) => !reader.given.area.is_empty(),
        }
    }
}

fn check_given(
    given: &Increments,
    (t0, t1): (f64, f64),
    (width, batch): (usize, usize),
    trajectory: u32,
) -> Result<(), OdeError> {
    check_len("the motions of given increments", given.width, width)?;
    let wanted = trajectory as usize + batch;
    if given.columns < wanted {
        let what =
            format!("the increments have {} columns, {wanted} trajectories need one each", given.columns);
        return Err(OdeError::Mismatch { what });
    }
    for t in [t0, t1] {
        if !given.nearest(t).1 {
            let what = format!("the span's {t} is none of the times of the given increments");
            return Err(OdeError::Mismatch { what });
        }
    }
    Ok(())
}
