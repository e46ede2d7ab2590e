//! RING 2. Humans: the command line, text and JSON output, logging.
//!
//! One file a subcommand: it turns what was typed into a configuration, checks what can be checked before
//! anything starts, and runs. What goes wrong becomes a [`Failure`]: one line on stderr and an exit code.

mod advice;
mod check;
mod client;
#[cfg(feature = "dashboard")]
mod dashboard;
mod failure;
mod key_file;
mod keygen;
mod load;
mod logging;
mod members;
mod names;
mod node;
pub mod output;
pub mod plot;
mod random;
mod record;
mod server;
mod set_time;
pub mod simulate;
mod standing;
mod status;
pub mod units;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use failure::Failure;

/// Keeps the clocks of a group of machines in agreement with one another, with no outside time source.
#[derive(Debug, Parser)]
#[command(name = "meantime", version, after_help = EXAMPLES, max_term_width = 80)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Server(server::ServerArgs),
    Client(client::ClientArgs),
    Status(status::StatusArgs),
    Watch(watch::WatchArgs),
    Check(check::CheckArgs),
    Members(members::MembersArgs),
    SetTime(set_time::SetTimeArgs),
    Plot(plot::PlotArgs),
    #[cfg(feature = "dashboard")]
    Dashboard(dashboard::DashboardArgs),
    Simulate(Box<simulate::SimulateArgs>),
    Keygen(keygen::KeygenArgs),
    Load(load::LoadArgs),
}

/// The whole program: reads the command line, runs, and says how it ended.
pub fn main() -> ExitCode {
    let done = |()| ExitCode::SUCCESS;
    let result = Cli::try_parse().map_err(Failure::from).and_then(|cli| match &cli.command {
        Command::Server(args) => server::run(args).map(done),
        Command::Client(args) => client::run(args).map(done),
        Command::Status(args) => status::run(args).map(done),
        Command::Watch(args) => watch::run(args).map(done),
        Command::Check(args) => Ok(check::run(args)),
        Command::Members(args) => members::run(args).map(done),
        Command::SetTime(args) => set_time::run(args).map(done),
        Command::Plot(args) => plot::run(args).map(done),
        #[cfg(feature = "dashboard")]
        Command::Dashboard(args) => dashboard::run(args).map(done),
        Command::Simulate(args) => simulate::run(args).map(done),
        Command::Keygen(args) => keygen::run(args).map(done),
        Command::Load(args) => load::run(args).map(done),
    });
    result.unwrap_or_else(|failure| failure.report())
}

const EXAMPLES: &str = "\
Examples:
  meantime server                           serve this network on UDP port 5525
  meantime client server.lan                follow the server on server.lan
  meantime client 192.0.2.1 --output json   the same, to be read by a program
  meantime status                           how the cluster on this machine's server stands
  meantime watch                            the same, live
  meantime check --max 50ms                 exit 0 if all clocks are guaranteed that close
  meantime members remove attic             this clock has no vote any more
  meantime set-time +1.5s                   set the whole cluster's time, slowly
  meantime plot record.csv -o record.svg    draw what --record has written
  meantime simulate --clients 8 --loss 20%  try it in a simulated world first
  meantime keygen cluster.key               make a key; then --key-file cluster.key
  meantime load 127.0.0.1 --clients 10000   how many clients can it carry?

A cluster on one machine, with clocks that are wrong on purpose:
  meantime server --simulate-offset -3s
  meantime client localhost --simulate-offset 2.5s --simulate-drift 50ppm";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
