//! `meantime members`: take a client's vote away by hand, and give it back.

use super::Failure;
use super::target::ControlTarget;
use crate::control::protocol::VoteChangeResponse;

/// Take a client's vote away, or give it back, at this machine's server
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct MembersArgs {
    #[command(subcommand)]
    command: MembersCommand,
}

#[derive(Debug, clap::Subcommand)]
enum MembersCommand {
    /// Take a client's vote away: it is measured and corrected as before, but neither the vote nor the
    /// cluster's rate counts it
    Remove(MemberArgs),
    /// Give a client its vote back; from then on it is judged as all others are
    Pin(MemberArgs),
}

#[derive(Debug, clap::Args)]
struct MemberArgs {
    /// The client's name, or its address with or without the port, as `meantime status` shows them
    #[arg(value_name = "NAME|ADDRESS")]
    member: String,
    #[command(flatten)]
    target: ControlTarget,
}

/// Sends the command to the server on this machine, and prints the result.
///
/// # Errors
/// When there is none, or it is not clear who is meant.
pub(super) fn run(args: &MembersArgs) -> Result<(), Failure> {
    let line = match &args.command {
        MembersCommand::Remove(MemberArgs { member, target }) => removed(&target.connect()?.remove(member)?),
        MembersCommand::Pin(MemberArgs { member, target }) => pinned(&target.connect()?.pin(member)?),
    };
    println!("{line}");
    Ok(())
}

fn removed(change: &VoteChangeResponse) -> String {
    let client = label(change);
    match change.changed {
        true => format!("{client} has no vote any more; it is still measured and corrected"),
        false => format!("{client} has no vote already: nothing has changed"),
    }
}

fn pinned(change: &VoteChangeResponse) -> String {
    let client = label(change);
    match change.changed {
        true => format!("{client} has its vote back"),
        false => format!("{client} was not removed: nothing has changed"),
    }
}

/// A client's name and address, as far as it has them.
fn label(VoteChangeResponse { name, address, .. }: &VoteChangeResponse) -> String {
    if name.is_empty() { address.to_string() } else { format!("{name} ({address})") }
}

const EXAMPLES: &str = "\
Examples:
  meantime members remove attic
  meantime members remove 192.0.2.7:40000
  meantime members pin attic

It holds when the client registers again, with the same name or from the same
address, and until the server ends.";
