//! Ctrl-C: the first asks the solver to stop, the second ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Failure;

/// Exit code of a process ended by a second Ctrl-C (128 + SIGINT).
const SECOND: i32 = 130;

/// Installs the handler and returns the flag that it raises.
pub fn install() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&flag);
    ctrlc::set_handler(move || {
        if raised.swap(true, Ordering::Relaxed) {
            std::process::exit(SECOND);
        }
    })
    .map_err(|e| Failure(format!("cannot install the interrupt handler: {e}")))?;
    Ok(flag)
}
