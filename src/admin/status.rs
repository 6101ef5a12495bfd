//! `/`: one page for a person, without script, image or anything from elsewhere.
//!
//! It reloads itself every five seconds (a `meta` element), suits a dark and a light screen, a
//! wide and a narrow one. Everything that is not written here is escaped, and the policy that
//! is sent along allows this very style sheet and nothing else.

use std::fmt::{self, Display, Write};
use std::time::Duration;

use super::Snapshot;
use crate::date::{Now, Rfc3339};
use crate::endpoint::pool::view::View;
use crate::endpoint::status::Status;

/// What is sent with the page. The digest is that of [`STYLE`]; a test holds the two together.
pub(super) const FIELDS: &str = "Content-Security-Policy: default-src 'none'; \
    style-src 'sha256-KYrEpFIMa9H2BuOjsIneLWl4iWxVzH2DFFw8VPFktUU='; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'\r\nReferrer-Policy: no-referrer\r\n";

/// Colours are pairs of a light and a dark scheme; the table of endpoints turns into cards where it is
/// too wide, with its numbers side by side. Names and addresses may be of any length: all text breaks
/// anywhere, but for what is short and written here, and a long name leaves the state its share.
const STYLE: &str = "\
:root{color-scheme:light dark;--ground:#f6f7f9;--card:#fff;--line:#dfe3e8;--text:#1a2027;--dim:#5c6773;\
--good:#137a3f;--good-ground:#dff5e7;--bad:#b3261e;--bad-ground:#fce4e2;--odd:#8a5a00;--odd-ground:#fdf0d2}\
@media(prefers-color-scheme:dark){:root{--ground:#12161b;--card:#1b2129;--line:#2d3640;--text:#e4e9ee;--dim:#94a1af;\
--good:#6fdc9b;--good-ground:#14351f;--bad:#ff9a92;--bad-ground:#451a17;--odd:#f2c66d;--odd-ground:#3b2d0c}}\
*{box-sizing:border-box}\
body{margin:0;background:var(--ground);color:var(--text);font:15px/1.45 system-ui,sans-serif;\
overflow-wrap:anywhere}\
main{max-width:1180px;margin:0 auto;padding:24px 20px 40px}\
header{display:flex;flex-wrap:wrap;align-items:center;gap:6px 14px;margin-bottom:18px}\
h1{font-size:22px;margin:0}\
h2{font-size:13px;margin:26px 0 8px;color:var(--dim);text-transform:uppercase;letter-spacing:.06em}\
.pill{display:inline-block;padding:2px 10px;border-radius:99px;font-weight:600;font-size:13px;white-space:nowrap}\
.good{color:var(--good);background:var(--good-ground)}\
.bad{color:var(--bad);background:var(--bad-ground)}\
.odd{color:var(--odd);background:var(--odd-ground)}\
.dim{color:var(--dim)}\
.why{flex-basis:100%;margin:4px 0 0}\
.problems{margin:0 0 14px;padding:10px 14px 10px 32px;border-radius:8px;font-size:14px}\
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px}\
.card,table{background:var(--card);border:1px solid var(--line);border-radius:8px}\
.card{padding:10px 14px}\
.card b{display:block;font-size:21px;font-variant-numeric:tabular-nums}\
.card small{color:var(--dim);font-size:14px;font-weight:400;white-space:nowrap}\
.card span{color:var(--dim);font-size:13px}\
table{width:100%;border-collapse:separate;border-spacing:0;font-size:14px}\
th,td{padding:8px 12px;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}\
tr:last-child>td{border-bottom:0}\
th{color:var(--dim);font-weight:600;font-size:13px;white-space:nowrap}\
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\
.addr{font-family:ui-monospace,monospace;font-size:13px}\
.endpoints th:first-child{width:32%}\
.endpoints th:nth-child(2){width:20%}\
.endpoints td:nth-child(3){overflow-wrap:normal}\
.error{color:var(--bad);font-size:13px}\
footer{margin-top:22px;color:var(--dim);font-size:13px}\
a{color:inherit}\
@media(max-width:1100px){\
main{padding:16px 12px 32px}\
.endpoints thead{display:none}\
.endpoints,.endpoints tbody{display:block}\
.endpoints{background:none;border:0}\
.endpoints tr{display:grid;grid-template-columns:repeat(auto-fit,minmax(92px,1fr));background:var(--card);\
border:1px solid var(--line);border-radius:8px;margin-bottom:10px;padding:8px 0}\
.endpoints td{display:flex;gap:12px;grid-column:1/-1;border:0;padding:3px 14px}\
.endpoints td::before{content:attr(data-label);color:var(--dim);font-size:13px;flex:0 0 64px}\
.endpoints td.n{display:block;grid-column:auto;text-align:left}\
.endpoints td>div{min-width:0}}";

/// The page.
pub(super) fn render(snapshot: &Snapshot) -> String {
    let mut page = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"refresh\" content=\"5\">\n<title>{} – etcd-gateway</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n",
        verdict(snapshot).0
    );
    head(&mut page, snapshot);
    problems(&mut page, snapshot);
    cards(&mut page, snapshot);
    endpoints(&mut page, snapshot);
    counts(&mut page, snapshot);
    let now = snapshot.now.date();
    let _ = write!(
        page,
        "<footer>As of {}, every 5 s anew. For programs: <a href=\"/metrics\">/metrics</a> \
         <a href=\"/endpoints\">/endpoints</a> <a href=\"/healthz\">/healthz</a> \
         <a href=\"/readyz\">/readyz</a></footer>\n</main>\n</body>\n</html>\n",
        Rfc3339(Duration::from_secs(now.as_secs()))
            .to_string()
            .replace(".000000", "")
    );
    page
}

/// In some words and a colour.
fn verdict(snapshot: &Snapshot) -> (String, &'static str) {
    let (total, active) = snapshot.census();
    if snapshot.draining {
        ("draining".to_owned(), "odd")
    } else if snapshot.not_ready().is_some() {
        ("not ready".to_owned(), "bad")
    } else if active < total {
        (
            format!("ready, {active} of {total} endpoints active"),
            "odd",
        )
    } else if !snapshot.problems.is_empty() {
        ("ready, with problems".to_owned(), "odd")
    } else {
        ("ready".to_owned(), "good")
    }
}

fn head(page: &mut String, snapshot: &Snapshot) {
    let (word, colour) = verdict(snapshot);
    let _ = write!(
        page,
        "<header><h1>etcd-gateway</h1><span class=\"pill {colour}\">{word}</span>\
         <span class=\"dim\">version {}, up {}, listening on {}</span>",
        Escaped(snapshot.version),
        Span(snapshot.now.since(snapshot.started)),
        Escaped(&snapshot.listen.join(", "))
    );
    if let Some(reason) = snapshot.not_ready() {
        let _ = write!(page, "<p class=\"why error\">{}</p>", Escaped(&reason));
    }
    page.push_str("</header>\n");
}

/// What discovery has trouble with, if there is anything.
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
    let rejected: u64 = clients.rejected.iter().map(|(_, count)| count).sum();
    let sum = |read: fn(&View) -> u64| Bytes(snapshot.endpoints.iter().map(read).sum());
    let mut cards = vec![
        (
            "endpoints active",
            format!("{active} <small>of {total}</small>"),
        ),
        (
            "connections open",
            format!("{} <small>of {}</small>", clients.active, clients.max),
        ),
        ("clients accepted", clients.accepted.to_string()),
        ("clients rejected", rejected.to_string()),
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

fn endpoints(page: &mut String, snapshot: &Snapshot) {
    page.push_str(
        "<h2>Endpoints</h2>\n<table class=\"endpoints\">\n<thead><tr><th>Endpoint</th><th>State</th>\
         <th>Source</th><th class=\"n\">Open</th><th class=\"n\">Clients</th><th class=\"n\">To endpoint</th>\
         <th class=\"n\">To clients</th><th class=\"n\">Dials failed</th></tr></thead>\n<tbody>\n",
    );
    let rank = |view: &View| (view.endpoint.priority, view.endpoint.weight);
    let mut ranks = snapshot.endpoints.iter().map(rank);
    let first = ranks.next();
    // Where all have the same, it decides nothing.
    let ranked = ranks.any(|rank| Some(rank) != first);
    for view in &snapshot.endpoints {
        endpoint(page, view, snapshot.now, ranked);
    }
    page.push_str("</tbody>\n</table>\n");
}

fn endpoint(page: &mut String, view: &View, now: Now, ranked: bool) {
    let (endpoint, ledger) = (&view.endpoint, &view.ledger);
    let address = endpoint.addr.to_string();
    let _ = write!(
        page,
        "<tr><td data-label=\"Endpoint\"><div><span class=\"addr\">{address}</span>"
    );
    if endpoint.name != address {
        let _ = write!(
            page,
            "<br><span class=\"dim\">{}</span>",
            Escaped(&endpoint.name)
        );
    }
    let colour = match view.status {
        Status::Active => "good",
        Status::Untried | Status::Slow | Status::Draining | Status::Removed => "odd",
        Status::Silent
        | Status::Unhealthy
        | Status::Inactive
        | Status::Unauthenticated
        | Status::ThisGateway => "bad",
    };
    let _ = write!(
        page,
        "</div></td><td data-label=\"State\"><div><span class=\"pill {colour}\">{}</span> \
         <span class=\"dim\">for {}</span>",
        view.status.name(),
        Span(now.since(view.since))
    );
    if view.endpoint.drains && view.status != Status::Draining {
        page.push_str("<br><span class=\"dim\">marked drain</span>");
    }
    if let Some((at, error)) = &view.last_error {
        let class = if view.status.is_active() {
            "dim"
        } else {
            "error"
        };
        let _ = write!(
            page,
            "<br><span class=\"{class}\">{} ago: {}</span>",
            Span(now.since(*at)),
            Escaped(error)
        );
    }
    if let Some(at) = ledger.last_answer() {
        let _ = write!(
            page,
            "<br><span class=\"dim\">answered {} ago</span>",
            Span(now.since(at))
        );
    }
    if let Some(not_after) = ledger.not_after() {
        let at = Duration::from_secs(u64::try_from(not_after).unwrap_or_default());
        let now = now.date();
        let _ = match at.checked_sub(now) {
            Some(left) => write!(
                page,
                "<br><span class=\"dim\">certificate expires in {}</span>",
                Span(left)
            ),
            None => write!(
                page,
                "<br><span class=\"error\">certificate expired {} ago</span>",
                Span(now - at)
            ),
        };
    }
    let failed: u64 = ledger.dials().skip(1).map(|(_, count)| count).sum();
    let _ = write!(
        page,
        "</div></td><td data-label=\"Source\"><div>{}",
        endpoint.source.name()
    );
    if ranked {
        let (priority, weight) = (endpoint.priority, endpoint.weight);
        let _ = write!(
            page,
            "<br><span class=\"dim\">priority&nbsp;{priority}, weight&nbsp;{weight}</span>"
        );
    }
    page.push_str("</div></td>");
    let numbers = [
        ("Open", ledger.open().to_string()),
        ("Clients", ledger.connections.get().to_string()),
        ("To endpoint", Bytes(ledger.to_endpoint.get()).to_string()),
        ("To clients", Bytes(ledger.to_client.get()).to_string()),
        ("Dials failed", failed.to_string()),
    ];
    for (what, number) in numbers {
        let _ = write!(
            page,
            "<td class=\"n\" data-label=\"{what}\"><div>{number}</div></td>"
        );
    }
    page.push_str("</tr>\n");
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
        count(
            format!("clients rejected: {}", reason.replace('_', " ")),
            *number,
        );
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
    page.push_str("<h2>Since the start</h2>\n<table>\n<tbody>\n");
    for (what, value) in rows {
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td class=\"n\">{value}</td></tr>",
            Escaped(&what)
        );
    }
    page.push_str("</tbody>\n</table>\n");
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
        let rules: Vec<&str> = STYLE.split('}').collect();
        let of = |selector: &str| {
            let mut rules = rules.iter().filter_map(|rule| rule.rsplit_once('{'));
            let found = rules.find(|(selectors, _)| *selectors == selector);
            found.unwrap_or_else(|| panic!("no rule for {selector}")).1
        };
        // It is inherited; the column of sources has only words of ours.
        assert!(of("body").contains("overflow-wrap:anywhere"));
        assert_eq!(STYLE.matches("overflow-wrap").count(), 2);
        assert_eq!(of(".endpoints td:nth-child(3)"), "overflow-wrap:normal");
        // These say words and numbers of ours; nothing else may refuse to break.
        let unbroken = rules.iter().filter(|rule| rule.contains("nowrap"));
        let unbroken: Vec<&str> = unbroken.filter_map(|rule| rule.split('{').next()).collect();
        assert_eq!(unbroken, [".pill", ".card small", "th", ".n"]);
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
