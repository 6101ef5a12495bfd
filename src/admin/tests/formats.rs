//! One snapshot in all its formats: the line for a service manager, the lines of SIGUSR1, the text, the JSON and the page
//! have the same values.

use super::*;
use crate::endpoint::history::Transition;
use crate::log::Pairs;

/// What a peer, a file or a record may have in its name or its words.
const HOSTILE: &str = "</td><script>\"'&\u{1b}[2J";

/// At 7000 s: one endpoint is silent, one active that has failed before, one drains; a fourth has left.
fn sample() -> Snapshot {
    let named = |port, status, since| {
        let mut named = view(port, status, None);
        named.endpoint.name = format!("m{port}:2379");
        named.since = after(since);
        named
    };
    let mut silent = named(2, EndpointState::Silent, 6940);
    silent.endpoint.name = HOSTILE.to_owned();
    silent.last_error = Some((after(6941), HOSTILE.to_owned()));
    silent.hour[58] = Some(EndpointState::Active);
    silent.hour[59] = Some(EndpointState::Silent);
    let mut active = named(1, EndpointState::Active, 100);
    active.last_error = Some((
        after(40),
        "dial tcp 127.0.0.1:1: connect: connection refused".to_owned(),
    ));
    active.hour[10..13].fill(Some(EndpointState::Untried));
    active.hour[13..].fill(Some(EndpointState::Active));
    active.hour[20..22].fill(Some(EndpointState::Inactive));
    active.hour[22] = Some(EndpointState::Slow);
    active.hour[40] = Some(EndpointState::Unhealthy);
    active.stats.to_endpoint.add(2048);
    let mut draining = named(3, EndpointState::Draining, 5000);
    draining.endpoint.drains = true;
    let removed = named(4, EndpointState::Removed, 6000);
    let change = |port, from, to, at, reason: Option<&str>| Transition {
        at: after(at),
        addr: super::at(port),
        name: format!("m{port}:2379"),
        from,
        to,
        lasted: Duration::from_secs(90),
        reason: reason.map(str::to_owned),
    };
    Snapshot {
        version: "1.2.3",
        host: "db-7".to_owned(),
        listen: vec!["127.0.0.1:9000".to_owned()],
        problems: vec!["a".to_owned(), HOSTILE.to_owned()],
        endpoints: vec![active, draining, silent, removed],
        transitions: vec![
            change(
                2,
                EndpointState::Active,
                EndpointState::Silent,
                6940,
                Some(HOSTILE),
            ),
            change(
                3,
                EndpointState::Active,
                EndpointState::Draining,
                5000,
                None,
            ),
        ],
        ..counted()
    }
}

#[test]
fn the_line_for_a_service_manager() {
    let with = |change: fn(&mut Snapshot)| {
        let mut snapshot = sample();
        change(&mut snapshot);
        snapshot.line()
    };
    for (change, expected) in [
        (
            (|_| {}) as fn(&mut Snapshot),
            "2 of 3 endpoints active, 1 draining, 12 connections open, 30 in 29 old processes, 29 clients rejected, \
             2 problems",
        ),
        (
            |snapshot| {
                snapshot.draining = true;
                snapshot.reloads.draining_processes = 1;
                snapshot.problems.pop();
            },
            "draining, 2 of 3 endpoints active, 1 draining, 12 connections open, 30 in an old process, \
             29 clients rejected, 1 problem",
        ),
        (
            |snapshot| {
                snapshot.reloads.draining_processes = 0;
                snapshot.problems.clear();
                snapshot.endpoints.remove(1);
            },
            "1 of 2 endpoints active, 12 connections open, 29 clients rejected",
        ),
    ] {
        assert_eq!(with(change), expected);
    }
}

/// The lines of SIGUSR1, and the text, which has the same.
#[test]
fn every_fact_is_a_line_of_the_text() {
    let whole = sample();
    let mut lines = Vec::new();
    whole.facts(|message, fields| lines.push(format!("{message}{}", Pairs(fields))));
    let hostile = "\"</td><script>\\\"'&\\u{1b}[2J\"";
    let silent = format!(
        "status of endpoint address=127.0.0.1:2 name={hostile} state=silent since_seconds=60 priority=0 weight=0 connections=0 \
         last_error={hostile}"
    );
    let problem = format!("status of a problem problem={hostile}");
    let expected = [
        "status state=serving uptime_seconds=6900 listen=[127.0.0.1:9000] connections=12 max_connections=13 \
         draining_processes=29 draining_connections=30 rejected=29 accept_errors=16 active_endpoints=2 endpoints=3",
        "status of rejections reason=max_connections count=14",
        "status of rejections reason=loop count=15",
        "status of a problem problem=a",
        &problem,
        "status of endpoint address=127.0.0.1:1 name=m1:2379 state=active since_seconds=6900 priority=0 weight=0 connections=0 \
         last_error=\"dial tcp 127.0.0.1:1: connect: connection refused\"",
        "status of endpoint address=127.0.0.1:3 name=m3:2379 state=draining since_seconds=2000 priority=0 weight=0 \
         connections=0 drain=yes",
        &silent,
        "status of endpoint address=127.0.0.1:4 name=m4:2379 state=removed since_seconds=1000 priority=0 weight=0 connections=0",
        "status of discovery ok=21 failed=22 last_success_seconds=1000",
    ];
    assert_eq!(lines, expected);

    let head = "etcd-gateway 1.2.3, host \"db-7\", pid 36: ready, 2 of 3 endpoints active";
    let silent = format!(
        "transition at=1970-01-01T01:55:40.000000Z address=127.0.0.1:2 name=m2:2379 from=active to=silent after_seconds=90 \
         reason={hostile}"
    );
    let drains = "transition at=1970-01-01T01:23:20.000000Z address=127.0.0.1:3 name=m3:2379 from=active to=draining \
                  after_seconds=90";
    let text = whole.text();
    let found: Vec<&str> = text.lines().collect();
    let all = [&[head][..], &expected, &[&silent, drains]].concat();
    assert_eq!(found, all);
    let none = Snapshot {
        clients: Clients {
            rejected: vec![("loop", 0), ("no_thread", 1)],
            ..counted().clients
        },
        draining: true,
        ..snapshot(Vec::new())
    };
    let text = none.text();
    assert!(text.contains("\nstatus state=draining "), "{text}");
    let rejections = text.lines().filter(|line| line.contains("rejections"));
    let expected = "status of rejections reason=no_thread count=1";
    assert_eq!(rejections.collect::<Vec<_>>(), [expected]);
    assert!(!text.contains("last_success"), "{text}");
}

#[test]
fn spans_are_whole_seconds() {
    for (passed, expected) in [(0, 0), (999, 0), (1000, 1), (61_900, 61)] {
        let snapshot = Snapshot {
            now: present(Duration::from_millis(passed)),
            ..snapshot(Vec::new())
        };
        let text = snapshot.text();
        assert!(
            text.contains(&format!(" uptime_seconds={expected} ")),
            "{text}"
        );
    }
}

#[test]
fn the_page_shows_trouble_first_and_escapes_foreign_text() {
    let page = html::render(&sample(), true);
    let title = "<title>ready, 2 of 3 endpoints active – db-7 – etcd-gateway</title>";
    let order = [
        "http-equiv=\"refresh\" content=\"5\"",
        title,
        "<h1>db-7</h1><span class=\"pill odd\">ready, 2 of 3 endpoints active</span>",
        "etcd-gateway 1.2.3, process 36, listening on 127.0.0.1:9000, up 1 h 55 min since \
         <time datetime=\"1970-01-01T00:01:40Z\">1970-01-01 00:01:40</time>",
        "<li>a</li>\n<li>&lt;/td&gt;&lt;script&gt;&quot;&#39;&amp;\u{fffd}[2J</li>",
        "<caption>Endpoints</caption>",
        "<th scope=\"row\">127.0.0.1:2<div class=\"dim\">&lt;/td&gt;&lt;script&gt;&quot;&#39;&amp;\u{fffd}[2J<br>endpoints",
        "<td colspan=\"8\" class=\"error\">error 59 s ago, ",
        ">1970-01-01 01:55:41</time>: &lt;/td&gt;&lt;script&gt;",
        "<th scope=\"row\">127.0.0.1:3<",
        "<th scope=\"row\">127.0.0.1:4<",
        "<th scope=\"row\">127.0.0.1:1<",
        "class=\"dim\">last error 1 h 56 min ago, ",
        // Its address is that of the row.
        "</time>: connect: connection refused</td>",
        "<h2>Last changes</h2>",
        ">1970-01-01 01:55:40</time> <span class=\"pill bad\">silent</span> <span>127.0.0.1:2 \
         <span class=\"dim\">m2:2379 after 1 min 30 s active</span></span> \
         <span class=\"dim\">&lt;/td&gt;",
        "<span class=\"pill odd\">draining</span> <span>127.0.0.1:3",
        "<th scope=\"row\">reloads</th><td class=\"n\">27<",
        "<th scope=\"row\">reloads that failed</th><td class=\"n\">28<",
        "(<a href=\"?reload=0\">stop</a>)",
    ];
    let mut rest = page.as_str();
    for part in order {
        let found = rest.split_once(part);
        rest = found
            .unwrap_or_else(|| panic!("no {part:?} where it belongs in {page}"))
            .1;
    }
    assert!(!page.contains("<script"), "{page}");
    let host = Snapshot {
        host: HOSTILE.to_owned(),
        ..sample()
    };
    let hostile = html::render(&host, true);
    assert!(!hostile.contains("<script"), "{hostile}");
    let still = html::render(&sample(), false);
    assert!(!still.contains("http-equiv"), "{still}");
    assert!(
        still.contains("<a href=\"?\">reload every 5 s</a>"),
        "{still}"
    );
}

/// A column is as high as its minute was bad, and none where nothing is known.
#[test]
fn a_strip_is_the_last_hour_of_an_endpoint() {
    let page = html::render(&sample(), true);
    for strip in [
        "<title>Last hour: active 43 min, unhealthy 1 min, slow 1 min, inactive 2 min, unknown 13 min</title>\
         <path class=\"good\" d=\"M13 10h7M23 10h17M41 10h19\"/><path class=\"odd\" d=\"M22 8h1\"/>\
         <path class=\"bad\" d=\"M20 6h2M40 6h1\"/></svg>",
        "<title>Last hour: silent 1 min, active 1 min, unknown 58 min</title>\
         <path class=\"good\" d=\"M58 10h1\"/><path class=\"bad\" d=\"M59 6h1\"/></svg>",
        "<title>Last hour: unknown 60 min</title></svg>",
    ] {
        assert!(page.contains(strip), "{strip} in {page}");
    }
}

#[test]
fn the_root_is_text_unless_html_is_accepted() {
    let gateway = Fixture::new();
    for (takes_html, content_type, beginning) in [
        (false, "text/plain; charset=utf-8", "etcd-gateway "),
        (true, "text/html; charset=utf-8", "<!DOCTYPE html>"),
    ] {
        let root = response(&gateway, "/", takes_html);
        assert_eq!(root.content_type, content_type);
        assert!(root.content.starts_with(beginning));
        assert!(root.more.contains("Vary: Accept\r\n"));
        // Nothing else depends on it.
        let other = response(&gateway, "/endpoints", takes_html);
        assert_eq!((other.content_type, other.more), ("application/json", ""));
    }
    for (target, reloads) in [
        ("/", true),
        ("/?reload=1", true),
        ("/?reload=0", false),
        ("/?a&reload=0", false),
    ] {
        let (_, content) = page(&gateway, target);
        assert_eq!(content.contains("http-equiv"), reloads, "{target}");
    }
}

#[test]
fn the_gateway_itself_is_in_the_json() {
    struct Sample;
    impl Observed for Sample {
        fn try_session(&self) -> Result<(), String> {
            Ok(())
        }

        fn snapshot(&self) -> io::Result<Snapshot> {
            Ok(sample())
        }

        fn connections(
            &self,
            _: Option<SocketAddr>,
            _: usize,
        ) -> io::Result<(Vec<Connection>, bool)> {
            Ok((Vec::new(), true))
        }
    }
    let request = Request {
        path: "/endpoints",
        query: "",
        takes_html: false,
        head_only: false,
    };
    let json = pages::answer(request, &Sample, &Settings::default())
        .unwrap()
        .content;
    let (itself, endpoints) = json.split_once(",\"endpoints\":[\n").unwrap();
    let expected = "{\"ready\":true,\"reason\":null,\"draining\":false,\"version\":\"1.2.3\",\"host\":\"db-7\",\"pid\":36,\
                    \"started\":\"1970-01-01T00:01:40.000000Z\",\"listen\":[\"127.0.0.1:9000\"],\"connections\":12,\
                    \"max_connections\":13,\"accepted\":11,\"rejected\":{\"max_connections\":14,\"loop\":15},\"ended\":{\"removed\":26},\
                    \"reloads\":{\"success\":27,\"failure\":28},\"draining_processes\":29,\"draining_connections\":30,\
                    \"discovery\":{\"ok\":21,\"failed\":22,\"last_success\":\"1970-01-01T01:40:00.000000Z\"},\
                    \"log_lines_dropped\":24,\"access_log_lines_dropped\":25,\
                    \"problems\":[\n\"a\",\n\"</td><script>\\\"'&\\u001b[2J\"\n]";
    assert_eq!(itself, expected);
    let first = endpoints.lines().next().unwrap();
    let beginning = "{\"address\":\"127.0.0.1:1\",\"name\":\"m1:2379\",\"source\":\"endpoints\",\"priority\":0,\"weight\":0,\
                     \"drain\":false,\"server_name\":null,\"state\":\"active\",\"active\":true,\
                     \"since\":\"1970-01-01T00:01:40.000000Z\",\"last_answer_at\":null,";
    assert!(first.starts_with(beginning), "{first}");
    assert_eq!(endpoints.lines().count(), 5, "{endpoints}");
}

#[test]
fn connections_are_shown_as_requested() {
    let gateway = Fixture::new();
    gateway.pool.replace(vec![member(1, None)]);
    let head = |shown: usize, complete: bool| {
        format!(
            "{{\"connections_open\":0,\"connections_shown\":{shown},\"complete\":{complete},\
             \"draining_processes\":0,\"draining_connections\":0,\"connections\":["
        )
    };
    let since = "\"since\":\"1970-01-01T00:00:00.000000Z\"";
    let first = format!(
        "{{\"client\":\"127.0.0.1:7000\",\"listen\":\"127.0.0.1:9000\",\"address\":\"127.0.0.1:1\",\"name\":\"m1:1\",\
         {since},\"bytes_to_endpoint\":0,\"bytes_to_client\":0,\"idle_seconds\":1.5}}"
    );
    // It has left the set a moment ago.
    let second = format!(
        "{{\"client\":\"127.0.0.1:7001\",\"listen\":\"127.0.0.1:9000\",\"address\":\"127.0.0.1:2\",\"name\":null,\
         {since},\"bytes_to_endpoint\":5,\"bytes_to_client\":7,\"idle_seconds\":1.5}}"
    );
    let third = format!(
        "{{\"client\":\"127.0.0.1:7002\",\"listen\":\"127.0.0.1:9000\",\"address\":null,\"name\":null,\
         {since},\"bytes_to_endpoint\":10,\"bytes_to_client\":14,\"idle_seconds\":null}}"
    );
    let cases: [(&str, bool, &[&String]); 7] = [
        ("", true, &[&first, &second, &third]),
        ("?limit=3", true, &[&first, &second, &third]),
        ("?limit=99999999", true, &[&first, &second, &third]),
        ("?limit=2", false, &[&first, &second]),
        ("?address=127.0.0.1:2", true, &[&second]),
        ("?address=127.0.0.1:1&limit=0", false, &[]),
        ("?address=[::1]:1", true, &[]),
    ];
    for (query, complete, lines) in cases {
        let (status, content) = page(&gateway, &format!("/connections{query}"));
        assert_eq!(status, http::Status::OK, "{query}");
        let mut expected = head(lines.len(), complete);
        let lines: Vec<String> = lines.iter().map(|line| format!("\n{line}")).collect();
        expected.push_str(&lines.join(","));
        expected.push_str(if lines.is_empty() { "]}\n" } else { "\n]}\n" });
        assert_eq!(content, expected, "{query}");
    }
    for query in [
        "?address=m1:1",
        "?address=",
        "?limit=-1",
        "?limit",
        "?a=b",
        "?<script>",
    ] {
        let (status, content) = page(&gateway, &format!("/connections{query}"));
        assert_eq!(status, http::Status::BAD_REQUEST, "{query}");
        assert!(content.starts_with("cannot use \""), "{content}");
    }
}
