//! The real binary as a child process: its arguments, environment and wrappers, its log lines, its end.
//!
//! `ETCD_GATEWAY_BIN` replaces the binary that cargo built, to hold another build against the same tests.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::json::Json;
use super::{Backend, SOON, TempDir, child_command, eventually, net, process};

/// The line that etcd's own tests wait for.
pub(crate) const READY: &str = "ready to proxy client requests";

pub(crate) fn binary() -> PathBuf {
    std::env::var_os("ETCD_GATEWAY_BIN")
        .map_or_else(|| env!("CARGO_BIN_EXE_etcd-gateway").into(), PathBuf::from)
}

/// A link to it by the name `etcd`, which takes the command line of `etcd gateway`.
pub(crate) fn called_etcd(dir: &TempDir) -> PathBuf {
    let (program, link) = (std::fs::canonicalize(binary()), dir.path().join("etcd"));
    let program = program.expect("the binary exists");
    std::os::unix::fs::symlink(program, &link).expect("make a link");
    link
}

/// How the gateway is to be started.
pub(crate) struct Launch {
    wrapper: Vec<String>,
    program: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
    stdin: Option<OwnedFd>,
    /// Endpoints that it will dial when it has started.
    visits: Vec<SocketAddr>,
    patience: Duration,
}

impl Launch {
    /// Exactly these arguments.
    pub(crate) fn exactly(args: &[&str]) -> Launch {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        Launch {
            wrapper: Vec::new(),
            program: binary(),
            args,
            env: Vec::new(),
            stdin: None,
            visits: Vec::new(),
            patience: SOON,
        }
    }

    /// `start` with these flags, on a free port of 127.0.0.1 unless they say otherwise.
    pub(crate) fn start_with(flags: &[&str]) -> Launch {
        let mut args = vec!["start"];
        if !flags.iter().any(|flag| flag.starts_with("--listen-addr")) {
            args.push("--listen-addr=127.0.0.1:0");
        }
        args.extend(flags);
        Launch::exactly(&args)
    }

    /// In front of these endpoints.
    pub(crate) fn before(endpoints: &[SocketAddr], flags: &[&str]) -> Launch {
        let texts: Vec<String> = endpoints.iter().map(SocketAddr::to_string).collect();
        let flag = format!("--endpoints={}", texts.join(","));
        let launch = Launch::start_with(&[&[flag.as_str()], flags].concat());
        // What has something to prove is asked for that instead.
        let proves = flags.iter().any(|flag| flag.contains("--verify-endpoints"));
        match proves {
            true => launch,
            false => launch.visiting(endpoints),
        }
    }

    /// In front of these endpoints, whatever names them.
    pub(crate) fn visiting(mut self, endpoints: &[SocketAddr]) -> Launch {
        for endpoint in endpoints {
            if !self.visits.contains(endpoint) {
                self.visits.push(*endpoint);
            }
        }
        self
    }

    /// Through a command that ends by executing its arguments: `prlimit --nofile=64 BINARY …`.
    pub(crate) fn wrapped(mut self, wrapper: &[&str]) -> Launch {
        self.wrapper
            .extend(wrapper.iter().map(|&word| word.to_owned()));
        self
    }

    /// With a descriptor 3, announced as a service manager does it (sd_listen_fds(3)).
    pub(crate) fn passing(mut self, descriptor: impl Into<OwnedFd>) -> Launch {
        // A child is given other descriptors than the first three by a shell only, without unsafe code.
        const SCRIPT: &str = "exec 3<&0 </dev/null; LISTEN_PID=$$; LISTEN_FDS=${LISTEN_FDS-1}; \
            export LISTEN_PID LISTEN_FDS; exec \"$@\"";
        self.stdin = Some(descriptor.into());
        self.wrapped(&["sh", "-c", SCRIPT, "sh"])
    }

    /// With this as its stderr; whoever starts it reads nothing then.
    pub(crate) fn logging_to(mut self, descriptor: impl Into<OwnedFd>) -> Launch {
        const SCRIPT: &str = "exec 2<&0 </dev/null; exec \"$@\"";
        self.stdin = Some(descriptor.into());
        self.wrapped(&["sh", "-c", SCRIPT, "sh"])
    }

    pub(crate) fn program(mut self, program: PathBuf) -> Launch {
        self.program = program;
        self
    }

    /// With more time for what it is to do at once.
    pub(crate) fn patient(mut self, patience: Duration) -> Launch {
        self.patience = patience;
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Launch {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With other intervals of the product than its own, in milliseconds: `"worker_patience=50,…"` (`src/times.rs`). A
    /// release has no such thing: it waits, and the test with it.
    pub(crate) fn times(self, times: &str) -> Launch {
        self.env("ETCDGW_TEST_TIMES", times)
    }

    fn spawn(&self) -> Child {
        let mut words: Vec<OsString> = self.wrapper.iter().map(Into::into).collect();
        words.push(self.program.clone().into());
        words.extend(self.args.iter().map(Into::into));
        let stdin = match &self.stdin {
            Some(descriptor) => descriptor
                .try_clone()
                .expect("duplicate a descriptor")
                .into(),
            None => Stdio::null(),
        };
        let mut command = child_command(&words[0]);
        command
            .args(&words[1..])
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // What the developer's shell or systemd set for itself is not part of the test.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let meant_for_us = [
                "ETCD_GATEWAY_",
                "ETCDGW_",
                "NOTIFY_",
                "WATCHDOG_",
                "LISTEN_",
            ];
            if meant_for_us.iter().any(|prefix| text.starts_with(prefix)) {
                command.env_remove(&name);
            }
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
            .spawn()
            .unwrap_or_else(|error| panic!("run {words:?}: {error}"))
    }

    /// Starts it and waits until it serves.
    #[track_caller]
    pub(crate) fn start(self) -> Gateway {
        super::backend::announce_visits(&self.visits);
        let mut gateway = self.start_to_be();
        let ready = gateway.wait_line(READY);
        super::backend::await_visits(&self.visits);
        // Text format has no field to parse: its tests say what they listen on.
        if let Ok(record) = Json::parse(&ready) {
            gateway.listen = record
                .texts("listen")
                .iter()
                .filter_map(|text| text.parse().ok())
                .collect();
        }
        gateway
    }

    /// Starts it where the level hides the ready line: it is known by the port it opens, which costs a client.
    #[track_caller]
    pub(crate) fn start_silent(self, address: SocketAddr) -> Gateway {
        let gateway = self.start_to_be();
        eventually(SOON, "the listener is open", || {
            net::try_connect(address).ok()
        });
        gateway
    }

    /// The same, and nobody reads its log.
    #[track_caller]
    pub(crate) fn start_unread(self, address: SocketAddr) -> Gateway {
        let gateway = Gateway {
            child: self.spawn(),
            log: Arc::default(),
            reader: None,
            listen: Vec::new(),
            patience: self.patience,
        };
        eventually(SOON, "the listener is open", || {
            net::try_connect(address).ok()
        });
        gateway
    }

    /// Starts it, and waits for nothing.
    pub(crate) fn start_to_be(&self) -> Gateway {
        let mut child = self.spawn();
        let log = Arc::new(Log::default());
        let reader = read_log(
            child.stderr.take().expect("stderr is piped"),
            Arc::clone(&log),
        );
        Gateway {
            child,
            log,
            reader: Some(reader),
            listen: Vec::new(),
            patience: self.patience,
        }
    }

    /// Runs it to its end; a run that does not end by itself fails the test.
    #[track_caller]
    pub(crate) fn run(self) -> Outcome {
        let mut child = self.spawn();
        let stdout = read_all(child.stdout.take().expect("stdout is piped"));
        let stderr = read_all(child.stderr.take().expect("stderr is piped"));
        let deadline = Instant::now() + self.patience;
        let status = loop {
            match child.try_wait().expect("wait for the gateway") {
                Some(status) => break Some(status),
                None if Instant::now() > deadline => break None,
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        if status.is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let [stdout, stderr] =
            [stdout, stderr].map(|text| text.join().expect("the output is read"));
        let Some(status) = status else {
            panic!("{:?} still runs, stderr:\n{stderr}", self.args)
        };
        Outcome {
            code: status.code(),
            stdout,
            stderr,
        }
    }
}

/// What a run that ended left behind.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs it with one bad flag: one line on stderr that holds all of `words`, nothing on stdout, exit 2.
#[track_caller]
pub(crate) fn assert_bad_flag(args: &[&str], words: &[&str]) {
    let outcome = Launch::exactly(args).run();
    let case = format!("{args:?}: {outcome:?}");
    assert_eq!(outcome.code, Some(2), "{case}");
    assert_eq!(outcome.stdout, "", "{case}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{case}");
    assert!(outcome.stderr.starts_with("etcd-gateway: "), "{case}");
    for word in words {
        assert!(
            outcome.stderr.contains(word),
            "{word:?} is missing in {case}"
        );
    }
}

/// A running gateway; killed when dropped.
pub(crate) struct Gateway {
    child: Child,
    log: Arc<Log>,
    reader: Option<JoinHandle<()>>,
    listen: Vec<SocketAddr>,
    patience: Duration,
}

impl Gateway {
    /// In front of these endpoints, with these flags, on a free port.
    #[track_caller]
    pub(crate) fn before(endpoints: &[&Backend], flags: &[&str]) -> Gateway {
        let addresses: Vec<SocketAddr> = endpoints
            .iter()
            .map(|endpoint| endpoint.address())
            .collect();
        Launch::before(&addresses, flags).start()
    }

    /// The first bound address, as the gateway reports it.
    #[track_caller]
    pub(crate) fn address(&self) -> SocketAddr {
        *self
            .listen
            .first()
            .unwrap_or_else(|| panic!("no address in the ready line:\n{}", self.text()))
    }

    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.listen
    }

    pub(crate) fn connect(&self) -> TcpStream {
        net::connect(self.address())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        process::signal(self.pid(), name);
    }

    /// The process has not ended.
    #[track_caller]
    pub(crate) fn assert_running(&mut self) {
        let status = self.ended();
        assert!(
            status.is_none(),
            "the gateway ended with {status:?}:\n{}",
            self.text()
        );
    }

    /// How the process has ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("wait for the gateway")
    }

    #[track_caller]
    pub(crate) fn wait_exit(&mut self, within: Duration) -> ExitStatus {
        eventually(within, "the gateway exits", || self.ended())
    }

    /// What it wrote to stdout until its end.
    pub(crate) fn stdout(&mut self) -> String {
        let mut text = String::new();
        let mut pipe = self.child.stdout.take().expect("stdout is read once");
        pipe.read_to_string(&mut text).expect("read stdout");
        text
    }

    /// All lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.log
            .state
            .lock()
            .expect("no panic with the lock")
            .lines
            .clone()
    }

    pub(crate) fn text(&self) -> String {
        self.lines().join("\n")
    }

    /// The records so far whose message is `msg`.
    pub(crate) fn records(&self, msg: &str) -> Vec<Json> {
        self.lines()
            .iter()
            .filter_map(|line| Json::parse(line).ok())
            .filter(|record| record.text("msg") == msg)
            .collect()
    }

    /// Waits for a line that contains `pattern`.
    #[track_caller]
    pub(crate) fn wait_line(&self, pattern: &str) -> String {
        self.wait(pattern, |line| {
            line.contains(pattern).then(|| line.to_owned())
        })
    }

    /// Waits for a record whose message is exactly `msg`.
    #[track_caller]
    pub(crate) fn wait_record(&self, msg: &str) -> Json {
        self.wait_record_where(msg, |record| record.text("msg") == msg)
    }

    /// Waits for a record that is wanted; `what` says why in the failure.
    #[track_caller]
    pub(crate) fn wait_record_where(&self, what: &str, wanted: impl Fn(&Json) -> bool) -> Json {
        self.wait(what, |line| {
            Json::parse(line).ok().filter(|record| wanted(record))
        })
    }

    #[track_caller]
    fn wait<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + self.patience;
        let mut seen = 0;
        let mut state = self.log.state.lock().expect("no panic with the lock");
        loop {
            if let Some(found) = state.lines[seen..].iter().find_map(|line| find(line)) {
                return found;
            }
            seen = state.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || state.ended {
                let text = state.lines.join("\n");
                let ended = if state.ended {
                    "the log ended"
                } else {
                    "the deadline passed"
                };
                drop(state);
                panic!("{ended} without {what:?}:\n{text}");
            }
            state = self
                .log
                .changed
                .wait_timeout(state, left)
                .expect("no panic with the lock")
                .0;
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        if std::thread::panicking() {
            // Captured with the test's other output, shown when it fails.
            println!("log of the gateway:\n{}", self.text());
        }
    }
}

#[derive(Default)]
struct Log {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Default)]
struct LogState {
    lines: Vec<String>,
    ended: bool,
}

fn read_log(stderr: ChildStderr, log: Arc<Log>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines() {
            let line = line.unwrap_or_else(|error| format!("unreadable line: {error}"));
            log.state
                .lock()
                .expect("no panic with the lock")
                .lines
                .push(line);
            log.changed.notify_all();
        }
        log.state.lock().expect("no panic with the lock").ended = true;
        log.changed.notify_all();
    })
}

fn read_all(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("read the output");
        String::from_utf8(bytes).expect("output in UTF-8")
    })
}
