//! What a server and a client state of themselves, and the commands that a server carries out.
//!
//! The file system decides who may open the control socket; every command is open to all who can.

use std::borrow::Cow;

use super::protocol::{
    ClientRow, ClientStatus, ClientsChangeResponse, HeardRounds, LastCorrection, LastRound,
    ManualAdjustmentStatus, NodeStatus, PeerIdentity, RefusedCorrection, ScheduledAdjustment, ServerStatus,
    SetTime, TimeTarget, VERSION, Vote,
};
use super::socket_path::Role;
use super::takeover::TakeoverError;
use crate::report::ClockSnapshot;
use crate::report::{AdjustmentMethod, rfc3339, rounded_ppb, rounded_votes};
use meantime_core::consensus::SetTimeError;
use meantime_core::event::{Adjustment, Peer};
use meantime_core::peer::{ClientSelector, ClientsChange};
use meantime_core::roles::rank::Rank;
use meantime_core::server::{BanError, Target, TimeChange, VoteChangeError};
use meantime_core::time::{Now, Span, Timestamp};
use meantime_core::view::{
    ClientView, CorrectionView, ManualAdjustmentView, MemberView, MemberVote, RefusalView, ServerView,
};
use meantime_core::wire::{ClusterId, Name};
use meantime_core::{Client, Node, PlausibleTimes, Relay, Server};

/// A node that can be asked and commanded at a control socket.
pub trait ControlledNode: Node {
    /// Whether it is a server or a client.
    const ROLE: Role;

    /// The state of the node, whose clock was read at `at`.
    fn status(&self, now: Now, at: &ClockSnapshot) -> NodeStatus;

    /// About `max` clients from the slot `first` on; `None`: the node has no list of clients.
    fn clients(&self, now: Now, first: usize, max: usize) -> Option<ClientPage> {
        let _ = (now, first, max);
        None
    }

    /// Takes the votes of clients away.
    ///
    /// # Errors
    /// When the node is no server, or `member` names no client.
    fn remove(&mut self, member: &str) -> Result<ClientsChangeResponse, CommandError> {
        let _ = member;
        Err(CommandError::NotAServer)
    }

    /// Gives clients their votes back.
    ///
    /// # Errors
    /// When the node is no server, or `member` names no client.
    fn pin(&mut self, member: &str) -> Result<ClientsChangeResponse, CommandError> {
        let _ = member;
        Err(CommandError::NotAServer)
    }

    /// Ends the sessions of clients, and admits them no more.
    ///
    /// # Errors
    /// When the node is no server, or it is not clear who is meant.
    fn ban(&mut self, now: Now, member: &str) -> Result<ClientsChangeResponse, CommandError> {
        let _ = (now, member);
        Err(CommandError::NotAServer)
    }

    /// Lifts a ban.
    ///
    /// # Errors
    /// When the node is no server, or `member` is not banned.
    fn unban(&mut self, member: &str) -> Result<ClientsChangeResponse, CommandError> {
        let _ = member;
        Err(CommandError::NotAServer)
    }

    /// Hands the active role over to the standby server of this rank, or else to the best one. Returns its
    /// rank; `None`: the node is no active server of several, or no standby server follows it.
    fn resign(&mut self, now: Now, wanted: Option<Rank>) -> Option<Rank> {
        let _ = (now, wanted);
        None
    }

    /// Schedules a manual adjustment of the cluster's time.
    ///
    /// # Errors
    /// When the node is no server, or the time cannot be set now, or not to that.
    fn set_time(&mut self, now: Now, request: &SetTime) -> Result<ScheduledAdjustment, CommandError> {
        let _ = (now, request);
        Err(CommandError::NotAServer)
    }
}

/// A part of the list of clients.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientPage {
    /// The clients.
    pub rows: Vec<ClientRow>,
    /// The slot at which the next page begins; `None`: this is the last page.
    pub next: Option<usize>,
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Only a server can do it.
    #[error("this is a client; its server knows the cluster: ask there")]
    NotAServer,
    /// No server takes over.
    #[error(transparent)]
    Takeover(#[from] TakeoverError),
    /// The vote of no client was changed.
    #[error("{error}; {advice}", error = .0, advice = vote_advice(.0))]
    Vote(#[from] VoteChangeError),
    /// No client was banned, or no ban lifted.
    #[error("{error}; {advice}", error = .0, advice = ban_advice(.0))]
    Ban(#[from] BanError),
    /// The cluster's time was not set.
    #[error("{error}{advice}", error = .0, advice = time_advice(.0))]
    Time(#[from] SetTimeError),
    /// The cluster's time was not set, because it would be out of this range.
    #[error(
        "{error}; --plausible-from and --plausible-until of the server allow {from} to {until}",
        error = SetTimeError::Implausible, from = date(.0.from()), until = date(.0.until())
    )]
    Implausible(PlausibleTimes),
}

/// The day of a time, in UTC: `2025-06-01`.
fn date(time: Timestamp) -> String {
    rfc3339(time).chars().take_while(|c| *c != 'T').collect()
}

/// What the operator can do when a vote was not changed.
fn vote_advice(error: &VoteChangeError) -> Cow<'static, str> {
    match error {
        VoteChangeError::Standby => ASK_THE_ACTIVE_ONE.into(),
        VoteChangeError::Unknown(_) => "`meantime status` lists all clients".into(),
        VoteChangeError::Within { entry, .. } => {
            format!("give that back (`meantime members pin {}`)", argument(entry)).into()
        }
        VoteChangeError::OwnClock(_) => "run the server on another machine".into(),
        VoteChangeError::OwnClockVotes(_) => "nothing has changed".into(),
        VoteChangeError::TableFull(_) => {
            "give some back first (`meantime members pin NAME`; `meantime status` lists them)".into()
        }
    }
}

/// What the operator can do when no ban has changed.
fn ban_advice(error: &BanError) -> Cow<'static, str> {
    match error {
        BanError::Standby => ASK_THE_ACTIVE_ONE.into(),
        BanError::Unknown(_) => {
            "without keys a client that is not registered is banned by its address; `meantime status` lists all clients"
                .into()
        }
        BanError::Server(_) => "it cannot be banned from itself".into(),
        BanError::NotBanned(_) => "`meantime status` lists what is".into(),
        BanError::Denied(_) => "start the server again without the --deny that denies it".into(),
        BanError::Within { entry, .. } => {
            format!("lift that ban (`meantime members unban {}`)", argument(entry)).into()
        }
        BanError::TableFull(_) => {
            "lift some bans first (`meantime members unban NAME`; `meantime status` lists them), or ban a whole \
             network"
                .into()
        }
    }
}

/// A selector as an argument of a command: quoted if a shell would take it apart.
fn argument(selector: &ClientSelector) -> String {
    let text = selector.to_string();
    let plain = |c: char| c.is_alphanumeric() || "-_.:/@%+".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// What the operator can do when the time was not set; empty: only wait.
fn time_advice(error: &SetTimeError) -> &'static str {
    match error {
        SetTimeError::NoClusterTime => {
            "; say what time it is (`meantime set-time TIME`), or whose clock is right (`--from NAME`)"
        }
        SetTimeError::TakingOver { .. } => "; wait until it has, or add --step to set another time at once",
        SetTimeError::UnknownMember(_) => "; `meantime status` lists all members",
        SetTimeError::SeveralMembers { .. } => "; give its address with the port",
        SetTimeError::NotMeasured(_) | SetTimeError::BeingCorrected(..) => "; try again after the next round",
        SetTimeError::Unsure => "; try again when a round has ended in agreement",
        SetTimeError::SlewTooLong { .. } => "; add --step to set it at once",
        SetTimeError::AwayFromReferences(_) => {
            "; set it nearer to them, or start the server without --follow-references"
        }
        SetTimeError::Standby => "; `meantime status` shows which one that is",
        SetTimeError::InProgress(_)
        | SetTimeError::Zero
        | SetTimeError::Relay
        | SetTimeError::Implausible => "",
    }
}

impl ControlledNode for Server {
    const ROLE: Role = Role::Server;

    fn status(&self, now: Now, at: &ClockSnapshot) -> NodeStatus {
        NodeStatus::Server(Box::new(server_status(self.name(), &self.overview(now), at)))
    }

    fn clients(&self, now: Now, first: usize, max: usize) -> Option<ClientPage> {
        let (members, next) = self.members_from(now, first.try_into().ok()?, max);
        let rows = members.iter().map(ClientRow::from).collect();
        Some(ClientPage { rows, next: next.map(|slot| slot as usize) })
    }

    fn remove(&mut self, member: &str) -> Result<ClientsChangeResponse, CommandError> {
        Ok(self.remove_from_vote(member)?.into())
    }

    fn pin(&mut self, member: &str) -> Result<ClientsChangeResponse, CommandError> {
        Ok(self.pin_to_vote(member)?.into())
    }

    fn ban(&mut self, now: Now, member: &str) -> Result<ClientsChangeResponse, CommandError> {
        Ok(Server::ban(self, now, member)?.into())
    }

    fn unban(&mut self, member: &str) -> Result<ClientsChangeResponse, CommandError> {
        Ok(Server::unban(self, member)?.into())
    }

    fn set_time(&mut self, now: Now, request: &SetTime) -> Result<ScheduledAdjustment, CommandError> {
        let method = match request.method {
            AdjustmentMethod::Step => Adjustment::Step,
            _ => Adjustment::Slew,
        };
        let change = match &request.target {
            TimeTarget::ByNs(by) => Server::set_time(self, now, Target::By(Span::from_nanos(*by)), method),
            TimeTarget::ToNs(to) => {
                Server::set_time(self, now, Target::To(Timestamp::from_nanos(*to)), method)
            }
            TimeTarget::From(member) => self.set_time_from(now, member, method),
        };
        let change = change.map_err(|error| match error {
            SetTimeError::Implausible => CommandError::Implausible(self.plausible_times()),
            error => CommandError::Time(error),
        })?;
        let status = self.overview(now).manual_adjustment;
        Ok(match change {
            TimeChange::Adjusted(scheduled) => ScheduledAdjustment {
                amount_ns: scheduled.amount.as_nanos(),
                adjustment: method.into(),
                starts_in_ns: status.map(|status| status.starts_in.as_nanos()),
                takes_ns: scheduled.length().as_nanos(),
                founded: None,
                version: VERSION,
            },
            TimeChange::Founded { cluster, founded } => ScheduledAdjustment {
                amount_ns: founded.added.span().as_nanos(),
                adjustment: AdjustmentMethod::Step,
                starts_in_ns: Some(0),
                takes_ns: 0,
                founded: Some(hexadecimal(cluster)),
                version: VERSION,
            },
        })
    }
}

/// The clients and commands of a node that is a server and a client: those of its server.
macro_rules! commands_of_its_server {
    () => {
        fn clients(&self, now: Now, first: usize, max: usize) -> Option<ClientPage> {
            ControlledNode::clients(self.server(), now, first, max)
        }

        fn remove(&mut self, member: &str) -> Result<ClientsChangeResponse, CommandError> {
            self.server_mut().remove(member)
        }

        fn pin(&mut self, member: &str) -> Result<ClientsChangeResponse, CommandError> {
            self.server_mut().pin(member)
        }

        fn ban(&mut self, now: Now, member: &str) -> Result<ClientsChangeResponse, CommandError> {
            ControlledNode::ban(self.server_mut(), now, member)
        }

        fn unban(&mut self, member: &str) -> Result<ClientsChangeResponse, CommandError> {
            ControlledNode::unban(self.server_mut(), member)
        }

        fn set_time(&mut self, now: Now, request: &SetTime) -> Result<ScheduledAdjustment, CommandError> {
            ControlledNode::set_time(self.server_mut(), now, request)
        }
    };
}
pub(super) use commands_of_its_server;

/// A relay's commands and clients are those of its server. Its status has that of its client, too.
impl ControlledNode for Relay {
    const ROLE: Role = Role::Server;

    fn status(&self, now: Now, at: &ClockSnapshot) -> NodeStatus {
        let server = self.server();
        let status = server_status(server.name(), &server.overview(now), at);
        let upstream = Some(Box::new(client_status(&self.client().view(now), at)));
        NodeStatus::Server(Box::new(ServerStatus { upstream, ..status }))
    }

    commands_of_its_server!();
}

impl ControlledNode for Client {
    const ROLE: Role = Role::Client;

    fn status(&self, now: Now, at: &ClockSnapshot) -> NodeStatus {
        NodeStatus::Client(Box::new(client_status(&self.view(now), at)))
    }
}

pub(super) fn server_status(name: Name, view: &ServerView, at: &ClockSnapshot) -> ServerStatus {
    let last_round = view.last_round.as_ref();
    ServerStatus {
        name: name.to_string(),
        state: view.state.into(),
        cluster: hexadecimal(view.cluster),
        undecided: view.undecided.map(Into::into),
        waits_ns: view.waits.map(Span::as_nanos),
        interval_ns: view.interval.as_nanos(),
        frequency_ppb: rounded_ppb(view.frequency),
        frequency_error_ppb: view.frequency_error.map(rounded_ppb),
        excluded: view.exclusion.map(Into::into),
        removed_and_gone: view.removed.iter().map(ToString::to_string).collect(),
        banned: view.banned.iter().map(ToString::to_string).collect(),
        own_bound_ns: view.bound.map(Span::as_nanos),
        bounds_broken: view.bounds_broken,
        burst: view.burst,
        datagrams_lost: view.lost,
        manual_adjustment: view.manual_adjustment.as_ref().map(Into::into),
        timestamps: at.timestamps.into(),
        last_round: last_round.map(|report| LastRound {
            summary: report.into(),
            ago_ns: view.last_round_ago.map(Span::as_nanos),
        }),
        utc: view.utc.as_ref().map(Into::into),
        missing_references: view.missing_references.iter().map(Into::into).collect(),
        upstream: None,
        replica: None,
    }
}

fn client_status(view: &ClientView, at: &ClockSnapshot) -> ClientStatus {
    ClientStatus {
        state: at.reading.state.into(),
        server: view.server,
        registered: view.registered,
        servers: view.servers.iter().map(Into::into).collect(),
        cluster: hexadecimal(view.cluster),
        interval_ns: view.interval.map(Span::as_nanos),
        server_undecided: view.server_undecided,
        server_level: view.server_level,
        upstream_fault: view.upstream_fault.map(Into::into),
        frequency_ppb: rounded_ppb(at.reading.frequency),
        frequency_error_ppb: at.reading.frequency_error.map(rounded_ppb),
        holdover: view.holdover.map(Into::into),
        heard_ago_ns: view.heard_ago.map(Span::as_nanos),
        last_correction: view.last_correction.as_ref().map(Into::into),
        refused_correction: view.refused.as_ref().map(Into::into),
        manual_adjustment: view.manual_adjustment.as_ref().map(Into::into),
        timestamps: at.timestamps.into(),
        system_ns: at.system.map(Timestamp::as_nanos),
    }
}

impl From<&MemberView> for ClientRow {
    fn from(member: &MemberView) -> ClientRow {
        let measured = member.measured.as_ref();
        ClientRow {
            name: member.peer.name.as_str().to_owned(),
            address: member.peer.address,
            key: member.key.0,
            group: member.group.to_string(),
            label: member.label.as_str().to_owned(),
            counted_label: member.counted_label.as_str().to_owned(),
            weight: rounded_votes(member.weight),
            state: member.state.into(),
            offset_ns: measured.map(|measured| measured.offset.span().as_nanos()),
            offset_error_ns: measured.map(|measured| measured.error.as_nanos()),
            delay_ns: measured.map(|measured| measured.delay.as_nanos()),
            measured_ago_ns: measured.map(|measured| measured.ago.as_nanos()),
            error_ns: member.error.map(Span::as_nanos),
            bound_ns: member.bound.map(Span::as_nanos),
            coverage: member.coverage.into(),
            frequency_ppb: member.frequency.map(rounded_ppb),
            frequency_error_ppb: member.frequency_error.map(rounded_ppb),
            heard: member.heard.count_ones(),
            rounds: member.asked,
            heard_rounds: HeardRounds(member.heard),
            vote: member.vote.into(),
            excluded: member.exclusion.map(Into::into),
            reference: member.reference.as_ref().map(Into::into),
            admitted_ago_ns: member.admitted_ago.as_nanos(),
            heard_ago_ns: member.heard_ago.as_nanos(),
        }
    }
}

impl From<MemberVote> for Vote {
    fn from(vote: MemberVote) -> Vote {
        match vote {
            MemberVote::In => Vote::In,
            MemberVote::Out => Vote::Out,
            MemberVote::None => Vote::None,
        }
    }
}

impl From<&ManualAdjustmentView> for ManualAdjustmentStatus {
    fn from(view: &ManualAdjustmentView) -> ManualAdjustmentStatus {
        ManualAdjustmentStatus {
            amount_ns: view.amount.as_nanos(),
            adjustment: view.adjustment.into(),
            starts_in_ns: view.starts_in.as_nanos(),
            ends_in_ns: view.ends_in.as_nanos(),
        }
    }
}

impl From<&CorrectionView> for LastCorrection {
    fn from(view: &CorrectionView) -> LastCorrection {
        LastCorrection {
            round: view.round,
            added_ns: view.added.span().as_nanos(),
            adjustment: view.adjustment.into(),
            delay_ns: view.delay.as_nanos(),
            ago_ns: view.ago.as_nanos(),
        }
    }
}

impl From<&RefusalView> for RefusedCorrection {
    fn from(view: &RefusalView) -> RefusedCorrection {
        RefusedCorrection {
            round: view.round,
            correction_ns: view.correction.span().as_nanos(),
            refused_ns: view.refused.map(|refused| refused.span().as_nanos()),
            limit_ns: view.limit.map(Span::as_nanos),
            reason: view.reason.into(),
            ago_ns: view.ago.as_nanos(),
        }
    }
}

impl From<&Peer> for PeerIdentity {
    fn from(peer: &Peer) -> PeerIdentity {
        PeerIdentity { name: peer.name.as_str().to_owned(), address: peer.address }
    }
}

impl From<ClientsChange> for ClientsChangeResponse {
    fn from(change: ClientsChange) -> ClientsChangeResponse {
        ClientsChangeResponse {
            member: change.selector.to_string(),
            count: change.clients.len(),
            clients: change.clients.iter().take(MAX_NAMED).map(PeerIdentity::from).collect(),
            changed: change.changed,
            lifted: change.lifted.iter().take(MAX_NAMED).map(ToString::to_string).collect(),
            version: VERSION,
        }
    }
}

fn hexadecimal(cluster: ClusterId) -> String {
    format!("{:016x}", cluster.0)
}

/// What the operator can do if the server stands by.
const ASK_THE_ACTIVE_ONE: &str = "`meantime status` shows which one that is";
/// A response of at most 4096 bytes has room for so many clients.
const MAX_NAMED: usize = 16;
