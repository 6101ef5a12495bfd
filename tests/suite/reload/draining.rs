//! Processes that drain: how many, for how long, and where an operator sees them.

use super::*;
use crate::admin::{Samples, admin_of, endpoints, get, page, wait_sample};
use crate::status::ask;
use crate::support::net::{expect_echo, expect_end};
use crate::support::supervisor::{Kind, Plan, RELOADED};
use crate::support::{Backend, End, Launch};

/// As the README says.
const MOST: usize = 8;

#[test]
fn ninth_process_that_drains_ends_the_oldest() {
    let endpoint = Backend::tagged(b't');
    // Under a service manager each process ends for good; by hand the first one stays to watch.
    for kind in [Kind::ByHand, Kind::Manager] {
        let plan = Plan::before(&endpoint, &["--metrics-addr=127.0.0.1:0"]);
        let Some(service) = plan
            .env("ETCDGW_TEST_TIMES", "status_interval=20,drain_report=20")
            .under(kind)
        else {
            return;
        };
        let (gateway, admin) = (service.address(), admin_of(&service));
        let first = service.serving();
        let mut clients = Vec::new();
        for round in 0..MOST {
            clients.push(client(gateway));
            service.reload();
            let draining = round as f64 + 1.0;
            wait_sample(admin, "draining_processes", draining);
            wait_sample(admin, "draining_connections", draining);
            wait_sample(admin, "reloads_total{result=\"success\"}", draining);
        }
        for (seed, client) in clients.iter().enumerate() {
            expect_echo(client, seed as u64);
        }
        for (round, oldest) in clients.iter().enumerate().take(2) {
            let youngest = client(gateway);
            service.reload();
            expect_end(oldest, End::Reset);
            for (seed, client) in clients[round + 1..].iter().enumerate() {
                expect_echo(client, seed as u64);
            }
            wait_sample(admin, "draining_processes", MOST as f64);
            clients_live(&youngest);
            std::mem::forget(youngest);
        }
        assert_eq!(
            service.family.gateways().contains(&first),
            kind == Kind::ByHand
        );
    }
}

#[track_caller]
fn clients_live(client: &TcpStream) {
    expect_echo(client, 99);
}

#[test]
fn draining_processes_are_shown_wherever_an_operator_looks() {
    let endpoint = Backend::tagged(b't');
    let plan = Plan::before(&endpoint, &["--metrics-addr=127.0.0.1:0"]);
    let plan = plan.env("ETCDGW_TEST_TIMES", "status_interval=20,drain_report=20");
    let Some(service) = plan.under(Kind::Manager) else {
        return;
    };
    let (gateway, admin) = (service.address(), admin_of(&service));
    assert_eq!(Samples::of(admin).get("draining_processes"), 0.0);
    let clients: Vec<TcpStream> = (0..3).map(|_| client(gateway)).collect();
    service.reload();
    let _fourth = client(gateway);
    service.reload();
    wait_sample(admin, "draining_processes", 2.0);
    wait_sample(admin, "draining_connections", 4.0);
    // Not among those of the process itself.
    assert_eq!(Samples::of(admin).get("connections_active"), 0.0);
    let (json, _) = endpoints(admin);
    assert!(format!("{json:?}").contains("draining"), "{json:?}");
    let open = get(admin, "/connections").content;
    assert!(
        open.contains("\"draining_processes\":2,\"draining_connections\":4,\"connections\":[]"),
        "{open}"
    );
    let page = page(admin).content;
    assert!(page.contains("connections in old processes"), "{page}");
    eventually(SOON, "the service manager is told", || {
        let events = service.events();
        events
            .iter()
            .any(|event| event.text.contains("4 in 2 old processes"))
            .then_some(())
    });
    drop(clients);
    wait_sample(admin, "draining_processes", 1.0);
    wait_sample(admin, "draining_connections", 1.0);
    let status = ask(&service);
    assert_eq!(status[0].text("state"), "serving");
}

#[test]
fn reload_timeout_resets_what_is_left() {
    const TIMEOUT: Duration = Duration::from_millis(700);
    let endpoint = Backend::tagged(b't');
    let launch = Launch::before(&[endpoint.address()], &["--reload-timeout=700ms"]);
    let service = Service::start(launch);
    let held = client(service.address());
    let start = Instant::now();
    let new = service.reload();
    let other = client(service.address());
    expect_echo(&held, 1);
    expect_end(&held, End::Reset);
    let waited = start.elapsed();
    assert!((TIMEOUT..TIMEOUT * 6).contains(&waited), "{waited:?}");
    expect_echo(&other, 2);
    wait_for_only(&service, &[service.pid(), new]);
    let record = service.records(RELOADED).pop().expect("there is one");
    assert_eq!(record.number("connections"), 1.0);
    assert_eq!(record.number("successor"), f64::from(new));
    assert_eq!(record.text("caller"), "reload");
}

/// Without a timeout a client has for ever; what it does meanwhile is as before.
#[test]
fn client_of_an_old_process_stays_as_long_as_it_likes() {
    let endpoint = Backend::tagged(b't');
    let times = "silence=20,session_look=20,answer_look=20,worker_patience=20";
    let launch = Launch::before(&[endpoint.address()], &["--drain-timeout=1ms"]);
    let service = Service::start(launch.times(times));
    let held = client(service.address());
    let new = service.reload();
    for seed in 0..10 {
        expect_echo(&held, seed);
        // So long that it counts as silent.
        std::thread::sleep(Duration::from_millis(30));
    }
    drop(held);
    wait_for_only(&service, &[service.pid(), new]);
}
