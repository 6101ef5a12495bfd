//! Tests of what is answered under each path, and of what it says of a gateway.

mod counts;
mod formats;

use counts::counted;

use super::*;
use crate::config::{Policy, Settings};
use crate::date::{Now, Rfc3339};
use crate::dial;
use crate::endpoint::history::MINUTES;
use crate::endpoint::pool::Pool;
use crate::endpoint::pool::view::View;
use crate::endpoint::slots::Slot;
use crate::endpoint::state::EndpointState;
use crate::endpoint::stats::EndpointStats;
use crate::endpoint::{Authenticate, Endpoint, Proof, Source};
use crate::stats::Distribution;
use crate::sync::lock;
use crate::sys::usage::Usage;
use http::Request;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant, UNIX_EPOCH};

/// When the gateways of these tests began, 1970 by the wall clock.
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

fn after(seconds: u64) -> Instant {
    *BEGINNING + Duration::from_secs(seconds)
}

/// The present if that is so long after the beginning.
fn present(passed: Duration) -> Now {
    Now::new(*BEGINNING + passed, UNIX_EPOCH + passed)
}

fn view(port: u16, state: EndpointState, error: Option<&str>) -> View {
    View {
        endpoint: Endpoint {
            addr: ([127, 0, 0, 1], port).into(),
            name: String::new(),
            priority: 0,
            weight: 0,
            drains: false,
            identity: None,
            source: Source::Endpoints,
        },
        state,
        since: after(0),
        last_error: error.map(|error| (after(0), error.to_owned())),
        stats: Arc::default(),
        hour: [None; MINUTES],
    }
}

fn snapshot(endpoints: Vec<View>) -> Snapshot {
    Snapshot {
        version: "",
        host: String::new(),
        pid: 36,
        now: present(Duration::ZERO),
        started: after(0),
        draining: false,
        reloads: Reloads::default(),
        listen: Vec::new(),
        clients: Clients {
            accepted: 0,
            active: 0,
            max: 0,
            rejected: Vec::new(),
            accept_errors: Vec::new(),
            ended: Vec::new(),
            redispatches: 0,
            durations: Distribution {
                buckets: Vec::new(),
                count: 0,
                sum: Duration::ZERO,
            },
        },
        endpoints,
        transitions: Vec::new(),
        discovery: Discovery {
            refreshes: Vec::new(),
            last_success: None,
        },
        problems: Vec::new(),
        threads_lost: Vec::new(),
        log_lines_dropped: 0,
        access_log_lines_dropped: 0,
    }
}

#[test]
fn a_removed_endpoint_is_not_a_reason() {
    use EndpointState::{Active, Inactive, Removed, Unauthenticated};
    let gone = || view(1, Removed, Some("gone"));
    let cases = [
        (vec![], Some("no endpoint is known")),
        (vec![gone()], Some("no endpoint is known")),
        (
            vec![gone(), view(2, Unauthenticated, None)],
            Some("none of 1 endpoints is active"),
        ),
        (
            vec![
                gone(),
                view(2, Unauthenticated, None),
                view(3, Inactive, Some("down")),
            ],
            Some("none of 2 endpoints is active, down"),
        ),
        (vec![gone(), view(2, Active, Some("was down"))], None),
    ];
    for (endpoints, expected) in cases {
        let reason = snapshot(endpoints).not_ready();
        let beginning = reason.as_deref().and_then(|text| text.split(':').next());
        assert_eq!(beginning, expected);
    }
}

/// What a browser is answered with.
fn page(observed: &Arc<Fixture>, target: &str) -> (http::Status, String) {
    let response = response(observed, target, true);
    (response.status, response.content)
}

fn response(observed: &Arc<Fixture>, target: &str, takes_html: bool) -> http::Response {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let request = Request {
        path,
        query,
        takes_html,
        head_only: false,
    };
    pages::answer(request, &**observed, &Settings::default()).unwrap()
}

/// Endpoints in a pool, and the rest of a gateway as a test wants it.
struct Fixture {
    pool: Pool,
    problems: Mutex<Vec<String>>,
    draining: AtomicBool,
    /// How often it was looked at.
    looks: AtomicU64,
}

#[derive(Debug)]
struct Open;

impl Authenticate for Open {
    fn authenticate(&self, _: &Endpoint, _: Duration, _: &Slot) -> Result<Proof, dial::Error> {
        Ok(Proof { not_after: None })
    }
}

impl Fixture {
    fn new() -> Arc<Self> {
        let pool = Pool::new(
            Policy::RoundRobin,
            Duration::from_secs(60),
            Some(Arc::new(Open)),
        );
        Arc::new(Self {
            pool: pool.unwrap(),
            problems: Mutex::default(),
            draining: AtomicBool::new(false),
            looks: AtomicU64::new(0),
        })
    }

    fn fail(&self, addr: SocketAddr) {
        let refused = io::Error::from_raw_os_error(111);
        let error = dial::ErrorKind::Connect(refused).at(addr);
        self.pool.failed(addr, Instant::now(), &error);
    }
}

impl Observed for Fixture {
    fn try_session(&self) -> Result<(), String> {
        Ok(())
    }

    fn snapshot(&self) -> io::Result<Snapshot> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        Ok(Snapshot {
            now: present(BEGINNING.elapsed()),
            draining: self.draining.load(Ordering::SeqCst),
            problems: lock(&self.problems).clone(),
            transitions: self.pool.transitions(),
            ..snapshot(self.pool.views())
        })
    }

    /// Three, of which one still waits for an endpoint.
    fn connections(
        &self,
        endpoint: Option<SocketAddr>,
        limit: usize,
    ) -> io::Result<(Vec<Connection>, bool)> {
        let all = [Some(at(1)), Some(at(2)), None].into_iter().enumerate();
        let all = all.map(|(index, endpoint)| Connection {
            client: at(7000 + index as u16),
            listen: at(9000),
            since: after(0),
            endpoint,
            to_endpoint: 5 * index as u64,
            to_client: 7 * index as u64,
            idle: endpoint.map(|_| Duration::from_millis(1500)),
        });
        let asked = all.filter(|shown| endpoint.is_none() || shown.endpoint == endpoint);
        let mut asked: Vec<Connection> = asked.collect();
        let complete = asked.len() <= limit;
        asked.truncate(limit);
        Ok((asked, complete))
    }
}

fn at(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

fn member(port: u16, identity: Option<&str>) -> Endpoint {
    Endpoint {
        addr: at(port),
        name: format!("m{port}:{port}"),
        priority: port,
        weight: port * 10,
        drains: false,
        identity: identity.map(str::to_owned),
        source: Source::File,
    }
}

/// Parts that a page has to have, or must not have.
#[track_caller]
fn assert_page(observed: &Arc<Fixture>, path: &str, parts: &[&str], others: &[&str]) {
    let (_, content) = page(observed, path);
    for part in parts {
        assert!(content.contains(part), "no {part:?} in {path}: {content}");
    }
    for other in others {
        assert!(!content.contains(other), "{other:?} in {path}: {content}");
    }
}

const READY: (http::Status, &str) = (http::Status::OK, "ok\n");

#[track_caller]
fn ready(observed: &Arc<Fixture>, expected: (http::Status, &str)) {
    let (status, content) = page(observed, "/readyz");
    assert_eq!((status, content.as_str()), expected);
    let looks = observed.looks.load(Ordering::SeqCst);
    assert_eq!(page(observed, "/healthz"), (READY.0, READY.1.to_owned()));
    let looked = observed.looks.load(Ordering::SeqCst) - looks;
    assert_eq!(looked, 1, "the locks that clients need were not taken");
}

/// It is known to serve, and whatever is worse is shown beside the word.
#[test]
fn every_page_shows_an_endpoint_that_drains() {
    let gateway = Fixture::new();
    let drains = Endpoint {
        drains: true,
        ..member(1, None)
    };
    gateway.pool.replace(vec![drains.clone(), member(2, None)]);
    let untried = (http::Status::UNAVAILABLE, "no endpoint has answered yet\n");
    ready(&gateway, untried);
    gateway.pool.succeeded(at(1), Instant::now());
    ready(&gateway, READY);
    // (what happens, JSON, page, metrics)
    type Event = fn(&Fixture);
    let cases: [(Event, [&str; 3]); 2] = [
        (
            |_| {},
            [
                "\"drain\":true,\"server_name\":null,\"state\":\"draining\",\"active\":true,",
                "pill odd\">draining<",
                "endpoint_up{address=\"127.0.0.1:1\"} 1\n",
            ],
        ),
        (
            |gateway| gateway.fail(at(1)),
            [
                "\"drain\":true,\"server_name\":null,\"state\":\"inactive\",\"active\":false,",
                "<br>marked drain",
                "endpoint_up{address=\"127.0.0.1:1\"} 0\n",
            ],
        ),
    ];
    for (number, (event, [json, html, metric])) in cases.into_iter().enumerate() {
        event(&gateway);
        assert_page(&gateway, "/endpoints", &[json], &[]);
        let beside = if number == 0 {
            "marked drain"
        } else {
            "draining</span> for"
        };
        assert_page(&gateway, "/", &[html], &[beside]);
        let marks = [
            metric,
            "endpoint_draining{address=\"127.0.0.1:1\"} 1\n",
            "endpoint_draining{address=\"127.0.0.1:2\"} 0\n",
        ];
        assert_page(&gateway, "/metrics", &marks, &[]);
    }
}

/// An endpoint fails and returns, another is removed while a client is connected, a third is added and
/// proves who it is.
#[test]
fn every_page_follows_the_endpoints() {
    let gateway = Fixture::new();
    gateway.pool.replace(vec![member(1, None), member(2, None)]);
    let untried = (http::Status::UNAVAILABLE, "no endpoint has answered yet\n");
    ready(&gateway, untried);
    assert_page(
        &gateway,
        "/endpoints",
        &[
            "\"state\":\"untried\",\"active\":false,",
            "\"last_answer_at\":null",
        ],
        &["active\":true"],
    );
    for port in [1, 2] {
        gateway.pool.succeeded(at(port), Instant::now());
    }
    ready(&gateway, READY);
    let since = gateway.pool.views()[0].since;
    assert_page(
        &gateway,
        "/endpoints",
        &[
            "{\"ready\":true,\"reason\":null,\"draining\":false,\"version\":",
            "\"problems\":[],\"endpoints\":[\n{",
            "\"priority\":1,\"weight\":10,\"drain\":false,\"server_name\":null,\"state\":\"active\",\"active\":true,",
            "\"last_error\":null,\"last_error_at\":null,\"certificate_expiry\":null,",
        ],
        &["inactive"],
    );
    assert_page(
        &gateway,
        "/",
        &["pill good\">ready<", "priority&nbsp;2, weight&nbsp;20"],
        &[],
    );

    gateway.fail(at(1));
    ready(&gateway, READY);
    let view = gateway.pool.views().remove(0);
    assert!(view.since > since, "it has just changed");
    let text = |at: Instant| Rfc3339(at.duration_since(after(0))).to_string();
    let since = format!("\"since\":\"{}\"", text(view.since));
    let failed = view.last_error.as_ref().map(|(at, _)| text(*at));
    let failed = format!("\"last_error_at\":\"{}\"", failed.expect("it has failed"));
    let refused = "\"last_error\":\"dial tcp 127.0.0.1:1: connect: connection refused\"";
    assert_page(
        &gateway,
        "/endpoints",
        &[
            "\"state\":\"inactive\",\"active\":false,",
            "\"state\":\"active\",\"active\":true,",
            &since,
            &failed,
            refused,
            "\"dials\":{\"ok\":0,\"refused\":1,",
        ],
        &[],
    );
    assert_page(
        &gateway,
        "/",
        &[
            "pill odd\">ready, 1 of 2 endpoints active<",
            "pill bad\">inactive<",
            "<b>1 <small>of 2<",
        ],
        &[],
    );
    assert_page(
        &gateway,
        "/metrics",
        &[
            "endpoint_up{address=\"127.0.0.1:1\"} 0\n",
            "endpoint_up{address=\"127.0.0.1:2\"} 1\n",
            "endpoint_transitions_total{address=\"127.0.0.1:1\",to=\"inactive\"} 1\n",
            "endpoint_transitions_total{address=\"127.0.0.1:1\",to=\"active\"} 1\n",
            "endpoint_dials_total{address=\"127.0.0.1:1\",result=\"refused\"} 1\n",
            "discovery_endpoints 2\n",
        ],
        &[],
    );

    gateway.fail(at(2));
    let reason =
        "none of 2 endpoints is active, dial tcp 127.0.0.1:1: connect: connection refused\n";
    ready(&gateway, (http::Status::UNAVAILABLE, reason));
    assert_page(&gateway, "/", &["pill bad\">not ready<"], &[]);

    gateway
        .pool
        .connected(at(1), Instant::now(), Duration::from_millis(3));
    ready(&gateway, READY);
    assert_page(
        &gateway,
        "/",
        &["data-label=\"Dials failed\">1</td>"],
        &["data-label=\"Dials failed\">2</td>"],
    );
    // Its last error is shown for as long as it is an endpoint.
    assert_page(
        &gateway,
        "/endpoints",
        &[refused, "\"state\":\"active\",\"active\":true,"],
        &[],
    );
    assert_page(
        &gateway,
        "/metrics",
        &[
            "endpoint_up{address=\"127.0.0.1:1\"} 1\n",
            "endpoint_transitions_total{address=\"127.0.0.1:1\",to=\"active\"} 2\n",
            "endpoint_dials_total{address=\"127.0.0.1:1\",result=\"ok\"} 1\n",
            "endpoint_dial_duration_seconds_count{address=\"127.0.0.1:1\"} 1\n",
        ],
        &[],
    );

    let (addr, hold) = gateway.pool.pick(&[]).expect("one is active");
    assert_eq!(addr, at(1));
    let client = hold.connected();
    client.to_client.add(2048);
    gateway.pool.replace(vec![member(3, Some("etcd.example"))]);
    ready(
        &gateway,
        (http::Status::UNAVAILABLE, "no endpoint has answered yet\n"),
    );
    assert_page(
        &gateway,
        "/endpoints",
        &[
            "\"state\":\"removed\",\"active\":false,",
            "\"state\":\"untried\",\"active\":false,",
        ],
        &["127.0.0.1:2"],
    );
    assert_page(
        &gateway,
        "/metrics",
        &[
            "endpoint_connections_active{address=\"127.0.0.1:1\"} 1\n",
            "endpoint_bytes_total{address=\"127.0.0.1:1\",direction=\"to_client\"} 2048\n",
            "endpoint_bytes_total{address=\"127.0.0.1:1\",direction=\"to_endpoint\"} 0\n",
            "endpoint_up{address=\"127.0.0.1:3\"} 0\n",
            "endpoint_info{address=\"127.0.0.1:3\",name=\"m3:3\",source=\"file\"} 1\n",
            "discovery_endpoints 1\n",
        ],
        &[
            "endpoint_up{address=\"127.0.0.1:1\"}",
            "expiry_timestamp_seconds{",
        ],
    );
    assert_page(
        &gateway,
        "/",
        &["pill odd\">removed<", "<b>0 <small>of 1<", ">2.0 KiB<"],
        &[],
    );

    let proof = Proof {
        not_after: Some(90_000),
    };
    let proves = member(3, Some("etcd.example"));
    assert!(
        gateway
            .pool
            .set_authenticated(&proves, Instant::now(), proof)
    );
    drop(client);
    ready(&gateway, READY);
    assert_page(
        &gateway,
        "/endpoints",
        &[
            "\"server_name\":\"etcd.example\",\"state\":\"active\",\"active\":true,",
            "\"certificate_expiry\":\"1970-01-02T01:00:00.000000Z\"",
        ],
        &["127.0.0.1:1"],
    );
    assert_page(
        &gateway,
        "/metrics",
        &["expiry_timestamp_seconds{address=\"127.0.0.1:3\"} 90000\n"],
        &["127.0.0.1:1\""],
    );
    assert_page(
        &gateway,
        "/",
        &["certificate expires in 1 d 0 h"],
        &["removed</span> for"],
    );
}

#[test]
fn problems_and_a_drain_are_shown_while_they_last() {
    let gateway = Fixture::new();
    gateway.pool.replace(vec![member(1, None)]);
    gateway.pool.succeeded(at(1), Instant::now());
    *lock(&gateway.problems) = vec!["<one>".to_owned(), "two".to_owned()];
    ready(&gateway, READY);
    assert_page(
        &gateway,
        "/endpoints",
        &["\"problems\":[\n\"<one>\",\n\"two\"\n],"],
        &[],
    );
    assert_page(
        &gateway,
        "/",
        &[
            "pill odd\">ready, with problems<",
            "<li>&lt;one&gt;</li>\n<li>two</li>\n</ul>",
        ],
        &[],
    );
    assert_page(
        &gateway,
        "/metrics",
        &["\netcd_gateway_discovery_problems 2\n"],
        &[],
    );
    lock(&gateway.problems).clear();
    assert_page(&gateway, "/endpoints", &["\"problems\":[],"], &[]);
    assert_page(&gateway, "/", &["pill good\">ready<"], &["problems odd"]);
    assert_page(
        &gateway,
        "/metrics",
        &["\netcd_gateway_discovery_problems 0\n"],
        &[],
    );
    assert_page(&gateway, "/metrics", &["\netcd_gateway_draining 0\n"], &[]);

    gateway.draining.store(true, Ordering::SeqCst);
    let draining = "draining: no new client is accepted\n";
    ready(&gateway, (http::Status::UNAVAILABLE, draining));
    assert_page(
        &gateway,
        "/endpoints",
        &["\"ready\":false,", "\"draining\":true,"],
        &[],
    );
    assert_page(&gateway, "/", &["pill odd\">draining<"], &[]);
    assert_page(&gateway, "/metrics", &["\netcd_gateway_draining 1\n"], &[]);
    let (status, _) = page(&gateway, "/other");
    assert_eq!(status, http::Status::NOT_FOUND);
}
