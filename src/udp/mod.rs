//! RING 1. The only place that touches sockets, and the loop that drives a node.
//!
//! It decides how a datagram travels (from which of our addresses, over which family of socket) and in
//! which order a [`Node`](meantime_core::Node) is called, and never what a datagram means. Nothing that
//! the network does ends the loop: what fails is counted, and told at `debug` once in a while.
//!
//! * [`Listener`] is the server's socket, [`Connection`] the client's; both are a [`Link`].
//! * [`Sources`] are the sockets of a crowd of clients, in one `Link`.
//! * [`Resolver`] finds the server's address by its name.
//! * [`Control`] is the socket by which people and programs ask and tell.
//! * [`EventLoop`] is the loop.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod ancillary;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod batch;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "no_batch.rs"]
mod batch;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod kernel;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "no_kernel.rs"]
mod kernel;
mod link;
mod resolver;
mod sockets;
mod stamps;
mod troubles;

#[cfg(test)]
pub(crate) use batch::BUFFER_LEN;
pub use batch::{Arrivals, BATCH, Received};
pub use link::{Connection, Link, Listener};
pub use resolver::{Resolver, ServerName};
pub use sockets::{Udp, require_kernel_timestamps};
pub use stamps::{Stamps, Timestamps};
pub use troubles::Troubles;

/// Says that a test cannot run on this machine, past the test harness, which would swallow it.
#[cfg(test)]
fn not_run(why: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "NOT RUN: {why}");
}
