//! The processes that drain because another one serves. They report how many connections they have; this process passes on to
//! them what it is asked for, and limits how many there are.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::control::{Control, Message, Received};
use crate::gateway::signals::Request;
use crate::log;
use crate::sync::lock;

/// The most processes that drain. If there is one more, the oldest resets its connections.
pub(crate) const MAX_DRAINING: usize = 8;

/// One process that drains.
#[derive(Debug)]
pub(crate) struct Predecessor {
    control: Control,
    pub(super) process: u32,
    /// Whether it is the first process of a service that no service manager watches: it stays when it has drained, and what it is
    /// asked for is meant for this process.
    pub(super) is_watched: bool,
    /// How many connections it has, by its last report.
    connections: AtomicU64,
}

impl Predecessor {
    pub(super) fn new(control: Control, process: u32, is_watched: bool, connections: u64) -> Self {
        Self {
            control,
            process,
            is_watched,
            connections: connections.into(),
        }
    }

    pub(crate) fn control(&self) -> &Control {
        &self.control
    }

    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    fn is_draining(&self) -> bool {
        !self.is_watched || self.connections() > 0
    }
}

/// All of them, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Predecessors(Mutex<Vec<Arc<Predecessor>>>);

impl Predecessors {
    pub(super) fn new(all: Vec<Arc<Predecessor>>) -> Self {
        Self(Mutex::new(all))
    }

    pub(crate) fn all(&self) -> Vec<Arc<Predecessor>> {
        lock(&self.0).clone()
    }

    /// How many drain, and how many connections they have.
    pub(crate) fn draining(&self) -> (usize, u64) {
        let all = lock(&self.0);
        let draining = all.iter().filter(|one| one.is_draining());
        let connections = draining.clone().map(|one| one.connections());
        (draining.count(), connections.sum())
    }

    /// Drops all of them: another process serves, and has them.
    pub(crate) fn clear(&self) {
        lock(&self.0).clear();
    }

    pub(crate) fn ask(&self, request: Request) {
        self.send(&Message::Request(request));
    }

    /// Announces to all of them that this process serves; they report how many connections they have.
    pub(crate) fn announce(&self) {
        self.send(&Message::Serving(std::process::id()));
    }

    fn send(&self, message: &Message) {
        for one in self.all() {
            // If it has ended, `receive` sees that.
            let _ = one.control.send(message);
        }
    }

    /// Resets the connections of the oldest if too many drain, for instance because one that was stopped never ends.
    pub(crate) fn limit(&self) {
        let all = self.all();
        let draining = all.iter().filter(|one| one.is_draining());
        let excess = draining.clone().count().saturating_sub(MAX_DRAINING);
        for oldest in draining.take(excess) {
            log::warn(
                "reload",
                "too many processes drain, resetting the connections of the oldest",
                &[
                    ("process", u64::from(oldest.process).into()),
                    ("connections", oldest.connections().into()),
                    ("most", MAX_DRAINING.into()),
                ],
            );
            let _ = oldest.control.send(&Message::Request(Request::Reset));
        }
    }

    /// Reads what they have sent, and drops those that have ended. Returns what this process is asked for, and by what.
    pub(crate) fn receive(&self) -> Vec<(Request, &'static str)> {
        let mut requests = Vec::new();
        for one in self.all() {
            loop {
                match one.control.receive() {
                    Received::Nothing => break,
                    Received::Message(Message::Connections(count)) => {
                        one.connections.store(count, Ordering::Relaxed);
                    }
                    Received::Message(Message::Request(request)) => {
                        requests.push((request, "passed on"));
                    }
                    Received::Message(_) => {}
                    Received::End => {
                        lock(&self.0).retain(|known| !Arc::ptr_eq(known, &one));
                        if one.is_watched {
                            let message = "the first process of the service has ended, ending";
                            log::warn("reload", message, &[]);
                            requests.push((Request::End, "end of the first process"));
                        }
                        break;
                    }
                }
            }
        }
        requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Processes of which the first is watched, and the other ends of their sockets.
    fn predecessors(count: u32) -> (Predecessors, Vec<Control>) {
        let pairs = (0..count).map(|number| {
            let (near, far) = Control::pair().unwrap();
            let one = Predecessor::new(near, number, number == 0, 1);
            (Arc::new(one), far)
        });
        let (all, far): (Vec<_>, Vec<_>) = pairs.unzip();
        (Predecessors::new(all), far)
    }

    #[test]
    fn their_connections_are_added_up_and_one_that_has_ended_is_dropped() {
        let (all, mut far) = predecessors(3);
        assert_eq!(all.draining(), (3, 3));
        far[1].send(&Message::Connections(5)).unwrap();
        far[1].send(&Message::Connections(4)).unwrap();
        assert!(all.receive().is_empty());
        assert_eq!(all.draining(), (3, 6));
        // One that stays without connections does not drain; one that is to end does.
        far[0].send(&Message::Connections(0)).unwrap();
        far[2].send(&Message::Connections(0)).unwrap();
        assert!(all.receive().is_empty());
        assert_eq!(all.draining(), (2, 4));
        far.remove(1).hang_up();
        assert!(all.receive().is_empty());
        assert_eq!(all.draining(), (1, 0));
        all.clear();
        assert_eq!(all.draining(), (0, 0));
    }

    #[test]
    fn each_may_pass_on_what_it_was_asked_for_and_the_end_of_one_is_that_of_the_service() {
        let (all, mut far) = predecessors(2);
        for request in [Request::Reload, Request::End] {
            for one in &far {
                one.send(&Message::Request(request)).unwrap();
            }
            assert_eq!(all.receive(), [(request, "passed on"); 2]);
        }
        far.remove(1).hang_up();
        assert!(all.receive().is_empty());
        far.remove(0).hang_up();
        assert_eq!(all.receive(), [(Request::End, "end of the first process")]);
    }

    #[test]
    fn the_oldest_end_if_there_are_too_many() {
        let most = u32::try_from(MAX_DRAINING).unwrap();
        for (count, ended) in [(most, 0), (most + 1, 1), (most + 3, 3)] {
            let (all, far) = predecessors(count);
            all.announce();
            all.limit();
            for (index, one) in far.iter().enumerate() {
                let serving = Message::Serving(std::process::id());
                assert_eq!(one.receive(), Received::Message(serving));
                let expected = match index < ended {
                    true => Received::Message(Message::Request(Request::Reset)),
                    false => Received::Nothing,
                };
                assert_eq!(one.receive(), expected, "{index} of {count}");
            }
        }
    }
}
