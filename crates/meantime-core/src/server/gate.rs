//! Who may come in, and how many at a time: what strangers can make a server do is bounded here.
//!
//! Everything takes a fixed amount of memory, however many addresses there are: counts and rates are kept in
//! tables by a keyed hash of the address. Two networks that share a place share its limit; which ones do,
//! nobody can choose.

use alloc::vec;
use alloc::vec::Vec;
use core::hash::Hasher;
use core::net::IpAddr;

use ipnet::IpNet;
use siphasher::sip::SipHasher13;

use crate::ServerConfig;
use crate::time::{Monotonic, Span};

/// What a server lets strangers do.
#[derive(Debug)]
pub(super) struct Gate {
    key: [u8; 16],
    /// Datagrams to whoever is no member, to one network and to all.
    answers: Vec<Pace>,
    all_answers: Pace,
    /// New members, from one machine and in all.
    admissions: Vec<Pace>,
    all_admissions: Pace,
    /// Members by their machine, and by their network.
    at_addresses: Crowd,
    in_networks: Crowd,
}

impl Gate {
    /// An open gate. The key must be unpredictable.
    pub(super) fn new(key: [u8; 16]) -> Gate {
        Gate {
            key,
            answers: vec![Pace::default(); PLACES],
            all_answers: Pace::default(),
            admissions: vec![Pace::default(); PLACES],
            all_admissions: Pace::default(),
            at_addresses: Crowd::default(),
            in_networks: Crowd::default(),
        }
    }

    /// Whether somebody who is no member may be answered now. Nobody gets more than one datagram for one
    /// anyway; this keeps a flood of questions from costing a flood of answers.
    pub(super) fn answers(&mut self, now: Monotonic, config: &ServerConfig, address: IpAddr) -> bool {
        let a_second = answers_per_second(config);
        let place = self.place(network(address));
        self.answers[place].step(now, a_second) && self.all_answers.step(now, a_second.saturating_mul(2))
    }

    /// Whether there may be another new member now: each makes work and is told.
    pub(super) fn admits(&mut self, now: Monotonic, config: &ServerConfig, address: IpAddr) -> bool {
        let place = self.place(machine(address));
        let fair = address.is_loopback() || self.admissions[place].step(now, admissions_per_machine(config));
        fair && self.all_admissions.step(now, admissions_per_second(config))
    }

    /// Whether as many members are where this address is as may be.
    pub(super) fn is_crowded(&self, config: &ServerConfig, address: IpAddr) -> bool {
        let at_address =
            self.at_addresses.count(self.place(machine(address))) >= config.max_clients_per_address;
        let in_network =
            self.in_networks.count(self.place(network(address))) >= config.max_clients_per_network;
        !address.is_loopback() && (at_address || in_network)
    }

    /// A member has come.
    pub(super) fn enter(&mut self, address: IpAddr) {
        let (at_address, in_network) = (self.place(machine(address)), self.place(network(address)));
        self.at_addresses.change(at_address, 1);
        self.in_networks.change(in_network, 1);
    }

    /// A member has gone.
    pub(super) fn leave(&mut self, address: IpAddr) {
        let (at_address, in_network) = (self.place(machine(address)), self.place(network(address)));
        self.at_addresses.change(at_address, -1);
        self.in_networks.change(in_network, -1);
    }

    fn place(&self, bits: u128) -> usize {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write(&bits.to_be_bytes());
        hasher.finish() as usize % PLACES
    }
}

/// Whether datagrams from this address are read at all.
pub(super) fn is_allowed(config: &ServerConfig, address: IpAddr) -> bool {
    let among = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
    (config.allow.is_empty() || among(&config.allow)) && !among(&config.deny)
}

/// All members of a full server, from one network, can find it again within ten seconds after it has
/// restarted, for which each needs two answers. An answer costs several times what it costs to throw a
/// datagram away, so more of them would cost the members.
fn answers_per_second(config: &ServerConfig) -> i64 {
    i64::try_from(config.max_clients / 4).unwrap_or(i64::MAX).max(1_000)
}

/// A server fills within ten seconds.
fn admissions_per_second(config: &ServerConfig) -> i64 {
    i64::try_from(config.max_clients / 10).unwrap_or(i64::MAX).max(100)
}

/// As many members as one machine may have come in within sixteen seconds.
fn admissions_per_machine(config: &ServerConfig) -> i64 {
    i64::try_from(config.max_clients_per_address / 16).unwrap_or(i64::MAX).max(16)
}

/// What one machine has of addresses, as a number: IPv4 one, IPv6 a /64.
fn machine(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits() >> 64 | 1 << 64,
    }
}

/// What one network has: IPv4 a /24, IPv6 a /48.
fn network(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => (v4.to_bits() >> 8).into(),
        IpAddr::V6(v6) => v6.to_bits() >> 80 | 1 << 64,
    }
}

/// So many a second, of which those of one second may come at once (GCRA: only the time is kept at which the
/// next one would come if all had come evenly).
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    next: Option<Monotonic>,
}

impl Pace {
    fn step(&mut self, now: Monotonic, a_second: i64) -> bool {
        let next = self.next.map_or(now, |next| next.max(now));
        let free = next - now < Span::from_secs(1);
        if free {
            self.next = Some(next + Span::from_nanos((1_000_000_000 / a_second.max(1)).max(1)));
        }
        free
    }
}

/// How many there are in each place.
#[derive(Debug)]
struct Crowd(Vec<u32>);

impl Crowd {
    fn count(&self, place: usize) -> usize {
        self.0[place] as usize
    }

    fn change(&mut self, place: usize, by: i32) {
        self.0[place] = self.0[place].saturating_add_signed(by);
    }
}

impl Default for Crowd {
    fn default() -> Crowd {
        Crowd(vec![0; PLACES])
    }
}

/// Enough that a hundred thousand addresses seldom share one with the hundreds that one limit is about.
const PLACES: usize = 1 << 14;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Monotonic {
        Monotonic::from_nanos(0) + Span::from_millis(ms)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn those_of_one_second_may_come_at_once_and_no_more() {
        let mut pace = Pace::default();
        let come = |pace: &mut Pace, ms| (0..10_000).filter(|_| pace.step(at(ms), 1_000)).count();
        assert_eq!((come(&mut pace, 0), come(&mut pace, 1), come(&mut pace, 101)), (1_000, 1, 100));
        assert_eq!(come(&mut pace, 1_000_000), 1_000);
    }

    #[test]
    fn a_network_that_floods_uses_up_its_own_answers_only() {
        let config = ServerConfig::default();
        let mut gate = Gate::new([3; 16]);
        let answered = (0..100_000_u32).filter(|k| {
            let address = IpAddr::from([192, 0, 2, (k % 256) as u8]);
            gate.answers(at(0), &config, address)
        });
        assert_eq!(answered.count(), 2_500);
        assert!(gate.answers(at(0), &config, ip("198.51.100.1")));
        assert!(gate.answers(at(2), &config, ip("192.0.2.1")));
    }

    #[test]
    fn an_address_and_a_network_hold_so_many_members_and_this_machine_any_number() {
        let config = ServerConfig {
            max_clients_per_address: 2,
            max_clients_per_network: 3,
            ..ServerConfig::default()
        };
        let mut gate = Gate::new([3; 16]);
        let crowded = |gate: &Gate, address| gate.is_crowded(&config, ip(address));
        for address in ["192.0.2.1", "192.0.2.1", "127.0.0.1", "127.0.0.1", "127.0.0.1"] {
            gate.enter(ip(address));
        }
        assert!(crowded(&gate, "192.0.2.1") && !crowded(&gate, "192.0.2.2") && !crowded(&gate, "127.0.0.1"));
        gate.enter(ip("192.0.2.2"));
        assert!(crowded(&gate, "192.0.2.3") && !crowded(&gate, "192.0.3.1"));
        gate.leave(ip("192.0.2.1"));
        assert!(!crowded(&gate, "192.0.2.1"));
        gate.enter(ip("2001:db8::1"));
        gate.enter(ip("2001:db8::ffff:1"));
        assert!(crowded(&gate, "2001:db8::2") && !crowded(&gate, "2001:db8:0:1::2"));
        gate.enter(ip("2001:db8:0:1::2"));
        assert!(crowded(&gate, "2001:db8:0:2::2") && !crowded(&gate, "2001:db8:1::2"));
    }

    #[test]
    fn who_is_denied_is_not_read_and_where_some_are_allowed_nobody_else_is() {
        let net = |text: &str| -> IpNet { text.parse().unwrap() };
        let some = ServerConfig {
            allow: vec![net("192.0.2.0/24"), net("2001:db8::/32")],
            deny: vec![net("192.0.2.66/32")],
            ..ServerConfig::default()
        };
        assert!(is_allowed(&some, ip("192.0.2.1")) && is_allowed(&some, ip("2001:db8::9")));
        assert!(!is_allowed(&some, ip("192.0.2.66")) && !is_allowed(&some, ip("198.51.100.1")));
        let all = ServerConfig { allow: Vec::new(), ..some };
        assert!(is_allowed(&all, ip("198.51.100.1")) && !is_allowed(&all, ip("192.0.2.66")));
    }
}
