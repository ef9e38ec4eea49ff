//! The command as AMPL, Pyomo and JuMP call it: `costate STUB -AMPL keyword=value ...` reads STUB.nl and writes STUB.sol.
//!
//! Keywords come from the environment variable `costate_options`, then from the command line; the later wins. The exit code is 0 whenever an answer
//! was written, whatever it says; 1: a keyword that is not known or has a bad value; 2: the model cannot be read or is refused.

mod keywords;

use std::ops::ControlFlow;
use std::path::PathBuf;

use costate::Nlp;
use costate::nl::{Answer, NlOptions, NlProblem, SolStatus, SuffixTarget, answer_path};
use costate::nlp::NlpMeta;
use costate::observe::{Event, Observer};
use costate::opt::{self, WarmStart};
use costate::report::Report;

use super::output::{self, Output};
use super::{Failure, Outcome, SOLVED, STOPPED, interrupt, table};
use keywords::Settings;

/// What the command line says beside keywords.
#[derive(Debug, Default, PartialEq)]
struct Call {
    model: PathBuf,
    ampl: bool,
    write: bool,
    output: Option<PathBuf>,
    keywords: Vec<String>,
}

/// A question that needs no model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Version,
    Keywords,
    Usage,
}

/// The file of a stub: STUB.nl if it is there, STUB otherwise.
fn model(stub: &str) -> PathBuf {
    let with_ending = PathBuf::from(format!("{stub}.nl"));
    if with_ending.is_file() { with_ending } else { PathBuf::from(stub) }
}

fn question(arg: &str) -> Option<Question> {
    match arg {
        "-v" => Some(Question::Version),
        "-=" => Some(Question::Keywords),
        "-?" => Some(Question::Usage),
        _ => None,
    }
}

/// Whether the command is called in this way: a question of a modelling system, or a stub.
pub fn is_asked(args: &[String], subcommands: &[&str]) -> bool {
    let Some(first) = args.first() else { return false };
    if question(first).is_some() {
        return true;
    }
    if first.starts_with('-') || first == "help" || subcommands.contains(&first.as_str()) {
        return false;
    }
    args.get(1).is_some_and(|a| a.starts_with("-AMPL")) || model(first).is_file()
}

fn parse(args: &[String]) -> Result<Call, String> {
    let mut call = Call::default();
    let (mut stub, mut options) = (None, true);
    for arg in args {
        match arg.strip_prefix('-').filter(|_| options) {
            Some("-") => options = false,
            Some("s") => call.write = true,
            Some("e") => {}
            Some(flag) if flag.starts_with("AMPL") => call.ampl = true,
            Some(flag) if flag.starts_with('o') && flag.len() > 1 => {
                call.output = Some(PathBuf::from(&flag[1..]))
            }
            Some(flag) if flag.starts_with('b') => return Err("a file of bounds (-b) is not treated".into()),
            Some(_) => return Err(format!("unknown option {arg}")),
            None if stub.is_none() => stub = Some(arg.clone()),
            None => call.keywords.push(arg.clone()),
        }
    }
    call.model = model(&stub.ok_or("no model given")?);
    Ok(call)
}

/// The environment, then the command line, where `name value` may be two arguments.
fn settings(environment: &str, arguments: &[String]) -> Result<Settings, String> {
    let mut settings = Settings::default();
    settings.set_list(environment)?;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.split_once('=') {
            // The value is the whole rest, blanks and all; JuMP leaves its quotes on.
            Some((name, value)) => settings.set(name.trim(), value.trim().trim_matches(['"', '\'']))?,
            None => match rest.next() {
                Some(value) => settings.set(argument, value)?,
                None => settings.set_list(argument)?,
            },
        }
    }
    Ok(settings)
}

fn version() -> String {
    let system = match std::env::consts::OS {
        "linux" => "Linux",
        "macos" => "Darwin",
        other => other,
    };
    format!("costate {} ({system} {}), driver(20261129)", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH)
}

const USAGE: &str = "usage: costate STUB [-AMPL] [-s] [-oFILE] [keyword=value ...]\n\
    reads STUB.nl; with -AMPL or -s writes STUB.sol\n\
    -v version, -= keywords, -? this, -- end of options";

/// Runs the command called in this way.
pub fn run(args: &[String], out: &mut Output) -> Outcome {
    if let Some(question) = args.first().and_then(|a| question(a)) {
        match question {
            Question::Version => out.line(format_args!("{}", version())),
            Question::Keywords => out.print(format_args!("{}", keywords::list())),
            Question::Usage => out.line(format_args!("{USAGE}")),
        }
        return Ok(SOLVED);
    }
    let call = match parse(args) {
        Ok(call) => call,
        Err(what) => {
            output::error(&what);
            return Ok(STOPPED);
        }
    };
    let environment = std::env::var("costate_options").unwrap_or_default();
    let mut settings = match settings(&environment, &call.keywords) {
        Ok(settings) => settings,
        Err(what) => {
            out.line(format_args!("{what}"));
            return Ok(STOPPED);
        }
    };
    if settings.version {
        out.line(format_args!("{}", version()));
    }
    settings.remarks.iter().for_each(|remark| output::warning(remark));
    let path = call.output.clone().unwrap_or_else(|| answer_path(&call.model));
    let writes = call.ampl || call.write || settings.wantsol & 1 != 0;
    if writes {
        // An older answer would be read where none is written.
        let _ = std::fs::remove_file(&path);
    }
    let begun = std::time::Instant::now();
    let options = NlOptions {
        objective: settings.objno,
        relax_integers: settings.relax_integers,
        ..NlOptions::default()
    };
    let mut problem = NlProblem::from_file(&call.model, &options)?;
    let read = begun.elapsed().as_secs_f64();
    let (answer, report) = answer(&mut problem, &mut settings, out)?;
    if settings.wantsol & 8 == 0 {
        out.line(format_args!("{}", answer.message));
    }
    if settings.timing
        && let Some(report) = &report
    {
        out.line(format_args!("read {read:.3} s, solve {:.3} s", report.time.solve));
    }
    if !call.ampl {
        print_point(&problem, &answer, settings.wantsol, out);
    }
    if writes {
        answer.write(&problem, &path)?;
    }
    Ok(SOLVED)
}

/// A variable or row whose bounds contradict each other, in words.
fn crossing(meta: &NlpMeta) -> Option<String> {
    let crosses = |l: &[f64], u: &[f64]| l.iter().zip(u).position(|(l, u)| l > u);
    if let Some(j) = crosses(&meta.x_lower, &meta.x_upper) {
        let (name, l, u) = (meta.variable_name(j), meta.x_lower[j], meta.x_upper[j]);
        return Some(format!("variable {name} has the lower bound {l} above the upper bound {u}"));
    }
    let i = crosses(&meta.c_lower, &meta.c_upper)?;
    let (name, l, u) = (meta.constraint_name(i), meta.c_lower[i], meta.c_upper[i]);
    Some(format!("constraint {name} has the lower side {l} above the upper side {u}"))
}

fn answer(
    problem: &mut NlProblem,
    s: &mut Settings,
    out: &mut Output,
) -> Result<(Answer, Option<Report>), Failure> {
    let name = format!("costate {}", env!("CARGO_PKG_VERSION"));
    if let Some(what) = crossing(problem.meta()) {
        let message = format!("{name}: infeasible: {what}");
        return Ok((Answer::without_point(SolStatus::BOUNDS_CROSS, message), None));
    }
    s.solver.stop.flag = Some(interrupt::install()?);
    if s.warm_start {
        s.solver.warm_start = Some(warm_start(problem));
    }
    let mut watch = Watch { meta: problem.meta().clone(), table: (s.outlev >= 3).then_some(out) };
    let report = opt::solve(problem, &s.solver, &mut watch)?;
    let s = if report.iterations == 1 { "" } else { "s" };
    let message = format!(
        "{name}: {}: {}\n{} iteration{s}, objective {:.10e}",
        report.stop.as_str(),
        report.message,
        report.iterations,
        report.objective
    );
    Ok((Answer::new(problem, &report, message), Some(report)))
}

/// The model's start with its multipliers; those of the bounds from Ipopt's suffixes.
fn warm_start(problem: &NlProblem) -> WarmStart {
    let meta = problem.meta();
    let sign = if meta.maximize { 1.0 } else { -1.0 };
    let mut z = vec![0.0; meta.n()];
    for name in ["ipopt_zL_in", "ipopt_zU_in"] {
        if let Some(values) = problem.suffix(name, SuffixTarget::Variable) {
            z.iter_mut().zip(values).for_each(|(z, v)| *z += sign * v);
        }
    }
    let x =
        meta.x0.iter().zip(&meta.x_lower).zip(&meta.x_upper).map(|((x, l), u)| x.max(*l).min(*u)).collect();
    WarmStart { x, y: meta.y0.clone(), z }
}

/// The table of the iterations, where it is asked for.
struct Watch<'a> {
    meta: NlpMeta,
    table: Option<&'a mut Output>,
}

impl Observer for Watch<'_> {
    fn event(&mut self, event: &Event<'_>) -> ControlFlow<()> {
        if let Some(out) = &mut self.table {
            match event {
                Event::Start(header) => table::header(out, &self.meta, None, header),
                Event::Iteration(row) => table::row(out, row),
                Event::Note { text } => out.line(format_args!("       note: {text}")),
                Event::Stop(_) => {}
            }
        }
        ControlFlow::Continue(())
    }
}

fn print_point(problem: &NlProblem, answer: &Answer, wantsol: u32, out: &mut Output) {
    let meta = problem.meta();
    if wantsol & 2 != 0 {
        answer
            .x
            .iter()
            .enumerate()
            .for_each(|(j, x)| out.line(format_args!("{}\t{x:?}", meta.variable_name(j))));
    }
    if wantsol & 4 != 0 {
        answer
            .y
            .iter()
            .enumerate()
            .for_each(|(i, y)| out.line(format_args!("{}\t{y:?}", meta.constraint_name(i))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(args: &[&str]) -> Vec<String> {
        args.iter().map(|a| a.to_string()).collect()
    }

    #[test]
    fn who_is_calling() {
        let known = ["solve", "info"];
        for args in [&["-v"][..], &["-="], &["/tmp/nosuch", "-AMPL"], &["x", "-AMPLls", "tol=1"]] {
            assert!(is_asked(&strings(args), &known), "{args:?}");
        }
        for args in [&[][..], &["--version"], &["solve", "x.nl"], &["nosuch"], &["-V"]] {
            assert!(!is_asked(&strings(args), &known), "{args:?}");
        }
    }

    #[test]
    fn the_command_line_comes_after_the_environment() {
        let s = settings("max_iter=5 tol 1e-6", &strings(&["max_iter=7", "linear=\"ldl\"", "seed", "3"]))
            .unwrap();
        assert_eq!((s.solver.max_iterations, s.solver.tolerance, s.solver.seed), (7, 1e-6, 3));
        let call = parse(&strings(&["stub", "-AMPL", "-oother.sol", "tol=1"])).unwrap();
        assert!(call.ampl && !call.write && call.keywords == ["tol=1"]);
        assert_eq!(call.output, Some(PathBuf::from("other.sol")));
        assert!(parse(&strings(&["stub", "-bfile"])).is_err() && parse(&[]).is_err());
    }
}
