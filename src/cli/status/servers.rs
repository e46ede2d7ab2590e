//! The lines about several servers: the role of the one that is asked, and the others.

use super::table::{self, Cell, Side};
use super::text::{Paint, span, words};
use crate::control::protocol::{ListedServerStatus, ReplicaStatus, RoleWord, ServiceWord};
use crate::report::counted;

/// What a server of several is, and how much of the cluster it hears.
pub(super) fn role_lines(replica: &ReplicaStatus, paint: Paint) -> String {
    let ReplicaStatus { rank, servers, .. } = replica;
    format!(
        "Server {rank} of {servers}: {}; {}\n{}",
        role(replica, paint),
        members(replica),
        handover(replica)
    )
}

/// Its role, and whom it follows: `standby, follows server 1 (a.lan:5525), term 7`.
pub(in crate::cli) fn role(replica: &ReplicaStatus, paint: Paint) -> String {
    let (role, term) = (paint.state(replica.role.as_str()), replica.term);
    let Some(place) = replica.term_of.filter(|_| !replica.is_active()) else {
        return match replica.is_active() {
            true => format!("{role}, term {term}"),
            false => format!("{role}, has heard no active server yet"),
        };
    };
    if place == replica.rank {
        return format!("{role}, was active last itself, in term {term}, and follows none");
    }
    let listed = replica.others.iter().find(|other| other.rank == place);
    let server = listed.map_or_else(|| format!("server {place}"), ListedServerStatus::title);
    let service = match &replica.service {
        ServiceWord::Served => "follows".to_owned(),
        ServiceWord::Lost => "has lost".to_owned(),
        ServiceWord::Distrusted => "distrusts".to_owned(),
        ServiceWord::Unknown(word) => words(word),
    };
    format!("{role}, {service} {server}, term {term}")
}

/// How many members it hears, and whether that is a part of the cluster.
fn members(replica: &ReplicaStatus) -> String {
    let ReplicaStatus { members, known_members, .. } = replica;
    let known_members = known_members.max(members);
    let part = match replica.is_minority() {
        _ if members == known_members => "",
        true => ", a part of the cluster without a majority",
        false => ", the larger part of the cluster",
    };
    let standbys = match (replica.is_active(), replica.standbys) {
        (false, _) => String::new(),
        (true, 0) => "; no standby server follows it".to_owned(),
        (true, standbys) => format!("; {} its term", followed_by(standbys)),
    };
    format!("hears {members} of {known_members} known members{part}{standbys}")
}

fn followed_by(standbys: usize) -> String {
    let verb = if standbys == 1 { "follows" } else { "follow" };
    format!("{} {verb}", counted(standbys as u64, "standby server"))
}

/// A line if it hands over.
fn handover(replica: &ReplicaStatus) -> String {
    replica.successor.map_or_else(String::new, |place| format!("Hands over to server {place}\n"))
}

/// A line for each server, under a header; empty: there are none.
pub(super) fn table(servers: &[ListedServerStatus], paint: Paint) -> String {
    if servers.is_empty() {
        return String::new();
    }
    let header = [
        ("SERVER", Side::Left),
        ("ROLE", Side::Left),
        ("TERM", Side::Left),
        ("SERVICE", Side::Left),
        ("HEARD", Side::Right),
        ("", Side::Left),
    ];
    let rows: Vec<Vec<Cell>> = servers.iter().map(|server| row(server, paint)).collect();
    table::lines(&header, &rows)
}

fn row(server: &ListedServerStatus, paint: Paint) -> Vec<Cell> {
    let name = match (server.name.as_str(), server.address) {
        ("", None) => "not found yet".to_owned(),
        ("", Some(address)) => address.to_string(),
        (name, _) => name.to_owned(),
    };
    let role = match &server.role {
        _ if !server.registered => "not registered",
        None => "silent",
        Some(role) => role.as_str(),
    };
    // An active server serves itself.
    let stands_by = server.role == Some(RoleWord::Standby);
    let service = server.service.as_ref().filter(|_| stands_by).map_or("", ServiceWord::as_str);
    let term = match (server.term, server.term_of) {
        (Some(term), Some(of)) if of != server.rank => format!("{term} of {of}"),
        (Some(term), Some(_)) => term.to_string(),
        _ => String::new(),
    };
    let note = match (server.distrusted, server.followed) {
        (true, _) => "distrusted",
        (false, true) => "followed",
        (false, false) => "",
    };
    let painted = |word: &str| Cell::dressed(word.to_owned(), paint.state(word));
    vec![
        Cell::from(format!("{} {name}", server.rank)),
        painted(role),
        Cell::from(term),
        if service.is_empty() { Cell::default() } else { painted(service) },
        Cell::from(span(server.heard_ago_ns)),
        if server.distrusted { painted(note) } else { Cell::from(note.to_owned()) },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::examples;

    #[test]
    fn the_line_of_an_active_server_has_its_term_its_members_and_its_standby_servers() {
        let mut replica = examples::active_replica();
        let line = |replica: &ReplicaStatus| role_lines(replica, Paint::Plain);
        assert_eq!(
            line(&replica),
            "Server 1 of 3: active, term 7; hears 8 of 8 known members; 2 standby servers follow its term\n"
        );
        (replica.members, replica.standbys) = (5, 1);
        assert!(line(&replica).ends_with(
            "hears 5 of 8 known members, the larger part of the cluster; 1 standby server follows its term\n"
        ));
        (replica.members, replica.standbys, replica.successor) = (4, 0, Some(2));
        assert!(line(&replica).ends_with(
            "hears 4 of 8 known members, a part of the cluster without a majority; no standby server follows it\n\
             Hands over to server 2\n"
        ));
    }

    #[test]
    fn the_line_of_a_standby_server_says_whom_it_follows() {
        let mut replica = examples::standby_replica();
        let line = |replica: &ReplicaStatus| role_lines(replica, Paint::Plain);
        assert_eq!(
            line(&replica),
            "Server 2 of 3: standby, follows server 1 (a.lan:5525), term 7; hears 8 of 8 known members\n"
        );
        replica.service = ServiceWord::Lost;
        assert!(line(&replica).contains("standby, has lost server 1 (a.lan:5525), term 7;"));
        replica.term_of = Some(2);
        assert!(line(&replica).contains("standby, was active last itself, in term 7, and follows none;"));
        (replica.term, replica.term_of) = (0, None);
        assert!(line(&replica).contains("standby, has heard no active server yet;"));
    }

    #[test]
    fn each_other_server_has_a_line() {
        let mut servers = examples::standby_replica().others;
        servers[1].distrusted = true;
        servers.push(ListedServerStatus {
            rank: 4,
            name: "d.lan:5525".into(),
            registered: false,
            role: None,
            term: None,
            term_of: None,
            service: None,
            heard_ago_ns: None,
            ..examples::listed_server(4, RoleWord::Standby)
        });
        assert_eq!(
            table(&servers, Paint::Plain),
            "SERVER        ROLE            TERM    SERVICE  HEARD\n\
             1 a.lan:5525  active          7                1.2 s  followed\n\
             3 c.lan:5525  standby         7 of 1  served   1.2 s  distrusted\n\
             4 d.lan:5525  not registered                       -\n"
        );
        assert_eq!(table(&[], Paint::Plain), "");
    }
}
