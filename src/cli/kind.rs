//! The kinds of flags: which value follows, and which commands they affect. Help, manual and completions use them.

/// The value of a flag. The first text is its name in the help; the words are values with a special meaning.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Takes {
    /// No value: alone it means `true`; `=true` or `=false` may be attached.
    Switch,
    /// One of these words.
    Choice(&'static str, &'static [&'static str]),
    /// A path, or one of these words.
    Path(&'static str, &'static [&'static str]),
    /// Another value, or one of these words; the last one counts.
    Value(&'static str, &'static [&'static str]),
    /// A comma-separated list; several lists add up.
    List(&'static str),
}

impl Takes {
    /// The name of the value; `None` for a switch.
    pub(super) fn value_name(self) -> Option<&'static str> {
        match self {
            Self::Switch => None,
            Self::Choice(name, _)
            | Self::Path(name, _)
            | Self::Value(name, _)
            | Self::List(name) => Some(name),
        }
    }

    /// The values with a special meaning.
    pub(super) fn words(self) -> &'static [&'static str] {
        match self {
            Self::Choice(_, words) | Self::Path(_, words) | Self::Value(_, words) => words,
            Self::Switch | Self::List(_) => &[],
        }
    }
}

/// The commands that a flag affects. `config` prints every setting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scope {
    /// Only a gateway that serves.
    Serving,
    /// The preparations for serving, which `check` makes too.
    Setup,
    /// The output of `check` and `config`.
    Output,
    /// Every command.
    Any,
}

impl Scope {
    /// Whether the flag has an effect on this command.
    pub(super) fn has(self, command: &str) -> bool {
        match self {
            Self::Serving => ["start", "config"].contains(&command),
            Self::Setup => ["start", "check", "config"].contains(&command),
            Self::Output => ["check", "config"].contains(&command),
            Self::Any => true,
        }
    }
}

/// The words of a table.
pub(super) const fn words<T: Copy, const N: usize>(
    table: [(&'static str, T); N],
) -> [&'static str; N] {
    let mut words = [""; N];
    let mut at = 0;
    while at < N {
        words[at] = table[at].0;
        at += 1;
    }
    words
}
