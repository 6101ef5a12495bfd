//! Where a gateway listens before and after a reload: what both want is never closed, not for a moment.

use std::net::{Ipv4Addr, TcpListener};

use super::*;
use crate::admin::admin_of;
use crate::support::gateway::READY;
use crate::support::net::expect_echo;
use crate::support::process::descriptors;
use crate::support::{Backend, Launch, TempDir, ports};

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Settings in a file, which a reload reads again.
struct Settings {
    dir: TempDir,
    endpoint: SocketAddr,
}

impl Settings {
    fn before(endpoint: &Backend) -> Settings {
        Settings {
            dir: TempDir::new(),
            endpoint: endpoint.address(),
        }
    }

    /// The flag for it, once these are the addresses.
    fn listening(&self, clients: &[SocketAddr], metrics: Option<SocketAddr>) -> String {
        let clients: Vec<String> = clients.iter().map(SocketAddr::to_string).collect();
        let metrics = metrics.map(|metrics| format!("ETCD_GATEWAY_METRICS_ADDR={metrics}\n"));
        let text = format!(
            "ETCD_GATEWAY_ENDPOINTS={}\nETCD_GATEWAY_LISTEN_ADDR={}\n{}",
            self.endpoint,
            clients.join(","),
            metrics.unwrap_or_default()
        );
        format!("--config-file={}", self.dir.file("settings", &text))
    }
}

fn start(flag: &str) -> Service {
    Service::start(Launch::exactly(&["start", flag]))
}

#[test]
fn listeners_are_kept_closed_and_opened_as_the_settings_say() {
    let endpoint = Backend::tagged(b't');
    let settings = Settings::before(&endpoint);
    let [leaves, stays, comes, metrics, other_metrics] = [0; 5].map(|_| local(ports::free_port()));
    let service = start(&settings.listening(&[stays, leaves], Some(metrics)));
    // In each process, so that all of them live to the end.
    let mut held: Vec<TcpStream> = [leaves, stays].map(client).into();
    let clients = Clients::of(stays);
    let observers = Clients::of_http(metrics, "/metrics");

    settings.listening(&[stays, comes], Some(metrics));
    service.reload();
    held.push(client(comes));
    assert_closes(leaves);
    let ready = service.records(READY).pop().expect("it is ready");
    assert_eq!(
        ready.texts("listen"),
        [stays.to_string(), comes.to_string()]
    );
    observers.all_were_served(3);

    settings.listening(&[stays, comes], Some(other_metrics));
    service.reload();
    assert!(
        http(other_metrics, "/readyz")
            .expect("an answer")
            .starts_with("HTTP/1.1 200")
    );
    assert_closes(metrics);
    held.push(client(stays));

    settings.listening(&[stays, leaves], None);
    service.reload();
    client(leaves);
    assert_closes(comes);
    assert_closes(other_metrics);

    for (seed, client) in held.iter().enumerate() {
        expect_echo(client, seed as u64);
    }
    clients.all_were_served(10);
}

#[test]
fn port_that_the_kernel_chose_is_kept() {
    let endpoint = Backend::tagged(b't');
    let launch = Launch::before(
        &[endpoint.address()],
        &[
            "--listen-addr=127.0.0.1:0,127.0.0.2:0",
            "--metrics-addr=127.0.0.1:0",
        ],
    );
    let service = Service::start(launch);
    let admin = admin_of(&service);
    let clients = [0, 1].map(|which| Clients::of(service.addresses()[which]));
    let observers = Clients::of_http(admin, "/healthz");
    let listen: Vec<String> = service
        .addresses()
        .iter()
        .map(SocketAddr::to_string)
        .collect();
    for _ in 0..3 {
        service.reload();
        let ready = service.records(READY).pop().expect("it is ready");
        assert_eq!(ready.texts("listen"), listen);
    }
    observers.all_were_served(3);
    for clients in clients {
        clients.all_were_served(10);
    }
}

/// Sockets of a service manager, which are passed to the first process alone.
#[test]
fn passed_sockets_are_handed_on() {
    let endpoint = Backend::tagged(b't');
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind port 0");
    let address = listener.local_addr().expect("a bound address");
    let endpoints = format!("--endpoints={}", endpoint.address());
    let passed = listener.try_clone().expect("duplicate a descriptor");
    let launch = Launch::exactly(&["start", &endpoints]).passing(passed);
    let service = Service::start(launch);
    let held = client(address);
    let clients = Clients::of(address);
    let fresh = descriptors(service.serving());
    for round in 0..3 {
        service.reload();
        expect_echo(&held, round);
        let ready = service.records(READY).pop().expect("it is ready");
        assert_eq!(ready.texts("listen"), [address.to_string()]);
        assert_eq!(ready.text("listen_from"), "LISTEN_FDS");
    }
    clients.all_were_served(10);
    let now = descriptors(service.serving());
    // The held client and its endpoint were counted then; the first process is one more now.
    assert!(now <= fresh, "{now} descriptors, {fresh} at first");
    // Who passed it still has it: what comes when the gateway is gone waits for the next.
    service.signal("TERM");
    drop(held);
    service.family.wait_gone(SOON);
    let waiting = net::connect(address);
    listener.set_nonblocking(true).expect("do not wait");
    eventually(SOON, "the client is in the queue", || {
        listener.accept().ok()
    });
    drop(waiting);
}

/// The new address is known to belong to somebody else only when it is bound; what was kept is not touched by that.
#[test]
fn address_that_is_taken_fails_the_reload_and_closes_nothing() {
    let endpoint = Backend::tagged(b't');
    let settings = Settings::before(&endpoint);
    let [stays, metrics] = [0; 2].map(|_| local(ports::free_port()));
    let service = start(&settings.listening(&[stays], Some(metrics)));
    let other = TcpListener::bind("127.0.0.1:0").expect("bind port 0");
    let taken = other.local_addr().expect("a bound address");
    let clients = Clients::of(stays);
    let observers = Clients::of_http(metrics, "/healthz");
    for (wanted, metrics) in [(vec![stays, taken], metrics), (vec![stays], taken)] {
        settings.listening(&wanted, Some(metrics));
        let error = service.fail_to_reload();
        assert!(error.contains("in use"), "{error:?}");
        assert!(error.contains(&taken.to_string()), "{error:?}");
    }
    observers.all_were_served(3);
    clients.all_were_served(10);
}
