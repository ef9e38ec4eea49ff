//! Fields with pullbacks.
