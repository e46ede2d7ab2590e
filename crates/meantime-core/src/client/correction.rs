//! What the client does about a Correction: whether it believes it, what that would do to its clock, and
//! doing it.

use super::limits::Proposal;
use super::trial::Estimator;
use super::{Client, Link};
use crate::config::MAX_DELAY;
use crate::estimation::discipline::{Judgement, Trust};
use crate::event::Adjustment;
use crate::time::{self, Frequency, Now, Span, Timestamp};
use crate::view::CorrectionView;
use crate::wire::{ClientState, CorrectionMessage, Header, Verdict, is_newer};
use crate::{ClientEvent, Fate};

impl Client {
    /// "At your report `about`, your clock was off by so much."
    pub(super) fn handle_correction(&mut self, now: Now, header: &Header, told: &CorrectionMessage) -> Fate {
        let Link::Member(session) = &mut self.link else { return Fate::Session };
        session.heard = now.mono;
        if session.applied != 0 && !is_newer(told.about, session.applied) {
            return Fate::Superseded;
        }
        if session.memory.find(told.about).is_none() {
            return Fate::Unasked;
        }
        let (refused, new_cluster) = (session.refused_setting, session.new_cluster);
        self.note_setting(now, header.flags.manual_adjustment);
        if let Some(reason) = refused {
            self.refuse(now, header.round, told.correction, reason);
            return Fate::Accepted;
        }
        if self.knows_another_time(header.flags.manual_adjustment) {
            return Fate::Accepted;
        }
        if header.flags.manual_adjustment == 0
            && let Some(reason) = self.unset(now)
        {
            self.refuse(now, header.round, told.correction, reason);
            return Fate::Accepted;
        }
        if self.is_unaware() && (new_cluster || !self.state.has_cluster_time()) {
            // That time would not be what the others show. It is told again with the setting.
            return Fate::Accepted;
        }
        let Link::Member(session) = &mut self.link else { return Fate::Session };
        session.applied = told.about;
        if let Some(stamps) = told.last {
            session.memory.complete(stamps);
        }
        let usual = self.estimator.usual_delay();
        let guessed = session.memory.lacks_stamps_of(told.about);
        let mut burst = session.memory.take(header.round, told.about, told.correction, usual);
        let limit = self.config.max_delay;
        burst.retain(|exchange| exchange.delay() <= limit);
        if guessed && limit < MAX_DELAY {
            // What took how long is not known, and shall not be taken on trust.
            burst.clear();
        }
        let trust = match (session.new_cluster, told.verdict) {
            (true, _) => Trust::AtOnce,
            (false, Verdict::Minority) => Trust::MINORITY,
            (false, _) => Trust::MAJORITY,
        };
        let (round, correction) = (header.round, told.correction);
        if let Err(reason) = self.follow_rate(now, header, told.rate) {
            self.refuse(now, round, correction, reason);
            return Fate::Accepted;
        }
        self.prove(now, told, guessed, &burst);
        let mut estimator = self.estimator.clone();
        if trust == Trust::AtOnce && self.state.has_cluster_time() {
            // Another cluster's time may run at another rate.
            estimator.doubt_frequency();
            self.bound.doubt();
        }
        let Some(judgement) = estimator.update(&burst, trust) else { return Fate::Implausible };
        let ignored = if let Judgement::Ignored(in_a_row) = judgement { Some(in_a_row) } else { None };
        let proposal = self.proposal(now, &estimator).filter(|_| ignored.is_none());
        if let Some(reason) = proposal.and_then(|proposal| self.config.refuses(&proposal)) {
            self.refuse(now, round, correction, reason);
            return Fate::Accepted;
        }
        let rho = self.rho(now.raw);
        if matches!(judgement, Judgement::Started | Judgement::Restarted) {
            self.bound.doubt();
        }
        self.estimator = estimator;
        if let Link::Member(session) = &mut self.link {
            session.corrected = now.mono;
        }
        match ignored {
            Some(in_a_row) => self.events.push_back(ClientEvent::Ignored { round, correction, in_a_row }),
            None => {
                let delay = burst.iter().map(|exchange| exchange.delay()).min().unwrap_or_default();
                self.adjust(now, round, told, judgement, delay, rho);
            }
        }
        Fate::Accepted
    }

    /// What this estimator would do to the published clock.
    fn proposal(&self, now: Now, estimator: &Estimator) -> Option<Proposal> {
        let known = estimator.estimate(now.raw)?;
        let phase = self.bound.nearest(now.raw, known.phase, self.rho(now.raw));
        let lead = |time: Timestamp| Span::from_nanos(time.as_nanos() - now.raw.as_nanos());
        let base = Timestamp::from_nanos((now.raw + phase).as_nanos());
        let (target, shown) = (self.target(), self.shown(now.raw));
        let time = target.shown(base);
        let first = !self.state.has_cluster_time();
        let start = if first { Some(lead(shown)) } else { self.start };
        Some(Proposal {
            first,
            phase,
            difference: time - shown,
            later: target.step_after(base),
            since_start: start.map(|start| lead(time) - start),
            frequency: known.frequency,
            frequency_error: known.frequency_error,
            time,
        })
    }

    /// Sets the published clock by what the estimator knows now; `rho` was said about its frequency until
    /// now.
    fn adjust(
        &mut self,
        now: Now,
        round: u32,
        told: &CorrectionMessage,
        judgement: Judgement,
        delay: Span,
        rho: Frequency,
    ) {
        let Some(known) = self.estimator.estimate(now.raw) else { return };
        let Some(proposal) = self.proposal(now, &self.estimator) else { return };
        let Proposal { first, phase, difference, since_start, time, .. } = proposal;
        let adjustment = match self.config.steps(first, difference) {
            true => Adjustment::Step,
            false => Adjustment::Slew,
        };
        let confirmed = judgement == Judgement::Followed && adjustment == Adjustment::Slew;
        let lead = Span::from_nanos(time.as_nanos() - now.raw.as_nanos());
        self.start = since_start.filter(|_| !confirmed).map(|added| lead - added);
        self.take_setting(now, self.target(), adjustment);
        self.timescale.set(now.raw, phase, known.frequency, adjustment);
        self.bound.set_frequency(now.raw, known.frequency, rho);
        self.bound.learn(known.frequency_error);
        self.refused = None;
        if self.state == ClientState::Holdover {
            self.events.push_back(ClientEvent::Recovered);
        }
        self.state = ClientState::Synchronized;
        self.holdover = None;
        let added = time::Correction::adding(difference);
        let view = CorrectionView { added, adjustment, delay, round, ago: Span::ZERO };
        self.last_correction = Some((now.mono, view));
        if let Link::Member(session) = &mut self.link {
            session.new_cluster = false;
            self.cluster = session.terms.cluster;
        }
        let bound = self.bound_at(now.raw);
        self.events.push_back(ClientEvent::Corrected {
            round,
            correction: told.correction,
            added,
            adjustment,
            delay,
            frequency: known.frequency,
            error: self.error_at(now.raw).unwrap_or(known.error),
            bound,
            verdict: told.verdict,
            first,
        });
    }
}
