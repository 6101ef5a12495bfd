//! Tests of what becomes of sessions that nobody else looks at. The time is an input; endpoints are listeners
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
    assert!(rounds.waiting.is_empty(), "where nobody looks");
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
    assert_eq!(
        pace(&rounds, 3 * YOUNG),
        Some(MS),
        "nobody was asked for it"
    );
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
fn an_unanswered_client_is_reset_if_another_endpoint_answers() {
    let fixture = Fixture::new(2, BOUNDS);
    let (mut rounds, now) = (Rounds::default(), Instant::now());
    let (client, _endpoint) = fixture.client(b"x");
    rounds.step(&fixture.proxy, fixture.news(), now);
    fixture.silence();
    rounds.step(&fixture.proxy, Inbox::default(), now + 5 * SECOND - MS);
    assert!(is_open(&client), "it has the time of a dial");
    // No memory is needed for that.
    let _refused = memory::tests::refuse();
    rounds.step(&fixture.proxy, Inbox::default(), now + 5 * SECOND);
    assert!(is_reset(client));
}

/// All have stopped alike, and only one of them has a client.
#[test]
fn an_unanswered_client_is_kept_while_no_other_endpoint_is_known_to_answer() {
    let fixture = Fixture::new(2, BOUNDS);
    let (mut rounds, now) = (Rounds::default(), Instant::now());
    let (client, _endpoint) = fixture.client(b"x");
    rounds.step(&fixture.proxy, fixture.news(), now);
    fixture.proxy.pool.probed(fixture.addrs[0], None);
    let silent = Instant::now();
    eventually("it takes a moment", || silent.elapsed() > 10 * MS);
    rounds.step(&fixture.proxy, Inbox::default(), now + HOUR);
    assert!(is_open(&client));
    assert!(fixture.is_asked(), "the other");
    fixture
        .proxy
        .pool
        .probed(fixture.addrs[1], Some(Instant::now()));
    rounds.step(&fixture.proxy, Inbox::default(), now + HOUR);
    assert!(is_reset(client));
}

#[test]
fn connections_to_an_unhealthy_endpoint_are_reset_once() {
    let delay = 10 * MS;
    let fixture = Fixture::new(
        2,
        Bounds {
            answer_timeout: Duration::ZERO,
            close_unhealthy: Some(delay),
            ..BOUNDS
        },
    );
    let [sick, other] = [fixture.addrs[0], fixture.addrs[1]];
    let pool = &fixture.proxy.pool;
    let (mut rounds, now) = (Rounds::default(), Instant::now());
    let (client, _endpoint) = fixture.client(b"x");
    fixture.silence();
    rounds.step(&fixture.proxy, Inbox::default(), now + HOUR);
    assert!(is_reset(client));
    assert_eq!(rounds.closed.len(), 1);
    // What happens to the other makes it no new doubt.
    let refused = crate::dial::ErrorKind::Connect(std::io::Error::from_raw_os_error(111)).at(other);
    pool.failed(other, Instant::now(), &refused);
    rounds.step(&fixture.proxy, Inbox::default(), now + HOUR);
    assert_eq!(rounds.closed.len(), 1);
    let (client, _endpoint) = fixture.client(b"x");
    pool.succeeded(other, Instant::now());
    pool.first_answer(other, Instant::now());
    let back = Instant::now();
    eventually("it takes a moment", || back.elapsed() > 2 * delay);
    rounds.step(&fixture.proxy, Inbox::default(), now + HOUR);
    assert!(is_open(&client), "once for each time");
    pool.probed(sick, Some(Instant::now()));
    rounds.step(&fixture.proxy, Inbox::default(), now + HOUR);
    assert!(rounds.closed.is_empty());
}

/// Members that were unhealthy together are found well one after the other.
#[test]
fn the_first_endpoint_that_recovers_costs_the_others_no_connection() {
    let delay = HOUR;
    let fixture = Fixture::new(
        2,
        Bounds {
            close_unhealthy: Some(delay),
            ..BOUNDS
        },
    );
    let (mut rounds, now) = (Rounds::default(), Instant::now());
    let (client, _endpoint) = fixture.client(b"x");
    let pool = &fixture.proxy.pool;
    let check = |addr, passed| {
        let (checked, error) = match passed {
            true => (crate::endpoint::stats::Checked::Passed, None),
            false => (
                crate::endpoint::stats::Checked::Failed,
                Some("503".to_owned()),
            ),
        };
        pool.checked(addr, checked, !passed, error);
    };
    fixture.addrs.iter().for_each(|addr| check(*addr, false));
    check(fixture.addrs[1], true);
    let back = Instant::now();
    eventually("it takes a moment", || back.elapsed() > 10 * MS);
    rounds.step(&fixture.proxy, Inbox::default(), now + 2 * delay);
    assert!(is_open(&client) && rounds.closed.is_empty());
}

#[test]
fn connections_to_a_removed_endpoint_are_reset_in_time_unless_it_is_back() {
    let settings = Bounds {
        close_removed: Some(60 * SECOND),
        ..BOUNDS
    };
    for is_back in [false, true] {
        let fixture = Fixture::new(2, settings);
        let (mut rounds, now) = (Rounds::default(), Instant::now());
        let (client, _endpoint) = fixture.client(b"x");
        fixture.endpoints(&fixture.addrs[1..]);
        fixture.proxy.removed(vec![fixture.addrs[0]]);
        // News of that kind are heard at once.
        let news = fixture.proxy.notices.wait(None, false);
        rounds.step(&fixture.proxy, news, now);
        if is_back {
            fixture.endpoints(&fixture.addrs);
        }
        rounds.step(&fixture.proxy, Inbox::default(), now + 60 * SECOND - MS);
        assert!(is_open(&client));
        let session = fixture.proxy.sessions.all().last().unwrap();
        rounds.step(&fixture.proxy, Inbox::default(), now + 60 * SECOND);
        match is_back {
            true => assert!(is_open(&client)),
            false => {
                assert_eq!(session.relay().unwrap().cause(), Cause::Removed);
                assert!(is_reset(client));
            }
        }
        assert!(rounds.removed.values().all(Option::is_none));
    }
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
fn a_session_reports_that_its_endpoint_was_removed_during_the_dial() {
    let settings = Bounds {
        close_removed: Some(60 * SECOND),
        ..BOUNDS
    };
    let times = Times {
        head_start: MS,
        ..Times::REAL
    };
    let (fixture, hole) = (
        Fixture::new(0, Bounds { times, ..settings }),
        BlackHole::new(),
    );
    fixture.endpoints(&[hole.addr]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let _client = TcpStream::connect(addr).unwrap();
    let (accepted, peer) = listener.accept().unwrap();
    session::start(&fixture.proxy, accepted, Arrival::now(peer, addr));
    eventually("it is dialled", || {
        fixture.proxy.pool.views()[0].state == EndpointState::Slow
    });
    fixture.endpoints(&[]);
    hole.listener.set_nonblocking(true).unwrap();
    let mut accepted = Vec::new();
    // The kernel tries again after a second.
    eventually("it tells", || {
        accepted.extend(hole.listener.accept());
        fixture.news().late == [hole.addr]
    });
}

/// Its dial had begun before.
#[test]
fn a_session_connected_to_a_removed_endpoint_is_reset_in_time() {
    let delay = 60 * SECOND;
    let fixture = Fixture::new(
        1,
        Bounds {
            close_removed: Some(delay),
            ..BOUNDS
        },
    );
    let (mut rounds, now) = (Rounds::default(), Instant::now());
    let (client, _endpoint) = fixture.client(b"x");
    fixture.endpoints(&[]);
    let notices = &fixture.proxy.notices;
    notices.late(fixture.addrs[0]);
    rounds.step(&fixture.proxy, fixture.news(), now);
    rounds.step(&fixture.proxy, Inbox::default(), now + delay);
    assert!(is_open(&client), "nobody has told that it has left");
    // What was reported long ago is remembered.
    fixture.proxy.removed(vec![fixture.addrs[0]]);
    rounds.step(&fixture.proxy, fixture.news(), now);
    rounds.removed.values_mut().for_each(|due| *due = None);
    notices.late(fixture.addrs[0]);
    rounds.step(&fixture.proxy, fixture.news(), now + delay);
    rounds.step(&fixture.proxy, Inbox::default(), now + 2 * delay - MS);
    assert!(is_open(&client));
    rounds.step(&fixture.proxy, Inbox::default(), now + 2 * delay);
    assert!(is_reset(client));
}

#[test]
fn connections_to_other_endpoints_are_not_reset() {
    let fixture = Fixture::new(
        2,
        Bounds {
            close_removed: Some(60 * SECOND),
            ..BOUNDS
        },
    );
    let (mut rounds, now) = (Rounds::default(), Instant::now());
    let (client, _endpoint) = fixture.client(b"x");
    fixture.endpoints(&fixture.addrs[..1]);
    fixture.proxy.removed(vec![fixture.addrs[1]]);
    rounds.step(&fixture.proxy, fixture.news(), now);
    rounds.step(&fixture.proxy, Inbox::default(), now + 60 * SECOND);
    assert!(is_open(&client) && rounds.removed.values().all(Option::is_none));
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
        assert!(!rounds.asleep, "the next session is no news");
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
fn an_endpoint_that_resets_a_connection_is_probed() {
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
fn an_endpoint_that_ends_its_last_connection_is_probed() {
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
