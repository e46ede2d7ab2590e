//! A node's events on stdout, as text for people and as JSON for programs.
//!
//! Every event has a kind, fields and a sentence ([`Tell`]); this module decides how they are framed. In JSON
//! each event is one object on one line: `event`, `time` (this node's cluster time), `raw_ns` and
//! `cluster_ns` (the host's oscillator and this node's cluster time, read together), `error_ns` and
//! `bound_ns` (its estimated and its guaranteed distance from cluster time; null: unknown), then the fields
//! of its kind, which end in their unit. Lines are written when the loop is about to wait, so that a slow
//! reader does not come between a datagram and its timestamp.

mod client;
mod limit;
mod record;
#[cfg(test)]
mod reference;
mod relay;
mod replica;
mod server;
mod system;
mod utc;

use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;

use log::Level;

pub use record::{Record, time_set};
pub use server::report_fields;
pub(in crate::cli) use utc::utc_changed;

use super::logging::EVENT_TARGET;
use crate::report::ClockSnapshot;
use meantime_core::time::Span;
use meantime_core::wire::Name;

/// The format of stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputFormat {
    /// Sentences for people
    Text,
    /// One JSON object per line, for programs
    Json,
}

/// An event that can be printed.
pub trait Tell {
    /// Its kind, in snake case.
    fn kind(&self) -> &'static str;

    /// Its fields, in the order in which they are written.
    fn fields(&self, record: &mut Record);

    /// Its text for people; `None`: it is for programs only.
    fn text(&self, at: &ClockSnapshot) -> Option<String>;

    /// The level at which it is also logged; `None`: it is not.
    fn level(&self) -> Option<Level> {
        None
    }
}

/// Writes events to stdout.
#[derive(Debug)]
pub struct Output<W: Write> {
    format: OutputFormat,
    sink: BufWriter<W>,
    limiter: limit::Limiter,
}

impl<W: Write> Output<W> {
    /// An output to `sink`.
    pub fn new(format: OutputFormat, sink: W) -> Output<W> {
        Output { format, sink: BufWriter::new(sink), limiter: limit::Limiter::default() }
    }

    /// Writes an event that happened at `at`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn tell(&mut self, at: &ClockSnapshot, what: &(impl Tell + ?Sized)) -> io::Result<()> {
        let is_read = self.format == OutputFormat::Text || what.level().is_some();
        let text = if is_read { what.text(at) } else { None };
        if let (Some(level), Some(text)) = (what.level(), &text) {
            match self.limiter.admit(what.kind(), at.host) {
                Some(0) => log::log!(target: EVENT_TARGET, level, "{text}"),
                Some(omitted) => {
                    log::log!(target: EVENT_TARGET, level, "{text} ({omitted} more of this kind were not logged)");
                }
                None => {}
            }
        }
        match (self.format, text) {
            (OutputFormat::Text, Some(text)) => writeln!(self.sink, "{text}"),
            (OutputFormat::Text, None) => Ok(()),
            (OutputFormat::Json, _) => {
                let mut record = Record::new(what.kind(), at);
                what.fields(&mut record);
                writeln!(self.sink, "{record}")
            }
        }
    }

    /// Writes the buffered lines.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

/// A server has started.
#[derive(Debug)]
pub struct Listening {
    /// The address on which it listens, with the real port.
    pub address: SocketAddr,
    /// The server's name.
    pub name: Name,
}

impl Tell for Listening {
    fn kind(&self) -> &'static str {
        "listening"
    }

    fn fields(&self, record: &mut Record) {
        record.put("address", self.address.to_string());
        record.put("name", self.name.as_str());
        record.put("version", env!("CARGO_PKG_VERSION"));
        record.put("timestamps", record.at().timestamps.to_string());
    }

    fn text(&self, at: &ClockSnapshot) -> Option<String> {
        Some(format!("Clock server started on {}\nTimestamps: {}", self.address, at.timestamps))
    }
}

/// The state of a node's clock, printed once per period.
#[derive(Debug)]
pub struct Tick;

impl Tell for Tick {
    fn kind(&self) -> &'static str {
        "tick"
    }

    fn fields(&self, record: &mut Record) {
        let reading = record.at().reading;
        record.put("state", record::state(reading.state));
        record.frequency("frequency_ppb", reading.frequency);
        record.put("timestamps", record.at().timestamps.to_string());
        record.system();
    }

    fn text(&self, at: &ClockSnapshot) -> Option<String> {
        let (raw, cluster) = (at.host.as_nanos(), at.reading.time.as_nanos());
        let known = |span: Option<Span>| span.map_or("null".into(), |span| span.as_nanos().to_string());
        let (error, bound) = (known(at.reading.error), known(at.reading.bound));
        let (state, timestamps) = (record::state(at.reading.state), at.timestamps);
        Some(format!(
            "tick raw_ns={raw} cluster_ns={cluster} state={state} error_ns={error} bound_ns={bound} \
             timestamps={timestamps}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::HostRaw;
    use crate::udp::TimestampSource;
    use meantime_core::ClockReading;
    use meantime_core::time::{Frequency, Timestamp};
    use meantime_core::wire::{ClientState, ManualAdjustment};

    /// Half past four on the twenty-first of August 2025, with a clock that runs 1.5 ppm fast.
    pub(super) fn observation() -> ClockSnapshot {
        ClockSnapshot {
            host: HostRaw::from_nanos(77),
            reading: ClockReading {
                cluster: meantime_core::wire::ClusterId(7),
                time: Timestamp::from_nanos(1_755_793_812_123_456_789),
                manual_adjustment: ManualAdjustment::NONE,
                state: ClientState::Synchronized,
                error: Some(Span::from_nanos(250)),
                bound: Some(Span::from_micros(110)),
                frequency: Frequency::from_ppm(1.5),
                frequency_error: None,
            },
            timestamps: TimestampSource::Kernel,
            system: None,
        }
    }

    /// The line that is printed for an event.
    pub(super) fn printed(format: OutputFormat, what: &dyn Tell) -> String {
        let mut output = Output::new(format, Vec::new());
        output.tell(&observation(), what).unwrap();
        String::from_utf8(output.sink.into_inner().unwrap()).unwrap()
    }

    #[test]
    fn a_tick_has_the_state_of_the_clock() {
        assert_eq!(
            printed(OutputFormat::Json, &Tick),
            "{\"event\":\"tick\",\"time\":\"2025-08-21T16:30:12.123456789Z\",\"raw_ns\":77,\
             \"cluster_ns\":1755793812123456789,\"error_ns\":250,\"bound_ns\":110000,\
             \"state\":\"synchronized\",\"frequency_ppb\":1500.0,\"timestamps\":\"kernel\"}\n"
        );
        assert_eq!(
            printed(OutputFormat::Text, &Tick),
            "tick raw_ns=77 cluster_ns=1755793812123456789 state=synchronized error_ns=250 \
             bound_ns=110000 timestamps=kernel\n"
        );
    }

    #[test]
    fn an_unknown_value_is_null_in_a_tick() {
        let mut at = observation();
        (at.reading.error, at.reading.bound) = (None, None);
        let text = Tick.text(&at).unwrap();
        assert!(text.contains(" error_ns=null bound_ns=null "), "{text}");
    }

    #[test]
    fn a_tick_has_the_system_clock_if_that_follows_cluster_time() {
        let mut at = observation();
        at.system = Some(Timestamp::from_nanos(1_755_793_812_123_456_800));
        let mut output = Output::new(OutputFormat::Json, Vec::new());
        output.tell(&at, &Tick).unwrap();
        let line = String::from_utf8(output.sink.into_inner().unwrap()).unwrap();
        assert!(line.ends_with("\"timestamps\":\"kernel\",\"system_ns\":1755793812123456800}\n"), "{line}");
    }

    #[test]
    fn the_server_prints_its_address() {
        let listening = Listening { address: "[::]:5525".parse().unwrap(), name: Name::new("hub") };
        assert_eq!(
            printed(OutputFormat::Text, &listening),
            "Clock server started on [::]:5525\nTimestamps: kernel\n"
        );
        assert!(
            printed(OutputFormat::Json, &listening).contains("\"address\":\"[::]:5525\",\"name\":\"hub\"")
        );
    }
}
