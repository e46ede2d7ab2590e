//! **meantime**: clock agreement for machines on an island.
//!
//! A server measures the clocks of all registered machines over UDP every five seconds, takes a
//! fault-tolerant mean in which its own clock is one vote among equals, and sends every machine the
//! correction of its own clock: the Berkeley algorithm, made fit for today.
//!
//! # The house
//!
//! Three rings; arrows point inward only.
//!
//! | room | ring | what lives there |
//! |---|---|---|
//! | [`time`] | 0 | the types of time; reads no clock |
//! | [`wire`] | 0 | bytes to messages and back |
//! | [`berkeley`] | 0 | every decision, without I/O: server, client, vote, discipline |
//! | [`sim`] | 0 | the simulated world: oscillators, links, faults, seeds |
//! | [`clock`] | 1 | the only place that reads a clock |
//! | [`process`] | 1 | what the process may do, and who looks after it |
//! | [`net`] | 1 | the only place that touches sockets; the event loop |
//! | `dashboard` | 2 | a node's page, metrics and JSON over HTTP; with the feature `dashboard` |
//! | [`cli`] | 2 | humans: arguments, text and JSON, logging |
//!
//! The contract between the core and whoever drives it stands on [`berkeley::Node`].

pub mod berkeley;
pub mod cli;
pub mod clock;
#[cfg(feature = "dashboard")]
pub mod dashboard;
pub mod net;
pub mod process;
pub mod sim;
pub mod time;
pub mod wire;
