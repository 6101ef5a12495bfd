//! The processes that drain because another one serves: this process knows how many connections they have, passes on to them
//! what it is asked for, and sees that there are never too many.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::MAX_DRAINING;
use super::control::{Control, Message, Received, Request};
use crate::log;
use crate::sync::lock;

/// One of them.
#[derive(Debug)]
pub(in crate::gateway) struct Predecessor {
    control: Control,
    pub(super) process: u32,
    /// Whether it is the first process of a service that nobody else watches: it stays when it has drained, and what it is
    /// asked for is meant for this process.
    pub(super) is_watched: bool,
    pub(super) connections: AtomicU64,
}

/// What became known of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum Event {
    /// By whoever asked the first process, or one that has handed over meanwhile.
    Asked(Request),
    /// The first process was ended, and so the service is.
    WatcherEnded,
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

    /// The socket to it.
    pub(in crate::gateway) fn control(&self) -> &Control {
        &self.control
    }

    fn is_draining(&self) -> bool {
        !self.is_watched || self.connections() > 0
    }

    /// How many connections it has, as far as it has said.
    fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

/// All of them, the oldest first.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Predecessors(Mutex<Vec<Arc<Predecessor>>>);

impl Predecessors {
    pub(super) fn new(all: impl IntoIterator<Item = Arc<Predecessor>>) -> Self {
        Self(Mutex::new(all.into_iter().collect()))
    }

    pub(in crate::gateway) fn all(&self) -> Vec<Arc<Predecessor>> {
        lock(&self.0).clone()
    }

    /// How many drain, and how many connections they have.
    pub(in crate::gateway) fn draining(&self) -> (usize, u64) {
        let all = lock(&self.0);
        let draining = all.iter().filter(|one| one.is_draining());
        let connections = draining.clone();
        let connections = connections.map(|one| one.connections());
        (draining.count(), connections.sum())
    }

    /// Lets go of all of them: another process serves, and has them.
    pub(in crate::gateway) fn clear(&self) {
        lock(&self.0).clear();
    }

    /// Asks all of them for something.
    pub(in crate::gateway) fn ask(&self, request: Request) {
        self.tell(&Message::Request(request));
    }

    /// Tells all of them that this process serves, and is to be told how many connections they have.
    pub(in crate::gateway) fn announce(&self) {
        self.tell(&Message::Serving(std::process::id()));
    }

    /// The same for the first time. If they are too many, the oldest are ended.
    pub(in crate::gateway) fn serve(&self) {
        self.announce();
        let all = self.all();
        let draining = all.iter().filter(|one| one.is_draining());
        // More than one if an earlier one has not ended yet, or never does, such as one that is stopped.
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

    fn tell(&self, message: &Message) {
        for one in self.all() {
            // Its end is seen elsewhere.
            let _ = one.control.send(message);
        }
    }

    /// Reads what they have sent; those that have ended are forgotten.
    pub(in crate::gateway) fn hear(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for one in self.all() {
            loop {
                match one.control.receive() {
                    Received::Nothing => break,
                    Received::Message(Message::Connections(count)) => {
                        one.connections.store(count, Ordering::Relaxed);
                    }
                    Received::Message(Message::Request(request)) => {
                        events.push(Event::Asked(request));
                    }
                    Received::Message(_) => {}
                    Received::End => {
                        lock(&self.0).retain(|known| !Arc::ptr_eq(known, &one));
                        if one.is_watched {
                            events.push(Event::WatcherEnded);
                        }
                        break;
                    }
                }
            }
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many of which the first is watched, and the other ends of their sockets.
    fn predecessors(count: u32) -> (Predecessors, Vec<Control>) {
        let pairs = (0..count).map(|number| {
            let (near, far) = Control::pair().unwrap();
            (
                Arc::new(Predecessor::new(near, number, number == 0, 1)),
                far,
            )
        });
        let (all, far): (Vec<_>, Vec<_>) = pairs.unzip();
        (Predecessors::new(all), far)
    }

    #[test]
    fn their_connections_are_added_up_and_who_has_ended_is_forgotten() {
        let (all, mut far) = predecessors(3);
        assert_eq!(all.draining(), (3, 3));
        far[1].send(&Message::Connections(5)).unwrap();
        far[1].send(&Message::Connections(4)).unwrap();
        assert!(all.hear().is_empty());
        assert_eq!(all.draining(), (3, 6));
        // One that stays without connections does not drain; one that is to end does.
        far[0].send(&Message::Connections(0)).unwrap();
        far[2].send(&Message::Connections(0)).unwrap();
        assert!(all.hear().is_empty());
        assert_eq!(all.draining(), (2, 4));
        far.remove(1);
        assert!(all.hear().is_empty());
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
            assert_eq!(all.hear(), [Event::Asked(request); 2]);
        }
        far.remove(1);
        assert!(all.hear().is_empty());
        far.remove(0);
        assert_eq!(all.hear(), [Event::WatcherEnded]);
    }

    #[test]
    fn the_oldest_end_if_there_are_too_many() {
        let most = u32::try_from(MAX_DRAINING).unwrap();
        for (count, ended) in [(most, 0), (most + 1, 1), (most + 3, 3)] {
            let (all, far) = predecessors(count);
            all.serve();
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
