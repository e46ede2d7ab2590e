//! The loop: wait, read clocks, call the node, carry out what it requests.

use std::io;
use std::time::Duration;

use meantime_core::time::{Monotonic, Now, Span};
use meantime_core::{Action, Counters, Fate, Node};
use mio::{Events, Poll, Token};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;

use super::handler::LoopHandler;
use super::hardware_timestamps::InstalledCard;
use super::network::{Network, Taken};
use super::published_time::published_time;
use super::ticker::Ticker;
use crate::clock::{NodeClock, SystemClockEvent};
use crate::control::ControlSocket;
use crate::report::ClockSnapshot;
use crate::udp::Transport;

/// One node, its transport, its clock, and the loop around them.
pub struct EventLoop<N, T, C> {
    node: N,
    network: Network<T>,
    clock: C,
    poll: Poll,
    signals: Option<Signals>,
    handover: Handover,
    control: Option<ControlSocket>,
    tick: Option<Ticker>,
    keepalive: Option<Ticker>,
}

/// What a node does for others before it ends.
#[derive(Clone, Copy, Debug)]
enum Handover {
    /// It runs, and would hand over for so long at most after a signal.
    Running(Span),
    /// It hands over, until then at most.
    Ending(Monotonic),
}

impl<N: Node, T: Transport, C: NodeClock> EventLoop<N, T, C> {
    /// A loop that runs until its handler ends it.
    ///
    /// # Errors
    /// When the system has no more descriptors.
    pub fn new(node: N, transport: T, clock: C) -> io::Result<Self> {
        let poll = Poll::new()?;
        let network = Network::new(transport, &clock, poll.registry(), TRANSPORT)?;
        Ok(EventLoop {
            node,
            network,
            clock,
            poll,
            signals: None,
            handover: Handover::Running(Span::ZERO),
            control: None,
            tick: None,
            keepalive: None,
        })
    }

    /// Ends the loop on SIGINT and SIGTERM; while the node hands over to another one, only on a second
    /// signal.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn with_signals(mut self) -> io::Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        self.poll.registry().register(&mut signals, SIGNALS, mio::Interest::READABLE)?;
        self.signals = Some(signals);
        Ok(self)
    }

    /// After a signal, lets the node hand over to another one for at most so long.
    #[must_use]
    pub fn with_handover(mut self, limit: Span) -> Self {
        self.handover = Handover::Running(limit);
        self
    }

    /// Answers at a control socket.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn with_control(mut self, control: Option<ControlSocket>) -> io::Result<Self> {
        self.control = control;
        if let Some(control) = &mut self.control {
            control.register(self.poll.registry())?;
        }
        Ok(self)
    }

    /// Uses the timestamps of these network cards.
    #[must_use]
    pub fn with_cards(mut self, cards: Vec<InstalledCard>) -> Self {
        self.network.install(cards);
        self
    }

    /// Calls the handler's `tick` each `period`.
    #[must_use]
    pub fn with_tick(mut self, period: Option<Span>) -> Self {
        let now = self.clock.now().mono;
        self.tick = period.map(|period| Ticker::new(now + period, period));
        self
    }

    /// Calls the handler's `keepalive` at once, and then each `period`.
    #[must_use]
    pub fn with_keepalive(mut self, period: Option<Span>) -> Self {
        let now = self.clock.now().mono;
        self.keepalive = period.map(|period| Ticker::new(now, period));
        self
    }

    /// Runs until a signal comes or the handler fails; in both cases the node says goodbye.
    ///
    /// # Errors
    /// The handler's error, or the system's if it cannot wait for events any more.
    pub fn run(&mut self, handler: &mut impl LoopHandler<N>) -> io::Result<()> {
        let result = self.wake_ups(handler);
        self.node.handle_shutdown(self.clock.now());
        let goodbye = self.drain(handler).and_then(|()| handler.flush());
        log_counters(self.node.counters());
        self.network.log_failures();
        result.and(goodbye)
    }

    fn wake_ups(&mut self, handler: &mut impl LoopHandler<N>) -> io::Result<()> {
        let mut ready = Events::with_capacity(32);
        self.drain(handler)?;
        loop {
            handler.flush()?;
            match self.poll.poll(&mut ready, Some(self.max_wait())) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            self.note_readiness(&ready);
            if self.is_ended_by_signal() {
                return Ok(());
            }
            self.wake_up(handler)?;
            if self.has_handed_over() {
                return Ok(());
            }
        }
    }

    /// Whether a signal has come that ends the loop at once. At the first one, the node may hand over first.
    fn is_ended_by_signal(&mut self) -> bool {
        let Some(signals) = &mut self.signals else { return false };
        if signals.pending().count() == 0 {
            return false;
        }
        let Handover::Running(limit) = self.handover else { return true };
        let now = self.clock.now();
        let hands_over = self.node.hand_over(now);
        if hands_over {
            self.handover = Handover::Ending(now.mono + limit);
        }
        !hands_over
    }

    /// Whether the node was to hand over before it ends, and has done so, or had the time for it.
    fn has_handed_over(&self) -> bool {
        match self.handover {
            Handover::Running(_) => false,
            Handover::Ending(end) => !self.node.is_handing_over() || end <= self.clock.now().mono,
        }
    }

    fn note_readiness(&mut self, ready: &Events) {
        for event in ready {
            if event.token() == TRANSPORT {
                self.network.handle_readiness(event);
            }
            if let Some(control) = &mut self.control {
                control.note(event);
            }
        }
    }

    /// What the loop does on each wake-up.
    fn wake_up(&mut self, handler: &mut impl LoopHandler<N>) -> io::Result<()> {
        // A suspension first: all that follows is of the time after it.
        if let Some(suspended) = self.clock.take_suspension() {
            self.node.handle_suspended(self.clock.now(), suspended);
            self.drain(handler)?;
        }
        // A probe's transmit timestamp next: its report may be among what is received.
        if self.network.take_transmit_timestamps(&mut self.node, &self.clock) == Taken::Something {
            self.drain(handler)?;
        }
        if self.network.take_resolved(&mut self.node, &self.clock) == Taken::Something {
            self.drain(handler)?;
        }
        let now = self.clock.now().mono;
        if self.network.give_up_late_timestamps(&mut self.node, &self.clock, now) == Taken::Something {
            self.drain(handler)?;
        }
        if self.network.receive(&mut self.node, &self.clock) == Taken::Something {
            self.drain(handler)?;
        }
        self.fire_timers(handler)?;
        self.steer_system_clock(handler)?;
        self.serve_control(handler)?;
        handler.maintain(&mut self.node, self.clock.now());
        self.drain(handler)
    }

    /// Fires what is due: the node's timer, the tick, the keepalive.
    fn fire_timers(&mut self, handler: &mut impl LoopHandler<N>) -> io::Result<()> {
        let now = self.clock.now();
        if self.node.poll_timeout().is_some_and(|deadline| deadline <= now.mono) {
            self.node.handle_timeout(now);
            self.drain(handler)?;
        }
        if self.tick.as_mut().is_some_and(|ticker| ticker.is_due(now.mono)) {
            handler.tick(self.snapshot())?;
        }
        if self.keepalive.as_mut().is_some_and(|ticker| ticker.is_due(now.mono)) {
            handler.keepalive(&self.node, now);
        }
        Ok(())
    }

    /// Makes the system's clock follow the node's, if it does so and is due.
    fn steer_system_clock(&mut self, handler: &mut impl LoopHandler<N>) -> io::Result<()> {
        let node = &self.node;
        for event in self.clock.follow(&|raw| published_time(&node.read(raw))) {
            if matches!(event, SystemClockEvent::Stepped { .. }) {
                self.network.clock_stepped(self.clock.now().mono);
            }
            handler.system_clock(self.snapshot(), event)?;
        }
        Ok(())
    }

    /// Does a bounded amount of work at the control socket.
    fn serve_control(&mut self, handler: &mut impl LoopHandler<N>) -> io::Result<()> {
        let Some(mut control) = self.control.take() else { return Ok(()) };
        let (now, at) = (self.clock.now(), self.snapshot());
        let node = &mut self.node;
        control.serve(self.poll.registry(), now.mono, |query| handler.request(node, now, at, query));
        self.control = Some(control);
        self.drain(handler)
    }

    /// Carries out what the node requests, until it requests nothing more.
    fn drain(&mut self, handler: &mut impl LoopHandler<N>) -> io::Result<()> {
        loop {
            self.network.transmit(&mut self.node, &self.clock, self.poll.registry());
            match self.node.poll_action() {
                Some(Action::Resolve(server)) => {
                    self.network.resolve(server);
                    self.network.take_resolved(&mut self.node, &self.clock);
                }
                Some(Action::ReadReference) => {
                    self.node.handle_reference(self.clock.now(), self.clock.reference());
                }
                None => break,
            }
        }
        while let Some(event) = self.node.poll_event() {
            self.clock.published_time_changed();
            let at = self.snapshot();
            handler.event(&self.node, self.clock.now(), at, event)?;
        }
        Ok(())
    }

    fn snapshot(&self) -> ClockSnapshot {
        ClockSnapshot::of(&self.node, &self.clock, self.network.timestamp_source())
    }

    /// How long to wait for readiness at most.
    fn max_wait(&self) -> Duration {
        if self.network.is_ready() || self.control.as_ref().is_some_and(ControlSocket::is_busy) {
            return Duration::ZERO;
        }
        let Now { mono, .. } = self.clock.now();
        let [tick, keepalive] =
            [&self.tick, &self.keepalive].map(|ticker| ticker.as_ref().map(Ticker::deadline));
        let control = self.control.as_ref().and_then(ControlSocket::deadline);
        let (follow, stamps) = (self.clock.follow_at(), self.network.deadline());
        let ending = if let Handover::Ending(end) = self.handover { Some(end) } else { None };
        let deadlines = [self.node.poll_timeout(), tick, keepalive, follow, control, stamps, ending];
        let deadline = deadlines.into_iter().flatten().min();
        let wait = deadline.map_or(MAX_WAIT, |deadline| (deadline - mono).min(MAX_WAIT));
        Duration::from_nanos(wait.as_nanos().try_into().unwrap_or(0))
    }
}

/// Logs the fates of all datagrams.
fn log_counters(counters: &Counters) {
    let (received, dropped) = (counters.received(), counters.dropped());
    log::info!("{received} datagrams received, {dropped} of them dropped{}", listed(counters));
    if counters.lost() > 0 {
        log::warn!("{} datagrams were lost before: the socket's buffer was full", counters.lost());
    }
}

/// The fates of datagrams other than being accepted, in brackets.
fn listed(counters: &Counters) -> String {
    let fates = Fate::ALL.iter().filter(|fate| **fate != Fate::Accepted && counters.of(**fate) > 0);
    let fates: Vec<_> = fates.map(|fate| format!("{fate}: {}", counters.of(*fate))).collect();
    if fates.is_empty() { String::new() } else { format!(" ({})", fates.join(", ")) }
}

const TRANSPORT: Token = Token(0);
const SIGNALS: Token = Token(1);

/// Without any deadline, the loop still wakes up once a minute; nothing depends on it.
const MAX_WAIT: Span = Span::from_secs(60);
