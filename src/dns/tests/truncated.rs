//! Answers that are truncated over TCP too: more than 64 KiB of records, or a server that truncates anyway.

use std::net::IpAddr;
use std::time::Instant;

use super::fake::{A, Answer, Asked, Net, script};
use super::{AMPLE, Bench};
use crate::dns::Class;
use crate::dns::message;

/// A part of the records, so many, over TCP; none over UDP.
fn part(asked: &Asked, records: u16) -> Answer {
    let reply = asked.reply().truncated();
    let add = |reply: Answer, n: u16| match asked.qtype {
        A => reply.a(&asked.name, 60, &format!("192.0.2.{n}")),
        _ => reply.srv(&asked.name, 60, [0, 0, n], "t.example"),
    };
    match asked.tcp {
        true => (1..=records).fold(reply, add),
        false => reply,
    }
}

#[test]
fn a_truncated_answer_is_returned_with_its_error() {
    let bench = Bench::new(Net::new(vec![script(|asked| part(asked, 3).send())]), "");
    let found = bench.srv("s.example").unwrap();
    assert_eq!(found.data.len(), 3);
    assert!(found.is_part());
    let text = format!(
        "SRV s.example.: truncated even over TCP, asked 127.0.0.1:{} over TCP",
        bench.net.port
    );
    assert_eq!(found.missing.unwrap().to_string(), text);
    assert_eq!(found.earlier_failure, None);
}

#[test]
fn a_whole_answer_of_another_server_or_attempt_is_better() {
    let whole = |asked: &Asked| {
        let mut reply = part(asked, 4);
        reply.bytes[2] &= !0x02;
        reply.send()
    };
    let later = script(move |asked| match asked.before {
        0 => part(asked, 3).send(),
        _ => whole(asked),
    });
    let cases = [
        (
            vec![script(|asked| part(asked, 3).send()), script(whole)],
            2,
        ),
        (vec![later], 1),
    ];
    for (servers, count) in cases {
        let bench = Bench::new(Net::new(servers), "options use-vc");
        let found = bench.srv("s.example").unwrap();
        assert_eq!((found.data.len(), found.missing), (4, None), "{count}");
    }
    // The longer one of two parts.
    let [few, more] =
        [2, 5].map(|records| script(move |asked: &Asked| part(asked, records).send()));
    let bench = Bench::new(Net::new(vec![more, few]), "");
    assert_eq!(bench.srv("s.example").unwrap().data.len(), 5);
}

/// A truncated answer is reported, whatever the result of the other family.
#[test]
fn a_part_of_one_family() {
    for rcode in [0, 2] {
        let net = Net::new(vec![script(move |asked| match asked.qtype {
            A => part(asked, 2).send(),
            _ => asked.reply().rcode(rcode).send(),
        })]);
        let bench = Bench::new(net, "options attempts:1");
        let found = bench
            .resolver
            .lookup_host("a.example", Instant::now() + AMPLE);
        let found = found.unwrap();
        let expected = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
        assert_eq!(found.data, expected);
        assert!(found.is_part(), "{rcode}");
    }
}

/// An empty truncated answer does not mean that there is nothing.
#[test]
fn truncated_answers_without_records_are_not_definite() {
    for rcode in [0, 3] {
        let net = Net::new(vec![script(move |asked| {
            let reply = asked.reply().truncated().rcode(rcode);
            reply.soa(".", 60, 60).send()
        })]);
        let error = Bench::new(net, "").srv("s.example").unwrap_err();
        assert_eq!((error.class, error.negative_ttl), (Class::Truncated, None));
    }
    // A failure is reported by its code.
    let net = Net::new(vec![script(|asked| {
        asked.reply().truncated().rcode(5).send()
    })]);
    assert_eq!(
        Bench::new(net, "").srv("s.example").unwrap_err().class,
        Class::Rcode(message::REFUSED)
    );
    // An incomplete record is not used.
    let net = Net::new(vec![script(|asked| {
        let mut reply = part(asked, 2);
        let short = reply.bytes.len() - usize::from(asked.tcp);
        reply.bytes.truncate(short);
        reply.send()
    })]);
    assert_eq!(
        Bench::new(net, "").srv("s.example").unwrap_err().class,
        Class::Truncated
    );
}

/// An alias in it is followed: the answer for its target may be complete.
#[test]
fn an_alias_in_a_truncated_answer_is_followed() {
    let net = Net::new(vec![script(|asked| match asked.name.as_str() {
        "a.example." => asked
            .reply()
            .truncated()
            .cname("a.example", 9, "b.example")
            .send(),
        _ => asked
            .reply()
            .srv("b.example", 9, [0, 0, 1], "t.example")
            .send(),
    })]);
    let found = Bench::new(net, "").srv("a.example").unwrap();
    assert_eq!((found.data.len(), found.missing), (1, None));
}
