//! The references that members offer: their readings on the server's oscillator.
//!
//! A member states how far its reference is from its own base time, and the server has just measured how far
//! that is from the server's oscillator: together that is UTC over the oscillator, with an error of what the
//! member states plus half the delay of the exchange. It is kept that way, so no correction of any clock in
//! between matters.
//!
//! The table has a place for each member that offers a reference, up to a limit. What is older than a
//! lifetime is forgotten.

use alloc::collections::BTreeMap;

use super::handles::Slot;
use super::measurement::Measurement;
use super::missing_references::MissingReferences;
use crate::ServerEvent;
use crate::consensus::reference_vote::{AcceptedUtc, ReferenceInterval};
use crate::consensus::{Timekeeper, UtcConclusion, Weight};
use crate::estimation::bound::STAMP_ALLOWANCE;
use crate::reference::{NoReference, ReferenceReading, ReferenceStanding, UtcState};
use crate::time::{Frequency, Now, Offset, Raw, Span};
use crate::view::{ReferenceView, UtcView};
use crate::wire::{SessionId, StatedReference};

/// The references of all members, and what the last round has made of them.
#[derive(Debug, Default)]
pub(super) struct References {
    pub(super) clients: BTreeMap<Slot, ClientReference>,
    pub(super) own: TrackedReference,
    /// The conclusion of the last round; `None`: there was none.
    pub(super) last: Option<UtcConclusion>,
    /// What the references count that agreed in it.
    pub(super) agreeing: Weight,
    /// Whether the server's own reference is to be read.
    pub(super) reads_own: bool,
    pub(super) missing: MissingReferences,
}

/// A client's reference.
#[derive(Debug)]
pub(super) struct ClientReference {
    pub(super) session: SessionId,
    /// What it has stated, until its clock was measured at the same time.
    pub(super) stated: Option<StatedReference>,
    pub(super) tracked: TrackedReference,
    /// Whether the cluster's time was taken from it: it counts then though the client is a newcomer.
    pub(super) has_founded: bool,
}

/// A reference over the server's oscillator.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TrackedReference {
    /// The newest reading; `None`: there is none now.
    pub(super) reading: Option<ReferenceReading>,
    /// Whether that is of the current round.
    pub(super) heard: bool,
    /// In so many rounds it has agreed with itself.
    pub(super) steady: u32,
    pub(super) standing: ReferenceStanding,
    /// For so many rounds in a row a falseticker has agreed with the majority.
    pub(super) returning: u32,
}

impl TrackedReference {
    /// A new reading. If it contradicts the one before, the reference counts as a new one.
    pub(super) fn note(&mut self, reading: ReferenceReading) {
        let agrees = self.reading.is_some_and(|before| {
            let moved = (reading.phase - before.phase).abs();
            let most = before.max_error + reading.max_error + MOVING.over((reading.at - before.at).abs());
            moved <= most
        });
        self.steady = if agrees { self.steady } else { 0 };
        (self.reading, self.heard) = (Some(reading), true);
        if !agrees && self.standing == ReferenceStanding::Agrees {
            self.standing = ReferenceStanding::New;
        }
    }

    /// A round is over. Forgets a reading that is older than `max_age`.
    pub(super) fn end_round(&mut self, now: Raw, max_age: Span) {
        self.steady = self.steady.saturating_add(u32::from(core::mem::take(&mut self.heard)));
        if self.reading.is_some_and(|reading| now - reading.at > max_age) {
            *self = TrackedReference::default();
        }
    }

    /// What it states at `now`, if it has agreed with itself for long enough; UTC runs over the oscillator at
    /// `rate`.
    pub(super) fn interval(&self, now: Raw, rate: Frequency, weight: Weight) -> Option<ReferenceInterval> {
        let reading = self.reading.filter(|_| self.steady >= STEADY_ROUNDS)?;
        let age = now - reading.at;
        let middle = reading.phase + rate.over(age);
        Some(ReferenceInterval { middle, reach: reading.max_error + AGEING.over(age.abs()), weight })
    }

    /// What is known of it, the clocks showing what the oscillator does plus `shown`.
    pub(super) fn view(&self, now: Raw, shown: Span) -> Option<ReferenceView> {
        let reading = self.reading?;
        let offset = Offset::ahead_by(reading.phase - shown);
        let (error, ago) = (reading.max_error, now - reading.at);
        Some(ReferenceView { offset, error, ago, standing: self.standing })
    }

    /// What it states at `now`, if it has agreed with itself for long enough, and how it has stood so far.
    pub(super) fn states(
        &self,
        now: Raw,
        rate: Frequency,
        weight: Weight,
    ) -> Option<(ReferenceStanding, ReferenceInterval)> {
        Some((self.standing, self.interval(now, rate, weight)?))
    }

    /// The vote's judgement. A falseticker has to agree for some time to be none any more. Returns the
    /// reference minus UTC if its standing has changed, and whether it was a falseticker before.
    pub(super) fn judge(
        &mut self,
        now: Raw,
        rate: Frequency,
        accepted: &AcceptedUtc,
    ) -> Option<(bool, Offset)> {
        let interval = self.interval(now, rate, Weight::ONE)?;
        let was_falseticker = self.standing == ReferenceStanding::Falseticker;
        let agrees = accepted.includes(&interval);
        self.returning = if agrees && was_falseticker { self.returning + 1 } else { 0 };
        let stays_out = was_falseticker && self.returning < STEADY_ROUNDS;
        self.standing = match agrees && !stays_out {
            true => ReferenceStanding::Agrees,
            false => ReferenceStanding::Falseticker,
        };
        let is_falseticker = self.standing == ReferenceStanding::Falseticker;
        let offset = Offset::ahead_by(interval.middle - accepted.middle);
        (was_falseticker != is_falseticker).then_some((was_falseticker, offset))
    }
}

impl References {
    /// The client's reference, as the server knows it.
    pub(super) fn view_of(&self, slot: Slot, now: Now, timekeeper: &Timekeeper) -> Option<ReferenceView> {
        self.clients.get(&slot)?.tracked.view(now.raw, timekeeper.shown_phase(now.raw))
    }

    /// How the cluster's time stands to UTC; `None`: no reference is offered, and none is followed.
    pub(super) fn view(&self, now: Now, timekeeper: &Timekeeper) -> Option<UtcView> {
        let own = self.own.view(now.raw, timekeeper.shown_phase(now.raw));
        let offered = self.clients.values().filter(|client| client.tracked.reading.is_some()).count();
        if self.last.is_none() && offered == 0 && own.is_none() {
            return None;
        }
        let all = self.clients.values().map(|client| &client.tracked).chain([&self.own]);
        let agreeing = all.filter(|tracked| tracked.standing == ReferenceStanding::Agrees).count();
        Some(UtcView {
            state: self.last.map_or(UtcState::NotFollowed, |last| last.state),
            offset: self.last.and_then(|last| last.offset),
            error: self.last.and_then(|last| last.accepted).map(|utc| utc.reach()),
            offered: offered + usize::from(own.is_some()),
            agreeing,
            own,
        })
    }

    /// A round begins; the server's own reference is to be read, if it offers one.
    pub(super) fn begin_round(&mut self, offers_reference: bool) {
        self.reads_own = offers_reference;
    }

    /// Whether the server's own reference is to be read now.
    pub(super) fn wants_own(&mut self) -> bool {
        core::mem::take(&mut self.reads_own)
    }

    /// The server's own reference was read. Reports that there is one now, or none.
    pub(super) fn note_own(&mut self, reading: Result<ReferenceReading, NoReference>) -> Option<ServerEvent> {
        match reading {
            Ok(reading) => self.own.note(reading),
            Err(_) => self.own = TrackedReference::default(),
        }
        self.missing.note_own(reading.map(|reading| reading.max_error))
    }

    /// The server's oscillator has stood still: no reading is right any more.
    pub(super) fn forget(&mut self) {
        self.clients.clear();
        self.own = TrackedReference::default();
    }

    /// Whether less than half of the table is taken: the rest is for references that are followed.
    pub(super) fn has_much_room(&self) -> bool {
        self.clients.len() < MAX_REFERENCES / 2
    }

    /// The place of a client that offers a reference; `None`: there is no room for one more.
    pub(super) fn place(&mut self, slot: Slot, session: SessionId) -> Option<&mut ClientReference> {
        if self.clients.len() >= MAX_REFERENCES && !self.clients.contains_key(&slot) {
            return None;
        }
        let tracked = TrackedReference::default();
        let new = || ClientReference { session, stated: None, tracked, has_founded: false };
        let client = self.clients.entry(slot).or_insert_with(new);
        if client.session != session {
            *client = new();
        }
        Some(client)
    }
}

impl ClientReference {
    /// Puts what the client has stated on the server's oscillator, whose rate the cluster's time exceeds by
    /// `rate`, if its clock was measured in the same burst.
    pub(super) fn match_with(&mut self, measured: Option<Measurement>, rate: Frequency) {
        let Some((stated, measured)) = self.stated.zip(measured) else { return };
        if let Some(reading) = on_oscillator(&stated, &measured, rate) {
            self.stated = None;
            self.tracked.note(reading);
        }
    }
}

/// What a client states, on the server's oscillator. `None`: its clock was measured at another time, and may
/// have been adjusted in between.
fn on_oscillator(
    stated: &StatedReference,
    measured: &Measurement,
    rate: Frequency,
) -> Option<ReferenceReading> {
    // The client's base time in the middle of the exchange.
    let base = measured.at() + measured.phase;
    let later = Span::from_nanos(stated.at.as_nanos()) - Span::from_nanos(base.as_nanos());
    let phase = measured.phase + rate.over(later);
    (later.abs() <= SAME_BURST).then(|| ReferenceReading {
        at: Raw::from_nanos(stated.at.as_nanos()) - phase,
        phase: phase + stated.offset,
        max_error: stated.max_error + measured.delay.half() + STAMP_ALLOWANCE,
    })
}

/// A reference takes part after it has agreed with itself for so many rounds.
const STEADY_ROUNDS: u32 = 12;
/// How fast a reference may move over the server's oscillator: as fast as systems slew their clocks.
const MOVING: Frequency = Frequency::from_ppm(500.0);
/// How fast a reading becomes uncertain.
const AGEING: Frequency = Frequency::from_ppm(50.0);
/// A reading and the measurement of its client's clock belong together if they are not farther apart than
/// this: corrections follow later.
const SAME_BURST: Span = Span::from_secs(1);
/// The most references that are stored.
const MAX_REFERENCES: usize = 1_024;
