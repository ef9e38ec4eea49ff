//! `costate study` as its users run it.
#![cfg(feature = "cli")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("costate-study-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn costate(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_costate"));
    command.args(args).env_remove("RUST_BACKTRACE");
    command
}

fn expect(output: Output, code: i32) -> (String, String) {
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(code), "stdout: {out}\nstderr: {err}");
    (out, err)
}

fn run(args: &[&str], code: i32) -> (String, String) {
    expect(costate(args).output().unwrap(), code)
}

fn refused(args: &[&str], what: &str) {
    let (out, err) = run(args, 2);
    assert!(out.is_empty() && err.starts_with("error: ") && err.lines().count() == 1, "{err}");
    assert!(err.contains(what), "{err}");
}

#[test]
fn a_run_leaves_one_object_a_report_and_a_table() {
    let folder = Folder::new("run");
    let args = ["study", "wide_deep", "--quick", "--seeds", "1", "--json", "--out", &folder.file("r")];
    let (one, _) = expect(costate(&args).env("RAYON_NUM_THREADS", "1").output().unwrap(), 0);
    assert_eq!(one.lines().count(), 1);
    let value: Value = serde_json::from_str(&one).unwrap();
    for key in ["name", "paper", "claim", "criterion", "verdict", "table", "seconds", "seed"] {
        assert!(!value[key].is_null(), "{key}: {one}");
    }
    assert_eq!(
        (&value["name"], &value["seed"], &value["quick"]),
        (&json!("wide_deep"), &json!(0), &json!(true))
    );
    let kept: Value =
        serde_json::from_str(&fs::read_to_string(folder.file("r/report.json")).unwrap()).unwrap();
    assert_eq!(kept, value);
    let csv = fs::read_to_string(folder.file("r/table.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + value["table"]["rows"].as_array().unwrap().len());
    assert!(csv.starts_with("d,seed,bayes,"));
    // The same bits on three threads.
    let (three, _) = expect(costate(&args).env("RAYON_NUM_THREADS", "3").output().unwrap(), 0);
    let three: Value = serde_json::from_str(&three).unwrap();
    assert_eq!(three["table"], value["table"]);
}

#[test]
fn for_people() {
    let (out, _) = run(&["study", "wide_deep", "--quick", "--seeds", "1"], 0);
    for line in
        ["Study      wide_deep", "Claim      ", "Criterion  ", "Verdict    ", "quick: verdict not final"]
    {
        assert!(out.lines().any(|l| l.starts_with(line)), "{line}: {out}");
    }
    let (list, _) = run(&["study", "--list"], 0);
    assert!(list.contains("wide_deep ") && list.contains("2204.14126"));
    let (list, _) = run(&["study", "--list", "--json"], 0);
    assert!(serde_json::from_str::<Value>(&list).unwrap()["studies"].as_array().unwrap().len() > 1);
}

#[test]
fn mistakes_are_one_sentence() {
    refused(&["study", "wide-deep"], "there is no study wide-deep; did you mean wide_deep?");
    refused(&["study", "zzzzzzzzzz"], "see `costate study --list`");
    refused(&["study"], "required");
    refused(&["study", "wide_deep", "--seeds", "0"], "'0'");
    refused(&["study", "wide_deep", "--data", "/no/such/folder"], "/no/such/folder: this is not a folder");
    refused(&["study", "wide_deep", "--again"], "go with `all`");
}

/// Finished reports of all studies are kept, and the page is made of them.
#[test]
fn all_goes_on_from_what_is_finished() {
    let folder = Folder::new("all");
    let (list, _) = run(&["study", "--list", "--json"], 0);
    let list: Value = serde_json::from_str(&list).unwrap();
    let names: Vec<&str> =
        list["studies"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    for (i, name) in names.iter().enumerate() {
        let report = json!({
            "name": name, "paper": "P", "claim": "C", "criterion": "K", "verdict": "holds", "seconds": i, "seed": 4,
            "seeds": null, "quick": true, "commit": "abc", "command": "costate study", "notes": ["a note"],
            "findings": [{"what": "x: 1, required at least 0", "met": true}],
        });
        fs::create_dir_all(folder.0.join(name)).unwrap();
        fs::write(folder.0.join(name).join("report.json"), report.to_string()).unwrap();
    }
    let (root, page) = (folder.file(""), folder.file("page.md"));
    let args = ["study", "all", "--quick", "--seed", "4", "--out", &root, "--table", &page];
    let (out, _) = run(&args, 0);
    let text = fs::read_to_string(&page).unwrap();
    for name in &names {
        assert!(
            out.contains(&format!("| {name} | holds |")) && text.contains(&format!("\n## {name}\n")),
            "{name}"
        );
    }
    assert!(text.contains("- met: x: 1") && text.contains("| abc |") && text.contains("verdicts not final"));
    let (json, _) = run(&["study", "all", "--quick", "--seed", "4", "--out", &root, "--json"], 0);
    assert_eq!(json.lines().count(), 1);
    assert_eq!(
        serde_json::from_str::<Value>(&json).unwrap()["studies"].as_array().unwrap().len(),
        names.len()
    );
}

#[cfg(unix)]
#[test]
fn an_interruption_ends_with_code_1() {
    let mut command = costate(&["study", "wide_deep", "--seeds", "1000"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let (out, err) = expect(child.wait_with_output().unwrap(), 1);
    assert!(out.is_empty() && err == "error: interrupted\n", "{out}{err}");
}
