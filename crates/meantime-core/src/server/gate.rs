//! Admission control: limits what nodes that are not members can make a server do.
//!
//! It takes a fixed amount of memory, whatever the number of addresses: counts and rates are stored in
//! tables, by a keyed hash of the address. Two networks with the same hash share a limit; an attacker cannot
//! choose which ones do.

use alloc::vec;
use alloc::vec::Vec;
use core::hash::Hasher;
use core::net::IpAddr;

use ipnet::IpNet;
use siphasher::sip::SipHasher13;

use super::machine::machine_of;
use crate::ServerConfig;
use crate::time::{Monotonic, Span};

/// The limits, and how much of them is used.
#[derive(Debug)]
pub(super) struct Gate {
    key: [u8; 16],
    /// Answers to nodes that are not members, for each network and in all.
    answers: Vec<RateLimit>,
    all_answers: RateLimit,
    /// New members, for each machine and in all.
    admissions: Vec<RateLimit>,
    all_admissions: RateLimit,
    /// The number of members at each machine, and in each network.
    at_machines: MemberCounts,
    in_networks: MemberCounts,
}

impl Gate {
    /// A gate that has admitted no members. The key must be unpredictable.
    pub(super) fn new(key: [u8; 16]) -> Gate {
        Gate {
            key,
            answers: vec![RateLimit::default(); BUCKETS],
            all_answers: RateLimit::default(),
            admissions: vec![RateLimit::default(); BUCKETS],
            all_admissions: RateLimit::default(),
            at_machines: MemberCounts::default(),
            in_networks: MemberCounts::default(),
        }
    }

    /// Whether a node at this address that is not a member may be answered now; if so, that answer is
    /// counted. Each datagram gets one answer at most; this limit prevents a flood of requests from causing a
    /// flood of answers.
    pub(super) fn allows_answer(&mut self, now: Monotonic, config: &ServerConfig, address: IpAddr) -> bool {
        let per_second = answers_per_second(config);
        let bucket = self.bucket(network(address));
        self.answers[bucket].allow(now, per_second)
            && self.all_answers.allow(now, per_second.saturating_mul(2))
    }

    /// Whether a new session may begin now, since each causes work and an event; if so, it is counted. That
    /// of a known member counts for its machine alone, so that other machines cannot keep it from registering
    /// again.
    pub(super) fn allows_admission(
        &mut self,
        now: Monotonic,
        config: &ServerConfig,
        address: IpAddr,
        is_known: bool,
    ) -> bool {
        let bucket = self.bucket(machine(config, address));
        let is_fair =
            address.is_loopback() || self.admissions[bucket].allow(now, admissions_per_machine(config));
        let counts_alone = is_known && !address.is_loopback();
        is_fair && (counts_alone || self.all_admissions.allow(now, admissions_per_second(config)))
    }

    /// Whether the machine or the network of this address has the maximum number of members.
    pub(super) fn is_full_at(&self, config: &ServerConfig, address: IpAddr) -> bool {
        let at_machine =
            self.at_machines.count(self.bucket(machine(config, address))) >= config.max_clients_per_address;
        let in_network =
            self.in_networks.count(self.bucket(network(address))) >= config.max_clients_per_network;
        !address.is_loopback() && (at_machine || in_network)
    }

    /// Counts a new member.
    pub(super) fn add_member(&mut self, config: &ServerConfig, address: IpAddr) {
        let (at_machine, in_network) = (self.bucket(machine(config, address)), self.bucket(network(address)));
        self.at_machines.change(at_machine, 1);
        self.in_networks.change(in_network, 1);
    }

    /// Counts a member that was removed.
    pub(super) fn remove_member(&mut self, config: &ServerConfig, address: IpAddr) {
        let (at_machine, in_network) = (self.bucket(machine(config, address)), self.bucket(network(address)));
        self.at_machines.change(at_machine, -1);
        self.in_networks.change(in_network, -1);
    }

    fn bucket(&self, bits: u128) -> usize {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write(&bits.to_be_bytes());
        hasher.finish() as usize % BUCKETS
    }
}

/// Whether datagrams from this address are handled, by the operator's lists.
pub(super) fn is_allowed(config: &ServerConfig, address: IpAddr) -> bool {
    let among = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
    (config.allow.is_empty() || among(&config.allow)) && !among(&config.deny)
}

/// After a restart, all clients of a full server can register again within ten seconds, even from one
/// network; each needs two answers. An answer costs several times as much as discarding a datagram, so a
/// higher limit would take time from the members.
fn answers_per_second(config: &ServerConfig) -> i64 {
    i64::try_from(config.max_clients / 4).unwrap_or(i64::MAX).max(1_000)
}

/// A server fills within ten seconds.
fn admissions_per_second(config: &ServerConfig) -> i64 {
    i64::try_from(config.max_clients / 10).unwrap_or(i64::MAX).max(100)
}

/// All members that one machine may have are admitted within sixteen seconds.
fn admissions_per_machine(config: &ServerConfig) -> i64 {
    i64::try_from(config.max_clients_per_address / 16).unwrap_or(i64::MAX).max(16)
}

/// The addresses that one machine has, by the configuration, as a number.
fn machine(config: &ServerConfig, address: IpAddr) -> u128 {
    match machine_of(config, address).network() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The addresses of one network, as a number: for IPv4 a /24, for IPv6 a /48.
fn network(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => (v4.to_bits() >> 8).into(),
        IpAddr::V6(v6) => v6.to_bits() >> 80 | 1 << 64,
    }
}

/// A limit of so many a second, where those of one second may come at once. (GCRA: it stores only the time at
/// which the next one would come if all had come at equal intervals.)
#[derive(Clone, Copy, Debug, Default)]
struct RateLimit {
    next: Option<Monotonic>,
}

impl RateLimit {
    fn allow(&mut self, now: Monotonic, per_second: i64) -> bool {
        let next = self.next.map_or(now, |next| next.max(now));
        let is_allowed = next - now < Span::from_secs(1);
        if is_allowed {
            self.next = Some(next + Span::from_nanos((1_000_000_000 / per_second.max(1)).max(1)));
        }
        is_allowed
    }
}

/// The number of members in each bucket.
#[derive(Debug)]
struct MemberCounts(Vec<u32>);

impl MemberCounts {
    fn count(&self, bucket: usize) -> usize {
        self.0[bucket] as usize
    }

    fn change(&mut self, bucket: usize, by: i32) {
        self.0[bucket] = self.0[bucket].saturating_add_signed(by);
    }
}

impl Default for MemberCounts {
    fn default() -> MemberCounts {
        MemberCounts(vec![0; BUCKETS])
    }
}

/// So many that, of a hundred thousand addresses, few share a bucket with those of a network at its limit.
const BUCKETS: usize = 1 << 14;

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
    fn the_allowance_of_one_second_may_be_used_at_once() {
        let mut limit = RateLimit::default();
        let allowed = |limit: &mut RateLimit, ms| (0..10_000).filter(|_| limit.allow(at(ms), 1_000)).count();
        assert_eq!(
            (allowed(&mut limit, 0), allowed(&mut limit, 1), allowed(&mut limit, 101)),
            (1_000, 1, 100)
        );
        assert_eq!(allowed(&mut limit, 1_000_000), 1_000);
    }

    #[test]
    fn a_network_that_floods_uses_only_its_own_answers() {
        let config = ServerConfig::default();
        let mut gate = Gate::new([3; 16]);
        let answered = (0..100_000_u32).filter(|k| {
            let address = IpAddr::from([192, 0, 2, (k % 256) as u8]);
            gate.allows_answer(at(0), &config, address)
        });
        assert_eq!(answered.count(), 2_500);
        assert!(gate.allows_answer(at(0), &config, ip("198.51.100.1")));
        assert!(gate.allows_answer(at(2), &config, ip("192.0.2.1")));
    }

    #[test]
    fn a_machine_begins_sixteen_sessions_a_second_be_they_new_or_not() {
        let (config, mut gate) = (ServerConfig::default(), Gate::new([3; 16]));
        let mut admitted = |address, is_known| {
            let admits = |gate: &mut Gate| gate.allows_admission(at(0), &config, ip(address), is_known);
            (0..1_000).filter(|_| admits(&mut gate)).count()
        };
        assert_eq!((admitted("192.0.2.1", true), admitted("192.0.2.1", false)), (16, 0));
        assert_eq!((admitted("192.0.2.2", false), admitted("127.0.0.1", true)), (16, 984));
    }

    #[test]
    fn a_member_registers_again_though_strangers_use_up_the_admissions() {
        let (config, mut gate) = (ServerConfig::default(), Gate::new([3; 16]));
        let strangers = (0..10_000_u32).map(|k| IpAddr::from([198, 18, (k >> 8) as u8, k as u8]));
        let admitted = strangers.filter(|stranger| gate.allows_admission(at(0), &config, *stranger, false));
        assert_eq!(admitted.count(), 1_000);
        assert!(gate.allows_admission(at(0), &config, ip("192.0.2.1"), true));
    }

    #[test]
    fn members_are_limited_per_machine_and_network_but_not_on_loopback() {
        let config = ServerConfig {
            max_clients_per_address: 2,
            max_clients_per_network: 3,
            ..ServerConfig::default()
        };
        let mut gate = Gate::new([3; 16]);
        let is_full = |gate: &Gate, address| gate.is_full_at(&config, ip(address));
        for address in ["192.0.2.1", "192.0.2.1", "127.0.0.1", "127.0.0.1", "127.0.0.1"] {
            gate.add_member(&config, ip(address));
        }
        assert!(is_full(&gate, "192.0.2.1") && !is_full(&gate, "192.0.2.2") && !is_full(&gate, "127.0.0.1"));
        gate.add_member(&config, ip("192.0.2.2"));
        assert!(is_full(&gate, "192.0.2.3") && !is_full(&gate, "192.0.3.1"));
        gate.remove_member(&config, ip("192.0.2.1"));
        assert!(!is_full(&gate, "192.0.2.1"));
        gate.add_member(&config, ip("2001:db8::1"));
        gate.add_member(&config, ip("2001:db8::ffff:1"));
        assert!(is_full(&gate, "2001:db8::2") && !is_full(&gate, "2001:db8:0:1::2"));
        gate.add_member(&config, ip("2001:db8:0:1::2"));
        assert!(is_full(&gate, "2001:db8:0:2::2") && !is_full(&gate, "2001:db8:1::2"));
    }

    #[test]
    fn the_deny_list_wins_and_a_non_empty_allow_list_excludes_all_others() {
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
