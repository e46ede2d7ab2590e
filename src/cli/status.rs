//! `meantime status`: how a cluster stands, as its server sees it, or a client, as it sees itself.

pub(super) mod client;
pub(super) mod server;
pub(super) mod table;

use std::io::{self, IsTerminal, Write};

use super::Failure;
use super::target::ControlTarget;
use crate::control::protocol::{ManualAdjustmentStatus, NodeStatus, StatusResponse};
use meantime_core::time::Span;

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

/// Whether words are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    /// As terminals do it.
    Ansi,
    /// Not at all.
    Plain,
}

impl Paint {
    /// Colours on a terminal whose user has not asked for none (no-color.org).
    pub(super) fn for_stdout() -> Paint {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        if wanted && io::stdout().is_terminal() { Paint::Ansi } else { Paint::Plain }
    }

    /// How good the state is that a word tells of, as the number of a style of terminals: green, yellow, dim
    /// or red.
    pub(super) fn code(word: &str) -> &'static str {
        match word {
            "synchronized" | "in" | "agreed" => "32",
            "holdover" | "following" | "unsure" | "server_in_doubt" => "33",
            "unsynchronized" | "listening" => "2",
            _ => "31",
        }
    }

    /// A word about a state, in the colour of how good that is.
    pub(super) fn state(self, word: &str) -> String {
        match self {
            Paint::Ansi => format!("\x1b[{}m{word}\x1b[0m", Paint::code(word)),
            Paint::Plain => word.to_owned(),
        }
    }
}

/// A length of time; `-` if it is unknown.
fn span(nanos: Option<i64>) -> String {
    nanos.map_or("-".into(), |nanos| Span::from_nanos(nanos).to_string())
}

/// The same with its sign.
fn signed(nanos: Option<i64>) -> String {
    nanos.map_or("-".into(), |nanos| {
        let plus = if nanos >= 0 { "+" } else { "" };
        format!("{plus}{}", Span::from_nanos(nanos))
    })
}

/// A line about the manual time adjustment that is not over, if there is one.
fn pending_adjustment(adjustment: Option<&ManualAdjustmentStatus>) -> String {
    let Some(adjustment) = adjustment else { return String::new() };
    let (amount, method) = (signed(Some(adjustment.amount_ns)), words(adjustment.adjustment.as_str()));
    let begins = match adjustment.starts_in_ns {
        0 => String::new(),
        starts_in => format!("begins in {}, ", span(Some(starts_in))),
    };
    format!("Being set by {amount} ({method}): {begins}is over in {}\n", span(Some(adjustment.ends_in_ns)))
}

/// A frequency in ppm.
fn ppm(ppb: Option<f64>) -> String {
    ppb.map_or("-".into(), |ppb| format!("{:+.3}", ppb / 1e3))
}

/// The words of a name in snake case.
fn words(name: &str) -> String {
    name.replace('_', " ")
}

const EXAMPLES: &str = "\
What a server's columns say of each client:
  OFFSET  its clock minus the cluster's time, as last measured, before it was
          corrected
  ERROR   one standard deviation of such a measurement
  BOUND   how far its clock is from the cluster's time at most
  DELAY   the round trip of that measurement
  PPM     how fast its clock runs over its oscillator
  ROUNDS  in how many of the last rounds it was heard, of up to 8
  HEARD   since when nothing was heard of it

Examples:
  meantime status
  meantime status --control /run/meantime/server.sock --json";
