//! Which servers answer queries with EDNS, and which do not: some firewalls drop what they do not
//! support. Finding this out takes a wait, so it is remembered, for a while, since firewalls and
//! servers change.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::sync::lock;

/// The most servers that are remembered. A resolv.conf has three; it may change.
const MAX_SERVERS: usize = 16;

/// Servers, whether EDNS works with them, and until when this is remembered; the oldest first.
#[derive(Debug, Default)]
pub(super) struct Edns(Mutex<Vec<(SocketAddr, bool, Instant)>>);

impl Edns {
    /// Whether EDNS works with a server, if that is known.
    pub(super) fn of(&self, server: SocketAddr, now: Instant) -> Option<bool> {
        let known = lock(&self.0);
        let mut known = known.iter();
        let known = known.find(|(of, _, until)| *of == server && now < *until);
        known.map(|(_, works, _)| *works)
    }

    /// Remembers for this time whether it works, or forgets the server.
    pub(super) fn note(
        &self,
        server: SocketAddr,
        works: Option<bool>,
        now: Instant,
        memory: Duration,
    ) {
        let mut known = lock(&self.0);
        known.retain(|(of, ..)| *of != server);
        if let (Some(works), Some(until)) = (works, now.checked_add(memory)) {
            if known.len() >= MAX_SERVERS {
                known.remove(0);
            }
            known.push((server, works, until));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: Duration = Duration::from_secs(600);

    fn server(number: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], number))
    }

    #[test]
    fn entries_expire() {
        let (edns, now) = (Edns::default(), Instant::now());
        let later = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(edns.of(server(1), now), None);
        edns.note(server(1), Some(false), now, MEMORY);
        edns.note(server(2), Some(true), later(1), MEMORY);
        let known = |seconds| [1, 2].map(|number| edns.of(server(number), later(seconds)));
        assert_eq!(known(599), [Some(false), Some(true)]);
        assert_eq!(known(600), [None, Some(true)]);
        assert_eq!(known(601), [None; 2]);
        edns.note(server(1), Some(true), later(599), MEMORY);
        assert_eq!(known(1198), [Some(true), None]);
        edns.note(server(1), None, later(600), MEMORY);
        assert_eq!(known(600), [None, Some(true)]);
    }

    #[test]
    fn the_number_of_remembered_servers_is_limited() {
        let (edns, now) = (Edns::default(), Instant::now());
        for number in 0..100 {
            edns.note(server(number), Some(false), now, MEMORY);
            edns.note(server(number), Some(false), now, MEMORY);
        }
        let known = (0..100).filter(|number| edns.of(server(*number), now).is_some());
        assert!(known.eq(84..100), "the last ones");
    }
}
