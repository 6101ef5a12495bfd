//! Reloads that cannot be: the process goes on as it is, says why, leaves nothing behind, and the next one works.

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::upgrade::Program;
use super::*;
use crate::admin::{Samples, admin_of, endpoints};
use crate::support::net::expect_echo;
use crate::support::process::set_limit;
use crate::support::{Backend, Launch, TempDir};

/// What is done to the files before the reload that must fail.
enum Fault {
    /// The settings are these.
    Settings(String),
    /// The program is this script.
    Script(&'static str),
    /// It is there and may not be executed.
    NotExecutable,
    /// It is not a program.
    Text,
    Absent,
}

struct Files {
    program: Program,
    settings: PathBuf,
    good: String,
}

impl Files {
    fn spoil(&self, fault: &Fault) {
        match fault {
            Fault::Settings(text) => write(&self.settings, text),
            Fault::Script(text) => self.program.replace_with(text),
            Fault::Text => self.program.replace_with(""),
            Fault::NotExecutable => {
                std::fs::set_permissions(self.program.path(), Permissions::from_mode(0o644))
                    .expect("set the program's mode");
            }
            Fault::Absent => std::fs::remove_file(self.program.path()).expect("remove the program"),
        }
    }

    fn mend(&self) {
        write(&self.settings, &self.good);
        self.program.replace();
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("write a file");
}

/// What is wrong, as the page for programs has it.
fn problems(admin: SocketAddr) -> Vec<String> {
    let (json, _) = endpoints(admin);
    let list = json.list("problems");
    list.iter().map(|problem| format!("{problem:?}")).collect()
}

#[test]
fn failed_reload_changes_nothing() {
    let endpoint = Backend::tagged(b't');
    let other = TcpListener::bind("127.0.0.1:0").expect("bind port 0");
    let taken = other.local_addr().expect("a bound address");
    let dir = TempDir::new();
    let good = format!(
        "ETCD_GATEWAY_ENDPOINTS={}\nETCD_GATEWAY_LISTEN_ADDR=127.0.0.1:0\nETCD_GATEWAY_METRICS_ADDR=127.0.0.1:0\n",
        endpoint.address()
    );
    let files = Files {
        program: Program::new(),
        settings: dir.file("settings", &good).into(),
        good: good.clone(),
    };
    let flag = format!("--config-file={}", files.settings.display());
    let launch = Launch::exactly(&["start", &flag]).program(files.program.path());
    let service = Service::start(launch.times("reload_patience=2000"));
    let (gateway, admin) = (service.address(), admin_of(&service));
    let old = service.serving();
    let held = client(gateway);
    let clients = Clients::of(gateway);
    let before = service.family.all();

    let in_use = good.replace(
        "LISTEN_ADDR=127.0.0.1:0",
        &format!("LISTEN_ADDR=127.0.0.1:0,{taken}"),
    );
    let cases = [
        (
            Fault::Settings(format!("{good}ETCD_GATEWAY_POLICY=nonsense\n")),
            "nonsense",
        ),
        (
            Fault::Settings("ETCD_GATEWAY_RETRY_DELAY=soon\n".to_owned()),
            "soon",
        ),
        (Fault::Settings(in_use), "in use"),
        (Fault::Script("#!/bin/sh\nexit 1\n"), "exit status: 1"),
        (Fault::Script("#!/bin/sh\nexec sleep 1000\n"), ""),
        (
            Fault::Script("#!/nonexistent/interpreter\n"),
            "no such file",
        ),
        (Fault::NotExecutable, "permission denied"),
        (Fault::Text, ""),
        (Fault::Absent, "no such file"),
    ];
    for (number, (fault, words)) in cases.iter().enumerate() {
        files.spoil(fault);
        let error = service.fail_to_reload();
        assert!(
            !error.is_empty() && error.contains(words),
            "case {number}, {words:?}: {error:?}"
        );
        eventually(SOON, "no process is left behind", || {
            (service.family.all() == before).then_some(())
        });
        assert!(service.family.zombies().is_empty(), "case {number}");
        expect_echo(&held, 1);
        let problems = problems(admin);
        assert!(
            problems.iter().any(|problem| problem.contains("reload")),
            "case {number}: {problems:?}"
        );
        files.mend();
    }
    let failures = Samples::of(admin).get("reloads_total{result=\"failure\"}");
    assert_eq!(failures, cases.len() as f64);

    let new = service.reload();
    assert_ne!(new, old);
    assert!(problems(admin).is_empty(), "{:?}", problems(admin));
    expect_echo(&held, 2);
    clients.all_were_served(10);
    drop(other);
}

/// Not even the old process knows where it came from: it says so, and serves.
#[test]
fn program_whose_directory_is_gone_cannot_be_started() {
    let endpoint = Backend::tagged(b't');
    let program = Program::new();
    let endpoints = format!("--endpoints={}", endpoint.address());
    let launch = Launch::start_with(&[&endpoints]).program(program.path());
    let service = Service::start(launch);
    drop(program);
    let error = service.fail_to_reload();
    assert!(error.contains("no such file"), "{error:?}");
    client(service.address());
}

/// A host that has nothing left for another process.
#[test]
fn reload_without_descriptors_fails_and_works_once_there_are_some() {
    let endpoint = Backend::tagged(b't');
    let service = Service::before(&[endpoint.address()], &[]);
    let held = client(service.address());
    let pid = service.serving();
    set_limit(pid, "--nofile=4:");
    let error = service.fail_to_reload();
    assert!(error.contains("too many open files"), "{error:?}");
    expect_echo(&held, 1);
    set_limit(pid, "--nofile=1000:");
    service.reload();
    expect_echo(&held, 2);
}
