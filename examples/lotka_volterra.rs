//! Predators and prey: dense output and a plot.
//!
//!     cargo run --example lotka_volterra --release -- lotka_volterra.svg

use costate::diff::FnMap;
use costate::ode::{DenseSolution, EveryStep, Integrator, Options, VERN76};
use plotters::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "lotka_volterra.svg".to_string());

    // x' = a x - b x y, y' = -c y + d x y
    let mut field = FnMap::new(2, 4, |_t, y: &[f64], p: &[f64], dy: &mut [f64]| {
        dy[0] = p[0] * y[0] - p[1] * y[0] * y[1];
        dy[1] = -p[2] * y[1] + p[3] * y[0] * y[1];
    });
    let (mut dense, mut steps) = (DenseSolution::new(), EveryStep::new());
    let mut integrator = Integrator::new(&VERN76, 2, 1, &Options::tolerances(1e-6, 1e-6))?;
    let report = integrator.run(
        &mut field,
        (0.0, 10.0),
        &[1.0, 1.0],
        &[1.5, 1.0, 3.0, 1.0],
        &mut (&mut dense, &mut steps),
    )?;
    println!("{}; {} evaluations", report.message(), report.counts.evals);

    let root = SVGBackend::new(&path, (900, 500)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(15)
        .x_label_area_size(40)
        .y_label_area_size(45)
        .caption("Lotka-Volterra: dense output (lines) between the steps taken (dots)", ("sans-serif", 20))
        .build_cartesian_2d(0.0..10.0, 0.0..8.0)?;
    chart.configure_mesh().x_desc("t").y_desc("population").draw()?;
    for (i, (name, color)) in [("prey", RED), ("predators", BLUE)].into_iter().enumerate() {
        let mut line = Vec::new();
        for k in 0..=1000 {
            let t = k as f64 / 100.0;
            line.push((t, dense.at(t)?[i]));
        }
        chart
            .draw_series(LineSeries::new(line, color.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
        let dots = steps
            .times()
            .iter()
            .enumerate()
            .map(|(k, &t)| Circle::new((t, steps.state(k)[i]), 3, color.filled()));
        chart.draw_series(dots)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    root.present()?;
    println!("wrote {path}");
    Ok(())
}
