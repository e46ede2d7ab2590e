//! What a node answers: the fields that all responses share, errors, and the results of commands.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::status::PeerIdentity;
use crate::report::AdjustmentMethod;

/// What every response contains. A reader checks it before it reads the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The version of the protocol; `None`: the answer is none of this protocol.
    #[serde(default)]
    pub version: Option<u32>,
    /// Why the node has refused the request.
    #[serde(default)]
    pub error: Option<String>,
}

/// The response to a request that the node refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorResponse {
    /// The version of the protocol.
    pub version: u32,
    /// The reason, in a sentence.
    pub error: String,
}

/// The response to `remove`, `pin`, `ban` and `unban`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientsChangeResponse {
    /// The name, the address or the network that it is about, as the server has understood it.
    pub member: String,
    /// How many clients of it are registered; of `ban`: were registered until now.
    pub count: usize,
    /// The first sixteen of them.
    pub clients: Vec<PeerIdentity>,
    /// False: nothing has changed, because it was so already.
    pub changed: bool,
    /// Of `unban`: the names and networks whose bans were lifted, the first sixteen of them; else empty.
    #[serde(default)]
    pub lifted: Vec<String>,
    /// The version of the protocol.
    pub version: u32,
}

/// The response to `takeover`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakeoverResponse {
    /// The place in the list of the server that takes over, from 1.
    pub successor: u8,
    /// Its name or address in the list.
    pub name: String,
    /// Its address; `None`: unknown.
    pub address: Option<SocketAddr>,
    /// The version of the protocol.
    pub version: u32,
}

/// The response to `set_time`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduledAdjustment {
    /// By how much the cluster's time will be adjusted.
    pub amount_ns: i64,
    /// Step or slew.
    pub adjustment: AdjustmentMethod,
    /// The time until it begins.
    pub starts_in_ns: Option<i64>,
    /// How long it takes; zero: a step.
    pub takes_ns: i64,
    /// The new cluster, in hexadecimal, if there was no cluster time and the request has founded it. Then
    /// `amount_ns` is what was added to the server's own clock.
    #[serde(default)]
    pub founded: Option<String>,
    /// The version of the protocol.
    pub version: u32,
}
