//! The page of a client.

use super::text::{Paint, pending_adjustment, ppm, signed, span, words};
use crate::control::protocol::{ClientStatus, LastCorrection, Status};

/// One line for each property of the client.
pub(crate) fn page(status: &Status, client: &ClientStatus, paint: Paint) -> String {
    let why = client.holdover.as_ref().map_or(String::new(), |why| format!(": {}", words(why.as_str())));
    let correction = client.last_correction.as_ref().map_or("none yet".to_owned(), correction);
    format!(
        "State            {}{why}\n\
         Server           {}\n\
         Time             {}\n\
         Estimated error  {}\n\
         Bound            {}\n\
         Frequency        {} ppm over this oscillator\n\
         Last correction  {correction}\n\
         Timestamps       {}\n{}",
        paint.state(client.state.as_str()),
        registration(client),
        status.header.time,
        span(status.header.error_ns),
        span(status.header.bound_ns),
        ppm(Some(client.frequency_ppb)),
        words(client.timestamps.as_str()),
        pending_adjustment(client.manual_adjustment.as_ref()),
    )
}

fn registration(client: &ClientStatus) -> String {
    let server = client.server.map_or("not found yet".to_owned(), |server| server.to_string());
    match client.registered {
        true => {
            let (interval, heard) = (span(client.interval_ns), span(client.heard_ago_ns));
            format!("{server}, a round each {interval}, heard {heard} ago")
        }
        false => format!("{server}, not registered"),
    }
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
