//! Members of the gateway's JSON, as the suite compares them.

use super::json::Json;

impl Json {
    /// The member's text; empty if it is missing or not a text, so that a comparison shows the difference.
    pub(crate) fn text(&self, key: &str) -> &str {
        match self.get(key) {
            Some(Json::Text(text)) => text,
            _ => "",
        }
    }

    /// The member's number.
    #[track_caller]
    pub(crate) fn number(&self, key: &str) -> f64 {
        match self.get(key) {
            Some(Json::Number(number)) => *number,
            _ => panic!("no number {key:?} in {self:?}"),
        }
    }

    /// The member's list.
    #[track_caller]
    pub(crate) fn list(&self, key: &str) -> &[Json] {
        match self.get(key) {
            Some(Json::List(items)) => items,
            _ => panic!("no list {key:?} in {self:?}"),
        }
    }

    /// The texts in the member's list; none if it is missing or not a list.
    pub(crate) fn texts(&self, key: &str) -> Vec<&str> {
        let Some(Json::List(items)) = self.get(key) else {
            return Vec::new();
        };
        fn text(item: &Json) -> Option<&str> {
            match item {
                Json::Text(text) => Some(text.as_str()),
                _ => None,
            }
        }
        items.iter().filter_map(text).collect()
    }
}
