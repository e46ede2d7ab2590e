//! Several servers: finding them at the start, and which of them this machine's is.

use std::net::{IpAddr, SocketAddr};

use super::Failure;
use crate::report::place_of;
use crate::udp::{ResolveError, Resolver, ServerList};
use meantime_core::roles::rank::Rank;

/// Looks the servers up at the start, so that the operator learns at once of a wrong name. While the system's
/// resolver cannot be asked, as after a power cut, the node tries again later; and it starts if some of
/// several names are known: that of a machine that is switched off may have no address.
///
/// # Errors
/// When none of the names is known.
pub(super) fn find_servers(servers: &ServerList) -> Result<Resolver, Failure> {
    let mut resolver = Resolver::new(servers.ranked().map(|(rank, name)| (rank, name.clone())));
    let mut unknown = 0;
    for (rank, error) in resolver.look_up_all() {
        let Some(server) = servers.name_of(rank) else { continue };
        if let ResolveError::Temporary(error) = error {
            log::warn!("cannot find the server {server} yet: {error}; trying again");
            continue;
        }
        let line = format!("cannot find the server {server}: {error}; is its name right?");
        unknown += 1;
        if unknown == servers.count() {
            return Err(Failure::Runtime(line));
        }
        log::warn!("{line}");
    }
    Ok(resolver)
}

/// The servers that a client follows, in words.
pub(super) fn named(servers: &ServerList) -> String {
    let one = if servers.count() > 1 { "one of the servers" } else { "the server" };
    format!("{one} {servers}")
}

/// The place in the list of the server that listens at `listen`: the only one with an address there.
///
/// # Errors
/// When that is none of the list, or several.
pub(super) fn own_place(
    servers: &ServerList,
    resolver: &Resolver,
    listen: SocketAddr,
    own: &[IpAddr],
) -> Result<Rank, Failure> {
    let is_own = |rank: Rank| resolver.known_addresses(rank).iter().any(|known| is_at(*known, listen, own));
    let found: Vec<Rank> = servers.ranked().map(|(rank, _)| rank).filter(|rank| is_own(*rank)).collect();
    let most = servers.count();
    match found.as_slice() {
        [own] => Ok(*own),
        [] => {
            let line = format!(
                "none of {servers} has an address of this machine with port {}; say which of them this server is, with \
                 --rank 1 to --rank {most}",
                listen.port()
            );
            // Names may have addresses later.
            let is_unknown = |(rank, _)| resolver.known_addresses(rank).is_empty();
            Err(if servers.ranked().any(is_unknown) { Failure::Runtime(line) } else { Failure::Usage(line) })
        }
        several => {
            let named = several.iter().filter_map(|rank| Some((place_of(*rank), servers.name_of(*rank)?)));
            let named: Vec<String> = named.map(|(place, name)| format!("{place} ({name})")).collect();
            Err(Failure::Usage(format!(
                "the servers {} of the list all have an address of this machine with port {}; say which of them this \
                 server is, with --rank",
                named.join(" and "),
                listen.port()
            )))
        }
    }
}

/// Whether a server that listens at `listen` on a machine with these addresses has the address `known`.
fn is_at(known: SocketAddr, listen: SocketAddr, own: &[IpAddr]) -> bool {
    let is_own = match listen.ip().to_canonical() {
        // Some systems give their own name the address 127.0.1.1, which no interface lists.
        any if any.is_unspecified() => own.contains(&known.ip()) || known.ip().is_loopback(),
        one => known.ip() == one,
    };
    is_own && known.port() == listen.port()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The place of a server that listens there on a machine with the address 192.0.2.2, or why it has none.
    fn place(servers: &str, listen: &str) -> Result<u8, String> {
        let servers: ServerList = servers.parse().unwrap();
        let resolver = find_servers(&servers).unwrap();
        let own = ["127.0.0.1", "192.0.2.2", "fd00::2"].map(|address| address.parse().unwrap());
        let found = own_place(&servers, &resolver, listen.parse().unwrap(), &own);
        found.map(place_of).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_server_is_the_one_of_the_list_that_has_an_address_of_its_machine() {
        let list = "192.0.2.1,192.0.2.2,192.0.2.3";
        assert_eq!(place(list, "[::]:5525"), Ok(2));
        assert_eq!(place(list, "192.0.2.2:5525"), Ok(2));
        assert_eq!(place("fd00::1,fd00::2", "[::]:5525"), Ok(2));
        assert_eq!(place("192.0.2.1,127.0.1.1", "[::]:5525"), Ok(2));
    }

    #[test]
    fn servers_on_one_machine_are_told_apart_by_their_ports_or_by_the_address_to_listen_on() {
        let ports = "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3";
        assert_eq!(place(ports, "127.0.0.1:3"), Ok(3));
        assert_eq!(place(ports, "0.0.0.0:2"), Ok(2));
        assert_eq!(place("127.0.0.1:7,127.0.0.2:7", "127.0.0.2:7"), Ok(2));
    }

    #[test]
    fn a_server_without_a_place_or_with_several_is_told_of_the_option() {
        assert_eq!(
            place("192.0.2.1,192.0.2.3", "[::]:5525"),
            Err("none of 192.0.2.1:5525, 192.0.2.3:5525 has an address of this machine with port 5525; say which of them \
                 this server is, with --rank 1 to --rank 2"
                .into())
        );
        assert_eq!(
            place("192.0.2.2,192.0.2.1,fd00::2", "[::]:5525"),
            Err("the servers 1 (192.0.2.2:5525) and 3 ([fd00::2]:5525) of the list all have an address of this machine \
                 with port 5525; say which of them this server is, with --rank"
                .into())
        );
        assert!(place("192.0.2.2,192.0.2.1", "[::]:7").is_err(), "another port");
    }
}
