//! Network namespaces, one per member, on one bridge; faults of the network by nftables in the member's own namespace.
//!
//! A namespace has no name that outlives the test: a process that sleeps holds it, and ends with the test's own
//! namespace of processes (`isolated`). The bridge, the gateways and the clients are in the test's own.

use std::process::{Child, Command, Stdio};

use crate::support::process::{can, have, tool_text};
use crate::support::{SOON, eventually, host_offers};

/// The address of the gateways and of the clients.
pub(super) const HUB: &str = "10.77.0.100";

/// The address of a member.
pub(super) fn host(index: usize) -> String {
    format!("10.77.0.{}", index + 1)
}

/// Both directions of what passes between a member and the others; what it says to itself is not touched.
const CHAINS: &str = "add table inet fault; \
    add chain inet fault in { type filter hook input priority 0; }; \
    add chain inet fault out { type filter hook output priority 0; }; ";
const CUT_FROM_PEERS: &str = "add rule inet fault in iifname \"eth0\" tcp dport 2380 drop; \
    add rule inet fault in iifname \"eth0\" tcp sport 2380 drop; \
    add rule inet fault out oifname \"eth0\" tcp dport 2380 drop; \
    add rule inet fault out oifname \"eth0\" tcp sport 2380 drop";
const LOSS: &str = "add rule inet fault in iifname \"eth0\" numgen random mod 100 < 30 drop; \
    add rule inet fault out oifname \"eth0\" numgen random mod 100 < 30 drop";

pub(super) struct Wires {
    holders: Vec<Child>,
}

impl Wires {
    /// Namespaces for this many members; nothing where the host cannot do that.
    pub(super) fn lay(count: usize) -> Option<Wires> {
        let offered = have("nft") && can("ip", &["link", "add", "br0", "type", "bridge"]);
        if !host_offers(offered, "bridges between namespaces, and nftables") {
            return None;
        }
        let hub = format!("{HUB}/24");
        tool_text("ip", &["addr", "add", &hub, "dev", "br0"]);
        tool_text("ip", &["link", "set", "br0", "up"]);
        let mut wires = Wires {
            holders: Vec::new(),
        };
        for index in 0..count {
            wires.add(index);
        }
        Some(wires)
    }

    fn add(&mut self, index: usize) {
        let holder = Command::new("unshare")
            .args(["--net", "sleep", "infinity"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("run unshare");
        let pid = holder.id().to_string();
        self.holders.push(holder);
        let net = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        eventually(SOON, "a namespace of its own", || {
            (net(&pid)? != net("self")?).then_some(())
        });
        let end = format!("v{index}");
        let peer = ["type", "veth", "peer", "name", "eth0", "netns", &pid];
        tool_text("ip", &[&["link", "add", &end], peer.as_slice()].concat());
        tool_text("ip", &["link", "set", &end, "master", "br0", "up"]);
        let address = format!("{}/24", host(index));
        self.inside(index, &["ip", "addr", "add", &address, "dev", "eth0"]);
        self.inside(index, &["ip", "link", "set", "eth0", "up"]);
        self.inside(index, &["ip", "link", "set", "lo", "up"]);
    }

    /// What to put before a command for it to run in the member's namespace, as the same process.
    pub(super) fn wrapper(&self, index: usize) -> Command {
        let mut command = Command::new("nsenter");
        let pid = self.holders[index].id();
        command.arg(format!("--net=/proc/{pid}/ns/net")).arg("--");
        command
    }

    #[track_caller]
    fn inside(&self, index: usize, words: &[&str]) {
        let output = self.wrapper(index).args(words).output();
        let output = output.expect("run nsenter");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
    }

    /// One more address of the hub, for what a test puts in front of a member.
    pub(super) fn address(&self, address: &str) {
        tool_text(
            "ip",
            &["addr", "add", &format!("{address}/24"), "dev", "br0"],
        );
    }

    /// The member hears nothing of its peers, nor they of it; clients reach it as before.
    pub(super) fn cut(&self, index: usize) {
        self.inside(index, &["nft", &format!("{CHAINS}{CUT_FROM_PEERS}")]);
    }

    /// Of all that the member sends and receives, three in ten packets are lost.
    pub(super) fn lose(&self, index: usize) {
        self.inside(index, &["nft", &format!("{CHAINS}{LOSS}")]);
    }

    /// Ends what `cut_off` or `lose` began.
    pub(super) fn heal(&self, index: usize) {
        self.inside(index, &["nft", "delete table inet fault"]);
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        for holder in &mut self.holders {
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}
