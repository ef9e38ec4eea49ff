//! `costate train`, `eval` and `compare` as their users run them, and what befalls them.
#![cfg(feature = "cli")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("costate-train-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }
    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.0.join(name), text).unwrap();
        self.file(name)
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

fn run(args: &[&str]) -> Output {
    costate(args).output().unwrap()
}

/// stdout of a run with this exit code.
fn expect(output: Output, code: i32) -> String {
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(code), "stdout: {out}\nstderr: {err}");
    out
}

/// The one sentence on stderr of a run that ends with code 2.
fn refused(args: &[&str]) -> String {
    let output = run(args);
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.starts_with("error: ") && err.lines().count() == 1, "{err}");
    err
}

fn spiral(epochs: u64, hidden: u64, every: u64) -> String {
    format!(
        "[task]\nkind = \"spiral_ode\"\nhidden = {hidden}\n[solver]\nrtol = 1e-6\natol = 1e-6\n[train]\nepochs = {epochs}\nrate = 0.01\nprecision = \"f64\"\ncheckpoint_every = {every}\n[optimizer]\nkind = \"adam\"\n[[penalty]]\nkind = \"error\"\nscope = \"local_unbiased\"\nweight = 0.01\n"
    )
}

/// Steps and losses of a log, in order.
fn losses(folder: &str) -> Vec<(u64, f64)> {
    let text = fs::read_to_string(Path::new(folder).join("log.jsonl")).unwrap();
    text.lines()
        .map(|l| serde_json::from_str::<Value>(l).unwrap())
        .filter(|v| v["event"] == "step")
        .map(|v| (v["step"].as_u64().unwrap(), v["loss"].as_f64().unwrap()))
        .collect()
}

#[test]
fn a_run_leaves_log_weights_summary_and_plots() {
    let folder = Folder::new("run");
    let config = folder.write("spiral.toml", &spiral(60, 8, 25));
    let out = folder.file("out");
    let text = expect(run(&["train", &config, "--out", &out]), 0);
    assert!(text.contains("finished") && text.contains("60 steps"), "{text}");
    for name in ["loss", "nfe", "step_size", "seconds", "fit"] {
        let svg = fs::read_to_string(Path::new(&out).join(format!("{name}.svg"))).unwrap();
        assert!(svg.contains("<svg") && svg.contains("</svg>"), "{name}");
        assert_eq!(svg.contains("prediction, test"), name == "seconds", "{name}");
    }
    assert!(text.contains(&out), "{text}");
    let log = losses(&out);
    assert_eq!(log.iter().map(|l| l.0).collect::<Vec<_>>(), (1..=60).collect::<Vec<_>>());
    let first = fs::read_to_string(Path::new(&out).join("log.jsonl")).unwrap();
    let row: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    for key in [
        "data_loss",
        "penalties",
        "nfe",
        "accepted",
        "rejected",
        "mean_step",
        "mean_error",
        "max_stiffness",
        "tape_bytes",
        "gradient_norm",
        "rate",
        "forward_seconds",
        "reverse_seconds",
        "seconds",
        "epoch",
    ] {
        assert!(!row[key].is_null(), "{key}: {row}");
    }
    let summary: Value =
        serde_json::from_str(&fs::read_to_string(Path::new(&out).join("summary.json")).unwrap()).unwrap();
    assert_eq!(summary["stop"], "finished");
    // The evaluation of the written weights is the summary's.
    let eval = expect(run(&["eval", &config, "--out", &out, "--json"]), 0);
    let eval: Value = serde_json::from_str(&eval).unwrap();
    assert_eq!((&eval["loss"], &eval["nfe"]), (&summary["test"]["loss"], &summary["test"]["nfe"]));
    // A second run into the same folder would lose the first.
    assert!(refused(&["train", &config, "--out", &out]).contains("--resume"));
    // A finished run that is resumed stays as it is.
    let before = fs::read(Path::new(&out).join("final.safetensors")).unwrap();
    expect(run(&["train", &config, "--out", &out, "--resume", "-q"]), 0);
    assert_eq!(before, fs::read(Path::new(&out).join("final.safetensors")).unwrap());
    assert_eq!(losses(&out), log);
}

#[test]
fn killed_at_any_moment_it_goes_on_with_the_same_bits() {
    let folder = Folder::new("kill");
    let config = folder.write("spiral.toml", &spiral(1500, 16, 40));
    let whole = folder.file("whole");
    expect(run(&["train", &config, "--out", &whole, "-q"]), 0);
    let out = folder.file("killed");
    let mut kills = 0;
    for at in [30, 170, 400, 777] {
        let mut args = vec!["train", &config, "--out", &out, "-q"];
        if kills > 0 {
            args.push("--resume");
        }
        let mut child = costate(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let log = Path::new(&out).join("log.jsonl");
        let begun = Instant::now();
        let lines = || fs::read(&log).map_or(0, |b| b.iter().filter(|c| **c == b'\n').count());
        while lines() < at && begun.elapsed() < Duration::from_secs(120) {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let seen = lines();
        if Path::new(&out).join("summary.json").exists() {
            break;
        }
        kills += 1;
        // At most one interval is lost: the checkpoint is complete and not older than that.
        let text = fs::read(Path::new(&out).join("checkpoint.safetensors")).unwrap();
        let head = String::from_utf8_lossy(&text[8..text.len().min(2000)]).to_string();
        let step = head.split("\"step\":\"").nth(1).unwrap().split('"').next().unwrap();
        let step: usize = step.parse().unwrap();
        assert!(step + 41 >= seen, "{seen} steps logged, checkpoint at {step}");
    }
    assert!(kills >= 2, "the run was over before it could be killed");
    expect(run(&["train", &config, "--out", &out, "-q", "--resume"]), 0);
    for name in ["final.safetensors", "checkpoint.safetensors"] {
        let read = |folder: &str| fs::read(Path::new(folder).join(name)).unwrap();
        // The arrays follow the header, whose text entries have no fixed order.
        let arrays = |b: Vec<u8>| b[8 + u64::from_le_bytes(b[..8].try_into().unwrap()) as usize..].to_vec();
        assert!(arrays(read(&whole)) == arrays(read(&out)), "{name}");
    }
    assert_eq!(losses(&whole), losses(&out));
}

/// Killed while a checkpoint is being written: the file beside it is there, incomplete.
#[test]
fn killed_while_it_writes_a_checkpoint_it_keeps_the_last_one() {
    let folder = Folder::new("writing");
    // A checkpoint of 720 kB after every step: the process writes most of the time.
    let config = folder.write("spiral.toml", &spiral(150, 6000, 1));
    let out = folder.file("out");
    let file = |name: &str| Path::new(&out).join(name);
    let (checkpoint, partial) = (file("checkpoint.safetensors"), file("checkpoint.safetensors.partial"));
    let mut caught = 0;
    for kill in 0..20 {
        if caught >= 2 {
            break;
        }
        let mut args = vec!["train", &config, "--out", &out, "-q"];
        if kill > 0 {
            args.push("--resume");
        }
        let mut child = costate(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while child.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(60) {
            // Not before the first checkpoint of the run is there.
            if checkpoint.exists()
                && begun.elapsed() > Duration::from_millis(20 * (kill % 5))
                && partial.exists()
            {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        caught += partial.exists() as u32;
        // Complete: `eval` reads all of it.
        let weights = checkpoint.to_str().unwrap();
        expect(run(&["eval", &config, "--out", &out, "--weights", weights]), 0);
    }
    assert!(caught > 0, "never killed between the beginning and the end of a checkpoint");
    // Rubbish of the right name is overwritten, too.
    fs::write(&partial, b"rubbish").unwrap();
    expect(run(&["train", &config, "--out", &out, "--resume", "-q"]), 0);
    assert!(!partial.exists());
    assert_eq!(losses(&out).iter().map(|l| l.0).collect::<Vec<_>>(), (1..=150).collect::<Vec<_>>());
}

/// A limit on the size of files stands for a full disk: writing fails after the first bytes.
#[cfg(unix)]
#[test]
fn a_full_disk_does_not_cost_the_finished_checkpoint() {
    let folder = Folder::new("full");
    let config = folder.write("spiral.toml", &spiral(60, 3000, 10));
    let out = folder.file("out");
    let short = folder.write("short.toml", &spiral(60, 3000, 10));
    let mut child = costate(&["train", &short, "--out", &out, "-q"]).spawn().unwrap();
    let checkpoint = Path::new(&out).join("checkpoint.safetensors");
    let begun = Instant::now();
    while !checkpoint.exists() && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before = fs::read(&checkpoint).unwrap();
    assert!(before.len() > 200_000);
    // 150 units of 1024 bytes; the signal that would end the process is ignored, so the write itself fails.
    let script = "trap '' XFSZ; ulimit -f 150; exec \"$@\"";
    let binary = env!("CARGO_BIN_EXE_costate");
    let output = Command::new("bash")
        .args(["-c", script, "bash", binary, "train", &config, "--out", &out, "--resume", "-q"])
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains("checkpoint.safetensors: ") && err.lines().count() == 1, "{err}");
    assert!(fs::read(&checkpoint).unwrap() == before, "the finished checkpoint was touched");
    assert!(!Path::new(&out).join("checkpoint.safetensors.partial").exists());
    // With room again it goes on.
    let less = folder.write("spiral.toml", &spiral(60, 3000, 10));
    expect(run(&["train", &less, "--out", &out, "--resume", "-q"]), 0);
}

#[test]
fn bad_input_is_one_sentence() {
    let folder = Folder::new("bad");
    let config = folder.write("c.toml", &spiral(5, 4, 10));
    let typo = folder.write("typo.toml", &spiral(5, 4, 10).replace("epochs", "epoch"));
    let text = refused(&["train", &typo]);
    assert!(text.contains("typo.toml: line ") && text.contains("did you mean `epochs`?"), "{text}");
    assert!(refused(&["train", &folder.file("absent.toml")]).contains("absent.toml: "));
    assert!(refused(&["train", &config, "--out", &folder.file("new"), "--resume"]).contains("no checkpoint"));
    assert!(refused(&["train", &config, "--variant", "x"]).contains("there is no variant"));
    assert!(refused(&["eval", &config, "--out", &folder.file("new")]).contains("train first"));
    assert!(refused(&["compare", &config]).contains("no [[variant]]"));
    let digits = "[task]\nkind = \"mnist_ode\"\nfolder = \"nowhere\"\n[train]\nepochs = 1\nrate = 0.1\n[optimizer]\nkind = \"sgd\"\n";
    let digits = folder.write("digits.toml", digits);
    let text = refused(&["train", &digits, "--out", &folder.file("d")]);
    assert!(text.contains("nowhere/train-images-idx3-ubyte: "), "{text}");
    assert!(!Path::new(&folder.file("d")).exists(), "a folder for a run that cannot begin");
    // Weights of another model.
    let out = folder.file("out");
    expect(run(&["train", &config, "--out", &out, "-q"]), 0);
    let wider = folder.write("wider.toml", &spiral(5, 5, 10));
    let text = refused(&["eval", &wider, "--out", &out]);
    assert!(text.contains("field.0.weight is F64 [2, 4] in the file"), "{text}");
    let text = refused(&["train", &wider, "--out", &out, "--resume"]);
    assert!(text.contains("another configuration"), "{text}");
    // A checkpoint cut short, by something else than this program.
    let checkpoint = Path::new(&out).join("checkpoint.safetensors");
    let bytes = fs::read(&checkpoint).unwrap();
    fs::write(&checkpoint, &bytes[..bytes.len() / 2]).unwrap();
    let text = refused(&["train", &config, "--out", &out, "--resume"]);
    assert!(text.contains("not a complete safetensors file"), "{text}");
    // Data of the other tasks.
    let head = "[train]\nepochs = 1\nrate = 0.1\n[optimizer]\nkind = \"sgd\"\n[task]\n";
    let write = |name, task: &str| folder.write(name, &format!("{head}{task}"));
    let moments = write("moments.toml", "kind = \"spiral_sde\"\nmoments = \"absent.csv\"\n");
    assert!(refused(&["train", &moments]).contains("absent.csv: "));
    for (rows, want) in [
        ("0 2 0 0 0\n0.1 1.9 0.8 -5 0.01\n", "line 2: a variance (column 4 or 5) is negative"),
        ("0 2 0 0 0\n0 1.9 0.8 5 0.01\n", "line 2: the times must ascend"),
        ("0 2 0 0 0\n0.1 1.9 0.8 x5 0.01\n", "line 2: expected five numbers"),
    ] {
        folder.write("absent.csv", rows);
        let text = refused(&["train", &moments]);
        assert!(text.contains(want), "{text}");
    }
    let series = write("series.toml", "kind = \"latent_ode\"\nfolder = \"set-a\"\ntrain = 2\ntest = 1\n");
    assert!(refused(&["train", &series]).contains("set-a: "));
    fs::create_dir(folder.file("set-a")).unwrap();
    assert!(refused(&["train", &series]).contains("no .txt file"));
    folder.write("set-a/1.txt", "Time,Parameter,Value\n00:07,HR,73\n01:00,H");
    let text = refused(&["train", &series]);
    assert!(text.contains("1.txt: line 3: expected time, parameter and value"), "{text}");
    folder.write("set-a/1.txt", "Time,Parameter,Value\n00:07,HR,73\n01:00,HR,80\n");
    let text = refused(&["train", &series]);
    assert!(text.contains("there are 1"), "{text}");
}

#[test]
fn absurd_sizes_are_refused_before_anything_is_allocated() {
    let folder = Folder::new("absurd");
    for (k, (task, key)) in [
        ("spiral_ode", "hidden = 100000000000"),
        ("spiral_ode", "points = 9000000000000"),
        ("spiral_sde", "trajectories = 9000000000000"),
        ("spiral_sde", "paths = 9000000000000"),
        ("mnist_ode", "train = 9000000000000"),
        ("mnist_sde", "state = 9223372036854775807"),
        ("latent_ode", "train = 10\ntest = 9223372036854775807"),
    ]
    .iter()
    .enumerate()
    {
        let text = format!(
            "[task]\nkind = \"{task}\"\n{key}\n[train]\nepochs = 1\nrate = 0.1\n[optimizer]\nkind = \"sgd\"\n"
        );
        let config = folder.write(&format!("{k}.toml"), &text);
        let text = refused(&["train", &config, "--out", &folder.file("out")]);
        assert!(text.contains("GiB of memory, this machine has"), "{text}");
    }
    let config =
        folder.write("threads.toml", &spiral(1, 4, 10).replace("[train]", "[train]\nthreads = 1000000000"));
    assert!(refused(&["train", &config]).contains("train.threads is 1000000000"));
    // More steps than there are numbers: it runs until it is stopped, here by its first loss.
    let text = spiral(1, 4, 10)
        .replace("epochs = 1", "epochs = 9223372036854775807")
        .replace("rate = 0.01", "rate = 1e300");
    let config = folder.write("epochs.toml", &text.replace("\"adam\"", "\"sgd\""));
    expect(run(&["train", &config, "-q", "--out", &folder.file("epochs")]), 1);
}

#[test]
fn a_folder_of_data_may_be_given() {
    let folder = Folder::new("data");
    fs::create_dir(folder.file("set-a")).unwrap();
    for k in 0..3 {
        folder.write(&format!("set-a/{k}.txt"), &format!("Time,Parameter,Value\n00:07,HR,{}\n", 70 + k));
    }
    let text = "[task]\nkind = \"latent_ode\"\ntrain = 2\ntest = 1\n[train]\nepochs = 1\nrate = 0.01\n[optimizer]\nkind = \"adam\"\n";
    let config = folder.write("c.toml", text);
    let data = folder.file("set-a");
    expect(run(&["train", &config, "--data", &data, "--out", &folder.file("out"), "-q"]), 0);
    expect(run(&["eval", &config, "--data", &data, "--out", &folder.file("out")]), 0);
    assert!(refused(&["train", &config, "--data", &folder.file("none")]).contains("none: "));
    let spiral = folder.write("s.toml", &spiral(1, 4, 10));
    assert!(refused(&["train", &spiral, "--data", &data]).contains("reads no folder"));
}

/// Weights and log of a watched run are those of one that is not, but for the lines of what was measured.
#[test]
fn a_watched_run_is_the_same_run() {
    let folder = Folder::new("watched");
    let plain = folder.write("plain.toml", &spiral(12, 4, 100));
    let watch = "[diagnose]\nsharpness_every = 4\nlanczos_steps = 3\nsamples = 5\nopposing = { every = 6, top = 2 }\n";
    let watched = folder.write("watched.toml", &(spiral(12, 4, 100) + watch));
    for (config, out) in [(&plain, "a"), (&watched, "b")] {
        expect(run(&["train", config, "--out", &folder.file(out), "-q"]), 0);
    }
    let bytes = |name: &str| fs::read(folder.file(name)).unwrap();
    assert!(bytes("a/final.safetensors") == bytes("b/final.safetensors"));
    assert_eq!(losses(&folder.file("a")), losses(&folder.file("b")));
    let text = fs::read_to_string(folder.file("b/log.jsonl")).unwrap();
    let rows: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let steps = |event: &str| {
        let of = rows.iter().filter(|v| v["event"] == event).map(|v| v["step"].as_u64().unwrap());
        of.collect::<Vec<_>>()
    };
    assert_eq!(steps("sharpness"), [0, 4, 8]);
    assert!(steps("opposing").starts_with(&[0]));
    assert!(rows.iter().any(|v| v["event"] == "sharpness" && v["value"].as_f64().is_some_and(|v| v > 0.0)));
    assert!(bytes("b/sharpness.svg").starts_with(b"<svg") && !folder.0.join("a/sharpness.svg").exists());
    let bad = folder.write("bad.toml", &(spiral(12, 4, 100) + "[diagnose]\nsharpness_every = 0\n"));
    assert!(refused(&["train", &bad]).contains("diagnose.sharpness_every is 0"));
}

/// The examples must run where nothing but the repository is.
#[test]
fn examples_need_no_files_outside_the_repository() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/train");
    for entry in fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let settings = text.lines().filter(|l| !l.starts_with('#'));
        assert!(settings.clone().count() > 5);
        for line in settings {
            assert!(
                !line.starts_with("folder") && !line.starts_with("moments"),
                "{}: {line}",
                path.display()
            );
        }
    }
}

#[test]
fn tasks_with_files_and_with_noise_run() {
    let folder = Folder::new("tasks");
    fs::create_dir(folder.file("set-a")).unwrap();
    for k in 0..4 {
        let text =
            format!("Time,Parameter,Value\n00:00,RecordID,{k}\n00:07,HR,{}\n12:30,Temp,3{k}\n", 70 + k);
        folder.write(&format!("set-a/{k}.txt"), &text);
    }
    folder.write(
        "moments.csv",
        "# t mean1 mean2 var1 var2\n0,2,0,0,0\n0.1,1.9,0.8,0.01,0.01\n0.3,1.5,1.5,0.02,0.01\n",
    );
    let solver = "[solver]\nrtol = 0.1\natol = 0.1\n";
    let head = "[train]\nepochs = 3\nbatch = 2\nrate = 0.01\n[optimizer]\nkind = \"adam\"\n";
    let variant = "[[variant]]\nname = \"STEER\"\nsteer = 0.5\n";
    for (name, task, pictures) in [
        ("series", "kind = \"latent_ode\"\nfolder = \"set-a\"\ntrain = 3\ntest = 1\npiece = 1\n", &[][..]),
        (
            "moments",
            "kind = \"spiral_sde\"\nmoments = \"moments.csv\"\ntrajectories = 10\n",
            &["fit", "fit_variance"][..],
        ),
        ("noise", "kind = \"mnist_sde\"\ntrain = 12\ntest = 4\nhidden = 8\n", &[]),
    ] {
        let config = folder.write(&format!("{name}.toml"), &format!("{solver}{head}{variant}[task]\n{task}"));
        for args in [&["train", &config][..], &["train", &config, "--variant", "STEER"]] {
            let out = folder.file(&format!("{name}-{}", args.len()));
            let text = expect(run(&[args, &["--out", &out]].concat()), 0);
            assert!(text.contains("finished") && text.contains("test: loss "), "{text}");
            for name in ["loss", "nfe", "step_size", "seconds"].iter().chain(pictures) {
                assert!(Path::new(&out).join(format!("{name}.svg")).exists(), "{name}");
            }
            let loss = fs::read_to_string(Path::new(&out).join("loss.svg")).unwrap();
            assert_eq!(loss.contains("negative log likelihood"), name == "series");
            assert_eq!(Path::new(&out).join("validation.svg").exists(), name == "series");
        }
        let all = [2, 4].map(|k| losses(&folder.file(&format!("{name}-{k}"))));
        assert!(all[0].len() == all[1].len() && all[0][0] != all[1][0], "{name}: STEER changed nothing");
    }
}

#[test]
fn a_loss_that_is_not_finite_says_where_and_what_to_try() {
    let folder = Folder::new("nan");
    let text = spiral(50, 4, 10).replace("\"adam\"", "\"sgd\"").replace("rate = 0.01", "rate = 1e200");
    let config = folder.write("c.toml", &text);
    let out = folder.file("out");
    let output = run(&["train", &config, "--out", &out]);
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(why.contains("error: failed at step ") && why.contains("batch 1"), "{why}");
    assert!(why.contains("try a smaller learning rate"), "{why}");
    assert!(expect(output, 1).starts_with("failed\n"));
    // However quiet.
    let quiet = run(&["train", &config, "--out", &folder.file("quiet"), "-q"]);
    assert_eq!(String::from_utf8_lossy(&quiet.stderr), why);
    assert_eq!(expect(quiet, 1), "");
    let summary: Value =
        serde_json::from_str(&fs::read_to_string(Path::new(&out).join("summary.json")).unwrap()).unwrap();
    assert_eq!((&summary["stop"], &summary["samples"]), (&"failed".into(), &serde_json::json!([0])));
    // The last checkpoint is one to go on from.
    assert!(Path::new(&out).join("checkpoint.safetensors").exists());
}

#[test]
fn a_finished_run_with_a_loss_that_is_not_finite_says_so() {
    let folder = Folder::new("useless");
    // One step, after which the parameters are finite in single precision and the logits are not.
    let config = folder.write(
        "c.toml",
        "[task]\nkind = \"mnist_ode\"\ntrain = 10\ntest = 4\nhidden = 4\n[solver]\nrtol = 1.0\natol = 1e30\n\
         [train]\nepochs = 1\nrate = 1e38\n[optimizer]\nkind = \"sgd\"\n[[variant]]\nname = \"far\"\n",
    );
    let out = folder.file("out");
    let output = run(&["train", &config, "--out", &out]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("warning: the loss on the test data is "), "{text}");
    assert!(text.contains("these weights are of no use"), "{text}");
    assert!(expect(output, 0).contains("finished"));
    let summary: Value =
        serde_json::from_str(&fs::read_to_string(Path::new(&out).join("summary.json")).unwrap()).unwrap();
    assert!(summary["note"].as_str().unwrap().contains("of no use") && summary["test"]["loss"].is_null());
    // Such a run can be read back.
    let table = expect(run(&["compare", &config, "--seeds", "1", "--out", &folder.file("runs")]), 0);
    assert!(table.contains("| far | "), "{table}");
}

#[test]
fn parameters_that_cannot_be_evaluated_are_kept_and_reported() {
    let folder = Folder::new("unusable");
    // One step, to parameters whose solution takes three times as many steps, 43.
    let text = spiral(1, 4, 10).replace("\"adam\"", "\"sgd\"").replace("rate = 0.01", "rate = 10");
    let text = text.replace("[train]", "max_steps = 20\n[train]");
    let variants = "[[variant]]\nname = \"far\"\n";
    let config = folder.write("c.toml", &(text + variants));
    let out = folder.file("out");
    let output = run(&["train", &config, "--out", &out]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("failed at step 1 (epoch 1, batch 1): training is over, but"), "{text}");
    expect(output, 1);
    let made = |name: &str| Path::new(&out).join(name).exists();
    assert!(made("final.safetensors") && made("summary.json") && made("loss.svg"));
    // A comparison goes on and says so.
    let table = expect(run(&["compare", &config, "--seeds", "1", "--out", &folder.file("runs")]), 1);
    assert!(table.contains("| far | failed |"), "{table}");
}

#[test]
fn a_rate_is_searched_and_drawn() {
    let folder = Folder::new("rate");
    let config = folder.write("c.toml", &spiral(5, 4, 10));
    let out = folder.file("out");
    let text = expect(run(&["train", &config, "--out", &out, "--find-rate"]), 0);
    let rate: f64 = text.strip_prefix("rate = ").unwrap().split(':').next().unwrap().parse().unwrap();
    assert!(rate > 1e-6 && rate < 10.0, "{text}");
    let table = fs::read_to_string(Path::new(&out).join("rate.csv")).unwrap();
    assert!(table.starts_with("rate,loss,smoothed\n1e-6,") && table.lines().count() > 20, "{table}");
    let svg = fs::read_to_string(Path::new(&out).join("rate.svg")).unwrap();
    assert!(svg.contains("falls fastest") && svg.contains("</svg>"));
    // It leaves no run behind: one may begin in the same folder.
    expect(run(&["train", &config, "--out", &out, "-q"]), 0);
}

/// The averaged weights are what is evaluated and saved, of a checkpoint too; numbers of the optimizer are in the log.
#[test]
fn averaged_weights_and_numbers_of_the_optimizer() {
    let folder = Folder::new("average");
    let text = spiral(12, 4, 12).replace("epochs", "average = 0.9\nepochs").replace("\"adam\"", "\"am\"");
    let config = folder.write("c.toml", &text.replace("rate = 0.01", "rate = 0.001"));
    let out = folder.file("out");
    expect(run(&["train", &config, "--out", &out, "-q"]), 0);
    let path = |name: &str| Path::new(&out).join(name).display().to_string();
    let weights = |name: &str| {
        let text = expect(run(&["eval", &config, "--weights", &path(name), "--json"]), 0);
        serde_json::from_str::<Value>(&text).unwrap()["loss"].clone()
    };
    let summary: Value = serde_json::from_str(&fs::read_to_string(path("summary.json")).unwrap()).unwrap();
    assert_eq!(weights("final.safetensors"), summary["test"]["loss"]);
    assert_eq!(weights("checkpoint.safetensors"), summary["test"]["loss"]);
    let log = fs::read_to_string(path("log.jsonl")).unwrap();
    let row: Value = serde_json::from_str(log.lines().nth(3).unwrap()).unwrap();
    assert!((0.0..=0.9).contains(&row["optimizer"]["beta"].as_f64().unwrap()), "{row}");
}

#[test]
fn variants_are_compared_in_a_table() {
    let folder = Folder::new("compare");
    let variants = "[[variant]]\nname = \"plain\"\n[[variant]]\nname = \"R_E\"\n[[variant.penalty]]\nkind = \"error\"\nweight = 0.1\n[[variant]]\nname = \"STEER\"\nsteer = 0.5\n";
    let config = folder.write("c.toml", &(spiral(20, 4, 10) + variants));
    let (out, table) = (folder.file("out"), folder.file("t.md"));
    let args = ["compare", &config, "--seeds", "2", "--out", &out, "--table", &table];
    let text = expect(run(&args), 0);
    assert_eq!(text, fs::read_to_string(&table).unwrap());
    let rows: Vec<&str> = text.lines().filter(|l| l.starts_with("| ")).collect();
    assert_eq!(rows.len(), 4, "{text}");
    assert!(
        rows[1].starts_with("| plain |") && rows[1].contains("(1.00)") && rows[2].contains("+-"),
        "{text}"
    );
    // Runs that are there are kept.
    let log = Path::new(&out).join("r_e/seed-1/log.jsonl");
    let before = fs::metadata(&log).unwrap().modified().unwrap();
    assert_eq!(expect(run(&args), 0), text);
    assert_eq!(before, fs::metadata(&log).unwrap().modified().unwrap());
    // But not passed off as runs of another configuration.
    folder.write("c.toml", &(spiral(20, 5, 10) + variants));
    assert!(refused(&args).contains("had another configuration"));
}
