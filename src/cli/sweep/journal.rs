//! The log of a sweep: one JSON object a line, handed to the operating system at once. A process that is killed loses nothing but a line it was writing.
//!
//! ```text
//! {"event":"sweep","identity":"..."}
//! {"event":"trial","trial":0,"point":[0.01,2.0],"values":{"train.rate":0.01,"optimizer.kind":"adam"}}
//! {"event":"epoch","trial":0,"epoch":1,"value":0.5,"parameters":305,"seconds":0.01}
//! {"event":"end","trial":0,"end":"stopped","predicted":1.2,"probability":0.01}
//! ```

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cli::Failure;

/// A line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The first: of which sweep it is.
    Sweep { identity: String },
    /// A configuration that is going to be trained.
    Trial { trial: usize, point: Vec<f64>, values: serde_json::Map<String, serde_json::Value> },
    /// A finished epoch; a value that is not finite is null.
    Epoch { trial: usize, epoch: u64, value: Option<f64>, parameters: usize, seconds: f64 },
    /// A trial that is over.
    End {
        trial: usize,
        #[serde(flatten)]
        end: End,
    },
}

/// How a trial ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum End {
    /// All epochs are done.
    Finished,
    /// `train.patience`: no better validation.
    Patience,
    /// Predicted not to be the best: its final score and the probability of being above the reference.
    Stopped { predicted: f64, probability: f64 },
    /// Not among the best of its rung.
    Halved,
    /// It has no result.
    Failed { what: String },
}

impl End {
    /// In tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Patience => "patience",
            Self::Stopped { .. } => "stopped",
            Self::Halved => "halved",
            Self::Failed { .. } => "failed",
        }
    }
}

/// An open log.
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens or begins the log; what was written before is returned. Half a line at the end is cut off.
    pub fn open(path: &Path, identity: String) -> Result<(Self, Vec<Event>), Failure> {
        let shown = path.display();
        let wrong = |e: std::io::Error| Failure(format!("{shown}: {e}"));
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(wrong)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(wrong)?;
        let whole = text.rfind('\n').map_or(0, |k| k + 1);
        if whole < text.len() {
            file.set_len(whole as u64).map_err(wrong)?;
        }
        let mut journal = Self { path: path.into(), file };
        let mut events = vec![];
        for (k, line) in text[..whole].lines().enumerate() {
            let event: Event = serde_json::from_str(line)
                .map_err(|_| Failure(format!("{shown}: line {} is no line of a sweep", k + 1)))?;
            match event {
                Event::Sweep { identity: found } if k == 0 => {
                    if found != identity {
                        return Err(Failure(format!(
                            "{shown}: is the log of a sweep with another configuration: choose another folder with --out, or remove it"
                        )));
                    }
                }
                _ if k == 0 => {
                    return Err(Failure(format!("{shown}: line 1 is not the beginning of a sweep")));
                }
                event => events.push(event),
            }
        }
        if whole == 0 {
            journal.write(&Event::Sweep { identity })?;
        }
        Ok((journal, events))
    }
    /// Writes one line.
    pub fn write(&mut self, event: &Event) -> Result<(), Failure> {
        let line = serde_json::to_string(event)? + "\n";
        self.file.write_all(line.as_bytes()).map_err(|e| Failure(format!("{}: {e}", self.path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_to_the_last_bit() {
        let path = std::env::temp_dir().join(format!("costate-sweep-log-{}.jsonl", std::process::id()));
        std::fs::remove_file(&path).ok();
        let point: Vec<f64> = (0..2000).map(|k| (1.0 + k as f64).sqrt() * 10f64.powi(k % 40 - 20)).collect();
        let written = [
            Event::Trial { trial: 0, point, values: serde_json::Map::new() },
            Event::Epoch { trial: 0, epoch: 1, value: None, parameters: 3, seconds: 0.1 },
            Event::End { trial: 0, end: End::Stopped { predicted: 1.0 / 3.0, probability: 1e-300 } },
            Event::End { trial: 1, end: End::Failed { what: "line\nbreak".into() } },
        ];
        let (mut journal, _) = Journal::open(&path, "a".into()).unwrap_or_else(|e| panic!("{}", e.0));
        written.iter().for_each(|e| journal.write(e).unwrap_or_else(|e| panic!("{}", e.0)));
        // Half a line is dropped.
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"event\":\"ep").unwrap();
        let (_, events) = Journal::open(&path, "a".into()).unwrap_or_else(|e| panic!("{}", e.0));
        assert_eq!(events, written);
        assert!(Journal::open(&path, "b".into()).err().unwrap().0.contains("another configuration"));
        std::fs::remove_file(path).ok();
    }
}
