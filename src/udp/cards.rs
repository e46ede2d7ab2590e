//! Network cards that stamp datagrams: which ones this machine's addresses use, what they offer, and their
//! settings (`ETHTOOL_GET_TS_INFO`, `SIOCGHWTSTAMP`, `SIOCSHWTSTAMP`).
//!
//! The settings belong to the machine, and other programs (a PTP daemon) may rely on them. So they are
//! changed only if they do not do already, only by adding to what is stamped, and only for the cards that
//! carry the node's own datagrams. They are restored unless another program has changed them since.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::fmt;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::str::FromStr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use socket2::{Domain, Type};

use super::address::address_of;
use super::card_error::{CardError, CardSetup};
use crate::clock::Direction;

/// What a card is set to stamp, in the numbers of `linux/net_tstamp.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CardSettings {
    transmit: c_int,
    receive: c_int,
}

/// A card that stamps datagrams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantedCard {
    /// The index of its interface.
    pub interface: u32,
    /// The number of its clock, as in `/dev/ptp0`.
    pub clock: u32,
    /// What it stamps.
    pub directions: Vec<Direction>,
    /// The settings to restore, if they were changed.
    pub saved: Option<SavedSettings>,
}

/// The settings of a card before they were changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedSettings {
    name: String,
    before: CardSettings,
    changed: CardSettings,
}

/// The names of the network cards that carry the datagrams of the address `local`, each with the indexes of
/// the interfaces above it (VLANs, bonds, bridges). Without an address: of all addresses of this machine.
pub fn cards_below(local: Option<IpAddr>) -> BTreeMap<String, Vec<u32>> {
    let mut cards = BTreeMap::new();
    for interface in getifaddrs().into_iter().flatten() {
        let address = interface.address.as_ref().and_then(address_of);
        let is_asked = address.is_some_and(|address| local.is_none_or(|local| local == address));
        let is_up = interface.flags.contains(InterfaceFlags::IFF_UP);
        if is_asked && is_up && !interface.flags.contains(InterfaceFlags::IFF_LOOPBACK) {
            add_cards(without_label(&interface.interface_name), &mut Vec::new(), &mut cards);
        }
    }
    cards
}

/// The interface of an address, which may have a label of its own: `eth0:1` is an address of `eth0`.
fn without_label(name: &str) -> &str {
    name.split(':').next().unwrap_or(name)
}

/// Adds the cards at the bottom of the interface `name`, which is below the interfaces `above`.
fn add_cards(name: &str, above: &mut Vec<u32>, cards: &mut BTreeMap<String, Vec<u32>>) {
    let lower = lower_interfaces(name);
    if lower.is_empty() || above.len() == MAX_DEPTH {
        if cards.len() < MAX_CARDS || cards.contains_key(name) {
            let known = cards.entry(name.to_owned()).or_default();
            known.extend(above.iter().filter(|index| !known.contains(index)).copied().collect::<Vec<_>>());
        }
        return;
    }
    let Ok(index) = if_nametoindex(name) else { return };
    above.push(index);
    lower.iter().for_each(|lower| add_cards(lower, above, cards));
    above.pop();
}

/// The interfaces right below this one.
fn lower_interfaces(name: &str) -> Vec<String> {
    let entries = fs::read_dir(format!("/sys/class/net/{name}")).into_iter().flatten().flatten();
    let name = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_prefix("lower_").map(str::to_owned);
    entries.filter_map(name).collect()
}

/// Makes the card `name` stamp datagrams, as far as it can; or leaves its settings as they are.
///
/// # Errors
/// When it stamps none.
pub fn request_stamps(name: &str, setup: CardSetup) -> Result<GrantedCard, CardError> {
    let interface = if_nametoindex(name).map_err(|error| CardError::Unknown(error.into()))?;
    let offer = Offer::of(name)?;
    // Only with the datagram itself does the kernel return its interface; other namespaces lack the setting.
    if fs::read_to_string("/proc/sys/net/core/tstamp_allow_data").is_ok_and(|allowed| allowed.trim() == "0") {
        return Err(CardError::NoInterfaces);
    }
    // Without knowing them, the settings of another program would be lost.
    let before = CardSettings::of(name).map_err(CardError::Unknown)?;
    let wanted = match setup {
        CardSetup::Change => offer.wanted(before),
        CardSetup::Keep if before.directions(offer).is_empty() => return Err(CardError::SwitchedOff),
        CardSetup::Keep => before,
    };
    let mut saved = None;
    let granted = match wanted == before {
        true => before,
        false => match wanted.set(name) {
            Ok(changed) => {
                saved = Some(SavedSettings { name: name.to_owned(), before, changed });
                changed
            }
            // What is stamped already may do.
            Err(_) if !before.directions(offer).is_empty() => before,
            Err(error) => return Err(why_not_set(error)),
        },
    };
    let directions = granted.directions(offer);
    if directions.is_empty() {
        // Whatever was changed is of no use.
        saved.iter().for_each(|saved| drop(saved.restore()));
        return Err(CardError::OtherProtocols);
    }
    Ok(GrantedCard { interface, clock: offer.clock, directions, saved })
}

/// Why the settings of a card were not changed, by the error of that call.
fn why_not_set(error: io::Error) -> CardError {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => CardError::NotAllowed,
        Some(libc::EBUSY) => CardError::InUse,
        Some(libc::ERANGE | libc::EINVAL) => CardError::NoSuchSettings,
        Some(libc::EOPNOTSUPP | libc::ENOTTY) => CardError::Unchangeable,
        _ => CardError::Refused(error),
    }
}

/// What a card can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Offer {
    clock: u32,
    transmits: bool,
    receives: bool,
    /// Whether it can stamp all datagrams that it receives.
    receives_all: bool,
}

impl Offer {
    fn of(name: &str) -> Result<Offer, CardError> {
        let mut info = TimestampInfo { command: ETHTOOL_GET_TS_INFO, ..TimestampInfo::default() };
        request(name, libc::SIOCETHTOOL as _, &mut info).map_err(|error| match error.raw_os_error() {
            Some(libc::EOPNOTSUPP | libc::EINVAL) => CardError::NotOffered,
            _ => CardError::Unknown(error),
        })?;
        Offer::from_info(&info)
    }

    fn from_info(info: &TimestampInfo) -> Result<Offer, CardError> {
        let offers = |flag| info.so_timestamping & flag != 0;
        let is_raw = offers(libc::SOF_TIMESTAMPING_RAW_HARDWARE);
        let transmits = is_raw && offers(libc::SOF_TIMESTAMPING_TX_HARDWARE);
        let receives = is_raw && offers(libc::SOF_TIMESTAMPING_RX_HARDWARE);
        if !transmits && !receives {
            return Err(CardError::NotOffered);
        }
        Ok(Offer {
            clock: info.clock.try_into().map_err(|_| CardError::NoClock)?,
            transmits: transmits && info.transmit_types & (1 << libc::HWTSTAMP_TX_ON) != 0,
            receives,
            receives_all: receives && info.receive_filters & (1 << libc::HWTSTAMP_FILTER_ALL) != 0,
        })
    }

    /// The settings with which the card stamps as much as it can, and no less than `before`.
    fn wanted(self, before: CardSettings) -> CardSettings {
        let off = CardSettings::OFF;
        let transmit =
            if self.transmits && before.transmit == off.transmit { TX_ON } else { before.transmit };
        CardSettings { transmit, receive: if self.receives_all { RX_ALL } else { before.receive } }
    }
}

impl CardSettings {
    /// Nothing is stamped.
    const OFF: CardSettings =
        CardSettings { transmit: libc::HWTSTAMP_TX_OFF as _, receive: libc::HWTSTAMP_FILTER_NONE as _ };

    /// The settings of the card `name`.
    fn of(name: &str) -> io::Result<CardSettings> {
        let mut config = CardSettings::OFF.config();
        request(name, libc::SIOCGHWTSTAMP, &mut config)?;
        Ok(CardSettings { transmit: config.tx_type, receive: config.rx_filter })
    }

    /// Sets the card `name`; the settings that its driver has made of these.
    fn set(self, name: &str) -> io::Result<CardSettings> {
        let mut config = self.config();
        request(name, libc::SIOCSHWTSTAMP, &mut config)?;
        Ok(CardSettings { transmit: config.tx_type, receive: config.rx_filter })
    }

    fn config(self) -> libc::hwtstamp_config {
        libc::hwtstamp_config { flags: 0, tx_type: self.transmit, rx_filter: self.receive }
    }

    /// What a card with this offer stamps of all datagrams.
    fn directions(self, offer: Offer) -> Vec<Direction> {
        let receives = offer.receives && self.receive == RX_ALL;
        let transmits = offer.transmits && self.transmit != CardSettings::OFF.transmit;
        let each = [(Direction::Receive, receives), (Direction::Transmit, transmits)];
        each.into_iter().filter_map(|(direction, granted)| granted.then_some(direction)).collect()
    }
}

impl SavedSettings {
    /// Restores them, unless another program has changed them meanwhile.
    ///
    /// # Errors
    /// When the card refuses them.
    pub fn restore(&self) -> io::Result<()> {
        if CardSettings::of(&self.name)? != self.changed {
            return Ok(());
        }
        self.before.set(&self.name).map(drop)
    }
}

/// As in `eth0:0:0:1:1`: the interface, its settings before, and as they were changed.
impl fmt::Display for SavedSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SavedSettings { name, before, changed } = self;
        let [a, b, c, d] = [before.transmit, before.receive, changed.transmit, changed.receive];
        write!(f, "{name}:{a}:{b}:{c}:{d}")
    }
}

impl FromStr for SavedSettings {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<SavedSettings, &'static str> {
        let parse = || {
            let mut parts = text.split(':');
            let name = parts.next().filter(|name| !name.is_empty())?.to_owned();
            let mut settings = || {
                let transmit = parts.next()?.parse().ok()?;
                Some(CardSettings { transmit, receive: parts.next()?.parse().ok()? })
            };
            let (before, changed) = (settings()?, settings()?);
            parts.next().is_none().then_some(SavedSettings { name, before, changed })
        };
        parse().ok_or("expected the settings of a network card, as in eth0:0:0:1:1")
    }
}

/// `struct ethtool_ts_info`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct TimestampInfo {
    command: u32,
    so_timestamping: u32,
    clock: i32,
    transmit_types: u32,
    transmit_reserved: [u32; 3],
    receive_filters: u32,
    receive_reserved: [u32; 3],
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

/// Of `linux/ethtool.h`.
const ETHTOOL_GET_TS_INFO: u32 = 0x41;
const TX_ON: c_int = libc::HWTSTAMP_TX_ON as _;
const RX_ALL: c_int = libc::HWTSTAMP_FILTER_ALL as _;
/// A VLAN on a bond in a bridge has two interfaces between it and its cards.
const MAX_DEPTH: usize = 8;
/// Each card is read once for a batch of datagrams that it has stamped.
const MAX_CARDS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const HARDWARE: u32 = libc::SOF_TIMESTAMPING_RAW_HARDWARE
        | libc::SOF_TIMESTAMPING_TX_HARDWARE
        | libc::SOF_TIMESTAMPING_RX_HARDWARE;

    /// What a card tells that stamps what is sent, and with these filters what is received.
    fn info(so_timestamping: u32, receive_filters: u32) -> TimestampInfo {
        TimestampInfo { so_timestamping, transmit_types: 0b11, receive_filters, ..TimestampInfo::default() }
    }

    fn settings(transmit: c_int, receive: c_int) -> CardSettings {
        CardSettings { transmit, receive }
    }

    #[test]
    fn a_card_that_stamps_everything_is_asked_for_everything() {
        let offer = Offer::from_info(&info(HARDWARE, 0b11)).unwrap();
        assert_eq!(offer.wanted(CardSettings::OFF), settings(TX_ON, RX_ALL));
        assert_eq!(settings(TX_ON, RX_ALL).directions(offer), [Direction::Receive, Direction::Transmit]);
    }

    #[test]
    fn a_card_that_stamps_received_datagrams_of_ptp_only_stamps_what_is_sent() {
        let ptp = libc::HWTSTAMP_FILTER_PTP_V2_EVENT as c_int;
        let offer = Offer::from_info(&info(HARDWARE, 1 | 1 << ptp)).unwrap();
        assert_eq!(offer.wanted(CardSettings::OFF), settings(TX_ON, 0));
        assert_eq!(settings(TX_ON, 0).directions(offer), [Direction::Transmit]);
        // A PTP daemon's settings stay.
        assert_eq!(offer.wanted(settings(TX_ON, ptp)), settings(TX_ON, ptp));
    }

    #[test]
    fn the_settings_of_another_program_are_only_added_to() {
        let offer = Offer::from_info(&info(HARDWARE, 0b11)).unwrap();
        let one_step = libc::HWTSTAMP_TX_ONESTEP_SYNC as c_int;
        assert_eq!(offer.wanted(settings(one_step, 12)), settings(one_step, RX_ALL));
        let enough = settings(TX_ON, RX_ALL);
        assert_eq!(offer.wanted(enough), enough);
    }

    #[test]
    fn a_card_without_timestamps_or_a_clock_is_of_no_use() {
        let software = libc::SOF_TIMESTAMPING_TX_SOFTWARE | libc::SOF_TIMESTAMPING_RX_SOFTWARE;
        assert!(matches!(Offer::from_info(&info(software, 0b11)), Err(CardError::NotOffered)));
        let no_raw = HARDWARE & !libc::SOF_TIMESTAMPING_RAW_HARDWARE;
        assert!(matches!(Offer::from_info(&info(no_raw, 0b11)), Err(CardError::NotOffered)));
        let no_clock = TimestampInfo { clock: -1, ..info(HARDWARE, 0b11) };
        assert!(matches!(Offer::from_info(&no_clock), Err(CardError::NoClock)));
    }

    #[test]
    fn the_errors_of_a_driver_are_told_in_words() {
        let told = |error| why_not_set(io::Error::from_raw_os_error(error)).to_string();
        assert_eq!(told(libc::EPERM), "to set it up needs CAP_NET_ADMIN");
        assert_eq!(told(libc::EBUSY), "another program uses it in another way");
        assert_eq!(told(libc::ERANGE), "its driver does not have the settings that it offers");
        assert_eq!(told(libc::EOPNOTSUPP), "its driver cannot change what it stamps");
        assert!(told(libc::EIO).starts_with("it cannot be set up: "));
    }

    #[test]
    fn loopback_is_no_card() {
        let request = |name| request_stamps(name, CardSetup::Change);
        assert!(request("lo").is_err() && request("no-such-card").is_err());
        assert!(request("a-name-longer-than-any-interface").is_err());
        assert_eq!(cards_below(Some("127.0.0.1".parse().unwrap())), BTreeMap::new());
        assert!(!cards_below(None).contains_key("lo"));
    }

    #[test]
    fn an_address_with_a_label_is_one_of_its_interface() {
        assert_eq!(["eth0", "eth0:1", "eth0.5:label"].map(without_label), ["eth0", "eth0", "eth0.5"]);
    }

    #[test]
    fn saved_settings_are_read_as_they_were_written() {
        let saved = SavedSettings { name: "eth0.5".into(), before: settings(0, 12), changed: settings(1, 1) };
        assert_eq!(saved.to_string(), "eth0.5:0:12:1:1");
        assert_eq!("eth0.5:0:12:1:1".parse(), Ok(saved));
        for wrong in ["", "eth0", "eth0:0:0:1", "eth0:0:0:1:1:1", ":0:0:1:1", "eth0:a:0:1:1"] {
            assert!(wrong.parse::<SavedSettings>().is_err(), "{wrong:?}");
        }
    }
}
