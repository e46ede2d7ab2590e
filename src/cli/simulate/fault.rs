//! Faults as people type them: `600s:jump:server:1h`, `10min:crash:client-2`,
//! `600s:ramp:client-1:1ppm:10min`.

use crate::cli::units::{self, ValueError};
use meantime_core::event::Adjustment;
use meantime_core::time::Span;
use meantime_sim::{Attack, Directions, Fault, MemberIndex};

/// Why a fault or a start cannot be used, and what to type instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FaultError {
    /// The text has too few parts.
    #[error("a fault is WHEN:WHAT:WHO, as in {EXAMPLE}")]
    Form,
    /// A start is not a node and a time.
    #[error("type WHO@WHEN, as in client-3@600s")]
    JoinForm,
    /// A duration or a frequency is wrong.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// There is no such node.
    #[error("'{0}' is not a node; type server or client-1")]
    NoNode(String),
    /// The server has no path of its own.
    #[error("only a client has a path; type client-1")]
    NotAClient,
    /// There is no such direction.
    #[error("'{0}' is not a direction; type down (from the server) or up (to it)")]
    NoDirection(String),
    /// There is no such fault.
    #[error("no such fault; {KINDS}")]
    NoFault,
    /// The fault takes no parameter.
    #[error("this fault has no parameter; type for example 600s:{0}:client-2")]
    NoParameter(&'static str),
    /// A parameter is missing, wrong or superfluous.
    #[error("the parameters are wrong; type for example {0}")]
    Parameters(&'static str),
}

/// Parses a fault and its time.
pub(super) fn fault(text: &str) -> Result<(Span, Fault), FaultError> {
    let mut parts = text.split(':');
    let (Some(at), Some(what), Some(who)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(FaultError::Form);
    };
    if what == "set-time" {
        return Ok((units::unsigned_span(at)?, set_time(who, parts.collect::<Vec<&str>>().as_slice())?));
    }
    let (at, who) = (units::unsigned_span(at)?, member(who)?);
    let how: Vec<&str> = parts.collect();
    let fault = match (what, how.as_slice()) {
        ("crash", []) => Fault::Crash(who),
        ("leave", []) => Fault::Shutdown(who),
        ("start", []) => Fault::Start(who),
        ("pause", []) => Fault::Pause(who),
        ("resume", []) => Fault::Resume(who),
        ("jump", [by]) => Fault::Jump(who, units::span(by)?),
        ("sleep", [slept]) => Fault::Sleep(who, units::positive_span(slept)?),
        ("drift", [by]) => Fault::FrequencyStep(who, units::frequency(by)?),
        ("ramp", [by, over]) => Fault::Ramp(who, units::frequency(by)?, units::positive_span(over)?),
        ("cut", []) => Fault::Cut(client(who)?, Directions::Both),
        ("heal", []) => Fault::Heal(client(who)?),
        ("delay", [least]) => Fault::Base(client(who)?, Directions::Both, units::unsigned_span(least)?),
        ("delay", [least, way]) => Fault::Base(client(who)?, ways(way)?, units::unsigned_span(least)?),
        ("mitm", ["chaos"]) => Fault::Attack(client(who)?, Attack::Random),
        ("mitm", ["replay"]) => Fault::Attack(client(who)?, Attack::Replay),
        ("mitm", ["forge", by]) => Fault::Attack(client(who)?, Attack::Forge(units::span(by)?)),
        ("mitm", ["creep", rate]) => Fault::Attack(
            client(who)?,
            Attack::GrowingDelay(Directions::ToClient, units::positive_frequency(rate)?),
        ),
        ("mitm", ["off"]) => Fault::EndAttack(client(who)?),
        _ => return Err(wrong_parameters(what)),
    };
    Ok((at, fault))
}

/// A manual time adjustment: `600s:set-time:1s`, `600s:set-time:-3h:step`.
fn set_time(by: &str, how: &[&str]) -> Result<Fault, FaultError> {
    let how = match how {
        [] => Adjustment::Slew,
        ["step"] => Adjustment::Step,
        _ => return Err(wrong_parameters("set-time")),
    };
    Ok(Fault::SetTime(units::span(by)?, how))
}

/// Parses a client and the time at which it starts.
pub(super) fn join(text: &str) -> Result<(MemberIndex, Span), FaultError> {
    let (who, at) = text.split_once('@').ok_or(FaultError::JoinForm)?;
    Ok((member(who)?, units::unsigned_span(at)?))
}

/// The member that a fault strikes.
pub(super) fn victim(fault: &Fault) -> Option<MemberIndex> {
    match *fault {
        Fault::Crash(who) | Fault::Shutdown(who) | Fault::Start(who) | Fault::Pause(who) => Some(who),
        Fault::Resume(who) | Fault::Jump(who, _) | Fault::FrequencyStep(who, _) => Some(who),
        Fault::Cut(who, _) | Fault::Heal(who) | Fault::Base(who, ..) | Fault::Jitter(who, ..) => Some(who),
        Fault::Lie(who, _) | Fault::Truth(who) | Fault::Sleep(who, _) | Fault::Ramp(who, ..) => Some(who),
        Fault::Attack(who, _) | Fault::EndAttack(who) => Some(who),
        Fault::SetTime(..) => Some(MemberIndex::SERVER),
        Fault::Impairments(_) => None,
    }
}

/// Parses a member: `server`, or `client-1`.
pub(super) fn member(text: &str) -> Result<MemberIndex, FaultError> {
    let number = text.strip_prefix("client-").and_then(|number| number.parse().ok());
    match (text, number) {
        ("server", _) => Ok(MemberIndex::SERVER),
        (_, Some(number)) if number > 0 => Ok(MemberIndex::client(number)),
        _ => Err(FaultError::NoNode(text.to_owned())),
    }
}

fn client(member: MemberIndex) -> Result<MemberIndex, FaultError> {
    if member == MemberIndex::SERVER { Err(FaultError::NotAClient) } else { Ok(member) }
}

fn ways(text: &str) -> Result<Directions, FaultError> {
    match text {
        "down" => Ok(Directions::ToClient),
        "up" => Ok(Directions::ToServer),
        _ => Err(FaultError::NoDirection(text.to_owned())),
    }
}

/// The error for a fault whose parameters do not fit, or that is unknown.
fn wrong_parameters(what: &str) -> FaultError {
    let bare = ["crash", "leave", "start", "pause", "resume", "cut", "heal"];
    if let Some(what) = bare.into_iter().find(|bare| *bare == what) {
        return FaultError::NoParameter(what);
    }
    FaultError::Parameters(match what {
        "jump" => EXAMPLE,
        "set-time" => "600s:set-time:-2s:step",
        "sleep" => "600s:sleep:client-1:1h",
        "drift" => "600s:drift:client-1:5ppm",
        "ramp" => "600s:ramp:client-1:1ppm:10min",
        "delay" => "600s:delay:client-1:400us:down",
        "mitm" => "600s:mitm:client-1:chaos, replay, forge:50ms, creep:10ppm or off",
        _ => return FaultError::NoFault,
    })
}

const EXAMPLE: &str = "600s:jump:server:1h";
const KINDS: &str = "there are crash, leave, start, pause, resume, jump, sleep, drift, ramp, cut, heal, delay, mitm and set-time";

#[cfg(test)]
mod tests {
    use super::*;
    use meantime_core::time::Frequency;

    #[test]
    fn faults_read_as_they_are_written() {
        let at = Span::from_secs(600);
        let two = MemberIndex::client(2);
        assert_eq!(
            fault("600s:jump:server:-1h"),
            Ok((at, Fault::Jump(MemberIndex::SERVER, Span::from_secs(-3_600))))
        );
        assert_eq!(fault("10min:crash:client-2"), Ok((at, Fault::Crash(two))));
        assert_eq!(fault("600s:cut:client-2"), Ok((at, Fault::Cut(two, Directions::Both))));
        let faster = Fault::FrequencyStep(two, Frequency::from_ppm(150.0));
        assert_eq!(fault("600s:drift:client-2:150ppm"), Ok((at, faster)));
        let warmer = Fault::Ramp(two, Frequency::from_ppm(-1.0), Span::from_secs(1_200));
        assert_eq!(fault("600s:ramp:client-2:-1ppm:20min"), Ok((at, warmer)));
        assert_eq!(fault("600s:sleep:client-2:1h"), Ok((at, Fault::Sleep(two, Span::from_secs(3_600)))));
        let longer = |ways| Fault::Base(two, ways, Span::from_micros(400));
        let set = |by, how| Ok((at, Fault::SetTime(Span::from_secs(by), how)));
        assert_eq!(fault("600s:set-time:1s"), set(1, Adjustment::Slew));
        assert_eq!(fault("600s:set-time:-2s:step"), set(-2, Adjustment::Step));
        assert_eq!(fault("600s:delay:client-2:400us"), Ok((at, longer(Directions::Both))));
        assert_eq!(fault("600s:delay:client-2:400us:down"), Ok((at, longer(Directions::ToClient))));
        assert_eq!(fault("600s:delay:client-2:400us:up"), Ok((at, longer(Directions::ToServer))));
        let creep = Attack::GrowingDelay(Directions::ToClient, Frequency::from_ppm(10.0));
        assert_eq!(fault("600s:mitm:client-2:creep:10ppm"), Ok((at, Fault::Attack(two, creep))));
        assert_eq!(fault("600s:mitm:client-2:chaos"), Ok((at, Fault::Attack(two, Attack::Random))));
        assert_eq!(fault("600s:mitm:client-2:off"), Ok((at, Fault::EndAttack(two))));
    }

    #[test]
    fn nonsense_is_refused_with_a_hint() {
        for (text, hint) in [
            ("", "WHEN:WHAT:WHO"),
            ("600s:jump:server", "600s:jump:server:1h"),
            ("600s:explode:server", "there are crash"),
            ("600s:crash:me", "server or client-1"),
            ("600s:cut:server", "only a client"),
            ("600s:crash:server:1:2", "no parameter"),
            ("600s:jump:server:1h:2", "600s:jump:server:1h"),
            ("600s:ramp:client-1:1ppm", "1ppm:10min"),
            ("600s:ramp:client-1:1ppm:0s", "more than zero"),
            ("600s:sleep:client-1:-1h", "more than zero"),
            ("600s:set-time:2s:later", "set-time:-2s:step"),
            ("600s:set-time:server", "not a duration"),
            ("600s:delay:server:400us", "only a client"),
            ("600s:delay:client-1:-1us", "negative"),
            ("600s:delay:client-1:400us:left", "down"),
            ("600s:mitm:server:chaos", "only a client"),
            ("600s:mitm:client-1:magic", "chaos, replay"),
            ("600s:delay:client-1:400us:up:1", "400us:down"),
        ] {
            let error = fault(text).unwrap_err().to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }
}
