//! Training neural differential equations that are cheap to solve.

mod error;
mod optimizer;
mod pass;
mod path;
mod schedule;

pub use error::TrainError;
pub use optimizer::{Optimizer, OptimizerConfig, clip_norm};
pub use pass::{LossBars, OdePass, PassStats, Penalty, Problem, Scope};
pub use path::{PathPenalty, PathTerm};
pub use schedule::{Progress, Schedule};
