//! Problems of discovery are shown everywhere for as long as they last: as JSON, on the page, as a
//! metric and at SIGUSR1; the log has the beginning and the end.

use std::net::SocketAddr;

use super::{PLAIN, discover, member, members, publish, refreshed, shares, srv};
use crate::admin::{Samples, admin_of, endpoints, page};
use crate::status::{ask, with_message};
use crate::support::dns::{AAAA, FakeDns, Fault, NXDOMAIN, REFUSED, SERVFAIL};
use crate::support::isolated::isolated;
use crate::support::names::PrivateNames;
use crate::support::pki::Pki;
use crate::support::{Backend, Gateway, Launch, SOON, eventually};

const METRICS: &str = "--metrics-addr=127.0.0.1:0";

/// What there is trouble with now, as a program sees it.
#[track_caller]
fn problems(admin: SocketAddr) -> Vec<String> {
    let (json, _) = endpoints(admin);
    json.texts("problems")
        .into_iter()
        .map(str::to_owned)
        .collect()
}

/// Waits until these are the problems, each by parts of its words, and looks whether all places agree.
#[track_caller]
pub(crate) fn wait_problems(gateway: &Gateway, admin: SocketAddr, wanted: &[&[&str]]) {
    let fits = |(told, parts): (&String, &&[&str])| parts.iter().all(|part| told.contains(part));
    let mut last = Vec::new();
    eventually(SOON, &format!("the problems are {wanted:?}"), || {
        last = problems(admin);
        let all = last.len() == wanted.len() && last.iter().zip(wanted).all(fits);
        all.then_some(())
    });
    let page = page(admin).content;
    for told in &last {
        let escaped = told.replace('&', "&amp;").replace('<', "&lt;");
        let escaped = escaped
            .replace('>', "&gt;")
            .replace('"', "&quot;")
            .replace('\'', "&#39;");
        assert!(page.contains(&escaped), "{told} in {page}");
    }
    assert_eq!(
        page.contains("<ul class=\"problems"),
        !last.is_empty(),
        "{page}"
    );
    let count = Samples::of(admin).get("discovery_problems");
    assert_eq!(count, last.len() as f64);
    let answer = ask(gateway);
    let lines = with_message(&answer, "status of a problem");
    let lines: Vec<&str> = lines.iter().map(|line| line.text("problem")).collect();
    assert_eq!(lines, last);
}

/// Records, and the addresses of targets, fail and come back.
#[test]
fn lookups_that_fail_are_problems_until_they_work_again() {
    const OTHER: &str = "_etcd-client-ssl._tcp.x.test";
    isolated(lookups_that_fail_are_problems_until_they_work_again, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 3] = members();
        publish(&dns, &srv(PLAIN, &[1, 2]));
        let gateway = discover("x.test", &[METRICS]);
        let admin = admin_of(&gateway);
        // That the domain has one of two services is as it should be.
        wait_problems(&gateway, admin, &[]);

        dns.fail(OTHER, Fault::Rcode(REFUSED));
        dns.fail("m2.test", Fault::Rcode(NXDOMAIN));
        publish(&dns, &srv(PLAIN, &[1, 2, 3]));
        refreshed(&gateway, &[3], &[]);
        let host: &[&str] = &["m2.test", "NXDOMAIN"];
        wait_problems(&gateway, admin, &[&[OTHER, "REFUSED"], host]);
        dns.fail(PLAIN, Fault::Rcode(SERVFAIL));
        gateway.signal("HUP");
        let kept: &[&str] = &[PLAIN, "SERVFAIL", "records that stay in use: 3"];
        wait_problems(&gateway, admin, &[&[OTHER, "REFUSED"], kept, host]);
        assert_eq!(shares(&gateway, 9), [3; 3], "what is known stays in use");
        assert!(page(admin).content.contains("ready, with problems"));

        dns.mend();
        gateway.signal("HUP");
        wait_problems(&gateway, admin, &[]);
        let again = gateway.records("SRV lookup works again");
        let names: Vec<_> = again
            .iter()
            .map(|record| {
                (
                    record.text("level"),
                    record.text("name"),
                    record.number("records"),
                )
            })
            .collect();
        assert_eq!(names, [("info", OTHER, 0.0), ("info", PLAIN, 3.0)]);
        let again = gateway.records("resolved endpoint again");
        assert_eq!(again.len(), 1, "{}", gateway.text());
    });
}

/// Nobody answers for the records at the start, and members that they name later speak no TLS.
#[test]
fn members_that_may_not_serve_are_problems_while_endpoints_do() {
    isolated(
        members_that_may_not_serve_are_problems_while_endpoints_do,
        |site| {
            let Some(pki) = Pki::below(site.path("")) else {
                return;
            };
            let dns = FakeDns::start("127.0.0.1");
            let _member = member(2);
            let ca = format!("--trusted-ca-file={}", pki.root("CA").certificate);
            let gateway = Launch::start_with(&[
                "--discovery-srv=x.test",
                "--endpoints=127.1.0.2:2379",
                &ca,
                METRICS,
            ])
            .start();
            let admin = admin_of(&gateway);
            let falling_back: &[&str] = &["SRV records give no endpoint", "--endpoints"];
            let none = ["_etcd-client-ssl._tcp.x.test", "NXDOMAIN"];
            let all: [&[&str]; 3] = [falling_back, &none, &[PLAIN, "NXDOMAIN"]];
            wait_problems(&gateway, admin, &all);
            // A member that another record names with TLS may serve, so it is not a problem.
            let tls = srv("_etcd-client-ssl._tcp.x.test", &[3]);
            publish(&dns, &format!("{tls}{}", srv(PLAIN, &[1, 3])));
            gateway.signal("HUP");
            let insecure: &[&str] = &["m1.test:2379", "speaks no TLS", "--insecure-discovery"];
            wait_problems(&gateway, admin, &[falling_back, insecure]);
            let logged = gateway.wait_record("members without TLS are ignored");
            assert_eq!(logged.texts("members"), ["m1.test:2379"]);
            assert_eq!(shares(&gateway, 2), [0, 2]);
        },
    );
}

/// A start without any address: nothing has ever been answered.
#[test]
fn names_without_an_address_are_problems_from_the_start() {
    let Some(names) = PrivateNames::new("") else {
        return;
    };
    let gateway = names.start(&["--endpoints=b.test:1,a.test:1", METRICS]);
    let admin = admin_of(&gateway);
    let refused = "connection refused";
    wait_problems(
        &gateway,
        admin,
        &[&["a.test", refused], &["b.test", refused]],
    );
    let samples = Samples::of(admin);
    assert_eq!(samples.get("discovery_endpoints"), 0.0);
    let last = samples.get("discovery_last_success_timestamp_seconds");
    assert_eq!(last, 0.0);
    assert!(page(admin).content.contains(">never<"));
    names.set("127.0.0.2 a.test b.test\n");
    gateway.signal("HUP");
    wait_problems(&gateway, admin, &[]);
    let samples = Samples::of(admin);
    let last = samples.get("discovery_last_success_timestamp_seconds");
    assert!(last >= samples.get("process_start_time_seconds"));
}

/// A name of which one family of addresses is answered for, and an endpoint that is the gateway itself.
#[test]
fn half_of_an_answer_and_a_loop_are_problems() {
    isolated(half_of_an_answer_and_a_loop_are_problems, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 1] = members();
        publish(&dns, &srv(PLAIN, &[1]));
        let gateway = discover("x.test", &[METRICS]);
        let admin = admin_of(&gateway);
        let own = gateway.address();
        let loops = format!("{PLAIN} SRV 0 0 {} loop.test\n", own.port());
        let address = format!("loop.test A {}\n", own.ip());
        publish(&dns, &format!("{}{loops}{address}", srv(PLAIN, &[1])));
        dns.fail("m1.test", Fault::Only(AAAA, SERVFAIL));
        gateway.signal("HUP");
        let looped = own.to_string();
        let looped: &[&str] = &["loop.test", &looped, "this gateway itself"];
        let half: &[&str] = &["m1.test", "AAAA", "SERVFAIL"];
        wait_problems(&gateway, admin, &[half, looped]);
        assert_eq!(shares(&gateway, 2), [2]);
        dns.mend();
        publish(&dns, &srv(PLAIN, &[1]));
        gateway.signal("HUP");
        wait_problems(&gateway, admin, &[]);
    });
}
