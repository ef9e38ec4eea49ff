//! Tokens, as text or binary.

use crate::nlp::INFINITE_BOUND;

/// How a model is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NlFormat {
    /// One token a line.
    #[default]
    Text,
    /// This machine's numbers.
    Binary,
}

/// Bytes of a file.
#[derive(Debug)]
pub(super) struct Output {
    bytes: Vec<u8>,
    format: NlFormat,
}

impl Output {
    pub fn new(format: NlFormat) -> Self {
        Self { bytes: Vec::new(), format }
    }
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
    /// A line of the header.
    pub fn line(&mut self, text: &str) {
        self.bytes(text.as_bytes());
        self.bytes.push(b'\n');
    }
    /// A whole number of its own.
    pub fn int(&mut self, value: i64) {
        match self.format {
            NlFormat::Text => self.line(&value.to_string()),
            NlFormat::Binary => self.bytes(&(value as i32).to_ne_bytes()),
        }
    }
    /// The beginning of a segment.
    pub fn segment(&mut self, letter: char, numbers: &[i64]) {
        match self.format {
            NlFormat::Text => {
                let words: Vec<String> = numbers.iter().map(i64::to_string).collect();
                self.line(&format!("{letter}{}", words.join(" ")));
            }
            NlFormat::Binary => {
                self.bytes.push(letter as u8);
                numbers.iter().for_each(|&v| self.int(v));
            }
        }
    }
    /// Index and value.
    pub fn entry(&mut self, index: u32, value: f64) {
        match self.format {
            NlFormat::Text => self.line(&format!("{index} {}", shortest(value))),
            NlFormat::Binary => {
                self.int(i64::from(index));
                self.bytes(&value.to_ne_bytes());
            }
        }
    }
    pub fn operation(&mut self, code: i64) {
        self.segment('o', &[code]);
    }
    pub fn variable(&mut self, number: u32) {
        self.segment('v', &[i64::from(number)]);
    }
    /// A constant; no number is 0 / 0, as readers do not take NaN.
    pub fn number(&mut self, value: f64) {
        if value.is_nan() {
            self.operation(3);
            self.number(0.0);
            return self.number(0.0);
        }
        match self.format {
            NlFormat::Text => self.line(&format!("n{}", shortest(value))),
            NlFormat::Binary => {
                self.bytes.push(b'n');
                self.bytes(&value.to_ne_bytes());
            }
        }
    }
    /// Lower and upper bound of a variable or row.
    pub fn bounds(&mut self, lower: f64, upper: f64) {
        let (below, above) = (lower > -INFINITE_BOUND, upper < INFINITE_BOUND);
        let (kind, values): (u8, &[f64]) = match (below, above) {
            _ if lower == upper => (4, &[lower]),
            (true, true) => (0, &[lower, upper]),
            (false, true) => (1, &[upper]),
            (true, false) => (2, &[lower]),
            (false, false) => (3, &[]),
        };
        match self.format {
            NlFormat::Text => {
                let words: Vec<String> = values.iter().map(|v| format!(" {}", shortest(*v))).collect();
                self.line(&format!("{kind}{}", words.concat()));
            }
            NlFormat::Binary => {
                self.bytes.push(b'0' + kind);
                values.iter().for_each(|v| self.bytes(&v.to_ne_bytes()));
            }
        }
    }
}

/// The shortest text that reads back to the same bits.
fn shortest(value: f64) -> String {
    if value.trunc() == value && value.abs() < 1e15 { format!("{value:.0}") } else { format!("{value:?}") }
}
