//! Geometric Brownian motion: an ensemble with a step per path, against the exact moments, and a plot.
//!
//!     cargo run --example brownian_motion --release -- brownian_motion.svg

use costate::diff::FnMap;
use costate::ode::{Options, Params, solve_ensemble};
use costate::sde::{Brownian, Noise, SOSRI, Sde};
use plotters::prelude::*;

const PATHS: usize = 2000;
const POINTS: usize = 201;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "brownian_motion.svg".to_string());

    // dy = mu y dt + sigma y dW, p = (mu, sigma)
    let make = || {
        let drift = FnMap::new(1, 1, |_t, y: &[f64], p: &[f64], dy: &mut [f64]| dy[0] = p[0] * y[0]);
        let noise = FnMap::new(1, 1, |_t, y: &[f64], p: &[f64], g: &mut [f64]| g[0] = p[0] * y[0]);
        Sde::new(drift, noise, Noise::Diagonal).expect("both have one component")
    };
    let (mu, sigma) = (0.5, 0.4);
    let times: Vec<f64> = (0..POINTS).map(|i| 2.0 * i as f64 / (POINTS - 1) as f64).collect();
    let ensemble = solve_ensemble(
        &SOSRI,
        &Options::noisy().with_tolerances(1e-2, 1e-2),
        || make().along(Brownian::new(1)),
        (0.0, 2.0),
        &[1.0; PATHS],
        Params::Shared(&[mu, sigma]),
        &times,
    )?;
    let counts = ensemble.counts();
    println!(
        "{PATHS} paths: {} steps, {} rejections, {} failures",
        counts.accepted,
        counts.rejected,
        ensemble.failed().count()
    );

    let value = |path: usize, i: usize| ensemble.saved[path * POINTS + i];
    let last = POINTS - 1;
    let mean = |i: usize| (0..PATHS).map(|k| value(k, i)).sum::<f64>() / PATHS as f64;
    let sd = |i: usize| {
        let m = mean(i);
        ((0..PATHS).map(|k| (value(k, i) - m).powi(2)).sum::<f64>() / (PATHS - 1) as f64).sqrt()
    };
    // E y = exp(mu t), var y = exp(2 mu t) (exp(sigma^2 t) - 1)
    let exact_mean = |t: f64| (mu * t).exp();
    let exact_sd = |t: f64| exact_mean(t) * ((sigma * sigma * t).exp() - 1.0).sqrt();
    println!("mean at t = 2: {:.4}, exact {:.4}", mean(last), exact_mean(2.0));
    println!("standard deviation at t = 2: {:.4}, exact {:.4}", sd(last), exact_sd(2.0));

    let root = SVGBackend::new(&path, (900, 500)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(15)
        .x_label_area_size(40)
        .y_label_area_size(45)
        .caption(
            "Geometric Brownian motion: 40 paths, sample and exact mean with standard deviation",
            ("sans-serif", 20),
        )
        .build_cartesian_2d(0.0..2.0, 0.0..8.0)?;
    chart.configure_mesh().x_desc("t").y_desc("y").draw()?;
    for k in 0..40 {
        let line = (0..POINTS).map(|i| (times[i], value(k, i)));
        chart.draw_series(LineSeries::new(line, BLACK.mix(0.15)))?;
    }
    for sign in [-1.0, 0.0, 1.0] {
        let sampled = times.iter().enumerate().map(|(i, &t)| (t, mean(i) + sign * sd(i)));
        let exact = times.iter().map(|&t| (t, exact_mean(t) + sign * exact_sd(t)));
        let a = chart.draw_series(LineSeries::new(sampled, BLUE.stroke_width(2)))?;
        if sign == 0.0 {
            a.label("sample").legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], BLUE.stroke_width(2)));
        }
        let b = chart.draw_series(LineSeries::new(exact, RED.stroke_width(1)))?;
        if sign == 0.0 {
            b.label("exact").legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], RED));
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    root.present()?;
    println!("wrote {path}");
    Ok(())
}
