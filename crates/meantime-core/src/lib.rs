//! The sans-I/O core of **meantime**: every decision of server and client.
//!
//! Nothing in this crate reads a clock, opens a socket or a file, spawns a thread, sleeps or logs. Time and
//! randomness come in from outside, so the same code runs under the program's event loop and under the
//! simulator's virtual time. The compiler enforces that: the crate is `no_std` and its dependencies do no
//! I/O, so `std::net::UdpSocket`, `std::time::Instant` and `std::fs` do not resolve here.
//!
//! [`Node`] is the contract of a [`Server`] and a [`Client`], with an example that drives both.
//!
//! | module | what it contains |
//! |---|---|
//! | [`time`] | the types of time: spans, offsets and corrections, three timescales |
//! | [`wire`] | bytes to messages and back |
//! | [`estimation`] | offsets, frequencies, errors and bounds from timestamps |
//! | [`consensus`] | what the cluster's time is: the vote and its phases |
//! | [`server`] | the server: registration of clients, rounds of measurements, corrections |
//! | [`client`] | the client: registering, answering probes, following corrections |
//! | [`relay`] | a server that is also a client of another server |
//! | [`replica`] | a server of several, active or standby |
//! | [`node`] | the contract between a node and the program or simulator that drives it |
//! | [`config`], [`keys`], [`plausible`], [`manual_adjustment`] | what an operator decides: limits, keys, plausible times, manual time adjustments |
//! | [`reference`](mod@reference) | a time from outside of the cluster, as a node reads it |
//! | [`relayed_time`] | a time that is given from another level of a tree of servers, and how a relay tells it |
//! | [`roles`] | several servers: which of them is active, and which one a client follows |
//! | [`peer`] | clients, as an operator knows and names them |
//! | [`event`], [`view`], [`counters`] | what a node reports: events, snapshots of its state, counts of datagrams |
//! | [`coverage`] | which clocks the guarantee covers |
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
pub mod coverage;
pub mod estimation;
pub mod event;
pub mod keys;
pub mod manual_adjustment;
pub mod node;
mod pair;
pub mod peer;
pub mod plausible;
pub mod reference;
pub mod relay;
pub mod relayed_time;
pub mod replica;
mod report_limit;
pub mod roles;
pub mod saved_state;
pub mod server;
#[cfg(test)]
mod server_by_hand;
pub mod time;
pub mod timers;
pub mod transmit_latency;
pub mod view;
pub mod wire;

pub use client::Client;
pub use config::{ClientConfig, ServerConfig};
pub use counters::{Counters, Fate};
pub use coverage::Coverage;
pub use event::{ClientEvent, RelayEvent, ReplicaEvent, ServerEvent};
pub use keys::{Keyring, MasterKeys, NodeKeys};
pub use node::{Action, ClockReading, Node, Path, StampId, Transmit};
pub use plausible::PlausibleTimes;
pub use relay::Relay;
pub use relayed_time::ExternalTime;
pub use replica::Replica;
pub use server::Server;
