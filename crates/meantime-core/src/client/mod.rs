//! The client: registers, answers probes, and follows the corrections of its own clock.
//!
//! What it decides: when to ask for entry (`registration`) and when to give a server up, which Correction to
//! believe, whether to step or to slew (`correction`), which of the server's words on the cluster's `rate`
//! and on its `setting` to follow. How phase and frequency follow from the exchanges, it asks its
//! [discipline](super::discipline), by way of `trial` where it has a frequency from an earlier run.

mod correction;
mod limits;
mod manual_adjustment;
mod memory;
mod proof;
mod rate;
mod registration;
mod replay;
mod trial;
mod view;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

use self::manual_adjustment::Awareness;
use self::memory::{Memory, Sent};
use self::rate::RateCommand;
use self::registration::{Entry, Terms};
use self::replay::Window;
use self::trial::Estimator;
use crate::estimation::bound::Bound;
use crate::estimation::timescale::Timescale;
use crate::event::{HoldoverReason, Refusal};
use crate::time::{self, Frequency, Monotonic, Now, Raw, Span};
use crate::transmit_latency::MinTransmitLatency;
use crate::view::CorrectionView;
use crate::wire::{
    Body, ClientState, ClusterId, DecodeError, Direction, Flags, Header, Heartbeat, HeartbeatAck, KeyId,
    Kind, Leave, LeaveReason, ManualAdjustment, Message, Name, NodeId, Probe, RejectReason, Report,
    SessionId,
};
use crate::{
    Action, ClientConfig, ClientEvent, ClockReading, Counters, Fate, Node, NodeKeys, Path, StampId, Transmit,
};

/// A machine that registers with a server and follows the cluster's time; see [`Node`] for how to drive it.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    node: NodeId,
    rng: ChaCha12Rng,
    server: Option<SocketAddr>,
    link: Link,
    /// Refusals that were told already.
    told: Vec<RejectReason>,
    state: ClientState,
    cluster: ClusterId,
    /// The base time that is agreed on.
    timescale: Timescale,
    /// What somebody has set the cluster's time by; none as long as the clock does not have that time.
    setting: ManualAdjustment,
    awareness: Awareness,
    /// The clock's lead over its oscillator when it had no cluster time, until the time that it was given
    /// then is confirmed: by a later correction that was followed without a step.
    start: Option<Span>,
    estimator: Estimator,
    bound: Bound,
    /// The refusal that was told last, and when; `None`: the last correction was accepted.
    refused: Option<(Refusal, Monotonic)>,
    /// The last correction that was followed, and when.
    last_correction: Option<(Monotonic, CorrectionView)>,
    /// Why the clock is in holdover, if it is.
    holdover: Option<HoldoverReason>,
    command: RateCommand,
    lag: MinTransmitLatency,
    outgoing: VecDeque<Outgoing>,
    actions: VecDeque<Action>,
    events: VecDeque<ClientEvent>,
    counters: Counters,
}

/// How the client stands with its server.
#[derive(Debug)]
enum Link {
    /// It asks to be let in.
    Entering(Entry),
    /// It is in.
    Member(Box<Session>),
}

/// A registration.
#[derive(Debug)]
struct Session {
    id: SessionId,
    terms: Terms,
    /// The key that the server is known to know.
    key: KeyId,
    /// Which of the server's datagrams have come.
    window: Window,
    /// Datagrams sent in this session; a report's number is the count at its time.
    sequence: u32,
    /// When something valid was heard of the server last.
    heard: Monotonic,
    /// When something was sent last.
    sent: Monotonic,
    /// When the last Correction came, or the session began.
    corrected: Monotonic,
    /// The report number of the newest Correction applied; 0: none.
    applied: u32,
    /// The nonce of the Heartbeat that waits for an answer.
    heartbeat: Option<u64>,
    /// Until the first Correction of a session shows that the server keeps the time this clock has, a jump is
    /// believed at once: the server may keep another cluster's time.
    new_cluster: bool,
    /// Whether this session's server has proved something about its time.
    proved: bool,
    /// What its cluster's time was set by, by the server's last word, and until it has said one, by the
    /// client's own knowledge.
    setting: ManualAdjustment,
    /// The number of that setting as this server counts; 0: it has told none.
    number: u8,
    /// Why a newer one was refused.
    refused_setting: Option<Refusal>,
    memory: Memory,
}

/// What waits to be sent.
#[derive(Clone, Copy, Debug)]
enum Outgoing {
    Ready(Body),
    /// The answer to a probe: written when it leaves, for the sake of its timestamp.
    Report {
        nonce: u64,
        round: u32,
        t2: Raw,
    },
}

impl Client {
    /// A client that starts now; it first asks for the server's address. `seed` must be unpredictable where
    /// anybody could attack.
    pub fn new(config: ClientConfig, seed: [u8; 32], now: Now) -> Client {
        let mut rng = ChaCha12Rng::from_seed(seed);
        let bound = Bound::unknown(now.raw, config.drift_allowance);
        let estimator = config
            .initial_frequency
            .map_or_else(Estimator::default, |(kept, error)| Estimator::trying(kept, error));
        Client {
            config,
            node: NodeId(rng.next_u64()),
            server: None,
            link: Link::Entering(Entry::first(rng.next_u64())),
            rng,
            told: Vec::new(),
            state: ClientState::Unsynchronized,
            cluster: ClusterId::default(),
            timescale: Timescale::free_running(now.raw),
            setting: ManualAdjustment::NONE,
            awareness: Awareness::begin(now.raw),
            start: None,
            estimator,
            bound,
            refused: None,
            last_correction: None,
            holdover: None,
            command: RateCommand::default(),
            lag: MinTransmitLatency::default(),
            outgoing: VecDeque::new(),
            actions: VecDeque::from([Action::Resolve]),
            events: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    fn receive(&mut self, now: Now, received: Raw, message: &Message) -> Fate {
        let header = &message.header;
        match &message.body {
            Body::Challenge(challenge) => self.handle_challenge(now, header, challenge),
            Body::Welcome(welcome) => self.handle_welcome(now, header, welcome),
            Body::Reject(reject) => self.handle_reject(header, reject),
            body => {
                let Link::Member(session) = &mut self.link else { return Fate::Session };
                if session.id != header.session {
                    return Fate::Session;
                }
                if header.key_id != KeyId::NONE && !session.window.admit(header.sequence) {
                    return Fate::Replayed;
                }
                match body {
                    Body::Probe(probe) => self.handle_probe(now, received, header, probe),
                    Body::Correction(correction) => self.handle_correction(now, header, correction),
                    Body::HeartbeatAck(heartbeat) => self.handle_heartbeat_ack(now, header, heartbeat),
                    Body::Leave(_) => self.handle_leave(now),
                    Body::ManualAdjustment(setting) => self.handle_setting(now, setting),
                    _ => Fate::Misdirected,
                }
            }
        }
    }

    fn handle_probe(&mut self, now: Now, t2: Raw, header: &Header, probe: &Probe) -> Fate {
        let Link::Member(session) = &mut self.link else { return Fate::Session };
        session.heard = now.mono;
        if session.memory.has_answered(probe.nonce) {
            return Fate::Unasked;
        }
        session.learn_cluster(probe.cluster, self.cluster, self.state, &self.setting);
        if let Some(stamps) = probe.before {
            session.memory.complete(stamps);
        }
        self.note_setting(now, header.flags.manual_adjustment);
        self.tell_setting();
        if let Err(reason) = self.follow_rate(now, header, probe.rate) {
            self.refuse(now, header.round, time::Correction::default(), reason);
        }
        self.outgoing.push_back(Outgoing::Report { nonce: probe.nonce, round: header.round, t2 });
        Fate::Accepted
    }

    fn handle_heartbeat_ack(&mut self, now: Now, header: &Header, heartbeat: &HeartbeatAck) -> Fate {
        let Link::Member(session) = &mut self.link else { return Fate::Session };
        if session.heartbeat.take_if(|nonce| *nonce == heartbeat.nonce).is_none() {
            return Fate::Unasked;
        }
        session.heard = now.mono;
        // It was asked with the newest key.
        session.key = header.key_id;
        Fate::Accepted
    }

    fn handle_leave(&mut self, now: Now) -> Fate {
        self.enter_holdover(HoldoverReason::ServerLeft);
        self.enter_later(now);
        Fate::Accepted
    }

    fn enter_holdover(&mut self, reason: HoldoverReason) {
        if self.state == ClientState::Synchronized {
            self.state = ClientState::Holdover;
            self.holdover = Some(reason);
            self.events.push_back(ClientEvent::Holdover { reason });
        }
    }

    fn session_timeout(&mut self, now: Now) {
        let Link::Member(session) = &mut self.link else { return };
        if now.mono >= session.dead_at() {
            self.enter_holdover(HoldoverReason::ServerSilent);
            self.enter_again();
            return;
        }
        if now.mono >= session.heartbeat_at() {
            self.beat(now);
        }
        let Link::Member(session) = &mut self.link else { return };
        if session.flying_at().is_some_and(|at| now.mono >= at) {
            self.enter_holdover(HoldoverReason::NoCorrections);
        }
    }

    /// Sends a sign of life, which the server is to answer.
    fn beat(&mut self, now: Now) {
        let Link::Member(session) = &mut self.link else { return };
        let nonce = self.rng.next_u64();
        session.heartbeat = Some(nonce);
        session.sent = now.mono;
        let name = if self.config.keys.is_empty() { Name::default() } else { self.config.name };
        self.outgoing.push_back(Outgoing::Ready(Body::Heartbeat(Heartbeat { nonce, name })));
    }

    /// From now on these are the keys. Whether the server knows the newest, a heartbeat finds out.
    pub fn set_keys(&mut self, now: Now, keys: NodeKeys) {
        self.config.keys = keys;
        self.beat(now);
    }

    /// Which key a datagram is to be tagged with: heartbeats try the newest.
    fn key_for(&self, body: &Body) -> KeyId {
        let keys = &self.config.keys;
        match (&self.link, body) {
            (_, Body::Heartbeat(_)) => keys.newest(),
            (Link::Member(session), _) => keys.or_newest(session.key),
            (Link::Entering(entry), _) => keys.or_newest(entry.key()),
        }
    }

    /// Whether a datagram has the tag that it must have: none where there are no keys, else this node's, made
    /// by a server.
    fn is_authentic(&self, header: &Header, datagram: &[u8]) -> bool {
        if self.config.keys.is_empty() {
            return header.key_id == KeyId::NONE;
        }
        let key = self.config.keys.find(header.key_id);
        let datagram = datagram.try_into().ok();
        key.zip(datagram).is_some_and(|(key, datagram)| key.verify(Direction::ToClient, datagram))
    }

    /// Writes the answer to a probe that is about to leave.
    fn report(&mut self, now: Now, nonce: u64, round: u32, t2: Raw) -> Option<Transmit> {
        // It will leave a little later than now, and says so as well as that can be known.
        let t3 = now.raw + self.lag.expected();
        let (published_t2, published_t3) = (self.timescale.published(t2), self.timescale.published(t3));
        let known = self.estimator.estimate(now.raw).filter(|_| self.state.has_cluster_time());
        let (frequency, bound) = (self.timescale.frequency(), self.bound_at(now.raw));
        let error = self.error_at(now.raw);
        // A client that knows its path's asymmetry reads its clock as if the way there and back took equally
        // long.
        let early = self.config.asymmetry.half();
        let Link::Member(session) = &mut self.link else { return None };
        let processing = published_t3 - published_t2;
        if processing < Span::ZERO || processing > MAX_PROCESSING {
            return None;
        }
        let number = session.sequence.wrapping_add(1).max(1);
        let report = Report {
            nonce,
            t2: published_t2 - early,
            processing,
            transmit_latency: session.memory.lag_of(number.wrapping_sub(1)),
            frequency,
            frequency_error: known.map_or(UNKNOWN_FREQUENCY, |known| known.frequency_error),
            rate: self.command.rate,
            applied: session.applied,
            bound,
            error,
        };
        session.memory.remember(Sent {
            number,
            round,
            nonce,
            t2: t2 - early,
            handed: now.raw - early,
            t3: t3 - early,
            published_t2: published_t2 - early,
            published_t3: published_t3 - early,
        });
        let transmit = self.write(now, round, Body::Report(report))?;
        Some(Transmit { stamp: Some(StampId(number.into())), ..transmit })
    }

    /// Writes the next datagram to the server.
    fn write(&mut self, now: Now, round: u32, body: Body) -> Option<Transmit> {
        let peer = self.server?;
        let key_id = self.key_for(&body);
        let flags = Flags { state: self.state, manual_adjustment: 0 };
        let mut header = Header { flags, key_id, sender: self.node, round, ..Header::default() };
        if let Link::Member(session) = &mut self.link {
            header.flags.manual_adjustment = session.number;
            session.sequence = session.sequence.wrapping_add(1).max(1);
            session.sent = now.mono;
            header.session = session.id;
            header.sequence = session.sequence;
        }
        let mut datagram = Message { header, body }.encode();
        if let Some(key) = self.config.keys.find(key_id) {
            key.sign(Direction::ToServer, &mut datagram);
        }
        Some(Transmit { path: Path { peer, local: None }, datagram, stamp: None })
    }

    fn tell_refusal(&mut self, reason: RejectReason, version: u8) {
        if let Some(server) = self.server.filter(|_| !self.told.contains(&reason)) {
            self.told.push(reason);
            self.events.push_back(ClientEvent::Refused { server, reason, version });
        }
    }
}

impl Session {
    /// When the server counts as dead unless it is heard before.
    fn dead_at(&self) -> Monotonic {
        self.heard + self.terms.lifetime
    }

    /// When a heartbeat is due unless something is sent before.
    fn heartbeat_at(&self) -> Monotonic {
        self.sent + self.terms.heartbeat
    }

    /// When the clock counts as flying on its own, unless it is corrected before: the server is there, and
    /// says nothing about this clock.
    fn flying_at(&self) -> Option<Monotonic> {
        let still_there = self.heard - self.corrected >= self.terms.heartbeat;
        still_there.then(|| self.corrected + self.terms.lifetime)
    }

    /// The server keeps this cluster's time; if that is not the one that the clock has, it must be told anew.
    fn learn_cluster(
        &mut self,
        cluster: ClusterId,
        own: ClusterId,
        state: ClientState,
        setting: &ManualAdjustment,
    ) {
        if cluster != ClusterId::default() && cluster != self.terms.cluster {
            self.terms.cluster = cluster;
            self.begin_setting(setting, own);
            self.new_cluster = !state.has_cluster_time() || cluster != own;
        }
    }
}

impl Node for Client {
    type Event = ClientEvent;

    fn handle_datagram(&mut self, now: Now, path: Path, datagram: &[u8]) {
        self.handle_received(now, now.raw, path, datagram);
    }

    fn handle_received(&mut self, now: Now, received: Raw, path: Path, datagram: &[u8]) {
        let fate = match Message::decode(datagram) {
            _ if self.server != Some(path.peer) => Fate::Stranger,
            Ok(message) if !self.is_authentic(&message.header, datagram) => Fate::Tag,
            Ok(message) => self.receive(now, received, &message),
            Err(DecodeError::Length(_)) => Fate::Length,
            Err(DecodeError::Magic) => Fate::Magic,
            Err(DecodeError::Version { version, kind, nonce, .. }) => {
                // What cannot be checked is not believed by whoever has a key.
                if kind == Kind::Reject as u8 && self.config.keys.is_empty() {
                    self.handle_other_version(version, nonce);
                }
                Fate::Version
            }
            Err(DecodeError::Kind(_) | DecodeError::Field(_)) => Fate::Malformed,
        };
        self.counters.count(fate);
    }

    fn handle_transmitted(&mut self, id: StampId, raw: Raw) {
        // The asymmetry that a report leaves out, what is remembered of it leaves out too.
        let left = raw - self.config.asymmetry.half();
        let Link::Member(session) = &mut self.link else { return };
        let lag = u32::try_from(id.0).ok().and_then(|number| session.memory.leave(number, left));
        if let Some(lag) = lag {
            self.lag.learn(lag);
        }
    }

    fn handle_lost(&mut self, datagrams: u32) {
        self.counters.lose(datagrams);
    }

    fn handle_timeout(&mut self, now: Now) {
        match &self.link {
            Link::Entering(_) => self.entry_timeout(now),
            Link::Member(_) => self.session_timeout(now),
        }
    }

    fn handle_shutdown(&mut self, _now: Now) {
        if matches!(self.link, Link::Member(_)) {
            let leave = Leave { reason: LeaveReason::Shutdown };
            self.outgoing.push_back(Outgoing::Ready(Body::Leave(leave)));
        }
    }

    fn handle_resolved(&mut self, now: Now, server: Option<SocketAddr>) {
        self.server = server.or(self.server);
        self.resolved(now, server.is_some());
    }

    fn handle_suspended(&mut self, now: Now, slept: Span) {
        self.wake_up(now, slept);
    }

    fn poll_transmit(&mut self, now: Now) -> Option<Transmit> {
        while let Some(outgoing) = self.outgoing.pop_front() {
            let transmit = match outgoing {
                Outgoing::Ready(body) => self.write(now, 0, body),
                Outgoing::Report { nonce, round, t2 } => self.report(now, nonce, round, t2),
            };
            if transmit.is_some() {
                return transmit;
            }
        }
        None
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        match &self.link {
            Link::Entering(entry) => entry.next_try(),
            Link::Member(session) => {
                let flying = session.flying_at().filter(|_| self.state == ClientState::Synchronized);
                [Some(session.dead_at()), Some(session.heartbeat_at()), flying].into_iter().flatten().min()
            }
        }
    }

    fn read(&self, raw: Raw) -> ClockReading {
        let known = self.estimator.estimate(raw).filter(|_| self.state.has_cluster_time());
        ClockReading {
            time: self.shown(raw),
            state: self.state,
            error: self.error_at(raw),
            bound: self.bound_at(raw),
            frequency: self.timescale.frequency(),
            frequency_error: known.map(|known| known.frequency_error),
        }
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// A report says in 32 bits how long it took to write; who was held up for longer has nothing to report.
const MAX_PROCESSING: Span = Span::from_secs(2);
/// Nobody's frequency is farther off.
const UNKNOWN_FREQUENCY: Frequency = Frequency::from_ppm(500.0);
