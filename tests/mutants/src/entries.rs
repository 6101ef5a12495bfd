//! The list of changes, `tests/mutants/*.txt`: read, and found in the sources.
//!
//! ```text
//! [proxy-07] high src/proxy/relay/flow.rs
//! # What a user would see, were this change made.
//! - what stands there, one or more lines
//! + what stands there instead; a bare + for nothing
//! ```

use std::collections::HashSet;
use std::fs;
use std::ops::Range;
use std::path::Path;

/// The last one cannot be noticed by any test; its comment says why.
const SEVERITIES: [&str; 5] = ["critical", "high", "medium", "low", EQUIVALENT];
const EQUIVALENT: &str = "equivalent";

/// Directories below `src` that are counted on their own, the longer name first.
const MODULES: [&str; 10] = [
    "proxy/relay",
    "proxy",
    "endpoint",
    "discovery",
    "gateway",
    "admin",
    "health",
    "loop_guard",
    "dns",
    "sys",
];

#[derive(Debug, Default, Clone, PartialEq)]
pub struct Entry {
    pub id: String,
    pub severity: String,
    pub file: String,
    pub comment: String,
    pub old: Vec<String>,
    pub new: Vec<String>,
    /// Where it stands in the list: `dns.txt:12`.
    pub listed: String,
    /// The line of the file, once it is found.
    pub line: usize,
}

impl Entry {
    pub fn equivalent(&self) -> bool {
        self.severity == EQUIVALENT
    }

    pub fn module(&self) -> &'static str {
        let path = self.file.strip_prefix("src/").unwrap_or_default();
        let of = |module: &&str| {
            path.strip_prefix(module)
                .is_some_and(|r| r.starts_with('/'))
        };
        MODULES.into_iter().find(of).unwrap_or("other")
    }

    /// The one place in `source`, of which the unit tests at its foot do not count. White space at either end of a line
    /// is ignored.
    pub fn find(&self, source: &str) -> Result<Range<usize>, String> {
        let end = source.find("\n#[cfg(test)]\nmod tests {");
        let source = &source[..end.unwrap_or(source.len())];
        let first = self.old.first().map_or("", String::as_str);
        let starts = source.match_indices(first).map(|(start, _)| start);
        let mut places = starts.filter_map(|start| Some(start..self.end(source, start)?));
        let complain = |what: &str| Err(format!("{}: {} ({})", self.listed, what, self.id));
        match (places.next(), places.next()) {
            (Some(place), None) => Ok(place),
            (None, _) => complain("the old text is not there"),
            _ => complain("the old text is there more than once"),
        }
    }

    /// Where the old text ends, if it begins at `start`.
    fn end(&self, source: &str, start: usize) -> Option<usize> {
        let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let mut at = start;
        for (index, line) in self.old.iter().enumerate() {
            let rest = source[at..].trim_start_matches([' ', '\t']);
            let rest = match index {
                0 => rest,
                _ => rest.strip_prefix('\n')?.trim_start_matches([' ', '\t']),
            };
            at = source.len() - rest.strip_prefix(line.as_str())?.len();
        }
        // `run >= BULK` does not stand in `run >= BULKY`.
        let old = &source[start..at];
        let cut = word(source[..start].chars().next_back()) && word(old.chars().next())
            || word(old.chars().next_back()) && word(source[at..].chars().next());
        (!cut).then_some(at)
    }
}

/// All entries of a directory, or all that is wrong with them.
pub fn read(directory: &Path) -> Result<Vec<Entry>, Vec<String>> {
    let files = fs::read_dir(directory).map_err(|error| vec![error.to_string()])?;
    let mut files: Vec<_> = files.flatten().map(|file| file.path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "txt"));
    files.sort();
    let (mut entries, mut wrong) = (Vec::new(), Vec::new());
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match fs::read_to_string(&path) {
            Ok(text) => parse(&text, &name, &mut entries, &mut wrong),
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    let mut ids = HashSet::new();
    for entry in &entries {
        if !ids.insert(&entry.id) {
            wrong.push(format!("{}: {} is there twice", entry.listed, entry.id));
        }
    }
    if wrong.is_empty() {
        Ok(entries)
    } else {
        Err(wrong)
    }
}

fn parse(text: &str, name: &str, entries: &mut Vec<Entry>, wrong: &mut Vec<String>) {
    let mut current: Option<Entry> = None;
    for (number, line) in text.lines().chain([""]).enumerate() {
        let listed = format!("{name}:{}", number + 1);
        let (mark, rest) = line.split_at_checked(1).unwrap_or_default();
        match (mark, &mut current) {
            ("", entry) => {
                if let Some(entry) = entry.take() {
                    match complete(&entry) {
                        Ok(()) => entries.push(entry),
                        Err(what) => wrong.push(format!("{}: {what}", entry.listed)),
                    }
                }
            }
            ("[", None) => match header(rest) {
                Some(entry) => current = Some(Entry { listed, ..entry }),
                None => wrong.push(format!("{listed}: not [ID] SEVERITY FILE")),
            },
            ("-", Some(entry)) if entry.new.is_empty() => entry.old.push(rest.trim().to_owned()),
            ("+", Some(entry)) => entry.new.push(rest.trim().to_owned()),
            ("#", Some(entry)) => entry.comment = format!("{}{rest}", entry.comment),
            // The head of the list.
            ("#", None) => {}
            _ => wrong.push(format!("{listed}: does not belong here")),
        }
    }
}

fn header(rest: &str) -> Option<Entry> {
    let (id, rest) = rest.split_once("] ")?;
    let (severity, file) = rest.split_once(' ')?;
    (SEVERITIES.contains(&severity) && file.starts_with("src/")).then(|| Entry {
        id: id.to_owned(),
        severity: severity.to_owned(),
        file: file.to_owned(),
        ..Entry::default()
    })
}

fn complete(entry: &Entry) -> Result<(), &'static str> {
    match () {
        () if entry.comment.trim().is_empty() => Err("there is no comment"),
        () if entry.old.concat().is_empty() => Err("there is no old text"),
        () if entry.new.is_empty() => Err("there is no new text"),
        () if entry.new == entry.old => Err("nothing changes"),
        () => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "# head\n\n[dns-01] high src/dns/mod.rs\n# One,\n# two.\n- a <\n-   b\n+ a\n+\n";

    fn parsed(text: &str) -> (Vec<Entry>, Vec<String>) {
        let (mut entries, mut wrong) = (Vec::new(), Vec::new());
        parse(text, "dns.txt", &mut entries, &mut wrong);
        (entries, wrong)
    }

    #[test]
    fn an_entry_has_an_id_a_severity_a_file_a_comment_and_two_texts() {
        let (entries, wrong) = parsed(GOOD);
        assert_eq!(wrong, [""; 0]);
        let entry = Entry {
            id: "dns-01".into(),
            severity: "high".into(),
            file: "src/dns/mod.rs".into(),
            comment: " One, two.".into(),
            old: vec!["a <".into(), "b".into()],
            new: vec!["a".into(), String::new()],
            listed: "dns.txt:3".into(),
            line: 0,
        };
        assert_eq!(entries, [entry]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let cases = [
            (
                GOOD.replace("high ", ""),
                "dns.txt:3: not [ID] SEVERITY FILE",
            ),
            (
                GOOD.replace("high", "huge"),
                "dns.txt:3: not [ID] SEVERITY FILE",
            ),
            (
                GOOD.replace("src/", ""),
                "dns.txt:3: not [ID] SEVERITY FILE",
            ),
            (
                GOOD.replace("# One,\n# two.\n", ""),
                "dns.txt:3: there is no comment",
            ),
            (
                GOOD.replace("- a <\n-   b\n", ""),
                "dns.txt:3: there is no old text",
            ),
            (
                GOOD.replace("+ a\n+\n", ""),
                "dns.txt:3: there is no new text",
            ),
            (
                GOOD.replace("+ a\n+\n", "+ a <\n+ b\n"),
                "dns.txt:3: nothing changes",
            ),
            (
                GOOD.replace("+\n", "+\n- b\n"),
                "dns.txt:10: does not belong here",
            ),
            (
                GOOD.replace("# One", "One"),
                "dns.txt:4: does not belong here",
            ),
        ];
        for (text, complaint) in cases {
            assert_eq!(
                parsed(&text).1.first().map(String::as_str),
                Some(complaint),
                "{text}"
            );
        }
    }

    #[test]
    fn the_old_text_is_found_once_and_as_whole_words() {
        let source =
            "if a <\n        b { }\nxa < b; ba = a < bb;\na\n\n#[cfg(test)]\nmod tests {\n c = a";
        let found = |old: &[&str]| {
            let old = old.iter().map(|&line| line.to_owned()).collect();
            let entry = Entry {
                old,
                ..Entry::default()
            };
            entry.find(source).map(|place| &source[place])
        };
        assert_eq!(found(&["a <", "b"]), Ok("a <\n        b"));
        assert_eq!(found(&["ba"]), Ok("ba"));
        assert_eq!(found(&["< b;"]), Ok("< b;"));
        assert!(found(&["a <"]).unwrap_err().contains("more than once"));
        assert!(found(&["a < b"]).unwrap_err().contains("not there"));
        assert!(found(&["c = a"]).unwrap_err().contains("not there"));
    }

    #[test]
    fn the_module_is_the_directory() {
        let cases = [
            ("src/proxy/relay/flow.rs", "proxy/relay"),
            ("src/proxy/mod.rs", "proxy"),
            ("src/dns/mod.rs", "dns"),
            ("src/dial.rs", "other"),
            ("src/tls/mod.rs", "other"),
        ];
        for (file, module) in cases {
            let file = file.to_owned();
            assert_eq!(
                Entry {
                    file,
                    ..Entry::default()
                }
                .module(),
                module
            );
        }
    }
}
