//! Optimal control of partial differential equations on structured grids: one program, one file a task.
//!
//! cargo run --release --example pde_control -- TASK [--cells N] [--alpha A] [--out FOLDER] [--threads T]
//!
//! `--help` lists the tasks. With --out, fields are written as images (png), npy and VTK.

mod boundary;
mod bounds;
mod burgers;
mod coefficient;
mod distributed;
mod heat;
mod material;
mod output;
mod semilinear;
mod solution;
mod space;
mod tables;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

/// What the command line says.
pub struct Arguments {
    /// Cells of each axis, where the task's own number is not wanted.
    cells: Option<usize>,
    /// The control's weight.
    alpha: Option<f64>,
    /// Folder for pictures and fields.
    out: Option<PathBuf>,
}

impl Arguments {
    fn cells(&self, usual: usize) -> usize {
        self.cells.unwrap_or(usual)
    }
    fn alpha(&self, usual: f64) -> f64 {
        self.alpha.unwrap_or(usual)
    }
}

type Outcome = Result<(), Box<dyn Error>>;

/// Name, what it is, and its function.
type Task = (&'static str, &'static str, fn(&Arguments) -> Outcome);

const TASKS: &[Task] = &[
    (
        "distributed",
        "Poisson's equation, control everywhere: one linear system, checked by the optimizer",
        distributed::run,
    ),
    ("boundary", "Poisson's equation, control on two Neumann sides", boundary::run),
    ("semilinear", "-lap y + y^3 = u, control everywhere", semilinear::run),
    ("control-bounds", "Poisson's equation, bounds on the control: interior point", bounds::control),
    ("state-bounds", "Poisson's equation, an upper bound on the state: interior point", bounds::state),
    ("space", "Poisson's equation in three dimensions", space::run),
    ("heat", "the heat equation, all at once", heat::run),
    ("heat-reduced", "the heat equation, reduced to the control", heat::reduced),
    ("burgers", "the viscous Burgers equation, all at once", burgers::run),
    ("coefficient", "a coefficient from measurements of the state, total variation", coefficient::run),
    ("material", "conducting material of limited volume", material::run),
    ("table-iterations", "table: iterations for meshes and alphas, up to --cells", tables::iterations),
    (
        "table-bounds",
        "table: inner iterations of the interior point method with bounds, up to --cells",
        tables::bounds,
    ),
    ("table-time", "table: seconds by number of unknowns, up to --cells", tables::time),
];

fn help() -> String {
    let mut text = String::from("pde_control TASK [--cells N] [--alpha A] [--out FOLDER] [--threads T]\n\n");
    for (name, about, _) in TASKS {
        text += &format!("  {name:17} {about}\n");
    }
    text + "\n--out writes png, npy and vtk files. Exit codes: 0 solved, 1 not solved, 2 wrong input.\n"
}

fn parsed(words: &[String]) -> Result<(Task, Arguments), String> {
    let mut words = words.iter();
    let name = words.next().ok_or("expected a task, see --help")?;
    let task = TASKS.iter().find(|t| t.0 == name).ok_or(format!("unknown task '{name}', see --help"))?;
    let mut arguments = Arguments { cells: None, alpha: None, out: None };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word}: expected a value"));
        match word.as_str() {
            "--cells" => arguments.cells = Some(number(word, value()?)?),
            "--alpha" => arguments.alpha = Some(number(word, value()?)?),
            "--out" => arguments.out = Some(PathBuf::from(value()?)),
            "--threads" => threads(number(word, value()?)?)?,
            other => return Err(format!("unknown option '{other}', see --help")),
        }
    }
    if arguments.cells == Some(0) {
        return Err("--cells 0, expected at least 1".into());
    }
    match arguments.alpha {
        Some(alpha) if !(alpha > 0.0 && alpha.is_finite()) => {
            Err(format!("--alpha {alpha}, expected a positive number"))
        }
        _ => Ok((*task, arguments)),
    }
}

fn number<T: std::str::FromStr>(option: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{option}: '{text}' is no number of the right kind"))
}

fn threads(count: usize) -> Result<(), String> {
    if count == 0 {
        return Err("--threads 0, expected at least 1".into());
    }
    rayon::ThreadPoolBuilder::new().num_threads(count).build_global().map_err(|e| e.to_string())
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|w| w == "--help" || w == "-h") {
        print!("{}", help());
        return ExitCode::SUCCESS;
    }
    let ((_, _, run), arguments) = match parsed(&words) {
        Ok(parsed) => parsed,
        Err(what) => {
            eprintln!("{what}");
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            // The caller's mistakes are errors of the library; all else is an end that is no solution.
            ExitCode::from(if error.is::<costate::Error>() { 2 } else { 1 })
        }
    }
}
