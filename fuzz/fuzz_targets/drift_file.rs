//! The file with the kept frequency, as it is and with a checksum that fits: what is believed is plausible, and means the same
//! when it is kept again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meantime::berkeley::drift;
use meantime::cli::memory::text::{Known, MAGIC, Owner, recalled, sealed, written};
use meantime::time::Timestamp;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    for text in [&*text, &sealed(&text), &sealed(&format!("{MAGIC}\nnode a\noscillator 7\nboot 8\n{text}"))] {
        check(text);
    }
});

fn check(text: &str) {
    let owner = Owner { node: "a".into(), oscillator: 7, boot: 8 };
    for now in
        [NOW, Timestamp::from_nanos(0), Timestamp::from_nanos(i64::MIN), Timestamp::from_nanos(i64::MAX)]
    {
        let Ok((frequency, error)) = recalled(text, &owner, now) else { continue };
        assert!(frequency.ppm().abs() <= 500.0 && error.ppm() >= 0.0, "{frequency:?} {error:?}");
        let kept = written(&owner, &Known { time: now, frequency, error });
        match recalled(&kept, &owner, now) {
            Ok((again, _)) => {
                assert!((again.ppb() - frequency.ppb()).abs() < 1e-3, "{again:?}, not {frequency:?}")
            }
            // With age it may have become too vague to be kept.
            Err(why) => assert!(!drift::is_plausible(frequency, error), "{why}: {kept}"),
        }
    }
}

/// 2025-08-21.
const NOW: Timestamp = Timestamp::from_nanos(1_755_793_812_123_456_789);
