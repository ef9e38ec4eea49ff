//! Functions that are not made of the graph's operations.

/// A function of several arguments with several outputs. An output may be the derivative of another one: that is how such functions
/// are differentiated. Evaluation has no state: the same arguments give the same bits.
pub trait External: std::fmt::Debug + Send + Sync {
    /// Number of arguments.
    fn arity(&self) -> usize;
    /// Number of outputs.
    fn outputs(&self) -> usize;
    /// out <- f(args), every entry.
    fn eval(&self, args: &[f64], out: &mut [f64]);
    /// The output that is the derivative of `output` by argument `arg`, if there is one.
    fn derivative(&self, output: usize, arg: usize) -> Option<usize>;
}
