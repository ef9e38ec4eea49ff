//! Better designs from a table of past experiments, without a new one: the first columns of a CSV file are the design, the last is the value, large is good.
//! `cargo run --release --example offline -- table.csv`; without a file a table is made up.

use std::sync::atomic::AtomicBool;

use costate::surrogate::bridge::{BridgeOptions, propose};

/// Columns of the design, designs, values.
type Table = (usize, Vec<f64>, Vec<f64>);

fn read(path: &str) -> Result<Table, Box<dyn std::error::Error>> {
    let (mut dim, mut x, mut y) = (0, vec![], vec![]);
    for row in csv::Reader::from_path(path)?.records() {
        let row = row?.iter().map(str::parse).collect::<Result<Vec<f64>, _>>()?;
        dim = row.len() - 1;
        x.extend_from_slice(&row[..dim]);
        y.push(row[dim]);
    }
    Ok((dim, x, y))
}

fn made_up() -> (usize, Vec<f64>, Vec<f64>) {
    let x: Vec<f64> = (0..600).map(|k| (1.7 * f64::from(k * k)).sin()).collect();
    let y = x.chunks(3).map(|x| -(x[0] - 0.9).powi(2) - (x[1] + 0.8).powi(2) + 0.3 * (4.0 * x[2]).sin());
    (3, x.clone(), y.collect())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (dim, x, y) = std::env::args().nth(1).map_or(Ok(made_up()), |path| read(&path))?;
    // As far as the table goes in every column.
    let column = |j: usize| x.iter().skip(j).step_by(dim).copied();
    let ends = |j| (column(j).fold(f64::INFINITY, f64::min), column(j).fold(f64::NEG_INFINITY, f64::max));
    let bounds: Vec<(f64, f64)> = (0..dim).map(ends).collect();
    let options =
        BridgeOptions { epochs: 20, functions: 2, starts: 128, proposals: 10, ..Default::default() };
    let found = propose(&x, &y, &bounds, &options, &AtomicBool::new(false))?;
    println!("best known: {:.4}; proposals:", y.iter().copied().fold(f64::NEG_INFINITY, f64::max));
    for (point, from) in found.x.chunks(dim).zip(&found.from) {
        println!("{point:.3?}  from row {from}, {:.4}", y[*from]);
    }
    Ok(())
}
