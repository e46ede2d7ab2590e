//! Between a node and its transport: receives and sends in batches, and gives the node the time of each
//! datagram.
//!
//! The clocks are read once for each batch, right after it is received or right before it is sent; the
//! kernel's timestamps distinguish the datagrams of a batch. Without them, datagrams that are received
//! together have the same time of receipt, and a datagram whose time of sending matters is sent alone.

use std::io;

use meantime_core::roles::rank::Rank;
use meantime_core::time::{Monotonic, Now};
use meantime_core::{Node, Transmit};
use mio::event::Event;
use mio::{Registry, Token};

use super::failure_counter::FailureCounter;
use super::hardware_timestamps::{HardwareTimestamps, InstalledCard};
use super::kernel_timestamps::KernelTimestamps;
use crate::clock::NodeClock;
use crate::report::place_of;
use crate::udp::{BATCH, ReceiveBatch, TimestampSource, TransmitStamp, TransmitTime, Transport};

/// A transport, what is received and sent through it, and its timestamps.
pub(super) struct Network<T> {
    transport: T,
    timestamps: KernelTimestamps,
    hardware: HardwareTimestamps,
    receiver: Receiver,
    sender: Sender,
}

/// The receiving half.
struct Receiver {
    batch: ReceiveBatch,
    /// Whether datagrams may be waiting: mio reports readiness once, so it is kept until the socket is empty.
    readable: bool,
    failures: FailureCounter,
}

/// The sending half.
struct Sender {
    /// The batch that is about to be sent.
    outgoing: Vec<Transmit>,
    /// Transmit timestamps that were just taken.
    reported: Vec<TransmitStamp>,
    /// Whether the kernel may have transmit timestamps.
    timestamps_pending: bool,
    failures: FailureCounter,
}

/// Whether there was anything to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Something,
    Nothing,
}

impl<T: Transport> Network<T> {
    /// Registers the transport under `token`.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn new(
        mut transport: T,
        clock: &impl NodeClock,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Network<T>> {
        transport.register(registry, token)?;
        Ok(Network {
            transport,
            timestamps: KernelTimestamps::new(clock),
            hardware: HardwareTimestamps::default(),
            receiver: Receiver {
                batch: ReceiveBatch::new(),
                readable: true,
                failures: FailureCounter::new("receiving a datagram"),
            },
            sender: Sender {
                outgoing: Vec::with_capacity(BATCH),
                reported: Vec::with_capacity(BATCH),
                timestamps_pending: false,
                failures: FailureCounter::new("sending a datagram"),
            },
        })
    }

    /// These network cards stamp the transport's datagrams.
    pub(super) fn install(&mut self, cards: Vec<InstalledCard>) {
        self.hardware = HardwareTimestamps::new(cards);
    }

    /// The poll has reported readiness of the transport.
    pub(super) fn handle_readiness(&mut self, event: &Event) {
        self.receiver.readable = true;
        // The error queue holds transmit timestamps.
        self.sender.timestamps_pending |= event.is_error();
    }

    /// Whether there may be something to do without waiting.
    pub(super) fn is_ready(&self) -> bool {
        self.receiver.readable || self.sender.timestamps_pending
    }

    /// The timestamp source in use.
    pub(super) fn timestamp_source(&self) -> TimestampSource {
        match self.transport.timestamp_source() {
            TimestampSource::Kernel => self.hardware.source().unwrap_or(self.timestamps.source()),
            granted => granted,
        }
    }

    /// The system's clock was stepped by this process.
    pub(super) fn clock_stepped(&mut self, now: Monotonic) {
        self.timestamps.clock_stepped(now);
    }

    /// Begins to find the address of the server of this rank.
    pub(super) fn resolve(&mut self, server: Rank) {
        self.transport.resolve(server);
        // The transport may have another socket now.
        self.receiver.readable = true;
    }

    /// Gives the node the addresses of servers that it has asked for, as far as the answers are there.
    pub(super) fn take_resolved(&mut self, node: &mut impl Node, clock: &impl NodeClock) -> Taken {
        let mut taken = Taken::Nothing;
        while let Some((server, found)) = self.transport.take_resolved() {
            if let Err(error) = &found {
                log::debug!("the name of server {} cannot be resolved: {error}", place_of(server));
            }
            node.handle_resolved(clock.now(), server, found.ok());
            taken = Taken::Something;
        }
        taken
    }

    /// Gives the node at most a batch of datagrams.
    pub(super) fn receive(&mut self, node: &mut impl Node, clock: &impl NodeClock) -> Taken {
        while self.receiver.readable {
            let received = self.transport.receive(&mut self.receiver.batch);
            let now = clock.now();
            match received {
                Ok(()) => {
                    self.deliver(now, node, clock);
                    return Taken::Something;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.receiver.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // On a connected socket usually the result of an earlier send: the peer's port was closed.
                Err(error) => {
                    self.receiver.failures.count_failure(now.mono, &error);
                    break;
                }
            }
        }
        Taken::Nothing
    }

    /// Gives the node the batch that was received by `now`.
    fn deliver(&mut self, now: Now, node: &mut impl Node, clock: &impl NodeClock) {
        let has_timestamps = self.has_kernel_timestamps();
        if has_timestamps {
            self.timestamps.read_clocks(clock);
            self.hardware.expect_stamps();
        }
        // The node acts after the timestamps have been converted.
        let handled = clock.now();
        for index in 0..self.receiver.batch.len() {
            let received = self.receiver.batch.get(index);
            let Some(path) = self.transport.path(&received) else { continue };
            // Where no timestamps are requested, none is missing.
            let received_at = match has_timestamps {
                true => {
                    let kernel = self.timestamps.convert_received(clock, received.timestamp);
                    self.hardware.convert_received(&received, kernel)
                }
                false => None,
            };
            let received_at = received_at.map_or(now.raw, |host| clock.raw_at(host));
            node.handle_received(handled, received_at, path, received.bytes);
        }
        let lost = self.transport.take_lost();
        if lost > 0 {
            self.timestamps.buffer_was_full();
            node.handle_lost(lost);
        }
    }

    /// Sends everything that the node wants to send.
    pub(super) fn transmit(&mut self, node: &mut impl Node, clock: &impl NodeClock, registry: &Registry) {
        let has_timestamps = self.has_kernel_timestamps();
        let mut more = true;
        while more {
            let mut now = clock.now();
            more = false;
            while let Some(transmit) = node.poll_transmit(now) {
                self.sender.outgoing.push(transmit);
                // Without a kernel timestamp, its time of sending is the one that it was just given.
                more = self.sender.outgoing.len() == BATCH || (!has_timestamps && transmit.stamp.is_some());
                if more {
                    break;
                }
                if !has_timestamps {
                    now = clock.now();
                }
            }
            self.send(now.mono, registry);
            // Usually a datagram has left before the call that sends it returns. Its timestamps are taken at
            // once, so that the error queue does not fill up.
            for _ in 0..TIMESTAMPS_OF_A_DATAGRAM {
                self.take_transmit_timestamps(node, clock);
            }
            self.give_up_late_timestamps(node, clock, now.mono);
        }
    }

    /// Sends the batch; a datagram that cannot be sent is left out.
    fn send(&mut self, now: Monotonic, registry: &Registry) {
        let has_timestamps = self.has_kernel_timestamps();
        let mut rest = &self.sender.outgoing[..];
        while !rest.is_empty() {
            let sent = match self.transport.send(registry, rest) {
                Ok(sent) => sent,
                Err(error) => {
                    self.sender.failures.count_failure(now, &error);
                    0
                }
            };
            let requested = rest[..sent].iter().filter(|transmit| has_timestamps && transmit.stamp.is_some());
            for id in requested.filter_map(|transmit| transmit.stamp) {
                self.timestamps.requested();
                self.hardware.sent(id, now);
                self.sender.timestamps_pending = true;
            }
            rest = &rest[sent.max(1)..];
        }
        self.sender.outgoing.clear();
    }

    /// Gives the node at most a batch of transmit timestamps.
    pub(super) fn take_transmit_timestamps(&mut self, node: &mut impl Node, clock: &impl NodeClock) -> Taken {
        let sender = &mut self.sender;
        if !sender.timestamps_pending {
            return Taken::Nothing;
        }
        let result = self.transport.take_transmit_timestamps(&mut |stamp| sender.reported.push(stamp));
        sender.timestamps_pending = match &result {
            Ok(is_all) => !is_all,
            Err(error) => error.kind() == io::ErrorKind::Interrupted,
        };
        if !sender.reported.is_empty() {
            self.timestamps.read_clocks(clock);
            self.hardware.expect_stamps();
        }
        for TransmitStamp { id, interface, time } in sender.reported.drain(..) {
            let sent_at = match time {
                TransmitTime::Kernel(time) => {
                    let kernel = self.timestamps.convert_sent(time);
                    self.hardware.kernel_has_sent(id, interface, kernel)
                }
                TransmitTime::Card(time) => self.hardware.card_has_sent(id, interface, time),
            };
            if let Some(host) = sent_at {
                node.handle_transmitted(id, clock.raw_at(host));
            }
        }
        if result.is_ok() { Taken::Something } else { Taken::Nothing }
    }

    /// Gives the node the kernel's timestamps of datagrams whose card's timestamp has not come in time, or
    /// that are too many to wait for one.
    pub(super) fn give_up_late_timestamps(
        &mut self,
        node: &mut impl Node,
        clock: &impl NodeClock,
        now: Monotonic,
    ) -> Taken {
        let mut taken = Taken::Nothing;
        while let Some((id, sent_at)) = self.hardware.take_overdue(now) {
            if let Some(host) = sent_at {
                node.handle_transmitted(id, clock.raw_at(host));
                taken = Taken::Something;
            }
        }
        taken
    }

    /// When [`give_up_late_timestamps`](Network::give_up_late_timestamps) is due next; `None`: nothing waits.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        self.hardware.deadline()
    }

    /// Logs how many calls have failed.
    pub(super) fn log_failures(&self) {
        self.sender.failures.log_total();
        self.receiver.failures.log_total();
        self.hardware.log_unused();
    }

    fn has_kernel_timestamps(&self) -> bool {
        self.transport.timestamp_source() == TimestampSource::Kernel
    }
}

/// The kernel's and the card's.
const TIMESTAMPS_OF_A_DATAGRAM: usize = 2;
