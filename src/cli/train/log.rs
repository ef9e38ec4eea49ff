//! The run's log: one JSON object a line, flushed per line; cut back to the checkpoint when a run goes on.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use costate::train::{TrainError, checkpoint};

/// The event of a run that ended by `train.patience`; a run that goes on says it anew.
pub const EARLY_STOP: &str = "early_stop";

/// An open log.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: BufWriter<File>,
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> TrainError {
    let path = path.display().to_string();
    move |source| TrainError::Io { path: path.clone(), source }
}

impl Log {
    /// A new log, or the lines of the old one up to `step`.
    pub fn open(path: &Path, keep_to: Option<u64>) -> Result<Self, TrainError> {
        if let Some(step) = keep_to.filter(|_| path.exists()) {
            let kept: Vec<String> = read(path)?
                .into_iter()
                .filter(|(v, _)| v["event"] != EARLY_STOP && v["step"].as_u64().is_some_and(|s| s <= step))
                .map(|(_, line)| line + "\n")
                .collect();
            checkpoint::write_file(path, kept.concat().as_bytes())?;
        } else {
            File::create(path).map_err(io(path))?;
        }
        let file = OpenOptions::new().append(true).open(path).map_err(io(path))?;
        Ok(Self { path: path.into(), file: BufWriter::new(file) })
    }
    /// Writes one line.
    pub fn event(&mut self, event: &impl Serialize) -> Result<(), TrainError> {
        let mut write = || {
            serde_json::to_writer(&mut self.file, event)?;
            self.file.write_all(b"\n")?;
            self.file.flush()
        };
        write().map_err(io(&self.path))
    }
}

/// Complete lines and their values; an incomplete last line (of a run that was killed) is left out.
pub fn read(path: &Path) -> Result<Vec<(Value, String)>, TrainError> {
    let file = File::open(path).map_err(io(path))?;
    let mut rows = vec![];
    for line in BufReader::new(file).lines() {
        let line = line.map_err(io(path))?;
        if let Ok(value) = serde_json::from_str(&line) {
            rows.push((value, line));
        }
    }
    Ok(rows)
}
