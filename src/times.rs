//! The intervals of a running gateway, on one page, but for those that are settings.
//!
//! Whoever waits is given them and asks no constant, so that a test waits for milliseconds where
//! a gateway waits for minutes. A build with debug checks also takes them from the
//! environment, for tests of the whole process: `ETCDGW_TEST_TIMES=worker_patience=50,…`, in
//! milliseconds. A release has neither that variable nor the code that reads it.

use std::time::Duration;

/// One line per interval: what waits so long, its name, and how long it is.
macro_rules! times {
    ($($(#[doc = $doc:literal])* $name:ident: $default:expr,)*) => {
        /// How long what waits.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) struct Times {
            $($(#[doc = $doc])* pub(crate) $name: Duration,)*
        }

        impl Times {
            /// Those of a gateway that serves.
            pub(crate) const REAL: Self = Self { $($name: $default,)* };

            #[cfg(debug_assertions)]
            fn set(&mut self, name: &str, value: Duration) {
                match name {
                    $(stringify!($name) => self.$name = value,)*
                    _ => panic!("{VARIABLE}: there is no interval {name:?}"),
                }
            }
        }
    };
}

times! {
    /// How long a worker is kept that has nothing to do.
    worker_patience: Duration::from_secs(10),
    /// How long a session has a thread that waits, after which one thread waits for all that are silent: long
    /// enough that one who exchanges something each second is not handed to and fro, short enough that those
    /// who are connected for good cost a thread for moments only.
    silence: Duration::from_secs(5),
    /// How soon a session that has stirred is handed to a thread again, if none could be had.
    wake_pause: Duration::from_millis(100),
    /// How often the peers of each session are looked at.
    peer_look: Duration::from_secs(15),
    /// How long nothing is heard of a peer that has to answer until it counts as gone: what keepalive takes,
    /// 15 s of silence and nine probes.
    peer_patience: Duration::from_secs(150),
    /// How long bulk is copied after this host has refused to splice; longer after refusals in a row.
    splice_pause: Duration::from_secs(1),
    /// How long one dial of a client is alone before the next runs beside it: the "connection
    /// attempt delay" that RFC 8305 section 5 recommends. Far above a round trip to any member
    /// of one cluster.
    head_start: Duration::from_millis(250),
    /// How long an endpoint that is back may take to authenticate while a client waits: many times
    /// what a handshake takes.
    proof_patience: Duration::from_secs(1),
    /// How long an endpoint that was this gateway must keep a connection before it counts as another.
    loop_verdict: Duration::from_millis(500),
    /// How often sessions are looked at that wait for the first answer of their endpoint.
    answer_look: Duration::from_millis(100),
    /// How often what else may become of sessions is looked at.
    session_look: Duration::from_secs(1),
    /// How long an endpoint is not asked again that was asked because of a doubt.
    ask_again: Duration::from_secs(5),
    /// How long a connection counts at least, where the policy looks at open connections.
    counted: Duration::from_secs(1),
    /// How long the monitor waits after a wait of its own that the kernel refused.
    poll_pause: Duration::from_secs(1),
    /// How often an endpoint is asked how it is, give or take a tenth: each question costs the
    /// cluster a linearizable read.
    health_interval: Duration::from_secs(5),
    /// How long an endpoint may take to answer that, from the dial to the end of the answer.
    health_timeout: Duration::from_secs(2),

    /// The shortest time from a refresh to the next that nobody asks for: a TTL of 0 or 1 must not
    /// become a flood.
    refresh_min: Duration::from_secs(5),
    /// The longest: a TTL of a day must not hide a change for a day.
    refresh_max: Duration::from_secs(5 * 60),
    /// The longest after refreshes that failed; the first waits for `refresh_min`, and each further
    /// one for twice as long.
    refresh_backoff: Duration::from_secs(60),
    /// However often it is asked for, a refresh begins this long after the last at the earliest.
    refresh_pause: Duration::from_secs(1),
    /// How often endpoints that serve have to authenticate again.
    audit: Duration::from_secs(5 * 60),
    /// How often the endpoints file and the authorities are looked at.
    file_look: Duration::from_secs(1),
    /// How soon again if it was not what it was before: longer than a program takes from the
    /// truncation of a file to its last write.
    file_look_again: Duration::from_millis(250),
    /// How often the resolver looks at its files at most: the interval of Go's resolver.
    resolver_look: Duration::from_secs(5),
    /// How long the resolver remembers whether a name server answers queries with EDNS.
    edns_memory: Duration::from_secs(10 * 60),
    /// How often the interfaces of listeners are looked at that are on one link alone.
    zone_look: Duration::from_secs(5),
    /// A signal this soon after the first is the same request once more.
    signal_echo: Duration::from_millis(10),
    /// How often the service manager is told the state, if it does not ask for more.
    status_interval: Duration::from_secs(10),
    /// How long the end of the process waits for a slow stderr, and for a slow access log.
    flush_patience: Duration::from_secs(1),
    /// How long a thread that accepts gets to see that it is over; it may be pausing after an error.
    accept_patience: Duration::from_secs(1),
    /// How long a new process may take until it is ready to take over.
    reload_patience: Duration::from_secs(60),
    /// How long it waits at most for the first answer of each endpoint before it says so.
    first_answers: Duration::from_secs(1),
    /// How often a process that drains tells how many connections it has left.
    drain_report: Duration::from_secs(1),
    /// The pause before a thread is started again that has ended, at first, and at most.
    thread_pause: Duration::from_millis(100),
    thread_pause_max: Duration::from_secs(10),
    /// How long a thread has to work again for its end to be no problem any more.
    thread_proof: Duration::from_secs(60),
    /// What a client of the admin address gets for its request, from the accept to the end of the head.
    admin_request: Duration::from_secs(5),
    /// And for the answer, from its first octet to the last that the client's window takes.
    admin_answer: Duration::from_secs(5),
    /// How long what it still sends after the answer is read and thrown away.
    admin_linger: Duration::from_secs(5),
    /// The pause where accept or poll fails there: trying again at once would spin.
    admin_pause: Duration::from_millis(100),
}

/// What a build with debug checks reads.
#[cfg(debug_assertions)]
const VARIABLE: &str = "ETCDGW_TEST_TIMES";

impl Times {
    /// Those of this process.
    ///
    /// # Panics
    /// In a build with debug checks, if the variable says something else than intervals.
    #[cfg(debug_assertions)]
    pub(crate) fn of_this_process() -> Self {
        let mut times = Self::REAL;
        let text = std::env::var(VARIABLE).unwrap_or_default();
        for entry in text.split(',').filter(|entry| !entry.is_empty()) {
            let parsed = entry.split_once('=');
            let parsed = parsed.and_then(|(name, ms)| Some((name, ms.parse().ok()?)));
            let (name, milliseconds) =
                parsed.unwrap_or_else(|| panic!("{VARIABLE}: {entry:?} is not NAME=MILLISECONDS"));
            times.set(name, Duration::from_millis(milliseconds));
        }
        times
    }

    /// Those of this process.
    #[cfg(not(debug_assertions))]
    pub(crate) const fn of_this_process() -> Self {
        Self::REAL
    }
}
