//! Named parameters in one vector, and their files.
//!
//! Files are in the safetensors format (shapes are row-major there). The weight of a layer is stored with shape [inputs + time, outputs], so that
//! a row-vector framework reads y = act([x, t] W + b).

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::path::Path;

use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

use crate::diff::{Entry, Init, Spec};
use crate::linalg::Scalar;

/// A parameter file, or a list of parameters, that does not fit.
#[derive(Debug, thiserror::Error)]
pub enum ParamsError {
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Not a safetensors file, or a truncated one.
    #[error("{path} is not a complete safetensors file: {what}")]
    Format {
        /// The file.
        path: String,
        /// What the reader said.
        what: String,
    },
    /// Parameters that are missing, unknown, or of another shape or type.
    #[error("{path} does not fit the model: {what}")]
    Mismatch {
        /// The file.
        path: String,
        /// One clause.
        what: String,
    },
}

/// Named arrays one after another in one vector.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Params<T> {
    values: Vec<T>,
    entries: Vec<Entry>,
    notes: BTreeMap<String, String>,
}

/// Prefix of notes among a file's texts.
const NOTE: &str = "note.";

impl<T: Scalar> Params<T> {
    /// None yet.
    pub fn new() -> Self {
        Self { values: vec![], entries: vec![], notes: BTreeMap::new() }
    }
    /// Adds an array at the end. A name may be used once.
    pub fn add<R: Rng>(&mut self, name: &str, shape: &[usize], init: Init, rng: &mut R) -> Range<usize> {
        assert!(self.entries.iter().all(|e| e.name != name), "parameter {name} is there already");
        let start = self.values.len();
        let len: usize = shape.iter().product();
        self.values.extend((0..len).map(|_| match init {
            Init::Zeros => T::ZERO,
            Init::Glorot { inputs, outputs } => {
                let bound = (6.0 / (inputs + outputs) as f64).sqrt();
                T::of(bound * (2.0 * rng.random::<f64>() - 1.0))
            }
            Init::Normal { deviation } => {
                let z: f64 = StandardNormal.sample(rng);
                T::of(deviation * z)
            }
        }));
        let range = start..start + len;
        self.entries.push(Entry { name: name.into(), shape: shape.to_vec(), range: range.clone(), init });
        range
    }
    /// The parameters of a map, in order, with names behind `prefix.`. Their range is the map's parameter vector.
    pub fn add_spec<R: Rng>(&mut self, prefix: &str, spec: Spec, rng: &mut R) -> Range<usize> {
        let start = self.values.len();
        for e in spec.under(prefix).entries() {
            self.add(&e.name, &e.shape, e.init, rng);
        }
        start..self.values.len()
    }
    /// All values.
    pub fn values(&self) -> &[T] {
        &self.values
    }
    /// All values, to be changed.
    pub fn values_mut(&mut self) -> &mut [T] {
        &mut self.values
    }
    /// Names, shapes and places.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
    /// The array of this name.
    pub fn get(&self, name: &str) -> Option<&[T]> {
        let entry = self.entries.iter().find(|e| e.name == name)?;
        Some(&self.values[entry.range.clone()])
    }

    /// Adds a text that belongs to the values and goes with them into files: how inputs are scaled, say.
    pub fn note(&mut self, name: &str, text: String) {
        self.notes.insert(name.into(), text);
    }
    /// The notes.
    pub fn notes(&self) -> &BTreeMap<String, String> {
        &self.notes
    }
    /// The notes of a file.
    pub fn read_notes(path: &Path) -> Result<BTreeMap<String, String>, ParamsError> {
        let texts = ArrayFile::read(path)?.metadata()?;
        Ok(texts.into_iter().filter_map(|(k, v)| Some((k.strip_prefix(NOTE)?.to_string(), v))).collect())
    }
    /// The notes as texts of a file.
    pub(crate) fn metadata(&self) -> HashMap<String, String> {
        self.notes.iter().map(|(k, v)| (format!("{NOTE}{k}"), v.clone())).collect()
    }

    /// Writes a safetensors file, atomically.
    pub fn save(&self, path: &Path) -> Result<(), ParamsError> {
        let arrays = self.entries.iter().map(|e| Array {
            name: e.name.clone(),
            shape: e.shape.clone(),
            values: &self.values[e.range.clone()],
        });
        write_arrays(path, &arrays.collect::<Vec<_>>(), self.metadata())
    }
    /// Reads the values of all arrays from a safetensors file; names, shapes and precision must be the same, and so must notes, except those that begin with "about.", for readers. Arrays of the file that
    /// do not belong here are an error, except those whose names begin with one of `ignore`.
    pub fn load(&mut self, path: &Path, ignore: &[&str]) -> Result<(), ParamsError> {
        let file = ArrayFile::read(path)?;
        let texts = file.metadata()?;
        let other = |(k, v): &(&String, &String)| texts.get(&format!("{NOTE}{k}")).is_some_and(|t| t != *v);
        let other = |of: &(&String, &String)| !of.0.starts_with("about.") && other(of);
        if let Some((name, _)) = self.notes.iter().find(other) {
            let what = format!(
                "its note {name:?} is another one: it was trained on other data, or with other settings of the task"
            );
            return Err(file.mismatch(what));
        }
        self.load_values(path, ignore)
    }
    /// As [`load`](Self::load), whatever the notes: values to start from.
    pub fn load_values(&mut self, path: &Path, ignore: &[&str]) -> Result<(), ParamsError> {
        let file = ArrayFile::read(path)?;
        for name in file.names()? {
            if !ignore.iter().any(|i| name.starts_with(i)) && self.entries.iter().all(|e| e.name != name) {
                return Err(file.mismatch(format!("the model has no parameter {name}")));
            }
        }
        let mut values = self.values.clone();
        for e in &self.entries {
            file.copy(&e.name, &e.shape, &mut values[e.range.clone()])?;
        }
        self.values = values;
        Ok(())
    }
}

/// An array to be written.
#[derive(Debug, Clone)]
pub(crate) struct Array<'a, T> {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: &'a [T],
}

fn dtype<T: Scalar>() -> Dtype {
    if size_of::<T>() == 4 { Dtype::F32 } else { Dtype::F64 }
}

/// Little-endian bytes.
fn bytes_of<T: Scalar>(values: &[T]) -> Vec<u8> {
    if size_of::<T>() == 4 {
        values.iter().flat_map(|v| (v.f64() as f32).to_le_bytes()).collect()
    } else {
        values.iter().flat_map(|v| v.f64().to_le_bytes()).collect()
    }
}

/// Writes arrays and text to a file that is there completely or not at all.
pub(crate) fn write_arrays<T: Scalar>(
    path: &Path,
    arrays: &[Array<'_, T>],
    metadata: HashMap<String, String>,
) -> Result<(), ParamsError> {
    let name = path.display().to_string();
    let format = |what: safetensors::SafeTensorError| ParamsError::Format {
        path: name.clone(),
        what: what.to_string(),
    };
    let bytes: Vec<Vec<u8>> = arrays.iter().map(|a| bytes_of(a.values)).collect();
    let mut views = vec![];
    for (a, b) in arrays.iter().zip(&bytes) {
        views.push((a.name.as_str(), TensorView::new(dtype::<T>(), a.shape.clone(), b).map_err(format)?));
    }
    let data = serialize(views, Some(metadata)).map_err(format)?;
    write_atomically(path, &data).map_err(|source| ParamsError::Io { path: name.clone(), source })
}

/// Writes beside the file, syncs, renames over it, syncs the folder: at any moment the old or the new content is there. A failed write removes
/// what it left.
pub(crate) fn write_atomically(path: &Path, data: &[u8]) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".partial");
    let beside = Path::new(&beside);
    let write = || {
        let mut file = File::create(beside)?;
        file.write_all(data)?;
        file.sync_all()?;
        drop(file);
        std::fs::rename(beside, path)
    };
    write().inspect_err(|_| {
        let _ = std::fs::remove_file(beside);
    })?;
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Not every file system lets a folder be opened or synced; the rename itself is done.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// A file of arrays in memory.
#[derive(Debug)]
pub(crate) struct ArrayFile {
    path: String,
    bytes: Vec<u8>,
}

impl ArrayFile {
    pub fn read(path: &Path) -> Result<Self, ParamsError> {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|source| ParamsError::Io { path: name.clone(), source })?;
        let file = Self { path: name, bytes };
        file.tensors()?;
        Ok(file)
    }
    fn tensors(&self) -> Result<SafeTensors<'_>, ParamsError> {
        SafeTensors::deserialize(&self.bytes)
            .map_err(|e| ParamsError::Format { path: self.path.clone(), what: e.to_string() })
    }
    pub fn mismatch(&self, what: String) -> ParamsError {
        ParamsError::Mismatch { path: self.path.clone(), what }
    }
    pub fn names(&self) -> Result<Vec<String>, ParamsError> {
        Ok(self.tensors()?.names().into_iter().map(String::from).collect())
    }
    /// The text beside the arrays.
    pub fn metadata(&self) -> Result<HashMap<String, String>, ParamsError> {
        let (_, m) = SafeTensors::read_metadata(&self.bytes)
            .map_err(|e| ParamsError::Format { path: self.path.clone(), what: e.to_string() })?;
        Ok(m.metadata().clone().unwrap_or_default())
    }
    /// Copies an array of exactly this shape and precision.
    pub fn copy<T: Scalar>(&self, name: &str, shape: &[usize], to: &mut [T]) -> Result<(), ParamsError> {
        let tensors = self.tensors()?;
        let Ok(view) = tensors.tensor(name) else {
            return Err(self.mismatch(format!("parameter {name} is missing")));
        };
        if view.shape() != shape || view.dtype() != dtype::<T>() {
            let (s, d) = (view.shape(), view.dtype());
            let what =
                format!("{name} is {d:?} {s:?} in the file, {:?} {shape:?} in the model", dtype::<T>());
            return Err(self.mismatch(what));
        }
        if size_of::<T>() == 4 {
            for (to, b) in to.iter_mut().zip(view.data().chunks_exact(4)) {
                *to = T::of(f32::from_le_bytes([b[0], b[1], b[2], b[3]]) as f64);
            }
        } else {
            for (to, b) in to.iter_mut().zip(view.data().chunks_exact(8)) {
                *to = T::of(f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]));
            }
        }
        Ok(())
    }
}
