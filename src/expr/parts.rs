//! A problem in group partially separable form, whatever format it comes from.

use super::batch::Body;

/// Lists of different lengths in one array: list k is `items[start[k]..start[k + 1]]`.
#[derive(Debug, Clone)]
pub struct Ragged<T> {
    /// Length: number of lists + 1.
    pub start: Vec<usize>,
    /// All lists, one after the other.
    pub items: Vec<T>,
}

impl<T> Default for Ragged<T> {
    fn default() -> Self {
        Self { start: vec![0], items: Vec::new() }
    }
}

impl<T> Ragged<T> {
    /// Number of lists.
    pub fn len(&self) -> usize {
        self.start.len() - 1
    }
    /// No lists.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// List k.
    pub fn get(&self, k: usize) -> &[T] {
        &self.items[self.start[k]..self.start[k + 1]]
    }
}

/// For group i with scale s_i, constant b_i and function g_i: alpha_i(x) = sum_j w_ij e_j(x) + a_i'x - b_i and
/// F_i(x) = g_i(alpha_i(x)) / s_i (Conn, Gould and Toint, "LANCELOT", 1992). Groups are constraints or add up to the objective.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// Variables.
    pub(crate) n: usize,
    /// Functions of the element types.
    pub(crate) element_bodies: &'a [Body],
    /// Elemental variables of the element types.
    pub(crate) element_dims: &'a [usize],
    /// Type of each element.
    pub(crate) element_type: &'a [u32],
    /// Variables of each element.
    pub(crate) element_vars: &'a Ragged<u32>,
    /// Parameters of each element.
    pub(crate) element_params: &'a Ragged<f64>,
    /// Functions of the group types: one variable, the argument.
    pub(crate) group_bodies: &'a [Body],
    /// Type of each group, `None` for g(alpha) = alpha.
    pub(crate) group_type: &'a [Option<u32>],
    /// Parameters of each group.
    pub(crate) group_params: &'a Ragged<f64>,
    /// Constraints; the others are the objective.
    pub(crate) constraint: &'a [bool],
    /// s_i.
    pub(crate) scale: &'a [f64],
    /// b_i.
    pub(crate) constant: &'a [f64],
    /// a_i: (variable, coefficient).
    pub(crate) linear: &'a Ragged<(u32, f64)>,
    /// (element, w_ij); an element may appear twice.
    pub(crate) uses: &'a Ragged<(u32, f64)>,
    /// (j, k, h): j = k adds h x_j^2 / 2, j != k adds h x_j x_k to the objective.
    pub(crate) quadratic: &'a [(u32, u32, f64)],
}

impl Parts<'_> {
    /// Number of groups.
    pub(crate) fn groups(&self) -> usize {
        self.group_type.len()
    }
    /// Of no variables.
    pub(crate) fn empty() -> Self {
        const INTEGERS: &Ragged<u32> = &Ragged { start: Vec::new(), items: Vec::new() };
        const NUMBERS: &Ragged<f64> = &Ragged { start: Vec::new(), items: Vec::new() };
        const PAIRS: &Ragged<(u32, f64)> = &Ragged { start: Vec::new(), items: Vec::new() };
        Self {
            n: 0,
            element_bodies: &[],
            element_dims: &[],
            element_type: &[],
            element_vars: INTEGERS,
            element_params: NUMBERS,
            group_bodies: &[],
            group_type: &[],
            group_params: NUMBERS,
            constraint: &[],
            scale: &[],
            constant: &[],
            linear: PAIRS,
            uses: PAIRS,
            quadratic: &[],
        }
    }
    /// The objective is a polynomial of degree at most 2: group by group, the degree of its type times the largest one of its elements.
    pub(crate) fn quadratic_objective(&self) -> bool {
        let degrees = |bodies: &[Body]| -> Vec<Option<u32>> {
            bodies.iter().map(|body| body.graph.degree(body.value)).collect()
        };
        let (elements, groups) = (degrees(self.element_bodies), degrees(self.group_bodies));
        (0..self.groups()).filter(|&g| !self.constraint[g]).all(|g| {
            let outer = self.group_type[g].map_or(Some(1), |t| groups[t as usize]);
            let mut used =
                self.uses.get(g).iter().map(|&(e, _)| elements[self.element_type[e as usize] as usize]);
            let inner = used.try_fold(1u32, |most, degree| Some(most.max(degree?)));
            outer.zip(inner).is_some_and(|(outer, inner)| outer.saturating_mul(inner) <= 2)
        })
    }
    /// Constraint by constraint: a linear part, nothing else.
    pub(crate) fn linear_constraints(&self) -> Vec<bool> {
        let constraints = (0..self.groups()).filter(|&g| self.constraint[g]);
        constraints.map(|g| self.group_type[g].is_none() && self.uses.get(g).is_empty()).collect()
    }
}
