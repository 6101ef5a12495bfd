//! A TCP gateway in front of an etcd cluster, for the host of the applications: one
//! local address, every member behind it. It neither inspects what it forwards nor
//! terminates TLS.
//!
//! The way of a connection: `cli` reads settings into a `config`; `gateway` composes the
//! rest; `discovery` finds the endpoints and keeps the `endpoint` pool in step;
//! `proxy` accepts a client, picks an endpoint, `dial`s it and relays bytes; `health` asks
//! endpoints how they are. Each module knows only those listed after it here.

mod cli;
mod gateway;

mod admin;
mod discovery;
mod proxy;

mod dial;
mod endpoint;
mod health;

mod tls;
mod x509;

mod config;
mod dns;

mod access;
mod addr;
mod columns;
mod crypto;
mod date;
mod deadline;
mod log;
mod loop_guard;
mod stamp;
mod stats;
mod sync;
mod sys;
mod times;
mod url;
mod wire;

#[cfg(fuzzing)]
#[path = "../tests/fuzz/targets/mod.rs"]
pub mod fuzz;
#[cfg(test)]
#[path = "../tests/peers/mod.rs"]
mod peers;
#[cfg(test)]
#[path = "../tests/vectors/mod.rs"]
mod vectors;

use std::io::{ErrorKind, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;

/// Exit status for what fails at run time.
const FAILURE: u8 = 1;
/// Exit status for a command line that cannot be run, as in sysexits and most tools.
const USAGE: u8 = 2;

/// Runs the program with the arguments and the environment of this process.
pub fn run() -> ExitCode {
    let mut handover = match gateway::handover::begin() {
        Ok(ControlFlow::Continue(handover)) => handover,
        Ok(ControlFlow::Break(status)) => return status,
        Err(error) => return fail(&error, USAGE),
    };
    let environment: Vec<_> = std::env::vars_os().collect();
    let arguments = std::env::args_os().collect();
    let (message, status) = match cli::parse(arguments, &environment, &stamp::read) {
        Ok(cli::Invocation::Print(text)) => return print(&text, true),
        Ok(cli::Invocation::Start { config, warnings }) => {
            match gateway::run(&config, warnings, &mut handover) {
                Ok(status) => return status,
                Err(error) if error.is_usage() => (error.to_string(), USAGE),
                Err(error) => (error.to_string(), FAILURE),
            }
        }
        Ok(cli::Invocation::Check {
            config,
            output,
            warnings,
        }) => match gateway::check::run(&config, output, &warnings) {
            Ok(report) => return print(&report.text, report.would_serve),
            Err(error) if error.is_usage() => (error.to_string(), USAGE),
            Err(error) => (error.to_string(), FAILURE),
        },
        Err(error) => (error.to_string(), USAGE),
    };
    if let Some(handover) = handover {
        // The process that still serves logs it. Both at once could mix their lines.
        handover.fail(&message);
        return ExitCode::from(status);
    }
    fail(&message, status)
}

fn fail(message: &str, status: u8) -> ExitCode {
    // One line that a terminal shows and does not obey, also where a path has controls in it, or
    // a message of the system's several lines.
    let message = message.replace(char::is_control, " ");
    let priority = match sys::journal::is_stderr(|name| std::env::var_os(name)) {
        true => log::Level::Error.priority(),
        false => "",
    };
    let _ = writeln!(std::io::stderr(), "{priority}etcd-gateway: {message}");
    ExitCode::from(status)
}

fn print(text: &str, success: bool) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) if success => ExitCode::SUCCESS,
        // Where nobody reads on, that is not worth a message, but no success either.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let error = sys::OsErrorText(&error);
            fail(&format!("standard output: cannot write: {error}"), FAILURE)
        }
        _ => ExitCode::from(FAILURE),
    }
}
