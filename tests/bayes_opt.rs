//! Bayesian optimization: proposals, constraints, integers, failures, batches, and logs that survive a kill.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use costate::surrogate::bayes_opt::{BayesOpt, Options, Outcome, minimize};
use costate::surrogate::campaign::{Campaign, Settings};
use costate::surrogate::model::GpSurrogate;
use costate::surrogate::space::{Space, Variable};

/// Smallest value 0.397887 at three points.
fn branin(x: &[f64]) -> f64 {
    let pi = std::f64::consts::PI;
    let a = x[1] - 5.1 / (4.0 * pi * pi) * x[0] * x[0] + 5.0 / pi * x[0] - 6.0;
    a * a + 10.0 * (1.0 - 1.0 / (8.0 * pi)) * x[0].cos() + 10.0
}

fn branin_space() -> Space {
    Space::reals(&[(-5.0, 10.0), (0.0, 15.0)]).unwrap()
}

#[test]
fn branin_in_thirty_evaluations() {
    for seed in 0..2 {
        let options = Options { seed, ..Options::default() };
        let report = minimize(|x| Outcome::of(branin(x)), branin_space(), 30, options).unwrap();
        assert!(report.objective < 0.397_887 + 0.02, "seed {seed}: {}", report.objective);
        assert!(report.feasible && report.trials.len() == 30);
    }
}

#[test]
fn constraints_are_learned() {
    // Gramacy et al.: min x0 + x1 subject to two constraints; the smallest value is 0.5998.
    let constraints = |x: &[f64]| {
        let wave = (2.0 * std::f64::consts::PI * (x[0] * x[0] - 2.0 * x[1])).sin();
        vec![1.5 - x[0] - 2.0 * x[1] - 0.5 * wave, x[0] * x[0] + x[1] * x[1] - 1.5]
    };
    let f = |x: &[f64]| Outcome::Value { objective: x[0] + x[1], constraints: constraints(x) };
    let options = Options { constraints: 2, ..Options::default() };
    let report = minimize(f, Space::reals(&[(0.0, 1.0); 2]).unwrap(), 35, options).unwrap();
    assert!(report.feasible && constraints(&report.x).iter().all(|c| *c <= 0.0));
    assert!(report.objective < 0.65, "{}", report.objective);
}

#[test]
fn failures_are_data() {
    // The half where the minimum of the plane would be has no values: NaN, infinity, failures.
    let f = |x: &[f64]| {
        if x[0] + x[1] < 0.8 {
            [Outcome::Failed, Outcome::of(f64::NAN), Outcome::of(f64::INFINITY)][(x[0] * 1e6) as usize % 3]
                .clone()
        } else {
            Outcome::of(x[0] + 1.2 * x[1])
        }
    };
    let report = minimize(f, Space::reals(&[(0.0, 1.0); 2]).unwrap(), 30, Options::default()).unwrap();
    assert!(report.objective < 0.86, "{}", report.objective);
    // A minimum away from them: they are met by the first points only.
    let f = |x: &[f64]| {
        if x[0] + x[1] < 0.8 {
            Outcome::Failed
        } else {
            Outcome::of((x[0] - 0.7).powi(2) + (x[1] - 0.6).powi(2))
        }
    };
    let report = minimize(f, Space::reals(&[(0.0, 1.0); 2]).unwrap(), 25, Options::default()).unwrap();
    let failed = |t: &&costate::surrogate::bayes_opt::Trial| t.outcome == Some(Outcome::Failed);
    let (first, later) = report.trials.split_at(6);
    assert!(first.iter().any(|t| failed(&t)) && later.iter().filter(failed).count() < 3, "{report:?}");
    assert!(report.objective < 1e-3);
    // Nothing but failures: points are proposed all the same.
    let report = minimize(|_| Outcome::Failed, branin_space(), 8, Options::default()).unwrap();
    assert!(report.objective.is_nan() && report.trials.len() == 8 && report.x.is_empty());
}

#[test]
fn integers_are_whole_and_none_is_tried_twice() {
    let space = Space::new(vec![Variable::integer("a", -3, 3), Variable::integer("b", 0, 4)]).unwrap();
    let f = |x: &[f64]| Outcome::of((x[0] - 2.0).powi(2) + (x[1] - 1.0).powi(2));
    let report = minimize(f, space, 100, Options::default()).unwrap();
    // All 35 points, each once; then the search ends.
    let mut seen: Vec<_> = report.trials.iter().map(|t| (t.x[0] as i64, t.x[1] as i64)).collect();
    assert!(report.trials.iter().all(|t| t.x.iter().all(|x| x.fract() == 0.0)));
    seen.sort_unstable();
    seen.dedup();
    assert_eq!((seen.len(), report.trials.len()), (35, 35));
    let first = report.trials.iter().position(|t| t.x == [2.0, 1.0]).unwrap();
    assert!(first < 20, "{first}");
    let mixed = Space::new(vec![Variable::integer("n", 1, 9), Variable::log("rate", 1e-5, 1.0)]).unwrap();
    let f = |x: &[f64]| Outcome::of((x[0] - 6.0).abs() + (x[1].log10() + 2.5).powi(2));
    let report = minimize(f, mixed, 30, Options::default()).unwrap();
    assert!(report.objective < 0.3 && report.x[0] == 6.0, "{report:?}");
}

#[test]
fn batches_are_spread_and_the_story_decides_the_proposals() {
    let start = || {
        let mut search = BayesOpt::new(branin_space(), Options::default()).unwrap();
        for _ in 0..10 {
            let p = search.ask().unwrap().unwrap();
            search.tell(p.id, Outcome::of(branin(&p.x))).unwrap();
        }
        search
    };
    let (mut a, mut b) = (start(), start());
    let batch: Vec<_> = (0..4).map(|_| a.ask().unwrap().unwrap()).collect();
    for (i, p) in batch.iter().enumerate() {
        for q in &batch[..i] {
            let apart = (p.x[0] - q.x[0]).abs().max((p.x[1] - q.x[1]).abs());
            assert!(apart > 1e-3, "{p:?} {q:?}");
        }
    }
    assert_eq!(a.pending().len(), 4);
    // The same story told by someone else: adopted points, outcomes out of order.
    for p in &batch {
        assert_eq!(b.adopt(&p.x).unwrap(), p.id);
    }
    for i in [2, 0, 3, 1] {
        a.tell(batch[i].id, Outcome::of(branin(&batch[i].x))).unwrap();
        b.tell(batch[i].id, Outcome::of(branin(&batch[i].x))).unwrap();
    }
    assert_eq!(a.ask().unwrap(), b.ask().unwrap());
}

#[test]
fn other_models_and_huge_values() {
    let model = Box::new(GpSurrogate::infinite_width(2));
    let mut search = BayesOpt::with_model(branin_space(), Options::default(), model).unwrap();
    for k in 0..14 {
        let p = search.ask().unwrap().unwrap();
        // One value of 1e300 and constant ones are no reason to fail.
        let y = if k == 3 { 1e300 } else { branin(&p.x) };
        search.tell(p.id, Outcome::of(y)).unwrap();
    }
    assert!(search.report().objective.is_finite());
    let report = minimize(|_| Outcome::of(3.0), branin_space(), 12, Options::default()).unwrap();
    assert_eq!(report.objective, 3.0);
}

#[test]
fn wrong_stories_are_one_sentence() {
    let mut search = BayesOpt::new(branin_space(), Options { constraints: 1, ..Options::default() }).unwrap();
    let p = search.ask().unwrap().unwrap();
    let texts = [
        search.tell(7, Outcome::Failed).unwrap_err().to_string(),
        search.tell(p.id, Outcome::of(1.0)).unwrap_err().to_string(),
        search.adopt(&[0.0, 99.0]).unwrap_err().to_string(),
        search.adopt(&[0.0]).unwrap_err().to_string(),
        {
            search.tell(p.id, Outcome::Failed).unwrap();
            search.tell(p.id, Outcome::Failed).unwrap_err().to_string()
        },
        BayesOpt::new(branin_space(), Options { candidates: 0, ..Options::default() })
            .err()
            .unwrap()
            .to_string(),
    ];
    assert!(texts.iter().all(|t| t.len() > 10 && !t.contains('\n')), "{texts:?}");
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("costate-bo-{name}-{}", std::process::id()));
    std::fs::remove_dir_all(&folder).ok();
    folder
}

fn campaign(log: &std::path::Path, evaluations: usize, workers: usize) -> Campaign {
    let settings = Settings { evaluations, workers, ..Settings::default() };
    Campaign::open(log, branin_space(), Options::default(), settings).unwrap()
}

fn points(c: &Campaign) -> Vec<Vec<f64>> {
    c.search().trials().iter().map(|t| t.x.clone()).collect()
}

#[test]
fn a_log_cut_anywhere_goes_on_with_the_same_proposals() {
    let folder = folder("cut");
    let log = folder.join("a.jsonl");
    let evaluate = |x: &[f64], _: &std::sync::atomic::AtomicBool| {
        if x[0] > 8.0 { Err("no \"value\", \\ here".to_string()) } else { Ok((branin(x), vec![])) }
    };
    let mut whole = campaign(&log, 14, 1);
    whole.run(&evaluate, &|| false, &mut |_| ()).unwrap();
    let bytes = std::fs::read(&log).unwrap();
    // Cut after a result, after a proposal, and in the middle of a line, as a kill may leave it.
    let ends: Vec<usize> =
        bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(k, _)| k + 1).collect();
    for cut in [ends[0], ends[9], ends[10], ends[20] + 11, ends[23] + 30, bytes.len()] {
        let log = folder.join("b.jsonl");
        std::fs::write(&log, &bytes[..cut]).unwrap();
        let count = AtomicUsize::new(0);
        let counted = |x: &[f64], s: &std::sync::atomic::AtomicBool| {
            count.fetch_add(1, Ordering::Relaxed);
            evaluate(x, s)
        };
        let mut again = campaign(&log, 14, 1);
        let known = again.replayed();
        again.run(&counted, &|| false, &mut |_| ()).unwrap();
        assert_eq!(points(&again), points(&whole), "cut at {cut}");
        // No finished evaluation is repeated.
        assert_eq!(count.load(Ordering::Relaxed), 14 - known);
    }
    std::fs::remove_dir_all(folder).ok();
}

#[test]
fn evaluations_run_side_by_side_and_every_one_is_logged() {
    let folder = folder("side");
    let log = folder.join("log.jsonl");
    let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let evaluate = |x: &[f64], _: &std::sync::atomic::AtomicBool| {
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(std::time::Duration::from_millis(20));
        now.fetch_sub(1, Ordering::SeqCst);
        assert!(x[0] < 7.0, "a panic is a failure");
        Ok((branin(x), vec![]))
    };
    let mut c = campaign(&log, 12, 3);
    let mut ended = 0;
    c.run(&evaluate, &|| false, &mut |_| ended += 1).unwrap();
    assert_eq!((ended, most.load(Ordering::SeqCst)), (12, 3));
    let text = std::fs::read_to_string(&log).unwrap();
    assert_eq!(text.matches("\"event\":\"proposal\"").count(), 12);
    assert_eq!(text.matches("\"event\":\"result\"").count(), 12);
    for line in text.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    std::fs::remove_dir_all(folder).ok();
}

#[test]
fn logs_of_other_searches_and_damaged_ones_are_refused() {
    let folder = folder("bad");
    let log = folder.join("log.jsonl");
    drop(campaign(&log, 5, 1));
    let options = Options { seed: 1, ..Options::default() };
    let other = Campaign::open(&log, branin_space(), options, Settings::default());
    assert!(other.err().unwrap().to_string().contains("another file"));
    let mut text = std::fs::read_to_string(&log).unwrap();
    for line in [
        "nonsense\n",
        "{\"event\":\"result\",\"id\":0,\"seconds\":1,\"objective\":1,\"constraints\":[]}\n",
        "{\"event\":\"proposal\",\"id\":0,\"x\":[99,0]}\n",
    ] {
        std::fs::write(&log, format!("{text}{line}")).unwrap();
        let found = Campaign::open(&log, branin_space(), Options::default(), Settings::default());
        let sentence = found.err().unwrap().to_string();
        assert!(sentence.contains("line 2") && !sentence.contains('\n'), "{sentence}");
    }
    text.push_str("{\"event\":\"propo");
    std::fs::write(&log, text).unwrap();
    assert!(Campaign::open(&log, branin_space(), Options::default(), Settings::default()).is_ok());
    std::fs::remove_dir_all(folder).ok();
}
