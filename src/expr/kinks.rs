//! Where functions are not smooth: the operations with kinks and jumps, and which of them are near one at a point.

use super::batch::Body;
use super::graph::{Binary, Graph, Id, Node, Unary};
use super::parts::Parts;
use crate::report::Kink;

/// An operation with kinks or jumps, and its name for people.
fn name(node: Node) -> Option<&'static str> {
    Some(match node {
        Node::Unary(Unary::Abs, _) => "abs",
        Node::Unary(Unary::Floor | Unary::Ceil | Unary::Trunc | Unary::Round, _) => "rounding",
        Node::Binary(Binary::Max, ..) => "max",
        Node::Binary(Binary::Min, ..) => "min",
        Node::Binary(Binary::Sign, ..) => "sign",
        Node::Binary(Binary::Mod, ..) => "mod",
        Node::Select(..) => "if",
        _ => return None,
    })
}

/// Whether the two sides of the operation meet here, up to `near` relative to 1 and the operands.
fn meets(graph: &Graph, node: Node, values: &[f64], near: f64) -> bool {
    let at = |id: Id| values[id as usize];
    let equal = |a: f64, b: f64| (a - b).abs() <= near * (1.0 + a.abs().max(b.abs()));
    match node {
        Node::Unary(Unary::Abs, a) | Node::Binary(Binary::Sign, _, a) => equal(at(a), 0.0),
        Node::Unary(Unary::Round, a) => equal(at(a).abs().fract(), 0.5),
        Node::Unary(Unary::Floor | Unary::Ceil | Unary::Trunc, a) => equal(at(a), at(a).round()),
        Node::Binary(Binary::Mod, a, b) => equal(at(a) / at(b), (at(a) / at(b)).round()),
        Node::Binary(Binary::Max | Binary::Min | Binary::Lt | Binary::Le | Binary::Eq | Binary::Ne, a, b) => {
            equal(at(a), at(b))
        }
        // A condition is decided by the relations below it.
        Node::Select(c, ..) | Node::Unary(Unary::Not, c) => {
            meets(graph, graph.nodes[c as usize], values, near)
        }
        Node::Binary(Binary::And | Binary::Or, a, b) => {
            [a, b].into_iter().any(|c| meets(graph, graph.nodes[c as usize], values, near))
        }
        _ => false,
    }
}

/// The operations of a type that its value depends on.
fn operations(body: &Body) -> Vec<(Id, &'static str)> {
    let nodes = &body.graph.nodes;
    if !nodes.iter().any(|n| name(*n).is_some()) {
        return Vec::new();
    }
    let mut used = vec![false; nodes.len()];
    let mut open = vec![body.value];
    while let Some(id) = open.pop() {
        if !std::mem::replace(&mut used[id as usize], true) {
            body.graph.for_operands(nodes[id as usize], |o| open.push(o));
        }
    }
    let named = (0u32..).zip(nodes).filter(|(id, _)| used[*id as usize]);
    named.filter_map(|(id, node)| Some((id, name(*node)?))).collect()
}

/// Values of all nodes at values of the elemental variables.
fn evaluate(body: &Body, vars: impl Fn(usize) -> f64, params: &[f64], values: &mut Vec<f64>) {
    values.clear();
    for node in &body.graph.nodes {
        let at = |id: &Id| values[*id as usize];
        values.push(match node {
            Node::Const(bits) => f64::from_bits(*bits),
            Node::Var(u) => match body.range.get(*u as usize) {
                None => vars(*u as usize),
                Some(row) => row.iter().map(|&(v, w)| w * vars(v)).sum(),
            },
            Node::Param(k) => params.get(*k as usize).copied().unwrap_or(f64::NAN),
            Node::Unary(op, a) => op.apply(at(a)),
            Node::Binary(op, a, b) => op.apply(at(a), at(b)),
            Node::Select(c, a, b) if at(c) != 0.0 => at(a),
            Node::Select(_, _, b) => at(b),
            Node::External { .. } => f64::NAN,
        });
    }
}

/// The operations of the functions that have a kink or a jump near x, each once for each function; by constraint, the objective last.
pub(crate) fn near(parts: &Parts<'_>, x: &[f64], near: f64) -> Vec<Kink> {
    let all = |bodies: &[Body]| bodies.iter().map(operations).collect::<Vec<_>>();
    let (elements, groups) = (all(parts.element_bodies), all(parts.group_bodies));
    if elements.iter().chain(&groups).all(Vec::is_empty) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut values = Vec::new();
    let mut constraint = 0;
    for g in 0..parts.groups() {
        let place = parts.constraint[g].then_some(constraint);
        constraint += usize::from(parts.constraint[g]);
        let group = parts.group_type[g].map(|t| t as usize).filter(|&t| !groups[t].is_empty());
        let mut alpha =
            parts.linear.get(g).iter().map(|&(v, a)| a * x[v as usize]).sum::<f64>() - parts.constant[g];
        let mut tell = |body: &Body, operations: &[(Id, &'static str)], values: &[f64]| {
            let graph = &body.graph;
            for &(id, operation) in operations {
                let kink = Kink { constraint: place, operation };
                if meets(graph, graph.nodes[id as usize], values, near) && !found.contains(&kink) {
                    found.push(kink);
                }
            }
        };
        for &(e, w) in parts.uses.get(g) {
            let (e, t) = (e as usize, parts.element_type[e as usize] as usize);
            if elements[t].is_empty() && group.is_none() {
                continue;
            }
            let (body, vars) = (&parts.element_bodies[t], parts.element_vars.get(e));
            evaluate(body, |k| x[vars[k] as usize], parts.element_params.get(e), &mut values);
            alpha += w * values[body.value as usize];
            tell(body, &elements[t], &values);
        }
        if let Some(t) = group {
            let body = &parts.group_bodies[t];
            evaluate(body, |_| alpha, parts.group_params.get(g), &mut values);
            tell(body, &groups[t], &values);
        }
    }
    found.sort_by_key(|k| k.constraint.unwrap_or(usize::MAX));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::separate::{Function, separate};

    #[test]
    fn what_is_near_a_kink_is_named_where_it_stands() {
        // f = |x0 - 1| + max(x1, x2), c0 = if x0 < 2 then x1 else x2, c1 = floor(x2) + x0^2, c2 = (x0 + .. + x5 as |sum|).
        let mut g = Graph::default();
        let x: Vec<Id> = (0..6).map(|k| g.add(Node::Var(k))).collect();
        let (one, two) = (g.constant(1.0), g.constant(2.0));
        let less = g.binary(Binary::Sub, x[0], one);
        let (abs, max) = (g.unary(Unary::Abs, less), g.binary(Binary::Max, x[1], x[2]));
        let f = g.binary(Binary::Add, abs, max);
        let c = g.binary(Binary::Lt, x[0], two);
        let c0 = g.select(c, x[1], x[2]);
        let (floor, square) = (g.unary(Unary::Floor, x[2]), g.binary(Binary::Mul, x[0], x[0]));
        let c1 = g.binary(Binary::Add, floor, square);
        let sum = x[1..].iter().fold(x[0], |s, &v| g.binary(Binary::Add, s, v));
        let c2 = g.unary(Unary::Abs, sum);
        let function = |node| Function { node: Some(node), ..Function::default() };
        let s = separate(&g, 6, &function(f), &[c0, c1, c2].map(function), &[]);
        let at = |x: [f64; 6]| -> Vec<(Option<usize>, &str)> {
            near(&s.parts(), &x, 1e-6).iter().map(|k| (k.constraint, k.operation)).collect()
        };
        assert_eq!(at([0.3, 0.1, 0.6, 1.0, 1.0, 1.0]), []);
        assert_eq!(at([1.0, 0.1, 0.6, 1.0, 1.0, 1.0]), [(None, "abs")]);
        assert_eq!(at([2.0 + 1e-8, 0.1, 0.6, 1.0, 1.0, 1.0]), [(Some(0), "if")]);
        assert_eq!(at([0.3, 3.0, 3.0, 1.0, 1.0, 1.0]), [(Some(1), "rounding"), (None, "max")]);
        assert_eq!(at([0.3, 0.1, 0.6, 1.0, 1.0, -3.0]), [(Some(2), "abs")]);
    }
}
