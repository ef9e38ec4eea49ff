//! Arbitrary bytes through the .nl reader and, where they make a problem, one evaluation of everything and a copy written and read back.
#![no_main]

mod evaluate;
mod lines;

use std::time::{Duration, Instant};

use costate::nl::{NlFormat, NlOptions, NlProblem, write};
use costate::nlp::Nlp;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

/// Reading within the limits below may not take longer, checks included.
const PATIENCE: Duration = Duration::from_secs(2);

// Options from a hash of the text, so that the text itself stays a model.
fuzz_target!(|text: &[u8]| {
    let bits = text.iter().fold(0u32, |h, &b| h.wrapping_mul(31).wrapping_add(u32::from(b)));
    let options = NlOptions {
        objective: [0, 1, 1, 2][(bits & 3) as usize],
        relax_integers: bits & 4 != 0,
        objects: 100_000,
        hessian: 1_000_000,
    };
    let clock = Instant::now();
    let read = NlProblem::from_bytes("fuzz.nl", text, &options);
    let time = clock.elapsed();
    assert!(time < PATIENCE, "reading {} bytes took {time:?}", text.len());
    let mut problem = match read {
        Ok(problem) => problem,
        Err(error) => {
            let sentence = error.to_string();
            assert!(!sentence.is_empty() && !sentence.contains('\n'), "{sentence}");
            return;
        }
    };
    evaluate::twice(&mut problem, NlProblem::forget, 0);
    let format = if bits & 8 != 0 { NlFormat::Binary } else { NlFormat::Text };
    if let Ok(file) = write(&problem, format) {
        let again = NlProblem::from_bytes("again.nl", &file.model, &NlOptions::default());
        let again = again.unwrap_or_else(|e| panic!("what was written is not read: {e}"));
        assert_eq!([again.meta().n(), again.meta().m()], [problem.meta().n(), problem.meta().m()]);
    }
});

const TOKENS: [&str; 24] = [
    "0", "1", "-1", "3", "2000000000", "1e300", "nan", "inf", "n0", "n2", "v0", "v1", "v3", "o0", "o2", "o3", "o5", "o16",
    "o35", "o44", "o43", "o54", "o64", "n-1",
];

// Half the changes of texts keep the lines: lines deleted, repeated, swapped; words copied from line to line; tokens put in.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut below = lines::dice(seed);
    if below(2) == 0 || data.first() != Some(&b'g') {
        return fuzzer_mutate(data, size, max_size);
    }
    lines::change(data, size, max_size, &mut below, &mut |lines, (i, j), below| {
        if below(2) == 0 {
            lines[i] = TOKENS[below(TOKENS.len())].as_bytes().to_vec();
            return;
        }
        let words = |line: &[u8]| -> Vec<Vec<u8>> { line.split(|&b| b == b' ').map(<[u8]>::to_vec).collect() };
        let (mut to, from) = (words(&lines[i]), words(&lines[j]));
        let at = below(to.len());
        to[at] = if below(2) == 0 { from[below(from.len())].clone() } else { format!("{}", below(20)).into_bytes() };
        lines[i] = to.join(&b' ');
    })
});
