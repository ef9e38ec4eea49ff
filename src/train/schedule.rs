//! Numbers that change during training: learning rates and weights.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A schedule, written as a number (constant) or as a table with `kind`.
///
/// With n the optimizer's step counted from 0, e the epoch counted from 0, and EPOCHS the epochs planned:
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Schedule {
    /// `value`.
    Constant {
        /// The value.
        value: f64,
    },
    /// `from` / (1 + `decay` (n + 1)): Flux's InvDecay.
    InverseDecay {
        /// Before the first step.
        from: f64,
        /// Per step.
        decay: f64,
    },
    /// `from` exp(-k e), k = ln(from / to) / EPOCHS: the papers' annealing, constant within an epoch.
    Exponential {
        /// In the first epoch.
        from: f64,
        /// After the last.
        to: f64,
    },
    /// `from` while e / EPOCHS < `begin`, then linearly to `to`, reached in the last epoch.
    Ramp {
        /// At first.
        from: f64,
        /// In the last epoch.
        to: f64,
        /// Share of training before it changes, at least 0 and below 1.
        begin: f64,
    },
    /// `value` min((n + 1) / `steps`, 1): linear from the first step on, then constant.
    WarmUp {
        /// After the first `steps`.
        value: f64,
        /// How long it grows.
        steps: u64,
    },
    /// `to` + (`from` - `to`) (1 + cos(pi e / EPOCHS)) / 2.
    Cosine {
        /// In the first epoch.
        from: f64,
        /// After the last.
        to: f64,
    },
}

/// Where training is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Steps of the optimizer done.
    pub step: u64,
    /// Epochs begun before this one.
    pub epoch: u64,
    /// Epochs planned.
    pub epochs: u64,
}

impl Progress {
    /// How many of `all` save points are trained on while the span grows to its whole length over `epochs` epochs: at least two. Fits over a long span have local minima that those over a
    /// short one lack.
    pub fn points(&self, all: usize, epochs: u64) -> usize {
        let grown = (all as u128 * (self.epoch as u128 + 1)).div_ceil(epochs.max(1) as u128);
        (grown.min(all as u128) as usize).max(2).min(all)
    }
}

impl Schedule {
    /// A constant.
    pub const fn constant(value: f64) -> Self {
        Self::Constant { value }
    }
    /// The value now.
    pub fn at(&self, now: &Progress) -> f64 {
        let share = now.epoch as f64 / now.epochs.max(1) as f64;
        match *self {
            Self::Constant { value } => value,
            Self::InverseDecay { from, decay } => from / (1.0 + decay * (now.step + 1) as f64),
            Self::Exponential { from, to } => from * (to / from).powf(share),
            Self::Ramp { from, to, begin } => {
                let first = (begin * now.epochs as f64).ceil();
                let length = (now.epochs as f64 - first).max(1.0);
                from + (to - from) * ((now.epoch as f64 + 1.0 - first) / length).clamp(0.0, 1.0)
            }
            Self::WarmUp { value, steps } => value * ((now.step + 1) as f64 / steps.max(1) as f64).min(1.0),
            Self::Cosine { from, to } => {
                to + (from - to) * 0.5 * (1.0 + (std::f64::consts::PI * share).cos())
            }
        }
    }
    /// What is wrong with it, if anything: a rate must be positive, a weight may be zero.
    pub fn problem(&self, name: &str) -> Option<String> {
        let values = match *self {
            Self::Constant { value } | Self::WarmUp { value, .. } => [value, value],
            Self::InverseDecay { from, decay } => [from, decay],
            Self::Exponential { from, to } if from > 0.0 && to > 0.0 => [from, to],
            Self::Exponential { .. } => {
                return Some(format!("{name}: an exponential schedule needs positive ends"));
            }
            Self::Ramp { begin, .. } if !(0.0..1.0).contains(&begin) => {
                return Some(format!("{name}: a ramp's begin is {begin}, it must be at least 0 and below 1"));
            }
            Self::Cosine { from, to } | Self::Ramp { from, to, .. } => [from, to],
        };
        let ok = values.iter().all(|v| v.is_finite() && *v >= 0.0);
        (!ok).then(|| {
            format!("{name}: a schedule needs finite values that are at least zero, found {values:?}")
        })
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self::constant(0.0)
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Read)
    }
}

struct Read;

impl<'de> Visitor<'de> for Read {
    type Value = Schedule;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "a number or a table with `kind`: constant, inverse_decay, exponential, ramp, warm_up or cosine",
        )
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Schedule, E> {
        Ok(Schedule::Constant { value })
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Schedule, E> {
        Ok(Schedule::Constant { value: value as f64 })
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Schedule, E> {
        Ok(Schedule::Constant { value: value as f64 })
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Schedule, A::Error> {
        #[derive(Deserialize)]
        #[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
        enum Table {
            Constant { value: f64 },
            InverseDecay { from: f64, decay: f64 },
            Exponential { from: f64, to: f64 },
            Ramp { from: f64, to: f64, begin: f64 },
            WarmUp { value: f64, steps: u64 },
            Cosine { from: f64, to: f64 },
        }
        Ok(match Table::deserialize(MapAccessDeserializer::new(map))? {
            Table::Constant { value } => Schedule::Constant { value },
            Table::InverseDecay { from, decay } => Schedule::InverseDecay { from, decay },
            Table::Exponential { from, to } => Schedule::Exponential { from, to },
            Table::Ramp { from, to, begin } => Schedule::Ramp { from, to, begin },
            Table::WarmUp { value, steps } => Schedule::WarmUp { value, steps },
            Table::Cosine { from, to } => Schedule::Cosine { from, to },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let at = |step, epoch| Progress { step, epoch, epochs: 10 };
        assert_eq!(Schedule::constant(3.0).at(&at(5, 5)), 3.0);
        let decay = Schedule::InverseDecay { from: 0.1, decay: 1e-5 };
        assert_eq!(decay.at(&at(0, 0)), 0.1 / (1.0 + 1e-5));
        assert!((decay.at(&at(99_999, 0)) - 0.05).abs() < 1e-15);
        // k = ln(100 / 10) / 10, lambda(e) = 100 exp(-k e).
        let anneal = Schedule::Exponential { from: 100.0, to: 10.0 };
        assert_eq!(anneal.at(&at(7, 0)), 100.0);
        assert!((anneal.at(&at(0, 5)) - 100.0 * (-(10.0f64.ln() / 10.0) * 5.0).exp()).abs() < 1e-12);
        assert!((anneal.at(&at(0, 10)) - 10.0).abs() < 1e-12);
        let ramp = Schedule::Ramp { from: 0.0, to: 3.0, begin: 0.7 };
        assert_eq!([0, 6, 7, 8, 9].map(|e| ramp.at(&at(0, e))), [0.0, 0.0, 1.0, 2.0, 3.0]);
        assert!(
            Schedule::Ramp { from: 0.0, to: 3.0, begin: 1.0 }.problem("w").unwrap().contains("begin is 1")
        );
        let warm = Schedule::WarmUp { value: 2.0, steps: 4 };
        assert_eq!([0, 1, 3, 4, 1000].map(|n| warm.at(&at(n, 0))), [0.5, 1.0, 2.0, 2.0, 2.0]);
        assert_eq!(Schedule::WarmUp { value: 2.0, steps: 0 }.at(&at(0, 0)), 2.0);
        let cosine = Schedule::Cosine { from: 3e-3, to: 1e-4 };
        assert_eq!(cosine.at(&at(0, 0)), 3e-3);
        assert!(
            (cosine.at(&at(0, 5)) - 1.55e-3).abs() < 1e-15 && (cosine.at(&at(0, 10)) - 1e-4).abs() < 1e-15
        );
    }

    #[test]
    fn written_as_number_or_table() {
        #[derive(Deserialize)]
        struct Doc {
            rate: Schedule,
        }
        let read = |text: &str| toml::from_str::<Doc>(text).map(|d| d.rate);
        assert_eq!(read("rate = 1").unwrap(), Schedule::constant(1.0));
        assert_eq!(read("rate = 0.5").unwrap(), Schedule::constant(0.5));
        let table = read("rate = { kind = \"exponential\", from = 100, to = 10 }").unwrap();
        assert_eq!(table, Schedule::Exponential { from: 100.0, to: 10.0 });
        let table = read("rate = { kind = \"warm_up\", value = 0.1, steps = 500 }").unwrap();
        assert_eq!(table, Schedule::WarmUp { value: 0.1, steps: 500 });
        let text = read("rate = { kind = \"cosine\", from = 1, too = 2 }").unwrap_err().to_string();
        assert!(text.contains("unknown field `too`"), "{text}");
        assert!(Schedule::Exponential { from: 0.0, to: 1.0 }.problem("rate").is_some());
        assert!(Schedule::constant(f64::NAN).problem("rate").is_some());
    }
}
