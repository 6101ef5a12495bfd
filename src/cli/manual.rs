//! The commands, and the source of the manual page etcd-gateway(1).
//!
//! Text that the help shares with the manual page is in the page, in Markdown; [`COMMANDS`] and the table of flags add
//! the rest to both.

/// The page. `<!-- commands -->` and `<!-- options -->` stand for the rows of the two tables.
pub(super) const PAGE: &str = include_str!("../deploy/man/etcd-gateway.1.md");

/// The text of a section of the page.
pub(super) fn section(name: &str) -> &'static str {
    let (_, rest) = PAGE
        .split_once(&format!("\n## {name}\n\n"))
        .unwrap_or_default();
    rest.split("\n\n## ").next().unwrap_or_default()
}

pub(super) struct Command {
    pub(super) name: &'static str,
    /// What follows the name.
    pub(super) takes: &'static str,
    /// Its purpose, in a few words.
    pub(super) doc_short: &'static str,
    /// The rest, in sentences.
    pub(super) doc_long: &'static str,
}

/// The commands, in the order of the help.
pub(super) static COMMANDS: [Command; 6] = [
    Command {
        name: "start",
        takes: "[flags]",
        doc_short: "start the gateway",
        doc_long: "gateway start is the same, as in etcd. It runs in the foreground until a signal ends it.",
    },
    Command {
        name: "check",
        takes: "[flags]",
        doc_short: "check what start would find, and exit",
        doc_long: "Accepts the flags of start. It resolves all names, dials every endpoint, authenticates it and checks \
            its health as start would, and prints one row per endpoint with a verdict below. It does not listen, so it can \
            run beside a gateway that serves. The exit status is 0 if start would serve.",
    },
    Command {
        name: "config",
        takes: "[flags]",
        doc_short: "print the settings and their origins",
        doc_long: "Accepts the flags of start. It prints each setting with its value and its origin: the command line, \
            the environment, a line of --config-file, or the default.",
    },
    Command {
        name: "generate",
        takes: "TEXT [NAME]",
        doc_short: "print a manual, completion or unit",
        doc_long: "TEXT is man, bash, zsh, fish, unit, socket or settings. man may be followed by the NAME of a page: \
            files, behaviour, operation, metrics, logs or security.",
    },
    Command {
        name: "help",
        takes: "[COMMAND]",
        doc_short: "print the help of one command, or of all",
        doc_long: "-h prints the short form, --help the long one.",
    },
    Command {
        name: "version",
        takes: "",
        doc_short: "print the version",
        doc_long: "",
    },
];

/// The command of this name.
pub(super) fn command(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

/// The names of all commands.
pub(super) fn command_names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|command| command.name)
}

impl Command {
    /// The command as it is typed.
    pub(super) fn usage(&self) -> String {
        format!("{} {}", self.name, self.takes)
            .trim_end()
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_end_where_the_next_begins() {
        for name in ["Description", "Options", "Exit status", "Examples"] {
            let text = section(name);
            assert!(!text.is_empty() && !text.contains("## "), "{name}: {text}");
        }
        assert_eq!(section("Nothing"), "");
    }
}
