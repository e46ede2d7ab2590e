//! The settings of a card before a node has changed them, and how they are restored.

use std::fmt;
use std::io;
use std::str::FromStr;

use super::driver::{CardDriver, KernelDriver};
use super::lock::CardLock;
use super::settings::CardSettings;
use crate::udp::restoration::Restoration;

/// The settings of a card before they were changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedSettings {
    /// The name of the card when they were changed.
    pub(super) name: String,
    /// The index of its interface, which stays when an operator gives the card another name.
    pub(super) interface: u32,
    pub(super) before: CardSettings,
    pub(super) changed: CardSettings,
}

impl SavedSettings {
    /// The card's name when they were changed.
    pub fn card(&self) -> &str {
        &self.name
    }

    /// Whether `other` is of the same card.
    pub fn is_of_same_card(&self, other: &SavedSettings) -> bool {
        self.interface == other.interface
    }

    /// Whether there is something to restore.
    pub fn is_change(&self) -> bool {
        self.before != self.changed
    }

    /// Restores them, unless another program has changed them meanwhile, or another node uses the card:
    /// `lock` is the mark of this process.
    ///
    /// # Errors
    /// When the card refuses them.
    pub fn restore(&self, lock: Option<&CardLock>) -> io::Result<Restoration> {
        self.restore_by(&KernelDriver, lock)
    }

    pub(super) fn restore_by(
        &self,
        driver: &impl CardDriver,
        lock: Option<&CardLock>,
    ) -> io::Result<Restoration> {
        let is_only_user = lock.is_none_or(CardLock::exclude_others);
        let Ok(name) = driver.name(self.interface) else { return Ok(Restoration::Gone) };
        match driver.settings(&name)? {
            now if now == self.before => Ok(Restoration::AsBefore),
            now if now != self.changed => Ok(Restoration::ChangedSince),
            _ if !is_only_user => Ok(Restoration::InUse),
            _ => driver.set(&name, self.before).map(|_| Restoration::Done),
        }
    }
}

/// As in `eth0:3:0:0:1:1`: the interface and its index, its settings before, and as they were changed.
impl fmt::Display for SavedSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SavedSettings { name, interface, before, changed } = self;
        let [a, b, c, d] = [before.transmit, before.receive, changed.transmit, changed.receive];
        write!(f, "{name}:{interface}:{a}:{b}:{c}:{d}")
    }
}

impl FromStr for SavedSettings {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<SavedSettings, &'static str> {
        let parse = || {
            let mut parts = text.split(':');
            let name = parts.next().filter(|name| !name.is_empty())?.to_owned();
            let interface = parts.next()?.parse().ok()?;
            let mut settings = || {
                let transmit = parts.next()?.parse().ok()?;
                Some(CardSettings { transmit, receive: parts.next()?.parse().ok()? })
            };
            let (before, changed) = (settings()?, settings()?);
            parts.next().is_none().then_some(SavedSettings { name, interface, before, changed })
        };
        parse().ok_or("expected the settings of a network card, as in eth0:3:0:0:1:1")
    }
}
