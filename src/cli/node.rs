//! What server and client have in common: the options of a node, and the run of it.

use std::io;
use std::path::{Path, PathBuf};

use rand::TryRng;
use rand::rngs::SysRng;

use super::Failure;
use super::advice::Advice;
use super::logging::{LogArgs, TOLD};
use super::output::{Format, Output, Tell};
use super::standing::Standing;
use super::units;
use crate::clock::system::steering::SteeringConfig;
use crate::clock::{NodeClock, Overlay, SystemClockEvent};
use crate::control::{Answer, Ask, Control};
use crate::control::{Desk, Subject, desk};
use crate::event_loop::{ClockSnapshot, EventLoop, LoopHandler};
use crate::process::{self, Account, RetainedPrivilege, ServiceManager};
use crate::store::key_file::{KeyFile, KeyWatch, Keyed};
use crate::store::record::{RecordArgs, Recorded, Recorder};
use crate::store::state_file::Memory;
use crate::udp::Transport;
use meantime_core::time::{Frequency, Now, Offset, Span, Timestamp};
use meantime_core::wire::Name;

/// The options that every node has.
#[derive(Debug, clap::Args)]
pub(super) struct NodeArgs {
    /// Which clock to keep: overlay, one of meantime's own, which needs no privilege and sets nothing; or
    /// system, which makes the machine's own clock follow that one (needs CAP_SYS_TIME)
    #[arg(long, value_name = "CLOCK", default_value = "overlay", value_parser = clock_kind)]
    clock: ClockKind,
    /// With --clock system: steer the clock even if another program seems to do so
    #[arg(long)]
    force: bool,
    /// Keep the oscillator's frequency, and the time until the machine is rebooted, in this directory over
    /// restarts; it is made if it is not there
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Use and ask for keys: the file that `meantime keygen` has written. A change of the file is noticed
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Once everything is open, become this user, with its groups (needs root); all rights are given up in
    /// any case, but CAP_SYS_TIME with --clock system
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Pretend that this machine's clock is ahead by this at the start, as in 2.5s (negative: behind)
    #[arg(long, value_name = "SPAN", default_value = "0", allow_hyphen_values = true)]
    #[arg(value_parser = units::span)]
    simulate_offset: Span,
    /// Pretend that this machine's oscillator runs fast by this, as in 50ppm (negative: slow)
    #[arg(long, value_name = "FREQUENCY", default_value = "0", allow_hyphen_values = true)]
    #[arg(value_parser = units::frequency)]
    simulate_drift: Frequency,
    /// How to print events on stdout
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Format,
    /// Also print the clock's state once in each period, as in 100ms
    #[arg(long, value_name = "PERIOD", allow_hyphen_values = true, value_parser = tick_period)]
    tick: Option<Span>,
    /// Answer `meantime status` and its like at this Unix socket [default: server.sock or client.sock in
    /// /run/meantime for root, in $XDG_RUNTIME_DIR/meantime or /tmp/meantime-UID for others]
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Who notes when datagrams come and go
    #[arg(long, value_name = "WHOSE", default_value = "auto")]
    timestamps: Whose,
    #[command(flatten)]
    record: RecordArgs,
    #[command(flatten)]
    log: LogArgs,
}

/// What a node has beside its link and its clock.
#[derive(Debug)]
pub(super) struct Equipment {
    /// Where it can be asked.
    pub control: Option<Control>,
    /// Where it keeps its oscillator's frequency and the time.
    pub memory: Option<Memory>,
    /// What is said when nobody answers.
    pub advice: Option<Advice>,
}

/// Whose timestamps are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Whose {
    /// The kernel, and this program where it does not
    Auto,
    /// The kernel; if it cannot, do not start
    Kernel,
    /// This program: less exact on a busy machine
    User,
}

/// The clocks that a node can keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClockKind {
    Overlay,
    System,
}

impl NodeArgs {
    /// Starts the log, which does not repeat on stderr what people read on stdout.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn start_log(&self) -> Result<(), Failure> {
        self.log.start(self.output == Format::Text)
    }

    /// Whether the options go together.
    ///
    /// # Errors
    /// When they do not.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let simulated = self.simulate_offset != Span::ZERO || self.simulate_drift != Frequency::ZERO;
        match self.clock {
            ClockKind::System if simulated => Err(Failure::Usage(
                "--clock system is for the machine's real clock: leave out --simulate-offset and --simulate-drift".into(),
            )),
            ClockKind::System if !cfg!(target_os = "linux") => {
                Err(Failure::Usage("--clock system works on Linux only; type --clock overlay".into()))
            }
            ClockKind::Overlay if self.force => {
                Err(Failure::Usage("--force says something with --clock system only".into()))
            }
            _ => Ok(()),
        }
    }

    /// Whether the kernel is to take the timestamps.
    ///
    /// # Errors
    /// When it must and cannot.
    pub(super) fn wants_kernel_timestamps(&self) -> Result<bool, Failure> {
        match (self.timestamps, crate::udp::require_kernel_timestamps()) {
            (Whose::Kernel, Err(error)) => Err(Failure::Runtime(format!(
                "the kernel takes no timestamps: {error}; --timestamps auto does without"
            ))),
            (whose, _) => Ok(whose != Whose::User),
        }
    }

    /// The clock that the node keeps. Once it has joined, the system's is stepped beyond `step_threshold`.
    ///
    /// # Errors
    /// When the system's clock cannot be had.
    pub(super) fn clock(&self, step_threshold: Span) -> Result<Box<dyn NodeClock>, Failure> {
        let settings = SteeringConfig { step_threshold, force: self.force };
        match self.clock {
            ClockKind::Overlay => Ok(Box::new(Overlay::start(self.simulate_offset, self.simulate_drift))),
            ClockKind::System => system_clock(settings),
        }
    }

    /// The keys in the key file, if there is to be one.
    ///
    /// # Errors
    /// When it cannot be used.
    pub(super) fn keys(&self) -> Result<Option<KeyFile>, Failure> {
        let read = |path| KeyFile::read(path).map_err(|reason| unusable(path, &reason));
        self.key_file.as_deref().map(read).transpose()
    }

    /// What is wrong with the keys of the key file.
    pub(super) fn wrong_keys(&self, reason: &str) -> Failure {
        unusable(self.key_file.as_deref().unwrap_or(Path::new("")), reason)
    }

    /// Opens what only whoever has started the process may open, and gives up all rights that a node does not
    /// need. The rest is opened as the user that the node goes on as, and so will be again.
    ///
    /// # Errors
    /// When the user of `--user` is not there or cannot be had, or the control socket that was asked for.
    pub(super) fn settle<N: Subject>(&self) -> Result<Option<Control>, Failure> {
        let account = self.user.as_deref().map(account).transpose()?;
        if let (Some(account), Some(directory)) = (&account, &self.state_dir) {
            prepare_for(account, directory);
        }
        let control = desk::open(self.control.as_deref(), N::ROLE, account.as_ref())?;
        let need = if self.clock == ClockKind::System {
            RetainedPrivilege::SetClock
        } else {
            RetainedPrivilege::None
        };
        process::drop_privileges(account.as_ref(), need).map_err(|error| {
            Failure::Runtime(format!("cannot give up the rights that are not needed: {error}"))
        })?;
        Ok(control)
    }

    /// Where the node `name` keeps its oscillator's frequency and the time, if it shall; and the frequency
    /// that an earlier run has left there, with one standard deviation. If it has left the time as well, and
    /// not one from before `plausible_from`, the clock, which has just started, goes on from that, unless it
    /// shall pretend to be wrong.
    pub(super) fn recall(
        &self,
        name: &Name,
        clock: &mut impl NodeClock,
        plausible_from: Timestamp,
    ) -> (Option<Memory>, Option<(Frequency, Frequency)>) {
        let Some(directory) = &self.state_dir else { return (None, None) };
        let mut memory = Memory::new(directory, name, self.simulate_drift);
        memory.prepare();
        let now = clock.read();
        let known = memory.recall(now, plausible_from);
        match known.map(|known| known.time) {
            Some(Ok(time)) if self.simulate_offset == Span::ZERO && clock.resume(now.host, time) => {
                let ahead = Offset::ahead_by(time - Timestamp::from_nanos(now.now.raw.as_nanos()));
                log::info!("the time goes on from the last run's: this machine's clock and {ahead}");
            }
            Some(Ok(_)) if self.simulate_offset != Span::ZERO => {
                log::info!("the last run's time is not used: --simulate-offset");
            }
            Some(Err(lost)) => log::info!("the time is this machine's clock's, not the last run's: {lost}"),
            _ => {}
        }
        (Some(memory), known.map(|known| (known.frequency, known.error)))
    }

    /// Runs a node until a signal ends it. `hello` is told before anything else.
    ///
    /// # Errors
    /// When the system has no descriptors left, or what is printed cannot be written.
    pub(super) fn run<N>(
        &self,
        node: N,
        link: impl Transport,
        clock: impl NodeClock,
        hello: Option<&dyn Tell>,
        equipment: Equipment,
    ) -> Result<(), Failure>
    where
        N: Subject + Recorded + Keyed + Standing,
        N::Event: Tell,
    {
        let Equipment { control, memory, advice } = equipment;
        let recorder = self.record.open()?;
        let mut output = Output::new(self.output, io::stdout().lock());
        log::info!(target: TOLD, "timestamps: {}", link.timestamps());
        let start = ClockSnapshot::of(&node, &clock, link.timestamps());
        let hello = hello.map_or(Ok(()), |hello| output.tell(&start, hello));
        let event_loop = EventLoop::new(node, link, clock)
            .and_then(EventLoop::with_signals)
            .and_then(|event_loop| event_loop.with_control(control));
        let mut supervisor = ServiceManager::from_environment();
        let pulse = supervisor.as_ref().map(ServiceManager::period);
        let mut event_loop = event_loop.map_err(cannot_run)?.with_tick(self.tick).with_pulse(pulse);
        supervisor.iter_mut().for_each(ServiceManager::ready);
        let keys = self.key_file.clone().map(KeyWatch::new);
        let mut audience =
            Audience { output, memory, advice, recorder, supervisor, desk: Desk::default(), keys };
        let result = hello.and_then(|()| event_loop.run(&mut audience));
        audience.supervisor.iter_mut().for_each(ServiceManager::stopping);
        audience.memory.iter_mut().for_each(Memory::keep);
        match result {
            // Whoever read this has had enough (`| head`): that is no failure.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(|error| Failure::Runtime(format!("cannot go on: {error}"))),
        }
    }
}

/// Who watches a node: the output, the memory of its frequency and time, who knows what to do when nobody
/// answers, the record, the service manager, and who looks after the key file.
struct Audience<W: io::Write> {
    output: Output<W>,
    memory: Option<Memory>,
    advice: Option<Advice>,
    recorder: Option<Recorder>,
    supervisor: Option<ServiceManager>,
    desk: Desk,
    keys: Option<KeyWatch>,
}

impl<N: Subject + Recorded + Keyed + Standing, W: io::Write> LoopHandler<N> for Audience<W>
where
    N::Event: Tell,
{
    fn event(&mut self, at: ClockSnapshot, event: N::Event) -> io::Result<()> {
        self.memory.iter_mut().for_each(|memory| memory.note(&at));
        self.desk.note(&at, &event);
        self.output.tell(&at, &event)?;
        if let Some(hint) = self.advice.as_mut().and_then(|advice| advice.after(event.kind())) {
            // What has led to it stands before it, for whoever sees both.
            self.output.flush()?;
            log::warn!("{hint}");
        }
        Ok(())
    }

    fn witness(&mut self, node: &N, now: Now, at: &ClockSnapshot, event: &N::Event) {
        if let Some(recorder) = &mut self.recorder {
            recorder.note(node, now, at, event);
        }
    }

    fn tick(&mut self, at: ClockSnapshot) -> io::Result<()> {
        self.output.tell(&at, &super::output::Tick)
    }

    fn pulse(&mut self, node: &N, now: Now) {
        if let Some(supervisor) = &mut self.supervisor {
            supervisor.alive(&node.standing(now));
        }
    }

    fn system_clock(&mut self, at: ClockSnapshot, event: SystemClockEvent) -> io::Result<()> {
        self.desk.note(&at, &event);
        self.output.tell(&at, &event)
    }

    fn request(&mut self, node: &mut N, now: Now, at: ClockSnapshot, ask: Ask<'_>) -> Answer {
        self.desk.answer(node, now, &at, ask)
    }

    fn upkeep(&mut self, node: &mut N, now: Now) {
        if let Some(keys) = &mut self.keys {
            keys.look(node, now);
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.memory.iter_mut().for_each(Memory::keep_if_due);
        self.recorder.iter_mut().for_each(Recorder::flush);
        self.output.flush()
    }
}

#[cfg(target_os = "linux")]
fn system_clock(settings: SteeringConfig) -> Result<Box<dyn NodeClock>, Failure> {
    let clock = crate::clock::SystemClock::start(settings);
    let clock = clock.map_err(|refusal| Failure::Runtime(refusal.to_string()))?;
    log::info!("this machine's clock will follow the cluster's time");
    Ok(Box::new(clock))
}

#[cfg(not(target_os = "linux"))]
fn system_clock(_: SteeringConfig) -> Result<Box<dyn NodeClock>, Failure> {
    Err(Failure::Runtime("this machine's clock cannot be set".into()))
}

/// The user of `--user`, which this process can become.
fn account(name: &str) -> Result<Account, Failure> {
    let account = Account::find(name)
        .map_err(|error| Failure::Runtime(format!("cannot look up the user {name} of --user: {error}")))?
        .ok_or_else(|| {
            Failure::Usage(format!("there is no user {name}; --user takes the name of one of this machine's"))
        })?;
    match process::can_change_user() || account.id() == nix::unistd::geteuid().as_raw() {
        true => Ok(account),
        false => Err(Failure::Runtime(format!(
            "only root can become the user {name}; start it as root, or leave out --user"
        ))),
    }
}

/// Makes the state directory for this user, if it is not there: the user may not be allowed to. What stands
/// against it is told when something shall be kept in it.
fn prepare_for(account: &Account, directory: &Path) {
    if !directory.exists() && std::fs::create_dir_all(directory).is_ok() {
        let _ = account.own(directory);
    }
}

fn clock_kind(text: &str) -> Result<ClockKind, String> {
    match text {
        "overlay" => Ok(ClockKind::Overlay),
        "system" => Ok(ClockKind::System),
        _ => Err("there is no such clock; type overlay or system".into()),
    }
}

/// 32 bytes that nobody can guess.
///
/// # Errors
/// When the system has none.
pub(super) fn seed() -> Result<[u8; 32], Failure> {
    let mut seed = [0; 32];
    match SysRng.try_fill_bytes(&mut seed) {
        Ok(()) => Ok(seed),
        Err(error) => Err(Failure::Runtime(format!("the system gives no random numbers: {error}"))),
    }
}

/// Reads a node's name, which has to fit into a datagram.
///
/// # Errors
/// When it does not, or cannot be printed.
pub(super) fn name(text: &str) -> Result<Name, String> {
    let name = Name::new(text);
    match name.as_str() == text {
        true => Ok(name),
        false => Err(format!("at most {} bytes without control characters, as in '{name}'", Name::LEN)),
    }
}

/// What a client is called: not nothing.
///
/// # Errors
/// Why it cannot be.
pub(super) fn own_name(text: &str) -> Result<Name, String> {
    match name(text)? {
        name if name.as_str().trim().is_empty() => {
            Err("a client has a name; leave it out for the host's".into())
        }
        name => Ok(name),
    }
}

fn tick_period(text: &str) -> Result<Span, String> {
    match units::positive_span(text)? {
        period if period < Span::from_millis(1) => Err("must be at least 1ms".into()),
        period => Ok(period),
    }
}

/// A key file that cannot be used.
pub(super) fn unusable(path: &Path, reason: &str) -> Failure {
    Failure::Runtime(format!("cannot use the key file {}: {reason}", path.display()))
}

fn cannot_run(error: io::Error) -> Failure {
    Failure::Runtime(format!("cannot start: {error}"))
}
