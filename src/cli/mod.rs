//! RING 2. The interface for people: the command line, text and JSON output, logging.
//!
//! One module per subcommand: it turns the options into a configuration, checks them before anything starts,
//! and runs. An error becomes a [`Failure`]: one line on stderr and an exit code.

mod advice;
mod check;
mod client;
#[cfg(feature = "dashboard")]
mod dashboard;
mod failure;
mod guarantee;
mod key_file;
mod keygen;
mod load;
mod logging;
mod member_pattern;
mod members;
mod names;
mod node;
pub mod output;
mod plausible;
pub mod plot;
mod random;
mod record;
mod references;
mod replica;
mod restore_cards;
mod server;
mod servers;
mod set_time;
pub mod simulate;
mod standing;
mod status;
mod takeover;
mod target;
pub mod units;
mod watch;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

pub use failure::Failure;

/// Keeps the clocks of a group of machines in agreement with one another, with no outside time source.
#[derive(Debug, Parser)]
#[command(name = "meantime", version, after_help = EXAMPLES, max_term_width = 80)]
struct Cli {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    Server(server::ServerArgs),
    Client(client::ClientArgs),
    Status(status::StatusArgs),
    Watch(watch::WatchArgs),
    Check(check::CheckArgs),
    Members(members::MembersArgs),
    SetTime(set_time::SetTimeArgs),
    Takeover(takeover::TakeoverArgs),
    Plot(plot::PlotArgs),
    #[cfg(feature = "dashboard")]
    Dashboard(dashboard::DashboardArgs),
    Simulate(Box<simulate::SimulateArgs>),
    Keygen(keygen::KeygenArgs),
    Load(load::LoadArgs),
    /// Restore settings of network cards once stdin is closed
    #[command(hide = true)]
    RestoreCards,
}

/// The command line's definition, for the reference page and for completion scripts.
pub fn command() -> clap::Command {
    Cli::command()
}

/// The whole program: parses the command line, runs, and returns the exit code.
pub fn main() -> ExitCode {
    let done = |()| ExitCode::SUCCESS;
    let result = Cli::try_parse().map_err(Failure::from).and_then(|cli| match &cli.command {
        Subcommands::Server(args) => server::run(args).map(done),
        Subcommands::Client(args) => client::run(args).map(done),
        Subcommands::Status(args) => status::run(args).map(done),
        Subcommands::Watch(args) => watch::run(args).map(done),
        Subcommands::Check(args) => Ok(check::run(args)),
        Subcommands::Members(args) => members::run(args).map(done),
        Subcommands::SetTime(args) => set_time::run(args).map(done),
        Subcommands::Takeover(args) => takeover::run(args).map(done),
        Subcommands::Plot(args) => plot::run(args).map(done),
        #[cfg(feature = "dashboard")]
        Subcommands::Dashboard(args) => dashboard::run(args).map(done),
        Subcommands::Simulate(args) => simulate::run(args).map(done),
        Subcommands::Keygen(args) => keygen::run(args).map(done),
        Subcommands::Load(args) => load::run(args).map(done),
        Subcommands::RestoreCards => restore_cards::run().map(done),
    });
    result.unwrap_or_else(|failure| failure.report())
}

const EXAMPLES: &str = "\
Examples:
  meantime server                           serve this network on UDP port 5525
  meantime client server.lan                follow the server on server.lan
  meantime client 192.0.2.1 --output json   the same, to be read by a program
  meantime status                           the state of this server's cluster
  meantime watch                            the same, updated continuously
  meantime check --max 50ms                 exit with 0 if all are that close
  meantime members remove attic             take this clock's vote away
  meantime members ban 192.0.2.7            end this host's sessions
  meantime set-time +1.5s                   set the whole cluster's time
  meantime takeover b.lan                   let another server be active
  meantime plot record.csv -o record.svg    draw what --record has written
  meantime simulate --clients 8 --loss 20%  try it in simulation first
  meantime keygen cluster.key               make a key file for --key-file
  meantime load 127.0.0.1 --clients 10000   measure what a server can carry

A cluster on one machine, with simulated clock errors:
  meantime server --simulate-offset -3s
  meantime client localhost --simulate-offset 2.5s --simulate-drift 50ppm";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }
}
