//! What a run needs at least in memory, from its configuration alone: absurd sizes are refused before anything is allocated.

use super::config::{Config, Precision};
use super::error::TrainError;
use super::recipe::Need;

/// A dense layer's weights and biases. In f64: products of absurd sizes do not overflow there.
pub(super) fn layer(from: f64, to: f64) -> f64 {
    (from + 1.0) * to
}

/// Refuses what cannot fit: parameters, their gradient and what the optimizer keeps (two vectors at most), a batch of states, and data.
pub(super) fn check(config: &Config, memory: f64) -> Result<(), TrainError> {
    let number = if config.train.precision == Precision::F32 { 4.0 } else { 8.0 };
    let Need { parameters, states, bytes } = config.task.need(config);
    let needed = number * (4.0 * parameters + states) + bytes;
    if needed <= memory {
        return Ok(());
    }
    let gib = |b: f64| b / (1u64 << 30) as f64;
    Err(TrainError::config(format!(
        "task: {parameters:.3e} parameters, {states:.3e} numbers of state in a batch and {bytes:.3e} bytes of data need at least {:.3e} GiB of memory, this machine has {:.3e}: choose smaller sizes",
        gib(needed),
        gib(memory)
    )))
}

/// Bytes of main memory, where the system tells (Linux); else more than any machine has.
pub(super) fn main_memory() -> f64 {
    let told = std::fs::read_to_string("/proc/meminfo").ok();
    let line = told.as_deref().and_then(|text| text.lines().find(|l| l.starts_with("MemTotal:")));
    let kib = line.and_then(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok());
    kib.map_or((1u64 << 50) as f64, |k| 1024.0 * k)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{data::Stream, data::generator};

    fn config(task: &str) -> Config {
        let text = format!("{task}\n[train]\nepochs = 1\nrate = 0.1\n[optimizer]\nkind = \"sgd\"\n");
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn parameters_are_those_of_the_model() {
        let mut rng = generator(0, Stream::Init, 0);
        let c = config("[task]\nkind = \"spiral_ode\"\nhidden = 7\n");
        let task = c.build::<f64>(std::path::Path::new("")).unwrap();
        assert_eq!(task.params(&mut rng).values().len() as f64, c.task.need(&c).parameters);
        let c = config("[task]\nkind = \"mnist_ode\"\nhidden = 7\ntrain = 4\ntest = 2\n");
        let task = c.build::<f32>(std::path::Path::new("")).unwrap();
        // The inner layers also see the time.
        assert_eq!(task.params(&mut rng).values().len() as f64, c.task.need(&c).parameters + 7.0 + 784.0);
    }

    #[test]
    fn absurd_sizes_are_refused_and_usual_ones_are_not() {
        for (key, value) in
            [("hidden", "100000000000"), ("points", "9000000000"), ("hidden", "9223372036854775807")]
        {
            let c = config(&format!("[task]\nkind = \"spiral_ode\"\n{key} = {value}\n"));
            let text = check(&c, 1e11).unwrap_err().to_string();
            assert!(text.contains("GiB of memory, this machine has"), "{text}");
        }
        for kind in ["spiral_ode", "spiral_sde", "mnist_ode", "mnist_sde"] {
            check(&config(&format!("[task]\nkind = \"{kind}\"\n")), 1e9).unwrap();
        }
        assert!(main_memory() > 1e8);
    }
}
