//! The contract between a node of the protocol and the program or simulator that drives it.

use core::net::{IpAddr, SocketAddr};

use crate::counters::Counters;
use crate::reference::{NoReference, ReferenceReading};
use crate::roles::rank::Rank;
use crate::time::{Frequency, Monotonic, Now, Raw, Span, Timestamp};
use crate::wire::{ClientState, ClusterId, Datagram, ManualAdjustment};

/// A node of the protocol, server or client, as a pure state machine.
///
/// # Contract
///
/// Call one `handle_*`, or several for inputs that came together, then drain:
/// [`poll_transmit`](Node::poll_transmit) until `None`, then [`poll_action`](Node::poll_action) until `None`,
/// then [`poll_event`](Node::poll_event) until `None`; then sleep until [`poll_timeout`](Node::poll_timeout)
/// or the next datagram. `now` never goes backwards. Its `raw` is read as close as possible to the moment
/// that it stamps: for `handle_datagram` the receipt, for `poll_transmit` the moment just before sending.
/// Timeouts may be handled late, never early; a node catches up with late ones.
///
/// A caller that has a better timestamp of the receipt (the kernel's) calls
/// [`handle_received`](Node::handle_received) instead; its `received` may lie before `now.raw` of earlier
/// calls. A caller that learns when a datagram with a [`StampId`] departed calls
/// [`handle_transmitted`](Node::handle_transmitted), as soon as possible, then drains as after every input.
/// Late calls and missing ones do no harm.
///
/// # Example
///
/// A server and a client, driven by hand until the client is registered:
///
/// ```
/// use std::net::SocketAddr;
///
/// use meantime_core::roles::rank::Rank;
/// use meantime_core::time::{Monotonic, Now, Raw};
/// use meantime_core::{Action, Client, ClientConfig, ClientEvent, Node, Path};
/// use meantime_core::{Server, ServerConfig, ServerEvent};
///
/// /// Delivers all datagrams that one node sends to the other.
/// fn deliver(now: Now, address: SocketAddr, from: &mut impl Node, to: &mut impl Node) {
///     while let Some(transmit) = from.poll_transmit(now) {
///         to.handle_datagram(now, Path { peer: address, local: None }, &transmit.datagram);
///     }
/// }
///
/// let server_address: SocketAddr = "192.0.2.1:5525".parse()?;
/// let client_address: SocketAddr = "192.0.2.2:40000".parse()?;
/// let now = Now { mono: Monotonic::from_nanos(0), raw: Raw::from_nanos(0) };
/// let mut server = Server::new(ServerConfig::default(), [1; 32], now);
/// let mut client = Client::new(ClientConfig::default(), [2; 32], now);
///
/// // The client does not resolve names itself.
/// assert_eq!(client.poll_action(), Some(Action::Resolve(Rank::FIRST)));
/// client.handle_resolved(now, Rank::FIRST, Some(server_address));
///
/// // Register and Challenge; Register with the cookie and Welcome.
/// for _ in 0..2 {
///     deliver(now, client_address, &mut client, &mut server);
///     deliver(now, server_address, &mut server, &mut client);
/// }
/// assert!(matches!(server.poll_event(), Some(ServerEvent::Connected { .. })));
/// assert!(matches!(client.poll_event(), Some(ClientEvent::Registering { attempt: 1, .. })));
/// assert!(matches!(client.poll_event(), Some(ClientEvent::Registered { .. })));
///
/// // Now the client waits for the server's probes, and sends a heartbeat if none come.
/// assert!(client.view(now).registered);
/// assert!(client.poll_timeout().is_some_and(|at| at > now.mono));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
pub trait Node {
    /// What this node reports.
    type Event;

    /// A datagram was received at `now.raw`.
    fn handle_datagram(&mut self, now: Now, path: Path, datagram: &[u8]);

    /// A datagram was received when the oscillator read `received`, and is handled `now`. Clocks are adjusted
    /// at `now`, since published time must not change in the past; `received` is used for measurements only.
    fn handle_received(&mut self, now: Now, received: Raw, path: Path, datagram: &[u8]) {
        self.handle_datagram(Now { raw: received, ..now }, path, datagram);
    }

    /// The datagram with this id departed when the oscillator read `raw`. Unknown ids and implausible times
    /// are ignored.
    fn handle_transmitted(&mut self, id: StampId, raw: Raw) {
        let _ = (id, raw);
    }

    /// This number of datagrams was lost because the system's receive buffer was full.
    fn handle_lost(&mut self, datagrams: u32) {
        let _ = datagrams;
    }

    /// The deadline of [`poll_timeout`](Node::poll_timeout) has passed.
    fn handle_timeout(&mut self, now: Now);

    /// The process is about to end: the next `poll_transmit`s return Leave datagrams.
    fn handle_shutdown(&mut self, now: Now);

    /// The process is to end: a node that others depend on hands over first. Returns whether it does; then
    /// the caller goes on until [`is_handing_over`](Node::is_handing_over) says that it is done, and calls
    /// [`handle_shutdown`](Node::handle_shutdown) then.
    fn hand_over(&mut self, now: Now) -> bool {
        let _ = now;
        false
    }

    /// Whether a handover is under way.
    fn is_handing_over(&self) -> bool {
        false
    }

    /// The answer to [`Action::Resolve`]: the address of the server of this rank; `None`: its name could not
    /// be resolved.
    fn handle_resolved(&mut self, now: Now, rank: Rank, server: Option<SocketAddr>) {
        let _ = (now, rank, server);
    }

    /// The answer to [`Action::ReadReference`]: what the machine's reference shows, or why it has none.
    fn handle_reference(&mut self, now: Now, reading: Result<ReferenceReading, NoReference>) {
        let _ = (now, reading);
    }

    /// The machine was suspended for `slept`, and this node's oscillator did not count that time.
    fn handle_suspended(&mut self, now: Now, slept: Span) {
        let _ = (now, slept);
    }

    /// The next datagram to send. `now.raw` is the time of sending; it is stamped into the datagram.
    #[must_use]
    fn poll_transmit(&mut self, now: Now) -> Option<Transmit>;

    /// The next action for the caller.
    #[must_use]
    fn poll_action(&mut self) -> Option<Action> {
        None
    }

    /// The next event.
    #[must_use]
    fn poll_event(&mut self) -> Option<Self::Event>;

    /// When to call [`handle_timeout`](Node::handle_timeout) next; `None`: not until there is another input.
    #[must_use]
    fn poll_timeout(&self) -> Option<Monotonic>;

    /// What this node's clock shows when its oscillator reads `raw`, with its errors.
    fn read(&self, raw: Raw) -> ClockReading;

    /// Counts of all received datagrams, by what became of them.
    fn counters(&self) -> &Counters;
}

/// The addresses of a datagram, received or to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The peer's address.
    pub peer: SocketAddr,
    /// The node's own address that the peer uses; `None`: the system chooses.
    pub local: Option<IpAddr>,
}

/// A datagram to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Destination, and the node's own address to send from.
    pub path: Path,
    /// The bytes.
    pub datagram: Datagram,
    /// Its id for [`Node::handle_transmitted`]; `None`: the time of its departure is of no use.
    pub stamp: Option<StampId>,
}

/// Identifies a datagram whose departure time the node uses. The node chooses it; the caller only passes it
/// back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StampId(pub u64);

/// What a node asks its caller to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Resolve the name of the server of this rank (again), and call [`Node::handle_resolved`].
    Resolve(Rank),
    /// Read the machine's reference at once, and call [`Node::handle_reference`]. Only a node that is
    /// configured to offer one asks for that.
    ReadReference,
}

/// A reading of a node's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockReading {
    /// The cluster whose time it shows, or has shown before its machine slept; 0: none.
    pub cluster: ClusterId,
    /// What it shows: cluster time, if `state` says that it has that; else the machine's own time.
    pub time: Timestamp,
    /// The newest manual time adjustment that belongs to that time; [`ManualAdjustment::NONE`]: there is
    /// none.
    pub manual_adjustment: ManualAdjustment,
    /// The clock's state. (A server's own clock is a member like any other.)
    pub state: ClientState,
    /// One standard deviation of its estimated distance from cluster time; `None`: unknown.
    pub error: Option<Span>,
    /// The guaranteed distance from cluster time; `None`: unknown.
    pub bound: Option<Span>,
    /// Its rate over its oscillator's, minus one.
    pub frequency: Frequency,
    /// One standard deviation of that; `None`: unknown.
    pub frequency_error: Option<Frequency>,
}

impl ClockReading {
    /// The reading of a clock that shows what its oscillator does.
    pub fn unsynchronized(raw: Raw) -> ClockReading {
        ClockReading {
            cluster: ClusterId(0),
            time: Timestamp::from_nanos(raw.as_nanos()),
            manual_adjustment: ManualAdjustment::NONE,
            state: ClientState::Unsynchronized,
            error: None,
            bound: None,
            frequency: Frequency::ZERO,
            frequency_error: None,
        }
    }
}
