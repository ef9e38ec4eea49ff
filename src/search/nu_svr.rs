//! nu support vector regression, its dual solved by the crate's predictor-corrector for quadratic programs.
//!
//! ```text
//! min |w|^2 / 2 + C sum_i (nu e + max(|y_i - f(x_i)| - e, 0)),   f(x) = w'phi(x) + b,  over w, b, e >= 0
//! dual:  min d'K d / 2 - y'd,   d = a - a*,   0 <= a, a* <= C,   sum d = 0,   sum (a + a*) = C n nu
//! f(x) = sum_i d_i k(x, x_i) + b;   b and e are the multipliers of the two equations
//! ```
//!
//! nu bounds the share of samples outside the tube |y - f| <= e from above, and that of support vectors from below. Schoelkopf, Smola, Williamson, Bartlett,
//! Neural Computation 12, 2000; C a sample as in Chang and Lin, Neural Computation 14, 2002.

use super::{SearchError, rbf};
use crate::nlp::Problem;
use crate::observe::Silent;
use crate::opt::{Method, Options, solve};

/// C, nu, gamma.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NuSvrOptions {
    /// C > 0: what a sample outside the tube costs.
    pub cost: f64,
    /// nu in (0, 1].
    pub nu: f64,
    /// gamma > 0 of the kernel exp(-gamma |x - z|^2).
    pub gamma: f64,
}

/// A fitted regression.
#[derive(Debug, Clone, PartialEq)]
pub struct NuSvr {
    dim: usize,
    gamma: f64,
    x: Vec<f64>,
    /// d.
    weights: Vec<f64>,
    /// b.
    constant: f64,
    /// e.
    tube: f64,
}

/// The solution of the dual: d, b, e.
struct Dual {
    d: Vec<f64>,
    b: f64,
    e: f64,
}

fn dual(k: &[f64], y: &[f64], cost: f64, nu: f64) -> Result<Dual, SearchError> {
    let n = y.len();
    let difference = |v: &[f64]| -> Vec<f64> { (0..n).map(|i| v[i] - v[n + i]).collect() };
    let times = |d: &[f64], i: usize| k[i * n..][..n].iter().zip(d).map(|(k, d)| k * d).sum::<f64>();
    let total = cost * n as f64 * nu;
    let start = vec![0.5 * cost * nu; 2 * n];
    let problem = Problem::new("nu-SVR", 2 * n)
        .start(&start)
        .bounds(&vec![0.0; 2 * n], &vec![cost; 2 * n])
        .objective(|v| {
            let d = difference(v);
            (0..n).map(|i| d[i] * (0.5 * times(&d, i) - y[i])).sum()
        })
        .gradient(|v, g| {
            let d = difference(v);
            for i in 0..n {
                g[i] = times(&d, i) - y[i];
                g[n + i] = -g[i];
            }
        })
        .hessian(|_, sigma, _, h| {
            for i in 0..n {
                for j in 0..n {
                    let k = sigma * k[i * n + j];
                    h[i * 2 * n + j] = k;
                    h[(n + i) * 2 * n + j] = -k;
                    h[(n + i) * 2 * n + n + j] = k;
                }
            }
        })
        .equality(2, |v, c| {
            c[0] = difference(v).iter().sum();
            c[1] = v.iter().sum::<f64>() - total;
        })
        .jacobian(|_, j| {
            j[..n].fill(1.0);
            j[n..2 * n].fill(-1.0);
            j[2 * n..].fill(1.0);
        })
        .linear_constraints(&[true; 2])
        .quadratic_objective()
        .build();
    let wrong = |e: crate::Error| SearchError::new(format!("nu support vector regression: {e}"));
    let options = Options {
        method: Method::PredictorCorrector,
        max_iterations: 200,
        restarts: 0,
        presolve: false,
        ..Options::default()
    };
    let report = solve(&mut problem.map_err(wrong)?, &options, &mut Silent).map_err(wrong)?;
    if !report.solved() {
        let what = format!("nu support vector regression: the dual was not solved: {}", report.message);
        return Err(SearchError::new(what));
    }
    Ok(Dual { d: difference(&report.x), b: report.y[0], e: report.y[1] })
}

impl NuSvr {
    /// Fits n points (n x dim, point after point).
    ///
    /// # Errors
    /// One sentence: lengths that do not fit, fewer than two points, numbers that are not finite, an option out of range, a dual that was not solved.
    pub fn fit(x: &[f64], dim: usize, y: &[f64], options: NuSvrOptions) -> Result<Self, SearchError> {
        rbf::check(x, dim, y, 2)?;
        let NuSvrOptions { cost, nu, gamma } = options;
        let positive = [cost, nu, gamma].iter().all(|v| *v > 0.0 && v.is_finite());
        if !positive || nu > 1.0 {
            let what =
                format!("C is {cost}, nu {nu} and gamma {gamma}, expected positive numbers, nu at most 1");
            return Err(SearchError::new(what));
        }
        let Dual { d, b, e } = dual(&rbf::gram(gamma, x, dim), y, cost, nu)?;
        Ok(Self { dim, gamma, x: x.to_vec(), weights: d, constant: b, tube: e })
    }
    /// f(x).
    pub fn predict(&self, x: &[f64]) -> f64 {
        let points = self.x.chunks_exact(self.dim).zip(&self.weights);
        self.constant + points.map(|(z, d)| d * rbf::value(self.gamma, x, z)).sum::<f64>()
    }
    /// Half the width of the tube, e.
    pub fn tube(&self) -> f64 {
        self.tube
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Solves a dense system by elimination with pivots; nothing if it is singular.
    fn eliminate(mut a: Vec<Vec<f64>>) -> Option<Vec<f64>> {
        let n = a.len();
        for i in 0..n {
            let p = (i..n).max_by(|p, q| a[*p][i].abs().total_cmp(&a[*q][i].abs()))?;
            a.swap(i, p);
            if a[i][i].abs() < 1e-12 {
                return None;
            }
            for r in 0..n {
                if r != i {
                    let m = a[r][i] / a[i][i];
                    (i..=n).for_each(|c| a[r][c] -= m * a[i][c]);
                }
            }
        }
        Some((0..n).map(|i| a[i][n] / a[i][i]).collect())
    }

    /// The least value of the dual over all 3^(2 n) sets of active bounds.
    fn brute_force(k: &[f64], y: &[f64], cost: f64, nu: f64) -> f64 {
        let n = y.len();
        let sign = |i: usize| if i < n { 1.0 } else { -1.0 };
        let h = |i: usize, j: usize| sign(i) * sign(j) * k[(i % n) * n + j % n];
        let mut best = f64::INFINITY;
        for code in 0..3usize.pow(2 * n as u32) {
            let state: Vec<usize> = (0..2 * n).map(|i| code / 3usize.pow(i as u32) % 3).collect();
            let free: Vec<usize> = (0..2 * n).filter(|i| state[*i] == 1).collect();
            let mut v: Vec<f64> = state.iter().map(|s| if *s == 2 { cost } else { 0.0 }).collect();
            let f = free.len();
            let mut a = vec![vec![0.0; f + 3]; f + 2];
            for (r, i) in free.iter().enumerate() {
                free.iter().enumerate().for_each(|(c, j)| a[r][c] = h(*i, *j));
                (a[r][f], a[r][f + 1]) = (sign(*i), 1.0);
                (a[f][r], a[f + 1][r]) = (sign(*i), 1.0);
                a[r][f + 2] = sign(*i) * y[i % n] - (0..2 * n).map(|j| h(*i, j) * v[j]).sum::<f64>();
            }
            a[f][f + 2] = -(0..2 * n).map(|j| sign(j) * v[j]).sum::<f64>();
            a[f + 1][f + 2] = cost * n as f64 * nu - v.iter().sum::<f64>();
            let Some(solution) = eliminate(a) else { continue };
            free.iter().zip(&solution).for_each(|(i, s)| v[*i] = *s);
            if v.iter().all(|v| (-1e-9..=cost + 1e-9).contains(v)) {
                let d: Vec<f64> = (0..n).map(|i| v[i] - v[n + i]).collect();
                best = best.min(value(k, y, &d));
            }
        }
        best
    }

    fn value(k: &[f64], y: &[f64], d: &[f64]) -> f64 {
        let n = y.len();
        let kd = |i: usize| (0..n).map(|j| k[i * n + j] * d[j]).sum::<f64>();
        (0..n).map(|i| d[i] * (0.5 * kd(i) - y[i])).sum()
    }

    #[test]
    fn the_dual_is_that_of_all_active_sets() {
        let (x, y) = ([0.1, 0.4, 0.7, 1.5], [1.0, -0.4, 0.3, 2.0]);
        for (cost, nu) in [(1.0, 0.5), (10.0, 0.3), (0.3, 0.9)] {
            let k = rbf::gram(1.5, &x, 1);
            let found = dual(&k, &y, cost, nu).unwrap();
            let (value, want) = (value(&k, &y, &found.d), brute_force(&k, &y, cost, nu));
            assert!((value - want).abs() < 1e-6 * (1.0 + want.abs()), "{cost} {nu}: {value} {want}");
        }
    }

    #[test]
    fn nu_bounds_the_samples_outside_the_tube() {
        let n = 40;
        let x: Vec<f64> = (0..n).map(|i| i as f64 / 10.0).collect();
        let y: Vec<f64> =
            x.iter().enumerate().map(|(i, x)| x.sin() + 0.3 * (7.0 * (i * i) as f64).sin()).collect();
        for nu in [0.2, 0.5] {
            let fit = NuSvr::fit(&x, 1, &y, NuSvrOptions { cost: 2.0, nu, gamma: 0.5 }).unwrap();
            let miss = |slack: f64| {
                (0..n).filter(|i| (fit.predict(&x[*i..*i + 1]) - y[*i]).abs() > fit.tube() + slack).count()
                    as f64
            };
            assert!(fit.tube() > 0.0);
            assert!(
                miss(1e-4) <= nu * n as f64 && miss(-1e-4) >= nu * n as f64,
                "{nu}: {} {}",
                miss(1e-4),
                miss(-1e-4)
            );
            // Inside the tube nothing pulls, outside all of C does.
            for i in 0..n {
                let r = y[i] - fit.predict(&x[i..i + 1]);
                if r.abs() < fit.tube() - 1e-4 {
                    assert!(fit.weights[i].abs() < 1e-4);
                } else if r.abs() > fit.tube() + 1e-4 {
                    assert!((fit.weights[i] - 2.0 * r.signum()).abs() < 1e-4);
                }
            }
        }
    }

    #[test]
    fn options_out_of_range_are_one_sentence() {
        let bad = |cost, nu, gamma| NuSvr::fit(&[0.0, 1.0], 1, &[0.0, 1.0], NuSvrOptions { cost, nu, gamma });
        for (c, nu, g) in [(0.0, 0.5, 1.0), (1.0, 1.1, 1.0), (1.0, 0.5, f64::NAN)] {
            assert!(bad(c, nu, g).unwrap_err().to_string().contains("expected positive"));
        }
    }
}
