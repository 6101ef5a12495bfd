//! The real promtool, and the real server: it scrapes the gateway and is asked what it has found.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{Reply, Samples, get, observed};
use crate::support::json::Json;
use crate::support::net::{expect_echo, try_tag};
use crate::support::ports::free_port;
use crate::support::process::{have, tool};
use crate::support::{Backend, TempDir, connect, eventually, host_offers, mortal};

const README: &str = include_str!("../../../README.md");

/// A server that starts on a busy machine.
const STARTED: Duration = Duration::from_secs(60);

struct Prometheus {
    child: Child,
    address: SocketAddr,
    _dir: TempDir,
}

impl Prometheus {
    fn start(target: SocketAddr) -> Prometheus {
        let dir = TempDir::new();
        let config = format!(
            "global:\n  scrape_interval: 200ms\n  scrape_timeout: 200ms\nscrape_configs:\n\
             - job_name: etcd-gateway\n  static_configs:\n  - targets: ['{target}']\n"
        );
        let config = dir.file("prometheus.yml", &config);
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let log = std::fs::File::create(dir.path().join("log")).expect("create the log");
        let child = mortal("prometheus")
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
    fn value(&self, expression: &str) -> Option<f64> {
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
fn promtool_finds_nothing_to_say() {
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
    // What README promises is there, in its rules too, and nothing that README does not have.
    let types = exposition
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    let families: Vec<&str> = types.filter_map(|rest| rest.split(' ').next()).collect();
    for name in &families {
        assert!(
            README.contains(&format!("`{name}`")),
            "README has no {name}"
        );
    }
    for (at, _) in README.match_indices("etcd_gateway_") {
        let rest = &README[at..];
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_');
        let name = &rest[..end.unwrap_or(rest.len())];
        assert!(families.contains(&name), "README promises {name}");
    }
}

/// The block of README that begins like this.
fn block(first: &str) -> &'static str {
    let blocks = README.split("```yaml\n").skip(1);
    let mut blocks = blocks.filter_map(|rest| rest.split("```").next());
    let block = blocks.find(|block| block.starts_with(first));
    block.unwrap_or_else(|| panic!("README has no {first}"))
}

/// What README has for Prometheus can be pasted.
#[test]
fn the_configuration_in_readme_is_one() {
    if !host_offers(have("promtool"), "promtool") {
        return;
    }
    let dir = TempDir::new();
    for (first, what) in [("scrape_configs:", "config"), ("groups:", "rules")] {
        let file = dir.file(what, block(first));
        let output = tool("promtool", &["check", what, &file]);
        let said = [output.stdout, output.stderr].concat();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&said)
        );
    }
}

/// The rules in README fire where they should and not where they should not, by Prometheus' own test of rules.
#[test]
fn the_rules_in_readme_fire_when_they_should() {
    if !host_offers(have("promtool"), "promtool") {
        return;
    }
    /// Time begins at 1970 in such a test: that there never was a success lies before it.
    const TESTS: &str = r#"
rule_files: [rules]
evaluation_interval: 1m
tests:
  - name: no endpoint is known, and nothing was ever answered
    interval: 1m
    input_series:
      - { series: 'etcd_gateway_discovery_endpoints{instance="a"}', values: 0x60 }
      - { series: 'etcd_gateway_discovery_last_success_timestamp_seconds{instance="a"}', values: -100000x60 }
      - { series: 'etcd_gateway_discovery_problems{instance="a"}', values: 1x60 }
    alert_rule_test:
      - { alertname: EtcdGatewayNoEndpoint, eval_time: 2m, exp_alerts: [ { exp_labels: { instance: a } } ] }
      - { alertname: EtcdGatewayDiscoveryFails, eval_time: 10m, exp_alerts: [] }
      - { alertname: EtcdGatewayDiscoveryFails, eval_time: 16m, exp_alerts: [ { exp_labels: { instance: a } } ] }
      - { alertname: EtcdGatewayDiscoveryHasProblems, eval_time: 29m, exp_alerts: [] }
      - { alertname: EtcdGatewayDiscoveryHasProblems, eval_time: 31m, exp_alerts: [ { exp_labels: { instance: a } } ] }
  - name: one of three endpoints is down and another in maintenance, all else is well
    interval: 1m
    input_series:
      - { series: 'up{job="etcd-gateway",instance="a"}', values: 1x60 }
      - { series: 'etcd_gateway_endpoint_up{instance="a",endpoint="1"}', values: 1x60 }
      - { series: 'etcd_gateway_endpoint_up{instance="a",endpoint="2"}', values: 0x60 }
      - { series: 'etcd_gateway_endpoint_up{instance="a",endpoint="3"}', values: 0x60 }
      - { series: 'etcd_gateway_endpoint_draining{instance="a",endpoint="2"}', values: 0x60 }
      - { series: 'etcd_gateway_endpoint_draining{instance="a",endpoint="3"}', values: 1x60 }
      - { series: 'etcd_gateway_discovery_endpoints{instance="a"}', values: 3x60 }
      - { series: 'etcd_gateway_discovery_last_success_timestamp_seconds{instance="a"}', values: 0+60x60 }
      - { series: 'etcd_gateway_discovery_problems{instance="a"}', values: 0x60 }
      - { series: 'etcd_gateway_connections_active{instance="a"}', values: 90x60 }
      - { series: 'etcd_gateway_max_connections{instance="a"}', values: 100x60 }
      - { series: 'etcd_gateway_connections_rejected_total{instance="a",reason="loop"}', values: 5x60 }
      - { series: 'etcd_gateway_endpoint_transitions_total{instance="a",endpoint="2",to="inactive"}', values: 1x60 }
      - { series: 'etcd_gateway_endpoint_healthy{instance="a",endpoint="1"}', values: 1x60 }
      - { series: 'etcd_gateway_endpoint_healthy{instance="a",endpoint="2"}', values: 1x60 }
      - { series: 'etcd_gateway_health_checks_total{instance="a",endpoint="1",result="passed"}', values: 0x60 }
      - { series: 'etcd_gateway_health_checks_total{instance="a",endpoint="1",result="failed"}', values: 0x60 }
    alert_rule_test:
      - { alertname: EtcdGatewayDown, eval_time: 45m, exp_alerts: [] }
      - { alertname: EtcdGatewayNoEndpoint, eval_time: 45m, exp_alerts: [] }
      - alertname: EtcdGatewayEndpointDown
        eval_time: 45m
        exp_alerts: [ { exp_labels: { instance: a, endpoint: "2" } } ]
      - { alertname: EtcdGatewayDiscoveryFails, eval_time: 45m, exp_alerts: [] }
      - { alertname: EtcdGatewayDiscoveryHasProblems, eval_time: 45m, exp_alerts: [] }
      - { alertname: EtcdGatewayRejectsClients, eval_time: 45m, exp_alerts: [] }
      - { alertname: EtcdGatewayNearlyFull, eval_time: 45m, exp_alerts: [] }
      - { alertname: EtcdGatewayEndpointFlaps, eval_time: 45m, exp_alerts: [] }
      - { alertname: EtcdGatewayCertificateExpires, eval_time: 45m, exp_alerts: [] }
      - { alertname: EtcdGatewayThreadLost, eval_time: 45m, exp_alerts: [] }
      - { alertname: EtcdGatewayEndpointUnhealthy, eval_time: 45m, exp_alerts: [] }
      - { alertname: EtcdGatewayHealthChecksFail, eval_time: 45m, exp_alerts: [] }
  - name: one of two endpoints is silent, then both fail their health checks, then one passes again
    interval: 1m
    input_series:
      - { series: 'etcd_gateway_endpoint_healthy{instance="a",endpoint="1"}', values: 1x60 }
      - { series: 'etcd_gateway_endpoint_healthy{instance="a",endpoint="2"}', values: 1x10 0x50 }
      - { series: 'etcd_gateway_health_checks_total{instance="a",endpoint="1",result="passed"}', values: 0+12x20 240x20 241+12x20 }
      - { series: 'etcd_gateway_health_checks_total{instance="a",endpoint="1",result="failed"}', values: 0x20 1+12x20 241x20 }
      - { series: 'etcd_gateway_health_checks_total{instance="a",endpoint="2",result="passed"}', values: 0+12x10 120x60 }
      - { series: 'etcd_gateway_health_checks_total{instance="a",endpoint="2",result="failed"}', values: 0x10 1+12x60 }
    alert_rule_test:
      - { alertname: EtcdGatewayEndpointUnhealthy, eval_time: 10m, exp_alerts: [] }
      - alertname: EtcdGatewayEndpointUnhealthy
        eval_time: 13m
        exp_alerts: [ { exp_labels: { instance: a, endpoint: "2" } } ]
      - { alertname: EtcdGatewayHealthChecksFail, eval_time: 19m, exp_alerts: [] }
      - { alertname: EtcdGatewayHealthChecksFail, eval_time: 35m, exp_alerts: [ { exp_labels: { instance: a } } ] }
      - { alertname: EtcdGatewayHealthChecksFail, eval_time: 50m, exp_alerts: [] }
  - name: all endpoints are down, one flaps, clients are rejected, and no more of them could be taken
    interval: 1m
    input_series:
      - { series: 'up{job="etcd-gateway",instance="a"}', values: 0x60 }
      - { series: 'etcd_gateway_endpoint_up{instance="a",endpoint="1"}', values: 0x60 }
      - { series: 'etcd_gateway_endpoint_certificate_expiry_timestamp_seconds{instance="a",endpoint="1"}', values: 864000x60 }
      - { series: 'etcd_gateway_discovery_endpoints{instance="a"}', values: 1x60 }
      - { series: 'etcd_gateway_connections_active{instance="a"}', values: 91x60 }
      - { series: 'etcd_gateway_max_connections{instance="a"}', values: 100x60 }
      - { series: 'etcd_gateway_connections_rejected_total{instance="a",reason="loop"}', values: 0+1x60 }
      - { series: 'etcd_gateway_endpoint_transitions_total{instance="a",endpoint="1",to="inactive"}', values: 0+1x60 }
      - { series: 'etcd_gateway_threads_lost_total{instance="a",thread="admin"}', values: 0x30 1x30 }
    alert_rule_test:
      - alertname: EtcdGatewayDown
        eval_time: 45m
        exp_alerts: [ { exp_labels: { instance: a, job: etcd-gateway } } ]
      - { alertname: EtcdGatewayNoEndpoint, eval_time: 45m, exp_alerts: [ { exp_labels: { instance: a } } ] }
      - alertname: EtcdGatewayRejectsClients
        eval_time: 45m
        exp_alerts: [ { exp_labels: { instance: a, reason: loop } } ]
      - { alertname: EtcdGatewayNearlyFull, eval_time: 45m, exp_alerts: [ { exp_labels: { instance: a } } ] }
      - alertname: EtcdGatewayEndpointFlaps
        eval_time: 45m
        exp_alerts: [ { exp_labels: { instance: a, endpoint: "1", to: inactive } } ]
      - alertname: EtcdGatewayCertificateExpires
        eval_time: 45m
        exp_alerts: [ { exp_labels: { instance: a, endpoint: "1" } } ]
      - alertname: EtcdGatewayThreadLost
        eval_time: 45m
        exp_alerts: [ { exp_labels: { instance: a, thread: admin } } ]
"#;
    let rules = block("groups:");
    let alerts = rules
        .lines()
        .filter_map(|line| line.split_once("- alert: "));
    for (_, alert) in alerts {
        let name = format!("alertname: {alert}");
        let fires = TESTS.split(&name).skip(1);
        let mut fires = fires.filter_map(|rest| rest.split("alertname").next());
        assert!(fires.any(|test| test.contains("exp_labels")), "{alert}");
    }
    let dir = TempDir::new();
    dir.file("rules", rules);
    let tests = dir.file("tests", TESTS);
    let output = tool("promtool", &["test", "rules", &tests]);
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
        "sum(etcd_gateway_bytes_total{direction=\"to_endpoint\"})",
        100.0,
    );
    let endpoint = member.address();
    asked(
        &format!("etcd_gateway_endpoint_up{{endpoint=\"{endpoint}\"}}"),
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
