//! The loop that drives one node: wait, read clocks, call the node, carry out what it wants.
//!
//! It follows the contract on [`Node`] to the letter: what has come in together is handed over, then
//! datagrams, actions and events are drained. Datagrams are received and sent in batches, with one reading of
//! the clocks for each batch, right after it is received or right before it is sent; the kernel's timestamps
//! tell the datagrams of a batch apart. Where there are none, those that came together count as received
//! together, and one whose time of sending matters is sent alone. Events are handed to a [`LoopHandler`] with a
//! reading of the node's clock and the host's oscillator, taken together. If the clock steers the system's
//! time, it is asked to do so once a turn, and knows itself when that is due.
//!
//! mio is edge-triggered, so readiness is remembered until the socket runs dry; and at most
//! [`BATCH`] datagrams are taken before timers get their turn, so that a flood cannot starve
//! them. Waits are rounded up to whole milliseconds by the system: timers are late, never early.

mod failure_counter;
mod kernel_timestamps;

use std::io;
use std::time::Duration;

use mio::{Events, Poll, Token};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;

use crate::clock::{HostRaw, NodeClock, PublishedTime, SystemClockEvent};
use crate::control::{Answer, Ask, Control};
use crate::udp::{BATCH, ReceiveBatch, TimestampSource, Transport};
use failure_counter::FailureCounter;
use kernel_timestamps::KernelTimestamps;
use meantime_core::time::{Monotonic, Now, Span, Timestamp};
use meantime_core::{Action, ClockReading, Counters, Node, StampId, Transmit};

/// Whoever wants to know what a node does.
///
/// An error from any of these ends the loop as a signal does: the node says goodbye, and the error
/// is what [`EventLoop::run`] returns.
pub trait LoopHandler<N: Node> {
    /// Something happened.
    ///
    /// # Errors
    /// When it cannot be passed on.
    fn event(&mut self, at: ClockSnapshot, event: N::Event) -> io::Result<()>;

    /// The node as it stands after an event, of which [`event`](LoopHandler::event) tells next.
    fn witness(&mut self, node: &N, now: Now, at: &ClockSnapshot, event: &N::Event) {
        let _ = (node, now, at, event);
    }

    /// It is time for a tick.
    ///
    /// # Errors
    /// When it cannot be passed on.
    fn tick(&mut self, at: ClockSnapshot) -> io::Result<()>;

    /// The loop is alive, and tells so in a period of its own.
    fn pulse(&mut self, node: &N, now: Now) {
        let _ = (node, now);
    }

    /// Something happened to the system's clock, which follows the node's.
    ///
    /// # Errors
    /// When it cannot be passed on.
    fn system_clock(&mut self, at: ClockSnapshot, event: SystemClockEvent) -> io::Result<()> {
        let _ = (at, event);
        Ok(())
    }

    /// Somebody asks something of the node at the control socket, or tells it something, or wants the rest of
    /// an answer.
    fn request(&mut self, node: &mut N, now: Now, at: ClockSnapshot, ask: Ask<'_>) -> Answer {
        let _ = (node, now, at, ask);
        Answer::default()
    }

    /// Time for what is neither network nor clock, as looking whether a file has changed. Called in every
    /// turn.
    fn upkeep(&mut self, node: &mut N, now: Now) {
        let _ = (node, now);
    }

    /// The loop is about to wait: what is still held back should go out now.
    ///
    /// # Errors
    /// When it cannot be passed on.
    fn flush(&mut self) -> io::Result<()>;
}

/// A node's clock and the host's oscillator, read together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockSnapshot {
    /// The host's oscillator.
    pub host: HostRaw,
    /// The node's clock.
    pub reading: ClockReading,
    /// Which timestamps it measures with.
    pub timestamps: TimestampSource,
    /// The system's time, if it is made to follow the node's.
    pub system: Option<Timestamp>,
}

impl ClockSnapshot {
    /// Reads the node's clock now.
    pub fn of<N: Node>(node: &N, clock: &impl NodeClock, timestamps: TimestampSource) -> ClockSnapshot {
        let (moment, system) = clock.observe();
        ClockSnapshot { host: moment.host, reading: node.read(moment.now.raw), timestamps, system }
    }
}

/// One node, its link, its clock, and the loop around them.
pub struct EventLoop<N, L, C> {
    node: N,
    link: L,
    clock: C,
    poll: Poll,
    signals: Option<Signals>,
    control: Option<Control>,
    ticker: Option<Ticker>,
    pulse: Option<Ticker>,
    stamps: KernelTimestamps,
    arrivals: ReceiveBatch,
    /// What is about to be sent.
    outgoing: Vec<Transmit>,
    /// What is just being told of datagrams that have left.
    told: Vec<(StampId, Timestamp)>,
    readable: bool,
    /// Whether the kernel may know more about what has left.
    departing: bool,
    sending: FailureCounter,
    receiving: FailureCounter,
}

impl<N: Node, L: Transport, C: NodeClock> EventLoop<N, L, C> {
    /// A loop that runs until the observer ends it.
    ///
    /// # Errors
    /// When the system has no more descriptors.
    pub fn new(node: N, mut link: L, clock: C) -> io::Result<Self> {
        let poll = Poll::new()?;
        let stamps = KernelTimestamps::new(&clock);
        link.register(poll.registry(), LINK)?;
        Ok(EventLoop {
            node,
            link,
            clock,
            poll,
            signals: None,
            control: None,
            ticker: None,
            pulse: None,
            stamps,
            arrivals: ReceiveBatch::new(),
            outgoing: Vec::with_capacity(BATCH),
            told: Vec::with_capacity(BATCH),
            readable: true,
            departing: false,
            sending: FailureCounter::new("sending a datagram"),
            receiving: FailureCounter::new("receiving a datagram"),
        })
    }

    /// Ends the loop on SIGINT and SIGTERM.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn with_signals(mut self) -> io::Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        self.poll.registry().register(&mut signals, SIGNALS, mio::Interest::READABLE)?;
        self.signals = Some(signals);
        Ok(self)
    }

    /// Answers at a control socket.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn with_control(mut self, control: Option<Control>) -> io::Result<Self> {
        self.control = control;
        if let Some(control) = &mut self.control {
            control.register(self.poll.registry())?;
        }
        Ok(self)
    }

    /// Adds a tick each `period`.
    #[must_use]
    pub fn with_tick(mut self, period: Option<Span>) -> Self {
        let now = self.clock.now().mono;
        self.ticker = period.map(|period| Ticker { period, next: now + period });
        self
    }

    /// Adds a sign of life each `period`.
    #[must_use]
    pub fn with_pulse(mut self, period: Option<Span>) -> Self {
        let next = self.clock.now().mono;
        self.pulse = period.map(|period| Ticker { period, next });
        self
    }

    /// Runs until a signal comes or the observer fails; either way the node says goodbye.
    ///
    /// # Errors
    /// The observer's error, or the system's if it cannot wait for events any more.
    pub fn run(&mut self, observer: &mut impl LoopHandler<N>) -> io::Result<()> {
        let result = self.turns(observer);
        self.node.handle_shutdown(self.clock.now());
        let goodbye = self.drain(observer).and_then(|()| observer.flush());
        self.log_counters();
        result.and(goodbye)
    }

    fn turns(&mut self, observer: &mut impl LoopHandler<N>) -> io::Result<()> {
        let mut ready = Events::with_capacity(32);
        self.drain(observer)?;
        loop {
            observer.flush()?;
            match self.poll.poll(&mut ready, Some(self.patience())) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            self.readable |= ready.iter().any(|event| event.token() == LINK);
            // The error queue holds what the kernel tells about datagrams that have left.
            self.departing |= ready.iter().any(|event| event.token() == LINK && event.is_error());
            if let Some(control) = &mut self.control {
                ready.iter().for_each(|event| control.note(event));
            }
            if self.signals.as_mut().is_some_and(|signals| signals.pending().next().is_some()) {
                return Ok(());
            }
            self.wake_up(observer)?;
            // A probe's own time first: its report may be among what is received.
            if self.hear_departures() {
                self.drain(observer)?;
            }
            self.receive(observer)?;
            self.keep_time(observer)?;
            self.follow(observer)?;
            self.answer(observer)?;
            observer.upkeep(&mut self.node, self.clock.now());
            self.drain(observer)?;
        }
    }

    /// Tells the node if the machine has slept: before anything else, since all that follows is of another
    /// time.
    fn wake_up(&mut self, observer: &mut impl LoopHandler<N>) -> io::Result<()> {
        let Some(slept) = self.clock.take_suspension() else { return Ok(()) };
        self.node.handle_suspended(self.clock.now(), slept);
        self.drain(observer)
    }

    /// Takes what has arrived, but no more than a turn's worth.
    fn receive(&mut self, observer: &mut impl LoopHandler<N>) -> io::Result<()> {
        while self.readable {
            let received = self.link.receive(&mut self.arrivals);
            let now = self.clock.now();
            match received {
                Ok(()) => return self.take_in(now, observer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Of a connected socket mostly the fate of something sent earlier: nobody was there.
                Err(error) => {
                    self.receiving.count_failure(now.mono, &error);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Hands over what was received by `now`.
    fn take_in(&mut self, now: Now, observer: &mut impl LoopHandler<N>) -> io::Result<()> {
        let stamped = self.link.timestamp_source() == TimestampSource::Kernel;
        if stamped {
            self.stamps.read_clocks(&self.clock);
        }
        // What the node does, it does after the stamps were made out.
        let handled = self.clock.now();
        for index in 0..self.arrivals.len() {
            let received = self.arrivals.get(index);
            let Some(path) = self.link.path(&received) else { continue };
            // Nobody has asked for stamps: none is missing.
            let stamp =
                if stamped { self.stamps.convert_received(&self.clock, received.timestamp) } else { None };
            self.node.handle_received(handled, stamp.unwrap_or(now.raw), path, received.bytes);
        }
        let lost = self.link.take_lost();
        if lost > 0 {
            self.stamps.buffer_was_full();
            self.node.handle_lost(lost);
        }
        self.drain(observer)
    }

    /// Fires what is due: the node's timer, the tick, the sign of life.
    fn keep_time(&mut self, observer: &mut impl LoopHandler<N>) -> io::Result<()> {
        let now = self.clock.now();
        if self.node.poll_timeout().is_some_and(|deadline| deadline <= now.mono) {
            self.node.handle_timeout(now);
            self.drain(observer)?;
        }
        if self.ticker.as_mut().is_some_and(|ticker| ticker.is_due(now.mono)) {
            observer.tick(self.observe())?;
        }
        if self.pulse.as_mut().is_some_and(|pulse| pulse.is_due(now.mono)) {
            observer.pulse(&self.node, now);
        }
        Ok(())
    }

    /// Makes the system's clock follow the node's, if it is to and it is time.
    fn follow(&mut self, observer: &mut impl LoopHandler<N>) -> io::Result<()> {
        let node = &self.node;
        for event in self.clock.follow(&|raw| published_time(&node.read(raw))) {
            if matches!(event, SystemClockEvent::Stepped { .. }) {
                self.stamps.clock_stepped(self.clock.now().mono);
            }
            observer.system_clock(self.observe(), event)?;
        }
        Ok(())
    }

    /// Does a turn's worth of work at the control socket.
    fn answer(&mut self, observer: &mut impl LoopHandler<N>) -> io::Result<()> {
        let Some(mut control) = self.control.take() else { return Ok(()) };
        let (now, at) = (self.clock.now(), self.observe());
        let node = &mut self.node;
        control.serve(self.poll.registry(), now.mono, |ask| observer.request(node, now, at, ask));
        self.control = Some(control);
        self.drain(observer)
    }

    /// Carries out what the node wants, until it wants nothing more.
    fn drain(&mut self, observer: &mut impl LoopHandler<N>) -> io::Result<()> {
        loop {
            self.transmit();
            match self.node.poll_action() {
                Some(Action::Resolve) => {
                    // It may take long.
                    observer.flush()?;
                    self.resolve();
                }
                None => break,
            }
        }
        while let Some(event) = self.node.poll_event() {
            self.clock.published_time_changed();
            let at = self.observe();
            observer.witness(&self.node, self.clock.now(), &at, &event);
            observer.event(at, event)?;
        }
        Ok(())
    }

    fn transmit(&mut self) {
        let stamped = self.link.timestamp_source() == TimestampSource::Kernel;
        let mut more = true;
        while more {
            let mut now = self.clock.now();
            more = false;
            while let Some(transmit) = self.node.poll_transmit(now) {
                self.outgoing.push(transmit);
                // Without the kernel's stamp, its time is the one that it was just given.
                more = self.outgoing.len() == BATCH || (!stamped && transmit.stamp.is_some());
                if more {
                    break;
                }
                if !stamped {
                    now = self.clock.now();
                }
            }
            self.send(now.mono, stamped);
        }
    }

    /// Sends what is ready. Mostly a datagram has left before the call that sends it returns: what is known
    /// already is heard at once, so that the error queue does not fill up.
    fn send(&mut self, now: Monotonic, stamped: bool) {
        let mut rest = &self.outgoing[..];
        while !rest.is_empty() {
            let sent = self
                .link
                .send(self.poll.registry(), rest)
                .map_err(|error| self.sending.count_failure(now, &error));
            let stamps =
                rest[..sent.unwrap_or(0)].iter().filter(|transmit| stamped && transmit.stamp.is_some());
            for _ in stamps {
                self.stamps.requested();
                self.departing = true;
            }
            // One that could not be sent is left out.
            rest = &rest[sent.unwrap_or(0).max(1)..];
        }
        self.outgoing.clear();
        self.hear_departures();
    }

    /// Tells the node when datagrams really left, but of no more than a batch; false if there was nothing to
    /// tell.
    fn hear_departures(&mut self) -> bool {
        if !self.departing {
            return false;
        }
        let mut told = std::mem::take(&mut self.told);
        let result = self.link.take_transmit_timestamps(&mut |id, stamp| told.push((id, stamp)));
        self.departing = match &result {
            Ok(is_all) => !is_all,
            Err(error) => error.kind() == io::ErrorKind::Interrupted,
        };
        if !told.is_empty() {
            self.stamps.read_clocks(&self.clock);
        }
        for (id, stamp) in told.drain(..) {
            if let Some(raw) = self.stamps.convert_sent(&self.clock, stamp) {
                self.node.handle_transmitted(id, raw);
            }
        }
        self.told = told;
        result.is_ok()
    }

    fn observe(&self) -> ClockSnapshot {
        let timestamps = match self.link.timestamp_source() {
            TimestampSource::Kernel => self.stamps.source(),
            granted => granted,
        };
        ClockSnapshot::of(&self.node, &self.clock, timestamps)
    }

    fn resolve(&mut self) {
        let found = self.link.resolve();
        if let Err(error) = &found {
            log::debug!("the server's name cannot be resolved: {error}");
        }
        self.readable = true;
        self.node.handle_resolved(self.clock.now(), found.ok());
    }

    /// How long to wait for something to happen.
    fn patience(&self) -> Duration {
        if self.readable || self.departing || self.control.as_ref().is_some_and(Control::is_busy) {
            return Duration::ZERO;
        }
        let Now { mono, .. } = self.clock.now();
        let [tick, pulse] =
            [&self.ticker, &self.pulse].map(|ticker| ticker.as_ref().map(|ticker| ticker.next));
        let idle = self.control.as_ref().and_then(Control::deadline);
        let deadlines = [self.node.poll_timeout(), tick, pulse, self.clock.follow_at(), idle];
        let deadline = deadlines.into_iter().flatten().min();
        let wait = deadline.map_or(MAX_WAIT, |deadline| (deadline - mono).min(MAX_WAIT));
        Duration::from_nanos(wait.as_nanos().try_into().unwrap_or(0))
    }

    fn log_counters(&self) {
        let counters = self.node.counters();
        log::info!(
            "{} datagrams received, {} of them dropped{}",
            counters.received(),
            counters.dropped(),
            listed(counters)
        );
        if counters.lost() > 0 {
            log::warn!("{} datagrams were lost before: the socket's buffer was full", counters.lost());
        }
        self.sending.log_total();
        self.receiving.log_total();
    }
}

/// A node's reading as the time that the system's clock may follow.
fn published_time(reading: &ClockReading) -> PublishedTime {
    PublishedTime {
        time: reading.time,
        is_cluster_time: reading.state.has_cluster_time(),
        error: reading.error,
        bound: reading.bound,
        frequency: reading.frequency,
    }
}

/// The fates of datagrams other than being accepted, in brackets.
fn listed(counters: &Counters) -> String {
    use meantime_core::Fate;
    let fates = Fate::ALL.iter().filter(|fate| **fate != Fate::Accepted && counters.of(**fate) > 0);
    let fates: Vec<_> = fates.map(|fate| format!("{fate}: {}", counters.of(*fate))).collect();
    if fates.is_empty() { String::new() } else { format!(" ({})", fates.join(", ")) }
}

/// Fires once a period; periods that were missed are not made up for.
struct Ticker {
    period: Span,
    next: Monotonic,
}

impl Ticker {
    fn is_due(&mut self, now: Monotonic) -> bool {
        let late = now - self.next;
        let due = late >= Span::ZERO;
        if due {
            let periods = late.as_nanos() / self.period.as_nanos().max(1) + 1;
            self.next += self.period.times(periods);
        }
        due
    }
}

const LINK: Token = Token(0);
const SIGNALS: Token = Token(1);

/// Without any deadline, the loop still turns once a minute; nothing depends on it.
const MAX_WAIT: Span = Span::from_secs(60);

#[cfg(test)]
mod tests;
