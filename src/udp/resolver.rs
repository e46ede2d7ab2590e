//! Where the server is: its name as a person typed it, and the addresses behind that name.
//!
//! Looking a name up may block for as long as the system's resolver likes, half a minute if the network is
//! down; an address written as such never does. The addresses of a name are tried one after the other, and
//! only when all have been tried is the name looked up again: it may have moved. While the loop is deaf
//! because of it, SIGINT and SIGTERM end the process there and then: without a server that is known
//! there is nobody to say goodbye to.

use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_shutdown;

use super::sockets::canonical;
use meantime_core::wire::DEFAULT_PORT;

/// A server as a person names it: `SERVER[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerName {
    host: String,
    port: u16,
    /// An IPv6 address was typed without brackets: its end may have been meant as a port.
    bare: bool,
}

impl ServerName {
    /// The server that somebody may have meant who typed an IPv6 address with a port and without brackets:
    /// `fd00::1:5525` is itself an address.
    pub fn with_a_port(&self) -> Option<ServerName> {
        let (host, port) = ending_in_a_port(&self.host).filter(|_| self.bare)?;
        Some(ServerName { host: host.to_owned(), port, bare: false })
    }

    /// The port, which nobody may have typed.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// All the addresses that the name stands for, at least one.
    fn look_up(&self) -> io::Result<Vec<SocketAddr>> {
        let addresses: Vec<_> = (self.host.as_str(), self.port).to_socket_addrs()?.map(canonical).collect();
        match addresses.is_empty() {
            true => Err(io::Error::other("the name has no address")),
            false => Ok(addresses),
        }
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl FromStr for ServerName {
    type Err = String;

    fn from_str(text: &str) -> Result<ServerName, String> {
        if text.contains('/') {
            let bare = text.split_once("://").map_or(text, |(_scheme, rest)| rest);
            let bare = bare.split('/').next().filter(|bare| !bare.is_empty()).unwrap_or("server.lan");
            return Err(format!("a server is named without '/' or '://'; type {bare}"));
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => bracketed(text, rest)?,
            // More than one colon: an IPv6 address without brackets, so without a port.
            None if text.matches(':').count() > 1 => (unbracketed(text)?, None),
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err("the server's name is missing; type for example 192.0.2.1 or server.lan:5525".into());
        }
        let port = port.map_or(Ok(DEFAULT_PORT), |port| self::port(host, port))?;
        Ok(ServerName { host: host.to_owned(), port, bare: !text.starts_with('[') && host.contains(':') })
    }
}

/// An IPv6 address and a port, if that is how somebody may have meant what was typed without brackets.
fn ending_in_a_port(text: &str) -> Option<(&str, u16)> {
    let (address, port) = text.rsplit_once(':')?;
    let (bare, _link) = address.split_once('%').unwrap_or((address, ""));
    bare.parse::<Ipv6Addr>().ok()?;
    Some((address, port.parse().ok().filter(|port| *port != 0)?))
}

/// Splits `[HOST]` or `[HOST]:PORT`, of which `rest` is what follows the first bracket.
fn bracketed<'a>(text: &str, rest: &'a str) -> Result<(&'a str, Option<&'a str>), String> {
    let (host, after) = rest.split_once(']').ok_or_else(|| format!("'{text}' lacks a closing bracket"))?;
    match after.strip_prefix(':') {
        Some(port) => Ok((unbracketed(host)?, Some(port))),
        None if after.is_empty() => Ok((unbracketed(host)?, None)),
        None => Err(format!("'{after}' after the bracket is not a port; type [{host}]:{DEFAULT_PORT}")),
    }
}

/// Checks an IPv6 address, which may name its link after a %.
fn unbracketed(host: &str) -> Result<&str, String> {
    let (address, link) = host.split_once('%').unwrap_or((host, ""));
    match address.parse::<Ipv6Addr>() {
        Ok(_) if !link.contains(':') => Ok(host),
        _ => match ending_in_a_port(host) {
            Some((address, port)) => {
                Err(format!("before a port an IPv6 address needs brackets; type [{address}]:{port}"))
            }
            None => {
                Err(format!("'{host}' is not an IPv6 address; type for example [2001:db8::1]:{DEFAULT_PORT}"))
            }
        },
    }
}

fn port(host: &str, port: &str) -> Result<u16, String> {
    match port.parse() {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(format!("'{port}' is not a port (1 to 65535); type for example {host}:{DEFAULT_PORT}")),
    }
}

/// Finds the server's address, a different one each time if there are several.
#[derive(Debug)]
pub struct Resolver {
    name: ServerName,
    untried: Vec<SocketAddr>,
    /// Whether a signal ends the process at once.
    deaf: Arc<AtomicBool>,
}

impl Resolver {
    /// A resolver that has not looked anything up yet.
    pub fn new(name: ServerName) -> Resolver {
        Resolver { name, untried: Vec::new(), deaf: Arc::default() }
    }

    /// From now on, a signal ends the process while a name is looked up.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn with_signals(self) -> io::Result<Resolver> {
        for signal in [SIGINT, SIGTERM] {
            register_conditional_shutdown(signal, 0, Arc::clone(&self.deaf))?;
        }
        Ok(self)
    }

    /// The next address to try.
    ///
    /// # Errors
    /// When the name has to be looked up again and that fails.
    pub fn try_next(&mut self) -> io::Result<SocketAddr> {
        if self.untried.is_empty() {
            self.look_up()?;
        }
        self.untried.pop().ok_or_else(|| io::Error::other("the name has no address"))
    }

    /// Looks the name up.
    ///
    /// # Errors
    /// When it has no address, or the system's resolver fails.
    pub fn look_up(&mut self) -> io::Result<()> {
        self.deaf.store(true, Ordering::SeqCst);
        let found = self.name.look_up();
        self.deaf.store(false, Ordering::SeqCst);
        self.untried = found?;
        self.untried.reverse();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        text.parse::<ServerName>().map(|name| name.to_string())
    }

    #[test]
    fn a_server_is_named_with_or_without_a_port() {
        for (typed, meant) in [
            ("server.lan", "server.lan:5525"),
            ("server.lan:7", "server.lan:7"),
            ("192.0.2.1:7", "192.0.2.1:7"),
            ("::1", "[::1]:5525"),
            ("[::1]", "[::1]:5525"),
            ("[2001:db8::1]:7", "[2001:db8::1]:7"),
            ("fe80::1%eth0", "[fe80::1%eth0]:5525"),
        ] {
            assert_eq!(read(typed).as_deref(), Ok(meant));
        }
    }

    #[test]
    fn a_wrong_name_is_answered_with_what_to_type() {
        for typed in
            ["", ":5525", "a:b:c", "[::1", "[::1]x", "[localhost]:1", "host:", "host:0", "host:65536", "a b"]
        {
            assert!(read(typed).is_err(), "{typed:?} was read as {:?}", read(typed));
        }
        assert_eq!(
            read("host:99999").unwrap_err(),
            "'99999' is not a port (1 to 65535); type for example host:5525"
        );
    }

    #[test]
    fn what_is_pasted_from_a_browser_is_answered_with_the_name_in_it() {
        for (typed, hint) in [
            ("http://host", "type host"),
            ("udp://[fd00::1]:5525/", "type [fd00::1]:5525"),
            ("server.lan/time", "type server.lan"),
            ("http://", "type server.lan"),
        ] {
            assert_eq!(read(typed).unwrap_err(), format!("a server is named without '/' or '://'; {hint}"));
        }
    }

    #[test]
    fn a_port_after_an_ipv6_address_without_brackets_is_noticed() {
        let meant = |typed: &str| {
            let name: ServerName = typed.parse().unwrap();
            name.with_a_port().map(|meant| meant.to_string())
        };
        assert_eq!(meant("fd00::1:5525").as_deref(), Some("[fd00::1]:5525"));
        for clear in [
            "fd00::1",
            "[fd00::1:5525]",
            "fd00::1:abcd",
            "[fd00::1]:5525",
            "1:2:3:4:5:6:7:5525",
            "host:5525",
            "fd00::1:0",
        ] {
            assert_eq!(meant(clear), None, "{clear}");
        }
        for typed in ["fe80::1%eth0:5525", "1:2:3:4:5:6:7:8:5525", "fd00::1:15525"] {
            let error = typed.parse::<ServerName>().unwrap_err();
            assert!(
                error.starts_with("before a port an IPv6 address needs brackets; type ["),
                "{typed}: {error}"
            );
        }
    }

    #[test]
    fn an_address_needs_no_looking_up_and_comes_back_each_time() {
        let mut resolver = Resolver::new("[::ffff:192.0.2.1]:7".parse().unwrap());
        for _ in 0..3 {
            assert_eq!(resolver.try_next().unwrap(), "192.0.2.1:7".parse().unwrap());
        }
    }
}
