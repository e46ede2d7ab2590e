//! No kernel timestamps here: the program's own have to do.

use std::io;

use crate::udp::datagram::{Stamping, TransmitStamp};
use meantime_core::StampId;

/// Does not exist here.
#[derive(Debug)]
pub(in crate::udp) enum TransmitTimestamps {}

impl TransmitTimestamps {
    pub(in crate::udp) fn request<S>(_socket: &S, _stamping: Stamping) -> io::Result<TransmitTimestamps> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(in crate::udp) fn stamping(&self) -> Stamping {
        match *self {}
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
        _report: &mut dyn FnMut(TransmitStamp),
    ) -> io::Result<bool> {
        match *self {}
    }
}
