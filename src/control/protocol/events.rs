//! The event log of a node.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::report::word;

word! {
    /// How important an event is.
    EventLevel {
        /// Part of normal operation.
        Info = "info",
        /// An operator should look at it.
        Warning = "warning",
    }
}

/// An event of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventEntry {
    /// The number of the event, from 1.
    pub number: u64,
    /// Cluster time at the node, as RFC 3339 in UTC.
    pub time: String,
    /// The kind of the event, in snake case.
    pub event: Cow<'static, str>,
    /// How important it is.
    pub level: EventLevel,
    /// The event in a sentence.
    pub text: String,
    /// The name of the client that it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The address of the client or peer that it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// The response to `events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsResponse {
    /// The version of the protocol.
    pub version: u32,
    /// The number of the newest event; 0: there was none.
    pub newest_event: u64,
    /// The events, oldest first.
    pub events: Vec<EventEntry>,
}
