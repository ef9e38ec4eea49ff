//! Robertson's chemical reactions over eleven decades of time: a stiff problem, its automatic choice of method, and the sensitivity of the result
//! to the rate constants by the discrete adjoint.
//!
//!     cargo run --example robertson --release -- robertson.svg

use costate::adjoint::{Bars, Memory, StiffAdjoint};
use costate::diff::{Formula, Number, Size};
use costate::expr::formula;
use costate::ode::{Auto, DenseSolution, EveryStep, Options, RODAS5P, StiffIntegrator, TSIT54};
use plotters::prelude::*;

/// A -> B, 2 B -> B + C, B + C -> A + C with rates p.
struct Reactions;

impl Formula<f64> for Reactions {
    fn size(&self) -> Size {
        Size::field(3, 3)
    }
    fn eval<D: Number<f64>>(&self, _t: D, y: &[D], p: &[D], dy: &mut [D]) {
        let (a, b, c) = (p[0] * y[0], p[1] * y[1] * y[2], p[2] * y[1] * y[1]);
        (dy[0], dy[1], dy[2]) = (b - a, a - b - c, c);
    }
}

const SPAN: (f64, f64) = (0.0, 1e6);
const Y0: [f64; 3] = [1.0, 0.0, 0.0];
const P: [f64; 3] = [0.04, 1e4, 3e7];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "robertson.svg".to_string());
    let mut field = formula(Reactions)?;
    let options = Options::tolerances(1e-6, 1e-10);

    let (mut dense, mut steps) = (DenseSolution::new(), EveryStep::new());
    let mut integrator = StiffIntegrator::new(&RODAS5P, 3, 1, &options)?;
    let report = integrator.run(&mut field, SPAN, &Y0, &P, &mut (&mut dense, &mut steps))?;
    println!("rodas5p: {}; {} evaluations", report.message(), report.counts.evals);

    let mut auto = Auto::new(&TSIT54, &RODAS5P, 3, 1, &options)?;
    let report = auto.run(&mut field, SPAN, &Y0, &P, &mut ())?;
    println!("auto: {}; {} evaluations", report.message(), report.counts.evals);
    for s in auto.switches() {
        let to = if s.to_stiff { RODAS5P.name } else { TSIT54.name };
        println!("  to {to} at t = {:.3e}, where |h| times the eigenvalue is {:.2}", s.t, s.size);
    }

    // d ln A(t1) / d ln p.
    let mut solver = StiffAdjoint::new(&RODAS5P, 3, 1, &options, Memory::States)?;
    solver.forward(&mut field, SPAN, &Y0, &P, &mut ())?;
    let a = solver.y()[0];
    let (mut y_bar, mut p_bar) = ([0.0; 3], [0.0; 3]);
    solver.reverse(
        &mut field,
        &P,
        &Bars { y1: &[1.0, 0.0, 0.0], ..Bars::default() },
        &mut y_bar,
        &mut p_bar,
    )?;
    for ((name, p), g) in ["k1", "k2", "k3"].into_iter().zip(P).zip(p_bar) {
        println!("  1 % more of {name} changes A by {:+.4} %", g * p / a);
    }

    let root = SVGBackend::new(&path, (900, 500)).into_drawing_area();
    root.fill(&WHITE)?;
    let first = 1e-5;
    let mut chart = ChartBuilder::on(&root)
        .margin(15)
        .x_label_area_size(40)
        .y_label_area_size(45)
        .caption("Robertson's reactions: dense output (lines), steps (dots)", ("sans-serif", 20))
        .build_cartesian_2d((first..SPAN.1).log_scale(), -0.02..1.05)?;
    chart.configure_mesh().x_desc("t").y_desc("concentration").draw()?;
    for (i, name, factor, color) in [(0, "A", 1.0, RED), (1, "B x 10000", 1e4, GREEN), (2, "C", 1.0, BLUE)] {
        let mut line = Vec::new();
        for k in 0..=1000 {
            let t = (first * (SPAN.1 / first).powf(k as f64 / 1000.0)).min(SPAN.1);
            line.push((t, factor * dense.at(t)?[i]));
        }
        chart
            .draw_series(LineSeries::new(line, color.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
        let times = steps.times().iter().enumerate().filter(|(_, t)| **t >= first);
        chart.draw_series(
            times.map(|(k, &t)| Circle::new((t, factor * steps.state(k)[i]), 3, color.filled())),
        )?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::MiddleLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    root.present()?;
    println!("wrote {path}");
    Ok(())
}
