//! The datagrams under way and the virtual clock.

use std::net::SocketAddr;

use meantime_core::time::Span;
use meantime_core::wire::Datagram;

use super::delay::Delay;
use crate::queue::Queue;

/// What a [`Network`] carries datagrams to and from. [`Host`](super::Host) is one; a test or a bench may wrap
/// a host, or make one endpoint of several nodes.
pub trait Endpoint {
    /// Whether datagrams to this address are for this endpoint.
    fn owns(&self, address: SocketAddr) -> bool;

    /// When it wants to be woken, in true time.
    fn deadline(&self) -> Option<Span>;

    /// Gives it the chance to handle a deadline that has passed, and to ask for addresses.
    fn wake(&mut self, at: Span);

    /// Gives it the datagrams that have arrived at one time.
    fn receive(&mut self, at: Span, flights: &[Flight]);

    /// Takes the datagrams that it sends now.
    fn transmit(&mut self, at: Span, leaving: &mut Vec<Flight>);
}

/// A datagram under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flight {
    /// The address of the node that has sent it.
    pub from: SocketAddr,
    /// The address that it goes to.
    pub to: SocketAddr,
    /// Its bytes.
    pub datagram: Datagram,
}

/// The network between endpoints, and the virtual clock. The endpoints belong to the caller, who hands them
/// to each run.
///
/// Time goes from one event to the next. At each event time, datagrams that arrive are handed over first,
/// then endpoints are woken whose deadline has passed, then everything that they send is put under way.
#[derive(Debug)]
pub struct Network {
    delay: Delay,
    /// Deadlines are rounded up to a multiple of this, as by `epoll`.
    timer_resolution: Span,
    under_way: Queue<Flight>,
    now: Span,
    batch: Vec<Flight>,
    leaving: Vec<Flight>,
}

impl Network {
    /// A network with these delays, at time zero. Deadlines are met to the nanosecond.
    pub fn new(delay: Delay) -> Network {
        Network {
            delay,
            timer_resolution: Span::from_nanos(1),
            under_way: Queue::default(),
            now: Span::ZERO,
            batch: Vec::new(),
            leaving: Vec::new(),
        }
    }

    /// The same, with deadlines rounded up to a multiple of `resolution`: timers are late, never early.
    #[must_use]
    pub fn with_timer_resolution(self, resolution: Span) -> Network {
        Network { timer_resolution: resolution, ..self }
    }

    /// True time.
    pub fn now(&self) -> Span {
        self.now
    }

    /// Lets time pass up to `until`.
    pub fn run_until(&mut self, until: Span, endpoints: &mut [&mut dyn Endpoint]) {
        self.run_altering(until, endpoints, |_| true);
    }

    /// Lets time pass up to `until`. Only those datagrams get under way for which `alter` returns true, as it
    /// leaves them.
    pub fn run_altering(
        &mut self,
        until: Span,
        endpoints: &mut [&mut dyn Endpoint],
        mut alter: impl FnMut(&mut Flight) -> bool,
    ) {
        let mut events_at_once = 0;
        loop {
            self.deliver(endpoints);
            for endpoint in &mut *endpoints {
                endpoint.wake(self.now);
                endpoint.transmit(self.now, &mut self.leaving);
            }
            for mut flight in self.leaving.drain(..) {
                if alter(&mut flight) {
                    self.under_way.plan(self.now + self.delay.draw(), flight);
                }
            }
            if self.now >= until {
                return;
            }
            let next = self.next(endpoints).map_or(until, |next| next.min(until));
            events_at_once = if next > self.now { 0 } else { events_at_once + 1 };
            assert!(events_at_once < MAX_EVENTS_AT_ONCE, "a deadline never passes at {}", self.now);
            self.now = self.now.max(next);
        }
    }

    /// Lets time pass in which nothing happens: no endpoint is woken, and datagrams under way arrive late.
    pub fn skip(&mut self, span: Span) {
        self.now += span;
    }

    /// Hands over all that has arrived, in batches of datagrams for one endpoint.
    fn deliver(&mut self, endpoints: &mut [&mut dyn Endpoint]) {
        let mut target = None;
        while let Some((_, flight)) = self.under_way.next(self.now) {
            let owner = endpoints.iter().position(|endpoint| endpoint.owns(flight.to));
            if owner != target {
                self.hand_over(target, endpoints);
                target = owner;
            }
            self.batch.push(flight);
        }
        self.hand_over(target, endpoints);
    }

    /// Hands the batch to an endpoint; without one it is lost.
    fn hand_over(&mut self, target: Option<usize>, endpoints: &mut [&mut dyn Endpoint]) {
        if let Some(target) = target.filter(|_| !self.batch.is_empty()) {
            endpoints[target].receive(self.now, &self.batch);
        }
        self.batch.clear();
    }

    /// The next event: an arrival, or a deadline.
    fn next(&self, endpoints: &[&mut dyn Endpoint]) -> Option<Span> {
        let deadline = endpoints.iter().filter_map(|endpoint| endpoint.deadline()).min();
        let resolution = self.timer_resolution.as_nanos();
        let deadline = deadline.map(|deadline| {
            Span::from_nanos((deadline.as_nanos() + resolution - 1).div_euclid(resolution) * resolution)
        });
        [deadline, self.under_way.first()].into_iter().flatten().min()
    }
}

/// Deadlines that may fall due at one time, one after the other.
const MAX_EVENTS_AT_ONCE: usize = 10_000;
