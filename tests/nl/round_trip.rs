//! Written and read again: text, binary of both orders, gzip; SIF problems too.

use std::io::Write;

use costate::nl::{NlFormat, NlOptions, NlProblem, write};
use costate::sif::{SifOptions, SifProblem};
use costate::{Nlp, nlp::Expressible};

use crate::model::HS71;
use crate::read;

/// f, the gradient and c at a point that belongs to the names of the variables, and |J'v|, |H w| with v and w by names.
fn values(p: &mut dyn Nlp) -> (f64, Vec<f64>, Vec<f64>, f64, f64) {
    let meta = p.meta().clone();
    let (n, m) = (meta.n(), meta.m());
    let mut by_name: Vec<usize> = (0..n).collect();
    by_name.sort_by_key(|&j| meta.variable_name(j));
    let mut rows: Vec<usize> = (0..m).collect();
    rows.sort_by_key(|&i| meta.constraint_name(i));
    let (mut x, mut w, mut v) = (meta.x0.clone(), vec![0.0; n], vec![0.0; m]);
    for (k, &j) in by_name.iter().enumerate() {
        x[j] += 0.01 * (1.0 + x[j].abs()) * ((k % 7) as f64 - 3.0) / 3.0;
        w[j] = 1.0 / (k + 1) as f64;
    }
    rows.iter().enumerate().for_each(|(k, &i)| v[i] = 1.0 / (k + 1) as f64);
    let (mut g, mut c, mut jtv, mut hw) = (vec![0.0; n], vec![0.0; m], vec![0.0; n], vec![0.0; n]);
    let f = p.obj_cons(&x, &mut c).unwrap();
    p.grad(&x, &mut g).unwrap();
    p.jac_t_prod(&x, &v, &mut jtv).unwrap();
    p.hess_prod(&x, 1.0, &v, &w, &mut hw).unwrap();
    let norm = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
    let (jtv, hw) = (norm(&jtv), norm(&hw));
    (f, by_name.iter().map(|&j| g[j]).collect(), rows.iter().map(|&i| c[i]).collect(), jtv, hw)
}

fn assert_same(name: &str, a: &mut dyn Nlp, b: &mut dyn Nlp) {
    let wrong = same(name, a, b);
    assert!(wrong.is_none(), "{wrong:?}");
}

/// What differs by more than 1e-12, if anything does.
pub fn same(name: &str, a: &mut dyn Nlp, b: &mut dyn Nlp) -> Option<String> {
    let ((f, g, c, j, h), (f2, g2, c2, j2, h2)) = (values(a), values(b));
    let close = |a: f64, b: f64, scale: f64| {
        (a - b).abs() <= 1e-12 * (a.abs() + scale) || !(a.is_finite() || b.is_finite())
    };
    let scale = g.iter().chain(&c).filter(|v| v.is_finite()).fold(1.0f64, |m, v| m.max(v.abs()));
    let all = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| close(*a, *b, scale));
    let same = [
        ("f", close(f, f2, 1.0)),
        ("gradient", all(&g, &g2)),
        ("c", all(&c, &c2)),
        ("J'v", close(j, j2, scale)),
        ("H w", close(h, h2, h)),
    ];
    let wrong: Vec<&str> = same.iter().filter(|s| !s.1).map(|s| s.0).collect();
    (!wrong.is_empty())
        .then(|| format!("{name}: {} (f {f} {f2}, J'v {j} {j2}, H w {h} {h2})", wrong.join(", ")))
}

/// Writes, with the names, into a folder of its own, and reads again.
fn through_files(p: &dyn Expressible, name: &str, format: NlFormat) -> NlProblem {
    let folder = std::env::temp_dir().join(format!("costate-nl-{name}-{format:?}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("model.nl");
    write(p, format).unwrap().write(&path).unwrap();
    let back = NlProblem::from_file(&path, &NlOptions::default()).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    back
}

#[test]
fn own_problems_come_back() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("problems");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "SIF"));
    files.sort();
    assert!(files.len() > 10);
    let mut written = 0;
    for file in &files {
        let mut p = SifProblem::from_file(file, &SifOptions::default()).unwrap();
        if p.meta().n() > 500 {
            continue;
        }
        let name = p.meta().name.clone();
        for format in [NlFormat::Text, NlFormat::Binary] {
            let mut back = through_files(&p, &name, format);
            assert_eq!(
                back.meta().linear.iter().filter(|l| **l).count(),
                p.meta().linear.iter().filter(|l| **l).count()
            );
            assert_same(&name, &mut p, &mut back);
        }
        written += 1;
    }
    assert!(written > 10, "{written}");
}

#[test]
fn binary_of_the_other_order_and_gzip_are_the_same_model() {
    let mut p = read(HS71);
    let binary = write(&p, NlFormat::Binary).unwrap().model;
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(HS71.as_bytes()).unwrap();
    let path = std::env::temp_dir().join(format!("costate-nl-hs71-{}.nl.gz", std::process::id()));
    std::fs::write(&path, gz.finish().unwrap()).unwrap();
    let mut zipped = NlProblem::from_file(&path, &NlOptions::default()).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_same("gzip", &mut p, &mut zipped);
    let mut back = NlProblem::from_bytes("m.nl", &binary, &NlOptions::default()).unwrap();
    assert_same("binary", &mut p, &mut back);
    let mut back = NlProblem::from_bytes("m.nl", &swapped(&binary), &NlOptions::default()).unwrap();
    assert_same("swapped", &mut p, &mut back);
}

/// The model of HS71, as our writer orders it, with every number's bytes turned round.
fn swapped(binary: &[u8]) -> Vec<u8> {
    let mut lines = 0;
    let begin = binary.iter().position(|b| {
        lines += usize::from(*b == b'\n');
        lines == 10
    });
    let begin = begin.unwrap() + 1;
    let header = String::from_utf8(binary[..begin].to_vec()).unwrap();
    let (kind, other) = if cfg!(target_endian = "little") {
        (" 0 0 1 1\t", " 0 0 2 1\t")
    } else {
        (" 0 0 2 1\t", " 0 0 1 1\t")
    };
    let mut out = header.replace(kind, other).into_bytes();
    let mut rest = &binary[begin..];
    let mut segment = b' ';
    let take = |rest: &mut &[u8], out: &mut Vec<u8>, len: usize| {
        out.extend(rest[..len].iter().rev());
        *rest = &rest[len..];
    };
    let int = |rest: &[u8]| i32::from_ne_bytes(rest[..4].try_into().unwrap()) as usize;
    let (n, m) = (4, 2);
    while let Some((&letter, more)) = rest.split_first() {
        out.push(letter);
        rest = more;
        match letter {
            b'n' => take(&mut rest, &mut out, 8),
            b'o' => {
                let count = int(rest) == 54;
                take(&mut rest, &mut out, 4);
                if count {
                    take(&mut rest, &mut out, 4);
                }
            }
            b'v' | b'C' => take(&mut rest, &mut out, 4),
            b'V' => {
                let count = int(&rest[4..]);
                (0..3).for_each(|_| take(&mut rest, &mut out, 4));
                (0..count).for_each(|_| {
                    take(&mut rest, &mut out, 4);
                    take(&mut rest, &mut out, 8);
                });
            }
            b'O' => (0..2).for_each(|_| take(&mut rest, &mut out, 4)),
            b'x' | b'd' => {
                let count = int(rest);
                take(&mut rest, &mut out, 4);
                (0..count).for_each(|_| {
                    take(&mut rest, &mut out, 4);
                    take(&mut rest, &mut out, 8);
                });
            }
            b'k' => (0..n).for_each(|_| take(&mut rest, &mut out, 4)),
            b'J' | b'G' => {
                let count = int(&rest[4..]);
                (0..2).for_each(|_| take(&mut rest, &mut out, 4));
                (0..count).for_each(|_| {
                    take(&mut rest, &mut out, 4);
                    take(&mut rest, &mut out, 8);
                });
            }
            b'r' | b'b' => {
                segment = letter;
                for _ in 0..if segment == b'r' { m } else { n } {
                    let (&kind, more) = rest.split_first().unwrap();
                    out.push(kind);
                    rest = more;
                    let values = [2, 1, 1, 0, 1][(kind - b'0') as usize];
                    (0..values).for_each(|_| take(&mut rest, &mut out, 8));
                }
            }
            other => panic!("{} within {}", other as char, segment as char),
        }
    }
    out
}
