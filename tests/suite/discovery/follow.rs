//! Records change, and the gateway follows. The TTL is 300 s throughout, so that what is followed is followed for
//! the reason that the test gives; that the TTL is one is shown in `members`.

use std::io::Write;
use std::time::{Duration, Instant};

use super::{
    PLAIN, address, changes, discover, launch, member, members, publish, refreshed, served_by,
    shares, srv, texts, wait_change, wait_served_by,
};
use crate::support::dns::FakeDns;
use crate::support::isolated::{RESOLV_CONF, isolated};
use crate::support::net::{expect_echo, try_tag};
use crate::support::{Backend, End, Gateway, SOON, end_of, eventually};

/// SIGHUP means now; the set is replaced whole, with one line that says what changed.
#[test]
fn sighup_refreshes() {
    isolated(sighup_refreshes, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 3] = members();
        publish(&dns, &srv(PLAIN, &[1, 2]));
        let gateway = discover("x.test", &[]);
        assert_eq!(shares(&gateway, 10), [5, 5, 0]);
        publish(&dns, &srv(PLAIN, &[2, 3]));
        refreshed(&gateway, &[3], &[1]);
        assert_eq!(shares(&gateway, 10), [0, 5, 5]);
        // Nothing changed, nothing is logged.
        for _ in 0..2 {
            let before = dns.asked(PLAIN);
            gateway.signal("HUP");
            dns.wait_asked(PLAIN, before);
        }
        assert_eq!(changes(&gateway), [(texts(&[3]), texts(&[1]))]);
    });
}

/// Priority, weight and port are part of a record too.
#[test]
fn changed_priority_and_weight_are_followed() {
    isolated(changed_priority_and_weight_are_followed, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 3] = members();
        publish(&dns, &srv(PLAIN, &[1, 2]));
        let gateway = discover("x.test", &[]);
        assert_eq!(shares(&gateway, 10), [5, 5]);
        // The third only makes the change visible: its priority is never reached.
        let spare = format!("{PLAIN} SRV 9 0 2379 m3.test\n");
        let weights =
            format!("{PLAIN} SRV 1 4 2379 m1.test\n{PLAIN} SRV 1 1 2379 m2.test\n{spare}");
        publish(&dns, &weights);
        refreshed(&gateway, &[3], &[]);
        assert_eq!(shares(&gateway, 10), [8, 2]);
        let priorities = format!("{PLAIN} SRV 2 4 2379 m1.test\n{PLAIN} SRV 1 1 2379 m2.test\n");
        publish(&dns, &priorities);
        refreshed(&gateway, &[], &[3]);
        assert_eq!(shares(&gateway, 10), [0, 10]);
    });
}

/// A pod that is scheduled anew keeps its name and changes its address. Its old connections live as long as it does.
#[test]
fn changed_address_of_a_target_is_followed() {
    isolated(changed_address_of_a_target_is_followed, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let members: [Backend; 3] = members();
        let at = |number: u8| {
            let records = format!("pod.test A {}\n", address(number).ip());
            format!("{PLAIN} SRV 0 0 2379 pod.test\n{records}")
        };
        dns.publish(&at(1));
        let gateway = discover("x.test", &[]);
        let (tag, open) = try_tag(gateway.address()).expect("served");
        assert_eq!(tag, b'1');
        dns.publish(&at(2));
        refreshed(&gateway, &[2], &[1]);
        let before = members[0].accepted();
        assert_eq!(shares(&gateway, 6), [0, 6]);
        assert_eq!(
            members[0].accepted(),
            before,
            "removed means no new connection"
        );
        expect_echo(&open, 1);
        // Both families are followed; ::1 is the one IPv6 address of this machine.
        let mut v6 = Backend::dead_at("[::1]:2379".parse().expect("an address"))
            .expect("bind a member's address");
        v6.up_tagged(b'3');
        dns.publish(&format!("{}pod.test AAAA ::1\n", at(2)));
        gateway.signal("HUP");
        gateway.wait_record_where("endpoints changed", |record| {
            record.texts("added") == ["[::1]:2379"] && record.texts("removed").is_empty()
        });
        assert_eq!(shares(&gateway, 6), [0, 3, 3]);
    });
}

/// A removed member is not dialled any more, not even to find out whether it is back.
#[test]
fn removed_member_is_left_alone() {
    isolated(removed_member_is_left_alone, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let mut members: [Backend; 2] = members();
        publish(&dns, &srv(PLAIN, &[1, 2]));
        let gateway = discover("x.test", &["--retry-delay=50ms"]);
        members[0].down();
        served_by(&gateway, 2);
        gateway.wait_record("deactivated endpoint");
        publish(&dns, &srv(PLAIN, &[2]));
        refreshed(&gateway, &[], &[1]);
        // A retry that was under way when the set changed may still arrive; a retry delay later, none may.
        members[0].up_tagged(b'1');
        let quiet = Duration::from_millis(500);
        let (mut seen, mut since) = (members[0].accepted(), Instant::now());
        eventually(SOON, "the removed member is left alone", || {
            if members[0].accepted() != seen {
                (seen, since) = (members[0].accepted(), Instant::now());
            }
            (since.elapsed() > quiet).then_some(())
        });
        assert_eq!(shares(&gateway, 6), [0, 6]);
    });
}

/// What stays keeps what is known of it: a member that is down is not tried first again.
#[test]
fn member_that_stays_keeps_its_state() {
    isolated(member_that_stays_keeps_its_state, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let mut members: [Backend; 3] = members();
        publish(&dns, &srv(PLAIN, &[1, 2]));
        let gateway = discover("x.test", &[]);
        members[0].down();
        served_by(&gateway, 2);
        gateway.wait_record("deactivated endpoint");
        // The gateway's own first dial may have been answered before and be told of later.
        eventually(SOON, "the first member is inactive", || {
            let ups = gateway.records("activated").len();
            (gateway.records("deactivated endpoint").len() == ups + 1).then_some(())
        });
        let downs = gateway.records("deactivated endpoint").len();
        publish(&dns, &srv(PLAIN, &[1, 2, 3]));
        refreshed(&gateway, &[3], &[]);
        assert_eq!(shares(&gateway, 10), [0, 5, 5]);
        let found = gateway.records("deactivated endpoint").len();
        assert_eq!(found, downs, "{}", gateway.text());
    });
}

/// A gateway that asks again soon for what an answer has lacked.
#[track_caller]
fn asking_again(flag: &str) -> Gateway {
    let times = "refresh_pause=20,refresh_min=200";
    launch("x.test", &[flag]).times(times).start()
}

/// One that asks when the test says so, and never else.
#[track_caller]
fn asking_when_asked(flag: &str) -> Gateway {
    let times = "refresh_pause=20,refresh_min=3600000,refresh_max=3600000";
    launch("x.test", &[flag]).times(times).start()
}

/// Has the gateway ask once more: the next refresh has ended when the one after it begins.
fn confirmed(gateway: &Gateway, dns: &FakeDns) {
    for _ in 0..2 {
        let before = dns.asked(PLAIN);
        gateway.signal("HUP");
        dns.wait_asked(PLAIN, before);
    }
}

/// A name server that gives a part of the records at a time, each time another one: the members get no new connections
/// for a while, and no old one is ended.
#[test]
fn close_removed_spares_members_that_some_answers_lack() {
    isolated(close_removed_spares_members_that_some_answers_lack, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 2] = members();
        publish(&dns, &srv(PLAIN, &[1, 2]));
        let gateway = asking_when_asked("--close-removed=0s");
        let mut open = [0, 1].map(|_| try_tag(gateway.address()).expect("served"));
        open.sort_by_key(|(tag, _)| *tag);
        let [(b'1', first), (b'2', second)] = open else {
            panic!("one connection each")
        };
        let answer = |numbers: &[u8]| {
            let before = changes(&gateway).len();
            publish(&dns, &srv(PLAIN, numbers));
            gateway.signal("HUP");
            eventually(SOON, "the answer is used", || {
                (changes(&gateway).len() > before).then_some(())
            });
        };
        for _ in 0..10 {
            answer(&[2]);
            answer(&[1]);
            expect_echo(&first, 1);
            expect_echo(&second, 1);
        }
        // Now one of them was removed indeed.
        answer(&[2]);
        expect_echo(&first, 1);
        confirmed(&gateway, &dns);
        assert_eq!(end_of(&first).1, End::Reset);
        expect_echo(&second, 1);
    });
}

#[test]
fn close_removed_ends_the_connections_of_removed_members_only() {
    isolated(
        close_removed_ends_the_connections_of_removed_members_only,
        |_| {
            let dns = FakeDns::start("127.0.0.1");
            let _members: [Backend; 3] = members();
            publish(&dns, &srv(PLAIN, &[1, 2, 3]));
            let gateway = asking_again("--close-removed=1s");
            let mut open = [0, 1].map(|_| try_tag(gateway.address()).expect("served"));
            open.sort_by_key(|(tag, _)| *tag);
            let [(b'1', of_removed), (b'2', of_kept)] = open else {
                panic!("one connection each")
            };
            publish(&dns, &srv(PLAIN, &[2]));
            let asked = Instant::now();
            refreshed(&gateway, &[], &[1, 3]);
            expect_echo(&of_removed, 1);
            end_of(&of_removed);
            assert!(
                asked.elapsed() > Duration::from_secs(1),
                "not before its time"
            );
            expect_echo(&of_kept, 2);
            // Said a moment after the reset.
            let said = "reset connections to a removed endpoint";
            gateway.wait_record(said);
            assert_eq!(gateway.records(said).len(), 1, "the third had none");
        },
    );
}

/// Whatever one that is stuck waits for, those beside it are neither kept nor ended cleanly.
#[test]
fn close_removed_resets_those_beside_one_that_is_stuck() {
    isolated(close_removed_resets_those_beside_one_that_is_stuck, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 2] = members();
        publish(&dns, &srv(PLAIN, &[1]));
        let gateway = asking_again("--close-removed=1s");
        let [silent, mut stuck] = [0, 1].map(|_| try_tag(gateway.address()).expect("served").1);
        stuck
            .set_write_timeout(Some(Duration::from_millis(300)))
            .expect("set a write timeout");
        // Nobody reads the echo.
        while stuck.write(&[0; 65_536]).is_ok() {}
        publish(&dns, &srv(PLAIN, &[2]));
        refreshed(&gateway, &[2], &[1]);
        let (_, end) = end_of(&silent);
        assert_eq!(end, End::Reset);
    });
}

/// A member that comes back in time keeps its connections.
#[test]
fn close_removed_spares_a_member_that_returns() {
    isolated(close_removed_spares_a_member_that_returns, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 2] = members();
        publish(&dns, &srv(PLAIN, &[1]));
        let gateway = asking_when_asked("--close-removed=2500ms");
        let (_, open) = try_tag(gateway.address()).expect("served");
        publish(&dns, &srv(PLAIN, &[2]));
        refreshed(&gateway, &[2], &[1]);
        confirmed(&gateway, &dns);
        let removed = Instant::now();
        publish(&dns, &srv(PLAIN, &[1, 2]));
        refreshed(&gateway, &[1], &[]);
        eventually(SOON, "its time is over", || {
            (removed.elapsed() > Duration::from_secs(3)).then_some(())
        });
        expect_echo(&open, 1);
    });
}

/// Another resolv.conf, as after DHCP or when a VPN comes up, and another address in /etc/hosts, which is read before
/// DNS is asked: both are followed without a signal.
#[test]
fn changed_files_of_the_resolver_are_followed() {
    isolated(changed_files_of_the_resolver_are_followed, |site| {
        let (old, new) = (FakeDns::start("127.0.0.1"), FakeDns::start("127.0.0.2"));
        let _members: [Backend; 4] = members();
        let local = "_etcd-client._tcp.y.test SRV 0 0 2379 local.test\n";
        publish(&old, &format!("{}{local}", srv(PLAIN, &[1])));
        publish(&new, &format!("{}{local}", srv(PLAIN, &[2])));
        site.hosts("127.1.0.3 local.test\n");
        let [by_server, by_file] = ["x.test", "y.test"]
            .map(|domain| launch(domain, &[]).times("resolver_look=100").start());
        assert_eq!(shares(&by_server, 2), [2]);
        assert_eq!(shares(&by_file, 2), [0, 0, 2]);
        site.resolv_conf(&RESOLV_CONF.replace("127.0.0.1", "127.0.0.2"));
        site.hosts("127.1.0.4 local.test\n");
        wait_change(&by_server, &[2], &[1]);
        wait_change(&by_file, &[4], &[3]);
        assert_eq!(shares(&by_server, 2), [0, 2]);
        assert_eq!(shares(&by_file, 2), [0, 0, 0, 2]);
        assert_eq!(old.asked("local.test") + new.asked("local.test"), 0);
    });
}

/// The whole cluster was replaced within a TTL of 300 s: clients that meet only dead members make the gateway ask.
#[test]
fn all_members_failing_brings_the_refresh_forward() {
    isolated(all_members_failing_brings_the_refresh_forward, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let mut old = [member(1), member(2)];
        publish(&dns, &srv(PLAIN, &[1, 2]));
        let gateway = discover("x.test", &[]);
        assert_eq!(shares(&gateway, 4), [2, 2]);
        let _new = [member(3), member(4)];
        publish(&dns, &srv(PLAIN, &[3, 4]));
        old.iter_mut().for_each(Backend::down);
        wait_served_by(&gateway, 3);
        assert_eq!(shares(&gateway, 10), [0, 0, 5, 5]);
    });
}

/// The loop guard holds for every set: a record that comes to point at the gateway is left out, loudly.
#[test]
fn gateway_in_a_refreshed_set_is_ignored() {
    isolated(gateway_in_a_refreshed_set_is_ignored, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 2] = members();
        publish(&dns, &srv(PLAIN, &[1]));
        let gateway = discover("x.test", &["--listen-addr=127.1.0.9:2379"]);
        publish(&dns, &srv(PLAIN, &[9, 2]));
        refreshed(&gateway, &[2], &[1]);
        let warning = gateway.wait_record("endpoint is this gateway itself; ignored");
        assert_eq!(warning.text("level"), "warn");
        assert_eq!(warning.text("address"), address(9).to_string());
        assert_eq!(shares(&gateway, 6), [0, 6]);
        // With nothing else in the records the last good set stays.
        publish(&dns, &srv(PLAIN, &[9]));
        for _ in 0..2 {
            let before = dns.asked(PLAIN);
            gateway.signal("HUP");
            dns.wait_asked(PLAIN, before);
        }
        assert_eq!(shares(&gateway, 6), [0, 6]);
    });
}
