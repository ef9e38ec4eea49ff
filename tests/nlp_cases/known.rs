//! What fails today, with the reason: what the solver answers instead.

pub const FAILURES: &[(&str, &str)] = &[
    ("U4 max v^2", "v = 0.99999"),
    ("U4 max v^2 (lm)", "v = -0.99999"),
    ("U2 k = 1e20 from afar (lm)", "stalled: f = 5000000000.00000, right is [0.0]"),
    ("U7 tip of a cone", "converged at the tip, 39.92421"),
    ("U7 tip of a cone (lm)", "converged at the tip, 39.92421"),
    ("U7 |x - 1| + 2 |y + 2| from [10.0, 10.0] (lm)", "x = [3.99999, -2.00000], right is [1.0, -2.0]"),
    ("U7 larger of two slopes", "x = [0.99999, -0.87181], right is [1.0, -1.0]"),
    (
        "not attained: x^2 + (x y - 1)^2",
        "a KKT point within tolerance; a flat valley: points far away are nearly as good does not say not ...",
    ),
    ("not attained: x^2 + (x y - 1)^2 (lm)", "a KKT point within tolerance does not say not attained"),
    ("U8 x^2 + 4 y^2 + d = 0, d = 1e-2 (lm)", "583 iterations"),
    ("U8 x^2 + 4 y^2 + d = 0, d = 1e-4 (lm)", "178 iterations"),
    ("U8 x^2 + 4 y^2 + d = 0, d = 1e-6 (lm)", "141 iterations"),
    ("U8 x^2 + d = 0, d = 1e-9", "101 iterations"),
    ("U8 x^2 + d = 0, d = 1e-9 (lm)", "110 iterations"),
    ("U8 x^2 + 4 y^2 + d = 0, d = 1e-9 (lm)", "148 iterations"),
    ("U8 x^2 + d = 0, d = 1e-10", "109 iterations"),
    ("U8 x^2 + d = 0, d = 1e-10 (lm)", "156 iterations"),
    ("U8 x^2 + 4 y^2 + d = 0, d = 1e-10", "481 iterations"),
    ("U8 x^2 + 4 y^2 + d = 0, d = 1e-10 (lm)", "239 iterations"),
    ("U8 cosh x <= 1 - d, d = 1e-3 (lm)", "225 iterations"),
    ("U8 cosh x <= 1 - d, d = 1e-5", "143 iterations"),
    ("U8 cosh x <= 1 - d, d = 1e-5 (lm)", "148 iterations"),
    ("unbounded -exp(x) (lm)", "stalled instead of unbounded"),
    ("entropy + 100 x, Hessian by differences (lm)", "max_iterations: f = 0.00000, right is [0.0]"),
    ("entropy of three, Hessian by differences (lm)", "max_iterations: f = 0.00000, right is [0.0]"),
];

pub fn reason(name: &str) -> Option<&'static str> {
    FAILURES.iter().find(|(n, _)| *n == name).map(|(_, reason)| *reason)
}
