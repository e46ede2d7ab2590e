//! `meantime load`: simulates many clients to measure what a server can carry.

mod report;
mod sources;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::Failure;
use super::key_file;
use super::key_file::read_key_file;
use super::logging::{LogArgs, StderrEvents};
use super::output::OutputFormat;
use super::units::{self, ValueError};
use crate::clock::{NodeClock, Overlay};
use crate::event_loop::{EventLoop, LoopHandler};
use crate::report::ClockSnapshot;
use crate::udp::{Resolver, ServerName};
use meantime_core::time::{Frequency, Now, Span};
use meantime_core::{MasterKeys, Node};
use meantime_load::{LoadEvent, LoadGenerator, LoadPlan};
use report::LoadReporter;
use sources::Sources;

/// Simulate many clients over UDP to measure what a server can carry
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct LoadArgs {
    /// The server's name or address, with its port unless that is 5525
    #[arg(value_name = "SERVER[:PORT]")]
    server: ServerName,
    /// Number of clients, 1 to 1000000
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    clients: u32,
    /// Duration of the whole run, 1s to 24h
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = duration)]
    duration: Span,
    /// Time from the registration of the last client to the first measurement
    #[arg(long, value_name = "SPAN", default_value = "15s", value_parser = units::unsigned_span)]
    settle: Span,
    /// Number of clients that register per second, 1 to 1000000
    #[arg(long, value_name = "N", default_value = "5000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    join_rate: u32,
    /// Pace of the load
    #[arg(long, value_name = "RATE", default_value = "round")]
    rate: Rate,
    /// With --rate max: maximum number of heartbeats without an answer, 1 to 65536
    #[arg(long, value_name = "N", default_value = "512", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pressure: u32,
    /// Authenticate all datagrams with the keys in this file, the server's own, which `meantime keygen`
    /// writes
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Seed of the clients' simulated clocks
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// Allow a server on another machine
    #[arg(long)]
    remote: bool,
    /// Output format of the results on stdout
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: OutputFormat,
    #[command(flatten)]
    log: LogArgs,
}

/// The pace of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Rate {
    /// The server's: clients answer its rounds
    Round,
    /// The maximum: clients also send heartbeats, as fast as the server answers
    Max,
}

impl LoadArgs {
    fn plan(&self, keys: MasterKeys) -> LoadPlan {
        LoadPlan {
            keys,
            clients: self.clients as usize,
            seed: self.seed,
            join_rate: self.join_rate,
            settle: self.settle,
            duration: self.duration,
            pressure: if self.rate == Rate::Max { self.pressure as usize } else { 0 },
        }
    }

    /// The server's address, if this load is allowed there.
    fn target(&self) -> Result<SocketAddr, Failure> {
        let server = Resolver::first_address(&self.server)
            .map_err(|error| Failure::Runtime(format!("cannot find {}: {error}", self.server)))?;
        let ip = server.ip();
        if ip.is_multicast() || ip.is_unspecified() || ip == IpAddr::V4(std::net::Ipv4Addr::BROADCAST) {
            return Err(Failure::Usage(format!("{ip} is not the address of a server")));
        }
        if !ip.is_loopback() && !self.remote {
            return Err(Failure::Usage(format!(
                "{ip} may not be on this machine; add --remote if that server's operator wants this load"
            )));
        }
        let ports = !ip.is_loopback() || ip.is_ipv6();
        if ports && self.clients > MAX_PORTS {
            return Err(Failure::Usage(format!(
                "each client needs a port of its own: at most {MAX_PORTS}, but for a server at 127.0.0.1"
            )));
        }
        Ok(server)
    }
}

/// Runs the clients until the duration is over or a signal ends them, and reports.
///
/// # Errors
/// When the server cannot be found, the load is not allowed there, or the system has too few sockets.
pub(super) fn run(args: &LoadArgs) -> Result<(), Failure> {
    args.log.start(StderrEvents::Log)?;
    if args.settle >= args.duration {
        return Err(Failure::Usage(
            "nothing would be measured: --duration counts from the start, and must be longer than --settle"
                .into(),
        ));
    }
    let server = args.target()?;
    let keys = args.key_file.as_deref().map_or(Ok(MasterKeys::default()), master_keys)?;
    let sources = Sources::open(server, args.clients as usize).map_err(|error| {
        Failure::Runtime(format!("cannot open sockets for {} clients: {error}; try fewer", args.clients))
    })?;
    let clock = Overlay::start(Span::ZERO, Frequency::ZERO);
    let generator = LoadGenerator::new(args.plan(keys), sources.addresses().clone(), clock.now());
    let mut observer = LoadObserver {
        reporter: LoadReporter::new(args.output, args.clients as usize),
        has_measured: false,
        is_over: false,
    };
    let event_loop = EventLoop::new(generator, sources, clock).and_then(EventLoop::with_signals);
    let mut event_loop = event_loop.map_err(|error| Failure::Runtime(format!("cannot start: {error}")))?;
    match event_loop.run(&mut observer) {
        Err(_) if observer.is_over && observer.has_measured => Ok(()),
        Err(_) if observer.is_over => Err(Failure::Runtime(format!(
            "nothing was measured: not all {} clients had registered and settled in time; is there a server with space for \
             them at {server}, and does it require keys?",
            args.clients
        ))),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| Failure::Runtime(format!("cannot go on: {error}"))),
    }
}

fn master_keys(path: &Path) -> Result<MasterKeys, Failure> {
    read_key_file(path)?.master_keys().map_err(|error| key_file::unusable(path, &error))
}

struct LoadObserver {
    reporter: LoadReporter,
    has_measured: bool,
    is_over: bool,
}

impl LoopHandler<LoadGenerator> for LoadObserver {
    fn event(
        &mut self,
        node: &LoadGenerator,
        _now: Now,
        _at: ClockSnapshot,
        event: LoadEvent,
    ) -> io::Result<()> {
        self.has_measured |= matches!(event, LoadEvent::Measuring);
        self.is_over |= matches!(event, LoadEvent::Finished(..));
        self.reporter.print(&event, node.counters());
        if self.is_over { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }

    fn tick(&mut self, _at: ClockSnapshot) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.reporter.flush()
    }
}

fn duration(text: &str) -> Result<Span, ValueError> {
    match units::positive_span(text)? {
        span if span < Span::from_secs(1) => Err(ValueError::TooShort("1s")),
        span if span > Span::from_secs(86_400) => Err(ValueError::TooLong("24h")),
        span => Ok(span),
    }
}

/// A socket for each, with its buffers: 150 MB.
const MAX_PORTS: u32 = 2_000;

const EXAMPLES: &str = "\
Examples:
  meantime load 127.0.0.1 --clients 100000 --duration 60s
  meantime load 127.0.0.1 --clients 1000 --rate max --output json

The clients vote: use a server that no real client depends on. On the server's
machine all share one vote with the server's own clock; from another machine
they share that of its address, or with --key-file have one vote each.
Each of them registers, answers probes by a simulated clock with a known error,
and follows the corrections. An exchange is a probe that was answered or a
heartbeat that was acknowledged. The errors are distances from a line through
all clocks of a round: an error that all clocks share is not in them.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_duration_has_a_minimum_and_a_maximum() {
        assert!(duration("1s").is_ok() && duration("24h").is_ok());
        assert!(duration("999ms").is_err() && duration("25h").is_err());
    }
}
