//! `costate study`: claims of papers, measured.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use serde_json::{Value, json};

use costate::study::{self, STUDIES, Study, StudyError, StudyOptions, StudyReport};
use costate::train::checkpoint::write_file;

use super::nearest::nearest;
use super::output::{self, Output};
use super::train::{config, plots};
use super::{Failure, Outcome, SOLVED, STOPPED, interrupt};

const AFTER: &str = "In the folder of --out: report.json, table.csv, and plots as SVG. `all` has a folder for every study there and keeps those that are finished (same seed, seeds and --quick), but for those that could not be decided; --again runs them anew.

Exit codes: 0 ran, whatever the verdict, 1 interrupted, 2 bad input or a method that failed, 3 internal error.";

/// Arguments of `study`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct StudyArgs {
    /// Name of a study, or `all`
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    /// Print name, paper and claim of every study
    #[arg(long, conflicts_with_all = ["quick", "seeds", "seed", "out", "data", "config", "table", "again"])]
    list: bool,
    /// Fewer seeds and steps, at most 20 s on two cores; the verdict is not final
    #[arg(long)]
    quick: bool,
    /// Number of seeds, in place of the study's own
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: Option<u64>,
    /// First seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Folder of report, table and plots [default of `all`: runs/studies, with --quick runs/studies-quick]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one JSON object and nothing else
    #[arg(long)]
    json: bool,
    /// Folder of data files (digits, problem files), for studies that read any
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A training configuration in place of the study's own tasks, for studies that compare optimizers on it (solutions)
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// With `all`: write the table of all studies here too (Markdown)
    #[arg(long, value_name = "FILE.md")]
    table: Option<PathBuf>,
    /// With `all`: run finished studies anew
    #[arg(long)]
    again: bool,
}

impl StudyArgs {
    fn options(&self) -> Result<StudyOptions, Failure> {
        if let Some(data) = self.data.as_ref().filter(|d| !d.is_dir()) {
            return Err(Failure(format!("--data {}: this is not a folder", data.display())));
        }
        let read = |path: &PathBuf| {
            let base = path.parent().unwrap_or(Path::new("")).to_path_buf();
            config::read(path).map(|config| (config, base))
        };
        let training = self.config.as_ref().map(read).transpose()?;
        let (quick, seeds, seed, data) = (self.quick, self.seeds, self.seed, self.data.clone());
        Ok(StudyOptions { quick, seeds, seed, data, training })
    }
}

/// Runs the subcommand.
pub fn run(args: &StudyArgs, out: &mut Output) -> Outcome {
    let Some(name) = args.name.as_deref().filter(|_| !args.list) else {
        list(args.json, out);
        return Ok(SOLVED);
    };
    let options = args.options()?;
    if name == "all" && args.config.is_some() {
        return Err(Failure("--config goes with one study, not with `all`".into()));
    }
    if name == "all" {
        return all(args, &options, out);
    }
    if args.table.is_some() || args.again {
        return Err(Failure("--table and --again go with `all`".into()));
    }
    let study = find(name)?;
    let flag = interrupt::install()?;
    let Some(report) = execute(study, &options, args.json, &flag)? else { return Ok(STOPPED) };
    let value = object(&report)?;
    if let Some(folder) = &args.out {
        write(folder, &report, &value)?;
    }
    if args.json {
        out.line(format_args!("{value}"));
    } else {
        print(&value, &report, out);
    }
    Ok(SOLVED)
}

fn list(json: bool, out: &mut Output) {
    if json {
        let row = |s: &&dyn Study| json!({"name": s.name(), "paper": s.paper(), "claim": s.claim()});
        let rows: Vec<Value> = STUDIES.iter().map(row).collect();
        return out.line(format_args!("{}", json!({ "studies": rows })));
    }
    for study in STUDIES {
        out.line(format_args!("{:18} {}\n{:18} {}", study.name(), study.paper(), "", study.claim()));
    }
}

fn find(name: &str) -> Result<&'static dyn Study, Failure> {
    study::find(name).ok_or_else(|| {
        let names = STUDIES.iter().map(|s| s.name()).chain(["all"]);
        let near = match nearest(name, names) {
            Some(near) => format!("did you mean {near}?"),
            None => "see `costate study --list`".into(),
        };
        Failure(format!("there is no study {name}; {near}"))
    })
}

/// The report; nothing if interrupted.
fn execute(
    study: &dyn Study,
    options: &StudyOptions,
    quiet: bool,
    flag: &Arc<AtomicBool>,
) -> Result<Option<StudyReport>, Failure> {
    let shown = !quiet && std::io::stderr().is_terminal();
    let mut progress = |what: &str| {
        if shown {
            eprintln!("{}: {what}", study.name());
        }
    };
    match study::run(study, options, &mut progress, flag) {
        Ok(report) => Ok(Some(report)),
        Err(StudyError::Interrupted) => {
            output::error("interrupted");
            Ok(None)
        }
        Err(other) => Err(other.into()),
    }
}

/// The report with the commit of the sources and the command.
fn object(report: &StudyReport) -> Result<Value, Failure> {
    let mut value = serde_json::to_value(report)?;
    value["commit"] = commit().into();
    let mut command = format!("costate study {}", report.name);
    if report.quick {
        command += " --quick";
    }
    if let Some(seeds) = report.seeds {
        let _ = write!(command, " --seeds {seeds}");
    }
    if report.seed > 0 {
        let _ = write!(command, " --seed {}", report.seed);
    }
    value["command"] = command.into();
    Ok(value)
}

/// The commit checked out in the folder this program was built from, with a + if files differ from it. A program that is older than that commit is of one before it.
fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(["-C", env!("CARGO_MANIFEST_DIR")]).args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    match git(&["rev-parse", "--short", "HEAD"]) {
        Some(id) => {
            let written = git(&["log", "-1", "--format=%ct"]).and_then(|s| s.parse().ok());
            if built().zip(written).is_none_or(|(built, written): (u64, u64)| built < written) {
                return format!("before {id}");
            }
            let clean = git(&["status", "--porcelain", "-uno"]).is_some_and(|s| s.is_empty());
            if clean { id } else { id + "+" }
        }
        None => "unknown".into(),
    }
}

/// When this program was built, in seconds since 1970.
fn built() -> Option<u64> {
    let time = std::env::current_exe().ok()?.metadata().ok()?.modified().ok()?;
    time.duration_since(std::time::UNIX_EPOCH).ok().map(|d| d.as_secs())
}

fn write(folder: &Path, report: &StudyReport, value: &Value) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|e| Failure(format!("{}: {e}", folder.display())))?;
    let mut rows = csv::Writer::from_writer(vec![]);
    rows.write_record(report.table.columns())?;
    for row in report.table.rows() {
        rows.write_record(row.iter().map(study::Cell::exact))?;
    }
    let rows = rows.into_inner().map_err(|e| Failure(e.to_string()))?;
    write_file(&folder.join("table.csv"), &rows)?;
    for picture in &report.pictures {
        let (path, axes) = (folder.join(format!("{}.svg", picture.plot.name)), &picture.plot.axes);
        plots::draw(&path, &picture.title, (&axes.0, &axes.1), &picture.plot.curves, picture.log)?;
    }
    // Last: a report says that the folder is complete.
    let text = serde_json::to_string_pretty(value)? + "\n";
    Ok(write_file(&folder.join("report.json"), text.as_bytes())?)
}

fn print(value: &Value, report: &StudyReport, out: &mut Output) {
    out.line(format_args!("Study      {}", report.name));
    out.line(format_args!("Paper      {}", report.paper));
    out.line(format_args!("Claim      {}\n", report.claim));
    for line in report.table.lines() {
        out.line(format_args!("{line}"));
    }
    out.line(format_args!(""));
    for note in &report.notes {
        out.line(format_args!("Note       {note}"));
    }
    out.line(format_args!("Criterion  {}", report.criterion));
    for finding in &report.findings {
        out.line(format_args!("  {:7}  {}", word(finding.met), finding.what));
    }
    out.line(format_args!("Verdict    {}   ({:.1} s)", report.verdict, report.seconds));
    if value["quick"] == true {
        out.line(format_args!("quick: verdict not final"));
    }
}

fn word(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "met",
        Some(false) => "not met",
        None => "open",
    }
}

/// Runs what is not finished in the folder, then makes the table of all.
fn all(args: &StudyArgs, options: &StudyOptions, out: &mut Output) -> Outcome {
    let default = if args.quick { "runs/studies-quick" } else { "runs/studies" };
    let root = args.out.clone().unwrap_or_else(|| default.into());
    let flag = interrupt::install()?;
    let (mut done, mut failed) = (vec![], vec![]);
    for study in STUDIES {
        let folder = root.join(study.name());
        if let Some(value) = finished(&folder, options).filter(|_| !args.again) {
            done.push(value);
            continue;
        }
        match execute(*study, options, args.json, &flag) {
            Ok(Some(report)) => {
                let value = object(&report)?;
                write(&folder, &report, &value)?;
                if !args.json {
                    out.line(format_args!(
                        "{:18} {:28} {:.1} s",
                        report.name,
                        report.verdict.to_string(),
                        report.seconds
                    ));
                    out.flush();
                }
                done.push(value);
            }
            Ok(None) => return Ok(STOPPED),
            Err(Failure(what)) => {
                output::error(&what);
                failed.push(study.name());
            }
        }
    }
    let text = markdown(&done, args.quick);
    if args.json {
        out.line(format_args!("{}", json!({ "studies": done })));
    } else {
        out.print(format_args!("\n{}", table(&done)));
        if args.quick {
            out.line(format_args!("quick: verdict not final"));
        }
    }
    if let Some(path) = &args.table {
        write_file(path, text.as_bytes())?;
    }
    match &failed[..] {
        [] => Ok(SOLVED),
        names => Err(Failure(format!("without a report: {}", names.join(", ")))),
    }
}

/// The report of an earlier run with these options, if it was decided.
fn finished(folder: &Path, options: &StudyOptions) -> Option<Value> {
    let text = std::fs::read_to_string(folder.join("report.json")).ok()?;
    let value: Value = serde_json::from_str(&text).ok()?;
    let same = value["quick"] == options.quick
        && value["seed"] == options.seed
        && value["seeds"] == json!(options.seeds)
        && value["verdict"] != "cannot be decided";
    same.then_some(value)
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or("")
}

fn table(done: &[Value]) -> String {
    let mut rows =
        "| study | verdict | seconds | seed | commit | command |\n|---|---|---|---|---|---|\n".to_string();
    for v in done {
        let (seconds, seed) = (v["seconds"].as_f64().unwrap_or(f64::NAN), &v["seed"]);
        let (name, verdict, commit, command) =
            (text(v, "name"), text(v, "verdict"), text(v, "commit"), text(v, "command"));
        let _ = writeln!(rows, "| {name} | {verdict} | {seconds:.1} | {seed} | {commit} | `{command}` |");
    }
    rows
}

/// docs/studies.md.
fn markdown(done: &[Value], quick: bool) -> String {
    let mut page = "# Studies: claims of papers, measured\n\nMade by `costate study all --table docs/studies.md` from the reports of the runs; do not edit. A commit with a + had changes beside it.\n\n".to_string();
    if quick {
        page += "quick: verdicts not final\n\n";
    }
    page += &table(done);
    for v in done {
        let _ = write!(
            page,
            "\n## {}\n\n{}\n\n*Claim.* {}\n\n*Criterion.* {}\n\n",
            text(v, "name"),
            text(v, "paper"),
            text(v, "claim"),
            text(v, "criterion")
        );
        for finding in v["findings"].as_array().into_iter().flatten() {
            let _ = writeln!(page, "- {}: {}", word(finding["met"].as_bool()), text(finding, "what"));
        }
        for note in v["notes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let _ = writeln!(page, "- note: {note}");
        }
        let _ = writeln!(page, "\n*Verdict:* {}.", text(v, "verdict"));
    }
    page
}
