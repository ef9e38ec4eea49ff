//! Recorded formulas do not allocate after the first call of each kind.

#[path = "common/alloc.rs"]
mod alloc;

use costate::expr::{Directions, Point, Recorded, Var, record};

fn run(f: &mut Recorded, w: &[f64], at: Point<'_>, d: &[f64], room: &mut [Vec<f64>; 5]) {
    let [y, x_bar, p_bar, values, y_dots] = room;
    let (n, np) = (at.x.len(), at.p.len());
    f.value(at, y);
    f.vjp(at, w, x_bar, p_bar);
    f.jacobian(at, values, y);
    for count in [1, 2, 5, 9] {
        let (x, p) = (&d[..count * n], &d[..count * np]);
        f.jvp(at, &Directions { count, x, p, ..Directions::default() }, &mut y_dots[..count * n]);
        f.vjp_tangent(at, w, &Directions { count, x, p, t: &d[..count], w: x }, x_bar, p_bar);
    }
}

fn check(n: usize, mut f: Recorded) {
    let entries = f.jacobian_pattern().items.len();
    let (x, p) = ((0..n).map(|k| (k as f64).sin()).collect::<Vec<f64>>(), [0.4, 1.3]);
    let at = Point { t: 0.2, x: &x, p: &p };
    let mut room = [vec![0.0; n], vec![0.0; n], vec![0.0; 2], vec![0.0; entries], vec![0.0; 9 * n]];
    let d: Vec<f64> = (0..9 * n).map(|k| (k as f64).cos()).collect();
    run(&mut f, &x, at, &d, &mut room);
    let before = alloc::allocations();
    run(&mut f, &x, at, &d, &mut room);
    assert_eq!(alloc::allocations(), before, "n = {n}");
}

#[test]
fn warm_formulas_do_not_allocate() {
    for n in [3, 700] {
        let f = record(n, 2, |t, y, p, dy| {
            for i in 0..n {
                let left = if i == 0 { t } else { y[i - 1] };
                let right = if i + 1 == n { Var::from(0.5) } else { y[i + 1] };
                dy[i] = p[0] * (left - 2.0 * y[i] + right) + (p[1] * y[i]).max(left).atan2(y[i] + 3.0);
            }
        });
        check(n, f.unwrap());
    }
    // Everything depends on everything: its Jacobian is made of products.
    let n = 40;
    let f = record(n, 2, |t, y, p, dy| {
        let neuron = |j: usize| (0..n).fold(t, |sum, k| sum + p[0] * ((j + k) as f64).sin() * y[k]).tanh();
        let hidden: Vec<Var> = (0..n).map(neuron).collect();
        for (i, dy) in dy.iter_mut().enumerate() {
            *dy = (0..n).fold(p[1], |sum, j| sum + ((2 * j + i) as f64).cos() * hidden[j]);
        }
    });
    check(n, f.unwrap());
}
