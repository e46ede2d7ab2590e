//! RING 2. Humans: the command line, text and JSON output, logging.

pub mod units;
