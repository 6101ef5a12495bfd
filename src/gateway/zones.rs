//! Listeners on an address of one link, such as `[fe80::1%eth0]:23790`.
//!
//! The kernel binds them to the number of the interface, not to its name. An interface that is deleted and created
//! again under the same name has another number, and no client reaches the listener any more, without an error. So a
//! thread compares the numbers at intervals. It replaces the old socket by one that listens on the new interface, with
//! the same descriptor, so that the thread that accepts from it continues. While that fails it is one of the problems.
//!
//! The thread runs only if there is such a listener. A socket that a service manager passed is not replaced.

use std::net::{Shutdown, SocketAddr, SocketAddrV6, TcpListener};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;

use super::error::Error;
use crate::addr::{Host, HostPort};
use crate::log;
use crate::proxy::listener::Listener;
use crate::sync::lock;
use crate::sys::OsErrorText;
use crate::sys::syscall;

/// A listening socket that other threads accept from.
pub(super) trait Socket: AsFd + Send + Sync {
    /// Called when another socket has its descriptor: a wait for the old one does not end when clients of the new one come.
    fn replaced(&self);
}

impl Socket for Listener {
    fn replaced(&self) {
        self.look_again();
    }
}

/// The listener for metrics, which polls again for each client.
impl Socket for TcpListener {
    fn replaced(&self) {}
}

type Open = fn(SocketAddr) -> Result<TcpListener, Error>;

/// All listeners with the name of an interface.
#[derive(Default)]
pub(super) struct Zones(Mutex<Vec<Zoned>>);

struct Zoned {
    interface: String,
    /// Where it listens, with the number of the interface.
    addr: SocketAddrV6,
    socket: Arc<dyn Socket>,
    open: Open,
    /// Why no client can connect to it, if none can.
    error: Option<String>,
}

impl Zones {
    /// Adds a listener that is bound to `addr`, if the operator has named its interface.
    pub(super) fn add(
        &self,
        named: &HostPort,
        addr: SocketAddr,
        socket: Arc<dyn Socket>,
        open: Open,
    ) {
        if let (Host::Ip6Zone(_, interface), SocketAddr::V6(addr)) = (&named.host, addr)
            // A number does not say which interface was meant.
            && interface.parse::<u32>().is_err()
        {
            lock(&self.0).push(Zoned {
                interface: interface.clone(),
                addr,
                socket,
                open,
                error: None,
            });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }

    pub(super) fn clear(&self) {
        lock(&self.0).clear();
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let zoned = lock(&self.0);
        zoned
            .iter()
            .filter_map(|zoned| zoned.error.clone())
            .collect()
    }

    /// The work of a thread, until `closing` is set: a listener that was closed is not opened again.
    pub(super) fn run(
        &self,
        pause: Duration,
        closing: &AtomicBool,
        index: fn(&str) -> Option<u32>,
    ) {
        while !closing.load(Ordering::SeqCst) {
            self.check(closing, index);
            std::thread::sleep(pause);
        }
    }

    /// Checks each once. `index` returns the number of an interface.
    fn check(&self, closing: &AtomicBool, index: impl Fn(&str) -> Option<u32>) {
        for zoned in lock(&self.0).iter_mut() {
            let error = zoned.renew(index(&zoned.interface), closing).err();
            if let Some(text) = error.as_ref().filter(|_| error != zoned.error) {
                log::error(
                    "gateway",
                    "cannot listen on the interface, trying again",
                    &[
                        ("interface", zoned.interface.clone().into()),
                        ("error", text.clone().into()),
                    ],
                );
            }
            zoned.error = error;
        }
    }
}

impl Zoned {
    /// Makes it listen on the interface of that number.
    ///
    /// # Errors
    /// Why no client can connect to it.
    fn renew(&mut self, index: Option<u32>, closing: &AtomicBool) -> Result<(), String> {
        let Some(index) = index else {
            let interface = &self.interface;
            return Err(format!(
                "clients cannot connect to {}: this host has no interface {interface}",
                self.addr
            ));
        };
        if index == self.addr.scope_id() {
            return Ok(());
        }
        let (ip, port) = (*self.addr.ip(), self.addr.port());
        let addr = SocketAddrV6::new(ip, port, 0, index);
        let socket = (self.open)(addr.into()).map_err(|error| error.to_string())?;
        let old = (*self.socket).as_fd();
        // Ends connections that wait there, and the wait of the thread that accepts. It fails if an earlier try has done it.
        let _ = SockRef::from(&old).shutdown(Shutdown::Both);
        let replaced = syscall::replace(old, socket.into());
        replaced.map_err(|error| format!("cannot listen on {addr}: {}", OsErrorText(&error)))?;
        self.socket.replaced();
        self.addr = addr;
        // The main thread may have shut down the old one at the end of the service.
        if closing.load(Ordering::SeqCst) {
            let _ = SockRef::from(&(*self.socket).as_fd()).shutdown(Shutdown::Both);
        }
        log::warn(
            "gateway",
            "interface was created again, listening on it",
            &[
                ("interface", self.interface.clone().into()),
                ("listen", SocketAddr::from(addr).into()),
            ],
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::parse_listen;
    use crate::log::tests::heard;
    use std::net::TcpStream;

    static SERVING: AtomicBool = AtomicBool::new(false);

    /// A new interface is simulated: loopback accepts any number, and a listener there is found by its port.
    fn open(addr: SocketAddr) -> Result<TcpListener, Error> {
        let SocketAddr::V6(addr) = addr else {
            unreachable!("it has a zone")
        };
        let refused =
            |error| Error::host("cannot listen", crate::gateway::error::Step::Other, &error);
        match addr.scope_id() {
            9 => Err(refused(std::io::ErrorKind::AddrNotAvailable.into())),
            _ => TcpListener::bind(("::1", addr.port())).map_err(refused),
        }
    }

    #[test]
    fn only_listeners_whose_interface_is_named_are_checked() {
        for (text, expected) in [
            ("[fe80::1%eth0]:1", 1),
            ("[fe80::1%2]:1", 0),
            ("[::1]:1", 0),
            ("127.0.0.1:1", 0),
            (":1", 0),
            ("name:1", 0),
        ] {
            let zones = Zones::default();
            let socket = Arc::new(TcpListener::bind("[::1]:0").unwrap());
            let addr = socket.local_addr().unwrap();
            zones.add(&parse_listen(text).unwrap(), addr, socket, open);
            assert_eq!(lock(&zones.0).len(), expected, "{text}");
            assert_eq!(zones.is_empty(), expected == 0, "{text}");
        }
    }

    #[test]
    fn a_listener_follows_its_interface_and_says_when_it_cannot() {
        let zones = Zones::default();
        let socket = Arc::new(TcpListener::bind("[::1]:0").unwrap());
        let SocketAddr::V6(bound) = socket.local_addr().unwrap() else {
            unreachable!("IPv6")
        };
        let mut addr = bound;
        addr.set_scope_id(5);
        let named = parse_listen("[fe80::1%eth0]:1").unwrap();
        zones.add(
            &named,
            addr.into(),
            Arc::clone(&socket) as Arc<dyn Socket>,
            open,
        );
        let logged = || heard().len();
        logged();
        // (number of the interface, lines in the log, problems)
        let steps = [
            (Some(5), 0, 0),
            (None, 1, 1),
            (None, 0, 1),
            (Some(5), 0, 0),
            (Some(9), 1, 1),
            (Some(9), 0, 1),
        ];
        for (number, lines, problems) in steps {
            zones.check(&SERVING, |_| number);
            assert_eq!(
                (logged(), zones.problems().len()),
                (lines, problems),
                "{number:?}"
            );
        }
        // The old socket is replaced: a wait in it ends, and the descriptor accepts again.
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| socket.accept().is_err());
            // It may not have begun to wait, which is as well.
            SockRef::from(&*socket).shutdown(Shutdown::Both).unwrap();
            assert!(waiting.join().unwrap());
        });
        drop(TcpStream::connect(bound).unwrap_err());
        let place = socket.local_addr().unwrap();
        zones.check(&SERVING, |_| Some(7));
        assert_eq!((logged(), zones.problems().len()), (1, 0));
        assert_eq!(socket.local_addr().unwrap().port(), place.port());
        let _client = TcpStream::connect(bound).unwrap();
        assert!(socket.accept().is_ok());
        zones.check(&SERVING, |_| Some(7));
        assert_eq!(logged(), 0);
        // The end of the service comes in between.
        let closing = AtomicBool::new(false);
        zones.check(&closing, |_| {
            closing.store(true, Ordering::SeqCst);
            SockRef::from(&*socket).shutdown(Shutdown::Both).unwrap();
            Some(8)
        });
        assert_eq!((logged(), zones.problems().len()), (1, 0));
        TcpStream::connect(bound).unwrap_err();
    }
}
