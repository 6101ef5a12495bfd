//! Real name servers of the host, on a machine of the test's own (`isolated`): dnsmasq, nsd, unbound.

use std::fs::File;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Stdio};
use std::time::Duration;

use super::isolated::Site;
use super::{SOON, child_command, eventually, host_offers, process};

/// A running server; killed when dropped.
pub(crate) struct NameServer {
    process: Child,
}

impl NameServer {
    /// dnsmasq on 127.0.0.1 with these lines of configuration, which it serves with a TTL of 5 s.
    pub(crate) fn dnsmasq(site: &Site, lines: &str) -> NameServer {
        let text = format!(
            "no-resolv\nno-hosts\nbind-interfaces\nlisten-address=127.0.0.1\nport=53\nlocal-ttl=5\npid-file\n{lines}"
        );
        let conf = site.file("dnsmasq.conf", &text);
        let conf = format!("--conf-file={conf}");
        // In the foreground, and without a change of user, to which root in a user namespace has no right.
        NameServer::start(site, "dnsmasq", &["--no-daemon", &conf], "127.0.0.1:53")
    }

    /// nsd with one zone, on an address; the zone's text lacks only the SOA and NS records.
    pub(crate) fn nsd(site: &Site, ip: &str, zone: &str, records: &str) -> NameServer {
        let head = format!(
            "$ORIGIN {zone}.\n$TTL 300\n@ SOA ns admin 1 3600 600 86400 60\n@ NS ns\nns A {ip}\n"
        );
        let zone_file = site.file("zone", &format!("{head}{records}"));
        let (pid, list) = (site.path("nsd.pid"), site.path("nsd.list"));
        let (dir, state) = (site.path(""), site.path("nsd.xfrd"));
        let text = format!(
            "server:\n ip-address: {ip}@53\n username: \"\"\n chroot: \"\"\n zonesdir: \"{dir}\"\n \
             database: \"\"\n pidfile: \"{pid}\"\n zonelistfile: \"{list}\"\n xfrdfile: \"{state}\"\n xfrdir: \"{dir}\"\n \
             server-count: 1\n reuseport: no\nremote-control:\n control-enable: no\n\
             zone:\n name: {zone}\n zonefile: \"{zone_file}\"\n"
        );
        let conf = site.file("nsd.conf", &text);
        NameServer::start(site, "nsd", &["-d", "-c", &conf], &format!("{ip}:53"))
    }

    /// unbound on 127.0.0.1, which asks the server at `ip` for `zone`.
    pub(crate) fn unbound(site: &Site, zone: &str, ip: &str) -> NameServer {
        let (dir, pid) = (site.path(""), site.path("unbound.pid"));
        let text = format!(
            "server:\n interface: 127.0.0.1\n port: 53\n username: \"\"\n chroot: \"\"\n directory: \"{dir}\"\n \
             pidfile: \"{pid}\"\n use-syslog: no\n do-daemonize: no\n num-threads: 1\n \
             module-config: \"iterator\"\n do-not-query-localhost: no\n access-control: 127.0.0.0/8 allow\n \
             local-zone: \"test.\" nodefault\n\
             stub-zone:\n name: \"{zone}\"\n stub-addr: {ip}\nremote-control:\n control-enable: no\n"
        );
        let conf = site.file("unbound.conf", &text);
        NameServer::start(site, "unbound", &["-d", "-c", &conf], "127.0.0.1:53")
    }

    /// unbound on 127.0.0.1, which refuses everybody.
    pub(crate) fn unbound_refusing(site: &Site) -> NameServer {
        let text = "server:\n interface: 127.0.0.1\n port: 53\n username: \"\"\n chroot: \"\"\n directory: \"\"\n \
                    pidfile: \"\"\n use-syslog: no\n do-daemonize: no\n num-threads: 1\n \
                    module-config: \"iterator\"\n access-control: 127.0.0.0/8 refuse\n\
                    remote-control:\n control-enable: no\n";
        let conf = site.file("unbound.conf", text);
        NameServer::start(site, "unbound", &["-d", "-c", &conf], "127.0.0.1:53")
    }

    fn start(site: &Site, program: &str, args: &[&str], address: &str) -> NameServer {
        let log = site.path(&format!("{program}.log"));
        let output = File::create(&log).expect("create the server's log");
        let mut server = NameServer {
            process: child_command(program)
                .args(args)
                .stdin(Stdio::null())
                .stdout(output.try_clone().expect("duplicate a descriptor"))
                .stderr(output)
                .spawn()
                .unwrap_or_else(|error| panic!("{program}: {error}")),
        };
        let address: SocketAddr = address.parse().expect("an address");
        eventually(SOON, &format!("{program} answers"), || {
            let ended = server.process.try_wait().expect("wait for the server");
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            assert!(ended.is_none(), "{program} ended: {said}");
            answers(address)
        });
        server
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// True when the host has the servers.
pub(crate) fn have(programs: &[&str]) -> bool {
    host_offers(
        programs.iter().all(|program| process::have(program)),
        &programs.join(", "),
    )
}

/// Asks for the NS records of the root, to which every server has some answer.
fn answers(address: SocketAddr) -> Option<()> {
    const QUERY: [u8; 17] = [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];
    let socket = UdpSocket::bind("127.0.0.1:0").ok()?;
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .ok()?;
    socket.connect(address).ok()?;
    socket.send(&QUERY).ok()?;
    socket.recv(&mut [0; 512]).ok().map(drop)
}
