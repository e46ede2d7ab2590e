//! The requests that tell a server to change something. Whoever may open its control socket may ask for them.

use serde_json::{Value, json};

use crate::report::snake_case;
use meantime_core::Server;
use meantime_core::consensus::SetTimeError;
use meantime_core::event::{Adjustment, Peer};
use meantime_core::server::{Target, VoteChange, VoteChangeError};
use meantime_core::time::{Now, Span, Timestamp};

/// What such requests are called.
pub(super) const NAMES: [&str; 3] = ["remove", "pin", "set_time"];

/// Does what a request tells a server to; `None`: it is another kind of request.
pub(super) fn server(server: &mut Server, now: Now, request: &Value) -> Option<Result<Value, String>> {
    let member = || request["member"].as_str().ok_or("the request has no field 'member' with a string in it");
    Some(match request["request"].as_str()? {
        "remove" => {
            member().map_err(str::to_owned).and_then(|whom| vote_change(server.remove_from_vote(whom)))
        }
        "pin" => member().map_err(str::to_owned).and_then(|whom| vote_change(server.pin_to_vote(whom))),
        "set_time" => set_time(server, now, request),
        _ => return None,
    })
}

fn vote_change(result: Result<VoteChange, VoteChangeError>) -> Result<Value, String> {
    let VoteChange { client, changed } = result.map_err(|error| with_advice(&error))?;
    let mut answer = peer(&client);
    answer["changed"] = changed.into();
    Ok(answer)
}

/// The error, and what the operator can do.
fn with_advice(error: &VoteChangeError) -> String {
    let advice = match error {
        VoteChangeError::Unknown(_) => "`meantime status` lists all clients",
        VoteChangeError::Ambiguous { .. } => "give its address with the port",
        VoteChangeError::OwnClock(_) => "run the server on another machine",
        VoteChangeError::TableFull(_) => "give some back first (`meantime members pin`)",
    };
    format!("{error}; {advice}")
}

/// The error, and what the operator can do.
fn set_time_advice(error: &SetTimeError) -> String {
    let advice = match error {
        SetTimeError::NoClusterTime => "`meantime status` shows its state",
        SetTimeError::Unsure => "try again when a round has ended in agreement",
        SetTimeError::Implausible => "--plausible-from of the server sets the earliest plausible time",
        SetTimeError::SlewTooLong { .. } => "add --step to set it at once",
        SetTimeError::InProgress(_) | SetTimeError::Zero => return error.to_string(),
    };
    format!("{error}; {advice}")
}

fn set_time(server: &mut Server, now: Now, request: &Value) -> Result<Value, String> {
    let how = match request["step"].as_bool() {
        Some(true) => Adjustment::Step,
        Some(false) => Adjustment::Slew,
        None => return Err("the request has no field 'step' that is true or false".into()),
    };
    let target = match (request["by_ns"].as_i64(), request["to_ns"].as_i64()) {
        (Some(by), None) => Target::By(Span::from_nanos(by)),
        (None, Some(to)) => Target::To(Timestamp::from_nanos(to)),
        _ => {
            return Err("the request has either a field 'by_ns' or a field 'to_ns', whole nanoseconds".into());
        }
    };
    let setting = server.set_time(now, target, how).map_err(|error| set_time_advice(&error))?;
    let starts = server.overview(now).manual_adjustment.map(|setting| setting.starts_in.as_nanos());
    Ok(json!({
        "amount_ns": setting.amount.as_nanos(),
        "adjustment": snake_case(how),
        "starts_in_ns": starts,
        "takes_ns": setting.length().as_nanos(),
    }))
}

/// Who.
pub(super) fn peer(peer: &Peer) -> Value {
    json!({ "name": peer.name.as_str(), "address": peer.address.to_string() })
}
