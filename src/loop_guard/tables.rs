//! The host's table of TCP sockets, `net/tcp` and `net/tcp6` of proc(5).
//!
//! With many sockets the table is large, and the kernel takes long to write it: those who ask
//! while it is being read share the next reading, so that no more than one is under way,
//! however many ask. It is read piece by piece, and of each socket one number is kept: the text
//! is megabytes, which an allocator would not give back.

use std::collections::HashSet;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::{Address, Pair};
use crate::sync::lock;

/// The table, for those who ask about sockets.
#[derive(Debug)]
pub(super) struct Tables {
    directory: PathBuf,
    readings: Shared<Table>,
}

impl Default for Tables {
    fn default() -> Self {
        Self::below(PathBuf::from("/proc/net"))
    }
}

impl Tables {
    pub(super) fn below(directory: PathBuf) -> Self {
        let readings = Shared::default();
        Self {
            directory,
            readings,
        }
    }

    /// Whether this host has a socket with these two addresses, its own first. A table that
    /// cannot be read counts as "yes": no client is refused on a guess.
    pub(super) fn have(&self, pair: Pair) -> bool {
        let table = self.readings.get(|| Table::read(&self.directory));
        table.has(pair)
    }
}

/// What was read at one moment: a keyed hash of the two addresses of each socket, as they are
/// printed.
#[derive(Debug)]
struct Table {
    v4: io::Result<HashSet<u64>>,
    v6: io::Result<HashSet<u64>>,
    hasher: RandomState,
}

/// A line has 150 bytes; what is longer is none.
const MAX_LINE: u64 = 1024;

impl Table {
    fn read(directory: &Path) -> Self {
        let hasher = RandomState::new();
        let sockets = |name| sockets(File::open(directory.join(name))?, &hasher);
        Self {
            v4: sockets("tcp"),
            v6: sockets("tcp6"),
            hasher,
        }
    }

    fn has(&self, (local, remote): Pair) -> bool {
        let listed = |sockets: &HashSet<u64>, six| {
            let [local, remote] = [local, remote].map(|address| hex(address, six));
            sockets.contains(&self.hasher.hash_one((local.as_bytes(), remote.as_bytes())))
        };
        let v4 = self.v4.as_ref().map_or(true, |table| listed(table, false));
        v4 || match &self.v6 {
            Ok(table) => listed(table, true),
            // Without IPv6 there is no such table, and no such socket.
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }
}

/// Of each line the second and the third field: a socket's own address and its peer's.
fn sockets(file: impl Read, hasher: &RandomState) -> io::Result<HashSet<u64>> {
    let (mut file, mut line, mut found) = (BufReader::new(file), Vec::new(), HashSet::new());
    loop {
        line.clear();
        if (&mut file).take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(found);
        }
        let mut fields = line
            .split(u8::is_ascii_whitespace)
            .filter(|field| !field.is_empty())
            .skip(1);
        if let (Some(local), Some(remote)) = (fields.next(), fields.next()) {
            found.insert(hasher.hash_one((local, remote)));
        }
    }
}

/// An address as the kernel prints it there: each 32-bit word in host byte order.
fn hex((ip, port): Address, six: bool) -> String {
    let octets = match ip.to_ipv4_mapped() {
        Some(ip) if !six => ip.octets().to_vec(),
        _ => ip.octets().to_vec(),
    };
    let words = octets.chunks_exact(4).map(|word| {
        let word = word.try_into().map_or(0, u32::from_ne_bytes);
        format!("{word:08X}")
    });
    format!("{}:{port:04X}", words.collect::<String>())
}

/// A reading that serves all who asked before it began.
#[derive(Debug)]
struct Shared<T> {
    /// The last one, and when it began.
    last: Mutex<Option<(Instant, Arc<T>)>>,
    /// How many want one now.
    waiting: AtomicUsize,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self {
            last: Mutex::default(),
            waiting: AtomicUsize::new(0),
        }
    }
}

impl<T> Shared<T> {
    /// What `read` returns, called after this was called, by whomever.
    fn get(&self, read: impl FnOnce() -> T) -> Arc<T> {
        let asked = Instant::now();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut last = lock(&self.last);
        let current = match last.take() {
            Some(current) if current.0 > asked => current,
            // Too old, or none.
            _ => (Instant::now(), Arc::new(read())),
        };
        let reading = Arc::clone(&current.1);
        // Nobody else is to find it: it would only take memory.
        if self.waiting.fetch_sub(1, Ordering::SeqCst) > 1 {
            *last = Some(current);
        }
        reading
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loop_guard::comparable;
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::atomic::AtomicBool;

    #[test]
    fn sockets_of_both_families_are_found_in_the_tables() {
        for (listen, connect) in [
            ("127.0.0.1:0", "127.0.0.1"),
            ("[::1]:0", "::1"),
            ("[::]:0", "127.0.0.1"),
            // The client's socket is one of IPv6.
            ("127.0.0.1:0", "::ffff:127.0.0.1"),
        ] {
            let Ok(listener) = TcpListener::bind(listen) else {
                eprintln!("skipped: no {listen} on this host");
                continue;
            };
            let target = SocketAddr::new(
                connect.parse().unwrap(),
                listener.local_addr().unwrap().port(),
            );
            let client = TcpStream::connect(target).unwrap();
            let pair = (comparable(client.local_addr().unwrap()), comparable(target));
            assert!(Tables::default().have(pair), "{listen}");
        }
    }

    #[test]
    fn a_table_that_cannot_be_read_proves_nothing() {
        let [one, other] = [1, 2].map(|port| comparable(([127, 0, 0, 1], port).into()));
        let pair = (one, other);
        assert!(Table::read(Path::new("/nonexistent")).has(pair));
        for (kind, has) in [
            // A host without IPv6.
            (io::ErrorKind::NotFound, false),
            (io::ErrorKind::PermissionDenied, true),
        ] {
            let table = Table {
                v4: Ok(HashSet::new()),
                v6: Err(kind.into()),
                hasher: RandomState::new(),
            };
            assert_eq!(table.has(pair), has, "{kind}");
        }
    }

    #[test]
    fn addresses_are_printed_as_the_kernel_does() {
        let cases = [
            ([127, 0, 0, 1], 79, "004F"),
            ([10, 0, 0, 1], 65_535, "FFFF"),
            ([10, 0, 0, 1], 0, "0000"),
        ];
        for (ip, port, printed) in cases {
            let address = comparable((ip, port).into());
            let word = format!("{:08X}", u32::from_ne_bytes(ip));
            assert_eq!(hex(address, false), format!("{word}:{printed}"));
            let mapped = format!("{:016X}{:08X}", 0, u32::from_ne_bytes([0, 0, 255, 255]));
            assert_eq!(hex(address, true), format!("{mapped}{word}:{printed}"));
        }
    }

    /// However long it is, and whatever else stands in it.
    #[test]
    fn a_long_table_is_read_piece_by_piece() {
        let [client, server, other] =
            [1, 2, 3].map(|port| comparable(([10, 0, 0, 1], port).into()));
        let line = |local, remote| {
            let [local, remote] = [local, remote].map(|address| hex(address, false));
            format!(
                "   0: {local} {remote} 01 00000000:00000000 00:00000000 00000000     0        0 1 1\n"
            )
        };
        let endless = "x".repeat(3 * MAX_LINE as usize);
        let text = [
            "  sl  local_address rem_address   st\n",
            &line(other, server).repeat(10_000),
            &endless,
            "\n",
            &line(client, server),
        ]
        .concat();
        let hasher = RandomState::new();
        let table = Table {
            v4: sockets(text.as_bytes(), &hasher),
            v6: Ok(HashSet::new()),
            hasher,
        };
        assert!(table.has((client, server)) && table.has((other, server)));
        assert!(!table.has((server, client)) && !table.has((client, other)));
    }

    #[test]
    fn those_who_ask_meanwhile_share_the_next_reading() {
        const ASKING: usize = 8;
        let (shared, reads) = (Shared::default(), AtomicUsize::new(0));
        let first_reads = AtomicBool::new(false);
        let read = || {
            first_reads.store(true, Ordering::SeqCst);
            // Until all others have asked, who then must not be given this one.
            while shared.waiting.load(Ordering::SeqCst) < ASKING {
                std::thread::yield_now();
            }
            reads.fetch_add(1, Ordering::SeqCst)
        };
        std::thread::scope(|scope| {
            let first = scope.spawn(|| *shared.get(read));
            while !first_reads.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            let ask = || *shared.get(|| reads.fetch_add(1, Ordering::SeqCst));
            let others: Vec<_> = (1..ASKING).map(|_| scope.spawn(ask)).collect();
            assert_eq!(first.join().unwrap(), 0);
            for other in others {
                assert_eq!(other.join().unwrap(), 1);
            }
        });
        assert_eq!(reads.load(Ordering::SeqCst), 2);
        assert!(lock(&shared.last).is_none(), "nothing is kept");
    }
}
