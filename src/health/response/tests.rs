//! Answers to a health check, whole, cut, odd and hostile: what each says of the member.

use super::*;

type Read = Result<Parsed, Fault>;

fn status(status: &str, content: &str) -> Read {
    Err(Fault::Status {
        status: status.to_owned(),
        content: content.to_owned(),
    })
}

fn redirect(status: &str, location: &str) -> Read {
    Err(Fault::Redirect {
        status: status.to_owned(),
        location: location.to_owned(),
    })
}

const HEALTHY: Read = Ok(Parsed::Healthy);
const INCOMPLETE: Read = Ok(Parsed::Incomplete);

/// As etcd 3.4.23 sends it.
const ETCD: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Mon, 30 Nov 2026 15:00:00 GMT\r\n\
    Content-Length: 17\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n\
    {\"health\":\"true\"}";

#[test]
fn answers_and_their_results() {
    // (octets, while the connection is open, once it has ended)
    let cases: [(&[u8], Read, Read); 37] = [
        (ETCD, HEALTHY, HEALTHY),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            HEALTHY,
            HEALTHY,
        ),
        // A server that keeps the connection open all the same.
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more",
            HEALTHY,
            HEALTHY,
        ),
        // What costs nothing to understand.
        (b"HTTP/1.0 200 OK\r\n\r\nok", INCOMPLETE, HEALTHY),
        (b"HTTP/1.1 200\r\n\r\n", INCOMPLETE, HEALTHY),
        (b"HTTP/1.1 200 \r\n\r\n", INCOMPLETE, HEALTHY),
        (b"HTTP/1.1 200 Fine, Thanks\n\nok", INCOMPLETE, HEALTHY),
        (
            b"HTTP/1.1 200 OK\r\nno colon\r\n folded\r\n: empty\r\n\xff: \x00\r\n\r\n",
            INCOMPLETE,
            HEALTHY,
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-LENGTH:\t2 \r\nContent-Length: 2\r\n\r\nok",
            HEALTHY,
            HEALTHY,
        ),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103\r\nLink: x\r\n\r\n\
            HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            HEALTHY,
            HEALTHY,
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 99\r\n\r\n\
            2\r\nok\r\n0\r\n\r\n",
            INCOMPLETE,
            HEALTHY,
        ),
        // Other statuses.
        (
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 18\r\n\r\n\
            {\"health\":\"false\"}not this",
            status("503 Service Unavailable", "{\"health\":\"false\"}"),
            status("503 Service Unavailable", "{\"health\":\"false\"}"),
        ),
        (
            b"HTTP/1.1 503 Service Unavailable\r\n\r\n[+]serializable_read ok\n\
            [-]linearizable_read failed: x\r\n\tend\n",
            INCOMPLETE,
            status(
                "503 Service Unavailable",
                "[+]serializable_read ok [-]linearizable_read failed: x end",
            ),
        ),
        (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nno",
            INCOMPLETE,
            status("404 Not Found", "no"),
        ),
        (
            b"HTTP/1.1 500\r\nContent-Length: x\r\n\r\n",
            status("500", ""),
            status("500", ""),
        ),
        (
            b"HTTP/1.1 500 \x1b[2J\xc3\xbc\r\nTransfer-Encoding: chunked\r\n\r\n\
            3\r\nbad\r\n0\r\n\r\n",
            INCOMPLETE,
            status("500 ?[2J??", "bad 0"),
        ),
        (
            b"HTTP/1.1 204 No Content\r\n\r\n",
            status("204 No Content", ""),
            status("204 No Content", ""),
        ),
        (
            b"HTTP/1.1 304\r\nContent-Length: 9\r\n\r\n",
            status("304", ""),
            status("304", ""),
        ),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nContent-Length: 0\r\n\r\n",
            status("101 Switching Protocols", ""),
            status("101 Switching Protocols", ""),
        ),
        (
            b"HTTP/1.1 201 Created\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
            status("201 Created", ""),
            status("201 Created", ""),
        ),
        (
            b"HTTP/1.1 302 Found\r\nLocation: https://a/b\r\nContent-Length: 0\r\n\r\n",
            redirect("302 Found", "https://a/b"),
            redirect("302 Found", "https://a/b"),
        ),
        (
            b"HTTP/1.1 301\r\nContent-Length: 3\r\n\r\nbye",
            status("301", "bye"),
            status("301", "bye"),
        ),
        // What is not an answer.
        (b"", INCOMPLETE, Err(Fault::Empty)),
        (b"HTTP", INCOMPLETE, Err(Fault::EndsEarly)),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
            INCOMPLETE,
            Err(Fault::EndsEarly),
        ),
        // Two, in a number of 32 bits.
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 4294967298\r\n\r\nok",
            INCOMPLETE,
            Err(Fault::EndsEarly),
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
            INCOMPLETE,
            Err(Fault::EndsEarly),
        ),
        (
            b"HTTP/1.1 100 Continue\r\n\r\n",
            INCOMPLETE,
            Err(Fault::EndsEarly),
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            Err(Fault::Length),
            Err(Fault::Length),
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
            Err(Fault::Length),
            Err(Fault::Length),
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
            Err(Fault::Length),
            Err(Fault::Length),
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            Err(Fault::Length),
            Err(Fault::Length),
        ),
        (
            b"HTTP/2 200\r\n\r\n",
            Err(Fault::Version("HTTP/2".into())),
            Err(Fault::Version("HTTP/2".into())),
        ),
        // A TLS alert is seven octets, and the frame of HTTP/2 that comes first nine or more.
        (b"\x15\x03\x01\x00\x02\x02\x46", INCOMPLETE, Err(Fault::Tls)),
        (
            b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00",
            Err(Fault::Http2),
            Err(Fault::Http2),
        ),
        (
            b"SSH-2.0-OpenSSH_9.2\r\n",
            Err(Fault::NotHttp("SSH-2.0-OpenSSH_9.2".into())),
            Err(Fault::NotHttp("SSH-2.0-OpenSSH_9.2".into())),
        ),
        (b"\x15", INCOMPLETE, Err(Fault::NotHttp("?".into()))),
    ];
    for (octets, open, ended) in cases {
        let shown = String::from_utf8_lossy(octets);
        assert_eq!(parse(octets, false), open, "open: {shown}");
        assert_eq!(parse(octets, true), ended, "ended: {shown}");
    }
}

#[test]
fn a_status_is_three_digits_after_one_space() {
    for line in [
        "HTTP/1.1",
        "HTTP/1.1 ",
        "HTTP/1.1 20",
        "HTTP/1.1 2000",
        "HTTP/1.1 +20",
        "HTTP/1.1 20x OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1 200OK",
        "HTTP/1.1 099 OK",
        "HTTP/1.1\t200 OK x",
    ] {
        let answer = format!("{line}\r\nContent-Length: 0\r\n\r\n");
        let fault = parse(answer.as_bytes(), true).unwrap_err();
        let expected = match line.contains('\t') {
            true => Fault::Version("HTTP/1.1 200".to_owned()),
            false => Fault::StatusLine(line.trim().to_owned()),
        };
        // Blanks in a row are one where they are shown.
        let shown = |fault: &Fault| fault.to_string().replace("  ", " ");
        assert_eq!(shown(&fault), shown(&expected), "{line}");
    }
}

#[test]
fn no_more_is_read_than_the_limit() {
    let head = b"HTTP/1.1 200 OK\r\nX: ";
    let endless = [head.as_slice(), &vec![b'x'; 2 * MAX_RESPONSE]].concat();
    assert_eq!(parse(&endless[..MAX_RESPONSE - 1], false), INCOMPLETE);
    assert_eq!(
        parse(&endless[..MAX_RESPONSE], false),
        Err(Fault::HeadTooLong)
    );
    assert_eq!(parse(&endless, false), Err(Fault::HeadTooLong));
    // A long page is as healthy as a short one.
    for length in ["", "Content-Length: 100000\r\n"] {
        for (code, expected) in [("200", "Healthy"), ("500", "Status")] {
            let head = format!("HTTP/1.1 {code}\r\n{length}\r\n");
            let page = [head.as_bytes(), &vec![b'x'; MAX_RESPONSE]].concat();
            assert_eq!(parse(&page[..MAX_RESPONSE - 1], false), INCOMPLETE);
            let answer = parse(&page[..MAX_RESPONSE], false);
            assert!(format!("{answer:?}").contains(expected), "{answer:?}");
            if let Err(fault) = answer {
                assert_eq!(
                    fault.to_string(),
                    format!("500: {}...", "x".repeat(EXCERPT_MAX))
                );
            }
        }
    }
}

/// Every beginning, and every octet replaced by every other, in pieces too: nothing panics, what is
/// shown is short and printable, and what is settled stays so.
#[test]
fn truncations_and_changes_of_answers() {
    let refusal = b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nfalse";
    for valid in [ETCD, refusal.as_slice()] {
        let whole = parse(valid, false);
        for length in 0..valid.len() {
            assert_eq!(parse(&valid[..length], false), INCOMPLETE, "{length}");
            let ended = parse(&valid[..length], true);
            assert_ne!(ended, HEALTHY, "{length}");
        }
        let mut changed = valid.to_vec();
        for at in 0..valid.len() {
            for octet in 0..=u8::MAX {
                changed[at] = octet;
                for ended in [false, true] {
                    let answer = parse(&changed, ended);
                    if let Err(fault) = &answer {
                        let text = fault.to_string();
                        assert!(text.len() < 2 * EXCERPT_MAX + 100, "{text}");
                        assert!(text.bytes().all(|o| matches!(o, 0x20..=0x7e)), "{text:?}");
                    }
                    if octet == valid[at] {
                        assert_eq!(answer, whole, "{at}");
                    }
                }
            }
            changed[at] = valid[at];
        }
    }
}

#[test]
fn a_fault_is_displayed_with_its_remedy() {
    for (fault, words) in [
        (
            Fault::Tls,
            "it speaks TLS; ask a port that serves plain HTTP",
        ),
        (Fault::Http2, "it speaks HTTP/2 only; ask a port"),
        (
            Fault::Empty,
            "closed without an answer, as by one that speaks TLS; ask a port",
        ),
        (Fault::EndsEarly, "closed before the end of the answer"),
        (Fault::HeadTooLong, "the head is longer than 8192 octets"),
        (Fault::Length, "200, but the Content-Length is malformed"),
        (Fault::NotHttp("x".into()), "the answer is not HTTP: x"),
        (
            Fault::Version("HTTP/3".into()),
            "answers in HTTP/3, not in HTTP/1.0 or HTTP/1.1",
        ),
        (
            Fault::StatusLine("HTTP/1.1".into()),
            "the status line is malformed: HTTP/1.1",
        ),
        (
            Fault::Redirect {
                status: "302 Found".into(),
                location: "/x".into(),
            },
            "302 Found: redirects are not followed, this one to /x",
        ),
        (
            Fault::Status {
                status: "404 Not Found".into(),
                content: String::new(),
            },
            "404 Not Found",
        ),
        (
            Fault::Status {
                status: "404".into(),
                content: "page not found".into(),
            },
            "404: page not found",
        ),
    ] {
        assert!(fault.to_string().starts_with(words), "{fault}");
        let is_answer = !matches!(fault, Fault::Empty | Fault::EndsEarly);
        assert_eq!(fault.is_answer(), is_answer, "{fault}");
    }
}
