//! The loads against no proxy at all: generator, upstream and checks agree with each other, and the report is whole.

use std::fs;
use std::process::{Command, Output};

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_etcd-gateway-bench"))
        .args(arguments)
        .output()
        .expect("run the benchmark")
}

#[test]
fn every_load_of_connections_works_without_a_proxy() {
    let path = std::env::temp_dir().join(format!("bench-smoke-{}.json", std::process::id()));
    let json = path.to_str().expect("a path in UTF-8");
    let loads = "exchange,bulk,mixed,short,idle";
    let output = bench(&[
        "--quick", "--peers", "direct", "--base", "direct", "--loads", loads, "--json", json,
    ]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for load in [
        "exchange-128-1 ",
        "exchange-1024-256",
        "bulk-8-down",
        "mixed",
        "short",
        "idle",
    ] {
        assert!(text.contains(&format!("\n  {load}")), "{load}: {text}");
    }
    let saved = fs::read_to_string(&path).expect("the results are saved");
    fs::remove_file(&path).expect("remove the results");
    assert!(
        saved.contains("\"alive\"") && saved.contains("\"p99.9\""),
        "{saved}"
    );
}

#[test]
fn what_cannot_be_run_is_said_before_anything_is_started() {
    for (arguments, said) in [
        (&["--fast"][..], "--fast"),
        (&["--loads", "bluk"], "bluk"),
        (&["--peers", "nobody"], "nobody"),
        (&["--gateway", "ours=/nonexistent"], "/nonexistent"),
        (&["--gateway", "direct=/bin/true"], "direct"),
        (&["--compare", "/nonexistent"], "/nonexistent"),
    ] {
        let output = bench(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains(said), "{arguments:?}: {errors}");
    }
}
