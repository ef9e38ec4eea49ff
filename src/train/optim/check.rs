//! Sentences about constants out of range.

fn unless(good: bool, name: &str, x: f64, expected: &str) -> Option<String> {
    (!good).then(|| format!("optimizer: {name} is {x}, it must be {expected}"))
}

/// A decay.
pub(super) fn below_one(name: &str, x: f64) -> Option<String> {
    unless((0.0..1.0).contains(&x), name, x, "in [0, 1)")
}

/// A scale.
pub(super) fn positive(name: &str, x: f64) -> Option<String> {
    unless(x > 0.0 && x.is_finite(), name, x, "positive")
}

/// A weight.
pub(super) fn at_least_zero(name: &str, x: f64) -> Option<String> {
    unless(x >= 0.0 && x.is_finite(), name, x, "at least zero")
}

/// A count.
pub(super) fn at_least_one(name: &str, n: u64) -> Option<String> {
    (n == 0).then(|| format!("optimizer: {name} is 0, it must be at least one"))
}
