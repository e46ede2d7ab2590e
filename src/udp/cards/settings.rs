//! What a network card offers to stamp, and what it is set to stamp, in the numbers of `linux/net_tstamp.h`.

use std::ffi::c_int;

use crate::clock::Direction;
use crate::udp::card_error::CardError;

/// What a card is set to stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CardSettings {
    pub(super) transmit: c_int,
    pub(super) receive: c_int,
}

impl CardSettings {
    /// Nothing is stamped.
    pub(super) const OFF: CardSettings =
        CardSettings { transmit: libc::HWTSTAMP_TX_OFF as _, receive: libc::HWTSTAMP_FILTER_NONE as _ };

    /// What a card with this offer stamps of all datagrams.
    pub(super) fn directions(self, offer: Offer) -> Vec<Direction> {
        let receives = offer.receives && self.receive == RX_ALL;
        let transmits = offer.transmits && self.transmit != CardSettings::OFF.transmit;
        let each = [(Direction::Receive, receives), (Direction::Transmit, transmits)];
        each.into_iter().filter_map(|(direction, granted)| granted.then_some(direction)).collect()
    }
}

/// What a card can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) clock: u32,
    transmits: bool,
    receives: bool,
    /// Whether it can stamp all datagrams that it receives.
    receives_all: bool,
}

impl Offer {
    /// The offer that a driver makes.
    ///
    /// # Errors
    /// When the card stamps nothing, or has no clock.
    pub(super) fn from_info(info: &TimestampInfo) -> Result<Offer, CardError> {
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
    pub(super) fn wanted(self, before: CardSettings) -> CardSettings {
        let off = CardSettings::OFF;
        let transmit =
            if self.transmits && before.transmit == off.transmit { TX_ON } else { before.transmit };
        CardSettings { transmit, receive: if self.receives_all { RX_ALL } else { before.receive } }
    }
}

/// `struct ethtool_ts_info`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct TimestampInfo {
    command: u32,
    so_timestamping: u32,
    clock: i32,
    transmit_types: u32,
    transmit_reserved: [u32; 3],
    receive_filters: u32,
    receive_reserved: [u32; 3],
}

impl TimestampInfo {
    /// The question, for the driver to fill in.
    pub(super) fn question() -> TimestampInfo {
        TimestampInfo { command: ETHTOOL_GET_TS_INFO, ..TimestampInfo::default() }
    }
}

/// Of `linux/ethtool.h`.
const ETHTOOL_GET_TS_INFO: u32 = 0x41;
const TX_ON: c_int = libc::HWTSTAMP_TX_ON as _;
const RX_ALL: c_int = libc::HWTSTAMP_FILTER_ALL as _;

/// The offer of a card that stamps everything.
#[cfg(test)]
pub(super) fn offer_of_a_card() -> Offer {
    Offer { clock: 0, transmits: true, receives: true, receives_all: true }
}

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
}
