//! Listeners on an address of one link, such as `[fe80::1%eth0]:23790`.
//!
//! The kernel binds them to the number of the interface, not to its name. An interface that is deleted and created
//! again under the same name has another number, and nothing reaches the listener any more, without an error. So a
//! thread compares the numbers at intervals. It replaces the old socket by one that listens on the new interface, with
//! the same descriptor, so that whoever accepts from it continues. While that fails it is one of the problems.
//!
//! The thread runs only if there is such a listener. A socket that a service manager passed is not renewed.

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

/// A listening socket that others accept from.
pub(super) trait Socket: AsFd + Send + Sync {
    /// Another socket has taken its place. A wait for the old one is not told of clients of the new one.
    fn replaced(&self);
}

impl Socket for Listener {
    fn replaced(&self) {
        self.look_again();
    }
}

/// That of metrics, which is looked at again and again.
impl Socket for TcpListener {
    fn replaced(&self) {}
}

/// Opens a socket that listens.
type Open = fn(SocketAddr) -> Result<TcpListener, Error>;

/// All listeners of that kind.
#[derive(Default)]
pub(super) struct Zones(Mutex<Vec<Zoned>>);

struct Zoned {
    interface: String,
    /// Where it listens, by the number that the interface had.
    addr: SocketAddrV6,
    socket: Arc<dyn Socket>,
    open: Open,
    /// Why nobody can connect to it, if so.
    trouble: Option<String>,
}

impl std::fmt::Debug for Zones {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.problems()).finish()
    }
}

impl Zones {
    /// Looks after a listener that is bound to `addr` from now on, if the operator has named its interface.
    pub(super) fn add(
        &self,
        named: &HostPort,
        addr: SocketAddr,
        socket: Arc<dyn Socket>,
        open: Open,
    ) {
        if let (Host::Ip6Zone(_, interface), SocketAddr::V6(addr)) = (&named.host, addr)
            // A number does not tell which interface was meant.
            && interface.parse::<u32>().is_err()
        {
            lock(&self.0).push(Zoned {
                interface: interface.clone(),
                addr,
                socket,
                open,
                trouble: None,
            });
        }
    }

    /// Whether there is nothing to look after.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }

    /// Lets go of all of them.
    pub(super) fn clear(&self) {
        lock(&self.0).clear();
    }

    /// What is wrong now, in words.
    pub(super) fn problems(&self) -> Vec<String> {
        let zoned = lock(&self.0);
        zoned
            .iter()
            .filter_map(|zoned| zoned.trouble.clone())
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
            self.look(closing, index);
            std::thread::sleep(pause);
        }
    }

    /// Looks at each once. `index` tells the number of an interface.
    fn look(&self, closing: &AtomicBool, index: impl Fn(&str) -> Option<u32>) {
        for zoned in lock(&self.0).iter_mut() {
            let trouble = zoned.renew(index(&zoned.interface), closing).err();
            if let Some(error) = trouble.as_ref().filter(|_| trouble != zoned.trouble) {
                log::error(
                    "gateway",
                    "cannot listen on the interface, trying again",
                    &[
                        ("interface", zoned.interface.clone().into()),
                        ("error", error.clone().into()),
                    ],
                );
            }
            zoned.trouble = trouble;
        }
    }
}

impl Zoned {
    /// Makes it listen on the interface of that number.
    ///
    /// # Errors
    /// Why nobody can connect to it.
    fn renew(&mut self, index: Option<u32>, closing: &AtomicBool) -> Result<(), String> {
        let Some(index) = index else {
            let interface = &self.interface;
            return Err(format!(
                "nobody can connect to {}: this host has no interface {interface}",
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
        // Clients that wait there are told. It fails if an earlier try has done it.
        let _ = SockRef::from(&old).shutdown(Shutdown::Both);
        let replaced = syscall::replace(old, socket.into());
        replaced.map_err(|error| format!("cannot listen on {addr}: {}", OsErrorText(&error)))?;
        self.socket.replaced();
        self.addr = addr;
        // Whoever ends the service may have shut down the old one.
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

    /// What stands for a new interface: loopback has any number, and a listener there is found by its port.
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
    fn only_listeners_whose_interface_is_named_are_looked_after() {
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
        let told = || heard().len();
        told();
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
            zones.look(&SERVING, |_| number);
            assert_eq!(
                (told(), zones.problems().len()),
                (lines, problems),
                "{number:?}"
            );
        }
        // The old socket is gone with this: whoever waits in it is told, and the descriptor accepts on.
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| socket.accept().is_err());
            // It may not have begun to wait, which is as well.
            SockRef::from(&*socket).shutdown(Shutdown::Both).unwrap();
            assert!(waiting.join().unwrap());
        });
        drop(TcpStream::connect(bound).unwrap_err());
        let place = socket.local_addr().unwrap();
        zones.look(&SERVING, |_| Some(7));
        assert_eq!((told(), zones.problems().len()), (1, 0));
        assert_eq!(socket.local_addr().unwrap().port(), place.port());
        let _client = TcpStream::connect(bound).unwrap();
        assert!(socket.accept().is_ok());
        zones.look(&SERVING, |_| Some(7));
        assert_eq!(told(), 0);
        // The end of the service comes in between.
        let closing = AtomicBool::new(false);
        zones.look(&closing, |_| {
            closing.store(true, Ordering::SeqCst);
            SockRef::from(&*socket).shutdown(Shutdown::Both).unwrap();
            Some(8)
        });
        assert_eq!((told(), zones.problems().len()), (1, 0));
        TcpStream::connect(bound).unwrap_err();
    }
}
