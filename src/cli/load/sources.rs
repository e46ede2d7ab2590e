//! The sockets of a load generator: some ports, and on loopback many addresses.
//!
//! To its node, a path's other side is the *client*, one of ours, and not the server, which is the same for
//! all. On loopback every address of 127/8 is ours: a socket at a few ports receives what comes to any of
//! them, and sends from whichever it is told to. Elsewhere each client has a socket.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mio::{Registry, Token};

use crate::udp::DatagramSocket;
use crate::udp::TimestampSource;
use crate::udp::Transport;
use crate::udp::{ReceiveBatch, ReceivedDatagram, Stamping, TransmitStamp};
use meantime_core::roles::rank::Rank;
use meantime_core::{Path, Transmit};
use meantime_load::ClientAddresses;

/// The sockets of a load generator.
#[derive(Debug)]
pub(super) struct Sources {
    server: SocketAddr,
    addresses: ClientAddresses,
    sockets: Vec<DatagramSocket>,
    stamped: bool,
    /// The socket that was received from last.
    current: usize,
    batch: Vec<Transmit>,
    /// Whether the server's address is asked for.
    is_asked: bool,
}

impl Sources {
    /// Sockets for so many clients of a server.
    ///
    /// # Errors
    /// When the system does not have so many.
    pub(super) fn open(server: SocketAddr, clients: usize) -> io::Result<Sources> {
        let spread = server.ip().is_loopback() && server.is_ipv4();
        let count = if spread { clients.min(PORTS) } else { clients };
        let any = if server.is_ipv4() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        } else {
            "::".parse().map_err(io::Error::other)?
        };
        let mut sockets = Vec::with_capacity(count);
        for _ in 0..count {
            sockets.push(if spread {
                DatagramSocket::bound(SocketAddr::new(any, 0))?
            } else {
                DatagramSocket::connected(server)?
            });
        }
        let bound = sockets.iter().map(DatagramSocket::local_address).collect::<io::Result<Vec<_>>>()?;
        let first = if spread { IpAddr::V4(FIRST) } else { bound.first().map_or(any, SocketAddr::ip) };
        let addresses = ClientAddresses::new(first, bound.iter().map(SocketAddr::port).collect());
        let mut sources = Sources {
            server,
            addresses,
            sockets,
            stamped: false,
            current: 0,
            batch: Vec::new(),
            is_asked: false,
        };
        sources.stamped =
            sources.sockets.iter_mut().all(|socket| socket.request_timestamps(Stamping::Kernel).is_ok());
        Ok(sources)
    }

    /// The addresses of the clients.
    pub(super) fn addresses(&self) -> &ClientAddresses {
        &self.addresses
    }
}

impl Transport for Sources {
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.sockets.iter().try_for_each(|socket| socket.register(registry, token))
    }

    fn receive(&mut self, batch: &mut ReceiveBatch) -> io::Result<()> {
        for _ in 0..self.sockets.len() {
            match self.sockets[self.current].receive(batch) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.current = (self.current + 1) % self.sockets.len();
                }
                result => return result,
            }
        }
        Err(ErrorKind::WouldBlock.into())
    }

    fn take_lost(&mut self) -> u32 {
        self.sockets.iter_mut().map(DatagramSocket::take_lost).sum()
    }

    fn path(&self, received: &ReceivedDatagram<'_>) -> Option<Path> {
        let port = self.addresses.address(self.current).port();
        let ip = received.local.unwrap_or(self.addresses.address(0).ip());
        Some(Path { peer: SocketAddr::new(ip, port), local: None })
    }

    fn send(&mut self, _registry: &Registry, transmits: &[Transmit]) -> io::Result<usize> {
        let Some(first) = transmits.first() else { return Ok(0) };
        let port = first.path.peer.port();
        let number = self.addresses.number_of(port).ok_or(ErrorKind::NotFound)?;
        let same = transmits.iter().take_while(|transmit| transmit.path.peer.port() == port);
        let turned = |transmit: &Transmit| Transmit {
            path: Path { peer: self.server, local: Some(transmit.path.peer.ip()) },
            ..*transmit
        };
        self.batch.clear();
        self.batch.extend(same.map(turned));
        self.sockets[number].send(&self.batch)
    }

    fn take_transmit_timestamps(&mut self, report: &mut dyn FnMut(TransmitStamp)) -> io::Result<bool> {
        let mut all = Err(ErrorKind::WouldBlock.into());
        for socket in &mut self.sockets {
            match (socket.take_transmit_timestamps(report), &all) {
                (Ok(done), Ok(before)) => all = Ok(done && *before),
                (Ok(done), Err(_)) => all = Ok(done),
                (Err(_), _) => {}
            }
        }
        all
    }

    fn timestamp_source(&self) -> TimestampSource {
        if self.stamped { TimestampSource::Kernel } else { TimestampSource::User }
    }

    fn resolve(&mut self, _server: Rank) {
        self.is_asked = true;
    }

    fn take_resolved(&mut self) -> Option<(Rank, io::Result<SocketAddr>)> {
        std::mem::take(&mut self.is_asked).then_some((Rank::FIRST, Ok(self.server)))
    }
}

/// Few, so that what is received and sent together is much.
const PORTS: usize = 4;
/// Behind the addresses that people use themselves.
const FIRST: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 0);
