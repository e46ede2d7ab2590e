//! The server: admits members, runs the rounds, and sends the result of each vote to the members.
//!
//! It decides which clients are members, when each is measured, and when a round is over. What the cluster
//! time is, its [timekeeper](crate::consensus) decides. [`Server`] passes each input on to its parts; each
//! part owns its state, and gets the `Context` that all of them work with as an argument.
//!
//! | part | what it does |
//! |---|---|
//! | `registrar`, with `gate` and `cookie` | admits and removes members, answers other nodes |
//! | `rounds`, with `pace` and `trains` | schedules rounds and bursts |
//! | `extra_bursts` | measures members between rounds |
//! | `prober` | writes probes, handles reports and send timestamps |
//! | `coverage` | which members the guarantee of a round covers; takeovers beyond stated bounds |
//! | `results` | asks the timekeeper for a decision, stores and reports it |
//! | `corrections` | sends corrections, and repeats them |
//! | `manual_adjustment`, with `relay_leads` | announces manual time adjustments |
//! | `standby`, with `role_sender` and `sparse` | the server as one of several: its role, and what members state |
//! | `references`, with `reference_table` and `missing_references` | the times from outside that members offer |
//! | `groups`, with `remembered_votes` | what each clock counts, and who keeps a vote |
//! | `removed` | remembers which clients have no vote |
//! | `bans` | remembers which clients are not admitted |
//! | `decisions`, with `decided` | passes both on to the standby servers |
//! | `departures` | removes silent members, sends Leave to all at the end |
//! | `context`, with `authentication`, `events`, `members` | what all parts work with |

mod authentication;
mod bans;
mod burst;
mod bursts;
mod context;
mod cookie;
mod corrections;
mod coverage;
mod decided;
mod decisions;
mod delays;
mod departures;
mod events;
mod extra_bursts;
mod gate;
mod groups;
mod handles;
mod keyed_hasher;
mod label_reports;
mod machine;
mod manual_adjustment;
mod measurement;
mod member;
mod members;
mod missing_references;
mod narrow;
mod pace;
mod packed;
mod prober;
mod quality;
mod reference_table;
mod references;
mod registrar;
mod relay_leads;
mod remembered_votes;
mod removed;
mod results;
mod role_sender;
mod rounds;
mod sparse;
mod standby;
mod trains;
mod view;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

use self::authentication::{Authenticator, Seal};
pub use self::bans::BanError;
use self::burst::BurstKind;
use self::context::{Context, QueuedTransmit, Timer};
use self::corrections::{CorrectionSender, RoundKind};
use self::departures::{Farewell, Sweeper};
use self::events::{EventQueue, Forgery};
use self::handles::Slot;
use self::label_reports::LabelReports;
pub use self::manual_adjustment::{Target, TimeChange};
use self::member::Freshness;
use self::members::Members;
use self::prober::{BurstProgress, Prober};
use self::reference_table::References;
use self::registrar::{Registrar, Registration, Request};
use self::relay_leads::RelayLeads;
use self::removed::RemovedClients;
pub use self::removed::VoteChangeError;
use self::results::RoundResults;
use self::role_sender::RoleSender;
use self::rounds::RoundScheduler;
use crate::consensus::{Founded, SetTimeError, Timekeeper, TimekeeperConfig};
use crate::event::Adjustment;
use crate::manual_adjustment::announcement;
use crate::peer::ClientsChange;
use crate::reference::{NoReference, ReferenceReading};
use crate::relayed_time::ExternalTime;
use crate::time::{Monotonic, Now, Raw, Span};
use crate::timers::Timers;
use crate::view::{ManualAdjustmentView, MemberView, ServerView};
use crate::wire::{
    Body, ClusterId, DecodeError, Header, Heartbeat, HeartbeatAck, KeyId, Kind, Label, Lineage, Message,
    Name, NodeId, Reject, RejectReason, Report, SessionId, VERSION, Welcome,
};
use crate::{
    Action, ClockReading, Counters, Fate, MasterKeys, Node, Path, PlausibleTimes, ServerConfig, ServerEvent,
    StampId, Transmit,
};

/// The coordinator of the rounds, as a pure state machine; see [`Node`] for how to drive it.
#[derive(Debug)]
pub struct Server {
    context: Context,
    registrar: Registrar,
    rounds: RoundScheduler,
    prober: Prober,
    results: RoundResults,
    corrections: CorrectionSender,
    removed: RemovedClients,
    label_reports: LabelReports,
    sweeper: Sweeper,
    farewell: Farewell,
    role_sender: RoleSender,
    /// The number of the list of what an operator has decided about clients.
    decisions: u16,
    /// The addresses of the other servers of several.
    peers: Vec<SocketAddr>,
    counters: Counters,
}

impl Server {
    /// A server that starts now. `seed` must be unpredictable wherever an attacker can send datagrams.
    pub fn new(mut config: ServerConfig, seed: [u8; 32], now: Now) -> Server {
        let mut rng = ChaCha12Rng::from_seed(seed);
        let (mut cookie_seed, mut gate_key) = ([0; 32], [0; 16]);
        rng.fill_bytes(&mut cookie_seed);
        rng.fill_bytes(&mut gate_key);
        let timekeeper_config = TimekeeperConfig {
            interval: config.interval,
            radius: config.radius,
            plausible: config.plausible,
            initial_frequency: config.initial_frequency,
            relay: config.relay,
            standby: config.place.is_some(),
            kept: config.kept,
            leading: config.leading,
        };
        let keys = core::mem::take(&mut config.keys);
        let mut context = Context {
            authenticator: Authenticator::new(NodeId(rng.next_u64()), keys),
            timekeeper: Timekeeper::new(timekeeper_config, now.raw),
            members: Members::new(hash_key(seed)),
            references: References::default(),
            relay_leads: RelayLeads::default(),
            timers: Timers::default(),
            outgoing: VecDeque::new(),
            taken_over: (0, Span::ZERO),
            lineage: Lineage::NONE,
            role: None,
            events: EventQueue::new(),
            rng,
            config,
        };
        Server {
            registrar: Registrar::new(cookie_seed, gate_key),
            rounds: RoundScheduler::new(&mut context, now),
            prober: Prober::default(),
            results: RoundResults::default(),
            corrections: CorrectionSender::default(),
            removed: RemovedClients::default(),
            label_reports: LabelReports::default(),
            sweeper: Sweeper::default(),
            farewell: Farewell::default(),
            role_sender: RoleSender::default(),
            decisions: 1,
            peers: Vec::new(),
            counters: Counters::default(),
            context,
        }
    }

    /// How many clients are registered.
    pub fn clients(&self) -> usize {
        self.context.members.len()
    }

    /// The name of the server's own clock.
    pub fn name(&self) -> Name {
        self.context.config.name
    }

    /// The cluster whose time its clock carries, or has carried before the machine slept; 0: none yet.
    pub fn cluster(&self) -> ClusterId {
        self.context.timekeeper.cluster()
    }

    /// The state of the cluster now.
    pub fn view(&self, now: Now) -> ServerView {
        ServerView { members: self.members_from(now, 0, usize::MAX).0, ..self.overview(now) }
    }

    /// The state of at most `max` clients from this slot of the server's table on, and the slot after them;
    /// `None`: there are no more.
    pub fn members_from(&self, now: Now, from: u32, max: usize) -> (Vec<MemberView>, Option<u32>) {
        view::members_from(&self.context, now, from, max)
    }

    /// The state of the cluster now, without its clients.
    pub fn overview(&self, now: Now) -> ServerView {
        let timekeeper = &self.context.timekeeper;
        let timescale = timekeeper.timescale();
        let last = self.results.last();
        let last_round_ago = last.map(|(at, _)| now.mono - at);
        let waits = timekeeper.waits_rounds().map(|rounds| self.context.config.interval.times(rounds.into()));
        ServerView {
            cluster: timekeeper.cluster(),
            undecided: timekeeper.undecided(),
            waits: waits.map(|waits| (waits - last_round_ago.unwrap_or_default()).max(Span::ZERO)),
            state: timekeeper.state(),
            interval: self.context.config.interval,
            last_round: last.map(|(_, report)| report),
            last_round_ago,
            frequency: timescale.frequency() + timekeeper.relayed().rate,
            frequency_error: timekeeper.frequency_error(now.raw),
            exclusion: self.results.own_exclusion(),
            manual_adjustment: ManualAdjustmentView::of(
                timekeeper.manual_adjustment(),
                timekeeper.base_time(now.raw),
            ),
            bound: timekeeper.own_bound(now.raw),
            bounds_broken: self.results.bounds_broken(),
            burst: self.rounds.burst_size(),
            lost: self.counters.lost(),
            members: Vec::new(),
            removed: self.removed.not_registered(&self.context.members),
            utc: self.context.references.view(now, timekeeper),
            missing_references: self.context.references.missing.view(self.context.config.name),
            banned: self.registrar.bans().all().collect(),
        }
    }

    /// Replaces the keys. A member whose key is not among them is not answered any more; it registers again
    /// with another of its keys.
    pub fn set_keys(&mut self, keys: MasterKeys) {
        self.context.authenticator.set_keys(keys);
    }

    /// Sets the time of the whole cluster, as soon as it has been announced to all members. While the cluster
    /// has no time, founds it: the server's own clock is set at once, and the members are corrected.
    ///
    /// # Errors
    /// If that is impossible; then nothing has changed.
    pub fn set_time(
        &mut self,
        now: Now,
        target: Target,
        how: Adjustment,
    ) -> Result<TimeChange, SetTimeError> {
        let change = manual_adjustment::set_time(&mut self.context, now, target, how)?;
        if let TimeChange::Founded { founded, .. } = change {
            self.correct_to_founded_time(now, founded);
        }
        Ok(change)
    }

    /// Sets the time of the whole cluster, as [`set_time`](Server::set_time) does, to what the clock of one
    /// member shows, as the server has measured it. The member is named by its name or address; the server's
    /// own name means its own clock.
    ///
    /// # Errors
    /// If that is impossible; then nothing has changed.
    pub fn set_time_from(
        &mut self,
        now: Now,
        member: &str,
        how: Adjustment,
    ) -> Result<TimeChange, SetTimeError> {
        let target = manual_adjustment::target_from(&self.context, now, member)?;
        self.set_time(now, target, how)
    }

    /// A relay's time is this one from now on, by the oscillator of its machine; `None`: it is not known any
    /// more. To be called whenever the client of the machine has handled an input, with
    /// [`Client::external_time`](crate::Client::external_time); without a call the time goes on as it was
    /// given, with a growing bound. A server that is no relay ignores it.
    pub fn set_external_time(&mut self, now: Now, time: Option<ExternalTime>) {
        if self.context.timekeeper.set_external_time(now.raw, time) {
            self.results.forget(&mut self.context.members);
            self.rounds.hasten(&mut self.context, now);
        }
    }

    /// How long before it begins a relay's server has to be told a manual time adjustment, so that the nodes
    /// below it know of it in time. The client of its machine has to state that:
    /// [`Client::set_relay_lead`](crate::Client::set_relay_lead).
    pub fn relay_lead(&self, now: Now) -> Span {
        announcement(self.context.config.interval, self.context.relay_lead(now.mono))
    }

    /// The number that names this process in what it sends.
    pub fn node(&self) -> NodeId {
        self.context.authenticator.node()
    }

    /// The servers above a relay are these from now on: [`Client::lineage`](crate::Client::lineage) of its
    /// machine. The relay tells its clients.
    pub fn set_lineage(&mut self, lineage: Lineage) {
        self.context.lineage = lineage;
    }

    /// Which times a correct clock can show, by the configuration.
    pub fn plausible_times(&self) -> PlausibleTimes {
        self.context.config.plausible
    }

    /// Takes away the votes of the clients that have this name or address, or are in this network. They are
    /// measured and corrected as before, but count neither for the vote nor for the cluster's rate, also
    /// after they register again.
    ///
    /// # Errors
    /// If there is no such client, or its vote cannot be taken away.
    pub fn remove_from_vote(&mut self, name: &str) -> Result<ClientsChange, VoteChangeError> {
        if self.context.is_standby() {
            return Err(VoteChangeError::Standby);
        }
        let Context { members, events, config, .. } = &mut self.context;
        let change = self.removed.remove(members, &config.name, name)?;
        if change.changed {
            events.push(ServerEvent::Removed(change.clone()));
            self.note_decision();
        }
        Ok(change)
    }

    /// Gives the clients that have this name or address, or are in this network, their votes back.
    ///
    /// # Errors
    /// If there is no such client, or its vote was taken away together with others'.
    pub fn pin_to_vote(&mut self, name: &str) -> Result<ClientsChange, VoteChangeError> {
        if self.context.is_standby() {
            return Err(VoteChangeError::Standby);
        }
        let Context { members, events, config, .. } = &mut self.context;
        let change = self.removed.restore(members, &config.name, name)?;
        if change.changed {
            events.push(ServerEvent::Pinned(change.clone()));
            self.note_decision();
        }
        Ok(change)
    }

    /// Bans the clients that have this name or address, or are in this network: their sessions end, and they
    /// are not admitted any more. With keys, an address with its port stands for the name of the client
    /// there. Without keys a name stands for the machines of its clients, and an address with its port for
    /// the machine that has it.
    ///
    /// # Errors
    /// If it is not clear who is meant; then nothing has changed.
    pub fn ban(&mut self, now: Now, name: &str) -> Result<ClientsChange, BanError> {
        if self.context.is_standby() {
            return Err(BanError::Standby);
        }
        let Context { members, config, authenticator, .. } = &mut self.context;
        let has_keys = authenticator.has_keys();
        let change = self.registrar.bans_mut().add(members, config, has_keys, name)?;
        for client in &change.clients {
            self.expel(now, client.address);
        }
        if change.changed {
            self.context.events.push(ServerEvent::Banned(change.clone()));
            self.note_decision();
        }
        Ok(change)
    }

    /// Lifts the bans of the clients that have this name or address, or are in this network.
    ///
    /// # Errors
    /// If it is not banned, or only together with others, or by the configuration.
    pub fn unban(&mut self, name: &str) -> Result<ClientsChange, BanError> {
        if self.context.is_standby() {
            return Err(BanError::Standby);
        }
        let Context { config, authenticator, .. } = &self.context;
        let change = self.registrar.bans_mut().lift(config, authenticator.has_keys(), name)?;
        self.context.events.push(ServerEvent::Unbanned(change.clone()));
        self.note_decision();
        Ok(change)
    }

    /// Ends all sessions: the clients register again, and so learn that the time by which the server measures
    /// them is another one.
    fn end_all_sessions(&mut self, now: Now) {
        let mut from = 0;
        while let Some(slot) = self.context.members.step(&mut from) {
            self.registrar.dismiss(&mut self.context, now, slot);
        }
    }

    /// Ends the session of the client at this address, and tells it why.
    fn expel(&mut self, now: Now, address: SocketAddr) {
        let Some(slot) = self.context.members.find(address) else { return };
        let reject = Reject { nonce: 0, reason: RejectReason::Banned, version: VERSION };
        self.context.send(slot, 0, Body::Reject(reject));
        if let Some(member) = self.registrar.dismiss(&mut self.context, now, slot) {
            self.context.events.push(ServerEvent::Expelled { client: member.peer() });
        }
    }

    fn handle_message(
        &mut self,
        now: Now,
        received: Raw,
        path: Path,
        message: &Message,
        datagram: &[u8],
    ) -> Fate {
        let context = &mut self.context;
        let seal = match context.authenticator.authenticate(&context.members, path, message, datagram) {
            Ok(seal) => seal,
            Err(fate) => {
                if fate == Fate::Tag {
                    self.report_forgery(now, path, message);
                }
                return fate;
            }
        };
        let header = &message.header;
        match &message.body {
            Body::Register(register) => {
                return self.handle_register(now, Request { path, seal: &seal, header, register });
            }
            Body::Report(_) | Body::Heartbeat(_) | Body::Leave(_) => {}
            Body::ManualAdjustment(_) | Body::Reference(_) | Body::Label(_) => {}
            _ => return Fate::Misdirected,
        }
        let Some(slot) = self.member_of(path.peer, header.session) else {
            return self.reject_unknown_session(now, path, &seal, message);
        };
        let fate = match &message.body {
            Body::Report(report) => self.handle_report(now, received, slot, header, report),
            Body::Heartbeat(heartbeat) => self.handle_heartbeat(now, slot, header, heartbeat),
            Body::ManualAdjustment(adjustment) => {
                manual_adjustment::handle_report(&mut self.context, now, slot, header, adjustment)
            }
            Body::Label(label) => self.handle_label(now, slot, header, *label),
            Body::Reference(reference) => {
                references::handle_reference(&mut self.context, now, slot, header, reference)
            }
            _ => return self.handle_leave(now, slot),
        };
        if fate == Fate::Accepted {
            self.context.note_relay_lead(now.mono, header);
        }
        fate
    }

    /// Answers a datagram of a session that is not known at its source address.
    fn reject_unknown_session(&mut self, now: Now, path: Path, seal: &Seal, message: &Message) -> Fate {
        let header = &message.header;
        let nonce = match &message.body {
            Body::Report(report) => report.nonce,
            Body::Heartbeat(heartbeat) => heartbeat.nonce,
            _ => return Fate::Session,
        };
        if seal.key != KeyId::NONE && self.is_known_elsewhere(header) {
            return Fate::Session;
        }
        let namesake = Some(seal.name).filter(|_| seal.key != KeyId::NONE);
        let is_replaced = namesake.is_some_and(|name| self.context.members.of_name(&name).is_some());
        let reason = if is_replaced { RejectReason::Replaced } else { RejectReason::UnknownSession };
        let reject = Reject { nonce, reason, version: VERSION };
        match self.registrar.reject(&mut self.context, now, path, seal, (header.session, reject)) {
            Ok(()) => Fate::Session,
            Err(fate) => fate,
        }
    }

    /// Whether this is the session of a member at another address. An attacker may have copied the datagram,
    /// and a refusal with a genuine tag would end the member's session. A member that has really moved
    /// registers again when it gets no answers.
    fn is_known_elsewhere(&self, header: &Header) -> bool {
        let members = &self.context.members;
        let member = members.of_node(header.sender).and_then(|slot| members.get(slot));
        member.is_some_and(|member| member.session == header.session)
    }

    fn member_of(&self, address: SocketAddr, session: SessionId) -> Option<Slot> {
        let slot = self.context.members.find(address)?;
        let member = self.context.members.get(slot)?;
        (member.session == session).then_some(slot)
    }

    fn report_forgery(&mut self, now: Now, path: Path, message: &Message) {
        let key = message.header.key_id;
        let name = match &message.body {
            Body::Register(register) => register.name,
            Body::Heartbeat(heartbeat) => heartbeat.name,
            _ => Name::default(),
        };
        let known = self.context.authenticator.knows(key);
        self.context.events.push_forgery(now, Forgery { address: path.peer, key, known, name });
    }

    fn handle_register(&mut self, now: Now, request: Request<'_>) -> Fate {
        let nonce = request.register.nonce;
        match self.registrar.handle_register(&mut self.context, now, request) {
            Registration::NotAdmitted(fate) => return fate,
            Registration::Repeated(slot) => self.welcome(slot, nonce),
            Registration::Admitted(slot) => {
                self.context.note_relay_lead(now.mono, request.header);
                if let Some(member) = self.context.members.at(slot) {
                    self.removed.mark_new(member);
                    // The current round takes place without it.
                    member.round = self.rounds.number();
                }
                self.welcome(slot, nonce);
                extra_bursts::begin_first(&mut self.context, &mut self.rounds, now, slot);
                if !self.context.is_standby() {
                    extra_bursts::allow_for_new(&mut self.context, now.mono, slot);
                }
            }
        }
        Fate::Accepted
    }

    /// The server's own clock was set to a time that an operator has founded: sends the members their
    /// corrections, and begins the next round soon.
    fn correct_to_founded_time(&mut self, now: Now, founded: Founded) {
        let Founded { correction, added } = founded;
        let (round, adjustment) = (self.rounds.number(), Adjustment::Step);
        self.context.events.push(ServerEvent::OwnClockCorrected { round, correction, added, adjustment });
        self.results.forget(&mut self.context.members);
        self.corrections.begin(&mut self.context, now, round, RoundKind::FirstVote);
        self.rounds.hasten(&mut self.context, now);
    }

    fn welcome(&mut self, slot: Slot, nonce: u64) {
        let Context { config, timekeeper, .. } = &self.context;
        let welcome = Welcome {
            nonce,
            cluster: timekeeper.cluster(),
            interval: config.interval,
            heartbeat: config.heartbeat(),
            lifetime: config.lifetime(),
            rate: timekeeper.rate(),
            relay: timekeeper.is_relay(),
        };
        self.context.send(slot, 0, Body::Welcome(welcome));
        self.context.state_role(slot);
        manual_adjustment::announce(&mut self.context, slot);
    }

    fn handle_report(&mut self, now: Now, t4: Raw, slot: Slot, header: &Header, report: &Report) -> Fate {
        let progress = match prober::handle_report(&mut self.context, now, t4, slot, header, report) {
            Ok(progress) => progress,
            Err(fate) => return fate,
        };
        manual_adjustment::announce(&mut self.context, slot);
        corrections::confirm_or_repeat(&mut self.context, slot, report.applied);
        match progress {
            BurstProgress::Complete => self.end_burst(now, slot),
            BurstProgress::Waiting => rounds::send_following_probe(&mut self.context, slot),
        }
        Fate::Accepted
    }

    fn handle_heartbeat(&mut self, now: Now, slot: Slot, header: &Header, heartbeat: &Heartbeat) -> Fate {
        let Some(member) = self.context.members.at(slot) else { return Fate::Session };
        if member.record_datagram(now.mono, header) == Freshness::Replayed {
            return Fate::Replayed;
        }
        member.record_state(header.flags);
        if let Some(statement) = heartbeat.statement.filter(|_| self.context.role.is_some()) {
            self.context.members.record_statement(slot, statement);
        }
        self.context.send(slot, 0, Body::HeartbeatAck(HeartbeatAck { nonce: heartbeat.nonce }));
        self.context.state_role(slot);
        manual_adjustment::announce(&mut self.context, slot);
        if let Some(progress) = heartbeat.decisions.filter(|_| self.context.role.is_some()) {
            self.send_decisions(slot, progress);
        }
        Fate::Accepted
    }

    /// Stores a member's label, and confirms it.
    fn handle_label(&mut self, now: Now, slot: Slot, header: &Header, label: Label) -> Fate {
        let Some(member) = self.context.members.at(slot) else { return Fate::Session };
        if member.record_datagram(now.mono, header) == Freshness::Replayed {
            return Fate::Replayed;
        }
        self.context.members.record_label(slot, label.label);
        self.label_reports.note_label(&mut self.context, slot);
        self.context.send(slot, 0, Body::Label(label));
        Fate::Accepted
    }

    fn handle_leave(&mut self, now: Now, slot: Slot) -> Fate {
        if let Some(member) = self.registrar.dismiss(&mut self.context, now, slot) {
            self.context.events.push(ServerEvent::Left { client: member.peer() });
        }
        Fate::Accepted
    }

    /// Removes members that have been silent for too long.
    fn sweep(&mut self, now: Now) {
        for slot in self.sweeper.find_silent(&mut self.context, now) {
            if let Some(member) = self.registrar.dismiss(&mut self.context, now, slot) {
                let (client, silent) = (member.peer(), member.silence(now.mono));
                self.context.events.push(ServerEvent::Lost { client, silent });
            }
        }
    }

    fn begin_round(&mut self, now: Now) {
        if self.rounds.is_probing() {
            self.rounds.extend(&mut self.context);
            return;
        }
        self.conclude_round(now);
        self.sweep(now);
        self.context.timers.set(now.mono + self.context.config.interval.half(), Timer::Sweep);
        self.context.references.begin_round(self.context.config.offers_reference);
        self.rounds.begin(&mut self.context, now);
        self.conclude_if_complete(now);
    }

    fn end_burst(&mut self, now: Now, slot: Slot) {
        if self.rounds.end_burst(&mut self.context, slot) == Some(BurstKind::Extra) {
            self.correct_between_rounds(slot);
        }
        self.conclude_if_complete(now);
    }

    /// Sends a member a correction after an extra burst. A server whose own clock the last vote has left out
    /// sends none between rounds.
    fn correct_between_rounds(&mut self, slot: Slot) {
        let recipients = self.context.timekeeper.recipients();
        let is_recipient =
            self.context.members.get(slot).is_some_and(|member| recipients.includes(member.state));
        if is_recipient && self.results.own_exclusion().is_none() {
            corrections::send_correction(&mut self.context, slot);
        }
    }

    fn conclude_if_complete(&mut self, now: Now) {
        if self.rounds.is_complete() {
            self.conclude_round(now);
        }
    }

    /// The vote of the round, if it has not taken place, and the corrections after it.
    fn conclude_round(&mut self, now: Now) {
        if !self.rounds.end_round(&mut self.context) {
            return;
        }
        let round = self.rounds.number();
        let after = self.results.conclude(&mut self.context, now, round);
        if let Some(founded) = references::found(&mut self.context, now) {
            self.correct_to_founded_time(now, founded);
            return;
        }
        self.corrections.begin(&mut self.context, now, round, after.kind);
        if self.context.timekeeper.wants_round_soon(after.unheard) {
            self.rounds.hasten(&mut self.context, now);
        }
    }

    fn handle_timer(&mut self, now: Now, timer: Timer) {
        let context = &mut self.context;
        match timer {
            Timer::Round if self.rounds.is_due(now) => self.begin_round(now),
            Timer::Vote(round) if round == self.rounds.number() => self.conclude_round(now),
            // These were set for an earlier time, or for an earlier round.
            Timer::Round | Timer::Vote(_) => {}
            Timer::BeginBursts => self.rounds.begin_due_bursts(context, now),
            Timer::SendCorrections => self.corrections.send_next(context, now),
            Timer::Sweep => self.sweep(now),
            Timer::Probe(burst, index) => rounds::send_due_probe(context, now, burst, index),
            Timer::BurstOver(burst) => {
                if let Some(slot) = context.members.burst(burst).map(|burst| burst.member) {
                    self.end_burst(now, slot);
                }
            }
            Timer::StateRole => self.role_sender.send_next(context, now),
            Timer::ExtraBurst(slot, session) => {
                extra_bursts::begin_due(context, &mut self.rounds, now, slot, session);
            }
        }
    }

    /// Refuses a datagram of another protocol version. Datagrams that may be answers themselves are not
    /// answered, and with keys none is, since it is not authentic.
    fn refuse_version(
        &mut self,
        now: Now,
        path: Path,
        kind: u8,
        version: u8,
        (session, nonce): (SessionId, u64),
    ) {
        if kind == Kind::Reject as u8 || self.context.authenticator.has_keys() {
            return;
        }
        let reject = Reject { nonce, reason: RejectReason::Version, version: VERSION };
        // The datagram has no other effect, whether it is answered or not.
        let _ = self.registrar.reject(&mut self.context, now, path, &Seal::default(), (session, reject));
        self.context.events.push_refusal(now, path.peer, RejectReason::Version, version);
    }
}

impl Node for Server {
    type Event = ServerEvent;

    fn handle_datagram(&mut self, now: Now, path: Path, datagram: &[u8]) {
        self.handle_received(now, now.raw, path, datagram);
    }

    fn handle_received(&mut self, now: Now, received: Raw, path: Path, datagram: &[u8]) {
        let fate = match Message::decode(datagram) {
            _ if !gate::is_allowed(&self.context.config, path.peer.ip()) => Fate::Denied,
            Ok(message) => self.handle_message(now, received, path, &message, datagram),
            Err(DecodeError::Length(_)) => Fate::Length,
            Err(DecodeError::Magic) => Fate::Magic,
            Err(DecodeError::Version { version, kind, session, nonce }) => {
                self.refuse_version(now, path, kind, version, (session, nonce));
                Fate::Version
            }
            Err(DecodeError::Kind(_) | DecodeError::Field(_)) => Fate::Malformed,
        };
        self.counters.count(fate);
    }

    fn handle_transmitted(&mut self, id: StampId, raw: Raw) {
        self.prober.handle_transmitted(&mut self.context.members, id, raw);
    }

    fn handle_lost(&mut self, datagrams: u32) {
        self.counters.lose(datagrams);
    }

    fn handle_timeout(&mut self, now: Now) {
        for _ in 0..pace::TIMERS_PER_STEP {
            let Some(timer) = self.context.timers.fire(now.mono) else { break };
            self.handle_timer(now, timer);
        }
    }

    fn handle_shutdown(&mut self, _now: Now) {
        self.farewell.begin();
    }

    fn handle_suspended(&mut self, now: Now, slept: Span) {
        let gone = registrar::note_sleep(&mut self.context, now);
        self.context.timekeeper.wake_up(now.raw, slept, gone);
        // Measurements across the pause are wrong, and so are corrections by the time before it.
        self.rounds.cancel();
        self.corrections.cancel();
        self.context.members.discard_measurements();
        if self.context.timekeeper.is_relay() {
            self.end_all_sessions(now);
        }
        self.context.references.forget();
        self.context.events.push(ServerEvent::Suspended { slept });
    }

    fn poll_transmit(&mut self, now: Now) -> Option<Transmit> {
        loop {
            match self.context.outgoing.pop_front() {
                Some(QueuedTransmit::Ready(transmit)) => return Some(transmit),
                Some(QueuedTransmit::Probe(burst)) => {
                    if let Some(transmit) = self.prober.write_probe(&mut self.context, now, burst) {
                        return Some(transmit);
                    }
                }
                None => return self.farewell.poll_transmit(&mut self.context),
            }
        }
    }

    fn handle_reference(&mut self, _now: Now, reading: Result<ReferenceReading, NoReference>) {
        let event = self.context.references.note_own(reading);
        self.context.events.extend(event);
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.context.references.wants_own().then_some(Action::ReadReference)
    }

    fn poll_event(&mut self) -> Option<ServerEvent> {
        self.context.events.pop()
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        self.context.timers.next()
    }

    fn read(&self, raw: Raw) -> ClockReading {
        let timekeeper = &self.context.timekeeper;
        ClockReading {
            cluster: timekeeper.cluster(),
            time: timekeeper.shown(raw),
            manual_adjustment: *timekeeper.manual_adjustment(),
            state: timekeeper.state(),
            error: timekeeper.own_error(raw),
            bound: timekeeper.own_bound(raw),
            frequency: timekeeper.timescale().frequency() + timekeeper.relayed().rate,
            frequency_error: timekeeper.frequency_error(raw),
        }
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// The secret of the hash tables, from a random stream of its own.
fn hash_key(seed: [u8; 32]) -> [u8; 16] {
    let mut rng = ChaCha12Rng::from_seed(seed);
    rng.set_stream(1);
    let mut key = [0; 16];
    rng.fill_bytes(&mut key);
    key
}
