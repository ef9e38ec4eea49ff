//! Standard output that may be closed by its reader, and one-line errors.

use std::fmt;
use std::io::{self, BufWriter, Stdout, Write};

use super::Failure;

/// Prints `error: what` on stderr; a closed stderr is ignored.
pub fn error(what: &str) {
    let _ = writeln!(io::stderr(), "error: {what}");
}

/// Prints `warning: what` on stderr.
pub fn warning(what: &str) {
    let _ = writeln!(io::stderr(), "warning: {what}");
}

/// Buffered stdout. A reader that went away (`costate ... | head`) is no error: output is dropped from then on.
#[derive(Debug)]
pub struct Output {
    stdout: BufWriter<Stdout>,
    state: io::Result<()>,
}

impl Output {
    /// This process's stdout.
    pub fn stdout() -> Self {
        Self { stdout: BufWriter::new(io::stdout()), state: Ok(()) }
    }

    /// Nobody reads any more, or the disk is full.
    pub fn is_closed(&self) -> bool {
        self.state.is_err()
    }

    /// Writes without a newline.
    pub fn print(&mut self, text: fmt::Arguments<'_>) {
        if self.state.is_ok() {
            self.state = self.stdout.write_fmt(text);
        }
    }

    /// Writes a line.
    pub fn line(&mut self, text: fmt::Arguments<'_>) {
        self.print(format_args!("{text}\n"));
    }

    /// Hands everything written so far to the reader.
    pub fn flush(&mut self) {
        if self.state.is_ok() {
            self.state = self.stdout.flush();
        }
    }

    /// Flushes and says whether everything arrived; a closed pipe counts as arrived.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.flush();
        match &self.state {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Failure(format!("standard output: {e}"))),
            _ => Ok(()),
        }
    }
}
