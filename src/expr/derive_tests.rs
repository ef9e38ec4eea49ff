//! Every operation against differences, forward against reverse.

use std::sync::Arc;

use super::*;
use crate::expr::external::External;

/// Values of all nodes, one after the other.
pub(crate) fn interpret(graph: &Graph, vars: &[f64], params: &[f64]) -> Vec<f64> {
    let mut values: Vec<f64> = Vec::new();
    for &node in &graph.nodes {
        let at = |id: Id| values[id as usize];
        let value = match node {
            Node::Const(bits) => f64::from_bits(bits),
            Node::Var(k) => vars[k as usize],
            Node::Param(k) => params[k as usize],
            Node::Unary(op, a) => op.apply(at(a)),
            Node::Binary(op, a, b) => op.apply(at(a), at(b)),
            Node::Select(c, a, b) => at(if at(c) != 0.0 { a } else { b }),
            Node::External { call, output } => {
                let call = &graph.calls[call as usize];
                let args: Vec<f64> = call.args.iter().map(|&a| at(a)).collect();
                let mut out = vec![0.0; call.function.outputs()];
                call.function.eval(&args, &mut out);
                out[output as usize]
            }
        };
        values.push(value);
    }
    values
}

/// First and second derivatives of one root by two variables: reverse, forward and differences agree.
fn check(name: &str, x: [f64; 2], build: impl Fn(&mut Graph, Id, Id) -> Id) {
    let mut g = Graph::default();
    let vars = [g.add(Node::Var(0)), g.add(Node::Var(1))];
    let dots = [g.add(Node::Var(2)), g.add(Node::Var(3))];
    let root = build(&mut g, vars[0], vars[1]);
    let weight = g.constant(1.0);
    let bars = reverse(&mut g, &[root], &[weight], &vars);
    let pairs = [(vars[0], dots[0]), (vars[1], dots[1])];
    let dot = along(&mut g, &[root], &pairs)[0];
    let bar_nodes: Vec<Id> = bars.iter().flatten().copied().collect();
    let bar_dots = along(&mut g, &bar_nodes, &pairs);
    let d = [0.7, -0.3];
    let point = |s: f64| {
        let v = interpret(&g, &[x[0] + s * d[0], x[1] + s * d[1], d[0], d[1]], &[]);
        let at = |id: Option<Id>| id.map_or(0.0, |id| v[id as usize]);
        let slopes = bars.iter().map(|&b| at(b)).collect::<Vec<f64>>();
        (v[root as usize], at(dot), slopes, bar_dots.iter().map(|&b| at(b)).collect::<Vec<f64>>())
    };
    let h = 1e-4;
    let (here, far) = (point(0.0), [point(h), point(-h), point(2.0 * h), point(-2.0 * h)]);
    let slope = |v: &dyn Fn(usize) -> f64| (8.0 * (v(0) - v(1)) - (v(2) - v(3))) / (12.0 * h);
    let near = |a: f64, b: f64, tolerance: f64, what: &str| {
        assert!((a - b).abs() <= tolerance * (1.0 + a.abs()), "{name} at {x:?}, {what}: {a} {b}");
    };
    near(here.1, slope(&|i| far[i].0), 1e-9, "forward against differences");
    near(here.1, here.2[0] * d[0] + here.2[1] * d[1], 1e-14, "forward against reverse");
    let present = bars.iter().enumerate().filter(|(_, b)| b.is_some()).map(|(k, _)| k);
    for (j, k) in present.enumerate() {
        near(here.3[j], slope(&|i| far[i].2[k]), 1e-9, "tangent of reverse against differences");
    }
}

#[test]
fn functions_of_one_argument() {
    use Unary::*;
    let smooth = [
        Neg, Abs, Sqrt, Exp, Log, Log10, Sin, Cos, Tan, Asin, Acos, Atan, Sinh, Cosh, Tanh, Asinh, Atanh,
        Logistic,
    ];
    for op in smooth {
        // Of x alone, and of a product and the other variable.
        check(&format!("{op:?}"), [0.4, 0.6], |g, x, _| g.unary(op, x));
        check(&format!("{op:?}"), [0.4, 0.6], |g, x, y| {
            let product = g.binary(Binary::Mul, x, y);
            let value = g.unary(op, product);
            g.binary(Binary::Add, value, x)
        });
    }
    for op in [Neg, Abs, Exp, Sin, Cos, Tan, Asin, Acos, Atan, Sinh, Cosh, Tanh, Asinh, Atanh, Logistic] {
        check(&format!("{op:?}"), [-0.35, 0.6], |g, x, _| g.unary(op, x));
    }
    check("Acosh", [1.7, 0.0], |g, x, _| g.unary(Acosh, x));
    for op in [Trunc, Round, Floor, Ceil, Not] {
        check(&format!("{op:?}"), [0.3, 1.0], |g, x, y| {
            let whole = g.unary(op, x);
            g.binary(Binary::Mul, whole, y)
        });
    }
}

#[test]
fn functions_of_two_arguments() {
    use Binary::*;
    for op in [Add, Sub, Mul, Div, Pow, Atan2, Mod, Sign, Max, Min, Lt, Le, Eq, Ne, And, Or] {
        for x in [[1.3, 0.7], [0.45, 1.6]] {
            check(&format!("{op:?}"), x, |g, a, b| g.binary(op, a, b));
            check(&format!("{op:?}"), x, |g, a, b| {
                let (p, q) = (g.binary(Mul, a, a), g.binary(Mul, b, a));
                let value = g.binary(op, p, q);
                g.binary(Mul, value, b)
            });
        }
    }
    for op in [Sub, Mul, Div, Atan2, Mod, Sign, Max, Min] {
        check(&format!("{op:?}"), [-1.3, 0.7], |g, a, b| g.binary(op, a, b));
        check(&format!("{op:?}"), [-0.4, -0.7], |g, a, b| g.binary(op, a, b));
    }
    check("square", [1.3, 0.7], |g, a, _| g.binary(Mul, a, a));
    for p in [-3.0, 0.5, 1.7, 2.0, 3.0, 17.0, 20.0] {
        check("power", [1.1, 0.7], |g, a, _| {
            let p = g.constant(p);
            g.binary(Pow, a, p)
        });
    }
    check("whole power", [-1.01, 0.7], |g, a, _| g.whole_power(a, 70));
}

#[test]
fn powers_at_zero() {
    let mut g = Graph::default();
    let (x, y) = (g.add(Node::Var(0)), g.add(Node::Var(1)));
    let (c, one) = (g.constant(1.5), g.constant(1.0));
    let roots = [g.binary(Binary::Pow, x, c), g.binary(Binary::Pow, x, y)];
    for root in roots {
        let bars = reverse(&mut g, &[root], &[one], &[x, y]);
        let v = interpret(&g, &[0.0, 2.0], &[]);
        bars.iter().flatten().for_each(|&b| assert_eq!(v[b as usize], 0.0));
    }
}

/// if x > 0.1 then x ln x else y at x = -1, and a second condition with a shared node: what is not taken does not count.
#[test]
fn branches_not_taken() {
    let mut g = Graph::default();
    let (x, y) = (g.add(Node::Var(0)), g.add(Node::Var(1)));
    let (tenth, one) = (g.constant(0.1), g.constant(1.0));
    let log = g.unary(Unary::Log, x);
    let product = g.binary(Binary::Mul, x, log);
    let far = g.binary(Binary::Lt, tenth, x);
    let far2 = g.binary(Binary::Lt, one, x);
    let first = g.select(far, product, y);
    let inner = g.select(far, log, y);
    let second = g.select(far2, inner, y);
    let root = g.binary(Binary::Add, first, second);
    let bars = reverse(&mut g, &[root], &[one], &[x, y]);
    let dots = along(&mut g, &[root], &[(x, one)]);
    for (at, by_x, by_y) in [(-1.0, 0.0, 2.0), (0.5, 0.5f64.ln() + 1.0, 1.0), (2.0, 2.0f64.ln() + 1.5, 0.0)] {
        let v = interpret(&g, &[at, 3.0], &[]);
        assert_eq!(v[dots[0].unwrap() as usize], by_x);
        assert_eq!([bars[0], bars[1]].map(|b| v[b.unwrap() as usize]), [by_x, by_y]);
    }
}

/// (x y, sin x) with derivatives as further outputs; those of the last ones are not known.
#[derive(Debug)]
pub(crate) struct Product;

impl External for Product {
    fn arity(&self) -> usize {
        2
    }
    fn outputs(&self) -> usize {
        3
    }
    fn eval(&self, args: &[f64], out: &mut [f64]) {
        out.copy_from_slice(&[args[0] * args[1], args[1], args[0]]);
    }
    fn derivative(&self, output: usize, arg: usize) -> Option<usize> {
        (output == 0).then_some(1 + arg)
    }
}

#[test]
fn external_functions() {
    let mut g = Graph::default();
    let (x, y) = (g.add(Node::Var(0)), g.add(Node::Var(1)));
    let f: Arc<dyn External> = Arc::new(Product);
    let call = g.external(&f, &[x, y], 0);
    let again = g.external(&f, &[x, y], 0);
    assert_eq!((call, g.calls.len()), (again, 1));
    let (root, one) = (g.unary(Unary::Sin, call), g.constant(1.0));
    let bars = reverse(&mut g, &[root], &[one], &[x, y]);
    let v = interpret(&g, &[0.3, 0.8], &[]);
    let slope = (0.3f64 * 0.8).cos();
    assert_eq!(bars.iter().map(|b| v[b.unwrap() as usize]).collect::<Vec<_>>(), [slope * 0.8, slope * 0.3]);
    let second = reverse(&mut g, &[bars[0].unwrap()], &[one], &[y]);
    let v = interpret(&g, &[0.3, 0.8], &[]);
    assert!(v[second[0].unwrap() as usize].is_nan());
}

/// A chain of n products: derivatives have a few nodes for each of its nodes, and sums of many terms are shallow.
#[test]
fn derivatives_are_linear_in_the_graph() {
    let mut g = Graph::default();
    let x: Vec<Id> = (0..1000).map(|k| g.add(Node::Var(k))).collect();
    let shared = g.add(Node::Var(1000));
    let terms: Vec<Id> = x.iter().map(|&x| g.binary(Binary::Mul, x, shared)).collect();
    let sum = terms.iter().copied().reduce(|a, b| g.binary(Binary::Add, a, b)).unwrap();
    let before = g.nodes.len();
    let one = g.constant(1.0);
    let bars = reverse(&mut g, &[sum], &[one], &[shared]);
    assert!(g.nodes.len() < 2 * before);
    let mut height = vec![0u32; g.nodes.len()];
    for id in 0..g.nodes.len() {
        let mut h = 0;
        g.for_operands(g.nodes[id], |o| h = h.max(height[o as usize] + 1));
        height[id] = h;
    }
    assert!(height[bars[0].unwrap() as usize] <= 40);
}
