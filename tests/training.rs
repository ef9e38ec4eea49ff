//! Training runs: resuming, checkpoints, threads, failures.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use costate::linalg::Scalar;
use costate::train::config::*;
use costate::train::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("costate-training-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const DIGITS: &str = r#"
[task]
kind = "mnist_ode"
train = 90
validation = 10
test = 20
hidden = 8
piece = 7
[solver]
rtol = 1e-4
atol = 1e-4
steer = 0.3
[train]
epochs = 3
batch = 30
rate = { kind = "exponential", from = 0.05, to = 0.01 }
clip = 1.0
[optimizer]
kind = "adabelief"
[[penalty]]
kind = "error"
weight = { kind = "exponential", from = 10, to = 1 }
[[penalty]]
kind = "stiffness"
weight = 0.01
scope = "local_unbiased"
[[penalty]]
kind = "jacobian"
weight = 1e-4
"#;

const SPIRAL: &str = r#"
[task]
kind = "spiral_ode"
hidden = 10
[solver]
rtol = 1e-6
atol = 1e-6
[train]
epochs = 40
rate = 0.02
precision = "f64"
[optimizer]
kind = "adam"
[[penalty]]
kind = "error"
scope = "local_biased"
weight = 0.1
"#;

fn config(text: &str) -> Config {
    let config: Config = toml::from_str(text).unwrap();
    config.check().unwrap();
    config
}

fn task<T: Scalar>(config: &Config) -> Box<dyn Task<T>> {
    config.build(Path::new("")).unwrap()
}

const NOISY_DIGITS: &str = r#"
[task]
kind = "mnist_sde"
train = 120
test = 20
state = 12
hidden = 16
piece = 7
[solver]
method = "sosri2"
rtol = 0.1
atol = 0.1
steer = 0.3
[train]
epochs = 3
batch = 50
rate = 0.01
[optimizer]
kind = "adam"
[[penalty]]
kind = "error"
weight = 1
[[penalty]]
kind = "stiffness"
scope = "local_biased"
weight = 0.01
"#;

const NOISY_SPIRAL: &str = r#"
[task]
kind = "spiral_sde"
trajectories = 20
hidden = 8
piece = 6
paths = 500
[solver]
rtol = 0.3
atol = 0.3
steer = 1.0
[train]
epochs = 12
rate = 0.01
precision = "f64"
[optimizer]
kind = "adabelief"
[[penalty]]
kind = "error"
aggregate = "sum"
weight = 0.2
[[penalty]]
kind = "error_squared"
scope = "local_unbiased"
weight = 0.1
"#;

type Losses = Vec<(u64, f64, f64)>;

/// Trains from `state` on; stops after `stop_at` steps. Losses and gradient norms of all steps.
fn go<T: Scalar>(config: &Config, state: &mut State<T>, stop_at: u64) -> (TrainStop, Losses) {
    let mut losses = vec![];
    let stop = train(&mut *task::<T>(config), &config.train, state, &mut |event, state| {
        if let TrainEvent::Step(r) = event {
            losses.push((r.step, r.pass.loss, r.gradient_norm));
        }
        Ok(if state.step >= stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    (stop.unwrap(), losses)
}

fn fresh<T: Scalar>(config: &Config) -> State<T> {
    State::new(&*task::<T>(config), &config.optimizer, config.train.seed)
}

fn resumed_runs_have_the_same_bits<T: Scalar>(text: &str, cuts: &[u64]) {
    let config = config(text);
    let folder = Folder::new("resume");
    let mut whole = fresh::<T>(&config);
    let (stop, losses) = go(&config, &mut whole, u64::MAX);
    assert_eq!(stop, TrainStop::Finished);
    assert_ne!(losses[0].1, losses.last().unwrap().1);
    for &cut in cuts {
        let file = folder.file("c.safetensors");
        let mut first = fresh::<T>(&config);
        let (stop, mut parts) = go(&config, &mut first, cut);
        assert_eq!((stop, first.step), (TrainStop::Interrupted, cut));
        checkpoint::write(&file, &mut first, "x").unwrap();
        let mut second = fresh::<T>(&config);
        checkpoint::read(&file, &mut second, "x").unwrap();
        let (_, rest) = go(&config, &mut second, u64::MAX);
        parts.extend(rest);
        assert_eq!(parts, losses, "cut at {cut}");
        assert!(second.params == whole.params, "cut at {cut}");
        assert!(second.average == whole.average, "cut at {cut}");
        assert_eq!((second.best, second.since_best), (whole.best, whole.since_best));
    }
}

#[test]
fn a_run_that_goes_on_from_a_checkpoint_has_the_same_bits() {
    // Within epochs and at their ends; all optimizers.
    resumed_runs_have_the_same_bits::<f32>(DIGITS, &[1, 3, 4, 8]);
    resumed_runs_have_the_same_bits::<f32>(SERIES, &[2, 6]);
    resumed_runs_have_the_same_bits::<f32>(NOISY_DIGITS, &[2, 3]);
    resumed_runs_have_the_same_bits::<f64>(NOISY_SPIRAL, &[5]);
    for optimizer in OptimizerConfig::every() {
        let plain = SPIRAL.split("[[penalty]]").next().unwrap();
        let text = match optimizer.needs() {
            Needs::Gradient => SPIRAL,
            Needs::Residuals => plain,
            Needs::LayerInputs => continue,
        };
        let text = text.replace("\"adam\"", &format!("{:?}", optimizer.kind()));
        let text = text.replace("0.02", "0.001").replace("epochs = 40", "epochs = 16\naverage = 0.9");
        resumed_runs_have_the_same_bits::<f64>(&text, &[7]);
    }
}

#[test]
fn memory_policies_give_the_same_bits_and_keep_their_budget() {
    let run = |memory: &str| {
        let text = DIGITS
            .replace("steer = 0.3", &format!("memory = {memory}\nmethod = \"bs32\""))
            .replace("1e-4", "1e-6");
        let config = config(&text);
        let (mut state, mut bytes) = (fresh::<f32>(&config), vec![]);
        let stop = train(&mut *task::<f32>(&config), &config.train, &mut state, &mut |event, _| {
            if let TrainEvent::Step(r) = event {
                assert!(r.pass.accepted >= 8, "{}", r.pass.accepted);
                bytes.push((r.pass.tape_bytes, r.pass.accepted as usize));
            }
            Ok(ControlFlow::Continue(()))
        });
        assert_eq!(stop.unwrap(), TrainStop::Finished);
        (state.params, bytes)
    };
    let (params, stages) = run("\"stages\"");
    let state = 784 * 30 * 4;
    // The state and four stages; the last batch of an epoch has 20 columns, not 30.
    assert!(stages.iter().all(|(bytes, steps)| *bytes > 3 * steps * state));
    for memory in ["\"states\"", "{ every = 3 }", "{ checkpoints = 3 }"] {
        let states = |steps: usize| match memory {
            "\"states\"" => steps,
            "{ every = 3 }" => steps.div_ceil(3) + 2,
            _ => 3,
        };
        let (same, passes) = run(memory);
        assert!(same == params, "{memory}: other bits");
        let mut most = 0;
        for (bytes, steps) in passes {
            // Buffers stay: the longest pass so far counts. On top come, in vectors that double, three times (12 bytes), an index (16),
            // a free place (8) and the header of a buffer (24) a step: 2 x 60 bytes.
            most = steps.max(most);
            assert!(
                bytes <= states(most) * state + 128 * most + 1024,
                "{memory}: {bytes} bytes, {steps} steps"
            );
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for text in [DIGITS, SERIES, NOISY_DIGITS, NOISY_SPIRAL] {
        let config = config(text);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut state = fresh::<f32>(&config);
                let (_, losses) = go(&config, &mut state, 4);
                let evaluation = task::<f32>(&config).evaluate(state.params.values(), Split::Test).unwrap();
                (losses, state.params, evaluation.loss)
            })
        };
        let one = run(1);
        for threads in [2, 3, 5] {
            assert!(run(threads) == one, "{threads} threads: {text}");
        }
    }
}

#[test]
fn training_reduces_the_loss() {
    let mut config = config(SPIRAL);
    config.train.epochs = 300;
    let mut state = fresh::<f64>(&config);
    let before = task::<f64>(&config).evaluate(state.params.values(), Split::Test).unwrap();
    go(&config, &mut state, u64::MAX);
    let after = task::<f64>(&config).evaluate(state.params.values(), Split::Test).unwrap();
    assert!(after.loss < 0.1 * before.loss, "{before:?} {after:?}");
    let mut config = self::config(&DIGITS.replace("steer = 0.3", ""));
    config.penalties.clear();
    (config.train.epochs, config.train.rate) = (40, Schedule::constant(0.01));
    let mut state = fresh::<f32>(&config);
    go(&config, &mut state, u64::MAX);
    let after = task::<f32>(&config).evaluate(state.params.values(), Split::Train).unwrap();
    assert!(after.accuracy.unwrap() > 0.9, "{after:?}");
}

#[test]
fn noisy_tasks_learn() {
    let mut digits = config(NOISY_DIGITS);
    digits.penalties.clear();
    digits.solver.steer = 0.0;
    digits.train.epochs = 60;
    let mut state = fresh::<f32>(&digits);
    go(&digits, &mut state, u64::MAX);
    let after = task::<f32>(&digits).evaluate(state.params.values(), Split::Train).unwrap();
    assert!(after.accuracy.unwrap() > 0.9 && after.nfe > 0.0, "{after:?}");
    let mut spiral = config(NOISY_SPIRAL);
    spiral.penalties.clear();
    spiral.solver.steer = 0.0;
    spiral.train.epochs = 150;
    let mut state = fresh::<f64>(&spiral);
    let before = task::<f64>(&spiral).evaluate(state.params.values(), Split::Test).unwrap();
    go(&spiral, &mut state, u64::MAX);
    let after = task::<f64>(&spiral).evaluate(state.params.values(), Split::Test).unwrap();
    assert!(after.loss < 0.2 * before.loss, "{before:?} {after:?}");
}

const SERIES: &str = r#"
[task]
kind = "latent_ode"
train = 12
validation = 2
test = 4
recurrent = 5
latent = 3
hidden = 4
piece = 3
sigma = 0.3
[solver]
rtol = 1e-4
atol = 1e-4
steer = 0.5
[train]
epochs = 4
batch = 4
rate = 0.01
[optimizer]
kind = "adamax"
[[penalty]]
kind = "taylor"
order = 2
weight = 0.01
"#;

/// The gradient of whole tasks, all parts together and STEER on, against differences along random directions. The steps of an ODE adapt to the
/// parameters while the gradient holds them, so the two agree to about the tolerance, and penalties are left to the tests of a pass. Those of an SDE end
/// on a coarse grid of its path's ticks: parameters close enough have the same ones, and the gradient is exact, penalties of all steps included.
#[test]
fn gradients_of_whole_tasks() {
    for text in [DIGITS, SERIES, NOISY_DIGITS, NOISY_SPIRAL] {
        let mut config = config(text);
        let noisy = config.task.is_stochastic();
        assert!(config.solver.steer > 0.0);
        if noisy {
            config.penalties.retain(|p| p.term().is_some_and(|t| t.1 == Scope::Global));
            assert_eq!(config.penalties.len(), 1);
            (config.solver.rtol, config.solver.atol) = (Some(0.05), Some(0.05));
        } else {
            config.penalties.clear();
            (config.solver.rtol, config.solver.atol) = (Some(1e-9), Some(1e-9));
        }
        let (d, tolerance) = if noisy { (2e-7, 1e-6) } else { (1e-4, 1e-5) };
        let mut task = task::<f64>(&config);
        let state = fresh::<f64>(&config);
        let p = state.params.values();
        let samples: Vec<usize> = (0..9).collect();
        // Late enough for the latent ODE's KL term.
        let now = Progress { step: 0, epoch: 60, epochs: 100 };
        let mut value = |p: &[f64], g: &mut [f64]| {
            let mut rng = data::generator(1, data::Stream::Pass, 0);
            task.gradient(p, &samples, &now, &mut rng, g).unwrap().0.loss
        };
        let mut gradient = vec![0.0; p.len()];
        value(p, &mut gradient);
        let mut scratch = vec![0.0; p.len()];
        // Every named array by itself, then all.
        let entries = state.params.entries().iter().map(|e| e.range.clone());
        for (k, range) in entries.chain(std::iter::once(0..p.len())).enumerate() {
            let wave = |i: usize| ((i as f64 + 1.0) * (k as f64 + 1.0) * 0.7).sin();
            let v: Vec<f64> = (0..p.len()).map(|i| if range.contains(&i) { wave(i) } else { 0.0 }).collect();
            let mut at = |d: f64| {
                let q: Vec<f64> = p.iter().zip(&v).map(|(p, v)| p + d * v).collect();
                value(&q, &mut scratch)
            };
            let fd = (8.0 * (at(d) - at(-d)) - (at(2.0 * d) - at(-2.0 * d))) / (12.0 * d);
            let g: f64 = gradient.iter().zip(&v).map(|(a, b)| a * b).sum();
            let kind = &config.task;
            assert!((fd - g).abs() < tolerance * g.abs().max(1.0), "{kind:?} {range:?} {fd} {g}");
        }
    }
}

/// Where the passes of a task with this `steer` end, from the steps they took, and the evaluations of its initial parameters.
fn ends<T: Scalar>(text: &str, steer: f64) -> (Vec<f64>, Evaluation) {
    let mut config = config(text);
    (config.solver.steer, config.solver.rtol, config.solver.atol) = (steer, Some(0.1), Some(0.1));
    config.penalties.clear();
    let (mut task, state) = (task::<T>(&config), fresh::<T>(&config));
    let (p, now) = (state.params.values(), Progress::default());
    let mut pass = |step| {
        let mut rng = data::generator(0, data::Stream::Pass, step);
        let mut gradient = vec![T::ZERO; p.len()];
        let stats = task.gradient(p, &[0, 1], &now, &mut rng, &mut gradient).unwrap().0;
        stats.mean_step * stats.accepted as f64
    };
    let ends = (0..200).map(&mut pass).collect();
    let mut evaluation = task.evaluate(p, Split::Test).unwrap();
    evaluation.predict_seconds = 0.0;
    (ends, evaluation)
}

#[test]
fn random_ends_are_uniform_and_predictions_do_not_see_them() {
    // The spirals move their last time by half of an interval, 1.5/29 and 1/29; the latent series of 1/48.
    let cases = [
        (DIGITS, 0.3, 1.0, 0.3),
        (NOISY_DIGITS, 0.3, 1.0, 0.3),
        (SPIRAL, 1.0, 1.5, 0.75 / 29.0),
        (NOISY_SPIRAL, 0.5, 1.0, 0.25 / 29.0),
        (SERIES, 1.0, 1.0, 0.5 / 48.0),
    ];
    for (text, steer, end, most) in cases {
        let (still, true_times) = ends::<f64>(text, 0.0);
        assert!(still.iter().all(|e| (e - end).abs() < 1e-6), "{text}");
        let (moved, evaluation) = ends::<f64>(text, steer);
        assert_eq!(evaluation, true_times, "{text}");
        let part = |e: &f64| (e - end) / most;
        let (mean, least, greatest) = moved
            .iter()
            .map(part)
            .fold((0.0, 0.0f64, 0.0f64), |(m, a, b), d| (m + d / 200.0, a.min(d), b.max(d)));
        // On [-1, 1] the mean of 200 has a deviation of 0.04.
        assert!(least > -1.0 - 1e-6 && least < -0.95 && greatest < 1.0 + 1e-6 && greatest > 0.95, "{text}");
        assert!(mean.abs() < 0.12, "{text}: {mean}");
    }
}

#[test]
fn a_latent_model_learns() {
    let mut config = config(SERIES);
    config.penalties.clear();
    config.train.epochs = 150;
    let mut state = fresh::<f32>(&config);
    let before = task::<f32>(&config).evaluate(state.params.values(), Split::Test).unwrap();
    go(&config, &mut state, u64::MAX);
    let after = task::<f32>(&config).evaluate(state.params.values(), Split::Test).unwrap();
    assert!(after.loss < 0.2 * before.loss, "{before:?} {after:?}");
}

#[test]
fn a_loss_that_is_not_finite_stops_with_step_batch_and_advice() {
    let text = DIGITS.replace("kind = \"adabelief\"", "kind = \"sgd\"").replace("clip = 1.0", "");
    let mut config = config(&text);
    config.penalties.clear();
    config.train.rate = Schedule::constant(1e38);
    let mut state = fresh::<f32>(&config);
    let (stop, losses) = go(&config, &mut state, u64::MAX);
    let TrainStop::Failed { step, epoch, batch, samples, what } = stop else { panic!("{stop:?}") };
    assert_eq!((step, state.step), (losses.len() as u64 + 1, losses.len() as u64));
    assert!(step >= 1 && epoch >= 1 && batch >= 1 && !samples.is_empty());
    assert!(what.contains("try a smaller learning rate"), "{what}");
}

#[test]
fn a_solver_that_gives_up_stops_the_run() {
    let mut config = config(SPIRAL);
    config.solver.max_steps = 3;
    let mut state = fresh::<f64>(&config);
    let (stop, _) = go(&config, &mut state, u64::MAX);
    let TrainStop::Failed { step: 1, what, .. } = stop else { panic!("{stop:?}") };
    assert!(what.contains("reached the limit of steps") && what.contains("learning rate"), "{what}");
}

#[test]
fn early_stop_and_its_memory() {
    let mut config = config(DIGITS);
    // A rate that ruins the parameters: the first validation stays the best.
    (config.train.epochs, config.train.patience) = (50, Some(2));
    config.train.rate = Schedule::constant(1.0);
    let mut state = fresh::<f32>(&config);
    let (stop, losses) = go(&config, &mut state, u64::MAX);
    assert_eq!(stop, TrainStop::EarlyStop);
    assert!(losses.len() < 150 && state.since_best == 2);
    // It stays stopped.
    let (stop, more) = go(&config, &mut state, u64::MAX);
    assert_eq!((stop, more.len()), (TrainStop::EarlyStop, 0));
}

/// Any steps; validations with these results.
struct Scripted(Vec<Result<f64, &'static str>>);

impl Task<f64> for Scripted {
    fn params(&self, _: &mut rand::rngs::StdRng) -> costate::nn::Params<f64> {
        costate::nn::Params::new()
    }
    fn samples(&self) -> usize {
        1
    }
    fn split_len(&self, _: Split) -> usize {
        1
    }
    fn gradient(
        &mut self,
        _: &[f64],
        _: &[usize],
        _: &Progress,
        _: &mut rand::rngs::StdRng,
        _: &mut [f64],
    ) -> Result<(PassStats, Option<f64>), TrainError> {
        Ok((PassStats::default(), None))
    }
    fn evaluate(&mut self, _: &[f64], _: Split) -> Result<Evaluation, TrainError> {
        match self.0.remove(0) {
            Ok(loss) => Ok(Evaluation { loss, ..Evaluation::default() }),
            Err(what) => Err(TrainError::Solver { what: what.into() }),
        }
    }
}

#[test]
fn validations_that_fail() {
    let config = config(&SPIRAL.replace("epochs = 40", "epochs = 9\npatience = 2"));
    let go = |script: Vec<Result<f64, &'static str>>| {
        let mut task = Scripted(script);
        let mut state = State::new(&task, &config.optimizer, 0);
        let stop = train(&mut task, &config.train, &mut state, &mut |_, _| Ok(ControlFlow::Continue(())));
        (stop.unwrap(), state.step, state.best)
    };
    // Not a number is not the best, whenever it comes; it counts as one without improvement.
    let nan = f64::NAN;
    let script = vec![Ok(nan), Ok(3.0), Ok(nan), Ok(2.0), Ok(nan), Ok(nan)];
    assert_eq!(go(script), (TrainStop::EarlyStop, 6, Some(2.0)));
    let (stop, step, best) = go(vec![Ok(3.0), Err("it stood still")]);
    let TrainStop::Failed { step: 2, epoch: 2, batch: 1, what, .. } = stop else { panic!("{stop:?}") };
    assert_eq!((step, best), (2, Some(3.0)));
    assert!(what.contains("validation: ") && what.contains("it stood still; try"), "{what}");
}

#[test]
fn checkpoints_that_do_not_fit_are_refused_and_change_nothing() {
    let folder = Folder::new("misfit");
    let file = folder.file("c.safetensors");
    let config = config(SPIRAL);
    let mut state = fresh::<f64>(&config);
    go(&config, &mut state, 5);
    checkpoint::write(&file, &mut state, "a").unwrap();
    let refused = |text: &str, print: &str, want: &str| {
        let config = self::config(text);
        let mut other = fresh::<f64>(&config);
        let before = other.params.clone();
        let error = checkpoint::read(&file, &mut other, print).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
        assert!(other.params == before && other.step == 0);
    };
    refused(SPIRAL, "b", "written with another configuration");
    refused(&SPIRAL.replace("hidden = 10", "hidden = 11"), "a", "field.0.weight is F64 [2, 10] in the file");
    refused(&SPIRAL.replace("\"adam\"", "\"sgd\""), "a", "optimizer.momentum is missing");
    let bytes = std::fs::read(&file).unwrap();
    for cut in [0, 10, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&file, &bytes[..cut]).unwrap();
        refused(SPIRAL, "a", "not a complete safetensors file");
    }
    state.params.save(&file).unwrap();
    refused(SPIRAL, "a", "not a checkpoint");
    let absent = checkpoint::read(&folder.file("absent"), &mut state, "a").unwrap_err().to_string();
    assert!(absent.contains("absent: "), "{absent}");
}

/// Real digits, if they are there.
#[test]
fn real_digits_are_read() {
    let root = std::env::var_os("COSTATE_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let folder = root.join("data/mnist");
    if !folder.is_dir() {
        assert!(std::env::var_os("COSTATE_REQUIRE_SHARED").is_none(), "{} is required", folder.display());
        eprintln!("skipped: {} is absent", folder.display());
        return;
    }
    let images = data::Images::read(&folder, "t10k").unwrap();
    assert_eq!((images.len(), images.pixels), (10_000, 784));
    // The first labels of the published test set.
    assert_eq!(images.labels[..10], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]);
    let ink = images.data.iter().map(|v| *v as f64).sum::<f64>() / images.data.len() as f64;
    assert!((30.0..36.0).contains(&ink), "{ink}");
}

/// A batch in micro-batches is the same step, to rounding, where no penalty looks at the whole batch.
#[test]
fn micro_batches_make_the_gradient_of_the_batch() {
    let run = |accumulate: usize| {
        let mut config = config(&DIGITS.replace("clip = 1.0", ""));
        config.penalties.clear();
        config.solver.steer = 0.0;
        // A part has steps of its own: the solutions agree to the tolerance.
        (config.solver.rtol, config.solver.atol) = (Some(1e-8), Some(1e-8));
        (config.train.epochs, config.train.accumulate) = (1, accumulate);
        let mut rows = vec![];
        let mut state = fresh::<f64>(&config);
        train(&mut *task::<f64>(&config), &config.train, &mut state, &mut |event, _| {
            if let TrainEvent::Step(r) = event {
                rows.push((r.pass.data_loss, r.gradient_norm, r.pass.nfe));
            }
            Ok(ControlFlow::Break(()))
        })
        .unwrap();
        rows[0]
    };
    let (one, two, four) = (run(1), run(2), run(4));
    for parts in [two, four] {
        assert!((parts.0 - one.0).abs() < 1e-6 * one.0.abs(), "{one:?} {parts:?}");
        assert!((parts.1 - one.1).abs() < 1e-5 * one.1, "{one:?} {parts:?}");
        assert!(parts.2 > one.2, "work is summed");
    }
}

/// The average by its definition, sum over steps of decay^(t - s) p_s, normalized; it is what `weights` gives.
#[test]
fn the_average_is_that_of_the_steps() {
    let mut config = config(SPIRAL);
    (config.train.epochs, config.train.average) = (9, Some(0.8));
    let (mut state, mut steps) = (fresh::<f64>(&config), vec![]);
    train(&mut *task::<f64>(&config), &config.train, &mut state, &mut |event, state| {
        if let TrainEvent::Step(_) = event {
            steps.push(state.params.values().to_vec());
        }
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    let weight = |s: usize| 0.8f64.powi((steps.len() - 1 - s) as i32);
    let all: f64 = (0..steps.len()).map(weight).sum();
    for (i, found) in state.weights().values().iter().enumerate() {
        let want: f64 = steps.iter().enumerate().map(|(s, p)| weight(s) * p[i]).sum::<f64>() / all;
        assert!((found - want).abs() < 1e-13, "{found} {want}");
    }
    assert!(state.weights() != state.params);
}

/// Residuals reach errors in few steps that a first-order method does not in many.
#[test]
fn sven_fits_the_spiral() {
    // Gauss-Newton steps are for the end of a fit: far from it they are too long. From what 40 steps of Adam have found, 40 more of each, the median of three seeds.
    let text = SPIRAL.split("[[penalty]]").next().unwrap();
    let run = |kind: &str, seed: u64, start: Option<&[f64]>| {
        let mut config = config(&text.replace("\"adam\"", &format!("{kind:?}")));
        (config.train.epochs, config.train.rate, config.train.seed) = (40, Schedule::constant(0.1), seed);
        let (mut state, mut facts) = (fresh::<f64>(&config), vec![]);
        if let Some(start) = start {
            state.params.values_mut().copy_from_slice(start);
        }
        let stop = train(&mut *task::<f64>(&config), &config.train, &mut state, &mut |event, _| {
            if let TrainEvent::Step(r) = event {
                facts.push(r.optimizer.clone());
            }
            Ok(ControlFlow::Continue(()))
        });
        assert_eq!(stop.unwrap(), TrainStop::Finished);
        let end = state.params.values().to_vec();
        (task::<f64>(&config).evaluate(&end, Split::Train).unwrap().loss, facts, end)
    };
    let mut losses = [vec![], vec![]];
    for seed in 0..3 {
        let (_, none, start) = run("adam", seed, None);
        assert!(none.iter().all(Facts::is_empty));
        let (sven, facts, _) = run("sven", seed, Some(&start));
        assert!(facts.iter().all(|f| (1.0..=32.0).contains(&f.get("kept").unwrap())));
        losses[0].push(sven);
        losses[1].push(run("adam", seed, Some(&start)).0);
    }
    losses.iter_mut().for_each(|l| l.sort_by(f64::total_cmp));
    assert!(losses[0][1] < 0.1 * losses[1][1], "{losses:?}");
}

#[test]
fn optimizers_that_need_more_than_a_task_gives_are_refused() {
    let refused = |text: &str, accumulate: usize| {
        let mut config: Config = toml::from_str(text).unwrap();
        config.train.accumulate = accumulate;
        config.check().unwrap_err().to_string()
    };
    let plain = SPIRAL.split("[[penalty]]").next().unwrap().replace("\"adam\"", "\"sven\"");
    let text = refused(&SPIRAL.replace("\"adam\"", "\"sven\""), 1);
    assert!(text.contains("penalties are none: leave out [[penalty]]"), "{text}");
    assert!(refused(&plain, 2).contains("train.accumulate is 2, it must be 1"));
    let text = refused(&DIGITS.replace("adabelief", "sven"), 1);
    assert!(text.contains("optimizer.kind = \"sven\" needs residuals"), "{text}");
    let text = refused(&SPIRAL.replace("\"adam\"", "\"dgd\""), 1);
    assert!(text.contains("optimizer.kind = \"dgd\" needs the inputs of layers"), "{text}");
    // A task of the library's user has no recipe: the loop refuses.
    for (optimizer, want) in [
        (
            optim::SvenConfig::default().into(),
            "works on residuals, which this task, its model or its loss does not give",
        ),
        (optim::DgdConfig::default().into(), "needs the inputs of layers, which this task does not give"),
    ] {
        let mut task = Scripted(vec![]);
        let mut state = State::new(&task, &optimizer, 0);
        let train_config = config(SPIRAL).train;
        let error = train(&mut task, &train_config, &mut state, &mut |_, _| Ok(ControlFlow::Continue(())));
        let text = error.unwrap_err().to_string();
        assert!(text.contains(want), "{text}");
    }
}

/// y = W x + b on fixed data: all that delta gradient descent needs.
struct Affine {
    net: costate::nn::Mlp<f64>,
    x: Vec<f64>,
    y: Vec<f64>,
}

impl Affine {
    fn new() -> Self {
        let net = costate::nn::Mlp::linear(2, 1).unwrap();
        // Inputs whose scales differ: plain descent is slow or explodes.
        let x: Vec<f64> =
            (0..40).map(|k| if k % 2 == 0 { 30.0 * (k as f64).sin() } else { (k as f64).cos() }).collect();
        let y = x.chunks(2).map(|x| 0.2 * x[0] - 3.0 * x[1] + 0.5).collect();
        Self { net, x, y }
    }
    fn inputs(&self, samples: &[usize]) -> Vec<f64> {
        samples.iter().flat_map(|s| self.x[2 * s..2 * s + 2].to_vec()).collect()
    }
}

impl Task<f64> for Affine {
    fn params(&self, rng: &mut rand::rngs::StdRng) -> costate::nn::Params<f64> {
        use costate::diff::Map;
        let mut params = costate::nn::Params::new();
        params.add_spec("net", self.net.spec(), rng);
        params
    }
    fn samples(&self) -> usize {
        self.y.len()
    }
    fn split_len(&self, _: Split) -> usize {
        0
    }
    fn gradient(
        &mut self,
        p: &[f64],
        samples: &[usize],
        _: &Progress,
        _: &mut rand::rngs::StdRng,
        gradient: &mut [f64],
    ) -> Result<(PassStats, Option<f64>), TrainError> {
        let share = 1.0 / samples.len() as f64;
        let mut loss = 0.0;
        for &s in samples {
            let x = &self.x[2 * s..2 * s + 2];
            let e = p[0] * x[0] + p[1] * x[1] + p[2] - self.y[s];
            loss += 0.5 * share * e * e;
            [x[0], x[1], 1.0].iter().zip(&mut *gradient).for_each(|(x, g)| *g += share * e * x);
        }
        Ok((PassStats { loss, data_loss: loss, ..PassStats::default() }, None))
    }
    fn evaluate(&mut self, _: &[f64], _: Split) -> Result<Evaluation, TrainError> {
        Ok(Evaluation::default())
    }
    fn layer_inputs(
        &mut self,
        p: &[f64],
        samples: &[usize],
        layers: &mut Vec<costate::nn::LayerInputs<f64>>,
    ) -> Result<bool, TrainError> {
        let x = self.inputs(samples);
        let of = costate::diff::Kept { y: &[], keep: &[] };
        Ok(costate::diff::Map::layer_inputs(&mut self.net, costate::diff::At::new(0.0, &x, p), of, 0, layers))
    }
}

fn affine(kind: &str, rate: f64, epochs: u64) -> (TrainStop, Vec<f64>) {
    let text = format!("epochs = {epochs}\nbatch = 4\nrate = {rate}\nprecision = \"f64\"\n");
    let config: TrainConfig = toml::from_str(&text).unwrap();
    let optimizer: OptimizerConfig = toml::from_str(&format!("kind = {kind:?}")).unwrap();
    let mut task = Affine::new();
    let mut state = State::new(&task, &optimizer, 3);
    let stop = train(&mut task, &config, &mut state, &mut |_, _| Ok(ControlFlow::Continue(())));
    (stop.unwrap(), state.params.values().to_vec())
}

#[test]
fn delta_gradient_descent_takes_any_rate() {
    let (stop, p) = affine("dgd", 10.0, 60);
    assert_eq!(stop, TrainStop::Finished);
    for (p, want) in p.iter().zip([0.2, -3.0, 0.5]) {
        assert!((p - want).abs() < 1e-6, "{p} {want}");
    }
    // Without the inputs of the layer the same rate explodes.
    let (stop, p) = affine("sgd", 10.0, 60);
    assert!(matches!(stop, TrainStop::Failed { .. }) || p.iter().any(|p| p.abs() > 1e6), "{stop:?} {p:?}");
}

/// Half squared error of inputs of size 30: gradient descent is stable for rates below 2 / (largest eigenvalue of the second moments, about 450).
#[test]
fn a_rate_is_found_below_where_descent_explodes() {
    let config: TrainConfig =
        toml::from_str("epochs = 1\nbatch = 20\nrate = 1\nprecision = \"f64\"\n").unwrap();
    let optimizer: OptimizerConfig = toml::from_str("kind = \"sgd\"\nmomentum = 0.0").unwrap();
    let mut task = Affine::new();
    let mut state = State::new(&task, &optimizer, 3);
    let search = RateSearch::default();
    let curve = find_rate(&mut task, &config, &mut state, &search).unwrap();
    let second: f64 = task.x.iter().step_by(2).map(|x| x * x).sum::<f64>() / 20.0;
    let rate = curve.suggestion.unwrap();
    assert!(rate > 1e-5 && rate < 2.0 / second, "{rate} {second}");
    // It gave up soon after the edge of stability, long before the last rate.
    let last = *curve.rates.last().unwrap();
    assert!(last > 2.0 / second && last < 1.0, "{last}");
    let bad = RateSearch { from: 1.0, to: 0.1, steps: 100 };
    assert!(
        find_rate(&mut task, &config, &mut state, &bad)
            .unwrap_err()
            .to_string()
            .contains("must be positive, grow")
    );
}
