//! The external function of problem HS67: two fixed-point loops with first and second derivatives carried along.
//!
//! Inputs x1, x2, x3; outputs y1..y8 with gradients and packed Hessians (11, 12, 13, 22, 23, 33).

use super::Literals;
use crate::expr::External;

/// Outputs: 8 values, 8 x 3 first and 8 x 6 second derivatives.
pub(crate) const OUTPUTS: usize = 80;
/// Passes of a loop before its result counts as undefined; at sensible arguments a handful is enough.
const MAX_PASSES: usize = 1_000;

/// Packed pairs.
const PAIRS: [(usize, usize); 6] = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)];

/// A value with its first and second derivatives.
#[derive(Debug, Clone, Copy)]
struct Jet {
    v: f64,
    g: [f64; 3],
    h: [f64; 6],
}

impl Jet {
    fn variable(k: usize, v: f64) -> Self {
        let mut g = [0.0; 3];
        g[k] = 1.0;
        Self { v, g, h: [0.0; 6] }
    }
    fn constant(v: f64) -> Self {
        Self { v, g: [0.0; 3], h: [0.0; 6] }
    }
    /// a self + b.
    fn affine(self, a: f64, b: f64) -> Self {
        Self { v: a * self.v + b, g: self.g.map(|d| a * d), h: self.h.map(|d| a * d) }
    }
    fn plus(self, o: Self) -> Self {
        Self {
            v: self.v + o.v,
            g: std::array::from_fn(|k| self.g[k] + o.g[k]),
            h: std::array::from_fn(|k| self.h[k] + o.h[k]),
        }
    }
    fn times(self, o: Self) -> Self {
        let h = std::array::from_fn(|k| {
            let (i, j) = PAIRS[k];
            self.v * o.h[k] + o.v * self.h[k] + self.g[i] * o.g[j] + self.g[j] * o.g[i]
        });
        Self { v: self.v * o.v, g: std::array::from_fn(|k| self.v * o.g[k] + o.v * self.g[k]), h }
    }
    /// 1 / self: d = -g / v^2, h = 2 g g' / v^3 - h / v^2.
    fn inverse(self) -> Self {
        let r = 1.0 / self.v;
        let h = std::array::from_fn(|k| {
            let (i, j) = PAIRS[k];
            2.0 * r * r * r * self.g[i] * self.g[j] - r * r * self.h[k]
        });
        Self { v: r, g: self.g.map(|d| -r * r * d), h }
    }
    fn over(self, o: Self) -> Self {
        self.times(o.inverse())
    }
}

/// A literal as the file's Fortran reads it.
fn literal(v: f64, literals: Literals) -> f64 {
    match literals {
        Literals::Double => v,
        Literals::Cutest => v as f32 as f64,
    }
}

/// y1..y8 (y1 = x1), their gradients row by row, their packed Hessians row by row.
pub(crate) fn evaluate(x: [f64; 3], literals: Literals) -> [f64; OUTPUTS] {
    let l = |v| literal(v, literals);
    let [x1, x2, x3] = std::array::from_fn(|k| Jet::variable(k, x[k]));
    let undefined = Jet::constant(f64::NAN);
    let (mut y2, mut y3, mut y6) = (x1.affine(l(1.6), 0.0), undefined, undefined);
    let mut settled = false;
    for _ in 0..MAX_PASSES {
        y3 = y2.affine(l(1.22), 0.0).plus(x1.affine(-1.0, 0.0));
        y6 = x2.plus(y3).over(x1);
        let inner = y6.affine(l(13.167), l(112.0)).plus(y6.times(y6).affine(-l(0.6667), 0.0));
        let next = x1.times(inner).affine(l(0.01), 0.0);
        if settled_at(&mut y2, next, l(0.001)) {
            settled = true;
            break;
        }
    }
    if !settled {
        y2 = undefined;
    }
    let (mut y4, mut y5, mut y7, mut y8) = (Jet::constant(93.0), undefined, undefined, undefined);
    settled = false;
    for _ in 0..MAX_PASSES {
        y5 = y6
            .affine(l(1.098), l(86.35))
            .plus(y6.times(y6).affine(-l(0.038), 0.0))
            .plus(y4.affine(l(0.325), -l(0.325) * 89.0));
        y8 = y5.affine(3.0, -133.0);
        y7 = y8.affine(-l(0.222), l(35.82));
        let below = y2.times(y7).plus(x3.affine(1000.0, 0.0));
        let next = x3.affine(98000.0, 0.0).over(below);
        if settled_at(&mut y4, next, l(0.001)) {
            settled = true;
            break;
        }
    }
    if !settled {
        y4 = undefined;
    }
    let mut out = [0.0; OUTPUTS];
    for (k, y) in [x1, y2, y3, y4, y5, y6, y7, y8].iter().enumerate() {
        out[k] = y.v;
        out[8 + 3 * k..11 + 3 * k].copy_from_slice(&y.g);
        out[32 + 6 * k..38 + 6 * k].copy_from_slice(&y.h);
    }
    out
}

/// One pass ends: y takes the new value unless the two agree already.
fn settled_at(y: &mut Jet, next: Jet, tolerance: f64) -> bool {
    if (y.v - next.v).abs() > tolerance {
        *y = next;
        return false;
    }
    true
}

/// The function as a node of expressions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hs67(pub Literals);

impl External for Hs67 {
    fn arity(&self) -> usize {
        3
    }
    fn outputs(&self) -> usize {
        OUTPUTS
    }
    fn eval(&self, args: &[f64], out: &mut [f64]) {
        out.copy_from_slice(&evaluate([args[0], args[1], args[2]], self.0));
    }
    fn derivative(&self, output: usize, arg: usize) -> Option<usize> {
        match output {
            0..8 => Some(8 + 3 * output + arg),
            8..32 => {
                let (k, i) = ((output - 8) / 3, (output - 8) % 3);
                let pair = PAIRS.iter().position(|&p| p == (i.min(arg), i.max(arg)));
                pair.map(|p| 32 + 6 * k + p)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Derivatives against central differences where the number of passes does not change.
    #[test]
    fn derivatives() {
        let x = [1745.0, 12000.0, 110.0];
        let y = evaluate(x, Literals::Double);
        assert!(y.iter().all(|v| v.is_finite()));
        for j in 0..3 {
            let h = 1e-4 * x[j];
            let at = |s: f64| {
                let mut z = x;
                z[j] += s * h;
                evaluate(z, Literals::Double)
            };
            let (plus, minus) = (at(1.0), at(-1.0));
            for k in 0..8 {
                let slope = (plus[k] - minus[k]) / (2.0 * h);
                let got = y[8 + 3 * k + j];
                assert!(
                    (slope - got).abs() <= 1e-6 * (got.abs() + 1e-6),
                    "y{} x{}: {slope} {got}",
                    k + 1,
                    j + 1
                );
                for i in 0..3 {
                    let packed = PAIRS.iter().position(|&p| p == (i.min(j), i.max(j))).unwrap();
                    let slope = (plus[8 + 3 * k + i] - minus[8 + 3 * k + i]) / (2.0 * h);
                    let got = y[32 + 6 * k + packed];
                    assert!(
                        (slope - got).abs() <= 1e-5 * (got.abs() + 1e-9),
                        "y{} {i}{j}: {slope} {got}",
                        k + 1
                    );
                }
            }
        }
    }

    #[test]
    fn hopeless_arguments_end() {
        let y = evaluate([0.0, 0.0, 0.0], Literals::Double);
        assert!(y[1].is_nan() || y[1].is_finite());
        evaluate([1e300, -1e300, f64::NAN], Literals::Double);
        evaluate([f64::INFINITY, 1.0, 1.0], Literals::Cutest);
    }
}
