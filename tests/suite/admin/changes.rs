//! The values in every place that shows an endpoint, before and after its state changes: `/endpoints`, the page, the
//! metrics, the answer to SIGUSR1, and `check` as a table and as JSON.

use std::net::SocketAddr;

use super::{Samples, endpoints, get, page, started};
use crate::status::{ask, with_message};
use crate::support::dns::FakeDns;
use crate::support::isolated::isolated;
use crate::support::json::Json;
use crate::support::net::try_tag;
use crate::support::{Backend, Gateway, Launch, SOON, TempDir, eventually};

/// How an endpoint is to be shown: whether it is up, its priority and weight, its open connections, whether it has
/// failed.
#[derive(Debug, Clone, Copy)]
struct Shown {
    addr: SocketAddr,
    up: bool,
    rank: (u16, u16),
    open: u32,
    failed: bool,
}

const REFUSED: &str = "connection refused";

/// What a running gateway shows.
#[track_caller]
fn assert_shown(gateway: &Gateway, admin: SocketAddr, wanted: &[Shown]) {
    let up = wanted.iter().filter(|shown| shown.up).count();
    let (whole, rows) = endpoints(admin);
    assert_eq!(whole.get("ready"), Some(&Json::Bool(up > 0)), "{whole:?}");
    let samples = Samples::of(admin);
    let answer = ask(gateway);
    let lines = with_message(&answer, "status of endpoint");
    assert_eq!(
        (rows.len(), lines.len()),
        (wanted.len(), wanted.len()),
        "{rows:#?}"
    );
    let counted = |name| samples.get(name);
    assert_eq!(counted("discovery_endpoints"), wanted.len() as f64);
    assert_eq!(answer[0].number("active_endpoints"), up as f64);
    assert_eq!(answer[0].number("endpoints"), wanted.len() as f64);
    for (shown, (row, line)) in wanted.iter().zip(rows.iter().zip(lines)) {
        let state = if shown.up { "active" } else { "inactive" };
        let rank = (f64::from(shown.rank.0), f64::from(shown.rank.1));
        let address = shown.addr.to_string();
        assert_eq!(
            (row.text("address"), row.text("state")),
            (&*address, state),
            "{row:?}"
        );
        assert_eq!(
            (line.text("address"), line.text("state")),
            (&*address, state),
            "{line:?}"
        );
        assert_eq!(row.get("active"), Some(&Json::Bool(shown.up)), "{row:?}");
        assert_eq!(
            (row.number("priority"), row.number("weight")),
            rank,
            "{row:?}"
        );
        assert_eq!(
            (line.number("priority"), line.number("weight")),
            rank,
            "{line:?}"
        );
        let open = f64::from(shown.open);
        assert_eq!(
            (row.number("connections_open"), line.number("connections")),
            (open, open)
        );
        let errors = [row.get("last_error"), line.get("last_error")];
        for error in errors {
            let refused = matches!(error, Some(Json::Text(text)) if text.ends_with(REFUSED));
            assert_eq!(refused, shown.failed, "{error:?} {shown:?}");
        }
        assert_eq!(
            samples.at(shown.addr, "endpoint_up", ""),
            f64::from(u8::from(shown.up))
        );
        assert_eq!(
            samples.at(shown.addr, "endpoint_connections_active", ""),
            open
        );
    }
    let page = page(admin).content;
    let card = format!("<b>{up} <small>of {}</small></b>", wanted.len());
    assert!(page.contains(&card), "{card} in {page}");
    assert_eq!(
        page.matches("pill bad\">inactive</span> for").count(),
        wanted.len() - up,
        "{page}"
    );
    assert_eq!(
        page.matches("pill good\">active</span> for").count(),
        up,
        "{page}"
    );
}

/// What `check` finds at the same time, with the same flags.
#[track_caller]
fn assert_checked(flag: &str, wanted: &[Shown]) {
    let run = |output: &str| Launch::exactly(&["check", flag, output]).run();
    let (json, table) = (run("--output=json"), run("--output=table"));
    let up = wanted.iter().any(|shown| shown.up);
    let code = Some(i32::from(!up));
    assert_eq!((json.code, table.code), (code, code), "{json:?} {table:?}");
    let report = Json::parse(json.stdout.trim_end()).expect("valid JSON");
    assert_eq!(
        report.get("would_serve"),
        Some(&Json::Bool(up)),
        "{report:?}"
    );
    let rows = report.list("endpoints");
    let lines: Vec<&str> = table.stdout.lines().skip(1).collect();
    for (shown, row) in wanted.iter().zip(rows) {
        let verdict = if shown.up { "reachable" } else { "unreachable" };
        let rank = (f64::from(shown.rank.0), f64::from(shown.rank.1));
        assert_eq!(row.text("address"), shown.addr.to_string(), "{row:?}");
        assert_eq!(row.text("verdict"), verdict, "{row:?}");
        assert_eq!(
            (row.number("priority"), row.number("weight")),
            rank,
            "{row:?}"
        );
        assert_eq!(
            matches!(row.get("reason"), Some(Json::Null)),
            shown.up,
            "{row:?}"
        );
        assert_eq!(
            matches!(row.get("dial_seconds"), Some(Json::Null)),
            !shown.up,
            "{row:?}"
        );
        let beginning = format!("{} ", shown.addr);
        let line = lines.iter().find(|line| line.starts_with(&beginning));
        let cells: Vec<&str> = line.expect("a row").split_whitespace().collect();
        // Where all ranks are the same they have no column.
        if table.stdout.contains("PRIO/WEIGHT") {
            let rank = format!("{}/{}", shown.rank.0, shown.rank.1);
            assert!(cells.contains(&rank.as_str()), "{rank}: {cells:?}");
        }
        let said = cells
            .iter()
            .any(|cell| cell.trim_end_matches(':') == verdict);
        assert!(said, "{verdict} in {cells:?}");
    }
    assert_eq!(rows.len(), wanted.len(), "{report:?}");
}

#[test]
fn every_place_shows_the_values_after_each_change() {
    let (mut first, second) = (Backend::tagged(b'a'), Backend::tagged(b'b'));
    let third = Backend::tagged(b'c');
    let dir = TempDir::new();
    let line = |endpoint: &Backend, priority: u16, weight: u16| {
        format!(
            "{} priority={priority} weight={weight}\n",
            endpoint.address()
        )
    };
    let publish = |lines: &[String]| dir.file("members", &lines.concat());
    let path = publish(&[line(&first, 0, 5), line(&second, 1, 7)]);
    let flag = format!("--endpoints-file={path}");
    let flags = ["--metrics-addr=127.0.0.1:0", "--retry-delay=20ms"];
    let launch = Launch::start_with(&[&[flag.as_str()], flags.as_slice()].concat());
    let (gateway, admin) = started(launch);

    let mut one = Shown {
        addr: first.address(),
        up: true,
        rank: (0, 5),
        open: 0,
        failed: false,
    };
    let mut two = Shown {
        addr: second.address(),
        rank: (1, 7),
        ..one
    };
    let all_are_tried = || {
        eventually(SOON, "all are tried", || {
            (!get(admin, "/endpoints").content.contains("untried")).then_some(())
        });
    };
    all_are_tried();
    assert_shown(&gateway, admin, &[one, two]);
    assert_checked(&flag, &[one, two]);
    let since = |place: usize| endpoints(admin).1[place].text("since").to_owned();
    let at_start = [since(0), since(1)];

    // The first fails: its clients are the second's.
    first.down();
    let (tag, client) = try_tag(gateway.address()).expect("a client is served");
    assert_eq!(tag, b'b');
    gateway.wait_record("deactivated endpoint");
    one = Shown {
        up: false,
        failed: true,
        ..one
    };
    two.open = 1;
    assert_shown(&gateway, admin, &[one, two]);
    assert_checked(&flag, &[one, two]);
    assert!(since(0) > at_start[0], "it has changed since");
    assert_eq!(since(1), at_start[1], "it has not");

    // It returns; what it failed of stays known.
    let failed_at = since(0);
    first.up_tagged(b'a');
    gateway.wait_record("activated");
    one.up = true;
    assert_shown(&gateway, admin, &[one, two]);
    assert_checked(&flag, &[one, two]);
    assert!(since(0) > failed_at, "it has changed again");
    drop(client);
    two.open = 0;
    eventually(SOON, "the client has left", || {
        (endpoints(admin).1[1].number("connections_open") == 0.0).then_some(())
    });

    // Another set: one has another rank, one is gone, one is new.
    publish(&[line(&third, 3, 9), line(&first, 2, 8)]);
    gateway.signal("HUP");
    gateway.wait_record("endpoints changed");
    all_are_tried();
    one.rank = (2, 8);
    let three = Shown {
        addr: third.address(),
        up: true,
        rank: (3, 9),
        open: 0,
        failed: false,
    };
    let set = [three, one];
    assert_shown(&gateway, admin, &set);
    assert_checked(&flag, &set);
    let row = format!("<th scope=\"row\">{}<", two.addr);
    assert!(!page(admin).content.contains(&row));
}

#[test]
fn check_looks_at_the_fallback_only_where_a_start_would() {
    isolated(check_looks_at_the_fallback_only_where_a_start_would, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let at = |number: u8| SocketAddr::from(([127, 1, 0, number], 2379));
        let [mut member, mut fallback] =
            [1, 2].map(|number| Backend::dead_at(at(number)).expect("bind an address"));
        member.up_tagged(b'm');
        fallback.up_tagged(b'f');
        dns.publish("_etcd-client._tcp.x.test SRV 0 0 2379 m.test\nm.test A 127.1.0.1\n");
        let endpoints = format!("--endpoints={}", at(2));
        let srv = ["--discovery-srv=x.test", "--insecure-discovery"];
        let sources = || {
            let args = [&["check", "--output=json", &endpoints], srv.as_slice()].concat();
            let outcome = Launch::exactly(&args).run();
            assert_eq!(outcome.code, Some(0), "{outcome:?}");
            let report = Json::parse(outcome.stdout.trim_end()).expect("valid JSON");
            let rows = report.list("endpoints");
            let rows = rows.iter().map(|row| row.text("source").to_owned());
            rows.collect::<Vec<_>>()
        };
        assert_eq!(sources(), ["srv"]);
        member.down();
        assert_eq!(sources(), ["srv", "fallback"]);
    });
}
