//! An evaluation as written and shown.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use costate::train::{Confusion, Evaluation};

/// An evaluation as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    #[serde(deserialize_with = "number")]
    pub loss: f64,
    pub accuracy: Option<f64>,
    pub nfe: f64,
    pub accepted: f64,
    pub rejected: f64,
    pub predict_seconds: f64,
    /// Further numbers by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "numbers")]
    pub metrics: BTreeMap<String, f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confusion: Option<Confusion>,
}

/// JSON has no NaN and no infinity: they are written as null.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

fn numbers<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, f64>, D::Error> {
    let read: BTreeMap<String, Option<f64>> = Deserialize::deserialize(from)?;
    Ok(read.into_iter().map(|(k, v)| (k, v.unwrap_or(f64::NAN))).collect())
}

impl From<Evaluation> for Scores {
    fn from(e: Evaluation) -> Self {
        let Evaluation { loss, accuracy, nfe, accepted, rejected, predict_seconds, metrics, confusion } = e;
        Self { loss, accuracy, nfe, accepted, rejected, predict_seconds, metrics, confusion }
    }
}

/// Of a confusion matrix on the screen; in summary.json and as a picture it is there with any number.
const MOST_CLASSES: usize = 12;

impl Scores {
    /// On one line.
    pub fn line(&self) -> String {
        let accuracy = self.accuracy.map_or(String::new(), |a| format!(", accuracy {:.2} %", 100.0 * a));
        let (loss, ms) = (self.loss, 1e3 * self.predict_seconds);
        let metrics: String = self.metrics.iter().map(|(name, v)| format!(", {name} {v:.4}")).collect();
        // Models that solve no equation have none.
        let nfe = if self.nfe > 0.0 { format!(", {:.1} evaluations", self.nfe) } else { String::new() };
        format!("loss {loss:.4e}{accuracy}{metrics}{nfe}, prediction {ms:.3} ms a batch")
    }
    /// The confusion matrix as lines.
    pub fn confusion_lines(&self) -> Vec<String> {
        let Some(c) = self.confusion.as_ref().filter(|c| c.names.len() <= MOST_CLASSES) else {
            return vec![];
        };
        let longest = c.names.iter().map(|n| n.chars().count());
        let digits = c.counts.iter().flatten().map(|n| n.to_string().len());
        let width = longest.chain(digits).max().unwrap_or(1).max(4);
        let row = |head: &str, cells: Vec<String>| {
            let cells: String = cells.iter().map(|c| format!("  {c:>width$}")).collect();
            format!("  {head:>width$}{cells}")
        };
        let mut lines = vec![row("true", c.names.clone())];
        for (name, counts) in c.names.iter().zip(&c.counts) {
            lines.push(row(name, counts.iter().map(u64::to_string).collect()));
        }
        lines
    }
}
