//! Stochastic Runge-Kutta methods as data, all in one form (Roessler, SIAM J. Numer. Anal. 48, 2010).
//!
//! A step of length h from (t, y), with the integrals of one Brownian path over the step
//!
//! ```text
//! I1 = W(t+h) - W(t),   I11 = (I1^2 - h)/2,   I111 = (I1^3 - 3 h I1)/6,   I10 = int_t^{t+h} (W(s) - W(t)) ds
//! ```
//!
//! stages numbered from 0:
//!
//! ```text
//! H0_i = y + h sum_{j<i} a0_ij k_j + (I10/h) sum_{j<i} b0_ij g_j,      k_i = f(t + c0_i h, H0_i)
//! H1_i = y + h sum_{j<i} a1_ij k_j + sqrt(h) sum_{j<i} b1_ij g_j,      g_i = g(t + c1_i h, H1_i)
//! y1   = y + h sum_i alpha_i k_i + sum_i (beta1_i I1 + beta2_i I11/sqrt(h) + beta3_i I10/h + beta4_i I111/h) g_i
//! ```
//!
//! For additive noise H1 is not needed (a1 = b1 = 0): the SRA methods. Euler-Maruyama has one stage; the derivative-free Milstein method two.
//! Products with g are componentwise for diagonal noise, with one number for scalar noise, and matrix-vector products for matrix noise.
//!
//! The error estimate (Rackauckas and Nie, DCDS-B 22, 2017) is u = delta E1 + E2,
//! E1 = h sum_i e1_i k_i, E2 = sum_i (beta3_i I10/h + beta4_i I111/h) g_i.

/// Which noise a method may be used with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suits {
    /// Any.
    Any,
    /// Diagonal and scalar noise.
    DiagonalOrScalar,
    /// Diagonal and scalar noise, and matrix noise that commutes.
    Commutative,
    /// Noise that does not depend on the state.
    Additive,
}

/// A stochastic Runge-Kutta method; see the equations of this module. Rows may be shorter than the number of stages: zeros are missing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SdeMethod {
    /// Short name.
    pub name: &'static str,
    /// Where the coefficients were published.
    pub citation: &'static str,
    /// Strong order for the noise it suits (Euler-Maruyama: 0.5, and 1 for additive noise).
    pub order: f64,
    /// The controller's exponents are divided by this.
    pub control_order: f64,
    /// The noise it is for.
    pub suits: Suits,
    /// Nodes of the drift.
    pub c0: &'static [f64],
    /// Nodes of the diffusion.
    pub c1: &'static [f64],
    /// Drift in the drift's stages.
    pub a0: &'static [&'static [f64]],
    /// Drift in the diffusion's stages.
    pub a1: &'static [&'static [f64]],
    /// Diffusion in the drift's stages.
    pub b0: &'static [&'static [f64]],
    /// Diffusion in the diffusion's stages.
    pub b1: &'static [&'static [f64]],
    /// Weights of the drift.
    pub alpha: &'static [f64],
    /// Weights of I1, I11/sqrt(h), I10/h, I111/h.
    pub beta: [&'static [f64]; 4],
    /// Weights of the drift in E1; empty: the method has no error estimate and runs with a fixed step only.
    pub e1: &'static [f64],
    /// delta.
    pub delta: f64,
    /// Two stages i, j whose c0 are the same: S = |k_j - k_i| / |H0_j - H0_i|.
    pub stiffness: Option<(usize, usize)>,
    /// What h times S is compared with: "stability size" of the publication; infinite where there is no S.
    pub stability: f64,
}

impl SdeMethod {
    /// Number of stages.
    pub fn stages(&self) -> usize {
        self.c0.len()
    }
    /// Whether it estimates its error.
    pub fn is_adaptive(&self) -> bool {
        !self.e1.is_empty()
    }
    /// Whether it uses I10.
    pub fn needs_area(&self) -> bool {
        self.b0.iter().any(|r| r.iter().any(|&b| b != 0.0)) || self.beta[2].iter().any(|&b| b != 0.0)
    }
    /// All built-in methods.
    pub fn all() -> [&'static SdeMethod; 8] {
        [&EULER_MARUYAMA, &MILSTEIN, &SRIW1, &SOSRI, &SOSRI2, &SRA1, &SOSRA, &SOSRA2]
    }
    /// The built-in method of this name.
    pub fn by_name(name: &str) -> Option<&'static SdeMethod> {
        Self::all().into_iter().find(|m| m.name == name)
    }
}

const NONE: &[f64] = &[];

/// Euler and Maruyama (1955): strong order 0.5 (1 for additive noise), weak order 1, any noise, fixed steps.
pub const EULER_MARUYAMA: SdeMethod = SdeMethod {
    name: "euler-maruyama",
    citation: "Maruyama, Rend. Circ. Mat. Palermo 4 (1955)",
    order: 0.5,
    control_order: 0.5,
    suits: Suits::Any,
    c0: &[0.0],
    c1: &[0.0],
    a0: &[NONE],
    a1: &[NONE],
    b0: &[NONE],
    b1: &[NONE],
    alpha: &[1.0],
    beta: [&[1.0], NONE, NONE, NONE],
    e1: NONE,
    delta: 0.0,
    stiffness: None,
    stability: f64::INFINITY,
};

/// Milstein's method without derivatives (Kloeden and Platen 1992, 11.1): strong order 1, fixed steps.
pub const MILSTEIN: SdeMethod = SdeMethod {
    name: "milstein",
    citation: "Kloeden, Platen: Numerical Solution of Stochastic Differential Equations (1992), 11.1",
    order: 1.0,
    control_order: 1.0,
    suits: Suits::Commutative,
    c0: &[0.0, 0.0],
    c1: &[0.0, 1.0],
    a0: &[NONE, NONE],
    a1: &[NONE, &[1.0]],
    b0: &[NONE, NONE],
    b1: &[NONE, &[1.0]],
    alpha: &[1.0],
    beta: [&[1.0], &[-1.0, 1.0], NONE, NONE],
    e1: NONE,
    delta: 0.0,
    stiffness: None,
    stability: f64::INFINITY,
};

/// Roessler's SRIW1: strong order 1.5, diagonal or scalar noise; two evaluations of the drift, four of the diffusion.
pub const SRIW1: SdeMethod = SdeMethod {
    name: "sriw1",
    citation: "Roessler, SIAM J. Numer. Anal. 48 (2010) 922-952",
    order: 1.5,
    control_order: 1.5,
    suits: Suits::DiagonalOrScalar,
    c0: &[0.0, 0.75, 0.0, 0.0],
    c1: &[0.0, 0.25, 1.0, 0.25],
    a0: &[NONE, &[0.75], NONE, NONE],
    a1: &[NONE, &[0.25], &[1.0], &[0.0, 0.0, 0.25]],
    b0: &[NONE, &[1.5], NONE, NONE],
    b1: &[NONE, &[0.5], &[-1.0], &[-5.0, 3.0, 0.5]],
    alpha: &[1.0 / 3.0, 2.0 / 3.0],
    beta: [
        &[-1.0, 4.0 / 3.0, 2.0 / 3.0],
        &[-1.0, 4.0 / 3.0, -1.0 / 3.0],
        &[2.0, -4.0 / 3.0, -2.0 / 3.0],
        &[-2.0, 5.0 / 3.0, -2.0 / 3.0, 1.0],
    ],
    e1: &[1.0, 1.0],
    delta: 1.0 / 6.0,
    stiffness: None,
    stability: f64::INFINITY,
};

/// Rackauckas and Nie's stability-optimized SRI method: strong order 1.5, diagonal or scalar noise; the default.
pub const SOSRI: SdeMethod = SdeMethod {
    name: "sosri",
    citation: "Rackauckas, Nie, IEEE HPEC (2020), arXiv 1804.04344",
    order: 1.5,
    control_order: 1.5,
    suits: Suits::DiagonalOrScalar,
    c0: &[0.0, -0.04199224421316468, 0.7898405466170333, 3.7504010171562823],
    c1: &[0.0, 0.26204282091330466, 0.05879875232001766, 0.758661169101175],
    a0: &[
        NONE,
        &[-0.04199224421316468],
        &[2.842612915017106, -2.0527723684000727],
        &[4.338237071435815, -2.8895936137439793, 2.3017575594644466],
    ],
    a1: &[
        NONE,
        &[0.26204282091330466],
        &[0.20903646383505375, -0.1502377115150361],
        &[0.05836595312746999, 0.6149440396332373, 0.08535117634046772],
    ],
    b0: &[
        NONE,
        &[-0.21641093549612528],
        &[1.5336352863679572, 0.26066223492647056],
        &[-1.0536037558179159, 1.7015284721089472, -0.20725685784180017],
    ],
    b1: &[
        NONE,
        &[-0.5119011827621657],
        &[2.67767339866713, -4.9395031322250995],
        &[0.15580956238299215, 3.2361551006624674, -1.4223118283355949],
    ],
    alpha: &[1.140099274172029, -0.6401334255743456, 0.4736296532772559, 0.026404498125060714],
    beta: [
        &[-1.8453464565104432, 2.688764531100726, -0.2523866501071323, 0.40896857551684956],
        &[0.4969658141589478, -0.5771202869753592, -0.12919702470322217, 0.2093514975196336],
        &[2.8453464565104425, -2.688764531100725, 0.2523866501071322, -0.40896857551684945],
        &[0.11522663875443433, -0.57877086147738, 0.2857851028163886, 0.17775911990655704],
    ],
    e1: &[1.0, 1.0, 1.0, 1.0],
    delta: 1.0,
    stiffness: None,
    stability: f64::INFINITY,
};

/// The same with two drift stages at t + h, which give a stiffness estimate.
pub const SOSRI2: SdeMethod = SdeMethod {
    name: "sosri2",
    citation: "Rackauckas, Nie, IEEE HPEC (2020), arXiv 1804.04344",
    order: 1.5,
    control_order: 1.5,
    suits: Suits::DiagonalOrScalar,
    c0: &[0.0, 0.13804532298278663, 0.9999999999999992, 0.9999999999999994],
    c1: &[0.0, 0.45605532163856893, 0.999999999999996, 0.9999999999999962],
    a0: &[
        NONE,
        &[0.13804532298278663],
        &[0.5818361298250374, 0.4181638701749618],
        &[0.4670018408674211, 0.8046204792187386, -0.27162232008616016],
    ],
    a1: &[
        NONE,
        &[0.45605532163856893],
        &[0.7555807846451692, 0.24441921535482677],
        &[0.6981181143266059, 0.3453277086024727, -0.04344582292908241],
    ],
    b0: &[
        NONE,
        &[0.08852381537667678],
        &[1.0317752458971061, 0.4563552922077882],
        &[1.73078280444124, -0.46089678470929774, -0.9637509618944188],
    ],
    b1: &[
        NONE,
        &[0.6753186815412179],
        &[-0.07452812525785148, -0.49783736486149366],
        &[-0.5591906709928903, 0.022696571806569924, -0.8984927888368557],
    ],
    alpha: &[-0.15036858140642623, 0.7545275856696072, 0.686995463807979, -0.2911544680711602],
    beta: [
        &[-0.45315689727309133, 0.8330937231303951, 0.3792843195533544, 0.24077885458934192],
        &[-0.4994383733810986, 0.9181786186154077, -0.25613778661003145, -0.16260245862427797],
        &[1.4531568972730915, -0.8330937231303933, -0.3792843195533583, -0.24077885458934023],
        &[-0.4976090683622265, 0.9148155835648892, -1.4102107084476505, 0.9930041932449877],
    ],
    e1: &[1.0, 1.0, 1.0, 1.0],
    delta: 1.0,
    stiffness: Some((2, 3)),
    stability: 10.6,
};

/// Roessler's SRA1: strong order 1.5, additive noise; two evaluations of each.
pub const SRA1: SdeMethod = SdeMethod {
    name: "sra1",
    citation: "Roessler, SIAM J. Numer. Anal. 48 (2010) 922-952",
    order: 1.5,
    control_order: 2.0,
    suits: Suits::Additive,
    c0: &[0.0, 0.75],
    c1: &[1.0, 0.0],
    a0: &[NONE, &[0.75]],
    a1: &[NONE, NONE],
    b0: &[NONE, &[1.5]],
    b1: &[NONE, NONE],
    alpha: &[1.0 / 3.0, 2.0 / 3.0],
    beta: [&[1.0], NONE, &[-1.0, 1.0], NONE],
    e1: &[1.0, 1.0],
    delta: 1.0,
    stiffness: None,
    stability: f64::INFINITY,
};

/// Rackauckas and Nie's stability-optimized SRA method: strong order 1.5, additive noise.
pub const SOSRA: SdeMethod = SdeMethod {
    name: "sosra",
    citation: "Rackauckas, Nie, IEEE HPEC (2020), arXiv 1804.04344",
    order: 1.5,
    control_order: 2.0,
    suits: Suits::Additive,
    c0: &[0.0, 0.6923962376159507, 1.0],
    c1: &[0.0, 0.041248171110700504, 1.0],
    a0: &[NONE, &[0.6923962376159507], &[-3.1609142252828395, 4.1609142252828395]],
    a1: &[NONE, NONE, NONE],
    b0: &[NONE, &[1.3371632704399763], &[1.442371048468624, 1.8632741501139225]],
    b1: &[NONE, NONE, NONE],
    alpha: &[0.2889874966892885, 0.6859880440839937, 0.025024459226717772],
    beta: [
        &[-16.792534242221663, 17.514995785380226, 0.27753845684143835],
        NONE,
        &[0.4237535769069274, 0.6010381474428539, -1.0247917243497813],
        NONE,
    ],
    e1: &[1.0, 1.0, 1.0],
    delta: 1.0,
    stiffness: None,
    stability: f64::INFINITY,
};

/// The same with two drift stages at t + h, which give a stiffness estimate.
pub const SOSRA2: SdeMethod = SdeMethod {
    name: "sosra2",
    citation: "Rackauckas, Nie, IEEE HPEC (2020), arXiv 1804.04344",
    order: 1.5,
    control_order: 2.0,
    suits: Suits::Additive,
    c0: &[0.0, 1.0, 1.0],
    c1: &[0.0, 1.0, 1.0],
    a0: &[NONE, &[1.0], &[0.9511849235504364, 0.04881507644956362]],
    a1: &[NONE, NONE, NONE],
    b0: &[NONE, &[0.7686101171003622], &[0.43886792994934987, 0.7490415909204886]],
    b1: &[NONE, NONE, NONE],
    alpha: &[0.4999999999999998, -0.9683897375354181, 1.4683897375354185],
    beta: [
        &[0.0, 0.92438032145683, 0.07561967854316998],
        NONE,
        &[1.0, -0.8169981105823436, -0.18300188941765633],
        NONE,
    ],
    e1: &[1.0, 1.0, 1.0],
    delta: 1.0,
    stiffness: Some((1, 2)),
    stability: 5.3,
};
