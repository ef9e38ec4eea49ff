//! What an optimizer can tell of its last step.

use serde::ser::{Serialize, SerializeMap, Serializer};

/// Named numbers; empty ones hold no memory.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Facts(Vec<(&'static str, f64)>);

impl Facts {
    /// One more.
    pub fn add(&mut self, name: &'static str, value: f64) {
        self.0.push((name, value));
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// The number of this name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|f| f.0 == name).map(|f| f.1)
    }
    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, f64)> + '_ {
        self.0.iter().copied()
    }
}

/// As a map from names to numbers.
impl Serialize for Facts {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        self.0.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}
