//! Threads, signals and sockets that a start cannot have.

use std::io::Read;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::rig::log_faults;
use crate::support::fault::{Faults, Rule, fails};
use crate::support::gateway::READY;
use crate::support::net::{tag, try_connect};
use crate::support::ports::free_port;
use crate::support::{Backend, Gateway, Launch, SOON, TempDir, eventually};

/// The first thread's name.
const MAIN: &str = "etcd-gateway";

/// What the service manager was told so far.
fn told(manager: &UnixDatagram) -> String {
    manager.set_nonblocking(true).expect("do not wait");
    let (mut all, mut datagram) = (String::new(), [0; 4096]);
    while let Ok(count) = manager.recv(&mut datagram) {
        all += &String::from_utf8_lossy(&datagram[..count]);
    }
    all
}

/// The exit code of a start that fails; `None` if it is ready.
fn outcome(gateway: &mut Gateway) -> Option<i32> {
    eventually(SOON, "it is ready, or ends", || {
        let ready = gateway.text().contains(READY);
        let code = gateway.ended().map(|status| status.code().unwrap_or(-1));
        // What it wrote last is read before its end is known.
        code.map(Some).or(ready.then_some(None))
    })
}

/// Whichever it is: nobody is served by half a gateway, and nobody is told that it is ready.
#[test]
fn start_that_lacks_a_thread_fails_before_it_says_that_it_is_ready() {
    let Some(mut faults) = Faults::new() else {
        return;
    };
    let (dir, endpoint) = (TempDir::new(), Backend::tagged(b't'));
    let mut lacking = 0;
    loop {
        let path = dir.path().join(format!("notify-{lacking}"));
        let manager = UnixDatagram::bind(&path).expect("bind the manager's socket");
        let listen = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
        let access = format!("--access-log={}", dir.path().join("access.log").display());
        let flags = [
            &format!("--listen-addr={listen}"),
            "--metrics-addr=127.0.0.1:0",
            "--close-removed=1s",
            &access,
        ];
        let launch = Launch::before(&[endpoint.address()], &flags);
        let launch = launch.env("NOTIFY_SOCKET", path.to_str().expect("a path in UTF-8"));
        let rule = fails("pthread_create", "EAGAIN").of(MAIN);
        let rules = faults.set(&[rule.after(lacking).times(1)]);
        let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
        let lacked = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let mut byte = [0];
                    let client = try_connect(listen);
                    let read = client.and_then(|mut client| client.read(&mut byte));
                    served.fetch_add(usize::from(matches!(read, Ok(1))), Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            let mut gateway = faults.launch(launch).start_to_be();
            let code = outcome(&mut gateway);
            stop.store(true, Ordering::SeqCst);
            (code, gateway.text())
        });
        let (code, text) = lacked;
        let hit = faults.hits(rules)[0] > 0;
        let case = format!("without thread {lacking}: exit {code:?}, log:\n{text}");
        assert_eq!(code, hit.then_some(1), "{case}");
        if !hit {
            // All have been tried. Signals, log, monitor, discovery, admin, accept are the least.
            assert!(lacking >= 6, "{case}");
            return;
        }
        let told = told(&manager);
        assert!(!told.contains("READY=1"), "told {told:?}, {case}");
        assert!(!text.contains(READY), "{case}");
        assert_eq!(served.load(Ordering::SeqCst), 0, "clients served, {case}");
        lacking += 1;
    }
}

/// Nothing else could end it in order then.
#[test]
fn gateway_that_cannot_wait_for_signals_ends() {
    let Some(mut faults) = Faults::new() else {
        return;
    };
    let endpoint = Backend::tagged(b't');
    let launch = Launch::before(&[endpoint.address()], &[]);
    let mut gateway = faults.launch(launch).start();
    tag(gateway.address());
    let rules = faults.set(&[fails("sigwait", "EINVAL")]);
    // It waits already; the next wait fails.
    gateway.signal("USR1");
    let status = gateway.wait_exit(SOON);
    assert_eq!(status.code(), Some(1), "{}", gateway.text());
    assert_eq!(faults.hits(rules), [1]);
    let wrong = log_faults(&gateway.lines());
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn start_that_cannot_listen_says_what_can_help() {
    let Some(mut faults) = Faults::new() else {
        return;
    };
    let endpoint = Backend::tagged(b't');
    let never = ["choose another address", "1024", "LimitNPROC", "(os error"];
    let cases: [(Rule, &[&str]); 10] = [
        // (what fails, what must not be said)
        (fails("socket", "EMFILE").on("socket"), &never),
        (fails("socket", "ENOMEM").on("socket"), &never),
        (fails("setsockopt", "ENOMEM").on("socket"), &never),
        (fails("setsockopt", "ENOBUFS").on("socket"), &never),
        (fails("setsockopt", "EPERM").on("socket"), &never),
        (fails("bind", "ENOMEM").on("socket"), &never),
        (fails("listen", "ENOBUFS"), &never),
        (fails("getsockname", "ENOBUFS").on("listen"), &never),
        (fails("eventfd", "EMFILE"), &never),
        (
            fails("pthread_create", "EAGAIN"),
            &["another address", "(os error"],
        ),
    ];
    for (rule, never) in cases {
        let rules = faults.set(&[rule]);
        let launch = Launch::before(&[endpoint.address()], &["--metrics-addr=127.0.0.1:0"]);
        let mut gateway = faults.launch(launch).start_to_be();
        let code = outcome(&mut gateway);
        let text = gateway.text();
        assert!(faults.hits(rules)[0] > 0, "{rule:?} never hit");
        let case = format!("{rule:?}: exit {code:?}:\n{text}");
        assert_eq!(code, Some(1), "{case}");
        for words in never {
            assert!(!text.contains(words), "{words:?} in {case}");
        }
    }
}
