//! The server.

use super::{Counters, Node, Path, Reading, ServerConfig, ServerEvent, Transmit};
use crate::time::{Monotonic, Now, Raw};

/// The coordinator of the rounds.
#[derive(Debug)]
pub struct Server {
    counters: Counters,
}

impl Server {
    /// A server that starts now. `seed` must be unpredictable where anybody could attack.
    pub fn new(_config: ServerConfig, _seed: [u8; 32], _now: Now) -> Server {
        Server { counters: Counters::default() }
    }
}

impl Node for Server {
    type Event = ServerEvent;
    fn handle_datagram(&mut self, _now: Now, _path: Path, _datagram: &[u8]) {}
    fn handle_timeout(&mut self, _now: Now) {}
    fn handle_shutdown(&mut self, _now: Now) {}
    fn poll_transmit(&mut self, _now: Now) -> Option<Transmit> {
        None
    }
    fn poll_event(&mut self) -> Option<ServerEvent> {
        None
    }
    fn poll_timeout(&self) -> Option<Monotonic> {
        None
    }
    fn read(&self, _raw: Raw) -> Reading {
        todo!()
    }
    fn counters(&self) -> &Counters {
        &self.counters
    }
}
