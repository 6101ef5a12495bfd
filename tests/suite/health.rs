//! `--health-check`: what each member answers.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::admin::{Samples, admin_of};
use crate::support::cluster::EtcdCluster;
use crate::support::fault::{Faults, fails};
use crate::support::gateway::{Outcome, assert_bad_flag};
use crate::support::json::Json;
use crate::support::{Backend, Launch, SOON, eventually};

/// What the members of these tests are asked.
const ASKED: &str = "--health-check=http:///healthz?x=1";

/// A member that reads a request and answers it so, or is silent if there is nothing to say.
fn member(answer: &'static [u8]) -> Backend {
    Backend::serving(move |mut stream: &TcpStream| {
        let (mut request, mut octet) = (Vec::new(), [0]);
        while !request.ends_with(b"\r\n\r\n") {
            match stream.read(&mut octet) {
                Ok(1) => request.extend(octet),
                // A dial that asks nothing.
                _ => return,
            }
        }
        let asked = String::from_utf8_lossy(&request);
        let head = "GET /healthz?x=1 HTTP/1.1\r\nHost: 127.0.0.1:";
        assert!(asked.starts_with(head), "{asked}");
        if stream.write_all(answer).is_err() || answer.is_empty() {
            // Until the other side has enough.
            let _ = stream.read(&mut octet);
        }
    })
}

/// Of each row whether the member is well, and what it answered.
#[track_caller]
fn answers(outcome: &Outcome) -> Vec<(bool, String)> {
    let report = Json::parse(outcome.stdout.trim_end());
    let report = report.unwrap_or_else(|error| panic!("{error}: {outcome:?}"));
    let rows = report.list("endpoints");
    let answer = |row: &Json| {
        let health = row.get("health").expect("what was answered");
        let Some(Json::Bool(ok)) = health.get("ok") else {
            panic!("neither well nor not: {outcome:?}");
        };
        (*ok, health.text("answer").to_owned())
    };
    rows.iter().map(answer).collect()
}

#[test]
fn check_shows_what_each_member_answers() {
    let members = [
        member(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        member(b"HTTP/1.1 503 Unavailable\r\n\r\n[+]a ok\n[-]b failed: \x1b[2Jno leader\n"),
        member(b"\x15\x03\x01\x00\x02\x02\x46"),
        member(b"HTTP/1.1 302 Found\r\nLocation: https://x/\r\nContent-Length: 0\r\n\r\n"),
        member(b""),
        Backend::dead(),
    ];
    let addresses = members.each_ref().map(Backend::address);
    let endpoints = addresses.map(|address| address.to_string()).join(",");
    let endpoints = format!("--endpoints={endpoints}");
    let check = |health: &str, flags: &[&str]| {
        let flags = [&["check", &endpoints, health], flags].concat();
        let launch = Launch::exactly(&flags).times("health_timeout=400");
        let outcome = launch.run();
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        outcome
    };
    let refused = format!("dial tcp {}: connect: connection refused", addresses[5]);
    let expected = [
        "200 OK",
        "503 Unavailable: [+]a ok [-]b failed: ?[2Jno leader",
        "it speaks TLS; ask a port that serves plain HTTP",
        "302 Found: redirects are not followed, this one to https://x/",
        "no answer in time",
        refused.as_str(),
    ];
    let outcome = check(ASKED, &["--output=json"]);
    let rows = answers(&outcome);
    let wanted: Vec<(bool, String)> = expected
        .iter()
        .map(|answer| (*answer == "200 OK", (*answer).to_owned()))
        .collect();
    assert_eq!(rows, wanted);
    assert!(!outcome.stdout.contains("every member"), "{outcome:?}");
    let table = check(ASKED, &[]).stdout;
    let rows = table.lines().skip(1).take(expected.len());
    for ((row, address), answer) in rows.zip(&addresses).zip(expected) {
        assert!(row.starts_with(&address.to_string()), "{table}");
        let passes = row.contains("  passes  ");
        assert_eq!(passes, answer == "200 OK", "{table}");
        let told = format!("health: {address}: {answer}");
        assert_eq!(table.lines().any(|line| line == told), !passes, "{table}");
        let reachable = row.ends_with("  reachable");
        assert_eq!(reachable, answer != refused, "{table}");
    }
    // A host and a port in the URL are asked in place of the member's own.
    let fixed = format!("--health-check=http://{}/healthz?x=1", addresses[0]);
    let rows = answers(&check(&fixed, &["--output=json"]));
    assert_eq!(rows, vec![(true, "200 OK".to_owned()); 6]);
}

#[test]
fn a_health_check_does_not_decide_whether_a_start_would_serve() {
    let members = [
        member(b"HTTP/1.1 404 Not Found\r\n\r\n"),
        member(b"HTTP/1.1 500\r\n\r\n"),
    ];
    let [one, other] = members.each_ref().map(Backend::address);
    let endpoints = format!("--endpoints={one},{other}");
    let outcome = Launch::exactly(&["check", &endpoints, ASKED]).run();
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let warning = format!(
        "warning: every member fails {ASKED}: see that URL, port and path are right; while all \
         fail, all are used"
    );
    let last: Vec<&str> = outcome.stdout.lines().rev().take(2).collect();
    let verdict = "start would serve: 2 of 2 endpoints can be used";
    assert_eq!(last, [verdict, &warning], "{outcome:?}");
    // Nobody is asked without the flag.
    let outcome = Launch::exactly(&["check", &endpoints, "--output=json"]).run();
    let unasked = outcome.stdout.matches("\"health\":null").count();
    assert_eq!(unasked, 2, "{outcome:?}");
}

/// A client's port without TLS serves `/health`; `/readyz` is younger than this etcd.
#[test]
fn members_of_a_real_cluster_answer() {
    let Some(cluster) = EtcdCluster::start() else {
        return;
    };
    let endpoints = format!("--endpoints={}", cluster.endpoints());
    let check = |url: &str, expected: (bool, &str)| {
        let health = format!("--health-check={url}");
        let outcome = Launch::exactly(&["check", &endpoints, &health, "--output=json"]).run();
        assert_eq!(outcome.code, Some(0), "{url}: {outcome:?}");
        let (ok, answer) = expected;
        assert_eq!(answers(&outcome), vec![(ok, answer.to_owned()); 3], "{url}");
        let doubted = outcome.stdout.contains("every member fails");
        assert_eq!(doubted, !ok, "{outcome:?}");
    };
    let well = (true, "200 OK");
    check("http:///health", well);
    check("http:///health?exclude=NOSPACE", well);
    // Longer than what is read of an answer, and chunked.
    check("http:///metrics", well);
    let wrong = (false, "404 Not Found: 404 page not found");
    check("http:///helth", wrong);
    // The port of one member for all of them.
    check(&format!("http://{}/health", cluster.clients()[2]), well);
}

/// Each message has the remedy.
#[test]
fn urls_that_cannot_be_asked_are_refused() {
    for (value, remedy) in [
        ("", "has an empty value"),
        ("on", "write off"),
        ("/readyz", "http://:2381/readyz"),
        ("127.0.0.1:2381/readyz", "http://:2381/readyz"),
        ("https://:2379/health", "--listen-metrics-urls"),
        ("tcp://:2379", "only http://"),
        ("http://etcd-1:2381/readyz", "without a host"),
        ("http://0.0.0.0:2381/readyz", "without a host"),
        ("http://::1:2381/readyz", "brackets"),
        ("http://[fe80::1%eth0]:2381/", "without a host"),
        ("http://:0/readyz", "1 to 65535"),
        ("http://:/readyz", "1 to 65535"),
        ("http://user@:2381/", "a user is not sent"),
        ("http://:2381/#top", "remove it"),
        ("http://:2381/a b", "cannot have"),
        ("http://:2381/\u{fc}", "cannot have"),
        ("http://:2381/\r\nX: y", "cannot have"),
    ] {
        for command in ["start", "check"] {
            let flag = format!("--health-check={value}");
            assert_bad_flag(&[command, &flag], &["--health-check", remedy]);
        }
    }
    let long = format!("--health-check=http://{}", "/".repeat(1018));
    assert_bad_flag(&["check", &long], &["longer than 1024"]);
}

/// It is asked all the same where only a thread is lacking.
#[test]
fn health_check_that_this_host_cannot_do_is_not_blamed_on_the_member() {
    let Some(mut faults) = Faults::new() else {
        return;
    };
    let member = member(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    // It is dialled and asked at once when the gateway starts, in any order.
    let endpoint = format!("--endpoints={}", member.address());
    let flags = [&endpoint, ASKED, "--metrics-addr=127.0.0.1:0"];
    let launch = Launch::start_with(&flags).times("health_interval=50");
    let gateway = faults.launch(launch).start();
    let admin = admin_of(&gateway);
    let count = |result: &str| {
        let endpoint = member.address();
        let labels = format!("address=\"{endpoint}\",result=\"{result}\"");
        Samples::of(admin).get(&format!("endpoint_health_checks_total{{{labels}}}"))
    };
    let passes_again = |what: &str| {
        let before = count("passed");
        // One may have been under way.
        eventually(SOON, what, || {
            (count("passed") > before + 2.0).then_some(())
        });
    };
    passes_again("it is asked");
    faults.set(&[fails("socket", "EMFILE").of("check").times(3)]);
    eventually(SOON, "three are not made", || {
        (count("local") == 3.0).then_some(())
    });
    faults.set(&[fails("pthread_create", "EAGAIN").of("health")]);
    passes_again("it is asked without a thread");
    assert_eq!(count("failed"), 0.0, "{}", gateway.text());
}
