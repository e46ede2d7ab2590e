//! A server and a crowd, as pure state machines, with nothing between them but 50 µs each way: whole rounds
//! of very many members, in memory.

#![allow(dead_code, reason = "each program uses a part of this")]

use meantime::clock::monotonic;
use meantime_core::time::{Monotonic, Now, Raw, Span};
use meantime_core::{MasterKeys, Node, Path, Server, ServerConfig, ServerEvent};
use meantime_load::{Crowd, CrowdEvent, CrowdPlan, Measure, Seats};

/// Both, and the true time.
pub(crate) struct Hall {
    /// The server.
    pub server: Server,
    crowd: Crowd,
    at: Span,
    /// What calls to the server took.
    pub spent: Span,
    /// How often the server was called, and the most datagrams that it had to send after one call.
    pub calls: u64,
    /// The same for datagrams.
    pub most_at_once: usize,
    /// How many probes, corrections and goodbyes the server has sent.
    pub sent: u64,
    /// What the server has told.
    pub told: Vec<ServerEvent>,
    measure: Option<Box<Measure>>,
}

impl Hall {
    /// A server and so many clients that begin to join.
    pub(crate) fn new(config: ServerConfig, clients: usize) -> Hall {
        let start = now(Span::ZERO);
        let plan = CrowdPlan {
            keys: MasterKeys::default(),
            clients,
            seed: 1,
            join_rate: 1_000_000,
            // For 24 rounds newcomers are measured in haste, and one burst cuts the other short.
            settle: Span::from_secs(125),
            duration: Span::from_secs(1_000_000),
            pressure: 0,
        };
        let seats = Seats::new([10, 0, 0, 0].into(), vec![1_000, 2_000, 3_000, 4_000]);
        Hall {
            server: Server::new(
                ServerConfig {
                    max_clients: clients.max(config.max_clients),
                    per_client_event_limit: 0,
                    ..config
                },
                [1; 32],
                start,
            ),
            crowd: Crowd::new(plan, seats, start),
            at: Span::ZERO,
            spent: Span::ZERO,
            calls: 0,
            most_at_once: 0,
            sent: 0,
            told: Vec::new(),
            measure: None,
        }
    }

    /// Lets so much time pass.
    pub(crate) fn run(&mut self, span: Span) {
        let end = self.at + span;
        while self.at < end {
            self.step();
            let next = [self.server.poll_timeout(), self.crowd.poll_timeout()].into_iter().flatten().min();
            let next = next.map_or(end, |due| due - Monotonic::from_nanos(0));
            // Waits end at whole milliseconds, as with epoll.
            let next = Span::from_nanos((next.as_nanos() + 999_999) / 1_000_000 * 1_000_000);
            self.at = self.at.max(next.min(end));
        }
    }

    /// What the crowd has found out since everybody was in and no newcomer any more; ends it.
    pub(crate) fn finish(&mut self) -> Box<Measure> {
        self.crowd.handle_shutdown(now(self.at));
        while let Some(event) = self.crowd.poll_event() {
            if let CrowdEvent::Over(measure, ..) = event {
                self.measure = Some(measure);
            }
        }
        self.measure.take().expect("it is over once")
    }

    /// The server says goodbye; how many datagrams that takes.
    pub(crate) fn shut_down(&mut self) -> usize {
        self.server.handle_shutdown(now(self.at));
        std::iter::from_fn(|| self.server.poll_transmit(now(self.at))).count()
    }

    fn step(&mut self) {
        let at = now(self.at);
        if self.server.poll_timeout().is_some_and(|due| due <= at.mono) {
            self.timed(|server| server.handle_timeout(at));
        }
        if self.crowd.poll_timeout().is_some_and(|due| due <= at.mono) {
            self.crowd.handle_timeout(at);
        }
        while self.down() | self.up() {}
        while self.crowd.poll_event().is_some() {}
    }

    /// From the server to the crowd.
    fn down(&mut self) -> bool {
        let at = now(self.at);
        let mut batch = Vec::new();
        self.timed(|server| {
            while let Some(transmit) = server.poll_transmit(at) {
                batch.push(transmit);
            }
        });
        self.most_at_once = self.most_at_once.max(batch.len());
        self.sent += batch.len() as u64;
        let arrival = now(self.at + DELAY);
        for transmit in &batch {
            let path = Path { peer: transmit.path.peer, local: None };
            self.crowd.handle_received(arrival, arrival.raw, path, &transmit.datagram);
        }
        !batch.is_empty()
    }

    /// From the crowd to the server.
    fn up(&mut self) -> bool {
        let leaves = now(self.at + DELAY);
        let batch: Vec<_> = std::iter::from_fn(|| self.crowd.poll_transmit(leaves)).collect();
        let arrival = now(self.at + DELAY + DELAY);
        self.timed(|server| {
            for transmit in &batch {
                let path = Path { peer: transmit.path.peer, local: None };
                server.handle_received(arrival, arrival.raw, path, &transmit.datagram);
            }
        });
        !batch.is_empty()
    }

    fn timed(&mut self, call: impl FnOnce(&mut Server)) {
        let before = monotonic();
        call(&mut self.server);
        self.spent += monotonic() - before;
        self.calls += 1;
        while let Some(event) = self.server.poll_event() {
            if !matches!(event, ServerEvent::Connected { .. } | ServerEvent::Falseticker(_)) {
                self.told.push(event);
            }
        }
    }
}

/// What a node is told of a true time.
fn now(at: Span) -> Now {
    Now { mono: Monotonic::from_nanos(0) + at, raw: Raw::from_nanos(1_800_000_000_000_000_000) + at }
}

/// One way.
const DELAY: Span = Span::from_micros(50);
