//! What views show of endpoints, and which wakers changes wake.

use super::*;
use crate::endpoint::stats::EndpointStats;

const HOUR: Duration = Duration::from_secs(3600);

/// The states that it has changed to, and how often.
fn changes(stats: &EndpointStats) -> Vec<(&'static str, u64)> {
    let all = stats.transitions.read();
    all.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn views_follow_the_reports() {
    let pool = pool(&[1, 2]);
    let seen = || {
        let views = pool.views();
        let seen = views
            .iter()
            .map(|view| (view.endpoint.addr.port(), view.state));
        seen.collect::<Vec<_>>()
    };
    let begun = Instant::now();
    pool.slow(addr(1));
    assert_eq!(
        seen(),
        [(1, EndpointState::Slow), (2, EndpointState::Active)]
    );
    pool.failed(addr(1), begun, &refused(1));
    pool.failed(addr(2), begun, &dial::ErrorKind::Loop.at(addr(2)));
    assert_eq!(
        seen(),
        [
            (1, EndpointState::Inactive),
            (2, EndpointState::ThisGateway)
        ]
    );
    let view = pool.views().swap_remove(0);
    assert!(view.last_error.unwrap().1.ends_with("connection refused"));
    let endless = dial::ErrorKind::Rejected("é".repeat(10_000)).at(addr(2));
    pool.failed(addr(2), Instant::now(), &endless);
    let kept = pool.views().swap_remove(1).last_error.unwrap().1;
    assert_eq!(kept.chars().count(), 501, "{kept}");
    pool.succeeded(addr(1), Instant::now());
    let view = pool.views().swap_remove(0);
    assert_eq!(view.state, EndpointState::Active);
    assert!(view.last_error.is_some(), "what was wrong stays to be read");
    // The first answer counts as one to active.
    let expected = [("active", 2), ("slow", 1), ("inactive", 1)];
    assert_eq!(changes(&view.stats), expected);
}

#[test]
fn each_dial_is_counted_once_by_its_outcome() {
    let pool = pool(&[1]);
    answered(&pool, 1, Duration::from_millis(2));
    pool.succeeded(addr(1), Instant::now());
    pool.failed(addr(1), Instant::now(), &refused(1));
    pool.set_reauthenticated(addr(1), PROOF);
    // Nothing is kept of an unknown address.
    answered(&pool, 9, Duration::from_millis(2));
    let stats = pool.views().swap_remove(0).stats;
    let dials: Vec<_> = stats.dials.read().filter(|(_, count)| *count > 0).collect();
    assert_eq!(dials, [("ok", 2), ("refused", 1)]);
    assert_eq!(stats.dial_time.read().count, 1);
    assert_eq!(stats.not_after(), PROOF.not_after);
}

#[test]
fn statistics_last_while_needed_and_continue_when_an_endpoint_returns() {
    let pool = pool(&[1, 2]);
    let account = |port: u16| {
        let mut views = pool.views().into_iter();
        let view = views.find(|view| view.endpoint.addr == addr(port));
        view.unwrap().stats
    };
    let client = account(1).hold(Duration::ZERO).connected();
    client.to_client.add(7);
    pool.replace(vec![endpoint(3)]);
    let seen = || {
        let views = pool.views();
        let seen = views
            .iter()
            .map(|view| (view.endpoint.addr.port(), view.state));
        seen.collect::<Vec<_>>()
    };
    assert_eq!(
        seen(),
        [(3, EndpointState::Untried), (1, EndpointState::Removed)],
        "of number 2 nothing was open"
    );
    pool.replace(vec![endpoint(1)]);
    assert_eq!(seen(), [(1, EndpointState::Untried)]);
    assert_eq!(account(1).to_client.get(), 7);
    pool.replace(vec![endpoint(2)]);
    assert_eq!(
        seen(),
        [(2, EndpointState::Untried), (1, EndpointState::Removed)]
    );
    drop(client);
    assert_eq!(seen(), [(2, EndpointState::Untried)]);
    // The same address with another identity is new, and has the same account.
    account(2).to_client.add(1);
    let identity = Some("etcd.example".to_owned());
    pool.replace(vec![Endpoint {
        identity,
        ..endpoint(2)
    }]);
    assert_eq!(seen(), [(2, EndpointState::Untried)]);
    assert_eq!(account(2).to_client.get(), 1);
    let later = Instant::now() + HOUR;
    assert!(account(2).downtime(later) >= HOUR, "it is not up yet");
}

/// What changes a state also changes since when it holds, and nothing else does.
#[test]
fn the_time_of_a_state_is_its_last_change() {
    use EndpointState::{Active, Inactive, Slow, ThisGateway};
    let pool = pool(&[1]);
    let local = dial::ErrorKind::Local("poll", io::Error::from_raw_os_error(12)).at(addr(1));
    type Event<'a> = (&'static str, EndpointState, Box<dyn Fn() + 'a>);
    let now = Instant::now;
    let events: [Event<'_>; 12] = [
        ("overdue", Slow, Box::new(|| pool.slow(addr(1)))),
        ("overdue again", Slow, Box::new(|| pool.slow(addr(1)))),
        (
            "answered",
            Active,
            Box::new(|| answered(&pool, 1, Duration::ZERO)),
        ),
        (
            "success",
            Active,
            Box::new(|| pool.succeeded(addr(1), now())),
        ),
        ("doubt", Slow, Box::new(|| pool.slow(addr(1)))),
        (
            "failure of ours",
            Active,
            Box::new(|| pool.failed(addr(1), now(), &local)),
        ),
        (
            "failure",
            Inactive,
            Box::new(|| pool.failed(addr(1), now(), &refused(1))),
        ),
        (
            "failure again",
            Inactive,
            Box::new(|| pool.failed(addr(1), now(), &refused(1))),
        ),
        (
            "loop",
            ThisGateway,
            Box::new(|| pool.failed(addr(1), now(), &dial::ErrorKind::Loop.at(addr(1)))),
        ),
        (
            "new set",
            ThisGateway,
            Box::new(|| drop(pool.replace([1, 2].map(endpoint).into()))),
        ),
        (
            "failure later",
            Inactive,
            Box::new(|| pool.failed(addr(1), now(), &refused(1))),
        ),
        ("back", Active, Box::new(|| pool.succeeded(addr(1), now()))),
    ];
    let mut before = Active;
    for (what, state, event) in events {
        let began = Instant::now();
        event();
        let view = pool.views().swap_remove(0);
        assert_eq!(view.state, state, "{what}");
        let changed = view.since >= began;
        assert_eq!(changed, state != before, "{what}");
        before = state;
    }
    let stats = pool.views().swap_remove(0).stats;
    // From untried to active at the start, and then as above, however often it fails.
    let expected = [("active", 4), ("slow", 2), ("inactive", 2), ("self", 1)];
    assert_eq!(changes(&stats), expected);
    // Who leaves has left since then.
    let _client = stats.hold(Duration::ZERO);
    let before = Instant::now();
    pool.replace(vec![endpoint(2)]);
    let view = pool.views().swap_remove(1);
    assert_eq!(view.state, EndpointState::Removed);
    assert!(view.since >= before);
}

#[test]
fn the_last_error_is_the_latest_and_says_when_it_was() {
    let pool = pool(&[1]);
    let last = || pool.views().swap_remove(0).last_error;
    assert_eq!(last(), None);
    let errors = [
        refused(1),
        dial::ErrorKind::Local("poll", io::Error::from_raw_os_error(12)).at(addr(1)),
        dial::ErrorKind::Unproven("silence".to_owned()).at(addr(1)),
    ];
    for error in errors {
        let before = Instant::now();
        pool.failed(addr(1), Instant::now(), &error);
        let (time, text) = last().unwrap();
        assert_eq!(text, error.to_string());
        assert!(time >= before && time <= Instant::now());
    }
    let before = last();
    answered(&pool, 1, Duration::ZERO);
    pool.succeeded(addr(1), Instant::now());
    assert_eq!(last(), before, "what was wrong stays to be read");
}

#[test]
fn long_errors_are_shortened() {
    let cases = [(499, 499), (500, 500), (501, 501), (10_000, 501)];
    for (length, kept) in cases {
        let text = "é".repeat(length);
        let shortened = log::shortened(text.clone(), log::MAX_ERROR);
        assert_eq!(shortened.chars().count(), kept, "{length}");
        assert_eq!(shortened == text, length <= 500, "{length}");
    }
}

#[test]
fn wakers_are_woken_by_what_concerns_them() {
    let pool = pool(&[1, 2]);
    let called = || {
        (
            is_called(pool.monitor_waker()),
            is_called(pool.refresh_waker()),
        )
    };
    assert_eq!(called(), (false, false), "all have answered");
    pool.replace([1, 2, 3].map(endpoint).into());
    assert_eq!(called(), (true, false), "a new set");
    pool.succeeded(addr(3), Instant::now());
    pool.replace([1, 2, 3].map(endpoint).into());
    assert_eq!(called(), (false, false), "the same set");
    pool.replace([1, 2].map(endpoint).into());
    called();
    pool.slow(addr(1));
    answered(&pool, 1, Duration::ZERO);
    pool.succeeded(addr(1), Instant::now());
    let local = dial::ErrorKind::Local("poll", io::Error::from_raw_os_error(12)).at(addr(1));
    pool.failed(addr(1), Instant::now(), &local);
    assert_eq!(called(), (false, false), "no change");
    pool.failed(addr(1), Instant::now(), &refused(1));
    assert_eq!(called(), (true, false), "one of two is inactive");
    pool.failed(addr(1), Instant::now(), &refused(1));
    assert_eq!(called(), (false, false), "it was inactive");
    pool.failed(addr(2), Instant::now(), &refused(2));
    assert_eq!(called(), (true, true), "none is active");
}

#[test]
fn without_active_endpoints_a_refresh_is_woken() {
    let pool = pool(&[1, 2]);
    pool.failed(addr(1), Instant::now(), &refused(1));
    assert!(!is_called(pool.refresh_waker()));
    pool.replace(vec![endpoint(1)]);
    assert!(is_called(pool.refresh_waker()), "what is left is inactive");
}
