//! Performance profiles (Dolan and More, Math. Programming 91, 2002).

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use super::compare::Other;
use super::row::Row;
use crate::cli::Failure;

/// Times below this count as this: shorter ones measure the clock.
const FLOOR: f64 = 1e-3;

/// Colours that colour-blind readers can tell apart (Okabe and Ito).
pub const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
];

/// Times of several solvers on the same problems; infinite where unsolved.
#[derive(Debug, Default, PartialEq)]
pub struct Times {
    /// Names of the solvers.
    pub solvers: Vec<String>,
    /// For each problem the time of each solver.
    pub problems: Vec<Vec<f64>>,
}

impl Times {
    /// A solver for each linear solver and tolerance, and the other one; a problem for each name, parameters and seed. With an
    /// other solver only the problems known there.
    fn new(rows: &[Row], other: Option<&Other>) -> Self {
        let several_tolerances = rows.iter().any(|r| r.tolerance != rows[0].tolerance);
        let name = |row: &Row| match (several_tolerances, other.is_some()) {
            (true, _) => format!("{}, {:e}", row.linear_option, row.tolerance),
            (false, true) => "costate".to_string(),
            (false, false) => row.linear_option.clone(),
        };
        let mut solvers: Vec<String> = Vec::new();
        for row in rows {
            if !solvers.contains(&name(row)) {
                solvers.push(name(row));
            }
        }
        let columns = solvers.len() + usize::from(other.is_some());
        let mut problems: BTreeMap<((String, String), u64), Vec<f64>> = BTreeMap::new();
        for row in rows {
            let theirs = other.and_then(|o| o.get(row));
            if other.is_some() && theirs.is_none() {
                continue;
            }
            let times = problems.entry((row.key(), row.seed)).or_insert_with(|| vec![f64::INFINITY; columns]);
            if let Some(k) = solvers.iter().position(|s| *s == name(row)).filter(|_| row.solved) {
                times[k] = row.solve_seconds.max(FLOOR);
            }
            if let Some(theirs) = theirs.filter(|t| t.solved && t.seconds.is_finite()) {
                times[columns - 1] = theirs.seconds.max(FLOOR);
            }
        }
        solvers.extend(other.map(|o| o.label.clone()));
        Self { solvers, problems: problems.into_values().collect() }
    }

    /// The ratios to the best time of solver k, ascending; unsolved problems have none.
    fn ratios(&self, k: usize) -> Vec<f64> {
        let mut ratios: Vec<f64> = self
            .problems
            .iter()
            .map(|times| times[k] / times.iter().copied().fold(f64::INFINITY, f64::min))
            .filter(|r| r.is_finite())
            .collect();
        ratios.sort_by(f64::total_cmp);
        ratios
    }
}

/// The curve (log2 tau, share of the problems solved within tau times the best) as corners of a staircase from 0 to `end`.
fn staircase(ratios: &[f64], problems: usize, end: f64) -> Vec<(f64, f64)> {
    let mut points = vec![(0.0, 0.0)];
    for (k, ratio) in ratios.iter().enumerate() {
        let x = ratio.log2();
        let height = points[points.len() - 1].1;
        points.push((x, height));
        points.push((x, (k + 1) as f64 / problems as f64));
    }
    let height = points[points.len() - 1].1;
    points.push((end, height));
    points
}

/// Draws the profile as SVG.
pub fn write(path: &Path, rows: &[Row], other: Option<&Other>) -> Result<(), Failure> {
    let times = if rows.is_empty() { Times::default() } else { Times::new(rows, other) };
    if times.problems.is_empty() {
        return Err(Failure("option profile: there is no problem to draw".into()));
    }
    draw(path, &times).map_err(|e| Failure(format!("{}: {e}", path.display())))
}

fn draw(path: &Path, times: &Times) -> Result<(), Box<dyn Error>> {
    let ratios: Vec<Vec<f64>> = (0..times.solvers.len()).map(|k| times.ratios(k)).collect();
    let largest = ratios.iter().filter_map(|r| r.last()).copied().fold(1.0, f64::max);
    let end = (largest.log2().ceil() + 0.5).max(2.0);
    let root = SVGBackend::new(path, (800, 520)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(20)
        .x_label_area_size(50)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..end, 0.0..1.02)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225))
        .x_labels(end as usize + 1)
        .x_label_formatter(&|x| if x.fract() == 0.0 { format!("{}", x.exp2()) } else { String::new() })
        .y_label_formatter(&|y| format!("{:.0} %", 100.0 * y))
        .x_desc("solve time relative to the fastest (times under 1 ms count as 1 ms)")
        .y_desc(format!("share of {} problems solved", times.problems.len()))
        .label_style(("sans-serif", 15))
        .axis_desc_style(("sans-serif", 16))
        .draw()?;
    for (k, name) in times.solvers.iter().enumerate() {
        let style = COLOURS[k % COLOURS.len()].stroke_width(if k < COLOURS.len() { 3 } else { 1 });
        let curve = staircase(&ratios[k], times.problems.len(), end);
        let label = format!("{name} ({} solved)", ratios[k].len());
        chart
            .draw_series(LineSeries::new(curve, style))?
            .label(label)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 24, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .margin(12)
        .legend_area_size(32)
        .background_style(WHITE.mix(0.9))
        .border_style(RGBColor(180, 180, 180))
        .label_font(("sans-serif", 15))
        .draw()?;
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_by_hand() {
        let inf = f64::INFINITY;
        let times = Times {
            solvers: vec!["a".into(), "b".into()],
            problems: vec![vec![1.0, 2.0], vec![4.0, 1.0], vec![1.0, inf], vec![inf, inf]],
        };
        assert_eq!(times.ratios(0), [1.0, 1.0, 4.0]);
        assert_eq!(times.ratios(1), [1.0, 2.0]);
        let curve = staircase(&times.ratios(1), 4, 3.0);
        assert_eq!(curve, [(0.0, 0.0), (0.0, 0.0), (0.0, 0.25), (1.0, 0.25), (1.0, 0.5), (3.0, 0.5)]);
    }

    #[test]
    fn a_drawing_has_axes_and_a_legend() {
        let solver = |k: usize| (0..60).map(move |p| 1e-3 * ((p * (7 + 6 * k)) % 31 + 1) as f64);
        let mut problems: Vec<Vec<f64>> = solver(0).zip(solver(1)).map(|(a, b)| vec![a, b]).collect();
        problems[5][1] = f64::INFINITY;
        let times = Times { solvers: vec!["costate".into(), "Ipopt".into()], problems };
        let path = std::env::temp_dir().join(format!("costate-profile-{}.svg", std::process::id()));
        draw(&path, &times).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        for text in ["costate (60 solved)", "Ipopt (59 solved)", "share of 60 problems solved", "100 %"] {
            assert!(svg.contains(text), "{text}");
        }
    }
}
