//! The configuration of a node, and its defaults.

use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::IpNet;

use crate::estimation::bound::DRIFT_ALLOWANCE;
use crate::roles::rank::Rank;
use crate::roles::server_role::Quorum;
use crate::saved_state::KeptTime;
use crate::time::{Frequency, Span};
use crate::wire::Name;
use crate::{MasterKeys, NodeKeys, PlausibleTimes};

/// The configuration of a server.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerConfig {
    /// The name of the server's own clock among the members.
    pub name: Name,
    /// From one round to the next.
    pub interval: Span,
    /// Exchanges with each member in each round, 1 to 32.
    pub burst: u8,
    /// The maximum number of clients at a time.
    pub max_clients: usize,
    /// The maximum number of clients at one address (IPv6: in one /64, which one machine may have). Clients
    /// on the loopback interface are not limited.
    pub max_clients_per_address: usize,
    /// The addresses of one machine: the length of their common prefix, 1 to 32 for IPv4, 1 to 128 for IPv6.
    pub ipv4_machine_prefix: u8,
    /// See [`ipv4_machine_prefix`](ServerConfig::ipv4_machine_prefix).
    pub ipv6_machine_prefix: u8,
    /// The addresses of the server's own machine, as far as they are known: clients there share its vote.
    pub own_addresses: Vec<IpAddr>,
    /// How many votes the clients of one machine have together at most, at least 1; for those without a key
    /// of their own, and those on the server's machine.
    pub votes_per_address: usize,
    /// The label of the server's own machine; empty: none. Machines with the same label share one vote.
    pub label: Name,
    /// The maximum number of clients in one network: IPv4 /24, IPv6 /48.
    pub max_clients_per_network: usize,
    /// The networks from which datagrams are handled; empty: all.
    pub allow: Vec<IpNet>,
    /// The networks from which datagrams are not handled, even if `allow` contains them.
    pub deny: Vec<IpNet>,
    /// With keys: the names of clients that are not admitted. Without keys a name proves nothing, and this
    /// has no effect.
    pub deny_names: Vec<Name>,
    /// The keys; with any, only what is tagged is read and answered.
    pub keys: MasterKeys,
    /// Exchanges with a longer delay are not used. Half of this is the maximum error that an on-path attacker
    /// can cause in a reading.
    pub max_delay: Span,
    /// The maximum number of probes per second in a round, not 0; those of extra bursts are not included.
    pub probe_rate: u32,
    /// With at most so many clients, each one's measurements and corrections are reported as events.
    pub per_client_event_limit: usize,
    /// The first vote leaves out readings farther than this from the median.
    pub radius: Span,
    /// Clocks that show another time have no vote.
    pub plausible: PlausibleTimes,
    /// The rate of the cluster's time over the server's oscillator, minus one, if it is known from an earlier
    /// run; and one standard deviation of that.
    pub initial_frequency: Option<(Frequency, Frequency)>,
    /// Whether the server is a relay: its time is given by
    /// [`set_external_time`](crate::Server::set_external_time), and neither the vote nor the members'
    /// frequencies change it. For a server whose machine is a client of another server.
    pub relay: bool,
    /// The longest lead of relays that the server honours: for how long, at most, a manual time adjustment is
    /// announced for the sake of the members below its relays. Zero: it has no relays. Any member can state a
    /// lead, and make operators wait for so long.
    pub max_relay_lead: Span,
    /// The cluster time that the oscillator shows at the start, if the server has kept it over a restart.
    pub kept: Option<KeptTime>,
    /// The references that lead the cluster's time.
    pub follow_references: FollowedReferences,
    /// How fast they lead it.
    pub leading: LeadingConfig,
    /// Whether the server offers a reference that its own machine has.
    pub offers_reference: bool,
    /// Its place among several servers; `None`: it is the only one.
    pub place: Option<ServerPlace>,
}

/// The place of a server among several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerPlace {
    /// Its own.
    pub rank: Rank,
    /// The length of the list, at least 2.
    pub servers: u8,
    /// How many of the members that it knew it must hear to be active.
    pub quorum: Quorum,
}

/// The references that a server follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FollowedReferences {
    /// None.
    #[default]
    None,
    /// Those of all members.
    Any,
    /// Those of the members with these names.
    Named(Vec<Name>),
}

impl FollowedReferences {
    /// Whether the reference of the member with this name is followed.
    pub fn includes(&self, name: &Name) -> bool {
        match self {
            FollowedReferences::None => false,
            FollowedReferences::Any => true,
            FollowedReferences::Named(names) => names.contains(name),
        }
    }
}

/// How fast references lead the cluster's time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeadingConfig {
    /// The maximum rate over UTC.
    pub max_rate: Frequency,
    /// The maximum that is led in 24 hours.
    pub daily: Span,
}

impl Default for LeadingConfig {
    /// 50 ppm, and a second a day.
    fn default() -> LeadingConfig {
        LeadingConfig { max_rate: Frequency::from_ppm(50.0), daily: Span::from_secs(1) }
    }
}

impl Default for ServerConfig {
    fn default() -> ServerConfig {
        ServerConfig {
            name: Name::new("server"),
            interval: Span::from_secs(5),
            burst: 4,
            max_clients: 10_000,
            max_clients_per_address: 256,
            ipv4_machine_prefix: 32,
            ipv6_machine_prefix: 64,
            own_addresses: Vec::new(),
            votes_per_address: 1,
            label: Name::default(),
            max_clients_per_network: usize::MAX,
            allow: Vec::new(),
            deny: Vec::new(),
            deny_names: Vec::new(),
            keys: MasterKeys::default(),
            max_delay: MAX_DELAY,
            probe_rate: PROBE_RATE,
            per_client_event_limit: 1_000,
            radius: Span::from_secs(30),
            plausible: PlausibleTimes::default(),
            initial_frequency: None,
            relay: false,
            max_relay_lead: Span::ZERO,
            kept: None,
            follow_references: FollowedReferences::None,
            leading: LeadingConfig::default(),
            offers_reference: false,
            place: None,
        }
    }
}

impl ServerConfig {
    /// A client that has sent nothing for so long sends a heartbeat: one interval.
    pub fn heartbeat(&self) -> Span {
        self.interval
    }

    /// Silence for so long ends a registration: three intervals, and half of one so that the third heartbeat
    /// can arrive.
    pub fn lifetime(&self) -> Span {
        self.interval.times(3) + self.interval.half()
    }
}

/// The configuration of a client.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientConfig {
    /// The name of this node.
    pub name: Name,
    /// The label of this machine; empty: none. Machines with the same label share one vote.
    pub label: Name,
    /// After the first synchronization, corrections beyond this are stepped, smaller ones slewed.
    pub step_threshold: Span,
    /// Once a correction was followed without a step, and so has confirmed the first, steps beyond this are
    /// refused; zero: all.
    pub max_step: Span,
    /// Until then, steps that lead farther than this from where the clock was at first are refused; `None`:
    /// none are.
    pub panic: Option<Span>,
    /// The maximum frequency of the clock over its oscillator.
    pub max_frequency: Frequency,
    /// Corrections to another time are refused.
    pub plausible: PlausibleTimes,
    /// How far the oscillator may depart from its learned frequency beyond what the estimate's uncertainty
    /// says: the assumption under the guaranteed bound.
    pub drift_allowance: Frequency,
    /// The length of the list of servers, at least 1. With several, the client follows one of them by the
    /// rules of [`roles`](crate::roles).
    pub servers: u8,
    /// Of the client by which a server of several follows the active one: the place of that server in the
    /// list; `None`: it is no server's client.
    pub own_rank: Option<Rank>,
    /// This node's keys: one ring for each server of the list, or one for all; with any, only what is tagged
    /// is believed.
    pub keys: Vec<NodeKeys>,
    /// Exchanges with a longer delay are not used.
    pub max_delay: Span,
    /// The delay from the server minus the delay to the server, if the operator knows it; half of it corrects
    /// every exchange.
    pub asymmetry: Span,
    /// The rate of the cluster's time over this node's oscillator, minus one, if it is known from an earlier
    /// run; and one standard deviation of that.
    pub initial_frequency: Option<(Frequency, Frequency)>,
    /// Whether this node offers a reference that its machine has.
    pub offers_reference: bool,
}

impl Default for ClientConfig {
    fn default() -> ClientConfig {
        ClientConfig {
            name: Name::default(),
            label: Name::default(),
            step_threshold: STEP_THRESHOLD,
            max_step: MAX_STEP,
            panic: None,
            max_frequency: MAX_FREQUENCY,
            plausible: PlausibleTimes::default(),
            drift_allowance: DRIFT_ALLOWANCE,
            servers: 1,
            own_rank: None,
            keys: Vec::new(),
            max_delay: MAX_DELAY,
            asymmetry: Span::ZERO,
            initial_frequency: None,
            offers_reference: false,
        }
    }
}

impl ClientConfig {
    /// Whether this node has keys.
    pub fn has_keys(&self) -> bool {
        self.keys.iter().any(|keys| !keys.is_empty())
    }

    /// This node's keys with the server of this rank; if other servers have keys and this one has none,
    /// nothing that it sends is believed.
    pub fn keys_of(&self, rank: Rank) -> &NodeKeys {
        static NONE: NodeKeys = NodeKeys::NONE;
        let keys =
            if self.keys.len() > 1 { self.keys.get(usize::from(rank.place())) } else { self.keys.first() };
        keys.unwrap_or(&NONE)
    }
}

/// A server sends so many in two thirds of a core's time (docs/PERFORMANCE.md); 14 MB a second on an
/// Ethernet.
pub const PROBE_RATE: u32 = 100_000;

/// Longer than the round trip of any network: over a satellite it is 0.6 s. A longer delay is a queue.
pub const MAX_DELAY: Span = Span::from_secs(2);

/// In intervals: after so long no member follows the server any more from which another one has taken over.
pub(crate) const TAKEN_OVER_FOR: i64 = 4;

/// For so many rounds a server that follows sends no corrections: long enough to learn the members'
/// frequency.
pub const SILENT_ROUNDS: u32 = 24;

/// Larger differences than this would take longer than four minutes to slew: step.
pub const STEP_THRESHOLD: Span = Span::from_millis(128);

/// A clock that followed a cluster and is off by hours may come from a machine that was frozen and went on;
/// it should recover by itself. If it is off by more than a day, the operator should find out why.
pub const MAX_STEP: Span = Span::from_secs(86_400);

/// No working crystal is farther off, and no operating system allows a larger correction of its clock's
/// frequency.
pub const MAX_FREQUENCY: Frequency = Frequency::from_ppm(500.0);
