//! The equality-constrained and unconstrained problems of the CUTEst subset end as the README says: each at a KKT point or at a
//! certified stationary point of the violation, but for the failures listed here by name.

use std::path::{Path, PathBuf};

use costate::StopReason;
use costate::observe::Silent;
use costate::opt::{Options, solve};
use costate::sif::{SifOptions, SifProblem};

/// Listed as failing in the README.
const FAILING: [&str; 7] = ["LUKVLE17", "LUKVLE18", "ORTHRDS2", "OSCIPANE", "OSCIPATH", "PENLT2NE", "SSI"];
/// 153 219 elements each: a minute and more a problem.
const TOO_LONG: [&str; 2] = ["DIAMON", "DMN"];

fn shared() -> Option<PathBuf> {
    let folder = match std::env::var_os("COSTATE_SHARED") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
    };
    if folder.join("cutest/reference.csv").is_file() {
        return Some(folder);
    }
    assert!(
        std::env::var_os("COSTATE_REQUIRE_SHARED").is_none(),
        "no reference data in {}",
        folder.display()
    );
    println!("skipped: no reference data in {}", folder.display());
    None
}

/// Names of the problems without bounds and inequalities.
fn names(folder: &Path) -> Vec<String> {
    let csv = std::fs::read_to_string(folder.join("cutest/reference.csv")).expect("reference.csv");
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().expect("a header");
    let column = |name: &str| header.iter().position(|h| *h == name).expect("a known column");
    let [nineq, nfixed, nbounded] = [column("nineq"), column("nfixed"), column("nbounded")];
    lines
        .filter(|row| [nineq, nfixed, nbounded].iter().all(|&c| row[c] == "0"))
        .map(|row| row[0].to_string())
        .filter(|name| !TOO_LONG.iter().any(|start| name.starts_with(start)))
        .collect()
}

#[test]
fn problems_end_as_the_readme_says() {
    let Some(folder) = shared() else { return };
    let options = Options { time_limit: Some(60.0), ..Options::default() };
    let (mut solved, mut least_squares, mut wrong) = (0, 0, Vec::new());
    let names = names(&folder);
    for name in &names {
        let path = folder.join("cutest/sif").join(format!("{name}.SIF"));
        let mut problem =
            SifProblem::from_file(&path, &SifOptions::default()).unwrap_or_else(|e| panic!("{e}"));
        let report = solve(&mut problem, &options, &mut Silent).unwrap_or_else(|e| panic!("{e}"));
        let good = match report.stop {
            StopReason::Converged => {
                solved += 1;
                true
            }
            StopReason::LocallyInfeasible => {
                least_squares += 1;
                true
            }
            StopReason::Unbounded => name == "n10FOLDTRLS",
            _ => false,
        };
        match (good, FAILING.contains(&name.as_str())) {
            (true, true) => println!("{name} is listed as failing and ends well"),
            (false, false) => wrong.push(format!("{name}: {} ({})", report.stop.as_str(), report.message)),
            _ => {}
        }
    }
    println!("{} problems: {solved} solved, {least_squares} least squares", names.len());
    assert_eq!(names.len(), 261);
    // 217 and 36 where this was measured; rounding differs between processors.
    assert!(solved >= 215 && least_squares >= 35, "{solved} solved, {least_squares} least squares");
    assert!(wrong.len() <= 2, "{}", wrong.join("\n"));
}

/// Systems whose violation has local minima from the start of the file, and a zero.
#[test]
fn other_starts_solve_systems_with_several_valleys() {
    let Some(folder) = shared() else { return };
    for name in ["LEVYMONE5", "LEVYMONE6", "NYSTROM5"] {
        let path = folder.join("cutest/sif").join(format!("{name}.SIF"));
        let run = |restarts| {
            let mut problem =
                SifProblem::from_file(&path, &SifOptions::default()).unwrap_or_else(|e| panic!("{e}"));
            solve(&mut problem, &Options { restarts, ..Options::default() }, &mut Silent).unwrap()
        };
        assert_eq!(run(0).stop, StopReason::LocallyInfeasible, "{name}");
        let report = run(Options::default().restarts);
        assert!(report.solved(), "{name}: {:?}", report.stop);
    }
}
