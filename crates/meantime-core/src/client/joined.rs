//! A client that has a session: it answers probes, follows corrections, and keeps the session alive.

use rand::Rng;

use super::clock::MemberClock;
use super::correction::{BoundUpdate, Continuity, NotFollowed, ReceivedCorrection};
use super::liveness::Liveness;
use super::opinion::Opinion;
use super::outbox::{Outbox, PendingReport, QueuedDatagram};
use super::published_clock::ToldTime;
use super::rate_follower::MAX_SEQUENCE_AHEAD;
use super::replay_window::ReplayWindow;
use super::report_history::MeasuredBurst;
use super::reporter::Reporter;
use super::server_time::{AdjustmentCheck, ServerTime};
use super::shared::Shared;
use crate::config::TAKEN_OVER_FOR;
use crate::estimation::bound::SteeringPace;
use crate::estimation::discipline::OutlierLimit;
use crate::event::HoldoverReason;
use crate::roles::statement::{Role, ServerStatement, Service};
use crate::roles::term::Term;
use crate::time::{Correction, Frequency, Monotonic, Now, Raw, Span};
use crate::wire::{
    Body, ClientState, ClusterId, CorrectionMessage, Header, Heartbeat, HeartbeatAck, KeyId, Label, Leave,
    LeaveReason, Message, Name, Probe, RejectReason, RelayedTime, Report, RoleMessage, SessionId, Welcome,
};
use crate::{ClientConfig, ClientEvent, Fate, StampId};

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
    following: ServerFollowing,
    /// The terms of the session, with the newest rate command, as the clock needs them when it begins to
    /// follow this server.
    terms: SessionTerms,
    /// What the server has stated last of its role, when, and the number of that datagram.
    stated: Option<(Monotonic, RoleMessage, u32)>,
    /// The term in which the server was last served as a standby server: its time is that of this term.
    stood_by: Term,
    /// What the last exchanges show of the cluster's time.
    opinion: Option<Opinion>,
    /// Since when the server's time contradicts what the clock has proved, and is not followed.
    doubted: Option<Now>,
}

/// Whether the clock follows a server, and since when. It outlives a session: what a server has to continue
/// is the time of its term.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ServerFollowing {
    /// When this server was chosen to be followed; `None`: it is not.
    since: Option<Monotonic>,
    /// Whether something speaks against it for the moment.
    withheld: bool,
    /// Whether the clock has followed a correction since.
    confirmed: bool,
    /// Whether the server has been a standby server since.
    stood_down: bool,
}

impl ServerFollowing {
    /// The server was chosen now.
    pub(super) fn begun(now: Monotonic) -> ServerFollowing {
        ServerFollowing { since: Some(now), ..ServerFollowing::default() }
    }

    /// Whether the clock is to follow the server.
    pub(super) fn is_chosen(&self) -> bool {
        self.since.is_some()
    }

    /// Whether the clock follows the server.
    fn is_on(&self) -> bool {
        self.is_chosen() && !self.withheld
    }
}

/// The terms of a session, with the newest rate command.
#[derive(Clone, Copy, Debug)]
struct SessionTerms {
    /// The server, the session, and the number of the datagram with the newest rate command.
    header: Header,
    /// The other terms, with the newest rate command.
    welcome: Welcome,
    /// When that came.
    at: Monotonic,
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
        following: ServerFollowing,
        clock: &mut MemberClock,
        outbox: &mut Outbox,
    ) -> Joined {
        let mut window = ReplayWindow::default();
        if header.key_id != KeyId::NONE {
            window.admit(header.sequence);
        }
        let mut liveness = Liveness::begin(welcome, now.mono);
        if config.servers > 1 {
            liveness.expect_statements(welcome.interval, now.mono);
        }
        let mut joined = Joined {
            id: header.session,
            interval: welcome.interval,
            key: header.key_id,
            window,
            sequence: 0,
            liveness,
            reporter: Reporter::new(config),
            server_time: ServerTime::begin(welcome.cluster, clock),
            relayed: (!welcome.relay).then_some(RelayedTime::NONE),
            proved: false,
            label: Some(Label { label: config.label }).filter(|it| it.label != Name::default()),
            following: ServerFollowing::default(),
            terms: SessionTerms { header: *header, welcome: *welcome, at: now.mono },
            stated: None,
            stood_by: Term::NONE,
            opinion: None,
            doubted: None,
        };
        if following.is_chosen() {
            joined.begin_following(now, Term::NONE, clock, outbox);
            joined.following = following;
        }
        joined
    }

    /// The clock follows this server from now on; until now it has followed that of the term `before`.
    pub(super) fn begin_following(
        &mut self,
        now: Now,
        before: Term,
        clock: &mut MemberClock,
        outbox: &mut Outbox,
    ) {
        let SessionTerms { header, welcome, .. } = &self.terms;
        self.following = ServerFollowing::begun(now.mono);
        self.doubted = None;
        self.liveness.note_corrected(now.mono);
        self.server_time.begin_following(clock);
        clock.begin_session(now, header, welcome, outbox);
        if !welcome.relay {
            let is_successor = !before.is_none() && self.stood_by == before;
            // The successor continues the time of the server before, to within the bound that it states.
            self.proved = is_successor && clock.follows_cluster(self.server_time.cluster());
            let line = self.line(now.raw, clock).filter(|_| self.proved).unwrap_or(RelayedTime::NONE);
            clock.change_server(now.raw, line);
            self.relayed = Some(line);
        }
        self.server_time.note_adjustment(now.raw, header, clock);
    }

    /// The server that is followed has another term. If it was a standby server in between, its time is no
    /// continuation of its own.
    pub(super) fn follow_term(&mut self) {
        if core::mem::take(&mut self.following.stood_down) {
            // What it is doubted by stays: it may state to have stepped down only to be believed anew.
            self.proved = false;
        }
    }

    /// Whether the clock has followed a correction since it follows this server.
    pub(super) fn is_confirmed(&self) -> bool {
        self.following.confirmed
    }

    /// Whether the clock follows the server, and since when.
    pub(super) fn following(&self) -> ServerFollowing {
        self.following
    }

    /// How the time of a server of several stands to that of the server before: it is the same, to within the
    /// bound that it states. `None`: it states nothing.
    fn line(&self, raw: Raw, clock: &MemberClock) -> Option<RelayedTime> {
        let (_, stated, _) = self.stated?;
        let (cluster, at) = (self.server_time.cluster(), clock.published().scale_time(raw));
        Some(match stated.bound {
            Some(Span::ZERO) => RelayedTime::NONE,
            bound => RelayedTime { cluster, at, bound, ..RelayedTime::NONE },
        })
    }

    /// The clock is to follow this server no longer.
    pub(super) fn end_following(&mut self) {
        self.following = ServerFollowing::default();
    }

    /// Something speaks against following this server, or nothing does. A standby server is not followed. One
    /// that is followed again has changed its rate meanwhile, and may have sent more datagrams than a clock
    /// takes for lost.
    pub(super) fn withhold_following(
        &mut self,
        now: Now,
        withheld: bool,
        clock: &mut MemberClock,
        outbox: &mut Outbox,
    ) {
        let is_standby = self.stated.is_some_and(|(_, stated, _)| stated.statement.role == Role::Standby);
        let before = core::mem::replace(&mut self.following.withheld, withheld || is_standby);
        if before && self.following.is_on() {
            clock.follow_missed_rate(now, &self.terms.header, &self.terms.welcome, outbox);
        }
    }

    /// What the server has stated last of its role, and when.
    pub(super) fn stated(&self) -> Option<(Monotonic, RoleMessage)> {
        self.stated.map(|(at, stated, _)| (at, stated))
    }

    /// A statement of the server is forgotten after so long: 1.7 intervals. After 1.2 the client asks for
    /// another, several times.
    pub(super) fn statement_lifetime(&self) -> Span {
        self.interval.times(17).over(10)
    }

    /// That is not known to hold any more, and neither is the server's opinion.
    pub(super) fn forget_statement(&mut self) {
        (self.stated, self.opinion) = (None, None);
    }

    /// What the last exchanges show of the cluster's time.
    pub(super) fn opinion(&self) -> Option<Opinion> {
        self.opinion
    }

    /// Whether the server's time contradicts what the clock has proved, so that it is not followed for now.
    pub(super) fn is_doubted(&self) -> bool {
        self.doubted.is_some()
    }

    /// Since when that is so, by the oscillator.
    pub(super) fn doubted_since(&self) -> Option<Raw> {
        self.doubted.map(|since| since.raw)
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
        let is_followed = self.following.is_chosen() && state == ClientState::Synchronized;
        let holdover = self.liveness.holdover_at().filter(|_| is_followed);
        holdover.map_or(next, |at| at.min(next))
    }

    /// Sends a heartbeat if one is due; enters holdover if the server sends no corrections.
    ///
    /// # Errors
    /// The server was silent for too long.
    pub(super) fn handle_timeout(
        &mut self,
        now: Now,
        shared: &mut Shared,
        outbox: &mut Outbox,
    ) -> Result<(), SessionEnd> {
        if now.mono >= self.liveness.silent_at() {
            return Err(SessionEnd::ServerSilent);
        }
        if now.mono >= self.liveness.heartbeat_at() {
            self.send_heartbeat(now, shared, outbox);
        }
        if self.following.is_chosen() && self.liveness.holdover_at().is_some_and(|at| now.mono >= at) {
            shared.clock.enter_holdover(HoldoverReason::NoCorrections, outbox);
        }
        Ok(())
    }

    /// Sends a heartbeat, which the server is to answer.
    pub(super) fn send_heartbeat(&mut self, now: Now, shared: &mut Shared, outbox: &mut Outbox) {
        let (nonce, statement) = (shared.rng.next_u64(), shared.statement);
        self.liveness.note_heartbeat(now.mono, nonce);
        let wants_decisions = self.following.is_on() && shared.config.own_rank.is_some();
        let decisions = wants_decisions.then(|| shared.decisions.progress(self.terms.header.sender));
        let name = shared.heartbeat_name();
        outbox.send(Body::Heartbeat(Heartbeat { nonce, name, statement, decisions }));
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
        shared: &mut Shared,
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
        let clock = &mut shared.clock;
        Ok(match &message.body {
            Body::Role(role) => self.handle_role(now, header, *role, clock, outbox),
            Body::Correction(correction) if !self.following.is_on() => {
                self.handle_opinion(now, header, correction, clock)
            }
            Body::RelayedTime(_) if !self.following.is_on() => {
                self.liveness.note_heard(now.mono);
                Fate::Unsolicited
            }
            Body::ManualAdjustment(manual) if !self.following.is_on() => {
                self.liveness.note_heard(now.mono);
                self.server_time.note_known_adjustment(manual, clock)
            }
            Body::Probe(probe) => self.handle_probe(now, received, header, probe, clock, outbox),
            Body::Correction(correction) => self.handle_correction(now, header, correction, clock, outbox),
            Body::HeartbeatAck(heartbeat) => self.handle_heartbeat_ack(now, header, heartbeat),
            Body::ManualAdjustment(manual) => {
                self.liveness.note_heard(now.mono);
                self.server_time.handle_manual_adjustment(now, manual, clock, outbox)
            }
            Body::Decision(decision) => {
                self.liveness.note_heard(now.mono);
                let is_wanted = self.following.is_on() && shared.config.own_rank.is_some();
                match is_wanted {
                    true => shared.decisions.handle(header.sender, decision),
                    false => Fate::Unsolicited,
                }
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
        self.note_rate(now, header, probe.rate);
        if self.following.is_on() {
            self.server_time.note_adjustment(now.raw, header, clock);
            self.server_time.announce_adjustment(outbox);
            if let Err(refused) = clock.follow_rate(now, header, probe.rate, self.interval) {
                clock.refuse(now, header.round, Correction::default(), refused, outbox);
            }
        }
        let report = PendingReport { nonce: probe.nonce, round: header.round, t2 };
        outbox.datagrams.push_back(QueuedDatagram::Report(report));
        if let Some(label) = self.label {
            outbox.send(Body::Label(label));
        }
        Fate::Accepted
    }

    /// The newest rate command: a clock that follows this server later counts changes from it. A false number
    /// does not count for longer than a statement.
    fn note_rate(&mut self, now: Now, header: &Header, rate: Frequency) {
        let lifetime = self.statement_lifetime();
        let SessionTerms { header: newest, welcome, at } = &mut self.terms;
        if is_next(header.sequence, newest.sequence) || now.mono - *at > lifetime {
            (newest.sequence, newest.flags, welcome.rate) = (header.sequence, header.flags, rate);
            *at = now.mono;
        }
    }

    /// The server states its role. One that is followed states with it how far its time may be from that of
    /// the server before.
    fn handle_role(
        &mut self,
        now: Now,
        header: &Header,
        role: RoleMessage,
        clock: &mut MemberClock,
        outbox: &mut Outbox,
    ) -> Fate {
        // A false number, which nothing protects without keys, is not to count for longer than a statement.
        let lifetime = self.statement_lifetime();
        let is_late = |(at, _, sequence)| now.mono - at <= lifetime && !is_next(header.sequence, sequence);
        if self.stated.is_some_and(is_late) {
            return Fate::Superseded;
        }
        self.liveness.note_stated(now.mono);
        let (rank, before) = (role.rank, self.stated.map(|(_, stated, _)| stated.statement.term));
        self.stated = Some((now.mono, role, header.sequence));
        let ServerStatement { role, term, service, .. } = role.statement;
        self.following.stood_down |= role == Role::Standby;
        if role == Role::Standby && service == Service::Served && term.rank() != Some(rank) {
            self.stood_by = term;
        }
        // The time that it held before is that of another term.
        self.opinion = self.opinion.filter(|_| before == Some(term));
        let is_relay = self.terms.welcome.relay;
        let follows = self.following.is_on() && clock.follows_cluster(self.server_time.cluster());
        let line = self.line(now.raw, clock).filter(|_| role == Role::Active && follows && !is_relay);
        if let Some(line) = line.filter(|line| self.relayed != Some(*line)) {
            self.relayed = Some(line);
            clock.follow_relayed(now.raw, line, outbox);
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
    /// A Correction of a server that the clock does not follow: it shows what that server holds for the
    /// cluster's time.
    fn handle_opinion(
        &mut self,
        now: Now,
        header: &Header,
        message: &CorrectionMessage,
        clock: &MemberClock,
    ) -> Fate {
        self.liveness.note_heard(now.mono);
        self.note_rate(now, header, message.rate);
        if self.reporter.history().is_superseded(message.about) {
            return Fate::Superseded;
        }
        if self.reporter.history().find(message.about).is_none() {
            return Fate::Unsolicited;
        }
        let burst = self.reporter.take_burst(header.round, message, clock.usual_delay());
        self.opinion = self.opinion_of(now, &burst).or(self.opinion);
        Fate::Accepted
    }

    /// What the exchanges of a burst with a server of several show of the cluster's time. That of an active
    /// server *is* the cluster's, whatever bound it states, but for a while after it has taken over.
    fn opinion_of(&self, now: Now, burst: &MeasuredBurst) -> Option<Opinion> {
        let (_, stated, _) = self.stated?;
        let since = self.following.since;
        let is_recent = since.is_some_and(|since| now.mono - since < self.interval.times(TAKEN_OVER_FOR));
        let is_exact = stated.statement.role == Role::Active && !is_recent;
        let bound = if is_exact { Some(Span::ZERO) } else { stated.bound };
        Opinion::of(self.reporter.proving(burst), bound?)
    }

    /// By how much the exchanges of a server of several that the clock follows contradict what the clock has
    /// proved; zero: they do not.
    fn contradiction(&mut self, now: Now, burst: &MeasuredBurst, clock: &MemberClock) -> Span {
        self.opinion = self.opinion_of(now, burst).or(self.opinion);
        let new = self.opinion.filter(|opinion| burst.exchanges.iter().any(|it| opinion.is_of(it)));
        let both = new.zip(clock.proved(now.raw));
        both.map_or(Span::ZERO, |(stated, proved)| clock.carry_opinion(&stated, now.raw).gap(&proved))
    }

    /// Whether a time that contradicts what the clock has proved is not followed for now: for some intervals,
    /// in which other servers' opinions come.
    fn doubts(&mut self, now: Now, gap: Span, clock: &mut MemberClock, outbox: &mut Outbox) -> bool {
        let is_known = self.following.confirmed || self.proved;
        let Some((_, stated, _)) = self.stated.filter(|_| is_known && !self.server_time.is_new_cluster())
        else {
            return false;
        };
        if gap == Span::ZERO {
            self.doubted = None;
            return false;
        }
        let since = *self.doubted.get_or_insert_with(|| {
            outbox.report_doubt(now.mono, ClientEvent::Doubts { rank: stated.rank, gap });
            now
        });
        if now.mono - since.mono >= self.interval.times(DOUBTED_FOR) {
            return false;
        }
        clock.enter_holdover(HoldoverReason::ServerDoubted, outbox);
        true
    }

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
        self.note_rate(now, header, message.rate);
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
        let gap = self.contradiction(now, &burst, clock);
        if self.doubts(now, gap, clock, outbox) {
            return Fate::Accepted;
        }
        // Another server that the clock has begun to follow may keep another time: two parts of a cluster
        // have met, say.
        let is_other_time = gap > Span::ZERO && !self.following.confirmed && !self.proved;
        let outlier_limit = match is_other_time {
            true => OutlierLimit::None,
            false => self.server_time.outlier_limit(message.verdict),
        };
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
                self.following.confirmed = true;
                self.doubted = None;
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

/// Whether the number of a datagram is that of a later one of the session, and not by absurdly many.
fn is_next(number: u32, than: u32) -> bool {
    (1..MAX_SEQUENCE_AHEAD).contains(&number.wrapping_sub(than))
}

/// For so many intervals a time that contradicts what the clock has proved is not followed: standby servers
/// measure a client in every sixth round. After that it is: if no two others contradict it, the clock itself
/// was wrong.
const DOUBTED_FOR: i64 = 10;
