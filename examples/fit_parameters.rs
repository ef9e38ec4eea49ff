//! Parameters of differential equations from noisy observations: Lotka and Volterra's, and Robertson's stiff reactions. Estimates with standard errors and intervals, and a
//! plot of the solution with its 95 % band.
//!
//!     cargo run --example fit_parameters --release -- [lotka|robertson] [PLOT.svg]

use costate::control::shooting::{Reduced, Trajectory, solve};
use costate::expr::RecordedMap;
use costate::expr::record;
use costate::fit::LeastSquares;
use costate::observe::Silent;
use costate::ode::{Method, Options, RODAS5P, TSIT54, solve as integrate};
use plotters::prelude::*;

type Failure = Box<dyn std::error::Error>;

/// A field and what is known of it.
struct Task {
    field: RecordedMap,
    y0: Vec<f64>,
    /// True parameters, and where the fit begins; none may be negative.
    truth: Vec<f64>,
    start: Vec<f64>,
    names: Vec<&'static str>,
    times: Vec<f64>,
    /// Of each component: its name, the deviation of its observations (none: it is not observed), and a factor for the plot.
    components: Vec<(&'static str, Option<f64>, f64)>,
    tolerances: (f64, f64),
}

fn lotka() -> Result<Task, Failure> {
    let field = record(2, 4, |_t, y, p, dy| {
        dy[0] = p[0] * y[0] - p[1] * y[0] * y[1];
        dy[1] = p[3] * y[0] * y[1] - p[2] * y[1];
    })?;
    Ok(Task {
        field: field.into_map(),
        y0: vec![1.0, 1.0],
        truth: vec![1.5, 1.0, 3.0, 1.0],
        start: vec![1.3, 0.8, 2.6, 0.9],
        names: vec!["growth of prey", "hunting", "death of predators", "growth of predators"],
        times: (1..=60).map(|i| 0.1 * i as f64).collect(),
        components: vec![("prey", Some(0.15), 1.0), ("predators", Some(0.15), 1.0)],
        tolerances: (1e-8, 1e-8),
    })
}

/// Rates of the reactions A -> B, B + C -> A + C, 2 B -> B + C in units of 0.04, 1e4 and 3e7.
fn robertson() -> Result<Task, Failure> {
    let field = record(3, 3, |_t, y, p, dy| {
        let (a, b) = (0.04 * p[0] * y[0], 1e4 * p[1] * y[1] * y[2]);
        let c = 3e7 * p[2] * y[1] * y[1];
        dy[0] = b - a;
        dy[1] = a - b - c;
        dy[2] = c;
    })?;
    Ok(Task {
        field: field.into_map(),
        y0: vec![1.0, 0.0, 0.0],
        truth: vec![1.0, 1.0, 1.0],
        start: vec![0.5, 2.0, 0.5],
        names: vec!["A -> B", "B + C -> A + C", "2 B -> B + C"],
        times: (0..40).map(|i| 1e-3 * 10f64.powf(0.2 * i as f64)).collect(),
        components: vec![("A", Some(0.01), 1.0), ("B / 1e-4", Some(4e-7), 1e4), ("C", None, 1.0)],
        tolerances: (1e-8, 1e-12),
    })
}

/// Normal numbers from a fixed sequence of uniform ones (Box and Muller).
fn noise(k: usize) -> f64 {
    let uniform = |k: usize| (k as f64 * 0.618_033_988_749_894_9 + 0.3).fract();
    let second = (k as f64 * 0.754_877_666_246_692_8 + 0.7).fract();
    (-2.0 * uniform(k + 1).ln()).sqrt() * (std::f64::consts::TAU * second).cos()
}

fn fit<D>(task: &Task, method: D, plot: &str) -> Result<(), Failure>
where
    D: Method<f64>,
    D::Integrator: costate::adjoint::Transpose<f64> + costate::ode::Integrate<f64, RecordedMap>,
    <D::Integrator as costate::adjoint::Transpose<f64>>::Back: costate::adjoint::Reverse<f64, RecordedMap>
        + costate::adjoint::Reverse<f64, costate::diff::Variational<RecordedMap, f64>>,
{
    let options = Options::tolerances(task.tolerances.0, task.tolerances.1);
    let (dim, span) = (task.y0.len(), (0.0, task.times[task.times.len() - 1]));
    let mut field = task.field.clone();
    let clean = integrate(&mut field, method, &options, span, &task.y0, &task.truth, &task.times)?;
    // What is observed: (number of the save point, component, deviation, value).
    let observed: Vec<(usize, usize, f64, f64)> = (0..task.times.len())
        .flat_map(|k| (0..dim).filter_map(move |i| Some((k, i, task.components[i].1?))))
        .enumerate()
        .map(|(row, (k, i, sigma))| (k, i, sigma, clean.states()[k * dim + i] + sigma * noise(row)))
        .collect();
    let data: Vec<f64> = observed.iter().map(|o| o.3).collect();

    let trajectory = Trajectory::new(field.clone(), method, &options, span, &task.times)?;
    let n = task.start.len();
    let problem = Reduced::new("fit", trajectory, &task.y0, &task.start)?
        .bounds(&vec![0.0; n], &vec![f64::INFINITY; n])?
        .names(task.names.clone())?
        .subject_to((&data, &data), |y, _, r| {
            r.iter_mut().zip(&observed).for_each(|(r, (k, i, ..))| *r = y[*k][*i]);
        })?;
    let deviations: Vec<f64> = observed.iter().map(|o| o.2).collect();
    let mut fit = LeastSquares::of(problem, 0..data.len())?.sigma(&deviations)?.observed(&data);
    let report = solve(&mut fit, &Default::default(), &mut Silent)?;
    let s = fit.statistics(&report)?;
    println!("{} observations: {}", data.len(), report.message);
    println!("{} iterations, chi^2 per degree of freedom {:.3}", report.iterations, s.residual_variance);
    println!("{:<22} {:>9} {:>9} {:>10}   95 % interval", "", "truth", "fitted", "deviation");
    for (j, name) in task.names.iter().enumerate() {
        let (low, high) = s.interval(j, 0.95)?;
        let (x, e) = (s.x[j], s.standard_errors[j]);
        println!("{name:<22} {:>9.4} {x:>9.4} {e:>10.2e}   {low:.4} to {high:.4}", task.truth[j]);
    }
    // The band, on times of its own.
    let (t0, logarithmic) = (task.times[0], task.times[1] - task.times[0] < 1e-3);
    let fine: Vec<f64> = (0..=300)
        .map(|k| k as f64 / 300.0)
        .map(|s| if logarithmic { t0 * (span.1 / t0).powf(s) } else { t0 + s * (span.1 - t0) })
        .map(|t| t.min(span.1))
        .collect();
    let trajectory = Trajectory::new(field, method, &options, span, &fine)?;
    let mut curve = Reduced::new("curve", trajectory, &task.y0, &task.start)?;
    let states = curve.states(&s.x)?.to_vec();
    let band = curve.deviations(&s.x, &s.covariance)?;
    let x = |t: f64| if logarithmic { t.log10() } else { t };
    draw(task, plot, (&fine, &states, &band), &observed, x)?;
    println!("wrote {plot}");
    Ok(())
}

fn draw(
    task: &Task,
    path: &str,
    (times, states, band): (&[f64], &[f64], &[f64]),
    observed: &[(usize, usize, f64, f64)],
    x: impl Fn(f64) -> f64,
) -> Result<(), Failure> {
    let (dim, factor) = (task.y0.len(), |i: usize| task.components[i].2);
    let top = states.iter().enumerate().fold(0.0f64, |m, (k, v)| m.max(v * factor(k % dim)));
    let root = SVGBackend::new(path, (900, 500)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(15)
        .x_label_area_size(40)
        .y_label_area_size(45)
        .caption("Fit (lines), 95 % band (shaded) and observations (dots)", ("sans-serif", 20))
        .build_cartesian_2d(x(times[0])..x(times[times.len() - 1]), 0.0..1.15 * top)?;
    let label = if x(10.0) == 1.0 { "log10 t" } else { "t" };
    chart.configure_mesh().x_desc(label).draw()?;
    for (i, (name, sigma, factor)) in task.components.iter().enumerate() {
        let color = [RED, BLUE, RGBColor(0, 128, 0)][i % 3];
        let side = |sign: f64| {
            times
                .iter()
                .enumerate()
                .map(move |(k, t)| (*t, (states[k * dim + i] + sign * 1.96 * band[k * dim + i]) * factor))
        };
        let points = |side: Vec<(f64, f64)>| side.into_iter().map(|(t, v)| (x(t), v)).collect::<Vec<_>>();
        let around: Vec<_> = side(1.0).chain(side(-1.0).collect::<Vec<_>>().into_iter().rev()).collect();
        chart.draw_series(std::iter::once(Polygon::new(points(around), color.mix(0.25))))?;
        chart
            .draw_series(LineSeries::new(points(side(0.0).collect()), color.stroke_width(1)))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
        if sigma.is_some() {
            let mine = observed.iter().filter(|o| o.1 == i);
            chart.draw_series(
                mine.map(|o| Circle::new((x(task.times[o.0]), o.3 * factor), 2, color.filled())),
            )?;
        }
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
    root.present()?;
    Ok(())
}

fn main() -> Result<(), Failure> {
    let mut words = std::env::args().skip(1);
    let which = words.next().unwrap_or_else(|| "lotka".into());
    let plot = words.next().unwrap_or_else(|| format!("{which}.svg"));
    match which.as_str() {
        "lotka" => fit(&lotka()?, &TSIT54, &plot),
        "robertson" => fit(&robertson()?, &RODAS5P, &plot),
        other => Err(format!("'{other}' is no task, expected lotka or robertson").into()),
    }
}
