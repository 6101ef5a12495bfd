//! README against the program: commands, variables and messages in it exist, and no message that needs action is
//! missing.

use crate::support::Launch;
use crate::support::sources::all_sources;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");

fn readme() -> String {
    std::fs::read_to_string(README).expect("read README.md")
}

/// The lines of one section, up to the next of the same rank.
fn section<'a>(readme: &'a str, title: &str) -> &'a str {
    let (_, after) = readme
        .split_once(&format!("\n## {title}\n"))
        .unwrap_or_else(|| panic!("README.md has no section {title}"));
    after.split("\n## ").next().unwrap_or_default()
}

/// What stands between grave accents.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Flags and their values are read before --help is obeyed, so nothing has to be started.
#[test]
fn every_command_is_understood() {
    let readme = readme().replace("\\\n", " ");
    let mut seen = 0;
    for line in readme.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(("etcd-gateway", args)) = words
            .split_first()
            .map(|(program, args)| (program.rsplit('/').next().unwrap_or_default(), args))
        else {
            continue;
        };
        seen += 1;
        let outcome = Launch::exactly(&[args, &["--help"]].concat()).run();
        assert_eq!(outcome.code, Some(0), "{line}: {outcome:?}");
    }
    assert!(seen >= 3, "README.md shows {seen} commands");
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

#[test]
fn every_link_within_leads_somewhere() {
    let readme = readme();
    let mut fenced = false;
    let headings = readme.lines().filter(|line| {
        fenced ^= line.trim_start().starts_with("```");
        !fenced && line.starts_with('#')
    });
    let anchors: Vec<String> = headings.map(anchor).collect();
    let links: Vec<&str> = readme
        .split("](#")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .collect();
    assert!(links.len() > 5, "README.md has {} links", links.len());
    for link in links {
        assert!(anchors.iter().any(|anchor| anchor == link), "#{link}");
    }
}

#[test]
fn every_variable_exists() {
    let help = Launch::exactly(&["help"]).run().stdout;
    let readme = readme();
    let names = readme.match_indices("ETCD_GATEWAY_").map(|(at, _)| {
        let rest = &readme[at..];
        let end = rest.find(|c: char| !c.is_ascii_uppercase() && c != '_');
        &rest[..end.unwrap_or(rest.len())]
    });
    for name in names.filter(|name| *name != "ETCD_GATEWAY_") {
        assert!(help.contains(&format!("Variable: {name}\n")), "{name}");
    }
}

/// Every message at the levels of warning and error that is a literal; those that are not name a flag or a file.
#[test]
fn every_message_that_needs_action_is_explained() {
    let readme = readme();
    let explained = quoted(section(&readme, "Logs"));
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
            assert!(
                explained.contains(&message),
                "{message:?} is not in README.md"
            );
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
    let readme = readme();
    let code = all_sources();
    let logs = section(&readme, "Logs").lines();
    let said = section(&readme, "Troubleshooting").lines().filter(|row| {
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
