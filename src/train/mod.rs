//! Training neural differential equations that are cheap to solve.
//!
//! ```text
//! min over p of  mean over batches of  data loss(u(t1), u(t_i)) + sum of weight(epoch) x penalty
//! ```
//!
//! where u solves du/dt = f(t, u, p) by an adaptive solver, and penalties are made of the solver's own heuristics ([`Penalty`]) or are
//! taken along the path. Gradients are those of the frozen-step program.
//!
//! | to do | with |
//! |---|---|
//! | one gradient | [`Pass::run`] |
//! | optimize | [`Optimizer`], [`OptimizerConfig`], [`Schedule`], [`clip_norm`] |
//! | a whole run | [`train`] on a [`Task`] ([`SpiralOde`], [`MnistOde`], [`SpiralSde`], [`MnistSde`], [`LatentOde`], [`Supervised`] on any table, [`Trajectories`] on series, or your own), with a [`State`] |
//! | go on after an interruption | [`checkpoint::write`], [`checkpoint::read`]: same bits as without |
//! | see what a run is doing | [`Watched`], `[diagnose]` |
//! | predict from weights alone | [`predict`], `costate predict` |
//! | all of it from a file | [`Config`], and the command `costate train` |
//!
//! Randomness: every choice depends on the seed, its purpose and the step, never on the number of threads or on what happened before.

mod any_method;
pub mod checkpoint;
pub mod config;
pub mod data;
mod digits;
mod error;
mod find_rate;
mod latent;
mod mnist;
mod mnist_sde;
pub mod optim;
mod pass;
mod path;
mod penalty;
mod predict;
mod recipe;
pub mod residual;
mod schedule;
pub mod series;
mod size;
mod slope;
mod spiral;
mod spiral_sde;
pub mod supervised;
mod task;
mod trainer;
pub mod trajectories;
mod watched;

pub use any_method::{AnyIntegrator, AnyMethod, AnyPass};
pub use config::Config;
pub use error::TrainError;
pub use find_rate::{RateCurve, RateSearch, find_rate};
pub use latent::{LatentOde, LatentOdeConfig};
pub use mnist::{MnistOde, MnistOdeConfig};
pub use mnist_sde::{MnistSde, MnistSdeConfig};
pub use optim::{Facts, Needs, Optimizer, OptimizerConfig, OptimizerKind, clip_norm};
pub use pass::{Guide, Loss, LossBars, Noisy, Pass, PassStats, Problem, Smooth, Trainable};
pub use path::{PathPenalty, PathPoint, PathTerm};
pub use penalty::{Penalty, Scope};
pub use predict::predict;
pub use recipe::{Need, Recipe};
pub use residual::ResidualTask;
pub use schedule::{Progress, Schedule};
pub use spiral::{SpiralOde, SpiralOdeConfig};
pub use spiral_sde::{SpiralSde, SpiralSdeConfig, moment_loss};
pub use supervised::{Supervised, SupervisedConfig};
pub use task::{Confusion, Curve, Evaluation, Plot, Split, Task};
pub use trainer::{State, StepRecord, TrainEvent, TrainObserver, TrainStop, train};
pub use trajectories::{SeriesConfig, Trajectories};
pub use watched::{DiagnoseConfig, Diagnosis, OpposingConfig, Watched};
