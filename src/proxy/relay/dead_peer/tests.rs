//! What Linux 6.18 reports about peers in a namespace that drops their packets, and what follows from it.

use super::*;

const PATIENCE: Duration = Duration::from_secs(150);

/// Facts of a look: segments in flight, times that they were sent again, probes, octets that wait, and
/// how many seconds nothing was heard.
fn look(unacked: u32, retransmits: u8, probes: u8, not_sent: u32, unheard: u64) -> Facts {
    Facts {
        without_data: Duration::ZERO,
        retransmits,
        probes,
        unacked,
        not_sent,
        unheard: Duration::from_secs(unheard),
    }
}

/// Which of the looks finds the peer gone.
fn found(looks: &[Facts]) -> Option<usize> {
    let mut before = 0;
    looks.iter().position(|now| {
        let gone = is_dead(before, now, PATIENCE);
        before = tries(now);
        gone
    })
}

#[test]
fn a_peer_is_dead_after_enough_unanswered_tries() {
    let cases: [(&str, &[Facts], Option<usize>); 16] = [
        (
            "gone with a segment in flight",
            &[
                look(1, 8, 0, 0, 135),
                look(1, 9, 0, 0, 149),
                look(1, 9, 0, 0, 150),
            ],
            Some(2),
        ),
        (
            "gone with our end of the stream in flight, which counts as a segment",
            &[look(1, 8, 0, 0, 141), look(1, 9, 0, 0, 156)],
            Some(1),
        ),
        (
            "gone soon after it had shut its window: 3 probes after 21 s, 6 after 105 s",
            &[
                look(0, 0, 3, 3_782_144, 21),
                look(0, 0, 6, 3_782_144, 141),
                look(0, 0, 6, 3_782_144, 156),
            ],
            Some(2),
        ),
        (
            "gone with a window long shut, where the kernel asks every 120 s",
            &[
                look(0, 0, 0, 3_782_144, 119),
                look(0, 0, 1, 3_782_144, 150),
                look(0, 0, 2, 3_782_144, 255),
                look(0, 0, 3, 3_782_144, 360),
                look(0, 0, 3, 3_782_144, 375),
            ],
            Some(4),
        ),
        (
            "the same where it asks every 40 s",
            &[
                look(0, 0, 2, 3_782_144, 119),
                look(0, 0, 3, 3_782_144, 135),
                look(0, 0, 3, 3_782_144, 150),
            ],
            Some(2),
        ),
        (
            "gone while idle: keepalive has probed eight times, its last is due",
            &[look(0, 0, 8, 0, 140), look(0, 0, 9, 0, 150)],
            Some(1),
        ),
        (
            "gone while idle, and then something was sent",
            &[
                look(0, 0, 8, 0, 136),
                look(1, 2, 0, 0, 151),
                look(1, 5, 0, 0, 166),
                look(1, 6, 0, 0, 181),
            ],
            Some(3),
        ),
        (
            "its window is shut, and it has answered every probe",
            &[
                look(0, 0, 0, 3_782_144, 119),
                look(0, 0, 0, 3_782_144, 14),
                look(0, 0, 0, 3_782_144, 119),
            ],
            None,
        ),
        (
            "the same, and its timer is late",
            &[look(0, 0, 0, 3_782_144, 150), look(0, 0, 0, 3_782_144, 900)],
            None,
        ),
        (
            "its window is shut, and two probes in a row are lost",
            &[
                look(0, 0, 1, 3_782_144, 150),
                look(0, 0, 2, 3_782_144, 241),
                look(0, 0, 2, 3_782_144, 359),
                look(0, 0, 0, 3_782_144, 12),
            ],
            None,
        ),
        (
            "the third probe is on its way",
            &[look(0, 0, 2, 3_782_144, 359), look(0, 0, 3, 3_782_144, 360)],
            None,
        ),
        (
            "idle for days, and probes are answered: no data, but acknowledgements",
            &[look(0, 0, 0, 0, 14), look(0, 0, 1, 0, 15)],
            None,
        ),
        (
            "30 % of packets are lost: much is sent again, and something arrives",
            &[look(9, 4, 0, 80_000, 3), look(9, 5, 0, 80_000, 9)],
            None,
        ),
        (
            "cut off for less than the patience",
            &[
                look(1, 8, 0, 0, 134),
                look(1, 9, 0, 0, 149),
                look(0, 0, 0, 0, 5),
            ],
            None,
        ),
        (
            "this host stood still for ten minutes: the first look after it finds a long silence",
            &[
                look(1, 0, 0, 0, 0),
                look(1, 1, 0, 0, 600),
                look(0, 0, 0, 0, 15),
            ],
            None,
        ),
        (
            "the window was taken back with bytes in flight: nothing is counted, the kernel decides",
            &[look(3, 0, 0, 9_000, 149), look(3, 0, 0, 9_000, 239)],
            None,
        ),
    ];
    for (case, looks, expected) in cases {
        assert_eq!(found(looks), expected, "{case}");
    }
}

/// What was probed before there was something in flight says nothing of what is in flight.
#[test]
fn only_the_tries_of_the_present_state_count() {
    for (facts, expected) in [
        (look(0, 7, 2, 0, 0), 2),
        (look(1, 7, 2, 0, 0), 7),
        (look(0, 0, 0, 5, 0), 0),
    ] {
        assert_eq!(tries(&facts), expected, "{facts:?}");
    }
}

#[test]
fn a_peer_that_owes_an_answer_or_room_is_probed_more_often() {
    for (facts, expected) in [
        (look(0, 0, 0, 0, 14), false),
        (look(9, 0, 0, 0, 0), false),
        (look(9, 0, 0, 80_000, 0), false),
        (look(9, 1, 0, 0, 0), true),
        (look(0, 0, 1, 0, 16), true),
        (look(0, 0, 0, 1, 3), true),
    ] {
        assert_eq!(owes_answer(&facts), expected, "{facts:?}");
    }
}
