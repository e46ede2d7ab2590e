//! RING 2. Humans: the command line, text and JSON output, logging.
//!
//! One file a subcommand: it turns what was typed into a configuration, checks what can be checked before
//! anything starts, and runs. What goes wrong becomes a [`Failure`]: one line on stderr and an exit code.

mod client;
mod failure;
mod logging;
mod memory;
mod node;
pub mod output;
mod server;
pub mod simulate;
pub mod units;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use failure::Failure;

/// Keeps the clocks of a group of machines in agreement with one another, with no outside time source.
#[derive(Debug, Parser)]
#[command(name = "meantime", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Server(server::ServerArgs),
    Client(client::ClientArgs),
    Simulate(Box<simulate::SimulateArgs>),
}

/// The whole program: reads the command line, runs, and says how it ended.
pub fn main() -> ExitCode {
    let result = Cli::try_parse().map_err(Failure::from).and_then(|cli| match &cli.command {
        Command::Server(args) => server::run(args),
        Command::Client(args) => client::run(args),
        Command::Simulate(args) => simulate::run(args),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

const EXAMPLES: &str = "\
Examples:
  meantime server                              serve this network on port 5525/udp
  meantime client server.lan                   follow the server on the machine server.lan
  meantime client 192.0.2.1 --output json      one JSON object a line, for programs
  meantime simulate --clients 8 --loss 20%     the same in a simulated world, in a blink

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
