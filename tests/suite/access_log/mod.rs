//! `--access-log`: one line per connection, whatever ended it; files that are moved away, full, or read by nobody.

mod faults;

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use crate::admin::{admin_of, wait_sample};
use crate::support::isolated::isolated;
use crate::support::json::Json;
use crate::support::net::{end_writing, expect_echo, expect_refused, try_connect, try_tag};
use crate::support::ports::free_port;
use crate::support::process::{tool, tool_text};
use crate::support::{Backend, End, Gateway, Launch, SOON, TempDir};
use crate::support::{eventually, expect, expect_end, reset, send};

/// A file for an access log, and the flag that asks for it.
struct LogAt {
    dir: TempDir,
    flag: String,
}

impl LogAt {
    fn new() -> LogAt {
        let dir = TempDir::new();
        let path = dir.path().join("access.log");
        let flag = format!("--access-log={}", path.display());
        LogAt { dir, flag }
    }

    fn path(&self, name: &str) -> String {
        let path = self.dir.path().join(name);
        path.to_str().expect("a temporary path in UTF-8").to_owned()
    }

    fn records(&self) -> Vec<Json> {
        records(&self.path("access.log"))
    }

    /// Waits for the line of the one connection there was.
    #[track_caller]
    fn only(&self) -> Json {
        let mut records = self.wait(1);
        records.remove(0)
    }

    /// Waits for so many lines; more are a failure.
    #[track_caller]
    fn wait(&self, count: usize) -> Vec<Json> {
        let records = eventually(SOON, "the access log has its lines", || {
            Some(self.records()).filter(|records| records.len() >= count)
        });
        assert_eq!(records.len(), count, "{records:#?}");
        records
    }
}

/// The lines of a file that are whole, each of which must be a record of the access log.
#[track_caller]
fn records(path: &str) -> Vec<Json> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    let records = whole.lines().map(|line| {
        let record = Json::parse(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        assert_eq!(record.text("caller"), "access", "{line}");
        record
    });
    records.collect()
}

/// A client of a tagged or echoing endpoint comes and goes; true if it was served.
fn visit(gateway: &Gateway) -> SocketAddr {
    let client = gateway.connect();
    let address = client.local_addr().expect("a local address");
    expect_echo(&client, 1);
    end_writing(&client);
    expect_end(&client, End::Clean);
    address
}

#[test]
fn line_says_who_was_served_by_whom_when_and_how_much() {
    let (log, mut dead, good) = (LogAt::new(), Backend::echo(), Backend::by_hand());
    let (endpoint, accepted) = good;
    let gateway = Gateway::before(&[&dead, &endpoint], &[&log.flag]);
    dead.down();
    let client = gateway.connect();
    let server = accepted.next();
    // More than a pipe holds, both ways, and with the answer after the end of the question.
    let (question, answer) = (3_000_017, 5_000_011);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            send(&client, 1, question);
            end_writing(&client);
        });
        expect(&server, 1, question);
        expect_end(&server, End::Clean);
        scope.spawn(|| {
            send(&server, 2, answer);
            end_writing(&server);
        });
        expect(&client, 2, answer);
        expect_end(&client, End::Clean);
    });
    let peer = client.local_addr().expect("a local address");
    let record = log.only();
    for (key, wanted) in [
        ("level", "info".to_owned()),
        ("msg", "connection ended".to_owned()),
        ("client", peer.to_string()),
        ("listen", gateway.address().to_string()),
        ("address", endpoint.address().to_string()),
        ("name", endpoint.address().to_string()),
        ("cause", "client_closed".to_owned()),
    ] {
        assert_eq!(record.text(key), wanted, "{record:#?}");
    }
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let bytes = [question as f64, answer as f64];
    assert_eq!(
        [
            record.number("bytes_to_endpoint"),
            record.number("bytes_to_client")
        ],
        bytes
    );
    assert_eq!(record.number("attempts"), 2.0);
    // Nobody else was there.
    assert_eq!(record.number("connections"), 0.0);
    assert_eq!(record.number("endpoint_connections"), 0.0);
    assert!(record.get("error").is_none(), "{record:#?}");
    let [dial, wait, duration] =
        ["dial_seconds", "wait_seconds", "duration_seconds"].map(|key| record.number(key));
    assert!(0.0 < dial && dial < wait && wait < duration, "{record:#?}");
    assert!(record.text("start") < record.text("ts"), "{record:#?}");
    let path = log.path("access.log");
    let mode = std::fs::metadata(path).expect("it exists").permissions();
    assert_eq!(mode.mode() & 0o137, 0, "no more than rw-r-----");
}

/// As HAProxy's tcplog has them.
#[test]
fn other_connections_are_counted_in_all_and_of_the_endpoint() {
    let (log, [one, other]) = (LogAt::new(), [b'1', b'2'].map(Backend::tagged));
    let gateway = Gateway::before(&[&one, &other], &[&log.flag]);
    let mut clients: Vec<_> = (0..3).map(|_| try_tag(gateway.address())).collect();
    // In turn: one, other, one.
    for (lines, expected) in [[2.0, 1.0], [1.0, 0.0], [0.0, 0.0]].into_iter().enumerate() {
        drop(clients.remove(0));
        let record = log.wait(lines + 1).remove(lines);
        let counts = ["connections", "endpoint_connections"].map(|key| record.number(key));
        assert_eq!(counts, expected, "{record:#?}");
    }
}

/// What a test does to an open connection, and the cause that is logged.
type Way = (&'static str, fn(&mut Gateway, TcpStream, TcpStream));

#[test]
fn each_end_is_logged_with_its_cause() {
    let ways: [Way; 7] = [
        ("client_closed", |_, client, server| {
            end_writing(&client);
            expect_end(&server, End::Clean);
            drop(server);
            expect_end(&client, End::Clean);
        }),
        ("endpoint_closed", |_, client, server| {
            drop(server);
            expect_end(&client, End::Clean);
        }),
        ("client_failed", |_, client, server| {
            reset(client);
            expect_end(&server, End::Reset);
        }),
        ("endpoint_failed", |_, client, server| {
            reset(server);
            expect_end(&client, End::Reset);
        }),
        // It has ended one direction as it should: that the other was cut is what counts.
        ("endpoint_failed", |_, client, server| {
            end_writing(&client);
            expect_end(&server, End::Clean);
            reset(server);
            expect_end(&client, End::Reset);
        }),
        ("stopped", |gateway, client, _server| {
            gateway.signal("TERM");
            expect_end(&client, End::Reset);
            assert_eq!(gateway.wait_exit(SOON).code(), Some(0));
        }),
        ("stopped", |gateway, client, _server| {
            gateway.signal("TERM");
            gateway.wait_record("received signal, draining");
            // Later than what counts as the first signal's echo.
            std::thread::sleep(Duration::from_millis(50));
            gateway.signal("TERM");
            expect_end(&client, End::Reset);
            assert_eq!(gateway.wait_exit(SOON).code(), Some(1));
        }),
    ];
    for (number, (cause, way)) in ways.into_iter().enumerate() {
        let (log, (endpoint, accepted)) = (LogAt::new(), Backend::by_hand());
        let patience = ["--drain-timeout=200ms", "--drain-timeout=1h"][usize::from(number == 6)];
        let flags = [&log.flag, patience, "--metrics-addr=127.0.0.1:0"];
        let mut gateway = Gateway::before(&[&endpoint], &flags);
        let admin = admin_of(&gateway);
        let client = gateway.connect();
        let server = accepted.next();
        send(&client, 1, 10);
        expect(&server, 1, 10);
        way(&mut gateway, client, server);
        let record = log.only();
        assert_eq!(record.text("cause"), cause, "way {number}: {record:#?}");
        assert_eq!(record.number("bytes_to_endpoint"), 10.0, "way {number}");
        if cause != "stopped" {
            let ended = format!("connections_ended_total{{cause=\"{cause}\"}}");
            wait_sample(admin, &ended, 1.0);
        }
    }
}

#[test]
fn rejected_clients_have_a_line_too() {
    let (log, dead) = (LogAt::new(), [Backend::dead(), Backend::dead()]);
    let gateway = Gateway::before(&[&dead[0], &dead[1]], &[&log.flag]);
    expect_refused(gateway.address());
    let record = log.only();
    assert_eq!(record.text("cause"), "unreachable", "{record:#?}");
    assert_eq!(record.number("attempts"), 2.0, "{record:#?}");
    let error = record.text("error");
    let met = "dial tcp 127.0.0.1:";
    assert!(
        error.starts_with(met) && error.ends_with("refused"),
        "{error}"
    );
    let rejected = gateway.wait_record("rejected client");
    assert_eq!(rejected.text("reason"), "unreachable", "{rejected:#?}");
    assert_eq!(rejected.text("error"), error, "{rejected:#?}");
    for key in [
        "address",
        "name",
        "dial_seconds",
        "wait_seconds",
        "bytes_to_client",
        "bytes_to_endpoint",
        "endpoint_connections",
    ] {
        assert!(record.get(key).is_none(), "{key} in {record:#?}");
    }

    let (log, endpoint) = (LogAt::new(), Backend::tagged(b't'));
    let gateway = Gateway::before(&[&endpoint], &[&log.flag, "--max-connections=1"]);
    let (_, first) = try_tag(gateway.address()).expect("below the cap");
    expect_refused(gateway.address());
    let record = log.only();
    assert_eq!(record.text("cause"), "max_connections", "{record:#?}");
    assert_eq!(record.number("attempts"), 0.0, "{record:#?}");
    assert_eq!(record.number("connections"), 1.0, "{record:#?}");
    assert_eq!(record.text("listen"), gateway.address().to_string());
    drop(first);
    assert_eq!(log.wait(2)[1].text("cause"), "client_closed");
}

#[test]
fn connection_to_a_removed_endpoint_says_so() {
    let (log, old, new) = (LogAt::new(), Backend::echo(), Backend::echo());
    let file = log.dir.file("endpoints", &old.address().to_string());
    let flags = [
        &format!("--endpoints-file={file}"),
        "--close-removed=0s",
        &log.flag,
    ];
    let gateway = Launch::start_with(&flags).start();
    let client = gateway.connect();
    expect_echo(&client, 1);
    log.dir.file("endpoints", &new.address().to_string());
    gateway.signal("HUP");
    expect_end(&client, End::Reset);
    let record = log.only();
    assert_eq!(record.text("cause"), "removed", "{record:#?}");
    assert_eq!(record.text("address"), old.address().to_string());
}

#[test]
fn file_that_was_moved_away_is_opened_again_at_sighup() {
    let (log, endpoint) = (LogAt::new(), Backend::echo());
    let path = log.path("access.log");
    // What stood there before stays.
    let first = "{\"caller\":\"access\",\"client\":\"of yesterday\"}";
    log.dir.file("access.log", &format!("{first}\n"));
    let gateway = Gateway::before(&[&endpoint], &[&log.flag]);
    let mut clients = vec!["of yesterday".to_owned()];
    for turn in 0..3 {
        for _ in 0..5 {
            clients.push(visit(&gateway).to_string());
        }
        log.wait(clients.len());
        let told = records(&path);
        let told: Vec<&str> = told.iter().map(|record| record.text("client")).collect();
        assert_eq!(told.len(), clients.len());
        assert!(clients.iter().all(|client| told.contains(&client.as_str())));
        let old = log.path(&format!("access.log.{turn}"));
        std::fs::rename(&path, &old).expect("move it away");
        // Without the signal the gateway keeps writing to the old file.
        clients.push(visit(&gateway).to_string());
        eventually(SOON, "the old file has the line", || {
            (records(&old).len() == clients.len()).then_some(())
        });
        gateway.signal("HUP");
        eventually(SOON, "there is a new file", || {
            std::path::Path::new(&path).exists().then_some(())
        });
        clients.clear();
    }
    eventually(SOON, "the log tells of all three", || {
        (gateway.records("reopened access log").len() == 3).then_some(())
    });

    // A directory that is gone costs no line.
    let kept = log.path("kept");
    std::fs::rename(&path, &kept).expect("move it away");
    std::fs::create_dir(&path).expect("make a directory in its place");
    gateway.signal("HUP");
    let told =
        gateway.wait_record("cannot reopen access log; continuing with the file that is open");
    assert_eq!(told.text("path"), path);
    let client = visit(&gateway).to_string();
    eventually(SOON, "the line is in the old file", || {
        let last = records(&kept).pop()?;
        (last.text("client") == client).then_some(())
    });
}

/// The search for endpoints at the start may take long, and signals do not wait for its end.
#[test]
fn signals_are_handled_while_it_starts() {
    isolated(signals_are_handled_while_it_starts, |site| {
        site.resolv_conf("nameserver 127.0.0.1\noptions timeout:30\n");
        let server = UdpSocket::bind("127.0.0.1:53").expect("bind the port of name servers");
        server.set_read_timeout(Some(SOON)).expect("set a timeout");
        let path = site.path("a.log");
        let flags = ["--discovery-srv=x.test", &format!("--access-log={path}")];
        let mut gateway = Launch::start_with(&flags).start_to_be();
        // It has asked, and is not going to be answered.
        server.recv_from(&mut [0; 512]).expect("a query");
        std::fs::rename(&path, site.path("a.log.1")).expect("move it away");
        gateway.signal("HUP");
        gateway.wait_record("reopened access log");
        assert!(std::fs::exists(&path).expect("look for the file"));
        gateway.signal("USR1");
        gateway.wait_record("not serving yet, still starting");
        gateway.signal("TERM");
        assert_eq!(gateway.wait_exit(SOON).code(), Some(0));
        let record = gateway.wait_record("received signal while starting, exiting");
        assert_eq!(record.text("signal"), "SIGTERM");
    });
}

/// Of a host that went down, or a disk that was full.
#[test]
fn unfinished_line_of_an_earlier_run_is_ended_first() {
    let (log, endpoint) = (LogAt::new(), Backend::echo());
    let path = log.dir.file("access.log", "{\"level\":\"in");
    let gateway = Gateway::before(&[&endpoint], &[&log.flag]);
    let client = visit(&gateway).to_string();
    let text = eventually(SOON, "a whole line", || {
        let text = std::fs::read_to_string(&path).expect("read the log");
        text.ends_with('\n').then_some(text)
    });
    let [torn, whole] = text.lines().collect::<Vec<_>>()[..] else {
        panic!("two lines: {text}")
    };
    assert_eq!(torn, "{\"level\":\"in");
    let whole = Json::parse(whole).expect("a record");
    assert_eq!(whole.text("client"), client);
}

#[test]
fn target_that_cannot_be_used_is_refused_with_a_remedy() {
    let (log, endpoint) = (LogAt::new(), Backend::echo());
    let directory = log.dir.path().to_str().expect("UTF-8").to_owned();
    let pipe = log.path("pipe");
    tool_text("mkfifo", &[&pipe]);
    let socket = log.path("socket");
    let _listener = UnixListener::bind(&socket).expect("bind a path");
    let cases = [
        (log.path("none/a.log"), "create its directory", true),
        (directory, "name a file in that directory", true),
        // Whether a reader will be there, check cannot know.
        (pipe, "start its reader first", false),
        // As /dev/stdout is where systemd starts the gateway.
        (socket, "write stderr in its place", true),
    ];
    for (path, remedy, checked) in cases {
        let flag = format!("--access-log={path}");
        let start = Launch::before(&[endpoint.address()], &[&flag]).run();
        let endpoints = format!("--endpoints={}", endpoint.address());
        let check = Launch::exactly(&["check", &endpoints, &flag]).run();
        for outcome in [Some(start), checked.then_some(check)]
            .into_iter()
            .flatten()
        {
            let told = outcome.stderr.lines().last().unwrap_or_default();
            assert_eq!(outcome.code, Some(1), "{outcome:?}");
            assert!(
                told.starts_with(&format!("etcd-gateway: {flag}: ")),
                "{told}"
            );
            assert!(told.contains(remedy), "{told}");
        }
    }
    let endpoints = format!("--endpoints={}", endpoint.address());
    let check = Launch::exactly(&["check", &endpoints, &log.flag]).run();
    assert_eq!(check.code, Some(0), "{check:?}");
    assert!(
        !std::path::Path::new(&log.path("access.log")).exists(),
        "a look creates nothing"
    );
}

#[test]
fn on_stderr_it_is_written_whatever_the_level() {
    let endpoint = Backend::echo();
    let gateway = Gateway::before(&[&endpoint], &["--access-log=stderr"]);
    let client = visit(&gateway).to_string();
    let record = gateway.wait_record("connection ended");
    assert_eq!(record.text("client"), client);
    // It is not the log's file: SIGHUP is none of its business.
    gateway.signal("HUP");
    gateway.wait_record("received SIGHUP, refreshing endpoints");
    visit(&gateway);
    eventually(SOON, "the next line", || {
        (gateway.records("connection ended").len() == 2).then_some(())
    });

    let port = free_port();
    let listen = SocketAddr::from(([127, 0, 0, 1], port));
    let flags = [
        &format!("--listen-addr={listen}"),
        "--log-level=error",
        "--log-format=text",
        "--access-log=stderr",
    ];
    let gateway = Launch::before(&[endpoint.address()], &flags).start_silent(listen);
    expect_echo(&try_connect(listen).expect("it listens"), 1);
    let line = gateway.wait_line("INFO  access: connection ended start=");
    assert!(line.contains(&format!(" listen={listen} ")), "{line}");
}

#[test]
fn text_is_written_to_a_file_where_it_is_asked_for() {
    let (log, endpoint) = (LogAt::new(), Backend::echo());
    let port = free_port();
    let listen = SocketAddr::from(([127, 0, 0, 1], port));
    let flags = [
        &format!("--listen-addr={listen}"),
        "--log-format=text",
        &log.flag,
    ];
    let _gateway = Launch::before(&[endpoint.address()], &flags).start_silent(listen);
    eventually(SOON, "a line of text", || {
        let text = std::fs::read_to_string(log.path("access.log")).ok()?;
        text.contains(" INFO  access: connection ended start=")
            .then_some(())
    });
}

#[test]
fn without_the_flag_nobody_writes_it() {
    let endpoint = Backend::echo();
    let gateway = Gateway::before(&[&endpoint], &["--access-log=off"]);
    visit(&gateway);
    let threads = tool(
        "sh",
        &["-c", &format!("cat /proc/{}/task/*/comm", gateway.pid())],
    );
    let threads = String::from_utf8_lossy(&threads.stdout).into_owned();
    assert!(
        threads.contains("monitor") && !threads.contains("access-log"),
        "{threads}"
    );
}
