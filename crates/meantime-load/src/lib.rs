//! A crowd: many light clients in one process, to measure a real server.
//!
//! To whoever drives it, the crowd is one [`Node`], whose paths lead to its clients' own addresses
//! ([`Seats`]); the sockets turn that around. Everything that a client does is in [`light`]; here is when:
//! clients are let in a few at a time, look every now and then for whether they have to ask again or to give
//! a sign of life, and, if the server is to be driven as fast as it answers, keep heartbeats on their way,
//! each from the next client in turn: up to a fixed number, and when half of that is answered, as many again.
//! For each of them the server does what it does for any datagram of a member: receive and stamp it, read it,
//! find the member and its session, note the sign of life, write an answer and send that.

pub mod light;
pub mod measure;
pub mod seats;

use std::collections::VecDeque;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub use self::measure::Measure;
pub use self::seats::Seats;

use self::light::{Errs, Light};
use meantime_core::time::{Frequency, Monotonic, Now, Raw, Span};
use meantime_core::transmit_latency::MinTransmitLatency;
use meantime_core::wire::{
    Body, CorrectionMessage, Datagram, Direction, Flags, Header, Heartbeat, HeartbeatAck, KeyId, Leave,
    LeaveReason, Message, Name, NodeKey, Probe, Register, Report, SessionId, Welcome,
};
use meantime_core::{ClockReading, Counters, Fate, MasterKeys, Node, Path, StampId, Transmit};

/// What a crowd does.
#[derive(Clone, Debug, PartialEq)]
pub struct CrowdPlan {
    /// How many clients it has.
    pub clients: usize,
    /// From which everything random in it follows.
    pub seed: u64,
    /// How many ask to be let in in a second.
    pub join_rate: u32,
    /// How long after all are in measurements begin.
    pub settle: Span,
    /// For how long it goes on in all.
    pub duration: Span,
    /// How many heartbeats are on their way at a time at most; 0: clients send them when they must.
    pub pressure: usize,
    /// The cluster's keys; with any, the newest tags everything.
    pub keys: MasterKeys,
}

/// What a crowd tells.
#[derive(Clone, Debug)]
pub enum CrowdEvent {
    /// All are in; it took so long.
    AllIn(Span),
    /// It measures from now on.
    Measuring,
    /// It is over: what was found, over so long a time, with so many clients in.
    Over(Box<Measure>, Span, usize),
}

/// The clients, and what was measured; see [`Node`] for how to drive it.
#[derive(Debug)]
pub struct Crowd {
    plan: CrowdPlan,
    seats: Seats,
    clients: Vec<Light>,
    /// With keys, the number of the one that is used, and each client's own.
    key: KeyId,
    keys: Vec<NodeKey>,
    rng: ChaCha8Rng,
    terms: Welcome,
    /// The newest setting of the cluster's time that it was told of. What its clocks are measured by is the
    /// time without it.
    setting: u8,
    began: Monotonic,
    /// How many have asked to be let in, and how many are.
    asked: usize,
    inside: usize,
    all_in: Option<Monotonic>,
    /// The next client to be looked after, and the next to send a heartbeat under pressure.
    hand: usize,
    turn: usize,
    beating: VecDeque<(u32, u64, Monotonic)>,
    unanswered: usize,
    next: Monotonic,
    lag: MinTransmitLatency,
    /// By port, so that what goes out together can go together.
    outgoing: Vec<VecDeque<Outgoing>>,
    current: usize,
    over: bool,
    /// Once it is over, how many have said goodbye; and what is to be told when all have.
    gone: usize,
    verdict: Option<CrowdEvent>,
    measure: Measure,
    events: VecDeque<CrowdEvent>,
    counters: Counters,
}

#[derive(Clone, Copy, Debug)]
enum Outgoing {
    Ready(u32, Datagram),
    /// The answer to a probe: written when it leaves.
    Report {
        client: u32,
        nonce: u64,
        round: u32,
        host: Raw,
    },
}

impl Crowd {
    /// A crowd that begins now, in these seats.
    pub fn new(plan: CrowdPlan, seats: Seats, now: Now) -> Crowd {
        let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
        let mut light = || {
            let offset = Span::from_nanos(rng.random_range(-OFFSET.as_nanos()..=OFFSET.as_nanos()));
            Light::new(Errs {
                origin: now.raw,
                offset,
                drift: Frequency::from_ppm(rng.random_range(-DRIFT_PPM..=DRIFT_PPM)),
            })
        };
        let key = plan.keys.newest();
        let master = plan.keys.find(key);
        let own = |client| master.map(|master| master.node(&name(client)));
        Crowd {
            clients: (0..plan.clients).map(|_| light()).collect(),
            key,
            keys: (0..plan.clients).map_while(own).collect(),
            outgoing: vec![VecDeque::new(); seats.ports()],
            plan,
            seats,
            rng,
            terms: Welcome {
                heartbeat: Span::from_secs(5),
                lifetime: Span::from_secs(18),
                ..Welcome::default()
            },
            setting: 0,
            began: now.mono,
            asked: 0,
            inside: 0,
            all_in: None,
            hand: 0,
            turn: 0,
            beating: VecDeque::new(),
            unanswered: 0,
            next: now.mono,
            lag: MinTransmitLatency::default(),
            current: 0,
            over: false,
            gone: 0,
            verdict: None,
            measure: Measure::default(),
            events: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    fn receive(&mut self, now: Now, received: Raw, client: usize, message: &Message) -> Fate {
        let header = &message.header;
        let Some(light) = self.clients.get_mut(client) else { return Fate::Stranger };
        if header.session != SessionId::default() && light.is_member() && header.session != light.session {
            return Fate::Session;
        }
        let silent = now.mono - light.heard;
        light.heard = now.mono;
        match &message.body {
            Body::Challenge(challenge) if !light.is_member() => {
                if challenge.nonce != light.nonce {
                    return Fate::Unasked;
                }
                self.register(now.mono, client, challenge.cookie);
            }
            Body::Welcome(welcome) if !light.is_member() => {
                if welcome.nonce != light.nonce {
                    return Fate::Unasked;
                }
                light.enter(now.mono, header.session, welcome.rate);
                self.terms = *welcome;
                self.inside += 1;
            }
            Body::Probe(probe) => return self.answer(now, received, client, header, probe, silent),
            Body::Correction(correction) => return self.follow(now, client, header, correction),
            Body::HeartbeatAck(heartbeat) => return self.acknowledge(client, heartbeat),
            Body::ManualAdjustment(setting) => self.setting = setting.number,
            Body::Reject(_) | Body::Leave(_) => self.drop_out(client),
            _ => return Fate::Misdirected,
        }
        Fate::Accepted
    }

    fn register(&mut self, now: Monotonic, client: usize, cookie: u64) {
        let light = &mut self.clients[client];
        if cookie == 0 {
            light.nonce = self.rng.next_u64();
        }
        light.sent = now;
        let body = Body::Register(Register {
            nonce: light.nonce,
            cookie,
            name: name(client),
            ..Register::default()
        });
        self.send(client, 0, body);
    }

    /// It is no member any more, and asks again after a while.
    fn drop_out(&mut self, client: usize) {
        let light = &mut self.clients[client];
        if light.is_member() {
            light.session = SessionId::default();
            self.inside -= 1;
        }
    }

    fn answer(
        &mut self,
        now: Now,
        host: Raw,
        client: usize,
        header: &Header,
        probe: &Probe,
        silent: Span,
    ) -> Fate {
        let light = &mut self.clients[client];
        if !light.is_member() {
            return Fate::Session;
        }
        light.follow_rate(now.raw, probe.rate);
        let (size, last) = light.burst;
        let missing = match probe.index {
            // A burst that was cut short by the next one has lost nothing.
            0 if silent < CUT_SHORT => 0,
            0 => size.saturating_sub(last.saturating_add(u8::from(size > 0))),
            index => (index - 1).saturating_sub(last),
        };
        let unheard = if probe.index == 0 { light.begin_burst(now.mono, self.terms.interval) } else { 0 };
        light.burst = (probe.burst, probe.index);
        self.measure.count(|measure| &mut measure.lost_probes, missing.into());
        self.measure.count(|measure| &mut measure.unconfirmed_reports, unheard.into());
        self.measure.count(|measure| &mut measure.exchanges, 1);
        self.measure.probed(now.mono, header.round);
        let (nonce, round) = (probe.nonce, header.round);
        let port = self.seats.port_of(client);
        self.outgoing[port].push_back(Outgoing::Report { client: client as u32, nonce, round, host });
        Fate::Accepted
    }

    fn follow(&mut self, now: Now, client: usize, header: &Header, told: &CorrectionMessage) -> Fate {
        let light = &mut self.clients[client];
        if told.about.wrapping_sub(light.applied) as i32 <= 0 {
            return Fate::Superseded;
        }
        light.follow_rate(now.raw, told.rate);
        let unheard = light.confirm(told.about, told.heard);
        self.measure.count(|measure| &mut measure.lost_reports, unheard.into());
        let settled = light.is_settled();
        let Some(truth) = light.correct(now.raw, told.about, told.correction) else { return Fate::Unasked };
        let clock = Span::from_nanos(truth.shown.as_nanos()) - Span::from_nanos(truth.host.as_nanos());
        self.measure.corrected(header.round, truth.host, clock, told.correction.span(), settled);
        Fate::Accepted
    }

    fn acknowledge(&mut self, client: usize, heartbeat: &HeartbeatAck) -> Fate {
        let light = &mut self.clients[client];
        if light.nonce != heartbeat.nonce || heartbeat.nonce == 0 {
            return Fate::Unasked;
        }
        light.nonce = 0;
        self.measure.count(|measure| &mut measure.exchanges, 1);
        if self.plan.pressure > 0 {
            self.unanswered = self.unanswered.saturating_sub(1);
            let now = light.heard;
            self.press(now);
        }
        Fate::Accepted
    }

    /// Keeps the heartbeats on their way that there are to be.
    fn press(&mut self, now: Monotonic) {
        if self.measure.since.is_none() || self.over {
            return;
        }
        while self.beating.front().is_some_and(|(client, nonce, at)| {
            self.clients[*client as usize].nonce != *nonce || now - *at > HEARTBEAT_PATIENCE
        }) {
            let Some((client, nonce, _)) = self.beating.pop_front() else { break };
            let light = &mut self.clients[client as usize];
            if light.nonce == nonce {
                light.nonce = 0;
                self.unanswered = self.unanswered.saturating_sub(1);
                self.measure.lost_heartbeats += 1;
            }
        }
        // Few at a time would be small batches, here and at the server.
        if self.unanswered > self.plan.pressure / 2 {
            return;
        }
        for _ in 0..self.plan.pressure.min(self.clients.len()) {
            if self.unanswered >= self.plan.pressure {
                break;
            }
            self.turn = (self.turn + 1) % self.clients.len();
            let client = self.turn;
            if self.clients[client].is_member() && self.clients[client].nonce == 0 {
                let nonce = self.beat(now, client);
                self.beating.push_back((client as u32, nonce, now));
                self.unanswered += 1;
            }
        }
    }

    fn beat(&mut self, now: Monotonic, client: usize) -> u64 {
        let nonce = self.rng.next_u64().max(1);
        let light = &mut self.clients[client];
        (light.nonce, light.sent) = (nonce, now);
        self.send(client, 0, Body::Heartbeat(Heartbeat { nonce, name: self.vouched_name(client) }));
        nonce
    }

    /// Lets the next ones ask, and looks after some of the others.
    fn tend(&mut self, now: Monotonic) {
        let due = (now - self.began).as_secs_f64() * f64::from(self.plan.join_rate);
        while self.asked < self.clients.len() && (self.asked as f64) < due {
            self.register(now, self.asked, 0);
            self.asked += 1;
        }
        // All in the time of a quarter of the heartbeat's.
        let share = (TICK.as_secs_f64() * 4.0 / self.terms.heartbeat.as_secs_f64()).min(1.0);
        for _ in 0..(self.asked as f64 * share).ceil() as usize {
            self.hand = (self.hand + 1) % self.asked.max(1);
            self.look_after(now, self.hand);
        }
    }

    fn look_after(&mut self, now: Monotonic, client: usize) {
        let light = &self.clients[client];
        if !light.is_member() {
            if now - light.sent >= ASK_AGAIN {
                self.register(now, client, 0);
            }
        } else if now - light.heard > self.terms.lifetime {
            self.drop_out(client);
        } else if now - light.sent > self.terms.heartbeat {
            self.beat(now, client);
        }
    }

    fn send(&mut self, client: usize, round: u32, body: Body) {
        let light = &mut self.clients[client];
        // Outside of a session numbers have no meaning.
        light.sequence = if light.is_member() { light.sequence.wrapping_add(1) } else { 0 };
        let header = Header {
            flags: Flags { state: light.state(), manual_adjustment: self.setting },
            key_id: self.key,
            sender: Light::node(self.plan.seed, client),
            session: light.session,
            sequence: light.sequence,
            round,
        };
        let datagram = self.sealed(client, Message { header, body }.encode());
        self.outgoing[self.seats.port_of(client)].push_back(Outgoing::Ready(client as u32, datagram));
    }

    /// What a heartbeat says of who sends it: with a key whose that is, without one nothing.
    fn vouched_name(&self, client: usize) -> Name {
        self.keys.get(client).map_or(Name::default(), |_| name(client))
    }

    /// With the client's tag, if there are keys.
    fn sealed(&self, client: usize, mut datagram: Datagram) -> Datagram {
        if let Some(key) = self.keys.get(client) {
            key.sign(Direction::ToServer, &mut datagram);
        }
        datagram
    }

    /// Whether this is the server's word to a client.
    fn is_genuine(&self, client: usize, datagram: &[u8]) -> bool {
        let whole = datagram.try_into().ok();
        self.keys
            .get(client)
            .is_none_or(|key| whole.is_some_and(|whole| key.verify(Direction::ToClient, whole)))
    }

    /// Writes the answer to a probe, which leaves now.
    fn report(&mut self, now: Now, client: usize, nonce: u64, round: u32, host: Raw) -> Transmit {
        let leaves = now.raw + self.lag.expected();
        let light = &mut self.clients[client];
        light.sequence = light.sequence.wrapping_add(1);
        light.sent = now.mono;
        let number = light.sequence;
        let (t2, t3) = (light.shows(host), light.shows(leaves));
        let (frequency, frequency_error, error) = light.quality(host);
        let report = Report {
            nonce,
            t2,
            processing: t3 - t2,
            transmit_latency: light.lag(number.wrapping_sub(1)),
            frequency,
            frequency_error,
            rate: light.rate,
            applied: light.applied,
            bound: None,
            error,
        };
        light.report(number, t2, host, leaves);
        let header = Header {
            flags: Flags { state: light.state(), manual_adjustment: self.setting },
            key_id: self.key,
            sender: Light::node(self.plan.seed, client),
            session: light.session,
            sequence: number,
            round,
        };
        let datagram = self.sealed(client, Message { header, body: Body::Report(report) }.encode());
        let stamp = Some(StampId((client as u64) << 32 | u64::from(number)));
        Transmit { path: self.path(client), datagram, stamp }
    }

    fn path(&self, client: usize) -> Path {
        Path { peer: self.seats.seat(client), local: None }
    }

    fn finish(&mut self, now: Monotonic) {
        if !std::mem::replace(&mut self.over, true) {
            let mut measure = std::mem::take(&mut self.measure);
            measure.finish();
            let length = measure.since.map_or(Span::ZERO, |since| now - since);
            self.verdict = Some(CrowdEvent::Over(Box::new(measure), length, self.inside));
        }
    }

    /// At most so many say goodbye.
    fn say_goodbye(&mut self, most: usize) {
        let end = self.clients.len().min(self.gone.saturating_add(most));
        for client in std::mem::replace(&mut self.gone, end)..end {
            if self.clients[client].is_member() {
                self.send(client, 0, Body::Leave(Leave { reason: LeaveReason::Shutdown }));
                self.drop_out(client);
            }
        }
        if self.gone == self.clients.len() {
            self.events.extend(self.verdict.take());
        }
    }
}

impl Node for Crowd {
    type Event = CrowdEvent;

    fn handle_datagram(&mut self, now: Now, path: Path, datagram: &[u8]) {
        self.handle_received(now, now.raw, path, datagram);
    }

    fn handle_received(&mut self, now: Now, received: Raw, path: Path, datagram: &[u8]) {
        let fate = match (Message::decode(datagram), self.seats.client(path.peer)) {
            (Ok(_), Some(client)) if !self.is_genuine(client, datagram) => Fate::Tag,
            (Ok(message), Some(client)) => self.receive(now, received, client, &message),
            (Err(_), _) => Fate::Malformed,
            (_, None) => Fate::Stranger,
        };
        self.counters.count(fate);
    }

    fn handle_transmitted(&mut self, id: StampId, raw: Raw) {
        let (client, number) = ((id.0 >> 32) as usize, id.0 as u32);
        let left = self.clients.get_mut(client).and_then(|light| light.left(number, raw));
        // What is expected already is part of the whole lag.
        if let Some(late) = left {
            self.lag.learn((late + self.lag.expected()).max(Span::ZERO));
        }
    }

    fn handle_lost(&mut self, datagrams: u32) {
        self.counters.lose(datagrams);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.next = now.mono + TICK;
        if now.mono - self.began >= self.plan.duration {
            self.finish(now.mono);
            self.say_goodbye(GOODBYES);
            return;
        }
        self.tend(now.mono);
        if self.all_in.is_none() && self.inside == self.clients.len() {
            self.all_in = Some(now.mono);
            self.events.push_back(CrowdEvent::AllIn(now.mono - self.began));
        }
        let settled = self.all_in.is_some_and(|since| now.mono - since >= self.plan.settle);
        if settled && self.measure.since.is_none() {
            self.measure.begin(now.mono);
            self.events.push_back(CrowdEvent::Measuring);
        }
        if self.plan.pressure > 0 {
            self.press(now.mono);
        }
    }

    fn handle_shutdown(&mut self, now: Now) {
        self.finish(now.mono);
        self.outgoing.iter_mut().for_each(VecDeque::clear);
        self.say_goodbye(self.clients.len());
    }

    fn poll_transmit(&mut self, now: Now) -> Option<Transmit> {
        for _ in 0..self.outgoing.len() {
            match self.outgoing[self.current].pop_front() {
                Some(Outgoing::Ready(client, datagram)) => {
                    return Some(Transmit { path: self.path(client as usize), datagram, stamp: None });
                }
                Some(Outgoing::Report { client, nonce, round, host }) => {
                    return Some(self.report(now, client as usize, nonce, round, host));
                }
                None => self.current = (self.current + 1) % self.outgoing.len(),
            }
        }
        None
    }

    fn poll_event(&mut self) -> Option<CrowdEvent> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        (!self.over || self.verdict.is_some()).then_some(self.next)
    }

    fn read(&self, raw: Raw) -> ClockReading {
        ClockReading::unsynchronized(raw)
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// What people call a client.
fn name(client: usize) -> Name {
    Name::new(&format!("load-{client}"))
}

/// Clocks are off by so much at first, one way or the other: within what a first vote accepts.
const OFFSET: Span = Span::from_secs(2);
/// And their oscillators by so many parts per million.
const DRIFT_PPM: f64 = 50.0;
/// How often it is looked for whether something is to be done.
const TICK: Span = Span::from_millis(2);
/// So many say goodbye in such a time: more than the server can take in at once would be lost.
const GOODBYES: usize = 64;
/// Who is not let in asks again after this.
const ASK_AGAIN: Span = Span::from_millis(1_500);
/// Within a burst, probes come closer together than this; from one burst to the next it takes longer, but for
/// newcomers.
const CUT_SHORT: Span = Span::from_millis(500);
/// A heartbeat that is not acknowledged within this is lost.
const HEARTBEAT_PATIENCE: Span = Span::from_millis(500);
