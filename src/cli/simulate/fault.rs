//! Faults as people type them: `600s:jump:server:1h`, `10min:crash:client-2`.

use crate::cli::units;
use crate::sim::{Fault, Member, Ways};
use crate::time::Span;

/// A fault and its time.
///
/// # Errors
/// What is wrong with it, and what to type instead.
pub fn fault(text: &str) -> Result<(Span, Fault), String> {
    let mut parts = text.split(':');
    let (Some(at), Some(what), Some(who)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(format!("a fault is WHEN:WHAT:WHO, as in {EXAMPLE}"));
    };
    let (at, who, how) = (units::unsigned_span(at)?, member(who)?, parts.next());
    let fault = match (what, how) {
        ("crash", None) => Fault::Crash(who),
        ("leave", None) => Fault::Shutdown(who),
        ("start", None) => Fault::Start(who),
        ("pause", None) => Fault::Pause(who),
        ("resume", None) => Fault::Resume(who),
        ("cut", None) => Fault::Cut(client(who)?, Ways::Both),
        ("heal", None) => Fault::Heal(client(who)?),
        ("jump", Some(by)) => Fault::Jump(who, units::span(by)?),
        ("drift", Some(by)) => Fault::FrequencyStep(who, units::frequency(by)?),
        ("jump" | "drift", None) => return Err(format!("by how much? type for example {EXAMPLE}")),
        _ => return Err(format!("no such fault; {KINDS}")),
    };
    match parts.next() {
        Some(rest) => Err(format!("'{rest}' is too much; type for example {EXAMPLE}")),
        None => Ok((at, fault)),
    }
}

/// A client and the time at which it starts.
///
/// # Errors
/// What is wrong with it, and what to type instead.
pub fn join(text: &str) -> Result<(Member, Span), String> {
    let (who, at) = text.split_once('@').ok_or("type WHO@WHEN, as in client-3@600s")?;
    Ok((member(who)?, units::unsigned_span(at)?))
}

/// The member that a fault strikes.
pub fn victim(fault: &Fault) -> Option<Member> {
    match *fault {
        Fault::Crash(who) | Fault::Shutdown(who) | Fault::Start(who) | Fault::Pause(who) => Some(who),
        Fault::Resume(who) | Fault::Jump(who, _) | Fault::FrequencyStep(who, _) => Some(who),
        Fault::Cut(who, _) | Fault::Heal(who) | Fault::Base(who, ..) | Fault::Jitter(who, ..) => Some(who),
        Fault::Lie(who, _) | Fault::Truth(who) | Fault::Sleep(who, _) => Some(who),
        Fault::Trouble(_) => None,
    }
}

fn member(text: &str) -> Result<Member, String> {
    let number = text.strip_prefix("client-").and_then(|number| number.parse().ok());
    match (text, number) {
        ("server", _) => Ok(Member::SERVER),
        (_, Some(number)) if number > 0 => Ok(Member::client(number)),
        _ => Err(format!("'{text}' is nobody; type server or client-1")),
    }
}

fn client(member: Member) -> Result<Member, String> {
    if member == Member::SERVER { Err("only a client's path can be cut".into()) } else { Ok(member) }
}

const EXAMPLE: &str = "600s:jump:server:1h";
const KINDS: &str = "there are crash, leave, start, pause, resume, cut, heal, jump and drift";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Frequency;

    #[test]
    fn faults_read_as_they_are_written() {
        let at = Span::from_secs(600);
        let two = Member::client(2);
        assert_eq!(
            fault("600s:jump:server:-1h"),
            Ok((at, Fault::Jump(Member::SERVER, Span::from_secs(-3_600))))
        );
        assert_eq!(fault("10min:crash:client-2"), Ok((at, Fault::Crash(two))));
        assert_eq!(fault("600s:cut:client-2"), Ok((at, Fault::Cut(two, Ways::Both))));
        let faster = Fault::FrequencyStep(two, Frequency::from_ppm(150.0));
        assert_eq!(fault("600s:drift:client-2:150ppm"), Ok((at, faster)));
    }

    #[test]
    fn nonsense_is_refused_with_a_hint() {
        for (text, hint) in [
            ("", "WHEN:WHAT:WHO"),
            ("600s:jump:server", "by how much"),
            ("600s:explode:server", "there are crash"),
            ("600s:crash:me", "server or client-1"),
            ("600s:cut:server", "only a client's"),
            ("600s:crash:server:1:2", "no such fault"),
            ("600s:jump:server:1h:2", "too much"),
        ] {
            let error = fault(text).unwrap_err();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }
}
