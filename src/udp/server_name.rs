//! A server as an operator types it: `SERVER[:PORT]`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use meantime_core::wire::DEFAULT_PORT;

/// The name or address of a server, and its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerName {
    host: String,
    port: u16,
    /// An IPv6 address was typed without brackets: its end may have been meant as a port.
    bare: bool,
}

/// Why a text does not name a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerNameError {
    /// It is a URL, or a part of one; this is the host in it.
    #[error("a server is named without '/' or '://'; type {0}")]
    Url(String),
    /// There is no name, or there is white space in it.
    #[error("the server's name is missing; type for example 192.0.2.1 or server.lan:5525")]
    Missing,
    /// The bracket before an IPv6 address is not closed.
    #[error("'{0}' lacks a closing bracket")]
    OpenBracket(String),
    /// What follows the closing bracket is no port.
    #[error("'{after}' after the bracket is not a port; type [{host}]:{DEFAULT_PORT}")]
    AfterBracket {
        /// What is in the brackets.
        host: String,
        /// What follows them.
        after: String,
    },
    /// An IPv6 address with a port has no brackets.
    #[error("before a port an IPv6 address needs brackets; type [{address}]:{port}")]
    MissingBrackets {
        /// The address.
        address: String,
        /// The port.
        port: u16,
    },
    /// There are colons, but no IPv6 address.
    #[error("'{0}' is not an IPv6 address; type for example [2001:db8::1]:{DEFAULT_PORT}")]
    Address(String),
    /// No machine can have this address.
    #[error("no server has the address {0}; type that of its machine, for example 192.0.2.1")]
    NoMachine(String),
    /// The port is not a number from 1 to 65535.
    #[error("'{port}' is not a port (1 to 65535); type for example {host}:{DEFAULT_PORT}")]
    Port {
        /// What stands before it.
        host: String,
        /// What was typed for it.
        port: String,
    },
}

impl ServerName {
    /// The server that was meant if an IPv6 address with a port was typed without brackets: `fd00::1:5525` is
    /// itself an address. `None` if there is no such reading.
    pub fn with_end_as_port(&self) -> Option<ServerName> {
        let (host, port) = ending_in_a_port(&self.host).filter(|_| self.bare)?;
        Some(ServerName { host: host.to_owned(), port, bare: false })
    }

    /// Its address, if it is one, which needs no lookup.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The host's name or address, without brackets.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Whether both name the same host and port. Two names of one host differ.
    pub fn is_same_as(&self, other: &ServerName) -> bool {
        let address = |name: &ServerName| name.address().map(|address| address.to_canonical());
        let host = |name: &ServerName| name.host.trim_end_matches('.').to_ascii_lowercase();
        let same_host = match (address(self), address(other)) {
            (None, None) => host(self) == host(other),
            (one, another) => one == another,
        };
        same_host && self.port == other.port
    }

    /// The port: as typed, else the default.
    pub fn port(&self) -> u16 {
        self.port
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
    type Err = ServerNameError;

    fn from_str(text: &str) -> Result<ServerName, ServerNameError> {
        if text.contains('/') {
            let bare = text.split_once("://").map_or(text, |(_scheme, rest)| rest);
            let bare = bare.split('/').next().filter(|bare| !bare.is_empty()).unwrap_or("server.lan");
            return Err(ServerNameError::Url(bare.to_owned()));
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
            return Err(ServerNameError::Missing);
        }
        if is_of_no_machine(host) {
            return Err(ServerNameError::NoMachine(host.to_owned()));
        }
        let port = port.map_or(Ok(DEFAULT_PORT), |port| self::port(host, port))?;
        Ok(ServerName { host: host.to_owned(), port, bare: !text.starts_with('[') && host.contains(':') })
    }
}

/// Whether this is an address that no machine has: that of all machines, of a group, or of none.
fn is_of_no_machine(host: &str) -> bool {
    let (address, _link) = host.split_once('%').unwrap_or((host, ""));
    address.parse().is_ok_and(|address: IpAddr| match address.to_canonical() {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
    })
}

/// An IPv6 address and a port, if a text without brackets can be read so.
fn ending_in_a_port(text: &str) -> Option<(&str, u16)> {
    let (address, port) = text.rsplit_once(':')?;
    let (bare, _link) = address.split_once('%').unwrap_or((address, ""));
    bare.parse::<Ipv6Addr>().ok()?;
    Some((address, port.parse().ok().filter(|port| *port != 0)?))
}

/// Splits `[HOST]` or `[HOST]:PORT`, of which `rest` is what follows the first bracket.
fn bracketed<'a>(text: &str, rest: &'a str) -> Result<(&'a str, Option<&'a str>), ServerNameError> {
    let (host, after) = rest.split_once(']').ok_or_else(|| ServerNameError::OpenBracket(text.to_owned()))?;
    match after.strip_prefix(':') {
        Some(port) => Ok((unbracketed(host)?, Some(port))),
        None if after.is_empty() => Ok((unbracketed(host)?, None)),
        None => Err(ServerNameError::AfterBracket { host: host.to_owned(), after: after.to_owned() }),
    }
}

/// Checks an IPv6 address, which may name its link after a %.
fn unbracketed(host: &str) -> Result<&str, ServerNameError> {
    let (address, link) = host.split_once('%').unwrap_or((host, ""));
    match address.parse::<Ipv6Addr>() {
        Ok(_) if !link.contains(':') => Ok(host),
        _ => match ending_in_a_port(host) {
            Some((address, port)) => {
                Err(ServerNameError::MissingBrackets { address: address.to_owned(), port })
            }
            None => Err(ServerNameError::Address(host.to_owned())),
        },
    }
}

fn port(host: &str, port: &str) -> Result<u16, ServerNameError> {
    match port.parse() {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(ServerNameError::Port { host: host.to_owned(), port: port.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        text.parse::<ServerName>().map(|name| name.to_string()).map_err(|error| error.to_string())
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
    fn a_wrong_name_is_answered_with_an_example() {
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
    fn an_address_that_no_machine_has_is_refused() {
        for typed in ["0.0.0.0", "255.255.255.255:7", "224.0.0.1", "::", "[::]:7", "ff02::1%eth0"] {
            assert!(
                read(typed).is_err_and(|error| error.starts_with("no server has the address ")),
                "{typed}"
            );
        }
    }

    #[test]
    fn a_url_is_answered_with_the_name_in_it() {
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
            name.with_end_as_port().map(|meant| meant.to_string())
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
            let error = typed.parse::<ServerName>().unwrap_err().to_string();
            assert!(
                error.starts_with("before a port an IPv6 address needs brackets; type ["),
                "{typed}: {error}"
            );
        }
    }
}
