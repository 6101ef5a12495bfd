//! The messages to a service manager about reloads, by which process, and in which order: `manager.c` has the rules of systemd.

use super::upgrade::Program;
use super::*;
use crate::support::net::{expect_echo, expect_end};
use crate::support::process::signal;
use crate::support::supervisor::{Event, FAILED, Kind, Plan};
use crate::support::{Backend, End};

#[track_caller]
fn start(plan: Plan) -> Option<Service> {
    let plan = plan.env(
        "ETCDGW_TEST_TIMES",
        "status_interval=20,reload_patience=3000",
    );
    plan.under(Kind::Manager)
}

#[track_caller]
fn wait_event(service: &Service, what: &str, found: impl Fn(&Event) -> bool) -> Event {
    eventually(SOON, what, || {
        service.events().into_iter().find(|event| found(event))
    })
}

/// Nobody but the main process has said anything.
#[track_caller]
fn assert_none_rejected(service: &Service) {
    let rejected: Vec<Event> = service
        .events()
        .into_iter()
        .filter(|event| event.what == "rejected")
        .collect();
    assert!(rejected.is_empty(), "{rejected:#?}");
}

#[test]
fn new_main_process_is_announced_by_the_old_one() {
    let endpoint = Backend::tagged(b't');
    let Some(service) = start(Plan::before(&endpoint, &[])) else {
        return;
    };
    let held = client(service.address());
    let mut processes = vec![service.serving()];
    for _ in 0..3 {
        processes.push(service.reload());
        let new = processes[processes.len() - 1];
        wait_event(&service, "the new one speaks", |event| {
            event.says("STATUS=") && event.pid == new
        });
    }
    let events = service.events();
    let mains: Vec<u32> = events
        .iter()
        .filter(|event| event.what == "main")
        .map(|event| event.pid)
        .collect();
    assert_eq!(mains, processes);
    for pair in processes.windows(2) {
        let [old, new] = pair else { continue };
        let of_old: Vec<&Event> = events
            .iter()
            .filter(|event| event.pid == *old && event.what == "message")
            .collect();
        let at = |start: &str| of_old.iter().position(|event| event.says(start));
        let reloading = at("RELOADING=1").expect("the reload is announced");
        let announced = at("MAINPID=").expect("the new process is announced");
        assert!(reloading < announced, "{of_old:#?}");
        let last = of_old[announced];
        assert!(
            last.says(&format!("MAINPID={new}")) && last.says("READY=1"),
            "{last:?}"
        );
        // It has nothing to say any more.
        assert_eq!(announced, of_old.len() - 1, "{of_old:#?}");
    }
    assert_none_rejected(&service);
    expect_echo(&held, 1);
    drop(held);
    // The first process ends as any other, and the manager does not mind.
    let ended = wait_event(&service, "the first has ended", |event| {
        event.what == "ended" && event.pid == processes[0]
    });
    assert_eq!(ended.text, "0");
    assert_none_rejected(&service);
    client(service.address());
}

/// Also where no process lives long enough for a sign of life of its own: the manager winds up its watchdog at the first READY=1
/// and at each WATCHDOG=1, and at nothing else.
#[test]
fn watchdog_is_fed_by_the_main_process() {
    const INTERVAL: u64 = 2000;
    let endpoint = Backend::tagged(b't');
    let plan = Plan::before(&endpoint, &[]).env("WATCHDOG_USEC", &(INTERVAL * 1000).to_string());
    let Some(service) = plan.under(Kind::Manager) else {
        return;
    };
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(INTERVAL + INTERVAL / 4) {
        service.reload();
        // Less than half of the interval, by which each process would say something.
        std::thread::sleep(Duration::from_millis(INTERVAL / 16));
    }
    let last = service.serving();
    wait_event(&service, "the last one feeds it", |event| {
        event.pid == last && event.says("WATCHDOG=1")
    });
    let events = service.events();
    let ready = events.iter().find(|event| event.says("READY=1"));
    let fed = events.iter().filter(|event| event.says("WATCHDOG=1"));
    let times: Vec<u64> = ready
        .into_iter()
        .chain(fed)
        .map(|event| event.milliseconds)
        .collect();
    for pair in times.windows(2) {
        let silent = pair[1] - pair[0];
        assert!(
            silent < INTERVAL,
            "{silent} ms without a sign of life: {events:#?}"
        );
    }
    assert_none_rejected(&service);
}

#[test]
fn failed_reload_is_reported_and_keeps_the_main_process() {
    let endpoint = Backend::tagged(b't');
    let program = Program::new();
    let Some(service) = start(Plan::before(&endpoint, &[]).program(&program.path())) else {
        return;
    };
    let main = service.serving();
    for script in ["#!/bin/sh\nexit 3\n", "#!/bin/sh\nexec sleep 1000\n"] {
        let before = service.events().len();
        program.replace_with(script);
        service.fail_to_reload();
        let failed = eventually(SOON, "the manager is told", || {
            let events = service.events();
            let told = |event: &&Event| event.says("READY=1");
            events[before..].iter().find(told).cloned()
        });
        assert!(failed.text.contains("problem"), "{failed:?}");
        let events = service.events();
        assert!(
            events[before..]
                .iter()
                .any(|event| event.says("RELOADING=1")),
            "{events:#?}"
        );
        assert!(
            !events.iter().any(|event| event.says("MAINPID=")),
            "{events:#?}"
        );
        assert_eq!(service.serving(), main);
    }
    program.replace();
    let new = service.reload();
    assert_ne!(new, main);
    assert_eq!(service.count(FAILED), 2);
    assert_none_rejected(&service);
}

/// systemd then restarts the unit: whatever else runs must not be in the way.
#[test]
fn death_of_the_main_process_ends_the_draining_ones() {
    let endpoint = Backend::tagged(b't');
    let Some(mut service) = start(Plan::before(&endpoint, &["--drain-timeout=1h"])) else {
        return;
    };
    let held = client(service.address());
    let main = service.reload();
    let other = client(service.address());
    signal(main, "KILL");
    for client in [&held, &other] {
        expect_end(client, End::Reset);
    }
    assert_eq!(service.wait_exit(SOON).code(), Some(137));
    // Also without the manager's SIGTERM, they would have ended: at once, not after the drain.
    service.family.wait_gone(SOON);
}

/// `systemctl reload` once more, sent while nothing has been handed over yet.
#[test]
fn manager_reloads_again_and_again() {
    let endpoint = Backend::tagged(b't');
    let Some(service) = start(Plan::before(&endpoint, &[])) else {
        return;
    };
    let clients = Clients::of(service.address());
    for _ in 0..5 {
        // To the main process, as the manager knows it.
        service.signal("USR2");
    }
    for _ in 0..5 {
        service.reload_by(service.pid());
    }
    clients.all_were_served(10);
    eventually(SOON, "the manager knows the one that serves", || {
        let events = service.events();
        let main = events.iter().rfind(|event| event.what == "main");
        (main.map(|event| event.pid) == Some(service.serving())).then_some(())
    });
    wait_for_only(&service, &[service.serving()]);
    assert_none_rejected(&service);
}
