//! RING 1. The control interface: what a node answers at its control socket, and the client that asks there.
//!
//! | module | what it contains |
//! |---|---|
//! | [`protocol`] | the requests and responses: the only definition of both |
//! | `node`, `replica` | what a server and a client state and do; the same of a server of several |
//! | `takeover` | who takes over when an operator asks for it |
//! | [`RequestHandler`] | parses requests and writes responses, long ones in pieces |
//! | [`EventLog`] | the last events |
//! | [`ControlSocket`] | the Unix socket and its connections |
//! | [`client`] | the other side of the socket |
//!
//! It knows neither the command line nor sentences about events: the caller adds those to the log.

pub mod client;
mod event_log;
mod listen;
mod node;
pub mod protocol;
mod replica;
mod request_handler;
mod socket;
pub mod socket_path;
mod takeover;

pub use event_log::{EventLog, LoggedEvent};
pub use listen::{OpenError, open};
pub use node::{ClientPage, CommandError, ControlledNode};
pub use request_handler::RequestHandler;
pub use socket::{ControlSocket, Query, ResponsePart};
pub use socket_path::Role;
pub use takeover::TakeoverError;
