//! What the clients of a load generator send and receive.

use meantime_core::time::{Monotonic, Now, Raw, Span};
use meantime_core::wire::{
    Body, CorrectionMessage, Datagram, Direction, Flags, Header, Heartbeat, HeartbeatAck, Message, Name,
    Probe, Register, Report, SessionId,
};
use meantime_core::{Fate, Path, StampId, Transmit};
use rand::Rng;

use super::{LoadGenerator, Outgoing, name};
use crate::light_client::LightClient;

impl LoadGenerator {
    pub(super) fn receive(&mut self, now: Now, received: Raw, client: usize, message: &Message) -> Fate {
        let header = &message.header;
        let Some(light) = self.clients.get_mut(client) else { return Fate::UnknownAddress };
        if header.session != SessionId::default() && light.is_member() && header.session != light.session {
            return Fate::Session;
        }
        let silent = now.mono - light.heard;
        light.heard = now.mono;
        match &message.body {
            Body::Challenge(challenge) if !light.is_member() => {
                if challenge.nonce != light.nonce {
                    return Fate::Unsolicited;
                }
                self.register(now.mono, client, challenge.cookie);
            }
            Body::Welcome(welcome) if !light.is_member() => {
                if welcome.nonce != light.nonce {
                    return Fate::Unsolicited;
                }
                light.enter(now.mono, header.session, welcome.rate);
                self.terms = *welcome;
                self.registered += 1;
            }
            Body::Probe(probe) => return self.answer(now, received, client, header, probe, silent),
            Body::Correction(correction) => return self.follow(now, client, header, correction),
            Body::HeartbeatAck(heartbeat) => return self.acknowledge(client, heartbeat),
            Body::ManualAdjustment(adjustment) => self.adjustment = adjustment.number,
            Body::Reject(_) | Body::Leave(_) => self.forget_session(client),
            _ => return Fate::Misdirected,
        }
        Fate::Accepted
    }

    pub(super) fn register(&mut self, now: Monotonic, client: usize, cookie: u64) {
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
            // A burst that the next one has cut short has lost nothing.
            0 if silent < CUT_SHORT => 0,
            0 => size.saturating_sub(last.saturating_add(u8::from(size > 0))),
            index => (index - 1).saturating_sub(last),
        };
        let unheard = if probe.index == 0 { light.begin_burst(now.mono, self.terms.interval) } else { 0 };
        light.burst = (probe.burst, probe.index);
        self.statistics.count(|measure| &mut measure.lost_probes, missing.into());
        self.statistics.count(|measure| &mut measure.unconfirmed_reports, unheard.into());
        self.statistics.count(|measure| &mut measure.exchanges, 1);
        self.statistics.probed(now.mono, header.round);
        let (nonce, round) = (probe.nonce, header.round);
        let port = self.addresses.port_of(client);
        self.outgoing[port].push_back(Outgoing::Report { client: client as u32, nonce, round, host });
        Fate::Accepted
    }

    fn follow(&mut self, now: Now, client: usize, header: &Header, message: &CorrectionMessage) -> Fate {
        let light = &mut self.clients[client];
        if message.about.wrapping_sub(light.applied) as i32 <= 0 {
            return Fate::Superseded;
        }
        light.follow_rate(now.raw, message.rate);
        let unheard = light.confirm(message.about, message.heard);
        self.statistics.count(|measure| &mut measure.lost_reports, unheard.into());
        let settled = light.is_settled();
        let Some(truth) = light.correct(now.raw, message.about, message.correction) else {
            return Fate::Unsolicited;
        };
        let clock = Span::from_nanos(truth.shown.as_nanos()) - Span::from_nanos(truth.host.as_nanos());
        self.statistics.corrected(header.round, truth.host, clock, message.correction.span(), settled);
        Fate::Accepted
    }

    fn acknowledge(&mut self, client: usize, heartbeat: &HeartbeatAck) -> Fate {
        let light = &mut self.clients[client];
        if light.nonce != heartbeat.nonce || heartbeat.nonce == 0 {
            return Fate::Unsolicited;
        }
        light.nonce = 0;
        self.statistics.count(|measure| &mut measure.exchanges, 1);
        if self.plan.pressure > 0 {
            self.unanswered = self.unanswered.saturating_sub(1);
            let now = light.heard;
            self.fill_heartbeats(now);
        }
        Fate::Accepted
    }

    pub(super) fn send_heartbeat(&mut self, now: Monotonic, client: usize) -> u64 {
        let nonce = self.rng.next_u64().max(1);
        let light = &mut self.clients[client];
        (light.nonce, light.sent) = (nonce, now);
        self.send(
            client,
            0,
            Body::Heartbeat(Heartbeat { nonce, name: self.vouched_name(client), ..Heartbeat::default() }),
        );
        nonce
    }

    pub(super) fn send(&mut self, client: usize, round: u32, body: Body) {
        let light = &mut self.clients[client];
        // Outside a session sequence numbers have no meaning.
        light.sequence = if light.is_member() { light.sequence.wrapping_add(1) } else { 0 };
        let header = Header {
            flags: Flags { state: light.state(), manual_adjustment: self.adjustment, ..Flags::default() },
            key_id: self.key,
            sender: LightClient::node(self.plan.seed, client),
            session: light.session,
            sequence: light.sequence,
            round,
        };
        let datagram = self.tagged(client, Message { header, body }.encode());
        self.outgoing[self.addresses.port_of(client)].push_back(Outgoing::Ready(client as u32, datagram));
    }

    /// The name in a heartbeat: the key's owner; without keys there is none.
    fn vouched_name(&self, client: usize) -> Name {
        self.keys.get(client).map_or(Name::default(), |_| name(client))
    }

    /// The datagram with the client's tag, if there are keys.
    fn tagged(&self, client: usize, mut datagram: Datagram) -> Datagram {
        if let Some(key) = self.keys.get(client) {
            key.sign(Direction::ToServer, &mut datagram);
        }
        datagram
    }

    /// Whether the server has sent this to the client; without keys that is not checked.
    pub(super) fn is_genuine(&self, client: usize, datagram: &[u8]) -> bool {
        let whole = datagram.try_into().ok();
        self.keys
            .get(client)
            .is_none_or(|key| whole.is_some_and(|whole| key.verify(Direction::ToClient, whole)))
    }

    /// The answer to a probe; it leaves now.
    pub(super) fn report(&mut self, now: Now, client: usize, nonce: u64, round: u32, host: Raw) -> Transmit {
        let leaves = now.raw + self.transmit_latency.expected();
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
            flags: Flags { state: light.state(), manual_adjustment: self.adjustment, ..Flags::default() },
            key_id: self.key,
            sender: LightClient::node(self.plan.seed, client),
            session: light.session,
            sequence: number,
            round,
        };
        let datagram = self.tagged(client, Message { header, body: Body::Report(report) }.encode());
        let stamp = Some(StampId((client as u64) << 32 | u64::from(number)));
        Transmit { path: self.path(client), datagram, stamp }
    }

    pub(super) fn path(&self, client: usize) -> Path {
        Path { peer: self.addresses.address(client), local: None }
    }

    /// The client has no session any more; it registers again after a while.
    pub(super) fn forget_session(&mut self, client: usize) {
        let light = &mut self.clients[client];
        if light.is_member() {
            light.session = SessionId::default();
            self.registered -= 1;
        }
    }
}

/// Within a burst, probes come closer together than this; from one burst to the next it takes longer, but for
/// newcomers.
const CUT_SHORT: Span = Span::from_millis(500);
