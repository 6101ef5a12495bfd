//! What the kernel lists: the tables of sockets, the status of a process. Names in them are chosen
//! by others.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Target;
use crate::loop_guard::tables::find;
use crate::sys::usage::{kibibytes, processor_time, threads};

pub(super) const TARGET: Target = Target {
    name: "proc-files",
    seeds,
    run,
    max_input: 2048,
};

fn run(input: &[u8]) {
    let end = |last, port| (Ipv4Addr::new(127, 0, 0, last).to_ipv6_mapped(), port);
    let pairs = [
        (end(1, 2379), end(2, 40_000)),
        ((Ipv6Addr::LOCALHOST, 1), (Ipv6Addr::LOCALHOST, 0xffff)),
    ];
    for six in [false, true] {
        let found = find(input, &pairs, six).expect("octets can be read");
        assert_eq!(found.len(), pairs.len());
        assert!(input.len() > 40 || !found.contains(&true));
    }
    let text = String::from_utf8_lossy(input);
    let _ = (threads(&text), processor_time(&text));
    assert!(kibibytes(&text, "VmSize:").is_none_or(|octets| octets.is_multiple_of(1024)));
}

fn seeds() -> Vec<Vec<u8>> {
    [
        "  sl  local_address rem_address   st\n   0: 0100007F:094B 0200007F:9C40 01 0\n",
        "  sl  local_address\n   1: 00000000000000000000000001000000:0001 \
         00000000000000000000000001000000:FFFF 01\n",
        "Name:\ta b)\nVmSize:\t  1234 kB\nVmData: 5 kB\nThreads:\t7\n",
        "17 (a) b) S 1 17 17 0 -1 4194560 1 0 0 0 12 34 0 0 20 0 1 0 5 6 7\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
