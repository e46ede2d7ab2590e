//! The timekeeper's state: what it shows to the outside, and its changes from phase to phase.

use super::arrivals::{Arrivals, has_lasted};
use super::ensemble::{self, Ensemble, EnsembleObservation};
use super::rate_anchor::RateAnchor;
use super::reading::{PhaseReading, Recipients};
use super::relay_state::GivenTime;
use super::utc_leader::UtcLeader;
use super::weight::Weight;
use super::window::{AgreementWindow, MAX_WINDOW};
use crate::PlausibleTimes;
use crate::config::LeadingConfig;
use crate::config::SILENT_ROUNDS;
use crate::estimation::timescale::Timescale;
use crate::event::{Adjustment, Exclusion, UndecidedReason};
use crate::saved_state::{self, Boot, KeptTime};
use crate::time::{Frequency, Offset, Raw, Span};
use crate::wire::{ClientState, ClusterId, ManualAdjustment, RelayedTime};

/// Decides what the cluster time is.
#[derive(Clone, Debug)]
pub struct Timekeeper {
    pub(super) config: TimekeeperConfig,
    pub(super) timescale: Timescale,
    pub(super) cluster: ClusterId,
    /// The newest manual time adjustment.
    pub(super) manual_adjustment: ManualAdjustment,
    pub(super) phase: Phase,
    pub(super) recipients: Recipients,
    pub(super) window: AgreementWindow,
    pub(super) last_window: Span,
    pub(super) anchor: RateAnchor,
    /// The cluster's rate over the server's oscillator, minus one, and one standard deviation of that, as
    /// known before the server followed this cluster's time.
    pub(super) prior: Option<(Frequency, Frequency)>,
    pub(super) ensemble: Ensemble,
    /// What is known of UTC.
    pub(super) utc: UtcLeader,
    /// The clients' time in the last round, if the server's own clock was in doubt then.
    pub(super) doubt: Option<EnsembleObservation>,
    /// In so many rounds in a row that was so.
    pub(super) doubted: u32,
    pub(super) unsure: u32,
    /// Whether this round's own readings contradict the vote.
    pub(super) contradicted: bool,
    /// Whether the first vote could not decide, which is reported once.
    pub(super) undecided: bool,
    /// While there is no cluster time: why.
    pub(super) undecided_reason: UndecidedReason,
    /// The cluster time that the server has kept over a restart.
    pub(super) kept: Option<KeptTime>,
    /// The time that was kept is known less and less well since then.
    pub(super) kept_since: Raw,
    /// What the clients with a vote count, as they were in the last round of a server with the cluster's
    /// time; then, the most that have been there, and may return.
    pub(super) voters: Weight,
    /// Whether the server's machine has slept since its clock had the cluster's time: the server knows the
    /// clients with a vote, and its own clock is not to be trusted.
    pub(super) slept: bool,
    /// Whether clients are still arriving while it listens.
    pub(super) arrivals: Arrivals,
    /// When the server began to follow its clients, and their time minus its oscillator then.
    pub(super) followed_from: (Raw, Span),
    /// When the server began to listen, or had no client last.
    pub(super) listens_since: Raw,
    /// `None`: the time is not given from outside.
    pub(super) given: Option<GivenTime>,
    /// What the clients add to the time of the timescale.
    pub(super) relayed: RelayedTime,
}

/// The configuration of a timekeeper.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimekeeperConfig {
    /// From one round to the next.
    pub interval: Span,
    /// The first vote leaves out readings farther than this from the median.
    pub radius: Span,
    /// Clocks that show another time do not vote.
    pub plausible: PlausibleTimes,
    /// The cluster's rate over the server's oscillator, minus one, as an earlier run has learned it; and one
    /// standard deviation of that by now.
    pub initial_frequency: Option<(Frequency, Frequency)>,
    /// Whether the server is a relay: another server decides the time, always.
    pub relay: bool,
    /// Whether the server is one of several, and begins as a standby server.
    pub standby: bool,
    /// The cluster time that the oscillator shows at the start, if it was kept over a restart.
    pub kept: Option<KeptTime>,
    /// How fast references lead the cluster's time.
    pub leading: LeadingConfig,
}

/// What the timekeeper is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is no cluster time, and there were so many votes.
    Listening(u32),
    /// It learns the time that its clients carry, for so many more rounds.
    Following(u32),
    /// Its clock carries the cluster's time.
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
            cluster: ClusterId::default(),
            manual_adjustment: ManualAdjustment::NONE,
            phase: Phase::Listening(0),
            recipients: Recipients::None,
            window: AgreementWindow::default(),
            last_window: MAX_WINDOW,
            anchor: RateAnchor::default(),
            prior,
            ensemble: Ensemble::with_prior(prior),
            utc: UtcLeader::new(config.leading, config.radius, raw),
            doubt: None,
            doubted: 0,
            unsure: 0,
            contradicted: false,
            undecided: false,
            undecided_reason: UndecidedReason::NoClients,
            kept: config.kept,
            kept_since: raw,
            voters: Weight::ZERO,
            slept: false,
            arrivals: Arrivals::new(raw),
            followed_from: (raw, Span::ZERO),
            listens_since: raw,
            given: (config.relay || config.standby).then(GivenTime::default),
            relayed: RelayedTime::NONE,
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
        let given = self.given_time();
        match (self.cluster, self.phase) {
            (ClusterId(0), _) => ClientState::Unsynchronized,
            (_, Phase::Steady) if self.is_given() => given.map_or(ClientState::Holdover, |time| time.state),
            (_, Phase::Listening(_)) => ClientState::Holdover,
            _ => ClientState::Synchronized,
        }
    }

    /// Whether the server's clock carries the cluster's time, or learns it from its members. A relay's does
    /// also while the server above is gone.
    pub fn has_time(&self) -> bool {
        self.cluster != ClusterId(0) && !matches!(self.phase, Phase::Listening(_))
    }

    /// Whether the next round should come soon: members were not heard yet that the first vote waits for, or
    /// the server's own clock is in doubt, or the majority has just been lost.
    pub fn wants_round_soon(&self, unheard: usize) -> bool {
        match self.phase {
            _ if self.is_given() => false,
            Phase::Listening(_) => self.is_waiting_for(unheard),
            Phase::Following(_) | Phase::Steady => {
                [self.unsure, self.doubted].iter().any(|rounds| (1..=MAX_HASTENED).contains(rounds))
            }
        }
    }

    /// Whether the first vote waits for members that were not heard yet.
    pub(super) fn is_waiting_for(&self, unheard: usize) -> bool {
        matches!(self.phase, Phase::Listening(votes) if unheard > 0 && votes < MAX_WAITING_VOTES)
    }

    /// The estimated error of the server's own clock, one standard deviation.
    pub fn own_error(&self, raw: Raw) -> Option<Span> {
        match self.phase {
            Phase::Steady if self.is_relay() => self.relayed.error_at(self.timescale.estimate(raw)),
            Phase::Steady if self.is_given() => Some(self.given_time()?.error_at(raw)),
            Phase::Steady => Some(self.timescale.residue_at(raw).abs()),
            Phase::Following(_) => self.ensemble.estimate(raw).map(|known| known.error),
            Phase::Listening(_) => None,
        }
    }

    /// The bound of the server's own clock. Its clock *carries* cluster time, so this is only the rest of its
    /// current slew; a relay's is that of the given time. `None` while the server learns the time from its
    /// members, or has none that is given.
    pub fn own_bound(&self, raw: Raw) -> Option<Span> {
        let carries = self.phase == Phase::Steady && self.doubted == 0;
        let scale = self.timescale.published(raw);
        // A relay's machine shows the clock of its client.
        let given = self.given_time();
        let residue = given.map_or_else(|| self.timescale.residue_at(raw), |given| given.residue);
        let reach = match given.filter(|_| !self.is_relay()) {
            Some(given) => given.bound_at(raw).map(|bound| bound + residue.abs()),
            None => self.relayed.reach(scale, residue.abs()),
        };
        let reach = reach.filter(|_| carries)?;
        Some(self.manual_adjustment.reach(self.relayed.base_of(scale), reach))
    }

    /// How far the server's own frequency may be off the rate of the cluster's time, now and when that has
    /// become quiet, one standard deviation; `None`: unknown.
    ///
    /// A server that follows has it from its filter. One that carries the time *has* the cluster's rate; what
    /// may be off are the members, by what they know theirs to, and it is about to change by their mean F
    /// (see the anchor).
    pub fn frequency_error(&self, raw: Raw) -> Option<Frequency> {
        match self.phase {
            _ if self.doubted > 0 || self.unsure > 0 => None,
            Phase::Steady if self.is_relay() => Some(self.relayed.frequency_error),
            Phase::Steady if self.is_given() => Some(self.given_time()?.frequency_error),
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
        if let Some(given) = &self.given {
            return self.is_relay() && !given.settled;
        }
        if self.utc.decides_rate() { self.utc.is_brisk() } else { !self.anchor.is_settled() }
    }

    /// The oscillator stood still for `slept`. The server's own clock is set as well as the machine knows,
    /// and is not trusted any more: the server listens, sends no corrections, and adopts the members' time,
    /// as after a restart. Clients with a vote that are gone for the moment, and count `gone`, may return.
    pub fn wake_up(&mut self, raw: Raw, slept: Span, gone: Weight) {
        let sure = self.frequency_error(raw).filter(|error| saved_state::is_worth_saving(*error));
        let learned =
            sure.map(|error| (self.timescale.frequency(), saved_state::aged(error, slept, Boot::Same)));
        self.prior = learned.or(self.prior);
        self.abandon_scale(raw);
        let phase = self.timescale.phase_at(raw) + slept;
        self.timescale.set(raw, phase, self.timescale.frequency(), Adjustment::Step);
        self.recipients = Recipients::None;
        self.ensemble = Ensemble::with_prior(self.prior);
        self.forget_kept();
        self.utc.note_sleep(slept);
        // Those that were gone before an earlier sleep are counted already.
        self.voters = if self.slept { self.voters.max(gone) } else { [self.voters, gone].into_iter().sum() };
        self.slept = self.cluster != ClusterId(0);
        self.listen_from(raw);
        self.clear_doubt();
        self.unsure = 0;
        self.undecided = false;
    }

    /// Whether the server's machine has slept, and clients had a vote before.
    pub(super) fn had_voters_before_sleep(&self) -> bool {
        self.slept && self.voters > Weight::ZERO
    }

    /// Begins to listen, or has no client any more.
    pub(super) fn listen_from(&mut self, now: Raw) {
        self.phase = Phase::Listening(0);
        self.listens_since = now;
        self.arrivals = Arrivals::new(now);
    }

    /// The cluster time that the server has kept over a restart, as well as it is still known.
    pub(super) fn kept_now(&self, now: Raw) -> Option<KeptTime> {
        let grown = |kept: KeptTime| kept.error + self.drift_over(now - self.kept_since);
        self.kept.map(|kept| KeptTime { error: grown(kept), ..kept })
    }

    /// The same, if it is known better than a first vote would find it.
    pub(super) fn well_kept(&self, now: Raw) -> Option<KeptTime> {
        self.kept_now(now).filter(|kept| kept.error <= WELL_KEPT)
    }

    /// The same, if it is known to a window.
    pub(super) fn exactly_kept(&self, now: Raw) -> Option<KeptTime> {
        self.kept_now(now).filter(|kept| kept.error <= MAX_WINDOW)
    }

    /// How far the server's oscillator may be off after so long, as well as its frequency is known, but by no
    /// more than two oscillators differ: else clients could lead the server's own vote away.
    pub(super) fn drift_over(&self, elapsed: Span) -> Span {
        let error = self.prior.map_or(saved_state::UNKNOWN, |(_, error)| error);
        error.over(elapsed).times(SIGMAS).min(MAX_DRIFT.over(elapsed))
    }

    /// Whether the server has listened for at least so many intervals.
    pub(super) fn has_listened_for(&self, intervals: i64, now: Raw) -> bool {
        has_lasted(now - self.listens_since, self.config.interval, intervals)
    }

    /// The client's clock minus the cluster's time, at the reading.
    pub(super) fn offset(&self, reading: &PhaseReading) -> Offset {
        Offset::ahead_by(reading.phase - self.timescale.phase_at(reading.at))
    }

    /// Why a clock that reads this does not vote; `None`: it is plausible.
    pub(super) fn implausible(&self, reading: &PhaseReading) -> Option<Exclusion> {
        self.config.plausible.excludes(reading.clock())
    }

    /// From now on the server's clock carries the cluster's time.
    pub(super) fn become_steady(&mut self) {
        self.phase = Phase::Steady;
        self.kept = None;
        self.slept = false;
        self.window.forget();
        self.clear_doubt();
        self.unsure = 0;
        self.undecided = false;
    }

    /// Begins to learn the time that the members carry, to which its clock was set.
    pub(super) fn begin_following(&mut self, now: Raw) {
        self.phase = Phase::Following(SILENT_ROUNDS);
        self.followed_from = (now, self.timescale.phase_at(now));
        self.slept = false;
        self.forget_kept();
        self.clear_doubt();
        self.unsure = 0;
        self.undecided = false;
    }

    /// The time that the server has kept, and UTC against it, are of no use any more.
    pub(super) fn forget_kept(&mut self) {
        self.kept = None;
        self.utc.forget_phase();
    }

    /// Counts a round without a majority. After some, the window is opened; after more, the server listens
    /// again, also if it follows for too long.
    pub(super) fn count_unsure_round(&mut self, now: Raw) {
        self.unsure += 1;
        let follows = matches!(self.phase, Phase::Following(_));
        let is_too_long = follows && now - self.followed_from.0 > self.config.interval.times(MAX_FOLLOWING);
        if self.unsure == RELEARN_AFTER && self.doubted == 0 {
            self.window.forget();
        }
        if self.unsure == LISTEN_AFTER || is_too_long {
            self.listen_again(now);
        }
    }

    /// Counts a round in which the server's own clock is in doubt. After some, the server listens again; the
    /// window is not opened, which would make the server agree with itself.
    pub(super) fn count_doubtful_round(&mut self, now: Raw) {
        self.doubted += 1;
        if self.doubted == LISTEN_AFTER {
            self.listen_again(now);
        }
    }

    fn listen_again(&mut self, now: Raw) {
        self.unsure = 0;
        self.clear_doubt();
        // The prior frequency may be wrong.
        self.prior = None;
        self.ensemble = Ensemble::default();
        self.listen_from(now);
    }

    /// The server's own clock is not in doubt, or not trusted at all.
    pub(super) fn clear_doubt(&mut self) {
        (self.doubt, self.doubted) = (None, 0);
    }

    /// Whether the server carries on although no majority agrees. If that lasts, and no majority contradicts
    /// the server, it is better than letting the members drift apart; a new first vote would let liars decide
    /// the time.
    pub(super) fn carries_on(&self) -> bool {
        self.unsure + 1 >= LISTEN_AFTER && self.doubted < self.unsure
    }
}

/// After so many unsure rounds in a row, rounds are no longer hastened.
const MAX_HASTENED: u32 = 3;
/// So many votes the first vote waits for a client that is never heard.
pub(super) const MAX_WAITING_VOTES: u32 = 6;
/// After so many votes the server's own clock and newcomers may consent to what clients carry: a minute.
pub(super) const CONSENT_AFTER: u32 = 12;
/// After so many votes clients that had a vote are not waited for any more: three minutes.
pub(super) const VOTERS_AWAITED: u32 = 36;
/// A time that is kept to so much goes on, rather than the mean of clocks that know no time.
const WELL_KEPT: Span = Span::from_secs(1);
/// Unsure rounds after which the window is learned anew: the members may have drifted apart.
const RELEARN_AFTER: u32 = 12;
/// Unsure rounds after which a following server listens again.
const LISTEN_AFTER: u32 = 24;
/// In intervals, how long a server follows at most while rounds do not count.
const MAX_FOLLOWING: i64 = 2 * SILENT_ROUNDS as i64;
/// In standard deviations, how far the server's frequency may be off.
const SIGMAS: i64 = 6;
/// The oscillators of two machines differ by no more than this.
const MAX_DRIFT: Frequency = Frequency::from_ppm(300.0);
