//! The service manager's notification socket, sd_notify(3), and its watchdog,
//! sd_watchdog_enabled(3). Without NOTIFY_SOCKET nothing is sent. A message that
//! cannot be sent is dropped and its sender gets the error: a gateway serves without its manager.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::OsErrorText;

/// How long a message waits for room in the manager's queue: READY=1 should not be lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// The same for the last message: a manager that does not learn which process serves ends the service with the old one.
const LAST_PATIENCE: Duration = Duration::from_secs(30);

/// Where to send state changes; silent when started by hand.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notifier {
    socket: Option<Arc<(UnixDatagram, SocketAddr)>>,
    /// Set once another process reports to the manager.
    is_silent: Arc<Mutex<bool>>,
    /// The interval in which the manager expects a WATCHDOG=1, if it does.
    pub(crate) watchdog: Option<Duration>,
}

impl Notifier {
    /// Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID through `variable`.
    ///
    /// # Errors
    /// If messages cannot be sent to the socket that it names.
    pub(crate) fn from_environment(
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, String> {
        let Some(path) = variable("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else {
            return Ok(Self::default());
        };
        let address = match path.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            _ => SocketAddr::from_pathname(&path),
        };
        let address =
            address.map_err(|error| format!("NOTIFY_SOCKET={path:?}: {}", OsErrorText(&error)))?;
        let unusable = |error| format!("NOTIFY_SOCKET: {}", OsErrorText(&error));
        let socket = UnixDatagram::unbound().map_err(unusable)?;
        socket.set_nonblocking(true).map_err(unusable)?;
        let text = |name| variable(name).and_then(|value| value.into_string().ok());
        let ours = text("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let watchdog = text("WATCHDOG_USEC")
            .filter(|_| ours)
            .and_then(|usec| usec.parse().ok())
            .filter(|usec| *usec > 0)
            .map(Duration::from_micros);
        Ok(Self {
            socket: Some(Arc::new((socket, address))),
            is_silent: Arc::default(),
            watchdog,
        })
    }

    /// Whether a manager listens.
    pub(crate) fn is_enabled(&self) -> bool {
        self.socket.is_some()
    }

    /// Sends assignments such as `READY=1`, one per line. While the manager's queue is full, it is tried again after each `pause`
    /// that returns true, but not without limit.
    ///
    /// # Errors
    /// If the manager cannot be reached; callers that only report their status may ignore that.
    pub(crate) fn send(&self, state: &str, pause: impl FnMut() -> bool) -> io::Result<()> {
        self.say(state, false, PATIENCE, pause)
    }

    /// The same for the last time: from here on another process reports to the manager, and this one sends nothing more.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(crate) fn send_last(&self, state: &str, pause: impl FnMut() -> bool) -> io::Result<()> {
        self.say(state, true, LAST_PATIENCE, pause)
    }

    fn say(
        &self,
        state: &str,
        is_last: bool,
        patience: Duration,
        mut pause: impl FnMut() -> bool,
    ) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            match self.try_once(state, is_last) {
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        && Instant::now() < deadline
                        && pause() => {}
                sent => return sent,
            }
        }
    }

    fn try_once(&self, state: &str, is_last: bool) -> io::Result<()> {
        let Some((socket, address)) = self.socket.as_deref() else {
            return Ok(());
        };
        // Held while it is sent, so that nothing comes after the last, but never while the queue is full.
        let is_silent = self.is_silent.lock();
        let mut is_silent = is_silent.unwrap_or_else(PoisonError::into_inner);
        if *is_silent && !is_last {
            return Ok(());
        }
        *is_silent = is_last;
        socket.send_to_addr(state.as_bytes(), address).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watchdog_is_for_the_named_process_only() {
        let cases = [
            (&[][..], None),
            (&[("WATCHDOG_USEC", "3000000")][..], Some(3)),
            (&[("WATCHDOG_USEC", "3000000"), ("WATCHDOG_PID", "1")], None),
            (&[("WATCHDOG_USEC", "0")], None),
            (&[("WATCHDOG_USEC", "soon")], None),
        ];
        for (variables, seconds) in cases {
            let notifier = Notifier::from_environment(|name| match name {
                "NOTIFY_SOCKET" => Some("@etcd-gateway-test".into()),
                _ => variables
                    .iter()
                    .find(|(n, _)| *n == name)
                    .map(|(_, v)| (*v).into()),
            })
            .unwrap();
            assert!(notifier.is_enabled());
            assert_eq!(
                notifier.watchdog,
                seconds.map(Duration::from_secs),
                "{variables:?}"
            );
        }
        for nothing in [None, Some(OsString::new())] {
            let notifier = Notifier::from_environment(|_| nothing.clone()).unwrap();
            assert!(!notifier.is_enabled() && notifier.watchdog.is_none());
        }
        let long = || Some("x".repeat(200).into());
        let error = Notifier::from_environment(|_| long()).unwrap_err();
        assert!(error.starts_with("NOTIFY_SOCKET=\"xxx"), "{error}");
    }

    #[test]
    fn the_last_message_waits_for_a_manager_whose_queue_is_full() {
        let name = format!("etcd-gateway-full-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let notifier = Notifier::from_environment(|variable| {
            (variable == "NOTIFY_SOCKET").then(|| format!("@{name}").into())
        })
        .unwrap();
        let sent = (0..1_000_000).take_while(|_| notifier.send("STATUS=x", || false).is_ok());
        let sent = sent.count();
        let mut pauses = 0;
        let full = notifier.send("STATUS=x", || {
            pauses += 1;
            pauses < 3
        });
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(pauses, 3, "the caller may end it");
        let full = notifier.say("STATUS=x", false, Duration::ZERO, || true);
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let receive = || {
            let mut buffer = [0; 32];
            let count = manager.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..count]).into_owned()
        };
        let mut received = 0;
        let last = notifier.send_last("READY=1", || {
            // Nothing of another thread comes after it.
            assert!(notifier.send("STATUS=y", || false).is_ok());
            received += 1;
            assert_eq!(receive(), "STATUS=x");
            true
        });
        assert!(last.is_ok());
        for _ in received..sent {
            assert_eq!(receive(), "STATUS=x");
        }
        assert_eq!(receive(), "READY=1");
        assert!(notifier.send("STATUS=x", || true).is_ok());
        manager.set_nonblocking(true).unwrap();
        assert!(manager.recv(&mut [0; 32]).is_err(), "it is silent");
    }

    #[test]
    fn a_message_arrives_and_a_vanished_manager_is_told() {
        let name = format!("etcd-gateway-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let notifier = Notifier::from_environment(|variable| {
            (variable == "NOTIFY_SOCKET").then(|| format!("@{name}").into())
        })
        .unwrap();
        notifier.send("READY=1", || false).unwrap();
        let mut buffer = [0; 32];
        let count = manager.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"READY=1");
        drop(manager);
        assert!(notifier.send("STOPPING=1", || true).is_err());
        assert!(Notifier::default().send("READY=1", || true).is_ok());
    }
}
