//! Calls of the C library that fail by rule: what `fault.c` does, seen from the test.
//!
//! The library is compiled once and preloaded into the gateway. Both share a file, whose layout stands in `fault.c`
//! too: the test writes rules, and reads how often each matched and hit. Rules change while the gateway runs. A test
//! whose rule never hit anything has shown nothing, so whoever sets rules asks `Faults::hits`.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use super::process::{have, tool};
use super::{Launch, TempDir, host_offers};

const SOURCE: &str = include_str!("fault.c");
const HEAD: u64 = 32;
const RULE: usize = 104;
/// Where the counts of a rule are.
const COUNTS: usize = 88;
const RULES: u64 = 1024;
/// Of an argument: any.
const ANY: u32 = u32::MAX;
/// Options of sockets, as `fault.c` numbers them: SO_LINGER, SO_RCVTIMEO, SO_SNDTIMEO, TCP_NODELAY.
pub(crate) const LINGER: u32 = 1013;
pub(crate) const RECEIVE_TIMEOUT: u32 = 1020;
pub(crate) const SEND_TIMEOUT: u32 = 1021;
pub(crate) const NODELAY: u32 = 6001;

/// Numbers of errno(3), those that all of Linux but mips, sparc, alpha and parisc has.
const ERRORS: [(&str, u32); 41] = [
    ("EPERM", 1),
    ("ENOENT", 2),
    ("EINTR", 4),
    ("EIO", 5),
    ("EBADF", 9),
    ("EAGAIN", 11),
    ("ENOMEM", 12),
    ("EACCES", 13),
    ("EFAULT", 14),
    ("EBUSY", 16),
    ("ENODEV", 19),
    ("EINVAL", 22),
    ("ENFILE", 23),
    ("EMFILE", 24),
    ("ENOSPC", 28),
    ("EPIPE", 32),
    ("ENOSYS", 38),
    ("ENONET", 64),
    ("EPROTO", 71),
    ("ENOTSOCK", 88),
    ("ENOPROTOOPT", 92),
    ("EPROTONOSUPPORT", 93),
    ("EOPNOTSUPP", 95),
    ("EAFNOSUPPORT", 97),
    ("EADDRINUSE", 98),
    ("EADDRNOTAVAIL", 99),
    ("ENETDOWN", 100),
    ("ENETUNREACH", 101),
    ("ECONNABORTED", 103),
    ("ECONNRESET", 104),
    ("ENOBUFS", 105),
    ("EISCONN", 106),
    ("ENOTCONN", 107),
    ("ETIMEDOUT", 110),
    ("ECONNREFUSED", 111),
    ("EHOSTDOWN", 112),
    ("EHOSTUNREACH", 113),
    ("EALREADY", 114),
    ("EINPROGRESS", 115),
    ("ESTALE", 116),
    ("EDQUOT", 122),
];

/// What becomes of a call that is hit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Effect {
    /// It fails with this error and does nothing.
    Error(&'static str),
    /// It moves less than it was asked to.
    Short,
    /// Its connection is reset before it is made.
    Reset,
    /// It is made so many microseconds later.
    Delay(u32),
}

/// Which calls are hit, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    call: &'static str,
    thread: &'static str,
    on: &'static str,
    arg: u32,
    per_mille: u32,
    limit: u32,
    effect: Effect,
}

impl Rule {
    /// Every call of this name.
    pub(crate) const fn new(call: &'static str, effect: Effect) -> Rule {
        Rule {
            call,
            thread: "",
            on: "",
            arg: ANY,
            per_mille: 1000,
            limit: 0,
            effect,
        }
    }

    /// Of the threads with this name, which a thread has from the one that started it unless it was given one: workers
    /// are named `accept`, and the first thread after the program.
    pub(crate) const fn of(mut self, thread: &'static str) -> Rule {
        self.thread = thread;
        self
    }

    /// On this kind of descriptor, or on a path that contains this.
    pub(crate) const fn on(mut self, kind: &'static str) -> Rule {
        self.on = kind;
        self
    }

    /// With this argument: what `shutdown` shuts, the option, the address family, 0 for splicing in and 1 for out.
    pub(crate) const fn with(mut self, arg: u32) -> Rule {
        self.arg = arg;
        self
    }

    /// By chance, so many of a thousand.
    pub(crate) const fn chance(mut self, per_mille: u32) -> Rule {
        self.per_mille = per_mille;
        self
    }

    /// So many at most.
    pub(crate) const fn times(mut self, limit: u32) -> Rule {
        self.limit = limit;
        self
    }

    fn record(&self) -> [u8; RULE] {
        let mut record = [0; RULE];
        let texts = [(self.call, 0), (self.thread, 16), (self.on, 32)];
        for (text, at) in texts {
            record[at..at + text.len()].copy_from_slice(text.as_bytes());
        }
        let (error, delay, effects) = match self.effect {
            Effect::Error(name) => (number(name), 0, 0),
            Effect::Short => (0, 0, 1),
            Effect::Reset => (0, 0, 2),
            Effect::Delay(microseconds) => (0, microseconds, 0),
        };
        let numbers = [self.arg, self.per_mille, self.limit, error, delay, effects];
        for (place, number) in record[64..].chunks_exact_mut(4).zip(numbers) {
            place.copy_from_slice(&number.to_ne_bytes());
        }
        record
    }
}

/// Every such call fails so.
pub(crate) const fn fails(call: &'static str, error: &'static str) -> Rule {
    Rule::new(call, Effect::Error(error))
}

/// What all chance comes from.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("FAULT_SEED").ok();
    given.map_or(1, |text| text.parse().expect("FAULT_SEED is a number"))
}

fn number(name: &str) -> u32 {
    let found = ERRORS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("{name} is not known")).1
}

/// What one gateway's calls do.
pub(crate) struct Faults {
    library: &'static PathBuf,
    dir: TempDir,
    file: File,
    /// Rules that were written so far; counts of old ones stay.
    written: u64,
}

impl Faults {
    /// No rules yet. Nothing where the host cannot compile the library.
    pub(crate) fn new() -> Option<Faults> {
        let library = library()?;
        let dir = TempDir::new();
        let file = File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(dir.path().join("control"))
            .expect("create the file that is shared");
        file.set_len(HEAD + RULES * RULE as u64)
            .expect("give it its size");
        put(&file, 8, seed());
        Some(Faults {
            library,
            dir,
            file,
            written: 0,
        })
    }

    /// With the library.
    pub(crate) fn launch(&self, launch: Launch) -> Launch {
        let control = self.dir.path().join("control");
        launch
            .env(
                "LD_PRELOAD",
                self.library.to_str().expect("a path in UTF-8"),
            )
            .env("FAULT_CONTROL", control.to_str().expect("a path in UTF-8"))
    }

    /// Puts these rules into force, and no others.
    #[track_caller]
    pub(crate) fn set(&mut self, rules: &[Rule]) -> Range<u64> {
        let range = self.written..self.written + rules.len() as u64;
        assert!(range.end <= RULES, "too many rules for one gateway");
        for (at, rule) in range.clone().zip(rules) {
            self.file
                .write_all_at(&rule.record(), place(at))
                .expect("write a rule");
        }
        self.written = range.end;
        put(&self.file, 0, range.start | range.end << 32);
        range
    }

    /// From here on nothing fails.
    pub(crate) fn clear(&self) {
        put(&self.file, 0, 0);
    }

    /// How often each of these rules has hit.
    #[track_caller]
    pub(crate) fn hits(&self, rules: Range<u64>) -> Vec<u64> {
        let loaded = get(&self.file, 16);
        assert!(
            loaded > 0,
            "the program does not load fault.c (is it static?)"
        );
        let hits = rules.map(|at| get(&self.file, place(at) + COUNTS as u64 + 8));
        hits.collect()
    }

    /// How often each of these rules matched, whether or not it hit.
    pub(crate) fn matched(&self, rules: Range<u64>) -> Vec<u64> {
        rules
            .map(|at| get(&self.file, place(at) + COUNTS as u64))
            .collect()
    }
}

fn place(rule: u64) -> u64 {
    HEAD + rule * RULE as u64
}

fn put(file: &File, at: u64, value: u64) {
    file.write_all_at(&value.to_ne_bytes(), at)
        .expect("write to the file that is shared");
}

fn get(file: &File, at: u64) -> u64 {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, at)
        .expect("read the file that is shared");
    u64::from_ne_bytes(bytes)
}

/// The compiled library, made once for each text of it: runs beside this one, and later ones, use the same.
fn library() -> Option<&'static PathBuf> {
    static LIBRARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let compiled = LIBRARY
        .get_or_init(|| have("cc").then(|| compiled("fault.so", SOURCE, &["-shared", "-fPIC"])));
    host_offers(compiled.is_some(), "a C compiler (cc)");
    compiled.as_ref()
}

/// What the C compiler makes of this source. There must be one.
pub(crate) fn compiled(name: &str, source: &str, flags: &[&str]) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    source.hash(&mut hasher);
    let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let path = place.join(format!("{:016x}-{name}", hasher.finish()));
    if !path.exists() {
        // A name of its own, then renamed: whoever finds the result finds all of it.
        let dir = TempDir::below(&place);
        let (source, output) = (dir.file("source.c", source), dir.path().join(name));
        let output = output.to_str().expect("a path in UTF-8");
        let words = "-std=gnu11 -Wall -Wextra -Werror -O1 -o";
        let mut args: Vec<&str> = words.split(' ').collect();
        args.extend([output, &source]);
        args.extend(flags);
        let run = tool("cc", &args);
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "cc {args:?}: {said}");
        std::fs::rename(output, &path).expect("put the result in its place");
    }
    path
}
