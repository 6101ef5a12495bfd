//! What starts a gateway, and starts it again: the shell of an operator, a loop, runit, s6, supervisord, the first
//! process of a container, a service manager that speaks sd_notify(3) (`manager.c`).

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::family::Family;
pub(crate) use super::family::{name, stat};
use super::gateway::binary;
use super::process::{self, can, is_root, signal};
use super::{Backend, Gateway, Launch, SOON, TempDir, eventually, fault, host_offers};

/// How a gateway is started, and by whom it is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As a shell starts a command.
    ByHand,
    /// `while :; do etcd-gateway …; done`, which notes each exit status.
    Loop,
    Runit,
    S6,
    Supervisord,
    /// The first process of a container.
    First,
    /// What systemd does: `manager.c`.
    Manager,
}

impl Kind {
    /// Whether this one starts what has ended again.
    pub(crate) fn restarts(self) -> bool {
        !matches!(self, Kind::ByHand | Kind::First | Kind::Manager)
    }

    fn is_offered(self) -> bool {
        let (offered, what) = match self {
            Kind::ByHand | Kind::Loop => return true,
            Kind::Runit => (process::have("runsv"), "runsv (Debian package runit)"),
            Kind::S6 => (process::have("s6-supervise"), "s6-supervise"),
            Kind::Supervisord => (process::have("supervisord"), "supervisord"),
            Kind::First => (can("unshare", &alone(&["true"])), "PID namespaces"),
            Kind::Manager => (process::have("cc"), "a C compiler (cc)"),
        };
        host_offers(offered, what)
    }
}

/// Words that run a command as the first process of a namespace.
fn alone<'a>(command: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec!["--pid", "--fork", "--kill-child", "--mount", "--mount-proc"];
    if !is_root() {
        words.push("--map-root-user");
    }
    words.extend(command);
    words
}

/// What is started, before it is known who starts it.
pub(crate) struct Plan {
    program: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
}

impl Plan {
    /// `start` with these flags, on a free port of 127.0.0.1 unless they say otherwise.
    pub(crate) fn new(flags: &[&str]) -> Plan {
        let listens = flags.iter().any(|flag| flag.starts_with("--listen-addr"));
        let listen: &[&str] = if listens {
            &[]
        } else {
            &["--listen-addr=127.0.0.1:0"]
        };
        let args = [&["start"], listen, flags].concat();
        Plan {
            program: binary(),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            env: Vec::new(),
        }
    }

    /// In front of this endpoint.
    pub(crate) fn before(endpoint: &Backend, flags: &[&str]) -> Plan {
        let endpoint = format!("--endpoints={}", endpoint.address());
        Plan::new(&[&[endpoint.as_str()], flags].concat())
    }

    pub(crate) fn program(mut self, program: &Path) -> Plan {
        self.program = program.to_owned();
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Plan {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Started by this one, and serving; nothing where the host does not offer it.
    #[track_caller]
    pub(crate) fn under(self, kind: Kind) -> Option<Service> {
        if !kind.is_offered() {
            return None;
        }
        let dir = TempDir::new();
        let family = Family::new();
        let launch = family.launch(self.launch(kind, &dir));
        let launch = self
            .env
            .iter()
            .fold(launch, |launch, (name, value)| launch.env(name, value));
        Some(Service {
            gateway: launch.start(),
            family,
            dir,
        })
    }

    fn launch(&self, kind: Kind, dir: &TempDir) -> Launch {
        let program = self.program.to_str().expect("a path in UTF-8");
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let command = [&[program], &args[..]].concat();
        let words =
            |program: &str, words: &[&str]| Launch::exactly(words).program(PathBuf::from(program));
        let at = |name: &str| {
            let path = dir.path().join(name);
            path.to_str().expect("a temporary path in UTF-8").to_owned()
        };
        match kind {
            Kind::ByHand => words(program, &args),
            Kind::Loop => {
                const SCRIPT: &str = "while :; do \"$@\"; echo $? >>\"$0\"; done";
                let statuses = at("statuses");
                let script = [&["-c", SCRIPT, &statuses], &command[..]].concat();
                words("sh", &script)
            }
            Kind::Runit | Kind::S6 => {
                let run = dir.file("run", &format!("#!/bin/sh\nexec {}\n", quoted(&command)));
                let finish = format!("#!/bin/sh\necho $1 >>{}\n", at("statuses"));
                let finish = dir.file("finish", &finish);
                for script in [run, finish] {
                    std::fs::set_permissions(script, PermissionsExt::from_mode(0o755))
                        .expect("make a script executable");
                }
                let program = if kind == Kind::Runit {
                    "runsv"
                } else {
                    "s6-supervise"
                };
                words(program, &[&at("")])
            }
            Kind::Supervisord => {
                let text = format!(
                    "[supervisord]\nnodaemon=true\nlogfile={}\npidfile={}\n\
                     [program:gateway]\ncommand={}\nautorestart=true\nstartsecs=0\nstopwaitsecs=20\n\
                     stderr_logfile=/dev/fd/2\nstderr_logfile_maxbytes=0\n\
                     [unix_http_server]\nfile={}\n[supervisorctl]\nserverurl=unix://{}\n\
                     [rpcinterface:supervisor]\n\
                     supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n",
                    at("supervisord.log"),
                    at("supervisord.pid"),
                    // % begins an expression there.
                    quoted(&command).replace('%', "%%"),
                    at("socket"),
                    at("socket"),
                );
                words("supervisord", &["-c", &dir.file("supervisord.conf", &text)])
            }
            Kind::First => words("unshare", &alone(&command)),
            Kind::Manager => {
                let (events, socket) = (at("events"), at("notify"));
                let args = [&[events.as_str(), &socket], &command[..]].concat();
                words(manager().to_str().expect("a path in UTF-8"), &args)
            }
        }
    }
}

fn quoted(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    quoted.join(" ")
}

/// A gateway that may reload, and what started it.
pub(crate) struct Service {
    gateway: Gateway,
    pub(crate) family: Family,
    pub(crate) dir: TempDir,
}

impl Drop for Service {
    fn drop(&mut self) {
        // First, or it would start anew what is killed next. All must be gone for the log to end.
        if self.gateway.ended().is_none() {
            process::tool("kill", &["-KILL", &self.gateway.pid().to_string()]);
        }
        self.family.kill();
    }
}

/// The supervisor, or the first process where there is none, and the log of all processes.
impl Deref for Service {
    type Target = Gateway;

    fn deref(&self) -> &Gateway {
        &self.gateway
    }
}

impl DerefMut for Service {
    fn deref_mut(&mut self) -> &mut Gateway {
        &mut self.gateway
    }
}

impl Service {
    /// As prepared, with no supervisor.
    #[track_caller]
    pub(crate) fn start(launch: Launch) -> Service {
        let family = Family::new();
        let gateway = family.launch(launch).start();
        Service {
            gateway,
            family,
            dir: TempDir::new(),
        }
    }

    /// Started by hand in front of these endpoints.
    #[track_caller]
    pub(crate) fn before(endpoints: &[SocketAddr], flags: &[&str]) -> Service {
        Service::start(Launch::before(endpoints, flags))
    }

    /// The process that serves clients.
    #[track_caller]
    pub(crate) fn serving(&self) -> u32 {
        self.family.serving(self.address())
    }

    /// Asks the process that serves for a reload and waits until another one does; returns that.
    #[track_caller]
    pub(crate) fn reload(&self) -> u32 {
        self.reload_by(self.serving())
    }

    /// The same, with the signal sent to this process.
    #[track_caller]
    pub(crate) fn reload_by(&self, pid: u32) -> u32 {
        let (old, done, failed) = (self.serving(), self.count(RELOADED), self.count(FAILED));
        signal(pid, "USR2");
        eventually(SOON, "the gateway has reloaded", || {
            assert_eq!(self.count(FAILED), failed, "{}", self.text());
            (self.count(RELOADED) > done).then_some(())
        });
        let new = self.serving();
        assert_ne!(new, old, "another process serves:\n{}", self.text());
        new
    }

    /// Asks the process that serves for a reload that must fail, after which it serves as before; returns why.
    #[track_caller]
    pub(crate) fn fail_to_reload(&self) -> String {
        let (old, done, failed) = (self.serving(), self.count(RELOADED), self.count(FAILED));
        signal(old, "USR2");
        eventually(SOON, "the reload has failed", || {
            assert_eq!(self.count(RELOADED), done, "{}", self.text());
            (self.count(FAILED) > failed).then_some(())
        });
        assert_eq!(self.serving(), old);
        let record = self.records(FAILED).pop().expect("there is one");
        assert_eq!(record.text("level"), "error");
        record.text("error").to_owned()
    }

    /// How many lines have this message.
    pub(crate) fn count(&self, msg: &str) -> usize {
        self.records(msg).len()
    }

    /// What the one who restarts it noted of each end, in order: exit statuses, or what it has for them.
    pub(crate) fn statuses(&self) -> Vec<String> {
        let path = self.dir.path().join("statuses");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// What the service manager has seen so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        let path = self.dir.path().join("events");
        let text = std::fs::read_to_string(path).expect("read the manager's events");
        // The last line may still be written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(Event::parse).collect()
    }
}

/// The end of each process that hands over.
pub(crate) const RELOADED: &str = "reloaded, draining";
pub(crate) const FAILED: &str = "reload failed, continuing";

/// One line of `manager.c`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) milliseconds: u64,
    pub(crate) what: String,
    pub(crate) pid: u32,
    pub(crate) text: String,
}

impl Event {
    fn parse(line: &str) -> Event {
        let fields: Vec<&str> = line.splitn(4, ' ').collect();
        let [milliseconds, what, pid, text] = fields[..] else {
            panic!("not an event: {line:?}")
        };
        Event {
            milliseconds: milliseconds.parse().expect("a number of milliseconds"),
            what: what.to_owned(),
            pid: pid.parse().expect("a process"),
            text: text.to_owned(),
        }
    }

    /// Whether it is a message that has a line that starts so.
    pub(crate) fn says(&self, start: &str) -> bool {
        self.what == "message" && self.text.split(';').any(|line| line.starts_with(start))
    }
}

/// `manager.c`, compiled.
fn manager() -> &'static PathBuf {
    static MANAGER: OnceLock<PathBuf> = OnceLock::new();
    MANAGER.get_or_init(|| fault::compiled("manager", include_str!("manager.c"), &[]))
}
