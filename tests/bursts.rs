//! When the probes of a burst are sent: in trains, each as soon as the one before is answered, or evenly
//! spaced if the second of a train is never answered sooner than the first.

use std::collections::VecDeque;

use meantime_core::time::Span;
use meantime_core::wire::{Body, Datagram, Probe};
use meantime_core::{Node, Server, ServerConfig, ServerEvent};
use meantime_sim::testkit::by_hand::{CLIENT, decoded, from};
use meantime_sim::testkit::host::monotonic;
use meantime_sim::testkit::{StubClient, drain, events, moment};

/// A path, and what becomes of the reports to one burst.
#[derive(Clone, Copy, Debug)]
struct Trial {
    size: u8,
    round_trip: Span,
    /// How much sooner the second and the fourth probe of a burst are answered.
    gain: Span,
    /// How much longer all exchanges of every second burst take.
    scatter: Span,
    /// The probe whose report is lost.
    lost: Option<u8>,
    /// How often each report arrives.
    copies: usize,
}

/// A server, a client, and what is on its way to the server.
struct Run {
    trial: Trial,
    server: Server,
    client: StubClient,
    arriving: VecDeque<(Span, Datagram)>,
    /// The burst of which a report is lost, if one is; the first is 1.
    lossy: usize,
    /// When the probes of each burst were sent.
    bursts: Vec<Vec<Span>>,
}

impl Run {
    fn new(trial: Trial) -> Run {
        let config = ServerConfig { burst: trial.size, ..ServerConfig::default() };
        let server = Server::new(config, [3; 32], moment(Span::ZERO, Span::ZERO));
        let mut client = StubClient::new(7, "x");
        let arriving = VecDeque::from([(Span::ZERO, client.register(0))]);
        Run { trial, server, client, arriving, lossy: 1, bursts: Vec::new() }
    }

    /// Gives the server its next input, and the client what the server sends.
    fn step(&mut self) {
        let deadline = self.server.poll_timeout().unwrap() - monotonic(Span::ZERO);
        let now = self.arriving.front().map_or(deadline, |(at, _)| deadline.min(*at));
        match self.arriving.front() {
            Some((at, _)) if *at == now => {
                let (_, datagram) = self.arriving.pop_front().unwrap();
                self.server.handle_datagram(moment(now, Span::ZERO), from(CLIENT), &datagram);
            }
            _ => self.server.handle_timeout(moment(now, Span::ZERO)),
        }
        for transmit in drain(&mut self.server, moment(now, Span::ZERO)) {
            let probe = match decoded(&transmit.datagram).body {
                Body::Probe(probe) => Some(probe),
                _ => None,
            };
            self.receive(now, probe, &transmit.datagram);
        }
    }

    /// Goes on until this burst is over, and returns when its probes were sent, in ms after its first.
    fn burst(&mut self, index: usize) -> Vec<i64> {
        for _ in 0..20_000 {
            if self.bursts.len() > index + 1 {
                break;
            }
            self.step();
        }
        assert!(self.bursts.len() > index + 1, "{:?}: burst {index} does not end", self.trial);
        let sent = &self.bursts[index];
        sent.iter().map(|at| (*at - sent[0]).as_nanos() / 1_000_000).collect()
    }

    /// The client receives a datagram that the server has sent at `now`.
    fn receive(&mut self, now: Span, probe: Option<Probe>, datagram: &Datagram) {
        let Trial { size, round_trip, gain, scatter, lost, copies } = self.trial;
        if let Some(probe) = probe {
            if probe.index == 0 {
                self.bursts.push(Vec::new());
            }
            let sent = self.bursts.last_mut().unwrap();
            assert_eq!(usize::from(probe.index), sent.len());
            assert!([size, 2 * size].contains(&probe.burst), "{probe:?}");
            sent.push(now);
        }
        let is_second = probe.is_some_and(|probe| probe.index % 2 == 1);
        let round_trip = if is_second { round_trip - gain } else { round_trip };
        let round_trip = if self.bursts.len().is_multiple_of(2) { round_trip + scatter } else { round_trip };
        let answer = self.client.answer(moment(now + round_trip.half(), Span::ZERO), datagram);
        let is_lost = self.bursts.len() == self.lossy && probe.is_some_and(|probe| lost == Some(probe.index));
        let copies = if is_lost {
            0
        } else if probe.is_some() {
            copies
        } else {
            1
        };
        self.arriving.extend(answer.into_iter().flat_map(|answer| vec![(now + round_trip, answer); copies]));
    }
}

/// When the probes of the first burst were sent, in ms after its first, and how many reports it has counted.
fn first_burst(trial: Trial) -> (Vec<i64>, u8) {
    let mut run = Run::new(trial);
    let sent = run.burst(0);
    let heard = events(&mut run.server).into_iter().find_map(|event| match event {
        ServerEvent::Updated { heard, .. } => Some(heard),
        _ => None,
    });
    (sent, heard.unwrap_or(0))
}

#[test]
fn the_second_probe_of_a_first_pair_follows_the_report_and_is_at_most_fifty_milliseconds_late() {
    for (round_trip_ms, times) in [
        (1, [0, 1, 100, 101, 200]),
        (30, [0, 30, 100, 130, 200]),
        (60, [0, 50, 100, 150, 200]),
        (120, [0, 50, 100, 150, 200]),
    ] {
        for size in 1..=5 {
            let round_trip = Span::from_millis(round_trip_ms);
            let trial =
                Trial { size, round_trip, gain: Span::ZERO, scatter: Span::ZERO, lost: None, copies: 1 };
            assert_eq!(first_burst(trial), (times[..usize::from(size)].to_vec(), size), "{trial:?}");
        }
    }
}

#[test]
fn after_a_lost_report_the_second_probe_of_a_pair_is_sent_by_its_timer_and_the_burst_ends() {
    for (round_trip_ms, size) in
        [1, 30, 60, 120].into_iter().flat_map(|ms| (1..=5).map(move |size| (ms, size)))
    {
        for lost in 0..size {
            let round_trip = Span::from_millis(round_trip_ms);
            let trial = Trial {
                size,
                round_trip,
                gain: Span::ZERO,
                scatter: Span::ZERO,
                lost: Some(lost),
                copies: 1,
            };
            let second = |first| if lost == first { 50 } else { round_trip_ms.min(50) };
            let times = [0, second(0), 100, 100 + second(2), 200];
            assert_eq!(first_burst(trial), (times[..usize::from(size)].to_vec(), size - 1), "{trial:?}");
        }
    }
}

#[test]
fn a_client_that_repeats_its_reports_gets_no_more_probes_and_no_earlier_ones() {
    for round_trip_ms in [1, 30, 60, 120] {
        for size in 1..=5 {
            let round_trip = Span::from_millis(round_trip_ms);
            let trial =
                Trial { size, round_trip, gain: Span::ZERO, scatter: Span::ZERO, lost: None, copies: 1 };
            assert_eq!(first_burst(Trial { copies: 3, ..trial }), first_burst(trial), "{trial:?}");
        }
    }
}

#[test]
fn bursts_become_trains_where_the_second_exchange_is_shorter_and_are_evenly_spaced_in_most_rounds_where_not()
{
    let (pairs, train, even) = (vec![0, 2, 100, 102], vec![0, 2, 3, 5], vec![0, 50, 100, 150]);
    for (gain_us, [in_pairs, in_trains, spaced]) in [(100, [0, 64, 0]), (0, [8, 0, 56]), (-100, [8, 0, 56])] {
        let (round_trip, gain) = (Span::from_millis(2), Span::from_micros(gain_us));
        let mut run =
            Run::new(Trial { size: 4, round_trip, gain, scatter: Span::ZERO, lost: None, copies: 1 });
        assert_eq!(run.burst(0), pairs);
        // One burst a round: the extra ones of a new member are over.
        let bursts: Vec<_> = (200..264).map(|index| run.burst(index)).collect();
        let count = |wanted: &Vec<i64>| bursts.iter().filter(|burst| *burst == wanted).count();
        let counted = [count(&pairs), count(&train), count(&even)];
        assert_eq!(counted, [in_pairs, in_trains, spaced], "{gain_us} µs");
    }
}

#[test]
fn after_a_lost_report_a_train_goes_on_at_the_next_timer() {
    let trial = |lost| Trial {
        size: 4,
        round_trip: Span::from_millis(2),
        gain: Span::from_micros(100),
        scatter: Span::ZERO,
        lost: Some(lost),
        copies: 1,
    };
    for (lost, times) in [(0, [0, 50, 51, 53]), (1, [0, 2, 100, 102]), (2, [0, 2, 3, 150]), (3, [0, 2, 3, 5])]
    {
        let mut run = Run::new(Trial { lost: None, ..trial(lost) });
        run.burst(200);
        run.trial = trial(lost);
        run.lossy = 203;
        assert_eq!(run.burst(202), times, "report {lost} is lost");
    }
}

#[test]
fn a_new_member_over_a_noisy_path_is_measured_by_twice_as_many_exchanges() {
    for (scatter_us, size, doubled) in [(0, 4, false), (100, 4, false), (2_000, 4, true), (2_000, 32, false)]
    {
        let (round_trip, scatter) = (Span::from_millis(10), Span::from_micros(scatter_us));
        let mut run = Run::new(Trial { size, round_trip, gain: Span::ZERO, scatter, lost: None, copies: 1 });
        let mut length = |index| run.burst(index).len();
        let (extra, wanted) = (length(100), usize::from(size) * if doubled { 2 } else { 1 });
        // Every fifth or so is the burst of a round.
        let longest = (101..107).map(&mut length).fold(extra, usize::max);
        assert_eq!(longest, wanted, "{scatter_us} µs");
        // The path is known: one burst a round, of the usual size.
        assert!((220..230).all(|index| length(index) == usize::from(size)), "{scatter_us} µs");
    }
}
