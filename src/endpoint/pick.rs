//! Whose turn it is: a pure function from the endpoints' standing and the cursor to the
//! next endpoint, so that evenness can be proven by table.

/// How good a choice an endpoint is; the better ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// Active as far as anyone knows.
    Active,
    /// Active, but a dial to it has been waiting for an answer for too long.
    Overdue,
    /// Failed; a last resort where no endpoint is active.
    Inactive,
    /// No choice at all: tried already, or known to be this gateway.
    Excluded,
}

/// The endpoint after `cursor`, round robin, among those of the best standing. An
/// inactive one is chosen only when `last_resort` says that none is active.
pub(crate) fn next(standings: &[Standing], cursor: usize, last_resort: bool) -> Option<usize> {
    let worst = if last_resort {
        Standing::Inactive
    } else {
        Standing::Overdue
    };
    let best = *standings.iter().min().filter(|best| **best <= worst)?;
    (0..standings.len())
        .map(|step| cursor.wrapping_add(step) % standings.len())
        .find(|index| standings.get(*index) == Some(&best))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Standing::{Active as A, Excluded as X, Inactive as I, Overdue as O};

    #[test]
    fn sequences() {
        // (standings, last resort, endpoints in the order they are chosen)
        let cases: &[(&[Standing], bool, &[usize])] = &[
            (&[A], false, &[0, 0, 0]),
            (&[A, A, A], false, &[0, 1, 2, 0, 1, 2]),
            // What is skipped does not make its neighbour's share larger.
            (&[A, I, A, A], false, &[0, 2, 3, 0, 2, 3]),
            (&[I, A, I, I, A], false, &[1, 4, 1, 4]),
            (&[O, A, A], false, &[1, 2, 1, 2]),
            (&[O, X, O], false, &[0, 2, 0]),
            (&[I, I, X, I], true, &[0, 1, 3, 0]),
            (&[I, O], true, &[1, 1]),
            (&[I, I], false, &[]),
            (&[X, X], true, &[]),
            (&[], true, &[]),
        ];
        for (standings, last_resort, expected) in cases {
            let mut cursor = 0;
            let mut chosen = Vec::new();
            while let Some(index) = next(standings, cursor, *last_resort) {
                chosen.push(index);
                cursor = index + 1;
                if chosen.len() >= expected.len() {
                    break;
                }
            }
            assert_eq!(chosen, *expected, "{standings:?}");
        }
    }

    #[test]
    fn exactly_even_whatever_is_inactive() {
        for mask in 1u32..(1 << 6) {
            let standings: Vec<_> = (0..6)
                .map(|bit| if mask & (1 << bit) != 0 { A } else { I })
                .collect();
            let active = mask.count_ones() as usize;
            let mut counts = [0usize; 6];
            let mut cursor = 0;
            for _ in 0..active * 10 {
                let index = next(&standings, cursor, false).unwrap();
                counts[index] += 1;
                cursor = index + 1;
            }
            for (standing, count) in standings.iter().zip(counts) {
                assert_eq!(count, if *standing == A { 10 } else { 0 }, "{standings:?}");
            }
        }
    }
}
