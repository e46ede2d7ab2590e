//! The service manager that has started this process: systemd, or another one that speaks sd_notify(3).
//!
//! The process notifies it when it is ready and when it stops, of its status, and that it is alive.
//! Notifications never wait: a service manager that does not read them blocks nothing, and a status that was
//! lost is sent again with the next keepalive.

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
    /// After so long without a keepalive it considers the process hung.
    watchdog_timeout: Option<Span>,
    /// The last status that was sent.
    sent_status: String,
}

impl ServiceManager {
    /// The one that the environment names; `None`: there is none.
    pub fn from_environment() -> Option<ServiceManager> {
        let socket = std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty())?;
        let watchdog_timeout = sd_notify::watchdog_enabled();
        let nanos = |watchdog_timeout: std::time::Duration| {
            i64::try_from(watchdog_timeout.as_nanos()).unwrap_or(i64::MAX)
        };
        let watchdog_timeout =
            watchdog_timeout.map(|watchdog_timeout| Span::from_nanos(nanos(watchdog_timeout)));
        Some(ServiceManager { socket: socket.into(), watchdog_timeout, sent_status: String::new() })
    }

    /// How often [`keepalive`](ServiceManager::keepalive) must be called: three times within the watchdog
    /// timeout, and often enough for a status that an operator may read.
    pub fn period(&self) -> Span {
        let watched =
            self.watchdog_timeout.map_or(STATUS_PERIOD, |watchdog_timeout| watchdog_timeout.over(3));
        watched.min(STATUS_PERIOD).max(MIN_PERIOD)
    }

    /// The process has started, and does its work.
    pub fn ready(&mut self) {
        self.notify(&[NotifyState::Ready]);
    }

    /// The process is alive, and this is its status, in one line.
    pub fn keepalive(&mut self, status: &str) {
        let changed = (self.sent_status != status).then_some(NotifyState::Status(status));
        let states: Vec<_> =
            self.watchdog_timeout.map(|_| NotifyState::Watchdog).into_iter().chain(changed).collect();
        if self.notify(&states) {
            status.clone_into(&mut self.sent_status);
        }
    }

    /// The process is about to end.
    pub fn stopping(&mut self) {
        self.notify(&[NotifyState::Stopping]);
    }

    /// True if the notification was sent.
    fn notify(&self, states: &[NotifyState<'_>]) -> bool {
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

/// The address of a path, or of an abstract name, which starts with an @.
fn address(socket: &OsStr) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = socket.as_encoded_bytes().strip_prefix(b"@") {
        use std::os::linux::net::SocketAddrExt;
        return SocketAddr::from_abstract_name(name);
    }
    SocketAddr::from_pathname(socket)
}

/// The default interval of rounds.
const STATUS_PERIOD: Span = Span::from_secs(5);
/// The shortest period.
const MIN_PERIOD: Span = Span::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(watchdog_timeout: Option<Span>) -> (tempfile::TempDir, UnixDatagram, ServiceManager) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("notify");
        let receiver = UnixDatagram::bind(&socket).unwrap();
        receiver.set_nonblocking(true).unwrap();
        (dir, receiver, ServiceManager { socket, watchdog_timeout, sent_status: String::new() })
    }

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 1_000];
        let length = socket.recv(&mut buffer).unwrap_or(0);
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn each_keepalive_is_sent_and_a_status_when_it_has_changed() {
        let (_dir, socket, mut manager) = manager(Some(Span::from_secs(30)));
        for (status, sent) in [
            ("joining", "WATCHDOG=1\nSTATUS=joining\n"),
            ("joining", "WATCHDOG=1\n"),
            ("synchronized", "WATCHDOG=1\nSTATUS=synchronized\n"),
        ] {
            manager.keepalive(status);
            assert_eq!(received(&socket), sent);
        }
    }

    #[test]
    fn without_a_watchdog_only_the_status_is_sent() {
        let (_dir, socket, mut manager) = manager(None);
        manager.keepalive("joining");
        assert_eq!(received(&socket), "STATUS=joining\n");
        manager.keepalive("joining");
        assert_eq!(received(&socket), "");
    }

    #[test]
    fn a_service_manager_that_does_not_read_blocks_nothing_and_gets_the_status_again() {
        let (_dir, socket, mut manager) = manager(None);
        for number in 0..10_000 {
            manager.keepalive(&number.to_string());
        }
        while !received(&socket).is_empty() {}
        manager.keepalive("9999");
        assert_eq!(received(&socket), "STATUS=9999\n", "it was lost, so it is sent again");
    }

    #[test]
    fn keepalives_come_three_times_within_the_watchdog_timeout() {
        for (watchdog_timeout, period) in [
            (Some(Span::from_secs(9)), Span::from_secs(3)),
            (Some(Span::from_secs(180)), STATUS_PERIOD),
            (Some(Span::from_millis(3)), MIN_PERIOD),
            (None, STATUS_PERIOD),
        ] {
            assert_eq!(manager(watchdog_timeout).2.period(), period);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_abstract_socket_is_found() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("meantime-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let mut manager = ServiceManager {
            socket: format!("@{name}").into(),
            watchdog_timeout: None,
            sent_status: String::new(),
        };
        manager.ready();
        assert_eq!(received(&socket), "READY=1\n");
    }
}
