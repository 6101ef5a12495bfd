//! What a member answers to a health check.
//!
//! Whatever the octets, what is settled does not change when more of them come, but for an excerpt;
//! what is told of them is short and printable; and an end settles everything.

use std::mem::discriminant;

use super::Target;
use crate::health::response::{Fault, MAX_RESPONSE, Parsed, parse};

pub(super) const TARGET: Target = Target {
    name: "health-response",
    seeds,
    run,
    max_input: MAX_RESPONSE + 64,
};

fn run(input: &[u8]) {
    let ended = parse(input, true);
    assert_ne!(ended, Ok(Parsed::Incomplete));
    let whole = parse(input, false);
    assert!(whole != Ok(Parsed::Incomplete) || input.len() < MAX_RESPONSE);
    if whole != Ok(Parsed::Incomplete) {
        assert_eq!(whole, ended);
    }
    if let Err(fault) = &ended {
        let text = fault.to_string();
        let printable = text.bytes().all(|octet| matches!(octet, 0x20..=0x7e));
        assert!(text.len() < 1024 && printable, "{text:?}");
    }
    let mut settled = None;
    // Long inputs by larger steps, for the time it takes.
    for length in (0..input.len()).step_by(1 + input.len() / 64) {
        let part = parse(input.get(..length).unwrap_or_default(), false);
        match &settled {
            None if part != Ok(Parsed::Incomplete) => settled = Some(part),
            None => {}
            Some(settled) => same(&part, settled),
        }
    }
    if let Some(settled) = settled {
        same(&whole, &settled);
    }
}

fn same(one: &Result<Parsed, Fault>, other: &Result<Parsed, Fault>) {
    let kind =
        |answer: &Result<Parsed, Fault>| answer.clone().map_err(|fault| discriminant(&fault));
    assert_eq!(kind(one), kind(other), "{one:?} {other:?}");
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = [
        "HTTP/1.1 200 OK\r\nContent-Length: 17\r\nConnection: close\r\n\r\n{\"health\":\"true\"}",
        "HTTP/1.1 103\r\nLink: x\r\n\r\nHTTP/1.0 503 Service Unavailable\r\n\r\n[+]a ok\n[-]b failed\n",
        "HTTP/1.1 302 Found\r\nLocation: https://a/b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 204\ncontent-length: 0\nContent-Length:0\n\n",
        "HTTP/2 200\r\n\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    seeds.push(super::bytes("150301000202 46"));
    seeds.push(super::bytes("000006 04 00 00000000 0005 00004000"));
    seeds
}
