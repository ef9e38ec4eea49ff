//! Predictions for new tables, from a file of weights alone.

use std::path::Path;

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use super::columns::ColumnLoss;
use super::config::Shape;
use super::model::Model;
use crate::data::{Encoder, Table};
use crate::linalg::Scalar;
use crate::nn::Params;
use crate::train::checkpoint;
use crate::train::config::{Precision, SolverConfig};
use crate::train::error::TrainError;

/// Name of the note that goes with the weights.
pub(in crate::train) const NOTE: &str = "supervised";

/// What predictions need besides the parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Recorded {
    pub encoder: Encoder,
    pub loss: ColumnLoss,
    pub shape: Shape,
    /// For models that solve equations.
    pub solver: Option<SolverConfig>,
    pub precision: Precision,
}

/// Columns of predictions.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// Names and values, as many as rows.
    pub columns: Vec<(String, Values)>,
}

/// Of one column.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Numbers in the column's unit, probabilities, ...
    Numbers(Vec<f64>),
    /// Names of classes.
    Texts(Vec<String>),
}

impl Values {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(v) => v.len(),
            Self::Texts(v) => v.len(),
        }
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A trained model with all that it knows of its table.
pub struct Predictor<T> {
    model: Box<dyn Model<T>>,
    params: Params<T>,
    recorded: Recorded,
}

impl<T> std::fmt::Debug for Predictor<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Predictor").field("recorded", &self.recorded).finish_non_exhaustive()
    }
}

fn recorded(path: &Path) -> Result<Recorded, TrainError> {
    let wrong = |what: String| TrainError::Data { path: path.display().to_string(), what };
    let notes = Params::<f64>::read_notes(path)?;
    let text = notes.get(NOTE).ok_or_else(|| {
        wrong("these weights are not of a task of kind \"supervised\": no table can be predicted".into())
    })?;
    serde_json::from_str(text).map_err(|e| wrong(format!("its note {NOTE:?} cannot be read: {e}")))
}

impl<T: Scalar> Predictor<T> {
    /// Of the weights in `final.safetensors`, `best.safetensors` or `checkpoint.safetensors` of a run.
    ///
    /// # Errors
    /// The file cannot be read, or is of another kind of task or precision.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        let recorded = recorded(path)?;
        let solver = recorded.solver.clone().unwrap_or_default();
        let (inputs, outputs) = (recorded.encoder.width(), recorded.loss.standard().outputs());
        let model = recorded.shape.build(inputs, outputs, &solver, &[])?;
        let mut params = Params::new();
        model.add_params(&mut params, &mut StdRng::seed_from_u64(0));
        checkpoint::read_values(path, &mut params)?;
        Ok(Self { model, params, recorded })
    }
    /// The precision of a file's weights.
    ///
    /// # Errors
    /// As for [`Predictor::open`].
    pub fn precision(path: &Path) -> Result<Precision, TrainError> {
        Ok(recorded(path)?.precision)
    }
    /// How columns become numbers.
    pub fn encoder(&self) -> &Encoder {
        &self.recorded.encoder
    }
    /// Predictions for all rows of a table, in their order. The target need not be there.
    ///
    /// # Errors
    /// A column that is not there, an unknown category, a missing value, or a solver that gives up.
    pub fn predict(&mut self, table: &Table) -> Result<Predictions, TrainError> {
        let rows: Vec<usize> = (0..table.rows()).collect();
        let (mut all, mut z) = (vec![], vec![]);
        for rows in rows.chunks(BATCH) {
            let x: Vec<T> = self.recorded.encoder.inputs(table, rows)?.into_iter().map(T::of).collect();
            self.model.predict(&x, self.params.values(), &mut z)?;
            all.extend_from_slice(&z);
        }
        Ok(self.recorded.loss.predictions(&all))
    }
}

/// Rows of one evaluation.
const BATCH: usize = 1024;
