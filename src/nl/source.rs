//! Tokens of a .nl file, as text or binary, with the place of every fault.

use super::{NlError, Place};

/// How the segments are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Binary {
        /// The other byte order than this machine's.
        swapped: bool,
    },
}

/// The bytes behind the header.
#[derive(Debug)]
pub(super) struct Source<'a> {
    file: &'a str,
    bytes: &'a [u8],
    at: usize,
    line: usize,
    form: Form,
}

/// Powers of ten that are exact.
const TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

impl<'a> Source<'a> {
    /// `at`: first byte of the segments, on line `line`, counted from 1.
    pub fn new(file: &'a str, bytes: &'a [u8], (at, line): (usize, usize), form: Form) -> Self {
        Self { file, bytes, at, line, form }
    }
    /// An error here.
    pub fn fault<T>(&self, what: impl Into<String>) -> Result<T, NlError> {
        let place = if self.form == Form::Text { Place::Line(self.line) } else { Place::Byte(self.at) };
        Err(NlError { file: self.file.to_string(), place, what: what.into() })
    }
    /// Bytes that are left.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }
    /// Lines so far, or bytes.
    pub fn is_text(&self) -> bool {
        self.form == Form::Text
    }

    /// Blanks, line ends and comments.
    fn skip(&mut self) {
        while let Some(&b) = self.bytes.get(self.at) {
            match b {
                b'\n' => self.line += 1,
                b' ' | b'\t' | b'\r' => {}
                b'#' => {
                    while self.bytes.get(self.at + 1).is_some_and(|b| *b != b'\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
            self.at += 1;
        }
    }

    /// The next letter; nothing at the end of the file.
    pub fn letter(&mut self) -> Option<u8> {
        if self.is_text() {
            self.skip();
        }
        let letter = self.bytes.get(self.at).copied();
        self.at += usize::from(letter.is_some());
        letter
    }

    /// The next word of a text.
    fn word(&mut self, expected: &str) -> Result<&'a [u8], NlError> {
        self.skip();
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|b| b.is_ascii_whitespace() || *b == b'#').unwrap_or(rest.len());
        if len == 0 {
            return self.fault(format!("the file ends, expected {expected}"));
        }
        self.at += len;
        Ok(&rest[..len])
    }

    fn raw<const N: usize>(&mut self, expected: &str) -> Result<[u8; N], NlError> {
        let Some(bytes) = self.bytes.get(self.at..self.at + N).and_then(|b| <[u8; N]>::try_from(b).ok())
        else {
            return self.fault(format!("the file ends, expected {expected}"));
        };
        self.at += N;
        let mut bytes = bytes;
        if self.form == (Form::Binary { swapped: true }) {
            bytes.reverse();
        }
        Ok(bytes)
    }

    /// A whole number.
    pub fn int(&mut self, expected: &str) -> Result<i64, NlError> {
        if !self.is_text() {
            return Ok(i64::from(i32::from_ne_bytes(self.raw(expected)?)));
        }
        let word = self.word(expected)?;
        match whole(word) {
            Some(value) => Ok(value),
            None => self.fault(format!("found `{}`, expected {expected}", shown(word))),
        }
    }
    /// A whole number below `end`.
    pub fn index(&mut self, end: usize, what: &str) -> Result<usize, NlError> {
        let value = self.int(what)?;
        match usize::try_from(value) {
            Ok(k) if k < end => Ok(k),
            _ => self.fault(format!("{what} is {value}, expected 0 to {}", end as i64 - 1)),
        }
    }
    /// How many records of at least `each` bytes follow: no more than there is room for.
    pub fn count(&mut self, what: &str, each: usize) -> Result<usize, NlError> {
        let value = self.int(what)?;
        match usize::try_from(value) {
            Ok(k) if k <= self.left() / each + 1 => Ok(k),
            _ => self.fault(format!("{what} is {value}, which the rest of the file has no room for")),
        }
    }
    /// A 16-bit whole number of a binary file.
    pub fn short(&mut self) -> Result<f64, NlError> {
        if self.is_text() {
            return self.real("a number");
        }
        Ok(f64::from(i16::from_ne_bytes(self.raw("a number")?)))
    }
    /// A real number, no NaN.
    pub fn real(&mut self, expected: &str) -> Result<f64, NlError> {
        let value = if self.is_text() {
            let word = self.word(expected)?;
            match decimal(word) {
                Some(value) => value,
                None => return self.fault(format!("found `{}`, expected {expected}", shown(word))),
            }
        } else {
            f64::from_ne_bytes(self.raw(expected)?)
        };
        if value.is_nan() { self.fault(format!("found NaN, expected {expected}")) } else { Ok(value) }
    }
    /// One byte of a binary file, a word of one character in a text: the kind of a bound.
    pub fn kind(&mut self) -> Result<u8, NlError> {
        if !self.is_text() {
            return Ok(self.raw::<1>("the kind of a bound")?[0]);
        }
        let word = self.word("the kind of a bound")?;
        match word {
            [kind] => Ok(*kind),
            _ => self.fault(format!("found `{}`, expected the kind of a bound, 0 to 5", shown(word))),
        }
    }
    /// A name.
    pub fn name(&mut self) -> Result<String, NlError> {
        if self.is_text() {
            return Ok(shown(self.word("a name")?));
        }
        let len = self.count("the length of a name", 1)?;
        self.text(len)
    }
    /// `h` strings: so many bytes behind a colon, line breaks included.
    pub fn string(&mut self) -> Result<String, NlError> {
        if !self.is_text() {
            return self.name();
        }
        self.skip();
        let rest = &self.bytes[self.at..];
        let digits = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
        let len = whole(&rest[..digits]).filter(|_| rest.get(digits) == Some(&b':'));
        match len {
            Some(len) if (len as usize) < rest.len() - digits => {
                self.at += digits + 1;
                self.text(len as usize)
            }
            _ => self.fault("expected a text as LENGTH:CHARACTERS"),
        }
    }
    fn text(&mut self, len: usize) -> Result<String, NlError> {
        let Some(bytes) = self.bytes.get(self.at..self.at + len) else {
            return self.fault("the file ends within a text");
        };
        self.at += len;
        self.line += bytes.iter().filter(|b| **b == b'\n').count();
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}

/// A word as it is quoted in a message.
pub(super) fn shown(word: &[u8]) -> String {
    const MOST: usize = 40;
    let text: String = String::from_utf8_lossy(&word[..word.len().min(MOST)]).escape_default().to_string();
    if word.len() > MOST { text + "..." } else { text }
}

/// An integer, a sign allowed; a whole number written as a real one, too.
fn whole(word: &[u8]) -> Option<i64> {
    let digits = word.strip_prefix(b"-").or(word.strip_prefix(b"+")).unwrap_or(word);
    if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
        return decimal(word).filter(|v| v.trunc() == *v && v.abs() < 1e15).map(|v| v as i64);
    }
    let value = digits.iter().fold(0i64, |v, d| 10 * v + i64::from(d - b'0'));
    Some(if word[0] == b'-' { -value } else { value })
}

/// A number as C reads it. Short ones directly: a whole number below 2^53 over a power of ten up to 10^22 is rounded once.
pub(super) fn decimal(word: &[u8]) -> Option<f64> {
    let (negative, digits) = match word.first()? {
        b'-' => (true, &word[1..]),
        b'+' => (false, &word[1..]),
        _ => (false, word),
    };
    let (mut value, mut behind, mut point) = (0u64, 0usize, false);
    if digits.len() <= 16 && digits.first().is_some_and(|b| b.is_ascii_digit()) {
        let all = digits.iter().all(|&b| {
            let is_point = b == b'.' && !point;
            point |= is_point;
            if b.is_ascii_digit() {
                value = 10 * value + u64::from(b - b'0');
                behind += usize::from(point);
            }
            b.is_ascii_digit() || is_point
        });
        if all && value < 1 << 53 {
            let value = value as f64 / TENS[behind];
            return Some(if negative { -value } else { value });
        }
    }
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_as_c_reads_them() {
        for (text, value) in [
            ("5", 5.0),
            ("-.5", -0.5),
            ("1.e0", 1.0),
            ("1E+5", 1e5),
            ("+3.25", 3.25),
            ("0.1", 0.1),
            ("1234567.89", 1234567.89),
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("-0", -0.0),
        ] {
            assert_eq!(decimal(text.as_bytes()).map(f64::to_bits), Some(f64::to_bits(value)), "{text}");
        }
        for text in ["1.2x5", "", "-", "1.2.3", ".", "0x10", "1e"] {
            assert_eq!(decimal(text.as_bytes()), None, "{text}");
        }
        assert_eq!(
            (whole(b"12"), whole(b"-7"), whole(b"3.0"), whole(b"3.5")),
            (Some(12), Some(-7), Some(3), None)
        );
    }

    proptest! {
        #[test]
        fn short_numbers_are_rounded_as_the_library_does(whole in 0u64..100_000_000, behind in 0u64..10_000_000) {
            let text = format!("{whole}.{behind}");
            prop_assert_eq!(decimal(text.as_bytes()), text.parse::<f64>().ok());
        }
    }
}
