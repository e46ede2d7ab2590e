//! `meantime client`: register with a server and follow the cluster's time.

use std::path::PathBuf;

use super::Failure;
use super::advice::Advice;
use super::key_file::{ClientKeyFiles, check_count};
use super::logging::EVENT_TARGET;
use super::names;
use super::node::{Equipment, NodeArgs, Timestamps};
use super::plausible::PlausibleArgs;
use super::random::random_bytes;
use super::servers::{find_servers, named};
use super::units;
use crate::clock::NodeClock;
use crate::udp::{ClientSocket, ServerList};
use meantime_core::config::STEP_THRESHOLD;
use meantime_core::time::{Frequency, Span};
use meantime_core::wire::Name;
use meantime_core::{Client, ClientConfig};

/// Register with a server and follow the cluster's time
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ClientArgs {
    /// The server's name or address, with its port unless that is 5525: server.lan, 192.0.2.1:7000, fd00::1
    /// or [fd00::1]:7000. Of several servers all, in the order of their list: a.lan,b.lan,c.lan
    #[arg(value_name = "SERVER[:PORT]")]
    servers: ServerList,
    /// The client's name, at most 24 bytes [default: the name in its key file, or else the host's name]
    #[arg(long, value_name = "NAME", value_parser = names::client_name)]
    name: Option<Name>,
    /// The label of a unit that fails as a whole and that this machine belongs to, such as a rack or the host
    /// of virtual machines: all machines with one label share one vote. At most 24 bytes
    #[arg(long, value_name = "LABEL", value_parser = names::label)]
    group: Option<Name>,
    /// Once synchronized, step the clock for corrections above this, and slew it (run it faster or slower)
    /// for smaller ones [default: 128ms]
    #[arg(long, value_name = "SPAN", allow_hyphen_values = true, value_parser = units::positive_span)]
    step_threshold: Option<Span>,
    /// Refuse steps of more than this once a second correction has confirmed the first; 0 refuses all steps
    #[arg(long, value_name = "SPAN", default_value = "24h", allow_hyphen_values = true)]
    #[arg(value_parser = units::unsigned_span)]
    max_step: Span,
    /// Refuse steps of more than this before a second correction has confirmed the first [default: no limit]
    #[arg(long, value_name = "SPAN", allow_hyphen_values = true, value_parser = units::positive_span)]
    panic: Option<Span>,
    /// Maximum frequency of the clock against this machine's oscillator, in either direction; at most 500ppm
    #[arg(long, value_name = "FREQUENCY", default_value = "500ppm", allow_hyphen_values = true)]
    #[arg(value_parser = units::positive_frequency)]
    max_frequency: Frequency,
    /// Authenticate all datagrams with the keys in this file, which `meantime keygen` writes. May be given
    /// once for each of several servers in the order of the list. The client notices when a file changes
    #[arg(long, value_name = "FILE")]
    key_file: Vec<PathBuf>,
    #[command(flatten)]
    plausible: PlausibleArgs,
    /// Drift allowance: how much the oscillator's frequency may change unseen; the guaranteed bound assumes
    /// it
    #[arg(long, value_name = "FREQUENCY", default_value = "1ppm", allow_hyphen_values = true)]
    #[arg(value_parser = units::positive_frequency)]
    drift_allowance: Frequency,
    /// Discard exchanges with a longer round-trip delay, at most 2s. An on-path attacker can shift this clock
    /// by at most half of this
    #[arg(long, value_name = "SPAN", default_value = "2s", value_parser = units::max_delay)]
    max_delay: Span,
    /// Known asymmetry of the path: how much longer datagrams take from the server than to it (negative:
    /// shorter)
    #[arg(long, value_name = "SPAN", default_value = "0", allow_hyphen_values = true)]
    #[arg(value_parser = units::span)]
    asymmetry: Span,
    #[command(flatten)]
    node: NodeArgs,
}

/// Runs a client until a signal ends it.
///
/// # Errors
/// When the server's name cannot be resolved, the clock of --clock cannot be used, or the log or output
/// cannot be written.
pub(super) fn run(args: &ClientArgs) -> Result<(), Failure> {
    args.node.check()?;
    check_count("--key-file", &args.key_file, args.servers.count())?;
    let plausible = args.plausible.range()?;
    args.node.start_log()?;
    let resolver = find_servers(&args.servers)?;
    let step_threshold = args.step_threshold.unwrap_or(STEP_THRESHOLD);
    let mut clock = args.node.clock(step_threshold)?;
    // Before the right to read the files is given up.
    let files = ClientKeyFiles::read(&args.key_file)?;
    // Its marks and its restorer end last.
    let Timestamps { stamping, cards, locks: _locks, restorer: _restorer } =
        args.node.timestamps(resolver.local_address())?;
    let control = args.node.drop_privileges::<Client>()?;
    let name = args.name.or(files.owner()).unwrap_or_else(host_name);
    let (state_file, kept) = args.node.open_state_file(&name, &mut clock, plausible);
    let now = clock.now();
    let config = ClientConfig {
        name,
        label: args.group.unwrap_or_default(),
        step_threshold,
        max_step: args.max_step,
        panic: args.panic,
        max_frequency: args.max_frequency,
        plausible,
        drift_allowance: args.drift_allowance,
        servers: args.servers.count(),
        own_rank: None,
        keys: files.keys(&name)?,
        max_delay: args.max_delay,
        asymmetry: args.asymmetry,
        initial_frequency: kept.frequency,
        offers_reference: args.node.offers_reference(),
    };
    log::info!(target: EVENT_TARGET, "following {}", named(&args.servers));
    let advice = Advice::about(&args.servers, args.servers.count(), "--key-file", config.has_keys());
    let client = Client::new(config, random_bytes()?, now);
    let connection = match stamping {
        Some(stamping) => ClientSocket::new(resolver).with_timestamps(stamping),
        None => ClientSocket::new(resolver),
    };
    let equipment = Equipment {
        control,
        state_file,
        advice: Some(advice),
        cards,
        key_files: files.paths(),
        servers: Some(args.servers.clone()),
        ..Equipment::default()
    };
    args.node.run(client, connection, clock, None, equipment)
}

/// The machine's name, cut to what fits into a datagram; empty if it has none.
pub(super) fn host_name() -> Name {
    let name = nix::unistd::gethostname().unwrap_or_default();
    Name::new(&name.to_string_lossy())
}

const EXAMPLES: &str = "\
Examples:
  meantime client server.lan
  meantime client a.lan,b.lan,c.lan
  meantime client [2001:db8::1]:5525 --name turbine-7
  meantime client localhost --simulate-offset -2.5s --simulate-drift 50ppm
  meantime client server.lan --output json --tick 1s
  meantime client server.lan --key-file /etc/meantime/lab-7.key
  meantime client server.lan --clock system --state-dir /var/lib/meantime
  meantime client server.lan --reference system

A SPAN or PERIOD is a number and a unit (ns, us, ms, s, min, h, d), as in 250ms;
a FREQUENCY is in ppm or ppb. Events go to stdout, the log to stderr.";
