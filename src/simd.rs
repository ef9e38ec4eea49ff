//! One door to the machine's vector instructions.
//!
//! Code inside runs under the widest instruction set that the processor has (pulp). No fused multiply-add is used, so the results do not depend on it.

/// From this length on, instruction-set dispatch pays.
const LONG: usize = 8;

/// Runs `f` with the machine's vector instructions if the vectors, of length n, are long.
#[inline(always)]
pub(crate) fn vectorized<R>(n: usize, f: impl FnOnce() -> R) -> R {
    if n < LONG { f() } else { pulp::Arch::new().dispatch(f) }
}

/// Runs `f` with the machine's vector instructions.
#[inline(always)]
pub(crate) fn any_length<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}
