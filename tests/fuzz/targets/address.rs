//! Addresses of endpoints and listeners, and domains: what is read survives being printed.

use super::{Target, harmless};
use crate::addr::{self, AddrError, HostPort};

pub(super) const TARGET: Target = Target {
    name: "address",
    seeds,
    run,
    max_input: 320,
};

fn run(input: &[u8]) {
    let text = &String::from_utf8_lossy(input);
    survives(text, |text| {
        addr::parse_endpoint(text).map(|(address, _)| address)
    });
    survives(text, addr::parse_listen);
    survives(text, addr::parse_metrics);
    match addr::parse_domain(text) {
        Ok(domain) => {
            assert!(domain.is_ascii() && domain == text.to_ascii_lowercase());
            assert_eq!(addr::parse_domain(&domain).as_ref(), Ok(&domain));
        }
        Err(error) => harmless(&error.to_string()),
    }
}

fn survives(text: &str, parse: impl Fn(&str) -> Result<HostPort, AddrError>) {
    match parse(text) {
        Ok(address) => {
            let printed = address.to_string();
            harmless(&printed);
            assert_eq!(parse(&printed), Ok(address), "{text:?}");
        }
        Err(error) => harmless(&error.to_string()),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    [
        "10.0.0.1:2379",
        "HTTPS://etcd-1.Example.com.:2379/",
        "http://[2001:db8::1]:02381",
        "[fe80::1%eth0]:2379",
        ":0",
        "0x7f.1:1",
        "_etcd.a-b",
        "fe80::1:2379",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
