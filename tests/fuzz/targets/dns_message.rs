//! A reply of a DNS server: parsed, and followed from the question to the data.
//!
//! The id, the type and the class are set to those of the query, and its name is taken from the
//! input, so that most inputs pass for a reply and the rest is reached.

use super::Target;
use crate::dns::answer::{MAX_ALIASES, Step, interpret};
use crate::dns::message::{Message, NOERROR, NXDOMAIN, Query, Question, parse_reply};
use crate::dns::name::Name;
use crate::dns::record::{Data, Type};
use crate::wire::Reader;

pub(super) const TARGET: Target = Target {
    name: "dns-message",
    seeds,
    run,
    max_input: 2048,
};

fn run(input: &[u8]) {
    let mut bytes = input.to_vec();
    let Ok(mut reader) = Reader::new(input).at(12) else {
        return;
    };
    let Ok(name) = Name::parse(&mut reader) else {
        return;
    };
    let qtype = match input[0] {
        0..96 => Type::A,
        96..192 => Type::AAAA,
        192.. => Type::SRV,
    };
    let code = [0, qtype.0 as u8, 0, 1];
    let end = reader.position();
    let Some(question) = bytes.get_mut(end..end + code.len()) else {
        return;
    };
    question.copy_from_slice(&code);
    bytes[..2].copy_from_slice(&[0x12, 0x34]);
    let question = Question { name, qtype };
    let query = Query {
        id: 0x1234,
        question: &question,
        edns: true,
    };
    let reply = parse_reply(&bytes, &query);

    // Whatever the rest is, a wrong id is never a reply.
    let other = Query {
        id: 0x1235,
        ..query
    };
    assert!(parse_reply(&bytes, &other).is_none());

    if let Some(Ok(message)) = reply {
        follow(&question, &message);
        // Octets behind it change no answer; they may show that a count lies.
        let longer = [&bytes[..], &[0; 8]].concat();
        if let Some(Ok(longer)) = parse_reply(&longer, &query)
            && !message.truncated
            && matches!(message.rcode, NOERROR | NXDOMAIN)
        {
            assert_eq!(longer.answers, message.answers);
            assert_eq!(longer.authorities, message.authorities);
        }
    }
}

fn follow(question: &Question, message: &Message) {
    for record in message.answers.iter().chain(&message.authorities) {
        assert!(record.owner.as_wire().len() <= 255);
        assert!(record.ttl <= i32::MAX as u32);
    }
    let mut aliases_left = MAX_ALIASES;
    let step = interpret(question, message, &mut aliases_left);
    let ttls = || message.answers.iter().map(|record| record.ttl);
    match step {
        Ok(Step::Data(data, ttl)) => {
            assert!(!data.is_empty() && message.rcode == 0);
            assert!(data.iter().all(|data| data.is(question.qtype)));
            assert!(ttls().any(|known| known == ttl));
            let owners = data.iter().map(|data| {
                let known = message.answers.iter().find(|record| record.data == *data);
                &known.expect("data from nowhere").owner
            });
            // Without an alias only the question's own name may have given data.
            if aliases_left == MAX_ALIASES {
                let named = |owner: &Name| {
                    *owner == question.name
                        || message.answers.iter().any(|record| {
                            record.owner == question.name && record.data.is(question.qtype)
                        })
                };
                assert!(owners.into_iter().all(named));
            }
        }
        Ok(Step::Alias(target, ttl)) => {
            assert!(aliases_left < MAX_ALIASES && message.rcode == 0);
            assert!(ttls().any(|known| known >= ttl));
            let leads = |data: &Data| matches!(data, Data::Cname(name) if *name == target);
            assert!(message.answers.iter().any(|record| leads(&record.data)));
        }
        Ok(Step::Nothing(..)) | Err(_) => {}
    }
}

fn seeds() -> Vec<Vec<u8>> {
    // From NSD, Unbound and dnsmasq; the first octet, elsewhere the id's, chooses the type.
    let replies = [
        "ff34850000010003000000010c5f657463642d636c69656e74045f74637004657463640474657374000021
         0001c00c002100010000007800140000003c094b026d310465746364047465737400c00c00210001000000
         7800140000001e094b026d320465746364047465737400c00c0021000100000078001400 0a0000094c026d
         33046574636404746573740000002904d0000000000000",
        "0034850000010002000100020 26d33046574636404746573740000010001c00c000500010000001e000805
         616c696173c00fc02a000100010000012c0004c0000203c00f000200010000012c0005026e73c00fc04e00
         0100010000012c0004c000023500002904d0000000000000",
        "8034850000010001000100010 26d330465746364047465737400001c0001c00c000500010000001e000805
         616c696173c00fc00f000600010000003c0026026e73c00f0a686f73746d6173746572c00f000000010000
         0e1000000258000151800000003c00002904d0000000000000",
        // An OPT record among the answers, and octets behind the message.
        "0034818000010002000000000161000001000100002904d0000000000000c00c000100010000003c0004c000
         02010000000000000000",
        "00348183000100000000000001610000010001",
        "00348180000000000000000001610000010001",
    ];
    replies.map(super::bytes).to_vec()
}
