//! `meantime dashboard`: a page with plots, and metrics for Prometheus, of a node on this machine.

#![expect(clippy::disallowed_types, reason = "the dashboard listens on TCP")]

use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use super::Failure;
use super::logging::{LogArgs, StderrEvents};
use super::target::ControlTarget;
use super::units::{self, ValueError};
use crate::control::client::{ControlClient, ControlError};
use crate::dashboard::{self, Hosts, Source, Update};

/// Serve a page with live plots, and metrics for Prometheus, of the cluster on this machine's server, or of
/// this client
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DashboardArgs {
    /// Where to listen, TCP; all programs that can connect there can read everything
    #[arg(long, value_name = "ADDR:PORT", default_value_t = loopback(), value_parser = listen_address)]
    listen: SocketAddr,
    /// A name of this machine by which browsers may ask, besides localhost and all addresses; may be given
    /// several times
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    #[command(flatten)]
    target: ControlTarget,
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
        log::warn!(
            "all programs that can reach {address} can read everything: there is no password and no encryption"
        );
    }
    // If stdout is closed, the page is served all the same.
    let _ = writeln!(io::stdout(), "Dashboard on http://{address}/");
    let poller = NodePoller { target: args.target.clone(), connection: None, newest_event: 0 };
    dashboard::serve(listener, Hosts::new(&args.host), poller)
        .map_err(|error| Failure::Runtime(format!("the dashboard on {address} has failed: {error}")))
}

/// Polls a node over one connection, and opens another when that is gone.
struct NodePoller {
    target: ControlTarget,
    connection: Option<ControlClient>,
    /// The number of the newest event that was received over this connection.
    newest_event: u64,
}

impl NodePoller {
    fn try_poll(&mut self) -> Result<Update, ControlError> {
        let node = match &mut self.connection {
            Some(connection) => connection,
            none => {
                self.newest_event = 0;
                none.insert(self.target.connect()?)
            }
        };
        // The events first: the departure of a client that leaves after them is in the next update.
        let log = node.events(self.newest_event)?;
        let response = node.status()?;
        self.newest_event = log.newest_event;
        Ok(Update { response, events: log.events })
    }
}

impl Source for NodePoller {
    fn poll(&mut self) -> Result<Update, ControlError> {
        let result = self.try_poll();
        if result.is_err() {
            self.connection = None;
        }
        result
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
