//! The client's side of all exchanges of a session: it writes reports, keeps them, and puts together the
//! exchanges that a Correction is based on.

use super::clock::{MemberClock, UNKNOWN_FREQUENCY};
use super::outbox::PendingReport;
use super::report_history::{MeasuredBurst, ReportHistory, SentReport};
use crate::config::MAX_DELAY;
use crate::estimation::exchange::Exchange;
use crate::time::{Now, Raw, Span, Timestamp};
use crate::wire::{CorrectionMessage, Report};
use crate::{ClientConfig, StampId};

/// Reports, and what is known about the path on which they are sent.
#[derive(Debug)]
pub(super) struct Reporter {
    /// Exchanges with a longer delay measure nothing.
    max_delay: Span,
    /// The delay from the server minus the delay to it, as configured. A client that knows it reads its clock
    /// as if both took equally long.
    asymmetry: Span,
    history: ReportHistory,
}

impl Reporter {
    /// A session begins.
    pub(super) fn new(config: &ClientConfig) -> Reporter {
        let (max_delay, asymmetry) = (config.max_delay, config.asymmetry);
        Reporter { max_delay, asymmetry, history: ReportHistory::default() }
    }

    /// The reports that were sent.
    pub(super) fn history(&self) -> &ReportHistory {
        &self.history
    }

    /// The reports that were sent.
    pub(super) fn history_mut(&mut self) -> &mut ReportHistory {
        &mut self.history
    }

    /// Writes the answer to a probe, with this number, that will be sent at `t3`, by the oscillator; `None`:
    /// it took too long. `interval` is that of the session's rounds. Returns with it how the program names it
    /// when it reports its departure.
    pub(super) fn write(
        &mut self,
        now: Now,
        number: u32,
        pending: PendingReport,
        t3: Raw,
        interval: Span,
        clock: &MemberClock,
    ) -> Option<(StampId, Report)> {
        let PendingReport { nonce, round, t2 } = pending;
        let published = clock.published();
        let (published_t2, published_t3) = (published.scale_time(t2), published.scale_time(t3));
        let processing = published_t3 - published_t2;
        if processing < Span::ZERO || processing > MAX_PROCESSING {
            return None;
        }
        let early = self.asymmetry.half();
        let interval = Some(interval);
        let report = Report {
            nonce,
            t2: published_t2 - early,
            processing,
            transmit_latency: self.history.extra_latency(number.wrapping_sub(1)),
            frequency: published.frequency(),
            frequency_error: clock.estimate(now.raw).map_or(UNKNOWN_FREQUENCY, |known| known.frequency_error),
            rate: clock.rate(),
            applied: self.history.applied(),
            bound: clock.bound_at(now.raw, interval),
            error: clock.error_at(now.raw, interval),
        };
        self.history.push(SentReport {
            number,
            round,
            nonce,
            t2: t2 - early,
            stamped: now.raw - early,
            t3: t3 - early,
            published_t2: published_t2 - early,
            published_t3: published_t3 - early,
        });
        Some((StampId(number.into()), report))
    }

    /// A report departed. Returns its transmit latency, if that is plausible.
    pub(super) fn handle_transmitted(&mut self, id: StampId, raw: Raw) -> Option<Span> {
        // The asymmetry that a report leaves out, its record leaves out too.
        let departed = raw - self.asymmetry.half();
        u32::try_from(id.0).ok().and_then(|number| self.history.note_departure(number, departed))
    }

    /// The exchanges that a Correction is based on, which counts as applied.
    pub(super) fn take_burst(
        &mut self,
        round: u32,
        message: &CorrectionMessage,
        usual: Span,
    ) -> MeasuredBurst {
        self.history.set_applied(message.about);
        if let Some(stamps) = message.last {
            self.history.complete(stamps);
        }
        let max_delay = self.max_delay;
        let mut burst = self.history.take_burst(round, message.about, message.correction, usual);
        burst.exchanges.retain(|exchange| exchange.delay() <= max_delay);
        if burst.guessed.is_some() && max_delay < MAX_DELAY {
            // The delay is unknown, so it may exceed the limit.
            burst.exchanges.clear();
        }
        burst
    }

    /// The exchanges of a burst that prove something about the server's time: those whose delay is no guess.
    /// The configured asymmetry is knowledge, not proof, so it is not applied.
    pub(super) fn proving(&self, burst: &MeasuredBurst) -> impl Iterator<Item = Exchange<Timestamp, Raw>> {
        let early = self.asymmetry.half();
        let measured = burst.exchanges.iter().filter(|exchange| Some(exchange.t2) != burst.guessed);
        measured.map(move |exchange| Exchange {
            t2: exchange.t2 + early,
            t3: exchange.t3 + early,
            ..*exchange
        })
    }
}

/// A report states its processing time in 32 bits. After a longer one the client sends no report.
const MAX_PROCESSING: Span = Span::from_secs(2);
