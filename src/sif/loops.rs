//! Loops: their cards are compiled once and run when the outermost loop closes.

use super::card::{Card, latin1};
use super::data::DataCard;
use super::key::Key;
use super::operand::NONE;
use super::params::Assign;
use super::store::Store;

/// Deepest nest of loops.
const DEPTH: usize = 3;

/// One step of a loop's body, or of a single card.
#[derive(Debug)]
pub(crate) enum Step {
    Assign(Assign),
    Data(DataCard),
    Do(Do),
    /// End of the loop that begins at this step.
    End(usize),
}

/// A DO card.
#[derive(Debug)]
pub(crate) struct Do {
    /// Integer parameters.
    variable: u32,
    from: u32,
    to: u32,
    by: u32,
    /// Step after the loop.
    exit: usize,
}

/// The loop that is being recorded.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    steps: Vec<Step>,
    lines: Vec<u32>,
    open: Vec<usize>,
    /// The card before was DO.
    fresh: bool,
}

/// A fault while running: its line and what happened, with the values of the loop indices.
pub(crate) struct Fault {
    pub line: usize,
    pub what: String,
}

impl Recorder {
    /// A loop is open.
    pub fn is_open(&self) -> bool {
        !self.open.is_empty()
    }
    /// Names of the open loops, for messages.
    pub fn open_loops(&self, store: &Store) -> String {
        let name = |&at: &usize| match &self.steps[at] {
            Step::Do(card) => format!("`{}` (line {})", store.integers.name(card.variable), self.lines[at]),
            _ => String::new(),
        };
        self.open.iter().map(name).collect::<Vec<_>>().join(", ")
    }
    /// Appends a card.
    pub fn push(&mut self, line: usize, step: Step) {
        self.steps.push(step);
        self.lines.push(line as u32);
        self.fresh = false;
    }
    /// A card without effect stood here.
    pub fn touch(&mut self) {
        self.fresh = false;
    }

    /// DO: opens a loop.
    pub fn begin(&mut self, card: &Card, store: &mut Store) -> Result<(), String> {
        if self.open.len() == DEPTH {
            return Err(format!(
                "DO inside {}, expected at most {DEPTH} nested loops",
                self.open_loops(store)
            ));
        }
        let mut slot = |field: &[u8]| store.integers.slot(Key::new(field));
        let (variable, from, to) = (slot(card.field2()), slot(card.field3()), slot(card.field5()));
        self.open.push(self.steps.len());
        self.push(card.line, Step::Do(Do { variable, from, to, by: NONE, exit: 0 }));
        self.fresh = true;
        Ok(())
    }

    /// DI: increment of the loop just opened.
    pub fn increment(&mut self, card: &Card, store: &mut Store) -> Result<(), String> {
        let by = store.integers.slot(Key::new(card.field3()));
        let variable = store.integers.slot(Key::new(card.field2()));
        match (self.fresh, self.steps.last_mut()) {
            (true, Some(Step::Do(open))) if open.variable == variable => open.by = by,
            _ => {
                let name = latin1(card.field2());
                return Err(format!("DI of `{name}`, expected it right after a DO card of the same name"));
            }
        }
        self.fresh = false;
        Ok(())
    }

    /// OD: closes the innermost loop and returns its index's name.
    pub fn end(&mut self, line: usize, store: &Store) -> Result<String, String> {
        let Some(start) = self.open.pop() else {
            return Err("OD or ND without a DO card before".to_string());
        };
        self.push(line, Step::End(start));
        let exit = self.steps.len();
        match &mut self.steps[start] {
            Step::Do(card) => {
                card.exit = exit;
                Ok(store.integers.name(card.variable))
            }
            _ => Ok(String::new()),
        }
    }

    /// ND: closes all loops.
    pub fn end_all(&mut self, line: usize, store: &Store) -> Result<(), String> {
        self.end(line, store)?;
        while self.is_open() {
            self.end(line, store)?;
        }
        Ok(())
    }

    /// Runs what was recorded and forgets it.
    pub fn run(&mut self, store: &mut Store) -> Result<(), Fault> {
        let mut frames = Frames::default();
        let mut at = 0;
        while let Some(step) = self.steps.get(at) {
            match self.step(at, step, &mut frames, store) {
                Ok(next) => at = next,
                Err(what) => {
                    let what = what + &frames.values(store);
                    return Err(Fault { line: self.lines[at] as usize, what });
                }
            }
        }
        self.steps.clear();
        self.lines.clear();
        store.operands.clear();
        Ok(())
    }

    /// Runs one step, returns the next.
    #[inline]
    fn step(&self, at: usize, step: &Step, frames: &mut Frames, store: &mut Store) -> Result<usize, String> {
        if store.limits.cards == 0 {
            return Err("this loop runs too many cards, the file is refused".to_string());
        }
        store.limits.cards -= 1;
        match step {
            Step::Assign(card) => run_assign(card, store).map(|()| at + 1),
            Step::Data(card) => store.run(card).map(|()| at + 1),
            Step::Do(card) => {
                let (from, to) = (store.integers.get(card.from)?, store.integers.get(card.to)?);
                let by = if card.by == NONE { 1 } else { store.integers.get(card.by)? };
                if by == 0 {
                    return Err(format!(
                        "the loop over `{}` has increment 0",
                        store.integers.name(card.variable)
                    ));
                }
                if !inside(from, to, by) {
                    return Ok(card.exit);
                }
                store.integers.set(card.variable, from);
                frames.push(Frame { variable: card.variable, to, by });
                Ok(at + 1)
            }
            Step::End(start) => {
                let Some(frame) = frames.last() else { return Ok(at + 1) };
                let next = store.integers.get(frame.variable)?.checked_add(frame.by);
                match next.filter(|&k| inside(k, frame.to, frame.by)) {
                    Some(k) => {
                        store.integers.set(frame.variable, k);
                        Ok(start + 1)
                    }
                    None => {
                        frames.pop();
                        Ok(at + 1)
                    }
                }
            }
        }
    }
}

/// Runs a parameter card.
#[inline]
pub(crate) fn run_assign(card: &Assign, store: &mut Store) -> Result<(), String> {
    match card {
        Assign::Integer(card) => card.run(&mut store.integers, &mut store.operands, &store.reals),
        Assign::Real(card) => {
            let before = store.reals.len();
            card.run(&store.integers, &mut store.operands, &mut store.reals)?;
            store.room(4 * (store.reals.len() - before) as u64)
        }
    }
}

fn inside(k: i32, to: i32, by: i32) -> bool {
    if by > 0 { k <= to } else { k >= to }
}

#[derive(Debug, Clone, Copy, Default)]
struct Frame {
    variable: u32,
    to: i32,
    by: i32,
}

/// Running loops, outermost first.
#[derive(Debug, Default)]
struct Frames {
    frames: [Frame; DEPTH],
    depth: usize,
}

impl Frames {
    fn push(&mut self, frame: Frame) {
        if self.depth < DEPTH {
            self.frames[self.depth] = frame;
            self.depth += 1;
        }
    }
    fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }
    fn last(&self) -> Option<Frame> {
        self.depth.checked_sub(1).map(|k| self.frames[k])
    }
    /// ` (in the loop with I = 3, J = 4)`.
    fn values(&self, store: &Store) -> String {
        if self.depth == 0 {
            return String::new();
        }
        let value = |f: &Frame| {
            let value = store.integers.get(f.variable).unwrap_or_default();
            format!("{} = {value}", store.integers.name(f.variable))
        };
        format!(
            " (in the loop with {})",
            self.frames[..self.depth].iter().map(value).collect::<Vec<_>>().join(", ")
        )
    }
}
