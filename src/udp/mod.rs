//! The only place that touches UDP sockets.
//!
//! It decides how a datagram travels (from which local address, through which socket), and never what a
//! datagram means. It knows neither the event loop nor a node.
//!
//! | module | what it owns |
//! |---|---|
//! | `transport` | [`Transport`], a node's access to the network |
//! | `server_socket`, `client_socket` | the two transports: [`ServerSocket`], [`ClientSocket`] |
//! | `server_name`, `server_list`, `resolver` | [`ServerName`] and [`ServerList`] as an operator types them, and their addresses: [`Resolver`] |
//! | `socket` | [`DatagramSocket`]: one UDP socket that knows the paths of its datagrams |
//! | `datagram`, `address`, `timestamp_source`, `upper_interface`, `restoration` | plain types |
//! | `cards` | network cards that stamp datagrams: which there are, and their settings |
//! | `linux`, `portable` | the system calls, one of the two: batches, control messages, kernel timestamps |

mod address;
mod card_error;
#[cfg(target_os = "linux")]
mod cards;
#[cfg(not(target_os = "linux"))]
#[path = "no_cards.rs"]
mod cards;
mod client_socket;
mod datagram;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod portable;
mod resolver;
mod restoration;
mod server_list;
mod server_name;
mod server_socket;
mod socket;
mod timestamp_source;
mod transport;
mod upper_interface;

#[cfg(any(target_os = "linux", target_os = "android"))]
use linux as platform;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use portable as platform;

pub use address::own_addresses;
pub use card_error::{CardError, CardSetup};
pub use cards::{CardLock, GrantedCard, SavedSettings, cards_below, request_stamps};
pub use client_socket::ClientSocket;
#[cfg(test)]
pub(crate) use datagram::BUFFER_LEN;
pub use datagram::{CardStamp, ReceivedDatagram, Stamping, TransmitStamp, TransmitTime};
#[cfg(all(test, target_os = "linux"))]
pub(crate) use linux::stamped_by_a_card;
pub use platform::{BATCH, ReceiveBatch};
pub use resolver::{ResolveError, Resolver};
pub use restoration::Restoration;
pub use server_list::{ServerList, ServerListError};
pub use server_name::{ServerName, ServerNameError};
pub use server_socket::ServerSocket;
pub use socket::{DatagramSocket, require_kernel_timestamps};
pub use timestamp_source::TimestampSource;
pub use transport::Transport;
pub use upper_interface::UpperInterface;

/// Reports that a test cannot run on this machine, past the test harness, which would hide it.
#[cfg(test)]
fn not_run(why: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "NOT RUN: {why}");
}
