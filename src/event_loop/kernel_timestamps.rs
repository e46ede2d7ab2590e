//! The kernel's timestamps as readings of the host's oscillator, and whether they come.

use crate::clock::{ConversionError, HostRaw, NodeClock, TimestampConverter};
use crate::udp::TimestampSource;
use meantime_core::time::{Monotonic, Span, Timestamp};

/// Converts the kernel's timestamps, and decides whether the kernel is the timestamp source.
#[derive(Debug)]
pub(super) struct KernelTimestamps {
    converter: TimestampConverter,
    source: TimestampSource,
    /// How many datagrams in a row were received without a usable timestamp.
    missing: u32,
    /// How many datagrams in a row were sent without their transmit timestamp, though it was requested.
    unreported: u32,
    /// Whether the log says that no transmit timestamps come.
    warned: bool,
    /// Until then missing timestamps are expected.
    grace_until: Option<Monotonic>,
}

impl KernelTimestamps {
    /// No timestamps yet.
    pub(super) fn new(clock: &impl NodeClock) -> KernelTimestamps {
        KernelTimestamps {
            converter: TimestampConverter::new(clock.pair()),
            source: TimestampSource::Kernel,
            missing: 0,
            unreported: 0,
            warned: false,
            grace_until: None,
        }
    }

    /// The source in use, of a transport that was granted the kernel's timestamps.
    pub(super) fn source(&self) -> TimestampSource {
        self.source
    }

    /// Reads the clocks. Timestamps recorded before are converted by this reading, until the next one.
    pub(super) fn read_clocks(&mut self, clock: &impl NodeClock) {
        // A whole batch depends on this reading, so one that was interrupted is repeated.
        for _ in 0..MAX_READINGS {
            if self.converter.update(clock.pair()) != Err(ConversionError::Wide) {
                break;
            }
        }
    }

    /// When a datagram was received, by its timestamp; `None`: the program's own reading has to do.
    pub(super) fn convert_received(
        &mut self,
        clock: &impl NodeClock,
        timestamp: Option<Timestamp>,
    ) -> Option<HostRaw> {
        let received = timestamp.and_then(|timestamp| self.convert(timestamp));
        self.missing = if received.is_some() { 0 } else { self.missing.saturating_add(1) };
        let source = match (self.source, received) {
            (TimestampSource::User, None) => TimestampSource::User,
            (_, None) if self.missing >= MAX_MISSING && !self.is_in_grace(clock) => TimestampSource::User,
            _ => TimestampSource::Kernel,
        };
        if source != self.source {
            self.source = source;
            match source {
                TimestampSource::User => log::warn!(
                    "timestamps: user; the kernel's do not come, or another program sets the machine's clock"
                ),
                _ => log::info!("timestamps: {source}; they come again"),
            }
        }
        received
    }

    /// A datagram was sent whose transmit timestamp is requested.
    pub(super) fn requested(&mut self) {
        self.unreported = self.unreported.saturating_add(1);
        if self.unreported >= MAX_UNREPORTED && !std::mem::replace(&mut self.warned, true) {
            log::warn!(
                "the kernel stamps what is received but not what is sent: the network card's driver does not"
            );
        }
    }

    /// This process has stepped the machine's clock. Timestamps from before the step are not usable, so
    /// missing ones are expected for a while.
    pub(super) fn clock_stepped(&mut self, now: Monotonic) {
        self.grace_until = Some(now + STEP_GRACE);
    }

    fn is_in_grace(&self, clock: &impl NodeClock) -> bool {
        self.grace_until.is_some_and(|until| clock.now().mono < until)
    }

    /// The socket's buffer was full. Then the kernel has no room for transmit timestamps either, so their
    /// absence shows nothing.
    pub(super) fn buffer_was_full(&mut self) {
        self.unreported = 0;
    }

    /// When a datagram was sent, by its timestamp; `None` if that is not usable.
    pub(super) fn convert_sent(&mut self, timestamp: Timestamp) -> Option<HostRaw> {
        self.unreported = 0;
        self.convert(timestamp)
    }

    fn convert(&self, timestamp: Timestamp) -> Option<HostRaw> {
        let refused = |error: &ConversionError| log::trace!("a timestamp of the kernel is not used: {error}");
        self.converter.convert(timestamp).inspect_err(refused).ok()
    }
}

/// An interruption twice in a row is rare even on a busy machine.
const MAX_READINGS: usize = 4;
/// A few datagrams without a usable timestamp are normal; as many as a round of two members has are not.
const MAX_MISSING: u32 = 8;
/// Some batches of datagrams, without a single transmit timestamp.
const MAX_UNREPORTED: u32 = 1_024;
/// Longer than the converter accepts no timestamps after a step.
const STEP_GRACE: Span = Span::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Overlay;
    use meantime_core::time::Frequency;

    #[test]
    fn the_source_in_use_follows_the_timestamps_that_come() {
        let clock = Overlay::start(Span::from_secs(-40), Frequency::ZERO);
        let mut timestamps = KernelTimestamps::new(&clock);
        // A timestamp, and then a reading of the clocks.
        let convert_new = |timestamps: &mut KernelTimestamps| {
            let timestamp = clock.pair().real;
            timestamps.read_clocks(&clock);
            timestamps.convert_received(&clock, Some(timestamp))
        };
        for _ in 1..MAX_MISSING {
            assert_eq!(timestamps.convert_received(&clock, None), None);
        }
        assert_eq!(timestamps.source(), TimestampSource::Kernel);
        timestamps.convert_received(&clock, None);
        assert_eq!(timestamps.source(), TimestampSource::User);
        // A pair of readings that was interrupted is not used; that hardly ever happens twice in a row.
        let before = clock.read().host;
        let received = (0..100).find_map(|_| convert_new(&mut timestamps)).unwrap();
        let passed = received.since(before);
        assert!(passed > Span::from_millis(-1) && passed < Span::from_secs(1), "{passed}");
        assert_eq!(timestamps.source(), TimestampSource::Kernel);
    }

    /// The source in use after a round of datagrams without a timestamp.
    fn source_without_timestamps(timestamps: &mut KernelTimestamps, clock: &Overlay) -> TimestampSource {
        for _ in 0..MAX_MISSING {
            assert_eq!(timestamps.convert_received(clock, None), None);
        }
        timestamps.source()
    }

    #[test]
    fn missing_timestamps_are_given_up_unless_this_process_has_stepped_the_clock() {
        let clock = Overlay::start(Span::ZERO, Frequency::ZERO);
        let mut timestamps = KernelTimestamps::new(&clock);
        let now = clock.now().mono;
        timestamps.clock_stepped(now);
        assert_eq!(source_without_timestamps(&mut timestamps, &clock), TimestampSource::Kernel);
        timestamps.clock_stepped(now - STEP_GRACE);
        assert_eq!(source_without_timestamps(&mut timestamps, &clock), TimestampSource::User);
    }
}
