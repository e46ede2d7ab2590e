//! Heartbeat and its acknowledgement: signs of life when there is nothing else to say.

use byteorder::{BigEndian, ByteOrder};

use super::BodyBytes;

/// Client to server: I am alive, are you? And the server's answer, with the same nonce.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// Random; the answer echoes it.
    pub nonce: u64,
}

impl Heartbeat {
    pub(super) fn encode(&self, body: &mut BodyBytes) {
        BigEndian::write_u64(&mut body[NONCE], self.nonce);
    }

    pub(super) fn decode(body: &BodyBytes) -> Heartbeat {
        Heartbeat { nonce: BigEndian::read_u64(&body[NONCE]) }
    }
}

const NONCE: std::ops::Range<usize> = 0..8;
