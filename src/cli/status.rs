//! `meantime status`: how a cluster stands, as its server sees it, or a client, as it sees itself.

pub(super) mod client;
pub(super) mod server;
pub(super) mod table;

use std::io::{self, IsTerminal, Write};

use serde_json::Value;

use super::Failure;
use crate::control::ask::Whom;
use meantime_core::time::Span;

/// Show how the cluster stands: every member's offset, bound and vote; or how this client does
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct StatusArgs {
    /// Print the answer as JSON, as docs/CONTROL.md describes it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    whom: Whom,
}

/// Asks a node on this machine, and prints what it says.
///
/// # Errors
/// When there is none, or it does not answer.
pub(super) fn run(args: &StatusArgs) -> Result<(), Failure> {
    let answer = args.whom.connect()?.ask("status", Value::Null)?;
    let page = match args.json {
        true => format!("{answer}\n"),
        false => page(&answer, Paint::for_stdout(), width()),
    };
    match io::stdout().lock().write_all(page.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Runtime(format!("cannot write: {error}")))
        }
        _ => Ok(()),
    }
}

/// What people read of an answer.
fn page(answer: &Value, paint: Paint, width: usize) -> String {
    match answer["role"].as_str() {
        Some("server") => server::page(answer, paint, width),
        _ => client::page(answer, paint),
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

/// A length of time that an answer states; `-` if nobody knows it.
fn span(value: &Value) -> String {
    value.as_i64().map_or("-".into(), |nanos| Span::from_nanos(nanos).to_string())
}

/// The same with its sign.
fn signed(value: &Value) -> String {
    value.as_i64().map_or("-".into(), |nanos| {
        let plus = if nanos >= 0 { "+" } else { "" };
        format!("{plus}{}", Span::from_nanos(nanos))
    })
}

/// That somebody is setting the cluster's time, if somebody is.
fn being_set(setting: &Value) -> String {
    if setting.is_null() {
        return String::new();
    }
    let (amount, how) = (signed(&setting["amount_ns"]), words(&setting["adjustment"]));
    let begins = match setting["starts_in_ns"].as_i64() {
        Some(0) | None => String::new(),
        Some(_) => format!("begins in {}, ", span(&setting["starts_in_ns"])),
    };
    format!("Being set by {amount} ({how}): {begins}is over in {}\n", span(&setting["ends_in_ns"]))
}

/// A frequency in ppm.
fn ppm(value: &Value) -> String {
    value.as_f64().map_or("-".into(), |ppb| format!("{:+.3}", ppb / 1e3))
}

/// The words of a name in snake case.
fn words(value: &Value) -> String {
    value.as_str().unwrap_or("-").replace('_', " ")
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
