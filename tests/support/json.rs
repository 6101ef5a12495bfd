//! The one JSON reader of the tests: RFC 8259 to the letter, so that what it accepts of the gateway's output is JSON.
//!
//! It refuses duplicate members, which the RFC only advises against, and nesting deeper than any file read here. The
//! suite, the published vectors and the benchmark each add the accessors that they need.

/// A JSON value. The members of an object keep their order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a whole text: one value, and white space around it.
    pub(crate) fn parse(text: &str) -> Result<Json, String> {
        let mut parser = Parser { text, at: 0 };
        let value = parser.value(0)?;
        parser.skip_space();
        if parser.at == text.len() {
            Ok(value)
        } else {
            Err(parser.expected("the end"))
        }
    }

    /// The member of an object, if this is one and has it.
    pub(crate) fn get(&self, name: &str) -> Option<&Json> {
        let Json::Object(members) = self else {
            return None;
        };
        let member = members.iter().find(|(key, _)| key == name);
        member.map(|(_, value)| value)
    }
}

/// Bounds the recursion.
const MAX_DEPTH: usize = 64;

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn expected(&self, what: &str) -> String {
        let line = self.text[..self.at].matches('\n').count() + 1;
        let here: String = self.rest().chars().take(20).collect();
        format!("not JSON: line {line}: {what} expected at {here:?}")
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn skip_space(&mut self) {
        self.skip(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
    }

    /// Steps over characters of a kind; the number of their bytes.
    fn skip(&mut self, kind: impl Fn(char) -> bool) -> usize {
        let rest = self.rest();
        let count = rest.len() - rest.trim_start_matches(kind).len();
        self.at += count;
        count
    }

    /// Steps over `token` if it comes next.
    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn need(&mut self, token: &str) -> Result<(), String> {
        if self.take(token) {
            Ok(())
        } else {
            Err(self.expected(&format!("{token:?}")))
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json, String> {
        if depth > MAX_DEPTH {
            return Err(self.expected("less nesting"));
        }
        self.skip_space();
        match self.rest().chars().next() {
            Some('{') => self.object(depth),
            Some('[') => {
                let mut items = Vec::new();
                self.separated("[", "]", |parser| {
                    items.push(parser.value(depth + 1)?);
                    Ok(())
                })?;
                Ok(Json::List(items))
            }
            Some('"') => self.string().map(Json::Text),
            _ if self.take("null") => Ok(Json::Null),
            _ if self.take("true") => Ok(Json::Bool(true)),
            _ if self.take("false") => Ok(Json::Bool(false)),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, String> {
        let mut members: Vec<(String, Json)> = Vec::new();
        self.separated("{", "}", |parser| {
            parser.skip_space();
            let name = parser.string()?;
            if members.iter().any(|(known, _)| *known == name) {
                return Err(parser.expected(&format!("a name other than {name:?} before this")));
            }
            parser.skip_space();
            parser.need(":")?;
            members.push((name, parser.value(depth + 1)?));
            Ok(())
        })?;
        Ok(Json::Object(members))
    }

    /// Items with commas between them, from `start` to `end`.
    fn separated(
        &mut self,
        start: &str,
        end: &str,
        mut item: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        self.need(start)?;
        self.skip_space();
        if self.take(end) {
            return Ok(());
        }
        loop {
            item(self)?;
            self.skip_space();
            if self.take(end) {
                return Ok(());
            }
            self.need(",")?;
        }
    }

    fn number(&mut self) -> Result<Json, String> {
        let start = self.at;
        self.take("-");
        if !self.take("0") {
            self.digits()?;
        }
        if self.take(".") {
            self.digits()?;
        }
        if self.take("e") || self.take("E") {
            let _ = self.take("+") || self.take("-");
            self.digits()?;
        }
        let value = self.text[start..self.at].parse();
        value
            .map(Json::Number)
            .map_err(|_| self.expected("a number"))
    }

    fn digits(&mut self) -> Result<(), String> {
        match self.skip(|c| c.is_ascii_digit()) {
            0 => Err(self.expected("a value or a digit")),
            _ => Ok(()),
        }
    }

    fn string(&mut self) -> Result<String, String> {
        self.need("\"")?;
        let mut text = String::new();
        loop {
            let start = self.at;
            self.skip(|c| c >= ' ' && c != '"' && c != '\\');
            text.push_str(&self.text[start..self.at]);
            if self.take("\"") {
                return Ok(text);
            }
            text.push(self.escape()?);
        }
    }

    fn escape(&mut self) -> Result<char, String> {
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
        if let Some((_, meant)) = SHORT.iter().find(|(written, _)| self.take(written)) {
            return Ok(*meant);
        }
        // One unit of UTF-16, or two that make a pair.
        let mut units = vec![self.unit()?];
        if (0xd800..0xdc00).contains(&units[0]) {
            units.push(self.unit()?);
        }
        let decoded = char::decode_utf16(units).next();
        decoded
            .and_then(Result::ok)
            .ok_or_else(|| self.expected("a character before this"))
    }

    fn unit(&mut self) -> Result<u16, String> {
        self.need("\\u")?;
        let digits = self.rest().get(..4).unwrap_or_default();
        if digits.len() != 4 || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(self.expected("four hexadecimal digits"));
        }
        let unit = u16::from_str_radix(digits, 16).expect("four hexadecimal digits");
        self.at += 4;
        Ok(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_read() {
        let value = Json::parse(r#" {"a": [1, -0.5e+3, true, null, []], "b": {"c": "0aFF"}} "#);
        let value = value.expect("JSON");
        let list = [1.0, -500.0].map(Json::Number).into_iter();
        let rest = [Json::Bool(true), Json::Null, Json::List(Vec::new())];
        let list = Json::List(list.chain(rest).collect());
        assert_eq!(value.get("a"), Some(&list));
        let text = value.get("b").and_then(|inner| inner.get("c"));
        assert_eq!(text, Some(&Json::Text("0aFF".to_owned())));
        assert_eq!(value.get("d"), None);
        assert_eq!(list.get("a"), None);
        assert_eq!(
            Json::parse(r#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é""#),
            Ok(Json::Text("\"\\/\u{8}\u{c}\n\r\té😀é".to_owned()))
        );
    }

    #[test]
    fn what_is_not_json_is_refused() {
        let deep = "[".repeat(100_000);
        for text in [
            "",
            "{",
            "[1,]",
            "[1 2]",
            "{\"a\"}",
            "{\"a\":1,}",
            "{\"a\" 1}",
            "{a:1}",
            "{1: 2}",
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
            &deep,
        ] {
            let outcome = Json::parse(text);
            assert!(outcome.is_err(), "{text:?} was read as {outcome:?}");
        }
    }
}
