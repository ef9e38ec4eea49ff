//! `costate sweep` as its users run it: every method, early ends, failures, and a command that is killed.
#![cfg(all(feature = "cli", unix))]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("costate-sweep-{name}-{}", std::process::id()));
        std::fs::remove_dir_all(&path).ok();
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }
    /// A table y = sin(3 x) + z / 2 of 120 rows, and a configuration with these lines in [sweep], in [train], and variables.
    fn config(&self, sweep: &str, train: &str, variables: &str) -> String {
        let rows: String = (0..120)
            .map(|i| {
                let (x, z) = ((0.37 * i as f64).sin(), (1.3 * i as f64).cos());
                format!("{x},{z},{}\n", (3.0 * x).sin() + 0.5 * z)
            })
            .collect();
        std::fs::write(self.0.join("t.csv"), format!("x,z,y\n{rows}")).unwrap();
        let text = format!(
            r#"[task]
kind = "supervised"
file = "t.csv"
target = "y"
hidden = [8]
activation = "tanh"
[train]
epochs = 8
batch = 20
rate = 0.01
precision = "f64"
{train}
[optimizer]
kind = "adam"
[sweep]
{sweep}
{variables}
"#
        );
        let path = self.0.join("a.toml");
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().into()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

const VARIABLES: &str = r#"[[sweep.variable]]
name = "train.rate"
lower = 1e-5
upper = 1e-1
scale = "log"
points = 3
[[sweep.variable]]
name = "task.hidden.0"
lower = 2
upper = 32
scale = "log_integer"
points = 2
[[sweep.variable]]
name = "optimizer.kind"
values = ["adam", "sgd"]
"#;

fn costate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_costate")).arg("sweep").args(args).output().unwrap()
}
fn json(out: &Output) -> Value {
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    serde_json::from_slice(&out.stdout).unwrap()
}
/// The log without times, in the order of trials and epochs.
fn log(folder: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(folder).join("sweep.jsonl")).unwrap();
    let mut lines: Vec<(u64, u64, String)> = text
        .lines()
        .map(|l| {
            let mut v: Value = serde_json::from_str(l).unwrap();
            v.as_object_mut().unwrap().remove("seconds");
            let place = v["epoch"].as_u64().unwrap_or(if v["event"] == "end" { u64::MAX } else { 0 });
            (v["trial"].as_u64().unwrap_or(0), place, v.to_string())
        })
        .collect();
    lines.sort();
    lines.into_iter().map(|l| l.2).collect()
}
fn rows(folder: &str) -> Vec<Vec<String>> {
    let mut table = csv::Reader::from_path(Path::new(folder).join("table.csv")).unwrap();
    table.records().map(|r| r.unwrap().iter().map(str::to_string).collect()).collect()
}

#[test]
fn all_methods_leave_a_table_the_best_run_and_a_plot() {
    let folder = Folder::new("methods");
    for (method, trials) in [("grid", 12), ("random", 7), ("sobol", 8), ("bayes", 10)] {
        let more = if method == "grid" { String::new() } else { format!("trials = {trials}\n") };
        let path = folder.config(&format!("method = \"{method}\"\n{more}"), "", VARIABLES);
        let out = folder.file(method);
        let found = json(&costate(&[&path, "--json", "--out", &out]));
        assert_eq!((found["trials"].as_u64(), found["finished"].as_u64()), (Some(trials), Some(trials)));
        let rows = rows(&out);
        assert_eq!(rows.len() as u64, trials);
        let least = rows.iter().map(|r| r[3].parse::<f64>().unwrap()).fold(f64::INFINITY, f64::min);
        assert_eq!(found["value"].as_f64(), Some(least));
        let svg = std::fs::read_to_string(Path::new(&out).join("parallel.svg")).unwrap();
        assert!(svg.contains("train.rate") && svg.contains("1e-3") && svg.contains("sgd"), "{method}");
        // Only the folder of the best is left.
        let left = std::fs::read_dir(Path::new(&out).join("trials")).unwrap().count();
        assert_eq!(left, 1);
        // The best configuration trained by itself gives the same weights.
        let (best, again) =
            (folder.file(&format!("{method}/best.toml")), folder.file(&format!("{method}-again")));
        std::fs::copy(folder.file("t.csv"), folder.file(&format!("{method}/t.csv"))).unwrap();
        let train = Command::new(env!("CARGO_BIN_EXE_costate"))
            .args(["train", &best, "--out", &again, "-q"])
            .output();
        assert_eq!(train.unwrap().status.code(), Some(0));
        let bytes = |path: String| std::fs::read(path).unwrap();
        let (a, b) = (bytes(format!("{out}/best.safetensors")), bytes(format!("{again}/final.safetensors")));
        assert!(a == b, "{method}");
    }
}

#[test]
fn jobs_change_no_bit_and_a_second_call_has_nothing_to_do() {
    let folder = Folder::new("jobs");
    let sweep = "trials = 20\nstop_early = 0.8\nburn_in = 8\nseed = 3";
    let path = folder.config(sweep, "", VARIABLES);
    let (one, three) = (folder.file("one"), folder.file("three"));
    let first = json(&costate(&[&path, "--json", "--out", &one]));
    let other = json(&costate(&[&path, "--json", "--out", &three, "--jobs", "3"]));
    assert_eq!(first, other);
    assert!(first["stopped"].as_u64().unwrap() > 0 && first["finished"].as_u64().unwrap() >= 8, "{first}");
    assert!(first["epochs"].as_u64() < first["epochs_without_stopping"].as_u64());
    assert_eq!(log(&one), log(&three));
    let text = std::fs::read_to_string(Path::new(&one).join("sweep.jsonl")).unwrap();
    let again = json(&costate(&[&path, "--json", "--out", &one]));
    assert_eq!(again, first);
    assert_eq!(std::fs::read_to_string(Path::new(&one).join("sweep.jsonl")).unwrap(), text);
    // More trials go on from there.
    let more = json(&costate(&[&path, "--json", "--out", &one, "--budget", "22"]));
    assert_eq!(more["trials"], 22);
    assert!(std::fs::read_to_string(Path::new(&one).join("sweep.jsonl")).unwrap().starts_with(&text));
    // Another configuration is refused.
    let path = folder.config(&sweep.replace("seed = 3", "seed = 4"), "", VARIABLES);
    let refused = costate(&[&path, "--out", &one]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("another configuration"));
}

/// Killed several times at arbitrary moments, with halving, Bayesian proposals or early stopping: the same log in the end.
#[test]
fn killed_and_started_again_it_has_the_same_bits() {
    let folder = Folder::new("kill");
    for (k, sweep) in [
        "trials = 12\nmethod = \"bayes\"\ntogether = 3\nstop_early = 0.8\nburn_in = 5",
        "trials = 18\nmethod = \"random\"\nhalving = { first = 1, factor = 3 }",
    ]
    .into_iter()
    .enumerate()
    {
        let path = folder.config(sweep, "average = 0.9", VARIABLES);
        let (whole, cut) = (folder.file(&format!("whole{k}")), folder.file(&format!("cut{k}")));
        let want = json(&costate(&[&path, "--json", "--out", &whole]));
        let total = std::fs::read_to_string(Path::new(&whole).join("sweep.jsonl")).unwrap().lines().count();
        for part in 1..5 {
            let mut child = Command::new(env!("CARGO_BIN_EXE_costate"))
                .args(["sweep", &path, "--out", &cut, "--jobs", "2"])
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let began = Instant::now();
            let log = Path::new(&cut).join("sweep.jsonl");
            let lines = || std::fs::read_to_string(&log).unwrap_or_default().lines().count();
            while lines() < total * part / 6 && child.try_wait().unwrap().is_none() {
                assert!(began.elapsed() < Duration::from_secs(120));
                std::thread::sleep(Duration::from_millis(1));
            }
            child.kill().ok();
            child.wait().unwrap();
        }
        let found = json(&costate(&[&path, "--json", "--out", &cut]));
        assert_eq!(found, want, "{sweep}");
        assert_eq!(log(&cut), log(&whole), "{sweep}");
        let bytes = |folder: &str| std::fs::read(Path::new(folder).join("best.safetensors")).unwrap();
        assert!(bytes(&cut) == bytes(&whole), "{sweep}");
    }
}

#[test]
fn halving_keeps_a_third_at_every_rung() {
    let folder = Folder::new("halving");
    let path = folder.config("trials = 9\nhalving = { first = 1, factor = 3 }", "", VARIABLES);
    let out = folder.file("out");
    // Rungs 1, 3, 8: brackets of nine.
    let found = json(&costate(&[&path, "--json", "--out", &out]));
    assert_eq!((found["finished"].as_u64(), found["halved"].as_u64()), (Some(1), Some(8)));
    assert_eq!(found["epochs"].as_u64(), Some(9 + 3 * 2 + 5));
    let rows = rows(&out);
    let epochs = |n: &str| rows.iter().filter(|r| r[2] == n).count();
    assert_eq!((epochs("1"), epochs("3"), epochs("8")), (6, 2, 1));
}

#[test]
fn failures_are_data_and_patience_ends_a_run() {
    let folder = Folder::new("failures");
    let variables = "[[sweep.variable]]\nname = \"train.rate\"\nvalues = [1e-2, 1e300, 1e-3]\n";
    let path = folder.config("method = \"grid\"", "", variables);
    let out = folder.file("out");
    let found = json(&costate(&[&path, "--json", "--out", &out]));
    assert_eq!((found["finished"].as_u64(), found["failed"].as_u64()), (Some(2), Some(1)), "{found}");
    let rows = rows(&out);
    assert!(rows[1][1] == "failed" && rows[1].iter().any(|c| c.contains("step ")), "{rows:?}");
    // Nothing but failures: exit code 1.
    let variables = "[[sweep.variable]]\nname = \"train.rate\"\nvalues = [1e299, 1e300]\n";
    let path = folder.config("method = \"grid\"", "", variables);
    let all = costate(&[&path, "--out", &folder.file("all")]);
    assert_eq!(all.status.code(), Some(1));
    assert!(String::from_utf8(all.stdout).unwrap().contains("no trial has a result"));
    // A rate that does nothing: no validation is better than the first by much, and patience ends the run.
    let variables = "[[sweep.variable]]\nname = \"train.rate\"\nvalues = [0.0, 1e-2]\n";
    let path = folder.config("method = \"grid\"", "patience = 2", variables);
    let found = json(&costate(&[&path, "--json", "--out", &folder.file("patience")]));
    let rows = self::rows(&folder.file("patience"));
    assert!(rows[0][1] == "patience" && rows[0][2] == "3", "{found} {rows:?}");
}

#[test]
fn the_training_command_says_in_its_log_that_patience_ended_it() {
    let folder = Folder::new("plain");
    let path = folder.config("", "patience = 2", "");
    let text =
        std::fs::read_to_string(&path).unwrap().replace("[sweep]", "").replace("rate = 0.01", "rate = 0.0");
    std::fs::write(&path, text).unwrap();
    let out = folder.file("out");
    let train = |more: &[&str]| {
        let out = Command::new(env!("CARGO_BIN_EXE_costate"))
            .args(["train", &path, "--out", &out])
            .args(more)
            .output();
        assert_eq!(out.unwrap().status.code(), Some(0));
    };
    train(&[]);
    train(&["--resume"]);
    let log = std::fs::read_to_string(Path::new(&out).join("log.jsonl")).unwrap();
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!((last["event"].as_str(), last["since_best"].as_u64()), (Some("early_stop"), Some(2)));
    assert_eq!(log.matches("early_stop").count(), 1);
}

#[test]
fn bad_input_is_one_sentence() {
    let folder = Folder::new("bad");
    let good = std::fs::read_to_string(folder.config("trials = 3", "", VARIABLES)).unwrap();
    let path = folder.file("bad.toml");
    let cases = [
        (good.replace("trials = 3", "trails = 3"), "bad.toml: line 16: unknown field `trails`"),
        (good.replace("lower = 1e-5", "lower = -1.0"), "bad.toml: line 17: sweep.variable train.rate"),
        (good.replace("\"task.hidden.0\"", "\"task.hidden.1\""), "1 is no place of the list"),
        (good.replace("\"sgd\"]", "\"sdg\"]"), "sweep.variable optimizer.kind = \"sdg\""),
        (good.replace("trials = 3", "metric = \"r3\""), "sweep.metric is \"r3\", this task has loss"),
        (good.replace("file = \"t.csv\"", "file = \"u.csv\""), "u.csv"),
        (good.replace("hidden = [8]", "hidden = [8]\nvalidation = 0.0"), "no validation data"),
        (good.split("[sweep]").next().unwrap().to_string(), "there is no [sweep]"),
        (good.replace("[sweep]", "[sweeep]"), "line 15: unknown field `sweeep`"),
        (good.replace("batch = 20", "batch = \"20\""), "bad.toml: line 9"),
    ];
    for (text, part) in cases {
        std::fs::write(&path, text).unwrap();
        let out = costate(&[&path, "--out", &folder.file("out")]);
        let sentence = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(2), "{part}: {sentence}");
        assert!(sentence.contains(part) && sentence.trim_end().lines().count() == 1, "{part}: {sentence}");
    }
    let path = folder.config("trials = 3", "", VARIABLES);
    assert_eq!(costate(&[&path, "--stop-early", "1.5"]).status.code(), Some(2));
    assert_eq!(costate(&[&folder.file("none.toml")]).status.code(), Some(2));
}
