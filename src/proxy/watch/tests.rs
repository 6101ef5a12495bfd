//! Tests of the thread that watches sessions. The time is an input; endpoints are listeners
//! that say what the test says.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use super::*;
use crate::config::Policy;
use crate::dial::BlackHole;
use crate::endpoint::monitor::Monitor;
use crate::endpoint::pool::Pool;
use crate::endpoint::{Endpoint, Source};
use crate::loop_guard::LoopGuard;
use crate::proxy::session::{self, Arrival};
use crate::times::Times;

mod closing;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// The answer timeout is short, because the pool asks a clock how long another endpoint is active.
const BOUNDS: Bounds = Bounds {
    dial_timeout: Duration::from_secs(5),
    max_connections: 100,
    max_pipes: 0,
    max_buffers: 0,
    answer_timeout: MS,
    close_removed: None,
    close_unhealthy: None,
    times: Times::REAL,
};

/// A proxy, and as many endpoints, which are known to serve.
struct Fixture {
    proxy: Arc<Proxy>,
    listeners: Vec<TcpListener>,
    addrs: Vec<SocketAddr>,
}

impl Fixture {
    fn new(count: usize, bounds: Bounds) -> Self {
        let times = bounds.times;
        let bind = |_| TcpListener::bind("127.0.0.1:0").unwrap();
        let listeners: Vec<TcpListener> = (0..count).map(bind).collect();
        let addrs = listeners.iter().map(|own| own.local_addr().unwrap());
        let addrs: Vec<SocketAddr> = addrs.collect();
        let pool = Pool::new(Policy::RoundRobin, 60 * SECOND, None).unwrap();
        let pool = pool.tuned(16, times);
        let (pool, monitor) = (Arc::new(pool), Arc::new(Monitor::new(times)));
        let proxy = Proxy::new(pool, monitor, LoopGuard::default(), bounds, None);
        let fixture = Self {
            proxy: Arc::new(proxy),
            listeners,
            addrs,
        };
        fixture.endpoints(&fixture.addrs);
        fixture
    }

    fn endpoints(&self, addrs: &[SocketAddr]) {
        let endpoints = addrs.iter().map(|addr| Endpoint {
            addr: *addr,
            name: addr.to_string(),
            priority: 0,
            weight: 0,
            drains: false,
            identity: None,
            source: Source::Endpoints,
        });
        self.proxy.pool.replace(endpoints.collect());
        for addr in addrs {
            self.proxy.pool.succeeded(*addr, Instant::now());
        }
    }

    /// A client that is connected to the first endpoint, and has sent something; the endpoint's side.
    fn client(&self, sent: &[u8]) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(addr).unwrap();
        client.write_all(sent).unwrap();
        let (accepted, peer) = listener.accept().unwrap();
        session::start(&self.proxy, accepted, Arrival::now(peer, addr));
        let (endpoint, _) = self.listeners[0].accept().unwrap();
        eventually("what is sent is passed on", || {
            let session = self.proxy.sessions.all().last();
            let passed = session.and_then(|session| session.passed());
            passed.is_some_and(|(_, _, to_endpoint, _)| to_endpoint == sent.len() as u64)
        });
        (client, endpoint)
    }

    /// What has begun, as the thread takes it.
    fn news(&self) -> Inbox {
        self.proxy.notices.wait(Some(Instant::now()), false)
    }

    fn unanswered(&self) -> u64 {
        let views = self.proxy.pool.views();
        views.iter().map(|view| view.stats.unanswered.get()).sum()
    }

    /// Whether an endpoint is to be asked something.
    fn is_asked(&self) -> bool {
        self.proxy.pool.next_task(Instant::now()).is_some()
    }

    /// The first endpoint is silent, and all others have answered since.
    fn silence(&self) {
        self.proxy.pool.probed(self.addrs[0], None);
        for addr in &self.addrs[1..] {
            self.proxy.pool.probed(*addr, Some(Instant::now()));
        }
        let now = Instant::now();
        // The others have to be active for as long as an answer may take.
        eventually("it takes a moment", || now.elapsed() > 10 * MS);
    }
}

fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + 10 * SECOND;
    while !so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

fn is_reset(mut client: TcpStream) -> bool {
    client.set_read_timeout(Some(10 * SECOND)).unwrap();
    let error = client.read(&mut [0]).unwrap_err();
    error.kind() == ErrorKind::ConnectionReset
}

fn is_open(client: &TcpStream) -> bool {
    client.set_nonblocking(true).unwrap();
    let mut client = client;
    let open = client.read(&mut [0]).map_err(|error| error.kind()) == Err(ErrorKind::WouldBlock);
    client.set_nonblocking(false).unwrap();
    open
}

#[test]
fn a_new_session_wakes_the_thread_only_while_it_sleeps() {
    let fixture = Fixture::new(1, BOUNDS);
    let notices = &fixture.proxy.notices;
    let _client = std::thread::scope(|scope| {
        let began = Instant::now();
        let sleeper = scope.spawn(move || notices.wait(Some(began + 20 * SECOND), true));
        eventually("it sleeps", || notices.is_asleep());
        let client = fixture.client(b"x");
        assert!(sleeper.join().unwrap().any_begun);
        assert!(began.elapsed() < 10 * SECOND, "it is woken");
        client
    });
    assert!(!notices.is_asleep());
    let _client = fixture.client(b"x");
    // Awake, it waits for its time.
    let began = Instant::now();
    assert!(notices.wait(Some(began + 20 * MS), false).any_begun);
    assert!(began.elapsed() >= 20 * MS);
    let off = Fixture::new(
        1,
        Bounds {
            answer_timeout: Duration::ZERO,
            ..BOUNDS
        },
    );
    let _client = off.client(b"x");
    let mut rounds = Rounds::default();
    rounds.step(&off.proxy, off.news(), began);
    assert!(rounds.waiting.is_empty(), "nothing is watched");
}

#[test]
fn sessions_are_looked_at_often_only_while_one_is_young_or_waits() {
    let now = Instant::now();
    let waiting = |age: Duration, waits: bool| Waiting {
        session: Weak::new(),
        connected: Some(now),
        sent: waits.then(|| now + age),
        counted: false,
        probed: false,
    };
    let times = Times {
        answer_look: MS,
        session_look: SECOND,
        ..Times::REAL
    };
    let bounds = Bounds {
        dial_timeout: SECOND,
        times,
        ..BOUNDS
    };
    let pace = |rounds: &Rounds, age| rounds.pace(now + age, &bounds);
    let mut rounds = Rounds::default();
    assert_eq!(pace(&rounds, Duration::ZERO), None);
    rounds.waiting.push(waiting(YOUNG, false));
    assert_eq!(pace(&rounds, YOUNG - MS), Some(MS));
    assert_eq!(pace(&rounds, YOUNG), None, "it has said nothing");
    rounds.waiting.push(waiting(YOUNG, true));
    assert_eq!(pace(&rounds, YOUNG), Some(MS));
    assert_eq!(pace(&rounds, 3 * YOUNG), Some(MS), "it was not probed");
    // It waits by right: it is not given up any more.
    for waiting in &mut rounds.waiting {
        waiting.probed = true;
    }
    assert_eq!(pace(&rounds, 2 * YOUNG + SECOND - MS), Some(MS));
    assert_eq!(pace(&rounds, 2 * YOUNG + SECOND), Some(SECOND));
}

#[test]
fn an_unanswered_client_raises_one_suspicion() {
    let fixture = Fixture::new(1, BOUNDS);
    let (mut rounds, now) = (Rounds::default(), Instant::now());
    let (client, mut endpoint) = fixture.client(b"x");
    rounds.step(&fixture.proxy, fixture.news(), now);
    assert!(!fixture.is_asked(), "it has just begun");
    for round in 1..=3 {
        rounds.step(&fixture.proxy, Inbox::default(), now + round * MS);
        assert_eq!(fixture.is_asked(), round == 1, "{round}");
    }
    assert_eq!(fixture.unanswered(), 1);
    // There is no other.
    fixture.silence();
    rounds.step(&fixture.proxy, Inbox::default(), now + HOUR);
    assert!(is_open(&client));
    endpoint.write_all(b"y").unwrap();
    let mut client = client;
    client.read_exact(&mut [0]).unwrap();
    eventually("the answer is counted", || {
        rounds.step(&fixture.proxy, Inbox::default(), now + HOUR);
        rounds.waiting.is_empty()
    });
    assert!(fixture.is_asked(), "whether it is silent no more");
}

#[test]
fn a_client_that_has_sent_nothing_is_not_unanswered() {
    let fixture = Fixture::new(2, BOUNDS);
    let (mut rounds, now) = (Rounds::default(), Instant::now());
    let (client, endpoint) = fixture.client(b"");
    rounds.step(&fixture.proxy, fixture.news(), now);
    fixture.silence();
    rounds.step(&fixture.proxy, Inbox::default(), now + HOUR);
    assert!(is_open(&client) && fixture.unanswered() == 0);
    assert_eq!(rounds.waiting.len(), 1, "it may still send something");
    drop((client, endpoint));
    eventually("a session that has ended is forgotten", || {
        rounds.step(&fixture.proxy, Inbox::default(), now + HOUR);
        rounds.waiting.is_empty()
    });
}

#[test]
fn the_longest_intervals_cause_no_overflow() {
    let most = Duration::from_nanos(i64::MAX.unsigned_abs());
    let fixture = Fixture::new(
        2,
        Bounds {
            answer_timeout: most,
            close_removed: Some(most),
            close_unhealthy: Some(most),
            ..BOUNDS
        },
    );
    let (mut rounds, now) = (Rounds::default(), Instant::now());
    let (client, _endpoint) = fixture.client(b"x");
    let mut news = fixture.news();
    news.removed.push(SocketAddr::from(([127, 0, 0, 1], 1)));
    let next = rounds.step(&fixture.proxy, news, now).unwrap();
    assert!(next > now && next <= now + SECOND);
    fixture.silence();
    rounds.step(&fixture.proxy, Inbox::default(), now + HOUR);
    assert!(is_open(&client));
}

/// The doubt of another client was followed just before, and its answer says nothing of this one's.
#[test]
fn a_suspicion_that_comes_too_soon_is_raised_again() {
    let fixture = Fixture::new(1, BOUNDS);
    let pool = &fixture.proxy.pool;
    assert!(pool.suspect(fixture.addrs[0], Instant::now()));
    assert!(fixture.is_asked());
    pool.probed(fixture.addrs[0], Some(Instant::now()));
    let (_client, _endpoint) = fixture.client(b"x");
    let (mut rounds, now) = (Rounds::default(), Instant::now());
    rounds.step(&fixture.proxy, fixture.news(), now);
    rounds.step(&fixture.proxy, Inbox::default(), now + MS);
    assert_eq!(fixture.unanswered(), 1);
    assert!(!rounds.waiting[0].probed && !fixture.is_asked());
}

#[test]
fn dead_peers_are_looked_for_regularly() {
    let (mut rounds, now, look) = (Rounds::default(), Instant::now(), Times::REAL.peer_look);
    // Of all looks only those are left.
    let settings = Bounds {
        answer_timeout: Duration::ZERO,
        ..BOUNDS
    };
    let fixture = Fixture::new(1, settings);
    let (client, endpoint) = fixture.client(b"x");
    for (at, next) in [(0, 1), (1, 2), (2, 3)] {
        let until = rounds.step(&fixture.proxy, fixture.news(), now + look * at);
        assert_eq!(until, Some(now + look * next));
        assert!(!rounds.asleep, "the next session does not wake it");
    }
    // Without a session there is nothing to look at, until one begins.
    drop((client, endpoint));
    eventually("the session has ended", || {
        fixture.proxy.sessions.count() == 0
    });
    assert_eq!(
        rounds.step(&fixture.proxy, fixture.news(), now + look * 3),
        None
    );
    assert!(rounds.asleep);
    let (_client, _endpoint) = fixture.client(b"x");
    let news = fixture.proxy.notices.wait(None, rounds.asleep);
    let until = rounds.step(&fixture.proxy, news, now + look * 3);
    assert_eq!(until, Some(now + look * 4));
}

/// Nor is a look at unhealthy endpoints.
#[test]
fn nothing_is_looked_at_without_sessions() {
    let settings = Bounds {
        close_unhealthy: Some(SECOND),
        ..BOUNDS
    };
    let fixture = Fixture::new(1, settings);
    let (mut rounds, now) = (Rounds::default(), Instant::now());
    assert_eq!(rounds.step(&fixture.proxy, fixture.news(), now), None);
    let (_client, _endpoint) = fixture.client(b"x");
    assert!(rounds.step(&fixture.proxy, fixture.news(), now).is_some());
}

#[test]
fn without_memory_a_client_is_rejected_and_the_next_is_served() {
    let fixture = Fixture::new(1, BOUNDS);
    let refused = memory::tests::refuse();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let client = TcpStream::connect(addr).unwrap();
    let (accepted, peer) = listener.accept().unwrap();
    socket2::SockRef::from(&accepted)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    session::start(&fixture.proxy, accepted, Arrival::now(peer, addr));
    assert!(is_reset(client));
    let refusals = fixture.proxy.counters.rejections().into_iter();
    let counted: Vec<_> = refusals.filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, [("out_of_resources", 1)]);
    assert_eq!(fixture.proxy.sessions.count(), 0);
    drop(refused);
    let (client, _endpoint) = fixture.client(b"x");
    assert!(is_open(&client));
}

/// A doubt may be followed at once.
const PROMPT: Times = Times {
    ask_again: Duration::ZERO,
    ..Times::REAL
};

#[test]
fn an_endpoint_that_resets_a_connection_is_dialled() {
    let fixture = Fixture::new(
        1,
        Bounds {
            times: PROMPT,
            ..BOUNDS
        },
    );
    let (_client, endpoint) = fixture.client(b"x");
    assert!(!fixture.is_asked());
    let reset = socket2::SockRef::from(&endpoint).set_linger(Some(Duration::ZERO));
    reset.unwrap();
    drop(endpoint);
    eventually("it may be gone", || fixture.is_asked());
}

#[test]
fn an_endpoint_that_ends_its_last_connection_is_dialled() {
    let fixture = Fixture::new(
        1,
        Bounds {
            times: PROMPT,
            ..BOUNDS
        },
    );
    let pairs = [(); 2].map(|()| fixture.client(b"x"));
    for ((mut client, mut endpoint), left) in pairs.into_iter().zip([1, 0]) {
        assert!(!fixture.is_asked());
        endpoint.read_exact(&mut [0]).unwrap();
        drop(endpoint);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        drop(client);
        eventually("the session has ended", || {
            fixture.proxy.sessions.count() == left
        });
    }
    assert!(fixture.is_asked());
}
