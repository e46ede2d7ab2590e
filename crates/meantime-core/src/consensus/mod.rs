//! The timekeeper: decides what the cluster time is, and which members get a correction.
//!
//! Once a round it gets a [`MemberReading`] of each client. It is in one of three phases.
//!
//! * **Listening**: there is no cluster time. As soon as every client was heard, the classic Berkeley
//!   algorithm decides once: the mean of all clocks within a wide radius of their median, if these are a
//!   majority. But if most clients already carry a cluster's time, because the server has restarted, the
//!   server adopts that time instead.
//! * **Following**: the server learns phase and frequency of the time that its clients carry. Meanwhile it
//!   sends those clients no corrections.
//! * **Steady**: the server's disciplined clock carries cluster time, and the vote checks it. Each client is
//!   sent its own correction. The result of the vote is *not* fed back into all clocks: a constant bias by
//!   liars that stay within the window would become an acceleration. If more than half of all members agree
//!   with one another and not with the server, the server sends no corrections; after two such rounds it is
//!   deposed, and follows. With f < m/2 liars a good server is never deposed, so liars cannot move the phase
//!   of the cluster at all.
//!
//! An unsure server sends no corrections: the members go into holdover, and a minute of that costs them less
//! than a microsecond.
//!
//! All readings are stored relative to the server's free-running oscillator, so that changes of the cluster
//! time do not make older readings wrong.

mod ensemble;
mod following;
mod listening;
mod manual_adjustment;
mod rate_anchor;
mod reading;
mod steady;
#[cfg(test)]
mod tests;
pub mod vote;
mod window;

use alloc::borrow::Cow;
use alloc::vec::Vec;

pub use self::manual_adjustment::SetTimeError;
pub use self::reading::{
    Conclusion, FrequencyReport, MemberJudgement, MemberReading, PhaseReading, PhaseTransition, Recipients,
};

use self::ensemble::{Ensemble, EnsembleObservation};
use self::rate_anchor::RateAnchor;
use self::window::{AgreementWindow, MAX_WINDOW};
use crate::config::PLAUSIBLE_FOR;
use crate::estimation::timescale::Timescale;
use crate::event::{Adjustment, Exclusion, Outcome};
use crate::saved_state;

use crate::time::{Frequency, Offset, Raw, Span, Timestamp};
use crate::wire::{ClientState, ClusterId, ManualAdjustment};

/// Decides what the cluster time is.
#[derive(Clone, Debug)]
pub struct Timekeeper {
    config: TimekeeperConfig,
    timescale: Timescale,
    cluster: ClusterId,
    /// The newest manual time adjustment.
    manual_adjustment: ManualAdjustment,
    phase: Phase,
    recipients: Recipients,
    window: AgreementWindow,
    last_window: Span,
    anchor: RateAnchor,
    /// The cluster's rate over the server's oscillator, minus one, and one standard deviation of that, as
    /// known before the server followed this cluster's time.
    prior: Option<(Frequency, Frequency)>,
    ensemble: Ensemble,
    /// The clients' time in the last round, if the server's own clock was in doubt then.
    doubt: Option<EnsembleObservation>,
    unsure: u32,
    /// Whether this round's own readings contradict the vote.
    contradicted: bool,
    undecided: bool,
}

/// The configuration of a timekeeper.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimekeeperConfig {
    /// From one round to the next.
    pub interval: Span,
    /// The first vote leaves out readings farther than this from the median.
    pub radius: Span,
    /// Clocks that show less than this do not vote.
    pub plausible_from: Timestamp,
    /// The cluster's rate over the server's oscillator, minus one, as an earlier run has learned it; and one
    /// standard deviation of that by now.
    pub initial_frequency: Option<(Frequency, Frequency)>,
    /// The cluster whose time the server's oscillator already shows, because another server decides it.
    pub external_cluster: Option<ClusterId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// For so many votes.
    Listening(u32),
    /// For so many more rounds.
    Following(u32),
    Steady,
}

impl Timekeeper {
    /// The timekeeper of a server whose oscillator reads `raw` now.
    pub fn new(config: TimekeeperConfig, raw: Raw) -> Timekeeper {
        let prior = config.initial_frequency.filter(|(frequency, _)| ensemble::is_acceptable(*frequency));
        let mut timescale = Timescale::free_running(raw);
        timescale.shift_frequency(raw, prior.map_or(Frequency::ZERO, |(frequency, _)| frequency));
        Timekeeper {
            config,
            timescale,
            cluster: config.external_cluster.unwrap_or_default(),
            manual_adjustment: ManualAdjustment::NONE,
            phase: if config.external_cluster.is_some() { Phase::Steady } else { Phase::Listening(0) },
            recipients: if config.external_cluster.is_some() { Recipients::All } else { Recipients::None },
            window: AgreementWindow::default(),
            last_window: MAX_WINDOW,
            anchor: RateAnchor::default(),
            prior,
            ensemble: Ensemble::with_prior(prior),
            doubt: None,
            unsure: 0,
            contradicted: false,
            undecided: false,
        }
    }

    /// The server's disciplined clock.
    pub fn timescale(&self) -> &Timescale {
        &self.timescale
    }

    /// The cluster; 0: it has no time yet.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The cumulative rate command.
    pub fn rate(&self) -> Frequency {
        self.anchor.rate()
    }

    /// Readings farther than this from the median did not agree in the last vote.
    pub fn window(&self) -> Span {
        self.last_window
    }

    /// The members to which the server sends corrections now.
    pub fn recipients(&self) -> Recipients {
        self.recipients
    }

    /// The state of the server's own clock.
    pub fn state(&self) -> ClientState {
        match (self.cluster, self.phase) {
            (ClusterId(0), _) => ClientState::Unsynchronized,
            (_, Phase::Listening(_)) => ClientState::Holdover,
            _ => ClientState::Synchronized,
        }
    }

    /// Whether the next round should come soon: members were not heard yet that the first vote waits for, or
    /// the server's own clock is in doubt, or the majority has just been lost.
    pub fn wants_round_soon(&self, unheard: usize) -> bool {
        match self.phase {
            Phase::Listening(_) => self.is_waiting_for(unheard),
            Phase::Following(_) | Phase::Steady => {
                self.doubt.is_some() || (1..=MAX_HASTENED).contains(&self.unsure)
            }
        }
    }

    /// Whether the first vote waits for members that were not heard yet.
    fn is_waiting_for(&self, unheard: usize) -> bool {
        matches!(self.phase, Phase::Listening(votes) if unheard > 0 && votes < MAX_WAITING_VOTES)
    }

    /// The estimated error of the server's own clock, one standard deviation.
    pub fn own_error(&self, raw: Raw) -> Option<Span> {
        match self.phase {
            Phase::Steady => Some(self.timescale.residue_at(raw).abs()),
            Phase::Following(_) => self.ensemble.estimate(raw).map(|known| known.error),
            Phase::Listening(_) => None,
        }
    }

    /// The bound of the server's own clock. Its clock *carries* cluster time, so this is only the rest of its
    /// current slew. `None` while the server learns the time from its members.
    pub fn own_bound(&self, raw: Raw) -> Option<Span> {
        let carries = self.phase == Phase::Steady && self.doubt.is_none();
        let base = self.timescale.published(raw);
        carries.then(|| self.manual_adjustment.reach(base, self.timescale.residue_at(raw).abs()))
    }

    /// How far the server's own frequency may be off the rate of the cluster's time, now and when that has
    /// become quiet, one standard deviation; `None`: unknown.
    ///
    /// A server that follows has it from its filter. One that carries the time *has* the cluster's rate; what
    /// may be off are the members, by what they know theirs to, and it is about to change by their mean F
    /// (see the anchor).
    pub fn frequency_error(&self, raw: Raw) -> Option<Frequency> {
        match self.phase {
            _ if self.doubt.is_some() || self.unsure > 0 => None,
            Phase::Following(_) => self.ensemble.estimate(raw).map(|known| known.frequency_error),
            Phase::Steady => self.anchor.error(),
            Phase::Listening(_) => None,
        }
    }

    /// Whether the server is learning the cluster's time from its members.
    pub fn is_learning(&self) -> bool {
        matches!(self.phase, Phase::Following(_))
    }

    /// Whether the cluster's rate may still be steered fast, since it has never been settled.
    pub fn is_brisk(&self) -> bool {
        !self.anchor.is_settled()
    }

    /// The oscillator stood still for `slept`. The server's own clock is set as well as the machine knows,
    /// and is not trusted any more: the server listens, sends no corrections, and adopts the members' time,
    /// as after a restart.
    pub fn wake_up(&mut self, raw: Raw, slept: Span) {
        let sure = self.frequency_error(raw).filter(|error| saved_state::is_worth_saving(*error));
        let learned = sure.map(|error| (self.timescale.frequency(), saved_state::aged(error, slept, true)));
        self.prior = learned.or(self.prior);
        let phase = self.timescale.phase_at(raw) + slept;
        self.timescale.set(raw, phase, self.timescale.frequency(), Adjustment::Step);
        self.phase = Phase::Listening(0);
        self.recipients = Recipients::None;
        self.ensemble = Ensemble::with_prior(self.prior);
        self.doubt = None;
        self.unsure = 0;
        self.undecided = false;
    }

    /// Concludes round `round`: votes, and adjusts the server's own clock. `now` is not before any reading;
    /// `new_cluster` is the id of the cluster if this round founds one.
    pub fn conclude(
        &mut self,
        round: u32,
        now: Raw,
        member_readings: &[MemberReading<'_>],
        new_cluster: ClusterId,
    ) -> Conclusion {
        // A removed member does not count as a member.
        let some_removed = member_readings.iter().any(|member| member.removed);
        let voters: Cow<'_, [MemberReading<'_>]> = match some_removed {
            true => member_readings.iter().filter(|member| !member.removed).copied().collect(),
            false => member_readings.into(),
        };
        let mut conclusion = Conclusion::blank(round, voters.len());
        self.contradicted = false;
        match self.phase {
            Phase::Listening(votes) => {
                self.conclude_listening(votes, now, &voters, new_cluster, &mut conclusion)
            }
            Phase::Following(left) => self.conclude_following(left, now, &voters, &mut conclusion),
            Phase::Steady => self.conclude_steady(now, &voters, &mut conclusion),
        }
        if some_removed {
            self.judge_removed(member_readings, &mut conclusion);
        }
        self.recipients = match conclusion.report.outcome {
            // For a member without cluster time, the server's time is better than none.
            Outcome::Unsure if self.phase == Phase::Steady && !self.contradicted => Recipients::Joining,
            Outcome::Listening | Outcome::Unsure | Outcome::ServerInDoubt => Recipients::None,
            Outcome::Following => Recipients::Joining,
            Outcome::Agreed => Recipients::All,
        };
        self.last_window = conclusion.report.window;
        conclusion.report.mean_frequency = self.anchor.mean();
        conclusion.report.rate = self.anchor.rate();
        conclusion
    }

    /// Adds the judgements about removed members to those of the voters, so that the operator sees how far
    /// off they are.
    fn judge_removed(&self, member_readings: &[MemberReading<'_>], conclusion: &mut Conclusion) {
        let (median, window) = (conclusion.report.median.span(), conclusion.report.window);
        let set_since = matches!(conclusion.transition, Some(PhaseTransition::Deposed(_)));
        let no_vote = conclusion.own.is_none() || set_since;
        let removed = |member: &MemberReading<'_>| {
            let reading = member.reading.filter(|_| member.state.has_cluster_time() && !no_vote)?;
            let offset = self.offset(&reading).span() - median;
            let agrees = offset.abs() <= window + reading.excess && self.implausible(&reading).is_none();
            Some(MemberJudgement {
                offset: Offset::ahead_by(offset),
                agrees,
                exclusion: Some(Exclusion::Removed),
            })
        };
        let mut voters = core::mem::take(&mut conclusion.judgements).into_iter();
        conclusion.judgements = member_readings
            .iter()
            .map(|member| if member.removed { removed(member) } else { voters.next().flatten() })
            .collect();
    }

    /// The client's clock minus the cluster's time, at the reading.
    fn offset(&self, reading: &PhaseReading) -> Offset {
        Offset::ahead_by(reading.phase - self.timescale.phase_at(reading.at))
    }

    fn implausible(&self, reading: &PhaseReading) -> Option<Exclusion> {
        let from = self.config.plausible_from;
        match reading.clock() {
            clock if clock < from => Some(Exclusion::BeforePlausible),
            clock if clock > from + PLAUSIBLE_FOR => Some(Exclusion::AfterPlausible),
            _ => None,
        }
    }

    fn become_steady(&mut self) {
        self.phase = Phase::Steady;
        self.window.forget();
        self.doubt = None;
        self.unsure = 0;
        self.undecided = false;
    }
}

fn typical_noise(readings: &[PhaseReading]) -> Span {
    let noises: Vec<Span> = readings.iter().map(|reading| reading.noise).collect();
    vote::median(&noises).unwrap_or_default()
}

/// One standard deviation of a median of readings, in seconds: from their scatter where there are enough of
/// them, never less than their own noise allows.
fn deviation_of_median(votes: &[vote::VoteReading], readings: &[PhaseReading]) -> f64 {
    let offsets: Vec<Span> = votes.iter().map(|reading| reading.offset).collect();
    let scatter = vote::robust_deviation(&offsets).unwrap_or_default();
    let noise = typical_noise(readings);
    // A median's deviation is 1.25 times that of a mean.
    1.25 * scatter.max(noise).as_secs_f64() / (votes.len().max(1) as f64).sqrt()
}

/// After so many unsure rounds in a row, rounds are no longer hastened.
const MAX_HASTENED: u32 = 3;
/// So many votes the first vote waits for a client that is never heard.
const MAX_WAITING_VOTES: u32 = 6;
