//! The program that a reload starts is the one at its path then: an upgrade, and the way back.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::*;
use crate::support::gateway::binary;
use crate::support::net::expect_echo;
use crate::support::process::tool_text;
use crate::support::supervisor::name;
use crate::support::{Backend, Launch, TempDir};

/// A copy of the program in a directory of its own.
pub(super) struct Program(TempDir);

impl Program {
    pub(super) fn new() -> Program {
        let program = Program(TempDir::new());
        program.replace();
        program
    }

    pub(super) fn dir(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn path(&self) -> PathBuf {
        self.dir().join("etcd-gateway")
    }

    /// As package managers do it: the new file is renamed over the old one.
    pub(super) fn replace(&self) {
        self.install(&binary());
    }

    /// The same by a script.
    pub(super) fn replace_with(&self, script: &str) {
        self.install(Path::new(&self.0.file("script", script)));
    }

    fn install(&self, from: &Path) {
        let new = text(&self.dir().join("new"));
        // Written by another process: one of ours that is just being started could hold the descriptor for a moment, and a
        // file that somebody writes cannot be executed.
        tool_text("install", &["-m", "755", &text(from), &new]);
        std::fs::rename(new, self.path()).expect("replace the program");
    }
}

fn executes(pid: u32) -> String {
    let target = std::fs::read_link(format!("/proc/{pid}/exe")).expect("the process runs");
    target.to_str().expect("a path in UTF-8").to_owned()
}

fn text(path: &Path) -> String {
    path.to_str().expect("a temporary path in UTF-8").to_owned()
}

#[test]
fn replaced_file_is_what_the_new_process_executes() {
    let endpoint = Backend::tagged(b't');
    let program = Program::new();
    let endpoints = format!("--endpoints={}", endpoint.address());
    let service = Service::start(Launch::start_with(&[&endpoints]).program(program.path()));
    let held = client(service.address());
    let mut old = service.serving();
    for round in 0..3 {
        program.replace();
        assert_eq!(
            executes(old),
            format!("{} (deleted)", text(&program.path()))
        );
        let new = service.reload();
        assert_eq!(executes(new), text(&program.path()));
        assert_eq!(name(new).as_deref(), Some("etcd-gateway"));
        expect_echo(&held, round);
        old = new;
    }
}

/// As Nix, Homebrew and many scripts switch versions.
#[test]
fn path_through_a_link_leads_where_the_link_leads_then() {
    let endpoint = Backend::tagged(b't');
    let (one, two) = (Program::new(), Program::new());
    let dir = TempDir::new();
    let current = dir.path().join("current");
    let switch = |to: &Program| {
        let new = dir.path().join("new");
        symlink(to.dir(), &new).expect("make a link");
        std::fs::rename(new, &current).expect("switch the link");
    };
    switch(&one);
    let endpoints = format!("--endpoints={}", endpoint.address());
    let launch = Launch::start_with(&[&endpoints]).program(current.join("etcd-gateway"));
    let service = Service::start(launch);
    assert_eq!(executes(service.serving()), text(&one.path()));
    // There and back, and nothing changed.
    for to in [&two, &one, &one, &two] {
        switch(to);
        assert_eq!(executes(service.reload()), text(&to.path()));
    }
}

/// Started by its name alone, or from another directory, as shells do.
#[test]
fn program_is_found_again_however_it_was_started() {
    let endpoint = Backend::tagged(b't');
    let endpoints = format!("--endpoints={}", endpoint.address());
    const SCRIPTS: [&str; 4] = [
        "cd \"$0\" && exec ./etcd-gateway \"$@\"",
        "PATH=$0:$PATH; export PATH; exec etcd-gateway \"$@\"",
        "exec \"$0/./etcd-gateway\" \"$@\"",
        // Who lies about its name is known by its file.
        "exec bash -c 'exec -a elsewhere \"$0/etcd-gateway\" \"$@\"' \"$0\" \"$@\"",
    ];
    for script in SCRIPTS {
        let program = Program::new();
        let launch = Launch::start_with(&[&endpoints]);
        let dir = text(program.dir());
        // The wrapper is given the program's own path first, which it has no use for.
        let script = format!("shift; {script}");
        let launch = launch.wrapped(&["sh", "-c", &script, &dir]);
        let service = Service::start(launch.program(program.path()));
        // Read before: once it has drained, that process executes itself anew as a watcher.
        let expected = arguments(service.serving());
        program.replace();
        let new = service.reload();
        assert_eq!(executes(new), text(&program.path()), "{script}");
        assert_eq!(arguments(new), expected, "{script}");
    }
}

fn arguments(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).expect("the process runs");
    String::from_utf8_lossy(&bytes).into_owned()
}
