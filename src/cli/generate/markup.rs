//! Manual pages that are written in Markdown, in the man(7) macros that groff and mandoc share.
//!
//! What is known of Markdown is what the pages use: headings, paragraphs, lists, blocks of code, tables, `code`,
//! **bold** and [links](url). A table becomes a list whose tags are the cells of its first column; where it has more than
//! two, each of the others follows its head. Anything else is
//! printed as it stands. The pages are our own, so nothing here guards against a foreign text.

use super::man::{Page, escaped};

/// A page of a name, a section of the manual and its text, whose first line is `# NAME(SECTION): WHAT IT IS`.
pub(super) fn page(text: &str) -> String {
    let (title, body) = text.split_once('\n').unwrap_or((text, ""));
    let (name, what) = title
        .trim_start_matches("# ")
        .split_once(": ")
        .unwrap_or((title, ""));
    let (name, section) = name
        .trim_end_matches(')')
        .split_once('(')
        .unwrap_or((name, "7"));
    let mut page = Page::new(name, section);
    page.section("NAME");
    page.raw(&format!("{} \\- {}", escaped(name), escaped(what)));
    let mut lines = body.lines().peekable();
    while let Some(line) = lines.next() {
        if line.is_empty() || line.starts_with("<!--") {
            continue;
        } else if let Some(name) = line.strip_prefix("## ") {
            page.section(&escaped(&name.to_uppercase()));
        } else if let Some(name) = line.strip_prefix("### ") {
            page.raw(&format!(".SS {}", inline(name)));
        } else if line.starts_with("```") {
            page.paragraph();
            page.raw(".RS 4\n.EX");
            for line in lines.by_ref().take_while(|line| !line.starts_with("```")) {
                page.text(line);
            }
            page.raw(".EE\n.RE");
        } else if line.starts_with('|') {
            // The line below the heads holds nothing but dashes.
            let mut rows = vec![line];
            rows.extend(std::iter::from_fn(|| {
                lines.next_if(|line| line.starts_with('|'))
            }));
            let heads = rows.first().map(|row| cells(row)).unwrap_or_default();
            for row in rows.iter().skip(2) {
                let cells = cells(row);
                page.raw(".TP");
                page.raw(&inline(cells.first().map_or("", String::as_str)));
                let rest = heads.iter().zip(&cells).skip(1);
                let rest = rest.filter(|(_, cell)| !cell.is_empty());
                let lines: Vec<String> = rest
                    .map(|(head, cell)| match heads.len() {
                        2 => inline(cell),
                        _ => format!("{}: {}", escaped(head), inline(cell)),
                    })
                    .collect();
                page.raw(&lines.join("\n.br\n"));
            }
        } else {
            let item = line.strip_prefix("- ");
            let mut words = item.unwrap_or(line).to_owned();
            let begins = |line: &str| {
                line.is_empty()
                    || line.starts_with(['#', '|'])
                    || line.starts_with("- ")
                    || line.starts_with("```")
            };
            let continues = |line: &&str| !begins(line);
            while let Some(line) = lines.next_if(continues) {
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
    page.finish()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_page() {
        let text = "# etcd-gateway-x(7): what it is\n\n<!-- unseen -->\nA paragraph\nof `two` lines.\n\n## Some words\n\n\
                    - one\n  and more\n- **two**\n\n### Below\n\n```sh\nls -l\n.x\n```\n\n\
                    | name | meaning |\n|---|---|\n| `a\\|b` | [text](#there), [site](https://x/), [more](a-b.7.md#c) |\n\n\
                    | a | b | d |\n|---|---|---|\n| c | 1 * 2 | 3 |\n| e |  | 4 |\n";
        let expected = "\
.PP\nA paragraph of \\fBtwo\\fR lines.\n.SH SOME WORDS\n.IP \\(bu 2\none and more\n.IP \\(bu 2\n\\fBtwo\\fR\n\
.SS Below\n.RS 4\n.EX\nls \\-l\n\\&.x\n.EE\n.RE\n\
.TP\n\\fBa|b\\fR\ntext, site <https://x/>, more (\\fBa\\-b\\fR(7))\n.TP\nc\nb: 1 * 2\n.br\nd: 3\n.TP\ne\nd: 4\n";
        let page = page(text);
        let (head, body) = page.split_once("what it is\n").expect("a name");
        assert_eq!(body, expected);
        assert!(head.starts_with(".TH ETCD\\-GATEWAY\\-X 7 "), "{head}");
        assert!(
            head.ends_with(".SH NAME\netcd\\-gateway\\-x \\- "),
            "{head}"
        );
    }
}
