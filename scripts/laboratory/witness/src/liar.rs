//! An on-path attacker next to a client, which falsifies its reports: the simulator's falseticker, on a real
//! network.

#![expect(clippy::disallowed_types, reason = "an attacker on the path, not a node")]

use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use meantime_core::time::Span;
use meantime_core::wire::{DATAGRAM_LEN, DEFAULT_PORT, Datagram};
use meantime_sim::liar::{Liar, Lie};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::Failure;

/// Passes datagrams between a client, to whom this is the server at 127.0.0.1, and `server`, for ever. The
/// client's clock seems to be ahead by so much, and the client never learns of it.
#[expect(clippy::disallowed_methods, reason = "a lie may depend on the time")]
pub(crate) fn relay(nanoseconds: &str, server: &str) -> Result<(), Failure> {
    let lie = Lie::Constant(Span::from_nanos(nanoseconds.parse()?));
    let liar = Mutex::new(Liar::new(lie, ChaCha8Rng::seed_from_u64(1)));
    let server =
        (server, DEFAULT_PORT).to_socket_addrs()?.find(SocketAddr::is_ipv4).ok_or("no such server")?;
    // One socket for both sides would have to be bound to 127.0.0.1 and could not reach the server.
    let inner = UdpSocket::bind(("127.0.0.1", DEFAULT_PORT))?;
    let outer = UdpSocket::bind("0.0.0.0:0")?;
    outer.connect(server)?;
    let begin = Instant::now();
    let mut datagram: Datagram = [0; DATAGRAM_LEN];
    let (_, client) = inner.peek_from(&mut datagram)?;
    inner.connect(client)?;
    let (back, to) = (outer.try_clone()?, inner.try_clone()?);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut datagram: Datagram = [0; DATAGRAM_LEN];
            // Errors of a socket are those of an earlier datagram that no process received.
            loop {
                if back.recv(&mut datagram).is_ok() {
                    liar.lock().expect("no panic").incoming(&mut datagram);
                    let _ = to.send(&datagram);
                }
            }
        });
        loop {
            if inner.recv(&mut datagram).is_ok() {
                let at = Span::from_nanos(begin.elapsed().as_nanos() as i64);
                liar.lock().expect("no panic").outgoing(at, &mut datagram);
                let _ = outer.send(&datagram);
            }
        }
    })
}
