use super::*;

/// Never stopped.
static GO: AtomicBool = AtomicBool::new(false);

#[test]
fn ends_of_the_bridge_are_exact() {
    let (low, high, noise) = ([1.0, -2.0], [0.3, 5.0], [1.7, -0.4]);
    let (mut x, mut way) = ([0.0; 2], [0.0; 2]);
    on_bridge((&low, &high), 0.0, &noise, &mut x, &mut way);
    assert_eq!((x, way), (high, [0.0; 2]));
    on_bridge((&low, &high), 1.0, &noise, &mut x, &mut way);
    assert_eq!((x, way), (low, [1.0 - 0.3, -7.0]));
    // Everywhere x_m - way = x_high.
    on_bridge((&low, &high), 0.3, &noise, &mut x, &mut way);
    assert!((x[0] - way[0] - high[0]).abs() < 1e-15 && (x[1] - way[1] - high[1]).abs() < 1e-15);
    assert!((time(0.0) - 0.001).abs() < 1e-15 && (time(999.0) - 0.999).abs() < 1e-15);
}

/// (x_high, x_low) jointly normal in two dimensions: x_high = A x_low + b + L z. Sampled with E[x_high | x_m, x_low] it has mean A x_low + b and covariance L L',
/// but for the steps: each takes x^ for certain, which loses about 2 dm ln 1000 of the variance in sum, and the last one 0.002.
#[test]
fn the_exact_conditional_mean_gives_the_conditional_law() {
    let count = 20_000;
    let low = [0.7, -0.3];
    let mean = [0.5 * low[0] + 0.2 * low[1] + 1.0, -0.4 * low[0] + low[1] - 0.5];
    // Covariance C of x_high given x_low.
    let c = [[0.8, 0.3], [0.3, 0.5]];
    let mut way = |x: &[f64], m: f64, out: &mut [f64]| {
        // x_m = (1 - m) x_high + m x_low + noise: E[x_high | x_m] = mean + G (x_m - (1 - m) mean - m x_low), G = (1 - m) C ((1 - m)^2 C + v I)^-1.
        let (a, v) = (1.0 - m, variance(m));
        let s = [[a * a * c[0][0] + v, a * a * c[0][1]], [a * a * c[1][0], a * a * c[1][1] + v]];
        let det = s[0][0] * s[1][1] - s[0][1] * s[1][0];
        let inverse = [[s[1][1] / det, -s[0][1] / det], [-s[1][0] / det, s[0][0] / det]];
        let g = [0, 1].map(|i| [0, 1].map(|j| a * (c[i][0] * inverse[0][j] + c[i][1] * inverse[1][j])));
        let center = [0, 1].map(|i| a * mean[i] + m * low[i]);
        for (x, out) in x.chunks_exact(2).zip(out.chunks_exact_mut(2)) {
            let r = [x[0] - center[0], x[1] - center[1]];
            out[0] = x[0] - (mean[0] + g[0][0] * r[0] + g[0][1] * r[1]);
            out[1] = x[1] - (mean[1] + g[1][0] * r[0] + g[1][1] * r[1]);
        }
    };
    let start: Vec<f64> = (0..count).flat_map(|_| low).collect();
    let x = sample(&start, 2, (4000, 1.0, 5), &mut way).unwrap();
    let n = f64::from(count);
    let average = |f: &dyn Fn(&[f64]) -> f64| x.chunks_exact(2).map(f).sum::<f64>() / n;
    for i in 0..2 {
        let found = average(&|x| x[i]);
        assert!((found - mean[i]).abs() < 3.0 * (c[i][i] / n).sqrt(), "mean {i}: {found} {}", mean[i]);
        for j in 0..=i {
            let found = average(&|x| (x[i] - mean[i]) * (x[j] - mean[j]));
            let error = ((c[i][i] * c[j][j] + c[i][j] * c[i][j]) / n).sqrt();
            assert!(
                (found - c[i][j]).abs() < 3.0 * error,
                "covariance {i} {j}: {found} {} ({error})",
                c[i][j]
            );
        }
    }
}

fn table() -> (Vec<f64>, Vec<f64>) {
    let x: Vec<f64> = (0..160).map(|k| (1.7 * f64::from(k * k)).sin()).collect();
    let y = x.chunks(2).map(|x| -(x[0] - 0.9).powi(2) - (x[1] + 0.8).powi(2)).collect();
    (x, y)
}

fn small() -> BridgeOptions {
    BridgeOptions {
        epochs: 12,
        functions: 2,
        width: 32,
        passes: 10,
        proposals: 20,
        climb: 40,
        conditioned: 40,
        climb_rate: 0.05,
        ..BridgeOptions::default()
    }
}

#[test]
fn pairs_rise_on_their_function() {
    let (x, y) = table();
    let order = (0..80).collect();
    let data = Sorted { x: Standard::new(&x, 2).apply(&x), y: Standard::new(&y, 1).apply(&y), dim: 2, order };
    let o = small();
    let gp = data.function(&o, 3).unwrap();
    let found = pairs(&gp, &data.points(80), &o);
    assert!(found.len() > 40);
    let value = |x: &[f64]| gp.mean_gradient(x, &mut [0.0; 2]);
    for p in &found {
        assert!(p.y_low + o.gap < p.y_high && value(&p.low) == p.y_low && value(&p.high) == p.y_high);
    }
    // A gap that none has.
    assert!(pairs(&gp, &data.points(80), &BridgeOptions { gap: 1e3, ..o }).is_empty());
}

#[test]
fn proposals_are_better_than_where_they_began_and_have_the_same_bits() {
    let (x, y) = table();
    let bounds = [(-1.0, 1.0); 2];
    let guided = BridgeOptions { guidance: 0.0, target: Some(0.0), ..small() };
    let found = propose(&x, &y, &bounds, &guided, &GO).unwrap();
    let value = |x: &[f64]| -(x[0] - 0.9).powi(2) - (x[1] + 0.8).powi(2);
    let after = found.x.chunks(2).map(value).sum::<f64>() / 20.0;
    let before = found.from.iter().map(|i| y[*i]).sum::<f64>() / 20.0;
    assert!(after > before, "{after} {before}");
    assert!(found.x.iter().all(|x| (-1.0..=1.0).contains(x)) && found.loss < 1.0);
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| propose(&x, &y, &bounds, &guided, &GO)).unwrap(), found);
    }
}

#[test]
fn one_hot_proposals_have_one_one() {
    let (n, lengths) = (60, [3usize, 2]);
    let mut x = vec![];
    let mut y = vec![];
    for k in 0..n {
        let (a, b) = (k * 7 % 3, k * 5 % 2);
        x.extend(
            (0..3).map(|i| f64::from(u8::from(i == a))).chain((0..2).map(|i| f64::from(u8::from(i == b)))),
        );
        y.push(a as f64 - 2.0 * b as f64 + 0.1 * (k as f64).sin());
    }
    let o = BridgeOptions { one_hot: lengths.to_vec(), scale: 6.25, climb_rate: 0.05, ..small() };
    let found = propose(&x, &y, &[(0.0, 1.0); 5], &o, &GO).unwrap();
    for row in found.x.chunks(5) {
        assert!(row[..3].iter().sum::<f64>() == 1.0 && row[3..].iter().sum::<f64>() == 1.0, "{row:?}");
    }
}

#[test]
fn bad_tables_and_options_are_one_sentence() {
    let (x, y) = table();
    let bounds = [(-1.0, 1.0); 2];
    let o = small();
    let with = |o: BridgeOptions| propose(&x, &y, &bounds, &o, &GO).unwrap_err().to_string();
    for text in [
        propose(&x[1..], &y, &bounds, &o, &GO).unwrap_err().to_string(),
        propose(&x, &vec![f64::NAN; 80], &bounds, &o, &GO).unwrap_err().to_string(),
        propose(&x, &y, &[(1.0, -1.0); 2], &o, &GO).unwrap_err().to_string(),
        propose(&x, &vec![2.0; 80], &bounds, &o, &GO).unwrap_err().to_string(),
        with(BridgeOptions { epochs: 0, ..o.clone() }),
        with(BridgeOptions { scale: 0.2, ..o.clone() }),
        with(BridgeOptions { eta: 2.0, epochs: 1, ..o.clone() }),
        with(BridgeOptions { one_hot: vec![2, 2], ..o.clone() }),
    ] {
        assert!(text.contains("ridge") && !text.contains('\n'), "{text}");
    }
}

#[test]
fn it_stops() {
    let (x, y) = ((0..80).map(f64::from).collect::<Vec<_>>(), (0..80).map(f64::from).collect::<Vec<_>>());
    let stopped = AtomicBool::new(true);
    let error = propose(&x, &y, &[(0.0, 80.0)], &BridgeOptions::default(), &stopped).unwrap_err();
    assert_eq!(error.to_string(), "bridge: stopped before its end");
}
