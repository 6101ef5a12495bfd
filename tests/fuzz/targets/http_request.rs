//! The head of a request to `--metrics-addr`.
//!
//! Whatever the octets, what is read of them does not change when they come in pieces: what is
//! incomplete may become anything, what is a request stays that request, what is refused stays so.

use super::Target;
use crate::admin::http::{MAX_HEAD, parse};

pub(super) const TARGET: Target = Target {
    name: "http-request",
    seeds,
    run,
    max_input: MAX_HEAD + 64,
};

fn run(input: &[u8]) {
    let whole = parse(input);
    if let Ok(Some(request)) = whole {
        assert!(request.path.starts_with('/'));
        assert!(request.path.bytes().all(|octet| octet.is_ascii_graphic()));
        assert!(!request.path.contains(['?', '#']));
    }
    assert!(whole != Ok(None) || input.len() < MAX_HEAD + 2);
    let mut settled = None;
    // Long inputs by larger steps, for the time it takes.
    for length in (0..input.len()).step_by(1 + input.len() / 64) {
        let part = parse(input.get(..length).unwrap_or_default());
        match settled {
            None if part != Ok(None) => settled = Some(part),
            None => {}
            Some(settled) => assert_eq!(part, settled, "at {length}"),
        }
    }
    if let Some(settled) = settled {
        assert_eq!(whole, settled);
    }
}

fn seeds() -> Vec<Vec<u8>> {
    [
        "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:23791\r\nAccept: */*\r\nContent-Length: 0\r\n\r\n",
        "\r\nHEAD http://a.b:1/x?y HTTP/1.0\r\nX-Y: \tz\r\n\r\nmore",
        "POST / HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
