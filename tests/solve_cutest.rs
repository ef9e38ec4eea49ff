//! The problems of the CUTEst subset end as docs/benchmarks.md says: each at a KKT point or at a certified stationary point of the violation,
//! but for the failures that are listed there and here by name. A listed failure that ends well fails the test, too.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use costate::Report;
use costate::observe::Silent;
use costate::opt::{Options, solve};
use costate::sif::{SifOptions, SifProblem};

/// As in the table of docs/benchmarks.md of what fails, which has the reasons.
const FAILING: [&str; 12] = [
    "HS13",
    "HS87",
    "MESH",
    "MSS1",
    "OSCIPATH",
    "PALMER5A",
    "PALMER5E",
    "PALMER5ENE",
    "QCNEW",
    "S365MOD",
    "VANDERM4",
    "n10FOLDTRLS",
];
/// Not run: 25 s to minutes each, more than all the others together. Some end by a time limit on one machine and not on another.
const SLOWEST: [&str; 11] = [
    // 153 219 elements and more each.
    "DIAMON2DLS",
    "DIAMON3D",
    "DMN15103LS",
    "DMN15332",
    "DMN15332LS",
    "DMN15333",
    "DMN15333LS",
    "DMN37142",
    "DMN37143",
    // A sum of exponentials: thousands of iterations along a valley.
    "FBRAIN3LS",
    // 1261 inequalities with dependent gradients.
    "TAX13322",
];
/// A feasible point is known: a least violation is a failure.
const FEASIBLE: [&str; 1] = ["VANDERM4"];

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

fn names(folder: &Path) -> Vec<String> {
    let csv = std::fs::read_to_string(folder.join("cutest/reference.csv")).expect("reference.csv");
    csv.lines().skip(1).filter_map(|row| row.split(',').next()).map(str::to_string).collect()
}

/// A KKT point, within tolerance or as well as rounding allows, or a certified least violation.
fn ends_well(name: &str, report: &Report) -> bool {
    match report.stop.as_str() {
        "converged" | "converged_to_rounding" => true,
        "locally_infeasible" | "infeasible" | "least_squares" => !FEASIBLE.contains(&name),
        _ => false,
    }
}

#[test]
fn problems_end_as_the_readme_says() {
    let Some(folder) = shared() else { return };
    let names = names(&folder);
    assert_eq!(names.len(), 635);
    let (mut solved, mut wrong) = (0, Vec::new());
    for name in names.iter().filter(|name| !SLOWEST.contains(&name.as_str())) {
        let path = folder.join("cutest/sif").join(format!("{name}.SIF"));
        let mut problem =
            SifProblem::from_file(&path, &SifOptions::default()).unwrap_or_else(|e| panic!("{e}"));
        let report = solve(&mut problem, &Options::default(), &mut Silent).unwrap_or_else(|e| panic!("{e}"));
        solved += usize::from(report.solved());
        match (ends_well(name, &report), FAILING.contains(&name.as_str())) {
            (true, true) => {
                wrong.push(format!("{name} is listed as failing and ends well: {}", report.stop.as_str()));
            }
            (false, false) => wrong.push(format!("{name}: {} ({})", report.stop.as_str(), report.message)),
            _ => {}
        }
    }
    println!("{solved} solved");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The table below `What fails` in docs/benchmarks.md: names of its first column.
#[test]
fn the_table_lists_the_same_failures() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/benchmarks.md"))
        .expect("docs/benchmarks.md");
    let (_, after) = page.split_once("What fails, and why").expect("the table of what fails");
    let rows =
        after.lines().skip_while(|l| !l.starts_with("|---")).skip(1).take_while(|l| l.starts_with('|'));
    let listed: BTreeSet<&str> = rows
        .flat_map(|row| row.split('|').nth(1).unwrap_or_default().split(','))
        .map(str::trim)
        .filter(|name| !SLOWEST.contains(name))
        .collect();
    assert_eq!(listed, FAILING.into_iter().collect());
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
        assert!(matches!(run(0).stop.as_str(), "locally_infeasible" | "least_squares"), "{name}");
        let report = run(Options::default().restarts);
        assert!(report.solved(), "{name}: {:?}", report.stop);
    }
}
