//! Manual time adjustments: all members do the same, no bound is violated, and the vote sees
//! nothing of it.

use meantime_core::event::Adjustment;
use meantime_core::time::Span;
use meantime_core::{ClientEvent, ServerEvent};
use meantime_sim::{
    Directions, Fault, MemberIndex, NodeEvent, Observer, ReportedEvent, Sample, Scenario, Simulation,
};

use crate::support::{Running, loss, s, seeds, us};

/// When an operator sets the time, and when that begins: four rounds and two seconds later, when every member
/// knows it.
const ASKED: Span = s(1_200);
const BEGINS: Span = s(1_222);
/// By so much, and so long does that take.
const BY: Span = Span::from_millis(300);
const TAKES: Span = s(750);

/// Watches a run: whether bounds hold, how far apart the clocks are, and who complains.
#[derive(Default)]
struct Watch {
    /// A client whose bound is not asked: it is cut off, and cannot know.
    cut: Option<MemberIndex>,
    /// The largest distance of two clocks since the first settled, `cut` aside.
    worst: Span,
    /// The most that any clock stated.
    largest_bound: Span,
    /// The server's clock minus the truth, at each second; `None`: it does not run or has no time.
    server: Vec<Option<Span>>,
    reported: usize,
    late: Vec<(MemberIndex, Span, Adjustment)>,
    complaints: Vec<ReportedEvent>,
}

impl Observer for Watch {
    fn sampled(&mut self, sample: &Sample) {
        let mut sample = sample.clone();
        self.server
            .push(sample.clocks[0].filter(|clock| clock.state.has_cluster_time()).map(|clock| clock.off));
        if let Some(cut) = self.cut {
            let place = cut.place(sample.clients());
            sample.clocks[place] = None;
        }
        let beyond = sample.beyond_bounds().unwrap_or_default();
        assert!(
            beyond <= Span::ZERO,
            "at {}: {beyond} beyond what is stated: {:?}",
            sample.at,
            sample.clocks
        );
        if sample.at > s(600) {
            let offs: Vec<Span> = sample.synchronized().map(|(_, off)| off).collect();
            let apart =
                offs.iter().copied().max().zip(offs.iter().copied().min()).map(|(most, least)| most - least);
            self.worst = self.worst.max(apart.unwrap_or_default());
            let bounds = sample.clocks.iter().flatten().filter_map(|clock| clock.bound);
            self.largest_bound = self.largest_bound.max(bounds.max().unwrap_or_default());
        }
    }

    fn reported(&mut self, happening: &ReportedEvent) {
        let bad = match &happening.event {
            NodeEvent::Client(ClientEvent::TimeSet { late, adjustment, .. }) => {
                self.reported += 1;
                if late.span() != Span::ZERO {
                    self.late.push((happening.member, late.span(), *adjustment));
                }
                false
            }
            NodeEvent::Client(event) => matches!(
                event,
                ClientEvent::BoundBroken { .. }
                    | ClientEvent::Ignored { .. }
                    | ClientEvent::RefusedCorrection { .. }
            ),
            NodeEvent::Server(event) => matches!(
                event,
                ServerEvent::Falseticker(_) | ServerEvent::Deposed { .. } | ServerEvent::Undecided { .. }
            ),
            NodeEvent::Replica(_) => false,
        };
        if bad && happening.at > s(600) {
            self.complaints.push(happening.clone());
        }
    }
}

fn scenario(seed: u64, impairments: f64, faults: Vec<(Span, Fault)>) -> Scenario {
    Scenario {
        clients: 5,
        duration: s(2_400),
        impairments: loss(impairments),
        faults,
        ..Scenario::seeded(seed)
    }
}

fn watched(scenario: &Scenario, cut: Option<MemberIndex>) -> Watch {
    let _running = Running(scenario);
    let mut watch = Watch { cut, ..Watch::default() };
    Simulation::new(scenario).run_until(scenario.duration, &mut watch);
    watch
}

/// How much more the server's clock shows at second `at` of one run than of another.
fn moved(one: &Watch, other: &Watch, at: Span) -> Span {
    let index = (at.as_nanos() / 1_000_000_000 - 1) as usize;
    one.server[index].unwrap() - other.server[index].unwrap()
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn all_clocks_slew_together_and_neither_vote_nor_bound_notices() {
    for seed in seeds(0..3) {
        for impairments in [0.0, 0.2] {
            let calm = watched(&scenario(seed, impairments, vec![]), None);
            for by in [BY, -BY] {
                let set = vec![(ASKED, Fault::SetTime(by, Adjustment::Slew))];
                let watch = watched(&scenario(seed, impairments, set), None);
                assert_eq!((watch.reported, watch.late.len()), (5, 0), "seed {seed}: {:?}", watch.late);
                assert_eq!(watch.complaints, [], "seed {seed}");
                assert!(
                    watch.worst <= calm.worst + us(20),
                    "seed {seed}: {} and {}",
                    watch.worst,
                    calm.worst
                );
                assert!(watch.largest_bound <= calm.largest_bound + us(50), "seed {seed}");
                // The exchange of datagrams is another one from then on, and the server's own clock runs by
                // itself.
                let (begins, ends) = (BEGINS - s(1), BEGINS + TAKES + s(1));
                assert!(
                    moved(&watch, &calm, begins).abs() < us(20),
                    "seed {seed}: {}",
                    moved(&watch, &calm, begins)
                );
                let half = moved(&watch, &calm, BEGINS + TAKES.half()) - by.half();
                assert!(half.abs() < us(200), "seed {seed}: {half}");
                let all = moved(&watch, &calm, ends) - by;
                assert!(all.abs() < us(200), "seed {seed}: {all}");
            }
        }
    }
}

/// What every running clock shows minus the truth now, and its bound.
fn clocks(simulation: &mut Simulation) -> Vec<(Span, Span)> {
    let at = simulation.world().now();
    let members = simulation.world().members();
    let readings = (0..members).filter_map(|index| simulation.world().read(MemberIndex::client(index)));
    readings
        .filter_map(|reading| Some((Span::from_nanos(reading.time.as_nanos()) - at, reading.bound?)))
        .collect()
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn all_clocks_step_at_the_same_moment_and_the_bounds_cover_it() {
    let mut split_somewhere = 0;
    for seed in seeds(0..3) {
        for by in [s(3), s(-3)] {
            let set = vec![(ASKED, Fault::SetTime(by, Adjustment::Step))];
            let scenario = scenario(seed, 0.2, set);
            let _running = Running(&scenario);
            let mut simulation = Simulation::new(&scenario);
            let mut watch = Watch::default();
            // The server's second is not the true one, but over 20 s close.
            simulation.run_until(BEGINS - Span::from_millis(3), &mut watch);
            let before = clocks(&mut simulation);
            let (mut split, mut at) = (0, simulation.world().now());
            while at < BEGINS + Span::from_millis(3) {
                at += us(2);
                simulation.world().run_until(at);
                let now = clocks(&mut simulation);
                assert_eq!(now.len(), 6, "at {at}: all members state a bound");
                let least = now.iter().map(|(off, bound)| *off - *bound).max().unwrap();
                let most = now.iter().map(|(off, bound)| *off + *bound).min().unwrap();
                assert!(least <= most, "at {at}: {now:?}");
                let stepped =
                    now.iter().zip(&before).filter(|(now, before)| (now.0 - before.0).abs() > s(1)).count();
                split += u32::from(stepped != 0 && stepped != 6);
            }
            // For a few microseconds some have stepped, and some not yet.
            assert!(split <= 100, "seed {seed}: {split}");
            split_somewhere += split;
            let after = clocks(&mut simulation);
            for (now, before) in after.iter().zip(&before) {
                assert!((now.0 - before.0 - by).abs() < us(100), "seed {seed}: {now:?} {before:?}");
            }
            simulation.run_until(scenario.duration, &mut watch);
            assert_eq!((watch.reported, watch.late.len()), (5, 0));
            assert_eq!(watch.complaints, [], "seed {seed}");
        }
    }
    assert!(split_somewhere > 0, "the moment itself was never seen");
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn a_server_that_restarts_meanwhile_takes_the_setting_from_its_members() {
    for seed in seeds(0..3) {
        // While it is announced, while it is under way, and long after.
        for (crash, start) in [(s(1_210), s(1_212)), (s(1_500), s(1_530)), (s(2_100), s(2_103))] {
            let calm = watched(
                &scenario(
                    seed,
                    0.2,
                    vec![
                        (crash, Fault::Crash(MemberIndex::SERVER)),
                        (start, Fault::Start(MemberIndex::SERVER)),
                    ],
                ),
                None,
            );
            let faults = vec![
                (ASKED, Fault::SetTime(BY, Adjustment::Slew)),
                (crash, Fault::Crash(MemberIndex::SERVER)),
                (start, Fault::Start(MemberIndex::SERVER)),
            ];
            let watch = watched(&scenario(seed, 0.2, faults), None);
            assert_eq!(watch.complaints, [], "seed {seed}");
            assert_eq!(watch.late, [], "seed {seed}, crash at {crash}");
            assert!(watch.worst <= calm.worst + us(100), "seed {seed}: {} and {}", watch.worst, calm.worst);
            let all = moved(&watch, &calm, s(2_400)) - BY;
            assert!(all.abs() < Span::from_millis(1), "seed {seed}, crash at {crash}: {all}");
        }
    }
}

#[test]
fn a_client_that_joins_or_comes_back_meanwhile_shows_what_the_others_show() {
    for seed in seeds(0..3) {
        let (newcomer, restarted) = (MemberIndex::client(4), MemberIndex::client(5));
        let faults = vec![
            (s(2), Fault::Crash(newcomer)),
            (ASKED, Fault::SetTime(-BY, Adjustment::Slew)),
            (s(1_400), Fault::Crash(restarted)),
            (s(1_500), Fault::Start(newcomer)),
            (s(1_600), Fault::Start(restarted)),
        ];
        let watch = watched(&scenario(seed, 0.2, faults), None);
        assert_eq!(watch.late, [], "seed {seed}");
        assert!(watch.worst < Span::from_millis(1), "seed {seed}: {}", watch.worst);
    }
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn a_client_that_was_cut_off_makes_good_for_what_it_has_missed() {
    for seed in seeds(0..3) {
        let cut = MemberIndex::client(2);
        // By 59 ms it slews, by 300 ms it steps.
        for (heals, by, how) in
            [(s(1_370), Span::from_millis(60), Adjustment::Slew), (s(2_100), BY, Adjustment::Step)]
        {
            let faults = vec![
                (s(1_150), Fault::Cut(cut.into(), Directions::Both)),
                (ASKED, Fault::SetTime(BY, Adjustment::Slew)),
                (heals, Fault::Heal(cut.into())),
            ];
            let watch = watched(&scenario(seed, 0.0, faults), Some(cut));
            let [(member, late, adjustment)] = watch.late[..] else {
                panic!("seed {seed}: {:?}", watch.late)
            };
            assert_eq!((member, adjustment), (cut, how), "seed {seed}");
            assert!((late - by).abs() < Span::from_millis(8), "seed {seed}: {late}");
            assert!(watch.worst < us(200), "seed {seed}: {}", watch.worst);
        }
    }
}

#[test]
fn an_adjustment_that_few_had_received_when_the_server_died_is_cancelled() {
    for seed in seeds(0..3) {
        let (heard, others) = (MemberIndex::client(1), (2..=5).map(MemberIndex::client));
        let cut = others
            .clone()
            .map(|member| (ASKED - Span::from_millis(10), Fault::Cut(member.into(), Directions::Both)));
        let heals = others.map(|member| (s(1_206), Fault::Heal(member.into())));
        let mut faults = vec![
            (ASKED, Fault::SetTime(BY, Adjustment::Slew)),
            (s(1_205), Fault::Crash(MemberIndex::SERVER)),
            (s(1_216), Fault::Start(MemberIndex::SERVER)),
            (s(1_600), Fault::SetTime(-BY, Adjustment::Slew)),
        ];
        faults.extend(cut.chain(heals));
        faults.sort_by_key(|(at, _)| *at);
        let scenario = scenario(seed, 0.0, faults);
        let _running = Running(&scenario);
        let mut simulation = Simulation::new(&scenario);
        let mut watch = Watch { cut: Some(heard), ..Watch::default() };
        simulation.run_until(s(1_500), &mut watch);
        // It hears of the adjustment, begins it, and then hears that there is none.
        assert_eq!(watch.reported, 2, "seed {seed}: {:?}", watch.late);
        let [(member, late, _)] = watch.late[..] else { panic!("seed {seed}: {:?}", watch.late) };
        assert!(member == heard && late < Span::ZERO, "seed {seed}: {member} {late}");
        // The next adjustment has the number of the cancelled one.
        let mut watch = Watch::default();
        simulation.run_until(scenario.duration, &mut watch);
        assert_eq!((watch.reported, watch.late.len()), (5, 0), "seed {seed}: {:?}", watch.late);
        assert!(watch.worst < us(200), "seed {seed}: {}", watch.worst);
    }
}

#[test]
fn a_machine_that_sleeps_after_a_step_shows_it_when_it_wakes_up() {
    let faults = vec![
        (s(200), Fault::SetTime(s(2), Adjustment::Step)),
        (s(700), Fault::Sleep(MemberIndex::client(1), s(600))),
    ];
    let scenario = Scenario { duration: s(900), faults, impairments: loss(0.05), ..Scenario::seeded(4) };
    let _running = Running(&scenario);
    let mut simulation = Simulation::new(&scenario);
    simulation.run_until(s(900), &mut ());
    let apart = simulation.sample().disagreement().expect("all have a time");
    assert!(apart < us(500), "{apart}");
}
