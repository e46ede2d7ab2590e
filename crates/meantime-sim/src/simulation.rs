//! A scenario run: the world, looked at every second of true time.

use super::evaluation::Evaluation;
use super::node::{AnyNode, SimNode};
use super::sample::{ClockSample, Sample};
use super::summary::Summary;
use super::{Fault, MemberIndex, ReportedEvent, START, Scenario, World};
use meantime_core::time::{Raw, Span, Timestamp};
use meantime_core::wire::ClusterId;

/// What observes a run.
pub trait Observer {
    /// All clocks were looked at.
    fn sampled(&mut self, sample: &Sample) {
        let _ = sample;
    }

    /// A node has reported an event.
    fn reported(&mut self, event: &ReportedEvent) {
        let _ = event;
    }
}

/// No observer.
impl Observer for () {}

/// A closure observes the clocks.
impl<F: FnMut(&Sample)> Observer for F {
    fn sampled(&mut self, sample: &Sample) {
        self(sample);
    }
}

/// A scenario, running.
#[derive(Debug)]
pub struct Simulation<N = AnyNode> {
    world: World<N>,
    measure: Evaluation,
    sample: Sample,
    next_sample: Span,
    period: Span,
    end: Span,
    seed: u64,
}

impl Simulation<AnyNode> {
    /// A scenario's world with the real server and the real clients.
    pub fn new(scenario: &Scenario) -> Simulation<AnyNode> {
        Simulation::of(scenario)
    }
}

impl<N: SimNode> Simulation<N> {
    /// A scenario's world with nodes of any kind.
    pub fn of(scenario: &Scenario) -> Simulation<N> {
        Simulation {
            world: scenario.world(),
            measure: Evaluation::new(scenario.settle),
            sample: Sample::default(),
            next_sample: scenario.sample,
            period: scenario.sample.max(Span::from_nanos(1)),
            end: scenario.duration,
            seed: scenario.seed.0,
        }
    }

    /// Runs to the scenario's end.
    pub fn run(&mut self) -> Summary {
        self.run_until(self.end, &mut ());
        self.summary()
    }

    /// Runs for so long, watched.
    pub fn run_for(&mut self, span: Span, observer: &mut impl Observer) {
        self.run_until(self.world.now() + span, observer);
    }

    /// Runs up to a true time, watched.
    pub fn run_until(&mut self, until: Span, observer: &mut impl Observer) {
        while self.next_sample <= until {
            self.advance(self.next_sample, observer);
            self.look();
            observer.sampled(&self.sample);
            self.next_sample += self.period;
        }
        self.advance(until, observer);
    }

    /// Makes something happen now.
    pub fn inject(&mut self, fault: Fault) {
        self.world.plan(self.world.now(), fault);
    }

    /// All clocks, as they were looked at last.
    pub fn sample(&self) -> &Sample {
        &self.sample
    }

    /// The world, for what only a test wants to know.
    pub fn world(&mut self) -> &mut World<N> {
        &mut self.world
    }

    /// What has been shown so far.
    pub fn summary(&self) -> Summary {
        let clients = self.world.clients().max(1) as f64;
        let seconds = self.world.now().as_secs_f64().max(1e-9);
        Summary {
            seed: self.seed,
            packets_per_client_per_s: self.world.sent() as f64 / clients / seconds,
            trace: self.world.trace(),
            ..self.measure.summary()
        }
    }

    fn advance(&mut self, until: Span, observer: &mut impl Observer) {
        self.world.run_until(until);
        for event in self.world.drain_reported() {
            self.measure.note(&event);
            observer.reported(&event);
        }
    }

    fn look(&mut self) {
        self.sample.at = self.world.now();
        self.sample.clocks.clear();
        self.sample.servers = self.world.servers();
        for place in 0..self.world.members() {
            let standing = stand(&mut self.world, place);
            self.sample.clocks.push(standing);
        }
        self.measure.look(&mut self.sample);
    }
}

fn stand<N: SimNode>(world: &mut World<N>, place: usize) -> Option<ClockSample> {
    let (at, member) = (world.now(), MemberIndex::at(place, world.clients(), world.servers()));
    if world.machine(member).suspended {
        return None;
    }
    let reading = world.read(member)?;
    let machine = world.machine_mut(member);
    Some(ClockSample {
        off: reading.time - (Timestamp::from_nanos(START.as_nanos()) + at),
        raw_off: machine.oscillator.raw(at) - (Raw::from_nanos(START.as_nanos()) + at),
        state: reading.state,
        error: reading.error,
        bound: reading.bound,
        cluster: machine.node().map_or(ClusterId(0), SimNode::cluster),
        active: machine.node().is_some_and(SimNode::is_active),
        lies: machine.lies(),
    })
}
