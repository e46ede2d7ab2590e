//! What the protocol costs: a datagram to bytes and back, its tag, and a whole round of a server and one
//! client.

mod support;

use std::hint::black_box;

use criterion::Criterion;
use meantime_core::time::{Frequency, Span, Timestamp};
use meantime_core::wire::{
    Body, ClusterId, Direction, Header, Master, Message, Name, NodeId, Probe, Report, SessionId, Stamps,
};
use meantime_sim::testkit::Cluster;
use support::{INTERVAL, SEED};

fn main() {
    let mut criterion = support::criterion();
    datagrams(&mut criterion);
    tags(&mut criterion);
    round(&mut criterion);
    criterion.final_summary();
}

fn datagrams(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire");
    for (name, message) in [("Probe", probe()), ("Report", report())] {
        let datagram = message.encode();
        group.bench_function(format!("encode a {name}"), |bencher| {
            bencher.iter(|| black_box(&message).encode());
        });
        group.bench_function(format!("decode a {name}"), |bencher| {
            bencher.iter(|| Message::decode(black_box(&datagram)));
        });
    }
}

/// What authenticates a datagram: as it is, and by BLAKE3, which it could be.
fn tags(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tag");
    let (secret, name) = ([7; 32], Name::new("lab-7"));
    let master = Master::new(&secret);
    let key = master.node(&name);
    let mut datagram = report().encode();
    group.bench_function("HMAC-SHA-256, by a client", |bencher| {
        bencher.iter(|| key.sign(Direction::ToServer, black_box(&mut datagram)));
    });
    group.bench_function("HMAC-SHA-256, by a server", |bencher| {
        bencher.iter(|| master.node(black_box(&name)).verify(Direction::ToServer, black_box(&datagram)));
    });
    let of = |key: &[u8; 32], bytes: &[u8]| *blake3::keyed_hash(key, bytes).as_bytes();
    let node = of(&secret, b"lab-7");
    group.bench_function("BLAKE3, by a client", |bencher| {
        bencher.iter(|| of(&node, black_box(&datagram[..80])));
    });
    group.bench_function("BLAKE3, by a server", |bencher| {
        bencher.iter(|| of(&of(&secret, black_box(b"lab-7")), black_box(&datagram[..80])));
    });
}

/// Four probes, four reports, a vote, a correction: everything but sockets and clocks.
fn round(criterion: &mut Criterion) {
    let mut cluster = Cluster::new(1, SEED);
    cluster.run(INTERVAL.times(ROUNDS_OF_START));
    assert_eq!(cluster.synchronized(), 1, "nothing worth measuring is going on");
    criterion.bench_function("round/server and client", |bencher| bencher.iter(|| cluster.run(INTERVAL)));
}

fn probe() -> Message {
    let stamps = Stamps { report: 41, t1: NOON, t4: NOON + Span::from_micros(250) };
    let body = Probe {
        nonce: 0x0123_4567_89ab_cdef,
        before: Some(stamps),
        index: 1,
        burst: 4,
        rate: Frequency::from_ppm(-3.5),
        cluster: ClusterId(77),
    };
    Message { header: header(), body: Body::Probe(body) }
}

fn report() -> Message {
    let body = Report {
        nonce: 0x0123_4567_89ab_cdef,
        t2: NOON,
        processing: Span::from_micros(12),
        transmit_latency: Span::from_nanos(800),
        frequency: Frequency::from_ppm(-31.2),
        frequency_error: Frequency::from_ppm(0.002),
        rate: Frequency::from_ppm(-3.5),
        applied: 40,
        bound: Some(Span::from_micros(130)),
        error: Some(Span::from_nanos(420)),
    };
    Message { header: header(), body: Body::Report(body) }
}

fn header() -> Header {
    Header { sender: NodeId(9), session: SessionId(5), sequence: 42, round: 7, ..Header::default() }
}

/// More than the start of a client's discipline takes, which a newcomer goes through faster.
const ROUNDS_OF_START: i64 = 300;
const NOON: Timestamp = Timestamp::from_nanos(1_798_804_800_000_000_000);
