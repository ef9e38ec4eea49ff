//! Rosenbrock methods as data. Checked by the order conditions of all rooted trees in `tests/stiff_tableaus.rs`.

/// A Rosenbrock method in the transformed variables U of Hairer and Wanner (Solving ODEs II, IV.7), stages numbered from 0:
///
/// ```text
/// W = I / (h gamma) - df/dy(t, y0),   g_i = y0 + sum_{j<i} a_ij U_j
/// W U_i = f(t + alpha_i h, g_i) + (1/h) sum_{j<i} c_ij U_j + h d_i df/dt(t, y0)
/// y1 = g_{s-1} + U_{s-1}                                   (stiffly accurate)
/// u  = sum_i e_i U_i                                       (embedded error estimate)
/// v  = W^-1 (f(t + h, y1) - y'(t + h))                     (defect of the interpolant at the end, see [`StiffIntegrator`](super::super::StiffIntegrator))
/// y(t + theta h) = (1 - theta) y0 + theta y1 + theta (1 - theta) sum_m theta^m sum_i q_mi U_i
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RosenbrockTableau {
    /// Short name.
    pub name: &'static str,
    /// Where the coefficients were published.
    pub citation: &'static str,
    /// Order of y1.
    pub order: usize,
    /// The error estimate behaves like h^(error_order + 1).
    pub error_order: usize,
    /// Order conditions the interpolant satisfies.
    pub dense_order: usize,
    /// Diagonal coefficient gamma.
    pub gamma: f64,
    /// Nodes alpha_i.
    pub alpha: &'static [f64],
    /// Weights of df/dt.
    pub d: &'static [f64],
    /// Row i holds a_i0..; trailing zeros may be missing.
    pub a: &'static [&'static [f64]],
    /// Row i holds c_i0..
    pub c: &'static [&'static [f64]],
    /// e_i.
    pub e: &'static [f64],
    /// Row m holds q_mi.
    pub q: &'static [&'static [f64]],
}

impl RosenbrockTableau {
    /// Number of stages s: linear solves a step, all with one matrix.
    pub fn stages(&self) -> usize {
        self.alpha.len()
    }
    /// a_ij, zero beyond the stored row.
    pub fn a(&self, i: usize, j: usize) -> f64 {
        self.a[i].get(j).copied().unwrap_or(0.0)
    }
    /// Weight of U_j in y1 - y0: that of the last stage's argument, and one for the last stage.
    pub fn m(&self, j: usize) -> f64 {
        self.a(self.stages() - 1, j) + (j + 1 == self.stages()) as u8 as f64
    }
    /// The earlier stage with the same argument and time, if any: its evaluation is used again.
    pub fn repeats(&self, i: usize) -> Option<usize> {
        let same = |l: usize| {
            self.alpha[l] == self.alpha[i] && (0..self.stages()).all(|j| self.a(l, j) == self.a(i, j))
        };
        (0..i).find(|&l| same(l))
    }
    /// Whether g_i = g_{i-1} + U_{i-1}.
    pub fn continues(&self, i: usize) -> bool {
        i > 0 && (0..self.stages()).all(|j| self.a(i, j) == self.a(i - 1, j) + (j + 1 == i) as u8 as f64)
    }
    /// Whether the stiffness estimate is defined: the last two stages have one time and different arguments.
    pub fn has_stiffness(&self) -> bool {
        let s = self.stages();
        self.continues(s - 1) && self.alpha[s - 1] == self.alpha[s - 2]
    }
    /// Whether the error estimate sees f at arguments that differ, so that of a stiff nonlinear problem it sees what W leaves of it. Else (the weights e_i of stages with
    /// equal arguments add to zero) it vanishes with 1 / h there, whatever the error.
    pub fn sees_residual(&self) -> bool {
        let s = self.stages();
        let group = |i: usize| self.repeats(i).unwrap_or(i);
        let sum = |l: usize| (0..s).filter(|&i| group(i) == l).map(|i| self.e[i]).sum::<f64>();
        (0..s).any(|l| sum(l).abs() > 1e-12)
    }
    /// All built-in methods.
    pub fn all() -> [&'static RosenbrockTableau; 3] {
        [&RODAS3P, &RODAS4, &RODAS5P]
    }
    /// The built-in method of this name.
    pub fn by_name(name: &str) -> Option<&'static RosenbrockTableau> {
        Self::all().into_iter().find(|t| t.name == name)
    }
}

/// Order 3(2), five stages, three evaluations a step, interpolant of order 3: for loose tolerances.
pub static RODAS3P: RosenbrockTableau = RosenbrockTableau {
    name: "rodas3p",
    citation: "Steinebach: Rosenbrock methods within OrdinaryDiffEq.jl, Proc. JuliaCon Conf. 2024.",
    order: 3,
    error_order: 2,
    dense_order: 3,
    gamma: 1.0 / 3.0,
    alpha: &[0.0, 4.0 / 9.0, 0.0, 1.0, 1.0],
    d: &[1.0 / 3.0, -1.0 / 9.0, 1.0, 0.0, 0.0],
    a: &[&[], &[4.0 / 3.0], &[], &[2.90625, 3.375, 0.40625], &[2.90625, 3.375, 0.40625]],
    c: &[&[], &[-4.0], &[8.25, 6.75], &[1.21875, -5.0625, -1.96875], &[4.03125, -15.1875, -4.03125, 6.0]],
    e: &[0.0, 0.0, 0.0, -1.0, 1.0],
    q: &[&[1.78125, 6.75, 0.15625, -6.0, -1.0], &[4.21875, -15.1875, -3.09375, 9.0]],
};

/// Order 4(3), six stages, interpolant of order 3: the classical code's method.
pub static RODAS4: RosenbrockTableau = RosenbrockTableau {
    name: "rodas4",
    citation: "Hairer, Wanner: Solving Ordinary Differential Equations II, Springer 1996, IV.7 (code RODAS).",
    order: 4,
    error_order: 3,
    dense_order: 3,
    gamma: 0.25,
    alpha: &[0.0, 0.386, 0.21, 0.63, 1.0, 1.0],
    d: &[0.25, -0.1043, 0.1035, -0.0362, 0.0, 0.0],
    a: &[
        &[],
        &[1.544],
        &[0.9466785280815826, 0.2557011698983284],
        &[3.314825187068521, 2.896124015972201, 0.9986419139977817],
        &[1.221224509226641, 6.019134481288629, 12.53708332932087, -0.687886036105895],
        &[1.221224509226641, 6.019134481288629, 12.53708332932087, -0.687886036105895, 1.0],
    ],
    c: &[
        &[],
        &[-5.6688],
        &[-2.430093356833875, -0.2063599157091915],
        &[-0.1073529058151375, -9.594562251023355, -20.47028614809616],
        &[7.496443313967647, -10.24680431464352, -33.99990352819905, 11.7089089320616],
        &[8.083246795921522, -7.981132988064893, -31.52159432874371, 16.31930543123136, -6.058818238834054],
    ],
    e: &[0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
    q: &[
        &[10.12623508344586, -7.487995877610167, -34.80091861555747, -7.992771707568823, 1.025137723295662],
        &[-0.6762803392801253, 6.087714651680015, 16.43084320892478, 24.76722511418386, -6.594389125716872],
    ],
};

/// Order 5(4), eight stages, interpolant of order 4, small coefficients, no order reduction on linear parabolic problems: the first choice.
pub static RODAS5P: RosenbrockTableau = RosenbrockTableau {
    name: "rodas5p",
    citation: "Steinebach: Construction of Rosenbrock-Wanner method Rodas5P and numerical benchmarks within the Julia Differential Equations package, BIT 63 (2023) 27.",
    order: 5,
    error_order: 4,
    dense_order: 4,
    gamma: 0.21193756319429014,
    alpha: &[
        0.0,
        0.6358126895828704,
        0.4095798393397535,
        0.9769306725060716,
        0.4288403609558664,
        1.0,
        1.0,
        1.0,
    ],
    d: &[
        0.21193756319429014,
        -0.42387512638858027,
        -0.3384627126235924,
        1.8046452872882734,
        2.325825639765069,
        0.0,
        0.0,
        0.0,
    ],
    a: &[
        &[],
        &[3.0],
        &[2.849394379747939, 0.45842242204463923],
        &[-6.954028509809101, 2.489845061869568, -10.358996098473584],
        &[2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641],
        &[
            -7.502846399306121,
            2.561846144803919,
            -11.627539656261098,
            -0.18268767659942256,
            0.030198172008377946,
        ],
        &[
            -7.502846399306121,
            2.561846144803919,
            -11.627539656261098,
            -0.18268767659942256,
            0.030198172008377946,
            1.0,
        ],
        &[
            -7.502846399306121,
            2.561846144803919,
            -11.627539656261098,
            -0.18268767659942256,
            0.030198172008377946,
            1.0,
            1.0,
        ],
    ],
    c: &[
        &[],
        &[-14.155112264123755],
        &[-17.97296035885952, -2.859693295451294],
        &[147.12150275711716, -1.41221402718213, 71.68940251302358],
        &[165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306],
        &[24.854864614690072, -3.0009227002832186, 47.4931110020768, 5.5814197821558125, -0.6610691825249471],
        &[
            30.91273214028599,
            -3.1208243349937974,
            77.79954646070892,
            34.28646028294783,
            -19.097331116725623,
            -28.087943162872662,
        ],
        &[
            37.80277123390563,
            -3.2571969029072276,
            112.26918849496327,
            66.9347231244047,
            -40.06618937091002,
            -54.66780262877968,
            -9.48861652309627,
        ],
    ],
    e: &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
    q: &[
        &[
            25.948786856663858,
            -2.5579724845846235,
            10.433815404888879,
            -2.3679251022685204,
            0.524948541321073,
            1.1241088310450404,
            0.4272876194431874,
            -0.17202221070155493,
        ],
        &[
            -9.91568850695171,
            -0.9689944594115154,
            3.0438037242978453,
            -24.495224566215796,
            20.176138334709044,
            15.98066361424651,
            -6.789040303419874,
            -6.710236069923372,
        ],
        &[
            11.419903575922262,
            2.8879645146136994,
            72.92137995996029,
            80.12511834622643,
            -52.072871366152654,
            -59.78993625266729,
            -0.15582684282751913,
            4.883087185713722,
        ],
    ],
};
