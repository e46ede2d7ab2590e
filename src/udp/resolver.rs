//! The addresses of servers, looked up by their names.
//!
//! A lookup may block for as long as the system's resolver takes, half a minute if the network is down; an
//! address needs no lookup. So lookups are made by a thread of their own, one after the other, and the event
//! loop goes on: it asks for an address, and takes it when it is there. The addresses of a name are tried one
//! after the other; only when all have been tried is the name looked up again, for it may have moved.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;

use dns_lookup::{AddrInfoHints, LookupErrorKind, getaddrinfo};
use mio::{Registry, Token, Waker};

use super::address::{AddressFamilies, canonical};
use super::server_name::ServerName;
use super::socket::local_address_towards;
use meantime_core::roles::rank::Rank;

/// Why a name has not been resolved.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The system's resolver cannot be asked now; a later attempt may succeed (`EAI_AGAIN`).
    #[error("{0}")]
    Temporary(io::Error),
    /// The system's resolver does not know the name, or fails.
    #[error("{0}")]
    Failed(io::Error),
    /// The name is known, but has no address.
    #[error("the name has no address")]
    NoAddress,
}

impl From<ResolveError> for io::Error {
    fn from(error: ResolveError) -> io::Error {
        match error {
            ResolveError::Temporary(error) | ResolveError::Failed(error) => error,
            ResolveError::NoAddress => io::Error::other(error),
        }
    }
}

/// Finds the addresses of the servers of a list: of each server a different one each time, if it has several.
#[derive(Debug)]
pub struct Resolver {
    servers: Vec<SoughtServer>,
    reachable: AddressFamilies,
    /// The thread that looks names up; `None`: it was not needed yet.
    lookups: Option<Lookups>,
    /// Ends the event loop's wait when a lookup is over.
    waker: Option<Arc<Waker>>,
}

/// A server whose addresses are looked up.
#[derive(Debug)]
struct SoughtServer {
    rank: Rank,
    name: ServerName,
    /// The first to try last.
    untried: Vec<SocketAddr>,
    /// Whether an address is wanted.
    is_asked: bool,
    /// Whether the thread has the name and has not answered yet.
    is_pending: bool,
    /// Why the last lookup has found nothing; `None`: that was reported, or it has found something.
    failure: Option<ResolveError>,
}

/// A thread that looks names up, one after the other: what it is to do, and what it has found.
#[derive(Debug)]
struct Lookups {
    names: Sender<(Rank, ServerName)>,
    found: Receiver<(Rank, FoundAddresses)>,
}

/// The addresses of a server, or why there are none.
type FoundAddresses = Result<Vec<SocketAddr>, ResolveError>;

impl Resolver {
    /// A resolver that has not looked up the names of these servers yet.
    pub fn new(servers: impl IntoIterator<Item = (Rank, ServerName)>) -> Resolver {
        let sought = |(rank, name)| SoughtServer {
            rank,
            name,
            untried: Vec::new(),
            is_asked: false,
            is_pending: false,
            failure: None,
        };
        Resolver {
            servers: servers.into_iter().map(sought).collect(),
            reachable: AddressFamilies::Both,
            lookups: None,
            waker: None,
        }
    }

    /// The ranks of its servers.
    pub(super) fn ranks(&self) -> impl Iterator<Item = Rank> {
        self.servers.iter().map(|server| server.rank)
    }

    /// This server is not looked up any more.
    pub fn forget(&mut self, rank: Rank) {
        self.servers.retain(|server| server.rank != rank);
    }

    /// From now on other addresses are left out.
    ///
    /// # Errors
    /// With the first server of which there were addresses, and none is left.
    pub(super) fn limit_to(&mut self, reachable: AddressFamilies) -> Result<(), ServerName> {
        self.reachable = reachable;
        for server in &mut self.servers {
            let were_known = !server.untried.is_empty();
            server.untried.retain(|address| reachable.include(*address));
            if were_known && server.untried.is_empty() {
                return Err(server.name.clone());
            }
        }
        Ok(())
    }

    /// Joins the event loop: when a lookup is over, that is reported under `token`.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.waker = Some(Arc::new(Waker::new(registry, token)?));
        Ok(())
    }

    /// The local address from which all servers of which an address is known would be tried now; `None`: that
    /// is unknown, there is no route, or they are reached from several.
    pub fn local_address(&self) -> Option<IpAddr> {
        let next = self.servers.iter().filter_map(|server| server.untried.last());
        let mut local = next.map(|next| local_address_towards(*next).ok());
        let first = local.next()??;
        local.all(|other| other == Some(first)).then_some(first)
    }

    /// The addresses of this server that are known, and were not tried yet.
    pub fn known_addresses(&self, rank: Rank) -> &[SocketAddr] {
        self.servers.iter().find(|server| server.rank == rank).map_or(&[], |server| &server.untried)
    }

    /// Looks all names up, and waits for the answers. Returns those that have no address, and why. Once the
    /// system's resolver cannot be asked, it is not asked for the other names, which would take as long each.
    pub fn look_up_all(&mut self) -> Vec<(Rank, ResolveError)> {
        let mut failures = Vec::new();
        for server in &mut self.servers {
            let is_down = failures.iter().any(|(_, error)| matches!(error, ResolveError::Temporary(_)));
            if is_down && server.name.address().is_none() {
                continue;
            }
            if let Err(error) = server.store(addresses(&server.name), self.reachable) {
                failures.push((server.rank, error));
            }
        }
        failures
    }

    /// The first address that the name has, after waiting for the answer.
    ///
    /// # Errors
    /// When the name has no address, or the system's resolver fails.
    pub fn first_address(name: &ServerName) -> Result<SocketAddr, ResolveError> {
        addresses(name)?.first().copied().ok_or(ResolveError::NoAddress)
    }

    fn server(&mut self, rank: Rank) -> Option<&mut SoughtServer> {
        self.servers.iter_mut().find(|server| server.rank == rank)
    }

    /// Begins to find the next address of this server to try: [`take`](Resolver::take) returns it.
    pub fn resolve(&mut self, rank: Rank) {
        let (reachable, waker) = (self.reachable, self.waker.clone());
        let Some(server) = self.servers.iter_mut().find(|server| server.rank == rank) else { return };
        server.is_asked = true;
        if !server.untried.is_empty() || server.is_pending {
            return;
        }
        if server.name.address().is_some() {
            server.failure = server.store(addresses(&server.name), reachable).err();
            return;
        }
        if self.lookups.is_none() {
            match Lookups::start(waker) {
                Ok(started) => self.lookups = Some(started),
                Err(error) => {
                    server.failure = Some(ResolveError::Temporary(error));
                    return;
                }
            }
        }
        if let Some(lookups) = &self.lookups {
            // If the thread has gone, `take` notices.
            let _ = lookups.names.send((rank, server.name.clone()));
            server.is_pending = true;
        }
    }

    /// An address that was asked for, or why there is none; `None`: none was asked for, or the names are
    /// still being looked up.
    pub fn take(&mut self) -> Option<(Rank, Result<SocketAddr, ResolveError>)> {
        self.take_lookups();
        let is_known = |server: &&mut SoughtServer| server.is_asked && !server.is_pending;
        let server = self.servers.iter_mut().find(is_known)?;
        server.is_asked = false;
        let found = server.untried.pop();
        Some((server.rank, found.ok_or_else(|| server.failure.take().unwrap_or(ResolveError::NoAddress))))
    }

    /// Takes over what the thread has found.
    fn take_lookups(&mut self) {
        let reachable = self.reachable;
        while let Some(lookups) = &self.lookups {
            match lookups.found.try_recv() {
                Ok((rank, found)) => {
                    if let Some(server) = self.server(rank) {
                        server.is_pending = false;
                        server.failure = server.store(found, reachable).err();
                    }
                }
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.lookups = None;
                    for server in self.servers.iter_mut().filter(|server| server.is_pending) {
                        let error = io::Error::other("the thread that looks names up has ended");
                        (server.is_pending, server.failure) = (false, Some(ResolveError::Temporary(error)));
                    }
                }
            }
        }
    }
}

impl SoughtServer {
    /// Keeps the addresses that were found and can be reached.
    fn store(&mut self, found: FoundAddresses, reachable: AddressFamilies) -> Result<(), ResolveError> {
        self.untried = found?;
        self.untried.retain(|address| reachable.include(*address));
        self.untried.reverse();
        if self.untried.is_empty() { Err(ResolveError::NoAddress) } else { Ok(()) }
    }
}

impl Lookups {
    /// Starts the thread. It ends with the resolver, once the system has answered.
    #[expect(clippy::disallowed_methods, reason = "a lookup blocks, and the event loop must go on meanwhile")]
    fn start(waker: Option<Arc<Waker>>) -> io::Result<Lookups> {
        let (names, to_look_up) = channel::<(Rank, ServerName)>();
        let (answers, found) = channel();
        thread::Builder::new().name("resolver".into()).spawn(move || {
            for (rank, name) in to_look_up {
                if answers.send((rank, addresses(&name))).is_err() {
                    return;
                }
                // A loop that is not woken takes the answer at its next wake-up.
                waker.iter().for_each(|waker| drop(waker.wake()));
            }
        })?;
        Ok(Lookups { names, found })
    }
}

/// All addresses of a server, at least one.
fn addresses(name: &ServerName) -> FoundAddresses {
    if let Some(ip) = name.address() {
        return Ok(vec![canonical(SocketAddr::new(ip, name.port()))]);
    }
    let hints = AddrInfoHints { socktype: nix::libc::SOCK_STREAM, ..AddrInfoHints::default() };
    let found = getaddrinfo(Some(name.host()), None, Some(hints)).map_err(|error| match error.kind() {
        LookupErrorKind::Again => ResolveError::Temporary(error.into()),
        _ => ResolveError::Failed(error.into()),
    })?;
    let mut addresses = Vec::new();
    for info in found {
        let mut address = info.map_err(ResolveError::Failed)?.sockaddr;
        address.set_port(name.port());
        addresses.push(canonical(address));
    }
    if addresses.is_empty() { Err(ResolveError::NoAddress) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn resolver(name: &str) -> Resolver {
        Resolver::new([(Rank::FIRST, name.parse().unwrap())])
    }

    /// The next address of a server, however long the system takes.
    fn next(resolver: &mut Resolver, rank: Rank) -> Result<SocketAddr, ResolveError> {
        resolver.resolve(rank);
        for _ in 0..12_000 {
            match resolver.take() {
                Some((of, found)) => {
                    assert_eq!(of, rank);
                    return found;
                }
                None => thread::sleep(Duration::from_millis(5)),
            }
        }
        panic!("no answer within a minute");
    }

    #[test]
    fn an_address_needs_no_lookup_and_is_returned_each_time() {
        let mut resolver = resolver("[::ffff:192.0.2.1]:7");
        for _ in 0..3 {
            assert_eq!(next(&mut resolver, Rank::FIRST).unwrap(), "192.0.2.1:7".parse().unwrap());
            assert!(resolver.take().is_none() && resolver.lookups.is_none());
        }
    }

    #[test]
    fn a_name_is_looked_up_by_a_thread_and_gets_the_port() {
        let mut resolver = resolver("localhost:7");
        for _ in 0..4 {
            let address = next(&mut resolver, Rank::FIRST).unwrap();
            assert!(address.ip().is_loopback() && address.port() == 7, "{address}");
        }
        assert!(resolver.lookups.is_some());
    }

    #[test]
    fn a_name_that_does_not_exist_is_an_error_without_an_address() {
        // By RFC 6761 no resolver knows it; one that cannot be reached says so as well.
        let mut resolver = resolver("none.invalid");
        for _ in 0..2 {
            let error = next(&mut resolver, Rank::FIRST).unwrap_err();
            assert!(matches!(error, ResolveError::Failed(_) | ResolveError::Temporary(_)), "{error:?}");
        }
    }

    #[test]
    fn a_thread_that_has_ended_is_an_error_and_the_next_attempt_starts_another() {
        let mut resolver = resolver("localhost:7");
        let ((names, _), (_, found)) = (channel(), channel());
        resolver.lookups = Some(Lookups { names, found });
        assert!(matches!(next(&mut resolver, Rank::FIRST), Err(ResolveError::Temporary(_))));
        assert!(next(&mut resolver, Rank::FIRST).is_ok());
    }

    #[test]
    fn an_address_that_the_socket_cannot_reach_is_left_out() {
        let mut resolver = resolver("192.0.2.1");
        assert!(resolver.limit_to(AddressFamilies::V6).is_ok(), "none is known yet");
        assert!(matches!(next(&mut resolver, Rank::FIRST), Err(ResolveError::NoAddress)));
        resolver.limit_to(AddressFamilies::V4).unwrap();
        assert!(resolver.look_up_all().is_empty());
        assert_eq!(resolver.known_addresses(Rank::FIRST), ["192.0.2.1:5525".parse().unwrap()]);
        assert_eq!(resolver.limit_to(AddressFamilies::V6), Err("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn each_server_of_a_list_is_answered_with_its_rank() {
        let names = ["192.0.2.1", "localhost:7", "192.0.2.3"].map(|name| name.parse().unwrap());
        let ranks = [0, 1, 2].map(|place| Rank::new(place).unwrap());
        let mut resolver = Resolver::new(ranks.into_iter().zip(names));
        ranks.iter().for_each(|rank| resolver.resolve(*rank));
        let mut found = Vec::new();
        for _ in 0..12_000 {
            found.extend(resolver.take());
            if found.len() == 3 {
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        found.sort_by_key(|(rank, _)| *rank);
        let ports: Vec<_> =
            found.iter().map(|(rank, found)| (*rank, found.as_ref().unwrap().port())).collect();
        assert_eq!(ports, [(ranks[0], 5525), (ranks[1], 7), (ranks[2], 5525)]);
        resolver.forget(ranks[0]);
        resolver.resolve(ranks[0]);
        assert!(resolver.take().is_none());
    }
}
