//! Endpoints that complete TCP handshakes and say nothing, played in this process, with intervals of milliseconds. The
//! same with real members stands in `availability`.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::admin::{Samples, admin_of, endpoints, get};
use crate::support::fault::{Faults, fails};
use crate::support::net::{expect_echo, expect_refused, send, try_tag};
use crate::support::{Backend, End, Gateway, Launch, SOON, TempDir, end_of, eventually, expect};

/// An endpoint that echoes, or keeps quiet for as long as it is told to.
struct Moody {
    backend: Backend,
    quiet: Arc<AtomicBool>,
}

impl Moody {
    fn new(quiet: bool) -> Moody {
        let quiet = Arc::new(AtomicBool::new(quiet));
        let told = Arc::clone(&quiet);
        let backend = Backend::serving(move |stream| {
            let mut chunk = [0; 4096];
            // Bytes wait in the kernel meanwhile, as for a process that is stopped.
            loop {
                while told.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                let (mut reader, mut writer) = (stream, stream);
                let count = std::io::Read::read(&mut reader, &mut chunk).unwrap_or(0);
                while told.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                if count == 0 || std::io::Write::write_all(&mut writer, &chunk[..count]).is_err() {
                    return;
                }
            }
        });
        Moody { backend, quiet }
    }

    fn address(&self) -> SocketAddr {
        self.backend.address()
    }

    fn keep_quiet(&self, quiet: bool) {
        self.quiet.store(quiet, Ordering::SeqCst);
    }
}

impl Drop for Moody {
    fn drop(&mut self) {
        self.keep_quiet(false);
    }
}

const TIMES: &str = "answer_look=10,session_look=20,ask_again=50";

fn start(all: &[&Moody], flags: &[&str]) -> (Gateway, SocketAddr) {
    let addresses: Vec<_> = all.iter().map(|moody| moody.address()).collect();
    let own = ["--metrics-addr=127.0.0.1:0", "--answer-timeout=150ms"];
    let launch = Launch::before(&addresses, &[&own[..], flags].concat());
    let gateway = launch.times(TIMES).start();
    let admin = admin_of(&gateway);
    (gateway, admin)
}

/// The state of an endpoint.
fn state(admin: SocketAddr, of: &Moody) -> String {
    let (_, all) = endpoints(admin);
    let address = of.address().to_string();
    let own = all.iter().find(|json| json.text("address") == address);
    own.expect("it is an endpoint").text("state").to_owned()
}

#[track_caller]
fn wait_state(admin: SocketAddr, of: &Moody, wanted: &str) {
    eventually(SOON, "the state changes", || {
        (state(admin, of) == wanted).then_some(())
    });
}

/// Opens connections, each with a word, until there is one to each endpoint.
fn one_for_each(gateway: &Gateway, count: usize) -> Vec<TcpStream> {
    let all: Vec<TcpStream> = (0..count).map(|_| gateway.connect()).collect();
    all.iter().for_each(|client| send(client, 7, 1));
    all
}

#[test]
fn one_that_says_nothing_is_second_choice_until_it_answers() {
    let (sick, one, other) = (Moody::new(true), Moody::new(false), Moody::new(false));
    let dir = TempDir::new();
    let access = format!("--access-log={}", dir.path().join("access").display());
    let flags = ["--dial-timeout=400ms", &access];
    let (gateway, admin) = start(&[&sick, &one, &other], &flags);
    wait_state(admin, &sick, "active");
    let clients = one_for_each(&gateway, 3);
    wait_state(admin, &sick, "silent");
    // From now on nobody is connected to it.
    let before = sick.backend.accepted();
    for seed in 0..9 {
        expect_echo(&gateway.connect(), seed);
    }
    assert!(sick.backend.accepted() <= before + 2, "probes alone");
    let said = "endpoint accepts connections and does not answer";
    assert_eq!(gateway.records(said).len(), 1, "{}", gateway.text());
    let record = gateway.wait_record(said);
    assert_eq!(record.text("address"), sick.address().to_string());
    let samples = Samples::of(admin);
    let of = |name: &str, labels: &str| {
        samples.get(&format!("{name}{{address=\"{}\"{labels}}}", sick.address()))
    };
    assert_eq!(of("endpoint_healthy", ""), 0.0);
    assert_eq!(of("endpoint_up", ""), 0.0);
    assert_eq!(of("endpoint_state", ",state=\"silent\""), 1.0);
    assert_eq!(of("endpoint_unanswered_total", ""), 1.0);
    assert!(of("endpoint_probes_total", ",result=\"silent\"") >= 1.0);
    assert_eq!(get(admin, "/readyz").status(), 200);
    // Of the first three one has hung: it is reset, the others have had their answer and live on.
    let ends = std::thread::scope(|scope| {
        let threads = clients.iter().map(|client| {
            scope.spawn(|| {
                let mut byte = [0];
                std::io::Read::read(&mut &*client, &mut byte).is_ok()
            })
        });
        let threads: Vec<_> = threads.collect();
        let ends = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"));
        ends.collect::<Vec<bool>>()
    });
    assert_eq!(ends.iter().filter(|answered| **answered).count(), 2);
    gateway.wait_record("reset connections that were never answered");
    eventually(SOON, "the access log says why", || {
        let text = std::fs::read_to_string(dir.path().join("access")).unwrap_or_default();
        text.contains("\"cause\":\"unanswered\"").then_some(())
    });
    // With its first answer it is back, and clients are given to it.
    sick.keep_quiet(false);
    wait_state(admin, &sick, "active");
    gateway.wait_record("endpoint answers again");
    let before = sick.backend.accepted();
    for seed in 0..3 {
        expect_echo(&gateway.connect(), seed);
    }
    assert!(sick.backend.accepted() > before);
}

/// Where none is better, nobody is reset, and all are served with the first word.
#[test]
fn all_that_say_nothing_serve_as_before() {
    let all = [(); 3].map(|()| Moody::new(true));
    let (gateway, admin) = start(&[&all[0], &all[1], &all[2]], &["--dial-timeout=100ms"]);
    let clients = one_for_each(&gateway, 6);
    for sick in &all {
        wait_state(admin, sick, "silent");
    }
    let record = gateway.wait_record("no endpoint is active");
    assert_eq!(record.text("level"), "error");
    assert_eq!(
        get(admin, "/readyz").status(),
        200,
        "they serve for want of others"
    );
    let late = one_for_each(&gateway, 3);
    std::thread::sleep(Duration::from_millis(300));
    all.iter().for_each(|sick| sick.keep_quiet(false));
    for client in clients.iter().chain(&late) {
        expect(client, 7, 1);
    }
    gateway.wait_record("an endpoint is active again");
    assert!(gateway.records("rejected client").is_empty());
    assert!(
        gateway
            .records("reset connections that were never answered")
            .is_empty()
    );
}

#[test]
fn without_a_timeout_nobody_is_suspected() {
    let (sick, well) = (Moody::new(true), Moody::new(false));
    let (gateway, admin) = start(
        &[&sick, &well],
        &["--answer-timeout=0s", "--dial-timeout=50ms"],
    );
    let clients = one_for_each(&gateway, 2);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(state(admin, &sick), "active");
    assert_eq!(sick.backend.accepted(), 1, "no probe");
    sick.keep_quiet(false);
    clients.iter().for_each(|client| expect(client, 7, 1));
    drop(gateway);
}

/// A connection that is open already is left alone, unless it is asked for otherwise.
#[test]
fn close_unhealthy_resets_what_is_open_once() {
    let (sick, well) = (Moody::new(false), Moody::new(false));
    let (gateway, admin) = start(&[&sick, &well], &["--close-unhealthy=200ms"]);
    let clients: Vec<TcpStream> = (0..4).map(|_| gateway.connect()).collect();
    clients.iter().for_each(|client| expect_echo(client, 1));
    sick.keep_quiet(true);
    let fresh = one_for_each(&gateway, 2);
    wait_state(admin, &sick, "silent");
    let record = gateway.wait_record("reset connections to a silent endpoint");
    assert!(record.number("connections") >= 2.0, "{record:#?}");
    let clients: Vec<&TcpStream> = clients.iter().collect();
    let alive = clients.iter().copied().filter(|client| {
        let (mut reader, mut writer) = (*client, *client);
        let sent = std::io::Write::write_all(&mut writer, &[2]);
        sent.and_then(|()| std::io::Read::read(&mut reader, &mut [0]))
            .is_ok_and(|count| count == 1)
    });
    assert_eq!(alive.count(), 2, "those to the other live on");
    drop(fresh);
}

/// Nobody has to come and fail for an endpoint that has gone to be found.
#[test]
fn one_that_ends_all_its_connections_at_once_is_dialled_again() {
    let (mut going, staying) = (Backend::tagged(b'g'), Backend::tagged(b's'));
    let gateway = Launch::before(&[going.address(), staying.address()], &[])
        .times("ask_again=1")
        .start();
    let clients = (0..6).map(|_| try_tag(gateway.address()).expect("served"));
    let (theirs, others): (Vec<_>, Vec<_>) = clients.partition(|(tag, _)| *tag == b'g');
    going.down();
    for (_, client) in &theirs {
        assert_ne!(end_of(client).1, End::Reset);
    }
    drop(theirs);
    let record = gateway.wait_record("deactivated endpoint");
    assert_eq!(record.text("address"), going.address().to_string());
    others.iter().for_each(|(_, client)| expect_echo(client, 1));
}

#[test]
fn health_fails_while_no_client_can_get_a_thread() {
    let Some(mut faults) = Faults::new() else {
        return;
    };
    let member = Backend::echo();
    let launch = Launch::before(&[member.address()], &["--metrics-addr=127.0.0.1:0"]);
    let gateway = faults.launch(launch.times("worker_patience=1")).start();
    let admin = admin_of(&gateway);
    let wait = |status: u16| {
        for path in ["/healthz", "/readyz"] {
            let reply = eventually(SOON, "health follows", || {
                Some(get(admin, path)).filter(|reply| reply.status() == status)
            });
            if status == 503 {
                let expected = "no client can be served: cannot start a thread: resource temporarily unavailable";
                assert_eq!(reply.content.trim_end(), expected);
            }
        }
    };
    wait(200);
    faults.set(&[fails("pthread_create", "EAGAIN")]);
    wait(503);
    expect_refused(gateway.address());
    faults.set(&[]);
    wait(200);
    expect_echo(&gateway.connect(), 1);
}

/// `READY=1` and the line come when clients are accepted; that an endpoint serves is known a moment later, or not.
#[test]
fn readiness_waits_for_the_first_answer() {
    let hole = crate::support::BlackHole::new();
    let flags = ["--metrics-addr=127.0.0.1:0", "--dial-timeout=1h"];
    let gateway = Launch::before(&[hole.address()], &flags).start();
    let admin = admin_of(&gateway);
    let reply = get(admin, "/readyz");
    assert_eq!(reply.status(), 503);
    assert_eq!(reply.content, "no endpoint has answered yet\n");
    let (_, all) = endpoints(admin);
    assert_eq!(all[0].text("state"), "untried");
    let client = gateway.connect();
    drop(client);
    let answered = Backend::echo();
    let flags = ["--metrics-addr=127.0.0.1:0"];
    let other = Launch::before(&[answered.address()], &flags).start();
    let admin = admin_of(&other);
    eventually(SOON, "it is ready", || {
        (get(admin, "/readyz").status() == 200).then_some(())
    });
    let (_, all) = endpoints(admin);
    assert!(all[0].text("last_answer_at").starts_with("20"), "{all:?}");
}
