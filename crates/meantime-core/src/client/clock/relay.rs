//! A client's clock and relays: the clock of a relay's client, and the time that the client of a relay gives
//! to its server ([`relayed_time`](crate::relayed_time)).

use super::MemberClock;
use crate::ClientEvent;
use crate::client::outbox::Outbox;
use crate::client::published_clock::ToldTime;
use crate::event::Adjustment;
use crate::manual_adjustment::lead;
use crate::relayed_time::ExternalTime;
use crate::time::{Frequency, Raw, Span};
use crate::wire::RelayedTime;

impl MemberClock {
    /// The time that the clock follows, for a server on the same machine; `None`: the clock has none.
    pub(in crate::client) fn external_time(&self, raw: Raw, interval: Option<Span>) -> Option<ExternalTime> {
        let known = self.estimate(raw)?;
        let (scale, relayed) = (self.published.scale(), self.published.relayed());
        let newest = self.published.newest_relayed();
        let apart = Frequency::from_ratio((newest.rate - relayed.rate).ratio().abs());
        let (phase, frequency, shown) = (scale.phase_at(raw), scale.frequency(), scale.estimate(raw));
        let rate = (1.0 + frequency.ratio()) * (1.0 + relayed.rate.ratio()) - 1.0;
        let rho = self.rho(raw);
        let bound = self.bound.of(raw, phase, rho).filter(|_| !self.may_miss_adjustment(raw, interval));
        let (growth, acceleration) = self.bound.growth_at(raw, rho);
        Some(ExternalTime {
            cluster: self.published.cluster(),
            state: self.published.state(),
            at: raw,
            phase: phase + relayed.difference_at(shown),
            frequency: Frequency::from_ratio(rate),
            bound: bound.and_then(|bound| self.published.base_reach(shown, bound)),
            bound_until: interval.and_then(|interval| self.knows_until(raw, interval)),
            growth: growth + newest.growth_at(shown) + apart,
            acceleration: acceleration + newest.acceleration,
            error: self.error_of(raw, &known, Span::ZERO)?,
            frequency_error: self.frequency_error(&known),
            residue: self.published.residue(raw),
            manual_adjustment: *self.published.manual(),
        })
    }

    /// Until when, as is known at `raw`, no manual adjustment can begin of which a relay would have told the
    /// clock: for some rounds after it has told its newest line. Before the first line of a session, the last
    /// one of the session before counts, or when a server that is no relay was heard last. `None`: the server
    /// is no relay.
    pub(super) fn told_until(&self, raw: Raw, interval: Span) -> Option<Raw> {
        let line = self.published.newest_relayed();
        let told = match line.is_none() {
            true if self.scale_of == self.session => return None,
            true => self.awareness.since(),
            false => raw + (line.at - self.published.scale_time(raw)),
        };
        // What was told in an earlier session holds for four rounds of that one.
        Some(told + lead(interval.min(self.scale_of.interval)))
    }

    /// The clock follows another server, which is no relay: its scale shows base time, to within the bound of
    /// this line.
    pub(in crate::client) fn change_server(&mut self, raw: Raw, line: RelayedTime) {
        if !self.published.relayed().is_none() || !line.is_none() {
            self.change_scale(raw, line);
        }
        self.scale_of = self.session;
    }

    /// The relay of the session, whose cluster's time the clock has, tells this. A relay may begin another
    /// scale between two sessions. A change that needs a step takes effect with the correction behind it, or
    /// is refused with it.
    pub(in crate::client) fn follow_relayed(&mut self, raw: Raw, relayed: RelayedTime, outbox: &mut Outbox) {
        if self.scale_of != self.session {
            self.scale_of = self.session;
            self.change_scale(raw, relayed);
            return;
        }
        let scale = self.published.scale_time(raw);
        let known = self.published.newest_relayed();
        let apart = (relayed.difference_at(scale) - known.difference_at(scale)).abs();
        let bounds = known.bound_at(scale).zip(relayed.bound_at(scale));
        if let Some(gap) = bounds.map(|(one, other)| apart - one - other).filter(|gap| *gap > Span::ZERO) {
            outbox.report(ClientEvent::BoundBroken { gap });
        }
        let missed = self.published.missed_relayed(raw, &relayed);
        let refused = self.refuses_change(raw, relayed.rate).is_some();
        if refused || self.limits.adjustment_for(missed) == Adjustment::Step {
            self.published.note_newer(relayed);
        } else {
            let told = ToldTime { relayed, manual: *self.published.manual() };
            self.published.set_told(raw, &told, Adjustment::Slew);
        }
    }

    /// Another server keeps the same base time, on a scale from which base time differs by this. Both scales
    /// are known against base time, so all that is learned and proved is kept.
    fn change_scale(&mut self, raw: Raw, relayed: RelayedTime) {
        let rho = self.rho(raw);
        let known = *self.published.newest_relayed();
        let before = self.published.scale().estimate(raw);
        let after = relayed.scale_of(known.base_of(before));
        let rate = 1.0 + self.published.frequency().ratio();
        let faster = (1.0 + known.rate.ratio()) / (1.0 + relayed.rate.ratio()) - 1.0;
        let change = (after - before, Frequency::from_ratio(rate * faster));
        self.discipline.change_scale(raw, change);
        let reach = known.bound_at(before).zip(relayed.bound_at(after)).map(|(one, other)| one + other);
        self.bound.change_scale(raw, change, reach, rho);
        self.published.change_scale(raw, change, relayed);
    }
}
