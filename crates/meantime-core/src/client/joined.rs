//! A client that has a session: it answers probes, follows corrections, and keeps the session alive.

use rand::Rng;
use rand_chacha::ChaCha12Rng;

use super::announced_adjustment::AnnouncedAdjustment;
use super::clock::{Continuity, MemberClock, NotFollowed, Proof, ReceivedCorrection, UNKNOWN_FREQUENCY};
use super::liveness::Liveness;
use super::outbox::{Outbox, PendingReport, QueuedDatagram};
use super::replay_window::ReplayWindow;
use super::report_history::{MeasuredBurst, ReportHistory, SentReport};
use crate::config::MAX_DELAY;
use crate::estimation::discipline::OutlierLimit;
use crate::estimation::exchange::Exchange;
use crate::event::{HoldoverReason, Refusal};
use crate::time::{Correction, Monotonic, Now, Raw, Span};
use crate::wire::{
    Body, ClientState, ClusterId, CorrectionMessage, Header, Heartbeat, HeartbeatAck, KeyId, Leave,
    LeaveReason, ManualAdjustment, Message, Name, Probe, RejectReason, Report, SessionId, Verdict, Welcome,
};
use crate::{ClientConfig, Fate, StampId};

/// A session with a server.
#[derive(Debug)]
pub(super) struct Joined {
    id: SessionId,
    /// The cluster that the server keeps; 0: not decided yet.
    cluster: ClusterId,
    /// The interval of the server's rounds.
    interval: Span,
    path: PathLimits,
    /// The key that the server is known to have.
    key: KeyId,
    window: ReplayWindow,
    /// Datagrams sent in this session; a report's number is the count at its time.
    sequence: u32,
    liveness: Liveness,
    reports: ReportHistory,
    adjustment: AnnouncedAdjustment,
    continuity: SessionContinuity,
}

/// What is known about the path to the server.
#[derive(Clone, Copy, Debug)]
struct PathLimits {
    /// Exchanges with a longer delay measure nothing.
    max_delay: Span,
    /// The delay from the server minus the delay to it, as configured. A client that knows it reads its clock
    /// as if both took equally long.
    asymmetry: Span,
}

/// Whether this session's server keeps the time that the clock has.
#[derive(Clone, Copy, Debug)]
struct SessionContinuity {
    /// The server may keep another cluster's time: until the first Correction has shown that it keeps the
    /// time that the clock has, a jump is followed at once.
    new_cluster: bool,
    /// Whether exchanges of this session have proved something about the server's time.
    proved: bool,
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionEnd {
    /// The server has left.
    ServerLeft,
    /// The server does not know the session any more.
    ServerForgot,
    /// The server was silent for too long.
    ServerSilent,
    /// The machine was suspended.
    Suspended,
}

impl SessionEnd {
    /// Why the clock enters holdover; `None`: it does not.
    pub(super) fn holdover(self) -> Option<HoldoverReason> {
        match self {
            SessionEnd::ServerLeft => Some(HoldoverReason::ServerLeft),
            SessionEnd::ServerForgot => Some(HoldoverReason::ServerForgot),
            SessionEnd::ServerSilent => Some(HoldoverReason::ServerSilent),
            SessionEnd::Suspended => None,
        }
    }
}

/// Whether the client's manual adjustment lets it follow a Correction.
enum AdjustmentCheck {
    Agrees,
    /// The client does not know the server's adjustment, or the server does not know its cluster's yet.
    Unknown,
    /// The client refuses the server's adjustment.
    Refused(Refusal),
}

impl Joined {
    /// A session begins with this Welcome.
    pub(super) fn begin(
        now: Now,
        header: &Header,
        welcome: &Welcome,
        config: &ClientConfig,
        clock: &mut MemberClock,
        outbox: &mut Outbox,
    ) -> Joined {
        let cluster = welcome.cluster;
        let published = clock.published();
        let known = published.has_cluster_time() && cluster == published.cluster();
        let mut window = ReplayWindow::default();
        if header.key_id != KeyId::NONE {
            window.admit(header.sequence);
        }
        let joined = Joined {
            id: header.session,
            cluster,
            interval: welcome.interval,
            path: PathLimits { max_delay: config.max_delay, asymmetry: config.asymmetry },
            key: header.key_id,
            window,
            sequence: 0,
            liveness: Liveness::begin(welcome, now.mono),
            reports: ReportHistory::default(),
            adjustment: AnnouncedAdjustment::begin(published.manual(), published.cluster(), cluster),
            continuity: SessionContinuity {
                new_cluster: cluster != ClusterId::default() && !known,
                proved: false,
            },
        };
        joined.note_adjustment(now.raw, header, clock);
        clock.begin_rate(now, header, welcome.rate, welcome.interval, outbox);
        joined
    }

    /// The key that the server is known to have.
    pub(super) fn key(&self) -> KeyId {
        self.key
    }

    /// The interval of the server's rounds.
    pub(super) fn interval(&self) -> Span {
        self.interval
    }

    /// Timeouts of this session.
    pub(super) fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    /// When to call [`handle_timeout`](Joined::handle_timeout) next.
    pub(super) fn poll_timeout(&self, state: ClientState) -> Monotonic {
        let next = self.liveness.silent_at().min(self.liveness.heartbeat_at());
        let holdover = self.liveness.holdover_at().filter(|_| state == ClientState::Synchronized);
        holdover.map_or(next, |at| at.min(next))
    }

    /// Sends a heartbeat if one is due; enters holdover if the server sends no corrections.
    ///
    /// # Errors
    /// The server was silent for too long.
    pub(super) fn handle_timeout(
        &mut self,
        now: Now,
        name: Name,
        rng: &mut ChaCha12Rng,
        clock: &mut MemberClock,
        outbox: &mut Outbox,
    ) -> Result<(), SessionEnd> {
        if now.mono >= self.liveness.silent_at() {
            return Err(SessionEnd::ServerSilent);
        }
        if now.mono >= self.liveness.heartbeat_at() {
            self.send_heartbeat(now, name, rng, outbox);
        }
        if self.liveness.holdover_at().is_some_and(|at| now.mono >= at) {
            clock.enter_holdover(HoldoverReason::NoCorrections, outbox);
        }
        Ok(())
    }

    /// Sends a heartbeat, which the server is to answer.
    pub(super) fn send_heartbeat(
        &mut self,
        now: Now,
        name: Name,
        rng: &mut ChaCha12Rng,
        outbox: &mut Outbox,
    ) {
        let nonce = rng.next_u64();
        self.liveness.note_heartbeat(now.mono, nonce);
        outbox.send(Body::Heartbeat(Heartbeat { nonce, name }));
    }

    /// The process ends.
    pub(super) fn handle_shutdown(&self, outbox: &mut Outbox) {
        outbox.send(Body::Leave(Leave { reason: LeaveReason::Shutdown }));
    }

    /// A datagram of the server.
    ///
    /// # Errors
    /// It ends the session.
    pub(super) fn handle_message(
        &mut self,
        now: Now,
        received: Raw,
        message: &Message,
        clock: &mut MemberClock,
        outbox: &mut Outbox,
    ) -> Result<Fate, SessionEnd> {
        let header = &message.header;
        let known = self.id == header.session;
        match &message.body {
            Body::Challenge(_) | Body::Welcome(_) => return Ok(Fate::Unasked),
            Body::Reject(reject) if known && reject.reason == RejectReason::UnknownSession => {
                return Err(SessionEnd::ServerForgot);
            }
            Body::Reject(_) => return Ok(Fate::Unasked),
            _ if !known => return Ok(Fate::Session),
            _ => {}
        }
        if header.key_id != KeyId::NONE && !self.window.admit(header.sequence) {
            return Ok(Fate::Replayed);
        }
        Ok(match &message.body {
            Body::Probe(probe) => self.handle_probe(now, received, header, probe, clock, outbox),
            Body::Correction(correction) => self.handle_correction(now, header, correction, clock, outbox),
            Body::HeartbeatAck(heartbeat) => self.handle_heartbeat_ack(now, header, heartbeat),
            Body::ManualAdjustment(manual) => self.handle_manual_adjustment(now, manual, clock, outbox),
            Body::Leave(_) => return Err(SessionEnd::ServerLeft),
            _ => Fate::Misdirected,
        })
    }

    fn handle_probe(
        &mut self,
        now: Now,
        t2: Raw,
        header: &Header,
        probe: &Probe,
        clock: &mut MemberClock,
        outbox: &mut Outbox,
    ) -> Fate {
        self.liveness.note_heard(now.mono);
        if self.reports.has_answered(probe.nonce) {
            return Fate::Unasked;
        }
        self.learn_cluster(probe.cluster, clock);
        if let Some(stamps) = probe.before {
            self.reports.complete(stamps);
        }
        self.note_adjustment(now.raw, header, clock);
        self.announce_adjustment(outbox);
        if let Err(reason) = clock.follow_rate(now, header, probe.rate, self.interval) {
            clock.refuse(now, header.round, Correction::default(), reason, outbox);
        }
        let report = PendingReport { nonce: probe.nonce, round: header.round, t2 };
        outbox.datagrams.push_back(QueuedDatagram::Report(report));
        Fate::Accepted
    }

    fn handle_heartbeat_ack(&mut self, now: Now, header: &Header, heartbeat: &HeartbeatAck) -> Fate {
        if !self.liveness.note_answer(now.mono, heartbeat.nonce) {
            return Fate::Unasked;
        }
        // Heartbeats are sent with the newest key.
        self.key = header.key_id;
        Fate::Accepted
    }

    /// The server keeps this cluster's time. If that is not the clock's, its adjustment is not known yet.
    fn learn_cluster(&mut self, cluster: ClusterId, clock: &MemberClock) {
        if cluster != ClusterId::default() && cluster != self.cluster {
            let published = clock.published();
            self.cluster = cluster;
            self.adjustment = AnnouncedAdjustment::begin(published.manual(), published.cluster(), cluster);
            self.continuity.new_cluster = !clock.follows_cluster(cluster);
        }
    }
}

/// Reports.
impl Joined {
    /// Writes the answer to a probe that will be sent at `t3`, by the oscillator; `None`: it took too long.
    /// Returns with it how the program names it when it reports its departure.
    pub(super) fn write_report(
        &mut self,
        now: Now,
        pending: PendingReport,
        t3: Raw,
        clock: &MemberClock,
    ) -> Option<(StampId, Report)> {
        let PendingReport { nonce, round, t2 } = pending;
        let published = clock.published();
        let (published_t2, published_t3) = (published.base_time(t2), published.base_time(t3));
        let processing = published_t3 - published_t2;
        if processing < Span::ZERO || processing > MAX_PROCESSING {
            return None;
        }
        let early = self.path.asymmetry.half();
        let number = self.next_sequence();
        let interval = Some(self.interval);
        let report = Report {
            nonce,
            t2: published_t2 - early,
            processing,
            transmit_latency: self.reports.extra_latency(number.wrapping_sub(1)),
            frequency: published.frequency(),
            frequency_error: clock.estimate(now.raw).map_or(UNKNOWN_FREQUENCY, |known| known.frequency_error),
            rate: clock.rate(),
            applied: self.reports.applied(),
            bound: clock.bound_at(now.raw, interval),
            error: clock.error_at(now.raw, interval),
        };
        self.reports.push(SentReport {
            number,
            round,
            nonce,
            t2: t2 - early,
            stamped: now.raw - early,
            t3: t3 - early,
            published_t2: published_t2 - early,
            published_t3: published_t3 - early,
        });
        Some((StampId(number.into()), report))
    }

    /// A report departed. Returns its transmit latency, if that is plausible.
    pub(super) fn handle_transmitted(&mut self, id: StampId, raw: Raw) -> Option<Span> {
        // The asymmetry that a report leaves out, its record leaves out too.
        let departed = raw - self.path.asymmetry.half();
        u32::try_from(id.0).ok().and_then(|number| self.reports.note_departure(number, departed))
    }

    /// Fills in the header of the next datagram.
    pub(super) fn write_header(&mut self, now: Monotonic, header: &mut Header) {
        self.sequence = self.next_sequence();
        self.liveness.note_sent(now);
        header.flags.manual_adjustment = self.adjustment.number();
        header.session = self.id;
        header.sequence = self.sequence;
    }

    fn next_sequence(&self) -> u32 {
        self.sequence.wrapping_add(1).max(1)
    }
}

/// Corrections.
impl Joined {
    /// "At your report `about`, your clock was off by so much."
    fn handle_correction(
        &mut self,
        now: Now,
        header: &Header,
        message: &CorrectionMessage,
        clock: &mut MemberClock,
        outbox: &mut Outbox,
    ) -> Fate {
        self.liveness.note_heard(now.mono);
        if self.reports.is_superseded(message.about) {
            return Fate::Superseded;
        }
        if self.reports.find(message.about).is_none() {
            return Fate::Unasked;
        }
        match self.check_adjustment(now, header, clock, outbox) {
            AdjustmentCheck::Agrees => self.follow_correction(now, header, message, clock, outbox),
            AdjustmentCheck::Unknown => Fate::Accepted,
            AdjustmentCheck::Refused(reason) => {
                clock.refuse(now, header.round, message.correction, reason, outbox);
                Fate::Accepted
            }
        }
    }

    fn follow_correction(
        &mut self,
        now: Now,
        header: &Header,
        message: &CorrectionMessage,
        clock: &mut MemberClock,
        outbox: &mut Outbox,
    ) -> Fate {
        let burst = self.take_burst(header.round, message, clock.usual_delay());
        let trust = match (self.continuity.new_cluster, message.verdict) {
            (true, _) => OutlierLimit::None,
            (false, Verdict::Minority) => OutlierLimit::MINORITY,
            (false, _) => OutlierLimit::MAJORITY,
        };
        if let Err(reason) = clock.follow_rate(now, header, message.rate, self.interval) {
            clock.refuse(now, header.round, message.correction, reason, outbox);
            return Fate::Accepted;
        }
        self.prove(now, message, &burst, clock, outbox);
        let received = ReceivedCorrection {
            round: header.round,
            message,
            burst: &burst.exchanges,
            trust,
            cluster: self.cluster,
            manual: self.adjustment.manual(),
            interval: self.interval,
        };
        match clock.correct(now, &received, outbox) {
            Ok(()) => {
                self.liveness.note_corrected(now.mono);
                self.continuity.new_cluster = false;
            }
            Err(NotFollowed::Outlier) => self.liveness.note_corrected(now.mono),
            Err(NotFollowed::Refused(reason)) => {
                clock.refuse(now, header.round, message.correction, reason, outbox);
            }
            Err(NotFollowed::Implausible) => return Fate::Implausible,
        }
        Fate::Accepted
    }

    /// The exchanges that a Correction is based on, which counts as applied.
    fn take_burst(&mut self, round: u32, message: &CorrectionMessage, usual: Span) -> MeasuredBurst {
        self.reports.set_applied(message.about);
        if let Some(stamps) = message.last {
            self.reports.complete(stamps);
        }
        let max_delay = self.path.max_delay;
        let mut burst = self.reports.take_burst(round, message.about, message.correction, usual);
        burst.exchanges.retain(|exchange| exchange.delay() <= max_delay);
        if burst.guessed.is_some() && max_delay < MAX_DELAY {
            // The delay is unknown, so it may exceed the limit.
            burst.exchanges.clear();
        }
        burst
    }

    /// Updates the bound from the exchanges of a burst.
    fn prove(
        &mut self,
        now: Now,
        message: &CorrectionMessage,
        burst: &MeasuredBurst,
        clock: &mut MemberClock,
        outbox: &mut Outbox,
    ) {
        let SessionContinuity { new_cluster, proved } = self.continuity;
        let broken = !proved || new_cluster || self.liveness.has_gap(now.mono);
        let continuity = if broken { Continuity::Broken } else { Continuity::Same };
        self.continuity.proved = !message.learning;
        let proof = Proof { continuity, learning: message.learning, brisk: message.brisk };
        // The configured asymmetry is knowledge, not proof; a guessed delay proves nothing.
        let early = self.path.asymmetry.half();
        let measured = burst.exchanges.iter().filter(|exchange| Some(exchange.t2) != burst.guessed);
        let symmetric = measured.map(|exchange| Exchange {
            t2: exchange.t2 + early,
            t3: exchange.t3 + early,
            ..*exchange
        });
        clock.prove(now, proof, symmetric, outbox);
    }
}

/// Manual adjustments.
impl Joined {
    /// The server announces a manual adjustment.
    fn handle_manual_adjustment(
        &mut self,
        now: Now,
        manual: &ManualAdjustment,
        clock: &mut MemberClock,
        outbox: &mut Outbox,
    ) -> Fate {
        self.liveness.note_heard(now.mono);
        if manual.cluster != self.cluster || manual.cluster == ClusterId::default() {
            return Fate::Unasked;
        }
        if !manual.is_newer(self.adjustment.number()) {
            return Fate::Superseded;
        }
        if let Some(reason) = clock.refuses_adjustment(now.raw, manual) {
            self.adjustment.refuse(reason);
            clock.refuse(now, 0, Correction::adding(manual.amount), reason, outbox);
            return Fate::Accepted;
        }
        self.adjustment.accept(*manual);
        clock.note_newest_adjustment(now.raw);
        if clock.follows_cluster(manual.cluster) {
            clock.follow_adjustment(now.raw, *manual, outbox);
        }
        Fate::Accepted
    }

    /// The flags of a datagram carry the number of the server's newest adjustment.
    fn note_adjustment(&self, raw: Raw, header: &Header, clock: &mut MemberClock) {
        if self.cluster == ClusterId::default() {
            // The server does not know its cluster's adjustment yet.
            return;
        }
        match self.adjustment.is_newest(header.flags.manual_adjustment) {
            true => clock.note_newest_adjustment(raw),
            false => clock.note_newer_adjustment(),
        }
    }

    /// Sends the cluster's adjustment to a server that does not know the cluster's time yet.
    fn announce_adjustment(&self, outbox: &mut Outbox) {
        if self.cluster == ClusterId::default() && self.adjustment.number() != 0 {
            outbox.send(Body::ManualAdjustment(*self.adjustment.manual()));
        }
    }

    /// Whether the client's adjustment lets it follow a Correction with this header. If the server has none,
    /// the client drops the one that it knows from an earlier server.
    fn check_adjustment(
        &mut self,
        now: Now,
        header: &Header,
        clock: &mut MemberClock,
        outbox: &mut Outbox,
    ) -> AdjustmentCheck {
        let number = header.flags.manual_adjustment;
        self.note_adjustment(now.raw, header, clock);
        if let Some(reason) = self.adjustment.refusal() {
            return AdjustmentCheck::Refused(reason);
        }
        let undecided = self.cluster == ClusterId::default();
        if undecided && self.adjustment.number() != number {
            // It may be another cluster's time; the next Probe says which.
            return AdjustmentCheck::Unknown;
        }
        if number == 0 && !undecided && self.adjustment.is_overruled() {
            if let Some(reason) = clock.refuses_missed(now.raw, &ManualAdjustment::NONE) {
                return AdjustmentCheck::Refused(reason);
            }
            self.adjustment.withdraw();
            clock.note_newest_adjustment(now.raw);
            clock.follow_adjustment(now.raw, ManualAdjustment::NONE, outbox);
        }
        let new_time = self.continuity.new_cluster || !clock.published().has_cluster_time();
        if clock.lacks_newest_adjustment() && new_time {
            // The clock would not show what the other members show. The next Correction after the adjustment
            // gives it that time.
            return AdjustmentCheck::Unknown;
        }
        AdjustmentCheck::Agrees
    }
}

/// A report states its processing time in 32 bits. After a longer one the client sends no report.
const MAX_PROCESSING: Span = Span::from_secs(2);
