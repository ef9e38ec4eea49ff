//! Arguments that several subcommands share.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use costate::linsol::LinearSolverKind;
use costate::nl::NlOptions;
use costate::opt::{AccuracyRule, HessianModel, Method, Options};
use costate::sif::{Literals, SifOptions};

use super::load::Read;

/// How literals of the function part are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LiteralsArg {
    /// As doubles
    Double,
    /// As CUTEst's compiled Fortran reads them
    Cutest,
}

/// How to read problem files.
#[derive(Debug, Clone, Args)]
pub struct ReadArgs {
    /// Override a parameter of the file, e.g. --param N=100 (repeatable)
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parse_param)]
    pub params: Vec<(String, String)>,
    /// Start point to use, counted from 1 in the order of the file. Otherwise the first, and for a system of more equations than unknowns the
    /// others where that one ends neither solved nor certified
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    pub start: Option<u32>,
    /// How literals in the function part are read
    #[arg(long, value_enum, default_value = "double")]
    pub literals: LiteralsArg,
    /// Repair what can safely be repaired, with warnings
    #[arg(long)]
    pub lenient: bool,
    /// Which objective of a .nl model to use, counted from 1; 0: none
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub objective: usize,
    /// Treat integer variables of a .nl model as continuous ones
    #[arg(long)]
    pub relax_integers: bool,
}

impl ReadArgs {
    /// As the readers want it.
    pub fn options(&self) -> Read {
        let nl = NlOptions {
            objective: self.objective,
            relax_integers: self.relax_integers,
            ..NlOptions::default()
        };
        let sif = SifOptions {
            params: self.params.clone(),
            start: self.start.map(|k| k as usize),
            literals: match self.literals {
                LiteralsArg::Double => Literals::Double,
                LiteralsArg::Cutest => Literals::Cutest,
            },
            lenient: self.lenient,
            ..SifOptions::default()
        };
        Read { sif, nl }
    }
}

/// A problem file and how to read it.
#[derive(Debug, Clone, Args)]
pub struct ProblemArgs {
    /// Problem file: SIF, or a .nl model
    pub file: PathBuf,
    #[command(flatten)]
    pub read: ReadArgs,
}

/// Solver options that have one value in every subcommand.
#[derive(Debug, Clone, Args)]
pub struct SolverArgs {
    /// Optimization method: auto, sketched-newton, interior-point, augmented-lagrangian or predictor-corrector
    #[arg(long, value_name = "METHOD", default_value = "auto")]
    pub method: Method,
    /// Second derivatives: exact (as the problem gives them), limited-memory (approximated) or differences (of gradients, on the
    /// problem's pattern)
    #[arg(long, value_name = "MODEL", default_value = "exact")]
    pub hessian: HessianModel,
    /// When an inexact step is accurate enough: practical or certified
    #[arg(long, value_name = "RULE", default_value = "practical")]
    pub accuracy: AccuracyRule,
    /// Outer iterations allowed
    #[arg(long, value_name = "K", default_value_t = Options::default().max_iterations)]
    pub max_iter: u64,
    /// Evaluations of the objective allowed
    #[arg(long, value_name = "K")]
    pub max_eval: Option<u64>,
    /// Initial penalty of the constraint violation
    #[arg(long, value_name = "ETA1", default_value_t = Options::default().initial_penalty)]
    pub initial_penalty: f64,
    /// Initial penalty of the gradient of the Lagrangian
    #[arg(long, value_name = "ETA2", default_value_t = Options::default().initial_dual_penalty)]
    pub initial_dual_penalty: f64,
    /// Say whether a KKT point is shown to be a local minimum (one more factorization)
    #[arg(long)]
    pub second_order: bool,
    /// Threads of large factorizations; results do not depend on their number
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub threads: usize,
    /// Bounds of variables may be violated by this times max(1, |bound|) (Ipopt's default is 1e-8)
    #[arg(long, value_name = "R", default_value_t = 0.0)]
    pub relax_bounds: f64,
    /// Other starts, drawn at random, that are tried where every attempt ends at a least violation that is not zero
    #[arg(long, value_name = "K", default_value_t = Options::default().restarts)]
    pub restarts: usize,
    /// Remove linear rows that are empty, redundant, parallel or bounds, and variables that others replace, before the solve (on, off)
    #[arg(long, value_name = "on|off", action = clap::ArgAction::Set, default_value_t = Options::default().presolve,
        value_parser = clap::builder::BoolishValueParser::new())]
    pub presolve: bool,
    /// Do not scale objective and constraints
    #[arg(long)]
    pub no_scaling: bool,
}

/// The options that vary in an experiment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Variant {
    /// Linear solver asked for.
    pub linear: LinearSolverKind,
    /// Tolerance.
    pub tolerance: f64,
    /// Seed.
    pub seed: u64,
}

impl SolverArgs {
    /// As the optimizer wants it.
    pub fn options(&self, variant: Variant, time_limit: Option<f64>) -> Options {
        Options {
            method: self.method,
            hessian: self.hessian,
            second_order: self.second_order,
            restarts: self.restarts,
            threads: self.threads,
            relax_bounds: self.relax_bounds,
            tolerance: variant.tolerance,
            max_iterations: self.max_iter,
            max_evaluations: self.max_eval,
            time_limit,
            seed: variant.seed,
            linear: variant.linear,
            accuracy: self.accuracy,
            initial_penalty: self.initial_penalty,
            initial_dual_penalty: self.initial_dual_penalty,
            presolve: self.presolve,
            scaling: !self.no_scaling,
            ..Options::default()
        }
    }
}

/// `NAME=VALUE`, split at the first `=`.
pub fn parse_param(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() && !value.trim().is_empty() => {
            Ok((name.trim().to_string(), value.trim().to_string()))
        }
        _ => Err("expected NAME=VALUE, e.g. N=100".into()),
    }
}
