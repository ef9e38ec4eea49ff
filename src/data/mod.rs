//! Tables of data, and how their columns become numbers.
//!
//! | to do | with |
//! |---|---|
//! | read CSV or LIBSVM text, packed or not | [`Table::open`] |
//! | a table that is in memory | [`Table::from_numbers`], [`Table::from_csv`] |
//! | columns to inputs and targets | [`Encoder::fit`], once on the rows trained on; then [`Encoder::inputs`], [`Encoder::targets`] for any table |
//!
//! Everything that is wrong with a file is one sentence with its path, line and column ([`DataError`]).

mod csv;
mod encoder;
mod libsvm;
mod read;
mod table;

use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;

pub use encoder::{Encoder, EncoderOptions, Input, Missing, Scale, Targets};
pub use table::{Kind, Table};

/// A data file that cannot be read, or holds something else than expected. Prints as one sentence.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Reading failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Something in the file is not as expected.
    #[error("{path}: {}{what}", place(*.line, .column.as_deref()))]
    Wrong {
        /// The file.
        path: String,
        /// Line, counted from 1.
        line: Option<u64>,
        /// Name of the column.
        column: Option<String>,
        /// What was found and what was expected.
        what: String,
    },
}

fn place(line: Option<u64>, column: Option<&str>) -> String {
    match (line, column) {
        (Some(l), Some(c)) => format!("line {l}, column {c:?}: "),
        (Some(l), None) => format!("line {l}: "),
        (None, Some(c)) => format!("column {c:?}: "),
        (None, None) => String::new(),
    }
}

/// The bytes of a file, unpacked if they are gzip.
fn read_bytes(path: &Path) -> Result<Vec<u8>, DataError> {
    let shown = path.display().to_string();
    let bytes = fs::read(path).map_err(|source| DataError::Io { path: shown.clone(), source })?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut out = vec![];
    GzDecoder::new(&bytes[..]).read_to_end(&mut out).map_err(|e| DataError::Wrong {
        path: shown,
        line: None,
        column: None,
        what: format!("cannot be unpacked ({e}): the file is truncated or damaged"),
    })?;
    Ok(out)
}
