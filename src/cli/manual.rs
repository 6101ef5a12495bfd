//! The commands, and the source of the manual page etcd-gateway(1).
//!
//! What the help and the manual page both say in prose stands in the page, in Markdown; both are completed from
//! [`COMMANDS`] and from the table of flags.

/// The page. `<!-- commands -->` and `<!-- options -->` stand for the rows of the two tables.
pub(super) const PAGE: &str = include_str!("../deploy/man/etcd-gateway.1.md");

/// The text of a section of the page.
pub(super) fn section(name: &str) -> &'static str {
    let (_, rest) = PAGE
        .split_once(&format!("\n## {name}\n\n"))
        .unwrap_or_default();
    rest.split("\n\n## ").next().unwrap_or_default()
}

/// A command.
pub(super) struct Command {
    /// The word for it.
    pub(super) name: &'static str,
    /// What follows the word.
    pub(super) takes: &'static str,
    /// What it does, in a few words.
    pub(super) doc_short: &'static str,
    /// What else there is to know of it, in sentences.
    pub(super) doc_long: &'static str,
}

/// The commands, in the order of the help.
pub(super) static COMMANDS: [Command; 6] = [
    Command {
        name: "start",
        takes: "[flags]",
        doc_short: "start the gateway",
        doc_long: "gateway start, in the words of etcd, is the same. It serves until a signal ends it, and stays in \
            the foreground.",
    },
    Command {
        name: "check",
        takes: "[flags]",
        doc_short: "look at what start would find, and exit",
        doc_long: "Takes the flags of start. Names are resolved, every endpoint is dialled, authenticated and asked \
            for its health as start would do it, and one row per endpoint is printed, with a verdict below. Nothing \
            is listened on, so it can be run beside a gateway that serves. The exit status is 0 if start would \
            serve.",
    },
    Command {
        name: "config",
        takes: "[flags]",
        doc_short: "print the settings and their origins",
        doc_long: "Takes the flags of start. Each setting is printed with its value and where that came from: the \
            command line, the environment, a line of --config-file, or the default.",
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
        doc_short: "print the help, of one command or of all",
        doc_long: "-h prints the short form of it, --help the long one.",
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
    /// How it is typed.
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
