//! The time that a node publishes, as far as a clock that follows it must know.

use meantime_core::time::{Frequency, Span, Timestamp};

/// A node's published time at one reading of its oscillator.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PublishedTime {
    /// The published time.
    pub time: Timestamp,
    /// Whether it is the cluster's time; no other may be followed.
    pub is_cluster_time: bool,
    /// The estimated error, one standard deviation.
    pub error: Option<Span>,
    /// The guaranteed maximum error.
    pub bound: Option<Span>,
    /// The rate over the oscillator, minus one, without any slew.
    pub frequency: Frequency,
}
