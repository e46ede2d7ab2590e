//! The addresses of a server, looked up by its name.
//!
//! A lookup may block for as long as the system's resolver takes, half a minute if the network is down; an
//! address needs no lookup. So lookups are made by a thread of their own, and the event loop goes on: it asks
//! for an address, and takes it when it is there. The addresses of a name are tried one after the other; only
//! when all have been tried is the name looked up again, for it may have moved.

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

/// Finds the server's address, a different one each time if it has several.
#[derive(Debug)]
pub struct Resolver {
    name: ServerName,
    reachable: AddressFamilies,
    untried: Vec<SocketAddr>,
    /// Whether an address is wanted.
    is_asked: bool,
    /// The thread that looks names up; `None`: it was not needed yet.
    lookups: Option<Lookups>,
    /// Why the thread could not be started.
    refused: Option<ResolveError>,
    /// Ends the event loop's wait when a lookup is over.
    waker: Option<Arc<Waker>>,
}

/// A thread that looks names up: what it is to do, and what it has found.
#[derive(Debug)]
struct Lookups {
    names: Sender<ServerName>,
    found: Receiver<Result<Vec<SocketAddr>, ResolveError>>,
    /// Whether it has not answered yet.
    is_pending: bool,
}

impl Resolver {
    /// A resolver that has not looked up the name yet.
    pub fn new(name: ServerName) -> Resolver {
        Resolver {
            name,
            reachable: AddressFamilies::Both,
            untried: Vec::new(),
            is_asked: false,
            lookups: None,
            refused: None,
            waker: None,
        }
    }

    /// From now on other addresses are left out. Returns whether some are left, or none was known yet.
    pub(super) fn limit_to(&mut self, reachable: AddressFamilies) -> bool {
        let were_known = !self.untried.is_empty();
        self.reachable = reachable;
        self.untried.retain(|address| reachable.include(*address));
        !were_known || !self.untried.is_empty()
    }

    /// Joins the event loop: when a lookup is over, that is reported under `token`.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.waker = Some(Arc::new(Waker::new(registry, token)?));
        Ok(())
    }

    /// The local address from which the next address would be tried now; `None`: that is unknown, or there is
    /// no route.
    pub fn local_address(&self) -> Option<IpAddr> {
        self.untried.last().and_then(|next| local_address_towards(*next).ok())
    }

    /// Looks the name up, and waits for the answer.
    ///
    /// # Errors
    /// When the name has no address, or the system's resolver fails.
    pub fn look_up(&mut self) -> Result<(), ResolveError> {
        self.store(addresses(&self.name))
    }

    /// The first address that the name has, after waiting for the answer.
    ///
    /// # Errors
    /// When the name has no address, or the system's resolver fails.
    pub fn first_address(name: ServerName) -> Result<SocketAddr, ResolveError> {
        let mut resolver = Resolver::new(name);
        resolver.look_up()?;
        resolver.untried.pop().ok_or(ResolveError::NoAddress)
    }

    /// Begins to find the next address to try: [`take`](Resolver::take) returns it.
    pub fn resolve(&mut self) {
        self.is_asked = true;
        if !self.untried.is_empty() {
            return;
        }
        if self.name.address().is_some() {
            // It is stored, or a later take fails.
            let _ = self.look_up();
            return;
        }
        if self.lookups.is_none() {
            match Lookups::start(self.waker.clone()) {
                Ok(started) => self.lookups = Some(started),
                Err(error) => {
                    self.refused = Some(ResolveError::Temporary(error));
                    return;
                }
            }
        }
        if let Some(lookups) = self.lookups.as_mut().filter(|lookups| !lookups.is_pending) {
            // If the thread has gone, `take` notices.
            let _ = lookups.names.send(self.name.clone());
            lookups.is_pending = true;
        }
    }

    /// The address that was asked for, or why there is none; `None`: none was asked for, or the name is still
    /// being looked up.
    pub fn take(&mut self) -> Option<Result<SocketAddr, ResolveError>> {
        if !self.is_asked {
            return None;
        }
        if let Some(address) = self.untried.pop() {
            self.is_asked = false;
            return Some(Ok(address));
        }
        let pending = self.lookups.as_mut().filter(|lookups| lookups.is_pending);
        let found = match pending.map(|lookups| lookups.found.try_recv()) {
            Some(Err(TryRecvError::Empty)) => return None,
            Some(Ok(found)) => found,
            Some(Err(TryRecvError::Disconnected)) => {
                self.lookups = None;
                Err(ResolveError::Temporary(io::Error::other("the thread that looks names up has ended")))
            }
            None => Err(self.refused.take().unwrap_or(ResolveError::NoAddress)),
        };
        self.is_asked = false;
        self.lookups.iter_mut().for_each(|lookups| lookups.is_pending = false);
        Some(self.store(found).and_then(|()| self.untried.pop().ok_or(ResolveError::NoAddress)))
    }

    /// Keeps the addresses that were found, the first to try last.
    fn store(&mut self, found: Result<Vec<SocketAddr>, ResolveError>) -> Result<(), ResolveError> {
        self.untried = found?;
        self.untried.retain(|address| self.reachable.include(*address));
        self.untried.reverse();
        if self.untried.is_empty() { Err(ResolveError::NoAddress) } else { Ok(()) }
    }
}

impl Lookups {
    /// Starts the thread. It ends with the resolver, once the system has answered.
    #[expect(clippy::disallowed_methods, reason = "a lookup blocks, and the event loop must go on meanwhile")]
    fn start(waker: Option<Arc<Waker>>) -> io::Result<Lookups> {
        let (names, to_look_up) = channel::<ServerName>();
        let (answers, found) = channel();
        thread::Builder::new().name("resolver".into()).spawn(move || {
            for name in to_look_up {
                if answers.send(addresses(&name)).is_err() {
                    return;
                }
                // A loop that is not woken takes the answer at its next wake-up.
                waker.iter().for_each(|waker| drop(waker.wake()));
            }
        })?;
        Ok(Lookups { names, found, is_pending: false })
    }
}

/// All addresses of a server, at least one.
fn addresses(name: &ServerName) -> Result<Vec<SocketAddr>, ResolveError> {
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

    /// The next address, however long the system takes.
    fn next(resolver: &mut Resolver) -> Result<SocketAddr, ResolveError> {
        resolver.resolve();
        for _ in 0..12_000 {
            match resolver.take() {
                Some(found) => return found,
                None => thread::sleep(Duration::from_millis(5)),
            }
        }
        panic!("no answer within a minute");
    }

    #[test]
    fn an_address_needs_no_lookup_and_is_returned_each_time() {
        let mut resolver = Resolver::new("[::ffff:192.0.2.1]:7".parse().unwrap());
        for _ in 0..3 {
            resolver.resolve();
            assert_eq!(resolver.take().unwrap().unwrap(), "192.0.2.1:7".parse().unwrap());
            assert!(resolver.take().is_none() && resolver.lookups.is_none());
        }
    }

    #[test]
    fn a_name_is_looked_up_by_a_thread_and_gets_the_port() {
        let mut resolver = Resolver::new("localhost:7".parse().unwrap());
        for _ in 0..4 {
            let address = next(&mut resolver).unwrap();
            assert!(address.ip().is_loopback() && address.port() == 7, "{address}");
        }
        assert!(resolver.lookups.is_some());
    }

    #[test]
    fn a_name_that_does_not_exist_is_an_error_without_an_address() {
        // By RFC 6761 no resolver knows it; one that cannot be reached says so as well.
        let mut resolver = Resolver::new("none.invalid".parse().unwrap());
        for _ in 0..2 {
            let error = next(&mut resolver).unwrap_err();
            assert!(matches!(error, ResolveError::Failed(_) | ResolveError::Temporary(_)), "{error:?}");
        }
    }

    #[test]
    fn a_thread_that_has_ended_is_an_error_and_the_next_attempt_starts_another() {
        let mut resolver = Resolver::new("localhost:7".parse().unwrap());
        let ((names, _), (_, found)) = (channel(), channel());
        resolver.lookups = Some(Lookups { names, found, is_pending: false });
        assert!(matches!(next(&mut resolver), Err(ResolveError::Temporary(_))));
        assert!(next(&mut resolver).is_ok());
    }

    #[test]
    fn an_address_that_the_socket_cannot_reach_is_left_out() {
        let mut resolver = Resolver::new("192.0.2.1".parse().unwrap());
        resolver.limit_to(AddressFamilies::V6);
        assert!(matches!(next(&mut resolver), Err(ResolveError::NoAddress)));
        resolver.limit_to(AddressFamilies::V4);
        assert!(next(&mut resolver).is_ok());
    }
}
