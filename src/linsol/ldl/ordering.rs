//! The fill-reducing orderings of faer and feral-metis, which do not know how to stop: those of large patterns run on a thread of their own, which is
//! left behind, to end by itself, when the caller is told to stop.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::sparse::SymbolicSparseColMatRef;
use faer::sparse::linalg::amd;
use feral_metis::CscPattern;

use super::NAME;
use crate::linsol::LinSolError;
use crate::observe::StopToken;

/// Unknowns and entries from which an ordering may take a tenth of a second.
const LONG: usize = 200_000;
/// How often the caller looks whether to stop.
const PAUSE: Duration = Duration::from_millis(20);

/// Approximate minimum degree of a lower triangle.
pub(super) fn minimum_degree(
    n: usize,
    col_ptr: &[usize],
    row_idx: &[usize],
    stop: &StopToken,
) -> Result<Vec<u32>, LinSolError> {
    fn order(n: usize, col_ptr: &[usize], row_idx: &[usize]) -> Option<Vec<u32>> {
        let pattern = SymbolicSparseColMatRef::new_unsorted_checked(n, n, col_ptr, None, row_idx);
        let scratch = amd::order_maybe_unsorted_scratch::<usize>(n, row_idx.len());
        let mut memory = MemBuffer::try_new(scratch).ok()?;
        let (mut order, mut position) = (vec![0usize; n], vec![0usize; n]);
        let stack = MemStack::new(&mut memory);
        amd::order_maybe_unsorted(&mut order, &mut position, pattern, amd::Control::default(), stack).ok()?;
        Some(order.into_iter().map(|j| j as u32).collect())
    }
    let order = if n + row_idx.len() < LONG {
        order(n, col_ptr, row_idx)
    } else {
        let (col_ptr, row_idx) = (col_ptr.to_vec(), row_idx.to_vec());
        interruptible(stop, move || order(n, &col_ptr, &row_idx))?
    };
    order.ok_or_else(|| LinSolError::TooLarge { solver: NAME, reason: "no memory for the ordering".into() })
}

/// Nested dissection of a full symmetric pattern without its diagonal; None where it does not apply.
pub(super) fn nested_dissection(
    n: usize,
    ptr: &[i32],
    idx: &[i32],
    stop: &StopToken,
) -> Result<Option<Vec<u32>>, LinSolError> {
    fn order(n: usize, ptr: &[i32], idx: &[i32]) -> Option<Vec<u32>> {
        let order = feral_metis::metis_order(&CscPattern::new(n, ptr, idx)?).ok()?;
        Some(order.into_iter().map(|j| j as u32).collect())
    }
    if n + idx.len() < LONG {
        return Ok(order(n, ptr, idx));
    }
    let (ptr, idx) = (ptr.to_vec(), idx.to_vec());
    interruptible(stop, move || order(n, &ptr, &idx))
}

/// f() from another thread, or an error as soon as `stop` says so.
fn interruptible<T: Send + 'static>(
    stop: &StopToken,
    f: impl FnOnce() -> T + Send + 'static,
) -> Result<T, LinSolError> {
    let (result, receiver) = channel();
    let failed = |reason: String| LinSolError::TooLarge { solver: NAME, reason };
    let body = move || {
        // The caller may have left.
        let _ = result.send(f());
    };
    std::thread::Builder::new()
        .spawn(body)
        .map_err(|e| failed(format!("no thread for the ordering: {e}")))?;
    loop {
        match receiver.recv_timeout(PAUSE) {
            Ok(found) => return Ok(found),
            Err(RecvTimeoutError::Disconnected) => return Err(failed("the ordering failed".into())),
            Err(RecvTimeoutError::Timeout) if stop.check().is_some() => return Err(LinSolError::Stopped),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn large_orderings_stop_at_once() {
        // A grid of 600 x 600: nested dissection takes seconds.
        let side = 600;
        let n = side * side;
        let (mut ptr, mut idx) = (vec![0usize], Vec::new());
        for v in 0..n {
            idx.push(v);
            idx.extend((v % side + 1 < side).then_some(v + 1));
            idx.extend((v + side < n).then_some(v + side));
            ptr.push(idx.len());
        }
        let stop = StopToken { deadline: Some(Instant::now()), ..StopToken::default() };
        let begin = Instant::now();
        assert_eq!(minimum_degree(n, &ptr, &idx, &stop), Err(LinSolError::Stopped));
        assert!(begin.elapsed() < Duration::from_millis(500));
        // A failing ordering is an error, not a panic of the caller.
        let panics = interruptible(&StopToken::default(), || -> () { panic!("a test") });
        assert!(matches!(panics, Err(LinSolError::TooLarge { .. })));
        assert_eq!(interruptible(&StopToken::default(), || 3), Ok(3));
    }
}
