//! Settings in a file (`--config-file`), and the settings in effect, as `config` and `/config` show them.

use std::os::unix::fs::PermissionsExt;

use crate::admin::{admin_of, get};
use crate::support::gateway::{Outcome, assert_bad_flag};
use crate::support::json::Json;
use crate::support::net::tag;
use crate::support::process::{is_root, tool, unused_uid};
use crate::support::{Backend, Launch, TempDir};

/// A file as it stands in /etc/default, with what else may be in it.
fn usual(endpoints: &[&Backend]) -> String {
    let endpoints: Vec<String> = endpoints
        .iter()
        .map(|endpoint| endpoint.address().to_string())
        .collect();
    format!(
        "# Settings of etcd-gateway.service; see etcd-gateway(1).\n\
         #ETCD_GATEWAY_POLICY=least-connections\n\
         \n\
         LANG=C.UTF-8\n\
         GOMAXPROCS=2\n\
         ETCD_GATEWAY_ENDPOINTS=\"{}\"\n\
         ETCD_GATEWAY_LISTEN_ADDR='127.0.0.1:0',\\\n127.0.0.1:0\n\
         ; In seconds.\n\
         ETCD_GATEWAY_DIAL_TIMEOUT = 2s\n\
         ETCD_GATEWAY_METRICS_ADDR=127.0.0.1:0\n\
         ETCD_GATEWAY_TRUSTED_CA_FILE=\n",
        endpoints.join(",\\\n")
    )
}

fn flag(path: &str) -> String {
    format!("--config-file={path}")
}

fn run(args: &[&str]) -> Outcome {
    Launch::exactly(args).run()
}

/// The rows of a table of settings: name, value, origin.
fn rows(table: &str) -> Vec<[&str; 3]> {
    let row = |line| {
        let mut words = str::split_whitespace(line);
        let [name, value] = [words.next(), words.next()].map(Option::unwrap_or_default);
        let (_, origin) = str::rsplit_once(line, "  ").expect("two columns");
        [name, value, origin.trim()]
    };
    table.lines().map(row).collect()
}

#[test]
fn gateway_starts_with_what_a_file_says_and_shows_it() {
    let [a, b] = [b'a', b'b'].map(Backend::tagged);
    let dir = TempDir::new();
    let path = dir.file("default", &usual(&[&a, &b]));
    let gateway = Launch::exactly(&["start", &flag(&path), "--drain-timeout=3s"])
        .env("ETCD_GATEWAY_RETRY_DELAY", "5s")
        .visiting(&[a.address(), b.address()])
        .start();
    assert_eq!(gateway.addresses().len(), 2, "{}", gateway.text());
    let mut tags: Vec<u8> = gateway.addresses().iter().map(|at| tag(*at).0).collect();
    tags.sort_unstable();
    assert_eq!(tags, *b"ab");

    let reply = get(admin_of(&gateway), "/config");
    let shown = rows(&reply.content);
    assert_eq!(shown[0], ["NAME", "VALUE", "ORIGIN"]);
    let line = |number| format!("{path}:{number}");
    let endpoints = format!("{},{}", a.address(), b.address());
    for expected in [
        ["ENDPOINTS", &endpoints, &line(6)],
        ["LISTEN_ADDR", "127.0.0.1:0,127.0.0.1:0", &line(8)],
        ["DIAL_TIMEOUT", "2s", &line(11)],
        ["RETRY_DELAY", "5s", "environment"],
        ["DRAIN_TIMEOUT", "3s", "command line"],
        ["MAX_CONNECTIONS", "auto", "default"],
        ["TRUSTED_CA_FILE", "-", "default"],
        ["CONFIG_FILE", &path, "command line"],
    ] {
        let name = format!("ETCD_GATEWAY_{}", expected[0]);
        let found = shown.iter().find(|row| row[0] == name);
        let found = found.unwrap_or_else(|| panic!("no {name} in {}", reply.content));
        assert_eq!(found[1..], expected[1..], "{name}");
    }
}

#[test]
fn command_line_wins_over_the_environment_and_that_over_the_file() {
    let [a, b, c] = [b'a', b'b', b'c'].map(Backend::tagged);
    let dir = TempDir::new();
    let path = dir.file("default", &usual(&[&a]));
    let served = |flags: &[&str], variable: Option<&Backend>| {
        let args = [&["start", "--listen-addr=127.0.0.1:0"], flags].concat();
        let mut launch = Launch::exactly(&args).env("ETCD_GATEWAY_CONFIG_FILE", &path);
        if let Some(endpoint) = variable {
            launch = launch.env("ETCD_GATEWAY_ENDPOINTS", &endpoint.address().to_string());
        }
        let gateway = launch.start();
        (tag(gateway.address()).0, gateway.text())
    };
    assert_eq!(served(&[], None).0, b'a');
    let (served_by, log) = served(&[], Some(&b));
    assert_eq!(served_by, b'b');
    let warning =
        format!("ETCD_GATEWAY_ENDPOINTS ({path}:6) has no effect: the environment sets it");
    assert!(log.contains(&warning), "{log}");
    let over = format!("--endpoints={}", c.address());
    let (served_by, log) = served(&[&over], Some(&b));
    assert_eq!(served_by, b'c');
    for what in [
        "ETCD_GATEWAY_ENDPOINTS",
        &format!("ETCD_GATEWAY_ENDPOINTS ({path}:6)"),
    ] {
        let warning = format!("\"{what} has no effect: --endpoints is given\"");
        assert!(log.contains(&warning), "{log}");
    }
}

/// The same for each command that needs settings; the message has file and line.
#[test]
fn what_is_wrong_is_refused_with_file_and_line() {
    let dir = TempDir::new();
    for (content, line, words) in [
        (
            "\nETCD_GATEWAY_RETRY_DELAY=123\n",
            ":2",
            ["ETCD_GATEWAY_RETRY_DELAY", "1m30s"],
        ),
        (
            "A=1\n\nETCD_GATEWAY_ENDPOINT=a:1",
            ":3",
            ["did you mean", "ETCD_GATEWAY_ENDPOINTS?"],
        ),
        (
            "export ETCD_GATEWAY_ENDPOINTS=a:1",
            ":1",
            ["export", "NAME=value"],
        ),
        (
            "ETCD_GATEWAY_CONFIG_FILE=/x",
            ":1",
            ["cannot name another", ""],
        ),
        (
            "A=1\nB='\nETCD_GATEWAY_POLICY=x",
            ":2",
            ["quote is not closed", ""],
        ),
    ] {
        let path = dir.file("default", content);
        let place = format!("{path}{line}");
        for command in ["start", "check", "config"] {
            assert_bad_flag(
                &[command, &flag(&path)],
                &[&[place.as_str()], &words[..]].concat(),
            );
        }
    }
    let large = dir.file("large", &"#".repeat(70_000));
    assert_bad_flag(&["start", &flag(&large)], &[&large, "65536"]);
    assert_bad_flag(&["start", "--config-file="], &["--config-file", "empty"]);
}

/// Nothing is waited for, and only what is absent may be.
#[test]
fn only_a_regular_file_is_read_and_only_with_a_dash_it_may_be_absent() {
    let dir = TempDir::new();
    let at = dir.path().to_str().expect("a path in UTF-8");
    let absent = format!("{at}/none");
    assert_bad_flag(&["start", &flag(&absent)], &[&absent, "no such file"]);
    let endpoint = Backend::tagged(b't');
    let optional = flag(&format!("-{absent}"));
    let gateway = Launch::before(&[endpoint.address()], &[&optional]).start();
    assert_eq!(tag(gateway.address()).0, b't');

    let pipe = format!("{at}/pipe");
    assert!(tool("mkfifo", &[&pipe]).status.success());
    for path in [at, pipe.as_str(), "/dev/null"] {
        assert_bad_flag(
            &["start", &flag(&format!("-{path}"))],
            &[path, "regular file"],
        );
    }
    let secret = dir.file("secret", "ETCD_GATEWAY_ENDPOINTS=127.0.0.1:1\n");
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&secret, mode).expect("change the mode");
    if is_root() {
        let uid = unused_uid().to_string();
        let optional = flag(&format!("-{secret}"));
        let other = ["setpriv", "--reuid", &uid, "--clear-groups"];
        let outcome = Launch::exactly(&["config", &optional])
            .wrapped(&other)
            .run();
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        assert!(outcome.stderr.contains("permission denied"), "{outcome:?}");
    }
}

#[test]
fn check_tries_a_file_out() {
    let endpoint = Backend::tagged(b't');
    let dir = TempDir::new();
    let path = dir.file("default", &usual(&[&endpoint]));
    let outcome = run(&["check", &flag(&path)]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.stdout.contains("reachable"), "{outcome:?}");
}

#[test]
fn config_prints_a_table_json_or_a_settings_file() {
    let endpoint = Backend::tagged(b't');
    let dir = TempDir::new();
    let path = dir.file("default", &usual(&[&endpoint]));
    let file = flag(&path);
    let own = ["config", &file, "--dial-timeout=1s", "--access-log=./a log"];
    let print = |form: &str| {
        let outcome = run(&[&own[..], &[form]].concat());
        assert_eq!(
            (outcome.code, outcome.stderr.as_str()),
            (Some(0), ""),
            "{outcome:?}"
        );
        outcome.stdout
    };
    let warning =
        format!("ETCD_GATEWAY_DIAL_TIMEOUT ({path}:10) has no effect: --dial-timeout is given");
    let table = print("--output=table");
    assert!(
        table.ends_with(&format!("\nwarning: {warning}\n")),
        "{table}"
    );
    assert_eq!(run(&own).stdout, table);

    let json = Json::parse(&print("--output=json")).expect("valid JSON");
    assert_eq!(json.texts("warnings"), [warning.as_str()]);
    let settings = json.list("settings");
    let setting = |name: &str| {
        let found = settings.iter().find(|setting| setting.text("name") == name);
        found.unwrap_or_else(|| panic!("no {name} in {json:?}"))
    };
    let endpoints = setting("ETCD_GATEWAY_ENDPOINTS");
    assert_eq!(endpoints.text("value"), endpoint.address().to_string());
    assert_eq!(endpoints.text("origin"), "file");
    assert_eq!(endpoints.text("file"), path);
    assert_eq!(endpoints.number("line"), 6.0);
    let access_log = setting("ETCD_GATEWAY_ACCESS_LOG");
    assert_eq!(access_log.text("value"), "./a log");
    assert_eq!(access_log.text("origin"), "command line");
    assert_eq!(
        setting("ETCD_GATEWAY_HEALTH_CHECK").text("origin"),
        "default"
    );
    let unset = setting("ETCD_GATEWAY_DISCOVERY_SRV").get("value");
    assert!(matches!(unset, Some(Json::Null)), "{unset:?}");

    // What is printed as a file is one: with it, the same settings are in effect.
    let values = |json: &str| -> Vec<(String, String)> {
        let settings = json.lines().filter(|line| !line.contains("_CONFIG_FILE"));
        let settings = settings.filter_map(|line| Json::parse(line.trim_end_matches(',')).ok());
        let pair = |found: Json| {
            (
                found.text("name").to_owned(),
                found.text("value").to_owned(),
            )
        };
        settings.map(pair).collect()
    };
    let written = dir.file("written", &print("--output=env"));
    let again = run(&["config", &flag(&written), "--output=json"]).stdout;
    assert_eq!(values(&again), values(&print("--output=json")));
    assert!(values(&again).len() > 20, "{again}");
    assert!(again.ends_with("\"warnings\":[]}\n"), "{again}");
}
