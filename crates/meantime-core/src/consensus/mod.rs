//! The keeper of the cluster's time: what the server believes, and whom it tells.
//!
//! It is asked once a round, with a [`MemberReading`] for each client, and is in one of three phases.
//!
//! * **Listening**: there is no cluster time. When every client was heard, the classic algorithm decides it
//!   once: the mean of all clocks within a wide radius of their median, if they are a majority. But if most
//!   clients already carry a cluster's time (the server has restarted), that time is taken over instead.
//! * **Following**: the server learns phase and frequency of the time that its clients carry, and leaves
//!   those clients alone meanwhile.
//! * **Steady**: the server's disciplined clock carries the cluster's time, and the vote watches it. Each
//!   client is told its own offset. What the vote finds is *not* fed back into every clock: a constant bias
//!   of liars who stay inside the window would become an acceleration. If more than half of all members agree
//!   with one another and not with the server, the server is silent, and after two such rounds it is deposed:
//!   it follows. With f < m/2 liars a good server is never deposed, so they cannot move the cluster's phase
//!   at all.
//!
//! Unsure means silent: the members fly on, and a minute of that costs them less than a microsecond.
//!
//! All readings are kept relative to the server's free-running oscillator, so that whatever happens to the
//! cluster's time does not make old readings wrong.

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

pub use self::manual_adjustment::Unsettable;
pub use self::reading::{
    Conclusion, FrequencyReport, Judgement, MemberReading, PhaseReading, PhaseTransition, Recipients,
};

use self::ensemble::{Ensemble, Observation};
use self::rate_anchor::Anchor;
use self::window::{MAX_WINDOW, Window};
use crate::config::PLAUSIBLE_FOR;
use crate::estimation::timescale::Timescale;
use crate::event::{Adjustment, Exclusion, Outcome};
use crate::saved_state;

use crate::time::{Frequency, Offset, Raw, Span, Timestamp};
use crate::wire::{ClientState, ClusterId, ManualAdjustment};

/// Keeps the cluster's time.
#[derive(Clone, Debug)]
pub struct Timekeeper {
    settings: TimekeeperConfig,
    timescale: Timescale,
    cluster: ClusterId,
    /// What somebody has set that time by.
    setting: ManualAdjustment,
    phase: Phase,
    audience: Recipients,
    window: Window,
    last_window: Span,
    anchor: Anchor,
    /// The cluster's rate over the server's oscillator, minus one, as it was known before this cluster's time
    /// was followed; and one standard deviation of that.
    known: Option<(Frequency, Frequency)>,
    ensemble: Ensemble,
    /// Where the clients' time was in the last round, if the server's own clock was in doubt then.
    doubt: Option<Observation>,
    unsure: u32,
    /// Whether this round's own readings contradict the vote.
    contradicted: bool,
    undecided: bool,
}

/// What a keeper needs to know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimekeeperConfig {
    /// From one round to the next.
    pub interval: Span,
    /// At the start, readings farther than this from the median are thrown out.
    pub radius: Span,
    /// Clocks that show less than this do not vote.
    pub plausible_from: Timestamp,
    /// The cluster's rate over the server's oscillator, minus one, as an earlier run has learned it; and one
    /// standard deviation of that by now.
    pub known: Option<(Frequency, Frequency)>,
    /// The cluster whose time the server's oscillator shows already, kept by others.
    pub given: Option<ClusterId>,
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
    /// The keeper of a server whose oscillator reads `raw` now.
    pub fn new(settings: TimekeeperConfig, raw: Raw) -> Timekeeper {
        let known = settings.known.filter(|(frequency, _)| ensemble::is_acceptable(*frequency));
        let mut timescale = Timescale::free_running(raw);
        timescale.shift_frequency(raw, known.map_or(Frequency::ZERO, |(frequency, _)| frequency));
        Timekeeper {
            settings,
            timescale,
            cluster: settings.given.unwrap_or_default(),
            setting: ManualAdjustment::NONE,
            phase: if settings.given.is_some() { Phase::Steady } else { Phase::Listening(0) },
            audience: if settings.given.is_some() { Recipients::All } else { Recipients::None },
            window: Window::default(),
            last_window: MAX_WINDOW,
            anchor: Anchor::default(),
            known,
            ensemble: Ensemble::knowing(known),
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

    /// The cluster whose time is kept; 0: none yet.
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

    /// Whom the server may tell the cluster's time now.
    pub fn audience(&self) -> Recipients {
        self.audience
    }

    /// How the server's own clock stands.
    pub fn state(&self) -> ClientState {
        match (self.cluster, self.phase) {
            (ClusterId(0), _) => ClientState::Unsynchronized,
            (_, Phase::Listening(_)) => ClientState::Holdover,
            _ => ClientState::Synchronized,
        }
    }

    /// Whether the next round should come soon: members were not heard yet that the first vote waits for, or
    /// the server's own clock is in doubt, or the majority has just been lost.
    pub fn is_impatient(&self, unheard: usize) -> bool {
        match self.phase {
            Phase::Listening(_) => self.is_waiting_for(unheard),
            Phase::Following(_) | Phase::Steady => {
                self.doubt.is_some() || (1..=IMPATIENT).contains(&self.unsure)
            }
        }
    }

    /// Whether the first vote waits for members that were not heard yet.
    fn is_waiting_for(&self, unheard: usize) -> bool {
        matches!(self.phase, Phase::Listening(votes) if unheard > 0 && votes < PATIENCE)
    }

    /// How far the server's own clock may be off the cluster's time, one standard deviation.
    pub fn own_error(&self, raw: Raw) -> Option<Span> {
        match self.phase {
            Phase::Steady => Some(self.timescale.residue_at(raw).abs()),
            Phase::Following(_) => self.ensemble.estimate(raw).map(|known| known.error),
            Phase::Listening(_) => None,
        }
    }

    /// How far the server's own clock may be off the cluster's time at most: its clock *carries* that time,
    /// so all that it can be off is what it still slews away. `None` while it has to find out what the time
    /// is.
    pub fn own_bound(&self, raw: Raw) -> Option<Span> {
        let carries = self.phase == Phase::Steady && self.doubt.is_none();
        let base = self.timescale.published(raw);
        carries.then(|| self.setting.reach(base, self.timescale.residue_at(raw).abs()))
    }

    /// How far the server's own frequency may be off the rate of the cluster's time, now and when that has
    /// become quiet, one standard deviation; `None`: who knows.
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

    /// The oscillator has missed `slept`: the server's own clock is put right as far as the machine knows,
    /// and is not to be trusted any more. It is silent, and listens, and takes the members' time, as after a
    /// restart.
    pub fn wake_up(&mut self, raw: Raw, slept: Span) {
        let sure = self.frequency_error(raw).filter(|error| saved_state::is_worth_keeping(*error));
        let learned = sure.map(|error| (self.timescale.frequency(), saved_state::aged(error, slept, true)));
        self.known = learned.or(self.known);
        let phase = self.timescale.phase_at(raw) + slept;
        self.timescale.set(raw, phase, self.timescale.frequency(), Adjustment::Step);
        self.phase = Phase::Listening(0);
        self.audience = Recipients::None;
        self.ensemble = Ensemble::knowing(self.known);
        self.doubt = None;
        self.unsure = 0;
        self.undecided = false;
    }

    /// Concludes round `round`: votes, and adjusts the server's own clock. `now` is not before any reading;
    /// `fresh_cluster` is the name that a new cluster would get.
    pub fn conclude(
        &mut self,
        round: u32,
        now: Raw,
        ballots: &[MemberReading<'_>],
        fresh_cluster: ClusterId,
    ) -> Conclusion {
        // Whoever has no vote does not count as a member either.
        let some_removed = ballots.iter().any(|ballot| ballot.removed);
        let voters: Cow<'_, [MemberReading<'_>]> = match some_removed {
            true => ballots.iter().filter(|ballot| !ballot.removed).copied().collect(),
            false => ballots.into(),
        };
        let mut conclusion = Conclusion::blank(round, voters.len());
        self.contradicted = false;
        match self.phase {
            Phase::Listening(votes) => self.listen(votes, now, &voters, fresh_cluster, &mut conclusion),
            Phase::Following(left) => self.follow(left, now, &voters, &mut conclusion),
            Phase::Steady => self.watch(now, &voters, &mut conclusion),
        }
        if some_removed {
            self.judge_removed(ballots, &mut conclusion);
        }
        self.audience = match conclusion.report.outcome {
            // Whoever has no time yet is better off with the server's than with none.
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

    /// Puts the vote's word on those that have none of their own among the others': they are told how they
    /// stand, too.
    fn judge_removed(&self, ballots: &[MemberReading<'_>], conclusion: &mut Conclusion) {
        let (median, window) = (conclusion.report.median.span(), conclusion.report.window);
        let set_since = matches!(conclusion.turn, Some(PhaseTransition::Deposed(_)));
        let nobody = conclusion.own.is_none() || set_since;
        let removed = |ballot: &MemberReading<'_>| {
            let reading = ballot.reading.filter(|_| ballot.state.has_cluster_time() && !nobody)?;
            let offset = self.offset(&reading).span() - median;
            let agrees = offset.abs() <= window + reading.excess && self.implausible(&reading).is_none();
            Some(Judgement { offset: Offset::ahead_by(offset), agrees, exclusion: Some(Exclusion::Removed) })
        };
        let mut voters = core::mem::take(&mut conclusion.judged).into_iter();
        conclusion.judged = ballots
            .iter()
            .map(|ballot| if ballot.removed { removed(ballot) } else { voters.next().flatten() })
            .collect();
    }

    /// The client's clock minus the cluster's time, at the reading.
    fn offset(&self, reading: &PhaseReading) -> Offset {
        Offset::ahead_by(reading.phase - self.timescale.phase_at(reading.at))
    }

    fn implausible(&self, reading: &PhaseReading) -> Option<Exclusion> {
        let from = self.settings.plausible_from;
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

/// After so many unsure rounds there is no hurry any more.
const IMPATIENT: u32 = 3;
/// Votes for which a cluster without a time waits for a client that is never heard.
const PATIENCE: u32 = 6;
