//! `meantime members`: take a client's vote away by hand, and give it back.

use serde_json::{Value, json};

use super::Failure;
use crate::control::ask::Whom;

/// Take a client's vote away, or give it back, at this machine's server
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct MembersArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Take a client's vote away: it is measured and corrected as before, but neither the vote nor the
    /// cluster's rate counts it
    Remove(Member),
    /// Give a client its vote back; from then on it is judged as all others are
    Pin(Member),
}

#[derive(Debug, clap::Args)]
struct Member {
    /// The client's name, or its address with or without the port, as `meantime status` shows them
    #[arg(value_name = "NAME|ADDRESS")]
    member: String,
    #[command(flatten)]
    whom: Whom,
}

/// Tells the server on this machine, and prints what has become of it.
///
/// # Errors
/// When there is none, or it is not clear who is meant.
pub(super) fn run(args: &MembersArgs) -> Result<(), Failure> {
    let (request, Member { member, whom }) = match &args.command {
        Command::Remove(member) => ("remove", member),
        Command::Pin(member) => ("pin", member),
    };
    let answer = whom.connect()?.ask(request, json!({ "member": member }))?;
    println!("{}", sentence(request, &answer));
    Ok(())
}

fn sentence(request: &str, answer: &Value) -> String {
    let address = answer["address"].as_str().unwrap_or("-");
    let who = match answer["name"].as_str() {
        None | Some("") => address.to_owned(),
        Some(name) => format!("{name} ({address})"),
    };
    match (request, answer["changed"].as_bool() == Some(true)) {
        ("remove", true) => format!("{who} has no vote any more; it is still measured and corrected"),
        ("remove", false) => format!("{who} has no vote already: nothing has changed"),
        (_, true) => format!("{who} has its vote back"),
        (_, false) => format!("{who} was not removed: nothing has changed"),
    }
}

const EXAMPLES: &str = "\
Examples:
  meantime members remove attic
  meantime members remove 192.0.2.7:40000
  meantime members pin attic

It holds when the client registers again, with the same name or from the same
address, and until the server ends.";
