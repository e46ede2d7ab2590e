//! `meantime takeover`: let a standby server take over.

use super::Failure;
use super::target::ControlTarget;
use crate::control::protocol::TakeoverResponse;

/// Let a standby server take over, at the active server on this machine
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TakeoverArgs {
    /// The server that is to take over, by its place in the list, or its name or address there [default: the
    /// first of the list that stands by]
    #[arg(value_name = "N|SERVER[:PORT]")]
    server: Option<String>,
    #[command(flatten)]
    target: ControlTarget,
}

/// Sends the command to the server on this machine, and prints who takes over.
///
/// # Errors
/// When there is none, it is not active, or nobody can take over.
pub(super) fn run(args: &TakeoverArgs) -> Result<(), Failure> {
    let TakeoverResponse { successor, name, .. } =
        args.target.connect()?.take_over(args.server.as_deref())?;
    println!("Server {successor} ({name}) takes over; `meantime status` shows when it has");
    Ok(())
}

const EXAMPLES: &str = "\
Examples:
  meantime takeover
  meantime takeover b.lan
  meantime takeover 2 --control /run/meantime/server.sock

No round is missed. The server that was active stands by from then on, and stays
so. It hands over by itself, too, when it is stopped (SIGTERM).";
