//! Problems made of expressions, whatever front end read them.

use super::{EvalError, Nlp, NlpMeta, Pattern};
use crate::expr::evaluate::Evaluator;
use crate::expr::parts::Parts;

/// A problem whose functions are known as expressions, so that it can be written in another format.
pub trait Expressible: Nlp {
    /// Its elements and groups.
    fn parts(&self) -> Parts<'_>;
}

/// A problem whose functions are expressions: exact, with first and second derivatives. Values that are not finite are returned as they are.
#[derive(Debug, Clone)]
pub(crate) struct Expressed {
    meta: NlpMeta,
    evaluator: Evaluator,
}

impl Expressed {
    /// With bounds, start and names from `meta`, whose other fields are filled in. `limits`: what the structure may cost, in units of eight numbers,
    /// and the contributions up to which the Hessian has a pattern.
    ///
    /// # Errors
    /// The structure would be too large.
    pub fn new(meta: NlpMeta, parts: &Parts<'_>, (objects, hessian): (u64, u64)) -> Result<Self, String> {
        let (evaluator, hessian) = Evaluator::new(parts, objects, hessian)?;
        let s = &evaluator.structure;
        let entries = s.rows.start[s.m];
        let mut rows = Vec::with_capacity(entries);
        (0..s.m).for_each(|r| rows.resize(s.rows.start[r + 1], r));
        let cols = s.rows.vars[..entries].iter().map(|&v| v as usize).collect();
        let meta = NlpMeta {
            linear: parts.linear_constraints(),
            quadratic_objective: parts.quadratic_objective(),
            jacobian: Some(Pattern { rows, cols }),
            hessian: hessian.map(|[rows, cols]| Pattern { rows, cols }),
            jacobian_products: true,
            hessian_products: true,
            ..meta
        };
        Ok(Self { meta, evaluator })
    }
    /// Takes the values of the parameters, and nothing else, from parts that are otherwise those it was made of.
    pub fn set_params(&mut self, parts: &Parts<'_>) {
        self.evaluator.structure.set_params(parts);
        self.evaluator.forget();
    }
    /// Names, bounds and sides may be changed.
    pub fn meta_mut(&mut self) -> &mut NlpMeta {
        &mut self.meta
    }
    /// Forgets the functions kept for the last point (for measurements).
    pub fn forget(&mut self) {
        self.evaluator.forget();
    }
}

impl Nlp for Expressed {
    fn meta(&self) -> &NlpMeta {
        &self.meta
    }
    fn obj(&mut self, x: &[f64]) -> Result<f64, EvalError> {
        Ok(self.evaluator.objective(x))
    }
    fn grad(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
        self.evaluator.gradient(x, g);
        Ok(())
    }
    fn cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<(), EvalError> {
        self.evaluator.constraints(x, c);
        Ok(())
    }
    fn jac_prod(&mut self, x: &[f64], v: &[f64], jv: &mut [f64]) -> Result<(), EvalError> {
        self.evaluator.jacobian_product(x, v, jv);
        Ok(())
    }
    fn jac_t_prod(&mut self, x: &[f64], w: &[f64], jtw: &mut [f64]) -> Result<(), EvalError> {
        self.evaluator.jacobian_transposed_product(x, w, jtw);
        Ok(())
    }
    fn hess_prod(
        &mut self,
        x: &[f64],
        sigma: f64,
        y: &[f64],
        v: &[f64],
        hv: &mut [f64],
    ) -> Result<(), EvalError> {
        self.evaluator.hessian_product(x, sigma, y, v, hv);
        Ok(())
    }
    fn jac_values(&mut self, x: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        self.evaluator.jacobian(x, values);
        Ok(())
    }
    fn hess_values(&mut self, x: &[f64], sigma: f64, y: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        if self.meta.hessian.is_none() {
            return Err(EvalError::NotProvided { function: "Hessian" });
        }
        self.evaluator.hessian(x, sigma, y, values);
        Ok(())
    }
    fn obj_cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<f64, EvalError> {
        self.evaluator.constraints(x, c);
        Ok(self.evaluator.objective(x))
    }
    fn grad_jac_values(&mut self, x: &[f64], g: &mut [f64], values: &mut [f64]) -> Result<(), EvalError> {
        self.evaluator.gradient(x, g);
        self.evaluator.jacobian(x, values);
        Ok(())
    }
}

/// `Nlp` for a type by one of its fields, `expressible`: whose expressions are known; or, within an impl, all methods but `meta` by what stands behind
/// `self.`.
macro_rules! delegate_nlp {
    ($type:ty, $field:ident $(, $expressible:ident)?) => {
        impl $crate::nlp::Nlp for $type {
            fn meta(&self) -> &$crate::nlp::NlpMeta {
                self.$field.meta()
            }
            $(delegate_nlp!(@ $expressible);)?
            delegate_nlp!(@ $field);
        }
    };
    (@ expressible) => {
        fn kinks(&self, x: &[f64], near: f64) -> Vec<$crate::nlp::Kink> {
            $crate::expr::kinks::near(&$crate::nlp::Expressible::parts(self), x, near)
        }
    };
    (@each $to:tt $($name:ident $args:tt -> $out:ty;)*) => {
        $(delegate_nlp!(@one $to $name $args -> $out);)*
    };
    (@one [$($to:tt)+] $name:ident($($arg:ident: $type:ty),*) -> $out:ty) => {
        fn $name(&mut self, $($arg: $type),*) -> Result<$out, $crate::nlp::EvalError> {
            self.$($to)+.$name($($arg),*)
        }
    };
    (@ $($to:tt)+) => {
        delegate_nlp! { @each [$($to)+]
            obj(x: &[f64]) -> f64;
            grad(x: &[f64], g: &mut [f64]) -> ();
            cons(x: &[f64], c: &mut [f64]) -> ();
            jac_prod(x: &[f64], v: &[f64], jv: &mut [f64]) -> ();
            jac_t_prod(x: &[f64], w: &[f64], jtw: &mut [f64]) -> ();
            hess_prod(x: &[f64], sigma: f64, y: &[f64], v: &[f64], hv: &mut [f64]) -> ();
            jac_values(x: &[f64], values: &mut [f64]) -> ();
            hess_values(x: &[f64], sigma: f64, y: &[f64], values: &mut [f64]) -> ();
            obj_cons(x: &[f64], c: &mut [f64]) -> f64;
            grad_jac_values(x: &[f64], g: &mut [f64], values: &mut [f64]) -> ();
            precondition(at: &$crate::nlp::Preconditioning<'_>, r: &[f64], z: &mut [f64]) -> ();
        }
    };
}
pub(crate) use delegate_nlp;
