//! RING 2. Humans: the command line, text and JSON output, logging.

mod failure;
pub mod simulate;
pub mod units;

pub use failure::Failure;
