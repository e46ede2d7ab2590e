//! The addresses of a server, looked up by its name.
//!
//! A lookup may block for as long as the system's resolver takes, half a minute if the network is down; an
//! address needs no lookup and never blocks. The addresses of a name are tried one after the other; only when
//! all have been tried is the name looked up again, for it may have moved. During a lookup the event loop
//! handles no signals, so SIGINT and SIGTERM end the process at once: without the server's address no goodbye
//! can be sent.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dns_lookup::{AddrInfoHints, LookupErrorKind, getaddrinfo};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_shutdown;

use super::address::canonical;
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
    untried: Vec<SocketAddr>,
    /// Whether a signal ends the process at once.
    looking_up: Arc<AtomicBool>,
}

impl Resolver {
    /// A resolver that has not looked up the name yet.
    pub fn new(name: ServerName) -> Resolver {
        Resolver { name, untried: Vec::new(), looking_up: Arc::default() }
    }

    /// From now on, a signal ends the process during a lookup.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn with_signals(self) -> io::Result<Resolver> {
        for signal in [SIGINT, SIGTERM] {
            register_conditional_shutdown(signal, 0, Arc::clone(&self.looking_up))?;
        }
        Ok(self)
    }

    /// The next address to try.
    ///
    /// # Errors
    /// When the name must be looked up again, and that fails.
    pub fn next_address(&mut self) -> Result<SocketAddr, ResolveError> {
        if self.untried.is_empty() {
            self.look_up()?;
        }
        self.untried.pop().ok_or(ResolveError::NoAddress)
    }

    /// The local address from which the next address would be tried now; `None`: that is unknown, or there is
    /// no route.
    pub fn local_address(&self) -> Option<IpAddr> {
        self.untried.last().and_then(|next| local_address_towards(*next).ok())
    }

    /// Looks the name up.
    ///
    /// # Errors
    /// When the name has no address, or the system's resolver fails.
    pub fn look_up(&mut self) -> Result<(), ResolveError> {
        self.looking_up.store(true, Ordering::SeqCst);
        let found = addresses(&self.name);
        self.looking_up.store(false, Ordering::SeqCst);
        self.untried = found?;
        self.untried.reverse();
        Ok(())
    }
}

/// All addresses of a server, at least one.
fn addresses(name: &ServerName) -> Result<Vec<SocketAddr>, ResolveError> {
    if let Ok(ip) = name.host().parse::<IpAddr>() {
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
    use super::*;

    #[test]
    fn an_address_needs_no_lookup_and_is_returned_each_time() {
        let mut resolver = Resolver::new("[::ffff:192.0.2.1]:7".parse().unwrap());
        for _ in 0..3 {
            assert_eq!(resolver.next_address().unwrap(), "192.0.2.1:7".parse().unwrap());
        }
    }

    #[test]
    fn a_name_is_looked_up_and_gets_the_port() {
        let mut resolver = Resolver::new("localhost:7".parse().unwrap());
        let address = resolver.next_address().unwrap();
        assert!(address.ip().is_loopback() && address.port() == 7, "{address}");
    }

    #[test]
    fn a_name_that_does_not_exist_is_an_error_without_an_address() {
        // By RFC 6761 no resolver knows it; one that cannot be reached says so as well.
        let error = Resolver::new("none.invalid".parse().unwrap()).next_address().unwrap_err();
        assert!(matches!(error, ResolveError::Failed(_) | ResolveError::Temporary(_)), "{error:?}");
    }
}
