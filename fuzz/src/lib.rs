//! What the fuzz targets share: an input read piece by piece, and small clusters whose datagrams, clocks and
//! processes the input controls: one with one server, whose nodes are hosts of the simulator's testkit, and
//! one with three servers.

pub mod bytes;
pub mod cluster;
pub mod servers;

pub use bytes::Bytes;
pub use cluster::{NodeUnderTest, run};
