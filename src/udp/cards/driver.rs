//! The requests by which the kernel's drivers tell and change what network cards stamp
//! (`ETHTOOL_GET_TS_INFO`, `SIOCGHWTSTAMP`, `SIOCSHWTSTAMP`).

use std::fs;
use std::io;
use std::os::fd::AsRawFd;

use nix::net::if_::{if_indextoname, if_nametoindex};
use socket2::{Domain, Type};

use super::settings::{CardSettings, Offer, TimestampInfo};
use crate::udp::card_error::CardError;

/// The drivers of a machine's network cards: the kernel's, and in tests a model of them.
pub(super) trait CardDriver {
    /// The index of the interface of this name.
    ///
    /// # Errors
    /// When there is none.
    fn index(&self, name: &str) -> io::Result<u32>;

    /// The name that the interface of this index has now.
    ///
    /// # Errors
    /// When there is none: the card is gone.
    fn name(&self, interface: u32) -> io::Result<String>;

    /// What the card `name` can do.
    ///
    /// # Errors
    /// When it stamps nothing that can be used.
    fn offer(&self, name: &str) -> Result<Offer, CardError>;

    /// The settings of the card `name`.
    ///
    /// # Errors
    /// When it does not tell them.
    fn settings(&self, name: &str) -> io::Result<CardSettings>;

    /// Sets the card `name`; the settings that its driver has made of these.
    ///
    /// # Errors
    /// When it refuses them.
    fn set(&self, name: &str, settings: CardSettings) -> io::Result<CardSettings>;
}

/// The kernel's drivers.
#[derive(Clone, Copy, Debug)]
pub(super) struct KernelDriver;

impl CardDriver for KernelDriver {
    fn index(&self, name: &str) -> io::Result<u32> {
        Ok(if_nametoindex(name)?)
    }

    fn name(&self, interface: u32) -> io::Result<String> {
        // nix does not see the failure of this call, and returns an empty name.
        let name = if_indextoname(interface)?.into_string().map_err(io::Error::other)?;
        if name.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(name) }
    }

    fn offer(&self, name: &str) -> Result<Offer, CardError> {
        let mut info = TimestampInfo::question();
        request(name, libc::SIOCETHTOOL as _, &mut info).map_err(|error| match error.raw_os_error() {
            Some(libc::EOPNOTSUPP | libc::EINVAL) => CardError::NotOffered,
            _ => CardError::Unknown(error),
        })?;
        let offer = Offer::from_info(&info)?;
        // Only with the datagram itself does the kernel return its interface; other namespaces lack the
        // setting.
        let allowed = fs::read_to_string("/proc/sys/net/core/tstamp_allow_data");
        if allowed.is_ok_and(|allowed| allowed.trim() == "0") {
            return Err(CardError::NoInterfaces);
        }
        Ok(offer)
    }

    fn settings(&self, name: &str) -> io::Result<CardSettings> {
        let mut config = config(CardSettings::OFF);
        request(name, libc::SIOCGHWTSTAMP, &mut config)?;
        Ok(CardSettings { transmit: config.tx_type, receive: config.rx_filter })
    }

    fn set(&self, name: &str, settings: CardSettings) -> io::Result<CardSettings> {
        let mut config = config(settings);
        request(name, libc::SIOCSHWTSTAMP, &mut config)?;
        Ok(CardSettings { transmit: config.tx_type, receive: config.rx_filter })
    }
}

fn config(settings: CardSettings) -> libc::hwtstamp_config {
    libc::hwtstamp_config { flags: 0, tx_type: settings.transmit, rx_filter: settings.receive }
}

/// Structures of integers that these requests take.
trait Request {}
impl Request for TimestampInfo {}
impl Request for libc::hwtstamp_config {}

/// Asks something of the network interface `name`.
#[expect(unsafe_code, reason = "no safe wrapper makes these calls")]
#[expect(clippy::disallowed_types, reason = "a socket only names the network whose interface is asked")]
fn request<T: Request>(name: &str, what: libc::c_ulong, argument: &mut T) -> io::Result<()> {
    let socket = socket2::Socket::new(Domain::IPV4, Type::DGRAM, None)
        .or_else(|_| socket2::Socket::new(Domain::IPV6, Type::DGRAM, None))?;
    // SAFETY: all bits zero is a value of this structure of integers and pointers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as _;
    }
    request.ifr_ifru.ifru_data = std::ptr::from_mut(argument).cast();
    // SAFETY: the request names an interface, ends with a zero, and points to the structure that this request
    // reads and writes; both outlive the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), what as _, &raw mut request) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_has_a_name_while_it_exists() {
        let index = KernelDriver.index("lo").unwrap();
        assert_eq!(KernelDriver.name(index).unwrap(), "lo");
        assert!(KernelDriver.name(u32::MAX).is_err() && KernelDriver.index("no-such-card").is_err());
    }
}
