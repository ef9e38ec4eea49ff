//! GMRES for operators that are preconditioned from the right, with sums over chunks in a fixed order: the vectors of these problems are long and
//! the iterations few.

use rayon::prelude::*;

use super::parallel::{axpy, chunk_dot, dot, norm, over, xpby};

const CHUNK: usize = 8 * 1024;
/// Groups of chunks whose sums are kept apart.
const GROUPS: usize = 32;

/// How an iteration ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Solved {
    /// Cycles or iterations.
    pub iterations: usize,
    /// |f - A u| / |f|, Euclidean norm, of the true residual.
    pub relative_residual: f64,
    /// The tolerance was reached.
    pub reached: bool,
}

/// A and P^-1 of one system, and what they need.
pub(super) trait System {
    /// y <- A x.
    fn apply(&mut self, x: &[f64], y: &mut [f64]);
    /// z <- P^-1 r, the same linear operator each time.
    fn precondition(&mut self, r: &[f64], z: &mut [f64]);
}

/// Basis of a Krylov space, one vector after the other, and its projections.
#[derive(Debug, Default)]
struct Basis {
    n: usize,
    vectors: Vec<Vec<f64>>,
    partial: Vec<f64>,
}

impl Basis {
    /// h <- Q'w for the first h.len() vectors, in one pass over w.
    fn project(&mut self, w: &[f64], h: &mut [f64]) {
        let (k, n) = (h.len(), self.n);
        let group = n.div_ceil(CHUNK).div_ceil(GROUPS) * CHUNK;
        let vectors = &self.vectors[..k];
        self.partial.resize(GROUPS * k, 0.0);
        self.partial.par_chunks_mut(k).enumerate().for_each(|(g, sums)| {
            sums.fill(0.0);
            let (from, to) = ((g * group).min(n), ((g + 1) * group).min(n));
            for at in (from..to).step_by(CHUNK) {
                let range = at..(at + CHUNK).min(to);
                for (s, q) in sums.iter_mut().zip(vectors) {
                    *s += chunk_dot(&q[range.clone()], &w[range.clone()]);
                }
            }
        });
        h.fill(0.0);
        for sums in self.partial.chunks(k) {
            h.iter_mut().zip(sums).for_each(|(h, s)| *h += s);
        }
    }

    /// w <- w + sign Q h.
    fn add(&self, sign: f64, h: &[f64], w: &mut [f64]) {
        over(w, |at, w| {
            for (q, h) in self.vectors.iter().zip(h) {
                let c = sign * h;
                w.iter_mut().zip(&q[at..]).for_each(|(w, q)| *w += c * q);
            }
        });
    }
}

/// x is improved until |b - A x| <= tolerance |b|: GMRES of A P^-1 (Saad and Schultz 1986), classical Gram-Schmidt, restarted after `restart`
/// iterations.
pub(super) fn gmres(
    system: &mut dyn System,
    b: &[f64],
    x: &mut [f64],
    tolerance: f64,
    max_iterations: usize,
    restart: usize,
) -> Solved {
    let n = b.len();
    let mut basis = Basis { n, ..Basis::default() };
    let (mut r, mut z) = (vec![0.0; n], vec![0.0; n]);
    let size = norm(b);
    let target = tolerance * size;
    let mut iterations = 0;
    let mut last = f64::INFINITY;
    let left = loop {
        system.apply(x, &mut r);
        over(&mut r, |at, r| r.iter_mut().zip(&b[at..]).for_each(|(r, b)| *r = b - *r));
        let left = norm(&r);
        if left <= target || iterations >= max_iterations || !left.is_finite() || left > 0.9 * last {
            break left;
        }
        last = left;
        let most = restart.min(max_iterations - iterations);
        let y = cycle(system, &mut basis, (&r, left), &mut z, target, most);
        iterations += y.len();
        r.fill(0.0);
        basis.add(1.0, &y, &mut r);
        system.precondition(&r, &mut z);
        over(x, |at, x| x.iter_mut().zip(&z[at..]).for_each(|(x, z)| *x += z));
    };
    let relative_residual = if size > 0.0 { left / size } else { left };
    Solved { iterations, relative_residual, reached: left <= target }
}

/// The coefficients y of one cycle: |r - A P^-1 Q y| is least.
fn cycle(
    system: &mut dyn System,
    basis: &mut Basis,
    (r, size): (&[f64], f64),
    z: &mut [f64],
    target: f64,
    most: usize,
) -> Vec<f64> {
    let set = |basis: &mut Basis, k: usize, v: &[f64], scale: f64| {
        if basis.vectors.len() == k {
            basis.vectors.push(vec![0.0; basis.n]);
        }
        over(&mut basis.vectors[k], |at, q| q.iter_mut().zip(&v[at..]).for_each(|(q, v)| *q = v / scale));
    };
    set(basis, 0, r, size);
    let mut w = vec![0.0; r.len()];
    // Columns of R, rotations, and the right-hand side of the least-squares problem.
    let (mut columns, mut rotations, mut g) = (Vec::<Vec<f64>>::new(), Vec::<(f64, f64)>::new(), vec![size]);
    while columns.len() < most {
        let k = columns.len();
        system.precondition(&basis.vectors[k], z);
        system.apply(z, &mut w);
        let mut h = vec![0.0; k + 1];
        basis.project(&w, &mut h);
        basis.add(-1.0, &h, &mut w);
        let next = norm(&w);
        if !next.is_finite() {
            break;
        }
        for (i, (c, s)) in rotations.iter().enumerate() {
            (h[i], h[i + 1]) = (c * h[i] + s * h[i + 1], c * h[i + 1] - s * h[i]);
        }
        let rho = h[k].hypot(next);
        if rho == 0.0 {
            break;
        }
        let (c, s) = (h[k] / rho, next / rho);
        h[k] = rho;
        let last = g[k];
        (g[k], _) = (c * last, g.push(-s * last));
        rotations.push((c, s));
        columns.push(h);
        if g[k + 1].abs() <= target || next <= 1e-14 * rho {
            break;
        }
        set(basis, k + 1, &w, next);
    }
    let k = columns.len();
    let mut y = g[..k].to_vec();
    for i in (0..k).rev() {
        y[i] /= columns[i][i];
        for j in 0..i {
            y[j] -= columns[i][j] * y[i];
        }
    }
    y
}

/// Vectors of conjugate gradients.
#[derive(Debug, Clone, Default)]
pub(super) struct CgWork {
    r: Vec<f64>,
    z: Vec<f64>,
    p: Vec<f64>,
    q: Vec<f64>,
}

/// u is improved until |f - A u| <= tolerance |f|: preconditioned conjugate gradients (Hestenes and Stiefel 1952), A and P symmetric positive
/// definite.
pub(super) fn conjugate_gradients(
    system: &mut dyn System,
    work: &mut CgWork,
    f: &[f64],
    u: &mut [f64],
    tolerance: f64,
    max_iterations: usize,
) -> Solved {
    let CgWork { r, z, p, q } = work;
    for v in [&mut *r, &mut *z, &mut *p, &mut *q] {
        v.resize(f.len(), 0.0);
    }
    let residual = |system: &mut dyn System, u: &[f64], r: &mut [f64]| {
        system.apply(u, r);
        over(r, |at, r| r.iter_mut().zip(&f[at..]).for_each(|(r, f)| *r = f - *r));
        norm(r)
    };
    let size = norm(f);
    let target = tolerance * size;
    let mut left = residual(system, u, r);
    let (mut iterations, mut rho) = (0, 0.0);
    while left > target && iterations < max_iterations && left.is_finite() {
        system.precondition(r, z);
        let before = std::mem::replace(&mut rho, dot(r, z));
        xpby(z, if iterations == 0 { 0.0 } else { rho / before }, p);
        system.apply(p, q);
        let curvature = dot(p, q);
        if !(curvature > 0.0 && rho > 0.0) {
            break;
        }
        let step = rho / curvature;
        axpy(step, p, u);
        axpy(-step, q, r);
        left = norm(r);
        iterations += 1;
    }
    let left = residual(system, u, r);
    let relative_residual = if size > 0.0 { left / size } else { left };
    // The recurrence may be below the target where rounding keeps the true residual a little above it.
    Solved { iterations, relative_residual, reached: left <= 2.0 * target }
}
