//! Systems whose kernel takes no timestamps that this program knows of: user-space time has to do.

use std::io;

use nix::libc::in6_pktinfo;
use nix::sys::socket::ControlMessageOwned;

use crate::berkeley::StampId;
use crate::time::Timestamp;

/// Never there.
#[derive(Debug)]
pub(super) enum Departures {}

impl Departures {
    pub(super) fn request<S>(_socket: &S) -> io::Result<Departures> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn sent(&mut self, _id: Option<StampId>) {
        match *self {}
    }

    pub(super) fn failed<S>(&mut self, _socket: &S) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn next<S>(&mut self, _socket: &S) -> io::Result<Option<(StampId, Timestamp)>> {
        match *self {}
    }
}

pub(super) fn receive_stamp(_message: &ControlMessageOwned) -> Option<Timestamp> {
    None
}

pub(super) fn control_buffer() -> Vec<u8> {
    nix::cmsg_space!(in6_pktinfo)
}
