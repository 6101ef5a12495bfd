//! A TCP gateway in front of an etcd cluster, for the host of the applications: one
//! local address, every member behind it. It neither inspects what it forwards nor
//! terminates TLS.
//!
//! # Modules
//! Each uses only modules of layers below its own, but `endpoint` and `health` also use `dial`.
//!
//! | layer | module | what it does |
//! |---|---|---|
//! | 5 | `cli` | reads flags, variables and the settings file into a `config`; help and manual pages |
//! | 5 | `gateway` | composes the rest: start, `check`, signals, reload, drain |
//! | 4 | `discovery` | finds members, resolves them to endpoints, authenticates them |
//! | 4 | `proxy` | accepts clients, connects each to an endpoint, copies bytes |
//! | 4 | `admin` | metrics, health and status over HTTP |
//! | 3 | `endpoint` | the pool of endpoints: which are active, and which is next |
//! | 3 | `health` | asks endpoints over HTTP how they are |
//! | 3 | `dial` | one attempt to connect to one address |
//! | 2 | `tls` | a client's handshake, to authenticate a server |
//! | 2 | `dns` | a stub resolver |
//! | 1 | `x509` | validation of certificate chains |
//! | 1 | `config` | the resolved settings |
//! | 0 | `access`, `log` | lines of the access log, and of the log |
//! | 0 | `crypto`, `wire` | primitives; bounds-checked reading and writing of messages |
//! | 0 | `loop_guard` | finds connections of this gateway to itself |
//! | 0 | `sys` | what is needed of Linux beyond `std`; the only module with `unsafe` code |
//! | 0 | `addr`, `columns`, `date`, `deadline`, `stamp`, `stats`, `sync`, `times`, `url` | small types: addresses, tables, dates, timed streams, files that change, counters, locks, intervals, URLs |
//!
//! # The way of a connection
//! The thread `accept` runs [`proxy::Proxy::accept`], which gives each client to `session::start`. That admits it
//! (`Sessions::admit`, up to `--max-connections`) and runs `Session::run` in a worker. `Session::connect` asks a `Connector`, which
//! picks an endpoint (`Pool::pick`), dials it, and dials another one beside it if that is slow. `Session::join` makes a `Relay` of both
//! sockets, and `Session::copy` copies bytes in both directions until both have ended (`relay/end`). A session that is silent gives
//! its thread back and waits in `parked`. When it is dropped, the session is counted and has its line in the access log.
//!
//! # The way of an endpoint change
//! The thread `discovery` runs [`discovery::Discovery::run`]. When a refresh is due, `Discovery::refresh` asks the source for
//! members and resolves their names, removes addresses of this gateway, and gives the set to [`endpoint::pool::Pool::replace`]. New
//! endpoints are authenticated before they get clients; the thread `monitor` dials them, and those that have failed, until they answer.
//! Removed ones are reported to [`proxy::Proxy::removed`], which closes their connections after `--close-removed`.
//!
//! # How a failed start reaches the user
//! `cli::parse`, [`gateway::run`] and [`gateway::check::run`] return errors whose text names the flag and what to do. [`run`] prints
//! the text as one line on stderr and exits with 2 if the command line is wrong, otherwise with 1. In a reload it sends the text to the
//! process that still serves, which logs it and continues.

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
    let outcome = match cli::parse(arguments, &environment, &stamp::read) {
        Ok(cli::Invocation::Print(text)) => return print(&text, true),
        Ok(cli::Invocation::Start { config, warnings }) => {
            gateway::run(&config, warnings, &mut handover)
                .map_err(|error| (error.to_string(), error.is_usage()))
        }
        Ok(cli::Invocation::Check {
            config,
            output,
            warnings,
        }) => gateway::check::run(&config, output, &warnings)
            .map(|report| print(&report.text, report.would_serve))
            .map_err(|error| (error.to_string(), error.is_usage())),
        Err(error) => Err((error.to_string(), true)),
    };
    let (message, is_usage) = match outcome {
        Ok(status) => return status,
        Err(error) => error,
    };
    let status = if is_usage { USAGE } else { FAILURE };
    match handover {
        // The process that still serves logs it. Lines of both at once could mix.
        Some(handover) => {
            handover.fail(&message);
            ExitCode::from(status)
        }
        None => fail(&message, status),
    }
}

fn fail(message: &str, status: u8) -> ExitCode {
    // One line without control characters, so that the text cannot act on a terminal: a path may have some, and a message of the
    // system may have several lines.
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
        // A reader that has closed the pipe needs no message, but it is not a success either.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let error = sys::OsErrorText(&error);
            fail(&format!("standard output: cannot write: {error}"), FAILURE)
        }
        _ => ExitCode::from(FAILURE),
    }
}
