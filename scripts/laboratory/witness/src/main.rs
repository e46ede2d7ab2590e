//! Looks at the clocks of the laboratory's virtual machines, past everything that keeps or disturbs them.
//!
//! The machines share one oscillator: the time stamp counter (TSC) that a machine sees is the host's plus a
//! constant, for as long as the machine is not paused. A page of memory that host and machine share
//! ([`page`]) is played ping-pong with, which bounds that constant, and takes samples of the machine's
//! clocks, each with the counter beside it. So the host knows what every machine's clock showed at one and
//! the same moment, and no network is in between.

mod host;
mod liar;
mod machine;
mod page;
mod tsc;

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["machine"] => machine::observe(),
        ["set", counter, nanoseconds, khz] => machine::set_clock(counter, nanoseconds, khz),
        ["shift", nanoseconds] => machine::shift_clock(nanoseconds),
        ["relate", path] => host::relate(path),
        ["counter"] => host::counter(),
        ["lie", nanoseconds, server] => liar::relay(nanoseconds, server),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("witness: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What has gone wrong, as text for a person.
type Failure = Box<dyn std::error::Error>;

const USAGE: &str = "\
in a virtual machine:
  witness machine                     sample the clocks into the shared page, for ever
  witness set COUNTER NANOSECONDS KHZ set the clock to what it shall have shown when the counter stood there
  witness shift NANOSECONDS           set the clock forward (negative: back)
  witness lie NANOSECONDS SERVER      pass on what a client at 127.0.0.1:5525 says, its clock falsified
on the host:
  witness relate PAGE                 print how far the machine's counter is behind the host's: two limits
  witness counter                     print the host's counter, and how many kHz it has";
