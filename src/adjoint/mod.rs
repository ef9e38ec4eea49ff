//! Exact transposes of the steps taken.
