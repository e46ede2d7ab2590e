//! Makes a network card stamp datagrams.

use std::io;

use super::driver::{CardDriver, KernelDriver};
use super::lock::CardLock;
use super::saved::SavedSettings;
use crate::clock::Direction;
use crate::udp::card_error::{CardError, CardSetup};

/// A card that stamps datagrams.
#[derive(Debug)]
pub struct GrantedCard {
    /// The index of its interface.
    pub interface: u32,
    /// The number of its clock, as in `/dev/ptp0`.
    pub clock: u32,
    /// What it stamps.
    pub directions: Vec<Direction>,
    /// The settings to restore, if they were changed.
    pub saved: Option<SavedSettings>,
    /// The mark of a card whose settings were not changed. That of a changed one is left to the process that
    /// restores it.
    pub lock: Option<CardLock>,
}

/// Makes the card `name` stamp datagrams, as far as it can; or leaves its settings as they are. Before these
/// are changed, `note` hands over what has to be restored; what it is told later replaces that. That may be
/// settings of a card that is of no use after all: another node may have marked it since.
///
/// # Errors
/// When it stamps none.
pub fn request_stamps(
    name: &str,
    setup: CardSetup,
    note: &mut dyn FnMut(&SavedSettings) -> Result<(), CardError>,
) -> Result<GrantedCard, CardError> {
    // Before its settings are read: another node may be about to restore them.
    let lock = CardLock::take(name);
    let granted = request_from(&KernelDriver, name, setup, lock.as_ref(), note)?;
    let lock = lock.filter(|_| granted.saved.is_none());
    Ok(GrantedCard { lock, ..granted })
}

pub(super) fn request_from(
    driver: &impl CardDriver,
    name: &str,
    setup: CardSetup,
    lock: Option<&CardLock>,
    note: &mut dyn FnMut(&SavedSettings) -> Result<(), CardError>,
) -> Result<GrantedCard, CardError> {
    let interface = driver.index(name).map_err(CardError::Unknown)?;
    let offer = driver.offer(name)?;
    // Without knowing them, the settings of another program would be lost.
    let before = driver.settings(name).map_err(CardError::Unknown)?;
    let stamps_already = !before.directions(offer).is_empty();
    let changed = match setup {
        CardSetup::Change => offer.wanted(before),
        CardSetup::Keep if !stamps_already => return Err(CardError::SwitchedOff),
        CardSetup::Keep => before,
    };
    let planned = SavedSettings { name: name.to_owned(), interface, before, changed };
    let saved = match planned.is_change().then(|| change(driver, planned, lock, note)).transpose() {
        // What is stamped already may do.
        Err(_) if stamps_already => None,
        saved => saved?,
    };
    let settings = saved.as_ref().map_or(before, |saved| saved.changed);
    let directions = settings.directions(offer);
    if directions.is_empty() {
        return Err(CardError::OtherProtocols);
    }
    Ok(GrantedCard { interface, clock: offer.clock, directions, saved, lock: None })
}

/// Changes the settings of a card as planned; what the driver has made of that.
fn change(
    driver: &impl CardDriver,
    planned: SavedSettings,
    lock: Option<&CardLock>,
    note: &mut dyn FnMut(&SavedSettings) -> Result<(), CardError>,
) -> Result<SavedSettings, CardError> {
    note(&planned)?;
    let result = driver.set(&planned.name, planned.changed);
    // After a failure there is nothing to restore.
    let changed = result.as_ref().map_or(planned.before, |changed| *changed);
    let saved = SavedSettings { changed, ..planned };
    let noted = note(&saved);
    result.map_err(why_not_set)?;
    if noted.is_err() {
        // Nothing else would restore them. If that fails, the card stays as it is.
        let _ = saved.restore_by(driver, lock);
    }
    noted.map(|()| saved)
}

/// Why the settings of a card were not changed, by the error of that call.
pub(super) fn why_not_set(error: io::Error) -> CardError {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => CardError::NotAllowed,
        Some(libc::EBUSY) => CardError::InUse,
        Some(libc::ERANGE | libc::EINVAL) => CardError::NoSuchSettings,
        Some(libc::EOPNOTSUPP | libc::ENOTTY) => CardError::Unchangeable,
        _ => CardError::Refused(error),
    }
}
