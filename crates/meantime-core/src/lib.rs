//! The sans-I/O core of **meantime**: every decision of server and client.
//!
//! Nothing in this crate reads a clock, opens a socket or a file, spawns a thread, sleeps or logs. Time and
//! randomness come in from outside, so the same code runs under the program's event loop and under the
//! simulator's virtual time. [`Node`] is the contract. The compiler holds the rule: the crate is `no_std` and
//! its dependencies do no I/O, so `std::net::UdpSocket`, `std::time::Instant` and `std::fs` do not resolve
//! here.
//!
//! | module | what it decides |
//! |---|---|
//! | [`time`] | the types of time: spans, offsets and corrections, three timescales |
//! | [`wire`] | bytes to messages and back |
//! | [`estimation`] | offsets, frequencies, errors and bounds from timestamps |
//! | [`consensus`] | what the cluster's time is: the vote and its phases |
//! | [`server`], [`client`] | what a node remembers of its peers, and when it sends |
//! | [`node`] | the contract of a node |
//! | [`config`], [`keys`], [`manual_adjustment`] | what operators decide: limits, keys, manual time adjustments |
//! | [`event`], [`view`], [`counters`] | what a node reports |
//! | [`saved_state`] | what a node knows of the time and its frequency after a restart |
//! | [`timers`], [`transmit_latency`] | shared helpers |

#![no_std]

extern crate alloc;
// The standard library is linked for its floating-point functions, but has no name in this crate.
#[cfg(test)]
extern crate std;
#[cfg(not(test))]
extern crate std as _;

pub mod client;
pub mod config;
pub mod consensus;
pub mod counters;
pub mod estimation;
pub mod event;
pub mod keys;
pub mod manual_adjustment;
pub mod node;
pub mod saved_state;
pub mod server;
pub mod time;
pub mod timers;
pub mod transmit_latency;
pub mod view;
pub mod wire;

pub use client::Client;
pub use config::{ClientConfig, ServerConfig};
pub use counters::{Counters, Fate};
pub use event::{ClientEvent, ServerEvent};
pub use keys::{Keyring, MasterKeys, NodeKeys};
pub use node::{Action, ClockReading, Node, Path, StampId, Transmit};
pub use server::Server;
