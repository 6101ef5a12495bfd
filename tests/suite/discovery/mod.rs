//! Endpoints by SRV records, followed for as long as the gateway runs. What each module holds:
//!
//! - `start`: which names are asked, what their answers mean, and what is said when they give nothing
//! - `pick`: priorities and weights, as clients meet them
//! - `follow`: records change
//! - `faults`: name servers fail, at start and later
//! - `untidy`: name servers answer, but not as they should
//! - `problems`: problems are shown everywhere for as long as they last
//! - `servers`, `members`: real name servers, and a real cluster behind one
//!
//! Each test runs on a machine of its own (`support::isolated`), which is why all of them can use port 53, one
//! port for all members and addresses that say which member they are.

use std::net::SocketAddr;

use crate::support::dns::FakeDns;
use crate::support::json::Json;
use crate::support::net::{tag, try_tag};
use crate::support::{Backend, Gateway, Launch, SOON, eventually};

mod faults;
mod follow;
mod members;
mod pick;
pub(crate) mod problems;
mod servers;
mod start;
mod untidy;

/// The plain service of the domain that most tests use.
const PLAIN: &str = "_etcd-client._tcp.x.test";

/// Where member `number` listens, and what `mNUMBER.test` resolves to.
fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([127, 1, 0, number], 2379))
}

/// A member that makes itself known by its digit.
fn member(number: u8) -> Backend {
    let mut member = Backend::dead_at(address(number)).expect("bind a member's address");
    member.up_tagged(b'0' + number);
    member
}

fn members<const COUNT: usize>() -> [Backend; COUNT] {
    std::array::from_fn(|index| member(u8::try_from(index + 1).expect("a digit")))
}

/// Publishes these records and the addresses of members 1 to 9.
fn publish(dns: &FakeDns, records: &str) {
    let addresses: String = (1..=9)
        .map(|number| format!("m{number}.test A {}\n", address(number).ip()))
        .collect();
    dns.publish(&format!("{records}\n{addresses}"));
}

/// One line of SRV data for each member, priority 0 and weight 0.
fn srv(owner: &str, numbers: &[u8]) -> String {
    numbers
        .iter()
        .map(|number| format!("{owner} SRV 0 0 2379 m{number}.test\n"))
        .collect()
}

/// A gateway that discovers its endpoints, plain ones too, and refreshes whenever it is asked to.
fn launch(domain: &str, flags: &[&str]) -> Launch {
    let domain = format!("--discovery-srv={domain}");
    let flags = [&[domain.as_str(), "--insecure-discovery"], flags].concat();
    Launch::start_with(&flags).times("refresh_pause=20")
}

#[track_caller]
fn discover(domain: &str, flags: &[&str]) -> Gateway {
    launch(domain, flags).start()
}

/// Which members serve this many clients, one after the other, as a text of their digits.
#[track_caller]
fn served_by(gateway: &Gateway, clients: usize) -> String {
    (0..clients)
        .map(|_| char::from(tag(gateway.address()).0))
        .collect()
}

/// How often each of the members 1 to `COUNT` serves this many clients.
#[track_caller]
fn shares<const COUNT: usize>(gateway: &Gateway, clients: usize) -> [usize; COUNT] {
    let served = served_by(gateway, clients);
    let shares = std::array::from_fn(|index| {
        let digit = char::from(b'1' + u8::try_from(index).expect("a digit"));
        served.matches(digit).count()
    });
    assert_eq!(
        shares.iter().sum::<usize>(),
        clients,
        "other members served too: {served}"
    );
    shares
}

/// Waits until a new client meets member `number`.
#[track_caller]
fn wait_served_by(gateway: &Gateway, number: u8) {
    eventually(SOON, &format!("member {number} serves"), || {
        try_tag(gateway.address())
            .ok()
            .filter(|(tag, _)| *tag == b'0' + number)
    });
}

/// Asks for a refresh and waits for the change that it brings.
#[track_caller]
fn refreshed(gateway: &Gateway, added: &[u8], removed: &[u8]) {
    gateway.signal("HUP");
    wait_change(gateway, added, removed);
}

/// Waits for a change of the set by exactly these members.
#[track_caller]
fn wait_change(gateway: &Gateway, added: &[u8], removed: &[u8]) {
    gateway.wait_record_where("endpoints changed", |record| {
        change(record) == (texts(added), texts(removed))
    });
}

/// All changes of the set so far, each with what was added and what was removed.
fn changes(gateway: &Gateway) -> Vec<(Vec<String>, Vec<String>)> {
    let all = gateway.records("endpoints changed");
    all.iter().map(change).collect()
}

fn change(record: &Json) -> (Vec<String>, Vec<String>) {
    let [added, removed] = ["added", "removed"].map(|field| {
        let mut addresses: Vec<String> =
            record.texts(field).into_iter().map(str::to_owned).collect();
        addresses.sort();
        addresses
    });
    (added, removed)
}

fn texts(numbers: &[u8]) -> Vec<String> {
    numbers
        .iter()
        .map(|number| address(*number).to_string())
        .collect()
}
