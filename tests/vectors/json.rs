//! A strict JSON reader (RFC 8259) for published test vectors.
//!
//! Test code only: it panics, with what was wrong and where, on anything that is not JSON and
//! on a member that is not there, because a vector file read wrongly must not pass for a test
//! that ran. A number keeps the text it has; an object keeps the order of its members and may
//! not name one twice.

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as it is written.
    Number(String),
    /// A string, escapes undone.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a whole text.
    pub(crate) fn parse(text: &str) -> Self {
        let mut parser = Parser { text, at: 0 };
        let value = parser.value(0);
        parser.space();
        assert!(parser.at == text.len(), "{}", parser.wrong("the end"));
        value
    }

    /// The member `name` of an object, if it has one.
    pub(crate) fn find(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else {
            panic!("an object with {name:?} is wanted, not {self:?}");
        };
        members
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// The member `name` of an object.
    pub(crate) fn get(&self, name: &str) -> &Self {
        self.find(name)
            .unwrap_or_else(|| panic!("no member {name:?}"))
    }

    /// The elements of an array.
    pub(crate) fn array(&self) -> &[Self] {
        match self {
            Self::Array(elements) => elements,
            _ => panic!("an array is wanted, not {self:?}"),
        }
    }

    /// The text of a string.
    pub(crate) fn str(&self) -> &str {
        match self {
            Self::String(text) => text,
            _ => panic!("a string is wanted, not {self:?}"),
        }
    }

    /// A number that counts something.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Number(text) => text.parse().expect("a whole number"),
            _ => panic!("a number is wanted, not {self:?}"),
        }
    }

    /// The bytes that a string writes in hexadecimal.
    pub(crate) fn hex(&self) -> Vec<u8> {
        let digits: Vec<u32> = self
            .str()
            .chars()
            .map(|c| c.to_digit(16).expect("a hexadecimal digit"))
            .collect();
        assert!(digits.len().is_multiple_of(2), "an even number of digits");
        digits
            .chunks(2)
            .map(|pair| (pair[0] << 4 | pair[1]) as u8)
            .collect()
    }
}

/// Vector files are nested a few levels deep; this bounds the recursion.
const MAX_DEPTH: usize = 64;

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn wrong(&self, wanted: &str) -> String {
        let line = self.text[..self.at].matches('\n').count() + 1;
        format!("line {line}, byte {}: {wanted} is wanted", self.at)
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    /// Steps over `token` if it comes next.
    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn value(&mut self, depth: usize) -> Json {
        assert!(depth < MAX_DEPTH, "{}", self.wrong("less nesting"));
        self.space();
        if self.eat("{") {
            let mut members: Vec<(String, Json)> = Vec::new();
            self.list("}", |parser| {
                parser.space();
                let name = parser.string();
                assert!(
                    members.iter().all(|(known, _)| *known != name),
                    "{}",
                    parser.wrong("a name not used before")
                );
                parser.space();
                assert!(parser.eat(":"), "{}", parser.wrong("a colon"));
                members.push((name, parser.value(depth + 1)));
            });
            Json::Object(members)
        } else if self.eat("[") {
            let mut elements = Vec::new();
            self.list("]", |parser| elements.push(parser.value(depth + 1)));
            Json::Array(elements)
        } else if self.rest().starts_with('"') {
            Json::String(self.string())
        } else if self.eat("null") {
            Json::Null
        } else if self.eat("true") {
            Json::Bool(true)
        } else if self.eat("false") {
            Json::Bool(false)
        } else {
            self.number()
        }
    }

    /// What `element` reads, again and again with commas between, up to `end`.
    fn list(&mut self, end: &str, mut element: impl FnMut(&mut Self)) {
        self.space();
        if self.eat(end) {
            return;
        }
        loop {
            element(self);
            self.space();
            if self.eat(end) {
                return;
            }
            assert!(self.eat(","), "{}", self.wrong("a comma"));
        }
    }

    fn number(&mut self) -> Json {
        let start = self.at;
        self.eat("-");
        if !self.eat("0") {
            self.digits();
        }
        if self.eat(".") {
            self.digits();
        }
        if self.eat("e") || self.eat("E") {
            let _ = self.eat("+") || self.eat("-");
            self.digits();
        }
        Json::Number(self.text[start..self.at].to_string())
    }

    fn digits(&mut self) {
        let rest = self.rest();
        let count = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        assert!(count > 0, "{}", self.wrong("a digit"));
        self.at += count;
    }

    fn string(&mut self) -> String {
        assert!(self.eat("\""), "{}", self.wrong("a string"));
        let mut text = String::new();
        loop {
            let plain = self.rest().find(['"', '\\']).expect("a string that ends");
            let piece = &self.rest()[..plain];
            assert!(
                piece.chars().all(|c| c >= ' '),
                "{}",
                self.wrong("an escape for a control character")
            );
            text.push_str(piece);
            self.at += plain;
            if self.eat("\"") {
                return text;
            }
            text.push(self.escape());
        }
    }

    fn escape(&mut self) -> char {
        const SHORT: [(&str, char); 8] = [
            ("\\\"", '"'),
            ("\\\\", '\\'),
            ("\\/", '/'),
            ("\\b", '\u{8}'),
            ("\\f", '\u{c}'),
            ("\\n", '\n'),
            ("\\r", '\r'),
            ("\\t", '\t'),
        ];
        if let Some((_, c)) = SHORT.iter().find(|(written, _)| self.eat(written)) {
            return *c;
        }
        // One unit of UTF-16, or two that make a pair.
        let first = self.unit();
        let units = if (0xd800..0xdc00).contains(&first) {
            vec![first, self.unit()]
        } else {
            vec![first]
        };
        let mut decoded = char::decode_utf16(units);
        decoded
            .next()
            .and_then(Result::ok)
            .unwrap_or_else(|| panic!("{}", self.wrong("a character")))
    }

    fn unit(&mut self) -> u16 {
        assert!(self.eat("\\u"), "{}", self.wrong("a known escape"));
        let digits = self.rest().get(..4).unwrap_or_default();
        assert!(
            digits.len() == 4 && digits.chars().all(|c| c.is_ascii_hexdigit()),
            "{}",
            self.wrong("four hexadecimal digits")
        );
        let unit = u16::from_str_radix(digits, 16).expect("four hexadecimal digits");
        self.at += 4;
        unit
    }
}

#[test]
fn reads_json() {
    let value = Json::parse(r#" {"a": [1, -0.5e+3, true, null, []], "b": {"c": "0aFF"}} "#);
    assert_eq!(value.get("a").array()[0].count(), 1);
    assert_eq!(
        value.get("a").array()[1],
        Json::Number("-0.5e+3".to_string())
    );
    assert_eq!(value.get("a").array().len(), 5);
    assert_eq!(value.get("b").get("c").hex(), [0x0a, 0xff]);
    assert_eq!(value.find("d"), None);
    assert_eq!(
        Json::parse(r#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é""#).str(),
        "\"\\/\u{8}\u{c}\n\r\té😀é"
    );
}

#[test]
fn refuses_what_is_not_json() {
    for text in [
        "",
        "{",
        "[1,]",
        "[1 2]",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{a:1}",
        "{\"a\":1,\"a\":2}",
        "01",
        "-",
        "1.",
        "1e",
        ".5",
        "+1",
        "nul",
        "tru e",
        "\"",
        "\"\n\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u+123\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "1 2",
        "[1]]",
    ] {
        let outcome = std::panic::catch_unwind(|| Json::parse(text));
        assert!(outcome.is_err(), "{text:?} was read as {outcome:?}");
    }
    let deep = "[".repeat(100_000);
    assert!(std::panic::catch_unwind(|| Json::parse(&deep)).is_err());
}
