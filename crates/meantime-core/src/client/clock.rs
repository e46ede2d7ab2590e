//! A client's clock with all that it is steered by: what outlives a session.
//!
//! It decides whether a correction is followed and whether the clock steps or slews, follows the rate command
//! and manual adjustments, and guarantees a [bound](crate::estimation::bound). The bound is a distance from
//! the time of *one session's* server. So it begins anew with every session, and after every gap that is long
//! enough for the server to have been replaced or deposed meanwhile. If the new time is beyond the old bound,
//! the client reports that.

mod relay;

use super::announced_adjustment::AdjustmentAwareness;
use super::correction::{BoundUpdate, Continuity, NotFollowed, ReceivedCorrection};
use super::frequency_trial::ClientDiscipline;
use super::limits::{Limits, ProposedCorrection, Refused};
use super::opinion::Opinion;
use super::outbox::Outbox;
use super::published_clock::{PublishedClock, ToldTime};
use super::rate_follower::RateFollower;
use crate::estimation::bound::Bound;
use crate::estimation::discipline::{BurstOutcome, OutlierLimit};
use crate::estimation::exchange::Exchange;
use crate::estimation::kalman::Estimate;
use crate::event::{Adjustment, HoldoverReason, Refusal};
use crate::relayed_time::ExternalTime;
use crate::time::{Correction, Frequency, Monotonic, Now, Raw, Span, Timestamp};
use crate::view::{CorrectionView, RefusalView};
use crate::wire::{ClientState, ClusterId, Header, ManualAdjustment, SessionId, Welcome};
use crate::{ClientConfig, ClientEvent, ClockReading};

/// The published clock, its estimators and its limits.
#[derive(Debug)]
pub(super) struct MemberClock {
    limits: Limits,
    published: PublishedClock,
    discipline: ClientDiscipline,
    bound: Bound,
    rate: RateFollower,
    /// The session whose server's scale the clock follows.
    scale_of: ClockSession,
    /// The session.
    session: ClockSession,
    awareness: AdjustmentAwareness,
    /// The last refusal, and when it was; `None`: the last correction was accepted.
    refused: Option<(Monotonic, RefusalView)>,
    /// When a refusal was reported last.
    refusal_reported: Monotonic,
    /// The last correction that was followed, and when.
    last_correction: Option<(Monotonic, CorrectionView)>,
}

/// A session, as far as the clock knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ClockSession {
    id: SessionId,
    /// The interval of its rounds.
    interval: Span,
}

impl MemberClock {
    /// A clock that shows what its oscillator does.
    pub(super) fn new(config: &ClientConfig, now: Now) -> MemberClock {
        let discipline = config.initial_frequency.map_or_else(ClientDiscipline::default, |(saved, error)| {
            ClientDiscipline::with_saved_frequency(saved, error)
        });
        MemberClock {
            limits: Limits::of(config),
            published: PublishedClock::free_running(now.raw),
            discipline,
            bound: Bound::unknown(now.raw, config.drift_allowance),
            rate: RateFollower::default(),
            scale_of: ClockSession::default(),
            session: ClockSession::default(),
            awareness: AdjustmentAwareness::aware(now.raw),
            refused: None,
            refusal_reported: now.mono,
            last_correction: None,
        }
    }

    /// The published clock.
    pub(super) fn published(&self) -> &PublishedClock {
        &self.published
    }

    /// The cumulative rate command that the clock's frequency includes.
    pub(super) fn rate(&self) -> Frequency {
        self.rate.rate()
    }

    /// The usual delay of an exchange with the server.
    pub(super) fn usual_delay(&self) -> Span {
        self.discipline.usual_delay()
    }

    /// The last correction that was followed.
    pub(super) fn last_correction(&self, now: Monotonic) -> Option<CorrectionView> {
        self.last_correction.map(|(at, view)| CorrectionView { ago: now - at, ..view })
    }

    /// The last refusal; `None`: the last correction was accepted.
    pub(super) fn last_refusal(&self, now: Monotonic) -> Option<RefusalView> {
        self.refused.map(|(at, view)| RefusalView { ago: now - at, ..view })
    }

    /// The estimate of cluster time; `None`: the clock has none.
    pub(super) fn estimate(&self, raw: Raw) -> Option<Estimate> {
        self.discipline.estimate(raw).filter(|_| self.published.has_cluster_time())
    }

    /// What the clock shows and how good that is. `interval` is that of the session's rounds; `None`: there
    /// is no session.
    pub(super) fn read(&self, raw: Raw, interval: Option<Span>) -> ClockReading {
        ClockReading {
            cluster: self.published.cluster(),
            time: self.published.time(raw),
            manual_adjustment: *self.published.manual(),
            state: self.published.state(),
            error: self.error_at(raw, interval),
            bound: self.bound_at(raw, interval),
            frequency: self.published.frequency() + self.published.relayed().rate,
            frequency_error: self.estimate(raw).map(|known| self.frequency_error(&known)),
        }
    }

    /// One standard deviation of the error of base time's frequency over the oscillator.
    fn frequency_error(&self, known: &Estimate) -> Frequency {
        let relayed = self.published.relayed().frequency_error;
        match relayed == Frequency::ZERO {
            true => known.frequency_error,
            false => Frequency::from_ratio(known.frequency_error.ratio().hypot(relayed.ratio())),
        }
    }

    /// One standard deviation of the clock's estimated distance from cluster time: the uncertainty of the
    /// estimate and of what a relay tells, what is still to be slewed, and how far the server may have
    /// steered cluster time since it was last heard. It is at most the bound.
    pub(super) fn error_at(&self, raw: Raw, interval: Option<Span>) -> Option<Span> {
        let known = self.estimate(raw)?;
        let error = self.error_of(raw, &known, self.published.residue(raw))?;
        Some(self.bound_at(raw, interval).map_or(error, |bound| error.min(bound)))
    }

    /// The same of a clock that has so much still to be slewed, without a limit.
    fn error_of(&self, raw: Raw, known: &Estimate, residue: Span) -> Option<Span> {
        let relayed = self.published.relayed().error_at(self.published.scale_time(raw))?;
        let parts = [known.error, residue, self.bound.unheard(raw), relayed];
        let squares: f64 = parts.iter().map(|part| part.as_secs_f64().powi(2)).sum();
        Some(Span::from_secs_f64(squares.sqrt()))
    }

    /// Whether a manual adjustment may have begun that the clock does not know.
    fn may_miss_adjustment(&self, raw: Raw, interval: Option<Span>) -> bool {
        interval.is_some_and(|interval| self.knows_until(raw, interval).is_some_and(|until| raw > until))
    }

    /// Until when, as is known at `raw`, no manual adjustment can begin that the clock does not know; `None`:
    /// as long as the server is heard.
    fn knows_until(&self, raw: Raw, interval: Span) -> Option<Raw> {
        [self.awareness.may_begin(interval), self.told_until(raw, interval)].into_iter().flatten().min()
    }

    /// The guaranteed distance of the clock from cluster time.
    pub(super) fn bound_at(&self, raw: Raw, interval: Option<Span>) -> Option<Span> {
        let certain = self.published.has_cluster_time() && !self.may_miss_adjustment(raw, interval);
        let bound = self.bound.of(raw, self.published.phase(raw), self.rho(raw)).filter(|_| certain)?;
        self.published.bound(raw, bound)
    }

    /// The maximum difference between the cluster's true rate over this oscillator and the clock's frequency.
    fn rho(&self, raw: Raw) -> Frequency {
        self.bound.rho(self.discipline.estimate(raw).map(|known| known.frequency_error))
    }

    /// The server of this machine is active, and shows this time: so does the clock.
    pub(super) fn carry(&mut self, raw: Raw, time: &ExternalTime, outbox: &mut Outbox) {
        let was_in_holdover = self.published.holdover().is_some();
        self.published.carry(raw, time);
        if was_in_holdover && time.state == ClientState::Synchronized {
            outbox.report(ClientEvent::Recovered);
        }
        let (phase, frequency) = (time.phase_at(raw), time.frequency);
        match time.bound {
            Some(_) => self.bound.carry(raw, phase, frequency),
            None => self.bound.forget(),
        }
        self.bound.learn(time.frequency_error);
        self.discipline =
            ClientDiscipline::with_clock(raw, (phase, SUCCESSOR_ERROR), (frequency, time.frequency_error));
        self.refused = None;
    }

    /// What the clock has proved of the time of its server's scale; `None`: nothing.
    pub(super) fn proved(&self, raw: Raw) -> Option<Opinion> {
        let (low, high) =
            self.bound.proved(raw, self.rho(raw)).filter(|_| self.published.has_cluster_time())?;
        Some(Opinion::new(raw, low, high))
    }

    /// An opinion when the oscillator reads `raw`.
    pub(super) fn carry_opinion(&self, opinion: &Opinion, raw: Raw) -> Opinion {
        opinion.aged(raw, self.published.frequency(), self.rho(raw))
    }

    /// Ends synchronization.
    pub(super) fn enter_holdover(&mut self, reason: HoldoverReason, outbox: &mut Outbox) {
        if self.published.enter_holdover(reason) {
            outbox.report(ClientEvent::Holdover { reason });
        }
    }

    /// Refuses a correction; reports that at a limited rate.
    pub(super) fn refuse(
        &mut self,
        now: Now,
        round: u32,
        correction: Correction,
        refused: Refused,
        outbox: &mut Outbox,
    ) {
        let Refused { reason, amount } = refused;
        let refused = amount.map(Correction::adding);
        let is_new = self.refused.is_none_or(|(_, before)| before.reason != reason);
        let limit = self.limits.of_steps(reason, self.published.time(now.raw));
        let view = RefusalView { round, correction, refused, limit, reason, ago: Span::ZERO };
        self.refused = Some((now.mono, view));
        if is_new || now.mono - self.refusal_reported >= REFUSAL_REPORT_INTERVAL {
            self.refusal_reported = now.mono;
            outbox.report(ClientEvent::RefusedCorrection { round, correction, refused, reason });
        }
        self.enter_holdover(HoldoverReason::CorrectionRefused, outbox);
    }

    /// The machine was suspended, and the oscillator stood still. The clock must be synchronized like a new
    /// one.
    pub(super) fn suspend(&mut self, now: Now, slept: Span, outbox: &mut Outbox) {
        self.published.suspend(now.raw, slept);
        self.bound.forget();
        outbox.report(ClientEvent::Suspended { slept });
    }
}

/// Sessions and the rate command.
impl MemberClock {
    /// A new session begins, with these terms.
    pub(super) fn begin_session(
        &mut self,
        now: Now,
        header: &Header,
        welcome: &Welcome,
        outbox: &mut Outbox,
    ) {
        self.published.begin_session();
        self.session = ClockSession { id: header.session, interval: welcome.interval };
        if welcome.relay {
            // Its first line says how the scale stands to the one that the clock follows.
            self.rate.rebase(now.mono, header, welcome.rate);
            return;
        }
        self.follow_missed_rate(now, header, welcome, outbox);
    }

    /// Follows the rate command of the server as it is now, whatever has been missed of its changes.
    pub(super) fn follow_missed_rate(
        &mut self,
        now: Now,
        header: &Header,
        welcome: &Welcome,
        outbox: &mut Outbox,
    ) {
        let missed = self.rate.rebase(now.mono, header, welcome.rate);
        match self.refuses_change(now.raw, missed) {
            // None of it is followed: later changes count from here.
            Some(reason) => {
                let refused = Refused::frequency(reason);
                self.refuse(now, header.round, Correction::default(), refused, outbox);
            }
            None => self.change_rate(now.raw, missed, welcome.interval),
        }
    }

    /// Follows the cumulative rate command, if it is newer.
    ///
    /// # Errors
    /// The clock's frequency would be beyond the limit.
    pub(super) fn follow_rate(
        &mut self,
        now: Now,
        header: &Header,
        rate: Frequency,
        interval: Span,
    ) -> Result<(), Refused> {
        let Some(change) = self.rate.change(now.mono, header, rate) else { return Ok(()) };
        if let Some(reason) = self.refuses_change(now.raw, change) {
            return Err(Refused::frequency(reason));
        }
        self.rate.accept(now.mono, header, rate);
        self.change_rate(now.raw, change, interval);
        Ok(())
    }

    /// Why a change of the cluster's rate is refused, if it is.
    fn refuses_change(&self, raw: Raw, change: Frequency) -> Option<Refusal> {
        if !self.published.has_cluster_time() || change == Frequency::ZERO {
            return None;
        }
        let error = self.discipline.estimate(raw).map_or(UNKNOWN_FREQUENCY, |known| known.frequency_error);
        self.limits.refuses_frequency(self.published.frequency() + change, error)
    }

    fn change_rate(&mut self, raw: Raw, change: Frequency, interval: Span) {
        self.bound.steer(raw, change, interval, self.rho(raw));
        // The learned frequency outlives a suspension, so it includes changes that the clock does not follow.
        self.discipline.shift_frequency(raw, change);
        self.published.shift_frequency(raw, change);
    }
}

/// Manual adjustments.
impl MemberClock {
    /// Whether the server has a newer adjustment than the client knows.
    pub(super) fn lacks_newest_adjustment(&self) -> bool {
        self.awareness.lacks_newest()
    }

    /// The client knows the server's newest adjustment. A relay may lack a newer one itself until it has told
    /// a line.
    pub(super) fn note_newest_adjustment(&mut self, raw: Raw) {
        let since = if self.scale_of == self.session { raw } else { self.awareness.since() };
        self.awareness = AdjustmentAwareness::aware(since);
    }

    /// The server has an adjustment that the client does not know.
    pub(super) fn note_newer_adjustment(&mut self) {
        self.awareness.note_newer();
    }

    /// Whether the clock follows an adjustment at once: it has that cluster's time. Otherwise the adjustment
    /// takes effect with the correction that gives the clock that time.
    pub(super) fn follows_cluster(&self, cluster: ClusterId) -> bool {
        self.published.has_cluster_time() && self.published.cluster() == cluster
    }

    /// Why an adjustment is refused, if it is.
    pub(super) fn refuses_adjustment(&self, raw: Raw, manual: &ManualAdjustment) -> Option<Refused> {
        let amount = manual.amount;
        let refusal = self.limits.refuses_adjustment(manual).map(|reason| Refused::step(reason, amount));
        if refusal.is_some() || !self.follows_cluster(manual.cluster) {
            return refusal;
        }
        let future_step = manual.step_after(self.published.base_time(raw));
        let refusal = self.limits.refuses_future_step(future_step, self.published.time(raw));
        refusal.map(|reason| Refused::step(reason, amount)).or_else(|| self.refuses_missed(raw, manual))
    }

    /// Why the part of an adjustment that has begun already is refused, if it is.
    pub(super) fn refuses_missed(&self, raw: Raw, manual: &ManualAdjustment) -> Option<Refused> {
        let missed = self.published.missed(raw, manual);
        let refusal = self.limits.refuses_missed(missed, self.published.time(raw));
        refusal.map(|reason| Refused::step(reason, missed))
    }

    /// The clock has this manual adjustment from now on, and makes up for the part that has begun already.
    pub(super) fn follow_adjustment(&mut self, raw: Raw, manual: ManualAdjustment, outbox: &mut Outbox) {
        let missed = self.published.missed(raw, &manual);
        let adjustment = self.limits.adjustment_for(missed);
        let differs = !manual.has_same_effect_as(self.published.manual());
        let told = ToldTime { relayed: *self.published.relayed(), manual };
        self.published.set_told(raw, &told, adjustment);
        if differs {
            let late = Correction::adding(missed);
            outbox.report(ClientEvent::TimeSet { manual_adjustment: manual, late, adjustment });
        }
    }
}

/// Corrections.
impl MemberClock {
    /// Updates the bound from what exchanges prove, if their server's time is what it was.
    pub(super) fn prove(
        &mut self,
        now: Now,
        update: BoundUpdate,
        exchanges: impl Iterator<Item = Exchange<Timestamp, Raw>>,
        outbox: &mut Outbox,
    ) {
        let rho = self.rho(now.raw);
        if update.continuity == Continuity::Broken || update.learning {
            // The bound of a clock that shows the same in another cluster's time is about that time, too.
            let BoundUpdate { cluster, oldest_reading, .. } = update;
            match self.published.rebased(now.raw, &update.told, cluster, oldest_reading) {
                Some((shift, reach)) => self.bound.begin_anew(shift, reach),
                None => self.bound.forget(),
            }
        }
        self.bound.set_pace(now.raw, update.steering, rho);
        let proving = exchanges.filter(|exchange| !update.learning && exchange.delay() >= Span::ZERO);
        if let Some(gap) = self.bound.prove_burst(proving, rho) {
            outbox.report(ClientEvent::BoundBroken { gap });
        }
    }

    /// Follows a correction, if the discipline does not take it for an outlier and it is within the limits.
    ///
    /// # Errors
    /// Why the correction had no effect.
    pub(super) fn correct(
        &mut self,
        now: Now,
        received: &ReceivedCorrection<'_>,
        outbox: &mut Outbox,
    ) -> Result<(), NotFollowed> {
        let mut discipline = self.discipline.clone();
        if received.outlier_limit == OutlierLimit::None && self.published.has_cluster_time() {
            // Another cluster's time may run at another rate.
            discipline.inflate_frequency();
            self.bound.doubt();
        }
        // A clock that has followed a server before the cluster had a name has that cluster's time.
        let outlier_limit = match self.published.cluster() {
            ClusterId(0) => received.outlier_limit.at_least_one(),
            _ => received.outlier_limit,
        };
        let outcome = discipline.update(received.burst, outlier_limit).ok_or(NotFollowed::Implausible)?;
        let outlier = if let BurstOutcome::Ignored(in_a_row) = outcome { Some(in_a_row) } else { None };
        let proposal = self.propose(now.raw, &discipline, &received.told).filter(|_| outlier.is_none());
        if let Some(refused) = proposal.and_then(|proposal| self.limits.refused(&proposal)) {
            return Err(NotFollowed::Refused(refused));
        }
        let rho = self.rho(now.raw);
        if matches!(outcome, BurstOutcome::Started | BurstOutcome::Restarted) {
            self.bound.doubt();
        }
        self.discipline = discipline;
        if let Some(in_a_row) = outlier {
            let (round, correction) = (received.round, received.message.correction);
            outbox.report(ClientEvent::Ignored { round, correction, in_a_row });
            return Err(NotFollowed::Outlier);
        }
        self.adjust(now, received, outcome, rho, outbox);
        Ok(())
    }

    /// What a correction to this discipline's estimate would do to the published clock.
    fn propose(
        &self,
        raw: Raw,
        discipline: &ClientDiscipline,
        told: &ToldTime,
    ) -> Option<ProposedCorrection> {
        let estimate = discipline.estimate(raw)?;
        let phase = self.bound.nearest(raw, estimate.phase, self.rho(raw));
        Some(self.published.propose(raw, phase, &estimate, told))
    }

    /// Adjusts the published clock to the discipline's estimate. Until now, its frequency was within `rho`.
    fn adjust(
        &mut self,
        now: Now,
        received: &ReceivedCorrection<'_>,
        outcome: BurstOutcome,
        rho: Frequency,
        outbox: &mut Outbox,
    ) {
        let ReceivedCorrection { round, message, burst, cluster, told, interval, .. } = *received;
        let Some(known) = self.discipline.estimate(now.raw) else { return };
        let Some(proposal) = self.propose(now.raw, &self.discipline, &told) else { return };
        let adjustment = self.limits.adjustment(&proposal);
        let gap = self.bound.outside(now.raw, proposal.phase, rho);
        let is_later_step = adjustment == Adjustment::Step && !proposal.first;
        if is_later_step && gap > proposal.difference.abs().half() {
            // What is proved does not support the step, so it proves nothing of the time that is stepped to.
            self.bound.forget();
            outbox.report(ClientEvent::BoundBroken { gap });
        }
        let manual_part = proposal.difference - (proposal.phase - self.published.phase(now.raw));
        let before = self.published.follow(now.raw, &proposal, adjustment, &told, cluster);
        self.scale_of = self.session;
        if outcome == BurstOutcome::Followed && adjustment == Adjustment::Slew {
            self.published.confirm_start();
        }
        self.bound.set_frequency(now.raw, known.frequency, rho);
        self.bound.learn(known.frequency_error);
        self.refused = None;
        if before == ClientState::Holdover {
            outbox.report(ClientEvent::Recovered);
        }
        let added = Correction::adding(proposal.difference);
        let delay =
            burst.iter().map(super::super::estimation::exchange::Exchange::delay).min().unwrap_or_default();
        let view = CorrectionView { added, adjustment, delay, round, ago: Span::ZERO };
        self.last_correction = Some((now.mono, view));
        outbox.report(ClientEvent::Corrected {
            round,
            correction: message.correction,
            added,
            manual: Correction::adding(manual_part),
            adjustment,
            delay,
            frequency: known.frequency + told.relayed.rate,
            error: self.error_at(now.raw, Some(interval)).unwrap_or(known.error),
            bound: self.bound_at(now.raw, Some(interval)),
            verdict: message.verdict,
            first: proposal.first,
        });
    }
}

/// The frequency error of a clock whose frequency is unknown: no working oscillator is farther off.
pub(super) const UNKNOWN_FREQUENCY: Frequency = Frequency::from_ppm(500.0);
/// How far the time of a server that takes over may be from the one before, one standard deviation.
const SUCCESSOR_ERROR: Span = Span::from_micros(20);
/// Refusals for the same reason are reported once in this time.
const REFUSAL_REPORT_INTERVAL: Span = Span::from_secs(60);
