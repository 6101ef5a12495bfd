//! The manual page, in the man(7) macros that groff and mandoc share.

use super::FLAGS;
use crate::cli::flags::Takes;
use crate::cli::manual::{
    CALLED_ETCD, CHECK, COMMANDS, ENVIRONMENT, EXAMPLES, EXIT_STATUS, Entry, FILES, LEAD, SEE_ALSO,
    SIGNALS, SUMMARY,
};

/// The page.
pub(super) fn page() -> String {
    let mut page = Page::new("etcd-gateway", "1");
    page.section("NAME");
    page.raw(&format!("etcd\\-gateway \\- {}", escaped(SUMMARY)));
    page.section("SYNOPSIS");
    page.raw("\\fBetcd\\-gateway\\fR \\fICOMMAND\\fR [\\fIFLAGS\\fR]");
    page.section("DESCRIPTION");
    page.text(LEAD);
    page.section("COMMANDS");
    for command in &COMMANDS {
        let usage = escaped(&command.usage());
        let doc = format!("{}. {}", capital(command.doc_short), command.doc_long);
        page.entry(&format!("\\fBetcd\\-gateway {usage}\\fR"), doc.trim_end());
    }
    page.raw(".PP");
    page.text(CALLED_ETCD);
    page.section("OPTIONS");
    page.text(
        "Flags may stand before and behind the command. Each can also be given as a variable, in the \
         environment or in --config-file; the command line wins over the environment, and that over the file. A \
         variable that is empty counts as unset.",
    );
    for flag in FLAGS {
        let short = flag
            .short
            .map_or(String::new(), |s| format!("\\fB\\-{s}\\fR, "));
        let value = flag.takes.value_name();
        let value = value.map_or(String::new(), |name| format!(" \\fI{}\\fR", escaped(name)));
        let name = escaped(flag.name);
        let docs = format!("{} {}", flag.doc_short, flag.doc_long);
        page.entry(
            &format!("{short}\\fB\\-\\-{name}\\fR{value}"),
            docs.trim_end(),
        );
        if let Takes::Choice(_, words) = flag.takes {
            page.raw(".br");
            page.raw(&format!("One of: {}", escaped(&words.join(", "))));
        }
        if !flag.default.is_empty() {
            page.raw(".br");
            page.raw(&format!("Default: {}", escaped(flag.default)));
        }
        if let Some(variable) = flag.variable() {
            page.raw(".br");
            page.raw(&format!("Variable: {variable}"));
        }
    }
    page.section("OUTPUT OF CHECK");
    page.text("What etcd-gateway check --output=json prints, one object:");
    page.entries(CHECK);
    page.section("ENVIRONMENT");
    page.text("Beside the variables of the flags:");
    page.entries(ENVIRONMENT);
    page.section("FILES");
    page.entries(FILES);
    page.section("SIGNALS");
    page.entries(SIGNALS);
    page.section("EXIT STATUS");
    page.entries(EXIT_STATUS);
    page.section("EXAMPLES");
    for (index, (what, lines)) in EXAMPLES.iter().enumerate() {
        if index > 0 {
            page.raw(".PP");
        }
        page.text(what);
        page.raw(".RS 2\n.EX");
        for line in *lines {
            page.text(line);
        }
        page.raw(".EE\n.RE");
    }
    page.section("SEE ALSO");
    let others = SEE_ALSO.iter();
    let others = others.map(|(name, section)| format!(".BR {} ({section})", escaped(name)));
    page.raw(&others.collect::<Vec<_>>().join(" ,\n"));
    page.finish()
}

/// The page as far as it is written.
pub(super) struct Page(String);

impl Page {
    /// A page of this name and section of the manual. It bears no date: the version says which program it describes,
    /// and two builds of it are alike.
    pub(super) fn new(name: &str, section: &str) -> Self {
        let title = escaped(&name.to_uppercase());
        let version = env!("CARGO_PKG_VERSION");
        let kind = match section {
            "1" => "User Commands",
            "5" => "File Formats",
            _ => "Miscellanea",
        };
        Self(format!(
            ".TH {title} {section} \"\" \"etcd\\-gateway {version}\" \"{kind}\"\n"
        ))
    }

    /// All of it.
    pub(super) fn finish(self) -> String {
        self.0
    }

    /// A line of roff.
    pub(super) fn raw(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    /// A line of plain text.
    pub(super) fn text(&mut self, words: &str) {
        self.raw(&escaped(words));
    }

    /// Begins a paragraph; a heading has begun one.
    pub(super) fn paragraph(&mut self) {
        let last = self.0.trim_end().lines().last().unwrap_or_default();
        if !last.starts_with(".S") {
            self.raw(".PP");
        }
    }

    pub(super) fn section(&mut self, name: &str) {
        self.raw(&format!(".SH {name}"));
    }

    /// A paragraph that hangs on its first words, which are roff.
    fn entry(&mut self, tag: &str, doc: &str) {
        self.raw(".TP");
        self.raw(tag);
        self.text(doc);
    }

    fn entries(&mut self, entries: &[Entry]) {
        for (name, doc) in entries {
            self.entry(&format!("\\fB{}\\fR", escaped(name)), doc);
        }
    }
}

/// A sentence of these words.
fn capital(words: &str) -> String {
    let mut rest = words.chars();
    let first = rest.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(rest).collect()
}

/// Plain text as roff prints it unchanged: an ASCII dash, quote and grave accent would become typographic ones, and a
/// dot or quote that begins a line would make it a request.
pub(super) fn escaped(words: &str) -> String {
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
    #[test]
    fn text_is_printed_unchanged() {
        const CASES: &[(&str, &str)] = &[
            ("a-b", "a\\-b"),
            (".x", "\\&.x"),
            ("'x' \\", "\\&\\(aqx\\(aq \\e"),
            ("`x` ^ ~", "\\(gax\\(ga \\(ha \\(ti"),
        ];
        for &(text, expected) in CASES {
            assert_eq!(super::escaped(text), expected);
        }
    }
}
