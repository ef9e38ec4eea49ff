//! Boxes of named variables, and their coordinates in [0, 1].

use super::SurrogateError;

/// How a variable moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scale {
    /// A real number.
    #[default]
    Linear,
    /// A positive real number whose orders of magnitude matter.
    Log,
    /// An integer; both bounds may be taken.
    Integer,
}

/// One variable.
#[derive(Debug, Clone, PartialEq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Smallest value.
    pub lower: f64,
    /// Largest value.
    pub upper: f64,
    /// How it moves.
    pub scale: Scale,
}

impl Variable {
    /// A real number between two bounds.
    pub fn real(name: &str, lower: f64, upper: f64) -> Self {
        Self { name: name.into(), lower, upper, scale: Scale::Linear }
    }
    /// A positive number on a logarithmic scale.
    pub fn log(name: &str, lower: f64, upper: f64) -> Self {
        Self { scale: Scale::Log, ..Self::real(name, lower, upper) }
    }
    /// An integer.
    pub fn integer(name: &str, lower: i64, upper: i64) -> Self {
        Self { scale: Scale::Integer, ..Self::real(name, lower as f64, upper as f64) }
    }
    fn problem(&self) -> Option<String> {
        let Self { name, lower, upper, scale } = self;
        let whole = *scale != Scale::Integer || (lower.fract() == 0.0 && upper.fract() == 0.0);
        if !(lower.is_finite() && upper.is_finite() && lower < upper) {
            Some(format!(
                "variable {name}: its bounds are {lower} and {upper}, expected two finite numbers, the lower one first"
            ))
        } else if *scale == Scale::Log && *lower <= 0.0 {
            Some(format!(
                "variable {name}: its lower bound is {lower}, a logarithmic scale needs a positive one"
            ))
        } else if !whole {
            Some(format!(
                "variable {name}: its bounds are {lower} and {upper}, an integer needs whole numbers"
            ))
        } else {
            None
        }
    }
    /// The value at u in [0, 1], inside the bounds.
    fn value(&self, u: f64) -> f64 {
        let x = match self.scale {
            Scale::Linear => self.lower + u * (self.upper - self.lower),
            Scale::Log => (self.lower.ln() + u * (self.upper / self.lower).ln()).exp(),
            Scale::Integer => (self.lower - 0.5 + u * (self.upper - self.lower + 1.0)).round(),
        };
        x.clamp(self.lower, self.upper)
    }
    /// The coordinate of a value.
    fn unit(&self, x: f64) -> f64 {
        match self.scale {
            Scale::Linear => (x - self.lower) / (self.upper - self.lower),
            Scale::Log => (x / self.lower).ln() / (self.upper / self.lower).ln(),
            Scale::Integer => (x - self.lower + 0.5) / (self.upper - self.lower + 1.0),
        }
    }
}

/// Variables with different names.
#[derive(Debug, Clone, PartialEq)]
pub struct Space {
    variables: Vec<Variable>,
}

impl Space {
    /// Checks bounds and names.
    ///
    /// # Errors
    /// One sentence on the first variable that is wrong.
    pub fn new(variables: Vec<Variable>) -> Result<Self, SurrogateError> {
        if variables.is_empty() {
            return Err(SurrogateError::new("a search needs at least one variable"));
        }
        for (k, v) in variables.iter().enumerate() {
            if let Some(what) = v.problem() {
                return Err(SurrogateError::new(what));
            }
            if variables[..k].iter().any(|w| w.name == v.name) {
                return Err(SurrogateError::new(format!("variable {}: two have this name", v.name)));
            }
        }
        Ok(Self { variables })
    }
    /// Real variables x0, x1, .. between two bounds each.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn reals(bounds: &[(f64, f64)]) -> Result<Self, SurrogateError> {
        let variable = |(j, b): (usize, &(f64, f64))| Variable::real(&format!("x{j}"), b.0, b.1);
        Self::new(bounds.iter().enumerate().map(variable).collect())
    }
    /// The variables.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }
    /// How many.
    pub fn dim(&self) -> usize {
        self.variables.len()
    }
    /// Values at coordinates in [0, 1].
    pub fn values(&self, u: &[f64]) -> Vec<f64> {
        self.variables.iter().zip(u).map(|(v, u)| v.value(*u)).collect()
    }
    /// Coordinates of values. Those of integers are the middles of their intervals.
    pub fn units(&self, x: &[f64]) -> Vec<f64> {
        self.variables.iter().zip(x).map(|(v, x)| v.unit(*x)).collect()
    }
    /// Moves the coordinates of integers to the middles of their intervals.
    pub fn snap(&self, u: &mut [f64]) {
        for (v, u) in self.variables.iter().zip(u) {
            if v.scale == Scale::Integer {
                *u = v.unit(v.value(*u));
            }
        }
    }
    /// What is wrong with a point, in one sentence.
    pub fn check(&self, x: &[f64]) -> Result<(), SurrogateError> {
        if x.len() != self.dim() {
            let what = format!("a point has {} numbers, the space {} variables", x.len(), self.dim());
            return Err(SurrogateError::new(what));
        }
        for (v, x) in self.variables.iter().zip(x) {
            let whole = v.scale != Scale::Integer || x.fract() == 0.0;
            if !(*x >= v.lower && *x <= v.upper && whole) {
                let kind = if v.scale == Scale::Integer { "an integer" } else { "a number" };
                let (name, lower, upper) = (&v.name, v.lower, v.upper);
                let what = format!("variable {name} is {x}, expected {kind} from {lower} to {upper}");
                return Err(SurrogateError::new(what));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_and_values() {
        let space = Space::new(vec![
            Variable::real("a", -5.0, 10.0),
            Variable::log("b", 1e-4, 1.0),
            Variable::integer("c", 2, 5),
        ])
        .unwrap();
        let x = space.values(&[0.2, 0.5, 0.49]);
        assert!((x[0] + 2.0).abs() < 1e-12 && (x[1] - 1e-2).abs() < 1e-12 && x[2] == 3.0);
        let mut u = space.units(&x);
        assert!((u[0] - 0.2).abs() < 1e-12 && (u[1] - 0.5).abs() < 1e-12 && (u[2] - 0.375).abs() < 1e-12);
        let before = u.clone();
        space.snap(&mut u);
        assert_eq!(u, before);
        assert_eq!(space.values(&[0.0, 0.0, 0.0])[2], 2.0);
        assert_eq!(space.values(&[1.0, 1.0, 1.0]), [10.0, 1.0, 5.0]);
        // Each integer has the same share.
        let mut counts = [0; 4];
        (0..4000).for_each(|k| counts[space.values(&[0.0, 0.0, k as f64 / 4000.0])[2] as usize - 2] += 1);
        assert!(counts.iter().all(|c| (990..=1010).contains(c)), "{counts:?}");
    }

    #[test]
    fn bad_spaces_and_points_are_one_sentence() {
        let bad = [
            vec![],
            vec![Variable::real("a", 1.0, 1.0)],
            vec![Variable::real("a", f64::NAN, 1.0)],
            vec![Variable::log("a", 0.0, 1.0)],
            vec![Variable { upper: 2.5, ..Variable::integer("a", 0, 2) }],
            vec![Variable::real("a", 0.0, 1.0), Variable::real("a", 0.0, 1.0)],
        ];
        for variables in bad {
            let text = Space::new(variables).unwrap_err().to_string();
            assert!(!text.is_empty() && !text.contains('\n'));
        }
        let space = Space::new(vec![Variable::integer("k", 0, 3)]).unwrap();
        assert!(space.check(&[2.0]).is_ok());
        for x in [&[2.5][..], &[4.0], &[f64::NAN], &[1.0, 1.0]] {
            assert!(space.check(x).is_err());
        }
    }
}
