//! States, controls and costates, each over its own axis.

use std::path::Path;

use costate::control::{PhaseSolution, Problem, Solution};
use plotters::prelude::*;

const POINTS: usize = 600;
const WIDTH: u32 = 420;
const HEIGHT: u32 = 220;

type Curve<'a> = Box<dyn Fn(&PhaseSolution, f64) -> f64 + 'a>;

/// One panel per state, control and costate.
pub fn trajectories(
    problem: &Problem,
    solution: &Solution,
    path: &Path,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut panels: Vec<(String, RGBColor, Curve<'_>)> = Vec::new();
    for (k, name) in problem.state_names(0).into_iter().enumerate() {
        panels.push((name.to_string(), BLUE, Box::new(move |p, t| p.state(t)[k])));
    }
    for (k, name) in problem.control_names(0).into_iter().enumerate() {
        panels.push((name.to_string(), RED, Box::new(move |p, t| p.control(t)[k])));
    }
    for (k, name) in problem.state_names(0).into_iter().enumerate() {
        panels.push((format!("costate of {name}"), BLACK, Box::new(move |p, t| p.costate(t)[k])));
    }
    let rows = panels.len().div_ceil(3);
    let root = SVGBackend::new(path, (3 * WIDTH, rows as u32 * HEIGHT)).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, (name, color, curve)) in root.split_evenly((rows, 3)).iter().zip(&panels) {
        let lines: Vec<Vec<(f64, f64)>> = solution
            .phases()
            .iter()
            .map(|p| {
                let at = |k: usize| p.start() + (p.end() - p.start()) * k as f64 / POINTS as f64;
                (0..=POINTS).map(|k| (at(k), curve(p, at(k)))).collect()
            })
            .collect();
        let all = || lines.iter().flatten();
        let (low, high) =
            all().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v.1), h.max(v.1)));
        let margin = (0.05 * (high - low)).max(1e-9 + 1e-6 * high.abs());
        let start = all().next().map_or(0.0, |v| v.0);
        let end = all().last().map_or(1.0, |v| v.0);
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .x_label_area_size(22)
            .y_label_area_size(60)
            .caption(name, ("sans-serif", 15))
            .build_cartesian_2d(start..end, low - margin..high + margin)?;
        chart.configure_mesh().light_line_style(WHITE).x_labels(5).y_labels(5).draw()?;
        for line in lines {
            chart.draw_series(LineSeries::new(line, color.stroke_width(2)))?;
        }
    }
    root.present()?;
    Ok(())
}
