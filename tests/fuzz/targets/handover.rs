//! What a process is told at its start and by other processes of its service: the variables of
//! the handover and of socket activation, and the messages. What is read survives being written.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::Target;
use crate::gateway::handover::control::Message;
use crate::gateway::handover::role;
use crate::sys::activation::announced;

pub(super) const TARGET: Target = Target {
    name: "handover",
    seeds,
    run,
    max_input: 512,
};

fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Some(message) = Message::parse(&text) {
        let written = message.to_string();
        assert_eq!(Message::parse(&written), Some(message), "{text:?}");
    }
    if let Some((role, process, descriptors)) = role::parse(OsStr::from_bytes(input)) {
        let written = role::value(role, process, &descriptors);
        let again = role::parse(written.as_ref());
        assert_eq!(again, Some((role, process, descriptors)), "{text:?}");
    }
    let mut lines = input.split(|octet| *octet == b'\n');
    let mut line = || lines.next().map(|line| OsStr::from_bytes(line).to_owned());
    let (count, names) = (line(), line());
    let variable = |name: &str| match name {
        "LISTEN_PID" => Some(OsString::from("7")),
        "LISTEN_FDS" => count.clone(),
        _ => names.clone(),
    };
    if let Err(error) = announced(7, variable) {
        super::harmless(&error.to_string());
    }
}

fn seeds() -> Vec<Vec<u8>> {
    [
        "listener 7",
        "passed 2147483647",
        "metrics 8",
        "draining 5 4294967295 1 3",
        "service 1 0 2 3 4 18446744073709551615",
        "started 17",
        "ready",
        "failed to start",
        "serving 18",
        "connections 19",
        "refresh",
        "1:start:17:3,4,5",
        "1:watch:4294967295:3",
        "2\nclients:metrics\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
