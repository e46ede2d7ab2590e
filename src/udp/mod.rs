//! RING 1. The only place that touches sockets, and the loop that drives a node.
//!
//! It decides how a datagram travels (from which of our addresses, over which family of socket) and in
//! which order a [`Node`](meantime_core::Node) is called, and never what a datagram means. Nothing that
//! the network does ends the loop: what fails is counted, and told at `debug` once in a while.
//!
//! * [`ServerSocket`] is the server's socket, [`ClientSocket`] the client's; both are a [`Transport`].
//! * [`Sources`] are the sockets of a crowd of clients, in one `Transport`.
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
mod failure_counter;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod kernel;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "no_kernel.rs"]
mod kernel;
mod link;
mod resolver;
mod sockets;
mod stamps;

#[cfg(test)]
pub(crate) use batch::BUFFER_LEN;
pub use batch::{BATCH, ReceiveBatch, ReceivedDatagram};
pub use failure_counter::FailureCounter;
pub use link::{ClientSocket, ServerSocket, Transport};
pub use resolver::{Resolver, ServerName};
pub use sockets::{DatagramSocket, require_kernel_timestamps};
pub use stamps::{KernelTimestamps, TimestampSource};

/// Says that a test cannot run on this machine, past the test harness, which would swallow it.
#[cfg(test)]
fn not_run(why: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "NOT RUN: {why}");
}
