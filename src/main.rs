//! The `meantime` program.

use clap::Parser;
use meantime::cli::{Failure, simulate};

#[derive(Parser)]
enum Command {
    Simulate(simulate::SimulateArgs),
}

fn main() -> std::process::ExitCode {
    let result = Command::try_parse().map_err(Failure::from);
    match result.and_then(|Command::Simulate(args)| simulate::run(&args)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
