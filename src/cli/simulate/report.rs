//! The results of a run, as text and as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::report::counted;
use meantime_core::time::{Frequency, Span};
use meantime_sim::random_faults::Recoveries;
use meantime_sim::summary::{Excluded, FromUtc, word};
use meantime_sim::{Scenario, Summary};

/// For people.
pub(super) fn text(scenario: &Scenario, summary: &Summary, recoveries: Option<&Recoveries>) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_text(&mut text, scenario, summary);
    if let Some(Recoveries { episodes, failed, slowest, .. }) = recoveries {
        let again = episodes - failed.len();
        let _ = writeln!(
            text,
            "  {:<38}{episodes}, in agreement again after {again}, {slowest} at most",
            "episodes of faults"
        );
        for end in failed {
            let _ = writeln!(text, "    not in agreement at {:.0} s", end.as_secs_f64());
        }
    }
    text
}

fn write_text(text: &mut String, scenario: &Scenario, summary: &Summary) -> std::fmt::Result {
    let Scenario { clients, servers, liars, duration, settle, .. } = scenario;
    let members = counted(*clients, "client");
    let servers = if *servers > 1 { counted(*servers, "server") } else { "A server".to_owned() };
    writeln!(
        text,
        "{servers} and {members} ({liars} of them liars), {} s, seed {}\n",
        seconds(*duration),
        summary.seed
    )?;
    for (limit, since) in ["1 ms", "100 µs", "10 µs"].iter().zip(summary.agreed) {
        writeln!(text, "  {:<38}{}", format!("all within {limit}, and so to the end"), since_words(since))?;
    }
    let calm = since_words(summary.calm);
    writeln!(text, "  {:<38}{calm}", "a whole minute within 10 µs RMS")?;
    let settled = format!("disagreement of two clocks after {:.0} s", seconds(*settle));
    writeln!(
        text,
        "  {settled:<38} {} RMS, {} at most",
        length(summary.spreads.rms()),
        length(summary.spreads.max())
    )?;
    if let Some(FromUtc { max, last }) = summary.from_utc.filter(|_| !scenario.references.is_empty()) {
        let name = format!("distance from UTC after {:.0} s", seconds(*settle));
        writeln!(text, "  {name:<38} {max} at most, {last} at the end")?;
    }
    let (ratio, share) = (summary.calibration.ratio_rms(), summary.calibration.within_share());
    writeln!(
        text,
        "  {:<38}{} RMS, {} within it",
        "clients' errors over those stated",
        ratio.map_or_else(|| "unknown".to_owned(), |ratio| format!("{ratio:.2}")),
        share.map_or_else(|| "unknown".to_owned(), |share| format!("{:.0} %", share * 100.0)),
    )?;
    writeln!(text, "  {:<38}{} times", "stated bounds violated", summary.calibration.bound_violations())?;
    // Runs of less than some hours say nothing about it.
    if let Some(rms) = summary.rate_rms {
        let name = "cluster's rate against its members'";
        writeln!(text, "  {name:<38}{} RMS, {} at most", rate(rms), rate(summary.rate_max))?;
    }
    writeln!(
        text,
        "  {:<38}{:.2} in a second",
        "datagrams for each client", summary.packets_per_client_per_s
    )?;
    let rounds = summary.rounds;
    writeln!(
        text,
        "  {:<38}{}, {} agreed, {} unsure, {} with the server in doubt",
        "rounds", rounds.ended, rounds.agreed, rounds.unsure, rounds.in_doubt
    )?;
    write_excluded(text, summary)
}

fn write_excluded(text: &mut String, summary: &Summary) -> std::fmt::Result {
    if summary.excluded.is_empty() {
        return writeln!(text, "  {:<38}no member", "left out of the vote");
    }
    writeln!(text, "  left out of the vote:")?;
    for Excluded { name, reason, times, first, offset } in &summary.excluded {
        writeln!(
            text,
            "    {name:<36}{reason}, by {offset:+}, first at {:.1} s, {times}×",
            first.as_secs_f64()
        )?;
    }
    Ok(())
}

/// For programs: the summary line.
pub(super) fn json(summary: &Summary, recoveries: Option<&Recoveries>) -> Value {
    let [ms, us100, us10] = summary.agreed.map(|since| since.map(seconds));
    let mut line = json!({
        "event": "summary",
        "seed": summary.seed,
        "pairwise_rms_ns": summary.spreads.rms().map(Span::as_nanos),
        "pairwise_max_ns": summary.spreads.max().map(Span::as_nanos),
        "from_utc_max_ns": summary.from_utc.map(|from_utc| from_utc.max.as_nanos()),
        "from_utc_end_ns": summary.from_utc.map(|from_utc| from_utc.last.as_nanos()),
        "agreed_1ms_s": ms,
        "agreed_100us_s": us100,
        "agreed_10us_s": us10,
        "rms_10us_s": summary.calm.map(seconds),
        "error_ratio_rms": summary.calibration.ratio_rms(),
        "error_within_share": summary.calibration.within_share(),
        "bound_violations": summary.calibration.bound_violations(),
        "rate_rms_ppb": summary.rate_rms.map(Frequency::ppb),
        "rate_max_ppb": summary.rate_rms.map(|_| summary.rate_max.ppb()),
        "packets_per_client_per_s": summary.packets_per_client_per_s,
        "rounds": summary.rounds.ended,
        "rounds_agreed": summary.rounds.agreed,
        "rounds_unsure": summary.rounds.unsure,
        "excluded": summary.excluded.iter().map(excluded).collect::<Vec<_>>(),
        "trace": format!("{:016x}", summary.trace),
    });
    if let Some(Recoveries { episodes, failed, slowest, .. }) = recoveries {
        line["episodes"] = json!(episodes);
        line["episodes_failed"] = json!(failed.len());
        line["slowest_recovery_s"] = json!(seconds(*slowest));
    }
    line
}

fn excluded(excluded: &Excluded) -> Value {
    json!({
        "name": excluded.name,
        "reason": word(excluded.reason),
        "times": excluded.times,
        "first_s": seconds(excluded.first),
        "offset_ns": excluded.offset.as_nanos(),
    })
}

fn since_words(since: Option<Span>) -> String {
    since.map_or_else(|| "never".to_owned(), |since| format!("after {:.0} s", since.as_secs_f64()))
}

/// Seconds by division, which gives 60 instead of 60.00000000000001.
fn seconds(span: Span) -> f64 {
    span.as_nanos() as f64 / 1e9
}

fn length(span: Option<Span>) -> String {
    span.map_or_else(|| "unknown".to_owned(), |span| span.to_string())
}

fn rate(frequency: Frequency) -> String {
    format!("{:.1} ppb", frequency.ppb())
}

#[cfg(test)]
mod tests {
    use super::*;
    use meantime_core::event::Exclusion;
    use meantime_sim::evaluation::Evaluation;
    use meantime_sim::summary::Rounds;

    fn summary() -> Summary {
        let reason = Exclusion::OutsideWindow;
        let offset = Span::from_secs(1);
        let liar = Excluded { name: "client-3".into(), reason, times: 2, first: offset, offset };
        Summary {
            seed: 7,
            agreed: [Some(Span::from_secs(3)), None, None],
            rounds: Rounds { ended: 9, agreed: 8, unsure: 1, in_doubt: 0 },
            excluded: vec![liar],
            ..Evaluation::new(Span::ZERO).summary()
        }
    }

    #[test]
    fn the_text_names_the_excluded_members_with_the_reason() {
        let text = text(&Scenario::default(), &summary(), None);
        assert!(text.contains("client-3"), "{text}");
        assert!(text.contains("too far from the median, by +1.0 s, first at 1.0 s, 2×"), "{text}");
        assert!(text.contains("after 3 s") && text.contains("never"), "{text}");
    }

    #[test]
    fn the_text_says_how_many_servers_there_are() {
        let several = Scenario { servers: 3, ..Scenario::default() };
        assert!(text(&Scenario::default(), &summary(), None).starts_with("A server and 3 clients"));
        assert!(text(&several, &summary(), None).starts_with("3 servers and 3 clients"));
    }

    #[test]
    fn the_json_has_every_field_and_null_for_never() {
        let json = super::json(&summary(), None);
        assert_eq!(json["event"], "summary");
        assert_eq!(json["agreed_1ms_s"], 3.0);
        assert_eq!((&json["agreed_100us_s"], &json["pairwise_rms_ns"]), (&Value::Null, &Value::Null));
        assert_eq!(json["excluded"][0]["reason"], "outside_window");
        for (field, value) in [
            ("rms_10us_s", Value::Null),
            ("error_ratio_rms", Value::Null),
            ("error_within_share", Value::Null),
            ("bound_violations", json!(0)),
        ] {
            assert_eq!(json[field], value, "{field}");
        }
    }
}
