//! A client's events as JSON and text. The words are those of the classic demonstration of the Berkeley
//! algorithm.

use log::Level;

use super::Tell;
use super::record::{Record, time_set};
use super::utc::{reference_gained, reference_lost};
use crate::report::ClockSnapshot;
use crate::report::{classic_time, place_of, snake_case};
use meantime_core::ClientEvent::{self, *};
use meantime_core::config::SILENT_ROUNDS;
use meantime_core::event::Refusal;
use meantime_core::time::{Correction, Span};
use meantime_core::wire::{ClientState, ClusterId, RejectReason, VERSION};

impl Tell for ClientEvent {
    fn kind(&self) -> &'static str {
        match self {
            Registering { .. } => "registering",
            Unresolved { .. } => "unresolved",
            Registered { .. } => "registered",
            Refused { .. } => "refused",
            UpstreamRefused { .. } => "upstream_refused",
            Follows { .. } => "follows",
            ListDiffers { .. } => "list_differs",
            Doubts { .. } => "doubts",
            Distrusts { .. } => "distrusts",
            Trusts { .. } => "trusts",
            Corrected { .. } => "corrected",
            Ignored { .. } => "ignored",
            RefusedCorrection { .. } => "refused_correction",
            TimeSet { .. } => "time_set",
            BoundBroken { .. } => "bound_broken",
            Suspended { .. } => "suspended",
            Holdover { .. } => "holdover",
            Recovered => "recovered",
            ReferenceGained { .. } => "reference_gained",
            ReferenceLost { .. } => "reference_lost",
        }
    }

    fn fields(&self, record: &mut Record) {
        match self {
            Registering { server, attempt } => {
                record.put("server", server.to_string());
                record.put("attempt", *attempt);
            }
            Unresolved { rank, attempt } => {
                record.put("rank", place_of(*rank));
                record.put("attempt", *attempt);
            }
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
            UpstreamRefused { server, reason } => {
                record.put("server", server.to_string());
                record.put("reason", snake_case(reason));
            }
            Follows { .. } | ListDiffers { .. } | Doubts { .. } | Distrusts { .. } | Trusts { .. } => {
                server_fields(self, record);
            }
            Corrected { .. } => corrected_fields(self, record),
            Ignored { round, correction, in_a_row } => {
                record.round_correction(*round, *correction);
                record.put("in_a_row", *in_a_row);
            }
            RefusedCorrection { round, correction, refused, reason } => {
                record.round_correction(*round, *correction);
                record.known_span("refused_ns", refused.map(Correction::span));
                record.put("reason", snake_case(reason));
            }
            TimeSet { manual_adjustment, late, adjustment } => {
                record.manual_adjustment(manual_adjustment);
                record.correction("late_ns", *late);
                record.put("late_adjustment", snake_case(adjustment));
            }
            BoundBroken { gap } => record.span("gap_ns", *gap),
            Suspended { slept } => record.span("slept_ns", *slept),
            Holdover { reason } => record.put("reason", snake_case(reason)),
            Recovered => {}
            ReferenceGained { max_error } => record.span("max_error_ns", *max_error),
            ReferenceLost { reason } => record.put("reason", snake_case(reason)),
        }
    }

    fn text(&self, at: &ClockSnapshot) -> Option<String> {
        Some(match self {
            Registering { server, attempt: 1 } => format!("Connecting to the server {server}"),
            // A server may be away for days.
            Registering { attempt, .. } if *attempt > ALL_ATTEMPTS && !attempt.is_power_of_two() => {
                return None;
            }
            Registering { server, attempt } => {
                format!("Connecting to the server {server}, attempt {attempt}")
            }
            Unresolved { rank, attempt } => format!(
                "The name of server {} cannot be resolved, attempt {attempt}; trying again",
                place_of(*rank)
            ),
            Registered { server, cluster, interval } => {
                let timestamps = at.timestamps;
                let when = until_corrected(at, *cluster, *interval);
                format!(
                    "Connected to the server {server}, a round each {interval}, timestamps: {timestamps}{when}"
                )
            }
            Refused { server, reason: RejectReason::Version, version } => format!(
                "Refused by the server {server}: it speaks version {version} of the protocol, this client \
                 version {VERSION}; run the same meantime on both"
            ),
            Refused { server, reason, .. } => format!("Refused by {server}: {reason}; trying again"),
            UpstreamRefused { server, reason } => {
                format!(
                    "No time is taken from the server {server}: {reason}; one of the two needs another --upstream"
                )
            }
            Follows { .. } | ListDiffers { .. } | Doubts { .. } | Distrusts { .. } | Trusts { .. } => {
                return server_text(self);
            }
            Corrected { .. } => synchronized(self, at),
            Ignored { correction, in_a_row, .. } => {
                format!("Correction {correction} taken for an outlier, {in_a_row} in a row")
            }
            RefusedCorrection { correction, refused, reason, .. } => {
                let refused = refused.unwrap_or(*correction);
                format!("Correction {refused} refused: {reason}{}", limit_option(*reason))
            }
            TimeSet { manual_adjustment, late, adjustment } => match late.span() {
                Span::ZERO => time_set(manual_adjustment),
                _ => {
                    format!("{}; received late: {late} is added ({adjustment})", time_set(manual_adjustment))
                }
            },
            BoundBroken { gap } => format!(
                "Bound broken by {gap}: an assumption about this clock, its timestamps or the server's clock was wrong"
            ),
            Suspended { slept } => {
                format!("Suspended: the machine slept for {slept}; joining again")
            }
            Holdover { reason } => {
                format!("Holdover: {reason}; the clock runs on at its learned frequency{}", bound(at))
            }
            Recovered => "Recovered: the server corrects this clock again".into(),
            ReferenceGained { max_error } => reference_gained(*max_error),
            ReferenceLost { reason } => reference_lost(*reason),
        })
    }

    fn level(&self) -> Option<Level> {
        match self {
            Unresolved { .. }
            | Refused { .. }
            | UpstreamRefused { .. }
            | ListDiffers { .. }
            | Doubts { .. }
            | Distrusts { .. }
            | RefusedCorrection { .. }
            | TimeSet { .. }
            | BoundBroken { .. }
            | Suspended { .. }
            | Holdover { .. }
            | ReferenceLost { .. } => Some(Level::Warn),
            Ignored { .. } | Follows { .. } | Trusts { .. } | Recovered | ReferenceGained { .. } => {
                Some(Level::Info)
            }
            _ => None,
        }
    }
}

/// The fields of the events about several servers.
fn server_fields(event: &ClientEvent, record: &mut Record) {
    match event {
        Follows { server, rank, term } => {
            record.put("server", server.to_string());
            record.put("rank", place_of(*rank));
            record.put("term", term.counter());
        }
        ListDiffers { server, own, rank, servers } => {
            record.put("server", server.to_string());
            record.put("rank", place_of(*own));
            record.put("stated_rank", place_of(*rank));
            record.put("stated_servers", *servers);
        }
        Doubts { rank, gap } => {
            record.put("rank", place_of(*rank));
            record.span("gap_ns", *gap);
        }
        Distrusts { server, rank } | Trusts { server, rank } => {
            record.put("server", server.to_string());
            record.put("rank", place_of(*rank));
        }
        _ => {}
    }
}

/// What has happened between the client and one of several servers.
fn server_text(event: &ClientEvent) -> Option<String> {
    Some(match event {
        Follows { server, rank, term } => {
            format!("Following server {} ({server}) in term {}", place_of(*rank), term.counter())
        }
        ListDiffers { server, own, rank, servers } => format!(
            "The lists of servers differ: {server} is server {} of this list, and calls itself server {} of {servers}; \
             give all servers and clients the same list",
            place_of(*own),
            place_of(*rank)
        ),
        Doubts { rank, gap } => format!(
            "Doubt: the time of server {} contradicts what this clock has proved, by {gap}; it is not followed until \
             other servers are heard",
            place_of(*rank)
        ),
        Distrusts { server, rank } => format!(
            "Distrust: other servers contradict the time of server {} ({server}), and agree; it is not followed",
            place_of(*rank)
        ),
        Trusts { server, rank } => {
            format!("Server {} ({server}) is trusted again: no other servers contradict it", place_of(*rank))
        }
        _ => return None,
    })
}

/// The fields of a correction that the clock has followed.
fn corrected_fields(event: &ClientEvent, record: &mut Record) {
    let Corrected { round, correction, added, manual, adjustment, .. } = event else { return };
    let Corrected { delay, frequency, error, bound, verdict, first, .. } = event else { return };
    record.round_correction(*round, *correction);
    record.correction("added_ns", *added);
    record.correction("manual_ns", *manual);
    record.put("adjustment", snake_case(adjustment));
    record.span("delay_ns", *delay);
    record.frequency("frequency_ppb", *frequency);
    record.span("error_ns", *error);
    record.known_span("bound_ns", *bound);
    record.put("verdict", snake_case(verdict));
    record.put("first", *first);
    record.system();
}

/// The option that raises the limit that a refused correction exceeds, in brackets; empty: there is none.
fn limit_option(reason: Refusal) -> &'static str {
    match reason {
        Refusal::FirstStepTooLarge => " (--panic)",
        Refusal::StepTooLarge => " (--max-step)",
        Refusal::ImplausibleFrequency => " (--max-frequency)",
        Refusal::SlewTooLong | Refusal::ImplausibleTime => "",
    }
}

/// What a client that has just registered waits for.
fn until_corrected(at: &ClockSnapshot, cluster: ClusterId, interval: Span) -> String {
    match at.reading.state {
        ClientState::Holdover => format!(
            "\nThe clock runs on at its learned frequency{} until the server sends corrections, which takes a server \
             that has restarted {SILENT_ROUNDS} rounds ({})",
            bound(at),
            interval.times(SILENT_ROUNDS.into())
        ),
        ClientState::Unsynchronized if cluster == ClusterId::default() => {
            "\nThe cluster has no time yet: the server waits for a majority of clocks that agree".into()
        }
        _ => String::new(),
    }
}

/// The clock's bound, in brackets, if it is known.
fn bound(at: &ClockSnapshot) -> String {
    at.reading.bound.map_or(String::new(), |bound| format!(" (bound {bound})"))
}

/// The attempts up to this number are all printed, the later ones if their number is a power of two.
const ALL_ATTEMPTS: u32 = 5;

/// The classic line about a correction, and the figures after it.
fn synchronized(event: &ClientEvent, at: &ClockSnapshot) -> String {
    let time = classic_time(at.reading.time);
    let line = format!("Synchronized time at the client is: {time}");
    match event {
        Corrected { added, adjustment, delay, frequency, error, bound, .. } => format!(
            "{line} (correction {added}{}, {adjustment}, delay {delay}, frequency {:+.3} ppm, error {error}, \
             bound {})",
            asked_otherwise(event),
            frequency.ppm(),
            bound.map_or("unknown".into(), |bound| bound.to_string())
        ),
        _ => line,
    }
}

/// What the server asked for, with the manual time adjustment, if that is so far from what was added that
/// neither the measurement nor the oscillator explains it; else empty.
fn asked_otherwise(event: &ClientEvent) -> String {
    let Corrected { correction, added, manual, delay, error, .. } = event else { return String::new() };
    let asked = correction.span() + manual.span();
    let difference = (asked - added.span()).abs();
    let explained = (*delay + *error).max(asked.abs().over(10));
    match difference > explained {
        true => format!(" where the server asked {asked:+}"),
        false => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::OutputFormat;
    use super::super::tests::{observation, printed};
    use super::*;
    use meantime_core::event::{Adjustment, HoldoverReason};
    use meantime_core::time::Frequency;
    use meantime_core::wire::Verdict;

    fn corrected() -> ClientEvent {
        corrected_by(Span::from_secs(-2), Span::from_millis(-1_999), Span::ZERO)
    }

    /// What the server asked, what was added, and what of that are manual time adjustments.
    fn corrected_by(asked: Span, added: Span, manual: Span) -> ClientEvent {
        Corrected {
            round: 3,
            correction: Correction::adding(asked),
            added: Correction::adding(added),
            manual: Correction::adding(manual),
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
            printed(OutputFormat::Text, &corrected()),
            "Synchronized time at the client is: 2025-08-21 16:30:12.123456 \
             (correction -2.0 s, step, delay 80.0 µs, frequency -50.000 ppm, error 3.0 µs, bound 44.0 µs)\n"
        );
    }

    #[test]
    fn a_correction_has_all_its_figures_in_json() {
        assert!(printed(OutputFormat::Json, &corrected()).ends_with(
            "\"cluster_ns\":1755793812123456789,\"error_ns\":3000,\"bound_ns\":44000,\"round\":3,\"correction_ns\":-2000000000,\
             \"added_ns\":-1999000000,\"manual_ns\":0,\"adjustment\":\"step\",\"delay_ns\":80000,\"frequency_ppb\":-50000.0,\
             \"verdict\":\"agrees\",\"first\":true}\n"
        ));
    }

    #[test]
    fn a_correction_prints_what_was_added_to_the_clock_and_what_was_asked_only_if_that_differs() {
        let line = |asked, added, manual| {
            let line = printed(OutputFormat::Text, &corrected_by(asked, added, manual));
            line.split_once("(correction ").unwrap().1.split_once(", step").unwrap().0.to_owned()
        };
        let (ns, hour) = (Span::from_nanos, Span::from_secs(3_600));
        assert_eq!(line(-hour, ns(12), hour), "+12 ns");
        assert_eq!(line(ns(3_000), hour, hour), "+1.0 h");
        assert_eq!(line(ns(70_000), ns(-3_000), Span::ZERO), "-3.0 µs");
        assert_eq!(line(hour, hour - ns(90_000_000), Span::ZERO), "+1.0 h");
        assert_eq!(line(ns(500_000), ns(12_000), Span::ZERO), "+12.0 µs where the server asked +500 µs");
    }

    /// The text of this event while the clock is in this state.
    fn text(event: &ClientEvent, state: ClientState) -> Option<String> {
        let mut at = observation();
        at.reading.state = state;
        event.text(&at)
    }

    #[test]
    fn attempts_at_an_absent_server_are_printed_ever_more_rarely() {
        let server = "192.0.2.1:5525".parse().unwrap();
        let printed = |attempt| text(&Registering { server, attempt }, ClientState::Holdover).is_some();
        let printed: Vec<u32> = (1..1_000).filter(|attempt| printed(*attempt)).collect();
        assert_eq!(printed, [1, 2, 3, 4, 5, 8, 16, 32, 64, 128, 256, 512]);
    }

    #[test]
    fn a_client_that_registers_again_prints_how_long_the_server_sends_no_corrections() {
        let server = "192.0.2.1:5525".parse().unwrap();
        let registered = |cluster| Registered { server, cluster, interval: Span::from_secs(5) };
        let connected = "Connected to the server 192.0.2.1:5525, a round each 5.0 s, timestamps: kernel";
        let (none, some) = (ClusterId::default(), ClusterId(7));
        let shown = |cluster, state| text(&registered(cluster), state).unwrap();
        assert_eq!(shown(some, ClientState::Synchronized), connected);
        assert_eq!(shown(some, ClientState::Unsynchronized), connected);
        assert_eq!(
            shown(none, ClientState::Holdover),
            format!(
                "{connected}\nThe clock runs on at its learned frequency (bound 110 µs) until the server sends \
                 corrections, which takes a server that has restarted 24 rounds (2.0 min)"
            )
        );
        assert_eq!(
            shown(none, ClientState::Unsynchronized),
            format!(
                "{connected}\nThe cluster has no time yet: the server waits for a majority of clocks that agree"
            )
        );
    }

    #[test]
    fn holdover_is_a_warning_with_its_reason() {
        let holdover = Holdover { reason: HoldoverReason::ServerLeft };
        let text = printed(OutputFormat::Text, &holdover);
        assert!(text.starts_with("Holdover: the server has left;") && text.ends_with(" (bound 110 µs)\n"));
        assert!(printed(OutputFormat::Json, &holdover).ends_with("\"reason\":\"server_left\"}\n"));
        assert_eq!(holdover.level(), Some(Level::Warn));
    }
}
