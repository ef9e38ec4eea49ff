//! Gated recurrent unit (Cho et al. 2014, in the form of Chung et al. and Flux).

use super::activation::sigmoid;
use crate::diff::{At, BarsMut, Init, Kept, Map, Offers, Size, Spec};
use crate::error::OdeError;
use crate::linalg::tanh::tanh;
use crate::linalg::{Dense, Scalar};

/// One cell: [x; h] -> h', with the rows of the matrices in the order r, z, n:
///
/// ```text
/// r = sigmoid(W_r x + U_r h + b_r),   z = sigmoid(W_z x + U_z h + b_z),
/// n = tanh(W_n x + b_n + r * (U_n h)),   h' = (1 - z) * n + z * h
/// ```
///
/// Input: x (length `inputs`) above h (length `hidden`) in every column. Parameters: W (3 hidden x inputs, column-major), U (3 hidden x hidden), b.
#[derive(Debug, Clone)]
pub struct Gru<T> {
    nx: usize,
    nh: usize,
    x: Vec<T>,
    h: Vec<T>,
    /// W x + b and U h; in the pullback their bars.
    gx: Vec<T>,
    gh: Vec<T>,
    /// What `forward` keeps where nobody wants it.
    room: Vec<T>,
}

impl<T: Scalar> Gru<T> {
    /// From the lengths of x and h.
    pub fn new(inputs: usize, hidden: usize) -> Result<Self, OdeError> {
        if inputs * hidden == 0 {
            let what = "a recurrent unit needs at least one input and one hidden component".to_string();
            return Err(OdeError::Mismatch { what });
        }
        Ok(Self { nx: inputs, nh: hidden, x: vec![], h: vec![], gx: vec![], gh: vec![], room: vec![] })
    }
    /// Length of x.
    pub fn n_x(&self) -> usize {
        self.nx
    }
    /// Length of h.
    pub fn n_h(&self) -> usize {
        self.nh
    }

    /// x and h each in one piece.
    fn split(&mut self, xh: &[T]) {
        self.x.clear();
        self.h.clear();
        for column in xh.chunks_exact(self.nx + self.nh) {
            self.x.extend_from_slice(&column[..self.nx]);
            self.h.extend_from_slice(&column[self.nx..]);
        }
    }
    fn matrices<'a>(&self, p: &'a [T]) -> (&'a [T], &'a [T], &'a [T]) {
        let (w, rest) = p.split_at(3 * self.nh * self.nx);
        let (u, b) = rest.split_at(3 * self.nh * self.nh);
        (w, u, b)
    }
}

impl<T: Scalar> Map<T> for Gru<T> {
    fn size(&self) -> Size {
        Size { inputs: self.nx + self.nh, outputs: self.nh, params: 3 * self.nh * (self.nx + self.nh + 1) }
    }
    fn offers(&self) -> Offers {
        Offers::VJP | Offers::AUTONOMOUS
    }
    /// `input`, `hidden`, `bias`.
    fn spec(&self) -> Spec {
        let rows = 3 * self.nh;
        let glorot = |inputs| Init::Glorot { inputs, outputs: rows };
        Spec::none()
            .with("input", &[self.nx, rows], glorot(self.nx))
            .with("hidden", &[self.nh, rows], glorot(self.nh))
            .with("bias", &[rows], Init::Zeros)
    }
    fn value(&mut self, at: At<'_, T>, y: &mut [T]) {
        let mut keep = std::mem::take(&mut self.room);
        keep.resize(self.keep_len(at.x.len() / (self.nx + self.nh)), T::ZERO);
        self.forward(at, y, &mut keep);
        self.room = keep;
    }
    /// r, z, n and U_n h.
    fn keep_len(&self, batch: usize) -> usize {
        4 * self.nh * batch
    }

    fn forward(&mut self, at: At<'_, T>, y: &mut [T], keep: &mut [T]) {
        let (xh, p, nx, nh) = (at.x, at.p, self.nx, self.nh);
        let batch = xh.len() / (nx + nh);
        self.split(xh);
        let (w, u, b) = self.matrices(p);
        self.gx.resize(3 * nh * batch, T::ZERO);
        self.gh.resize(3 * nh * batch, T::ZERO);
        let x = Dense::new(&self.x, nx, batch);
        T::gemm(T::ONE, Dense::new(w, 3 * nh, nx), x, false, &mut self.gx, 1);
        let h = Dense::new(&self.h, nh, batch);
        T::gemm(T::ONE, Dense::new(u, 3 * nh, nh), h, false, &mut self.gh, 1);
        for c in 0..batch {
            let (gx, gh) = (&self.gx[3 * nh * c..][..3 * nh], &self.gh[3 * nh * c..][..3 * nh]);
            let (h, y) = (&self.h[nh * c..][..nh], &mut y[nh * c..][..nh]);
            let keep = &mut keep[4 * nh * c..][..4 * nh];
            for i in 0..nh {
                let r = sigmoid(gx[i] + b[i] + gh[i]);
                let z = sigmoid(gx[nh + i] + b[nh + i] + gh[nh + i]);
                let n = tanh(gx[2 * nh + i] + b[2 * nh + i] + r * gh[2 * nh + i]);
                y[i] = (T::ONE - z) * n + z * h[i];
                (keep[i], keep[nh + i], keep[2 * nh + i], keep[3 * nh + i]) = (r, z, n, gh[2 * nh + i]);
            }
        }
    }

    fn vjp(&mut self, at: At<'_, T>, of: Kept<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        let (xh, p, nx, nh) = (at.x, at.p, self.nx, self.nh);
        let (keep, w_bar) = (of.keep, w);
        let BarsMut { x: xh_bar, p: p_bar } = bars;
        let batch = xh.len() / (nx + nh);
        self.split(xh);
        self.gx.resize(3 * nh * batch, T::ZERO);
        self.gh.resize(3 * nh * batch, T::ZERO);
        let (w, u, _) = self.matrices(p);
        let (p_w, rest) = p_bar.split_at_mut(3 * nh * nx);
        let (p_u, p_b) = rest.split_at_mut(3 * nh * nh);
        for c in 0..batch {
            let (gx, gh) = (&mut self.gx[3 * nh * c..][..3 * nh], &mut self.gh[3 * nh * c..][..3 * nh]);
            let (h, v) = (&self.h[nh * c..][..nh], &w_bar[nh * c..][..nh]);
            let keep = &keep[4 * nh * c..][..4 * nh];
            let hb = &mut xh_bar[(nx + nh) * c + nx..][..nh];
            for i in 0..nh {
                let (r, z, n, un) = (keep[i], keep[nh + i], keep[2 * nh + i], keep[3 * nh + i]);
                let dn = v[i] * (T::ONE - z) * (T::ONE - n * n);
                let dz = v[i] * (h[i] - n) * z * (T::ONE - z);
                let dr = dn * un * r * (T::ONE - r);
                hb[i] += v[i] * z;
                (gx[i], gx[nh + i], gx[2 * nh + i]) = (dr, dz, dn);
                (gh[i], gh[nh + i], gh[2 * nh + i]) = (dr, dz, dn * r);
            }
            p_b.iter_mut().zip(&*gx).for_each(|(b, g)| *b += *g);
        }
        let (gx, gh) = (Dense::new(&self.gx, 3 * nh, batch), Dense::new(&self.gh, 3 * nh, batch));
        T::gemm(T::ONE, gx, Dense::new(&self.x, nx, batch).t(), true, p_w, 1);
        T::gemm(T::ONE, gh, Dense::new(&self.h, nh, batch).t(), true, p_u, 1);
        // x and h are no longer needed: their storage takes the bars.
        T::gemm(T::ONE, Dense::new(w, 3 * nh, nx).t(), gx, false, &mut self.x, 1);
        T::gemm(T::ONE, Dense::new(u, 3 * nh, nh).t(), gh, false, &mut self.h, 1);
        for (c, column) in xh_bar.chunks_exact_mut(nx + nh).enumerate() {
            let (xb, hb) = column.split_at_mut(nx);
            xb.iter_mut().zip(&self.x[nx * c..]).for_each(|(a, b)| *a += *b);
            hb.iter_mut().zip(&self.h[nh * c..]).for_each(|(a, b)| *a += *b);
        }
    }
}
