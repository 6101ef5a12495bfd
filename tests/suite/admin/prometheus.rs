//! The real promtool, and the real server: it scrapes the gateway and is asked what it has found.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{Reply, Samples, get, observed};
use crate::support::json::Json;
use crate::support::net::{expect_echo, try_tag};
use crate::support::ports::free_port;
use crate::support::process::{have, tool};
use crate::support::{Backend, TempDir, child_command, connect, eventually, host_offers};

/// The table of states.
const STATES: &str = include_str!("../../../src/deploy/man/etcd-gateway-behaviour.7.md");
const PAGE: &str = include_str!("../../../src/deploy/man/etcd-gateway-metrics.7.md");

/// A server that starts on a busy machine.
const STARTED: Duration = Duration::from_secs(60);

pub(crate) struct Prometheus {
    child: Child,
    address: SocketAddr,
    _dir: TempDir,
}

impl Prometheus {
    pub(crate) fn start(target: SocketAddr) -> Prometheus {
        let dir = TempDir::new();
        let config = format!(
            "global:\n  scrape_interval: 200ms\n  scrape_timeout: 200ms\nscrape_configs:\n\
             - job_name: etcd-gateway\n  static_configs:\n  - targets: ['{target}']\n"
        );
        let config = dir.file("prometheus.yml", &config);
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let log = std::fs::File::create(dir.path().join("log")).expect("create the log");
        let child = child_command("prometheus")
            .arg(format!("--config.file={config}"))
            .arg(format!("--storage.tsdb.path={}/data", dir.path().display()))
            .arg(format!("--web.listen-address={address}"))
            .env("GOMAXPROCS", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("run prometheus");
        Prometheus {
            child,
            address,
            _dir: dir,
        }
    }

    /// The value of an expression that has one, if it has one yet.
    pub(crate) fn value(&self, expression: &str) -> Option<f64> {
        let query: String = expression
            .bytes()
            .map(|byte| format!("%{byte:02x}"))
            .collect();
        let mut stream = TcpStream::connect(self.address).ok()?;
        let request = format!(
            "GET /api/v1/query?query={query} HTTP/1.0\r\nHost: {}\r\n\r\n",
            self.address
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut bytes).ok()?;
        // It answers HTTP/1.0 with its like.
        let text = String::from_utf8(bytes)
            .ok()?
            .replacen("HTTP/1.0", "HTTP/1.1", 1);
        let json = Json::parse(&Reply::parse(text.as_bytes()).content).ok()?;
        let Json::List(result) = json.get("data")?.get("result")? else {
            return None;
        };
        let Json::List(sample) = result.first()?.get("value")? else {
            return None;
        };
        match sample.get(1)? {
            Json::Text(value) => value.parse().ok(),
            _ => None,
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Names, types, units and help as the community's linter wants them: not a word from it.
#[test]
fn promtool_finds_no_fault() {
    if !host_offers(have("promtool"), "promtool") {
        return;
    }
    let (member, dead) = (Backend::tagged(b't'), Backend::dead());
    let (gateway, admin) = observed(&[member.address(), dead.address()], &[]);
    let clients = [0, 1].map(|_| try_tag(gateway.address()).expect("a client is served"));
    clients
        .iter()
        .for_each(|(_, client)| expect_echo(client, 1));
    let exposition = get(admin, "/metrics").content;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run promtool");
    let mut stdin = promtool.stdin.take().expect("a pipe");
    stdin
        .write_all(exposition.as_bytes())
        .expect("hand it over");
    drop(stdin);
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        output.status.success() && said.is_empty(),
        "{said}\n{exposition}"
    );
    // What the page promises is there, and nothing that it does not have.
    let types = exposition
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    let families: Vec<&str> = types.filter_map(|rest| rest.split(' ').next()).collect();
    for name in &families {
        assert!(
            PAGE.contains(&format!("`{name}`")),
            "the page has no {name}"
        );
    }
    for (at, _) in PAGE.match_indices("etcd_gateway_") {
        let rest = &PAGE[at..];
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_');
        let name = &rest[..end.unwrap_or(rest.len())];
        assert!(families.contains(&name), "the page promises {name}");
    }
}

/// Each value of a label is there from the start, and explained where the page has the metric.
#[test]
fn every_value_of_a_label_is_explained() {
    /// Labels that tell whose a sample is.
    const OPEN: [&str; 4] = ["address", "name", "version", "le"];
    let member = Backend::tagged(b't');
    let (_gateway, admin) = observed(&[member.address()], &[]);
    let exposition = get(admin, "/metrics").content;
    let mut values = BTreeMap::new();
    for line in exposition.lines().filter(|line| !line.starts_with('#')) {
        let Some((family, labels)) = line.split_once('{') else {
            continue;
        };
        let (labels, value) = labels.split_once('}').expect("the end of the labels");
        let row = PAGE
            .lines()
            .find(|row| row.starts_with(&format!("| `{family}` | ")));
        for label in labels.split(',') {
            let (name, text) = label.split_once('=').expect("a label");
            if OPEN.contains(&name) {
                continue;
            }
            let text = text.trim_matches('"');
            // The states have a table of their own.
            let explained = match name {
                "state" => STATES.contains(&format!("\n| `{text}` | ")),
                _ => row.is_some_and(|row| row.contains(&format!("`{text}`"))),
            };
            assert!(explained, "the page does not explain {line}");
            values.entry(family).or_insert(vec![]).push(value);
        }
    }
    // Nobody was rejected, and no connection has ended but the one that looked whether there is a listener.
    let zeros = |family| {
        let values: &Vec<&str> = &values[family];
        (
            values.len(),
            values.iter().filter(|value| **value == " 0").count(),
        )
    };
    assert_eq!(zeros("etcd_gateway_connections_rejected_total"), (7, 7));
    let (causes, none) = zeros("etcd_gateway_connections_ended_total");
    assert!(causes == 10 && none >= 9, "{exposition}");
}

/// The block of the page that begins like this.
fn block(first: &str) -> &'static str {
    let blocks = PAGE.split("```yaml\n").skip(1);
    let mut blocks = blocks.filter_map(|rest| rest.split("```").next());
    let block = blocks.find(|block| block.starts_with(first));
    block.unwrap_or_else(|| panic!("the page has no {first}"))
}

/// What the page has for Prometheus can be pasted.
#[test]
fn the_configuration_in_the_manual_is_one() {
    if !host_offers(have("promtool"), "promtool") {
        return;
    }
    let dir = TempDir::new();
    let file = dir.file("config", block("scrape_configs:"));
    let output = tool("promtool", &["check", "config", &file]);
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

#[test]
fn a_real_server_scrapes_and_knows_the_figures() {
    if !host_offers(have("prometheus"), "prometheus") {
        return;
    }
    let member = Backend::tagged(b't');
    let (gateway, admin) = observed(&[member.address()], &[]);
    let prometheus = Prometheus::start(admin);
    let asked = |expression: &str, wanted: f64| {
        eventually(STARTED, &format!("{expression} is {wanted}"), || {
            (prometheus.value(expression) == Some(wanted)).then_some(())
        });
    };
    asked("up{job=\"etcd-gateway\"}", 1.0);
    let (_, client) = try_tag(gateway.address()).expect("a client is served");
    expect_echo(&client, 1);
    let other = connect(gateway.address());
    asked("etcd_gateway_connections_active", 2.0);
    asked(
        "sum(etcd_gateway_endpoint_bytes_total{direction=\"to_endpoint\"})",
        100.0,
    );
    let endpoint = member.address();
    asked(
        &format!("etcd_gateway_endpoint_up{{address=\"{endpoint}\"}}"),
        1.0,
    );
    asked("etcd_gateway_build_info", 1.0);
    asked(
        "histogram_quantile(0.5, etcd_gateway_endpoint_dial_duration_seconds_bucket) < bool 5",
        1.0,
    );
    drop(other);
    asked("etcd_gateway_connections_active", 1.0);
    assert_eq!(Samples::of(admin).get("connections_active"), 1.0);
    expect_echo(&client, 2);
}
