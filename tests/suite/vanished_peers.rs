//! Peers that vanish without a FIN or RST, as when a host loses its power or a network is cut.
//!
//! The gateway stands in a namespace of its own, behind a link. Clients and endpoints are the test's, at addresses
//! that it can take away: from then on packets to them are dropped, and none comes from them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::support::isolated::isolated;
use crate::support::net::{content, end_writing, expect_echo, with_deadlines};
use crate::support::process::{can, tool_text};
use crate::support::{Backend, End, Gateway, Launch, SOON, eventually, expect, expect_end};
use crate::support::{child_command, host_offers};

/// How long nothing may be heard of a peer here, and how often the gateway looks.
const PATIENCE: Duration = Duration::from_secs(1);
const TIMES: &str = "peer_patience=1000,peer_look=50";

/// Where the gateway listens.
const GATEWAY: &str = "10.8.0.2";

/// The namespace of the gateway, for as long as this process lives.
struct Behind(Child);

impl Behind {
    /// A namespace that is linked to the test's; nothing where the host has no such links.
    fn link() -> Option<Behind> {
        if !host_offers(can("ip", &["link", "add", "probe", "type", "veth"]), "veth") {
            return None;
        }
        let mut command = child_command("unshare");
        command.args(["--net", "sleep", "infinity"]);
        let holder = command.stdin(Stdio::null()).spawn().expect("run unshare");
        let behind = Behind(holder);
        let own = std::fs::read_link("/proc/self/ns/net").expect("a namespace");
        eventually(SOON, "a namespace", || {
            let of_it = std::fs::read_link(behind.path()).ok();
            of_it.filter(|name| *name != own)
        });
        let pid = behind.0.id();
        let near = format!(
            "ip link add near type veth peer name far netns {pid} && \
             ip addr add 10.8.0.1/24 dev near && ip link set near up"
        );
        sh(&near);
        let far = format!(
            "ip link set lo up && ip addr add {GATEWAY}/24 dev far && ip link set far up && \
             ip route add default via 10.8.0.1"
        );
        let there = behind.enter();
        tool_text(there[0], &[there[1], "sh", "-ec", &far]);
        Some(behind)
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    /// The command that runs another one there.
    fn enter(&self) -> [&'static str; 2] {
        ["nsenter", format!("--net={}", self.path()).leak()]
    }

    /// The gateway, in front of this endpoint.
    fn gateway(&self, endpoint: SocketAddr) -> Gateway {
        let listen = format!("--listen-addr={GATEWAY}:0");
        let flags = [&listen, "--access-log=stderr", "--log-format=json"];
        let launch = Launch::before(&[endpoint], &flags);
        launch.wrapped(&self.enter()).times(TIMES).start()
    }

    /// For how long the gateway has heard nothing of this peer.
    fn silence(&self, peer: SocketAddr) -> Option<Duration> {
        let [program, namespace] = self.enter();
        let peer = peer.to_string();
        let text = tool_text(program, &[namespace, "ss", "-Htin", "dst", &peer]);
        let (_, rest) = text.split_once("lastack:")?;
        let milliseconds = rest.split_whitespace().next()?.parse().ok()?;
        Some(Duration::from_millis(milliseconds))
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sh(script: &str) {
    tool_text("sh", &["-ec", script]);
}

/// A host of the test's.
struct Host([u8; 4]);

impl Host {
    fn new(number: u8) -> Host {
        let host = Host([10, 9, 0, number]);
        sh(&format!("ip addr add {}/32 dev lo", host.name()));
        host
    }

    fn name(&self) -> String {
        self.address().ip().to_string()
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from((self.0, 0))
    }

    /// Vanishes, as far as others can see.
    fn vanish(&self) {
        let name = self.name();
        sh(&format!(
            "ip addr del {name}/32 dev lo && ip route add blackhole {name}/32"
        ));
    }

    fn come_back(&self) {
        let name = self.name();
        sh(&format!(
            "ip route del blackhole {name}/32 && ip addr add {name}/32 dev lo"
        ));
    }

    /// A client at this host.
    fn connect(&self, gateway: &Gateway) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("create a socket");
        socket.bind(&self.address().into()).expect("bind");
        let address = gateway.address().into();
        socket.connect_timeout(&address, SOON).expect("connect");
        let stream = socket.into();
        with_deadlines(&stream);
        stream
    }

    /// A session of a client here with the endpoint that accepts there: both ends.
    fn session(&self, gateway: &Gateway, endpoint: &TcpListener) -> (TcpStream, TcpStream) {
        let client = self.connect(gateway);
        let (server, _) = endpoint.accept().expect("the gateway dials");
        with_deadlines(&server);
        (client, server)
    }

    fn listen(&self) -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind(self.address()).expect("bind port 0");
        let address = listener.local_addr().expect("bound address");
        (listener, address)
    }
}

/// Why the access log says that the session of this client ended.
fn cause(gateway: &Gateway, client: &TcpStream) -> String {
    let client = client.local_addr().expect("own address").to_string();
    let line = gateway.wait_record_where("the line of the access log", |record| {
        record.get("cause").is_some() && record.text("client") == client
    });
    line.text("cause").to_owned()
}

/// How many clients and endpoints the gateway says were gone so far.
fn told(gateway: &Gateway) -> (f64, f64) {
    let told = gateway.records("reset connections whose peer is gone");
    let sum = |key| told.iter().map(|record| record.number(key)).sum();
    (sum("clients"), sum("endpoints"))
}

/// Writes until there is no room for more; returns how many bytes there was room for.
fn fill(mut stream: &TcpStream, seed: u64) -> u64 {
    let brief = Some(Duration::from_millis(200));
    stream.set_write_timeout(brief).expect("set a timeout");
    let (mut source, mut chunk, mut sent) = (content(seed), [0; 16 * 1024], 0);
    loop {
        source.read_exact(&mut chunk).expect("it does not end");
        let mut rest = chunk.as_slice();
        while !rest.is_empty() {
            let Ok(count) = stream.write(rest) else {
                return sent;
            };
            rest = &rest[count..];
            sent += count as u64;
        }
    }
}

#[test]
fn a_peer_that_vanishes_with_bytes_in_flight_is_found() {
    isolated(a_peer_that_vanishes_with_bytes_in_flight_is_found, |_| {
        let Some(behind) = Behind::link() else { return };
        let [far, gone, cut] = [1, 2, 3].map(Host::new);
        let (endpoint, address) = far.listen();
        let gateway = behind.gateway(address);
        // It tries its endpoint when it starts.
        endpoint.accept().expect("the gateway dials");
        let start = Instant::now();
        let (client, mut server) = gone.session(&gateway, &endpoint);
        let (mut other, mut other_server) = cut.session(&gateway, &endpoint);

        // Of two clients that both lack an answer one is back in time.
        gone.vanish();
        cut.vanish();
        server.write_all(&[1; 3000]).expect("write");
        other_server.write_all(b"late").expect("write");
        std::thread::sleep(PATIENCE / 2);
        cut.come_back();
        expect_end(&server, End::Reset);
        // The kernel counts silence in milliseconds.
        let took = start.elapsed() + Duration::from_millis(1);
        assert!(took >= PATIENCE, "{took:?}");
        assert_eq!(cause(&gateway, &client), "client_failed");
        let mut late = [0; 4];
        other.read_exact(&mut late).expect("it arrives");
        assert_eq!(late, *b"late");
        assert_eq!(told(&gateway), (1.0, 0.0));

        // The endpoint, with bytes on their way to it, and with the end of a stream.
        let (half, _half_server) = cut.session(&gateway, &endpoint);
        far.vanish();
        other.write_all(&[1; 3000]).expect("write");
        end_writing(&half);
        for client in [&other, &half] {
            expect_end(client, End::Reset);
            assert_eq!(cause(&gateway, client), "endpoint_failed");
        }
        eventually(SOON, "both are told", || {
            (told(&gateway) == (1.0, 2.0)).then_some(())
        });
    });
}

/// Between two probes nothing is heard of such a reader for longer than the patience.
#[test]
fn a_reader_with_a_closed_window_is_kept_unless_it_vanishes() {
    isolated(
        a_reader_with_a_closed_window_is_kept_unless_it_vanishes,
        |_| {
            let Some(behind) = Behind::link() else { return };
            let [far, gone, shut] = [1, 2, 3].map(Host::new);
            let (endpoint, address) = far.listen();
            let gateway = behind.gateway(address);
            endpoint.accept().expect("the gateway dials");
            let (client, server) = gone.session(&gateway, &endpoint);
            fill(&server, 1);
            gone.vanish();
            let (reader, writer) = shut.session(&gateway, &endpoint);
            let sent = fill(&writer, 2);
            let own = reader.local_addr().expect("own address");
            expect_end(&server, End::Reset);
            assert_eq!(cause(&gateway, &client), "client_failed");
            // Many looks long.
            eventually(SOON, "a long silence", || {
                behind
                    .silence(own)
                    .filter(|silence| *silence > PATIENCE * 3 / 2)
            });
            expect(&reader, 2, sent);
            drop(writer);
            assert_eq!(told(&gateway), (1.0, 0.0));
        },
    );
}

#[test]
fn idle_peers_have_not_vanished() {
    isolated(idle_peers_have_not_vanished, |_| {
        let Some(behind) = Behind::link() else { return };
        let [far, idle] = [1, 2].map(Host::new);
        let (listener, address) = far.listen();
        let _endpoint = Backend::on_listener(listener, b'e');
        let gateway = behind.gateway(address);
        let mut client = idle.connect(&gateway);
        client.read_exact(&mut [0]).expect("the tag");
        let own = client.local_addr().expect("own address");
        eventually(SOON, "a long silence", || {
            behind
                .silence(own)
                .filter(|silence| *silence > PATIENCE * 2)
        });
        expect_echo(&client, 1);
        assert_eq!(told(&gateway), (0.0, 0.0));
    });
}
