//! What cannot be written, and what is still to be written at the end, holds up no connection and not the process.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{LogAt, records, visit};
use crate::admin::{Samples, admin_of, observed, page};
use crate::support::BlackHole;
use crate::support::fault::{Faults, fails};
use crate::support::isolated::isolated;
use crate::support::json::Json;
use crate::support::net::{expect_echo, expect_refused};
use crate::support::process::tool_text;
use crate::support::{Backend, End, Gateway, Launch, SOON};
use crate::support::{eventually, expect_end, send};

#[test]
fn log_that_cannot_be_written_costs_lines_and_no_connection() {
    let endpoint = Backend::echo();
    let flags = ["--access-log=/dev/full", "--drain-timeout=1h"];
    let (mut gateway, admin) = observed(&[endpoint.address()], &flags);
    for count in 1..=5_u32 {
        visit(&gateway);
        eventually(SOON, "the lost line is counted", || {
            let lost = Samples::of(admin).get("access_log_lines_dropped_total");
            (lost >= f64::from(count)).then_some(())
        });
    }
    let told = "cannot write access log, dropping lines until it can be written";
    let record = gateway.wait_record(told);
    assert_eq!(record.text("path"), "/dev/full");
    assert!(
        record.text("error").contains("no space left"),
        "{record:#?}"
    );
    assert_eq!(gateway.records(told).len(), 1, "once, not for each line");
    let page = page(admin).content;
    assert!(page.contains(">access log lines dropped</th>"), "{page}");
    gateway.signal("TERM");
    assert_eq!(gateway.wait_exit(SOON).code(), Some(0));
}

/// The kernel's way to say so is a signal that ends a process.
#[test]
fn file_at_the_limit_of_the_process_costs_lines_and_not_the_process() {
    let (log, endpoint) = (LogAt::new(), Backend::echo());
    let launch = Launch::before(&[endpoint.address()], &[&log.flag]);
    let mut gateway = launch.wrapped(&["prlimit", "--fsize=1000"]).start();
    let told = "cannot write access log, dropping lines until it can be written";
    eventually(SOON, "the limit is reached", || {
        visit(&gateway);
        (!gateway.records(told).is_empty()).then_some(())
    });
    let record = gateway.wait_record(told);
    assert_eq!(record.text("error"), "file too large", "{record:#?}");
    visit(&gateway);
    gateway.signal("TERM");
    assert_eq!(gateway.wait_exit(SOON).code(), Some(0));
}

#[test]
fn log_on_a_disk_that_was_full_counts_what_is_missing() {
    isolated(log_on_a_disk_that_was_full_counts_what_is_missing, |site| {
        let directory = site.path("small");
        std::fs::create_dir(&directory).expect("create a directory");
        let mount = ["-t", "tmpfs", "-o", "size=64k", "none", &directory];
        tool_text("mount", &mount);
        let (path, ballast) = (format!("{directory}/a.log"), format!("{directory}/ballast"));
        let endpoint = Backend::echo();
        let flag = format!("--access-log={path}");
        let (gateway, admin) = observed(&[endpoint.address()], &[&flag]);
        visit(&gateway);
        eventually(SOON, "the first line", || {
            (records(&path).len() == 1).then_some(())
        });
        // The page that the log has begun is its own; everything else is taken.
        let mut file = File::create(&ballast).expect("create a file");
        while file.write_all(&[0; 4096]).is_ok() {}
        let lost = eventually(SOON, "lines are lost", || {
            visit(&gateway);
            let lost = Samples::of(admin).get("access_log_lines_dropped_total");
            (lost >= 2.0).then_some(lost)
        });
        gateway.wait_record("cannot write access log, dropping lines until it can be written");
        drop(file);
        std::fs::remove_file(&ballast).expect("make room");
        visit(&gateway);
        gateway.wait_record("access log is written again");
        let last = visit(&gateway).to_string();
        let text = eventually(SOON, "the last line", || {
            let text = std::fs::read_to_string(&path).ok()?;
            text.contains(&last).then_some(text)
        });
        // One line may have been cut short; all others are whole.
        let parsed = text.lines().map(Json::parse);
        let (whole, torn): (Vec<_>, Vec<_>) = parsed.partition(Result::is_ok);
        assert!(torn.len() <= 1, "{text}");
        let told: f64 = whole
            .iter()
            .flatten()
            .filter(|record| record.text("msg") == "access log lines dropped")
            .map(|record| record.number("count"))
            .sum();
        let counted = Samples::of(admin).get("access_log_lines_dropped_total");
        assert!(
            told == counted && counted >= lost,
            "{told} of {counted}: {text}"
        );
    });
}

/// A named pipe that is open for its reader, and full.
fn full_pipe(path: &str) -> File {
    tool_text("mkfifo", &[path]);
    // Both ends at once: nothing waits for another to open it (fifo(7)).
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).custom_flags(0o4000);
    let mut pipe = options.open(path).expect("open the pipe");
    let error = loop {
        if let Err(error) = pipe.write(&[b'\n'; 4096]) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    pipe
}

#[test]
fn pipe_that_nobody_reads_delays_nobody_and_has_every_line_in_the_end() {
    let (log, endpoint) = (LogAt::new(), Backend::echo());
    let mut pipe = full_pipe(&log.path("access.log"));
    let gateway = Gateway::before(&[&endpoint], &[&log.flag]);
    let clients: Vec<String> = (0..50).map(|_| visit(&gateway).to_string()).collect();
    let mut text = String::new();
    eventually(SOON, "every line comes", || {
        let mut bytes = [0; 4096];
        while let Ok(count) = pipe.read(&mut bytes) {
            text += std::str::from_utf8(&bytes[..count]).expect("ASCII");
        }
        let told = |client: &String| text.contains(&format!("\"client\":\"{client}\""));
        clients.iter().all(told).then_some(())
    });
    for line in text.lines().filter(|line| !line.is_empty()) {
        assert!(Json::parse(line).is_ok(), "{line}");
    }
}

#[test]
fn pipe_that_nobody_reads_does_not_delay_the_end() {
    let (log, endpoint) = (LogAt::new(), Backend::echo());
    let _pipe = full_pipe(&log.path("access.log"));
    let mut gateway = Gateway::before(&[&endpoint], &[&log.flag]);
    visit(&gateway);
    gateway.signal("TERM");
    assert_eq!(gateway.wait_exit(SOON).code(), Some(0));
    gateway.wait_record("ended before the access log was written");
}

#[test]
fn every_connection_that_shutdown_resets_has_its_line() {
    let (log, endpoint) = (LogAt::new(), Backend::echo());
    let flags = [&*log.flag, "--drain-timeout=0s"];
    let mut gateway = Gateway::before(&[&endpoint], &flags);
    let clients: Vec<TcpStream> = (0..300).map(|_| gateway.connect()).collect();
    clients.iter().for_each(|client| expect_echo(client, 1));
    gateway.signal("TERM");
    assert_eq!(gateway.wait_exit(SOON).code(), Some(0));
    let records = log.records();
    assert_eq!(records.len(), clients.len());
    for client in &clients {
        let address = client.local_addr().expect("a local address").to_string();
        let own = records
            .iter()
            .find(|record| record.text("client") == address);
        assert_eq!(own.map(|record| record.text("cause")), Some("stopped"));
    }
}

#[test]
fn client_that_still_waits_at_shutdown_has_a_line_of_what_was_tried() {
    let (log, holes) = (LogAt::new(), [BlackHole::new(), BlackHole::new()]);
    let endpoints = holes.each_ref().map(BlackHole::address);
    let flags = [&*log.flag, "--drain-timeout=0s"];
    let (mut gateway, admin) = observed(&endpoints, &flags);
    let client = gateway.connect();
    eventually(SOON, "the second dial", || {
        (Samples::of(admin).get("redispatches_total") > 0.0).then_some(())
    });
    gateway.signal("TERM");
    assert_eq!(gateway.wait_exit(SOON).code(), Some(0));
    expect_end(&client, End::Reset);
    let record = log.only();
    assert_eq!(record.text("cause"), "stopped", "{record:#?}");
    assert_eq!(record.number("attempts"), 2.0, "{record:#?}");
}

#[test]
fn line_of_a_connection_that_shutdown_resets_counts_every_byte() {
    let (log, (endpoint, accepted)) = (LogAt::new(), Backend::by_hand());
    let flags = [&*log.flag, "--drain-timeout=0s"];
    let mut gateway = Gateway::before(&[&endpoint], &flags);
    let mut client = gateway.connect();
    let mut server = accepted.next();
    let received_so_far = AtomicU64::new(0);
    let counter = &received_so_far;
    std::thread::scope(|scope| {
        scope.spawn(move || while client.write_all(&[7; 50_000]).is_ok() {});
        let server = scope.spawn(move || {
            let mut buffer = vec![0; 50_000];
            // It ends with a reset, not as if that were all.
            while let Ok(count) = server.read(&mut buffer) {
                assert_ne!(count, 0, "a clean end");
                counter.fetch_add(count as u64, Ordering::SeqCst);
            }
        });
        eventually(SOON, "bulk is under way", || {
            (received_so_far.load(Ordering::SeqCst) > 5_000_000).then_some(())
        });
        gateway.signal("TERM");
        assert_eq!(gateway.wait_exit(SOON).code(), Some(0));
        server.join().expect("a reset");
    });
    let record = log.only();
    assert_eq!(record.text("cause"), "stopped", "{record:#?}");
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let received = received_so_far.load(Ordering::SeqCst) as f64;
    assert!(
        record.number("bytes_to_endpoint") >= received,
        "{received} {record:#?}"
    );
}

/// A call of this host's kernel fails once, on a connection that is well: neither peer is blamed, and both hear of it.
#[test]
fn failure_of_this_host_is_logged_as_such() {
    let Some(mut faults) = Faults::new() else {
        return;
    };
    let error = "no buffer space available";
    // (which call of a thread that serves, whether an endpoint was found by then)
    for (call, served) in [("send", true), ("getpeername", false)] {
        let (log, (endpoint, accepted)) = (LogAt::new(), Backend::by_hand());
        let flags = [&*log.flag, "--metrics-addr=127.0.0.1:0"];
        let launch = Launch::before(&[endpoint.address()], &flags);
        let gateway = faults.launch(launch).start();
        faults.set(&[fails(call, "ENOBUFS").of("accept").times(1)]);
        let admin = admin_of(&gateway);
        if served {
            let (client, server) = (gateway.connect(), accepted.next());
            send(&client, 1, 10);
            for stream in [&server, &client] {
                expect_end(stream, End::Reset);
            }
        } else {
            expect_refused(gateway.address());
        }
        let record = log.only();
        assert_eq!(record.text("cause"), "host_failed", "{record:#?}");
        assert_eq!(record.get("address").is_some(), served, "{record:#?}");
        let client = record.text("client").to_owned();
        let record = gateway.wait_record("reset connection, this host failed");
        assert_eq!(record.text("error"), error, "{record:#?}");
        assert_eq!(record.text("exhausted"), "true", "{record:#?}");
        assert_eq!(record.text("client"), client, "{record:#?}");
        assert_eq!(
            Samples::of(admin).get("connections_ended_total{cause=\"host_failed\"}"),
            1.0
        );
        // And all is well again: this endpoint closes at once.
        drop(accepted);
        expect_end(&gateway.connect(), End::Clean);
    }
}
