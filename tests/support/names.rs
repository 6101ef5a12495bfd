//! Names that exist only in an /etc/hosts of the gateway's own mount namespace, so that nothing depends on the
//! host's records and no query leaves the machine.

use std::net::SocketAddr;

use super::process::{can, is_root};
use super::{Backend, Gateway, Launch, SOON, TempDir, eventually, host_offers};

/// Hosts and resolv.conf that only one gateway sees.
pub(crate) struct PrivateNames {
    dir: TempDir,
}

impl PrivateNames {
    /// Nothing where the host lets us make no mount namespace.
    pub(crate) fn new(hosts: &str) -> Option<PrivateNames> {
        let allowed = can("unshare", &Self::unshare(&["true"]));
        if !host_offers(
            allowed,
            "mount namespaces (as root or through user namespaces)",
        ) {
            return None;
        }
        let names = PrivateNames {
            dir: TempDir::new(),
        };
        names.set(hosts);
        // A name server that refuses at once: port 53 of an address nobody listens on.
        names.dir.file(
            "resolv.conf",
            "nameserver 127.53.53.53\noptions timeout:1 attempts:1\n",
        );
        Some(names)
    }

    fn unshare<'a>(command: &[&'a str]) -> Vec<&'a str> {
        let mut words = vec!["--mount"];
        if !is_root() {
            words.push("--map-root-user");
        }
        words.extend(command);
        words
    }

    /// Replaces the records, in place: the mount holds on to the file.
    pub(crate) fn set(&self, hosts: &str) {
        self.dir.file("hosts", hosts);
    }

    pub(crate) fn start(&self, flags: &[&str]) -> Gateway {
        let script = "mount --bind \"$0/hosts\" /etc/hosts && mount --bind \"$0/resolv.conf\" /etc/resolv.conf && exec \"$@\"";
        let dir = self.dir.path().to_str().expect("a temporary path in UTF-8");
        let wrapper = [
            &["unshare"],
            Self::unshare(&["sh", "-c", script, dir]).as_slice(),
        ]
        .concat();
        let launch = Launch::start_with(flags).wrapped(&wrapper);
        launch
            .times("resolver_look=100,file_look=100,refresh_pause=20")
            .start()
    }
}

/// Two tagged endpoints that share a port on different addresses.
pub(crate) fn same_port(first: &str, second: &str) -> (Backend, Backend) {
    eventually(SOON, "a port that is free on both addresses", || {
        let mut one = Backend::dead_at(SocketAddr::new(first.parse().expect("an address"), 0))
            .expect("bind port 0");
        let address = SocketAddr::new(second.parse().expect("an address"), one.address().port());
        let mut two = Backend::dead_at(address).ok()?;
        one.up_tagged(b'1');
        two.up_tagged(b'2');
        Some((one, two))
    })
}
