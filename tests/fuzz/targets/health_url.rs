//! The URL of a health check: what is read survives being printed, and nothing in it can end a line
//! of the request.

use std::net::SocketAddr;

use super::Target;
use crate::url::Url;

pub(super) const TARGET: Target = Target {
    name: "health-url",
    seeds,
    run,
    max_input: 1100,
};

fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => {
            let message = error.to_string();
            assert!(!message.contains(char::is_control), "{message:?}");
            return;
        }
    };
    assert!(url.path().starts_with('/'));
    assert!(url.path().bytes().all(|octet| octet.is_ascii_graphic()));
    let printed = url.to_string();
    let endpoint = SocketAddr::from(([10, 0, 0, 1], 2379));
    // A slash may have been added to the longest.
    if let Ok(again) = Url::parse(&printed) {
        assert_eq!(again, url, "{printed}");
        assert_eq!(again.target(endpoint), url.target(endpoint));
    } else {
        assert!(printed.len() > 1024, "{printed}");
    }
}

fn seeds() -> Vec<Vec<u8>> {
    [
        "http://:2381/readyz",
        "http:///health",
        "HTTP://10.0.0.9:02381/health?exclude=NOSPACE",
        "http://[fd00::1]:2381?a=b@c",
        "https://user@[fe80::1%25eth0]:0/#x",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
