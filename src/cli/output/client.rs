//! What a client tells. The words are those of the classic demonstration of the Berkeley algorithm.

use log::Level;

use super::Tell;
use super::record::{Record, classic_time, plain, snake_case};
use crate::berkeley::ClientEvent::{self, *};
use crate::net::Observation;
use crate::wire::{RejectReason, VERSION};

impl Tell for ClientEvent {
    fn kind(&self) -> &'static str {
        match self {
            Registering { .. } => "registering",
            Unresolved { .. } => "unresolved",
            Registered { .. } => "registered",
            Refused { .. } => "refused",
            Corrected { .. } => "corrected",
            Ignored { .. } => "ignored",
            RefusedCorrection { .. } => "refused_correction",
            BoundBroken { .. } => "bound_broken",
            Suspended { .. } => "suspended",
            Holdover { .. } => "holdover",
            Recovered => "recovered",
        }
    }

    fn fields(&self, record: &mut Record) {
        match self {
            Registering { server, attempt } => {
                record.put("server", server.to_string());
                record.put("attempt", *attempt);
            }
            Unresolved { attempt } => record.put("attempt", *attempt),
            Registered { server, cluster, interval } => {
                record.put("server", server.to_string());
                record.cluster(*cluster);
                record.span("interval_ns", *interval);
                record.put("timestamps", record.at().timestamps.to_string());
            }
            Refused { server, reason, version } => {
                record.put("server", server.to_string());
                record.put("reason", snake_case(reason));
                record.put("protocol_version", *version);
            }
            Corrected {
                round,
                correction,
                added,
                adjustment,
                delay,
                frequency,
                error,
                bound,
                verdict,
                first,
            } => {
                record.put("round", *round);
                record.correction("correction_ns", *correction);
                record.correction("added_ns", *added);
                record.put("adjustment", snake_case(adjustment));
                record.span("delay_ns", *delay);
                record.frequency("frequency_ppb", *frequency);
                record.span("error_ns", *error);
                record.known_span("bound_ns", *bound);
                record.put("verdict", snake_case(verdict));
                record.put("first", *first);
                record.system();
            }
            Ignored { round, correction, in_a_row } => {
                record.put("round", *round);
                record.correction("correction_ns", *correction);
                record.put("in_a_row", *in_a_row);
            }
            RefusedCorrection { round, correction, reason } => {
                record.put("round", *round);
                record.correction("correction_ns", *correction);
                record.put("reason", snake_case(reason));
            }
            BoundBroken { gap } => record.span("gap_ns", *gap),
            Suspended { slept } => record.span("slept_ns", *slept),
            Holdover { reason } => record.put("reason", snake_case(reason)),
            Recovered => {}
        }
    }

    fn text(&self, at: &Observation) -> Option<String> {
        Some(match self {
            Registering { server, attempt: 1 } => format!("Connecting to the server {server}"),
            Registering { server, attempt } => {
                format!("Connecting to the server {server}, attempt {attempt}")
            }
            Unresolved { attempt } => {
                format!("The server's name cannot be resolved, attempt {attempt}; trying again")
            }
            Registered { server, interval, .. } => format!(
                "Connected to the server {server}, a round each {}, timestamps: {}",
                plain(*interval),
                at.timestamps
            ),
            Refused { server, reason: RejectReason::Version, version } => format!(
                "Refused by the server {server}: it speaks version {version} of the protocol, this client \
                 version {VERSION}; run the same meantime on both"
            ),
            Refused { server, reason, .. } => format!("Refused by {server}: {reason}; trying again"),
            Corrected { .. } => self.synchronized(at),
            Ignored { correction, in_a_row, .. } => {
                format!("Correction {} held for an outlier, {in_a_row} in a row", correction.span())
            }
            RefusedCorrection { correction, reason, .. } => {
                format!("Correction {} refused: {reason}", correction.span())
            }
            BoundBroken { gap } => format!(
                "Bound broken by {}: this clock, its timestamps or the server's clock did what cannot be",
                plain(*gap)
            ),
            Suspended { slept } => {
                format!("Suspended: the machine slept for {}; joining again", plain(*slept))
            }
            Holdover { reason } => {
                let bound =
                    at.reading.bound.map_or(String::new(), |bound| format!(" (bound {})", plain(bound)));
                format!("Holdover: {reason}; the clock runs on what it has learned{bound}")
            }
            Recovered => "Recovered: the server corrects this clock again".into(),
        })
    }

    fn level(&self) -> Option<Level> {
        match self {
            Unresolved { .. }
            | Refused { .. }
            | RefusedCorrection { .. }
            | BoundBroken { .. }
            | Suspended { .. }
            | Holdover { .. } => Some(Level::Warn),
            Ignored { .. } | Recovered => Some(Level::Info),
            _ => None,
        }
    }
}

impl ClientEvent {
    /// The classic line about a correction, and the figures after it.
    fn synchronized(&self, at: &Observation) -> String {
        let time = classic_time(at.reading.time);
        let line = format!("Synchronized time at the client is: {time}");
        match self {
            Corrected { correction, adjustment, delay, frequency, error, bound, .. } => format!(
                "{line} (correction {}, {adjustment}, delay {}, frequency {:+.3} ppm, error {}, bound {})",
                correction.span(),
                plain(*delay),
                frequency.ppm(),
                plain(*error),
                bound.map_or("unknown".into(), plain)
            ),
            _ => line,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::tests::printed;
    use super::*;
    use crate::berkeley::event::{Adjustment, HoldoverReason};
    use crate::time::{Correction, Frequency, Span};
    use crate::wire::Verdict;

    fn corrected() -> ClientEvent {
        Corrected {
            round: 3,
            correction: Correction::adding(Span::from_secs(-2)),
            added: Correction::adding(Span::from_millis(-1_999)),
            adjustment: Adjustment::Step,
            delay: Span::from_micros(80),
            frequency: Frequency::from_ppm(-50.0),
            error: Span::from_micros(3),
            bound: Some(Span::from_micros(44)),
            verdict: Verdict::Agrees,
            first: true,
        }
    }

    #[test]
    fn the_words_of_the_classic_demonstration_are_kept() {
        assert_eq!(
            printed(Format::Text, &corrected()),
            "Synchronized time at the client is: 2025-08-21 16:30:12.123456 \
             (correction -2.000000 s, step, delay 80.0 µs, frequency -50.000 ppm, error 3.0 µs, bound 44.0 µs)\n"
        );
    }

    #[test]
    fn a_correction_has_all_its_figures_in_json() {
        assert!(printed(Format::Json, &corrected()).ends_with(
            "\"cluster_ns\":1755793812123456789,\"error_ns\":3000,\"bound_ns\":44000,\"round\":3,\"correction_ns\":-2000000000,\
             \"added_ns\":-1999000000,\"adjustment\":\"step\",\"delay_ns\":80000,\"frequency_ppb\":-50000.0,\
             \"verdict\":\"agrees\",\"first\":true}\n"
        ));
    }

    #[test]
    fn holdover_is_a_warning_with_its_reason() {
        let holdover = Holdover { reason: HoldoverReason::ServerLeft };
        let text = printed(Format::Text, &holdover);
        assert!(
            text.starts_with("Holdover: the server said goodbye;") && text.ends_with(" (bound 110.0 µs)\n")
        );
        assert!(printed(Format::Json, &holdover).ends_with("\"reason\":\"server_left\"}\n"));
        assert_eq!(holdover.level(), Some(Level::Warn));
    }
}
