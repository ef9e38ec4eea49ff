//! What is learned: a true system, noisy data of it, and a law.

use costate::expr::{RecordedMap, Var, record};
use costate::nn::Mlp;
use costate::ode::{Options, TSIT54, VERN76, solve};

use super::Failure;

/// What must hold.
pub enum Law {
    /// Expected steps of the solver, at most.
    Steps(f64),
    /// Sides and formulas.
    Formula(Rows),
}

/// Rows at a time.
pub struct Rows {
    pub lower: Vec<f64>,
    pub upper: Vec<f64>,
    /// Of (task, state, weights).
    pub formula: fn(&Task, &[Var], &[Var], &mut [Var]),
}

/// When a law is asked for.
#[derive(Clone, Copy, PartialEq)]
pub enum When {
    /// At this many times of every span as long as that of the data.
    Along(usize),
    /// At the end, or of the weights alone.
    End,
}

/// One task.
pub struct Task {
    pub name: &'static str,
    pub about: &'static str,
    pub dim: usize,
    /// Units of the hidden layer.
    pub width: usize,
    pub y0: Vec<f64>,
    /// Times of the data, and of the law behind them.
    pub data_times: Vec<f64>,
    pub noise: f64,
    pub law: Law,
    pub when: When,
    /// Up to where.
    pub until: f64,
    /// What makes the data.
    pub truth: fn() -> Result<RecordedMap, Failure>,
}

/// A row of the list.
pub struct Entry {
    pub name: &'static str,
    pub about: &'static str,
    pub make: fn() -> Task,
}

pub const TASKS: [Entry; 6] = [
    Entry { name: "pendulum", about: "a pendulum whose energy stays", make: pendulum },
    Entry { name: "two-body", about: "two bodies whose energy and angular momentum stay", make: two_body },
    Entry { name: "positive", about: "concentrations that are never negative", make: positive },
    Entry { name: "boundary", about: "a state that is reached exactly", make: boundary },
    Entry { name: "stable", about: "a rest point that attracts", make: stable },
    Entry { name: "steps", about: "a field that is cheap to solve", make: steps },
];

fn grid(count: usize, from: f64, to: f64) -> Vec<f64> {
    (1..=count).map(|k| from + (to - from) * k as f64 / count as f64).collect()
}

/// Half the squares of the speeds, less the cosine.
fn energy(y: &[Var]) -> Var {
    y[1] * y[1] * 0.5 - y[0].cos()
}

fn pendulum() -> Task {
    Task {
        name: "pendulum",
        about: "its energy stays, on twice the times of the data",
        dim: 2,
        width: 12,
        y0: vec![1.2, 0.0],
        data_times: grid(40, 0.0, 8.0),
        noise: 0.05,
        law: Law::Formula(Rows {
            lower: vec![0.0],
            upper: vec![0.0],
            formula: |task, y, _, c| {
                c[0] = energy(y) - (0.5 * task.y0[1].powi(2) - task.y0[0].cos());
            },
        }),
        when: When::Along(8),
        until: 16.0,
        truth: || {
            Ok(record(2, 0, |_, y, _, dy| {
                dy[0] = y[1];
                dy[1] = -y[0].sin();
            })?
            .into_map())
        },
    }
}

fn two_body() -> Task {
    Task {
        name: "two-body",
        about: "energy and angular momentum stay, on twice the times of the data",
        dim: 4,
        width: 16,
        y0: vec![1.0, 0.0, 0.0, 0.9],
        data_times: grid(40, 0.0, 5.0),
        noise: 0.02,
        law: Law::Formula(Rows {
            lower: vec![0.0; 2],
            upper: vec![0.0; 2],
            formula: |task, y, _, c| {
                let r = (y[0] * y[0] + y[1] * y[1]).sqrt();
                c[0] = (y[2] * y[2] + y[3] * y[3]) * 0.5 - r.recip() - (0.5 * task.y0[3].powi(2) - 1.0);
                c[1] = y[0] * y[3] - y[1] * y[2] - task.y0[3];
            },
        }),
        when: When::Along(6),
        until: 10.0,
        truth: || {
            Ok(record(4, 0, |_, y, _, dy| {
                let r2 = y[0] * y[0] + y[1] * y[1];
                let r3 = r2 * r2.sqrt();
                (dy[0], dy[1]) = (y[2], y[3]);
                (dy[2], dy[3]) = (-y[0] / r3, -y[1] / r3);
            })?
            .into_map())
        },
    }
}

fn positive() -> Task {
    Task {
        name: "positive",
        about: "A + B -> C is quick, and A is used up: no concentration is negative, on twice the times of the data",
        dim: 3,
        width: 10,
        y0: vec![0.6, 1.0, 0.0],
        data_times: grid(25, 0.0, 2.0),
        noise: 0.03,
        law: Law::Formula(Rows {
            lower: vec![0.0; 3],
            upper: vec![f64::INFINITY; 3],
            formula: |_, y, _, c| c.copy_from_slice(y),
        }),
        when: When::Along(8),
        until: 4.0,
        truth: || {
            Ok(record(3, 0, |_, y, _, dy| {
                let rate = y[0] * y[1] * 3.0;
                (dy[0], dy[1], dy[2]) = (-rate, -rate, rate);
            })?
            .into_map())
        },
    }
}

fn boundary() -> Task {
    Task {
        name: "boundary",
        about: "the state at twice the end of the data is known and reached exactly",
        dim: 2,
        width: 10,
        y0: vec![2.0, 0.0],
        data_times: grid(30, 0.0, 3.0),
        noise: 0.1,
        law: Law::Formula(Rows {
            lower: vec![0.0; 2],
            upper: vec![0.0; 2],
            formula: |task, y, _, c| {
                let end = task.exact(&[task.until]).expect("the true system is solved");
                c.iter_mut().zip(y).zip(end).for_each(|((c, y), end)| *c = *y - end);
            },
        }),
        when: When::End,
        until: 6.0,
        truth: || {
            Ok(record(2, 0, |_, y, _, dy| {
                dy[0] = y[0] * (-0.15) - y[1] * 1.2;
                dy[1] = y[0] * 1.2 - y[1] * 0.15;
            })?
            .into_map())
        },
    }
}

/// The Jacobian of the network at 0 has a symmetric part with eigenvalues of at most -0.05, and 0 is at rest: rows f(0) = 0, trace <= -0.1 and determinant of the shifted part >= 0.
fn stable() -> Task {
    Task {
        name: "stable",
        about: "0 is a rest point, and all near it goes nearer at a rate of at least 0.05",
        dim: 2,
        width: 10,
        y0: vec![1.5, 0.5],
        data_times: grid(15, 0.0, 1.5),
        noise: 0.05,
        law: Law::Formula(Rows {
            lower: vec![0.0, 0.0, f64::NEG_INFINITY, 0.0],
            upper: vec![0.0, 0.0, 0.0, f64::INFINITY],
            formula: |task, _, z, c| {
                let (n, w) = (task.dim, task.width);
                // Weights of a layer are stored column by column, inputs first, then its bias.
                let (w1, rest) = z.split_at(n * w);
                let (b1, rest) = rest.split_at(w);
                let (w2, b2) = rest.split_at(n * w);
                let hidden: Vec<Var> = b1.iter().map(|b| b.tanh()).collect();
                let sum = |terms: Vec<Var>| terms.into_iter().reduce(|a, b| a + b).expect("units");
                let rest = |i: usize| sum((0..w).map(|j| w2[j * n + i] * hidden[j]).collect()) + b2[i];
                let slope = |i: usize, k: usize| {
                    let one = |j: usize| w2[j * n + i] * (1.0 - hidden[j] * hidden[j]) * w1[k * w + j];
                    sum((0..w).map(one).collect())
                };
                (c[0], c[1]) = (rest(0), rest(1));
                let (a, d) = (slope(0, 0) + 0.05, slope(1, 1) + 0.05);
                let b = (slope(0, 1) + slope(1, 0)) * 0.5;
                (c[2], c[3]) = (a + d, a * d - b * b);
            },
        }),
        when: When::End,
        until: 1.5,
        truth: || {
            Ok(record(2, 0, |_, y, _, dy| {
                dy[0] = y[0] * (-0.1) - y[1] * 2.0;
                dy[1] = y[0] * 2.0 - y[1] * 0.1;
            })?
            .into_map())
        },
    }
}

fn steps() -> Task {
    Task {
        name: "steps",
        about: "the solver takes at most 12 expected steps: the multiplier is the price of one",
        dim: 2,
        width: 16,
        y0: vec![2.0, 0.0],
        data_times: grid(30, 0.0, 1.5),
        noise: 0.02,
        law: Law::Steps(12.0),
        when: When::End,
        until: 1.5,
        truth: || {
            Ok(record(2, 0, |_, y, _, dy| {
                let (a, b) = (y[0].powi(3), y[1].powi(3));
                dy[0] = a * (-0.1) + b * 2.0;
                dy[1] = a * (-2.0) - b * 0.1;
            })?
            .into_map())
        },
    }
}

impl Task {
    /// Times at which the law is asked for, up to one.
    fn law_times(&self, until: f64) -> Vec<f64> {
        match self.when {
            When::End if until > 0.0 => vec![until],
            When::End => vec![],
            When::Along(count) => {
                let every = self.end() / count as f64;
                let all = (1..).map(|k| every * k as f64);
                all.take_while(|t| *t < until + 0.5 * every).collect()
            }
        }
    }
    /// Save points: those of the data, then those of the law behind the data.
    pub fn times(&self, until: f64) -> Vec<f64> {
        let behind = self.law_times(until).into_iter().filter(|t| *t > self.end());
        self.data_times.iter().copied().chain(behind).collect()
    }
    /// The save points at which the law is asked for: the nearest ones.
    pub fn law_places(&self, until: f64) -> Vec<usize> {
        let times = self.times(until);
        let nearest =
            |t: f64| (0..times.len()).min_by(|a, b| (times[*a] - t).abs().total_cmp(&(times[*b] - t).abs()));
        self.law_times(until).into_iter().filter_map(nearest).collect()
    }
    /// The true states.
    pub fn exact(&self, times: &[f64]) -> Result<Vec<f64>, Failure> {
        let options = Options::tolerances(1e-10, 1e-10);
        let mut truth = (self.truth)()?;
        let end = times[times.len() - 1];
        Ok(solve(&mut truth, &VERN76, &options, (0.0, end), &self.y0, &[], times)?.states().to_vec())
    }
    /// The data: true states with noise.
    pub fn data(&self, seed: u64) -> Result<Vec<f64>, Failure> {
        use rand::SeedableRng;
        use rand_distr::{Distribution, StandardNormal};
        let mut rng = rand::rngs::StdRng::seed_from_u64(1000 + seed);
        let exact = self.exact(&self.data_times)?;
        let noisy = |y: f64| {
            let e: f64 = StandardNormal.sample(&mut rng);
            y + self.noise * e
        };
        Ok(exact.into_iter().map(noisy).collect())
    }
    /// The end of the data.
    pub fn end(&self) -> f64 {
        self.data_times[self.data_times.len() - 1]
    }
    /// Root mean squares of the errors inside the times of the data and on the four times as long way behind them, and evaluations of the field on all of it.
    pub fn errors(&self, mut net: Mlp<f64>, z: &[f64]) -> Result<(f64, f64, u64), Failure> {
        let (inside, all) = (100, grid(500, 0.0, 5.0 * self.end()));
        let exact = self.exact(&all)?;
        let options = Options::tolerances(1e-6, 1e-6);
        let s = solve(&mut net, &TSIT54, &options, (0.0, 5.0 * self.end()), &self.y0, z, &all)?;
        let root = |a: &[f64], b: &[f64]| {
            let sum: f64 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
            (sum / a.len() as f64).sqrt()
        };
        if !s.report.ok() {
            return Ok((f64::NAN, f64::INFINITY, s.report.counts.evals));
        }
        let (at, found) = (inside * self.dim, s.states());
        let errors = (root(&found[..at], &exact[..at]), root(&found[at..], &exact[at..]));
        Ok((errors.0, errors.1, s.report.counts.evals))
    }
}
