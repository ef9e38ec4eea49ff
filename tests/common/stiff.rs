//! The stiff problems of the Test Set for IVP Solvers, with Jacobians and their products.
#![allow(dead_code)]

/// Right-hand side or Jacobian: t, y, p, result.
pub type Fun = fn(f64, &[f64], &[f64], &mut [f64]);
/// Product with the Jacobian: y, p, t, v, result.
pub type Product = fn(&[f64], &[f64], f64, &[f64], &mut [f64]);

/// Right-hand side f(y), Jacobian (column-major), product with it.
pub struct Stiff {
    pub name: &'static str,
    /// Its key in the file of reference values.
    pub key: &'static str,
    pub n: usize,
    pub f: Fun,
    pub jac: Fun,
    pub jv: Product,
    pub p: &'static [f64],
    pub y0: &'static [f64],
    pub t1: f64,
}

pub const ALL: [Stiff; 6] = [
    Stiff {
        name: "robertson",
        key: "Robertson",
        n: 3,
        f: robertson,
        jac: robertson_jac,
        jv: robertson_jv,
        p: &[0.04, 1e4, 3e7],
        y0: &[1.0, 0.0, 0.0],
        t1: 1e5,
    },
    Stiff {
        name: "vdp 1e3",
        key: "VdP mu=1e3",
        n: 2,
        f: vdp,
        jac: vdp_jac,
        jv: vdp_jv,
        p: &[1e3],
        y0: &[2.0, 0.0],
        t1: 2e3,
    },
    Stiff {
        name: "vdp 1e6",
        key: "VdP mu=1e6",
        n: 2,
        f: vdp,
        jac: vdp_jac,
        jv: vdp_jv,
        p: &[1e6],
        y0: &[2.0, 0.0],
        t1: 2e6,
    },
    Stiff {
        name: "hires",
        key: "HIRES",
        n: 8,
        f: hires,
        jac: hires_jac,
        jv: hires_jv,
        p: &[],
        y0: &[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0057],
        t1: 321.8122,
    },
    Stiff {
        name: "orego",
        key: "OREGO",
        n: 3,
        f: orego,
        jac: orego_jac,
        jv: orego_jv,
        p: &[],
        y0: &[1.0, 2.0, 3.0],
        t1: 360.0,
    },
    Stiff {
        name: "pollution",
        key: "Pollution",
        n: 20,
        f: pollution,
        jac: pollution_jac,
        jv: pollution_jv,
        p: &[],
        y0: &[
            0.0, 0.2, 0.0, 0.04, 0.0, 0.0, 0.1, 0.3, 0.01, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.007, 0.0,
            0.0, 0.0,
        ],
        t1: 60.0,
    },
];

impl Stiff {
    pub fn by_name(name: &str) -> &'static Stiff {
        static PROBLEMS: [Stiff; 6] = ALL;
        PROBLEMS.iter().find(|p| p.name == name).unwrap()
    }
}

#[inline(always)]
pub fn robertson(_: f64, y: &[f64], p: &[f64], dy: &mut [f64]) {
    let (a, b, c) = (p[0] * y[0], p[1] * y[1] * y[2], p[2] * y[1] * y[1]);
    dy[0] = -a + b;
    dy[1] = a - b - c;
    dy[2] = c;
}

#[inline(always)]
pub fn robertson_jac(_: f64, y: &[f64], p: &[f64], j: &mut [f64]) {
    let (b2, b3, c) = (p[1] * y[2], p[1] * y[1], 2.0 * p[2] * y[1]);
    j.copy_from_slice(&[-p[0], p[0], 0.0, b2, -b2 - c, c, b3, -b3, 0.0]);
}

#[inline(always)]
pub fn robertson_jv(y: &[f64], p: &[f64], _: f64, v: &[f64], out: &mut [f64]) {
    let (a, b, c) = (p[0] * v[0], p[1] * (v[1] * y[2] + y[1] * v[2]), 2.0 * p[2] * y[1] * v[1]);
    out[0] = -a + b;
    out[1] = a - b - c;
    out[2] = c;
}

#[inline(always)]
pub fn vdp(_: f64, y: &[f64], p: &[f64], dy: &mut [f64]) {
    dy[0] = y[1];
    dy[1] = p[0] * (1.0 - y[0] * y[0]) * y[1] - y[0];
}

#[inline(always)]
pub fn vdp_jac(_: f64, y: &[f64], p: &[f64], j: &mut [f64]) {
    j.copy_from_slice(&[0.0, -2.0 * p[0] * y[0] * y[1] - 1.0, 1.0, p[0] * (1.0 - y[0] * y[0])]);
}

#[inline(always)]
pub fn vdp_jv(y: &[f64], p: &[f64], _: f64, v: &[f64], out: &mut [f64]) {
    out[0] = v[1];
    out[1] = (-2.0 * p[0] * y[0] * y[1] - 1.0) * v[0] + p[0] * (1.0 - y[0] * y[0]) * v[1];
}

#[inline(always)]
pub fn hires(_: f64, y: &[f64], _: &[f64], dy: &mut [f64]) {
    let (y, dy) = (&y[..8], &mut dy[..8]);
    let q = 280.0 * y[5] * y[7];
    dy[0] = -1.71 * y[0] + 0.43 * y[1] + 8.32 * y[2] + 0.0007;
    dy[1] = 1.71 * y[0] - 8.75 * y[1];
    dy[2] = -10.03 * y[2] + 0.43 * y[3] + 0.035 * y[4];
    dy[3] = 8.32 * y[1] + 1.71 * y[2] - 1.12 * y[3];
    dy[4] = -1.745 * y[4] + 0.43 * y[5] + 0.43 * y[6];
    dy[5] = -q + 0.69 * y[3] + 1.71 * y[4] - 0.43 * y[5] + 0.69 * y[6];
    dy[6] = q - 1.81 * y[6];
    dy[7] = -q + 1.81 * y[6];
}

#[inline(always)]
pub fn hires_jac(_: f64, y: &[f64], _: &[f64], j: &mut [f64]) {
    let (q5, q7) = (280.0 * y[7], 280.0 * y[5]);
    #[rustfmt::skip]
    j.copy_from_slice(&[
        -1.71, 1.71, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
        0.43, -8.75, 0.0, 8.32, 0.0, 0.0, 0.0, 0.0,
        8.32, 0.0, -10.03, 1.71, 0.0, 0.0, 0.0, 0.0,
        0.0, 0.0, 0.43, -1.12, 0.0, 0.69, 0.0, 0.0,
        0.0, 0.0, 0.035, 0.0, -1.745, 1.71, 0.0, 0.0,
        0.0, 0.0, 0.0, 0.0, 0.43, -q5 - 0.43, q5, -q5,
        0.0, 0.0, 0.0, 0.0, 0.43, 0.69, -1.81, 1.81,
        0.0, 0.0, 0.0, 0.0, 0.0, -q7, q7, -q7,
    ]);
}

#[inline(always)]
pub fn hires_jv(y: &[f64], _: &[f64], _: f64, v: &[f64], out: &mut [f64]) {
    let (y, v, out) = (&y[..8], &v[..8], &mut out[..8]);
    let q = 280.0 * (v[5] * y[7] + y[5] * v[7]);
    out[0] = -1.71 * v[0] + 0.43 * v[1] + 8.32 * v[2];
    out[1] = 1.71 * v[0] - 8.75 * v[1];
    out[2] = -10.03 * v[2] + 0.43 * v[3] + 0.035 * v[4];
    out[3] = 8.32 * v[1] + 1.71 * v[2] - 1.12 * v[3];
    out[4] = -1.745 * v[4] + 0.43 * v[5] + 0.43 * v[6];
    out[5] = -q + 0.69 * v[3] + 1.71 * v[4] - 0.43 * v[5] + 0.69 * v[6];
    out[6] = q - 1.81 * v[6];
    out[7] = -q + 1.81 * v[6];
}

#[inline(always)]
pub fn orego(_: f64, y: &[f64], _: &[f64], dy: &mut [f64]) {
    dy[0] = 77.27 * (y[1] + y[0] * (1.0 - 8.375e-6 * y[0] - y[1]));
    dy[1] = (y[2] - (1.0 + y[0]) * y[1]) / 77.27;
    dy[2] = 0.161 * (y[0] - y[2]);
}

#[inline(always)]
pub fn orego_jac(_: f64, y: &[f64], _: &[f64], j: &mut [f64]) {
    let a = 77.27;
    #[rustfmt::skip]
    j.copy_from_slice(&[
        a * (1.0 - 2.0 * 8.375e-6 * y[0] - y[1]), -y[1] / a, 0.161,
        a * (1.0 - y[0]), -(1.0 + y[0]) / a, 0.0,
        0.0, 1.0 / a, -0.161,
    ]);
}

#[inline(always)]
pub fn orego_jv(y: &[f64], _: &[f64], _: f64, v: &[f64], out: &mut [f64]) {
    let a = 77.27;
    out[0] = a * ((1.0 - 2.0 * 8.375e-6 * y[0] - y[1]) * v[0] + (1.0 - y[0]) * v[1]);
    out[1] = (v[2] - y[1] * v[0] - (1.0 + y[0]) * v[1]) / a;
    out[2] = 0.161 * (v[0] - v[2]);
}

/// The 25 reactions of the pollution problem: rate constant, reactants (from 0; the second one may be missing).
const REACTIONS: [(f64, usize, usize); 25] = [
    (0.35, 0, NONE),
    (26.6, 1, 3),
    (1.23e4, 4, 1),
    (8.6e-4, 6, NONE),
    (8.2e-4, 6, NONE),
    (1.5e4, 6, 5),
    (1.3e-4, 8, NONE),
    (2.4e4, 8, 5),
    (1.65e4, 10, 1),
    (9e3, 10, 0),
    (0.022, 12, NONE),
    (1.2e4, 9, 1),
    (1.88, 13, NONE),
    (1.63e4, 0, 5),
    (4.8e6, 2, NONE),
    (3.5e-4, 3, NONE),
    (0.0175, 3, NONE),
    (1e8, 15, NONE),
    (4.44e11, 15, NONE),
    (1.24e3, 16, 5),
    (2.1, 18, NONE),
    (5.78, 18, NONE),
    (0.0474, 0, 3),
    (1.78e3, 18, 0),
    (3.12, 19, NONE),
];
const NONE: usize = usize::MAX;

/// Production and loss from the 25 rates.
#[inline(always)]
fn balance(r: &[f64; 25], dy: &mut [f64]) {
    let dy = &mut dy[..20];
    dy[0] = -r[0] - r[9] - r[13] - r[22] - r[23] + r[1] + r[2] + r[8] + r[10] + r[11] + r[21] + r[24];
    dy[1] = -r[1] - r[2] - r[8] - r[11] + r[0] + r[20];
    dy[2] = -r[14] + r[0] + r[16] + r[18] + r[21];
    dy[3] = -r[1] - r[15] - r[16] - r[22] + r[14];
    dy[4] = -r[2] + 2.0 * r[3] + r[5] + r[6] + r[12] + r[19];
    dy[5] = -r[5] - r[7] - r[13] - r[19] + r[2] + 2.0 * r[17];
    dy[6] = -r[3] - r[4] - r[5] + r[12];
    dy[7] = r[3] + r[4] + r[5] + r[6];
    dy[8] = -r[6] - r[7];
    dy[9] = -r[11] + r[6] + r[8];
    dy[10] = -r[8] - r[9] + r[7] + r[10];
    dy[11] = r[8];
    dy[12] = -r[10] + r[9];
    dy[13] = -r[12] + r[11];
    dy[14] = r[13];
    dy[15] = -r[17] - r[18] + r[15];
    dy[16] = -r[19];
    dy[17] = r[19];
    dy[18] = -r[20] - r[21] - r[23] + r[22] + r[24];
    dy[19] = -r[24] + r[23];
}

#[inline(always)]
pub fn pollution(_: f64, y: &[f64], _: &[f64], dy: &mut [f64]) {
    let y = &y[..20];
    let mut r = [0.0; 25];
    for (r, &(k, a, b)) in r.iter_mut().zip(&REACTIONS) {
        *r = k * y[a] * if b == NONE { 1.0 } else { y[b] };
    }
    balance(&r, dy);
}

#[inline(always)]
pub fn pollution_jv(y: &[f64], _: &[f64], _: f64, v: &[f64], out: &mut [f64]) {
    let (y, v) = (&y[..20], &v[..20]);
    let mut r = [0.0; 25];
    for (r, &(k, a, b)) in r.iter_mut().zip(&REACTIONS) {
        *r = k * if b == NONE { v[a] } else { v[a] * y[b] + y[a] * v[b] };
    }
    balance(&r, out);
}

pub fn pollution_jac(_: f64, y: &[f64], _: &[f64], j: &mut [f64]) {
    j.fill(0.0);
    // Species and their stoichiometric coefficients.
    const CHANGES: [&[(usize, f64)]; 25] = [
        &[(0, -1.0), (1, 1.0), (2, 1.0)],
        &[(0, 1.0), (1, -1.0), (3, -1.0)],
        &[(0, 1.0), (1, -1.0), (4, -1.0), (5, 1.0)],
        &[(4, 2.0), (6, -1.0), (7, 1.0)],
        &[(6, -1.0), (7, 1.0)],
        &[(4, 1.0), (5, -1.0), (6, -1.0), (7, 1.0)],
        &[(4, 1.0), (7, 1.0), (8, -1.0), (9, 1.0)],
        &[(5, -1.0), (8, -1.0), (10, 1.0)],
        &[(0, 1.0), (1, -1.0), (9, 1.0), (10, -1.0), (11, 1.0)],
        &[(0, -1.0), (10, -1.0), (12, 1.0)],
        &[(0, 1.0), (10, 1.0), (12, -1.0)],
        &[(0, 1.0), (1, -1.0), (9, -1.0), (13, 1.0)],
        &[(4, 1.0), (6, 1.0), (13, -1.0)],
        &[(0, -1.0), (5, -1.0), (14, 1.0)],
        &[(2, -1.0), (3, 1.0)],
        &[(3, -1.0), (15, 1.0)],
        &[(2, 1.0), (3, -1.0)],
        &[(5, 2.0), (15, -1.0)],
        &[(2, 1.0), (15, -1.0)],
        &[(4, 1.0), (5, -1.0), (16, -1.0), (17, 1.0)],
        &[(1, 1.0), (18, -1.0)],
        &[(0, 1.0), (2, 1.0), (18, -1.0)],
        &[(0, -1.0), (3, -1.0), (18, 1.0)],
        &[(0, -1.0), (18, -1.0), (19, 1.0)],
        &[(0, 1.0), (18, 1.0), (19, -1.0)],
    ];
    for (&(k, a, b), changes) in REACTIONS.iter().zip(CHANGES) {
        for &(i, s) in changes {
            if b == NONE {
                j[a * 20 + i] += s * k;
            } else {
                j[a * 20 + i] += s * k * y[b];
                j[b * 20 + i] += s * k * y[a];
            }
        }
    }
}

/// Largest relative error over the components; those below 1e-12 of the largest are left out.
pub fn relative_error(y: &[f64], exact: &[f64]) -> f64 {
    let most = exact.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    y.iter()
        .zip(exact)
        .filter(|(_, e)| e.abs() > 1e-12 * most)
        .map(|(y, e)| ((y - e) / e).abs())
        .fold(0.0, f64::max)
}
