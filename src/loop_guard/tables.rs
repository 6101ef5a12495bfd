//! The host's table of TCP sockets, `net/tcp` and `net/tcp6` of proc(5).
//!
//! With many sockets the table is large, and the kernel takes long to write it: threads that ask
//! while it is being read share the next reading, so that never more than one is in progress.
//! It is read line by line and compared with what is asked for; nothing of it
//! is kept, because it may be megabytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use crate::sync::lock;

/// A comparable and small address, because each session has four: IPv4 is mapped into
/// IPv6 (RFC 4291 section 2.5.5.2), as an IPv6 socket sees it.
pub(crate) type Address = (Ipv6Addr, u16);

/// The addresses of both ends of a connection.
pub(crate) type Pair = (Address, Address);

pub(super) fn comparable(address: SocketAddr) -> Address {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    (ip, address.port())
}

/// The table, for threads that ask about sockets.
#[derive(Debug)]
pub(super) struct Tables {
    directory: PathBuf,
    /// The questions that the next reading answers.
    asked: Mutex<Vec<Arc<Question>>>,
    /// Locked by the thread that reads.
    reading: Mutex<()>,
}

/// Whether there is a socket with these two addresses, its own first.
#[derive(Debug)]
struct Question {
    pair: Pair,
    answer: OnceLock<bool>,
}

impl Default for Tables {
    fn default() -> Self {
        Self::below(PathBuf::from("/proc/net"))
    }
}

impl Tables {
    pub(super) fn below(directory: PathBuf) -> Self {
        Self {
            directory,
            asked: Mutex::default(),
            reading: Mutex::default(),
        }
    }

    /// Whether this host has a socket with these two addresses, its own first. A table that
    /// cannot be read counts as "yes": no client is rejected on a guess.
    pub(super) fn have(&self, pair: Pair) -> bool {
        self.ask(pair, |pairs| {
            let table = |name| File::open(self.directory.join(name));
            listed(table("tcp"), table("tcp6"), pairs)
        })
    }

    /// The answer of a reading that began after this was called, in any thread: `read` answers several questions.
    fn ask(&self, pair: Pair, read: impl FnOnce(&[Pair]) -> Vec<bool>) -> bool {
        let answer = OnceLock::new();
        let question = Arc::new(Question { pair, answer });
        lock(&self.asked).push(Arc::clone(&question));
        let _reading = lock(&self.reading);
        if question.answer.get().is_none() {
            let asked = std::mem::take(&mut *lock(&self.asked));
            let pairs: Vec<Pair> = asked.iter().map(|question| question.pair).collect();
            for (question, answer) in asked.iter().zip(read(&pairs)) {
                // It is set once, for it was taken from the list.
                let _ = question.answer.set(answer);
            }
        }
        // Without an answer the reading has panicked.
        question.answer.get().copied().unwrap_or(true)
    }
}

/// A line has 150 bytes; a longer one is not valid.
const MAX_LINE: u64 = 1024;

/// Which of these sockets exist.
fn listed(v4: io::Result<impl Read>, v6: io::Result<impl Read>, pairs: &[Pair]) -> Vec<bool> {
    let v4 = v4.and_then(|table| find(table, pairs, false));
    let v6 = v6.and_then(|table| find(table, pairs, true));
    let v4 = v4.unwrap_or_else(|_| vec![true; pairs.len()]);
    // Without IPv6 there is no such table, and no such socket.
    let v6 = v6.unwrap_or_else(|error| {
        let may_exist = error.kind() != io::ErrorKind::NotFound;
        vec![may_exist; pairs.len()]
    });
    v4.iter().zip(v6).map(|(v4, v6)| *v4 || v6).collect()
}

/// Which of these sockets are in a table: the second and the third field of each line are a socket's own
/// address and its peer's.
pub(crate) fn find(table: impl Read, pairs: &[Pair], six: bool) -> io::Result<Vec<bool>> {
    let mut wanted: Vec<([String; 2], usize)> = pairs
        .iter()
        .enumerate()
        .map(|(index, (local, remote))| ([*local, *remote].map(|end| hex(end, six)), index))
        .collect();
    wanted.sort_unstable();
    let mut found = vec![false; pairs.len()];
    let (mut table, mut line) = (BufReader::new(table), Vec::new());
    loop {
        line.clear();
        if (&mut table).take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(found);
        }
        let mut fields = line
            .split(u8::is_ascii_whitespace)
            .filter(|field| !field.is_empty())
            .skip(1);
        let (Some(local), Some(remote)) = (fields.next(), fields.next()) else {
            continue;
        };
        let order = |ends: &[String; 2]| {
            let [own, peer] = ends.each_ref().map(String::as_bytes);
            (own, peer).cmp(&(local, remote))
        };
        let first = wanted.partition_point(|(ends, _)| order(ends).is_lt());
        let same = wanted.iter().skip(first);
        for (_, index) in same.take_while(|(ends, _)| order(ends).is_eq()) {
            if let Some(found) = found.get_mut(*index) {
                *found = true;
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

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
        assert!(Tables::below("/nonexistent".into()).have(pair));
        for (kind, has) in [
            // A host without IPv6.
            (io::ErrorKind::NotFound, false),
            (io::ErrorKind::PermissionDenied, true),
        ] {
            let v6: io::Result<io::Empty> = Err(kind.into());
            assert_eq!(listed(Ok(io::empty()), v6, &[pair]), [has], "{kind}");
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
    fn a_long_table_is_read_line_by_line() {
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
        let pairs = [
            (client, server),
            (server, client),
            (other, server),
            (client, other),
            (client, server),
        ];
        let answers = listed(Ok(text.as_bytes()), Ok(io::empty()), &pairs);
        assert_eq!(answers, [true, false, true, false, true]);
    }

    #[test]
    fn questions_during_a_reading_share_the_next() {
        const ASKING: usize = 8;
        let pair = |port| {
            let end = comparable(([10, 0, 0, 1], port).into());
            (end, end)
        };
        let (tables, reads) = (Tables::default(), AtomicUsize::new(0));
        let first_reads = AtomicBool::new(false);
        let ask = |port: u16| {
            tables.ask(pair(port), |pairs| {
                assert_eq!(pairs.len(), ASKING);
                reads.fetch_add(1, Ordering::SeqCst);
                pairs.iter().map(|(end, _)| end.1 % 2 == 1).collect()
            })
        };
        let ask = &ask;
        std::thread::scope(|scope| {
            let first = scope.spawn(|| {
                tables.ask(pair(0), |pairs| {
                    assert_eq!(pairs, [pair(0)]);
                    first_reads.store(true, Ordering::SeqCst);
                    // Until all others have asked, who then must not be given this one.
                    while lock(&tables.asked).len() < ASKING {
                        std::thread::yield_now();
                    }
                    reads.fetch_add(1, Ordering::SeqCst);
                    vec![true]
                })
            });
            while !first_reads.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            let others: Vec<_> = (1..=8)
                .map(|port| (port, scope.spawn(move || ask(port))))
                .collect();
            assert!(first.join().unwrap());
            for (port, other) in others {
                assert_eq!(other.join().unwrap(), port % 2 == 1, "{port}");
            }
        });
        assert_eq!(reads.load(Ordering::SeqCst), 2);
        assert!(lock(&tables.asked).is_empty(), "nothing is kept");
    }

    #[test]
    fn a_reading_that_panics_rejects_nobody_and_is_not_the_last() {
        let pair = (
            comparable(([10, 0, 0, 1], 1).into()),
            comparable(([10, 0, 0, 1], 2).into()),
        );
        let tables = Tables::default();
        let ask = || {
            tables.ask(pair, |_| {
                std::panic::resume_unwind(Box::new("as this test wants"))
            })
        };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(ask)).is_err());
        assert!(!tables.ask(pair, |pairs| vec![false; pairs.len()]));
    }
}
