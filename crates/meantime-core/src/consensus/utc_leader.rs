//! What the timekeeper knows of UTC, and how it may lead the cluster's time to it.

use super::ensemble::{Ensemble, EnsembleObservation};
use super::leading_law::{CLOSE, LeadingBudget, LeadingPace};
use super::reference_vote::AcceptedUtc;
use crate::config::LeadingConfig;
use crate::estimation::kalman::Estimate;
use crate::reference::UtcState;
use crate::time::{Frequency, Offset, Raw, Span};

/// What the references have led to in a round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UtcConclusion {
    /// How the cluster's time stands to UTC.
    pub state: UtcState,
    /// What the majority of the references states, over the server's oscillator; `None`: nothing.
    pub accepted: Option<AcceptedUtc>,
    /// What the cluster's clocks show minus UTC; `None`: unknown.
    pub offset: Option<Offset>,
    /// The largest offset that holdover explains.
    pub explained: Span,
}

/// What the timekeeper knows of UTC.
#[derive(Clone, Debug)]
pub(super) struct UtcLeader {
    pub(super) config: LeadingConfig,
    pub(super) radius: Span,
    pub(super) state: UtcState,
    /// UTC over the server's oscillator.
    pub(super) known: Ensemble,
    /// Rounds since a majority of the references was last accepted.
    pub(super) missed: u32,
    pub(super) pace: LeadingPace,
    /// For so many rounds corrections have said that the pace is brisk; 0: they do not.
    pub(super) announced: u32,
    pub(super) budget: LeadingBudget,
    pub(super) oscillators: OscillatorError,
    /// When the clocks showed UTC last, and how exactly.
    pub(super) at_utc: Option<(Raw, Span)>,
    /// Since when the cluster's time runs.
    pub(super) since: Raw,
    /// UTC minus what the clocks are going to show once the manual adjustment is complete.
    pub(super) distance: Option<Span>,
}

/// b, the mean error of the members' oscillators.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OscillatorError {
    pub(super) mean: Option<Frequency>,
    /// How much it rests on, in rounds.
    pub(super) rounds: u32,
    /// F as it should be in the next round, if no member comes or goes.
    pub(super) expected: Option<Frequency>,
}

impl OscillatorError {
    /// F of a round. What it differs from its expectation by more than oscillators do comes from members that
    /// came or went.
    pub(super) fn note(&mut self, mean: Option<Frequency>) {
        if let (Some(found), Some(expected)) = (mean, self.expected)
            && (found - expected).ratio().abs() > UNEXPLAINED
        {
            self.mean = self.mean.map(|error| error + (found - expected));
        }
        self.expected = mean.or(self.expected);
    }

    /// The cluster's rate changes.
    pub(super) fn shift(&mut self, change: Frequency) {
        self.expected = self.expected.map(|mean| mean + change);
    }

    /// b as a round has found it, by one of many.
    pub(super) fn learn(&mut self, found: Frequency, interval: Span) {
        let most = (AVERAGED_S / interval.as_secs_f64().max(1e-3)).max(1.0);
        self.rounds = self.rounds.saturating_add(1);
        let share = 1.0 / f64::from(self.rounds).min(most);
        let before = self.mean.unwrap_or(found);
        self.mean = Some(before + Frequency::from_ratio((found - before).ratio() * share));
    }
}

impl UtcLeader {
    /// The cluster's time runs from `raw` on.
    pub(super) fn new(config: LeadingConfig, radius: Span, raw: Raw) -> UtcLeader {
        UtcLeader {
            config,
            radius,
            state: UtcState::None,
            known: Ensemble::default(),
            missed: 0,
            pace: LeadingPace::Gentle,
            announced: 0,
            budget: LeadingBudget::new(config.daily),
            oscillators: OscillatorError::default(),
            at_utc: None,
            since: raw,
            distance: None,
        }
    }

    /// Whether the cluster's rate is led or held, and not steered to the mean of its oscillators.
    pub(super) fn decides_rate(&self) -> bool {
        self.oscillators.mean.is_some()
    }

    /// Whether the rate may change fast, or soon may.
    pub(super) fn is_brisk(&self) -> bool {
        self.announced > 0
    }

    /// UTC minus what the clocks show once the manual adjustment is complete, while they are led to it.
    pub(super) fn led_by(&self) -> Option<Span> {
        self.distance.filter(|_| self.state == UtcState::Leading)
    }

    /// The server's oscillator has jumped or stood still: UTC over it has to be learned again.
    pub(super) fn forget_phase(&mut self) {
        self.known = Ensemble::default();
    }

    /// The oscillator stood still for so long, in which the time was held over.
    pub(super) fn note_sleep(&mut self, slept: Span) {
        if let Some((_, error)) = &mut self.at_utc {
            *error += HOLDOVER.over(slept);
        }
    }

    /// The time is set, by an operator or a first vote: that it was UTC before says nothing any more.
    pub(super) fn note_set_time(&mut self) {
        self.at_utc = None;
    }

    /// The largest distance that holdover explains.
    pub(super) fn explained(&self, now: Raw) -> Span {
        match self.at_utc {
            Some((at, error)) => error + HOLDOVER.over(now - at),
            None => self.radius + HOLDOVER.over(now - self.since),
        }
    }

    /// Takes in what the references state. An outlier is confirmed by the next round, or forgotten.
    pub(super) fn take_in(&mut self, now: Raw, accepted: &AcceptedUtc) {
        self.missed = 0;
        let deviation_s = (accepted.reach().as_secs_f64() / SIGMAS).max(FINEST_S);
        let _ = self.known.observe(EnsembleObservation { at: now, phase: accepted.middle, deviation_s });
    }

    /// What is known of UTC, if that is enough to lead by.
    pub(super) fn usable(&self, now: Raw) -> Option<Estimate> {
        let known = self.known.estimate(now).filter(|_| self.missed <= MAX_MISSED)?;
        (known.frequency_error.ratio() <= KNOWN).then_some(known)
    }

    /// Chooses the pace: for this distance, if the rate is `slow` below UTC's and `missing` below what is
    /// wanted.
    pub(super) fn choose_pace(&mut self, distance: Span, slow: f64, missing: f64, unsettled: bool) {
        // The rate at which a gentle approach goes on is no reason for a brisk one.
        let fast = FAST + LeadingPace::Gentle.wanted(FAR, Span::ZERO);
        match self.pace {
            LeadingPace::Brisk if distance.abs() <= CLOSE && missing.abs() <= NEAR => {
                (self.pace, self.announced) = (LeadingPace::Gentle, 0);
            }
            LeadingPace::Gentle if distance.abs() > FAR || slow.abs() > fast => {
                self.announced = self.announced.saturating_add(1);
                if unsettled || self.announced > ANNOUNCED {
                    self.pace = LeadingPace::Brisk;
                }
            }
            LeadingPace::Gentle => self.announced = 0,
            LeadingPace::Brisk => {}
        }
    }
}

/// An oscillator that runs by itself is not farther off than this.
pub(super) const HOLDOVER: Frequency = Frequency::from_ppm(100.0);
/// A maximum error is so many standard deviations.
const SIGMAS: f64 = 6.0;
/// The noise of a measurement in a network is hardly smaller than this, in seconds.
const FINEST_S: f64 = 20e-6;
/// UTC's rate is known well enough to lead by: at the largest acceleration eight rounds change more.
const KNOWN: f64 = 2e-6;
/// For so many rounds without an agreement the last one counts.
pub(super) const MAX_MISSED: u32 = 3;
/// A brisk pace is announced for so many rounds: a client that hears nothing for longer has no session.
const ANNOUNCED: u32 = 4;
/// A larger distance than this calls for a brisk pace: a gentle one would take more than half an hour.
const FAR: Span = Span::from_millis(2);
/// So does a rate that is farther from UTC's than a gentle approach ever is, by this much: a gentle pace
/// would need 17 minutes to change it.
const FAST: f64 = 1e-6;
/// A brisk pace ends when the rate is this near to the wanted one.
const NEAR: f64 = 100e-9;
/// b is an average over so many seconds.
const AVERAGED_S: f64 = 3_600.0;
/// From one round to the next the mean of good oscillators changes by less than this.
const UNEXPLAINED: f64 = 20e-9;
