//! `meantime dashboard`: a page with plots, and metrics for Prometheus, of a node on this machine.

use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use serde_json::{Value, json};

use super::Failure;
use super::logging::{LogArgs, StderrEvents};
use super::units::{self, ValueError};
use crate::control::ask::{Line, Whom};
use crate::dashboard::{self, Answers, Hosts, Source};

/// Serve a page with live plots, and metrics for Prometheus, of the cluster on this machine's server, or of
/// this client
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DashboardArgs {
    /// Where to listen, TCP; whoever can connect there can read everything
    #[arg(long, value_name = "ADDR:PORT", default_value_t = loopback(), value_parser = listen_address)]
    listen: SocketAddr,
    /// A name of this machine by which browsers may ask, besides localhost and all addresses; may be given
    /// several times
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    #[command(flatten)]
    whom: Whom,
    #[command(flatten)]
    log: LogArgs,
}

/// Serves until a signal ends it.
///
/// # Errors
/// When it cannot listen where it should, or cannot write its log.
pub(super) fn run(args: &DashboardArgs) -> Result<(), Failure> {
    args.log.start(StderrEvents::Log)?;
    let listener = TcpListener::bind(args.listen).map_err(|error| cannot_listen(args.listen, &error))?;
    let address = listener.local_addr().map_err(|error| cannot_listen(args.listen, &error))?;
    if !address.ip().is_loopback() {
        log::warn!("whoever can reach {address} can read everything: there is no password and no encryption");
    }
    // With nobody to read it there is still the page.
    let _ = writeln!(io::stdout(), "Dashboard on http://{address}/");
    let asker = Asker { whom: args.whom.clone(), line: None, newest: 0 };
    dashboard::serve(listener, Hosts::new(&args.host), asker)
        .map_err(|error| Failure::Runtime(format!("the dashboard on {address} has failed: {error}")))
}

/// Asks a node over one connection, and makes another when that is gone.
struct Asker {
    whom: Whom,
    line: Option<Line>,
    /// The number of the newest event that was told over this connection.
    newest: u64,
}

impl Asker {
    fn try_to_ask(&mut self) -> Result<Answers, Failure> {
        let line = match &mut self.line {
            Some(line) => line,
            none => {
                self.newest = 0;
                none.insert(self.whom.connect()?)
            }
        };
        // The events first: whoever leaves after them is still told of, the next time.
        let mut told = line.ask("events", json!({ "since": self.newest }))?;
        let status = line.ask("status", Value::Null)?;
        self.newest = told["newest_event"].as_u64().unwrap_or(self.newest);
        let events = match told["events"].take() {
            Value::Array(events) => events,
            _ => Vec::new(),
        };
        Ok(Answers { status, events })
    }
}

impl Source for Asker {
    fn ask(&mut self) -> Result<Answers, String> {
        self.try_to_ask().map_err(|failure| {
            self.line = None;
            failure.to_string()
        })
    }
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> Failure {
    Failure::Runtime(format!(
        "cannot listen on {address}: {error}; choose another address or port with --listen"
    ))
}

fn loopback() -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT)
}

/// `ADDR:PORT`, or an address alone for the default port.
fn listen_address(text: &str) -> Result<SocketAddr, ValueError> {
    units::listen_address(text, PORT, [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
}

/// The one after the protocol's.
const PORT: u16 = meantime_core::wire::DEFAULT_PORT + 1;

const EXAMPLES: &str = "\
Examples:
  meantime dashboard                        then open http://127.0.0.1:5526/
  meantime dashboard --control /run/meantime/server.sock
  meantime dashboard --listen [::]:5526 --host server.lan

/metrics is for Prometheus, /healthz for health checks, /api/ for programs of
your own: docs/DASHBOARD.md.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_may_be_left_out_of_the_address() {
        assert_eq!(listen_address("127.0.0.1"), Ok(loopback()));
        assert_eq!(listen_address("[::1]:7"), Ok("[::1]:7".parse().unwrap()));
        assert!(listen_address("localhost").is_err() && listen_address("5526").is_err());
    }
}
