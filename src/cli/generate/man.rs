//! The pages of the manual, from Markdown to the man(7) macros that groff and mandoc share.
//!
//! Only the Markdown that our own pages use is known: headings, paragraphs, lists, blocks of code,
//! tables, `code`, **bold**, *italic* and [links](url). A table becomes a list whose tags are the cells of its first
//! column. Each of the other cells follows the head of its column, if it has one and there are more than two columns.
//! Anything else is printed as it is.

use crate::cli::flags::{FLAGS, Flag, Takes};
use crate::cli::manual::{COMMANDS, Command, PAGE};

/// The page of commands and flags.
pub(super) fn main_page() -> String {
    let commands: Vec<String> = COMMANDS.iter().map(command_row).collect();
    let options: Vec<String> = FLAGS.iter().map(flag_row).collect();
    let text = PAGE.replace("<!-- commands -->", &commands.join("\n"));
    page(&text.replace("<!-- options -->", &options.join("\n")))
}

fn command_row(command: &Command) -> String {
    let (first, rest) = command.doc_short.split_at(1);
    let doc = format!("{}{rest}. {}", first.to_uppercase(), command.doc_long);
    format!("| **etcd-gateway {}** | {doc} |", command.usage())
}

fn flag_row(flag: &Flag) -> String {
    let short = flag.short.map_or(String::new(), |s| format!("**-{s}**, "));
    let value = flag.takes.value_name();
    let value = value.map_or(String::new(), |name| format!(" *{name}*"));
    let choices = match flag.takes {
        Takes::Choice(_, words) => words.join(", "),
        _ => String::new(),
    };
    let (name, variable) = (flag.name, flag.variable().unwrap_or_default());
    let docs = format!("{} {}", flag.doc_short, flag.doc_long);
    let default = flag.default;
    format!("| {short}**--{name}**{value} | {docs} | {choices} | {default} | {variable} |")
}

/// A page. The first line of the text is `# NAME(SECTION): SUMMARY`. The page does not have a date, so that two builds are
/// equal: the version says which program it describes.
pub(super) fn page(text: &str) -> String {
    let (title, body) = text.split_once('\n').unwrap_or((text, ""));
    let title = title.trim_start_matches("# ");
    let (name, what) = title.split_once(": ").unwrap_or((title, ""));
    let name = name.trim_end_matches(')');
    let (name, section) = name.split_once('(').unwrap_or((name, "7"));
    let kind = match section {
        "1" => "User Commands",
        "5" => "File Formats",
        _ => "Miscellanea",
    };
    let (head, version) = (escaped(&name.to_uppercase()), env!("CARGO_PKG_VERSION"));
    let mut page = Page(format!(
        ".TH {head} {section} \"\" \"etcd\\-gateway {version}\" \"{kind}\"\n.SH NAME\n"
    ));
    page.text(&format!("{} \\- {}", escaped(name), escaped(what)));
    let mut lines = body.lines().peekable();
    while let Some(line) = lines.next() {
        if line.is_empty() || line.starts_with("<!--") {
            continue;
        } else if let Some(name) = line.strip_prefix("## ") {
            page.raw(&format!(".SH {}", escaped(&name.to_uppercase())));
        } else if let Some(name) = line.strip_prefix("### ") {
            page.raw(&format!(".SS {}", inline(name)));
        } else if line.starts_with("```") {
            page.paragraph();
            page.raw(".RS 4\n.EX");
            for line in lines.by_ref().take_while(|line| !line.starts_with("```")) {
                page.text(&escaped(line));
            }
            page.raw(".EE\n.RE");
        } else if line.starts_with('|') {
            let heads = cells(line);
            // The line below the heads has only dashes.
            lines.next();
            while let Some(row) = lines.next_if(|line| line.starts_with('|')) {
                page.row(&heads, &cells(row));
            }
        } else {
            let item = line.strip_prefix("- ");
            let mut words = item.unwrap_or(line).to_owned();
            while let Some(line) = lines.next_if(|line| !begins_block(line)) {
                words.push(' ');
                words.push_str(line.trim_start());
            }
            match item {
                Some(_) => page.raw(".IP \\(bu 2"),
                None => page.paragraph(),
            }
            page.text(&inline(&words));
        }
    }
    page.0
}

fn begins_block(line: &str) -> bool {
    line.is_empty()
        || line.starts_with(['#', '|'])
        || line.starts_with("- ")
        || line.starts_with("```")
}

/// The part of the page that is written.
struct Page(String);

impl Page {
    /// A line of roff.
    fn raw(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    /// Begins a paragraph; a heading has begun one.
    fn paragraph(&mut self) {
        let last = self.0.trim_end().lines().last().unwrap_or_default();
        if !last.starts_with(".S") {
            self.raw(".PP");
        }
    }

    /// A line of text. A dot at the beginning would make it a request.
    fn text(&mut self, line: &str) {
        let guard = if line.starts_with('.') { "\\&" } else { "" };
        self.raw(&format!("{guard}{line}"));
    }

    /// A row of a table: a paragraph with the first cell as its tag.
    fn row(&mut self, heads: &[String], cells: &[String]) {
        self.raw(".TP");
        let columns = heads.iter().zip(cells).enumerate();
        let filled = columns.filter(|(_, (_, cell))| !cell.is_empty());
        for (place, (column, (head, cell))) in filled.enumerate() {
            if place > 1 {
                self.raw(".br");
            }
            let label = match head.as_str() {
                head if column > 0 && heads.len() > 2 && !head.is_empty() => format!("{head}: "),
                _ => String::new(),
            };
            self.text(&format!("{}{}", escaped(&label), inline(cell)));
        }
    }
}

/// The cells of a row. A backslash escapes a bar within code.
fn cells(row: &str) -> Vec<String> {
    let row = row
        .trim()
        .trim_start_matches('|')
        .trim_end_matches('|')
        .replace("\\|", "\u{1}");
    let cells = row.split('|');
    cells
        .map(|cell| cell.trim().replace('\u{1}', "|"))
        .collect()
}

/// Text with its marks.
fn inline(words: &str) -> String {
    const FONTS: [(&str, char); 3] = [("`", 'B'), ("**", 'B'), ("*", 'I')];
    let mut text = String::new();
    let mut rest = words;
    while let Some(at) = rest.find(['`', '*', '[']) {
        let (before, marked) = rest.split_at(at);
        text.push_str(&escaped(before));
        let styled = FONTS.iter().find_map(|(mark, font)| {
            let (words, after) = marked.strip_prefix(mark)?.split_once(mark)?;
            let is_styled = !words.is_empty() && !words.starts_with(' ');
            is_styled.then(|| (format!("\\f{font}{}\\fR", escaped(words)), after))
        });
        let (printed, after) = styled.or_else(|| link(marked)).unwrap_or_else(|| {
            let (mark, after) = marked.split_at(1);
            (escaped(mark), after)
        });
        text.push_str(&printed);
        rest = after;
    }
    text + &escaped(rest)
}

/// `[text](url)`, and what follows. For a link within the page only the text is printed; a link to another page
/// adds the name of that page.
fn link(marked: &str) -> Option<(String, &str)> {
    let (text, rest) = marked.strip_prefix('[')?.split_once("](")?;
    let (url, after) = rest.split_once(')')?;
    let text = inline(text);
    let page = url
        .split('#')
        .next()
        .and_then(|file| file.strip_suffix(".md"));
    let page = page.and_then(|page| page.rsplit('/').next()?.rsplit_once('.'));
    let printed = match page {
        Some((name, section)) => format!("{text} (\\fB{}\\fR({section}))", escaped(name)),
        None if url.starts_with("http") => format!("{text} <{}>", escaped(url)),
        None => text,
    };
    Some((printed, after))
}

/// Plain text as roff prints it unchanged: an ASCII dash, quote and grave accent would become typographic ones.
fn escaped(words: &str) -> String {
    let mut text = String::new();
    for c in words.chars() {
        match c {
            '\\' => text.push_str("\\e"),
            '-' => text.push_str("\\-"),
            '\'' => text.push_str("\\(aq"),
            '`' => text.push_str("\\(ga"),
            '^' => text.push_str("\\(ha"),
            '~' => text.push_str("\\(ti"),
            '\u{2026}' => text.push_str("..."),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_page() {
        let text = "# etcd-gateway-x(7): what it is\n\n<!-- unseen -->\nA paragraph\nof `two` lines.\n\n## Some words\n\n\
                    - one\n  and more\n- **two**\n\n### Below\n\n```sh\nls -l\n.x\n```\n\n\
                    | name | meaning |\n|---|---|\n| `a\\|b` *C* | [text](#there), [site](https://x/), [more](a-b.7.md#c) |\n\n\
                    | a | | d |\n|---|---|---|\n| c | 1 * 2 | 3 |\n| e |  | 4 |\n";
        let expected = "\
.PP\nA paragraph of \\fBtwo\\fR lines.\n.SH SOME WORDS\n.IP \\(bu 2\none and more\n.IP \\(bu 2\n\\fBtwo\\fR\n\
.SS Below\n.RS 4\n.EX\nls \\-l\n\\&.x\n.EE\n.RE\n\
.TP\n\\fBa|b\\fR \\fIC\\fR\ntext, site <https://x/>, more (\\fBa\\-b\\fR(7))\n.TP\nc\n1 * 2\n.br\nd: 3\n.TP\ne\nd: 4\n";
        let page = page(text);
        let (head, body) = page.split_once("what it is\n").expect("a name");
        assert_eq!(body, expected);
        assert!(head.starts_with(".TH ETCD\\-GATEWAY\\-X 7 "), "{head}");
        assert!(
            head.ends_with(".SH NAME\netcd\\-gateway\\-x \\- "),
            "{head}"
        );
    }

    #[test]
    fn text_is_printed_unchanged() {
        const CASES: &[(&str, &str)] = &[
            ("a-b", "a\\-b"),
            (".x", ".x"),
            ("'x' \\", "\\(aqx\\(aq \\e"),
            ("`x` ^ ~", "\\(gax\\(ga \\(ha \\(ti"),
        ];
        for &(text, expected) in CASES {
            assert_eq!(escaped(text), expected);
        }
    }
}
