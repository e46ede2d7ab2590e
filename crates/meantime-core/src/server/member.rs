//! What the server keeps of one client: as little as will do, for there may be a hundred thousand of them.
//!
//! A member takes 216 bytes and its places in the tables 14 to 23 more, and for two minutes 26 for a timer;
//! `benches/memory.rs` and `tests/scale.rs` hold it to 256 in all. So numbers are no wider than what they
//! say: moments that only matter for a while are ticks of a millisecond that wrap around after weeks, delays
//! and errors are 32 bits of nanoseconds, as they are on the wire, and what a burst needs while it goes on is
//! kept [elsewhere](super::burst). What comes out is as wide as everywhere else.

use core::net::SocketAddr;

use super::burst::Measured;
use super::members::Slot;
use super::packed::{Address, Claim, Coarse, Marks, NONE, Packed, Quality, Sides, Ticks, Told, narrow, wide};
use crate::consensus;
use crate::event::{Exclusion, Peer};
use crate::time::{Correction, Frequency, Monotonic, Raw, Span};
use crate::wire::{
    ClientState, ClusterId, Flags, Header, KeyId, ManualAdjustment, Name, NodeId, Report, SessionId, Verdict,
    is_newer,
};

/// A registered client.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// The process that registered.
    pub node: NodeId,
    /// Its session.
    pub session: SessionId,
    /// The cluster that it carried when it registered.
    pub cluster: ClusterId,
    /// Its name.
    pub name: Name,
    address: Address,
    /// Which of our addresses it talks to, by its number in the table of those.
    pub local: u16,
    /// How its clock stands, by its own word.
    pub state: ClientState,
    /// The number of the newest setting of the cluster's time that it knows; 0: none.
    pub setting: u8,
    /// The vote's word on its clock.
    pub verdict: Verdict,
    /// Why the vote leaves it out, if it does.
    pub exclusion: Option<Exclusion>,
    /// In which of the last rounds it was heard.
    pub history: History,
    marks: Marks,
    /// The nonce of its Register: the same again is a repetition, not a new registration.
    nonce: u64,
    /// When it was let in.
    admitted: Coarse,
    /// When something valid was heard of it last.
    heard: Ticks,
    /// Datagrams sent to it in this session.
    pub sequence: u32,
    /// The number of the newest datagram of its session that was heard, where tags vouch for numbers.
    newest: u32,
    /// The key that it used last.
    pub key: KeyId,
    /// Its burst that goes on, by its place among those; `NONE`: none does.
    burst: u32,
    /// The round of its burst, going on or the last.
    pub round: u32,
    /// How many reports of the last burst were heard.
    pub answered: u8,
    /// The result of the last burst that had one.
    reading: Packed,
    /// Its last exchange, if the client does not have our side of it yet.
    last: Sides,
    /// The last Correction sent to it, until it is known to have arrived.
    told: Told,
    quality: Quality,
    /// Its usual delays.
    pub delays: Delays,
    claim: Claim,
    /// Until then it is measured more often than once a round: its path and its frequency are new.
    new_until: Ticks,
    /// Until then it is, too, if it needs that.
    hurry_until: Ticks,
}

/// What there is to say of a new member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newcomer {
    /// Where it is.
    pub address: SocketAddr,
    /// The process that registers.
    pub node: NodeId,
    /// Its session.
    pub session: SessionId,
    /// Its name.
    pub name: Name,
    /// The nonce of its Register.
    pub nonce: u64,
    /// The key that has tagged its Register.
    pub key: KeyId,
    /// How its clock stands.
    pub state: ClientState,
    /// The cluster that it carries.
    pub cluster: ClusterId,
}

impl Member {
    /// A member that was let in now, and talks to the address of ours that has this number.
    pub(super) fn new(now: Monotonic, newcomer: &Newcomer, local: u16) -> Member {
        Member {
            node: newcomer.node,
            session: newcomer.session,
            cluster: newcomer.cluster,
            name: newcomer.name,
            address: Address::from(newcomer.address),
            local,
            state: newcomer.state,
            setting: 0,
            verdict: Verdict::Unjudged,
            exclusion: None,
            history: History::default(),
            marks: Marks::default(),
            nonce: newcomer.nonce,
            admitted: Coarse::at(now),
            heard: Ticks::at(now),
            sequence: 0,
            newest: 0,
            key: newcomer.key,
            burst: NONE,
            round: 0,
            answered: 0,
            reading: Packed::default(),
            last: Sides::default(),
            told: Told::default(),
            quality: Quality::UNKNOWN,
            delays: Delays::default(),
            claim: Claim::default(),
            new_until: Ticks::at(now),
            hurry_until: Ticks::at(now),
        }
    }

    /// Where it is.
    pub(super) fn address(&self) -> SocketAddr {
        self.address.into()
    }

    /// As people know it.
    pub(super) fn peer(&self) -> Peer {
        Peer { name: self.name, address: self.address() }
    }

    /// Whether a Register with this nonce, of this process, is the one that has made it a member.
    pub(super) fn has_registered_with(&self, node: NodeId, nonce: u64) -> bool {
        self.node == node && self.nonce == nonce
    }

    /// The nonce of its Register.
    pub(super) fn nonce(&self) -> u64 {
        self.nonce
    }

    /// For how long it has been a member.
    pub(super) fn admitted_ago(&self, now: Monotonic) -> Span {
        self.admitted.until(now)
    }

    /// A sign of life; false if it is an old one once more, which only numbers that a tag vouches for can
    /// tell.
    pub(super) fn hear(&mut self, now: Monotonic, header: &Header) -> bool {
        let fresh = header.key_id == KeyId::NONE || is_newer(header.sequence, self.newest);
        if fresh {
            (self.heard, self.newest, self.key) = (Ticks::at(now), header.sequence, header.key_id);
        }
        fresh
    }

    /// The number of the next datagram to it: never 0.
    pub(super) fn next_number(&self) -> u32 {
        self.sequence.wrapping_add(1).max(1)
    }

    /// Forgets what it said of its frequency too long ago, before the moment of that seems to be a recent one
    /// again.
    pub(super) fn forget_old_claim(&mut self, now: Monotonic) {
        if self.claim.is_old(now) {
            self.claim = Claim::default();
        }
    }

    /// Since when nothing valid was heard of it.
    pub(super) fn silent(&self, now: Monotonic) -> Span {
        self.heard.until(now)
    }

    /// Takes over what a Report says of its clock; `sure`: its frequency is known well enough to count.
    pub(super) fn take_word(&mut self, now: Monotonic, report: &Report, flags: Flags, sure: Frequency) {
        let state = flags.state;
        (self.state, self.setting) = (state, flags.manual_adjustment);
        self.quality = Quality::of(report);
        self.marks.set(Marks::STATED, true);
        if state.has_cluster_time() && report.frequency_error <= sure {
            self.claim = Claim::new(now, report);
        } else if !state.has_cluster_time() || self.claim.is_old(now) {
            self.claim = Claim::default();
        }
    }

    /// One standard deviation of its estimated distance from cluster time, by its own word.
    pub(super) fn error(&self) -> Option<Span> {
        wide(self.quality.error)
    }

    /// Its guaranteed distance from cluster time, by its own word.
    pub(super) fn bound(&self) -> Option<Span> {
        wide(self.quality.bound)
    }

    /// The same, if it has said so since it was asked in round `round`.
    pub(super) fn bound_of(&self, round: u32) -> Option<Span> {
        self.bound().filter(|_| self.round == round && self.marks.has(Marks::STATED))
    }

    /// What it says of its frequency, if it is sure of it and has said so not too long ago.
    pub(super) fn claim(&self, now: Monotonic) -> Option<consensus::FrequencyReport> {
        self.claim.get(now)
    }

    /// The result of the last burst that had one.
    pub(super) fn reading(&self) -> Option<Measured> {
        self.reading.unpacked()
    }

    /// The result of the last burst of all, if it had one.
    pub(super) fn best(&self) -> Option<Measured> {
        self.reading().filter(|_| self.marks.has(Marks::FOUND))
    }

    /// Its last exchange: the number of its report, and when its probe was sent and its report received.
    pub(super) fn last(&self) -> Option<(u32, Raw, Raw)> {
        self.last.get()
    }

    /// Keeps our side of an exchange for the client.
    pub(super) fn keep(&mut self, measured: &Measured) {
        self.last = Sides::of(measured);
    }

    /// Its burst that goes on.
    pub(super) fn burst(&self) -> Option<u32> {
        (self.burst != NONE).then_some(self.burst)
    }

    /// A burst begins.
    pub(super) fn begin_burst(&mut self, place: u32, round: u32, alone: bool) {
        let same = self.round == round;
        (self.burst, self.round) = (place, round);
        self.marks.set(Marks::ALONE, alone);
        self.marks.set(Marks::FOUND, false);
        self.marks.set(Marks::REPEATED, false);
        let stated = self.marks.has(Marks::STATED) && alone && same;
        self.marks.set(Marks::STATED, stated);
        let fresh = self.marks.has(Marks::FRESH) && alone && same;
        self.marks.set(Marks::FRESH, fresh);
    }

    /// Its burst is over, with this result.
    pub(super) fn end_burst(&mut self, heard: u8, best: Option<Measured>) {
        self.burst = NONE;
        self.answered = heard;
        self.marks.set(Marks::FOUND, best.is_some());
        if let Some(best) = best {
            self.marks.set(Marks::FRESH, true);
            self.delays.learn(best.delay);
            self.reading = Packed::of(&best);
        }
    }

    /// Whether its last burst, in this round, was of the round itself.
    pub(super) fn was_asked_in(&self, round: u32) -> bool {
        self.round == round && !self.marks.has(Marks::ALONE)
    }

    /// What was measured, or is to be told, is nothing any more.
    pub(super) fn forget_measurements(&mut self) {
        self.burst = NONE;
        self.marks.set(Marks::FOUND, false);
        self.marks.set(Marks::FRESH, false);
        (self.last, self.reading, self.told) = Default::default();
    }

    /// A Correction was sent to it, about its report of this number.
    pub(super) fn tell(&mut self, round: u32, about: u32, correction: Correction) {
        self.told = Told { correction: correction.span().as_nanos(), round, about };
        self.marks.set(Marks::REPEATED, true);
    }

    /// The last Correction sent to it is of no use any more.
    pub(super) fn untell(&mut self) {
        self.told = Told::default();
    }

    /// The round, report number and value of the Correction that is not known to have arrived.
    pub(super) fn told(&self) -> Option<(u32, u32, Correction)> {
        let Told { correction, round, about } = self.told;
        (about != 0).then(|| (round, about, Correction::adding(Span::from_nanos(correction))))
    }

    /// True once a burst, if no Correction was sent since that began: then it may be repeated.
    pub(super) fn may_repeat(&mut self) -> bool {
        let may = !self.marks.has(Marks::REPEATED);
        self.marks.set(Marks::REPEATED, true);
        may
    }

    /// It is to be measured more often for so long, as long as it needs that; `new`: even if it does not.
    /// True if that begins now.
    pub(super) fn hurry(&mut self, now: Monotonic, length: Span, new: bool) -> bool {
        let begins = !self.marks.has(Marks::HURRYING);
        self.marks.set(Marks::HURRYING, true);
        self.hurry_until = Ticks::at(now + length);
        if new || begins {
            self.new_until = if new { self.hurry_until } else { Ticks::at(now) };
        }
        begins
    }

    /// Whether it is still to be measured more often: it is new, has no time, no sure frequency, is wrong, or
    /// was not heard last time.
    pub(super) fn hurries(&mut self, now: Monotonic) -> bool {
        let unsettled = !self.state.has_cluster_time() || !self.claim.is_some();
        let needs_it = unsettled || !self.marks.has(Marks::FOUND) || self.verdict == Verdict::Minority;
        let hurries = self.new_until.is_after(now) || (needs_it && self.hurry_until.is_after(now));
        self.marks.set(Marks::HURRYING, hurries);
        hurries
    }

    /// What the keeper of time gets to know of it; `carried`: what it has told of the setting of the time
    /// that it carries.
    pub(super) fn ballot<'a>(
        &self,
        now: Monotonic,
        raw: Raw,
        round: u32,
        oldest: Span,
        carried: Option<&'a ManualAdjustment>,
    ) -> consensus::MemberReading<'a> {
        let setting = match self.setting {
            // Until it has reported, it has not said that there is none.
            0 => self.reading().map(|_| &ManualAdjustment::NONE),
            number => carried.filter(|setting| setting.number == number),
        };
        let reading = self.reading().filter(|measured| raw - measured.t4 <= oldest).map(|measured| {
            let excess = self.delays.excess(measured.delay);
            consensus::PhaseReading {
                at: measured.at(),
                phase: measured.phase,
                noise: self.delays.noise(),
                excess: excess.half(),
                fresh: self.round == round && self.marks.has(Marks::FRESH),
            }
        });
        consensus::MemberReading {
            state: self.state,
            cluster: self.cluster,
            setting,
            reading,
            excluded: self.exclusion.is_some(),
            removed: self.exclusion == Some(Exclusion::Removed),
            claim: self.claim(now),
        }
    }
}

/// In which of the last eight rounds a member was heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    /// A bit for each round in which it was; the newest is the lowest.
    pub heard: u8,
    /// How many of the rounds it was there.
    pub rounds: u8,
}

impl History {
    /// A round is over.
    pub(super) fn note(&mut self, heard: bool) {
        self.heard = self.heard << 1 | u8::from(heard);
        self.rounds = (self.rounds + 1).min(8);
    }
}

/// The usual delays of a member's path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delays {
    least: u32,
    mean_excess: u32,
}

impl Default for Delays {
    fn default() -> Delays {
        Delays { least: NONE, mean_excess: 0 }
    }
}

impl Delays {
    /// Takes in the least delay of a burst.
    pub(super) fn learn(&mut self, delay: Span) {
        let Some(before) = self.least() else {
            (self.least, self.mean_excess) = (narrow(delay), narrow(delay.over(8)));
            return;
        };
        // A route that became longer for good is learned within some hundred bursts.
        let least = delay.min(before + (delay - before).over(128));
        let mut mean = self.mean_excess();
        if delay < before {
            // What looked like the path was queueing: the first guess shrinks with it.
            mean = mean.scaled(delay.as_secs_f64() / before.as_secs_f64());
        }
        // One held-up burst says little about the others.
        let excess = (delay - least).min(mean.times(4) + Span::from_nanos(32));
        mean += (excess - mean).over(32);
        (self.least, self.mean_excess) = (narrow(least), narrow(mean));
    }

    /// How much longer than the least this delay is.
    pub(super) fn excess(&self, delay: Span) -> Span {
        (delay - self.least().unwrap_or(delay)).max(Span::ZERO)
    }

    /// One standard deviation of readings over this path: for an excess e, readings are wrong by ± e/2 at
    /// most.
    pub(super) fn noise(&self) -> Span {
        self.mean_excess().over(3)
    }

    /// How long an answer may take.
    pub(super) fn patience(&self) -> Option<Span> {
        self.least().map(|least| least.times(4) + self.mean_excess().times(8))
    }

    fn least(&self) -> Option<Span> {
        wide(self.least)
    }

    fn mean_excess(&self) -> Span {
        Span::from_nanos(self.mean_excess.into())
    }
}

const _: () = assert!(size_of::<Member>() <= 216 && size_of::<Option<Member>>() == size_of::<Member>());
const _: () = assert!(size_of::<Slot>() == 4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_held_up_burst_does_not_stay_the_measure_of_a_path() {
        let mut delays = Delays::default();
        delays.learn(Span::from_millis(10));
        for k in 0..10 {
            delays.learn(Span::from_micros(100 + k));
        }
        assert!(delays.noise() < Span::from_micros(10), "{}", delays.noise());
        delays.learn(Span::from_millis(10));
        assert!(delays.noise() < Span::from_micros(10), "{}", delays.noise());
    }
}
