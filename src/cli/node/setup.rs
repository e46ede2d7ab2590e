//! Turns a node's options into a clock, keys, a control socket and a state file.

use std::path::Path;

use super::NodeArgs;
use super::arguments::ClockKind;
use crate::cli::Failure;
use crate::clock::system::config::{OnConflict, SteeringConfig};
#[cfg(target_os = "linux")]
use crate::clock::system::{LinuxClock, kernel::KernelClock, lock};
use crate::clock::{NodeClock, Overlay, Resumed, SystemReference};
use crate::control::{self, ControlSocket, ControlledNode};
use crate::process::{self, Account, RetainedPrivilege};
use crate::store::state_file::StateFile;
use meantime_core::PlausibleTimes;
use meantime_core::estimation::timescale::SLEW_LIMIT;
use meantime_core::saved_state::KeptTime;
use meantime_core::time::{Frequency, Offset, Span, Timestamp};
use meantime_core::wire::Name;

/// What a node has kept over its restart.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::cli) struct KeptState {
    /// The rate of the cluster's time over the oscillator, minus one, and one standard deviation of that.
    pub frequency: Option<(Frequency, Frequency)>,
    /// The cluster's time, which the clock shows.
    pub time: Option<KeptTime>,
}

impl NodeArgs {
    /// The clock that follows cluster time. Once the node has joined, the system clock is stepped beyond
    /// `step_threshold`, and slewed below it.
    ///
    /// # Errors
    /// When the system clock cannot be used.
    pub(in crate::cli) fn clock(&self, step_threshold: Span) -> Result<Box<dyn NodeClock>, Failure> {
        let on_conflict = if self.force { OnConflict::Insist } else { OnConflict::GiveWay };
        let config = SteeringConfig { step_threshold, max_slew: SLEW_LIMIT, on_conflict };
        match self.clock {
            ClockKind::Overlay => {
                let overlay = Overlay::start(self.simulate_offset, self.simulate_drift);
                let reference = self.offers_reference().then(|| system_reference(self.reference_max_error));
                Ok(Box::new(overlay.with_reference(reference.flatten())))
            }
            ClockKind::System => system_clock(config),
        }
    }

    /// Whether the node offers a reference.
    pub(in crate::cli) fn offers_reference(&self) -> bool {
        self.reference.is_some()
    }

    /// Opens the control socket and drops all rights that the node does not need. The state directory is made
    /// for the user of `--user`; all else is opened as that user, so that it can be opened again later.
    ///
    /// # Errors
    /// When the process cannot become the user of `--user`, or cannot open the socket of `--control`.
    pub(in crate::cli) fn drop_privileges<N: ControlledNode>(
        &self,
    ) -> Result<Option<ControlSocket>, Failure> {
        let account = self.user.as_deref().map(account).transpose()?;
        if let (Some(account), Some(directory)) = (&account, &self.state_dir) {
            make_directory_for(account, directory);
        }
        let control = control::open(self.control.as_deref(), N::ROLE, account.as_ref())?;
        let retained = match self.clock {
            ClockKind::System => RetainedPrivilege::SetClock,
            ClockKind::Overlay => RetainedPrivilege::None,
        };
        process::drop_privileges(account.as_ref(), retained).map_err(|error| {
            Failure::Runtime(format!("cannot give up the rights that are not needed: {error}"))
        })?;
        Ok(control)
    }

    /// The state file of the node `name`, if the options name a directory, and what it has kept. If it has a
    /// time that is `plausible`, the clock, which has just started, resumes it, unless the options simulate
    /// an offset.
    pub(in crate::cli) fn open_state_file(
        &self,
        name: &Name,
        clock: &mut impl NodeClock,
        plausible: PlausibleTimes,
    ) -> (Option<StateFile>, KeptState) {
        let Some(directory) = &self.state_dir else { return (None, KeptState::default()) };
        let mut file = StateFile::new(directory, name, self.simulate_drift);
        file.prepare();
        let now = clock.read();
        let known = file.load(now, plausible);
        let mut kept = None;
        let clock_time = Timestamp::from_nanos(now.now.raw.as_nanos());
        match known.map(|known| (known, known.time)) {
            Some((_, Ok(_))) if self.simulate_offset != Span::ZERO => {
                log::info!("the last run's time is not used: --simulate-offset");
            }
            Some((known, Ok(time))) => match clock.resume(now.host, time) {
                Resumed::Yes => {
                    let ahead = Offset::ahead_by(time - clock_time);
                    kept = known.kept();
                    log::info!("the time goes on from the last run's: this machine's clock and {ahead}");
                }
                Resumed::No => kept = known.kept_by(clock_time),
            },
            Some((_, Err(lost))) => {
                log::info!("the time is this machine's clock's, not the last run's: {lost}");
            }
            None => {}
        }
        (Some(file), KeptState { frequency: known.map(|known| (known.frequency, known.error)), time: kept })
    }
}

#[cfg(target_os = "linux")]
fn system_clock(config: SteeringConfig) -> Result<Box<dyn NodeClock>, Failure> {
    let clock = crate::clock::SystemClock::start(config);
    let clock = clock.map_err(|refusal| Failure::Runtime(refusal.to_string()))?;
    log::info!("this machine's clock will follow the cluster's time");
    Ok(Box::new(clock))
}

#[cfg(target_os = "linux")]
fn system_reference(max_error: Span) -> Option<SystemReference> {
    Some(SystemReference {
        state: || LinuxClock.state(),
        is_steered: || lock::is_held(&lock::places()),
        limit: max_error,
    })
}

#[cfg(not(target_os = "linux"))]
fn system_reference(_: Span) -> Option<SystemReference> {
    None
}

#[cfg(not(target_os = "linux"))]
fn system_clock(_: SteeringConfig) -> Result<Box<dyn NodeClock>, Failure> {
    Err(Failure::Runtime("this machine's clock cannot be set".into()))
}

/// The user of `--user`, if this process can become that user.
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

/// Makes the state directory for this user, who may not be allowed to make it. A failure is reported later,
/// when the state file is prepared.
fn make_directory_for(account: &Account, directory: &Path) {
    if !directory.exists() && std::fs::create_dir_all(directory).is_ok() {
        let _ = account.own(directory);
    }
}
