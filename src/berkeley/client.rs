//! The client.

use super::{ClientConfig, ClientEvent, Counters, Node, Path, Reading, Transmit};
use crate::time::{Monotonic, Now, Raw};

/// A machine that registers with a server and follows the cluster's time.
#[derive(Debug)]
pub struct Client {
    counters: Counters,
}

impl Client {
    /// A client that starts now. `seed` must be unpredictable where anybody could attack.
    pub fn new(_config: ClientConfig, _seed: [u8; 32], _now: Now) -> Client {
        Client { counters: Counters::default() }
    }
}

impl Node for Client {
    type Event = ClientEvent;
    fn handle_datagram(&mut self, _now: Now, _path: Path, _datagram: &[u8]) {}
    fn handle_timeout(&mut self, _now: Now) {}
    fn handle_shutdown(&mut self, _now: Now) {}
    fn poll_transmit(&mut self, _now: Now) -> Option<Transmit> {
        None
    }
    fn poll_event(&mut self) -> Option<ClientEvent> {
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
