//! Parallel coordinates: a vertical axis a variable, the last one for the metric, a line a trial.

use std::path::Path;

use plotters::prelude::*;

use costate::train::checkpoint::write_file;

use super::config::Sweep;
use super::engine::Engine;
use super::journal::End;
use super::report::{ranking, short};
use crate::cli::Failure;

/// An axis: name, ends, whether it is logarithmic, and texts at places from 0 to 1.
struct Axis {
    name: String,
    log: bool,
    ends: (f64, f64),
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Where a value is, from 0 to 1; on a logarithmic axis it is positive.
    fn place(&self, x: f64) -> f64 {
        let on = |x: f64| if self.log { x.ln() } else { x };
        let (a, b) = (on(self.ends.0), on(self.ends.1));
        if b > a { ((on(x) - a) / (b - a)).clamp(0.0, 1.0) } else { 0.5 }
    }
    fn numbers(name: &str, ends: (f64, f64), log: bool) -> Self {
        let mut axis = Self { name: name.into(), log, ends, ticks: vec![] };
        let shown = |x: f64| short(&toml::Value::Float(x));
        let decades = (ends.0.log10().ceil() as i64, ends.1.log10().floor() as i64);
        if log && decades.1 > decades.0 {
            let step = ((decades.1 - decades.0) / 8 + 1) as usize;
            for k in (decades.0..=decades.1).step_by(step) {
                axis.ticks.push((axis.place(10f64.powi(k as i32)), format!("1e{k}")));
            }
        } else {
            for k in 0..=4 {
                let share = f64::from(k) / 4.0;
                let x = if log {
                    (ends.0.ln() + share * (ends.1 / ends.0).ln()).exp()
                } else {
                    ends.0 + share * (ends.1 - ends.0)
                };
                axis.ticks.push((share, shown(x)));
            }
        }
        axis
    }
}

fn axes(sweep: &Sweep, values: &[f64]) -> Vec<Axis> {
    let mut axes = vec![];
    for (v, of) in sweep.variables.iter().zip(sweep.space.variables()) {
        axes.push(match &v.values {
            None => Axis::numbers(&v.name, (of.lower, of.upper), v.is_log()),
            Some(values) => {
                let last = (values.len() - 1) as f64;
                let ticks = values.iter().enumerate().map(|(i, v)| (i as f64 / last, short(v))).collect();
                Axis { name: v.name.clone(), log: false, ends: (0.0, last), ticks }
            }
        });
    }
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log = sweep.logarithm() && least > 0.0 && most > least;
    axes.push(Axis::numbers(&sweep.config.metric, (least, most), log));
    axes
}

/// Draws the trials that have a value; nothing without one.
pub fn parallel(sweep: &Sweep, engine: &Engine<'_>, path: &Path) -> Result<(), Failure> {
    let finite = |k: &usize| engine.value(&engine.trials[*k]).is_finite();
    // The best on top.
    let order: Vec<usize> = ranking(sweep, engine).into_iter().filter(finite).rev().collect();
    let values: Vec<f64> = order.iter().map(|k| engine.value(&engine.trials[*k])).collect();
    if values.is_empty() {
        return Ok(());
    }
    let axes = axes(sweep, &values);
    let whole = |k: &usize| matches!(engine.trials[*k].end, Some(End::Finished | End::Patience));
    let count = order.iter().filter(|k| whole(k)).count();
    let mut lines = vec![];
    let mut rank = count;
    for (k, value) in order.iter().zip(&values) {
        let point = engine.trials[*k].point.iter().chain([value]);
        let places: Vec<f64> = axes.iter().zip(point).map(|(a, x)| a.place(*x)).collect();
        if whole(k) {
            rank -= 1;
            lines.push((places, Some(rank as f64 / count.max(2) as f64)));
        } else {
            lines.push((places, None));
        }
    }
    let text = render(&axes, &lines).map_err(|e| Failure(format!("{}: {e}", path.display())))?;
    Ok(write_file(path, text.as_bytes())?)
}

/// From dark blue (the best) over green to yellow; gray: not trained to the end.
fn color(share: Option<f64>) -> RGBAColor {
    let Some(s) = share else { return RGBColor(190, 190, 190).mix(0.5) };
    let mix = |a: f64, b: f64, t: f64| (a + (b - a) * t) as u8;
    let (low, high, t) = if s < 0.5 {
        ([30.0, 40.0, 130.0], [40.0, 160.0, 120.0], 2.0 * s)
    } else {
        ([40.0, 160.0, 120.0], [240.0, 210.0, 60.0], 2.0 * s - 1.0)
    };
    RGBColor(mix(low[0], high[0], t), mix(low[1], high[1], t), mix(low[2], high[2], t)).mix(0.9)
}

fn render(axes: &[Axis], lines: &[(Vec<f64>, Option<f64>)]) -> Result<String, Box<dyn std::error::Error>> {
    let (step, top, height, left) = (150i32, 60i32, 360i32, 80i32);
    let width = left + step * (axes.len() as i32 - 1) + 110;
    let mut text = String::new();
    {
        let size = (width.max(300) as u32, (top + height + 50) as u32);
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        root.fill(&WHITE)?;
        let at = |c: usize, place: f64| {
            (left + step * c as i32, top + height - (place * f64::from(height)) as i32)
        };
        for (places, share) in lines {
            let points: Vec<(i32, i32)> = places.iter().enumerate().map(|(c, p)| at(c, *p)).collect();
            root.draw(&PathElement::new(points, color(*share).stroke_width(1)))?;
        }
        for (c, axis) in axes.iter().enumerate() {
            root.draw(&PathElement::new(vec![at(c, 0.0), at(c, 1.0)], BLACK.stroke_width(1)))?;
            let name: String = axis.name.chars().take(24).collect();
            let stagger = if c % 2 == 0 { 12 } else { 30 };
            root.draw(&Text::new(name, (left + step * c as i32 - 60, stagger), ("sans-serif", 14)))?;
            for (place, tick) in &axis.ticks {
                let (x, y) = at(c, *place);
                root.draw(&PathElement::new(vec![(x - 4, y), (x, y)], BLACK.stroke_width(1)))?;
                let tick: String = tick.chars().take(12).collect();
                root.draw(&Text::new(tick, (x + 4, y - 6), ("sans-serif", 11)))?;
            }
        }
        let below = "blue: the best; gray: not trained to the end";
        root.draw(&Text::new(below, (left, top + height + 20), ("sans-serif", 12)))?;
        root.present()?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_on_linear_and_logarithmic_axes() {
        let axis = Axis::numbers("a", (1e-4, 1e-1), true);
        assert!((axis.place(1e-3) - 1.0 / 3.0).abs() < 1e-12 && axis.place(1.0) == 1.0);
        assert_eq!(axis.ticks.len(), 4);
        assert_eq!(axis.ticks[0].1, "1e-4");
        let axis = Axis::numbers("b", (2.0, 6.0), false);
        assert_eq!((axis.place(3.0), axis.place(2.0), axis.ticks[1].1.as_str()), (0.25, 0.0, "3"));
        // Less than a decade: five ticks all the same.
        assert_eq!(Axis::numbers("c", (2.0, 6.0), true).ticks.len(), 5);
        assert_eq!(Axis::numbers("d", (1.0, 1.0), false).place(1.0), 0.5);
    }
}
