//! The members that the dashboard shows: those that the server lists, and for a while those that are gone.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use crate::control::protocol::ClientRow;
use meantime_core::time::{Monotonic, Span};

/// The number of a member in the history and on the page.
pub(super) type Id = u32;

/// All members, listed or gone.
#[derive(Debug, Default)]
pub(super) struct Roster {
    members: BTreeMap<Id, RosterMember>,
    /// The members that the server lists, by their addresses.
    listed: HashMap<SocketAddr, Id>,
    newest_id: Id,
}

/// A member of the roster.
#[derive(Clone, Debug)]
pub(super) struct RosterMember {
    /// What the server has stated of it last.
    pub row: ClientRow,
    /// Whether it is present.
    pub presence: Presence,
    /// When the server has listed it last.
    pub seen: Monotonic,
}

/// Whether a member is present. The worst comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Presence {
    /// The server has dropped it after a long silence.
    Lost,
    /// It was not heard in the last two rounds.
    Silent,
    /// It was heard.
    Present,
    /// It has said goodbye.
    Left,
}

impl Presence {
    /// The word for it on the page.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Presence::Lost => "lost",
            Presence::Silent => "silent",
            Presence::Present => "present",
            Presence::Left => "left",
        }
    }
}

impl RosterMember {
    /// Whether the server lists it.
    pub(super) fn is_listed(&self) -> bool {
        matches!(self.presence, Presence::Present | Presence::Silent)
    }

    /// Whether the member counts as up; `None`: it has said goodbye.
    pub(super) fn is_up(&self) -> Option<bool> {
        (self.presence != Presence::Left).then_some(self.presence == Presence::Present)
    }
}

impl Roster {
    /// Takes over the server's list of clients.
    pub(super) fn update(&mut self, clients: &[ClientRow], now: Monotonic) {
        let before = std::mem::take(&mut self.listed);
        let mut new = Vec::new();
        for row in clients {
            match before.get(&row.address) {
                Some(id) => self.insert(*id, row, now),
                None => new.push(row),
            }
        }
        for id in before.into_values() {
            if let Some(member) = self.members.get_mut(&id).filter(|member| member.seen != now) {
                member.presence = Presence::Lost;
            }
        }
        let mut gone = if new.is_empty() { HashMap::new() } else { self.gone() };
        for row in new {
            // A member with the same name on the same machine is gone: it has been started again.
            let id = identity(row).and_then(|identity| gone.remove(&identity)).unwrap_or_else(|| {
                self.newest_id += 1;
                self.newest_id
            });
            self.insert(id, row, now);
        }
        self.forget(now);
    }

    /// The member at this address, which the server does not list any more, has said goodbye.
    pub(super) fn mark_left(&mut self, address: SocketAddr) {
        let lost =
            |member: &&mut RosterMember| member.presence == Presence::Lost && member.row.address == address;
        if let Some(member) = self.members.values_mut().find(lost) {
            member.presence = Presence::Left;
        }
    }

    /// All members in the order in which they were first listed.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Id, &RosterMember)> {
        self.members.iter().map(|(id, member)| (*id, member))
    }

    /// Whether the member is not forgotten.
    pub(super) fn contains(&self, id: Id) -> bool {
        self.members.contains_key(&id)
    }

    fn insert(&mut self, id: Id, row: &ClientRow, now: Monotonic) {
        let presence = if is_silent(row) { Presence::Silent } else { Presence::Present };
        self.listed.insert(row.address, id);
        self.members.insert(id, RosterMember { row: row.clone(), presence, seen: now });
    }

    /// The members that are not listed any more, by name and machine.
    fn gone(&self) -> HashMap<(String, IpAddr), Id> {
        let gone = self.iter().filter(|(_, member)| !member.is_listed());
        gone.filter_map(|(id, member)| Some((identity(&member.row)?, id))).collect()
    }

    /// Forgets those that have been gone for long, and the oldest if too many are gone.
    fn forget(&mut self, now: Monotonic) {
        self.members.retain(|_, member| member.is_listed() || now - member.seen < GONE_KEPT_FOR);
        let mut gone: Vec<(Monotonic, Id)> = self
            .iter()
            .filter(|(_, member)| !member.is_listed())
            .map(|(id, member)| (member.seen, id))
            .collect();
        gone.sort_unstable();
        for (_, id) in gone.iter().take(gone.len().saturating_sub(MAX_GONE)) {
            self.members.remove(id);
        }
    }
}

/// By what a member is recognized when it comes back: its name, if it has one, and its machine.
fn identity(row: &ClientRow) -> Option<(String, IpAddr)> {
    (!row.name.is_empty()).then(|| (row.name.clone(), row.address.ip()))
}

fn is_silent(row: &ClientRow) -> bool {
    row.rounds >= 2 && row.heard_rounds.is_silent()
}

/// Long enough for an operator to look at the page.
const GONE_KEPT_FOR: Span = Span::from_secs(3_600);
/// More than a table shows.
const MAX_GONE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::{HeardRounds, examples};

    fn client(name: &str, address: &str, heard: u8) -> ClientRow {
        let (address, heard_rounds) = (address.parse().unwrap(), HeardRounds(heard));
        ClientRow { address, rounds: 8, heard_rounds, ..examples::row(name, 1) }
    }

    fn at(seconds: i64) -> Monotonic {
        Monotonic::from_nanos(0) + Span::from_secs(seconds)
    }

    fn presences(roster: &Roster) -> Vec<(Id, &'static str)> {
        roster.iter().map(|(id, member)| (id, member.presence.as_str())).collect()
    }

    #[test]
    fn a_member_that_stops_is_silent_then_lost_and_comes_back_as_itself() {
        let mut roster = Roster::default();
        let bob = client("bob", "192.0.2.2:1", 0b1111_1111);
        roster.update(&[client("alice", "192.0.2.1:1", 0b1111_1111), bob.clone()], at(0));
        assert_eq!(presences(&roster), [(1, "present"), (2, "present")]);
        roster.update(&[client("alice", "192.0.2.1:1", 0b1111_1100), bob.clone()], at(1));
        assert_eq!(presences(&roster)[0], (1, "silent"));
        roster.update(std::slice::from_ref(&bob), at(2));
        assert_eq!(presences(&roster)[0], (1, "lost"));
        roster.update(&[bob.clone(), client("alice", "192.0.2.1:2", 1)], at(3));
        assert_eq!(presences(&roster), [(1, "present"), (2, "present")]);
        roster.update(&[bob.clone(), client("alice", "192.0.2.9:2", 1)], at(4));
        assert_eq!(presences(&roster), [(1, "lost"), (2, "present"), (3, "present")]);
        roster.update(&[bob], at(3_603));
        assert_eq!(presences(&roster), [(2, "present"), (3, "lost")]);
    }

    #[test]
    fn a_member_that_says_goodbye_is_not_lost() {
        let mut roster = Roster::default();
        roster.update(&[client("alice", "192.0.2.1:1", 1)], at(0));
        roster.update(&[], at(1));
        roster.mark_left("192.0.2.1:1".parse().unwrap());
        assert_eq!(presences(&roster), [(1, "left")]);
    }

    #[test]
    fn many_members_that_come_and_go_are_forgotten() {
        let mut roster = Roster::default();
        for port in 1..=2_000 {
            let come = client("", &format!("192.0.2.1:{port}"), 1);
            roster.update(&[come], at(0) + Span::from_millis(port));
        }
        assert_eq!(roster.iter().count(), MAX_GONE + 1);
    }
}
