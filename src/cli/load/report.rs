//! The reports of a load: when all clients have registered, and at the end the results.

use std::io::{self, BufWriter, Write};

use serde_json::{Map, Value, json};

use crate::cli::output::OutputFormat;
use meantime_core::Counters;
use meantime_core::time::Span;
use meantime_load::{LoadEvent, LoadStatistics};

/// Writes to stdout.
pub(super) struct LoadReporter {
    format: OutputFormat,
    clients: usize,
    out: BufWriter<io::Stdout>,
    failed: Option<io::Error>,
}

impl LoadReporter {
    /// A reporter on so many clients.
    pub(super) fn new(format: OutputFormat, clients: usize) -> LoadReporter {
        LoadReporter { format, clients, out: BufWriter::new(io::stdout()), failed: None }
    }

    /// Prints an event.
    pub(super) fn print(&mut self, event: &LoadEvent, counters: &Counters) {
        let line = match self.format {
            OutputFormat::Json => self.json(event, counters).to_string(),
            OutputFormat::Text => self.text(event, counters),
        };
        if let Err(error) = writeln!(self.out, "{line}") {
            self.failed = Some(error);
        }
    }

    /// Writes the buffered lines.
    ///
    /// # Errors
    /// When something could not be written.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)?;
        self.out.flush()
    }

    fn json(&self, event: &LoadEvent, counters: &Counters) -> Value {
        match event {
            LoadEvent::AllRegistered(took) => {
                json!({"event": "all_in", "clients": self.clients, "took_ms": took.as_nanos() / 1_000_000})
            }
            LoadEvent::Measuring => json!({"event": "measuring"}),
            LoadEvent::Finished(measure, length, inside) => {
                let mut fields = Map::new();
                fields.insert("event".into(), "summary".into());
                fields.insert("clients".into(), self.clients.into());
                fields.insert("registered".into(), (*inside).into());
                fields.extend(summary(measure, *length, counters));
                Value::Object(fields)
            }
        }
    }

    fn text(&self, event: &LoadEvent, counters: &Counters) -> String {
        match event {
            LoadEvent::AllRegistered(took) => {
                format!("All {} clients have registered, after {took}", self.clients)
            }
            LoadEvent::Measuring => "The measurement begins".into(),
            LoadEvent::Finished(measure, length, inside) => {
                let lines = summary(measure, *length, counters)
                    .into_iter()
                    .map(|(name, value)| format!("\n  {name:<28}{value}"));
                format!(
                    "Load of {} clients, {inside} registered at the end:{}",
                    self.clients,
                    lines.collect::<String>()
                )
            }
        }
    }
}

/// The results of a measurement of this length.
fn summary(measure: &LoadStatistics, length: Span, counters: &Counters) -> Vec<(String, Value)> {
    let seconds = length.as_secs_f64();
    let rate = if seconds > 0.0 { measure.exchanges as f64 / seconds } else { 0.0 };
    let ms = |quantile| {
        measure.period(quantile).map_or(Value::Null, |period| rounded(period.as_secs_f64() * 1e3, 1e3).into())
    };
    let ns = |figure: Option<f64>| figure.map_or(Value::Null, |ns| rounded(ns, 10.0).into());
    let lost =
        [measure.lost_reports, measure.unconfirmed_reports, measure.lost_probes, measure.lost_heartbeats];
    let fields: [(&str, Value); 16] = [
        ("measured_s", rounded(seconds, 1e3).into()),
        ("exchanges", measure.exchanges.into()),
        ("exchanges_per_s", rounded(rate, 10.0).into()),
        ("lost", lost.iter().sum::<u64>().into()),
        ("lost_reports", measure.lost_reports.into()),
        ("unconfirmed_reports", measure.unconfirmed_reports.into()),
        ("lost_probes", measure.lost_probes.into()),
        ("lost_heartbeats", measure.lost_heartbeats.into()),
        ("overflowed_here", counters.lost().into()),
        ("rounds", measure.rounds().into()),
        ("corrections", measure.corrections.into()),
        ("round_period_ms_p50", ms(0.5)),
        ("round_period_ms_p99", ms(0.99)),
        ("round_period_ms_max", ms(1.0)),
        ("correction_error_rms_ns", ns(measure.correction_error_ns())),
        ("disagreement_rms_ns", ns(measure.disagreement_ns())),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn rounded(value: f64, to: f64) -> f64 {
    (value * to).round() / to
}
