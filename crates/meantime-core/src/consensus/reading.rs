//! The input and the output of the timekeeper in a round.

use super::weight::Weight;
use crate::event::{Adjustment, Exclusion, Outcome, RoundReport};
use crate::time::{Correction, Frequency, Offset, Raw, Span, Timestamp};
use crate::wire::{ClientState, ClusterId, ManualAdjustment};
use alloc::vec;
use alloc::vec::Vec;

/// What the vote knows of one client.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MemberReading<'a> {
    /// The state of its clock, as it has reported it.
    pub state: ClientState,
    /// The cluster whose time it carries, as it has reported it.
    pub cluster: ClusterId,
    /// The manual time adjustment in that time, as it has reported it; `None`: it has not reported it yet.
    pub manual_adjustment: Option<&'a ManualAdjustment>,
    /// Its newest reading that is not too old; `None`: not heard.
    pub reading: Option<PhaseReading>,
    /// Whether it has answered a probe since it has registered, however long ago.
    pub was_measured: bool,
    /// Why the vote before this one left it out; `None`: it did not.
    pub exclusion: Option<Exclusion>,
    /// What its reading counts in a vote that it takes part in.
    pub weight: Weight,
    /// Whether it takes part in the votes of a cluster that has a time: its group has agreed for some time.
    pub has_vote: bool,
    /// Its frequency, as it has reported it, if its error is small enough.
    pub frequency: Option<FrequencyReport>,
}

impl MemberReading<'_> {
    /// Whether an operator has taken its vote away: the vote ignores this clock.
    pub fn is_removed(&self) -> bool {
        self.exclusion == Some(Exclusion::Removed)
    }

    /// Whether it takes part in the votes of a cluster that has a time.
    pub(super) fn is_voter(&self) -> bool {
        self.has_vote && self.state.has_cluster_time()
    }

    /// Its reading with the manual time adjustment: what its clock shows.
    pub fn shown(&self) -> Option<PhaseReading> {
        let added = |reading: &PhaseReading| {
            self.manual_adjustment.unwrap_or(&ManualAdjustment::NONE).added_at(reading.clock())
        };
        self.reading.map(|reading| PhaseReading { phase: reading.phase + added(&reading), ..reading })
    }

    /// What its clock shows when the server's oscillator reads `raw`, if both have run alike since the
    /// reading: a manual time adjustment goes on, a slew of a correction is not known.
    pub fn shown_at(&self, raw: Raw) -> Option<Timestamp> {
        let base = Timestamp::from_nanos((raw + self.reading?.phase).as_nanos());
        Some(self.manual_adjustment.unwrap_or(&ManualAdjustment::NONE).shown(base))
    }
}

/// All clocks of a round: what the timekeeper decides on.
#[derive(Clone, Copy, Debug)]
pub struct Electorate<'a> {
    /// What the server's own clock counts.
    pub own: Weight,
    /// The clients.
    pub clients: &'a [MemberReading<'a>],
}

impl Electorate<'_> {
    /// What all clocks count together, also those that have no vote yet.
    pub(super) fn votes(&self) -> Weight {
        core::iter::once(self.own).chain(self.clients.iter().map(|member| member.weight)).sum()
    }

    /// What the clients with a vote count.
    pub(super) fn voters(&self) -> Weight {
        self.clients.iter().filter(|member| member.is_voter()).map(|member| member.weight).sum()
    }
}

/// One clock in a first vote.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Its reading, with the manual time adjustment in it; `None`: it was not heard.
    pub reading: Option<PhaseReading>,
    /// Why the reading is implausible; `None`: it is plausible.
    pub excluded: Option<Exclusion>,
    /// What it counts.
    pub weight: Weight,
}

impl Candidate {
    /// The phase of its clock, if that is plausible.
    pub(super) fn plausible_phase(&self) -> Option<Span> {
        self.reading.filter(|_| self.excluded.is_none()).map(|reading| reading.phase)
    }
}

/// A client's frequency, as it has reported it.
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
    /// The reading of the server's own clock, which is exact.
    pub(super) fn own(at: Raw, phase: Span) -> PhaseReading {
        PhaseReading { at, phase, noise: Span::ZERO, excess: Span::ZERO, fresh: true }
    }

    /// What the clock reads.
    pub fn clock(&self) -> Timestamp {
        Timestamp::from_nanos((self.at + self.phase).as_nanos())
    }
}

/// The members to which the server sends corrections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipients {
    /// None: the server is not sure itself.
    None,
    /// Only those that have no cluster time yet.
    Joining,
    /// Every client.
    All,
}

impl Recipients {
    /// Whether a client in this state gets a correction.
    pub fn includes(self, state: ClientState) -> bool {
        match self {
            Recipients::None => false,
            Recipients::Joining => !state.has_cluster_time(),
            Recipients::All => true,
        }
    }
}

/// What the vote has found about one reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemberJudgement {
    /// The reading's offset from the median of the vote.
    pub offset: Offset,
    /// Whether it agrees; one that has no vote may do so too.
    pub agrees: bool,
    /// Why it was left out, if it was.
    pub exclusion: Option<Exclusion>,
}

impl MemberJudgement {
    pub(super) fn vote(offset: Offset, exclusion: Option<Exclusion>) -> MemberJudgement {
        MemberJudgement { offset, agrees: exclusion.is_none(), exclusion }
    }
}

/// A change from one phase to another, or what prevents it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaseTransition {
    /// The first vote has decided.
    Agreed,
    /// The first vote could not decide, for the first time in a row.
    Undecided,
    /// The server has adopted the clients' time.
    Adopted,
    /// The server's clock was found to be the falseticker, by so much.
    Deposed(Offset),
    /// The server carries the cluster's time again.
    Resumed,
}

/// The result of one round.
#[derive(Clone, Debug, PartialEq)]
pub struct Conclusion {
    /// The figures of the round, for the operator.
    pub report: RoundReport,
    /// The judgement about each member reading, in their order; `None`: there is none.
    pub judgements: Vec<Option<MemberJudgement>>,
    /// The judgement about the server's own clock; `None`: there is none.
    pub own: Option<MemberJudgement>,
    /// What was added to the base time of the server's own clock.
    pub correction: Correction,
    /// What was added to the time that it shows.
    pub added: Correction,
    /// How.
    pub adjustment: Adjustment,
    /// The phase transition, if there was one.
    pub transition: Option<PhaseTransition>,
    /// Whether the members that agree with a first vote or an adoption have a vote from now on: the time was
    /// taken from them. It was not if the server goes on with the time that it had kept, nor if the members
    /// that had a vote before its machine slept have brought it.
    pub gives_votes: bool,
}

impl Conclusion {
    pub(super) fn blank(round: u32, members: usize) -> Conclusion {
        Conclusion {
            report: RoundReport {
                round,
                outcome: Outcome::Listening,
                members: 1,
                votes: Weight::ZERO,
                heard: 1,
                agreeing: 1,
                median: Offset::ZERO,
                window: Span::ZERO,
                spread: Span::ZERO,
                covered: 0,
                not_covered: 1 + members,
                largest_bound: None,
                mean_frequency: None,
                rate: Frequency::ZERO,
            },
            judgements: vec![None; members],
            own: None,
            correction: Correction::default(),
            added: Correction::default(),
            adjustment: Adjustment::Slew,
            transition: None,
            gives_votes: true,
        }
    }

    /// Whether the server has set its clock to the cluster's time in this round, and corrects all to it from
    /// now on.
    pub fn begins_correcting(&self) -> bool {
        let has_begun = matches!(self.transition, Some(PhaseTransition::Agreed | PhaseTransition::Adopted));
        has_begun && self.report.outcome == Outcome::Agreed
    }

    /// Judges the clocks that show an implausible time, each by its offset from the server's own, when the
    /// vote has no result. `readings` and `excluded` begin with the server's own clock.
    pub(super) fn judge_implausible(&mut self, candidates: &[Candidate]) {
        let own = candidates.first().and_then(|own| own.reading).map_or(Span::ZERO, |own| own.phase);
        let mut judgements = candidates.iter().map(|candidate| {
            let offset = Offset::ahead_by(candidate.reading?.phase - own);
            Some(MemberJudgement::vote(offset, Some(candidate.excluded?)))
        });
        self.own = judgements.next().flatten();
        self.judgements = judgements.collect();
    }
}
