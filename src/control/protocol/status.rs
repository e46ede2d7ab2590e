//! The state of a node.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::servers::{ListedServerStatus, ReplicaStatus};
use super::utc::{MissingReferenceStatus, ReferenceStatus, UtcStatus};
use crate::report::{
    AdjustmentMethod, ClockCoverage, ClockState, EventHeader, ExclusionReason, HoldoverCause, RefusalCause,
    RoundSummary, Timestamping, UndecidedCause, UpstreamFaultCause, word,
};

/// The response to `status`: the node, and the clients of a server. The list comes last, because the node
/// writes it in pieces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusResponse {
    /// The node.
    #[serde(flatten)]
    pub status: Status,
    /// The clients of a server. The response of a client has no such field.
    #[serde(default)]
    pub clients: Vec<ClientRow>,
}

/// The state of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The node's clock. The kind of the event is `status`.
    #[serde(flatten)]
    pub header: EventHeader,
    /// The version of the protocol.
    pub version: u32,
    /// The number of the newest event of the log.
    pub newest_event: u64,
    /// What only a server or only a client states.
    #[serde(flatten)]
    pub node: NodeStatus,
}

/// A server or a client, by its field `role`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum NodeStatus {
    /// A server.
    Server(Box<ServerStatus>),
    /// A client.
    Client(Box<ClientStatus>),
}

/// The state of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// The state of its own clock.
    pub state: ClockState,
    /// The cluster whose time it keeps, in hexadecimal; zeros: none yet.
    pub cluster: String,
    /// The server's name; empty: a server that does not state it yet.
    #[serde(default)]
    pub name: String,
    /// Why the cluster has no time; `None`: it has one.
    #[serde(default)]
    pub undecided: Option<UndecidedCause>,
    /// The maximum time for which the server still waits for its clients before it decides; `None`: it does
    /// not wait.
    #[serde(default)]
    pub waits_ns: Option<i64>,
    /// The time from one round to the next.
    pub interval_ns: i64,
    /// The rate of cluster time over the server's oscillator, minus one.
    pub frequency_ppb: f64,
    /// One standard deviation of that; `None`: unknown.
    pub frequency_error_ppb: Option<f64>,
    /// Why the vote leaves the server's own clock out, if it does.
    pub excluded: Option<ExclusionReason>,
    /// The names, addresses and networks that are removed from the vote, and of which no client is registered
    /// now.
    pub removed_and_gone: Vec<String>,
    /// The names, addresses and networks that are banned.
    #[serde(default)]
    pub banned: Vec<String>,
    /// The guaranteed maximum distance of the server's own clock from cluster time; `None`: unknown.
    pub own_bound_ns: Option<i64>,
    /// How often the server has begun to correct its members to a time beyond bounds that they had stated.
    #[serde(default)]
    pub bounds_broken: u64,
    /// Exchanges with each client in a round.
    pub burst: u8,
    /// Datagrams for which the server's socket had no room.
    pub datagrams_lost: u64,
    /// The manual time adjustment that is scheduled or under way.
    pub manual_adjustment: Option<ManualAdjustmentStatus>,
    /// The timestamp source.
    pub timestamps: Timestamping,
    /// The result of the last round; `None`: no round is over.
    pub last_round: Option<LastRound>,
    /// How the cluster's time stands to UTC; `None`: no reference is offered, and none is followed.
    #[serde(default)]
    pub utc: Option<UtcStatus>,
    /// The references that the server is to follow by name, or to offer itself, and that are missing.
    #[serde(default)]
    pub missing_references: Vec<MissingReferenceStatus>,
    /// The client by which a relay follows the server above; `None`: this server is no relay.
    #[serde(default)]
    pub upstream: Option<Box<ClientStatus>>,
    /// Its role among several servers; `None`: it is the only one.
    #[serde(default)]
    pub replica: Option<Box<ReplicaStatus>>,
}

/// The state of a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientStatus {
    /// The state of its clock.
    pub state: ClockState,
    /// The address of its server; `None`: unknown.
    pub server: Option<SocketAddr>,
    /// Whether it is registered there.
    pub registered: bool,
    /// The servers of its list, of which it follows one; empty: there is one only.
    #[serde(default)]
    pub servers: Vec<ListedServerStatus>,
    /// The cluster whose time it has, in hexadecimal; zeros: none.
    pub cluster: String,
    /// The time from one round to the next; `None`: not registered.
    pub interval_ns: Option<i64>,
    /// Whether its server has no cluster time yet; `None`: not registered, or an older client.
    #[serde(default)]
    pub server_undecided: Option<bool>,
    /// How many servers are above its server in a tree of relays; `None`: not registered, or not told yet.
    #[serde(default)]
    pub server_level: Option<u8>,
    /// Why the client of a relay takes no time from its server; `None`: it does, or this is no relay's.
    #[serde(default)]
    pub upstream_fault: Option<UpstreamFaultCause>,
    /// The rate of cluster time over the client's oscillator, minus one.
    pub frequency_ppb: f64,
    /// One standard deviation of that; `None`: unknown.
    pub frequency_error_ppb: Option<f64>,
    /// Why the clock is in holdover, if it is.
    pub holdover: Option<HoldoverCause>,
    /// The time since a datagram of the server arrived; `None`: not registered.
    pub heard_ago_ns: Option<i64>,
    /// The last correction that it has followed.
    pub last_correction: Option<LastCorrection>,
    /// The last correction that it has refused; `None`: it has followed one since, or refused none.
    #[serde(default)]
    pub refused_correction: Option<RefusedCorrection>,
    /// The manual time adjustment that is scheduled or under way.
    pub manual_adjustment: Option<ManualAdjustmentStatus>,
    /// The timestamp source.
    pub timestamps: Timestamping,
    /// The system's time at the same moment, if the node steers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_ns: Option<i64>,
}

/// The result of the last round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastRound {
    /// What the event `round_ended` has reported.
    #[serde(flatten)]
    pub summary: RoundSummary,
    /// The time since the round ended.
    pub ago_ns: Option<i64>,
}

/// A manual time adjustment that is not over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManualAdjustmentStatus {
    /// By how much.
    pub amount_ns: i64,
    /// Step or slew.
    pub adjustment: AdjustmentMethod,
    /// The time until it begins; zero: it has begun.
    pub starts_in_ns: i64,
    /// The time until it is over.
    pub ends_in_ns: i64,
}

/// A correction that a client has followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastCorrection {
    /// The number of the round.
    pub round: u32,
    /// What was added to the clock.
    pub added_ns: i64,
    /// Step or slew.
    pub adjustment: AdjustmentMethod,
    /// The round-trip delay of the measurement.
    pub delay_ns: i64,
    /// The time since then.
    pub ago_ns: i64,
}

/// A correction that a client has refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedCorrection {
    /// The number of the round; 0: it was a manual time adjustment.
    pub round: u32,
    /// What the server asked to add.
    pub correction_ns: i64,
    /// What it would have added to the clock; `None`: the refusal is of a frequency.
    pub refused_ns: Option<i64>,
    /// The largest step that the client accepts; `None`: the refusal is not of a large step.
    pub limit_ns: Option<i64>,
    /// Why.
    pub reason: RefusalCause,
    /// The time since then.
    pub ago_ns: i64,
}

/// The name and the address of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerIdentity {
    /// The name that it gives itself; may be empty.
    pub name: String,
    /// Its address.
    pub address: SocketAddr,
}

/// A client in the list of its server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientRow {
    /// The name that it gives itself; may be empty.
    pub name: String,
    /// Its address.
    pub address: SocketAddr,
    /// The number of the key that it used last; 0: there are no keys.
    pub key: u16,
    /// The unit whose votes it shares: an address or network, `key of NAME`, or `server's machine`.
    #[serde(default)]
    pub group: String,
    /// The label that it has stated (`--group`); may be empty.
    #[serde(default)]
    pub label: String,
    /// The label that counts for its group: the first that one of its members has stated; may be empty.
    #[serde(default)]
    pub counted_label: String,
    /// What it counted in the last round, in votes.
    #[serde(default)]
    pub weight: f64,
    /// The state of its clock, as it states it.
    pub state: ClockState,
    /// Its clock minus cluster time, as last measured, before it was corrected.
    pub offset_ns: Option<i64>,
    /// One standard deviation of such measurements.
    pub offset_error_ns: Option<i64>,
    /// The round-trip delay of that measurement.
    pub delay_ns: Option<i64>,
    /// The time since that measurement.
    pub measured_ago_ns: Option<i64>,
    /// Its estimated error, as it states it.
    pub error_ns: Option<i64>,
    /// Its bound, as it states it.
    pub bound_ns: Option<i64>,
    /// Whether the guarantee of the last round covers it, or why it does not.
    pub coverage: ClockCoverage,
    /// The rate of its clock over its oscillator, minus one, without the common rate command.
    pub frequency_ppb: Option<f64>,
    /// One standard deviation of that.
    pub frequency_error_ppb: Option<f64>,
    /// In how many of the last rounds it was heard.
    pub heard: u32,
    /// How many of the last rounds have probed it: up to eight.
    pub rounds: u8,
    /// In which of these rounds it was heard.
    pub heard_rounds: HeardRounds,
    /// Whether the vote counts it.
    pub vote: Vote,
    /// Why the vote leaves it out, if it does.
    pub excluded: Option<ExclusionReason>,
    /// Its reference; `None`: it offers none.
    #[serde(default)]
    pub reference: Option<ReferenceStatus>,
    /// The time since it was registered.
    pub admitted_ago_ns: i64,
    /// The time since a datagram of it arrived.
    pub heard_ago_ns: i64,
}

word! {
    /// Whether the vote counts a clock.
    Vote {
        /// It counts.
        In = "in",
        /// It is left out, for the reason in `excluded`.
        Out = "out",
        /// The clock has no vote: it has no cluster time, or has not agreed for 24 rounds yet.
        None = "none",
    }
}

/// In which of the last eight rounds a client was heard: a bit for each, the newest is the lowest. As text a
/// digit for each, the newest last: `00001011`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HeardRounds(pub u8);

impl HeardRounds {
    /// Whether the client was heard in the newest round.
    pub fn newest(self) -> bool {
        self.0 & 1 == 1
    }

    /// Whether the client was heard in none of the last two rounds.
    pub fn is_silent(self) -> bool {
        self.0 & 0b11 == 0
    }
}

impl From<HeardRounds> for String {
    fn from(rounds: HeardRounds) -> String {
        format!("{:08b}", rounds.0)
    }
}

impl TryFrom<String> for HeardRounds {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<HeardRounds, std::num::ParseIntError> {
        u8::from_str_radix(&text, 2).map(HeardRounds)
    }
}

impl StatusResponse {
    /// The server's state, if the node is a server.
    pub fn server(&self) -> Option<&ServerStatus> {
        self.status.server()
    }
}

impl Status {
    /// The server's state, if the node is a server.
    pub fn server(&self) -> Option<&ServerStatus> {
        match &self.node {
            NodeStatus::Server(server) => Some(server),
            NodeStatus::Client(_) => None,
        }
    }

    /// The client's state, if the node is a client.
    pub fn client(&self) -> Option<&ClientStatus> {
        match &self.node {
            NodeStatus::Server(_) => None,
            NodeStatus::Client(client) => Some(client),
        }
    }

    /// The role of the node: `server` or `client`.
    pub fn role(&self) -> &'static str {
        match &self.node {
            NodeStatus::Server(_) => "server",
            NodeStatus::Client(_) => "client",
        }
    }

    /// The state of the node's clock.
    pub fn state(&self) -> &ClockState {
        match &self.node {
            NodeStatus::Server(server) => &server.state,
            NodeStatus::Client(client) => &client.state,
        }
    }

    /// The cluster whose time the node has, in hexadecimal.
    pub fn cluster(&self) -> &str {
        match &self.node {
            NodeStatus::Server(server) => &server.cluster,
            NodeStatus::Client(client) => &client.cluster,
        }
    }

    /// The time from one round to the next; `None`: unknown.
    pub fn interval_ns(&self) -> Option<i64> {
        match &self.node {
            NodeStatus::Server(server) => Some(server.interval_ns),
            NodeStatus::Client(client) => client.interval_ns,
        }
    }

    /// The rate of cluster time over the node's oscillator, minus one.
    pub fn frequency_ppb(&self) -> f64 {
        match &self.node {
            NodeStatus::Server(server) => server.frequency_ppb,
            NodeStatus::Client(client) => client.frequency_ppb,
        }
    }

    /// The timestamp source.
    pub fn timestamps(&self) -> &Timestamping {
        match &self.node {
            NodeStatus::Server(server) => &server.timestamps,
            NodeStatus::Client(client) => &client.timestamps,
        }
    }

    /// The manual time adjustment that is scheduled or under way.
    pub fn manual_adjustment(&self) -> Option<&ManualAdjustmentStatus> {
        match &self.node {
            NodeStatus::Server(server) => server.manual_adjustment.as_ref(),
            NodeStatus::Client(client) => client.manual_adjustment.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples;
    use super::*;

    #[test]
    fn a_status_is_read_as_it_is_written() {
        let server = StatusResponse { status: examples::server(), clients: vec![examples::row("a", 1)] };
        let text = serde_json::to_string(&server).unwrap();
        assert_eq!(serde_json::from_str::<StatusResponse>(&text).unwrap(), server);
        let text = serde_json::to_string(&examples::client()).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), examples::client());
        assert!(serde_json::from_str::<StatusResponse>(&text).unwrap().clients.is_empty());
    }

    #[test]
    fn fields_stand_in_a_fixed_order_and_the_list_last() {
        let server = StatusResponse { status: examples::server(), clients: vec![] };
        let text = serde_json::to_string(&server).unwrap();
        let start = "{\"event\":\"status\",\"time\":\"2026-01-31T16:30:00.000000000Z\",\"raw_ns\":77,\
                     \"cluster_ns\":1769877000000000000,\"error_ns\":250,\"bound_ns\":110000,\"version\":1,\
                     \"newest_event\":7,\"role\":\"server\",\"state\":\"synchronized\",\"cluster\":";
        assert!(text.starts_with(start) && text.ends_with(",\"clients\":[]}"), "{text}");
    }

    #[test]
    fn the_status_of_a_newer_node_is_readable() {
        let mut value = serde_json::to_value(examples::server()).unwrap();
        value["new_field"] = 7.into();
        value["state"] = "free_running".into();
        value["last_round"]["outcome"] = "postponed".into();
        let status: Status = serde_json::from_value(value).unwrap();
        assert_eq!(status.state().as_str(), "free_running");
        let round = status.server().unwrap().last_round.as_ref().unwrap();
        assert_eq!(round.summary.outcome.as_str(), "postponed");
    }

    #[test]
    fn the_rounds_in_which_a_client_was_heard_are_digits() {
        let heard = HeardRounds(0b1011);
        assert_eq!(serde_json::to_string(&heard).unwrap(), "\"00001011\"");
        assert_eq!(serde_json::from_str::<HeardRounds>("\"00001011\"").unwrap(), heard);
        assert!(serde_json::from_str::<HeardRounds>("\"2\"").is_err());
        assert!(heard.newest() && !heard.is_silent() && HeardRounds(0b100).is_silent());
    }
}
