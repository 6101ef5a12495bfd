//! The unit that the program prints, under the real systemd: its sandbox lets the program reload, and systemd follows.

use super::*;
use crate::support::gateway::READY;
use crate::support::net::{expect_echo, expect_end};
use crate::support::supervisor::{FAILED, RELOADED};
use crate::support::systemd::Systemd;
use crate::support::{Backend, End};

/// `systemctl reload`, until systemd has another main process; returns that.
#[track_caller]
fn reload(systemd: &Systemd) -> u32 {
    let (old, restarts) = (systemd.main_pid(), systemd.show("NRestarts"));
    systemd.ctl(&["reload", "etcd-gateway"]);
    let new = eventually(SOON, "systemd has another main process", || {
        let now = systemd.main_pid();
        (now != old && systemd.show("SubState") == "running").then_some(now)
    });
    assert_eq!(systemd.show("NRestarts"), restarts, "{}", systemd.log());
    new
}

#[test]
fn systemd_follows_reloads_and_the_death_of_the_main_process() {
    let endpoint = Backend::tagged(b't');
    let endpoints = format!("--endpoints={}", endpoint.address());
    let address = SocketAddr::from(([127, 0, 0, 1], crate::support::ports::free_port()));
    let listen = format!("--listen-addr={address}");
    let flags = [endpoints.as_str(), &listen, "--drain-timeout=1s"];
    let Some(systemd) = Systemd::start(&flags, "RestartSec=50ms\nWatchdogSec=2s") else {
        return;
    };
    let first = systemd.main_pid();
    let held = client(address);
    let clients = Clients::of(address);
    let second = reload(&systemd);
    // An upgrade of the package.
    systemd.upgrade();
    let third = reload(&systemd);
    clients.all_were_served(10);
    expect_echo(&held, 1);
    assert_eq!(systemd.records(RELOADED).len(), 2);
    // The second had no client.
    eventually(SOON, "the second is gone", || {
        (systemd.processes() == [first, third]).then_some(())
    });
    for name in ["NoNewPrivs:\t1", "Seccomp:\t2"] {
        let [old, new] = [first, third].map(|pid| systemd.proc(pid, "status"));
        assert!(old.contains(name) && new.contains(name), "{name}:\n{new}");
    }
    assert_eq!(systemd.proc(first, "limits"), systemd.proc(third, "limits"));
    eventually(SOON, "systemd is told of the old process", || {
        systemd
            .show("StatusText")
            .contains("in an old process")
            .then_some(())
    });

    // The watchdog is on, and fed by the new one: it would have ended by now.
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(systemd.main_pid(), third, "{}", systemd.log());

    // The new one crashes while the old one drains: all end, and the unit starts again.
    systemd.kill("KILL", third);
    expect_end(&held, End::Reset);
    let fourth = eventually(SOON, "the unit is started again", || {
        let restarted = systemd.show("NRestarts") == "1" && systemd.show("ActiveState") == "active";
        restarted.then(|| systemd.main_pid())
    });
    assert_ne!(second, fourth);
    assert_eq!(systemd.processes(), [fourth]);
    let held = client(address);

    // The first clients leave; systemd does not mind the end of a process that is not the main one.
    let fifth = reload(&systemd);
    drop(held);
    eventually(SOON, "the fourth is gone", || {
        (systemd.processes() == [fifth]).then_some(())
    });
    assert_eq!(systemd.show("ActiveState"), "active");

    let held = client(address);
    let sixth = reload(&systemd);
    let other = client(address);
    systemd.ctl(&["stop", "etcd-gateway"]);
    for client in [&held, &other] {
        expect_end(client, End::Reset);
    }
    assert_eq!(systemd.show("Result"), "success", "{}", systemd.log());
    assert_eq!(systemd.show("ActiveState"), "inactive");
    assert!(systemd.processes().is_empty(), "{sixth}");
    let ready = systemd.records(READY).len();
    assert_eq!(ready, 1 + 2 + 1 + 2, "{}", systemd.log());
}

/// The socket is systemd's, and stays so through reloads, failed ones too.
#[test]
fn socket_unit_and_reloads_go_together() {
    let endpoint = Backend::tagged(b't');
    let endpoints = format!("--endpoints={}", endpoint.address());
    let address = SocketAddr::from(([127, 0, 0, 1], crate::support::ports::free_port()));
    let flags = [endpoints.as_str(), "--drain-timeout=300ms"];
    let Some(systemd) = Systemd::start_with(&flags, "RestartSec=50ms", Some(address)) else {
        return;
    };
    let held = client(address);
    let clients = Clients::of(address);
    let first = reload(&systemd);

    // Settings that are wrong are found before the process that serves is asked.
    systemd.replace_by_script("exit 2");
    systemd.cannot_reload();
    assert!(systemd.records(FAILED).is_empty(), "{}", systemd.log());
    systemd.replace_by_script("[ \"$1\" = config ]");
    systemd.ctl(&["reload", "etcd-gateway"]);
    eventually(SOON, "the reload has failed", || {
        systemd.records(FAILED).pop()
    });
    eventually(SOON, "systemd is told", || {
        systemd
            .show("StatusText")
            .contains("1 problem")
            .then_some(())
    });
    assert_eq!(systemd.main_pid(), first);
    assert_eq!(systemd.show("ActiveState"), "active");
    assert_eq!(systemd.show("SubState"), "running");

    systemd.upgrade();
    reload(&systemd);
    assert!(!systemd.show("StatusText").contains("problem"));
    expect_echo(&held, 1);
    clients.all_were_served(10);
    for ready in systemd.records(READY) {
        assert_eq!(ready.texts("listen"), [address.to_string()]);
        assert_eq!(ready.text("listen_from"), "LISTEN_FDS");
    }
    // A restart refuses nobody: whoever comes meanwhile waits in the queue of systemd's socket.
    let clients = Clients::of(address);
    systemd.ctl(&["restart", "etcd-gateway"]);
    expect_end(&held, End::Reset);
    clients.none_failed(1);
}
