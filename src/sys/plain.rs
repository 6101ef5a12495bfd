//! Errors of the operating system as people read them.

use std::fmt::{self, Display};
use std::io;

/// An operating system's error as Go words it: lower case, without its number. Others as they are:
/// they may begin with a name.
pub(crate) struct Plain<'a>(pub(crate) &'a io::Error);

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.raw_os_error().is_none() {
            return self.0.fmt(f);
        }
        let text = self.0.to_string();
        let text = text
            .split_once(" (os error")
            .map_or(&*text, |(text, _)| text);
        let mut characters = text.chars();
        match characters.next() {
            Some(first) => write!(f, "{}{}", first.to_ascii_lowercase(), characters.as_str()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_systems_own_words_are_changed() {
        let cases = [
            (io::Error::from_raw_os_error(111), "connection refused"),
            (io::Error::from_raw_os_error(28), "no space left on device"),
            (io::Error::other("Frob: not found"), "Frob: not found"),
        ];
        for (error, text) in cases {
            assert_eq!(Plain(&error).to_string(), text);
        }
    }
}
