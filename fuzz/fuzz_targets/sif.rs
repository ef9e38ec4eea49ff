//! Arbitrary bytes through the SIF reader and, where they make a problem, one evaluation of everything.
#![no_main]

mod evaluate;
mod lines;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use costate::nlp::Nlp;
use costate::sif::{Literals, SifLimits, SifOptions, SifProblem};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

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
        Ok(mut problem) => {
            let meta = problem.meta();
            assert_eq!([meta.variable_names.len(), meta.constraint_names.len()], [meta.n(), meta.m()]);
            let elements = problem.decoded().elements.len();
            evaluate::twice(&mut problem, SifProblem::forget, elements);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

/// Columns of the fields, from 0.
const FIELDS: [std::ops::Range<usize>; 7] = [1..3, 4..14, 14..24, 24..36, 39..49, 49..61, 24..65];
const NUMBERS: [&str; 10] =
    ["0", "1", "-1", "3", "1000", "2147483647", "1.0D+300", "-1.0D-300", "1000000000", "0.5"];

// Half the changes keep the columns: lines deleted, repeated, swapped; fields copied from line to line; numbers replaced.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut below = lines::dice(seed);
    if below(2) == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    lines::change(data, size, max_size, &mut below, &mut |lines, (i, j), below| {
        if below(4) == 0 {
            let number = NUMBERS[below(NUMBERS.len())].as_bytes();
            return put(&mut lines[i], FIELDS[[3, 5][below(2)]].clone(), number);
        }
        let field = FIELDS[below(FIELDS.len())].clone();
        let from = &lines[j][field.start.min(lines[j].len())..field.end.min(lines[j].len())];
        let text = from.to_vec();
        put(&mut lines[i], field, &text);
    })
});

/// Writes a field, padded with blanks; indicator cards and short lines grow into cards.
fn put(line: &mut Vec<u8>, field: std::ops::Range<usize>, text: &[u8]) {
    line.resize(line.len().max(field.end), b' ');
    let slot = &mut line[field];
    slot.fill(b' ');
    let len = text.len().min(slot.len());
    slot[..len].copy_from_slice(&text[..len]);
}
