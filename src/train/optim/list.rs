//! The kinds of optimizers: a new one is one file, with an [`OptimizerKind`], and one row of the list in this one.

use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Optimizer;
use crate::linalg::Scalar;
use crate::nn::Entry;

/// The constants of a kind of optimizer, as its `[optimizer]` section holds them, and how it is made of them.
pub trait OptimizerKind: Debug + Clone + PartialEq + Default + Serialize + DeserializeOwned {
    /// What is wrong with the constants, if anything: one sentence that names the key, its value, and what was expected.
    fn problem(&self) -> Option<String>;
    /// What it needs of a task.
    fn needs(&self) -> Needs {
        Needs::Gradient
    }
    /// For parameters of these names and shapes, one after another; those that treat all numbers alike look at their count only ([`count_of`](super::count_of)).
    fn build<T: Scalar>(&self, entries: &[Entry]) -> Box<dyn Optimizer<T>>;
}

/// What an optimizer works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// The gradient of the loss, which every task has.
    Gradient,
    /// Residuals whose squares are the loss, and their derivatives: [`Optimizer::by_residuals`].
    Residuals,
    /// The inputs of layers besides the gradient: [`Optimizer::by_inputs`].
    LayerInputs,
}

macro_rules! optimizers {
    ($($(#[$doc:meta])* $kind:ident = $name:literal: $config:ty,)*) => {
        /// Which optimizer, with its constants; the learning rate is a [`Schedule`](crate::train::Schedule) apart from it.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind")]
        pub enum OptimizerConfig {
            $($(#[$doc])* #[serde(rename = $name)] $kind($config),)*
        }

        $(impl From<$config> for OptimizerConfig {
            fn from(config: $config) -> Self {
                Self::$kind(config)
            }
        })*

        impl OptimizerConfig {
            /// All kinds, each with its default constants.
            pub fn every() -> Vec<Self> {
                vec![$(Self::$kind(<$config>::default()),)*]
            }
            /// Its name in a configuration.
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$kind(_) => $name,)*
                }
            }
            /// What it needs of a task.
            pub fn needs(&self) -> Needs {
                match self {
                    $(Self::$kind(config) => config.needs(),)*
                }
            }
            /// What is wrong with the constants, if anything.
            pub fn problem(&self) -> Option<String> {
                match self {
                    $(Self::$kind(config) => config.problem(),)*
                }
            }
            /// For parameters of these names and shapes.
            pub fn build<T: Scalar>(&self, entries: &[Entry]) -> Box<dyn Optimizer<T>> {
                match self {
                    $(Self::$kind(config) => config.build(entries),)*
                }
            }
        }
    };
}

optimizers! {
    /// Gradient descent with momentum.
    Sgd = "sgd": super::sgd::SgdConfig,
    /// Kingma and Ba 2015.
    Adam = "adam": super::adam::AdamConfig,
    /// Adam with decoupled weight decay.
    AdamW = "adamw": super::adamw::AdamWConfig,
    /// Adam with the running maximum in place of the second moment.
    AdaMax = "adamax": super::adamax::AdaMaxConfig,
    /// Adam with the variance about the first moment in place of the second moment.
    AdaBelief = "adabelief": super::adabelief::AdaBeliefConfig,
    /// Steps of one size, by the sign of a momentum.
    Lion = "lion": super::lion::LionConfig,
    /// Gradient descent whose momentum sets itself.
    Am = "am": super::am::AmConfig,
    /// AdamW whose first momentum sets itself.
    AmAdamW = "am_adamw": super::am_adamw::AmAdamWConfig,
    /// A preconditioner for each side of a matrix.
    Shampoo = "shampoo": super::shampoo::ShampooConfig,
    /// Orthogonalized momentum for matrices.
    Muon = "muon": super::muon::MuonConfig,
    /// The least change of parameters that meets all residuals.
    Sven = "sven": super::sven::SvenConfig,
    /// Proximal steps of layers.
    Dgd = "dgd": super::dgd::DgdConfig,
    /// A momentum that forgets along the gradient.
    DeltaMomentum = "delta_momentum": super::delta_momentum::DeltaMomentumConfig,
    /// A momentum that is a small network.
    DeepMomentum = "deep_momentum": super::deep_momentum::DeepMomentumConfig,
    /// Momenta at two time scales.
    M3 = "m3": super::m3::M3Config,
}
