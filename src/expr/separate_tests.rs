use super::*;
use crate::expr::evaluate::Evaluator;
use crate::expr::types::derived;

fn vars(g: &mut Graph, n: u32) -> Vec<Id> {
    (0..n).map(|k| g.add(Node::Var(k))).collect()
}

fn node(id: Id) -> Function<'static> {
    Function { node: Some(id), ..Function::default() }
}

/// Elements, element types, group types.
fn counts(s: &Separated) -> [usize; 3] {
    let p = s.parts();
    [p.element_type.len(), p.element_bodies.len(), p.group_bodies.len()]
}

#[test]
fn terms_that_differ_by_variables_and_constants_are_one_type() {
    let mut g = Graph::default();
    let x = vars(&mut g, 4);
    // sum_k c_k sin(a_k x_k) x_{k+1}, some with the factors the other way round.
    let mut sum = g.constant(0.0);
    for k in 0..3 {
        let (a, c) = (g.constant(1.5 + k as f64), g.constant(-2.0 * k as f64 + 1.0));
        let inner = g.product(a, x[k]);
        let sine = g.unary(Unary::Sin, inner);
        let factors = if k == 1 { (x[k + 1], sine) } else { (sine, x[k + 1]) };
        let product = g.product(factors.0, factors.1);
        let term = g.product(c, product);
        sum = g.binary(Binary::Add, sum, term);
    }
    let s = separate(&g, 4, &node(sum), &[], &[]);
    assert_eq!(counts(&s), [3, 1, 0]);
    // The weight is outside, a_k is a parameter.
    assert_eq!(s.parts().uses.items.iter().map(|u| u.1).collect::<Vec<_>>(), [1.0, -1.0, -3.0]);
    assert_eq!(s.parts().element_params.items, [1.5, 2.5, 3.5]);
}

#[test]
fn constants_that_all_share_are_no_parameters_and_exponents_stay() {
    let mut g = Graph::default();
    let x = vars(&mut g, 3);
    let (half, p, q) = (g.constant(0.3), g.constant(2.5), g.constant(-1.5));
    let mut powers = vec![];
    for (k, e) in [(0, p), (1, p), (2, q)] {
        let base = g.binary(Binary::Add, x[k], half);
        powers.push(g.binary(Binary::Pow, base, e));
    }
    let sum = powers[1..].iter().fold(powers[0], |s, &t| g.binary(Binary::Add, s, t));
    let s = separate(&g, 3, &node(sum), &[], &[]);
    assert_eq!(counts(&s), [3, 2, 0]);
    assert!(s.parts().element_params.items.is_empty());
}

#[test]
fn equal_terms_are_one_element_wherever_they_are() {
    let mut g = Graph::default();
    let x = vars(&mut g, 2);
    let sine = g.unary(Unary::Sin, x[0]);
    let twice = g.binary(Binary::Add, sine, sine);
    let (three, linear) = (g.constant(3.0), [(1, 2.0), (1, 0.5)]);
    let row = g.product(three, twice);
    let constraint = Function { constant: 4.0, linear: &linear, node: Some(row) };
    let s = separate(&g, 2, &node(sine), &[constraint], &[]);
    assert_eq!(counts(&s), [1, 1, 0]);
    let p = s.parts();
    assert_eq!((p.uses.get(0), p.uses.get(1)), (&[(0, 1.0)][..], &[(0, 6.0)][..]));
    assert_eq!((p.linear.get(1), p.constant[1]), (&[(1, 2.5)][..], -4.0));
    // What cancels is gone.
    let none = g.binary(Binary::Sub, twice, twice);
    let s = separate(&g, 2, &node(none), &[], &[]);
    assert_eq!(counts(&s), [0, 0, 0]);
}

#[test]
fn functions_of_long_sums_are_groups() {
    let mut g = Graph::default();
    let x = vars(&mut g, 8);
    let mut sum = g.constant(-1.0);
    for (k, &x) in x.iter().enumerate() {
        let a = g.constant(k as f64 + 1.0);
        let term = g.product(a, x);
        sum = g.binary(Binary::Add, sum, term);
    }
    for power in 2..=5 {
        let term = g.whole_power(sum, power);
        let s = separate(&g, 8, &node(term), &[node(term)], &[]);
        // One type for the objective and the row, which have no constant beside it.
        assert_eq!(counts(&s), [0, 0, 1], "{power}");
        assert_eq!(s.parts().group_type, [None, Some(0), Some(0)]);
        assert_eq!(s.parts().constant, [0.0, 1.0, 1.0]);
    }
    // With more in the row it is an element; with a constant, or a root and a sign before it, still a group.
    let (root, square) = (g.unary(Unary::Exp, sum), g.whole_power(x[0], 2));
    let both = g.binary(Binary::Add, root, square);
    let s = separate(&g, 8, &Function::default(), &[node(both)], &[]);
    assert_eq!(counts(&s), [2, 2, 0]);
    let (negative, five) = (g.neg(root), g.constant(5.0));
    let shifted = g.binary(Binary::Add, negative, five);
    let s = separate(&g, 8, &Function::default(), &[node(shifted)], &[]);
    assert_eq!((counts(&s), s.parts().scale), ([0, 0, 1], &[1.0, -1.0][..]));
}

#[test]
fn parameters_of_the_model_find_their_places() {
    let mut g = Graph::default();
    let x = vars(&mut g, 2);
    let (p, q) = (g.add(Node::Param(0)), g.add(Node::Param(1)));
    let a = g.product(p, x[0]);
    let sine = g.unary(Unary::Sin, a);
    let b = g.product(q, x[1]);
    let other = g.unary(Unary::Sin, b);
    let sum = g.binary(Binary::Add, sine, other);
    let row = g.binary(Binary::Sub, x[0], p);
    let mut s = separate(&g, 2, &node(sum), &[node(row)], &[3.0, 4.0]);
    assert_eq!(counts(&s), [2, 1, 0]);
    assert_eq!(
        (s.parts().element_params.items.as_slice(), s.in_sides()),
        (&[3.0, 4.0][..], &[(0, 0, -1.0)][..])
    );
    s.set_params(&[5.0, 6.0]);
    assert_eq!(s.parts().element_params.items, [5.0, 6.0]);
}

#[test]
fn products_take_the_place_of_second_derivatives_that_are_too_many() {
    // c sin(x0 x1) (x0 + x1^2 + x2^2 + x3) for c = 0.7 and 1.3 at other variables.
    let mut g = Graph::default();
    let x = vars(&mut g, 5);
    let mut sum = g.constant(0.0);
    for (first, c) in [(0, 0.7), (1, 1.3)] {
        let v = &x[first..first + 4];
        let product = g.product(v[0], v[1]);
        let c = g.constant(c);
        let scaled = g.product(c, product);
        let sine = g.unary(Unary::Sin, scaled);
        let squares = [v[1], v[2]].map(|v| g.product(v, v));
        let all = [squares[0], squares[1], v[3]].iter().fold(v[0], |s, &t| g.binary(Binary::Add, s, t));
        let term = g.product(sine, all);
        sum = g.binary(Binary::Add, sum, term);
    }
    let written = separate(&g, 5, &node(sum), &[], &[]);
    assert_eq!(counts(&written), [2, 1, 0]);
    let mut few = written.clone();
    let body = &few.element_bodies[0];
    // The same type from its value alone.
    let mut graph = Graph::default();
    body.graph.nodes[..=body.value as usize].iter().for_each(|&n| {
        graph.add(n);
    });
    let locals: Vec<Id> = (0..4).collect();
    let products = derived(graph, body.value, &locals, (1, 3));
    assert!(products.hessian.is_empty() && products.products.len() == 4);
    few.element_bodies[0] = products;
    let evaluator = |s: &Separated| Evaluator::new(&s.parts(), 1 << 20, 1 << 20).unwrap();
    let ((mut one, pattern), (mut two, none)) = (evaluator(&written), evaluator(&few));
    assert!(pattern.is_some() && none.is_none());
    let (at, v) = ([0.4, -0.7, 1.1, 0.9, -0.3], [1.0, 0.5, -2.0, 0.25, 3.0]);
    let [mut a, mut b] = [[0.0; 5]; 2];
    one.hessian_product(&at, 1.5, &[], &v, &mut a);
    two.hessian_product(&at, 1.5, &[], &v, &mut b);
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-14 * (1.0 + a.abs())), "{a:?} {b:?}");
    // Symmetric: w'Hv = v'Hw.
    let w = [0.3, -1.0, 0.7, 2.0, 0.1];
    let mut hw = [0.0; 5];
    two.hessian_product(&at, 1.5, &[], &w, &mut hw);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    assert!((dot(&w, &b) - dot(&v, &hw)).abs() < 1e-12);
}

#[test]
fn terms_of_a_recursion_are_one_element() {
    // u_{k+1} = u_k - 0.01 u_k^2: the last one is u_0 and a sum of squares, each of which has all before it.
    let value = |steps: usize, x: f64| (0..steps).fold(x, |u, _| u - 0.01 * u * u);
    for (steps, elements) in [(5, 5), (60, 1)] {
        let mut g = Graph::default();
        let mut u = vars(&mut g, 1)[0];
        for _ in 0..steps {
            let (c, square) = (g.constant(0.01), g.product(u, u));
            let term = g.product(c, square);
            u = g.binary(Binary::Sub, u, term);
        }
        let s = separate(&g, 1, &node(u), &[], &[]);
        assert_eq!(counts(&s)[0], elements, "{steps} steps");
        let mut e = Evaluator::new(&s.parts(), 1 << 20, 1 << 20).unwrap().0;
        let (x, h) = (0.7, 1e-4);
        assert!((e.objective(&[x]) - value(steps, x)).abs() < 1e-14);
        let mut slope = [0.0];
        e.gradient(&[x], &mut slope);
        let difference = (value(steps, x + h) - value(steps, x - h)) / (2.0 * h);
        assert!((slope[0] - difference).abs() < 1e-8, "{} {difference}", slope[0]);
        let mut hv = [0.0];
        e.hessian_product(&[x], 1.0, &[], &[1.0], &mut hv);
        let difference = (value(steps, x + h) - 2.0 * value(steps, x) + value(steps, x - h)) / (h * h);
        assert!((hv[0] - difference).abs() < 1e-6, "{} {difference}", hv[0]);
    }
}
