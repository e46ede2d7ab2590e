//! A node's clock and the host's oscillator, read together.

use meantime_core::time::Timestamp;
use meantime_core::{ClockReading, Node};

use crate::clock::{HostRaw, NodeClock};
use crate::udp::TimestampSource;

/// A node's clock and the host's oscillator, read together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockSnapshot {
    /// The host's oscillator.
    pub host: HostRaw,
    /// The node's clock.
    pub reading: ClockReading,
    /// The timestamp source that it measures with.
    pub timestamps: TimestampSource,
    /// The system's time, if it follows the node's.
    pub system: Option<Timestamp>,
}

impl ClockSnapshot {
    /// Reads the node's clock now.
    pub fn of<N: Node>(node: &N, clock: &impl NodeClock, timestamps: TimestampSource) -> ClockSnapshot {
        let (sample, system) = clock.observe();
        ClockSnapshot { host: sample.host, reading: node.read(sample.now.raw), timestamps, system }
    }
}
