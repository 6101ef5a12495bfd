//! Tests of one endpoint: what becomes of it, event by event, at times that the tables name.

use std::net::SocketAddr;

use super::*;
use crate::endpoint::Source;

/// `--retry-delay` of these tests, and how long a doubt is not followed again, in milliseconds.
const RETRY: u64 = 60_000;
const AGAIN: u64 = 5_000;

const PARAMETERS: Parameters = Parameters {
    retry_delay: Duration::from_millis(RETRY),
    ask_again: Duration::from_millis(AGAIN),
    authenticates: true,
    number: || 0,
};

fn endpoint(identity: Option<&str>) -> Endpoint {
    let addr = SocketAddr::from(([127, 0, 0, 1], 1));
    Endpoint {
        addr,
        name: addr.to_string(),
        priority: 0,
        weight: 0,
        drains: false,
        identity: identity.map(str::to_owned),
        source: Source::Endpoints,
    }
}

fn error(number: i32) -> dial::Error {
    dial::ErrorKind::Connect(std::io::Error::from_raw_os_error(number)).at(endpoint(None).addr)
}

/// What happens.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A dial that began so long before, in milliseconds, succeeds.
    Succeeds(u64),
    /// A dial that began so long before fails as the endpoint's.
    Fails(u64),
    /// A dial fails as this host's.
    Local,
    /// It turns out to be this gateway.
    Loops,
    /// A dial waits, is given up, or is answered.
    Waits,
    Unresolved,
    Connects,
    /// A client has waited since then, in milliseconds; whether that is settled.
    Suspect(u64, bool),
    /// It has reset, or ended, a connection.
    Resets,
    Ends,
    /// It is due to be asked this.
    Due(Option<Question>),
    Answers,
    Ignores,
    Stirs,
    /// What its health checks say.
    Unhealthy(bool),
}

use EndpointState::{
    Active, Draining, Inactive, Silent, Slow, ThisGateway, Unhealthy as Sick, Untried,
};
use Event::{
    Answers, Connects, Due, Ends, Fails, Ignores, Local, Loops, Resets, Stirs, Succeeds, Suspect,
    Unhealthy, Unresolved, Waits,
};

const DIAL: Event = Due(Some(Question::Dial));
const PROBE: Event = Due(Some(Question::Probe));
const NOTHING: Event = Due(None);

/// An event at a time in milliseconds, the state after it, and when the endpoint is asked next.
type Step = (u64, Event, EndpointState, Option<u64>);

struct Script {
    member: Member,
    zero: Instant,
}

impl Script {
    /// An endpoint that was new at 0.
    fn new(identity: Option<&str>) -> Self {
        let member = Member::new(endpoint(identity), PARAMETERS, Arc::default());
        let zero = member.changed;
        Self { member, zero }
    }

    fn time(&self, ms: u64) -> Instant {
        self.zero + Duration::from_millis(ms)
    }

    fn event(&mut self, ms: u64, event: Event) {
        let now = self.time(ms);
        let began = |before: u64| now - Duration::from_millis(before);
        let addr = self.member.endpoint.addr;
        match event {
            Succeeds(before) => self.member.succeeded(began(before), now),
            Fails(before) => self.member.failed(began(before), &error(111), now),
            Local => self.member.failed(now, &error(24), now),
            Loops => self
                .member
                .failed(now, &dial::ErrorKind::Loop.at(addr), now),
            Waits => self.member.slow = true,
            Unresolved => self.member.unresolved(now),
            Connects => self.member.answered(Duration::ZERO),
            Suspect(since, settled) => {
                let since = self.time(since);
                let done = self.member.suspect(since, now);
                assert_eq!(done, settled, "{ms}: {event:?}");
            }
            Resets => self.member.reset(now),
            Ends => self
                .member
                .ended(self.member.stats.open().saturating_sub(1), now),
            Due(kind) => assert_eq!(self.member.due(now), kind, "{ms}: {event:?}"),
            Answers => self.member.answered_probe(now, now),
            Ignores => self.member.ignored_probe(now),
            Stirs => self.member.sent_late(now),
            Unhealthy(doubts) => self.member.judge(doubts, None, now),
        }
    }

    fn play(&mut self, title: &str, steps: &[Step]) {
        for (ms, event, state, next) in steps {
            self.event(*ms, *event);
            let next = next.map(|next| self.time(next));
            let seen = (self.member.state(), self.member.next());
            assert_eq!(seen, (*state, next), "{title}: {event:?} at {ms}");
        }
    }
}

/// Plays scripts, each with an endpoint of its own that becomes active at 0.
fn play(scripts: &[(&str, &[Step])]) {
    for (title, steps) in scripts {
        let mut script = Script::new(None);
        script.play(title, &[(0, Succeeds(0), Active, None)]);
        script.play(title, steps);
    }
}

#[test]
fn an_endpoint_is_silent_until_it_answers() {
    play(&[
        (
            "asked after 1, 2, 4, … s, at most the retry delay",
            &[
                (1_000, Suspect(0, true), Active, Some(1_000)),
                (1_000, PROBE, Active, Some(2_000)),
                (2_000, Ignores, Silent, Some(3_000)),
                (2_999, NOTHING, Silent, Some(3_000)),
                (3_000, PROBE, Silent, Some(4_000)),
                (4_000, Ignores, Silent, Some(6_000)),
                (6_000, PROBE, Silent, Some(8_000)),
                (7_000, Ignores, Silent, Some(11_000)),
                (11_000, PROBE, Silent, Some(15_000)),
                (11_001, Answers, Active, None),
            ],
        ),
        (
            "a dial of a silent one proves nothing",
            &[
                (1_000, Ignores, Silent, Some(2_000)),
                (1_100, Connects, Silent, Some(2_000)),
                (1_100, Succeeds(1), Silent, Some(2_000)),
            ],
        ),
        (
            "what cannot be connected to is inactive, and begins anew",
            &[
                (1_000, Ignores, Silent, Some(2_000)),
                (1_500, Fails(0), Inactive, Some(2_500)),
                (1_600, Ignores, Inactive, Some(2_500)),
                (2_500, DIAL, Inactive, Some(4_500)),
                (2_501, Succeeds(1), Active, None),
            ],
        ),
        (
            "one is probed without end, also if no probe is ever answered",
            &[
                (0, Ignores, Silent, Some(1_000)),
                (1_000, PROBE, Silent, Some(2_000)),
                (2_000, PROBE, Silent, Some(3_000)),
                (2_500, Local, Silent, Some(3_000)),
                // Older than what is known.
                (2_500, Fails(2_501), Silent, Some(3_000)),
                (4_000, PROBE, Silent, Some(5_000)),
            ],
        ),
    ]);
}

/// Clients do not dial it; without dials it would seem to serve without end.
#[test]
fn a_draining_endpoint_is_dialled_now_and_then() {
    let mut script = Script::new(None);
    script.play("clients dial it", &[(0, Succeeds(0), Active, None)]);
    script.member.endpoint.drains = true;
    script.play(
        "it drains",
        &[
            (59_999, NOTHING, Draining, Some(60_000)),
            (60_000, DIAL, Draining, Some(120_000)),
            (60_001, Succeeds(1), Draining, Some(120_000)),
            (70_000, Resets, Draining, Some(70_000)),
            (70_000, DIAL, Draining, Some(130_000)),
            (70_001, Fails(1), Inactive, Some(71_001)),
            (71_001, DIAL, Inactive, Some(73_001)),
            (71_002, Succeeds(1), Draining, Some(131_002)),
        ],
    );
    script.member.endpoint.drains = false;
    script.play("no more", &[(131_002, NOTHING, Active, None)]);
}

#[test]
fn a_late_answer_causes_one_probe_at_once() {
    play(&[
        ("one that is well", &[(1_000, Stirs, Active, None)]),
        (
            "one that is silent",
            &[
                (1_000, Ignores, Silent, Some(2_000)),
                (1_200, Stirs, Silent, Some(1_200)),
                (1_300, Stirs, Silent, Some(1_200)),
                (1_300, PROBE, Silent, Some(2_300)),
                (1_301, Answers, Active, None),
            ],
        ),
        (
            "one that is inactive is left alone",
            &[
                (1_000, Fails(0), Inactive, Some(2_000)),
                (1_200, Stirs, Inactive, Some(2_000)),
            ],
        ),
    ]);
}

#[test]
fn a_flapping_endpoint_must_answer_three_probes_a_second_apart() {
    let minutes = |minutes: u64| minutes * 60_000;
    let silence = |ms| {
        [
            (ms, Ignores, Silent, Some(ms + 1_000)),
            (ms, Answers, Active, None),
        ]
    };
    // (when it was silent before; whether the next silence, at five minutes, takes three answers)
    let cases: [(&[u64], bool); 5] = [
        (&[], false),
        (&[minutes(4)], false),
        (&[minutes(3), minutes(4)], true),
        (&[1, minutes(4)], true),
        (&[0, minutes(4)], false),
    ];
    for (before, flaps) in cases {
        let mut script = Script::new(None);
        let title = format!("{before:?}");
        script.play(&title, &[(0, Succeeds(0), Active, None)]);
        for ms in before {
            script.play(&title, &silence(*ms));
        }
        let third = minutes(5);
        script.play(&title, &[(third, Ignores, Silent, Some(third + 1_000))]);
        if !flaps {
            script.play(&title, &[(third + 1, Answers, Active, None)]);
            continue;
        }
        let at = |ms| third + ms;
        script.play(
            &title,
            &[
                (at(100), Answers, Silent, Some(at(1_100))),
                // Nothing but a probe counts, and none comes sooner.
                (at(200), Stirs, Silent, Some(at(1_100))),
                (at(1_100), PROBE, Silent, Some(at(2_100))),
                (at(1_200), Answers, Silent, Some(at(2_200))),
                // They have to be in a row.
                (at(2_200), PROBE, Silent, Some(at(3_200))),
                (at(3_200), Ignores, Silent, Some(at(5_200))),
                (at(5_200), Answers, Silent, Some(at(6_200))),
                (at(6_200), Answers, Silent, Some(at(7_200))),
                (at(7_200), Answers, Active, None),
            ],
        );
    }
}

#[test]
fn a_suspicion_is_followed_by_one_probe_and_never_lost() {
    play(&[
        (
            "not again for a while, because the client repeats its report",
            &[
                (1_000, Suspect(0, true), Active, Some(1_000)),
                (1_000, PROBE, Active, Some(2_000)),
                (1_005, Answers, Active, None),
                (1_010, Suspect(1_004, true), Active, None),
                (2_000, Suspect(1_006, false), Active, None),
                (5_999, Suspect(1_006, false), Active, None),
                (6_000, Suspect(1_006, true), Active, Some(6_000)),
                (6_000, PROBE, Active, Some(7_000)),
            ],
        ),
        (
            "a probe without an outcome is made again",
            &[
                (1_000, Suspect(0, true), Active, Some(1_000)),
                (1_000, PROBE, Active, Some(2_000)),
                (2_000, PROBE, Active, Some(3_000)),
                (2_001, Answers, Active, None),
                (3_000, NOTHING, Active, None),
            ],
        ),
        (
            "nor is one that this host could not make, or that is stale",
            &[
                (1_000, Suspect(0, true), Active, Some(1_000)),
                (1_000, PROBE, Active, Some(2_000)),
                (1_001, Local, Active, Some(2_000)),
                (2_000, PROBE, Active, Some(3_000)),
                (2_500, Succeeds(1), Active, Some(3_000)),
                (2_500, Fails(500), Active, Some(3_000)),
                (3_000, PROBE, Active, Some(4_000)),
                (3_500, Ignores, Silent, Some(4_500)),
            ],
        ),
        (
            "a dial that was made for a reset does not put it off",
            &[
                (9_000, Resets, Active, Some(9_000)),
                (9_000, DIAL, Active, None),
                (9_100, Suspect(8_000, true), Active, Some(9_100)),
                (9_100, PROBE, Active, Some(10_100)),
                // But a probe says all that a dial does.
                (9_200, Resets, Active, Some(10_100)),
            ],
        ),
        (
            "of one that is silent or unknown nothing is asked",
            &[
                (0, Ignores, Silent, Some(1_000)),
                (500, Suspect(0, true), Silent, Some(1_000)),
                (600, Fails(0), Inactive, Some(1_600)),
                (700, Suspect(0, false), Inactive, Some(1_600)),
                (800, Loops, ThisGateway, Some(2_800)),
                (900, Suspect(0, false), ThisGateway, Some(2_800)),
            ],
        ),
    ]);
}

#[test]
fn a_reset_causes_a_dial_unless_one_just_succeeded() {
    play(&[
        ("just back", &[(4_999, Resets, Active, None)]),
        (
            "later, once in a while",
            &[
                (5_000, Resets, Active, Some(5_000)),
                (5_000, DIAL, Active, None),
                (5_001, Connects, Active, None),
                (9_999, Resets, Active, None),
                (10_000, Resets, Active, Some(10_000)),
            ],
        ),
        (
            "ends count if there are two within a second and none is left",
            &[
                (20_000, Ends, Active, None),
                (21_000, Ends, Active, None),
                (21_999, Ends, Active, Some(21_999)),
            ],
        ),
        (
            "a silent one is probed all the same",
            &[
                (9_000, Ignores, Silent, Some(10_000)),
                (9_500, Resets, Silent, Some(10_000)),
            ],
        ),
    ]);
}

#[test]
fn a_slow_endpoint_is_dialled_until_a_dial_or_a_probe_has_an_outcome() {
    play(&[
        (
            "answered",
            &[
                (1_000, Waits, Slow, None),
                (1_000, Unresolved, Slow, Some(1_000)),
                (1_000, DIAL, Slow, Some(2_000)),
                // That one was lost.
                (2_000, DIAL, Slow, Some(3_000)),
                (2_001, Connects, Active, None),
                (2_002, Unresolved, Active, None),
            ],
        ),
        (
            "a probe is connected, too",
            &[
                (1_000, Suspect(0, true), Active, Some(1_000)),
                (1_000, PROBE, Active, Some(2_000)),
                (1_100, Waits, Slow, Some(2_000)),
                (1_200, Answers, Active, None),
            ],
        ),
        (
            "also if it is not answered",
            &[
                (1_000, Waits, Slow, None),
                (2_000, Ignores, Silent, Some(3_000)),
                (3_000, Answers, Active, None),
            ],
        ),
        (
            "a dial says nothing of a suspicion",
            &[
                (1_000, Waits, Slow, None),
                (1_000, Suspect(0, true), Slow, Some(1_000)),
                (1_000, Connects, Active, Some(1_000)),
                (1_000, PROBE, Active, Some(2_000)),
            ],
        ),
    ]);
}

#[test]
fn only_active_endpoints_are_unhealthy() {
    play(&[
        (
            "and is beside silence",
            &[
                (0, Unhealthy(true), Sick, None),
                (0, Waits, Sick, None),
                (1_000, Ignores, Silent, Some(2_000)),
                (1_500, Unhealthy(true), Silent, Some(2_000)),
                (1_600, Answers, Sick, None),
                (1_700, Unhealthy(false), Active, None),
            ],
        ),
        (
            "a suspicion of an unhealthy one is followed, too",
            &[
                (0, Unhealthy(true), Sick, None),
                (1_000, Suspect(0, true), Sick, Some(1_000)),
                (1_000, PROBE, Sick, Some(2_000)),
            ],
        ),
        (
            "and forgotten of others",
            &[
                (0, Unhealthy(true), Sick, None),
                (100, Local, Sick, None),
                (1_000, Fails(0), Inactive, Some(2_000)),
                (1_500, Unhealthy(true), Inactive, Some(2_000)),
                (2_000, Succeeds(0), Active, None),
            ],
        ),
        (
            "and begins anew with one that was away between two checks",
            &[
                (0, Unhealthy(true), Sick, None),
                (1_000, Fails(0), Inactive, Some(2_000)),
                (2_000, Succeeds(0), Active, None),
            ],
        ),
    ]);
}

/// Neither of these may carry a client, whatever else is down.
#[test]
fn no_doubt_replaces_authentication() {
    let doubts = [
        Waits,
        Unhealthy(true),
        Ignores,
        Answers,
        Stirs,
        Connects,
        Resets,
    ];
    for first in doubts {
        for second in doubts {
            let mut script = Script::new(Some("etcd.example"));
            script.event(1, first);
            script.event(2, second);
            let seen = (script.member.state(), script.member.preference());
            assert_eq!(
                seen,
                (Untried, Preference::Excluded),
                "{first:?}, {second:?}"
            );
            let rejected = dial::ErrorKind::Rejected(String::new()).at(script.member.endpoint.addr);
            let now = script.time(3);
            script.member.failed(now, &rejected, now);
            script.event(4, first);
            script.event(5, second);
            let preference = script.member.preference();
            assert_eq!(preference, Preference::Excluded, "{first:?}, {second:?}");
        }
    }
}

#[test]
fn an_untried_endpoint_is_dialled_until_an_outcome() {
    let mut script = Script::new(None);
    script.play(
        "untried",
        &[
            (0, DIAL, Untried, Some(1_000)),
            (0, Suspect(0, false), Untried, Some(1_000)),
            (0, Ignores, Untried, Some(1_000)),
            (500, Local, Untried, Some(1_000)),
            (1_000, DIAL, Untried, Some(2_000)),
            (1_000, Waits, Untried, Some(2_000)),
            (1_500, Connects, Untried, Some(2_000)),
            (1_500, Succeeds(1), Active, None),
        ],
    );
}

#[test]
fn the_delay_doubles_up_to_what_was_set_and_is_nine_tenths_to_all_of_it() {
    type Number = fn() -> u32;
    let (minute, ms) = (Duration::from_secs(60), Duration::from_millis);
    let (none, half, all): (Number, Number, Number) = (|| 0, || u32::MAX / 2, || u32::MAX);
    let cases = [
        // (set, failures before, number, delay)
        (minute, 0, none, ms(1_000)),
        (minute, 0, all, ms(900)),
        (minute, 1, none, ms(2_000)),
        (minute, 5, none, ms(32_000)),
        (minute, 6, none, minute),
        (minute, u32::MAX, none, minute),
        (minute, 6, half, ms(57_000)),
        (minute, 6, all, ms(54_000)),
        (ms(100), 0, none, ms(100)),
        (ms(100), 9, all, ms(90)),
        (Duration::ZERO, 0, all, Duration::ZERO),
    ];
    for (set, failures, number, expected) in cases {
        let parameters = Parameters {
            retry_delay: set,
            number,
            ..PARAMETERS
        };
        let now = Instant::now();
        let off = (parameters.retry(now, failures) - now).abs_diff(expected);
        // A number in the middle is not exactly half of the largest.
        assert!(
            off < Duration::from_micros(1),
            "{set:?} {failures} {} {off:?}",
            number()
        );
    }
}
