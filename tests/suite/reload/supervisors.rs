//! Who started it sees one process, that lives as long as the service does and takes the signals that are for it.

use std::process::Stdio;

use super::*;
use crate::support::gateway::READY;
use crate::support::net::{expect_echo, expect_end};
use crate::support::process::{signal, threads, tool_text};
use crate::support::supervisor::{Kind, Plan, RELOADED, stat};
use crate::support::{Backend, End, child_command, ports};

/// Waits for one more record with this message than there were.
#[track_caller]
fn one_more(service: &Service, msg: &str, cause: impl FnOnce()) {
    let before = service.count(msg);
    cause();
    eventually(SOON, &format!("{msg:?} is logged"), || {
        (service.count(msg) > before).then_some(())
    });
}

fn cmdline(pid: u32) -> Vec<u8> {
    std::fs::read(format!("/proc/{pid}/cmdline")).expect("the process runs")
}

/// Stops the service as its administrator would.
#[track_caller]
fn stop(kind: Kind, service: &Service, first: u32) {
    let dir = service
        .dir
        .path()
        .to_str()
        .expect("a temporary path in UTF-8");
    match kind {
        Kind::ByHand | Kind::First => signal(first, "TERM"),
        Kind::Manager => service.signal("TERM"),
        Kind::Loop => {
            service.signal("KILL");
            signal(first, "TERM");
        }
        Kind::Runit => drop(tool_text("sv", &["-w", "10", "stop", dir])),
        Kind::S6 => drop(tool_text("s6-svc", &["-wD", "-T", "10000", "-d", dir])),
        Kind::Supervisord => {
            let settings = format!("{dir}/supervisord.conf");
            tool_text("supervisorctl", &["-c", &settings, "stop", "gateway"]);
        }
    }
}

/// The life of a service under one of them.
#[track_caller]
fn life_under(kind: Kind) {
    let endpoint = Backend::tagged(b't');
    let address = SocketAddr::from(([127, 0, 0, 1], ports::free_port()));
    let listen = format!("--listen-addr={address}");
    // One that is free when the service is started again.
    let plan = Plan::before(&endpoint, &[&listen, "--drain-timeout=300ms"]);
    let Some(mut service) = plan.under(kind) else {
        return;
    };
    let first = service.serving();
    let arguments = cmdline(first);
    let parent = stat(first).expect("it runs").parent;
    let held = client(address);
    let clients = Clients::of(address);
    one_more(&service, RELOADED, || signal(first, "USR2"));
    let second = service.serving();
    // To the one that was started first: it is the only one its supervisor knows.
    if kind == Kind::Manager {
        service.reload();
    } else {
        service.reload_by(first);
    }
    expect_echo(&held, 1);
    drop(held);
    if kind == Kind::Manager {
        wait_for_only(&service, &[service.serving()]);
    } else {
        wait_for_only(&service, &[first, service.serving()]);
        assert_eq!(stat(first).expect("it runs").parent, parent);
        assert_eq!(cmdline(first), arguments, "as ps shows it");
        assert_ne!(second, first);
        // Signals to it reach the one that serves.
        one_more(&service, "status", || signal(first, "USR1"));
        one_more(&service, "received SIGHUP, refreshing endpoints", || {
            signal(first, "HUP")
        });
        service.reload_by(first);
        one_more(&service, "status", || signal(first, "USR1"));
    }
    clients.all_were_served(10);
    assert!(
        service.statuses().is_empty(),
        "nothing was started again: {:?}",
        service.statuses()
    );

    let (mut first, mut held) = (first, client(address));
    if kind.restarts() {
        // A crash of the one that serves, with another that drains.
        service.reload();
        let starts = service.count(READY);
        signal(service.serving(), "KILL");
        expect_end(&held, End::Reset);
        eventually(SOON, "the service is started again", || {
            (service.count(READY) > starts).then_some(())
        });
        let status = match kind {
            // runsv and s6-supervise pass on what waitpid(2) says, and it ended by exit(2).
            Kind::Loop | Kind::Runit | Kind::S6 => service.statuses(),
            _ => {
                let log = std::fs::read_to_string(service.dir.path().join("supervisord.log"));
                let log = log.expect("read the log of supervisord");
                let (_, status) = log.split_once("exit status ").expect("an exit status");
                vec![status.chars().take_while(char::is_ascii_digit).collect()]
            }
        };
        assert_eq!(status, ["137"]);
        first = service.serving();
        held = client(address);
        service.reload_by(first);
    }
    let starts = service.count(READY);
    stop(
        kind,
        &service,
        if kind == Kind::Manager {
            service.serving()
        } else {
            first
        },
    );
    expect_end(&held, End::Reset);
    service.family.wait_gone(SOON);
    assert_eq!(service.count(READY), starts, "nothing was started again");
    if matches!(kind, Kind::ByHand | Kind::First | Kind::Manager) {
        assert_eq!(service.wait_exit(SOON).code(), Some(0));
    }
}

#[test]
fn by_hand() {
    life_under(Kind::ByHand);
}

#[test]
fn loop_of_a_shell() {
    life_under(Kind::Loop);
}

#[test]
fn runit() {
    life_under(Kind::Runit);
}

#[test]
fn s6() {
    life_under(Kind::S6);
}

#[test]
fn supervisord() {
    life_under(Kind::Supervisord);
}

#[test]
fn first_process_of_a_container() {
    life_under(Kind::First);
}

#[test]
fn service_manager() {
    life_under(Kind::Manager);
}

#[test]
fn status_of_a_crash_is_that_of_the_first_process() {
    let endpoint = Backend::tagged(b't');
    for kind in [Kind::ByHand, Kind::First] {
        let Some(mut service) = Plan::before(&endpoint, &[]).under(kind) else {
            continue;
        };
        let serving = service.reload();
        signal(serving, "KILL");
        assert_eq!(service.wait_exit(SOON).code(), Some(137), "{kind:?}");
        service.family.wait_gone(SOON);
    }
}

/// The first process executes itself anew when its last client leaves, and at no time is there nobody to take a signal.
#[test]
fn signals_are_taken_while_the_first_process_becomes_the_watcher() {
    // All but the last are sent without a pause, so some come at any moment of it.
    const SCRIPT: &str =
        "while kill -USR1 $0 && kill -HUP $0 && [ ! -e \"$1\" ]; do :; done 2>/dev/null";
    let endpoint = Backend::tagged(b't');
    for round in 0..5 {
        let mut service = Service::before(&[endpoint.address()], &[]);
        let held = client(service.address());
        let serving = service.reload();
        let enough = service.dir.path().join("enough");
        let pid = service.pid().to_string();
        let mut sender = child_command("sh")
            .args(["-c", SCRIPT, &pid])
            .arg(&enough)
            .spawn()
            .expect("run sh");
        drop(held);
        // Not by its log: of so many lines some are dropped.
        eventually(SOON, "it has executed itself", || {
            (threads(service.pid()) == 1).then_some(())
        });
        one_more(&service, "status", || {});
        std::fs::write(&enough, "").expect("write a file");
        assert!(
            sender.wait().expect("wait for sh").success(),
            "round {round}"
        );
        service.assert_running();
        assert_eq!(service.serving(), serving, "round {round}");
    }
}

/// The same for the signal that matters most: it is neither lost nor taken for another.
#[test]
fn signal_to_end_is_not_lost_while_the_first_process_becomes_the_watcher() {
    let endpoint = Backend::tagged(b't');
    for round in 0..10 {
        let mut service = Service::before(&[endpoint.address()], &["--drain-timeout=1h"]);
        let held = client(service.address());
        service.reload();
        let pid = service.pid().to_string();
        // Before, while and after the last session ends.
        let script = format!("read -r _; {} kill -TERM $0", ":; ".repeat(round * 400));
        let mut sender = child_command("sh")
            .args(["-c", &script, &pid])
            .stdin(Stdio::piped())
            .spawn()
            .expect("run sh");
        let go = sender.stdin.take().expect("stdin is piped");
        std::thread::scope(|scope| {
            scope.spawn(|| drop(held));
            scope.spawn(|| drop(go));
        });
        assert!(
            sender.wait().expect("wait for sh").success(),
            "round {round}"
        );
        assert_eq!(service.wait_exit(SOON).code(), Some(0), "round {round}");
        service.family.wait_gone(SOON);
    }
}
