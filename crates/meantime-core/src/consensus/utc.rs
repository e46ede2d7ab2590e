//! Leading the cluster's time to UTC, as its references state it.
//!
//! Each round the server knows the interval of each reference on its own free-running oscillator, so that no
//! correction of any clock disturbs it. From what the [vote](super::reference_vote) accepts, a filter learns
//! UTC's phase and rate over that oscillator. The *rate* of the cluster is then led, as the rate anchor leads
//! it: by a change of the cumulative rate command, which all clocks follow at once. So the distance of two
//! clocks from one another is not touched, and no clock steps.
//!
//! ```text
//! wanted rate = UTC's rate + v(d),    d = UTC − what the clocks show        (see leading_law)
//! ```
//!
//! * The rate changes by 1 ppb per second at most, as in every settled cluster. If UTC is far away the pace
//!   is *brisk*: 50 ppb per second. Corrections say so for four rounds before that begins: a client
//!   that has heard none of them is no member any more.
//! * Distances that holdover cannot explain are *refused*: more than the radius before the clocks have shown
//!   UTC once, and more than the last known error after that, plus 100 ppm of the time since.
//! * Where the references are divided, without a majority, the cluster's own time decides, if it has shown
//!   UTC before: it counts as one more reference, with the last known error plus 1 ppm of the time since. So
//!   one of two references that goes wrong is named.
//! * While UTC is known, so is b = F + f_UTC − f, the mean error of the members' oscillators. When the
//!   references are gone, the rate is *held*: F is steered to b, as the rate anchor would steer it to zero.
//!   A member that comes or goes changes F by its own error: b changes with it.

use alloc::vec::Vec;

use super::leading_law::CLOSE;
use super::reference_vote::{self, AcceptedUtc, ReferenceInterval};
use super::timekeeper::{Phase, Timekeeper};
use super::utc_leader::{HOLDOVER, MAX_MISSED, UtcConclusion};
use crate::reference::UtcState;
use crate::time::{Frequency, Offset, Raw, Span};
use crate::wire::ClusterId;

impl Timekeeper {
    /// Follows the references of a round that was just concluded: `references` are their intervals at `now`,
    /// over the server's oscillator.
    pub fn follow_references(&mut self, now: Raw, references: &[ReferenceInterval]) -> UtcConclusion {
        let among_themselves = reference_vote::agree(references);
        let accepted = among_themselves.or_else(|| self.decide(now, references));
        self.utc.oscillators.note(self.anchor.mean());
        self.utc.missed = self.utc.missed.saturating_add(1);
        let has_time = self.cluster != ClusterId(0);
        let distance = accepted.filter(|_| has_time).map(|utc| utc.middle - self.final_phase(now));
        let explained = self.utc.explained(now);
        let refused = |utc: &AcceptedUtc| distance.is_some_and(|d| d.abs() > explained + utc.reach());
        let sure = self.carries_time();
        let outcome = match &accepted {
            Some(utc) if refused(utc) => UtcState::Refused,
            Some(utc) if sure => {
                self.utc.take_in(now, utc);
                UtcState::Learning
            }
            Some(_) => UtcState::Learning,
            None if references.is_empty() => UtcState::None,
            None => UtcState::Disagreeing,
        };
        if let Some((utc, distance)) = among_themselves.zip(distance)
            && outcome != UtcState::Refused
            && distance.abs() <= CLOSE
        {
            self.utc.at_utc = Some((now, utc.reach() + distance.abs()));
        }
        let leads = sure && outcome != UtcState::Refused && self.lead(now, accepted.as_ref());
        if !leads && sure {
            self.hold(now);
        }
        let has_missed = self.utc.missed > MAX_MISSED;
        self.utc.state = match outcome {
            _ if leads => UtcState::Leading,
            UtcState::None if self.utc.decides_rate() => UtcState::Held,
            // A round without an agreement may be one in which datagrams were lost.
            UtcState::Disagreeing if !has_missed && self.utc.state != UtcState::None => self.utc.state,
            outcome => outcome,
        };
        let shown = distance.map(|d| d + self.manual_rest(now));
        let offset = shown.map(|d| Offset::ahead_by(-d));
        self.utc.distance = distance;
        UtcConclusion { state: self.utc.state, accepted, offset, explained }
    }

    /// The references are divided: the cluster's own time, which has shown UTC before, decides.
    fn decide(&self, now: Raw, references: &[ReferenceInterval]) -> Option<AcceptedUtc> {
        let ((at, error), weight) = self.utc.at_utc.zip(references.iter().map(|known| known.weight).min())?;
        let (middle, reach) = (self.final_phase(now), error + DRIFTING.over(now - at));
        let held = ReferenceInterval { middle, reach, weight };
        let all: Vec<ReferenceInterval> = references.iter().copied().chain([held]).collect();
        reference_vote::agree(&all)
    }

    /// What the clocks show minus the server's oscillator.
    pub fn shown_phase(&self, now: Raw) -> Span {
        self.final_phase(now) - self.manual_rest(now)
    }

    /// UTC's rate over the server's oscillator, minus one, as well as it is known.
    pub fn utc_rate(&self, now: Raw) -> Frequency {
        self.utc.usable(now).map_or(self.timescale.frequency(), |known| known.frequency)
    }

    /// Whether the server's clock carries the cluster's time, without doubt.
    fn carries_time(&self) -> bool {
        let unsure = self.doubted > 0 || self.unsure > 0 || self.contradicted;
        self.phase == Phase::Steady && !unsure && !self.is_given()
    }

    /// What the clocks show minus the server's oscillator, once the manual adjustment is complete.
    fn final_phase(&self, now: Raw) -> Span {
        let manual = &self.manual_adjustment;
        self.timescale.phase_at(now) + self.timescale.residue_at(now) + manual.before + manual.amount
    }

    /// What the manual adjustment still adds.
    fn manual_rest(&self, now: Raw) -> Span {
        let manual = &self.manual_adjustment;
        manual.before + manual.amount - manual.added_at(self.timescale.published(now))
    }

    /// Leads the rate by what is known of UTC. `false`: that is not enough.
    fn lead(&mut self, now: Raw, accepted: Option<&AcceptedUtc>) -> bool {
        let Some(known) = self.utc.usable(now) else { return false };
        let phase = accepted.map_or(known.phase, |utc| known.phase.max(utc.low).min(utc.high));
        let distance = phase - self.final_phase(now);
        let (interval, rate) = (self.config.interval, self.timescale.frequency().ratio());
        // The oscillators' own rate over the server's is known as well: UTC's is near it.
        let utc_rate = match self.anchor.mean() {
            Some(mean) => {
                let natural = rate - mean.ratio();
                let found = known.frequency.ratio();
                found.clamp(natural - HOLDOVER.ratio(), natural + HOLDOVER.ratio())
            }
            None => known.frequency.ratio(),
        };
        let wanted = self.utc.pace.wanted(distance, interval);
        let allowed = self.utc.budget.allowed(wanted, self.utc.config.max_rate, interval);
        let missing = utc_rate + allowed - rate;
        let unsettled = !self.anchor.is_settled() && !self.utc.decides_rate();
        self.utc.choose_pace(distance, utc_rate - rate, missing, unsettled);
        if let Some(mean) = self.anchor.mean() {
            let found = mean + Frequency::from_ratio(utc_rate - rate);
            self.utc.oscillators.learn(found, interval);
        }
        self.change_rate(now, missing, utc_rate - rate);
        true
    }

    /// Without references, holds the rate that UTC had over the members' oscillators.
    fn hold(&mut self, now: Raw) {
        let Some((mean, error)) = self.anchor.mean().zip(self.utc.oscillators.mean) else { return };
        let share = (self.config.interval.as_secs_f64() / HOLDING_S).min(1.0);
        let missing = (error - mean).ratio();
        self.utc.choose_pace(Span::ZERO, missing, missing, false);
        self.change_rate(now, missing * share, missing);
    }

    /// Changes the cluster's rate by so much, or by as much of it as the pace allows. `pending` is what it is
    /// going to change by until all is quiet.
    fn change_rate(&mut self, now: Raw, missing: f64, pending: f64) {
        let most = self.utc.pace.acceleration() * self.config.interval.as_secs_f64();
        let change = Frequency::from_ratio(missing.clamp(-most, most));
        let change = self.anchor.lead(change, Frequency::from_ratio(pending));
        self.timescale.shift_frequency(now, change);
        self.ensemble.shift_frequency(now, change);
        self.utc.oscillators.shift(change);
    }
}

/// Having shown UTC, the cluster's held time goes away from it by no more than this: the assumption about
/// oscillators in a room under which bounds are guaranteed, too.
const DRIFTING: Frequency = Frequency::from_ppm(1.0);
/// The time constant with which F is held at b: the rate anchor's.
const HOLDING_S: f64 = 300.0;
