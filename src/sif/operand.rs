//! Names on cards: literal, or array names `stem(I,J,K)` expanded with the values of integer parameters.

use super::card::latin1;
use super::key::{Key, Table};

/// No operand, no number.
pub(crate) const NONE: u32 = u32::MAX;

/// An integer parameter without a value.
const UNDEFINED: i64 = i64::MIN;

/// Integer parameters.
#[derive(Debug, Default)]
pub(crate) struct Integers {
    table: Table,
    values: Vec<i64>,
}

impl Integers {
    /// Place of a parameter, which need not have a value yet.
    pub fn slot(&mut self, key: Key) -> u32 {
        let (slot, new) = self.table.intern(key, NONE);
        if new {
            self.values.push(UNDEFINED);
        }
        slot
    }
    /// Value.
    #[inline]
    pub fn get(&self, slot: u32) -> Result<i32, String> {
        match self.values[slot as usize] {
            UNDEFINED => Err(format!("undefined integer parameter `{}`", self.name(slot))),
            value => Ok(value as i32),
        }
    }
    /// Sets a value.
    #[inline]
    pub fn set(&mut self, slot: u32, value: i32) {
        self.values[slot as usize] = value as i64;
    }
    /// Name, for messages.
    pub fn name(&self, slot: u32) -> String {
        self.table.key(slot).text()
    }
}

/// What a name is the name of: names of one space share their operands and what these remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Space {
    /// Variables.
    Variable = 1,
    /// Groups.
    Group,
    /// Elements.
    Element,
    /// Real parameters.
    Real,
    /// Anything that is looked up in a short list.
    Other,
}

/// A name as compiled from a card.
#[derive(Debug, Clone)]
pub(crate) struct Operand {
    stem: Key,
    index: [u32; 3],
    indices: u8,
    /// Index values for which `key` was made.
    last: [i64; 3],
    key: Key,
    /// Number under which `key` was found last; valid if `found`, else a guess.
    number: u32,
    found: bool,
}

impl Operand {
    fn literal(key: Key) -> Self {
        let last = [UNDEFINED; 3];
        Self { stem: key, index: [0; 3], indices: 0, last, key, number: NONE, found: false }
    }

    /// Expanded name for the current index values.
    #[inline]
    pub fn key(&mut self, integers: &Integers) -> Result<Key, String> {
        if self.indices == 0 {
            return Ok(self.key);
        }
        let mut changed = false;
        for k in 0..self.indices as usize {
            let value = integers.values[self.index[k] as usize];
            changed |= value != self.last[k] || value == UNDEFINED;
            self.last[k] = value;
        }
        if changed {
            self.expand(integers)?;
        }
        Ok(self.key)
    }

    fn expand(&mut self, integers: &Integers) -> Result<(), String> {
        let mut key = Some(self.stem);
        for k in 0..self.indices as usize {
            if self.last[k] == UNDEFINED {
                return integers.get(self.index[k]).map(|_| ());
            }
            key = key.and_then(|key| key.append(k > 0, self.last[k] as i32));
        }
        let Some(key) = key else {
            let values: Vec<String> = self.last[..self.indices as usize].iter().map(i64::to_string).collect();
            self.last[0] = UNDEFINED; // expand again, to fail again
            return Err(format!(
                "array name expands to `{}{}`, expected at most {} characters",
                self.stem.text(),
                values.join(","),
                Key::MAX
            ));
        };
        self.key = key;
        if self.found {
            self.number = self.number.wrapping_add(1); // loops often visit objects in order of creation
            self.found = false;
        }
        Ok(())
    }

    /// A literal name that has its number.
    #[inline]
    fn is_settled(&self) -> bool {
        self.found && self.indices == 0
    }

    /// Number of this name in its table, if it is there.
    #[inline]
    pub fn find(&mut self, integers: &Integers, table: &Table) -> Result<Option<u32>, String> {
        if self.is_settled() {
            return Ok(Some(self.number));
        }
        let key = self.key(integers)?;
        if !self.found {
            match table.find(key, self.number) {
                None => return Ok(None),
                Some(number) => (self.number, self.found) = (number, true),
            }
        }
        Ok(Some(self.number))
    }

    /// Number of this name in its table, new if need be, and whether it is new.
    #[inline]
    pub fn intern(&mut self, integers: &Integers, table: &mut Table) -> Result<(u32, bool), String> {
        if self.is_settled() {
            return Ok((self.number, false));
        }
        let key = self.key(integers)?;
        if self.found {
            return Ok((self.number, false));
        }
        let (number, new) = table.intern(key, self.number);
        (self.number, self.found) = (number, true);
        Ok((number, new))
    }
}

/// The names of the cards that are compiled but not yet run: one card, or a loop's body.
#[derive(Debug, Default)]
pub(crate) struct Operands {
    list: Vec<Operand>,
    /// Field text and space, to share operands within a loop.
    known: Table,
}

impl Operands {
    /// Forgets all operands.
    pub fn clear(&mut self) {
        self.list.clear();
        if self.known.len() > 0 {
            self.known.clear();
        }
    }
    /// Operand k.
    #[inline]
    pub fn at(&mut self, k: u32) -> &mut Operand {
        &mut self.list[k as usize]
    }

    /// Compiles a field: `array` says that parentheses hold indices. `share`: operands with the same text are one.
    /// Also says whether text after `)` was dropped.
    pub fn add(
        &mut self,
        field: &[u8],
        space: Space,
        array: bool,
        share: bool,
        integers: &mut Integers,
    ) -> Result<(u32, bool), String> {
        let operand = if array && field.contains(&b'(') {
            array_name(field, integers)?
        } else {
            (Operand::literal(Key::new(field)), false)
        };
        let next = self.list.len() as u32;
        if share {
            let tag = space as u8 | if array { 0x80 } else { 0 };
            let (number, new) = self.known.intern(Key::new(field).tagged(tag), NONE);
            if !new {
                return Ok((number, operand.1));
            }
        }
        self.list.push(operand.0);
        Ok((next, operand.1))
    }
}

/// Cuts `stem(I,J,K)text`; missing indices are skipped, text after `)` is dropped.
fn array_name(field: &[u8], integers: &mut Integers) -> Result<(Operand, bool), String> {
    let shown = || latin1(field);
    let open = field.iter().position(|&b| b == b'(').unwrap_or(field.len());
    let inside = &field[(open + 1).min(field.len())..];
    let Some(close) = inside.iter().position(|&b| b == b')') else {
        return Err(format!("array name `{}` without `)`", shown()));
    };
    let mut operand = Operand::literal(Key::new(&field[..open]));
    for name in inside[..close].split(|&b| b == b',') {
        if name.iter().all(|&b| b == b' ') {
            continue;
        }
        if operand.indices == 3 {
            return Err(format!("array name `{}` has more than 3 indices", shown()));
        }
        operand.index[operand.indices as usize] = integers.slot(Key::new(name));
        operand.indices += 1;
    }
    if operand.indices > 0 {
        operand.stem = Key::exact(&field[..open]); // a blank before the index counts
    }
    Ok((operand, close + 1 < inside.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(field: &str, values: &[(&str, i32)]) -> Result<String, String> {
        let mut integers = Integers::default();
        for (name, value) in values {
            let slot = integers.slot(Key::new(name.as_bytes()));
            integers.set(slot, *value);
        }
        let mut operands = Operands::default();
        let (k, _) = operands.add(field.as_bytes(), Space::Variable, true, true, &mut integers)?;
        operands.at(k).key(&integers)?; // twice: the second comes from memory, errors too
        Ok(operands.at(k).key(&integers)?.text())
    }

    #[test]
    fn expansions() {
        let values = [("I", 3), ("K", -1), ("I+1", 4), ("BIG", i32::MIN), ("0", 0)];
        for (field, name) in [
            ("X", "X"),
            ("W(I,K)", "W3,-1"),
            ("X(I+1)", "X4"),
            ("Y()", "Y"),
            ("Y(,I)", "Y3"),
            ("Y(I,)", "Y3"),
            ("U(I)SQ", "U3"),
            ("Z(I,0,I)", "Z3,0,3"),
            ("A (I)", "A 3"),
            ("(I)", "3"),
        ] {
            assert_eq!(expand(field, &values).as_deref(), Ok(name), "{field}");
        }
        assert_eq!(expand("X(J)", &values).unwrap_err(), "undefined integer parameter `J`");
        assert_eq!(expand("X(I", &values).unwrap_err(), "array name `X(I` without `)`");
        assert_eq!(
            expand("X(I,I,I,I)", &values).unwrap_err(),
            "array name `X(I,I,I,I)` has more than 3 indices"
        );
        assert_eq!(
            expand("X(BIG)", &values).unwrap_err(),
            "array name expands to `X-2147483648`, expected at most 10 characters"
        );
    }

    #[test]
    fn operands_follow_the_indices() {
        let mut integers = Integers::default();
        let i = integers.slot(Key::new(b"I"));
        let (mut operands, mut table) = (Operands::default(), Table::default());
        let (k, dropped) = operands.add(b"X(I)T", Space::Variable, true, true, &mut integers).unwrap();
        assert!(dropped);
        assert_eq!(operands.add(b"X(I)T", Space::Variable, true, true, &mut integers), Ok((k, true)));
        assert_ne!(operands.add(b"X(I)T", Space::Group, true, true, &mut integers), Ok((k, true)));
        for value in [5, 6, 7, 5, 9] {
            integers.set(i, value);
            operands.at(k).intern(&integers, &mut table).unwrap();
        }
        let names: Vec<String> = table.keys().iter().map(|k| k.text()).collect();
        assert_eq!(names, ["X5", "X6", "X7", "X9"]);
        integers.set(i, 8);
        assert_eq!(operands.at(k).find(&integers, &table), Ok(None));
        integers.set(i, 6);
        assert_eq!(operands.at(k).find(&integers, &table), Ok(Some(1)));
    }
}
