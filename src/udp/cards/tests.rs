//! Cards that are set up and restored, on a machine that is a model: other programs use them too.

use std::cell::RefCell;
use std::ffi::c_int;
use std::io;

use super::driver::CardDriver;
use super::request::{request_from, why_not_set};
use super::settings::{CardSettings, Offer, offer_of_a_card};
use super::*;
use crate::clock::Direction;
use crate::udp::card_error::{CardError, CardSetup};
use crate::udp::restoration::Restoration;

const ON: CardSettings = settings(1, 1);

const fn settings(transmit: c_int, receive: c_int) -> CardSettings {
    CardSettings { transmit, receive }
}

/// A card that is called `name` now.
#[derive(Clone, Debug)]
struct FakeCard {
    index: u32,
    name: &'static str,
    settings: CardSettings,
}

/// A machine whose cards stamp everything.
struct Machine {
    cards: RefCell<Vec<FakeCard>>,
    /// The error of all changes of settings.
    refuses: Option<c_int>,
    /// What the drivers make of all settings that switch something on.
    grants: Option<CardSettings>,
}

impl Machine {
    /// The card eth0 with index 3, whose timestamps are off.
    fn new() -> Machine {
        let eth0 = FakeCard { index: 3, name: "eth0", settings: CardSettings::OFF };
        Machine { cards: RefCell::new(vec![eth0]), refuses: None, grants: None }
    }

    /// Does something to the only card that this name has now.
    fn with<T>(&self, name: &str, act: impl FnOnce(&mut FakeCard) -> T) -> io::Result<T> {
        let mut cards = self.cards.borrow_mut();
        let card = cards.iter_mut().find(|card| card.name == name);
        card.map(act).ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
    }

    fn now(&self, name: &str) -> CardSettings {
        self.settings(name).unwrap()
    }

    /// A node sets eth0 up; what the process that restores is told.
    fn set_up(&self) -> (Result<GrantedCard, CardError>, Vec<SavedSettings>) {
        let mut noted = Vec::new();
        let granted = request_from(self, "eth0", CardSetup::Change, None, &mut |saved| {
            noted.push(saved.clone());
            Ok(())
        });
        (granted, noted)
    }

    /// The same, if that succeeds: what has to be restored.
    fn changed(&self) -> SavedSettings {
        self.set_up().0.unwrap().saved.expect("a change")
    }
}

impl CardDriver for Machine {
    fn index(&self, name: &str) -> io::Result<u32> {
        self.with(name, |card| card.index)
    }

    fn name(&self, interface: u32) -> io::Result<String> {
        let cards = self.cards.borrow();
        let card = cards.iter().find(|card| card.index == interface);
        card.map(|card| card.name.to_owned()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENXIO))
    }

    fn offer(&self, _name: &str) -> Result<Offer, CardError> {
        Ok(offer_of_a_card())
    }

    fn settings(&self, name: &str) -> io::Result<CardSettings> {
        self.with(name, |card| card.settings)
    }

    fn set(&self, name: &str, settings: CardSettings) -> io::Result<CardSettings> {
        match self.refuses {
            Some(error) => Err(io::Error::from_raw_os_error(error)),
            None => self.with(name, |card| {
                card.settings = self.grants.filter(|_| settings != CardSettings::OFF).unwrap_or(settings);
                card.settings
            }),
        }
    }
}

#[test]
fn a_card_that_a_node_has_set_up_is_restored() {
    let machine = Machine::new();
    let saved = machine.changed();
    assert_eq!(machine.now("eth0"), ON);
    assert_eq!(saved.restore_by(&machine, None).unwrap(), Restoration::Done);
    assert_eq!(machine.now("eth0"), CardSettings::OFF);
    assert_eq!(saved.restore_by(&machine, None).unwrap(), Restoration::AsBefore);
}

#[test]
fn what_has_to_be_restored_is_told_before_the_card_is_changed() {
    let machine = Machine::new();
    let mut seen = Vec::new();
    let granted = request_from(&machine, "eth0", CardSetup::Change, None, &mut |saved| {
        seen.push((machine.now("eth0"), saved.to_string()));
        Ok(())
    });
    assert_eq!(granted.unwrap().directions, [Direction::Receive, Direction::Transmit]);
    let told = "eth0:3:0:0:1:1".to_owned();
    assert_eq!(seen, [(CardSettings::OFF, told.clone()), (ON, told)]);
}

#[test]
fn a_card_that_nothing_would_restore_is_not_changed() {
    let machine = Machine::new();
    let granted = request_from(&machine, "eth0", CardSetup::Change, None, &mut |_| {
        Err(CardError::NotRestorable(io::ErrorKind::NotFound.into()))
    });
    assert!(matches!(granted, Err(CardError::NotRestorable(_))));
    assert_eq!(machine.now("eth0"), CardSettings::OFF);
}

#[test]
fn a_card_is_set_back_at_once_if_what_restores_it_has_ended_meanwhile_unless_another_node_uses_it() {
    let card = tempfile::tempdir().unwrap();
    for (is_shared, left) in [(false, CardSettings::OFF), (true, ON)] {
        let machine = Machine::new();
        let lock = CardLock::of(card.path());
        let other = is_shared.then(|| CardLock::of(card.path()).unwrap());
        let mut told = 0;
        let granted = request_from(&machine, "eth0", CardSetup::Change, lock.as_ref(), &mut |_| {
            told += 1;
            if told == 1 { Ok(()) } else { Err(CardError::NotRestorable(io::ErrorKind::BrokenPipe.into())) }
        });
        assert!(matches!(granted, Err(CardError::NotRestorable(_))));
        assert_eq!(machine.now("eth0"), left, "another node uses it: {}", other.is_some());
    }
}

#[test]
fn a_card_that_refuses_its_settings_is_not_restored_later() {
    let machine = Machine { refuses: Some(libc::EBUSY), ..Machine::new() };
    let (granted, noted) = machine.set_up();
    assert!(matches!(granted, Err(CardError::InUse)));
    assert_eq!(noted.iter().map(SavedSettings::is_change).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn a_card_that_is_of_no_use_after_all_is_left_to_the_process_that_knows_whether_another_node_uses_it() {
    let of_ptp_only = settings(0, 12);
    let machine = Machine { grants: Some(of_ptp_only), ..Machine::new() };
    let (granted, noted) = machine.set_up();
    assert!(matches!(granted, Err(CardError::OtherProtocols)));
    assert_eq!(machine.now("eth0"), of_ptp_only);
    let last = noted.last().unwrap();
    assert_eq!(last.restore_by(&machine, None).unwrap(), Restoration::Done);
    assert_eq!(machine.now("eth0"), CardSettings::OFF);
}

#[test]
fn settings_that_another_program_has_changed_since_are_left_as_they_are() {
    let machine = Machine::new();
    let saved = machine.changed();
    let of_a_ptp_daemon = settings(1, 12);
    machine.set("eth0", of_a_ptp_daemon).unwrap();
    assert_eq!(saved.restore_by(&machine, None).unwrap(), Restoration::ChangedSince);
    assert_eq!(machine.now("eth0"), of_a_ptp_daemon);
}

#[test]
fn of_two_nodes_on_one_card_the_first_to_end_leaves_its_settings_to_the_other() {
    let card = tempfile::tempdir().unwrap();
    let machine = Machine::new();
    let [first, second] = [(); 2].map(|()| CardLock::of(card.path()));
    let saved = machine.changed();
    assert!(machine.set_up().0.unwrap().saved.is_none(), "the second one finds it set up");
    assert_eq!(saved.restore_by(&machine, first.as_ref()).unwrap(), Restoration::InUse);
    assert_eq!(machine.now("eth0"), ON);
    drop(second);
    assert_eq!(saved.restore_by(&machine, first.as_ref()).unwrap(), Restoration::Done);
}

#[test]
fn two_nodes_that_have_found_a_card_off_together_restore_it_when_the_last_one_ends() {
    let card = tempfile::tempdir().unwrap();
    let machine = Machine::new();
    let [first, second] = [(); 2].map(|()| CardLock::of(card.path()));
    // Both have read the settings before either changed them.
    let saved = machine.changed();
    assert_eq!(saved.restore_by(&machine, first.as_ref()).unwrap(), Restoration::InUse);
    drop(first);
    assert_eq!(saved.restore_by(&machine, second.as_ref()).unwrap(), Restoration::Done);
    assert_eq!(machine.now("eth0"), CardSettings::OFF);
}

#[test]
fn a_card_is_restored_under_its_new_name_and_another_one_that_has_its_old_name_is_not() {
    let machine = Machine::new();
    let saved = machine.changed();
    machine.with("eth0", |card| card.name = "wan0").unwrap();
    machine.cards.borrow_mut().push(FakeCard { index: 9, name: "eth0", settings: ON });
    assert_eq!(saved.restore_by(&machine, None).unwrap(), Restoration::Done);
    assert_eq!((machine.now("wan0"), machine.now("eth0")), (CardSettings::OFF, ON));
}

#[test]
fn a_card_that_is_gone_is_no_failure() {
    let machine = Machine::new();
    let saved = machine.changed();
    machine.cards.borrow_mut().clear();
    assert_eq!(saved.restore_by(&machine, None).unwrap(), Restoration::Gone);
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
fn the_kernel_grants_no_timestamps_of_loopback() {
    let request = |name| request_stamps(name, CardSetup::Change, &mut |_| Ok(()));
    assert!(request("lo").is_err() && request("no-such-card").is_err());
    assert!(request("a-name-longer-than-any-interface").is_err());
}

#[test]
fn saved_settings_are_read_as_they_were_written() {
    let before = settings(0, 12);
    let saved = SavedSettings { name: "eth0.5".into(), interface: 3, before, changed: ON };
    assert_eq!(saved.to_string(), "eth0.5:3:0:12:1:1");
    assert_eq!("eth0.5:3:0:12:1:1".parse(), Ok(saved));
    for wrong in ["", "eth0", "eth0:0:0:1:1", "eth0:3:0:0:1:1:1", ":3:0:0:1:1", "eth0:3:a:0:1:1"] {
        assert!(wrong.parse::<SavedSettings>().is_err(), "{wrong:?}");
    }
}
