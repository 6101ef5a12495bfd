//! An endpoints file: what is read is bounded, and must survive being written and read again.

use std::collections::HashSet;

use super::Target;
use crate::discovery::endpoints_file::{self, Listing, Warning};

pub(super) const TARGET: Target = Target {
    name: "endpoints-file",
    seeds,
    run,
    max_input: 2048,
};

fn run(input: &[u8]) {
    let lines = input.split(|octet| *octet == b'\n').count();
    let listing = match endpoints_file::parse(input) {
        Ok(listing) => listing,
        Err(error) => {
            assert!(error.line.is_none_or(|line| (1..=lines).contains(&line)));
            let message = error.cause.to_string();
            assert!(message.len() < 1024 && !message.contains('\n'), "{message}");
            return;
        }
    };
    let members = &listing.members;
    assert!((1..=lines).contains(&members.len()) && listing.warnings.len() <= 3);
    let addresses: HashSet<String> = members.iter().map(|m| m.at.to_string()).collect();
    assert_eq!(addresses.len(), members.len(), "each once");
    let written: String = members
        .iter()
        .map(|m| {
            let drain = if m.drains { " drain" } else { "" };
            let (priority, weight) = (m.priority, m.weight);
            format!("{} priority={priority} weight={weight}{drain}\n", m.at)
        })
        .collect();
    let all_drain = members.iter().all(|m| m.drains);
    let again = Listing {
        members: members.clone(),
        warnings: Vec::from_iter(all_drain.then_some((members.len(), Warning::AllDrain))),
    };
    assert_eq!(
        endpoints_file::parse(written.as_bytes()),
        Ok(again),
        "{written}"
    );
}

fn seeds() -> Vec<Vec<u8>> {
    let name = ["x"; 60].join(".");
    [
        "# members\n10.0.0.1:2379\n\n[2001:db8::1]:2379 weight=2 # rack 2\r\n",
        "https://etcd-1.example.com.:2379/ priority=1 weight=0\nHTTP://a:1\nA:1\n",
        "[fe80::1%eth0]:2379\tpriority=65535\n",
        "a:1,b:1\n",
        "a:1 drain\nb:1 weight=2 drain # rack 1\na:1 drain=yes\n",
        &format!("{name}:65535\n"),
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}
