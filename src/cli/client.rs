//! `meantime client`: register with a server and follow the cluster's time.

use super::Failure;
use super::node::{self, NodeArgs};
use super::units;
use crate::berkeley::config::STEP_THRESHOLD;
use crate::berkeley::{Client, ClientConfig};
use crate::clock::Clock;
use crate::net::{Connection, Resolver, ServerName};
use crate::time::Span;
use crate::wire::Name;

/// Register with a server and follow the cluster's time
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ClientArgs {
    /// The server's name or address, with its port unless that is 5525
    #[arg(value_name = "SERVER[:PORT]")]
    server: ServerName,
    /// What to call this machine, at most 24 bytes [default: its host name]
    #[arg(long, value_name = "NAME", value_parser = node::name)]
    name: Option<Name>,
    /// Which clock to keep: overlay (needs no privilege, sets nothing)
    #[arg(long, value_name = "CLOCK", default_value = "overlay", value_parser = clock_kind)]
    clock: ClockKind,
    /// Once synchronized, differences beyond this are stepped, smaller ones slewed [default: 128ms]
    #[arg(long, value_name = "SPAN", allow_hyphen_values = true, value_parser = units::positive_span)]
    step_threshold: Option<Span>,
    #[command(flatten)]
    node: NodeArgs,
}

/// The clocks that a client can keep.
#[derive(Clone, Copy, Debug)]
enum ClockKind {
    Overlay,
}

/// Runs a client until a signal ends it.
///
/// # Errors
/// When the server's name cannot be resolved, or the log or output cannot be written.
pub fn run(args: &ClientArgs) -> Result<(), Failure> {
    args.node.log.start()?;
    let resolver = resolver(&args.server)?;
    let ClockKind::Overlay = args.clock;
    let clock = args.node.clock();
    let config = ClientConfig {
        name: args.name.unwrap_or_else(host_name),
        step_threshold: args.step_threshold.unwrap_or(STEP_THRESHOLD),
        ..ClientConfig::default()
    };
    log::info!("following the server {}", args.server);
    let client = Client::new(config, node::seed()?, clock.now());
    let connection = match args.node.wants_kernel_timestamps()? {
        true => Connection::new(resolver).with_kernel_timestamps(),
        false => Connection::new(resolver),
    };
    args.node.run(client, connection, clock, None)
}

/// Looks the server up: a name that is wrong should be known at once, not when nobody looks any more.
fn resolver(server: &ServerName) -> Result<Resolver, Failure> {
    let found = Resolver::new(server.clone()).with_signals().and_then(|mut resolver| {
        resolver.look_up()?;
        Ok(resolver)
    });
    found.map_err(|error| {
        Failure::Runtime(format!("cannot find the server {server}: {error}; is its name right?"))
    })
}

fn clock_kind(text: &str) -> Result<ClockKind, String> {
    match text {
        "overlay" => Ok(ClockKind::Overlay),
        "system" => {
            Err("setting the system's clock comes with the next version; for now type overlay".into())
        }
        _ => Err("there is no such clock; type overlay".into()),
    }
}

/// The machine's name, cut to what fits into a datagram; empty if it has none.
fn host_name() -> Name {
    let name = nix::unistd::gethostname().unwrap_or_default();
    Name::new(&name.to_string_lossy())
}

const EXAMPLES: &str = "\
Examples:
  meantime client server.lan
  meantime client [2001:db8::1]:5525 --name turbine-7
  meantime client localhost --simulate-offset -2.5s --simulate-drift 50ppm
  meantime client server.lan --output json --tick 1s";
