//! README and the pages of the manual against the program: commands, variables and messages in them exist, and no
//! message that needs action is missing.

use std::path::Path;

use crate::support::Launch;
use crate::support::sources::all_sources;

/// README, the pages and what else there is to read, by path.
const DOCUMENTS: [&str; 11] = [
    "README.md",
    "src/deploy/building.md",
    "src/deploy/man/etcd-gateway.5.md",
    "src/deploy/man/etcd-gateway-behaviour.7.md",
    "src/deploy/man/etcd-gateway-operation.7.md",
    "src/deploy/man/etcd-gateway-metrics.7.md",
    LOGS,
    "src/deploy/man/etcd-gateway-security.7.md",
    TESTS,
    "tests/bench/README.md",
    "src/deploy/man/etcd-gateway.1.md",
];
/// The page of the tests.
const TESTS: &str = "tests/README.md";
/// The page of messages.
const LOGS: &str = "src/deploy/man/etcd-gateway-logs.7.md";

fn read(path: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A newcomer reads it to its end.
#[test]
fn readme_is_short() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 320, "{lines} lines");
}

#[test]
fn every_module_of_the_suite_is_in_the_page_of_the_tests() {
    let page = read(TESTS);
    let modules = read("tests/suite/main.rs");
    let modules = modules
        .lines()
        .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'))
        .filter(|module| *module != "support");
    let missing: Vec<&str> = modules
        .filter(|module| !page.contains(&format!("\n| `{module}` |")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// What is built into the program and what is on the disk are the same pages.
#[test]
fn every_page_is_generated() {
    for (name, path) in [
        "files",
        "behaviour",
        "operation",
        "metrics",
        "logs",
        "security",
    ]
    .iter()
    .zip(DOCUMENTS.iter().filter(|path| path.contains("/man/")))
    {
        let outcome = Launch::exactly(&["generate", "man", name]).run();
        let title = read(path);
        let (title, what) = title
            .lines()
            .next()
            .and_then(|l| l.split_once(": "))
            .expect("a title");
        let what = what.replace('-', "\\-");
        assert!(outcome.stdout.contains(&what), "{title}");
    }
}

/// The lines of one section, up to the next of the same rank.
fn section<'a>(readme: &'a str, title: &str) -> &'a str {
    let (_, after) = readme
        .split_once(&format!("\n## {title}\n"))
        .unwrap_or_else(|| panic!("there is no section {title}"));
    after.split("\n## ").next().unwrap_or_default()
}

/// What stands between grave accents.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Flags and their values are read before --help is obeyed, so nothing has to be started.
#[test]
fn every_command_is_understood() {
    let mut seen = 0;
    for document in DOCUMENTS {
        let text = read(document).replace("\\\n", " ");
        for line in text.lines() {
            let command = line.split('#').next().unwrap_or_default();
            let command = command.split(" && ").next().unwrap_or_default();
            let words: Vec<&str> = command.split_whitespace().collect();
            let Some(("etcd-gateway", args)) = words
                .split_first()
                .map(|(program, args)| (program.rsplit('/').next().unwrap_or_default(), args))
            else {
                continue;
            };
            seen += 1;
            let outcome = Launch::exactly(&[args, &["--help"]].concat()).run();
            assert_eq!(outcome.code, Some(0), "{document}: {line}: {outcome:?}");
        }
    }
    assert!(seen >= 15, "{seen} commands are shown");
}

/// What a heading is linked to by: lower case, hyphens for blanks, and no punctuation.
fn anchor(heading: &str) -> String {
    let letters = heading.trim_start_matches('#').trim().chars();
    letters
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| {
            if c == ' ' {
                '-'
            } else {
                c.to_ascii_lowercase()
            }
        })
        .collect()
}

fn anchors(text: &str) -> Vec<String> {
    let mut fenced = false;
    let headings = text.lines().filter(|line| {
        fenced ^= line.trim_start().starts_with("```");
        !fenced && line.starts_with('#')
    });
    headings.map(anchor).collect()
}

/// To a heading of the same document or of another, or to a file.
#[test]
fn every_link_leads_somewhere() {
    let mut seen = 0;
    for document in DOCUMENTS {
        let text = read(document);
        let links = text.split("](").skip(1);
        for link in links.filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("https://") {
                continue;
            }
            seen += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let file = match file {
                "" => document.to_owned(),
                file => {
                    let directory = Path::new(document).parent().unwrap_or(Path::new(""));
                    directory.join(file).to_string_lossy().into_owned()
                }
            };
            let there = Path::new(env!("CARGO_MANIFEST_DIR")).join(&file).exists();
            assert!(there, "{document}: {link}");
            let known = anchor.is_empty() || anchors(&read(&file)).iter().any(|a| a == anchor);
            assert!(known, "{document}: {link}");
        }
    }
    assert!(seen > 30, "{seen} links");
}

#[test]
fn every_variable_exists() {
    let help = Launch::exactly(&["help"]).run().stdout;
    // ETCD_GATEWAY_BIN is the tests' own.
    for document in DOCUMENTS.iter().filter(|document| **document != TESTS) {
        let text = read(document);
        let names = text.match_indices("ETCD_GATEWAY_").map(|(at, _)| {
            let rest = &text[at..];
            let end = rest.find(|c: char| !c.is_ascii_uppercase() && c != '_');
            &rest[..end.unwrap_or(rest.len())]
        });
        for name in names.filter(|name| *name != "ETCD_GATEWAY_") {
            assert!(
                help.contains(&format!("Variable: {name}\n")),
                "{document}: {name}"
            );
        }
    }
}

/// Every message at the levels of warning and error that is a literal; those that are not name a flag or a file.
#[test]
fn every_message_that_needs_action_is_explained() {
    let page = read(LOGS);
    let explained = quoted(section(&page, "Messages"));
    let code = all_sources();
    let mut seen = 0;
    for call in ["log::warn(", "log::error(", "troubles.add("] {
        for (at, _) in code.match_indices(call) {
            // The first argument is where it comes from, the second what happened.
            let arguments = code[at + call.len()..].splitn(3, ',');
            let message = arguments.skip(1).map(str::trim).next().unwrap_or_default();
            let Some(message) = message.strip_prefix('"') else {
                continue;
            };
            // It may have commas in it.
            let from = code[at..].find(message).map_or(at, |found| at + found);
            let message = code[from..].split('"').next().unwrap_or_default();
            assert!(explained.contains(&message), "{message:?} is not in {LOGS}");
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen} messages found in the sources");
}

/// What the tables quote of this program is what it says; an ellipsis stands for what differs.
#[test]
fn quoted_messages_exist() {
    /// Words of the operating system's, and of other programs.
    const OTHERS: [&str; 3] = [
        "address already in use",
        "permission denied",
        "resource temporarily unavailable",
    ];
    let page = read(LOGS);
    let code = all_sources();
    let logs = section(&page, "Messages").lines();
    let said = section(&page, "Troubleshooting").lines().filter(|row| {
        let place = row.split('|').nth(2).unwrap_or_default();
        ["start", "lookup", "authentication"]
            .iter()
            .any(|word| place.contains(word))
    });
    let mut seen = 0;
    for row in logs.chain(said).filter(|row| row.starts_with("| `")) {
        let first = row.split('|').nth(1).unwrap_or_default();
        for part in quoted(first).iter().flat_map(|text| text.split('…')) {
            let part = OTHERS
                .iter()
                .fold(part, |part, other| part.trim_end_matches(other));
            let part = part.trim_matches([' ', '?', ',', ':']);
            assert!(
                code.contains(part),
                "{part:?} is nowhere in the sources: {row}"
            );
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen} messages quoted");
}
