//! The server: lets clients in, fires the rounds, and tells everybody the vote's result.
//!
//! What it decides: who is a member, when each member is measured, when a round is over. What the cluster's
//! time is, it asks the [keeper](super::keeper). The joining lives in `registration`, the rounds in `rounds`.

mod authentication;
mod burst;
mod cookie;
mod gate;
mod manual_adjustment;
mod member;
mod members;
mod pace;
mod packed;
mod registration;
mod removed;
mod rounds;
mod view;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

use self::authentication::{Seal, ToldForgery};
use self::burst::Asked;
use self::cookie::Cookies;
use self::gate::Gate;
pub use self::manual_adjustment::Target;
use self::members::{Members, Slot};
use self::removed::Removed;
pub use self::removed::{Changed, Unchangeable};
use self::rounds::{Probing, Telling};
use crate::consensus::{Timekeeper, TimekeeperConfig};
use crate::event::{Exclusion, RoundReport};
use crate::time::{Frequency, Monotonic, Now, Raw, Span};
use crate::timers::Timers;
use crate::transmit_latency::MinTransmitLatency;
use crate::wire::{
    Body, ClientState, DecodeError, Flags, Header, Heartbeat, HeartbeatAck, KeyId, Kind, Leave, LeaveReason,
    ManualAdjustment, Message, NodeId, Probe, Reject, RejectReason, Report, SessionId, Stamps, VERSION,
};
use crate::{ClockReading, Counters, Fate, Node, Path, ServerConfig, ServerEvent, StampId, Transmit};

/// The coordinator of the rounds, as a pure state machine; see [`Node`] for how to drive it.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    node: NodeId,
    rng: ChaCha12Rng,
    cookies: Cookies,
    gate: Gate,
    /// The nonces of members that have gone, and until when their cookies may be good: they are not let in
    /// once more.
    gone: VecDeque<(Monotonic, u64)>,
    members: Members,
    removed: Removed,
    /// What members have told of the setting of the time that they carry, as long as the server does not
    /// know.
    carried: BTreeMap<Slot, ManualAdjustment>,
    keeper: Timekeeper,
    round: u32,
    next_round: Monotonic,
    /// How many bursts the round's vote still waits for; `None` between rounds.
    pending: Option<usize>,
    bursts: u32,
    /// Exchanges with each member in this round.
    burst: u8,
    /// The beginning of this round's bursts, while it goes on.
    probing: Option<Probing>,
    /// The telling of the last round's result, while it goes on.
    telling: Option<Telling>,
    /// The member that is looked at next for whether it has been silent for too long.
    swept: Slot,
    /// The member that is next to hear that the server leaves.
    leaving: Option<Slot>,
    /// Whether there are few enough members to tell of every measurement.
    tells_each: bool,
    /// What the last round has found, and when it was over.
    last_round: Option<(Monotonic, RoundReport)>,
    /// Why the vote leaves the server's own clock out, if it does.
    own_exclusion: Option<Exclusion>,
    /// When each kind of refusal was told last.
    told: Vec<(RejectReason, Monotonic)>,
    /// When wrong tags were told last.
    told_forgery: ToldForgery,
    lag: MinTransmitLatency,
    timers: Timers<Timer>,
    outgoing: VecDeque<Outgoing>,
    events: VecDeque<ServerEvent>,
    counters: Counters,
}

/// What a server does at a moment of its own choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Begin the next round.
    Round,
    /// Conclude this round with what has been heard.
    Vote(u32),
    /// Begin the next bursts of this round.
    Begin,
    /// Tell the next members the result of the round.
    Tell,
    /// Who has been silent for too long?
    Sweep,
    /// Send the next probe of the burst at this place with this number.
    Probe(u32, u32),
    /// Conclude this burst: no more answers are waited for.
    BurstOver(u32, u32),
    /// Measure this member, of this session, between rounds, if it needs that.
    Hurry(Slot, u32),
}

/// What waits to be sent.
#[derive(Clone, Copy, Debug)]
enum Outgoing {
    Ready(Transmit),
    /// The next probe of this burst: written when it leaves, for the sake of its timestamp.
    Probe(u32, u32),
}

impl Server {
    /// A server that starts now. `seed` must be unpredictable where anybody could attack.
    pub fn new(config: ServerConfig, seed: [u8; 32], now: Now) -> Server {
        let mut rng = ChaCha12Rng::from_seed(seed);
        let (mut secret, mut gate) = ([0; 32], [0; 16]);
        rng.fill_bytes(&mut secret);
        rng.fill_bytes(&mut gate);
        let settings = TimekeeperConfig {
            interval: config.interval,
            radius: config.radius,
            plausible_from: config.plausible_from,
            known: config.initial_frequency,
            given: config.given,
        };
        let next_round = now.mono + config.interval;
        let mut timers = Timers::default();
        timers.set(next_round, Timer::Round);
        Server {
            node: NodeId(rng.next_u64()),
            rng,
            cookies: Cookies::new(secret),
            gate: Gate::new(gate),
            gone: VecDeque::new(),
            members: Members::new(table_key(seed)),
            removed: Removed::default(),
            carried: BTreeMap::new(),
            keeper: Timekeeper::new(settings, now.raw),
            round: 0,
            next_round,
            pending: None,
            bursts: 0,
            burst: config.burst,
            probing: None,
            telling: None,
            swept: 0,
            leaving: None,
            tells_each: true,
            last_round: None,
            own_exclusion: None,
            told: Vec::new(),
            told_forgery: ToldForgery::default(),
            lag: MinTransmitLatency::default(),
            timers,
            outgoing: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
            config,
        }
    }

    /// How many clients are registered.
    pub fn clients(&self) -> usize {
        self.members.len()
    }

    fn receive(&mut self, now: Now, received: Raw, path: Path, message: &Message, datagram: &[u8]) -> Fate {
        let seal = match self.authenticate(path, message, datagram) {
            Ok(seal) => seal,
            Err(fate) => {
                if fate == Fate::Tag {
                    self.tell_forgery(now, path, message);
                }
                return fate;
            }
        };
        let header = &message.header;
        match &message.body {
            Body::Register(register) => return self.handle_register(now, path, &seal, header, register),
            Body::Report(_) | Body::Heartbeat(_) | Body::Leave(_) | Body::ManualAdjustment(_) => {}
            _ => return Fate::Misdirected,
        }
        let Some(slot) = self.member_of(path.peer, header.session) else {
            let nonce = match &message.body {
                Body::Report(report) => report.nonce,
                Body::Heartbeat(heartbeat) => heartbeat.nonce,
                _ => return Fate::Session,
            };
            if seal.key != KeyId::NONE && self.is_known_elsewhere(header) {
                return Fate::Session;
            }
            let answered = self.reject(now, path, &seal, header.session, nonce, RejectReason::UnknownSession);
            return if answered { Fate::Session } else { Fate::Busy };
        };
        match &message.body {
            Body::Report(report) => self.handle_report(now, received, slot, header, report),
            Body::Heartbeat(heartbeat) => self.handle_heartbeat(now, slot, header, heartbeat),
            Body::ManualAdjustment(setting) => self.handle_setting(now, slot, header, setting),
            _ => self.handle_leave(now, slot),
        }
    }

    /// Whether this is the session of a member at another address. Somebody may have copied the datagram: a
    /// refusal, with a genuine tag, is just what he wants. Who has really moved finds out by silence.
    fn is_known_elsewhere(&self, header: &Header) -> bool {
        let member = self.members.of_node(header.sender).and_then(|slot| self.members.look_at(slot));
        member.is_some_and(|member| member.session == header.session)
    }

    fn member_of(&mut self, address: SocketAddr, session: SessionId) -> Option<Slot> {
        let slot = self.members.find(address)?;
        self.members.at(slot).filter(|member| member.session == session).map(|_| slot)
    }

    fn handle_report(&mut self, now: Now, t4: Raw, slot: Slot, header: &Header, report: &Report) -> Fate {
        let Some((member, burst)) = self.members.with_burst(slot) else { return Fate::Session };
        member.hear(now.mono, header);
        let Some(burst) = burst else { return Fate::Unasked };
        let Some(asked) = burst.answers(header.round, report) else { return Fate::Unasked };
        burst.amend(header.sequence.wrapping_sub(1), report.transmit_latency);
        if t4 - asked.t1 - report.processing > self.config.max_delay
            || !burst.measure(header.sequence, report, asked, t4)
        {
            return Fate::Implausible;
        }
        if let Some(measured) = burst.measured(header.sequence) {
            member.keep(&measured);
        }
        member.take_word(now.mono, report, header.flags, SURE);
        let complete = burst.is_complete();
        self.tell_setting(slot);
        self.confirm_or_repeat(slot, report.applied);
        if complete {
            self.finish_burst(slot);
            self.conclude_if_complete(now);
        }
        Fate::Accepted
    }

    fn handle_heartbeat(&mut self, now: Now, slot: Slot, header: &Header, heartbeat: &Heartbeat) -> Fate {
        let Some(member) = self.members.at(slot) else { return Fate::Session };
        if !member.hear(now.mono, header) {
            return Fate::Replayed;
        }
        (member.state, member.setting) = (header.flags.state, header.flags.manual_adjustment);
        self.send_to(slot, 0, Body::HeartbeatAck(HeartbeatAck { nonce: heartbeat.nonce }));
        self.tell_setting(slot);
        Fate::Accepted
    }

    fn handle_leave(&mut self, now: Now, slot: Slot) -> Fate {
        if let Some(member) = self.dismiss(now, slot) {
            self.events.push_back(ServerEvent::Left { client: member.peer() });
        }
        Fate::Accepted
    }

    /// Drops members that were silent for too long: a turn's worth, and then the next, twice a round.
    fn sweep(&mut self, now: Now) {
        let lifetime = self.config.lifetime();
        for _ in 0..pace::SWEPT_A_TURN {
            let Some(slot) = self.members.next(self.swept) else {
                self.swept = 0;
                return;
            };
            self.swept = slot + 1;
            let silent = self.members.at(slot).map_or(Span::ZERO, |member| member.silent(now.mono));
            if silent >= lifetime
                && let Some(member) = self.dismiss(now, slot)
            {
                self.events.push_back(ServerEvent::Lost { client: member.peer(), silent });
            }
        }
        self.timers.set(now.mono + pace::PAUSE, Timer::Sweep);
    }

    /// Writes a probe that is about to leave.
    fn probe(&mut self, now: Now, place: u32, id: u32) -> Option<Transmit> {
        let nonce = self.rng.next_u64();
        let (rate, cluster) = (self.keeper.rate(), self.keeper.cluster());
        let timescale = *self.keeper.timescale();
        // While the server listens, its time line may still be set: stamps on the old one would contradict
        // those on the new.
        let decided = self.keeper.state() == ClientState::Synchronized;
        let expected = self.lag.expected();
        let slot = self.members.burst(place, id)?.member;
        let (member, burst) = self.members.with_burst(slot)?;
        let burst = burst?;
        let before = member.last().filter(|_| decided).map(|(report, t1, t4)| Stamps {
            report,
            t1: timescale.estimate(t1),
            t4: timescale.estimate(t4),
        });
        let probe = Probe { nonce, before, index: burst.sent, burst: burst.size, rate, cluster };
        let (number, round) = (member.next_number(), burst.round);
        burst.probe(Asked { nonce, number, handed: now.raw, t1: now.raw + expected });
        let transmit = self.write(slot, round, Body::Probe(probe))?;
        Some(Transmit { stamp: Some(stamp_id(slot, number)), ..transmit })
    }

    fn send_to(&mut self, slot: Slot, round: u32, body: Body) {
        let transmit = self.write(slot, round, body);
        self.outgoing.extend(transmit.map(Outgoing::Ready));
    }

    /// Writes the next datagram of a member's session; `None` if its key is not known any more.
    fn write(&mut self, slot: Slot, round: u32, body: Body) -> Option<Transmit> {
        let path = self.members.path(slot)?;
        let flags = Flags { manual_adjustment: self.keeper.setting().number, ..Flags::default() };
        let member = self.members.at(slot)?;
        member.sequence = member.next_number();
        let (seal, session, sequence) = (Seal::of(member), member.session, member.sequence);
        let header = Header { flags, key_id: seal.key, sender: self.node, session, sequence, round };
        let mut datagram = Message { header, body }.encode();
        let signed = seal.sign(&self.config.keys, &mut datagram);
        signed.then_some(Transmit { path, datagram, stamp: None })
    }

    /// The next member's goodbye, if the server is about to leave.
    fn goodbye(&mut self) -> Option<Transmit> {
        let slot = self.members.next(self.leaving?)?;
        self.leaving = Some(slot + 1);
        self.write(slot, 0, Body::Leave(Leave { reason: LeaveReason::Shutdown }))
    }

    /// Answers somebody who is not a member; false if there are too many of them at the moment.
    fn answer(&mut self, now: Now, path: Path, seal: &Seal, session: SessionId, body: Body) -> bool {
        if !self.gate.answers(now.mono, &self.config, path.peer.ip()) {
            return false;
        }
        let header = Header { key_id: seal.key, sender: self.node, session, ..Header::default() };
        let mut datagram = Message { header, body }.encode();
        if seal.sign(&self.config.keys, &mut datagram) {
            self.outgoing.push_back(Outgoing::Ready(Transmit { path, datagram, stamp: None }));
        }
        true
    }

    fn reject(
        &mut self,
        now: Now,
        path: Path,
        seal: &Seal,
        session: SessionId,
        nonce: u64,
        reason: RejectReason,
    ) -> bool {
        self.answer(now, path, seal, session, Body::Reject(Reject { nonce, reason, version: VERSION }))
    }

    /// Tells of a refusal, each kind at most once a minute: the network decides how many there are.
    fn tell_refusal(&mut self, now: Now, address: SocketAddr, reason: RejectReason, version: u8) {
        let recent = |told: &&mut (RejectReason, Monotonic)| told.0 == reason;
        match self.told.iter_mut().find(recent) {
            Some((_, at)) if now.mono - *at < TELL_AGAIN => return,
            Some((_, at)) => *at = now.mono,
            None => self.told.push((reason, now.mono)),
        }
        self.events.push_back(ServerEvent::Refused { address, reason, version });
    }
}

impl Node for Server {
    type Event = ServerEvent;

    fn handle_datagram(&mut self, now: Now, path: Path, datagram: &[u8]) {
        self.handle_received(now, now.raw, path, datagram);
    }

    fn handle_received(&mut self, now: Now, received: Raw, path: Path, datagram: &[u8]) {
        let fate = match Message::decode(datagram) {
            _ if !gate::is_allowed(&self.config, path.peer.ip()) => Fate::Denied,
            Ok(message) => self.receive(now, received, path, &message, datagram),
            Err(DecodeError::Length(_)) => Fate::Length,
            Err(DecodeError::Magic) => Fate::Magic,
            Err(DecodeError::Version { version, kind, session, nonce }) => {
                // Never answer what could itself be an answer, nor with keys what nobody vouches for.
                if kind != Kind::Reject as u8 && self.config.keys.is_empty() {
                    let seal = Seal::default();
                    self.reject(now, path, &seal, session, nonce, RejectReason::Version);
                    self.tell_refusal(now, path.peer, RejectReason::Version, version);
                }
                Fate::Version
            }
            Err(DecodeError::Kind(_) | DecodeError::Field(_)) => Fate::Malformed,
        };
        self.counters.count(fate);
    }

    fn handle_transmitted(&mut self, id: StampId, raw: Raw) {
        let (slot, number) = place_of(id);
        let Some((member, Some(burst))) = self.members.with_burst(slot) else { return };
        if let Some(lag) = burst.leave(number, raw) {
            self.lag.learn(lag);
            if let Some(measured) = member.last().and_then(|(report, ..)| burst.measured(report)) {
                member.keep(&measured);
            }
        }
    }

    fn handle_lost(&mut self, datagrams: u32) {
        self.counters.lose(datagrams);
    }

    fn handle_timeout(&mut self, now: Now) {
        for _ in 0..pace::TIMERS_A_TURN {
            let Some(timer) = self.timers.fire(now.mono) else { break };
            match timer {
                Timer::Round if now.mono >= self.next_round => self.begin_round(now),
                Timer::Round => {}
                Timer::Vote(round) if round == self.round => self.conclude_round(now),
                Timer::Vote(_) => {}
                Timer::Begin => self.begin_bursts(now),
                Timer::Tell => self.tell_members(now),
                Timer::Sweep => self.sweep(now),
                Timer::Probe(place, id) => self.probe_is_due(now, place, id),
                Timer::BurstOver(place, id) => self.burst_is_over(now, place, id),
                Timer::Hurry(slot, session) => self.hurry_is_due(now, slot, session),
            }
        }
    }

    fn handle_shutdown(&mut self, _now: Now) {
        self.leaving = Some(0);
    }

    fn handle_suspended(&mut self, now: Now, slept: Span) {
        self.keeper.wake_up(now.raw, slept);
        // What was measured across the gap, or is to be told by the time of before, is nothing.
        (self.pending, self.probing, self.telling) = (None, None, None);
        self.members.forget_measurements();
        self.events.push_back(ServerEvent::Suspended { slept });
    }

    fn poll_transmit(&mut self, now: Now) -> Option<Transmit> {
        loop {
            match self.outgoing.pop_front() {
                Some(Outgoing::Ready(transmit)) => return Some(transmit),
                Some(Outgoing::Probe(place, id)) => {
                    if let Some(transmit) = self.probe(now, place, id) {
                        return Some(transmit);
                    }
                }
                None => return self.goodbye(),
            }
        }
    }

    fn poll_event(&mut self) -> Option<ServerEvent> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        self.timers.next()
    }

    fn read(&self, raw: Raw) -> ClockReading {
        ClockReading {
            time: self.keeper.shown(raw),
            state: self.keeper.state(),
            error: self.keeper.own_error(raw),
            bound: self.keeper.own_bound(raw),
            frequency: self.keeper.timescale().frequency(),
            frequency_error: self.keeper.frequency_error(raw),
        }
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// Names a probe by its member's place and its number in the session.
fn stamp_id(slot: Slot, number: u32) -> StampId {
    StampId(u64::from(slot) << 32 | u64::from(number))
}

/// What [`stamp_id`] put together.
fn place_of(id: StampId) -> (Slot, u32) {
    ((id.0 >> 32) as Slot, id.0 as u32)
}

/// A client knows its frequency when it is sure to this: then it counts for the cluster's rate.
const SURE: Frequency = Frequency::from_ppm(1.0);
/// Refusals of the same kind are told once in this time.
const TELL_AGAIN: Span = Span::from_secs(60);

/// The secret of the hash tables, from a stream of its own.
fn table_key(seed: [u8; 32]) -> [u8; 16] {
    let mut rng = ChaCha12Rng::from_seed(seed);
    rng.set_stream(1);
    let mut key = [0; 16];
    rng.fill_bytes(&mut key);
    key
}
