//! Fake endpoints, in this process: each on its own port, which stays reserved for as long as the value lives,
//! also while the endpoint is down.
//!
//! The reservation is a second socket, bound with SO_REUSEADDR but never listening: connections are refused as
//! on a port that nobody has, and the kernel gives the port to nobody else, so an endpoint can go down and come
//! back at its address without a race.
//!
//! A gateway dials each of its endpoints once when it starts, to find out whether it is there. That visit is not
//! the test's: a [`Launch`](super::Launch) announces it, and the endpoint hangs up and does not count it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;

use socket2::{Domain, SockRef, Socket, Type};

use super::{SOON, net};

type Accept = Box<dyn Fn(TcpStream) + Send>;

pub(crate) struct Backend {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    open: Arc<Mutex<Vec<Weak<TcpStream>>>>,
    serving: Option<Serving>,
    _reserved: Option<Socket>,
}

struct Serving {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    _visits: Visits,
}

/// Visits of gateways that start, which are announced and have not come, of the endpoints that are up.
static VISITS: Mutex<BTreeMap<SocketAddr, Visits>> = Mutex::new(BTreeMap::new());

type Visits = Arc<AtomicUsize>;

fn visits(address: SocketAddr) -> Option<Visits> {
    let visits = VISITS.lock().expect("nobody panics with the lock");
    visits.get(&address).cloned()
}

/// A gateway is about to start in front of these.
pub(super) fn announce_visits(addresses: &[SocketAddr]) {
    for visits in addresses.iter().copied().filter_map(visits) {
        visits.fetch_add(1, Ordering::SeqCst);
    }
}

/// Waits until it has visited all of them.
#[track_caller]
pub(super) fn await_visits(addresses: &[SocketAddr]) {
    for visits in addresses.iter().copied().filter_map(visits) {
        super::eventually(SOON, "the gateway tries its endpoints", || {
            (visits.load(Ordering::SeqCst) == 0).then_some(())
        });
    }
}

/// The connections a hand-driven endpoint was given, in order.
pub(crate) struct Accepted(Receiver<TcpStream>);

impl Accepted {
    #[track_caller]
    pub(crate) fn next(&self) -> TcpStream {
        self.0
            .recv_timeout(SOON)
            .expect("the gateway dials the endpoint")
    }
}

impl Backend {
    /// Refuses every connection until `up_*`.
    pub(crate) fn dead() -> Backend {
        Backend::dead_at(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bind port 0")
    }

    /// The same at a given address, which may be taken.
    pub(crate) fn dead_at(address: SocketAddr) -> std::io::Result<Backend> {
        let reserved = bound(address)?;
        let address = reserved
            .local_addr()?
            .as_socket()
            .expect("an internet address");
        Ok(Backend {
            address,
            accepted: Arc::default(),
            open: Arc::default(),
            serving: None,
            _reserved: Some(reserved),
        })
    }

    /// Sends back what it is sent, and ends when the client ends.
    pub(crate) fn echo() -> Backend {
        let mut backend = Backend::dead();
        backend.up_with(echo);
        backend
    }

    /// Sends `tag` on every new connection, then echoes.
    pub(crate) fn tagged(tag: u8) -> Backend {
        let mut backend = Backend::dead();
        backend.up_tagged(tag);
        backend
    }

    /// Runs `handler` on its own thread for each connection; the connection closes when it returns.
    pub(crate) fn serving(handler: impl Fn(&TcpStream) + Send + Sync + 'static) -> Backend {
        let mut backend = Backend::dead();
        backend.up_with(handler);
        backend
    }

    /// Hands its connections to the test, which plays the endpoint.
    pub(crate) fn by_hand() -> (Backend, Accepted) {
        let (sender, receiver) = channel();
        let mut backend = Backend::dead();
        // A test that has seen enough drops the receiver; later connections close at once.
        backend.listen(Box::new(move |stream| drop(sender.send(stream))));
        (backend, Accepted(receiver))
    }

    /// Serves as a tagged endpoint on a listener that exists already.
    pub(crate) fn on_listener(listener: TcpListener, tag: u8) -> Backend {
        let address = listener.local_addr().expect("bound address");
        let mut backend = Backend {
            address,
            accepted: Arc::default(),
            open: Arc::default(),
            serving: None,
            _reserved: None,
        };
        let accept = backend.threaded(move |stream| tag_then_echo(stream, tag));
        backend.accept_on(listener, accept);
        backend
    }

    pub(crate) fn up_tagged(&mut self, tag: u8) {
        self.up_with(move |stream| tag_then_echo(stream, tag));
    }

    pub(crate) fn up_with(&mut self, handler: impl Fn(&TcpStream) + Send + Sync + 'static) {
        let accept = self.threaded(handler);
        self.listen(accept);
    }

    /// As when the server's process ends: the listener and every connection close, the port refuses.
    pub(crate) fn down(&mut self) {
        let Some(serving) = self.serving.take() else {
            return;
        };
        let up = VISITS.lock();
        up.expect("nobody panics with the lock")
            .remove(&self.address);
        serving.stop.store(true, Ordering::SeqCst);
        // Wakes the accept call; a queue that is full has woken it already.
        let _ = TcpStream::connect_timeout(&self.address, SOON);
        serving
            .thread
            .join()
            .expect("the accept thread does not panic");
        for stream in self
            .open
            .lock()
            .expect("no handler panics with the lock")
            .drain(..)
        {
            if let Some(stream) = stream.upgrade() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    fn threaded(&self, handler: impl Fn(&TcpStream) + Send + Sync + 'static) -> Accept {
        let handler = Arc::new(handler);
        let open = Arc::clone(&self.open);
        Box::new(move |stream| {
            // The list holds no strong reference, or a connection would not close when its handler returns.
            let stream = Arc::new(stream);
            open.lock()
                .expect("no handler panics with the lock")
                .push(Arc::downgrade(&stream));
            let handler = Arc::clone(&handler);
            std::thread::spawn(move || handler(&stream));
        })
    }

    fn listen(&mut self, accept: Accept) {
        let socket = bound(self.address).expect("bind the reserved port");
        socket.listen(1024).expect("listen");
        self.accept_on(socket.into(), accept);
    }

    fn accept_on(&mut self, listener: TcpListener, accept: Accept) {
        assert!(self.serving.is_none(), "the endpoint is up already");
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, accepted) = (Arc::clone(&stop), Arc::clone(&self.accepted));
        let visits = Visits::default();
        let up = VISITS.lock();
        up.expect("nobody panics with the lock")
            .insert(self.address, Arc::clone(&visits));
        let announced = Arc::clone(&visits);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    // Not by closing it alone: a process that another test is just starting may
                    // hold a copy of the descriptor for a moment, and go on taking connections.
                    let _ = SockRef::from(&listener).shutdown(Shutdown::Both);
                    return;
                }
                net::with_deadlines(&stream);
                // One thread counts down. Who has been visited has been left, too.
                if announced.load(Ordering::SeqCst) > 0 {
                    let mut visit = &stream;
                    let _ = visit.read(&mut [0]);
                    announced.fetch_sub(1, Ordering::SeqCst);
                    continue;
                }
                accepted.fetch_add(1, Ordering::SeqCst);
                accept(stream);
            }
        });
        self.serving = Some(Serving {
            stop,
            thread,
            _visits: visits,
        });
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.down();
    }
}

fn bound(address: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Errors end the echo: the test that caused them looks at its own end of the connection.
fn echo(mut stream: &TcpStream) {
    // Idle connections are part of the tests.
    let _ = stream.set_read_timeout(None);
    let mut chunk = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        if stream.write_all(&chunk[..count]).is_err() {
            return;
        }
    }
}

fn tag_then_echo(mut stream: &TcpStream, tag: u8) {
    if stream.write_all(&[tag]).is_ok() {
        echo(stream);
    }
}
