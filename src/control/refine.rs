//! Solving, and refining the mesh until the error is as wanted.

use super::mesh::Mesh;
use super::problem::Problem;
use super::solution::Solution;
use super::tableau::Scheme;
use super::transcription::Transcription;
use crate::Error;
use crate::observe::Observer;
use crate::opt;
use crate::report::Report;

/// How to solve.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What turns differential equations into constraints.
    pub scheme: Scheme,
    /// Intervals of the first mesh of each phase.
    pub intervals: usize,
    /// Wanted relative error of each interval ([`PhaseSolution::errors`](super::PhaseSolution::errors)); none: no refinement.
    pub tolerance: Option<f64>,
    /// Meshes at most.
    pub rounds: usize,
    /// Intervals of a phase at most.
    pub most_intervals: usize,
    /// Options of the optimizer.
    pub options: opt::Options,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            scheme: Scheme::Radau(3),
            intervals: 40,
            tolerance: None,
            rounds: 10,
            most_intervals: 4000,
            options: opt::Options::default(),
        }
    }
}

/// One mesh of a refinement.
#[derive(Debug, Clone, PartialEq)]
pub struct Round {
    /// Intervals of all phases.
    pub intervals: usize,
    /// Variables of the nonlinear program.
    pub variables: usize,
    /// Value found.
    pub objective: f64,
    /// Largest estimated error of an interval.
    pub error: f64,
    /// Iterations of the optimizer.
    pub iterations: u64,
    /// Whether the optimizer ended at a solution.
    pub solved: bool,
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// On the last mesh that was solved, or the first one.
    pub solution: Solution,
    /// The optimizer's report there.
    pub report: Report,
    /// All meshes.
    pub rounds: Vec<Round>,
    /// One sentence: how it ended.
    pub message: String,
    /// The optimizer found a solution, with the wanted error where one was asked for.
    pub reached: bool,
}

/// Pieces into which an interval is cut at most.
const MOST_PIECES: f64 = 5.0;

/// Pieces for each interval: with the error estimate of order s + 1, r = (eta / tol)^(1 / (s + 1)) pieces have the wanted error.
fn pieces(errors: &[f64], tolerance: f64, stages: usize) -> Vec<usize> {
    let power = 1.0 / (stages as f64 + 1.0);
    errors
        .iter()
        .map(|e| {
            let r = (e / tolerance).powf(power).ceil();
            if *e <= tolerance {
                1
            } else if r.is_finite() {
                r.clamp(2.0, MOST_PIECES) as usize
            } else {
                2
            }
        })
        .collect()
}

/// Solves a problem, on finer meshes until every interval has the wanted error.
///
/// # Errors
/// Those of [`Transcription::new`] and [`opt::solve`].
pub fn solve(problem: &Problem, settings: &Settings, observer: &mut dyn Observer) -> Result<Outcome, Error> {
    if settings.intervals == 0 || settings.rounds == 0 {
        let what = "intervals and rounds are at least 1".into();
        return Err(Error::Option { option: "intervals".into(), what });
    }
    if let Some(tolerance) = settings.tolerance
        && !(tolerance > 0.0 && tolerance.is_finite())
    {
        let what = format!("found {tolerance}, expected a positive finite number");
        return Err(Error::Option { option: "tolerance".into(), what });
    }
    let first = vec![Mesh::uniform(settings.intervals); problem.phases()];
    let mut transcription = Transcription::new(problem, &first, settings.scheme)?;
    let mut rounds = Vec::new();
    let mut best: Option<(Solution, Report)> = None;
    loop {
        let report = opt::solve(&mut transcription.model, &settings.options, observer)?;
        let solution = transcription.solution(&report)?;
        let solved = report.solved();
        rounds.push(Round {
            intervals: solution.phases().iter().map(|p| p.mesh().intervals()).sum(),
            variables: report.x.len(),
            objective: report.objective,
            error: solution.error(),
            iterations: report.iterations,
            solved,
        });
        let error = solution.error();
        let meshes: Vec<Mesh> = match settings.tolerance {
            Some(tolerance) if error > tolerance => {
                let stages = transcription.tableau.stages();
                let cut = |p: &super::PhaseSolution| p.mesh().divided(&pieces(p.errors(), tolerance, stages));
                solution.phases().iter().map(cut).collect()
            }
            _ => Vec::new(),
        };
        let (message, over) = end(settings, &report, error, &meshes, rounds.len());
        if solved || best.is_none() {
            best = Some((solution, report));
        }
        if over && let Some((solution, report)) = best {
            let reached = solved && settings.tolerance.is_none_or(|tolerance| error <= tolerance);
            return Ok(Outcome { solution, report, rounds, message, reached });
        }
        if let Some((solution, _)) = &best {
            transcription = Transcription::from_solution(problem, &meshes, settings.scheme, solution)?;
        }
    }
}

/// How it stands, and whether it ends.
fn end(settings: &Settings, report: &Report, error: f64, meshes: &[Mesh], rounds: usize) -> (String, bool) {
    if !report.solved() {
        return (format!("mesh {rounds} was not solved: {}", report.message), true);
    }
    let Some(tolerance) = settings.tolerance else {
        return (format!("solved; the estimated error is {error:.1e}"), true);
    };
    if error <= tolerance {
        return (format!("solved with an estimated error of {error:.1e} on mesh {rounds}"), true);
    }
    let what = format!("the estimated error is {error:.1e}, wanted {tolerance:.1e}");
    if rounds >= settings.rounds {
        return (format!("{what}, after {rounds} meshes"), true);
    }
    if meshes.iter().any(|m| m.intervals() > settings.most_intervals) {
        return (format!("{what}, which takes more than {} intervals", settings.most_intervals), true);
    }
    (what, false)
}
