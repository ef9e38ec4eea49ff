//! Bayesian optimization: the gap to the optimum after 150 evaluations (median, least and largest of 10 seeds) and processor seconds a proposal.
//! `cargo bench --bench bayes_opt [-- SEEDS EVALUATIONS]`. Beside it: `benches/peers/bayes_opt_botorch.py`.

use std::f64::consts::PI;
use std::time::Instant;

use costate::study::data;
use costate::surrogate::bayes_opt::{BayesOpt, Options, Outcome};
use costate::surrogate::space::Space;

struct Problem {
    name: &'static str,
    bounds: Vec<(f64, f64)>,
    constraints: usize,
    optimum: f64,
    f: fn(&[f64]) -> (f64, Vec<f64>),
}

fn gramacy(x: &[f64]) -> (f64, Vec<f64>) {
    let wave = (2.0 * PI * (x[0] * x[0] - 2.0 * x[1])).sin();
    let c = vec![1.5 - x[0] - 2.0 * x[1] - 0.5 * wave, x[0] * x[0] + x[1] * x[1] - 1.5];
    (x[0] + x[1], c)
}

fn problems() -> [Problem; 4] {
    [
        Problem {
            name: "branin",
            bounds: vec![(-5.0, 10.0), (0.0, 15.0)],
            constraints: 0,
            optimum: 0.39788735772973816,
            f: |x| (data::branin(x), vec![]),
        },
        Problem {
            name: "hartmann6",
            bounds: vec![(0.0, 1.0); 6],
            constraints: 0,
            optimum: -3.322368011415515,
            f: |x| (data::hartmann6(x), vec![]),
        },
        Problem {
            name: "ackley10",
            bounds: vec![(-32.768, 32.768); 10],
            constraints: 0,
            optimum: 0.0,
            f: |x| (data::ackley(x), vec![]),
        },
        Problem {
            name: "gramacy",
            bounds: vec![(0.0, 1.0); 2],
            constraints: 2,
            optimum: 0.599788052,
            f: gramacy,
        },
    ]
}

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let seeds = numbers.first().copied().unwrap_or(10) as u64;
    let evaluations = numbers.get(1).copied().unwrap_or(150);
    println!("{:<12} {:>10} {:>10} {:>10} {:>12}", "problem", "median gap", "least", "largest", "s/proposal");
    for p in problems() {
        let (mut gaps, mut seconds) = (vec![], 0.0);
        for seed in 0..seeds {
            let options = Options { constraints: p.constraints, seed, ..Options::default() };
            let mut search = BayesOpt::new(Space::reals(&p.bounds).unwrap(), options).unwrap();
            for _ in 0..evaluations {
                let began = Instant::now();
                let proposal = search.ask().unwrap().unwrap();
                seconds += began.elapsed().as_secs_f64();
                let (objective, constraints) = (p.f)(&proposal.x);
                search.tell(proposal.id, Outcome::Value { objective, constraints }).unwrap();
            }
            let report = search.report();
            gaps.push(if report.feasible { report.objective - p.optimum } else { f64::INFINITY });
        }
        gaps.sort_by(f64::total_cmp);
        let n = gaps.len();
        let median = 0.5 * (gaps[(n - 1) / 2] + gaps[n / 2]);
        let each = seconds / (seeds as usize * evaluations) as f64;
        println!("{:<12} {:>10.2e} {:>10.2e} {:>10.2e} {:>12.4}", p.name, median, gaps[0], gaps[n - 1], each);
    }
}
