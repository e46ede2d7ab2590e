//! The event loop that drives one node.
//!
//! It follows the contract on [`Node`](meantime_core::Node): what has been received together is handed over,
//! then datagrams, actions and events are drained. [`LoopHandler`] gets the events, each with a
//! [`ClockSnapshot`](crate::report::ClockSnapshot). If the clock steers the system's time, it is called on
//! each wake-up, and decides itself whether it is due. Nothing that the network does ends the loop: failures
//! are counted, and logged at `debug` once in a while.
//!
//! mio is edge-triggered, so readiness is kept until the socket is empty; and at most a batch of datagrams is
//! received before timers are checked, so a flood of datagrams cannot starve them. The system rounds waits up
//! to whole milliseconds: timers are late, never early.
//!
//! | module | what it owns |
//! |---|---|
//! | `run` | [`EventLoop`]: node, clock, poll, signals, control socket |
//! | `network` | the transport, readiness, the batches that are received and sent |
//! | `kernel_timestamps` | the kernel's timestamps on the node's oscillator, and whether they come |
//! | `ticker` | periodic work |
//! | `failure_counter` | failures of the network |
//! | `handler` | what the program implements |
//! | `published_time` | what a node's clock publishes for the system's clock |

mod failure_counter;
mod handler;
mod kernel_timestamps;
mod network;
mod published_time;
mod run;
mod ticker;

pub use handler::LoopHandler;
pub use run::EventLoop;

#[cfg(test)]
mod tests;
