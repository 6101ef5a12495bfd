//! Fuzzes the parsers of untrusted bytes, guided by coverage, with the stable compiler alone.
//!
//! In this directory (its `.cargo/config.toml` has the compiler's flags):
//!
//! ```text
//! cargo run --release -- dns 600           the targets whose names begin with dns, 600 s in all
//! cargo run --release -- dns 600 7         the same from another random seed
//! cargo run --release -- dns-name hex 00ff one input once, as a finding is printed
//! ```
//!
//! A finding ends the run with status 1 and the smallest input in hexadecimal: make it a test of
//! the module, then mend the module. Nothing is written to disk.
//!
//! A new target is a file in `targets/` with `TARGET`, a line in [`targets::TARGETS`] and, for
//! a module not yet here, a `mod` below.

mod coverage;
mod engine;
mod targets;

// The product's own sources, under the paths that they know each other by.
#[path = "../../../src/addr.rs"]
mod addr;
#[path = "../../../src/crypto/mod.rs"]
mod crypto;
#[path = "../../../src/deadline.rs"]
mod deadline;
#[path = "../../../src/dns/mod.rs"]
mod dns;
#[path = "../../../src/admin/http.rs"]
mod http;
#[path = "../../../src/cli/env_file.rs"]
mod env_file;
/// Of endpoints, only the words for what names one.
mod endpoint {
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Source {
        File,
        Srv,
    }
}
#[path = "../../../src/health/response.rs"]
mod health_response;
#[path = "../../../src/discovery/listing.rs"]
mod listing;
#[path = "../../../src/discovery/member.rs"]
mod member;
#[path = "../../../src/sys/errno.rs"]
mod errno;
#[path = "../../../src/sys/plain.rs"]
mod plain;
#[path = "../../../src/stamp.rs"]
mod stamp;
/// Of what asks the system for something, only the words for its errors, and memory without end.
mod sys {
    pub(crate) use crate::plain::Plain;
    pub(crate) mod memory {
        use std::io;

        pub(crate) fn zeroed(bytes: usize) -> io::Result<Vec<u8>> {
            Ok(vec![0; bytes])
        }

        pub(crate) fn room(_: usize) -> io::Result<()> {
            Ok(())
        }
    }
}
#[path = "../../../src/tls/mod.rs"]
mod tls;
#[path = "../../support/tls_server.rs"]
mod tls_server;
#[path = "../../../src/url.rs"]
mod url;
#[path = "../../../src/wire/mod.rs"]
mod wire;
#[path = "../../../src/x509/mod.rs"]
mod x509;

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use engine::Target;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [name, "hex", hex] => replay(name, hex),
        [prefix, seconds] => fuzz(prefix, seconds.parse(), Ok(1)),
        [prefix, seconds, seed] => fuzz(prefix, seconds.parse(), seed.parse()),
        _ => usage(),
    }
}

fn fuzz<E>(prefix: &str, seconds: Result<u64, E>, seed: Result<u64, E>) -> ExitCode {
    let (Ok(seconds), Ok(seed)) = (seconds, seed) else {
        return usage();
    };
    let chosen: Vec<&&Target> = targets::TARGETS
        .iter()
        .filter(|target| target.name.starts_with(prefix))
        .collect();
    let Ok(count @ 1..) = u32::try_from(chosen.len()) else {
        return usage();
    };
    engine::watch();
    for target in chosen {
        if let Err(input) = engine::fuzz(target, Duration::from_secs(seconds) / count, seed) {
            engine::report(target.name, &input);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn replay(name: &str, hex: &str) -> ExitCode {
    let Some(target) = targets::TARGETS.iter().find(|target| target.name == name) else {
        return usage();
    };
    let octet = |at| {
        hex.get(at..at + 2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
    };
    let Some(input) = (0..hex.len())
        .step_by(2)
        .map(octet)
        .collect::<Option<Vec<u8>>>()
    else {
        return usage();
    };
    match engine::check(target, &input) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            println!("{name}: FAILED {reason}"); // a panic has printed its own
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: TARGET-PREFIX SECONDS [SEED] | TARGET hex INPUT");
    for target in targets::TARGETS {
        eprintln!("  {}", target.name);
    }
    ExitCode::from(2)
}
