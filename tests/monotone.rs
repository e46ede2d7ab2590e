//! Published time never goes backwards, and never runs faster or slower than the slew limit on top of what
//! its frequency may be, from the first synchronization on: with real clocks and sockets, read as fast as
//! possible.
//!
//! A node has one thread, so only that thread can read its clock at any time. Therefore one client runs in
//! this process, in the event loop of `meantime client`: it is read some millions of times, between all that
//! it does. The server and another client are processes; of those every event is checked, and a tick each
//! millisecond.

mod support;

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use meantime::clock::{ClockSample, HostRaw, NodeClock, Overlay, Resumed};
use meantime::event_loop::{EventLoop, LoopHandler};
use meantime::report::ClockSnapshot;
use meantime::udp::{ClientSocket, Resolver, Stamping};
use meantime_core::config::MAX_FREQUENCY;
use meantime_core::estimation::timescale::SLEW_LIMIT;
use meantime_core::event::Adjustment;
use meantime_core::roles::rank::Rank;
use meantime_core::time::{Frequency, Monotonic, Now, Raw, Span, Timestamp};
use meantime_core::wire::Name;
use meantime_core::{
    Action, Client, ClientConfig, ClientEvent, ClockReading, Counters, Node, Path, StampId, Transmit,
};
use serde_json::Value;
use support::{Process, pause};

/// Reads a clock, and checks each pair of readings.
#[derive(Debug)]
struct Reader {
    /// How much faster or slower than its oscillator a clock may run.
    limit: Frequency,
    last: Option<(i64, i64)>,
    /// The rate is measured from here: a nanosecond is large against the distance of one pair.
    mark: Option<(i64, i64)>,
    reads: u64,
    fastest: f64,
    slowest: f64,
    wrong: Vec<String>,
}

impl Reader {
    fn new(limit: Frequency) -> Reader {
        let (fastest, slowest) = (f64::MIN, f64::MAX);
        Reader { limit, last: None, mark: None, reads: 0, fastest, slowest, wrong: Vec::new() }
    }

    /// The clock shows `cluster`, its oscillator `raw`.
    fn read(&mut self, raw: i64, cluster: i64) {
        self.reads += 1;
        if let Some(before) = self.last.replace((raw, cluster)) {
            self.compare(before, (raw, cluster));
        }
        match self.mark {
            Some(before) if raw - before.0 >= MARK_NS => {
                self.compare(before, (raw, cluster));
                let rate = (cluster - before.1) as f64 / (raw - before.0) as f64 - 1.0;
                (self.fastest, self.slowest) = (self.fastest.max(rate), self.slowest.min(rate));
                self.mark = Some((raw, cluster));
            }
            Some(_) => {}
            None => self.mark = Some((raw, cluster)),
        }
    }

    fn compare(&mut self, before: (i64, i64), now: (i64, i64)) {
        let (ran, shown) = (now.0 - before.0, now.1 - before.1);
        let most = self.limit.ratio() * ran as f64 + ROUNDING_NS;
        if (shown < 0 || (shown - ran).abs() as f64 > most) && self.wrong.len() < 10 {
            self.wrong.push(format!("{shown} ns in {ran} ns, from reading {} on", self.reads - 1));
        }
    }

    /// No reading was wrong, and there were enough.
    fn assert_right(&self, who: &str, reads: u64) {
        let (fastest, slowest) = (self.fastest * 1e6, self.slowest * 1e6);
        println!("{who}: {} reads, its rate between {slowest:+.1} and {fastest:+.1} ppm", self.reads);
        assert!(self.wrong.is_empty(), "{who}: {:#?}", self.wrong);
        assert!(self.reads >= reads, "{who}: only {} reads", self.reads);
    }
}

/// The machine's clocks, with an oscillator that jumps on request.
#[derive(Clone)]
struct Jumpy {
    overlay: Overlay,
    jump: Rc<Cell<Span>>,
}

impl NodeClock for Jumpy {
    fn read(&self) -> ClockSample {
        let ClockSample { host, now: Now { mono, raw } } = self.overlay.read();
        ClockSample { host, now: Now { mono, raw: raw + self.jump.get() } }
    }

    fn take_suspension(&mut self) -> Option<Span> {
        self.overlay.take_suspension()
    }

    fn raw_at(&self, host: HostRaw) -> Raw {
        self.overlay.raw_at(host) + self.jump.get()
    }

    fn resume(&mut self, _: HostRaw, _: Timestamp) -> Resumed {
        Resumed::No
    }
}

/// A client whose clock is read after each thing that it does, and while it is idle.
struct Watched {
    client: Client,
    clock: Jumpy,
    reader: Rc<Cell<Option<Reader>>>,
}

impl Watched {
    /// Reads the clock so many times. Never between the loop's reading of its clocks and what the client does
    /// with it: no program could.
    fn read_on(&mut self, times: u32) {
        let Some(mut reader) = self.reader.take() else { return };
        for _ in 0..times {
            let raw = self.clock.now().raw;
            let shown = self.client.read(raw);
            if shown.state.has_cluster_time() {
                reader.read(raw.as_nanos(), shown.time.as_nanos());
            }
        }
        self.reader.set(Some(reader));
    }
}

impl Node for Watched {
    type Event = ClientEvent;

    fn handle_datagram(&mut self, now: Now, path: Path, datagram: &[u8]) {
        self.client.handle_datagram(now, path, datagram);
        self.read_on(1);
    }

    fn handle_received(&mut self, now: Now, received: Raw, path: Path, datagram: &[u8]) {
        self.client.handle_received(now, received, path, datagram);
        self.read_on(1);
    }

    fn handle_transmitted(&mut self, id: StampId, raw: Raw) {
        self.client.handle_transmitted(id, raw);
        self.read_on(1);
    }

    fn handle_timeout(&mut self, now: Now) {
        if self.client.poll_timeout().is_some_and(|deadline| deadline <= now.mono) {
            self.client.handle_timeout(now);
        }
        self.read_on(READS_A_TURN);
    }

    fn handle_shutdown(&mut self, now: Now) {
        self.client.handle_shutdown(now);
    }

    fn handle_resolved(&mut self, now: Now, rank: Rank, server: Option<SocketAddr>) {
        self.client.handle_resolved(now, rank, server);
    }

    fn handle_suspended(&mut self, now: Now, slept: Span) {
        self.client.handle_suspended(now, slept);
    }

    fn poll_transmit(&mut self, now: Now) -> Option<Transmit> {
        self.client.poll_transmit(now)
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.client.poll_action()
    }

    fn poll_event(&mut self) -> Option<ClientEvent> {
        self.client.poll_event()
    }

    /// Always due, so the loop never waits.
    fn poll_timeout(&self) -> Option<Monotonic> {
        Some(Monotonic::from_nanos(0))
    }

    fn read(&self, raw: Raw) -> ClockReading {
        self.client.read(raw)
    }

    fn counters(&self) -> &Counters {
        self.client.counters()
    }
}

/// Makes the oscillator jump now and then, records the steps and slews, and ends the run.
struct Director {
    clock: Jumpy,
    reader: Rc<Cell<Option<Reader>>>,
    jumps: Vec<(u32, Span)>,
    ticks: u32,
    corrections: Vec<(bool, Adjustment, Span)>,
}

impl LoopHandler<Watched> for Director {
    fn event(
        &mut self,
        _node: &Watched,
        _now: Now,
        _at: ClockSnapshot,
        event: ClientEvent,
    ) -> io::Result<()> {
        if let ClientEvent::Corrected { first, adjustment, added, .. } = event {
            self.corrections.push((first, adjustment, added.span()));
        }
        Ok(())
    }

    fn tick(&mut self, _at: ClockSnapshot) -> io::Result<()> {
        self.ticks += 1;
        if let Some((_, jump)) = self.jumps.iter().find(|(at, _)| *at == self.ticks) {
            self.clock.jump.set(self.clock.jump.get() + *jump);
            // Published time is a function of the oscillator, and jumps with it until it is corrected: that
            // is not tested here.
            let mut reader = self.reader.take().expect("it is in its place again");
            (reader.last, reader.mark) = (None, None);
            self.reader.set(Some(reader));
        }
        if self.ticks >= TICKS { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn published_time_is_monotone_and_within_the_slew_limit_however_often_it_is_read() {
    let server = process("server", "server --listen 127.0.0.1:0 --interval 500ms");
    let address = server.address();
    let other = process("other", &format!("client {address} --simulate-offset 3s --simulate-drift 80ppm"));
    other.wait_for("tick", 0, |tick| tick["state"] == "synchronized");
    pause(Duration::from_secs(2));

    let clock = Jumpy {
        overlay: Overlay::start(Span::from_secs(-7), Frequency::from_ppm(-250.0)),
        jump: Rc::default(),
    };
    let reader = Rc::new(Cell::new(Some(Reader::new(limit()))));
    let config = ClientConfig { name: Name::new("watched"), ..ClientConfig::default() };
    let node = Watched {
        client: Client::new(config, [7; 32], clock.now()),
        clock: clock.clone(),
        reader: reader.clone(),
    };
    let resolver = Resolver::new([(Rank::FIRST, address.parse().expect("an address"))]);
    let link = ClientSocket::new(resolver).with_timestamps(Stamping::Kernel);
    // Two milliseconds are slewed in four seconds.
    let jumps = vec![(50, Span::from_millis(2)), (120, Span::from_millis(-2))];
    let mut director =
        Director { clock: clock.clone(), reader: reader.clone(), jumps, ticks: 0, corrections: Vec::new() };
    let mut event_loop = EventLoop::new(node, link, clock).expect("a loop").with_tick(Some(TICK));
    assert_eq!(event_loop.run(&mut director).unwrap_err().kind(), io::ErrorKind::BrokenPipe);

    let reader = reader.take().expect("it is in its place again");
    reader.assert_right("watched", 100_000);
    let corrections = director.corrections;
    assert!(
        corrections[0].0 && corrections[0].1 == Adjustment::Step && corrections[0].2 > Span::from_secs(5),
        "{:?}",
        corrections[0]
    );
    assert!(
        corrections[1..].iter().all(|(first, how, _)| !first && *how == Adjustment::Slew),
        "{corrections:?}"
    );
    // It has been slewed at full speed, both ways, on top of the 250 ppm that it lacks.
    assert!(reader.fastest > 600e-6 && reader.slowest < -150e-6, "{reader:?}");
    assert_told_right(&server, Frequency::ZERO);
    assert_told_right(&other, Frequency::from_ppm(80.0));
}

/// A process that reports its clock as often as possible.
fn process(name: &str, arguments: &str) -> Process {
    let arguments: Vec<&str> = arguments.split(' ').chain(["--output", "json", "--tick", "1ms"]).collect();
    Process::start(name, &arguments)
}

/// All readings that the process has reported since it was synchronized, over the host's oscillator, against
/// which its own drifts.
fn assert_told_right(node: &Process, drift: Frequency) {
    let mut reader = Reader::new(limit() + drift);
    let ns = |event: &Value, field: &str| event[field].as_i64().expect("a whole number");
    let events = node.events();
    let synchronized = |event: &&Value| event["state"] != "synchronized";
    for event in events.iter().skip_while(synchronized) {
        reader.read(ns(event, "raw_ns"), ns(event, "cluster_ns"));
    }
    reader.assert_right(node.name(), 5_000);
}

#[test]
fn a_clock_that_goes_back_or_runs_too_fast_or_slow_is_caught() {
    // In steps of 50 ns; the reading after the n-th.
    let wrong = |shown: &dyn Fn(i64) -> i64| {
        let mut reader = Reader::new(limit());
        (0..100_000).for_each(|n| reader.read(50 * n, shown(n)));
        !reader.wrong.is_empty()
    };
    assert!(!wrong(&|n| 50 * n));
    assert!(!wrong(&|n| 50 * n + 50 * n * 990 / 1_000_000));
    assert!(wrong(&|n| 50 * n + 50 * n * 1_010 / 1_000_000), "too fast");
    assert!(wrong(&|n| 50 * n - 50 * n * 1_010 / 1_000_000), "too slow");
    assert!(wrong(&|n| if n < 70_000 { 50 * n } else { 50 * n - 51 }), "back by a nanosecond");
    assert!(wrong(&|n| if n < 70_000 { 50 * n } else { 50 * n + 10 }), "ten nanoseconds forward");
}

/// What a clock may differ from its oscillator's rate, or lag behind the estimate, by.
fn limit() -> Frequency {
    SLEW_LIMIT + MAX_FREQUENCY
}

/// Of rates in steps of 2 ppm at most.
const MARK_NS: i64 = 1_000_000;
/// Two readings, of a sum of three whole numbers of nanoseconds each.
const ROUNDING_NS: f64 = 3.0;
const READS_A_TURN: u32 = 100;
const TICK: Span = Span::from_millis(100);
/// Twenty seconds.
const TICKS: u32 = 200;
