//! Names, shapes and starts of parameters.

use std::ops::Range;

/// Where a parameter starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// Zeros.
    Zeros,
    /// Uniform in +-sqrt(6 / (inputs + outputs)) (Glorot and Bengio 2010), as Flux starts dense layers and recurrent cells.
    Glorot {
        /// Columns of the matrix in y = W x.
        inputs: usize,
        /// Rows.
        outputs: usize,
    },
    /// Normal with mean zero.
    Normal {
        /// Standard deviation.
        deviation: f64,
    },
}

/// One named array.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its name, as in a file.
    pub name: String,
    /// Row-major shape.
    pub shape: Vec<usize>,
    /// Where its values are in the parameter vector.
    pub range: Range<usize>,
    /// Where they start.
    pub init: Init,
}

/// The arrays of a parameter vector, one after another.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Spec {
    entries: Vec<Entry>,
}

impl Spec {
    /// No parameters.
    pub fn none() -> Self {
        Self::default()
    }
    /// One array that starts as zeros; nothing if it is empty.
    pub fn one(name: &str, shape: &[usize]) -> Self {
        Self::none().with(name, shape, Init::Zeros)
    }
    /// With one more array at the end; an empty one is left out.
    pub fn with(mut self, name: &str, shape: &[usize], init: Init) -> Self {
        let (start, len) = (self.len(), shape.iter().product::<usize>());
        if len > 0 {
            self.entries.push(Entry {
                name: name.into(),
                shape: shape.to_vec(),
                range: start..start + len,
                init,
            });
        }
        self
    }
    /// All names behind `prefix.`.
    pub fn under(mut self, prefix: &str) -> Self {
        self.entries.iter_mut().for_each(|e| e.name = format!("{prefix}.{}", e.name));
        self
    }
    /// The arrays of another one behind these.
    pub fn then(mut self, other: Self) -> Self {
        let start = self.len();
        self.entries.extend(other.entries.into_iter().map(|e| {
            let range = e.range.start + start..e.range.end + start;
            Entry { range, ..e }
        }));
        self
    }
    /// Length of the parameter vector.
    pub fn len(&self) -> usize {
        self.entries.last().map_or(0, |e| e.range.end)
    }
    /// Whether there are no parameters.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
    /// The arrays in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
    /// Parameter i in words: its array and place.
    pub fn describe(&self, i: usize) -> String {
        match self.entries.iter().find(|e| e.range.contains(&i)) {
            Some(e) if e.range.len() == 1 => e.name.clone(),
            Some(e) => format!("{}[{}]", e.name, i - e.range.start),
            None => format!("p[{i}]"),
        }
    }
}
