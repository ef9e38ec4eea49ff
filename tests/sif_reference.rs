//! SIF problems against the official decoder and evaluation library (skipped where the reference data are absent).

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use costate::nlp::Nlp;
use costate::nlp::ProblemStats;
use costate::sif::{Literals, SifOptions, SifProblem};
use proptest::prelude::*;

/// The folder with reference data; `None`: absent and not required.
fn shared() -> Option<PathBuf> {
    let folder = match std::env::var_os("COSTATE_SHARED") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"),
    };
    let there = folder.join("cutest/sif").is_dir();
    assert!(
        there || std::env::var_os("COSTATE_REQUIRE_SHARED").is_none(),
        "{} is required and absent",
        folder.display()
    );
    if !there {
        eprintln!("skipped: no reference data in {}", folder.display());
    }
    there.then_some(folder)
}

type Row = HashMap<String, String>;

fn rows(path: &Path) -> Vec<Row> {
    let csv = std::fs::read_to_string(path).unwrap();
    let mut lines = csv.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    lines
        .map(|l| header.iter().map(|h| h.to_string()).zip(l.split(',').map(str::to_string)).collect())
        .collect()
}

fn load(folder: &Path, row: &Row) -> Result<SifProblem, costate::Error> {
    let mut options = SifOptions::default();
    for pair in row.get("params").into_iter().flat_map(|p| p.split([' ', ';'])).filter(|p| !p.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap();
        options.params.push((name.to_string(), value.to_string()));
    }
    let path = folder.join("cutest/sif").join(format!("{}.SIF", row["name"]));
    SifProblem::from_file(&path, &options)
}

/// Columns that differ: "column = found, reference".
fn differences(stats: &ProblemStats, row: &Row) -> Vec<String> {
    let json = serde_json::to_value(stats).unwrap();
    let mut found = Vec::new();
    for (column, value) in json.as_object().unwrap() {
        let Some(reference) = row.get(column) else { continue };
        if column == "name" || column == "class" {
            if value.as_str() != Some(reference) {
                found.push(format!("{column} = {value}, reference {reference}"));
            }
            continue;
        }
        let want: f64 = reference.parse().unwrap();
        // JSON has no NaN and no infinity.
        let got = value.as_f64().unwrap_or(f64::NAN);
        if !want.is_finite() && !got.is_finite() {
            continue;
        }
        // Residuals that should vanish are compared absolutely.
        let tolerance = if want.abs() < 1e-9 { 1e-10 } else { 1e-9 * want.abs() };
        if got.is_nan() || (got - want).abs() > tolerance {
            found.push(format!("{column} = {got}, reference {want}"));
        }
    }
    found
}

fn compare(csv: &str, known: &[(&str, &str)]) {
    let Some(folder) = shared() else { return };
    let mut wrong = Vec::new();
    for row in rows(&folder.join("cutest").join(csv)) {
        let mut problem = match load(&folder, &row) {
            Ok(problem) => problem,
            Err(e) => {
                wrong.push(e.to_string());
                continue;
            }
        };
        for difference in differences(&problem.stats(), &row) {
            let column = difference.split(' ').next().unwrap_or_default();
            if !known.contains(&(row["name"].as_str(), column)) {
                wrong.push(format!("{}: {difference}", row["name"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong.join("\n"));
}

/// Problem and column that differ for a reason.
/// - n10FOLDTRLS: its NAME card has room for ten characters only; the reference names the file.
const KNOWN: &[(&str, &str)] = &[("n10FOLDTRLS", "name")];

#[test]
fn reference() {
    compare("reference.csv", KNOWN);
}

#[test]
fn scale() {
    compare("scale.csv", &[]);
}

fn read_with(folder: &Path, name: &str, literals: Literals) -> SifProblem {
    let path = folder.join("cutest/sif").join(format!("{name}.SIF"));
    let options = SifOptions { literals, ..SifOptions::default() };
    SifProblem::from_file(&path, &options).unwrap_or_else(|e| panic!("{e}"))
}

/// f at the start with the decoder's 32-bit literals, from the format's description; digits as given there.
const ANCHORS: &[(&str, f64)] = &[
    ("HS11", -24.98),
    ("HS62", -25698.30111),
    ("HS87", 8927.5964),
    ("HELIX", 2499.999798),
    ("GULF", 12.11070575),
    ("TOINTGOR", 5073.786371),
    ("LEAKNET", 15.28830879),
    ("HS99EXP", 0.0),
    ("BATCH", 1500.0),
    ("DIAGIQB", 4.75),
    ("CAMSHAPE", -4.71238898),
    ("SCHMVETT", -22.8805219),
    ("TRIGON2B", 51.0855557),
    ("WOODS", 19192000.0),
];

#[test]
fn literals_as_cutest_reads_them() {
    let Some(folder) = shared() else { return };
    let mut wrong = Vec::new();
    for &(name, want) in ANCHORS {
        if !folder.join("cutest/sif").join(format!("{name}.SIF")).is_file() {
            continue;
        }
        let mut problem = read_with(&folder, name, Literals::Cutest);
        let x = problem.meta().x0.clone();
        let f = problem.obj(&x).unwrap();
        // The digits given, half a unit in the last place.
        if (f - want).abs() > 6e-10 * want.abs() {
            wrong.push(format!("{name}: {f}, expected {want}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Literals (in HS93 and HS62 also coefficients of R cards) matter here, by little; elsewhere not at all.
#[test]
fn literals_make_a_difference() {
    let Some(folder) = shared() else { return };
    let mut checked = 0;
    for (name, least, most) in [
        ("GULF", 1e-9, 1e-5),
        ("SPANHYD", 1e-9, 1e-5),
        ("HS62", 1e-10, 1e-4),
        ("HS93", 1e-9, 1e-7),
        ("HIMMELP4", 1e-7, 1e-5),
        ("TRIGON2B", 1e-8, 1e-6),
        ("READING5", 1e-8, 1e-6),
        ("HS87", 0.0, 0.0),
        ("WOODS", 0.0, 0.0),
    ] {
        if !folder.join("cutest/sif").join(format!("{name}.SIF")).is_file() {
            continue;
        }
        checked += 1;
        let [(f, g), (f1, g1)] = [Literals::Double, Literals::Cutest].map(|literals| {
            let mut problem = read_with(&folder, name, literals);
            let x0 = &problem.meta().x0;
            let x: Vec<f64> = x0.iter().enumerate().map(|(j, x)| x + 0.01 * (1.0 + (j % 7) as f64)).collect();
            let mut g = vec![0.0; x.len()];
            problem.grad(&x, &mut g).unwrap();
            (problem.obj(&x).unwrap(), g.iter().map(|v| v * v).sum::<f64>().sqrt())
        });
        let change = ((f - f1).abs() / f.abs()).max((g - g1).abs() / g.abs());
        assert!(change >= least && change <= most, "{name}: relative change {change}");
    }
    assert!(checked >= 3, "only {checked} files found");
}

/// Ranges, parameters, group types on objective and constraint, scales, an element with one variable twice, a quadratic part.
const SMALL: &str = "\
NAME          SMALL
VARIABLES
    X
    Y
    Z
GROUPS
 N  F1        X         1.5            Z         -1.0
 N  F1        'SCALE'   2.0
 N  F2        Y         3.0
 E  C1        X         1.0            Y         1.0
 E  C1        'SCALE'   -4.0
 L  C2        Z         2.0
 G  C3        X         1.0            Z         -1.0
CONSTANTS
    SMALL     F1        0.25           C1        1.0
RANGES
    SMALL     C2        3.0
BOUNDS
 FR SMALL     'DEFAULT'
START POINT
    SMALL     X         0.7            Y         -0.4
    SMALL     Z         1.3
HESSIAN
    X         X         2.0            Z         -0.5
    Y         Z         0.75
ELEMENT TYPE
 EV PROD      V                        W
 EV DIF       V                        W
 IV DIF       U
 EP DIF       P
ELEMENT USES
 T  E1        PROD
 V  E1        V                        X
 V  E1        W                        Y
 T  E2        PROD
 V  E2        V                        Z
 V  E2        W                        Z
 T  E3        DIF
 V  E3        V                        X
 V  E3        W                        Z
 P  E3        P         1.25
 T  E4        DIF
 V  E4        V                        Z
 V  E4        W                        Y
 P  E4        P         -0.5
GROUP TYPE
 GV SIN       A
 GP SIN       Q
GROUP USES
 T  F1        SIN
 E  F1        E1        2.0            E3        -1.0
 P  F1        Q         0.5
 E  F2        E2                       E4        0.3
 T  C1        SIN
 E  C1        E2        1.0            E3
 P  C1        Q         2.0
 E  C2        E1        1.0            E1        0.5
 E  C2        E4        -2.0
ENDATA
ELEMENTS      SMALL
TEMPORARIES
 R  S
 L  BIG
 M  EXP
INDIVIDUALS
 T  PROD
 F                      V*W
 G  V                   W
 G  W                   V
 H  V         W         1.0D0
 T  DIF
 R  U         V         2.0            W         -0.5
 A  BIG                 U .GT. 0.0
 I  BIG       S         EXP( U*P )
 E  BIG       S         1.0 + U*P + 0.5 * (U*P)**2 + (U*P)**3/6.0
 F                      S
 I  BIG       S         P * EXP( U*P )
 E  BIG       S         P * (1.0 + U*P + 0.5*(U*P)**2)
 G  U                   S
 I  BIG       S         P * S
 E  BIG       S         P**2 * (1.0 + U*P)
 H  U         U         S
ENDATA
GROUPS        SMALL
TEMPORARIES
 M  SIN
 M  COS
INDIVIDUALS
 T  SIN
 F                      SIN(Q*A)
 G                      Q*COS(Q*A)
 H                      -Q*Q*SIN(Q*A)
ENDATA
";

/// Dense matrices from the patterns.
fn dense(problem: &mut SifProblem, x: &[f64], sigma: f64, y: &[f64]) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let (n, m) = (problem.meta().n(), problem.meta().m());
    let (jp, hp) = (problem.meta().jacobian.clone().unwrap(), problem.meta().hessian.clone().unwrap());
    let (mut jv, mut hv) = (vec![0.0; jp.len()], vec![0.0; hp.len()]);
    problem.jac_values(x, &mut jv).unwrap();
    problem.hess_values(x, sigma, y, &mut hv).unwrap();
    let (mut jacobian, mut hessian) = (vec![vec![0.0; n]; m], vec![vec![0.0; n]; n]);
    for k in 0..jp.len() {
        jacobian[jp.rows[k]][jp.cols[k]] += jv[k];
    }
    let mut seen = std::collections::HashSet::new();
    for (k, &value) in hv.iter().enumerate() {
        let (i, j) = (hp.rows[k], hp.cols[k]);
        assert!(i >= j && seen.insert((i, j)), "entry ({i}, {j}) twice or above the diagonal");
        hessian[i][j] = value;
        hessian[j][i] = value;
    }
    (jacobian, hessian)
}

fn times(a: &[Vec<f64>], v: &[f64]) -> Vec<f64> {
    a.iter().map(|row| row.iter().zip(v).map(|(a, v)| a * v).sum()).collect()
}

fn close(what: &str, a: &[f64], b: &[f64], tolerance: f64) {
    let size = a.iter().chain(b).fold(1.0f64, |s, v| s.max(v.abs()));
    for (k, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= tolerance * size, "{what}, entry {k}: {a} and {b}");
    }
}

/// Values, products and finite differences agree; nothing depends on what was asked before.
fn consistent(name: &str, problem: &mut SifProblem) {
    let (n, m) = (problem.meta().n(), problem.meta().m());
    let x: Vec<f64> =
        problem.meta().x0.iter().enumerate().map(|(j, x)| x + 0.01 * ((j % 5) as f64 - 1.7)).collect();
    let y: Vec<f64> = (0..m).map(|i| 1.0 / (i + 1) as f64 - 0.3).collect();
    let v: Vec<f64> = (0..n).map(|j| ((j * 7 + 3) % 11) as f64 / 11.0 - 0.4).collect();
    let sigma = 0.7;
    let (jacobian, hessian) = dense(problem, &x, sigma, &y);
    let (mut jv, mut jty, mut hv, mut g) = (vec![0.0; m], vec![0.0; n], vec![0.0; n], vec![0.0; n]);
    problem.hess_prod(&x, sigma, &y, &v, &mut hv).unwrap();
    problem.jac_prod(&x, &v, &mut jv).unwrap();
    problem.jac_t_prod(&x, &y, &mut jty).unwrap();
    problem.grad(&x, &mut g).unwrap();
    close(&format!("{name}: J v"), &jv, &times(&jacobian, &v), 1e-13);
    close(&format!("{name}: H v"), &hv, &times(&hessian, &v), 1e-13);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (left, right) = (dot(&jv, &y), dot(&v, &jty));
    assert!((left - right).abs() <= 1e-12 * left.abs().max(1.0), "{name}: {left} and {right}");
    // Differences along v of f, c and of the gradient of the Lagrangian.
    let h = 1e-6;
    let mut at = |s: f64| {
        let z: Vec<f64> = x.iter().zip(&v).map(|(x, v)| x + s * h * v).collect();
        let (mut c, mut g, mut jty) = (vec![0.0; m], vec![0.0; n], vec![0.0; n]);
        let f = problem.obj_cons(&z, &mut c).unwrap();
        problem.grad(&z, &mut g).unwrap();
        problem.jac_t_prod(&z, &y, &mut jty).unwrap();
        let lagrangian: Vec<f64> = g.iter().zip(&jty).map(|(g, j)| sigma * g + j).collect();
        (f, c, lagrangian)
    };
    let ((f1, c1, l1), (f0, c0, l0)) = (at(1.0), at(-1.0));
    let slope =
        |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b) / (2.0 * h)).collect::<Vec<f64>>();
    close(&format!("{name}: differences of f"), &[(f1 - f0) / (2.0 * h)], &[dot(&g, &v)], 1e-5);
    close(&format!("{name}: differences of c"), &slope(&c1, &c0), &jv, 1e-5);
    close(&format!("{name}: differences of the gradient"), &slope(&l1, &l0), &hv, 1e-5);
    // The same point once more, every function asked first.
    let again = problem.obj(&x).unwrap();
    let mut values = vec![0.0; problem.meta().hessian.as_ref().unwrap().len()];
    problem.hess_values(&x, sigma, &y, &mut values).unwrap();
    problem.forget();
    let mut fresh = values.clone();
    problem.hess_values(&x, sigma, &y, &mut fresh).unwrap();
    assert_eq!(values, fresh, "{name}: the Hessian does not depend on what was asked before");
    problem.forget();
    assert_eq!(problem.obj(&x).unwrap(), again, "{name}: nor does the objective");
}

#[test]
fn small_problem_is_consistent() {
    let mut problem = SifProblem::from_text("small", SMALL.as_bytes(), &SifOptions::default()).unwrap();
    assert_eq!((problem.meta().n(), problem.meta().m()), (3, 3));
    assert_eq!(problem.meta().c_lower, [0.0, -3.0, 0.0]);
    assert_eq!(problem.meta().linear, [false, false, true]);
    consistent("small", &mut problem);
    // f at a point where everything is short: x = y = z = 0.
    let f = problem.obj(&[0.0; 3]).unwrap();
    let f1 = (0.5f64 * (-0.25 - 1.0)).sin() / 2.0;
    assert!((f - (f1 + 0.3)).abs() < 1e-15, "{f}");
    let mut c = [0.0; 3];
    problem.cons(&[0.0; 3], &mut c).unwrap();
    assert_eq!(c, [0.0 / -4.0, -2.0, 0.0]);
    // What is not finite is returned as it is.
    assert!(!problem.obj(&[f64::NAN, 0.0, 0.0]).unwrap().is_finite());
    assert!(!problem.obj(&[1e300, 1.0, -1e300]).unwrap().is_finite());
}

#[test]
fn real_problems_are_consistent() {
    let Some(folder) = shared() else { return };
    for name in [
        "HS62", "HS87", "AIRCRFTA", "SPARSINE", "VANDERM1", "BATCH", "EIGENACO", "LEAKNET", "CAMSHAPE",
        "BROYDN3D",
    ] {
        let path = folder.join("cutest/sif").join(format!("{name}.SIF"));
        if path.is_file() {
            consistent(name, &mut read_with(&folder, name, Literals::Double));
        }
    }
}

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// Counts the allocations of each thread.
struct Counting;

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn evaluation_does_not_allocate() {
    let mut problem = SifProblem::from_text("small", SMALL.as_bytes(), &SifOptions::default()).unwrap();
    let (x, y, v) = ([0.3, -0.2, 0.9], [1.0, -2.0, 0.5], [1.0, 2.0, 3.0]);
    let (mut a, mut b) = ([0.0; 3], [0.0; 3]);
    let mut jacobian = vec![0.0; problem.meta().jacobian.as_ref().unwrap().len()];
    let mut hessian = vec![0.0; problem.meta().hessian.as_ref().unwrap().len()];
    let before = ALLOCATIONS.get();
    assert!(before > 0, "the counter counts");
    let f = problem.obj_cons(&x, &mut a).unwrap();
    problem.grad_jac_values(&x, &mut b, &mut jacobian).unwrap();
    problem.hess_values(&x, 1.0, &y, &mut hessian).unwrap();
    problem.jac_prod(&x, &v, &mut a).unwrap();
    problem.jac_t_prod(&v, &y, &mut a).unwrap();
    problem.hess_prod(&y, 1.0, &y, &v, &mut a).unwrap();
    assert_eq!(ALLOCATIONS.get(), before);
    assert!(f.is_finite());
}

proptest! {
    /// Whatever is in the file: an answer or an error, never a panic.
    #[test]
    fn damaged_files_do_not_panic(
        changes in prop::collection::vec((0usize..SMALL.len(), "[ A-Z0-9.*()+/-]"), 1..4),
        cut in prop::option::of(0usize..SMALL.len()),
    ) {
        let mut text = SMALL.as_bytes().to_vec();
        for (at, byte) in &changes {
            text[*at] = byte.as_bytes()[0];
        }
        text.truncate(cut.unwrap_or(text.len()));
        for literals in [Literals::Double, Literals::Cutest] {
            let options = SifOptions { literals, lenient: true, ..SifOptions::default() };
            if let Ok(mut problem) = SifProblem::from_text("damaged", &text, &options) {
                let stats = problem.stats();
                prop_assert!(stats.nnzh >= problem.meta().hessian.as_ref().map_or(0, |p| p.len()));
            }
        }
    }
}
