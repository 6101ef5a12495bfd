//! Reload by a new process: listeners are handed over, and no client notices.
//!
//! At SIGUSR2 the process that serves starts the program that is at its path now, with the same arguments (`successor`), and hands
//! it its listening sockets. The new process reads its settings, finds and authenticates endpoints, and says that it is ready
//! (`inherit`). Only when it says that it serves does the old one stop accepting; the sockets, and the clients in their queues,
//! live on in the new one. The old one drains, and reports how many connections it has left (`predecessors`). If the new one
//! cannot start, the old one continues to serve. The bounds: one reload at a time, `Times::reload_patience` for a new process to
//! be ready, and [`MAX_DRAINING`] processes that drain.
//!
//! Somebody watches the service: a service manager, which is notified of the new process (MAINPID= of sd_notify(3)), or
//! the parent of the first process, which waits for its end, such as runit, a shell, or the kernel where it is process 1. For
//! the latter the first process stays until the service ends (`watcher`). Either way the new process is a child of the one that
//! watches, because the old one only starts a process that starts the new one and ends.
//!
//! `control` has the messages between these processes, and `role` the variable that says what a process is started for.

mod children;
pub(crate) mod control;
mod inherit;
mod predecessors;
mod reloads;
pub(crate) mod role;
mod successor;
mod watcher;

pub(super) use children::Children;
pub(super) use control::{Message, Received, ServiceState};
pub(crate) use inherit::{Handover, begin};
pub(super) use predecessors::MAX_DRAINING;
pub(super) use reloads::Reloads;
pub(super) use successor::{Starting, Successor};
pub(super) use watcher::execute;

/// Descriptors that a reload takes at most: both ends of a socket, and one to each process that drains.
pub(super) const DESCRIPTORS: u64 = 2 + MAX_DRAINING as u64 + 1;
