//! Runs a node, and hands its events to the output, the record, the state file and the control socket.

use std::io;
use std::path::PathBuf;

use super::NodeArgs;
use crate::cli::Failure;
use crate::cli::advice::Advice;
use crate::cli::logging::EVENT_TARGET;
use crate::cli::output::{Output, Record, Tell, Tick};
use crate::cli::standing::Standing;
use crate::clock::{NodeClock, SystemClockEvent};
use crate::control::protocol::EventLevel;
use crate::control::{ControlSocket, ControlledNode, LoggedEvent, Query, RequestHandler, ResponsePart};
use crate::event_loop::{EventLoop, InstalledCard, LoopHandler};
use crate::process::ServiceManager;
use crate::report::ClockSnapshot;
use crate::store::key_file::{KeyFileWatcher, Rekey};
use crate::store::record::{Recorded, Recorder};
use crate::store::state_file::StateFile;
use crate::udp::{ServerList, Transport};
use meantime_core::time::{Now, Span};

/// What a node has beside its link and its clock.
#[derive(Debug, Default)]
pub(in crate::cli) struct Equipment {
    /// The socket at which it answers programs.
    pub control: Option<ControlSocket>,
    /// The file that keeps its oscillator's frequency and the time over restarts.
    pub state_file: Option<StateFile>,
    /// The hints for a client whose server does not answer.
    pub advice: Option<Advice>,
    /// The network cards that stamp its datagrams.
    pub cards: Vec<InstalledCard>,
    /// The files with its keys.
    pub key_files: Vec<PathBuf>,
    /// The files with the keys of the client that is a part of a server.
    pub client_key_files: Vec<PathBuf>,
    /// The list of servers that it is, or follows, one of.
    pub servers: Option<ServerList>,
    /// For how long it may hand over to another server at most before it ends.
    pub handover: Span,
}

impl NodeArgs {
    /// Runs a node until a signal ends it. `first` is printed before any event.
    ///
    /// # Errors
    /// When the system has no descriptors left, or the output cannot be written.
    pub(in crate::cli) fn run<N>(
        &self,
        node: N,
        link: impl Transport,
        clock: impl NodeClock,
        first: Option<&dyn Tell>,
        equipment: Equipment,
    ) -> Result<(), Failure>
    where
        N: ControlledNode + Recorded + Rekey + Standing,
        N::Event: Tell,
    {
        let Equipment { control, state_file, advice, cards, handover, .. } = equipment;
        let recorder = self.record.open()?;
        let mut output = Output::new(self.output, io::stdout().lock());
        log::info!(target: EVENT_TARGET, "timestamps: {}", link.timestamp_source());
        let start = ClockSnapshot::of(&node, &clock, link.timestamp_source());
        let printed = first.map_or(Ok(()), |first| output.tell(&start, first));
        let event_loop = EventLoop::new(node, link, clock)
            .and_then(EventLoop::with_signals)
            .and_then(|event_loop| event_loop.with_control(control));
        let mut service_manager = ServiceManager::from_environment();
        let keepalive = service_manager.as_ref().map(ServiceManager::period);
        let event_loop = event_loop.map_err(cannot_run)?.with_cards(cards);
        let mut event_loop =
            event_loop.with_handover(handover).with_tick(self.tick).with_keepalive(keepalive);
        service_manager.iter_mut().for_each(ServiceManager::ready);
        let mut observer = NodeObserver {
            output,
            state_file,
            advice,
            recorder,
            service_manager,
            requests: RequestHandler::new(equipment.servers),
            key_files: KeyFileWatcher::new(equipment.key_files),
            client_key_files: KeyFileWatcher::new(equipment.client_key_files),
        };
        let result = printed.and_then(|()| event_loop.run(&mut observer));
        observer.service_manager.iter_mut().for_each(ServiceManager::stopping);
        observer.state_file.iter_mut().for_each(StateFile::write);
        match result {
            // The reader of the output has closed it, as `| head` does: that is no failure.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(|error| Failure::Runtime(format!("cannot go on: {error}"))),
        }
    }
}

/// The receivers of a node's events.
struct NodeObserver<W: io::Write> {
    output: Output<W>,
    state_file: Option<StateFile>,
    advice: Option<Advice>,
    recorder: Option<Recorder>,
    service_manager: Option<ServiceManager>,
    requests: RequestHandler,
    key_files: KeyFileWatcher,
    client_key_files: KeyFileWatcher,
}

impl<W: io::Write> NodeObserver<W> {
    /// Adds an event to the log that the control socket serves, if it is worth a line there.
    fn log(&mut self, at: &ClockSnapshot, event: &(impl Tell + ?Sized)) {
        let (Some(level), Some(text)) = (event.level(), event.text(at)) else { return };
        let mut record = Record::new(event.kind(), at);
        event.fields(&mut record);
        let field = |name| record.field(name).and_then(|value| value.as_str()).map(Box::from);
        self.requests.log(LoggedEvent {
            time: at.reading.time,
            kind: event.kind(),
            level: if level <= log::Level::Warn { EventLevel::Warning } else { EventLevel::Info },
            text: text.into(),
            client: field("client"),
            address: field("address"),
        });
    }
}

impl<N: ControlledNode + Recorded + Rekey + Standing, W: io::Write> LoopHandler<N> for NodeObserver<W>
where
    N::Event: Tell,
{
    fn event(&mut self, node: &N, now: Now, at: ClockSnapshot, event: N::Event) -> io::Result<()> {
        if let Some(recorder) = &mut self.recorder {
            recorder.note(node, now, &at, &event);
        }
        self.state_file.iter_mut().for_each(|file| file.note(&at));
        self.log(&at, &event);
        self.output.tell(&at, &event)?;
        if let Some(hint) = self.advice.as_mut().and_then(|advice| advice.after(event.kind())) {
            // Where stdout and stderr are the same terminal, the events stand before the hint.
            self.output.flush()?;
            log::warn!("{hint}");
        }
        Ok(())
    }

    fn tick(&mut self, at: ClockSnapshot) -> io::Result<()> {
        self.output.tell(&at, &Tick)
    }

    fn keepalive(&mut self, node: &N, now: Now) {
        if let Some(manager) = &mut self.service_manager {
            manager.keepalive(&node.standing(now));
        }
    }

    fn system_clock(&mut self, at: ClockSnapshot, event: SystemClockEvent) -> io::Result<()> {
        self.log(&at, &event);
        self.output.tell(&at, &event)
    }

    fn request(&mut self, node: &mut N, now: Now, at: ClockSnapshot, query: Query<'_>) -> ResponsePart {
        self.requests.respond(node, now, &at, query)
    }

    fn maintain(&mut self, node: &mut N, now: Now) {
        self.key_files.check(node, now);
        if let Some(client) = node.client_part() {
            self.client_key_files.check(client, now);
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.state_file.iter_mut().for_each(StateFile::write_if_due);
        self.recorder.iter_mut().for_each(Recorder::flush);
        self.output.flush()
    }
}

fn cannot_run(error: io::Error) -> Failure {
    Failure::Runtime(format!("cannot start: {error}"))
}
