//! Tables from files.

use std::path::Path;

use super::table::Table;
use super::{DataError, csv, libsvm, read_bytes};

impl Table {
    /// From CSV text: a header of names, then rows. Values are separated by commas, semicolons or tabs, whichever the header has most of.
    ///
    /// # Errors
    /// Ragged rows, a name twice, no rows.
    pub fn from_csv(name: &str, text: &[u8]) -> Result<Self, DataError> {
        csv::parse(name, text)
    }
    /// A file, gzip or not: LIBSVM text where its first line is a number followed by index:value, else CSV. A LIBSVM table has a column `label`, then `1`, `2`, ...
    /// up to the largest index, at least `width`.
    ///
    /// # Errors
    /// The file cannot be read, or is neither.
    pub fn open(path: &Path, width: usize) -> Result<Self, DataError> {
        let (name, bytes) = (path.display().to_string(), read_bytes(path)?);
        if libsvm::recognizes(&bytes) {
            libsvm::parse(&name, &bytes, width)
        } else {
            csv::parse(&name, &bytes)
        }
    }
}
