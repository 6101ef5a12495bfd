//! JSON (RFC 8259), as much as a file of results needs: written indented, read back with a limit on nesting.

use std::fmt::{self, Display, Formatter, Write};

/// Deeper than any file of results.
const MAX_DEPTH: usize = 32;

#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    /// In the order of the file.
    Object(Vec<(String, Json)>),
}

impl Json {
    pub fn text(text: impl Into<String>) -> Json {
        Json::Text(text.into())
    }

    /// A number, or null for what is not one.
    pub fn number(value: Option<f64>) -> Json {
        match value {
            Some(value) if value.is_finite() => Json::Number(value),
            _ => Json::Null,
        }
    }

    /// A member of an object, by a path of names.
    pub fn at(&self, path: &[&str]) -> Option<&Json> {
        path.iter().try_fold(self, |value, name| match value {
            Json::Object(members) => members
                .iter()
                .find_map(|(key, value)| (key == name).then_some(value)),
            _ => None,
        })
    }

    pub fn as_number(&self) -> Option<f64> {
        match self {
            Json::Number(value) => Some(*value),
            _ => None,
        }
    }

    pub fn as_text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn parse(text: &str) -> Result<Json, String> {
        let mut parser = Parser { rest: text };
        let value = parser.value(0)?;
        parser.space();
        match parser.rest {
            "" => Ok(value),
            _ => Err(parser.error("the end")),
        }
    }

    fn write(&self, f: &mut Formatter, indent: usize) -> fmt::Result {
        let pad = indent + 2;
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(value) => write!(f, "{value}"),
            Json::Number(value) => write!(f, "{value}"),
            Json::Text(text) => quote(f, text),
            // Lists are of numbers: one line reads best.
            Json::List(values) => {
                f.write_char('[')?;
                for (i, value) in values.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { ", " })?;
                    value.write(f, pad)?;
                }
                f.write_char(']')
            }
            Json::Object(members) if members.is_empty() => f.write_str("{}"),
            Json::Object(members) => {
                f.write_char('{')?;
                for (i, (name, value)) in members.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "," };
                    write!(f, "{comma}\n{:pad$}", "")?;
                    quote(f, name)?;
                    f.write_str(": ")?;
                    value.write(f, pad)?;
                }
                write!(f, "\n{:indent$}}}", "")
            }
        }
    }
}

impl Display for Json {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        self.write(f, 0)
    }
}

fn quote(f: &mut Formatter, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            c if u32::from(c) < 0x20 => write!(f, "\\u{:04x}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn value(&mut self, depth: usize) -> Result<Json, String> {
        self.space();
        if depth > MAX_DEPTH {
            return Err(self.error("fewer levels"));
        }
        let word = [
            ("null", Json::Null),
            ("true", Json::Bool(true)),
            ("false", Json::Bool(false)),
        ];
        if let Some((_, value)) = word.into_iter().find(|(word, _)| self.take(word)) {
            return Ok(value);
        }
        if self.rest.starts_with('"') {
            return self.string().map(Json::Text);
        }
        if self.take("[") {
            let mut values = Vec::new();
            self.separated("]", |parser| {
                values.push(parser.value(depth + 1)?);
                Ok(())
            })?;
            return Ok(Json::List(values));
        }
        if self.take("{") {
            let mut members = Vec::new();
            self.separated("}", |parser| {
                parser.space();
                let name = parser.string()?;
                parser.space();
                parser.expect(":")?;
                members.push((name, parser.value(depth + 1)?));
                Ok(())
            })?;
            return Ok(Json::Object(members));
        }
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_digit() && !"+-.eE".contains(c));
        let (number, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        let value = number.parse().map_err(|_| self.error("a value"))?;
        self.rest = rest;
        Ok(Json::Number(value))
    }

    /// Items with commas between them, up to `end`.
    fn separated(
        &mut self,
        end: &str,
        mut item: impl FnMut(&mut Parser<'a>) -> Result<(), String>,
    ) -> Result<(), String> {
        self.space();
        if self.take(end) {
            return Ok(());
        }
        loop {
            item(self)?;
            self.space();
            if self.take(end) {
                return Ok(());
            }
            self.expect(",")?;
        }
    }

    fn string(&mut self) -> Result<String, String> {
        self.expect("\"")?;
        let mut text = String::new();
        loop {
            let mut chars = self.rest.chars();
            let c = chars.next().ok_or_else(|| self.error("a quote"))?;
            self.rest = chars.as_str();
            match c {
                '"' => return Ok(text),
                '\\' => text.push(self.escape()?),
                c => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        let mut chars = self.rest.chars();
        let c = chars.next().ok_or_else(|| self.error("an escape"))?;
        self.rest = chars.as_str();
        let plain = match c {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            '"' | '\\' | '/' => c,
            'u' => {
                let digits = self
                    .rest
                    .get(..4)
                    .ok_or_else(|| self.error("four digits"))?;
                let code =
                    u32::from_str_radix(digits, 16).map_err(|_| self.error("four digits"))?;
                self.rest = &self.rest[4..];
                // A file of results has nothing that needs a pair of surrogates.
                char::from_u32(code).ok_or_else(|| self.error("a character"))?
            }
            _ => return Err(self.error("an escape")),
        };
        Ok(plain)
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    fn take(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        match self.take(token) {
            true => Ok(()),
            false => Err(self.error(token)),
        }
    }

    fn error(&self, wanted: &str) -> String {
        let here: String = self.rest.chars().take(20).collect();
        format!("not JSON: {wanted} was expected at {here:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let value = Json::Object(vec![
            (
                "a \"name\"\n".to_owned(),
                Json::List(vec![Json::Number(1.5), Json::Null]),
            ),
            ("empty".to_owned(), Json::Object(vec![])),
            ("none".to_owned(), Json::List(vec![])),
            ("yes".to_owned(), Json::Bool(true)),
            ("é".to_owned(), Json::text("tab\tand \\")),
            ("small".to_owned(), Json::Number(-1.25e-9)),
        ]);
        assert_eq!(Json::parse(&value.to_string()), Ok(value));
    }

    #[test]
    fn members_are_found_by_path() {
        let value = Json::parse(r#"{"a": {"b": [1], "c": 2e3}}"#).unwrap();
        assert_eq!(
            value.at(&["a", "c"]).and_then(Json::as_number),
            Some(2000.0)
        );
        assert_eq!(value.at(&["a", "d"]), None);
        assert_eq!(value.at(&["a", "c", "e"]), None);
    }

    #[test]
    fn what_is_not_json_is_refused() {
        let deep = "[".repeat(100);
        for text in [
            "", "{", "[1 2]", "{\"a\"}", "nul", "\"\\x\"", "\"", "1 2", "{1: 2}", &deep,
        ] {
            assert!(Json::parse(text).is_err(), "{text}");
        }
    }
}
