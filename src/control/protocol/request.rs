//! What a program can ask.

use serde::{Deserialize, Serialize};

use crate::report::AdjustmentMethod;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// The state of the node and, if it is a server, of all clients.
    Status,
    /// The events that the node has logged.
    Events {
        /// Only events with a larger number than this.
        #[serde(default)]
        since: u64,
    },
    /// Takes the votes of clients away.
    Remove {
        /// A name, an address with or without the port, or a network.
        member: String,
    },
    /// Gives clients their votes back.
    Pin {
        /// A name, an address with or without the port, or a network.
        member: String,
    },
    /// Ends the sessions of clients, and admits them no more.
    Ban {
        /// A name, an address with or without the port, or a network.
        member: String,
    },
    /// Lifts a ban.
    Unban {
        /// A name, an address with or without the port, or a network.
        member: String,
    },
    /// Adjusts the time of the whole cluster.
    SetTime(SetTime),
    /// Lets the active server hand over to a standby server.
    Takeover {
        /// The place in the list, name or address of the server that is to take over; `None`: the best.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        server: Option<String>,
    },
}

/// A manual adjustment of the cluster's time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SetTimeFields", into = "SetTimeFields")]
pub struct SetTime {
    /// By how much, or to which time.
    pub target: TimeTarget,
    /// Step or slew.
    pub method: AdjustmentMethod,
}

/// By how much, or to which time, the cluster's time is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeTarget {
    /// By this many nanoseconds; positive: forward.
    ByNs(i64),
    /// To this time at the moment of the request, in nanoseconds since 1970.
    ToNs(i64),
    /// To what the clock of this member shows: the server's name, or a client's name or address.
    From(String),
}

/// The fields of [`SetTime`] as they stand in the JSON object.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct SetTimeFields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by_ns: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to_ns: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    step: bool,
}

/// A request that names no target, or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request needs one of the fields `by_ns`, `to_ns` (whole nanoseconds) and `from` (a member)")]
struct AmbiguousTarget;

impl TryFrom<SetTimeFields> for SetTime {
    type Error = AmbiguousTarget;

    fn try_from(fields: SetTimeFields) -> Result<SetTime, AmbiguousTarget> {
        let target = match (fields.by_ns, fields.to_ns, fields.from) {
            (Some(by), None, None) => TimeTarget::ByNs(by),
            (None, Some(to), None) => TimeTarget::ToNs(to),
            (None, None, Some(member)) => TimeTarget::From(member),
            _ => return Err(AmbiguousTarget),
        };
        let method = if fields.step { AdjustmentMethod::Step } else { AdjustmentMethod::Slew };
        Ok(SetTime { target, method })
    }
}

impl From<SetTime> for SetTimeFields {
    fn from(request: SetTime) -> SetTimeFields {
        let step = request.method == AdjustmentMethod::Step;
        let fields = SetTimeFields { by_ns: None, to_ns: None, from: None, step };
        match request.target {
            TimeTarget::ByNs(by) => SetTimeFields { by_ns: Some(by), ..fields },
            TimeTarget::ToNs(to) => SetTimeFields { to_ns: Some(to), ..fields },
            TimeTarget::From(member) => SetTimeFields { from: Some(member), ..fields },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Request, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn each_request_is_read_as_it_is_written() {
        let by = SetTime { target: TimeTarget::ByNs(-5), method: AdjustmentMethod::Slew };
        let to = SetTime { target: TimeTarget::ToNs(7), method: AdjustmentMethod::Step };
        let from = SetTime { target: TimeTarget::From("a".into()), method: AdjustmentMethod::Step };
        for (request, text) in [
            (Request::Status, r#"{"request":"status"}"#),
            (Request::Events { since: 3 }, r#"{"request":"events","since":3}"#),
            (Request::Remove { member: "a".into() }, r#"{"request":"remove","member":"a"}"#),
            (Request::Pin { member: "b".into() }, r#"{"request":"pin","member":"b"}"#),
            (Request::Ban { member: "c".into() }, r#"{"request":"ban","member":"c"}"#),
            (Request::Unban { member: "d".into() }, r#"{"request":"unban","member":"d"}"#),
            (Request::SetTime(by), r#"{"request":"set_time","by_ns":-5,"step":false}"#),
            (Request::SetTime(to), r#"{"request":"set_time","to_ns":7,"step":true}"#),
            (Request::SetTime(from), r#"{"request":"set_time","from":"a","step":true}"#),
            (Request::Takeover { server: None }, r#"{"request":"takeover"}"#),
            (Request::Takeover { server: Some("b".into()) }, r#"{"request":"takeover","server":"b"}"#),
        ] {
            assert_eq!(serde_json::to_string(&request).unwrap(), text);
            assert_eq!(parse(text), Ok(request));
        }
        assert_eq!(parse(r#"{"request":"events"}"#), Ok(Request::Events { since: 0 }));
        assert_eq!(parse(r#"{"request":"status","of":"a newer program"}"#), Ok(Request::Status));
    }

    #[test]
    fn a_malformed_request_is_an_error_that_names_the_fault() {
        for (text, fault) in [
            ("{}", "missing field `request`"),
            (r#"{"request":"destroy"}"#, "unknown variant `destroy`"),
            (r#"{"request":"remove"}"#, "missing field `member`"),
            (r#"{"request":"set_time","by_ns":1}"#, "missing field `step`"),
            (r#"{"request":"set_time","step":true}"#, "one of the fields `by_ns`, `to_ns`"),
            (r#"{"request":"set_time","by_ns":1,"to_ns":1,"step":true}"#, "one of the fields"),
            (r#"{"request":"set_time","by_ns":1,"from":"a","step":true}"#, "one of the fields"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(fault), "{text}: {error}");
        }
    }
}
