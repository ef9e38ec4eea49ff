//! The first component of the true system and of what was learned.

use costate::ode::{Options, TSIT54, solve};
use plotters::prelude::*;

use super::tasks::Task;
use super::{Failure, Outcome, field};

pub fn draw(task: &Task, path: &str, outcomes: &[Outcome]) -> Result<(), Failure> {
    let end = 5.0 * task.end();
    let times: Vec<f64> = (1..=600).map(|k| end * k as f64 / 600.0).collect();
    let exact = task.exact(&times)?;
    let range = exact.iter().step_by(task.dim).fold((0.0f64, 0.0f64), |m, v| (m.0.min(*v), m.1.max(*v)));
    let room = 0.5 * (range.1 - range.0);
    let root = SVGBackend::new(path, (900, 500)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(15)
        .x_label_area_size(40)
        .y_label_area_size(45)
        .caption(format!("{}: {}", task.name, task.about), ("sans-serif", 18))
        .build_cartesian_2d(0.0..end, range.0 - room..range.1 + room)?;
    chart.configure_mesh().x_desc("t (data on the first fifth)").draw()?;
    let mut line = |name: &str, states: Vec<f64>, color: RGBColor| -> Result<(), Failure> {
        let points = times.iter().copied().zip(states.into_iter().step_by(task.dim));
        let points = points.filter(|(_, v)| v.is_finite() && v.abs() < 1e6);
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
        Ok(())
    };
    line("true", exact, RGBColor(120, 120, 120))?;
    let options = Options::tolerances(1e-6, 1e-6);
    for (o, color) in outcomes.iter().zip([RGBColor(230, 150, 0), RED, BLUE]) {
        let mut net = field(task)?;
        let s = solve(&mut net, &TSIT54, &options, (0.0, end), &task.y0, &o.weights, &times)?;
        line(o.method, s.states().to_vec(), color)?;
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
    root.present()?;
    Ok(())
}
