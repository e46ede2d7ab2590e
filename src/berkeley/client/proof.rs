//! What the client can guarantee: it feeds its [bound](crate::berkeley::bound) and reads it; and what becomes of
//! it all when the machine has slept.
//!
//! The bound is a distance from the time that *this session's* server carries. So it begins anew with every
//! session, and after every gap that is long enough for the server to have been replaced or deposed meanwhile.

use super::{Client, Link, UNKNOWN_FREQUENCY};
use crate::berkeley::ClientEvent;
use crate::berkeley::bound::Proof;
use crate::berkeley::event::Adjustment;
use crate::berkeley::exchange::Exchange;
use crate::time::{Frequency, Now, Raw, Span, Timestamp};
use crate::wire::{ClientState, Correction};

impl Client {
    /// The largest difference between the cluster's true rate over this oscillator and the clock's frequency.
    pub(super) fn rho(&self, raw: Raw) -> Frequency {
        self.bound.rho(self.discipline.estimate(raw).map(|known| known.frequency_error))
    }

    /// One standard deviation of what the clock's frequency may be off.
    pub(super) fn frequency_error(&self, raw: Raw) -> Frequency {
        self.discipline.estimate(raw).map_or(UNKNOWN_FREQUENCY, |known| known.frequency_error)
    }

    /// The guaranteed distance of the published clock from the cluster's time.
    pub(super) fn bound_at(&self, raw: Raw) -> Option<Span> {
        let phase = self.timescale.phase_at(raw) + self.timescale.residue_at(raw);
        self.bound.of(raw, phase, self.rho(raw)).filter(|_| self.state.has_cluster_time())
    }

    /// Takes in what the exchanges of a burst prove. The one that the Correction speaks of may have been `guessed`:
    /// then it proves nothing.
    pub(super) fn prove(
        &mut self,
        now: Now,
        told: &Correction,
        guessed: bool,
        burst: &[Exchange<Timestamp, Raw>],
    ) {
        let rho = self.rho(now.raw);
        let early = self.config.asymmetry.half();
        let Link::Member(session) = &mut self.link else { return };
        let guess = session.memory.find(told.about).filter(|_| guessed).map(|sent| sent.t2);
        let gap = now.mono - session.corrected > session.terms.lifetime;
        if !session.proved || session.new_cluster || gap || told.learning {
            self.bound.forget();
        }
        session.proved = !told.learning;
        self.bound.set_pace(now.raw, told.brisk, rho);
        let mut broken = None;
        for exchange in burst.iter().filter(|exchange| !told.learning && Some(exchange.t2) != guess) {
            if exchange.delay() < Span::ZERO {
                continue;
            }
            // What somebody knows about the asymmetry is knowledge, not proof.
            let seen = Exchange { t2: exchange.t2 + early, t3: exchange.t3 + early, ..*exchange };
            if let Proof::Broke(gap) = self.bound.prove(&seen, rho) {
                broken = broken.max(Some(gap));
            }
        }
        if let Some(gap) = broken {
            self.events.push_back(ClientEvent::BoundBroken { gap });
        }
    }

    /// The machine slept, and the oscillator stood still. What the clock shows is put right as far as the machine
    /// knows for how long; but that is nothing to rely on: the client has to be synchronized like a new one.
    pub(super) fn wake_up(&mut self, now: Now, slept: Span) {
        let phase = self.timescale.phase_at(now.raw) + slept;
        self.timescale.set(now.raw, phase, self.timescale.frequency(), Adjustment::Step);
        self.bound.forget();
        self.state = ClientState::Unsynchronized;
        self.events.push_back(ClientEvent::Suspended { slept });
        if matches!(self.link, Link::Member(_)) {
            self.enter_again();
        }
    }
}
