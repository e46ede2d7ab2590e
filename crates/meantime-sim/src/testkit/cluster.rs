//! A server and clients over noisy paths, as pure state machines.

use meantime_core::time::{Frequency, Span};
use meantime_core::wire::{ClientState, Name};
use meantime_core::{Client, ClientConfig, Server, ServerConfig};

use super::delay::Delay;
use super::host::{Host, HostClock};
use super::network::{Endpoint, Network};
use crate::oscillator::{Oscillator, OscillatorError};
use crate::seed::{Purpose, Seed};

/// A server and its clients on a good LAN.
#[derive(Debug)]
pub struct Cluster {
    /// The server.
    pub server: Host<Server>,
    /// Its clients.
    pub clients: Vec<Host<Client>>,
    network: Network,
}

impl Cluster {
    /// Nodes that have just been started: a server and so many clients.
    pub fn new(clients: usize, seed: Seed) -> Cluster {
        Cluster::with_config(ServerConfig::default(), clients, seed)
    }

    /// The same, with a server of this configuration.
    pub fn with_config(config: ServerConfig, clients: usize, seed: Seed) -> Cluster {
        let server = Host::start(0, quartz(0, seed), Span::ZERO, |now| Server::new(config, [0; 32], now));
        let client = |number: usize| {
            let name = Name::new(&format!("client-{number}"));
            let config = ClientConfig { name, ..ClientConfig::default() };
            let mut bytes = [1; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            let start = |now| Client::new(config, bytes, now);
            Host::start(number, quartz(number, seed), Span::ZERO, start)
        };
        let clients = (1..=clients).map(client).collect();
        Cluster { server, clients, network: Network::new(Delay::lan(seed)) }
    }

    /// True time.
    pub fn now(&self) -> Span {
        self.network.now()
    }

    /// Lets so much time pass. Events are dropped.
    pub fn run(&mut self, span: Span) {
        let Cluster { server, clients, network } = self;
        let mut endpoints: Vec<&mut dyn Endpoint> = vec![server];
        endpoints.extend(clients.iter_mut().map(|client| client as &mut dyn Endpoint));
        network.run_until(network.now() + span, &mut endpoints);
        drop(endpoints);
        drop(self.server.events());
        self.clients.iter_mut().for_each(|client| drop(client.events()));
    }

    /// How many clients have cluster time.
    pub fn synchronized(&mut self) -> usize {
        let at = self.now();
        let states = self.clients.iter_mut().map(|client| client.read(at).state);
        states.filter(|state| *state == ClientState::Synchronized).count()
    }
}

/// A common quartz that runs fast by 30 ppm; each number has a random walk of its own.
pub fn quartz(number: usize, seed: Seed) -> HostClock {
    let error = OscillatorError { offset: Span::ZERO, drift: Frequency::from_ppm(30.0), wander: 1e-9 };
    HostClock::Oscillator(Box::new(Oscillator::new(error, seed.stream(Purpose::Wander, number))))
}
