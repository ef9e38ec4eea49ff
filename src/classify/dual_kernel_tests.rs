use super::*;
use serde_json::Value;

fn options(name: &str, kernel: WideKernel, depth: usize) -> DualKernelOptions {
    DualKernelOptions { activation: Some(DualActivation::named(name).unwrap()), kernel, depth }
}
/// Unit vectors of the positive orthant.
fn points(n: usize, entries: usize) -> Vec<f64> {
    let mut x: Vec<f64> = (0..n * entries).map(|i| (0.3 + (i as f64 * 0.7361).sin()).abs() + 0.01).collect();
    for row in x.chunks_exact_mut(entries) {
        let length = row.iter().map(|v| v * v).sum::<f64>().sqrt();
        row.iter_mut().for_each(|v| *v /= length);
    }
    x
}

#[test]
fn reference_values() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/methods/kernels_reference.json");
    let Ok(text) = std::fs::read_to_string(path) else {
        assert!(std::env::var_os("COSTATE_REQUIRE_SHARED").is_none(), "{path} is required");
        return eprintln!("skipped: {path} is not there");
    };
    let all: Value = serde_json::from_str(&text).unwrap();
    let all = &all["dual_activation_kernels"];
    let numbers = |v: &Value| v.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect::<Vec<_>>();
    let xi = numbers(&all["xi"]);
    let mut compared = 0;
    for (name, depths) in all["values"].as_object().unwrap() {
        let f = match &name[..] {
            "relu" => DualActivation::Relu,
            "sinh2" => DualActivation::Sinh(2.676),
            "sinh4" => DualActivation::Sinh(6.135),
            "sinh8" => DualActivation::Sinh(13.826),
            other => DualActivation::consistent(other[1..].parse().unwrap()).unwrap(),
        };
        for (depth, values) in depths.as_object().unwrap() {
            let depth = depth.parse().unwrap();
            for ((xi, s), k) in xi.iter().zip(numbers(&values["nngp"])).zip(numbers(&values["ntk"])) {
                let got = f.kernels(*xi, depth);
                // Entries of 0 are 0; the rest relative.
                let near = |a: f64, b: f64| (a - b).abs() <= 1e-12 * b.abs();
                assert!(near(got.0, s) && near(got.1, k), "{name} {depth} {xi}: {got:?} {s} {k}");
                if *xi > 0.0 {
                    let (log, ratio) = f.logarithms(*xi, depth, true);
                    assert!(
                        (log - s.ln()).abs() < 1e-12 * s.ln().abs().max(1.0),
                        "{name} {depth} {xi}: {log}"
                    );
                    assert!(near(ratio, k / s), "{name} {depth} {xi}: {ratio} {}", k / s);
                }
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 8 * 4 * 11);
}

#[test]
fn slopes_by_differences() {
    for f in ["sphere1", "sphere2", "sphere3", "sphere4", "sphere8", "relu", "nearest"] {
        let f = DualActivation::named(f).unwrap();
        assert!((f.value(1.0) - 1.0).abs() < 1e-14);
        for xi in [-0.8, -0.3, 0.0, 0.2, 0.7, 0.95] {
            let h = 1e-5;
            let want = (f.value(xi + h) - f.value(xi - h)) / (2.0 * h);
            assert!((f.slope(xi) - want).abs() < 1e-7 * want.abs().max(1.0), "{f:?} {xi}");
        }
    }
}

#[test]
fn exponents_are_dimensions() {
    for d in [1usize, 2, 4, 8] {
        let alpha = DualActivation::consistent(d).unwrap().exponent().unwrap();
        assert!((alpha - d as f64).abs() < 1e-12 * d as f64, "{d} {alpha}");
    }
    for (a, d) in [(2.676, 2.0), (6.135, 4.0), (13.826, 8.0)] {
        let alpha = DualActivation::Sinh(a).exponent().unwrap();
        assert!((alpha - d).abs() < 3e-4 * d, "{a} {alpha}");
    }
    for d in [3, 5, 6, 7, 16, 100] {
        let alpha = DualActivation::consistent(d).unwrap().exponent().unwrap();
        assert!((alpha - d as f64).abs() < 1e-9 * d as f64, "{d} {alpha}");
    }
    assert_eq!(DualActivation::Relu.exponent(), None);
    assert_eq!(DualActivation::named("nearest").unwrap().exponent(), None);
}

/// Least squares: the slope of ln S against ln r over r in [10^-2.5, 10^-1].
#[test]
fn kernel_of_outputs_is_singular() {
    for d in [2, 4, 8] {
        let f = DualActivation::consistent(d).unwrap();
        let rows: Vec<(f64, f64)> = (0..31)
            .map(|i| {
                let r = 10f64.powf(-2.5 + 1.5 * i as f64 / 30.0);
                (r.ln(), f.logarithms(1.0 - 0.5 * r * r, 60, false).0)
            })
            .collect();
        let mean = |f: &dyn Fn(&(f64, f64)) -> f64| rows.iter().map(f).sum::<f64>() / 31.0;
        let (x, y) = (mean(&|r| r.0), mean(&|r| r.1));
        let slope = mean(&|r| (r.0 - x) * (r.1 - y)) / mean(&|r| (r.0 - x) * (r.0 - x));
        assert!((slope + d as f64).abs() < 1e-3 * d as f64, "{d}: {slope}");
    }
}

#[test]
fn ratio_of_the_kernels_grows_by_one_a_layer() {
    for d in [2, 4, 8] {
        let f = DualActivation::consistent(d).unwrap();
        for xi in [0.0, 0.3, 0.8, 0.99] {
            let c = |depth: usize| f.logarithms(xi, depth, true).1 - depth as f64;
            assert!((c(60) - c(200)).abs() < 1e-6 * c(60).abs().max(1.0), "{d} {xi}: {} {}", c(60), c(200));
        }
    }
}

#[test]
fn gram_matrices_are_positive_semidefinite() {
    let (n, entries) = (30, 4);
    let x = points(n, entries);
    for name in ["sphere3", "sphere2", "relu", "nearest"] {
        let f = DualActivation::named(name).unwrap();
        for tangent in [false, true] {
            let gram = faer::Mat::from_fn(n, n, |i, j| {
                let at = |k: usize| &x[k * entries..][..entries];
                let xi: f64 = at(i).iter().zip(at(j)).map(|(a, b)| a * b).sum();
                let (s, k) = f.kernels(if i == j { 1.0 } else { xi }, 5);
                if tangent { k } else { s }
            });
            let values = gram.self_adjoint_eigenvalues(faer::Side::Lower).unwrap();
            let top = values.iter().copied().fold(0.0, f64::max);
            assert!(values.iter().all(|v| *v > -1e-12 * top), "{name} {tangent} {values:?}");
        }
    }
}

/// Against the sums as they stand, at depths where they do not underflow.
#[test]
fn votes_against_brute_force() {
    let (x, labels): (Vec<f64>, Vec<usize>) = (points(40, 3), (0..40).map(|i| (i * i / 7) % 3).collect());
    let queries: Vec<f64> = points(90, 3)[120..].to_vec();
    for name in ["sphere2", "relu", "nearest"] {
        for kernel in [WideKernel::Outputs, WideKernel::Tangent] {
            let o = options(name, kernel, 6);
            let f = o.activation.clone().unwrap();
            let got = DualKernel::fit_sphere(&x, 3, &labels, &o).unwrap().predict(&queries).unwrap();
            for (q, got) in queries.chunks(3).zip(got) {
                let mut sums = [0.0; 3];
                for (z, l) in x.chunks(3).zip(&labels) {
                    let (s, k) = f.kernels(q.iter().zip(z).map(|(a, b)| a * b).sum(), 6);
                    sums[*l] += if kernel == WideKernel::Outputs { s } else { k };
                }
                let want = (0..3).fold(0, |b, c| if sums[c] > sums[b] { c } else { b });
                assert_eq!(got, want, "{name} {kernel:?} {q:?} {sums:?}");
            }
        }
    }
}

#[test]
fn limits_are_votes() {
    use super::super::Vote;
    let (x, labels): (Vec<f64>, Vec<usize>) = (points(60, 3), (0..60).map(|i| (i % 5) % 2).collect());
    let queries: Vec<f64> = points(160, 3)[180..].to_vec();
    let by = |name: &str, depth| {
        let o = options(name, WideKernel::Outputs, depth);
        DualKernel::fit_sphere(&x, 3, &labels, &o).unwrap().predict(&queries).unwrap()
    };
    let vote = |v: Vote| v.predict(&x, 3, &labels, &queries).unwrap();
    assert_eq!(by("nearest", 100), vote(Vote::Nearest));
    assert_eq!(by("nearest", 1000), vote(Vote::Nearest));
    assert_eq!(by("relu", 1000), vote(Vote::Majority));
    // A sinh whose kernel underflows at depth 100 by itself.
    let sinh = DualKernelOptions { activation: Some(DualActivation::Sinh(13.826)), ..Default::default() };
    let deep = DualKernel::fit_sphere(&x, 3, &labels, &sinh).unwrap().predict(&queries).unwrap();
    assert_eq!(DualActivation::Sinh(13.826).kernels(0.3, 100).0, 0.0);
    let hilbert = vote(Vote::Hilbert { power: 8.0 });
    let same = deep.iter().zip(&hilbert).filter(|(a, b)| a == b).count();
    assert!(same * 10 >= deep.len() * 9, "{same} of {}", deep.len());
}

#[test]
fn tables_are_mapped_to_the_orthant() {
    let x = [10.0, -1.0, 20.0, 1.0, 30.0, 3.0, 12.0, 2.5];
    let fit = DualKernel::fit(&x, 2, &[0, 0, 1, 1], &DualKernelOptions::default()).unwrap();
    assert_eq!(fit.activation(), &DualActivation::consistent(2).unwrap());
    // A sample decides at itself; what lies beyond the range counts as at its edge.
    assert_eq!(fit.predict(&x).unwrap(), [0, 0, 1, 1]);
    assert_eq!(fit.predict(&[300.0, 30.0]).unwrap(), [1]);
    check_sphere(&fit.points, 3, "point").unwrap();
}

#[test]
fn same_bits_on_any_number_of_threads() {
    let (x, labels): (Vec<f64>, Vec<usize>) = (points(50, 4), (0..50).map(|i| i % 3).collect());
    let fit = DualKernel::fit_sphere(&x, 4, &labels, &DualKernelOptions::default()).unwrap();
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| fit.predict(&points(200, 4)).unwrap())
    };
    assert_eq!(on(1), on(3));
}

#[test]
fn bad_input_is_named() {
    let says = |r: Result<DualKernel, ClassifyError>, what: &str| {
        let text = r.unwrap_err().to_string();
        assert!(text.contains(what) && !text.contains('\n'), "{text}");
    };
    let (x, labels) = (points(2, 3), [0, 1]);
    let with = |activation: DualActivation, kernel, depth| {
        DualKernel::fit_sphere(
            &x,
            3,
            &labels,
            &DualKernelOptions { activation: Some(activation), kernel, depth },
        )
    };
    let s = WideKernel::Outputs;
    says(with(DualActivation::Polynomial(vec![0.5, 0.6]), s, 9), "have sum 1");
    says(with(DualActivation::Polynomial(vec![1.0]), s, 9), "constant");
    says(with(DualActivation::Sinh(f64::NAN), s, 9), "sinh's factor is NaN");
    says(with(DualActivation::Relu, s, 0), "0 hidden layers");
    says(with(DualActivation::Sinh(300.0), WideKernel::Tangent, 1000), "overflows at depth 1000");
    says(DualKernel::fit_sphere(&[1.0, 1.0], 2, &[0], &DualKernelOptions::default()), "use `fit`");
    says(DualKernel::fit(&[1.0, 1.0], 3, &[0], &DualKernelOptions::default()), "need 3 numbers, there are 2");
    assert!(DualActivation::named("gelu").unwrap_err().to_string().contains("there is no activation gelu"));
    let fit = DualKernel::fit(&[0.0, 1.0], 1, &[0, 1], &DualKernelOptions::default()).unwrap();
    assert!(fit.predict(&[f64::INFINITY]).unwrap_err().to_string().contains("query 0"));
}
