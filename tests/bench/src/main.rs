//! Measures this gateway beside `etcd gateway`, HAProxy, nginx and no proxy at all, on one machine, against one
//! upstream, in interleaved rounds. `make bench` builds the gateway and runs it; `--help` lists what can be chosen.
//!
//! Two processes of this program make and serve the load ([`load`], [`upstream`]); the gateways are processes of their
//! own ([`peers`]), so that their CPU and memory are theirs alone. Every byte that comes back is checked ([`wire`]).

mod driver;
mod goals;
mod grpc;
mod json;
mod load;
mod machine;
mod options;
mod peers;
mod process;
mod report;
mod results;
mod scrape;
mod scratch;
mod stats;
mod sys;
mod upstream;
mod wire;

use std::env;
use std::process::ExitCode;

use options::{Options, USAGE};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(upstream::ARGUMENT) => return said(upstream::serve().map_err(|e| e.to_string())),
        Some("-h" | "--help") => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    match Options::parse(arguments.into_iter()) {
        Ok(options) => match driver::run(&options) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => said(Err(error)),
        },
        Err(error) => {
            eprint!("bench: {error}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn said(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
