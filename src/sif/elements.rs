//! Elements of one type in flat arrays, evaluated block by block.

use super::function::Lowered;
use super::program::{BLOCK, Program, Registers};

/// What is computed: values, first, second derivatives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Value,
    Gradient,
    Hessian,
}

/// Sum of outputs: (index of the output, factor).
type Combination = Vec<(usize, f64)>;

/// All used elements of one type. Arrays of one number per element and slot are stored slot by slot.
#[derive(Debug)]
pub(crate) struct Batch {
    pub count: usize,
    /// Number of this batch, for the registers.
    identity: usize,
    /// Problem variables: slot a of element e is `vars[a * count + e]`.
    pub vars: Vec<u32>,
    params: Vec<f64>,
    n_params: usize,
    n_variables: usize,
    range: Option<Vec<Vec<(usize, f64)>>>,
    programs: [Program; 3],
    /// Elemental variables with a structurally nonzero derivative, and how it follows from the program's outputs.
    pub gradient_slots: Vec<usize>,
    gradient_sums: Vec<Combination>,
    /// Elemental pairs (a, b), a >= b, likewise.
    pub hessian_slots: Vec<(usize, usize)>,
    hessian_sums: Vec<Combination>,
    pub values: Vec<f64>,
    /// Slot k of element e: `gradients[k * count + e]`.
    pub gradients: Vec<f64>,
    pub hessians: Vec<f64>,
}

impl Batch {
    /// `vars` and `params` slot by slot.
    pub fn new(identity: usize, lowered: &Lowered, count: usize, vars: Vec<u32>, params: Vec<f64>) -> Self {
        let n_variables = lowered.gradient.len();
        let n_elemental = if count > 0 { vars.len() / count } else { 0 };
        let n_params = if count > 0 { params.len() / count } else { 0 };
        let gradient: Vec<(usize, u32)> =
            lowered.gradient.iter().enumerate().filter_map(|(i, g)| g.map(|g| (i, g))).collect();
        let mut outputs = vec![lowered.value];
        let inputs = n_variables + n_params;
        let value_program = Program::new(&lowered.graph, inputs, &outputs);
        outputs.extend(gradient.iter().map(|g| g.1));
        let gradient_program = Program::new(&lowered.graph, inputs, &outputs);
        outputs.extend(lowered.hessian.iter().map(|h| h.2));
        let hessian_program = Program::new(&lowered.graph, inputs, &outputs);

        let identity_row: Vec<Vec<(usize, f64)>>;
        let rows = match &lowered.range {
            Some(rows) => rows,
            None => {
                identity_row = (0..n_variables).map(|i| vec![(i, 1.0)]).collect();
                &identity_row
            }
        };
        let weight = |i: usize, a: usize| rows[i].iter().find(|r| r.0 == a).map_or(0.0, |r| r.1);
        let (mut gradient_slots, mut gradient_sums) = (Vec::new(), Vec::new());
        for a in 0..n_elemental {
            let sum: Combination = gradient
                .iter()
                .enumerate()
                .map(|(k, (i, _))| (1 + k, weight(*i, a)))
                .filter(|s| s.1 != 0.0)
                .collect();
            if !sum.is_empty() {
                gradient_slots.push(a);
                gradient_sums.push(sum);
            }
        }
        let (mut hessian_slots, mut hessian_sums) = (Vec::new(), Vec::new());
        let first = 1 + gradient.len();
        for a in 0..n_elemental {
            for b in 0..=a {
                let sum: Combination = lowered
                    .hessian
                    .iter()
                    .enumerate()
                    .map(|(k, &(i, j, _))| {
                        let once = weight(i, a) * weight(j, b);
                        let twice = if i == j { 0.0 } else { weight(j, a) * weight(i, b) };
                        (first + k, once + twice)
                    })
                    .filter(|s| s.1 != 0.0)
                    .collect();
                if !sum.is_empty() {
                    hessian_slots.push((a, b));
                    hessian_sums.push(sum);
                }
            }
        }
        Self {
            count,
            identity,
            params,
            n_params,
            n_variables,
            range: lowered.range.clone(),
            programs: [value_program, gradient_program, hessian_program],
            values: vec![0.0; count],
            gradients: vec![0.0; count * gradient_slots.len()],
            hessians: vec![0.0; count * hessian_slots.len()],
            gradient_slots,
            gradient_sums,
            hessian_slots,
            hessian_sums,
            vars,
        }
    }

    /// Evaluates every element at x.
    pub fn evaluate(&mut self, x: &[f64], level: Level, registers: &mut Registers) {
        let program = &self.programs[level as usize];
        program.load(registers, 3 * self.identity + level as usize + 1);
        let count = self.count;
        let mut first = 0;
        while first < count {
            let len = BLOCK.min(count - first);
            self.gather(x, first, len, registers);
            program.run(registers, len);
            let output = |k: usize| &registers.get(program.outputs[k])[..len];
            self.values[first..first + len].copy_from_slice(output(0));
            if level >= Level::Gradient {
                for (k, sum) in self.gradient_sums.iter().enumerate() {
                    combine(sum, &output, &mut self.gradients[k * count + first..][..len]);
                }
            }
            if level == Level::Hessian {
                for (k, sum) in self.hessian_sums.iter().enumerate() {
                    combine(sum, &output, &mut self.hessians[k * count + first..][..len]);
                }
            }
            first += len;
        }
    }

    fn gather(&self, x: &[f64], first: usize, len: usize, registers: &mut Registers) {
        let slot = |a: usize| &self.vars[a * self.count + first..][..len];
        match &self.range {
            None => {
                for i in 0..self.n_variables {
                    for (r, &v) in registers.input(i)[..len].iter_mut().zip(slot(i)) {
                        *r = x[v as usize];
                    }
                }
            }
            Some(rows) => {
                for (i, row) in rows.iter().enumerate() {
                    let register = &mut registers.input(i)[..len];
                    register.fill(0.0);
                    for &(a, w) in row {
                        for (r, &v) in register.iter_mut().zip(slot(a)) {
                            *r += w * x[v as usize];
                        }
                    }
                }
            }
        }
        for k in 0..self.n_params {
            registers.input(self.n_variables + k)[..len]
                .copy_from_slice(&self.params[k * self.count + first..][..len]);
        }
    }
}

fn combine<'o>(sum: &Combination, output: &impl Fn(usize) -> &'o [f64], out: &mut [f64]) {
    match sum.as_slice() {
        [(k, w)] if *w == 1.0 => out.copy_from_slice(output(*k)),
        terms => {
            out.fill(0.0);
            for (k, w) in terms {
                for (o, v) in out.iter_mut().zip(output(*k)) {
                    *o += w * v;
                }
            }
        }
    }
}
