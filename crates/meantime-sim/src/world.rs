//! The whole world: machines, links, and what happens next.
//!
//! One server, its clients, and a path between it and each of them. Events happen one after the other
//! in true time; each gives one input to one machine, and what that machine sends is carried, harmed
//! or lost by its link. In steady state nothing is allocated.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use slab::Slab;

use super::attacker::{Attacker, Passed};
use super::link::NetworkLink;
use super::machine::{Input, Machine, Output};
use super::node::{AnyNode, NodeEvent, SimNode};
use super::queue::Queue;
use super::seed::{Purpose, Seed};
use super::{Directions, Fault, MemberIndex, liar::Liar};
use meantime_core::event::Adjustment;
use meantime_core::time::Span;
use meantime_core::wire::{DEFAULT_PORT, Datagram};
use meantime_core::{ClockReading, Path, Transmit};

/// The world.
#[derive(Debug)]
pub struct World<N = AnyNode> {
    seed: Seed,
    now: Span,
    queue: Queue<Event>,
    /// The server, then the clients.
    machines: Vec<Machine<N>>,
    /// Clients that run at the address of another one.
    guests: Vec<Guest>,
    /// For each client its links from and to the server.
    paths: Vec<(NetworkLink, NetworkLink)>,
    /// For each client the on-path attacker, if there is one.
    attackers: Vec<Option<Attacker>>,
    passed: Vec<Passed>,
    in_flight: Slab<Flight>,
    /// What arrived at machines that stand still.
    waiting: Vec<(MemberIndex, Flight)>,
    /// Machines that stand still, and whose question for the server's address was answered.
    unread: Vec<MemberIndex>,
    output: Output,
    reported: Vec<ReportedEvent>,
    sent: u64,
    trace: Trace,
}

/// An event that a node has reported.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportedEvent {
    /// When, in true time.
    pub at: Span,
    /// The member.
    pub member: MemberIndex,
    /// What.
    pub event: NodeEvent,
}

/// A planned event. Small, since the queue moves it.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A datagram arrives at a machine's network card: its place in the slab.
    Arrival(u32),
    /// The card interrupts the processor for it.
    Interrupt(u32),
    /// The processor is awake, and receives it.
    Receipt(u32),
    /// A machine's process may have to be woken.
    Wake(MemberIndex),
    /// A server's name has been looked up, by this process of the machine.
    Resolved(MemberIndex, u16),
    /// Something goes wrong.
    Fault(Fault),
}

/// A client that runs at the address of another client, with ports of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guest {
    /// The client.
    pub member: MemberIndex,
    /// The one whose address it has.
    pub host: MemberIndex,
}

/// A datagram under way.
#[derive(Clone, Copy, Debug)]
struct Flight {
    from: SocketAddr,
    to: SocketAddr,
    datagram: Datagram,
}

impl<N: SimNode> World<N> {
    /// A world of a server and its clients with a path (down, up) to each client. Nothing runs yet.
    pub fn new(seed: Seed, machines: Vec<Machine<N>>, paths: Vec<(NetworkLink, NetworkLink)>) -> World<N> {
        assert_eq!(machines.len(), paths.len() + 1, "a path for each client, none for the server");
        World {
            seed,
            now: Span::ZERO,
            queue: Queue::default(),
            machines,
            guests: Vec::new(),
            attackers: paths.iter().map(|_| None).collect(),
            passed: Vec::new(),
            paths,
            in_flight: Slab::new(),
            waiting: Vec::new(),
            unread: Vec::new(),
            output: Output::default(),
            reported: Vec::new(),
            sent: 0,
            trace: Trace::default(),
        }
    }

    /// The same; these clients run at the addresses of others.
    pub(crate) fn with_guests(self, guests: Vec<Guest>) -> World<N> {
        World { guests, ..self }
    }

    /// Plans a fault for a true time (or for now, if that is past).
    pub fn plan(&mut self, at: Span, fault: Fault) {
        self.queue.plan(at.max(self.now), Event::Fault(fault));
    }

    /// Lets everything happen up to a true time, that included.
    pub fn run_until(&mut self, until: Span) {
        while let Some((at, event)) = self.queue.next(until) {
            self.now = at;
            self.happen(event);
        }
        self.now = self.now.max(until);
    }

    /// True time.
    pub fn now(&self) -> Span {
        self.now
    }

    /// How many members there are, the server included.
    pub fn members(&self) -> usize {
        self.machines.len()
    }

    /// What a member's clock shows now; `None`: its process does not run.
    pub fn read(&mut self, member: MemberIndex) -> Option<ClockReading> {
        self.machines[member.index()].read(self.now)
    }

    /// A member's machine.
    pub fn machine(&self, member: MemberIndex) -> &Machine<N> {
        &self.machines[member.index()]
    }

    /// A member's machine, to be changed.
    pub fn machine_mut(&mut self, member: MemberIndex) -> &mut Machine<N> {
        &mut self.machines[member.index()]
    }

    /// How many datagrams were sent, lost ones included.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// A number that differs as soon as two runs differ in one byte or nanosecond of what arrived.
    pub fn trace(&self) -> u64 {
        self.trace.0
    }

    /// Takes the events that the nodes have reported since the last call.
    pub fn drain_reported(&mut self) -> std::vec::Drain<'_, ReportedEvent> {
        self.reported.drain(..)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival(key) => self.interrupt(key),
            Event::Interrupt(key) => self.wake_up(key),
            Event::Receipt(key) => {
                let flight = self.in_flight.remove(key as usize);
                self.receive(flight);
            }
            Event::Wake(member) => self.wake(member),
            Event::Resolved(member, boots) if self.machines[member.index()].boots == boots => {
                let server = self.address(MemberIndex::SERVER);
                match self.machines[member.index()].paused {
                    // A process that stands still finds the answer when it goes on.
                    true => self.unread.push(member),
                    false => self.input(member, Input::Resolved(server)),
                }
            }
            Event::Resolved(..) => {}
            Event::Fault(fault) => self.apply(fault),
        }
    }

    /// The machine that a datagram arrives at.
    fn receiver(&mut self, key: u32) -> Option<&mut Machine<N>> {
        let member = self.member_at(self.in_flight[key as usize].to)?;
        Some(&mut self.machines[member.index()])
    }

    /// A datagram has arrived at a network card, which interrupts the processor now or later.
    fn interrupt(&mut self, key: u32) {
        let now = self.now;
        let interrupt = self.receiver(key).map_or(now, |machine| machine.interrupt(now));
        self.proceed(interrupt, Event::Interrupt(key));
    }

    /// A network card has interrupted the processor, which receives the datagram now or when it has woken up.
    fn wake_up(&mut self, key: u32) {
        let now = self.now;
        let awake = self.receiver(key).map_or(now, |machine| machine.wake_up(now));
        self.proceed(awake, Event::Receipt(key));
    }

    /// Lets an event happen now, or plans it for later.
    fn proceed(&mut self, at: Span, event: Event) {
        if at > self.now { self.queue.plan(at, event) } else { self.happen(event) }
    }

    fn receive(&mut self, mut flight: Flight) {
        let Some(member) = self.member_at(flight.to) else { return };
        let machine = &mut self.machines[member.index()];
        if machine.paused {
            if self.waiting.len() < RECEIVE_BUFFER * self.paths.len() {
                self.waiting.push((member, flight));
            }
            return;
        }
        if let Some(liar) = &mut machine.liar {
            liar.incoming(&mut flight.datagram);
        }
        self.trace.add(self.now, &flight.datagram);
        let path = Path { peer: flight.from, local: Some(flight.to.ip()) };
        self.input(member, Input::Datagram(path, &flight.datagram));
    }

    /// Wakes a process whose deadline has passed, and plans the next waking.
    fn wake(&mut self, member: MemberIndex) {
        let machine = &mut self.machines[member.index()];
        if machine.armed != Some(self.now) {
            return;
        }
        machine.armed = None;
        if machine.paused {
            return;
        }
        if !machine.is_due(self.now) {
            self.arm(member);
            return;
        }
        let awake = machine.wake_up(self.now);
        if awake > self.now {
            machine.armed = Some(awake);
            self.queue.plan(awake, Event::Wake(member));
        } else {
            self.input(member, Input::Timeout);
            self.watch_for_spinning(member);
        }
    }

    /// A process whose deadline is always past would stop the world.
    fn watch_for_spinning(&mut self, member: MemberIndex) {
        let (now, seed) = (self.now, self.seed.0);
        let machine = &mut self.machines[member.index()];
        machine.spins = if machine.is_due(now) { machine.spins + 1 } else { 0 };
        assert!(machine.spins < MAX_SPINS, "{member} is due again and again at {now}, seed {seed}");
    }

    fn input(&mut self, member: MemberIndex, input: Input<'_>) {
        let machine = &mut self.machines[member.index()];
        if machine.paused {
            return;
        }
        machine.handle(self.now, input, &mut self.output);
        self.after(member);
    }

    /// Deals with what a machine gave out.
    fn after(&mut self, member: MemberIndex) {
        let mut output = std::mem::take(&mut self.output);
        for (at, transmit) in output.transmits.drain(..) {
            self.send(member, at, transmit);
        }
        let now = self.now;
        self.reported.extend(output.events.drain(..).map(|event| ReportedEvent { at: now, member, event }));
        if std::mem::take(&mut output.resolve) {
            let boots = self.machines[member.index()].boots;
            self.queue.plan(now + LOOKUP, Event::Resolved(member, boots));
        }
        self.output = output;
        self.arm(member);
    }

    /// Plans a machine's waking, unless it will be woken early enough already.
    fn arm(&mut self, member: MemberIndex) {
        let machine = &mut self.machines[member.index()];
        let Some(deadline) = machine.deadline(self.now) else { return };
        if machine.armed.is_none_or(|armed| armed > deadline) {
            machine.armed = Some(deadline);
            self.queue.plan(deadline, Event::Wake(member));
        }
    }

    fn send(&mut self, member: MemberIndex, at: Span, transmit: Transmit) {
        let mut flight =
            Flight { from: self.address(member), to: transmit.path.peer, datagram: transmit.datagram };
        self.sent += 1;
        let liar = &mut self.machines[member.index()].liar;
        let held = liar.as_mut().map_or(Span::ZERO, |liar| liar.outgoing(at, &mut flight.datagram));
        let Some(to) = self.member_at(flight.to) else { return };
        let (client, direction) = match (member.index(), to.index()) {
            (0, client) if client > 0 => (client, Directions::ToClient),
            (client, 0) if client > 0 => (client, Directions::ToServer),
            _ => return,
        };
        match &mut self.attackers[client - 1] {
            None => self.carry(client, direction, at, held, flight),
            Some(attacker) => {
                let mut passed = std::mem::take(&mut self.passed);
                attacker.intercept(at, direction, flight.datagram, &mut passed);
                for Passed { direction, held: longer, datagram } in passed.drain(..) {
                    let flight = self.between(client, direction, datagram);
                    self.carry(client, direction, at, held + longer, flight);
                }
                self.passed = passed;
            }
        }
    }

    /// A datagram between the server and a client.
    fn between(&self, client: usize, direction: Directions, datagram: Datagram) -> Flight {
        let (server, client) = (self.address(MemberIndex::SERVER), self.address(MemberIndex::client(client)));
        match direction {
            Directions::ToServer => Flight { from: client, to: server, datagram },
            _ => Flight { from: server, to: client, datagram },
        }
    }

    fn carry(&mut self, client: usize, direction: Directions, at: Span, held: Span, mut flight: Flight) {
        let (down, up) = &mut self.paths[client - 1];
        let link = if direction == Directions::ToServer { up } else { down };
        let copies = link.carry(at, &mut flight.datagram);
        for delay in [copies.first, copies.second].into_iter().flatten() {
            let key = self.in_flight.insert(flight) as u32;
            self.queue.plan(at + held + delay, Event::Arrival(key));
        }
    }

    fn apply(&mut self, fault: Fault) {
        match fault {
            Fault::Crash(member) => self.kill(member),
            Fault::Shutdown(member) => {
                self.input(member, Input::Shutdown);
                self.kill(member);
            }
            Fault::Start(member) => {
                self.machines[member.index()].start(self.now, &mut self.output);
                self.after(member);
            }
            Fault::Pause(member) => self.machines[member.index()].paused = true,
            Fault::Resume(member) => self.resume(member),
            Fault::Jump(member, by) => self.machines[member.index()].oscillator.jump(self.now, by),
            Fault::Sleep(member, slept) => {
                self.machines[member.index()].sleep(self.now, slept);
                self.input(member, Input::Slept(slept));
            }
            Fault::FrequencyStep(member, by) => {
                self.machines[member.index()].oscillator.step_frequency(self.now, by);
            }
            Fault::Ramp(member, by, over) => {
                self.machines[member.index()].oscillator.ramp(self.now, over, by);
            }
            Fault::Lie(member, lie) => {
                let rng = self.seed.stream(Purpose::Lie, member.index());
                let machine = &mut self.machines[member.index()];
                machine.liar = Some(Liar::new(lie, rng).with_key(machine.key()));
            }
            Fault::SetTime(by, how) => self.set_time(by, how),
            Fault::Truth(member) => self.machines[member.index()].liar = None,
            _ => self.apply_to_links(fault),
        }
    }

    /// An operator sets the cluster's time. If it is to step, every clock may do so once from now on.
    fn set_time(&mut self, by: Span, how: Adjustment) {
        self.input(MemberIndex::SERVER, Input::SetTime(by, how));
        for machine in &mut self.machines {
            machine.may_step = (how == Adjustment::Step).then_some(by);
        }
    }

    /// The faults of links.
    fn apply_to_links(&mut self, fault: Fault) {
        match fault {
            Fault::Attack(client, attack) => {
                let rng = self.seed.stream(Purpose::Attacker, client.index());
                self.set_attacker(client, Some(Attacker::new(attack, rng)));
            }
            Fault::EndAttack(client) => self.set_attacker(client, None),
            Fault::Cut(client, directions) => self.links(client, directions, |link| link.cut = true),
            Fault::Heal(client) => self.links(client, super::Directions::Both, |link| link.cut = false),
            Fault::Base(client, directions, base) => self.links(client, directions, |link| link.base = base),
            Fault::Jitter(client, directions, jitter) => {
                self.links(client, directions, |link| link.jitter = jitter);
            }
            Fault::Impairments(impairments) => {
                for (down, up) in &mut self.paths {
                    (down.impairments, up.impairments) = (impairments, impairments);
                }
            }
            _ => {}
        }
    }

    fn set_attacker(&mut self, client: MemberIndex, attacker: Option<Attacker>) {
        if let Some(place) = client.index().checked_sub(1).and_then(|index| self.attackers.get_mut(index)) {
            *place = attacker;
        }
    }

    fn links(
        &mut self,
        client: MemberIndex,
        directions: super::Directions,
        change: impl Fn(&mut NetworkLink),
    ) {
        let Some(path) = client.index().checked_sub(1).and_then(|index| self.paths.get_mut(index)) else {
            return;
        };
        if directions.to_client() {
            change(&mut path.0);
        }
        if directions.to_server() {
            change(&mut path.1);
        }
    }

    fn kill(&mut self, member: MemberIndex) {
        self.machines[member.index()].kill();
        self.waiting.retain(|(to, _)| *to != member);
        self.unread.retain(|asked| *asked != member);
    }

    /// The process goes on: everything that queued up is received now, and its timers are late.
    fn resume(&mut self, member: MemberIndex) {
        self.machines[member.index()].paused = false;
        let waiting = std::mem::take(&mut self.waiting);
        for (to, flight) in waiting {
            if to == member { self.receive(flight) } else { self.waiting.push((to, flight)) }
        }
        let boots = self.machines[member.index()].boots;
        let asked = self.unread.extract_if(.., |asked| *asked == member);
        asked.for_each(|_| self.queue.plan(self.now, Event::Resolved(member, boots)));
        self.machines[member.index()].armed = None;
        self.arm(member);
    }

    /// A member's address: a client has a new port each time that it is started.
    fn address(&self, member: MemberIndex) -> SocketAddr {
        let place = self.guests.iter().position(|guest| guest.member == member);
        let host = place.map_or(member, |place| self.guests[place].host);
        let ip = IpAddr::V4(Ipv4Addr::from_bits(NETWORK + host.index() as u32));
        let ports = place.map_or(FIRST_PORT, |place| FIRST_PORT + PORTS_EACH * (place as u16 + 1));
        let port =
            if member.index() == 0 { DEFAULT_PORT } else { ports + self.machines[member.index()].boots };
        SocketAddr::new(ip, port)
    }

    fn member_at(&self, address: SocketAddr) -> Option<MemberIndex> {
        let IpAddr::V4(ip) = address.ip() else { return None };
        let owner = MemberIndex(ip.to_bits().checked_sub(NETWORK)? as usize);
        let guests = self.guests.iter().filter(|guest| guest.host == owner).map(|guest| guest.member);
        let mut members = [owner].into_iter().chain(guests);
        members.find(|member| member.index() < self.machines.len() && self.address(*member) == address)
    }
}

/// A running hash of everything that arrived.
#[derive(Clone, Copy, Debug, Default)]
struct Trace(u64);

impl Trace {
    fn add(&mut self, at: Span, datagram: &Datagram) {
        self.mix(at.as_nanos() as u64);
        for word in datagram.as_chunks::<8>().0 {
            self.mix(u64::from_be_bytes(*word));
        }
    }

    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(ODD);
    }
}

/// 2⁶⁴ divided by the golden ratio: an odd number without a pattern.
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
/// Address 10.0.0.1 is the server; the first client follows.
const NETWORK: u32 = 0x0a00_0001;
/// Clients use the ports after this one.
const FIRST_PORT: u16 = 40_000;
/// A guest has so many ports.
const PORTS_EACH: u16 = 100;
/// Deadlines that may fall due at one moment, one after the other.
const MAX_SPINS: u32 = 1_000;
/// How long it takes to look up a name.
const LOOKUP: Span = Span::from_millis(1);
/// Datagrams that the system keeps for a process that does not read: a common default of 208 KiB.
const RECEIVE_BUFFER: usize = 256;

#[cfg(test)]
mod tests;
