//! Models of rows: a map, or a differential equation between the inputs and a map.

use std::time::Instant;

use rand::rngs::StdRng;

use crate::diff::{At, BarsMut, Kept, Map, Offers, need};
use crate::error::check_len;
use crate::linalg::Scalar;
use crate::nn::{Jets, Params};
use crate::ode::Integrator;
use crate::train::config::SolverConfig;
use crate::train::error::TrainError;
use crate::train::pass::{LossBars, Pass, PassStats, Problem};
use crate::train::penalty::Penalty;
use crate::train::schedule::Progress;
use crate::train::task::{of_size, random_end};

/// Loss of the outputs, which ADDS its derivative to the second argument.
pub type OutputLoss<'l, T> = dyn FnMut(&[T], &mut [T]) -> f64 + 'l;

/// Evaluations of the field, accepted and rejected steps.
pub type Counts = (u64, u64, u64);

/// Outputs from inputs, with parameters.
pub trait Model<T: Scalar> {
    /// Numbers of one row's input and output.
    fn sizes(&self) -> (usize, usize);
    /// Adds its parameters, in the order in which it reads them.
    fn add_params(&self, params: &mut Params<T>, rng: &mut StdRng);
    /// Loss at x, inputs x rows, with penalties; ADDS its gradient. All random choices come from `rng`.
    fn gradient(
        &mut self,
        x: &[T],
        p: &[T],
        now: &Progress,
        rng: &mut StdRng,
        loss: &mut OutputLoss<'_, T>,
        gradient: &mut [T],
    ) -> Result<PassStats, TrainError>;
    /// The map A of a model z = A(x) that has no other parameters, for residuals and inputs of layers; none by default.
    fn map(&mut self) -> Option<&mut dyn Map<T>> {
        None
    }
    /// z <- outputs x rows.
    fn predict(&mut self, x: &[T], p: &[T], z: &mut Vec<T>) -> Result<Counts, TrainError>;
}

impl<T: Scalar, M: Model<T> + ?Sized> Model<T> for Box<M> {
    fn sizes(&self) -> (usize, usize) {
        (**self).sizes()
    }
    fn add_params(&self, params: &mut Params<T>, rng: &mut StdRng) {
        (**self).add_params(params, rng);
    }
    fn gradient(
        &mut self,
        x: &[T],
        p: &[T],
        now: &Progress,
        rng: &mut StdRng,
        loss: &mut OutputLoss<'_, T>,
        gradient: &mut [T],
    ) -> Result<PassStats, TrainError> {
        (**self).gradient(x, p, now, rng, loss, gradient)
    }
    fn map(&mut self) -> Option<&mut dyn Map<T>> {
        (**self).map()
    }
    fn predict(&mut self, x: &[T], p: &[T], z: &mut Vec<T>) -> Result<Counts, TrainError> {
        (**self).predict(x, p, z)
    }
}

/// z = A(x): any map.
#[derive(Debug, Clone)]
pub struct Layers<M, T> {
    map: M,
    y: Vec<T>,
    keep: Vec<T>,
    w: Vec<T>,
    x_bar: Vec<T>,
}

impl<T: Scalar, M: Map<T>> Layers<M, T> {
    /// From a map with a vector-Jacobian product.
    ///
    /// # Errors
    /// The map has none.
    pub fn new(map: M) -> Result<Self, TrainError> {
        need(&map, Offers::VJP, "training")?;
        Ok(Self { map, y: vec![], keep: vec![], w: vec![], x_bar: vec![] })
    }
    /// y and what is kept, for x.
    fn forward(&mut self, x: &[T], p: &[T]) {
        let batch = x.len() / self.map.inputs().max(1);
        self.y.resize(self.map.outputs() * batch, T::ZERO);
        self.keep.resize(self.map.keep_len(batch), T::ZERO);
        self.map.forward(At::new(T::ZERO, x, p), &mut self.y, &mut self.keep);
    }
    /// Loss of y; ADDS to the bars.
    fn pass(&mut self, x: &[T], p: &[T], loss: &mut OutputLoss<'_, T>, bars: BarsMut<'_, T>) -> f64 {
        self.forward(x, p);
        self.w.clear();
        self.w.resize(self.y.len(), T::ZERO);
        let value = loss(&self.y, &mut self.w);
        let of = Kept { y: &self.y, keep: &self.keep };
        self.map.vjp(At::new(T::ZERO, x, p), of, &self.w, bars);
        value
    }
}

impl<T: Scalar, M: Map<T>> Model<T> for Layers<M, T> {
    fn sizes(&self) -> (usize, usize) {
        (self.map.inputs(), self.map.outputs())
    }
    fn add_params(&self, params: &mut Params<T>, rng: &mut StdRng) {
        params.add_spec("map", self.map.spec(), rng);
    }
    fn gradient(
        &mut self,
        x: &[T],
        p: &[T],
        _: &Progress,
        _: &mut StdRng,
        loss: &mut OutputLoss<'_, T>,
        gradient: &mut [T],
    ) -> Result<PassStats, TrainError> {
        let begun = Instant::now();
        let mut x_bar = std::mem::take(&mut self.x_bar);
        x_bar.clear();
        x_bar.resize(x.len(), T::ZERO);
        let value = self.pass(x, p, loss, BarsMut::new(&mut x_bar, gradient));
        self.x_bar = x_bar;
        let seconds = begun.elapsed().as_secs_f64();
        Ok(PassStats { loss: value, data_loss: value, forward_seconds: seconds, ..PassStats::default() })
    }
    fn map(&mut self) -> Option<&mut dyn Map<T>> {
        Some(&mut self.map)
    }
    fn predict(&mut self, x: &[T], p: &[T], z: &mut Vec<T>) -> Result<Counts, TrainError> {
        z.resize(self.map.outputs() * (x.len() / self.map.inputs().max(1)), T::ZERO);
        self.map.value(At::new(T::ZERO, x, p), z);
        Ok((0, 0, 0))
    }
}

/// A neural ODE: u(0) = (x; 0), du/dt = f(t, u), z = A(u(1)). Where the field has more components than a row has inputs, the others start at zero
/// (Dupont, Doucet and Teh 2019).
#[derive(Debug)]
pub struct Flow<T: Scalar, F, H> {
    inputs: usize,
    field: F,
    head: Layers<H, T>,
    solver: SolverConfig,
    penalties: Vec<Penalty>,
    /// One for each batch size met.
    passes: Vec<(usize, Pass<T>)>,
    integrators: Vec<(usize, Integrator<T>)>,
    y0: Vec<T>,
    bar: Vec<T>,
}

impl<T: Scalar, F: Jets<T>, H: Map<T>> Flow<T, F, H> {
    /// For rows of this many inputs. A field without Taylor coefficients: [`WithoutTaylor`](crate::nn::WithoutTaylor).
    ///
    /// # Errors
    /// Sizes that do not fit, derivatives that are not there, penalties along the path for a field without Taylor coefficients.
    pub fn new(
        inputs: usize,
        field: F,
        head: H,
        solver: &SolverConfig,
        penalties: &[Penalty],
    ) -> Result<Self, TrainError> {
        need(&field, Offers::VJP, "training")?;
        check_len("the field's output", field.outputs(), field.inputs())?;
        check_len("the head's input", head.inputs(), field.outputs())?;
        if inputs > field.inputs() {
            let what = format!("rows have {inputs} inputs, the field has {} components only", field.inputs());
            return Err(TrainError::config(what));
        }
        if !field.has_jets() && penalties.iter().any(|p| p.path().is_some()) {
            let what = "penalties taylor, kinetic and jacobian need a field with Taylor coefficients";
            return Err(TrainError::config(what));
        }
        solver.tableau()?;
        Ok(Self {
            inputs,
            field,
            head: Layers::new(head)?,
            solver: solver.clone(),
            penalties: penalties.to_vec(),
            passes: vec![],
            integrators: vec![],
            y0: vec![],
            bar: vec![],
        })
    }
    /// The start; returns the number of rows.
    fn begin(&mut self, x: &[T]) -> usize {
        let more = self.field.inputs() - self.inputs;
        self.y0.clear();
        for x in x.chunks_exact(self.inputs) {
            self.y0.extend_from_slice(x);
            self.y0.extend(std::iter::repeat_n(T::ZERO, more));
        }
        x.len() / self.inputs
    }
}

impl<T: Scalar, F: Jets<T>, H: Map<T>> Model<T> for Flow<T, F, H> {
    fn sizes(&self) -> (usize, usize) {
        (self.inputs, self.head.map.outputs())
    }
    fn add_params(&self, params: &mut Params<T>, rng: &mut StdRng) {
        params.add_spec("field", self.field.spec(), rng);
        params.add_spec("head", self.head.map.spec(), rng);
    }
    fn gradient(
        &mut self,
        x: &[T],
        p: &[T],
        now: &Progress,
        rng: &mut StdRng,
        loss: &mut OutputLoss<'_, T>,
        gradient: &mut [T],
    ) -> Result<PassStats, TrainError> {
        let (batch, dim, cut) = (self.begin(x), self.field.inputs(), self.field.n_params());
        let (solver, penalties) = (&self.solver, &self.penalties);
        let (method, options, memory) = (solver.tableau()?, solver.options(), solver.memory());
        let pass = of_size(&mut self.passes, batch, || {
            Pass::new(method, (dim, batch), &options, memory, penalties, solver.record_stiffness)
        })?;
        let end = random_end(1.0, solver.steer, rng);
        let ((p_field, p_head), (g_field, g_head)) = (p.split_at(cut), gradient.split_at_mut(cut));
        let problem = Problem { span: (T::ZERO, T::of(end)), y0: &self.y0, p: p_field, times: &[] };
        let head = &mut self.head;
        let mut at_end = |y1: &[T], _: &[T], bars: LossBars<'_, T>| {
            head.pass(y1, p_head, loss, BarsMut::new(bars.y1, &mut *g_head))
        };
        self.bar.resize(self.y0.len(), T::ZERO);
        pass.run(&mut self.field, &problem, now, rng, &mut at_end, &mut self.bar, g_field)
    }
    fn predict(&mut self, x: &[T], p: &[T], z: &mut Vec<T>) -> Result<Counts, TrainError> {
        let (batch, dim, cut) = (self.begin(x), self.field.inputs(), self.field.n_params());
        let (method, options) = (self.solver.tableau()?, self.solver.options());
        let (p_field, p_head) = p.split_at(cut);
        let integrator =
            of_size(&mut self.integrators, batch, || Integrator::new(method, dim, batch, &options))?;
        let span = (T::ZERO, T::ONE);
        let report = integrator.run(&mut self.field, span, &self.y0, p_field, &mut ())?;
        if !report.ok() {
            return Err(TrainError::Solver { what: report.message() });
        }
        self.head.predict(integrator.y(), p_head, z)?;
        Ok((report.counts.evals, report.counts.accepted, report.counts.rejected))
    }
}
