//! Clients that are slow, endless, many or not speaking HTTP harm nothing: neither the proxy, nor the next scrape.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::{answer, exchange, get, observed, observed_with};
use crate::support::net::{content, expect_echo, try_connect, try_tag};
use crate::support::process::{self, descriptors, file_limits, set_limit, threads};
use crate::support::{AT_ONCE, Backend, End, Gateway, SOON, connect, end_of, eventually};

/// What is kept open at a time, and a little more for what comes and goes.
const SLACK: usize = 20;

/// The gateway serves a client and a scrape without waiting for slow ones. On a busy machine that takes seconds too, but
/// fewer than slow ones are given.
#[track_caller]
fn assert_well(gateway: &Gateway, admin: SocketAddr) {
    let start = Instant::now();
    let (_, client) = try_tag(gateway.address()).expect("a client is served");
    expect_echo(&client, 7);
    assert_eq!(get(admin, "/healthz").content, "ok\n");
    assert!(start.elapsed() < 6 * AT_ONCE, "took {:?}", start.elapsed());
}

/// The whole request has a time limit, five seconds unless a test sets another: a byte now and then does not extend it.
#[test]
fn slow_requests_are_ended_and_delay_nobody() {
    const TIME: Duration = Duration::from_secs(1);
    let endpoint = Backend::tagged(b't');
    let (gateway, admin) = observed_with("admin_request=1000", &[endpoint.address()]);
    let start = Instant::now();
    let mut slow: Vec<TcpStream> = (0..8).map(|_| connect(admin)).collect();
    let silent = connect(admin);
    for stream in &mut slow {
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: a")
            .expect("begin a request");
    }
    assert_well(&gateway, admin);
    let mut open = true;
    while open {
        assert!(start.elapsed() < SOON, "a slow request is served for ever");
        // A byte to each: the time is for the request, not for a byte of it.
        for stream in &mut slow {
            open &= stream.write_all(b"a").is_ok();
        }
        let mut peeked = [0];
        slow[0].set_nonblocking(true).expect("look without waiting");
        open &= matches!(slow[0].peek(&mut peeked), Err(error) if error.kind() == ErrorKind::WouldBlock);
        slow[0].set_nonblocking(false).expect("wait again");
        std::thread::sleep(Duration::from_millis(50));
    }
    let waited = start.elapsed();
    assert!((TIME..6 * TIME).contains(&waited), "ended after {waited:?}");
    assert_eq!(answer(slow.swap_remove(0)).status, 408);
    // A client that has sent nothing gets no answer.
    assert_eq!(end_of(&silent), (Vec::new(), End::Clean));
}

#[test]
fn endless_and_foreign_requests_are_answered_and_closed() {
    let endpoint = Backend::tagged(b't');
    let (mut gateway, admin) = observed(&[endpoint.address()], &[]);
    // An endless field, and an endless request line: refused at 8 KiB, however much is sent.
    for (start, status) in [("GET / HTTP/1.1\r\nX: ", "431"), ("GET /", "414")] {
        let mut stream = connect(admin);
        stream.write_all(start.as_bytes()).expect("begin a request");
        while stream.write_all(&[b'y'; 4096]).is_ok() {}
        // The answer may be lost in the reset that meets such a client, but nothing else comes.
        let mut got = Vec::new();
        let _ = stream.read_to_end(&mut got);
        let text = String::from_utf8_lossy(&got);
        assert!(
            text.is_empty() || text.starts_with(&format!("HTTP/1.1 {status} ")),
            "{text}"
        );
    }
    // The hello of a TLS client, and noise.
    let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    assert_eq!(exchange(admin, &hello).status, 400);
    for seed in 0..50 {
        let mut noise = [0; 500];
        content(seed).read_exact(&mut noise).expect("endless noise");
        let mut stream = connect(admin);
        // Refused at the first bad byte, perhaps before all is sent.
        let _ = stream.write_all(&noise);
        let mut got = Vec::new();
        let _ = stream.read_to_end(&mut got);
        assert!(
            got.is_empty() || got.starts_with(b"HTTP/1.1 400 "),
            "{got:?}"
        );
    }
    // Only the first of several requests is answered, whatever the others are.
    for second in [
        "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        "\0\x01 rubbish",
        "POST",
    ] {
        let request = format!("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n{second}");
        let reply = exchange(admin, request.as_bytes());
        assert_eq!((reply.status, reply.content.as_str()), (200, "ok\n"));
    }
    assert_well(&gateway, admin);
    gateway.assert_running();
}

/// Answers far larger than what sockets hold, which nobody reads: each keeps a place for a time, no
/// thread and bounded memory, and a scraper that does read is served meanwhile.
#[test]
fn answers_that_nobody_reads_end() {
    let endpoint = Backend::tagged(b't');
    // Nobody listens there, and nobody asks: the first serves, the others fill the page.
    let others = (1..=800).map(|port| SocketAddr::from(([127, 9, 9, 9], port)));
    let all: Vec<SocketAddr> = [endpoint.address()].into_iter().chain(others).collect();
    let (gateway, admin) = observed_with("admin_answer=3000", &all);
    eventually(SOON, "all are tried", || {
        let untried = get(admin, "/metrics").content.contains("state=\"untried\"");
        (!untried).then_some(())
    });
    // The least of what is open at some time: those that nobody listens at are dialled now and then, and the last scrape
    // takes a moment to close.
    let sample = |_| {
        std::thread::sleep(Duration::from_millis(10));
        descriptors(gateway.pid())
    };
    let before = (0..60).map(sample).min().expect("some");
    let page = get(admin, "/metrics").content.len();
    assert!(page > 2_000_000, "{page}");
    let (idle, memory) = (threads(gateway.pid()), process::resident_kib(gateway.pid()));
    let unread: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut stream = connect(admin);
            stream
                .write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
                .expect("send a request");
            stream
        })
        .collect();
    // Times in it have more digits at one moment than at another.
    let read = get(admin, "/metrics").content.len();
    assert!(read.abs_diff(page) < page / 100, "{read} {page}");
    assert!(
        threads(gateway.pid()) <= idle + 4,
        "{}",
        threads(gateway.pid())
    );
    let grown = process::resident_kib(gateway.pid()).saturating_sub(memory) * 1024;
    assert!(grown < 30 * page as u64, "{grown} bytes more");
    eventually(SOON, "the descriptors are given back", || {
        (descriptors(gateway.pid()) <= before).then_some(())
    });
    // Not one of them is left with a whole answer in the kernel: it was thrown away.
    for mut stream in &unread {
        let mut got = Vec::new();
        let end = stream.read_to_end(&mut got);
        assert!(got.len() < page, "{} of {page}", got.len());
        let error = end.expect_err("no clean end of half an answer");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

/// Ten thousand connections, two thousand at a time, silent ones and ones with requests, while clients of the proxy
/// work on.
#[test]
fn a_crowd_disturbs_neither_clients_nor_a_scrape() {
    let endpoint = Backend::tagged(b't');
    let (mut gateway, admin) = observed(&[endpoint.address()], &[]);
    let clients: Vec<TcpStream> = (0..10)
        .map(|_| try_tag(gateway.address()).expect("a client is served").1)
        .collect();
    let before = descriptors(gateway.pid());
    std::thread::scope(|scope| {
        let crowd: Vec<_> = (0..4)
            .map(|index| {
                scope.spawn(move || {
                    let mut held = Vec::new();
                    for number in 0..2_500 {
                        if held.len() == 500 {
                            held.clear();
                        }
                        let Ok(mut stream) = try_connect(admin) else {
                            continue;
                        };
                        match (index + number) % 4 {
                            0 => {
                                drop(stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"))
                            }
                            1 => drop(stream.write_all(b"GET / HT")),
                            2 => drop(stream.write_all(&[0xff; 3])),
                            _ => {}
                        }
                        held.push(stream);
                    }
                    held
                })
            })
            .collect();
        let mut scrapes = 0;
        while !crowd.iter().all(|thread| thread.is_finished()) || scrapes < 3 {
            for client in &clients {
                expect_echo(client, 3);
            }
            let (_, fresh) = try_tag(gateway.address()).expect("a client is served");
            expect_echo(&fresh, 5);
            assert_eq!(get(admin, "/metrics").status, 200);
            scrapes += 1;
            let now = descriptors(gateway.pid());
            assert!(
                now <= before + SLACK + 6,
                "{now} descriptors, {before} before"
            );
        }
        // All of them are still held by the clients; the gateway keeps a few.
        let held: Vec<TcpStream> = crowd
            .into_iter()
            .flat_map(|thread| thread.join().expect("a crowd"))
            .collect();
        assert!(held.len() > 1_900, "{} connections were made", held.len());
        assert_well(&gateway, admin);
    });
    for client in &clients {
        expect_echo(client, 9);
    }
    eventually(SOON, "the descriptors are given back", || {
        (descriptors(gateway.pid()) <= before).then_some(())
    });
    assert!(gateway.records("rejected client").is_empty());
    gateway.assert_running();
}

/// Its connections have no place under the cap, and take none away.
#[test]
fn connections_for_metrics_are_not_clients() {
    let endpoint = Backend::tagged(b't');
    let (gateway, admin) = observed(&[endpoint.address()], &["--max-connections=1"]);
    let (_, client) = try_tag(gateway.address()).expect("the one client is served");
    let _idle: Vec<TcpStream> = (0..10).map(|_| connect(admin)).collect();
    let samples = super::Samples::of(admin);
    assert_eq!(samples.get("connections_total"), 1.0);
    assert_eq!(samples.get("connections_active"), 1.0);
    assert_eq!(samples.get("max_connections"), 1.0);
    expect_echo(&client, 1);
}

/// Without descriptors nothing can be accepted; that is logged now and then, costs no processor, and ends by itself.
#[test]
fn without_descriptors_it_pauses_and_recovers() {
    let endpoint = Backend::tagged(b't');
    let (mut gateway, admin) = observed(&[endpoint.address()], &[]);
    let (_, hard) = file_limits(gateway.pid());
    set_limit(gateway.pid(), &format!("--nofile=8:{hard}"));
    let waiting: Vec<TcpStream> = (0..5).map(|_| connect(admin)).collect();
    gateway.wait_record_where("accept fails", |record| {
        record.text("caller") == "admin" && record.text("msg") == "cannot accept"
    });
    let (before, start) = (process::cpu_time(gateway.pid()), Instant::now());
    // The measuring window.
    std::thread::sleep(Duration::from_secs(1));
    let spent = process::cpu_time(gateway.pid()) - before;
    assert!(
        spent.as_secs_f64() < 0.2 * start.elapsed().as_secs_f64(),
        "{spent:?}"
    );
    set_limit(gateway.pid(), &format!("--nofile={hard}:{hard}"));
    assert_eq!(get(admin, "/healthz").content, "ok\n");
    drop(waiting);
    gateway.assert_running();
}
