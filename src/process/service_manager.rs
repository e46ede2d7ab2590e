//! The service manager that has started this process, if one has: systemd, or whoever speaks sd_notify(3).
//!
//! It is told when the process is ready and when it stops, how it stands, and that it is alive. Telling never
//! waits: a service manager that does not read its mail holds nobody up, and what it misses is told again
//! with the next sign of life.

use std::ffi::OsStr;
use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;

use sd_notify::NotifyState;

use meantime_core::time::Span;

/// The service manager.
#[derive(Debug)]
pub struct ServiceManager {
    socket: PathBuf,
    /// After so long without a sign of life it takes the process for dead.
    patience: Option<Span>,
    /// What it has been told last about how the process stands.
    told: String,
}

impl ServiceManager {
    /// The one that the environment names; `None`: nobody looks after this process.
    pub fn from_environment() -> Option<ServiceManager> {
        let socket = std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty())?;
        let patience = sd_notify::watchdog_enabled();
        let nanos = |patience: std::time::Duration| i64::try_from(patience.as_nanos()).unwrap_or(i64::MAX);
        let patience = patience.map(|patience| Span::from_nanos(nanos(patience)));
        Some(ServiceManager { socket: socket.into(), patience, told: String::new() })
    }

    /// How often [`alive`](ServiceManager::alive) wants to be called: three times before its patience ends, and
    /// often enough for a status that people may look at.
    pub fn period(&self) -> Span {
        let watched = self.patience.map_or(STATUS_PERIOD, |patience| patience.over(3));
        watched.min(STATUS_PERIOD).max(MIN)
    }

    /// The process has started, and does what it is for.
    pub fn ready(&mut self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// The process is alive, and stands like that, in one line.
    pub fn alive(&mut self, standing: &str) {
        let status = (self.told != standing).then_some(NotifyState::Status(standing));
        let states: Vec<_> = self.patience.map(|_| NotifyState::Watchdog).into_iter().chain(status).collect();
        if self.tell(&states) {
            standing.clone_into(&mut self.told);
        }
    }

    /// The process is about to end.
    pub fn stopping(&mut self) {
        self.tell(&[NotifyState::Stopping]);
    }

    /// True if it got there. If it did not there is nobody to complain to.
    fn tell(&self, states: &[NotifyState<'_>]) -> bool {
        if states.is_empty() {
            return true;
        }
        let text: String = states.iter().map(|state| format!("{state}\n")).collect();
        self.send(text.as_bytes()).is_ok()
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect_addr(&address(self.socket.as_os_str())?)?;
        socket.send(bytes).map(drop)
    }
}

/// A path, or with an @ in front the name of a socket that has no file.
fn address(socket: &OsStr) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = socket.as_encoded_bytes().strip_prefix(b"@") {
        use std::os::linux::net::SocketAddrExt;
        return SocketAddr::from_abstract_name(name);
    }
    SocketAddr::from_pathname(socket)
}

/// Like a round's.
const STATUS_PERIOD: Span = Span::from_secs(5);
/// Nobody's patience is measured in less than that.
const MIN: Span = Span::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    fn supervisor(patience: Option<Span>) -> (tempfile::TempDir, UnixDatagram, ServiceManager) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("notify");
        let heard = UnixDatagram::bind(&socket).unwrap();
        heard.set_nonblocking(true).unwrap();
        (dir, heard, ServiceManager { socket, patience, told: String::new() })
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 1_000];
        let length = socket.recv(&mut buffer).unwrap_or(0);
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn a_sign_of_life_is_given_each_time_and_a_status_when_it_has_changed() {
        let (_dir, socket, mut supervisor) = supervisor(Some(Span::from_secs(30)));
        for (standing, said) in [
            ("joining", "WATCHDOG=1\nSTATUS=joining\n"),
            ("joining", "WATCHDOG=1\n"),
            ("synchronized", "WATCHDOG=1\nSTATUS=synchronized\n"),
        ] {
            supervisor.alive(standing);
            assert_eq!(heard(&socket), said);
        }
    }

    #[test]
    fn without_a_watchdog_there_is_only_the_status() {
        let (_dir, socket, mut supervisor) = supervisor(None);
        supervisor.alive("joining");
        assert_eq!(heard(&socket), "STATUS=joining\n");
        supervisor.alive("joining");
        assert_eq!(heard(&socket), "");
    }

    #[test]
    fn a_service_manager_that_does_not_read_holds_nobody_up_and_is_told_again() {
        let (_dir, socket, mut supervisor) = supervisor(None);
        for number in 0..10_000 {
            supervisor.alive(&number.to_string());
        }
        while !heard(&socket).is_empty() {}
        supervisor.alive("9999");
        assert_eq!(heard(&socket), "STATUS=9999\n", "it was lost, and so it is told again");
    }

    #[test]
    fn signs_of_life_come_three_times_before_patience_ends() {
        for (patience, period) in [
            (Some(Span::from_secs(9)), Span::from_secs(3)),
            (Some(Span::from_secs(180)), STATUS_PERIOD),
            (Some(Span::from_millis(3)), MIN),
            (None, STATUS_PERIOD),
        ] {
            assert_eq!(supervisor(patience).2.period(), period);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_socket_without_a_file_is_found_too() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("meantime-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let mut supervisor =
            ServiceManager { socket: format!("@{name}").into(), patience: None, told: String::new() };
        supervisor.ready();
        assert_eq!(heard(&socket), "READY=1\n");
    }
}
