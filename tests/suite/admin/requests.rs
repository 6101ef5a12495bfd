//! Every path and method, what is not a request, and the real curl.

use std::io::Write;

use super::{admin_of, answer, exchange, get, observed, observed_with, page};
use crate::support::net::end_writing;
use crate::support::process::{have, tool};
use crate::support::{Backend, Launch, TempDir, connect, host_offers};

const PATHS: [&str; 7] = [
    "/",
    "/config",
    "/connections",
    "/endpoints",
    "/healthz",
    "/metrics",
    "/readyz",
];

/// Nothing may be kept by a cache or read as another type, and each connection is closed.
#[test]
fn each_path_has_its_content() {
    let endpoint = Backend::tagged(b't');
    let (_gateway, admin) = observed(&[endpoint.address()], &[]);
    let types = [
        "text/plain; charset=utf-8",
        "text/plain; charset=utf-8",
        "application/json",
        "application/json",
        "text/plain; charset=utf-8",
        "text/plain; version=0.0.4; charset=utf-8",
        "text/plain; charset=utf-8",
    ];
    for (path, content_type) in PATHS.into_iter().zip(types) {
        for target in [
            path.to_owned(),
            // What is not known of a query is not ignored where it says what is asked for.
            format!(
                "{path}?{}",
                if path == "/connections" {
                    "limit=9"
                } else {
                    "a=b"
                }
            ),
            format!("http://{admin}{path}"),
        ] {
            let reply = get(admin, &target);
            assert_eq!(reply.status, 200, "{target}: {reply:?}");
            assert_eq!(reply.field("content-type"), content_type, "{target}");
            let length = reply.content.len().to_string();
            assert_eq!(reply.field("content-length"), length, "{target}");
            assert_eq!(reply.field("connection"), "close", "{target}");
            assert_eq!(reply.field("cache-control"), "no-store", "{target}");
            assert_eq!(reply.field("x-content-type-options"), "nosniff", "{target}");
            assert!(reply.field("date").ends_with(" GMT"), "{target}");
        }
    }
    for path in [
        "/nothing",
        "/metrics/",
        "//",
        "/../etc/passwd",
        "/metric%73",
    ] {
        let reply = get(admin, path);
        assert_eq!(reply.status, 404, "{path}");
        assert!(reply.content.contains("/metrics"), "it says what there is");
    }
}

#[test]
fn head_is_get_without_the_content_and_all_else_is_refused() {
    let endpoint = Backend::tagged(b't');
    let (_gateway, admin) = observed_with("admin_request=500", &[endpoint.address()]);
    for path in PATHS {
        let head = exchange(
            admin,
            format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(),
        );
        assert_eq!((head.status, head.content.as_str()), (200, ""), "{path}");
        assert_ne!(head.field("content-length"), "0", "{path}");
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n");
            let reply = exchange(admin, request.as_bytes());
            assert_eq!(reply.status, 405, "{method} {path}");
            assert_eq!(reply.field("allow"), "GET, HEAD", "{method} {path}");
        }
    }
    // A refusal, too, has the fields of its content and not the content itself.
    for (request, status) in [
        ("HEAD / HTTP/1.1\r\n\r\n", 400),
        ("HEAD / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (
            "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n",
            413,
        ),
        ("HEAD /nothing HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        // It never ends.
        ("HEAD / HTTP/1.1\r\nHost: a\r\n", 408),
    ] {
        let reply = exchange(admin, request.as_bytes());
        assert_eq!(
            (reply.status, reply.content.as_str()),
            (status, ""),
            "{request:?}"
        );
        assert_ne!(reply.field("content-length"), "0", "{request:?}");
    }
}

#[test]
fn what_is_not_a_request_is_refused() {
    let endpoint = Backend::tagged(b't');
    let (mut gateway, admin) = observed(&[endpoint.address()], &[]);
    let get = "GET /healthz HTTP/1.1\r\nHost: a\r\n";
    let cases: [(&str, u16); 14] = [
        ("hello\r\n\r\n", 400),
        ("GET /healthz\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\nHost: a\n\n\r\n\r\n", 400),
        ("GET /healthz HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (&format!("{get}X : y\r\n\r\n"), 400),
        (&format!("{get}X: y\r\n z\r\n\r\n"), 400),
        (&format!("{get}Content-Length: x\r\n\r\n"), 400),
        (&format!("{get}Content-Length: 5\r\n\r\nhello"), 413),
        (
            &format!("{get}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            413,
        ),
        (&format!("{get}{}\r\n", "X: y\r\n".repeat(200)), 431),
        (&format!("{get}X: {}\r\n\r\n", "y".repeat(9000)), 431),
        (&format!("GET /{} HTTP/1.1\r\n", "y".repeat(9000)), 414),
    ];
    for (request, status) in cases {
        let reply = exchange(admin, request.as_bytes());
        let start: String = request.chars().take(60).collect();
        assert_eq!(reply.status, status, "{start:?}");
    }
    let reply = exchange(admin, b"GET /healthz HTTP/1.0\r\n\r\n");
    assert_eq!((reply.status, reply.content.as_str()), (200, "ok\n"));
    gateway.assert_running();
}

/// In pieces, and with the client's direction ended before the answer.
#[test]
fn a_request_may_come_in_pieces() {
    let endpoint = Backend::tagged(b't');
    let (_gateway, admin) = observed(&[endpoint.address()], &[]);
    let mut stream = connect(admin);
    for piece in [
        "\r\nGET /hea",
        "lthz HT",
        "TP/1.1\r",
        "\nHost: a\r\n\r",
        "\n",
    ] {
        stream.write_all(piece.as_bytes()).expect("send a piece");
    }
    end_writing(&stream);
    assert_eq!(answer(stream).content, "ok\n");
}

#[test]
fn curl_is_served() {
    if !host_offers(have("curl"), "curl") {
        return;
    }
    let endpoint = Backend::tagged(b't');
    let (_gateway, admin) = observed(&[endpoint.address()], &[]);
    for (args, status) in [
        (vec!["--head"], "200"),
        (vec![], "200"),
        (vec!["--http1.0"], "200"),
        (vec!["--data", "x=y"], "405"),
        (vec!["--request", "GET", "--data", "x=y"], "413"),
    ] {
        let url = format!("http://{admin}/metrics");
        let code = [
            "--silent",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code}",
        ];
        let args = [&code[..], &args, &[&url]].concat();
        let output = tool("curl", &args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), status, "{args:?}");
    }
}

/// A page that a browser shows and can be made to do nothing else with.
#[test]
fn the_page_is_for_people_and_runs_nothing() {
    let (endpoint, dead) = (Backend::tagged(b't'), Backend::dead());
    let (gateway, admin) = observed(&[endpoint.address(), dead.address()], &[]);
    let _clients = [gateway.connect(), gateway.connect(), gateway.connect()];
    gateway.wait_record("deactivated endpoint");
    let page = page(admin);
    let policy = page.field("content-security-policy");
    for part in [
        "default-src 'none'",
        "style-src 'sha256-",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    for part in [
        "<!DOCTYPE html>",
        "http-equiv=\"refresh\" content=\"5\"",
        "1 of 2 endpoints active",
        &endpoint.address().to_string(),
        "connection refused",
    ] {
        assert!(page.content.contains(part), "{part} in {}", page.content);
    }
    for part in ["<script", "http://", "https://", "style=\"", " on"] {
        let rest = page.content.replace("listening on ", "");
        assert!(
            !rest.contains(part) || part == " on" && !rest.contains(" on=\""),
            "{part}"
        );
    }
}

/// A terminal gets as lines of text what a browser gets as a page, in the words of the log.
#[test]
fn the_root_is_text_for_clients_that_do_not_accept_html() {
    let (endpoint, dead) = (Backend::tagged(b't'), Backend::dead());
    let (gateway, admin) = observed(&[endpoint.address(), dead.address()], &[]);
    gateway.wait_record("deactivated endpoint");
    let asked = |accept: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{accept}\r\n");
        exchange(admin, request.as_bytes())
    };
    for accept in ["", "Accept: */*\r\n", "Accept: text/html;q=0\r\n"] {
        let reply = asked(accept);
        assert_eq!(reply.field("vary"), "Accept", "{accept}");
        assert_eq!(reply.field("content-type"), "text/plain; charset=utf-8");
        let lines: Vec<&str> = reply.content.lines().collect();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a host name");
        let head = format!("host {:?}, pid {}: ", host.trim(), gateway.pid());
        assert!(lines[0].contains(&head), "{head} in {lines:?}");
        let address = format!("status of endpoint address={} ", dead.address());
        let line = lines.iter().find(|line| line.starts_with(&address));
        let line = line.expect("the endpoint is told");
        assert!(line.contains(" state=inactive "), "{line}");
        let address = format!(" address={} ", dead.address());
        let change = lines
            .iter()
            .find(|line| line.starts_with("transition at=") && line.contains(&address));
        let change = change.expect("its change is told");
        assert!(change.contains(" from=untried to=inactive "), "{change}");
        assert!(change.contains("connection refused"), "{change}");
    }
    let reply = asked("Accept: text/html,*/*;q=0.8\r\n");
    assert_eq!(reply.field("vary"), "Accept");
    assert_eq!(reply.field("content-type"), "text/html; charset=utf-8");
}

/// What is written in a query of `/connections` and cannot be meant is refused.
#[test]
fn a_query_that_says_nothing_is_refused() {
    let endpoint = Backend::tagged(b't');
    let (_gateway, admin) = observed(&[endpoint.address()], &[]);
    for query in ["a=b", "limit=many", "limit=-1", "address=host:1", "address"] {
        let reply = get(admin, &format!("/connections?{query}"));
        assert_eq!(reply.status, 400, "{query}: {reply:?}");
    }
}

/// Priorities and weights are shown where they decide something.
#[test]
fn the_page_has_ranks_where_they_differ() {
    let (one, two) = (Backend::tagged(b'1'), Backend::tagged(b'2'));
    let dir = TempDir::new();
    for (name, option, shown) in [("alike", "weight=1", false), ("apart", "weight=2", true)] {
        let lines = format!("{}\n{} {option}\n", one.address(), two.address());
        let file = format!("--endpoints-file={}", dir.file(name, &lines));
        let gateway = Launch::start_with(&["--metrics-addr=127.0.0.1:0", &file]).start();
        let page = page(admin_of(&gateway));
        let told = page.content.contains(&format!(
            "priority&nbsp;0, {}",
            option.replace('=', "&nbsp;")
        ));
        assert_eq!(told, shown, "{name}: {}", page.content);
    }
}
