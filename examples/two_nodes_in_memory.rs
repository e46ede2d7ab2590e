//! A server and a client in the simulator's testkit: the test sees every datagram, and decides which arrive.

use meantime_core::time::Span;
use meantime_core::wire::{ClientState, Kind};
use meantime_core::{Node, ServerConfig};
use meantime_sim::testkit::{Pair, events};

pub(crate) fn main() {
    // The client's oscillator is two seconds ahead; paths take 100 µs each way.
    let mut pair = Pair::new(ServerConfig::default(), Span::from_secs(2));
    pair.run(22.0);
    println!("after 22 s the clocks differ by {}", pair.difference());
    for event in events(&mut pair.client) {
        println!("  {event:?}");
    }

    // For a minute all Corrections are lost: the client goes into holdover.
    pair.run_through(60.0, |message| message.body.kind() != Kind::Correction);
    let reading = pair.client.read(pair.client_now().raw);
    assert_eq!(reading.state, ClientState::Holdover);
    println!("after a minute without corrections they differ by {}", pair.difference());
    println!("{} probes and {} reports were sent", pair.count(Kind::Probe), pair.count(Kind::Report));
}
