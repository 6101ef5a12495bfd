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
//! A new target is a file in `targets/` with `TARGET` and a line in `targets/mod.rs`.

mod coverage;
mod engine;

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use etcd_gateway::fuzz::{TARGETS, Target};

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
    let chosen: Vec<&Target> = TARGETS
        .iter()
        .copied()
        .filter(|target| target.name.starts_with(prefix))
        .collect();
    if chosen.is_empty() {
        return usage();
    }
    engine::watch();
    match engine::fuzz(&chosen, Duration::from_secs(seconds), seed) {
        Ok(()) => ExitCode::SUCCESS,
        Err((name, input)) => {
            engine::report(name, &input);
            ExitCode::FAILURE
        }
    }
}

fn replay(name: &str, hex: &str) -> ExitCode {
    let Some(target) = TARGETS.iter().find(|target| target.name == name) else {
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
    match engine::check(target, &input, &mut coverage::Seen::new()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(reason) => {
            println!("{name}: FAILED {reason}"); // a panic has printed its own
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: TARGET-PREFIX SECONDS [SEED] | TARGET hex INPUT");
    for target in TARGETS {
        eprintln!("  {}", target.name);
    }
    ExitCode::from(2)
}
