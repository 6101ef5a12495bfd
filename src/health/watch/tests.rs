//! Tests of the thread's work: which endpoints it checks, and what it reports to the pool.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::config::Policy;
use crate::dial;
use crate::endpoint::state::EndpointState;
use crate::endpoint::{Endpoint, Source};

const SOON: Duration = Duration::from_secs(10);

/// A member that answers each question, as it is well or not.
struct Member {
    addr: SocketAddr,
    is_well: Arc<AtomicBool>,
}

impl Member {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let is_well = Arc::new(AtomicBool::new(true));
        let own = Arc::clone(&is_well);
        // It ends with the process.
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
                    request.extend(byte);
                }
                let status = match own.load(Ordering::SeqCst) {
                    true => "200 OK",
                    false => "503 Service Unavailable",
                };
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        Self { addr, is_well }
    }
}

fn checks(members: &[&Member], slots: usize) -> Checks {
    let pool = Pool::new(Policy::RoundRobin, Duration::from_secs(60), None).unwrap();
    let pool = pool.tuned(slots, Times::REAL);
    follow(&pool, members);
    let url = Url::parse("http:///health").unwrap();
    Checks::new(Arc::new(pool), url, LoopGuard::default(), Times::REAL)
}

/// Makes these the endpoints, which can be connected to.
fn follow(pool: &Pool, members: &[&Member]) {
    let endpoints = members.iter().map(|member| Endpoint {
        addr: member.addr,
        name: member.addr.to_string(),
        priority: 0,
        weight: 0,
        drains: false,
        identity: None,
        source: Source::Endpoints,
    });
    pool.replace(endpoints.collect());
    for member in members {
        pool.succeeded(member.addr, Instant::now());
    }
}

fn status(checks: &Checks, of: &Member) -> EndpointState {
    let mut views = checks.pool.views().into_iter();
    let view = views.find(|view| view.endpoint.addr == of.addr);
    view.unwrap().state
}

/// How many checks ended in which way.
fn counts(checks: &Checks, of: &Member) -> Vec<(&'static str, u64)> {
    let mut views = checks.pool.views().into_iter();
    let view = views.find(|view| view.endpoint.addr == of.addr).unwrap();
    view.stats
        .checks
        .read()
        .filter(|(_, count)| *count > 0)
        .collect()
}

fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn the_second_failure_in_a_row_makes_a_member_unhealthy_until_the_second_answer() {
    let member = Member::new();
    let checks = checks(&[&member], 16);
    // (it is well, what it is then)
    let steps = [
        (true, EndpointState::Active),
        (false, EndpointState::Active),
        (false, EndpointState::Unhealthy),
        (true, EndpointState::Unhealthy),
        (true, EndpointState::Active),
    ];
    for (index, (is_well, expected)) in steps.into_iter().enumerate() {
        member.is_well.store(is_well, Ordering::SeqCst);
        checks.check(member.addr);
        assert_eq!(status(&checks, &member), expected, "{index}");
    }
    assert_eq!(counts(&checks, &member), [("passed", 3), ("failed", 2)]);
}

#[test]
fn the_health_of_an_endpoint_that_was_down_is_forgotten() {
    let member = Member::new();
    let checks = checks(&[&member], 16);
    member.is_well.store(false, Ordering::SeqCst);
    (0..2).for_each(|_| checks.check(member.addr));
    assert_eq!(status(&checks, &member), EndpointState::Unhealthy);
    assert_eq!(checks.endpoints(), [member.addr]);
    let refused = std::io::Error::from_raw_os_error(111);
    let refused = dial::ErrorKind::Connect(refused).at(member.addr);
    checks.pool.failed(member.addr, Instant::now(), &refused);
    assert_eq!(checks.endpoints(), [], "it is not asked");
    checks.pool.succeeded(member.addr, Instant::now());
    checks.check(member.addr);
    assert_eq!(
        status(&checks, &member),
        EndpointState::Active,
        "it has failed once"
    );
    checks.check(member.addr);
    assert_eq!(status(&checks, &member), EndpointState::Unhealthy);
}

#[test]
fn each_check_gives_its_slot_back() {
    let member = Member::new();
    let checks = checks(&[&member], 2);
    for count in 1..=5 {
        checks.begin(member.addr);
        eventually("it is answered", || {
            counts(&checks, &member) == [("passed", count)]
        });
        eventually("the slots are free", || {
            let slots = checks.pool.slots();
            slots
                .for_client()
                .is_some_and(|_one| slots.for_client().is_some())
        });
    }
}

#[test]
fn a_new_endpoint_is_checked_before_the_next_turn_of_others() {
    let [one, two] = [(); 2].map(|()| Member::new());
    let times = Times {
        health_interval: Duration::from_secs(3600),
        ..Times::REAL
    };
    let checks = Checks {
        times,
        ..checks(&[&one], 16)
    };
    let own = checks.clone();
    // It ends with the process.
    std::thread::spawn(move || own.run());
    eventually("the first is asked", || {
        counts(&checks, &one) == [("passed", 1)]
    });
    follow(&checks.pool, &[&one, &two]);
    eventually("the second is asked", || {
        counts(&checks, &two) == [("passed", 1)]
    });
    assert_eq!(counts(&checks, &one), [("passed", 1)]);
}

#[test]
fn two_answers_in_a_row_change_the_health() {
    // `f` fails, `.` is healthy; `D` and `R` are what changes with them.
    let cases = [
        ("......", "      "),
        ("f.f.f.f", "       "),
        ("ff", " D"),
        (".ff", "  D"),
        ("fffff", " D   "),
        ("ff..", " D R"),
        ("ff.f.f..", " D     R"),
        ("ff....ff", " D R   D"),
        ("f.ff", "   D"),
    ];
    for (answers, expected) in cases {
        let mut health = Health::default();
        let changes = answers.chars().map(|answer| {
            let before = health.is_unhealthy;
            health.note(answer == '.');
            match (before, health.is_unhealthy) {
                (false, true) => 'D',
                (true, false) => 'R',
                _ => ' ',
            }
        });
        assert_eq!(changes.collect::<String>(), expected, "{answers}");
    }
}
