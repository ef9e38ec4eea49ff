//! A SIF file as a nonlinear program.

use std::path::Path;

use super::{Decoded, GroupKind, SifError, SifLimits, SifOptions, SifWarning, decode, function};
use crate::error::Error;
use crate::expr::batch::Body;
use crate::expr::evaluate::{Coordinates, Evaluator};
use crate::expr::parts::Parts;
use crate::expr::structure::Structure;
use crate::nlp::{EvalError, Nlp, NlpMeta, Pattern};

/// A problem read from a SIF file. Functions are exact, with first and second derivatives; values that are not finite are
/// returned as they are.
///
/// Element functions are evaluated once for each point: asking for values, first and second derivatives at the same x costs each
/// of them once.
#[derive(Debug, Clone)]
pub struct SifProblem {
    decoded: Decoded,
    meta: NlpMeta,
    evaluator: Evaluator,
}

/// Types whose parameters become constants are used at least so often.
const UNIFORM_FROM: usize = 4;

impl SifProblem {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::Sif`] if it cannot be understood.
    pub fn from_file(path: &Path, options: &SifOptions) -> Result<Self, Error> {
        let file = path.display().to_string();
        let text = std::fs::read(path).map_err(|source| Error::Io { path: file.clone(), source })?;
        Ok(Self::from_text(&file, &text, options)?)
    }

    /// Reads the text of a file; `file` is its name in messages.
    ///
    /// # Errors
    /// [`SifError`]: the line, what was found, what was expected.
    pub fn from_text(file: &str, text: &[u8], options: &SifOptions) -> Result<Self, SifError> {
        let (decoded, cards) = decode(file, text, options)?;
        let unknown = cards.trailing_functions.iter().find(|f| *f != "HS67");
        if unknown.is_some() {
            let what = format!("external Fortran is not supported: {}", cards.trailing_functions.join(", "));
            return Err(SifError { file: file.to_string(), line: cards.trailing_line, what });
        }
        let element_uniform = uniform(
            decoded.element_types.iter().map(|t| t.params.len()),
            decoded.element_type.iter().enumerate().map(|(e, t)| (*t, decoded.element_params.get(e))),
        );
        let typed = decoded.group_type.iter().enumerate();
        let group_uniform = uniform(
            decoded.group_types.iter().map(|t| t.params.len()),
            typed.filter_map(|(g, t)| t.map(|t| (t, decoded.group_params.get(g)))),
        );
        let elements =
            function::elements(file, &cards.elements, &decoded, &element_uniform, options.literals)?;
        let groups = function::groups(file, &cards.groups, &decoded, &group_uniform, options.literals)?;
        let (evaluator, hessian) = evaluator(&decoded, &elements, &groups, options.limits)
            .map_err(|what| SifError { file: file.to_string(), line: 0, what })?;
        let hessian = hessian.map(|[rows, cols]| Pattern { rows, cols });
        let quadratic_objective = is_quadratic(&decoded, &elements, &groups);
        let meta = NlpMeta { hessian, quadratic_objective, ..meta(&decoded, &evaluator.structure) };
        Ok(Self { decoded, meta, evaluator })
    }

    /// What the data part says.
    pub fn decoded(&self) -> &Decoded {
        &self.decoded
    }
    /// The classification string.
    pub fn class(&self) -> Option<&str> {
        self.decoded.class.as_deref()
    }
    /// What was odd in the file.
    pub fn warnings(&self) -> &[SifWarning] {
        &self.decoded.warnings
    }
    /// Forgets the functions kept for the last point (for measurements).
    pub fn forget(&mut self) {
        self.evaluator.forget();
    }
}

/// For each type and parameter: its value if it is the same in all uses and there are several.
fn uniform<'a>(
    widths: impl Iterator<Item = usize>,
    uses: impl Iterator<Item = (u32, &'a [f64])>,
) -> Vec<Vec<Option<f64>>> {
    let mut values: Vec<Vec<Option<f64>>> = widths.map(|w| vec![Some(f64::NAN); w]).collect();
    let mut counts = vec![0usize; values.len()];
    for (t, params) in uses {
        let t = t as usize;
        counts[t] += 1;
        for (known, &p) in values[t].iter_mut().zip(params) {
            match known {
                Some(_) if counts[t] == 1 => *known = Some(p),
                Some(k) if k.to_bits() != p.to_bits() => *known = None,
                _ => {}
            }
        }
    }
    for (values, count) in values.iter_mut().zip(counts) {
        if count < UNIFORM_FROM {
            values.fill(None);
        }
    }
    values
}

/// The objective is a polynomial of degree at most 2: group by group, the degree of its type times the largest one of its elements.
fn is_quadratic(d: &Decoded, elements: &[Body], groups: &[Body]) -> bool {
    let degree = |body: &Body| body.graph.degree(body.value);
    let elements: Vec<Option<u32>> = elements.iter().map(degree).collect();
    let groups: Vec<Option<u32>> = groups.iter().map(degree).collect();
    let objective = |g: &usize| d.kind[*g] == GroupKind::Objective;
    (0..d.groups.len()).filter(objective).all(|g| {
        let outer = d.group_type[g].map_or(Some(1), |t| groups[t as usize]);
        let mut used = d.uses.get(g).iter().map(|&(e, _)| elements[d.element_type[e as usize] as usize]);
        let inner = used.try_fold(1u32, |most, degree| Some(most.max(degree?)));
        outer.zip(inner).is_some_and(|(outer, inner)| outer.saturating_mul(inner) <= 2)
    })
}

/// The evaluator of the data and functions, and rows and columns of the Hessian if it has a pattern.
fn evaluator(
    d: &Decoded,
    elements: &[Body],
    groups: &[Body],
    limits: SifLimits,
) -> Result<(Evaluator, Option<Coordinates>), String> {
    let dims: Vec<usize> = d.element_types.iter().map(|t| t.elemental.len()).collect();
    let constraint: Vec<bool> = d.kind.iter().map(|&k| k != GroupKind::Objective).collect();
    let parts = Parts {
        n: d.variables.len(),
        element_bodies: elements,
        element_dims: &dims,
        element_type: &d.element_type,
        element_vars: &d.element_vars,
        element_params: &d.element_params,
        group_bodies: groups,
        group_type: &d.group_type,
        group_params: &d.group_params,
        constraint: &constraint,
        scale: &d.scale,
        constant: &d.constant,
        linear: &d.linear,
        uses: &d.uses,
        quadratic: &d.quadratic,
    };
    Evaluator::new(&parts, limits.objects, limits.hessian)
}

fn meta(d: &Decoded, s: &Structure) -> NlpMeta {
    let groups = || s.constraint_groups.iter().map(|&g| g as usize);
    let nnzj = s.rows.start[s.m];
    let mut rows = Vec::with_capacity(nnzj);
    for r in 0..s.m {
        rows.resize(s.rows.start[r + 1], r);
    }
    NlpMeta {
        name: d.name.clone(),
        x_lower: d.x_lower.clone(),
        x_upper: d.x_upper.clone(),
        c_lower: groups().map(|g| if d.kind[g] == GroupKind::Less { -d.range[g] } else { 0.0 }).collect(),
        c_upper: groups().map(|g| if d.kind[g] == GroupKind::Greater { d.range[g] } else { 0.0 }).collect(),
        x0: d.x0.clone(),
        other_starts: d.other_starts.clone(),
        y0: groups().map(|g| d.y0[g]).collect(),
        linear: groups().map(|g| d.group_type[g].is_none() && d.uses.get(g).is_empty()).collect(),
        variable_names: d.variables.iter().map(str::to_string).collect(),
        constraint_names: groups().map(|g| d.groups.get(g).to_string()).collect(),
        jacobian: Some(Pattern { rows, cols: s.rows.vars[..nnzj].iter().map(|&v| v as usize).collect() }),
        quadratic_objective: false,
        hessian: None,
        jacobian_products: true,
        hessian_products: true,
        preconditioner: false,
    }
}

impl Nlp for SifProblem {
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
