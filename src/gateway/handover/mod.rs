//! Reload by a new process: what runs is handed over, and no client notices.
//!
//! At SIGUSR2 the process that serves starts the program that is at its path now, with the same arguments (`successor`), and hands
//! it its listening sockets. The new process reads its settings, finds and authenticates endpoints, and says that it is ready
//! (`inherit`). It is told to serve, and only when it says that it does, the old one stops accepting; the sockets, and the
//! clients in their queues, live on in the new one. The old one drains, and tells the new one how many connections it has
//! left (`predecessors`). If the new one cannot start, the old one continues to serve.
//!
//! Somebody watches the service: a service manager, which is told of the new process (MAINPID= of sd_notify(3)), or
//! whoever started the first process and waits for its end, such as runit, a shell, or the kernel where it is process 1. For
//! the latter the first process stays until the service ends (`watcher`). Either way the new process is a child of the one that
//! watches, because what the old one starts only starts the new one and ends.
//!
//! `control` has the messages between these processes.

pub(crate) mod control;
pub(crate) mod inherit;
mod predecessors;
mod reloads;
mod successor;
mod watcher;

pub(super) use control::Request;
pub(crate) use inherit::{Begun, Handover, begin};
pub(super) use predecessors::Event;
pub(super) use reloads::Reloads;
pub(super) use successor::{Said, Starting, Successor, Supply};
pub(super) use watcher::{Watched, execute};

/// The variable that tells a process what it is: see [`inherit`].
const VARIABLE: &str = "GATEWAY_HANDOVER";

/// The most processes that drain. One more, and the oldest resets its connections.
pub(super) const MAX_DRAINING: usize = 8;

/// Descriptors that a reload takes at most: both ends of a socket, and one to each process that drains.
pub(super) const DESCRIPTORS: u64 = 2 + MAX_DRAINING as u64 + 1;
