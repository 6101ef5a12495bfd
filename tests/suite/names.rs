//! Names as endpoints: each address is an endpoint of its own, records are followed, and a name that cannot be
//! resolved harms no other endpoint.

use std::net::SocketAddr;

use crate::support::json::Json;
use crate::support::names::{PrivateNames, same_port};
use crate::support::net::{expect_echo, expect_refused, tag, try_tag};
use crate::support::{Backend, SOON, eventually};

fn shares(address: SocketAddr, clients: usize) -> (usize, usize) {
    let tags: Vec<u8> = (0..clients).map(|_| tag(address).0).collect();
    let ones = tags.iter().filter(|&&tag| tag == b'1').count();
    (ones, tags.len() - ones)
}

// D20: a name with many addresses is many endpoints.
#[test]
fn addresses_of_one_name_share_evenly_over_both_families() {
    let Some(names) = PrivateNames::new("127.0.0.1 both.test\n::1 both.test\n") else {
        return;
    };
    let (v4, _v6) = same_port("127.0.0.1", "::1");
    let gateway = names.start(&[&format!("--endpoints=both.test:{}", v4.address().port())]);
    assert_eq!(shares(gateway.address(), 20), (10, 10));
}

// D20: one address of a name fails without the others.
#[test]
fn dead_address_of_a_name_does_not_disable_the_others() {
    let Some(names) =
        PrivateNames::new("127.0.0.2 many.test\n127.0.0.3 many.test\n127.0.0.4 many.test\n")
    else {
        return;
    };
    let (one, _two) = same_port("127.0.0.2", "127.0.0.3");
    let gateway = names.start(&[
        &format!("--endpoints=many.test:{}", one.address().port()),
        "--retry-delay=1m",
    ]);
    for _ in 0..3 {
        tag(gateway.address());
    }
    let record = gateway.wait_record("deactivated endpoint");
    assert_eq!(
        record.text("address"),
        format!("127.0.0.4:{}", one.address().port())
    );
    assert!(
        record.text("name").starts_with("many.test:"),
        "names the configured endpoint too: {record:?}"
    );
    assert_eq!(shares(gateway.address(), 20), (10, 10));
}

#[test]
fn localhost_serves_on_whatever_it_resolves_to() {
    let Some(names) = PrivateNames::new("127.0.0.1 localhost\n::1 localhost\n") else {
        return;
    };
    let (v4, _v6) = same_port("127.0.0.1", "::1");
    let gateway = names.start(&[&format!("--endpoints=localhost:{}", v4.address().port())]);
    assert_eq!(shares(gateway.address(), 20), (10, 10));
}

/// An address that a name and a literal have in common, or two names, is one target.
#[test]
fn address_under_two_names_gets_one_share() {
    let Some(names) =
        PrivateNames::new("127.0.0.2 one.test\n127.0.0.2 alias.test\n127.0.0.3 two.test\n")
    else {
        return;
    };
    let (one, _two) = same_port("127.0.0.2", "127.0.0.3");
    let port = one.address().port();
    let list =
        format!("--endpoints=one.test:{port},alias.test:{port},two.test:{port},127.0.0.2:{port}");
    let gateway = names.start(&[&list]);
    assert_eq!(shares(gateway.address(), 20), (10, 10));
}

// D11: an endpoint that cannot be resolved is a warning; the others serve.
#[test]
fn unresolvable_endpoint_beside_a_good_one_starts_and_serves() {
    let Some(names) = PrivateNames::new("127.0.0.1 localhost\n") else {
        return;
    };
    let good = Backend::tagged(b'1');
    let list = format!("--endpoints=nothing.invalid:2379,{}", good.address());
    let gateway = names.start(&[&list]);
    let record = gateway.wait_record("cannot resolve endpoint, will try again");
    assert_eq!(record.text("host"), "nothing.invalid");
    assert_eq!(shares(gateway.address(), 10), (10, 0));
}

// D11: start does not depend on the name service at all.
#[test]
fn endpoint_that_appears_later_is_served() {
    let Some(names) = PrivateNames::new("127.0.0.1 localhost\n") else {
        return;
    };
    let later = Backend::tagged(b'1');
    let list = format!("--endpoints=later.test:{}", later.address().port());
    let gateway = names.start(&[&list, "--retry-delay=200ms"]);
    gateway.wait_record("cannot resolve endpoint, will try again");
    let record = gateway.wait_record("no endpoint is known; rejecting clients until there is one");
    assert_eq!(record.text("level"), "warn", "{record:?}");
    expect_refused(gateway.address());
    names.set("127.0.0.1 later.test\n");
    let found = eventually(SOON * 2, "the name is resolved", || {
        try_tag(gateway.address()).ok()
    });
    assert_eq!(found.0, b'1');
}

// D11: a changed record is followed; connections to the old address live on.
#[test]
fn changed_record_is_followed() {
    let Some(names) = PrivateNames::new("127.0.0.2 moving.test\n") else {
        return;
    };
    let (old, _new) = same_port("127.0.0.2", "127.0.0.3");
    let list = format!("--endpoints=moving.test:{}", old.address().port());
    let gateway = names.start(&[&list, "--retry-delay=200ms"]);
    let (on, open) = try_tag(gateway.address()).expect("served");
    assert_eq!(on, b'1');
    names.set("127.0.0.3 moving.test\n");
    let port = old.address().port();
    let [gone, come] = ["127.0.0.2", "127.0.0.3"].map(|ip| format!("{ip}:{port}"));
    gateway.wait_record_where("the change is logged", |record| {
        record.texts("removed") == [gone.as_str()] && record.texts("added") == [come.as_str()]
    });
    assert_eq!(shares(gateway.address(), 6), (0, 6));
    expect_echo(&open, 1);
}

/// The name service fails; what is known stays.
#[test]
fn resolver_failure_removes_nothing() {
    let Some(names) = PrivateNames::new("127.0.0.2 fragile.test\n") else {
        return;
    };
    let (known, _other) = same_port("127.0.0.2", "127.0.0.3");
    let list = format!("--endpoints=fragile.test:{}", known.address().port());
    let gateway = names.start(&[&list, "--retry-delay=200ms"]);
    tag(gateway.address());
    names.set("127.0.0.1 localhost\n");
    gateway.wait_record("cannot resolve endpoint, will try again");
    assert_eq!(shares(gateway.address(), 6), (6, 0));
    let lines = gateway.lines();
    let records = lines.iter().filter_map(|line| Json::parse(line).ok());
    let removals = records.filter(|record| !record.texts("removed").is_empty());
    assert_eq!(removals.count(), 0, "{}", gateway.text());
}
