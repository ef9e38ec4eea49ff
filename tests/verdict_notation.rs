//! The page on notation and the code state the same constants of the verdicts.

use std::path::Path;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a file of our own")
}

/// The value of a constant in a source file, as it is written.
fn constant(source: &str, name: &str) -> String {
    let line = source.lines().find(|l| l.contains(&format!("const {name}:")));
    let line = line.unwrap_or_else(|| panic!("no constant {name}"));
    line.split('=').nth(1).expect("a value").trim().trim_end_matches(';').to_string()
}

/// The row of a table that begins with this.
fn row<'p>(page: &'p str, name: &str) -> &'p str {
    let start = format!("| {name}");
    page.lines().find(|l| l.starts_with(&start)).unwrap_or_else(|| panic!("no row {name}"))
}

fn number(text: &str) -> f64 {
    text.replace(" * f64::EPSILON", "").parse().unwrap_or_else(|_| panic!("{text} is not a number"))
}

/// As the page writes it: 100, 1e5, 10 eps.
fn says(row: &str, before: &str, value: f64, after: &str) {
    let forms = [format!("{value}"), format!("{value:e}")];
    let found = forms.iter().any(|f| row.contains(&format!("{before}{f}{after}")));
    assert!(found, "'{before}{value:e}{after}' is not in: {row}");
}

#[test]
fn the_page_states_the_constants_of_the_code() {
    let (page, verdict, judge) =
        (read("docs/notation.md"), read("src/opt/verdict.rs"), read("src/opt/judge.rs"));
    let of = |name: &str| number(&constant(&verdict, name));
    let close = row(&page, "*close*");
    says(close, "P <= ", of("PRIMAL"), " tau");
    says(close, "D <= ", of("DUAL"), " tau");
    says(close, "C <= ", of("COMPLEMENTARITY"), " tau");
    says(close, "Gap <= ", of("GAP"), " tau");
    let rounding = row(&page, "*converged to rounding*");
    says(rounding, "P_i within ", of("ROUNDING"), " eps");
    says(rounding, "g_j within ", 100.0 * of("ROUNDING"), " eps");
    let unbounded = row(&page, "*unbounded*");
    says(unbounded, "f < -", of("LOW"), " at");
    let contradiction = row(&page, "contradiction");
    says(contradiction, "within ", of("REACH"), " max(1");
    says(contradiction, "L > ", of("PRIMAL"), " tau");
    let degenerate = row(&page, "degenerate");
    says(degenerate, "over ", number(&constant(&judge, "LARGE_MULTIPLIER")), " max");
    says(degenerate, "grew by ", number(&constant(&judge, "MULTIPLIER_GROWTH")), " at");
    says(degenerate, "|J_ij y_i\\| > ", of("CANCELLATION"), " ");
    says(row(&page, "flat valley"), "longer than ", of("FLAT"), " (1");
    let method = read("src/opt/methods/predictor_corrector.rs");
    let of = |name: &str| number(&constant(&method, name));
    let line =
        |what: &str| page.lines().find(|l| l.contains(what)).unwrap_or_else(|| panic!("no line with {what}"));
    says(line("Linear programs, and quadratic"), "H + ", of("CONVEX"), " max");
    assert_eq!(constant(&method, "TAU"), "(0.9995, 1.0 - 1e-6)");
    says(line("Steps go"), "max(", 0.9995, ", 1 - mu)");
    says(line("no product below"), "below ", of("LEAST_PRODUCT"), " of");
    says(line("centrality   at most"), "longer by ", of("LONGER"), " are");
    says(line("centrality   at most"), "gain ", of("LONGER") / 10.0, "");
    assert_eq!(of("GAIN"), 0.1);
    says(line("steps below"), "steps below ", of("SHORT"), ", hand");
    let presolve = read("src/opt/problem/presolve/mod.rs");
    says(row(&page, "a_k x_k"), "<= ", number(&constant(&presolve, "LARGEST_FACTOR")), " ");
    let of = |name: &str| number(&constant(&verdict, name));
    let second = page.lines().filter(|l| l.contains("max(1e-6") || l.contains("below -1e-7"));
    let second: String = second.collect::<Vec<_>>().join(" ");
    says(&second, "max(", of("LEAST_CURVATURE"), " max");
    says(&second, ", ", of("LEAST_SHIFT"), ")");
    says(&second, "below -", of("NEGATIVE"), " max");
}
