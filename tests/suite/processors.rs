//! The program on every processor and with every C library that it is built for (`tests/tools/targets.sh`), by itself or
//! under an emulator (qemu-user): `make foreign` builds it. Whether constants, layouts and stack sizes are right there is
//! seen by what clients, members and operators get; and the unit tests run where octets have another order, or words
//! another size.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::admin::{Samples, admin_of};
use crate::auth::algorithms::keys_of_every_kind;
use crate::support::dns::FakeDns;
use crate::support::front::{Face, Front, TlsServer, ask};
use crate::support::gateway::READY;
use crate::support::isolated::isolated;
use crate::support::net::{end_writing, expect_echo, tag, try_tag};
use crate::support::pki::{Pki, Request};
use crate::support::process::tool_text;
use crate::support::{
    Backend, End, Gateway, Launch, SOON, TempDir, connect, eventually, expect, expect_end, reset,
    send, skipped, up_to_date,
};

/// All tests for each target; where nothing could be built for it they are skipped.
macro_rules! targets {
    ($($module:ident $target:literal),* $(,)?) => {
        const TARGETS: &[&str] = &[$($target),*];
        $(mod $module {
            use super::*;

            const ON: Target = Target($target);

            #[test]
            fn bytes_and_ends_arrive() { ON.run(super::bytes_and_ends_arrive); }

            #[test]
            fn resets_and_the_drain_work() { ON.run(super::resets_and_the_drain_work); }

            #[test]
            fn members_of_records_are_followed() {
                ON.run(|program| {
                    isolated(members_of_records_are_followed, |_| super::members_of_records_are_followed(program));
                });
            }

            #[test]
            fn keys_of_every_kind_prove_a_member() {
                ON.run(|program| keys_of_every_kind(&|launch| program.runs(launch)));
            }

            #[test]
            fn impostors_get_no_client() { ON.run(super::impostors_get_no_client); }

            #[test]
            fn members_of_a_file_are_followed() { ON.run(super::members_of_a_file_are_followed); }

            #[test]
            fn sockets_are_taken_over() { ON.run(super::sockets_are_taken_over); }

            #[test]
            fn what_is_measured_is_right() { ON.run(super::what_is_measured_is_right); }
        })*
    };
}

targets! {
    x86_64_musl "x86_64-unknown-linux-musl",
    i686_gnu "i686-unknown-linux-gnu",
    i686_musl "i686-unknown-linux-musl",
    aarch64_gnu "aarch64-unknown-linux-gnu",
    aarch64_musl "aarch64-unknown-linux-musl",
    riscv64_gnu "riscv64gc-unknown-linux-gnu",
    armv7_gnu "armv7-unknown-linux-gnueabihf",
    powerpc64le_gnu "powerpc64le-unknown-linux-gnu",
    s390x_gnu "s390x-unknown-linux-gnu",
}

/// Calls functions of the shell file that has the table of targets.
fn table(words: &[&str]) -> Vec<String> {
    const SCRIPT: &str = ". tests/tools/targets.sh && \"$@\"";
    let text = tool_text("sh", &[&["-c", SCRIPT, "sh"], words].concat());
    text.split_whitespace().map(str::to_owned).collect()
}

/// But for the one that the whole suite is for, which on another host than x86_64 is tested here and there.
#[test]
fn every_target_of_the_table_is_here() {
    let mut listed = table(&["targets"]);
    listed.retain(|target| target != "x86_64-unknown-linux-gnu");
    assert_eq!(listed, TARGETS);
}

/// A target by its name.
struct Target(&'static str);

impl Target {
    /// Has `test` use the program that was built for it.
    fn run(&self, test: impl FnOnce(&Program)) {
        if let Some(program) = self.built("debug/etcd-gateway") {
            test(&program);
        }
    }

    fn built(&self, name: &str) -> Option<Program> {
        let target = self.0;
        let path = up_to_date(&Path::new("foreign").join(target).join(name));
        if path.is_none() {
            skipped(&format!("{name} for {target} (make foreign)"));
        }
        let runner = table(&["target_runner", target]);
        path.map(|path| Program { path, runner })
    }
}

/// What a build without optimization, under an emulator, on a host that is busy with other tests, takes at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program, and the words before it that have it run here.
struct Program {
    path: PathBuf,
    runner: Vec<String>,
}

impl Program {
    /// A launch of it instead of the one that is built for this host.
    fn runs(&self, launch: Launch) -> Launch {
        let runner: Vec<&str> = self.runner.iter().map(String::as_str).collect();
        let launch = launch.program(self.path.clone()).wrapped(&runner);
        launch.patient(PATIENCE)
    }

    #[track_caller]
    fn start(&self, endpoints: &[&Backend], flags: &[&str]) -> Gateway {
        let addresses: Vec<_> = endpoints.iter().map(|member| member.address()).collect();
        self.runs(Launch::before(&addresses, flags)).start()
    }
}

#[track_caller]
fn stop(gateway: Gateway) {
    gateway.signal("TERM");
    expect_success(gateway);
}

#[track_caller]
fn expect_success(mut gateway: Gateway) {
    let status = gateway.wait_exit(PATIENCE);
    assert_eq!(status.code(), Some(0), "{status}\n{}", gateway.text());
}

/// More than a message, so that both threads of a session and its pipe are used.
const LENGTH: u64 = 3_000_000;

fn bytes_and_ends_arrive(program: &Program) {
    let endpoint = Backend::echo();
    let gateway = program.start(&[&endpoint], &[]);
    for seed in 0..3 {
        let client = connect(gateway.address());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                send(&client, seed, LENGTH);
                end_writing(&client);
            });
            expect(&client, seed, LENGTH);
            expect_end(&client, End::Clean);
        });
    }
    // The answer begins when the request has ended.
    let (endpoint, accepted) = Backend::by_hand();
    let gateway = program.start(&[&endpoint], &[]);
    let client = connect(gateway.address());
    send(&client, 4, 100);
    end_writing(&client);
    let server = accepted.next();
    expect(&server, 4, 100);
    expect_end(&server, End::Clean);
    send(&server, 5, 100);
    drop(server);
    expect(&client, 5, 100);
    expect_end(&client, End::Clean);
    stop(gateway);
}

fn resets_and_the_drain_work(program: &Program) {
    let (endpoint, accepted) = Backend::by_hand();
    let gateway = program.start(&[&endpoint], &["--drain-timeout=200ms"]);
    let pair = || {
        let client = connect(gateway.address());
        let server = accepted.next();
        send(&client, 1, 100);
        expect(&server, 1, 100);
        (client, server)
    };
    let (client, server) = pair();
    reset(client);
    expect_end(&server, End::Reset);
    let (client, server) = pair();
    reset(server);
    expect_end(&client, End::Reset);
    let (client, server) = pair();
    gateway.signal("TERM");
    expect_end(&client, End::Reset);
    expect_end(&server, End::Reset);
    expect_success(gateway);
}

fn members_of_records_are_followed(program: &Program) {
    let member = |number: u8| {
        let address = ([127, 1, 0, number], 2379).into();
        let mut member = Backend::dead_at(address).expect("bind a member's address");
        member.up_tagged(number);
        member
    };
    let (_first, _second) = (member(1), member(2));
    let dns = FakeDns::start("127.0.0.1");
    let publish = |number| {
        let owner = "_etcd-client._tcp.x.test";
        dns.publish(&format!(
            "{owner} SRV 0 0 2379 m.test\nm.test A 127.1.0.{number}\n"
        ));
    };
    publish(1);
    let flags = ["--discovery-srv=x.test", "--insecure-discovery"];
    let launch = Launch::start_with(&flags).times("refresh_pause=20");
    let gateway = program.runs(launch).start();
    assert_eq!(tag(gateway.address()).0, 1);
    publish(2);
    gateway.signal("HUP");
    gateway.wait_record("endpoints changed");
    assert_eq!(tag(gateway.address()).0, 2);
    stop(gateway);
}

fn impostors_get_no_client(program: &Program) {
    let dir = TempDir::new();
    let Some(pki) = Pki::below(dir.path()) else {
        return;
    };
    let root = pki.root("true CA");
    let front = |number: u8, authority| {
        let shown = pki.issue(authority, &Request::server("DNS:x.test"));
        Front::anywhere(number, Face::Tls(TlsServer::start(&pki, &shown, &[])))
    };
    let (member, impostor) = (front(1, &root), front(2, &pki.root("false CA")));
    let flags = [
        "--verify-endpoints",
        "--dial-timeout=1m",
        "--discovery-server-name=x.test",
        "--trusted-ca-file",
        &root.certificate,
    ];
    let addresses = [impostor.address(), member.address()];
    let gateway = program.runs(Launch::before(&addresses, &flags)).start();
    gateway.wait_record("endpoint failed authentication; not sending it connections");
    for _ in 0..4 {
        assert_eq!(ask(gateway.address()).expect("a client is served"), 1);
    }
    stop(gateway);
}

fn members_of_a_file_are_followed(program: &Program) {
    let dir = TempDir::new();
    let members = [b'a', b'b'].map(Backend::tagged);
    let file = dir.file("members", &format!("{}\n", members[0].address()));
    let flag = format!("--endpoints-file={file}");
    let launch = Launch::start_with(&[&flag]).times("file_look=100,refresh_pause=20");
    let gateway = program.runs(launch).start();
    assert_eq!(tag(gateway.address()).0, b'a');
    let new = dir.file("new", &format!("{}\n", members[1].address()));
    fs::rename(new, file).expect("rename the new file");
    eventually(SOON, "the new member serves", || {
        let (tag, _) = try_tag(gateway.address()).ok()?;
        (tag == b'b').then_some(())
    });
    stop(gateway);
}

fn sockets_are_taken_over(program: &Program) {
    let endpoint = Backend::tagged(b't');
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind port 0");
    let address = listener.local_addr().expect("a bound address");
    let endpoints = format!("--endpoints={}", endpoint.address());
    let launch = Launch::exactly(&["start", &endpoints]).passing(listener);
    let gateway = program.runs(launch).start();
    let ready = gateway.wait_record(READY);
    assert_eq!(ready.text("listen_from"), "LISTEN_FDS");
    assert_eq!(tag(address).0, b't');
    stop(gateway);
}

/// The limit of descriptors shows whether `struct rlimit` is right, when it is read and when it is set.
fn what_is_measured_is_right(program: &Program) {
    const LIMIT: u32 = 300;
    let endpoint = Backend::echo();
    let flags = ["--metrics-addr=127.0.0.1:0"];
    let launch = Launch::before(&[endpoint.address()], &flags);
    let limited = launch.wrapped(&["prlimit", &format!("--nofile=100:{LIMIT}")]);
    let gateway = program.runs(limited).start();
    assert_eq!(
        gateway.wait_record(READY).text("bounded_by"),
        "RLIMIT_NOFILE"
    );
    let client = connect(gateway.address());
    expect_echo(&client, 1);
    gateway.signal("USR1");
    gateway.wait_record("status");
    let samples = Samples::of(admin_of(&gateway));
    let passed = |direction| {
        let address = endpoint.address();
        let labels = format!("{{address=\"{address}\",direction=\"{direction}\"}}");
        samples.get(&format!("endpoint_bytes_total{labels}"))
    };
    assert_eq!([passed("to_endpoint"), passed("to_client")], [100.0; 2]);
    assert_eq!(samples.get("process_max_fds"), f64::from(LIMIT));
    assert!(samples.get("process_cpu_seconds_total") < 60.0);
    assert!(samples.get("process_resident_memory_bytes") > 100_000.0);
    drop(client);
    stop(gateway);
}

/// Runs the unit tests that were built for a target, but for those whose names hold one of `skipped`.
#[track_caller]
fn expect_unit_tests(target: &'static str, modules: &[&str], skipped: &[&str], least: usize) {
    let Some(Program { path, runner }) = Target(target).built("unit-tests") else {
        return;
    };
    let words: Vec<_> = runner
        .into_iter()
        .chain([path.display().to_string()])
        .collect();
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .args(modules)
        .arg("--test-threads=2");
    for name in skipped {
        command.args(["--skip", name]);
    }
    let output = command.output().expect("run the unit tests");
    let [said, errors] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(
        output.status.success(),
        "{target}: {}\n{said}\n{errors}",
        output.status
    );
    let passed = said
        .rsplit_once("test result: ok. ")
        .and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    assert!(passed >= Some(least), "{target}: {said}");
}

/// Those of all that takes octets apart, but for one: qemu-user has four octets of TCP_INFO for it. Of the others, those of
/// `loop_guard` could not pass: they read the host's own /proc/net/tcp, whose addresses have the host's order of octets.
#[test]
fn unit_tests_pass_where_octets_have_the_other_order() {
    let modules = [
        "addr::", "cli::", "crypto::", "dns::", "sys::", "tls::", "url::", "wire::", "x509::",
    ];
    let untranslated = ["the_kernel_tells_of_a_reader_that_does_not_read"];
    expect_unit_tests("s390x-unknown-linux-gnu", &modules, &untranslated, 300);
}

#[test]
fn unit_tests_pass_where_words_have_32_bits() {
    expect_unit_tests("i686-unknown-linux-gnu", &[], &[], 700);
}
