//! What an operator may check when the server does not answer. The client goes on registering all the same.

use crate::udp::ServerList;

/// Counts a client's attempts to register without an answer, and gives the hint once, until a server answers.
/// Of several servers one that answers is enough, for good: `meantime status` lists the others.
#[derive(Debug)]
pub(super) struct Advice {
    hint: String,
    /// How many servers are asked.
    asked: u8,
    /// Attempts since the last answer of a server.
    attempts: u32,
    /// A server has refused, which is another problem, or one of several has answered.
    is_settled: bool,
}

impl Advice {
    /// What to look after when none of these servers answers. `asked` is how many of them are asked: not the
    /// one that the node itself is. `option` names the file with the keys for them; whether there are some
    /// matters.
    pub(super) fn about(servers: &ServerList, asked: u8, option: &str, keyed: bool) -> Advice {
        let mut ports: Vec<String> = servers.names().iter().map(|name| name.port().to_string()).collect();
        ports.sort_unstable();
        ports.dedup();
        let (whose, port) = (if asked == servers.count() { "any" } else { "any other" }, ports.join(", "));
        let mut hint = match servers.count() {
            1 => format!(
                "no answer from {servers}: does \"meantime server\" run there, does its firewall let UDP port {port} in, and "
            ),
            _ => format!(
                "no answer from {whose} of {servers}: does \"meantime server\" run there, do their firewalls let UDP \
                 port {port} in, and "
            ),
        };
        // A server does not answer a request with a wrong key.
        hint += &match (keyed, servers.count()) {
            (true, 1) => format!("does it have the key that {option} has for this client?"),
            (true, _) => format!("do they have the keys that {option} has for this node?"),
            (false, 1) => format!("does it ask for a key ({option})?"),
            (false, _) => format!("do they ask for keys ({option})?"),
        };
        for server in servers.names() {
            if let Some(meant) = server.with_end_as_port() {
                hint += &format!(" (if {} is meant as the port, type {meant})", meant.port());
            }
        }
        Advice { hint, asked, attempts: 0, is_settled: false }
    }

    /// What is to be said after an event of this kind, if anything.
    pub(super) fn after(&mut self, kind: &str) -> Option<&str> {
        match kind {
            "registering" => self.attempts = self.attempts.saturating_add(1),
            "registered" => (self.attempts, self.is_settled) = (0, self.asked > 1),
            "refused" => self.is_settled = true,
            _ => {}
        }
        let enough = ENOUGH * u32::from(self.asked);
        let is_due = kind == "registering" && self.attempts == enough && !self.is_settled;
        is_due.then_some(&self.hint)
    }
}

/// The fifth attempt begins some four seconds after the first: there is no hint when an operator starts
/// server and client at the same time by hand, or when a datagram is lost.
const ENOUGH: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn advice() -> Advice {
        Advice::about(&"server.lan".parse().unwrap(), 1, "--key-file", false)
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
        let advice = Advice::about(&"fd00::1:5525".parse().unwrap(), 1, "--key-file", true);
        assert!(advice.hint.starts_with("no answer from [fd00::1:5525]:5525"), "{}", advice.hint);
        assert!(
            advice.hint.ends_with("(if 5525 is meant as the port, type [fd00::1]:5525)"),
            "{}",
            advice.hint
        );
    }

    #[test]
    fn of_several_servers_one_that_answers_is_enough() {
        let list = "a.lan,b.lan:7,c.lan".parse().unwrap();
        let mut advice = Advice::about(&list, 3, "--key-file", true);
        assert_eq!(said(&mut advice, "registering", 14), 0);
        assert_eq!(
            advice.after("registering"),
            Some(
                "no answer from any of a.lan:5525, b.lan:7, c.lan:5525: does \"meantime server\" run there, do \
                 their firewalls let UDP port 5525, 7 in, and do they have the keys that --key-file has for \
                 this node?"
            )
        );
        let mut advice = Advice::about(&list, 2, "--peer-key-file", false);
        assert!(advice.hint.starts_with("no answer from any other of a.lan:5525, "), "{}", advice.hint);
        assert_eq!(said(&mut advice, "registered", 1) + said(&mut advice, "registering", 1_000), 0);
    }
}
