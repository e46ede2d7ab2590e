//! What nodes tell: the whole of what people and programs get to know about a run.

use core::fmt;
use core::net::SocketAddr;

use crate::time::{Correction, Frequency, Offset, Span};
use crate::wire::{ClientState, ClusterId, KeyId, ManualAdjustment, Name, RejectReason, Verdict};

/// A client, as people know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Its own name for itself; may be empty.
    pub name: Name,
    /// Where it is.
    pub address: SocketAddr,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
            "" => write!(f, "{}", self.address),
            name => write!(f, "{name} ({})", self.address),
        }
    }
}

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

/// Why the vote leaves a reading out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exclusion {
    /// It lies outside the agreement window around the median.
    OutsideWindow,
    /// It shows a time before this program was made.
    BeforePlausible,
    /// It shows a time too far ahead.
    AfterPlausible,
    /// Somebody has taken its vote away.
    ByHand,
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Exclusion::OutsideWindow => "too far from the median",
            Exclusion::BeforePlausible => "shows a time before this program was made",
            Exclusion::AfterPlausible => "shows a time too far ahead",
            Exclusion::ByHand => "by hand",
        })
    }
}

/// A falseticker: a reading that the vote left out, with the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Falseticker {
    /// Whose reading.
    pub voter: Voter,
    /// Its offset from the median of the vote.
    pub offset: Offset,
    /// Why it was left out.
    pub reason: Exclusion,
}

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// No cluster time yet: waiting until every member has been heard and a majority agrees.
    Listening,
    /// The majority agrees; everybody got a correction.
    Agreed,
    /// No majority agrees: nobody got a correction.
    Unsure,
    /// The server's clock disagrees with a majority of all members: nobody got a correction.
    ServerInDoubt,
    /// The server is learning the cluster's time from its members: nobody that has it got a correction.
    Following,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Outcome::Listening => "listening",
            Outcome::Agreed => "agreed",
            Outcome::Unsure => "unsure",
            Outcome::ServerInDoubt => "server in doubt",
            Outcome::Following => "following the members",
        })
    }
}

/// What a round found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoundReport {
    /// The round.
    pub round: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// Members with a vote, the server's own clock included.
    pub members: usize,
    /// Of these, how many were heard in this round. Others may agree by their last readings, for up to three
    /// rounds.
    pub heard: usize,
    /// Of the members, how many agree within the window.
    pub agreeing: usize,
    /// The median of the readings.
    pub median: Offset,
    /// Readings farther than this from the median do not agree.
    pub window: Span,
    /// From the lowest to the highest agreeing reading.
    pub spread: Span,
    /// No two members' clocks differ by more than this: the sum of the two largest bounds, as they were
    /// stated in this round; `None`: there are no two, or one has none, or was not heard.
    pub largest_bound: Option<Span>,
    /// The fault-tolerant mean of the members' frequency adjustments, which the anchor steers to zero;
    /// `None`: not known yet.
    pub mean_frequency: Option<Frequency>,
    /// The cumulative rate command.
    pub rate: Frequency,
}

/// How an adjustment reaches the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Adjustment {
    /// Set at once.
    Step,
    /// The clock runs faster or slower until the difference is gone.
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

/// What a server tells.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerEvent {
    /// A client has registered.
    Connected {
        /// Who.
        client: Peer,
        /// How its clock stands.
        state: ClientState,
    },
    /// A client said goodbye.
    Left {
        /// Who.
        client: Peer,
    },
    /// A client was silent for too long and is no member any more.
    Lost {
        /// Who.
        client: Peer,
        /// For how long nothing was heard of it.
        silent: Span,
    },
    /// A request was turned away. Told once in a while, not for each request.
    Refused {
        /// Who asked.
        address: SocketAddr,
        /// Why not.
        reason: RejectReason,
        /// The protocol version that it speaks.
        version: u8,
    },
    /// A datagram was dropped because its tag is not what it should be. Told once in a while, for each way of
    /// being wrong.
    Unauthentic {
        /// Where it came from.
        address: SocketAddr,
        /// Which key it says that its tag was made with.
        key: KeyId,
        /// Whether this server has a key of that number.
        known: bool,
        /// What the sender calls itself, which nobody vouches for; empty: it does not say.
        name: Name,
    },
    /// A round began.
    RoundStarted {
        /// Its number, from 1.
        round: u32,
        /// How many clients are to be measured.
        clients: usize,
        /// By how many exchanges each.
        burst: u8,
    },
    /// From this round on there are more or fewer exchanges with each client: so many as fit into a round.
    BurstAdapted {
        /// How many clients there are.
        clients: usize,
        /// Exchanges with each.
        burst: u8,
        /// How many there are to be, if they fit.
        wanted: u8,
    },
    /// A client's burst is complete: its data is up to date.
    Updated {
        /// Who.
        client: Peer,
        /// The round.
        round: u32,
        /// The best exchange's offset.
        offset: Offset,
        /// The best exchange's round-trip delay.
        delay: Span,
        /// How many exchanges of the burst were heard.
        heard: u8,
        /// One standard deviation of the client's estimated distance from cluster time, by its own word.
        error: Option<Span>,
        /// The client's guaranteed distance from cluster time, by its own word.
        bound: Option<Span>,
    },
    /// The vote of a round is over.
    RoundEnded(RoundReport),
    /// A reading was left out of the vote, for the first time or for a new reason.
    Falseticker(Falseticker),
    /// A member that was a falseticker agrees again.
    Truechimer {
        /// Who.
        voter: Voter,
    },
    /// Somebody has taken a client's vote away. It is measured and corrected as before.
    Removed {
        /// Whose.
        client: Peer,
    },
    /// Somebody has given a client its vote back.
    Pinned {
        /// Whose.
        client: Peer,
    },
    /// Somebody has set the cluster's time: it will begin soon.
    TimeSet {
        /// By how much, when and how.
        setting: ManualAdjustment,
    },
    /// The first vote: the cluster has a time.
    TimeAgreed {
        /// The new cluster.
        cluster: ClusterId,
        /// How many clocks are in the mean.
        agreeing: usize,
        /// Of how many members.
        members: usize,
    },
    /// Nobody can decide: two clocks, or two halves, that disagree. Told when it begins.
    Undecided {
        /// Members with a vote.
        members: usize,
        /// The largest group that agrees.
        agreeing: usize,
    },
    /// The server found its members carrying the cluster's time, and takes it from them.
    TimeAdopted {
        /// The cluster that they carry.
        cluster: ClusterId,
        /// How many members carry it.
        members: usize,
    },
    /// The server's own clock is the falseticker: it is silent and takes the time from the members.
    Deposed {
        /// The server's clock minus the members' median.
        offset: Offset,
    },
    /// The server is sure again and corrects the members.
    Resumed,
    /// The server's own clock was corrected.
    OwnClock {
        /// The round.
        round: u32,
        /// What was added.
        correction: Correction,
        /// How.
        adjustment: Adjustment,
    },
    /// The machine slept, and its oscillator with it: the server listens anew, and takes the members' time.
    Suspended {
        /// For how long.
        slept: Span,
    },
    /// A correction was sent to a client.
    CorrectionSent {
        /// Who.
        client: Peer,
        /// The round.
        round: u32,
        /// What it is to add.
        correction: Correction,
        /// The vote's word on its clock.
        verdict: Verdict,
    },
}

/// Why a client is in holdover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HoldoverReason {
    /// Nothing was heard of the server.
    ServerSilent,
    /// The server said goodbye.
    ServerLeft,
    /// The server does not know this session any more.
    ServerForgot,
    /// The server is there, but sends no corrections.
    NoCorrections,
    /// What the server says is beyond what this client accepts.
    CorrectionRefused,
}

/// Why a client refuses a correction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The first step would be larger than the panic threshold.
    FirstStepTooLarge,
    /// The step would be larger than a synchronized clock may take.
    StepTooLarge,
    /// Somebody would slew the cluster's time for longer than any server does.
    SlewTooLong,
    /// The clock would have to run faster or slower than any clock does.
    ImplausibleFrequency,
    /// The clock would show a time that cannot be.
    ImplausibleTime,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::FirstStepTooLarge => "the first step is larger than --panic allows",
            Refusal::StepTooLarge => "the step is larger than --max-step allows",
            Refusal::SlewTooLong => "it would be slewed for more than a day",
            Refusal::ImplausibleFrequency => "the frequency is farther off than --max-frequency allows",
            Refusal::ImplausibleTime => "it leads to a time that cannot be",
        })
    }
}

impl fmt::Display for HoldoverReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HoldoverReason::ServerSilent => "nothing is heard of the server",
            HoldoverReason::ServerLeft => "the server said goodbye",
            HoldoverReason::ServerForgot => "the server does not know this client any more",
            HoldoverReason::NoCorrections => "the server sends no corrections",
            HoldoverReason::CorrectionRefused => "what the server says is refused",
        })
    }
}

/// What a client tells.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientEvent {
    /// It asks a server to let it in.
    Registering {
        /// Where.
        server: SocketAddr,
        /// How often it has tried, from 1.
        attempt: u32,
    },
    /// The server's name could not be resolved.
    Unresolved {
        /// How often it has tried, from 1.
        attempt: u32,
    },
    /// It is registered.
    Registered {
        /// Where.
        server: SocketAddr,
        /// The cluster that the server keeps; 0: its time is not decided yet.
        cluster: ClusterId,
        /// From one round to the next.
        interval: Span,
    },
    /// The server refuses. Told once for each reason.
    Refused {
        /// Who.
        server: SocketAddr,
        /// Why.
        reason: RejectReason,
        /// The protocol version that the server speaks.
        version: u8,
    },
    /// A correction was applied.
    Corrected {
        /// The round.
        round: u32,
        /// What the server said was to be added.
        correction: Correction,
        /// What was added in the end, by the discipline's judgement of all it knows.
        added: Correction,
        /// How.
        adjustment: Adjustment,
        /// The least round-trip delay of the burst, as this client knows it.
        delay: Span,
        /// The clock's rate over its oscillator's, minus one.
        frequency: Frequency,
        /// One standard deviation of the estimated distance from cluster time.
        error: Span,
        /// The guaranteed distance from cluster time; `None`: nothing is proved.
        bound: Option<Span>,
        /// The vote's word on this clock.
        verdict: Verdict,
        /// Whether this was the correction that synchronized the clock.
        first: bool,
    },
    /// A correction was held for an outlier and not followed.
    Ignored {
        /// The round.
        round: u32,
        /// What the server said was to be added.
        correction: Correction,
        /// How many in a row by now.
        in_a_row: u32,
    },
    /// A correction was refused. Told when it begins, when the reason changes, and then once in a while.
    RefusedCorrection {
        /// The round.
        round: u32,
        /// What was to be added.
        correction: Correction,
        /// Why not.
        reason: Refusal,
    },
    /// Somebody has set the cluster's time, and this clock does the same.
    TimeSet {
        /// By how much, when and how.
        setting: ManualAdjustment,
        /// What is added now because this client hears of it late.
        late: Correction,
        /// How.
        adjustment: Adjustment,
    },
    /// What was proved of the cluster's time does not fit to what is proved now: an assumption of the bound
    /// was wrong, be it about this oscillator, a timestamp, or the server's clock. The bound began anew.
    BoundBroken {
        /// By how much they miss each other.
        gap: Span,
    },
    /// The machine slept, and its oscillator with it: the clock has to be synchronized anew.
    Suspended {
        /// For how long.
        slept: Span,
    },
    /// From now on the clock runs on what it has learned.
    Holdover {
        /// Why.
        reason: HoldoverReason,
    },
    /// The server is back; the clock is corrected again.
    Recovered,
}
