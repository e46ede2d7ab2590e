//! What the fuzz targets share: an input read piece by piece, and a small cluster whose datagrams, clocks and
//! processes the input controls. Its nodes are hosts of the simulator's testkit.

pub mod bytes;
pub mod cluster;

pub use bytes::Bytes;
pub use cluster::{NodeUnderTest, run};
