//! Requirements of a criterion, each met, failed or not measured.

use serde::Serialize;

/// What becomes of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// Every requirement is met.
    #[serde(rename = "holds")]
    Holds,
    /// A requirement fails.
    #[serde(rename = "does not hold at this scale")]
    DoesNotHold,
    /// None fails, but something was not measured.
    #[serde(rename = "cannot be decided")]
    CannotBeDecided,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Holds => "holds",
            Self::DoesNotHold => "does not hold at this scale",
            Self::CannotBeDecided => "cannot be decided",
        })
    }
}

/// One requirement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// What was required, and what was measured.
    pub what: String,
    /// Whether it is met; nothing if it was not measured.
    pub met: Option<bool>,
}

/// The findings on a table; what is made of them is the verdict.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Judgment {
    /// One a requirement.
    pub findings: Vec<Finding>,
}

impl Judgment {
    /// Nothing required yet.
    pub fn new() -> Self {
        Self::default()
    }
    /// A requirement on a number. A number that is NaN was measured, and meets nothing; `None` was not measured.
    #[must_use]
    pub fn require(mut self, what: &str, value: Option<f64>, must: &str, met: impl Fn(f64) -> bool) -> Self {
        let what = match value {
            Some(v) => format!("{what}: {}, required {must}", super::table::short(v)),
            None => format!("{what}: not measured, required {must}"),
        };
        self.findings.push(Finding { what, met: value.map(met) });
        self
    }
    /// value >= least.
    #[must_use]
    pub fn at_least(self, what: &str, value: Option<f64>, least: f64) -> Self {
        self.require(what, value, &format!("at least {}", super::table::short(least)), |v| v >= least)
    }
    /// value <= most.
    #[must_use]
    pub fn at_most(self, what: &str, value: Option<f64>, most: f64) -> Self {
        self.require(what, value, &format!("at most {}", super::table::short(most)), |v| v <= most)
    }
    /// Something that was not measured, and why.
    #[must_use]
    pub fn undecided(mut self, why: &str) -> Self {
        self.findings.push(Finding { what: why.into(), met: None });
        self
    }
    /// One failure is enough; without one, everything must be measured.
    pub fn verdict(&self) -> Verdict {
        if self.findings.iter().any(|f| f.met == Some(false)) {
            Verdict::DoesNotHold
        } else if self.findings.is_empty() || self.findings.iter().any(|f| f.met.is_none()) {
            Verdict::CannotBeDecided
        } else {
            Verdict::Holds
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_decides_and_a_gap_leaves_it_open() {
        let met = || Judgment::new().at_least("a", Some(2.0), 1.0);
        assert_eq!(Judgment::new().verdict(), Verdict::CannotBeDecided);
        assert_eq!(met().verdict(), Verdict::Holds);
        assert_eq!(met().at_most("b", Some(2.0), 1.0).verdict(), Verdict::DoesNotHold);
        assert_eq!(met().at_most("b", None, 1.0).verdict(), Verdict::CannotBeDecided);
        assert_eq!(
            met().at_most("b", None, 1.0).at_most("c", Some(3.0), 1.0).verdict(),
            Verdict::DoesNotHold
        );
        assert_eq!(met().undecided("no files").verdict(), Verdict::CannotBeDecided);
        // Equality is enough; NaN never is.
        assert_eq!(
            met().at_least("b", Some(1.0), 1.0).at_most("c", Some(1.0), 1.0).verdict(),
            Verdict::Holds
        );
        assert_eq!(met().at_most("b", Some(f64::NAN), 1.0).verdict(), Verdict::DoesNotHold);
        assert_eq!(met().at_least("b", Some(f64::NAN), 1.0).verdict(), Verdict::DoesNotHold);
        assert_eq!(met().findings[0].what, "a: 2, required at least 1");
    }
}
