//! One machine: an oscillator, and a process of the protocol that runs, stands still or is dead.
//!
//! A process needs time: it sends a little later than what made it send, and is busy until then. Its
//! events are handled in the order of their arrival even so, once it is free. A datagram has the time of its
//! receipt besides, as a kernel's timestamp would say it.
//!
//! Around every input, what the node's clock shows is read twice at the raw time of its handling: so a jump
//! of the published time is seen exactly, whatever the oscillator does. A jump that the node does not report
//! as a step, or a clock that between two readings goes back or runs faster or slower than slews and
//! frequencies allow, ends the run.

use std::net::SocketAddr;

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

use super::MemberIndex;
use super::jitter::normal;
use super::liar::Liar;
use super::moderation::NetworkCard;
use super::node::{NodeConfig, NodeEvent, SimNode};
use super::oscillator::Oscillator;
use super::reference::ReferenceModel;
use super::server_liar::ServerLiar;
use super::state_store::StateStore;
use super::wake_up::Processor;
use meantime_core::event::Adjustment;
use meantime_core::reference::NoReference;
use meantime_core::roles::rank::Rank;
use meantime_core::time::{Frequency, Monotonic, Now, Raw, Span, Timestamp};
use meantime_core::wire::{Datagram, Master, NodeKey};
use meantime_core::{Action, ClockReading, Counters, Node, Path, Transmit};

/// What happens to a process.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A datagram arrived.
    Datagram(Path, &'a Datagram),
    /// The deadline has passed.
    Timeout,
    /// The name of the server of this rank was looked up.
    Resolved(Rank, SocketAddr),
    /// Its machine has slept for so long.
    Slept(Span),
    /// An operator sets the cluster's time there by so much.
    SetTime(Span, Adjustment),
    /// It is asked to end; once more, when it has handed over.
    Shutdown,
}

/// What a process outputs after an input. The buffers are reused.
#[derive(Debug, Default)]
pub struct Output {
    /// Datagrams with the true times at which they leave.
    pub transmits: Vec<(Span, Transmit)>,
    /// The events that it reports.
    pub events: Vec<NodeEvent>,
    /// It wants the names of the servers of these ranks looked up.
    pub resolve: Vec<Rank>,
}

/// How a machine treats time, beyond its oscillator.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessModel {
    /// How long the process needs for an input, and for each datagram that it sends.
    pub turnaround: Span,
    /// Standard deviation of the noise of each timestamp.
    pub noise: Span,
    /// Timers fire up to so much later than asked.
    pub latency: Span,
    /// Whether a process finds again what the one before it has learned, as with a state directory.
    pub keeps: bool,
}

/// Jumps of the time that a node publishes, once it has the cluster's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Jumps {
    /// How many there were.
    pub count: u64,
    /// How many of them went backwards.
    pub backwards: u64,
    /// The largest, with its sign.
    pub largest: Span,
}

/// A machine.
#[derive(Debug)]
pub struct Machine<N> {
    /// Which.
    pub member: MemberIndex,
    /// Its clock.
    pub oscillator: Oscillator,
    /// What its client says is not what it knows.
    pub liar: Option<Liar>,
    /// What its server says is not what it knows.
    pub server_liar: Option<ServerLiar>,
    /// The process was stopped.
    pub paused: bool,
    /// The machine is suspended.
    pub suspended: bool,
    /// When the world is to wake it; `None`: not planned.
    pub armed: Option<Span>,
    /// How often in a row a deadline was past again right after a timeout.
    pub spins: u32,
    /// How its published time has jumped.
    pub jumps: Jumps,
    /// The cluster's time was set by so much at once: somewhere between two readings the clock steps, once.
    pub may_step: Option<Span>,
    /// How often a process was started.
    pub boots: u16,
    /// The process was asked to end, and hands over first.
    ending: bool,
    /// The last reading of its published time, if that is the cluster's.
    shown: Option<(Raw, Timestamp)>,
    node: Option<N>,
    plan: NodeConfig,
    process: ProcessModel,
    reference: Option<ReferenceModel>,
    processor: Option<Processor>,
    card: Option<NetworkCard>,
    state_store: StateStore,
    /// What the process calls its oscillator's reading, minus that: it starts at the time of its state file.
    resumed: Span,
    /// For how long the machine has been suspended, in which its monotonic clock stood still.
    stood_still: Span,
    busy_until: Span,
    processes: ChaCha8Rng,
    stamping: ChaCha8Rng,
}

impl<N: SimNode> Machine<N> {
    /// A machine that is switched on, without a process.
    pub fn new(
        member: MemberIndex,
        plan: NodeConfig,
        oscillator: Oscillator,
        process: ProcessModel,
        processes: ChaCha8Rng,
        stamping: ChaCha8Rng,
    ) -> Machine<N> {
        Machine {
            member,
            oscillator,
            liar: None,
            server_liar: None,
            paused: false,
            suspended: false,
            armed: None,
            spins: 0,
            jumps: Jumps::default(),
            may_step: None,
            boots: 0,
            ending: false,
            shown: None,
            node: None,
            plan,
            process,
            reference: None,
            processor: None,
            card: None,
            state_store: StateStore::default(),
            resumed: Span::ZERO,
            stood_still: Span::ZERO,
            busy_until: Span::ZERO,
            processes,
            stamping,
        }
    }

    /// The same machine with a time from outside, or without.
    #[must_use]
    pub fn with_reference(self, reference: Option<ReferenceModel>) -> Machine<N> {
        Machine { reference, ..self }
    }

    /// The same machine with a processor that may sleep; otherwise it never does.
    #[must_use]
    pub fn with_processor(self, processor: Processor) -> Machine<N> {
        Machine { processor: Some(processor), ..self }
    }

    /// The same machine with a network card that may moderate its interrupts; otherwise it never does.
    #[must_use]
    pub fn with_card(self, card: NetworkCard) -> Machine<N> {
        Machine { card: Some(card), ..self }
    }

    /// A datagram arrives at a true time: when the network card interrupts the processor.
    pub fn interrupt(&mut self, at: Span) -> Span {
        self.card.as_mut().map_or(at, |card| card.interrupt(at))
    }

    /// An interrupt or a timer at a true time: when the processor runs.
    pub fn wake_up(&mut self, at: Span) -> Span {
        self.processor.as_mut().map_or(at, |processor| processor.wake(at))
    }

    /// A client's key, if it has one.
    pub fn key(&self) -> Option<NodeKey> {
        match &self.plan {
            NodeConfig::Client(config) => {
                let keys = config.keys_of(Rank::FIRST);
                keys.find(keys.newest()).cloned()
            }
            NodeConfig::Server(_) | NodeConfig::Replica { .. } => None,
        }
    }

    /// A server's key, if it has one.
    pub fn master(&self) -> Option<Master> {
        match &self.plan {
            NodeConfig::Server(config) | NodeConfig::Replica { server: config, .. } => {
                config.keys.find(config.keys.newest()).cloned()
            }
            NodeConfig::Client(_) => None,
        }
    }

    /// Whether what it says is not what it knows.
    pub fn lies(&self) -> bool {
        self.liar.is_some() || self.server_liar.is_some()
    }

    /// Whether a process runs (or stands still).
    pub fn is_up(&self) -> bool {
        self.node.is_some()
    }

    /// The process.
    pub fn node(&self) -> Option<&N> {
        self.node.as_ref()
    }

    /// From its next start on, the process knows from an earlier run at which frequency the cluster's time
    /// runs over its oscillator, and one standard deviation of that.
    pub fn remember(&mut self, frequency: Frequency, error: Frequency) {
        let known = Some((frequency, error));
        match &mut self.plan {
            NodeConfig::Server(config) => config.initial_frequency = known,
            NodeConfig::Replica { client, server, .. } => {
                (client.initial_frequency, server.initial_frequency) = (known, known);
            }
            NodeConfig::Client(config) => config.initial_frequency = known,
        }
    }

    /// Starts a process at a true time, unless one runs.
    pub fn start(&mut self, at: Span, output: &mut Output) {
        if self.node.is_some() {
            return;
        }
        let mut seed = [0; 32];
        self.processes.fill_bytes(&mut seed);
        self.recall(at);
        let now = self.now(at);
        self.boots += 1;
        self.paused = false;
        self.shown = None;
        self.node = Some(N::start(&self.plan, seed, now));
        self.drain(output);
        self.work();
    }

    /// The next process knows what the last one has saved.
    fn recall(&mut self, at: Span) {
        let raw = self.oscillator.raw(at);
        if let Some(recalled) = self.state_store.recall(raw) {
            self.resumed = recalled.time.map_or(Span::ZERO, |time| Raw::from_nanos(time.as_nanos()) - raw);
            self.remember(recalled.frequency, recalled.error);
            if let NodeConfig::Server(config) | NodeConfig::Replica { server: config, .. } = &mut self.plan {
                config.kept = recalled.kept();
            }
        }
    }

    /// Whether nothing reaches the process for now.
    pub fn stands_still(&self) -> bool {
        self.paused || self.suspended
    }

    /// The machine wakes up after so long, in which its clocks stood still.
    pub fn wake_from_suspension(&mut self, at: Span, slept: Span) {
        self.suspended = false;
        self.stood_still += slept;
        self.sleep(at, slept);
    }

    /// The machine sleeps for so long, and its oscillator with it; then its process learns for how long. All
    /// of that takes no true time: the oscillator goes back instead of standing still, and with it the clock,
    /// until the process has learned it.
    pub fn sleep(&mut self, at: Span, slept: Span) {
        self.oscillator.jump(at, -slept);
        self.shown = None;
        self.state_store.sleep(slept);
    }

    /// Ends the process at once.
    pub fn kill(&mut self) {
        self.node = None;
        self.armed = None;
        self.paused = false;
        self.ending = false;
    }

    /// Whether the process was asked to end, and has not been given its last input yet.
    pub fn is_ending(&self) -> bool {
        self.ending
    }

    /// Whether the process was asked to end, and has handed over.
    pub fn has_handed_over(&self) -> bool {
        self.ending && self.node.as_ref().is_some_and(|node| !node.is_handing_over())
    }

    /// Gives the process an input that it received at a true time, and takes what it gives out.
    pub fn handle(&mut self, at: Span, input: Input<'_>, output: &mut Output) {
        let received = self.stamp(at);
        let now = self.now(at);
        let mut last = false;
        let Some(node) = &mut self.node else { return };
        let before = node.read(now.raw);
        match input {
            Input::Datagram(path, datagram) => node.handle_received(now, received, path, datagram),
            Input::Timeout => node.handle_timeout(now),
            Input::Resolved(rank, server) => node.handle_resolved(now, rank, Some(server)),
            Input::Slept(slept) => node.handle_suspended(now, slept),
            Input::SetTime(by, how) => node.set_time(now, by, how),
            Input::Shutdown => {
                last = self.ending || !node.hand_over(now);
                self.ending = !last;
                if last {
                    node.handle_shutdown(now);
                }
            }
        }
        let after = node.read(now.raw);
        self.show(now.raw, &before);
        self.shown = None;
        self.show(now.raw, &after);
        if self.process.keeps {
            let reading = if last { &before } else { &after };
            self.state_store.note(now.raw - self.resumed, reading, last);
        }
        self.drain(output);
        self.work();
        if before.state.has_cluster_time() {
            let jump = after.time - before.time;
            self.jumps.note(jump);
            let is_reported = jump.abs() <= ROUNDING || output.events.iter().any(NodeEvent::is_step);
            assert!(
                is_reported,
                "{}: published time jumped by {jump} at {at}, and no step was reported",
                self.member
            );
        }
    }

    /// The true time at which the process wants to be woken, never before `at`.
    pub fn deadline(&mut self, at: Span) -> Option<Span> {
        let deadline = self.node.as_ref()?.poll_timeout()? - BOOT + self.stood_still;
        let mut late = Span::ZERO;
        if self.process.latency > Span::ZERO {
            late = self.process.latency.scaled(self.stamping.random());
        }
        Some(Span::from_nanos(deadline.as_nanos()).max(at) + late)
    }

    /// Whether the process's deadline has passed at a true time.
    pub fn is_due(&self, at: Span) -> bool {
        let deadline = self.node.as_ref().and_then(Node::poll_timeout);
        deadline.is_some_and(|deadline| deadline <= self.mono(at))
    }

    /// What its clock shows at a true time; `None` without a process.
    pub fn read(&mut self, at: Span) -> Option<ClockReading> {
        let raw = self.raw(at);
        let reading = self.node.as_ref().map(|node| node.read(raw))?;
        self.show(raw, &reading);
        Some(reading)
    }

    /// The clock is read: from one reading to the next it goes forward, neither too fast nor too
    /// slowly.
    fn show(&mut self, raw: Raw, reading: &ClockReading) {
        let now = reading.state.has_cluster_time().then_some((raw, reading.time));
        let before = std::mem::replace(&mut self.shown, now);
        if let (Some(before), Some(now)) = (before, now) {
            let (ran, shown) = (now.0 - before.0, now.1 - before.1);
            let allowed = FASTEST.over(ran.abs()) + ROUNDING;
            let mut right = (shown - ran).abs() <= allowed;
            if !right && self.may_step.take_if(|by| (shown - ran - *by).abs() <= allowed).is_some() {
                right = true;
            }
            assert!(right, "{}: published time went on by {shown} in {ran}", self.member);
        }
    }

    /// What became of the datagrams that its process received.
    pub fn counters(&self) -> Option<&Counters> {
        self.node.as_ref().map(Node::counters)
    }

    /// Both clocks when the process is free for something that happened at `at`.
    fn now(&mut self, at: Span) -> Now {
        self.busy_until = self.busy_until.max(at);
        Now { mono: self.mono(self.busy_until), raw: self.stamp(self.busy_until) }
    }

    /// The monotonic clock: the machine was switched on a while before true time zero.
    fn mono(&self, at: Span) -> Monotonic {
        BOOT + at - self.stood_still
    }

    /// What the process calls its oscillator's reading.
    fn raw(&mut self, at: Span) -> Raw {
        self.oscillator.raw(at) + self.resumed
    }

    fn stamp(&mut self, at: Span) -> Raw {
        let raw = self.raw(at);
        if self.process.noise == Span::ZERO {
            raw
        } else {
            raw + normal(self.process.noise, &mut self.stamping)
        }
    }

    /// The processor does what the process needs.
    fn work(&mut self) {
        if let Some(processor) = &mut self.processor {
            processor.work(self.busy_until);
        }
    }

    /// Takes everything that the process has to give out.
    fn drain(&mut self, output: &mut Output) {
        self.drain_transmits(output);
        while let Some(action) = self.node.as_mut().and_then(Node::poll_action) {
            match action {
                Action::Resolve(rank) if output.resolve.contains(&rank) => {}
                Action::Resolve(rank) => output.resolve.push(rank),
                Action::ReadReference => {
                    self.read_reference();
                    self.drain_transmits(output);
                }
            }
        }
        let Some(node) = &mut self.node else { return };
        while let Some(event) = node.poll_event() {
            output.events.push(event);
        }
    }

    /// The process reads its machine's time from outside.
    fn read_reference(&mut self) {
        let (now, raw) = (self.now(self.busy_until), self.raw(self.busy_until));
        let at = self.busy_until;
        let reference = self.reference.as_ref().ok_or(NoReference::Unsynchronized);
        let reading = reference.and_then(|reference| reference.read(at, raw));
        if let Some(node) = &mut self.node {
            node.handle_reference(now, reading);
        }
    }

    /// Takes the datagrams that the process sends.
    fn drain_transmits(&mut self, output: &mut Output) {
        loop {
            self.busy_until += self.process.turnaround;
            let now = self.now(self.busy_until);
            let Some(node) = &mut self.node else { return };
            let Some(transmit) = node.poll_transmit(now) else { break };
            output.transmits.push((self.busy_until, transmit));
        }
    }
}

impl Jumps {
    fn note(&mut self, jump: Span) {
        if jump.abs() <= ROUNDING {
            return;
        }
        self.count += 1;
        self.backwards += u64::from(jump < Span::ZERO);
        if jump.abs() > self.largest.abs() {
            self.largest = jump;
        }
    }
}

/// How long machines had been on at true time zero.
const BOOTED: Span = Span::from_secs(100);
/// True time zero on the monotonic clock.
const BOOT: Monotonic = Monotonic::from_nanos(BOOTED.as_nanos());

/// How much faster or slower than its oscillator a clock may run: the slew, and the frequency beyond which
/// no learned frequency is plausible.
const FASTEST: Frequency = Frequency::from_ppm(500.0 + 600.0);

/// Between two pieces of a clock that runs on, integers may round differently by so much.
const ROUNDING: Span = Span::from_nanos(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Scenario, Simulation};
    use meantime_core::wire::{ClientState, ClusterId, ManualAdjustment};

    /// Reads a server's clock twice, a second apart; by then it has gone on by this much.
    fn goes_on_by(shown: Span) {
        let reading = |time| ClockReading {
            cluster: ClusterId(7),
            time,
            manual_adjustment: ManualAdjustment::NONE,
            state: ClientState::Synchronized,
            error: None,
            bound: None,
            frequency: Frequency::ZERO,
            frequency_error: None,
        };
        let mut simulation = Simulation::new(&Scenario::default());
        let machine = simulation.world().machine_mut(MemberIndex::SERVER);
        machine.show(Raw::from_nanos(0), &reading(Timestamp::from_nanos(7)));
        machine.show(Raw::from_nanos(0) + Span::from_secs(1), &reading(Timestamp::from_nanos(7) + shown));
    }

    #[test]
    fn a_slew_is_no_fault() {
        goes_on_by(Span::from_secs(1) + Span::from_micros(1_099));
    }

    #[test]
    #[should_panic(expected = "published time went on by")]
    fn a_clock_that_runs_too_fast_ends_the_run() {
        goes_on_by(Span::from_secs(1) + Span::from_micros(1_101));
    }

    #[test]
    #[should_panic(expected = "published time went on by")]
    fn a_clock_that_goes_back_ends_the_run() {
        goes_on_by(Span::from_nanos(-1));
    }
}
