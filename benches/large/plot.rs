//! Time and memory over the number of unknowns, as SVG.

use std::collections::BTreeMap;
use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::Measured;

const COLOURS: [RGBColor; 3] = [RGBColor(31, 119, 180), RGBColor(214, 39, 40), RGBColor(44, 160, 44)];

type Curves<'a> = BTreeMap<&'a str, Vec<(f64, Measured)>>;

pub fn write(path: &str, curves: &Curves<'_>) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, (1280, 520)).into_drawing_area();
    root.fill(&WHITE)?;
    let areas = root.split_evenly((1, 2));
    panel(&areas[0], curves, "time, seconds", |m| m.seconds)?;
    panel(&areas[1], curves, "peak memory of the process, MiB", |m| m.mib)?;
    root.present()?;
    Ok(())
}

fn panel(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    curves: &Curves<'_>,
    quantity: &str,
    value: fn(&Measured) -> f64,
) -> Result<(), Box<dyn Error>> {
    let all = || curves.values().flatten();
    let range = |f: &dyn Fn(&(f64, Measured)) -> f64| {
        let low = all().map(f).fold(f64::INFINITY, f64::min);
        0.7 * low..1.5 * all().map(f).fold(low, f64::max)
    };
    let mut chart = ChartBuilder::on(area)
        .margin(20)
        .x_label_area_size(50)
        .y_label_area_size(80)
        .build_cartesian_2d(range(&|p| p.0).log_scale(), range(&|p| value(&p.1)).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225))
        .x_label_formatter(&|x| format!("{x}"))
        .y_label_formatter(&|y| format!("{y:e}"))
        .x_desc("unknowns")
        .y_desc(quantity)
        .label_style(("sans-serif", 15))
        .axis_desc_style(("sans-serif", 16))
        .draw()?;
    for ((name, curve), colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        let style = colour.stroke_width(3);
        let points = curve.iter().map(|(n, m)| (*n, value(m)));
        chart
            .draw_series(LineSeries::new(points, style).point_size(4))?
            .label(*name)
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
