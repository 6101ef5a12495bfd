//! The program on other processors, under an emulator (qemu-user): `make foreign` builds it. Whether it serves at all
//! there, with the constants, layouts and stack sizes that a C library has on that processor.

use std::net::Shutdown;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::gateway::Launch;
use crate::support::process::have;
use crate::support::{Backend, End, connect, expect, expect_end, reset, send, skipped, up_to_date};

/// A processor: the target's name, its emulator, and where that finds its C library.
const PROCESSORS: [(&str, &str, &str); 1] = [(
    "aarch64-unknown-linux-gnu",
    "qemu-aarch64-static",
    "/usr/aarch64-linux-gnu",
)];

/// How the program starts on each of them that can be had here.
fn launches(flags: &[&str], endpoints: &[&Backend]) -> Vec<(&'static str, Launch)> {
    let addresses: Vec<_> = endpoints
        .iter()
        .map(|endpoint| endpoint.address())
        .collect();
    let launch = |(target, emulator, root): (&'static str, &str, &str)| {
        let program = up_to_date(&PathBuf::from(format!(
            "foreign/{target}/release/etcd-gateway"
        )));
        let Some(program) = program.filter(|_| have(emulator)) else {
            skipped(&format!(
                "the program for {target} (make foreign), or {emulator}"
            ));
            return None;
        };
        let launch = Launch::before(&addresses, flags).program(program);
        Some((target, launch.wrapped(&[emulator, "-L", root])))
    };
    PROCESSORS.into_iter().filter_map(launch).collect()
}

/// More than a message, so that both threads of a session and its pipe are used.
const LENGTH: u64 = 3_000_000;

#[test]
fn clients_are_served_on_every_processor() {
    let endpoint = Backend::echo();
    for (target, launch) in launches(&[], &[&endpoint]) {
        let mut gateway = launch.start();
        for seed in 0..3 {
            let client = connect(gateway.address());
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    send(&client, seed, LENGTH);
                    client.shutdown(Shutdown::Write).expect("end the direction");
                });
                expect(&client, seed, LENGTH);
                expect_end(&client, End::Clean);
            });
        }
        gateway.signal("TERM");
        let status = gateway.wait_exit(Duration::from_secs(10));
        assert_eq!(status.code(), Some(0), "{target}: {status}");
    }
}

#[test]
fn resets_and_the_drain_work_on_every_processor() {
    let endpoint = Backend::echo();
    for (target, launch) in launches(&["--drain-timeout=200ms"], &[&endpoint]) {
        let mut gateway = launch.start();
        let cut = connect(gateway.address());
        send(&cut, 1, 100);
        expect(&cut, 1, 100);
        reset(cut);
        let open = connect(gateway.address());
        send(&open, 2, 100);
        expect(&open, 2, 100);
        gateway.signal("TERM");
        expect_end(&open, End::Reset);
        let status = gateway.wait_exit(Duration::from_secs(10));
        assert_eq!(status.code(), Some(0), "{target}: {status}");
    }
}
