//! One sentence per error: file, line, what was found, what was expected.

use std::fmt;

/// A SIF file could not be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SifError {
    /// File, as the user named it.
    pub file: String,
    /// Line, from 1; 0 where the error concerns the file as a whole.
    pub line: usize,
    /// What was found and what was expected; inside loops also the values of the loop indices.
    pub what: String,
}

impl fmt::Display for SifError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.what),
            line => write!(f, "{}:{line}: {}", self.file, self.what),
        }
    }
}

impl std::error::Error for SifError {}

/// Something odd that does not stop the reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SifWarning {
    /// Line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// One sentence.
    pub what: String,
}
