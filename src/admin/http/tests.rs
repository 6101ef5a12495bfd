//! Tests of the request parser.

use super::*;

type Parsed<'a> = Result<Option<Request<'a>>, Status>;

fn get(path: &str) -> Parsed<'_> {
    asked(path, "")
}

fn asked<'a>(path: &'a str, query: &'a str) -> Parsed<'a> {
    Ok(Some(Request {
        path,
        query,
        takes_html: false,
        head_only: false,
    }))
}

fn head(path: &str) -> Parsed<'_> {
    Ok(Some(Request {
        path,
        query: "",
        takes_html: false,
        head_only: true,
    }))
}

#[test]
fn request_lines() {
    // (request line, what it is)
    let cases = [
        ("GET /metrics HTTP/1.1", get("/metrics")),
        ("HEAD /metrics HTTP/1.1", head("/metrics")),
        ("GET / HTTP/1.1", get("/")),
        ("GET /?a=b?c/ HTTP/1.1", asked("/", "a=b?c/")),
        ("GET /? HTTP/1.1", get("/")),
        ("GET /a%2Fb HTTP/1.1", get("/a%2Fb")),
        ("GET //metrics HTTP/1.1", get("//metrics")),
        ("GET /../etc/passwd HTTP/1.1", get("/../etc/passwd")),
        // What a client sends that believes to speak to a proxy.
        ("GET http://a:1/metrics?x HTTP/1.1", asked("/metrics", "x")),
        ("GET HTTP://a HTTP/1.1", get("/")),
        ("GET http://a?x HTTP/1.1", asked("/", "x")),
        ("GET http://[::1]:1/metrics HTTP/1.1", get("/metrics")),
        ("GET http:///metrics HTTP/1.1", Err(Status::BAD_REQUEST)),
        ("GET http://:1/metrics HTTP/1.1", Err(Status::BAD_REQUEST)),
        ("GET http://u@a/metrics HTTP/1.1", Err(Status::BAD_REQUEST)),
        ("GET http://a:b/metrics HTTP/1.1", Err(Status::BAD_REQUEST)),
        ("GET https://a/metrics HTTP/1.1", Err(Status::BAD_REQUEST)),
        ("GET metrics HTTP/1.1", Err(Status::BAD_REQUEST)),
        ("GET * HTTP/1.1", Err(Status::BAD_REQUEST)),
        ("GET /# HTTP/1.1", Err(Status::BAD_REQUEST)),
        ("GET /ä HTTP/1.1", Err(Status::BAD_REQUEST)),
        ("GET /a\tb HTTP/1.1", Err(Status::BAD_REQUEST)),
        ("GET  / HTTP/1.1", Err(Status::BAD_REQUEST)),
        ("GET / HTTP/1.1 ", Err(Status::BAD_REQUEST)),
        (" GET / HTTP/1.1", Err(Status::BAD_REQUEST)),
        ("GET /", Err(Status::BAD_REQUEST)),
        ("GET", Err(Status::BAD_REQUEST)),
        ("", Err(Status::BAD_REQUEST)),
        ("GET / a HTTP/1.1", Err(Status::BAD_REQUEST)),
        ("get / HTTP/1.1", Err(Status::METHOD_NOT_ALLOWED)),
        ("POST /metrics HTTP/1.1", Err(Status::METHOD_NOT_ALLOWED)),
        ("OPTIONS * HTTP/1.1", Err(Status::METHOD_NOT_ALLOWED)),
        ("CONNECT a:1 HTTP/1.1", Err(Status::METHOD_NOT_ALLOWED)),
        ("BREW / HTTP/1.1", Err(Status::METHOD_NOT_ALLOWED)),
        ("G(T / HTTP/1.1", Err(Status::BAD_REQUEST)),
        ("GET / HTTP/1.9", get("/")),
        ("GET / HTTP/2.0", Err(Status::VERSION_NOT_SUPPORTED)),
        ("PRI * HTTP/2.0", Err(Status::VERSION_NOT_SUPPORTED)),
        ("GET / HTTP/0.9", Err(Status::VERSION_NOT_SUPPORTED)),
        ("GET / HTTP/1.10", Err(Status::BAD_REQUEST)),
        ("GET / HTTP/1", Err(Status::BAD_REQUEST)),
        ("GET / http/1.1", Err(Status::BAD_REQUEST)),
        ("GET / SIP/2.0", Err(Status::BAD_REQUEST)),
    ];
    for (line, expected) in cases {
        let text = format!("{line}\r\nHost: a\r\n\r\n");
        assert_eq!(parse(text.as_bytes()), expected, "{line:?}");
        let led = format!("\r\n{text}");
        if line.is_empty() {
            continue;
        }
        assert_eq!(parse(led.as_bytes()), expected, "after an empty line");
    }
}

#[test]
fn fields() {
    // (fields, what the request with them is)
    let cases = [
        ("Host: a\r\n", get("/")),
        ("hOsT:a\r\n", get("/")),
        ("Host:\r\n", get("/")),
        ("Host: [::1]:9090\r\n", get("/")),
        ("Host: \t a \t\r\n", get("/")),
        ("", Err(Status::BAD_REQUEST)),
        ("Host: a\r\nHost: a\r\n", Err(Status::BAD_REQUEST)),
        ("Host: a.b_c:\r\n", get("/")),
        ("Host: 127.0.0.1:9090\r\n", get("/")),
        ("Host: a%2Fb!$&'()*+;=~\r\n", get("/")),
        ("Host: a:b\r\n", Err(Status::BAD_REQUEST)),
        ("Host: a:1:2\r\n", Err(Status::BAD_REQUEST)),
        ("Host: ::1\r\n", Err(Status::BAD_REQUEST)),
        ("Host: [::1\r\n", Err(Status::BAD_REQUEST)),
        ("Host: [::1]1\r\n", Err(Status::BAD_REQUEST)),
        ("Host: [a]\r\n", Err(Status::BAD_REQUEST)),
        ("Host: a%\r\n", Err(Status::BAD_REQUEST)),
        ("Host: a%4g\r\n", Err(Status::BAD_REQUEST)),
        ("Host: <a>\r\n", Err(Status::BAD_REQUEST)),
        ("Host: \"a\"\r\n", Err(Status::BAD_REQUEST)),
        ("Host: a,b\r\n", Err(Status::BAD_REQUEST)),
        ("Host: a b\r\n", Err(Status::BAD_REQUEST)),
        ("Host: a/b\r\n", Err(Status::BAD_REQUEST)),
        ("Host: u@a\r\n", Err(Status::BAD_REQUEST)),
        ("Host : a\r\n", Err(Status::BAD_REQUEST)),
        ("Host: a\r\n : b\r\n", Err(Status::BAD_REQUEST)),
        ("Host: a\r\nX: b\r\n c\r\n", Err(Status::BAD_REQUEST)),
        ("Host: a\r\nX\r\n", Err(Status::BAD_REQUEST)),
        ("Host: a\r\n: x\r\n", Err(Status::BAD_REQUEST)),
        ("Host: a\r\nX: a\nY: b\r\n", Err(Status::BAD_REQUEST)),
        ("Host: a\r\nX: a\rb\r\n", Err(Status::BAD_REQUEST)),
        ("Host: a\r\nX: a\r\r\n", Err(Status::BAD_REQUEST)),
        ("Host: a\r\nX: a\0b\r\n", Err(Status::BAD_REQUEST)),
        ("Host: a\r\nX: a\x7fb\r\n", Err(Status::BAD_REQUEST)),
        ("Host: a\r\nX: ä\r\n", get("/")),
        ("Host: a\r\nContent-Length: 0\r\n", get("/")),
        ("Host: a\r\nContent-Length: 00\r\n", get("/")),
        (
            "Host: a\r\nContent-Length: 1\r\n",
            Err(Status::CONTENT_TOO_LARGE),
        ),
        (
            "Host: a\r\nContent-Length: 99999999999999999999\r\n",
            Err(Status::CONTENT_TOO_LARGE),
        ),
        (
            "Host: a\r\nContent-Length: -1\r\n",
            Err(Status::BAD_REQUEST),
        ),
        (
            "Host: a\r\nContent-Length: +1\r\n",
            Err(Status::BAD_REQUEST),
        ),
        (
            "Host: a\r\nContent-Length: 0x1\r\n",
            Err(Status::BAD_REQUEST),
        ),
        ("Host: a\r\nContent-Length:\r\n", Err(Status::BAD_REQUEST)),
        (
            "Host: a\r\nContent-Length: 0, 0\r\n",
            Err(Status::BAD_REQUEST),
        ),
        (
            "Host: a\r\nContent-Length: 0\r\nContent-Length: 1\r\n",
            Err(Status::BAD_REQUEST),
        ),
        (
            "Host: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n",
            get("/"),
        ),
        (
            "Host: a\r\nTransfer-Encoding: chunked\r\n",
            Err(Status::CONTENT_TOO_LARGE),
        ),
        (
            "Host: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n",
            Err(Status::BAD_REQUEST),
        ),
    ];
    for (fields, expected) in cases {
        let text = format!("GET / HTTP/1.1\r\n{fields}\r\n");
        assert_eq!(parse(text.as_bytes()), expected, "{fields:?}");
    }
    assert_eq!(parse(b"GET / HTTP/1.0\r\n\r\n"), get("/"));
    let invalid = b"GET / HTTP/1.1\r\nHost: a\r\nX: \xff\r\n\r\n";
    assert_eq!(parse(invalid), Err(Status::BAD_REQUEST), "not UTF-8");
}

#[test]
fn a_request_comes_in_any_number_of_pieces() {
    let text = b"\r\nGET /healthz HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n";
    for length in 0..text.len() {
        assert_eq!(parse(&text[..length]), Ok(None), "{length} octets");
    }
    assert_eq!(parse(text), get("/healthz"));
    let pipelined = [&text[..], b"\0\xff rubbish"].concat();
    assert_eq!(parse(&pipelined), get("/healthz"));
}

#[test]
fn what_cannot_become_a_request_is_rejected_at_once() {
    // The first octets of a TLS handshake.
    assert_eq!(parse(&[0x16, 3, 1, 2, 0, 1]), Err(Status::BAD_REQUEST));
    // What a person types whose terminal ends lines with a bare LF. The last is refused for its
    // line end before its version can be looked at, and so it is as a whole.
    for bare in [
        "\n",
        "GET / HTTP/1.0\n",
        "GET / HTTP/1.1\r\nHost: a\n",
        "GET /\rX",
        "GET / HTTP/2.0\r\nX: a\r\r\n\r\n",
    ] {
        assert_eq!(parse(bare.as_bytes()), Err(Status::BAD_REQUEST), "{bare:?}");
    }
    let long = [b'a'; MAX_HEAD];
    assert_eq!(parse(&long[..MAX_HEAD - 1]), Ok(None));
    assert_eq!(parse(&long), Err(Status::URI_TOO_LONG));
    let mut fields = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
    fields.resize(MAX_HEAD, b'x');
    assert_eq!(parse(&fields), Err(Status::FIELDS_TOO_LARGE));
    let one_too_many = format!(
        "GET / HTTP/1.0\r\n{}\r\n",
        "X: y\r\n".repeat(MAX_FIELDS + 1)
    );
    assert_eq!(
        parse(one_too_many.as_bytes()),
        Err(Status::FIELDS_TOO_LARGE)
    );
    let all = format!("GET / HTTP/1.0\r\n{}\r\n", "X: y\r\n".repeat(MAX_FIELDS));
    assert_eq!(parse(all.as_bytes()), get("/"));
}

/// A head that ends exactly at the limit is accepted; with one octet more it is refused.
#[test]
fn the_limit_is_exact() {
    let head = |length: usize| {
        let fixed = b"GET / HTTP/1.1\r\nHost: a\r\nX: ";
        let mut text = fixed.to_vec();
        text.resize(length - 4, b'x');
        text.extend(b"\r\n\r\n");
        text
    };
    assert_eq!(parse(&head(MAX_HEAD)), get("/"));
    assert_eq!(parse(&head(MAX_HEAD + 1)), Err(Status::FIELDS_TOO_LARGE));
}

#[test]
fn a_head_request_is_known_by_its_beginning() {
    for (text, expected) in [
        ("HEAD / HTTP/1.1\r\n", true),
        ("\r\nHEAD http:///", true),
        ("HEAD", false),
        ("HEADS / HTTP/1.1\r\n", false),
        ("GET / HTTP/1.1\r\nX: HEAD \r\n", false),
    ] {
        assert_eq!(is_head(text.as_bytes()), expected, "{text:?}");
    }
}

#[test]
fn a_response_is_framed_by_its_length() {
    let response = Response::text(Status::OK, "ok");
    let text = String::from_utf8(response.bytes(&"now", false)).unwrap();
    assert!(
        text.starts_with("HTTP/1.1 200 OK\r\nDate: now\r\n"),
        "{text}"
    );
    assert!(text.ends_with("\r\n\r\nok\n"), "{text}");
    for field in [
        "Content-Length: 3",
        "Connection: close",
        "Cache-Control: no-store",
    ] {
        assert!(text.contains(&format!("\r\n{field}\r\n")), "{text}");
    }
    let head = String::from_utf8(response.bytes(&"now", true)).unwrap();
    assert_eq!(head, text.strip_suffix("ok\n").unwrap());
}

/// What browsers and tools send, and what RFC 9110 allows.
#[test]
fn html_is_for_clients_that_name_it() {
    for (fields, expected) in [
        ("", false),
        ("Accept: */*\r\n", false),
        ("Accept: text/html\r\n", true),
        ("ACCEPT:TEXT/HTML\r\n", true),
        // Firefox.
        (
            "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n",
            true,
        ),
        (
            "Accept: application/json, text/html;level=1;q=0.5\r\n",
            true,
        ),
        // Two fields are one list.
        ("Accept: text/plain\r\nAccept: text/html\r\n", true),
        ("Accept: text/html;q=0\r\n", false),
        ("Accept: text/html ; Q=0.000\r\n", false),
        ("Accept: text/html;q=0.001\r\n", true),
        ("Accept: text/*\r\n", false),
        ("Accept: text/htmlx, xtext/html\r\n", false),
        ("Accept: text/plain;x=text/html\r\n", false),
        ("Accept-Language: text/html\r\n", false),
        ("Accept:\r\n", false),
    ] {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let found = parse(head.as_bytes());
        let is_right = matches!(found, Ok(Some(request)) if request.takes_html == expected);
        assert!(is_right, "{fields:?}: {found:?}");
    }
}
