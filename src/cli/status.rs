//! `meantime status`: how a cluster stands, as its server sees it, or a client, as it sees itself.

pub(super) mod client;
pub(super) mod server;
pub(super) mod servers;
pub(super) mod table;
mod text;
pub(super) mod utc;

use std::io::{self, IsTerminal, Write};

use super::Failure;
use super::target::ControlTarget;
use crate::control::protocol::{NodeStatus, StatusResponse};

pub(super) use text::Paint;

/// Show how the cluster stands: every member's offset, bound and vote; or how this client does
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct StatusArgs {
    /// Print the answer as JSON, as docs/CONTROL.md describes it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: ControlTarget,
}

/// Asks a node on this machine, and prints what it says.
///
/// # Errors
/// When there is none, or it does not answer.
pub(super) fn run(args: &StatusArgs) -> Result<(), Failure> {
    let mut node = args.target.connect()?;
    let page = match args.json {
        true => node.status_json()?,
        false => page(&node.status()?, Paint::for_stdout(), width()),
    };
    match io::stdout().lock().write_all(page.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Runtime(format!("cannot write: {error}")))
        }
        _ => Ok(()),
    }
}

/// The page for people.
fn page(response: &StatusResponse, paint: Paint, width: usize) -> String {
    match &response.status.node {
        NodeStatus::Server(server) => server::page(server, &response.clients, paint, width),
        NodeStatus::Client(client) => client::page(&response.status, client, paint),
    }
}

/// How many columns the terminal has; what is not read on one may be as wide as it likes.
fn width() -> usize {
    match io::stdout().is_terminal() {
        true => terminal_size::terminal_size().map_or(80, |(width, _)| width.0.into()),
        false => usize::MAX,
    }
}

const EXAMPLES: &str = "\
What a server's columns say of each client:
  STATE   sync: it follows the cluster's time; unsync: it has none yet; holdover:
          it carries the time on without corrections
  OFFSET  its clock minus the cluster's time, as last measured, before it was
          corrected
  ERROR   one standard deviation of such a measurement
  BOUND   how far its clock is from the cluster's time at most
  DELAY   the round trip of that measurement
  PPM     how fast its clock runs over its oscillator
  ROUNDS  in how many of the last rounds it was heard, of up to 8
  VOTE    in: its clock counts; out: it is left out, a line below says why;
          none: it has no vote yet, until it has agreed for 24 rounds
  HEARD   since when nothing was heard of it
  GROUP   with whom it shares a vote: its machine, its key's name, or before a
          colon its label; and its part of a vote, if it shares one
  ADDRESS its address and port

Examples:
  meantime status
  meantime status --control /run/meantime/server.sock --json";
