//! The prober: writes probes, and turns reports and send timestamps into measurements.

use rand::Rng;

use super::burst::SentProbe;
use super::context::Context;
use super::handles::{BurstHandle, Slot, from_stamp_id, stamp_id};
use super::members::Members;
use crate::time::{Frequency, Now, Raw};
use crate::transmit_latency::MinTransmitLatency;
use crate::wire::{Body, Header, Probe, Report, Stamps};
use crate::{Fate, StampId, Transmit};

/// Writes probes with the transmit latency that the server expects.
#[derive(Debug, Default)]
pub(super) struct Prober {
    latency: MinTransmitLatency,
}

impl Prober {
    /// Writes the next probe of a burst, which is sent now; `None`: the burst is over.
    pub(super) fn write_probe(
        &self,
        context: &mut Context,
        now: Now,
        handle: BurstHandle,
    ) -> Option<Transmit> {
        let nonce = context.rng.next_u64();
        let timekeeper = &context.timekeeper;
        let timescale = timekeeper.timescale();
        let slot = context.members.burst(handle)?.member;
        let (member, burst) = context.members.with_burst(slot)?;
        let burst = burst?;
        // As long as the server has no time, its clock may still be set: timestamps by its old time would
        // contradict those by the new one.
        let before = member.last_exchange().filter(|_| timekeeper.has_time()).map(|(report, t1, t4)| {
            Stamps { report, t1: timescale.estimate(t1), t4: timescale.estimate(t4) }
        });
        let (index, size, round) = (burst.sent, burst.size, burst.round);
        let (rate, cluster) = (timekeeper.rate(), timekeeper.cluster());
        let sequence = member.next_sequence();
        let t1 = now.raw + self.latency.expected();
        burst.record_probe(SentProbe { index, nonce, sequence, stamped: now.raw, t1 });
        let probe = Probe { nonce, before, index, burst: size, rate, cluster };
        let transmit = context.write(slot, round, Body::Probe(probe))?;
        Some(Transmit { stamp: Some(stamp_id(slot, sequence)), ..transmit })
    }

    /// Handles the send timestamp of a probe: `raw` by the server's oscillator.
    pub(super) fn handle_transmitted(&mut self, members: &mut Members, id: StampId, raw: Raw) {
        let (slot, sequence) = from_stamp_id(id);
        let Some((member, Some(burst))) = members.with_burst(slot) else { return };
        let Some(latency) = burst.correct_t1(sequence, raw) else { return };
        self.latency.learn(latency);
        let last = member.last_exchange().and_then(|(report, ..)| burst.measured(report));
        if let Some(measured) = last {
            member.record_exchange(&measured);
        }
    }
}

/// Whether a burst has got all its reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BurstProgress {
    Waiting,
    Complete,
}

/// Handles a member's report, received at `t4`: stores what it says, and adds its exchange to the burst.
///
/// # Errors
/// The fate of a report that answers no probe, or whose timestamps are impossible.
pub(super) fn handle_report(
    context: &mut Context,
    now: Now,
    t4: Raw,
    slot: Slot,
    header: &Header,
    report: &Report,
) -> Result<BurstProgress, Fate> {
    let (member, burst) = context.members.with_burst(slot).ok_or(Fate::Session)?;
    // A report counts once by its nonce, so its sequence number may be old.
    let _ = member.record_datagram(now.mono, header);
    let burst = burst.ok_or(Fate::Unsolicited)?;
    let probe = burst.take_answered(header.round, report).ok_or(Fate::Unsolicited)?;
    burst.correct_t3(header.sequence.wrapping_sub(1), report.transmit_latency);
    let delay = t4 - probe.t1 - report.processing;
    if delay > context.config.max_delay || !burst.add_exchange(header.sequence, report, probe, t4) {
        return Err(Fate::Implausible);
    }
    if let Some(measured) = burst.measured(header.sequence) {
        member.record_exchange(&measured);
    }
    member.record_report(now.mono, report, header.flags, MAX_FREQUENCY_ERROR);
    Ok(if burst.is_complete() { BurstProgress::Complete } else { BurstProgress::Waiting })
}

/// A client's frequency counts for the cluster's rate if its error, one standard deviation, is at most this.
const MAX_FREQUENCY_ERROR: Frequency = Frequency::from_ppm(1.0);
