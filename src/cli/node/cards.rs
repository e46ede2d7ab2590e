//! The network cards whose timestamps a node uses.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use super::NodeArgs;
use super::arguments::TimestampChoice;
use crate::cli::Failure;
use crate::cli::restore_cards::CardRestorer;
use crate::clock::Card;
use crate::event_loop::InstalledCard;
use crate::udp::{
    CardLock, CardSetup, GrantedCard, Stamping, UpperInterface, cards_below, request_stamps,
    require_kernel_timestamps,
};
use meantime_core::time::Span;

/// Where the timestamps of a node come from.
#[derive(Debug, Default)]
pub(in crate::cli) struct Timestamps {
    /// What the kernel is asked for; `None`: nothing, the program reads its own clock.
    pub stamping: Option<Stamping>,
    /// The network cards that stamp datagrams.
    pub cards: Vec<InstalledCard>,
    /// The marks of those cards that are used as they are, while the node runs.
    pub locks: Vec<CardLock>,
    /// Restores the settings of the others when it is dropped.
    pub restorer: Option<CardRestorer>,
}

impl NodeArgs {
    /// Sets up the timestamps of the options. `local` is the address that the node's datagrams leave from;
    /// `None`: any of this machine. Has to be called before the privileges are dropped.
    ///
    /// # Errors
    /// When the options demand timestamps that this machine does not have.
    pub(in crate::cli) fn timestamps(&self, local: Option<IpAddr>) -> Result<Timestamps, Failure> {
        let without_cards = |stamping| Timestamps { stamping, ..Timestamps::default() };
        match (self.timestamps, require_kernel_timestamps()) {
            (TimestampChoice::User, _) => Ok(without_cards(None)),
            // That the kernel refuses is logged when a socket is opened.
            (TimestampChoice::Auto, Err(_)) | (TimestampChoice::Kernel, Ok(())) => {
                Ok(without_cards(Some(Stamping::Kernel)))
            }
            (TimestampChoice::Kernel | TimestampChoice::Hardware, Err(error)) => Err(Failure::Runtime(
                format!("the kernel takes no timestamps: {error}; --timestamps auto does without"),
            )),
            (TimestampChoice::Auto | TimestampChoice::Hardware, Ok(())) => {
                let setup = match self.timestamps {
                    TimestampChoice::Hardware => CardSetup::Change,
                    _ => CardSetup::Keep,
                };
                let found = Found::below(local, setup);
                let stamping = if found.cards.is_empty() { Stamping::Kernel } else { Stamping::Hardware };
                self.tell(&found)?;
                let Found { cards, locks, restorer, .. } = found;
                Ok(Timestamps { stamping: Some(stamping), cards, locks, restorer })
            }
        }
    }

    /// Logs which cards stamp and which do not.
    fn tell(&self, found: &Found) -> Result<(), Failure> {
        let reasons = listed(&found.reasons);
        if found.cards.is_empty() && self.timestamps == TimestampChoice::Hardware {
            return Err(Failure::Runtime(format!(
                "no network card stamps this node's datagrams: {reasons}; --timestamps auto does without"
            )));
        }
        match found.has_candidates {
            true if !reasons.is_empty() => log::info!("not all network cards stamp datagrams: {reasons}"),
            // Most addresses of most machines have no card that could: loopback, containers.
            false => log::debug!("no network card stamps datagrams: {reasons}"),
            true => {}
        }
        Ok(())
    }
}

/// The first of many reasons.
fn listed(reasons: &[String]) -> String {
    let listed = reasons[..reasons.len().min(MAX_REASONS)].join("; ");
    match reasons.len().saturating_sub(MAX_REASONS) {
        0 => listed,
        more => format!("{listed}; and {more} more"),
    }
}

/// The cards of this machine that stamp datagrams, and why others do not.
#[derive(Debug, Default)]
struct Found {
    cards: Vec<InstalledCard>,
    reasons: Vec<String>,
    locks: Vec<CardLock>,
    restorer: Option<CardRestorer>,
    /// Whether there are cards below the address at all.
    has_candidates: bool,
    /// Whether the settings of one of these cards were changed.
    has_changed: bool,
}

impl Found {
    /// The cards that carry the datagrams of this address, set up as far as they may be.
    fn below(local: Option<IpAddr>, setup: CardSetup) -> Found {
        let mut restorer = None;
        let cards = cards_below(local);
        let mut found = Found::among(cards, |name| set_up(name, setup, &mut restorer));
        if !found.has_candidates {
            let of = local.map_or("this machine".into(), |local| local.to_string());
            found.reasons.push(format!("{of} has none"));
        }
        // If only cards were changed that are of no use, they are restored at once.
        found.restorer = restorer.filter(|_| found.has_changed);
        found.restorer.iter_mut().for_each(CardRestorer::seal);
        found
    }

    /// Those of the `candidates` that can be set up; many of them may be virtual interfaces, which cannot.
    fn among(
        candidates: BTreeMap<String, Vec<UpperInterface>>,
        mut set_up: impl FnMut(&str) -> Result<(GrantedCard, Card), String>,
    ) -> Found {
        let mut found = Found { has_candidates: !candidates.is_empty(), ..Found::default() };
        for (name, above) in candidates {
            if found.cards.len() == MAX_CARDS {
                found.reasons.push(format!("{name}: {MAX_CARDS} others are used"));
                continue;
            }
            match set_up(&name) {
                Ok((granted, card)) => {
                    found.has_changed |= granted.saved.is_some();
                    found.locks.extend(granted.lock);
                    found.cards.push(InstalledCard { card, interface: granted.interface, above });
                }
                Err(reason) => found.reasons.push(format!("{name}: {reason}")),
            }
        }
        found
    }
}

/// Makes a card stamp, and opens its clock; or says why not.
fn set_up(
    name: &str,
    setup: CardSetup,
    restorer: &mut Option<CardRestorer>,
) -> Result<(GrantedCard, Card), String> {
    let mut note = |saved: &_| CardRestorer::note(restorer, saved);
    let granted = request_stamps(name, setup, &mut note).map_err(|error| error.to_string())?;
    let card = start(name, granted.clock, &granted.directions)?;
    let stamped: Vec<_> = granted.directions.iter().map(ToString::to_string).collect();
    log::info!("the network card {name} stamps {}", stamped.join(" and "));
    Ok((granted, card))
}

/// Opens a card's clock and watches it for a moment.
#[cfg(target_os = "linux")]
fn start(name: &str, clock: u32, directions: &[crate::clock::Direction]) -> Result<Card, String> {
    use crate::clock::hardware::Phc;
    let phc =
        Phc::open(clock).map_err(|error| format!("its clock /dev/ptp{clock} cannot be opened: {error}"))?;
    Card::start(name, Box::new(phc), directions, pause).map_err(|refusal| refusal.to_string())
}

#[cfg(not(target_os = "linux"))]
fn start(_: &str, _: u32, _: &[crate::clock::Direction]) -> Result<Card, String> {
    let _ = pause;
    Err("it has no clock that can be read".into())
}

fn pause(span: Span) {
    thread::sleep(Duration::from_nanos(span.as_nanos().try_into().unwrap_or(0)));
}

/// Each card is read once for a batch of datagrams that it has stamped.
const MAX_CARDS: usize = 16;
/// A machine may have a virtual interface for each of its thousand containers.
const MAX_REASONS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{CardClock, ClockPair, HostRaw};
    use meantime_core::time::Timestamp;

    /// A clock that advances by 5 ms from one reading to the next.
    #[derive(Debug, Default)]
    struct Advancing(i64);

    impl CardClock for Advancing {
        fn read(&mut self) -> std::io::Result<ClockPair> {
            self.0 += 5_000_000;
            let (raw, real) = (HostRaw::from_nanos(self.0), Timestamp::from_nanos(self.0));
            Ok(ClockPair { raw, real, width: Span::ZERO })
        }
    }

    /// A machine whose interfaces stamp if they are called eth.
    fn set_up_eth(name: &str) -> Result<(GrantedCard, Card), String> {
        if !name.starts_with("eth") {
            return Err("it stamps no datagrams".into());
        }
        let card = Card::start(name, Box::new(Advancing::default()), &[], |_| {}).unwrap();
        let directions = Vec::new();
        Ok((GrantedCard { interface: 1, clock: 0, directions, saved: None, lock: None }, card))
    }

    fn found(taps: usize, cards: usize) -> Found {
        let names = (0..taps).map(|k| format!("a-tap{k:03}")).chain((0..cards).map(|k| format!("eth{k:03}")));
        Found::among(names.map(|name| (name, Vec::new())).collect(), set_up_eth)
    }

    #[test]
    fn interfaces_that_cannot_stamp_do_not_count_as_cards() {
        let found = found(100, 1);
        assert_eq!(found.cards.iter().map(|card| card.card.name()).collect::<Vec<_>>(), ["eth000"]);
        assert_eq!(found.reasons.len(), 100);
        let told = listed(&found.reasons);
        assert!(told.starts_with("a-tap000: it stamps no datagrams; a-tap001: "), "{told}");
        assert!(told.ends_with("a-tap015: it stamps no datagrams; and 84 more"), "{told}");
    }

    #[test]
    fn of_many_cards_that_stamp_some_are_used() {
        let found = found(0, 18);
        assert_eq!(found.cards.len(), MAX_CARDS);
        assert_eq!(listed(&found.reasons), "eth016: 16 others are used; eth017: 16 others are used");
    }
}
