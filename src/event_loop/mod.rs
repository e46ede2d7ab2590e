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
//! | `kernel_timestamps` | the kernel's timestamps on the host's oscillator, and whether they come |
//! | `hardware_timestamps` | the network cards' in their place, and the datagrams that wait for theirs |
//! | `ticker` | periodic work |
//! | `failure_counter` | failures of the network |
//! | `handler` | what the program implements |
//! | `published_time` | what a node's clock publishes for the system's clock |

mod failure_counter;
mod handler;
mod hardware_timestamps;
mod kernel_timestamps;
mod network;
mod published_time;
mod run;
mod ticker;

pub use handler::LoopHandler;
pub use hardware_timestamps::InstalledCard;
pub use run::EventLoop;

#[cfg(all(test, target_os = "linux"))]
mod card_tests;
#[cfg(test)]
mod tests;
