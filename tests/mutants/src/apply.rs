//! All changes in one text, each behind a condition of its own.

use std::ops::Range;

/// New text for a part of a source file, chosen at run time by the number.
#[derive(Debug, Clone)]
pub struct Change {
    pub number: usize,
    pub place: Range<usize>,
    pub new: String,
}

/// The changed text, and which lines of it come of which change (the first line is 1).
#[derive(Debug, Default)]
pub struct Applied {
    pub text: String,
    pub lines: Vec<(Range<usize>, usize)>,
}

/// Applies changes, which may be nested and may have the same place. Those that overlap in part are an error: their
/// numbers.
pub fn apply(source: &str, mut changes: Vec<Change>) -> Result<Applied, (usize, usize)> {
    changes.sort_by_key(|change| (change.place.start, usize::MAX - change.place.end));
    let mut around: Vec<&Change> = Vec::new();
    for change in &changes {
        around.retain(|outer| outer.place.end > change.place.start);
        if let Some(outer) = around
            .last()
            .filter(|outer| outer.place.end < change.place.end)
        {
            return Err((outer.number, change.number));
        }
        around.push(change);
    }
    let mut applied = Applied::default();
    applied.write(source, 0..source.len(), &changes);
    Ok(applied)
}

impl Applied {
    /// Writes a part of the source, with the changes that are within it.
    fn write(&mut self, source: &str, part: Range<usize>, mut changes: &[Change]) {
        let mut at = part.start;
        while let Some(first) = changes.first() {
            let place = first.place.clone();
            let same = changes.iter().take_while(|c| c.place == place).count();
            let within = changes
                .iter()
                .take_while(|c| c.place.start < place.end)
                .count();
            self.text.push_str(&source[at..place.start]);
            let statement = source[place.clone()].ends_with([';', '}']);
            let start = self.line();
            self.text.push_str(if statement { "" } else { "(" });
            for change in &changes[..same] {
                let Change { number, new, .. } = change;
                let condition = format!("if crate::mutant::is({number}) {{ {new}\n}} else ");
                self.text.push_str(&condition);
            }
            self.text.push_str("{ ");
            self.write(source, place.clone(), &changes[same..within]);
            self.text.push_str(if statement { "\n}" } else { "\n})" });
            let numbers = changes[..same].iter().map(|change| change.number);
            let lines = start..self.line() + 1;
            self.lines
                .extend(numbers.map(|number| (lines.clone(), number)));
            (at, changes) = (place.end, &changes[within..]);
        }
        self.text.push_str(&source[at..part.end]);
    }

    fn line(&self) -> usize {
        1 + self.text.matches('\n').count()
    }

    /// The changes that a line comes of: those of the smallest place that has it.
    pub fn at(&self, line: usize) -> Vec<usize> {
        let around = self.lines.iter().filter(|(lines, _)| lines.contains(&line));
        let smallest = around.clone().map(|(lines, _)| lines.len()).min();
        around
            .filter(|(lines, _)| Some(lines.len()) == smallest)
            .map(|&(_, number)| number)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(number: usize, source: &str, old: &str, new: &str) -> Change {
        let start = source.find(old).unwrap();
        let place = start..start + old.len();
        Change {
            number,
            place,
            new: new.to_owned(),
        }
    }

    /// With every run of white space as one space.
    fn applied(source: &str, changes: &[(&str, &str)]) -> String {
        let changes = changes.iter().enumerate();
        let changes = changes.map(|(number, (old, new))| change(number, source, old, new));
        let text = apply(source, changes.collect()).unwrap().text;
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn statements_and_expressions_are_conditional() {
        let cases: [(&[(&str, &str)], &str); 5] = [
            (&[], "if a < b { go(1); }"),
            (
                &[("a < b", "a > b")],
                "if (if M(0) { a > b } else { a < b }) { go(1); }",
            ),
            (
                &[("go(1);", "")],
                "if a < b { if M(0) { } else { go(1); } }",
            ),
            (
                &[("go(1);", ""), ("1", "2"), ("go(1);", "no();")],
                "if a < b { if M(0) { } else if M(2) { no(); } else { go((if M(1) { 2 } else { 1 })); } }",
            ),
            (
                &[("b", "c"), ("if a < b { go(1); }", ""), ("a < b", "b < a")],
                "if M(1) { } else { if (if M(2) { b < a } else { a < (if M(0) { c } else { b }) }) { go(1); } }",
            ),
        ];
        for (changes, expected) in cases {
            let expected = expected.replace('M', "crate::mutant::is");
            assert_eq!(applied("if a < b { go(1); }", changes), expected);
        }
    }

    #[test]
    fn parts_that_overlap_are_an_error() {
        let source = "a + b + c";
        let changes = |second| {
            vec![
                change(4, source, "a + b", "a"),
                change(9, source, second, "b"),
            ]
        };
        assert_eq!(apply(source, changes("b + c")).unwrap_err(), (4, 9));
        for apart in ["+ c", "+ b", "a", "a + b"] {
            assert!(apply(source, changes(apart)).is_ok(), "{apart}");
        }
    }

    #[test]
    fn a_line_tells_its_changes() {
        let source = "start();\na(b);\nend();\n";
        let changes = [("a(b);", "x();"), ("a(b);", "y();"), ("b", "c")];
        let changes = changes.iter().enumerate();
        let changes = changes.map(|(n, (old, new))| change(n, source, old, new));
        let applied = apply(source, changes.collect()).unwrap();
        let found = |what: &str| {
            let text = &applied.text;
            applied.at(1 + text[..text.find(what).unwrap()].matches('\n').count())
        };
        assert_eq!(found("start"), []);
        assert_eq!(found("x()"), [0, 1]);
        assert_eq!(found("c\n"), [2]);
        assert_eq!(found("end"), []);
    }
}
