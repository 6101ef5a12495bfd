//! The work that one verification may cost. A chain is untrusted, and may be made to be expensive.

use super::Error;

/// What one verification may cost.
#[derive(Debug)]
pub(crate) struct Budget {
    /// All signatures, in microseconds.
    total: Allowance,
    /// Signatures other than the first tried with each anchor.
    presented: Allowance,
    /// Candidates with the right name.
    pub(super) steps: Allowance,
    /// Comparisons of names with name constraints.
    pub(super) comparisons: Allowance,
}

/// What is left of one kind of work, and what there is too much of once that is used up.
#[derive(Debug)]
pub(super) struct Allowance(usize, &'static str);

impl Allowance {
    pub(super) fn spend(&mut self, count: usize) -> Result<(), Error> {
        let Self(left, what) = self;
        *left = left
            .checked_sub(count)
            .ok_or(Error::BudgetExhausted { what })?;
        Ok(())
    }
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self {
            // See the head of `path`; Go and webpki allow 100 signatures of any cost.
            total: Allowance(
                130_000,
                "too many authorities have the issuer's name to try them all",
            ),
            presented: Allowance(
                40_000,
                "its signatures are too many or too expensive to verify",
            ),
            // A handful in any real graph.
            steps: Allowance(500, "too many possible issuers"),
            // As in Go and webpki: names times subtrees. OpenSSL has 2^20.
            comparisons: Allowance(250_000, "too many name constraints to check"),
        }
    }

    /// Charges a signature of this cost in microseconds, with an anchor not tried before or not.
    pub(super) fn spend_signature(&mut self, cost: usize, new_anchor: bool) -> Result<(), Error> {
        if !new_anchor {
            self.presented.spend(cost)?;
        }
        self.total.spend(cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exhausted_budget_stays_exhausted() {
        let mut budget = Budget::new();
        assert_eq!(budget.comparisons.spend(250_000), Ok(()));
        for what in [
            budget.comparisons.spend(1),
            budget.comparisons.spend(usize::MAX),
        ] {
            assert!(matches!(what, Err(Error::BudgetExhausted { .. })));
        }
        // The other two are counted apart.
        let steps = (0..1_000_000).take_while(|_| budget.steps.spend(1).is_ok());
        assert_eq!(steps.count(), 500);
        let mut count = |cost, new| {
            (0..1_000_000)
                .take_while(|_| budget.spend_signature(cost, new).is_ok())
                .count()
        };
        // What is presented, then the anchors, whose keys are the operator's; then neither.
        assert_eq!(count(4_000, false), 10);
        assert_eq!(count(1_000, true), 90);
        assert_eq!((count(1, false), count(1, true)), (0, 0));
        assert!(budget.spend_signature(usize::MAX, true).is_err());
    }
}
