//! `meantime server`: measure the clients, vote, correct.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use super::Failure;
use super::advice::Advice;
use super::client::host_name;
use super::key_file::{ClientKeyFiles, check_count, read_key_file, unusable};
use super::logging::EVENT_TARGET;
use super::names::{self, NameError};
use super::node::{Equipment, KeptState, NodeArgs, Timestamps};
use super::output::Listening;
use super::plausible::PlausibleArgs;
use super::random::random_bytes;
use super::references::FollowArgs;
use super::replica::ReplicaArgs;
use super::servers::{find_servers, named};
use super::units::{self, ValueError};
use crate::clock::NodeClock;
use crate::report::place_of;
use crate::store::key_file::KeyFile;
use crate::udp::{Resolver, ServerList, ServerSocket, own_addresses};
use meantime_core::config::{FollowedReferences, PROBE_RATE, STEP_THRESHOLD, ServerPlace};
use meantime_core::time::Span;
use meantime_core::wire::{DEFAULT_PORT, Name, RelayLead};
use meantime_core::{
    ClientConfig, MasterKeys, NodeKeys, PlausibleTimes, Relay, Replica, Server, ServerConfig,
};

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
    /// Maximum number of probes per second in a round, 100 to 10000000. If a round does not fit into the
    /// interval, its bursts have fewer exchanges. The extra bursts of new clients, of which at most 1024
    /// are in progress, are not included
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
    /// Authenticate all datagrams with the keys in this file, which `meantime keygen` writes. The server
    /// notices when the file changes
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    #[command(flatten)]
    replica: ReplicaArgs,
    /// Be a relay: follow this server, as a client does, and serve its time. Its name or address, with its
    /// port unless that is 5525; of several servers all, with commas between them. The votes of this server's
    /// own clients decide nothing then
    #[arg(long, value_name = "SERVER[:PORT]")]
    upstream: Option<ServerList>,
    /// With --upstream: authenticate to the server above with the keys in this file. May be given once for
    /// each of several servers in the order of the list. --key-file is for this server's own clients
    #[arg(long, value_name = "FILE", requires = "upstream")]
    upstream_key_file: Vec<PathBuf>,
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
            place: None,
        }
    }
}

/// Runs a server until a signal ends it.
///
/// # Errors
/// When the server cannot listen at its address, use the clock of --clock, or write its log or output; when
/// the names of other servers cannot be resolved, or do not say which of them it is.
pub(super) fn run(args: &ServerArgs) -> Result<(), Failure> {
    args.node.check()?;
    args.check()?;
    let plausible = args.plausible.range()?;
    args.node.start_log()?;
    let own_file = args.own_key_file()?;
    let keys = args.master_keys(own_file.as_ref())?;
    let others = args.find_others(own_file.as_ref())?;
    let listener = ServerSocket::bind(args.listen).map_err(|error| cannot_listen(args.listen, &error))?;
    let address = listener.address().map_err(|error| cannot_listen(args.listen, &error))?;
    let others = others.map(|others| args.find_place(others, address, own_file.as_ref())).transpose()?;
    let local = Some(args.listen.ip()).filter(|local| !local.is_unspecified());
    // Its marks and its restorer end last.
    let Timestamps { stamping, cards, locks: _locks, restorer: _restorer } = args.node.timestamps(local)?;
    let listener = match stamping {
        Some(stamping) => listener.with_timestamps(stamping),
        None => listener,
    };
    let mut clock = args.node.clock(STEP_THRESHOLD)?;
    let control = args.node.drop_privileges::<Server>()?;
    let (state_file, kept) = args.node.open_state_file(&args.name, &mut clock, plausible);
    let config = args.config(kept, keys, plausible);
    log::info!(target: EVENT_TARGET, "listening on {address}, a round each {}", args.interval);
    let key_files = args.key_file.iter().cloned().collect();
    let equipment = Equipment { control, state_file, cards, key_files, ..Equipment::default() };
    let start = Start { listener, clock, listening: Listening { address, name: args.name }, equipment };
    match others {
        None => {
            let server = Server::new(config, random_bytes()?, start.clock.now());
            let Start { listener, clock, listening, equipment } = start;
            args.node.run(server, listener, clock, Some(&listening), equipment)
        }
        Some(others) => args.run_with(others, start, config),
    }
}

/// What a server needs to run, whatever it is.
struct Start {
    listener: ServerSocket,
    clock: Box<dyn NodeClock>,
    listening: Listening,
    equipment: Equipment,
}

/// The servers that this one is a client of: those above a relay, or the others of several.
struct OtherServers<'a> {
    list: &'a ServerList,
    resolver: Resolver,
    /// The place of this server in the list; `None`: it is a relay.
    place: Option<ServerPlace>,
    /// The files with the keys that it has there.
    files: ClientKeyFiles,
}

/// A key file as it was read, and where it is.
type ReadKeyFile = (PathBuf, KeyFile);

impl ServerArgs {
    /// Checks that the options can be combined.
    fn check(&self) -> Result<(), Failure> {
        let follows_references = self.references.followed() != FollowedReferences::None;
        match &self.upstream {
            Some(_) if self.replica.servers.is_some() => Err(Failure::Usage(
                "a server of several takes its time from the active one, and a relay from the server above: leave out \
                 --servers or --upstream"
                    .into(),
            )),
            Some(_) if follows_references => Err(Failure::Usage(
                "a relay follows the server above, which can follow references: leave out --follow-references"
                    .into(),
            )),
            Some(list) => check_count("--upstream-key-file", &self.upstream_key_file, list.count()),
            None => self.replica.check(),
        }
    }

    /// The file of --key-file.
    fn own_key_file(&self) -> Result<Option<ReadKeyFile>, Failure> {
        self.key_file.as_ref().map(|path| Ok((path.clone(), read_key_file(path)?))).transpose()
    }

    /// The keys by which the server knows its clients.
    fn master_keys(&self, file: Option<&ReadKeyFile>) -> Result<MasterKeys, Failure> {
        match (file, self.denied_names().first()) {
            (Some((path, file)), _) => file.master_keys().map_err(|error| unusable(path, &error)),
            (None, Some(name)) => Err(Failure::Usage(format!(
                "--deny name:{name} works with --key-file only: without keys a client can take any name; deny its address"
            ))),
            (None, None) => Ok(MasterKeys::default()),
        }
    }

    /// Looks the servers up that this one is a client of, if it is one, and reads the key files for them.
    fn find_others(&self, own_file: Option<&ReadKeyFile>) -> Result<Option<OtherServers<'_>>, Failure> {
        let (list, files) = match (&self.upstream, &self.replica.servers) {
            (Some(list), _) => (list, ClientKeyFiles::read(&self.upstream_key_file)?),
            (None, Some(list)) => match self.replica.peer_key_file.as_slice() {
                [] => (list, ClientKeyFiles::of_one(own_file)),
                paths => (list, ClientKeyFiles::read(paths)?),
            },
            (None, None) => return Ok(None),
        };
        Ok(Some(OtherServers { list, resolver: find_servers(list)?, place: None, files }))
    }

    /// Finds the place in the list of a server of several, which listens at `listen`.
    fn find_place<'a>(
        &self,
        others: OtherServers<'a>,
        listen: SocketAddr,
        own_file: Option<&ReadKeyFile>,
    ) -> Result<OtherServers<'a>, Failure> {
        let OtherServers { list, mut resolver, mut files, .. } = others;
        if self.replica.servers.is_none() {
            return Ok(OtherServers { list, resolver, place: None, files });
        }
        let place = self.replica.place(list, &resolver, listen)?;
        resolver.forget(place.rank);
        if let Some((path, file)) = own_file {
            files.fill(place.rank, path, file);
        }
        Ok(OtherServers { list, resolver, place: Some(place), files })
    }

    /// Runs a server that is a client of others.
    fn run_with(&self, others: OtherServers<'_>, start: Start, config: ServerConfig) -> Result<(), Failure> {
        let Start { listener, clock, listening, equipment } = start;
        let OtherServers { list, resolver, place, files } = others;
        let own_name = if self.name.as_str() == SERVER_NAME { host_name() } else { self.name };
        let name = files.owner().unwrap_or(own_name);
        let client = self.client_config(name, list.count(), files.keys(&name)?, &config);
        let (option, key_option, asked) = match place {
            Some(_) => ("--servers", "--peer-key-file", list.count() - 1),
            None => ("--upstream", "--upstream-key-file", list.count()),
        };
        let listener = listener.with_others(resolver).map_err(|name| {
            Failure::Usage(format!(
                "{option} {name} has no address of the family of --listen {}; [::]:5525 uses both",
                self.listen
            ))
        })?;
        let equipment = Equipment {
            advice: Some(Advice::about(list, asked, key_option, client.has_keys())),
            client_key_files: files.paths(),
            servers: Some(list.clone()),
            handover: self.interval.times(HANDOVER_INTERVALS).min(MAX_HANDOVER),
            ..equipment
        };
        let (seeds, now) = ([random_bytes()?, random_bytes()?], clock.now());
        match place {
            Some(place) => {
                log::info!(target: EVENT_TARGET, "server {} of {list}", place_of(place.rank));
                let replica = Replica::new(place, client, config, seeds, now);
                self.node.run(replica, listener, clock, Some(&listening), equipment)
            }
            None => {
                log::info!(target: EVENT_TARGET, "following {}, as a relay", named(list));
                let relay = Relay::new(client, config, seeds, now);
                self.node.run(relay, listener, clock, Some(&listening), equipment)
            }
        }
    }

    /// What the server does as a client of so many others.
    fn client_config(
        &self,
        name: Name,
        servers: u8,
        keys: Vec<NodeKeys>,
        server: &ServerConfig,
    ) -> ClientConfig {
        ClientConfig {
            name,
            keys,
            servers,
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
/// In rounds: after so long a server ends although its successor has not been heard.
const HANDOVER_INTERVALS: i64 = 3;
/// Service managers kill a process that has not ended after a minute and a half.
const MAX_HANDOVER: Span = Span::from_secs(30);

const EXAMPLES: &str = "\
Examples:
  meantime server
  meantime server --servers a.lan,b.lan,c.lan
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
