//! One client's exchanges with a server that is always right.

use meantime_core::estimation::discipline::{Discipline, OutlierLimit};
use meantime_core::estimation::exchange::Exchange;
use meantime_core::time::{Raw, Span, Timestamp};
use meantime_sim::START;
use meantime_sim::testkit::cluster::quartz;
use meantime_sim::testkit::{Delay, HostClock};

use super::{INTERVAL, SEED};

/// Where the exchanges come from, in bursts of one size.
pub(crate) struct Path {
    size: usize,
    client: HostClock,
    delay: Delay,
    next: Span,
}

impl Path {
    /// A path on which nothing was measured yet.
    pub(crate) fn new(size: usize) -> Path {
        Path { size, client: quartz(1, SEED), delay: Delay::lan(SEED), next: INTERVAL }
    }

    /// The next round's burst.
    pub(crate) fn burst(&mut self) -> Vec<Exchange<Timestamp, Raw>> {
        let mut at = self.next;
        self.next += INTERVAL;
        let exchanges = (0..self.size).map(|_| {
            let exchange = self.exchange(at);
            at += SPACING;
            exchange
        });
        exchanges.collect()
    }

    /// A discipline that has followed the next so many bursts, and nothing before.
    pub(crate) fn discipline(&mut self, bursts: usize) -> Discipline {
        let mut discipline = Discipline::default();
        for _ in 0..bursts {
            discipline.update(&self.burst(), OutlierLimit::MAJORITY);
        }
        discipline
    }

    fn exchange(&mut self, sent: Span) -> Exchange<Timestamp, Raw> {
        let arrived = sent + self.delay.draw();
        let answered = arrived + TURNAROUND;
        let returned = answered + self.delay.draw();
        let (t1, t4) = (server(sent), server(returned));
        Exchange { t1, t2: self.client.now(arrived).raw, t3: self.client.now(answered).raw, t4 }
    }
}

fn server(at: Span) -> Timestamp {
    START + at
}

/// Between the exchanges of a burst.
const SPACING: Span = Span::from_millis(50);
/// From a probe's arrival to the report's leaving.
const TURNAROUND: Span = Span::from_micros(10);
