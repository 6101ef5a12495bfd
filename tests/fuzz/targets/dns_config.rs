//! resolv.conf, the environment's part in it, and the hosts file.
//!
//! The input's lines are the file; of its first line `RES_OPTIONS` and `LOCALDOMAIN` are made.

use super::Target;
use crate::dns::hosts;
use crate::dns::name::Name;
use crate::dns::resolv_conf::{Environment, ResolvConf};

pub(super) const TARGET: Target = Target {
    name: "dns-config",
    seeds,
    run,
    max_input: 1024,
};

fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let first = text.lines().next().unwrap_or_default().to_owned();
    let environment = Environment {
        port: 53,
        res_options: first.clone(),
        local_domain: first.strip_prefix("local ").map(str::to_owned),
        host_name: first.clone(),
        interface_index: |name| u32::try_from(name.len()).ok(),
    };
    let conf = ResolvConf::parse(&text, &environment);
    assert!((1..=3).contains(&conf.servers.len()));
    assert!(conf.servers.iter().all(|server| server.port() == 53));
    assert!(conf.search.len() <= 32 && conf.search.iter().all(|domain| !domain.is_root()));
    assert!(conf.ndots <= 15 && (1..=5).contains(&conf.attempts));
    assert!((1..=30).contains(&conf.timeout.as_secs()));

    let words = text.split_ascii_whitespace();
    let mut wanted = words.map(|word| (word.to_owned(), Vec::new())).collect();
    hosts::find(input, &mut wanted).expect("bytes can be read");
    for word in text.split_ascii_whitespace() {
        if let Ok((name, absolute)) = Name::from_text(word) {
            let candidates = conf.candidates(&name, absolute);
            assert!(candidates.contains(&name));
            assert!(candidates.len() <= conf.search.len() + 1);
            assert!(!absolute || candidates.len() == 1);
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    [
        "ndots:5 timeout:1 attempts:3 rotate use-vc\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\n\
         search a.example b.example\noptions ndots:2\ndomain x\n",
        "local a b\nsearch c\n# comment\n; comment\nnameserver ::1\nnameserver fe80::2%7",
        "host.lan.example\n127.0.0.1 localhost a.b # comment\n::1 ip6-localhost\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
