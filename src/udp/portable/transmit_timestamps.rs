//! No kernel timestamps here: the program's own have to do.

use std::io;

use meantime_core::StampId;
use meantime_core::time::Timestamp;

/// Does not exist here.
#[derive(Debug)]
pub(in crate::udp) enum TransmitTimestamps {}

impl TransmitTimestamps {
    pub(in crate::udp) fn request<S>(_socket: &S) -> io::Result<TransmitTimestamps> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(in crate::udp) fn sent(&mut self, _id: StampId) {
        match *self {}
    }

    pub(in crate::udp) fn failed<S>(&mut self, _socket: &S) -> io::Result<()> {
        match *self {}
    }

    pub(in crate::udp) fn take<S>(
        &mut self,
        _socket: &S,
        _report: &mut dyn FnMut(StampId, Timestamp),
    ) -> io::Result<bool> {
        match *self {}
    }
}
