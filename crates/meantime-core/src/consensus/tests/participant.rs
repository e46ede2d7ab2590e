//! A client in a story of many rounds: what it says, when it is not heard, and whether it has earned a vote.

use super::*;

/// A client.
#[derive(Clone, Debug)]
pub(super) struct Participant {
    /// Its clock minus the server's oscillator; the good carriers' time is zero.
    pub phase: Span,
    pub state: ClientState,
    pub cluster: ClusterId,
    pub adjustment: ManualAdjustment,
    /// From this round on a bad one's clock is so much farther ahead.
    pub jump: Option<(u32, Span)>,
    /// In each second a bad one's clock goes ahead by so much more.
    pub ramp: Frequency,
    /// Whether a bad one says that it has the adjustment of the good ones.
    pub says_adjustment: bool,
    /// In these rounds, as bits, it is not heard.
    pub lost: u64,
    /// In these rounds, as bits, it has not been heard for so long that its last reading does not count.
    pub gaps: u64,
    /// It answers no probe at all.
    pub is_silent: bool,
    pub has_vote: bool,
    pub agreed: u8,
    pub weight: Weight,
}

/// The clients of one group: they share its vote.
pub(super) fn group(mut nodes: Vec<Participant>) -> Vec<Participant> {
    let count = nodes.len();
    for (index, node) in nodes.iter_mut().enumerate() {
        node.weight = weight::share(Weight::ONE, count, index);
    }
    nodes
}

/// A client of a group of its own.
pub(super) fn node(phase: Span, carries: bool, lost: u64) -> Participant {
    let (state, cluster) = match carries {
        true => (ClientState::Holdover, CLUSTER),
        false => (ClientState::Unsynchronized, ClusterId(0)),
    };
    let adjustment = ManualAdjustment::NONE;
    let (jump, ramp, says_adjustment) = (None, Frequency::ZERO, false);
    Participant {
        phase,
        state,
        cluster,
        adjustment,
        jump,
        ramp,
        says_adjustment,
        lost,
        gaps: 0,
        is_silent: false,
        has_vote: false,
        agreed: 0,
        weight: Weight::ONE,
    }
}

impl Participant {
    pub(super) fn reading(&self, round: u32, now: Raw) -> MemberReading<'_> {
        let jump = self.jump.filter(|(from, _)| round >= *from).map_or(Span::ZERO, |(_, by)| by);
        let reading = PhaseReading {
            at: now,
            phase: self.phase + jump + self.ramp.over(SECOND.times(5 * i64::from(round))),
            noise: Span::from_micros(5),
            excess: Span::ZERO,
            fresh: self.lost >> (round % 64) & 1 == 0,
        };
        MemberReading {
            state: self.state,
            cluster: self.cluster,
            manual_adjustment: Some(&self.adjustment),
            reading: Some(reading).filter(|_| !self.is_silent && self.gaps >> (round % 64) & 1 == 0),
            was_measured: !self.is_silent,
            exclusion: None,
            weight: self.weight,
            has_vote: self.has_vote,
            frequency: None,
        }
    }

    /// What its clock shows, minus the server's oscillator.
    pub(super) fn shown(&self, now: Raw) -> Span {
        self.phase + self.adjustment.added_at(Timestamp::from_nanos((now + self.phase).as_nanos()))
    }

    /// As the server does after a round.
    pub(super) fn judge(&mut self, judgement: MemberJudgement, end: &Conclusion) {
        let begins = matches!(end.transition, Some(PhaseTransition::Agreed | PhaseTransition::Adopted));
        let gives = begins && end.gives_votes;
        self.agreed = if judgement.agrees { self.agreed.saturating_add(1) } else { 0 };
        self.has_vote |= judgement.agrees && (gives || self.agreed >= 24);
    }
}
