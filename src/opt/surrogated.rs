//! Problems that are maximized by attacks and direct search: f(x) subject to c(x) <= 0, where both may come out of a trained network or of a black box.

use crate::diff::{At, BarsMut, Kept, Map, Offers};
use crate::error::Error;
use crate::nlp::{EvalError, Nlp, NlpMeta, Pattern};
use std::cell::RefCell;

/// max f(x) subject to c(x) <= 0. Values only are enough; with gradients attacks are possible.
pub trait Surrogated {
    /// Variables n.
    fn dim(&self) -> usize;
    /// Constraints m.
    fn constraints(&self) -> usize;
    /// f(x); c <- c(x), m numbers, at most 0 where x is feasible. A number that is not finite says "not here".
    fn value(&mut self, x: &[f64], c: &mut [f64]) -> f64;
    /// Whether [`gradient`](Self::gradient) may be called.
    fn has_gradient(&self) -> bool {
        false
    }
    /// g <- gradient of f + w'c at x, n numbers; w has m.
    fn gradient(&mut self, x: &[f64], w: &[f64], g: &mut [f64]) {
        let _ = (x, w);
        g.fill(f64::NAN);
    }
    /// jac <- dc/dx, entry (i, j) at `i n + j`. As written here by m + 1 gradients: worth its own code where there are more constraints than variables.
    fn jacobian(&mut self, x: &[f64], jac: &mut [f64]) {
        let (n, m) = (self.dim(), self.constraints());
        let (mut g, mut w) = (vec![0.0; n], vec![0.0; m]);
        self.gradient(x, &w, &mut g);
        for (i, row) in jac.chunks_exact_mut(n).enumerate() {
            w[i] = 1.0;
            self.gradient(x, &w, row);
            w[i] = 0.0;
            row.iter_mut().zip(&g).for_each(|(r, g)| *r -= g);
        }
    }
}

type Outer<'a> = Box<dyn FnMut(&[f64], &[f64], &mut [f64]) -> f64 + 'a>;
type OuterBars<'a> = Box<dyn FnMut(&[f64], &[f64], &[f64], &mut [f64], &mut [f64]) + 'a>;

/// f and c as functions of x and y = Phi(x), Phi any [`Map`] (a trained network, at t = 0).
pub struct MapSurrogate<'a, M> {
    map: M,
    params: Vec<f64>,
    constraints: usize,
    outer: Outer<'a>,
    bars: Option<OuterBars<'a>>,
    y: Vec<f64>,
    keep: Vec<f64>,
    y_bar: Vec<f64>,
    p_bar: Vec<f64>,
}

impl<'a, M: Map<f64>> MapSurrogate<'a, M> {
    /// Phi with its parameters, and `outer`: from (x, y) it writes the m numbers c and returns f.
    ///
    /// # Errors
    /// [`Error::Option`] if the parameters are not as many as the map has.
    pub fn new(
        map: M,
        params: &[f64],
        constraints: usize,
        outer: impl FnMut(&[f64], &[f64], &mut [f64]) -> f64 + 'a,
    ) -> Result<Self, Error> {
        let size = map.size();
        if params.len() != size.params {
            let what = format!("found {} numbers, the map has {} parameters", params.len(), size.params);
            return Err(Error::Option { option: "params".into(), what });
        }
        Ok(Self {
            params: params.to_vec(),
            constraints,
            outer: Box::new(outer),
            bars: None,
            y: vec![0.0; size.outputs],
            keep: vec![0.0; map.keep_len(1)],
            y_bar: vec![0.0; size.outputs],
            p_bar: vec![0.0; size.params],
            map,
        })
    }
    /// With the derivative of f + w'c: from (x, y, w) `bars` ADDS that by x to its fourth and that by y to its fifth argument. Used if the map has a vjp.
    #[must_use]
    pub fn with_gradient(
        mut self,
        bars: impl FnMut(&[f64], &[f64], &[f64], &mut [f64], &mut [f64]) + 'a,
    ) -> Self {
        self.bars = Some(Box::new(bars));
        self
    }
}

impl<M: Map<f64>> Surrogated for MapSurrogate<'_, M> {
    fn dim(&self) -> usize {
        self.map.inputs()
    }
    fn constraints(&self) -> usize {
        self.constraints
    }
    fn value(&mut self, x: &[f64], c: &mut [f64]) -> f64 {
        self.map.value(At::new(0.0, x, &self.params), &mut self.y);
        (self.outer)(x, &self.y, c)
    }
    fn has_gradient(&self) -> bool {
        self.bars.is_some() && self.map.offers().has(Offers::VJP)
    }
    fn gradient(&mut self, x: &[f64], w: &[f64], g: &mut [f64]) {
        g.fill(0.0);
        let Some(bars) = &mut self.bars else { return g.fill(f64::NAN) };
        let at = At::new(0.0, x, &self.params);
        self.map.forward(at, &mut self.y, &mut self.keep);
        self.y_bar.fill(0.0);
        bars(x, &self.y, w, g, &mut self.y_bar);
        let of = Kept { y: &self.y, keep: &self.keep };
        self.map.vjp(at, of, &self.y_bar, BarsMut::new(g, &mut self.p_bar));
    }
}

/// A surrogate as a problem for [`solve`](super::solve).
pub struct SurrogateProblem<'a, 'b> {
    surrogate: &'a RefCell<&'b mut (dyn Surrogated + 'b)>,
    meta: NlpMeta,
    /// m numbers.
    scratch: Vec<f64>,
}

/// The same problem for [`solve`](super::solve): min -f(x) subject to c(x) <= 0 and lower <= x <= upper, second derivatives learned.
///
/// # Errors
/// [`Error::Option`] without gradients, [`Error::Problem`] if lengths do not fit.
pub fn as_problem<'a, 'b: 'a>(
    name: &str,
    surrogate: &'a RefCell<&'b mut (dyn Surrogated + 'b)>,
    start: &[f64],
    (lower, upper): (&[f64], &[f64]),
) -> Result<SurrogateProblem<'a, 'b>, Error> {
    let (n, m) = (surrogate.borrow().dim(), surrogate.borrow().constraints());
    if !surrogate.borrow().has_gradient() {
        let what = "has values only, expected gradients: use direct search".to_string();
        return Err(Error::Option { option: "surrogate".into(), what });
    }
    let meta = NlpMeta {
        x_lower: lower.to_vec(),
        x_upper: upper.to_vec(),
        x0: start.to_vec(),
        c_lower: vec![f64::NEG_INFINITY; m],
        jacobian: (m > 0).then(|| Pattern::dense(m, n)),
        ..NlpMeta::equality(name, n, m)
    };
    meta.validate()?;
    Ok(SurrogateProblem { surrogate, meta, scratch: vec![0.0; m] })
}

impl Nlp for SurrogateProblem<'_, '_> {
    fn meta(&self) -> &NlpMeta {
        &self.meta
    }
    fn obj(&mut self, x: &[f64]) -> Result<f64, EvalError> {
        Ok(-self.surrogate.borrow_mut().value(x, &mut self.scratch))
    }
    fn grad(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
        self.scratch.fill(0.0);
        self.surrogate.borrow_mut().gradient(x, &self.scratch, g);
        g.iter_mut().for_each(|g| *g = -*g);
        Ok(())
    }
    fn cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<(), EvalError> {
        c.fill(0.0);
        self.surrogate.borrow_mut().value(x, c);
        Ok(())
    }
    fn jac_values(&mut self, x: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        values.fill(0.0);
        self.surrogate.borrow_mut().jacobian(x, values);
        Ok(())
    }
}
