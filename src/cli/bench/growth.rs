//! Solve time and memory over the number of variables, for instances of different sizes of the same problems.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::profile::COLOURS;
use super::row::Row;
use crate::cli::Failure;

type Curve = Vec<(f64, f64)>;

/// (variables, value) of the solved instances, by problem; problems with one size are left out.
fn curves(rows: &[Row], value: fn(&Row) -> f64) -> BTreeMap<String, Curve> {
    let mut curves: BTreeMap<String, Curve> = BTreeMap::new();
    for row in rows.iter().filter(|r| r.solved && r.n > 0 && value(r).is_finite()) {
        curves.entry(row.name.clone()).or_default().push((row.n as f64, value(row)));
    }
    for curve in curves.values_mut() {
        curve.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    curves.retain(|_, c| c[0].0 < c[c.len() - 1].0);
    curves
}

/// Slope of a curve in logarithms, by least squares: 1 is linear growth.
fn exponent(curve: &[(f64, f64)]) -> f64 {
    let logs: Vec<(f64, f64)> = curve.iter().map(|(n, t)| (n.ln(), t.ln())).collect();
    let count = logs.len() as f64;
    let (mx, my) = logs.iter().fold((0.0, 0.0), |a, p| (a.0 + p.0 / count, a.1 + p.1 / count));
    let (sxy, sxx) = logs.iter().fold((0.0, 0.0), |a, p| {
        let (dx, dy) = (p.0 - mx, p.1 - my);
        (a.0 + dx * dy, a.1 + dx * dx)
    });
    sxy / sxx
}

/// Draws the curves as SVG, all axes logarithmic.
pub fn write(path: &Path, rows: &[Row]) -> Result<(), Failure> {
    let time = curves(rows, |r| r.solve_seconds.max(1e-6));
    let memory = curves(rows, |r| r.memory_mib);
    if time.is_empty() {
        return Err(Failure("option growth: there is no problem that was solved in two sizes".into()));
    }
    draw(path, &time, &memory).map_err(|e| Failure(format!("{}: {e}", path.display())))
}

fn draw(
    path: &Path,
    time: &BTreeMap<String, Curve>,
    memory: &BTreeMap<String, Curve>,
) -> Result<(), Box<dyn Error>> {
    let panels = if memory.is_empty() { 1 } else { 2 };
    let root = SVGBackend::new(path, (640 * panels, 520)).into_drawing_area();
    root.fill(&WHITE)?;
    let areas = root.split_evenly((1, panels as usize));
    let quantities = [(time, "solve time, seconds"), (memory, "peak memory of the process, MiB")];
    for (area, (curves, name)) in areas.iter().zip(quantities) {
        draw_panel(area, curves, name)?;
    }
    root.present()?;
    Ok(())
}

fn draw_panel(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    curves: &BTreeMap<String, Curve>,
    quantity: &str,
) -> Result<(), Box<dyn Error>> {
    let all = || curves.values().flatten();
    let range = |f: fn(&(f64, f64)) -> f64| {
        let low = all().map(f).fold(f64::INFINITY, f64::min);
        0.7 * low..1.5 * all().map(f).fold(low, f64::max)
    };
    let mut chart = ChartBuilder::on(area)
        .margin(20)
        .x_label_area_size(50)
        .y_label_area_size(80)
        .build_cartesian_2d(range(|p| p.0).log_scale(), range(|p| p.1).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225))
        .x_label_formatter(&|x| format!("{x}"))
        .y_label_formatter(&|y| format!("{y:e}"))
        .x_desc("variables")
        .y_desc(quantity)
        .label_style(("sans-serif", 15))
        .axis_desc_style(("sans-serif", 16))
        .draw()?;
    for (k, (name, curve)) in curves.iter().enumerate() {
        let style = COLOURS[k % COLOURS.len()].stroke_width(if k < COLOURS.len() { 3 } else { 1 });
        chart
            .draw_series(LineSeries::new(curve.iter().copied(), style).point_size(4))?
            .label(format!("{name}, n^{:.2}", exponent(curve)))
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 24, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .margin(12)
        .legend_area_size(32)
        .background_style(WHITE.mix(0.9))
        .border_style(RGBColor(180, 180, 180))
        .label_font(("sans-serif", 15))
        .draw()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_law_has_its_exponent() {
        let curve: Curve = [10.0, 100.0, 1000.0].iter().map(|&n: &f64| (n, 3e-5 * n.powf(1.25))).collect();
        approx::assert_relative_eq!(exponent(&curve), 1.25, epsilon = 1e-12);
        let path = std::env::temp_dir().join(format!("costate-growth-{}.svg", std::process::id()));
        let curves = BTreeMap::from([("LUKVLE1".into(), curve)]);
        draw(&path, &curves, &curves).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(svg.contains("LUKVLE1, n^1.25") && svg.contains("variables") && svg.contains("MiB"));
    }
}
