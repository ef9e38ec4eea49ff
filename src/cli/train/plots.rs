//! Plots of a run, as SVG.

use std::ops::Range;
use std::path::Path;

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use serde_json::Value;

use costate::train::checkpoint::write_file;
use costate::train::{Confusion, Curve, Plot, TrainError};

use super::scores::Scores;

/// Loss, evaluations, step size and seconds against the step; evaluations and seconds of predictions, too: for the validation data during training, for
/// the test data at the end. The loss of predictions has a plot of its own, `validation.svg`, if it is `another` one than the loss trained.
pub fn curves(
    folder: &Path,
    rows: &[(Value, String)],
    test: Option<(u64, &Scores)>,
    another: bool,
) -> Result<(), TrainError> {
    let of = |event: &str, key: &str| -> Vec<(f64, f64)> {
        rows.iter()
            .filter(|(v, _)| v["event"] == event)
            .filter_map(|(v, _)| Some((v["step"].as_f64()?, v[key].as_f64()?)))
            .collect()
    };
    let line = |name: &str, points| Curve { name: name.into(), points, joined: true };
    let predicted = |key: &str, get: fn(&Scores) -> f64| {
        let points = test.map(|(step, s)| (step as f64, get(s))).into_iter().collect();
        let at_end = Curve { name: "test, at the end".into(), points, joined: false };
        [line("validation", of("validation", key)), at_end]
    };
    let (all, data) = (of("step", "loss"), of("step", "data_loss"));
    let mut loss = vec![];
    if all != data {
        loss.push(line("loss with penalties", all));
    }
    loss.push(line("data loss", data));
    if another {
        let curves = predicted("loss", |s| s.loss);
        draw(&folder.join("validation.svg"), "mean squared error", ("step", ""), &curves, true)?;
        draw(&folder.join("loss.svg"), "loss: negative log likelihood", ("step", ""), &loss, false)?;
    } else {
        loss.push(line("validation", of("validation", "loss")));
        draw(&folder.join("loss.svg"), "loss", ("step", ""), &loss, true)?;
    }
    let mut nfe =
        vec![line("evaluations", of("step", "nfe")), line("rejected steps", of("step", "rejected"))];
    nfe.extend(predicted("nfe", |s| s.nfe));
    // A model that solves no equation has none of these.
    if nfe.iter().flat_map(|c| &c.points).any(|p| p.1 > 0.0) {
        draw(&folder.join("nfe.svg"), "evaluations of the field a pass", ("step", ""), &nfe, false)?;
        let h = [line("mean step", of("step", "mean_step"))];
        draw(&folder.join("step_size.svg"), "mean step size", ("step", ""), &h, false)?;
    }
    let curved = of("sharpness", "value");
    if !curved.is_empty() {
        let curves = [line("sharpness", curved), line("2 / rate", of("sharpness", "bound"))];
        draw(
            &folder.join("sharpness.svg"),
            "largest eigenvalue of the Hessian",
            ("step", ""),
            &curves,
            false,
        )?;
    }
    let mut seconds =
        vec![line("forward", of("step", "forward_seconds")), line("reverse", of("step", "reverse_seconds"))];
    for mut curve in predicted("predict_seconds", |s| s.predict_seconds) {
        curve.name = format!("prediction, {}", curve.name);
        seconds.push(curve);
    }
    draw(&folder.join("seconds.svg"), "seconds a batch", ("step", ""), &seconds, false)
}

/// The fit.
pub fn fit(folder: &Path, plots: &[Plot]) -> Result<(), TrainError> {
    plots.iter().try_for_each(|plot| {
        let (file, (x, y)) = (folder.join(format!("{}.svg", plot.name)), &plot.axes);
        draw(&file, &plot.name, (x, y), &plot.curves, false)
    })
}

/// The confusion matrix: a square a pair of classes, the darker the larger its share of the true class.
pub fn confusion(folder: &Path, of: &Confusion) -> Result<(), TrainError> {
    let path = folder.join("confusion.svg");
    let text = render_confusion(of).map_err(|e| TrainError::Io {
        path: path.display().to_string(),
        source: std::io::Error::other(e.to_string()),
    })?;
    write_file(&path, text.as_bytes())
}

fn render_confusion(of: &Confusion) -> Result<String, Box<dyn std::error::Error>> {
    let k = of.names.len().max(1) as i32;
    let cell = (480 / k).clamp(8, 60);
    let (left, top) = (130, 70);
    let mut text = String::new();
    {
        let size = ((left + k * cell + 20) as u32, (top + k * cell + 40) as u32);
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        root.fill(&WHITE)?;
        root.draw(&Text::new("rows true, columns predicted", (10, 10), ("sans-serif", 16)))?;
        let short = |name: &str| name.chars().take(14).collect::<String>();
        for (i, (name, counts)) in of.names.iter().zip(&of.counts).enumerate() {
            let y = top + i as i32 * cell;
            root.draw(&Text::new(short(name), (10, y + cell / 2 - 6), ("sans-serif", 13)))?;
            let all = counts.iter().sum::<u64>().max(1) as f64;
            for (j, n) in counts.iter().enumerate() {
                let (x, share) = (left + j as i32 * cell, *n as f64 / all);
                let shade = |full: f64| (255.0 - share * (255.0 - full)) as u8;
                let fill = RGBColor(shade(20.0), shade(70.0), shade(160.0)).filled();
                root.draw(&Rectangle::new([(x, y), (x + cell - 1, y + cell - 1)], fill))?;
                let ink = if share > 0.5 { &WHITE } else { &BLACK };
                // In smaller squares there is no room for numbers.
                if cell >= 24 {
                    let style = ("sans-serif", 12).into_font().color(ink);
                    root.draw(&Text::new(n.to_string(), (x + 4, y + cell / 2 - 6), style))?;
                }
            }
        }
        if cell >= 24 {
            for (j, name) in of.names.iter().enumerate() {
                let at = (left + j as i32 * cell + 2, top - 18);
                let short: String = name.chars().take((cell / 7) as usize).collect();
                root.draw(&Text::new(short, at, ("sans-serif", 12)))?;
            }
        }
        root.present()?;
    }
    Ok(text)
}

/// Whether values are better seen on a logarithmic axis: all positive, over more than this ratio.
fn spans_decades(mut values: impl Iterator<Item = f64>) -> bool {
    const RATIO: f64 = 30.0;
    let (mut least, mut most) = (f64::INFINITY, 0.0f64);
    let positive = values.all(|v| {
        (least, most) = (least.min(v), most.max(v));
        v > 0.0
    });
    positive && most > RATIO * least
}

/// The plot as an SVG file; logarithmic if asked for and all values are positive. Nothing is written without a finite point.
pub fn draw(
    path: &Path,
    title: &str,
    axes: (&str, &str),
    curves: &[Curve],
    log: bool,
) -> Result<(), TrainError> {
    let finite = curves.iter().flat_map(|c| &c.points).map(|p| p.1).filter(|v| v.is_finite());
    draw_on(path, title, axes, curves, (false, log && spans_decades(finite)))
}

/// On two logarithmic axes, as far as values are positive.
pub fn draw_logarithmic(
    path: &Path,
    title: &str,
    axes: (&str, &str),
    curves: &[Curve],
) -> Result<(), TrainError> {
    draw_on(path, title, axes, curves, (true, true))
}

fn draw_on(
    path: &Path,
    title: &str,
    axes: (&str, &str),
    curves: &[Curve],
    logarithmic: (bool, bool),
) -> Result<(), TrainError> {
    let all = || curves.iter().flat_map(|c| &c.points);
    let log_x = logarithmic.0 && all().all(|p| p.0 > 0.0);
    let log = logarithmic.1 && all().all(|p| p.1 > 0.0);
    let finite = |p: &(f64, f64)| p.0.is_finite() && p.1.is_finite();
    let shown: Vec<Curve> = curves
        .iter()
        .map(|c| Curve { points: c.points.iter().copied().filter(finite).collect(), ..c.clone() })
        .filter(|c| !c.points.is_empty())
        .collect();
    if shown.is_empty() {
        return Ok(());
    }
    let xs = || shown.iter().flat_map(|c| &c.points).map(|p| p.0);
    let ys = || shown.iter().flat_map(|c| &c.points).map(|p| p.1);
    // The margin on the logarithms.
    let decades = |ends: Range<f64>| (ends.start.exp()..ends.end.exp()).log_scale();
    let plain = |ends: Range<f64>| (ends, tick as Tick);
    let scaled = |ends: Range<f64>| (decades(ends), log_tick as Tick);
    let drawn = match (log_x, log) {
        (false, false) => render(title, axes, &shown, plain(range(xs())), plain(range(ys()))),
        (false, true) => render(title, axes, &shown, plain(range(xs())), scaled(range(ys().map(f64::ln)))),
        (true, false) => render(title, axes, &shown, scaled(range(xs().map(f64::ln))), plain(range(ys()))),
        (true, true) => {
            let ends = scaled(range(xs().map(f64::ln)));
            render(title, axes, &shown, ends, scaled(range(ys().map(f64::ln))))
        }
    };
    let text = drawn.map_err(|e| TrainError::Io {
        path: path.display().to_string(),
        source: std::io::Error::other(e.to_string()),
    })?;
    write_file(path, text.as_bytes())
}

/// The range of values with a margin.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (a, b) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
    let margin = if b > a { 0.05 * (b - a) } else { 0.5 * a.abs().max(1e-3) };
    a - margin..b + margin
}

/// A tick's number, without zeros that say nothing.
fn tick(v: &f64) -> String {
    if *v == 0.0 {
        return "0".into();
    }
    // Ten significant digits: ticks are sums, 0.30000000000000004.
    let digits = format!("{v:.9e}");
    let rounded: f64 = digits.parse().unwrap_or(*v);
    if (1e-3..1e5).contains(&rounded.abs()) { format!("{rounded}") } else { format!("{rounded:e}") }
}

/// On a logarithmic axis 1, 2 and 5 of every decade: the others would stand on top of each other.
fn log_tick(v: &f64) -> String {
    let first = format!("{v:e}").chars().next();
    if matches!(first, Some('1' | '2' | '5')) { tick(v) } else { String::new() }
}

/// Text at a tick.
type Tick = fn(&f64) -> String;

const SIZE: (u32, u32) = (800, 500);
const COLORS: [RGBColor; 4] = [BLUE, RED, GREEN, MAGENTA];

/// The plot as SVG, its legend in a line of its own under the title, where it covers no curve.
fn render<X, Y>(
    title: &str,
    axes: (&str, &str),
    curves: &[Curve],
    (x, x_tick): (X, Tick),
    (y, y_tick): (Y, Tick),
) -> Result<String, Box<dyn std::error::Error>>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let (top, below) = root.split_vertically(55);
        top.draw(&Text::new(title.to_string(), (70, 10), ("sans-serif", 20)))?;
        let mut left = 70;
        for (curve, color) in curves.iter().zip(COLORS.into_iter().cycle()) {
            if curve.joined {
                top.draw(&PathElement::new([(left, 44), (left + 20, 44)], color.stroke_width(2)))?;
            } else {
                top.draw(&Circle::new((left + 10, 44), 3, color.filled()))?;
            }
            top.draw(&Text::new(curve.name.clone(), (left + 26, 37), ("sans-serif", 14)))?;
            left += 50 + 8 * curve.name.chars().count() as i32;
        }
        let mut chart = ChartBuilder::on(&below)
            .margin(15)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .x_desc(axes.0)
            .y_desc(axes.1)
            .light_line_style(WHITE)
            .x_label_formatter(&x_tick)
            .y_label_formatter(&y_tick)
            .draw()?;
        for (curve, color) in curves.iter().zip(COLORS.into_iter().cycle()) {
            if curve.joined {
                chart.draw_series(LineSeries::new(curve.points.iter().copied(), color))?;
            } else {
                chart.draw_series(curve.points.iter().map(|p| Circle::new(*p, 3, color.filled())))?;
            }
        }
        below.present()?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_short() {
        let shown = [0.0, 30.0, 0.1 + 0.2, -2.5, 1e-5, 2e6, 1400.0].map(|v| tick(&v));
        assert_eq!(shown, ["0", "30", "0.3", "-2.5", "1e-5", "2e6", "1400"]);
    }

    #[test]
    fn logarithmic_where_values_span_decades() {
        assert!(spans_decades([1.0, 1e-3].into_iter()) && !spans_decades([1.0, 0.5].into_iter()));
        assert!(!spans_decades([1.0, 0.0, 1e-3].into_iter()) && !spans_decades([-1.0, 1e-3].into_iter()));
    }

    #[test]
    fn a_confusion_matrix_has_its_numbers() {
        let of = Confusion {
            names: ["a", "b"].map(String::from).to_vec(),
            counts: vec![vec![31, 2], vec![7, 58]],
        };
        let text = render_confusion(&of).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert!(["31", "2", "7", "58", "a", "b"].iter().all(|n| lines.contains(n)), "{text}");
    }

    #[test]
    fn the_legend_stands_above_the_curves() {
        let curve = |name: &str| Curve {
            name: name.into(),
            points: (1..50).map(|i| (i as f64, 1.0 / i as f64)).collect(),
            joined: true,
        };
        let ends = (0.01..1.5).log_scale();
        let curves = [curve("first"), curve("second")];
        let xs = (range([0.0, 50.0].into_iter()), tick as Tick);
        let text = render("loss", ("step", "size"), &curves, xs, (ends, log_tick as Tick)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let at = |name: &str| {
            let i = lines.iter().position(|l| l.trim() == name).unwrap();
            let y = lines[i - 1].split("y=\"").nth(1).unwrap().split('"').next().unwrap();
            y.parse::<f64>().unwrap()
        };
        assert!(at("first") < 55.0 && at("second") < 55.0 && at("step") > 400.0);
    }
}
