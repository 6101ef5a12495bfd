//! `/` for a browser: one page, without script, image or anything from elsewhere.
//!
//! It reloads itself every five seconds (a `meta` element) unless that is stopped, and suits dark and light screens,
//! wide and narrow ones. Every text that is not written here is escaped, and the policy that
//! is sent with the page allows only its style sheet. Each state has a word beside its colour.

use std::fmt::Write;
use std::time::{Duration, Instant};

use super::snapshot::Snapshot;
use crate::date::{Now, Rfc3339};
use crate::endpoint::history::MINUTES;
use crate::endpoint::pool::view::View;
use crate::endpoint::state::EndpointState;

/// Fields that are sent with the page. A test compares the digest with that of [`STYLE`].
pub(super) const FIELDS: &str = "Content-Security-Policy: default-src 'none'; \
    style-src 'sha256-sBXIwNIu+zhL/OnRWeEWeeaopqSfbikFYZxdZfgk5wQ='; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'\r\nReferrer-Policy: no-referrer\r\nVary: Accept\r\n";

/// Colours are pairs for a light and a dark scheme; the table of endpoints becomes cards where it is
/// too wide, with its numbers side by side. Names and addresses may be of any length: all text may break
/// anywhere, except what is short and written here.
const STYLE: &str = include_str!("style.css");

/// A column of the table of endpoints: its head, and the text of a cell.
type Column = (&'static str, fn(&View) -> String);

/// The columns that are numbers.
const NUMBERS: [Column; 5] = [
    ("Open", |view| view.stats.open().to_string()),
    ("Clients", |view| view.stats.connections.get().to_string()),
    ("To endpoint", |view| bytes(view.stats.to_endpoint.get())),
    ("To clients", |view| bytes(view.stats.to_client.get())),
    ("Dials failed", |view| {
        let failed = view.stats.dials.read().skip(1);
        failed.map(|(_, count)| count).sum::<u64>().to_string()
    }),
];

/// The page, which reloads itself or not.
pub(super) fn render(snapshot: &Snapshot, reloads: bool) -> String {
    let mut page = String::new();
    let (summary, colour) = snapshot.summary();
    let host = match snapshot.host.as_str() {
        "" => "etcd-gateway",
        host => host,
    };
    let (refresh, reload) = match reloads {
        true => (
            "<meta http-equiv=\"refresh\" content=\"5\">\n",
            "reloads every 5 s (<a href=\"?reload=0\">stop</a>)",
        ),
        false => ("", "does not reload (<a href=\"?\">reload every 5 s</a>)"),
    };
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n{refresh}\
         <title>{summary} – {host} – etcd-gateway</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <header><h1>{host}</h1><span class=\"pill {colour}\">{summary}</span>\
         <span class=\"dim\">etcd-gateway {}, process {}, listening on {}, up {} since {}</span>",
        escaped(snapshot.version),
        snapshot.pid,
        escaped(&snapshot.listen.join(", ")),
        span(snapshot.now.since(snapshot.started)),
        time(snapshot.started, snapshot.now),
        host = escaped(host),
    );
    if let Some(reason) = snapshot.not_ready() {
        let _ = write!(page, "<p class=\"error\">{}</p>", escaped(&reason));
    }
    page.push_str("</header>\n");
    problems(&mut page, &snapshot.problems);
    cards(&mut page, snapshot);
    endpoints(&mut page, snapshot);
    transitions(&mut page, snapshot);
    counts(&mut page, snapshot);
    let _ = write!(
        page,
        "<footer>As of {}; times are in UTC. This page {reload}. For programs: \
         <a href=\"/metrics\">/metrics</a> <a href=\"/endpoints\">/endpoints</a> \
         <a href=\"/connections\">/connections</a> <a href=\"/config\">/config</a> \
         <a href=\"/healthz\">/healthz</a> <a href=\"/readyz\">/readyz</a></footer>\n\
         </main>\n</body>\n</html>\n",
        time(snapshot.now.instant(), snapshot.now)
    );
    page
}

fn problems(page: &mut String, problems: &[String]) {
    if problems.is_empty() {
        return;
    }
    page.push_str("<ul class=\"problems odd\">\n");
    for problem in problems {
        let _ = writeln!(page, "<li>{}</li>", escaped(problem));
    }
    page.push_str("</ul>\n");
}

fn cards(page: &mut String, snapshot: &Snapshot) {
    let (total, active) = snapshot.census();
    let (clients, reloads) = (&snapshot.clients, &snapshot.reloads);
    let sum = |read: fn(&View) -> u64| bytes(snapshot.endpoints.iter().map(read).sum());
    let of = |part: usize, all: usize| format!("{part} <small>of {all}</small>");
    let mut cards = vec![
        ("endpoints active", of(active, total)),
        ("connections open", of(clients.active, clients.max)),
        ("clients accepted", clients.accepted.to_string()),
        ("clients rejected", snapshot.rejected().to_string()),
        (
            "bytes to endpoints",
            sum(|view| view.stats.to_endpoint.get()),
        ),
        ("bytes to clients", sum(|view| view.stats.to_client.get())),
    ];
    if reloads.draining_processes > 0 {
        let (connections, processes) = (reloads.draining_connections, reloads.draining_processes);
        let value = format!("{connections} <small>in {processes}</small>");
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

/// The endpoints, those with trouble first.
fn endpoints(page: &mut String, snapshot: &Snapshot) {
    page.push_str(
        "<table class=\"rows\">\n<caption>Endpoints</caption>\n<thead><tr><th scope=\"col\">Endpoint</th>\
         <th scope=\"col\">State</th><th scope=\"col\">Last hour</th>",
    );
    for (column, _) in NUMBERS {
        let _ = write!(page, "<th scope=\"col\" class=\"n\">{column}</th>");
    }
    page.push_str("</tr></thead>\n");
    let rank = |view: &View| (view.endpoint.priority, view.endpoint.weight);
    let mut ranks = snapshot.endpoints.iter().map(rank);
    let first = ranks.next();
    // Priority and weight that are the same for all decide nothing.
    let ranked = ranks.any(|rank| Some(rank) != first);
    for class in ["bad", "odd", "good"] {
        let views = snapshot.endpoints.iter();
        for view in views.filter(|view| colour(view.state) == class) {
            endpoint(page, view, snapshot.now, ranked);
        }
    }
    page.push_str("</table>\n");
}

fn endpoint(page: &mut String, view: &View, now: Now, ranked: bool) {
    let (endpoint, stats) = (&view.endpoint, &view.stats);
    let address = endpoint.addr.to_string();
    let _ = write!(
        page,
        "<tbody><tr><th scope=\"row\">{address}<div class=\"dim\">"
    );
    if endpoint.name != address {
        let _ = write!(page, "{}<br>", escaped(&endpoint.name));
    }
    page.push_str(endpoint.source.name());
    if ranked {
        let (priority, weight) = (endpoint.priority, endpoint.weight);
        let _ = write!(page, ", priority&nbsp;{priority}, weight&nbsp;{weight}");
    }
    let _ = write!(
        page,
        "</div></th><td>{} for {}<div class=\"dim\">since {}",
        pill(view.state),
        span(now.since(view.since)),
        time(view.since, now)
    );
    if endpoint.drains && view.state != EndpointState::Draining {
        page.push_str("<br>marked drain");
    }
    if let Some(at) = stats.last_answer() {
        let _ = write!(page, "<br>answered {} ago", span(now.since(at)));
    }
    if let Some(not_after) = stats.not_after() {
        let at = Duration::from_secs(u64::try_from(not_after).unwrap_or_default());
        let _ = match at.checked_sub(now.date()) {
            Some(left) => write!(page, "<br>certificate expires in {}", span(left)),
            None => write!(
                page,
                "<br><span class=\"error\">certificate expired {} ago</span>",
                span(now.date() - at)
            ),
        };
    }
    let _ = write!(
        page,
        "</div></td><td data-label=\"Last hour\">{}</td>",
        strip(&view.hour)
    );
    for (column, read) in NUMBERS {
        let number = read(view);
        let _ = write!(
            page,
            "<td class=\"n\" data-label=\"{column}\">{number}</td>"
        );
    }
    page.push_str("</tr>");
    if let Some((at, error)) = &view.last_error {
        // An endpoint that is well again must not look as if it were not.
        let (class, what) = match view.state.is_active() {
            true => ("dim", "last error"),
            false => ("error", "error"),
        };
        // The address is in the row above.
        let error = error
            .strip_prefix(&format!("dial tcp {address}: "))
            .unwrap_or(error);
        let _ = write!(
            page,
            "\n<tr class=\"why\"><td colspan=\"8\" class=\"{class}\">{what} {} ago, {}: {}</td></tr>",
            span(now.since(*at)),
            time(*at, now),
            escaped(error)
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
            time(change.at, snapshot.now),
            pill(change.to),
            escaped(name),
            span(change.lasted),
            change.from.name(),
        );
        if let Some(reason) = &change.reason {
            let _ = write!(page, " <span class=\"dim\">{}</span>", escaped(reason));
        }
        page.push_str("</li>\n");
    }
    page.push_str("</ol>\n");
}

/// Every other count that is not zero.
fn counts(page: &mut String, snapshot: &Snapshot) {
    let (clients, reloads) = (&snapshot.clients, &snapshot.reloads);
    let (discovery, total) = (&snapshot.discovery, |count| vec![("", count)]);
    let counts = [
        ("clients rejected: ", clients.rejected.clone()),
        ("connections ended: ", clients.ended.clone()),
        ("accept failed: ", clients.accept_errors.clone()),
        (
            "dials of a second endpoint for one client",
            total(clients.redispatches),
        ),
        ("refreshes of the endpoints: ", discovery.refreshes.clone()),
        ("reloads", total(reloads.succeeded)),
        ("reloads that failed", total(reloads.failed)),
        ("log lines dropped", total(snapshot.log_lines_dropped)),
        (
            "access log lines dropped",
            total(snapshot.access_log_lines_dropped),
        ),
    ];
    let last = discovery.last_success.map_or_else(
        || "never".to_owned(),
        |last| format!("{} ago", span(snapshot.now.since(last))),
    );
    page.push_str("<table>\n<caption>Since the start</caption>\n<tbody>\n");
    let mut row = |what: &str, of: &str, value: &str| {
        let _ = writeln!(
            page,
            "<tr><th scope=\"row\">{what}{}</th><td class=\"n\">{value}</td></tr>",
            escaped(of)
        );
    };
    for (what, counts) in &counts {
        for (of, count) in counts.iter().filter(|(_, count)| *count > 0) {
            row(what, of, &count.to_string());
        }
    }
    row("last complete refresh", "", &last);
    page.push_str("</tbody>\n</table>\n");
}

/// How good a state is, as a class of the style sheet.
fn colour(status: EndpointState) -> &'static str {
    match status {
        EndpointState::Active => "good",
        EndpointState::Untried
        | EndpointState::Slow
        | EndpointState::Draining
        | EndpointState::Removed => "odd",
        EndpointState::Silent
        | EndpointState::Unhealthy
        | EndpointState::Inactive
        | EndpointState::Unauthenticated
        | EndpointState::ThisGateway => "bad",
    }
}

/// The word for a state, in its colour.
fn pill(status: EndpointState) -> String {
    let (class, word) = (colour(status), status.name());
    format!("<span class=\"pill {class}\">{word}</span>")
}

/// The last hour of an endpoint: a column per minute, the higher the worse, none where nothing is known. Adjacent columns
/// of one colour are one line of a path, so that the strip is small while nothing changes. The title is for those who
/// cannot see it.
fn strip(hour: &[Option<EndpointState>; MINUTES]) -> String {
    let known =
        |minute: Option<EndpointState>| minute.filter(|status| *status != EndpointState::Untried);
    let mut minutes: Vec<(&str, usize)> = Vec::new();
    for minute in hour.iter().rev() {
        let word = known(*minute).map_or("unknown", EndpointState::name);
        match minutes.iter_mut().find(|(name, _)| *name == word) {
            Some((_, count)) => *count += 1,
            None => minutes.push((word, 1)),
        }
    }
    let words = minutes.iter();
    let words: Vec<String> = words
        .map(|(name, count)| format!("{name} {count} min"))
        .collect();
    let mut svg = format!(
        "<svg class=\"strip\" viewBox=\"0 0 60 12\" preserveAspectRatio=\"none\" role=\"img\">\
         <title>Last hour: {}</title>",
        words.join(", ")
    );
    let class = |minute| known(minute).map(colour);
    for (wanted, middle) in [("good", 10), ("odd", 8), ("bad", 6)] {
        let (mut path, mut from) = (String::new(), 0);
        for run in hour.chunk_by(|one, next| class(*one) == class(*next)) {
            if run.first().and_then(|minute| class(*minute)) == Some(wanted) {
                let _ = write!(path, "M{from} {middle}h{}", run.len());
            }
            from += run.len();
        }
        if !path.is_empty() {
            let _ = write!(svg, "<path class=\"{wanted}\" d=\"{path}\"/>");
        }
    }
    svg.push_str("</svg>");
    svg
}

/// The date of an event, for programs and for people.
fn time(event: Instant, now: Now) -> String {
    let date = Rfc3339(Duration::from_secs(now.date_of(event).as_secs())).to_string();
    let date = date.trim_end_matches(".000000Z");
    format!(
        "<time datetime=\"{date}Z\">{}</time>",
        date.replace('T', " ")
    )
}

/// Text in an element or a quoted attribute of HTML.
fn escaped(text: &str) -> String {
    let mut html = String::new();
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            // Control characters have no meaning in HTML, and some are not allowed in it.
            other if other.is_control() => html.push('\u{fffd}'),
            other => html.push(other),
        }
    }
    html
}

/// A span in the two largest units that are not zero.
fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// A number of bytes in a unit of its size.
fn bytes(count: u64) -> String {
    let (mut value, mut unit) = (count as f64, "");
    for larger in ["K", "M", "G", "T", "P"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    match unit {
        "" => format!("{count} B"),
        unit => format!("{value:.1} {unit}iB"),
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
    fn foreign_text_may_break_anywhere() {
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
            escaped(hostile),
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
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
        for (count, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_536, "1.5 KiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }
}
