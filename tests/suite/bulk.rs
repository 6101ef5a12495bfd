//! How many threads and descriptors a connection takes as it becomes busy, transfers bulk and is idle again, and that each way
//! of copying copies the same bytes.

use crate::support::net::{end_writing, expect_echo};
use crate::support::process::{descriptors, have, threads};
use crate::support::{
    Backend, End, Gateway, Launch, SOON, eventually, expect, expect_end, host_offers, send,
};

const MIB: u64 = 1024 * 1024;

/// Sends much in both directions and the ends after it.
fn exchange(gateway: &Gateway, backend: &crate::support::backend::Accepted) {
    let client = gateway.connect();
    let server = backend.next();
    for (from, to, seed) in [(&client, &server, 1), (&server, &client, 2)] {
        std::thread::scope(|scope| {
            scope.spawn(move || {
                send(from, seed, 24 * MIB + 1);
                end_writing(from);
            });
            expect(to, seed, 24 * MIB + 1);
            expect_end(to, End::Clean);
        });
    }
}

/// The kernel's own way of moving bytes fails from its first call on, fails only on the way out with bytes in the
/// pipe, fails once, and is interrupted: the bytes are the same, and it is tried again, if seldom.
#[test]
fn bulk_is_exact_where_the_kernel_does_not_splice() {
    if !host_offers(have("strace"), "strace") {
        return;
    }
    // (which calls of each thread fail how, the pause after a refusal in milliseconds, whether bulk goes on through
    // pipes, whether that it does not is logged)
    let cases = [
        ("inject=splice:error=ENOSYS", 1000, false, false),
        ("inject=splice:error=EPERM", 1, false, true),
        ("inject=splice:error=EACCES", 1000, false, false),
        ("inject=splice:error=EINVAL:when=2", 1, true, false),
        ("inject=splice:error=EINVAL:when=3+", 1000, false, false),
        ("inject=splice:error=EINTR:when=1+3", 1000, true, false),
        ("inject=splice:error=EAGAIN:when=2+7", 1000, true, false),
    ];
    for (fault, pause, spliced, logged) in cases {
        let (endpoint, accepted) = Backend::by_hand();
        let trace = crate::support::TempDir::new();
        let log = trace.path().join("trace");
        let log = log.to_str().expect("a plain path");
        let strace = [
            "strace",
            "-f",
            "-qq",
            "-D",
            "-o",
            log,
            "-e",
            "trace=splice",
            "-e",
            fault,
        ];
        let gateway = Launch::before(&[endpoint.address()], &[])
            .wrapped(&strace)
            .times(&format!("splice_pause={pause}"))
            .start();
        exchange(&gateway, &accepted);
        let calls = std::fs::read_to_string(log).expect("read the trace");
        let count = calls
            .lines()
            .filter(|line| line.contains("splice("))
            .count();
        assert!(
            count > 0 && (count > 30) == spliced,
            "{fault}: {count} calls"
        );
        if logged {
            let told = "cannot splice; copying instead";
            let record = gateway.wait_record(told);
            assert_eq!(record.text("error"), "operation not permitted");
            assert_eq!(gateway.records(told).len(), 1, "once, not for each refusal");
        }
    }
}

#[test]
fn an_idle_connection_has_one_thread_and_a_busy_one_two() {
    let endpoint = Backend::echo();
    let gateway = Gateway::before(&[&endpoint], &[]);
    // The first has a worker; what the start has tried is over by then.
    let first = gateway.connect();
    expect_echo(&first, 0);
    let before = threads(gateway.pid()) - 1;
    let others = (1..10).map(|_| gateway.connect());
    let clients: Vec<_> = std::iter::once(first).chain(others).collect();
    for (seed, client) in (0..).zip(&clients) {
        expect_echo(client, seed);
    }
    assert_eq!(threads(gateway.pid()), before + 10);
    // Messages without a pause between them.
    eventually(SOON, "a busy connection gets its second thread", || {
        (0..50).for_each(|seed| expect_echo(&clients[0], seed));
        (threads(gateway.pid()) == before + 11).then_some(())
    });
    for (seed, client) in (0..).zip(&clients) {
        expect_echo(client, seed);
    }
}

/// Threads of connections that have ended serve the next ones; nothing piles up.
#[test]
fn threads_are_used_again() {
    let endpoint = Backend::echo();
    let gateway = Gateway::before(&[&endpoint], &[]);
    expect_echo(&gateway.connect(), 0);
    let before = threads(gateway.pid());
    for seed in 0..200 {
        let client = gateway.connect();
        expect_echo(&client, seed);
        end_writing(&client);
        expect_end(&client, End::Clean);
    }
    // One that ends may not be ready yet when the next begins.
    let grown = threads(gateway.pid()).saturating_sub(before);
    assert!(grown < 10, "{grown} threads more");
}

#[test]
fn a_connection_that_is_idle_after_bulk_holds_two_descriptors() {
    let (endpoint, accepted) = Backend::by_hand();
    let gateway = Gateway::before(&[&endpoint], &[]);
    let before = descriptors(gateway.pid());
    let pairs: Vec<_> = (0..8)
        .map(|_| (gateway.connect(), accepted.next()))
        .collect();
    std::thread::scope(|scope| {
        for (client, server) in &pairs {
            scope.spawn(move || send(server, 1, 24 * MIB));
            scope.spawn(move || expect(client, 1, 24 * MIB));
        }
    });
    // Four pipes are kept for the next bulk, whoever's that will be.
    eventually(SOON, "pipes are given back", || {
        (descriptors(gateway.pid()) <= before + 2 * pairs.len() + 2 * 4).then_some(())
    });
    for (client, server) in &pairs {
        send(client, 2, 10);
        expect(server, 2, 10);
    }
}
