//! Percentiles, medians and ratios, over few numbers and over many.

/// The value below which `share` (0 to 1) of the sorted values lie, by nearest rank: always a value that was measured.
pub fn percentile(sorted: &[u32], share: f64) -> Option<u32> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// The middle of a few numbers and how far they spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Spread {
    /// The median and the quartiles (linear interpolation between ranks); nothing of nothing.
    pub fn of(values: &[f64]) -> Option<Spread> {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let rank = share * (sorted.len() - 1) as f64;
            let below = sorted[rank as usize];
            let above = sorted[(rank.ceil()) as usize];
            below + (above - below) * rank.fract()
        };
        (!sorted.is_empty()).then(|| Spread {
            low: at(0.25),
            median: at(0.5),
            high: at(0.75),
        })
    }
}

/// The ratios of values to those that were measured in the same rounds, where there are both.
pub fn ratios(values: &[Option<f64>], reference: &[Option<f64>]) -> Vec<f64> {
    values
        .iter()
        .zip(reference)
        .filter_map(|(value, reference)| Some((*value)? / (*reference)?))
        .filter(|ratio| ratio.is_finite())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<u32> = (1..=1000).collect();
        for (share, expected) in [(0.0, 1), (0.5, 500), (0.99, 990), (0.999, 999), (1.0, 1000)] {
            assert_eq!(percentile(&values, share), Some(expected), "{share}");
        }
        assert_eq!(percentile(&[7], 0.999), Some(7));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn the_spread_is_that_of_the_sorted_values() {
        let spread = Spread::of(&[5.0, 1.0, 4.0, 2.0, 3.0, f64::NAN]).unwrap();
        assert_eq!((spread.low, spread.median, spread.high), (2.0, 3.0, 4.0));
        let spread = Spread::of(&[1.0, 2.0]).unwrap();
        assert_eq!((spread.low, spread.median, spread.high), (1.25, 1.5, 1.75));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn a_ratio_needs_both_values_of_a_round() {
        let ours = [Some(2.0), None, Some(9.0), Some(1.0)];
        let theirs = [Some(4.0), Some(1.0), Some(3.0), Some(0.0)];
        assert_eq!(ratios(&ours, &theirs), [0.5, 3.0]);
    }
}
