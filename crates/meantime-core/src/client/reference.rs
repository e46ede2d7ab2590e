//! The reference that a client's machine has: when to read it, and what to tell the server of it.
//!
//! It is read right after the last probe of a burst was answered, so that the server has just measured the
//! client's clock when it learns how far the reference is from it. A reading that is lost on the way is not
//! repeated: the next burst brings another.

use super::outbox::Outbox;
use super::published_clock::PublishedClock;
use crate::reference::{NoReference, ReferenceReading};
use crate::time::{Now, Span};
use crate::wire::{Body, Message, Reference, StatedReference};
use crate::{Action, ClientEvent, Fate};

/// What a client offers.
#[derive(Debug)]
pub(super) struct ReferenceOffer {
    offered: bool,
    /// Whether there was a reference when it was last read; `None`: it was not read yet.
    last: Option<Result<(), NoReference>>,
}

impl ReferenceOffer {
    /// A client that offers its machine's reference, or none.
    pub(super) fn new(offered: bool) -> ReferenceOffer {
        ReferenceOffer { offered, last: None }
    }

    /// A datagram of the server was handled: after the last probe of a burst, asks for a reading.
    pub(super) fn after(&self, message: &Message, fate: Fate, outbox: &mut Outbox) {
        if let Body::Probe(probe) = &message.body
            && self.offered
            && fate == Fate::Accepted
            && probe.index.saturating_add(1) >= probe.burst
        {
            outbox.actions.push_back(Action::ReadReference);
        }
    }

    /// The reading, which was taken just now. It is sent while the client is registered.
    pub(super) fn handle_reading(
        &mut self,
        now: Now,
        reading: Result<ReferenceReading, NoReference>,
        clock: &PublishedClock,
        registered: bool,
        outbox: &mut Outbox,
    ) {
        if !self.offered {
            return;
        }
        let outcome = reading.map(drop);
        if self.last.replace(outcome) != Some(outcome) {
            outbox.report(match reading {
                Ok(reading) => ClientEvent::ReferenceGained { max_error: reading.max_error },
                Err(reason) => ClientEvent::ReferenceLost { reason },
            });
        }
        let stated = reading.ok().filter(|reading| (now.raw - reading.at).abs() <= MAX_AGE);
        let stated = stated.map(|reading| {
            let at = clock.scale_time(reading.at);
            let ahead = Span::from_nanos(at.as_nanos()) - Span::from_nanos(reading.at.as_nanos());
            StatedReference { at, offset: reading.phase - ahead, max_error: reading.max_error }
        });
        if registered {
            outbox.send(Body::Reference(Reference { stated }));
        }
    }
}

/// A reading that took longer belongs to another moment: the machine stood still meanwhile.
const MAX_AGE: Span = Span::from_secs(1);
