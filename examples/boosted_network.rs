//! Fits the last column of a CSV file by a network that is trained two units at a time, and says what its first units alone achieve.
//! `cargo run --release --example boosted_network -- FILE.csv`; without a file, a generated surface. Every fifth row is kept to test with.

use costate::boost::{Gbnn, GbnnOptions, Targets};

fn table(path: Option<String>) -> Result<Vec<Vec<f64>>, Box<dyn std::error::Error>> {
    let Some(path) = path else {
        let point = |i: usize| {
            let (a, b) = ((i as f64 * 0.618).fract() * 2.0 - 1.0, (i as f64 * 0.414).fract() * 2.0 - 1.0);
            vec![a, b, (3.0 * a).sin() * b + 0.5 * b * b]
        };
        return Ok((0..500).map(point).collect());
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
        kept.map(|(_, r)| (&r[..r.len() - 1], r[r.len() - 1])).unzip::<_, _, Vec<_>, Vec<_>>()
    };
    let ((x, y), (queries, truth)) = (part(false), part(true));
    let (inputs, x, queries) = (x[0].len(), x.concat(), queries.concat());
    let options = GbnnOptions { units: 60, per_stage: 2, rate: 0.25, l2: 0.01, ..GbnnOptions::default() };
    let net = Gbnn::fit(&x, inputs, Targets::Numbers(&y), &options)?;
    for units in [6, 20, 40, 60] {
        let loss = Targets::Numbers(&truth).loss(&net.truncate(units).values(&queries)?);
        println!("{units:3} units: root mean squared error {:.4}", (2.0 * loss).sqrt());
    }
    Ok(())
}
