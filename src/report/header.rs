//! The fields that every event and the answer to a status request begin with.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::rfc3339;
use crate::clock::HostRaw;
use meantime_core::ClockReading;

/// What was reported, and the node's clock at that moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventHeader {
    /// The kind of the event, in snake case.
    pub event: Cow<'static, str>,
    /// Cluster time at this node, as RFC 3339 in UTC.
    pub time: String,
    /// The host's oscillator, read at the same moment.
    pub raw_ns: i64,
    /// Cluster time at this node, in nanoseconds since 1970.
    pub cluster_ns: i64,
    /// One standard deviation of the clock's estimated distance from cluster time; `None`: unknown.
    pub error_ns: Option<i64>,
    /// The clock's guaranteed maximum distance from cluster time; `None`: unknown.
    pub bound_ns: Option<i64>,
}

impl EventHeader {
    /// The header of an event of this kind. `host` and `reading` were read together.
    pub fn new(event: &'static str, host: HostRaw, reading: &ClockReading) -> EventHeader {
        EventHeader {
            event: Cow::Borrowed(event),
            time: rfc3339(reading.time),
            raw_ns: host.as_nanos(),
            cluster_ns: reading.time.as_nanos(),
            error_ns: reading.error.map(meantime_core::time::Span::as_nanos),
            bound_ns: reading.bound.map(meantime_core::time::Span::as_nanos),
        }
    }
}
