//! What the client can guarantee: it feeds its [bound](crate::estimation::bound) and reads it; and what
//! becomes of it all when the machine has slept.
//!
//! The bound is a distance from the time that *this session's* server carries. So it begins anew with every
//! session, and after every gap that is long enough for the server to have been replaced or deposed
//! meanwhile.

use super::{Client, Link, UNKNOWN_FREQUENCY};
use crate::ClientEvent;
use crate::estimation::exchange::Exchange;
use crate::event::Adjustment;
use crate::time::{Frequency, Now, Raw, Span, Timestamp};
use crate::wire::{ClientState, CorrectionMessage, ManualAdjustment};

impl Client {
    /// The largest difference between the cluster's true rate over this oscillator and the clock's frequency.
    pub(super) fn rho(&self, raw: Raw) -> Frequency {
        self.bound.rho(self.estimator.estimate(raw).map(|known| known.frequency_error))
    }

    /// One standard deviation of what the clock's frequency may be off.
    pub(super) fn frequency_error(&self, raw: Raw) -> Frequency {
        self.estimator.estimate(raw).map_or(UNKNOWN_FREQUENCY, |known| known.frequency_error)
    }

    /// One standard deviation of the published clock's estimated distance from the cluster's time: what is
    /// not known, what is still slewed away, and how far the cluster's time may have been steered since the
    /// server was heard. What is guaranteed limits it.
    pub(super) fn error_at(&self, raw: Raw) -> Option<Span> {
        let known = self.estimator.estimate(raw).filter(|_| self.state.has_cluster_time())?;
        let parts = [known.error, self.timescale.residue_at(raw), self.bound.unheard(raw)];
        let squares: f64 = parts.iter().map(|part| part.as_secs_f64().powi(2)).sum();
        let error = Span::from_secs_f64(squares.sqrt());
        Some(self.bound_at(raw).map_or(error, |bound| error.min(bound)))
    }

    /// The guaranteed distance of the published clock from the cluster's time.
    pub(super) fn bound_at(&self, raw: Raw) -> Option<Span> {
        let phase = self.timescale.phase_at(raw) + self.timescale.residue_at(raw);
        let certain = self.state.has_cluster_time() && !self.may_have_missed(raw);
        let bound = self.bound.of(raw, phase, self.rho(raw)).filter(|_| certain)?;
        Some(self.setting.reach(self.timescale.published(raw), bound))
    }

    /// Takes in what the exchanges of a burst prove. The one that the Correction speaks of may have been
    /// `guessed`: then it proves nothing.
    pub(super) fn prove(
        &mut self,
        now: Now,
        told: &CorrectionMessage,
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
        let proving = burst.iter().filter(|exchange| {
            !told.learning && Some(exchange.t2) != guess && exchange.delay() >= Span::ZERO
        });
        // What somebody knows about the asymmetry is knowledge, not proof.
        let seen = proving.map(|exchange| Exchange {
            t2: exchange.t2 + early,
            t3: exchange.t3 + early,
            ..*exchange
        });
        if let Some(gap) = self.bound.prove_burst(seen, rho) {
            self.events.push_back(ClientEvent::BoundBroken { gap });
        }
    }

    /// The machine slept, and the oscillator stood still. What the clock shows is put right as far as the
    /// machine knows for how long; but that is nothing to rely on: the client has to be synchronized like a
    /// new one.
    pub(super) fn wake_up(&mut self, now: Now, slept: Span) {
        let added = self.setting.added_at(self.timescale.estimate(now.raw));
        let phase = self.timescale.phase_at(now.raw) + slept + added;
        self.setting = ManualAdjustment::NONE;
        self.timescale.set(now.raw, phase, self.timescale.frequency(), Adjustment::Step);
        self.bound.forget();
        self.state = ClientState::Unsynchronized;
        self.events.push_back(ClientEvent::Suspended { slept });
        if matches!(self.link, Link::Member(_)) {
            self.enter_again();
        }
    }
}
