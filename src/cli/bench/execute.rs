//! One solve: in a child process that may crash, hang or be killed, or in this process.

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use costate::observe::Silent;
use costate::opt;

use super::BenchArgs;
use super::row::Row;
use super::tasks::Task;
use crate::cli::args::LiteralsArg;
use crate::cli::load::load;
use crate::cli::solve::{facts, stop_of_error};
use crate::cli::summary::{Kind, Summary};
use crate::cli::{BAD_INPUT, Failure, INTERNAL};

/// Seconds that children have to report after an interrupt (a terminal sends it to them too).
const AFTER_INTERRUPT: Duration = Duration::from_secs(2);

/// Runs tasks.
pub struct Executor<'a> {
    args: &'a BenchArgs,
    program: PathBuf,
    stop: Arc<AtomicBool>,
    kinds: Vec<&'static str>,
}

/// How a child ended.
struct Ended {
    status: Option<ExitStatus>,
    stdout: String,
    stderr: String,
}

impl<'a> Executor<'a> {
    /// For these arguments; `stop` is raised by Ctrl-C.
    pub fn new(args: &'a BenchArgs, stop: &Arc<AtomicBool>) -> Result<Self, Failure> {
        let program = std::env::current_exe()
            .map_err(|e| Failure(format!("cannot find the path of this program: {e}")))?;
        let wanted: &[Kind] = if args.only_class.is_empty() { &Kind::ALL } else { &args.only_class };
        let kinds = wanted.iter().map(|k| k.as_str()).collect();
        Ok(Self { args, program, stop: Arc::clone(stop), kinds })
    }

    /// The row of a task; `None` if its class was not asked for or it was interrupted.
    pub fn run(&self, task: &Task) -> Option<Row> {
        let summary = if self.args.in_process { self.in_process(task) } else { self.in_child(task)? };
        let dropped = summary.stop == "skipped" || summary.stop == "interrupted";
        (!dropped).then(|| Row::new(task, summary))
    }

    fn in_process(&self, task: &Task) -> Summary {
        let result = catch_unwind(AssertUnwindSafe(|| self.solve_here(task)));
        result.unwrap_or_else(|payload| {
            let what = payload
                .downcast_ref::<&str>()
                .map(|s| s.to_string())
                .or_else(|| payload.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            Summary::of_failure(&task.name, "crashed", format!("panic: {what}"))
        })
    }

    fn solve_here(&self, task: &Task) -> Summary {
        let mut options = self.args.solver.options(task.variant, Some(self.args.time_limit));
        options.stop.flag = Some(Arc::clone(&self.stop));
        let mut read = self.args.read.options();
        read.sif.params.clone_from(&task.params);
        let mut loaded = match load(&task.path, &read) {
            Ok(loaded) => loaded,
            Err(error) => return Summary::of_failure(&task.name, "error", error.to_string()),
        };
        let facts = facts(&loaded);
        let (n, m) = (loaded.meta().n(), loaded.meta().m());
        let other = |stop: &str, message| Summary { n, m, ..Summary::of_failure(&task.name, stop, message) };
        let summary = if !self.kinds.contains(&facts.kind.as_str()) {
            other("skipped", String::new())
        } else {
            match opt::solve(loaded.nlp(), &options, &mut Silent) {
                Ok(mut report) => {
                    report.time.read = loaded.seconds;
                    Summary::of_report(loaded.meta(), &report)
                }
                Err(error) => other(stop_of_error(&error), error.to_string()),
            }
        };
        Summary { bench: Some(facts), ..summary }
    }

    /// `None`: interrupted.
    fn in_child(&self, task: &Task) -> Option<Summary> {
        let begin = Instant::now();
        let limit = Duration::try_from_secs_f64(self.args.time_limit + self.args.grace)
            .unwrap_or(Duration::from_secs(u64::MAX / 4));
        let ended = match self.command(task).spawn() {
            Ok(child) => self.watch(child, begin, limit),
            Err(e) => {
                return Some(Summary::of_failure(
                    &task.name,
                    "error",
                    format!("cannot start a process: {e}"),
                ));
            }
        };
        if self.stop.load(Ordering::Relaxed) && ended.status.is_none() {
            return None;
        }
        Some(judge(&task.name, &ended, begin.elapsed().as_secs_f64()))
    }

    /// `solve --json` on the task, perhaps under a limit of the address space.
    fn command(&self, task: &Task) -> Command {
        let mut command = match self.args.memory_limit {
            Some(mib) if cfg!(unix) => {
                let mut shell = Command::new("sh");
                let script = format!("ulimit -v {} && exec \"$0\" \"$@\"", mib.saturating_mul(1024));
                shell.arg("-c").arg(script).arg(&self.program);
                shell
            }
            _ => Command::new(&self.program),
        };
        let (variant, solver, read) = (&task.variant, &self.args.solver, &self.args.read);
        command.arg("solve").arg("--json").arg(format!("--for-bench={}", self.kinds.join(",")));
        command.arg(format!("--linear={}", variant.linear)).arg(format!("--tol={:e}", variant.tolerance));
        command.arg(format!("--seed={}", variant.seed)).arg(format!("--time-limit={}", self.args.time_limit));
        command.args(solver.max_eval.map(|k| format!("--max-eval={k}")));
        command.arg(format!("--method={}", solver.method)).arg(format!("--hessian={}", solver.hessian));
        command
            .arg(format!("--relax-bounds={}", solver.relax_bounds))
            .arg(format!("--threads={}", solver.threads));
        command.arg(format!("--presolve={}", solver.presolve)).arg(format!("--restarts={}", solver.restarts));
        command.arg(format!("--accuracy={}", solver.accuracy)).arg(format!("--max-iter={}", solver.max_iter));
        command.arg(format!("--initial-penalty={:e}", solver.initial_penalty));
        command.arg(format!("--initial-dual-penalty={:e}", solver.initial_dual_penalty));
        if solver.no_scaling {
            command.arg("--no-scaling");
        }
        for (name, value) in &task.params {
            command.arg(format!("--param={name}={value}"));
        }
        if let Some(start) = read.start {
            command.arg(format!("--start={start}"));
        }
        if read.literals == LiteralsArg::Cutest {
            command.arg("--literals=cutest");
        }
        if read.lenient {
            command.arg("--lenient");
        }
        if read.relax_integers {
            command.arg("--relax-integers");
        }
        command.arg(format!("--objective={}", read.objective));
        command.arg("--").arg(&task.path);
        if self.args.jobs > 1 && std::env::var_os("RAYON_NUM_THREADS").is_none() {
            command.env("RAYON_NUM_THREADS", "1"); // the processes are the parallelism
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Waits; kills the child at the limit or after an interrupt (then there is no status).
    fn watch(&self, mut child: Child, begin: Instant, limit: Duration) -> Ended {
        let stdout = drain(child.stdout.take());
        let stderr = drain(child.stderr.take());
        let mut pause = Duration::from_micros(200);
        let mut interrupted = None;
        let status = loop {
            if let Ok(Some(status)) = child.try_wait() {
                break Some(status);
            }
            if interrupted.is_none() && self.stop.load(Ordering::Relaxed) {
                interrupted = Some(Instant::now());
            }
            if begin.elapsed() >= limit
                || interrupted.is_some_and(|t: Instant| t.elapsed() >= AFTER_INTERRUPT)
            {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            thread::sleep(pause);
            pause = (2 * pause).min(Duration::from_millis(20));
        };
        let text = |handle: thread::JoinHandle<String>| handle.join().unwrap_or_default();
        Ended { status, stdout: text(stdout), stderr: text(stderr) }
    }
}

/// Reads a pipe to its end on a thread of its own, so that a talkative child cannot block.
fn drain(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// What the end of a child means.
fn judge(name: &str, ended: &Ended, seconds: f64) -> Summary {
    let failure = |stop: &str, message: String| {
        let mut summary = Summary::of_failure(name, stop, message);
        summary.time.total = seconds;
        summary
    };
    let Some(status) = &ended.status else {
        return failure("killed", format!("killed after {seconds:.1} s: it did not stop at its time limit"));
    };
    let line = ended.stdout.lines().last().unwrap_or_default();
    let code = status.code();
    if let (Ok(summary), Some(0..=2)) = (serde_json::from_str::<Summary>(line), code) {
        return summary;
    }
    let said = ended.stderr.lines().find(|l| !l.starts_with("warning: ")).unwrap_or_default();
    let sentence = said.strip_prefix("error: ").unwrap_or(said);
    match code {
        Some(code) if code == i32::from(BAD_INPUT) => failure("error", sentence.into()),
        Some(code) if code == i32::from(INTERNAL) => failure("crashed", sentence.into()),
        _ => failure("crashed", format!("{status} {sentence}").trim().into()),
    }
}
