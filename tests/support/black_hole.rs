//! An endpoint that does not answer SYNs, like a member behind a dead link or a firewall that drops packets.
//!
//! No root and no firewall needed: a listener with backlog 0 holds one connection that is never accepted; while
//! its queue is full the kernel drops every further SYN without an answer, as loopback tests of the kernel itself do.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::backend::Backend;

/// How long a probe waits to learn that its SYN was dropped; loopback answers within microseconds.
const SILENCE: Duration = Duration::from_millis(150);

pub(crate) struct BlackHole {
    listener: Socket,
    address: SocketAddr,
    _queued: Vec<TcpStream>,
}

impl BlackHole {
    /// Fills the queue and proves that one more SYN goes unanswered.
    pub(crate) fn new() -> BlackHole {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("create a socket");
        listener
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .expect("bind port 0");
        listener.listen(0).expect("listen with backlog 0");
        let address = listener
            .local_addr()
            .ok()
            .and_then(|addr| addr.as_socket())
            .expect("bound address");
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, SILENCE) {
            queued.push(stream);
            assert!(
                queued.len() < 16,
                "this kernel does not drop SYNs at a full queue"
            );
        }
        BlackHole {
            listener,
            address,
            _queued: queued,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The hole becomes a tagged endpoint: SYNs that are sent again from now on are answered.
    pub(crate) fn open(self, tag: u8) -> Backend {
        // On a listening socket this only widens the queue.
        self.listener
            .listen(128)
            .expect("listen with a real backlog");
        Backend::on_listener(self.listener.into(), tag)
    }
}
