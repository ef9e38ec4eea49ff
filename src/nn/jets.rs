//! Taylor coefficients through maps (Taylor mode), and their transpose.
//!
//! With x(s) = sum_k x_k s^k and t(s) = t + s dt, a map gives y(s) = sum_k y_k s^k, and y_k depends on x_0..x_k only. So the solution's
//! own coefficients follow order by order from dy/dt = f(t, y): y_(k+1) = f_k / (k + 1), the k-th derivative is k! y_k
//! (Griewank and Walther, Evaluating Derivatives, chapter 13). With x_1 any direction v and dt = 0, y_1 = (df/dx) v.
//!
//! For an activation z = act(a) with z' = u(z) a', u = alpha + beta z + gamma z^2 (tanh: 1, 0, -1; sigmoid: 0, 1, -1):
//!
//! ```text
//! k z_k = sum_{j=1..k} j a_j u_(k-j),   u_m = alpha [m = 0] + beta z_m + gamma sum_{i=0..m} z_i z_(m-i)
//! ```
//!
//! For a Phi(a) u is the slope Phi(a) + a phi(a) along a(s), with phi' = -a a' phi and Phi' = phi a'. As u depends on a alone, the bar of z_k is that of a_j times u_(k-j).

use super::{Activation, Elementwise, Mlp, Parallel, Power};
use crate::diff::{Chain, Map};
use crate::linalg::Scalar;
use crate::linalg::normal::normal;

/// Most orders at a time: coefficients 0 to MAX_ORDERS - 1.
pub const MAX_ORDERS: usize = 8;

/// A map that propagates Taylor coefficients. `x`, `y` hold orders 0.. one after another, each inputs (outputs) x batch; `store` is the map's own,
/// of length [`jet_len`](Jets::jet_len), and must be the same for all calls that belong together.
pub trait Jets<T: Scalar>: Map<T> {
    /// Whether the coefficients are there.
    fn has_jets(&self) -> bool {
        true
    }
    /// Numbers stored for `orders` orders.
    fn jet_len(&self, batch: usize, orders: usize) -> usize;
    /// y_k from x_0..=x_k; to be called for k = 0, 1, ... in order. `time` is (t, dt).
    fn jet_forward(&mut self, at: Jet<T>, x: &[T], p: &[T], y: &mut [T], store: &mut [T]);
    /// The transpose of `jet_forward` for the same k; to be called for k descending. Reads the bar of y_k, ADDS to the bars of y_0..y_(k-1)
    /// (inside activations lower orders meet again), of x_0..x_k and of p. `store_bar` starts as zeros.
    fn jet_backward(&mut self, at: Jet<T>, of: JetPass<'_, T>, bars: JetBars<'_, T>);
}

/// What the forward calls were given and gave.
#[derive(Debug, Clone, Copy)]
pub struct JetPass<'a, T> {
    /// Coefficients of the input.
    pub x: &'a [T],
    /// Parameters.
    pub p: &'a [T],
    /// Coefficients of the output.
    pub y: &'a [T],
    /// The map's own.
    pub store: &'a [T],
}

/// Derivatives of a number with respect to the same.
#[derive(Debug)]
pub struct JetBars<'a, T> {
    /// Added to.
    pub x: &'a mut [T],
    /// Added to.
    pub p: &'a mut [T],
    /// Read at order k, added to below.
    pub y: &'a mut [T],
    /// The map's own.
    pub store: &'a mut [T],
}

/// Which coefficient of how many, and the time.
#[derive(Debug, Clone, Copy)]
pub struct Jet<T> {
    /// The order asked for.
    pub k: usize,
    /// Orders that x, y and store have room for.
    pub orders: usize,
    /// Columns.
    pub batch: usize,
    /// t.
    pub t: T,
    /// dt/ds: 1 along a solution, 0 for a directional derivative.
    pub dt: T,
}

impl<T: Scalar> Jet<T> {
    /// t_k.
    pub(super) fn time(&self) -> T {
        match self.k {
            0 => self.t,
            1 => self.dt,
            _ => T::ZERO,
        }
    }
}

/// How coefficients pass an activation.
enum Rule<T> {
    /// Piecewise linear.
    Linear,
    /// (alpha, beta, gamma).
    Quadratic((T, T, T)),
    /// a Phi(a).
    Normal,
}

fn rule<T: Scalar>(act: Activation) -> Rule<T> {
    match act {
        Activation::Tanh => Rule::Quadratic((T::ONE, T::ZERO, -T::ONE)),
        Activation::Sigmoid => Rule::Quadratic((T::ZERO, T::ONE, -T::ONE)),
        Activation::Identity | Activation::Relu => Rule::Linear,
        Activation::Gelu => Rule::Normal,
    }
}

/// u_0..=u_k at entry i of a Phi(a) from a_0..=a_k.
fn normal_slopes<T: Scalar>(k: usize, a: &[T], n: usize, i: usize) -> [T; MAX_ORDERS] {
    let zeros = [T::ZERO; MAX_ORDERS];
    let (mut below, mut density, mut u) = (zeros, zeros, zeros);
    let a = |m: usize| a[m * n + i];
    let (first, slope, _) = normal(a(0));
    (below[0], density[0]) = (first, slope);
    u[0] = Activation::Gelu.slope(a(0));
    for m in 1..=k {
        let inverse = T::ONE / T::of(m as f64);
        // phi' = b' phi, b = -a^2 / 2: coefficient j of b' is -sum_i (i + 1) a_(i + 1) a_(j - i).
        let b_slope = |j: usize| -(0..=j).map(|i| T::of((i + 1) as f64) * a(i + 1) * a(j - i)).sum::<T>();
        density[m] = (0..m).map(|j| b_slope(j) * density[m - 1 - j]).sum::<T>() * inverse;
        below[m] = (1..=m).map(|j| T::of(j as f64) * a(j) * density[m - j]).sum::<T>() * inverse;
        u[m] = below[m] + (0..=m).map(|j| a(j) * density[m - j]).sum::<T>();
    }
    u
}

/// u_0..u_(k-1) at entry i; coefficients are n apart.
fn slopes<T: Scalar>(
    (alpha, beta, gamma): (T, T, T),
    k: usize,
    z: &[T],
    n: usize,
    i: usize,
) -> [T; MAX_ORDERS] {
    let mut u = [T::ZERO; MAX_ORDERS];
    for (m, u) in u.iter_mut().enumerate().take(k) {
        let square: T = (0..=m).map(|j| z[j * n + i] * z[(m - j) * n + i]).sum();
        *u = beta * z[m * n + i] + gamma * square;
    }
    u[0] += alpha;
    u
}

/// z_k from a_0..a_k and z_0..z_(k-1), n entries each.
fn activate<T: Scalar>(act: Activation, k: usize, n: usize, a: &[T], z: &mut [T]) {
    if k == 0 {
        return z[..n].iter_mut().zip(a).for_each(|(z, a)| *z = act.value(*a));
    }
    let inverse = T::ONE / T::of(k as f64);
    for i in 0..n {
        let u = match rule(act) {
            Rule::Quadratic(q) => slopes(q, k, z, n, i),
            Rule::Normal => normal_slopes(k - 1, a, n, i),
            Rule::Linear => {
                z[k * n + i] = act.slope(z[i]) * a[k * n + i];
                continue;
            }
        };
        z[k * n + i] = (1..=k).map(|j| T::of(j as f64) * a[j * n + i] * u[k - j]).sum::<T>() * inverse;
    }
}

/// The transpose of `activate`: from the bar of z_k to those of a_0..a_k and z_0..z_(k-1).
fn activate_bar<T: Scalar>(
    act: Activation,
    k: usize,
    n: usize,
    a: &[T],
    z: &[T],
    a_bar: &mut [T],
    z_bar: &mut [T],
) {
    let inverse = T::ONE / T::of(k.max(1) as f64);
    let two = T::ONE + T::ONE;
    for i in 0..n {
        let bar = z_bar[k * n + i];
        let q = match rule(act) {
            Rule::Normal => {
                let u = normal_slopes(k, a, n, i);
                (0..=k).for_each(|j| a_bar[j * n + i] += u[k - j] * bar);
                continue;
            }
            Rule::Quadratic(q) if k > 0 => q,
            Rule::Quadratic(_) | Rule::Linear => {
                a_bar[k * n + i] += act.slope(z[i]) * bar;
                continue;
            }
        };
        let u = slopes(q, k, z, n, i);
        for j in 1..=k {
            let w = bar * T::of(j as f64) * inverse;
            a_bar[j * n + i] += w * u[k - j];
            let (m, u_bar) = (k - j, w * a[j * n + i]);
            z_bar[m * n + i] += u_bar * q.1;
            for l in 0..=m {
                z_bar[l * n + i] += two * q.2 * u_bar * z[(m - l) * n + i];
            }
        }
    }
}

impl<T: Scalar> Mlp<T> {
    /// Entries stored before layer l: the affine parts a of all layers and the outputs z of all but the last, interleaved.
    fn jet_offset(&self, l: usize, batch: usize, orders: usize) -> usize {
        2 * self.layers()[..l].iter().map(|l| l.outputs).sum::<usize>() * batch * orders
    }
}

impl<T: Scalar> Jets<T> for Mlp<T> {
    fn jet_len(&self, batch: usize, orders: usize) -> usize {
        let last = self.layers().len() - 1;
        self.jet_offset(last, batch, orders) + self.layers()[last].outputs * batch * orders
    }

    fn jet_forward(&mut self, at: Jet<T>, x: &[T], p: &[T], y: &mut [T], store: &mut [T]) {
        let Jet { k, orders, batch, .. } = at;
        let (mut store, mut p) = (store, p);
        let mut input = x;
        for l in 0..self.layers().len() {
            let layer = self.layers()[l];
            let (ni, no) = (layer.inputs * batch, layer.outputs * batch);
            let (a, rest) = store.split_at_mut(no * orders);
            self.affine_jet(l, at, &input[k * ni..][..ni], p, &mut a[k * no..][..no]);
            if l + 1 == self.layers().len() {
                return activate(layer.activation, k, no, a, y);
            }
            let (z, rest) = rest.split_at_mut(no * orders);
            activate(layer.activation, k, no, a, z);
            (input, store, p) = (z, rest, &p[layer.n_params()..]);
        }
    }

    fn jet_backward(&mut self, at: Jet<T>, of: JetPass<'_, T>, bars: JetBars<'_, T>) {
        let Jet { k, orders, batch, .. } = at;
        let mut end = self.n_params();
        for l in (0..self.layers().len()).rev() {
            let layer = self.layers()[l];
            let (ni, no) = (layer.inputs * batch, layer.outputs * batch);
            end -= layer.n_params();
            let from = self.jet_offset(l, batch, orders);
            let (before, here) = of.store.split_at(from);
            let (before_bar, here_bar) = bars.store.split_at_mut(from);
            let (a, z) = here.split_at(no * orders);
            let (a_bar, z_bar) = here_bar.split_at_mut(no * orders);
            if l + 1 == self.layers().len() {
                activate_bar(layer.activation, k, no, a, of.y, a_bar, bars.y);
            } else {
                activate_bar(layer.activation, k, no, a, z, a_bar, z_bar);
            }
            let (input, input_bar) = if l == 0 {
                (of.x, &mut *bars.x)
            } else {
                let z = before.len() - ni * orders;
                (&before[z..], &mut before_bar[z..])
            };
            self.affine_jet_bar(
                l,
                at,
                &input[k * ni..][..ni],
                &of.p[end..],
                &a_bar[k * no..][..no],
                &mut input_bar[k * ni..][..ni],
                &mut bars.p[end..],
            );
        }
    }
}

/// n!: coefficient to derivative.
pub fn factorial(n: usize) -> f64 {
    (1..=n).map(|i| i as f64).product()
}

/// Coefficient m of x(s)^e.
fn power<T: Scalar>(e: usize, m: usize, x: &[T], n: usize, i: usize) -> T {
    let mut c = [T::ZERO; MAX_ORDERS];
    c[0] = T::ONE;
    for _ in 0..e {
        for q in (0..=m).rev() {
            c[q] = (0..=q).map(|j| c[j] * x[(q - j) * n + i]).sum();
        }
    }
    c[m]
}

impl<T: Scalar> Jets<T> for Power {
    fn jet_len(&self, _: usize, _: usize) -> usize {
        0
    }
    fn jet_forward(&mut self, at: Jet<T>, x: &[T], _: &[T], y: &mut [T], _: &mut [T]) {
        let n = self.dim * at.batch;
        for i in 0..n {
            y[at.k * n + i] = power(self.exponent as usize, at.k, x, n, i);
        }
    }
    /// d(x^e)_k / dx_j = e (x^(e-1))_(k-j).
    fn jet_backward(&mut self, at: Jet<T>, of: JetPass<'_, T>, bars: JetBars<'_, T>) {
        let (n, e) = (self.dim * at.batch, self.exponent as usize);
        if e == 0 {
            return;
        }
        for i in 0..n {
            for j in 0..=at.k {
                let slope = T::of(e as f64) * power(e - 1, at.k - j, of.x, n, i);
                bars.x[j * n + i] += bars.y[at.k * n + i] * slope;
            }
        }
    }
}

impl<T: Scalar> Jets<T> for Elementwise {
    fn jet_len(&self, _: usize, _: usize) -> usize {
        0
    }
    fn jet_forward(&mut self, at: Jet<T>, x: &[T], _: &[T], y: &mut [T], _: &mut [T]) {
        activate(self.activation, at.k, self.dim * at.batch, x, y);
    }
    fn jet_backward(&mut self, at: Jet<T>, of: JetPass<'_, T>, bars: JetBars<'_, T>) {
        activate_bar(self.activation, at.k, self.dim * at.batch, of.x, of.y, bars.x, bars.y);
    }
}

impl<T: Scalar, A: Jets<T>, B: Jets<T>> Jets<T> for Chain<A, B, T> {
    fn has_jets(&self) -> bool {
        self.a.has_jets() && self.b.has_jets()
    }
    /// What A stores, A's output, what B stores.
    fn jet_len(&self, batch: usize, orders: usize) -> usize {
        self.a.jet_len(batch, orders) + self.a.outputs() * batch * orders + self.b.jet_len(batch, orders)
    }
    fn jet_forward(&mut self, at: Jet<T>, x: &[T], p: &[T], y: &mut [T], store: &mut [T]) {
        let (sa, rest) = store.split_at_mut(self.a.jet_len(at.batch, at.orders));
        let (mid, sb) = rest.split_at_mut(self.a.outputs() * at.batch * at.orders);
        let (pa, pb) = p.split_at(self.a.n_params());
        self.a.jet_forward(at, x, pa, mid, sa);
        self.b.jet_forward(at, mid, pb, y, sb);
    }
    fn jet_backward(&mut self, at: Jet<T>, of: JetPass<'_, T>, bars: JetBars<'_, T>) {
        let (na, nm) = (self.a.jet_len(at.batch, at.orders), self.a.outputs() * at.batch * at.orders);
        let ((sa, rest), (sa_bar, rest_bar)) = (of.store.split_at(na), bars.store.split_at_mut(na));
        let ((mid, sb), (mid_bar, sb_bar)) = (rest.split_at(nm), rest_bar.split_at_mut(nm));
        let (pa, pb) = of.p.split_at(self.a.n_params());
        let (pa_bar, pb_bar) = bars.p.split_at_mut(self.a.n_params());
        let of_b = JetPass { x: mid, p: pb, y: of.y, store: sb };
        self.b.jet_backward(at, of_b, JetBars { x: &mut *mid_bar, p: pb_bar, y: bars.y, store: sb_bar });
        let of_a = JetPass { x: of.x, p: pa, y: mid, store: sa };
        self.a.jet_backward(at, of_a, JetBars { x: bars.x, p: pa_bar, y: mid_bar, store: sa_bar });
    }
}

/// On one thread: jets are for regularizers, a few times per step.
impl<T: Scalar, M: Jets<T> + Clone + Send> Jets<T> for Parallel<M, T> {
    fn has_jets(&self) -> bool {
        self.map().has_jets()
    }
    fn jet_len(&self, batch: usize, orders: usize) -> usize {
        self.map().jet_len(batch, orders)
    }
    fn jet_forward(&mut self, at: Jet<T>, x: &[T], p: &[T], y: &mut [T], store: &mut [T]) {
        self.map_mut().jet_forward(at, x, p, y, store);
    }
    fn jet_backward(&mut self, at: Jet<T>, of: JetPass<'_, T>, bars: JetBars<'_, T>) {
        self.map_mut().jet_backward(at, of, bars);
    }
}
