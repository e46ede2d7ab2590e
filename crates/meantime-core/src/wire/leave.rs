//! Leave: the end of a session, announced by either side.

use core::fmt;

use super::datagram::BodyBytes;
use super::error::DecodeError;

/// Either way: the sender ends this session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leave {
    /// Why.
    pub reason: LeaveReason,
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum LeaveReason {
    /// The sender is shutting down.
    Shutdown = 1,
}

impl fmt::Display for LeaveReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LeaveReason::Shutdown => "shutting down",
        })
    }
}

impl Leave {
    pub(super) fn encode(&self, body: &mut BodyBytes) {
        body[REASON] = self.reason as u8;
    }

    pub(super) fn decode(body: &BodyBytes) -> Result<Leave, DecodeError> {
        match body[REASON] {
            1 => Ok(Leave { reason: LeaveReason::Shutdown }),
            _ => Err(DecodeError::Field("reason")),
        }
    }
}

/// At byte eight, like a Reject's: the first eight bytes of a body are a nonce wherever there is one.
const REASON: usize = 8;
