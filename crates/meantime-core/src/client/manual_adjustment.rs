//! The cluster's time, set by hand, at a client.
//!
//! What the client agrees on with its server is the base time; what it shows is that and what the setting
//! adds, as [`setting`](crate::manual_adjustment) derives. It follows a setting from the server that keeps
//! the time it has, and tells its own to one that does not know the time yet. A client without the cluster's
//! time shows no setting: it has to be told first.

use super::{Client, Link, Outgoing, Session};
use crate::config::PLAUSIBLE_FOR;
use crate::event::{Adjustment, Refusal};
use crate::manual_adjustment::{MAX_SLEW_DURATION, lead};
use crate::time::{Correction, Now, Raw, Span, Timestamp};
use crate::wire::{Body, ClusterId, ManualAdjustment};
use crate::{ClientEvent, Fate};

/// Whether this client knows what its server knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Awareness {
    /// The server's last word was of a setting that this client does not know.
    unaware: bool,
    /// When the server's last word was of none that it does not know.
    since: Raw,
}

impl Awareness {
    /// Nobody has told of a setting.
    pub(super) fn begin(raw: Raw) -> Awareness {
        Awareness { unaware: false, since: raw }
    }
}

impl Client {
    /// What the clock shows.
    pub(super) fn shown(&self, raw: Raw) -> Timestamp {
        self.setting.shown(self.timescale.published(raw))
    }

    /// The setting that a clock that takes this server's word has.
    pub(super) fn target(&self) -> ManualAdjustment {
        match &self.link {
            Link::Member(session) => session.setting,
            Link::Entering(_) => self.setting,
        }
    }

    /// The server's datagram says which setting is the newest.
    pub(super) fn note_setting(&mut self, now: Now, number: u8) {
        let Link::Member(session) = &self.link else { return };
        if session.terms.cluster == ClusterId::default() {
            // It does not know.
            return;
        }
        // A server that counts none has overruled whatever this client knows from before.
        let overruled = number == 0 && session.setting.number != 0;
        self.awareness.unaware = session.number != number || overruled;
        if !self.awareness.unaware {
            self.awareness.since = now.raw;
        }
    }

    /// Whether the time that the server tells lacks a setting that this client does not know yet.
    pub(super) fn is_unaware(&self) -> bool {
        self.awareness.unaware
    }

    /// Whether the server, which has not said yet whose time it keeps, counts another setting than this
    /// client does: then it may be another cluster's time, and the next Probe says whose.
    pub(super) fn knows_another_time(&self, number: u8) -> bool {
        let Link::Member(session) = &self.link else { return false };
        session.terms.cluster == ClusterId::default() && session.number != number
    }

    /// Whether a setting may have begun that this client does not know.
    pub(super) fn may_have_missed(&self, raw: Raw) -> bool {
        let Link::Member(session) = &self.link else { return false };
        self.awareness.unaware && raw - self.awareness.since > lead(session.terms.interval)
    }

    /// Tells a server that does not know the cluster's time yet what that was set by.
    pub(super) fn tell_setting(&mut self) {
        let Link::Member(session) = &self.link else { return };
        if session.terms.cluster == ClusterId::default() && session.number != 0 {
            self.outgoing.push_back(Outgoing::Ready(Body::ManualAdjustment(session.setting)));
        }
    }

    /// Somebody has set the time.
    pub(super) fn handle_setting(&mut self, now: Now, told: &ManualAdjustment) -> Fate {
        let Link::Member(session) = &mut self.link else { return Fate::Session };
        session.heard = now.mono;
        if told.cluster != session.terms.cluster || told.cluster == ClusterId::default() {
            return Fate::Unasked;
        }
        if !told.is_newer(session.number) {
            return Fate::Superseded;
        }
        let follows = self.state.has_cluster_time() && self.cluster == told.cluster;
        let refusal = self.refuses_setting(now, told, follows);
        let Link::Member(session) = &mut self.link else { return Fate::Session };
        session.refused_setting = refusal;
        if let Some(reason) = refusal {
            self.refuse(now, 0, Correction::adding(told.amount), reason);
            return Fate::Accepted;
        }
        (session.setting, session.number) = (*told, told.number);
        self.awareness = Awareness::begin(now.raw);
        if follows {
            self.follow_setting(now, *told);
        }
        Fate::Accepted
    }

    /// The server's time was set by nobody: what this client knows of it from an earlier server is void.
    /// Returns why it does not accept that, if it does not.
    pub(super) fn unset(&mut self, now: Now) -> Option<Refusal> {
        let Link::Member(session) = &self.link else { return None };
        let decided = session.terms.cluster != ClusterId::default();
        if !decided || session.number != 0 || session.setting.number == 0 {
            return None;
        }
        let none = ManualAdjustment::NONE;
        let refusal = self.refuses_late(now, &none);
        let Link::Member(session) = &mut self.link else { return None };
        if refusal.is_none() {
            session.setting = none;
            self.awareness = Awareness::begin(now.raw);
            self.follow_setting(now, none);
        }
        refusal
    }

    /// From now on the clock shows what this setting says. If that has begun already, it makes good for what
    /// it has missed.
    fn follow_setting(&mut self, now: Now, setting: ManualAdjustment) {
        let late = self.missed(now, &setting);
        let adjustment = match late.abs() > self.config.step_threshold {
            true => Adjustment::Step,
            false => Adjustment::Slew,
        };
        let news = !setting.does_as(&self.setting);
        self.take_setting(now, setting, adjustment);
        if news {
            let late = Correction::adding(late);
            self.events.push_back(ClientEvent::TimeSet { manual_adjustment: setting, late, adjustment });
        }
    }

    /// The clock has another setting from now on. Slewing, it shows the same for now.
    pub(super) fn take_setting(&mut self, now: Now, setting: ManualAdjustment, adjustment: Adjustment) {
        if adjustment == Adjustment::Slew && !setting.does_as(&self.setting) {
            let base = setting.base_of(self.shown(now.raw));
            self.timescale.show(now.raw, base);
        }
        self.setting = setting;
    }

    /// How much more this setting shows now than the one that the clock has.
    fn missed(&self, now: Now, setting: &ManualAdjustment) -> Span {
        setting.shown(self.timescale.published(now.raw)) - self.shown(now.raw)
    }

    fn refuses_setting(&self, now: Now, told: &ManualAdjustment, follows: bool) -> Option<Refusal> {
        let (from, base) = (self.config.plausible_from, self.timescale.published(now.raw));
        let over = told.start + told.before + told.amount;
        if over < from || over > from + PLAUSIBLE_FOR {
            return Some(Refusal::ImplausibleTime);
        }
        if told.length() > MAX_SLEW_DURATION {
            return Some(Refusal::SlewTooLong);
        }
        if !follows {
            // That is for the Correction to say with which it gets there.
            return None;
        }
        let later = (told.step_after(base) > self.config.max_step).then_some(Refusal::StepTooLarge);
        later.or_else(|| self.refuses_late(now, told))
    }

    /// Why what this clock has missed of a setting is not acceptable, if it is not.
    fn refuses_late(&self, now: Now, told: &ManualAdjustment) -> Option<Refusal> {
        let late = self.missed(now, told).abs();
        (late > self.config.step_threshold.max(self.config.max_step)).then_some(Refusal::StepTooLarge)
    }
}

impl Session {
    /// What a session's server is taken to know that keeps this cluster's time: as much as the client, if
    /// that is its own time or not decided yet. The numbers count within a session alone: what another server
    /// of the same time took over from its members may be older than what this one knows, or another setting
    /// of the same number. So the server's first word is news.
    pub(super) fn begin_setting(&mut self, own: &ManualAdjustment, cluster: ClusterId) {
        let unknown = self.terms.cluster == ClusterId::default();
        let same = unknown || cluster == self.terms.cluster;
        self.setting = if same { *own } else { ManualAdjustment::NONE };
        self.number = if unknown { own.number } else { 0 };
        self.refused_setting = None;
    }
}
