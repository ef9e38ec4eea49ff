//! Classifies the rows of a CSV file with numbers and a label (0, 1, ..) in the last column, by the kernel of an infinitely wide network.
//! `cargo run --release --example classify_table -- FILE.csv`; without a file, three generated clouds. Every fifth row is kept to test with.

use costate::classify::{ClassifyError, DualKernel, DualKernelOptions, Vote};

fn table(path: Option<String>) -> Result<Vec<Vec<f64>>, Box<dyn std::error::Error>> {
    let Some(path) = path else {
        let cloud = |i: usize| {
            let (t, c) = (i as f64 * 2.399963, i % 3);
            let r = 1.6 * ((i as f64 * 0.618).fract()).sqrt();
            vec![c as f64 + r * t.cos(), (c * c) as f64 + r * t.sin(), c as f64]
        };
        return Ok((0..300).map(cloud).collect());
    };
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    let row = |(i, line): (usize, &str)| {
        let numbers = line.split(',').map(|v| v.trim().parse::<f64>());
        numbers.collect::<Result<Vec<f64>, _>>().map_err(|e| format!("{path}, line {}: {e}", i + 1).into())
    };
    text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()).map(row).collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rows = table(std::env::args().nth(1))?;
    rows.first().filter(|r| r.len() > 1).ok_or("there is no row with two columns")?;
    let part = |test: bool| {
        let kept = rows.iter().enumerate().filter(move |(i, _)| (i % 5 == 4) == test);
        kept.map(|(_, r)| (&r[..r.len() - 1], r[r.len() - 1] as usize)).unzip::<_, _, Vec<_>, Vec<_>>()
    };
    let ((x, labels), (queries, truth)) = (part(false), part(true));
    let (inputs, x, queries) = (x[0].len(), x.concat(), queries.concat());
    let right = |got: Vec<usize>| {
        100.0 * got.iter().zip(&truth).filter(|(a, b)| a == b).count() as f64 / truth.len() as f64
    };
    let kernel = DualKernel::fit(&x, inputs, &labels, &DualKernelOptions::default())?;
    println!("wide network      {:.1} % right", right(kernel.predict(&queries)?));
    let vote =
        |v: Vote| -> Result<f64, ClassifyError> { Ok(right(v.predict(&x, inputs, &labels, &queries)?)) };
    println!("nearest neighbor  {:.1} %, majority {:.1} %", vote(Vote::Nearest)?, vote(Vote::Majority)?);
    Ok(())
}
