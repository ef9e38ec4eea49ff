//! Plots of a run, as SVG.

use std::ops::Range;
use std::path::Path;

use plotters::prelude::*;
use serde_json::Value;

use costate::train::{Curve, TrainError};

/// Loss, evaluations, step size and time of prediction against the step.
pub fn curves(folder: &Path, rows: &[(Value, String)]) -> Result<(), TrainError> {
    let of = |event: &str, key: &str| -> Vec<(f64, f64)> {
        rows.iter()
            .filter(|(v, _)| v["event"] == event)
            .filter_map(|(v, _)| Some((v["step"].as_f64()?, v[key].as_f64()?)))
            .collect()
    };
    let line = |name: &str, points| Curve { name: name.into(), points, joined: true };
    let mut loss =
        vec![line("loss with penalties", of("step", "loss")), line("data loss", of("step", "data_loss"))];
    let validation = of("validation", "loss");
    if !validation.is_empty() {
        loss.push(line("validation", validation));
    }
    let positive = loss.iter().flat_map(|c| &c.points).all(|p| p.1 > 0.0);
    draw(&folder.join("loss.svg"), "loss", "step", &loss, positive)?;
    let nfe = [line("evaluations", of("step", "nfe")), line("rejected steps", of("step", "rejected"))];
    draw(&folder.join("nfe.svg"), "evaluations of the field a pass", "step", &nfe, false)?;
    let h = [line("mean step", of("step", "mean_step"))];
    draw(&folder.join("step_size.svg"), "mean step size", "step", &h, true)?;
    let seconds =
        [line("forward", of("step", "forward_seconds")), line("reverse", of("step", "reverse_seconds"))];
    draw(&folder.join("seconds.svg"), "seconds a pass", "step", &seconds, false)
}

/// The fit, in the plane.
pub fn fit(path: &Path, curves: &[Curve]) -> Result<(), TrainError> {
    if curves.is_empty() { Ok(()) } else { draw(path, "fit", "u1", curves, false) }
}

fn draw(path: &Path, title: &str, x: &str, curves: &[Curve], log: bool) -> Result<(), TrainError> {
    let log = log && curves.iter().flat_map(|c| &c.points).all(|p| p.1 > 0.0);
    let shown: Vec<Curve> = curves
        .iter()
        .map(|c| {
            let finite = |p: &&(f64, f64)| p.0.is_finite() && p.1.is_finite();
            let scale = |p: &(f64, f64)| if log { (p.0, p.1.log10()) } else { *p };
            Curve { points: c.points.iter().filter(finite).map(scale).collect(), ..c.clone() }
        })
        .collect();
    if shown.iter().all(|c| c.points.is_empty()) {
        return Ok(());
    }
    render(path, title, x, &shown, log).map_err(|e| TrainError::Io {
        path: path.display().to_string(),
        source: std::io::Error::other(e.to_string()),
    })
}

/// The range of values with a margin.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (a, b) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
    let margin = if b > a { 0.05 * (b - a) } else { 0.5 * a.abs().max(1e-3) };
    a - margin..b + margin
}

fn render(
    path: &Path,
    title: &str,
    x: &str,
    curves: &[Curve],
    log: bool,
) -> Result<(), Box<dyn std::error::Error>> {
    let all = || curves.iter().flat_map(|c| &c.points);
    let root = SVGBackend::new(path, (800, 500)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(15)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .caption(title, ("sans-serif", 20))
        .build_cartesian_2d(range(all().map(|p| p.0)), range(all().map(|p| p.1)))?;
    let label = |v: &f64| if log { format!("{:.1e}", 10f64.powf(*v)) } else { format!("{v:.4}") };
    chart.configure_mesh().x_desc(x).y_label_formatter(&label).draw()?;
    for (curve, color) in curves.iter().zip([BLUE, RED, GREEN, MAGENTA].into_iter().cycle()) {
        let series = if curve.joined {
            chart.draw_series(LineSeries::new(curve.points.iter().copied(), color.stroke_width(2)))?
        } else {
            chart.draw_series(curve.points.iter().map(|p| Circle::new(*p, 3, color.filled())))?
        };
        series
            .label(&curve.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
    root.present()?;
    Ok(())
}
