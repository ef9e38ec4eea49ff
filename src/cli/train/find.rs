//! `costate train --find-rate`: a short run in which the rate grows.

use std::fmt::Write;
use std::path::Path;

use costate::linalg::Scalar;
use costate::train::checkpoint::write_file;
use costate::train::config::Precision;
use costate::train::{Config, Curve, RateCurve, RateSearch, State, TrainError, find_rate};

use super::super::output::Output;
use super::super::{Failure, Outcome, SOLVED, STOPPED};
use super::{in_precision, on_threads, plots};

/// Searches, writes `rate.csv` and `rate.svg` to the folder, prints what it suggests. Exit code 1: the loss fell nowhere.
pub fn run(config: &Config, base: &Path, folder: &Path, out: &mut Output) -> Outcome {
    let curve = search_in_precision(config, base)?;
    std::fs::create_dir_all(folder)
        .map_err(|source| TrainError::Io { path: folder.display().to_string(), source })?;
    let mut text = "rate,loss,smoothed\n".to_string();
    for ((rate, loss), smoothed) in curve.rates.iter().zip(&curve.losses).zip(&curve.smoothed) {
        let _ = writeln!(text, "{rate:e},{loss:e},{smoothed:e}");
    }
    write_file(&folder.join("rate.csv"), text.as_bytes())?;
    plot(&curve, &folder.join("rate.svg"))?;
    let last = curve.rates.last().copied().unwrap_or(f64::NAN);
    Ok(match curve.suggestion {
        Some(rate) => {
            out.line(format_args!(
                "rate = {rate:.1e}: there the loss falls fastest; rates up to {last:.1e} were tried"
            ));
            out.line(format_args!("in {}", folder.display()));
            SOLVED
        }
        None => {
            out.line(format_args!("the loss falls at no rate up to {last:.1e}"));
            STOPPED
        }
    })
}

fn search_in_precision(config: &Config, base: &Path) -> Result<RateCurve, Failure> {
    Ok(in_precision!(config, search(config, base))?)
}

fn search<T: Scalar>(config: &Config, base: &Path) -> Result<RateCurve, TrainError> {
    let mut task = config.build::<T>(base)?;
    let mut state = State::new(&*task, &config.optimizer, config.train.seed);
    find_rate(&mut *task, &config.train, &mut state, &RateSearch::default())
}

/// Loss and smoothed loss, and the place suggested, on logarithmic axes.
fn plot(curve: &RateCurve, path: &Path) -> Result<(), TrainError> {
    let of = |name: &str, values: &[f64]| Curve {
        name: name.into(),
        points: curve.rates.iter().copied().zip(values.iter().copied()).collect(),
        joined: true,
    };
    let at = curve.rates.iter().position(|r| Some(*r) == curve.suggestion);
    let points = at.map(|i| (curve.rates[i], curve.smoothed[i])).into_iter().collect();
    let suggested = Curve { name: "falls fastest".into(), points, joined: false };
    let curves = [of("loss", &curve.losses), of("smoothed", &curve.smoothed), suggested];
    plots::draw_logarithmic(path, "loss over the learning rate", ("rate", ""), &curves)
}
