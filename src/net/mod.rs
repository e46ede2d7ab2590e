//! RING 1. The only place that touches sockets, and the loop that drives a node.
//!
//! It decides how a datagram travels (from which of our addresses, over which family of socket) and in
//! which order a [`Node`](crate::berkeley::Node) is called, and never what a datagram means. Nothing that
//! the network does ends the loop: what fails is counted, and told at `debug` once in a while.
//!
//! * [`Listener`] is the server's socket, [`Connection`] the client's; both are a [`Link`].
//! * [`Resolver`] finds the server's address by its name.
//! * [`EventLoop`] is the loop.

mod event_loop;
mod link;
mod resolver;
mod sockets;
mod troubles;

pub use event_loop::{EventLoop, Observation, Observer};
pub use link::{Connection, Link, Listener};
pub use resolver::{Resolver, ServerName};
