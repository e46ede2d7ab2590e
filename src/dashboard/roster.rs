//! Who was seen: the clients that a server lists, and for a while those that it does not list any more.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

/// The number by which history and page know a member.
pub(super) type Id = u32;

/// All who were seen.
#[derive(Debug, Default)]
pub(super) struct Roster {
    members: BTreeMap<Id, Member>,
    /// Those whom the server lists, and where they are.
    listed: HashMap<String, Id>,
    next: Id,
}

/// Somebody who was seen.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// What the server has said last, as docs/CONTROL.md describes it.
    pub said: Value,
    /// Whether it is there.
    pub presence: Presence,
    /// When it was listed last.
    pub seen: Instant,
}

/// Whether a member is there. The worst comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Presence {
    /// The server has waited for it in vain, and dropped it.
    Lost,
    /// It was not heard in the last two rounds.
    Silent,
    /// It was heard.
    Present,
    /// It has said goodbye.
    Left,
}

impl Presence {
    /// As the page and programs read it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Presence::Lost => "lost",
            Presence::Silent => "silent",
            Presence::Present => "present",
            Presence::Left => "left",
        }
    }
}

impl Member {
    /// What it calls itself.
    pub(super) fn name(&self) -> &str {
        self.said["name"].as_str().unwrap_or("")
    }

    /// Where it is, or was.
    pub(super) fn address(&self) -> &str {
        self.said["address"].as_str().unwrap_or("")
    }

    /// Whether the server lists it.
    pub(super) fn is_listed(&self) -> bool {
        matches!(self.presence, Presence::Present | Presence::Silent)
    }
}

impl Roster {
    /// Takes over whom the server lists now.
    pub(super) fn update(&mut self, clients: &[Value], now: Instant) {
        let before = std::mem::take(&mut self.listed);
        let mut strangers = Vec::new();
        for said in clients {
            let address = said["address"].as_str().unwrap_or("");
            match before.get(address) {
                Some(id) => self.see(*id, said, now),
                None => strangers.push(said),
            }
        }
        for id in before.into_values() {
            if let Some(member) = self.members.get_mut(&id).filter(|member| member.seen != now) {
                member.presence = Presence::Lost;
            }
        }
        let mut gone = if strangers.is_empty() { HashMap::new() } else { self.gone() };
        for said in strangers {
            // Whoever had this name on this machine and is gone: it has been started again.
            let id = whose(said).and_then(|whose| gone.remove(&whose)).unwrap_or_else(|| {
                self.next += 1;
                self.next
            });
            self.see(id, said, now);
        }
        self.forget(now);
    }

    /// Takes note of a goodbye.
    pub(super) fn farewell(&mut self, address: &str) {
        let gone = |member: &&mut Member| member.presence == Presence::Lost && member.address() == address;
        if let Some(member) = self.members.values_mut().find(gone) {
            member.presence = Presence::Left;
        }
    }

    /// All members in the order in which they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Id, &Member)> {
        self.members.iter().map(|(id, member)| (*id, member))
    }

    /// Whether somebody is still known.
    pub(super) fn knows(&self, id: Id) -> bool {
        self.members.contains_key(&id)
    }

    fn see(&mut self, id: Id, said: &Value, now: Instant) {
        let presence = if is_silent(said) { Presence::Silent } else { Presence::Present };
        let member = Member { said: said.clone(), presence, seen: now };
        self.listed.insert(member.address().to_owned(), id);
        self.members.insert(id, member);
    }

    /// Those who are not listed any more, by name and machine.
    fn gone(&self) -> HashMap<(String, IpAddr), Id> {
        let gone = self.iter().filter(|(_, member)| !member.is_listed());
        gone.filter_map(|(id, member)| Some((whose(&member.said)?, id))).collect()
    }

    /// Of those who are gone, keeps the last, and for a while.
    fn forget(&mut self, now: Instant) {
        self.members.retain(|_, member| member.is_listed() || now - member.seen < REMEMBERED_FOR);
        let mut gone: Vec<(Instant, Id)> = self
            .iter()
            .filter(|(_, member)| !member.is_listed())
            .map(|(id, member)| (member.seen, id))
            .collect();
        gone.sort_unstable();
        for (_, id) in gone.iter().take(gone.len().saturating_sub(REMEMBERED)) {
            self.members.remove(id);
        }
    }
}

/// By what a member is known again: its name, if it has one, and its machine.
fn whose(said: &Value) -> Option<(String, IpAddr)> {
    let name = said["name"].as_str().filter(|name| !name.is_empty())?;
    let address: SocketAddr = said["address"].as_str()?.parse().ok()?;
    Some((name.to_owned(), address.ip()))
}

fn is_silent(said: &Value) -> bool {
    said["rounds"].as_u64().unwrap_or(0) >= 2
        && said["heard_rounds"].as_str().is_some_and(|heard| heard.ends_with("00"))
}

/// Long enough for people to come and look.
const REMEMBERED_FOR: Duration = Duration::from_secs(3_600);
/// More than a table shows.
const REMEMBERED: usize = 256;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn client(name: &str, address: &str, heard: &str) -> Value {
        json!({ "name": name, "address": address, "rounds": 8, "heard_rounds": heard })
    }

    fn presences(roster: &Roster) -> Vec<(Id, &'static str)> {
        roster.iter().map(|(id, member)| (id, member.presence.word())).collect()
    }

    #[test]
    fn a_member_that_stops_is_silent_then_lost_and_comes_back_as_itself() {
        let (mut roster, now) = (Roster::default(), Instant::now());
        let bob = client("bob", "192.0.2.2:1", "11111111");
        roster.update(&[client("alice", "192.0.2.1:1", "11111111"), bob.clone()], now);
        assert_eq!(presences(&roster), [(1, "present"), (2, "present")]);
        let later = |roster: &mut Roster, seconds, clients: &[Value]| {
            roster.update(clients, now + Duration::from_secs(seconds));
        };
        later(&mut roster, 1, &[client("alice", "192.0.2.1:1", "11111100"), bob.clone()]);
        assert_eq!(presences(&roster)[0], (1, "silent"));
        later(&mut roster, 2, std::slice::from_ref(&bob));
        assert_eq!(presences(&roster)[0], (1, "lost"));
        later(&mut roster, 3, &[bob.clone(), client("alice", "192.0.2.1:2", "00000001")]);
        assert_eq!(presences(&roster), [(1, "present"), (2, "present")]);
        later(&mut roster, 4, &[bob.clone(), client("alice", "192.0.2.9:2", "00000001")]);
        assert_eq!(presences(&roster), [(1, "lost"), (2, "present"), (3, "present")]);
        later(&mut roster, 3_603, &[bob]);
        assert_eq!(presences(&roster), [(2, "present"), (3, "lost")]);
    }

    #[test]
    fn who_says_goodbye_is_not_lost() {
        let (mut roster, now) = (Roster::default(), Instant::now());
        roster.update(&[client("alice", "192.0.2.1:1", "1")], now);
        roster.update(&[], now + Duration::from_secs(1));
        roster.farewell("192.0.2.1:1");
        assert_eq!(presences(&roster), [(1, "left")]);
    }

    #[test]
    fn crowds_that_come_and_go_are_forgotten() {
        let (mut roster, now) = (Roster::default(), Instant::now());
        for port in 1..=2_000 {
            let come = client("", &format!("192.0.2.1:{port}"), "1");
            roster.update(&[come], now + Duration::from_millis(port));
        }
        assert_eq!(roster.iter().count(), REMEMBERED + 1);
    }
}
