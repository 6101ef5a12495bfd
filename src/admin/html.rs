//! `/`: one page for a person, without script, image or anything from elsewhere.
//!
//! It reloads itself every five seconds (a `meta` element) unless that is stopped, suits a dark and a light screen, a
//! wide and a narrow one. Everything that is not written here is escaped, and the policy that
//! is sent along allows this very style sheet and nothing else. Each state has a word, whatever its colour.

use std::fmt::{self, Display, Write};
use std::time::{Duration, Instant};

use super::Snapshot;
use crate::date::{Now, Rfc3339};
use crate::endpoint::history::MINUTES;
use crate::endpoint::pool::view::View;
use crate::endpoint::status::Status;

/// What is sent with the page. The digest is that of [`STYLE`]; a test holds the two together.
pub(super) const FIELDS: &str = "Content-Security-Policy: default-src 'none'; \
    style-src 'sha256-sBXIwNIu+zhL/OnRWeEWeeaopqSfbikFYZxdZfgk5wQ='; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'\r\nReferrer-Policy: no-referrer\r\nVary: Accept\r\n";

/// Colours are pairs of a light and a dark scheme; the table of endpoints turns into cards where it is
/// too wide, with its numbers side by side. Names and addresses may be of any length: all text breaks
/// anywhere, but for what is short and written here.
const STYLE: &str = include_str!("style.css");

/// The page, which reloads itself or not.
pub(super) fn render(snapshot: &Snapshot, reloads: bool) -> String {
    let mut page = String::new();
    let (verdict, colour) = snapshot.verdict();
    let host = match snapshot.host.as_str() {
        "" => "etcd-gateway",
        host => host,
    };
    let refresh = match reloads {
        true => "<meta http-equiv=\"refresh\" content=\"5\">\n",
        false => "",
    };
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n{refresh}\
         <title>{verdict} – {host} – etcd-gateway</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <header><h1>{host}</h1><span class=\"pill {colour}\">{verdict}</span>\
         <span class=\"dim\">etcd-gateway {}, process {}, listening on {}, up {} since {}</span>",
        Escaped(snapshot.version),
        snapshot.pid,
        Escaped(&snapshot.listen.join(", ")),
        Span(snapshot.now.since(snapshot.started)),
        Time::of(snapshot.started, snapshot.now),
        host = Escaped(host),
    );
    if let Some(reason) = snapshot.not_ready() {
        let _ = write!(page, "<p class=\"error\">{}</p>", Escaped(&reason));
    }
    page.push_str("</header>\n");
    problems(&mut page, snapshot);
    cards(&mut page, snapshot);
    endpoints(&mut page, snapshot);
    transitions(&mut page, snapshot);
    counts(&mut page, snapshot);
    let reload = match reloads {
        true => "reloads every 5 s (<a href=\"?reload=0\">stop</a>)",
        false => "does not reload (<a href=\"?\">reload every 5 s</a>)",
    };
    let _ = write!(
        page,
        "<footer>As of {}; times are in UTC. This page {reload}. For programs: \
         <a href=\"/metrics\">/metrics</a> <a href=\"/endpoints\">/endpoints</a> \
         <a href=\"/connections\">/connections</a> <a href=\"/config\">/config</a> \
         <a href=\"/healthz\">/healthz</a> <a href=\"/readyz\">/readyz</a></footer>\n\
         </main>\n</body>\n</html>\n",
        Time(snapshot.now.date())
    );
    page
}

/// What there is trouble with, if there is anything.
fn problems(page: &mut String, snapshot: &Snapshot) {
    let problems = &snapshot.problems;
    if problems.is_empty() {
        return;
    }
    page.push_str("<ul class=\"problems odd\">\n");
    for problem in problems {
        let _ = writeln!(page, "<li>{}</li>", Escaped(problem));
    }
    page.push_str("</ul>\n");
}

fn cards(page: &mut String, snapshot: &Snapshot) {
    let (total, active) = snapshot.census();
    let clients = &snapshot.clients;
    let sum = |read: fn(&View) -> u64| Bytes(snapshot.endpoints.iter().map(read).sum());
    let of = |part: usize, all: usize| format!("{part} <small>of {all}</small>");
    let mut cards = vec![
        ("endpoints active", of(active, total)),
        ("connections open", of(clients.active, clients.max)),
        ("clients accepted", clients.accepted.to_string()),
        ("clients rejected", snapshot.rejected().to_string()),
        (
            "bytes to endpoints",
            sum(|view| view.ledger.to_endpoint.get()).to_string(),
        ),
        (
            "bytes to clients",
            sum(|view| view.ledger.to_client.get()).to_string(),
        ),
    ];
    let reloads = &snapshot.reloads;
    if reloads.draining_processes > 0 {
        let value = format!(
            "{} <small>in {}</small>",
            reloads.draining_connections, reloads.draining_processes
        );
        cards.push(("connections in old processes", value));
    }
    page.push_str("<div class=\"cards\">\n");
    for (what, value) in cards {
        let _ = writeln!(
            page,
            "<div class=\"card\"><b>{value}</b><span>{what}</span></div>"
        );
    }
    page.push_str("</div>\n");
}

/// What is wrong stands first.
fn endpoints(page: &mut String, snapshot: &Snapshot) {
    page.push_str(
        "<table class=\"rows\">\n<caption>Endpoints</caption>\n<thead><tr><th scope=\"col\">Endpoint</th>\
         <th scope=\"col\">State</th><th scope=\"col\">Last hour</th><th scope=\"col\" class=\"n\">Open</th>\
         <th scope=\"col\" class=\"n\">Clients</th><th scope=\"col\" class=\"n\">To endpoint</th>\
         <th scope=\"col\" class=\"n\">To clients</th><th scope=\"col\" class=\"n\">Dials failed</th></tr></thead>\n",
    );
    let rank = |view: &View| (view.endpoint.priority, view.endpoint.weight);
    let mut ranks = snapshot.endpoints.iter().map(rank);
    let first = ranks.next();
    // Where all have the same, it decides nothing.
    let ranked = ranks.any(|rank| Some(rank) != first);
    for class in ["bad", "odd", "good"] {
        let views = snapshot.endpoints.iter();
        for view in views.filter(|view| colour(view.status) == class) {
            endpoint(page, view, snapshot.now, ranked);
        }
    }
    page.push_str("</table>\n");
}

fn endpoint(page: &mut String, view: &View, now: Now, ranked: bool) {
    let (endpoint, ledger) = (&view.endpoint, &view.ledger);
    let address = endpoint.addr.to_string();
    let _ = write!(
        page,
        "<tbody><tr><th scope=\"row\">{address}<div class=\"dim\">"
    );
    if endpoint.name != address {
        let _ = write!(page, "{}<br>", Escaped(&endpoint.name));
    }
    page.push_str(endpoint.source.name());
    if ranked {
        let (priority, weight) = (endpoint.priority, endpoint.weight);
        let _ = write!(page, ", priority&nbsp;{priority}, weight&nbsp;{weight}");
    }
    let _ = write!(
        page,
        "</div></th><td>{} for {}<div class=\"dim\">since {}",
        Pill(view.status),
        Span(now.since(view.since)),
        Time::of(view.since, now)
    );
    if endpoint.drains && view.status != Status::Draining {
        page.push_str("<br>marked drain");
    }
    if let Some(at) = ledger.last_answer() {
        let _ = write!(page, "<br>answered {} ago", Span(now.since(at)));
    }
    if let Some(not_after) = ledger.not_after() {
        let at = Duration::from_secs(u64::try_from(not_after).unwrap_or_default());
        let now = now.date();
        let _ = match at.checked_sub(now) {
            Some(left) => write!(page, "<br>certificate expires in {}", Span(left)),
            None => write!(
                page,
                "<br><span class=\"error\">certificate expired {} ago</span>",
                Span(now - at)
            ),
        };
    }
    let _ = write!(
        page,
        "</div></td><td data-label=\"Last hour\">{}</td>",
        Strip(&view.hour)
    );
    let failed: u64 = ledger.dials().skip(1).map(|(_, count)| count).sum();
    let numbers = [
        ("Open", ledger.open().to_string()),
        ("Clients", ledger.connections.get().to_string()),
        ("To endpoint", Bytes(ledger.to_endpoint.get()).to_string()),
        ("To clients", Bytes(ledger.to_client.get()).to_string()),
        ("Dials failed", failed.to_string()),
    ];
    for (what, number) in numbers {
        let _ = write!(page, "<td class=\"n\" data-label=\"{what}\">{number}</td>");
    }
    page.push_str("</tr>");
    if let Some((at, error)) = &view.last_error {
        // One that is well again is not to look as if it were not.
        let (class, what) = match view.status.is_active() {
            true => ("dim", "last error"),
            false => ("error", "error"),
        };
        // Its address stands above.
        let said = error.strip_prefix(&format!("dial tcp {address}: "));
        let _ = write!(
            page,
            "\n<tr class=\"why\"><td colspan=\"8\" class=\"{class}\">{what} {} ago, {}: {}</td></tr>",
            Span(now.since(*at)),
            Time::of(*at, now),
            Escaped(said.unwrap_or(error))
        );
    }
    page.push_str("</tbody>\n");
}

/// The last changes of states, the latest first.
fn transitions(page: &mut String, snapshot: &Snapshot) {
    if snapshot.transitions.is_empty() {
        return;
    }
    page.push_str("<h2>Last changes</h2>\n<ol>\n");
    for change in &snapshot.transitions {
        let (address, mut name) = (change.addr.to_string(), change.name.as_str());
        if name == address {
            name = "";
        }
        let _ = write!(
            page,
            "<li>{} {} <span>{address} <span class=\"dim\">{} after {} {}</span></span>",
            Time::of(change.at, snapshot.now),
            Pill(change.to),
            Escaped(name),
            Span(change.lasted),
            change.from.name(),
        );
        if let Some(reason) = &change.reason {
            let _ = write!(page, " <span class=\"dim\">{}</span>", Escaped(reason));
        }
        page.push_str("</li>\n");
    }
    page.push_str("</ol>\n");
}

/// Everything else that is counted, as far as it is not zero.
fn counts(page: &mut String, snapshot: &Snapshot) {
    let clients = &snapshot.clients;
    let mut rows: Vec<(String, String)> = Vec::new();
    let mut count = |what: String, count: u64| {
        if count > 0 {
            rows.push((what, count.to_string()));
        }
    };
    for (reason, number) in &clients.rejected {
        count(format!("clients rejected: {reason}"), *number);
    }
    for (cause, number) in &clients.ended {
        count(format!("connections ended: {cause}"), *number);
    }
    for (error, number) in &clients.accept_errors {
        count(format!("accept failed: {error}"), *number);
    }
    count(
        "dials of a second endpoint for one client".to_owned(),
        clients.redispatches,
    );
    for (result, number) in &snapshot.discovery.refreshes {
        count(format!("refreshes of the endpoints: {result}"), *number);
    }
    count("reloads".to_owned(), snapshot.reloads.succeeded);
    count("reloads that failed".to_owned(), snapshot.reloads.failed);
    count("log lines dropped".to_owned(), snapshot.log_lines_dropped);
    count(
        "access log lines dropped".to_owned(),
        snapshot.access_log_lines_dropped,
    );
    let last = snapshot.discovery.last_success.map_or_else(
        || "never".to_owned(),
        |last| format!("{} ago", Span(snapshot.now.since(last))),
    );
    rows.push(("last complete refresh".to_owned(), last));
    page.push_str("<table>\n<caption>Since the start</caption>\n<tbody>\n");
    for (what, value) in rows {
        let _ = writeln!(
            page,
            "<tr><th scope=\"row\">{}</th><td class=\"n\">{value}</td></tr>",
            Escaped(&what)
        );
    }
    page.push_str("</tbody>\n</table>\n");
}

/// What to think of a state, as a class of the style sheet.
fn colour(status: Status) -> &'static str {
    match status {
        Status::Active => "good",
        Status::Untried | Status::Slow | Status::Draining | Status::Removed => "odd",
        Status::Silent
        | Status::Unhealthy
        | Status::Inactive
        | Status::Unauthenticated
        | Status::ThisGateway => "bad",
    }
}

/// The word for a state.
struct Pill(Status);

impl Display for Pill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (class, word) = (colour(self.0), self.0.name());
        write!(f, "<span class=\"pill {class}\">{word}</span>")
    }
}

/// The last hour of an endpoint: a column per minute, the higher the worse, none where nothing is known. Columns that are alike
/// are one line of a path, so that a strip is small for as long as nothing changes. Its words are for who does not see it.
struct Strip<'a>(&'a [Option<Status>; MINUTES]);

impl Display for Strip<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |minute: Option<Status>| minute.filter(|status| *status != Status::Untried);
        let word = |minute| known(minute).map_or("unknown", Status::name);
        let mut words: Vec<(&str, usize)> = Vec::new();
        for minute in self.0.iter().rev() {
            match words.iter_mut().find(|(name, _)| *name == word(*minute)) {
                Some((_, count)) => *count += 1,
                None => words.push((word(*minute), 1)),
            }
        }
        let words: Vec<String> = words
            .iter()
            .map(|(name, count)| format!("{name} {count} min"))
            .collect();
        let words = words.join(", ");
        f.write_str(
            "<svg class=\"strip\" viewBox=\"0 0 60 12\" preserveAspectRatio=\"none\" role=\"img\">",
        )?;
        write!(f, "<title>Last hour: {words}</title>")?;
        let class = |minute| known(minute).map(colour);
        let runs = self.0.chunk_by(|one, next| class(*one) == class(*next));
        for (wanted, middle) in [("good", 10), ("odd", 8), ("bad", 6)] {
            let (mut path, mut from) = (String::new(), 0);
            for run in runs.clone() {
                if run.first().and_then(|minute| class(*minute)) == Some(wanted) {
                    let _ = write!(path, "M{from} {middle}h{}", run.len());
                }
                from += run.len();
            }
            if !path.is_empty() {
                write!(f, "<path class=\"{}\" d=\"{path}\"/>", wanted)?;
            }
        }
        f.write_str("</svg>")
    }
}

/// A point in time, as the machine reads it and as a person does.
struct Time(Duration);

impl Time {
    fn of(then: Instant, now: Now) -> Self {
        Self(now.date_of(then))
    }
}

impl Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Rfc3339(Duration::from_secs(self.0.as_secs())).to_string();
        let text = text.trim_end_matches(".000000Z");
        let shown = text.replace('T', " ");
        write!(f, "<time datetime=\"{text}Z\">{shown}</time>")
    }
}

/// Text in an element or a quoted attribute of HTML.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // No control has a meaning in HTML, and some are no character of it.
                other if other.is_control() => f.write_char('\u{fffd}')?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// A span as a person says it: two units at most.
struct Span(Duration);

impl Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{seconds} s"),
            (0, 0, _) => write!(f, "{minutes} min {} s", seconds % 60),
            (0, _, _) => write!(f, "{hours} h {minutes} min"),
            _ => write!(f, "{days} d {hours} h"),
        }
    }
}

/// A number of bytes in a unit of its size.
struct Bytes(u64);

impl Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
        let (mut value, mut unit) = (self.0 as f64, "B");
        for larger in UNITS {
            if value < 1024.0 {
                break;
            }
            value /= 1024.0;
            unit = larger;
        }
        if unit == "B" {
            write!(f, "{} B", self.0)
        } else {
            write!(f, "{value:.1} {unit}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::sha2::{self, Hash};

    #[test]
    fn the_policy_allows_the_style_sheet_that_is_sent() {
        let digest = base64(sha2::digest(Hash::Sha256, &[STYLE.as_bytes()]).as_ref());
        assert!(
            FIELDS.contains(&format!("'sha256-{digest}'")),
            "the digest is now {digest}"
        );
    }

    /// A host name of 253 octets, an address with a zone, an error that repeats both.
    #[test]
    fn whatever_comes_from_elsewhere_breaks_anywhere() {
        let rules: Vec<&str> = STYLE.split('}').map(str::trim_start).collect();
        let of = |selector: &str| {
            let mut rules = rules.iter().filter_map(|rule| rule.rsplit_once('{'));
            let found = rules.find(|(selectors, _)| *selectors == selector);
            found.unwrap_or_else(|| panic!("no rule for {selector}")).1
        };
        // It is inherited.
        assert!(of("body").contains("overflow-wrap:anywhere"));
        assert_eq!(STYLE.matches("overflow-wrap").count(), 1);
        // These say words and numbers of ours; nothing else may refuse to break.
        let unbroken = rules.iter().filter(|rule| rule.contains("nowrap"));
        let unbroken: Vec<&str> = unbroken.filter_map(|rule| rule.split('{').next()).collect();
        assert_eq!(unbroken, [".pill", ".card small", "thead th", ".n", "time"]);
    }

    /// RFC 4648 section 4.
    fn base64(bytes: &[u8]) -> String {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let bits = (0..3).fold(0u32, |bits, at| {
                bits << 8 | u32::from(chunk.get(at).copied().unwrap_or_default())
            });
            for digit in 0..4 {
                text.push(match digit <= chunk.len() {
                    true => DIGITS[(bits >> (18 - 6 * digit) & 63) as usize].into(),
                    false => '=',
                });
            }
        }
        text
    }

    #[test]
    fn nothing_breaks_out_of_its_element() {
        let hostile = "<script>\"'&\0\u{1b}é";
        assert_eq!(
            Escaped(hostile).to_string(),
            "&lt;script&gt;&quot;&#39;&amp;\u{fffd}\u{fffd}é"
        );
    }

    #[test]
    fn spans_and_sizes_are_short() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (61, "1 min 1 s"),
            (3_661, "1 h 1 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(Span(Duration::from_secs(seconds)).to_string(), text);
        }
        for (bytes, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_536, "1.5 KiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }
}
