//! An address changes hands while the gateway runs. Whoever is there has to prove anew who it is before it carries
//! a client, and may come back at any time.

use super::{
    REFUSED, Stage, address, said, shares, wait_refused, wait_refused_for, wait_said,
    wait_served_by,
};
use crate::support::front::{Face, ask};
use crate::support::isolated::isolated;
use crate::support::{SOON, eventually};

const QUICK: &str = "--retry-delay=200ms";

/// The impostor comes up where a member has died: it is noticed when the gateway looks whether that one is back.
#[test]
fn impostor_at_the_address_of_a_dead_member_gets_nothing() {
    isolated(
        impostor_at_the_address_of_a_dead_member_gets_nothing,
        |site| {
            let Some(stage) = Stage::set(site) else {
                return;
            };
            let (mut first, mut second) = (stage.member(1), stage.member(2));
            stage.publish(&[1, 2]);
            let gateway = stage.launch(&[QUICK]).start();
            assert_eq!(shares(&gateway, 10), [5, 5]);
            first.down();
            assert_eq!(shares(&gateway, 2), [0, 2]);
            wait_said(&gateway, "deactivated endpoint", first.address(), 0);
            let served = first.clients();
            first.show(stage.false_face());
            first.up();
            let record = wait_refused_for(&gateway, first.address(), "is not known");
            assert_eq!(record.text("issuer"), "CN=false CA,O=suite", "{record:?}");
            assert_eq!(shares(&gateway, 10), [0, 10]);
            // It is not the last resort either.
            second.down();
            for _ in 0..4 {
                assert!(ask(gateway.address()).is_err(), "refused");
            }
            assert_eq!(first.clients(), served, "no client meets the impostor");
            assert_eq!(said(&gateway, "activated", first.address()), 1, "at start");
            // The true one is taken back without anybody's help.
            first.show(stage.true_face());
            wait_said(&gateway, "activated", first.address(), 1);
            wait_served_by(&gateway, 1);
            second.up();
            wait_said(&gateway, "activated", second.address(), 1);
            assert_eq!(shares(&gateway, 10), [5, 5]);
        },
    );
}

/// Clients do not wait for the retry delay when all members are down; they do not skip the proof for that.
#[test]
fn last_resort_has_to_prove_itself_too() {
    isolated(last_resort_has_to_prove_itself_too, |site| {
        let Some(stage) = Stage::set(site) else {
            return;
        };
        let mut member = stage.member(1);
        stage.publish(&[1]);
        // The monitor never comes into it: the minute is the default.
        let gateway = stage.launch(&[]).start();
        assert_eq!(shares(&gateway, 2), [2]);
        member.down();
        assert!(ask(gateway.address()).is_err(), "refused");
        member.up();
        wait_served_by(&gateway, 1);
        member.down();
        assert!(ask(gateway.address()).is_err(), "refused");
        let served = member.clients();
        member.show(stage.false_face());
        member.up();
        for _ in 0..4 {
            assert!(ask(gateway.address()).is_err(), "refused");
        }
        wait_refused_for(&gateway, member.address(), "is not known");
        assert_eq!(member.clients(), served, "no client meets the impostor");
    });
}

/// What an endpoint is refused for is logged when it changes, however often it is tried.
#[test]
fn refusals_are_logged_on_change() {
    isolated(refusals_are_logged_on_change, |site| {
        let Some(stage) = Stage::set(site) else {
            return;
        };
        let (_member, other) = (stage.member(1), stage.member(2));
        other.show(stage.false_face());
        stage.publish(&[1, 2]);
        let gateway = stage.launch(&["--retry-delay=50ms"]).start();
        let tried = |more: usize| {
            let before = other.visits().len();
            eventually(SOON, "it is tried again", || {
                (other.visits().len() > before + more).then_some(())
            });
        };
        tried(4);
        assert_eq!(said(&gateway, REFUSED, address(2)), 1, "{}", gateway.text());
        other.show(Face::Says(b""));
        wait_said(&gateway, REFUSED, address(2), 1);
        tried(4);
        assert_eq!(said(&gateway, REFUSED, address(2)), 2, "{}", gateway.text());
        other.show(stage.true_face());
        wait_said(&gateway, "activated", address(2), 0);
        assert_eq!(shares(&gateway, 10), [5, 5]);
        assert_eq!(
            said(&gateway, "deactivated endpoint", address(2)),
            0,
            "it never was active"
        );
    });
}

/// What was proven does not outlast a member's time in the records.
#[test]
fn removed_member_that_returns_is_new() {
    isolated(removed_member_that_returns_is_new, |site| {
        let Some(stage) = Stage::set(site) else {
            return;
        };
        let (_member, other) = (stage.member(1), stage.member(2));
        stage.publish(&[1, 2]);
        let gateway = stage.launch(&[QUICK]).start();
        assert_eq!(shares(&gateway, 10), [5, 5]);
        stage.republish(&gateway, &[1], &[], &[2]);
        let served = other.clients();
        other.show(stage.false_face());
        stage.republish(&gateway, &[1, 2], &[2], &[]);
        wait_refused(&gateway, address(2));
        assert_eq!(shares(&gateway, 10), [10]);
        assert_eq!(other.clients(), served);
    });
}
