//! What many answers of one member amount to: pure state, without a clock.
//!
//! One failure may be a pause of the garbage collector or an election, so an opinion changes only
//! after two answers in a row that speak against it. What fails on this host changes nothing.

use super::Failure;

/// So many answers in a row that speak against an opinion change it.
const IN_A_ROW: u32 = 2;

/// The opinion of one member; a member is well until it fails.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    doubts: bool,
    /// Answers in a row that speak against the opinion.
    contrary: u32,
}

/// How an opinion has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// The member is no longer known to be well.
    Doubted,
    /// It is well again.
    Returned,
}

impl Judge {
    /// Whether the member is not known to be well.
    pub(crate) fn doubts(&self) -> bool {
        self.doubts
    }

    /// Takes the next answer into account; says whether the opinion has changed by it.
    pub(crate) fn feed(&mut self, answer: Result<(), &Failure>) -> Option<Change> {
        let is_well = match answer {
            Ok(()) => true,
            Err(failure) if failure.is_local() => return None,
            Err(_) => false,
        };
        if is_well != self.doubts {
            self.contrary = 0;
            return None;
        }
        self.contrary += 1;
        if self.contrary < IN_A_ROW {
            return None;
        }
        self.contrary = 0;
        self.doubts = !self.doubts;
        Some(if self.doubts {
            Change::Doubted
        } else {
            Change::Returned
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::ask::tests::{local_failure, members_failure};

    #[test]
    fn two_answers_in_a_row_change_an_opinion() {
        let (members, local) = (members_failure(), local_failure());
        // `f` fails, `.` is well, `l` fails on this host; `D` and `R` are what changes with them.
        let cases = [
            ("......", "      "),
            ("f.f.f.f", "       "),
            ("ff", " D"),
            (".ff", "  D"),
            ("fffff", " D   "),
            ("ff..", " D R"),
            ("ff.f.f..", " D     R"),
            ("ff....ff", " D R   D"),
            ("f.ff", "   D"),
            ("lllll", "     "),
            // It neither counts nor breaks a row.
            ("flf", "  D"),
            ("fl.lf", "     "),
            ("ffl.l.", " D   R"),
            ("ff.l.", " D  R"),
        ];
        for (answers, expected) in cases {
            let mut judge = Judge::default();
            let changes: String = answers
                .chars()
                .map(|answer| match answer {
                    'f' => judge.feed(Err(&members)),
                    'l' => judge.feed(Err(&local)),
                    _ => judge.feed(Ok(())),
                })
                .map(|change| match change {
                    Some(Change::Doubted) => 'D',
                    Some(Change::Returned) => 'R',
                    None => ' ',
                })
                .collect();
            assert_eq!(changes, expected, "{answers}");
        }
    }
}
