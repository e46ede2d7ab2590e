//! The whole world: machines, paths, and what happens next.
//!
//! Servers, clients, and a path between any two of them of which one is a server. Events happen one after the
//! other in true time; each gives one input to one machine, and what that machine sends is carried, harmed or
//! lost by its link. In steady state nothing is allocated.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use slab::Slab;

use super::attacker::Passed;
use super::machine::{Input, Machine, Output};
use super::mesh::{Mesh, PathIndex};
use super::node::{AnyNode, NodeEvent, SimNode};
use super::queue::Queue;
use super::seed::{Purpose, Seed};
use super::server_liar::ServerLiar;
use super::{Directions, Fault, MemberIndex, liar::Liar};
use meantime_core::event::Adjustment;
use meantime_core::roles::rank::Rank;
use meantime_core::time::Span;
use meantime_core::wire::{DEFAULT_PORT, Datagram};
use meantime_core::{ClockReading, Path, Transmit};

/// The world.
#[derive(Debug)]
pub struct World<N = AnyNode> {
    seed: Seed,
    now: Span,
    queue: Queue<Event>,
    /// In the order of their places.
    machines: Vec<Machine<N>>,
    /// Clients that run at the address of another one.
    guests: Vec<Guest>,
    mesh: Mesh,
    passed: Vec<Passed>,
    in_flight: Slab<Flight>,
    /// What is going to go wrong.
    faults: Slab<Fault>,
    /// What arrived at machines that stand still.
    waiting: Vec<(MemberIndex, Flight)>,
    /// Machines that stand still, and whose question for the address of a server was answered.
    unread: Vec<(MemberIndex, Rank)>,
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
    /// The name of the server of this rank has been looked up, by this process of the machine.
    Resolved(MemberIndex, Rank, u16),
    /// A machine wakes up that was suspended for so long.
    Awake(MemberIndex, Span),
    /// Something goes wrong: its place in the slab.
    Fault(u32),
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
    /// A world of these machines, in the order of their places, and the paths between them. Nothing runs yet.
    pub fn new(seed: Seed, machines: Vec<Machine<N>>, mesh: Mesh) -> World<N> {
        assert_eq!(machines.len(), mesh.clients() + mesh.servers(), "a machine for each member");
        World {
            seed,
            now: Span::ZERO,
            queue: Queue::default(),
            machines,
            guests: Vec::new(),
            mesh,
            passed: Vec::new(),
            in_flight: Slab::new(),
            faults: Slab::new(),
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
        let key = self.faults.insert(fault) as u32;
        self.queue.plan(at.max(self.now), Event::Fault(key));
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

    /// How many members there are, the servers included.
    pub fn members(&self) -> usize {
        self.machines.len()
    }

    /// How many of them are clients.
    pub fn clients(&self) -> usize {
        self.mesh.clients()
    }

    /// How many of them are servers.
    pub fn servers(&self) -> usize {
        self.mesh.servers()
    }

    /// What a member's clock shows now; `None`: its process does not run.
    pub fn read(&mut self, member: MemberIndex) -> Option<ClockReading> {
        let now = self.now;
        self.machine_mut(member).read(now)
    }

    /// A member's machine.
    pub fn machine(&self, member: MemberIndex) -> &Machine<N> {
        &self.machines[member.place(self.mesh.clients())]
    }

    /// A member's machine, to be changed.
    pub fn machine_mut(&mut self, member: MemberIndex) -> &mut Machine<N> {
        &mut self.machines[member.place(self.mesh.clients())]
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
            Event::Resolved(member, rank, boots) if self.machine(member).boots == boots => {
                match self.machine(member).stands_still() {
                    // A process that stands still finds the answer when it goes on.
                    true => self.unread.push((member, rank)),
                    false => self.input(member, Input::Resolved(rank, self.address_of(rank))),
                }
            }
            Event::Resolved(..) => {}
            Event::Awake(member, slept) => self.wake_from_suspension(member, slept),
            Event::Fault(key) => {
                let fault = self.faults.remove(key as usize);
                self.apply(fault);
            }
        }
    }

    /// The machine that a datagram arrives at.
    fn receiver(&mut self, key: u32) -> Option<&mut Machine<N>> {
        let member = self.member_at(self.in_flight[key as usize].to)?;
        Some(self.machine_mut(member))
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
        if self.machine(member).suspended {
            return;
        }
        if self.machine(member).paused {
            if self.waiting.len() < RECEIVE_BUFFER * (self.machines.len() - 1) {
                self.waiting.push((member, flight));
            }
            return;
        }
        if self.machine(member).server_liar.is_some() {
            self.deceive(member, &mut flight);
        }
        if let Some(liar) = &mut self.machine_mut(member).liar {
            liar.incoming(&mut flight.datagram);
        }
        self.trace.add(self.now, &flight.datagram);
        let path = Path { peer: flight.from, local: Some(flight.to.ip()) };
        self.input(member, Input::Datagram(path, &flight.datagram));
    }

    /// A lying server receives a datagram.
    fn deceive(&mut self, server: MemberIndex, flight: &mut Flight) {
        let Some(from) = self.member_at(flight.from) else { return };
        let Some((theirs, own)) = self.read(from).zip(self.read(server)) else { return };
        if let Some(liar) = &mut self.machine_mut(server).server_liar {
            liar.incoming(from, theirs.time - own.time, &mut flight.datagram);
        }
    }

    /// Wakes a process whose deadline has passed, and plans the next waking.
    fn wake(&mut self, member: MemberIndex) {
        let now = self.now;
        let machine = self.machine_mut(member);
        if machine.armed != Some(now) {
            return;
        }
        machine.armed = None;
        if machine.stands_still() {
            return;
        }
        if !machine.is_due(now) {
            self.arm(member);
            return;
        }
        let awake = machine.wake_up(now);
        if awake > now {
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
        let machine = self.machine_mut(member);
        machine.spins = if machine.is_due(now) { machine.spins + 1 } else { 0 };
        assert!(machine.spins < MAX_SPINS, "{member} is due again and again at {now}, seed {seed}");
    }

    fn input(&mut self, member: MemberIndex, input: Input<'_>) {
        let place = member.place(self.mesh.clients());
        let machine = &mut self.machines[place];
        if machine.stands_still() {
            return;
        }
        machine.handle(self.now, input, &mut self.output);
        self.after(member);
        if self.machine(member).has_handed_over() {
            self.shut_down(member);
        }
    }

    /// A process is asked to end: it does so at once, or as soon as it has handed over.
    fn shut_down(&mut self, member: MemberIndex) {
        self.input(member, Input::Shutdown);
        if !self.machine(member).is_ending() {
            self.kill(member);
        }
    }

    /// Deals with what a machine gave out.
    fn after(&mut self, member: MemberIndex) {
        let member = self.machine(member).member;
        let mut output = std::mem::take(&mut self.output);
        for (at, transmit) in output.transmits.drain(..) {
            self.send(member, at, transmit);
        }
        let now = self.now;
        self.reported.extend(output.events.drain(..).map(|event| ReportedEvent { at: now, member, event }));
        let boots = self.machine(member).boots;
        for rank in output.resolve.drain(..) {
            self.queue.plan(now + LOOKUP, Event::Resolved(member, rank, boots));
        }
        self.output = output;
        self.arm(member);
    }

    /// Plans a machine's waking, unless it will be woken early enough already.
    fn arm(&mut self, member: MemberIndex) {
        let now = self.now;
        let machine = self.machine_mut(member);
        let Some(deadline) = machine.deadline(now) else { return };
        if machine.armed.is_none_or(|armed| armed > deadline) {
            machine.armed = Some(deadline);
            self.queue.plan(deadline, Event::Wake(member));
        }
    }

    fn send(&mut self, member: MemberIndex, at: Span, transmit: Transmit) {
        let mut flight =
            Flight { from: self.address(member), to: transmit.path.peer, datagram: transmit.datagram };
        self.sent += 1;
        let Some(to) = self.member_at(flight.to) else { return };
        let machine = self.machine_mut(member);
        let liar = &mut machine.liar;
        let held = liar.as_mut().map_or(Span::ZERO, |liar| liar.outgoing(at, &mut flight.datagram));
        if let Some(liar) = &mut machine.server_liar {
            liar.outgoing(to, &mut flight.datagram);
        }
        let Some((path, direction)) = self.mesh.find(member, to) else { return };
        let mut passed = std::mem::take(&mut self.passed);
        self.mesh.intercept(path, at, direction, flight.datagram, &mut passed);
        for Passed { direction, held: longer, datagram } in passed.drain(..) {
            let flight = self.between(path, direction, datagram);
            self.carry(path, direction, at, held + longer, flight);
        }
        self.passed = passed;
    }

    /// A datagram between the ends of a path.
    fn between(&self, path: PathIndex, direction: Directions, datagram: Datagram) -> Flight {
        let (server, other) = self.mesh.ends(path);
        let (server, other) = (self.address(server), self.address(other));
        match direction {
            Directions::ToServer => Flight { from: other, to: server, datagram },
            _ => Flight { from: server, to: other, datagram },
        }
    }

    fn carry(&mut self, path: PathIndex, direction: Directions, at: Span, held: Span, mut flight: Flight) {
        let copies = self.mesh.carry(path, direction, at, &mut flight.datagram);
        for delay in [copies.first, copies.second].into_iter().flatten() {
            let key = self.in_flight.insert(flight) as u32;
            self.queue.plan(at + held + delay, Event::Arrival(key));
        }
    }

    fn apply(&mut self, fault: Fault) {
        let now = self.now;
        match fault {
            Fault::Crash(member) => self.kill(member),
            Fault::Shutdown(member) => self.shut_down(member),
            Fault::Start(member) => {
                let place = member.place(self.mesh.clients());
                self.machines[place].start(now, &mut self.output);
                self.after(member);
            }
            Fault::Pause(member) => self.machine_mut(member).paused = true,
            Fault::Resume(member) => self.resume(member),
            Fault::Jump(member, by) => self.machine_mut(member).oscillator.jump(now, by),
            Fault::Sleep(member, slept) => {
                self.machine_mut(member).sleep(now, slept);
                self.input(member, Input::Slept(slept));
            }
            Fault::Suspend(member, length) => {
                self.machine_mut(member).suspended = true;
                self.queue.plan(now + length, Event::Awake(member, length));
            }
            Fault::FrequencyStep(member, by) => {
                self.machine_mut(member).oscillator.step_frequency(now, by);
            }
            Fault::Ramp(member, by, over) => self.machine_mut(member).oscillator.ramp(now, over, by),
            Fault::Lie(member, lie) => {
                let rng = self.seed.stream(Purpose::Lie, member.stream());
                let machine = self.machine_mut(member);
                machine.liar = Some(Liar::new(lie, rng).with_key(machine.key()));
            }
            Fault::ServerLie(member, lie) => {
                let machine = self.machine_mut(member);
                machine.server_liar = Some(ServerLiar::new(lie, machine.master()));
            }
            Fault::Truth(member) => {
                let machine = self.machine_mut(member);
                (machine.liar, machine.server_liar) = (None, None);
            }
            Fault::SetTime(by, how) => self.set_time(by, how),
            _ => self.apply_to_paths(fault),
        }
    }

    /// An operator sets the cluster's time at the active server. If it is to step, every clock may do so once
    /// from now on.
    fn set_time(&mut self, by: Span, how: Adjustment) {
        let is_active = |machine: &&Machine<N>| machine.node().is_some_and(SimNode::is_active);
        let active = self.machines.iter().find(is_active).map_or(MemberIndex::SERVER, |active| active.member);
        self.input(active, Input::SetTime(by, how));
        for machine in &mut self.machines {
            machine.may_step = (how == Adjustment::Step).then_some(by);
        }
    }

    /// The faults of paths.
    fn apply_to_paths(&mut self, fault: Fault) {
        let mesh = &mut self.mesh;
        match fault {
            Fault::Attack(paths, attack) => mesh.attack(paths, attack),
            Fault::EndAttack(paths) => mesh.end_attack(paths),
            Fault::Cut(paths, directions) => mesh.change(paths, directions, |link| link.cut = true),
            Fault::Heal(paths) => mesh.change(paths, Directions::Both, |link| link.cut = false),
            Fault::Partition(side) => mesh.part(&side),
            Fault::HealPartition => mesh.part(&[]),
            Fault::Base(paths, directions, base) => mesh.change(paths, directions, |link| link.base = base),
            Fault::Jitter(paths, directions, jitter) => {
                mesh.change(paths, directions, |link| link.jitter = jitter);
            }
            Fault::Impairments(impairments) => mesh.change_all(|link| link.impairments = impairments),
            _ => {}
        }
    }

    fn kill(&mut self, member: MemberIndex) {
        let member = self.machine(member).member;
        self.machine_mut(member).kill();
        self.waiting.retain(|(to, _)| *to != member);
        self.unread.retain(|(asked, _)| *asked != member);
    }

    /// The process goes on: everything that queued up is received now, and its timers are late.
    fn resume(&mut self, member: MemberIndex) {
        let machine = self.machine_mut(member);
        machine.paused = false;
        let member = machine.member;
        if machine.suspended {
            return;
        }
        let waiting = std::mem::take(&mut self.waiting);
        for (to, flight) in waiting {
            if to == member { self.receive(flight) } else { self.waiting.push((to, flight)) }
        }
        self.go_on(member);
    }

    /// A machine wakes up that was suspended for so long: its process learns that first.
    fn wake_from_suspension(&mut self, member: MemberIndex, slept: Span) {
        let now = self.now;
        let machine = self.machine_mut(member);
        let member = machine.member;
        machine.wake_from_suspension(now, slept);
        self.input(member, Input::Slept(slept));
        if !self.machine(member).stands_still() {
            self.go_on(member);
        }
    }

    /// A process goes on: it reads the addresses that were found, and its timers are late.
    fn go_on(&mut self, member: MemberIndex) {
        let boots = self.machine(member).boots;
        let asked = self.unread.extract_if(.., |(asked, _)| *asked == member);
        asked.for_each(|(_, rank)| self.queue.plan(self.now, Event::Resolved(member, rank, boots)));
        self.machine_mut(member).armed = None;
        self.arm(member);
    }

    /// A member's address: a client has a new port each time that it is started.
    fn address(&self, member: MemberIndex) -> SocketAddr {
        let clients = self.mesh.clients();
        let place = self.guests.iter().position(|guest| guest.member == member);
        let host = place.map_or(member, |place| self.guests[place].host);
        let ip = IpAddr::V4(Ipv4Addr::from_bits(NETWORK + host.place(clients) as u32));
        let ports = place.map_or(FIRST_PORT, |place| FIRST_PORT + PORTS_EACH * (place as u16 + 1));
        let port = if member.is_server() { DEFAULT_PORT } else { ports + self.machine(member).boots };
        SocketAddr::new(ip, port)
    }

    /// The address of the server of this rank.
    fn address_of(&self, rank: Rank) -> SocketAddr {
        self.address(MemberIndex::server(rank.place() + 1))
    }

    fn member_at(&self, address: SocketAddr) -> Option<MemberIndex> {
        let IpAddr::V4(ip) = address.ip() else { return None };
        let owner = ip.to_bits().checked_sub(NETWORK)? as usize;
        let owner = self.machines.get(owner)?.member;
        let guests = self.guests.iter().filter(|guest| guest.host == owner).map(|guest| guest.member);
        let mut members = [owner].into_iter().chain(guests);
        members.find(|member| self.address(*member) == address)
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
/// Address 10.0.0.1 is the first server; the first client follows.
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
