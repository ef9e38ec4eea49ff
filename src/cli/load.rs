//! Problem files: the only place of the command that knows how they are read.

use std::path::Path;
use std::time::Instant;

use costate::sif::SifOptions;
use costate::{Error, Nlp};

/// A problem that was read.
pub struct Loaded {
    /// The problem.
    pub nlp: Box<dyn Nlp>,
    /// Classification of the file, if it has one.
    pub class: Option<String>,
    /// Remarks of the reader.
    pub warnings: Vec<String>,
    /// Seconds it took.
    pub seconds: f64,
}

/// Reads a problem file.
pub fn load(path: &Path, options: &SifOptions) -> Result<Loaded, Error> {
    let begin = Instant::now();
    let _ = (begin, options);
    std::fs::read(path).map_err(|source| Error::Io { path: path.display().to_string(), source })?;
    Err(Error::Unsupported { name: path.display().to_string(), what: "cannot be read yet".into() })
}
