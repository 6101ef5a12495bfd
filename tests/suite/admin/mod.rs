//! `--metrics-addr`: what an operator can read over HTTP. What each module holds:
//!
//! - `requests`: every path and method, what is not a request, and the real curl
//! - `hostile`: clients that are slow, endless, many or not speaking HTTP harm nothing
//! - `counts`: exact figures after known traffic
//! - `changes`: the values in every place that shows a state, before and after it changes
//! - `connections`: the list of open connections, and its bound
//! - `life`: health, readiness, drain, and the flag itself
//! - `prometheus`: the real promtool and the real server, which scrapes and is asked

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::support::json::Json;
use crate::support::{Backend, Gateway, Launch, SOON, connect, eventually};

mod changes;
mod connections;
mod counts;
mod hostile;
mod life;
pub(crate) mod prometheus;
mod requests;

/// A gateway in front of these endpoints that serves metrics on a free port, and that address.
#[track_caller]
pub(crate) fn observed(endpoints: &[SocketAddr], flags: &[&str]) -> (Gateway, SocketAddr) {
    let flags = [&["--metrics-addr=127.0.0.1:0"], flags].concat();
    started(Launch::before(endpoints, &flags))
}

/// The same with other intervals than its own.
#[track_caller]
fn observed_with(times: &str, endpoints: &[SocketAddr]) -> (Gateway, SocketAddr) {
    started(Launch::before(endpoints, &["--metrics-addr=127.0.0.1:0"]).times(times))
}

#[track_caller]
fn started(launch: Launch) -> (Gateway, SocketAddr) {
    let gateway = launch.start();
    let admin = admin_of(&gateway);
    (gateway, admin)
}

/// The address that a gateway says it serves metrics on.
#[track_caller]
pub(crate) fn admin_of(gateway: &Gateway) -> SocketAddr {
    let record = gateway.wait_record("serving metrics");
    record.text("address").parse().expect("a bound address")
}

/// A response, taken apart as RFC 9112 says.
#[derive(Debug)]
pub(crate) struct Reply {
    status: u16,
    fields: BTreeMap<String, String>,
    pub(crate) content: String,
}

impl Reply {
    #[track_caller]
    fn parse(bytes: &[u8]) -> Reply {
        let text = std::str::from_utf8(bytes).expect("a response in UTF-8");
        let (head, content) = text.split_once("\r\n\r\n").expect("a head that ends");
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| {
            let code = line.strip_prefix("HTTP/1.1 ")?.get(..3)?;
            code.parse().ok()
        });
        let fields = lines.map(|line| {
            let (name, value) = line.split_once(": ").expect("a field");
            (name.to_ascii_lowercase(), value.to_owned())
        });
        Reply {
            status: status.unwrap_or_else(|| panic!("no status line in {head:?}")),
            fields: fields.collect(),
            content: content.to_owned(),
        }
    }

    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// Sends these bytes and reads what comes until the end.
#[track_caller]
fn exchange(admin: SocketAddr, request: &[u8]) -> Reply {
    let mut stream = connect(admin);
    stream.write_all(request).expect("send the request");
    answer(stream)
}

#[track_caller]
fn answer(mut stream: TcpStream) -> Reply {
    let mut bytes = Vec::new();
    stream
        .read_to_end(&mut bytes)
        .expect("an answer and a clean end");
    Reply::parse(&bytes)
}

/// Makes a request whose answer may fail.
pub(crate) fn knock(admin: SocketAddr) {
    let mut stream = connect(admin);
    let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    let _ = stream.read_to_end(&mut Vec::new());
}

#[track_caller]
pub(crate) fn get(admin: SocketAddr, path: &str) -> Reply {
    exchange(
        admin,
        format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\n\r\n").as_bytes(),
    )
}

/// What a browser is shown.
#[track_caller]
pub(crate) fn page(admin: SocketAddr) -> Reply {
    let request = format!("GET / HTTP/1.1\r\nHost: {admin}\r\nAccept: text/html\r\n\r\n");
    exchange(admin, request.as_bytes())
}

/// The samples of an exposition: what stands before the value, and the value.
pub(crate) struct Samples(BTreeMap<String, f64>);

impl Samples {
    #[track_caller]
    pub(crate) fn of(admin: SocketAddr) -> Samples {
        let reply = get(admin, "/metrics");
        assert_eq!(reply.status, 200, "{reply:?}");
        let lines = reply.content.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            let name = name.strip_prefix("etcd_gateway_").unwrap_or(name);
            (name.to_owned(), value.parse().expect("a number"))
        });
        Samples(samples.collect())
    }

    /// A sample of the gateway by its name without prefix, with its labels as they are written.
    #[track_caller]
    pub(crate) fn get(&self, name: &str) -> f64 {
        match self.0.get(name) {
            Some(value) => *value,
            None => panic!("no {name} in {:#?}", self.0),
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A sample of one endpoint; `labels` are those behind it.
    #[track_caller]
    fn at(&self, endpoint: SocketAddr, name: &str, labels: &str) -> f64 {
        self.get(&format!("{name}{{address=\"{endpoint}\"{labels}}}"))
    }
}

/// Waits until a sample has a value.
#[track_caller]
pub(crate) fn wait_sample(admin: SocketAddr, name: &str, wanted: f64) {
    let mut last = None;
    eventually(SOON, &format!("{name} is {wanted}"), || {
        let samples = Samples::of(admin);
        last = samples.0.get(name).copied();
        (last == Some(wanted)).then_some(())
    });
}

/// `/endpoints`, parsed.
#[track_caller]
pub(crate) fn endpoints(admin: SocketAddr) -> (Json, Vec<Json>) {
    let reply = get(admin, "/endpoints");
    assert_eq!(
        (reply.status, reply.field("content-type")),
        (200, "application/json")
    );
    let json = Json::parse(&reply.content).expect("valid JSON");
    let list = json.list("endpoints").to_vec();
    (json, list)
}

fn addresses(endpoints: &[&Backend]) -> Vec<SocketAddr> {
    endpoints
        .iter()
        .map(|endpoint| endpoint.address())
        .collect()
}
