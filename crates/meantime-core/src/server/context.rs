//! What all parts of a server work with: its configuration, its members, its timekeeper, its timers, and the
//! queues of what it sends and reports.
//!
//! Each part owns its own state, and gets the context as an argument.

use alloc::collections::VecDeque;

use rand_chacha::ChaCha12Rng;

use super::authentication::Authenticator;
use super::events::EventQueue;
use super::handles::{BurstHandle, Slot};
use super::members::Members;
use super::reference_table::References;
use super::relay_leads::RelayLeads;
use crate::consensus::Timekeeper;
use crate::time::{Monotonic, Span};
use crate::timers::Timers;
use crate::wire::{Body, Flags, Header, Lineage, RoleMessage};
use crate::{ServerConfig, Transmit};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Context {
    pub config: ServerConfig,
    pub authenticator: Authenticator,
    pub timekeeper: Timekeeper,
    pub members: Members,
    pub references: References,
    pub timers: Timers<Timer>,
    pub outgoing: VecDeque<QueuedTransmit>,
    pub events: EventQueue,
    /// What the relays among the members need to pass manual time adjustments on.
    pub relay_leads: RelayLeads,
    /// How many members that had come with another cluster's time were corrected beyond their bounds since
    /// the last round, and by how much at most.
    pub taken_over: (usize, Span),
    /// The servers above a relay.
    pub lineage: Lineage,
    /// What a server of several states of its role.
    pub role: Option<RoleMessage>,
    /// The source of session ids, nonces and cluster ids.
    pub rng: ChaCha12Rng,
}

/// What a server does at a time of its own choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Begin the next round.
    Round,
    /// Conclude this round with the reports that have been received.
    Vote(u32),
    /// Begin the next bursts of this round.
    BeginBursts,
    /// Send the next corrections of the last round.
    SendCorrections,
    /// Remove the members that have been silent for too long.
    Sweep,
    /// Send the probe of this index of this burst, if it was not sent at once after a report.
    Probe(BurstHandle, u8),
    /// End this burst: its reply timeout has passed.
    BurstOver(BurstHandle),
    /// Begin an extra burst with this member, of this session, if it needs one.
    ExtraBurst(Slot, u32),
    /// State a role that has changed to the next members.
    StateRole,
}

/// What waits to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum QueuedTransmit {
    /// A datagram.
    Ready(Transmit),
    /// The next probe of this burst. It is written at the moment of sending, because it contains its
    /// timestamp.
    Probe(BurstHandle),
}

impl Context {
    /// A member states in this header what the nodes below it need. The datagram is genuine and new.
    pub(super) fn note_relay_lead(&mut self, now: Monotonic, header: &Header) {
        self.relay_leads.note(now, header.flags.relay_lead, self.config.lifetime());
    }

    /// How much longer a manual time adjustment is announced for the sake of the members below the relays.
    pub(super) fn relay_lead(&self, now: Monotonic) -> Span {
        self.relay_leads.longest(now, self.config.lifetime()).span().min(self.config.max_relay_lead)
    }

    /// Sends a message to a member.
    pub(super) fn send(&mut self, slot: Slot, round: u32, body: Body) {
        let transmit = self.write(slot, round, body);
        self.outgoing.extend(transmit.map(QueuedTransmit::Ready));
    }

    /// A relay tells a member which servers are above it, and what to add to the time of its scale.
    pub(super) fn tell_relayed_time(&mut self, slot: Slot) {
        if self.timekeeper.is_relay() {
            self.send(slot, 0, Body::Lineage(self.lineage));
        }
        if !self.timekeeper.relayed().is_none() {
            self.send(slot, 0, Body::RelayedTime(*self.timekeeper.relayed()));
        }
    }

    /// A server of several states its role to a member.
    pub(super) fn state_role(&mut self, slot: Slot) {
        if let Some(role) = self.role {
            self.send(slot, 0, Body::Role(role));
        }
    }

    /// Whether the server is a standby server, which measures its members only now and then.
    pub(super) fn is_standby(&self) -> bool {
        self.timekeeper.is_given() && !self.timekeeper.is_relay()
    }

    /// Writes the next datagram of a member's session; `None`: the slot is free, or its key is unknown now.
    pub(super) fn write(&mut self, slot: Slot, round: u32, body: Body) -> Option<Transmit> {
        let path = self.members.path(slot)?;
        let flags =
            Flags { manual_adjustment: self.timekeeper.manual_adjustment().number, ..Flags::default() };
        let member = self.members.at(slot)?;
        let datagram = self.authenticator.write_to_member(member, flags, round, body)?;
        Some(Transmit { path, datagram, stamp: None })
    }

    /// Chooses whether each member's measurements and corrections are reported: if there are few enough
    /// members.
    pub(super) fn choose_per_client_events(&mut self) {
        self.events.choose_per_client_events(self.members.len(), self.config.per_client_event_limit);
    }
}
