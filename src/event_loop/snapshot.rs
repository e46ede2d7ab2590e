//! A node's clock and the host's oscillator, read together.

use meantime_core::time::Timestamp;
use meantime_core::{ClockReading, Node};

use crate::clock::{HostRaw, NodeClock, PublishedTime};
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

/// A node's reading as the time that the system's clock may follow.
pub(super) fn published_time(reading: &ClockReading) -> PublishedTime {
    PublishedTime {
        time: reading.time,
        is_cluster_time: reading.state.has_cluster_time(),
        error: reading.error,
        bound: reading.bound,
        frequency: reading.frequency,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meantime_core::time::{Raw, Span};
    use meantime_core::wire::ClientState;

    #[test]
    fn the_system_clock_may_follow_a_synchronized_node_and_one_in_holdover() {
        let bound = Some(Span::from_micros(110));
        let reading =
            |state| ClockReading { state, bound, ..ClockReading::unsynchronized(Raw::from_nanos(7)) };
        assert!(!published_time(&reading(ClientState::Unsynchronized)).is_cluster_time);
        for state in [ClientState::Synchronized, ClientState::Holdover] {
            let published = published_time(&reading(state));
            assert!(published.is_cluster_time);
            assert_eq!((published.time.as_nanos(), published.bound), (7, bound));
        }
    }
}
