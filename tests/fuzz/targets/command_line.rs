//! A command line with its environment and its settings file: three parts with a zero between,
//! of which the first has an argument per line, the second a variable.
//!
//! What is accepted is accepted again in the form that `config` prints, and means the same.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::{Target, harmless};
use crate::cli::{Invocation, parse};
use crate::config::{Config, Form, Settings};

pub(super) const TARGET: Target = Target {
    name: "command-line",
    seeds,
    run,
    max_input: 1024,
};

fn run(input: &[u8]) {
    let mut parts = input.split(|octet| *octet == 0);
    let mut lines = || {
        let lines = parts
            .next()
            .unwrap_or_default()
            .split(|octet| *octet == b'\n');
        Vec::from_iter(lines.map(|line| OsStr::from_bytes(line).to_owned()))
    };
    let mut argv = vec!["etcd-gateway".into()];
    argv.extend(lines());
    let environment: Vec<(OsString, OsString)> = lines()
        .iter()
        .filter_map(|line| {
            let at = line.as_bytes().iter().position(|octet| *octet == b'=')?;
            let (name, value) = line.as_bytes().split_at(at);
            let owned = |octets| OsStr::from_bytes(octets).to_owned();
            Some((owned(name), owned(&value[1..])))
        })
        .collect();
    let content = parts.next().unwrap_or_default();
    match parse(argv, &environment, &|_, _| Ok(Some(content.to_vec()))) {
        Ok(Invocation::Start { config, warnings }) => {
            warnings.iter().for_each(|warning| harmless(warning));
            means_the_same(config, &warnings);
        }
        Ok(_) => {}
        Err(error) => harmless(&error.to_string()),
    }
}

fn means_the_same(config: Config, warnings: &[String]) {
    let printed = config.settings.render(Form::Env, warnings);
    let argv = ["etcd-gateway", "start", "--config-file", "x"].map(Into::into);
    let read = |_: &_, _| Ok(Some(printed.clone().into_bytes()));
    let again = match parse(argv.into(), &[], &read) {
        Ok(Invocation::Start { config, .. }) => config,
        other => panic!("{printed}\n{other:?}"),
    };
    let settings = Settings::default();
    let again = Config { settings, ..again };
    let settings = Settings::default();
    assert_eq!(Config { settings, ..config }, again, "{printed}");
}

fn seeds() -> Vec<Vec<u8>> {
    [
        "start\n--endpoints=a:1,\"[::1]:2\"\n--listen-addr\n:1\n--retry-delay=1m0.5s\n--policy=least-connections",
        "gateway\nstart\n--discovery-srv\na.example\n--discovery-srv-name=b\n--insecure-discovery\n--drain-timeout=0",
        "start\0ETCD_GATEWAY_ENDPOINTS_FILE=/a b\nETCD_GATEWAY_HEALTH_CHECK=http://:2381/readyz\n\
         ETCD_GATEWAY_MAX_CONNECTIONS=auto\nETCD_GATEWAY_PORT_1=x",
        "start\n--config-file=-/x\0\0ETCD_GATEWAY_CLOSE_REMOVED=never\nETCD_GATEWAY_ACCESS_LOG='./a \"b\"'\n\
         ETCD_GATEWAY_VERIFY_ENDPOINTS=true\nETCD_GATEWAY_DISCOVERY_SERVER_NAME=a.b\nOTHER=1\n",
        "start\n--metrics-addr=http://[fe80::1%eth0]:1/\n--trusted-ca-file=/x\n--log-level=warn\n--log-format\njson",
        "config\n--output=json\n--close-unhealthy=1.5h\n--answer-timeout=0s\n--reload-timeout=1us",
        "start\n--endpoint=x\n-h\n--\n--version",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
