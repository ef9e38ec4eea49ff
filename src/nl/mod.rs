//! AMPL's `.nl` models and `.sol` answers, as Pyomo, JuMP and AMPL write and read them: no AMPL library.
//!
//! A model may be text or binary (of either byte order), compressed by gzip or not. Derivatives are exact and sparse. D. M. Gay, "Writing .nl Files"
//! (Sandia report 2005-7907P) and "Hooking your solver to AMPL" (1997) describe the format.
//!
//! Continuous models are read whole: any objective, ranges, defined variables, conditions, minima and maxima, piecewise-linear terms, network rows
//! (which are linear). Complementarity conditions become products that are to vanish, with variables and constraints behind those of the file
//! ([`NlProblem::file_sizes`]). Integer variables, special ordered sets, logical constraints, imported functions and random variables are refused
//! with a sentence that names them.
//!
//! Signs: a multiplier in a file is the derivative of the optimal value by the right-hand side, in the user's own sense of the objective. With
//! L = f + y'c + z'x of the minimized f (docs/notation.md) it is -y where the user minimizes and y where the user maximizes.
//!
//! ```
//! use costate::nl::{NlOptions, NlProblem};
//! use costate::{observe::Silent, opt};
//!
//! // min (x - 2)^2 with x <= 1.
//! let text = "g3 1 1 0\n 1 0 1 0 0\n 0 1\n 0 0\n 0 1 0\n 0 0 0 1\n 0 0 0 0 0\n 0 1\n 0 0\n 0 0 0 0 0\n\
//!     O0 0\no5\no1\nv0\nn2\nn2\nb\n1 1\n";
//! let mut problem = NlProblem::from_bytes("small.nl", text.as_bytes(), &NlOptions::default())?;
//! let report = opt::solve(&mut problem, &opt::Options::default(), &mut Silent)?;
//! assert!(report.solved() && (report.x[0] - 1.0).abs() < 1e-6 && (report.objective - 1.0).abs() < 1e-6);
//! # Ok::<(), costate::Error>(())
//! ```

mod complement;
mod expression;
mod expression_out;
mod header;
mod output;
mod problem;
mod read;
mod sol;
mod source;
mod write;

pub use crate::error::{NlError, Place};
pub use output::NlFormat;
pub use problem::{NlOptions, NlProblem};
pub use sol::{Answer, SolStatus, answer_path};
pub use write::{NlFile, write};

/// What a suffix belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuffixTarget {
    /// Variables.
    Variable,
    /// Constraints.
    Constraint,
    /// Objectives.
    Objective,
    /// The problem.
    Problem,
}

/// Values of a suffix; those not mentioned are 0.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SuffixValues {
    /// Real numbers, not whole ones.
    pub real: bool,
    /// (index, value).
    pub entries: Vec<(u32, f64)>,
}

/// Numbers by name that a model carries, or an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Suffix {
    /// Name.
    pub name: String,
    /// What the indices are of.
    pub target: SuffixTarget,
    /// The numbers.
    pub values: SuffixValues,
}

fn target(kind: usize) -> SuffixTarget {
    match kind {
        0 => SuffixTarget::Variable,
        1 => SuffixTarget::Constraint,
        2 => SuffixTarget::Objective,
        _ => SuffixTarget::Problem,
    }
}

/// Bytes that look like a model: `g` or `b`, digits, and a second line of three or more numbers.
pub fn looks_like_nl(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|b| *b == b'\n');
    let (first, second) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let numbers = second.split(|b| b.is_ascii_whitespace()).filter(|w| !w.is_empty());
    matches!(first, [b'g' | b'b', b'0'..=b'9', ..]) && numbers.map_while(source::decimal).count() >= 3
}
