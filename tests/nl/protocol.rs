//! The command as modelling systems call it.

use std::path::PathBuf;
use std::process::{Command, Output};

use crate::model::{HS71, Text};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("costate-ampl-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }
    fn read(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.0.join(name)).ok()
    }
    fn run(&self, options: &str, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_costate"));
        command.current_dir(&self.0).env("costate_options", options).args(args).output().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_stub_is_answered() {
    let folder = Folder::new("stub");
    folder.write("hs71.nl", HS71);
    folder.write("hs71.sol", "old");
    let run = folder.run("tol=1e-8", &["hs71", "-AMPL", "max_iter=50", "linear=\"ldl\""]);
    assert_eq!(run.status.code(), Some(0), "{}", text(&run.stderr));
    assert!(text(&run.stdout).starts_with("costate ") && text(&run.stdout).contains("objective 1.70140"));
    let sol = folder.read("hs71.sol").unwrap();
    let lines: Vec<&str> = sol.lines().collect();
    let at = lines.iter().position(|l| *l == "Options").unwrap();
    assert_eq!(lines[at - 1], "");
    assert_eq!(lines[at + 1..at + 9], ["3", "1", "1", "0", "2", "2", "4", "4"]);
    let number = |k: usize| lines[at + 9 + k].parse::<f64>().unwrap();
    assert!((number(0) - 0.55229366).abs() < 1e-5 && (number(2) - 1.0).abs() < 1e-6);
    assert_eq!(lines[at + 15], "objno 0 0");
    assert!(lines[at + 16].starts_with("suffix 4 ") && lines[at + 17] == "ipopt_zL_out");
    // A limit is an answer, too: the exit code stays 0.
    let run = folder.run("max_iter=2", &["hs71.nl", "-AMPL"]);
    assert_eq!(run.status.code(), Some(0));
    assert!(folder.read("hs71.sol").unwrap().contains("objno 0 400"));
    // Without -AMPL nothing is written unless it is asked for.
    std::fs::remove_file(folder.0.join("hs71.sol")).unwrap();
    let run = folder.run("", &["hs71", "wantsol=6"]);
    assert!(folder.read("hs71.sol").is_none() && text(&run.stdout).contains("x[0]\t"));
    folder.run("", &["hs71", "-s", "-oother.sol"]);
    assert!(folder.read("other.sol").is_some());
}

#[test]
fn what_cannot_be_solved_is_said() {
    let folder = Folder::new("said");
    let crossing = Text { n: 2, ..Text::default() }.with("O0 0\nn0\nb\n3\n0 2 1\n");
    folder.write("crossing.nl", &crossing);
    let run = folder.run("", &["crossing", "-AMPL"]);
    assert_eq!(run.status.code(), Some(0));
    assert!(
        text(&run.stdout).contains("infeasible: variable x[1] has the lower bound 2 above the upper bound 1")
    );
    assert!(folder.read("crossing.sol").unwrap().contains("\n2\n0\nobjno 0 201\n"));
    // Refused and broken models leave no answer, not even an old one.
    let binary = Text { n: 1, integers: "1 0 0 0 0", ..Text::default() }.with("O0 0\nv0\nb\n0 0 1\n");
    for (name, model, words) in
        [("binary", binary.as_str(), "1 integer variable (first: x[0])"), ("broken", "g3 1 1 0\n", "line 2")]
    {
        folder.write(&format!("{name}.nl"), model);
        folder.write(&format!("{name}.sol"), "old");
        let run = folder.run("", &[name, "-AMPL"]);
        assert_eq!(run.status.code(), Some(2));
        assert!(text(&run.stderr).contains(words), "{}", text(&run.stderr));
        assert!(folder.read(&format!("{name}.sol")).is_none());
    }
    let relaxed = folder.run("relax_integers=yes", &["binary", "-AMPL"]);
    assert_eq!(relaxed.status.code(), Some(0));
    folder.write("hs71.nl", HS71);
    let run = folder.run("nosuch=1", &["hs71", "-AMPL"]);
    assert_eq!((run.status.code(), text(&run.stdout).trim_end()), (Some(1), "Unknown keyword \"nosuch\""));
    assert!(folder.read("hs71.sol").is_none());
}

#[test]
fn questions_are_answered() {
    let folder = Folder::new("questions");
    let version = text(&folder.run("", &["-v"]).stdout);
    assert!(
        version.starts_with(&format!("costate {} (", env!("CARGO_PKG_VERSION")))
            && version.contains("driver(")
    );
    let keywords = text(&folder.run("", &["-="]).stdout);
    assert!(
        keywords.lines().count() > 15 && keywords.contains("max_iter") && keywords.contains("print_level")
    );
    assert!(text(&folder.run("", &["-?"]).stdout).starts_with("usage: costate STUB"));
}

#[test]
fn other_commands_take_models() {
    let folder = Folder::new("commands");
    folder.write("hs71.nl", HS71);
    folder.write("hs71.col", "first\nsecond\nthird\nfourth\n");
    folder.write("hs71.row", "product\nsphere\ncost\n");
    std::fs::copy(folder.0.join("hs71.nl"), folder.0.join("model")).unwrap();
    let info = text(&folder.run("", &["info", "hs71.nl", "--names"]).stdout);
    assert!(info.contains("first\t1\t5\t1") && info.contains("sphere\t40\t40\t0"), "{info}");
    // By content, whatever the file is called.
    assert_eq!(folder.run("", &["solve", "model", "--quiet"]).status.code(), Some(0));
    assert_eq!(folder.run("", &["check", "hs71.nl"]).status.code(), Some(0));
    let bench = text(&folder.run("", &["bench", "hs71.nl", "--in-process"]).stdout);
    assert!(bench.contains("total                   1       1"), "{bench}");
    let run = folder.run("", &["convert", "hs71.nl", "again.nl", "--binary"]);
    assert_eq!(run.status.code(), Some(0), "{}", text(&run.stderr));
    let solved = folder.run("", &["solve", "again.nl", "--solution", "s.txt", "--quiet"]);
    assert_eq!(solved.status.code(), Some(0));
    assert!(folder.read("s.txt").unwrap().contains("\tfourth"));
}
