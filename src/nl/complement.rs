//! Complementarity rows: the body g of a row complements a variable x in [l, u], as bounds and products.
//!
//! x >= l and g >= 0 with one of both active is g = s, s >= 0, (x - l) s <= 0; x <= u and g <= 0 likewise; with both bounds
//! g = s - t, (x - l) s <= 0, (u - x) t <= 0; without bounds g = 0. A body that is a variable is its own s. New variables and rows come after those of
//! the file.

use super::read::{Body, Complement, Model};
use crate::expr::graph::{Binary, Node};
use crate::nlp::NlpMeta;

/// What was added to a model, and for which of its rows.
#[derive(Debug, Clone, Default)]
pub(super) struct Added {
    /// Row of the file of each new variable.
    variables: Vec<usize>,
    /// Row of the file of each product.
    products: Vec<usize>,
}

impl Added {
    /// Replaces the complementarity rows.
    ///
    /// # Errors
    /// (row, variable) whose kind is not that of the variable's bounds.
    pub fn to(model: &mut Model) -> Result<Self, (usize, usize)> {
        let mut added = Self::default();
        for c in std::mem::take(&mut model.complements) {
            added.condition(model, c)?;
        }
        Ok(added)
    }

    fn condition(&mut self, model: &mut Model, c: Complement) -> Result<(), (usize, usize)> {
        let (lower, upper) = model.bounds[c.variable];
        let [below, above] = [c.kind & 1 != 0, c.kind & 2 != 0];
        if (below && lower == f64::NEG_INFINITY) || (above && upper == f64::INFINITY) {
            return Err((c.row, c.variable));
        }
        match (below, above) {
            (false, false) => {}
            (true, false) => {
                let s = match own_slack(model, c.row) {
                    Some(v) => {
                        model.sides[c.row] = (0.0, f64::INFINITY);
                        v
                    }
                    None => self.slack(model, c.row, -1.0),
                };
                self.product(model, c, (lower, 1.0), s);
            }
            (false, true) => {
                let t = self.slack(model, c.row, 1.0);
                self.product(model, c, (upper, -1.0), t);
            }
            (true, true) => {
                let s = self.slack(model, c.row, -1.0);
                self.product(model, c, (lower, 1.0), s);
                let t = self.slack(model, c.row, 1.0);
                self.product(model, c, (upper, -1.0), t);
            }
        }
        Ok(())
    }

    /// A new variable >= 0 with this coefficient in a row.
    fn slack(&mut self, model: &mut Model, row: usize, coefficient: f64) -> u32 {
        let v = model.bounds.len() as u32;
        model.bounds.push((0.0, f64::INFINITY));
        model.x0.push(0.0);
        // The linear part moves to the end, where it can grow.
        let Body { linear, .. } = &mut model.rows[row];
        let first = model.linear.len();
        model.linear.extend_from_within(linear.clone());
        model.linear.push((v, coefficient));
        *linear = first..model.linear.len();
        self.variables.push(row);
        v
    }

    /// The row sign (x - bound) s <= 0.
    fn product(&mut self, model: &mut Model, c: Complement, (bound, sign): (f64, f64), s: u32) {
        let graph = &mut model.graph;
        let x = graph.add(Node::Var(c.variable as u32));
        let s = graph.add(Node::Var(s));
        let bound = graph.constant(bound);
        let distance = if sign > 0.0 {
            graph.binary(Binary::Sub, x, bound)
        } else {
            graph.binary(Binary::Sub, bound, x)
        };
        let node = graph.binary(Binary::Mul, distance, s);
        model.rows.push(Body { node: Some(node), ..Body::default() });
        model.sides.push((f64::NEG_INFINITY, 0.0));
        model.y0.push(0.0);
        self.products.push(c.row);
    }

    /// Nothing was added.
    pub fn is_empty(&self) -> bool {
        self.products.is_empty()
    }

    /// Names of what was added, and which rows are products; `meta` has all variables and rows, and names of the file's own at most.
    pub fn describe(&self, meta: &mut NlpMeta) {
        if self.is_empty() {
            return;
        }
        let (n, m) = (meta.n() - self.variables.len(), meta.m() - self.products.len());
        let named = |row: &usize, what: &str| format!("{}_{what}", meta.constraint_name(*row));
        let slacks = self.variables.iter().map(|row| named(row, "slack"));
        let variable_names = (0..n).map(|j| meta.variable_name(j)).chain(slacks).collect();
        let products = self.products.iter().map(|row| named(row, "product"));
        let constraint_names = (0..m).map(|i| meta.constraint_name(i)).chain(products).collect();
        (meta.variable_names, meta.constraint_names) = (variable_names, constraint_names);
        meta.complementarity = (m..meta.m()).collect();
    }

    /// One sentence for people.
    pub fn sentence(&self) -> String {
        let (products, variables) = (self.products.len(), self.variables.len());
        format!(
            "complementarity conditions are solved as {products} products that are to vanish, with {variables} slack variables: the sizes are those of this form"
        )
    }

    /// Variables and constraints of the file.
    pub fn before(&self, meta: &NlpMeta) -> (usize, usize) {
        (meta.n() - self.variables.len(), meta.m() - self.products.len())
    }
}

/// The variable that is the whole body of a row.
fn own_slack(model: &Model, row: usize) -> Option<u32> {
    let body = &model.rows[row];
    let zero = body.node.is_none_or(|node| model.graph.value(node) == Some(0.0));
    match &model.linear[body.linear.clone()] {
        [(v, 1.0)] if zero => Some(*v),
        [] => match body.node.map(|node| model.graph.nodes[node as usize]) {
            Some(Node::Var(v)) => Some(v),
            _ => None,
        },
        _ => None,
    }
}
