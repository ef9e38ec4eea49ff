//! Lines of a SIF file cut into fields by column (section 1 of the format).

/// One line, padded with blanks to 65 columns, the rest dropped; bytes are Latin-1.
#[derive(Debug, Clone, Copy)]
pub struct Card {
    /// Line number from 1.
    pub line: usize,
    bytes: [u8; Card::WIDTH],
    /// The line had non-blank text past column 65.
    pub overlong: bool,
}

impl Card {
    /// Columns that are read.
    pub const WIDTH: usize = 65;

    /// Cuts a line.
    pub fn new(line: usize, text: &[u8]) -> Self {
        let mut bytes = [b' '; Self::WIDTH];
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let used = text.len().min(Self::WIDTH);
        bytes[..used].copy_from_slice(&text[..used]);
        Self { line, bytes, overlong: text[used..].iter().any(|b| !b.is_ascii_whitespace()) }
    }

    /// Columns `first..=last`, counted from 1.
    pub fn columns(&self, first: usize, last: usize) -> &[u8] {
        &self.bytes[first - 1..last]
    }
    /// Comment line (`*` in column 1).
    pub fn is_comment(&self) -> bool {
        self.bytes[0] == b'*'
    }
    /// Indicator card: column 1 neither blank nor `*`.
    pub fn is_indicator(&self) -> bool {
        self.bytes[0] != b' ' && self.bytes[0] != b'*'
    }
    /// Keyword of an indicator card, columns 1-12, trailing blanks dropped.
    pub fn keyword(&self) -> &[u8] {
        trim_end(self.columns(1, 12))
    }
    /// Field 1, columns 2-3, blanks kept.
    pub fn code(&self) -> [u8; 2] {
        [self.bytes[1], self.bytes[2]]
    }
    /// Field 2, columns 5-14, trailing blanks dropped.
    pub fn field2(&self) -> &[u8] {
        trim_end(self.columns(5, 14))
    }
    /// Field 3, columns 15-24.
    pub fn field3(&self) -> &[u8] {
        trim_end(self.columns(15, 24))
    }
    /// Field 4, columns 25-36: a number.
    pub fn field4(&self) -> &[u8] {
        self.columns(25, 36)
    }
    /// Field 5, columns 40-49.
    pub fn field5(&self) -> &[u8] {
        trim_end(self.columns(40, 49))
    }
    /// Field 6, columns 50-61: a number.
    pub fn field6(&self) -> &[u8] {
        self.columns(50, 61)
    }
    /// Field 7 of the function part, columns 25-65: an expression.
    pub fn field7(&self) -> &[u8] {
        self.columns(25, 65)
    }
}

/// Drops trailing blanks.
pub fn trim_end(text: &[u8]) -> &[u8] {
    let used = text.iter().rposition(|&b| b != b' ').map_or(0, |p| p + 1);
    &text[..used]
}

/// Latin-1 bytes as text, for names and messages.
pub fn latin1(text: &[u8]) -> String {
    text.iter().map(|&b| b as char).collect()
}
