//! Systems whose network cards' timestamps are not used: they have no card that stamps datagrams.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::str::FromStr;

use super::card_error::{CardError, CardSetup};
use super::restoration::Restoration;
use super::upper_interface::UpperInterface;
use crate::clock::Direction;

/// A card that stamps datagrams; there is none here.
#[derive(Debug)]
pub struct GrantedCard {
    /// The index of its interface.
    pub interface: u32,
    /// The number of its clock.
    pub clock: u32,
    /// What it stamps.
    pub directions: Vec<Direction>,
    /// The settings to restore.
    pub saved: Option<SavedSettings>,
    /// Its mark.
    pub lock: Option<CardLock>,
}

/// The mark of a card that is in use; there is none here.
#[derive(Debug)]
pub enum CardLock {}

impl CardLock {
    /// Marks nothing.
    pub fn take(_: &str) -> Option<CardLock> {
        None
    }
}

/// The settings of a card before they were changed; there are none here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SavedSettings {}

impl SavedSettings {
    /// The card's name.
    pub fn card(&self) -> &str {
        match *self {}
    }

    /// Whether `other` is of the same card.
    pub fn is_of_same_card(&self, _: &SavedSettings) -> bool {
        match *self {}
    }

    /// Whether there is something to restore.
    pub fn is_change(&self) -> bool {
        match *self {}
    }

    /// Restores nothing.
    ///
    /// # Errors
    /// Never.
    pub fn restore(&self, _: Option<&CardLock>) -> io::Result<Restoration> {
        match *self {}
    }
}

impl fmt::Display for SavedSettings {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl FromStr for SavedSettings {
    type Err = &'static str;

    fn from_str(_: &str) -> Result<SavedSettings, &'static str> {
        Err("network cards have no such settings on this system")
    }
}

/// No cards.
pub fn cards_below(_: Option<IpAddr>) -> BTreeMap<String, Vec<UpperInterface>> {
    BTreeMap::new()
}

/// Finds no timestamps.
///
/// # Errors
/// Always.
pub fn request_stamps(
    _: &str,
    _: CardSetup,
    _: &mut dyn FnMut(&SavedSettings) -> Result<(), CardError>,
) -> Result<GrantedCard, CardError> {
    Err(CardError::NotOffered)
}
