//! The tape that [`Active`] numbers write, and the sweeps over it.
//!
//! Step k computes v_k = phi(v_a, v_b) and keeps the first and second derivatives of phi there. With w the weights of the outputs:
//!
//! ```text
//!     forward along a direction   v'_k  = phi_a v'_a + phi_b v'_b
//!     reverse                     vbar_a += phi_a vbar_k                                                     gradient of w'y
//!     its tangent                 vbar'_a += phi_a vbar'_k + (phi_aa v'_a + phi_ab v'_b) vbar_k              Hessian of w'y times the direction
//! ```
//!
//! Patterns are those of the graph, whatever the values: row i of the Jacobian has the inputs from which output i can be reached; the Hessian has the pairs that
//! edge pushing finds (Gower and Mello, Optim. Methods Softw. 27, 2012): from the last step to the first, a pair (k, p) with step k becomes the pairs of its
//! operands with p, and a curved step makes the pairs of its operands.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering};

use super::active::Active;

/// The place of what is on no tape.
pub(super) const CONSTANT: u32 = u32::MAX;

/// Directions of one sweep.
pub(crate) const LANES: usize = 4;
pub(crate) type Lane = [f64; LANES];

/// What a step does to the degree of a polynomial, and which second derivatives it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curvature {
    /// Linear.
    None,
    /// Linear on both sides of a kink: no second derivatives, but no polynomial.
    Kinked,
    /// phi_ab alone.
    Product,
    /// phi_aa of a square.
    Square,
    /// phi_ab and phi_bb.
    Quotient,
    /// All.
    Any,
}

/// Degree of what is no polynomial of degree 0 to 2.
const OTHER: u8 = 3;

#[derive(Debug, Clone, Copy)]
struct Step {
    operands: [u32; 2],
    /// phi_a, phi_b.
    d: [f64; 2],
    /// phi_aa, phi_ab, phi_bb.
    dd: [f64; 3],
    curvature: Curvature,
    degree: u8,
}

/// One evaluation of a function.
#[derive(Debug, Default)]
pub(crate) struct Tape {
    number: u32,
    inputs: usize,
    steps: Vec<Step>,
    outputs: Vec<u32>,
    inspected: bool,
    broken: Option<&'static str>,
}

static TAPES: AtomicU32 = AtomicU32::new(1);

thread_local! {
    /// Tapes under way, the innermost last.
    static OPEN: RefCell<Vec<Tape>> = const { RefCell::new(Vec::new()) };
}

/// Ends its tape when it goes, by a panic of the function too.
struct Open;

impl Open {
    fn end(self) -> Tape {
        OPEN.with_borrow_mut(|open| open.last_mut().map(std::mem::take).unwrap_or_default())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        OPEN.with_borrow_mut(|open| drop(open.pop()));
    }
}

/// A value was looked at.
pub(super) fn inspected() {
    OPEN.with_borrow_mut(|open| open.iter_mut().for_each(|tape| tape.inspected = true));
}

/// A new step.
pub(super) fn write(
    re: f64,
    operands: [Active; 2],
    d: [f64; 2],
    dd: [f64; 3],
    curvature: Curvature,
) -> Active {
    let places = operands.map(Active::place);
    OPEN.with_borrow_mut(|open| {
        let Some(tape) = open.last_mut() else { return Active::from(f64::NAN) };
        let foreign = |&(id, number): &(u32, u32)| id != CONSTANT && number != tape.number;
        if places.iter().any(foreign) {
            tape.broken = Some("a number of another evaluation was used");
            return Active::from(f64::NAN);
        }
        let id = tape.len();
        if id >= CONSTANT as usize {
            tape.broken = Some("there are more than 4294967294 operations");
            return Active::from(f64::NAN);
        }
        let operands = places.map(|p| p.0);
        let degree = tape.degree_of(operands, curvature);
        tape.steps.push(Step { operands, d, dd, curvature, degree });
        Active::on_tape(re, id as u32, tape.number)
    })
}

impl Tape {
    /// Evaluates f at x, the former steps forgotten; `variables` has the length of x, and f returns its outputs.
    pub fn record<'a>(
        &mut self,
        x: &[f64],
        variables: &mut [Active],
        f: impl FnOnce(&[Active]) -> (Active, &'a [Active]),
    ) {
        let number = TAPES.fetch_add(1, Ordering::Relaxed);
        let mut tape = std::mem::take(self);
        tape.steps.clear();
        tape.outputs.clear();
        (tape.number, tape.inputs, tape.inspected, tape.broken) = (number, x.len(), false, None);
        for (k, (v, x)) in variables.iter_mut().zip(x).enumerate() {
            *v = Active::on_tape(*x, k as u32, number);
        }
        OPEN.with_borrow_mut(|open| open.push(tape));
        let open = Open;
        let (first, others) = f(variables);
        *self = open.end();
        for output in std::iter::once(&first).chain(others) {
            let (id, of) = output.place();
            if id != CONSTANT && of != number {
                self.broken = Some("a number of another evaluation was returned");
            }
            self.outputs.push(if of == number { id } else { CONSTANT });
        }
    }

    /// Inputs and steps.
    fn len(&self) -> usize {
        self.inputs + self.steps.len()
    }
    /// What made the tape useless.
    pub fn broken(&self) -> Option<&'static str> {
        self.broken
    }
    /// A value was looked at: another point may take another way.
    pub fn is_inspected(&self) -> bool {
        self.inspected
    }

    fn degree(&self, id: u32) -> u8 {
        match (id, (id as usize).checked_sub(self.inputs)) {
            (CONSTANT, _) => 0,
            (_, None) => 1,
            (_, Some(k)) => self.steps[k].degree,
        }
    }
    fn degree_of(&self, operands: [u32; 2], curvature: Curvature) -> u8 {
        let [a, b] = operands.map(|id| self.degree(id));
        match curvature {
            Curvature::None => a.max(b),
            Curvature::Product => (a + b).min(OTHER),
            Curvature::Square => (2 * a).min(OTHER),
            Curvature::Kinked | Curvature::Quotient | Curvature::Any => OTHER,
        }
    }
    /// Degree of an output as a polynomial, 3 if it is none or a higher one.
    pub fn output_degree(&self, output: usize) -> u8 {
        self.degree(self.outputs[output])
    }

    /// A number that two tapes share if their patterns are the same, as good as surely.
    pub fn structure(&self) -> u64 {
        let mix = |hash: u64, word: u64| {
            // FxHash's step, and a shift that brings high bits down.
            let hash = (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
            hash ^ (hash >> 32)
        };
        let mut hash = self.inputs as u64;
        for s in &self.steps {
            let [a, b] = s.operands.map(u64::from);
            hash = mix(mix(hash, a << 32 | b), s.curvature as u64);
        }
        self.outputs.iter().fold(hash, |hash, id| mix(hash, u64::from(*id)))
    }

    /// g <- gradient of w'y from (output, w); bars <- those of all steps.
    pub fn gradient(&self, weights: impl Iterator<Item = (usize, f64)>, bars: &mut Vec<f64>, g: &mut [f64]) {
        bars.clear();
        bars.resize(self.len(), 0.0);
        for (output, weight) in weights {
            if let Some(bar) = bars.get_mut(self.outputs[output] as usize) {
                *bar += weight;
            }
        }
        for (k, s) in self.steps.iter().enumerate().rev() {
            let bar = bars[self.inputs + k];
            // A weight of 0 times an infinite derivative is 0.
            if bar == 0.0 {
                continue;
            }
            for (id, d) in s.operands.iter().zip(s.d) {
                if *id != CONSTANT && d != 0.0 {
                    bars[*id as usize] += d * bar;
                }
            }
        }
        g.copy_from_slice(&bars[..self.inputs]);
    }

    /// The derivatives of all steps along the directions that `dots` has for the inputs.
    pub fn tangent(&self, dots: &mut Vec<Lane>) {
        dots.resize(self.inputs, [0.0; LANES]);
        for s in &self.steps {
            let mut dot = [0.0; LANES];
            for (id, d) in s.operands.iter().zip(s.d) {
                if *id != CONSTANT && d != 0.0 {
                    let operand = dots[*id as usize];
                    for (x, v) in dot.iter_mut().zip(operand) {
                        // An infinite derivative along nothing is nothing.
                        *x += if v == 0.0 { 0.0 } else { d * v };
                    }
                }
            }
            dots.push(dot);
        }
    }
    /// The derivative of an output after [`tangent`](Self::tangent).
    pub fn output_dot(&self, dots: &[Lane], output: usize) -> Lane {
        dots.get(self.outputs[output] as usize).copied().unwrap_or_default()
    }

    /// The Hessian of w'y times the directions of [`tangent`](Self::tangent), in the places of the inputs; `bars` are those of
    /// [`gradient`](Self::gradient).
    pub fn second_order(&self, bars: &[f64], dots: &[Lane], bar_dots: &mut Vec<Lane>) {
        bar_dots.clear();
        bar_dots.resize(self.len(), [0.0; LANES]);
        for (k, s) in self.steps.iter().enumerate().rev() {
            let (bar, bar_dot) = (bars[self.inputs + k], bar_dots[self.inputs + k]);
            let curved = bar != 0.0 && !matches!(s.curvature, Curvature::None | Curvature::Kinked);
            let [a, b] = s.operands;
            if bar_dot != [0.0; LANES] {
                for (id, d) in s.operands.iter().zip(s.d) {
                    if *id != CONSTANT && d != 0.0 {
                        let to = &mut bar_dots[*id as usize];
                        to.iter_mut().zip(bar_dot).for_each(|(to, v)| *to += d * v);
                    }
                }
            }
            if curved {
                let [aa, ab, bb] = s.dd;
                for (to, from, second) in [(a, a, aa), (a, b, ab), (b, a, ab), (b, b, bb)] {
                    if to != CONSTANT && from != CONSTANT && second != 0.0 {
                        let (factor, dot) = (second * bar, dots[from as usize]);
                        let to = &mut bar_dots[to as usize];
                        to.iter_mut()
                            .zip(dot)
                            .for_each(|(to, v)| *to += if v == 0.0 { 0.0 } else { factor * v });
                    }
                }
            }
        }
    }

    /// The inputs that outputs depend on, ascending, for outputs `first..`; `None` beyond `most` entries.
    pub fn jacobian_pattern(&self, first: usize, most: usize) -> Option<Vec<Vec<usize>>> {
        let mut seen = vec![usize::MAX; self.len()];
        let mut open: Vec<u32> = Vec::new();
        let (mut rows, mut entries) = (Vec::new(), 0);
        for (row, &output) in self.outputs.iter().enumerate().skip(first) {
            let mut columns = Vec::new();
            open.push(output);
            while let Some(id) = open.pop() {
                if id == CONSTANT || std::mem::replace(&mut seen[id as usize], row) == row {
                    continue;
                }
                match (id as usize).checked_sub(self.inputs) {
                    None => columns.push(id as usize),
                    Some(k) => open.extend(self.steps[k].operands),
                }
            }
            columns.sort_unstable();
            entries += columns.len();
            if entries > most {
                return None;
            }
            rows.push(columns);
        }
        Some(rows)
    }

    /// Steps and inputs that an output depends on.
    fn live(&self) -> Vec<bool> {
        let mut live = vec![false; self.len()];
        for &id in &self.outputs {
            if let Some(x) = live.get_mut(id as usize) {
                *x = true;
            }
        }
        for (k, s) in self.steps.iter().enumerate().rev() {
            if live[self.inputs + k] {
                for id in s.operands.into_iter().filter(|id| *id != CONSTANT) {
                    live[id as usize] = true;
                }
            }
        }
        live
    }

    /// The rows i >= j of each column j of the Hessian of any w'y, ascending; `None` beyond `most` pairs at a time.
    pub fn hessian_pattern(&self, most: usize) -> Option<Vec<Vec<usize>>> {
        let live = self.live();
        // Of each pair the earlier one, with the later one.
        let mut partners: Vec<Vec<u32>> = vec![Vec::new(); self.len()];
        let mut pairs = 0usize;
        let mut add = |partners: &mut Vec<Vec<u32>>, a: u32, b: u32| {
            if a != CONSTANT && b != CONSTANT {
                partners[a.max(b) as usize].push(a.min(b));
                pairs += 1;
            }
            pairs <= most
        };
        for (k, s) in self.steps.iter().enumerate().rev() {
            let id = self.inputs + k;
            if !live[id] {
                continue;
            }
            let mut mine = std::mem::take(&mut partners[id]);
            mine.sort_unstable();
            mine.dedup();
            let [a, b] = s.operands;
            let own = match s.curvature {
                Curvature::None | Curvature::Kinked => [false; 3],
                Curvature::Product => [false, true, false],
                Curvature::Square => [true, false, false],
                Curvature::Quotient => [false, true, true],
                Curvature::Any => [true; 3],
            };
            let itself = mine.last() == Some(&(id as u32));
            let within = [a, a, b].into_iter().zip([a, b, b]).zip(own);
            for ((p, q), curved) in within {
                if (curved || itself) && !add(&mut partners, p, q) {
                    return None;
                }
            }
            for p in mine.into_iter().filter(|p| *p != id as u32) {
                if !(add(&mut partners, a, p) && (b == a || add(&mut partners, b, p))) {
                    return None;
                }
            }
        }
        let mut columns = vec![Vec::new(); self.inputs];
        for (i, mine) in partners.iter_mut().enumerate().take(self.inputs) {
            mine.sort_unstable();
            mine.dedup();
            mine.iter().for_each(|&j| columns[j as usize].push(i));
        }
        Some(columns)
    }
}

#[cfg(test)]
#[path = "tape_tests.rs"]
mod tests;
