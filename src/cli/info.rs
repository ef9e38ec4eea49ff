//! `costate info`: what a problem file holds.

use std::collections::BTreeMap;

use clap::Args;

use costate::nlp::NlpMeta;

use super::args::ProblemArgs;
use super::load::{self, Loaded, Parameter};
use super::output::{self, Output};
use super::summary::Kind;
use super::{Failure, Outcome, SOLVED, table};

/// Arguments of `info`.
#[derive(Debug, Args)]
pub struct InfoArgs {
    #[command(flatten)]
    problem: ProblemArgs,
    /// Print sizes, sums and norms at the start point as one JSON object
    #[arg(long, conflicts_with = "names")]
    json: bool,
    /// List variables and constraints with bounds and start
    #[arg(long)]
    names: bool,
}

/// Runs the subcommand.
pub fn run(args: &InfoArgs, out: &mut Output) -> Outcome {
    let options = args.problem.read.options();
    let mut loaded = load::load(&args.problem.file, &options)?;
    if args.json {
        let text = serde_json::to_string(&loaded.stats()).map_err(|e| Failure(e.to_string()))?;
        out.line(format_args!("{text}"));
        return Ok(SOLVED);
    }
    print(out, &loaded, &load::parameters(&args.problem.file)?);
    if args.names {
        names(out, loaded.meta());
    }
    for warning in &loaded.warnings() {
        output::warning(warning);
    }
    Ok(SOLVED)
}

fn print(out: &mut Output, loaded: &Loaded, parameters: &[Parameter]) {
    let meta = loaded.meta();
    out.line(format_args!("Problem         {}", meta.name));
    out.line(format_args!("Classification  {}", loaded.class().unwrap_or("none")));
    out.line(format_args!("Sizes           {}", table::sizes(meta)));
    out.line(format_args!("Class           {}", Kind::of(meta).as_str()));
    let linear = meta.linear.iter().filter(|l| **l).count();
    if meta.m() > 0 {
        out.line(format_args!("Linear          {linear} of {} constraints", meta.m()));
    }
    let nonzeros =
        |p: &Option<costate::Pattern>| p.as_ref().map_or("no pattern".into(), |p| p.len().to_string());
    out.line(format_args!(
        "Nonzeros        Jacobian {}, Hessian of the Lagrangian {} (lower triangle)",
        nonzeros(&meta.jacobian),
        nonzeros(&meta.hessian)
    ));
    bounds(out, "Variables", &meta.x_lower, &meta.x_upper);
    bounds(out, "Constraints", &meta.c_lower, &meta.c_upper);
    out.line(format_args!("Read in         {:.3} s", loaded.seconds));
    if !parameters.is_empty() {
        out.line(format_args!("\nParameters (--param NAME=VALUE)"));
        for p in parameters {
            let listed =
                if p.listed.is_empty() { String::new() } else { format!("   also {}", p.listed.join(" ")) };
            out.line(format_args!("  {:<10} {:<8} {}{listed}", p.name, p.kind, p.value));
        }
    }
}

/// How many have which kind of bounds.
fn bounds(out: &mut Output, what: &str, lower: &[f64], upper: &[f64]) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (l, u) in lower.iter().zip(upper) {
        let (below, above) = (*l > -costate::nlp::INFINITE_BOUND, *u < costate::nlp::INFINITE_BOUND);
        let kind = match (below, above) {
            (false, false) => "free",
            (true, false) => "bounded below",
            (false, true) => "bounded above",
            _ if l == u => "fixed",
            _ => "bounded on both sides",
        };
        let kind = if kind == "fixed" && what == "Constraints" { "equalities" } else { kind };
        *counts.entry(kind).or_default() += 1;
    }
    let words: Vec<String> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    if !words.is_empty() {
        out.line(format_args!("{what:<15} {}", words.join(", ")));
    }
}

/// All variables and constraints, tab-separated.
fn names(out: &mut Output, meta: &NlpMeta) {
    out.line(format_args!("\nvariable\tlower\tupper\tstart"));
    for j in 0..meta.n() {
        let (l, u, x) = (meta.x_lower[j], meta.x_upper[j], meta.x0[j]);
        out.line(format_args!("{}\t{l}\t{u}\t{x}", meta.variable_name(j)));
    }
    if meta.m() > 0 {
        out.line(format_args!("\nconstraint\tlower\tupper\tmultiplier\tlinear"));
    }
    for i in 0..meta.m() {
        let (l, u, y) = (meta.c_lower[i], meta.c_upper[i], meta.y0[i]);
        let linear = meta.linear.get(i).copied().unwrap_or(false);
        out.line(format_args!(
            "{}\t{l}\t{u}\t{y}\t{}",
            meta.constraint_name(i),
            if linear { "linear" } else { "" }
        ));
    }
}
