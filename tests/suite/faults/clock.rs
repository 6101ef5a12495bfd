//! The wall clock is set by decades while the gateway runs, as on a host that starts without one.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::admin::{Samples, admin_of, endpoints, page};
use crate::status::{ask, with_message};
use crate::support::fault::{Faults, Rule, fails};
use crate::support::front::{Face, Front, TlsServer, ask as ask_member};
use crate::support::net::try_tag;
use crate::support::pki::{Pki, Request};
use crate::support::process::tool_text;
use crate::support::{Backend, Gateway, Launch, SOON, TempDir, eventually};

/// The clock is so far behind while this rule is in force.
const BEHIND: Rule = fails("clock_gettime", "EINVAL");
const SECONDS_BEHIND: f64 = 1_577_880_000.0;

fn date(seconds: f64) -> String {
    let at = format!("@{seconds:.0}");
    tool_text("date", &["-u", "-d", &at, "+%FT%T"])
        .trim()
        .to_owned()
}

/// Everything that is shown about when and how long, by a clock that is so far behind: no span is longer than this
/// test, and every date is of its time by that clock.
#[track_caller]
fn assert_times(gateway: &Gateway, behind: f64) {
    let admin = admin_of(gateway);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock");
    let (soon, now) = (SOON.as_secs_f64(), now.as_secs_f64() - behind);
    let samples = Samples::of(admin);
    let start = "process_start_time_seconds";
    for name in [start, "discovery_last_success_timestamp_seconds"] {
        let passed = now - samples.get(name);
        assert!((-1.0..soon).contains(&passed), "{name}: {passed} s ago");
    }
    for _ in 0..20 {
        let again = Samples::of(admin).get(start);
        assert_eq!(again, samples.get(start), "as if started anew");
    }
    let bounds = date(now - soon)..date(now + 2.0);
    let (_, shown) = endpoints(admin);
    let dates = [
        shown[0].text("since"),
        shown[0].text("last_answer_at"),
        shown[1].text("since"),
        shown[1].text("last_error_at"),
    ];
    for date in dates {
        assert!(bounds.contains(&date.to_owned()), "{date}: {bounds:?}");
    }
    let page = page(admin).content;
    assert!(
        page.contains(" ago, <time ") && !page.contains(" d "),
        "{page}"
    );
    let answer = ask(gateway);
    for (message, field) in [
        ("status", "uptime_seconds"),
        ("status of endpoint", "since_seconds"),
        ("status of discovery", "last_success_seconds"),
    ] {
        for record in with_message(&answer, message) {
            assert!(record.number(field) < soon, "{record:?}");
        }
    }
}

#[test]
fn no_duration_is_wrong_and_every_date_heals() {
    let Some(mut faults) = Faults::new() else {
        return;
    };
    let (up, down) = (Backend::tagged(b't'), Backend::dead());
    let launch = Launch::before(
        &[up.address(), down.address()],
        &["--metrics-addr=127.0.0.1:0"],
    );
    let behind = faults.set(&[BEHIND]);
    let gateway = faults.launch(launch).start();
    try_tag(gateway.address()).expect("served");
    gateway.wait_record("deactivated endpoint");
    assert_times(&gateway, SECONDS_BEHIND);
    assert!(faults.hits(behind)[0] > 0);
    faults.clear();
    assert_times(&gateway, 0.0);
    faults.set(&[BEHIND]);
    assert_times(&gateway, SECONDS_BEHIND);
}

/// No certificate is valid then. What was judged by that clock is judged anew by the right one.
#[test]
fn members_that_no_certificate_was_valid_for_are_back_once_the_clock_is_right() {
    let Some(mut faults) = Faults::new() else {
        return;
    };
    let dir = TempDir::new();
    let Some(pki) = Pki::below(dir.path()) else {
        return;
    };
    let root = pki.root("true CA");
    let shown = pki.issue(&root, &Request::server("IP:127.0.0.1"));
    let front = Front::anywhere(1, Face::Tls(TlsServer::start(&pki, &shown, &[])));
    let flags = [
        "--verify-endpoints",
        "--trusted-ca-file",
        &root.certificate,
        "--metrics-addr=127.0.0.1:0",
        "--retry-delay=100ms",
    ];
    let launch = Launch::before(&[front.address()], &flags).times("audit=100");
    let gateway = faults.launch(launch).start();
    let admin = admin_of(&gateway);
    let is_up = |wanted: f64| {
        let name = format!("endpoint_up{{address=\"{}\"}}", front.address());
        eventually(SOON, "the endpoint is as the clock has it", || {
            (Samples::of(admin).get(&name) == wanted).then_some(())
        });
    };
    is_up(1.0);
    for _ in 0..2 {
        faults.set(&[BEHIND]);
        is_up(0.0);
        let (_, shown) = endpoints(admin);
        assert!(
            shown[0].text("last_error").contains("not valid before"),
            "{shown:?}"
        );
        faults.clear();
        is_up(1.0);
        assert_eq!(ask_member(gateway.address()).expect("served"), 1);
    }
}
