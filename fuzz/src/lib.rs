//! What the fuzz targets share: an input read piece by piece, and a stage on which a server and its clients
//! play while the input decides what happens to their datagrams, their clocks and their processes.

pub mod bytes;
mod puppet;
pub mod stage;

pub use bytes::Bytes;
pub use stage::{Side, play};
