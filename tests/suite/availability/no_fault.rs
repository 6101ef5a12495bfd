//! Nothing is wrong: no member is asked anything (A10), and a member that answers late by right stays what it is (A11).

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::access::Access;
use super::load::Call;
use super::members::{Setup, client};
use super::observed::{metric, states};
use super::rig::{FEATURE, Plan, Rig};
use super::vocabulary::{PROBES, SILENT, UNANSWERED, label};
use super::{LONG, seconds};
use crate::support::isolated::isolated_within;
use crate::support::{SOON, eventually};

/// What a busy connection asks, again and again.
const ASK: &str =
    "POST /v3/kv/range HTTP/1.1\r\nHost: etcd\r\nContent-Length: 14\r\n\r\n{\"key\":\"Zm9v\"}";
/// Between an answer and the next question.
const PAUSE: Duration = Duration::from_millis(500);

/// What etcd says when the host is busy.
const SLOWNESS: [&str; 3] = ["took too long", "heartbeat", "\"trace["];

/// A number that the environment may set: the whole experiment is 1,000 idle and 200 busy connections for 600 s.
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// A TLS connection through the gateway; ended when dropped.
struct Pipe {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
}

impl Pipe {
    fn open(access: &Access, gateway: &str) -> Pipe {
        let mut command = access.tls_pipe(gateway, "http/1.1").expect("a TLS cluster");
        let mut child = command.spawn().expect("run openssl");
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        Pipe {
            child,
            stdin,
            stdout,
        }
    }

    /// Asks until told to stop, and counts the answers.
    fn ask(mut self, stop: &AtomicBool, answers: &AtomicU64, ends: &AtomicU64) {
        let (mut stdin, mut stdout) = (self.stdin.take(), self.stdout.take());
        let mut bytes = [0; 4096];
        while !stop.load(Ordering::SeqCst) {
            let asked = stdin
                .as_mut()
                .map(|to| to.write_all(ASK.as_bytes()).is_ok());
            let count = stdout.as_mut().and_then(|from| from.read(&mut bytes).ok());
            if asked != Some(true) || count.is_none_or(|count| count == 0) {
                if !stop.load(Ordering::SeqCst) {
                    ends.fetch_add(1, Ordering::SeqCst);
                }
                return;
            }
            answers.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(PAUSE);
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "an experiment of minutes: make soak SOAK=A10, A10_SECONDS=600 A10_IDLE=1000 A10_BUSY=200 for all of it"]
fn a10_healthy() {
    let (time, idle, busy) = (
        number("A10_SECONDS", 60),
        number("A10_IDLE", 200),
        number("A10_BUSY", 40),
    );
    isolated_within(LONG + seconds(time), a10_healthy, |site| {
        let plan = Plan {
            calls: &[],
            held: 0,
            control: None,
            // A client of several members leaves some in the middle of a handshake, which they log.
            direct: (Call::EtcdctlPut, &[1]),
            ..Plan::new("A10")
        };
        let Some(rig) = Rig::start(site, Setup::MUTUAL, plan) else {
            return;
        };
        // A gateway dials each of them once when it starts, which a member that speaks TLS logs.
        eventually(SOON, "the dials of the start are logged", || {
            let told = |index: usize| {
                let lines = rig.cluster.log_lines(index);
                lines
                    .iter()
                    .any(|line| line.contains("rejected connection"))
            };
            (0..3).all(told).then_some(())
        });
        let lines = [0, 1, 2].map(|index| rig.cluster.log_lines(index).len());
        let gateway = rig.feature().address.clone();
        let open = || Pipe::open(&rig.cluster.access, &gateway);
        let (stop, answers, ends) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicU64::new(0)),
        );
        let kept: Vec<Pipe> = (0..idle).map(|_| open()).collect();
        let askers: Vec<_> = (0..busy)
            .map(|_| {
                let pipe = open();
                let (stop, answers, ends) =
                    (Arc::clone(&stop), Arc::clone(&answers), Arc::clone(&ends));
                std::thread::spawn(move || pipe.ask(&stop, &answers, &ends))
            })
            .collect();
        eventually(
            8 * SOON,
            "all are connected and one in ten has asked",
            || {
                let open = metric(rig.feature().admin, "etcd_gateway_connections_active", &[])?;
                let all = open >= f64::from(u32::try_from(idle + busy).ok()?);
                (all && answers.load(Ordering::SeqCst) * 10 >= busy).then_some(())
            },
        );
        rig.pass(time);
        let counts = [PROBES, UNANSWERED].map(|name| rig.metric(name, &[]));
        let logged: Vec<String> = (0..3)
            .flat_map(|index| rig.cluster.log_lines(index).split_off(lines[index]))
            .collect();
        let open = rig.metric("etcd_gateway_connections_active", &[]);
        stop.store(true, Ordering::SeqCst);
        for asker in askers {
            asker.join().expect("a client does not panic");
        }
        drop(kept);
        let outcome = rig.finish();
        let mut report = outcome.report();
        outcome.print(&report, &[("all", Duration::ZERO..seconds(time))]);
        report.say(&format!(
            "{idle} idle and {busy} busy for {time} s: {} answers, {open:?} connections open",
            answers.load(Ordering::SeqCst)
        ));
        let ends = ends.load(Ordering::SeqCst);
        report.hold(ends == 0, &format!("no busy connection ends: {ends}"));
        report.hold(
            counts[0] == Some(0.0),
            &format!("no probe: {:?}", counts[0]),
        );
        report.say(&format!("suspicions: {:?}", counts[1]));
        // A host that is busy makes etcd complain of its own slowness.
        let (slow, rest): (Vec<&String>, Vec<&String>) = logged
            .iter()
            .partition(|line| SLOWNESS.iter().any(|word| line.contains(word)));
        report.say(&format!("{} lines on etcd's own slowness", slow.len()));
        let first = rest.first();
        report.hold(
            rest.is_empty(),
            &format!("no line in etcd's log: {} {first:?}", rest.len()),
        );
        report.end();
    });
}

/// `{"name":"lock"}`, in base64, of a lock that another holds.
const LOCK: &str = r#"{"name":"bG9jaw=="}"#;
const WAITING: usize = 20;

#[test]
#[ignore = "an experiment of a minute and a half: make soak SOAK=A11"]
fn a11_calls_that_wait() {
    isolated_within(LONG, a11_calls_that_wait, |site| {
        let plan = Plan {
            control: None,
            held: 0,
            ..Plan::new("A11")
        };
        let Some(rig) = Rig::start(site, Setup::chosen(), plan) else {
            return;
        };
        let access = &rig.cluster.access;
        let held = [
            "lock",
            "lock",
            "--",
            "sh",
            "-c",
            "echo held; exec sleep 200",
        ];
        let mut command = access.etcdctl(&client(1), &held);
        let mut holder = command.stdout(Stdio::piped()).spawn().expect("run etcdctl");
        let mut said = [0; 4];
        let stdout = holder.stdout.as_mut().expect("stdout is piped");
        stdout
            .read_exact(&mut said)
            .expect("etcdctl says something");
        assert_eq!(&said, b"held", "the lock is held");
        let begun = rig.now();
        let mut waiting: Vec<Child> = (0..WAITING)
            .map(|_| {
                let mut curl = access.curl(&rig.feature().address, "/v3/lock/lock", LOCK, 120);
                curl.stdout(Stdio::null()).stderr(Stdio::null());
                curl.spawn().expect("run curl")
            })
            .collect();
        rig.pass(60);
        let end = rig.now();
        let ended: Vec<_> = waiting
            .iter_mut()
            .filter_map(|curl| curl.try_wait().expect("wait for curl"))
            .collect();
        let probes = [0, 1, 2].map(|index| rig.metric(PROBES, &[&label(&client(index))]));
        let suspicions = rig.metric(UNANSWERED, &[]);
        for process in waiting.iter_mut().chain([&mut holder]) {
            let _ = process.kill();
            let _ = process.wait();
        }
        let outcome = rig.finish();
        let mut report = outcome.report();
        outcome.print(&report, &[("waiting", begun..end)]);
        report.hold(
            ended.is_empty(),
            &format!("none of {WAITING} calls that wait ends: {ended:?}"),
        );
        let sights = &outcome.seen(FEATURE).sights;
        let silent = (0..3).any(|index| {
            let states = states(sights, &client(index));
            states.iter().any(|(_, state)| state == SILENT)
        });
        report.hold(!silent, "no member is silent");
        report.say(&format!("suspicions: {suspicions:?}"));
        let most = (end - begun).as_secs_f64() / 5.0 + 1.0;
        report.hold(
            probes
                .iter()
                .all(|count| count.is_some_and(|count| count <= most)),
            &format!("at most one probe per member and 5 s: {probes:?}"),
        );
        let fresh = outcome.tally(FEATURE, Call::EtcdctlPut, &(begun..end));
        report.hold(fresh.failed == 0, "no other client fails");
        report.end();
    });
}
