//! What is shipped beside the program, below src/deploy: rules for Prometheus, a dashboard, manifests, samples. Each is
//! read by the program that it is for.

use std::collections::BTreeMap;
use std::fmt::Write;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::admin::prometheus::Prometheus;
use crate::admin::{get, observed};
use crate::support::json::Json;
use crate::support::net::{expect_echo, try_tag};
use crate::support::process::{have, tool};
use crate::support::{Backend, Launch, TempDir, eventually, host_offers};

/// A server that starts on a busy machine.
const STARTED: std::time::Duration = std::time::Duration::from_secs(60);

const METRICS_PAGE: &str = include_str!("../../src/deploy/man/etcd-gateway-metrics.7.md");
const RULES: &str = include_str!("../../src/deploy/prometheus-rules.yaml");

/// An alert: what is measured, a value a minute, by metric and labels; from which minute it fires, until which; and the
/// labels that it has then, beside those of every alert.
struct Case {
    alert: &'static str,
    series: &'static [(&'static str, &'static str)],
    fires: (u32, u32),
    labels: &'static [(&'static str, &'static str)],
}

/// Values: `AxN` is A and then N times A; `A+BxN` adds B each time. All that is not of the matter is well.
const CASES: &[Case] = &[
    Case {
        alert: "EtcdGatewayDown",
        series: &[(r#"up{job="etcd-gateway",instance="a"}"#, "1x9 0x9 1x20")],
        fires: (11, 19),
        labels: &[("job", "etcd-gateway")],
    },
    Case {
        alert: "EtcdGatewayNoEndpoint",
        series: &[
            (
                r#"etcd_gateway_endpoint_up{instance="a",address="1"}"#,
                "1x9 0x9 1x20",
            ),
            (
                r#"etcd_gateway_endpoint_up{instance="a",address="2"}"#,
                "0x40",
            ),
            (r#"etcd_gateway_discovery_endpoints{instance="a"}"#, "2x40"),
        ],
        fires: (11, 19),
        labels: &[],
    },
    // None is known, then one is.
    Case {
        alert: "EtcdGatewayNoEndpoint",
        series: &[
            (
                r#"etcd_gateway_endpoint_up{instance="a",address="1"}"#,
                "1x9 stale _x9 1x20",
            ),
            (
                r#"etcd_gateway_discovery_endpoints{instance="a"}"#,
                "1x9 0x10 1x20",
            ),
        ],
        fires: (11, 19),
        labels: &[],
    },
    Case {
        alert: "EtcdGatewayRejectsClients",
        series: &[(
            r#"etcd_gateway_connections_rejected_total{instance="a",reason="loop"}"#,
            "5x9 6+1x9 15x30",
        )],
        fires: (15, 23),
        labels: &[("reason", "loop")],
    },
    Case {
        alert: "EtcdGatewayThreadLost",
        series: &[(
            r#"etcd_gateway_threads_lost_total{instance="a",thread="admin"}"#,
            "0x9 1x90",
        )],
        fires: (10, 69),
        labels: &[("thread", "admin")],
    },
    Case {
        alert: "EtcdGatewayEndpointDown",
        series: &[
            (
                r#"etcd_gateway_endpoint_up{instance="a",address="1"}"#,
                "1x40",
            ),
            (
                r#"etcd_gateway_endpoint_up{instance="a",address="2"}"#,
                "1x9 0x19 1x20",
            ),
            (
                r#"etcd_gateway_endpoint_draining{instance="a",address="2"}"#,
                "0x40",
            ),
            // In maintenance.
            (
                r#"etcd_gateway_endpoint_up{instance="a",address="3"}"#,
                "1x9 0x19 1x20",
            ),
            (
                r#"etcd_gateway_endpoint_draining{instance="a",address="3"}"#,
                "1x40",
            ),
        ],
        fires: (20, 29),
        labels: &[("address", "2")],
    },
    Case {
        alert: "EtcdGatewayEndpointUnhealthy",
        series: &[
            (
                r#"etcd_gateway_endpoint_healthy{instance="a",address="1"}"#,
                "1x40",
            ),
            (
                r#"etcd_gateway_endpoint_healthy{instance="a",address="2"}"#,
                "1x9 0x9 1x20",
            ),
        ],
        fires: (11, 19),
        labels: &[("address", "2")],
    },
    Case {
        alert: "EtcdGatewayEndpointFlaps",
        series: &[
            (
                r#"etcd_gateway_endpoint_transitions_total{instance="a",address="1",to="inactive"}"#,
                "0x9 1+1x9 10x60",
            ),
            (
                r#"etcd_gateway_endpoint_transitions_total{instance="a",address="1",to="active"}"#,
                "0+1x80",
            ),
        ],
        fires: (15, 43),
        labels: &[("address", "1")],
    },
    Case {
        alert: "EtcdGatewayHealthChecksFail",
        series: &[
            (
                r#"etcd_gateway_endpoint_health_checks_total{instance="a",address="1",result="passed"}"#,
                "0+12x9 108x19 120+12x20",
            ),
            (
                r#"etcd_gateway_endpoint_health_checks_total{instance="a",address="1",result="failed"}"#,
                "0x9 12+12x19 240x20",
            ),
            (
                r#"etcd_gateway_endpoint_health_checks_total{instance="a",address="2",result="passed"}"#,
                "0x50",
            ),
            (
                r#"etcd_gateway_endpoint_health_checks_total{instance="a",address="2",result="failed"}"#,
                "0+12x50",
            ),
        ],
        fires: (15, 29),
        labels: &[],
    },
    Case {
        alert: "EtcdGatewayNearlyFull",
        series: &[
            (
                r#"etcd_gateway_connections_active{instance="a"}"#,
                "90x9 91x9 90x20",
            ),
            (r#"etcd_gateway_max_connections{instance="a"}"#, "100x40"),
        ],
        fires: (15, 19),
        labels: &[],
    },
    // 14 days are 1,209,600 seconds; the certificate is renewed.
    Case {
        alert: "EtcdGatewayCertificateExpires",
        series: &[(
            r#"etcd_gateway_endpoint_certificate_expiry_timestamp_seconds{instance="a",address="1"}"#,
            "1210170x19 9999999x20",
        )],
        fires: (10, 19),
        labels: &[("address", "1")],
    },
    Case {
        alert: "EtcdGatewayDiscoveryFails",
        series: &[(
            r#"etcd_gateway_discovery_last_success_timestamp_seconds{instance="a"}"#,
            "0+60x9 540x49 3540+60x20",
        )],
        fires: (40, 59),
        labels: &[],
    },
    Case {
        alert: "EtcdGatewayProblem",
        series: &[(
            r#"etcd_gateway_discovery_problems{instance="a"}"#,
            "0x9 1x49 0x20",
        )],
        fires: (40, 59),
        labels: &[],
    },
    Case {
        alert: "EtcdGatewayReloadFailed",
        series: &[
            (
                r#"etcd_gateway_reloads_total{instance="a",result="failure"}"#,
                "0x9 1x90",
            ),
            (
                r#"etcd_gateway_reloads_total{instance="a",result="success"}"#,
                "0+1x99",
            ),
        ],
        fires: (10, 69),
        labels: &[("result", "failure")],
    },
    Case {
        alert: "EtcdGatewayLogLinesDropped",
        series: &[
            (
                r#"etcd_gateway_log_lines_dropped_total{instance="a"}"#,
                "0x9 3x90",
            ),
            (
                r#"etcd_gateway_access_log_lines_dropped_total{instance="a"}"#,
                "0x99",
            ),
        ],
        fires: (10, 69),
        labels: &[],
    },
];

/// The alerts of the rules, each with its severity and its annotations.
fn alerts() -> BTreeMap<&'static str, Vec<(&'static str, &'static str)>> {
    let sections = RULES.split("- alert: ").skip(1);
    let alerts = sections.map(|section| {
        let name = section.lines().next().unwrap_or_default();
        let fields = section
            .lines()
            .filter_map(|line| line.trim().split_once(": "));
        let wanted = ["severity", "summary", "description", "runbook"];
        let fields = fields.filter(|(key, _)| wanted.contains(key));
        (
            name,
            fields
                .map(|(key, text)| (key, text.trim_matches('"')))
                .collect(),
        )
    });
    alerts.collect()
}

/// Each alert has a severity and its three sentences, and fires and ends as it should, by Prometheus' own test of rules.
#[test]
fn every_alert_fires_and_ends() {
    if !host_offers(have("promtool"), "promtool") {
        return;
    }
    let alerts = alerts();
    for (alert, fields) in &alerts {
        let keys: Vec<&str> = fields.iter().map(|(key, _)| *key).collect();
        assert_eq!(
            keys,
            ["severity", "summary", "description", "runbook"],
            "{alert}"
        );
        assert!(["critical", "warning"].contains(&fields[0].1), "{alert}");
        assert!(
            CASES.iter().any(|case| case.alert == *alert),
            "{alert} is not tested"
        );
        let row = format!("| `{alert}` | {} | ", fields[0].1);
        assert!(METRICS_PAGE.contains(&row), "the page has no {row}");
    }
    let mut tests = "rule_files: [rules]\nevaluation_interval: 1m\ntests:\n".to_owned();
    for case in CASES {
        let fields = &alerts[case.alert];
        let mut labels: BTreeMap<&str, &str> = case.labels.iter().copied().collect();
        labels.insert("instance", "a");
        let mut said = String::new();
        for (key, text) in &fields[1..] {
            let text = labels
                .iter()
                .fold((*text).to_owned(), |text, (label, value)| {
                    text.replace(&format!("{{{{ $labels.{label} }}}}"), value)
                });
            assert!(!text.contains("{{"), "{}: {text}", case.alert);
            write!(said, " {key}: \"{text}\",").expect("a String takes it");
        }
        labels.insert("severity", fields[0].1);
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}: \"{value}\""))
            .collect();
        let series: String = case
            .series
            .iter()
            .map(|(series, values)| {
                format!("      - {{ series: '{series}', values: '{values}' }}\n")
            })
            .collect();
        write!(
            tests,
            "  - interval: 1m\n    input_series:\n{series}    alert_rule_test:\n"
        )
        .expect("a String takes it");
        let fires = format!(
            "[ {{ exp_labels: {{ {} }}, exp_annotations: {{{said} }} }} ]",
            labels.join(", ")
        );
        let (first, last) = case.fires;
        for (at, expected) in [
            (first - 1, "[]"),
            (first, &fires),
            (last, &fires),
            (last + 1, "[]"),
        ] {
            writeln!(
                tests,
                "      - {{ alertname: {}, eval_time: {at}m, exp_alerts: {expected} }}",
                case.alert
            )
            .expect("a String takes it");
        }
    }
    let dir = TempDir::new();
    dir.file("rules", RULES);
    let tests = dir.file("tests", &tests);
    let output = tool("promtool", &["test", "rules", &tests]);
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

const DASHBOARD: &str = include_str!("../../src/deploy/grafana-dashboard.json");

/// All texts of this key below a value.
fn texts<'j>(value: &'j Json, key: &str, found: &mut Vec<&'j str>) {
    match value {
        Json::Object(members) => {
            for (name, member) in members {
                match member {
                    Json::Text(text) if name == key => found.push(text),
                    _ => texts(member, key, found),
                }
            }
        }
        Json::List(items) => items.iter().for_each(|item| texts(item, key, found)),
        _ => {}
    }
}

/// Rules and dashboard ask for nothing that the gateway does not serve.
#[test]
fn rules_and_dashboard_name_metrics_that_there_are() {
    let member = Backend::tagged(b't');
    let (_gateway, admin) = observed(&[member.address()], &[]);
    let exposition = get(admin, "/metrics").content;
    let types = exposition
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    let families: Vec<&str> = types.filter_map(|rest| rest.split(' ').next()).collect();
    for (what, text) in [("rules", RULES), ("dashboard", DASHBOARD)] {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let names =
            words.filter(|word| word.starts_with("etcd_gateway_") || word.starts_with("process_"));
        let names: Vec<&str> = names.map(|name| name.trim_end_matches("_bucket")).collect();
        assert!(names.len() > 10, "{names:?}");
        for name in names {
            assert!(families.contains(&name), "{what} ask for {name}");
        }
    }
}

/// Every question of the dashboard has an answer from a real Prometheus that scrapes a gateway in trouble.
#[test]
fn every_query_of_the_dashboard_has_an_answer() {
    if !host_offers(have("prometheus"), "prometheus") {
        return;
    }
    let dashboard = Json::parse(DASHBOARD.trim_end()).expect("the dashboard is JSON");
    assert_eq!(dashboard.number("schemaVersion"), 39.0);
    let panels = dashboard.list("panels");
    let ids: std::collections::BTreeSet<String> =
        panels.iter().map(|p| p.number("id").to_string()).collect();
    assert_eq!(ids.len(), panels.len(), "ids of panels are their own");
    let mut queries = Vec::new();
    texts(&dashboard, "expr", &mut queries);
    assert!(queries.len() > 20, "{queries:?}");
    // One endpoint is down, and clients are rejected.
    let (member, dead) = (Backend::tagged(b't'), Backend::dead());
    let flags = ["--max-connections=2"];
    let (gateway, admin) = observed(&[member.address(), dead.address()], &flags);
    let prometheus = Prometheus::start(admin);
    let kept = [0, 1].map(|_| try_tag(gateway.address()).expect("a client is served").1);
    for query in queries {
        let query = query
            .replace("job=~\"$job\"", "job=~\".+\"")
            .replace("instance=~\"$instance\"", "instance=~\".+\"")
            .replace("$__rate_interval", "10s");
        // That hides lines which are zero.
        let query = query.trim_end_matches(" > 0").to_owned();
        assert!(!query.contains('$'), "{query}");
        // What has nothing to show where nothing is authenticated.
        if query.contains("certificate_expiry") {
            continue;
        }
        eventually(STARTED, &format!("{query} has a value"), || {
            // One is rejected, another served to its end.
            drop(std::net::TcpStream::connect(gateway.address()));
            kept.iter().for_each(|client| expect_echo(client, 1));
            prometheus.value(&query).map(drop)
        });
    }
}

fn deployed(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/deploy")
        .join(path)
}

/// The manifests are what Kubernetes' own schemas say, in the oldest version that has sidecars and in a newer one.
#[test]
fn manifests_are_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let library = root.join(target).join("kubernetes-validate");
    if !host_offers(library.exists(), "kubernetes-validate (make deps)") {
        return;
    }
    let validated = |file: &Path, version: &str| {
        let mut python = Command::new("python3");
        python.arg(library.join("bin/kubernetes-validate"));
        python.args(["--strict", "--kubernetes-version", version]);
        let output = python.arg(file).env("PYTHONPATH", &library).output();
        output.expect("run python3")
    };
    for name in ["sidecar", "daemonset", "networkpolicy"] {
        let file = deployed(&format!("kubernetes/{name}.yaml"));
        for version in ["1.29", "1.33"] {
            let output = validated(&file, version);
            assert!(output.status.success(), "{name}: {output:?}");
        }
    }
    let dir = TempDir::new();
    let sidecar = std::fs::read_to_string(deployed("kubernetes/sidecar.yaml")).expect("read it");
    let wrong = dir.file(
        "wrong.yaml",
        &sidecar.replace("restartPolicy:", "restartpolicy:"),
    );
    let output = validated(Path::new(&wrong), "1.29");
    assert!(!output.status.success(), "it takes anything: {output:?}");
}

/// What the manifests set is taken by the program.
#[test]
fn settings_of_the_manifests_are_settings() {
    for name in ["sidecar", "daemonset"] {
        let text =
            std::fs::read_to_string(deployed(&format!("kubernetes/{name}.yaml"))).expect("read it");
        let mut settings = String::new();
        let mut lines = text
            .lines()
            .map(|line| line.trim().trim_start_matches("- "));
        while let Some(line) = lines.next() {
            let Some(variable) = line.strip_prefix("name: ETCD_GATEWAY_") else {
                continue;
            };
            let value = lines
                .next()
                .and_then(|line| line.strip_prefix("value: "))
                .expect("a value");
            let value = value.trim_matches('"').replace("$(NODE)", "192.0.2.1");
            settings += &format!("ETCD_GATEWAY_{variable}={value}\n");
        }
        assert!(settings.lines().count() > 2, "{settings}");
        let dir = TempDir::new();
        let file = dir.file("settings", &settings);
        let outcome = Launch::exactly(&["config", "--config-file", &file, "--output=env"]).run();
        assert_eq!(outcome.code, Some(0), "{name}: {outcome:?}");
        assert!(!outcome.stdout.contains("# warning"), "{name}: {outcome:?}");
    }
}

/// The real logrotate reads the sample, and would rotate what it names.
#[test]
fn logrotate_reads_the_sample() {
    if !host_offers(have("logrotate"), "logrotate") {
        return;
    }
    let dir = TempDir::new();
    let sample = std::fs::read_to_string(deployed("logrotate")).expect("read it");
    let log = dir.file("access.log", "{}\n");
    let sample = dir.file(
        "sample",
        &sample.replace("/var/log/etcd-gateway/access.log", &log),
    );
    let state = format!("{}/state", dir.path().display());
    let output = tool("logrotate", &["--force", "--state", &state, &sample]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{output:?}");
    assert!(Path::new(&format!("{log}.1")).exists(), "it was rotated");
}
