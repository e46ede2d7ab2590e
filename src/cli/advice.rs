//! What an operator may check when the server does not answer. The client goes on registering all the same.

use crate::udp::ServerName;

/// Counts a client's attempts to register without an answer, and gives the hint once, until a server answers.
#[derive(Debug)]
pub(super) struct Advice {
    hint: String,
    /// Attempts since the last answer of a server.
    attempts: u32,
    /// Whether a server has refused: another problem, which an event reports.
    refused: bool,
}

impl Advice {
    /// What to look after when this server does not answer. `option` names the file with the keys for it;
    /// whether there are some matters.
    pub(super) fn about(server: &ServerName, option: &str, keyed: bool) -> Advice {
        let port = server.port();
        let mut hint = format!(
            "no answer from {server}: does \"meantime server\" run there, does its firewall let UDP port {port} in, and "
        );
        // A server does not answer a request with a wrong key.
        hint += &match keyed {
            true => format!("does it have the key that {option} has for this client?"),
            false => format!("does it ask for a key ({option})?"),
        };
        if let Some(meant) = server.with_end_as_port() {
            hint += &format!(" (if {} is meant as the port, type {meant})", meant.port());
        }
        Advice { hint, attempts: 0, refused: false }
    }

    /// What is to be said after an event of this kind, if anything.
    pub(super) fn after(&mut self, kind: &str) -> Option<&str> {
        match kind {
            "registering" => self.attempts = self.attempts.saturating_add(1),
            "registered" => (self.attempts, self.refused) = (0, false),
            "refused" => self.refused = true,
            _ => {}
        }
        let enough = kind == "registering" && self.attempts == ENOUGH && !self.refused;
        enough.then_some(&self.hint)
    }
}

/// The fifth attempt begins some four seconds after the first: there is no hint when an operator starts
/// server and client at the same time by hand, or when a datagram is lost.
const ENOUGH: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn advice() -> Advice {
        Advice::about(&"server.lan".parse().unwrap(), "--key-file", false)
    }

    /// How often something is said after so many events of this kind.
    fn said(advice: &mut Advice, kind: &str, times: usize) -> usize {
        (0..times).filter(|_| advice.after(kind).is_some()).count()
    }

    #[test]
    fn a_silence_is_explained_once_however_long_it_lasts() {
        let mut advice = advice();
        assert_eq!(said(&mut advice, "registering", 4), 0);
        assert_eq!(
            advice.after("registering"),
            Some(
                "no answer from server.lan:5525: does \"meantime server\" run there, does its firewall let UDP port \
                 5525 in, and does it ask for a key (--key-file)?"
            )
        );
        assert_eq!(said(&mut advice, "registering", 1_000) + said(&mut advice, "corrected", 10), 0);
        assert!(advice.after("registered").is_none());
        assert_eq!(said(&mut advice, "registering", 1_000), 1);
    }

    #[test]
    fn no_hint_is_given_after_a_refusal() {
        let mut advice = advice();
        assert_eq!(said(&mut advice, "registering", 1) + said(&mut advice, "refused", 1), 0);
        assert_eq!(said(&mut advice, "registering", 100), 0);
    }

    #[test]
    fn a_port_that_was_taken_for_a_part_of_the_address_is_pointed_out() {
        let advice = Advice::about(&"fd00::1:5525".parse().unwrap(), "--key-file", true);
        assert!(advice.hint.starts_with("no answer from [fd00::1:5525]:5525"), "{}", advice.hint);
        assert!(
            advice.hint.ends_with("(if 5525 is meant as the port, type [fd00::1]:5525)"),
            "{}",
            advice.hint
        );
    }
}
