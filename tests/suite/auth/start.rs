//! What a start makes of members of which some, or none, or the wrong ones pass.

use std::time::{Duration, Instant};

use super::{
    PLAIN, REFUSED, SECURE, Stage, address, expect_failed, said, shares, wait_refused, wait_said,
    wait_served_by,
};
use crate::support::Launch;
use crate::support::front::{Face, Front, TlsServer};
use crate::support::isolated::isolated;
use crate::support::pki::Request;

/// Seven members, one of which accepts and says nothing: that costs the start the time of one dial, once.
#[test]
fn silent_member_does_not_delay_the_start_beyond_the_dial_timeout() {
    isolated(
        silent_member_does_not_delay_the_start_beyond_the_dial_timeout,
        |site| {
            let Some(stage) = Stage::set(site) else {
                return;
            };
            let _members: [Front; 6] =
                std::array::from_fn(|index| stage.member(u8::try_from(index + 1).expect("small")));
            let silent = Front::at(address(7), 7, Face::Silent);
            stage.publish(&[1, 2, 3, 4, 5, 6, 7]);
            let begun = Instant::now();
            let gateway = stage.launch(&["--dial-timeout=1500ms"]).start();
            let took = begun.elapsed();
            // One after the other, two silences would be 3 s; six handshakes take far less than the rest.
            assert!(took < Duration::from_millis(2900), "started after {took:?}");
            assert_eq!(shares(&gateway, 12), [2, 2, 2, 2, 2, 2, 0]);
            wait_refused(&gateway, silent.address());
            assert_eq!(silent.clients(), 0);
        },
    );
}

/// Nor do several of them cost more than one: all are asked at the same time.
#[test]
fn silent_members_are_waited_for_in_parallel() {
    isolated(silent_members_are_waited_for_in_parallel, |site| {
        let Some(stage) = Stage::set(site) else {
            return;
        };
        let _members: [Front; 4] =
            std::array::from_fn(|index| stage.member(u8::try_from(index + 1).expect("small")));
        let silent: [Front; 3] = std::array::from_fn(|index| {
            let number = u8::try_from(index + 5).expect("small");
            Front::at(address(number), number, Face::Trickles)
        });
        stage.publish(&[1, 2, 3, 4, 5, 6, 7]);
        let begun = Instant::now();
        let gateway = stage.launch(&["--dial-timeout=1500ms"]).start();
        let took = begun.elapsed();
        assert!(took < Duration::from_millis(2900), "started after {took:?}");
        assert_eq!(shares(&gateway, 8), [2, 2, 2, 2]);
        assert!(silent.iter().all(|front| front.clients() == 0));
    });
}

/// With members that pass, the others are only left out; they serve as soon as they pass.
#[test]
fn member_that_passes_later_serves_from_then_on() {
    isolated(member_that_passes_later_serves_from_then_on, |site| {
        let Some(stage) = Stage::set(site) else {
            return;
        };
        let (_first, second, mut third) = (stage.member(1), stage.member(2), stage.member(3));
        second.show(stage.false_face());
        third.down();
        stage.publish(&[1, 2, 3]);
        let gateway = stage.launch(&["--retry-delay=200ms"]).start();
        assert_eq!(shares(&gateway, 10), [10]);
        wait_refused(&gateway, address(2));
        let down = wait_refused(&gateway, address(3));
        assert!(down.text("error").contains("onnection refused"), "{down:?}");
        assert!(down.get("subject").is_none(), "{down:?}");
        second.show(stage.true_face());
        third.up();
        wait_said(&gateway, "activated", address(2), 0);
        wait_said(&gateway, "activated", address(3), 0);
        assert_eq!(shares(&gateway, 12), [4, 4, 4]);
        assert_eq!(said(&gateway, REFUSED, address(1)), 0);
    });
}

/// What is published as a plain service says of itself that it can prove nothing.
#[test]
fn plain_records_are_rejected_as_insecure() {
    isolated(plain_records_are_rejected_as_insecure, |site| {
        let Some(stage) = Stage::set(site) else {
            return;
        };
        // Although it could.
        let (plain, _secure) = (stage.member(1), stage.member(2));
        stage.publish_under(PLAIN, &[1]);
        let outcome = stage.launch(&[]).run();
        expect_failed(&outcome, &[PLAIN, "--insecure-discovery", "no endpoint"]);
        stage.dns.publish(&format!(
            "{PLAIN} SRV 0 0 2379 m1.test\n{SECURE} SRV 0 0 2379 m2.test\n\
             m1.test A 127.1.0.1\nm2.test A 127.1.0.2\n"
        ));
        let gateway = stage.launch(&[]).start();
        assert_eq!(shares(&gateway, 6), [0, 6]);
        assert_eq!(plain.visits().len(), 0, "not even asked");
    });
}

/// Explicit endpoints are the operator's word: they serve while nothing else may, and no longer.
#[test]
fn explicit_endpoints_serve_until_a_member_passes() {
    isolated(explicit_endpoints_serve_until_a_member_passes, |site| {
        let Some(stage) = Stage::set(site) else {
            return;
        };
        let member = stage.member(1);
        member.show(stage.false_face());
        let _spare = Front::at(address(2), 2, Face::Says(b""));
        stage.publish(&[1]);
        let flags = ["--endpoints=127.1.0.2:2379", "--retry-delay=200ms"];
        let gateway = stage.launch(&flags).start();
        let warning =
            gateway.wait_record("SRV records give no endpoint; using --endpoints until they do");
        assert_eq!(warning.text("level"), "warn");
        assert!(
            warning.text("reason").contains("authenticated"),
            "{warning:?}"
        );
        wait_refused(&gateway, address(1));
        assert_eq!(shares(&gateway, 6), [0, 6]);
        assert_eq!(member.clients(), 0);
        member.show(stage.true_face());
        wait_said(&gateway, "activated", address(1), 0);
        wait_served_by(&gateway, 1);
        gateway.signal("HUP");
        gateway.wait_record_where("endpoints changed", |record| {
            record.texts("removed") == [address(2).to_string()]
        });
        assert_eq!(shares(&gateway, 6), [6]);
    });
}

/// `--verify-endpoints` holds for them here as it does without discovery: the last resort is not a way around it.
#[test]
fn explicit_endpoints_beside_discovery_are_verified_too() {
    isolated(
        explicit_endpoints_beside_discovery_are_verified_too,
        |site| {
            let Some(stage) = Stage::set(site) else {
                return;
            };
            let impostors = [stage.member(1), stage.member(2)];
            let shown = Request::server("IP:127.1.0.3");
            let shown = stage.pki.issue(&stage.root, &shown);
            let server = TlsServer::start(&stage.pki, &shown, &[]);
            let _spare = Front::at(address(3), 3, Face::Tls(server));
            for impostor in &impostors {
                impostor.show(stage.false_face());
            }
            stage.publish(&[1]);
            let verify = "--verify-endpoints";
            let outcome = stage.launch(&["--endpoints=127.1.0.2:2379", verify]).run();
            expect_failed(&outcome, &["127.1.0.2:2379"]);
            let flags = ["--endpoints=127.1.0.2:2379,127.1.0.3:2379", verify];
            let gateway = stage.launch(&flags).start();
            assert_eq!(shares(&gateway, 6), [0, 0, 6]);
            assert!(impostors.iter().all(|impostor| impostor.clients() == 0));
        },
    );
}

/// `--insecure-discovery` restores the unauthenticated way: no proof is asked for, whatever is there serves.
#[test]
fn insecure_discovery_authenticates_nobody() {
    isolated(insecure_discovery_authenticates_nobody, |site| {
        let Some(stage) = Stage::set(site) else {
            return;
        };
        let members = [stage.member(1), stage.member(2), stage.member(3)];
        members[1].show(stage.false_face());
        members[2].show(Face::Silent);
        stage.publish(&[1, 2, 3]);
        let flags = ["--discovery-srv=x.test", "--insecure-discovery"];
        let gateway = Launch::start_with(&flags).start();
        assert_eq!(shares(&gateway, 9), [3, 3, 3]);
        for member in &members {
            assert_eq!(member.visits().len(), 3, "clients, and nobody else");
        }
        // With nothing to verify, the authorities are not even read.
        let flags = [&flags[..], &["--trusted-ca-file=/nonexistent"]].concat();
        Launch::start_with(&flags).start();
    });
}
