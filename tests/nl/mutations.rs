//! Models changed at random, text and binary: read or refused with one sentence, never a panic, nothing that takes long; what is read is evaluated and
//! written again. `fuzz/` does the same guided by coverage.

use std::time::{Duration, Instant};

use costate::Nlp;
use costate::nl::{NlFormat, NlOptions, NlProblem, write};
use costate::sif::{SifOptions, SifProblem};

use crate::model::HS71;
use crate::read;

/// Numbers below a limit.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % n.max(1)
    }
}

const TOKENS: [&str; 32] = [
    "0",
    "1",
    "-1",
    "3",
    "2000000000",
    "1e300",
    "nan",
    "inf",
    "n0",
    "n2",
    "n-1",
    "v0",
    "v1",
    "v3",
    "o0",
    "o2",
    "o3",
    "o5",
    "o11",
    "o16",
    "o35",
    "o43",
    "o44",
    "o54",
    "o59",
    "o64",
    "o72",
    "o79",
    "C0",
    "x1",
    "r",
    "b",
];

fn change_text(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let mut lines: Vec<Vec<u8>> = bytes.split(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
    for _ in 0..=dice.below(3) {
        let (i, j) = (dice.below(lines.len()), dice.below(lines.len()));
        match dice.below(7) {
            0 if lines.len() > 1 => drop(lines.remove(i)),
            1 => lines.insert(i, lines[j].clone()),
            2 => lines.swap(i, j),
            3 => lines[i] = TOKENS[dice.below(TOKENS.len())].as_bytes().to_vec(),
            4 => lines.insert(i, TOKENS[dice.below(TOKENS.len())].as_bytes().to_vec()),
            _ => {
                let mut words: Vec<Vec<u8>> = lines[i].split(|&b| b == b' ').map(<[u8]>::to_vec).collect();
                let at = dice.below(words.len());
                words[at] = format!("{}", dice.below(9) as i64 - 1).into_bytes();
                lines[i] = words.join(&b' ');
            }
        }
    }
    *bytes = lines.join(&b'\n');
}

fn change_bytes(bytes: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len());
        match dice.below(5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, dice.below(256) as u8),
            2 if !bytes.is_empty() => drop(bytes.remove(at)),
            _ if !bytes.is_empty() => {
                bytes[at] = [0, 1, 0x7f, 0xff, b'o', b'v', b'n', dice.below(256) as u8][dice.below(8)]
            }
            _ => {}
        }
    }
}

/// Our own models: of the tests and of the SIF files here.
fn corpus() -> Vec<Vec<u8>> {
    let mut problems = vec![read(HS71), read(&crate::damage::full())];
    let mut all = Vec::new();
    problems.drain(..).for_each(|p| both(&p, &mut all));
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("problems");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "SIF"));
    files.sort();
    for file in files.iter().step_by(4) {
        let problem = SifProblem::from_file(file, &SifOptions::default()).unwrap();
        both(&problem, &mut all);
    }
    all.retain(|bytes| bytes.len() < 6000);
    assert!(all.len() > 20, "{}", all.len());
    all
}

fn both(problem: &dyn costate::nlp::Expressible, all: &mut Vec<Vec<u8>>) {
    for format in [NlFormat::Text, NlFormat::Binary] {
        all.extend(write(problem, format).map(|file| file.model));
    }
}

/// Reads, evaluates and writes; true if it was a model.
fn treat(bytes: &[u8]) -> bool {
    let options = NlOptions {
        relax_integers: bytes.len().is_multiple_of(2),
        objects: 100_000,
        hessian: 1 << 20,
        ..NlOptions::default()
    };
    let mut problem = match NlProblem::from_bytes("m.nl", bytes, &options) {
        Ok(problem) => problem,
        Err(e) => {
            let sentence = e.to_string();
            assert!(!sentence.is_empty() && sentence.len() < 400 && !sentence.contains('\n'), "{sentence}");
            return false;
        }
    };
    let (n, m) = (problem.meta().n(), problem.meta().m());
    let (mut c, mut g, mut hv) = (vec![0.0; m], vec![0.0; n], vec![0.0; n]);
    let x = problem.meta().x0.clone();
    problem.obj_cons(&x, &mut c).unwrap();
    problem.grad(&x, &mut g).unwrap();
    problem.hess_prod(&x, 1.0, &vec![1.0; m], &vec![1.0; n], &mut hv).unwrap();
    if let Ok(file) = write(&problem, NlFormat::Text) {
        let again = NlProblem::from_bytes("again.nl", &file.model, &NlOptions::default());
        let again = again.unwrap_or_else(|e| panic!("{e}\n{}", String::from_utf8_lossy(&file.model)));
        assert_eq!((again.meta().n(), again.meta().m()), (n, m));
    }
    true
}

fn mutate(seed: u64, goes_on: impl Fn(usize) -> bool) {
    let corpus = corpus();
    let mut dice = Dice(seed);
    let (mut count, mut models) = (0, 0);
    while goes_on(count) {
        let mut bytes = corpus[dice.below(corpus.len())].clone();
        for _ in 0..=dice.below(3) {
            if bytes.first() == Some(&b'g') && dice.below(4) > 0 {
                change_text(&mut bytes, &mut dice);
            } else {
                change_bytes(&mut bytes, &mut dice);
            }
        }
        let begin = Instant::now();
        let treated = std::panic::catch_unwind(|| treat(&bytes));
        let Ok(model) = treated else {
            panic!("after {count} changes of seed {seed}: {:?}", String::from_utf8_lossy(&bytes));
        };
        models += usize::from(model);
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", String::from_utf8_lossy(&bytes));
        count += 1;
    }
    eprintln!("{count} changed models, {models} of them are models still");
    assert!(models * 50 > count, "{models} of {count}");
}

#[test]
fn changed_models_are_read_or_refused() {
    mutate(7, |count| count < 2000);
}

/// Ten minutes, or `COSTATE_FUZZ_SECONDS`.
#[test]
#[ignore = "takes ten minutes"]
fn changed_models_for_ten_minutes() {
    let seconds = std::env::var("COSTATE_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(600);
    let end = Instant::now() + Duration::from_secs(seconds);
    mutate(std::process::id().into(), |_| Instant::now() < end);
}
