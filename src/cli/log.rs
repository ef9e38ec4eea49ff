//! All events as JSON lines, flushed per line.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use costate::Error;
use costate::observe::Event;

/// Writes one JSON object a line: `seconds` since the log was opened, `event`, and the event's fields.
#[derive(Debug)]
pub struct JsonLines {
    path: String,
    file: BufWriter<File>,
    opened: Instant,
    state: io::Result<()>,
}

#[derive(Serialize)]
struct Line<'a> {
    seconds: f64,
    #[serde(flatten)]
    event: &'a Event<'a>,
}

impl JsonLines {
    /// Creates (or empties) the file.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let file = File::create(path).map_err(|source| Error::Io { path: name.clone(), source })?;
        Ok(Self { path: name, file: BufWriter::new(file), opened: Instant::now(), state: Ok(()) })
    }

    /// Writes an event; after a failed write nothing more is written.
    pub fn event(&mut self, event: &Event<'_>) {
        if self.state.is_ok() {
            self.state = self.write(event);
        }
    }

    fn write(&mut self, event: &Event<'_>) -> io::Result<()> {
        let line = Line { seconds: self.opened.elapsed().as_secs_f64(), event };
        serde_json::to_writer(&mut self.file, &line)?;
        self.file.write_all(b"\n")?;
        self.file.flush()
    }

    /// Says whether everything was written.
    pub fn finish(self) -> Result<(), Error> {
        self.state.map_err(|source| Error::Io { path: self.path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use costate::observe::IterationRow;

    #[test]
    fn lines_are_json_objects() {
        let path = std::env::temp_dir().join(format!("costate-log-{}.jsonl", std::process::id()));
        let mut log = JsonLines::create(&path).unwrap();
        log.event(&Event::Note { text: "a \"note\"" });
        log.event(&Event::Iteration(&IterationRow {
            iteration: 3,
            objective: f64::NAN,
            ..Default::default()
        }));
        log.finish().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["event"], "note");
        assert_eq!(lines[1]["event"], "iteration");
        assert_eq!(lines[1]["iteration"], 3);
        assert!(lines[1]["objective"].is_null());
    }
}
