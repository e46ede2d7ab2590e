//! What goes into a vote and what comes out of it.

use crate::event::{Adjustment, Exclusion, Outcome, RoundReport};
use crate::time::{Correction, Frequency, Offset, Raw, Span, Timestamp};
use crate::wire::{ClientState, ClusterId, ManualAdjustment};
use alloc::vec;
use alloc::vec::Vec;

/// What the keeper gets to know of one client.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MemberReading<'a> {
    /// How the client says that its clock stands.
    pub state: ClientState,
    /// The cluster whose time it says it carries.
    pub cluster: ClusterId,
    /// What it says that that time was set by; `None`: it has not said so yet.
    pub setting: Option<&'a ManualAdjustment>,
    /// Its newest reading that is not too old; `None`: not heard.
    pub reading: Option<PhaseReading>,
    /// Whether the vote before this one left it out.
    pub excluded: bool,
    /// Whether somebody has taken its vote away: to the vote it is as if this clock did not exist.
    pub removed: bool,
    /// What it says of its frequency, if it is sure of it.
    pub claim: Option<FrequencyReport>,
}

impl MemberReading<'_> {
    /// Its reading as its clock is shown, with what the time that it carries was set by.
    pub(super) fn shown(&self) -> Option<PhaseReading> {
        let added = |reading: &PhaseReading| {
            self.setting.unwrap_or(&ManualAdjustment::NONE).added_at(reading.clock())
        };
        self.reading.map(|reading| PhaseReading { phase: reading.phase + added(&reading), ..reading })
    }
}

/// What a client says of its frequency.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FrequencyReport {
    /// Its frequency adjustment less the rate command in it.
    pub adjustment: Frequency,
    /// One standard deviation of that.
    pub error: Frequency,
}

/// A reading of a client's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhaseReading {
    /// The server's oscillator at the reading.
    pub at: Raw,
    /// The client's clock minus the server's oscillator.
    pub phase: Span,
    /// One standard deviation that such a reading usually has.
    pub noise: Span,
    /// How much more this one may be off, from the excess of its delay.
    pub excess: Span,
    /// Whether it is of the round that is being concluded.
    pub fresh: bool,
}

impl PhaseReading {
    pub(super) fn clock(&self) -> Timestamp {
        Timestamp::from_nanos((self.at + self.phase).as_nanos())
    }
}

/// Whom the server may tell the cluster's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipients {
    /// Nobody: it is not sure itself.
    None,
    /// Only those who have no cluster time yet.
    Joining,
    /// Every client.
    All,
}

impl Recipients {
    /// Whether a client in this state is to be told.
    pub fn includes(self, state: ClientState) -> bool {
        match self {
            Recipients::None => false,
            Recipients::Joining => !state.has_cluster_time(),
            Recipients::All => true,
        }
    }
}

/// The vote's word on one reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// The reading's offset from the median of the vote.
    pub offset: Offset,
    /// Whether it agrees; one that has no vote may do so too.
    pub agrees: bool,
    /// Why it was left out, if it was.
    pub exclusion: Option<Exclusion>,
}

impl Judgement {
    pub(super) fn vote(offset: Offset, exclusion: Option<Exclusion>) -> Judgement {
        Judgement { offset, agrees: exclusion.is_none(), exclusion }
    }
}

/// A turn in the cluster's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaseTransition {
    /// The first vote has decided.
    Agreed,
    /// The first vote could not decide, for the first time in a row.
    Undecided,
    /// The clients' time was taken over.
    Adopted,
    /// The server's clock was found to be the falseticker, by so much.
    Deposed(Offset),
    /// The server carries the cluster's time again.
    Resumed,
}

/// What one round has found.
#[derive(Clone, Debug, PartialEq)]
pub struct Conclusion {
    /// The figures for people.
    pub report: RoundReport,
    /// The vote's word on each ballot, in their order; `None`: it has none.
    pub judged: Vec<Option<Judgement>>,
    /// The vote's word on the server's own clock; `None`: it has none.
    pub own: Option<Judgement>,
    /// What was added to the server's own clock.
    pub correction: Correction,
    /// How.
    pub adjustment: Adjustment,
    /// What else has changed.
    pub turn: Option<PhaseTransition>,
}

impl Conclusion {
    pub(super) fn blank(round: u32, ballots: usize) -> Conclusion {
        Conclusion {
            report: RoundReport {
                round,
                outcome: Outcome::Listening,
                members: 1,
                heard: 1,
                agreeing: 1,
                median: Offset::ZERO,
                window: Span::ZERO,
                spread: Span::ZERO,
                largest_bound: None,
                mean_frequency: None,
                rate: Frequency::ZERO,
            },
            judged: vec![None; ballots],
            own: None,
            correction: Correction::default(),
            adjustment: Adjustment::Slew,
            turn: None,
        }
    }
}
