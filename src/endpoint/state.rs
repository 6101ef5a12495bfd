//! The states of an endpoint, each with one word for log, metrics, JSON and page.

/// The state of an endpoint, ordered from better to worse after the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EndpointState {
    /// Nothing is known about it yet.
    Untried,
    /// It has answered.
    Active,
    /// A dial of it waits for an answer for longer than usual.
    Slow,
    /// It has answered, and is to get no new connection while others serve. Worse states hide this one: a
    /// draining endpoint that is silent is silent.
    Draining,
    /// It accepts connections and does not answer.
    Silent,
    /// It fails its health check (`--health-check`).
    Unhealthy,
    /// A dial of it failed.
    Inactive,
    /// It has not proven its identity.
    Unauthenticated,
    /// It is this gateway.
    ThisGateway,
    /// It is not in the set any more; clients may still be connected to it.
    Removed,
}

impl EndpointState {
    /// The states that an endpoint of the set can change to.
    pub(crate) const REACHED: [Self; 8] = [
        Self::Active,
        Self::Slow,
        Self::Draining,
        Self::Silent,
        Self::Unhealthy,
        Self::Inactive,
        Self::Unauthenticated,
        Self::ThisGateway,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Untried => "untried",
            Self::Active => "active",
            Self::Slow => "slow",
            Self::Draining => "draining",
            Self::Silent => "silent",
            Self::Unhealthy => "unhealthy",
            Self::Inactive => "inactive",
            Self::Unauthenticated => "unauthenticated",
            Self::ThisGateway => "self",
            Self::Removed => "removed",
        }
    }

    /// Whether the endpoint is known to serve.
    pub(crate) fn is_active(self) -> bool {
        matches!(self, Self::Active | Self::Slow | Self::Draining)
    }

    /// Whether it can be connected to, but others are preferred, because there is reason to think that it
    /// does not serve.
    pub(crate) fn is_doubted(self) -> bool {
        matches!(self, Self::Silent | Self::Unhealthy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_a_word_and_is_active_doubted_or_neither() {
        // (state, word, active, doubted)
        let cases = [
            (EndpointState::Untried, "untried", false, false),
            (EndpointState::Active, "active", true, false),
            (EndpointState::Slow, "slow", true, false),
            (EndpointState::Draining, "draining", true, false),
            (EndpointState::Silent, "silent", false, true),
            (EndpointState::Unhealthy, "unhealthy", false, true),
            (EndpointState::Inactive, "inactive", false, false),
            (
                EndpointState::Unauthenticated,
                "unauthenticated",
                false,
                false,
            ),
            (EndpointState::ThisGateway, "self", false, false),
            (EndpointState::Removed, "removed", false, false),
        ];
        for (state, word, active, doubted) in cases {
            let seen = (state.name(), state.is_active(), state.is_doubted());
            assert_eq!(seen, (word, active, doubted));
        }
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/deploy/man/etcd-gateway-behaviour.7.md"
        );
        let page = std::fs::read_to_string(path).expect("the page is readable");
        let (_, table) = page.split_once("| state | what is known |").unwrap();
        let (table, _) = table.split_once("\n\n").unwrap();
        let rows = table.lines().filter_map(|row| row.strip_prefix("| `"));
        let mut explained: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
        let mut words = cases.map(|(_, word, ..)| word);
        explained.sort_unstable();
        words.sort_unstable();
        assert_eq!(explained, words);
    }
}
