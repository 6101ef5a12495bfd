//! Members that have to authenticate, and impostors.
//!
//! A `Front` is one address, in this process. It tells connections apart by their first byte: a TLS record comes from the
//! gateway, which authenticates the member, and is forwarded to what the front shows (`openssl s_server`, or one of the ways
//! not to be a TLS server); anything else is a client, which is counted, gets the front's tag and is echoed. So a client's
//! byte that reaches an impostor is seen, and the gateway's own connections are not taken for clients.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::pki::{Certified, Pki};
use super::{Backend, SOON, child_command, eventually, net};

/// What a TLS client's first record, and no client of these tests, begins with (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;
/// Enough for any ClientHello.
const FIRST_BYTES: usize = 4096;

/// A running `openssl s_server` on a socket in the file system; killed when dropped.
pub(crate) struct TlsServer {
    socket: PathBuf,
    process: Child,
}

impl TlsServer {
    /// Shows this certificate; `args` are further arguments of `s_server`.
    #[track_caller]
    pub(crate) fn start(pki: &Pki, shown: &Certified, args: &[&str]) -> Arc<TlsServer> {
        let number = pki.next();
        let name = format!("{number}.socket");
        let socket = pki.dir().join(&name);
        let log = pki.dir().join(format!("{number}.log"));
        let output = File::create(&log).expect("create the server's log");
        let process = child_command("openssl")
            // Lines come back reversed: of its ways to serve, one that leaves its standard input alone.
            .args(["s_server", "-rev", "-quiet"])
            // It prints the path with a function that has no room for more than 32 bytes.
            .args(["-unix", &name])
            .current_dir(pki.dir())
            .args(["-cert", &shown.certificate, "-key", &shown.key])
            .args(args)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("duplicate a descriptor"))
            .stderr(output)
            .spawn()
            .expect("run openssl");
        let mut server = TlsServer { socket, process };
        eventually(SOON, "openssl s_server listens", || {
            let ended = server.process.try_wait().expect("wait for openssl");
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            assert!(ended.is_none(), "openssl s_server {args:?}: {said}");
            UnixStream::connect(&server.socket).ok()
        });
        Arc::new(server)
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a front shows to those who want a proof.
#[derive(Clone)]
pub(crate) enum Face {
    Tls(Arc<TlsServer>),
    /// No TLS: these bytes, then the end.
    Says(&'static [u8]),
    /// Not a word, for as long as the visitor stays.
    Silent,
    /// A record of TLS, one byte a second.
    Trickles,
}

/// What each visitor that sent anything sent first.
type Visits = Vec<Vec<u8>>;

pub(crate) struct Front {
    backend: Backend,
    tag: u8,
    face: Arc<Mutex<Face>>,
    visits: Arc<Mutex<Visits>>,
}

impl Front {
    /// Up, at an address that is free.
    #[track_caller]
    pub(crate) fn at(address: SocketAddr, tag: u8, face: Face) -> Front {
        let mut front = Front {
            backend: Backend::dead_at(address).expect("bind the front's address"),
            tag,
            face: Arc::new(Mutex::new(face)),
            visits: Arc::default(),
        };
        front.up();
        front
    }

    /// Up, on a free port of 127.0.0.1.
    #[track_caller]
    pub(crate) fn anywhere(tag: u8, face: Face) -> Front {
        Front::at(SocketAddr::from(([127, 0, 0, 1], 0)), tag, face)
    }

    pub(crate) fn up(&mut self) {
        let (tag, face, visits) = (self.tag, Arc::clone(&self.face), Arc::clone(&self.visits));
        self.backend
            .up_with(move |stream| visit(stream, tag, &face, &visits));
    }

    pub(crate) fn down(&mut self) {
        self.backend.down();
    }

    /// From now on, visitors meet this.
    pub(crate) fn show(&self, face: Face) {
        *self.face.lock().expect("no handler panics with the lock") = face;
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.backend.address()
    }

    /// What each visitor that sent anything sent first.
    pub(crate) fn visits(&self) -> Visits {
        seen(&self.visits).clone()
    }

    /// How many visitors were clients.
    pub(crate) fn clients(&self) -> usize {
        let visits = self.visits();
        visits.iter().filter(|first| first[0] != HANDSHAKE).count()
    }
}

fn seen(visits: &Mutex<Visits>) -> MutexGuard<'_, Visits> {
    visits.lock().expect("no handler panics with the lock")
}

/// Errors end a visit: the other end is the one that is tested.
fn visit(mut stream: &TcpStream, tag: u8, face: &Mutex<Face>, visits: &Mutex<Visits>) {
    // Who waits may wait: the test ends the connection when it ends.
    let _ = stream.set_read_timeout(None);
    let mut first = vec![0; FIRST_BYTES];
    let Ok(count @ 1..) = stream.read(&mut first) else {
        return;
    };
    first.truncate(count);
    seen(visits).push(first.clone());
    if first[0] != HANDSHAKE {
        let _ = stream.write_all(&[tag]);
        while let Ok(count @ 1..) = stream.read(&mut first) {
            if stream.write_all(&first[..count]).is_err() {
                return;
            }
        }
        return;
    }
    let face = face
        .lock()
        .expect("no handler panics with the lock")
        .clone();
    match face {
        Face::Tls(server) => join(stream, &server.socket, &first),
        Face::Says(text) => {
            let _ = stream.write_all(text);
        }
        Face::Silent => while let Ok(1..) = stream.read(&mut first) {},
        Face::Trickles => {
            // A record of 16384 bytes, in time for nobody.
            let record = [HANDSHAKE, 3, 3, 0x40, 0, 2, 0, 0x3f, 0xfc];
            for byte in record {
                if stream.write_all(&[byte]).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_secs(1));
            }
        }
    }
}

/// Moves bytes between a visitor and the server until both have ended.
fn join(visitor: &TcpStream, socket: &PathBuf, first: &[u8]) {
    let Ok(mut server) = UnixStream::connect(socket) else {
        return;
    };
    if server.write_all(first).is_err() {
        return;
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = std::io::copy(&mut { visitor }, &mut &server);
            let _ = server.shutdown(Shutdown::Write);
        });
        let _ = std::io::copy(&mut &server, &mut { visitor });
        let _ = visitor.shutdown(Shutdown::Write);
    });
}

/// A client of a gateway in front of fronts: which one serves it; the reset of a rejected client is an error.
pub(crate) fn ask(gateway: SocketAddr) -> std::io::Result<u8> {
    Ok(try_tagged(gateway)?.0)
}

/// The same, of a client that is served and stays.
#[track_caller]
pub(crate) fn tagged(gateway: SocketAddr) -> (u8, TcpStream) {
    try_tagged(gateway).expect("a client is served")
}

fn try_tagged(gateway: SocketAddr) -> std::io::Result<(u8, TcpStream)> {
    let mut stream = net::try_connect(gateway)?;
    stream.write_all(b"client")?;
    let mut tag = [0];
    stream.read_exact(&mut tag)?;
    Ok((tag[0], stream))
}
