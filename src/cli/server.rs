//! `meantime server`: measure the clients, vote, correct.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use super::Failure;
use super::advice::Advice;
use super::client::{find_server, host_name};
use super::key_file::{read_key_file, unusable};
use super::logging::EVENT_TARGET;
use super::names::{self, NameError};
use super::node::{Equipment, KeptState, NodeArgs, Timestamps};
use super::output::Listening;
use super::plausible::PlausibleArgs;
use super::random::random_bytes;
use super::references::FollowArgs;
use super::units::{self, ValueError};
use crate::clock::NodeClock;
use crate::store::key_file::KeyFile;
use crate::udp::{Resolver, ServerName, ServerSocket, own_addresses};
use meantime_core::config::{FollowedReferences, PROBE_RATE, STEP_THRESHOLD};
use meantime_core::time::Span;
use meantime_core::wire::{DEFAULT_PORT, Name, RelayLead};
use meantime_core::{ClientConfig, MasterKeys, NodeKeys, PlausibleTimes, Relay, Server, ServerConfig};

/// Coordinate a cluster: measure the clocks of all clients, vote, and send each client its correction
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ServerArgs {
    /// UDP address and port to listen on; [::] serves IPv6 and IPv4
    #[arg(long, value_name = "ADDR:PORT", default_value_t = any_address(), value_parser = listen_address)]
    listen: SocketAddr,
    /// The time from one round to the next, 50ms to 1h
    #[arg(long, value_name = "SPAN", default_value = "5s", allow_hyphen_values = true, value_parser = interval)]
    interval: Span,
    /// Number of exchanges with each client in a round, 1 to 32; the one with the minimum delay counts
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u8).range(1..=32))]
    burst: u8,
    /// Maximum number of clients
    #[arg(long, value_name = "N", default_value = "10000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_clients: u32,
    /// Maximum number of clients at one address (IPv6: in one /64); loopback addresses have no limit
    #[arg(long, value_name = "N", default_value = "256", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_clients_per_address: u32,
    /// Maximum number of clients in one network, /24 of IPv4 or /48 of IPv6 [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_clients_per_network: Option<u32>,
    /// How many votes the clients at one address have together at most; those with a key of their own have
    /// one each. More than 1 is for routers with address translation, and for simulated clocks
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    votes_per_address: u32,
    /// Count the IPv4 addresses of one network of this prefix length as one machine, with one vote
    #[arg(long, value_name = "BITS", default_value = "32", value_parser = clap::value_parser!(u8).range(1..=32))]
    ipv4_machine_prefix: u8,
    /// Count the IPv6 addresses of one network of this prefix length as one machine, with one vote
    #[arg(long, value_name = "BITS", default_value = "64", value_parser = clap::value_parser!(u8).range(1..=128))]
    ipv6_machine_prefix: u8,
    /// The label of a unit that fails as a whole and that this machine belongs to, such as a rack or the host
    /// of virtual machines: all machines with one label share one vote. At most 24 bytes
    #[arg(long, value_name = "LABEL", value_parser = names::label)]
    group: Option<Name>,
    /// Accept datagrams from this network only, as in 192.0.2.0/24 or 192.0.2.7. May be repeated
    #[arg(long, value_name = "NETWORK", value_parser = network)]
    allow: Vec<IpNet>,
    /// Drop datagrams from this network, even if --allow includes it; or, with keys, do not admit clients of
    /// a name, as in name:attic. May be repeated
    #[arg(long, value_name = "NETWORK|name:NAME", value_parser = denied)]
    deny: Vec<Denied>,
    /// Discard exchanges with a longer round-trip delay, at most 2s. An on-path attacker can shift a clock by
    /// at most half of this
    #[arg(long, value_name = "SPAN", default_value = "2s", value_parser = units::max_delay)]
    max_delay: Span,
    /// Maximum number of probes per second, 100 to 10000000. If a round does not fit into the interval, its
    /// bursts have fewer exchanges
    #[arg(long, value_name = "N", default_value_t = PROBE_RATE, value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    probe_rate: u32,
    /// Report the events of single clients (measurements and corrections) up to this number of clients
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    max_logged_clients: u32,
    /// In the first vote, leave out clocks that are farther than this from the median
    #[arg(long, value_name = "SPAN", default_value = "30s", allow_hyphen_values = true, value_parser = units::positive_span)]
    radius: Span,
    /// The server's name, at most 24 bytes. A relay that has another than the default has it at the server
    /// above, too
    #[arg(long, value_name = "NAME", default_value = SERVER_NAME, value_parser = names::server_name)]
    name: Name,
    /// Be a relay: follow this server, as a client does, and serve its time. Its name or address, with its
    /// port unless that is 5525. The votes of this server's own clients decide nothing then
    #[arg(long, value_name = "SERVER[:PORT]")]
    upstream: Option<ServerName>,
    /// With --upstream: authenticate to the server above with the keys in this file. --key-file is for this
    /// server's own clients
    #[arg(long, value_name = "FILE", requires = "upstream")]
    upstream_key_file: Option<PathBuf>,
    /// With --upstream: how much longer datagrams take from the server above than to it (negative: shorter)
    #[arg(long, value_name = "SPAN", default_value = "0", allow_hyphen_values = true)]
    #[arg(value_parser = units::span, requires = "upstream")]
    upstream_asymmetry: Span,
    /// How much earlier than otherwise a manual time adjustment is announced at most, for the sake of the
    /// relays below this server; at most 4096s. 5min are enough for four levels of relays with rounds of 5 s
    #[arg(long, value_name = "SPAN", default_value = "5min", value_parser = relay_lead)]
    max_relay_lead: Span,
    #[command(flatten)]
    plausible: PlausibleArgs,
    #[command(flatten)]
    references: FollowArgs,
    #[command(flatten)]
    node: NodeArgs,
}

impl ServerArgs {
    fn denied_networks(&self) -> Vec<IpNet> {
        let network =
            |denied: &Denied| if let Denied::Network(network) = denied { Some(*network) } else { None };
        self.deny.iter().filter_map(network).collect()
    }

    fn denied_names(&self) -> Vec<Name> {
        let name = |denied: &Denied| if let Denied::Name(name) = denied { Some(*name) } else { None };
        self.deny.iter().filter_map(name).collect()
    }

    fn config(&self, kept: KeptState, keys: MasterKeys, plausible: PlausibleTimes) -> ServerConfig {
        let default = ServerConfig::default();
        ServerConfig {
            name: self.name,
            interval: self.interval,
            burst: self.burst,
            max_clients: self.max_clients as usize,
            max_clients_per_address: self.max_clients_per_address as usize,
            max_clients_per_network: self
                .max_clients_per_network
                .map_or(default.max_clients_per_network, |most| most as usize),
            own_addresses: own_addresses(),
            votes_per_address: self.votes_per_address as usize,
            ipv4_machine_prefix: self.ipv4_machine_prefix,
            ipv6_machine_prefix: self.ipv6_machine_prefix,
            label: self.group.unwrap_or_default(),
            allow: self.allow.clone(),
            deny: self.denied_networks(),
            deny_names: self.denied_names(),
            keys,
            max_delay: self.max_delay,
            probe_rate: self.probe_rate,
            per_client_event_limit: self.max_logged_clients as usize,
            radius: self.radius,
            plausible,
            initial_frequency: kept.frequency,
            relay: false,
            max_relay_lead: self.max_relay_lead,
            kept: kept.time,
            follow_references: self.references.followed(),
            leading: self.references.leading(),
            offers_reference: self.node.offers_reference(),
        }
    }
}

/// Runs a server until a signal ends it.
///
/// # Errors
/// When the server cannot listen at its address, use the clock of --clock, or write its log or output; when
/// the name of the server above cannot be resolved.
pub(super) fn run(args: &ServerArgs) -> Result<(), Failure> {
    args.node.check()?;
    args.check_upstream()?;
    let plausible = args.plausible.range()?;
    args.node.start_log()?;
    let keys = args.master_keys()?;
    let upstream = args.upstream.as_ref().map(|name| args.find_upstream(name)).transpose()?;
    let listener = ServerSocket::bind(args.listen).map_err(|error| cannot_listen(args.listen, &error))?;
    let local = Some(args.listen.ip()).filter(|local| !local.is_unspecified());
    // Its marks and its restorer end last.
    let Timestamps { stamping, cards, locks: _locks, restorer: _restorer } = args.node.timestamps(local)?;
    let listener = match stamping {
        Some(stamping) => listener.with_timestamps(stamping),
        None => listener,
    };
    let address = listener.address().map_err(|error| cannot_listen(args.listen, &error))?;
    let mut clock = args.node.clock(STEP_THRESHOLD)?;
    let control = args.node.drop_privileges::<Server>()?;
    let (state_file, kept) = args.node.open_state_file(&args.name, &mut clock, plausible);
    let now = clock.now();
    let config = args.config(kept, keys, plausible);
    log::info!(target: EVENT_TARGET, "listening on {address}, a round each {}", args.interval);
    let listening = Listening { address, name: args.name };
    let equipment = Equipment { control, state_file, advice: None, cards, upstream_key_file: None };
    let Some(Upstream { name, resolver, keys, owner }) = upstream else {
        let server = Server::new(config, random_bytes()?, now);
        return args.node.run(server, listener, clock, Some(&listening), equipment);
    };
    let listener = listener.with_upstream(resolver).map_err(|_| {
        Failure::Usage(format!(
            "--upstream {name} has no address of the family of --listen {}; [::]:5525 uses both",
            args.listen
        ))
    })?;
    log::info!(target: EVENT_TARGET, "following the server {name}, as a relay");
    let advice = Some(Advice::about(name, "--upstream-key-file", !keys.is_empty()));
    let upstream_key_file = args.upstream_key_file.clone();
    let client = args.client_config(owner, keys, &config);
    let relay = Relay::new(client, config, [random_bytes()?, random_bytes()?], now);
    let equipment = Equipment { advice, upstream_key_file, ..equipment };
    args.node.run(relay, listener, clock, Some(&listening), equipment)
}

/// The server above a relay.
struct Upstream<'a> {
    name: &'a ServerName,
    resolver: Resolver,
    /// The keys that the relay has there.
    keys: NodeKeys,
    /// The name that the relay has there.
    owner: Name,
}

impl ServerArgs {
    /// Checks that the options can be combined with --upstream.
    fn check_upstream(&self) -> Result<(), Failure> {
        let follows_references = self.references.followed() != FollowedReferences::None;
        match self.upstream.is_some() && follows_references {
            true => Err(Failure::Usage(
                "a relay follows the server above, which can follow references: leave out --follow-references"
                    .into(),
            )),
            false => Ok(()),
        }
    }

    /// The keys by which the server knows its clients.
    fn master_keys(&self) -> Result<MasterKeys, Failure> {
        let keys = self.node.keys()?.map(|file| file.master_keys()).transpose();
        let keys = keys.map_err(|error| self.node.unusable_keys(&error))?.unwrap_or_default();
        match self.denied_names().first() {
            Some(name) if keys.is_empty() => Err(Failure::Usage(format!(
                "--deny name:{name} works with --key-file only: without keys a client can take any name; deny its address"
            ))),
            _ => Ok(keys),
        }
    }

    /// Looks the server above up, and reads the keys for it.
    fn find_upstream<'a>(&self, name: &'a ServerName) -> Result<Upstream<'a>, Failure> {
        let resolver = find_server(name)?;
        let own_name = if self.name.as_str() == SERVER_NAME { host_name() } else { self.name };
        let Some(path) = &self.upstream_key_file else {
            return Ok(Upstream { name, resolver, keys: NodeKeys::default(), owner: own_name });
        };
        let file = read_key_file(path)?;
        let owner = KeyFile::owner(&file).unwrap_or(own_name);
        let keys = file.node_keys(&owner).map_err(|error| unusable(path, &error))?;
        Ok(Upstream { name, resolver, keys, owner })
    }

    /// What a relay does as a client of the server above.
    fn client_config(&self, name: Name, keys: NodeKeys, server: &ServerConfig) -> ClientConfig {
        ClientConfig {
            name,
            keys,
            label: server.label,
            plausible: server.plausible,
            max_delay: server.max_delay,
            asymmetry: self.upstream_asymmetry,
            initial_frequency: server.initial_frequency,
            offers_reference: server.offers_reference,
            ..ClientConfig::default()
        }
    }
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another server runs there: stop it, or choose another port with --listen"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address; --listen [::]:5525 uses all that it has"
        }
        io::ErrorKind::PermissionDenied => "only root can use ports below 1024; choose another with --listen",
        _ => "choose another address with --listen",
    };
    Failure::Runtime(format!("cannot listen on {address}: {error}; {hint}"))
}

fn any_address() -> SocketAddr {
    SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), DEFAULT_PORT)
}

/// `ADDR:PORT`, or an address alone for the default port.
fn listen_address(text: &str) -> Result<SocketAddr, ValueError> {
    let examples = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into()];
    units::listen_address(text, DEFAULT_PORT, examples)
}

/// A network in CIDR notation, or one address.
fn network(text: &str) -> Result<IpNet, ValueError> {
    let alone = text.parse::<IpAddr>().map(IpNet::from);
    text.parse().or(alone).map_err(|_| ValueError::NoNetwork)
}

/// What `--deny` excludes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Denied {
    Network(IpNet),
    Name(Name),
}

/// A network, or `name:` and a client's name.
fn denied(text: &str) -> Result<Denied, DeniedError> {
    match text.strip_prefix("name:") {
        Some(name) if name.trim().is_empty() => Err(DeniedError::NoName),
        Some(name) => Ok(Denied::Name(names::node_name(name)?)),
        None => network(text).map(Denied::Network).map_err(|_| DeniedError::Neither),
    }
}

/// Why `--deny` cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum DeniedError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("a name is missing after name:, as in name:attic")]
    NoName,
    #[error("neither a network nor a name; type for example 192.0.2.0/24, 2001:db8::/32 or name:attic")]
    Neither,
}

fn interval(text: &str) -> Result<Span, ValueError> {
    match units::span(text)? {
        span if span < Span::from_millis(50) => Err(ValueError::TooShort("50ms")),
        span if span > Span::from_secs(3_600) => Err(ValueError::TooLong("1h")),
        span => Ok(span),
    }
}

/// As much as a relay can state that it needs.
fn relay_lead(text: &str) -> Result<Span, ValueError> {
    match units::unsigned_span(text)? {
        span if span > RelayLead::LONGEST.span() => Err(ValueError::TooLong("4096s")),
        span => Ok(span),
    }
}

/// The name of a server that has no other.
const SERVER_NAME: &str = "server";

const EXAMPLES: &str = "\
Examples:
  meantime server
  meantime server --upstream bridge.lan --name engine-room
  meantime server --listen 192.0.2.1:5525 --interval 1s
  meantime server --key-file /etc/meantime/cluster.key --allow 192.0.2.0/24
  meantime server --clock system --state-dir /var/lib/meantime
  meantime server --output json --tick 1s --log-file /var/log/meantime.log

A SPAN or PERIOD is a number and a unit (ns, us, ms, s, min, h, d), as in 250ms;
a FREQUENCY is in ppm or ppb. Events go to stdout, the log to stderr.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_may_be_left_out_of_the_address() {
        assert_eq!(listen_address("[::]:7"), Ok("[::]:7".parse().unwrap()));
        for alone in ["::", "[::]"] {
            assert_eq!(listen_address(alone), Ok(any_address()));
        }
        assert_eq!(listen_address("127.0.0.1"), Ok("127.0.0.1:5525".parse().unwrap()));
        for wrong in ["", "localhost:5525", "5525", "127.0.0.1:", "127.0.0.1:65536", "[::"] {
            assert!(listen_address(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn networks_and_single_addresses_are_parsed() {
        let inside = |text: &str, address: &str| {
            network(text).is_ok_and(|net| net.contains(&address.parse::<IpAddr>().unwrap()))
        };
        assert!(inside("192.0.2.0/24", "192.0.2.9") && inside("192.0.2.77/24", "192.0.2.9"));
        assert!(inside("192.0.2.7", "192.0.2.7") && !inside("192.0.2.7", "192.0.2.8"));
        assert!(inside("2001:db8::/32", "2001:db8::1") && inside("::/0", "::1"));
        for wrong in ["", "lan", "192.0.2.0/33", "192.0.2", "2001:db8::/129"] {
            assert!(network(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_interval_has_a_minimum_and_a_maximum() {
        assert!(interval("50ms").is_ok() && interval("1h").is_ok());
        assert!(interval("49ms").is_err() && interval("61min").is_err() && interval("-5s").is_err());
    }
}
