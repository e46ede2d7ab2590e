//! `meantime members`: take clients' votes away by hand, and give them back; ban clients.

use super::Failure;
use super::member_pattern::MemberPattern;
use super::target::ControlTarget;
use crate::control::protocol::{ClientsChangeResponse, PeerIdentity};
use meantime_core::peer::ClientSelector;

/// Take clients' votes away, give them back, or ban clients, at this machine's server
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct MembersArgs {
    #[command(subcommand)]
    command: MembersCommand,
}

#[derive(Debug, clap::Subcommand)]
enum MembersCommand {
    /// Take clients' votes away: they are measured and corrected as before, but neither the vote nor the
    /// cluster's rate counts them
    Remove(MemberArgs),
    /// Give clients their votes back; from then on they are judged as all others are
    Pin(MemberArgs),
    /// End clients' sessions, and admit these clients no more
    ///
    /// An address alone is banned alone. With keys, an address with its port stands for the name of the
    /// client there. Without keys any client can take any name, so a name stands for the machines of its
    /// clients, and an address with its port for its machine: the addresses that --ipv4-machine-prefix and
    /// --ipv6-machine-prefix of the server put together, or all of 127.0.0.0/8.
    Ban(MemberArgs),
    /// Lift a ban
    ///
    /// It takes what was typed for the ban, or what is banned; of a network it lifts all bans in it. The
    /// answer names what was lifted.
    Unban(MemberArgs),
}

#[derive(Debug, clap::Args)]
struct MemberArgs {
    /// A client's name, an address with or without the port, or a network, as in 192.0.2.0/24
    #[arg(value_name = "NAME|ADDRESS|NETWORK")]
    member: MemberPattern,
    #[command(flatten)]
    target: ControlTarget,
}

/// Sends the command to the server on this machine, and prints the result.
///
/// # Errors
/// When there is none, or it is not clear who is meant.
pub(super) fn run(args: &MembersArgs) -> Result<(), Failure> {
    let line = match &args.command {
        MembersCommand::Remove(MemberArgs { member, target }) => {
            removed(&target.connect()?.remove(member.text())?)
        }
        MembersCommand::Pin(MemberArgs { member, target }) => pinned(&target.connect()?.pin(member.text())?),
        MembersCommand::Ban(MemberArgs { member, target }) => {
            banned(member, &target.connect()?.ban(member.text())?)
        }
        MembersCommand::Unban(MemberArgs { member, target }) => {
            unbanned(&target.connect()?.unban(member.text())?)
        }
    };
    println!("{line}");
    Ok(())
}

fn removed(change: &ClientsChangeResponse) -> String {
    let whom = label(change);
    match (change.changed, change.count) {
        (false, 0 | 1) => format!("{whom} has no vote already: nothing has changed"),
        (false, _) => format!("{whom} have no vote already: nothing has changed"),
        (true, 0) => format!("no client of {whom} is registered now; one that registers later has no vote"),
        (true, 1) => format!("{whom} has no vote any more; it is still measured and corrected"),
        (true, _) => format!("{whom} have no vote any more; they are still measured and corrected"),
    }
}

fn pinned(change: &ClientsChangeResponse) -> String {
    let whom = label(change);
    match (change.changed, change.count) {
        (false, 0 | 1) => format!("{whom} was not removed: nothing has changed"),
        (false, _) => format!("{whom} were not removed: nothing has changed"),
        (true, 0) => format!("{whom} is not removed any more; no client of it is registered now"),
        (true, 1) => format!("{whom} has its vote back"),
        (true, _) => format!("{whom} have their votes back"),
    }
}

/// What was asked for, and what is banned for it: addresses for a name, or a name or a whole machine for an
/// address.
fn banned(asked: &MemberPattern, change: &ClientsChangeResponse) -> String {
    let (asked, member) = (asked.text(), change.member.as_str());
    let whom = match member.parse() {
        _ if asked == member => String::new(),
        Ok(ClientSelector::Name(_)) => format!(" by its name: {member}"),
        _ => format!(" by its address: {member}"),
    };
    match change.changed {
        true => format!("{asked} is banned{whom}; sessions ended: {}", ended(change)),
        false => format!("{asked} is banned already{whom}: nothing has changed"),
    }
}

/// What is not banned any more, and the bans that were lifted for it, if they were others.
fn unbanned(change: &ClientsChangeResponse) -> String {
    let lifted = match change.lifted.as_slice() {
        [] => String::new(),
        [lifted] if *lifted == change.member => String::new(),
        lifted => format!("; lifted: {}", lifted.join(", ")),
    };
    format!("{} is not banned any more{lifted}", change.member)
}

/// The clients whose sessions have ended.
fn ended(change: &ClientsChangeResponse) -> String {
    match change.count {
        0 => "none".into(),
        count => format!("{count} ({})", names(change)),
    }
}

/// Who has changed: the client with its address, if it is one.
fn label(change: &ClientsChangeResponse) -> String {
    match (change.clients.as_slice(), change.count) {
        ([client], 1) if client.name.is_empty() => client.address.to_string(),
        ([client], 1) => format!("{} ({})", client.name, client.address),
        (_, 0) => change.member.clone(),
        (_, count) => format!("{}: {count} clients ({})", change.member, names(change)),
    }
}

/// The names of the first clients, or the addresses of those without one.
fn names(change: &ClientsChangeResponse) -> String {
    let name = |client: &PeerIdentity| match client.name.as_str() {
        "" => client.address.to_string(),
        name => name.to_owned(),
    };
    let mut names: Vec<String> = change.clients.iter().map(name).collect();
    if change.count > names.len() {
        names.push("…".into());
    }
    names.join(", ")
}

const EXAMPLES: &str = "\
Examples:
  meantime members remove attic
  meantime members remove 192.0.2.7:40000
  meantime members remove 2001:db8::/64
  meantime members pin attic
  meantime members ban 192.0.2.7
  meantime members unban 192.0.2.7

It holds for the clients of now and of later, and until the server ends. To ban
clients for good, start the server with --deny.";
