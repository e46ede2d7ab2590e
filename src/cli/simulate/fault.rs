//! Faults as people type them: `600s:jump:server:1h`, `10min:crash:client-2`,
//! `600s:ramp:client-1:1ppm:10min`, `600s:partition:server-1,client-1`.

use crate::cli::units::{self, ValueError};
use meantime_core::event::Adjustment;
use meantime_core::time::Span;
use meantime_sim::{Attack, Directions, Fault, MemberIndex, Paths, ServerLie};

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
    #[error("'{0}' is not a node; type server or client-1, or server-2 if there are several servers")]
    NoNode(String),
    /// There is no path between two clients.
    #[error("there are only paths to servers; type client-1, or server-2/client-1")]
    NoPath,
    /// There is no such direction.
    #[error("'{0}' is not a direction; type down (to the node) or up (from it)")]
    NoDirection(String),
    /// A client does not state the time to others.
    #[error("only a server tells these lies; type server-1, or use --liars")]
    NotAServer,
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
    let parts: Vec<&str> = text.split(':').collect();
    let [at, what, parameters @ ..] = parts.as_slice() else { return Err(FaultError::Form) };
    let fault = match (*what, parameters) {
        ("heal", []) => Fault::HealPartition,
        (_, []) => return Err(FaultError::Form),
        ("set-time", [by, how @ ..]) => set_time(by, how)?,
        ("partition", [side]) => Fault::Partition(side.split(',').map(member).collect::<Result<_, _>>()?),
        ("partition", _) => return Err(wrong_parameters(what)),
        ("cut" | "heal" | "delay" | "mitm", [who, how @ ..]) => of_paths(what, paths(who)?, how)?,
        ("lie", [who, how @ ..]) => lie(member(who)?, how)?,
        (_, [who, how @ ..]) => of_member(what, member(who)?, how)?,
    };
    Ok((units::unsigned_span(at)?, fault))
}

/// What happens to a process or its machine.
fn of_member(what: &str, who: MemberIndex, how: &[&str]) -> Result<Fault, FaultError> {
    Ok(match (what, how) {
        ("crash" | "kill", []) => Fault::Crash(who),
        ("leave" | "stop", []) => Fault::Shutdown(who),
        ("start", []) => Fault::Start(who),
        ("pause", []) => Fault::Pause(who),
        ("resume", []) => Fault::Resume(who),
        ("jump", [by]) => Fault::Jump(who, units::span(by)?),
        ("sleep", [slept]) => Fault::Sleep(who, units::positive_span(slept)?),
        ("suspend", [length]) => Fault::Suspend(who, units::positive_span(length)?),
        ("drift", [by]) => Fault::FrequencyStep(who, units::frequency(by)?),
        ("ramp", [by, over]) => Fault::Ramp(who, units::frequency(by)?, units::positive_span(over)?),
        _ => return Err(wrong_parameters(what)),
    })
}

/// What happens to datagrams under way.
fn of_paths(what: &str, paths: Paths, how: &[&str]) -> Result<Fault, FaultError> {
    Ok(match (what, how) {
        ("cut", []) => Fault::Cut(paths, Directions::Both),
        ("heal", []) => Fault::Heal(paths),
        ("delay", [least]) => Fault::Base(paths, Directions::Both, units::unsigned_span(least)?),
        ("delay", [least, way]) => Fault::Base(paths, ways(way)?, units::unsigned_span(least)?),
        ("mitm", ["chaos"]) => Fault::Attack(paths, Attack::Random),
        ("mitm", ["replay"]) => Fault::Attack(paths, Attack::Replay),
        ("mitm", ["forge", by]) => Fault::Attack(paths, Attack::Forge(units::span(by)?)),
        ("mitm", ["creep", rate]) => {
            let rate = units::positive_frequency(rate)?;
            Fault::Attack(paths, Attack::GrowingDelay(Directions::ToClient, rate))
        }
        ("mitm", ["off"]) => Fault::EndAttack(paths),
        _ => return Err(wrong_parameters(what)),
    })
}

/// A server's lie: `constant:1ms`, `one:client-3:1ms`.
fn lie(server: MemberIndex, how: &[&str]) -> Result<Fault, FaultError> {
    if !server.is_server() {
        return Err(FaultError::NotAServer);
    }
    let lie = match how {
        ["off"] => return Ok(Fault::Truth(server)),
        ["constant", by] => ServerLie::Constant(units::span(by)?),
        ["ramp", rate] => ServerLie::Ramp(units::frequency(rate)?),
        ["two-faced", by] => ServerLie::TwoFaced(units::span(by)?),
        ["one", whom, by] => ServerLie::One(member(whom)?, units::span(by)?),
        ["false-bounds", by] => ServerLie::FalseBounds(units::span(by)?),
        ["terms"] => ServerLie::Terms,
        _ => return Err(wrong_parameters("lie")),
    };
    Ok(Fault::ServerLie(server, lie))
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

/// Parses a member and the time at which it starts.
pub(super) fn join(text: &str) -> Result<(MemberIndex, Span), FaultError> {
    let (who, at) = text.split_once('@').ok_or(FaultError::JoinForm)?;
    Ok((member(who)?, units::unsigned_span(at)?))
}

/// Parses a member: `server`, `server-2` or `client-1`.
pub(super) fn member(text: &str) -> Result<MemberIndex, FaultError> {
    let number = |prefix| text.strip_prefix(prefix).and_then(|number| number.parse::<u16>().ok());
    match (text, number("server-"), number("client-")) {
        ("server", ..) => Ok(MemberIndex::SERVER),
        (_, Some(number @ 1..=15), _) => Ok(MemberIndex::server(number as u8)),
        (.., Some(number @ 1..)) => Ok(MemberIndex::client(number.into())),
        _ => Err(FaultError::NoNode(text.to_owned())),
    }
}

/// Parses the paths of a member, `client-1`, or the path between two: `server-2/client-1`.
fn paths(text: &str) -> Result<Paths, FaultError> {
    let Some((with, of)) = text.split_once('/') else { return Ok(member(text)?.into()) };
    let (with, of) = (member(with)?, member(of)?);
    match with != of && (with.is_server() || of.is_server()) {
        true => Ok(Paths::between(with, of)),
        false => Err(FaultError::NoPath),
    }
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
    let bare = ["crash", "kill", "leave", "stop", "start", "pause", "resume", "cut", "heal"];
    if let Some(what) = bare.into_iter().find(|bare| *bare == what) {
        return FaultError::NoParameter(what);
    }
    FaultError::Parameters(match what {
        "jump" => EXAMPLE,
        "set-time" => "600s:set-time:-2s:step",
        "sleep" => "600s:sleep:client-1:1h",
        "suspend" => "600s:suspend:server-1:1h",
        "drift" => "600s:drift:client-1:5ppm",
        "ramp" => "600s:ramp:client-1:1ppm:10min",
        "partition" => "600s:partition:server-1,client-1,client-2",
        "delay" => "600s:delay:client-1:400us:down",
        "mitm" => "600s:mitm:client-1:chaos, replay, forge:50ms, creep:10ppm or off",
        "lie" => {
            "600s:lie:server-1:constant:1ms, ramp:1ppm, two-faced:1ms, one:client-3:1ms, false-bounds:1ms, terms \
             or off"
        }
        _ => return FaultError::NoFault,
    })
}

const EXAMPLE: &str = "600s:jump:server:1h";
const KINDS: &str = "there are crash, leave, start, pause, resume, jump, sleep, suspend, drift, ramp, cut, \
                     partition, heal, delay, mitm, lie and set-time";

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
        assert_eq!(fault("600s:cut:client-2"), Ok((at, Fault::Cut(two.into(), Directions::Both))));
        let faster = Fault::FrequencyStep(two, Frequency::from_ppm(150.0));
        assert_eq!(fault("600s:drift:client-2:150ppm"), Ok((at, faster)));
        let warmer = Fault::Ramp(two, Frequency::from_ppm(-1.0), Span::from_secs(1_200));
        assert_eq!(fault("600s:ramp:client-2:-1ppm:20min"), Ok((at, warmer)));
        assert_eq!(fault("600s:sleep:client-2:1h"), Ok((at, Fault::Sleep(two, Span::from_secs(3_600)))));
        assert_eq!(fault("600s:suspend:client-2:1h"), Ok((at, Fault::Suspend(two, Span::from_secs(3_600)))));
        let longer = |ways| Fault::Base(two.into(), ways, Span::from_micros(400));
        let set = |by, how| Ok((at, Fault::SetTime(Span::from_secs(by), how)));
        assert_eq!(fault("600s:set-time:1s"), set(1, Adjustment::Slew));
        assert_eq!(fault("600s:set-time:-2s:step"), set(-2, Adjustment::Step));
        assert_eq!(fault("600s:delay:client-2:400us"), Ok((at, longer(Directions::Both))));
        assert_eq!(fault("600s:delay:client-2:400us:down"), Ok((at, longer(Directions::ToClient))));
        assert_eq!(fault("600s:delay:client-2:400us:up"), Ok((at, longer(Directions::ToServer))));
        let creep = Attack::GrowingDelay(Directions::ToClient, Frequency::from_ppm(10.0));
        assert_eq!(fault("600s:mitm:client-2:creep:10ppm"), Ok((at, Fault::Attack(two.into(), creep))));
        assert_eq!(fault("600s:mitm:client-2:chaos"), Ok((at, Fault::Attack(two.into(), Attack::Random))));
        assert_eq!(fault("600s:mitm:client-2:off"), Ok((at, Fault::EndAttack(two.into()))));
    }

    #[test]
    fn faults_of_several_servers_read_as_they_are_written() {
        let at = Span::from_secs(600);
        let (one, two, client) = (MemberIndex::server(1), MemberIndex::server(2), MemberIndex::client(3));
        assert_eq!(fault("600s:kill:server-1"), Ok((at, Fault::Crash(one))));
        assert_eq!(fault("600s:stop:server-1"), Ok((at, Fault::Shutdown(one))));
        let side = vec![one, client];
        assert_eq!(fault("600s:partition:server-1,client-3"), Ok((at, Fault::Partition(side))));
        assert_eq!(fault("600s:heal"), Ok((at, Fault::HealPartition)));
        let between = Paths::between(two, client);
        assert_eq!(fault("600s:cut:server-2/client-3"), Ok((at, Fault::Cut(between, Directions::Both))));
        let among = Paths::between(one, two);
        assert_eq!(fault("600s:heal:server-1/server-2"), Ok((at, Fault::Heal(among))));
        let ms = Span::from_millis(1);
        for (text, lie) in [
            ("constant:1ms", ServerLie::Constant(ms)),
            ("ramp:-1ppm", ServerLie::Ramp(Frequency::from_ppm(-1.0))),
            ("two-faced:1ms", ServerLie::TwoFaced(ms)),
            ("one:client-3:1ms", ServerLie::One(client, ms)),
            ("false-bounds:1ms", ServerLie::FalseBounds(ms)),
            ("terms", ServerLie::Terms),
        ] {
            let text = format!("600s:lie:server-1:{text}");
            assert_eq!(fault(&text), Ok((at, Fault::ServerLie(one, lie))), "{text}");
        }
        assert_eq!(fault("600s:lie:server-1:off"), Ok((at, Fault::Truth(one))));
    }

    #[test]
    fn nonsense_is_refused_with_a_hint() {
        for (text, hint) in [
            ("", "WHEN:WHAT:WHO"),
            ("600s:jump:server", "600s:jump:server:1h"),
            ("600s:explode:server", "there are crash"),
            ("600s:crash:me", "server or client-1"),
            ("600s:crash:server-16", "server-2"),
            ("600s:cut:client-1/client-2", "server-2/client-1"),
            ("600s:cut:server-1/server-1", "server-2/client-1"),
            ("600s:crash:server:1:2", "no parameter"),
            ("600s:jump:server:1h:2", "600s:jump:server:1h"),
            ("600s:ramp:client-1:1ppm", "1ppm:10min"),
            ("600s:ramp:client-1:1ppm:0s", "more than zero"),
            ("600s:sleep:client-1:-1h", "more than zero"),
            ("600s:set-time:2s:later", "set-time:-2s:step"),
            ("600s:set-time:server", "not a duration"),
            ("600s:cut", "WHEN:WHAT:WHO"),
            ("600s:partition:server-1,me", "not a node"),
            ("600s:partition:server-1:client-1", "server-1,client-1"),
            ("600s:lie:client-1:constant:1ms", "only a server"),
            ("600s:lie:server-1:constant", "constant:1ms"),
            ("600s:delay:client-1:-1us", "negative"),
            ("600s:delay:client-1:400us:left", "down"),
            ("600s:mitm:client-1:magic", "chaos, replay"),
            ("600s:delay:client-1:400us:up:1", "400us:down"),
        ] {
            let error = fault(text).unwrap_err().to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }
}
