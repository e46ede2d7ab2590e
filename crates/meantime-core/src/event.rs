//! What a node reports: its events, and the reasons in them. The program turns them into text and JSON.

use core::fmt;
use core::net::SocketAddr;

use crate::consensus::Weight;
use crate::peer::ClientsChange;
pub use crate::peer::Peer;
use crate::reference::{NoReference, ReferenceAbsence, UtcState};
use crate::roles::rank::Rank;
use crate::roles::server_role::RoleChange;
use crate::roles::term::Term;
use crate::time::{Correction, Frequency, Offset, Span};
use crate::wire::{ClientState, ClusterId, KeyId, ManualAdjustment, Name, RejectReason, Verdict};

/// A member of the vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Voter {
    /// The server's own clock.
    Server,
    /// A client's clock.
    Client(Peer),
}

impl fmt::Display for Voter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Voter::Server => f.write_str("the server's own clock"),
            Voter::Client(peer) => peer.fmt(f),
        }
    }
}

/// Why the vote excludes a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exclusion {
    /// It lies outside the agreement window around the median.
    OutsideWindow,
    /// It shows a time before the earliest plausible one.
    BeforePlausible,
    /// It shows a time after the latest plausible one.
    AfterPlausible,
    /// An operator has removed the member from the vote.
    Removed,
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Exclusion::OutsideWindow => "too far from the median",
            Exclusion::BeforePlausible => "shows a time before the earliest plausible one",
            Exclusion::AfterPlausible => "shows a time after the latest plausible one",
            Exclusion::Removed => "removed by an operator",
        })
    }
}

/// Why the cluster has no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UndecidedReason {
    /// No client with a vote is registered.
    NoClients,
    /// The server waits for clients that were not heard yet.
    Waiting,
    /// Most clients carry a cluster time already. The server waits until a majority has, or consents to, one
    /// of these times, for a limited number of rounds.
    WaitingForCarriers,
    /// No more than half of all members were heard.
    Unheard,
    /// Too few clocks show a plausible time; most others show a time before the earliest plausible one.
    BeforePlausible,
    /// Too few clocks show a plausible time; most others show a time after the latest plausible one.
    AfterPlausible,
    /// There are two clocks, and they are farther apart than the radius of the first vote.
    TwoDiffer,
    /// No majority of the clocks lies within the radius of their median.
    TooFarApart,
    /// Most clients carry a cluster time already, and no majority of all clocks has, or consents to, one of
    /// these times.
    Carried,
}

/// A falseticker: a reading that the vote excludes, with the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Falseticker {
    /// The member that the reading is of.
    pub voter: Voter,
    /// Its offset from the median of the vote.
    pub offset: Offset,
    /// Why it was excluded.
    pub reason: Exclusion,
}

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// There is no cluster time yet: the server waits until every member has been heard and a majority
    /// agrees.
    Listening,
    /// The majority agrees: the server corrects all members.
    Agreed,
    /// No majority agrees: the server corrects no member.
    Unsure,
    /// The server's clock disagrees with a majority of all members: the server corrects no member.
    ServerInDoubt,
    /// The server learns cluster time from its members: it corrects only those without cluster time.
    Following,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Outcome::Listening => "listening",
            Outcome::Agreed => "agreed",
            Outcome::Unsure => "unsure",
            Outcome::ServerInDoubt => "server in doubt",
            Outcome::Following => "following",
        })
    }
}

/// The result of a round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoundReport {
    /// The round's number.
    pub round: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// Number of members with a vote, the server's own clock included.
    pub members: usize,
    /// What these count together.
    pub votes: Weight,
    /// How many of these were heard in this round. The last readings of the others count for up to three
    /// rounds.
    pub heard: usize,
    /// How many of the members agree within the window.
    pub agreeing: usize,
    /// The median of the readings.
    pub median: Offset,
    /// The agreement window: readings farther than this from the median do not agree.
    pub window: Span,
    /// From the lowest to the highest agreeing reading.
    pub spread: Span,
    /// How many clocks the guarantee of this round [covers](crate::Coverage), the server's own included.
    pub covered: usize,
    /// How many it does not cover, of all clients that are registered and the server's own clock.
    pub not_covered: usize,
    /// The maximum difference of the clocks of any two covered members: the sum of their two largest bounds.
    /// `None`: fewer than two are covered.
    pub largest_bound: Option<Span>,
    /// The fault-tolerant mean of the members' frequency adjustments, which the rate anchor steers to zero;
    /// `None`: not known yet.
    pub mean_frequency: Option<Frequency>,
    /// The cumulative rate command.
    pub rate: Frequency,
}

/// How a clock is adjusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Adjustment {
    /// At once.
    Step,
    /// The clock runs faster or slower until the adjustment is complete.
    Slew,
}

impl fmt::Display for Adjustment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Adjustment::Step => "step",
            Adjustment::Slew => "slew",
        })
    }
}

/// What a server reports.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerEvent {
    /// A client has registered.
    Connected {
        /// The client.
        client: Peer,
        /// The state of its clock.
        state: ClientState,
    },
    /// A client has left.
    Left {
        /// The client.
        client: Peer,
    },
    /// A client was silent for too long; the server has dropped it.
    Lost {
        /// The client.
        client: Peer,
        /// How long the server has received nothing from it.
        silent: Span,
    },
    /// The server has refused a request. Reported at a limited rate, not for each request.
    Refused {
        /// The sender's address.
        address: SocketAddr,
        /// The reason.
        reason: RejectReason,
        /// The protocol version of the request.
        version: u8,
    },
    /// A datagram was dropped because its tag is wrong or missing. Reported at a limited rate for each kind
    /// of error.
    Unauthentic {
        /// The sender's address.
        address: SocketAddr,
        /// The key that it claims its tag was made with.
        key: KeyId,
        /// Whether this server has a key with that number.
        known: bool,
        /// The sender's name as it claims, not authenticated; empty: it states none.
        name: Name,
    },
    /// A process has registered with a name, and its key, that a client had: the client's session has ended.
    Replaced {
        /// The client.
        client: Peer,
        /// The address of the process that has registered.
        by: SocketAddr,
        /// How long the server had received nothing from the client.
        silent: Span,
    },
    /// A client has stated a label, and its machine shares the one vote of that label from now on, not the
    /// votes of [`ServerConfig::votes_per_address`](crate::ServerConfig::votes_per_address).
    LabelOverridesVotes {
        /// The client.
        client: Peer,
        /// The label that counts for the machine.
        label: Name,
        /// How many votes the clients of the machine could have without it.
        votes: usize,
    },
    /// A round has begun.
    RoundStarted {
        /// Its number, from 1.
        round: u32,
        /// How many clients will be measured.
        clients: usize,
        /// Exchanges with each client.
        burst: u8,
    },
    /// From this round on, the number of exchanges with each client is as many as fit into a round.
    BurstAdapted {
        /// Number of clients.
        clients: usize,
        /// Exchanges with each client.
        burst: u8,
        /// The configured number of exchanges, which is used if they fit.
        wanted: u8,
    },
    /// A client's burst is complete; its data is up to date.
    Updated {
        /// The client.
        client: Peer,
        /// The round.
        round: u32,
        /// The best exchange's offset.
        offset: Offset,
        /// The best exchange's round-trip delay.
        delay: Span,
        /// How many probes of the burst were answered.
        heard: u8,
        /// One standard deviation of the client's estimated distance from cluster time, as it states.
        error: Option<Span>,
        /// The client's guaranteed distance from cluster time, as it states.
        bound: Option<Span>,
    },
    /// A round has ended.
    RoundEnded(RoundReport),
    /// The vote has excluded a reading, for the first time or for a new reason.
    Falseticker(Falseticker),
    /// A member that was a falseticker agrees again.
    Truechimer {
        /// The member.
        voter: Voter,
    },
    /// An operator has removed clients from the vote. They are still measured and corrected.
    Removed(ClientsChange),
    /// An operator has given removed clients their votes back.
    Pinned(ClientsChange),
    /// An operator has banned clients: their sessions have ended, and they are not admitted any more.
    Banned(ClientsChange),
    /// An operator has lifted a ban.
    Unbanned(ClientsChange),
    /// The session of a client has ended because the client is banned.
    Expelled {
        /// The client.
        client: Peer,
    },
    /// An operator has ordered a manual time adjustment, which will begin soon.
    TimeSet {
        /// The adjustment.
        manual_adjustment: ManualAdjustment,
    },
    /// The first vote has succeeded: the cluster has a time.
    TimeAgreed {
        /// The new cluster.
        cluster: ClusterId,
        /// Number of clocks in the mean.
        agreeing: usize,
        /// Number of members.
        members: usize,
    },
    /// No majority agrees in the first vote, for example because two clocks or two halves disagree. Reported
    /// once, when it begins.
    Undecided {
        /// Members with a vote.
        members: usize,
        /// Size of the largest group that agrees.
        agreeing: usize,
        /// Why.
        reason: UndecidedReason,
    },
    /// An operator has founded the cluster's time while there was none: the server's own clock was set to it,
    /// and all members will be.
    TimeFounded {
        /// The new cluster.
        cluster: ClusterId,
        /// What was added to the base time of the server's own clock.
        correction: Correction,
        /// What was added to the time that it shows.
        added: Correction,
    },
    /// The members carry a cluster time already; the server adopts it from them.
    TimeAdopted {
        /// The cluster whose time they carry.
        cluster: ClusterId,
        /// Number of members that carry it.
        members: usize,
    },
    /// The server's own clock is the falseticker: the server sends no corrections and adopts the members'
    /// time.
    Deposed {
        /// The server's clock minus the members' median.
        offset: Offset,
    },
    /// A majority agrees again; the server corrects the members.
    Resumed,
    /// The time that the server corrects its members to from now on is beyond the bounds that some of them
    /// have stated: it comes from a new first vote, or the server has taken it over from its members.
    BoundsBroken {
        /// How many members have stated a smaller bound.
        members: usize,
        /// By how much the time is beyond the bound that is exceeded most.
        largest: Span,
    },
    /// The server's own clock was corrected.
    OwnClockCorrected {
        /// The round.
        round: u32,
        /// What was added to base time.
        correction: Correction,
        /// What was added to the time that it shows: also the change of the manual time adjustment.
        added: Correction,
        /// Step or slew.
        adjustment: Adjustment,
    },
    /// How the cluster's time stands to UTC has changed.
    Utc {
        /// The new state.
        state: UtcState,
        /// What the cluster's clocks show minus UTC, as a majority of the references states it; `None`:
        /// unknown.
        offset: Option<Offset>,
        /// The maximum distance of that from the truth.
        error: Option<Span>,
        /// The largest offset that holdover explains.
        explained: Span,
    },
    /// A member's reference contradicts the majority of the references.
    ReferenceFalseticker {
        /// The member.
        voter: Voter,
        /// The reference minus UTC, as the majority states that.
        offset: Offset,
    },
    /// A reference that contradicted the majority agrees again.
    ReferenceTruechimer {
        /// The member.
        voter: Voter,
    },
    /// The server's own machine has a reference, and the server offers it.
    ReferenceGained {
        /// The maximum distance of the reference from UTC.
        max_error: Span,
    },
    /// The server's own machine has no reference, or none any more.
    ReferenceLost {
        /// Why.
        reason: NoReference,
    },
    /// A member whose reference the server is to follow by its name has offered none for some time.
    ReferenceMissing {
        /// The member's name.
        member: Name,
        /// Why.
        reason: ReferenceAbsence,
    },
    /// A member that was reported so offers a reference.
    ReferenceFound {
        /// The member's name.
        member: Name,
    },
    /// The machine was suspended, and its oscillator with it: the server listens again and adopts the
    /// members' time.
    Suspended {
        /// For how long.
        slept: Span,
    },
    /// A correction was sent to a client.
    CorrectionSent {
        /// The client.
        client: Peer,
        /// The round.
        round: u32,
        /// What the client is to add.
        correction: Correction,
        /// The vote's verdict on its clock.
        verdict: Verdict,
    },
}

/// Why a client is in holdover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HoldoverReason {
    /// The client receives nothing from the server.
    ServerSilent,
    /// The server has left.
    ServerLeft,
    /// The server no longer knows this session.
    ServerForgot,
    /// The server's operator has banned this client.
    Banned,
    /// The server answers, but sends no corrections.
    NoCorrections,
    /// The client refuses the server's corrections.
    CorrectionRefused,
    /// The server's time contradicts what the client's clock has proved.
    ServerDoubted,
    /// Two other servers contradict the server and agree.
    ServerDistrusted,
    /// The client is that of a server of several, which was active and is not, and no other server is known
    /// to be.
    NoActiveServer,
    /// Another client has registered with this node's name and key.
    Replaced,
}

/// Why the client of a relay takes no time from its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamFault {
    /// The server is a client of this relay itself, or of one that is.
    Loop,
    /// There are as many servers above it as a relay can have.
    TooManyLevels,
}

/// Why a client refuses a correction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The first step is larger than the panic threshold
    /// ([`ClientConfig::panic`](crate::ClientConfig::panic)).
    FirstStepTooLarge,
    /// The step is larger than the maximum step ([`ClientConfig::max_step`](crate::ClientConfig::max_step)).
    StepTooLarge,
    /// The manual time adjustment would slew for longer than any server does.
    SlewTooLong,
    /// The clock would run faster or slower than its oscillator by more than the maximum frequency
    /// ([`ClientConfig::max_frequency`](crate::ClientConfig::max_frequency)).
    ImplausibleFrequency,
    /// The clock would show an implausible time.
    ImplausibleTime,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::FirstStepTooLarge => "the first step is larger than the panic threshold",
            Refusal::StepTooLarge => "the step is larger than the maximum step",
            Refusal::SlewTooLong => "the slew would take more than a day",
            Refusal::ImplausibleFrequency => "the frequency exceeds the maximum frequency",
            Refusal::ImplausibleTime => "it leads to an implausible time",
        })
    }
}

impl fmt::Display for HoldoverReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HoldoverReason::ServerSilent => "the server does not answer",
            HoldoverReason::ServerLeft => "the server has left",
            HoldoverReason::ServerForgot => "the server no longer knows this client",
            HoldoverReason::Banned => "the server's operator has banned this client",
            HoldoverReason::NoCorrections => "the server sends no corrections",
            HoldoverReason::CorrectionRefused => "the server's corrections are refused",
            HoldoverReason::ServerDoubted => "the server's time contradicts what this clock has proved",
            HoldoverReason::ServerDistrusted => "other servers contradict the server's time, and agree",
            HoldoverReason::NoActiveServer => {
                "this server is not active any more, and hears no other that is"
            }
            HoldoverReason::Replaced => {
                "another client has registered with this name and its key; give each node a name of its own"
            }
        })
    }
}

impl fmt::Display for UpstreamFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UpstreamFault::Loop => "it is a client of this relay itself, or of a relay below this one",
            UpstreamFault::TooManyLevels => "it is the last of six levels",
        })
    }
}

/// What a server of several reports.
#[derive(Clone, Debug, PartialEq)]
pub enum ReplicaEvent {
    /// What its client reports, which follows the active server.
    Client(ClientEvent),
    /// What its server reports.
    Server(ServerEvent),
    /// Its role or its term has changed. Reported at a limited rate: one that is left out is reported later,
    /// if no other change follows it.
    Role(RoleChange),
    /// It hands over to the server of this rank.
    HandsOver(Rank),
}

/// What a relay reports.
#[derive(Clone, Debug, PartialEq)]
pub enum RelayEvent {
    /// What its client reports, which follows the server above.
    Upstream(ClientEvent),
    /// What its server reports, which serves the clients below.
    Server(ServerEvent),
}

/// What a client reports.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientEvent {
    /// It asks a server for a session.
    Registering {
        /// The server's address.
        server: SocketAddr,
        /// The number of the attempt, from 1.
        attempt: u32,
    },
    /// The name of a server could not be resolved.
    Unresolved {
        /// The server's place in the list; the only one is the first.
        rank: Rank,
        /// The number of the attempt, from 1.
        attempt: u32,
    },
    /// It is registered.
    Registered {
        /// The server's address.
        server: SocketAddr,
        /// The cluster whose time the server keeps; 0: it has none yet.
        cluster: ClusterId,
        /// The time from one round to the next.
        interval: Span,
    },
    /// The server refuses to register the client. Reported once for each reason.
    Refused {
        /// The server's address.
        server: SocketAddr,
        /// The reason.
        reason: RejectReason,
        /// The protocol version that the server speaks.
        version: u8,
    },
    /// The client is part of a relay, and does not follow this server. Reported once for each
    /// server and reason.
    UpstreamRefused {
        /// The server's address.
        server: SocketAddr,
        /// The reason.
        reason: UpstreamFault,
    },
    /// Of several servers, the clock follows this one from now on. Reported at a limited rate: one that is
    /// left out is reported later, if the clock follows that server in that term still.
    Follows {
        /// The server's address.
        server: SocketAddr,
        /// Its place in the list.
        rank: Rank,
        /// Its term.
        term: Term,
    },
    /// A server has another list of servers than this node: what it states of its role does not count.
    /// Reported once for each server.
    ListDiffers {
        /// The server's address.
        server: SocketAddr,
        /// Its place in this node's list.
        own: Rank,
        /// Its place in its own list.
        rank: Rank,
        /// The length of its own list.
        servers: u8,
    },
    /// The time of the server that is followed contradicts what this clock has proved: it is not followed for
    /// some rounds, while the opinions of other servers are awaited. Reported at a limited rate.
    Doubts {
        /// The server's place in the list.
        rank: Rank,
        /// The distance between the two intervals that should overlap.
        gap: Span,
    },
    /// Two other servers, or another one and this node, contradict this server and agree: it is not followed.
    /// Reported at a limited rate, as [`Trusts`](ClientEvent::Trusts) is: if that lasts.
    Distrusts {
        /// The server's address.
        server: SocketAddr,
        /// Its place in the list.
        rank: Rank,
    },
    /// No two others contradict this server any more.
    Trusts {
        /// The server's address.
        server: SocketAddr,
        /// Its place in the list.
        rank: Rank,
    },
    /// A correction was applied to the clock.
    Corrected {
        /// The round.
        round: u32,
        /// What the server asked to add.
        correction: Correction,
        /// What was added, by the discipline's estimate from all exchanges.
        added: Correction,
        /// The part of `added` that is manual time adjustments which the clock did not have before, and which
        /// no server asks for.
        manual: Correction,
        /// Step or slew.
        adjustment: Adjustment,
        /// The minimum round-trip delay of the burst, as this client knows it.
        delay: Span,
        /// The clock's rate over its oscillator's, minus one.
        frequency: Frequency,
        /// One standard deviation of the estimated distance from cluster time.
        error: Span,
        /// The guaranteed distance from cluster time; `None`: unknown.
        bound: Option<Span>,
        /// The vote's verdict on this clock.
        verdict: Verdict,
        /// Whether this was the correction that synchronized the clock.
        first: bool,
    },
    /// A correction was taken for an outlier and not followed.
    Ignored {
        /// The round.
        round: u32,
        /// What the server asked to add.
        correction: Correction,
        /// Number of consecutive outliers, this one included.
        in_a_row: u32,
    },
    /// A correction was refused. Reported at the first one, when the reason changes, and then once a minute.
    RefusedCorrection {
        /// The round.
        round: u32,
        /// What the server asked to add.
        correction: Correction,
        /// What it would have added to the clock; `None`: the refusal is of a frequency.
        refused: Option<Correction>,
        /// The reason.
        reason: Refusal,
    },
    /// The client follows a manual time adjustment.
    TimeSet {
        /// The adjustment.
        manual_adjustment: ManualAdjustment,
        /// What is added now because the adjustment began before the client received it.
        late: Correction,
        /// Step or slew.
        adjustment: Adjustment,
    },
    /// The newest exchanges contradict the bound: one of its assumptions, about this oscillator, a timestamp
    /// or the server's clock, was wrong, or the time of a new session is beyond the bound on that of the one
    /// before. Also a step that no exchange proves. The bound has been reset.
    BoundBroken {
        /// The distance between the two intervals that should overlap, or of the step from the interval that
        /// should contain it.
        gap: Span,
    },
    /// The machine was suspended, and its oscillator with it: the clock must be synchronized again.
    Suspended {
        /// For how long.
        slept: Span,
    },
    /// Holdover begins: the clock runs on at the frequency that it has learned.
    Holdover {
        /// The reason.
        reason: HoldoverReason,
    },
    /// Holdover has ended: the clock follows corrections again.
    Recovered,
    /// The machine has a reference now, and the client offers it to the server.
    ReferenceGained {
        /// The maximum distance of the reference from UTC, as the machine states it.
        max_error: Span,
    },
    /// The machine has no reference, or none any more.
    ReferenceLost {
        /// The reason.
        reason: NoReference,
    },
}
