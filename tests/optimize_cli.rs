//! `costate optimize` on programs that print, fail, hang, and a command that is killed.
#![cfg(all(feature = "cli", unix))]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("costate-optimize-{name}-{}", std::process::id()));
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// x^2 + (n - 3)^2, a file `runs` that counts, no value for x > 4.
const SCRIPT: &str = r#"echo run >> runs
awk -v x="$1" -v n="$2" 'BEGIN { if (x > 4) exit 3; printf "step 1\nvalue = %.17g\nload = %.17g kN\n", x * x + (n - 3) ^ 2, x + n }'"#;

fn config(folder: &Path, more: &str) -> PathBuf {
    std::fs::write(folder.join("run.sh"), SCRIPT).unwrap();
    let text = format!(
        r#"command = ["sh", "run.sh", "{{x}}", "{{n}}"]
objective = "value ="
evaluations = 12
{more}
[[variable]]
name = "x"
lower = -5.0
upper = 5.0
[[variable]]
name = "n"
lower = 0
upper = 6
scale = "integer"
[[constraint]]
name = "load"
read = "load ="
lower = 1.0
"#
    );
    let path = folder.join("a.toml");
    std::fs::write(&path, text).unwrap();
    path
}

fn costate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_costate")).arg("optimize").args(args).output().unwrap()
}

fn proposals(log: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap();
    text.lines().filter(|l| l.contains("\"proposal\"")).map(str::to_string).collect()
}

#[test]
fn a_program_is_minimized_and_a_second_call_has_nothing_to_do() {
    let folder = folder("program");
    let path = config(&folder, "workers = 2");
    let path = path.to_str().unwrap();
    let first = costate(&[path, "--json"]);
    assert_eq!(first.status.code(), Some(0), "{first:?}");
    let best: serde_json::Value = serde_json::from_slice(&first.stdout).unwrap();
    assert_eq!(best["evaluations"], 12);
    assert_eq!(best["feasible"], true);
    assert!(best["objective"].as_f64().unwrap() < 9.0);
    assert_eq!(best["x"]["n"].as_f64().unwrap().fract(), 0.0);
    let runs = || std::fs::read_to_string(folder.join("runs")).unwrap().lines().count();
    assert_eq!(runs(), 12);
    let again = costate(&[path, "--json"]);
    assert_eq!(again.stdout, first.stdout);
    assert_eq!(runs(), 12);
    // More evaluations go on from there.
    assert_eq!(costate(&[path, "--quiet", "--evaluations", "14"]).status.code(), Some(0));
    assert_eq!(runs(), 14);
    std::fs::remove_dir_all(folder).ok();
}

#[test]
fn killed_and_started_again_it_makes_the_same_proposals() {
    let folder = folder("kill");
    let path = config(&folder, "");
    let path = path.to_str().unwrap();
    let (whole, cut) = (folder.join("whole.jsonl"), folder.join("cut.jsonl"));
    assert_eq!(costate(&[path, "--quiet", "--log", whole.to_str().unwrap()]).status.code(), Some(0));
    let log = cut.to_str().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_costate"))
        .args(["optimize", path, "--log", log])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // SIGKILL once a few results are there.
    let began = Instant::now();
    while std::fs::read_to_string(&cut).unwrap_or_default().matches("\"result\"").count() < 5 {
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(costate(&[path, "--quiet", "--log", log]).status.code(), Some(0));
    assert_eq!(proposals(&cut), proposals(&whole));
    std::fs::remove_dir_all(folder).ok();
}

#[test]
fn time_outs_and_missing_numbers_are_failures_with_a_reason() {
    let folder = folder("slow");
    let script = r#"case "$1" in -*) sleep 30 & wait;; esac; echo "nothing"; if [ "${1%%.*}" = 0 ]; then echo NaN; fi"#;
    std::fs::write(folder.join("slow.sh"), script).unwrap();
    let text = "command = [\"sh\", \"slow.sh\", \"{x}\"]\nevaluations = 6\ntime_limit = 0.3\nworkers = 3\n[[variable]]\nname = \"x\"\nlower = -2.0\nupper = 2.0\n";
    let path = folder.join("slow.toml");
    std::fs::write(&path, text).unwrap();
    let began = Instant::now();
    let out = costate(&[path.to_str().unwrap()]);
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!(out.status.code(), Some(1));
    let log = std::fs::read_to_string(folder.join("slow.jsonl")).unwrap();
    assert_eq!(log.matches("\"failure\"").count(), 6, "{log}");
    assert!(log.contains("not finished after") && log.contains("expected at least 1"), "{log}");
    std::fs::remove_dir_all(folder).ok();
}

#[test]
fn bad_files_are_one_sentence() {
    let folder = folder("bad");
    let good = std::fs::read_to_string(config(&folder, "")).unwrap();
    let path = folder.join("bad.toml");
    let cases = [
        ("nonsense = 1\n".to_string() + &good, "line 1"),
        (good.replace("\"{x}\"", "\"{z}\""), "does not occur"),
        (good.replace("\"{n}\"]", "\"{n}\", \"{k}\"]"), "no variable"),
        (good.replace("upper = 5.0", "upper = -5.0"), "variable x"),
        (good.replace("lower = 1.0", ""), "constraint load"),
        (good.replace("read = \"load =\"", ""), "read behind"),
        (good.replace("[\"sh\", \"run.sh\", \"{x}\", \"{n}\"]", "[]"), "command"),
        (good.replace("\"sh\"", "\"./missing\""), "missing"),
    ];
    for (text, part) in cases {
        std::fs::write(&path, text).unwrap();
        let out = costate(&[path.to_str().unwrap()]);
        let sentence = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(2), "{part}: {sentence}");
        assert!(sentence.contains(part) && sentence.trim_end().lines().count() == 1, "{part}: {sentence}");
    }
    let out = costate(&[folder.join("none.toml").to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(2));
    std::fs::remove_dir_all(folder).ok();
}
