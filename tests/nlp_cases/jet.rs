//! Numbers with exact first and second derivatives in up to [`MOST`] variables, so that a case is its formula and nothing else.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// Variables of a case written with jets.
pub const MOST: usize = 12;
const TRIANGLE: usize = MOST * (MOST + 1) / 2;

/// A value, its gradient, and its second derivatives (lower triangle by rows).
#[derive(Clone, Copy)]
pub struct Jet {
    pub v: f64,
    pub g: [f64; MOST],
    pub h: [f64; TRIANGLE],
}

/// Zero times anything is zero: a variable that does not occur gets no NaN from an infinite slope of another one.
fn times(a: f64, b: f64) -> f64 {
    if a == 0.0 || b == 0.0 { 0.0 } else { a * b }
}

impl Jet {
    pub fn constant(v: f64) -> Self {
        Self { v, g: [0.0; MOST], h: [0.0; TRIANGLE] }
    }

    /// The variables x, as many as there are.
    pub fn variables(x: &[f64]) -> Vec<Self> {
        assert!(x.len() <= MOST, "at most {MOST} variables");
        let one = |(j, v): (usize, &f64)| {
            let mut jet = Self::constant(*v);
            jet.g[j] = 1.0;
            jet
        };
        x.iter().enumerate().map(one).collect()
    }

    /// p(self) from p, p', p''.
    fn chain(self, v: f64, first: f64, second: f64) -> Self {
        let mut out = Self::constant(v);
        for i in 0..MOST {
            out.g[i] = times(first, self.g[i]);
            for j in 0..=i {
                let k = i * (i + 1) / 2 + j;
                out.h[k] = times(first, self.h[k]) + times(second, times(self.g[i], self.g[j]));
            }
        }
        out
    }

    pub fn powi(self, n: i32) -> Self {
        let m = f64::from(n);
        self.chain(
            self.v.powi(n),
            times(m, self.v.powi(n - 1)),
            times(m * (m - 1.0), if n == 1 { 0.0 } else { self.v.powi(n - 2) }),
        )
    }
    pub fn powf(self, p: f64) -> Self {
        self.chain(self.v.powf(p), p * self.v.powf(p - 1.0), p * (p - 1.0) * self.v.powf(p - 2.0))
    }
    pub fn sqrt(self) -> Self {
        let r = self.v.sqrt();
        self.chain(r, 0.5 / r, -0.25 / (r * self.v))
    }
    pub fn exp(self) -> Self {
        let e = self.v.exp();
        self.chain(e, e, e)
    }
    pub fn ln(self) -> Self {
        self.chain(self.v.ln(), 1.0 / self.v, -1.0 / (self.v * self.v))
    }
    pub fn ln_1p(self) -> Self {
        let w = 1.0 + self.v;
        self.chain(self.v.ln_1p(), 1.0 / w, -1.0 / (w * w))
    }
    pub fn cos(self) -> Self {
        self.chain(self.v.cos(), -self.v.sin(), -self.v.cos())
    }
    pub fn sin(self) -> Self {
        self.chain(self.v.sin(), self.v.cos(), -self.v.sin())
    }
    /// At the kink, the slope to the right.
    pub fn abs(self) -> Self {
        self.chain(self.v.abs(), self.v.signum(), 0.0)
    }
    /// The larger one; at equality the first.
    pub fn max(self, other: Self) -> Self {
        if self.v >= other.v { self } else { other }
    }
}

impl Add for Jet {
    type Output = Self;
    fn add(mut self, b: Self) -> Self {
        self.v += b.v;
        self.g.iter_mut().zip(b.g).for_each(|(a, b)| *a += b);
        self.h.iter_mut().zip(b.h).for_each(|(a, b)| *a += b);
        self
    }
}
impl Neg for Jet {
    type Output = Self;
    fn neg(mut self) -> Self {
        self.v = -self.v;
        self.g.iter_mut().for_each(|a| *a = -*a);
        self.h.iter_mut().for_each(|a| *a = -*a);
        self
    }
}
impl Sub for Jet {
    type Output = Self;
    fn sub(self, b: Self) -> Self {
        self + -b
    }
}
impl Mul for Jet {
    type Output = Self;
    fn mul(self, b: Self) -> Self {
        let mut out = Self::constant(self.v * b.v);
        for i in 0..MOST {
            out.g[i] = times(self.v, b.g[i]) + times(self.g[i], b.v);
            for j in 0..=i {
                let k = i * (i + 1) / 2 + j;
                out.h[k] = times(self.v, b.h[k])
                    + times(self.h[k], b.v)
                    + times(self.g[i], b.g[j])
                    + times(self.g[j], b.g[i]);
            }
        }
        out
    }
}
impl Div for Jet {
    type Output = Self;
    fn div(self, b: Self) -> Self {
        let r = 1.0 / b.v;
        let mut out = self * b.chain(r, -r * r, 2.0 * r * r * r);
        out.v = self.v / b.v;
        out
    }
}

/// The same with a number on either side.
macro_rules! with_number {
    ($($op:ident $call:ident),+) => {$(
        impl $op<f64> for Jet {
            type Output = Jet;
            fn $call(self, b: f64) -> Jet {
                $op::$call(self, Jet::constant(b))
            }
        }
        impl $op<Jet> for f64 {
            type Output = Jet;
            fn $call(self, b: Jet) -> Jet {
                $op::$call(Jet::constant(self), b)
            }
        }
    )+};
}
with_number!(Add add, Sub sub, Mul mul, Div div);

#[test]
fn derivatives_of_jets_are_those_of_differences() {
    let f = |x: &[Jet]| {
        let (a, b) = (x[0], x[1]);
        (a * b - 0.3).exp() / (2.0 + b.powi(2)) + (a.powf(1.7) * b).sin() * (b + 3.0).ln()
            - (a + 0.5).sqrt() * (1.0 + a * b).ln_1p()
            + (a - b * b).cos() * a.powi(3)
            + (b - 5.0).abs() * a
    };
    let x = [0.8, 1.3];
    let at = f(&Jet::variables(&x));
    let h = 1e-5;
    for j in 0..2 {
        let moved = |sign: f64| {
            let mut y = x;
            y[j] += sign * h;
            f(&Jet::variables(&y))
        };
        let (up, down) = (moved(1.0), moved(-1.0));
        assert!(((up.v - down.v) / (2.0 * h) - at.g[j]).abs() < 1e-8);
        for i in 0..2 {
            let (row, col) = (i.max(j), i.min(j));
            let second = at.h[row * (row + 1) / 2 + col];
            assert!(((up.g[i] - down.g[i]) / (2.0 * h) - second).abs() < 1e-8, "{i} {j}");
        }
    }
    assert!(at.g[2..].iter().all(|g| *g == 0.0));
}
