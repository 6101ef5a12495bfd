//! A socket that clients are accepted from, and how to stop accepting.
//!
//! Other processes may have the same socket: the service manager that passed it, or the gateway that takes over in a
//! reload. They may accept a client first, so a thread never blocks in accept(2): it sleeps in
//! poll(2) on the socket and a waker. (O_NONBLOCK is shared by all processes that have the socket; a client's socket
//! does not inherit it on Linux, accept(2).) [`Listener::stop`] ends that, and leaves clients in the queue to the other
//! processes; [`Listener::close`] also refuses new clients, if no manager has the socket.

use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socket2::SockRef;

use crate::dial;
use crate::loop_guard::canonical;
use crate::sys::syscall::{self, PollFd};
use crate::sys::waker::Waker;

/// Sets what clients' sockets inherit from a listening socket that only this service has (tcp(7)): the options of
/// every socket of a session, and that closing it is a reset (SO_LINGER of socket(7)) until its session
/// has ended in order.
pub(crate) fn prepare(socket: SockRef<'_>) -> io::Result<()> {
    socket.set_linger(Some(Duration::ZERO))?;
    dial::prepare(socket)
}

/// Sets that on a client's socket, where other processes have the listener too: they would inherit it as well.
fn prepare_accepted(client: &TcpStream) -> io::Result<()> {
    let prepared = SockRef::from(client).set_linger(Some(Duration::ZERO));
    if prepared.is_err() {
        // It is not served, and must not see an orderly end.
        syscall::disconnect(client.as_fd())?;
    }
    prepared
}

#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    pub(crate) addr: SocketAddr,
    /// A service manager has it, too.
    pub(crate) is_passed: bool,
    stopped: AtomicBool,
    waker: Waker,
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Listener {
    /// A socket that this service has opened, and [prepared](prepare).
    pub(crate) fn own(socket: TcpListener) -> io::Result<Self> {
        Self::new(socket, false)
    }

    /// A socket that a service manager has, too.
    pub(crate) fn passed(socket: TcpListener) -> io::Result<Self> {
        Self::new(socket, true)
    }

    fn new(socket: TcpListener, is_passed: bool) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            addr: canonical(socket.local_addr()?),
            socket,
            is_passed,
            stopped: AtomicBool::new(false),
            waker: Waker::new()?,
        })
    }

    /// Waits for the next client; returns its socket and its address. After [`Listener::stop`] this is an error.
    pub(crate) fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        while !self.stopped.load(Ordering::SeqCst) {
            match self.socket.accept() {
                Ok((client, peer)) => {
                    if self.is_passed {
                        prepare_accepted(&client)?;
                    }
                    return Ok((client, peer));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait()?,
                Err(error) => return Err(error),
            }
        }
        Err(ErrorKind::Interrupted.into())
    }

    fn wait(&self) -> io::Result<()> {
        let mut fds = [
            PollFd::readable(self.socket.as_fd()),
            PollFd::readable(self.waker.fd()),
        ];
        syscall::wait(&mut fds, None)?;
        self.waker.clear();
        Ok(())
    }

    /// Wakes a thread that waits, so that it looks at the socket again: another socket may have replaced it.
    pub(crate) fn look_again(&self) {
        self.waker.wake();
    }

    /// Ends [`Listener::accept`], now and whenever it is called again. Other processes can still accept from the socket.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.waker.wake();
    }

    /// The same; clients are refused from now on, unless a service manager has the socket.
    pub(crate) fn close(&self) {
        self.stop();
        if !self.is_passed {
            // It fails only if the socket does not listen any more.
            let _ = SockRef::from(&self.socket).shutdown(Shutdown::Both);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (TcpListener, SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = socket.local_addr().unwrap();
        (socket, addr)
    }

    /// Also when stop comes between two calls, and while a client waits in the queue.
    #[test]
    fn a_stopped_listener_accepts_no_client() {
        for new in [Listener::own, Listener::passed] {
            let (socket, addr) = pair();
            let listener = new(socket).unwrap();
            std::thread::scope(|scope| {
                let accepting = scope.spawn(|| {
                    assert!(listener.accept().is_ok());
                    listener.accept().is_err() && listener.accept().is_err()
                });
                let client = TcpStream::connect(addr).unwrap();
                listener_has_accepted(&client);
                listener.close();
                assert!(accepting.join().unwrap());
            });
        }
    }

    /// The first accepted socket is dropped, which its client sees.
    fn listener_has_accepted(mut client: &TcpStream) {
        let end = io::Read::read(&mut client, &mut [0]);
        assert!(matches!(end, Ok(0) | Err(_)));
    }

    /// A client's socket that is closed out of turn is reset; a listener that others use is left as
    /// it was.
    #[test]
    fn clients_are_reset_on_close_whichever_listener_they_come_from() {
        let linger = |socket: SockRef<'_>| socket.linger().unwrap();
        for shared in [false, true] {
            let (socket, addr) = pair();
            let listener = if shared {
                Listener::passed(socket).unwrap()
            } else {
                prepare(SockRef::from(&socket)).unwrap();
                Listener::own(socket).unwrap()
            };
            let _client = TcpStream::connect(addr).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            assert_eq!(linger(SockRef::from(&accepted)), Some(Duration::ZERO));
            let socket = SockRef::from(&listener.socket);
            // Another process that has it may take a client that poll(2) has reported here.
            assert!(socket.nonblocking().unwrap());
            assert_eq!(linger(socket).is_none(), shared);
        }
    }

    #[test]
    fn a_client_that_could_not_be_reset_on_close_is_not_served() {
        let (reader, _writer) = io::pipe().unwrap();
        let client = TcpStream::from(std::os::fd::OwnedFd::from(reader));
        assert!(prepare_accepted(&client).is_err());
    }

    #[test]
    fn a_listener_that_is_stopped_leaves_its_queue_to_others() {
        let (socket, addr) = pair();
        let next = Listener::passed(socket.try_clone().unwrap()).unwrap();
        let listener = Listener::passed(socket).unwrap();
        let waiting = TcpStream::connect(addr).unwrap();
        listener.stop();
        assert_eq!(
            listener.accept().unwrap_err().kind(),
            ErrorKind::Interrupted
        );
        drop(listener);
        let later = TcpStream::connect(addr).unwrap();
        for client in [&waiting, &later] {
            let (_, peer) = next.accept().unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
        }
    }
}
