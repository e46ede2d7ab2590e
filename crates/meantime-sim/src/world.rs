//! The whole world: machines, links, and what happens next.
//!
//! One server, its clients, and a path between it and each of them. Events happen one after the other
//! in true time; each gives one input to one machine, and what that machine sends is carried, harmed
//! or lost by its link. In steady state nothing is allocated.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use slab::Slab;

use super::intruder::{Intruder, Passed};
use super::link::Link;
use super::machine::{Boot, Input, Machine, NodeEvent, Output, Role};
use super::queue::Queue;
use super::seed::{Purpose, Seed};
use super::{Fault, Member, Ways, liar::Liar};
use meantime_core::event::Adjustment;
use meantime_core::time::Span;
use meantime_core::wire::{DEFAULT_PORT, Datagram};
use meantime_core::{ClockReading, Path, Transmit};

/// The world.
#[derive(Debug)]
pub struct World<N = Role> {
    seed: Seed,
    now: Span,
    queue: Queue<Event>,
    /// The server, then the clients.
    machines: Vec<Machine<N>>,
    /// For each client its links from and to the server.
    paths: Vec<(Link, Link)>,
    /// For each client who stands between it and the server.
    intruders: Vec<Option<Intruder>>,
    passed: Vec<Passed>,
    in_flight: Slab<Flight>,
    /// What arrived at machines that stand still.
    waiting: Vec<(Member, Flight)>,
    /// Machines that stand still, and whose question for the server's address was answered.
    unread: Vec<Member>,
    output: Output,
    happenings: Vec<Happening>,
    sent: u64,
    trace: Trace,
}

/// Something that a node told.
#[derive(Clone, Debug, PartialEq)]
pub struct Happening {
    /// When, in true time.
    pub at: Span,
    /// Who told it.
    pub member: Member,
    /// What.
    pub event: NodeEvent,
}

/// Something planned. Small, since the queue moves it about.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A datagram arrives: its place in the slab.
    Arrival(u32),
    /// A machine's process may have to be woken.
    Wake(Member),
    /// A server's name has been looked up, by this process of the machine.
    Resolved(Member, u16),
    /// Something goes wrong.
    Fault(Fault),
}

/// A datagram on its way.
#[derive(Clone, Copy, Debug)]
struct Flight {
    from: SocketAddr,
    to: SocketAddr,
    datagram: Datagram,
}

impl<N: Boot> World<N> {
    /// A world of a server and its clients with a path (down, up) to each client. Nothing runs yet.
    pub fn new(seed: Seed, machines: Vec<Machine<N>>, paths: Vec<(Link, Link)>) -> World<N> {
        assert_eq!(machines.len(), paths.len() + 1, "a path for each client, none for the server");
        World {
            seed,
            now: Span::ZERO,
            queue: Queue::default(),
            machines,
            intruders: paths.iter().map(|_| None).collect(),
            passed: Vec::new(),
            paths,
            in_flight: Slab::new(),
            waiting: Vec::new(),
            unread: Vec::new(),
            output: Output::default(),
            happenings: Vec::new(),
            sent: 0,
            trace: Trace::default(),
        }
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
    pub fn read(&mut self, member: Member) -> Option<ClockReading> {
        self.machines[member.index()].read(self.now)
    }

    /// A member's machine.
    pub fn machine(&self, member: Member) -> &Machine<N> {
        &self.machines[member.index()]
    }

    /// A member's machine, to be changed.
    pub fn machine_mut(&mut self, member: Member) -> &mut Machine<N> {
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

    /// Takes what the nodes have told since the last time.
    pub fn drain_happenings(&mut self) -> std::vec::Drain<'_, Happening> {
        self.happenings.drain(..)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival(key) => {
                let flight = self.in_flight.remove(key as usize);
                self.arrive(flight);
            }
            Event::Wake(member) => self.wake(member),
            Event::Resolved(member, boots) if self.machines[member.index()].boots == boots => {
                let server = self.address(Member::SERVER);
                match self.machines[member.index()].paused {
                    // A process that stands still finds the answer when it goes on.
                    true => self.unread.push(member),
                    false => self.input(member, Input::Resolved(server)),
                }
            }
            Event::Resolved(..) => {}
            Event::Fault(fault) => self.suffer(fault),
        }
    }

    fn arrive(&mut self, mut flight: Flight) {
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
    fn wake(&mut self, member: Member) {
        let machine = &mut self.machines[member.index()];
        if machine.armed != Some(self.now) {
            return;
        }
        machine.armed = None;
        if machine.paused {
            return;
        }
        if machine.is_due(self.now) {
            self.input(member, Input::Timeout);
            self.watch_for_spinning(member);
        } else {
            self.arm(member);
        }
    }

    /// A process whose deadline is always past would stop the world (and eat a real processor).
    fn watch_for_spinning(&mut self, member: Member) {
        let (now, seed) = (self.now, self.seed.0);
        let machine = &mut self.machines[member.index()];
        machine.spins = if machine.is_due(now) { machine.spins + 1 } else { 0 };
        assert!(machine.spins < MAX_SPINS, "{member} is due again and again at {now}, seed {seed}");
    }

    fn input(&mut self, member: Member, input: Input<'_>) {
        let machine = &mut self.machines[member.index()];
        if machine.paused {
            return;
        }
        machine.handle(self.now, input, &mut self.output);
        self.after(member);
    }

    /// Deals with what a machine gave out.
    fn after(&mut self, member: Member) {
        let mut output = std::mem::take(&mut self.output);
        for (at, transmit) in output.transmits.drain(..) {
            self.send(member, at, transmit);
        }
        let now = self.now;
        self.happenings.extend(output.events.drain(..).map(|event| Happening { at: now, member, event }));
        if std::mem::take(&mut output.resolve) {
            let boots = self.machines[member.index()].boots;
            self.queue.plan(now + LOOKUP, Event::Resolved(member, boots));
        }
        self.output = output;
        self.arm(member);
    }

    /// Plans a machine's waking, unless it will be woken early enough already.
    fn arm(&mut self, member: Member) {
        let machine = &mut self.machines[member.index()];
        let Some(deadline) = machine.deadline(self.now) else { return };
        if machine.armed.is_none_or(|armed| armed > deadline) {
            machine.armed = Some(deadline);
            self.queue.plan(deadline, Event::Wake(member));
        }
    }

    fn send(&mut self, member: Member, at: Span, transmit: Transmit) {
        let mut flight =
            Flight { from: self.address(member), to: transmit.path.peer, datagram: transmit.datagram };
        self.sent += 1;
        let liar = &mut self.machines[member.index()].liar;
        let held = liar.as_mut().map_or(Span::ZERO, |liar| liar.outgoing(at, &mut flight.datagram));
        let Some(to) = self.member_at(flight.to) else { return };
        let (client, way) = match (member.index(), to.index()) {
            (0, client) if client > 0 => (client, Ways::Down),
            (client, 0) if client > 0 => (client, Ways::Up),
            _ => return,
        };
        match &mut self.intruders[client - 1] {
            None => self.carry(client, way, at, held, flight),
            Some(intruder) => {
                let mut passed = std::mem::take(&mut self.passed);
                intruder.seize(at, way, flight.datagram, &mut passed);
                for Passed { way, held: longer, datagram } in passed.drain(..) {
                    let flight = self.between(client, way, datagram);
                    self.carry(client, way, at, held + longer, flight);
                }
                self.passed = passed;
            }
        }
    }

    /// A datagram between the server and a client.
    fn between(&self, client: usize, way: Ways, datagram: Datagram) -> Flight {
        let (server, client) = (self.address(Member::SERVER), self.address(Member::client(client)));
        match way {
            Ways::Up => Flight { from: client, to: server, datagram },
            _ => Flight { from: server, to: client, datagram },
        }
    }

    fn carry(&mut self, client: usize, way: Ways, at: Span, held: Span, mut flight: Flight) {
        let (down, up) = &mut self.paths[client - 1];
        let link = if way == Ways::Up { up } else { down };
        let copies = link.carry(at, &mut flight.datagram);
        for delay in [copies.first, copies.second].into_iter().flatten() {
            let key = self.in_flight.insert(flight) as u32;
            self.queue.plan(at + held + delay, Event::Arrival(key));
        }
    }

    fn suffer(&mut self, fault: Fault) {
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
            _ => self.suffer_on_the_way(fault),
        }
    }

    /// Somebody sets the cluster's time. If it is to step, every clock may do so once from now on.
    fn set_time(&mut self, by: Span, how: Adjustment) {
        self.input(Member::SERVER, Input::SetTime(by, how));
        for machine in &mut self.machines {
            machine.may_step = (how == Adjustment::Step).then_some(by);
        }
    }

    /// The faults of links.
    fn suffer_on_the_way(&mut self, fault: Fault) {
        match fault {
            Fault::Intrude(client, intrusion) => {
                let rng = self.seed.stream(Purpose::Intruder, client.index());
                self.put_between(client, Some(Intruder::new(intrusion, rng)));
            }
            Fault::Withdraw(client) => self.put_between(client, None),
            Fault::Cut(client, ways) => self.links(client, ways, |link| link.cut = true),
            Fault::Heal(client) => self.links(client, super::Ways::Both, |link| link.cut = false),
            Fault::Base(client, ways, base) => self.links(client, ways, |link| link.base = base),
            Fault::Jitter(client, ways, jitter) => self.links(client, ways, |link| link.jitter = jitter),
            Fault::Trouble(trouble) => {
                for (down, up) in &mut self.paths {
                    (down.trouble, up.trouble) = (trouble, trouble);
                }
            }
            _ => {}
        }
    }

    fn put_between(&mut self, client: Member, somebody: Option<Intruder>) {
        if let Some(place) = client.index().checked_sub(1).and_then(|index| self.intruders.get_mut(index)) {
            *place = somebody;
        }
    }

    fn links(&mut self, client: Member, ways: super::Ways, change: impl Fn(&mut Link)) {
        let Some(path) = client.index().checked_sub(1).and_then(|index| self.paths.get_mut(index)) else {
            return;
        };
        if ways.down() {
            change(&mut path.0);
        }
        if ways.up() {
            change(&mut path.1);
        }
    }

    fn kill(&mut self, member: Member) {
        self.machines[member.index()].kill();
        self.waiting.retain(|(to, _)| *to != member);
        self.unread.retain(|asked| *asked != member);
    }

    /// The process goes on: everything that queued up is received now, and its timers are late.
    fn resume(&mut self, member: Member) {
        self.machines[member.index()].paused = false;
        let waiting = std::mem::take(&mut self.waiting);
        for (to, flight) in waiting {
            if to == member { self.arrive(flight) } else { self.waiting.push((to, flight)) }
        }
        let boots = self.machines[member.index()].boots;
        let asked = self.unread.extract_if(.., |asked| *asked == member);
        asked.for_each(|_| self.queue.plan(self.now, Event::Resolved(member, boots)));
        self.machines[member.index()].armed = None;
        self.arm(member);
    }

    /// A member's address: a client has a new port each time that it is started.
    fn address(&self, member: Member) -> SocketAddr {
        let number = member.index() as u32;
        let ip = IpAddr::V4(Ipv4Addr::from_bits(NETWORK + number));
        let port = if number == 0 { DEFAULT_PORT } else { FIRST_PORT + self.machines[member.index()].boots };
        SocketAddr::new(ip, port)
    }

    fn member_at(&self, address: SocketAddr) -> Option<Member> {
        let IpAddr::V4(ip) = address.ip() else { return None };
        let member = Member(ip.to_bits().checked_sub(NETWORK)? as usize);
        (member.index() < self.machines.len() && self.address(member) == address).then_some(member)
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
/// Deadlines that may fall due at one moment, one after the other.
const MAX_SPINS: u32 = 1_000;
/// How long it takes to look up a name.
const LOOKUP: Span = Span::from_millis(1);
/// Datagrams that the system keeps for a process that does not read: a common default of 208 KiB.
const RECEIVE_BUFFER: usize = 256;

#[cfg(test)]
mod tests;
