//! The four advisories on the reference's gateway and the defects D15 and D23, each with the situation that it
//! describes; a test here is named by what the reference does wrong.

use super::{
    REFUSED, Stage, address, expect_failed, said, shares, wait_refused, wait_said, wait_served_by,
};
use crate::support::Launch;
use crate::support::front::{Face, Front, ask};
use crate::support::isolated::isolated;

/// A plaintext web server, as in the reference's own unit test, which takes it for secure.
const WEB: Face = Face::Says(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");

// GHSA-2xhq-gv6c-p224 (CVE-2020-15114): the gateway can include itself as an endpoint. What it would have to prove
// to itself changes nothing about that.
#[test]
fn ghsa_2xhq_gateway_among_its_own_endpoints() {
    isolated(ghsa_2xhq_gateway_among_its_own_endpoints, |site| {
        let Some(stage) = Stage::set(site) else {
            return;
        };
        let _members = [stage.member(1), stage.member(2)];
        let listen = format!("--listen-addr={}", address(9));
        stage.publish(&[9]);
        let outcome = stage.launch(&[&listen]).run();
        assert!(outcome.code.is_some_and(|code| code != 0), "{outcome:?}");
        stage.publish(&[1]);
        let gateway = stage.launch(&[&listen]).start();
        stage.republish(&gateway, &[9, 1, 2], &[2], &[]);
        let warning = gateway.wait_record("endpoint is this gateway itself; ignored");
        assert_eq!(warning.text("address"), address(9).to_string());
        wait_said(&gateway, "activated", address(2), 0);
        assert_eq!(shares(&gateway, 10), [5, 5]);
    });
}

// GHSA-j86v-2vjr-fg8f: TLS validation only confirms that a TCP connection can be made. D15: so does the reference's
// unit test, with a plaintext server behind https://.
#[test]
fn ghsa_j86v_d15_validation_is_more_than_a_connection() {
    isolated(ghsa_j86v_d15_validation_is_more_than_a_connection, |site| {
        let Some(stage) = Stage::set(site) else {
            return;
        };
        let web = Front::at(address(1), 1, WEB);
        stage.publish(&[1]);
        let plaintext = "answered in plaintext HTTP";
        expect_failed(&stage.launch(&[]).run(), &["127.1.0.1:2379", plaintext]);
        let ca = ["--trusted-ca-file", &stage.root.certificate];
        let endpoints = ["--endpoints=https://127.1.0.1:2379", "--verify-endpoints"];
        let outcome = Launch::start_with(&[&endpoints[..], &ca[..]].concat()).run();
        expect_failed(&outcome, &["127.1.0.1:2379", plaintext]);
        assert_eq!(web.clients(), 0);
        // The file that the reference never opens is opened: without it there is no start.
        let flags = ["--discovery-srv=x.test", "--trusted-ca-file=/nonexistent"];
        expect_failed(&Launch::start_with(&flags).run(), &["/nonexistent"]);
    });
}

// GHSA-wr2v-9rpq-c35q (CVE-2020-15136): only endpoints of SRV records are validated.
#[test]
fn ghsa_wr2v_configured_endpoints_are_validated_too() {
    isolated(ghsa_wr2v_configured_endpoints_are_validated_too, |site| {
        let Some(stage) = Stage::set(site) else {
            return;
        };
        let (_member, web) = (stage.member(1), Front::at(address(2), 2, WEB));
        let impostor = Front::at(address(3), 3, stage.false_face());
        let endpoints = "--endpoints=127.1.0.1:2379,127.1.0.2:2379,127.1.0.3:2379";
        let verify = ["--verify-endpoints", "--discovery-server-name=x.test"];
        let ca = ["--trusted-ca-file", &stage.root.certificate];
        let flags = [&[endpoints], &verify[..], &ca[..]].concat();
        let gateway = Launch::start_with(&flags).start();
        assert_eq!(shares(&gateway, 10), [10]);
        wait_refused(&gateway, web.address());
        wait_refused(&gateway, impostor.address());
        assert_eq!(web.clients() + impostor.clients(), 0);
    });
}

// GHSA-h8g9-6gvh-5mrc: endpoints are validated once, at start, and never again. Here an address that is active
// shows another's certificate from some moment on, without ever having been down: the next change of the set finds
// it out, as the next periodic look would.
#[test]
fn ghsa_h8g9_endpoints_are_validated_again() {
    isolated(ghsa_h8g9_endpoints_are_validated_again, |site| {
        let Some(stage) = Stage::set(site) else {
            return;
        };
        let members = [stage.member(1), stage.member(2), stage.member(3)];
        stage.publish(&[1, 2]);
        let gateway = stage.launch(&["--retry-delay=200ms"]).start();
        assert_eq!(shares(&gateway, 10), [5, 5]);
        members[0].show(stage.false_face());
        stage.republish(&gateway, &[1, 2, 3], &[3], &[]);
        wait_refused(&gateway, address(1));
        wait_said(&gateway, "deactivated endpoint", address(1), 0);
        wait_said(&gateway, "activated", address(3), 0);
        let served = members[0].clients();
        assert_eq!(shares(&gateway, 10), [0, 5, 5]);
        assert_eq!(members[0].clients(), served);
        members[0].show(stage.true_face());
        wait_said(&gateway, "activated", address(1), 1);
        wait_served_by(&gateway, 1);
        assert_eq!(shares(&gateway, 9), [3, 3, 3]);
    });
}

// D23: the warning names the endpoints that are left instead of the one that failed.
#[test]
fn d23_warning_names_the_endpoint_that_failed() {
    isolated(d23_warning_names_the_endpoint_that_failed, |site| {
        let Some(stage) = Stage::set(site) else {
            return;
        };
        let _members = [
            stage.member(1),
            Front::at(address(2), 2, WEB),
            stage.member(3),
        ];
        stage.publish(&[1, 2, 3]);
        let gateway = stage.launch(&[]).start();
        let record = wait_refused(&gateway, address(2));
        assert_eq!(record.text("level"), "warn");
        assert_eq!(record.text("name"), "m2.test:2379");
        for healthy in [1, 3] {
            assert_eq!(said(&gateway, REFUSED, address(healthy)), 0);
        }
        // Nor is it a client that finds it out.
        assert!(ask(gateway.address()).is_ok());
    });
}
