//! The contract between a node of the protocol and the program or simulator that drives it.

use core::net::{IpAddr, SocketAddr};

use crate::counters::Counters;
use crate::time::{Frequency, Monotonic, Now, Raw, Span, Timestamp};
use crate::wire::{ClientState, Datagram};

/// A node of the protocol, server or client, as a pure state machine.
///
/// # Contract
///
/// Call one `handle_*`, or several for what came together, then drain: [`poll_transmit`](Node::poll_transmit)
/// until `None`, then [`poll_action`](Node::poll_action) until `None`, then [`poll_event`](Node::poll_event)
/// until `None`; then sleep until [`poll_timeout`](Node::poll_timeout) or the next datagram. `now` never goes
/// backwards; its `raw` is read as close as possible to what it stamps: for `handle_datagram` the moment of
/// receipt, for `poll_transmit` the moment just before sending. Timeouts may be late, never early; late ones
/// are caught up with.
///
/// Who knows better when a datagram came (the kernel's timestamp) calls
/// [`handle_received`](Node::handle_received) instead, whose `received` may lie before any reading of
/// earlier calls. Who finds out when a datagram really left that had a [`StampId`] says so by
/// [`handle_transmitted`](Node::handle_transmitted), then drains as after every input; the sooner the better,
/// late ones and none at all do no harm.
pub trait Node {
    /// What this node has to tell.
    type Event;

    /// A datagram arrived, `now.raw` being its time of receipt.
    fn handle_datagram(&mut self, now: Now, path: Path, datagram: &[u8]);

    /// A datagram arrived when the oscillator read `received`, and is handled `now`. Clocks are set by `now`,
    /// for published time must not be changed in the past; `received` is for the measurement alone.
    fn handle_received(&mut self, now: Now, received: Raw, path: Path, datagram: &[u8]) {
        self.handle_datagram(Now { raw: received, ..now }, path, datagram);
    }

    /// The datagram that was given this id really left when the oscillator read `raw`. Ids that mean nothing
    /// any more, and times that cannot be, are ignored.
    fn handle_transmitted(&mut self, id: StampId, raw: Raw) {
        let _ = (id, raw);
    }

    /// So many datagrams were lost at this end, because the system had no room for them until they were
    /// received.
    fn handle_lost(&mut self, datagrams: u32) {
        let _ = datagrams;
    }

    /// The deadline of [`poll_timeout`](Node::poll_timeout) has passed.
    fn handle_timeout(&mut self, now: Now);

    /// The process is about to end: say goodbye in the next `poll_transmit`s.
    fn handle_shutdown(&mut self, now: Now);

    /// The answer to [`Action::Resolve`]: where the server is, or `None` if that could not be found out.
    fn handle_resolved(&mut self, now: Now, server: Option<SocketAddr>) {
        let _ = (now, server);
    }

    /// The machine slept for so long, and this node's oscillator with it: what it shows is wrong by that.
    fn handle_suspended(&mut self, now: Now, slept: Span) {
        let _ = (now, slept);
    }

    /// The next datagram to send. `now.raw` is the time of sending; it is stamped into the datagram.
    #[must_use]
    fn poll_transmit(&mut self, now: Now) -> Option<Transmit>;

    /// The next thing that only the outside can do.
    #[must_use]
    fn poll_action(&mut self) -> Option<Action> {
        None
    }

    /// The next thing that happened.
    #[must_use]
    fn poll_event(&mut self) -> Option<Self::Event>;

    /// When [`handle_timeout`](Node::handle_timeout) wants to be called next.
    #[must_use]
    fn poll_timeout(&self) -> Option<Monotonic>;

    /// What this node's clock shows when its oscillator reads `raw`, and how good that is.
    fn read(&self, raw: Raw) -> ClockReading;

    /// What became of every datagram received.
    fn counters(&self) -> &Counters;
}

/// Where a datagram came from, or goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The other side.
    pub peer: SocketAddr,
    /// The address of ours that the other side uses; `None`: whichever the system chooses.
    pub local: Option<IpAddr>,
}

/// A datagram to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to, and from which of our addresses.
    pub path: Path,
    /// The bytes.
    pub datagram: Datagram,
    /// By what to call it in [`Node::handle_transmitted`]; `None`: nobody wants to know when it left.
    pub stamp: Option<StampId>,
}

/// Names a datagram whose time of leaving matters. The node chooses it; to everybody else it is just a
/// number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StampId(pub u64);

/// What a node asks of the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Look the server's name up (again), and report to [`Node::handle_resolved`].
    Resolve,
}

/// A node's clock, read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockReading {
    /// What it shows: cluster time, if `state` says so; else the machine's own idea.
    pub time: Timestamp,
    /// How the clock stands. (A server's clock is a member like any other.)
    pub state: ClientState,
    /// One standard deviation of its estimated distance from cluster time; `None`: unknown.
    pub error: Option<Span>,
    /// The guaranteed distance from cluster time; `None`: nothing is guaranteed.
    pub bound: Option<Span>,
    /// Its rate over its oscillator's, minus one.
    pub frequency: Frequency,
    /// One standard deviation of that; `None`: unknown.
    pub frequency_error: Option<Frequency>,
}

impl ClockReading {
    /// Of a clock that shows what its oscillator does, and knows nothing else.
    pub fn unsynchronized(raw: Raw) -> ClockReading {
        ClockReading {
            time: Timestamp::from_nanos(raw.as_nanos()),
            state: ClientState::Unsynchronized,
            error: None,
            bound: None,
            frequency: Frequency::ZERO,
            frequency_error: None,
        }
    }
}
