//! What an observer hears.

use std::fmt;
use std::ops::ControlFlow;

use super::budget::Over;
use crate::observe::{Event, Header, IterationRow, Observer};

/// The user's observer.
pub(super) struct Watch<'a> {
    observer: &'a mut dyn Observer,
}

impl<'a> Watch<'a> {
    pub fn new(observer: &'a mut dyn Observer) -> Self {
        Self { observer }
    }

    fn tell(&mut self, event: &Event<'_>) -> Result<(), Over> {
        match self.observer.event(event) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Over::Interrupted),
        }
    }

    /// The solve begins.
    pub fn start(&mut self, header: &Header) -> Result<(), Over> {
        self.tell(&Event::Start(header))
    }

    /// An iteration ended; an observer that breaks ends the solve.
    pub fn iteration(&mut self, row: &IterationRow) -> Result<(), Over> {
        self.tell(&Event::Iteration(row))
    }

    /// A remark in words.
    pub fn note(&mut self, text: fmt::Arguments<'_>) {
        let _ = self.observer.event(&Event::Note { text: &text.to_string() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_break_is_an_interrupt() {
        let mut heard = Vec::new();
        let mut observer = |event: &Event<'_>| match event {
            Event::Note { text } => {
                heard.push(text.to_string());
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Break(()),
        };
        let mut watch = Watch::new(&mut observer);
        watch.note(format_args!("{} of {}", 1, 2));
        assert_eq!(watch.iteration(&IterationRow::default()), Err(Over::Interrupted));
        assert_eq!(watch.start(&Header::default()), Err(Over::Interrupted));
        assert_eq!(heard, ["1 of 2"]);
    }
}
