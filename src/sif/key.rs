//! Names of at most ten characters as numbers, and tables of them.

use super::card::{latin1, trim_end};

/// A name packed into one number: byte k of the name is byte k, the length is byte 15.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key(u128);

impl Key {
    /// Longest name.
    pub const MAX: usize = 10;

    /// Packs a name; trailing blanks and what follows ten characters are dropped.
    pub fn new(text: &[u8]) -> Self {
        Self::exact(trim_end(&text[..text.len().min(Self::MAX)]))
    }
    /// Packs at most ten characters as they are, to append numbers to.
    pub fn exact(text: &[u8]) -> Self {
        let text = &text[..text.len().min(Self::MAX)];
        let mut bytes = [0; 16];
        bytes[..text.len()].copy_from_slice(text);
        bytes[15] = text.len() as u8;
        Self(u128::from_le_bytes(bytes))
    }
    /// Appends a decimal number, after a comma if wanted; `None`: that makes more than ten characters.
    #[inline]
    pub fn append(self, comma: bool, value: i32) -> Option<Self> {
        let mut rest = value.unsigned_abs();
        let (mut text, mut count) = (0u128, 0);
        loop {
            text = text << 8 | (b'0' as u32 + rest % 10) as u128;
            rest /= 10;
            count += 1;
            if rest == 0 {
                break;
            }
        }
        if value < 0 {
            text = text << 8 | b'-' as u128;
            count += 1;
        }
        if comma {
            text = text << 8 | b',' as u128;
            count += 1;
        }
        let len = (self.0 >> 120) as usize;
        let bits = self.0 | text << (8 * len);
        (len + count <= Self::MAX).then(|| Self(bits + ((count as u128) << 120)))
    }
    /// Marks the key with a small number, for tables that keep several kinds apart.
    pub fn tagged(self, tag: u8) -> Self {
        Self(self.0 | (tag as u128) << 112)
    }
    /// The name's bytes and how many they are.
    pub fn bytes(self) -> ([u8; 16], usize) {
        let bytes = self.0.to_le_bytes();
        (bytes, (bytes[15] as usize).min(Self::MAX))
    }
    /// The name as text.
    pub fn text(self) -> String {
        let (bytes, len) = self.bytes();
        latin1(&bytes[..len])
    }
    /// Folded 128-bit product of the two halves.
    fn hash(self) -> u64 {
        let low = self.0 as u64 ^ 0x9e37_79b9_7f4a_7c15;
        let high = (self.0 >> 64) as u64 ^ 0xd1b5_4a32_d192_ed03;
        let product = low as u128 * high as u128;
        (product as u64) ^ (product >> 64) as u64
    }
}

/// Distinct keys numbered from 0 in the order of creation.
#[derive(Debug, Default)]
pub(crate) struct Table {
    keys: Vec<Key>,
    /// Open addressing, a power of two long: 0 free, else upper hash bits and number + 1.
    slots: Vec<u64>,
}

impl Table {
    /// Number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }
    /// Key k.
    pub fn key(&self, k: u32) -> Key {
        self.keys[k as usize]
    }
    /// All keys in order.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }
    /// Forgets all keys.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.slots.fill(0);
    }
    /// Number of a key; `guess` is tried first.
    pub fn find(&self, key: Key, guess: u32) -> Option<u32> {
        if self.keys.get(guess as usize) == Some(&key) {
            return Some(guess);
        }
        if self.slots.is_empty() {
            return None;
        }
        match self.probe(key) {
            (_, 0) => None,
            (_, slot) => Some(slot as u32 - 1),
        }
    }
    /// Number of a key, new if need be, and whether it is new.
    pub fn intern(&mut self, key: Key, guess: u32) -> (u32, bool) {
        if self.keys.get(guess as usize) == Some(&key) {
            return (guess, false);
        }
        if (self.keys.len() + 1) * 2 > self.slots.len() {
            self.grow();
        }
        match self.probe(key) {
            (place, 0) => {
                let k = self.keys.len() as u32;
                self.keys.push(key);
                self.slots[place] = entry(key.hash(), k);
                (k, true)
            }
            (_, slot) => (slot as u32 - 1, false),
        }
    }
    /// Where the key is or belongs, and what is there.
    fn probe(&self, key: Key) -> (usize, u64) {
        let (hash, mask) = (key.hash(), self.slots.len() - 1);
        let mut place = hash as usize & mask;
        loop {
            let slot = self.slots[place];
            if slot == 0 || (slot >> 32 == hash >> 32 && self.keys[(slot as u32 - 1) as usize] == key) {
                return (place, slot);
            }
            place = (place + 1) & mask;
        }
    }
    fn grow(&mut self) {
        let size = (self.slots.len() * 4).max(64);
        self.slots.clear();
        self.slots.resize(size, 0);
        for (k, key) in self.keys.iter().enumerate() {
            let hash = key.hash();
            let mut place = hash as usize & (size - 1);
            while self.slots[place] != 0 {
                place = (place + 1) & (size - 1);
            }
            self.slots[place] = entry(hash, k as u32);
        }
    }
}

fn entry(hash: u64, k: u32) -> u64 {
    hash >> 32 << 32 | (k as u64 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_names_apart() {
        assert_eq!(Key::new(b"X1  "), Key::new(b"X1"));
        assert_ne!(Key::new(b"X1"), Key::new(b" X1"));
        assert_ne!(Key::new(b"X\0"), Key::new(b"X"));
        assert_ne!(Key::new(b"X").tagged(1), Key::new(b"X"));
        assert_eq!(Key::new(b"A b c,1-2\xe9").text(), "A b c,1-2\u{e9}");
        assert_eq!(Key::new(b"   ").text(), "");
    }

    #[test]
    fn keys_grow_by_numbers() {
        let x = Key::new(b"X");
        assert_eq!(x.append(false, 0).and_then(|k| k.append(true, -10)), Some(Key::new(b"X0,-10")));
        assert_eq!(x.append(false, 123_456_789), Some(Key::new(b"X123456789")));
        assert_eq!(x.append(false, 1_234_567_890), None);
        assert_eq!(Key::new(b"").append(false, i32::MAX), Some(Key::new(b"2147483647")));
        assert_eq!(Key::new(b"0123456789").append(true, i32::MIN), None);
    }

    #[test]
    fn table_numbers_in_order_of_creation() {
        let mut table = Table::default();
        assert_eq!(table.find(Key::new(b"X1"), u32::MAX), None);
        for round in 0..2 {
            for k in 0..10_000u32 {
                let (number, new) = table.intern(Key::new(format!("X{k}").as_bytes()), k / 2);
                assert_eq!((number, new), (k, round == 0));
            }
        }
        assert_eq!(table.find(Key::new(b"X77"), 76), Some(77));
        assert_eq!(table.find(Key::new(b"X77"), 77), Some(77));
        assert_eq!(table.find(Key::new(b"Y77"), 77), None);
        table.clear();
        assert_eq!(table.find(Key::new(b"X77"), 77), None);
    }
}
