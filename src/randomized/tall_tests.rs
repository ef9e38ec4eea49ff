use super::super::counter::Counter;
use super::*;

/// A generator of rows: entry (i, j) is a function of its place.
#[derive(Debug)]
struct Generated(usize, usize);

fn entry(i: usize, j: usize, n: usize) -> f64 {
    let c = Counter::new(5, 0);
    let k = (i * n + j) as u64;
    if c.uniform(3 * k) < 0.3 { c.normal(3 * k + 1) } else { 0.0 }
}

impl RowSource for Generated {
    fn rows(&self) -> usize {
        self.0
    }
    fn columns(&self) -> usize {
        self.1
    }
    fn read(&self, first: usize, out: &mut [f64]) -> Result<(), Error> {
        let n = self.1;
        out.iter_mut().enumerate().for_each(|(k, v)| *v = entry(first + k / n, k % n, n));
        Ok(())
    }
}

fn all(m: usize, n: usize) -> [TallMatrix; 3] {
    let values: Vec<f64> = (0..m * n).map(|k| entry(k / n, k % n, n)).collect();
    let (mut start, mut column, mut value) = (vec![0], vec![], vec![]);
    for row in values.chunks(n) {
        for (j, v) in row.iter().enumerate().filter(|(_, v)| **v != 0.0) {
            column.push(j as u32);
            value.push(*v);
        }
        start.push(column.len());
    }
    [
        TallMatrix::dense(m, n, values).unwrap(),
        TallMatrix::sparse(n, start, column, value).unwrap(),
        TallMatrix::streamed(Box::new(Generated(m, n))).unwrap(),
    ]
}

fn vector(seed: u64, n: usize) -> Vec<f64> {
    (0..n as u64).map(|i| Counter::new(seed, 9).normal(i)).collect()
}

fn close(a: &[f64], b: &[f64]) -> bool {
    let scale = b.iter().fold(1.0f64, |m, v| m.max(v.abs()));
    a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-11 * scale)
}

#[test]
fn dense_sparse_and_streamed_rows_agree_and_are_transposed() {
    for (m, n) in [(1, 1), (7, 3), (5000, 37), (9001, 130)] {
        let (x, w) = (vector(1, n), vector(2, m));
        let weights: Vec<f64> = w.iter().map(|v| v * v).collect();
        let mut first: Option<[Vec<f64>; 4]> = None;
        for a in all(m, n) {
            let (mut ax, mut atw, mut normal, mut gram) =
                (vec![f64::NAN; m], vec![f64::NAN; n], vec![f64::NAN; n], vec![f64::NAN; n * n]);
            a.multiply(&x, &mut ax).unwrap();
            a.multiply_transposed(&w, &mut atw).unwrap();
            a.multiply_normal(Some(&weights), &x, &mut normal).unwrap();
            a.gram(Some(&weights), &mut gram).unwrap();
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let (left, right) = (dot(&ax, &w), dot(&x, &atw));
            assert!((left - right).abs() < 1e-10 * (1.0 + left.abs()), "{m} {n}: {left} {right}");
            let full = |i: usize, j: usize| gram[i.min(j) * n + i.max(j)];
            let by_gram: Vec<f64> = (0..n).map(|i| (0..n).map(|j| full(i, j) * x[j]).sum()).collect();
            assert!(close(&by_gram, &normal), "{m} {n}");
            let now = [ax, atw, normal, by_gram];
            if let Some(first) = &first {
                assert!(first.iter().zip(&now).all(|(a, b)| close(a, b)), "{m} {n}");
            }
            first = Some(now);
        }
    }
}

#[test]
fn bits_do_not_depend_on_the_threads() {
    let (m, n) = (6000, 90);
    let [a, ..] = all(m, n);
    let (x, b) = (vector(1, n), vector(2, m));
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (mut r, mut y, mut gram) = (vec![0.0; m], vec![0.0; n], vec![0.0; n * n]);
            a.residual(&x, &b, &mut r, &mut y).unwrap();
            a.gram(None, &mut gram).unwrap();
            (r, y, gram)
        })
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn picked_rows_and_mistakes() {
    for a in all(3000, 40) {
        let picked = [(0, 2.0), (17, 1.0), (1500, 3.0), (2999, 0.5)];
        let mut weights = vec![0.0; 3000];
        picked.iter().for_each(|(i, w)| weights[*i] = *w);
        let (mut some, mut every) = (vec![0.0; 1600], vec![0.0; 1600]);
        a.gram_of_rows(&picked, &mut some).unwrap();
        a.gram(Some(&weights), &mut every).unwrap();
        assert!(close(&some, &every));
    }
    let text = |r: Result<TallMatrix, Error>| r.unwrap_err().to_string();
    assert!(text(TallMatrix::dense(2, 2, vec![1.0; 3])).contains("3 numbers are not 2 rows of 2"));
    assert!(text(TallMatrix::dense(1, 2, vec![1.0, f64::NAN])).contains("row 0 has NaN in column 1"));
    assert!(
        text(TallMatrix::sparse(2, vec![0, 2], vec![1, 0], vec![1.0; 2])).contains("row 0 needs ascending")
    );
    assert!(text(TallMatrix::sparse(2, vec![0, 3], vec![1, 0], vec![1.0; 2])).contains("do not fit"));
}
