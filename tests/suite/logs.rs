//! Log lines: strict JSON with the reference's keys, readable text, levels, and states on change only. D9, D17.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use socket2::SockRef;

use crate::support::json::Json;
use crate::support::net::{expect_refused, tag};
use crate::support::process::set_limit;
use crate::support::{Backend, Gateway, Launch, SOON, TempDir, eventually, ports};

/// A gateway that has seen events of several levels, and its endpoints.
fn life(flags: &[&str]) -> (Gateway, [Backend; 2]) {
    let (mut back, good) = (Backend::dead(), Backend::tagged(b'g'));
    let gateway = Gateway::before(&[&back, &good], &[&["--retry-delay=200ms"], flags].concat());
    tag(gateway.address());
    tag(gateway.address());
    gateway.wait_record("deactivated endpoint");
    back.up_tagged(b'b');
    gateway.wait_record("activated");
    tag(gateway.address());
    (gateway, [back, good])
}

#[test]
fn json_lines_have_the_references_keys() {
    let (mut gateway, _endpoints) = life(&["--log-format=json", "--log-level=debug"]);
    gateway.signal("TERM");
    gateway.wait_exit(SOON);
    let relaying = gateway.records("relaying");
    assert!(!relaying.is_empty(), "{}", gateway.text());
    for record in relaying {
        assert_ne!(record.text("client"), "", "{record:?}");
        assert_eq!(record.text("name"), record.text("address"), "{record:?}");
    }
    for line in gateway.lines() {
        let record = Json::parse(&line).unwrap_or_else(|error| panic!("{error} in {line}"));
        for key in ["level", "ts", "caller", "msg"] {
            assert_ne!(record.text(key), "", "{key} in {line}");
        }
        assert!(
            ["debug", "info", "warn", "error"].contains(&record.text("level")),
            "{line}"
        );
        assert_rfc3339(record.text("ts"));
    }
}

/// `2026-11-22T20:00:00.000000Z`.
#[track_caller]
fn assert_rfc3339(text: &str) {
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000000Z", "{text}");
    assert!(("2024".."2200").contains(&&text[..4]), "{text}");
}

#[test]
fn pipe_gets_json_without_being_asked() {
    let (gateway, _endpoints) = life(&[]);
    assert!(
        gateway.lines().iter().all(|line| Json::parse(line).is_ok()),
        "{}",
        gateway.text()
    );
}

#[test]
fn each_change_of_state_is_one_line_at_its_level() {
    let (gateway, _endpoints) = life(&[]);
    for _ in 0..10 {
        tag(gateway.address());
    }
    for (msg, level) in [
        ("ready to proxy client requests", "info"),
        ("deactivated endpoint", "warn"),
        ("activated", "info"),
    ] {
        let records = gateway.records(msg);
        assert_eq!(records.len(), 1, "{msg}:\n{}", gateway.text());
        assert_eq!(records[0].text("level"), level, "{msg}");
    }
    let down = gateway.wait_record("deactivated endpoint");
    assert!(down.text("error").contains("refused"), "{down:?}");
    assert!(down.get("interval").is_some(), "{down:?}");
}

/// JOURNAL_STREAM names stderr by device and inode (systemd.exec(5)), or what it was before it was redirected.
#[test]
fn lines_for_the_journal_begin_with_their_priority() {
    const SET: &str = "export JOURNAL_STREAM=$(stat -Lc %d:%i \"$0\") && exec \"$@\"";
    for (stream, is_journal) in [("/proc/self/fd/2", true), ("/", false)] {
        let wrapper = ["sh", "-c", SET, stream];
        let dead = Backend::dead();
        let flags = ["--access-log=stderr", "--log-level=debug"];
        let launch = Launch::before(&[dead.address()], &flags);
        let mut gateway = launch.wrapped(&wrapper).start_to_be();
        gateway.wait_line("ready to proxy client requests");
        gateway.wait_line("no endpoint is active");
        gateway.signal("TERM");
        gateway.wait_exit(SOON);
        for line in gateway.lines() {
            let record = Json::parse(line.trim_start_matches(|c| c != '{'));
            let record = record.unwrap_or_else(|error| panic!("{error} in {line}"));
            let priority = match record.text("level") {
                "debug" => "<7>{",
                "info" => "<6>{",
                "warn" => "<4>{",
                _ => "<3>{",
            };
            let begin = if is_journal { priority } else { "{" };
            assert!(line.starts_with(begin), "{line}");
        }
        let outcome = Launch::exactly(&["start", "--nonsense"]).wrapped(&wrapper);
        let said = outcome.run().stderr;
        let begin = if is_journal { "<3>" } else { "" };
        assert!(
            said.starts_with(&format!("{begin}etcd-gateway: ")),
            "{said}"
        );
    }
}

/// SIGHUP says what came of it, once, and whether the access log was opened again.
#[test]
fn a_refresh_that_is_asked_for_says_how_it_went() {
    let (endpoint, dir) = (Backend::tagged(b't'), TempDir::new());
    let list = dir.file("endpoints", &endpoint.address().to_string());
    let log = dir.path().join("access.log");
    let flags = [
        format!("--endpoints-file={list}"),
        format!("--access-log={}", log.display()),
    ];
    let gateway = Launch::start_with(&flags.each_ref().map(String::as_str)).start();
    gateway.signal("HUP");
    let record = gateway.wait_record("refreshed endpoints");
    assert_eq!(record.text("changed"), "no", "{record:?}");
    assert_eq!(record.number("endpoints"), 1.0, "{record:?}");
    assert_eq!(record.texts("files"), [list.as_str()], "{record:?}");
    gateway.wait_record("reopened access log");
    dir.file("endpoints", "nonsense");
    gateway.signal("HUP");
    let record = gateway.wait_record("refreshed endpoints, with problems");
    assert_eq!(record.text("level"), "warn", "{record:?}");
    let problems = record.texts("problems");
    assert!(problems[0].contains("nonsense"), "{record:?}");
    assert_eq!(gateway.records("refreshed endpoints").len(), 1);
}

/// Text as the reader of a terminal wants it; the substring that etcd's test waits for is in it.
#[test]
fn text_format_is_not_json() {
    let endpoint = Backend::tagged(b't');
    for flags in [["--log-format=text"], ["--log-format=console"]] {
        let gateway = Gateway::before(&[&endpoint], &flags);
        let ready = gateway.wait_line("ready to proxy client requests");
        assert!(Json::parse(&ready).is_err(), "{ready}");
        assert!(ready.contains("INFO"), "{ready}");
        assert!(ready.contains(&endpoint.address().to_string()), "{ready}");
        assert!(
            !ready.contains('\u{1b}'),
            "no colours for a pipe: {ready:?}"
        );
    }
}

#[test]
fn level_hides_what_is_below_it() {
    let dead = Backend::dead();
    let port = ports::free_port();
    let listen = format!("--listen-addr=127.0.0.1:{port}");
    // Without its ready line the gateway is known by its port.
    let launch = |level: &str| {
        let endpoint = format!("--endpoints={}", dead.address());
        Launch::exactly(&["start", &listen, &endpoint, &format!("--log-level={level}")])
    };
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    for (level, warned) in [("warn", true), ("error", false)] {
        let gateway = launch(level).start_silent(address);
        expect_refused(address);
        if warned {
            gateway.wait_record("deactivated endpoint");
        }
        for line in gateway.lines() {
            let written = Json::parse(&line).expect("JSON").text("level").to_owned();
            assert!(
                written == "error" || (warned && written == "warn"),
                "{level}: {line}"
            );
        }
    }
}

/// Nothing for each connection at the usual level: etcd clients come and go by the thousand.
#[test]
fn served_clients_leave_no_line_at_info() {
    let endpoint = Backend::tagged(b't');
    let gateway = Gateway::before(&[&endpoint], &[]);
    let before = gateway.lines().len();
    for _ in 0..20 {
        tag(gateway.address());
    }
    assert_eq!(gateway.lines().len(), before, "{}", gateway.text());
}

/// A log that nobody reads must not stop the traffic.
#[test]
fn log_reader_that_hangs_delays_no_client() {
    let dead = Backend::dead();
    let good = Backend::tagged(b'g');
    let list = format!("--endpoints={},{}", dead.address(), good.address());
    let port = ports::free_port();
    let listen = format!("--listen-addr=127.0.0.1:{port}");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let launch = Launch::exactly(&[
        "start",
        &listen,
        &list,
        "--log-level=debug",
        "--retry-delay=10ms",
    ]);
    let _unread = launch.start_unread(address);
    // Far more lines than a pipe holds, were each client one.
    for _ in 0..2000 {
        assert_eq!(tag(address).0, b'g');
    }
}

/// In front of an endpoint and on an address that is known before, with a line for each client.
fn talkative(endpoint: &Backend) -> (Launch, SocketAddr) {
    let address = SocketAddr::from(([127, 0, 0, 1], ports::free_port()));
    let listen = format!("--listen-addr={address}");
    let flags = [listen.as_str(), "--log-level=debug"];
    (Launch::before(&[endpoint.address()], &flags), address)
}

/// O_NONBLOCK belongs to all who share a pipe or a terminal, and any of them may have set it.
#[test]
fn stderr_that_does_not_block_is_waited_for() {
    const CLIENTS: usize = 1000;
    let endpoint = Backend::tagged(b't');
    let (launch, address) = talkative(&endpoint);
    let (reader, writer) = std::io::pipe().expect("make a pipe");
    let shared = SockRef::from(&writer).set_nonblocking(true);
    shared.expect("set O_NONBLOCK");
    let gateway = launch.logging_to(writer).start_unread(address);
    // More lines than a pipe holds, and fewer than wait in the gateway.
    for _ in 0..CLIENTS {
        tag(address);
    }
    let told = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for line in BufReader::new(reader).lines() {
                let line = line.expect("a line in UTF-8");
                let record = Json::parse(&line).unwrap_or_else(|error| panic!("{error} in {line}"));
                if record.text("msg") == "relaying" {
                    told.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        // Moved here: its end is that of the log, also where the wait is in vain.
        let _gateway = gateway;
        eventually(SOON, "every line comes", || {
            (told.load(Ordering::SeqCst) >= CLIENTS).then_some(())
        });
    });
}

/// As by a full disk, behind a `StandardError=append:` of systemd.
#[test]
fn line_that_was_written_in_part_is_ended_before_the_next() {
    let endpoint = Backend::tagged(b't');
    let (launch, address) = talkative(&endpoint);
    let dir = TempDir::new();
    let path = dir.path().join("log");
    let mut options = OpenOptions::new();
    let file = options.create(true).append(true).open(&path);
    let launch = launch.logging_to(file.expect("create a file"));
    let gateway = launch.start_unread(address);
    let text = || std::fs::read_to_string(&path).expect("read the log");
    let relayed = |count: usize| {
        eventually(SOON, "the client has its line", || {
            (text().matches("relaying").count() >= count).then_some(())
        });
    };
    tag(address);
    // Who waited for the listener was a client as well.
    relayed(2);
    let length = text().len() + 40;
    set_limit(gateway.pid(), &format!("--fsize={length}:"));
    tag(address);
    eventually(SOON, "the limit is reached", || {
        (text().len() == length).then_some(())
    });
    set_limit(gateway.pid(), "--fsize=unlimited:");
    tag(address);
    relayed(3);
    let text = text();
    let records: Vec<_> = text.lines().map(Json::parse).collect();
    let torn = records.iter().filter(|record| record.is_err());
    assert_eq!(torn.count(), 1, "{text}");
    let mut whole = records.iter().flatten();
    assert!(
        whole.any(|record| record.text("msg") == "log lines dropped"),
        "{text}"
    );
}
