//! Remarks, repeated ones counted.

use super::SifWarning;

/// Kinds of remarks: of each kind only the first few are kept.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Remark {
    TruncatedName,
    Repair,
    ParameterValue,
    TextAfterIndices,
    CutNumber,
    LoopName,
    KindChange,
    IntegerVariable,
    SeveralSets,
    Range,
    BoundsCross,
    CreatedVariable,
    UnusedElement,
    InertCard,
    LongLine,
}

/// Kept remarks of one kind.
const KEPT: usize = 3;
const KINDS: usize = Remark::LongLine as usize + 1;

/// Collects remarks.
#[derive(Debug, Default)]
pub(crate) struct Remarks {
    kept: Vec<SifWarning>,
    count: [usize; KINDS],
    last_line: [usize; KINDS],
}

impl Remarks {
    /// Adds a remark; the text is made only if it is kept.
    pub fn add(&mut self, kind: Remark, line: usize, what: impl FnOnce() -> String) {
        let k = kind as usize;
        self.count[k] += 1;
        self.last_line[k] = line;
        if self.count[k] <= KEPT {
            self.kept.push(SifWarning { line, what: what() });
        }
    }
    /// All remarks; the repeated ones as a count.
    pub fn finish(mut self) -> Vec<SifWarning> {
        for k in 0..KINDS {
            if self.count[k] > KEPT {
                let what = format!("{} more remarks of this kind: {}", self.count[k] - KEPT, describe(k));
                self.kept.push(SifWarning { line: self.last_line[k], what });
            }
        }
        self.kept
    }
}

fn describe(kind: usize) -> &'static str {
    [
        "problem name cut",
        "repaired line",
        "unlisted parameter value",
        "text after `)` dropped",
        "number cut at the end of its field",
        "OD names another loop",
        "group mentioned again with another kind",
        "integer variable treated as continuous",
        "several data sets",
        "range without effect or negative",
        "lower bound above upper bound",
        "variable created in ELEMENT USES",
        "unused element",
        "card without effect",
        "text past column 65",
    ]
    .get(kind)
    .copied()
    .unwrap_or_default()
}
