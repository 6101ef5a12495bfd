//! The intervals of a running gateway, on one page, except those that are settings.
//!
//! They are parameters and not constants, so that a test waits for milliseconds where
//! a gateway waits for minutes. A build with debug checks also takes them from the
//! environment, for tests of the whole process: `ETCDGW_TEST_TIMES=worker_patience=50,…`, in
//! milliseconds. A release has neither that variable nor the code that reads it.

use std::time::Duration;

/// One line per interval: what waits, the name of the interval, and its length.
macro_rules! times {
    ($($(#[doc = $doc:literal])* $name:ident: $default:expr,)*) => {
        /// All intervals.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) struct Times {
            $($(#[doc = $doc])* pub(crate) $name: Duration,)*
        }

        impl Times {
            /// The intervals of a release.
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
    /// How long an idle worker is kept.
    worker_patience: Duration::from_secs(10),
    /// How long a silent session keeps its thread, before one thread waits for all silent sessions: long
    /// enough that a session with a message each second is not handed over and back, short enough that a connection
    /// that is always open costs a thread only briefly.
    silence: Duration::from_secs(5),
    /// How soon a session that is not silent any more is handed to a thread again, if there was none.
    wake_pause: Duration::from_millis(100),
    /// How often the peers of each session are checked.
    peer_look: Duration::from_secs(15),
    /// How long a peer that has to answer may send nothing until it counts as unreachable: as long as keepalive takes,
    /// 15 s of silence and nine probes.
    peer_patience: Duration::from_secs(150),
    /// How long bulk data is copied after this host has refused to splice; longer after several refusals.
    splice_pause: Duration::from_secs(1),
    /// How long one dial of a client runs before the next begins beside it: the "connection
    /// attempt delay" that RFC 8305 section 5 recommends. Far above a round trip to any member
    /// of one cluster.
    head_start: Duration::from_millis(250),
    /// How long an endpoint that answers again may take to authenticate while a client waits: many times
    /// what a handshake takes.
    proof_patience: Duration::from_secs(1),
    /// How long an endpoint that was this gateway must keep a connection before it counts as another server.
    loop_verdict: Duration::from_millis(500),
    /// How often sessions that wait for the first answer of their endpoint are checked.
    answer_look: Duration::from_millis(100),
    /// How often sessions are checked for all else.
    session_look: Duration::from_secs(1),
    /// The shortest time from one probe of a suspected endpoint to the next.
    ask_again: Duration::from_secs(5),
    /// How long a connection counts at least, where the policy counts open connections.
    counted: Duration::from_secs(1),
    /// How often the main thread checks what has no descriptor to poll, such as the end of a thread.
    main_look: Duration::from_millis(1),
    /// The pause after a poll(2) that the kernel refused.
    poll_pause: Duration::from_secs(1),
    /// How often the health of an endpoint is checked, give or take a tenth: each check costs the
    /// cluster a linearizable read.
    health_interval: Duration::from_secs(5),
    /// How long such a check may take, from the dial to the end of the answer.
    health_timeout: Duration::from_secs(2),

    /// The shortest time from a refresh to the next scheduled one: a TTL of 0 or 1 must not
    /// cause a flood of queries.
    refresh_min: Duration::from_secs(5),
    /// The longest: a TTL of a day must not hide a change for a day.
    refresh_max: Duration::from_secs(5 * 60),
    /// The longest after refreshes that failed; the first waits for `refresh_min`, and each further
    /// one for twice as long.
    refresh_backoff: Duration::from_secs(60),
    /// The shortest time from a refresh to the next requested one.
    refresh_pause: Duration::from_secs(1),
    /// How often active endpoints have to authenticate again.
    audit: Duration::from_secs(5 * 60),
    /// How often the endpoints file and the authorities are checked for changes.
    file_look: Duration::from_secs(1),
    /// How soon again after a change: longer than a program takes from the
    /// truncation of a file to its last write.
    file_look_again: Duration::from_millis(250),
    /// How often the resolver checks its files at most: the interval of Go's resolver.
    resolver_look: Duration::from_secs(5),
    /// How long the resolver remembers whether a name server answers queries with EDNS.
    edns_memory: Duration::from_secs(10 * 60),
    /// How often the interfaces of link-local listeners are checked.
    zone_look: Duration::from_secs(5),
    /// A signal this soon after the first is the same request once more.
    signal_echo: Duration::from_millis(10),
    /// How often the status is sent to the service manager, if the watchdog does not need it more often.
    status_interval: Duration::from_secs(10),
    /// How long the end of the process waits for a slow stderr, and for a slow access log.
    flush_patience: Duration::from_secs(1),
    /// How long the end waits for a thread that accepts: it may be in a pause after an error.
    accept_patience: Duration::from_secs(1),
    /// How long a new process may take until it is ready to take over.
    reload_patience: Duration::from_secs(60),
    /// How long it waits at most for the first answer of each endpoint before it is ready.
    first_answers: Duration::from_secs(1),
    /// How often a process that drains reports how many connections it has left.
    drain_report: Duration::from_secs(1),
    /// The first and the longest pause before a thread that has ended is started again.
    thread_pause: Duration::from_millis(100),
    thread_pause_max: Duration::from_secs(10),
    /// How long a thread has to work again until its end is not one of the problems any more.
    thread_proof: Duration::from_secs(60),
    /// How long a client of the admin address may take for its request, from the accept to the end of the head.
    admin_request: Duration::from_secs(5),
    /// And to read the answer.
    admin_answer: Duration::from_secs(5),
    /// How long what it sends after that is read and discarded.
    admin_linger: Duration::from_secs(5),
    /// The pause after accept(2) or poll(2) failed there: trying again at once would spin.
    admin_pause: Duration::from_millis(100),
}

/// What a build with debug checks reads.
#[cfg(debug_assertions)]
const VARIABLE: &str = "ETCDGW_TEST_TIMES";

impl Times {
    /// Those of this process.
    ///
    /// # Panics
    /// In a build with debug checks, if the variable cannot be parsed.
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
