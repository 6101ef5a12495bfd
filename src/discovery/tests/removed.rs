//! Which endpoints count as removed, so that their connections may be closed, and when.

use super::times::{S, assert_pause};
use super::*;

impl Bench {
    /// A refresh; then these are the endpoints, and these were removed.
    #[track_caller]
    fn expect(&mut self, endpoints: &[&str], removed: &[&str]) {
        self.refresh();
        assert_eq!(self.endpoints(), endpoints);
        let reported: Vec<String> = self.removed.borrow_mut().drain(..).collect();
        let reported: Vec<_> = reported.iter().map(|a| short(a.parse().unwrap())).collect();
        assert_eq!(reported, removed);
    }
}

#[test]
fn what_two_answers_lack_is_removed_and_the_second_comes_soon() {
    let mut bench = Bench::new(srv());
    bench.members(&[], &[1, 2]);
    bench.expect(&["1", "2"], &[]);
    assert_pause(&bench, 300 * S);
    bench.members(&[], &[2]);
    bench.expect(&["2"], &[]);
    assert_pause(&bench, 5 * S);
    bench.expect(&["2"], &["1"]);
    assert_pause(&bench, 300 * S);
    bench.expect(&["2"], &[]);
}

#[test]
fn an_endpoint_that_comes_back_was_not_removed() {
    let mut bench = Bench::new(srv());
    bench.members(&[], &[1, 2, 3]);
    bench.expect(&["1", "2", "3"], &[]);
    // A server that gives two of three at a time, each time different ones.
    for (members, expected) in [
        ([2, 3], ["2", "3"]),
        ([1, 3], ["1", "3"]),
        ([1, 2], ["1", "2"]),
        ([2, 3], ["2", "3"]),
        ([1, 2], ["1", "2"]),
    ] {
        bench.members(&[], &members);
        bench.expect(&expected, &[]);
        assert_pause(&bench, 5 * S);
    }
    bench.members(&[], &[1, 2, 3]);
    bench.expect(&["1", "2", "3"], &[]);
    assert_pause(&bench, 300 * S);
}

#[test]
fn an_uncertain_answer_confirms_nothing() {
    let mut bench = Bench::new(Members::listed(list(&["two.test:1", "m3.test:1"])));
    bench.publish("two.test A 127.1.0.1\ntwo.test A 127.1.0.2");
    bench.expect(&["1", "2", "3"], &[]);
    // Another name fails; the member may have moved there.
    bench.publish("two.test A 127.1.0.2");
    bench.fail("m3.test", SERVFAIL);
    for pause in [5, 10, 20] {
        bench.expect(&["2", "3"], &[]);
        assert_pause(&bench, pause * S);
    }
    bench.mend();
    bench.expect(&["2", "3"], &[]);
    assert_pause(&bench, 5 * S);
    bench.fail("m3.test", SERVFAIL);
    bench.expect(&["2", "3"], &[]);
    bench.mend();
    bench.expect(&["2", "3"], &["1"]);
}

#[test]
fn unanswered_records_confirm_nothing() {
    for rcode in [SERVFAIL, NXDOMAIN] {
        let mut bench = Bench::new(srv());
        bench.members(&[], &[1, 2]);
        bench.expect(&["1", "2"], &[]);
        bench.members(&[], &[2]);
        bench.expect(&["2"], &[]);
        bench.fail(PLAIN, rcode);
        bench.expect(&["2"], &[]);
        bench.mend();
        bench.expect(&["2"], &["1"]);
    }
}

/// Otherwise one wrong name would keep the connections to all removed members.
#[test]
fn a_name_that_does_not_exist_is_a_certain_answer() {
    let mut bench = Bench::new(Members::listed(list(&["two.test:1", "nobody.test:1"])));
    bench.publish("two.test A 127.1.0.1\ntwo.test A 127.1.0.2");
    bench.expect(&["1", "2"], &[]);
    bench.publish("two.test A 127.1.0.2");
    bench.expect(&["2"], &[]);
    assert_pause(&bench, 5 * S);
    bench.expect(&["2"], &["1"]);
    assert_eq!(bench.counts(), (0, 3));
}

/// Members taken out of the file are removed, whatever lookups say.
#[test]
fn members_taken_out_of_a_list_are_removed_at_once() {
    let file = TempFile::new("127.1.0.9:1\ntwo.test:1\nm3.test:1\n");
    let (source, _) = Members::in_file(&file.path, Identity::None).unwrap();
    let times = Times {
        file_look: Duration::ZERO,
        file_look_again: Duration::ZERO,
        ..TIMES
    };
    let mut bench = Bench::with(source, times, "", entropy);
    bench.publish("two.test A 127.1.0.1\ntwo.test A 127.1.0.2");
    bench.expect(&["9", "1", "2", "3"], &[]);
    bench.publish("two.test A 127.1.0.2");
    bench.fail("m3.test", SERVFAIL);
    bench.expect(&["9", "2", "3"], &[]);
    // Two polls, and two uncertain answers.
    file.write("two.test:1\nm3.test:1\n");
    bench.expect(&["9", "2", "3"], &[]);
    bench.expect(&["2", "3"], &["9"]);
    // Without its line, an endpoint that an answer lacked before is removed.
    file.write("m3.test:1\n");
    bench.expect(&["2", "3"], &[]);
    bench.expect(&["3"], &["1", "2"]);
    bench.mend();
    bench.expect(&["3"], &[]);
}

/// An answer without endpoints changes nothing.
#[test]
fn an_answer_without_endpoints_confirms_nothing() {
    let mut bench = Bench::new(srv());
    bench.members(&[], &[1, 2]);
    bench.expect(&["1", "2"], &[]);
    bench.members(&[], &[2]);
    bench.expect(&["2"], &[]);
    bench.publish(&format!("{PLAIN} SRV 0 0 0 ."));
    bench.expect(&["2"], &[]);
    bench.expect(&["2"], &[]);
    bench.members(&[], &[1, 2]);
    bench.expect(&["1", "2"], &[]);
}

/// A connection does not notice that its address belongs to another member now.
#[test]
fn an_address_that_moves_to_another_member_was_not_removed() {
    let mut bench = Bench::new(authenticated(&[]));
    bench.members(&[1, 2], &[]);
    bench.start().unwrap();
    bench.publish(&format!(
        "{TLS} SRV 0 0 1 new.test\n{TLS} SRV 0 0 1 m2.test\nnew.test A 127.1.0.1"
    ));
    bench.expect(&["2", "1"], &[]);
    bench.expect(&["2", "1"], &[]);
}
