//! Snapshots of a node's state, for operators and monitoring programs.
//!
//! Plain data, taken by [`Server::view`](super::Server::view) and [`Client::view`](super::Client::view).
//! Taking one changes nothing.

use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

use ipnet::IpNet;

use super::consensus::Weight;
use super::coverage::Coverage;
use super::event::{
    Adjustment, Exclusion, HoldoverReason, Peer, Refusal, RoundReport, UndecidedReason, UpstreamFault,
};
use crate::peer::ClientSelector;
use crate::reference::{MissingReason, ReferenceStanding, UtcState};
use crate::roles::rank::Rank;
use crate::roles::server_role::Quorum;
use crate::roles::statement::ServerStatement;
use crate::time::{Correction, Frequency, Offset, Span, Timestamp};
use crate::wire::{ClientState, ClusterId, KeyId, ManualAdjustment, Name};

/// A server and its cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerView {
    /// The cluster whose time the server keeps; 0: none yet.
    pub cluster: ClusterId,
    /// Why the cluster has no time; `None`: it has one.
    pub undecided: Option<UndecidedReason>,
    /// The maximum time until the server has waited for its clients, if the cluster has no time because of
    /// that; `None`: it does not wait.
    pub waits: Option<Span>,
    /// The state of the server's own clock.
    pub state: ClientState,
    /// The time from one round to the next.
    pub interval: Span,
    /// The result of the last round; `None`: no round has ended yet.
    pub last_round: Option<RoundReport>,
    /// How long ago the last round ended.
    pub last_round_ago: Option<Span>,
    /// The rate of the cluster's time over the server's oscillator, minus one.
    pub frequency: Frequency,
    /// One standard deviation of its difference from the rate that the members follow; `None`: unknown.
    pub frequency_error: Option<Frequency>,
    /// Why the vote excludes the server's own clock, if it does.
    pub exclusion: Option<Exclusion>,
    /// The manual time adjustment, if it is not complete.
    pub manual_adjustment: Option<ManualAdjustmentView>,
    /// The server's own clock's guaranteed distance from the cluster's time.
    pub bound: Option<Span>,
    /// How often the server has taken a time over that was beyond the bound of a member.
    pub bounds_broken: u64,
    /// Exchanges with each client in a round.
    pub burst: u8,
    /// Datagrams that were lost because the server's machine had no room for them.
    pub lost: u64,
    /// The clients, in the order of the server's table.
    pub members: Vec<MemberView>,
    /// What an operator has removed from the vote, and of which no client is registered now.
    pub removed: Vec<ClientSelector>,
    /// What an operator has banned.
    pub banned: Vec<ClientSelector>,
    /// How the cluster's time stands to UTC; `None`: no reference is offered, and none is followed.
    pub utc: Option<UtcView>,
    /// The references that the server is to follow by name, or to offer itself, and that are missing.
    pub missing_references: Vec<MissingReference>,
}

/// A reference that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingReference {
    /// The name of the member that is to offer it.
    pub name: Name,
    /// Why it is missing.
    pub reason: MissingReason,
}

/// How a cluster's time stands to UTC.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UtcView {
    /// The state.
    pub state: UtcState,
    /// What the cluster's clocks show minus UTC, as a majority of the references states it; `None`: unknown.
    pub offset: Option<Offset>,
    /// The maximum distance of that from the truth.
    pub error: Option<Span>,
    /// How many members offer a reference now, the server included.
    pub offered: usize,
    /// How many of these agree.
    pub agreeing: usize,
    /// The server's own reference; `None`: it has none.
    pub own: Option<ReferenceView>,
}

/// A member's reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReferenceView {
    /// The reference minus what the cluster's clocks show.
    pub offset: Offset,
    /// The maximum distance of the reference from UTC, as the member and the measurement state it.
    pub error: Span,
    /// How long ago it was read.
    pub ago: Span,
    /// What the vote has found about it.
    pub standing: ReferenceStanding,
}

/// A manual time adjustment that is not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManualAdjustmentView {
    /// What it adds to the cluster's time.
    pub amount: Span,
    /// Step or slew.
    pub adjustment: Adjustment,
    /// How long until it begins; zero: it has begun.
    pub starts_in: Span,
    /// How long until it is complete.
    pub ends_in: Span,
}

impl ManualAdjustmentView {
    /// What remains of an adjustment at base time `base`; `None`: there is none, or it is complete.
    pub fn of(manual: &ManualAdjustment, base: Timestamp) -> Option<ManualAdjustmentView> {
        let (starts_in, ends_in) = (manual.start - base, manual.end() - base);
        let adjustment = if manual.step { Adjustment::Step } else { Adjustment::Slew };
        let view = ManualAdjustmentView {
            amount: manual.amount,
            adjustment,
            starts_in: starts_in.max(Span::ZERO),
            ends_in,
        };
        (manual.number != 0 && ends_in > Span::ZERO).then_some(view)
    }
}

/// A unit that fails apart from others: its members share its votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupView {
    /// The server's own machine, its clock and the clients on it.
    ServersMachine,
    /// The node with this name and its own key.
    Node(Name),
    /// The machine at these addresses.
    Machine(IpNet),
}

impl fmt::Display for GroupView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GroupView::ServersMachine => f.write_str("server's machine"),
            GroupView::Node(name) => write!(f, "key of {name}"),
            GroupView::Machine(net) if net.prefix_len() == net.max_prefix_len() => net.addr().fmt(f),
            GroupView::Machine(net) => net.fmt(f),
        }
    }
}

/// A client, as its server knows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemberView {
    /// The client's name and address.
    pub peer: Peer,
    /// The key that it used last; 0: there are no keys.
    pub key: KeyId,
    /// The unit whose votes it shares.
    pub group: GroupView,
    /// The label that it has stated; empty: none.
    pub label: Name,
    /// The label that counts for its group: the first that one of its members has stated; empty: none has.
    /// Groups with the same label share one vote.
    pub counted_label: Name,
    /// What it counted in the last round.
    pub weight: Weight,
    /// The state of its clock, as it states.
    pub state: ClientState,
    /// The result of its last burst; `None`: not measured yet.
    pub measured: Option<MeasuredView>,
    /// One standard deviation of its estimated distance from cluster time, as it states.
    pub error: Option<Span>,
    /// Its guaranteed distance from cluster time, as it states.
    pub bound: Option<Span>,
    /// Whether the guarantee of the last round covers it.
    pub coverage: Coverage,
    /// Whether the vote counts it.
    pub vote: MemberVote,
    /// The frequency of its clock, when that was last known well.
    pub frequency: Option<Frequency>,
    /// One standard deviation of that.
    pub frequency_error: Option<Frequency>,
    /// For each of the last eight rounds, whether it answered; the newest is the lowest bit.
    pub heard: u8,
    /// In how many of these rounds it was probed.
    pub asked: u8,
    /// Why the vote excludes it, if it does.
    pub exclusion: Option<Exclusion>,
    /// Its reference; `None`: it offers none.
    pub reference: Option<ReferenceView>,
    /// How long ago it registered.
    pub admitted_ago: Span,
    /// How long ago the server received the last valid datagram from it.
    pub heard_ago: Span,
}

/// Whether the vote counts a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberVote {
    /// It has a vote.
    In,
    /// The vote leaves it out, for the reason of [`MemberView::exclusion`].
    Out,
    /// It has no vote: its clock has no cluster time, or has not agreed for 24 rounds yet.
    None,
}

/// The result of a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeasuredView {
    /// The client's clock minus cluster time.
    pub offset: Offset,
    /// One standard deviation of that, from the usual scatter of such measurements and this one's delay.
    pub error: Span,
    /// The round-trip delay of the best exchange.
    pub delay: Span,
    /// How long ago.
    pub ago: Span,
}

/// A client, as it knows itself, without its clock's reading ([`Node::read`](crate::Node::read)).
#[derive(Clone, Debug, PartialEq)]
pub struct ClientView {
    /// Its server's address, if that is known.
    pub server: Option<SocketAddr>,
    /// Whether it is registered with that server.
    pub registered: bool,
    /// How many servers are above that server in a tree of relays; `None`: it is not registered, or that is
    /// not told or not so (yet).
    pub server_level: Option<u8>,
    /// Why the client of a relay takes no time from that server, if it does not.
    pub upstream_fault: Option<UpstreamFault>,
    /// The cluster whose time its clock has; 0: none.
    pub cluster: ClusterId,
    /// The time from one of the server's rounds to the next; `None`: not registered.
    pub interval: Option<Span>,
    /// Whether its server has no cluster time yet, as the server has said last; `None`: not registered.
    pub server_undecided: Option<bool>,
    /// The manual time adjustment, if it is not complete.
    pub manual_adjustment: Option<ManualAdjustmentView>,
    /// The last correction that it has followed.
    pub last_correction: Option<CorrectionView>,
    /// The last correction that it has refused; `None`: it has followed one since, or refused none.
    pub refused: Option<RefusalView>,
    /// Why it is in holdover, if it is.
    pub holdover: Option<HoldoverReason>,
    /// How long ago the last valid datagram of the server came; `None`: not registered.
    pub heard_ago: Option<Span>,
    /// All servers of the list but the client's own; empty: there is one only.
    pub servers: Vec<ListedServerView>,
}

/// The role of a server of several, and what it knows of the others.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaView {
    /// Its place in the list.
    pub rank: Rank,
    /// The length of the list.
    pub servers: u8,
    /// How many of the members it must hear to be active.
    pub quorum: Quorum,
    /// What it states.
    pub statement: ServerStatement,
    /// How many members it hears that have all servers, the servers among them.
    pub members: u32,
    /// How many there were at most in the last minutes in which it was active or followed an active server.
    pub known_members: u32,
    /// How many standby servers follow it, if it is active.
    pub standbys: usize,
    /// The other servers.
    pub others: Vec<ListedServerView>,
}

/// A server of several, as a client knows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ListedServerView {
    /// Its place in the list.
    pub rank: Rank,
    /// Its address, if that is known.
    pub address: Option<SocketAddr>,
    /// Whether the client is registered with it.
    pub registered: bool,
    /// What it has stated of its role; `None`: nothing lately.
    pub stated: Option<ServerStatement>,
    /// Whether the client's clock follows it.
    pub followed: bool,
    /// Whether two others contradict it.
    pub distrusted: bool,
    /// How far its clock may be from the cluster's time, as it states; `None`: it does not know that, or is
    /// not heard.
    pub bound: Option<Span>,
    /// How long ago the last valid datagram of it came; `None`: not registered.
    pub heard_ago: Option<Span>,
}

/// A correction that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusalView {
    /// The round; 0: it was a manual time adjustment.
    pub round: u32,
    /// What the server asked to add.
    pub correction: Correction,
    /// What it would have added to the clock; `None`: the refusal is of a frequency.
    pub refused: Option<Correction>,
    /// The largest step that the client would have accepted; `None`: the refusal is not of a large step.
    pub limit: Option<Span>,
    /// Why.
    pub reason: Refusal,
    /// How long ago.
    pub ago: Span,
}

/// A correction that was followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CorrectionView {
    /// What was added, at once or over time.
    pub added: Correction,
    /// Step or slew.
    pub adjustment: Adjustment,
    /// The minimum round-trip delay of the burst.
    pub delay: Span,
    /// The round.
    pub round: u32,
    /// How long ago.
    pub ago: Span,
}
