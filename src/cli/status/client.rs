//! The page of a client.

use super::servers;
use super::text::{Paint, pending_adjustment, ppm, signed, span, words};
use crate::control::protocol::{
    ClientStatus, LastCorrection, RefusalCause, RefusedCorrection, Status, UpstreamFaultCause,
};

/// One line for each property of the client.
pub(crate) fn page(status: &Status, client: &ClientStatus, paint: Paint) -> String {
    let correction = client.last_correction.as_ref().map_or("none yet".to_owned(), correction);
    format!(
        "State            {}{}\n\
         Server           {}\n{}{}\
         Time             {}\n\
         Estimated error  {}\n\
         Bound            {}\n\
         Frequency        {} ppm over this oscillator\n\
         Last correction  {correction}\n{}\
         Timestamps       {}\n{}",
        paint.state(client.state.as_str()),
        why_in_holdover(client),
        registration(client),
        undecided(client),
        other_servers(client, paint),
        status.header.time,
        span(status.header.error_ns),
        span(status.header.bound_ns),
        ppm(Some(client.frequency_ppb)),
        client.refused_correction.as_ref().map_or(String::new(), refusal),
        words(client.timestamps.as_str()),
        pending_adjustment(client.manual_adjustment.as_ref()),
    )
}

/// Why the clock is in holdover, behind a colon; empty: it is not.
pub(super) fn why_in_holdover(client: &ClientStatus) -> String {
    client.holdover.as_ref().map_or(String::new(), |why| format!(": {}", words(why.as_str())))
}

/// A line if a relay takes no time from its server.
pub(super) fn not_followed(client: &ClientStatus) -> String {
    let why = match &client.upstream_fault {
        None => return String::new(),
        Some(UpstreamFaultCause::Loop) => "it is a client of this relay, or of one below it".to_owned(),
        Some(UpstreamFaultCause::TooManyLevels) => "it is of the last level that there can be".to_owned(),
        Some(UpstreamFaultCause::Unknown(word)) => words(word),
    };
    format!("No time is taken from that server: {why}. One of the two needs another --upstream\n")
}

/// The server, and how the client stands to it.
pub(super) fn registration(client: &ClientStatus) -> String {
    let server = match (client.server, client.servers.is_empty()) {
        (Some(server), _) => server.to_string(),
        (None, true) => "not found yet".to_owned(),
        (None, false) => return format!("none of {} is followed", client.servers.len()),
    };
    match client.registered {
        true => {
            let (interval, heard) = (span(client.interval_ns), span(client.heard_ago_ns));
            format!("{server}, a round each {interval}, heard {heard} ago")
        }
        false => format!("{server}, not registered"),
    }
}

/// The servers of its list, if there are several.
fn other_servers(client: &ClientStatus, paint: Paint) -> String {
    let table = servers::table(&client.servers, paint);
    let line = |(number, line): (usize, &str)| match number {
        0 => format!("Servers          {line}\n"),
        _ => format!("                 {line}\n"),
    };
    table.lines().enumerate().map(line).collect()
}

/// A line if the server corrects no clock because it has no cluster time.
fn undecided(client: &ClientStatus) -> &'static str {
    match client.server_undecided {
        Some(true) => {
            "Cluster          no time yet, so the server corrects no clock; `meantime status` on its machine \
             says why\n"
        }
        Some(false) | None => "",
    }
}

/// Lines about the correction that was refused: what, why, and what the operator can do.
pub(super) fn refusal(refused: &RefusedCorrection) -> String {
    let amount = signed(Some(refused.refused_ns.unwrap_or(refused.correction_ns)));
    let limit = span(refused.limit_ns);
    let (why, advice) = match &refused.reason {
        RefusalCause::FirstStepTooLarge => (
            format!("the first step is larger than --panic {limit}"),
            "set this machine's clock, or start the client with a larger --panic",
        ),
        RefusalCause::StepTooLarge => (
            format!("the step is larger than --max-step {limit}"),
            "restart the client, or start it with a larger --max-step",
        ),
        RefusalCause::ImplausibleFrequency => (
            "the frequency exceeds --max-frequency".into(),
            "restart the client, or start it with a larger --max-frequency",
        ),
        RefusalCause::ImplausibleTime => (
            "it leads to a time before --plausible-from or after --plausible-until".into(),
            "start the client with other limits",
        ),
        RefusalCause::SlewTooLong => ("the slew would take more than a day".into(), "restart the client"),
        RefusalCause::Unknown(word) => (words(word), "restart the client"),
    };
    let ago = span(Some(refused.ago_ns));
    format!(
        "Refused          {amount}, {ago} ago: {why}\n\
         \x20                If the server's time is right, {advice}\n"
    )
}

fn correction(last: &LastCorrection) -> String {
    format!(
        "{} ({}) in round {}, {} ago; delay {}",
        signed(Some(last.added_ns)),
        words(last.adjustment.as_str()),
        last.round,
        span(Some(last.ago_ns)),
        span(Some(last.delay_ns))
    )
}
