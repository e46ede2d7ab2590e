//! Inside of a machine: answers the host's ping-pong and samples the clocks.

use std::path::PathBuf;
use std::{fs, io, thread, time::Duration};

use crate::page::{Page, SAMPLE_WORDS, Word};
use crate::{Failure, tsc};

/// Samples the clocks when the host wants it, and plays ping-pong when it asks; never ends.
pub(crate) fn observe() -> Result<(), Failure> {
    let page = Page::open(&shared_memory()?)?;
    let mut khz = None;
    loop {
        if page.get(Word::Requested) != page.get(Word::Played) {
            play(&page);
        }
        let khz = *khz.get_or_insert_with(estimate_khz);
        match until_next_sample(&page) {
            Some(counts) if counts <= khz * LOOK_EACH_MS => {
                sleep_counts(counts, khz);
                page.append(sample());
            }
            _ => thread::sleep(Duration::from_millis(LOOK_EACH_MS)),
        }
    }
}

/// Sets `CLOCK_REALTIME` to what it would show now, had it shown `nanoseconds` when the counter stood at
/// `counter`.
pub(crate) fn set_clock(counter: &str, nanoseconds: &str, khz: &str) -> Result<(), Failure> {
    let (counter, nanoseconds, khz): (u64, i64, f64) = (counter.parse()?, nanoseconds.parse()?, khz.parse()?);
    let since = tsc::read().wrapping_sub(counter) as i64;
    set_realtime(nanoseconds + (since as f64 * 1e6 / khz) as i64)
}

/// Sets `CLOCK_REALTIME` forward.
pub(crate) fn shift_clock(nanoseconds: &str) -> Result<(), Failure> {
    set_realtime(read_clock(libc::CLOCK_REALTIME) + nanoseconds.parse::<i64>()?)
}

/// The memory of QEMU's ivshmem device, as a file.
fn shared_memory() -> Result<PathBuf, Failure> {
    for device in fs::read_dir("/sys/bus/pci/devices")? {
        let device = device?.path();
        let id = |name| fs::read_to_string(device.join(name)).unwrap_or_default();
        if id("vendor").trim() == "0x1af4" && id("device").trim() == "0x1110" {
            return Ok(device.join("resource2"));
        }
    }
    Err("this machine shares no memory with its host".into())
}

/// A session of ping-pong. The host's counter was read between two readings of this machine's: that bounds
/// their difference from both sides; each exchange can only narrow it.
fn play(page: &Page) {
    let session = page.get(Word::Requested);
    let (mut least, mut most) = (i64::MIN, i64::MAX);
    let begin = tsc::read();
    for ping in (session << 32) + 1.. {
        let before = tsc::read();
        page.set(Word::Ping, ping);
        let mut answered = false;
        while !answered && tsc::read() - before < MAX_WAIT {
            answered = page.get(Word::Pong) == ping;
        }
        // Only what is read after the answer has been seen is later than it.
        let after = tsc::read();
        if answered {
            let host = page.get(Word::PongCounter);
            least = least.max(before.wrapping_sub(host) as i64);
            most = most.min(after.wrapping_sub(host) as i64);
        }
        let narrow = most.checked_sub(least).is_some_and(|width| width < NARROW);
        if narrow && ping as u32 >= ENOUGH || after - begin > SESSION {
            break;
        }
    }
    page.set(Word::Least, least as u64);
    page.set(Word::Most, most as u64);
    page.set(Word::Played, session);
}

/// How many counts from now the next sample is wanted.
fn until_next_sample(page: &Page) -> Option<u64> {
    let (origin, period) = (page.get(Word::Origin), page.get(Word::Period));
    let since = tsc::read().checked_sub(origin)?;
    (period > 0).then(|| period - since % period)
}

fn sleep_counts(counts: u64, khz: u64) {
    thread::sleep(Duration::from_nanos(counts * 1_000_000 / khz));
}

/// The readings that took least time of a few: then nothing came in between. Neither may be interrupted: each
/// clock is compared by the counter beside it.
fn sample() -> [u64; SAMPLE_WORDS] {
    let mut best = [u64::MAX; SAMPLE_WORDS];
    for _ in 0..TRIES {
        let first = tsc::read();
        let real = read_clock(libc::CLOCK_REALTIME);
        let second = tsc::read();
        let raw = read_clock(libc::CLOCK_MONOTONIC_RAW);
        let third = tsc::read();
        let middle = |from: u64, to: u64| from + (to - from) / 2;
        let longer = (second - first).max(third - second);
        if longer < best[4] {
            best = [middle(first, second), real as u64, middle(second, third), raw as u64, longer];
        }
    }
    best
}

/// About how many counts this machine has in a millisecond: good enough to sleep by.
fn estimate_khz() -> u64 {
    let (counter, raw) = (tsc::read(), read_clock(libc::CLOCK_MONOTONIC_RAW));
    thread::sleep(Duration::from_millis(200));
    let elapsed = (read_clock(libc::CLOCK_MONOTONIC_RAW) - raw).max(1) as u64;
    (tsc::read() - counter) * 1_000_000 / elapsed
}

/// A clock's time in ns.
#[expect(clippy::disallowed_methods, reason = "the witness compares clocks")]
#[expect(unsafe_code, reason = "the C library reads clocks")]
fn read_clock(clock: libc::clockid_t) -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is ours; these clocks are always there, so it is filled.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

#[expect(clippy::disallowed_methods, reason = "the witness disturbs the clock")]
#[expect(unsafe_code, reason = "the C library sets the clock")]
fn set_realtime(nanoseconds: i64) -> Result<(), Failure> {
    let time = libc::timespec {
        tv_sec: nanoseconds.div_euclid(1_000_000_000),
        tv_nsec: nanoseconds.rem_euclid(1_000_000_000),
    };
    // SAFETY: `time` is ours and only read.
    match unsafe { libc::clock_settime(libc::CLOCK_REALTIME, &time) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().into()),
    }
}

/// How often to look whether the host wants anything.
const LOOK_EACH_MS: u64 = 50;

/// How many readings the best is taken of.
const TRIES: usize = 5;

/// A ping is given up after so many counts, a fraction of a millisecond: the host's thread does not run just
/// now.
const MAX_WAIT: u64 = 1_000_000;

/// An interval of so many counts is narrow, 0.1 µs or so; but a session has at least so many pings, ...
const NARROW: i64 = 250;
const ENOUGH: u32 = 2_000;

/// ... and ends after so many counts, a second or less, whatever has come of it.
const SESSION: u64 = 2_000_000_000;
