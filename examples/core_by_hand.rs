//! A server and a client of the core, driven by hand: no sockets, no clocks, no threads.
//!
//! `meantime_core::Node` is the contract: one `handle_*`, then drain `poll_transmit`, `poll_action` and
//! `poll_event`, then sleep until `poll_timeout`. The program's event loop does the same with real clocks and
//! sockets. Here both oscillators are perfect, but the client's is two seconds ahead; datagrams take 100 µs.

use std::net::SocketAddr;

use meantime_core::roles::rank::Rank;
use meantime_core::time::{Monotonic, Now, Raw, Span};
use meantime_core::wire::ClientState;
use meantime_core::{Client, ClientConfig, Node, Path, Server, ServerConfig};

pub(crate) fn main() {
    let server_address = SocketAddr::from(([192, 0, 2, 1], 5525));
    let client_address = SocketAddr::from(([192, 0, 2, 7], 40_000));
    let from = |peer| Path { peer, local: None };
    let mut time = Span::ZERO;
    let mut server = Server::new(ServerConfig::default(), [1; 32], now(time, Span::ZERO));
    let mut client = Client::new(ClientConfig::default(), [2; 32], now(time, AHEAD));

    while client.read(now(time, AHEAD).raw).state != ClientState::Synchronized {
        assert!(time < Span::from_secs(60), "the client does not synchronize");
        if server.poll_timeout().is_some_and(|deadline| deadline <= now(time, Span::ZERO).mono) {
            server.handle_timeout(now(time, Span::ZERO));
        }
        if client.poll_timeout().is_some_and(|deadline| deadline <= now(time, AHEAD).mono) {
            client.handle_timeout(now(time, AHEAD));
        }
        // The only action is to look up the server's name.
        while client.poll_action().is_some() {
            client.handle_resolved(now(time, AHEAD), Rank::FIRST, Some(server_address));
        }
        let to_client: Vec<_> = std::iter::from_fn(|| server.poll_transmit(now(time, Span::ZERO))).collect();
        let to_server: Vec<_> = std::iter::from_fn(|| client.poll_transmit(now(time, AHEAD))).collect();
        time += Span::from_micros(100);
        for transmit in to_client {
            client.handle_datagram(now(time, AHEAD), from(server_address), &transmit.datagram);
        }
        for transmit in to_server {
            server.handle_datagram(now(time, Span::ZERO), from(client_address), &transmit.datagram);
        }
        while let Some(event) = client.poll_event() {
            println!("{time} client: {event:?}");
        }
        while let Some(event) = server.poll_event() {
            println!("{time} server: {event:?}");
        }
    }
    let client_time = client.read(now(time, AHEAD).raw).time;
    println!("the clocks differ by {}", client_time - server.read(now(time, Span::ZERO).raw).time);
}

/// The clocks of a machine whose oscillator is ahead, at a time since the beginning.
fn now(time: Span, ahead: Span) -> Now {
    Now {
        mono: Monotonic::from_nanos(0) + time,
        raw: Raw::from_nanos(1_800_000_000_000_000_000) + time + ahead,
    }
}

const AHEAD: Span = Span::from_secs(2);
