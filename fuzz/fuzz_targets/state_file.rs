//! A node's state file, as it is and with a valid checksum: figures that are used are plausible, and mean the
//! same when they are written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meantime::store::state_file::format::{
    MAGIC, ReadTime, StateFileOwner, recall, serialize, with_checksum,
};
use meantime_core::PlausibleTimes;
use meantime_core::saved_state::{Mark, Recalled, SavedState};
use meantime_core::time::{Raw, Span, Timestamp};

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let with_header = with_checksum(&format!("{MAGIC}\nnode a\noscillator 7\nboot 8\n{text}"));
    for text in [&*text, &with_checksum(&text), &with_header] {
        check(text);
    }
});

fn check(text: &str) {
    let owner = StateFileOwner { node: "a".into(), oscillator: 7, boot: Some(8) };
    for wall_clock in
        [NOW, Timestamp::from_nanos(0), Timestamp::from_nanos(i64::MIN), Timestamp::from_nanos(i64::MAX)]
    {
        let now = ReadTime { wall_clock, mark: MARK, plausible: PlausibleTimes::default() };
        let Ok(recalled) = recall(text, &owner, now) else { continue };
        let Recalled { frequency, error, time, cluster, manual_adjustment, .. } = recalled;
        assert!(frequency.ppm().abs() <= 500.0 && error.ppm() >= 0.0, "{frequency:?} {error:?}");
        if let Ok(time) = time {
            assert!(PlausibleTimes::default().contains(time), "{time:?}");
        }
        let saved = time.unwrap_or(NOW);
        let known = SavedState { cluster, time: saved, manual_adjustment, at: MARK, frequency, error };
        match recall(&serialize(&owner, &known), &owner, now) {
            Ok(again) => {
                let difference = again.frequency.ppb() - frequency.ppb();
                assert!(difference.abs() < 1e-3, "{again:?}, not {frequency:?}");
                assert!(time.is_err() || again.time == time, "{again:?}, not {time:?}");
                assert_eq!(again.manual_adjustment, manual_adjustment);
            }
            // With age its error may have become too large.
            Err(error) => assert!(!known.is_plausible(), "{error}: {known:?}"),
        }
    }
}

/// The machine's oscillator has run for ten days, and the machine has slept for one.
const MARK: Mark = Mark { oscillator: Raw::from_nanos(864_000_000_000_000), slept: Span::from_secs(86_400) };
/// 2025-08-21.
const NOW: Timestamp = Timestamp::from_nanos(1_755_793_812_123_456_789);
