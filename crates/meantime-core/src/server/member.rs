//! What the server stores of one client, in as few bytes as possible: there may be half a million clients.
//!
//! A member takes 216 bytes, its places in the tables 14 to 23 more, and a timer 26 for two minutes;
//! `benches/memory.rs` and `tests/scale.rs` limit the sum to 256. So the fields are [packed](super::packed),
//! and what a burst needs while it is in progress is stored [elsewhere](super::burst). The methods return
//! values of full width.

use core::net::SocketAddr;

use super::burst::BurstKind;
use super::delays::PathDelays;
use super::measurement::Measurement;
use super::pace;
use super::packed::{
    CoarseTicks, MemberBits, PackedAddress, PackedFrequency, PackedMeasurement, SentCorrection, ServerStamps,
    Ticks,
};
use super::trains::TrainScore;
use crate::consensus::{FrequencyReport, MemberReading, PhaseReading, Weight};
use crate::coverage::Coverage;
use crate::event::{Exclusion, Peer};
use crate::time::{Correction, Frequency, Monotonic, Now, Offset, Raw, Span};
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
    /// The cluster whose time it carried when it registered, 0: none; or this server's, if the time of that
    /// was taken over when the member was measured, or it is corrected to that from another cluster's.
    pub cluster: ClusterId,
    /// Its name.
    pub name: Name,
    address: PackedAddress,
    /// The local address that it sends to, by its number in the table of those.
    pub local: u16,
    /// The state of its clock, as it has reported it last.
    pub state: ClientState,
    /// The number of the newest manual time adjustment that it has; 0: none.
    pub adjustment_number: u8,
    /// What the last vote has found about its clock.
    pub verdict: Verdict,
    /// Why the vote leaves it out; `None`: the vote does not.
    pub exclusion: Option<Exclusion>,
    /// Whether the guarantee of the last round covers it.
    pub coverage: Coverage,
    /// In which of the last rounds it was heard.
    pub history: RoundHistory,
    /// In how many rounds in a row it has agreed; `u8::MAX`: it has a vote.
    agreed: u8,
    /// What it counted in the last round, for information: in units of 2⁻¹⁶ votes, saturated.
    weight: u16,
    bits: MemberBits,
    /// The nonce of its Register. The same nonce again is a repetition, not a new registration.
    nonce: u64,
    /// When it became a member.
    admitted: CoarseTicks,
    /// When its last valid datagram was received.
    heard: Ticks,
    /// The sequence number of the last datagram that was sent to it in this session.
    pub sequence: u32,
    /// The sequence number of its newest datagram; known to be genuine only with keys.
    newest: u32,
    /// The key that it used last.
    pub key: KeyId,
    /// The place of its burst in progress; `NO_BURST`: there is none.
    burst: u16,
    /// The round of its burst in progress, or of the last.
    pub round: u32,
    /// How many reports of the last burst were received.
    pub reports_heard: u8,
    /// The result of the last burst that had one.
    reading: PackedMeasurement,
    /// The server's timestamps of its last exchange, for the client.
    last_exchange: ServerStamps,
    /// The last correction sent to it, until the client confirms it.
    unconfirmed: SentCorrection,
    /// The usual delays of its path.
    pub delays: PathDelays,
    /// How the probes of its bursts follow each other.
    pub trains: TrainScore,
    frequency: PackedFrequency,
    /// Until then it gets extra bursts: its path and its frequency are new to the server.
    extra_always_until: Ticks,
    /// Until then it gets extra bursts while it needs them.
    extra_if_needed_until: Ticks,
}

/// What the server stores of a new member.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewMember {
    /// Its address.
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
    /// The state of its clock.
    pub state: ClientState,
    /// The cluster whose time it carries.
    pub cluster: ClusterId,
}

/// When a member gets extra bursts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExtraBursts {
    /// Always: it is new.
    Always,
    /// While it needs them, see [`Member::needs_extra_bursts`].
    IfNeeded,
}

/// Whether a datagram is new or was replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// It is new, as far as can be known: without keys, every datagram counts as new.
    New,
    /// Its sequence number, which its tag protects, is not newer than the newest one.
    Replayed,
}

impl Member {
    /// A member that is admitted now; `local` is the number of the local address that it sends to.
    pub(super) fn new(now: Monotonic, new: &NewMember, local: u16) -> Member {
        Member {
            node: new.node,
            session: new.session,
            cluster: new.cluster,
            name: new.name,
            address: PackedAddress::from(new.address),
            local,
            state: new.state,
            adjustment_number: 0,
            verdict: Verdict::Unjudged,
            exclusion: None,
            coverage: Coverage::default(),
            history: RoundHistory::default(),
            agreed: 0,
            weight: 0,
            bits: MemberBits::default(),
            nonce: new.nonce,
            admitted: CoarseTicks::at(now),
            heard: Ticks::at(now),
            sequence: 0,
            newest: 0,
            key: new.key,
            burst: NO_BURST,
            round: 0,
            reports_heard: 0,
            reading: PackedMeasurement::default(),
            last_exchange: ServerStamps::default(),
            unconfirmed: SentCorrection::default(),
            delays: PathDelays::default(),
            trains: TrainScore::default(),
            frequency: PackedFrequency::default(),
            extra_always_until: Ticks::at(now),
            extra_if_needed_until: Ticks::at(now),
        }
    }

    /// Its address.
    pub(super) fn address(&self) -> SocketAddr {
        self.address.into()
    }

    /// Its name and address.
    pub(super) fn peer(&self) -> Peer {
        Peer { name: self.name, address: self.address() }
    }

    /// Whether it became a member by a Register with this nonce, of this process.
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

    /// For how long no valid datagram of it was received.
    pub(super) fn silence(&self, now: Monotonic) -> Span {
        self.heard.until(now)
    }

    /// Records that a datagram of its session was received, unless it was replayed.
    pub(super) fn record_datagram(&mut self, now: Monotonic, header: &Header) -> Freshness {
        if header.key_id != KeyId::NONE && !is_newer(header.sequence, self.newest) {
            return Freshness::Replayed;
        }
        (self.heard, self.newest, self.key) = (Ticks::at(now), header.sequence, header.key_id);
        Freshness::New
    }

    /// The sequence number of the next datagram to it: never 0.
    pub(super) fn next_sequence(&self) -> u32 {
        self.sequence.wrapping_add(1).max(1)
    }

    /// Stores the state of its clock, as its datagram says.
    pub(super) fn record_state(&mut self, flags: Flags) {
        (self.state, self.adjustment_number) = (flags.state, flags.manual_adjustment);
    }

    /// Whether it has a vote once the cluster has a time.
    pub(super) fn has_vote(&self) -> bool {
        self.agreed == u8::MAX
    }

    /// What it counted in the last round, to 2⁻¹⁶ votes.
    pub(super) fn weight(&self) -> Weight {
        if self.weight == u16::MAX { Weight::ONE } else { Weight::from_units(u64::from(self.weight) << 16) }
    }

    /// Stores what it counts in a round: one vote at most.
    pub(super) fn record_weight(&mut self, weight: Weight) {
        self.weight = u16::try_from(weight.units() >> 16).unwrap_or(u16::MAX);
    }

    /// Gives it a vote.
    pub(super) fn give_vote(&mut self) {
        self.agreed = u8::MAX;
    }

    /// Takes note that it has agreed, or not, in a round. A newcomer has a vote after `needed` rounds in a
    /// row in which it has.
    pub(super) fn record_agreement(&mut self, agrees: bool, needed: u8) {
        if self.has_vote() {
            return;
        }
        self.agreed = if agrees { self.agreed.saturating_add(1).min(u8::MAX - 1) } else { 0 };
        if self.agreed >= needed {
            self.give_vote();
        }
    }

    /// Stores what a Report says about the state and the frequency of its clock. The frequency counts if its
    /// error is at most `max_frequency_error`.
    pub(super) fn record_report(
        &mut self,
        now: Monotonic,
        report: &Report,
        flags: Flags,
        max_frequency_error: Frequency,
    ) {
        self.record_state(flags);
        let has_cluster_time = flags.state.has_cluster_time();
        if has_cluster_time && report.frequency_error <= max_frequency_error {
            self.frequency = PackedFrequency::new(now, report);
        } else if !has_cluster_time || self.frequency.is_old(now) {
            self.frequency = PackedFrequency::default();
        }
    }

    /// Discards the frequency that it reported too long ago, before its time, which wraps around, seems
    /// recent again.
    pub(super) fn discard_old_frequency(&mut self, now: Monotonic) {
        if self.frequency.is_old(now) {
            self.frequency = PackedFrequency::default();
        }
    }

    /// The frequency that it has reported, if its error was small enough and the report is not too old.
    pub(super) fn frequency(&self, now: Monotonic) -> Option<FrequencyReport> {
        self.frequency.get(now)
    }

    /// The result of the last burst that had one.
    pub(super) fn reading(&self) -> Option<Measurement> {
        self.reading.unpacked()
    }

    /// The result of the last burst of round `round` that had one.
    pub(super) fn reading_of(&self, round: u32) -> Option<Measurement> {
        self.reading().filter(|_| self.round == round && self.bits.has(MemberBits::READING_FRESH))
    }

    /// The result of the last burst, if that had one.
    pub(super) fn last_burst_result(&self) -> Option<Measurement> {
        self.reading().filter(|_| self.bits.has(MemberBits::MEASURED))
    }

    /// It is corrected to the time of this cluster. If it has come with that of another: by how much the last
    /// burst has found its clock farther off, by `offset`, than the bound that it states.
    pub(super) fn take_over(&mut self, cluster: ClusterId, offset: Offset) -> Option<Span> {
        let has_other = self.cluster != ClusterId(0) && self.cluster != cluster;
        if !has_other || !self.state.has_cluster_time() {
            return None;
        }
        self.cluster = cluster;
        self.last_burst_result()?.beyond_bound(offset)
    }

    /// The report number, t1 and t4 of its last exchange.
    pub(super) fn last_exchange(&self) -> Option<(u32, Raw, Raw)> {
        self.last_exchange.get()
    }

    /// Stores the server's timestamps of its last exchange, for the client.
    pub(super) fn record_exchange(&mut self, measured: &Measurement) {
        self.last_exchange = ServerStamps::of(measured);
    }

    /// The place of its burst in progress.
    pub(super) fn burst(&self) -> Option<u16> {
        (self.burst != NO_BURST).then_some(self.burst)
    }

    /// Its burst begins.
    pub(super) fn begin_burst(&mut self, place: u16, round: u32, kind: BurstKind) {
        let is_extra = kind == BurstKind::Extra;
        // An extra burst in the same round leaves what the round's own burst has found.
        let stays = is_extra && self.round == round;
        (self.burst, self.round) = (place, round);
        self.bits.set(MemberBits::EXTRA, is_extra);
        self.bits.set(MemberBits::MEASURED, false);
        self.bits.set(MemberBits::CORRECTED, false);
        let is_fresh = self.bits.has(MemberBits::READING_FRESH);
        self.bits.set(MemberBits::READING_FRESH, is_fresh && stays);
    }

    /// Its burst is over: so many reports were received, and this is the best exchange.
    pub(super) fn end_burst(&mut self, reports_heard: u8, best: Option<Measurement>) {
        self.burst = NO_BURST;
        self.reports_heard = reports_heard;
        self.bits.set(MemberBits::MEASURED, best.is_some());
        if let Some(best) = best {
            self.bits.set(MemberBits::READING_FRESH, true);
            self.delays.learn(best.delay);
            self.reading = PackedMeasurement::of(&best);
        }
    }

    /// Whether its last burst was that of this round.
    pub(super) fn was_measured_in(&self, round: u32) -> bool {
        self.round == round && !self.bits.has(MemberBits::EXTRA)
    }

    /// Discards all measurements, and the correction that was not confirmed.
    pub(super) fn discard_measurements(&mut self) {
        self.burst = NO_BURST;
        self.bits.set(MemberBits::MEASURED, false);
        self.bits.set(MemberBits::READING_FRESH, false);
        (self.last_exchange, self.reading, self.unconfirmed) = Default::default();
    }

    /// Stores the correction that is sent to it, until it is confirmed.
    pub(super) fn record_correction(&mut self, round: u32, report: u32, correction: Correction) {
        self.unconfirmed = SentCorrection { correction: correction.span().as_nanos(), round, report };
        self.bits.set(MemberBits::CORRECTED, true);
    }

    /// Discards the last correction: it was confirmed, or has become wrong.
    pub(super) fn discard_correction(&mut self) {
        self.unconfirmed = SentCorrection::default();
    }

    /// The round, report number and value of the correction that it has not confirmed.
    pub(super) fn unconfirmed_correction(&self) -> Option<(u32, u32, Correction)> {
        let SentCorrection { correction, round, report } = self.unconfirmed;
        (report != 0).then(|| (round, report, Correction::adding(Span::from_nanos(correction))))
    }

    /// Whether a correction may be repeated now: once in each burst, if none was sent since that began.
    pub(super) fn may_repeat_correction(&mut self) -> bool {
        let may_repeat = !self.bits.has(MemberBits::CORRECTED);
        self.bits.set(MemberBits::CORRECTED, true);
        may_repeat
    }

    /// Lets it have extra bursts for so long. Returns whether they begin now.
    pub(super) fn allow_extra_bursts(&mut self, now: Monotonic, length: Span, when: ExtraBursts) -> bool {
        let begins = !self.bits.has(MemberBits::EXTRA_TIMER);
        self.bits.set(MemberBits::EXTRA_TIMER, true);
        self.extra_if_needed_until = Ticks::at(now + length);
        match when {
            ExtraBursts::Always => self.extra_always_until = self.extra_if_needed_until,
            ExtraBursts::IfNeeded if begins => self.extra_always_until = Ticks::at(now),
            ExtraBursts::IfNeeded => {}
        }
        begins
    }

    /// Whether it gets one more extra burst: it is new; or it has no cluster time, its frequency is unknown,
    /// the last vote has left it out, or its last burst had no result.
    pub(super) fn needs_extra_bursts(&mut self, now: Monotonic) -> bool {
        let is_unsettled = !self.state.has_cluster_time() || !self.frequency.is_some();
        let was_measured = self.bits.has(MemberBits::MEASURED);
        let is_in_need = is_unsettled || !was_measured || self.verdict == Verdict::Minority;
        let is_new = self.extra_always_until.is_after(now);
        let gets_more = is_new || (is_in_need && self.extra_if_needed_until.is_after(now));
        self.bits.set(MemberBits::EXTRA_TIMER, gets_more);
        gets_more
    }

    /// The manual time adjustment that it carries, of which it has reported `adjustment`; `None`: unknown.
    pub(super) fn manual_adjustment<'a>(
        &self,
        adjustment: Option<&'a ManualAdjustment>,
    ) -> Option<&'a ManualAdjustment> {
        match self.adjustment_number {
            // Before its first report, that it has none is not known.
            0 => self.reading().map(|_| &ManualAdjustment::NONE),
            number => adjustment.filter(|adjustment| adjustment.number == number),
        }
    }

    /// What the vote of round `round` needs to know of it. `adjustment` is what it has reported of the manual
    /// time adjustment that it carries; readings older than `max_age` do not count.
    pub(super) fn vote_reading<'a>(
        &self,
        now: Now,
        round: u32,
        max_age: Span,
        adjustment: Option<&'a ManualAdjustment>,
        weight: Weight,
    ) -> MemberReading<'a> {
        let reading = self.reading().filter(|measured| now.raw - measured.t4 <= max_age);
        let reading = reading.map(|measured| PhaseReading {
            at: measured.at(),
            phase: measured.phase,
            noise: self.delays.noise(),
            excess: self.delays.excess(measured.delay).half(),
            fresh: self.reading_of(round).is_some(),
        });
        MemberReading {
            state: self.state,
            cluster: self.cluster,
            manual_adjustment: self.manual_adjustment(adjustment),
            reading,
            was_measured: self.delays.reply_timeout().is_some(),
            exclusion: self.exclusion,
            weight,
            has_vote: self.has_vote(),
            frequency: self.frequency(now.mono),
        }
    }
}

/// In which of the last eight rounds a member was heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RoundHistory {
    /// A bit for each round, set if the member was heard; the newest is the lowest.
    pub heard: u8,
    /// In how many of these rounds it was a member.
    pub rounds: u8,
}

impl RoundHistory {
    /// Adds a round in which the member was heard or not.
    pub(super) fn record(&mut self, was_heard: bool) {
        self.heard = self.heard << 1 | u8::from(was_heard);
        self.rounds = (self.rounds + 1).min(8);
    }
}

/// The place of no burst.
const NO_BURST: u16 = u16::MAX;

const _: () = assert!(pace::MAX_BURSTS + pace::MAX_EXTRA_BURSTS < NO_BURST as usize);
const _: () = assert!(size_of::<Member>() <= 216 && size_of::<Option<Member>>() == size_of::<Member>());
