//! Programs over lanes against the graph, node by node.

use super::*;
use crate::expr::derive::tests::{Product, interpret};
use crate::expr::external::External;
use crate::expr::lanes::{Room, WIDE};

/// Two layers of unequal rows, a shared constant, a select: same bits as node by node, and few instructions.
#[test]
fn equal_shapes_are_lanes() {
    let mut g = Graph::default();
    let x: Vec<Id> = (0..12).map(|k| g.add(Node::Var(k))).collect();
    let neuron = |g: &mut Graph, c: f64, inputs: &[Id]| {
        let mut sum = g.constant(c);
        for (k, &x) in inputs.iter().enumerate() {
            let w = g.constant(0.1 * (k as f64 + c));
            let term = g.binary(Binary::Mul, w, x);
            sum = g.binary(Binary::Add, sum, term);
        }
        g.unary(Unary::Tanh, sum)
    };
    let hidden: Vec<Id> = (0..30).map(|k| neuron(&mut g, 0.3 * f64::from(k), &x)).collect();
    let zero = g.constant(0.0);
    let mut roots = Vec::new();
    for k in 0..30usize {
        let sum = neuron(&mut g, 0.5 + k as f64, &[hidden[k], hidden[(k + 7) % 30], x[k % 12]]);
        let positive = g.binary(Binary::Lt, zero, hidden[k]);
        let root = g.select(positive, sum, x[(k + 1) % 12]);
        roots.push((k as u32, root));
    }
    let inputs = Inputs { groups: vec![8, 12], params: 0, late: 8 };
    let program = compile(&g, &inputs, &roots, 30);
    assert!(program.early.len() + program.late.len() < 100, "{} instructions", program.late.len());
    let mut room = Room::default();
    room.reserve(&program);
    for s in [1.0, -0.3] {
        // Eight directions of the late inputs, one after the other and at once.
        let var = |k: usize, i: usize| s * (0.3 * k as f64 - 1.0) + if k < 8 { 0.0 } else { 0.1 * i as f64 };
        (0..8).for_each(|k| room.places[k] = var(k, 0));
        program.run_early(&mut room);
        let mut one = vec![vec![0.0; 30]; WIDE];
        for (i, one) in one.iter_mut().enumerate() {
            (0..4).for_each(|k| room.late[k] = var(8 + k, i));
            program.run_late::<1>(&mut room);
            program.results[0].write::<1>(&room.late, 0, one);
        }
        (0..4 * WIDE).for_each(|k| room.late[k] = var(8 + k / WIDE, k % WIDE));
        program.run_late::<WIDE>(&mut room);
        let mut wide = vec![0.0; 30];
        for (i, one) in one.iter().enumerate() {
            let vars: Vec<f64> = (0..12).map(|k| var(k, i)).collect();
            let want = interpret(&g, &vars, &[]);
            program.results[0].write::<WIDE>(&room.late, i, &mut wide);
            for (k, &(_, root)) in roots.iter().enumerate() {
                let want = want[root as usize].to_bits();
                assert_eq!(
                    (one[k].to_bits(), wide[k].to_bits()),
                    (want, want),
                    "result {k} of direction {i}"
                );
            }
        }
    }
}

#[test]
fn results_may_be_inputs_constants_and_equal() {
    let mut g = Graph::default();
    let (x, y) = (g.add(Node::Var(0)), g.add(Node::Var(1)));
    let (c, product) = (g.constant(2.5), g.binary(Binary::Mul, x, y));
    let roots = [(0, x), (1, y), (2, c), (4, product), (5, product)];
    let program = compile(&g, &Inputs { groups: vec![2], params: 0, late: 2 }, &roots, 3);
    let mut room = Room::default();
    room.reserve(&program);
    room.places[..2].copy_from_slice(&[3.0, 7.0]);
    program.run_early(&mut room);
    let (mut first, mut second) = ([f64::NAN; 3], [1.0; 3]);
    program.results[0].write::<1>(&room.places, 0, &mut first);
    program.results[1].add::<1>(&room.places, 1, &mut second);
    assert_eq!((first, second), ([3.0, 7.0, 2.5], [1.0, 22.0, 22.0]));
}

/// External functions of early, late and constant arguments.
#[test]
fn external_functions() {
    let mut g = Graph::default();
    let x: Vec<Id> = (0..4).map(|k| g.add(Node::Var(k))).collect();
    let c = g.constant(2.5);
    let f: Arc<dyn External> = Arc::new(Product);
    let early = g.external(&f, &[x[0], c], 0);
    let roots: Vec<(u32, Id)> = [[x[2], early], [x[3], x[2]], [early, x[3]], [c, x[2]]]
        .iter()
        .enumerate()
        .map(|(k, args)| (k as u32, g.external(&f, args, k % 3)))
        .collect();
    let program = compile(&g, &Inputs { groups: vec![2, 4], params: 0, late: 2 }, &roots, 4);
    assert_eq!(program.functions.len(), 1);
    let mut room = Room::default();
    room.reserve(&program);
    room.places[..2].copy_from_slice(&[0.3, 0.7]);
    program.run_early(&mut room);
    (0..2 * WIDE).for_each(|k| room.late[k] = 0.1 + k as f64);
    program.run_late::<WIDE>(&mut room);
    for i in 0..WIDE {
        let mut out = [f64::NAN; 4];
        program.results[0].write::<WIDE>(&room.late, i, &mut out);
        let want = interpret(&g, &[0.3, 0.7, 0.1 + i as f64, 0.1 + (WIDE + i) as f64], &[]);
        roots.iter().for_each(|&(k, root)| assert_eq!(out[k as usize], want[root as usize]));
    }
}
