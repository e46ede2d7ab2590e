//! Which of its servers a client follows.
//!
//! A client with one server follows that, unless the server states that it is a standby server. A client with
//! several chooses by the rules of its [`Allegiance`] among those that it hears; a server, as a client of the
//! others, is told by its [role](crate::roles::server_role). All of them distrust a server that two others
//! contradict ([`opinion`](super::opinion)).

use alloc::vec::Vec;

use super::joined::Joined;
use super::link::Link;
use super::opinion::{self, Opinion};
use super::outbox::Outbox;
use super::server_reports::ServerReports;
use super::shared::Shared;
use crate::ClientEvent;
use crate::roles::allegiance::Allegiance;
use crate::roles::heard_servers::HeardServers;
use crate::roles::rank::{MAX_SERVERS, Rank, ServerSet};
use crate::roles::term::Term;
use crate::time::{Monotonic, Now, Raw, Span};
use crate::view::ListedServerView;
use crate::wire::RoleMessage;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Following {
    chooser: Chooser,
    followed: Option<Rank>,
    /// The servers that two others contradict, or did lately.
    distrusted: ServerSet,
    /// When two others have contradicted each server last, by its rank.
    contradicted: [Option<Monotonic>; MAX_SERVERS as usize],
    /// What of this has been reported.
    reports: ServerReports,
    /// When the servers' statements were looked at last.
    updated: Monotonic,
    /// When the client has stated something new last.
    stated: Monotonic,
    /// Until when a new client listens before it chooses; `None`: it has heard no server yet.
    listens_until: Option<Monotonic>,
    pub outbox: Outbox,
}

/// Who decides which server is followed.
#[derive(Clone, Copy, Debug)]
enum Chooser {
    /// There is one server.
    Only,
    /// The client itself.
    Own(Allegiance),
    /// The role of the server that the client is part of; it follows this term, or its server is active in
    /// it.
    Role(Term),
}

impl Following {
    /// That of a client that begins.
    pub(super) fn new(now: Now, links: &mut [Link], shared: &mut Shared) -> Following {
        let chooser = match shared.config.own_rank {
            Some(_) => Chooser::Role(Term::NONE),
            None if shared.config.servers > 1 => Chooser::Own(Allegiance::default()),
            None => Chooser::Only,
        };
        let mut following = Following {
            chooser,
            followed: None,
            distrusted: ServerSet::EMPTY,
            contradicted: [None; MAX_SERVERS as usize],
            reports: ServerReports::default(),
            updated: now.mono,
            stated: now.mono,
            listens_until: None,
            outbox: Outbox::default(),
        };
        following.update(now, links, shared);
        following
    }

    /// The server that the clock follows; `None`: none.
    pub(super) fn followed(&self) -> Option<Rank> {
        self.followed
    }

    /// The servers that two others contradict.
    pub(super) fn distrusted(&self) -> ServerSet {
        self.distrusted
    }

    /// The role of the server that the client is part of is that of this term now: it follows this server in
    /// it, or none because it is active.
    pub(super) fn set_role(
        &mut self,
        now: Now,
        (term, followed): (Term, Option<Rank>),
        links: &mut [Link],
        shared: &mut Shared,
    ) {
        let before = self.term();
        self.chooser = Chooser::Role(term);
        self.follow(now, (followed, before), links, shared);
    }

    /// Looks at the servers' statements again: one came, or was forgotten.
    pub(super) fn update(&mut self, now: Now, links: &mut [Link], shared: &mut Shared) {
        self.updated = now.mono;
        if let Chooser::Only = self.chooser {
            self.follow(now, (links.first().map(Link::rank), Term::NONE), links, shared);
            return;
        }
        self.report_misplaced(links, shared);
        self.judge(now, links, shared);
        let before = self.term();
        let heard = heard(now.mono, links, shared.config.servers);
        if before.is_none() && heard.ranks() != ServerSet::EMPTY {
            self.listens_until.get_or_insert(now.mono + interval(links));
        }
        let Chooser::Own(allegiance) = &mut self.chooser else { return };
        let mut next = *allegiance;
        // A new client is not to follow the first server that answers, which may be the one that lies.
        let listens = self.listens_until.is_none_or(|until| now.mono < until);
        let is_named = |term: Term| 2 * heard.naming(term) > usize::from(shared.config.servers);
        let chosen = next.choose(&heard, self.distrusted);
        let chosen = chosen.filter(|term| !before.is_none() || !listens || is_named(*term));
        if let Some(term) = chosen {
            *allegiance = next;
            self.follow(now, (term.rank(), before), links, shared);
        }
        self.reports.note_followed(now.mono, self.term(), links, &mut self.outbox);
        self.state(now, &heard, links, shared);
    }

    /// States to all servers what the client is, if that is new. Changes that follow one another are stated
    /// together, so that a server which changes its own statement all the time causes no flood.
    fn state(&mut self, now: Now, heard: &HeardServers, links: &mut [Link], shared: &mut Shared) {
        let Chooser::Own(allegiance) = self.chooser else { return };
        let statement = Some(allegiance.statement(heard, self.distrusted));
        let is_first = shared.statement.is_none();
        if shared.statement == statement || !(is_first || now.mono >= self.states_again(links)) {
            return;
        }
        (shared.statement, self.stated) = (statement, now.mono);
        links.iter_mut().for_each(|link| link.send_heartbeat(now, shared));
    }

    /// When it may state something new again.
    fn states_again(&self, links: &[Link]) -> Monotonic {
        self.stated + interval(links).over(STATEMENTS)
    }

    /// When to call [`update`](Following::update) although nothing came: a statement is forgotten, the client
    /// has listened for long enough, or may state or report something new.
    pub(super) fn poll_timeout(&self, links: &[Link]) -> Option<Monotonic> {
        if let Chooser::Only = self.chooser {
            return None;
        }
        let tick = Span::from_nanos(1);
        let ends = links.iter().filter_map(|link| Some(link.stated()?.0 + link.statement_lifetime() + tick));
        let followed = Some(self.term()).filter(|_| matches!(self.chooser, Chooser::Own(_)));
        let reports = self.reports.poll_timeout(followed, self.distrusted);
        let others = self.listens_until.into_iter().chain([self.states_again(links)]).chain(reports);
        ends.chain(others).filter(|end| *end > self.updated).min()
    }

    /// The term that the client follows, or the server that it is part of; [`Term::NONE`]: none.
    fn term(&self) -> Term {
        match self.chooser {
            Chooser::Only => Term::NONE,
            Chooser::Own(allegiance) => allegiance.term(),
            Chooser::Role(term) => term,
        }
    }

    /// The servers of the list as the client knows them; empty if there is one only.
    pub(super) fn view(&self, now: Now, links: &[Link]) -> Vec<ListedServerView> {
        if let Chooser::Only = self.chooser {
            return Vec::new();
        }
        let view = |link: &Link| {
            let stated = link.heard(now.mono);
            ListedServerView {
                rank: link.rank(),
                address: link.server(),
                registered: link.joined().is_some(),
                stated: stated.map(|(_, stated)| stated.statement),
                followed: self.followed == Some(link.rank()),
                distrusted: self.distrusted.contains(link.rank()),
                bound: stated.and_then(|(_, stated)| stated.bound),
                heard_ago: link.joined().map(|joined| now.mono - joined.liveness().heard()),
            }
        };
        links.iter().map(view).collect()
    }

    /// Follows this server from now on, after that of the term `before`.
    fn follow(
        &mut self,
        now: Now,
        (rank, before): (Option<Rank>, Term),
        links: &mut [Link],
        shared: &mut Shared,
    ) {
        if self.followed == rank {
            let same = links.iter_mut().find(|link| Some(link.rank()) == rank);
            if let Some(link) = same.filter(|_| before != self.term()) {
                link.follow_term();
            }
            return;
        }
        let left = core::mem::replace(&mut self.followed, rank);
        for link in links {
            if Some(link.rank()) == left {
                link.unfollow();
            } else if Some(link.rank()) == rank {
                link.follow(now, before, shared);
            }
        }
    }

    /// Reports servers with another list than this client's: what they state does not count.
    fn report_misplaced(&mut self, links: &[Link], shared: &Shared) {
        for link in links {
            let stated = link.stated().map(|(_, stated)| stated);
            let wrong = stated.filter(|stated| !is_in_place(stated, link.rank(), shared.config.servers));
            let Some((stated, server)) = wrong.zip(link.server()) else { continue };
            let (own, rank, servers) = (link.rank(), stated.rank, stated.servers);
            let differs = ClientEvent::ListDiffers { server, own, rank, servers };
            self.reports.note_misplaced(own, differs, &mut self.outbox);
        }
    }

    /// Finds the servers that two others contradict, and reports changes.
    fn judge(&mut self, now: Now, links: &mut [Link], shared: &mut Shared) {
        let (term, clock) = (self.term(), &shared.clock);
        let heard = heard(now.mono, links, shared.config.servers);
        let followed = links.iter().find(|link| Some(link.rank()) == self.followed);
        let doubted_since = followed.and_then(|link| link.joined()?.doubted_since());
        let is_of_term = |link: &&Link| {
            let stated = heard.statement_of(link.rank());
            stated.is_some_and(|stated| stated.term == term && !term.is_none())
        };
        let current = |link: &Link| {
            let (opinion, joined) = (link.opinion()?, link.joined()?);
            // The opinions that confirm a doubt are newer than it: older ones hang on this node's oscillator.
            let since = doubted_since.unwrap_or(now.raw - joined.interval().times(OPINION_ROUNDS));
            let is_new = opinion.age(now.raw) <= now.raw - since;
            is_new.then(|| (link.rank(), clock.carry_opinion(&opinion, now.raw)))
        };
        let mut opinions: Vec<(Rank, Opinion)> =
            links.iter().filter(is_of_term).filter_map(current).collect();
        let mut own = None;
        if let Chooser::Role(_) = self.chooser {
            own = self.own_opinion(now.raw, links, shared);
            if let (None, Some(rank)) = (self.followed, shared.config.own_rank) {
                // The server itself is the active one: its clock is what the others are compared with.
                opinions.extend(own.take().map(|opinion| (rank, opinion)));
            }
        }
        let found = opinion::distrusted(&opinions, own);
        let distrusted = self.note_contradicted(now.mono, found, links);
        let before = core::mem::replace(&mut self.distrusted, distrusted);
        for link in links.iter_mut() {
            let (was, is) = (before.contains(link.rank()), distrusted.contains(link.rank()));
            if was != is {
                link.set_distrusted(is, shared);
            }
        }
        self.reports.note_distrusted(now.mono, distrusted, links, &mut self.outbox);
    }

    /// Two others contradict these servers now. Returns those that they contradict now or did lately: a
    /// server that lies could claim another term otherwise, of which there is no opinion yet.
    fn note_contradicted(&mut self, now: Monotonic, found: ServerSet, links: &[Link]) -> ServerSet {
        let lasts = interval(links).times(OPINION_ROUNDS);
        let ranks = (0..MAX_SERVERS).filter_map(Rank::new);
        let contradicted = ranks.zip(&mut self.contradicted).filter_map(|(rank, last)| {
            if found.contains(rank) {
                *last = Some(now);
            }
            last.is_some_and(|last| now - last <= lasts).then_some(rank)
        });
        contradicted.collect()
    }

    /// What this node has proved itself: of a server that is active, or that doubts the one that it follows.
    fn own_opinion(&self, raw: Raw, links: &[Link], shared: &Shared) -> Option<Opinion> {
        let followed = links.iter().find(|link| Some(link.rank()) == self.followed);
        let counts = followed.is_none_or(|link| link.joined().is_some_and(Joined::is_doubted));
        shared.clock.proved(raw).filter(|_| counts)
    }
}

/// The newest statement of each server that is heard and has the same list.
pub(super) fn heard(now: Monotonic, links: &[Link], servers: u8) -> HeardServers {
    let mut heard = HeardServers::default();
    for link in links {
        if let Some((_, stated)) = link.heard(now)
            && is_in_place(&stated, link.rank(), servers)
        {
            heard.note(link.rank(), stated.statement);
        }
    }
    heard
}

/// The servers that are heard and state that they carry the cluster's time.
pub(super) fn with_time(now: Monotonic, links: &[Link], servers: u8) -> ServerSet {
    let carries = |link: &&Link| {
        link.heard(now)
            .is_some_and(|(_, stated)| is_in_place(&stated, link.rank(), servers) && stated.bound.is_some())
    };
    links.iter().filter(carries).map(Link::rank).collect()
}

fn is_in_place(stated: &RoleMessage, rank: Rank, servers: u8) -> bool {
    stated.rank == rank && stated.servers == servers
}

/// The shortest interval of the sessions: one server is not to delay what the client states to the others.
fn interval(links: &[Link]) -> Span {
    let intervals = links.iter().filter_map(|link| Some(link.joined()?.interval()));
    intervals.min().unwrap_or_default().max(MIN_INTERVAL)
}

/// No server makes its clients act more often than if its interval were this.
const MIN_INTERVAL: Span = Span::from_millis(100);

/// A client states something new at most so often in an interval.
const STATEMENTS: i64 = 8;
/// An opinion counts for so many rounds: standby servers measure a member in every sixth.
const OPINION_ROUNDS: i64 = 9;
