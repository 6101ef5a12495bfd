//! "Did you mean": the known name nearest to a mistyped one.
//!
//! Distance is Damerau-Levenshtein in the restricted form (insert, delete, replace, swap
//! two neighbours; each place edited once). Work is bounded: a text longer than a
//! name by more than the tolerance is never compared with it.

/// The most edits for a long name; fewer are allowed for short names.
const EDITS_MAX: usize = 3;
/// The shortest beginning of a name that matches the name (`--retry`).
const PREFIX_MIN: usize = 3;

/// The name in `known` that `typed` was probably meant to be. Case is ignored.
pub(super) fn nearest<'a>(
    typed: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let mut best: Option<(usize, &str)> = None;
    for name in known {
        // With more than a third of the letters wrong it is another word.
        let tolerance = (name.len() / 3).clamp(1, EDITS_MAX);
        if typed.len() > name.len() + tolerance {
            continue;
        }
        let typed = typed.to_ascii_lowercase();
        let wanted = name.to_ascii_lowercase();
        let edits = if typed.len() >= PREFIX_MIN && wanted.starts_with(&typed) {
            0
        } else {
            distance(typed.as_bytes(), wanted.as_bytes())
        };
        if edits <= tolerance && best.is_none_or(|(least, _)| edits < least) {
            best = Some((edits, name));
        }
    }
    best.map(|(_, name)| name)
}

/// The edits between two texts: `edits[i][j]` is for the first `i` bytes of one and the first `j` of the other.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut edits = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            if i == 0 || j == 0 {
                edits[i][j] = i + j;
                continue;
            }
            let replaced = edits[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            edits[i][j] = replaced.min(edits[i - 1][j] + 1).min(edits[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                edits[i][j] = edits[i][j].min(edits[i - 2][j - 2] + 1);
            }
        }
    }
    edits[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        const CASES: &[(&str, &str, usize)] = &[
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "abc", 0),
            ("abc", "abd", 1),
            ("abc", "acb", 1),
            ("abcd", "badc", 2),
            // Restricted: no edit between two swapped letters (unrestricted would say 2).
            ("ca", "abc", 3),
            ("kitten", "sitting", 3),
        ];
        for &(a, b, expected) in CASES {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
            assert_eq!(distance(b.as_bytes(), a.as_bytes()), expected, "{b} {a}");
        }
    }

    #[test]
    fn nearest_name() {
        const KNOWN: [&str; 4] = ["endpoints", "listen-addr", "retry-delay", "start"];
        const CASES: &[(&str, Option<&str>)] = &[
            ("endpoint", Some("endpoints")),
            ("Endpoints", Some("endpoints")),
            ("enpdoints", Some("endpoints")),
            ("listen_addr", Some("listen-addr")),
            ("listen-address", Some("listen-addr")),
            ("listen", Some("listen-addr")),
            ("retry", Some("retry-delay")),
            ("strat", Some("start")),
            ("st", None),
            ("", None),
            ("e", None),
            ("data-dir", None),
            ("stop", None),
            ("\u{fffd}\u{fffd}", None),
        ];
        for &(typed, expected) in CASES {
            assert_eq!(nearest(typed, KNOWN), expected, "{typed}");
        }
        assert_eq!(nearest(&"endpoints".repeat(100_000), KNOWN), None);
    }
}
