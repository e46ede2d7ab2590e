//! An echo server and a driver that loads a server at its maximum rate, for `scripts/capacity.py`.
//!
//! `echo serve ADDRESS` sends every datagram back, in batches of 64. `echo drive ADDRESS SECONDS
//! ntp|meantime` keeps 512 requests in flight from 16 ports, and prints the number of answers in a second.
//! The requests are NTP requests of 48 bytes, or heartbeats of 16 registered clients of 96 bytes.

use std::io::{IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use meantime::clock::monotonic;
use meantime_core::time::{Monotonic, Span};
use meantime_core::wire::{Body, Header, Heartbeat, Message, Name, NodeId, Register, SessionId};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, MultiHeaders, SockFlag, SockType, SockaddrIn, bind, connect, recv, recvmmsg,
    send, sendmmsg, setsockopt, socket, sockopt,
};

fn main() -> nix::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", address] => serve(parsed(address)),
        ["drive", address, seconds, kind] => {
            let seconds = Span::from_secs(seconds.parse().expect("a number of seconds"));
            drive(parsed(address), seconds, kind)
        }
        _ => panic!("echo serve ADDRESS, or echo drive ADDRESS SECONDS ntp|meantime"),
    }
}

fn parsed(address: &str) -> SockaddrIn {
    match address.parse() {
        Ok(SocketAddr::V4(v4)) => v4.into(),
        _ => panic!("not an IPv4 address with a port: {address}"),
    }
}

fn udp() -> nix::Result<OwnedFd> {
    let fd = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::empty(), None)?;
    if setsockopt(&fd, sockopt::RcvBufForce, &(16 << 20)).is_err() {
        setsockopt(&fd, sockopt::RcvBuf, &(4 << 20))?;
    }
    Ok(fd)
}

fn serve(address: SockaddrIn) -> nix::Result<()> {
    let fd = udp()?;
    bind(fd.as_raw_fd(), &address)?;
    let mut buffers = [[0; 128]; BATCH];
    let mut coming = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut going = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    loop {
        let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let got = recvmmsg(fd.as_raw_fd(), &mut coming, slices.iter_mut(), MsgFlags::MSG_WAITFORONE, None)?;
        let (mut lengths, mut peers) = ([0; BATCH], [None; BATCH]);
        let mut count = 0;
        for message in got {
            (lengths[count], peers[count]) = (message.bytes, message.address);
            count += 1;
        }
        let answers: Vec<_> = buffers
            .iter()
            .zip(lengths)
            .take(count)
            .map(|(buffer, length)| [IoSlice::new(&buffer[..length])])
            .collect();
        sendmmsg(fd.as_raw_fd(), &mut going, &answers, &peers[..count], [], MsgFlags::empty())?;
    }
}

/// One port, with the request that it repeats.
struct Port {
    fd: OwnedFd,
    request: Vec<u8>,
    unanswered: usize,
}

fn drive(server: SockaddrIn, length: Span, kind: &str) -> nix::Result<()> {
    let mut ports = Vec::new();
    for number in 0..PORTS {
        let fd = udp()?;
        connect(fd.as_raw_fd(), &server)?;
        let request = match kind {
            "ntp" => ntp(),
            "meantime" => register(&fd, number as u64 + 1)?,
            other => panic!("no such requests: {other}"),
        };
        ports.push(Port { fd, request, unanswered: 0 });
    }
    let mut buffers = [[0; 128]; BATCH];
    let mut coming = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut going = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let warm_up = Span::from_millis(500);
    let began = monotonic();
    let (mut answers, mut counted_from) = (0_u64, None::<Monotonic>);
    while monotonic() - began < length + warm_up {
        if counted_from.is_none() && monotonic() - began > warm_up {
            (answers, counted_from) = (0, Some(monotonic()));
        }
        let mut idle = true;
        for port in &mut ports {
            let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
            match recvmmsg(port.fd.as_raw_fd(), &mut coming, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)
            {
                Ok(got) => {
                    let got = got.count();
                    idle &= got == 0;
                    answers += got as u64;
                    port.unanswered = port.unanswered.saturating_sub(got);
                }
                Err(Errno::EAGAIN) => {}
                Err(error) => return Err(error),
            }
            let missing = (PRESSURE / PORTS).saturating_sub(port.unanswered);
            if missing >= PRESSURE / PORTS / 2 {
                let requests = vec![[IoSlice::new(&port.request)]; missing];
                let nowhere = vec![None::<SockaddrIn>; missing];
                sendmmsg(port.fd.as_raw_fd(), &mut going, &requests, &nowhere, [], MsgFlags::empty())?;
                port.unanswered += missing;
                idle = false;
            }
        }
        if idle {
            let mut wait: Vec<_> = ports
                .iter()
                .map(|port| PollFd::new(std::os::fd::AsFd::as_fd(&port.fd), PollFlags::POLLIN))
                .collect();
            if poll(&mut wait, PollTimeout::from(100_u8))? == 0 {
                // The requests in flight are lost.
                ports.iter_mut().for_each(|port| port.unanswered = 0);
            }
        }
    }
    let seconds = counted_from.map_or(1.0, |since| (monotonic() - since).as_secs_f64());
    println!("{:.0}", answers as f64 / seconds);
    Ok(())
}

/// A client's request: version 4, mode 3.
fn ntp() -> Vec<u8> {
    let mut request = vec![0; 48];
    request[0] = 0x23;
    request
}

/// Registers a client; its heartbeat. An echo server registers no client, but sends the heartbeat back like
/// any other datagram.
fn register(fd: &OwnedFd, number: u64) -> nix::Result<Vec<u8>> {
    let sender = NodeId(number << 32 | u64::from(std::process::id()));
    let mut header = Header { sender, ..Header::default() };
    let mut cookie = 0;
    for _ in 0..4 {
        let name = Name::new(&format!("drive-{number}"));
        let body = Body::Register(Register { nonce: number, cookie, name, ..Register::default() });
        send(fd.as_raw_fd(), &Message { header, body }.encode(), MsgFlags::empty())?;
        let mut answer = [0; 128];
        let length = recv(fd.as_raw_fd(), &mut answer, MsgFlags::empty())?;
        match Message::decode(&answer[..length]) {
            Ok(Message { body: Body::Challenge(challenge), .. }) => cookie = challenge.cookie,
            Ok(Message { header: from, body: Body::Welcome(_) }) => {
                header.session = from.session;
                break;
            }
            _ => header.session = SessionId(number),
        }
    }
    header.sequence = 1;
    Ok(Message { header, body: Body::Heartbeat(Heartbeat { nonce: number, ..Heartbeat::default() }) }
        .encode()
        .to_vec())
}

const BATCH: usize = 64;
const PORTS: usize = 16;
/// Requests in flight.
const PRESSURE: usize = 512;
