//! Asks the servers of resolv.conf: which one when, for how long, and with EDNS or without.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::edns::Edns;
use super::exchange::{Exchange, QueryOptions, Random};
use super::lookup::{Lookup, Response};
use super::resolv_conf::ResolvConf;

/// How long to wait for one address family once the other is settled. There are networks that drop
/// the question for AAAA: that must not use up the time of a dial.
const FAMILY_PATIENCE: Duration = Duration::from_secs(1);

/// What is remembered of the servers.
pub(super) struct Servers {
    pub(super) random: Random,
    /// Counts questions; with `rotate` it decides which server comes first.
    rotation: AtomicUsize,
    edns: Edns,
    /// How long to remember whether a server answers queries with EDNS.
    pub(super) edns_memory: Duration,
}

impl Servers {
    pub(super) fn new(random: Random, edns_memory: Duration) -> Self {
        Self {
            random,
            rotation: AtomicUsize::new(0),
            edns: Edns::default(),
            edns_memory,
        }
    }

    /// Goes through the servers, as often as configured, until every lookup has its outcome. The last
    /// attempt is without EDNS, for servers and firewalls that drop or damage queries with it; a single
    /// attempt has a half with and a half without, as long as it is not known which works.
    pub(super) fn ask(&self, conf: &ResolvConf, lookups: &mut [Lookup], deadline: Instant) {
        let mut servers = conf.servers.clone();
        let turn = self.rotation.fetch_add(1, Ordering::Relaxed);
        if let (true, Some(first)) = (conf.rotate, turn.checked_rem(servers.len())) {
            servers.rotate_left(first);
        }
        let mut silent = HashSet::new();
        for rounds_left in (0..conf.attempts).rev() {
            for (server, after) in servers.iter().zip((0..servers.len()).rev()) {
                let now = Instant::now();
                let left = deadline.saturating_duration_since(now);
                let share = share(left, after, rounds_left, conf.timeout);
                let end = now.checked_add(share).unwrap_or(deadline);
                let known = self.edns.of(*server, now);
                let tries: &[bool] = match known {
                    Some(false) => &[false],
                    _ if rounds_left > 0 => &[true],
                    _ if conf.attempts > 1 => &[false],
                    Some(true) => &[true],
                    None => &[true, false],
                };
                for (edns, tries_left) in tries.iter().zip((0..tries.len()).rev()) {
                    let now = Instant::now();
                    if lookups.iter().all(Lookup::is_settled) || now >= deadline {
                        return;
                    }
                    let options = QueryOptions {
                        server: *server,
                        use_vc: conf.use_vc,
                        edns: *edns,
                        until: match tries_left {
                            0 => end,
                            _ => half_way(now, end),
                        },
                    };
                    let response = self.ask_server(options, lookups);
                    self.learn(options, response, known, &mut silent);
                    if lookups.iter().any(Lookup::suffices) && lookups.iter().all(Lookup::is_over) {
                        return;
                    }
                    if !matches!(response, Response::Silence | Response::Malformed) {
                        break;
                    }
                }
            }
        }
    }

    /// Remembers whether EDNS works with a server. One that has answered with it before is asked with it
    /// once more: a datagram can be lost, and some servers omit records without EDNS.
    fn learn(
        &self,
        options: QueryOptions,
        response: Response,
        known: Option<bool>,
        silent: &mut HashSet<SocketAddr>,
    ) {
        let server = options.server;
        let works = match (response, options.edns) {
            (Response::Reply, true) => {
                silent.remove(&server);
                Some(true)
            }
            (Response::Silence, true) => {
                if known.is_none() {
                    silent.insert(server);
                }
                None
            }
            (Response::Reply, false) if silent.contains(&server) => Some(false),
            _ => return,
        };
        self.edns
            .note(server, works, Instant::now(), self.edns_memory);
    }

    /// Asks one server the questions that are not settled, at the same time, then the targets of aliases.
    fn ask_server(&self, options: QueryOptions, lookups: &mut [Lookup]) -> Response {
        let start =
            |lookup: &Lookup| Exchange::start(options, lookup.question().clone(), self.random);
        let mut hurry = lookups.iter().any(Lookup::suffices);
        let open = lookups.iter_mut().filter(|lookup| !lookup.is_settled());
        let open: Vec<_> = open.map(|lookup| (start(lookup), lookup)).collect();
        let mut response = Response::NotAsked;
        for (mut exchange, lookup) in open {
            loop {
                let patience = Instant::now().checked_add(FAMILY_PATIENCE);
                if let (true, Some(until)) = (hurry, patience) {
                    exchange.hurry(until);
                }
                let (reply, server) = exchange.finish();
                response = response.max(Response::of(&reply, options.use_vc == server.tcp));
                if !lookup.advance(reply, server) {
                    break;
                }
                exchange = start(lookup);
            }
            hurry |= lookup.suffices();
        }
        response
    }
}

/// How long one server may take, with `after` servers after it in this round and `rounds_left` further
/// rounds. If the time does not allow every server its full timeout it is shared, so that a dead server
/// does not use up the time of the others, nor a lost datagram that of all further rounds, which have
/// one share together.
pub(super) fn share(left: Duration, after: usize, rounds_left: u32, timeout: Duration) -> Duration {
    let shares = u32::try_from(after)
        .unwrap_or(u32::MAX)
        .saturating_add(1)
        .saturating_add(rounds_left.min(1));
    left.checked_div(shares).unwrap_or(left).min(timeout)
}

/// The middle of the time that is left: the other half is for what follows.
pub(super) fn half_way(now: Instant, deadline: Instant) -> Instant {
    let half = deadline.saturating_duration_since(now).checked_div(2);
    half.and_then(|half| now.checked_add(half))
        .unwrap_or(deadline)
}
