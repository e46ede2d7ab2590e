//! Several servers as an operator types them: `SERVER[:PORT],SERVER[:PORT],…`.

use std::fmt;
use std::str::FromStr;

use meantime_core::roles::rank::{MAX_SERVERS, Rank};

use super::server_name::{ServerName, ServerNameError};

/// Servers in the order in which they were typed, at least one; the place in the list is a server's rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerList(Vec<ServerName>);

/// Why a text is no list of servers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerListError {
    /// A part of it names no server.
    #[error(transparent)]
    Name(#[from] ServerNameError),
    /// A server stands in the list twice.
    #[error("the server {0} is in the list twice; name each server once")]
    Twice(ServerName),
    /// The list is too long.
    #[error("a list has at most {MAX_SERVERS} servers, not {0}")]
    TooMany(usize),
}

impl ServerList {
    /// The servers, from the first on.
    pub fn names(&self) -> &[ServerName] {
        &self.0
    }

    /// How many servers it has.
    pub fn count(&self) -> u8 {
        // A list is not longer than `MAX_SERVERS`.
        self.0.len() as u8
    }

    /// The servers with their ranks.
    pub fn ranked(&self) -> impl Iterator<Item = (Rank, &ServerName)> {
        (0..).map_while(Rank::new).zip(&self.0)
    }

    /// The name of the server of this rank; `None`: the list is shorter.
    pub fn name_of(&self, rank: Rank) -> Option<&ServerName> {
        self.0.get(usize::from(rank.place()))
    }
}

impl From<ServerName> for ServerList {
    fn from(name: ServerName) -> ServerList {
        ServerList(vec![name])
    }
}

impl fmt::Display for ServerList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, name) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{name}")?;
        }
        Ok(())
    }
}

impl FromStr for ServerList {
    type Err = ServerListError;

    fn from_str(text: &str) -> Result<ServerList, ServerListError> {
        let names =
            text.split(',').map(|name| name.trim().parse()).collect::<Result<Vec<ServerName>, _>>()?;
        if names.len() > usize::from(MAX_SERVERS) {
            return Err(ServerListError::TooMany(names.len()));
        }
        let is_repeated = |(place, name): &(usize, &ServerName)| {
            names[..*place].iter().any(|before| before.is_same_as(name))
        };
        match names.iter().enumerate().find(is_repeated) {
            Some((_, name)) => Err(ServerListError::Twice(name.clone())),
            None => Ok(ServerList(names)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        text.parse::<ServerList>().map(|list| list.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_list_has_names_and_addresses_of_both_families_with_and_without_ports() {
        assert_eq!(read("server.lan").as_deref(), Ok("server.lan:5525"));
        assert_eq!(
            read("a.lan,192.0.2.2:7, [2001:db8::3]:7,fd00::4").as_deref(),
            Ok("a.lan:5525, 192.0.2.2:7, [2001:db8::3]:7, [fd00::4]:5525")
        );
        let list: ServerList = "a,b".parse().unwrap();
        let ranks: Vec<u8> = list.ranked().map(|(rank, _)| rank.place()).collect();
        assert_eq!((ranks, list.count()), (vec![0, 1], 2));
        let second = Rank::new(1).and_then(|rank| list.name_of(rank));
        assert_eq!(second.map(ToString::to_string).as_deref(), Some("b:5525"));
    }

    #[test]
    fn a_wrong_part_is_answered_as_a_wrong_name() {
        for text in ["", "a,", ",a", "a,,b", "a b"] {
            assert!(
                read(text).is_err_and(|error| error.starts_with("the server's name is missing")),
                "{text}"
            );
        }
        assert_eq!(
            read("a,b:99999").unwrap_err(),
            "'99999' is not a port (1 to 65535); type for example b:5525"
        );
    }

    #[test]
    fn a_server_that_is_typed_twice_is_refused_however_it_is_written() {
        for text in [
            "a,b,a",
            "a.lan,A.LAN:5525",
            "a.lan,a.lan.",
            "192.0.2.1,192.0.2.1:5525",
            "fd00::1,[fd00:0::1]:5525",
            "192.0.2.1,[::ffff:192.0.2.1]",
        ] {
            assert!(
                read(text).is_err_and(|error| error.ends_with("is in the list twice; name each server once")),
                "{text}"
            );
        }
        assert!(read("127.0.0.1:1,127.0.0.1:2,127.0.0.2:1").is_ok());
    }

    #[test]
    fn a_list_has_fifteen_servers_at_most() {
        let list =
            |servers: u8| (1..=servers).map(|server| format!("s{server}")).collect::<Vec<_>>().join(",");
        assert!(read(&list(15)).is_ok());
        assert_eq!(read(&list(16)).unwrap_err(), "a list has at most 15 servers, not 16");
    }
}
