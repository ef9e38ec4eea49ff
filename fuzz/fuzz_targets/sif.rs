//! Arbitrary bytes through the SIF reader and, where they make a problem, one evaluation of everything.
#![no_main]

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use costate::nlp::{EvalError, Nlp};
use costate::sif::{Literals, SifLimits, SifOptions, SifProblem};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

/// Larger problems are read but not evaluated.
const LARGE: usize = 20_000;
/// Reading within the limits below may not take longer, checks included.
const PATIENCE: Duration = Duration::from_secs(2);

/// Low limits, for speed; with `COSTATE_FUZZ_DEFAULTS` set the reader's own.
fn limits() -> SifLimits {
    static LIMITS: OnceLock<SifLimits> = OnceLock::new();
    *LIMITS.get_or_init(|| match std::env::var_os("COSTATE_FUZZ_DEFAULTS") {
        Some(_) => SifLimits::default(),
        None => SifLimits { cards: 200_000, objects: 100_000, hessian: 1_000_000 },
    })
}

// Options from a hash of the text, so that the text itself stays a SIF file.
fuzz_target!(|text: &[u8]| {
    let bits = text.iter().fold(0u32, |h, &b| h.wrapping_mul(31).wrapping_add(u32::from(b)));
    let options = SifOptions {
        lenient: bits & 1 != 0,
        literals: if bits & 2 != 0 { Literals::Cutest } else { Literals::Double },
        start: (bits & 12 == 12).then_some(2),
        limits: limits(),
        ..SifOptions::default()
    };
    let clock = Instant::now();
    let read = SifProblem::from_text("fuzz.SIF", text, &options);
    let time = clock.elapsed();
    let defaults = limits() == SifLimits::default();
    assert!(defaults || time < PATIENCE, "reading {} bytes took {time:?}", text.len());
    match read {
        Ok(problem) => evaluate(problem),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

/// Sizes agree, functions announced are provided, and a second evaluation gives the same bits.
fn evaluate(mut problem: SifProblem) {
    let meta = problem.meta().clone();
    let (n, m) = (meta.n(), meta.m());
    // What a file may say and a solver refuses: crossed bounds, a start that is not finite.
    let sensible = meta.validate();
    let nnzj = meta.jacobian.as_ref().map_or(0, |p| p.len());
    let nnzh = meta.hessian.as_ref().map_or(0, |p| p.len());
    assert_eq!([meta.x_upper.len(), meta.x0.len(), meta.variable_names.len()], [n; 3]);
    assert_eq!([meta.c_upper.len(), meta.y0.len(), meta.linear.len(), meta.constraint_names.len()], [m; 4]);
    for (pattern, rows) in [(&meta.jacobian, m), (&meta.hessian, n)] {
        let Some(p) = pattern else { continue };
        assert_eq!(p.rows.len(), p.cols.len());
        assert!(p.rows.iter().all(|&i| i < rows) && p.cols.iter().all(|&j| j < n), "{sensible:?}");
    }
    if let Some(p) = &meta.hessian {
        assert!(p.rows.iter().zip(&p.cols).all(|(i, j)| i >= j));
    }
    if n.max(m).max(nnzj).max(nnzh).max(problem.decoded().elements.len()) > LARGE {
        return;
    }
    let mut first = Vec::new();
    for pass in 0..2 {
        let all = functions(&mut problem, nnzj, nnzh).expect("a function that is announced");
        if pass == 0 {
            first = all;
            problem.forget();
        } else {
            let same =
                first.iter().zip(&all).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan());
            assert!(first.len() == all.len() && same, "the same point gives another value");
        }
    }
}

/// f, c, gradient, Jacobian, Hessian and products at the start point, in one list.
fn functions(problem: &mut SifProblem, nnzj: usize, nnzh: usize) -> Result<Vec<f64>, EvalError> {
    let (x, y) = (problem.meta().x0.clone(), problem.meta().y0.clone());
    let (n, m) = (x.len(), y.len());
    let ramp = |len: usize| -> Vec<f64> { (1..=len).map(|k| 1.0 / k as f64).collect() };
    let (v, w) = (ramp(n), ramp(m));
    let [mut g, mut jtw, mut hv] = [(); 3].map(|()| vec![0.0; n]);
    let [mut c, mut jv] = [(); 2].map(|()| vec![0.0; m]);
    let (mut jac, mut hess) = (vec![0.0; nnzj], vec![0.0; nnzh]);
    let f = problem.obj(&x)?;
    problem.cons(&x, &mut c)?;
    problem.grad(&x, &mut g)?;
    problem.jac_values(&x, &mut jac)?;
    problem.jac_prod(&x, &v, &mut jv)?;
    problem.jac_t_prod(&x, &w, &mut jtw)?;
    problem.hess_prod(&x, 1.0, &w, &v, &mut hv)?;
    if problem.meta().hessian.is_some() {
        problem.hess_values(&x, 1.0, &w, &mut hess)?;
    }
    Ok([vec![f], c, g, jac, jv, jtw, hv, hess].concat())
}

/// Columns of the fields, from 0.
const FIELDS: [std::ops::Range<usize>; 7] = [1..3, 4..14, 14..24, 24..36, 39..49, 49..61, 24..65];
const NUMBERS: [&str; 10] =
    ["0", "1", "-1", "3", "1000", "2147483647", "1.0D+300", "-1.0D-300", "1000000000", "0.5"];

// Half the changes keep the columns: lines deleted, repeated, swapped; fields copied from line to line; numbers replaced.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut state = u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 20) as usize % n.max(1)
    };
    if below(2) == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let mut lines: Vec<Vec<u8>> = data[..size].split(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
    for _ in 0..=below(3) {
        let (i, j) = (below(lines.len()), below(lines.len()));
        match below(6) {
            0 if lines.len() > 1 => drop(lines.remove(i)),
            1 => lines.insert(i, lines[j].clone()),
            2 => lines.swap(i, j),
            3 => {
                let number = NUMBERS[below(NUMBERS.len())].as_bytes();
                put(&mut lines[i], FIELDS[[3, 5][below(2)]].clone(), number);
            }
            _ => {
                let field = FIELDS[below(FIELDS.len())].clone();
                let from = &lines[j][field.start.min(lines[j].len())..field.end.min(lines[j].len())];
                let text = from.to_vec();
                put(&mut lines[i], field, &text);
            }
        }
    }
    let text = lines.join(&b'\n');
    let size = text.len().min(max_size);
    data[..size].copy_from_slice(&text[..size]);
    size
});

/// Writes a field, padded with blanks; indicator cards and short lines grow into cards.
fn put(line: &mut Vec<u8>, field: std::ops::Range<usize>, text: &[u8]) {
    line.resize(line.len().max(field.end), b' ');
    let slot = &mut line[field];
    slot.fill(b' ');
    let len = text.len().min(slot.len());
    slot[..len].copy_from_slice(&text[..len]);
}
