//! What one session is to do, and what both its ends must then have seen.

use super::play::{Report, Seen};
use super::stream::WORD;

/// Numbers from a seed (xorshift64*).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Less than `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % bound
    }

    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        let bound = choices.len() as u64;
        choices[usize::try_from(self.below(bound)).expect("an index")]
    }
}

/// Who ends a session, and how the two directions depend on each other. The one that ends last has the last word: by
/// its clean end it tells the other that it has had everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Both send at once; the client's end comes first.
    ClientFirst,
    /// Both send at once; the endpoint's end comes first.
    EndpointFirst,
    /// The endpoint answers once it has had the client's end.
    Answer,
    /// The client goes on once it has had the endpoint's end.
    Greeting,
    /// The endpoint sends as much as it was sent, whenever it was; the client waits for it each time.
    Pings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Endpoint,
}

/// One session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) session: u32,
    pub(crate) order: Order,
    /// Bytes that the client sends; the first word tells the endpoint which session it is.
    pub(crate) up: u64,
    pub(crate) down: u64,
    /// Who reads slowly, through a small window.
    pub(crate) slow: Option<Side>,
    /// Who resets, once it has sent so many bytes.
    pub(crate) cut: Option<(Side, u64)>,
}

/// Which sessions a load has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mix {
    /// All kinds, none of which resets.
    Whole,
    /// Every third resets.
    Cut,
    /// Large ones.
    Bulk,
    /// Those of which nothing is larger than a message.
    Small,
    /// All are reset by the client in the middle of what it sends.
    CutByClients,
    /// By the endpoint.
    CutByEndpoints,
}

impl Plan {
    pub(crate) fn of(session: u32, mix: Mix, dice: &mut Dice) -> Plan {
        let orders = [
            Order::ClientFirst,
            Order::EndpointFirst,
            Order::Answer,
            Order::Greeting,
            Order::Pings,
        ];
        // A reset in the middle of pings is one in the middle of the others, too.
        let kinds = match mix {
            Mix::Whole | Mix::Cut | Mix::Small => 5,
            Mix::Bulk | Mix::CutByClients | Mix::CutByEndpoints => 4,
        };
        let order = dice.one_of(&orders[..kinds]);
        let mut size = || match (mix, dice.below(3)) {
            (Mix::Bulk, _) => 400_000 + dice.below(1_500_000),
            (Mix::Small, _) | (_, 0) => 1 + dice.below(300),
            (_, 1) => 1 + dice.below(60_000),
            _ => 100_000 + dice.below(1_400_000),
        };
        let (mut up, mut down) = (WORD + size(), size());
        if order == Order::Pings {
            // Each is a round trip.
            up = WORD + up % 8000;
            down = up;
        }
        let sides = [Side::Client, Side::Endpoint];
        let slow = (dice.below(4) == 0).then(|| dice.one_of(&sides));
        let cutter = match mix {
            Mix::CutByClients => Some(Side::Client),
            Mix::CutByEndpoints => Some(Side::Endpoint),
            Mix::Cut if session.is_multiple_of(3) && order != Order::Pings => {
                Some(dice.one_of(&sides))
            }
            _ => None,
        };
        let cut = cutter.map(|side| match side {
            Side::Client => (side, WORD + dice.below(up - WORD)),
            Side::Endpoint => (side, dice.below(down)),
        });
        Plan {
            session,
            order,
            up,
            down,
            slow,
            cut,
        }
    }

    /// Whether the client comes to its end before the endpoint does.
    fn client_first(&self) -> bool {
        match self.order {
            Order::ClientFirst | Order::Answer | Order::Pings => true,
            Order::EndpointFirst | Order::Greeting => false,
        }
    }

    /// Whether it was served to its end. `endpoint` is missing where no endpoint had its first word.
    ///
    /// # Errors
    /// What must never be.
    pub(crate) fn judge(&self, client: &Report, endpoint: Option<&Report>) -> Result<bool, String> {
        let reports = [Some(client), endpoint];
        for report in reports.into_iter().flatten() {
            if let Seen::Short(what) | Seen::Never(what) = &report.seen {
                return Err(what.clone());
            }
            if report.stuck {
                return Err("a write that never ends".to_owned());
            }
        }
        let [clean, had_all] =
            reports.map(|report| report.is_some_and(|report| report.seen == Seen::All));
        let misled = if self.client_first() {
            clean && !had_all
        } else {
            had_all && !clean
        };
        if misled && self.cut.is_none() {
            return Err(format!(
                "a clean end at one side, and not at the other: client {client:?}, endpoint {endpoint:?}"
            ));
        }
        Ok(clean && had_all && self.cut.is_none())
    }
}
