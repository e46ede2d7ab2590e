//! The control socket of a server and of a client: bytes come in pieces, and each line gets a line of JSON.
#![no_main]

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use meantime::clock::HostRaw;
use meantime::control::{ControlSocket, ControlledNode, RequestHandler};
use meantime::report::ClockSnapshot;
use meantime::udp::TimestampSource;
use meantime_core::time::{Monotonic, Now, Raw, Span};
use meantime_core::{Client, ClientConfig, Server, ServerConfig};
use mio::{Events, Poll};

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    BENCH.with_borrow_mut(|bench| {
        let bench = bench.get_or_insert_with(Bench::new);
        match first % 2 {
            0 => bench.talk(bytes, &mut Server::new(ServerConfig::default(), [1; 32], NOW)),
            _ => bench.talk(bytes, &mut Client::new(ClientConfig::default(), [1; 32], NOW)),
        }
    });
});

struct Bench {
    control: ControlSocket,
    poll: Poll,
    path: PathBuf,
    handler: RequestHandler,
    talks: i64,
}

impl Bench {
    fn new() -> Bench {
        let path = std::env::temp_dir().join(format!("meantime-fuzz-{}", std::process::id()));
        let mut control = ControlSocket::bind(&path).expect("a socket");
        let poll = Poll::new().expect("a poll");
        control.register(poll.registry()).expect("a registered socket");
        Bench { control, poll, path, handler: RequestHandler::new(None), talks: 0 }
    }

    /// Says all that, in one or two pieces, and reads what is answered.
    fn talk<N: ControlledNode>(&mut self, bytes: &[u8], node: &mut N) {
        let mut asker = UnixStream::connect(&self.path).expect("a connection");
        asker.set_nonblocking(true).expect("a socket that does not block");
        let (head, tail) = bytes.split_at(bytes.len() / 2);
        let mut answers = Vec::new();
        for piece in [head, tail] {
            // It may have hung up: then what was said before was too long.
            let _ = asker.write_all(piece);
            self.turn(node);
            let mut buffer = [0; 65_536];
            loop {
                match asker.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => answers.extend_from_slice(&buffer[..count]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(_) => break,
                }
            }
        }
        let asked = bytes.iter().filter(|byte| **byte == b'\n').count();
        let answers = String::from_utf8(answers).expect("answers are text");
        assert!(answers.is_empty() || answers.ends_with('\n'));
        assert!(answers.lines().count() <= asked, "{} answers to {asked} requests", answers.lines().count());
        let objects = answers.lines().all(|line| line.starts_with('{') && line.ends_with('}'));
        assert!(objects, "{answers}");
        drop(asker);
        self.turn(node);
        assert!(self.control.deadline().is_none(), "who has hung up is forgotten");
    }

    fn turn<N: ControlledNode>(&mut self, node: &mut N) {
        self.talks += 1;
        let now = Now { mono: NOW.mono + Span::from_micros(self.talks), ..NOW };
        for _ in 0..MAX_TURNS {
            let mut events = Events::with_capacity(16);
            self.poll.poll(&mut events, Some(Duration::ZERO)).expect("a poll");
            events.iter().for_each(|event| self.control.note(event));
            if !self.control.is_busy() && events.is_empty() {
                return;
            }
            let at = ClockSnapshot {
                host: HostRaw::from_nanos(now.raw.as_nanos()),
                reading: node.read(now.raw),
                timestamps: TimestampSource::User,
                system: None,
            };
            let handler = &self.handler;
            let registry = self.poll.registry();
            self.control.serve(registry, now.mono, |query| handler.respond(node, now, &at, query));
        }
        panic!("it is busy without end");
    }
}

thread_local! {
    static BENCH: RefCell<Option<Bench>> = const { RefCell::new(None) };
}

const NOW: Now =
    Now { mono: Monotonic::from_nanos(1_000_000_000), raw: Raw::from_nanos(1_798_761_600_000_000_000) };
/// One for each line that fits into the longest input, and some to let in and out.
const MAX_TURNS: usize = 10_000;
