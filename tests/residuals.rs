//! Supervised learning for optimizers that look at more than the gradient: residuals, Gram matrices, inputs of layers; Sven and delta gradient descent on tables.

use std::ops::ControlFlow;
use std::path::Path;

use costate::nn::{Activation, Mlp, Parallel};
use costate::train::data::{Stream, generator};
use costate::train::supervised::{Layers, LossKind, Memory, StandardLoss, Supervised};
use costate::train::{Config, Progress, Schedule, Split, State, Task, TrainStop, optim, train};
use costate::train::{OptimizerConfig, config::TrainConfig};

/// Numbers in (-1, 1) without a pattern.
fn noise(n: usize, seed: u64) -> Vec<f64> {
    (0..n).map(|i| 2.0 * (12.9898 * (i as f64 + 100.0 * seed as f64 + 0.5)).sin() * 43758.547 % 1.0).collect()
}

type Fit = Supervised<f64, Layers<Parallel<Mlp<f64>, f64>, f64>, Memory<f64>, StandardLoss>;

/// Twenty weighted rows of two inputs.
fn task(kind: LossKind, hidden: &[usize], piece: usize) -> Fit {
    let loss = StandardLoss::new(kind, 3).unwrap();
    let sizes = [&[2], hidden, &[loss.outputs()]].concat();
    let net = Mlp::dense(&sizes, Activation::Gelu, Activation::Identity, false).unwrap();
    let y = match kind {
        LossKind::CrossEntropy => (0..20).map(|i| (i * i % 3) as f64).collect(),
        LossKind::Poisson => (0..60).map(|i| (i % 4) as f64).collect(),
        _ => noise(60, 2),
    };
    let rows = Memory::new((2, loss.targets()), noise(40, 1), y).unwrap();
    let rows = rows.with_weights((0..20).map(|s| 0.5 + 0.05 * s as f64).collect()).unwrap();
    Supervised::new(Layers::new(Parallel::new(net, piece)).unwrap(), rows, loss, 20).unwrap()
}

fn start(task: &Fit) -> Vec<f64> {
    let mut p = task.params(&mut generator(1, Stream::Init, 0)).values().to_vec();
    // Biases that are not zero.
    p.iter_mut().zip(noise(1000, 3)).for_each(|(p, n)| *p += 0.1 * n);
    p
}

/// Residuals at p, and rows of their derivatives by central differences.
fn by_differences(task: &mut Fit, p: &[f64], samples: &[usize]) -> (Vec<f64>, Vec<Vec<f64>>) {
    let mut at = |p: &[f64]| {
        let mut r = vec![];
        let (now, mut rng) = (Progress::default(), generator(1, Stream::Pass, 0));
        task.residuals().unwrap().linearize(p, samples, &now, &mut rng, &mut r).unwrap();
        r
    };
    let mut columns = vec![];
    for i in 0..p.len() {
        let mut moved = |h: f64| {
            let mut p = p.to_vec();
            p[i] += h;
            at(&p)
        };
        let (a, b) = (moved(1e-6), moved(-1e-6));
        columns.push(a.iter().zip(&b).map(|(a, b)| (a - b) / 2e-6).collect::<Vec<_>>());
    }
    let r = at(p);
    let rows = (0..r.len()).map(|j| columns.iter().map(|c| c[j]).collect()).collect();
    (r, rows)
}

#[test]
fn gram_rows_and_pullback_are_those_of_differences() {
    let losses =
        [LossKind::Squared, LossKind::Huber, LossKind::Poisson, LossKind::Quantile, LossKind::CrossEntropy];
    let samples: Vec<usize> = (3..15).collect();
    for kind in losses {
        // In one piece, and in pieces of which no one has the whole batch.
        for piece in [128, 5] {
            let mut task = task(kind, &[6, 5], piece);
            let p = start(&task);
            let (r, want) = by_differences(&mut task, &p, &samples);
            let (m, n) = (r.len(), p.len());
            assert_eq!(m, if kind == LossKind::Squared { 36 } else { 12 });
            let (now, mut rng) = (Progress::default(), generator(1, Stream::Pass, 0));
            let of = task.residuals().unwrap();
            of.linearize(&p, &samples, &now, &mut rng, &mut vec![]).unwrap();
            let (mut rows, mut gram, mut pulled) = (vec![0.0; m * n], vec![0.0; m * m], vec![1.0; n]);
            of.rows(&mut rows);
            of.gram(&mut gram);
            let w = noise(m, 4);
            of.pull(&w, &mut pulled);
            for i in 0..m {
                for j in 0..n {
                    assert!((rows[i * n + j] - want[i][j]).abs() < 1e-7, "{kind:?} {i} {j}");
                }
                for j in 0..m {
                    let inner: f64 = rows[i * n..][..n].iter().zip(&rows[j * n..]).map(|(a, b)| a * b).sum();
                    assert!((gram[j * m + i] - inner).abs() < 1e-12 * (1.0 + inner.abs()), "{kind:?}");
                }
            }
            // It adds.
            for j in 0..n {
                let sum: f64 = 1.0 + (0..m).map(|i| w[i] * rows[i * n + j]).sum::<f64>();
                assert!((pulled[j] - sum).abs() < 1e-12 * (1.0 + sum.abs()), "{kind:?} {j}");
            }
        }
    }
    assert!(task(LossKind::Gaussian, &[6], 128).residuals().is_none());
}

/// Squares: 2 / (outputs rows) M'r. The others, whose residuals are the losses: M'1 / rows.
#[test]
fn residuals_make_the_gradient() {
    let samples: Vec<usize> = (0..20).collect();
    for kind in [LossKind::Squared, LossKind::CrossEntropy] {
        let mut task = task(kind, &[6], 128);
        let p = start(&task);
        let (now, rng) = (Progress::default(), || generator(1, Stream::Pass, 0));
        let (mut g, mut pulled, mut r) = (vec![0.0; p.len()], vec![0.0; p.len()], vec![]);
        let (stats, right) = task.gradient(&p, &samples, &now, &mut rng(), &mut g).unwrap();
        let of = task.residuals().unwrap();
        let (same, also) = of.linearize(&p, &samples, &now, &mut rng(), &mut r).unwrap();
        assert!((stats.loss - same.loss).abs() < 1e-14 && right == also);
        let weigh = |r: &f64| if kind == LossKind::Squared { r / 30.0 } else { 0.05 };
        of.pull(&r.iter().map(weigh).collect::<Vec<_>>(), &mut pulled);
        assert!(g.iter().zip(&pulled).all(|(a, b)| (a - b).abs() < 1e-13), "{kind:?}");
    }
}

fn run<K: Task<f64>>(
    task: &mut K,
    optimizer: &OptimizerConfig,
    batch: usize,
    epochs: u64,
    rate: f64,
) -> Vec<f64> {
    let config = TrainConfig { batch, ..TrainConfig::new(epochs, Schedule::constant(rate)) };
    let mut state = State::new(task, optimizer, 1);
    let stop = train(task, &config, &mut state, &mut |_, _| Ok(ControlFlow::Continue(())));
    assert_eq!(stop.unwrap(), TrainStop::Finished);
    state.params.values().to_vec()
}

/// Newton's direction of a Gauss-Newton model with more parameters than conditions: a short step of length a leaves 1 - a of every residual, to first order.
#[test]
fn a_short_step_of_sven_shrinks_every_residual_alike() {
    let sven = OptimizerConfig::from(optim::SvenConfig { rtol: 1e-6, ..Default::default() });
    let samples: Vec<usize> = (0..20).collect();
    let residuals = |rate: f64| {
        let mut task = task(LossKind::Squared, &[40], 128);
        // Three rows: 9 conditions of 243 parameters.
        let rows = &samples[..3];
        let p0 = task.params(&mut generator(1, Stream::Init, 0)).values().to_vec();
        let mut optimizer = sven.build::<f64>(&[]);
        let (now, mut rng, mut r) = (Progress::default(), generator(1, Stream::Pass, 0), vec![]);
        let mut p = p0.clone();
        let mut d = vec![0.0; p.len()];
        let of = task.residuals().unwrap();
        of.linearize(&p, rows, &now, &mut rng, &mut r).unwrap();
        optimizer.by_residuals().unwrap().direction(&r, of, &mut d);
        optimizer.step(rate, &mut p, &d);
        let mut after = vec![];
        of.linearize(&p, rows, &now, &mut rng, &mut after).unwrap();
        (r, after)
    };
    let gap = |(r, after): (Vec<f64>, Vec<f64>), rate: f64| {
        let most = r.iter().fold(0.0f64, |m, r| m.max(r.abs()));
        r.iter().zip(&after).map(|(r, a)| (a - (1.0 - rate) * r).abs() / most).fold(0.0, f64::max)
    };
    let (one, half) = (gap(residuals(2e-4), 2e-4), gap(residuals(1e-4), 1e-4));
    // A small part of the change, and of second order in the rate.
    assert!(half < 0.1 * 1e-4 && (one / half - 4.0).abs() < 0.2, "{one} {half}");
}

/// A linear model: one full step from any start is the weighted least-squares solution, where the gradient vanishes.
#[test]
fn one_step_of_sven_solves_a_linear_model() {
    let sven = OptimizerConfig::from(optim::SvenConfig { rtol: 1e-6, k: 60, ..Default::default() });
    let mut task = task(LossKind::Squared, &[], 128);
    let p = run(&mut task, &sven, 20, 1, 1.0);
    let mut g = vec![0.0; p.len()];
    let all: Vec<usize> = (0..20).collect();
    let mut rng = generator(1, Stream::Pass, 0);
    task.gradient(&p, &all, &Progress::default(), &mut rng, &mut g).unwrap();
    assert!(g.iter().all(|g| g.abs() < 1e-12), "{g:?}");
}

struct Folder(std::path::PathBuf);
impl Folder {
    fn new(name: &str, table: &str) -> Self {
        let path = std::env::temp_dir().join(format!("costate-residuals-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("t.csv"), table).unwrap();
        Self(path)
    }
    fn path(&self) -> &Path {
        &self.0
    }
}
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn configured(task: &str, optimizer: &str, train: &str) -> Result<Config, String> {
    let text = format!(
        "[task]\nkind = \"supervised\"\nfile = \"t.csv\"\n{task}\n[train]\nprecision = \"f64\"\n{train}\n[optimizer]\n{optimizer}\n"
    );
    let config: Config = toml::from_str(&text).map_err(|e| e.to_string())?;
    config.check().map_err(|e| e.to_string())?;
    Ok(config)
}

fn final_loss(folder: &Folder, config: &Config) -> f64 {
    let mut task = config.build::<f64>(folder.path()).unwrap();
    let mut state = State::new(&*task, &config.optimizer, 1);
    let stop = train(&mut *task, &config.train, &mut state, &mut |_, _| Ok(ControlFlow::Continue(())));
    assert_eq!(stop.unwrap(), TrainStop::Finished);
    task.evaluate(state.params.values(), Split::Train).unwrap().loss
}

/// A smooth function of a table's column: Sven ends far below Adam after as many steps.
#[test]
fn sven_trains_a_table() {
    let rows: Vec<String> = (0..200)
        .map(|i| {
            let x = i as f64 / 100.0 - 1.0;
            format!("{x},{}", (-10.0 * x * x).exp() * (2.0 * x).sin())
        })
        .collect();
    let folder = Folder::new("sven", &format!("x,y\n{}\n", rows.join("\n")));
    let task = "target = \"y\"\nhidden = [16, 16]\nactivation = \"gelu\"\nvalidation = 0.0\ntest = 0.0";
    let loss = |optimizer: &str, rate: f64| {
        let train = format!("epochs = 40\nbatch = 32\nrate = {rate}");
        final_loss(&folder, &configured(task, optimizer, &train).unwrap())
    };
    let (sven, adam) = (loss("kind = \"sven\"", 0.1), loss("kind = \"adam\"", 3e-3));
    assert!(sven < 0.1 * adam && sven < 1e-3, "{sven} {adam}");
}

/// Classes, by their losses.
#[test]
fn sven_trains_a_classifier() {
    let rows: Vec<String> = (0..120)
        .map(|i| {
            let (a, b) = ((i as f64).sin(), (1.7 * i as f64).cos());
            format!("{a},{b},{}", if a * b > 0.0 { "same" } else { "other" })
        })
        .collect();
    let folder = Folder::new("classes", &format!("a,b,c\n{}\n", rows.join("\n")));
    let task = "target = \"c\"\nhidden = [16]\nactivation = \"gelu\"\nvalidation = 0.0\ntest = 0.0";
    let config = configured(task, "kind = \"sven\"", "epochs = 60\nbatch = 30\nrate = 0.2").unwrap();
    let mut task = config.build::<f64>(folder.path()).unwrap();
    let mut state = State::new(&*task, &config.optimizer, 1);
    train(&mut *task, &config.train, &mut state, &mut |_, _| Ok(ControlFlow::Continue(()))).unwrap();
    let found = task.evaluate(state.params.values(), Split::Train).unwrap();
    assert!(found.accuracy.unwrap() > 0.97 && found.loss < 0.1, "{found:?}");
}

/// Delta gradient descent from a file, on inputs whose scales differ, at a rate at which descent explodes.
#[test]
fn delta_gradient_descent_trains_a_table() {
    let rows: Vec<String> = (0..60)
        .map(|i| {
            let (a, b) = (30.0 * (i as f64).sin(), (1.7 * i as f64).cos());
            format!("{a},{b},{}", 0.2 * a - 3.0 * b + 0.5)
        })
        .collect();
    let folder = Folder::new("dgd", &format!("a,b,y\n{}\n", rows.join("\n")));
    let task = "target = \"y\"\nhidden = []\nstandardize = false\nvalidation = 0.0\ntest = 0.0";
    let config =
        configured(task, "kind = \"dgd\"\ncurvature = 2.0", "epochs = 100\nbatch = 4\nrate = 10.0").unwrap();
    let loss = final_loss(&folder, &config);
    assert!(loss < 1e-10, "{loss}");
    // Networks give the inputs of all their layers.
    let task = "target = \"y\"\nhidden = [16]\nactivation = \"gelu\"\nvalidation = 0.0\ntest = 0.0";
    let config = configured(task, "kind = \"dgd\"", "epochs = 100\nbatch = 10\nrate = 0.3").unwrap();
    let loss = final_loss(&folder, &config);
    assert!(loss < 1e-3, "{loss}");
}

#[test]
fn what_has_no_residuals_or_layers_is_refused_in_a_sentence() {
    let table = "target = \"y\"";
    let run = "epochs = 1\nbatch = 4\nrate = 0.1";
    let refused =
        |task: &str, optimizer: &str| configured(&format!("{table}\n{task}"), optimizer, run).unwrap_err();
    let text = refused("loss = \"gaussian\"", "kind = \"sven\"");
    assert!(text.contains("task.loss = \"gaussian\" does not have"), "{text}");
    let text = refused("model = \"ode\"", "kind = \"sven\"");
    assert!(
        text.contains("\"sven\" needs residuals row by row, which task.model = \"ode\" does not give"),
        "{text}"
    );
    let text = refused("model = \"ode\"", "kind = \"dgd\"");
    assert!(text.contains("\"dgd\" needs the inputs of layers"), "{text}");
    assert!(configured(&format!("{table}\nloss = \"huber\""), "kind = \"sven\"", run).is_ok());
}
