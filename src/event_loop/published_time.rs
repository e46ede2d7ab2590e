//! What a node's clock publishes for the system's clock.

use meantime_core::ClockReading;

use crate::clock::PublishedTime;

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
