//! Kernel timestamps, and losses, of real sockets on loopback.

use std::io;
use std::net::SocketAddr;

use super::*;
use crate::clock::{NodeClock, Overlay};
use crate::udp::{DatagramSocket, Stamping, TransmitStamp, TransmitTime, not_run};
use meantime_core::time::{Frequency, Span, Timestamp};
use meantime_core::wire::DATAGRAM_LEN;
use meantime_core::{Path, StampId, Transmit};

/// A listening socket with kernel timestamps, and one connected to it.
fn pair() -> Option<(DatagramSocket, DatagramSocket)> {
    let mut server = DatagramSocket::bound("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut client = DatagramSocket::connected(server.local_address().unwrap()).unwrap();
    let granted =
        [&mut server, &mut client].into_iter().all(|udp| udp.request_timestamps(Stamping::Kernel).is_ok());
    if !granted {
        not_run("the kernel takes no timestamps here");
    }
    if !granted || !has_started(&mut client, &mut server) {
        return None;
    }
    Some((server, client))
}

/// A datagram to the peer of a connected socket, with a transmit timestamp under this id.
fn datagram(id: impl Into<Option<u64>>) -> Transmit {
    let path = Path { peer: "127.0.0.1:9".parse().unwrap(), local: None };
    Transmit { path, datagram: [1; DATAGRAM_LEN], stamp: id.into().map(StampId) }
}

/// The timestamps of the datagrams that are received, and the path of the last. A busy machine may deliver
/// them later than they were sent, also over loopback.
fn receive(udp: &mut DatagramSocket) -> (Vec<Option<Timestamp>>, Path) {
    let mut batch = ReceiveBatch::new();
    retry(|| udp.receive(&mut batch));
    let path = udp.path(&batch.get(batch.len() - 1)).unwrap();
    ((0..batch.len()).map(|index| batch.get(index).timestamp).collect(), path)
}

/// Retries for a minute while there is nothing yet.
fn retry(mut attempt: impl FnMut() -> io::Result<()>) {
    for _ in 0..12_000 {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            result => return result.unwrap(),
        }
    }
    panic!("nothing came within a minute");
}

/// Sends until a datagram is received with a timestamp: the kernel starts to record them a moment after the
/// request.
fn has_started(client: &mut DatagramSocket, server: &mut DatagramSocket) -> bool {
    let started = (0..400).any(|_| {
        client.send(&[datagram(None)]).unwrap();
        let stamped = receive(server).0[0].is_some();
        if !stamped {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        stamped
    });
    transmit_timestamps(client, 0);
    if !started {
        not_run("the kernel gives no timestamps on loopback");
    }
    started
}

/// What the error queue reports within a minute, until there are at least `count` entries.
fn transmit_timestamps(udp: &mut DatagramSocket, count: usize) -> Vec<(StampId, Timestamp)> {
    let mut found = Vec::new();
    for _ in 0..12_000 {
        let report = &mut |stamp: TransmitStamp| match stamp.time {
            TransmitTime::Kernel(time) => found.push((stamp.id, time)),
            TransmitTime::Card(_) => panic!("no card's timestamps are requested"),
        };
        match udp.take_transmit_timestamps(report) {
            Ok(_) => {}
            Err(_) if found.len() >= count => break,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }
    found
}

fn wall_clock() -> Timestamp {
    Overlay::start(Span::ZERO, Frequency::ZERO).pair().real
}

#[test]
fn the_kernel_reports_when_each_datagram_is_sent_and_received() {
    let Some((mut server, mut client)) = pair() else { return };
    let began = wall_clock();
    assert_eq!(client.send(&[datagram(71), datagram(None), datagram(73)]).unwrap(), 3);
    let left = transmit_timestamps(&mut client, 2);
    assert_eq!(left.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [71, 73]);
    let mut received = Vec::new();
    while received.len() < 3 {
        received.extend(receive(&mut server).0);
    }
    let came = received[2].expect("a timestamp");
    let ended = wall_clock();
    assert!(began <= left[0].1 && left[0].1 <= left[1].1 && left[1].1 <= came && came <= ended);
    assert_eq!(transmit_timestamps(&mut client, 0), [], "the queue is empty");
}

#[test]
fn answers_of_a_listening_socket_have_transmit_timestamps_in_both_families() {
    let mut server = match DatagramSocket::bound("[::]:0".parse().unwrap()) {
        Ok(server) => server,
        Err(error) => return not_run(&format!("this machine has no IPv6: {error}")),
    };
    if server.request_timestamps(Stamping::Kernel).is_err() {
        return not_run("the kernel takes no timestamps here");
    }
    let port = server.local_address().unwrap().port();
    for (id, host) in ["127.0.0.1", "[::1]"].iter().enumerate() {
        let Ok(mut client) = DatagramSocket::connected(format!("{host}:{port}").parse().unwrap()) else {
            continue;
        };
        client.send(&[datagram(None)]).unwrap();
        let (_, path) = receive(&mut server);
        let stamp = Some(StampId(id as u64));
        server.send(&[Transmit { path, ..datagram(id as u64) }]).unwrap();
        let left = transmit_timestamps(&mut server, 1);
        assert_eq!(left.iter().map(|(id, _)| Some(*id)).collect::<Vec<_>>(), [stamp], "{host}");
    }
}

#[test]
fn after_a_datagram_could_not_be_sent_the_numbers_still_agree() {
    let Some((server, mut client)) = pair() else { return };
    client.send(&[datagram(1)]).unwrap();
    transmit_timestamps(&mut client, 1);
    drop(server);
    // The port is closed: the kernel learns of it only after this datagram.
    client.send(&[datagram(2)]).unwrap();
    transmit_timestamps(&mut client, 1);
    let refused = client.send(&[datagram(3)]).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    client.send(&[datagram(4)]).unwrap();
    let left = transmit_timestamps(&mut client, 1);
    assert_eq!(left.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [4]);
    // Reading the error queue does not consume the error of the socket.
    let error = client.receive(&mut ReceiveBatch::new()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn without_a_request_there_are_no_timestamps() {
    let mut server = DatagramSocket::bound("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut client = DatagramSocket::connected(server.local_address().unwrap()).unwrap();
    client.send(&[datagram(1)]).unwrap();
    assert_eq!(receive(&mut server).0, [None]);
    assert!(!client.has_kernel_timestamps() && client.take_transmit_timestamps(&mut |_| {}).is_err());
}

#[test]
fn a_batch_is_sent_without_the_datagram_that_cannot_be_sent_and_the_numbers_still_agree() {
    let Some((server, _)) = pair() else { return };
    let mut sender = DatagramSocket::bound("127.0.0.1:0".parse().unwrap()).unwrap();
    sender.request_timestamps(Stamping::Kernel).unwrap();
    let to = |peer: SocketAddr, id: u64| Transmit { path: Path { peer, local: None }, ..datagram(id) };
    let good = server.local_address().unwrap();
    // An IPv4 socket cannot send to an IPv6 address.
    let bad = "[2001:db8::1]:9".parse().unwrap();
    let batch = [to(good, 1), to(good, 2), to(bad, 3), to(good, 4)];
    assert_eq!(sender.send(&batch).unwrap(), 2);
    transmit_timestamps(&mut sender, 0);
    assert!(sender.send(&batch[2..]).is_err());
    assert_eq!(sender.send(&batch[3..]).unwrap(), 1);
    let left = transmit_timestamps(&mut sender, 1);
    assert_eq!(left.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [4]);
}

#[test]
fn datagrams_lost_to_a_full_buffer_are_counted() {
    let mut server = DatagramSocket::bound("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut client = DatagramSocket::connected(server.local_address().unwrap()).unwrap();
    server.shrink_receive_buffer();
    let sent = [datagram(None); 64];
    (0..20).for_each(|_| assert_eq!(client.send(&sent).unwrap(), 64));
    let (mut all, mut received, mut lost) = (20 * 64, 0, 0);
    let mut batch = ReceiveBatch::new();
    retry(|| {
        // The count comes with a datagram that is received later.
        client.send(&sent[..1])?;
        all += 1;
        while server.receive(&mut batch).is_ok() {
            received += batch.len() as u32;
            lost = batch.get(batch.len() - 1).lost.unwrap_or(lost);
        }
        if received + lost < all { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    assert_eq!(received + lost, all);
    assert!(lost > 0);
}
