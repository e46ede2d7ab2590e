//! The file with the kept frequency and time, as it is and with a checksum that fits: what is believed is plausible, and means the
//! same when it is kept again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meantime::berkeley::config::PLAUSIBLE_FROM;
use meantime::berkeley::drift;
use meantime::cli::memory::text::{Known, MAGIC, Mark, Owner, Recalled, recalled, sealed, written};
use meantime::clock::HostRaw;
use meantime::time::{Frequency, Span, Timestamp};

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    for text in [&*text, &sealed(&text), &sealed(&format!("{MAGIC}\nnode a\noscillator 7\nboot 8\n{text}"))] {
        check(text);
    }
});

fn check(text: &str) {
    let owner = Owner { node: "a".into(), oscillator: 7, boot: 8, drift: Frequency::from_ppm(30.0) };
    for now in
        [NOW, Timestamp::from_nanos(0), Timestamp::from_nanos(i64::MIN), Timestamp::from_nanos(i64::MAX)]
    {
        let Ok(Recalled { frequency, error, time }) = recalled(text, &owner, now, AT) else { continue };
        assert!(frequency.ppm().abs() <= 500.0 && error.ppm() >= 0.0, "{frequency:?} {error:?}");
        assert!(time.is_none_or(|time| time >= PLAUSIBLE_FROM), "{time:?}");
        let known = Known { time: time.unwrap_or(now), at: AT, frequency, error };
        match recalled(&written(&owner, &known), &owner, now, AT) {
            Ok(again) => {
                assert!((again.frequency.ppb() - frequency.ppb()).abs() < 1e-3, "{again:?}, not {frequency:?}");
                assert!(time.is_none() || again.time == time, "{again:?}, not {time:?}");
            }
            // With age it may have become too vague to be kept.
            Err(why) => assert!(!drift::is_plausible(frequency, error), "{why}: {known:?}"),
        }
    }
}

/// The machine's oscillator read ten days then, and the machine had slept for one.
const AT: Mark = Mark { host: HostRaw::from_nanos(864_000_000_000_000), slept: Span::from_secs(86_400) };
/// 2025-08-21.
const NOW: Timestamp = Timestamp::from_nanos(1_755_793_812_123_456_789);
