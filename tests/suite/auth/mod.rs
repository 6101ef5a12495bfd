//! Endpoints that must authenticate before they get a client. What each module holds:
//!
//! - `impostors`: every way not to be a member, each rejected for its own reason, and none ever gets a client
//! - `takeover`: an address changes hands while the gateway runs
//! - `start`: what a start makes of members that do and do not pass
//! - `names`: which name has to be proven
//! - `algorithms`: keys, chains and versions of TLS of true members
//! - `roots`: the authorities, and what is wrong with their file
//! - `follow`: the authorities change while the gateway runs
//! - `rotation`: a real cluster moves to another authority
//! - `advisories`: the four advisories on the reference's gateway, and D15 and D23
//! - `check`: the dry run
//! - `clients`: how clients verify members that they reach through the gateway
//! - `cluster`: a real cluster that speaks TLS, its clients and a real name server
//! - `crowd`: very many members that say nothing
//!
//! Members are fronts (`support::front`); all that discover them run on a machine of their own
//! (`support::isolated`), where member NUMBER is 127.1.0.NUMBER:2379, alias mNUMBER.test.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::support::dns::FakeDns;
use crate::support::front::{Face, Front, TlsServer, ask};
use crate::support::gateway::Outcome;
use crate::support::isolated::Site;
use crate::support::json::Json;
use crate::support::pki::{Certified, Pki, Request};
use crate::support::{Gateway, Launch, SOON, eventually};

mod advisories;
pub(crate) mod algorithms;
mod check;
mod clients;
mod cluster;
mod crowd;
mod follow;
mod impostors;
mod names;
mod roots;
mod rotation;
mod start;
mod takeover;

/// The service of members that speak TLS, and the one of those that do not.
const SECURE: &str = "_etcd-client-ssl._tcp.x.test";
const PLAIN: &str = "_etcd-client._tcp.x.test";
/// What is logged of an endpoint that did not pass.
const REFUSED: &str = "endpoint failed authentication; not sending it connections";

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([127, 1, 0, number], 2379))
}

/// A name server, an authority, and a server that it has certified for x.test.
struct Stage {
    dns: FakeDns,
    pki: Pki,
    root: Certified,
    good: Arc<TlsServer>,
}

impl Stage {
    /// Nothing where the host has no openssl.
    fn set(site: &Site) -> Option<Stage> {
        let pki = Pki::below(site.path(""))?;
        let root = pki.root("true CA");
        let shown = pki.issue(&root, &Request::server("DNS:x.test"));
        let good = TlsServer::start(&pki, &shown, &[]);
        Some(Stage {
            dns: FakeDns::start("127.0.0.1"),
            pki,
            root,
            good,
        })
    }

    fn true_face(&self) -> Face {
        Face::Tls(Arc::clone(&self.good))
    }

    /// A member that passes.
    fn member(&self, number: u8) -> Front {
        Front::at(address(number), number, self.true_face())
    }

    /// A face that shows a certificate for x.test of an authority that nobody trusts.
    fn false_face(&self) -> Face {
        let other = self.pki.root("false CA");
        let shown = self.pki.issue(&other, &Request::server("DNS:x.test"));
        Face::Tls(TlsServer::start(&self.pki, &shown, &[]))
    }

    /// Publishes these members of the service that speaks TLS.
    fn publish(&self, numbers: &[u8]) {
        self.publish_under(SECURE, numbers);
    }

    fn publish_under(&self, owner: &str, numbers: &[u8]) {
        let record = |number: &u8| {
            let ip = address(*number).ip();
            format!("{owner} SRV 0 0 2379 m{number}.test\nm{number}.test A {ip}\n")
        };
        self.dns
            .publish(&numbers.iter().map(record).collect::<String>());
    }

    /// `start` with discovery in x.test and this stage's authority.
    fn launch(&self, flags: &[&str]) -> Launch {
        Launch::start_with(&self.flags(flags)).times("refresh_pause=20")
    }

    /// `check` of the same.
    fn check(&self, flags: &[&str]) -> Outcome {
        Launch::exactly(&[&["check"], self.flags(flags).as_slice()].concat()).run()
    }

    fn flags<'a>(&'a self, flags: &[&'a str]) -> Vec<&'a str> {
        let mut all = vec!["--discovery-srv=x.test"];
        all.extend(["--trusted-ca-file", &self.root.certificate]);
        all.extend(flags);
        all
    }

    /// Publishes these members, asks the gateway to look, and waits until it has.
    #[track_caller]
    fn republish(&self, gateway: &Gateway, numbers: &[u8], added: &[u8], removed: &[u8]) {
        self.publish(numbers);
        gateway.signal("HUP");
        let texts = |numbers: &[u8]| numbers.iter().map(|n| address(*n).to_string()).collect();
        let wanted: [Vec<String>; 2] = [texts(added), texts(removed)];
        gateway.wait_record_where("endpoints changed", |record| {
            record.texts("added") == wanted[0] && record.texts("removed") == wanted[1]
        });
    }
}

/// How many of this many clients each member serves; a client that is not served fails the test.
#[track_caller]
fn shares<const COUNT: usize>(gateway: &Gateway, clients: usize) -> [usize; COUNT] {
    let mut shares = [0; COUNT];
    for client in 0..clients {
        let number = ask(gateway.address()).unwrap_or_else(|error| {
            panic!("client {client} is not served: {error}\n{}", gateway.text())
        });
        let share = shares.get_mut(usize::from(number) - 1);
        *share.unwrap_or_else(|| panic!("member {number} serves")) += 1;
    }
    shares
}

/// Waits until a client is served by this member.
#[track_caller]
fn wait_served_by(gateway: &Gateway, number: u8) {
    eventually(SOON, &format!("member {number} serves"), || {
        (ask(gateway.address()).ok()? == number).then_some(())
    });
}

/// The first record of this endpoint's refusal.
#[track_caller]
fn wait_refused(gateway: &Gateway, address: SocketAddr) -> Json {
    wait_refused_for(gateway, address, "")
}

/// The first whose reason contains this.
#[track_caller]
fn wait_refused_for(gateway: &Gateway, address: SocketAddr, reason: &str) -> Json {
    let text = address.to_string();
    gateway.wait_record_where(&format!("{REFUSED}: {text}: {reason}"), |record| {
        record.text("msg") == REFUSED
            && record.text("address") == text
            && record.text("error").contains(reason)
    })
}

/// Waits until the gateway has said this of an endpoint more than `before` times.
#[track_caller]
fn wait_said(gateway: &Gateway, msg: &str, address: SocketAddr, before: usize) {
    eventually(SOON, &format!("{msg}: {address}"), || {
        (said(gateway, msg, address) > before).then_some(())
    });
}

/// How often the gateway has said this of an endpoint.
fn said(gateway: &Gateway, msg: &str, address: SocketAddr) -> usize {
    let text = address.to_string();
    let records = gateway.records(msg);
    let of_it = records
        .iter()
        .filter(|record| record.text("address") == text);
    of_it.count()
}

/// A start that ends: exit 1, nothing on stdout, and a last line on stderr that holds all of `words`. Before it may
/// stand log lines, all JSON.
#[track_caller]
fn expect_failed(outcome: &Outcome, words: &[&str]) -> String {
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert_eq!(outcome.stdout, "", "{outcome:?}");
    let mut lines: Vec<&str> = outcome.stderr.lines().collect();
    let last = lines.pop().unwrap_or_default();
    assert!(last.starts_with("etcd-gateway: "), "{outcome:?}");
    for line in lines {
        assert!(Json::parse(line).is_ok(), "{line:?} in {outcome:?}");
    }
    for word in words {
        assert!(last.contains(word), "{word:?} is missing in {last}");
    }
    last.to_owned()
}
