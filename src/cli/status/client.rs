//! A client, as it sees itself.

use serde_json::Value;

use super::{Paint, ppm, signed, span, words};

/// One line for each thing that matters.
pub(crate) fn page(answer: &Value, paint: Paint) -> String {
    let state = answer["state"].as_str().unwrap_or("-");
    let why =
        answer["holdover"].as_str().map_or(String::new(), |_| format!(": {}", words(&answer["holdover"])));
    let server = answer["server"].as_str().unwrap_or("not found yet");
    let link = match answer["registered"].as_bool() {
        Some(true) => format!(
            "{server}, a round each {}, heard {} ago",
            span(&answer["interval_ns"]),
            span(&answer["heard_ago_ns"])
        ),
        _ => format!("{server}, not registered"),
    };
    let last = &answer["last_correction"];
    let correction = match last.is_null() {
        true => "none yet".to_owned(),
        false => format!(
            "{} ({}) in round {}, {} ago; delay {}",
            signed(&last["added_ns"]),
            words(&last["adjustment"]),
            last["round"],
            span(&last["ago_ns"]),
            span(&last["delay_ns"])
        ),
    };
    let set = super::being_set(&answer["setting"]);
    format!(
        "State            {}{why}\n\
         Server           {link}\n\
         Time             {}\n\
         Estimated error  {}\n\
         Bound            {}\n\
         Frequency        {} ppm over this oscillator\n\
         Last correction  {correction}\n\
         Timestamps       {}\n{set}",
        paint.state(state),
        answer["time"].as_str().unwrap_or("-"),
        span(&answer["error_ns"]),
        span(&answer["bound_ns"]),
        ppm(&answer["frequency_ppb"]),
        words(&answer["timestamps"]),
    )
}
