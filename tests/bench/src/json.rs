//! JSON for a file of results: read by the reader of all tests, written indented.

use std::fmt::{self, Display, Formatter, Write};

#[path = "../../support/json.rs"]
mod reader;

pub(crate) use reader::Json;

impl Json {
    /// A number, or null for what is not one.
    pub fn from_number(value: Option<f64>) -> Json {
        match value {
            Some(value) if value.is_finite() => Json::Number(value),
            _ => Json::Null,
        }
    }

    /// A member of an object, by a path of names.
    pub fn at(&self, path: &[&str]) -> Option<&Json> {
        path.iter().try_fold(self, |value, name| value.get(name))
    }

    pub fn as_number(&self) -> Option<f64> {
        match self {
            Json::Number(value) => Some(*value),
            _ => None,
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
            ("é".to_owned(), Json::Text("tab\tand \\".to_owned())),
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
}
