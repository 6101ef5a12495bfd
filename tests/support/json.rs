//! Just enough JSON to hold the gateway's log lines against RFC 8259: strict, no numbers beyond f64, depth
//! bounded by the lines the gateway writes.

/// A JSON value; members keep their order.
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
    /// Parses one complete value; trailing rubbish and duplicate members are errors.
    pub(crate) fn parse(text: &str) -> Result<Json, String> {
        let mut parser = Parser { rest: text };
        let value = parser.value()?;
        parser.blank();
        if parser.rest.is_empty() {
            Ok(value)
        } else {
            Err(format!("trailing {:?}", parser.rest))
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members
                .iter()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// The member's text; empty where there is none, so that a comparison shows the mismatch.
    pub(crate) fn text(&self, key: &str) -> &str {
        match self.get(key) {
            Some(Json::Text(text)) => text,
            _ => "",
        }
    }

    /// The member's number; none that equals anything where there is none.
    pub(crate) fn number(&self, key: &str) -> f64 {
        match self.get(key) {
            Some(Json::Number(number)) => *number,
            _ => f64::NAN,
        }
    }

    /// The member's list of texts.
    pub(crate) fn texts(&self, key: &str) -> Vec<&str> {
        match self.get(key) {
            Some(Json::List(items)) => items
                .iter()
                .filter_map(|item| {
                    if let Json::Text(text) = item {
                        Some(text.as_str())
                    } else {
                        None
                    }
                })
                .collect(),
            _ => Vec::new(),
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn blank(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    fn take(&mut self, wanted: &str) -> bool {
        let found = self.rest.strip_prefix(wanted);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn need(&mut self, wanted: &str) -> Result<(), String> {
        self.blank();
        if self.take(wanted) {
            Ok(())
        } else {
            Err(format!("{wanted:?} expected at {:?}", self.rest))
        }
    }

    fn value(&mut self) -> Result<Json, String> {
        self.blank();
        match self.rest.chars().next() {
            Some('{') => self.object(),
            Some('[') => self.list(),
            Some('"') => self.string().map(Json::Text),
            _ if self.take("null") => Ok(Json::Null),
            _ if self.take("true") => Ok(Json::Bool(true)),
            _ if self.take("false") => Ok(Json::Bool(false)),
            _ => self.number(),
        }
    }

    fn object(&mut self) -> Result<Json, String> {
        self.need("{")?;
        let mut members: Vec<(String, Json)> = Vec::new();
        self.blank();
        if self.take("}") {
            return Ok(Json::Object(members));
        }
        loop {
            self.blank();
            let name = self.string()?;
            self.need(":")?;
            let value = self.value()?;
            if members.iter().any(|(known, _)| *known == name) {
                return Err(format!("member {name:?} twice"));
            }
            members.push((name, value));
            self.blank();
            if !self.take(",") {
                self.need("}")?;
                return Ok(Json::Object(members));
            }
        }
    }

    fn list(&mut self) -> Result<Json, String> {
        self.need("[")?;
        let mut items = Vec::new();
        self.blank();
        if self.take("]") {
            return Ok(Json::List(items));
        }
        loop {
            items.push(self.value()?);
            self.blank();
            if !self.take(",") {
                self.need("]")?;
                return Ok(Json::List(items));
            }
        }
    }

    fn string(&mut self) -> Result<String, String> {
        self.need("\"")?;
        let mut text = String::new();
        loop {
            let mut chars = self.rest.chars();
            let next = chars.next().ok_or("string without end")?;
            self.rest = chars.as_str();
            match next {
                '"' => return Ok(text),
                '\\' => text.push(self.escape()?),
                control if control < ' ' => {
                    return Err(format!("control character {control:?} in a string"));
                }
                plain => text.push(plain),
            }
        }
    }

    /// One escape; a surrogate pair has no place in what the gateway writes, which is UTF-8.
    fn escape(&mut self) -> Result<char, String> {
        let plain = [
            ("\"", '"'),
            ("\\", '\\'),
            ("/", '/'),
            ("b", '\u{8}'),
            ("f", '\u{c}'),
            ("n", '\n'),
            ("r", '\r'),
            ("t", '\t'),
        ];
        if let Some((_, meant)) = plain.iter().find(|(written, _)| self.take(written)) {
            return Ok(*meant);
        }
        self.need("u")?;
        let (digits, rest) = self.rest.split_at_checked(4).ok_or("short \\u escape")?;
        self.rest = rest;
        u32::from_str_radix(digits, 16)
            .ok()
            .and_then(char::from_u32)
            .ok_or(format!("\\u{digits} is no character"))
    }

    fn number(&mut self) -> Result<Json, String> {
        let end = self
            .rest
            .find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'))
            .unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        let strict =
            digits.starts_with(|c: char| c == '-' || c.is_ascii_digit()) && !digits.ends_with('.');
        let value = digits
            .parse()
            .ok()
            .filter(|_| strict)
            .ok_or(format!("no value at {:?}", self.rest))?;
        self.rest = rest;
        Ok(Json::Number(value))
    }
}
