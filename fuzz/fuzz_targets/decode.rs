//! A datagram: read, written and read again, it is the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meantime_core::wire::Message;

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = Message::decode(bytes) else { return };
    let written = message.encode();
    assert_eq!(Message::decode(&written), Ok(message));
    assert_eq!(Message::decode(&written).map(|again| again.encode()), Ok(written));
});
