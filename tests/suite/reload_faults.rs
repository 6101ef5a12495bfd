//! Reloads in which another process is not what it should be: a successor that stops at each of its steps, a program that is
//! replaced by a script, a parent that ignores SIGCHLD, and signals that arrive during a reload.

use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::admin::{admin_of, wait_sample};
use crate::support::gateway::binary;
use crate::support::net::{expect_echo, try_tag};
use crate::support::process::{signal, tool_text};
use crate::support::supervisor::{FAILED, RELOADED, Service};
use crate::support::{Backend, Launch, SOON, TempDir, eventually};

const REQUESTED: &str = "received SIGUSR2, reloading";
const DRAINING: &str = "received signal, draining";

/// A program at a path, which other programs may take the place of.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(TempDir::new());
        for name in ["etcd-gateway", "genuine"] {
            place.install(&binary().display().to_string(), name);
        }
        place
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// By another process: a file that this one writes may be open in one that it is just starting, and cannot be executed.
    fn install(&self, from: &str, name: &str) {
        let new = self.at("new");
        tool_text("install", &["-m", "755", from, &new]);
        std::fs::rename(new, self.at(name)).expect("replace the program");
    }

    /// The script has `$genuine`, the path of the program itself, `$dir`, and `$control`, the number of the socket.
    fn replace(&self, script: &str) {
        let text = format!(
            "#!/bin/bash\ngenuine={}\ndir={}\ncontrol=${{GATEWAY_HANDOVER##*:}}\ncontrol=${{control%%,*}}\n{script}\n",
            self.at("genuine"),
            self.0.path().display()
        );
        let script = self.0.file("script", &text);
        self.install(&script, "etcd-gateway");
    }

    fn mend(&self) {
        self.install(&self.at("genuine"), "etcd-gateway");
    }

    fn launch(&self, endpoint: &Backend, flags: &[&str]) -> Launch {
        let program = PathBuf::from(self.at("etcd-gateway"));
        Launch::before(&[endpoint.address()], flags).program(program)
    }
}

#[track_caller]
fn client(service: &Service) -> TcpStream {
    let (_, client) = try_tag(service.address()).expect("served");
    client
}

/// What a successor says and does until it stops or ends, and what the error says then.
const STOPS: [(&str, &str); 7] = [
    ("exec sleep 1000", "not ready after"),
    (
        "printf 'started %s' $$ >&$control; exec sleep 1000",
        "not ready after",
    ),
    (
        "printf ready >&$control; exec sleep 1000",
        "not ready after",
    ),
    (
        "printf 'started %s' $$ >&$control; printf ready >&$control; exec sleep 1000",
        "not ready after",
    ),
    // It ends as soon as it is told to serve.
    (
        "printf 'started %s' $$ >&$control; printf ready >&$control; \
         until dd bs=1024 count=1 <&$control 2>/dev/null | grep -q ^serve; do sleep 0.01; done",
        "ended before it was ready",
    ),
    (
        "printf 'failed for a reason' >&$control; exec sleep 1000",
        "for a reason",
    ),
    // It lets go of all that it was given, and stays.
    (
        "for fd in 3 4 5 6 7 8 9; do eval \"exec $fd>&-\"; done; exec bash -c \
         'for fd in /proc/self/fd/*; do fd=${fd##*/}; [ $fd -lt 3 ] || eval \"exec $fd>&-\"; done; exec sleep 1000'",
        "has ended with",
    ),
];

/// Whether the process that reloads is the first one, or one that nobody watches.
#[test]
fn successor_that_stops_at_any_step_changes_nothing() {
    std::thread::scope(|scope| {
        for is_first in [true, false] {
            scope.spawn(move || stop_at_each_step(is_first));
        }
    });
}

fn stop_at_each_step(is_first: bool) {
    let endpoint = Backend::tagged(b't');
    let place = Place::new();
    let launch = place.launch(&endpoint, &["--drain-timeout=1h"]);
    let mut service = Service::start(launch.times("reload_patience=1000"));
    let held = client(&service);
    if !is_first {
        service.reload();
    }
    for (script, words) in STOPS {
        place.replace(script);
        let processes = service.family.gateways();
        let error = service.fail_to_reload();
        assert!(error.contains(words), "{script}: {error}");
        expect_echo(&held, 1);
        expect_echo(&client(&service), 2);
        eventually(SOON, "it is gone", || {
            (service.family.all() == processes).then_some(())
        });
    }
    place.mend();
    service.reload();
    drop(held);
    service.signal("TERM");
    assert_eq!(service.wait_exit(SOON).code(), Some(0));
}

/// It starts the program and does not end, or leaves behind something that has all that it was given.
#[test]
fn script_that_stays_when_it_has_started_the_program_is_not_waited_for() {
    for script in [
        "\"$genuine\" \"$@\"; exec sleep 1000",
        "\"$genuine\" \"$@\"; sleep 1000",
    ] {
        let endpoint = Backend::tagged(b't');
        let place = Place::new();
        let mut service = Service::start(place.launch(&endpoint, &["--drain-timeout=1h"]));
        place.replace(script);
        signal(service.pid(), "USR2");
        service.wait_record(RELOADED);
        client(&service);
        service.signal("TERM");
        assert_eq!(service.wait_exit(SOON).code(), Some(0), "{script}");
    }
}

/// A parent may have SIGCHLD ignored for all that it starts.
#[test]
fn end_of_the_service_is_seen_where_the_parent_ignores_sigchld() {
    let endpoint = Backend::tagged(b't');
    let launch = Launch::before(&[endpoint.address()], &["--drain-timeout=1h"]);
    let launch = launch.wrapped(&["env", "--ignore-signal=CHLD"]);
    let mut service = Service::start(launch);
    service.reload();
    service.wait_record("drained, watching the process that serves");
    signal(service.serving(), "KILL");
    assert_eq!(service.wait_exit(SOON).code(), Some(137));
}

/// A program that waits for a file before it starts.
const WAITS: &str = "until [ -e $dir/go ]; do sleep 0.01; done; exec \"$genuine\" \"$@\"";

/// Whichever process it is: what is asked for while it reloads is done by the next.
#[test]
fn reload_that_is_asked_for_while_another_is_under_way_follows() {
    for later in [false, true] {
        let endpoint = Backend::tagged(b't');
        let place = Place::new();
        let service = Service::start(place.launch(&endpoint, &[]));
        if later {
            service.reload();
        }
        place.replace(WAITS);
        let (serving, done, requested) = (
            service.serving(),
            service.count(RELOADED),
            service.count(REQUESTED),
        );
        signal(serving, "USR2");
        eventually(SOON, "it reloads", || {
            (service.count(REQUESTED) > requested).then_some(())
        });
        for _ in 0..3 {
            signal(serving, "USR2");
        }
        // It is handled before this one is.
        signal(serving, "USR1");
        eventually(SOON, "the signals are handled", || {
            (service.count("status") > 0).then_some(())
        });
        place.0.file("go", "");
        eventually(SOON, "it has reloaded twice", || {
            (service.count(RELOADED) == done + 2).then_some(())
        });
        assert_eq!(service.count(FAILED), 0);
    }
}

/// The new process knows how many connections are left by what the one before it has heard.
#[test]
fn connections_that_end_during_a_reload_are_not_waited_for_later() {
    let endpoint = Backend::tagged(b't');
    let place = Place::new();
    let flags = ["--drain-timeout=1h", "--metrics-addr=127.0.0.1:0"];
    let launch = place.launch(&endpoint, &flags);
    let mut service = Service::start(launch.times("drain_report=10"));
    let admin = admin_of(&service);
    let held = client(&service);
    service.reload();
    wait_sample(admin, "draining_connections", 1.0);
    place.replace(WAITS);
    let requested = service.count(REQUESTED);
    signal(service.serving(), "USR2");
    eventually(SOON, "it reloads", || {
        (service.count(REQUESTED) > requested).then_some(())
    });
    drop(held);
    wait_sample(admin, "draining_processes", 0.0);
    place.0.file("go", "");
    eventually(SOON, "it has reloaded", || {
        (service.count(RELOADED) == 2).then_some(())
    });
    wait_sample(admin, "reloads_total{result=\"success\"}", 2.0);
    wait_sample(admin, "draining_processes", 0.0);
    service.signal("TERM");
    assert_eq!(service.wait_exit(SOON).code(), Some(0));
}

/// The first process is still closing its listeners, and has not said yet how many connections it has.
#[test]
fn signal_to_end_right_after_a_reload_leaves_clients_their_time() {
    let endpoint = Backend::tagged(b't');
    let flags = ["--drain-timeout=1h", "--metrics-addr=127.0.0.1:0"];
    let launch = Launch::before(&[endpoint.address()], &flags);
    let mut service = Service::start(launch.times("accept_patience=200"));
    let held = client(&service);
    // Who asks for metrics and says nothing keeps the first process there.
    let idle = TcpStream::connect(admin_of(&service)).expect("connect");
    eventually(SOON, "it is accepted", || {
        let text = tool_text("ss", &["-Htn", "state", "established"]);
        text.contains(&idle.local_addr().ok()?.port().to_string())
            .then_some(())
    });
    signal(service.pid(), "USR2");
    service.wait_record(RELOADED);
    service.signal("TERM");
    service.wait_record(DRAINING);
    // Far longer than it may take to close listeners.
    for seed in 0..60 {
        expect_echo(&held, seed);
        std::thread::sleep(Duration::from_millis(10));
    }
    service.assert_running();
    drop(idle);
    drop(held);
    assert_eq!(service.wait_exit(SOON).code(), Some(0));
    service.family.wait_gone(SOON);
}

/// The process that serves ends as soon as it hears that the first one has drained, which may be just about to become the watcher.
#[test]
fn status_is_not_lost_when_the_time_of_the_first_process_is_over() {
    let endpoint = Backend::tagged(b't');
    for _ in 0..10 {
        let flags = ["--drain-timeout=10ms"];
        let mut service = Service::before(&[endpoint.address()], &flags);
        let held = client(&service);
        service.reload();
        service.signal("TERM");
        assert_eq!(service.wait_exit(SOON).code(), Some(0));
        drop(held);
    }
}
