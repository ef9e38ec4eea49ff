//! Training on tables and on data in memory: gradients, splits, weights, files, the command.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use costate::data::Table;
use costate::nn::{Activation, Elementwise, Mlp, WithoutTaylor};
use costate::train::config::{Precision, SolverConfig};
use costate::train::supervised::{
    Flow, Layers, LossKind, Memory, Model, Objective, Predictor, StandardLoss, Supervised, Values,
};
use costate::train::{Config, Penalty, Progress, Split, State, Task, TrainStop, checkpoint, train};
use rand::SeedableRng;
use rand::rngs::StdRng;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("costate-supervised-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.0.join(name), text).unwrap();
        self.file(name)
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

/// Numbers in [0, 1) without a pattern.
fn noise(i: usize) -> f64 {
    (12.9898 * (i as f64 + 0.5)).sin().mul_add(43758.547, 0.0).rem_euclid(1.0)
}

/// y = 3 a - 2 [town is B] + 0.1 noise, with a missing `a` and a row a line in `rows`.
fn csv(rows: usize) -> String {
    let mut text = String::from("a,town,label,y\n");
    for i in 0..rows {
        let (a, town) = (100.0 + 20.0 * noise(i), ["A", "B", "C"][(7.0 * noise(i + 1000)) as usize % 3]);
        let y = 0.15 * a - 2.0 * (town == "B") as u8 as f64 + 0.1 * noise(i + 2000);
        let label = if a > 110.0 || town == "B" { "yes" } else { "no" };
        let cell = if i % 37 == 5 { String::new() } else { a.to_string() };
        text += &format!("{cell},{town},{label},{y}\n");
    }
    text
}

fn config(task: &str, epochs: u64) -> Config {
    let text = format!(
        "[task]\nkind = \"supervised\"\n{task}\n[train]\nepochs = {epochs}\nbatch = 32\nrate = 0.01\nprecision = \"f64\"\n[optimizer]\nkind = \"adam\"\n"
    );
    let config: Config = toml::from_str(&text).unwrap();
    config.check().unwrap();
    config
}

fn run(config: &Config, base: &Path, stop_at: u64) -> (Box<dyn Task<f64>>, State<f64>) {
    let mut task = config.build::<f64>(base).unwrap();
    let mut state = State::new(&*task, &config.optimizer, config.train.seed);
    go(&mut *task, config, &mut state, stop_at);
    (task, state)
}

fn go(task: &mut dyn Task<f64>, config: &Config, state: &mut State<f64>, stop_at: u64) {
    let stop = train(task, &config.train, state, &mut |_, state| {
        Ok(if state.step >= stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    assert!(matches!(stop.unwrap(), TrainStop::Finished | TrainStop::Interrupted));
}

fn memory(kind: LossKind, n: usize, classes: usize) -> Memory<f64> {
    let x: Vec<f64> = (0..2 * n).map(|i| 2.0 * noise(i) - 1.0).collect();
    let y = match kind {
        LossKind::CrossEntropy => (0..n).map(|i| (i % classes) as f64).collect(),
        LossKind::Poisson => (0..n).map(|i| (4.0 * noise(i + 50)).floor()).collect(),
        _ => (0..n).map(|i| noise(i + 50)).collect(),
    };
    let weights = (0..n).map(|i| 0.2 + noise(i + 99)).collect();
    Memory::new((2, 1), x, y).unwrap().with_weights(weights).unwrap()
}

/// The whole gradient against differences of the whole loss.
fn check_gradient<M: Model<f64>>(name: &str, model: M, kind: LossKind) {
    let size = if kind == LossKind::CrossEntropy { 3 } else { 1 };
    let loss = StandardLoss::new(kind, size).unwrap();
    let mut task = Supervised::new(model, memory(kind, 9, 3), loss, 9).unwrap();
    let params = task.params(&mut StdRng::seed_from_u64(3));
    let mut p: Vec<f64> = params.values().to_vec();
    p.iter_mut().enumerate().for_each(|(i, p)| *p += 0.3 * (noise(i) - 0.5));
    let samples = [4, 0, 7, 2];
    let now = Progress { step: 0, epoch: 0, epochs: 1 };
    let mut value = |p: &[f64], g: &mut [f64]| {
        task.gradient(p, &samples, &now, &mut StdRng::seed_from_u64(1), g).unwrap().0.loss
    };
    let mut gradient = vec![0.0; p.len()];
    value(&p, &mut gradient);
    let mut scrap = vec![0.0; p.len()];
    for i in (0..p.len()).step_by(1 + p.len() / 25) {
        let h = 1e-5;
        let mut at = |s: f64| {
            let mut q = p.clone();
            q[i] += s * h;
            value(&q, &mut scrap)
        };
        let difference = (at(1.0) - at(-1.0)) / (2.0 * h);
        let error = (gradient[i] - difference).abs();
        assert!(error < 1e-7 * (1.0 + difference.abs()), "{name} {kind:?} {i}: {} {difference}", gradient[i]);
    }
}

const LOSSES: [LossKind; 6] = [
    LossKind::Squared,
    LossKind::Huber,
    LossKind::Gaussian,
    LossKind::Poisson,
    LossKind::Quantile,
    LossKind::CrossEntropy,
];

fn outputs(kind: LossKind) -> usize {
    match kind {
        LossKind::CrossEntropy | LossKind::Quantile => 3,
        LossKind::Gaussian => 2,
        _ => 1,
    }
}

#[test]
fn gradients_of_maps_and_of_equations() {
    // Fixed steps: differences of an adaptive solution would see its steps change.
    let solver: SolverConfig = toml::from_str("rtol = 1e-11\natol = 1e-11").unwrap();
    for kind in LOSSES {
        let net = Mlp::dense(&[2, 5, outputs(kind)], Activation::Tanh, Activation::Identity, false).unwrap();
        check_gradient("map", Layers::new(net).unwrap(), kind);
        let field = || Mlp::dense(&[3, 4, 3], Activation::Tanh, Activation::Identity, true).unwrap();
        let head = || Mlp::linear(3, outputs(kind)).unwrap();
        check_gradient("flow", Flow::new(2, field(), head(), &solver, &[]).unwrap(), kind);
        let plain = WithoutTaylor::new(field());
        check_gradient("plain flow", Flow::new(2, plain, head(), &solver, &[]).unwrap(), kind);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let solver = SolverConfig::default();
    let field = || Mlp::<f64>::dense(&[3, 4, 3], Activation::Tanh, Activation::Identity, true).unwrap();
    let head = |n| Mlp::<f64>::linear(n, 1).unwrap();
    let taylor: Penalty = toml::from_str("kind = \"taylor\"\norder = 2\nweight = 1").unwrap();
    let fails = |e: Result<_, costate::train::TrainError>, want: &str| {
        let text = match e {
            Ok(()) => panic!("{want}: accepted"),
            Err(e) => e.to_string(),
        };
        assert!(text.contains(want), "{text}");
    };
    let flow = Flow::new(4, field(), head(3), &solver, &[]).map(|_| ());
    fails(flow, "rows have 4 inputs, the field has 3");
    fails(Flow::new(2, field(), head(2), &solver, &[]).map(|_| ()), "the head's input");
    fails(Flow::new(2, WithoutTaylor::new(field()), head(3), &solver, &[taylor]).map(|_| ()), "Taylor");
    let values =
        costate::diff::FnMap::new(2, 0, |_t, x: &[f64], _p: &[f64], y: &mut [f64]| y.copy_from_slice(x));
    fails(Layers::new(values).map(|_| ()), "needs a vector-Jacobian product");
    let model = Layers::new(Elementwise { dim: 3, activation: Activation::Identity }).unwrap();
    let loss = StandardLoss::new(LossKind::Squared, 1).unwrap();
    fails(
        Supervised::new(model, memory(LossKind::Squared, 4, 0), loss, 4).map(|_| ()),
        "rows have 2 inputs, the model takes 3",
    );
}

/// A weight of two is the row twice.
#[test]
fn weights_are_repetitions() {
    let loss = |y: Vec<f64>, z: Vec<f64>, weight: Vec<f64>| {
        let of = costate::train::supervised::Rows { x: vec![], y, weight };
        let mut bar = vec![0.0; z.len()];
        let value = StandardLoss::new(LossKind::CrossEntropy, 2).unwrap().loss(&z, &of, 1.0, Some(&mut bar));
        (value, bar)
    };
    let (one, bar) = loss(vec![1.0, 0.0], vec![0.3, -0.2, 1.0, 0.5], vec![2.0, 1.0]);
    let (two, twice) = loss(vec![1.0, 1.0, 0.0], vec![0.3, -0.2, 0.3, -0.2, 1.0, 0.5], vec![1.0; 3]);
    assert!((one - two).abs() < 1e-15);
    assert!((bar[0] - twice[0] - twice[2]).abs() < 1e-15 && (bar[2] - twice[4]).abs() < 1e-15);
}

#[test]
fn a_table_is_learned_and_predicted_from_its_weights_alone() {
    let folder = Folder::new("learn");
    folder.write("t.csv", &csv(600));
    let c = config(
        "file = \"t.csv\"\ntarget = \"y\"\nignore = [\"label\"]\nmissing = \"mean\"\nhidden = [16]",
        60,
    );
    let (mut task, state) = run(&c, &folder.0, u64::MAX);
    let e = task.evaluate(state.params.values(), Split::Test).unwrap();
    // Without the missing values y is known to 0.1 of its deviation, 1.5.
    assert!(e.metrics["r2"] > 0.93, "{e:?}");
    assert!((task.split_len(Split::Test), task.split_len(Split::Validation)) == (120, 60));
    assert_eq!(task.fit(state.params.values()).unwrap()[0].curves[1].points.len(), 120);
    let file = folder.0.join("w.safetensors");
    state.params.save(&file).unwrap();
    assert_eq!(Predictor::<f64>::precision(&file).unwrap(), Precision::F64);
    let mut predictor = Predictor::<f64>::open(&file).unwrap();
    // Another order of columns, without the target, the rows of the test.
    let table = Table::from_csv("new", b"town,a\nB,105\nA,\n").unwrap();
    let found = predictor.predict(&table).unwrap();
    let Values::Numbers(y) = &found.columns[0].1 else { panic!() };
    assert_eq!((found.columns[0].0.as_str(), y.len()), ("y", 2));
    assert!((y[0] - (0.15 * 105.0 - 2.0 + 0.05)).abs() < 0.3, "{y:?}");
    let unknown = Table::from_csv("new", b"town,a\nZ,105\n").unwrap();
    let error = predictor.predict(&unknown).unwrap_err().to_string();
    assert!(error.contains("line 2, column \"town\": the category \"Z\""), "{error}");
    let error = predictor.predict(&Table::from_csv("new", b"a\n1\n").unwrap()).unwrap_err().to_string();
    assert!(error.contains("there is no column \"town\", an input"), "{error}");
}

/// The unit of a column changes nothing but rounding.
#[test]
fn units_do_not_matter() {
    let folder = Folder::new("units");
    let table = |scale: f64| {
        let rows = (0..120).map(|i| format!("{},{}\n", scale * noise(i), scale * noise(i).powi(2)));
        format!("a,y\n{}", rows.collect::<String>())
    };
    let mut found = vec![];
    for (name, scale) in [("one.csv", 1.0), ("thousand.csv", 1024.0)] {
        folder.write(name, &table(scale));
        let c = config(&format!("file = \"{name}\"\ntarget = \"y\"\nhidden = [8]"), 20);
        let (mut task, state) = run(&c, &folder.0, u64::MAX);
        found.push(task.evaluate(state.params.values(), Split::Test).unwrap());
    }
    assert!((found[0].loss / found[1].loss - 1.0).abs() < 1e-9, "{found:?}");
    assert!((found[1].metrics["rmse"] / found[0].metrics["rmse"] / 1024.0 - 1.0).abs() < 1e-9);
}

#[test]
fn classes_with_weights() {
    let folder = Folder::new("classes");
    // One class is rare, and apart from the other only in half of its rows.
    let mut text = String::from("x,k\n");
    for i in 0..800 {
        let rare = i % 20 == 0;
        text +=
            &format!("{},{}\n", noise(i) + if rare { 0.5 } else { 0.0 }, if rare { "rare" } else { "often" });
    }
    folder.write("t.csv", &text);
    let base = "file = \"t.csv\"\ntarget = \"k\"\nhidden = [8]";
    let mut found = vec![];
    for more in ["", "class_weight = \"balanced\"", "class_weight = { rare = 19.0 }"] {
        let c = config(&format!("{base}\n{more}"), 40);
        let (mut task, state) = run(&c, &folder.0, u64::MAX);
        let e = task.evaluate(state.params.values(), Split::Test).unwrap();
        let confusion = e.confusion.clone().unwrap();
        assert_eq!(
            (confusion.names.join(" "), confusion.counts.iter().flatten().sum::<u64>()),
            ("often rare".into(), 160)
        );
        let right = confusion.counts[0][0] + confusion.counts[1][1];
        assert_eq!(e.accuracy, Some(right as f64 / 160.0));
        found.push(e);
    }
    // The Bayes classifier of equal weights finds half of the rare rows and takes half of the others for rare ones, or all of the rare ones.
    assert!(found[1].metrics["balanced accuracy"] > found[0].metrics["balanced accuracy"] + 0.1, "{found:?}");
    // 19 to 1 are the balanced weights, up to their common factor.
    assert!((found[1].loss - found[2].loss).abs() < 0.02, "{found:?}");
    assert!(found.iter().all(|e| (0.6..1.0).contains(&e.metrics["auc"])), "{found:?}");
    let c = config(&format!("{base}\nclass_weight = {{ seldom = 2.0 }}"), 1);
    let error = c.build::<f64>(&folder.0).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("no class \"seldom\"; there are often, rare"), "{error}");
}

#[test]
fn losses_of_tables_find_what_they_are_for() {
    let folder = Folder::new("losses");
    // y uniform in (x, x + 1): mean x + 1/2, deviation 1/sqrt 12, quantiles x + q.
    let mut text = String::from("x,y,n\n");
    for i in 0..3000 {
        let x = 2.0 * noise(i);
        text += &format!("{x},{},{}\n", x + noise(i + 5000), (3.0 * noise(i + 9000)).floor());
    }
    folder.write("t.csv", &text);
    let predict = |loss: &str, target: &str| {
        let c = config(
            &format!(
                "file = \"t.csv\"\ntarget = \"{target}\"\ninputs = [\"x\"]\nhidden = [16]\nloss = \"{loss}\""
            ),
            30,
        );
        let (_, state) = run(&c, &folder.0, u64::MAX);
        let file = folder.0.join("w.safetensors");
        state.params.save(&file).unwrap();
        let table = Table::from_csv("new", b"x\n1\n").unwrap();
        let found = Predictor::<f64>::open(&file).unwrap().predict(&table).unwrap();
        let number = |v: &Values| if let Values::Numbers(v) = v { v[0] } else { f64::NAN };
        found.columns.iter().map(|(name, v)| (name.clone(), number(v))).collect::<Vec<_>>()
    };
    let near = |found: &[(String, f64)], want: &[(&str, f64)]| {
        assert_eq!(found.len(), want.len());
        for ((name, v), (w, at)) in found.iter().zip(want) {
            assert!(name == w && (v - at).abs() < 0.08, "{found:?}");
        }
    };
    near(&predict("huber", "y"), &[("y", 1.5)]);
    near(&predict("gaussian", "y"), &[("y", 1.5), ("y deviation", 12f64.sqrt().recip())]);
    near(&predict("quantile", "y"), &[("y q0.1", 1.1), ("y q0.5", 1.5), ("y q0.9", 1.9)]);
    near(&predict("poisson", "n"), &[("n", 1.0)]);
}

#[test]
fn resumed_with_the_same_bits_and_not_on_other_data() {
    let folder = Folder::new("resume");
    folder.write("t.csv", &csv(200));
    let ode = "model = \"ode\"\naugment = 1\nhidden = [6]";
    for more in ["hidden = [8]", ode] {
        let c = config(
            &format!("file = \"t.csv\"\ntarget = \"label\"\nignore = [\"y\"]\nmissing = \"mean\"\n{more}"),
            4,
        );
        let (_, mut whole) = run(&c, &folder.0, u64::MAX);
        let (mut task, mut first) = run(&c, &folder.0, 7);
        assert_eq!(first.step, 7);
        let file = folder.0.join("c.safetensors");
        checkpoint::write(&file, &mut first, "x").unwrap();
        let mut second = State::new(&*task, &c.optimizer, c.train.seed);
        checkpoint::read(&file, &mut second, "x").unwrap();
        go(&mut *task, &c, &mut second, u64::MAX);
        assert!(second.params == whole.params && second.step == whole.step);
        assert_eq!(second.optimizer.count(), whole.optimizer.count());
        // Other data have other means.
        folder.write("u.csv", &csv(150));
        let mut other = c.clone();
        let text = toml::to_string(&other).unwrap().replace("t.csv", "u.csv");
        other = toml::from_str(&text).unwrap();
        let task = other.build::<f64>(&folder.0).unwrap();
        let mut state = State::new(&*task, &c.optimizer, 0);
        let error = checkpoint::read(&file, &mut state, "x").unwrap_err().to_string();
        assert!(error.contains("trained on other data"), "{error}");
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let folder = Folder::new("threads");
    folder.write("t.csv", &csv(300));
    let c =
        config("file = \"t.csv\"\ntarget = \"label\"\nmissing = \"mean\"\nignore = [\"y\"]\npiece = 7", 2);
    let at = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(&c, &folder.0, u64::MAX).1.params)
    };
    let one = at(1);
    assert!(at(2) == one && at(3) == one);
}

#[test]
fn files_for_validation_and_test_and_folds() {
    let folder = Folder::new("files");
    ["t.csv", "v.csv", "e.csv"]
        .iter()
        .zip([100, 30, 20])
        .for_each(|(name, n)| drop(folder.write(name, &csv(n))));
    let base = "file = \"t.csv\"\ntarget = \"y\"\nmissing = \"mean\"";
    let lens = |more: &str| {
        let c = config(&format!("{base}\n{more}"), 1);
        let task = c.build::<f64>(&folder.0).unwrap();
        [Split::Train, Split::Validation, Split::Test].map(|s| task.split_len(s))
    };
    assert_eq!(lens("validation_file = \"v.csv\"\ntest_file = \"e.csv\""), [100, 30, 20]);
    assert_eq!(lens("test_file = \"e.csv\""), [90, 10, 20]);
    assert_eq!(lens("test = 0.0\nvalidation = 0.0"), [100, 0, 0]);
    assert_eq!(lens("folds = 4\nfold = 1\nvalidation = 0.0"), [75, 0, 25]);
    let mut c = config(base, 1);
    assert!(c.task.set_fold(2, 5));
    let task = c.build::<f64>(&folder.0).unwrap();
    assert_eq!(task.split_len(Split::Test), 20);
    let spiral: Config = toml::from_str(
        "[task]\nkind = \"spiral_ode\"\n[train]\nepochs = 1\nrate = 1\n[optimizer]\nkind = \"sgd\"",
    )
    .unwrap();
    assert!(!spiral.clone().task.set_fold(0, 5));
}

/// Logistic regression of the German credit data: accuracy and area as in the literature (0.75 to 0.77, 0.78 to 0.80).
#[test]
fn libsvm_data() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/libsvm");
    if !folder.join("german_scale.gz").exists() {
        assert!(std::env::var_os("COSTATE_REQUIRE_SHARED").is_none(), "{} is missing", folder.display());
        return eprintln!("skipped: {} is missing", folder.display());
    }
    let c = config(
        "file = \"german_scale.gz\"\ntarget = \"label\"\nclasses = true\nhidden = []\nvalidation = 0.0\ntest = 0.3",
        60,
    );
    let (mut task, state) = run(&c, &folder, u64::MAX);
    let e = task.evaluate(state.params.values(), Split::Test).unwrap();
    assert_eq!(state.params.values().len(), 25 * 2);
    assert!(e.accuracy.unwrap() > 0.7 && e.metrics["auc"] > 0.73, "{e:?}");
}

/// The table of examples/train: failures and flow of pumps, from integers only, so that every machine makes the same file.
fn pumps() -> String {
    let mut state = 7u64;
    // SplitMix64.
    let mut draw = |n: u64| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    };
    let mut text = String::from("maker,hours,pressure,temperature,flow,failed\n");
    for _ in 0..500 {
        let (maker, hours) = (draw(3) as usize, 100 * draw(100) as i64);
        let (pressure, temperature) = (200 + draw(300) as i64, 20 + draw(60) as i64);
        // Hundredths.
        let flow = 40 * pressure - 3 * (temperature - 50) * (temperature - 50) - hours / 10
            + 500 * maker as i64
            + draw(400) as i64;
        let strain =
            hours + 20 * pressure + 100 * (temperature - 40) - 3000 * (maker == 1) as i64 + draw(4000) as i64;
        let failed = if strain > 16_000 { "yes" } else { "no" };
        // Some sensors were off.
        let shown = if draw(25) == 0 { String::new() } else { temperature.to_string() };
        let maker = ["Alder", "Birch", "Cedar"][maker];
        text += &format!(
            "{maker},{hours},{}.{:02},{shown},{}.{:02},{failed}\n",
            pressure / 100,
            pressure % 100,
            flow / 100,
            flow % 100
        );
    }
    text
}

/// COSTATE_WRITE_PUMPS=1 writes it.
#[test]
fn the_shipped_table_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/train/pumps.csv");
    if std::env::var_os("COSTATE_WRITE_PUMPS").is_some() {
        fs::write(&path, pumps()).unwrap();
    }
    assert!(fs::read_to_string(&path).unwrap() == pumps());
}

#[cfg(feature = "cli")]
mod command {
    use std::process::{Command, Output};

    use super::*;
    use serde_json::Value;

    fn costate(folder: &Folder, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_costate"));
        command.current_dir(&folder.0).args(args).env_remove("RUST_BACKTRACE").output().unwrap()
    }

    /// stdout of a run with exit code 0.
    fn good(folder: &Folder, args: &[&str]) -> String {
        let output = costate(folder, args);
        let (out, err) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert_eq!(output.status.code(), Some(0), "stdout: {out}\nstderr: {err}");
        out
    }

    /// The one sentence of a run that ends with code 2.
    fn refused(folder: &Folder, args: &[&str]) -> String {
        let output = costate(folder, args);
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(err.starts_with("error: ") && err.lines().count() == 1, "{err}");
        err
    }

    const TRAIN: &str = "[train]\nepochs = 4\nbatch = 32\nrate = 0.01\nprecision = \"f64\"\nthreads = 1\n";

    fn toml(task: &str) -> String {
        format!("[task]\nkind = \"supervised\"\n{task}\n{TRAIN}[optimizer]\nkind = \"adam\"\n")
    }

    fn summary(folder: &Folder, run: &str) -> Value {
        serde_json::from_str(&fs::read_to_string(folder.0.join(run).join("summary.json")).unwrap()).unwrap()
    }

    /// Of a file of weights, without the texts in its header, which have no fixed order.
    fn arrays(folder: &Folder, name: &str) -> Vec<u8> {
        let b = fs::read(folder.0.join(name)).unwrap();
        b[8 + u64::from_le_bytes(b[..8].try_into().unwrap()) as usize..].to_vec()
    }

    #[test]
    fn three_lines_train_evaluate_and_predict() {
        let folder = Folder::new("cli");
        folder.write("t.csv", &csv(300));
        folder.write("c.toml", &toml("file = \"t.csv\"\ntarget = \"label\"\nmissing = \"mean\""));
        let text = good(&folder, &["train", "c.toml"]);
        assert!(
            text.contains("accuracy") && text.contains("auc") && text.contains("columns as predicted"),
            "{text}"
        );
        let s = summary(&folder, "runs/c");
        assert_eq!(s["test"]["confusion"]["names"], serde_json::json!(["no", "yes"]));
        let svg = fs::read_to_string(folder.0.join("runs/c/confusion.svg")).unwrap();
        assert!(svg.contains("<svg") && !folder.0.join("runs/c/nfe.svg").exists());
        let eval: Value = serde_json::from_str(&good(&folder, &["eval", "c.toml", "--json"])).unwrap();
        assert_eq!(eval["metrics"], s["test"]["metrics"]);
        // The data may be gone.
        fs::rename(folder.0.join("t.csv"), folder.0.join("moved.csv")).unwrap();
        let mut tables = vec![];
        for of in ["c.toml", "runs/c", "runs/c/final.safetensors"] {
            good(&folder, &["predict", of, "--input", "moved.csv", "--out", "p.csv"]);
            tables.push(fs::read_to_string(folder.0.join("p.csv")).unwrap());
        }
        assert!(tables[0] == tables[1] && tables[1] == tables[2]);
        let lines: Vec<&str> = tables[0].lines().collect();
        assert_eq!((lines[0], lines.len()), ("label,label=no,label=yes", 301));
        let truth: Vec<String> =
            csv(300).lines().skip(1).map(|l| l.split(',').nth(2).unwrap().into()).collect();
        let right = lines[1..].iter().zip(&truth).filter(|(l, t)| l.starts_with(&format!("{t},"))).count();
        assert!(right > 200, "{right}");
        for l in &lines[1..] {
            let p: Vec<f64> = l.split(',').skip(1).map(|v| v.parse().unwrap()).collect();
            assert!((p[0] + p[1] - 1.0).abs() < 1e-12, "{l}");
        }
        folder.write("new.csv", "a,town,y\n1,Z,0\n");
        let error = refused(&folder, &["predict", "c.toml", "--input", "new.csv", "--out", "q.csv"]);
        assert!(error.contains("new.csv: line 2, column \"town\": the category \"Z\""), "{error}");
        folder.write("new.csv", "a,y\n1,0\n");
        let error = refused(&folder, &["predict", "c.toml", "--input", "new.csv", "--out", "q.csv"]);
        assert!(error.contains("new.csv: there is no column \"town\""), "{error}");
        assert!(
            refused(&folder, &["predict", "d.toml", "--input", "new.csv", "--out", "q.csv"])
                .contains("runs/d")
        );
    }

    #[test]
    fn bad_tables_are_one_sentence() {
        let folder = Folder::new("bad");
        for (text, task, want) in [
            ("", "target = \"y\"", "t.csv: is empty"),
            ("x,y\n", "target = \"y\"", "t.csv: has a header but no rows"),
            ("x,y\n1,2\n3\n", "target = \"y\"", "t.csv: line 3: has 1 value, the header has 2 names"),
            ("x,x,y\n1,2,3\n", "target = \"y\"", "t.csv: line 1, column \"x\": the name is twice"),
            (
                "x,y\n1,2\nabc,3\n4,5\n",
                "target = \"y\"",
                "t.csv: line 3, column \"x\": \"abc\" is not a number",
            ),
            ("x,y\n1,2\nNaN,3\n", "target = \"y\"", "t.csv: line 3, column \"x\": a value is missing"),
            ("x,y\n1,2\ninf,3\n", "target = \"y\"", "t.csv: line 3, column \"x\": inf is not finite"),
            ("x,y\n1,2\n2,\n", "target = \"y\"", "t.csv: line 3, column \"y\": the target is missing"),
            (
                "x,y\n1,2\n2,3\n",
                "target = \"z\"",
                "t.csv: there is no column \"z\", the target; there are x, y",
            ),
            (
                "x,y\n1,a\n2,b\n",
                "target = \"y\"\nloss = \"huber\"",
                "the target is classes: their loss is cross_entropy",
            ),
            ("x,y\n1,2\n", "target = \"y\"\ntest = 1.5", "task.test is 1.5"),
            ("x,y\n1,2\n", "target = 3", "expected a name or a list of names"),
            ("x,y\n1,2\n", "target = \"y\"\nhiden = [3]", "did you mean `hidden`?"),
            ("x,y\n1,2\n", "target = \"y\"\nclass_weight = \"even\"", "expected \"balanced\""),
            (
                "x,y\n1,-2\n2,0\n3,4\n",
                "target = \"y\"\nloss = \"poisson\"\ntest = 0.0\nvalidation = 0.0",
                "the target has negative values",
            ),
            ("x,y\n1,2\n", "target = \"y\"\nquantiles = [0.5, 0.2]", "quantiles are [0.5, 0.2]"),
        ] {
            folder.write("t.csv", text);
            folder.write("c.toml", &toml(&format!("file = \"t.csv\"\n{task}")));
            let error = refused(&folder, &["train", "c.toml"]);
            assert!(error.contains(want), "{want}: {error}");
        }
        folder.write("c.toml", &toml("file = \"nowhere.csv\"\ntarget = \"y\""));
        assert!(refused(&folder, &["train", "c.toml"]).contains("nowhere.csv: No such file"));
    }

    #[test]
    fn folds_have_mean_and_spread() {
        let folder = Folder::new("folds");
        folder.write("t.csv", &csv(200));
        folder.write("c.toml", &toml("file = \"t.csv\"\ntarget = \"y\"\nmissing = \"mean\""));
        let text = good(&folder, &["train", "c.toml", "--folds", "3"]);
        assert!(text.contains("rmse") && text.contains("3 of 3 folds"), "{text}");
        let s = summary(&folder, "runs/c");
        let values: Vec<f64> =
            s["test"]["r2"]["values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        let mean = values.iter().sum::<f64>() / 3.0;
        assert!(values.len() == 3 && (s["test"]["r2"]["mean"].as_f64().unwrap() - mean).abs() < 1e-12);
        // Runs that are there are kept.
        assert_eq!(good(&folder, &["train", "c.toml", "--folds", "3"]), text);
        folder.write(
            "s.toml",
            "[task]\nkind = \"spiral_ode\"\n[train]\nepochs = 1\nrate = 0.1\n[optimizer]\nkind = \"sgd\"\n",
        );
        assert!(refused(&folder, &["train", "s.toml", "--folds", "3"]).contains("no table whose rows"));
    }

    #[test]
    fn more_epochs_and_starts_from_weights() {
        let folder = Folder::new("more");
        folder.write("t.csv", &csv(200));
        let task = "file = \"t.csv\"\ntarget = \"y\"\nmissing = \"mean\"\nhidden = [8]";
        folder.write("c.toml", &toml(task));
        folder.write("long.toml", &toml(task).replace("epochs = 4", "epochs = 7"));
        good(&folder, &["train", "c.toml", "-q"]);
        good(&folder, &["train", "long.toml", "-q"]);
        // With other epochs it goes on only if told so.
        folder.write("other.toml", &toml(task).replace("epochs = 4", "epochs = 7"));
        let error = refused(&folder, &["train", "other.toml", "--out", "runs/c", "--resume"]);
        assert!(error.contains("another configuration"), "{error}");
        good(&folder, &["train", "c.toml", "-q", "--resume", "--epochs", "7"]);
        assert!(
            arrays(&folder, "runs/c/final.safetensors") == arrays(&folder, "runs/long/final.safetensors")
        );
        folder.write("rate.toml", &toml(task).replace("0.01", "0.02"));
        let error = refused(&folder, &["train", "rate.toml", "--out", "runs/c", "--resume", "--epochs", "9"]);
        assert!(error.contains("another configuration"), "{error}");
        // From these weights, at a rate of nearly zero, the loss is theirs.
        let start = toml(task)
            .replace("epochs = 4", "epochs = 1\nstart = \"runs/c/final.safetensors\"")
            .replace("0.01", "1e-12");
        folder.write("start.toml", &start);
        good(&folder, &["train", "start.toml", "-q"]);
        let loss = |run| summary(&folder, run)["test"]["loss"].as_f64().unwrap();
        assert!((loss("runs/start") / loss("runs/c") - 1.0).abs() < 1e-6);
        folder.write("wide.toml", &start.replace("hidden = [8]", "hidden = [9]"));
        let error = refused(&folder, &["train", "wide.toml"]);
        assert!(
            error.contains("final.safetensors does not fit the model: map.")
                && error.contains("in the model"),
            "{error}"
        );
    }

    #[test]
    fn the_best_weights_are_kept_if_asked_for() {
        let folder = Folder::new("best");
        folder.write("t.csv", &csv(60));
        // A rate that is far too large: the last weights are hardly the best.
        let text = toml("file = \"t.csv\"\ntarget = \"y\"\nmissing = \"mean\"\nvalidation = 0.3")
            .replace("0.01", "0.3")
            .replace("epochs = 4", "epochs = 12\nkeep = \"best\"");
        folder.write("c.toml", &text);
        good(&folder, &["train", "c.toml", "-q"]);
        assert!(arrays(&folder, "runs/c/final.safetensors") == arrays(&folder, "runs/c/best.safetensors"));
        folder.write("d.toml", &text.replace("validation = 0.3", "validation = 0.0"));
        assert!(refused(&folder, &["train", "d.toml"]).contains("there are no validation data"));
    }
}
