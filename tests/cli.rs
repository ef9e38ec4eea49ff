//! The command as its users run it.
#![cfg(feature = "cli")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

fn costate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_costate"));
    command.env_remove("RUST_BACKTRACE");
    command
}

fn run(args: &[&str]) -> Output {
    costate().args(args).output().unwrap()
}

/// A problem file of the repository.
fn problem(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("problems").join(name);
    path.to_str().unwrap().to_string()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(output: &Output) -> Value {
    let text = text(&output.stdout);
    assert_eq!(
        text.lines().count(),
        1,
        "stdout: {text}\nstderr: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_str(&text).unwrap()
}

/// A folder that goes away.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("costate-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }
    fn write(&self, name: &str, text: &[u8]) -> String {
        fs::write(self.0.join(name), text).unwrap();
        self.file(name)
    }
    fn copy(&self, name: &str) {
        fs::copy(problem(name), self.0.join(name)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Rows of a CSV as maps from the header.
fn rows(path: &str) -> Vec<std::collections::HashMap<String, String>> {
    let text = fs::read_to_string(path).unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader.deserialize().map(|r| r.unwrap()).collect()
}

#[test]
fn json_is_one_object_with_the_documented_keys() {
    let output = run(&["solve", &problem("hs7.SIF"), "--json"]);
    let object = json(&output);
    assert_eq!(output.status.code(), Some(0), "{object}");
    let keys = |v: &Value| v.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let set = |names: &str| names.split(' ').map(String::from).collect::<BTreeSet<_>>();
    let expected = "problem n m stop point solved objective primal dual complementarity iterations evaluations \
                    linear time message method converged_to_rounding";
    assert_eq!(keys(&object), set(&expected.split_whitespace().collect::<Vec<_>>().join(" ")));
    assert_eq!(keys(&object["evaluations"]), set("objective gradient constraints jacobian hessian products"));
    assert_eq!(keys(&object["linear"]), set("solver solves inner_iterations"));
    assert_eq!(keys(&object["time"]), set("read solve total"));
    assert_eq!((&object["stop"], &object["point"]), (&Value::from("converged"), &Value::from("kkt")));
    assert_eq!(
        (object["solved"].as_bool(), object["n"].as_u64(), object["m"].as_u64()),
        (Some(true), Some(2), Some(1))
    );
    assert!((object["objective"].as_f64().unwrap() + 3f64.sqrt()).abs() < 1e-7, "{object}");
    assert!(object["evaluations"]["objective"].as_u64().unwrap() > 0);
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
}

#[test]
fn table_header_and_final_block() {
    let output = run(&["solve", &problem("hs7.SIF")]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for word in
        ["2 variables, 1 equality constraint", "Method ", "inf_pr", "inf_du", "Objective    -1.73205080"]
    {
        assert!(said.contains(word), "{word} not in\n{said}");
    }
    assert!(said.contains("Stopped      converged"), "{said}");
}

#[test]
fn an_infeasible_problem_names_its_constraints() {
    let output = run(&["solve", &problem("nomeet.SIF")]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let tail = said.split("Most violated constraints").nth(1).unwrap_or_else(|| panic!("{said}"));
    assert!(tail.contains("LEFT") && tail.contains("RIGHT"), "{said}");
    let object = json(&run(&["solve", &problem("nomeet.SIF"), "--json"]));
    assert_eq!(
        (&object["stop"], &object["solved"]),
        (&Value::from("locally_infeasible"), &Value::from(false))
    );
}

#[test]
fn bad_input_is_one_sentence_and_exit_code_2() {
    let folder = Folder::new("bad");
    let hs7 = problem("hs7.SIF");
    let poisctl = problem("poisctl.SIF");
    let directory = folder.0.to_str().unwrap();
    let empty = folder.write("EMPTY.SIF", b"");
    let junk = folder.write("JUNK.SIF", &(0..4096).map(|k| (k * 37 % 251) as u8).collect::<Vec<_>>());
    let nowhere = folder.file("no/such/folder/file");
    let cases: &[(&[&str], &str)] = &[
        (&[], "subcommand"),
        (&["sovle", &hs7], "sovle"),
        (&["solve"], "FILE"),
        (&["solve", "no-such-file.SIF"], "no-such-file.SIF"),
        (&["solve", directory], directory),
        (&["solve", &empty], "EMPTY.SIF"),
        (&["solve", &junk], "JUNK.SIF"),
        (&["solve", &hs7, "--param", "N"], "NAME=VALUE"),
        (&["solve", &hs7, "--param", "=3"], "NAME=VALUE"),
        (&["solve", &hs7, "--param", "NOSUCH=1"], "NOSUCH"),
        (&["solve", &poisctl, "--param", "N=many"], "many"),
        (&["solve", &hs7, "--linear", "foo"], "foo"),
        (&["solve", &hs7, "--accuracy", "foo"], "practical, certified"),
        (&["solve", &hs7, "--method", "foo"], "sketched-newton"),
        (&["solve", &hs7, "--literals", "foo"], "double"),
        (&["solve", &hs7, "--start", "0"], "--start"),
        (&["solve", &hs7, "--start", "99"], "99"),
        (&["solve", &hs7, "--tol", "abc"], "--tol"),
        (&["solve", &hs7, "--tol", "-1"], "tolerance"),
        (&["solve", &hs7, "--tol", "nan"], "tolerance"),
        (&["solve", &hs7, "--time-limit", "0"], "time_limit"),
        (&["solve", &hs7, "--max-iter", "x"], "--max-iter"),
        (&["solve", &hs7, "--no-such-option"], "--no-such-option"),
        (&["solve", &hs7, "--quiet", "--log", &nowhere], &nowhere),
        (&["solve", &hs7, "--quiet", "--solution", &nowhere], &nowhere),
        (&["info", "no-such-file.SIF"], "no-such-file.SIF"),
        (&["check", &hs7, "--points", "0"], "--points"),
        (&["check", &empty], "EMPTY.SIF"),
        (&["bench"], "PATH"),
        (&["bench", "no-such-folder"], "no-such-folder"),
        (&["bench", &hs7, "--jobs", "0"], "--jobs"),
        (&["bench", &hs7, "--only-class", "foo"], "foo"),
        (&["bench", &hs7, "--linear", "ldl,foo"], "foo"),
        (&["bench", &hs7, "--csv", &nowhere], &nowhere),
        (&["bench", &hs7, "--compare", &empty], "EMPTY.SIF"),
        (&["bench", "--list", "no-such-list.csv"], "no-such-list.csv"),
    ];
    for (args, word) in cases {
        let output = run(args);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(output.stdout.is_empty(), "{args:?}: {}", text(&output.stdout));
        assert!(said.starts_with("error: ") && said.contains(word), "{args:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for args in [&["--help"][..], &["--version"], &["solve", "--help"], &["bench", "--help"]] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(text(&output.stdout).contains("costate") && output.stderr.is_empty());
    }
}

#[test]
fn quiet_prints_nothing_but_why_it_failed() {
    for (file, code) in [("hs7.SIF", 0), ("nomeet.SIF", 1)] {
        let output = run(&["solve", &problem(file), "--quiet"]);
        assert_eq!(output.status.code(), Some(code));
        assert!(output.stdout.is_empty());
        assert_eq!(text(&output.stderr).starts_with("error: "), code != 0);
        assert!(text(&output.stderr).lines().count() <= 1);
    }
}

#[test]
fn json_and_quiet_go_together() {
    for (file, code) in [("hs7.SIF", 0), ("nomeet.SIF", 1)] {
        let output = run(&["solve", &problem(file), "--json", "--quiet"]);
        assert_eq!(output.status.code(), Some(code));
        assert!(output.stderr.is_empty());
        let (quiet, plain) = (json(&output), json(&run(&["solve", &problem(file), "--json"])));
        assert_eq!((&quiet["stop"], &quiet["iterations"]), (&plain["stop"], &plain["iterations"]));
    }
}

#[test]
fn log_has_every_event_as_a_json_line() {
    let folder = Folder::new("log");
    let log = folder.file("run.jsonl");
    let object = json(&run(&["solve", &problem("hs7.SIF"), "--json", "--log", &log]));
    let lines: Vec<Value> =
        fs::read_to_string(&log).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!((&lines[0]["event"], &lines[0]["problem"]), (&Value::from("start"), &object["problem"]));
    let last = &lines[lines.len() - 1];
    assert_eq!((&last["event"], &last["iterations"]), (&Value::from("stop"), &object["iterations"]));
    let table: Vec<u64> = lines
        .iter()
        .filter(|l| l["event"] == "iteration")
        .map(|l| l["iteration"].as_u64().unwrap())
        .collect();
    assert_eq!(table, (0..=object["iterations"].as_u64().unwrap()).collect::<Vec<_>>());
    let seconds: Vec<f64> = lines.iter().map(|l| l["seconds"].as_f64().unwrap()).collect();
    assert!(seconds.is_sorted());
}

#[test]
fn solution_can_be_read_again() {
    use costate::Nlp;
    use costate::nlp::solution::Solution;
    use costate::sif::{SifOptions, SifProblem};
    let folder = Folder::new("solution");
    let path = folder.file("hs7.sol");
    assert!(run(&["solve", &problem("hs7.SIF"), "--quiet", "--solution", &path]).status.success());
    let solution = Solution::read(Path::new(&path)).unwrap();
    let mut nlp = SifProblem::from_file(Path::new(&problem("hs7.SIF")), &SifOptions::default()).unwrap();
    assert_eq!(solution.problem, nlp.meta().name);
    let Solution { x, y, .. } = solution.arrange(nlp.meta()).unwrap();
    let mut g = vec![0.0; 2];
    let mut c = [0.0_f64];
    nlp.grad(&x, &mut g).unwrap();
    nlp.cons(&x, &mut c).unwrap();
    let mut values = vec![0.0; nlp.meta().jacobian.as_ref().unwrap().len()];
    nlp.jac_values(&x, &mut values).unwrap();
    let pattern = nlp.meta().jacobian.as_ref().unwrap();
    for ((&i, &j), v) in pattern.rows.iter().zip(&pattern.cols).zip(&values) {
        g[j] += v * y[i];
    }
    assert!(g.iter().chain(&c).all(|r| r.abs() < 1e-6), "{g:?} {c:?}");
}

#[test]
fn info_and_check() {
    let said = text(&run(&["info", &problem("poisctl.SIF"), "--param", "N=4"]).stdout);
    for word in ["POISCTL", "QLR2-MN-V-V", "32 variables, 16 equality constraints", "ALPHA", "integer"] {
        assert!(said.contains(word), "{word} not in\n{said}");
    }
    let stats = json(&run(&["info", &problem("poisctl.SIF"), "--param", "N=4", "--json"]));
    assert_eq!((stats["n"].as_u64(), stats["m"].as_u64()), (Some(32), Some(16)), "{stats}");
    let names = text(&run(&["info", &problem("nomeet.SIF"), "--names"]).stdout);
    assert!(names.contains("LEFT\t") && names.contains("X1\t"), "{names}");
    for file in ["hs7.SIF", "nomeet.SIF", "poisctl.SIF", "orthregb.SIF"] {
        let output = run(&["check", &problem(file), "--points", "3"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    }
}

/// A solve that cannot finish: single-vector sketches on a problem that is far too large for them.
fn endless(extra: &[&str]) -> Command {
    let mut command = costate();
    command.args(["solve", &problem("poisctl.SIF"), "--param", "N=60", "--linear", "gaussian"]);
    command.args(["--max-iter", "1000000"]).args(extra);
    command
}

#[test]
fn the_time_limit_ends_a_solve_with_a_report() {
    let begin = Instant::now();
    let output = endless(&["--time-limit", "0.3", "--json"]).output().unwrap();
    let object = json(&output);
    assert_eq!((&object["stop"], output.status.code()), (&Value::from("time_limit"), Some(1)), "{object}");
    let seconds = object["time"]["solve"].as_f64().unwrap();
    assert!((0.3..10.0).contains(&seconds) && begin.elapsed() < Duration::from_secs(30), "{seconds}");
}

fn wait(mut child: Child) -> Output {
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begin.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("the process did not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

#[cfg(unix)]
fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_a_solve_with_a_report() {
    let folder = Folder::new("interrupt");
    let log = folder.file("run.jsonl");
    let child =
        endless(&["--json", "--log", &log]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begin = Instant::now();
    while !fs::read_to_string(&log).is_ok_and(|t| t.contains("\"start\"")) {
        assert!(begin.elapsed() < Duration::from_secs(60), "the solve did not begin");
        std::thread::sleep(Duration::from_millis(10));
    }
    signal(&child, "-INT");
    let output = wait(child);
    let object = json(&output);
    assert_eq!((&object["stop"], output.status.code()), (&Value::from("interrupted"), Some(1)), "{object}");
    assert!(fs::read_to_string(&log).unwrap().contains("\"event\":\"stop\""));
}

#[cfg(unix)]
#[test]
fn a_closed_pipe_is_no_panic() {
    for args in [
        vec!["solve".to_string(), problem("hs7.SIF")],
        vec!["info".into(), problem("poisctl.SIF"), "--names".into(), "--param".into(), "N=60".into()],
        vec!["bench".into(), problem("hs7.SIF")],
    ] {
        let mut child = costate().args(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = wait(child);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{args:?}: {output:?}");
        let said = text(&output.stderr);
        assert!(said.lines().all(|l| l.starts_with("warning: ")), "{args:?}: {said}");
    }
    // A reader that goes away in the middle of a solve.
    let mut child = endless(&[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.contains("POISCTL"), "{line}");
    drop(reader);
    // The solve would end at its next line, which may be far away.
    signal(&child, "-INT");
    let output = wait(child);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
}

#[test]
fn bench_writes_rows_in_order_and_compares() {
    let folder = Folder::new("bench");
    for name in ["hs7.SIF", "hs28.SIF", "bt1.SIF", "nomeet.SIF", "rosenbr.SIF"] {
        folder.copy(name);
    }
    let (csv, svg) = (folder.file("out.csv"), folder.file("out.svg"));
    let here = folder.0.to_str().unwrap();
    let output = run(&["bench", here, "--jobs", "2", "--csv", &csv]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let table = rows(&csv);
    let names: Vec<&str> = table.iter().map(|r| r["name"].as_str()).collect();
    assert_eq!(names, ["bt1", "hs28", "hs7", "nomeet", "rosenbr"]);
    let solved: Vec<&str> =
        table.iter().filter(|r| r["solved"] == "true").map(|r| r["name"].as_str()).collect();
    assert_eq!(solved, ["bt1", "hs28", "hs7", "rosenbr"]);
    assert_eq!((table[4]["kind"].as_str(), table[0]["kind"].as_str()), ("unconstrained", "equality"));
    let said = text(&output.stdout);
    assert!(said.contains("Not solved: 1") && said.contains("nomeet"), "{said}");

    let again = run(&["bench", here, "--compare", &csv, "--profile", &svg, "--only-class", "equality"]);
    let said = text(&again.stdout);
    assert!(said.contains("solved by both    3") && said.contains("solved by neither 1"), "{said}");
    assert!(fs::read_to_string(&svg).unwrap().contains("</svg>"));

    let reference = folder.write(
        "reference.csv",
        b"name,f_best,ipopt_status,ipopt_seconds\nhs7,-1.8,Solve_Succeeded,0.01\nhs28,0,Failed,0.01\n\
          nomeet,,Solve_Succeeded,0.01\n",
    );
    let said = text(&run(&["bench", here, "--compare", &reference]).stdout);
    for word in
        ["Ipopt: 3 solves (2 not known there)", "here only  1: hs28", "there only 1: nomeet", "1e-6: 1"]
    {
        assert!(said.contains(word), "{word} not in\n{said}");
    }
}

#[test]
fn bench_runs_lists_and_experiments() {
    let folder = Folder::new("experiment");
    let list = folder.write("list.csv", b"name,params\npoisctl,N=2\npoisctl,N=4 ALPHA=0.5\n");
    let csv = folder.file("out.csv");
    let problems = format!("{}/problems", env!("CARGO_MANIFEST_DIR"));
    let output = run(&[
        "bench",
        "--list",
        &list,
        "--dir",
        &problems,
        "--linear",
        "ldl,minres",
        "--tol",
        "1e-4,1e-8",
        "--seeds",
        "2",
        "--in-process",
        "--csv",
        &csv,
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let table = rows(&csv);
    assert_eq!(table.len(), 2 * 2 * 2 * 2);
    assert_eq!((table[0]["params"].as_str(), table[0]["n"].as_str()), ("N=2", "8"));
    assert_eq!((table[15]["params"].as_str(), table[15]["n"].as_str()), ("N=4 ALPHA=0.5", "32"));
    assert!(table.iter().all(|r| r["solved"] == "true" && r["linear"] == r["linear_option"]), "{table:?}");
    let said = text(&output.stdout);
    assert_eq!(said.matches("4/4").count(), 4, "{said}");
}

#[cfg(unix)]
#[test]
fn bench_survives_memory_explosions_and_hangs() {
    let folder = Folder::new("crash");
    let list = folder.write("list.csv", b"name,params\nhs7,\nbroydn3d,N=4000000\nhs28,\n");
    let csv = folder.file("out.csv");
    let problems = format!("{}/problems", env!("CARGO_MANIFEST_DIR"));
    let bench = |extra: &[&str]| {
        let mut command = costate();
        command.args(["bench", "--list", &list, "--dir", &problems, "--csv", &csv]).args(extra);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        rows(&csv).iter().map(|r| r["stop"].clone()).collect::<Vec<_>>()
    };
    // 4 million variables do not fit into 512 MiB ...
    assert_eq!(bench(&["--memory-limit", "512"]), ["converged", "crashed", "converged"]);
    // ... and are not read within a second.
    let stops = bench(&["--time-limit", "0.5", "--grace", "0.5"]);
    assert_eq!(stops[1], "killed", "{stops:?}");
}

#[cfg(unix)]
#[test]
fn an_interrupted_bench_keeps_its_rows() {
    let folder = Folder::new("interrupted-bench");
    let list = folder.write("list.csv", b"name,params\nhs7,\nhs28,\npoisctl,N=60\nhs6,\n");
    let csv = folder.file("out.csv");
    let problems = format!("{}/problems", env!("CARGO_MANIFEST_DIR"));
    let mut child = costate()
        .args(["bench", "--list", &list, "--dir", &problems, "--csv", &csv, "--linear", "gaussian"])
        .args(["--tol", "1e-2", "--max-iter", "1000000", "--time-limit", "300"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    while !fs::read_to_string(&csv).is_ok_and(|t| t.lines().count() >= 3) {
        assert!(begin.elapsed() < Duration::from_secs(120), "the first problems did not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    signal(&child, "-INT");
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let output = wait(child);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let names: Vec<String> = rows(&csv).iter().map(|r| r["name"].clone()).collect();
    assert_eq!(names, ["hs7", "hs28"], "{said}");
    assert!(said.contains("interrupted, 2 of 4 solves are missing"), "{said}");
}
