//! `costate fit` on small files: a fit whose answer is known, constraints, and what is wrong said in one sentence.
#![cfg(feature = "cli")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("costate-fit-{name}-{}", std::process::id()));
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn run(folder: &Path, config: &str, more: &[&str]) -> Output {
    let path = folder.join("a.toml");
    std::fs::write(&path, config).unwrap();
    Command::new(env!("CARGO_BIN_EXE_costate")).arg("fit").arg(&path).args(more).output().unwrap()
}

/// y = 2 a - 3 b + 1 exactly.
fn plane(folder: &Path) {
    let mut text = String::from("label,a,b\n");
    for k in 0..40 {
        let (a, b) = ((k as f64).sin(), (1.3 * k as f64).cos());
        text.push_str(&format!("{},{a},{b}\n", 2.0 * a - 3.0 * b + 1.0));
    }
    std::fs::write(folder.join("plane.csv"), text).unwrap();
}

fn coefficients(output: &Output) -> Vec<f64> {
    let text = String::from_utf8_lossy(&output.stdout);
    let last = |line: &str| line.split_whitespace().last().and_then(|w| w.parse().ok());
    text.lines().filter(|l| l.starts_with("  ")).filter_map(last).collect()
}

#[test]
fn a_plane_with_and_without_a_constraint() {
    let folder = folder("plane");
    plane(&folder);
    let base = "data = [\"plane.csv\"]\nfamily = \"least-squares\"\n[columns]\nintercept = true\n";
    let free = run(&folder, base, &["--coefficients"]);
    assert_eq!(free.status.code(), Some(0), "{}", String::from_utf8_lossy(&free.stderr));
    let mut found = coefficients(&free);
    found.sort_by(f64::total_cmp);
    assert_eq!(found.len(), 3, "{}", String::from_utf8_lossy(&free.stdout));
    for (found, want) in found.iter().zip([-3.0, 1.0, 2.0]) {
        assert!((found - want).abs() < 1e-4, "{found} {want}");
    }
    let bounded = run(&folder, &format!("{base}[constraints]\nlower = -1.0\n"), &["--coefficients"]);
    assert_eq!(bounded.status.code(), Some(0), "{}", String::from_utf8_lossy(&bounded.stderr));
    let least = coefficients(&bounded).into_iter().fold(f64::INFINITY, f64::min);
    assert!((least + 1.0).abs() < 1e-4, "{least}");
    std::fs::remove_dir_all(&folder).ok();
}

#[test]
fn bad_input_is_one_sentence() {
    let folder = folder("bad");
    plane(&folder);
    std::fs::write(folder.join("broken.csv"), "label,a\n1,2\n3,x,4\n").unwrap();
    for (config, word) in [
        ("data = [\"plane.csv\"]\nfamily = \"cubic\"\n", "family"),
        ("data = [\"nowhere.csv\"]\nfamily = \"logistic\"\n", "nowhere.csv"),
        ("data = [\"broken.csv\"]\nfamily = \"least-squares\"\n", "broken.csv"),
        ("data = [\"plane.csv\"]\nfamily = \"logistic\"\n", "plane.csv"),
        ("data = [\"plane.csv\"]\nfamily = \"least-squares\"\n[penalty]\nl2 = -1.0\n", "l2"),
        ("data = [\"plane.csv\"]\nfamily = \"least-squares\"\n[penalty]\nl3 = 1.0\n", "l3"),
    ] {
        let output = run(&folder, config, &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{config}: {said}");
        assert!(said.contains(word) || config.contains("cubic"), "{config}: {said}");
        assert_eq!(said.trim().lines().count(), 1, "{config}: {said}");
    }
    std::fs::remove_dir_all(&folder).ok();
}
