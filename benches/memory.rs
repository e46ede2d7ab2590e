//! What a client takes of memory, counted by the allocator: its discipline, all of the client, and what the
//! server keeps of it. What something owns on the heap is what gets free when it is dropped.

mod support;

use std::hint::black_box;

use meantime_core::Client;
use meantime_core::estimation::discipline::{Discipline, OutlierLimit};
use meantime_core::estimation::kalman::Bank;
use meantime_sim::testkit::Cluster;
use support::counting::{heap, peak};
use support::path::Path;
use support::{INTERVAL, SEED, bursts_of_start};

fn main() {
    println!("{:<52}{:>16}{:>16}{:>16}", "bytes", "inline", "heap", "more at a burst");
    for size in [4, 1] {
        let start = bursts_of_start(size);
        let owned = discipline(size, start - 1, "at the end of the start");
        assert!(discipline(size, start, "after the start") < owned, "the start ends elsewhere");
    }
    row("Kalman bank", &[size_of::<Bank>()]);
    client();
    server();
}

/// A client weighs each burst on a copy of its discipline, which it then keeps or drops. Returns what is on
/// the heap.
fn discipline(size: usize, bursts: usize, when: &str) -> usize {
    let mut path = Path::new(size);
    let discipline = path.discipline(bursts);
    let burst = path.burst();
    let more = peak(|| {
        let mut copy = discipline.clone();
        copy.update(&burst, OutlierLimit::MAJORITY);
        black_box(copy);
    });
    let owned = heap(discipline);
    row(&format!("discipline {when}, bursts of {size}"), &[size_of::<Discipline>(), owned, more]);
    owned
}

/// A client whose start is over, its discipline included.
fn client() {
    let mut cluster = Cluster::new(1, SEED);
    cluster.run(INTERVAL.times(ROUNDS_OF_START));
    let more = peak(|| cluster.run(INTERVAL));
    let owned = cluster.clients.pop().map_or(0, |client| heap(client.node));
    row("client after the start", &[size_of::<Client>(), owned, more]);
}

/// What a server has more for twice as many clients, shared among them. Powers of two, for that is how tables
/// grow.
fn server() {
    let [few, many] = [CLIENTS / 2, CLIENTS].map(|clients| {
        let mut cluster = Cluster::new(clients, SEED);
        cluster.run(INTERVAL.times(ROUNDS_OF_SERVER));
        assert_eq!(cluster.synchronized(), clients, "not all clients have passed the time of a newcomer");
        heap(cluster.server.node)
    });
    row(&format!("server, for each of {CLIENTS} clients"), &[0, (many - few) / (CLIENTS / 2)]);
}

/// A line of the table, as far as it was measured.
fn row(name: &str, bytes: &[usize]) {
    let columns: String = bytes.iter().map(|bytes| format!("{bytes:>16}")).collect();
    println!("{name:<52}{columns}");
}

/// More than the start of a client's discipline takes, which a newcomer goes through faster.
const ROUNDS_OF_START: i64 = 300;
/// Enough for all clients to be measured, corrected and counted as usual.
const ROUNDS_OF_SERVER: i64 = 12;
const CLIENTS: usize = 128;
