//! The program's log: one line an event, on stderr, as JSON with the keys of the
//! reference (`level`, `ts`, `caller`, `msg`, then the event's own) or as readable text.
//!
//! Lines go through a bounded queue to one writer thread, so that a slow or stuck
//! stderr (a full pipe, a journal that hangs) never stops a connection: what does not
//! fit is dropped and counted, and the count is logged when there is room again.
//! The logger is the one piece of global state in the program: it is set once, by
//! [`start`], before the first thread; lines before that are lost, as nobody can have
//! chosen their format yet.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use crate::date::{self, Rfc3339};
use crate::stats::Counter;

/// How much an operator wants to hear; an event below the chosen level is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Every session and every failed probe.
    Debug,
    /// Start, stop, and what changed for the better.
    Info,
    /// What an operator should look at.
    Warn,
    /// What keeps the gateway from its work.
    Error,
}

/// How a line is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// One JSON object a line.
    Json,
    /// `TIME LEVEL caller: message key=value …`
    Text,
}

/// A value beside the message.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// Any text; escaped when written.
    Text(String),
    /// An address, which costs nothing where it is not written.
    Address(SocketAddr),
    /// A whole number.
    Number(u64),
    /// A time span, written in seconds as the reference does.
    Span(Duration),
    /// Several texts.
    List(Vec<String>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<SocketAddr> for Value {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Number(u64::try_from(number).unwrap_or(u64::MAX))
    }
}

impl From<Duration> for Value {
    fn from(span: Duration) -> Self {
        Self::Span(span)
    }
}

impl From<Vec<String>> for Value {
    fn from(list: Vec<String>) -> Self {
        Self::List(list)
    }
}

/// What belongs to an event: names and values.
pub(crate) type Fields<'a> = &'a [(&'a str, Value)];

/// Lines that wait for the writer: enough for a burst, little enough to be memory
/// nobody notices.
const QUEUE: usize = 1024;

enum Entry {
    Line(String),
    Flush(SyncSender<()>),
}

struct Logger {
    level: Level,
    format: Format,
    queue: SyncSender<Entry>,
    /// Since this was last logged.
    dropped: AtomicU64,
    dropped_in_all: Counter,
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Starts the writer thread; a second call changes nothing.
///
/// # Errors
/// If the thread cannot be started.
pub(crate) fn start(level: Level, format: Format) -> std::io::Result<()> {
    let (queue, entries) = sync_channel(QUEUE);
    std::thread::Builder::new()
        .name("log".to_owned())
        .stack_size(64 * 1024)
        .spawn(move || write_all(&entries))?;
    let _ = LOGGER.set(Logger {
        level,
        format,
        queue,
        dropped: AtomicU64::new(0),
        dropped_in_all: Counter::new(),
    });
    Ok(())
}

fn write_all(entries: &Receiver<Entry>) {
    for entry in entries {
        match entry {
            // A stderr that is closed or gone leaves nobody to tell.
            Entry::Line(line) => drop(std::io::stderr().write_all(line.as_bytes())),
            Entry::Flush(done) => drop(done.try_send(())),
        }
    }
}

/// Waits until all that was logged is written, at most `patience`.
pub(crate) fn flush(patience: Duration) {
    let Some(logger) = LOGGER.get() else { return };
    let deadline = Instant::now() + patience;
    let (done, written) = sync_channel(1);
    let mut entry = Entry::Flush(done);
    // The queue may be full: a place in it comes with the next line that is written.
    while let Err(TrySendError::Full(back)) = logger.queue.try_send(entry) {
        if Instant::now() >= deadline {
            return;
        }
        entry = back;
        std::thread::sleep(patience / 100);
    }
    let _ = written.recv_timeout(deadline.saturating_duration_since(Instant::now()));
}

/// How many lines were dropped so far.
pub(crate) fn dropped() -> u64 {
    LOGGER.get().map_or(0, |logger| logger.dropped_in_all.get())
}

/// Logs at [`Level::Debug`]; `caller` is the module that speaks.
pub(crate) fn debug(caller: &str, message: &str, fields: Fields<'_>) {
    write(Level::Debug, caller, message, fields);
}

/// Logs at [`Level::Info`].
pub(crate) fn info(caller: &str, message: &str, fields: Fields<'_>) {
    write(Level::Info, caller, message, fields);
}

/// Logs at [`Level::Warn`].
pub(crate) fn warn(caller: &str, message: &str, fields: Fields<'_>) {
    write(Level::Warn, caller, message, fields);
}

/// Logs at [`Level::Error`].
pub(crate) fn error(caller: &str, message: &str, fields: Fields<'_>) {
    write(Level::Error, caller, message, fields);
}

/// Logs what an operator has just asked for, as [`Level::Info`] but whatever level is chosen.
pub(crate) fn answer(caller: &str, message: &str, fields: Fields<'_>) {
    if let Some(logger) = LOGGER.get() {
        queue(logger, Level::Info, caller, message, fields);
    }
}

fn write(level: Level, caller: &str, message: &str, fields: Fields<'_>) {
    if let Some(logger) = LOGGER.get().filter(|logger| level >= logger.level) {
        queue(logger, level, caller, message, fields);
    }
}

fn queue(logger: &Logger, level: Level, caller: &str, message: &str, fields: Fields<'_>) {
    let now = date::since_1970(SystemTime::now());
    let render = |message: &str, fields: Fields<'_>| match logger.format {
        Format::Json => json_line(now, level, caller, message, fields),
        Format::Text => text_line(now, level, caller, message, fields),
    };
    let dropped = logger.dropped.swap(0, Ordering::Relaxed);
    if dropped > 0 {
        let line = render("log lines dropped", &[("count", dropped.into())]);
        if logger.queue.try_send(Entry::Line(line)).is_err() {
            logger.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
    }
    if logger
        .queue
        .try_send(Entry::Line(render(message, fields)))
        .is_err()
    {
        logger.dropped.fetch_add(1, Ordering::Relaxed);
        logger.dropped_in_all.add(1);
    }
}

fn json_line(
    now: Duration,
    level: Level,
    caller: &str,
    message: &str,
    fields: Fields<'_>,
) -> String {
    let level = match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    };
    let mut line = format!(
        "{{\"level\":\"{level}\",\"ts\":\"{}\",\"caller\":{},\"msg\":{}",
        Rfc3339(now),
        Json(caller),
        Json(message)
    );
    for (name, value) in fields {
        // Writing to a String cannot fail.
        let _ = match value {
            Value::Text(text) => write!(line, ",{}:{}", Json(name), Json(text)),
            Value::Address(address) => write!(line, ",{}:\"{address}\"", Json(name)),
            Value::Number(number) => write!(line, ",{}:{number}", Json(name)),
            Value::Span(span) => write!(line, ",{}:{}", Json(name), span.as_secs_f64()),
            Value::List(list) => {
                let items: Vec<_> = list.iter().map(|item| Json(item).to_string()).collect();
                write!(line, ",{}:[{}]", Json(name), items.join(","))
            }
        };
    }
    line.push_str("}\n");
    line
}

fn text_line(
    now: Duration,
    level: Level,
    caller: &str,
    message: &str,
    fields: Fields<'_>,
) -> String {
    let level = match level {
        Level::Debug => "DEBUG",
        Level::Info => "INFO ",
        Level::Warn => "WARN ",
        Level::Error => "ERROR",
    };
    let mut line = format!("{} {level} {caller}: {message}", Rfc3339(now));
    for (name, value) in fields {
        let _ = match value {
            Value::Text(text) => write!(line, " {name}={}", Word(text)),
            Value::Address(address) => write!(line, " {name}={}", Word(&address.to_string())),
            Value::Number(number) => write!(line, " {name}={number}"),
            Value::Span(span) => write!(line, " {name}={}s", span.as_secs_f64()),
            Value::List(list) => {
                let items: Vec<_> = list.iter().map(|item| Word(item).to_string()).collect();
                write!(line, " {name}=[{}]", items.join(","))
            }
        };
    }
    line.push('\n');
    line
}

/// A JSON string, RFC 8259 section 7.
pub(crate) struct Json<'a>(pub(crate) &'a str);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                // DEL and the C1 controls are legal in JSON, and steer a terminal.
                _ if character.is_control() => write!(f, "\\u{:04x}", u32::from(character))?,
                _ => f.write_char(character)?,
            }
        }
        f.write_char('"')
    }
}

/// A text as it stands, or quoted where blanks, quotes or controls would mislead.
struct Word<'a>(&'a str);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '=' | ',');
        if !self.0.is_empty() && self.0.chars().all(plain) {
            f.write_str(self.0)
        } else {
            write!(f, "{:?}", self.0)
        }
    }
}

/// Holds a message that may come in floods to one line a second, and counts the rest.
#[derive(Debug, Default)]
pub(crate) struct Limit(Mutex<LimitState>);

#[derive(Debug, Default)]
struct LimitState {
    last: Option<Instant>,
    suppressed: u64,
}

impl Limit {
    /// A limit that has let nothing through yet.
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(LimitState {
            last: None,
            suppressed: 0,
        }))
    }

    /// `Some(n)` if a line may be written now, n having been held back since the last.
    pub(crate) fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = crate::sync::lock(&self.0);
        let quiet = state
            .last
            .is_none_or(|last| now.saturating_duration_since(last) >= Duration::from_secs(1));
        if quiet {
            state.last = Some(now);
            Some(std::mem::take(&mut state.suppressed))
        } else {
            state.suppressed += 1;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::new(1_795_378_280, 610_611_200);

    #[test]
    fn json_keeps_the_keys_of_the_reference() {
        let line = json_line(
            NOW,
            Level::Warn,
            "pool",
            "deactivated endpoint",
            &[
                ("address", "127.0.0.1:1".into()),
                ("listen", SocketAddr::from(([0; 16], 2)).into()),
                ("interval", Duration::from_millis(1500).into()),
                ("tries", 3usize.into()),
                ("list", vec!["a".to_owned(), "b\"".to_owned()].into()),
                ("error", "a\nb\u{1b}[0m\u{7f}\\".into()),
            ],
        );
        assert_eq!(
            line,
            "{\"level\":\"warn\",\"ts\":\"2026-11-22T20:11:20.610611Z\",\"caller\":\"pool\",\
             \"msg\":\"deactivated endpoint\",\"address\":\"127.0.0.1:1\",\"listen\":\"[::]:2\",\"interval\":1.5,\
             \"tries\":3,\"list\":[\"a\",\"b\\\"\"],\
             \"error\":\"a\\nb\\u001b[0m\\u007f\\\\\"}\n"
        );
    }

    #[test]
    fn text_is_one_line_whatever_the_value() {
        let line = text_line(
            NOW,
            Level::Info,
            "gateway",
            "ready",
            &[
                ("a", "plain:1".into()),
                ("b", "two words\n".into()),
                ("c", "".into()),
                ("d", Duration::from_secs(60).into()),
                ("e", vec!["x".to_owned(), "y z".to_owned()].into()),
            ],
        );
        assert_eq!(
            line,
            "2026-11-22T20:11:20.610611Z INFO  gateway: ready a=plain:1 b=\"two words\\n\" c=\"\" d=60s e=[x,\"y z\"]\n"
        );
    }

    #[test]
    fn a_flood_is_held_to_one_line_a_second_and_counted() {
        let limit = Limit::new();
        let start = Instant::now();
        let at = |millis| limit.admit(start + Duration::from_millis(millis));
        assert_eq!(at(0), Some(0));
        assert_eq!(at(1), None);
        assert_eq!(at(999), None);
        assert_eq!(at(1000), Some(2));
        assert_eq!(at(1500), None);
        assert_eq!(at(5000), Some(1));
    }
}
