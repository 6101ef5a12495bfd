//! A socket that clients are accepted from, and how to stop doing so.
//!
//! One that we have bound is shut down: clients are refused from then on, and the thread that
//! sleeps in accept(2) wakes. One that was passed to us must not be: whoever passed it goes on
//! using it, and clients in its queue are for the next process. So its thread sleeps in
//! poll(2) beside a waker, and what it then accepts it must not wait for: a process that shares
//! the socket may have been quicker. (O_NONBLOCK is shared by all of them too; a client's
//! socket does not inherit it on Linux, accept(2).)

use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use socket2::SockRef;

use crate::dial;
use crate::loop_guard::canonical;
use crate::sys::syscall::{self, PollFd};
use crate::sys::waker::Waker;

/// Sets what clients' sockets inherit from a listening one that is ours alone (tcp(7)): what every
/// socket of a session has, and that to close it is a reset (SO_LINGER of socket(7)) until its session
/// has ended in order.
pub(crate) fn prepare(socket: SockRef<'_>) -> io::Result<()> {
    socket.set_linger(Some(Duration::ZERO))?;
    dial::prepare(socket)
}

/// The same of a client's socket, where the listener is not ours alone: those who have it after us
/// would inherit that too.
fn prepare_accepted(client: &TcpStream) -> io::Result<()> {
    let prepared = SockRef::from(client).set_linger(Some(Duration::ZERO));
    if prepared.is_err() {
        // Nobody serves it, which must not look like an end.
        syscall::disconnect(client.as_fd())?;
    }
    prepared
}

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    /// Set if others use the socket too: what stops us alone.
    stop: Option<Waker>,
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Listener {
    /// A socket that is ours alone, and [prepared](prepare).
    pub(crate) fn own(socket: TcpListener) -> io::Result<Self> {
        Ok(Self {
            addr: canonical(socket.local_addr()?),
            socket,
            stop: None,
        })
    }

    /// A socket that other processes have or will have.
    pub(crate) fn shared(socket: TcpListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            addr: canonical(socket.local_addr()?),
            socket,
            stop: Some(Waker::new()?),
        })
    }

    /// Waits for the next client, and tells its address, which one that is gone again has no
    /// more. After [`Listener::stop`] there is none, but an error.
    pub(crate) fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let Some(stop) = &self.stop else {
            return self.socket.accept();
        };
        loop {
            let mut fds = [
                PollFd::readable(self.socket.as_fd()),
                PollFd::readable(stop.fd()),
            ];
            syscall::wait(&mut fds, None)?;
            let [_, stopped] = &fds;
            if stopped.is_ready() {
                return Err(ErrorKind::Interrupted.into());
            }
            match self.socket.accept() {
                Ok((client, peer)) => {
                    prepare_accepted(&client)?;
                    return Ok((client, peer));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Has [`Listener::accept`] end, now and whenever it is called again.
    pub(crate) fn stop(&self) {
        match &self.stop {
            // It fails only if the socket does not listen any more.
            None => drop(SockRef::from(&self.socket).shutdown(Shutdown::Both)),
            Some(stop) => stop.wake(),
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
    fn a_stopped_listener_accepts_nobody() {
        for new in [Listener::own, Listener::shared] {
            let (socket, addr) = pair();
            let listener = new(socket).unwrap();
            std::thread::scope(|scope| {
                let accepting = scope.spawn(|| {
                    assert!(listener.accept().is_ok());
                    listener.accept().is_err() && listener.accept().is_err()
                });
                let client = TcpStream::connect(addr).unwrap();
                listener_has_accepted(&client);
                listener.stop();
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
                Listener::shared(socket).unwrap()
            } else {
                prepare(SockRef::from(&socket)).unwrap();
                Listener::own(socket).unwrap()
            };
            let _client = TcpStream::connect(addr).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            assert_eq!(linger(SockRef::from(&accepted)), Some(Duration::ZERO));
            let socket = SockRef::from(&listener.socket);
            // Whoever else has it may take a client that this one was told of.
            assert_eq!(socket.nonblocking().unwrap(), shared);
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
    fn stopping_a_shared_listener_leaves_its_queue_to_others() {
        let (socket, addr) = pair();
        let next = Listener::shared(socket.try_clone().unwrap()).unwrap();
        let listener = Listener::shared(socket).unwrap();
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
