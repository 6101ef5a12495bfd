//! What a process has that came of many reloads: as much as the first one had, and no more.

use std::collections::BTreeMap;
use std::process::Stdio;

use super::*;
use crate::support::process::{descriptors, resident_kib, threads};
use crate::support::supervisor::{Kind, Plan, name, stat};
use crate::support::{Backend, Launch, child_command};

const RELOADS: usize = 20;

/// What must not change from process to process: rights, signals, limits, names.
fn nature(pid: u32) -> BTreeMap<String, String> {
    const FIELDS: [&str; 16] = [
        "Name",
        "Umask",
        "Uid",
        "Gid",
        "Groups",
        "SigBlk",
        "SigIgn",
        "SigCgt",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
        "Cpus_allowed",
    ];
    let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).expect("the process runs");
    let text = |file: &str| String::from_utf8_lossy(&read(file)).into_owned();
    let status = text("status");
    let fields = status.lines().filter_map(|line| line.split_once(':'));
    let mut nature: BTreeMap<String, String> = fields
        .filter(|(name, _)| FIELDS.contains(name))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    assert_eq!(nature.len(), FIELDS.len(), "{nature:?}");
    for file in [
        "limits",
        "cmdline",
        "oom_score_adj",
        "cgroup",
        "timerslack_ns",
    ] {
        nature.insert(file.to_owned(), text(file));
    }
    for link in ["cwd", "root", "fd/0", "fd/1", "fd/2"] {
        let target = std::fs::read_link(format!("/proc/{pid}/{link}")).expect("the process runs");
        nature.insert(link.to_owned(), format!("{target:?}"));
    }
    let environment = text("environ");
    let variables = environment
        .split('\0')
        .filter(|variable| !variable.starts_with("GATEWAY_HANDOVER="));
    let mut variables: Vec<&str> = variables.collect();
    variables.sort_unstable();
    nature.insert("environ".to_owned(), variables.join("\n"));
    nature
}

/// Waits until the figure is this: threads of the start end, descriptors of clients that have left are closed.
#[track_caller]
fn wait_figure(what: &str, wanted: usize, figure: impl Fn() -> usize) {
    let deadline = Instant::now() + SOON;
    loop {
        let last = figure();
        if last == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: {last}, not {wanted}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn descriptor_targets(pid: u32) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("list /proc/PID/fd");
    let targets = entries
        .flatten()
        .filter_map(|entry| entry.path().read_link().ok());
    targets.map(|target| format!("{target:?}")).collect()
}

/// How many descriptors a program has that opens none.
fn inherited() -> usize {
    let mut idle = child_command("sleep")
        .arg("100")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("run sleep");
    let executed = || (name(idle.id()).as_deref() == Some("sleep")).then_some(());
    eventually(SOON, "sleep is executed", executed);
    // What the dynamic linker reads is closed by now, or soon.
    let mut count = 0;
    eventually(SOON, "sleep sleeps", || {
        let now = descriptors(idle.id());
        let settled = stat(idle.id()).is_some_and(|stat| stat.state == 'S') && now == count;
        count = now;
        settled.then_some(())
    });
    let _ = idle.kill();
    let _ = idle.wait();
    count
}

#[test]
fn process_of_twenty_reloads_is_as_the_first() {
    let endpoint = Backend::tagged(b't');
    let wrapper = ["prlimit", "--nofile=600:1000"];
    let times = "worker_patience=50";
    let flags = ["--metrics-addr=127.0.0.1:0"];
    let launch = Launch::before(&[endpoint.address()], &flags);
    let service = Service::start(launch.wrapped(&wrapper).times(times));
    let first = service.serving();
    let (fresh_nature, resident) = (nature(first), resident_kib(first));
    assert_eq!(fresh_nature["NoNewPrivs"], "1");
    let fresh = descriptors(first);
    let fresh_threads = threads(first);
    let _stays = client(service.address());
    let mut held = Vec::new();
    for round in 0..RELOADS {
        service.reload();
        // In the first, of course, and in two others.
        if round == 5 || round == 10 {
            held.push(client(service.address()));
        }
    }
    let last = service.serving();
    wait_figure("gateways", 4, || service.family.gateways().len());
    // One control socket for each process that drains.
    let targets = descriptor_targets(last);
    wait_figure(&format!("descriptors, {targets:?}"), fresh + 3, || {
        descriptors(last)
    });
    drop(held);
    wait_figure("gateways", 2, || service.family.gateways().len());
    wait_figure("descriptors", fresh + 1, || descriptors(last));
    let more = threads(last).saturating_sub(fresh_threads);
    assert!(more <= 2, "{more} threads more");
    let now = resident_kib(last);
    assert!(
        now < resident + resident / 4 + 512,
        "{now} KiB, {resident} at first"
    );
    assert!(service.family.zombies().is_empty());
    assert_eq!(nature(last), fresh_nature);
}

/// A process that watches is small, and waits.
#[test]
fn watcher_has_nothing_but_what_it_needs() {
    let endpoint = Backend::tagged(b't');
    let flags = ["--metrics-addr=127.0.0.1:0", "--access-log=/dev/null"];
    let service = Service::before(&[endpoint.address()], &flags);
    let (first, fresh_nature) = (service.pid(), nature(service.pid()));
    let held = client(service.address());
    service.reload();
    drop(held);
    // The control socket, its signals, and what every process that these tests start has.
    let least = inherited() + 2;
    eventually(SOON, "the first process only watches", || {
        let listens = service.family.listening(service.address()).contains(&first);
        (!listens && threads(first) == 1 && descriptors(first) == least).then_some(())
    });
    assert_eq!(nature(first)["cmdline"], fresh_nature["cmdline"]);
    assert_eq!(nature(first)["Name"], fresh_nature["Name"]);
    // It takes part in each later reload.
    for _ in 0..10 {
        service.reload();
    }
    assert_eq!(descriptors(first), least, "{:?}", descriptor_targets(first));
    wait_for_only(&service, &[first, service.serving()]);
    assert!(service.family.zombies().is_empty());
}

/// The same under a service manager, where each process ends and the manager waits for it.
#[test]
fn nothing_accumulates_under_a_service_manager() {
    let endpoint = Backend::tagged(b't');
    let Some(service) = Plan::before(&endpoint, &[]).under(Kind::Manager) else {
        return;
    };
    let first = service.serving();
    let (fresh, mut fresh_nature) = (descriptors(first), nature(first));
    for _ in 0..RELOADS {
        service.reload();
    }
    let last = service.serving();
    wait_for_only(&service, &[last]);
    wait_figure("descriptors", fresh, || descriptors(last));
    let mut now = nature(last);
    // What the manager gives the first process alone.
    for nature in [&mut now, &mut fresh_nature] {
        nature.remove("environ");
    }
    assert_eq!(now, fresh_nature);
    let ended = service
        .events()
        .iter()
        .filter(|event| event.what == "ended" && event.text == "0")
        .count();
    assert!(ended >= RELOADS, "{ended} processes have ended");
    assert!(service.family.zombies().is_empty());
}
