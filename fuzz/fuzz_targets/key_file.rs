//! A key file: as it is, and with lines that are nearly right. What is read means the same when it is written
//! again, and an error's text has no part of any key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meantime::store::key_file::{KeyFile, MAX_KEYS};
use meantime_core::wire::Name;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    check(&text);
    // So that the words after the digits are reached, too.
    check(&text.replace('@', DIGITS));
});

fn check(text: &str) {
    let file = match KeyFile::parse(text) {
        Ok(file) => file,
        Err(error) => {
            let reason = error.to_string();
            assert!(!reason.contains(&DIGITS[..16]) && reason.lines().count() == 1, "{reason}");
            return;
        }
    };
    assert!((1..=MAX_KEYS).contains(&file.keys().len()));
    assert!(KeyFile::parse(&file.text()).is_ok_and(|parsed| parsed == file), "its text means something else");
    let name = file.owner().unwrap_or(Name::new("a"));
    assert!(file.node_keys(&name).is_ok_and(|keys| !keys.is_empty()));
    assert_eq!(file.master_keys().is_ok(), file.owner().is_none());
}

const DIGITS: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
