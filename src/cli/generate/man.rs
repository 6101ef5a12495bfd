//! The pages of the manual, from Markdown to the man(7) macros that groff and mandoc share.
//!
//! The Markdown is that of our own pages, and so no more than they use: headings, paragraphs, lists, blocks of code,
//! tables, `code`, **bold**, *italic* and [links](url). A table becomes a list whose tags are the cells of its first
//! column; each of the others follows its head, if it has one and the table more than two columns. Anything else is
//! printed as it stands.

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

/// A page of a name, a section of the manual and its text, whose first line is `# NAME(SECTION): WHAT IT IS`. It has no
/// date: the version says which program it describes, and two builds of it are equal.
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
    page.raw(&format!("{} \\- {}", escaped(name), escaped(what)));
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
                page.raw(&escaped(line));
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
            page.raw(&inline(&words));
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

/// The page as far as it is written.
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

    /// A row of a table: a paragraph that hangs on its first cell.
    fn row(&mut self, heads: &[String], cells: &[String]) {
        self.raw(".TP");
        self.raw(&inline(cells.first().map_or("", String::as_str)));
        let rest = heads.iter().zip(cells).skip(1);
        let rest = rest.filter(|(_, cell)| !cell.is_empty());
        let lines: Vec<String> = rest
            .map(|(head, cell)| match head.as_str() {
                "" => inline(cell),
                _ if heads.len() == 2 => inline(cell),
                head => format!("{}: {}", escaped(head), inline(cell)),
            })
            .collect();
        self.raw(&lines.join("\n.br\n"));
    }
}

/// The cells of a row; a bar within code is one behind a backslash.
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

/// A line of text with what is marked in it.
fn inline(words: &str) -> String {
    let mut text = String::new();
    let mut rest = words;
    while let Some(at) = rest.find(['`', '*', '[']) {
        let (before, marked) = rest.split_at(at);
        text.push_str(&escaped_within(before, text.is_empty()));
        let found = if let Some(code) = marked.strip_prefix('`') {
            code.split_once('`')
                .map(|(code, after)| (bold(code), after))
        } else if let Some(strong) = marked.strip_prefix("**") {
            strong
                .split_once("**")
                .map(|(strong, after)| (bold(strong), after))
        } else if let Some(term) = marked.strip_prefix('*').filter(|t| !t.starts_with(' ')) {
            term.split_once('*')
                .map(|(term, after)| (format!("\\fI{}\\fR", escaped(term)), after))
        } else {
            marked.strip_prefix('[').and_then(link)
        };
        let (printed, after) = found.unwrap_or_else(|| {
            let (mark, after) = marked.split_at(1);
            (escaped(mark), after)
        });
        text.push_str(&printed);
        rest = after;
    }
    text.push_str(&escaped_within(rest, text.is_empty()));
    text
}

/// `text](url)`, and what follows. A link within the page is its text alone, one to another page names that.
fn link(marked: &str) -> Option<(String, &str)> {
    let (text, rest) = marked.split_once("](")?;
    let (url, after) = rest.split_once(')')?;
    let text = inline(text);
    let page = url
        .split('#')
        .next()
        .and_then(|file| file.strip_suffix(".md"));
    let page = page.and_then(|page| page.rsplit('/').next()?.rsplit_once('.'));
    let printed = match page {
        Some((name, section)) => format!("{text} ({}({section}))", bold(name)),
        None if url.starts_with("http") => format!("{text} <{}>", escaped(url)),
        None => text,
    };
    Some((printed, after))
}

fn bold(words: &str) -> String {
    format!("\\fB{}\\fR", escaped(words))
}

/// Only what begins a line may be taken for a request.
fn escaped_within(words: &str, begins_line: bool) -> String {
    let text = escaped(words);
    match begins_line {
        true => text,
        false => text
            .strip_prefix("\\&")
            .map_or_else(|| text.clone(), str::to_owned),
    }
}

/// Plain text as roff prints it unchanged: an ASCII dash, quote and grave accent would become typographic ones, and a
/// dot or quote that begins a line would make it a request.
fn escaped(words: &str) -> String {
    let mut text = String::new();
    if words.starts_with(['.', '\'']) {
        text.push_str("\\&");
    }
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
            (".x", "\\&.x"),
            ("'x' \\", "\\&\\(aqx\\(aq \\e"),
            ("`x` ^ ~", "\\(gax\\(ga \\(ha \\(ti"),
        ];
        for &(text, expected) in CASES {
            assert_eq!(escaped(text), expected);
        }
    }
}
