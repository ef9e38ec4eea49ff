//! A SIF file as a nonlinear program.

use std::path::Path;

use super::{Decoded, GroupKind, SifError, SifLimits, SifOptions, SifWarning, decode, function, stats};
use crate::error::Error;
use crate::expr::batch::Body;
use crate::expr::parts::Parts;
use crate::nlp::expressed::{Expressed, Expressible, delegate_nlp};
use crate::nlp::{NlpMeta, ProblemStats};

/// A problem read from a SIF file. Functions are exact, with first and second derivatives; values that are not finite are
/// returned as they are.
///
/// Element functions are evaluated once for each point: asking for values, first and second derivatives at the same x costs each
/// of them once.
#[derive(Debug, Clone)]
pub struct SifProblem {
    decoded: Decoded,
    bodies: Bodies,
    functions: Expressed,
}

/// The functions of the types.
#[derive(Debug, Clone)]
struct Bodies {
    elements: Vec<Body>,
    groups: Vec<Body>,
    dims: Vec<usize>,
    constraint: Vec<bool>,
}

impl Expressible for SifProblem {
    fn parts(&self) -> Parts<'_> {
        parts(&self.decoded, &self.bodies)
    }
}

delegate_nlp!(SifProblem, functions, expressible);

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
        let SifLimits { objects, hessian, .. } = options.limits;
        let dims = decoded.element_types.iter().map(|t| t.elemental.len()).collect();
        let constraint = decoded.kind.iter().map(|&k| k != GroupKind::Objective).collect();
        let bodies = Bodies { elements, groups, dims, constraint };
        let functions = Expressed::new(meta(&decoded), &parts(&decoded, &bodies), (objects, hessian))
            .map_err(|what| SifError { file: file.to_string(), line: 0, what })?;
        Ok(Self { decoded, bodies, functions })
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
    /// Sizes, sums and norms.
    pub fn stats(&mut self) -> ProblemStats {
        let (class, pairs) = (self.class().unwrap_or_default().to_string(), stats::all_pairs(&self.decoded));
        ProblemStats::new(&mut self.functions, class, pairs)
    }
    /// Forgets the functions kept for the last point (for measurements).
    pub fn forget(&mut self) {
        self.functions.forget();
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

fn parts<'a>(d: &'a Decoded, bodies: &'a Bodies) -> Parts<'a> {
    Parts {
        n: d.variables.len(),
        element_bodies: &bodies.elements,
        element_dims: &bodies.dims,
        element_type: &d.element_type,
        element_vars: &d.element_vars,
        element_params: &d.element_params,
        group_bodies: &bodies.groups,
        group_type: &d.group_type,
        group_params: &d.group_params,
        constraint: &bodies.constraint,
        scale: &d.scale,
        constant: &d.constant,
        linear: &d.linear,
        uses: &d.uses,
        quadratic: &d.quadratic,
    }
}

fn meta(d: &Decoded) -> NlpMeta {
    let groups = || (0..d.kind.len()).filter(|&g| d.kind[g] != GroupKind::Objective);
    NlpMeta {
        name: d.name.clone(),
        x_lower: d.x_lower.clone(),
        x_upper: d.x_upper.clone(),
        c_lower: groups().map(|g| if d.kind[g] == GroupKind::Less { -d.range[g] } else { 0.0 }).collect(),
        c_upper: groups().map(|g| if d.kind[g] == GroupKind::Greater { d.range[g] } else { 0.0 }).collect(),
        x0: d.x0.clone(),
        other_starts: d.other_starts.clone(),
        y0: groups().map(|g| d.y0[g]).collect(),
        variable_names: d.variables.iter().map(str::to_string).collect(),
        constraint_names: groups().map(|g| d.groups.get(g).to_string()).collect(),
        ..NlpMeta::default()
    }
}
