//! The folder `problems/`: catalog and files agree, every file decodes, evaluates and has the right derivatives.

use costate::nlp::{INFINITE_BOUND, Nlp};
use costate::sif::{SifOptions, SifProblem};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("problems")
}

fn load_with(file: &str, options: &SifOptions) -> SifProblem {
    SifProblem::from_file(&folder().join(file), options).unwrap_or_else(|e| panic!("{e}"))
}

/// One `[[problem]]` of the catalog.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    file: String,
    source: String,
    class: Class,
    n: usize,
    m: usize,
    f: Option<f64>,
    f_tolerance: Option<f64>,
    #[serde(default)]
    f_local: Vec<f64>,
    expect: Expect,
    residual: Option<f64>,
    #[serde(default)]
    residual_local: Vec<f64>,
    #[serde(default)]
    paper: bool,
    reference: Option<Agreement>,
    remark: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Class {
    Unconstrained,
    Equality,
    Bounds,
    Inequality,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Expect {
    Solved,
    LeastSquares,
    Infeasible,
    Unbounded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Agreement {
    Agrees,
    Differs,
}

#[derive(serde::Deserialize)]
struct Catalog {
    problem: Vec<Entry>,
}

fn catalog() -> Vec<Entry> {
    let text = std::fs::read_to_string(folder().join("catalog.toml")).expect("problems/catalog.toml");
    toml::from_str::<Catalog>(&text).unwrap_or_else(|e| panic!("catalog.toml: {e}")).problem
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn catalog_lists_every_file_once() {
    let listed: Vec<String> = catalog().into_iter().map(|e| e.file).collect();
    let unique: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(unique.len(), listed.len(), "a file is listed twice");
    let present: BTreeSet<String> = std::fs::read_dir(folder())
        .expect("problems/")
        .map(|entry| entry.expect("a folder entry").file_name().into_string().expect("UTF-8 file name"))
        .filter(|name| name != "catalog.toml" && name != "paper.csv")
        .collect();
    assert_eq!(present, unique);
}

#[test]
fn the_list_of_the_paper_agrees_with_the_catalog() {
    let list = std::fs::read_to_string(folder().join("paper.csv")).expect("problems/paper.csv");
    let listed: BTreeSet<String> = list.lines().skip(1).map(|name| format!("{name}.SIF")).collect();
    let marked: BTreeSet<String> = catalog().into_iter().filter(|e| e.paper).map(|e| e.file).collect();
    assert_eq!(listed, marked);
}

#[test]
fn catalog_entries_are_consistent() {
    let entries = catalog();
    assert!(entries.len() >= 60);
    assert_eq!(entries.iter().filter(|e| e.paper).count(), 47);
    for e in &entries {
        assert_eq!(e.file, format!("{}.SIF", e.name.to_lowercase()));
        assert!(!e.source.is_empty(), "{}", e.name);
        assert_eq!(e.f.is_some(), e.f_tolerance.is_some(), "{}", e.name);
        assert!(e.f.is_some() || e.f_local.is_empty(), "{}", e.name);
        assert!(!matches!(e.expect, Expect::Unbounded) || e.f.is_none(), "{}", e.name);
        let inconsistent = matches!(e.expect, Expect::LeastSquares | Expect::Infeasible);
        assert!(e.residual_local.iter().all(|r| *r > 0.0), "{}", e.name);
        assert_eq!(e.residual.is_some(), inconsistent, "{}", e.name);
        assert!(
            e.reference != Some(Agreement::Differs) || e.remark.is_some(),
            "{}: say why it differs",
            e.name
        );
    }
}

#[test]
fn files_start_with_name_formula_source_and_class() {
    for e in catalog() {
        let text = std::fs::read_to_string(folder().join(&e.file)).expect("a text file");
        assert!(text.is_ascii(), "{}", e.file);
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(format!("NAME          {}", e.name).as_str()));
        let comments: Vec<&str> =
            lines.take_while(|l| l.is_empty() || l.starts_with('*')).filter(|l| !l.is_empty()).collect();
        for word in ["Source: ", "classification "] {
            assert!(comments.iter().any(|l| l.contains(word)), "{}: no {word}", e.file);
        }
        for (k, line) in text.lines().enumerate().filter(|(_, l)| !l.starts_with('*')) {
            assert!(line.len() <= 65, "{}:{}: text past column 65", e.file, k + 1);
        }
    }
}

#[test]
fn every_file_decodes_with_the_sizes_of_the_catalog() {
    let mut wrong = Vec::new();
    for e in catalog() {
        let mut problem = load_with(&e.file, &SifOptions::default());
        let meta = problem.meta().clone();
        meta.validate().unwrap_or_else(|error| panic!("{}: {error}", e.file));
        let class = if (0..meta.m()).any(|i| !meta.is_equality(i)) {
            Class::Inequality
        } else if (0..meta.n()).any(|j| meta.is_bounded(j)) {
            Class::Bounds
        } else if meta.m() > 0 {
            Class::Equality
        } else {
            Class::Unconstrained
        };
        let found = (meta.name.as_str(), meta.n(), meta.m(), class);
        if found != (e.name.as_str(), e.n, e.m, e.class) {
            wrong.push(format!("{}: {found:?}, catalog {:?}", e.file, (&e.name, e.n, e.m, e.class)));
        }
        let mut c = vec![0.0; meta.m()];
        let f = problem.obj_cons(&meta.x0, &mut c).unwrap_or_else(|error| panic!("{}: {error}", e.file));
        if !f.is_finite() || c.iter().any(|v| !v.is_finite()) {
            wrong.push(format!("{}: f = {f}, c = {c:?} at the start", e.file));
        }
    }
    assert_none(&wrong);
}

/// First and second derivatives of f and y'c at a point, dense.
struct Derivatives {
    gradient: Vec<f64>,
    jacobian: Vec<Vec<f64>>,
    hessian: Vec<Vec<f64>>,
}

impl Derivatives {
    fn at(problem: &mut SifProblem, x: &[f64], y: &[f64]) -> Self {
        let (n, m) = (x.len(), y.len());
        let jacobian_pattern = problem.meta().jacobian.clone().expect("a Jacobian pattern");
        let hessian_pattern = problem.meta().hessian.clone().expect("a Hessian pattern");
        let mut gradient = vec![0.0; n];
        problem.grad(x, &mut gradient).expect("gradient");
        let mut values = vec![0.0; jacobian_pattern.len()];
        problem.jac_values(x, &mut values).expect("Jacobian");
        let mut jacobian = vec![vec![0.0; n]; m];
        for ((&i, &j), v) in jacobian_pattern.rows.iter().zip(&jacobian_pattern.cols).zip(&values) {
            jacobian[i][j] += v;
        }
        let mut values = vec![0.0; hessian_pattern.len()];
        problem.hess_values(x, 1.0, y, &mut values).expect("Hessian");
        let mut hessian = vec![vec![0.0; n]; n];
        for ((&i, &j), v) in hessian_pattern.rows.iter().zip(&hessian_pattern.cols).zip(&values) {
            hessian[i][j] += v;
            if i != j {
                hessian[j][i] += v;
            }
        }
        Self { gradient, jacobian, hessian }
    }

    /// grad f + J'y.
    fn lagrangian_gradient(&self, y: &[f64]) -> Vec<f64> {
        let mut g = self.gradient.clone();
        for (row, yi) in self.jacobian.iter().zip(y) {
            g.iter_mut().zip(row).for_each(|(gj, v)| *gj += yi * v);
        }
        g
    }
}

/// y_i = 1/i, i from 1, as in the reference values.
fn harmonic(length: usize) -> Vec<f64> {
    (1..=length).map(|i| 1.0 / i as f64).collect()
}

fn norm(v: &[f64]) -> f64 {
    v.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// Central differences against the derivatives; the error of a step h is O(h^2) + O(eps |value| / h).
fn difference_errors(file: &str, point: fn(&[f64]) -> Vec<f64>) -> Vec<String> {
    let mut problem = load_with(file, &SifOptions::default());
    let x = point(&problem.meta().x0);
    let m = problem.meta().m();
    let y = harmonic(m);
    let exact = Derivatives::at(&mut problem, &x, &y);
    let slope_scale = 1.0 + norm(&exact.lagrangian_gradient(&y));
    let (mut c_plus, mut c_minus) = (vec![0.0; m], vec![0.0; m]);
    let mut wrong = Vec::new();
    for j in 0..x.len() {
        let h = 1e-5 * x[j].abs().max(1.0);
        let (mut plus, mut minus) = (x.clone(), x.clone());
        plus[j] += h;
        minus[j] -= h;
        let f_plus = problem.obj_cons(&plus, &mut c_plus).expect("evaluation");
        let f_minus = problem.obj_cons(&minus, &mut c_minus).expect("evaluation");
        let mut compare = |what: &str, difference: f64, value: f64, scale: f64| {
            if (difference - value).abs() > 2e-8 * (scale + value.abs()) {
                wrong.push(format!("{file}: {what}, column {j}: {value}, differences {difference}"));
            }
        };
        compare("gradient", (f_plus - f_minus) / (2.0 * h), exact.gradient[j], 1.0 + f_plus.abs());
        for i in 0..m {
            let difference = (c_plus[i] - c_minus[i]) / (2.0 * h);
            compare(&format!("c[{i}]"), difference, exact.jacobian[i][j], 1.0 + c_plus[i].abs());
        }
        let g_plus = Derivatives::at(&mut problem, &plus, &y).lagrangian_gradient(&y);
        let g_minus = Derivatives::at(&mut problem, &minus, &y).lagrangian_gradient(&y);
        for i in 0..x.len() {
            let difference = (g_plus[i] - g_minus[i]) / (2.0 * h);
            compare(&format!("Hessian row {i}"), difference, exact.hessian[i][j], slope_scale);
        }
    }
    wrong
}

#[test]
fn derivatives_agree_with_central_differences() {
    let mut wrong = Vec::new();
    for e in catalog() {
        wrong.extend(difference_errors(&e.file, |x0| x0.to_vec()));
        // many second derivatives vanish at a start of equal numbers
        wrong.extend(difference_errors(&e.file, reference_point));
    }
    assert_none(&wrong);
}

#[test]
fn products_agree_with_the_sparse_values() {
    let mut wrong = Vec::new();
    for e in catalog() {
        let mut problem = load_with(&e.file, &SifOptions::default());
        assert!(problem.meta().jacobian_products && problem.meta().hessian_products, "{}", e.file);
        let (x, n, m) = (problem.meta().x0.clone(), e.n, e.m);
        let (v, y) = (harmonic(n), harmonic(m));
        let dense = Derivatives::at(&mut problem, &x, &y);
        let (mut jv, mut jty, mut hv) = (vec![0.0; m], vec![0.0; n], vec![0.0; n]);
        problem.jac_prod(&x, &v, &mut jv).expect("J v");
        problem.jac_t_prod(&x, &y, &mut jty).expect("J'y");
        problem.hess_prod(&x, 1.0, &y, &v, &mut hv).expect("H v");
        let dot = |row: &[f64]| row.iter().zip(&v).map(|(a, b)| a * b).sum::<f64>();
        let want_jv: Vec<f64> = dense.jacobian.iter().map(|row| dot(row)).collect();
        let want_hv: Vec<f64> = dense.hessian.iter().map(|row| dot(row)).collect();
        let slope = dense.lagrangian_gradient(&y);
        let want_jty: Vec<f64> = slope.iter().zip(&dense.gradient).map(|(l, g)| l - g).collect();
        for (what, got, want) in [("J v", &jv, &want_jv), ("J'y", &jty, &want_jty), ("H v", &hv, &want_hv)] {
            let error: Vec<f64> = got.iter().zip(want).map(|(a, b)| a - b).collect();
            if norm(&error) > 1e-12 * (1.0 + norm(want) + norm(&dense.gradient)) {
                wrong.push(format!("{}: {what} = {got:?}, values give {want:?}", e.file));
            }
        }
    }
    assert_none(&wrong);
}

/// The folder of reference data, or `None` with a message; absence is a failure where the data are required.
fn shared() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let folder = std::env::var_os("COSTATE_SHARED").map_or_else(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("COSTATE_REQUIRE_SHARED").is_none(), "{} is missing", folder.display());
    eprintln!("skipped: {} is missing", folder.display());
    None
}

/// f, |grad f|, |c|, |J'v| and |H w| at a point.
fn norms(problem: &mut SifProblem, x: &[f64]) -> [f64; 5] {
    let y = harmonic(problem.meta().m());
    let w = harmonic(x.len());
    let mut c = vec![0.0; y.len()];
    let f = problem.obj_cons(x, &mut c).expect("evaluation");
    let d = Derivatives::at(problem, x, &y);
    let slope = d.lagrangian_gradient(&y);
    let jty: Vec<f64> = slope.iter().zip(&d.gradient).map(|(l, g)| l - g).collect();
    let hw: Vec<f64> = d.hessian.iter().map(|row| row.iter().zip(&w).map(|(a, b)| a * b).sum()).collect();
    [f, norm(&d.gradient), norm(&c), norm(&jty), norm(&hw)]
}

/// The point x1 of the reference values.
fn reference_point(x0: &[f64]) -> Vec<f64> {
    let moved = |(j, x): (usize, &f64)| x + 0.01 * (1.0 + x.abs()) * (((j + 1) % 7) as f64 - 3.0) / 3.0;
    x0.iter().enumerate().map(moved).collect()
}

#[test]
fn norms_agree_with_the_reference_collection() {
    let Some(shared) = shared() else { return };
    let text = std::fs::read_to_string(shared.join("cutest/reference.csv")).expect("cutest/reference.csv");
    let mut rows = text.lines();
    let header: Vec<&str> = rows.next().expect("a header").split(',').collect();
    let reference: BTreeMap<&str, BTreeMap<&str, &str>> = rows
        .map(|row| {
            let cells: BTreeMap<&str, &str> = header.iter().copied().zip(row.split(',')).collect();
            (cells["name"], cells)
        })
        .collect();
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for e in catalog() {
        let Some(row) = reference.get(e.name.as_str()) else {
            assert!(e.reference.is_none(), "{} is not in the reference", e.name);
            continue;
        };
        let number =
            |column: &str| row[column].parse::<f64>().unwrap_or_else(|_| panic!("{column} of {}", e.name));
        let sizes = (number("n"), number("m"));
        assert_eq!(sizes, (e.n as f64, e.m as f64), "{}", e.name);
        let mut problem = load_with(&e.file, &SifOptions::default());
        let x0 = problem.meta().x0.clone();
        let mut agrees = true;
        for (x, suffix) in [(x0.clone(), ""), (reference_point(&x0), "_x1")] {
            let found = norms(&mut problem, &x);
            for (name, value) in ["f", "norm_g", "norm_c", "norm_JTv", "norm_Hw"].into_iter().zip(found) {
                let want = number(&format!("{name}{suffix}"));
                if (value - want).abs() > 1e-9 * want.abs().max(1.0) {
                    agrees = false;
                    if e.reference == Some(Agreement::Agrees) {
                        wrong.push(format!("{}: {name}{suffix} = {value}, reference {want}", e.name));
                    }
                }
            }
        }
        compared += 1;
        let stated = e.reference.unwrap_or_else(|| panic!("{}: the catalog lacks `reference`", e.name));
        if agrees && stated == Agreement::Differs {
            wrong.push(format!("{} agrees with the reference after all", e.name));
        }
    }
    assert!(compared >= 60, "only {compared} problems compared");
    assert_none(&wrong);
}

#[test]
fn parameters_change_the_size() {
    for (file, value, n, m) in [
        ("genhs28.SIF", "100", 100, 98),
        ("powellsg.SIF", "100", 100, 0),
        ("trigon1ne.SIF", "50", 50, 50),
        ("morebvne.SIF", "100", 100, 100),
        ("inteqne.SIF", "50", 52, 52),
        ("mancinone.SIF", "20", 20, 20),
        ("vardimne.SIF", "50", 50, 52),
        ("broydn3d.SIF", "1000", 1000, 1000),
        ("extrosnb.SIF", "100", 100, 0),
        ("engval1.SIF", "1000", 1000, 0),
        ("bratueq.SIF", "100", 100, 100),
        ("poisctl.SIF", "10", 200, 100),
        ("acardfit.SIF", "21", 4, 1),
        ("intloop.SIF", "20", 20, 10),
    ] {
        let options = SifOptions { params: vec![("N".into(), value.into())], ..SifOptions::default() };
        let problem = load_with(file, &options);
        assert_eq!((problem.meta().n(), problem.meta().m()), (n, m), "{file}");
    }
}

#[test]
fn start_vectors_are_chosen_by_number() {
    let start = |k| {
        let problem = load_with("starts.SIF", &SifOptions { start: k, ..SifOptions::default() });
        (problem.meta().x0.clone(), problem.meta().y0.clone())
    };
    assert_eq!(start(None), (vec![-2.0, 1.0, 1.0], vec![0.5]));
    assert_eq!(start(Some(1)), start(None));
    assert_eq!(start(Some(2)), (vec![2.0, 0.0, 0.0], vec![-0.25]));
    assert_eq!(start(Some(3)), (vec![0.0, 0.0, 1.0], vec![1.0]));
}

#[test]
fn bound_and_range_cards_have_their_meaning() {
    let problem = load_with("bndkinds.SIF", &SifOptions::default());
    let finite = |v: &f64| (v.abs() < INFINITE_BOUND).then_some(*v);
    let lower: Vec<Option<f64>> = problem.meta().x_lower.iter().map(finite).collect();
    let upper: Vec<Option<f64>> = problem.meta().x_upper.iter().map(finite).collect();
    let s = Some;
    assert_eq!(lower, [s(1.0), s(0.0), s(0.5), None, None, s(0.0), s(-1.0), s(0.0), s(-5.0), None]);
    assert_eq!(upper, [None, s(2.0), s(0.5), None, s(0.0), None, s(1.0), None, s(-1.0), s(0.0)]);
    let problem = load_with("ranged.SIF", &SifOptions::default());
    assert_eq!(problem.meta().c_lower, [0.0, -4.0, 0.0]);
    assert_eq!(problem.meta().c_upper, [2.0, 0.0, 3.0]);
}
