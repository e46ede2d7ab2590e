//! Steers a simulated kernel: it computes like `kernel/time/ntp.c`, and records its calls.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::clock::system::event::ForeignAdjustment;
use meantime_core::estimation::timescale::Timescale;
use meantime_core::event::Adjustment;
use meantime_core::time::Timestamp;

/// A machine: its oscillator, its kernel, and a node that publishes a time on it.
#[derive(Debug)]
struct Machine {
    raw: Raw,
    system: Timestamp,
    suspended: Span,
    kernel: KernelState,
    refuses: bool,
    /// The calls of `adjust`.
    adjustments: Vec<KernelAdjustment>,
    quieted: u32,
    timescale: Timescale,
    has_cluster_time: bool,
    error: Option<Span>,
    bound: Option<Span>,
}

#[derive(Clone, Debug)]
struct Fake(Rc<RefCell<Machine>>);

impl KernelClock for Fake {
    fn state(&self) -> io::Result<KernelState> {
        Ok(self.0.borrow().kernel)
    }

    fn adjust(&mut self, wanted: &KernelAdjustment) -> io::Result<()> {
        let mut machine = self.0.borrow_mut();
        if machine.refuses {
            return Err(io::Error::from_raw_os_error(nix::libc::EPERM));
        }
        machine.adjustments.push(*wanted);
        if let Some(step) = wanted.step {
            machine.step(step);
        }
        if let Some(frequency) = wanted.frequency {
            machine.kernel.frequency = frequency;
        }
        if let Some(status) = wanted.status {
            machine.kernel.status = status;
        }
        if let Some((max, _)) = wanted.errors {
            machine.kernel.max_error = max;
        }
        Ok(())
    }

    fn quiet(&mut self) -> io::Result<()> {
        let mut machine = self.0.borrow_mut();
        machine.quieted += 1;
        machine.kernel.offset = 0;
        machine.kernel.tick = KernelState::NOMINAL_TICK;
        machine.kernel.status = machine.kernel.status.without(KernelStatus::LOOPS);
        Ok(())
    }
}

impl Machine {
    /// As the kernel does it: a step forgets all slews and that the clock was synchronized.
    fn step(&mut self, by: Span) {
        self.system += by;
        self.kernel.offset = 0;
        self.kernel.status = self.kernel.status.with(KernelStatus::UNSYNCHRONIZED);
        self.kernel.max_error = Span::from_secs(16);
    }

    fn pass(&mut self, time: Span) {
        let ticks = Frequency::from_ratio((self.kernel.tick - KernelState::NOMINAL_TICK) as f64 / 1e4);
        let rate = self.kernel.frequency.frequency() + ticks;
        self.raw += time;
        self.system += time + rate.over(time);
        self.kernel.max_error += Frequency::from_ppm(500.0).over(time);
    }
}

fn config(on_conflict: OnConflict) -> SteeringConfig {
    SteeringConfig {
        step_threshold: Span::from_millis(128),
        max_slew: Frequency::from_ppm(500.0),
        on_conflict,
    }
}

/// A machine, and the steering of its clock.
struct Bench {
    machine: Rc<RefCell<Machine>>,
    steering: Steering<Fake>,
}

impl Bench {
    /// A machine whose system clock is ahead of the published time by `ahead`, and a node that is
    /// synchronized.
    fn new(ahead: Span) -> Bench {
        Bench::with(ahead, config(OnConflict::GiveWay))
    }

    fn with(ahead: Span, config: SteeringConfig) -> Bench {
        let machine = Machine {
            raw: START,
            system: Timestamp::from_nanos(START.as_nanos()) + ahead,
            suspended: Span::ZERO,
            kernel: KernelState {
                frequency: ScaledPpm::from_scaled(1_234_567),
                tick: 10_000,
                status: KernelStatus::UNSYNCHRONIZED,
                offset: 0,
                max_error: Span::from_secs(16),
            },
            refuses: false,
            adjustments: Vec::new(),
            quieted: 0,
            timescale: Timescale::free_running(START),
            has_cluster_time: true,
            error: Some(Span::from_micros(2)),
            bound: Some(Span::from_micros(110)),
        };
        let machine = Rc::new(RefCell::new(machine));
        Bench { steering: Steering::new(Fake(machine.clone()), config, Predecessor::NoneOrEnded), machine }
    }

    /// Follows once a second, as the event loop does.
    fn run(&mut self, seconds: u32) -> Vec<SystemClockEvent> {
        let mut events = Vec::new();
        for _ in 0..seconds {
            events.extend(self.follow());
            self.pass(Span::from_secs(1));
        }
        events
    }

    fn follow(&mut self) -> Vec<SystemClockEvent> {
        let (now, published) = {
            let machine = self.machine.borrow();
            let (raw, system, suspended) = (machine.raw, machine.system, machine.suspended);
            let (timescale, is_cluster_time) = (machine.timescale, machine.has_cluster_time);
            let (error, bound) = (machine.error, machine.bound);
            let published = move |raw| PublishedTime {
                time: timescale.published(raw),
                is_cluster_time,
                error,
                bound,
                frequency: timescale.frequency(),
            };
            (SystemClockReading { raw, system, suspended }, published)
        };
        self.steering.follow(now, &published)
    }

    fn pass(&self, time: Span) {
        self.machine.borrow_mut().pass(time);
    }

    /// The system's clock minus the published time.
    fn ahead(&self) -> Span {
        let machine = self.machine.borrow();
        machine.system - machine.timescale.published(machine.raw)
    }

    /// The node's clock is corrected: by this amount, and to this rate over the oscillator.
    fn correct(&self, by: Span, frequency: Frequency, how: Adjustment) {
        let machine = &mut *self.machine.borrow_mut();
        let phase = machine.timescale.phase_at(machine.raw) + machine.timescale.residue_at(machine.raw) + by;
        machine.timescale.set(machine.raw, phase, frequency, how);
    }

    /// The kernel's state, after another program has changed it.
    fn kernel(&self, tamper: impl FnOnce(&mut KernelState)) -> KernelState {
        let mut machine = self.machine.borrow_mut();
        tamper(&mut machine.kernel);
        machine.kernel
    }

    /// The maximum and the estimated error that were set last.
    fn errors(&self) -> (Span, Span) {
        let machine = self.machine.borrow();
        machine.adjustments.iter().rev().find_map(|adjustment| adjustment.errors).expect("an adjustment")
    }

    fn is_synchronized(&self) -> bool {
        !self.machine.borrow().kernel.status.has(KernelStatus::UNSYNCHRONIZED)
    }

    fn steps(&self) -> usize {
        self.machine.borrow().adjustments.iter().filter(|adjustment| adjustment.step.is_some()).count()
    }
}

#[test]
fn nothing_is_set_before_the_node_has_the_cluster_time() {
    let mut bench = Bench::new(Span::from_secs(5));
    bench.machine.borrow_mut().has_cluster_time = false;
    assert!(bench.run(20).is_empty());
    bench.steering.release();
    let machine = bench.machine.borrow();
    assert!(machine.adjustments.is_empty() && machine.quieted == 0);
}

#[test]
fn the_clock_of_a_killed_predecessor_is_called_unsynchronized_at_the_end_only() {
    let mut bench = Bench::new(Span::from_secs(5));
    bench.machine.borrow_mut().has_cluster_time = false;
    bench.machine.borrow_mut().kernel.status = KernelStatus::default();
    let (kernel, config) = (Fake(bench.machine.clone()), config(OnConflict::GiveWay));
    bench.steering = Steering::new(kernel, config, Predecessor::Killed);
    assert!(bench.run(20).is_empty());
    assert!(bench.is_synchronized() && bench.machine.borrow().adjustments.is_empty());
    let rate = bench.kernel(|_| {}).frequency;
    bench.steering.release();
    let kernel = bench.kernel(|_| {});
    assert_eq!((kernel.status, kernel.frequency), (KernelStatus::UNSYNCHRONIZED, rate));
}

#[test]
fn a_clock_that_is_far_off_is_stepped_at_first_and_called_synchronized() {
    let mut bench = Bench::new(Span::from_secs(3_600));
    let back = Correction::adding(Span::from_secs(-3_600));
    assert_eq!(
        bench.run(1),
        [SystemClockEvent::Following { missing: back }, SystemClockEvent::Stepped { added: back }]
    );
    assert!(bench.ahead().abs() <= Span::from_nanos(20), "{}", bench.ahead());
    let kernel = bench.kernel(|_| {});
    assert!(!kernel.status.has(KernelStatus::UNSYNCHRONIZED) && kernel.is_quiet());
    assert!(kernel.max_error < Span::from_millis(1), "{kernel:?}");
}

#[test]
fn a_small_distance_is_slewed_at_first_within_the_limit_and_soon_gone() {
    let mut bench = Bench::new(Span::from_millis(-8));
    let mut last = bench.machine.borrow().system;
    for _ in 0..60 {
        bench.run(1);
        let now = bench.machine.borrow().system;
        let rate = (now - last - Span::from_secs(1)).as_secs_f64();
        assert!(rate.abs() <= 500.1e-6, "a second was off by {rate} s");
        last = now;
    }
    assert_eq!(bench.steps(), 0);
    assert!(bench.ahead().abs() < Span::from_micros(1), "{}", bench.ahead());
}

#[test]
fn the_published_rate_is_followed_to_the_nanosecond() {
    let mut bench = Bench::new(Span::ZERO);
    bench.run(1);
    bench.correct(Span::ZERO, Frequency::from_ppm(-87.3), Adjustment::Slew);
    bench.run(30);
    let before = bench.ahead();
    bench.run(100);
    assert!((bench.ahead() - before).abs() < Span::from_nanos(20), "{} then {}", before, bench.ahead());
    assert!(bench.ahead().abs() < Span::from_nanos(100), "{}", bench.ahead());
}

#[test]
fn a_slew_of_the_published_time_is_followed_while_it_lasts() {
    let mut bench = Bench::new(Span::ZERO);
    bench.run(5);
    bench.correct(Span::from_millis(20), Frequency::ZERO, Adjustment::Slew);
    for _ in 0..60 {
        bench.run(1);
        assert!(bench.ahead().abs() < Span::from_micros(2), "{}", bench.ahead());
    }
    assert_eq!(bench.steps(), 0);
}

#[test]
fn a_slew_that_is_too_fast_for_the_kernel_is_caught_up_with() {
    let mut bench = Bench::new(Span::ZERO);
    bench.correct(Span::ZERO, Frequency::from_ppm(60.0), Adjustment::Slew);
    bench.run(5);
    bench.correct(Span::from_millis(100), Frequency::from_ppm(60.0), Adjustment::Slew);
    bench.run(200);
    assert!((Span::from_millis(10)..Span::from_millis(14)).contains(&-bench.ahead()), "{}", bench.ahead());
    bench.run(60);
    assert!(bench.ahead().abs() < Span::from_micros(1), "{}", bench.ahead());
    assert_eq!(bench.steps(), 0);
}

#[test]
fn a_step_of_the_published_time_is_a_step_of_the_systems() {
    let mut bench = Bench::new(Span::ZERO);
    bench.run(5);
    bench.correct(Span::from_secs(-2), Frequency::from_ppm(3.0), Adjustment::Step);
    let added = Correction::adding(Span::from_secs(-2));
    assert_eq!(bench.run(3), [SystemClockEvent::Stepped { added }]);
    assert!(bench.ahead().abs() < Span::from_nanos(50), "{}", bench.ahead());
}

#[test]
fn noise_of_reading_the_clocks_is_averaged() {
    let mut bench = Bench::new(Span::ZERO);
    bench.run(20);
    bench.machine.borrow_mut().system += Span::from_micros(4);
    bench.follow();
    bench.machine.borrow_mut().system += Span::from_micros(-4);
    bench.pass(Span::from_secs(1));
    assert!(bench.ahead().abs() <= Span::from_micros(1), "{}", bench.ahead());
}

#[test]
fn the_kernels_maximum_error_is_set_every_second() {
    let mut bench = Bench::new(Span::ZERO);
    bench.run(3_600);
    let kernel = bench.kernel(|_| {});
    assert!(kernel.max_error < Span::from_millis(1) && !kernel.status.has(KernelStatus::UNSYNCHRONIZED));
}

#[test]
fn the_kernels_errors_are_the_bound_and_the_estimate_each_plus_the_distance() {
    let mut bench = Bench::new(Span::ZERO);
    bench.run(60);
    let us = Span::from_micros;
    assert_eq!(bench.errors(), (us(110), us(2)));
    bench.correct(us(30), Frequency::ZERO, Adjustment::Step);
    bench.follow();
    assert_eq!(bench.errors(), (us(140), us(32)));
    // The clock of a server carries the cluster time: its only error is the distance.
    let mut server = Bench::new(Span::ZERO);
    (server.machine.borrow_mut().error, server.machine.borrow_mut().bound) =
        (Some(Span::ZERO), Some(Span::ZERO));
    server.run(2);
    assert_eq!(server.errors(), (Span::ZERO, Span::ZERO));
    assert!(server.is_synchronized());
}

#[test]
fn in_holdover_the_clock_runs_on_and_is_synchronized_while_its_bound_is_below_a_second() {
    let mut bench = Bench::new(Span::ZERO);
    bench.run(10);
    for (bound, synchronized) in [(999, true), (1_001, false), (999, true)] {
        bench.machine.borrow_mut().bound = Some(Span::from_millis(bound));
        bench.run(2);
        assert_eq!(bench.is_synchronized(), synchronized, "with a bound of {bound} ms");
    }
    assert!(bench.ahead().abs() < Span::from_micros(1), "{}", bench.ahead());
}

#[test]
fn a_bound_that_is_lost_grows_by_15_ppm_until_it_is_a_second() {
    let mut bench = Bench::new(Span::ZERO);
    bench.run(10);
    {
        let machine = &mut *bench.machine.borrow_mut();
        (machine.bound, machine.error) = (None, None);
    }
    bench.run(10 * 3_600);
    let (max, estimated) = bench.errors();
    assert!((Span::from_millis(539)..Span::from_millis(542)).contains(&max), "{max}");
    assert!(estimated <= max && bench.is_synchronized(), "{estimated}");
    bench.run(10 * 3_600);
    assert!(!bench.is_synchronized());
    assert!(bench.ahead().abs() < Span::from_micros(1), "but it still follows: {}", bench.ahead());
    bench.machine.borrow_mut().bound = Some(Span::from_micros(110));
    bench.run(1);
    assert!(bench.is_synchronized());
}

#[test]
fn a_clock_that_never_had_a_bound_is_unsynchronized() {
    let mut bench = Bench::new(Span::ZERO);
    bench.machine.borrow_mut().bound = None;
    bench.run(10);
    assert!(!bench.is_synchronized());
    assert_eq!(bench.errors(), (Span::from_secs(16), Span::from_micros(2)));
}

#[test]
fn a_node_that_loses_the_cluster_time_leaves_the_clock_at_the_learned_rate_and_unsynchronized() {
    let mut bench = Bench::new(Span::ZERO);
    bench.correct(Span::ZERO, Frequency::from_ppm(-12.5), Adjustment::Slew);
    bench.run(10);
    bench.correct(Span::from_millis(100), Frequency::from_ppm(-12.5), Adjustment::Slew);
    bench.run(5);
    bench.machine.borrow_mut().has_cluster_time = false;
    assert!(bench.run(1).is_empty());
    assert!(!bench.is_synchronized());
    let learned = ScaledPpm::nearest(Frequency::from_ppm(-12.5));
    assert_eq!(bench.kernel(|_| {}).frequency, learned);
    // Set once: another program may keep the clock meanwhile.
    let adjustments = bench.machine.borrow().adjustments.len();
    bench.run(600);
    assert_eq!(bench.machine.borrow().adjustments.len(), adjustments);
    bench.machine.borrow_mut().has_cluster_time = true;
    assert!(bench.run(300).is_empty(), "no disturbance, and not followed anew");
    assert!(bench.is_synchronized() && bench.ahead().abs() < Span::from_micros(1), "{}", bench.ahead());
}

#[test]
fn a_slew_that_an_earlier_daemon_left_is_ended() {
    let mut bench = Bench::new(Span::ZERO);
    bench.kernel(|kernel| {
        kernel.offset = 77;
        kernel.tick = 9_990;
        kernel.status = KernelStatus::from_bits(0x2001 | 0x0010 | 0x0040);
    });
    let events = bench.run(3);
    assert!(matches!(events[..], [SystemClockEvent::Following { .. }]), "{events:?}");
    assert_eq!(bench.kernel(|_| {}).status, KernelStatus::from_bits(0x2000));
    assert!(bench.kernel(|_| {}).is_quiet());
}

#[test]
fn adjustments_of_another_program_are_detected_and_reverted() {
    type Tamper = fn(&Bench);
    let disturbances: [(Tamper, ForeignAdjustment); 4] = [
        (|bench| _ = bench.kernel(|k| k.frequency = ScaledPpm::from_scaled(9)), ForeignAdjustment::Frequency),
        (|bench| _ = bench.kernel(|k| k.tick = 10_001), ForeignAdjustment::Slew),
        (
            |bench| _ = bench.kernel(|k| k.status = k.status.with(KernelStatus::LOOPS)),
            ForeignAdjustment::Slew,
        ),
        (
            |bench| bench.machine.borrow_mut().step(Span::from_millis(500)),
            ForeignAdjustment::Step(Correction::adding(Span::from_millis(500))),
        ),
    ];
    for (disturb, how) in disturbances {
        let mut bench = Bench::new(Span::ZERO);
        assert_eq!(bench.run(20).len(), 1, "it follows");
        disturb(&bench);
        assert_eq!(bench.follow()[0], SystemClockEvent::Disturbed { how });
        assert!(bench.run(60).is_empty(), "{how:?}");
        assert!(bench.ahead().abs() < Span::from_micros(1), "{how:?}: {}", bench.ahead());
        assert!(bench.kernel(|_| {}).is_quiet(), "{how:?}");
    }
}

#[test]
fn the_clock_is_left_to_another_daemon_the_third_time() {
    let mut bench = Bench::new(Span::ZERO);
    bench.run(5);
    let mut events = Vec::new();
    for _ in 0..5 {
        bench.kernel(|kernel| kernel.frequency = ScaledPpm::from_scaled(9));
        events.extend(bench.run(60));
    }
    let disturbed = SystemClockEvent::Disturbed { how: ForeignAdjustment::Frequency };
    assert_eq!(events, [disturbed.clone(), disturbed.clone(), disturbed, SystemClockEvent::GivenUp]);
    bench.steering.release();
    let kernel = bench.kernel(|_| {});
    assert_eq!(kernel.frequency, ScaledPpm::from_scaled(9), "the other daemon controls it");
    assert!(kernel.status.has(KernelStatus::UNSYNCHRONIZED), "and must call it synchronized itself");
}

#[test]
fn a_program_that_sets_the_clock_now_and_then_is_no_daemon() {
    let mut bench = Bench::new(Span::ZERO);
    bench.run(5);
    for _ in 0..5 {
        bench.machine.borrow_mut().step(Span::from_secs(60));
        let events = bench.run(900);
        assert!(!events.contains(&SystemClockEvent::GivenUp), "{events:?}");
    }
    assert!(bench.ahead().abs() < Span::from_micros(1));
}

#[test]
fn with_force_the_clock_is_never_left_to_another_program() {
    let mut bench = Bench::with(Span::ZERO, config(OnConflict::Insist));
    bench.run(5);
    for _ in 0..10 {
        bench.kernel(|kernel| kernel.frequency = ScaledPpm::from_scaled(9));
        assert_eq!(bench.follow(), [SystemClockEvent::Disturbed { how: ForeignAdjustment::Frequency }]);
        bench.pass(Span::from_secs(1));
    }
}

#[test]
fn after_a_suspension_the_systems_time_is_not_set_back_to_before_it() {
    let mut bench = Bench::new(Span::ZERO);
    bench.run(5);
    // The oscillator stands still; the kernel puts its time forward.
    bench.machine.borrow_mut().suspended = Span::from_secs(3_000);
    bench.machine.borrow_mut().system += Span::from_secs(3_000);
    bench.machine.borrow_mut().bound = None;
    assert!(bench.run(20).is_empty());
    assert_eq!(bench.steps(), 0);
    assert!(bench.kernel(|_| {}).status.has(KernelStatus::UNSYNCHRONIZED), "it has no bound meanwhile");
    bench.correct(Span::from_secs(3_000) + Span::from_millis(300), Frequency::ZERO, Adjustment::Step);
    bench.run(60);
    assert!(bench.ahead().abs() < Span::from_millis(280), "{}", bench.ahead());
    bench.run(60);
    assert!(bench.ahead().abs() < Span::from_micros(1), "{}", bench.ahead());
    assert!(!bench.is_synchronized(), "a bound from before the suspension does not hold");
    bench.machine.borrow_mut().bound = Some(Span::from_micros(110));
    bench.run(1);
    assert!(bench.is_synchronized());
}

#[test]
fn after_the_end_the_learned_rate_stays_without_the_slew_and_the_clock_is_unsynchronized() {
    let mut bench = Bench::new(Span::ZERO);
    bench.correct(Span::ZERO, Frequency::from_ppm(-12.5), Adjustment::Slew);
    bench.run(10);
    bench.correct(Span::from_millis(100), Frequency::from_ppm(-12.5), Adjustment::Slew);
    bench.run(5);
    assert!(bench.kernel(|_| {}).frequency.frequency().ppm() > 400.0);
    bench.steering.release();
    let kernel = bench.kernel(|_| {});
    assert_eq!(kernel.frequency, ScaledPpm::nearest(Frequency::from_ppm(-12.5)));
    assert_eq!(kernel.status, KernelStatus::UNSYNCHRONIZED);
}

#[test]
fn a_kernel_that_refuses_is_reported_once_and_called_again() {
    let mut bench = Bench::new(Span::ZERO);
    bench.machine.borrow_mut().refuses = true;
    let events = bench.run(10);
    assert!(
        matches!(&events[..], [SystemClockEvent::Failed { error }] if error.contains("not permitted")),
        "{events:?}"
    );
    bench.machine.borrow_mut().refuses = false;
    assert!(matches!(bench.run(1)[..], [SystemClockEvent::Following { .. }]));
}

const START: Raw = Raw::from_nanos(1_800_000_000_000_000_000);
