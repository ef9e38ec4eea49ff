//! What the data part of a SIF file says once its loops have run.

use super::SifWarning;
use crate::expr::Ragged;

/// Distinct strings, numbered from 0 in the order of creation, in one buffer.
#[derive(Debug, Clone, Default)]
pub struct Names {
    text: String,
    end: Vec<u32>,
}

impl Names {
    /// Appends a name.
    pub fn push(&mut self, name: &str) {
        self.text.push_str(name);
        self.end.push(self.text.len() as u32);
    }
    /// Number of names.
    pub fn len(&self) -> usize {
        self.end.len()
    }
    /// No names.
    pub fn is_empty(&self) -> bool {
        self.end.is_empty()
    }
    /// Name k.
    pub fn get(&self, k: usize) -> &str {
        let first = if k == 0 { 0 } else { self.end[k - 1] as usize };
        &self.text[first..self.end[k] as usize]
    }
    /// All names in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|k| self.get(k))
    }
}

/// What a group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupKind {
    /// N: part of the objective.
    Objective,
    /// E: c = 0.
    Equality,
    /// L: -r <= c <= 0.
    Less,
    /// G: 0 <= c <= r.
    Greater,
}

/// Declaration of an element type (section ELEMENT TYPE).
#[derive(Debug, Clone, Default)]
pub struct ElementType {
    /// Name.
    pub name: String,
    /// Elemental variables v, in order (EV).
    pub elemental: Vec<String>,
    /// Internal variables u = W v, in order (IV); empty: the elemental ones.
    pub internal: Vec<String>,
    /// Parameters (EP).
    pub params: Vec<String>,
    /// Line of the first card.
    pub line: usize,
}

/// Declaration of a group type (section GROUP TYPE).
#[derive(Debug, Clone, Default)]
pub struct GroupType {
    /// Name.
    pub name: String,
    /// Name of the argument (GV).
    pub argument: String,
    /// Parameters (GP).
    pub params: Vec<String>,
    /// Line of the first card.
    pub line: usize,
}

/// The data part, decoded: for group i with scale s_i, constant b_i and type function g_i,
/// alpha_i(x) = sum_j w_ij e_j(x) + a_i'x - b_i and F_i(x) = g_i(alpha_i(x)) / s_i.
#[derive(Debug, Clone, Default)]
pub struct Decoded {
    /// Problem name.
    pub name: String,
    /// Classification string, if the file has one.
    pub class: Option<String>,
    /// Variables in order of creation.
    pub variables: Names,
    /// Lower bounds; -1e20 or below: none.
    pub x_lower: Vec<f64>,
    /// Upper bounds.
    pub x_upper: Vec<f64>,
    /// Chosen start point.
    pub x0: Vec<f64>,
    /// Further start points, at most four, without those named as solutions; none if a start point was chosen.
    pub other_starts: Vec<Vec<f64>>,
    /// Groups in order of creation (a QUADRATIC section's group is NOT here, see `quadratic`).
    pub groups: Names,
    /// Kind of each group.
    pub kind: Vec<GroupKind>,
    /// Scale s_i of each group, never 0.
    pub scale: Vec<f64>,
    /// Constant b_i of each group.
    pub constant: Vec<f64>,
    /// Range of each group, infinity (>= 1e20) where none is given.
    pub range: Vec<f64>,
    /// Start multiplier of each group.
    pub y0: Vec<f64>,
    /// Type of each group: index into `group_types`, `None` for the trivial type.
    pub group_type: Vec<Option<u32>>,
    /// Parameters of each group, in the order of its type's declaration.
    pub group_params: Ragged<f64>,
    /// Linear part of each group: (variable, coefficient), duplicates added, zeros dropped, order of first mention.
    pub linear: Ragged<(u32, f64)>,
    /// Elements used by each group with their weights, in order; an element may appear twice.
    pub uses: Ragged<(u32, f64)>,
    /// Elements in order of creation.
    pub elements: Names,
    /// Type of each element: index into `element_types`.
    pub element_type: Vec<u32>,
    /// Problem variable of each elemental variable of each element.
    pub element_vars: Ragged<u32>,
    /// Parameters of each element, in the order of its type's declaration.
    pub element_params: Ragged<f64>,
    /// Element types in order of declaration.
    pub element_types: Vec<ElementType>,
    /// Group types in order of declaration.
    pub group_types: Vec<GroupType>,
    /// QUADRATIC entries, each (j, k, h) as listed: j = k adds h x_j^2 / 2, j != k adds h x_j x_k to the objective.
    pub quadratic: Vec<(u32, u32, f64)>,
    /// Known bounds on the objective (OBJECT BOUND), infinite where not given.
    pub objective_bounds: (f64, f64),
    /// Remarks.
    pub warnings: Vec<SifWarning>,
}
