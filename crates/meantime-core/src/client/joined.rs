//! A client that has a session: it answers probes, follows corrections, and keeps the session alive.

use rand::Rng;
use rand_chacha::ChaCha12Rng;

use super::clock::MemberClock;
use super::correction::{BoundUpdate, Continuity, NotFollowed, ReceivedCorrection};
use super::liveness::Liveness;
use super::outbox::{Outbox, PendingReport, QueuedDatagram};
use super::published_clock::ToldTime;
use super::replay_window::ReplayWindow;
use super::report_history::MeasuredBurst;
use super::reporter::Reporter;
use super::server_time::{AdjustmentCheck, ServerTime};
use crate::estimation::bound::SteeringPace;
use crate::event::HoldoverReason;
use crate::time::{Correction, Monotonic, Now, Raw, Span};
use crate::wire::{
    Body, ClientState, ClusterId, CorrectionMessage, Header, Heartbeat, HeartbeatAck, KeyId, Label, Leave,
    LeaveReason, Message, Name, Probe, RejectReason, RelayedTime, Report, SessionId, Welcome,
};
use crate::{ClientConfig, Fate, StampId};

/// A session with a server.
#[derive(Debug)]
pub(super) struct Joined {
    id: SessionId,
    /// The interval of the server's rounds.
    interval: Span,
    /// The key that the server is known to have.
    key: KeyId,
    window: ReplayWindow,
    /// Datagrams sent in this session; a report's number is the count at its time.
    sequence: u32,
    liveness: Liveness,
    reporter: Reporter,
    server_time: ServerTime,
    /// Base time against the server's scale, as the server has told last; `None`: it has not told yet.
    relayed: Option<RelayedTime>,
    /// Whether exchanges of this session have proved something about the server's time.
    proved: bool,
    /// The label of this machine, until the server has it.
    label: Option<Label>,
    /// Whether the clock follows this server.
    followed: bool,
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionEnd {
    /// The server has left.
    ServerLeft,
    /// The server does not know the session any more.
    ServerForgot,
    /// The server's operator has banned the client.
    Banned,
    /// The server was silent for too long.
    ServerSilent,
    /// Another process has registered with this node's name and key.
    Replaced,
    /// The machine was suspended.
    Suspended,
    /// The client is a relay's, and must not follow the server.
    NotFollowed,
    /// It may follow the server again.
    FollowedAgain,
}

impl SessionEnd {
    /// Why the clock enters holdover; `None`: it does not.
    pub(super) fn holdover(self) -> Option<HoldoverReason> {
        match self {
            SessionEnd::ServerLeft => Some(HoldoverReason::ServerLeft),
            SessionEnd::ServerForgot => Some(HoldoverReason::ServerForgot),
            SessionEnd::Banned => Some(HoldoverReason::Banned),
            SessionEnd::ServerSilent => Some(HoldoverReason::ServerSilent),
            SessionEnd::Replaced => Some(HoldoverReason::Replaced),
            SessionEnd::Suspended | SessionEnd::NotFollowed | SessionEnd::FollowedAgain => None,
        }
    }
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
        let mut window = ReplayWindow::default();
        if header.key_id != KeyId::NONE {
            window.admit(header.sequence);
        }
        let joined = Joined {
            id: header.session,
            interval: welcome.interval,
            key: header.key_id,
            window,
            sequence: 0,
            liveness: Liveness::begin(welcome, now.mono),
            reporter: Reporter::new(config),
            server_time: ServerTime::begin(welcome.cluster, clock),
            relayed: (!welcome.relay).then_some(RelayedTime::NONE),
            proved: false,
            label: Some(Label { label: config.label }).filter(|it| it.label != Name::default()),
            followed: true,
        };
        clock.begin_session(now, header, welcome, outbox);
        if !welcome.relay {
            clock.leave_relay(now.raw);
        }
        joined.server_time.note_adjustment(now.raw, header, clock);
        joined
    }

    /// From now on the clock follows this server, or does not.
    pub(super) fn set_followed(&mut self, followed: bool) {
        self.followed = followed;
    }

    /// The number of this session.
    pub(super) fn id(&self) -> SessionId {
        self.id
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

    /// Whether the server has no cluster time, as it has said last.
    pub(super) fn is_server_undecided(&self) -> bool {
        self.server_time.cluster() == ClusterId::default()
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
            Body::Challenge(_) | Body::Welcome(_) => return Ok(Fate::Unsolicited),
            Body::Reject(reject) if known && reject.reason == RejectReason::UnknownSession => {
                return Err(SessionEnd::ServerForgot);
            }
            Body::Reject(reject) if known && reject.reason == RejectReason::Replaced => {
                return Err(SessionEnd::Replaced);
            }
            Body::Reject(reject) if known && reject.reason == RejectReason::Banned => {
                return Err(SessionEnd::Banned);
            }
            Body::Reject(_) => return Ok(Fate::Unsolicited),
            _ if !known => return Ok(Fate::Session),
            _ => {}
        }
        if header.key_id != KeyId::NONE && !self.window.admit(header.sequence) {
            return Ok(Fate::Replayed);
        }
        let moves_clock =
            matches!(message.body, Body::Correction(_) | Body::RelayedTime(_) | Body::ManualAdjustment(_));
        if moves_clock && !self.followed {
            self.liveness.note_heard(now.mono);
            return Ok(Fate::Unsolicited);
        }
        Ok(match &message.body {
            Body::Probe(probe) => self.handle_probe(now, received, header, probe, clock, outbox),
            Body::Correction(correction) => self.handle_correction(now, header, correction, clock, outbox),
            Body::HeartbeatAck(heartbeat) => self.handle_heartbeat_ack(now, header, heartbeat),
            Body::ManualAdjustment(manual) => {
                self.liveness.note_heard(now.mono);
                self.server_time.handle_manual_adjustment(now, manual, clock, outbox)
            }
            Body::Leave(_) => return Err(SessionEnd::ServerLeft),
            Body::Label(label) => self.handle_label(now, *label),
            Body::RelayedTime(relayed) => self.handle_relayed_time(now, header, relayed, clock, outbox),
            Body::Lineage(_) => {
                self.liveness.note_heard(now.mono);
                Fate::Accepted
            }
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
        if self.reporter.history().has_answered(probe.nonce) {
            return Fate::Unsolicited;
        }
        self.server_time.learn_cluster(probe.cluster, clock);
        if let Some(stamps) = probe.before {
            self.reporter.history_mut().complete(stamps);
        }
        self.server_time.note_adjustment(now.raw, header, clock);
        self.server_time.announce_adjustment(outbox);
        if !self.followed {
            clock.pass_over_rate(now, header, probe.rate);
        } else if let Err(refused) = clock.follow_rate(now, header, probe.rate, self.interval) {
            clock.refuse(now, header.round, Correction::default(), refused, outbox);
        }
        let report = PendingReport { nonce: probe.nonce, round: header.round, t2 };
        outbox.datagrams.push_back(QueuedDatagram::Report(report));
        if let Some(label) = self.label {
            outbox.send(Body::Label(label));
        }
        Fate::Accepted
    }

    /// The server has this label.
    fn handle_label(&mut self, now: Now, label: Label) -> Fate {
        self.liveness.note_heard(now.mono);
        self.label = self.label.filter(|own| *own != label);
        Fate::Accepted
    }

    /// A relay tells how base time stands to its scale. A client that lacks the relay's manual adjustment
    /// takes no line: that its bound holds depends on both knowing the same.
    fn handle_relayed_time(
        &mut self,
        now: Now,
        header: &Header,
        relayed: &RelayedTime,
        clock: &mut MemberClock,
        outbox: &mut Outbox,
    ) -> Fate {
        self.liveness.note_heard(now.mono);
        let cluster = self.server_time.cluster();
        let is_ordinary = self.relayed.is_some_and(|known| known.is_none());
        if relayed.cluster != cluster || cluster == ClusterId::default() || is_ordinary {
            return Fate::Unsolicited;
        }
        if self.relayed.is_some_and(|known| known.cluster == cluster && known.at >= relayed.at) {
            return Fate::Superseded;
        }
        self.server_time.note_adjustment(now.raw, header, clock);
        if header.flags.manual_adjustment != self.server_time.adjustment().number() {
            return Fate::Accepted;
        }
        self.relayed = Some(*relayed);
        if clock.follows_cluster(cluster) {
            clock.follow_relayed(now.raw, *relayed, outbox);
        }
        Fate::Accepted
    }

    /// What the server has told of its time; `None`: not enough to follow it.
    fn told(&self) -> Option<ToldTime> {
        let known =
            |relayed: &RelayedTime| relayed.is_none() || relayed.cluster == self.server_time.cluster();
        let relayed = self.relayed.filter(known)?;
        Some(ToldTime { relayed, manual: *self.server_time.adjustment().manual() })
    }

    fn handle_heartbeat_ack(&mut self, now: Now, header: &Header, heartbeat: &HeartbeatAck) -> Fate {
        if !self.liveness.note_answer(now.mono, heartbeat.nonce) {
            return Fate::Unsolicited;
        }
        // Heartbeats are sent with the newest key.
        self.key = header.key_id;
        Fate::Accepted
    }
}

/// Sending.
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
        self.reporter.write(now, self.next_sequence(), pending, t3, self.interval, clock)
    }

    /// A report departed. Returns its transmit latency, if that is plausible.
    pub(super) fn handle_transmitted(&mut self, id: StampId, raw: Raw) -> Option<Span> {
        self.reporter.handle_transmitted(id, raw)
    }

    /// Fills in the header of the next datagram.
    pub(super) fn write_header(&mut self, now: Monotonic, header: &mut Header) {
        self.sequence = self.next_sequence();
        self.liveness.note_sent(now);
        header.flags.manual_adjustment = self.server_time.adjustment().number();
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
        if self.reporter.history().is_superseded(message.about) {
            return Fate::Superseded;
        }
        if self.reporter.history().find(message.about).is_none() {
            return Fate::Unsolicited;
        }
        match self.server_time.check_adjustment(now, header, clock, outbox) {
            AdjustmentCheck::Agrees => self.follow_correction(now, header, message, clock, outbox),
            AdjustmentCheck::Unknown => Fate::Accepted,
            AdjustmentCheck::Refused(refused) => {
                clock.refuse(now, header.round, message.correction, refused, outbox);
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
        let Some(told) = self.told() else { return Fate::Accepted };
        let burst = self.reporter.take_burst(header.round, message, clock.usual_delay());
        let outlier_limit = self.server_time.outlier_limit(message.verdict);
        if let Err(refused) = clock.follow_rate(now, header, message.rate, self.interval) {
            clock.refuse(now, header.round, message.correction, refused, outbox);
            return Fate::Accepted;
        }
        self.prove(now, message, &burst, told, clock, outbox);
        let received = ReceivedCorrection {
            round: header.round,
            message,
            burst: &burst.exchanges,
            outlier_limit,
            cluster: self.server_time.cluster(),
            told,
            interval: self.interval,
        };
        match clock.correct(now, &received, outbox) {
            Ok(()) => {
                self.liveness.note_corrected(now.mono);
                self.server_time.note_followed();
            }
            Err(NotFollowed::Outlier) => self.liveness.note_corrected(now.mono),
            Err(NotFollowed::Refused(refused)) => {
                clock.refuse(now, header.round, message.correction, refused, outbox);
            }
            Err(NotFollowed::Implausible) => return Fate::Implausible,
        }
        Fate::Accepted
    }

    /// Updates the bound from the exchanges of a burst.
    fn prove(
        &mut self,
        now: Now,
        message: &CorrectionMessage,
        burst: &MeasuredBurst,
        told: ToldTime,
        clock: &mut MemberClock,
        outbox: &mut Outbox,
    ) {
        let new_cluster = self.server_time.is_new_cluster();
        let broken = !self.proved || new_cluster || self.liveness.has_gap(now.mono);
        let continuity = if broken { Continuity::Broken } else { Continuity::Same };
        self.proved = !message.learning;
        let steering = if message.brisk { SteeringPace::Brisk } else { SteeringPace::Gentle };
        let cluster = self.server_time.cluster();
        let (learning, oldest_reading) = (message.learning, self.liveness.oldest_reading());
        let update = BoundUpdate { continuity, learning, steering, told, cluster, oldest_reading };
        clock.prove(now, update, self.reporter.proving(burst), outbox);
    }
}
